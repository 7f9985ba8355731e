//! Queries, hits and vouches on their way through super-peers.

use starling_sansio::Time;

use super::message::{MAX_BATCH, Message};
use super::office::Role;
use super::{Asked, FastTrack, World};
use crate::gnutella::config::count;
use crate::gnutella::{QueryId, What};
use crate::wire::List;
use crate::{Hit, Offence, Peer, RpcId};

/// Links that a query goes at most, whatever the configuration says.
pub const MAX_TTL: u8 = 10;
/// Hits that one super-peer tells of its leaves.
const MAX_TOLD: usize = 4 * MAX_BATCH;

impl<P: Peer> FastTrack<P> {
    /// Answers a query from the index and passes it on, the first time it comes.
    pub(super) fn on_query(
        &mut self,
        now: Time,
        from: P,
        id: QueryId,
        ttl: u8,
        what: What,
        host: &mut impl World<P>,
    ) {
        let role = self.office.as_mut().and_then(|office| office.hear(from));
        let (Some(office), Some(role)) = (&mut self.office, role) else {
            host.refuse(Some(from), Offence::Misdirected);
            return self.disown(from, host);
        };
        let leaf = role == Role::Leaf;
        if ttl > MAX_TTL || (ttl == 0) != leaf {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        let new = office.seen.insert(now, self.config.route_lifetime, id.0, from);
        count(&mut self.counters.queries);
        self.counters.duplicates = self.counters.duplicates.wrapping_add(u32::from(!new));
        let again = !new && leaf && office.seen.get(id.0) == Some(from);
        if !new && !again {
            return;
        }
        let mut found = self.find(&what, from);
        if leaf && found.is_empty() {
            host.send(from, Message::Hits { id, hops: 0, hits: List::default() });
        }
        while !found.is_empty() {
            let hits = List::fitting(found.iter().cloned());
            found.drain(..hits.len().max(1));
            host.send(from, Message::Hits { id, hops: 0, hits });
        }
        let ttl = if leaf { self.config.ttl.min(MAX_TTL) } else { ttl - 1 };
        if new {
            self.flood(from, id, ttl, &what, host);
        }
    }

    /// What this node and its leaves have, but not what `except` has.
    pub(super) fn find(&self, what: &What, except: P) -> Vec<Hit<P>> {
        let own = self.shelf.find(what).into_iter().map(|record| Hit { record, provider: self.me });
        let leaves = self.office.iter().flat_map(|office| office.index.find(what, MAX_TOLD, except));
        own.chain(leaves).take(MAX_TOLD).collect()
    }

    /// Sends a query to all linked super-peers but `from`, for `ttl` links.
    pub(super) fn flood(&self, from: P, id: QueryId, ttl: u8, what: &What, host: &mut impl World<P>) {
        for link in self.office.iter().flat_map(|office| &office.links) {
            if ttl > 0 && link.peer != from {
                host.send(link.peer, Message::Query { id, ttl, what: what.clone() });
            }
        }
    }

    /// Takes hits of an own search, or passes them on the way the query came.
    pub(super) fn on_hits(
        &mut self,
        now: Time,
        from: P,
        id: QueryId,
        hops: u8,
        hits: List<Hit<P>, MAX_BATCH>,
        host: &mut impl World<P>,
    ) {
        let link = self.office.as_mut().is_some_and(|office| office.hear_link(from).is_some());
        if !link && self.parent() != Some(from) {
            return host.refuse(Some(from), Offence::UnknownReply);
        }
        if hops > MAX_TTL {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        if let Some(office) = self.office.as_mut() {
            for hit in hits.iter() {
                let provider = host.id(hit.provider).high();
                office.ways.insert(now, self.config.route_lifetime, provider, from);
            }
        }
        if let Some(at) = self.searches.iter().position(|search| search.id == id) {
            return self.take_hits(now, at, hits.into_vec(), u32::from(hops) + 1, host);
        }
        let Some(office) = &self.office else {
            count(&mut self.counters.late);
            return;
        };
        match office.seen.get(id.0) {
            Some(back) if back == self.me => count(&mut self.counters.late),
            Some(back) if back != from && (office.has_leaf(back) || office.has_link(back)) => {
                count(&mut self.counters.hits);
                host.send(back, Message::Hits { id, hops: hops + 1, hits });
            }
            Some(_) => count(&mut self.counters.lost),
            None => host.refuse(Some(from), Offence::UnknownReply),
        }
    }

    /// Begins to deal with a provider, so that somebody can vouch for it.
    pub(super) fn fetch(&mut self, now: Time, id: QueryId, hit: &Hit<P>, host: &mut impl World<P>) {
        let deadline = now + self.config.timeout;
        if let Some(rpc) = self.asked.open(hit.provider, deadline, Asked::Fetch, host.rng()) {
            host.send(hit.provider, Message::Fetch { rpc, id, key: hit.record.key });
        }
    }

    pub(super) fn on_fetched(
        &mut self,
        now: Time,
        from: P,
        rpc: RpcId,
        id: QueryId,
        has: bool,
        host: &mut impl World<P>,
    ) {
        if !matches!(self.asked.close(rpc, from), Some(Asked::Fetch)) {
            return host.refuse(Some(from), Offence::UnknownReply);
        }
        if !has {
            return;
        }
        match self.parent() {
            Some(parent) => host.send(parent, Message::Vouch { id, ttl: MAX_TTL, provider: from }),
            None => self.pass_vouch(now, self.me, id, MAX_TTL, from, host),
        }
    }

    /// Takes a vouch from a leaf or link.
    pub(super) fn on_vouch(
        &mut self,
        now: Time,
        from: P,
        id: QueryId,
        ttl: u8,
        provider: P,
        host: &mut impl World<P>,
    ) {
        if self.office.as_mut().and_then(|office| office.hear(from)).is_none() {
            return host.refuse(Some(from), Offence::Misdirected);
        }
        if provider == from || ttl == 0 || ttl > MAX_TTL {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        self.pass_vouch(now, from, id, ttl, provider, host);
    }

    /// Counts a vouch for a leaf of this node, or passes it on the way the hit came.
    fn pass_vouch(
        &mut self,
        now: Time,
        from: P,
        id: QueryId,
        ttl: u8,
        provider: P,
        host: &mut impl World<P>,
    ) {
        let Some(office) = &self.office else { return };
        if office.has_leaf(provider) {
            return self.vouched(now, from, provider);
        }
        match office.ways.get(host.id(provider).high()) {
            Some(next) if ttl > 1 && next != from && office.has_link(next) => {
                host.send(next, Message::Vouch { id, ttl: ttl - 1, provider });
            }
            _ => count(&mut self.counters.lost),
        }
    }
}
