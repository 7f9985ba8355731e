//! What a node keeps for others: taking postings, and showing them.

use std::time::Duration;

use starling_sansio::{Rng, Time};

use super::jobs::{Job, Phase, Task};
use super::message::{Ask, Gone, MAX_POSTINGS, POSTINGS_BYTES};
use super::{App, Ctx, DhtMessage, Letter, Put, Sent, Shown};
use crate::postings::Posting;
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
    /// is: who has just become the last replica of a key may not know its root. And it is kept
    /// though this node is still joining: others know it by then, and hand it what it will
    /// be responsible for once.
    pub fn keep(&mut self, under: Id, posting: Posting<P>, handed: bool) -> Result<(), Offence> {
        let set = self.replica_set(under, 2 * self.config.replicas);
        let is_near = set.contains(&self.me) || (handed && set.is_empty());
        if !is_near || !(handed || self.routing.is_member()) {
            return Err(Offence::Misdirected);
        }
        let household = |peer| self.host.household(peer);
        let kept = self.app.kept.put(under, posting, &self.config.limits, household);
        kept.map_err(|_| Offence::Full)?;
        let last = set.get(..self.config.replicas).unwrap_or(&set).last().copied();
        self.app.kept.note_last_replica(under, last);
        if self.app.leaving.is_some() {
            self.hand_to_heir(under);
        }
        Ok(())
    }

    /// Whether this node may be asked to keep what belongs under a key.
    pub fn is_near(&mut self, under: Id) -> bool {
        self.replica_set(under, 2 * self.config.replicas).contains(&self.me)
    }

    /// What to keep of a record for so long.
    pub fn posting(&self, record: Record, provider: P, left: Duration) -> Posting<P> {
        Posting { record, provider, expires: self.now + left.min(self.config.expire) }
    }

    pub fn on_put(&mut self, from: P, rpc: RpcId, put: Put) {
        let kept = if from == self.me {
            Err(Offence::NamesItself)
        } else if belongs(put.under, &put.record) {
            self.app.withdrawn.remove(&self.withdrawn(from, Gone { under: put.under, what: put.record.key }));
            self.keep(put.under, self.posting(put.record, from, self.config.expire), false)
        } else {
            Err(Offence::OutOfRange)
        };
        if let Err(offence) = kept {
            self.host.refuse(Some(from), offence);
        }
        self.host.send(from, DhtMessage::Stored { rpc, kept: kept.is_ok() });
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
        job.phase = Phase::Storing { answered: false, missed: false };
        let letter = match &job.task {
            Task::Publish(put) => Letter::Put(put.clone()),
            Task::Withdraw(one) => Letter::Drop(vec![one.gone]),
            _ => return,
        };
        if let Letter::Put(put) = &letter {
            self.app.note_told(put, &peers, 2 * self.config.replicas);
        }
        for peer in peers {
            if peer != self.me {
                if !self.post(peer, Sent { letter: letter.clone(), job: Some(op), again: false }) {
                    self.missed(op);
                }
                continue;
            }
            match &letter {
                Letter::Put(put) => {
                    let posting = self.posting(put.record.clone(), self.me, self.config.expire);
                    if self.keep(put.under, posting, false).is_err() {
                        self.host.refuse(None, Offence::Full);
                    }
                }
                Letter::Drop(items) => items.iter().for_each(|&item| {
                    self.forget(self.me, item);
                }),
                Letter::Hand(_) => {}
            }
            self.stored(op);
        }
        self.settle(op);
    }

    /// Sends a message that waits for its answer; `false` if too many do.
    pub fn post(&mut self, to: P, sent: Sent<P>) -> bool {
        let deadline = self.now + self.config.answer_timeout;
        let letter = sent.letter.clone();
        let Some(rpc) = self.app.open.open(to, deadline, sent, self.host.rng()) else { return false };
        let message = match letter {
            Letter::Put(put) => DhtMessage::Put { rpc, put },
            Letter::Drop(items) => DhtMessage::Drop { rpc, items: List::new(items) },
            Letter::Hand(items) => DhtMessage::Hand { rpc, items: List::new(items) },
        };
        self.host.send(to, message);
        true
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
            (None, Letter::Hand(items)) => self.handed(from, &items, kept),
            (None, Letter::Drop(_)) => drop(self.app.silent.remove(&from)),
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
        match letter {
            Letter::Hand(items) => self.hand_later(peer, &items),
            Letter::Drop(items) if job.is_none() => self.not_told(peer, items),
            _ => {}
        }
        if let Some(op) = job {
            self.missed(op);
            self.settle(op);
        }
    }

    /// A replica has answered. One that is full says no; to ask it again before the
    /// next renewal would only load it more.
    fn stored(&mut self, op: u32) {
        if let Some(Job { phase: Phase::Storing { answered, .. }, .. }) = self.app.jobs.get_mut(&op) {
            *answered = true;
        }
    }

    /// A replica has not been told, or did not say so.
    fn missed(&mut self, op: u32) {
        if let Some(Job { phase: Phase::Storing { missed, .. }, .. }) = self.app.jobs.get_mut(&op) {
            *missed = true;
        }
    }

    /// Ends a publication or withdrawal once everybody has answered or will not.
    fn settle(&mut self, op: u32) {
        if self.app.open.iter().all(|(_, sent)| sent.job != Some(op)) {
            self.finish(op, Outcome::Found);
        }
    }
}
