//! The hold model: a million events pending; each that is taken is put back at a random
//! time ahead.

use starling_sansio::{Rng, Time};
use starling_sim::queue::Queue;

/// Events pending.
pub const PENDING: u64 = 1_000_000;
/// Events taken and put back.
pub const OPERATIONS: u64 = 20_000_000;

/// What a message takes: 20 to 160 ms, in µs.
pub fn ahead(rng: &mut Rng) -> u64 {
    20_000 + rng.below(140_000)
}

/// Operations a second of the simulator's queue.
pub fn wheel() -> f64 {
    let (mut rng, mut queue) = (Rng::from_seed(1), Queue::default());
    (0..PENDING).for_each(|n| queue.push(Time::from_micros(rng.below(160_000)), n));
    let start = cpu_seconds();
    for _ in 0..OPERATIONS {
        if let Some((time, item)) = queue.pop_before(Time::NEVER) {
            queue.push(Time::from_micros(time.as_micros() + ahead(&mut rng)), item);
        }
    }
    OPERATIONS as f64 / (cpu_seconds() - start)
}

/// Seconds of processor time that this thread has had, other programs' left out.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}
