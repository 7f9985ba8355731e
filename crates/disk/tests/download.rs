//! Blocks in, files out.

#![allow(clippy::unwrap_used)] // a test may

mod common;

use common::{BLOCK, Bench, KEY, Version, sample};
use starling_disk::{Config, Event};
use starling_metainfo::{BLOCK_LENGTH, Sha256Hash};

const VERSIONS: [Version; 4] = [Version::V1, Version::PaddedV1, Version::V2, Version::Hybrid];

#[test]
fn every_version_and_shape_ends_as_its_files() {
    let shapes: [&[u64]; 7] = [
        &[1],
        &[BLOCK * 9 + 7],
        &[5, 0, BLOCK * 4, 1, BLOCK * 3 + 1],
        &[BLOCK * 2, BLOCK * 2],
        &[0, 1],
        &[1, 2, 3, 4, 5],
        &[BLOCK * 8 + 1, 3, 0],
    ];
    for version in VERSIONS {
        for lengths in shapes {
            let root = tempfile::tempdir().unwrap();
            let sample = sample(version, lengths, BLOCK * 4);
            let bench = Bench::new(Config::default());
            assert_eq!(bench.open(sample.spec(root.path())).count(), 0);
            (0..sample.pieces()).for_each(|piece| sample.store_piece(&bench.disk, piece));
            let all: Vec<u32> = (0..sample.pieces()).collect();
            assert_eq!(bench.verified(all.len()), all, "{version:?} {lengths:?}");
            bench.close();
            assert_eq!(bench.disk.in_flight(), 0);
            sample.assert_on_disk(root.path());
        }
    }
}

#[test]
fn any_order_of_blocks_will_do() {
    for version in VERSIONS {
        let root = tempfile::tempdir().unwrap();
        let sample = sample(version, &[BLOCK * 33 + 3, 5, 0, BLOCK * 7], BLOCK * 16);
        let bench = Bench::new(Config::default());
        bench.open(sample.spec(root.path()));
        let pieces = 0..sample.pieces();
        let mut blocks: Vec<_> = pieces
            .flat_map(|piece| sample.blocks(piece).into_iter().map(move |(b, d)| (piece, b, d)))
            .collect();
        starling_shuffle(&mut blocks);
        for (piece, begin, data) in blocks.iter().chain(&blocks[..5]) {
            bench.disk.store(KEY, *piece, *begin, data.clone());
        }
        bench.verified(sample.pieces() as usize);
        bench.close();
        assert_eq!(bench.disk.in_flight(), 0);
        sample.assert_on_disk(root.path());
    }
}

fn starling_shuffle<T>(items: &mut [T]) {
    let mut x = 7u64;
    for i in (1..items.len()).rev() {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        items.swap(i, (x >> 33) as usize % (i + 1));
    }
}

/// With hardly any memory every early block is written at once and read back later.
#[test]
fn without_memory_early_blocks_go_through_the_disk() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V1, &[BLOCK * 64], BLOCK * 32);
    let bench = Bench::new(Config { memory: 2 * BLOCK as usize, ..Config::default() });
    bench.open(sample.spec(root.path()));
    for piece in 0..2 {
        for (begin, data) in sample.blocks(piece).into_iter().rev() {
            bench.disk.store(KEY, piece, begin, data);
        }
    }
    bench.verified(2);
    bench.close();
    sample.assert_on_disk(root.path());
}

#[test]
fn a_bad_block_fails_its_piece_and_the_digests_name_it() {
    for version in VERSIONS {
        let root = tempfile::tempdir().unwrap();
        let sample = sample(version, &[BLOCK * 8 + 9], BLOCK * 4);
        let bench = Bench::new(Config::default());
        bench.open(sample.spec(root.path()));
        let good: Vec<Sha256Hash> =
            sample.blocks(1).iter().map(|(_, data)| starling_disk::hash::sha256(data)).collect();
        for (begin, data) in sample.blocks(1) {
            let data = if begin == 2 * BLOCK_LENGTH { vec![0; data.len()].into() } else { data };
            bench.disk.store(KEY, 1, begin, data);
        }
        let digests = bench.wait("PieceFailed", |event| match event {
            Event::PieceFailed { piece: 1, digests, .. } => Some(digests),
            _ => None,
        });
        let wrong: Vec<usize> = (0..4).filter(|&block| digests[block] != good[block]).collect();
        assert_eq!((digests.len(), wrong), (4, vec![2]));
        // A late copy changes nothing; only the retry opens the piece again.
        bench.disk.store(KEY, 1, 2 * BLOCK_LENGTH, sample.block(1, 2 * BLOCK_LENGTH));
        bench.disk.retry(KEY, 1, &[0, 1, 3]);
        bench.disk.store(KEY, 1, 2 * BLOCK_LENGTH, sample.block(1, 2 * BLOCK_LENGTH));
        assert_eq!(bench.verified(1), [1], "{version:?}");
        bench.disk.digest(KEY, 1);
        let digests = bench.wait("Digests", |event| match event {
            Event::Digests { piece: 1, digests, .. } => Some(digests),
            _ => None,
        });
        assert_eq!(digests, good);
        bench.close();
        assert_eq!(bench.disk.in_flight(), 0);
    }
}

