//! Rate-based tit-for-tat (Cohen, "Incentives Build Robustness in BitTorrent", 2003):
//! the peers that gave most since the last decision, and for thirty seconds at a
//! time some by chance, so that newcomers get a start and better peers are found.

use std::time::Duration;

use starling_sansio::{Rng, Time};

use super::lucky::{Lucky, odds};
use super::{Candidate, Choker, Chosen};

/// See the module.
#[derive(Debug)]
pub(crate) struct TitForTat {
    optimistic: Lucky,
}

/// One slot in this many is given by chance.
const OPTIMISTIC_PART: usize = 5;
/// Newcomers are this many times as likely to be the lucky ones.
const NEWCOMER_ODDS: usize = 3;

impl TitForTat {
    pub fn new(period: Duration) -> TitForTat {
        TitForTat { optimistic: Lucky::new(period) }
    }
}

impl Choker for TitForTat {
    fn choose(
        &mut self,
        now: Time,
        candidates: &[Candidate],
        slots: usize,
        rng: &mut Rng,
        chosen: &mut Vec<Chosen>,
    ) {
        let lucky = (slots / OPTIMISTIC_PART).max(1).min(slots);
        let mut ranked: Vec<&Candidate> = candidates.iter().collect();
        rng.shuffle(&mut ranked);
        let worth = |c: &Candidate| if c.snubbed { 0 } else { c.given };
        // Whoever is unchoked stays so among equals: changing costs both sides.
        ranked.sort_by_key(|c| (std::cmp::Reverse(worth(c)), !c.unchoked));
        let regular = ranked.iter().take_while(|c| worth(c) > 0).count().min(slots - lucky);
        let plain = |c: &Candidate| if c.newcomer && c.got == 0 { NEWCOMER_ODDS } else { 1 };
        let rest: Vec<_> = ranked[regular..].iter().map(|&c| (c, odds(c, plain(c)))).collect();
        let lucky = self.optimistic.draw(now, &rest, slots - regular, rng);
        let ranked = ranked[..regular].iter().map(|c| c.slot);
        chosen.extend(ranked.chain(lucky.iter().copied()).map(|slot| Chosen { slot, share: None }));
    }
}
