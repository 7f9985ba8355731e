//! Hash exchange (BEP 52): the piece layers of files from peers and to them, and the
//! leaves of a failed piece, by which the guilty 16 KiB are found.
//!
//! [`HashStore`] knows for each file of a torrent whether its piece layer is there.
//! What is missing (a magnet link brings none) is asked for in runs of up to 512
//! nodes, each with the whole proof up to the file's root, so that every answer is
//! judged by itself and a false one convicts its sender. Requests of peers are
//! answered from the layers that are there; for leaves the disk is asked first.
//!
//! Not here: hashing of data (`disk`), and which piece to get when ([`crate`]).

mod fetch;
mod files;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use starling_metainfo::merkle::TreeShape;
use starling_metainfo::{Info, Sha256Hash};
use starling_sansio::Time;

use crate::{ConnId, HashRange, Message};
use fetch::Fetch;
use files::Files;
use serve::Serve;

/// Bounds on hash exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashLimits {
    /// Nodes in one request of ours: a power of two from 2 to 512 (BEP 52).
    pub request_nodes: u32,
    /// Requests of ours in flight.
    pub in_flight_max: usize,
    /// Requests of ours in flight to one peer.
    pub in_flight_per_peer: usize,
    /// How long a peer may take to answer.
    pub timeout: Duration,
    /// How long a peer that rejected or stalled is left alone; doubled each time.
    pub pause: Duration,
    /// Failed pieces whose leaves are asked for at a time.
    pub leaf_jobs_max: usize,
    /// Peers kept track of.
    pub peers_max: usize,
    /// Hashes a peer may have at once.
    pub serve_burst: u32,
    /// Hashes a peer may have in a second, beyond that.
    pub serve_rate: u32,
    /// Requests of peers that wait for the disk.
    pub waiting_max: usize,
}

impl Default for HashLimits {
    fn default() -> Self {
        HashLimits {
            request_nodes: 512,
            in_flight_max: 32,
            in_flight_per_peer: 4,
            timeout: Duration::from_secs(15),
            pause: Duration::from_secs(5),
            leaf_jobs_max: 16,
            peers_max: 1024,
            serve_burst: 64 * 1024,
            serve_rate: 8 * 1024,
            waiting_max: 32,
        }
    }
}

/// What an answer of a peer led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HashProgress {
    /// Nothing is waiting for it (it may have come too late), or it has a wrong number of hashes.
    Ignored,
    /// Right, and one step on.
    Stored,
    /// The piece layer of these files, which are alike, is known now.
    LayerKnown {
        /// Indices into `layout.files()`.
        files: Vec<usize>,
        /// The hash of each piece.
        roots: Vec<Sha256Hash>,
    },
    /// The leaves of a piece: the right SHA-256 of each of its blocks.
    Leaves {
        /// Which piece.
        piece: u32,
        /// In order; only blocks with bytes of the file.
        leaves: Vec<Sha256Hash>,
    },
    /// The hashes do not lead to the file's root: the peer lied.
    Lie,
}

/// What to do about a request of a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Send this.
    Send(Message),
    /// The leaves must come from the disk: ask it for the piece's digests, unless this is
    /// `None` because it has been asked already, and report them to [`HashStore::on_digests`].
    Digest(Option<u32>),
}

/// The hashes of a torrent's v2 part. In a torrent without one it does nothing.
///
/// After every report, and when [`HashStore::next_timeout`] comes, [`HashStore::poll`]
/// is to be called.
#[derive(Clone, Debug)]
pub struct HashStore {
    limits: HashLimits,
    files: Files,
    fetch: Fetch,
    serve: Serve,
}

impl HashStore {
    /// Knows `piece_layers`, which were checked, and misses the layers of all other
    /// files of more than one piece.
    pub fn new(
        info: &Info,
        piece_layers: BTreeMap<Sha256Hash, Vec<Sha256Hash>>,
        mut limits: HashLimits,
    ) -> HashStore {
        // What BEP 52 demands of a request's length.
        limits.request_nodes = 1 << limits.request_nodes.clamp(2, 512).ilog2();
        HashStore {
            limits,
            files: Files::new(info, piece_layers),
            fetch: Fetch::default(),
            serve: Serve::default(),
        }
    }

