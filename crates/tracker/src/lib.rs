//! Trackers, both ends, and local service discovery: where peers come from before
//! any peer is known.
//!
//! - [`AnnounceRequest`], [`AnnounceResponse`], [`ScrapeResponse`]: what is said,
//!   whatever the transport.
//! - [`http`]: BEP 3, 7, 23, 24, 31 and 48 as URLs and bencoded bodies.
//! - [`udp`]: BEP 15 and 41 as datagrams, and [`udp::UdpClient`], which owns
//!   connection ids, retransmission and time-outs.
//! - [`Announcer`]: when one torrent speaks to which of its trackers (BEP 3, 12).
//! - [`lsd`]: BEP 14 as datagrams, and [`lsd::Lsd`], which decides when to send them.
//! - [`TrackerUrl`] and [`check_target`]: what a tracker's address may be, and which
//!   hosts an address from a stranger's torrent may reach.
//! - [`store::PeerStore`]: the table behind a tracker.
//!
//! Everything here is a codec or a core: sockets, DNS, TLS and the HTTP protocol
//! itself belong to the drivers. Deliberately absent: WebSocket trackers, the
//! obfuscated announces of BEP 8, and peers named by a DNS name (BEP 3 allows them;
//! resolving a stranger's names for another stranger is not worth it).

mod announcer;
pub mod http;
mod limits;
pub mod lsd;
mod peers;
pub mod store;
mod types;
pub mod udp;
mod url;

pub use announcer::{Announcer, Config, Input, JobId, Output, Totals, TrackerStatus};
pub use limits::Limits;
pub use types::{
    AnnounceRequest, AnnounceResponse, Event, Family, Retry, ScrapeEntry, ScrapeResponse, TrackerError,
};
pub use url::{Purpose, Refusal, Scheme, TrackerUrl, UrlError, check_target, is_local, without_userinfo};
