//! Bit rot: of what is uploaded a part is read and hashed again, so that bytes which
//! changed on disk are found while they are served and not only by a check.
//!
//! What is looked at is what is served: a piece that nobody asks for waits for a check
//! on demand. And it is what a read brings, which may come from the system's memory.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};

use crate::torrent::{Torrent, lock};

/// For so many bytes served, one is hashed again.
const SERVED_FOR_EACH_HASHED: u64 = 16;

impl Torrent {
    /// So many bytes of `piece` were served. Once enough were, this piece is looked at.
    pub(crate) fn served(self: &Arc<Torrent>, piece: u32, bytes: usize) {
        let enough = SERVED_FOR_EACH_HASHED * u64::from(self.info.layout.piece_len(piece));
        if self.unsampled.fetch_add(bytes as u64, Relaxed) + bytes as u64 >= enough {
            self.unsampled.store(0, Relaxed);
            self.suspect(piece);
        }
    }

    /// Has a worker look at `piece`, after everything else, unless one is at another already.
    pub(crate) fn suspect(self: &Arc<Torrent>, piece: u32) {
        if self.sampling.swap(true, AcqRel) {
            return;
        }
        self.submit_background(move |torrent, scratch| {
            torrent.look_again(piece, &mut scratch.buffer);
            torrent.sampling.store(false, Release);
        });
    }

    /// Forgets a piece we had if it is not on disk as it must be. It is read twice, for it
    /// may be lost and written anew by somebody else while we look.
    fn look_again(self: &Arc<Torrent>, piece: u32, buffer: &mut Vec<u8>) {
        let mut is_bad = || {
            let known = self.expected(piece).is_some() && lock(&self.ledger).have.get(piece);
            known && matches!(self.check_piece(piece, buffer), Ok(false))
        };
        if is_bad() && is_bad() {
            self.record_lost(&[piece]);
        }
    }
}
