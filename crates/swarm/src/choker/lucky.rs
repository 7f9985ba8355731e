//! Slots given by chance, each for a period at a time: who is new gets a start, and
//! better peers are found.

use std::time::Duration;

use starling_sansio::{Rng, Time};

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
    /// before, until the period is over, and others by chance.
    pub fn draw(
        &mut self,
        now: Time,
        pool: impl Iterator<Item = (u32, usize)> + Clone,
        count: usize,
        rng: &mut Rng,
    ) -> &[u32] {
        let stale = now >= self.until;
        self.slots.retain(|slot| !stale && pool.clone().any(|(here, _)| here == *slot));
        if stale {
            self.until = now + self.period;
        }
        let mut tickets: Vec<u32> = Vec::new();
        for (slot, odds) in pool.filter(|(slot, _)| !self.slots.contains(slot)) {
            tickets.extend(std::iter::repeat_n(slot, odds));
        }
        while self.slots.len() < count && !tickets.is_empty() {
            let lucky = tickets[rng.index(tickets.len())];
            tickets.retain(|&slot| slot != lucky);
            self.slots.push(lucky);
        }
        self.slots.truncate(count);
        &self.slots
    }
}
