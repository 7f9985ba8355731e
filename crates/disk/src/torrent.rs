//! One open torrent, as all threads share it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;

use starling_metainfo::{BLOCK_LENGTH, Info, Sha1Hash, Sha256Hash};

use crate::budget::{Budget, Share};
use crate::fault::Fault;
use crate::keeper::Keeper;
use crate::lane::{Job, Lane, Scratch};
use crate::ledger::{Journal, Ledger};
use crate::piece::{Item, Piece};
use crate::place::Places;
use crate::span_io::SpanIo;
use crate::storage::{FdCache, Slot, Storage};
use crate::{Config, DiskError, Event, TorrentKey, layers};

/// What all torrents have in common.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) budget: Budget,
    pub(crate) fds: Arc<FdCache>,
    pub(crate) notify: Box<dyn Fn(Event) + Send + Sync>,
    pub(crate) torrents: RwLock<HashMap<TorrentKey, Arc<Torrent>>>,
    pub(crate) lanes: Mutex<BTreeMap<Option<u64>, Arc<Lane>>>,
    pub(crate) keepers: Mutex<BTreeMap<u64, Arc<Keeper>>>,
}

impl Shared {
    pub(crate) fn tell(&self, event: Event) {
        (self.notify)(event);
    }

    /// The queue of a device; `None`: of torrents whose device is not known yet.
    pub(crate) fn lane(&self, device: Option<u64>) -> Arc<Lane> {
        let mut lanes = lock(&self.lanes);
        let name = device.map_or_else(|| "disk-open".to_owned(), |device| format!("disk-{device:x}"));
        Arc::clone(lanes.entry(device).or_insert_with(|| Lane::new(name, &self.config)))
    }

    /// The thread that syncs for a device.
    pub(crate) fn keeper(&self, device: u64) -> Arc<Keeper> {
        Arc::clone(lock(&self.keepers).entry(device).or_default())
    }

    /// Forgets a torrent, if it is still that one which has the key.
    pub(crate) fn drop_torrent(&self, torrent: &Arc<Torrent>) {
        let mut torrents = self.torrents.write().unwrap_or_else(PoisonError::into_inner);
        if torrents.get(&torrent.key).is_some_and(|other| Arc::ptr_eq(other, torrent)) {
            torrents.remove(&torrent.key);
        }
    }

    /// Ends all threads after what they are doing, and forgets all torrents.
    pub(crate) fn stop(&self) -> Vec<JoinHandle<()>> {
        let lanes = std::mem::take(&mut *lock(&self.lanes));
        let keepers = std::mem::take(&mut *lock(&self.keepers));
        let mut threads: Vec<JoinHandle<()>> = lanes.values().flat_map(|lane| lane.stop()).collect();
        threads.extend(keepers.values().filter_map(|keeper| keeper.stop()));
        let torrents = std::mem::take(&mut *self.torrents.write().unwrap_or_else(PoisonError::into_inner));
        for torrent in torrents.values() {
            lock(&torrent.slots).clear();
        }
        threads
    }
}

/// A mutex whose holder panicked is still good: all states here are valid between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A piece in progress: what came for it, and its state while no worker has it.
#[derive(Default)]
pub(crate) struct PieceSlot {
    pub(crate) inbox: Vec<Item>,
    pub(crate) state: Option<Box<Piece>>,
    pub(crate) scheduled: bool,
}

/// What the hash of a piece must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Expected {
    pub(crate) v1: Option<Sha1Hash>,
    /// The root, and of how many blocks a whole piece below it consists.
    pub(crate) v2: Option<(Sha256Hash, u32)>,
}

