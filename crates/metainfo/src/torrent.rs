use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use starling_bencode::{DictWriter, ListWriter};

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

    /// The v2 hash of `piece`, to compare with [`Layout::v2_piece_root`]. `layers` are as
    /// in [`Torrent::piece_layers`]; `None` while the one that is needed is not there.
    pub fn v2_piece(&self, piece: u32, layers: &BTreeMap<Sha256Hash, Vec<Sha256Hash>>) -> Option<Sha256Hash> {
        let index = self.layout.file_of_piece(piece).filter(|_| self.v2)?;
        let root = self.layout.files().get(index)?.pieces_root?;
        let pieces = self.layout.file_pieces(index);
        if pieces.len() == 1 {
            return Some(root);
        }
        layers.get(&root)?.get(piece.checked_sub(pieces.start)? as usize).copied()
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

impl Torrent {
    /// A torrent of which only the info dictionary is known, as after a magnet.
    pub fn from_info(info: Arc<Info>) -> Torrent {
        Torrent {
            info,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            piece_layers: BTreeMap::new(),
            comment: None,
            created_by: None,
            creation_date: None,
        }
    }

    /// The torrent file. The info dictionary goes in as it stands, so the info-hash stays.
    pub fn encode(&self) -> Bytes {
        let bytes = starling_bencode::encode_dict(|d| {
            if let Some(first) = self.trackers.iter().flatten().next() {
                d.bytes("announce", first);
            }
            if self.trackers.iter().flatten().count() > 1 {
                d.list("announce-list", |l| self.trackers.iter().for_each(|tier| write_tier(l, tier)));
            }
            if let Some(comment) = &self.comment {
                d.bytes("comment", comment);
            }
            if let Some(created_by) = &self.created_by {
                d.bytes("created by", created_by);
            }
            if let Some(date) = self.creation_date {
                d.int("creation date", date);
            }
            d.raw("info", &self.info.bytes);
            if self.info.v2 {
                d.dict("piece layers", |d| self.write_layers(d));
            }
            if !self.web_seeds.is_empty() {
                write_list(d, "url-list", &self.web_seeds);
            }
        });
        Bytes::from(bytes)
    }

    fn write_layers(&self, d: &mut DictWriter<'_>) {
        for (root, layer) in &self.piece_layers {
            let hashes: Vec<u8> = layer.iter().flat_map(|hash| hash.0).collect();
            d.bytes(root.0, hashes);
        }
    }
}

fn write_tier(l: &mut ListWriter<'_>, tier: &[String]) {
    l.list(|l| tier.iter().for_each(|url| l.bytes(url)));
}

fn write_list(d: &mut DictWriter<'_>, key: &str, items: &[String]) {
    d.list(key, |l| items.iter().for_each(|item| l.bytes(item)));
}
