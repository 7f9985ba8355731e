//! What a simulation measures: of each operation, of each node, of the whole.

use crate::histogram::Histogram;

/// Kinds of operations, measured apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Find the nodes responsible for a random key.
    Find,
    /// Look up who has a published record.
    LookUp,
    /// Search for records by words.
    Search,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Kind; 3] = [Kind::Find, Kind::LookUp, Kind::Search];
}

/// The operations of one kind.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Operations {
    /// How many were begun.
    pub begun: u64,
    /// Ended with an answer.
    pub found: u64,
    /// Ended with the answer that there is none.
    pub not_found: u64,
    /// Ended without an answer.
    pub failed: u64,
    /// The overlay has no such operation, or was too busy.
    pub refused: u64,
    /// The asking host left before the end, or the simulation ended soon after they
    /// began; such operations count nowhere else.
    pub aborted: u64,
    /// Not over when the simulation was, though they had time.
    pub open: u64,
    /// Path lengths of those that found something.
    pub hops: Histogram,
    /// How long those took, in µs. For searches: until the first hit.
    pub latency: Histogram,
    /// Peers asked in vain, by operation.
    pub timeouts: Histogram,
    /// How long an answer took, over the round trip to who gave it, in thousandths.
    pub stretch: Histogram,
    /// How long all those answers took together, in µs, if they are recursive.
    pub took: u64,
    /// The round trips to those who gave them then, together, in µs.
    pub direct: u64,
    /// Finds whose answer was the node that is truly responsible; of those checked.
    pub right: u64,
    /// Finds whose answer was checked.
    pub checked: u64,
    /// Hits found: pairs of a record and a provider that has it and is up, each once.
    pub hits: u64,
    /// Other hits: the provider is gone, or never had it.
    pub stale: u64,
    /// Hits that could have been found: of all who have a record that was meant, those
    /// that are up.
    pub possible: u64,
}

impl Operations {
    /// Operations that came to an end of their own.
    pub fn ended(&self) -> u64 {
        self.found + self.not_found + self.failed + self.refused
    }

    /// The share that found an answer, of those that ended or should have.
    pub fn success(&self) -> Option<f64> {
        let all = self.ended() + self.open;
        (all > 0).then(|| self.found as f64 / all as f64)
    }

    /// The share of existing hits that were found.
    pub fn recall(&self) -> Option<f64> {
        (self.possible > 0).then(|| self.hits as f64 / self.possible as f64)
    }

    /// The share of the hits found whose provider is gone, or never had it.
    pub fn staleness(&self) -> Option<f64> {
        let all = self.hits + self.stale;
        (all > 0).then(|| self.stale as f64 / all as f64)
    }

    /// Adds another part's operations.
    pub fn add(&mut self, other: &Operations) {
        self.begun += other.begun;
        self.found += other.found;
        self.not_found += other.not_found;
        self.failed += other.failed;
        self.refused += other.refused;
        self.aborted += other.aborted;
        self.open += other.open;
        self.hops.merge(&other.hops);
        self.latency.merge(&other.latency);
        self.timeouts.merge(&other.timeouts);
        self.stretch.merge(&other.stretch);
        self.took += other.took;
        self.direct += other.direct;
        self.right += other.right;
        self.checked += other.checked;
        self.hits += other.hits;
        self.stale += other.stale;
        self.possible += other.possible;
    }
}
