//! Numbers about a torrent.

use crate::rate::Rate;

/// A torrent in numbers. Bytes are payload: blocks, not messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Pieces on disk and verified.
    pub pieces_have: u32,
    /// Pieces there are; 0 while the metadata is unknown.
    pub pieces: u32,
    /// Bytes of content, padding left out; 0 while the metadata is unknown.
    pub bytes_total: u64,
    /// Bytes of pieces we have, as they lie in the piece space.
    pub bytes_have: u64,
    /// Bytes of pieces wanted, had or not.
    pub bytes_wanted: u64,
    /// Bytes of wanted pieces that are not had.
    pub bytes_left: u64,
    /// Bytes per second from peers and web seeds, averaged over some seconds.
    pub down_rate: u64,
    /// Bytes per second to peers.
    pub up_rate: u64,
    /// Connections.
    pub peers: usize,
    /// Connections to peers that have everything.
    pub seeds: usize,
    /// Web seeds that were asked for something, without those that failed last or were given up.
    pub web_seeds: usize,
    /// Requests of ours in flight, in bytes.
    pub in_flight: u64,
    /// Bytes of blocks that came, useful or not.
    pub downloaded: u64,
    /// Bytes of blocks handed to the driver and sent.
    pub uploaded: u64,
    /// Bytes that came twice or unasked.
    pub wasted: u64,
    /// Bytes of pieces that failed their hash.
    pub failed: u64,
    /// Bytes from web seeds, part of `downloaded`.
    pub from_web_seeds: u64,
}

/// Bytes that may be granted to make use of what there is (`None` limits aside).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Bytes we would ask for at once.
    pub down: u64,
    /// Bytes peers wait for.
    pub up: u64,
}

/// What a torrent counts.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub down: Rate,
    pub up: Rate,
    pub wasted: u64,
    pub failed: u64,
    pub from_web_seeds: u64,
    pub content_bytes: u64,
    pub have_bytes: u64,
    pub wanted_bytes: u64,
    pub left_bytes: u64,
}
