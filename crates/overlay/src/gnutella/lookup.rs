//! Queries, hits and pushes on their way through a node.

use starling_sansio::Time;

use super::config::count;
use super::message::{MAX_RECORDS_A_HIT, Message, QueryId, What};
use super::{Gnutella, MAX_TTL, MAX_WALK, World};
use crate::wire::List;
use crate::{Offence, Peer, Record};

/// A [`Message::QueryHit`].
#[derive(Debug)]
pub(super) struct Found<P> {
    pub id: QueryId,
    pub ttl: u8,
    pub hops: u16,
    pub push: bool,
    pub provider: P,
    pub records: List<Record, MAX_RECORDS_A_HIT>,
}

impl<P: Peer> Gnutella<P> {
    /// Answers a query and passes it on, the first time it comes.
    pub(super) fn on_query(
        &mut self,
        now: Time,
        from: P,
        (id, ttl, hops): (QueryId, u8, u8),
        what: What,
        host: &mut impl World<P>,
    ) {
        if !self.hear_neighbour(from, host) {
            return;
        }
        if ttl == 0 || ttl.saturating_add(hops) > MAX_TTL {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        if !self.first_time(now, id, from) {
            return;
        }
        if let Some(records) = self.own(&what) {
            let (ttl, push) = (hops + 1, !self.reachable);
            host.send(from, Message::QueryHit { id, ttl, hops: 0, push, provider: self.me, records });
        }
        if ttl > 1 {
            for next in self.neighbours.peers().filter(|&next| next != from) {
                host.send(next, Message::Query { id, ttl: ttl - 1, hops: hops + 1, what: what.clone() });
            }
        }
    }

    /// Whether a query has not been here before. If so, the way back is kept.
    pub(super) fn first_time(&mut self, now: Time, id: QueryId, from: P) -> bool {
        let new = self.seen.insert(now, self.config.route_lifetime, id.0, from);
        count(&mut self.counters.queries);
        self.counters.duplicates = self.counters.duplicates.wrapping_add(u32::from(!new));
        new
    }

    /// This node's own records that match, if any: as many as fit into a hit.
    pub(super) fn own(&self, what: &What) -> Option<List<Record, MAX_RECORDS_A_HIT>> {
        let records = self.shelf.find(what);
        (!records.is_empty()).then(|| List::fitting(records))
    }

    /// Takes a hit of an own search, or passes it on the way its query came.
    pub(super) fn on_hit(&mut self, now: Time, from: P, hit: Found<P>, host: &mut impl World<P>) {
        let neighbour = self.neighbours.hear(from).is_some();
        if hit.provider == self.me {
            return host.refuse(Some(from), Offence::NamesItself);
        }
        if hit.records.is_empty() || hit.ttl == 0 || hit.hops > MAX_WALK {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        let Some(back) = self.seen.get(hit.id.0) else {
            count(&mut self.counters.lost);
            return host.refuse(Some(from), Offence::UnknownReply);
        };
        if back == self.me {
            return self.on_own_hit(from, neighbour, hit, host);
        }
        if !neighbour || back == from || hit.hops >= u16::from(MAX_TTL) {
            return host.refuse(Some(from), Offence::UnknownReply);
        }
        if hit.ttl == 1 || !self.neighbours.contains(back) {
            count(&mut self.counters.lost);
            return;
        }
        if hit.push {
            let servent = host.id(hit.provider).high();
            self.pushes.insert(now, self.config.route_lifetime, servent, from);
        }
        count(&mut self.counters.hits);
        let Found { id, ttl, hops, push, provider, records } = hit;
        host.send(back, Message::QueryHit { id, ttl: ttl - 1, hops: hops + 1, push, provider, records });
    }

    /// A hit of a search that began here, perhaps over by now.
    fn on_own_hit(&mut self, from: P, neighbour: bool, hit: Found<P>, host: &mut impl World<P>) {
        let Some(at) = self.searches.iter().position(|search| search.id == hit.id) else {
            count(&mut self.counters.late);
            return;
        };
        // Nobody but a neighbour has a path back to here; walkers' hits need none, but
        // come from the provider itself.
        let direct = self.searches[at].walks() && hit.provider == from;
        if !neighbour && !direct {
            return host.refuse(Some(from), Offence::UnknownReply);
        }
        if hit.push && !direct {
            let (servent, to) = (hit.provider, self.me);
            host.send(from, Message::Push { id: hit.id, ttl: MAX_TTL, servent, to });
        }
        let hops = u32::from(hit.hops) + 1;
        self.take_hits(at, hit.records.into_vec(), hit.provider, hops, host);
        self.close_if_enough(at, host);
    }

    /// Answers a push that is for this node; passes others on the way their hit came.
    pub(super) fn on_push(
        &mut self,
        from: P,
        (id, ttl): (QueryId, u8),
        servent: P,
        to: P,
        host: &mut impl World<P>,
    ) {
        if !self.hear_neighbour(from, host) {
            return;
        }
        if ttl == 0 || ttl > MAX_TTL || servent == to || to == self.me {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        if servent == self.me {
            return host.send(to, Message::Giv { id });
        }
        match self.pushes.get(host.id(servent).high()) {
            Some(next) if ttl > 1 && next != from && self.neighbours.contains(next) => {
                count(&mut self.counters.pushes);
                host.send(next, Message::Push { id, ttl: ttl - 1, servent, to });
            }
            _ => count(&mut self.counters.lost),
        }
    }
}
