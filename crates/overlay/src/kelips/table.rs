//! Who is known: the affinity group's view and the contacts (section 2).
//!
//! An entry is a peer's name and one byte. The byte is the heartbeat: the moment, in
//! ticks of a 64th of the time-out, at which the peer was last known to be alive. The
//! paper sends a count; here its age is sent, which orders heartbeats in the same way,
//! and which no-one who passes it on can make younger by mistake: both ends round
//! against it. With counts alone, two nodes that forget a dead peer at different
//! moments tell each other of it for ever.

use std::time::Duration;

use starling_sansio::Time;

use super::message::Seen;
use crate::{Id, Peer};

/// Most members of the own group in the view.
pub const MAX_MEMBERS: usize = 8192;
/// Most affinity groups.
pub const MAX_GROUPS: u32 = 8192;
/// Most contacts a foreign group.
pub const MAX_CONTACTS: usize = 8;
/// Peers that did not answer, or left, of which older news is not believed.
pub const MAX_SUSPECTS: usize = 32;

/// Ticks until an entry is dropped. A byte holds four times as many.
const LIFE: u8 = 64;
/// A tick of age weighs as much as this much distance when contacts are compared.
const TICK_WEIGHS: Duration = Duration::from_millis(10);
/// The distance of a peer of which the driver knows none.
const UNKNOWN_DISTANCE: Duration = Duration::from_millis(250);

/// The affinity group of an id: consistent hashing onto `groups` equal arcs.
pub fn group_of(id: Id, groups: u32) -> u32 {
    ((u128::from(id.high()) * u128::from(groups)) >> 64) as u32
}

/// Ticks of a time-out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(i64);

impl Clock {
    pub(super) fn new(timeout: Duration) -> Clock {
        let micros = i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX);
        Clock((micros / i64::from(LIFE)).max(1))
    }

    /// A tick's length.
    pub(super) fn tick(self) -> Duration {
        Duration::from_micros(self.0.unsigned_abs())
    }

    /// The heartbeat of `age` seconds ago; `None` if that is past the time-out.
    pub(super) fn stamp(self, now: Time, age: u16) -> Option<u8> {
        let heard = (micros(now) - i64::from(age) * 1_000_000).div_euclid(self.0);
        (self.number(now) - heard <= i64::from(LIFE)).then_some(heard as u8)
    }

    /// Ticks since that heartbeat.
    pub(super) fn ticks(self, now: Time, stamp: u8) -> u8 {
        (self.number(now) as u8).wrapping_sub(stamp)
    }

    /// Seconds since that heartbeat, rounded up.
    pub(super) fn age(self, now: Time, stamp: u8) -> u16 {
        let heard = (self.number(now) - i64::from(self.ticks(now, stamp))) * self.0;
        u16::try_from((micros(now) - heard + 999_999) / 1_000_000).unwrap_or(u16::MAX)
    }

    fn number(self, now: Time) -> i64 {
        micros(now).div_euclid(self.0)
    }
}

