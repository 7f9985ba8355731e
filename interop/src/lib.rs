//! Starling beside real BitTorrent programs.
//!
//! Each program has a driver in [`client`] that starts it as a seeder or a leecher
//! and tells when it is up and when it is done, by events of the program's own
//! (a hook, a line, an exit), never by sleeping. Everything runs in a network
//! [`namespace`] of the test's own, with an address for each peer, and every
//! process dies with the thread that started it.
//!
//! The tests in `tests/` and the benchmarks of `cargo xtask bench` share all this.

#![allow(clippy::print_stderr)] // test support speaks to whoever runs the tests

pub mod cgroup;
pub mod client;
pub mod content;
pub mod http;
pub mod namespace;
pub mod probe;
pub mod process;
mod programs;
pub mod scene;
pub mod shaper;
pub mod torrent;
pub mod tracker;
pub mod webserver;

pub use programs::{PYTHON, Program, find};

/// What went wrong, as a sentence for whoever reads the test's output.
pub type Result<T> = std::result::Result<T, String>;

/// Adds what was being done to an error.
pub fn context<T, E: std::fmt::Display>(result: std::result::Result<T, E>, doing: &str) -> Result<T> {
    result.map_err(|e| format!("{doing}: {e}"))
}
