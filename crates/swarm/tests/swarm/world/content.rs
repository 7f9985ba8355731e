//! The torrents that scenarios share. Content is a function of position, so that
//! nothing has to be kept: a true block is tag 0, a false one any other tag.

use std::collections::BTreeMap;
use std::sync::Arc;

use starling_metainfo::{
    BLOCK_LENGTH, Builder, Info, Layout, PieceLength, Sha1Hash, Sha256Hash, SourceFile, Torrent, Versions,
    merkle,
};

pub const KIB: u64 = 1024;
pub const MIB: u64 = 1024 * KIB;

/// What a block's bytes were: 0 is the torrent's own.
pub type Tag = u64;

/// The torrent of a scenario.
#[derive(Clone)]
pub struct Content {
    pub torrent: Torrent,
}

impl Content {
    /// One file of `bytes` in pieces of `piece` bytes. The v1 hashes are not real: the
    /// virtual disk compares tags.
    pub fn v1(bytes: u64, piece: u64) -> Content {
        Content::make(Builder::file("file", bytes), Versions::V1, piece)
    }

    /// One file, v2 only; hashes are real.
    pub fn v2(bytes: u64, piece: u64) -> Content {
        Content::make(Builder::file("file", bytes), Versions::V2, piece)
    }

    /// One file, hybrid.
    pub fn hybrid(bytes: u64, piece: u64) -> Content {
        Content::make(Builder::file("file", bytes), Versions::Hybrid, piece)
    }

    /// A folder of files of these sizes.
    pub fn folder(sizes: &[u64], versions: Versions, piece: u64) -> Content {
        let file = |(i, &length): (usize, &u64)| SourceFile {
            path: vec![format!("{i:04}")],
            length,
            ..SourceFile::default()
        };
        Content::make(
            Builder::folder("folder", sizes.iter().enumerate().map(file).collect()),
            versions,
            piece,
        )
    }

    /// The same as a private torrent.
    pub fn private(bytes: u64, piece: u64) -> Content {
        let mut builder = Builder::file("file", bytes);
        builder.private = true;
        Content::make(builder, Versions::V1, piece)
    }

    fn make(mut builder: Builder, versions: Versions, piece: u64) -> Content {
        builder.versions = versions;
        builder.piece_length = PieceLength::new(piece);
        let plan = builder.plan().unwrap();
        let pieces = plan.layout().pieces();
        let v1 = (versions != Versions::V2).then(|| vec![Sha1Hash([0; 20]); pieces as usize]);
        let v2 = (versions != Versions::V1).then(|| {
            (0..pieces).map(|p| plan.layout().v2_piece_root(p, &leaves(plan.layout(), p))).collect::<Vec<_>>()
        });
        Content { torrent: plan.finish(v1.as_deref(), v2.as_deref()).unwrap() }
    }

    pub fn info(&self) -> &Arc<Info> {
        &self.torrent.info
    }

    pub fn layout(&self) -> &Layout {
        &self.torrent.info.layout
    }

    pub fn piece_layers(&self) -> BTreeMap<Sha256Hash, Vec<Sha256Hash>> {
        self.torrent.piece_layers.clone()
    }

    /// The digests of a piece's blocks, as they came with these tags.
    pub fn digests(&self, piece: u32, tags: &[Tag]) -> Vec<Sha256Hash> {
        let layout = self.layout();
        let covered = if layout.files().iter().any(|f| f.pieces_root.is_some()) {
            layout.content_len(piece)
        } else {
            layout.piece_len(piece)
        };
        (0u32..)
            .zip(tags)
            .map(|(i, &tag)| {
                let begin = i * BLOCK_LENGTH;
                merkle::sha256(&bytes(piece, begin, covered.saturating_sub(begin).min(BLOCK_LENGTH), tag))
            })
            .collect()
    }
}

fn leaves(layout: &Layout, piece: u32) -> Vec<Sha256Hash> {
    let length = layout.content_len(piece);
    let block = |i: u32| bytes(piece, i * BLOCK_LENGTH, (length - i * BLOCK_LENGTH).min(BLOCK_LENGTH), 0);
    (0..length.div_ceil(BLOCK_LENGTH)).map(|i| merkle::sha256(&block(i))).collect()
}

/// The bytes of a block.
fn bytes(piece: u32, begin: u32, length: u32, tag: Tag) -> Vec<u8> {
    let seed = (u64::from(piece) << 32 | u64::from(begin)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ tag;
    (0..u64::from(length))
        .map(|i| (seed.wrapping_add(i).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8)
        .collect()
}
