//! What this node has and tells the overlay of.

use std::time::Duration;

use starling_sansio::Time;

use super::chores::Chore;
use super::jobs::Task;
use super::withdraw::all_gone;
use super::{Ctx, DhtMessage, MAX_CHORES, MAX_PUBLISHED, Put};
use crate::{Event, Host, Id, KeyBased, Offence, Peer, Record};

/// A record of this node.
#[derive(Clone, Debug)]
pub struct Published<P> {
    pub record: Record,
    /// When to tell the overlay (again).
    pub next: Time,
    /// When to try again under those of its keys under which nobody has heard of it.
    pub again: Time,
    /// How long to wait after that.
    interval: Duration,
    /// Who was told of it under which of its keys.
    pub told: Vec<Told<P>>,
}

/// Who was told of a record under one key, the latest first.
#[derive(Clone, Debug)]
pub struct Told<P> {
    pub under: Id,
    pub peers: Vec<P>,
    /// Whether one of them has said so, when they were told last.
    pub heard: bool,
}

/// The first renewals come sooner: 1/16 of the interval after the first, and twice as
/// long each time. Who has just come, perhaps with a crowd, may have told nodes that
/// are soon no longer responsible.
const FIRST_RENEWAL: u32 = 16;

/// The keys under which a record is posted: its own, and its words' hashes.
pub fn keys(record: &Record) -> Vec<Id> {
    let words = record.words();
    let words = words.iter().filter(|word| !word.ends_with('*')).map(|word| Id::hash(word.as_bytes()));
    let mut keys = vec![record.key];
    keys.extend(words.filter(|&key| key != record.key));
    keys
}

impl<P: Peer, K: KeyBased<P>, H> Ctx<'_, P, K, H>
where
    H: Host<P, DhtMessage<P, K::Message>, Event<P>>,
{
    pub fn publish(&mut self, record: Record) {
        let interval = self.config.republish / FIRST_RENEWAL;
        let known = self.app.published.iter().position(|one| one.record.key == record.key);
        match known {
            Some(at) => {
                let now = keys(&record);
                let one = &mut self.app.published[at];
                (one.next, one.interval) = (self.now, interval);
                let before = std::mem::replace(&mut one.record, record.clone());
                let gone: Vec<Id> = keys(&before).into_iter().filter(|key| !now.contains(key)).collect();
                let told = one.told.extract_if(.., |told| gone.contains(&told.under)).collect();
                self.withdraw_under(&gone, told, record.key);
                // What it was must not come after what it is.
                self.give_up(|task| {
                    matches!(task, Task::Publish(put) if before == put.record) && before != record
                });
            }
            None if self.app.published.len() >= MAX_PUBLISHED => {
                return self.host.refuse(None, Offence::Full);
            }
            None => {
                let (record, next, told) = (record.clone(), self.now, Vec::new());
                let one = Published { record, next, again: Time::NEVER, interval, told };
                self.app.published.push(one);
            }
        }
        self.withdraw_none(&all_gone(&record).collect());
        self.publish_due();
    }

    /// Queues what it is time to tell.
    pub fn publish_due(&mut self) {
        if !self.routing.is_member() || self.app.leaving.is_some() {
            return self.postpone();
        }
        for at in 0..self.app.published.len() {
            let one = &mut self.app.published[at];
            let all = one.next <= self.now;
            if !all && one.again > self.now {
                continue;
            }
            one.again = Time::NEVER;
            if all {
                let cut = one.interval.mul_f64(self.host.rng().unit() / 4.0);
                one.next = self.now + (one.interval - cut);
                one.interval = (2 * one.interval).min(self.config.republish);
            }
            let heard = one.told.iter().filter(|told| told.heard).map(|told| told.under);
            let (record, heard) = (one.record.clone(), heard.collect::<Vec<Id>>());
            for under in keys(&record) {
                let fresh = !heard.contains(&under);
                let put = Box::new(Put { under, record: record.clone() });
                if (all || fresh) && !self.chore(Chore { task: Task::Publish(put), fresh }) {
                    let (one, soon) = (&mut self.app.published[at], self.now + self.config.retry);
                    let due = if all { &mut one.next } else { &mut one.again };
                    *due = soon.min(*due);
                    break;
                }
            }
        }
    }

    /// Queues a publication; `false` if too many of its kind wait.
    fn chore(&mut self, chore: Chore) -> bool {
        let fresh = self.app.chores.partition_point(|one| one.fresh);
        let (begin, end) = if chore.fresh { (0, fresh) } else { (fresh, self.app.chores.len()) };
        let room = end - begin < MAX_CHORES;
        if room && self.app.chores.iter().all(|one| one.task != chore.task) {
            self.app.chores.insert(end, chore);
        }
        room
    }

    /// Nothing can be told now; joining will make it due.
    fn postpone(&mut self) {
        let due = self.app.published.iter_mut().filter(|one| one.next.min(one.again) <= self.now);
        due.for_each(|one| (one.next, one.again) = (Time::NEVER, Time::NEVER));
    }

    /// This node takes part (again): all it has is to be told.
    pub fn publish_again(&mut self) {
        let interval = self.config.republish / FIRST_RENEWAL;
        self.app.published.iter_mut().for_each(|one| (one.next, one.interval) = (self.now, interval));
        self.publish_due();
    }

    /// Nobody has heard of a record under one of its keys.
    pub fn publish_later(&mut self, put: &Put) {
        self.app.note_heard(put, false);
        let soon = self.now + self.config.retry;
        let one = self.app.published.iter_mut().find(|one| one.record.key == put.record.key);
        one.into_iter().for_each(|one| one.again = one.again.min(soon));
    }
}
