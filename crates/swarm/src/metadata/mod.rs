//! The info dictionary from peers, and to them (BEP 9).
//!
//! [`MetadataFetch`] asks the peers that claim to have it, [`MetadataServer`]
//! answers those who ask. Peers may claim different sizes and send anything: a
//! claim costs no memory, and only the hash at the end decides. After a wrong
//! hash the next attempts take everything from a single peer each, so that a
//! liar convicts itself; once the right bytes are known, whoever sent others in
//! the mixed attempt is named too.

mod attempt;
mod fetch;
mod serve;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use fetch::{MetadataFetch, Progress};
pub use serve::MetadataServer;

/// Bytes in every piece of the metadata but the last (BEP 9).
pub const METADATA_PIECE: usize = 16 * 1024;

/// Bounds on fetching and serving metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetadataLimits {
    /// Bytes of an info dictionary that are accepted.
    pub size_max: u64,
    /// Peers that are kept track of, both to ask and to serve.
    pub peers_max: usize,
    /// Requests in flight to one peer.
    pub in_flight_max: usize,
    /// How long a request may take before the peer counts as stalled.
    pub timeout: Duration,
    /// How old a request must be before an idle peer is asked for the same piece.
    pub duplicate_after: Duration,
    /// How long a peer that rejected or stalled is left alone; doubled each time.
    pub pause: Duration,
    /// How long an attempt may take before another claimed size, or peer, has its turn.
    pub attempt: Duration,
    /// How much longer for each MiB of the claimed size.
    pub attempt_per_mib: Duration,
    /// Requests of a peer that are served at once, in copies of the whole metadata;
    /// as much is served again each minute.
    pub copies: u32,
}

impl Default for MetadataLimits {
    fn default() -> Self {
        MetadataLimits {
            size_max: 30 << 20,
            peers_max: 512,
            in_flight_max: 8,
            timeout: Duration::from_secs(12),
            duplicate_after: Duration::from_secs(2),
            pause: Duration::from_secs(15),
            attempt: Duration::from_secs(20),
            attempt_per_mib: Duration::from_secs(2),
            copies: 2,
        }
    }
}

/// Pieces in metadata of `size` bytes.
fn piece_count(size: u64) -> u32 {
    u32::try_from(size.div_ceil(METADATA_PIECE as u64)).unwrap_or(u32::MAX)
}

/// Bytes in piece `piece` of metadata of `size` bytes; 0 beyond its end.
fn piece_len(size: u64, piece: u32) -> usize {
    let start = u64::from(piece) * METADATA_PIECE as u64;
    size.saturating_sub(start).min(METADATA_PIECE as u64) as usize
}
