//! Seven overlays behind one trait.
//!
//! An overlay answers two questions: who is responsible for a key, and who has
//! what I look for. They are two layers here:
//!
//! - **Key-based routing** ([`KeyBased`]), for the structured four, is the common
//!   API of Dabek et al., "Towards a Common API for Structured Peer-to-Peer
//!   Overlays" (IPTPS 2003): route, forward, deliver, update, local lookup,
//!   neighbour set, replica set, range.
//! - **Locating** ([`Overlay`]), for all seven: publish, withdraw, look-up by key,
//!   search by words. `Dht` puts it on top of any key-based routing by keeping
//!   postings at a key's replica set; Napster, Gnutella, FastTrack and Kelips
//!   locate in ways of their own.
//!
//! Every layer is a [`Core`]: no I/O, no clock, chance from a seed that the driver
//! keeps. A core is generic over how a peer is named ([`Peer`]): an address on real
//! sockets ([`Contact`]), a four-byte index in the simulator; what a name stands
//! for, its place in the id space, is asked of the driver ([`Host::id`]), so that
//! tables of a million simulated nodes hold four bytes an entry.
//!
//! What is deliberately absent: sockets, encryption, and any trust in what a peer
//! says of itself: ids follow from addresses, replies are matched to requests, and
//! every table has a bound.

mod check;
pub mod chord;
mod core;
pub mod dht;
mod event;
pub mod fasttrack;
pub mod gnutella;
mod graph;
mod id;
pub mod kademlia;
pub mod kelips;
mod lost;
pub mod napster;
mod past;
pub mod pastry;
mod peer;
mod postings;
mod prefetch;
mod record;
mod rpc;
mod view;
pub mod wire;

pub use crate::core::{
    Core, Counts, Host, Input, KeyBased, Message, Offence, Overlay, Purpose, Row, WARM_STEPS, Wanted,
};
pub use check::{Checked, Standing};
pub use event::{Command, Cost, Event, Hit, Op, Outcome, Route, Routing};
pub use id::Id;
pub use peer::{Contact, Peer};
pub use prefetch::{PREFETCHED, prefetch};
pub use record::{MAX_WORDS, Query, Record};
pub use rpc::{RpcId, Rpcs};
pub use view::View;
