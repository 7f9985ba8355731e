//! Stopping, crashing, and starting again.

#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::iter;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use common::memory::{Faults, Memory};
use common::{BLOCK, Bench, KEY, Sample, Version, sample};
use starling_disk::storage::{Slot, Storage};
use starling_disk::{Check, Config, Disk, Event, OpenSpec};
use starling_metainfo::Bitfield;

/// Opens, counting the pieces that had to be hashed.
fn reopen(bench: &Bench, sample: &Sample, memory: &Arc<Memory>, check: Check) -> (Bitfield, u32) {
    let mut spec = sample.spec_with_resume("memory".as_ref());
    spec.check = check;
    bench.disk.open_on(KEY, spec, Arc::clone(memory) as Arc<dyn Storage>);
    let mut hashed = 0;
    let have = bench.wait("Opened", |event| match event {
        Event::Checking { total, .. } => {
            hashed = total;
            None
        }
        Event::Opened { have, .. } => Some(have),
        Event::Failed { error, .. } => panic!("{error}"),
        _ => None,
    });
    (have, hashed)
}

fn list(have: &Bitfield) -> Vec<u32> {
    have.iter().collect()
}

#[test]
fn after_a_clean_stop_nothing_is_hashed() {
    let sample = sample(Version::V1, &[BLOCK * 7, 5, BLOCK * 9], BLOCK * 2);
    let memory = Arc::new(Memory::new(1));
    let bench = Bench::new(Config::default());
    reopen(&bench, &sample, &memory, Check::Trust);
    [0, 3, 5].into_iter().for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(3);
    bench.close();
    let (have, hashed) = reopen(&bench, &sample, &memory, Check::Trust);
    assert_eq!((list(&have), hashed), (vec![0, 3, 5], 0));
    bench.close();
    let (have, hashed) = reopen(&bench, &sample, &memory, Check::Force);
    assert_eq!((list(&have), hashed > 0), (vec![0, 3, 5], true));
}

#[test]
fn a_file_that_changed_is_hashed_again_and_only_that() {
    let sample = sample(Version::V1, &[BLOCK * 4, BLOCK * 4], BLOCK);
    let memory = Arc::new(Memory::new(1));
    let bench = Bench::new(Config::default());
    reopen(&bench, &sample, &memory, Check::Trust);
    (0..8).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(8);
    bench.close();
    memory.tamper(Slot::File(1), |bytes| bytes[0] ^= 1);
    let (have, hashed) = reopen(&bench, &sample, &memory, Check::Trust);
    assert_eq!((list(&have), hashed), (vec![0, 1, 2, 3, 5, 6, 7], 4));
    bench.close();
    memory.tamper(Slot::File(0), |bytes| bytes.truncate(BLOCK as usize));
    let (have, _) = reopen(&bench, &sample, &memory, Check::Trust);
    assert_eq!(list(&have), [0, 5, 6, 7]);
    bench.close();
    memory.remove(Slot::File(0)).unwrap();
    let (have, hashed) = reopen(&bench, &sample, &memory, Check::Trust);
    assert_eq!((list(&have), hashed), (vec![5, 6, 7], 0));
}

#[test]
fn damaged_resume_files_mean_a_full_check_of_what_exists() {
    let sample = sample(Version::Hybrid, &[BLOCK * 4, BLOCK * 4], BLOCK);
    let memory = Arc::new(Memory::new(1));
    let bench = Bench::new(Config::default());
    reopen(&bench, &sample, &memory, Check::Trust);
    (4..8).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(4);
    bench.close();
    for damage in [&b"not a resume file at all, but rather long, as such texts may be"[..], b"", &[0; 100]] {
        memory.tamper(Slot::Resume, |bytes| *bytes = damage.to_vec());
        let (have, hashed) = reopen(&bench, &sample, &memory, Check::Trust);
        assert_eq!((list(&have), hashed), (vec![4, 5, 6, 7], 4), "the missing file is not hashed");
        bench.close();
        assert_eq!(reopen(&bench, &sample, &memory, Check::Trust).1, 0, "and then all is in order again");
        bench.close();
    }
}

