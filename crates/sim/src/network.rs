//! The links between simulated peers: delay, loss, partitions, NATs, liars.
//!
//! Everything here is a function of the two hosts, of the time and of a little chance;
//! there is no state, so that all threads share one network. What is deliberately
//! absent: routers, congestion, and the order of packets on a path.

use std::time::Duration;

use starling_sansio::{Rng, Time};

use crate::hosts::Hosts;
use crate::place::{MAX_HOSTS, mix};

/// How long a message takes one way.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Latency {
    /// Always the same.
    Constant(Duration),
    /// Drawn anew for each message, evenly between two bounds (as PeerSim's uniform
    /// transport does).
    Uniform(Duration, Duration),
    /// Hosts in a unit square; a constant part and one in proportion to the distance,
    /// which is `across` for hosts a side apart.
    Euclidean {
        /// The part that all messages have.
        base: Duration,
        /// From one side of the square to the other.
        across: Duration,
    },
    /// Vivaldi's model of the Internet (Dabek et al., SIGCOMM 2004, section 5.4): two
    /// dimensions of a core, and a height for each host's own access link, here drawn
    /// from an exponential distribution. The parameters are chosen for a mean round
    /// trip of about 180 ms, as the King measurements that the paper uses have.
    Internet,
}

/// Mean of a host's height in the Internet model: its access link, one way.
const INTERNET_HEIGHT: f64 = 15_000.0;
/// From one side of the core to the other, one way, in µs.
const INTERNET_ACROSS: f64 = 110_000.0;
/// What no message on the Internet model's links takes less than, in µs.
const INTERNET_BASE: u64 = 2_000;

impl Latency {
    /// What no message takes less than.
    pub fn least(&self) -> Duration {
        match *self {
            Latency::Constant(delay) => delay,
            Latency::Uniform(low, high) => low.min(high),
            Latency::Euclidean { base, .. } => base,
            Latency::Internet => Duration::from_micros(INTERNET_BASE),
        }
    }

    /// The delay of one message.
    #[inline]
    fn draw(&self, from: u32, to: u32, seed: u64, rng: &mut Rng) -> u64 {
        match *self {
            Latency::Uniform(low, high) => {
                let (low, high) = (low.as_micros() as u64, high.as_micros() as u64);
                low.min(high) + rng.below(high.abs_diff(low) + 1)
            }
            _ => self.typical(from, to, seed),
        }
    }

    /// The delay between two hosts as far as it does not depend on chance.
    fn typical(&self, from: u32, to: u32, seed: u64) -> u64 {
        match *self {
            Latency::Constant(delay) => delay.as_micros() as u64,
            Latency::Uniform(low, high) => (low.as_micros() + high.as_micros()) as u64 / 2,
            Latency::Euclidean { base, across } => {
                base.as_micros() as u64 + (apart(from, to, seed) * across.as_micros() as f64) as u64
            }
            Latency::Internet => Spot::new(from, seed).delay(&Spot::new(to, seed)),
        }
    }
}

/// Where a host stands in the Internet model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    place: (f64, f64),
    height: f64,
}

impl Spot {
    fn new(host: u32, seed: u64) -> Spot {
        Spot { place: place(host, seed), height: height(host, seed) }
    }

    /// How long a message takes between two hosts, in µs.
    fn delay(&self, to: &Spot) -> u64 {
        INTERNET_BASE + (between(self.place, to.place) * INTERNET_ACROSS + self.height + to.height) as u64
    }
}

/// The distance of two hosts in the unit square.
fn apart(a: u32, b: u32, seed: u64) -> f64 {
    between(place(a, seed), place(b, seed))
}

fn between((ax, ay): (f64, f64), (bx, by): (f64, f64)) -> f64 {
    // Not `hypot`, which is slower, and whose last bit depends on the library.
    let (x, y) = (ax - bx, ay - by);
    (x * x + y * y).sqrt()
}

/// Where a host stands in the unit square.
fn place(host: u32, seed: u64) -> (f64, f64) {
    let drawn = mix(u64::from(host) ^ seed.rotate_left(32));
    (part(drawn >> 32), part(drawn & 0xffff_ffff))
}

