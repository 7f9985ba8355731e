//! Parameters, and what is counted.

use std::time::Duration;

use super::MAX_DEGREE;
use crate::Id;
use crate::graph::mix;

/// How a node looks for things.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// To all neighbours, theirs, and so on, `ttl` links far.
    Flood {
        /// Links.
        ttl: u8,
    },
    /// Lv et al., "Search and Replication in Unstructured Peer-to-Peer Networks" (ICS
    /// 2002): floods, each further than the one before and with an id of
    /// its own, until enough is found.
    ExpandingRing {
        /// TTL of the first flood.
        first: u8,
        /// By how much it grows.
        step: u8,
        /// TTL of the last one.
        last: u8,
    },
    /// The same paper's random walks: `count` queries that each go to one neighbour at a time,
    /// and ask the origin every `check_every` steps whether enough is found. Walkers
    /// that get lost are replaced.
    Walkers {
        /// Walkers.
        count: u8,
        /// Steps between two questions to the origin.
        check_every: u16,
        /// Steps of a walker at most, up to [`super::MAX_WALK`].
        ttl: u16,
    },
    /// Fisk, "Gnutella Dynamic Query Protocol" 0.1 (2003): a probe to a few neighbours
    /// tells how rare the thing is; the other neighbours are asked one after another,
    /// each as far as it takes to find the rest, until enough is found. While nothing is,
    /// each is asked as far as all before it, and the last as far as may be.
    Dynamic {
        /// Neighbours of the probe.
        probes: u8,
        /// TTL of the probe.
        probe_ttl: u8,
        /// TTL of the later queries at most.
        ttl: u8,
    },
}

/// Parameters of a Gnutella network.
#[derive(Clone, Debug)]
pub struct Config {
    /// Links a node looks for: drawn between the two, by where it stands. At most
    /// [`MAX_DEGREE`].
    pub degree: (u16, u16),
    /// Links beyond those that it accepts.
    pub spare: u16,
    /// How to search.
    pub strategy: Strategy,
    /// Providers after which a look-up by key stops.
    pub providers: u16,
    /// Longest time that a message takes over one link.
    pub hop_time: Duration,
    /// Silence after which a neighbour is pinged.
    pub ping_interval: Duration,
    /// Intervals of silence after which a neighbour is taken for dead.
    pub missed: u8,
    /// How long a neighbour-to-be may think.
    pub connect_timeout: Duration,
    /// How old hosts may be in the cache.
    pub host_lifetime: Duration,
    /// How long the way back to a query's origin is remembered, at least.
    pub route_lifetime: Duration,
    /// Which random graph [`crate::Core::converge`] builds.
    pub seed: u64,
}

impl Default for Config {
    /// Five links, TTL 7: a flood sees some 10^4 nodes.
    fn default() -> Config {
        Config {
            degree: (5, 5),
            spare: 3,
            strategy: Strategy::Flood { ttl: 7 },
            providers: 1,
            hop_time: Duration::from_millis(500),
            ping_interval: Duration::from_secs(15),
            missed: 2,
            connect_timeout: Duration::from_secs(3),
            host_lifetime: Duration::from_secs(600),
            route_lifetime: Duration::from_secs(30),
            seed: 0,
        }
    }
}

impl Config {
    /// How many links the node at `place` looks for.
    pub(super) fn target(&self, place: Id) -> u16 {
        let (low, high) = (self.degree.0.clamp(1, MAX_DEGREE), self.degree.1.min(MAX_DEGREE));
        low + (mix(place.high() ^ self.seed) % (u64::from(high.saturating_sub(low)) + 1)) as u16
    }

    /// How long the answers to a query of that TTL may take.
    pub(super) fn patience(&self, ttl: u8) -> Duration {
        self.hop_time * (2 * u32::from(ttl) + 1)
    }
}

/// What passed through a node, for whoever measures.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Queries and steps of walkers that came. Without `duplicates`, and summed over
    /// all nodes, it is how many nodes the searches reached: their horizon.
    pub queries: u32,
    /// Those of them that had been here before.
    pub duplicates: u32,
    /// Hits passed on.
    pub hits: u32,
    /// Hits and pushes whose way was forgotten or cut.
    pub lost: u32,
    /// Hits that came when the search was over.
    pub late: u32,
    /// Pushes passed on.
    pub pushes: u32,
    /// Givs that came.
    pub givs: u32,
}

/// One more; a counter that strangers can drive goes round.
pub(crate) fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}
