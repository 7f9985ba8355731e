//! What this node has no longer, and what others tell it of that.
//!
//! Whom a provider told when it published it tells first of a withdrawal, several records
//! in one message: they may be responsible no longer without knowing it. Who of them is
//! silent is told a few times more. Whoever is near the key now is found and told, again and
//! again until all of them have said so, and a few times if the find met silence; each time
//! that is later than the time before. Who is told remembers it for as long as a posting lasts,
//! so that nobody who has not heard yet hands the posting back to it.

use std::collections::BTreeSet;
use std::ops::Bound;

use starling_sansio::Time;

use super::app::{App, Letter, Sent};
use super::jobs::Task;
use super::message::{Gone, MAX_GONE, Put};
use super::publish::{Told, keys};
use super::{Ctx, DhtMessage};
use crate::wire::List;
use crate::{Cost, Event, Host, Id, Input, KeyBased, Offence, Op, Peer, Purpose, Record, Route, RpcId};

/// Withdrawals that wait at most, each for a find: of all that a node may publish, under
/// four keys each.
pub const MAX_WITHDRAWALS: usize = 4 * super::MAX_PUBLISHED;
/// Withdrawals that those told before still have to hear of, at most.
pub const MAX_DROPS: usize = 8 * MAX_WITHDRAWALS;
/// Messages with such withdrawals on their way at once.
pub const DROP_WINDOW: usize = 128;
/// Withdrawals by others that a node remembers at most.
pub const MAX_WITHDRAWN: usize = 4096;
/// Those of one household; see [`Host::household`].
const MAX_WITHDRAWN_BY_ONE: usize = MAX_WITHDRAWN / 16;

/// How often a withdrawal is tried again because somebody was silent.
const UNSURE_TRIES: u8 = 3;

/// How often one who was told of a publication, and is silent now, is told again of
/// withdrawals.
const SILENT_TRIES: u8 = 5;

/// Before all others.
const FIRST: Gone = Gone { under: Id::ZERO, what: Id::ZERO };

/// A record to be withdrawn from the replica set of one of its keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Withdrawal {
    pub gone: Gone,
    /// When nobody has it any more, told or not.
    pub until: Time,
    /// How often that has been tried.
    pub tries: u8,
}

impl Withdrawal {
    /// Whether its find met silence, which may have been that of one who should be told.
    /// Of the dead there is no end: after a few times it is over.
    pub fn is_unsure(&self, cost: Cost) -> bool {
        cost.timeouts > 0 && self.tries < UNSURE_TRIES
    }
}

/// A withdrawal by another: its household, itself, the record, and under which key. That
/// there may be no peer is only for where those of a household begin.
pub type Withdrawn<P> = (u64, Option<P>, Id, Id);

/// All that a record's provider would withdraw of it.
pub fn all_gone(record: &Record) -> impl Iterator<Item = Gone> {
    let what = record.key;
    keys(record).into_iter().map(move |under| Gone { under, what })
}

impl<P: Peer> App<P> {
    /// Notes whom a publication is told; `most` of those under one key are remembered.
    pub fn note_told(&mut self, put: &Put, peers: &[P], most: usize) {
        let Some(one) = self.published.iter_mut().find(|one| one.record.key == put.record.key) else {
            return;
        };
        let before = one.told.iter_mut().find(|told| told.under == put.under);
        let old = before.as_ref().map_or(&[][..], |told| &told.peers);
        let old = old.iter().filter(|peer| !peers.contains(peer));
        let peers: Vec<P> = peers.iter().chain(old).take(most).copied().collect();
        match before {
            Some(before) => before.peers = peers,
            None => {
                one.told.reserve_exact(1);
                one.told.push(Told { under: put.under, peers, heard: false });
            }
        }
    }

    /// Whether one of those who are told of a publication has said so.
    pub fn note_heard(&mut self, put: &Put, heard: bool) {
        let one = self.published.iter_mut().find(|one| one.record.key == put.record.key);
        let told = one.and_then(|one| one.told.iter_mut().find(|told| told.under == put.under));
        told.into_iter().for_each(|told| told.heard = heard);
    }

    /// These are to be told of withdrawals. If there are too many, those who do not answer
    /// are not told.
    fn drop_later(&mut self, items: impl Iterator<Item = (P, Gone)>) {
        self.drops.extend(items);
        let mut silent = self.silent.keys().copied();
        while self.drops.len() > MAX_DROPS {
            match silent.next() {
                Some(peer) if self.is_to_drop(peer) => self.drops.retain(|drop| drop.0 != peer),
                Some(_) => {}
                None => drop(self.drops.pop_last()),
            }
        }
    }

    /// Whether a peer is still to be told of withdrawals.
    fn is_to_drop(&self, peer: P) -> bool {
        self.drops.range((peer, FIRST)..).next().is_some_and(|one| one.0 == peer)
    }

