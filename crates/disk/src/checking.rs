//! Hashing many pieces of one torrent on all workers of its device, a little at a
//! time and after everything else, so that no other torrent waits for it.

use std::sync::atomic::{
    AtomicU32, AtomicUsize,
    Ordering::{AcqRel, Acquire},
};
use std::sync::{Arc, Mutex};

use crate::Event;
use crate::lane::Scratch;
use crate::layers::{self, Unjudged};
use crate::scan::Verdict;
use crate::torrent::{Torrent, lock};

/// Progress is told so many times.
const REPORTS: u64 = 100;

/// What is done with the result: good pieces, in no order.
type Finish = Box<dyn FnOnce(&Arc<Torrent>, Vec<u32>) + Send>;

struct Run {
    pieces: Vec<u32>,
    next: AtomicUsize,
    done: AtomicU32,
    good: Mutex<Vec<u32>>,
    unjudged: Mutex<Unjudged>,
    finish: Mutex<Option<Finish>>,
}

/// Hashes `pieces` and hands those that are good to `finish`, on a worker.
pub(crate) fn start(
    torrent: &Arc<Torrent>,
    pieces: Vec<u32>,
    finish: impl FnOnce(&Arc<Torrent>, Vec<u32>) + Send + 'static,
) {
    let run = Arc::new(Run {
        pieces,
        next: AtomicUsize::new(0),
        done: AtomicU32::new(0),
        good: Mutex::default(),
        unjudged: Mutex::default(),
        finish: Mutex::new(Some(Box::new(finish))),
    });
    if run.pieces.is_empty() {
        return run.end(torrent);
    }
    for _ in 0..torrent.shared.config.workers_per_device.min(run.pieces.len()) {
        let run = Arc::clone(&run);
        torrent.submit_background(move |torrent, scratch| step(torrent, &run, scratch));
    }
}

fn step(torrent: &Arc<Torrent>, run: &Arc<Run>, scratch: &mut Scratch) {
    let batch = crate::scan::lanes(torrent.info.layout.piece_length()) as usize;
    let from = run.next.fetch_add(batch, AcqRel);
    let Some(pieces) = run.pieces.get(from..run.pieces.len().min(from.saturating_add(batch))) else { return };
    if pieces.is_empty() {
        return;
    }
    if !torrent.closing.load(Acquire) {
        torrent.io().will_need_all(pieces);
        for (&piece, result) in pieces.iter().zip(torrent.check_pieces(pieces, &mut scratch.buffer)) {
            match result {
                Ok(Verdict::Right) => lock(&run.good).push(piece),
                Ok(Verdict::Wrong) => {}
                Ok(Verdict::Unjudged(root)) => drop(lock(&run.unjudged).insert(piece, root)),
                Err(error) => tracing::warn!(piece, %error, "a piece cannot be checked"),
            }
        }
    }
    let before = run.done.fetch_add(pieces.len() as u32, AcqRel);
    let done = before + pieces.len() as u32;
    run.report(torrent, before, done);
    if done as usize == run.pieces.len() {
        return run.end(torrent);
    }
    let run = Arc::clone(run);
    torrent.submit_background(move |torrent, scratch| step(torrent, &run, scratch));
}

impl Run {
    fn report(&self, torrent: &Torrent, before: u32, done: u32) {
        let total = self.pieces.len() as u32;
        let tick = |n: u32| u64::from(n) * REPORTS / u64::from(total.max(1));
        if tick(before) != tick(done) {
            torrent.shared.tell(Event::Checking { key: torrent.key, done, total });
        }
    }

    fn end(&self, torrent: &Arc<Torrent>) {
        let mut good = std::mem::take(&mut *lock(&self.good));
        let unjudged = std::mem::take(&mut *lock(&self.unjudged));
        for (file, roots) in layers::proven(&torrent.info.layout, &unjudged) {
            torrent.record_layer(file, &roots);
            torrent.learn_layer(file, roots);
            good.extend(torrent.info.layout.file_pieces(file));
        }
        if let Some(finish) = lock(&self.finish).take() {
            finish(torrent, good);
        }
    }
}

/// Hashes everything anew while the torrent is open.
pub(crate) fn recheck(torrent: &Arc<Torrent>) {
    let all = (0..torrent.info.layout.pieces()).collect();
    start(torrent, all, |torrent, good| {
        let mut found = starling_metainfo::Bitfield::new(torrent.info.layout.pieces());
        for piece in good {
            found.insert(piece);
        }
        let had = lock(&torrent.ledger).have.clone();
        // A piece that was verified while the check ran may have been looked at too early.
        let suspects: Vec<u32> = had.iter().filter(|&piece| !found.get(piece)).collect();
        let mut buffer = Vec::new();
        let lost: Vec<u32> =
            suspects.into_iter().filter(|&p| !torrent.check_piece(p, &mut buffer).unwrap_or(false)).collect();
        torrent.record_lost(&lost);
        for piece in found.iter().filter(|&piece| !had.get(piece)) {
            torrent.soil_piece(piece);
            torrent.accept(piece);
        }
        let have = lock(&torrent.ledger).have.clone();
        torrent.shared.tell(Event::Checked { key: torrent.key, have });
    });
}

impl Torrent {
    /// Has the files of a piece synced before the piece counts.
    pub(crate) fn soil_piece(&self, piece: u32) {
        let layout = &self.info.layout;
        let held = self.places.hold();
        let spans = layout.spans(piece, 0, layout.piece_len(piece));
        spans.filter_map(|span| held.place(layout, &span)).for_each(|(slot, _)| self.soil(slot));
    }
}
