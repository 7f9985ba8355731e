//! How fast each way of hashing is on this machine, and how much faster than the
//! `sha1` and `sha2` crates. Rates are the best of many runs, all variants taking
//! turns, so that a busy machine harms them alike; trust the ratios.
//!
//! `cargo run --release -p starling-lanes --example lanes_speed`
// A program that measures and prints, not part of a core.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::disallowed_types)]

use std::hint::black_box;
use std::time::Instant;

use sha1::Digest;
use starling_lanes::{
    Algorithm, Hasher, Sha1, Sha1Algorithm, Sha256, Sha256Algorithm, sha256_many, sha256_pairs, update_both,
    update_many, update_with_leaves, update2, width,
};

const LEAF: usize = 16 << 10;
const LANES: usize = 16;

/// A way of hashing and the shortest time a run of it took.
struct Variant<'v> {
    name: String,
    bytes: usize,
    run: Box<dyn FnMut() + 'v>,
    seconds: f64,
}

impl<'v> Variant<'v> {
    fn new(name: impl Into<String>, bytes: usize, run: impl FnMut() + 'v) -> Variant<'v> {
        Variant { name: name.into(), bytes, run: Box::new(run), seconds: f64::MAX }
    }
}

/// Measures in turns; the first variant is what the others are compared with.
fn race(title: &str, rounds: usize, mut variants: Vec<Variant<'_>>) {
    for _ in 0..rounds {
        for variant in &mut variants {
            let start = Instant::now();
            (variant.run)();
            variant.seconds = variant.seconds.min(start.elapsed().as_secs_f64());
        }
    }
    println!("\n{title:44} {:>8} {:>10} {:>7}", "MB/s", "us per MiB", "ratio");
    let rate = |v: &Variant<'_>| v.bytes as f64 / v.seconds / 1e6;
    for variant in &variants {
        let (rate, first) = (rate(variant), rate(&variants[0]));
        println!("  {:42} {rate:8.0} {:10.0} {:7.2}", variant.name, f64::from(1 << 20) / rate, rate / first);
    }
}

/// `update_many` over some lanes, one leaf each.
fn many<'v, A: Algorithm + 'v>(leaves: &'v [&'v [u8]], lanes: usize) -> Variant<'v> {
    let mut hashers = vec![Hasher::<A>::new(); lanes];
    Variant::new(format!("update_many, {lanes} lanes"), lanes * LEAF, move || {
        update_many(&mut hashers.iter_mut().zip(leaves.iter().copied()).collect::<Vec<_>>());
    })
}

