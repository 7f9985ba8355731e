//! Runs a scenario: every overlay with every seed.
//!
//! Trials do not depend on each other, so threads take whole trials; a single trial
//! gets two threads to itself.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use starling_sansio::Time;

use crate::report::{Report, Summary};
use crate::scenario::{Choice, Scenario};
use crate::trial::{Findings, Watch};

/// How far one trial is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Which trial, from 0.
    pub trial: usize,
    /// How many there are.
    pub trials: usize,
    /// The overlay's label.
    pub label: String,
    /// The seed.
    pub seed: u64,
    /// The simulated time it has come to.
    pub reached: Time,
    /// The simulated time it goes to.
    pub until: Time,
    /// Events so far.
    pub events: u64,
}

/// Runs all trials of `scenario` on at most `threads` threads. `watch` is told how far
/// each trial is and may stop it; what is known by then is in the report, and trials
/// that were not begun are not.
pub fn run(scenario: &Scenario, threads: usize, watch: &(impl Fn(&Progress) -> bool + Sync)) -> Report {
    let seeds = 1..=scenario.seeds;
    let trials: Vec<(usize, &Choice, u64)> = (0..)
        .zip(scenario.overlays.iter().flat_map(|choice| seeds.clone().map(move |seed| (choice, seed))))
        .map(|(number, (choice, seed))| (number, choice, seed))
        .collect();
    let results: Vec<Mutex<Option<Findings>>> = trials.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let inside = if trials.len() == 1 { threads } else { 1 };
    let work = || {
        while let Some(&(number, choice, seed)) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut progress = Progress {
                trial: number,
                trials: trials.len(),
                label: choice.label(),
                seed,
                reached: Time::ZERO,
                until: Time::ZERO,
                events: 0,
            };
            if !watch(&progress) {
                return;
            }
            let setting = scenario.setting(choice, seed);
            progress.until = setting.until;
            let findings = choice.run(setting, inside, &mut Follow { progress, watch });
            *results[number].lock().unwrap_or_else(PoisonError::into_inner) = Some(findings);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.clamp(1, trials.len().max(1)) {
            scope.spawn(work);
        }
        work();
    });
    collect(scenario, &trials, results)
}

/// Tells a trial's progress to the watcher of all.
struct Follow<'a, F> {
    progress: Progress,
    watch: &'a F,
}

impl<F: Fn(&Progress) -> bool> Watch for Follow<'_, F> {
    fn go_on(&mut self, now: Time, events: u64) -> bool {
        self.progress.reached = now;
        self.progress.events = events;
        (self.watch)(&self.progress)
    }
}

fn collect(
    scenario: &Scenario,
    trials: &[(usize, &Choice, u64)],
    results: Vec<Mutex<Option<Findings>>>,
) -> Report {
    let mut report = Report::of(scenario);
    for (&(_, choice, seed), result) in trials.iter().zip(results) {
        let Some(findings) = result.into_inner().unwrap_or_else(PoisonError::into_inner) else { continue };
        let label = choice.label();
        match report.rows.last_mut().filter(|row| row.label == label) {
            Some(row) => row.trials.push((seed, findings)),
            None => report.rows.push(Summary {
                label,
                overlay: choice.name(),
                nodes: scenario.nodes(),
                trials: vec![(seed, findings)],
            }),
        }
    }
    report
}
