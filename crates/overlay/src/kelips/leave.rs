//! Leave: a farewell that is said until it is heard, for a moment.
//!
//! The paper has no farewell: who goes is missed when its heartbeats stay away. Here a node
//! withdraws its records and tells its mates and contacts, and each of them answers. Who has
//! it as a contact without being one of its own still misses it.

use std::time::Duration;

use crate::{Event, Host, Id, Offence, Peer, RpcId};

use super::message::Message;
use super::{Kelips, Time};

/// Most peers whom a leaving node tells so, and most withdrawals that it repeats.
const MAX_FAREWELLS: usize = 256;
/// How often a farewell is said to who does not answer.
const TIMES: u8 = 3;
/// The time for an answer: longer than most take.
const PAUSE: Duration = Duration::from_millis(500);
/// Members of a key's group that hear of a withdrawal.
const TOLD: usize = 2;

/// A node that leaves.
#[derive(Debug)]
pub(super) struct Leaving<P> {
    /// What was said to whom and not yet answered.
    unheard: Vec<(P, Message<P>)>,
    times: u8,
    /// When it is said again, or no more.
    pub(super) next: Time,
}

impl<P> Leaving<P> {
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.unheard.capacity() * size_of::<(P, Message<P>)>()
    }
}

impl<P: Peer> Kelips<P> {
    pub(super) fn leave(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if self.leaving.is_some() {
            return self.end_leave(host);
        }
        if !self.member && self.joining.is_none() {
            return;
        }
        let mut unheard = Vec::new();
        if self.member {
            unheard = self.withdrawals(host);
            // Nobody has more than a few records; what is beyond is said once.
            let rest = unheard.split_off(unheard.len().min(MAX_FAREWELLS));
            rest.into_iter().for_each(|(peer, message)| host.send(peer, message));
            unheard.extend(self.told_of_leave(host).into_iter().map(|peer| (peer, Message::Leave {})));
        }
        self.end_all(host);
        let fresh = <Self as crate::Core<P>>::new(self.me, &self.config);
        let own = std::mem::take(&mut self.own);
        let leaving = Some(Box::new(Leaving { unheard, times: 0, next: self.now }));
        *self = Kelips { own, leaving, now: self.now, ..fresh };
        self.say_farewell(host);
    }

    /// The withdrawals of the own records, each for a few who can spread it.
    fn withdrawals(&self, host: &mut impl Host<P, Message<P>, Event<P>>) -> Vec<(P, Message<P>)> {
        let keys: Vec<Id> = self.own.iter().map(super::Own::key).collect();
        let mut all = Vec::new();
        for what in keys.into_iter().flat_map(|key| self.farewells(key)) {
            let holders = self.local_lookup(Id::from_high(what.under), TOLD + 1, false, host);
            for holder in holders.into_iter().filter(|&peer| peer != self.me).take(TOLD) {
                let (rpc, what) = (RpcId(host.rng().next_u32()), Box::new(what.clone()));
                all.push((holder, Message::Announce { rpc, what }));
            }
        }
        all
    }

    /// Who is told: mates, and contacts by chance.
    fn told_of_leave(&self, host: &mut impl Host<P, Message<P>, Event<P>>) -> Vec<P> {
        let mates = self.table.members();
        let mut contacts = crate::Core::known(self);
        contacts.retain(|peer| mates.binary_search(peer).is_err());
        let first = host.rng().index(contacts.len());
        contacts.rotate_left(first);
        mates.iter().copied().chain(contacts).take(MAX_FAREWELLS).collect()
    }

    /// Says what was not heard, if there is something, and not too often.
    pub(super) fn say_farewell(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Some(leaving) = &mut self.leaving else { return };
        if leaving.unheard.is_empty() || leaving.times == TIMES {
            return self.end_leave(host);
        }
        (leaving.times, leaving.next) = (leaving.times + 1, self.now + PAUSE);
        leaving.unheard.iter().for_each(|(peer, message)| host.send(*peer, message.clone()));
    }

    /// While this node leaves, it hears of nothing but who knows that.
    pub(super) fn farewell_heard(
        &mut self,
        from: P,
        message: &Message<P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let Some(leaving) = &mut self.leaving else { return };
        let answered = |said: &Message<P>| match (said, message) {
            (Message::Leave {}, Message::Gone {}) => true,
            (Message::Announce { rpc, .. }, answer) => answer.answers() == Some(*rpc),
            _ => false,
        };
        let Some(at) = leaving.unheard.iter().position(|(peer, said)| *peer == from && answered(said)) else {
            return host.refuse(Some(from), Offence::Misdirected);
        };
        leaving.unheard.swap_remove(at);
        if leaving.unheard.is_empty() {
            self.end_leave(host);
        }
    }

    /// This node has left.
    pub(super) fn end_leave(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if self.leaving.take().is_some() {
            host.emit(Event::Left);
        }
    }

    /// A peer leaves.
    pub(super) fn left(&mut self, peer: P, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if self.table.leaves(self.now, peer) {
            host.emit(Event::Update { peer, joined: false });
        }
        host.send(peer, Message::Gone {});
    }
}
