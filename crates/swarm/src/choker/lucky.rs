//! Slots given by chance, each for a period at a time: who is new gets a start, and
//! better peers are found.

use std::time::Duration;

use starling_sansio::{Rng, Time};

use super::Candidate;

/// Who did not let its last turn pass has so many times the odds of who did.
const USED_ODDS: usize = 8;

/// Draws `count` of `pool`, peers with their odds.
pub(super) fn draw(pool: impl Iterator<Item = (u32, usize)>, count: usize, rng: &mut Rng) -> Vec<u32> {
    let mut tickets: Vec<u32> = Vec::new();
    for (slot, odds) in pool {
        tickets.extend(std::iter::repeat_n(slot, odds));
    }
    let mut drawn = Vec::new();
    while drawn.len() < count && !tickets.is_empty() {
        let lucky = tickets[rng.index(tickets.len())];
        tickets.retain(|&slot| slot != lucky);
        drawn.push(lucky);
    }
    drawn
}

/// The odds of one that would have `plain`.
pub(super) fn odds(candidate: &Candidate, plain: usize) -> usize {
    if candidate.wasted { 1 } else { plain * USED_ODDS }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lucky {
    period: Duration,
    until: Time,
    slots: Vec<u32>,
}

impl Lucky {
    /// Nobody yet; a draw holds for `period`.
    pub fn new(period: Duration) -> Lucky {
        Lucky { period, until: Time::ZERO, slots: Vec::new() }
    }

    /// The `count` lucky ones of `pool`, peers with their odds: those that were lucky
    /// before, until the period is over or they did not use it, and others by chance.
    pub fn draw(&mut self, now: Time, pool: &[(&Candidate, usize)], count: usize, rng: &mut Rng) -> &[u32] {
        let stale = now >= self.until;
        // A turn that ended early is over.
        self.slots.retain(|slot| !stale && pool.iter().any(|(c, _)| c.slot == *slot && c.unchoked));
        if stale {
            self.until = now + self.period;
        }
        let others = pool.iter().filter(|(c, _)| !self.slots.contains(&c.slot));
        let more = draw(others.map(|(c, odds)| (c.slot, *odds)), count.saturating_sub(self.slots.len()), rng);
        self.slots.extend(more);
        self.slots.truncate(count);
        &self.slots
    }
}
