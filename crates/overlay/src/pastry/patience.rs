//! How long an answer is waited for, and how often it is asked for.
//!
//! As TCP estimates it (Jacobson, "Congestion Avoidance and Control", 1988; RFC 6298),
//! and MSPastry by it (Castro, Costa, Rowstron, DSN 2004). The round trip to each peer is
//! the driver's to know; what is learnt here is by how much answers come later than that,
//! of all peers together, which takes eight bytes instead of as many for each. And how many
//! questions or answers get lost: a peer is asked so often that of those that live hardly
//! any would be silent to all of it.

use std::time::Duration;

/// On top of what was learnt: clocks tick, and hosts are busy for moments.
const LEAST_MICROS: u64 = 20_000;

/// What is known of late answers.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// By how many microseconds answers are late on average.
    late: u32,
    /// And how far they are from that, on average.
    vary: u32,
    /// The share of questions, of 2^16, that were answered only when asked again.
    again: u16,
}

/// How often a peer is asked at most.
const MOST_TRIES: u8 = 10;
/// The share of the living that may be silent to all of it.
const MISTAKES: f64 = 0.001;

impl Default for Patience {
    /// A tenth of a second and more, until something is learnt.
    fn default() -> Self {
        Patience { late: 0, vary: 25_000, again: 0 }
    }
}

impl Patience {
    /// An answer took `took` where it takes `usual` at best.
    pub fn learn(&mut self, took: Duration, usual: Duration) {
        let micros = took.saturating_sub(usual).as_micros();
        let late = u32::try_from(micros).unwrap_or(u32::MAX / 16).min(u32::MAX / 16);
        let off = late.abs_diff(self.late);
        self.vary = self.vary - self.vary / 4 + off / 4;
        self.late = self.late - self.late / 8 + late / 8;
    }

    /// A question was answered the first time it was asked, or only later.
    pub fn count(&mut self, again: bool) {
        self.again = self.again - self.again / 16 + if again { u16::MAX / 16 } else { 0 };
    }

    /// How often to ask a peer that does not answer, `least` if nothing gets lost.
    pub fn tries(&self, least: u8) -> u8 {
        let lost = f64::from(self.again) / f64::from(u16::MAX);
        (least..MOST_TRIES).find(|&tries| lost.powi(i32::from(tries)) < MISTAKES).unwrap_or(MOST_TRIES)
    }

    /// How long to wait for an answer that takes `usual` at best.
    pub fn with(&self, usual: Duration) -> Duration {
        let late = u64::from(self.late) + 4 * u64::from(self.vary) + LEAST_MICROS;
        usual + Duration::from_micros(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Duration = Duration::from_millis(80);

    fn after(times: u32, took_ms: impl Fn(u32) -> u64) -> Duration {
        let mut patience = Patience::default();
        (0..times).for_each(|n| patience.learn(Duration::from_millis(took_ms(n)), USUAL));
        patience.with(USUAL)
    }

    #[test]
    fn where_much_gets_lost_it_asks_more_often() {
        let tries = |lost_of_100: u32| {
            let mut patience = Patience::default();
            (0..10_000u32).for_each(|n| patience.count(n * 37 % 100 < lost_of_100));
            patience.tries(3)
        };
        assert_eq!([0, 5, 30, 50, 100].map(tries), [3, 3, 6, 10, 10]);
    }

    #[test]
    fn it_learns_how_late_answers_are() {
        assert_eq!(after(0, |_| 0), Duration::from_millis(200));
        assert!(after(50, |_| 80) < Duration::from_millis(101));
        let steady = after(100, |_| 380);
        assert!((Duration::from_millis(395)..Duration::from_millis(405)).contains(&steady), "{steady:?}");
        assert!(after(100, |n| 80 + u64::from(n % 2) * 200) > Duration::from_millis(300));
        assert!(after(1, |_| 380) > Duration::from_millis(380), "one late answer is enough");
        assert!(after(1000, |_| u64::MAX / 2_000) < Duration::from_secs(3600));
    }
}
