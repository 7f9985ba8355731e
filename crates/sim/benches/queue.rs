//! The queue alone, by the hold model, and beside it a binary heap, in the same run.
//!
//! `cargo bench -p starling-sim --bench queue`
#![allow(clippy::print_stdout)] // a program that measures and prints

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use starling_sansio::Rng;

mod hold;

use hold::{OPERATIONS, PENDING, ahead, cpu_seconds, wheel};

fn heap() -> f64 {
    let (mut rng, mut queue) = (Rng::from_seed(1), BinaryHeap::new());
    (0..PENDING).for_each(|n| queue.push(Reverse((rng.below(160_000), n))));
    let start = cpu_seconds();
    for _ in 0..OPERATIONS / 10 {
        if let Some(Reverse((time, item))) = queue.pop() {
            queue.push(Reverse((time + ahead(&mut rng), item)));
        }
    }
    (OPERATIONS / 10) as f64 / (cpu_seconds() - start)
}

fn main() {
    let (wheel, heap) = (wheel(), heap());
    println!("queue, {PENDING} pending: {:.1} M operations/s", wheel / 1e6);
    println!("binary heap: {:.1} M operations/s; ratio {:.1}", heap / 1e6, wheel / heap);
}
