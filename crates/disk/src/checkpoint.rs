//! Bringing data to the medium before the resume file claims it.

use std::sync::Arc;
use std::sync::atomic::Ordering::AcqRel;

use crate::DiskError;
use crate::storage::Slot;
use crate::torrent::{Torrent, lock};

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

    /// The slots that could not be synced, which stay dirty, and the first error.
    fn sync_all(&self, slots: &[Slot]) -> Option<(Vec<Slot>, DiskError)> {
        let mut failed = Vec::new();
        let mut first = None;
        for &slot in slots {
            if let Err(error) = self.storage.sync(slot) {
                self.soil(slot);
                failed.push(slot);
                first.get_or_insert_with(|| DiskError::io("sync", self.storage.path(slot), error));
            }
        }
        first.map(|error| (failed, error))
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

    fn lies_in(&self, piece: u32, slots: &[Slot]) -> bool {
        let layout = &self.info.layout;
        let held = self.places.hold();
        layout
            .spans(piece, 0, layout.piece_len(piece))
            .filter_map(|span| held.place(layout, &span))
            .any(|(slot, _)| slots.contains(&slot))
    }
}
