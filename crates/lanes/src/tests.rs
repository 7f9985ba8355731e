//! Every public way, on every kind of kernel, against the `sha1` and `sha2` crates.

use std::cell::Cell;

use proptest::prelude::*;
use sha1::Digest;

use crate::kernels::Backend;
use crate::*;

thread_local! {
    static FORCED: Cell<Option<Backend>> = const { Cell::new(None) };
}

/// The kernels this thread's test wants.
pub(crate) fn forced() -> Option<Backend> {
    FORCED.get()
}

/// Runs `test` on the processor's best kernels, then on each poorer choice.
fn on_every_backend(test: impl Fn()) {
    for backend in backends() {
        FORCED.set(Some(backend));
        test();
        FORCED.set(None);
    }
}

#[cfg(target_arch = "x86_64")]
fn backends() -> Vec<Backend> {
    let best = Backend::detect();
    if best.ni.is_none() {
        eprintln!("skipped: the kernels of the SHA extensions, which this processor lacks");
    }
    if best.wide.is_none() {
        eprintln!("skipped: the kernels of AVX-512, which this processor lacks");
    }
    let without_wide = Backend { wide: None, ..best };
    let without_ni = Backend { ni: None, ..best };
    vec![best, without_wide, without_ni, Backend { ni: None, wide: None }]
}

#[cfg(not(target_arch = "x86_64"))]
fn backends() -> Vec<Backend> {
    vec![Backend::detect()]
}

fn want1(data: &[u8]) -> [u8; 20] {
    sha1::Sha1::digest(data).into()
}

fn want256(data: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(data).into()
}

/// Bytes that differ at every place and for every seed.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_examples_of_fips_180() {
    let long = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".as_slice();
    let million = vec![b'a'; 1_000_000];
    let cases: [(&[u8], &str, &str); 4] = [
        (
            b"",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            b"abc",
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            long,
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (
            &million,
            "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        ),
    ];
    on_every_backend(|| {
        for (message, sha1, sha256) in cases {
            assert_eq!(hex(&Sha1::digest(message)), sha1);
            assert_eq!(hex(&Sha256::digest(message)), sha256);
            let (mut out1, mut out256) = ([[0; 20]; 17], [[0; 32]; 17]);
            sha1_many(&[message; 17], &mut out1);
            sha256_many(&[message; 17], &mut out256);
            assert!(out1.iter().all(|digest| hex(digest) == sha1));
            assert!(out256.iter().all(|digest| hex(digest) == sha256));
        }
    });
}

#[test]
fn every_length_around_the_padding() {
    on_every_backend(|| {
        for len in 0..260 {
            let data = bytes(len as u64, len);
            assert_eq!(Sha1::digest(&data), want1(&data));
            assert_eq!(Sha256::digest(&data), want256(&data));
        }
    });
}

#[test]
fn every_number_of_lanes() {
    let data: Vec<_> = (0..40).map(|i| bytes(i, 64 * (i as usize % 5) + i as usize)).collect();
    on_every_backend(|| {
        for lanes in 0..40 {
            let messages: Vec<_> = data[..lanes].iter().map(Vec::as_slice).collect();
            let (mut out1, mut out256) = (vec![[0; 20]; lanes], vec![[0; 32]; lanes]);
            sha1_many(&messages, &mut out1);
            sha256_many(&messages, &mut out256);
            assert!(messages.iter().zip(out1).all(|(data, digest)| want1(data) == digest));
            assert!(messages.iter().zip(out256).all(|(data, digest)| want256(data) == digest));
        }
    });
}

#[test]
fn nodes_of_a_merkle_tree() {
    let nodes: Vec<[u8; 64]> = (0..35).map(|i| bytes(i, 64).try_into().unwrap()).collect();
    on_every_backend(|| {
        for count in 0..nodes.len() {
            let mut out = vec![[0; 32]; count];
            sha256_pairs(&nodes[..count], &mut out);
            assert!(nodes.iter().zip(out).all(|(node, digest)| want256(node) == digest));
        }
    });
}

#[test]
fn the_width_is_that_of_the_best_kernel() {
    let mut widths = Vec::new();
    on_every_backend(|| assert!([1, 2, 16].contains(&width())));
    for backend in backends() {
        widths.push(backend.width());
    }
    assert_eq!(widths.last(), Some(&1));
    assert_eq!(widths.first(), widths.iter().max());
}

#[test]
fn a_clone_goes_its_own_way() {
    let data = bytes(7, 500);
    let mut first = Sha256::new();
    first.update(&data[..100]);
    let mut second = first.clone();
    first.update(&data[100..]);
    second.update(&data[200..]);
    assert_eq!(first.finalize(), want256(&data));
    assert_eq!(second.finalize(), want256(&[&data[..100], &data[200..]].concat()));
}

/// Lengths as they come: nothing, less than a block, around blocks, much.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1..64usize, 60..200usize, (0..40usize).prop_map(|blocks| blocks * 64), 0..5000usize]
}

