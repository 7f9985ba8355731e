//! Bytes that change on disk while they are served.

#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::sync::Arc;

use common::memory::Memory;
use common::{BLOCK, Bench, KEY, Sample, Version, sample};
use starling_disk::storage::{Slot, Storage};
use starling_disk::{Config, Event};
use starling_metainfo::BLOCK_LENGTH;

/// All of the sample is there.
fn seeder(version: Version) -> (Bench, Sample, Arc<Memory>) {
    let sample = sample(version, &[BLOCK * 8], BLOCK * 2);
    let memory = Arc::new(Memory::new(1));
    let bench = Bench::new(Config::default());
    open(&bench, &sample, &memory);
    (0..4).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(4);
    (bench, sample, memory)
}

fn open(bench: &Bench, sample: &Sample, memory: &Arc<Memory>) -> Vec<u32> {
    let spec = sample.spec_with_resume("memory".as_ref());
    bench.disk.open_on(KEY, spec, Arc::clone(memory) as Arc<dyn Storage>);
    bench.opened().iter().collect()
}

/// Uploads a block; what was found lost meanwhile.
fn serve(bench: &Bench, piece: u32) -> Vec<u32> {
    bench.disk.read(KEY, 7, piece, 0, BLOCK_LENGTH);
    answered(bench).1
}

/// Whether the read was answered with bytes, and what was found lost by then.
fn answered(bench: &Bench) -> (bool, Vec<u32>) {
    let mut lost = Vec::new();
    let read = bench.wait("Read", |event| match event {
        Event::Read { result, .. } => Some(result.is_ok()),
        Event::PieceLost { piece, .. } => {
            lost.push(piece);
            None
        }
        _ => None,
    });
    (read, lost)
}

/// Whichever hashes the torrent has: the piece is found while it is uploaded, and it alone.
#[test]
fn a_byte_that_rots_under_a_seeder_is_found_by_serving() {
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        let (bench, sample, memory) = seeder(version);
        memory.tamper(Slot::File(0), |bytes| bytes[BLOCK as usize * 3] ^= 1);
        let lost: Vec<u32> = (0..1000).map(|_| serve(&bench, 1)).find(|lost| !lost.is_empty()).unwrap();
        assert_eq!(lost, [1], "{version:?}");
        bench.close();
        assert_eq!(open(&bench, &sample, &memory), [0, 2, 3], "{version:?}: the next start knows");
        sample.store_piece(&bench.disk, 1);
        assert_eq!(bench.verified(1), [1]);
        bench.close();
        assert!(memory.bytes(Slot::File(0)).unwrap() == sample.data);
    }
}

/// Of sixteen bytes served one is hashed, no more, and what is good stays.
#[test]
fn looking_costs_a_sixteenth_of_serving() {
    let (bench, _, memory) = seeder(Version::Hybrid);
    let before = memory.bytes_read();
    let blocks = 32 * 20;
    (0..blocks).for_each(|n| assert!(serve(&bench, n % 4).is_empty()));
    bench.close();
    let (served, read) = (u64::from(blocks) * BLOCK, memory.bytes_read() - before);
    let looked = read - served;
    assert!(looked > 0 && looked <= served / 16, "{looked} bytes hashed for {served} served");
}

/// What was found lost is not claimed again by the journal's older words.
#[test]
fn a_lost_piece_stays_lost_after_a_crash() {
    let (bench, sample, memory) = seeder(Version::V1);
    bench.close();
    assert_eq!(open(&bench, &sample, &memory), [0, 1, 2, 3]);
    memory.rot(Slot::File(0), |bytes| bytes[BLOCK as usize * 3] ^= 1);
    (0..1000).map(|_| serve(&bench, 1)).find(|lost| !lost.is_empty()).unwrap();
    memory.kill();
    let memory = Arc::new(memory.reborn(Some(3)));
    assert_eq!(open(&Bench::new(Config::default()), &sample, &memory), [0, 2, 3]);
}

/// A file that is gone is noticed by the first read of it.
#[test]
fn a_file_that_vanishes_is_noticed_at_once() {
    let (bench, _, memory) = seeder(Version::V1);
    memory.remove(Slot::File(0)).unwrap();
    assert_eq!(serve(&bench, 2), [0, 1, 2, 3]);
}

/// Nobody has to ask for each of them: what lies beyond the end of a file is lost all at once.
#[test]
fn a_file_cut_short_loses_all_that_lay_beyond_its_end() {
    for version in [Version::V1, Version::Hybrid] {
        let (bench, sample, memory) = seeder(version);
        bench.close();
        assert_eq!(open(&bench, &sample, &memory), [0, 1, 2, 3]);
        let before = memory.bytes_read();
        memory.tamper(Slot::File(0), |bytes| bytes.truncate(BLOCK as usize * 3));
        bench.disk.read(KEY, 7, 3, 0, BLOCK_LENGTH);
        assert_eq!(answered(&bench), (false, vec![1, 2, 3]), "{version:?}: of piece 1 a half remains");
        assert_eq!(memory.bytes_read() - before, 0, "{version:?}: nothing has to be hashed for that");
        assert!(serve(&bench, 0).is_empty(), "{version:?}: what is there is served on");
        bench.close();
        assert_eq!(open(&bench, &sample, &memory), [0], "{version:?}: the next start knows");
    }
}

/// Of several files only the one that is gone is given up, and pieces that reach into it.
#[test]
fn a_file_that_is_gone_takes_no_other_with_it() {
    let sample = sample(Version::V1, &[BLOCK * 3, BLOCK * 4, BLOCK * 5], BLOCK * 2);
    let memory = Arc::new(Memory::new(1));
    let bench = Bench::new(Config::default());
    open(&bench, &sample, &memory);
    (0..6).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(6);
    memory.remove(Slot::File(1)).unwrap();
    bench.disk.read(KEY, 7, 2, 0, BLOCK_LENGTH);
    assert_eq!(answered(&bench), (false, vec![1, 2, 3]));
    [0, 4, 5].iter().for_each(|&piece| assert!(serve(&bench, piece).is_empty()));
}
