//! Full, broken and slow disks.

#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::memory::{Faults, Memory};
use common::{BLOCK, Bench, KEY, Sample, Version, sample};
use starling_disk::storage::{Slot, Storage};
use starling_disk::{Check, Config, DiskError, Event, TorrentKey};

fn open(bench: &Bench, sample: &Sample, memory: &Arc<Memory>) -> u32 {
    open_as(bench, KEY, sample, memory)
}

fn open_as(bench: &Bench, key: TorrentKey, sample: &Sample, memory: &Arc<Memory>) -> u32 {
    let spec = sample.spec_with_resume("memory".as_ref());
    bench.disk.open_on(key, spec, Arc::clone(memory) as Arc<dyn Storage>);
    bench.opened().count()
}

/// The truth: what a full check finds.
fn assert_whole(bench: &Bench, sample: &Sample, memory: &Arc<Memory>) {
    let mut spec = sample.spec_with_resume("memory".as_ref());
    spec.check = Check::Force;
    bench.disk.open_on(KEY, spec, Arc::clone(memory) as Arc<dyn Storage>);
    assert!(bench.opened().is_full());
}

/// Whichever write finds the disk full: it is told, nothing is lost, and it goes on by itself.
#[test]
fn a_full_disk_at_any_write_is_survived() {
    let sample = sample(Version::Hybrid, &[BLOCK * 5 + 3, 9, BLOCK * 2], BLOCK * 2);
    for moment in 0..40 {
        let memory = Arc::new(Memory::new(1));
        let bench = Bench::new(Config { probe_interval: Duration::from_millis(1), ..Config::default() });
        open(&bench, &sample, &memory);
        memory.set_faults(Faults { fail_write: Some(moment), ..Faults::default() });
        (0..sample.pieces()).for_each(|piece| sample.store_piece(&bench.disk, piece));
        let all: Vec<u32> = (0..sample.pieces()).collect();
        assert_eq!(bench.verified(all.len()), all, "moment {moment}");
        memory.set_faults(Faults::default());
        bench.close();
        assert_eq!(bench.disk.in_flight(), 0);
        assert_whole(&bench, &sample, &memory);
    }
}

#[test]
fn a_full_disk_pauses_and_goes_on_when_there_is_room() {
    let sample = sample(Version::V1, &[BLOCK * 40], BLOCK * 4);
    let memory = Arc::new(Memory::new(1));
    let bench = Bench::new(Config { probe_interval: Duration::from_secs(3600), ..Config::default() });
    open(&bench, &sample, &memory);
    memory.set_faults(Faults { room: Some(BLOCK * 10 + 100), spare_resume: true, ..Faults::default() });
    (0..10).for_each(|piece| sample.store_piece(&bench.disk, piece));
    let (error, recoverable) = bench.failed();
    assert!(matches!(error, DiskError::Full(_)) && recoverable, "{error}");
    assert!(bench.disk.in_flight() >= BLOCK as usize * 29, "what could not be written is kept");
    bench.disk.probe(KEY);
    memory.set_faults(Faults::default());
    bench.disk.probe(KEY);
    bench.recovered();
    bench.close_after(|| bench.disk.in_flight() == 0);
    assert_whole(&bench, &sample, &memory);
}

#[test]
fn short_writes_are_completed() {
    let sample = sample(Version::V1, &[BLOCK * 9 + 1, 5], BLOCK * 4);
    let memory = Arc::new(Memory::new(1));
    let bench = Bench::new(Config::default());
    open(&bench, &sample, &memory);
    memory.set_faults(Faults { short: Some(1001), ..Faults::default() });
    (0..sample.pieces()).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(sample.pieces() as usize);
    bench.close();
    assert_whole(&bench, &sample, &memory);
}

/// The system drops what it could not sync: the pieces in it must not count any more.
#[test]
fn a_failed_sync_makes_its_pieces_prove_themselves() {
    let sample = sample(Version::V1, &[BLOCK * 8], BLOCK);
    let memory = Arc::new(Memory::new(1));
    let config = Config { checkpoint_interval: Duration::from_secs(3600), ..Config::default() };
    let bench = Bench::new(config);
    open(&bench, &sample, &memory);
    (0..6).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(6);
    memory.set_faults(Faults { fail_sync: Some(0), spare_resume: true, ..Faults::default() });
    bench.disk.checkpoint(KEY);
    let (mut lost, mut failed) = (Vec::new(), false);
    bench.wait("loss and failure", |event| {
        match event {
            Event::PieceLost { piece, .. } => lost.push(piece),
            Event::Failed { recoverable, .. } => failed = recoverable,
            _ => {}
        }
        (lost.len() == 6 && failed).then_some(())
    });
    bench.disk.checkpoint(KEY);
    bench.recovered();
    (0..8).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(8);
    bench.close();
    assert_whole(&bench, &sample, &memory);
}

