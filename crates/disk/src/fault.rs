//! A disk that does not write: told once, tried again, told when it is over.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Instant;

use crate::piece::Item;
use crate::torrent::{Torrent, lock};
use crate::{DiskError, Event};

/// Writing or syncing does not work.
pub(crate) struct Fault {
    since: Instant,
    recoverable: bool,
    /// Writes work, but nobody knows whether they reach the medium.
    syncing: bool,
}

impl Torrent {
    /// Writing (or reading back) did not work: what waits is kept, and tried again later.
    pub(crate) fn fail(self: &Arc<Torrent>, error: DiskError) {
        self.failing.store(true, Release);
        self.begin_fault(error, false);
    }

    /// Syncing did not work.
    pub(crate) fn fail_sync(self: &Arc<Torrent>, error: DiskError) {
        self.begin_fault(error, true);
    }

    fn begin_fault(self: &Arc<Torrent>, error: DiskError, syncing: bool) {
        let recoverable = error.is_recoverable();
        let fault = Fault { since: Instant::now(), recoverable, syncing };
        let news = lock(&self.fault).replace(fault).is_none();
        if news {
            self.shared.tell(Event::Failed { key: self.key, error, recoverable });
        }
        self.watch();
    }

    /// A sync worked.
    pub(crate) fn sync_works(self: &Arc<Torrent>) {
        let was = lock(&self.fault).take_if(|fault| fault.syncing).is_some();
        if was {
            self.shared.tell(Event::Recovered { key: self.key });
        }
    }

    /// Tries again if it is time, or if `asked` to. True while there is a fault.
    pub(crate) fn probe(self: &Arc<Torrent>, asked: bool) -> bool {
        let due = {
            let mut fault = lock(&self.fault);
            let Some(fault) = fault.as_mut() else { return false };
            let due =
                asked || (fault.recoverable && fault.since.elapsed() >= self.shared.config.probe_interval);
            if due {
                fault.since = Instant::now();
            }
            due && !fault.syncing
        };
        if due {
            self.failing.store(false, Release);
            self.probing.store(true, Release);
            self.look_at_stuck();
        }
        true
    }

    fn look_at_stuck(self: &Arc<Torrent>) {
        let (stuck, busy) = {
            let slots = lock(&self.slots);
            let stuck = slots.iter().filter(|(_, s)| s.state.as_ref().is_some_and(|piece| piece.is_stuck()));
            let stuck: Vec<u32> = stuck.map(|(&piece, _)| piece).collect();
            (stuck, slots.values().any(|slot| slot.scheduled))
        };
        if stuck.is_empty() && !busy && !self.failing.load(Acquire) {
            self.recover();
        }
        for piece in stuck {
            self.post(piece, Item::Look);
        }
    }

    /// After a turn: if it was a probe and the piece is not stuck any more, writing works.
    pub(crate) fn after_probe(self: &Arc<Torrent>, piece: &crate::piece::Piece) {
        let probing = self.probing.load(Relaxed) && !self.failing.load(Acquire) && piece.unwritten.is_empty();
        if probing && self.probing.swap(false, AcqRel) {
            self.recover();
        }
    }

    fn recover(self: &Arc<Torrent>) {
        self.probing.store(false, Release);
        if lock(&self.fault).take().is_some() {
            self.shared.tell(Event::Recovered { key: self.key });
        }
    }

    /// Whether the keeper has to try again some time.
    pub(crate) fn has_fault(&self) -> bool {
        lock(&self.fault).is_some()
    }
}
