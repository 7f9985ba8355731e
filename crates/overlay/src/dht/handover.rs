//! Postings follow their key as nodes come and go.
//!
//! When a neighbour comes into a key's replica set, the first who was there before hands
//! it the key's postings. Who falls out of the set hands them to the root, and forgets
//! them when it has said of each message that it keeps all of it: so somebody always has
//! them, even if the set changes faster than they are handed on. What is lost on the way or
//! refused is sent again some time later, ever more rarely, and to the root if who did not
//! take it is in the set no longer; after some tries in vain it is left to republishing, and
//! who has it keeps it until it expires. When one goes, the root hands its keys to who has
//! become the last replica. A leaving node hands all it keeps to who becomes the last
//! replica without it, and says good-bye when that has arrived: nobody takes anything from who
//! is no neighbour any more. What is lost of it twice, or refused, is gone with it; it takes
//! nothing itself from others who hand on what they will then forget.

use std::collections::BTreeSet;
use std::time::Duration;

use starling_sansio::Time;

use super::keep::{belongs, fitting};
use super::{
    App, Ctx, DhtMessage, HAND_WINDOW, Handed, LEAVE_WINDOW, Letter, MAX_HANDS, MAX_POSTINGS, Sent, Shown,
};
use crate::postings::Posting;
use crate::{Event, Host, Id, Input, KeyBased, Offence, Peer, Purpose, Route, RpcId};

/// Neighbours whose word on postings counts.
const NEIGHBOURS: usize = 32;
/// How often in a row a key's postings are handed over in vain.
const HAND_TRIES: u8 = 4;

/// A key's postings on their way to a peer.
#[derive(Clone, Debug)]
pub struct Handing<P> {
    /// The last that was sent: its provider, and the record. All before it were.
    last: Option<(P, Id)>,
    /// Those that were sent in vain.
    pub missing: BTreeSet<(P, Id)>,
    /// When they are sent again, if they are to rest.
    pub again: Option<Time>,
    /// How often they did since a message arrived.
    tries: u8,
}

impl<P> Handing<P> {
    fn new() -> Handing<P> {
        Handing { last: None, missing: BTreeSet::new(), again: None, tries: 0 }
    }

    /// A message was lost or refused.
    fn rest(&mut self, now: Time, retry: Duration) {
        if self.again.is_none() {
            self.again = Some(now + retry * 2u32.pow(u32::from(self.tries)));
            self.tries += 1;
        }
    }
}

impl<P: Peer> App<P> {
    /// What `to` is to be sent now of a key. What came while others were on their way stands
    /// behind them. If the last that was sent is gone, it begins anew.
    fn to_hand(&self, to: P, key: Id, now: Time) -> impl Iterator<Item = &Posting<P>> {
        let one = self.handing.get(&(to, key));
        let after = one.map(|one| self.kept.after(key, one.last));
        let missing = one.filter(|one| one.again.is_none()).into_iter().flat_map(|one| &one.missing);
        let missing = missing.filter_map(move |&(provider, what)| self.kept.find(key, provider, what));
        after.into_iter().flatten().chain(missing).filter(move |one| one.expires > now)
    }

