//! Local service discovery (BEP 14): meeting peers on the same network by multicast.
//!
//! [`Message`] is the datagram; [`Lsd`] decides when to send one and what those that
//! come in mean. Sockets, interfaces and multicast membership are the driver's.
//!
//! Beyond the BEP: as multicast gets lost, a new torrent is announced three times
//! within seconds; and whoever hears of a torrent it has, and has been silent for some
//! seconds, announces back, so that a newcomer need not wait five minutes.

mod core;
mod message;

pub use core::{Input, Lsd, Output};
pub use message::{Group, Message};
