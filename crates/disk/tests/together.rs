//! Pieces that a worker takes together end as those it takes one by one.

#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use common::memory::Memory;
use common::{BLOCK, Bench, Sample, Version, sample};
use starling_disk::storage::{Slot, Storage};
use starling_disk::{Config, Event, TorrentKey};
use starling_metainfo::Sha256Hash;

/// What was said of each piece: `None` if it is good, else the digests of its blocks.
type Verdicts = BTreeMap<(u32, u32), Option<Vec<Sha256Hash>>>;
type Block = (u32, u32, Bytes);

/// One torrent of each version, of pieces with padding, with short ends and of many blocks.
fn samples() -> Vec<Sample> {
    vec![
        sample(Version::V1, &[BLOCK * 75 + 9, 5, BLOCK * 6], BLOCK * 16),
        sample(Version::Hybrid, &[BLOCK * 40 + 7, 3, BLOCK * 9], BLOCK * 8),
        sample(Version::V2, &[BLOCK * 33 + 1, BLOCK * 5], BLOCK * 8),
    ]
}

/// The blocks of a piece in an order of its own; every third piece has a false one.
fn blocks(sample: &Sample, piece: u32) -> Vec<Block> {
    let mut blocks: Vec<Block> = sample.blocks(piece).into_iter().map(|(b, data)| (piece, b, data)).collect();
    if is_false(piece) {
        let last = blocks.last_mut().unwrap();
        last.2 = last.2.iter().map(|byte| !byte).collect();
    }
    let count = blocks.len();
    match piece % 4 {
        0 => {}
        1 => blocks.reverse(),
        2 => blocks.rotate_left(count / 3),
        _ => blocks.swap(0, count - 1),
    }
    blocks
}

fn is_false(piece: u32) -> bool {
    piece % 3 == 2
}

struct Run {
    bench: Bench,
    samples: Vec<Sample>,
    memories: Vec<Arc<Memory>>,
    verdicts: Verdicts,
}

impl Run {
    /// All torrents on one device, with one worker.
    fn new(memory: usize) -> Run {
        let bench = Bench::new(Config { workers_per_device: 1, memory, ..Config::default() });
        let samples = samples();
        let memories: Vec<_> = samples.iter().map(|_| Arc::new(Memory::new(1))).collect();
        for (key, (sample, memory)) in samples.iter().zip(&memories).enumerate() {
            let storage = Arc::clone(memory) as Arc<dyn Storage>;
            bench.disk.open_on(TorrentKey(key as u32), sample.spec("memory".as_ref()), storage);
            bench.opened();
        }
        Run { bench, samples, memories, verdicts: Verdicts::new() }
    }

    fn store(&self, key: u32, (piece, begin, data): Block) {
        self.bench.disk.store(TorrentKey(key), piece, begin, data);
    }

    fn hear(&mut self, count: usize) {
        for _ in 0..count {
            let (at, verdict) = self.bench.wait("a verdict", |event| match event {
                Event::PieceVerified { key, piece } => Some(((key.0, piece), None)),
                Event::PieceFailed { key, piece, digests } => Some(((key.0, piece), Some(digests))),
                Event::Failed { error, .. } => panic!("{error}"),
                _ => None,
            });
            assert!(self.verdicts.insert(at, verdict).is_none(), "{at:?} is judged twice");
        }
    }

    fn end(self) -> (Verdicts, Vec<Option<Vec<u8>>>) {
        assert_eq!(self.bench.disk.in_flight(), 0);
        let files = self.samples.iter().zip(&self.memories).flat_map(|(sample, memory)| {
            (0..sample.layout().files().len()).map(|file| memory.bytes(Slot::File(file)))
        });
        (self.verdicts, files.collect())
    }
}

fn one_by_one() -> (Verdicts, Vec<Option<Vec<u8>>>) {
    let mut run = Run::new(Config::default().memory);
    for key in 0..run.samples.len() {
        for piece in 0..run.samples[key].pieces() {
            blocks(&run.samples[key], piece).into_iter().for_each(|block| run.store(key as u32, block));
            run.hear(1);
        }
    }
    run.end()
}

/// The worker hangs in a write while the blocks of all pieces come, a few of each in turn.
fn together(memory: usize, stride: usize) -> (Verdicts, Vec<Option<Vec<u8>>>) {
    let mut run = Run::new(memory);
    let mut queues: Vec<(u32, Vec<Block>)> = Vec::new();
    for (key, sample) in run.samples.iter().enumerate() {
        queues.extend((0..sample.pieces()).map(|piece| (key as u32, blocks(sample, piece))));
    }
    run.memories[0].close_gate();
    let first = queues[0].1.remove(0);
    run.store(0, first);
    run.memories[0].wait_for_writer();
    let pieces = queues.len();
    while queues.iter().any(|(_, queue)| !queue.is_empty()) {
        for (key, queue) in &mut queues {
            queue.drain(..stride.min(queue.len())).for_each(|block| run.store(*key, block));
        }
    }
    run.memories[0].open_gate();
    run.hear(pieces);
    run.end()
}

#[test]
fn pieces_of_one_turn_end_as_each_alone() {
    let (verdicts, files) = one_by_one();
    for (&(key, piece), verdict) in &verdicts {
        assert_eq!(verdict.is_some(), is_false(piece), "torrent {key}, piece {piece}");
    }
    for stride in [1, 3, 16] {
        let (verdicts_together, files_together) = together(Config::default().memory, stride);
        assert_eq!(verdicts_together, verdicts, "{stride} blocks of each at a time");
        assert!(files_together == files, "{stride} blocks of each at a time");
    }
}

/// Early blocks are written at once and read back.
#[test]
fn pieces_of_one_turn_end_as_each_alone_without_memory() {
    let (verdicts, files) = one_by_one();
    let (verdicts_together, files_together) = together(2 * BLOCK as usize, 1);
    assert_eq!(verdicts_together, verdicts);
    assert!(files_together == files);
}