    /// Whether postings of a key are on their way to a peer.
    fn is_handing(&self, to: P, key: Id) -> bool {
        self.open.iter().any(|(peer, sent)| match &sent.letter {
            Letter::Hand(items) => peer == to && items.iter().any(|item| item.under == key),
            _ => false,
        })
    }
}

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
        if joined {
            // It may have been here before, and has forgotten.
            self.app.handing.retain(|one, _| one.0 != peer);
            self.app.hands.retain(|one| one.0 != peer);
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
        let known = self.app.handing.contains_key(&(to, key));
        if !known && self.app.handing.len() < MAX_HANDS {
            self.app.handing.insert((to, key), Handing::new());
            self.app.hands.insert((to, key));
        }
    }

    /// Sends what is to be handed over, a few messages at a time.
    pub fn hand_on(&mut self) {
        while let Some(&(to, _)) = self.app.hands.first() {
            let under_way =
                self.app.open.iter().filter(|(_, sent)| matches!(sent.letter, Letter::Hand(_))).count();
            let window = if self.app.leaving.is_some() { LEAVE_WINDOW } else { HAND_WINDOW };
            if under_way >= window {
                return;
            }
            self.hand_some(to).into_iter().for_each(|key| self.hand_over(to, key));
        }
    }

    /// Sends one message's worth of postings to `to`; of which keys there are no more.
    fn hand_some(&mut self, to: P) -> Vec<Id> {
        let due = self.app.hands.range((to, Id::ZERO)..).take_while(|one| one.0 == to);
        let due: Vec<Id> = due.take(MAX_POSTINGS).map(|one| one.1).collect();
        let handed = |under: Id, one: &Posting<P>| Handed {
            under,
            left_s: u32::try_from(one.expires.since(self.now).as_secs()).unwrap_or(u32::MAX),
            shown: Shown { record: one.record.clone(), provider: one.provider },
        };
        let (app, now) = (&*self.app, self.now);
        let items =
            fitting(due.iter().flat_map(|&key| app.to_hand(to, key, now).map(move |one| handed(key, one))));
        for item in &items {
            let name = (item.shown.provider, item.shown.record.key);
            if let Some(one) = self.app.handing.get_mut(&(to, item.under))
                && !one.missing.remove(&name)
            {
                one.last = Some(name);
            }
        }
        let sent = |key: &Id| self.app.to_hand(to, *key, self.now).next().is_none();
        let sent: Vec<Id> = due.into_iter().take_while(sent).collect();
        self.app.hands.retain(|one| one.0 != to || !sent.contains(&one.1));
        let letter = Letter::Hand(items.clone());
        if !items.is_empty() && !self.post(to, Sent { letter, job: None, again: false }) {
            self.not_handed(to, &items);
        }
        sent
    }

    /// A peer has said whether it keeps all of a message.
    pub fn handed(&mut self, to: P, items: &[Handed<P>], kept: bool) {
        if !kept {
            return self.not_handed(to, items);
        }
        let mut keys: Vec<Id> = items.iter().map(|item| item.under).collect();
        keys.dedup();
        for key in keys {
            self.app.handing.get_mut(&(to, key)).into_iter().for_each(|one| one.tries = 0);
            self.hand_over(to, key);
        }
    }

    /// A message was lost, or refused at least in part.
    fn not_handed(&mut self, to: P, items: &[Handed<P>]) {
        for item in items {
            if let Some(one) = self.app.handing.get_mut(&(to, item.under)) {
                one.missing.insert((item.shown.provider, item.shown.record.key));
                one.rest(self.now, self.config.retry);
            }
        }
    }

    /// A peer did not answer, though told twice: it is told nothing more for a while.
    pub fn hand_later(&mut self, to: P, items: &[Handed<P>]) {
        self.not_handed(to, items);
        let App { hands, handing, .. } = &mut *self.app;
        for name in hands.range((to, Id::ZERO)..=(to, Id::MAX)) {
            handing.get_mut(name).into_iter().for_each(|one| one.rest(self.now, self.config.retry));
        }
        hands.retain(|name| name.0 != to);
    }

    /// What has rested is handed over again, to whom it belongs now.
    pub fn hand_again(&mut self) {
        let rested = |one: &Handing<P>| one.again.is_some_and(|again| again <= self.now);
        let rested = self.app.handing.iter().filter(|one| rested(one.1)).map(|one| *one.0);
        for (to, key) in rested.collect::<Vec<(P, Id)>>() {
            let set = self.replica_set(key, self.config.replicas);
            match self.app.handing.get_mut(&(to, key)) {
                Some(one) if one.tries < HAND_TRIES && set.contains(&to) => {
                    one.again = None;
                    self.app.hands.insert((to, key));
                }
                _ => {
                    self.app.hands.remove(&(to, key));
                    self.app.handing.remove(&(to, key));
                    let root = set.first().filter(|&&root| root != to && !set.contains(&self.me));
                    root.copied().into_iter().for_each(|root| self.hand(root, key));
                }
            }
        }
    }

    /// If all of a key has arrived at a peer, it is handed over: who need not keep it itself,
    /// and hands it to nobody else, forgets it.
    fn hand_over(&mut self, to: P, key: Id) {
        let Some(one) = self.app.handing.get(&(to, key)) else { return };
        if one.again.is_some() || self.app.hands.contains(&(to, key)) || self.app.is_handing(to, key) {
            return;
        }
        if self.app.to_hand(to, key, self.now).next().is_some() {
            self.app.hands.insert((to, key));
            return;
        }
        self.app.handing.remove(&(to, key));
        let set = self.replica_set(key, self.config.replicas);
        let belongs = set.len() < self.config.replicas || set.contains(&self.me) || !set.contains(&to);
        if !belongs && !self.app.handing.keys().any(|one| one.1 == key) {
            self.app.kept.remove(key, |peer| self.host.household(peer));
        }
    }

    pub fn on_hand(&mut self, from: P, rpc: RpcId, items: Vec<Handed<P>>) {
        let neighbours = {
            let host = super::Under::new(&mut *self.host, Purpose::Publish);
            self.routing.neighbor_set(NEIGHBOURS, &host)
        };
        let takes = from != self.me && self.app.leaving.is_none();
        let mut all = takes;
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
            let kept = if near && takes { self.take_handed(item) } else { Err(Offence::Misdirected) };
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

    /// Leaves, after withdrawing what this node published and handing on what it keeps.
    pub fn leave(&mut self) {
        if self.app.leaving.is_some() || !self.routing.is_member() {
            return self.leave_now();
        }
        self.app.leaving = Some(self.now + self.config.leave);
        self.app.silent.clear();
        for at in 0..self.app.published.len() {
            self.withdraw_at(at);
        }
        self.withdraw_due(Time::NEVER);
        self.app.hands.clear();
        self.app.handing.clear();
        for key in self.app.kept.keys().collect::<Vec<Id>>() {
            self.hand_to_heir(key);
        }
    }

    /// Hands a key to who becomes its last replica when this node has left.
    pub fn hand_to_heir(&mut self, key: Id) {
        let replicas = self.config.replicas;
        let mut set = self.replica_set(key, replicas + 1);
        set.retain(|&one| one != self.me);
        if let Some(&heir) = set.get(replicas.wrapping_sub(1)) {
            self.app.handing.entry((heir, key)).or_insert_with(Handing::new);
            self.app.hands.insert((heir, key));
        }
    }

    /// Whether a leaving node has told all who are to hear something of it.
    pub fn has_told_all(&self) -> bool {
        let handing = |sent: &Sent<P>| matches!(sent.letter, Letter::Hand(_));
        self.app.has_withdrawn() && !self.app.open.iter().any(|(_, sent)| handing(sent))
    }

    /// Leaves, and sends at once what is still to be handed on.
    pub fn leave_now(&mut self) {
        self.app.leaving = None;
        while let Some(&(to, _)) = self.app.hands.first() {
            self.hand_some(to);
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
        self.app.handing.clear();
        self.app.leaving = None;
        self.app.kept = crate::postings::Postings::default();
        for one in &mut self.app.published {
            (one.next, one.again, one.told) = (Time::NEVER, Time::NEVER, Vec::new());
        }
    }
}
