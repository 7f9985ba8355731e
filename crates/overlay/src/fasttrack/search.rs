//! A node's own searches.

use starling_sansio::Time;

use super::message::Message;
use super::{FastTrack, State, TRIES, World};
use crate::gnutella::{QueryId, What};
use crate::{Cost, Event, Hit, Id, Offence, Op, Outcome, Peer};

/// Searches of a node at a time.
pub const MAX_SEARCHES: usize = 64;
/// Hits of a search at most.
pub const MAX_HITS: usize = 4096;
/// New super-peers that a search begins anew with. More come only if somebody passes
/// this node to and fro.
const MAX_MOVES: u8 = 8;

/// A search that began here.
#[derive(Debug)]
pub(super) struct Search<P> {
    op: Op,
    pub id: QueryId,
    what: What,
    wanted: usize,
    /// Which record of whom, sorted.
    found: Vec<(Id, P)>,
    /// Length of the path of the first hit.
    hops: u32,
    timeouts: u32,
    /// Times that a super-peer was asked without an answer.
    tries: u8,
    /// New super-peers it was put to.
    moves: u8,
    /// Whether the query is on its way among super-peers.
    heard: bool,
    /// Whether a provider was dialled, to vouch for it.
    fetched: bool,
    /// When to ask again, or to end.
    pub due: Time,
}

impl<P> Search<P> {
    /// It waits for somebody to be put to, until then.
    fn strand(&mut self, until: Time) {
        (self.heard, self.tries) = (false, TRIES + 1);
        self.due = if self.moves < MAX_MOVES { until } else { self.due };
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.found.capacity() * size_of::<(Id, P)>() + self.what.heap_bytes()
    }
}

/// Ends an operation that never began.
pub(super) fn done<P>(op: Op, outcome: Outcome, host: &mut impl World<P>) {
    host.emit(Event::Done { op, outcome, cost: Cost::default() });
}

impl<P: Peer> FastTrack<P> {
    /// Begins a search: with what is here, then with the super-peer's help.
    pub(super) fn search(&mut self, now: Time, op: Op, what: What, wanted: u16, host: &mut impl World<P>) {
        if self.state != State::Member {
            return done(op, Outcome::Failed, host);
        }
        if self.searches.len() >= MAX_SEARCHES {
            return done(op, Outcome::Refused, host);
        }
        let found = self.find(&what, self.me);
        let wanted = usize::from(wanted.max(1)).min(MAX_HITS);
        self.searches.push(Search {
            op,
            id: QueryId(0),
            what,
            wanted,
            found: Vec::new(),
            hops: 0,
            timeouts: 0,
            tries: 0,
            moves: 0,
            heard: false,
            fetched: false,
            due: now,
        });
        let at = self.searches.len() - 1;
        if !self.keep(now, at, found, 0, host) {
            self.ask(now, at, host);
        }
    }

    /// Puts the query on its way: to the super-peer, or, being one, to others.
    fn ask(&mut self, now: Time, at: usize, host: &mut impl World<P>) {
        let (timeout, patience) = (self.config.timeout, self.config.patience());
        let parent = self.parent();
        let search = &mut self.searches[at];
        if search.id.0 == 0 || self.office.is_some() {
            let words = matches!(search.what, What::Words(_));
            search.id = QueryId(host.rng().next_u64() & !1 | u64::from(words));
        }
        search.tries += 1;
        let (id, what) = (search.id, search.what.clone());
        if let Some(office) = &mut self.office {
            (search.heard, search.due) = (true, now + patience);
            office.seen.insert(now, self.config.route_lifetime, id.0, self.me);
            self.flood(self.me, id, self.config.ttl, &what, host);
        } else {
            search.due = now + timeout;
            if let Some(parent) = parent {
                host.send(parent, Message::Query { id, ttl: 0, what });
            }
        }
    }

    /// Nobody is there any more to whom hits come: searches wait for a moment, to be put
    /// again where this node belongs next.
    pub(super) fn strand_searches(&mut self, now: Time) {
        let until = now + self.config.timeout * u32::from(TRIES);
        self.searches.iter_mut().for_each(|search| search.strand(until));
    }

    /// A new super-peer: those queries that are not on their way are put again. One that
    /// moved too often only has the tries that it has left, so that it ends.
    pub(super) fn ask_again(&mut self, now: Time, host: &mut impl World<P>) {
        for at in 0..self.searches.len() {
            let search = &mut self.searches[at];
            if !search.heard && search.moves < MAX_MOVES {
                search.moves += 1;
                (search.id, search.tries) = (QueryId(0), 0);
                self.ask(now, at, host);
            }
        }
    }

    /// Does what is due in the searches.
    pub(super) fn continue_searches(&mut self, now: Time, host: &mut impl World<P>) {
        let mut at = 0;
        while at < self.searches.len() {
            let search = &mut self.searches[at];
            if search.due > now {
                at += 1;
            } else if !search.heard && search.tries < TRIES {
                search.timeouts += 1;
                self.ask(now, at, host);
                at += 1;
            } else if !search.heard && search.tries == TRIES {
                // Whoever leaves that many questions without an answer is of no use.
                search.timeouts += 1;
                search.strand(now + self.config.timeout * u32::from(TRIES));
                if let Some(parent) = self.parent() {
                    self.lost(now, parent, host);
                }
                at += 1;
            } else {
                let outcome = match (search.found.is_empty(), search.heard) {
                    (false, _) => Outcome::Found,
                    (true, true) => Outcome::NotFound,
                    (true, false) => Outcome::Failed,
                };
                self.close(at, outcome, host);
            }
        }
    }

    /// Hits came for a search.
    pub(super) fn take_hits(
        &mut self,
        now: Time,
        at: usize,
        hits: Vec<Hit<P>>,
        hops: u32,
        host: &mut impl World<P>,
    ) {
        let patience = self.config.patience();
        let search = &mut self.searches[at];
        if !search.heard {
            (search.heard, search.due) = (true, now + patience);
        }
        self.keep(now, at, hits, hops, host);
    }

    /// Keeps what is new among `hits` and tells of it; whether that ended the search.
    fn keep(&mut self, now: Time, at: usize, hits: Vec<Hit<P>>, hops: u32, host: &mut impl World<P>) -> bool {
        let search = &mut self.searches[at];
        let mut new = Vec::with_capacity(hits.len());
        for hit in hits {
            if !search.what.matches(&hit.record) {
                host.refuse(None, Offence::OutOfRange);
                continue;
            }
            let entry = (hit.record.key, hit.provider);
            if let Err(place) = search.found.binary_search(&entry)
                && search.found.len() < MAX_HITS
            {
                if search.found.is_empty() {
                    search.hops = hops;
                }
                search.found.insert(place, entry);
                new.push(hit);
            }
        }
        let (op, id, enough) = (search.op, search.id, search.found.len() >= search.wanted);
        if let Some(hit) = new.iter().find(|hit| hit.provider != self.me && hops > 0)
            && !search.fetched
        {
            search.fetched = true;
            self.fetch(now, id, hit, host);
        }
        if !new.is_empty() {
            host.emit(Event::Hits { op, hits: new });
        }
        if enough {
            self.close(at, Outcome::Found, host);
        }
        enough
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
