//! Writing a magnet link.

use std::fmt;

use super::codec::escape;
use super::{Magnet, PeerAddress, SCHEME};

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = SCHEME;
        let mut parameter = |key: &str, value: &str| {
            write!(f, "{between}{key}={value}")?;
            between = "&";
            Ok(())
        };
        if let Some(hash) = self.hashes.v1() {
            parameter("xt", &format!("urn:btih:{hash}"))?;
        }
        if let Some(hash) = self.hashes.v2() {
            parameter("xt", &format!("urn:btmh:1220{hash}"))?;
        }
        if let Some(name) = &self.name {
            parameter("dn", &escape(name, b""))?;
        }
        if let Some(length) = self.length {
            parameter("xl", &length.to_string())?;
        }
        self.trackers.iter().try_for_each(|url| parameter("tr", &escape(url, b"")))?;
        self.web_seeds.iter().try_for_each(|url| parameter("ws", &escape(url, b"")))?;
        self.peers.iter().try_for_each(|peer| parameter("x.pe", &escape(&peer.to_string(), b":[]")))?;
        if self.select_only.is_empty() {
            return Ok(());
        }
        let range = |range: &std::ops::RangeInclusive<u32>| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        parameter("so", &self.select_only.iter().map(range).collect::<Vec<_>>().join(","))
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
