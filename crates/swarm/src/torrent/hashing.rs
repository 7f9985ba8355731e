//! BEP 52 in a torrent's life: the hashes it still lacks, those it serves, and the
//! leaves that tell which block of a failed piece was false.

use std::collections::BTreeMap;
use std::time::Duration;

use starling_metainfo::Sha256Hash;
use starling_sansio::{Sink, Time};

use crate::hashes::{Answer, HashLimits, HashProgress, HashStore};
use crate::picker::Source;
use crate::torrent::Torrent;
use crate::{HashRange, Message, Output};

/// A failed piece that waits for its leaves.
#[derive(Debug)]
pub(crate) struct Trial {
    digests: Vec<Sha256Hash>,
    from: Vec<Option<Source>>,
    until: Time,
}

/// How long the leaves of a failed piece are waited for.
const TRIAL: Duration = Duration::from_secs(20);

/// The v2 hashes of a torrent and what waits for them.
#[derive(Debug, Default)]
pub(crate) struct Hashing {
    pub store: Option<HashStore>,
    trials: BTreeMap<u32, Trial>,
}

impl Torrent {
    pub(crate) fn load_hashes(&mut self, layers: &BTreeMap<Sha256Hash, Vec<Sha256Hash>>) {
        let Some(info) = self.info.as_ref().filter(|info| info.v2) else { return };
        let mut store = HashStore::new(info, layers.clone(), HashLimits::default());
        self.links.iter().filter(|l| l.hello.v2 && !l.closing).for_each(|l| store.on_peer(l.conn));
        self.hashing.store = Some(store);
    }

    /// Whether `piece` can be verified when it comes.
    pub(crate) fn hash_known(&self, piece: u32) -> bool {
        let v1 = self.info.as_ref().is_some_and(|info| info.v1_pieces.is_some());
        v1 || self.hashing.store.as_ref().is_some_and(|store| store.piece_root(piece).is_some())
    }

    /// Asks for hashes that are missing.
    pub(crate) fn want_hashes(&mut self, out: &mut impl Sink<Output>) {
        if self.finished && self.hashing.trials.is_empty() {
            return;
        }
        let Some(store) = &mut self.hashing.store else { return };
        let links = &self.links;
        let has = |conn, pieces: std::ops::Range<u32>| {
            links.find(conn).is_some_and(|link| pieces.clone().take(1024).any(|piece| link.has.get(piece)))
        };
        for (conn, range) in store.poll(self.now, has) {
            if let Some(link) = self.links.slot_of(conn).and_then(|slot| self.links.get_mut(slot)) {
                link.send(self.now, Message::HashRequest(range), out);
            }
        }
        self.next = self.next.min(self.hashes_deadline());
    }

    pub(crate) fn on_hash_request(&mut self, slot: u32, range: HashRange, out: &mut impl Sink<Output>) {
        let (now, have) = (self.now, &self.have);
        let Some(link) = self.links.get_mut(slot) else { return };
        let answer = match &mut self.hashing.store {
            Some(store) => store.on_request(now, link.conn, range, |piece| have.get(piece)),
            None => Answer::Send(Message::HashReject(range)),
        };
        match answer {
            Answer::Send(message) => link.send(now, message, out),
            Answer::Digest(Some(piece)) => out.put(Output::Digest { piece }),
            Answer::Digest(None) => {}
        }
    }

    pub(crate) fn on_hash_reject(&mut self, slot: u32, range: HashRange, out: &mut impl Sink<Output>) {
        let conn = self.links.get(slot).map(|link| link.conn);
        if let (Some(store), Some(conn)) = (&mut self.hashing.store, conn) {
            store.on_reject(self.now, conn, range);
        }
        self.want_hashes(out);
    }

    pub(crate) fn on_hashes(
        &mut self,
        slot: u32,
        range: HashRange,
        hashes: &[Sha256Hash],
        out: &mut impl Sink<Output>,
    ) {
        let Some(conn) = self.links.get(slot).map(|link| link.conn) else { return };
        let Some(store) = &mut self.hashing.store else { return };
        match store.on_hashes(conn, range, hashes) {
            HashProgress::Ignored => self.strike(slot, "sends hashes nobody asked for", out),
            HashProgress::Stored => {}
            HashProgress::LayerKnown { files, roots } => self.layer_known(&files, &roots, out),
            HashProgress::Leaves { piece, leaves } => self.judge(piece, &leaves, out),
            HashProgress::Lie => {
                if let Some(ip) = self.links.get(slot).map(|link| link.ip) {
                    self.ban(ip, "sent false hashes", out);
                }
            }
        }
        self.want_hashes(out);
    }