/// What both hashes have in common, the crate's own hasher first.
fn one_hash<'v, A: Algorithm + 'v, D: Digest + 'v>(leaves: &'v [&'v [u8]], name: &str) -> Vec<Variant<'v>> {
    let (mut theirs, mut ours) = (D::new(), Hasher::<A>::new());
    let (mut a, mut b) = (Hasher::<A>::new(), Hasher::<A>::new());
    let mut variants = vec![
        Variant::new(format!("{name} crate, 1 stream"), LANES * LEAF, move || {
            leaves.iter().for_each(|leaf| theirs.update(leaf));
        }),
        Variant::new("update, 1 stream", LANES * LEAF, move || {
            leaves.iter().for_each(|leaf| ours.update(leaf));
        }),
        Variant::new("update2", 2 * LEAF, move || update2(&mut a, leaves[0], &mut b, leaves[1])),
    ];
    variants.extend([4, 5, 8, 9, 12, 16].map(|lanes| many::<A>(leaves, lanes)));
    variants
}

fn leaves_and_nodes<'v>(leaves: &'v [&'v [u8]], nodes: &'v [[u8; 64]]) -> [Vec<Variant<'v>>; 2] {
    let (leaves_bytes, nodes_bytes) = (leaves.len() * LEAF, nodes.len() * 64);
    let mut digests = vec![[0; 32]; nodes.len()];
    [
        vec![
            Variant::new("sha2 crate", leaves_bytes, move || {
                for leaf in leaves {
                    black_box(sha2::Sha256::digest(leaf));
                }
            }),
            Variant::new("sha256_many", leaves_bytes, move || {
                sha256_many(leaves, black_box(&mut [[0; 32]; LANES]));
            }),
        ],
        vec![
            Variant::new("sha2 crate", nodes_bytes, move || {
                for node in nodes {
                    black_box(sha2::Sha256::digest(node));
                }
            }),
            Variant::new("sha256_pairs", nodes_bytes, move || {
                sha256_pairs(nodes, black_box(&mut digests));
            }),
        ],
    ]
}

fn hybrid<'v>(leaves: &'v [&'v [u8]]) -> Vec<Variant<'v>> {
    let bytes = leaves.len() * LEAF;
    let (mut theirs, mut interleaved, mut piece) = (sha1::Sha1::new(), Sha1::new(), Sha1::new());
    let mut pieces = vec![Sha1::new(); LANES];
    vec![
        Variant::new("crates, one after the other", bytes, move || {
            for leaf in leaves {
                theirs.update(leaf);
                black_box(sha2::Sha256::digest(leaf));
            }
        }),
        Variant::new("update_both per leaf", bytes, move || {
            for leaf in leaves {
                let mut sha256 = Sha256::new();
                update_both(&mut interleaved, &mut sha256, leaf);
                black_box(sha256.finalize());
            }
        }),
        Variant::new("update_with_leaves, 16 leaves of 1 piece", bytes, move || {
            update_with_leaves(&mut piece, leaves, black_box(&mut [[0; 32]; LANES]));
        }),
        Variant::new("16 pieces: update_many, then sha256_many", bytes, move || {
            update_many(&mut pieces.iter_mut().zip(leaves.iter().copied()).collect::<Vec<_>>());
            sha256_many(leaves, black_box(&mut [[0; 32]; LANES]));
        }),
    ]
}

/// Leaves taken in turn from two buffers of 256 KiB that stay in L2, against leaves nobody touched lately.
fn hot_and_cold<'v>(hot: &'v [&'v [u8]], cold: &'v [&'v [u8]]) -> Vec<Variant<'v>> {
    let mut variants = Vec::new();
    for (place, leaves) in [("two buffers in L2", hot), ("cold memory", cold)] {
        let (mut one, mut a, mut b) = (Sha1::new(), Sha1::new(), Sha1::new());
        let mut sixteen = vec![Sha1::new(); LANES];
        let bytes = leaves.len() * LEAF;
        variants.push(Variant::new(format!("SHA-1, 1 stream, {place}"), bytes, move || {
            leaves.iter().for_each(|leaf| one.update(leaf));
        }));
        variants.push(Variant::new(format!("SHA-1, 2 streams, {place}"), bytes, move || {
            let pairs = leaves.as_chunks().0;
            pairs.iter().for_each(|[x, y]| update2(&mut a, x, &mut b, y));
        }));
        variants.push(Variant::new(format!("SHA-1, 16 streams, {place}"), bytes, move || {
            for leaves in leaves.chunks(LANES) {
                update_many(&mut sixteen.iter_mut().zip(leaves.iter().copied()).collect::<Vec<_>>());
            }
        }));
        variants.push(Variant::new(format!("SHA-256, 16 leaves, {place}"), bytes, move || {
            for leaves in leaves.chunks(LANES) {
                sha256_many(leaves, black_box(&mut [[0; 32]; LANES]));
            }
        }));
    }
    variants
}

fn main() {
    let bytes: Vec<u8> = (0..512 * 1024u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (first, second) = bytes.split_at(256 * 1024);
    let leaves: Vec<&[u8]> = first.chunks(LEAF).collect();
    let nodes = first.as_chunks().0;
    println!("width: {} streams", width());

    race("SHA-1", 200, one_hash::<Sha1Algorithm, sha1::Sha1>(&leaves, "sha1"));
    race("SHA-256", 200, one_hash::<Sha256Algorithm, sha2::Sha256>(&leaves, "sha2"));
    let [of_leaves, of_nodes] = leaves_and_nodes(&leaves, nodes);
    race("16 leaves of 16 KiB, SHA-256", 200, of_leaves);
    race("4096 merkle nodes of 64 bytes, SHA-256", 100, of_nodes);
    race("SHA-1 and SHA-256 of the same bytes", 200, hybrid(&leaves));

    let alternating = first.chunks(LEAF).zip(second.chunks(LEAF)).flat_map(|(x, y)| [x, y]);
    let hot: Vec<&[u8]> = alternating.collect();
    let memory = vec![1; 512 << 20];
    let cold: Vec<&[u8]> = memory.chunks(LEAF).collect();
    race("16 KiB blocks, by where they lie", 5, hot_and_cold(&hot, &cold));
}
