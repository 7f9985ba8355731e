//! Where a stretch of a piece lies: in its file, or in the parts file.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use starling_metainfo::{Layout, Span};

use crate::storage::Slot;

/// Which files lie at their own place. Those that nobody wants and that do not
/// exist have the few bytes that boundary pieces force on us in the parts file.
pub(crate) struct Places {
    placed: RwLock<Vec<bool>>,
}

/// A stretch of a slot; `None`: padding, which is zeros and lies nowhere.
pub(crate) type Place = Option<(Slot, u64)>;

impl Places {
    pub(crate) fn new(placed: Vec<bool>) -> Places {
        Places { placed: RwLock::new(placed) }
    }

    /// Holds the places as they are while a run is written or read.
    pub(crate) fn hold(&self) -> Held<'_> {
        Held(self.placed.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same without waiting.
    pub(crate) fn try_hold(&self) -> Option<Held<'_>> {
        self.placed.try_read().ok().map(Held)
    }

    /// Runs `work` while nobody writes or reads; the files it says are placed then.
    pub(crate) fn change<T>(&self, work: impl FnOnce(&mut Vec<bool>) -> T) -> T {
        work(&mut self.placed.write().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(crate) struct Held<'a>(RwLockReadGuard<'a, Vec<bool>>);

impl Held<'_> {
    pub(crate) fn place(&self, layout: &Layout, span: &Span) -> Place {
        let index = span.file?;
        if self.is_placed(index) {
            return Some((Slot::File(index), span.offset));
        }
        let file = layout.files().get(index)?;
        Some((Slot::Parts, file.offset + span.offset))
    }

    pub(crate) fn is_placed(&self, file: usize) -> bool {
        self.0.get(file).copied().unwrap_or(true)
    }
}
