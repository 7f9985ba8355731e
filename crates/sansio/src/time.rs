use std::fmt;
use std::time::Duration;

/// A moment, in microseconds since the driver's own beginning.
///
/// All arithmetic saturates: a peer that names an absurd duration, or a clock
/// that jumps, can make a deadline early or late but never panic or wrap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The driver's beginning.
    pub const ZERO: Time = Time(0);
    /// Later than every deadline that is ever reached.
    pub const NEVER: Time = Time(u64::MAX);

    /// The moment `micros` µs after the beginning.
    pub const fn from_micros(micros: u64) -> Time {
        Time(micros)
    }

    /// The moment `millis` ms after the beginning.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis.saturating_mul(1_000))
    }

    /// The moment `secs` s after the beginning.
    pub const fn from_secs(secs: u64) -> Time {
        Time(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the beginning.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Seconds since the beginning.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Time;
    fn add(self, rhs: Duration) -> Time {
        let micros = u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(micros))
    }
}

impl std::ops::Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, rhs: Duration) -> Time {
        let micros = u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX);
        Time(self.0.saturating_sub(micros))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", self.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Time::NEVER + Duration::from_secs(1), Time::NEVER);
        assert_eq!(Time::from_secs(1) + Duration::MAX, Time::NEVER);
        assert_eq!(Time::from_secs(1) - Duration::from_secs(2), Time::ZERO);
        assert_eq!(Time::ZERO.since(Time::from_secs(9)), Duration::ZERO);
        assert_eq!(Time::from_secs(3).since(Time::from_secs(1)), Duration::from_secs(2));
        assert_eq!(Time::from_secs(u64::MAX), Time::NEVER);
    }
}
