//! Everything that will happen in a world: who comes and goes, publishes and asks.

use std::time::Duration;

use starling_sansio::Time;

use crate::catalogue::Catalogue;
use crate::churn::Churn;
use crate::hosts::Hosts;
use crate::metrics::Kind;

/// Operations of one kind that hosts begin at random moments.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Traffic {
    /// What they ask.
    pub kind: Kind,
    /// When the first may come.
    pub from: Time,
    /// When the last has come.
    pub until: Time,
    /// How many.
    pub amount: Amount,
    /// Hits after which a search may stop.
    pub wanted: u16,
}

/// How many operations there are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Amount {
    /// So many in all.
    Total(u64),
    /// One a host and interval on average, while the host is up.
    Every(Duration),
}

/// Many hosts come within a short time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Arrival {
    /// When the first comes.
    pub at: Time,
    /// The last comes so much later.
    pub over: Duration,
    /// The first host.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// Everything that will happen, the same for all parts.
#[derive(Clone, Debug)]
pub struct Plan {
    /// All hosts.
    pub hosts: Hosts,
    /// What is published; nothing without.
    pub catalogue: Option<Catalogue>,
    /// When publishing begins, and how long it takes until all have begun.
    pub publish: (Time, Duration),
    /// What is asked.
    pub traffic: Vec<Traffic>,
    /// Who comes.
    pub arrivals: Vec<Arrival>,
    /// How hosts come and go; not at all without.
    pub churn: Option<Churn>,
}
