use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use starling_metainfo::InfoHashes;
use starling_sansio::Time;

use super::attempt::{Attempt, Evidence, is_right, liars};
use super::{MetadataLimits, piece_len};
use crate::ConnId;

/// What a piece of metadata led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Nothing was waiting for it: it is late, or somebody else was faster.
    Ignored,
    /// One more is there.
    Stored,
    /// All is there and has the right hash. The fetch is over.
    Complete {
        /// The info dictionary.
        metadata: Bytes,
        /// Peers found to have sent false pieces, possibly disconnected by now.
        liars: Vec<ConnId>,
    },
    /// All is there and the hash is wrong; another attempt will begin.
    Failed {
        /// The peer that sent all of it; `None` if there were several and more must be learned.
        liar: Option<ConnId>,
    },
    /// The peer broke BEP 9; it will not be asked again. The phrase is for the log.
    Misbehaved(&'static str),
}

/// Fetching an info dictionary known by its hashes.
///
/// The caller reports what it hears and sends what [`MetadataFetch::poll`] returns;
/// poll is to be called after every report and when [`MetadataFetch::next_timeout`] comes.
#[derive(Clone, Debug)]
pub struct MetadataFetch {
    hashes: InfoHashes,
    limits: MetadataLimits,
    peers: BTreeMap<ConnId, Source>,
    attempt: Option<Attempt>,
    /// From the last attempt with several senders.
    evidence: Evidence,
    /// After a wrong hash: from one peer at a time.
    alone: bool,
    /// Attempts at each size that somebody claims.
    tries: BTreeMap<u64, u32>,
    polled: Time,
    done: bool,
}

/// A peer that claims to have the metadata.
#[derive(Clone, Debug)]
struct Source {
    size: u64,
    in_flight: BTreeMap<u32, Time>,
    paused_until: Time,
    /// Rejects and stalls, for the pause and for the order in which peers are tried alone.
    failures: u32,
    /// Not to be asked again: it lied or broke the protocol.
    refused: bool,
}

impl Source {
    fn is_ready(&self, now: Time) -> bool {
        !self.refused && self.paused_until <= now
    }

    /// Leaves the peer alone for a while.
    fn pause(&mut self, now: Time, pause: Duration) {
        self.paused_until = now + pause.saturating_mul(1 << self.failures.min(6));
        self.failures = self.failures.saturating_add(1);
    }
}

impl MetadataFetch {
    /// For the torrent named by `hashes`; both are checked if both are known.
    pub fn new(hashes: InfoHashes, limits: MetadataLimits) -> MetadataFetch {
        MetadataFetch {
            hashes,
            limits,
            peers: BTreeMap::new(),
            attempt: None,
            evidence: Evidence::new(),
            alone: false,
            tries: BTreeMap::new(),
            polled: Time::ZERO,
            done: false,
        }
    }

    /// A peer that speaks `ut_metadata` claims the metadata has `size` bytes. False if that
    /// is nothing or too much, or there are peers enough: it will not be asked.
    /// A peer may claim anew; what it had been asked for is then forgotten.
    pub fn on_peer(&mut self, conn: ConnId, size: u64) -> bool {
        if size == 0 || size > self.limits.size_max {
            self.on_disconnect(conn);
            return false;
        }
        if let Some(source) = self.peers.get_mut(&conn) {
            if source.size != size {
                source.size = size;
                source.in_flight.clear();
            }
            return true;
        }
        if self.peers.len() >= self.limits.peers_max {
            return false;
        }
        let source = Source {
            size,
            in_flight: BTreeMap::new(),
            paused_until: Time::ZERO,
            failures: 0,
            refused: false,
        };
        self.peers.insert(conn, source);
        true
    }

    /// The connection is gone.
    pub fn on_disconnect(&mut self, conn: ConnId) {
        self.peers.remove(&conn);
    }

    /// The peer rejected a request; it is left alone for a while.
    pub fn on_reject(&mut self, now: Time, conn: ConnId, piece: u32) {
        let Some(source) = self.peers.get_mut(&conn) else { return };
        if source.in_flight.remove(&piece).is_some() {
            source.in_flight.clear();
            source.pause(now, self.limits.pause);
        }
    }

