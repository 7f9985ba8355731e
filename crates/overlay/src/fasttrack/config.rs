//! Parameters, and what is counted.

use std::time::Duration;

use super::{MAX_LEAVES, MAX_LINKS};
use crate::Id;
use crate::graph::mix;

/// Parameters of a FastTrack network.
#[derive(Clone, Debug)]
pub struct Config {
    /// What this node can bear, 1 to 100. Without it, a value is drawn from where the
    /// node stands: few nodes can bear much (half of them 1, a tenth at least 10).
    pub capacity: Option<u8>,
    /// Leaves of a super-peer at most, up to [`MAX_LEAVES`].
    pub leaves: u16,
    /// Links that a super-peer has to others. It looks for half as many and accepts
    /// twice as many, up to [`MAX_LINKS`], so that the mean stays near it.
    pub links: u16,
    /// How many links far a query goes among super-peers.
    pub ttl: u8,
    /// Records a leaf may publish at a super-peer, with [`super::NAME_BYTES`] of name each
    /// on average.
    pub records: u16,
    /// Providers after which a look-up by key stops.
    pub providers: u16,
    /// Longest time that a message takes over one link.
    pub hop_time: Duration,
    /// How long an answer may take; a question is put three times.
    pub timeout: Duration,
    /// How often leaves and super-peers make sure of each other.
    pub interval: Duration,
    /// Intervals of silence after which somebody is taken for dead.
    pub missed: u8,
    /// How long a leaf must have been with its super-peer to become one, or to vouch.
    pub probation: Duration,
    /// Vouchers that a leaf needs to become one in place of its super-peer.
    pub vouchers: u8,
    /// How long the way back to a query's origin is remembered, at least.
    pub route_lifetime: Duration,
    /// Which capacities are drawn, and which graph [`crate::Core::converge`] builds.
    pub seed: u64,
}

impl Default for Config {
    /// 100 leaves a super-peer, as Liang et al. saw 100 to 160 at theirs.
    fn default() -> Config {
        Config {
            capacity: None,
            leaves: 100,
            links: 10,
            ttl: 4,
            records: 1000,
            providers: 1,
            hop_time: Duration::from_millis(500),
            timeout: Duration::from_secs(2),
            interval: Duration::from_secs(15),
            missed: 2,
            probation: Duration::from_secs(600),
            vouchers: 2,
            route_lifetime: Duration::from_secs(30),
            seed: 0,
        }
    }
}

impl Config {
    /// What the node at `place` can bear, 1 to 100.
    pub fn capacity_at(&self, place: Id) -> u8 {
        let drawn = || (100 / (1 + mix(place.high() ^ mix(self.seed)) % 100)) as u8;
        self.capacity.unwrap_or_else(drawn).clamp(1, 100)
    }

    /// Leaves of a super-peer at most.
    pub(super) fn room(&self) -> usize {
        usize::from(self.leaves.clamp(1, MAX_LEAVES))
    }

    /// Links a super-peer looks for.
    pub(super) fn links_sought(&self) -> usize {
        usize::from(self.links.div_ceil(2).clamp(1, MAX_LINKS))
    }

    /// Links a super-peer accepts.
    pub(super) fn links_accepted(&self) -> usize {
        usize::from(self.links.saturating_mul(2).clamp(1, MAX_LINKS))
    }

    /// How long hits may take.
    pub(super) fn patience(&self) -> Duration {
        self.hop_time * (2 * u32::from(self.ttl) + 3)
    }
}

/// What passed through a node, for whoever measures.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Queries that came.
    pub queries: u32,
    /// Those of them that had been here before.
    pub duplicates: u32,
    /// Hits passed on.
    pub hits: u32,
    /// Hits and vouches whose way was forgotten or cut.
    pub lost: u32,
    /// Hits that came when the search was over.
    pub late: u32,
    /// Times that this node became a super-peer.
    pub promotions: u32,
    /// Times that it became a leaf again.
    pub demotions: u32,
    /// Times that it lost a super-peer and moved.
    pub moves: u32,
}
