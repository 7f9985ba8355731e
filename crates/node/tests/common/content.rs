//! Torrents whose content is a function of file and position, so that every end of a
//! test can make any part of it, and none needs a copy.

use std::fs;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};
use starling_metainfo::merkle::sha256;
use starling_metainfo::{
    BLOCK_LENGTH, Builder, Layout, PieceLength, Sha1Hash, Sha256Hash, SourceFile, Torrent, Versions,
};
use starling_swarm::Block;

/// A torrent and its content.
pub struct Sample {
    pub torrent: Torrent,
}

impl Sample {
    /// One file.
    pub fn file(versions: Versions, length: u64, piece_length: u64) -> Sample {
        Sample::of(Builder::file("sample.bin", length), versions, piece_length)
    }

    /// Several files in folders, none of a round size.
    pub fn folder(versions: Versions, piece_length: u64) -> Sample {
        let files = [("a/one.bin", 300_001), ("a/two.bin", 1), ("b/empty", 0), ("three.bin", 777_777)];
        let source = |(path, length): (&str, u64)| SourceFile {
            path: path.split('/').map(str::to_owned).collect(),
            length,
            ..SourceFile::default()
        };
        Sample::of(Builder::folder("folder", files.into_iter().map(source).collect()), versions, piece_length)
    }

    pub fn of(mut builder: Builder, versions: Versions, piece_length: u64) -> Sample {
        builder.versions = versions;
        builder.piece_length = PieceLength::new(piece_length);
        let plan = builder.plan().unwrap();
        let layout = plan.layout();
        let v1: Vec<Sha1Hash> = (0..layout.pieces()).map(|piece| v1_hash(layout, piece)).collect();
        let v2: Vec<Sha256Hash> = match versions {
            Versions::V1 => Vec::new(),
            _ => (0..layout.pieces()).map(|piece| v2_hash(layout, piece)).collect(),
        };
        let (v1, v2) = (Some(&v1[..]).filter(|_| versions != Versions::V2), Some(&v2[..]));
        let torrent = plan.finish(v1, v2.filter(|_| versions != Versions::V1)).unwrap();
        Sample { torrent }
    }

    /// The right bytes of a block.
    pub fn block(&self, block: Block) -> Vec<u8> {
        bytes(&self.torrent.info.layout, block.piece, block.begin, block.length)
    }

    /// The right bytes of a file of the layout.
    pub fn file_bytes(&self, index: usize) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.torrent.info.layout.files()[index].length).unwrap()];
        fill(index, 0, &mut bytes);
        bytes
    }

    /// Where below `root` each real file lies.
    pub fn paths(&self, root: &Path) -> Vec<(usize, PathBuf)> {
        let info = &self.torrent.info;
        let top = if info.single_file { root.to_owned() } else { root.join(&info.name) };
        let real = info.layout.files().iter().enumerate().filter(|(_, file)| !file.padding);
        real.map(|(index, file)| (index, file.path.iter().fold(top.clone(), |p, c| p.join(c)))).collect()
    }

    /// Puts all of it below `root`.
    pub fn write_to(&self, root: &Path) {
        for (index, path) in self.paths(root) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, self.file_bytes(index)).unwrap();
        }
    }

    /// All of it lies below `root`, byte for byte.
    pub fn assert_in(&self, root: &Path) {
        for (index, path) in self.paths(root) {
            let found = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(found == self.file_bytes(index), "{} has wrong bytes", path.display());
        }
    }
}

fn v1_hash(layout: &Layout, piece: u32) -> Sha1Hash {
    Sha1Hash(Sha1::digest(bytes(layout, piece, 0, layout.padded_len(piece))).into())
}

fn v2_hash(layout: &Layout, piece: u32) -> Sha256Hash {
    let content = bytes(layout, piece, 0, layout.content_len(piece));
    let leaves: Vec<Sha256Hash> = content.chunks(BLOCK_LENGTH as usize).map(sha256).collect();
    layout.v2_piece_root(piece, &leaves)
}

fn bytes(layout: &Layout, piece: u32, begin: u32, length: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(length as usize);
    for span in layout.spans(piece, begin, length) {
        let start = out.len();
        out.resize(start + span.length as usize, 0);
        if let Some(file) = span.file {
            fill(file, span.offset, &mut out[start..]);
        }
    }
    out
}

/// Eight bytes at a time: splitmix64 of file and position.
fn fill(file: usize, offset: u64, out: &mut [u8]) {
    let word = |at: u64| {
        let mut z = (at ^ (file as u64) << 48).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)).to_le_bytes()
    };
    let (mut at, mut current) = (u64::MAX, [0; 8]);
    for (i, byte) in out.iter_mut().enumerate() {
        let position = offset + i as u64;
        if at != position / 8 {
            at = position / 8;
            current = word(at);
        }
        *byte = current[(position % 8) as usize];
    }
}
