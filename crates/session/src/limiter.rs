//! Rate limits: token buckets whose bytes are handed to torrents as grants.

use starling_metainfo::BLOCK_LENGTH;
use starling_sansio::Time;

/// Grants are whole blocks, since a torrent that may ask for one byte asks for a block.
const UNIT: u64 = BLOCK_LENGTH as u64;

/// Bytes per second with a burst of a quarter second (at least one block of 16 KiB,
/// or nothing could ever be sent). What was used beyond the burst is owed.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: u64,
    tokens: i64,
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
        let new = (u128::from(micros) * u128::from(self.rate) / 1_000_000) as u64;
        if new > 0 {
            self.filled = now;
            let burst = signed((self.rate / 4).max(UNIT));
            self.tokens = self.tokens.saturating_add(signed(new)).min(burst);
        }
        self.tokens.max(0).unsigned_abs()
    }

    /// Uses `bytes`; more than there are is a debt.
    pub fn take(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(signed(bytes));
    }

    /// Gives back what was taken and not used.
    pub fn refund(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_add(signed(bytes));
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
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
/// Returns each torrent's grant in whole blocks: equal shares of what the total allows,
/// capped by its own. What cannot be divided goes round: `turn` says where it begins.
pub fn share(total: Option<u64>, own: &[Option<u64>], turn: usize) -> Vec<Option<u64>> {
    let Some(total) = total else { return own.iter().map(|cap| cap.map(|cap| cap / UNIT * UNIT)).collect() };
    let caps: Vec<u64> = own.iter().map(|cap| cap.map_or(u64::MAX, |cap| cap / UNIT)).collect();
    let mut order: Vec<usize> = (0..own.len()).collect();
    order.sort_by_key(|&i| caps[i]);
    let mut grants = vec![0; own.len()];
    let mut left = total / UNIT;
    for (done, &i) in order.iter().enumerate() {
        let level = left / (own.len() - done) as u64;
        if caps[i] >= level {
            order[done..].iter().for_each(|&i| grants[i] = level);
            left -= level * (own.len() - done) as u64;
            break;
        }
        grants[i] = caps[i];
        left -= caps[i];
    }
    for i in (0..own.len()).map(|i| (i + turn) % own.len()) {
        if left > 0 && grants[i] < caps[i] {
            grants[i] += 1;
            left -= 1;
        }
    }
    grants.into_iter().map(|blocks| Some(blocks * UNIT)).collect()
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
    fn what_is_owed_is_paid_before_anything_is_given() {
        let mut bucket = Bucket::new(1_000_000, Time::ZERO);
        bucket.take(1_500_000);
        assert_eq!(bucket.available(Time::from_secs(1)), 0);
        assert_eq!(bucket.available(Time::from_millis(1_600)), 100_000);
    }

    fn blocks(grants: &[Option<u64>]) -> Vec<Option<u64>> {
        grants.iter().map(|g| g.map(|g| g / UNIT)).collect()
    }

    #[test]
    fn shares_are_fair_and_never_exceed_the_total() {
        let of = |n: u64| Some(n * UNIT + 7);
        assert_eq!(blocks(&share(None, &[None, of(3)], 0)), [None, Some(3)]);
        assert_eq!(blocks(&share(of(90), &[None, of(10), None], 0)), [Some(40), Some(10), Some(40)]);
        assert_eq!(blocks(&share(of(10), &[of(100), of(100)], 0)), [Some(5), Some(5)]);
        assert_eq!(blocks(&share(of(0), &[None], 0)), [Some(0)]);
    }

    #[test]
    fn what_cannot_be_divided_goes_round() {
        let turn = |turn| blocks(&share(Some(UNIT), &[None, None, None], turn));
        assert_eq!(turn(0), [Some(1), Some(0), Some(0)]);
        assert_eq!(turn(1), [Some(0), Some(1), Some(0)]);
        assert_eq!(turn(5), [Some(0), Some(0), Some(1)]);
    }
}
