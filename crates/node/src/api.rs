//! What an embedding program says to a node and hears from it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use starling_metainfo::{InfoHashes, Torrent};
use starling_session::RateLimits;
use thiserror::Error;

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen. An unspecified IP listens on all interfaces, IPv4 and IPv6;
    /// a real one is also where outgoing connections and announces come from. Port 0: any.
    pub listen: SocketAddr,
    /// Local service discovery (BEP 14).
    pub lan: bool,
    /// Limits over all torrents, bytes per second.
    pub rates: RateLimits,
    /// Bytes of blocks in memory at once, over all torrents.
    pub memory: usize,
    /// Where state is kept between runs; `None`: nowhere, then a second run checks the data.
    pub state: Option<PathBuf>,
    /// Bounds of the session. Connections get no more than half of the descriptors that the
    /// process may have open.
    pub limits: starling_session::Limits,
    /// How torrents behave.
    pub swarm: starling_swarm::Config,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0),
            lan: true,
            rates: RateLimits::default(),
            memory: 16 << 20,
            state: default_state_dir(),
            limits: starling_session::Limits::default(),
            swarm: starling_swarm::Config::default(),
        }
    }
}

/// How far what lies on disk is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Check {
    /// As far as the state of an earlier run goes; the rest is checked.
    #[default]
    Resume,
    /// Not at all: everything there is checked.
    Full,
    /// All of it: it was hashed just now.
    Complete,
}

/// A torrent to add.
#[derive(Clone, Debug)]
pub struct Add {
    /// A magnet link, an info-hash, a `.torrent` file's path or its HTTP(S) address.
    /// Ignored when `torrent` is given.
    pub source: String,
    /// The torrent itself.
    pub torrent: Option<Arc<Torrent>>,
    /// The folder it is, or will be, in.
    pub dir: PathBuf,
    /// How far the data there is believed.
    pub check: Check,
    /// Whether to reserve all space first.
    pub preallocate: bool,
    /// Whether to write over files that are there, are not left from an earlier run, and hold
    /// nothing of the torrent. If not, it fails and they stay. Nobody can tell without a state folder.
    pub overwrite: bool,
    /// More peers to ask, as `host:port`.
    pub peers: Vec<String>,
    /// More trackers, one tier each.
    pub trackers: Vec<String>,
    /// More web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// Only these files, as indices among the real files; empty: all, or what the link says.
    pub select: Vec<u32>,
    /// In order rather than rarest first.
    pub sequential: bool,
    /// Ask peers what it contains, and for nothing else.
    pub metadata_only: bool,
    /// BEP 16, once complete.
    pub super_seeding: bool,
    /// Fetch what is missing. If not, what is there is served, also where that is a part, and
    /// nothing is written: files that differ may be somebody's work. It fails if no piece is there.
    pub fetch: bool,
    /// This torrent's own limits, bytes per second.
    pub rates: RateLimits,
}

impl Add {
    /// What `source` names, into the folder `dir`.
    pub fn source(source: impl Into<String>, dir: impl AsRef<Path>) -> Add {
        Add {
            source: source.into(),
            torrent: None,
            dir: dir.as_ref().to_owned(),
            check: Check::Resume,
            preallocate: false,
            overwrite: false,
            peers: Vec::new(),
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            select: Vec::new(),
            sequential: false,
            metadata_only: false,
            super_seeding: false,
            fetch: true,
            rates: RateLimits::default(),
        }
    }

    /// This torrent, into the folder `dir`.
    pub fn torrent(torrent: Torrent, dir: impl AsRef<Path>) -> Add {
        Add { torrent: Some(Arc::new(torrent)), ..Add::source("", dir) }
    }
}

/// What a torrent is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Asking peers what the torrent contains.
    Metadata,
    /// Hashing what is on disk: pieces done, of all to check.
    Checking {
        /// Pieces hashed so far.
        done: u32,
        /// Pieces to hash.
        total: u32,
    },
    /// Fetching.
    Downloading,
    /// All that is wanted is there; serving.
    Seeding,
    /// Held up, by the disk or the user: one sentence.
    Paused(String),
    /// Given up: one sentence.
    Failed(String),
}

/// A torrent at one moment, for a progress bar.
#[derive(Clone, Debug)]
pub struct Progress {
    /// What names it.
    pub hashes: InfoHashes,
    /// Its name, once known; the link's `dn` until then.
    pub name: Option<String>,
    /// Its metadata, once known.
    pub torrent: Option<Arc<Torrent>>,
    /// What it is doing.
    pub state: State,
    /// Pieces verified on disk.
    pub pieces: u32,
    /// Pieces in all.
    pub pieces_total: u32,
    /// Bytes of files in wanted pieces that are verified; padding is counted nowhere.
    pub bytes_done: u64,
    /// Bytes of files in wanted pieces in all. Of a torrent that is not fetched only what
    /// is there is wanted.
    pub bytes_wanted: u64,
    /// Of `bytes_done`, what was there when the torrent was opened.
    pub bytes_had: u64,
    /// Bytes per second of payload, in.
    pub down_rate: u64,
    /// Bytes per second of payload, out.
    pub up_rate: u64,
    /// Payload bytes received since start.
    pub downloaded: u64,
    /// Payload bytes sent since start.
    pub uploaded: u64,
    /// Payload bytes that were of no use: duplicates and failed pieces.
    pub wasted: u64,
    /// Connected peers.
    pub peers: usize,
    /// Of these, peers that have everything.
    pub seeds: usize,
    /// Web seeds in use: asked, and not failing.
    pub web_seeds: usize,
    /// Of `downloaded`, what web seeds sent.
    pub from_web_seeds: u64,
    /// Addresses known, connected or not.
    pub known_peers: usize,
    /// Tracker addresses and the last thing each said.
    pub trackers: Vec<(String, Result<String, String>)>,
    /// Addresses banned for false data.
    pub banned: Vec<IpAddr>,
    /// Pieces that were verified and then found changed on disk, in the order of finding.
    pub lost: Vec<u32>,
}

/// Why something could not be done. Each text is one sentence that names who is to blame.
#[derive(Debug, Error)]
pub enum Error {
    /// The source is none of the things a torrent can be named by.
    #[error("{0}")]
    Source(String),
    /// The torrent file is broken.
    #[error("{0}")]
    Torrent(String),
    /// A local file or folder.
    #[error("{path}: {error}", path = .path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A local address cannot be listened at.
    #[error("cannot listen at {addr}: {error}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// Something fetched over the network.
    #[error("{0}")]
    Network(String),
    /// The torrent failed while it ran.
    #[error("{0}")]
    Failed(String),
    /// The node was shut down.
    #[error("the node is shut down")]
    Stopped,
}

/// `$XDG_STATE_HOME/starling`, or `~/.local/state/starling`.
pub fn default_state_dir() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(base.join("starling"))
}
