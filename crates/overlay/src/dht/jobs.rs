//! What needs a find: look-ups, searches, finds, and each key of a publication.

use starling_sansio::Time;

use super::chores::Chore;
use super::host::Under;
use super::message::Ask;
use super::withdraw::Withdrawal;
use super::{App, Ctx, DhtMessage, MAX_HOPS, MAX_PAGES, MAX_WAITING, Put, Shown};
use crate::{Cost, Event, Hit, Host, Id, Input, KeyBased, Offence, Op, Outcome, Peer, Purpose, Query, Route};

/// What a find is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Task {
    Find { op: Op, key: Id },
    LookUp { op: Op, key: Id },
    Search { op: Op, under: Id, query: Box<Query> },
    Publish(Box<Put>),
    Withdraw(Box<Withdrawal>),
}

impl Task {
    /// The key to find.
    pub fn key(&self) -> Id {
        match self {
            Task::Find { key, .. } | Task::LookUp { key, .. } => *key,
            Task::Search { under, .. } => *under,
            Task::Publish(put) => put.under,
            Task::Withdraw(one) => one.gone.under,
        }
    }

    /// What its find is for.
    pub fn cause(&self) -> Purpose {
        match self {
            Task::Find { .. } | Task::LookUp { .. } => Purpose::LookUp,
            Task::Search { .. } => Purpose::Search,
            Task::Publish(_) | Task::Withdraw(_) => Purpose::Publish,
        }
    }

    /// The user's operation, if it is one.
    pub fn op(&self) -> Option<Op> {
        match self {
            Task::Find { op, .. } | Task::LookUp { op, .. } | Task::Search { op, .. } => Some(*op),
            Task::Publish(_) | Task::Withdraw(_) => None,
        }
    }

    /// The record that it publishes or withdraws.
    pub fn record(&self) -> Option<Id> {
        match self {
            Task::Publish(put) => Some(put.record.key),
            Task::Withdraw(one) => Some(one.gone.what),
            _ => None,
        }
    }
}

/// A task under way.
#[derive(Clone, Debug)]
pub struct Job<P> {
    pub task: Task,
    pub phase: Phase<P>,
    pub cost: Cost,
    /// Whether this is the second find.
    again: bool,
    /// Of a publication: whether nobody had heard of it.
    pub fresh: bool,
}

impl<P> Job<P> {
    pub fn new(task: Task, fresh: bool) -> Self {
        Job { task, phase: Phase::Finding, cost: Cost::default(), again: false, fresh }
    }
}

#[derive(Clone, Debug)]
pub enum Phase<P> {
    /// Until the routing core names the replica set.
    Finding,
    /// The replica set is asked, one after another.
    Asking(Asking<P>),
    /// The replica set is told, all at once; see [`super::Sent`].
    Storing { answered: bool, missed: bool },
}

#[derive(Clone, Debug)]
pub struct Asking<P> {
    pub peers: Vec<P>,
    at: usize,
    /// Whether one answered, if only that it has nothing.
    answered: bool,
    /// Whether all were silent once and are asked once more.
    second: bool,
    pub deadline: Time,
    pages: u8,
    /// Matches told to the user.
    seen: Vec<(Id, P)>,
}

