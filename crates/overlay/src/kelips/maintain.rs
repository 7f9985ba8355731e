//! Join and time-outs (section 2.1).

use std::time::Duration;

use crate::wire::List;
use crate::{Event, Host, Id, Offence, Peer, RpcId, View};

use super::lookup::Asked;
use super::message::{MAX_PART, MAX_TUPLES, Message, Place, Seen};
use super::routing::arc_start;
use super::table::{MAX_CONTACTS, MAX_MEMBERS, group_of};
use super::{Kelips, Time};

/// After joining, a node asks group mates for gossip in return for so long.
pub(super) const YOUTH: Duration = Duration::from_secs(60);
/// Unanswered questions before a joining node asks somebody else.
const COPY_TRIES: u8 = 3;
/// Group mates whose tuples a new node tries to copy.
const STORE_SOURCES: u8 = 4;
/// Parts of a view that is copied; more would be a lie.
const MAX_PARTS: u16 = 1024;
/// How far from its own place in its group a node with perfect tables may choose its
/// contacts in others'.
const BESIDE: u64 = 8;
/// A sweep for time-outs every so many ticks of members' heartbeats.
const SWEEP_TICKS: u32 = 2;

/// A node that joins, or has joined and still copies its group's tuples.
#[derive(Clone, Debug)]
pub(super) struct Joining<P> {
    boot: P,
    /// Questions of the copy that were not answered, one after another.
    tries: u8,
    /// Whom it asked for tuples, and how many parts the last of them sent.
    sources: u8,
    parts: usize,
    /// When it began.
    pub(super) since: Time,
}

/// What is being copied.
#[derive(Clone, Copy, Debug)]
pub(super) enum Copying {
    /// A part of the view.
    View(u16),
    /// The tuples after a place.
    Tuples(Place),
}

impl<P: Peer> Kelips<P> {
    pub(super) fn join(&mut self, boot: Option<P>, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if self.member || self.joining.is_some() {
            return;
        }
        self.end_leave(host);
        self.table.begin(host.id(self.me));
        match boot.filter(|&boot| boot != self.me) {
            Some(boot) => {
                self.joining =
                    Some(Box::new(Joining { boot, tries: 0, sources: 0, parts: 0, since: self.now }));
                self.copy(boot, Copying::View(0), host);
            }
            None => {
                self.complete = true;
                self.joined(host);
            }
        }
    }

    /// From now on this node takes part.
    pub(super) fn enter(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.member = true;
        let interval = self.config.gossip_interval;
        self.gossip_at = self.now + Duration::from_micros(host.rng().below(interval.as_micros() as u64));
        self.sweep_at = self.gossip_at + self.sweep_interval();
    }

    fn joined(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.enter(host);
        host.emit(Event::Joined);
        self.own.iter_mut().for_each(super::Own::announce_all);
        self.announce(host);
        self.gossip_round(host);
    }

    fn sweep_interval(&self) -> Duration {
        (self.table.members_tick() * SWEEP_TICKS).max(self.config.gossip_interval)
    }

    fn copy(&mut self, from: P, what: Copying, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let deadline = self.now + self.config.rpc_timeout;
        let busy = self.busy.get_or_insert_default();
        if let Some(rpc) = busy.rpcs.open(from, deadline, Asked::Copy(what), host.rng()) {
            host.send(
                from,
                match what {
                    Copying::View(part) => Message::CopyView { rpc, part },
                    Copying::Tuples(after) => Message::CopyTuples { rpc, after },
                },
            );
        }
    }

