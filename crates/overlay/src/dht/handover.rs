//! Postings follow their key as nodes come and go.
//!
//! When a neighbour comes into a key's replica set, the first who was there before hands
//! it the key's postings. Who falls out of the set hands them to the root, and forgets
//! them when they have arrived: so somebody in the set always has them, even if it
//! changes faster than it is handed on. When one goes, the root hands them to who has
//! become the last replica. A leaving node hands all it keeps to who becomes the last
//! replica without it.

use std::collections::BTreeSet;
use std::time::Duration;

use starling_sansio::Time;

use super::keep::{belongs, fitting};
use super::{Ctx, DhtMessage, HAND_WINDOW, Handed, Letter, MAX_HANDS, Sent, Shown};
use crate::postings::Posting;
use crate::{Event, Host, Id, Input, KeyBased, Offence, Peer, Purpose, Route, RpcId};

/// Neighbours whose word on postings counts.
const NEIGHBOURS: usize = 32;

impl<P: Peer, K: KeyBased<P>, H> Ctx<'_, P, K, H>
where
    H: Host<P, DhtMessage<P, K::Message>, Event<P>>,
{
    /// A neighbour came or went: some keys may have got another replica set. At once
    /// with it came the `newcomers`.
    pub fn neighbours_changed(&mut self, peer: P, joined: bool, newcomers: &[P]) {
        if !self.routing.is_member() {
            return;
        }
        let replicas = self.config.replicas;
        for key in self.app.kept.keys().collect::<Vec<Id>>() {
            let wide = self.replica_set(key, replicas + newcomers.len());
            let set = wide.get(..replicas).unwrap_or(&wide);
            let last = set.last().copied();
            let changed = self.app.kept.note_last_replica(key, last) != last;
            let mine = wide.iter().find(|one| !newcomers.contains(one)) == Some(&self.me);
            if set.len() == replicas && !set.contains(&self.me) && joined {
                set.first().copied().into_iter().for_each(|root| self.hand(root, key));
            }
            let to =
                if joined { Some(peer).filter(|peer| set.contains(peer)) } else { last.filter(|_| changed) };
            to.filter(|&to| mine && to != self.me).into_iter().for_each(|to| self.hand(to, key));
        }
    }

    fn hand(&mut self, to: P, key: Id) {
        if self.app.hands.len() < MAX_HANDS {
            self.app.hands.insert((to, key, 0));
        }
    }

    /// Sends what is to be handed over, a few messages at a time.
    pub fn hand_on(&mut self) {
        while let Some(&(to, ..)) = self.app.hands.first() {
            let under_way =
                self.app.open.iter().filter(|(_, sent)| matches!(sent.letter, Letter::Hand(_))).count();
            if under_way >= HAND_WINDOW {
                return;
            }
            let mut hands = std::mem::take(&mut self.app.hands);
            let items = self.next_batch(to, &mut hands);
            self.app.hands = hands;
            if !items.is_empty() {
                self.post(to, Sent { letter: Letter::Hand(items), job: None, again: false });
            }
        }
    }

    /// Takes one message's worth of postings for `to` out of `hands`.
    fn next_batch(&self, to: P, hands: &mut BTreeSet<(P, Id, u16)>) -> Vec<Handed<P>> {
        let due: Vec<(P, Id, u16)> = hands.iter().take_while(|hand| hand.0 == to).copied().collect();
        let handed = |under: Id, one: &Posting<P>| Handed {
            under,
            left_s: u32::try_from(one.expires.since(self.now).as_secs()).unwrap_or(u32::MAX),
            shown: Shown { record: one.record.clone(), provider: one.provider },
        };
        let of = |&(_, key, from): &(P, Id, u16)| {
            let postings = self.app.kept.get(key, self.now).skip(usize::from(from));
            postings.map(move |one| handed(key, one))
        };
        let items = fitting(due.iter().flat_map(of));
        let mut left = items.len();
        for hand in due {
            let here = self.app.kept.get(hand.1, self.now).skip(usize::from(hand.2)).count();
            if here > left {
                if left > 0 {
                    hands.remove(&hand);
                    hands.insert((to, hand.1, hand.2 + left as u16));
                }
                break;
            }
            left -= here;
            hands.remove(&hand);
        }
        items
    }

    /// A hand-over arrived: what this node need not keep itself it forgets, once all of it has.
    pub fn handed(&mut self, items: &[Handed<P>]) {
        let mut keys: Vec<Id> = items.iter().map(|item| item.under).collect();
        keys.dedup();
        for key in keys {
            let set = self.replica_set(key, self.config.replicas);
            if set.len() == self.config.replicas && !set.contains(&self.me) && !self.is_handing(key) {
                self.app.kept.remove(key, |peer| self.host.household(peer));
            }
        }
    }

    /// Whether postings of a key are still to be handed over, or have not arrived yet.
    fn is_handing(&self, key: Id) -> bool {
        let under_way = |sent: &Sent<P>| match &sent.letter {
            Letter::Hand(items) => items.iter().any(|item| item.under == key),
            _ => false,
        };
        self.app.hands.iter().any(|hand| hand.1 == key)
            || self.app.open.iter().any(|(_, sent)| under_way(sent))
    }

    pub fn on_hand(&mut self, from: P, rpc: RpcId, items: Vec<Handed<P>>) {
        let neighbours = {
            let host = super::Under::new(&mut *self.host, Purpose::Publish);
            self.routing.neighbor_set(NEIGHBOURS, &host)
        };
        let mut all = from != self.me;
        let mut checked: Option<(Id, bool)> = None;
        for item in items {
            let near = match checked {
                Some((key, near)) if key == item.under => near,
                _ => {
                    neighbours.contains(&from)
                        || self.replica_set(item.under, 2 * self.config.replicas).contains(&from)
                }
            };
            checked = Some((item.under, near));
            let kept =
                if near && from != self.me { self.take_handed(item) } else { Err(Offence::Misdirected) };
            if let Err(offence) = kept {
                self.host.refuse(Some(from), offence);
                all = false;
            }
        }
        self.host.send(from, DhtMessage::Stored { rpc, kept: all });
    }

    /// Keeps a handed posting, unless its provider has told this node itself, later.
    fn take_handed(&mut self, item: Handed<P>) -> Result<(), Offence> {
        let Handed { under, left_s, shown: Shown { record, provider } } = item;
        if !belongs(under, &record) {
            return Err(Offence::OutOfRange);
        }
        let left = Duration::from_secs(u64::from(left_s)).min(self.config.expire);
        let expires = self.now + left;
        let known = self.app.kept.find(under, provider, record.key);
        if known.is_some_and(|known| known.expires >= expires)
            || self.is_withdrawn(provider, under, &record, expires)
        {
            return Ok(());
        }
        self.keep(under, self.posting(record, provider, left), true)
    }

    /// Leaves, after withdrawing what this node published.
    pub fn leave(&mut self) {
        let again = self.app.leaving.is_some();
        let nothing_said = self.app.published.is_empty() && self.app.has_withdrawn();
        if again || !self.routing.is_member() || nothing_said {
            return self.leave_now();
        }
        self.app.leaving = Some(self.now + self.config.leave);
        self.app.silent.clear();
        for at in 0..self.app.published.len() {
            self.withdraw_at(at);
        }
        self.withdraw_due(Time::NEVER);
    }

    /// Hands everything on and leaves.
    pub fn leave_now(&mut self) {
        self.app.leaving = None;
        let replicas = self.config.replicas;
        let mut hands = BTreeSet::new();
        for key in self.app.kept.keys().collect::<Vec<Id>>() {
            let mut set = self.replica_set(key, replicas + 1);
            set.retain(|&one| one != self.me);
            hands.extend(set.get(replicas.wrapping_sub(1)).map(|&to| (to, key, 0)));
        }
        while let Some(&(to, ..)) = hands.first() {
            let items = self.next_batch(to, &mut hands);
            if !items.is_empty() {
                self.post(to, Sent { letter: Letter::Hand(items), job: None, again: false });
            }
        }
        self.drive(Purpose::Maintenance, Input::Command(Route::Leave));
    }

    /// This node has left: it keeps nothing but what it has itself, and what it handed
    /// on until that has arrived.
    pub fn forget_all(&mut self) {
        self.fail_all();
        self.app.chores.clear();
        self.app.withdrawals.clear();
        self.app.withdraw_later.clear();
        self.app.drops.clear();
        self.app.silent.clear();
        self.app.withdrawn.clear();
        self.app.open.retain(|sent| matches!(sent.letter, Letter::Hand(_)));
        self.app.hands.clear();
        self.app.leaving = None;
        self.app.kept = crate::postings::Postings::default();
        for one in &mut self.app.published {
            (one.next, one.told) = (Time::NEVER, Vec::new());
        }
    }
}
