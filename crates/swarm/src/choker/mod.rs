//! Who may ask us for blocks (BEP 3).
//!
//! A [`Choker`] decides every ten seconds among the peers that want something.
//! While we download, two strategies reward those who give: rate-based
//! tit-for-tat and proportional share. While we seed, peers take turns. Whatever
//! the strategy, peers that have given nothing live on a bounded budget.

mod lucky;
mod newcomers;
mod propshare;
mod seeding;
mod tit_for_tat;

use std::fmt::Debug;

use starling_sansio::{Rng, Time};

use crate::config::{Config, Strategy};

pub(crate) use newcomers::Newcomers;
pub(crate) use propshare::PropShare;
pub(crate) use seeding::Seeding;
pub(crate) use tit_for_tat::TitForTat;

/// A peer that wants something of us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub slot: u32,
    pub unchoked: bool,
    /// Since when it is unchoked, or counts as waiting.
    pub since: Time,
    /// Unchoked, and has not asked for anything for some seconds.
    pub quiet: bool,
    /// It let its last turn pass without asking for anything.
    pub wasted: bool,
    /// Bytes it gave since the last decision.
    pub given: u64,
    /// Bytes it got since it was unchoked.
    pub turn: u64,
    /// Bytes it ever got.
    pub got: u64,
    /// It does not answer our requests.
    pub snubbed: bool,
    /// It has given next to nothing for what it got.
    pub newcomer: bool,
}

/// One decision.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Chosen {
    pub slot: u32,
    /// Its part of our upload, in 0..=1; `None`: as it comes.
    pub share: Option<f64>,
}

/// A way to choose.
pub(crate) trait Choker: Debug + Send {
    /// Chooses up to `slots` of `candidates` into `chosen`. Called every [`crate::Limits::rechoke`].
    fn choose(
        &mut self,
        now: Time,
        candidates: &[Candidate],
        slots: usize,
        rng: &mut Rng,
        chosen: &mut Vec<Chosen>,
    );
}

/// The choker's place in a torrent.
#[derive(Debug)]
pub(crate) struct Choking {
    pub strategy: Box<dyn Choker>,
    pub seeding: Seeding,
    pub next: Time,
    /// Somebody gives, and did in the last seconds: newcomers stand back.
    pub givers: bool,
    /// What newcomers may still get.
    pub newcomers: Newcomers,
    /// Shares as last decided, and the upload rate they are parts of.
    pub shares: Vec<Chosen>,
    pub capacity: f64,
    pub down_at_tick: u64,
    pub up_at_tick: u64,
    pub refilled: Time,
}

impl Choking {
    pub fn new(config: &Config) -> Choking {
        let optimistic = config.limits.optimistic;
        let strategy: Box<dyn Choker> = match config.choker {
            Strategy::TitForTat => Box::new(TitForTat::new(optimistic)),
            Strategy::PropShare => Box::new(PropShare::new(optimistic)),
        };
        Choking {
            strategy,
            seeding: Seeding,
            next: Time::ZERO,
            givers: false,
            newcomers: Newcomers::new(config.limits.newcomer_pool),
            shares: Vec::new(),
            capacity: 0.0,
            down_at_tick: 0,
            up_at_tick: 0,
            refilled: Time::ZERO,
        }
    }

    /// From now on we seed: the next decision is due at once.
    pub fn seeding(&mut self, now: Time) {
        self.next = now;
        self.shares.clear();
    }
}

#[cfg(test)]
mod tests;
