//! What client and tracker say to each other, whatever the transport.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use starling_metainfo::Sha1Hash;
use thiserror::Error;

use crate::Limits;

/// Why a client announces (BEP 3 `event`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Event {
    /// The interval is over, or more peers are wanted.
    #[default]
    None,
    /// The first announce.
    Started,
    /// The client leaves.
    Stopped,
    /// The download has just finished; not sent by who was complete from the start.
    Completed,
}

/// Which of the two kinds of IP address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// That of `ip`; an IPv4 address in IPv6 form counts as IPv4.
    pub fn of(ip: IpAddr) -> Family {
        if ip.to_canonical().is_ipv4() { Family::V4 } else { Family::V6 }
    }

    fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }
}

/// One announce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnounceRequest {
    /// Which torrent: v1 info-hash, or v2 truncated (BEP 52).
    pub info_hash: Sha1Hash,
    /// Who announces.
    pub peer_id: [u8; 20],
    /// Where it listens for peers.
    pub port: u16,
    /// Payload bytes sent to peers since `started`.
    pub uploaded: u64,
    /// Payload bytes received since `started`.
    pub downloaded: u64,
    /// Bytes still missing.
    pub left: u64,
    /// Why now.
    pub event: Event,
    /// How many peers are wanted; `None` leaves it to the tracker.
    pub numwant: Option<u32>,
    /// Tells a tracker that two addresses are one client (BEP 7).
    pub key: u32,
    /// An address to be listed instead of the packet's source. Most trackers ignore it.
    pub ip: Option<IpAddr>,
    /// A further address of the client (BEP 7, discouraged); HTTP only.
    pub ipv6: Option<Ipv6Addr>,
    /// What the tracker sent as `tracker id`; HTTP only.
    pub tracker_id: Option<Vec<u8>>,
}

impl AnnounceRequest {
    /// A first announce with everything optional left out and nothing transferred.
    pub fn new(info_hash: Sha1Hash, peer_id: [u8; 20], port: u16) -> AnnounceRequest {
        AnnounceRequest {
            info_hash,
            peer_id,
            port,
            uploaded: 0,
            downloaded: 0,
            left: 0,
            event: Event::Started,
            numwant: None,
            key: 0,
            ip: None,
            ipv6: None,
            tracker_id: None,
        }
    }
}

/// A tracker's answer to an announce.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AnnounceResponse {
    /// Seconds until the next regular announce, as the tracker says; not yet clamped.
    pub interval: u32,
    /// Seconds before which no announce without an event is welcome.
    pub min_interval: Option<u32>,
    /// Seeds.
    pub complete: Option<u32>,
    /// Leechers.
    pub incomplete: Option<u32>,
    /// Addresses that can be a peer's: no port 0, no multicast.
    pub peers: Vec<SocketAddr>,
    /// Our address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// A sentence for the user; the announce counted nevertheless.
    pub warning: Option<String>,
    /// To be sent back with the next announce.
    pub tracker_id: Option<Vec<u8>>,
}

/// What a tracker knows of one torrent (BEP 48).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScrapeEntry {
    /// Seeds.
    pub complete: u32,
    /// Leechers.
    pub incomplete: u32,
    /// How often the torrent was downloaded to the end.
    pub downloaded: u32,
}

/// A tracker's answer to a scrape. Torrents it does not know may be missing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScrapeResponse {
    /// By info-hash.
    pub files: BTreeMap<Sha1Hash, ScrapeEntry>,
}

/// When a tracker that refused may be asked again (BEP 31 `retry in`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// After that many seconds.
    After(u32),
    /// Never again.
    Never,
}

/// Why a tracker gave no answer that counts.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum TrackerError {
    /// The tracker refused, in its own words.
    #[error("the tracker refused: {reason}")]
    Failure {
        /// Printable, bounded.
        reason: String,
        /// When to ask again, if the tracker said so.
        retry: Option<Retry>,
    },
    /// The tracker sent something that is no answer.
    #[error("the tracker sent {0}")]
    Malformed(&'static str),
    /// The tracker's HTTP status is not 200, nor a redirect that may be followed.
    #[error("the tracker answered with HTTP status {0}")]
    HttpStatus(u16),
    /// Nothing came in time.
    #[error("the tracker did not answer in time")]
    TimedOut,
    /// The tracker's host has no address, or none of the family asked for.
    #[error("the tracker's host name has no such address")]
    Unresolved,
    /// The tracker's address is of a kind that we have none of to ask from.
    #[error("the tracker's address is {}, and we may not ask from any of that kind", .0.name())]
    NoFamily(Family),
    /// The network did not let us through to the tracker.
    #[error("the tracker cannot be reached: {0}")]
    Unreachable(String),
    /// We do not go there.
    #[error("refused to contact the tracker: {0}")]
    Forbidden(String),
    /// The caller asked for more than this machine does at a time.
    #[error("too many tracker requests at a time")]
    Busy,
}

impl TrackerError {
    /// The tracker's words as a failure without a time to retry.
    pub fn failure(reason: &[u8]) -> TrackerError {
        TrackerError::Failure { reason: text(reason), retry: None }
    }
}

/// A stranger's text as it may be shown: no control characters, bounded.
pub(crate) fn text(bytes: &[u8]) -> String {
    // The last character that fits is whole; what stands for a bad byte is longer than it.
    let enough = &bytes[..bytes.len().min(Limits::TEXT + 3)];
    let mut text = String::new();
    for c in String::from_utf8_lossy(enough).chars() {
        if text.len() + c.len_utf8() > Limits::TEXT {
            break;
        }
        text.push(if c.is_control() { ' ' } else { c });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_cannot_drive_a_terminal_or_fill_it() {
        assert_eq!(text(b"go\x1b[2J away\n"), "go [2J away ");
        assert_eq!(text(&[b'x'; 10_000]).len(), Limits::TEXT);
        assert_eq!(text(b"\xff"), "\u{fffd}");
        // What stands for a bad byte is longer than it.
        let shown = text(&[0xff; 10_000]);
        assert!(shown.len() <= Limits::TEXT && text(shown.as_bytes()) == shown, "{}", shown.len());
        assert_eq!(text("é".repeat(300).as_bytes()), "é".repeat(Limits::TEXT / 2));
    }
}
