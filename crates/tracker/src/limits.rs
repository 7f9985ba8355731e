/// Bounds on everything a stranger can make grow.
#[derive(Clone, Copy, Debug)]
pub struct Limits;

impl Limits {
    /// Bytes of a tracker's address. Longer ones are refused.
    pub const URL: usize = 2_048;
    /// Trackers of one torrent, over all tiers. More are ignored.
    pub const TRACKERS: usize = 200;
    /// Peers taken from one answer. More are ignored.
    pub const PEERS: usize = 2_000;
    /// Bytes of an HTTP answer that a driver should read before it gives up.
    pub const HTTP_ANSWER: usize = 1 << 20;
    /// Bytes kept of a text that a tracker sends (failure reason, warning).
    pub const TEXT: usize = 400;
    /// Bytes kept of a `tracker id`. A longer one is treated as absent.
    pub const TRACKER_ID: usize = 256;
    /// Info-hashes in one scrape: BEP 15 says about 74 fit a datagram.
    pub const SCRAPE: usize = 74;
    /// Jobs a [`crate::udp::UdpClient`] works on at a time.
    pub const UDP_JOBS: usize = 10_000;
    /// Connections a [`crate::udp::UdpClient`] remembers.
    pub const UDP_CONNECTIONS: usize = 10_000;
    /// Bytes of an LSD datagram we send (BEP 14).
    pub const LSD_DATAGRAM: usize = 1_400;
    /// Info-hashes read from one LSD datagram. More are ignored.
    pub const LSD_HASHES: usize = 64;
    /// Bytes of an LSD cookie. A longer one is treated as absent.
    pub const LSD_COOKIE: usize = 64;
    /// Torrents that LSD announces. More are ignored.
    pub const LSD_TORRENTS: usize = 20_000;
    /// Source addresses that LSD counts at a time.
    pub const LSD_SOURCES: usize = 1_000;
    /// Finds that one LSD source may cause in a minute.
    pub const LSD_FINDS_PER_SOURCE: u32 = 200;
    /// Datagrams to each group that LSD sends in a second.
    pub const LSD_DATAGRAMS_PER_SECOND: usize = 8;
    /// Torrents in a [`crate::store::PeerStore`].
    pub const STORE_SWARMS: usize = 100_000;
    /// Peers of one torrent in a [`crate::store::PeerStore`].
    pub const STORE_PEERS: usize = 10_000;
    /// Peers a [`crate::store::PeerStore`] hands out in one answer.
    pub const STORE_ANSWER: usize = 200;
}
