//! Checking what lies on disk against a torrent, on all cores.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use starling_metainfo::{BLOCK_LENGTH, Bitfield, Sha256Hash, Torrent};

use crate::DiskError;
use crate::bulk::{Progress, each_piece};
use crate::descriptors;
use crate::layers::{self, Unjudged};
use crate::piece::Shape;
use crate::place::Places;
use crate::scan::{Verdict, judge_pieces};
use crate::span_io::SpanIo;
use crate::storage::{FdCache, Folder, Slot, Stat, Storage};
use crate::torrent::Expected;

/// Files kept open.
const OPEN_FILES: usize = 256;

/// What [`verify`](fn@verify) found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The pieces that are right.
    pub have: Bitfield,
    /// Each real file of the torrent.
    pub files: Vec<FileReport>,
    /// BEP 52: hashes of pieces that the torrent does not have, of files that are right, by
    /// the file's root.
    pub piece_layers: BTreeMap<Sha256Hash, Vec<Sha256Hash>>,
}

/// How one file does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileReport {
    /// Where it is or should be.
    pub path: PathBuf,
    /// Bytes it should have.
    pub length: u64,
    /// Bytes it has; `None`: it is not there.
    pub found: Option<u64>,
    /// Pieces with bytes of it.
    pub pieces: u32,
    /// How many of those are known to be right.
    pub good: u32,
    /// Whether it is known of each piece whether it is right. Without hashes of its pieces
    /// (BEP 52 `piece layers`) a file is right as a whole, or nothing is known of its parts.
    pub told_apart: bool,
}

impl FileReport {
    /// Whether the file is there, of the right length, with all pieces right.
    pub fn is_complete(&self) -> bool {
        self.found == Some(self.length) && self.good == self.pieces
    }
}

impl Report {
    /// Whether all files are complete.
    pub fn is_complete(&self) -> bool {
        self.files.iter().all(FileReport::is_complete)
    }
}

/// Hashes what there is of `torrent` below `root`. Changes nothing. `threads` 0: one for each core.
pub fn verify(
    torrent: &Torrent,
    root: &Path,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Report, DiskError> {
    let info = &torrent.info;
    let layout = &info.layout;
    let fds = Arc::new(FdCache::new(descriptors::for_files(OPEN_FILES)));
    let storage = Folder::existing(Arc::clone(info), root.to_path_buf(), fds);
    let stats = find(&storage, layout.files().iter().map(|file| file.padding))?;
    let parts = storage.stat(Slot::Parts).unwrap_or(None).is_some();
    let places = Places::new(stats.iter().map(|stat| stat.is_some() || !parts).collect());
    let io = SpanIo { layout, places: &places, storage: &storage };
    let shape = Shape { layout, v1: info.v1_pieces.is_some(), v2: info.v2 };
    let verdicts = each_piece(layout, threads, progress, Vec::new, |buffer, pieces| {
        io.will_need_all(pieces);
        let verdicts = judge_pieces(shape, io, pieces, buffer, |piece| expected(torrent, piece));
        verdicts.into_iter().collect()
    })?;
    let (have, piece_layers) = sum_up(torrent, verdicts);
    let files = file_reports(&storage, torrent, &stats, &have);
    Ok(Report { have, files, piece_layers })
}

/// The pieces that are right, and hashes of pieces that the torrent did not have.
fn sum_up(torrent: &Torrent, verdicts: Vec<Verdict>) -> (Bitfield, BTreeMap<Sha256Hash, Vec<Sha256Hash>>) {
    let layout = &torrent.info.layout;
    let mut have = Bitfield::new(layout.pieces());
    let mut unjudged = Unjudged::new();
    for (piece, verdict) in (0..layout.pieces()).zip(verdicts) {
        match verdict {
            Verdict::Right => {
                have.insert(piece);
            }
            Verdict::Wrong => {}
            Verdict::Unjudged(root) => drop(unjudged.insert(piece, root)),
        }
    }
    let mut piece_layers = BTreeMap::new();
    for (index, roots) in layers::proven(layout, &unjudged) {
        layout.file_pieces(index).for_each(|piece| {
            have.insert(piece);
        });
        if let Some(root) = layout.files().get(index).and_then(|file| file.pieces_root) {
            piece_layers.insert(root, roots);
        }
    }
    (have, piece_layers)
}

/// Which files below `root` have more bytes than `torrent` says. Reads no data.
pub fn too_long(torrent: &Torrent, root: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let info = &torrent.info;
    let files = info.layout.files();
    let storage = Folder::existing(Arc::clone(info), root.to_path_buf(), Arc::new(FdCache::new(16)));
    let stats = find(&storage, files.iter().map(|file| file.padding))?;
    let is_long = |index: &usize| stats[*index].is_some_and(|stat| stat.length > files[*index].length);
    Ok((0..files.len()).filter(is_long).map(|index| storage.path(Slot::File(index))).collect())
}

fn find(storage: &Folder, padding: impl Iterator<Item = bool>) -> Result<Vec<Option<Stat>>, DiskError> {
    let stat = |(index, padding)| match padding {
        true => Ok(None),
        false => match storage.stat(Slot::File(index)) {
            Err(error) if error.is_absence() => Ok(None), // not even the folder is there
            result => result,
        },
    };
    padding.enumerate().map(stat).collect()
}

fn expected(torrent: &Torrent, piece: u32) -> Option<Expected> {
    let info = &torrent.info;
    let v1 = info.v1_piece(piece);
    let v2 = info.v2_piece(piece, &torrent.piece_layers).map(|root| {
        let layout = &info.layout;
        let file = layout.file_of_piece(piece).and_then(|index| layout.files().get(index));
        let whole = file.is_some_and(|file| file.length > u64::from(layout.piece_length()));
        (root, if whole { layout.piece_length() / BLOCK_LENGTH } else { 1 })
    });
    (v1.is_some() || v2.is_some()).then_some(Expected { v1, v2 })
}

fn file_reports(
    storage: &Folder,
    torrent: &Torrent,
    stats: &[Option<Stat>],
    have: &Bitfield,
) -> Vec<FileReport> {
    let layout = &torrent.info.layout;
    let real = layout.files().iter().enumerate().filter(|(_, file)| !file.padding);
    let report = |(index, file): (usize, &starling_metainfo::FileEntry)| FileReport {
        path: storage.path(Slot::File(index)),
        length: file.length,
        found: stats.get(index).copied().flatten().map(|stat| stat.length),
        pieces: layout.file_pieces(index).len() as u32,
        good: layout.file_pieces(index).filter(|&piece| have.get(piece)).count() as u32,
        told_apart: layout
            .file_pieces(index)
            .all(|piece| have.get(piece) || expected(torrent, piece).is_some()),
    };
    real.map(report).collect()
}