#[test]
fn padding_counts_as_zeros_whatever_a_peer_sends() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::Hybrid, &[BLOCK + 5, BLOCK], BLOCK * 4);
    let bench = Bench::new(Config::default());
    bench.open(sample.spec(root.path()));
    for (begin, data) in sample.blocks(0) {
        let mut data = data.to_vec();
        if begin == BLOCK_LENGTH {
            data[5..].fill(0xff);
        }
        bench.disk.store(KEY, 0, begin, data.into());
    }
    assert_eq!(bench.verified(1), [0]);
    bench.close();
    assert_eq!(std::fs::read(sample.path(root.path(), 0)).unwrap(), sample.file_data(0));
}

#[test]
fn v2_pieces_wait_for_their_hashes() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V2, &[BLOCK * 8], BLOCK * 4);
    let bench = Bench::new(Config::default());
    let mut spec = sample.spec_with_resume(root.path());
    spec.piece_layers.clear();
    bench.open(spec.clone());
    sample.store_piece(&bench.disk, 0);
    let layer = sample.layers.values().next().unwrap().clone();
    bench.disk.set_piece_roots(KEY, 0, layer.iter().rev().copied().collect());
    bench.disk.set_piece_roots(KEY, 0, layer);
    assert_eq!(bench.verified(1), [0]);
    bench.close();
    bench.disk.open(KEY, spec);
    let (have, layers) = bench.wait("Opened", |event| match event {
        Event::Opened { have, piece_layers, .. } => Some((have, piece_layers)),
        _ => None,
    });
    assert_eq!((have.count(), layers), (1, sample.layers.clone()), "the resume file keeps the hashes");
    sample.store_piece(&bench.disk, 1);
    assert_eq!(bench.verified(1), [1]);
}

#[test]
fn reads_give_what_was_stored() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V1, &[BLOCK * 3 + 5, 7, BLOCK * 2], BLOCK * 4);
    let bench = Bench::new(Config::default());
    bench.open(sample.spec(root.path()));
    (0..sample.pieces()).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(sample.pieces() as usize);
    let read = |piece, begin, length| {
        bench.disk.read(KEY, 9, piece, begin, length);
        bench.wait("Read", |event| match event {
            Event::Read { token: 9, result, .. } => Some(result),
            _ => None,
        })
    };
    assert!(read(0, 3, BLOCK_LENGTH * 4 - 3).unwrap() == sample.data[3..BLOCK as usize * 4]);
    assert!(read(0, 0, BLOCK_LENGTH * 4 + 1).is_err());
    assert!(read(99, 0, 1).is_err());
    assert!(read(0, u32::MAX, 2).is_err());
    assert!(bench.disk.read_cached(KEY, 99, 0, &mut [std::io::IoSliceMut::new(&mut [0; 5])]).is_none());
}

/// In a file system in memory all is resident; several buffers are filled across files.
#[test]
#[cfg(target_os = "linux")]
fn resident_bytes_are_read_without_a_worker() {
    let root = tempfile::tempdir_in("/dev/shm").unwrap();
    let sample = sample(Version::V1, &[BLOCK * 3 + 5, 7, BLOCK * 2], BLOCK * 4);
    let bench = Bench::new(Config::default());
    bench.open(sample.spec(root.path()));
    (0..sample.pieces()).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(sample.pieces() as usize);
    let (mut a, mut b, mut c) = (vec![0; 100], vec![0; 20_000], vec![0; BLOCK as usize]);
    let mut slices = [&mut a[..], &mut b[..], &mut c[..]].map(std::io::IoSliceMut::new);
    bench.disk.read_cached(KEY, 0, BLOCK_LENGTH, &mut slices).unwrap();
    let start = BLOCK as usize;
    assert!([a, b, c].concat() == sample.data[start..start + 20_100 + start]);
    let mut whole = vec![0; BLOCK as usize * 2];
    bench.disk.read_cached(KEY, 0, 0, &mut [std::io::IoSliceMut::new(&mut whole)]).unwrap();
    assert!(whole == sample.data[..BLOCK as usize * 2]);
}

#[test]
fn calls_for_unknown_torrents_do_nothing() {
    let bench = Bench::new(Config::default());
    bench.disk.store(KEY, 0, 0, vec![1, 2, 3].into());
    bench.disk.retry(KEY, 0, &[1]);
    bench.disk.close(KEY);
    assert!(bench.disk.room(KEY));
    bench.disk.read(KEY, 1, 0, 0, 1);
    bench.wait("Read", |event| matches!(event, Event::Read { result: Err(_), .. }).then_some(()));
    assert_eq!(bench.disk.in_flight(), 0);
}
