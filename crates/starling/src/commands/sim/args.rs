//! What can be said after `starling sim`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::Talk;

/// Run overlays and swarms in a simulator, and compare them.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true)]
pub struct Sim {
    /// What to do.
    #[command(subcommand)]
    pub what: What,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum What {
    /// Run the same workload over all seven overlays and print one table
    Compare(Compare),
    /// Run a scenario: a file, or one that comes with the program
    Run(Run),
    /// Print one look-up, hop by hop, with the routing table of each peer on the way
    ///
    /// Chord, Pastry, Kademlia and Kelips look for who is responsible for the key, the others
    /// for who has the record of that key.
    Trace(Trace),
    /// List the scenarios that come with the program, or print one
    Scenarios {
        /// The scenario to print
        name: Option<String>,
    },
    /// List the figures that a scenario can print
    Columns,
}

/// How a simulation is run, and where its figures go.
#[derive(Args, Debug, Clone)]
pub struct How {
    /// Nodes (of a swarm: those beside the origin), instead of the scenario's
    #[arg(long, value_name = "N")]
    pub nodes: Option<u32>,
    /// Repeat with this many seeds and give 95 % intervals
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub seeds: Option<u64>,
    /// Figures to print, separated by commas (`starling sim columns` lists them)
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = name)]
    pub columns: Vec<String>,
    /// Threads [default: as many as the machine has cores]
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_024))]
    pub threads: Option<usize>,
    /// Write report.html, figures.json and figures.csv into this folder, created if need be;
    /// files of these names that are not of this program are not written over
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How the command talks.
    #[command(flatten)]
    pub talk: Talk,
}

/// `starling sim compare`.
#[derive(Args, Debug)]
pub struct Compare {
    /// Only these overlays, separated by commas [default: all seven]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = name)]
    pub overlays: Vec<String>,
    /// How it is run.
    #[command(flatten)]
    pub how: How,
}

/// `starling sim run`.
#[derive(Args, Debug)]
pub struct Run {
    /// A scenario file, or the name of one that comes with the program
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// How it is run.
    #[command(flatten)]
    pub how: How,
}

/// `starling sim trace`.
#[derive(Args, Debug)]
pub struct Trace {
    /// The overlay
    #[arg(long, value_name = "NAME", default_value = "chord")]
    pub overlay: String,
    /// Nodes, 1 to 100,000
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub nodes: u32,
    /// Bits of the id space, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub bits: u32,
    /// The key to look up, a number of that many bits, as 15 or 0xf
    #[arg(long = "lookup", value_name = "KEY", default_value_t = 15, value_parser = number)]
    pub key: u64,
    /// The node that asks, by its number from 0
    #[arg(long, value_name = "NODE", default_value_t = 0)]
    pub from: u32,
    /// Place the nodes by chance instead of in equal steps
    #[arg(long)]
    pub random: bool,
    /// What chance is drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// One JSON object a line on stdout
    #[arg(long)]
    pub json: bool,
}

/// A name in a list, which may have spaces behind its commas.
#[expect(clippy::unnecessary_wraps, reason = "as a parser of arguments is")]
fn name(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(text.trim().to_owned())
}

/// A number in decimal, or in hexadecimal digits behind 0x.
fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16))
}
