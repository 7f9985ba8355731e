//! What a node keeps for others: taking postings, and showing them.

use std::time::Duration;

use starling_sansio::{Rng, Time};

use super::jobs::{Job, Phase, Task};
use super::message::{Ask, MAX_POSTINGS, POSTINGS_BYTES};
use super::{App, Ctx, DhtMessage, Letter, Put, Sent, Shown};
use crate::postings::{Posting, map_bytes};
use crate::wire::{List, Wire};
use crate::{Event, Host, Id, KeyBased, Offence, Outcome, Peer, Query, Record, RpcId};

/// Whether a record may stand under a key: its own, or the hash of a word of its name.
pub fn belongs(under: Id, record: &Record) -> bool {
    under == record.key || record.words().iter().any(|word| Id::hash(word.as_bytes()) == under)
}

impl<P: Peer> App<P> {
    /// What is kept under `key` and wanted, as much as fits into a message after
    /// `skip` others, and whether there is more. If not all fits and nothing is
    /// skipped, chance says where to begin, so that all providers get their share.
    pub fn page(
        &self,
        key: Id,
        now: Time,
        skip: usize,
        wanted: impl Fn(&Record) -> bool,
        rng: &mut Rng,
    ) -> (List<Shown<P>, MAX_POSTINGS>, bool) {
        let all = self.kept.get(key, now).filter(|one| wanted(&one.record));
        let fits = fitting(all.clone().map(shown));
        let count = all.clone().count();
        if fits.len() == count || skip > 0 {
            return rest(all, skip);
        }
        let start = rng.index(count);
        let (list, _) = rest(all.clone().skip(start).chain(all.take(start)), 0);
        (list, true)
    }

    /// What is kept under `key` and matches, in the order it came, after `skip` others.
    fn matches(
        &self,
        key: Id,
        now: Time,
        skip: usize,
        query: &Query,
    ) -> (List<Shown<P>, MAX_POSTINGS>, bool) {
        rest(self.kept.get(key, now).filter(|one| query.matches(&one.record)), skip)
    }

    /// When the next thing is due.
    pub fn next_deadline(&self) -> Time {
        let asking = self.jobs.values().filter_map(|job| match &job.phase {
            Phase::Asking(asking) => Some(asking.deadline),
            _ => None,
        });
        let published = self.published.iter().map(|one| one.next);
        let others = self.open.next_deadline().into_iter().chain(self.leaving).chain([self.sweep]);
        asking.chain(published).chain(others).min().unwrap_or(Time::NEVER)
    }

    /// Whether there is nothing to remember.
    pub fn is_quiet(&self) -> bool {
        self.kept.is_empty()
            && self.published.is_empty()
            && self.jobs.is_empty()
            && self.waiting.is_empty()
            && self.chores.is_empty()
            && self.open.is_empty()
            && self.hands.is_empty()
            && self.leaving.is_none()
    }

    /// Its bytes, itself included; names that are shared with a record are counted
    /// where they are kept for others.
    pub fn bytes(&self) -> usize {
        let letters = self.open.iter().map(|(_, sent)| match &sent.letter {
            Letter::Put(_) => size_of::<Put>(),
            Letter::Drop { .. } => 0,
            Letter::Hand(items) => items.capacity() * size_of::<super::Handed<P>>(),
        });
        size_of::<Self>()
            + self.kept.heap_bytes()
            + self.published.capacity() * size_of::<super::Published>()
            + map_bytes::<u32, Job<P>>(self.jobs.len())
            + (self.waiting.capacity() + self.chores.capacity()) * size_of::<Task>()
            + self.open.heap_bytes()
            + letters.sum::<usize>()
            + map_bytes::<(P, Id, u16), ()>(self.hands.len())
    }
}

fn shown<P: Copy>(posting: &Posting<P>) -> Shown<P> {
    Shown { record: posting.record.clone(), provider: posting.provider }
}

/// As many as fit into a message, but at least one.
pub fn fitting<T: Wire>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut room = POSTINGS_BYTES;
    let mut taken = Vec::new();
    for item in items.take(MAX_POSTINGS) {
        let length = item.wire_len();
        if length > room && !taken.is_empty() {
            break;
        }
        room = room.saturating_sub(length);
        taken.push(item);
    }
    taken
}

fn rest<'a, P: Peer + 'a>(
    all: impl Iterator<Item = &'a Posting<P>> + Clone,
    skip: usize,
) -> (List<Shown<P>, MAX_POSTINGS>, bool) {
    let taken = fitting(all.clone().skip(skip).map(shown));
    let more = all.count() > skip + taken.len();
    (List::new(taken), more)
}

