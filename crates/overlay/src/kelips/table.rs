//! Who is known: the affinity group's view and the contacts (section 2).
//!
//! An entry is a peer's name and one byte. The byte is the heartbeat: the moment, in
//! ticks of a 64th of the time-out, at which the peer was last known to be alive. The
//! paper sends a count; here its age is sent, which orders heartbeats in the same way,
//! and which no-one who passes it on can make younger by mistake: both ends round
//! against it. With counts alone, two nodes that forget a dead peer at different
//! moments tell each other of it for ever.

use std::time::Duration;

use starling_sansio::{Rng, Time};

use super::clock::{Clock, LIFE, Moment};
use super::message::Seen;
use crate::{Id, PREFETCHED, Peer, prefetch};

/// Most members of the own group in the view.
pub const MAX_MEMBERS: usize = 8192;
/// Most affinity groups.
pub const MAX_GROUPS: u32 = 8192;
/// Most contacts a foreign group.
pub const MAX_CONTACTS: usize = 8;
/// Peers that did not answer, or left, of which older news is not believed.
pub const MAX_SUSPECTS: usize = 32;

/// Peers that timed out or did not answer, who are tried again now and then.
pub(super) const MAX_LOST: usize = 16;

/// A tick of age weighs as much as this much distance when contacts are compared.
const TICK_WEIGHS: Duration = Duration::from_millis(10);
/// The distance of a peer of which the driver knows none.
const UNKNOWN_DISTANCE: Duration = Duration::from_millis(250);

/// The affinity group of an id: consistent hashing onto `groups` equal arcs.
pub fn group_of(id: Id, groups: u32) -> u32 {
    ((u128::from(id.high()) * u128::from(groups)) >> 64) as u32
}

/// What hearing of a peer changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// Nothing, or only a heartbeat.
    None,
    /// A new member of the own group.
    Member,
    /// A new contact.
    Contact,
    /// There is no room for the peer.
    Full,
}

/// A moment on the tables' clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    now: Time,
    members: Moment,
    contacts: Moment,
}

/// News that are looked up side by side.
pub(super) const TOGETHER: usize = 32;

/// Where news of a peer belong: its group and, in the own one, where it stands among the
/// members if it does.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Spot {
    group: u32,
    at: u32,
}

/// The tables.
#[derive(Clone, Debug)]
pub(super) struct Table<P> {
    me: P,
    /// The own group.
    pub(super) group: u32,
    groups: u32,
    per_group: usize,
    /// The group's members in the order of names, and their heartbeats.
    peers: Vec<P>,
    heard: Vec<u8>,
    /// `per_group` slots for each group in turn; `me` marks an empty one.
    slots: Vec<P>,
    slots_heard: Vec<u8>,
    suspects: Vec<(P, Time)>,
    lost: Vec<P>,
    members_clock: Clock,
    contacts_clock: Clock,
}

impl<P: Peer> Table<P> {
    pub(super) fn new(me: P, config: &super::Config) -> Self {
        Table {
            me,
            group: 0,
            groups: config.groups.clamp(1, MAX_GROUPS),
            per_group: usize::from(config.contacts).clamp(1, MAX_CONTACTS),
            peers: Vec::new(),
            heard: Vec::new(),
            slots: Vec::new(),
            slots_heard: Vec::new(),
            suspects: Vec::new(),
            lost: Vec::new(),
            members_clock: Clock::new(config.member_timeout),
            contacts_clock: Clock::new(config.contact_timeout),
        }
    }

    /// Begins with nobody, in the group of `id`.
    pub(super) fn begin(&mut self, id: Id) {
        self.clear();
        self.group = self.group_of(id);
        let slots = self.groups as usize * self.per_group;
        self.slots = vec![self.me; slots];
        self.slots_heard = vec![0; slots];
    }

    /// Forgets everybody.
    pub(super) fn clear(&mut self) {
        (self.peers, self.heard) = (Vec::new(), Vec::new());
        (self.slots, self.slots_heard) = (Vec::new(), Vec::new());
        (self.suspects, self.lost) = (Vec::new(), Vec::new());
    }

    pub(super) fn group_of(&self, id: Id) -> u32 {
        group_of(id, self.groups)
    }

    pub(super) fn groups(&self) -> u32 {
        self.groups
    }

    pub(super) fn per_group(&self) -> usize {
        self.per_group
    }

    pub(super) fn members_tick(&self) -> Duration {
        self.members_clock.tick()
    }

    /// The members of the own group but this node.
    pub(super) fn members(&self) -> &[P] {
        &self.peers
    }