    pub(super) fn copy_view(
        &mut self,
        from: P,
        rpc: RpcId,
        part: u16,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let (members, slots) = (self.table.members().len(), self.table.slots());
        let parts = (members + slots).div_ceil(MAX_PART) as u16;
        if part > parts {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        let (when, group) = (self.table.when(self.now), self.table.group_of(host.id(from)));
        let entries: List<Seen<P>, MAX_PART> = if part == 0 {
            let mates: Vec<P> = if group == self.table.group {
                let from = host.rng().index(members);
                (0..members.min(MAX_PART))
                    .filter_map(|n| self.table.members().get((from + n) % members).copied())
                    .collect()
            } else {
                self.table.contacts(group).collect()
            };
            mates
                .into_iter()
                .filter(|&p| p != from)
                .filter_map(|p| self.table.entry(&when, p, group))
                .collect()
        } else {
            let first = usize::from(part - 1) * MAX_PART;
            let all = (first..first + MAX_PART).filter_map(|at| match at.checked_sub(members) {
                None => self.table.member_entry(&when, at),
                Some(slot) => self.table.slot_entry(&when, slot),
            });
            all.filter(|entry| entry.peer != from).collect()
        };
        host.send(from, Message::View { rpc, parts, entries });
    }

    pub(super) fn copy_tuples(
        &mut self,
        from: P,
        rpc: RpcId,
        after: Place,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let tuples = self.tuples.copy(self.now, after, MAX_TUPLES);
        let more = tuples.len() == MAX_TUPLES;
        host.send(from, Message::Tuples { rpc, tuples: List::new(tuples), more });
    }

    /// A part of a copy came.
    fn copied(
        &mut self,
        from: P,
        what: Copying,
        message: Message<P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        match (message, what) {
            (Message::View { parts, entries, .. }, Copying::View(part)) => {
                if parts > MAX_PARTS {
                    host.refuse(Some(from), Offence::OutOfRange);
                    return self.not_copied(from, what, host);
                }
                self.hear(from, host);
                self.hear_all(from, &entries, host);
                self.next_part(from, part, parts, host);
            }
            (Message::Tuples { tuples, more, .. }, Copying::Tuples(after)) => {
                let last = tuples.last().map(|t| super::tuples::place(t.under, &t.record, host.id(t.home)));
                let short = more && tuples.len() < MAX_TUPLES;
                let forward = last.filter(|&last| last > after);
                for tuple in tuples.into_vec() {
                    self.hear_tuple(from, tuple, host);
                }
                if let Some(joining) = &mut self.joining {
                    joining.tries = 0;
                    joining.parts += 1;
                    // Whoever follows the rules never has more than a node may keep.
                    if short || (more && joining.parts > self.config.max_tuples.div_ceil(MAX_TUPLES)) {
                        host.refuse(Some(from), Offence::TooMany);
                        return self.copy_of_another(from, host);
                    }
                }
                match forward.filter(|_| more) {
                    Some(last) => self.copy(from, Copying::Tuples(last), host),
                    None => self.all_copied(host),
                }
            }
            _ => {
                host.refuse(Some(from), Offence::Misdirected);
                self.not_copied(from, what, host);
            }
        }
    }

    /// Goes on with the next part, or with a group mate of whom the first part told.
    fn next_part(&mut self, from: P, part: u16, parts: u16, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Some(joining) = &mut self.joining else { return };
        joining.tries = 0;
        let mates = self.table.members();
        let at_home = mates.binary_search(&from).is_ok();
        if part == 0 && !at_home && !mates.is_empty() {
            let mate = mates[host.rng().index(mates.len())];
            self.copy(mate, Copying::View(0), host);
        } else if part < parts {
            self.copy(from, Copying::View(part + 1), host);
        } else {
            self.joined(host);
            self.copy_store(None, host);
        }
    }

    /// Copies the tuples of a group mate, rather of another than `last`. The first of a
    /// group asks the group that served it so far.
    fn copy_store(&mut self, last: Option<P>, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if let Some(joining) = &mut self.joining {
            (joining.sources, joining.parts) = (joining.sources.saturating_add(1), 0);
        }
        let mates = self.table.members();
        let next = self.table.next_home(self.table.group);
        let mut sources: Vec<P> =
            if mates.is_empty() { self.table.contacts(next).collect() } else { mates.to_vec() };
        if sources.len() > 1 {
            sources.retain(|&source| Some(source) != last);
        }
        match sources.get(host.rng().index(sources.len())) {
            Some(&source) => self.copy(source, Copying::Tuples(Place::default()), host),
            None => self.all_copied(host),
        }
    }

    fn all_copied(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.complete = true;
        self.joining = None;
        self.announce(host);
    }

    /// A question of the copy was not answered: again, or from somebody else.
    fn not_copied(&mut self, from: P, what: Copying, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Some(joining) = &mut self.joining else { return };
        joining.tries = joining.tries.saturating_add(1);
        let (tries, boot) = (joining.tries, joining.boot);
        match what {
            _ if tries % COPY_TRIES != 0 => self.copy(from, what, host),
            Copying::View(_) => {
                if from != boot {
                    self.suspect(from, host);
                }
                self.copy(boot, Copying::View(0), host);
            }
            Copying::Tuples(_) => self.copy_of_another(from, host),
        }
    }

    /// Gives up the copy of the tuples of `from`.
    fn copy_of_another(&mut self, from: P, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if self.joining.as_ref().is_none_or(|joining| joining.sources >= STORE_SOURCES) {
            // Its mates' gossip brings the rest.
            return self.all_copied(host);
        }
        self.suspect(from, host);
        self.copy_store(Some(from), host);
    }

    pub(super) fn answer(
        &mut self,
        from: P,
        message: Message<P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let rpc = message.answers();
        let asked = self.busy.as_mut().zip(rpc).and_then(|(busy, rpc)| busy.rpcs.close(rpc, from));
        if asked.is_some() && self.member {
            self.hear(from, host);
        }
        match asked {
            None => host.refuse(Some(from), Offence::UnknownReply),
            Some(Asked::Copy(what)) => self.copied(from, what, message, host),
            Some(Asked::Quest { number, hops }) => self.quest_answer(from, message, (number, hops), host),
        }
        self.after_answers(host);
    }

    /// Gives up questions whose time is over.
    pub(super) fn expire(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        while let Some((peer, asked)) = self.busy.as_mut().and_then(|busy| busy.rpcs.expire(self.now)) {
            self.unanswered(peer, asked, host);
        }
        self.after_answers(host);
    }

    /// Gives up the questions to a peer that cannot be reached.
    pub(super) fn abandon(&mut self, peer: P, host: &mut impl Host<P, Message<P>, Event<P>>) {
        // A quest never asks the same peer twice, but a copy does: only what is open now.
        let open = self.busy.as_ref().map_or(0, |busy| busy.rpcs.len());
        for _ in 0..open {
            let Some(asked) = self.busy.as_mut().and_then(|busy| busy.rpcs.abandon(peer)) else { break };
            self.unanswered(peer, asked, host);
        }
        self.after_answers(host);
    }

    fn unanswered(&mut self, peer: P, asked: Asked, host: &mut impl Host<P, Message<P>, Event<P>>) {
        match asked {
            Asked::Copy(what) => self.not_copied(peer, what, host),
            Asked::Quest { number, .. } => {
                self.suspect(peer, host);
                self.quest_unanswered(peer, number, host);
            }
        }
    }

    fn after_answers(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if self.own.iter().any(super::Own::waits) {
            self.announce(host);
        }
        self.calm();
    }

    /// A peer did not answer.
    fn suspect(&mut self, peer: P, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if self.table.suspect(self.now, peer, host.rng()) {
            host.emit(Event::Update { peer, joined: false });
        }
    }

    /// A peer cannot be reached.
    pub(super) fn lose(&mut self, peer: P, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.table.lose(peer, host.rng());
        if self.table.forget(self.now, peer) {
            host.emit(Event::Update { peer, joined: false });
        }
    }

    /// Forgets what is past its time-out.
    pub(super) fn sweep(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.sweep_at = self.now + self.sweep_interval();
        self.tuples.sweep(self.now, self.config.tuple_timeout);
        for peer in self.table.sweep(self.now, host.rng()) {
            host.emit(Event::Update { peer, joined: false });
        }
    }

    /// Tables as after infinite time without change: all mates, and in each group the
    /// nearest contacts of a few.
    pub(super) fn converge_tables(
        &mut self,
        view: &View<'_, P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        self.table.begin(host.id(self.me));
        let (groups, me) = (self.table.groups(), self.me);
        let mates = arc_in(view, self.table.group, groups).iter();
        let mates = mates.map(|member| member.1).filter(|&peer| peer != me).take(MAX_MEMBERS).collect();
        let spatial = self.config.spatial;
        let beside = (u128::from(host.id(me).high()) * u128::from(groups)) as u64;
        self.table.set(self.now, mates, |group, row| {
            let sample = if spatial { 2 * row.len() } else { row.len() };
            let some = some_of(view, (group, groups), beside, sample, host);
            let mut drawn = [(None, me); 2 * MAX_CONTACTS];
            for (place, &(_, peer)) in drawn.iter_mut().zip(some) {
                *place = (if spatial { host.distance(peer) } else { None }, peer);
            }
            let drawn = &mut drawn[..some.len().min(sample)];
            if spatial {
                drawn.sort_unstable();
            }
            for (slot, &(_, peer)) in row.iter_mut().zip(drawn.iter()) {
                *slot = peer;
            }
        });
    }
}

/// The members of a group.
fn arc_in<'a, P: Peer>(view: &View<'a, P>, group: u32, groups: u32) -> &'a [(Id, P)] {
    let start = |group: u32| match group {
        0 => 0,
        _ if group == groups => view.len(),
        _ => view.members().partition_point(|member| member.0 < arc_start(group, groups)),
    };
    view.members().get(start(group)..start(group + 1)).unwrap_or_default()
}

