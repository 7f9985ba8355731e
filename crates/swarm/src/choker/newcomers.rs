//! What those who have not given get of a leecher that trades: credit, and little of it.
//!
//! All newcomers together live on one pool. Of it, and of what refills it, no address has
//! more than a part: two pieces, so that an honest newcomer gets something whole to give,
//! but an eighth of the pool at least. Otherwise one free-rider alone would have all of
//! every leecher's pool. The part is the address's, not the connection's: who comes again
//! is no newer.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Addresses that are remembered; beyond, who got least is forgotten.
const KNOWN_MAX: usize = 1_000;
/// One part in this many of the pool is any address's.
const PARTS: u64 = 8;
/// Pieces that a newcomer can get from one leecher at once.
const PIECES: u64 = 2;

/// The credit of all newcomers of a torrent.
#[derive(Debug)]
pub(crate) struct Newcomers {
    /// Bytes the pool holds at most.
    limit: u64,
    /// Bytes they may still get.
    pool: u64,
    /// Bytes of its part that an address has used up.
    used: BTreeMap<IpAddr, u64>,
}

impl Newcomers {
    /// A full pool of `limit` bytes.
    pub fn new(limit: u64) -> Newcomers {
        Newcomers { limit, pool: limit, used: BTreeMap::new() }
    }

    /// Bytes that this address may get now, in a torrent of pieces of `piece` bytes.
    pub fn room(&self, ip: IpAddr, piece: u32) -> u64 {
        let used = self.used.get(&host(ip)).copied().unwrap_or(0);
        self.part(piece).saturating_sub(used).min(self.pool)
    }

    /// It got `bytes`.
    pub fn spend(&mut self, ip: IpAddr, bytes: u64) {
        let ip = host(ip);
        self.pool = self.pool.saturating_sub(bytes);
        if self.used.len() >= KNOWN_MAX && !self.used.contains_key(&ip) {
            let least = self.used.iter().min_by_key(|(_, used)| **used).map(|(ip, _)| *ip);
            least.map(|ip| self.used.remove(&ip));
        }
        *self.used.entry(ip).or_default() += bytes;
    }

    /// `lent` bytes more for all, and for each its part of them.
    pub fn refill(&mut self, lent: u64, piece: u32) {
        self.pool = (self.pool + lent).min(self.limit);
        let each = (lent as f64 * self.part(piece) as f64 / self.limit.max(1) as f64) as u64;
        self.used.retain(|_, used| {
            *used = used.saturating_sub(each);
            *used > 0
        });
    }

    fn part(&self, piece: u32) -> u64 {
        (u64::from(piece) * PIECES).clamp(self.limit / PARTS, self.limit)
    }
}

/// An IPv4 address, or the /64 that a host on the IPv6 internet has to itself.
fn host(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if v6.segments()[0] & 0xe000 == 0x2000 => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;
    const PIECE: u32 = 64 * 1024;

    fn ip(n: u16) -> IpAddr {
        let [a, b] = n.to_be_bytes();
        IpAddr::from([10, 0, a, b])
    }

    #[test]
    fn an_address_has_its_part_however_often_it_comes_and_others_have_theirs() {
        let mut newcomers = Newcomers::new(2048 * KIB);
        newcomers.spend(ip(1), 200 * KIB);
        newcomers.spend("::ffff:10.0.0.1".parse().unwrap(), 56 * KIB);
        assert_eq!((newcomers.room(ip(1), PIECE), newcomers.room(ip(2), PIECE)), (0, 256 * KIB));
        newcomers.refill(80 * KIB, PIECE);
        assert_eq!(newcomers.room(ip(1), PIECE), 10 * KIB);
        // A large piece is worth more, up to the whole pool.
        assert_eq!(newcomers.room(ip(2), 512 * 1024), 1024 * KIB);
        assert_eq!(newcomers.room(ip(2), 16 << 20), 1872 * KIB);
    }

    #[test]
    fn all_together_have_the_pool_and_few_are_remembered() {
        let mut newcomers = Newcomers::new(2048 * KIB);
        for n in 0..3_000 {
            let room = newcomers.room(ip(n), PIECE);
            newcomers.spend(ip(n), room);
        }
        assert_eq!((newcomers.room(ip(5_000), PIECE), newcomers.used.len()), (0, KNOWN_MAX));
    }
}