    /// The peer sent a piece.
    pub fn on_data(&mut self, conn: ConnId, piece: u32, total_size: Option<u64>, bytes: Bytes) -> Progress {
        let Some(source) = self.peers.get_mut(&conn) else { return Progress::Ignored };
        let fault = if total_size.is_some_and(|size| size != source.size) {
            Some("sent metadata of another size than claimed")
        } else if bytes.is_empty() || bytes.len() != piece_len(source.size, piece) {
            Some("sent a metadata piece of a wrong length")
        } else {
            None
        };
        if let Some(why) = fault {
            source.refused = true;
            source.in_flight.clear();
            return Progress::Misbehaved(why);
        }
        let asked = source.in_flight.remove(&piece).is_some();
        let Some(attempt) = self.attempt.as_mut().filter(|a| asked && a.size == source.size) else {
            return Progress::Ignored;
        };
        if attempt.has(piece) || attempt.only.is_some_and(|only| only != conn) {
            return Progress::Ignored;
        }
        source.failures = 0;
        attempt.insert(piece, conn, bytes);
        if attempt.is_complete() { self.finish() } else { Progress::Stored }
    }

    /// The requests to send now: `(peer, piece)`.
    pub fn poll(&mut self, now: Time) -> Vec<(ConnId, u32)> {
        self.polled = now;
        if self.done {
            return Vec::new();
        }
        self.expire(now);
        self.choose_attempt(now);
        let mut askable = self.askable(now);
        let mut requests = Vec::new();
        // One piece for each peer a round, so that they are spread.
        loop {
            let before = requests.len();
            for conn in self.candidates(now) {
                let Some(at) = askable.iter().position(|(_, asked)| *asked != Some(conn)) else { continue };
                let (piece, _) = askable.remove(at);
                if let Some(source) = self.peers.get_mut(&conn) {
                    source.in_flight.insert(piece, now);
                    requests.push((conn, piece));
                }
            }
            if requests.len() == before {
                return requests;
            }
        }
    }

    /// When [`MetadataFetch::poll`] next has something to do by itself.
    pub fn next_timeout(&self) -> Option<Time> {
        if self.done {
            return None;
        }
        let requests = self.peers.values().flat_map(|source| {
            let sent = source.in_flight.values();
            sent.flat_map(|&at| [at + self.limits.duplicate_after, at + self.limits.timeout])
        });
        let pauses = self.peers.values().filter(|source| !source.refused).map(|source| source.paused_until);
        let deadline = self.attempt.as_ref().map(|attempt| self.deadline(attempt));
        requests.chain(pauses).chain(deadline).filter(|&at| at > self.polled).min()
    }

    /// Judges a complete attempt.
    fn finish(&mut self) -> Progress {
        let Some(attempt) = self.attempt.take() else { return Progress::Ignored };
        let metadata = attempt.assemble();
        self.peers.values_mut().for_each(|source| source.in_flight.clear());
        if is_right(&self.hashes, &metadata) {
            self.done = true;
            let liars = liars(&self.evidence, &metadata);
            return Progress::Complete { metadata: Bytes::from(metadata), liars };
        }
        self.alone = true;
        let evidence = attempt.evidence();
        let first = evidence.first().map(|entry| entry.1);
        let liar = first.filter(|conn| evidence.iter().all(|entry| entry.1 == *conn));
        match liar.and_then(|conn| self.peers.get_mut(&conn)) {
            Some(source) => source.refused = true,
            None => self.evidence = evidence,
        }
        Progress::Failed { liar }
    }

    /// Leaves those alone who let a request wait too long.
    fn expire(&mut self, now: Time) {
        for source in self.peers.values_mut() {
            if source.in_flight.values().any(|&sent| now.since(sent) >= self.limits.timeout) {
                source.in_flight.clear();
                source.pause(now, self.limits.pause);
            }
        }
    }

