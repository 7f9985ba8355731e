//! Round trips to the addresses that were heard from.
//!
//! A peer can make itself look farther or nearer by what it says of a stamp it held; it
//! speaks for itself alone, and proximity is a preference, never a proof.

use std::net::SocketAddr;
use std::time::Duration;

use starling_sansio::Time;

use super::datagram::Echo;
use super::recent::Recent;

/// Addresses remembered: twice this, see [`Recent`].
const ROADS_MAX: usize = 2048;
/// A longer round trip is a mistake or a lie.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);
/// A stamp that was held for longer is not sent back.
const HELD_MAX: Duration = Duration::from_secs(60);

/// What is known of the ways to others.
#[derive(Default)]
pub(super) struct Roads(Recent<Road, ROADS_MAX>);

#[derive(Clone, Copy)]
struct Road {
    stamp: u32,
    came: Time,
    round_trip: Option<Duration>,
}

/// A moment as it stands in a header.
pub(super) fn stamp(now: Time) -> u32 {
    now.as_micros() as u32 // modulo 2^32
}

impl Roads {
    /// A datagram came.
    pub fn heard(&mut self, now: Time, from: SocketAddr, its: u32, echo: Option<Echo>) {
        let measured = echo.map(|echo| stamp(now).wrapping_sub(echo.stamp).wrapping_sub(echo.held));
        let measured = measured.map(|micros| Duration::from_micros(micros.into()));
        let known = self.0.get(from).and_then(|road| road.round_trip);
        let round_trip = match (known, measured.filter(|&trip| trip <= ROUND_TRIP_MAX)) {
            (Some(known), Some(new)) => Some((known * 7 + new) / 8), // RFC 6298
            (known, new) => known.or(new),
        };
        self.0.put(from, Road { stamp: its, came: now, round_trip });
    }

    /// What a datagram to `to` sends back.
    pub fn echo(&self, now: Time, to: SocketAddr) -> Option<Echo> {
        let road = self.0.get(to)?;
        let held = now.since(road.came);
        (held <= HELD_MAX).then_some(Echo { stamp: road.stamp, held: held.as_micros() as u32 })
    }

    /// The smoothed round trip.
    pub fn round_trip(&self, to: SocketAddr) -> Option<Duration> {
        self.0.get(to)?.round_trip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_is_measured_without_the_time_a_stamp_was_held() {
        let [a, b]: [SocketAddr; 2] = ["10.0.0.1:1", "10.0.0.2:1"].map(|text| text.parse().unwrap());
        let (mut at_a, mut at_b) = (Roads::default(), Roads::default());
        at_b.heard(Time::from_millis(7_030), a, stamp(Time::from_millis(1_000)), None);
        let echo = at_b.echo(Time::from_millis(7_530), a);
        at_a.heard(Time::from_millis(1_560), b, 0, echo);
        assert_eq!(at_a.round_trip(b), Some(Duration::from_millis(60)));
        assert_eq!(at_b.round_trip(a), None);
    }

    #[test]
    fn lies_are_no_round_trips_and_strangers_fill_no_memory() {
        let mut roads = Roads::default();
        let addr = |n: u32| SocketAddr::new(std::net::Ipv4Addr::from(n).into(), 1);
        roads.heard(Time::from_secs(1), addr(0), 0, Some(Echo { stamp: 1_000_000, held: 1 }));
        assert_eq!(roads.round_trip(addr(0)), None);
        (0..3 * ROADS_MAX as u32).for_each(|n| roads.heard(Time::from_secs(1), addr(n), 0, None));
        assert!(roads.0.len() <= 2 * ROADS_MAX);
        assert!(roads.echo(Time::from_secs(2), addr(3 * ROADS_MAX as u32 - 1)).is_some());
    }
}