    /// The contacts in `group`.
    pub(super) fn contacts(&self, group: u32) -> impl Iterator<Item = P> + '_ {
        self.row(group).iter().copied().filter(|&peer| peer != self.me)
    }

    fn row(&self, group: u32) -> &[P] {
        let from = group as usize * self.per_group;
        self.slots.get(from..from + self.per_group).unwrap_or_default()
    }

    /// The group that keeps what belongs to `group`: itself, or, while nobody is known
    /// in it, the next one clockwise with somebody in it.
    pub(super) fn home(&self, group: u32) -> u32 {
        if group == self.group || self.row(group).iter().any(|&peer| peer != self.me) {
            group
        } else {
            self.next_home(group)
        }
    }

    /// The next group clockwise after `group` with somebody in it.
    pub(super) fn next_home(&self, group: u32) -> u32 {
        let clockwise = (1..=self.groups).map(|steps| (group + steps) % self.groups);
        let mut inhabited = clockwise
            .filter(|&group| group == self.group || self.row(group).iter().any(|&peer| peer != self.me));
        inhabited.next().unwrap_or(self.group)
    }

    /// `now` on the tables' clocks.
    pub(super) fn when(&self, now: Time) -> When {
        When { now, members: self.members_clock.at(now), contacts: self.contacts_clock.at(now) }
    }

    /// Where news of a single peer of that id belong.
    pub(super) fn spot(&self, id: Id) -> Spot {
        Spot { group: self.group_of(id), at: 0 }
    }

    /// Where the first [`TOGETHER`] of `news` belong. Reads on the way what taking them
    /// will need, so that a processor waits once for the memory of all and not for each.
    pub(super) fn spots(&self, news: &[Seen<P>], id: impl Fn(P) -> Id) -> [Spot; TOGETHER] {
        let mut spots = [Spot::default(); TOGETHER];
        let (mut members, mut sum) = (0, 0u64);
        for (spot, entry) in spots.iter_mut().zip(news) {
            spot.group = self.group_of(id(entry.peer));
            if spot.group == self.group {
                members += 1;
            } else {
                let first = spot.group as usize * self.per_group;
                sum += u64::from(self.slots.get(first).is_some_and(|&peer| peer == entry.peer));
                sum += u64::from(self.slots_heard.get(first).copied().unwrap_or_default());
            }
        }
        std::hint::black_box(sum);
        if members > 0 {
            self.find_members(news, &mut spots);
        }
        spots
    }

    /// Binary searches in step, without a branch that could be foreseen wrongly.
    fn find_members(&self, news: &[Seen<P>], spots: &mut [Spot; TOGETHER]) {
        let mut left = self.peers.len();
        while left > 1 {
            let half = left / 2;
            for (spot, entry) in spots.iter_mut().zip(news) {
                let middle = spot.at as usize + half;
                let before = self.peers[middle] <= entry.peer;
                spot.at = std::hint::select_unpredictable(before, middle as u32, spot.at);
            }
            left -= half;
        }
    }

    /// Takes news of a peer: a heartbeat `age` seconds ago. `direct` news came from the
    /// peer itself, and is believed of a suspect too.
    pub(super) fn hear(
        &mut self,
        when: &When,
        news: Seen<P>,
        direct: bool,
        spot: Spot,
        distance: impl Fn(P) -> Option<Duration>,
    ) -> Change {
        if news.peer == self.me || self.disbelieves(when.now, news, direct) {
            return Change::None;
        }
        if spot.group == self.group {
            self.hear_member(when.members, news, spot.at as usize)
        } else {
            self.hear_contact(when.contacts, news, spot.group, distance)
        }
    }

    fn disbelieves(&mut self, now: Time, news: Seen<P>, direct: bool) -> bool {
        let Some(at) = self.suspects.iter().position(|suspect| suspect.0 == news.peer) else { return false };
        let heard = now - Duration::from_secs(u64::from(news.age));
        if !direct && heard <= self.suspects[at].1 {
            return true;
        }
        self.suspects.remove(at);
        false
    }

    /// News of a member, who stood at `likely` before other news were taken.
    fn hear_member(&mut self, now: Moment, news: Seen<P>, likely: usize) -> Change {
        let known = if self.peers.get(likely) == Some(&news.peer) {
            Ok(likely)
        } else {
            self.peers.binary_search(&news.peer)
        };
        match known {
            Ok(at) => {
                if let Some(stamp) = now.younger(self.heard[at], news.age) {
                    self.heard[at] = stamp;
                }
                Change::None
            }
            Err(at) => self.add_member(now, news, at),
        }
    }

    fn add_member(&mut self, now: Moment, news: Seen<P>, at: usize) -> Change {
        let Some(stamp) = now.stamp(news.age) else { return Change::None };
        if self.peers.len() >= MAX_MEMBERS {
            return Change::Full;
        }
        if self.peers.len() == self.peers.capacity() {
            // Doubling would waste most of a large simulation's memory.
            let more = self.peers.len() / 16 + 4;
            self.peers.reserve_exact(more);
            self.heard.reserve_exact(more);
        }
        self.peers.insert(at, news.peer);
        self.heard.insert(at, stamp);
        Change::Member
    }

    fn hear_contact(
        &mut self,
        now: Moment,
        news: Seen<P>,
        group: u32,
        distance: impl Fn(P) -> Option<Duration>,
    ) -> Change {
        let from = group as usize * self.per_group;
        let row = from..(from + self.per_group).min(self.slots.len());
        if let Some(at) = row.clone().find(|&at| self.slots[at] == news.peer) {
            if let Some(stamp) = now.younger(self.slots_heard[at], news.age) {
                self.slots_heard[at] = stamp;
            }
            return Change::None;
        }
        let Some(stamp) = now.stamp(news.age) else { return Change::None };
        let empty = row.clone().find(|&at| self.slots[at] == self.me);
        // Section 2.1 leaves open which contacts to keep: near ones, and young ones.
        let cost = |peer: P, stamp: u8| {
            distance(peer).unwrap_or(UNKNOWN_DISTANCE) + TICK_WEIGHS * u32::from(now.ticks(stamp))
        };
        let worst = || {
            let costs = row.clone().map(|at| (cost(self.slots[at], self.slots_heard[at]), at));
            costs.max().filter(|worst| cost(news.peer, stamp) < worst.0).map(|worst| worst.1)
        };
        let Some(at) = empty.or_else(worst) else { return Change::None };
        self.slots[at] = news.peer;
        self.slots_heard[at] = stamp;
        Change::Contact
    }

    /// Whether `peer` lately did not answer, and gave no heartbeat since.
    pub(super) fn is_suspect(&self, peer: P) -> bool {
        self.suspects.iter().any(|suspect| suspect.0 == peer)
    }

    /// `peer` did not answer. Once may be chance; a suspect who does it again is lost:
    /// then true if it was a member of the own group.
    pub(super) fn suspect(&mut self, now: Time, peer: P, rng: &mut Rng) -> bool {
        if self.is_suspect(peer) {
            self.lose(peer, rng);
            return self.forget(now, peer);
        }
        self.note(now, peer);
        false
    }

    /// `peer` left: it is not looked for any more.
    pub(super) fn leaves(&mut self, now: Time, peer: P) -> bool {
        self.lost.retain(|&lost| lost != peer);
        self.forget(now, peer)
    }

    fn note(&mut self, now: Time, peer: P) {
        self.suspects.retain(|suspect| suspect.0 != peer);
        if self.suspects.len() >= MAX_SUSPECTS {
            self.suspects.remove(0);
        }
        self.suspects.push((peer, now));
    }

    /// Forgets `peer`, and older news of it: it left, or is known to be gone. Whether
    /// it was a member of the own group.
    pub(super) fn forget(&mut self, now: Time, peer: P) -> bool {
        self.note(now, peer);
        let me = self.me;
        self.slots.iter_mut().filter(|slot| **slot == peer).for_each(|slot| *slot = me);
        let Ok(at) = self.peers.binary_search(&peer) else { return false };
        self.peers.remove(at);
        self.heard.remove(at);
        true
    }

    /// `peer` may be dead, or only cut off. Once there are many such, chance decides who
    /// of them is remembered: deaths one by one do not displace at once all who were lost
    /// together.
    pub(super) fn lose(&mut self, peer: P, rng: &mut Rng) {
        if self.lost.contains(&peer) {
            return;
        }
        match self.lost.len() < MAX_LOST {
            true => self.lost.push(peer),
            false => self.lost[rng.index(MAX_LOST)] = peer,
        }
    }

    /// Somebody who was lost, by chance, if that one is not known again.
    pub(super) fn lost(&mut self, rng: &mut Rng) -> Option<P> {
        let at = (!self.lost.is_empty()).then(|| rng.index(self.lost.len()))?;
        let peer = self.lost[at];
        if self.peers.binary_search(&peer).is_err() && !self.slots.contains(&peer) {
            return Some(peer);
        }
        self.lost.swap_remove(at);
        None
    }

    /// Drops entries past their time-out and tells the members among them.
    pub(super) fn sweep(&mut self, now: Time, rng: &mut Rng) -> Vec<P> {
        let when = self.when(now);
        for at in 0..self.slots.len() {
            if self.slots[at] != self.me && when.contacts.ticks(self.slots_heard[at]) > LIFE {
                let gone = std::mem::replace(&mut self.slots[at], self.me);
                self.lose(gone, rng);
            }
        }
        let life = self.contacts_clock.life();
        let oldest = self.suspects.partition_point(|suspect| now.since(suspect.1) > life);
        self.suspects.drain(..oldest);
        let dead = |&heard: &u8| when.members.ticks(heard) > LIFE;
        if !self.heard.iter().any(dead) {
            return Vec::new();
        }
        let gone = self.peers.iter().zip(&self.heard).filter(|(_, heard)| dead(heard));
        let gone: Vec<P> = gone.map(|(&peer, _)| peer).collect();
        self.peers.retain(|peer| gone.binary_search(peer).is_err());
        self.heard.retain(|heard| !dead(heard));
        gone.iter().for_each(|&peer| self.lose(peer, rng));
        gone
    }

    /// After a sleep in which a byte of ticks may have run over: everybody has half a
    /// life to give a heartbeat.
    pub(super) fn wake(&mut self, before: Time, now: Time) {
        if now.since(before) < self.members_clock.life().min(self.contacts_clock.life()) {
            return;
        }
        let (before, now) = (self.when(before), self.when(now));
        if now.members.ticks_since(before.members) > i64::from(LIFE) {
            self.heard.fill(now.members.half_a_life_ago());
        }
        if now.contacts.ticks_since(before.contacts) > i64::from(LIFE) {
            self.slots_heard.fill(now.contacts.half_a_life_ago());
        }
    }

    /// The age of member number `at`, if there is one.
    pub(super) fn member_age(&self, when: &When, at: usize) -> Option<u16> {
        self.heard.get(at).map(|&heard| when.members.age(heard))
    }

    /// Member number `at` as an entry to send.
    pub(super) fn member_entry(&self, when: &When, at: usize) -> Option<Seen<P>> {
        let (&peer, &heard) = (self.peers.get(at)?, self.heard.get(at)?);
        Some(Seen { peer, age: when.members.age(heard) })
    }

    /// The contact in slot `at`, if there is one, as an entry to send.
    pub(super) fn slot_entry(&self, when: &When, at: usize) -> Option<Seen<P>> {
        let (&peer, &heard) = (self.slots.get(at)?, self.slots_heard.get(at)?);
        (peer != self.me).then(|| Seen { peer, age: when.contacts.age(heard) })
    }

    /// The entry of `peer`, if it is known.
    pub(super) fn entry(&self, when: &When, peer: P, group: u32) -> Option<Seen<P>> {
        if group == self.group {
            return self.member_entry(when, self.peers.binary_search(&peer).ok()?);
        }
        let at = group as usize * self.per_group + self.row(group).iter().position(|&slot| slot == peer)?;
        self.slot_entry(when, at)
    }

    /// Slots for contacts, full or empty.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Sets the tables of a member that has heard of everybody for ever: its group's
    /// members in any order, and contacts by slot.
    pub(super) fn set(&mut self, now: Time, mut members: Vec<P>, mut contact: impl FnMut(u32, &mut [P])) {
        members.sort_unstable();
        members.shrink_to_fit();
        let when = self.when(now);
        self.heard = vec![when.members.stamp(0).unwrap_or_default(); members.len()];
        self.peers = members;
        self.slots_heard.fill(when.contacts.stamp(0).unwrap_or_default());
        for (group, row) in (0..).zip(self.slots.chunks_exact_mut(self.per_group)) {
            if group != self.group {
                contact(group, row);
            }
        }
    }

    /// Asks for all of what gossip needs; see [`crate::Core::warm`].
    pub(super) fn warm(&self) {
        let names = (PREFETCHED / size_of::<P>().max(1)).max(1);
        self.peers.chunks(names).chain(self.slots.chunks(names)).for_each(prefetch);
        self.heard.chunks(PREFETCHED).chain(self.slots_heard.chunks(PREFETCHED)).for_each(prefetch);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        (self.peers.capacity() + self.slots.capacity()) * size_of::<P>()
            + self.heard.capacity()
            + self.slots_heard.capacity()
            + self.suspects.capacity() * size_of::<(P, Time)>()
            + self.lost.capacity() * size_of::<P>()
    }
}
