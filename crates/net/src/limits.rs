use std::time::Duration;

use starling_metainfo::BLOCK_LENGTH;
use starling_swarm::wire::WireLimits;

/// How much of this machine strangers may take, and for how long they may make us wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all, both directions; incoming ones beyond are closed at once.
    pub connections_max: usize,
    /// Connections with one address (one /64 in IPv6), both directions; incoming ones
    /// beyond are closed at once.
    pub connections_per_ip_max: usize,
    /// Incoming connections whose handshake is not complete.
    pub half_open_max: usize,
    /// Such connections from one address (one /64 in IPv6).
    pub half_open_per_ip_max: usize,
    /// From the dial to an open connection.
    pub connect_timeout: Duration,
    /// From accept, or an open connection, to the peer's complete handshake.
    pub handshake_timeout: Duration,
    /// A peer that takes nothing of what waits for it for this long is left.
    pub write_stall_timeout: Duration,
    /// A peer that sends nothing for this long is left. Keep-alives come every two
    /// minutes (BEP 3). Time during which we would not read does not count.
    pub silence_timeout: Duration,
    /// Bytes of control messages waiting for one peer, beyond which nothing is read
    /// from it: who does not read answers gets to ask no more.
    pub control_pause_bytes: usize,
    /// Bytes of control messages waiting for one peer, beyond which it is left.
    pub control_max_bytes: usize,
    /// What a peer may send in one message, until [`crate::PeerHandle::set_wire_limits`].
    pub wire: WireLimits,
}

impl Limits {
    /// For a node with a few torrents.
    pub const DEFAULT: Limits = Limits {
        connections_max: 500,
        connections_per_ip_max: 16,
        half_open_max: 64,
        half_open_per_ip_max: 8,
        connect_timeout: Duration::from_secs(10),
        handshake_timeout: Duration::from_secs(10),
        write_stall_timeout: Duration::from_secs(75),
        silence_timeout: Duration::from_secs(240),
        control_pause_bytes: 1 << 20,
        control_max_bytes: 8 << 20,
        wire: WireLimits { block_max: BLOCK_LENGTH, ..WireLimits::DEFAULT },
    };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}
