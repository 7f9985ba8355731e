//! Addresses that sent false data, shunned by all torrents of this node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use starling_sansio::Time;

/// How long a liar is shunned. Addresses change hands, so not for ever.
pub const BAN_TIME: Duration = Duration::from_secs(24 * 3600);

/// Shunned addresses with the moment until which. Bounded: the oldest give way.
#[derive(Debug)]
pub struct Bans {
    until: BTreeMap<IpAddr, Time>,
    limit: usize,
}

impl Bans {
    /// No bans; at most `limit` at once.
    pub fn new(limit: usize) -> Bans {
        Bans { until: BTreeMap::new(), limit }
    }

    /// Shuns `ip` from now on.
    pub fn add(&mut self, ip: IpAddr, now: Time) {
        if self.until.len() >= self.limit && !self.until.contains_key(&ip) {
            let oldest = self.until.iter().min_by_key(|(_, until)| **until).map(|(ip, _)| *ip);
            oldest.map(|ip| self.until.remove(&ip));
        }
        self.until.insert(ip, now + BAN_TIME);
    }

    /// Whether `ip` is shunned at `now`.
    pub fn contains(&self, ip: IpAddr, now: Time) -> bool {
        self.until.get(&ip).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_end_and_stay_bounded() {
        let mut bans = Bans::new(2);
        let ip = |n| IpAddr::from([10, 0, 0, n]);
        for n in 0..3u8 {
            bans.add(ip(n), Time::from_secs(u64::from(n)));
        }
        assert!(!bans.contains(ip(0), Time::from_secs(3)));
        assert!(bans.contains(ip(2), Time::from_secs(3)));
        assert!(!bans.contains(ip(2), Time::from_secs(3) + BAN_TIME));
    }
}