impl<P: Peer, K: KeyBased<P>, H> Ctx<'_, P, K, H>
where
    H: Host<P, DhtMessage<P, K::Message>, Event<P>>,
{
    /// Looks at home, then elsewhere.
    pub fn look_up(&mut self, op: Op, key: Id) {
        let mine = self.app.published.iter().find(|one| one.record.key == key);
        let mine = mine.map(|one| Shown { record: one.record.clone(), provider: self.me });
        let keeps = self.replica_set(key, self.config.replicas).contains(&self.me);
        let mut found = if keeps { self.own_values(key) } else { Vec::new() };
        if let Some(mine) = mine.filter(|mine| !found.contains(mine)) {
            found.push(mine);
        }
        if found.is_empty() {
            return self.ask_for(op, Task::LookUp { op, key });
        }
        self.hits(op, found);
        self.done(op, Outcome::Found, Cost::default());
    }

    /// Goes to the holder of the longest full word.
    pub fn search(&mut self, op: Op, query: Query) {
        let words = query.words();
        let full = words.iter().filter(|word| !word.ends_with('*'));
        let Some(word) = full.max_by_key(|word| word.len()).filter(|_| query.wanted > 0) else {
            return self.done(op, Outcome::Refused, Cost::default());
        };
        let under = Id::hash(word.as_bytes());
        self.ask_for(op, Task::Search { op, under, query: Box::new(query) });
    }

    /// Queues an operation of the user.
    pub fn ask_for(&mut self, op: Op, task: Task) {
        if self.app.waiting.len() >= MAX_WAITING {
            return self.done(op, Outcome::Refused, Cost::default());
        }
        self.app.waiting.push_back(task);
    }

    /// Begins tasks as long as there may be more, the user's first.
    pub fn start_tasks(&mut self) {
        while self.app.jobs.len() < self.config.parallel.max(1) {
            let member = self.routing.is_member();
            let chore = |app: &mut App<P>| if member { app.next_chore() } else { None };
            let asked = self.app.waiting.pop_front().map(|task| Chore { task, fresh: false });
            let Some(Chore { task, fresh }) = asked.or_else(|| chore(self.app)) else { return };
            let values = matches!(task, Task::LookUp { .. });
            let op = self.fresh_op();
            self.app.jobs.insert(op, Job::new(task, fresh));
            self.begin_find(op, values);
        }
    }

    /// Who withdraws looks wider: some keep a posting who are no longer, or never were,
    /// in the replica set, and do not know it.
    fn begin_find(&mut self, op: u32, values: bool) {
        let Some(job) = self.app.jobs.get(&op) else { return };
        let (key, wide) = (job.task.key(), matches!(job.task, Task::Withdraw(_)));
        self.drive(job.task.cause(), Input::Command(Route::Find { op: Op(op), key, values }));
        if wide && self.app.leaving.is_none() {
            self.routing.widen(Op(op));
        }
    }

    /// A find is over.
    pub fn on_closest(&mut self, op: u32, mut peers: Vec<P>, cost: Cost) {
        let Some(job) = self.app.jobs.get_mut(&op) else { return };
        if !matches!(job.phase, Phase::Finding) {
            return;
        }
        job.cost.hops = cost.hops;
        job.cost.timeouts += cost.timeouts;
        match &job.task {
            Task::Find { op: user, .. } => {
                let user = *user;
                let outcome = if peers.is_empty() { Outcome::Failed } else { Outcome::Found };
                if !peers.is_empty() {
                    self.host.emit(Event::Closest { op: user, peers });
                }
                self.finish(op, outcome);
            }
            _ if peers.is_empty() => self.find_again(op),
            Task::LookUp { .. } | Task::Search { .. } => {
                peers.truncate(self.config.replicas);
                let (deadline, seen) = (Time::NEVER, Vec::new());
                let (answered, second) = (false, false);
                job.phase =
                    Phase::Asking(Asking { peers, at: 0, answered, second, deadline, pages: 0, seen });
                self.ask(op);
            }
            Task::Publish(_) => {
                peers.truncate(self.config.replicas);
                self.tell_all(op, peers);
            }
            Task::Withdraw(_) => {
                let most = if self.app.leaving.is_some() { self.config.replicas } else { peers.len() };
                peers.truncate(most);
                self.tell_all(op, peers);
            }
        }
    }

    /// A find failed: someone on the way may have dropped it, or its answer got lost.
    fn find_again(&mut self, op: u32) {
        let Some(job) = self.app.jobs.get_mut(&op) else { return };
        if job.again {
            return self.finish(op, Outcome::Failed);
        }
        job.again = true;
        self.begin_find(op, false);
    }

    /// Asks the replica whose turn it is, and those after it as long as this node is
    /// that replica itself.
    fn ask(&mut self, op: u32) {
        loop {
            let Some(Job { task, phase: Phase::Asking(asking), .. }) = self.app.jobs.get_mut(&op) else {
                return;
            };
            let Some(&peer) = asking.peers.get(asking.at) else {
                if asking.answered || asking.second {
                    let outcome = if asking.answered { Outcome::NotFound } else { Outcome::Failed };
                    return self.finish(op, outcome);
                }
                (asking.second, asking.at) = (true, 0);
                continue;
            };
            if peer != self.me {
                asking.deadline = self.now + self.config.answer_timeout;
                let message = match task {
                    Task::Search { under, query, .. } => {
                        let (query, skip) = ((**query).clone(), asking.seen.len() as u16);
                        DhtMessage::Search { op, ask: Box::new(Ask { under: *under, query, skip }) }
                    }
                    other => DhtMessage::Get { op, key: other.key() },
                };
                return self.host.send(peer, message);
            }
            let task = task.clone();
            if self.ask_myself(op, &task) {
                return;
            }
        }
    }

    /// This node is the replica to ask; whether that ended the job.
    fn ask_myself(&mut self, op: u32, task: &Task) -> bool {
        let found = match task {
            Task::Search { under, query, .. } => self.own_matches(*under, query),
            task => self.own_values(task.key()),
        };
        let found = self.take(op, found);
        if let Some(Job { phase: Phase::Asking(asking), .. }) = self.app.jobs.get_mut(&op) {
            asking.answered = true;
            asking.at += 1;
        }
        if found > 0 {
            self.finish(op, Outcome::Found);
        }
        found > 0
    }

    /// Somebody has what a look-up looks for, or has not.
    pub fn on_values(&mut self, from: P, op: u32, hops: u32, values: Vec<Shown<P>>) {
        let Some(Job { task: Task::LookUp { key, .. }, phase, cost, .. }) = self.app.jobs.get_mut(&op) else {
            return self.late_values(from, op, values);
        };
        if hops > MAX_HOPS || values.iter().any(|one| one.record.key != *key) {
            return self.host.refuse(Some(from), Offence::OutOfRange);
        }
        match phase {
            Phase::Finding if values.is_empty() => self.host.refuse(Some(from), Offence::OutOfRange),
            Phase::Finding => {
                cost.hops = hops;
                cost.timeouts += self.routing.asked_in_vain(Op(op));
                self.drive(Purpose::Maintenance, Input::Command(Route::Cancel(Op(op))));
                self.was_asked(from, op);
                self.take(op, values);
                self.finish(op, Outcome::Found);
            }
            Phase::Asking(asking) if asking.peers.contains(&from) && from != self.me => {
                if !values.is_empty() {
                    cost.hops += u32::from(asking.peers.first() != Some(&from));
                    self.take(op, values);
                    return self.finish(op, Outcome::Found);
                }
                asking.answered = true;
                if asking.peers.get(asking.at) == Some(&from) {
                    asking.at += 1;
                    self.ask(op);
                }
            }
            _ => self.late_values(from, op, values),
        }
    }

    /// Somebody has what was looked for, but the look-up or its find is over: of those
    /// asked side by side another was faster.
    fn late_values(&mut self, from: P, op: u32, values: Vec<Shown<P>>) {
        if !self.was_asked(from, op) {
            self.host.refuse(Some(from), Offence::UnknownReply);
        } else if !values.is_empty() && self.app.jobs.contains_key(&op) {
            self.take(op, values);
            self.finish(op, Outcome::Found);
        }
    }

    /// Whether the find of number `op` had asked `from`, who answers with a value.
    fn was_asked(&mut self, from: P, op: u32) -> bool {
        let mut under = Under::new(self.host, Purpose::LookUp);
        let asked = self.routing.answered_by_value(self.now, Op(op), from, &mut under);
        let events = under.events;
        self.routed(events);
        asked
    }

    /// The replica that a search asked tells what matches.
    pub fn on_matches(&mut self, from: P, op: u32, more: bool, values: Vec<Shown<P>>) {
        let Some(Job { task: Task::Search { query, .. }, phase, cost, .. }) = self.app.jobs.get_mut(&op)
        else {
            return self.host.refuse(Some(from), Offence::UnknownReply);
        };
        let Phase::Asking(asking) = phase else {
            return self.host.refuse(Some(from), Offence::UnknownReply);
        };
        if asking.peers.get(asking.at) != Some(&from) || from == self.me {
            return self.host.refuse(Some(from), Offence::UnknownReply);
        }
        if values.iter().any(|one| !query.matches(&one.record)) {
            return self.host.refuse(Some(from), Offence::OutOfRange);
        }
        asking.answered = true;
        asking.pages += 1;
        let (wanted, first_page) = (usize::from(query.wanted), asking.pages == 1);
        let more = more && !values.is_empty() && asking.pages < MAX_PAGES;
        if first_page && asking.at > 0 && !values.is_empty() {
            cost.hops += 1;
        }
        self.take(op, values);
        let Some(Job { phase: Phase::Asking(asking), .. }) = self.app.jobs.get_mut(&op) else { return };
        if asking.seen.len() >= wanted || (!more && !asking.seen.is_empty()) {
            return self.finish(op, Outcome::Found);
        }
        if !more {
            asking.at += 1;
            asking.pages = 0;
        }
        self.ask(op);
    }

    /// Tells the user of what was found, each once; returns how many were new.
    fn take(&mut self, op: u32, values: Vec<Shown<P>>) -> usize {
        let Some(job) = self.app.jobs.get_mut(&op) else { return 0 };
        let Some(user) = job.task.op() else { return 0 };
        let wanted = match &job.task {
            Task::Search { query, .. } => usize::from(query.wanted),
            _ => usize::MAX,
        };
        let mut once = Vec::new();
        let seen = match &mut job.phase {
            Phase::Asking(asking) => &mut asking.seen,
            _ => &mut once,
        };
        let mut fresh = Vec::new();
        for one in values {
            let name = (one.record.key, one.provider);
            if seen.len() < wanted && !seen.contains(&name) {
                seen.push(name);
                fresh.push(one);
            }
        }
        let count = fresh.len();
        self.hits(user, fresh);
        count
    }

    fn hits(&mut self, op: Op, found: Vec<Shown<P>>) {
        if !found.is_empty() {
            let hit = |one: Shown<P>| Hit { record: one.record, provider: one.provider };
            self.host.emit(Event::Hits { op, hits: found.into_iter().map(hit).collect() });
        }
    }

    /// Ends a job.
    pub fn finish(&mut self, op: u32, outcome: Outcome) {
        let Some(job) = self.app.jobs.remove(&op) else { return };
        if let Some(user) = job.task.op() {
            let found_before = matches!(&job.phase, Phase::Asking(asking) if !asking.seen.is_empty());
            self.done(user, if found_before { Outcome::Found } else { outcome }, job.cost);
            return;
        }
        let (told, missed) = match job.phase {
            Phase::Storing { answered, missed } => (answered, missed),
            _ => (false, true),
        };
        match job.task {
            Task::Publish(put) if told => self.app.note_heard(&put, true),
            Task::Publish(put) => self.publish_later(&put),
            Task::Withdraw(one) if missed || one.is_unsure(job.cost) => self.withdraw_later(*one),
            _ => {}
        }
    }

    /// Deals with those that did not answer in time.
    pub fn silent(&mut self) {
        let late = |job: &Job<P>| matches!(&job.phase, Phase::Asking(asking) if asking.deadline <= self.now);
        let late: Vec<u32> = self.app.jobs.iter().filter(|(_, job)| late(job)).map(|(op, _)| *op).collect();
        late.into_iter().for_each(|op| self.skip(op));
        self.resend();
    }

    /// The replica that a job asks does not answer.
    fn skip(&mut self, op: u32) {
        let Some(job) = self.app.jobs.get_mut(&op) else { return };
        job.cost.timeouts += 1;
        if let Phase::Asking(asking) = &mut job.phase {
            asking.at += 1;
            asking.pages = 0;
            self.ask(op);
        }
    }

    /// The driver knows that `peer` cannot be reached.
    pub fn unreachable(&mut self, peer: P) {
        let asked = |job: &Job<P>| matches!(&job.phase, Phase::Asking(asking) if asking.peers.get(asking.at) == Some(&peer));
        let asked: Vec<u32> = self.app.jobs.iter().filter(|(_, job)| asked(job)).map(|(op, _)| *op).collect();
        asked.into_iter().for_each(|op| self.skip(op));
        while let Some(sent) = self.app.open.abandon(peer) {
            self.unanswered(peer, sent.letter, sent.job);
        }
        self.tell_no_more(peer);
    }

    /// Ends all that is under way: this node has left.
    pub fn fail_all(&mut self) {
        let ops: Vec<u32> = self.app.jobs.keys().copied().collect();
        ops.into_iter().for_each(|op| self.finish(op, Outcome::Failed));
        while let Some(task) = self.app.waiting.pop_front() {
            if let Some(op) = task.op() {
                self.done(op, Outcome::Failed, Cost::default());
            }
        }
    }
}