#[test]
fn after_a_crash_only_what_was_not_synced_is_hashed() {
    let sample = sample(Version::V1, &[BLOCK * 8], BLOCK);
    let memory = Arc::new(Memory::new(1));
    let config = Config { checkpoint_interval: Duration::from_secs(3600), ..Config::default() };
    let bench = Bench::new(config);
    reopen(&bench, &sample, &memory, Check::Trust);
    (0..4).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(4);
    bench.disk.checkpoint(KEY);
    // The checkpoint's record is the first thing synced to the journal after its snapshot.
    wait_until(|| list(&synced(&sample, &memory)).len() == 4);
    (4..6).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(2);
    wait_until(|| unsynced(&sample, &memory).len() == 2);
    memory.kill();
    bench.disk.shutdown();
    let memory = Arc::new(memory.reborn(None));
    let bench = Bench::new(Config::default());
    let (have, hashed) = reopen(&bench, &sample, &memory, Check::Trust);
    assert_eq!((list(&have), hashed), ((0..6).collect(), 2));
}

/// What was written since a clean stop and is on no record yet does not cost a check of all.
#[test]
fn a_crash_soon_after_a_clean_stop_costs_no_check() {
    let sample = sample(Version::V1, &[BLOCK * 8], BLOCK * 2);
    let memory = Arc::new(Memory::new(1));
    let bench = Bench::new(Config::default());
    reopen(&bench, &sample, &memory, Check::Trust);
    (0..2).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(2);
    bench.close();
    reopen(&bench, &sample, &memory, Check::Trust);
    let (begin, data) = sample.blocks(3).remove(0);
    bench.disk.store(KEY, 3, begin, data);
    wait_until(|| memory.bytes(Slot::File(0)).unwrap().len() as u64 > BLOCK * 4);
    memory.kill();
    bench.disk.shutdown();
    let memory = Arc::new(memory.reborn(None));
    let (have, hashed) = reopen(&Bench::new(Config::default()), &sample, &memory, Check::Trust);
    assert_eq!((list(&have), hashed), (vec![0, 1], 0));
}

/// The folder of the resume file is full for a while, the data's is not: what was verified
/// meanwhile is put on record later.
#[test]
fn a_journal_that_could_not_be_written_catches_up() {
    let sample = sample(Version::V1, &[BLOCK * 8], BLOCK);
    let memory = Arc::new(Memory::new(1));
    let config = Config { checkpoint_interval: Duration::from_secs(3600), ..Config::default() };
    let bench = Bench::new(config);
    reopen(&bench, &sample, &memory, Check::Trust);
    sample.store_piece(&bench.disk, 0);
    bench.verified(1);
    wait_until(|| unsynced(&sample, &memory).len() == 1);
    memory.set_faults(Faults { room: Some(0), spare_data: true, ..Faults::default() });
    (1..5).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(4);
    wait_until(|| memory.refused() > 1);
    memory.set_faults(Faults::default());
    wait_until(|| unsynced(&sample, &memory).len() == 5);
}

/// A file that lost its end while nobody ran: what was there is not believed to be.
#[test]
fn after_a_crash_a_short_file_is_not_believed() {
    let sample = sample(Version::V1, &[BLOCK * 8], BLOCK);
    let memory = Arc::new(Memory::new(1));
    let bench = Bench::new(Config::default());
    reopen(&bench, &sample, &memory, Check::Trust);
    (0..8).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(8);
    bench.disk.checkpoint(KEY);
    wait_until(|| synced(&sample, &memory).count() == 8);
    memory.kill();
    bench.disk.shutdown();
    let memory = Arc::new(memory.reborn(None));
    memory.tamper(Slot::File(0), |bytes| bytes.truncate(BLOCK as usize * 5 + 1));
    let (have, _) = reopen(&Bench::new(Config::default()), &sample, &memory, Check::Trust);
    assert_eq!(list(&have), [0, 1, 2, 3, 4]);
}

