//! Rate-based tit-for-tat (Cohen, "Incentives Build Robustness in BitTorrent", 2003):
//! the peers that gave most since the last decision, and for thirty seconds at a
//! time some by chance, so that newcomers get a start and better peers are found.

use std::time::Duration;

use starling_sansio::{Rng, Time};

use super::{Candidate, Choker, Chosen};

/// See the module.
#[derive(Debug)]
pub(crate) struct TitForTat {
    period: Duration,
    rotate_at: Time,
    optimistic: Vec<u32>,
}

/// One slot in this many is given by chance.
const OPTIMISTIC_PART: usize = 5;
/// Newcomers are this many times as likely to be the lucky ones.
const NEWCOMER_ODDS: usize = 3;

impl TitForTat {
    pub fn new(period: Duration) -> TitForTat {
        TitForTat { period, rotate_at: Time::ZERO, optimistic: Vec::new() }
    }

    fn rotate(&mut self, now: Time, rest: &[&Candidate], count: usize, rng: &mut Rng) {
        let stale = now >= self.rotate_at;
        self.optimistic.retain(|slot| !stale && rest.iter().any(|c| c.slot == *slot));
        if stale {
            self.rotate_at = now + self.period;
        }
        let mut tickets: Vec<u32> = Vec::new();
        for c in rest.iter().filter(|c| !self.optimistic.contains(&c.slot)) {
            let odds = if c.newcomer && c.got == 0 { NEWCOMER_ODDS } else { 1 };
            tickets.extend(std::iter::repeat_n(c.slot, odds));
        }
        while self.optimistic.len() < count && !tickets.is_empty() {
            let lucky = tickets[rng.index(tickets.len())];
            tickets.retain(|&slot| slot != lucky);
            self.optimistic.push(lucky);
        }
        self.optimistic.truncate(count);
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
        let rest = &ranked[regular..];
        self.rotate(now, rest, slots - regular, rng);
        chosen.extend(ranked[..regular].iter().map(|c| Chosen { slot: c.slot, share: None }));
        chosen.extend(self.optimistic.iter().map(|&slot| Chosen { slot, share: None }));
    }
}
