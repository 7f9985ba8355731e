//! BitTorrent between peers (BEP 3 and its extensions), as a core.
//!
//! [`wire`] turns bytes into [`Message`]s and back; [`Torrent`] is one torrent's
//! side of its swarm: who has what, what to ask of whom, whom to serve, whom to
//! trust. Bytes of pieces never come here: the core speaks of [`Block`]s, and the
//! driver keeps the bytes.
//!
//! Not here: trackers, connecting, the limits of a whole node (`session`);
//! sockets (`net`); storage and hashing (`disk`).

pub mod allowed_fast;
pub mod extension;
pub mod hashes;
mod io;
mod message;
pub mod metadata;
pub mod pex;
pub mod priority;
pub mod wire;

pub use io::{Blame, Closing, ConnId, Event, FetchEnd, Hello, Input, Output, Peer, Priority, SeedId};
pub use message::{Block, Handshake, HashRange, Message, Reserved};
