use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};
use starling_sansio::Time;

/// How long one id is handed out; it is accepted for as long again, so for at least
/// the two minutes that BEP 15 asks for.
const PERIOD: Duration = Duration::from_secs(120);

/// A tracker's connection ids: a keyed hash of the client's address and the time, so
/// that nothing is remembered and none can be guessed.
#[derive(Clone)]
pub struct ConnectionIds {
    secret: [u8; 32],
}

impl ConnectionIds {
    /// `secret` comes from the driver and must be unpredictable.
    pub fn new(secret: [u8; 32]) -> ConnectionIds {
        ConnectionIds { secret }
    }

    /// The id for a client at `ip`.
    pub fn issue(&self, now: Time, ip: IpAddr) -> u64 {
        self.id(period(now), ip)
    }

    /// Whether `id` was issued to `ip` within the last two to four minutes.
    pub fn check(&self, now: Time, ip: IpAddr, id: u64) -> bool {
        let period = period(now);
        id == self.id(period, ip) || period.checked_sub(1).is_some_and(|before| id == self.id(before, ip))
    }

    fn id(&self, period: u64, ip: IpAddr) -> u64 {
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update(period.to_be_bytes());
        hash.update(ip.octets());
        let mut id = [0; 8];
        id.copy_from_slice(&hash.finalize()[..8]);
        u64::from_be_bytes(id)
    }
}

impl std::fmt::Debug for ConnectionIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionIds").finish_non_exhaustive()
    }
}

fn period(now: Time) -> u64 {
    now.as_micros() / 1_000_000 / PERIOD.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_good_for_its_owner_and_for_two_minutes_at_least() {
        let ids = ConnectionIds::new([7; 32]);
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let issued = Time::from_secs(239);
        let id = ids.issue(issued, a);
        assert!(ids.check(issued, a, id));
        assert!(ids.check(issued + Duration::from_secs(120), a, id));
        assert!(!ids.check(issued, b, id));
        assert!(!ids.check(issued + Duration::from_secs(241), a, id));
        assert!(!ConnectionIds::new([8; 32]).check(issued, a, id));
    }
}