/// At most `most` neighbours in a group, by chance. Ids are evenly spread, so a guess of
/// where the group is in the view nearly always spares the search. In large groups it is
/// near `beside`, the asking node's own place in its group as a part of 2^64: whose tables
/// are made one after the other, in the order of ids, then read the same memory.
fn some_of<'a, P: Peer>(
    view: &View<'a, P>,
    (group, groups): (u32, u32),
    beside: u64,
    most: usize,
    host: &mut impl Host<P, Message<P>, Event<P>>,
) -> &'a [(Id, P)] {
    let share = view.len() as i64 / i64::from(groups);
    let place = ((u128::from(beside) * share as u128) >> 64) as i64;
    let place = (place + host.rng().below(BESIDE) as i64) % share.max(1);
    let mut guess = i64::from(group) * view.len() as i64 / i64::from(groups) + place;
    for _ in 0..3 {
        let at = usize::try_from(guess).unwrap_or(0);
        let Some(some) = view.members().get(at..at + most) else { break };
        let (Some(first), Some(last)) = (some.first(), some.last()) else { break };
        match group_of(first.0, groups) {
            of if of == group && group_of(last.0, groups) == group => return some,
            of if of == group => guess -= most as i64,
            of => guess += (i64::from(group) - i64::from(of)) * share,
        }
    }
    let arc = arc_in(view, group, groups);
    let from = host.rng().index(arc.len().saturating_sub(most) + 1);
    arc.get(from..(from + most).min(arc.len())).unwrap_or_default()
}
