//! Canonical peer priority (BEP 40): a rank of a pair of peers that both ends
//! compute alike, so that nobody can buy itself a place in everyone's list.
//!
//! Two IPv6 addresses that share their first 48 bits are told apart in byte steps,
//! as BEP 40 shows up to /56. An IPv4-mapped IPv6 address counts as the IPv4 one.

use std::net::{IpAddr, SocketAddr};

/// How dear the connection between `ours`, as the peer sees us, and `theirs` is: the
/// higher, the sooner to be kept. `None` if the addresses are of different families.
pub fn peer_priority(ours: SocketAddr, theirs: SocketAddr) -> Option<u32> {
    let (a, b) = (ours.ip().to_canonical(), theirs.ip().to_canonical());
    if a == b {
        let [mut low, mut high] = [ours.port(), theirs.port()];
        if low > high {
            (low, high) = (high, low);
        }
        return Some(crc32c(low.to_be_bytes().into_iter().chain(high.to_be_bytes())));
    }
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => Some(rank(a.octets(), b.octets(), 2)),
        (IpAddr::V6(a), IpAddr::V6(b)) => Some(rank(a.octets(), b.octets(), 6)),
        _ => None,
    }
}

/// The rank of two different addresses; the first `whole` bytes are never masked.
fn rank<const N: usize>(a: [u8; N], b: [u8; N], whole: usize) -> u32 {
    let common = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let whole = if common < whole { whole } else { common + 1 };
    let mask = |address: [u8; N]| {
        let mut masked = address;
        masked.iter_mut().skip(whole).for_each(|byte| *byte &= 0x55);
        masked
    };
    let (a, b) = (mask(a), mask(b));
    crc32c(a.min(b).into_iter().chain(a.max(b)))
}

/// CRC-32C (Castagnoli), reflected, as in iSCSI (RFC 3720). Eight bytes or thirty-two at
/// a time, once for each address that becomes known: no table is worth its room.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank_of(ours: &str, theirs: &str) -> Option<u32> {
        let of = |text: &str| text.parse::<SocketAddr>().unwrap();
        let rank = peer_priority(of(ours), of(theirs));
        assert_eq!(rank, peer_priority(of(theirs), of(ours)), "both ends agree");
        rank
    }

    #[test]
    fn crc_of_the_check_string() {
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
    }

    #[test]
    fn vectors_of_the_specification() {
        assert_eq!(rank_of("123.213.32.10:1", "98.76.54.32:2"), Some(0xec2d_7224));
        assert_eq!(rank_of("123.213.32.10:1", "123.213.32.234:2"), Some(0x9956_8189));
    }

    #[test]
    fn same_address_ranks_by_port() {
        let expected = crc32c([0, 80, 0x1a, 0xe1].into_iter());
        assert_eq!(rank_of("10.0.0.1:6881", "10.0.0.1:80"), Some(expected));
        assert_eq!(rank_of("[::1]:6881", "[::1]:80"), Some(expected));
    }

    #[test]
    fn masks_follow_what_the_addresses_share() {
        let v4 = |a: [u8; 4], b: [u8; 4]| Some(crc32c(a.into_iter().chain(b)));
        assert_eq!(rank_of("10.1.255.255:1", "10.2.255.255:1"), v4([10, 1, 0x55, 0x55], [10, 2, 0x55, 0x55]));
        assert_eq!(rank_of("10.1.7.255:1", "10.1.255.255:1"), v4([10, 1, 7, 0x55], [10, 1, 255, 0x55]));
        let v6 = |a: u8, b: u8, fill: u8| {
            let ip = |last| [0x20, 1, 0xd, 0xb8, 0, 0, last].into_iter().chain([fill; 9]);
            Some(crc32c(ip(a).chain(ip(b))))
        };
        let (low, high) =
            ("[2001:db8:0:3ff:ffff:ffff:ffff:ffff]:1", "[2001:db8:0:ffff:ffff:ffff:ffff:ffff]:1");
        assert_eq!(rank_of(low, high), v6(3, 0xff, 0x55), "same /48: the seventh byte counts whole");
    }

    #[test]
    fn families_do_not_mix_but_mapped_addresses_do() {
        assert_eq!(rank_of("10.0.0.1:1", "[2001:db8::1]:1"), None);
        assert_eq!(rank_of("[::ffff:123.213.32.10]:1", "98.76.54.32:2"), Some(0xec2d_7224));
    }
}
