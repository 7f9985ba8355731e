//! What goes into a [`crate::Session`] and what comes out of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use starling_metainfo::{Bitfield, InfoHashes, Sha1Hash, Sha256Hash, Torrent};
use starling_swarm::{Closing, ConnId, Handshake, Priority};
use starling_tracker::{Family, TrackerError};

use crate::{RateLimits, ScrapeId, Scraped, Source};

/// A torrent of this node, as the driver numbers them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TorrentKey(pub u32);

/// Something asked of the driver that it answers later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub u64);

/// A torrent to join.
#[derive(Clone, Debug)]
pub struct AddSpec {
    /// What names it.
    pub hashes: InfoHashes,
    /// All of it, if known; else it is asked of peers.
    pub torrent: Option<Arc<Torrent>>,
    /// Tracker tiers (BEP 12) of the link or the user, beside the torrent's own.
    pub trackers: Vec<Vec<String>>,
    /// Web seeds (BEP 19) of the link, beside the torrent's own.
    pub web_seeds: Vec<String>,
    /// Peers that the user or the link (`x.pe`) named.
    pub peers: Vec<SocketAddr>,
    /// The same by host name.
    pub peer_hosts: Vec<(String, u16)>,
    /// The files wanted (BEP 53), as indices among the real files; empty: all.
    pub select: Vec<u32>,
    /// In order rather than rarest first.
    pub sequential: bool,
    /// BEP 16, once complete.
    pub super_seeding: bool,
    /// Whether what is missing is fetched; see [`starling_swarm::Config::fetch`].
    pub fetch: bool,
    /// This torrent's own limits.
    pub rates: RateLimits,
}

impl AddSpec {
    /// A torrent known by its hashes alone, nothing else said.
    pub fn new(hashes: InfoHashes) -> AddSpec {
        AddSpec {
            hashes,
            torrent: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            peer_hosts: Vec::new(),
            select: Vec::new(),
            sequential: false,
            super_seeding: false,
            fetch: true,
            rates: RateLimits::default(),
        }
    }
}

/// What the world tells the session.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // fields: the keys, connections and jobs that the variants' texts name
pub enum Input {
    /// Join a torrent. A key is used once.
    Add { key: TorrentKey, spec: Box<AddSpec> },
    /// Leave it: close its connections, tell its trackers; [`Event::Removed`] follows within
    /// seconds, for a key that is not here at once.
    Remove { key: TorrentKey },
    /// Leave all of them; [`Output::Stopped`] follows.
    Shutdown,
    /// The node's limits over all torrents.
    SetRates(RateLimits),
    /// Stop or go on asking for data.
    SetPaused { key: TorrentKey, paused: bool },
    /// One priority per entry of `layout.files()`; kept until the files are known.
    SetPriorities { key: TorrentKey, files: Vec<Priority> },
    /// Ask trackers how many share the torrent of these names, without announcing it; it
    /// need not be one of ours. [`Output::Scraped`] follows within seconds. An id is used once.
    Scrape { id: ScrapeId, names: Vec<Sha1Hash>, trackers: Vec<String> },
    /// Peers somebody told of.
    PeersFound { key: TorrentKey, addrs: Vec<SocketAddr>, source: Source },

    /// Somebody connected; `conn` comes from [`crate::Session::new_conn`].
    Accepted { conn: ConnId, addr: SocketAddr },
    /// Somebody tried to connect by a protocol that is not spoken here, for one of our torrents or
    /// none. It may not come again.
    Knocked,
    /// A handshake came: the first of an incoming connection, or the answer to ours.
    Handshake { conn: ConnId, theirs: Handshake },
    /// The connection, or the attempt at one, is over. Follows every [`Output::Close`] too.
    Closed { conn: ConnId },
    /// A message of the peer protocol.
    Message { conn: ConnId, message: starling_swarm::Message },
    /// Bytes of blocks that left.
    Sent { conn: ConnId, bytes: u32 },