/// What a check found bad is not claimed again by the resume file from before the check.
#[test]
fn a_crash_after_a_check_does_not_bring_rot_back() {
    let sample = sample(Version::V1, &[BLOCK * 4], BLOCK);
    let memory = Arc::new(Memory::new(1));
    let bench = Bench::new(Config::default());
    reopen(&bench, &sample, &memory, Check::Trust);
    (0..4).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(4);
    bench.close();
    memory.rot(Slot::File(0), |bytes| bytes[0] ^= 1);
    assert_eq!(list(&reopen(&bench, &sample, &memory, Check::Trust).0), [0, 1, 2, 3], "nothing tells");
    bench.close();
    assert_eq!(list(&reopen(&bench, &sample, &memory, Check::Force).0), [1, 2, 3]);
    memory.kill();
    bench.disk.shutdown();
    let memory = Arc::new(memory.reborn(None));
    let (have, _) = reopen(&Bench::new(Config::default()), &sample, &memory, Check::Trust);
    assert_eq!(list(&have), [1, 2, 3]);
}

/// A sync that passes while a block is being written does not count for that block.
#[test]
fn a_write_under_way_is_not_covered_by_a_sync_before_its_end() {
    for power_cut in 0..8 {
        let sample = sample(Version::V1, &[BLOCK * 2], BLOCK);
        let memory = Arc::new(Memory::new(1));
        let config = Config { checkpoint_interval: Duration::from_secs(3600), ..Config::default() };
        let bench = Bench::new(config);
        reopen(&bench, &sample, &memory, Check::Trust);
        sample.store_piece(&bench.disk, 0);
        bench.verified(1);
        memory.close_gate();
        sample.store_piece(&bench.disk, 1);
        memory.wait_for_writer();
        bench.disk.checkpoint(KEY);
        wait_until(|| synced(&sample, &memory).count() == 1);
        memory.open_gate();
        bench.verified(1);
        bench.disk.checkpoint(KEY);
        wait_until(|| synced(&sample, &memory).count() == 2);
        assert_true_after_power_cut(&sample, &memory, power_cut, Some(2));
    }
}

/// Nor does a checkpoint count for what was verified, and put on record, after it began.
#[test]
fn a_checkpoint_does_not_cover_what_was_verified_meanwhile() {
    for power_cut in 0..8 {
        let sample = sample(Version::V1, &[BLOCK * 80], BLOCK);
        let memory = Arc::new(Memory::new(1));
        let config = Config { checkpoint_interval: Duration::from_secs(3600), ..Config::default() };
        let bench = Bench::new(config);
        reopen(&bench, &sample, &memory, Check::Trust);
        sample.store_piece(&bench.disk, 0);
        bench.verified(1);
        memory.have_syncs_meet(2);
        bench.disk.checkpoint(KEY);
        memory.wait_for_sync();
        (1..80).for_each(|piece| sample.store_piece(&bench.disk, piece)); // enough for a record
        bench.verified(79);
        assert!(unsynced(&sample, &memory).len() > 1);
        memory.have_syncs_meet(0);
        wait_until(|| synced(&sample, &memory).count() > 0);
        assert_true_after_power_cut(&sample, &memory, power_cut, None);
    }
}

/// What boundary pieces keep of an unwanted file moves when the file becomes wanted, and is
/// safe at its new place before the old one goes.
#[test]
fn a_power_cut_after_a_file_became_wanted_loses_nothing() {
    for power_cut in 0..8 {
        let sample = sample(Version::V1, &[BLOCK + 100, BLOCK * 3], BLOCK * 2);
        let memory = Arc::new(Memory::new(1));
        let bench = Bench::new(Config::default());
        let mut spec = sample.spec_with_resume("memory".as_ref());
        spec.wanted = vec![true, false];
        bench.disk.open_on(KEY, spec, Arc::clone(&memory) as Arc<dyn Storage>);
        bench.opened();
        sample.store_piece(&bench.disk, 0);
        bench.verified(1);
        bench.disk.checkpoint(KEY);
        wait_until(|| synced(&sample, &memory).count() == 1);
        assert!(memory.bytes(Slot::Parts).is_some());
        bench.disk.set_wanted(KEY, vec![true, true]);
        wait_until(|| memory.bytes(Slot::Parts).is_none());
        assert_true_after_power_cut(&sample, &memory, power_cut, Some(1));
    }
}

