//! Compact peer lists (BEP 23, BEP 7): six bytes for IPv4, eighteen for IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::Limits;

/// Reads as many whole entries as there are into `out`, up to [`Limits::PEERS`] in all.
pub(crate) fn read_v4(bytes: &[u8], out: &mut Vec<SocketAddr>) {
    for entry in bytes.as_chunks::<6>().0 {
        let [a, b, c, d, p, q] = *entry;
        push(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), u16::from_be_bytes([p, q]), out);
    }
}

/// As [`read_v4`] for eighteen-byte entries.
pub(crate) fn read_v6(bytes: &[u8], out: &mut Vec<SocketAddr>) {
    for entry in bytes.as_chunks::<18>().0 {
        let Some((ip, port)) = entry.split_first_chunk::<16>() else { continue };
        let Ok(port) = <[u8; 2]>::try_from(port) else { continue };
        push(IpAddr::V6(Ipv6Addr::from(*ip)), u16::from_be_bytes(port), out);
    }
}

/// Adds a peer if something can listen there and there is room.
pub(crate) fn push(ip: IpAddr, port: u16, out: &mut Vec<SocketAddr>) {
    let ip = ip.to_canonical();
    if port != 0 && is_host(ip) && out.len() < Limits::PEERS {
        out.push(SocketAddr::new(ip, port));
    }
}

/// Whether the address can be one machine's: neither unspecified, multicast nor broadcast.
pub(crate) fn is_host(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_unspecified() || ip.is_multicast() || broadcast)
}

/// The IPv4 ones of `peers`, compact.
pub(crate) fn write_v4(peers: &[SocketAddr]) -> Vec<u8> {
    let mut out = Vec::with_capacity(peers.len() * 6);
    for peer in peers {
        if let IpAddr::V4(ip) = peer.ip() {
            out.extend_from_slice(&ip.octets());
            out.extend_from_slice(&peer.port().to_be_bytes());
        }
    }
    out
}

/// The IPv6 ones of `peers`, compact.
pub(crate) fn write_v6(peers: &[SocketAddr]) -> Vec<u8> {
    let mut out = Vec::new();
    for peer in peers {
        if let IpAddr::V6(ip) = peer.ip() {
            out.extend_from_slice(&ip.octets());
            out.extend_from_slice(&peer.port().to_be_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_lists_survive_the_round_trip() {
        let peers: Vec<SocketAddr> =
            ["10.0.0.1:6881", "[2001:db8::1]:51413", "192.0.2.9:1"].map(|p| p.parse().unwrap()).into();
        let mut back = Vec::new();
        read_v4(&write_v4(&peers), &mut back);
        read_v6(&write_v6(&peers), &mut back);
        assert_eq!(back, [peers[0], peers[2], peers[1]]);
    }

    #[test]
    fn what_cannot_listen_is_left_out() {
        let mut out = Vec::new();
        read_v4(
            b"\x0a\0\0\x01\0\0\xe0\0\0\x01\x1a\xe1\0\0\0\0\x1a\xe1\xff\xff\xff\xff\x1a\xe1stub",
            &mut out,
        );
        assert_eq!(out, []);
        let mapped = SocketAddr::new("::ffff:10.0.0.1".parse().unwrap(), 7);
        read_v6(&write_v6(&[mapped]), &mut out);
        assert_eq!(out, ["10.0.0.1:7".parse().unwrap()]);
    }

    #[test]
    fn the_number_of_peers_is_bounded() {
        let mut out = Vec::new();
        read_v4(&[7; 6 * (Limits::PEERS + 10)], &mut out);
        assert_eq!(out.len(), Limits::PEERS);
    }
}
