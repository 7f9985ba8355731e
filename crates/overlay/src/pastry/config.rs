//! Parameters of a Pastry network.

use std::time::Duration;

use super::{MAX_DIGIT_BITS, MAX_LEAF};

/// Parameters.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// b: bits of a digit, 1 to [`MAX_DIGIT_BITS`].
    pub digit_bits: u32,
    /// L: nodes in the leaf set, even, at most [`MAX_LEAF`].
    pub leaf: usize,
    /// M: nodes in the neighbourhood set, at most [`MAX_LEAF`]; 0 for none.
    pub neighborhood: usize,
    /// Whether finds are iterative.
    pub iterative: bool,
    /// Whether two nodes for one place of the table race when the driver does not know
    /// how far they are. If not, the first stays.
    pub race: bool,
    /// How often both next neighbours, and one other leaf, are probed.
    pub heartbeat: Duration,
    /// How often one entry of the table is probed; every fourth is asked for its row.
    pub scan: Duration,
    /// How long to wait for an answer at most. The round trip if the driver knows it, and
    /// as much longer as answers are late of late, if that is less; twice that when asked
    /// again, and so on.
    pub answer_timeout: Duration,
    /// How long to wait for the answer to a recursive find before trying iteratively; and
    /// how long an iterative find waits that cannot ask because too many questions are open.
    pub find_timeout: Duration,
    /// How long to wait for a join's answer at first; doubles up to a minute.
    pub join_timeout: Duration,
    /// How long a silent node is not believed in, whoever names it.
    pub suspicion: Duration,
    /// Whether tables stay as they are, whoever speaks or is silent: for seeing what comes
    /// before any repair (Rowstron and Druschel, section 3.4).
    pub frozen: bool,
    /// How many of those that fit a place [`crate::Core::converge`] compares at most.
    pub sample: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            digit_bits: 4,
            leaf: 16,
            neighborhood: 0,
            iterative: false,
            race: true,
            heartbeat: Duration::from_secs(30),
            scan: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(1),
            find_timeout: Duration::from_secs(8),
            join_timeout: Duration::from_secs(4),
            suspicion: Duration::from_secs(60),
            frozen: false,
            sample: 16,
        }
    }
}

impl Config {
    pub(super) fn width(&self) -> u32 {
        self.digit_bits.clamp(1, MAX_DIGIT_BITS)
    }

    /// Nodes on one side of the leaf set.
    pub(super) fn half(&self) -> usize {
        (self.leaf / 2).clamp(1, MAX_LEAF / 2)
    }
}
