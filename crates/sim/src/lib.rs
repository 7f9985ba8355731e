//! A simulator: the cores of real nodes in virtual time, a million at once.
//!
//! A [`Part`] holds hosts and their pending events, an [`Engine`] runs the parts of a
//! world in step, a [`Script`] decides who joins, leaves, publishes and asks. Links
//! ([`Network`]) have delay, loss, limited uplinks, partitions and NATs; some hosts may
//! be hostile. Same seed, same world: the same events, on one thread or two. [`swarm`] is
//! another world, of streams and disks, for BitTorrent.
//!
//! What is deliberately absent: real sockets and real time; the simulator and `net`
//! never meet.

pub mod catalogue;
pub mod check;
pub mod churn;
mod engine;
pub mod histogram;
mod hosts;
pub mod judge;
pub mod metrics;
pub mod network;
mod outside;
pub mod pages;
mod part;
mod place;
pub mod plan;
pub mod queue;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod swarm;
mod tally;
pub mod trace;
pub mod trial;
pub mod workload;

pub use engine::Engine;
pub use hosts::Hosts;
pub use network::{Hostility, Latency, Network, Partition};
pub use outside::{Outside, Sent};
pub use part::{Part, Script};
pub use place::{MAX_HOSTS, Node, Places, Spread};
pub use tally::{HEADER_BYTES, Tally};

/// Key number `number` of an id space of `bits` (1 to 64) bits.
pub fn key(number: u64, bits: u32) -> starling_overlay::Id {
    starling_overlay::Id::small(number, bits)
}