fn height(host: u32, seed: u64) -> f64 {
    let drawn = part(mix(u64::from(host) ^ seed.rotate_left(17)) >> 32);
    -INTERNET_HEIGHT * (1.0 - drawn).ln()
}

/// A 32-bit number as a part of one.
fn part(bits: u64) -> f64 {
    bits as f64 / 4_294_967_296.0
}

/// For a time, hosts of one side do not reach those of the other.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Partition {
    /// When it begins.
    pub from: Time,
    /// When it is healed.
    pub until: Time,
    /// The share of hosts on one side, 0 to 1.
    pub share: f64,
}

/// The host that begins an overlay where there is none; no NAT is before it.
pub const FOUNDER: u32 = 0;

/// What a hostile host does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hostility {
    /// It takes part in the overlay's upkeep, but answers nobody's look-ups and searches.
    Drop,
    /// In its answers to look-ups and searches it names only other hostile hosts.
    Lie,
}

/// All links.
#[derive(Clone, Debug)]
pub struct Network {
    /// How long messages take.
    pub latency: Latency,
    /// The share of messages that get lost, 0 to 1.
    pub loss: f64,
    /// Bytes a second that a host can send; none: as many as it likes.
    pub uplink: Option<u64>,
    /// The share of hosts behind a NAT: reached only by those they sent to within
    /// [`NAT_MEMORY`].
    pub natted: f64,
    /// When hosts are kept apart.
    pub partitions: Vec<Partition>,
    /// The share of hosts that are hostile, and how.
    pub hostile: Option<(f64, Hostility)>,
    /// If so, the hostile hosts are not drawn but those below this number.
    pub crowd: Option<u32>,
    /// What the hosts' properties are drawn from.
    pub seed: u64,
    /// Which node runs on which host; the engine says.
    pub hosts: Hosts,
}

/// How long a NAT lets answers in after something went out (RFC 4787, REQ-5, asks for
/// two minutes at least; many give less).
pub const NAT_MEMORY: Duration = Duration::from_secs(120);

impl Default for Network {
    fn default() -> Self {
        Network {
            latency: Latency::Constant(Duration::from_millis(50)),
            loss: 0.0,
            uplink: None,
            natted: 0.0,
            partitions: Vec::new(),
            hostile: None,
            crowd: None,
            seed: 0,
            hosts: MAX_HOSTS.into(),
        }
    }
}

impl Network {
    /// How long a message sent now takes between two nodes, or `None` if it never
    /// arrives. Two nodes of one host are as far apart as the model has two hosts at the
    /// same place.
    #[inline]
    pub fn carry(&self, now: Time, from: u32, to: u32, rng: &mut Rng) -> Option<Duration> {
        let (from, to) = (self.hosts.of(from), self.hosts.of(to));
        if self.loss > 0.0 && rng.unit() < self.loss {
            return None;
        }
        if !self.partitions.is_empty() && self.apart(now, from, to) {
            return None;
        }
        Some(Duration::from_micros(self.latency.draw(from, to, self.seed, rng)))
    }

    /// The usual round trip between two nodes.
    pub fn round_trip(&self, from: u32, to: u32) -> Duration {
        let (from, to) = (self.hosts.of(from), self.hosts.of(to));
        Duration::from_micros(2 * self.latency.typical(from, to, self.seed))
    }

    /// Where a node's host stands, if the model has such places: what
    /// [`Network::round_trip_from`] takes, so that who measures many distances looks
    /// itself up once.
    pub(crate) fn spot(&self, node: u32) -> Option<Spot> {
        (self.latency == Latency::Internet).then(|| Spot::new(self.hosts.of(node), self.seed))
    }

    /// [`Network::round_trip`] from a node at `spot`.
    pub(crate) fn round_trip_from(&self, spot: &Spot, to: u32) -> Duration {
        Duration::from_micros(2 * spot.delay(&Spot::new(self.hosts.of(to), self.seed)))
    }

