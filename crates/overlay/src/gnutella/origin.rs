//! A node's own searches, each after its [`Strategy`].

use starling_sansio::{Rng, Time};

use super::message::{Message, QueryId, What};
use super::walk::Walker;
use super::{Gnutella, MAX_TTL, State, Strategy, World};
use crate::{Cost, Event, Hit, Id, Offence, Op, Outcome, Peer, Query, Record};

/// Searches of a node at a time.
pub const MAX_SEARCHES: usize = 64;
/// Hits of a search at most.
pub const MAX_HITS: usize = 4096;

/// A search that began here.
#[derive(Debug)]
pub(super) struct Search<P> {
    pub op: Op,
    pub id: QueryId,
    what: What,
    wanted: usize,
    /// Which record of whom, sorted.
    found: Vec<(Id, P)>,
    /// Length of the path of the first hit.
    hops: u32,
    /// Walkers that got lost.
    pub timeouts: u32,
    /// When to go on, or to give up.
    pub due: Time,
    pub plan: Plan<P>,
}

/// How a search goes on.
#[derive(Debug)]
pub(super) enum Plan<P> {
    Flood,
    Ring { ttl: u8 },
    Walk { walkers: Vec<Walker> },
    Dynamic { left: Vec<P>, reach: u64 },
}

impl<P> Search<P> {
    /// Whether it sent walkers.
    pub fn walks(&self) -> bool {
        matches!(self.plan, Plan::Walk { .. })
    }

    /// What it is for.
    pub fn what(&self) -> &What {
        &self.what
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let plan = match &self.plan {
            Plan::Walk { walkers } => walkers.capacity() * size_of::<Walker>(),
            Plan::Dynamic { left, .. } => left.capacity() * size_of::<P>(),
            Plan::Flood | Plan::Ring { .. } => 0,
        };
        self.found.capacity() * size_of::<(Id, P)>() + plan + self.what.heap_bytes()
    }
}

/// The query as others match it: lower case, one blank between two words.
pub(super) fn plain(query: Query) -> Query {
    Query { text: query.words().join(" ").into(), wanted: query.wanted }
}

/// Ends an operation that never began.
pub(super) fn done<P>(op: Op, outcome: Outcome, host: &mut impl World<P>) {
    host.emit(Event::Done { op, outcome, cost: Cost::default() });
}

impl<P: Peer> Gnutella<P> {
    /// Begins a search.
    pub(super) fn search(&mut self, now: Time, op: Op, what: What, wanted: u16, host: &mut impl World<P>) {
        if self.state != State::Member {
            return done(op, Outcome::Failed, host);
        }
        if self.searches.len() >= MAX_SEARCHES {
            return done(op, Outcome::Refused, host);
        }
        let own = self.own(&what);
        let id = new_id(&what, host.rng());
        let (wanted, found) = (usize::from(wanted.max(1)).min(MAX_HITS), Vec::new());
        let plan = Plan::Flood;
        self.searches.push(Search { op, id, what, wanted, found, hops: 0, timeouts: 0, due: now, plan });
        let at = self.searches.len() - 1;
        if let Some(own) = own {
            self.take_hits(at, own.into_vec(), self.me, 0, host);
        }
        if self.close_if_enough(at, host) {
            return;
        }
        if self.neighbours.len() == 0 {
            let outcome = if self.searches[at].found.is_empty() { Outcome::Failed } else { Outcome::Found };
            return self.close(at, outcome, host);
        }
        self.seen.insert(now, self.config.route_lifetime, id.0, self.me);
        self.begin(now, at, host);
    }

    fn begin(&mut self, now: Time, at: usize, host: &mut impl World<P>) {
        match self.config.strategy {
            Strategy::Flood { ttl } => self.flood(now, at, ttl, host),
            Strategy::ExpandingRing { first, .. } => {
                self.searches[at].plan = Plan::Ring { ttl: first };
                self.flood(now, at, first, host);
            }
            Strategy::Walkers { count, ttl, .. } => self.send_walkers(now, at, count, ttl, host),
            Strategy::Dynamic { probes, probe_ttl, .. } => {
                let mut left: Vec<P> = self.neighbours.peers().collect();
                host.rng().shuffle(&mut left);
                // One is kept for what the probe does not find.
                let unprobed = left.len().saturating_sub(usize::from(probes)).max(1);
                let mut reach = 0;
                for next in left.drain(unprobed.min(left.len())..) {
                    reach += self.query(at, next, probe_ttl, host);
                }
                let search = &mut self.searches[at];
                search.due = now + self.config.patience(probe_ttl);
                search.plan = Plan::Dynamic { left, reach };
                if reach == 0 {
                    self.ask_another(now, at, host); // nobody was probed
                }
            }
        }
    }

    /// Does what is due in the searches.
    pub(super) fn continue_searches(&mut self, now: Time, host: &mut impl World<P>) {
        let mut at = 0;
        while at < self.searches.len() {
            let before = self.searches.len();
            if self.searches[at].due <= now {
                self.go_on(now, at, host);
            }
            // One that ended has left its place to another.
            at += usize::from(self.searches.len() == before);
        }
    }

