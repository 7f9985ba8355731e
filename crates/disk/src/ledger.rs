//! What is verified, what is surely on the medium, and the journal of both.

use std::io::IoSlice;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::time::{Duration, Instant};

use starling_metainfo::{Bitfield, Sha256Hash};

use crate::resume::{self, Identity};
use crate::storage::{Slot, Storage, write_all};
use crate::torrent::{Torrent, lock};
use crate::{DiskError, Event};

/// Verified pieces are written to the journal when so many wait ...
const BATCH: usize = 64;
/// ... or after this long.
const LINGER: Duration = Duration::from_millis(5);

/// Which pieces are had.
pub(crate) struct Ledger {
    /// The hash was right.
    pub(crate) have: Bitfield,
    /// The data is on the medium as well.
    pub(crate) synced: Bitfield,
    /// In `have`, not in `synced`.
    pub(crate) unsynced: Vec<u32>,
    /// In `unsynced`, not in the journal yet.
    pub(crate) pending: Vec<u32>,
    /// Bytes of pieces verified since the last checkpoint, and when that began.
    pub(crate) dirty_bytes: u64,
    pub(crate) dirty_since: Option<Instant>,
    flushed: Instant,
}

impl Ledger {
    pub(crate) fn new(pieces: u32) -> Ledger {
        Ledger {
            have: Bitfield::new(pieces),
            synced: Bitfield::new(pieces),
            unsynced: Vec::new(),
            pending: Vec::new(),
            dirty_bytes: 0,
            dirty_since: None,
            flushed: Instant::now(),
        }
    }

    /// Counts a piece in; true if it was not had. The data is not synced yet.
    pub(crate) fn verified(&mut self, piece: u32, bytes: u32) -> bool {
        let new = self.have.insert(piece);
        if new {
            self.unsynced.push(piece);
            self.pending.push(piece);
            self.dirty_bytes += u64::from(bytes);
            self.dirty_since.get_or_insert_with(Instant::now);
        }
        new
    }

    /// Counts pieces out.
    pub(crate) fn lost(&mut self, piece: u32) {
        self.have.remove(piece);
        self.synced.remove(piece);
        self.unsynced.retain(|&p| p != piece);
        self.pending.retain(|&p| p != piece);
    }
}

/// The resume file as it is written.
pub(crate) struct Journal {
    identity: Identity,
    /// Where the next record goes.
    end: u64,
    /// Verified entries in the file.
    entries: u64,
    /// The file exists and is ours.
    ready: bool,
    /// It says that writing goes on.
    dirty: bool,
    /// Bytes after the last snapshot.
    grown: u64,
    /// How often the file was replaced.
    epoch: u64,
}

/// A place in the journal.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mark {
    entries: u64,
    epoch: u64,
}

impl Journal {
    pub(crate) fn new(identity: Identity) -> Journal {
        Journal { identity, end: 0, entries: 0, ready: false, dirty: false, grown: 0, epoch: 0 }
    }

    /// Goes on with a file of so many bytes that a clean stop left.
    pub(crate) fn resume(&mut self, length: u64, entries: u64) {
        (self.end, self.entries, self.ready) = (length, entries, true);
    }

    /// The file says that all was stopped in order, and nothing was written since.
    pub(crate) fn is_clean(&self) -> bool {
        self.ready && !self.dirty && self.grown == 0
    }

    fn append(&mut self, storage: &dyn Storage, record: &[u8]) -> Result<(), DiskError> {
        // A failed append leaves `end` where it was: the next one writes over the rest of it.
        write_all(storage, Slot::Resume, self.end, &mut [IoSlice::new(record)])
            .map_err(|e| DiskError::io("write", storage.path(Slot::Resume), e))?;
        self.end += record.len() as u64;
        self.grown += record.len() as u64;
        Ok(())
    }

    fn sync(&self, storage: &dyn Storage) -> Result<(), DiskError> {
        storage.sync(Slot::Resume).map_err(|e| DiskError::io("sync", storage.path(Slot::Resume), e))
    }

