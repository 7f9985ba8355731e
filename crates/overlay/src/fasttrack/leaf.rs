//! A leaf's side: finds a super-peer, tells it what there is, moves when it dies.

use std::collections::BTreeSet;

use starling_sansio::Time;

use super::maintain::SOON;
use super::message::{MAX_BATCH, Message};
use super::office::Office;
use super::{Asked, FastTrack, MAX_ASKED, MAX_SPARES, State, TRIES, World};
use crate::gnutella::What;
use crate::gnutella::config::count;
use crate::gnutella::shelf::Shelf;
use crate::wire::List;
use crate::{Event, Id, Offence, Peer, Record, RpcId};

/// A leaf's super-peer, and what it has not been told.
#[derive(Debug)]
pub(super) struct Parent<P> {
    pub peer: P,
    /// Keys to publish and to withdraw; at most as many as the shelf ever holds. Those in
    /// the question under way are not among them, unless they changed after it was put.
    unsent: BTreeSet<Id>,
    gone: BTreeSet<Id>,
}

impl<P> Parent<P> {
    /// One that was told nothing yet.
    pub fn new(peer: P, shelf: &Shelf) -> Self {
        Parent { peer, unsent: shelf.keys().collect(), gone: BTreeSet::new() }
    }

    /// Bytes on the heap, this struct's own included.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>() + (self.unsent.len() + self.gone.len()) * size_of::<Id>() * 4 / 3
    }
}

/// Takes as many keys as a message holds.
fn take_batch(keys: &mut BTreeSet<Id>) -> Vec<Id> {
    std::iter::from_fn(|| keys.pop_first()).take(MAX_BATCH).collect()
}

impl<P: Peer> FastTrack<P> {
    /// Looks for a super-peer: a spare one, else one that was known once.
    pub(super) fn seek(&mut self, now: Time, host: &mut impl World<P>) {
        let seeking = self.asked.iter().any(|(_, asked)| matches!(asked, Asked::Attach));
        if self.state == State::Out || self.parent.is_some() || self.office.is_some() || seeking {
            return;
        }
        if self.tries == 0 {
            return;
        }
        let spare = (!self.spares.is_empty()).then(|| self.spares.remove(0));
        let Some(next) = spare.or_else(|| self.past.take_try().then(|| self.past.next_name()).flatten())
        else {
            return;
        };
        let deadline = now + self.config.timeout;
        if let Some(rpc) = self.asked.open(next, deadline, Asked::Attach, host.rng()) {
            self.tries -= 1;
            host.send(next, Message::Attach { rpc, capacity: self.capacity });
        }
    }

    pub(super) fn on_attached(
        &mut self,
        now: Time,
        from: P,
        rpc: RpcId,
        supers: &[P],
        host: &mut impl World<P>,
    ) {
        if !matches!(self.asked.close(rpc, from), Some(Asked::Attach)) {
            let Some(parent) = self.parent.as_mut().filter(|parent| parent.peer == from) else {
                return host.refuse(Some(from), Offence::UnknownReply);
            };
            // A question of ours came late or twice, so that the super-peer forgot what it
            // had been told before: it is told again.
            parent.unsent = self.shelf.keys().collect();
            return self.share(now, host);
        }
        if self.parent.is_some() || self.office.is_some() {
            return host.send(from, Message::Bye { supers: Default::default() });
        }
        self.learn_all(from, supers, host);
        self.parent = Some(Box::new(Parent::new(from, &self.shelf)));
        self.orphaned = 0;
        self.past.found();
        if self.spares.is_empty() {
            self.tick = self.tick.min(now + self.config.interval / SOON);
        }
        host.emit(Event::Update { peer: from, joined: true });
        self.joined(host);
        self.share(now, host);
        self.ask_again(now, host);
    }

    pub(super) fn on_redirect(
        &mut self,
        now: Time,
        from: P,
        rpc: RpcId,
        supers: &[P],
        host: &mut impl World<P>,
    ) {
        match self.asked.close(rpc, from) {
            Some(Asked::Attach) => {
                // It lives: it may have room, or know others, later.
                self.past.remember(from);
                // The first named has room; it comes before older names.
                self.learn_all(from, supers, host);
                self.seek(now, host);
            }
            Some(Asked::Link) => {
                self.past.remember(from);
                self.learn_all(from, supers, host);
            }
            _ => host.refuse(Some(from), Offence::UnknownReply),
        }
    }

    /// A record was published here.
    pub(super) fn publish(&mut self, now: Time, key: Id, host: &mut impl World<P>) {
        if let Some(parent) = &mut self.parent {
            parent.gone.remove(&key);
            parent.unsent.insert(key);
            self.share(now, host);
        }
    }

    /// A record was withdrawn here.
    pub(super) fn withdraw(&mut self, now: Time, key: Id, host: &mut impl World<P>) {
        if let Some(parent) = &mut self.parent {
            parent.unsent.remove(&key);
            parent.gone.insert(key);
            self.share(now, host);
        }
    }

