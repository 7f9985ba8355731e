//! How much the disk engine costs over the bare work: SHA-1 and pwrite.
//!
//! `cargo run --release -p starling-disk --example store_speed [FOLDER] [MiB] [KiB of a piece]`

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use starling_disk::{Config, Disk, Event, OpenSpec, TorrentKey, hash};
use starling_metainfo::{BLOCK_LENGTH, FileEntry, Info, InfoHashes, Layout, PieceLength, Sha1Hash};

const KEY: TorrentKey = TorrentKey(1);
const ROUNDS: u32 = 5;
const BLOCK: usize = BLOCK_LENGTH as usize;

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().unwrap_or_else(|| "/dev/shm".into()));
    let mib: usize = args.next().map_or(512, |n| n.parse().unwrap());
    let piece_length = 1024 * args.next().map_or(1024, |n| n.parse::<usize>().unwrap());
    let count = (mib << 20) / piece_length;
    let folder = tempfile::tempdir_in(folder).unwrap();
    let piece: Bytes = (0..piece_length).map(|i| (i * 7 % 251) as u8).collect();
    println!("{mib} MiB of 16 KiB blocks into {}", folder.path().display());
    // The least of several: whatever else the machine does only ever adds.
    let (mut least_bare, mut least) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let (wall, cpu) = measure(|| bare(folder.path(), &piece, count));
        show("bare SHA-1 + pwrite", mib, wall, cpu);
        least_bare = least_bare.min(cpu);
        let (wall, cpu) = measure(|| engine(folder.path(), &piece, count));
        show("store()", mib, wall, cpu);
        least = least.min(cpu);
    }
    println!("CPU of store() over bare: {:.3}", least.as_secs_f64() / least_bare.as_secs_f64());
}

fn show(what: &str, mib: usize, wall: Duration, cpu: Duration) {
    let rate = |time: Duration| mib as f64 * 1.048_576 / time.as_secs_f64();
    println!("{what:20} {:6.0} MB/s  {:6.0} MB per CPU second", rate(wall), rate(cpu));
}

fn measure(work: impl FnOnce()) -> (Duration, Duration) {
    let (start, cpu) = (Instant::now(), cpu_time());
    work();
    (start.elapsed(), cpu_time() - cpu)
}

/// CPU time of all threads that are alive; the disk's are kept alive for that.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let nanos = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn bare(folder: &Path, piece: &Bytes, count: usize) {
    let path = folder.join("bare");
    let file = std::fs::File::create(&path).unwrap();
    for at in 0..count {
        let mut sha1 = hash::Sha1::default();
        for block in piece.chunks(BLOCK).enumerate() {
            sha1.update(block.1);
            file.write_all_at(block.1, (at * piece.len() + block.0 * BLOCK) as u64).unwrap();
        }
        std::hint::black_box(sha1.finish());
    }
    std::fs::remove_file(path).unwrap();
}

fn engine(folder: &Path, piece: &Bytes, count: usize) {
    let (tell, events) = channel();
    let disk = Disk::new(Config::default(), move |event| drop(tell.send(event)));
    disk.open(KEY, OpenSpec::new(Arc::new(info(piece, count)), folder));
    await_event(&events, |event| matches!(event, Event::Opened { .. }));
    let mut verified = 0;
    for at in 0..count {
        for begin in (0..piece.len()).step_by(BLOCK) {
            while !disk.room(KEY) {
                let event = events.recv().unwrap();
                verified += usize::from(matches!(event, Event::PieceVerified { .. }));
            }
            disk.store(KEY, at as u32, begin as u32, piece.slice(begin..begin + BLOCK));
        }
    }
    while verified < count {
        verified += usize::from(matches!(events.recv().unwrap(), Event::PieceVerified { .. }));
    }
    std::fs::remove_file(folder.join("engine")).unwrap();
    std::mem::forget(disk); // its threads' time is still to be read
}

fn await_event(events: &Receiver<Event>, wanted: impl Fn(&Event) -> bool) {
    events.iter().find(wanted).unwrap();
}

fn info(piece: &Bytes, count: usize) -> Info {
    let mut sha1 = hash::Sha1::default();
    sha1.update(piece);
    let digest = sha1.finish();
    let file = FileEntry {
        path: vec!["engine".into()],
        raw: None,
        length: (count * piece.len()) as u64,
        offset: 0,
        padding: false,
        executable: false,
        hidden: false,
        pieces_root: None,
    };
    Info {
        name: "engine".into(),
        layout: Layout::new(PieceLength::new(piece.len() as u64).unwrap(), vec![file], false).unwrap(),
        single_file: true,
        v1_pieces: Some(digest.0.repeat(count).into()),
        v2: false,
        private: false,
        bytes: Bytes::new(),
        hashes: InfoHashes::new(Some(Sha1Hash([1; 20])), None).unwrap(),
    }
}
