//! Runs a scenario: every overlay with every seed.
//!
//! Trials do not depend on each other, so threads take whole trials; a single trial of a
//! large world gets two threads to itself.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use starling_sansio::Time;

use crate::report::{Report, Summary};
use crate::scenario::{Choice, Scenario};
use crate::trial::{Findings, Watch};

/// Hosts from which on a second thread is worth it: in a smaller world so little happens
/// between two meetings of the threads that on a busy machine they mostly wait for each other.
const WORTH_TWO: u32 = 20_000;

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
    /// The share of it that is done, 0 to 1.
    pub share: f64,
    /// Events so far.
    pub events: u64,
}

/// Runs all trials of `scenario` on at most `threads` threads. `watch` is told how far
/// each trial is and may stop it; what is known by then is in the report, and trials
/// that were not begun are not.
pub fn run(scenario: &Scenario, threads: usize, watch: &(impl Fn(&Progress) -> bool + Sync)) -> Report {
    let seeds = 1..=scenario.seeds;
    let each = |choice| seeds.clone().map(move |seed| (choice, seed));
    let plan: Vec<(&Choice, u64)> = scenario.overlays.iter().flat_map(each).collect();
    let inside = if plan.len() == 1 && scenario.nodes() >= WORTH_TWO { threads } else { 1 };
    let results = trials(plan.len(), threads, |number| {
        let &(choice, seed) = plan.get(number)?;
        let progress = Progress {
            trial: number,
            trials: plan.len(),
            label: choice.label(),
            seed,
            reached: Time::ZERO,
            share: 0.0,
            events: 0,
        };
        if !watch(&progress) {
            return None;
        }
        let setting = scenario.setting(choice, seed);
        let until = setting.until;
        Some(choice.run(setting, inside, &mut Follow { progress, until, watch }))
    });
    collect(scenario, &plan, results)
}

/// Takes trials `0..count` on at most `threads` threads; what each gave, in order. The
/// first that gives nothing ends its thread's work.
pub(crate) fn trials<T: Send>(
    count: usize,
    threads: usize,
    trial: impl Fn(usize) -> Option<T> + Sync,
) -> Vec<Option<T>> {
    let results: Vec<Mutex<Option<T>>> = (0..count).map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(place) = results.get(number) else { return };
            let Some(result) = trial(number) else { return };
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.clamp(1, count.max(1)) {
            scope.spawn(work);
        }
        work();
    });
    results.into_iter().map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

/// Tells a trial's progress to the watcher of all.
struct Follow<'a, F> {
    progress: Progress,
    until: Time,
    watch: &'a F,
}

impl<F: Fn(&Progress) -> bool> Watch for Follow<'_, F> {
    fn go_on(&mut self, now: Time, events: u64) -> bool {
        self.progress.reached = now;
        self.progress.share = now.as_micros() as f64 / self.until.as_micros().max(1) as f64;
        self.progress.events = events;
        (self.watch)(&self.progress)
    }
}

fn collect(scenario: &Scenario, plan: &[(&Choice, u64)], results: Vec<Option<Findings>>) -> Report {
    let mut report = Report::of(scenario);
    for (&(choice, seed), result) in plan.iter().zip(results) {
        let Some(findings) = result else { continue };
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