pub(crate) struct Torrent {
    pub(crate) key: TorrentKey,
    pub(crate) info: Arc<Info>,
    pub(crate) storage: Arc<dyn Storage>,
    /// Somebody else's files may be written over.
    pub(crate) overwrite: bool,
    pub(crate) shared: Arc<Shared>,
    pub(crate) share: Arc<Share>,
    pub(crate) places: Places,
    pub(crate) lane: OnceLock<Arc<Lane>>,
    pub(crate) slots: Mutex<HashMap<u32, PieceSlot>>,
    pub(crate) layers: RwLock<BTreeMap<usize, Arc<[Sha256Hash]>>>,
    pub(crate) ledger: Mutex<Ledger>,
    /// `None`: the torrent has no resume file.
    pub(crate) journal: Option<Mutex<Journal>>,
    /// One sync or close at a time.
    pub(crate) sync_turn: Mutex<()>,
    /// By file, and last the parts file: written since the last sync.
    pub(crate) dirty: Vec<AtomicBool>,
    /// By file: looked at before the first write.
    pub(crate) prepared: Vec<AtomicBool>,
    /// By file: ours to write to, as the resume file says or will before anything is written.
    pub(crate) owned: Vec<AtomicBool>,
    pub(crate) fault: Mutex<Option<Fault>>,
    /// Nothing is written until the next probe.
    pub(crate) failing: AtomicBool,
    /// The next write that works ends the fault.
    pub(crate) probing: AtomicBool,
    pub(crate) sync_failures: AtomicU32,
    /// Bytes served since a piece was looked at.
    pub(crate) unsampled: AtomicU64,
    /// A piece is being looked at.
    pub(crate) sampling: AtomicBool,
    /// One look at how much of a file is left at a time.
    pub(crate) missing_turn: Mutex<()>,
    pub(crate) keeper: OnceLock<Arc<Keeper>>,
    /// The keeper has it.
    pub(crate) watched: AtomicBool,
    /// All that is wanted is there, and nothing was written since.
    pub(crate) resting: AtomicBool,
    /// How often others had spoilt what was whole.
    pub(crate) spoilt: AtomicU32,
    /// A checkpoint was asked for.
    pub(crate) hurried: AtomicBool,
    /// [`Event::Opened`] was told.
    pub(crate) open: AtomicBool,
    /// Jobs queued or running, and one for being open.
    pub(crate) jobs: AtomicUsize,
    pub(crate) closing: AtomicBool,
    pub(crate) close_begun: AtomicBool,
}

impl Torrent {
    /// Hands a job for this torrent to its lane.
    pub(crate) fn submit(
        self: &Arc<Torrent>,
        work: impl FnOnce(&Arc<Torrent>, &mut Scratch) + Send + 'static,
    ) {
        self.lane().push(self.task(work));
    }

    /// The same, after everything else.
    pub(crate) fn submit_background(
        self: &Arc<Torrent>,
        work: impl FnOnce(&Arc<Torrent>, &mut Scratch) + Send + 'static,
    ) {
        self.lane().push_background(self.task(work));
    }

    fn task(self: &Arc<Torrent>, work: impl FnOnce(&Arc<Torrent>, &mut Scratch) + Send + 'static) -> Job {
        let torrent = Arc::clone(self);
        torrent.jobs.fetch_add(1, AcqRel);
        Job::Task(Box::new(move |scratch| {
            work(&torrent, scratch);
            torrent.job_done();
        }))
    }

    /// The last job of a torrent that is to be closed closes it.
    pub(crate) fn job_done(self: &Arc<Torrent>) {
        let last = self.jobs.fetch_sub(1, AcqRel) == 1;
        if last && self.closing.load(Acquire) && !self.close_begun.swap(true, AcqRel) {
            let torrent = Arc::clone(self);
            self.lane().push(Job::Task(Box::new(move |_| crate::close::finish(&torrent))));
        }
    }

    /// Its device's queue, or as long as nobody knows the device, that of such torrents.
    pub(crate) fn lane(&self) -> Arc<Lane> {
        self.lane.get().map_or_else(|| self.shared.lane(None), Arc::clone)
    }