/// Early blocks that memory has no room for are written and read back to be hashed. When
/// that fails it is the disk's fault, and no peer is accused of a false piece.
#[test]
fn a_failed_read_accuses_nobody() {
    let sample = sample(Version::V1, &[BLOCK * 16], BLOCK * 16);
    let memory = Arc::new(Memory::new(1));
    let config =
        Config { memory: 2 * BLOCK as usize, probe_interval: Duration::from_millis(1), ..Config::default() };
    let bench = Bench::new(config);
    open(&bench, &sample, &memory);
    memory.set_faults(Faults { fail_read: Some(3), ..Faults::default() });
    let mut blocks = sample.blocks(0).into_iter();
    let first = blocks.next().unwrap();
    blocks.rev().for_each(|(begin, data)| bench.disk.store(KEY, 0, begin, data));
    let second = BLOCK as usize..2 * BLOCK as usize;
    let is_there = |bytes: Vec<u8>| bytes.get(second.clone()) == Some(&sample.data[second.clone()]);
    while !memory.bytes(Slot::File(0)).is_some_and(is_there) {
        std::thread::yield_now();
    }
    bench.disk.store(KEY, 0, first.0, first.1);
    bench.failed();
    bench.wait("PieceVerified", |event| match event {
        Event::PieceFailed { .. } => panic!("the peers did nothing"),
        event => matches!(event, Event::PieceVerified { .. }).then_some(()),
    });
    bench.close();
    assert_whole(&bench, &sample, &memory);
}

/// A block written before the failed sync may be gone as well: that its hash was right when
/// it came says nothing, and the piece is judged by what is there.
#[test]
fn a_failed_sync_makes_pieces_in_progress_prove_themselves_too() {
    let sample = sample(Version::V1, &[BLOCK * 2], BLOCK * 2);
    let memory = Arc::new(Memory::new(1));
    let bench = Bench::new(Config::default());
    open(&bench, &sample, &memory);
    let mut blocks = sample.blocks(0).into_iter();
    let (begin, data) = blocks.next().unwrap();
    bench.disk.store(KEY, 0, begin, data);
    while memory.bytes(Slot::File(0)).is_none_or(|bytes| bytes.is_empty()) {
        std::thread::yield_now();
    }
    memory.set_faults(Faults { fail_sync: Some(0), spare_resume: true, ..Faults::default() });
    bench.disk.checkpoint(KEY);
    bench.failed();
    let (begin, data) = blocks.next().unwrap();
    bench.disk.store(KEY, 0, begin, data);
    bench.wait("PieceFailed", |event| match event {
        Event::PieceVerified { .. } => panic!("half of it is not there"),
        Event::PieceFailed { piece, .. } => (piece == 0).then_some(()),
        _ => None,
    });
    bench.disk.retry(KEY, 0, &[]);
    sample.store_piece(&bench.disk, 0);
    bench.verified(1);
    bench.close();
    assert_whole(&bench, &sample, &memory);
}

/// What a failed sync left readable is not on the medium for that: it is synced again, and
/// counts from then on.
#[test]
fn what_a_failed_sync_left_is_synced_again() {
    for power_cut in 0..8 {
        let sample = sample(Version::V1, &[BLOCK * 8], BLOCK);
        let memory = Arc::new(Memory::new(1));
        let config = Config { checkpoint_interval: Duration::from_secs(3600), ..Config::default() };
        let bench = Bench::new(config);
        open(&bench, &sample, &memory);
        (0..6).for_each(|piece| sample.store_piece(&bench.disk, piece));
        bench.verified(6);
        let faults =
            Faults { fail_sync: Some(0), failed_sync_keeps: true, spare_resume: true, ..Faults::default() };
        memory.set_faults(faults);
        bench.disk.checkpoint(KEY);
        bench.failed();
        bench.disk.checkpoint(KEY);
        bench.recovered();
        memory.kill();
        let bench = Bench::new(Config::default());
        let next = Arc::new(memory.reborn(Some(power_cut)));
        assert_eq!(open(&bench, &sample, &next), 6, "all that was checkpointed");
        bench.close();
        let mut spec = sample.spec_with_resume("memory".as_ref());
        spec.check = Check::Force;
        bench.disk.open_on(KEY, spec, Arc::clone(&next) as Arc<dyn Storage>);
        assert_eq!(bench.opened().count(), 6, "power cut {power_cut}: and it is there");
    }
}

/// Many small files take one wait for the medium together, not one each.
#[test]
fn many_files_are_synced_side_by_side() {
    let sample = sample(Version::V2, &[3; 200], BLOCK);
    let memory = Arc::new(Memory::new(1));
    let bench = Bench::new(Config { checkpoint_interval: Duration::from_secs(3600), ..Config::default() });
    open(&bench, &sample, &memory);
    memory.have_syncs_meet(16);
    (0..200).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(200);
    bench.close();
    assert_whole(&bench, &sample, &memory);
}

