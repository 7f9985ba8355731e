//! Fuzz entry points, one for each parser of a stranger's bytes.
//!
//! Each gives the bytes to its parser and asserts what must hold whatever they are:
//! no panic, bounds kept, and what was understood says the same when written and
//! read again. `tests/replay.rs` runs every committed input of `corpus/` through
//! them; `cargo fuzz run NAME --features libfuzzer` looks for new ones.

mod overlays;
mod peers;
mod torrents;
mod trackers;

pub use overlays::{
    overlay_chord, overlay_datagram, overlay_fasttrack, overlay_gnutella, overlay_kademlia, overlay_kelips,
    overlay_napster, overlay_pastry,
};
pub use peers::{extension, peer_message, resume};
pub use torrents::{bencode, magnet, metainfo};
pub use trackers::{lsd, tracker_http, tracker_udp};

/// One entry point: its name, which is its corpus' folder too, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// All entry points.
pub const TARGETS: [Target; 17] = [
    ("bencode", bencode),
    ("extension", extension),
    ("lsd", lsd),
    ("magnet", magnet),
    ("metainfo", metainfo),
    ("overlay_chord", overlay_chord),
    ("overlay_datagram", overlay_datagram),
    ("overlay_fasttrack", overlay_fasttrack),
    ("overlay_gnutella", overlay_gnutella),
    ("overlay_kademlia", overlay_kademlia),
    ("overlay_kelips", overlay_kelips),
    ("overlay_napster", overlay_napster),
    ("overlay_pastry", overlay_pastry),
    ("peer_message", peer_message),
    ("resume", resume),
    ("tracker_http", tracker_http),
    ("tracker_udp", tracker_udp),
];
