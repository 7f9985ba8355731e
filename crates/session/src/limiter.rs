//! Rate limits: token buckets whose bytes are handed to torrents as grants.

use starling_sansio::Time;

/// Bytes per second with a burst of a quarter second (at least one block of 16 KiB,
/// or nothing could ever be sent).
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: u64,
    tokens: u64,
    filled: Time,
}

impl Bucket {
    /// An empty bucket that fills with `rate` bytes per second from `now` on.
    pub fn new(rate: u64, now: Time) -> Bucket {
        Bucket { rate, tokens: 0, filled: now }
    }

    /// What may be used now.
    pub fn available(&mut self, now: Time) -> u64 {
        let micros = now.since(self.filled).as_micros().min(10_000_000) as u64;
        let new = micros.saturating_mul(self.rate) / 1_000_000;
        if new > 0 {
            self.filled = now;
            self.tokens = self.tokens.saturating_add(new).min((self.rate / 4).max(16 * 1024));
        }
        self.tokens
    }

    /// Uses `bytes`.
    pub fn take(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(bytes);
    }

    /// Gives back what was taken and not used.
    pub fn refund(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_add(bytes);
    }
}

/// Upload and download limits in bytes per second; `None` is unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RateLimits {
    /// From peers and web seeds.
    pub down: Option<u64>,
    /// To peers.
    pub up: Option<u64>,
}

/// One direction's shares: `total` over all torrents, `own` of each, in the order of `own`.
/// Returns each torrent's grant; equal shares of what the total allows, capped by its own.
pub fn share(total: Option<u64>, own: &[Option<u64>]) -> Vec<Option<u64>> {
    let Some(total) = total else { return own.to_vec() };
    let mut order: Vec<usize> = (0..own.len()).collect();
    order.sort_by_key(|&i| own[i].unwrap_or(u64::MAX));
    let mut grants = vec![Some(0); own.len()];
    let mut left = total;
    for (done, &i) in order.iter().enumerate() {
        let fair = left / (own.len() - done) as u64;
        let grant = own[i].map_or(fair, |cap| cap.min(fair));
        grants[i] = Some(grant);
        left -= grant;
    }
    grants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_a_second_a_bucket_gives_its_rate() {
        let mut bucket = Bucket::new(1_000_000, Time::ZERO);
        let mut used = 0;
        for ms in 1..=1000 {
            let tokens = bucket.available(Time::from_millis(ms));
            bucket.take(tokens);
            used += tokens;
        }
        assert_eq!(used, 1_000_000);
    }

    #[test]
    fn a_slow_bucket_still_saves_up_for_a_block() {
        let mut bucket = Bucket::new(1_000, Time::ZERO);
        for ms in 1..=20_000 {
            bucket.available(Time::from_millis(ms));
        }
        assert_eq!(bucket.available(Time::from_secs(20)), 16 * 1024);
    }

    #[test]
    fn shares_are_fair_and_never_exceed_the_total() {
        assert_eq!(share(None, &[None, Some(3)]), [None, Some(3)]);
        assert_eq!(share(Some(90), &[None, Some(10), None]), [Some(40), Some(10), Some(40)]);
        assert_eq!(share(Some(10), &[Some(100), Some(100)]), [Some(5), Some(5)]);
    }
}
