use std::collections::BTreeMap;

use bytes::Bytes;
use starling_sansio::Time;

use super::{METADATA_PIECE, MetadataLimits, piece_count, piece_len};
use crate::ConnId;
use crate::extension::MetadataMessage;

/// Answers metadata requests from the info dictionary, a bounded number for each peer.
/// Private torrents are served like others: who is connected knows the torrent.
#[derive(Clone, Debug)]
pub struct MetadataServer {
    metadata: Bytes,
    limits: MetadataLimits,
    served: BTreeMap<ConnId, Allowance>,
}

/// Pieces a peer may still have, at a moment.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    pieces: f64,
    at: Time,
}

impl MetadataServer {
    /// Serves `metadata`: the info dictionary's own bytes, already found right.
    pub fn new(metadata: Bytes, limits: MetadataLimits) -> MetadataServer {
        MetadataServer { metadata, limits, served: BTreeMap::new() }
    }

    /// What `metadata_size` of our handshake says, in bytes.
    pub fn size(&self) -> u64 {
        self.metadata.len() as u64
    }

    /// The answer to a peer's request: the piece, or a reject if there is no such piece
    /// or the peer asks too much.
    pub fn answer(&mut self, now: Time, conn: ConnId, piece: u32) -> MetadataMessage {
        let length = piece_len(self.size(), piece);
        if length == 0 || !self.allow(now, conn) {
            return MetadataMessage::Reject { piece };
        }
        let start = piece as usize * METADATA_PIECE;
        let bytes = self.metadata.slice(start..start + length);
        MetadataMessage::Data { piece, total_size: Some(self.size()), bytes }
    }

    /// The connection is gone.
    pub fn on_disconnect(&mut self, conn: ConnId) {
        self.served.remove(&conn);
    }

    fn allow(&mut self, now: Time, conn: ConnId) -> bool {
        let burst = f64::from(piece_count(self.size()).saturating_mul(self.limits.copies));
        if self.served.len() >= self.limits.peers_max && !self.served.contains_key(&conn) {
            return false;
        }
        let held = self.served.entry(conn).or_insert(Allowance { pieces: burst, at: now });
        let refill = now.since(held.at).as_secs_f64() / 60.0 * burst;
        held.pieces = (held.pieces + refill).min(burst);
        held.at = now.max(held.at);
        if held.pieces < 1.0 {
            return false;
        }
        held.pieces -= 1.0;
        true
    }
}
