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
mod choker;
mod config;
mod depth;
pub mod extension;
pub mod hashes;
mod io;
mod message;
pub mod metadata;
mod peer;
pub mod pex;
mod picker;
pub mod priority;
mod rate;
mod stats;
mod taken_back;
mod torrent;
pub mod wire;

pub use config::{Config, Limits, Strategy};
pub use io::{Blame, Closing, ConnId, Event, FetchEnd, Giver, Hello, Input, Output, Peer, Priority, SeedId};
pub use message::{Block, Handshake, HashRange, Message, Reserved};
pub use stats::{Demand, Stats};
pub use torrent::{Idle, Torrent};