    /// Begins an attempt if there is none, or if the present one had better give way.
    fn choose_attempt(&mut self, now: Time) {
        let next = if self.alone { self.next_alone(now) } else { self.next_together(now) };
        let Some((size, only)) = next else { return };
        *self.tries.entry(size).or_default() += 1;
        let claimed: Vec<u64> = self.peers.values().map(|source| source.size).collect();
        self.tries.retain(|size, _| claimed.contains(size));
        self.peers.values_mut().for_each(|source| source.in_flight.clear());
        self.attempt = Some(Attempt::new(now, size, only));
    }

    /// The size to try next with all who claim it: the one tried least, then the one
    /// claimed most. `None` to go on as before.
    fn next_together(&self, now: Time) -> Option<(u64, Option<ConnId>)> {
        let mut claims: BTreeMap<u64, usize> = BTreeMap::new();
        for source in self.peers.values().filter(|source| source.is_ready(now)) {
            *claims.entry(source.size).or_default() += 1;
        }
        if let Some(attempt) = &self.attempt {
            if claims.contains_key(&attempt.size) && now < self.deadline(attempt) {
                return None;
            }
            claims.remove(&attempt.size);
        }
        let tries = |size| self.tries.get(&size).copied().unwrap_or(0);
        let best = claims.into_iter().min_by_key(|&(size, count)| (tries(size), usize::MAX - count))?;
        Some((best.0, None))
    }

    /// The peer to ask for everything: the one with the fewest failures. `None` to go on as before.
    fn next_alone(&mut self, now: Time) -> Option<(u64, Option<ConnId>)> {
        if let Some((only, deadline)) = self.attempt.as_ref().map(|a| (a.only, self.deadline(a))) {
            let source = only.and_then(|conn| self.peers.get_mut(&conn)).filter(|s| s.is_ready(now));
            match source {
                Some(_) if now < deadline => return None,
                Some(slow) => slow.pause(now, self.limits.pause),
                None => {}
            }
        }
        let ready = self.peers.iter().filter(|(_, source)| source.is_ready(now));
        let (conn, source) = ready.min_by_key(|(conn, source)| (source.failures, **conn))?;
        Some((source.size, Some(*conn)))
    }

    fn deadline(&self, attempt: &Attempt) -> Time {
        let mib = u32::try_from(attempt.size >> 20).unwrap_or(u32::MAX);
        attempt.started + self.limits.attempt + self.limits.attempt_per_mib.saturating_mul(mib)
    }

    /// Missing pieces that may be asked for, with the peer that was asked already, if
    /// any: those nobody was asked for first, then those that take one peer long.
    fn askable(&self, now: Time) -> Vec<(u32, Option<ConnId>)> {
        let Some(attempt) = &self.attempt else { return Vec::new() };
        let mut asked: BTreeMap<u32, Vec<(ConnId, Time)>> = BTreeMap::new();
        for (&conn, source) in &self.peers {
            source.in_flight.iter().for_each(|(&piece, &sent)| {
                asked.entry(piece).or_default().push((conn, sent));
            });
        }
        let (mut fresh, mut slow) = (Vec::new(), Vec::new());
        for piece in attempt.missing() {
            match asked.get(&piece).map(Vec::as_slice) {
                None => fresh.push((piece, None)),
                Some(&[(conn, sent)]) if now.since(sent) >= self.limits.duplicate_after => {
                    slow.push((piece, Some(conn)));
                }
                Some(_) => {}
            }
        }
        fresh.append(&mut slow);
        fresh
    }

    /// Peers of this attempt that may be sent another request, those with the fewest first.
    fn candidates(&self, now: Time) -> Vec<ConnId> {
        let Some(attempt) = &self.attempt else { return Vec::new() };
        let fits = |conn: ConnId, source: &Source| {
            source.is_ready(now)
                && source.size == attempt.size
                && source.in_flight.len() < self.limits.in_flight_max
                && attempt.only.is_none_or(|only| only == conn)
        };
        let mut found: Vec<(usize, ConnId)> = self
            .peers
            .iter()
            .filter(|(conn, source)| fits(**conn, source))
            .map(|(&conn, source)| (source.in_flight.len(), conn))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, conn)| conn).collect()
    }
}
