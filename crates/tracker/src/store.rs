//! The table behind a tracker: who is in which swarm.
//!
//! Bounded and forgetful: a peer that has not announced for two intervals is gone.
//! Deliberately absent: accounts, ratios, persistence.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use starling_metainfo::Sha1Hash;
use starling_sansio::{Rng, Time};

use crate::{AnnounceRequest, AnnounceResponse, Event, Family, Limits, ScrapeEntry, ScrapeResponse};

/// Who is in which swarm, as a tracker knows it.
#[derive(Debug)]
pub struct PeerStore {
    interval: Duration,
    rng: Rng,
    swarms: BTreeMap<Sha1Hash, Swarm>,
    /// When to look for peers that are gone.
    sweep: Time,
}

#[derive(Debug, Default)]
struct Swarm {
    peers: [BTreeMap<SocketAddr, Peer>; 2],
    downloaded: u32,
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    peer_id: [u8; 20],
    seed: bool,
    expires: Time,
}

impl PeerStore {
    /// An empty table that asks to be announced to every `interval`.
    pub fn new(interval: Duration, rng: Rng) -> PeerStore {
        PeerStore { interval, rng, swarms: BTreeMap::new(), sweep: Time::ZERO }
    }

    /// Notes who announces from `from` and answers with others of the swarm: of the same
    /// family, not the asker itself, and for a seed only leechers. The address in the
    /// request is not trusted; the port is.
    pub fn announce(&mut self, now: Time, from: IpAddr, request: &AnnounceRequest) -> AnnounceResponse {
        self.expire(now);
        let from = from.to_canonical();
        let known = self.swarms.contains_key(&request.info_hash);
        if known || (self.swarms.len() < Limits::STORE_SWARMS && request.event != Event::Stopped) {
            let peer =
                Peer { peer_id: request.peer_id, seed: request.left == 0, expires: now + self.interval * 2 };
            let swarm = self.swarms.entry(request.info_hash).or_default();
            swarm.note(SocketAddr::new(from, request.port), peer, request.event);
        }
        let mut answer = self.numbers(request.info_hash);
        answer.external_ip = Some(from);
        if let Some(swarm) = self.swarms.get(&request.info_hash).filter(|_| request.event != Event::Stopped) {
            answer.peers = swarm.choose(from, request, &mut self.rng);
        }
        answer
    }

    /// The numbers of each torrent that is known.
    pub fn scrape(&mut self, now: Time, info_hashes: &[Sha1Hash]) -> ScrapeResponse {
        self.expire(now);
        let known = info_hashes.iter().filter_map(|hash| Some((*hash, self.swarms.get(hash)?.numbers())));
        ScrapeResponse { files: known.collect() }
    }

    /// How many torrents are known.
    pub fn swarms(&self) -> usize {
        self.swarms.len()
    }

    fn numbers(&self, hash: Sha1Hash) -> AnnounceResponse {
        let numbers = self.swarms.get(&hash).map(Swarm::numbers).unwrap_or_default();
        AnnounceResponse {
            interval: u32::try_from(self.interval.as_secs()).unwrap_or(u32::MAX),
            complete: Some(numbers.complete),
            incomplete: Some(numbers.incomplete),
            ..AnnounceResponse::default()
        }
    }

    /// Forgets who is gone; looks through the table once in an interval at most.
    fn expire(&mut self, now: Time) {
        if now < self.sweep {
            return;
        }
        self.sweep = now + self.interval;
        for swarm in self.swarms.values_mut() {
            swarm.peers.iter_mut().for_each(|peers| peers.retain(|_, peer| peer.expires > now));
        }
        self.swarms.retain(|_, swarm| swarm.peers.iter().any(|peers| !peers.is_empty()));
    }
}

impl Swarm {
    fn note(&mut self, addr: SocketAddr, peer: Peer, event: Event) {
        let full = self.peers.iter().map(BTreeMap::len).sum::<usize>() >= Limits::STORE_PEERS;
        let peers = &mut self.peers[family_index(addr.ip())];
        let known = peers.contains_key(&addr);
        if event == Event::Completed && known {
            self.downloaded = self.downloaded.saturating_add(1);
        }
        if event == Event::Stopped {
            peers.remove(&addr);
        } else if addr.port() != 0 && (known || !full) {
            peers.insert(addr, peer);
        }
    }

    /// A random run of the swarm, since the peers in order of address come in no order
    /// that means anything.
    fn choose(&self, from: IpAddr, request: &AnnounceRequest, rng: &mut Rng) -> Vec<SocketAddr> {
        let peers = &self.peers[family_index(from)];
        let wanted = request.numwant.map_or(50, |n| n as usize).min(Limits::STORE_ANSWER);
        let skip = rng.index(peers.len());
        let wanted_peer = |(_, peer): &(&SocketAddr, &Peer)| {
            peer.peer_id != request.peer_id && !(request.left == 0 && peer.seed)
        };
        let cycle = peers.iter().skip(skip).chain(peers.iter().take(skip));
        cycle.filter(wanted_peer).take(wanted).map(|(addr, _)| *addr).collect()
    }

    fn numbers(&self) -> ScrapeEntry {
        let (mut complete, mut incomplete) = (0, 0);
        for peer in self.peers.iter().flat_map(BTreeMap::values) {
            *(if peer.seed { &mut complete } else { &mut incomplete }) += 1;
        }
        ScrapeEntry { complete, incomplete, downloaded: self.downloaded }
    }
}

fn family_index(ip: IpAddr) -> usize {
    match Family::of(ip) {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

#[cfg(test)]
mod tests;