/// After a power cut now so many pieces are claimed, if told, and all of them are there.
fn assert_true_after_power_cut(sample: &Sample, memory: &Memory, seed: u64, count: Option<u32>) {
    memory.kill();
    let bench = Bench::new(Config::default());
    let memory = Arc::new(memory.reborn(Some(seed)));
    let (have, _) = reopen(&bench, sample, &memory, Check::Trust);
    assert!(count.is_none_or(|count| have.count() == count), "power cut {seed}: {:?}", list(&have));
    bench.close();
    let (truth, _) = reopen(&bench, sample, &memory, Check::Force);
    let wrong: Vec<u32> = have.iter().filter(|&piece| !truth.get(piece)).collect();
    assert!(wrong.is_empty(), "power cut {seed}: {wrong:?} are claimed");
}

fn journal(sample: &Sample, memory: &Memory) -> Option<starling_disk::resume::Resume> {
    let identity = starling_disk::resume::Identity::of(&sample.info);
    starling_disk::resume::parse(&memory.bytes(Slot::Resume)?, &identity).ok()
}

fn synced(sample: &Sample, memory: &Memory) -> Bitfield {
    journal(sample, memory).map(|journal| journal.synced).unwrap_or_default()
}

fn unsynced(sample: &Sample, memory: &Memory) -> Vec<u32> {
    journal(sample, memory).map(|journal| journal.unsynced).unwrap_or_default()
}

fn wait_until(done: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never happened");
        std::thread::yield_now();
    }
}

/// Killed, or cut from power, before every write and sync there is, checkpoints and a clean
/// stop included: no piece is claimed that is not there, and the rest can be fetched.
#[test]
fn no_crash_makes_a_bad_piece_count() {
    let sample = sample(Version::V1, &[BLOCK * 11 + 3, 1, BLOCK * 9], BLOCK * 2);
    for power_cut in [false, true] {
        let survived = (0..200).find(|&moment| !crash_once(&sample, moment, power_cut));
        assert!(survived.is_some_and(|moment| moment > 20), "{survived:?}: every moment was tried");
    }
}

/// Whether it crashed at all, and did not come to its end before.
fn crash_once(sample: &Sample, moment: u32, power_cut: bool) -> bool {
    let memory = Arc::new(Memory::new(1));
    let (tell, events) = channel();
    let config =
        Config { workers_per_device: 2, checkpoint_interval: Duration::from_secs(3600), ..Config::default() };
    let disk = Disk::new(config, move |event| drop(tell.send(event)));
    let events = || iter::from_fn(|| Some(events.recv_timeout(Duration::from_secs(60)).unwrap()));
    let spec = sample.spec_with_resume("memory".as_ref());
    disk.open_on(KEY, spec, Arc::clone(&memory) as Arc<dyn Storage>);
    events().find(|event| matches!(event, Event::Opened { .. })).unwrap();
    memory.kill_in(moment);
    let half = sample.pieces() / 2;
    for pieces in [0..half, half..sample.pieces()] {
        let count = pieces.len();
        pieces.for_each(|piece| sample.store_piece(&disk, piece));
        if events().take(count).any(|event| matches!(event, Event::Failed { .. })) {
            break;
        }
        disk.checkpoint(KEY); // goes on beside the next half, or the end
    }
    disk.close(KEY);
    events().find(|event| matches!(event, Event::Closed { .. })).unwrap();
    let crashed = memory.is_dead();
    memory.kill();
    disk.shutdown();
    let next = Arc::new(memory.reborn(power_cut.then_some(moment.into())));
    let bench = Bench::new(Config::default());
    let (have, _) = reopen(&bench, sample, &next, Check::Trust);
    bench.close();
    let (truth, _) = reopen(&bench, sample, &next, Check::Force);
    let wrong: Vec<u32> = have.iter().filter(|&piece| !truth.get(piece)).collect();
    assert!(wrong.is_empty(), "moment {moment}, power cut {power_cut}: {wrong:?} are claimed");
    // And it can be finished.
    let missing: Vec<u32> = truth.missing().collect();
    missing.iter().for_each(|&piece| sample.store_piece(&bench.disk, piece));
    assert_eq!(bench.verified(missing.len()), missing);
    bench.close();
    for file in [0, 2] {
        assert!(next.bytes(Slot::File(file)).unwrap() == sample.file_data(file));
    }
    crashed
}

