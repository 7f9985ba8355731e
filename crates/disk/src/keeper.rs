//! One thread for each device that syncs, so that no worker has to wait for it:
//! checkpoints every few seconds, journals in between, and tries again after faults.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::torrent::{Torrent, lock};

/// How often torrents with unsynced data are looked at.
const TICK: Duration = Duration::from_millis(50);

/// Looks after the torrents of one device that have unsynced data or a fault.
#[derive(Default)]
pub(crate) struct Keeper {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    watched: Vec<Arc<Torrent>>,
    thread: Option<JoinHandle<()>>,
    hurried: bool,
    stopped: bool,
}

impl Keeper {
    /// Looks after a torrent from now on.
    pub(crate) fn add(self: &Arc<Keeper>, torrent: Arc<Torrent>) {
        let mut state = lock(&self.state);
        if state.stopped {
            return;
        }
        state.watched.push(torrent);
        if state.thread.is_none() {
            let keeper = Arc::clone(self);
            match std::thread::Builder::new().name("disk-sync".into()).spawn(move || keeper.work()) {
                Ok(thread) => state.thread = Some(thread),
                Err(error) => tracing::warn!(%error, "cannot start the thread that syncs"),
            }
        }
        self.wake.notify_one();
    }

    /// Looks at all of them now.
    pub(crate) fn hurry(&self) {
        lock(&self.state).hurried = true;
        self.wake.notify_one();
    }

    /// Ends the thread after what it is doing.
    pub(crate) fn stop(&self) -> Option<JoinHandle<()>> {
        let (watched, thread) = {
            let mut state = lock(&self.state);
            state.stopped = true;
            (std::mem::take(&mut state.watched), state.thread.take())
        };
        self.wake.notify_one();
        drop(watched);
        thread
    }

    fn work(&self) {
        while let Some(torrents) = self.next_round() {
            let mut buffer = Vec::new();
            let keep: Vec<Arc<Torrent>> =
                torrents.into_iter().filter(|torrent| look_after(torrent, &mut buffer)).collect();
            let mut state = lock(&self.state);
            if state.stopped {
                drop(state);
                return;
            }
            state.watched.extend(keep);
        }
    }

    fn next_round(&self) -> Option<Vec<Arc<Torrent>>> {
        let mut state = lock(&self.state);
        while state.watched.is_empty() && !state.stopped {
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.hurried && !state.stopped {
            state = self.wake.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.hurried = false;
        (!state.stopped).then(|| std::mem::take(&mut state.watched))
    }
}

/// Does what is due for a torrent; false if it needs no looking after any more.
fn look_after(torrent: &Arc<Torrent>, buffer: &mut Vec<u8>) -> bool {
    if torrent.closing.load(Acquire) {
        return false;
    }
    let hurried = torrent.hurried.swap(false, AcqRel);
    torrent.flush_journal();
    torrent.probe(false);
    let due = hurried || torrent.checkpoint_due();
    if let Some(Err(error)) = due.then(|| torrent.checkpoint(buffer)) {
        torrent.fail_sync(error);
    }
    if torrent.is_settled() {
        torrent.rest();
        torrent.watched.store(false, Release);
        // Somebody may have counted on us in between.
        return !torrent.is_settled() && !torrent.watched.swap(true, AcqRel);
    }
    true
}
