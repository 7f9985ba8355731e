//! The queue alone, by the hold model: a million events pending; each that is taken is
//! put back at a random time ahead. Beside it a binary heap, in the same run.
//!
//! `cargo bench -p starling-sim --bench queue`
#![allow(clippy::print_stdout)] // a program that measures and prints

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use starling_sansio::{Rng, Time};
use starling_sim::queue::Queue;

const PENDING: u64 = 1_000_000;
const OPERATIONS: u64 = 20_000_000;

/// Mean of the increments: what a message takes, 20 to 160 ms.
fn ahead(rng: &mut Rng) -> u64 {
    20_000 + rng.below(140_000)
}

fn wheel() -> f64 {
    let (mut rng, mut queue) = (Rng::from_seed(1), Queue::default());
    (0..PENDING).for_each(|n| queue.push(Time::from_micros(rng.below(160_000)), n));
    let start = Instant::now();
    for _ in 0..OPERATIONS {
        if let Some((time, item)) = queue.pop_before(Time::NEVER) {
            queue.push(Time::from_micros(time.as_micros() + ahead(&mut rng)), item);
        }
    }
    OPERATIONS as f64 / start.elapsed().as_secs_f64()
}

fn heap() -> f64 {
    let (mut rng, mut queue) = (Rng::from_seed(1), BinaryHeap::new());
    (0..PENDING).for_each(|n| queue.push(Reverse((rng.below(160_000), n))));
    let start = Instant::now();
    for _ in 0..OPERATIONS / 10 {
        if let Some(Reverse((time, item))) = queue.pop() {
            queue.push(Reverse((time + ahead(&mut rng), item)));
        }
    }
    (OPERATIONS / 10) as f64 / start.elapsed().as_secs_f64()
}

fn main() {
    let (wheel, heap) = (wheel(), heap());
    println!("queue, {PENDING} pending: {:.1} M operations/s", wheel / 1e6);
    println!("binary heap: {:.1} M operations/s; ratio {:.1}", heap / 1e6, wheel / heap);
}
