//! How fast bytes flow: a decaying average.

use std::time::Duration;

use starling_metainfo::BLOCK_LENGTH;
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
    /// The last tick that found something.
    flowed: Time,
}

impl Rate {
    const TIME_CONSTANT_SECS: f64 = 4.0;
    /// Silence that a fast flow may have.
    const SILENCE_SECS: f64 = 1.5;

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

    /// The same as a user is to see it: nothing as soon as nothing came for so long that at
    /// this rate something would have.
    pub fn shown(&self) -> u64 {
        let blocks = 2.0 * f64::from(BLOCK_LENGTH) / self.per_sec;
        let silent = self.last.since(self.flowed).as_secs_f64();
        if silent > Self::SILENCE_SECS + blocks { 0 } else { self.get() }
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
        if self.pending > 0 {
            self.flowed = now;
        }
        self.pending = 0;
        self.last = now;
    }

    /// Begins to measure at `now`, so that the first tick does not count the time before.
    pub fn starting(now: Time) -> Rate {
        Rate { last: now, flowed: now, ..Rate::default() }
    }

    /// Whether anything flowed in the last `span`.
    pub fn flowed_within(&self, now: Time, span: Duration) -> bool {
        self.pending > 0 || (self.total > 0 && now.since(self.flowed) <= span)
    }

    /// When something last flowed, as far as the ticks tell; if nothing did, the beginning.
    pub fn flowed_at(&self, now: Time) -> Time {
        if self.pending > 0 { now } else { self.flowed }
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
    fn what_ended_is_shown_as_nothing_soon_and_what_is_slow_is_not() {
        let (mut fast, mut slow) = (Rate::starting(Time::ZERO), Rate::starting(Time::ZERO));
        for second in 1..=40 {
            fast.add(50_000_000);
            fast.tick(Time::from_secs(second));
            // 4 KiB/s come as a block every four seconds.
            slow.add(if second % 4 == 0 { BLOCK_LENGTH.into() } else { 0 });
            slow.tick(Time::from_secs(second));
            assert!(second < 4 || slow.shown() > 0, "{second}");
        }
        fast.tick(Time::from_secs(42));
        assert_eq!(fast.shown(), 0);
        assert!(fast.get() > 10_000_000, "what is counted with remembers");
    }

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
        let flowed = |secs| rate.flowed_within(Time::from_secs(89), Duration::from_secs(secs));
        assert!(flowed(60) && !flowed(59), "the last came with the tick at 29 s");
    }
}
