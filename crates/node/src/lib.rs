//! The runtime of a node: what others embed.
//!
//! A [`Node`] owns one network thread, on which all sockets and the session core
//! live without locks, and the disk's worker threads. It binds the session's
//! outputs to `net` and `disk` and hands their news back; it decides nothing.
//! What it keeps between runs (the torrent behind a magnet link, what is
//! verified on disk) lies in the state folder.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use starling_node::{Add, Config, Node};
//!
//! let node = Node::start(Config::default())?;
//! let mut torrent = node.add(Add::source("magnet:?xt=urn:btih:...", "downloads")).await?;
//! torrent.finished().await?;
//! node.shutdown().await?;
//! # Ok(())
//! # }
//! ```

mod address;
mod api;
mod engine;
mod handler;
mod local;
mod node;
mod outside;
mod prepare;
mod seeds;
pub mod source;
mod state;
mod storage;
mod web;

pub use address::{AddressError, check_tracker, check_web_seed, without_userinfo};
pub use api::{Add, Check, Config, Error, Progress, State};
pub use node::{Node, Torrent};
pub use starling_net::interfaces::addresses as interface_addresses;
pub use starling_session::{Limits, RateLimits, Scraped};
pub use starling_swarm::{Giver, Peer};
pub use starling_tracker::ScrapeEntry;
