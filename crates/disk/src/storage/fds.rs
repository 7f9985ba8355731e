//! Open files, a bounded number over all torrents.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Slot;

/// How often opening is tried again: what one thread closes another may take.
const TRIES: u32 = 100;
/// What it waits for in between where nothing is kept that could be closed: threads and
/// connections that have one for a moment.
const PAUSE: Duration = Duration::from_millis(20);

/// Least recently used files are closed when there are too many. A file in use
/// stays open until its user is done, so the bound can be passed by one for each thread.
pub struct FdCache {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    tick: u64,
    next_owner: u32,
    open: HashMap<(u32, Slot), Entry>,
}

struct Entry {
    file: Arc<File>,
    writable: bool,
    used: u64,
}

impl FdCache {
    /// At most `limit` files.
    pub fn new(limit: usize) -> FdCache {
        FdCache { limit: limit.max(1), inner: Mutex::default() }
    }

    /// A number for one torrent's storage.
    pub(crate) fn new_owner(&self) -> u32 {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.next_owner += 1;
        inner.next_owner
    }

    /// The file if it is open, and open for writing if that is asked.
    pub(crate) fn get(&self, owner: u32, slot: Slot, writable: bool) -> Option<Arc<File>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.tick += 1;
        let tick = inner.tick;
        let entry = inner.open.get_mut(&(owner, slot)).filter(|e| e.writable || !writable)?;
        entry.used = tick;
        Some(Arc::clone(&entry.file))
    }

    /// Keeps a file that was just opened.
    pub(crate) fn put(&self, owner: u32, slot: Slot, file: &Arc<File>, writable: bool) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.tick += 1;
        let entry = Entry { file: Arc::clone(file), writable, used: inner.tick };
        let mut closing = vec![inner.open.insert((owner, slot), entry)];
        while inner.open.len() > self.limit {
            let Some(oldest) = inner.open.iter().min_by_key(|(_, e)| e.used).map(|(key, _)| *key) else {
                break;
            };
            closing.push(inner.open.remove(&oldest));
        }
        drop(inner); // closing a file may take long
    }

    /// Opens something. If that fails for want of descriptors, files kept here make room and it
    /// is tried again: others in this process, or on this machine, may have taken them all. Waits
    /// up to two seconds for them.
    pub(crate) fn with_room<T, E>(
        &self,
        is_want: impl Fn(&E) -> bool,
        open: impl Fn() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut result = open();
        for _ in 0..TRIES {
            if !result.as_ref().is_err_and(&is_want) {
                break;
            }
            if !self.shed() {
                std::thread::sleep(PAUSE);
            }
            result = open();
        }
        result
    }

    /// Closes the half that was used least recently; whether there was any.
    fn shed(&self) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ticks: Vec<u64> = inner.open.values().map(|entry| entry.used).collect();
        ticks.sort_unstable();
        let Some(&until) = ticks.get(ticks.len() / 2) else { return false };
        let closing: Vec<Entry> =
            inner.open.extract_if(|_, entry| entry.used <= until).map(|(_, entry)| entry).collect();
        drop(inner);
        !closing.is_empty()
    }

    /// Closes one file, or all of a torrent.
    pub(crate) fn close(&self, owner: u32, slot: Option<Slot>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let closing: Vec<Entry> = inner
            .open
            .extract_if(|key, _| key.0 == owner && slot.is_none_or(|s| s == key.1))
            .map(|(_, e)| e)
            .collect();
        drop(inner);
        drop(closing);
    }

    /// How many are open.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().unwrap().open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_file_is_closed() {
        let cache = FdCache::new(2);
        let file = Arc::new(tempfile::tempfile().unwrap());
        let owner = cache.new_owner();
        for index in 0..2 {
            cache.put(owner, Slot::File(index), &file, index == 0);
        }
        assert!(cache.get(owner, Slot::File(0), true).is_some());
        assert!(cache.get(owner, Slot::File(1), true).is_none(), "open, but not for writing");
        cache.get(owner, Slot::File(0), false).unwrap();
        cache.put(owner, Slot::File(2), &file, true);
        assert!(
            cache.get(owner, Slot::File(1), false).is_some()
                != cache.get(owner, Slot::File(0), false).is_some()
        );
        assert_eq!(cache.len(), 2);
        cache.close(owner, None);
        assert_eq!(cache.len(), 0);
    }
}