    /// Whether every piece of every file can be verified.
    pub fn is_complete(&self) -> bool {
        self.files.missing().next().is_none()
    }

    /// The v2 hash of a piece, if there is one and it is known.
    pub fn piece_root(&self, piece: u32) -> Option<Sha256Hash> {
        self.files.piece_root(piece)
    }

    /// The piece layers that are known, by root, of files of more than one piece.
    pub fn layers(&self) -> BTreeMap<Sha256Hash, Vec<Sha256Hash>> {
        self.files.layers()
    }

    /// A peer that speaks v2. Beyond the bound it is neither asked nor answered.
    pub fn on_peer(&mut self, conn: ConnId) {
        self.fetch.on_peer(conn, &self.limits);
    }

    /// The connection is gone.
    pub fn on_disconnect(&mut self, conn: ConnId) {
        self.fetch.on_disconnect(conn);
        self.serve.on_disconnect(conn);
    }

    /// A piece failed: get its leaves. They are returned if they are known already (a piece
    /// of one block); `None` if they are asked for, or cannot be had.
    pub fn want_leaves(&mut self, piece: u32) -> Option<Vec<Sha256Hash>> {
        self.fetch.want_leaves(&self.files, piece, &self.limits)
    }

    /// Nobody needs the leaves of the piece any more.
    pub fn forget_leaves(&mut self, piece: u32) {
        self.fetch.forget_leaves(piece);
    }

    /// The requests to send now. `has(conn, pieces)` tells whether the peer has any of
    /// these pieces: it then must know their hashes, and is preferred.
    pub fn poll(&mut self, now: Time, has: impl Fn(ConnId, Range<u32>) -> bool) -> Vec<(ConnId, HashRange)> {
        self.fetch.poll(now, &self.files, &self.limits, has)
    }

    /// When [`HashStore::poll`] next has something to do by itself.
    pub fn next_timeout(&self) -> Option<Time> {
        self.fetch.next_timeout(&self.files, &self.limits)
    }

    /// A `hashes` message came.
    pub fn on_hashes(&mut self, conn: ConnId, range: HashRange, hashes: &[Sha256Hash]) -> HashProgress {
        self.fetch.on_hashes(&mut self.files, conn, range, hashes, &self.limits)
    }

    /// A `hash reject` came: the peer is left alone for a while.
    pub fn on_reject(&mut self, now: Time, conn: ConnId, range: HashRange) {
        self.fetch.on_reject(now, conn, range, &self.limits);
    }

    /// A `hash request` came. `have` tells whether we have a piece.
    pub fn on_request(
        &mut self,
        now: Time,
        conn: ConnId,
        range: HashRange,
        have: impl Fn(u32) -> bool,
    ) -> Answer {
        self.serve.on_request(now, conn, range, have, &mut self.files, &self.limits)
    }

    /// The disk's digests of the blocks of `piece`, or nothing if it could not read it: the
    /// answers to those who wait for them. Digests that are not the piece's give rejects.
    pub fn on_digests(&mut self, piece: u32, digests: &[Sha256Hash]) -> Vec<(ConnId, Message)> {
        self.serve.on_digests(piece, digests, &mut self.files)
    }
}

/// A request's nodes, as the tree's shape speaks of them.
fn nodes_of(range: &HashRange) -> starling_metainfo::merkle::NodeRange {
    starling_metainfo::merkle::NodeRange {
        base_layer: range.base_layer,
        index: range.index,
        length: range.length,
        proof_layers: range.proof_layers,
    }
}

/// The request for `length` nodes at `index` of `base_layer`, proved up to the root.
fn request(root: Sha256Hash, shape: TreeShape, base_layer: u32, index: u32, length: u32) -> HashRange {
    let nodes = shape.full_proof(base_layer, index, length);
    HashRange { pieces_root: root, base_layer, index, length, proof_layers: nodes.proof_layers }
}
