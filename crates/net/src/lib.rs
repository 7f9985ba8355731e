//! Every socket of a node: peers, trackers, web seeds, local discovery, overlays.
//!
//! One thread owns them all, a tokio current-thread runtime with a `LocalSet`; nothing
//! here is shared between threads but memory that comes back when its last user drops it.
//! What is said on the sockets is decided elsewhere: this room moves bytes, keeps
//! deadlines and caps, and says who is to blame when something ends.

pub mod dns;
pub mod http;
pub mod interfaces;
mod limits;
pub mod lsd;
pub mod overlay;
pub mod peer;
pub mod udp;
pub mod utp;
pub mod webseed;

pub use limits::Limits;
pub use peer::{Closed, Fill, Listener, Listening, PeerHandle, PeerHandler, Peers};
