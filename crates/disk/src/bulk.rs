//! Hashing all pieces of a torrent on all cores, for creation and verification.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use starling_metainfo::Layout;

use crate::scan::lanes;
use crate::{DiskError, descriptors};

/// Told of bytes of files done and in all, padding left out, from any thread; [`ControlFlow::Break`] cancels.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) -> ControlFlow<()> + Sync);

/// Cores, for a number of threads that is 0; fewer where few descriptors may be open.
pub(crate) fn threads_or_cores(threads: usize) -> usize {
    descriptors::for_threads(match threads {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        threads => threads,
    })
}

/// Runs `work` for all pieces, several at a time, and gives the results in order. Each thread has a state
/// of its own from `start`. The first error ends all.
pub(crate) fn each_piece<S, R: Send>(
    layout: &Layout,
    threads: usize,
    progress: Progress<'_>,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &[u32]) -> Result<Vec<R>, DiskError> + Sync,
) -> Result<Vec<R>, DiskError> {
    let threads = threads_or_cores(threads);
    let job = Job {
        layout,
        lanes: lanes(layout.piece_length()).min(layout.pieces().div_ceil(threads as u32)).max(1),
        progress,
        next: AtomicU32::new(0),
        done: AtomicU64::new(0),
        total: (0..layout.pieces()).map(|piece| u64::from(layout.content_len(piece))).sum(),
        stop: AtomicBool::new(false),
    };
    let results = std::thread::scope(|scope| {
        let threads = threads.min(layout.pieces().max(1) as usize);
        let handles: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let result = job.run(start(), &work);
                    job.stop.fetch_or(result.is_err(), Relaxed);
                    result
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    in_order(results)
}

fn in_order<R>(results: Vec<Result<Vec<(u32, R)>, DiskError>>) -> Result<Vec<R>, DiskError> {
    // A thread that was told to stop is less to blame than the one that had a reason.
    let (mut all, mut reason) = (Vec::new(), None);
    for result in results {
        match result {
            Ok(part) => all.extend(part),
            Err(DiskError::Cancelled) => drop(reason.get_or_insert(DiskError::Cancelled)),
            Err(error) => reason = Some(error),
        }
    }
    if let Some(error) = reason {
        return Err(error);
    }
    all.sort_unstable_by_key(|(piece, _)| *piece);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

struct Job<'a> {
    layout: &'a Layout,
    progress: Progress<'a>,
    /// Pieces a thread takes at a time.
    lanes: u32,
    next: AtomicU32,
    done: AtomicU64,
    total: u64,
    stop: AtomicBool,
}

impl Job<'_> {
    fn run<S, R>(
        &self,
        mut state: S,
        work: &impl Fn(&mut S, &[u32]) -> Result<Vec<R>, DiskError>,
    ) -> Result<Vec<(u32, R)>, DiskError> {
        let mut results = Vec::new();
        loop {
            let from = self.next.fetch_add(self.lanes, Relaxed);
            let pieces: Vec<u32> =
                (from..from.saturating_add(self.lanes).min(self.layout.pieces())).collect();
            if pieces.is_empty() {
                return Ok(results);
            }
            results.extend(pieces.iter().copied().zip(work(&mut state, &pieces)?));
            let bytes: u64 = pieces.iter().map(|&piece| u64::from(self.layout.content_len(piece))).sum();
            let done = self.done.fetch_add(bytes, Relaxed) + bytes;
            if self.stop.load(Relaxed) || (self.progress)(done, self.total).is_break() {
                return Err(DiskError::Cancelled);
            }
        }
    }
}
