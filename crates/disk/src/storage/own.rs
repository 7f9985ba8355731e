//! Which writes to the files are ours, by which those of others are seen.
//!
//! By a file's length and the time it was last modified. A change within the clock's grain of
//! one of ours, or among several of ours at once, is not seen.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::Slot;

/// What is known of each file that was looked at, made or written to here.
#[derive(Default)]
pub(super) struct OwnWrites(Mutex<BTreeMap<Slot, Own>>);

/// Our writes to a file.
#[derive(Clone, Copy, Default)]
struct Own {
    /// How far they reach.
    end: u64,
    /// How many are under way.
    writing: u32,
    /// When the file was last modified after one, while no other was under way.
    modified: Option<SystemTime>,
    /// Somebody else wrote to the file, or cut it.
    touched: bool,
}

impl Own {
    /// Whether the file, as it is while no write of ours is under way, is as ours left it.
    fn left(&self, meta: &Metadata) -> bool {
        let modified = || meta.modified().ok();
        meta.len() >= self.end && self.modified.is_none_or(|ours| modified() == Some(ours))
    }
}

impl OwnWrites {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Slot, Own>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the file was there when it was looked for, or is of our making.
    pub(super) fn knows(&self, slot: Slot) -> bool {
        self.all().contains_key(&slot)
    }

    /// It was found there, last modified then: from the first look on others' writes are seen.
    pub(super) fn found(&self, slot: Slot, modified: SystemTime) {
        self.all().entry(slot).or_insert(Own { modified: Some(modified), ..Own::default() });
    }

    /// Makes the file by `make`, unless that says that there is one. Whoever asks meanwhile
    /// whether it is known hears the truth: several threads may want to make it.
    pub(super) fn make<T, E>(
        &self,
        slot: Slot,
        make: impl FnOnce() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        let mut all = self.all();
        let made = make()?;
        if made.is_some() {
            all.entry(slot).or_default();
        }
        Ok(made)
    }

    pub(super) fn forget(&self, slot: Slot) {
        self.all().remove(&slot);
    }

    /// Changes a file by `change`, which tells how far it wrote, and notes whether others did
    /// since we last have.
    pub(super) fn change<T>(
        &self,
        slot: Slot,
        file: &File,
        change: impl FnOnce() -> io::Result<(T, u64)>,
    ) -> io::Result<T> {
        {
            let mut all = self.all();
            let own = all.entry(slot).or_default();
            own.touched |= own.writing == 0 && !own.left(&file.metadata()?);
            own.writing += 1;
        }
        let changed = change();
        let mut all = self.all();
        let own = all.entry(slot).or_default();
        own.writing -= 1;
        own.end = own.end.max(changed.as_ref().map_or(0, |changed| changed.1));
        // While others of ours go on, nobody knows whose the time is.
        let modified = || file.metadata().and_then(|meta| meta.modified()).ok();
        own.modified = if own.writing == 0 { modified() } else { None };
        changed.map(|changed| changed.0)
    }

    /// Whether others were seen to change the file, which is `now` as that tells, since it was
    /// known or last asked about.
    pub(super) fn was_touched(&self, slot: Slot, now: impl FnOnce() -> Option<Metadata>) -> bool {
        let mut all = self.all();
        let Some(own) = all.get_mut(&slot) else { return false };
        let meta = now();
        let left = own.writing > 0 || meta.as_ref().is_none_or(|meta| own.left(meta));
        // From here on what is found is what was there to be looked at.
        own.modified = meta.filter(|_| own.writing == 0).and_then(|meta| meta.modified().ok());
        std::mem::take(&mut own.touched) || !left
    }
}
