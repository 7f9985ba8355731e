//! Files in memory that can be slow, full, broken, or lose power.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use starling_disk::DiskError;
use starling_disk::storage::{Slot, Stat, Storage};

const PAGE: usize = 4096;

#[derive(Clone, Default)]
struct Held {
    bytes: Vec<u8>,
    modified: u64,
}

/// What is to go wrong.
#[derive(Clone, Copy, Default, Debug)]
pub struct Faults {
    /// Bytes that may still be written; then the disk is full.
    pub room: Option<u64>,
    /// So many writes from now one fails with ENOSPC.
    pub fail_write: Option<u32>,
    /// So many syncs from now one fails with EIO and forgets what it was to sync.
    pub fail_sync: Option<u32>,
    /// It fails, and programs still see what is not on the medium.
    pub failed_sync_keeps: bool,
    /// So many reads from now one fails with EIO.
    pub fail_read: Option<u32>,
    /// Each write takes only this many bytes.
    pub short: Option<usize>,
    /// The resume file is spared from the above.
    pub spare_resume: bool,
    /// All else is spared.
    pub spare_data: bool,
}

#[derive(Default)]
struct State {
    /// As programs see them.
    seen: BTreeMap<Slot, Held>,
    /// As they are after a power cut.
    safe: BTreeMap<Slot, Held>,
    faults: Faults,
    clock: u64,
    writes: u32,
    refused: u32,
    bytes_read: u64,
    gate_closed: bool,
    waiting: u32,
    /// Syncs wait until so many are under way.
    syncs_meet: u32,
    syncing: u32,
    /// So many writes and syncs from now, all calls fail.
    dies_in: Option<u32>,
    dead: bool,
}

pub struct Memory {
    device: u64,
    state: Mutex<State>,
    gate: Condvar,
}

impl Memory {
    pub fn new(device: u64) -> Memory {
        Memory { device, state: Mutex::default(), gate: Condvar::new() }
    }

    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().unwrap().faults = faults;
    }

    /// Writes wait until the gate opens.
    pub fn close_gate(&self) {
        self.state.lock().unwrap().gate_closed = true;
    }

    pub fn open_gate(&self) {
        self.state.lock().unwrap().gate_closed = false;
        self.gate.notify_all();
    }

    /// Syncs wait until so many are under way; they are of what was written before them.
    pub fn have_syncs_meet(&self, count: u32) {
        self.state.lock().unwrap().syncs_meet = count;
        self.gate.notify_all();
    }

    /// Returns once somebody waits at the closed gate.
    pub fn wait_for_writer(&self) {
        let mut state = self.state.lock().unwrap();
        while state.waiting == 0 {
            state = self.gate.wait(state).unwrap();
        }
    }

    /// Returns once somebody waits in a sync.
    pub fn wait_for_sync(&self) {
        let mut state = self.state.lock().unwrap();
        while state.syncing == 0 {
            state = self.gate.wait(state).unwrap();
        }
    }

    /// How many writes there were.
    pub fn writes(&self) -> u32 {
        self.state.lock().unwrap().writes
    }

    /// How many writes there was no room for.
    pub fn refused(&self) -> u32 {
        self.state.lock().unwrap().refused
    }

    /// How many bytes were read.
    pub fn bytes_read(&self) -> u64 {
        self.state.lock().unwrap().bytes_read
    }

    /// What a file holds.
    pub fn bytes(&self, slot: Slot) -> Option<Vec<u8>> {
        self.state.lock().unwrap().seen.get(&slot).map(|held| held.bytes.clone())
    }

    /// Changes a file behind the disk's back.
    pub fn tamper(&self, slot: Slot, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock().unwrap();
        state.clock += 1;
        let clock = state.clock;
        let held = state.seen.entry(slot).or_default();
        change(&mut held.bytes);
        held.modified = clock;
        let held = held.clone();
        state.safe.insert(slot, held);
    }

    /// The same, and the time of the file does not tell.
    pub fn rot(&self, slot: Slot, change: impl FnOnce(&mut Vec<u8>)) {
        let before = self.state.lock().unwrap().seen[&slot].modified;
        self.tamper(slot, change);
        let mut state = self.state.lock().unwrap();
        state.seen.get_mut(&slot).unwrap().modified = before;
        state.safe.get_mut(&slot).unwrap().modified = before;
    }

    /// From now on all calls fail: the program was killed.
    pub fn kill(&self) {
        self.state.lock().unwrap().dead = true;
        self.gate.notify_all();
    }

    /// The same, so many writes, syncs and replacements from now.
    pub fn kill_in(&self, operations: u32) {
        self.state.lock().unwrap().dies_in = Some(operations);
    }

    pub fn is_dead(&self) -> bool {
        self.state.lock().unwrap().dead
    }

    /// What the next start finds. After a mere kill all that was written; after a power
    /// cut what was synced, and of the rest each page or not, as `seed` has it.
    pub fn reborn(&self, power_cut: Option<u64>) -> Memory {
        let state = self.state.lock().unwrap();
        let next = Memory::new(self.device);
        {
            let mut new = next.state.lock().unwrap();
            new.clock = state.clock;
            new.seen = match power_cut {
                None => state.seen.clone(),
                Some(seed) => after_power_cut(&state, seed),
            };
            new.safe = new.seen.clone();
        }
        next
    }
}

