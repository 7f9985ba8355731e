//! The allowed-fast set (BEP 6): the pieces a peer may ask for while choked.
//!
//! The set depends on the peer's network and the torrent alone, so that a peer
//! that asks many of us gets the same few pieces from all. BEP 6 has no rule for
//! IPv6; such a peer has no set.

use std::net::IpAddr;

use sha1::{Digest, Sha1};
use starling_metainfo::Sha1Hash;

/// Pieces in the set, unless the torrent has fewer (BEP 6).
pub const ALLOWED_FAST_PIECES: u32 = 10;

/// More rounds of hashing than this are not spent on one peer.
const ROUNDS_MAX: u32 = 1000;

/// The allowed-fast set of the peer at `ip`, in the order it is to be sent: `count`
/// pieces of `pieces`, all of them if there are no more.
pub fn allowed_fast_set(ip: IpAddr, info_hash: Sha1Hash, pieces: u32, count: u32) -> Vec<u32> {
    let IpAddr::V4(ip) = ip.to_canonical() else { return Vec::new() };
    let [a, b, c, _] = ip.octets();
    if pieces <= count {
        return (0..pieces).collect();
    }
    let mut set = Vec::with_capacity(count as usize);
    let mut x: [u8; 20] = Sha1::new().chain_update([a, b, c, 0]).chain_update(info_hash.0).finalize().into();
    for _ in 0..ROUNDS_MAX {
        for word in x.as_chunks().0 {
            let piece = u32::from_be_bytes(*word) % pieces;
            if set.len() == count as usize {
                return set;
            }
            if !set.contains(&piece) {
                set.push(piece);
            }
        }
        x = Sha1::digest(x).into();
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: Sha1Hash = Sha1Hash([0xaa; 20]);

    fn peer() -> IpAddr {
        "80.4.4.200".parse().unwrap()
    }

    #[test]
    fn vectors_of_the_specification() {
        let nine = [1059, 431, 808, 1217, 287, 376, 1188, 353, 508];
        assert_eq!(allowed_fast_set(peer(), HASH, 1313, 9), nine);
        assert_eq!(allowed_fast_set(peer(), HASH, 1313, 7), nine[..7]);
    }

    #[test]
    fn neighbours_share_a_set() {
        let near = "80.4.4.3".parse().unwrap();
        let far = "80.4.5.200".parse().unwrap();
        let of = |ip| allowed_fast_set(ip, HASH, 1313, 10);
        assert_eq!(of(near), of(peer()));
        assert_ne!(of(far), of(peer()));
        assert_eq!(of("2001:db8::1".parse().unwrap()), Vec::<u32>::new());
    }

    #[test]
    fn small_torrents_are_allowed_whole() {
        assert_eq!(allowed_fast_set(peer(), HASH, 3, 10), [0, 1, 2]);
        assert_eq!(allowed_fast_set(peer(), HASH, 0, 10), Vec::<u32>::new());
        let mut almost = allowed_fast_set(peer(), HASH, 11, 10);
        almost.sort_unstable();
        almost.dedup();
        assert_eq!(almost.len(), 10);
    }
}
