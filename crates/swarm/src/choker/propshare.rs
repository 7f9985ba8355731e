//! Proportional share (Levin, LaCurts, Spring, Bhattacharjee, "BitTorrent is an
//! Auction", 2008): everyone who gave in the last round gets of our upload what
//! it gave of our download; a part is set aside for newcomers.
//!
//! Against tit-for-tat there is no threshold to find and sit at: giving a little
//! more always gets a little more, giving nothing gets nothing but the newcomers' part.

use std::time::Duration;

use starling_sansio::{Rng, Time};

use super::lucky::{self, Lucky, odds};
use super::{Candidate, Choker, Chosen};

/// See the module.
#[derive(Debug)]
pub(crate) struct PropShare {
    newcomers: Lucky,
}

/// The part of our upload set aside for those who have not given.
const NEWCOMER_SHARE: f64 = 0.2;
/// Newcomers served at a time, at most.
const NEWCOMERS_MAX: usize = 4;

impl PropShare {
    pub fn new(period: Duration) -> PropShare {
        PropShare { newcomers: Lucky::new(period) }
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
            let pool = candidates.iter().map(|c| (c.slot, odds(c, 1)));
            let drawn = lucky::draw(pool, slots, rng);
            return chosen.extend(drawn.into_iter().map(|slot| Chosen { slot, share: None }));
        }
        let givers = candidates.iter().filter(|c| c.given > 0);
        let part = |given: u64| given as f64 / total as f64 * (1.0 - NEWCOMER_SHARE);
        chosen.extend(givers.map(|c| Chosen { slot: c.slot, share: Some(part(c.given)) }));
        let pool = candidates.iter().filter(|c| c.given == 0).map(|c| (c, odds(c, 1)));
        let pool: Vec<_> = pool.collect();
        let newcomers = self.newcomers.draw(now, &pool, NEWCOMERS_MAX.min(slots), rng);
        let each = NEWCOMER_SHARE / newcomers.len().max(1) as f64;
        chosen.extend(newcomers.iter().map(|&slot| Chosen { slot, share: Some(each) }));
    }
}