    fn replace(&mut self, storage: &dyn Storage, bytes: &[u8]) -> Result<(), DiskError> {
        self.ready = false;
        storage
            .replace(Slot::Resume, bytes)
            .map_err(|e| DiskError::io("write", storage.path(Slot::Resume), e))?;
        (self.end, self.entries, self.grown) = (bytes.len() as u64, 0, 0);
        self.epoch += 1;
        self.ready = true;
        Ok(())
    }
}

impl Torrent {
    /// Before the first write of a session: from now on the files are not as the
    /// resume file of a clean stop describes them.
    pub(crate) fn begin_writing(&self) -> Result<(), DiskError> {
        self.storage.claim()?;
        let Some(journal) = &self.journal else { return Ok(()) };
        let mut journal = lock(journal);
        self.resting.store(false, Release);
        if journal.dirty {
            return Ok(());
        }
        if journal.ready {
            let record = [resume::owned_record(&self.owned()), resume::dirty_record()].concat();
            journal.append(&*self.storage, &record)?;
        } else {
            self.write_snapshot(&mut journal, None)?;
        }
        journal.dirty = true;
        Ok(())
    }

    /// A file became wanted: puts on record that it is ours before anything is written to it.
    pub(crate) fn record_owned(&self, file: usize) -> Result<(), DiskError> {
        let news = self.owned.get(file).is_some_and(|owned| !owned.swap(true, AcqRel));
        let Some(journal) = self.journal.as_ref().filter(|_| news) else { return Ok(()) };
        let mut journal = lock(journal);
        if !journal.ready {
            return Ok(()); // its first snapshot will say so
        }
        journal.append(&*self.storage, &resume::owned_record(&[file]))
    }

    fn owned(&self) -> Vec<usize> {
        let owned = self.owned.iter().enumerate().filter(|(_, owned)| owned.load(Acquire));
        owned.map(|(file, _)| file).collect()
    }

    /// Puts a verified piece on record. True if it is news.
    pub(crate) fn record_verified(&self, piece: u32) -> bool {
        let mut ledger = lock(&self.ledger);
        let new = ledger.verified(piece, self.info.layout.piece_len(piece));
        let due = ledger.pending.len() >= BATCH || ledger.flushed.elapsed() >= LINGER;
        drop(ledger);
        if new && due {
            self.flush_journal();
        }
        new
    }

    /// Writes verified pieces to the journal, unless somebody else is at it.
    pub(crate) fn flush_journal(&self) {
        let Some(Ok(mut journal)) = self.journal.as_ref().map(std::sync::Mutex::try_lock) else { return };
        if let Err(error) = self.flush_into(&mut journal) {
            tracing::debug!(%error, "the journal waits");
        }
    }

    fn flush_into(&self, journal: &mut Journal) -> Result<(), DiskError> {
        let pending = {
            let mut ledger = lock(&self.ledger);
            ledger.flushed = Instant::now();
            std::mem::take(&mut ledger.pending)
        };
        if pending.is_empty() {
            return Ok(());
        }
        let record = resume::verified_record(&pending);
        let ready = if journal.ready { Ok(()) } else { self.write_snapshot(journal, None) };
        let result = ready.and_then(|()| journal.append(&*self.storage, &record));
        match &result {
            Ok(()) => journal.entries += pending.len() as u64,
            Err(_) => lock(&self.ledger).pending.extend(pending),
        }
        result
    }

    /// Brings the journal up to date; what it says then is to be synced: how far
    /// it goes, and the pieces that are not synced up to there.
    pub(crate) fn begin_checkpoint(&self) -> Result<(Mark, Vec<u32>), DiskError> {
        let Some(journal) = &self.journal else { return Ok((Mark::default(), self.take_unsynced())) };
        let mut journal = lock(journal);
        self.flush_into(&mut journal)?;
        // A piece verified since is neither in the entries nor needed among the pieces.
        let mark = Mark { entries: journal.entries, epoch: journal.epoch };
        let mut ledger = lock(&self.ledger);
        let pending = std::mem::take(&mut ledger.pending);
        let mut unsynced = std::mem::take(&mut ledger.unsynced);
        unsynced.retain(|piece| !pending.contains(piece));
        ledger.unsynced.clone_from(&pending);
        ledger.pending = pending;
        (ledger.dirty_bytes, ledger.dirty_since) = (0, None);
        if !ledger.pending.is_empty() {
            ledger.dirty_since = Some(Instant::now());
        }
        Ok((mark, unsynced))
    }