#[test]
fn existing_data_is_found_without_a_resume_file() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V2, &[BLOCK * 5 + 1, 0, 3], BLOCK * 2);
    sample.write_files(root.path());
    let bench = Bench::new(Config::default());
    assert!(bench.open(sample.spec_with_resume(root.path())).is_full());
    bench.close();
    bench.disk.open(KEY, sample.spec_with_resume(root.path()));
    let have = bench.wait("Opened", |event| match event {
        Event::Checking { .. } => panic!("checked again"),
        Event::Opened { have, .. } => Some(have),
        _ => None,
    });
    assert!(have.is_full());
}

#[test]
fn a_check_on_demand_finds_rot_and_gifts() {
    let sample = sample(Version::V1, &[BLOCK * 4], BLOCK);
    let memory = Arc::new(Memory::new(1));
    let bench = Bench::new(Config::default());
    reopen(&bench, &sample, &memory, Check::Trust);
    (0..3).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(3);
    memory.tamper(Slot::File(0), |bytes| {
        *bytes = sample.data.clone();
        bytes[BLOCK as usize] ^= 1;
    });
    bench.disk.check(KEY);
    let (mut lost, mut found) = (Vec::new(), Vec::new());
    let have = bench.wait("Checked", |event| match event {
        Event::PieceLost { piece, .. } => {
            lost.push(piece);
            None
        }
        Event::PieceVerified { piece, .. } => {
            found.push(piece);
            None
        }
        Event::Checked { have, .. } => Some(have),
        _ => None,
    });
    assert_eq!((lost, found, list(&have)), (vec![1], vec![3], vec![0, 2, 3]));
    sample.store_piece(&bench.disk, 1);
    assert_eq!(bench.verified(1), [1]);
    bench.close();
    assert_eq!(reopen(&bench, &sample, &memory, Check::Trust).0.count(), 4);
}

/// Nobody told the hashes of pieces (BEP 52), and all the data is there: it proves itself.
#[test]
fn a_file_that_is_right_as_a_whole_tells_the_hashes_of_its_pieces() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V2, &[BLOCK * 41 + 5, 7, BLOCK * 4], BLOCK * 2);
    sample.write_files(root.path());
    let mut spec = sample.spec_with_resume(root.path());
    spec.piece_layers.clear();
    let bench = Bench::new(Config::default());
    let open = |check| {
        // What cannot be told right or wrong could be anybody's.
        bench.disk.open(KEY, OpenSpec { check, overwrite: true, ..spec.clone() });
        bench.wait("Opened", |event| match event {
            Event::Opened { have, piece_layers, .. } => Some((have, piece_layers)),
            _ => None,
        })
    };
    for check in [Check::Trust, Check::Trust, Check::Force] {
        let (have, layers) = open(check);
        assert!(have.is_full() && layers == sample.layers, "{check:?} {have:?}");
        bench.close();
    }
    let path = sample.path(root.path(), 0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[70_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    std::fs::remove_dir_all(root.path().join("state")).unwrap();
    let (have, layers) = open(Check::Trust);
    assert_eq!((list(&have), layers.len()), (vec![21, 22, 23], 1), "nothing is known of the first file");
}
