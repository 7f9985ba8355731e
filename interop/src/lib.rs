//! Starling beside real BitTorrent programs.

#[allow(missing_docs)]
pub mod programs;

pub use programs::Program;
