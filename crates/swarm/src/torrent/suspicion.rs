//! Whom to ban for a piece that failed its hash ("smart ban").
//!
//! A failed piece from one sender convicts it. From several, each block's digest
//! and sender are kept, the senders are on parole (they get whole pieces alone
//! until it is known who lied), and the piece is fetched anew from one other
//! peer if there is one. Once it passes, exactly those whose block differed are
//! banned. In v2 the leaves of the hash tree say so at once (`hashing`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use starling_metainfo::Sha256Hash;
use starling_sansio::{Sink, Time};

use crate::picker::Source;
use crate::torrent::Torrent;
use crate::{Event, Output};

/// What one attempt at a piece looked like.
#[derive(Debug)]
pub(crate) struct Attempt {
    at: Time,
    digests: Vec<Sha256Hash>,
    from: Vec<Option<Source>>,
}

/// Failed pieces and those who may be to blame.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    attempts: BTreeMap<u32, Vec<Attempt>>,
}

/// How many times as long as a peer may be silent, those who had a part in a failed piece
/// are kept from it.
const PATIENCE: u32 = 6;
/// Attempts remembered of one piece.
const ATTEMPTS_MAX: usize = 4;

impl Suspicion {
    /// Whether `ip` had a part in a failed attempt at `piece`, so that another is asked.
    pub fn avoids(&self, piece: u32, ip: IpAddr) -> bool {
        !self.attempts.is_empty() && self.attempts.get(&piece).is_some_and(|a| involves(a, Source::Ip(ip)))
    }

    /// Whether anything is held against `ip`.
    pub fn suspects(&self, ip: IpAddr) -> bool {
        self.attempts.values().any(|a| involves(a, Source::Ip(ip)))
    }

    fn forget(&mut self, piece: u32) {
        self.attempts.remove(&piece);
    }
}

fn involves(attempts: &[Attempt], source: Source) -> bool {
    attempts.iter().any(|a| a.from.contains(&Some(source)))
}

impl Torrent {
    /// The disk says that what came of `piece` has the wrong hash.
    pub(crate) fn on_failed(&mut self, piece: u32, digests: &[Sha256Hash], out: &mut impl Sink<Output>) {
        self.totals.failed += self.piece_bytes(piece);
        let Some(partial) = self.picker.partial(piece).filter(|p| p.missing() == 0) else {
            return out.put(Output::Retry { piece, keep: Vec::new() });
        };
        let from: Vec<Option<Source>> = (0..partial.len()).map(|i| partial.source_of(i)).collect();
        let sources = partial.sources().to_vec();
        if let [only] = sources[..] {
            self.start_over(piece, &[], out);
            return self.convict(only, "sent a piece with a wrong hash", out);
        }
        if self.leaves_will_tell(piece, digests, &from, out) {
            return;
        }
        self.suspect(piece, digests, from);
        self.start_over(piece, &[], out);
    }

    /// Remembers a failed attempt of several senders and puts them on parole.
    pub(crate) fn suspect(&mut self, piece: u32, digests: &[Sha256Hash], from: Vec<Option<Source>>) {
        let limit = self.config.limits.failed_pieces;
        let known = &mut self.suspicion.attempts;
        if known.len() >= limit && !known.contains_key(&piece) {
            known.pop_first();
        }
        let attempts = known.entry(piece).or_default();
        if attempts.len() >= ATTEMPTS_MAX {
            attempts.remove(0);
        }
        attempts.push(Attempt { at: self.now, digests: digests.to_vec(), from });
        self.settle_parole();
        self.settle_avoidance(piece);
    }

    /// The piece is fetched anew but for the blocks in `keep`.
    pub(crate) fn start_over(&mut self, piece: u32, keep: &[u32], out: &mut impl Sink<Output>) {
        self.picker.retry(piece, keep, keep.is_empty());
        out.put(Output::Retry { piece, keep: keep.to_vec() });
        self.refill_soon();
    }

    /// A piece that had failed is good now: its digests tell who lied.
    pub(crate) fn acquit(&mut self, piece: u32, out: &mut impl Sink<Output>) {
        if self.suspicion.attempts.contains_key(&piece) {
            out.put(Output::Digest { piece });
        }
    }

    /// The digests of a good piece that had failed before.
    pub(crate) fn on_digests(&mut self, piece: u32, digests: &[Sha256Hash], out: &mut impl Sink<Output>) {
        self.serve_leaves(piece, digests, out);
        let attempts = self.suspicion.attempts.remove(&piece).unwrap_or_default();
        let mut liars = Vec::new();
        for attempt in &attempts {
            for (i, from) in attempt.from.iter().enumerate() {
                let (was, is) = (attempt.digests.get(i), digests.get(i));
                if let (Some(source), Some(was), Some(is)) = (*from, was, is)
                    && was != is
                    && !liars.contains(&source)
                {
                    liars.push(source);
                }
            }
        }
        for liar in liars {
            self.convict(liar, "sent a block that was not the torrent's", out);
        }
        self.settle_parole();
        self.refill_soon();
    }

    /// This sender lied.
    pub(crate) fn convict(&mut self, source: Source, why: &'static str, out: &mut impl Sink<Output>) {
        match source {
            Source::Ip(ip) => self.ban(ip, why, out),
            Source::Seed(seed) => {
                self.drop_seed(seed, out);
                out.put(Output::Event(Event::SeedDropped { seed, why }));
            }
        }
    }

    /// Puts peers on parole and takes them off it, as suspicion says.
    pub(crate) fn settle_parole(&mut self) {
        let suspicion = &self.suspicion;
        for link in self.links.iter_mut() {
            let parole = suspicion.suspects(link.ip);
            if parole != link.down.parole {
                link.down.parole = parole;
                link.down.starved = None;
                self.picker.disown(link.slot, &mut link.down.own);
            }
        }
    }

    /// If all who have the piece and send something were involved, somebody has to be asked
    /// again: the record goes, and whoever sends all of it this time answers for it alone.
    pub(crate) fn settle_avoidance(&mut self, piece: u32) {
        if !self.suspicion.attempts.contains_key(&piece) {
            return;
        }
        let fresh = |l: &&crate::peer::Link| {
            !l.closing && !l.down.snubbed && l.has.get(piece) && !self.suspicion.avoids(piece, l.ip)
        };
        let helpers = self.links.iter().filter(fresh).count();
        if helpers == 0 && !self.seeds.can_fetch() {
            self.suspicion.forget(piece);
            self.settle_parole();
        }
    }

    /// At a tick: pieces whose only untainted peers have gone, or send nothing.
    pub(crate) fn tick_suspicion(&mut self) {
        let pieces: Vec<u32> = self.suspicion.attempts.keys().copied().collect();
        for piece in pieces {
            self.settle_avoidance(piece);
            self.settle_patience(piece);
        }
    }

    /// The untainted may choke us, or send next to nothing: after a while those who had a
    /// part in the failure are asked again, rather than never finishing.
    fn settle_patience(&mut self, piece: u32) {
        let patience = self.config.limits.snub * PATIENCE;
        let last = self.suspicion.attempts.get(&piece).and_then(|attempts| attempts.last());
        if last.is_some_and(|attempt| self.now.since(attempt.at) >= patience) {
            self.suspicion.forget(piece);
            self.settle_parole();
        }
    }
}
