//! `cargo xtask`: the tasks of the project that are more than one cargo command.
//!
//! `test` is the one test command, `tidy` measures style and holds the law of
//! dependence, `bench` compares with real programs. Only small crates are used,
//! so that this builds in seconds on a fresh machine.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command line's own voice

mod bench;
mod figures;
mod install;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND

  test [--install]     everything that must pass: format, clippy, tests, docs, corpora, interop
  tidy [--update]      measure style, check the law of dependence; --update lowers the baseline
  bench swarm|create|latency [--size 1GiB] [--runs 5] [--only NAME,NAME] [--without-starling] [--dry]
                       beside the real programs, into docs/benchmarks.md: transfers, making
                       torrents, and transfers over long and narrow roads
  bench peersim        the simulator's Kademlia beside PeerSim's (PEERSIM_CLASSPATH says where)
  figures [FILE...]    what papers published of the overlays, measured again, into
                       docs/overlays.md; or the figures of these scenario files";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.split_first() {
        Some((&"test", rest)) => test::run(rest),
        Some((&"tidy", rest)) => tidy::run(rest),
        Some((&"bench", rest)) => bench::run(rest),
        Some((&"figures", rest)) => figures::run(rest),
        _ => usage(),
    }
}

/// Says how to use this program; exit code 2 as for every wrong usage.
fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
