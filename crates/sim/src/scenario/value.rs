//! Values of a scenario file that are wrong outside of their bounds, so that they are
//! refused with their line.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::check::short;

/// A duration, in seconds: a millisecond at least, since what comes again after no time
/// at all comes for ever, and 30 years at most.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct Secs(pub Duration);

impl fmt::Display for Secs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_secs_f64().fmt(f)
    }
}

/// The bounds of [`Secs`].
const SECS: std::ops::RangeInclusive<f64> = 0.001..=1e9;

impl<'de> Deserialize<'de> for Secs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let secs = f64::deserialize(deserializer)?;
        let duration = Some(secs).filter(|secs| SECS.contains(secs)).map(Duration::from_secs_f64);
        duration.map(Secs).ok_or_else(|| {
            D::Error::custom(format_args!(
                "{} s is out of bounds: {} to {:e} s",
                short(secs),
                SECS.start(),
                SECS.end()
            ))
        })
    }
}

/// A number from `LOW` to `HIGH`, in steps of `STEP`.
#[derive(Clone, Copy, Debug)]
pub struct Count<const LOW: usize, const HIGH: usize, const STEP: usize = 1>(usize);

impl<const LOW: usize, const HIGH: usize, const STEP: usize> Count<LOW, HIGH, STEP> {
    /// It, as whatever can hold it; what cannot be held is the most that can.
    pub fn get<T: TryFrom<usize> + Bounded>(self) -> T {
        T::try_from(self.0).unwrap_or(T::MOST)
    }
}

/// The nearest number within the bounds.
impl<const LOW: usize, const HIGH: usize, const STEP: usize> From<usize> for Count<LOW, HIGH, STEP> {
    fn from(count: usize) -> Self {
        Count(count.clamp(LOW, HIGH))
    }
}

/// A number that ends somewhere.
pub trait Bounded {
    /// The largest.
    const MOST: Self;
}

macro_rules! bounded {
    ($($kind:ty),*) => { $(impl Bounded for $kind { const MOST: Self = <$kind>::MAX; })* };
}
bounded!(u8, u16, u32, usize);

impl<'de, const LOW: usize, const HIGH: usize, const STEP: usize> Deserialize<'de>
    for Count<LOW, HIGH, STEP>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl serde::de::Visitor<'_> for Number {
            type Value = i64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_i64<E>(self, number: i64) -> Result<i64, E> {
                Ok(number)
            }
            fn visit_u64<E>(self, number: u64) -> Result<i64, E> {
                Ok(i64::try_from(number).unwrap_or(i64::MAX))
            }
        }
        let number = deserializer.deserialize_i64(Number)?;
        let count = usize::try_from(number).ok().filter(|count| (LOW..=HIGH).contains(count));
        match count {
            Some(count) if (count - LOW).is_multiple_of(STEP) => Ok(Count(count)),
            Some(_) => Err(D::Error::custom(format_args!(
                "{number} is none of {LOW}, {}, and so on to {HIGH}",
                LOW + STEP
            ))),
            None => Err(D::Error::custom(format_args!("{number} is out of bounds: {LOW} to {HIGH}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;

    #[test]
    fn what_an_overlay_cannot_do_is_refused_with_its_line() {
        for (overlay, parameter, reason) in [
            ("kademlia", "refresh_s = 0", "0 s is out of bounds: 0.001 to 1e9 s"),
            ("pastry", "heartbeat_s = -1", "-1 s is out of bounds"),
            ("kelips", "gossip_interval_s = nan", "NaN s is out of bounds"),
            ("gnutella", "ping_interval_s = 0.0", "0 s is out of bounds"),
            ("kademlia", "k = 9223372036854775807", "9223372036854775807 is out of bounds: 1 to 32"),
            ("kademlia", "k = 0", "0 is out of bounds: 1 to 32"),
            ("kademlia", "alpha = -1", "-1 is out of bounds: 1 to 32"),
            ("pastry", "b = 200", "200 is out of bounds: 1 to 8"),
            ("pastry", "leaves = 3", "3 is none of 2, 4, and so on to"),
            ("gnutella", "search = { by = \"flood\", ttl = 0 }", "0 is out of bounds: 1 to 10"),
            ("gnutella", "search = { by = \"ring\", first = 1, step = 0, last = 5 }", "0 is out of bounds"),
            ("gnutella", "search = { by = \"walkers\", count = 0, check_every = 4, ttl = 9 }", "0 is out of"),
            (
                "gnutella",
                "search = { by = \"ring\", first = 5, step = 1, last = 2 }",
                "first is 5, but last only 2",
            ),
            (
                "gnutella",
                "search = { by = \"dynamic\", probes = 3, probe_ttl = 4, ttl = 3 }",
                "probe_ttl is 4, but ttl only 3",
            ),
            ("gnutella", "degree = 8\ndegree_max = 4", "degree is 8, but degree_max only 4"),
            ("gnutella", "degree_max = 4", "degree is 5, but degree_max only 4"),
            ("kademlia", "probe_min_s = 500", "probe_min_s is 500, but probe_max_s only 300"),
            ("kademlia", "k = 8\nenough = 20", "line 5: enough is 20, but k only 8"),
            ("chord", "republish_s = 100\nexpire_s = 10", "republish_s is 100, but expire_s only 10"),
            ("kademlia", "expire_s = 60", "republish_s is 1800, but expire_s only 60"),
            ("kademlia", "refresh_enough = 21", "refresh_enough is 21, but k only 20"),
            (
                "kelips",
                "refresh_s = 100\ntuple_timeout_s = 9",
                "refresh_s is 100, but tuple_timeout_s only 9",
            ),
            ("napster", "client_timeout_s = 1", "but client_timeout_s only 1"),
            ("chord", "replicas = 5", "replicas is 5, but root_set only 4"),
            ("chord", "replicas = 6\nroot_set = 16", "is sure of at most 5 copies"),
            ("chord", "replicas = 4\nsuccessors = 2", "4 copies need 3 successors, and there are 2"),
            ("pastry", "replicas = 10", "10 copies need 18 leaves, and there are 16"),
            ("kademlia", "replicas = 9", "replicas is 9, but enough only 8"),
            ("kademlia", "replicas = 9\nk = 8", "replicas is 9, but root_set only 8"),
            ("chord", "successors = \"many\"", "a whole number"),
        ] {
            let text = format!("nodes = 50\nduration_s = 60\n[overlay.{overlay}]\n{parameter}\n");
            let wrong = Scenario::parse("file", &text).map(|_| ()).expect_err(parameter).to_string();
            let line = if reason.contains("line") { "" } else { "line 4" };
            assert!(wrong.contains(line) && wrong.contains(reason), "{parameter}: {wrong}");
        }
        for (overlay, parameter) in [
            ("chord", "successors = 1"),
            ("chord", "replicas = 5\nroot_set = 5\nsuccessors = 4"),
            ("pastry", "replicas = 9"),
            ("kademlia", "k = 4\nreplicas = 4"),
            ("kademlia", "enough = 20\nreplicas = 20"),
        ] {
            let text = format!("nodes = 50\nduration_s = 60\n[overlay.{overlay}]\n{parameter}\n");
            assert!(Scenario::parse("file", &text).is_ok(), "{parameter}");
        }
    }
}
