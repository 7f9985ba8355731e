//! While seeding there is nothing to reward: peers take turns. A turn ends after
//! some time and some bytes; whoever waited longest is next.

use std::time::Duration;

use starling_sansio::{Rng, Time};

use super::{Candidate, Choker, Chosen};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Seeding;

/// A turn lasts at least that long.
const TURN_MIN: Duration = Duration::from_secs(30);
/// And until so many bytes were served, or twice as long.
const TURN_BYTES: u64 = 8 << 20;

impl Choker for Seeding {
    fn choose(
        &mut self,
        now: Time,
        candidates: &[Candidate],
        slots: usize,
        rng: &mut Rng,
        chosen: &mut Vec<Chosen>,
    ) {
        let mut order: Vec<Candidate> = candidates.to_vec();
        rng.shuffle(&mut order);
        let had_turn = |c: &Candidate| {
            let time = now.since(c.since);
            time >= TURN_MIN && (c.turn >= TURN_BYTES || time >= 2 * TURN_MIN)
        };
        // First those in the middle of a turn, of these those who use it, then those who wait,
        // then those who had theirs.
        let class = |c: &Candidate| match (c.unchoked, had_turn(c)) {
            (true, false) if !c.quiet => 0,
            (true, false) => 1,
            (false, _) => 2,
            (true, true) => 3,
        };
        order.sort_by_key(|c| (class(c), c.since));
        chosen.extend(order.iter().take(slots).map(|c| Chosen { slot: c.slot, share: None }));
    }
}