    /// The pieces of these files can be asked for now.
    fn layer_known(&mut self, files: &[usize], roots: &[Sha256Hash], out: &mut impl Sink<Output>) {
        for &file in files {
            out.put(Output::PieceRoots { file, roots: roots.to_vec() });
            let pieces = self.info.as_ref().map_or(0..0, |info| info.layout.file_pieces(file));
            pieces.for_each(|piece| self.offer(piece));
        }
        self.picker.touch();
        self.refill_idle(out);
    }

    /// Whether the leaves of a failed piece are to be had, so that judgement waits for them.
    pub(crate) fn leaves_will_tell(
        &mut self,
        piece: u32,
        digests: &[Sha256Hash],
        from: &[Option<Source>],
        out: &mut impl Sink<Output>,
    ) -> bool {
        let someone = self.links.iter().any(|l| l.hello.v2 && !l.closing && l.has.get(piece));
        let Some(store) = self.hashing.store.as_mut().filter(|_| someone) else { return false };
        let known = store.want_leaves(piece);
        let until = self.now + TRIAL;
        self.hashing.trials.insert(piece, Trial { digests: digests.to_vec(), from: from.to_vec(), until });
        match known {
            Some(leaves) => self.judge(piece, &leaves, out),
            None => self.want_hashes(out),
        }
        true
    }

    /// The leaves are known: bans whose block is not the torrent's, and keeps the rest.
    fn judge(&mut self, piece: u32, leaves: &[Sha256Hash], out: &mut impl Sink<Output>) {
        let Some(trial) = self.hashing.trials.remove(&piece) else { return };
        // Blocks beyond the leaves are padding: v2 says nothing of them, v1 fixes them as zeros.
        let good = |i: usize| trial.digests.get(i).zip(leaves.get(i)).is_some_and(|(a, b)| a == b);
        let keep: Vec<u32> = (0..trial.from.len()).filter(|&i| good(i)).map(|i| i as u32).collect();
        let mut liars: Vec<Source> = Vec::new();
        for (i, source) in trial.from.iter().enumerate() {
            if let Some(source) = source.filter(|source| !good(i) && !liars.contains(source)) {
                liars.push(source);
            }
        }
        let total = trial.from.iter().flatten().count();
        if keep.len() >= total {
            // All leaves are right and yet the piece is not: v1 and v2 contradict each other.
            self.start_over(piece, &[], out);
            return;
        }
        self.start_over(piece, &keep, out);
        for liar in liars {
            self.convict(liar, "sent a block that was not the torrent's", out);
        }
    }

    pub(crate) fn tick_hashes(&mut self, out: &mut impl Sink<Output>) {
        let now = self.now;
        let late: Vec<u32> =
            self.hashing.trials.iter().filter(|(_, t)| t.until <= now).map(|(&piece, _)| piece).collect();
        for piece in late {
            let Some(trial) = self.hashing.trials.remove(&piece) else { continue };
            if let Some(store) = &mut self.hashing.store {
                store.forget_leaves(piece);
            }
            self.suspect(piece, &trial.digests, trial.from);
            self.start_over(piece, &[], out);
        }
        self.want_hashes(out);
    }

    pub(crate) fn hashes_deadline(&self) -> Time {
        let asked = self.hashing.store.as_ref().filter(|_| !self.finished);
        let store = asked.and_then(HashStore::next_timeout).unwrap_or(Time::NEVER);
        self.hashing.trials.values().map(|t| t.until).fold(store, Time::min)
    }

    /// A peer to ask for hashes came, or went.
    pub(crate) fn hash_peer(&mut self, slot: u32, here: bool) {
        let Some(link) = self.links.get(slot).filter(|link| link.hello.v2) else { return };
        match &mut self.hashing.store {
            Some(store) if here => store.on_peer(link.conn),
            Some(store) => store.on_disconnect(link.conn),
            None => {}
        }
    }

    /// The disk's digests for those who asked for leaves.
    pub(crate) fn serve_leaves(&mut self, piece: u32, digests: &[Sha256Hash], out: &mut impl Sink<Output>) {
        let Some(store) = &mut self.hashing.store else { return };
        for (conn, message) in store.on_digests(piece, digests) {
            if let Some(link) = self.links.slot_of(conn).and_then(|slot| self.links.get_mut(slot)) {
                link.send(self.now, message, out);
            }
        }
    }
}