    /// Whether a node's host is behind a NAT.
    #[inline]
    pub fn is_natted(&self, node: u32) -> bool {
        let host = self.hosts.of(node);
        host != FOUNDER && self.natted > 0.0 && self.drawn(host, 0x6e61_7400) < self.natted
    }

    /// What a node's host does to others, if it is hostile.
    #[inline]
    pub fn hostility(&self, node: u32) -> Option<Hostility> {
        let ((share, how), host) = (self.hostile?, self.hosts.of(node));
        let is_hostile = match self.crowd {
            Some(count) => host < count,
            None => self.drawn(host, 0x6576_696c) < share,
        };
        is_hostile.then_some(how)
    }

    fn apart(&self, now: Time, from: u32, to: u32) -> bool {
        let side =
            |partition: &Partition, host| self.drawn(host, partition.from.as_micros()) < partition.share;
        let current = self.partitions.iter().filter(|p| (p.from..p.until).contains(&now));
        current.into_iter().any(|partition| side(partition, from) != side(partition, to))
    }

    /// A number in [0, 1) that belongs to a host and a purpose.
    fn drawn(&self, host: u32, purpose: u64) -> f64 {
        part(mix(u64::from(host) ^ mix(self.seed ^ purpose)) >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(latency: Latency) -> Network {
        Network { latency, seed: 5, ..Network::default() }
    }

    #[test]
    fn no_message_is_faster_than_the_least_and_both_ways_are_alike() {
        let ms = Duration::from_millis;
        let all = [
            Latency::Constant(ms(50)),
            Latency::Uniform(ms(20), ms(160)),
            Latency::Euclidean { base: ms(3), across: ms(100) },
            Latency::Internet,
        ];
        for latency in all {
            let (network, mut rng) = (network(latency), Rng::from_seed(1));
            for host in 0..2_000 {
                let delay = network.carry(Time::ZERO, host, host * 7 + 1, &mut rng).unwrap();
                assert!(delay >= latency.least(), "{latency:?}");
            }
            assert_eq!(network.round_trip(1, 2), network.round_trip(2, 1));
            let spot = network.spot(1);
            assert_eq!(spot.is_some(), latency == Latency::Internet);
            assert!(spot.is_none_or(|spot| network.round_trip_from(&spot, 2) == network.round_trip(1, 2)));
        }
    }

    #[test]
    fn the_internet_model_has_the_round_trips_of_its_source() {
        let network = network(Latency::Internet);
        let mut trips: Vec<f64> =
            (0..20_000).map(|n| network.round_trip(n, n + 20_000).as_secs_f64() * 1e3).collect();
        trips.sort_by(f64::total_cmp);
        let mean = trips.iter().sum::<f64>() / trips.len() as f64;
        assert!((160.0..200.0).contains(&mean), "mean {mean} ms");
        assert!((140.0..190.0).contains(&trips[10_000]), "median {} ms", trips[10_000]);
    }

    #[test]
    fn a_partition_keeps_the_sides_apart_while_it_lasts() {
        let partition = Partition { from: Time::from_secs(10), until: Time::from_secs(20), share: 0.5 };
        let network = Network { partitions: vec![partition], ..network(Latency::Internet) };
        let mut rng = Rng::from_seed(1);
        let mut reached = |now| {
            (0..1_000)
                .filter(|&n| network.carry(Time::from_secs(now), n, n + 1_000, &mut rng).is_some())
                .count()
        };
        assert_eq!((reached(9), reached(20)), (1_000, 1_000));
        assert!((420..580).contains(&reached(10)));
    }

    #[test]
    fn shares_of_hosts_are_kept() {
        let network =
            Network { natted: 0.3, hostile: Some((0.2, Hostility::Lie)), ..network(Latency::Internet) };
        let natted = (0..10_000).filter(|&host| network.is_natted(host)).count();
        let hostile = (0..10_000).filter(|&host| network.hostility(host).is_some()).count();
        assert!((2_800..3_200).contains(&natted) && (1_850..2_150).contains(&hostile), "{natted} {hostile}");
    }
}
