use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::{InfoHashes, Layout, Sha1Hash, Sha256Hash};

/// The info dictionary: what the info-hash covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The suggested name, safe as one path component.
    pub name: String,
    /// Pieces and files. `Layout::files` paths start below `name` for a folder;
    /// for a single file the one path is `[name]`.
    pub layout: Layout,
    /// Whether the torrent is one bare file rather than a folder.
    pub single_file: bool,
    /// SHA-1 of each piece, end to end; `None` in a v2-only torrent.
    pub v1_pieces: Option<Bytes>,
    /// Whether there is a v2 part (`meta version` 2, a file tree).
    pub v2: bool,
    /// BEP 27: peers come from trackers only.
    pub private: bool,
    /// The dictionary's own bytes, as hashed and as ut_metadata serves them.
    pub bytes: Bytes,
    /// Both hashes of `bytes`, as far as the torrent has those versions.
    pub hashes: InfoHashes,
}

impl Info {
    /// The v1 hash of `piece`, if there is a v1 part and such a piece.
    pub fn v1_piece(&self, piece: u32) -> Option<Sha1Hash> {
        let at = piece as usize * 20;
        let hash = self.v1_pieces.as_ref()?.get(at..at + 20)?;
        Some(Sha1Hash(hash.try_into().ok()?))
    }
}

/// A torrent file: the info dictionary and what stands around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torrent {
    /// The info dictionary.
    pub info: Arc<Info>,
    /// BEP 12 tiers of tracker addresses; `announce` alone makes one tier.
    pub trackers: Vec<Vec<String>>,
    /// BEP 19 addresses.
    pub web_seeds: Vec<String>,
    /// BEP 52 `piece layers`: for each file's root the hashes of its pieces.
    /// Checked against the root. Files of one piece or less are not listed.
    pub piece_layers: BTreeMap<Sha256Hash, Vec<Sha256Hash>>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
}
