//! Proportional share (Levin, LaCurts, Spring, Bhattacharjee, "BitTorrent is an
//! Auction", 2008): everyone who gave in the last round gets of our upload what
//! it gave of our download; a part is set aside for newcomers.
//!
//! Against tit-for-tat there is no threshold to find and sit at: giving a little
//! more always gets a little more, giving nothing gets nothing but the newcomers' part.

use std::time::Duration;

use starling_sansio::{Rng, Time};

use super::{Candidate, Choker, Chosen, by_chance};

/// See the module.
#[derive(Debug)]
pub(crate) struct PropShare {
    period: Duration,
    rotate_at: Time,
    newcomers: Vec<u32>,
}

/// The part of our upload set aside for those who have not given.
const NEWCOMER_SHARE: f64 = 0.2;
/// Newcomers served at a time, at most.
const NEWCOMERS_MAX: usize = 4;

impl PropShare {
    pub fn new(period: Duration) -> PropShare {
        PropShare { period, rotate_at: Time::ZERO, newcomers: Vec::new() }
    }

    fn pick_newcomers(&mut self, now: Time, mut pool: Vec<Candidate>, count: usize, rng: &mut Rng) {
        if now >= self.rotate_at {
            self.rotate_at = now + self.period;
            self.newcomers.clear();
        }
        self.newcomers.retain(|slot| pool.iter().any(|c| c.slot == *slot));
        pool.retain(|c| !self.newcomers.contains(&c.slot));
        let mut lucky = Vec::new();
        by_chance(&mut pool, count.saturating_sub(self.newcomers.len()), None, rng, &mut lucky);
        self.newcomers.extend(lucky.iter().map(|c| c.slot));
        self.newcomers.truncate(count);
    }
}

impl Choker for PropShare {
    fn choose(
        &mut self,
        now: Time,
        candidates: &[Candidate],
        slots: usize,
        rng: &mut Rng,
        chosen: &mut Vec<Chosen>,
    ) {
        let total: u64 = candidates.iter().map(|c| c.given).sum();
        if total == 0 {
            // Nobody gave yet: all are newcomers and there is nobody to prefer.
            let mut pool = candidates.to_vec();
            return by_chance(&mut pool, slots, None, rng, chosen);
        }
        let givers = candidates.iter().filter(|c| c.given > 0);
        let part = |given: u64| given as f64 / total as f64 * (1.0 - NEWCOMER_SHARE);
        chosen.extend(givers.map(|c| Chosen { slot: c.slot, share: Some(part(c.given)) }));
        let pool: Vec<Candidate> = candidates.iter().filter(|c| c.given == 0).copied().collect();
        let count = NEWCOMERS_MAX.min(slots).min(pool.len());
        self.pick_newcomers(now, pool, count, rng);
        let each = NEWCOMER_SHARE / count.max(1) as f64;
        chosen.extend(self.newcomers.iter().map(|&slot| Chosen { slot, share: Some(each) }));
    }
}
