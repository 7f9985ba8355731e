//! This machine's own addresses.

use std::net::IpAddr;

/// The addresses of all interfaces, loopback and link-local included; empty if the
/// system does not tell.
pub fn addresses() -> Vec<IpAddr> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    let mut ips: Vec<IpAddr> = found.iter().map(if_addrs::Interface::ip).collect();
    ips.sort_unstable();
    ips.dedup();
    ips
}
