//! `cargo xtask bench`: starling beside the real programs, in one run.

mod create;
mod floor;
mod latency;
mod options;
mod peersim;
pub mod report;
mod sample;
mod swarm;
pub mod table;

use std::process::{Command, ExitCode, Stdio};

use starling_interop::client::starling;

use crate::workspace;
use options::Options;

/// Runs one benchmark, or one side of the floor's transfer.
pub fn run(args: &[&str]) -> ExitCode {
    let Some((name, rest)) = args.split_first() else { return crate::usage() };
    let result = match (*name, Options::parse(rest)) {
        ("floor-send", _) => floor::send(rest),
        ("floor-receive", _) => floor::receive(rest),
        ("peersim", _) if rest.is_empty() => peersim::run(),
        ("swarm", Ok(options)) => built(&options).and_then(|()| swarm::run(&options)),
        ("create", Ok(options)) => built(&options).and_then(|()| create::run(&options)),
        ("latency", Ok(options)) => built(&options).and_then(|()| latency::run(&options)),
        (_, Err(problem)) => Err(problem),
        _ => return crate::usage(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the binary as it is released, unless told to do without or to take another
/// (`STARLING_BIN`).
fn built(options: &Options) -> Result<(), String> {
    if let Some(path) = std::env::var_os("STARLING_BIN") {
        starling::use_binary(path.into());
        return Ok(());
    }
    if options.without_starling {
        starling::use_binary("/nonexistent".into());
        return Ok(());
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--release", "--package", "starling"]).current_dir(workspace::root());
    if !cargo.stdin(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return Err("starling does not build".into());
    }
    let here = std::env::current_exe().map_err(|e| e.to_string())?;
    let target = here.ancestors().nth(2).ok_or("no target folder")?;
    starling::use_binary(target.join("release/starling"));
    Ok(())
}

/// The middle one of some values; there must be one.
fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Bytes in so much time, as whole MB/s.
fn rate(bytes: u64, time: std::time::Duration) -> String {
    format!("{:.0}", bytes as f64 / 1e6 / time.as_secs_f64().max(1e-6))
}
