//! Closing a torrent so that the next start needs no check, and before that, looking
//! whether its files are where they should be.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::ledger::Journal;
use crate::storage::{Slot, Stat};
use crate::torrent::{Torrent, lock};
use crate::{DiskError, Event};

/// So often what others spoilt is fetched anew. Whoever does it more often does not stop: two
/// programs that want different things in one file would go on against each other for ever.
const SPOILT_MAX: u32 = 4;

/// Nothing is queued or running for the torrent any more: syncs, says so, and lets go.
pub(crate) fn finish(torrent: &Arc<Torrent>) {
    let error = torrent.settle().err();
    torrent.storage.unclaim();
    lock(&torrent.slots).clear();
    let budget = &torrent.shared.budget;
    budget.forget(&torrent.share);
    for key in budget.settle(&torrent.share) {
        torrent.shared.tell(Event::Room { key });
    }
    torrent.shared.tell(Event::Closed { key: torrent.key, error });
}

impl Torrent {
    /// Whether all files that are whole lie under their names. Of a file that somebody else
    /// wrote to or cut meanwhile, pieces that are not right any more are lost, to be fetched again.
    pub(crate) fn confirm(&self, buffer: &mut Vec<u8>) -> Result<(), DiskError> {
        let have = lock(&self.ledger).have.clone();
        let mut spoilt = None;
        for (index, file) in self.info.layout.files().iter().enumerate() {
            let here = !file.padding && self.places.hold().is_placed(index);
            if !here || !self.info.layout.file_pieces(index).all(|piece| have.get(piece)) {
                continue;
            }
            let slot = Slot::File(index);
            match self.storage.named(slot)? {
                Some(stat) if stat.length >= file.length => {
                    if stat.length > file.length {
                        self.storage.prepare(slot, file.length, false)?;
                    }
                    if self.storage.was_touched(slot) {
                        let pieces = self.info.layout.file_pieces(index);
                        let wrong = pieces.filter(|&piece| !self.check_piece(piece, buffer).unwrap_or(false));
                        let wrong: Vec<u32> = wrong.collect();
                        self.record_lost(&wrong);
                        spoilt = spoilt.or((!wrong.is_empty()).then_some(slot));
                    }
                }
                Some(_) => return Err(DiskError::Short(self.storage.path(slot))),
                None => return Err(DiskError::Gone(self.storage.path(slot))),
            }
        }
        let Some(slot) = spoilt else { return Ok(()) };
        let times = self.spoilt.fetch_add(1, std::sync::atomic::Ordering::AcqRel) + 1;
        if times < SPOILT_MAX { Ok(()) } else { Err(DiskError::Contested(self.storage.path(slot))) }
    }

    fn settle(self: &Arc<Torrent>) -> Result<(), DiskError> {
        if !self.open.load(std::sync::atomic::Ordering::Acquire) {
            return Ok(());
        }
        self.checkpoint(&mut Vec::new())?;
        self.journal.as_ref().map_or(Ok(()), |journal| self.leave_clean(&mut lock(journal)))
    }

    /// All that was wanted is there, and synced: until something is written again the resume file
    /// is as after a clean stop, for this program may be killed long after it had anything to do.
    pub(crate) fn rest(&self) {
        let Some(mut journal) = self.journal.as_ref().map(lock) else { return };
        let rests = self.resting.load(std::sync::atomic::Ordering::Acquire);
        if let Some(Err(error)) = rests.then(|| self.leave_clean(&mut journal)) {
            tracing::debug!(%error, "the resume file stays as it is");
        }
    }

    fn leave_clean(&self, journal: &mut Journal) -> Result<(), DiskError> {
        if journal.is_clean() {
            return Ok(());
        }
        let files = self.file_stats()?;
        self.write_snapshot(journal, Some(&files))
    }

    /// The files as they are left; one that somebody else wrote to so that it is checked
    /// next time.
    fn file_stats(&self) -> Result<Vec<(usize, Stat)>, DiskError> {
        let files = self.info.layout.files().iter().enumerate();
        let held = self.places.hold();
        let real = files.filter(|(index, file)| !file.padding && held.is_placed(*index));
        let stat = |slot: Slot| {
            let touched = self.storage.was_touched(slot);
            let unlike = |stat: Stat| if touched { Stat { modified: UNIX_EPOCH, ..stat } } else { stat };
            self.storage.stat(slot).map(|stat| stat.map(unlike))
        };
        let ours = real.filter(|(index, _)| self.storage.is_known(Slot::File(*index)));
        let stats = ours.map(|(index, _)| Ok(stat(Slot::File(index))?.map(|stat| (index, stat))));
        let mut stats: Vec<(usize, Stat)> =
            stats.filter_map(Result::transpose).collect::<Result<_, DiskError>>()?;
        let parts = stat(Slot::Parts)?;
        stats.extend(parts.map(|stat| (self.info.layout.files().len(), stat)));
        Ok(stats)
    }
}
