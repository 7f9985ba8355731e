//! What the tests share: torrents made of numbers, a listener for events, and a
//! storage in memory that is slow, full, broken or loses power as told.
#![allow(dead_code, missing_docs, clippy::unwrap_used)] // each test file uses a part

pub mod memory;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use bytes::Bytes;
use starling_disk::{Config, Disk, DiskError, Event, OpenSpec, TorrentKey, hash};
use starling_metainfo::{
    BLOCK_LENGTH, Bitfield, FileEntry, Info, InfoHashes, Layout, PieceLength, Sha256Hash, merkle,
};

pub const KEY: TorrentKey = TorrentKey(1);
pub const BLOCK: u64 = BLOCK_LENGTH as u64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    V1,
    /// With each file at the beginning of a block.
    PaddedV1,
    V2,
    Hybrid,
}

impl Version {
    fn has_v1(self) -> bool {
        self != Version::V2
    }

    fn has_v2(self) -> bool {
        matches!(self, Version::V2 | Version::Hybrid)
    }

    /// Where files begin.
    fn alignment(self, piece_length: u64) -> u64 {
        match self {
            Version::V1 | Version::V2 => 1,
            Version::PaddedV1 => BLOCK,
            Version::Hybrid => piece_length,
        }
    }
}

/// A torrent with its data.
pub struct Sample {
    pub info: Arc<Info>,
    pub layers: BTreeMap<Sha256Hash, Vec<Sha256Hash>>,
    /// All of the piece space, padding as zeros.
    pub data: Vec<u8>,
}

/// A torrent of files `f0`, `f1`, … of these lengths, padded where the version has it. One file: a
/// single-file torrent.
pub fn sample(version: Version, lengths: &[u64], piece_length: u64) -> Sample {
    let mut files: Vec<FileEntry> = Vec::new();
    for (index, &length) in lengths.iter().enumerate() {
        let file = FileEntry {
            path: vec![format!("f{index}")],
            raw: None,
            length,
            offset: 0,
            padding: false,
            executable: false,
            hidden: false,
            pieces_root: None,
        };
        let gap = length.next_multiple_of(version.alignment(piece_length)) - length;
        let padding =
            FileEntry { length: gap, padding: true, path: vec![format!("pad{index}")], ..file.clone() };
        files.push(file);
        if gap > 0 && index + 1 < lengths.len() {
            files.push(padding);
        }
    }
    let piece = PieceLength::new(piece_length).unwrap();
    let aligned = version == Version::V2;
    let plain = Layout::new(piece, files.clone(), aligned).unwrap();
    let data = noise(&plain);
    let mut layers = BTreeMap::new();
    if version.has_v2() {
        for (index, file) in files.iter_mut().enumerate().filter(|(_, f)| !f.padding && f.length > 0) {
            let start = plain.files()[index].offset as usize;
            let leaves: Vec<Sha256Hash> =
                data[start..start + file.length as usize].chunks(BLOCK as usize).map(hash::sha256).collect();
            file.pieces_root = Some(merkle::root(&leaves, merkle::ZERO));
            if file.length > piece_length {
                let blocks = (piece_length / BLOCK) as u32;
                let layer: Vec<Sha256Hash> =
                    leaves.chunks(blocks as usize).map(|l| merkle::root_from_leaves(l, blocks)).collect();
                layers.insert(file.pieces_root.unwrap(), layer);
            }
        }
    }
    let layout = Layout::new(piece, files, aligned).unwrap();
    let v1_pieces = version.has_v1().then(|| {
        let hashes = data.chunks(piece_length as usize).flat_map(|piece| {
            let mut sha1 = hash::Sha1::default();
            sha1.update(piece);
            sha1.finish().0
        });
        hashes.collect::<Bytes>()
    });
    let id = hash::sha256(format!("{version:?} {lengths:?} {piece_length}").as_bytes());
    let v1 = version.has_v1().then(|| id.truncated());
    let v2 = version.has_v2().then_some(id);
    let info = Info {
        name: if lengths.len() == 1 { "f0".into() } else { "folder".into() },
        layout,
        single_file: lengths.len() == 1,
        v1_pieces,
        v2: version.has_v2(),
        private: false,
        bytes: Bytes::new(),
        hashes: InfoHashes::new(v1, v2).unwrap(),
    };
    Sample { info: Arc::new(info), layers, data }
}

fn noise(layout: &Layout) -> Vec<u8> {
    let last = layout.files().last().unwrap();
    let mut data = vec![0; (last.offset + last.length) as usize];
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    for file in layout.files().iter().filter(|f| !f.padding) {
        for byte in &mut data[file.offset as usize..(file.offset + file.length) as usize] {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            *byte = x as u8;
        }
    }
    data
}

impl Sample {
    pub fn layout(&self) -> &Layout {
        &self.info.layout
    }

    pub fn pieces(&self) -> u32 {
        self.layout().pieces()
    }

    pub fn spec(&self, root: &Path) -> OpenSpec {
        OpenSpec { piece_layers: self.layers.clone(), ..OpenSpec::new(Arc::clone(&self.info), root) }
    }

    /// A spec with a resume file.
    pub fn spec_with_resume(&self, root: &Path) -> OpenSpec {
        OpenSpec { resume: Some(root.join("state/resume")), ..self.spec(root) }
    }

