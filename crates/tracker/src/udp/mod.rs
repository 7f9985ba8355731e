//! UDP trackers (BEP 15) and the one option of BEP 41 that exists, URL data.
//!
//! [`Request`] and [`Response`] are the datagrams of both ends. [`UdpClient`] is the
//! client as a core: it gets connection ids and keeps them for a minute, repeats what
//! is lost and gives up in time. [`ConnectionIds`] makes and checks the ids a tracker
//! hands out, without remembering any, and [`serve`] is the tracker itself.
//!
//! The family of the packet decides whether peers are IPv4 or IPv6; the address in the
//! request is for IPv4 alone. Deliberately absent: the authentication that older
//! drafts describe.

mod client;
mod connection_id;
mod packet;
mod server;

pub use client::{Answer, Input, Output, Timing, UdpClient};
pub use connection_id::ConnectionIds;
pub use packet::{PacketError, Request, Response};
pub use server::serve;