fn after_power_cut(state: &State, mut seed: u64) -> BTreeMap<Slot, Held> {
    let mut chance = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 40 & 1 == 1
    };
    let mut files = state.safe.clone();
    for (slot, held) in &state.seen {
        if !files.contains_key(slot) && chance() {
            continue; // not even the name is there
        }
        let safe = files.entry(*slot).or_default();
        if chance() && safe.bytes.len() < held.bytes.len() {
            safe.bytes.resize(held.bytes.len(), 0);
        }
        let length = safe.bytes.len();
        for start in (0..held.bytes.len().min(length)).step_by(PAGE) {
            let end = (start + PAGE).min(held.bytes.len()).min(length);
            if chance() {
                safe.bytes[start..end].copy_from_slice(&held.bytes[start..end]);
            }
        }
        safe.modified = held.modified;
    }
    files
}

impl Memory {
    fn enter(&self) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let state = self.state.lock().unwrap();
        if state.dead { Err(io::Error::other("killed")) } else { Ok(state) }
    }

    /// Before something that changes what the next start finds.
    fn enter_to_change(&self) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let mut state = self.enter()?;
        if let Some(left) = state.dies_in {
            state.dies_in = left.checked_sub(1);
            state.dead = left == 0;
        }
        drop(state);
        self.enter()
    }
}

impl Storage for Memory {
    fn device(&self) -> Result<u64, DiskError> {
        Ok(self.device)
    }

    fn stat(&self, slot: Slot) -> Result<Option<Stat>, DiskError> {
        let state = self.enter().map_err(|e| DiskError::io("look at", self.path(slot), e))?;
        Ok(state.seen.get(&slot).map(|held| Stat {
            length: held.bytes.len() as u64,
            modified: UNIX_EPOCH + Duration::from_micros(held.modified),
        }))
    }

    fn named(&self, slot: Slot) -> Result<Option<Stat>, DiskError> {
        self.stat(slot)
    }

    fn prepare(&self, slot: Slot, length: u64, reserve: bool) -> Result<(), DiskError> {
        let wrap = |e| DiskError::io("resize", self.path(slot), e);
        let mut state = self.enter().map_err(wrap)?;
        let held = state.seen.entry(slot).or_default();
        held.bytes.truncate(length as usize);
        let more = length - held.bytes.len() as u64;
        if reserve {
            if state.faults.room.is_some_and(|room| room < more) {
                return Err(wrap(io::ErrorKind::StorageFull.into()));
            }
            state.seen.entry(slot).or_default().bytes.resize(length as usize, 0);
        }
        Ok(())
    }