    /// Queues something for a piece.
    pub(crate) fn post(self: &Arc<Torrent>, piece: u32, item: Item) {
        let Some(lane) = self.lane.get() else { return };
        let waiting = lane.arriving(item.bytes());
        let mut slots = lock(&self.slots);
        let slot = slots.entry(piece).or_default();
        slot.inbox.push(item);
        let job = (!std::mem::replace(&mut slot.scheduled, true)).then(|| {
            self.jobs.fetch_add(1, AcqRel);
            Job::Piece(Arc::clone(self), piece)
        });
        drop(slots);
        lane.posted(waiting, job);
    }

    pub(crate) fn io(&self) -> SpanIo<'_> {
        SpanIo { layout: &self.info.layout, places: &self.places, storage: &*self.storage }
    }

    /// Gives memory back and tells those who wait for it.
    pub(crate) fn release(&self, bytes: usize) {
        for key in self.shared.budget.release(&self.share, bytes) {
            self.shared.tell(Event::Room { key });
        }
    }

    /// What the piece must hash to; `None` if nobody told us yet.
    pub(crate) fn expected(&self, piece: u32) -> Option<Expected> {
        let v1 = self.info.v1_piece(piece);
        let v2 = if self.info.v2 { self.expected_root(piece) } else { None };
        (v1.is_some() || v2.is_some()).then_some(Expected { v1, v2 })
    }

    fn expected_root(&self, piece: u32) -> Option<(Sha256Hash, u32)> {
        let layout = &self.info.layout;
        let index = layout.file_of_piece(piece)?;
        let file = layout.files().get(index)?;
        if file.length <= u64::from(layout.piece_length()) {
            return Some((file.pieces_root?, 1));
        }
        let nth = u64::from(piece) - file.offset / u64::from(layout.piece_length());
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        let hash = *layers.get(&index)?.get(usize::try_from(nth).ok()?)?;
        Some((hash, layout.piece_length() / BLOCK_LENGTH))
    }

    /// Before the first write to a file: looks at what is there already.
    pub(crate) fn prepare(&self, slot: Slot) -> Result<(), DiskError> {
        let Slot::File(index) = slot else { return Ok(()) };
        let (Some(prepared), Some(file)) = (self.prepared.get(index), self.info.layout.files().get(index))
        else {
            return Err(DiskError::OutOfRange);
        };
        if !prepared.load(Relaxed) {
            self.storage.prepare(slot, file.length, false)?;
            prepared.store(true, Relaxed);
        }
        Ok(())
    }

    /// Marks a slot as written. After the write: a sync in between must not count for it.
    pub(crate) fn soil(&self, slot: Slot) {
        let index = if let Slot::File(index) = slot { index } else { self.prepared.len() };
        if let Some(dirty) = self.dirty.get(index) {
            dirty.store(true, Release);
        }
    }

    /// Every slot that data was written to since this was last asked.
    pub(crate) fn take_dirty(&self) -> Vec<Slot> {
        let files = self.prepared.len();
        let slot = |index| if index < files { Slot::File(index) } else { Slot::Parts };
        let dirty = self.dirty.iter().enumerate().filter(|(_, flag)| flag.swap(false, AcqRel));
        dirty.map(|(index, _)| slot(index)).collect()
    }

    /// Takes hashes of a file's pieces if they lead to its root.
    pub(crate) fn learn_layer(&self, file: usize, roots: Vec<Sha256Hash>) -> bool {
        let right = layers::is_right(&self.info.layout, file, &roots);
        if right {
            self.layers.write().unwrap_or_else(PoisonError::into_inner).insert(file, roots.into());
        }
        right
    }

    /// Has the keeper sync it now.
    pub(crate) fn sync_soon(self: &Arc<Torrent>) {
        self.hurried.store(true, Release);
        self.watch();
        if let Some(keeper) = self.keeper.get() {
            keeper.hurry();
        }
    }

    /// Has a keeper look after it until all is synced and works.
    pub(crate) fn watch(self: &Arc<Torrent>) {
        if let Some(keeper) = self.keeper.get().filter(|_| !self.watched.swap(true, AcqRel)) {
            keeper.add(Arc::clone(self));
        }
    }
}