/// Whichever of many syncs fails, the pieces it was for are looked at, and no others.
#[test]
fn one_sync_of_many_that_fails_is_not_overlooked() {
    for moment in [0, 7, 39] {
        let sample = sample(Version::V1, &[BLOCK * 2; 40], BLOCK);
        let memory = Arc::new(Memory::new(1));
        let config = Config { checkpoint_interval: Duration::from_secs(3600), ..Config::default() };
        let bench = Bench::new(config);
        open(&bench, &sample, &memory);
        (0..80).for_each(|piece| sample.store_piece(&bench.disk, piece));
        bench.verified(80);
        memory.set_faults(Faults { fail_sync: Some(moment), spare_resume: true, ..Faults::default() });
        bench.disk.checkpoint(KEY);
        let mut lost = Vec::new();
        bench.wait("loss and failure", |event| match event {
            Event::PieceLost { piece, .. } => {
                lost.push(piece);
                None
            }
            Event::Failed { recoverable, .. } => recoverable.then_some(()),
            _ => None,
        });
        assert_eq!(lost, [lost[0] & !1, lost[0] | 1], "both pieces of one file");
        bench.disk.checkpoint(KEY);
        bench.recovered();
        lost.iter().for_each(|&piece| sample.store_piece(&bench.disk, piece));
        bench.verified(2);
        bench.close();
        assert_whole(&bench, &sample, &memory);
    }
}

#[test]
fn a_slow_disk_holds_up_nobody_else_and_memory_stays_bounded() {
    let (slow_one, fast_one) =
        (sample(Version::V1, &[BLOCK * 256], BLOCK * 4), sample(Version::V2, &[BLOCK * 255], BLOCK * 4));
    let (slow, fast) = (Arc::new(Memory::new(1)), Arc::new(Memory::new(2)));
    let limit = 64 * BLOCK as usize;
    let bench = Bench::new(Config { memory: limit, ..Config::default() });
    let (slow_key, fast_key) = (TorrentKey(1), TorrentKey(2));
    open_as(&bench, slow_key, &slow_one, &slow);
    open_as(&bench, fast_key, &fast_one, &fast);
    slow.close_gate();
    let mut told = 0;
    let mut slow_blocks =
        (0..64).flat_map(|piece| slow_one.blocks(piece).into_iter().map(move |b| (piece, b)));
    while bench.disk.room(slow_key) {
        let (piece, (begin, data)) = slow_blocks.next().unwrap();
        bench.disk.store(slow_key, piece, begin, data);
        told += 1;
    }
    assert!(told <= 33, "a torrent alone takes half at most, not {told}");
    let mut verified = 0;
    for piece in 0..fast_one.pieces() {
        for (begin, data) in fast_one.blocks(piece) {
            while !bench.disk.room(fast_key) {
                bench.wait("Room", |event| match event {
                    Event::Room { key } => (key == fast_key).then_some(()),
                    Event::PieceVerified { .. } => {
                        verified += 1;
                        None
                    }
                    _ => None,
                });
            }
            bench.disk.store(fast_key, piece, begin, data);
            assert!(bench.disk.in_flight() <= limit);
        }
    }
    bench.verified(fast_one.pieces() as usize - verified);
    assert!(!bench.disk.room(slow_key));
    slow.open_gate();
    bench.wait("Room", |event| matches!(event, Event::Room { key } if key == slow_key).then_some(()));
    for (piece, (begin, data)) in slow_blocks {
        bench.disk.store(slow_key, piece, begin, data);
    }
    bench.verified(slow_one.pieces() as usize - told / 4 - 1);
}

#[test]
fn room_for_everything_is_taken_at_the_start_if_wished() {
    let sample = sample(Version::V1, &[BLOCK * 9, 0, 5], BLOCK * 4);
    let memory = Arc::new(Memory::new(1));
    let bench = Bench::new(Config::default());
    let mut spec = sample.spec_with_resume("memory".as_ref());
    spec.allocate = starling_disk::Allocate::Full;
    memory.set_faults(Faults { room: Some(BLOCK * 8), spare_resume: true, ..Faults::default() });
    bench.disk.open_on(KEY, spec.clone(), Arc::clone(&memory) as Arc<dyn Storage>);
    let (error, recoverable) = bench.failed();
    assert!(matches!(error, DiskError::Full(_)) && recoverable, "{error}");
    memory.set_faults(Faults::default());
    bench.disk.open_on(KEY, spec, Arc::clone(&memory) as Arc<dyn Storage>);
    bench.opened();
    assert_eq!(memory.bytes(Slot::File(0)).unwrap().len() as u64, BLOCK * 9);
}
