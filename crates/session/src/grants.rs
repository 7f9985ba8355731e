//! Rate limits over all torrents: who may ask for and serve how much until the next tick.

use std::time::Duration;

use starling_sansio::{Sink, Time};
use starling_swarm::Input as Swarm;

use crate::limiter::{Bucket, share};
use crate::{Output, RateLimits, Session, TorrentKey};

/// How often limits are dealt out. Short enough to be smooth, long enough to be cheap.
const TICK: Duration = Duration::from_millis(50);

/// The node's own buckets and the next moment they are dealt out.
#[derive(Debug)]
pub struct Grants {
    buckets: [Option<Bucket>; 2],
    due: Time,
}

impl Grants {
    /// Limits that begin at `now`.
    pub fn new(rates: RateLimits, now: Time) -> Grants {
        Grants { buckets: [rates.down, rates.up].map(|r| r.map(|rate| Bucket::new(rate, now))), due: now }
    }

    /// When they are dealt out next; never, when nothing is limited.
    pub fn due(&self) -> Time {
        self.due
    }
}

impl Session {
    /// Takes back what torrents did not use and deals out what the buckets hold.
    pub(crate) fn grant(&mut self, now: Time, out: &mut impl Sink<Output>) {
        let keys: Vec<TorrentKey> = self
            .torrents
            .iter()
            .filter(|(_, entry)| entry.takes_part() && {
                let demand = entry.core.demand();
                demand.down + demand.up > 0
            })
            .map(|(key, _)| *key)
            .collect();
        let down = self.deal(now, 0, &keys);
        let up = self.deal(now, 1, &keys);
        for ((key, down), up) in keys.into_iter().zip(down).zip(up) {
            self.drive(now, key, Swarm::Grant { down, up }, out);
        }
        let limited = self.grants.buckets.iter().any(Option::is_some)
            || self.torrents.values().any(|entry| entry.buckets.iter().any(Option::is_some));
        self.grants.due = if limited { now + TICK } else { Time::NEVER };
    }

    /// One direction (0 down, 1 up): refunds, then shares, in the order of `keys`.
    fn deal(&mut self, now: Time, way: usize, keys: &[TorrentKey]) -> Vec<Option<u64>> {
        let mut own = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(entry) = self.torrents.get_mut(key) else { continue };
            let unused = entry.core.allowance()[way].unwrap_or(0);
            own.push(entry.buckets[way].as_mut().map(|bucket| {
                bucket.refund(unused);
                bucket.available(now)
            }));
            if let Some(total) = &mut self.grants.buckets[way] {
                total.refund(unused);
            }
        }
        let total = self.grants.buckets[way].as_mut().map(|bucket| bucket.available(now));
        let grants = share(total, &own);
        for (key, grant) in keys.iter().zip(&grants) {
            let Some(bytes) = *grant else { continue };
            if let Some(bucket) = &mut self.grants.buckets[way] {
                bucket.take(bytes);
            }
            if let Some(bucket) = self.torrents.get_mut(key).and_then(|e| e.buckets[way].as_mut()) {
                bucket.take(bytes);
            }
        }
        grants
    }
}