    fn go_on(&mut self, now: Time, at: usize, host: &mut impl World<P>) {
        match (&self.searches[at].plan, self.config.strategy) {
            (Plan::Ring { ttl }, Strategy::ExpandingRing { step, last, .. }) if *ttl < last => {
                let ttl = ttl.saturating_add(step.max(1)).min(last);
                let id = new_id(&self.searches[at].what, host.rng());
                let search = &mut self.searches[at];
                (search.id, search.plan) = (id, Plan::Ring { ttl });
                self.seen.insert(now, self.config.route_lifetime, id.0, self.me);
                self.flood(now, at, ttl, host);
            }
            (Plan::Walk { .. }, _) => self.look_after_walkers(now, at, host),
            (Plan::Dynamic { left, .. }, _) if !left.is_empty() => self.ask_another(now, at, host),
            _ => self.end(at, host),
        }
    }

    /// Dynamic querying: one more neighbour, asked as far as its share of what is still
    /// wanted is likely to need.
    fn ask_another(&mut self, now: Time, at: usize, host: &mut impl World<P>) {
        let Strategy::Dynamic { ttl: furthest, .. } = self.config.strategy else { return };
        let Search { plan, found, wanted, .. } = &mut self.searches[at];
        let Plan::Dynamic { left, reach } = plan else { return };
        let share = match found.len() as u64 {
            // Nothing yet: as many again as were asked so far, from this one alone; the last
            // one is asked as far as may be.
            0 if left.len() == 1 => u64::MAX,
            0 => *reach,
            some => {
                (*wanted as u64).saturating_sub(some).saturating_mul(*reach) / some / left.len().max(1) as u64
            }
        };
        let Some(next) = left.pop() else { return };
        let degree = self.neighbours.len() as u64;
        let ttl = (1..furthest).find(|&ttl| horizon(degree, ttl) >= share).unwrap_or(furthest);
        let more = if self.neighbours.contains(next) { self.query(at, next, ttl, host) } else { 0 };
        if let Plan::Dynamic { reach, .. } = &mut self.searches[at].plan {
            *reach += more;
        }
        self.searches[at].due =
            now + if more == 0 { std::time::Duration::ZERO } else { self.config.patience(ttl) };
    }

    fn flood(&mut self, now: Time, at: usize, ttl: u8, host: &mut impl World<P>) {
        let everyone: Vec<P> = self.neighbours.peers().collect();
        for next in everyone {
            self.query(at, next, ttl, host);
        }
        self.searches[at].due = now + self.config.patience(ttl.min(MAX_TTL));
    }

    /// Asks one neighbour; how many nodes that should reach.
    fn query(&self, at: usize, next: P, ttl: u8, host: &mut impl World<P>) -> u64 {
        let ttl = ttl.clamp(1, MAX_TTL);
        let Search { id, what, .. } = &self.searches[at];
        host.send(next, Message::Query { id: *id, ttl, hops: 0, what: what.clone() });
        horizon(self.neighbours.len() as u64, ttl)
    }

    /// Keeps what is new among `records` and tells of it.
    pub(super) fn take_hits(
        &mut self,
        at: usize,
        records: Vec<Record>,
        provider: P,
        hops: u32,
        host: &mut impl World<P>,
    ) {
        let search = &mut self.searches[at];
        let mut hits = Vec::with_capacity(records.len());
        for record in records {
            if !search.what.matches(&record) {
                host.refuse(Some(provider), Offence::OutOfRange);
                continue;
            }
            let entry = (record.key, provider);
            if let Err(place) = search.found.binary_search(&entry)
                && search.found.len() < MAX_HITS
            {
                if search.found.is_empty() {
                    search.hops = hops;
                }
                search.found.insert(place, entry);
                hits.push(Hit { record, provider });
            }
        }
        if !hits.is_empty() {
            host.emit(Event::Hits { op: search.op, hits });
        }
    }

    /// Ends a search that has found enough.
    pub(super) fn close_if_enough(&mut self, at: usize, host: &mut impl World<P>) -> bool {
        let enough = self.searches[at].found.len() >= self.searches[at].wanted;
        if enough {
            self.close(at, Outcome::Found, host);
        }
        enough
    }

    /// Ends a search whose time is up. "Not found" means: not within the horizon.
    pub(super) fn end(&mut self, at: usize, host: &mut impl World<P>) {
        let nothing = self.searches[at].found.is_empty();
        self.close(at, if nothing { Outcome::NotFound } else { Outcome::Found }, host);
    }

    /// Ends all searches without an answer.
    pub(super) fn abandon_searches(&mut self, host: &mut impl World<P>) {
        while !self.searches.is_empty() {
            self.close(0, Outcome::Failed, host);
        }
    }

    fn close(&mut self, at: usize, outcome: Outcome, host: &mut impl World<P>) {
        let Search { op, hops, timeouts, .. } = self.searches.swap_remove(at);
        if self.searches.is_empty() {
            // A quiet node keeps no memory for busy times.
            self.searches = Vec::new();
        }
        host.emit(Event::Done { op, outcome, cost: Cost { hops, timeouts } });
    }
}

fn new_id(what: &What, rng: &mut Rng) -> QueryId {
    QueryId(rng.next_u64() & !1 | u64::from(matches!(what, What::Words(_))))
}

/// Nodes that a query reaches through one neighbour if all have `degree` neighbours
/// and no two paths meet.
fn horizon(degree: u64, ttl: u8) -> u64 {
    let fan = degree.saturating_sub(1);
    (0..ttl).fold(0u64, |sum, _| sum.saturating_mul(fan).saturating_add(1))
}
