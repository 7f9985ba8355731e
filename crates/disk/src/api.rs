//! What the caller says and hears.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use starling_metainfo::{Bitfield, Info, Sha256Hash};

use crate::DiskError;

/// Settings for all torrents of a [`crate::Disk`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of blocks in flight over all torrents. Half of it may hold blocks
    /// that wait for earlier ones of their piece. Default 16 MiB.
    pub memory: usize,
    /// Worker threads for each device, started as needed. Default: cores, at least 2.
    pub workers_per_device: usize,
    /// Files kept open over all torrents, if the process may have so many open; see
    /// [`crate::descriptors`]. Default 256.
    pub open_files: usize,
    /// Dirty data is synced after this long. Default 5 s.
    pub checkpoint_interval: Duration,
    /// Dirty data of one torrent is synced after this many bytes. Default 256 MiB.
    pub checkpoint_bytes: u64,
    /// A disk that refused to write is tried again after this long. Default 5 s.
    pub probe_interval: Duration,
}

impl Default for Config {
    fn default() -> Config {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Config {
            memory: 16 << 20,
            workers_per_device: cores.max(2),
            open_files: 256,
            checkpoint_interval: Duration::from_secs(5),
            checkpoint_bytes: 256 << 20,
            probe_interval: Duration::from_secs(5),
        }
    }
}

/// A torrent, as the caller numbers them. A key may be used again once
/// [`Event::Closed`] was seen, or [`Event::Failed`] in answer to an open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TorrentKey(pub u32);

/// How files get their size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Allocate {
    /// They grow as blocks are written; holes take no room.
    #[default]
    Sparse,
    /// All room is taken at the start, so that a full disk is known then.
    Full,
}

/// How much of what is on disk is believed at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Check {
    /// What the resume file vouches for; everything else that exists is hashed.
    #[default]
    Trust,
    /// Nothing: all that exists is hashed.
    Force,
    /// Every file that has its full length: it was hashed just now.
    Complete,
}

/// A torrent to open.
#[derive(Clone, Debug)]
pub struct OpenSpec {
    /// What it consists of.
    pub info: Arc<Info>,
    /// BEP 52: the hashes of each file's pieces, as far as known.
    pub piece_layers: BTreeMap<Sha256Hash, Vec<Sha256Hash>>,
    /// The folder below which the torrent's file or folder lies.
    pub root: PathBuf,
    /// For each entry of `layout.files()`, whether it is wanted; missing entries are.
    pub wanted: Vec<bool>,
    /// How files get their size.
    pub allocate: Allocate,
    /// This torrent's resume file, if it has one.
    pub resume: Option<PathBuf>,
    /// What to believe.
    pub check: Check,
    /// Whether files may be changed before blocks come: empty ones made, room reserved, and
    /// wanted ones that are too long cut, each once all its own bytes are verified.
    pub tidy: bool,
    /// Whether files may be written over that are there, were not left there by this torrent
    /// as its resume file tells, and hold no right piece. If not, they are
    /// [`DiskError::Foreign`]. Without a resume file nobody can tell, and they may.
    pub overwrite: bool,
}

impl OpenSpec {
    /// All files of `info` below `root`, sparse, without a resume file.
    pub fn new(info: Arc<Info>, root: impl Into<PathBuf>) -> OpenSpec {
        OpenSpec {
            info,
            piece_layers: BTreeMap::new(),
            root: root.into(),
            wanted: Vec::new(),
            allocate: Allocate::Sparse,
            resume: None,
            check: Check::Trust,
            tidy: true,
            overwrite: false,
        }
    }
}

/// What a [`crate::Disk`] tells, on one of its own threads.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // fields: what the variants' texts name
pub enum Event {
    /// The storage is ready and has these pieces. `piece_layers` are those of the spec, those
    /// that the resume file kept from [`crate::Disk::set_piece_roots`], and those of files that
    /// turned out to be right as a whole.
    Opened { key: TorrentKey, have: Bitfield, piece_layers: BTreeMap<Sha256Hash, Vec<Sha256Hash>> },
    /// So many of the pieces that need checking are done.
    Checking { key: TorrentKey, done: u32, total: u32 },
    /// A check asked for by [`crate::Disk::check`] is over; pieces that were had and
    /// are bad were told as lost, pieces that were not had and are good as verified.
    Checked { key: TorrentKey, have: Bitfield },
    /// All blocks of the piece are written and the hash is right.
    PieceVerified { key: TorrentKey, piece: u32 },
    /// The hash is wrong. One SHA-256 for each block (zero for blocks of nothing but
    /// padding). The piece stays as it is until [`crate::Disk::retry`].
    PieceFailed { key: TorrentKey, piece: u32, digests: Vec<Sha256Hash> },
    /// A piece we had is not good on disk any more.
    PieceLost { key: TorrentKey, piece: u32 },
    /// The answer to [`crate::Disk::digest`].
    Digests { key: TorrentKey, piece: u32, digests: Vec<Sha256Hash> },
    /// The answer to [`crate::Disk::read`].
    Read { key: TorrentKey, token: u64, result: Result<Bytes, DiskError> },
    /// After [`crate::Disk::room`] said no: there is room again.
    Room { key: TorrentKey },
    /// Before `Opened`: the torrent could not be opened and the key is free.
    /// After it: writing failed; if `recoverable` it is tried again by itself,
    /// blocks wait in memory, and `Recovered` follows.
    Failed { key: TorrentKey, error: DiskError, recoverable: bool },
    /// Writing works again.
    Recovered { key: TorrentKey },
    /// The answer to [`crate::Disk::confirm`] if all is there; else `Failed` is, for good.
    Confirmed { key: TorrentKey },
    /// The torrent is closed. Without an error everything is synced and the resume
    /// file says so.
    Closed { key: TorrentKey, error: Option<DiskError> },
}
