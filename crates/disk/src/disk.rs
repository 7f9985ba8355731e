//! The handle.

use std::io::IoSliceMut;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Release},
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use starling_metainfo::Sha256Hash;

use crate::budget::Budget;
use crate::ledger::{Journal, Ledger};
use crate::open::{self, Wishes};
use crate::piece::Item;
use crate::place::Places;
use crate::resume::Identity;
use crate::storage::{FdCache, Folder, Storage};
use crate::torrent::{Shared, Torrent, lock};
use crate::{Config, Event, OpenSpec, TorrentKey, checking, descriptors, process};

/// All torrents' files, and the threads that work on them.
///
/// A cheap handle. No call waits for a disk; answers come as [`Event`]s on threads of
/// the disk's own. Calls for a key that is not open do nothing. When the last handle
/// is gone the threads stop after what they are doing, and nothing more is synced:
/// [`Disk::close`] each torrent first.
#[derive(Clone)]
pub struct Disk {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
}

impl Disk {
    /// A disk without torrents. `notify` is called on worker threads and must not wait.
    pub fn new(config: Config, notify: impl Fn(Event) + Send + Sync + 'static) -> Disk {
        let shared = Shared {
            budget: Budget::new(config.memory),
            fds: Arc::new(FdCache::new(descriptors::for_files(config.open_files))),
            notify: Box::new(notify),
            torrents: RwLock::default(),
            lanes: Mutex::default(),
            keepers: Mutex::default(),
            config,
        };
        Disk { inner: Arc::new(Inner { shared: Arc::new(shared) }) }
    }

    /// Opens a torrent's files; [`Event::Opened`] or [`Event::Failed`] follows.
    pub fn open(&self, key: TorrentKey, spec: OpenSpec) {
        let fds = Arc::clone(&self.inner.shared.fds);
        let folder = Folder::new(Arc::clone(&spec.info), spec.root.clone(), spec.resume.clone(), fds);
        let folder = folder.overwriting(spec.overwrite);
        self.open_on(key, spec, Arc::new(folder));
    }

