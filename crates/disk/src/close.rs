//! Closing a torrent so that the next start needs no check.

use std::sync::Arc;

use crate::storage::{Slot, Stat};
use crate::torrent::{Torrent, lock};
use crate::{DiskError, Event};

/// Nothing is queued or running for the torrent any more: syncs, says so, and lets go.
pub(crate) fn finish(torrent: &Arc<Torrent>) {
    let error = torrent.settle().err();
    lock(&torrent.slots).clear();
    let budget = &torrent.shared.budget;
    budget.forget(&torrent.share);
    for key in budget.settle(&torrent.share) {
        torrent.shared.tell(Event::Room { key });
    }
    torrent.shared.tell(Event::Closed { key: torrent.key, error });
}

impl Torrent {
    fn settle(self: &Arc<Torrent>) -> Result<(), DiskError> {
        if !self.open.load(std::sync::atomic::Ordering::Acquire) {
            return Ok(());
        }
        self.checkpoint(&mut Vec::new())?;
        let Some(journal) = &self.journal else { return Ok(()) };
        let mut journal = lock(journal);
        if journal.is_clean() {
            return Ok(());
        }
        let files = self.file_stats()?;
        self.write_snapshot(&mut journal, Some(&files))
    }

    /// The files as they are left.
    fn file_stats(&self) -> Result<Vec<(usize, Stat)>, DiskError> {
        let files = self.info.layout.files().iter().enumerate();
        let held = self.places.hold();
        let real = files.filter(|(index, file)| !file.padding && held.is_placed(*index));
        let stats =
            real.map(|(index, _)| Ok(self.storage.stat(Slot::File(index))?.map(|stat| (index, stat))));
        stats.filter_map(Result::transpose).collect()
    }
}
