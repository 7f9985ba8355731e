//! What can only be seen while a transfer runs: the first MiB, and memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use starling_interop::content::bytes_on_disk;

/// Between two looks for the first MiB.
const FIRST_TICK: Duration = Duration::from_millis(1);
/// Between two looks at memory.
const MEMORY_TICK: Duration = Duration::from_millis(10);

/// What a sampler saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// From the beginning until a MiB was on disk.
    pub first_mib: Option<Duration>,
    /// From the beginning until a quarter was on disk.
    pub quarter: Option<Duration>,
    /// Most anonymous memory of each process, in bytes, in the order they were given.
    pub memory: Vec<u64>,
}

/// A thread that looks on.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Sampler {
    /// Watches the leecher's folder, in which `size` bytes are to be, and these processes.
    pub fn start(folder: PathBuf, size: u64, pids: Vec<u32>, begun: Instant) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || look_on(&folder, size, &pids, begun, &stopped));
        Sampler { stop, thread }
    }

    /// Ends it.
    pub fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn look_on(folder: &Path, size: u64, pids: &[u32], begun: Instant, stopped: &AtomicBool) -> Seen {
    let mut seen = Seen { memory: vec![0; pids.len()], ..Seen::default() };
    let mut memory_due = begun;
    while !stopped.load(Ordering::Relaxed) {
        for (moment, bytes) in [(&mut seen.first_mib, 1 << 20), (&mut seen.quarter, size / 4)] {
            if moment.is_none() && bytes_on_disk(folder) >= bytes {
                *moment = Some(begun.elapsed());
            }
        }
        if Instant::now() >= memory_due {
            memory_due = Instant::now() + MEMORY_TICK;
            for (pid, most) in pids.iter().zip(&mut seen.memory) {
                *most = (*most).max(anonymous_memory(*pid));
            }
        }
        std::thread::sleep(if seen.first_mib.is_none() { FIRST_TICK } else { MEMORY_TICK });
    }
    seen
}

/// Anonymous memory of a process in bytes: files that it maps do not count.
fn anonymous_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