impl<P: Peer, K: KeyBased<P>, H> Ctx<'_, P, K, H>
where
    H: Host<P, DhtMessage<P, K::Message>, Event<P>>,
{
    /// All providers of `key` that this node keeps.
    pub fn own_values(&self, key: Id) -> Vec<Shown<P>> {
        self.app.kept.get(key, self.now).filter(|one| one.record.key == key).map(shown).collect()
    }

    /// All matches that this node keeps.
    pub fn own_matches(&self, under: Id, query: &Query) -> Vec<Shown<P>> {
        self.app.kept.get(under, self.now).filter(|one| query.matches(&one.record)).map(shown).collect()
    }

    /// Keeps a posting if this node is responsible, or nearly so: views of who is
    /// differ a little. One that a neighbour hands on is kept as well if it is not known who
    /// is: who has just become the last replica of a key may not know its root.
    pub fn keep(&mut self, under: Id, posting: Posting<P>, handed: bool) -> Result<(), Offence> {
        let set = self.replica_set(under, 2 * self.config.replicas);
        let is_near = set.contains(&self.me) || (handed && set.is_empty());
        if !is_near || !self.routing.is_member() {
            return Err(Offence::Misdirected);
        }
        self.app.kept.put(under, posting, &self.config.limits).map_err(|_| Offence::Full)?;
        let last = set.get(..self.config.replicas).unwrap_or(&set).last().copied();
        self.app.kept.note_last_replica(under, last);
        Ok(())
    }

    /// What to keep of a record for so long.
    pub fn posting(&self, record: Record, provider: P, left: Duration) -> Posting<P> {
        Posting { record, provider, expires: self.now + left.min(self.config.expire) }
    }

    pub fn on_put(&mut self, from: P, rpc: RpcId, put: Put) {
        let kept = if from == self.me {
            Err(Offence::NamesItself)
        } else if belongs(put.under, &put.record) {
            self.keep(put.under, self.posting(put.record, from, self.config.expire), false)
        } else {
            Err(Offence::OutOfRange)
        };
        if let Err(offence) = kept {
            self.host.refuse(Some(from), offence);
        }
        self.host.send(from, DhtMessage::Stored { rpc, kept: kept.is_ok() });
    }

    pub fn on_drop(&mut self, from: P, rpc: RpcId, key: Id, what: Id) {
        if from == self.me {
            return self.host.refuse(Some(from), Offence::NamesItself);
        }
        let kept = self.app.kept.withdraw(key, from, what);
        self.host.send(from, DhtMessage::Stored { rpc, kept });
    }

    pub fn on_get(&mut self, from: P, op: u32, key: Id) {
        let (values, _) = self.app.page(key, self.now, 0, |record| record.key == key, self.host.rng());
        self.host.send(from, DhtMessage::Values { op, hops: 1, values });
    }

    pub fn on_search(&mut self, from: P, op: u32, ask: &Ask) {
        let (values, more) = self.app.matches(ask.under, self.now, usize::from(ask.skip), &ask.query);
        self.host.send(from, DhtMessage::Matches { op, more, values });
    }

    /// Tells the replica set of a publication or withdrawal.
    pub fn tell_all(&mut self, op: u32, peers: Vec<P>) {
        let Some(job) = self.app.jobs.get_mut(&op) else { return };
        job.phase = Phase::Storing { answered: false };
        let letter = match &job.task {
            Task::Publish(put) => Letter::Put(put.clone()),
            Task::Withdraw { under, what } => Letter::Drop { key: *under, what: *what },
            _ => return,
        };
        for peer in peers {
            if peer != self.me {
                self.post(peer, Sent { letter: letter.clone(), job: Some(op), again: false });
                continue;
            }
            match &letter {
                Letter::Put(put) => {
                    let posting = self.posting(put.record.clone(), self.me, self.config.expire);
                    if self.keep(put.under, posting, false).is_err() {
                        self.host.refuse(None, Offence::Full);
                    }
                }
                Letter::Drop { key, what } => {
                    self.app.kept.withdraw(*key, self.me, *what);
                }
                Letter::Hand(_) => {}
            }
            self.stored(op);
        }
        self.settle(op);
    }

    /// Sends a message that waits for its answer.
    pub fn post(&mut self, to: P, sent: Sent<P>) {
        let deadline = self.now + self.config.answer_timeout;
        let letter = sent.letter.clone();
        let Some(rpc) = self.app.open.open(to, deadline, sent, self.host.rng()) else { return };
        let message = match letter {
            Letter::Put(put) => DhtMessage::Put { rpc, put },
            Letter::Drop { key, what } => DhtMessage::Drop { rpc, key, what },
            Letter::Hand(items) => DhtMessage::Hand { rpc, items: List::new(items) },
        };
        self.host.send(to, message);
    }

    pub fn on_stored(&mut self, from: P, rpc: RpcId, kept: bool) {
        let Some(sent) = self.app.open.close(rpc, from) else {
            return self.host.refuse(Some(from), Offence::UnknownReply);
        };
        match (sent.job, sent.letter) {
            (Some(op), _) => {
                self.stored(op);
                self.settle(op);
            }
            (None, Letter::Hand(items)) if kept => self.handed(&items),
            _ => {}
        }
    }

    /// Sends again, once, what was not answered in time.
    pub fn resend(&mut self) {
        while let Some((peer, sent)) = self.app.open.expire(self.now) {
            if sent.again {
                self.unanswered(peer, sent.letter, sent.job);
            } else {
                self.post(peer, Sent { again: true, ..sent });
            }
        }
    }

    /// `peer` did not answer a message.
    pub fn unanswered(&mut self, peer: P, letter: Letter<P>, job: Option<u32>) {
        if let Letter::Hand(_) = letter {
            self.app.hands.retain(|hand| hand.0 != peer);
        }
        if let Some(op) = job {
            self.settle(op);
        }
    }

    /// A replica has answered. One that is full says no; to ask it again before the
    /// next renewal would only load it more.
    fn stored(&mut self, op: u32) {
        if let Some(Job { phase: Phase::Storing { answered }, .. }) = self.app.jobs.get_mut(&op) {
            *answered = true;
        }
    }

    /// Ends a publication or withdrawal once everybody has answered or will not.
    fn settle(&mut self, op: u32) {
        if self.app.open.iter().all(|(_, sent)| sent.job != Some(op)) {
            self.finish(op, Outcome::Found);
        }
    }
}
