//! Heartbeats in a byte each: ticks of a 64th of a time-out.

use std::time::Duration;

use starling_sansio::Time;

/// Ticks until an entry is dropped. A byte holds four times as many.
pub(super) const LIFE: u8 = 64;
/// An age that is no longer counted: it may be any larger one, and says nothing.
pub(super) const AGES: u16 = u16::MAX;
/// Microseconds of the longest tick: ages come to what a number holds.
const MAX_TICK: i64 = i64::MAX >> 16;

/// Ticks of a time-out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(i64);

impl Clock {
    pub(super) fn new(timeout: Duration) -> Clock {
        let micros = i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX);
        Clock((micros / i64::from(LIFE)).clamp(1, MAX_TICK))
    }

    /// How long an entry lives.
    pub(super) fn life(self) -> Duration {
        self.tick() * u32::from(LIFE)
    }

    /// A tick's length.
    pub(super) fn tick(self) -> Duration {
        Duration::from_micros(self.0.unsigned_abs())
    }

    /// What the clock shows at `now`.
    pub(super) fn at(self, now: Time) -> Moment {
        let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX / 2);
        Moment { tick: self.0, now, number: now.div_euclid(self.0) }
    }
}

/// A moment on a clock. It is made once for all entries of a message, since it takes a
/// division.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    tick: i64,
    now: i64,
    /// Ticks from the beginning of time.
    number: i64,
}

impl Moment {
    /// The heartbeat of `age` seconds ago; `None` if that is past the time-out.
    pub(super) fn stamp(self, age: u16) -> Option<u8> {
        self.stamp_after(LIFE + 1, age)
    }

    /// The heartbeat of `age` seconds ago, if it is younger than `than` and not past the
    /// time-out.
    pub(super) fn younger(self, than: u8, age: u16) -> Option<u8> {
        self.stamp_after(self.ticks(than).min(LIFE + 1), age)
    }

    /// The heartbeat of `age` seconds ago, if that is fewer than `ticks` ago. Most are
    /// not, and are told so without a division.
    fn stamp_after(self, ticks: u8, age: u16) -> Option<u8> {
        let heard = self.now - i64::from(age) * 1_000_000;
        let first = (self.number - i64::from(ticks) + 1) * self.tick;
        (heard >= first && age < AGES).then(|| heard.div_euclid(self.tick) as u8)
    }

    /// The heartbeat of half a time-out ago.
    pub(super) fn half_a_life_ago(self) -> u8 {
        (self.number - i64::from(LIFE / 2)) as u8
    }

    /// Ticks since that heartbeat.
    pub(super) fn ticks(self, stamp: u8) -> u8 {
        (self.number as u8).wrapping_sub(stamp)
    }

    /// Ticks from `earlier` to this moment.
    pub(super) fn ticks_since(self, earlier: Moment) -> i64 {
        self.number - earlier.number
    }

    /// Seconds since that heartbeat, rounded up.
    pub(super) fn age(self, stamp: u8) -> u16 {
        let heard = (self.number - i64::from(self.ticks(stamp))) * self.tick;
        u16::try_from((self.now - heard + 999_999) / 1_000_000).unwrap_or(AGES)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn younger_is_what_has_fewer_ticks(timeout in 1u64..20_000, now: u32, stamp: u8, age: u16) {
            let now = Time::from_micros(u64::from(now) * 1_000);
            let moment = Clock::new(Duration::from_secs(timeout)).at(now);
            let fresh = moment.stamp(age);
            prop_assert!(fresh.is_none_or(|fresh| moment.ticks(fresh) <= LIFE));
            let expected = fresh.filter(|&fresh| moment.ticks(fresh) < moment.ticks(stamp));
            prop_assert_eq!(moment.younger(stamp, age), expected);
        }

        #[test]
        fn an_entry_lives_as_long_as_its_time_out(timeout in 1u16..10_000, late in 0u16..10_000, now: u32) {
            let now = Time::from_secs(100_000) + Duration::from_millis(now.into());
            let moment = Clock::new(Duration::from_secs(timeout.into())).at(now);
            prop_assert!(moment.stamp(timeout).is_some());
            // A tick more at most, since it may have begun anywhere in one.
            let tick = u16::try_from(u64::from(timeout).div_ceil(64)).unwrap();
            prop_assert!(moment.stamp(timeout + tick + 1 + late).is_none());
        }
    }

    #[test]
    fn an_age_that_is_too_large_to_be_told_is_not_taken_for_a_smaller_one() {
        for timeout in [Duration::from_secs(200_000), Duration::MAX] {
            let clock = Clock::new(timeout);
            let now = Time::from_secs(300_000);
            let old = clock.at(now - Duration::from_secs(150_000)).stamp(0).unwrap();
            let told = clock.at(now).age(old);
            assert_eq!(told, AGES);
            assert_eq!(clock.at(now).stamp(told), None);
        }
    }
}