    /// The blocks of a piece that peers are asked for.
    pub fn blocks(&self, piece: u32) -> Vec<(u32, Bytes)> {
        let layout = self.layout();
        let begins = (0..layout.blocks(piece)).map(|block| block * BLOCK_LENGTH);
        begins.filter(|&b| !layout.is_padding(piece, b)).map(|b| (b, self.block(piece, b))).collect()
    }

    pub fn block(&self, piece: u32, begin: u32) -> Bytes {
        let start = u64::from(piece) * u64::from(self.layout().piece_length()) + u64::from(begin);
        let length = self.layout().asked_len(piece, begin);
        Bytes::copy_from_slice(&self.data[start as usize..start as usize + length as usize])
    }

    pub fn file_data(&self, index: usize) -> &[u8] {
        let file = &self.layout().files()[index];
        &self.data[file.offset as usize..(file.offset + file.length) as usize]
    }

    pub fn store_piece(&self, disk: &Disk, piece: u32) {
        for (begin, data) in self.blocks(piece) {
            disk.store(KEY, piece, begin, data);
        }
    }

    /// Writes the files below `root` as if somebody had put them there.
    pub fn write_files(&self, root: &Path) {
        for (index, file) in self.layout().files().iter().enumerate().filter(|(_, f)| !f.padding) {
            let path = self.path(root, index);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, self.file_data(index)).unwrap();
            assert!(!file.padding);
        }
    }

    pub fn path(&self, root: &Path, index: usize) -> std::path::PathBuf {
        let folder = if self.info.single_file { root.to_path_buf() } else { root.join(&self.info.name) };
        folder.join(self.layout().files()[index].path.join("/"))
    }

    pub fn assert_on_disk(&self, root: &Path) {
        for index in (0..self.layout().files().len()).filter(|&i| !self.layout().files()[i].padding) {
            let found = std::fs::read(self.path(root, index)).unwrap();
            assert!(found == self.file_data(index), "file {index} differs");
        }
    }
}

/// A disk and what it tells.
pub struct Bench {
    pub disk: Disk,
    pub events: Receiver<Event>,
}

impl Bench {
    pub fn new(config: Config) -> Bench {
        let (tell, events) = channel();
        let disk = Disk::new(config, move |event| drop(tell.send(event)));
        Bench { disk, events }
    }

    /// The next event that `pick` wants; others before it are dropped.
    pub fn wait<T>(&self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let mut seen = Vec::new();
        loop {
            match self.events.recv_timeout(Duration::from_secs(60)) {
                Ok(event) => {
                    seen.push(format!("{event:?}").chars().take(120).collect::<String>());
                    if let Some(picked) = pick(event) {
                        return picked;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {what}; instead {seen:#?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the disk is gone before {what}"),
            }
        }
    }

    pub fn opened(&self) -> Bitfield {
        self.wait("Opened", |event| match event {
            Event::Opened { have, .. } => Some(have),
            Event::Failed { error, .. } => panic!("{error}"),
            _ => None,
        })
    }

    pub fn open(&self, spec: OpenSpec) -> Bitfield {
        self.disk.open(KEY, spec);
        self.opened()
    }

    pub fn verified(&self, count: usize) -> Vec<u32> {
        let mut pieces = Vec::new();
        while pieces.len() < count {
            pieces.push(self.wait("PieceVerified", |event| match event {
                Event::PieceVerified { piece, .. } => Some(piece),
                Event::PieceFailed { piece, .. } => panic!("piece {piece} failed"),
                _ => None,
            }));
        }
        pieces.sort_unstable();
        pieces
    }

    pub fn failed(&self) -> (DiskError, bool) {
        self.wait("Failed", |event| match event {
            Event::Failed { error, recoverable, .. } => Some((error, recoverable)),
            _ => None,
        })
    }

    pub fn recovered(&self) {
        self.wait("Recovered", |event| matches!(event, Event::Recovered { .. }).then_some(()));
    }

    /// Waits for events until `done`, then closes.
    pub fn close_after(&self, done: impl Fn() -> bool) {
        while !done() {
            let _ = self.events.recv_timeout(Duration::from_millis(10));
        }
        self.close();
    }

    pub fn close(&self) {
        self.disk.close(KEY);
        let error = self.wait("Closed", |event| match event {
            Event::Closed { error, .. } => Some(error),
            _ => None,
        });
        assert!(error.is_none(), "{error:?}");
    }
}

/// Stores these pieces, and waits until they are verified.
pub fn get(bench: &Bench, sample: &Sample, pieces: impl IntoIterator<Item = u32>) {
    let pieces: Vec<u32> = pieces.into_iter().collect();
    pieces.iter().for_each(|&piece| sample.store_piece(&bench.disk, piece));
    assert_eq!(bench.verified(pieces.len()), pieces);
}

/// The names of all files below `root`, in order.
pub fn names(root: &Path) -> Vec<String> {
    let mut names: Vec<String> = walk(root);
    names.sort();
    names
}

fn walk(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let entries = entries.map(|entry| entry.unwrap());
    entries
        .flat_map(|entry| match entry.file_type().unwrap().is_dir() {
            true => walk(&entry.path()),
            false => vec![entry.file_name().into_string().unwrap()],
        })
        .collect()
}
