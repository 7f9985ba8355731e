//! Runs a scenario file and prints its table: the simulator as a library.
//!
//! `cargo run --release -p starling-sim --example scenario -- FILE`
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program that prints

use std::process::ExitCode;
use std::time::Instant;

use starling_sim::report::table;
use starling_sim::runner;
use starling_sim::scenario::{Any, Scenario};
use starling_sim::swarm;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("which scenario file?");
        return ExitCode::from(2);
    };
    let scenario = std::fs::read_to_string(&path)
        .map_err(|error| format!("{path}: {error}"))
        .and_then(|text| Any::parse(&path, &text).map_err(|wrong| wrong.to_string()));
    let start = Instant::now();
    let (table, events, told) = match scenario {
        Ok(Any::Overlays(scenario)) => overlays(&scenario),
        Ok(Any::Swarm(scenario)) => swarm(&scenario),
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::FAILURE;
        }
    };
    let secs = start.elapsed().as_secs_f64();
    print!("{table}");
    told.iter().for_each(|told| println!("{told}"));
    println!("{events} events in {secs:.2} s: {:.2} M events/s", events as f64 / secs / 1e6);
    if told.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn overlays(scenario: &Scenario) -> (String, u64, Vec<String>) {
    let report = runner::run(scenario, 1, &|_| true);
    let trials = report.rows.iter().flat_map(|row| &row.trials);
    let events = trials.map(|(_, findings)| findings.whole.events()).sum();
    (table(&report), events, report.violations())
}

fn swarm(scenario: &swarm::Scenario) -> (String, u64, Vec<String>) {
    let report = swarm::run(scenario, 1, &|_| true);
    let events = report.trials.iter().map(|(_, outcome)| outcome.events).sum();
    (report.table(), events, Vec::new())
}