    /// Tells the super-peer some of what it does not know, one message at a time.
    pub(super) fn share(&mut self, now: Time, host: &mut impl World<P>) {
        let under_way = self.asked.iter().any(|(_, asked)| matches!(asked, Asked::Share { .. }));
        if under_way || self.asked.len() >= MAX_ASKED {
            return;
        }
        let Some(parent) = &mut self.parent else { return };
        let sent = take_batch(&mut parent.unsent);
        let gone = take_batch(&mut parent.gone);
        if !(sent.is_empty() && gone.is_empty()) {
            self.send_share(now, sent, gone, 1, host);
        }
    }

    /// Puts keys to the super-peer, with their records; those that do not fit have to wait.
    fn send_share(&mut self, now: Time, keys: Vec<Id>, gone: Vec<Id>, tries: u8, host: &mut impl World<P>) {
        let Some(parent) = &mut self.parent else { return };
        let peer = parent.peer;
        let found: Vec<Record> = keys.iter().flat_map(|&key| self.shelf.find(&What::Key(key))).collect();
        let records: List<Record, MAX_BATCH> = List::fitting(found.iter().cloned());
        parent.unsent.extend(found[records.len()..].iter().map(|record| record.key));
        let sent = records.iter().map(|record| record.key).collect();
        let withdrawn = gone.iter().copied().collect();
        let asked = Asked::Share { sent, gone, tries };
        if let Some(rpc) = self.asked.open(peer, now + self.config.timeout, asked, host.rng()) {
            host.send(peer, Message::Share { rpc, records, withdrawn });
        }
    }

    pub(super) fn on_shared(&mut self, now: Time, from: P, rpc: RpcId, host: &mut impl World<P>) {
        if !matches!(self.asked.close(rpc, from), Some(Asked::Share { .. })) {
            return host.refuse(Some(from), Offence::UnknownReply);
        }
        self.share(now, host);
    }

    /// A question was not answered in time: puts it again, or takes the other for dead.
    pub(super) fn expire(&mut self, now: Time, host: &mut impl World<P>) {
        while let Some((peer, asked)) = self.asked.expire(now) {
            let ours = self.parent() == Some(peer);
            match asked {
                Asked::Share { sent, gone, tries } if ours && tries < TRIES => {
                    self.send_share(now, sent, gone, tries + 1, host);
                }
                Asked::Ping { tries } if ours && tries < TRIES => self.ping_parent(now, tries + 1, host),
                Asked::Share { .. } | Asked::Ping { .. } if ours => self.lost(now, peer, host),
                Asked::Attach | Asked::Link => {
                    self.past.remember(peer);
                    self.look_around(now, host);
                }
                _ => {}
            }
        }
    }

    pub(super) fn ping_parent(&mut self, now: Time, tries: u8, host: &mut impl World<P>) {
        let Some(peer) = self.parent() else { return };
        let deadline = now + self.config.timeout;
        if let Some(rpc) = self.asked.open(peer, deadline, Asked::Ping { tries }, host.rng()) {
            host.send(peer, Message::Ping { rpc });
        }
    }

    /// The super-peer wants this leaf to become one too.
    pub(super) fn on_promote(
        &mut self,
        now: Time,
        from: P,
        rpc: RpcId,
        supers: &[P],
        host: &mut impl World<P>,
    ) {
        if self.parent() != Some(from) {
            // Our first answer may have been lost.
            let done = self.office.as_ref().is_some_and(|office| office.has_link(from));
            if !done {
                host.refuse(Some(from), Offence::Misdirected);
            }
            return host.send(from, Message::Promoted { rpc, done });
        }
        self.learn_all(from, supers, host);
        self.rise(host);
        if let Some(office) = &mut self.office {
            office.add_link(from);
        }
        host.send(from, Message::Promoted { rpc, done: true });
        self.look_around(now, host);
        self.ask_again(now, host);
    }

    /// Becomes a super-peer.
    pub(super) fn rise(&mut self, host: &mut impl World<P>) {
        self.parent = None;
        self.orphaned = 0;
        self.asked.retain(|asked| matches!(asked, Asked::Fetch));
        self.office = Some(Box::new(Office::new(host.rng())));
        count(&mut self.counters.promotions);
        self.joined(host);
    }

    fn joined(&mut self, host: &mut impl World<P>) {
        if self.state == State::Joining {
            self.state = State::Member;
            host.emit(Event::Joined);
        }
    }

    /// Keeps the super-peers that `from` named, the first one in front.
    pub(super) fn learn_all(&mut self, from: P, supers: &[P], host: &mut impl World<P>) {
        for &peer in supers.iter().rev() {
            if peer == self.me || peer == from {
                host.refuse(Some(from), Offence::NamesItself);
            } else {
                self.learn(peer, host);
            }
        }
    }

    /// Keeps the name of a super-peer, in front of the others; in a full list it takes a
    /// place by chance.
    pub(super) fn learn(&mut self, peer: P, host: &mut impl World<P>) {
        if peer == self.me || self.parent() == Some(peer) {
            return;
        }
        self.spares.retain(|&spare| spare != peer);
        if self.spares.len() >= MAX_SPARES {
            let at = host.rng().index(self.spares.len());
            self.spares.remove(at);
        }
        self.spares.insert(0, peer);
    }
}