    fn take_unsynced(&self) -> Vec<u32> {
        let mut ledger = lock(&self.ledger);
        ledger.pending.clear();
        (ledger.dirty_bytes, ledger.dirty_since) = (0, None);
        std::mem::take(&mut ledger.unsynced)
    }

    /// The data of these pieces is on the medium: says so in the journal, durably.
    pub(crate) fn end_checkpoint(&self, mark: Mark, pieces: &[u32]) -> Result<(), DiskError> {
        {
            let mut ledger = lock(&self.ledger);
            for &piece in pieces {
                if ledger.have.get(piece) {
                    ledger.synced.insert(piece);
                }
            }
        }
        let Some(journal) = &self.journal else { return Ok(()) };
        let mut journal = lock(journal);
        if !journal.ready
            || journal.epoch != mark.epoch
            || journal.grown > 64 * 1024 + u64::from(self.info.layout.pieces())
        {
            return self.write_snapshot(&mut journal, None);
        }
        journal.append(&*self.storage, &resume::checkpoint_record(mark.entries))?;
        journal.sync(&*self.storage)
    }

    /// A checkpoint that did not come about: its pieces wait for the next one.
    pub(crate) fn undo_checkpoint(&self, pieces: &[u32]) {
        let mut ledger = lock(&self.ledger);
        let kept: Vec<u32> = pieces.iter().copied().filter(|&piece| ledger.have.get(piece)).collect();
        ledger.unsynced.extend(kept);
        ledger.dirty_since.get_or_insert_with(Instant::now);
    }

    /// Pieces that turned out bad: forgets them durably, then tells.
    pub(crate) fn record_lost(&self, pieces: &[u32]) {
        if pieces.is_empty() {
            return;
        }
        {
            let mut ledger = lock(&self.ledger);
            pieces.iter().for_each(|&piece| ledger.lost(piece));
        }
        if let Some(journal) = &self.journal {
            let mut journal = lock(journal);
            let done = match journal.ready {
                true => journal
                    .append(&*self.storage, &resume::lost_record(pieces))
                    .and_then(|()| journal.sync(&*self.storage)),
                false => Ok(()),
            };
            if done.is_err() {
                // Better no resume file than one that claims too much.
                journal.ready = false;
                let _ = self.storage.remove(Slot::Resume);
            }
        }
        for &piece in pieces {
            self.shared.tell(Event::PieceLost { key: self.key, piece });
        }
    }

    /// Keeps a piece layer that peers told us.
    pub(crate) fn record_layer(&self, file: usize, roots: &[Sha256Hash]) {
        let Some(journal) = &self.journal else { return };
        let mut journal = lock(journal);
        if journal.ready {
            let _ = journal.append(&*self.storage, &resume::layer_record(file, roots));
        }
    }

    /// Replaces the journal by a snapshot of what is synced; what is not follows as entries.
    pub(crate) fn write_snapshot(
        &self,
        journal: &mut Journal,
        clean: Option<&[(usize, crate::storage::Stat)]>,
    ) -> Result<(), DiskError> {
        let (synced, unsynced) = {
            let mut ledger = lock(&self.ledger);
            ledger.pending.clear();
            (ledger.synced.clone(), ledger.unsynced.clone())
        };
        let layers = self.layers.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let layers: Vec<(usize, &[Sha256Hash])> = layers.iter().map(|(&file, l)| (file, &**l)).collect();
        let mut bytes = resume::snapshot(&journal.identity, &synced, &layers, &self.owned(), clean);
        if !unsynced.is_empty() {
            bytes.extend(resume::verified_record(&unsynced));
        }
        let result = journal.replace(&*self.storage, &bytes);
        match &result {
            Ok(()) => {
                journal.entries = unsynced.len() as u64;
                journal.dirty = clean.is_none();
            }
            Err(_) => lock(&self.ledger).pending = unsynced,
        }
        result
    }
}