    /// The answer to [`Output::Open`]: what is on disk already, and the piece layers
    /// (BEP 52) that an earlier run learned from peers.
    Opened { key: TorrentKey, have: Bitfield, piece_layers: BTreeMap<Sha256Hash, Vec<Sha256Hash>> },
    /// The storage cannot be used; the torrent stays, failed, until removed.
    OpenFailed { key: TorrentKey, why: String },
    /// The disk refuses to write. Asking pauses until it recovers.
    StorageFailed { key: TorrentKey, why: String },
    /// It writes again.
    StorageRecovered { key: TorrentKey },
    /// News for the torrent itself: pieces verified, failed or lost, digests, fetches.
    Torrent { key: TorrentKey, input: starling_swarm::Input },

    /// The answer to [`Output::HttpGet`]: the body, whatever the status, or what went wrong.
    HttpAnswer { job: JobId, result: Result<Bytes, TrackerError> },
    /// The answer to [`Output::Resolve`]; empty when the name does not resolve.
    Resolved { job: JobId, addrs: Vec<SocketAddr> },
    /// A datagram on the socket that [`Output::UdpSend`] uses.
    Datagram { from: SocketAddr, bytes: Bytes },
    /// A datagram of local service discovery (BEP 14).
    LsdHeard { from: SocketAddr, bytes: Bytes },
}

/// What the session asks of the world.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Output {
    /// Connect and send this handshake.
    Dial { conn: ConnId, addr: SocketAddr, handshake: Handshake },
    /// Answer an incoming handshake.
    Reply { conn: ConnId, handshake: Handshake },
    /// Close, after one try to send what was put before, a [`Output::Reply`] above all;
    /// [`Input::Closed`] follows.
    Close { conn: ConnId, why: Closing },
    /// What a torrent's core asks: sends, stores, fetches. Never a close or an event.
    Torrent { key: TorrentKey, output: starling_swarm::Output },
    /// Open the storage of a torrent.
    Open { key: TorrentKey, torrent: Arc<Torrent> },
    /// GET a tracker's address, over this family of addresses.
    HttpGet { job: JobId, url: String, family: Family },
    /// Resolve a host name.
    Resolve { job: JobId, host: String, port: u16 },
    /// Send a datagram.
    UdpSend { to: SocketAddr, bytes: Vec<u8> },
    /// Send a datagram to the local discovery groups, IPv4 or IPv6.
    LsdSend { v6: bool, bytes: Vec<u8> },
    /// The answer to [`Input::Scrape`]: each tracker's, in the order given; none when too many
    /// scrapes are under way.
    Scraped { id: ScrapeId, trackers: Vec<Scraped> },
    /// For the user.
    Event { key: TorrentKey, event: Event },
    /// Everything is closed and told; nothing more will come.
    Stopped,
}

/// What happens to a torrent, for the user.
#[derive(Clone, Debug)]
pub enum Event {
    /// The torrent's metadata came from peers.
    Metadata(Arc<Torrent>),
    /// The storage is open, with so many pieces already there.
    Opened {
        /// Pieces on disk.
        have: u32,
    },
    /// One piece more is there.
    Have {
        /// Its index.
        piece: u32,
    },
    /// A piece that was there is not good on disk any more.
    Lost {
        /// Its index.
        piece: u32,
        /// It is fetched again.
        fetch: bool,
    },
    /// All that is wanted is there.
    Finished,
    /// It cannot go on: one sentence.
    Failed(String),
    /// It waits for the disk: one sentence.
    Paused(String),
    /// It goes on after [`Event::Paused`].
    Resumed,
    /// A peer sent false data and is shunned.
    Banned {
        /// Its address.
        ip: std::net::IpAddr,
        /// What it did.
        why: &'static str,
    },
    /// A web seed is not used any more.
    SeedDropped {
        /// Its address.
        url: String,
        /// Why.
        why: &'static str,
    },
    /// A tracker answered or failed: one sentence.
    Tracker {
        /// Its address.
        url: String,
        /// What it said, or what went wrong.
        state: Result<TrackerAnswer, String>,
    },
    /// It is gone, its trackers told.
    Removed,
}

/// What a tracker said of the swarm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackerAnswer {
    /// Seeds in the swarm, if told.
    pub seeds: Option<u32>,
    /// Others in the swarm, if told.
    pub leechers: Option<u32>,
    /// A sentence for the user.
    pub warning: Option<String>,
}
