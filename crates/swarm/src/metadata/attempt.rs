use std::collections::BTreeMap;

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use starling_metainfo::{InfoHashes, Sha1Hash, Sha256Hash};
use starling_sansio::Time;

use super::{METADATA_PIECE, piece_count};
use crate::ConnId;

/// One try at metadata of one claimed size. Memory grows with what has come, not with the claim.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub size: u64,
    /// The only peer asked, if an earlier attempt had a wrong hash.
    pub only: Option<ConnId>,
    pub started: Time,
    pieces: BTreeMap<u32, (ConnId, Bytes)>,
}

/// Who sent what in an attempt that had the wrong hash.
pub(super) type Evidence = Vec<(u32, ConnId, Sha256Hash)>;

impl Attempt {
    pub fn new(now: Time, size: u64, only: Option<ConnId>) -> Attempt {
        Attempt { size, only, started: now, pieces: BTreeMap::new() }
    }

    pub fn has(&self, piece: u32) -> bool {
        self.pieces.contains_key(&piece)
    }

    pub fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        (0..piece_count(self.size)).filter(|piece| !self.has(*piece))
    }

    /// Keeps a piece whose length is right.
    pub fn insert(&mut self, piece: u32, conn: ConnId, bytes: Bytes) {
        self.pieces.insert(piece, (conn, bytes));
    }

    pub fn is_complete(&self) -> bool {
        self.pieces.len() == piece_count(self.size) as usize
    }

    /// The whole, pieces in order.
    pub fn assemble(&self) -> Vec<u8> {
        self.pieces.values().flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }

    pub fn evidence(&self) -> Evidence {
        self.pieces.iter().map(|(&piece, (conn, bytes))| (piece, *conn, digest(bytes))).collect()
    }
}

/// Those whose piece is not the one in `metadata`, each once.
pub(super) fn liars(evidence: &Evidence, metadata: &[u8]) -> Vec<ConnId> {
    let right: Vec<Sha256Hash> = metadata.chunks(METADATA_PIECE).map(digest).collect();
    let lied = |entry: &&(u32, ConnId, Sha256Hash)| right.get(entry.0 as usize) != Some(&entry.2);
    let mut liars: Vec<ConnId> = evidence.iter().filter(lied).map(|&(_, conn, _)| conn).collect();
    liars.sort_unstable();
    liars.dedup();
    liars
}

/// Whether the bytes have every hash by which the torrent is known.
pub(super) fn is_right(hashes: &InfoHashes, metadata: &[u8]) -> bool {
    let v1 = hashes.v1().is_none_or(|hash| hash == Sha1Hash(Sha1::digest(metadata).into()));
    v1 && hashes.v2().is_none_or(|hash| hash == digest(metadata))
}

fn digest(bytes: &[u8]) -> Sha256Hash {
    Sha256Hash(Sha256::digest(bytes).into())
}