    /// The same on any storage; `spec.root` is not looked at, and `spec.resume` only
    /// says whether there is a [`crate::storage::Slot::Resume`].
    pub fn open_on(&self, key: TorrentKey, spec: OpenSpec, storage: Arc<dyn Storage>) {
        let shared = &self.inner.shared;
        let torrent = Arc::new(new_torrent(shared, key, &spec, storage));
        shared.torrents.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&torrent));
        let wishes = Wishes {
            wanted: spec.wanted,
            allocate: spec.allocate,
            check: spec.check,
            tidy: spec.tidy,
            layers: spec.piece_layers,
        };
        // A job of the torrent's: should it be closed before this has run, that waits for it.
        torrent.submit(move |torrent, _| open::begin(torrent, wishes));
    }

    /// Keeps a block: hashes and writes it. Exactly one block, as long as
    /// [`starling_metainfo::Layout::asked_len`] has it, from `begin` in `piece`; others are dropped.
    pub fn store(&self, key: TorrentKey, piece: u32, begin: u32, data: Bytes) {
        let Some(torrent) = self.get(key) else { return };
        torrent.shared.budget.charge(&torrent.share, data.len());
        torrent.post(piece, Item::Block { begin, data });
    }

    /// Whether more blocks of this torrent should be read from the net. After a no,
    /// [`Event::Room`] follows when they should.
    pub fn room(&self, key: TorrentKey) -> bool {
        self.get(key).is_none_or(|torrent| torrent.shared.budget.room(key, &torrent.share))
    }

    /// Bytes of blocks in flight over all torrents.
    pub fn in_flight(&self) -> usize {
        self.inner.shared.budget.used()
    }

    /// Starts a piece over, keeping these blocks (by index) of those that came.
    pub fn retry(&self, key: TorrentKey, piece: u32, keep: &[u32]) {
        if let Some(torrent) = self.get(key) {
            torrent.post(piece, Item::Retry(keep.to_vec()));
        }
    }

    /// The v2 hashes of a file's pieces. Kept in the resume file; ignored unless they lead
    /// to the file's root. Pieces that waited for them are judged now.
    pub fn set_piece_roots(&self, key: TorrentKey, file: usize, roots: Vec<Sha256Hash>) {
        let Some(torrent) = self.get(key) else { return };
        torrent.submit(move |torrent, _| {
            if torrent.learn_layer(file, roots.clone()) {
                torrent.record_layer(file, &roots);
                let pieces = torrent.info.layout.file_pieces(file);
                let waiting: Vec<u32> =
                    lock(&torrent.slots).keys().copied().filter(|piece| pieces.contains(piece)).collect();
                waiting.into_iter().for_each(|piece| torrent.post(piece, Item::Look));
            }
        });
    }

    /// Reads a piece and tells the SHA-256 of each block with [`Event::Digests`], none
    /// if it cannot be read.
    pub fn digest(&self, key: TorrentKey, piece: u32) {
        let Some(torrent) = self.get(key) else { return };
        torrent.submit(move |torrent, scratch| {
            let digests = process::digests(torrent, piece, scratch).unwrap_or_default();
            torrent.shared.tell(Event::Digests { key, piece, digests });
        });
    }

    /// Reads on a worker thread; [`Event::Read`] with this token follows. At most 1 MiB.
    pub fn read(&self, key: TorrentKey, token: u64, piece: u32, begin: u32, length: u32) {
        match self.get(key) {
            Some(torrent) => torrent.read_slowly(token, piece, begin, length),
            None => {
                self.inner.shared.tell(Event::Read { key, token, result: Err(crate::DiskError::NotOpen) });
            }
        }
    }

    /// Fills `bufs`, end to end, from `begin` on if that needs no waiting for a disk; `None`
    /// if it would, and then what the buffers hold is undefined.
    pub fn read_cached(
        &self,
        key: TorrentKey,
        piece: u32,
        begin: u32,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Option<()> {
        self.get(key)?.read_resident(piece, begin, bufs)
    }

    /// For each entry of `layout.files()`, whether it is wanted. Files that become wanted
    /// are created; files that are there stay.
    pub fn set_wanted(&self, key: TorrentKey, wanted: Vec<bool>) {
        let Some(torrent) = self.get(key) else { return };
        torrent.submit(move |torrent, _| {
            if let Err(error) = torrent.begin_writing().and_then(|()| torrent.place_wanted(&wanted)) {
                torrent.fail(error);
            }
            torrent.watch();
        });
    }

    /// Hashes everything anew; [`Event::Checked`] follows.
    pub fn check(&self, key: TorrentKey) {
        if let Some(torrent) = self.get(key) {
            torrent.submit(|torrent, _| checking::recheck(torrent));
        }
    }

    /// Looks whether each file that is whole still lies under its name, as long as it should
    /// be: a file can be written that has no name any more. [`Event::Confirmed`] follows, or
    /// [`Event::Failed`] with the first that does not. Reads no data but of files that somebody else
    /// wrote to or cut meanwhile, of which [`Event::PieceLost`] tells what is gone.
    pub fn confirm(&self, key: TorrentKey) {
        let Some(torrent) = self.get(key) else { return };
        torrent.submit(move |torrent, scratch| {
            let shared = &torrent.shared;
            match torrent.confirm(&mut scratch.buffer) {
                Ok(()) => {
                    torrent.storage.unclaim();
                    torrent.resting.store(true, Release);
                    torrent.sync_soon();
                    shared.tell(Event::Confirmed { key });
                }
                Err(error) => shared.tell(Event::Failed { key, error, recoverable: false }),
            }
        });
    }

    /// Syncs soon, in the background.
    pub fn checkpoint(&self, key: TorrentKey) {
        if let Some(torrent) = self.get(key) {
            torrent.sync_soon();
        }
    }

    /// Tries again now to write what a disk refused.
    pub fn probe(&self, key: TorrentKey) {
        if let Some(torrent) = self.get(key) {
            torrent.submit(|torrent, _| {
                torrent.probe(true);
            });
        }
    }

    /// Syncs everything, leaves a resume file that needs no check, and lets go of the
    /// torrent; [`Event::Closed`] follows. Pieces in progress are given up.
    pub fn close(&self, key: TorrentKey) {
        let torrents = &self.inner.shared.torrents;
        let torrent = torrents.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
        if let Some(torrent) = torrent.filter(|torrent| !torrent.closing.swap(true, AcqRel)) {
            torrent.job_done();
        }
    }

    /// Stops all threads and waits for them. Torrents that were not closed are as after
    /// a crash. Must not be called from `notify`.
    pub fn shutdown(self) {
        for thread in self.inner.shared.stop() {
            let _ = thread.join();
        }
    }

    fn get(&self, key: TorrentKey) -> Option<Arc<Torrent>> {
        let torrents = self.inner.shared.torrents.read().unwrap_or_else(PoisonError::into_inner);
        torrents.get(&key).filter(|torrent| torrent.open.load(Acquire)).map(Arc::clone)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.shared.stop());
    }
}

fn new_torrent(shared: &Arc<Shared>, key: TorrentKey, spec: &OpenSpec, storage: Arc<dyn Storage>) -> Torrent {
    let layout = &spec.info.layout;
    let flags = |count: usize| (0..count).map(|_| AtomicBool::new(false)).collect();
    let journal = spec.resume.as_ref().map(|_| Mutex::new(Journal::new(Identity::of(&spec.info))));
    Torrent {
        key,
        info: Arc::clone(&spec.info),
        storage,
        overwrite: spec.overwrite,
        shared: Arc::clone(shared),
        share: Arc::default(),
        places: Places::new(Vec::new()),
        lane: OnceLock::new(),
        slots: Mutex::default(),
        layers: RwLock::default(),
        ledger: Mutex::new(Ledger::new(layout.pieces())),
        journal,
        sync_turn: Mutex::default(),
        dirty: flags(layout.files().len() + 1),
        prepared: flags(layout.files().len()),
        owned: flags(layout.files().len()),
        fault: Mutex::default(),
        failing: AtomicBool::new(false),
        probing: AtomicBool::new(false),
        sync_failures: AtomicU32::new(0),
        unsampled: AtomicU64::new(0),
        sampling: AtomicBool::new(false),
        missing_turn: Mutex::default(),
        keeper: OnceLock::new(),
        watched: AtomicBool::new(false),
        resting: AtomicBool::new(false),
        spoilt: AtomicU32::new(0),
        hurried: AtomicBool::new(false),
        open: AtomicBool::new(false),
        jobs: AtomicUsize::new(1),
        closing: AtomicBool::new(false),
        close_begun: AtomicBool::new(false),
    }
}