    /// Whether nobody is to be told of a withdrawal, now or later.
    pub fn has_withdrawn(&self) -> bool {
        let dropping = |sent: &Sent<P>| matches!(sent.letter, Letter::Drop(_));
        self.withdrawals.is_empty()
            && self.withdraw_later.is_empty()
            && self.drops.is_empty()
            && !self.jobs.values().any(|job| matches!(job.task, Task::Withdraw(_)))
            && !self.open.iter().any(|(_, sent)| dropping(sent))
    }
}

impl<P: Peer, K: KeyBased<P>, H> Ctx<'_, P, K, H>
where
    H: Host<P, DhtMessage<P, K::Message>, Event<P>>,
{
    pub fn withdraw(&mut self, key: Id) {
        let Some(at) = self.app.published.iter().position(|one| one.record.key == key) else { return };
        self.withdraw_at(at);
        self.app.published.swap_remove(at);
    }

    /// Withdraws record number `at` of those published.
    pub fn withdraw_at(&mut self, at: usize) {
        let one = &mut self.app.published[at];
        let (gone, told, what) = (keys(&one.record), std::mem::take(&mut one.told), one.record.key);
        self.withdraw_under(&gone, told, what);
    }

    /// Withdraws a record from under some keys, of which those in `told` were told; what
    /// is still being published there is given up first.
    pub fn withdraw_under(&mut self, gone: &[Id], told: Vec<Told<P>>, what: Id) {
        self.give_up(|task| task.record() == Some(what) && gone.contains(&task.key()));
        for Told { under, peers, .. } in told {
            let others = peers.into_iter().filter(|&peer| peer != self.me);
            self.app.drop_later(others.map(|peer| (peer, Gone { under, what })));
        }
        let until = self.now + self.config.expire;
        for &under in gone {
            self.forget(self.me, Gone { under, what });
            self.queue(Withdrawal { gone: Gone { under, what }, until, tries: 0 });
        }
    }

    fn queue(&mut self, one: Withdrawal) {
        if self.app.withdrawals.len() + self.app.withdraw_later.len() < MAX_WITHDRAWALS {
            let first_tries = self.app.withdrawals.partition_point(|one| one.tries == 0);
            self.app.withdrawals.insert(first_tries, one);
        } else {
            self.host.refuse(None, Offence::Full); // it will expire there
        }
    }

    /// Not all of the replica set have said that they know.
    pub fn withdraw_later(&mut self, mut one: Withdrawal) {
        let due = self.now + self.config.retry * 2u32.pow(u32::from(one.tries.min(8)));
        one.tries = one.tries.saturating_add(1);
        let room = self.app.withdrawals.len() + self.app.withdraw_later.len() < MAX_WITHDRAWALS;
        if room && due < one.until && self.app.leaving.is_none() {
            self.app.withdraw_later.insert((due, one.gone), one);
        }
    }

    /// What is to be tried again until then waits for its turn, behind all first tries.
    pub fn withdraw_due(&mut self, until: Time) {
        while let Some(first) = self.app.withdraw_later.first_entry().filter(|one| one.key().0 <= until) {
            self.app.withdrawals.push_back(first.remove());
        }
    }

    /// Gives up publications and withdrawals, begun or not.
    pub fn give_up(&mut self, over: impl Fn(&Task) -> bool) {
        self.app.chores.retain(|one| !over(&one.task));
        let jobs = self.app.jobs.iter().filter(|(_, job)| over(&job.task)).map(|(op, _)| *op);
        for op in jobs.collect::<Vec<u32>>() {
            self.app.jobs.remove(&op);
            self.app.open.retain(|sent| sent.job != Some(op));
            self.drive(Purpose::Maintenance, Input::Command(Route::Cancel(Op(op))));
        }
    }

    /// No longer withdraws what is published again.
    pub fn withdraw_none(&mut self, wanted: &BTreeSet<Gone>) {
        self.app.withdrawals.retain(|one| !wanted.contains(&one.gone));
        self.app.withdraw_later.retain(|_, one| !wanted.contains(&one.gone));
        self.app.drops.retain(|one| !wanted.contains(&one.1));
        for (_, sent) in self.app.open.iter_mut() {
            if let Letter::Drop(items) = &mut sent.letter {
                items.retain(|item| !wanted.contains(item));
            }
        }
        self.give_up(|task| matches!(task, Task::Withdraw(one) if wanted.contains(&one.gone)));
    }

    /// No longer withdraws anything of what this node has.
    pub fn withdraw_nothing_published(&mut self) {
        let published = self.app.published.iter();
        let wanted = published.flat_map(|one| all_gone(&one.record)).collect();
        self.withdraw_none(&wanted);
    }

    /// Tells those who were told of a publication, a few messages at a time. Who is silent is
    /// told nothing until it has rested, and then one message, until it answers.
    pub fn drop_on(&mut self) {
        self.ask_silent();
        let waits = |sent: &Sent<P>| matches!(sent.letter, Letter::Drop(_)) && sent.job.is_none();
        let mut under_way = match self.app.drops.is_empty() {
            true => return,
            false => self.app.open.iter().filter(|(_, sent)| waits(sent)).count(),
        };
        let mut next = self.app.drops.first().copied();
        while let Some((to, _)) = next {
            if self.app.silent.contains_key(&to) {
                let last = Gone { under: Id::MAX, what: Id::MAX };
                next = self.app.drops.range((Bound::Excluded((to, last)), Bound::Unbounded)).next().copied();
                continue;
            }
            if under_way >= DROP_WINDOW || !self.drop_to(to) {
                return;
            }
            under_way += 1;
            next = self.app.drops.range((to, FIRST)..).next().copied();
        }
    }

    /// Sends one message's worth of withdrawals to a peer; whether there are any and room.
    fn drop_to(&mut self, to: P) -> bool {
        let due = self.app.drops.range((to, FIRST)..).take_while(|one| one.0 == to).take(MAX_GONE);
        let items: Vec<Gone> = due.map(|one| one.1).collect();
        let letter = Letter::Drop(items.clone());
        if items.is_empty() || !self.post(to, Sent { letter, job: None, again: false }) {
            return false;
        }
        items.into_iter().for_each(|item| {
            self.app.drops.remove(&(to, item));
        });
        true
    }

    /// Those who have rested are told one message, and rest longer each time, until it has been
    /// too often.
    fn ask_silent(&mut self) {
        let rested = self.app.silent.iter().filter(|one| one.1.0 <= self.now);
        for (peer, tries) in rested.map(|one| (*one.0, one.1.1)).collect::<Vec<(P, u8)>>() {
            if !self.app.is_to_drop(peer) || tries >= SILENT_TRIES {
                self.tell_no_more(peer);
                continue;
            }
            let tries = tries + u8::from(self.drop_to(peer));
            let until = self.now + self.config.retry * 2u32.pow(u32::from(tries));
            self.app.silent.insert(peer, (until, tries));
        }
    }

    /// A peer did not say that it was told of withdrawals, though told twice. There may be no
    /// time to tell it again.
    pub fn not_told(&mut self, peer: P, items: Vec<Gone>) {
        if self.app.leaving.is_some() {
            return self.tell_no_more(peer);
        }
        self.app.silent.entry(peer).or_insert((self.now + self.config.retry, 0));
        self.app.drop_later(items.into_iter().map(|item| (peer, item)));
    }

    /// Of what is to be withdrawn a peer is told nothing more.
    pub fn tell_no_more(&mut self, peer: P) {
        self.app.drops.retain(|drop| drop.0 != peer);
        self.app.silent.remove(&peer);
    }

    pub fn on_drop(&mut self, from: P, rpc: RpcId, items: &List<Gone, MAX_GONE>) {
        if from == self.me {
            return self.host.refuse(Some(from), Offence::NamesItself);
        }
        let mut kept = true;
        for &item in items.iter() {
            kept &= self.forget(from, item);
        }
        self.host.send(from, DhtMessage::Stored { rpc, kept });
    }

    /// `provider` no longer has something. Whether it was known.
    pub fn forget(&mut self, provider: P, Gone { under, what }: Gone) -> bool {
        let known = self.app.kept.withdraw(under, provider, what, |peer| self.host.household(peer));
        let one = self.withdrawn(provider, Gone { under, what });
        let same = self.app.withdrawn.range((one.0, None, Id::ZERO, Id::ZERO)..);
        let room = self.app.withdrawn.len() < MAX_WITHDRAWN
            && same.take_while(|same| same.0.0 == one.0).count() < MAX_WITHDRAWN_BY_ONE;
        if provider != self.me && room && (known || self.is_near(under)) {
            self.app.withdrawn.insert(one, self.now + self.config.expire);
        }
        known
    }

    /// The name under which it is remembered that `provider` withdrew something.
    pub fn withdrawn(&self, provider: P, Gone { under, what }: Gone) -> Withdrawn<P> {
        (self.host.household(provider), Some(provider), what, under)
    }

    /// Whether `provider` withdrew the record after it said last what would expire then.
    pub fn is_withdrawn(&self, provider: P, under: Id, record: &Record, expires: Time) -> bool {
        if provider == self.me {
            return !self.app.published.iter().any(|one| one.record.key == record.key);
        }
        let one = self.withdrawn(provider, Gone { under, what: record.key });
        self.app.withdrawn.get(&one).is_some_and(|&until| until >= expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Too many are to be told: it is the silent who are not.
    #[test]
    fn where_too_many_are_to_be_told_the_silent_are_told_nothing() {
        let mut app = App::<u32>::default();
        let gone = |what: usize| Gone { under: Id::ZERO, what: Id::from_high(what as u64) };
        app.silent.extend([1, 2].map(|peer| (peer, (Time::ZERO, 0))));
        app.drop_later((0..10).map(|what| (2, gone(what))));
        app.drop_later((0..MAX_DROPS - 10).map(|what| (3, gone(what))));
        assert_eq!((app.drops.len(), app.is_to_drop(2)), (MAX_DROPS, true));
        app.drop_later([(4, gone(0))].into_iter());
        assert_eq!((app.drops.len(), app.is_to_drop(2), app.is_to_drop(4)), (MAX_DROPS - 9, false, true));
        app.drop_later((1..20).map(|what| (4, gone(what))));
        assert_eq!(app.drops.len(), MAX_DROPS);
    }
}
