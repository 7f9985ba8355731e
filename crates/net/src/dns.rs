//! Names to addresses, by the system's resolver.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long the resolver may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 16;

/// Why a name has no address.
#[derive(Debug, Error)]
pub enum DnsError {
    /// The resolver says so, or cannot be asked.
    #[error("cannot resolve {host}: {source}")]
    Failed {
        /// What was asked for.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// No answer in time.
    #[error("cannot resolve {host}: no answer in time")]
    TimedOut {
        /// What was asked for.
        host: String,
    },
    /// The name exists and has no address.
    #[error("{host} has no address")]
    Empty {
        /// What was asked for.
        host: String,
    },
}

/// The addresses of `host`, both families, in the order the system prefers. Literal
/// addresses (IPv6 without brackets) are not asked for.
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, DnsError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let host = || host.to_owned();
    let found = match timeout(DEADLINE, lookup_host((host(), port))).await {
        Err(_) => return Err(DnsError::TimedOut { host: host() }),
        Ok(Err(source)) => return Err(DnsError::Failed { host: host(), source }),
        Ok(Ok(found)) => found,
    };
    let mut addrs: Vec<SocketAddr> = Vec::new();
    for addr in found.take(4 * ADDRESSES_MAX) {
        if !addrs.contains(&addr) && addrs.len() < ADDRESSES_MAX {
            addrs.push(addr);
        }
    }
    if addrs.is_empty() { Err(DnsError::Empty { host: host() }) } else { Ok(addrs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literals_and_names() {
        let of = |text: &str| vec![text.parse::<SocketAddr>().unwrap()];
        assert_eq!(resolve("127.0.0.1", 80).await.unwrap(), of("127.0.0.1:80"));
        assert_eq!(resolve("::1", 80).await.unwrap(), of("[::1]:80"));
        assert!(resolve("localhost", 80).await.unwrap().iter().all(|a| a.ip().is_loopback()));
        assert!(resolve("no-such-host.invalid", 80).await.is_err());
    }
}