fn micros(now: Time) -> i64 {
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX / 2)
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
        self.suspects = Vec::new();
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

    /// Takes news of a peer: a heartbeat `age` seconds ago. `direct` news came from the
    /// peer itself, and is believed of a suspect too.
    pub(super) fn hear(
        &mut self,
        now: Time,
        news: Seen<P>,
        direct: bool,
        group: u32,
        distance: impl Fn(P) -> Option<Duration>,
    ) -> Change {
        if news.peer == self.me || self.disbelieves(now, news, direct) {
            return Change::None;
        }
        if group == self.group {
            self.hear_member(now, news)
        } else {
            self.hear_contact(now, news, group, distance)
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

    fn hear_member(&mut self, now: Time, news: Seen<P>) -> Change {
        let Some(stamp) = self.members_clock.stamp(now, news.age) else { return Change::None };
        match self.peers.binary_search(&news.peer) {
            Ok(at) => {
                let clock = self.members_clock;
                if clock.ticks(now, stamp) < clock.ticks(now, self.heard[at]) {
                    self.heard[at] = stamp;
                }
                Change::None
            }
            Err(_) if self.peers.len() >= MAX_MEMBERS => Change::Full,
            Err(at) => {
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
        }
    }

    fn hear_contact(
        &mut self,
        now: Time,
        news: Seen<P>,
        group: u32,
        distance: impl Fn(P) -> Option<Duration>,
    ) -> Change {
        let Some(stamp) = self.contacts_clock.stamp(now, news.age) else { return Change::None };
        let (clock, me) = (self.contacts_clock, self.me);
        let from = group as usize * self.per_group;
        let row = from..(from + self.per_group).min(self.slots.len());
        if let Some(at) = row.clone().find(|&at| self.slots[at] == news.peer) {
            if clock.ticks(now, stamp) < clock.ticks(now, self.slots_heard[at]) {
                self.slots_heard[at] = stamp;
            }
            return Change::None;
        }
        let empty = row.clone().find(|&at| self.slots[at] == me);
        // Section 2.1 leaves open which contacts to keep: near ones, and young ones.
        let cost = |peer: P, stamp: u8| {
            distance(peer).unwrap_or(UNKNOWN_DISTANCE) + TICK_WEIGHS * u32::from(clock.ticks(now, stamp))
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

    /// `peer` did not answer. Once may be chance; a suspect who does it again is
    /// forgotten: then true if it was a member of the own group.
    pub(super) fn suspect(&mut self, now: Time, peer: P) -> bool {
        if self.is_suspect(peer) {
            return self.forget(now, peer);
        }
        self.note(now, peer);
        false
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

    /// Drops entries past their time-out and tells the members among them.
    pub(super) fn sweep(&mut self, now: Time) -> Vec<P> {
        let clock = self.contacts_clock;
        for (slot, &heard) in self.slots.iter_mut().zip(&self.slots_heard) {
            if clock.ticks(now, heard) > LIFE {
                *slot = self.me;
            }
        }
        let oldest = self.suspects.partition_point(|s| now.since(s.1) > clock.tick() * u32::from(LIFE));
        self.suspects.drain(..oldest);
        let clock = self.members_clock;
        let dead = |&heard: &u8| clock.ticks(now, heard) > LIFE;
        if !self.heard.iter().any(dead) {
            return Vec::new();
        }
        let gone = self.peers.iter().zip(&self.heard).filter(|(_, heard)| dead(heard));
        let gone: Vec<P> = gone.map(|(&peer, _)| peer).collect();
        self.peers.retain(|peer| gone.binary_search(peer).is_err());
        self.heard.retain(|heard| !dead(heard));
        gone
    }

    /// After a sleep in which a byte of ticks may have run over: everybody has half a
    /// life to give a heartbeat.
    pub(super) fn wake(&mut self, before: Time, now: Time) {
        let slept = |clock: Clock| clock.number(now) - clock.number(before) > i64::from(LIFE);
        let half = |clock: Clock| (clock.number(now) - i64::from(LIFE / 2)) as u8;
        if slept(self.members_clock) {
            self.heard.fill(half(self.members_clock));
        }
        if slept(self.contacts_clock) {
            self.slots_heard.fill(half(self.contacts_clock));
        }
    }

    /// Member number `at` as an entry to send.
    pub(super) fn member_entry(&self, now: Time, at: usize) -> Option<Seen<P>> {
        let (&peer, &heard) = (self.peers.get(at)?, self.heard.get(at)?);
        Some(Seen { peer, age: self.members_clock.age(now, heard) })
    }

    /// The contact in slot `at`, if there is one, as an entry to send.
    pub(super) fn slot_entry(&self, now: Time, at: usize) -> Option<Seen<P>> {
        let (&peer, &heard) = (self.slots.get(at)?, self.slots_heard.get(at)?);
        (peer != self.me).then(|| Seen { peer, age: self.contacts_clock.age(now, heard) })
    }

    /// The entry of `peer`, if it is known.
    pub(super) fn entry(&self, now: Time, peer: P, group: u32) -> Option<Seen<P>> {
        if group == self.group {
            return self.member_entry(now, self.peers.binary_search(&peer).ok()?);
        }
        let at = group as usize * self.per_group + self.row(group).iter().position(|&slot| slot == peer)?;
        self.slot_entry(now, at)
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
        let stamp = self.members_clock.stamp(now, 0).unwrap_or_default();
        self.heard = vec![stamp; members.len()];
        self.peers = members;
        self.slots_heard.fill(self.contacts_clock.stamp(now, 0).unwrap_or_default());
        for (group, row) in (0..).zip(self.slots.chunks_exact_mut(self.per_group)) {
            if group != self.group {
                contact(group, row);
            }
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        (self.peers.capacity() + self.slots.capacity()) * size_of::<P>()
            + self.heard.capacity()
            + self.slots_heard.capacity()
            + self.suspects.capacity() * size_of::<(P, Time)>()
    }
}
