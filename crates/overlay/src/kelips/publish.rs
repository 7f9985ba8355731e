//! A node's own records: the home node's side (section 2).

use std::sync::Arc;
use std::time::Duration;

use crate::wire::List;
use crate::{Event, Host, Id, Offence, Peer, Purpose, Record, RpcId};

use super::message::{Announcement, Message, Tuple};
use super::quest::Sought;
use super::tuples::{Taken, Word, believable};
use super::{Kelips, Time};

/// Most records that a node publishes.
pub const MAX_RECORDS: usize = 4096;
/// Announcements under way at once.
const MAX_ANNOUNCEMENTS: usize = 16;
/// After an announcement that nobody took, the next try.
const RETRY: Duration = Duration::from_secs(15);

/// A record of this node.
#[derive(Clone, Debug)]
pub(super) struct Own {
    record: Record,
    /// Whether it has tuples under its words too.
    by_words: bool,
    beat: u32,
    live: bool,
    /// Bit 0 is the tuple under the key, the others those under the words, in order:
    /// set if it is still to be announced.
    todo: u32,
    /// When the next heartbeat is due.
    due: Time,
}

impl Own {
    pub(super) fn heap_bytes(&self) -> usize {
        self.record.name.len() + 16
    }

    pub(super) fn key(&self) -> Id {
        self.record.key
    }

    /// Whether something of it is to be announced now.
    pub(super) fn waits(&self) -> bool {
        self.todo != 0 && self.due == Time::NEVER
    }

    /// All its tuples are to be announced.
    pub(super) fn announce_all(&mut self) {
        (self.todo, self.due) = (self.all(), Time::NEVER);
    }

    /// The words under which it has tuples.
    fn words(&self) -> Vec<Arc<str>> {
        if self.by_words { self.record.words() } else { Vec::new() }
    }

    /// What the record's tuples are found by, as many as it has.
    fn places(&self) -> Vec<u64> {
        let words = self.words();
        let words = words.iter().map(|word| Id::hash(word.as_bytes()));
        [self.record.key].into_iter().chain(words).map(Id::high).collect()
    }

    /// Goes above a count of an earlier life of this node, or of a lie, by a heartbeat of
    /// that tuple; false if nobody can know of it.
    fn outdo(&mut self, number: u8, beat: u32) -> bool {
        if !believable(self.beat, beat) {
            return false;
        }
        self.beat = beat.saturating_add(1);
        self.todo |= 1 << number;
        self.due = Time::NEVER;
        true
    }

    fn all(&self) -> u32 {
        (1 << (self.words().len() + 1)) - 1
    }
}

impl<P: Peer> Kelips<P> {
    pub(super) fn publish(&mut self, record: Record, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let known = self.own.iter().position(|own| own.record.key == record.key);
        if known.is_none() && self.own.len() >= MAX_RECORDS {
            return host.refuse(None, Offence::Full);
        }
        let beat = known.map_or(1, |at| self.own[at].beat.saturating_add(1));
        let by_words = self.config.search_words;
        let mut own = Own { record, by_words, beat, live: true, todo: 0, due: Time::NEVER };
        own.announce_all();
        match known {
            Some(at) => self.own[at] = own,
            None => self.own.push(own),
        }
        self.announce(host);
    }

    pub(super) fn withdraw(&mut self, key: Id, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if let Some(own) = self.own.iter_mut().find(|own| own.record.key == key) {
            own.live = false;
            own.beat = own.beat.saturating_add(1);
            own.announce_all();
            self.announce(host);
        }
    }

    /// Whether this node has the record of that key.
    pub(super) fn has(&self, key: Id) -> bool {
        self.own.iter().any(|own| own.live && own.record.key == key)
    }

    /// What a leaving node says of one of its records.
    pub(super) fn farewells(&self, key: Id) -> Vec<Announcement> {
        let Some(own) = self.own.iter().find(|own| own.record.key == key) else { return Vec::new() };
        let beat = own.beat.saturating_add(1);
        let say = |under| Announcement { under, record: own.record.clone(), beat, live: false };
        own.places().into_iter().map(say).collect()
    }

    /// Gives heartbeats to the records that are due.
    pub(super) fn refresh(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let now = self.now;
        for own in self.own.iter_mut().filter(|own| own.due <= now) {
            if own.todo == 0 && own.live {
                own.beat = own.beat.saturating_add(1);
                own.todo = own.all();
            }
            own.due = Time::NEVER;
        }
        self.announce(host);
    }

