//! Bit rot: of what is uploaded a part is read and hashed again, so that bytes which
//! changed on disk are found while they are served and not only by a check.
//!
//! What is looked at is what is served: a piece that nobody asks for waits for a check
//! on demand. And it is what a read brings, which may come from the system's memory.
//!
//! A file that ends too early needs no hashing: whatever lay beyond its end is lost.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};

use crate::storage::Slot;
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

    /// `piece`, which we had, could not be read because its file is gone or too short: forgets
    /// all pieces that lay beyond the present end of its files. Each file is looked at once,
    /// for of many reads that fail together the later ones find the piece forgotten.
    pub(crate) fn missed(self: &Arc<Torrent>, piece: u32) {
        let turn = lock(&self.missing_turn);
        if !lock(&self.ledger).have.get(piece) {
            return;
        }
        let layout = &self.info.layout;
        let files = layout.spans(piece, 0, layout.piece_len(piece)).filter_map(|span| span.file);
        let mut lost: Vec<u32> = files.flat_map(|file| self.beyond_the_end(file)).collect();
        lost.sort_unstable();
        lost.dedup();
        self.record_lost(&lost);
        drop(turn);
        if lost.binary_search(&piece).is_err() {
            self.suspect(piece); // it may have been cut and restored meanwhile
        }
    }

    /// Pieces we had of which `file` cannot hold all any more; none if its length is unknown.
    fn beyond_the_end(&self, file: usize) -> Vec<u32> {
        let layout = &self.info.layout;
        let had = lock(&self.ledger).have.clone();
        if !self.places.hold().is_placed(file) {
            return Vec::new();
        }
        let length = match self.storage.stat(Slot::File(file)) {
            Ok(stat) => stat.map_or(0, |stat| stat.length),
            Err(error) if error.is_absence() => 0, // not even the folder is there
            Err(_) => return Vec::new(),
        };
        let is_cut = |piece: u32| {
            let mut spans = layout.spans(piece, 0, layout.piece_len(piece));
            spans.any(|span| span.file == Some(file) && span.offset + u64::from(span.length) > length)
        };
        layout.file_pieces(file).filter(|&piece| had.get(piece) && is_cut(piece)).collect()
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
