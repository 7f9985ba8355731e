//! Runs a swarm's scenario with every seed.

use starling_sansio::Time;

use super::{Outcome, Report, Scenario, World};
use crate::runner::{Progress, trials};

/// One trial of `scenario`; none if there can be no such torrent.
pub fn measure(scenario: &Scenario, seed: u64) -> Option<Outcome> {
    Some(World::new(scenario.setting(seed)).ok()?.run(&mut |_, _, _| true))
}

/// Runs all trials of `scenario` on at most `threads` threads. `watch` is told how far
/// each trial is and may stop it; what is known by then is in the report, and trials
/// that were not begun are not.
pub fn run(scenario: &Scenario, threads: usize, watch: &(impl Fn(&Progress) -> bool + Sync)) -> Report {
    let outcomes = trials(scenario.seeds as usize, threads, |trial| {
        let seed = trial as u64 + 1;
        let mut progress = Progress {
            trial,
            trials: scenario.seeds as usize,
            label: scenario.name.clone(),
            seed,
            reached: Time::ZERO,
            share: 0.0,
            events: 0,
        };
        if !watch(&progress) {
            return None;
        }
        let world = World::new(scenario.setting(seed)).ok()?;
        let mut stopped = false;
        let outcome = world.run(&mut |now, share, events| {
            (progress.reached, progress.share, progress.events) = (now, share, events);
            stopped = !watch(&progress);
            !stopped
        });
        Some(Outcome { stopped, ..outcome })
    });
    let seeds = (1..).zip(outcomes).filter_map(|(seed, outcome)| Some((seed, outcome?)));
    Report::of(scenario, seeds.collect())
}
