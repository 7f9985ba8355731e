//! How fast bytes flow: a decaying average.

use starling_sansio::Time;

/// Bytes per second with exponential forgetting, half-life about three seconds.
///
/// Adding costs one addition; the decay happens in [`Rate::tick`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    total: u64,
    pending: u64,
    per_sec: f64,
    last: Time,
}

impl Rate {
    const TIME_CONSTANT_SECS: f64 = 4.0;

    /// `bytes` more have flowed.
    pub fn add(&mut self, bytes: u64) {
        self.total += bytes;
        self.pending += bytes;
    }

    /// Bytes since the beginning.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes per second as of the last tick.
    pub fn get(&self) -> u64 {
        self.per_sec as u64
    }

    /// Folds what came since the last tick into the average.
    pub fn tick(&mut self, now: Time) {
        let dt = now.since(self.last).as_secs_f64();
        if dt <= 0.0 {
            return;
        }
        let fresh = self.pending as f64 / dt;
        let keep = if self.last == Time::ZERO { 0.0 } else { (-dt / Self::TIME_CONSTANT_SECS).exp() };
        self.per_sec = self.per_sec * keep + fresh * (1.0 - keep);
        if self.per_sec < 1.0 {
            self.per_sec = 0.0;
        }
        self.pending = 0;
        self.last = now;
    }

    /// Begins to measure at `now`, so that the first tick does not count the time before.
    pub fn starting(now: Time) -> Rate {
        Rate { last: now, ..Rate::default() }
    }

    /// Whether nothing flows any more.
    pub fn is_idle(&self) -> bool {
        self.pending == 0 && self.per_sec == 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_a_steady_flow_and_forgets_it() {
        let mut rate = Rate::starting(Time::from_secs(5));
        for second in 6..30 {
            rate.add(1_000);
            rate.tick(Time::from_secs(second));
        }
        assert!((990..=1_000).contains(&rate.get()), "{rate:?}");
        for second in 30..90 {
            rate.tick(Time::from_secs(second));
        }
        assert!(rate.is_idle());
        assert_eq!(rate.total(), 24_000);
    }
}
