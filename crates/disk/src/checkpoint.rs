//! Bringing data to the medium before the resume file claims it.

use std::io;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Relaxed},
};
use std::sync::{Arc, Mutex};

use crate::storage::Slot;
use crate::torrent::{Torrent, lock};
use crate::{DiskError, descriptors};

/// Files synced side by side. Each waits for the file system to commit, and one commit
/// serves all who wait for it. Fewer where few descriptors may be open.
const SYNCS: usize = 32;
/// Fewer files than this for a thread are not worth starting it.
const FILES_PER_THREAD: usize = 4;

impl Torrent {
    /// Whether enough is unsynced, or for long enough.
    pub(crate) fn checkpoint_due(&self) -> bool {
        let config = &self.shared.config;
        let ledger = lock(&self.ledger);
        let old = ledger.dirty_since.is_some_and(|since| since.elapsed() >= config.checkpoint_interval);
        old || ledger.dirty_bytes >= config.checkpoint_bytes
    }

    /// Whether everything verified is synced and on record, and writing works.
    pub(crate) fn is_settled(&self) -> bool {
        let ledger = lock(&self.ledger);
        let synced = ledger.unsynced.is_empty() && ledger.pending.is_empty();
        drop(ledger);
        synced && !self.has_fault()
    }

    /// Syncs what was written and says so in the journal. Only the keeper and the closing
    /// come here; writers go on meanwhile.
    pub(crate) fn checkpoint(self: &Arc<Torrent>, buffer: &mut Vec<u8>) -> Result<(), DiskError> {
        let _turn = lock(&self.sync_turn);
        let (mark, pieces) = self.begin_checkpoint()?;
        let failed = self.sync_all(&self.take_dirty());
        if let Some((slots, error)) = failed {
            self.sync_failures.fetch_add(1, AcqRel);
            self.undo_checkpoint(&pieces);
            self.doubt(&slots, &pieces, buffer);
            return Err(error);
        }
        if pieces.is_empty() {
            self.sync_works();
            return Ok(());
        }
        self.end_checkpoint(mark, &pieces).inspect_err(|_| self.undo_checkpoint(&pieces))?;
        self.sync_works();
        Ok(())
    }

    /// Returns when all slots are on the medium, but for those that could not be synced,
    /// which stay dirty; with the error of one of them.
    pub(crate) fn sync_all(&self, slots: &[Slot]) -> Option<(Vec<Slot>, DiskError)> {
        let failed = Mutex::new(Vec::new());
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(&slot) = slots.get(next.fetch_add(1, Relaxed)) {
                if let Err(error) = self.storage.sync(slot) {
                    self.soil(slot);
                    lock(&failed).push((slot, error));
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..(slots.len() / FILES_PER_THREAD).min(descriptors::for_threads(SYNCS)) {
                // If none can be started, this thread does it all.
                let _ = std::thread::Builder::new().name("disk-sync".into()).spawn_scoped(scope, work);
            }
            work();
        });
        let (slots, mut errors): (Vec<Slot>, Vec<io::Error>) =
            std::mem::take(&mut *lock(&failed)).into_iter().unzip();
        let error = DiskError::io("sync", self.storage.path(*slots.first()?), errors.swap_remove(0));
        Some((slots, error))
    }

    /// The system may have dropped what it could not write. Pieces that are not on the
    /// medium as they were verified are lost.
    fn doubt(&self, slots: &[Slot], pieces: &[u32], buffer: &mut Vec<u8>) {
        slots.iter().for_each(|&slot| self.storage.forget_cached(slot));
        let touched = pieces.iter().copied().filter(|&piece| self.lies_in(piece, slots));
        let lost: Vec<u32> =
            touched.filter(|&piece| !self.check_piece(piece, buffer).unwrap_or(false)).collect();
        self.record_lost(&lost);
    }

    /// Whether any of the piece lies in one of these.
    pub(crate) fn lies_in(&self, piece: u32, slots: &[Slot]) -> bool {
        let layout = &self.info.layout;
        let held = self.places.hold();
        layout
            .spans(piece, 0, layout.piece_len(piece))
            .filter_map(|span| held.place(layout, &span))
            .any(|(slot, _)| slots.contains(&slot))
    }
}
