//! A host's disk: what it has, what is being put together, how long writing takes.
//!
//! Pieces are judged by their hash when their last block is written. What was verified
//! equals the content, so that no host keeps bytes of its own. Deliberately absent: reading
//! takes no time (what is asked for lies in the page cache), and nothing fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use starling_metainfo::{BLOCK_LENGTH, Bitfield, merkle};
use starling_sansio::Time;
use starling_swarm::{Block, Input};

use super::content::Content;

/// How fast disks are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DiskSpeed {
    /// Bytes a second that are written; none: as many as come.
    pub write: Option<u64>,
    /// From the last byte of a piece to its verdict, and until the storage is open.
    pub latency: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Disk {
    content: Arc<Content>,
    speed: DiskSpeed,
    have: Bitfield,
    /// Pieces of which some blocks are here.
    begun: BTreeMap<u32, Vec<Option<Bytes>>>,
    /// When all that was handed over is written.
    free: Time,
}

impl Disk {
    /// A disk with everything on it, or nothing.
    pub fn new(content: Arc<Content>, speed: DiskSpeed, full: bool) -> Disk {
        let pieces = content.torrent().info.layout.pieces();
        let have = if full { Bitfield::full(pieces) } else { Bitfield::new(pieces) };
        Disk { content, speed, have, begun: BTreeMap::new(), free: Time::ZERO }
    }

    /// The verified pieces.
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Writes a block. If its piece is whole then: the verdict, and when it is known.
    pub fn store(&mut self, now: Time, block: Block, bytes: Bytes) -> Option<(Time, Input)> {
        if let Some(rate) = self.speed.write {
            self.free = self.free.max(now) + taking(u64::from(block.length), rate);
        }
        let count = self.content.torrent().info.layout.blocks(block.piece) as usize;
        let begun = self.begun.entry(block.piece).or_insert_with(|| vec![None; count]);
        *begun.get_mut((block.begin / BLOCK_LENGTH) as usize)? = Some(bytes);
        if begun.iter().any(Option::is_none) {
            return None;
        }
        let blocks: Vec<Bytes> = begun.iter().flatten().cloned().collect();
        Some((self.free.max(now) + self.speed.latency, self.judge(block.piece, &blocks)))
    }

    fn judge(&mut self, piece: u32, blocks: &[Bytes]) -> Input {
        if self.content.is_right(piece, blocks) {
            self.begun.remove(&piece);
            self.have.insert(piece);
            return Input::PieceVerified { piece };
        }
        Input::PieceFailed { piece, digests: blocks.iter().map(|block| merkle::sha256(block)).collect() }
    }

    /// Starts a failed piece over with only the blocks in `keep`.
    pub fn retry(&mut self, piece: u32, keep: &[u32]) {
        let blocks = self.begun.get_mut(&piece).into_iter().flatten();
        for (block, _) in blocks.zip(0..).filter(|(_, index)| !keep.contains(index)) {
            *block = None;
        }
    }
}

/// How long `bytes` take at `rate` bytes a second, rounded up to the microsecond.
pub(super) fn taking(bytes: u64, rate: u64) -> Duration {
    Duration::from_micros((bytes * 1_000_000).div_ceil(rate.max(1)))
}
