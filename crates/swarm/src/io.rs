//! What goes into a [`crate::Torrent`] and what comes out of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use starling_metainfo::{Bitfield, Sha256Hash};

use crate::{Block, Message, Reserved};

/// A connection, as the driver numbers them. A number is not used again while
/// anything still speaks of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u32);

/// A web seed (BEP 19) of this torrent, numbered by the session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SeedId(pub u32);

/// What the handshake told of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The far end of the connection.
    pub addr: SocketAddr,
    /// Its peer id.
    pub peer_id: [u8; 20],
    /// Its extension bits.
    pub reserved: Reserved,
    /// Whether we opened the connection (then `addr` is where it listens).
    pub outbound: bool,
    /// Whether this connection speaks v2 (BEP 52): the info-hash was the v2 one,
    /// or a hybrid connection was upgraded.
    pub v2: bool,
}

/// How much a file is wanted (BEP 53 `so`, and the user's choice).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Priority {
    /// Not at all.
    Skip,
    /// After the others.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before the others.
    High,
}

/// How a fetch from a web seed ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FetchEnd {
    /// All bytes came.
    Done,
    /// It broke off or the server is busy; try again after this many seconds.
    Retry {
        /// Seconds to wait, as the server asks or as the session's back-off says.
        after_secs: u32,
    },
    /// The server does not have it, does not do ranges, or lies about sizes.
    Useless,
}

/// What the world tells a torrent.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // fields: what the variants' texts name
pub enum Input {
    /// A handshake for this torrent is complete in both directions.
    Connected { conn: ConnId, hello: Hello },
    /// The connection is gone, whoever closed it. Also after [`Output::Close`].
    Disconnected { conn: ConnId },
    /// A message came. After `Piece`, [`Output::Store`] in the same call keeps the bytes.
    Message { conn: ConnId, message: Message },
    /// That many bytes of blocks have left for this peer since the last such input.
    Sent { conn: ConnId, bytes: u32 },
    /// The block of an [`Output::SendBlock`] could not be read, so it was not sent.
    Unread { conn: ConnId, block: Block },
    /// The torrent's metadata is known and its storage open.
    Loaded {
        info: Arc<starling_metainfo::Info>,
        piece_layers: std::collections::BTreeMap<Sha256Hash, Vec<Sha256Hash>>,
        have: Bitfield,
    },
    /// All blocks of the piece are on disk and it has the right hash.
    PieceVerified { piece: u32 },
    /// All blocks came and the hash is wrong. `digests`: SHA-256 of each block as it
    /// came (in v2 these are the leaves). The disk now waits for [`Output::Retry`].
    PieceFailed { piece: u32, digests: Vec<Sha256Hash> },
    /// The answer to [`Output::Digest`].
    BlockDigests { piece: u32, digests: Vec<Sha256Hash> },
    /// A piece we had is no longer good on disk (bit rot, a changed file).
    PieceLost { piece: u32 },
    /// One priority for each entry of `layout.files()`.
    SetPriorities(Vec<Priority>),
    /// In order rather than rarest first.
    SetSequential(bool),
    /// BEP 16, while seeding.
    SetSuperSeeding(bool),
    /// Bytes that may be asked for and served until the next grant; `None`: no limit.
    Grant { down: Option<u64>, up: Option<u64> },
    /// Stop asking (the disk is full, the user paused); what we have is still served.
    PauseDownload(bool),
    /// A web seed to use.
    AddWebSeed { seed: SeedId },
    /// A block of a fetch came whole. [`Output::Store`] in the same call keeps the bytes.
    Fetched { seed: SeedId, block: Block },
    /// The fetch is over; blocks of it that did not come are free again.
    FetchEnded { seed: SeedId, end: FetchEnd },
}

/// What a torrent asks of the world.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)] // fields: what the variants' texts name
pub enum Output {
    /// Send a message.
    Send { conn: ConnId, message: Message },
    /// Send a `piece` message with these bytes from the disk. The core keeps the sum
    /// not yet reported by [`Input::Sent`] small, so that a cancel still finds the rest here.
    SendBlock { conn: ConnId, block: Block },
    /// Keep the bytes that came with the input being handled: hash and write them.
    Store { block: Block },
    /// Start the failed piece over, keeping these blocks (by index) as good.
    Retry { piece: u32, keep: Vec<u32> },
    /// The v2 hashes of a file's pieces, learned from peers and checked against the file's
    /// root. The driver verifies with them from now on and keeps them with the torrent.
    PieceRoots { file: usize, roots: Vec<Sha256Hash> },
    /// Read a verified piece and report the SHA-256 of each block.
    Digest { piece: u32 },
    /// Close a connection. [`Input::Disconnected`] still follows.
    Close { conn: ConnId, why: Closing },
    /// Fetch `length` bytes from the beginning of `piece` on, in one go, from a web
    /// seed: whole pieces, contiguous in the piece space, padding left out by the driver.
    Fetch { seed: SeedId, piece: u32, length: u64 },
    /// Break a fetch off; [`Input::FetchEnded`] still follows.
    CancelFetch { seed: SeedId },
    /// For the session and the user.
    Event(Event),
}

/// Something the session acts on or the user may see.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)] // fields: what the variants' texts name
pub enum Event {
    /// The info dictionary came from peers and has the right hash.
    Metadata(Bytes),
    /// We have one piece more.
    Have { piece: u32 },
    /// A piece we had is not good on disk any more; `fetch`: it is fetched again.
    Lost { piece: u32, fetch: bool },
    /// Every wanted piece is there.
    Finished,
    /// Peers that other peers know (BEP 11).
    PeersFound(Vec<SocketAddr>),
    /// A connected peer told at which port it listens (BEP 10 `p`).
    Listening { conn: ConnId, addr: SocketAddr },
    /// This address sent bad data and is to be shunned.
    Banned { ip: IpAddr, why: &'static str },
    /// A web seed sent bad data or is of no use.
    SeedDropped { seed: SeedId, why: &'static str },
}

/// Whose fault the end of a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    /// Nobody's: both are seeds, a better peer took the slot.
    Nobody,
    /// The peer broke the protocol; back off before another try.
    Peer,
    /// The peer sent false data; never again.
    Liar,
}

/// Why a connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closing {
    /// Whose fault.
    pub blame: Blame,
    /// One phrase for the log: "sent a bitfield twice".
    pub why: &'static str,
}

/// A peer as the user sees it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The connection.
    pub conn: ConnId,
    /// The far end.
    pub addr: SocketAddr,
    /// What it calls itself, the same on each connection.
    pub peer_id: [u8; 20],
    /// Client name from the extension handshake or the peer id, printable.
    pub client: String,
    /// Payload bytes from the peer, useful or not.
    pub downloaded: u64,
    /// Payload bytes per second from the peer.
    pub down_rate: u64,
    /// Payload bytes per second to the peer.
    pub up_rate: u64,
    /// Pieces it has, of all.
    pub pieces: u32,
    /// Requests of ours in flight.
    pub in_flight: u32,
    /// We choke it; it chokes us; we want from it; it wants from us; snubbed.
    pub choked: [bool; 2],
    /// Interest, ours and theirs.
    pub interested: [bool; 2],
    /// It has not answered requests for long.
    pub snubbed: bool,
}

/// A peer that sent data, connected or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Giver {
    /// What it calls itself, the same on each connection.
    pub peer_id: [u8; 20],
    /// The far end of a connection with it.
    pub addr: SocketAddr,
}
