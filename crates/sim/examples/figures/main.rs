//! Reproduces published figures of the overlays: `cargo xtask figures` makes a table of
//! what this prints.
//!
//! `cargo run --release -p starling-sim --example figures [FILE...]` runs the scenarios of
//! the library that have figures, or those in the files, and judges what came of them. A
//! line a figure on stdout, its cells divided by tabs; progress on stderr. Exit code 1 if
//! a figure is not confirmed, 2 if a file is wrong.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program that prints

#[path = "../../tests/figures/kelips.rs"]
mod kelips;

use std::process::ExitCode;
use std::time::Instant;

use starling_sansio::Time;
use starling_sim::report::{Claim, Finding, Report, WITHIN, cell, findings};
use starling_sim::runner::{self, Progress};
use starling_sim::scenario::{FIGURES, Scenario};

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let scenarios = match scenarios(&files) {
        Ok(scenarios) => scenarios,
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::from(2);
        }
    };
    let mut confirmed = true;
    for scenario in &scenarios {
        let found = findings(&scenario.figures, &simulated(scenario));
        confirmed &= told(&scenario.about, scenario.seeds as usize, &found);
    }
    if files.is_empty() {
        confirmed &= of_kelips();
    }
    if confirmed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Those in `files`, or those of the library if there are none.
fn scenarios(files: &[String]) -> Result<Vec<Scenario>, String> {
    if files.is_empty() {
        let parsed = FIGURES.iter().map(|entry| Scenario::parse(entry.name, entry.text));
        return parsed.map(|scenario| scenario.map_err(|wrong| wrong.to_string())).collect();
    }
    let read = |path: &String| {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        let scenario = Scenario::parse(path, &text).map_err(|wrong| wrong.to_string())?;
        match scenario.figures.is_empty() {
            true => Err(format!("{path}: nothing is to be reproduced: add a [[figure]]")),
            false => Ok(scenario),
        }
    };
    files.iter().map(read).collect()
}

fn simulated(scenario: &Scenario) -> Report {
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let start = Instant::now();
    let watch = |progress: &Progress| {
        if progress.reached == Time::ZERO {
            eprintln!("{}: {} of {}", scenario.name, progress.trial + 1, progress.trials);
        }
        true
    };
    let report = runner::run(scenario, threads, &watch);
    eprintln!("{}: {:.1} s", scenario.name, start.elapsed().as_secs_f64());
    report
}

/// Prints findings; whether all are confirmed.
fn told(about: &str, seeds: usize, findings: &[Finding]) -> bool {
    for finding in findings {
        let measured = finding.measured.map_or("-".into(), |interval| cell(&interval));
        let verdict = finding.fault.map_or("pass".into(), |fault| format!("FAIL: {fault}"));
        let Finding { label, what, claim, .. } = finding;
        println!("{label}\t{about}\t{what}\t{claim}\t{seeds}\t{measured}\t{verdict}");
    }
    findings.iter().all(|finding| finding.fault.is_none())
}

/// What no scenario can say: how the state of a node without files grows, and what the
/// files of a network take that no machine holds.
fn of_kelips() -> bool {
    let growth = |node| (kelips::state(node, 100_000) / kelips::state(node, 10_000)).log10();
    let exponents: Vec<f64> = (0..10).map(growth).collect();
    let about = "state without files, from 10^4 to 10^5 nodes: O(sqrt N)";
    let claim = Claim::Bound(None, Some(0.5)).finding("kelips", "exponent of N", &exponents);
    let grown = told(about, exponents.len(), &[claim]);
    let start = Instant::now();
    let nodes: Vec<(f64, f64)> = (0..10).map(kelips::megabytes).collect();
    eprintln!("kelips, 10^7 files: {:.1} s", start.elapsed().as_secs_f64());
    let paper: Vec<f64> = nodes.iter().map(|bytes| bytes.0).collect();
    let Some(claim) = Claim::published("1.93", WITHIN, None) else { return false };
    let memory = claim.finding("kelips", "MB a node", &paper);
    let ours = nodes.iter().map(|bytes| bytes.1).sum::<f64>() / nodes.len() as f64;
    let about = format!("10^5 nodes, 10^7 files, 40 B an entry, 60 B a tuple ({ours:.2} MB of ours)");
    told(&about, nodes.len(), &[memory]) && grown
}
