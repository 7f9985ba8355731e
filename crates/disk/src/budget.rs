//! One bound for the blocks in flight of all torrents.
//!
//! A torrent may hold as much as is still free (the dynamic threshold of
//! Choudhury and Hahne 1998 with α = 1): alone it gets half, and one whose disk
//! is slow leaves half of the rest to the next. Blocks parked for hashing in
//! order are bounded apart, at a quarter for one torrent and half for all, so
//! that the queue always has room to bring the block they wait for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// What one torrent holds.
#[derive(Debug, Default)]
pub(crate) struct Share {
    used: AtomicUsize,
    parked: AtomicUsize,
    starved: AtomicBool,
}

/// A torrent's share, and who is to be told when it may grow.
pub(crate) struct Account {
    pub(crate) key: crate::TorrentKey,
    pub(crate) share: Arc<Share>,
}

/// The bound and who waits for room.
#[derive(Default)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    parked: AtomicUsize,
    waiting: AtomicUsize,
    starved: Mutex<Vec<Account>>,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Budget {
        Budget { limit, ..Budget::default() }
    }

    /// Bytes held by all torrents.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Counts a block in.
    pub(crate) fn charge(&self, share: &Share, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
        share.used.fetch_add(bytes, Relaxed);
    }

    /// Counts bytes out; the keys that have room again are to be told.
    #[must_use]
    pub(crate) fn release(&self, share: &Share, bytes: usize) -> Vec<crate::TorrentKey> {
        self.used.fetch_sub(bytes, Relaxed);
        share.used.fetch_sub(bytes, Relaxed);
        if self.waiting.load(Relaxed) == 0 { Vec::new() } else { self.relieved() }
    }

    /// Whether the torrent may take more. If not it is remembered until it may.
    pub(crate) fn room(&self, key: crate::TorrentKey, share: &Arc<Share>) -> bool {
        if self.below(share, 1) {
            return true;
        }
        if !share.starved.swap(true, Relaxed) {
            let mut starved = self.starved.lock().unwrap_or_else(PoisonError::into_inner);
            starved.push(Account { key, share: Arc::clone(share) });
            self.waiting.store(starved.len(), Relaxed);
        }
        // The last block may have been freed in between; nobody would tell later.
        if self.below(share, 2) && share.starved.swap(false, Relaxed) {
            self.forget(share);
            return true;
        }
        false
    }

    /// Parks bytes if the bounds allow; they stay charged either way.
    pub(crate) fn park(&self, share: &Share, bytes: usize) -> bool {
        let fits = share.parked.load(Relaxed) + bytes <= self.limit / 4
            && self.parked.load(Relaxed) + bytes <= self.limit / 2;
        if fits {
            share.parked.fetch_add(bytes, Relaxed);
            self.parked.fetch_add(bytes, Relaxed);
        }
        fits
    }

    /// Parked bytes go on to be hashed and written, or are dropped.
    pub(crate) fn unpark(&self, share: &Share, bytes: usize) {
        share.parked.fetch_sub(bytes, Relaxed);
        self.parked.fetch_sub(bytes, Relaxed);
    }

    /// A torrent is gone: nobody waits for it.
    pub(crate) fn forget(&self, share: &Arc<Share>) {
        let mut starved = self.starved.lock().unwrap_or_else(PoisonError::into_inner);
        starved.retain(|account| !Arc::ptr_eq(&account.share, share));
        self.waiting.store(starved.len(), Relaxed);
    }

    /// Counts out all that a torrent holds.
    #[must_use]
    pub(crate) fn settle(&self, share: &Share) -> Vec<crate::TorrentKey> {
        self.unpark(share, share.parked.load(Relaxed));
        self.release(share, share.used.load(Relaxed))
    }

    /// `slack` 1 is the bound itself, 2 half of it.
    fn below(&self, share: &Share, slack: usize) -> bool {
        let free = self.limit.saturating_sub(self.used.load(Relaxed));
        share.used.load(Relaxed).saturating_mul(slack) < free.max(1)
    }

    fn relieved(&self) -> Vec<crate::TorrentKey> {
        let mut starved = self.starved.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = Vec::new();
        starved.retain(|account| {
            let relieved = self.below(&account.share, 2);
            if relieved {
                account.share.starved.store(false, Relaxed);
                keys.push(account.key);
            }
            !relieved
        });
        self.waiting.store(starved.len(), Relaxed);
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TorrentKey;

    #[test]
    fn a_torrent_alone_gets_half_and_the_next_half_of_the_rest() {
        let budget = Budget::new(1000);
        let (a, b) = (Arc::new(Share::default()), Arc::new(Share::default()));
        let fill = |key, share: &Arc<Share>| {
            let mut held = 0;
            while budget.room(TorrentKey(key), share) {
                budget.charge(share, 10);
                held += 10;
            }
            held
        };
        assert_eq!(fill(1, &a), 500);
        assert_eq!(fill(2, &b), 250);
        assert!(budget.used() < 1000);
        assert_eq!(budget.release(&a, 260), [TorrentKey(1), TorrentKey(2)]);
        assert!(budget.room(TorrentKey(1), &a));
    }

    #[test]
    fn parking_leaves_half_for_the_queue() {
        let budget = Budget::new(1000);
        let shares: Vec<Share> = (0..4).map(|_| Share::default()).collect();
        let parked: usize = shares.iter().map(|s| (0..100).filter(|_| budget.park(s, 10)).count() * 10).sum();
        assert_eq!(parked, 500);
        budget.unpark(&shares[0], 250);
        assert!(budget.park(&shares[0], 10));
    }
}