/// Feeds states in rounds; each round gives each lane a length, 0 when it has nothing.
fn check_rounds<A: Algorithm>(lanes: usize, rounds: &[Vec<usize>], want: fn(&[u8]) -> A::Digest) {
    let mut hashers = vec![Hasher::<A>::new(); lanes];
    let mut taken = vec![Vec::new(); lanes];
    for (r, round) in rounds.iter().enumerate() {
        let data: Vec<_> = (0..lanes).map(|l| bytes((r * lanes + l) as u64, round[l])).collect();
        let mut input: Vec<_> = hashers.iter_mut().zip(data.iter().map(Vec::as_slice)).collect();
        update_many(&mut input);
        assert!(input.iter().all(|(_, rest)| rest.is_empty()));
        taken.iter_mut().zip(data).for_each(|(taken, data)| taken.extend(data));
    }
    let mut out = vec![A::Digest::default(); lanes];
    for (hasher, taken) in hashers.iter().zip(&taken) {
        assert_eq!(hasher.clone().finalize(), want(taken));
    }
    finalize_many(&mut hashers, &mut out);
    for (digest, taken) in out.iter().zip(&taken) {
        assert_eq!(*digest, want(taken));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_stream_however_it_is_split(parts in prop::collection::vec(length(), 0..12), seed: u64) {
        let data = bytes(seed, parts.iter().sum());
        on_every_backend(|| {
            let (mut sha1, mut sha256, mut rest) = (Sha1::new(), Sha256::new(), data.as_slice());
            for part in &parts {
                let (front, behind) = rest.split_at(*part);
                sha1.update(front);
                sha256.update(front);
                rest = behind;
            }
            assert_eq!(sha1.finalize(), want1(&data));
            assert_eq!(sha256.finalize(), want256(&data));
        });
    }

    #[test]
    fn many_streams_however_they_are_skewed(
        lanes in 0..40usize,
        rounds in prop::collection::vec(prop::collection::vec(length(), 40), 1..4),
    ) {
        on_every_backend(|| {
            check_rounds::<Sha1Algorithm>(lanes, &rounds, want1);
            check_rounds::<Sha256Algorithm>(lanes, &rounds, want256);
        });
    }

    #[test]
    fn two_streams(parts in prop::collection::vec((length(), length()), 1..6)) {
        on_every_backend(|| {
            let (mut a, mut b) = (Sha1::new(), Sha1::new());
            let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
            for (i, &(a_len, b_len)) in parts.iter().enumerate() {
                let (da, db) = (bytes(i as u64, a_len), bytes(!(i as u64), b_len));
                update2(&mut a, &da, &mut b, &db);
                of_a.extend(da);
                of_b.extend(db);
            }
            assert_eq!((a.finalize(), b.finalize()), (want1(&of_a), want1(&of_b)));
        });
    }

    #[test]
    fn both_hashes_of_one_stream(
        before in length(), skew in prop_oneof![Just(0), 0..100usize], parts in prop::collection::vec(length(), 0..6),
    ) {
        on_every_backend(|| {
            let head = bytes(1, before + skew);
            let (mut sha1, mut sha256) = (Sha1::new(), Sha256::new());
            sha1.update(&head);
            sha256.update(&head[skew..]);
            let data = bytes(2, parts.iter().sum());
            let mut rest = data.as_slice();
            for part in &parts {
                let (front, behind) = rest.split_at(*part);
                update_both(&mut sha1, &mut sha256, front);
                rest = behind;
            }
            assert_eq!(sha1.finalize(), want1(&[&head, data.as_slice()].concat()));
            assert_eq!(sha256.finalize(), want256(&[&head[skew..], data.as_slice()].concat()));
        });
    }

    #[test]
    fn a_piece_and_its_leaves(leaf in 1..3000usize, len in 0..60_000usize) {
        let data = bytes(3, len);
        let leaves: Vec<&[u8]> = data.chunks(leaf).take(40).collect();
        on_every_backend(|| {
            let (mut sha1, mut out) = (Sha1::new(), vec![[0; 32]; leaves.len()]);
            update_with_leaves(&mut sha1, &leaves, &mut out);
            assert_eq!(sha1.finalize(), want1(&leaves.concat()));
            assert!(leaves.iter().zip(out).all(|(leaf, digest)| want256(leaf) == digest));
        });
    }
}