    fn read(&self, slot: Slot, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut state = self.enter()?;
        if let Some(left) = state.faults.fail_read {
            state.faults.fail_read = left.checked_sub(1);
            if left == 0 {
                return Err(io::Error::other("input/output error"));
            }
        }
        let held = state.seen.get(&slot).ok_or(io::ErrorKind::NotFound)?;
        let rest = held.bytes.get(offset as usize..).unwrap_or_default();
        let count = bufs[0].len().min(rest.len());
        bufs[0][..count].copy_from_slice(&rest[..count]);
        state.bytes_read += count as u64;
        Ok(count)
    }

    fn read_resident(&self, _: Slot, _: u64, _: &mut [IoSliceMut<'_>]) -> Option<usize> {
        None
    }

    fn will_need(&self, _: Slot, _: u64, _: u64) {}

    fn forget_cached(&self, _: Slot) {}

    fn write(&self, slot: Slot, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.enter_to_change()?;
        if slot != Slot::Resume {
            state.waiting += 1;
            self.gate.notify_all();
            while state.gate_closed && !state.dead {
                state = self.gate.wait(state).unwrap();
            }
            state.waiting -= 1;
            if state.dead {
                return Err(io::Error::other("killed"));
            }
        }
        let faults = &state.faults;
        let spared = if slot == Slot::Resume { faults.spare_resume } else { faults.spare_data };
        let mut count: usize = bufs.iter().map(|buf| buf.len()).sum();
        if !spared {
            let granted = limit(&mut state.faults, count);
            state.refused += u32::from(granted.is_err());
            count = granted?;
        }
        state.writes += 1;
        state.clock += 1;
        let clock = state.clock;
        let held = state.seen.entry(slot).or_default();
        held.modified = clock;
        let flat: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).take(count).collect();
        let end = offset as usize + count;
        if held.bytes.len() < end {
            held.bytes.resize(end, 0);
        }
        held.bytes[offset as usize..end].copy_from_slice(&flat);
        Ok(count)
    }

    fn sync(&self, slot: Slot) -> io::Result<()> {
        let mut state = self.enter_to_change()?;
        let held = state.seen.get(&slot).cloned();
        if slot != Slot::Resume {
            state.syncing += 1;
            self.gate.notify_all();
            while state.syncing < state.syncs_meet && !state.dead {
                state = self.gate.wait(state).unwrap();
            }
            state.syncing -= 1;
            state.syncs_meet = 0; // those who met go on, and so do all after them
        }
        let spared = slot == Slot::Resume && state.faults.spare_resume;
        if let Some(left) = state.faults.fail_sync.filter(|_| !spared) {
            state.faults.fail_sync = left.checked_sub(1);
            if left == 0 && state.faults.failed_sync_keeps {
                return Err(io::Error::other("input/output error"));
            }
            if left == 0 {
                // As Linux does: the pages count as clean now, and are gone when evicted.
                let safe = state.safe.get(&slot).cloned().unwrap_or_default();
                state.seen.insert(slot, safe);
                return Err(io::Error::other("input/output error"));
            }
        }
        if let Some(held) = held {
            state.safe.insert(slot, held);
        }
        Ok(())
    }

    fn replace(&self, slot: Slot, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.enter_to_change()?;
        if !state.faults.spare_resume {
            limit(&mut state.faults, bytes.len())?;
        }
        state.clock += 1;
        let held = Held { bytes: bytes.to_vec(), modified: state.clock };
        state.seen.insert(slot, held.clone());
        state.safe.insert(slot, held);
        Ok(())
    }

    fn remove(&self, slot: Slot) -> io::Result<()> {
        let mut state = self.enter()?;
        state.seen.remove(&slot);
        state.safe.remove(&slot);
        Ok(())
    }

    fn path(&self, slot: Slot) -> PathBuf {
        format!("memory/{slot:?}").into()
    }
}

/// How much of a write goes through.
fn limit(faults: &mut Faults, mut count: usize) -> io::Result<usize> {
    if let Some(left) = faults.fail_write {
        faults.fail_write = left.checked_sub(1);
        if left == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
    }
    if let Some(short) = faults.short {
        count = count.min(short);
    }
    if let Some(room) = &mut faults.room {
        if *room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        count = count.min(*room as usize);
        *room -= count as u64;
    }
    Ok(count)
}