    /// Starts announcements, as many as may be under way at once.
    pub(super) fn announce(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        while self.member && self.busy.as_ref().map_or(0, |busy| busy.announcements()) < MAX_ANNOUNCEMENTS {
            let Some(own) = self.own.iter_mut().find(|own| own.waits()) else { break };
            let bit = own.todo.trailing_zeros();
            own.todo &= !(1 << bit);
            let (key, under) = (own.record.key, own.places().get(bit as usize).copied());
            let jitter =
                Duration::from_micros(host.rng().below(self.config.refresh_interval.as_micros() as u64 / 4));
            if own.todo == 0 {
                own.due = self.now + self.config.refresh_interval - jitter;
            }
            if !under.is_some_and(|under| self.start(Sought::Holder(key, bit as u8), under, host)) {
                self.not_accepted(key, bit as u8);
                break;
            }
        }
        self.own.retain(|own| own.live || own.todo != 0 || own.due != Time::NEVER);
        self.refresh_at = self.own.iter().map(|own| own.due).min().unwrap_or(Time::NEVER);
    }

    /// What to say of the own record of that key, if it still is one.
    pub(super) fn announcement(&self, key: Id, under: u64) -> Option<Announcement> {
        let own = self.own.iter().find(|own| own.record.key == key)?;
        Some(Announcement { under, record: own.record.clone(), beat: own.beat, live: own.live })
    }

    /// This node is itself a holder for that tuple of its own.
    pub(super) fn keep_own(&mut self, key: Id, number: u8, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Some(own) = self.own.iter().find(|own| own.record.key == key) else { return };
        let Some(&under) = own.places().get(usize::from(number)) else { return };
        let Some(what) = self.announcement(key, under) else { return };
        match self.keep(self.me, what, host) {
            Taken::Beat(beat) => self.accepted(self.me, key, number, beat, host),
            _ => self.not_accepted(key, number),
        }
    }

    /// A holder took a tuple.
    pub(super) fn accepted(
        &mut self,
        from: P,
        key: Id,
        number: u8,
        beat: u32,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let Some(own) = self.own.iter_mut().find(|own| own.record.key == key) else { return };
        if beat > own.beat && !own.outdo(number, beat) {
            host.refuse(Some(from), Offence::OutOfRange);
            self.not_accepted(key, number);
        }
    }

    /// What somebody says of a tuple of this node, who knows better: it is not kept, but
    /// outdone by a heartbeat of our own. Who believes what cannot be is told the truth.
    pub(super) fn hear_of_own(
        &mut self,
        from: P,
        tuple: &Tuple<P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let of = |own: &&mut Own| own.live && own.record.key == tuple.record.key;
        let Some(own) = self.own.iter_mut().find(of) else { return };
        let newer = tuple.beat > own.beat || (tuple.beat == own.beat && !tuple.live);
        let number = if newer { own.places().iter().position(|&under| under == tuple.under) } else { None };
        let Some(number) = number else { return };
        if !own.outdo(number as u8, tuple.beat) {
            let tuples = self.truth(tuple).into_iter().collect();
            host.refuse(Some(from), Offence::OutOfRange);
            host.send(from, Message::Gossip { entries: List::default(), tuples, pull: false });
        }
        self.announce(host);
    }

    /// What is true of a tuple that is said to be this node's, if it has that record.
    pub(super) fn truth(&self, tuple: &Tuple<P>) -> Option<Tuple<P>> {
        let own = self.own.iter().find(|own| own.live && own.record.key == tuple.record.key)?;
        let (record, beat) = (Arc::new(own.record.clone()), own.beat);
        let is_of = own.places().contains(&tuple.under);
        is_of.then_some(Tuple { record, beat, age: 0, live: true, ..*tuple })
    }

    /// Nobody took a tuple: later again.
    pub(super) fn not_accepted(&mut self, key: Id, number: u8) {
        if let Some(own) = self.own.iter_mut().find(|own| own.record.key == key) {
            own.todo |= 1 << number;
            own.due = own.due.min(self.now + RETRY);
        }
        self.refresh_at = self.refresh_at.min(self.now + RETRY);
    }

    /// An announcement of another node.
    pub(super) fn announced(
        &mut self,
        from: P,
        rpc: RpcId,
        what: Announcement,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let under = what.under;
        let fits = |word: &Arc<str>| Id::hash(word.as_bytes()).high() == under;
        if under != what.record.key.high() && !what.record.words().iter().any(fits) {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        if self.serves(under) {
            match self.keep(from, what, host) {
                Taken::Beat(beat) => return host.send(from, Message::Accepted { rpc, beat }),
                _ => host.refuse(Some(from), Offence::Full),
            }
        }
        let peers = self.referral(from, under);
        host.send(from, Message::Refer { rpc, why: Purpose::Publish, peers });
    }

    fn keep(&mut self, home: P, what: Announcement, host: &mut impl Host<P, Message<P>, Event<P>>) -> Taken {
        let Announcement { under, record, beat, live } = what;
        self.take_tuple(Tuple { under, record: Arc::new(record), home, beat, age: 0, live }, Word::Home, host)
    }
}
