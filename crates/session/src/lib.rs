//! One node's policy as a core: what to join, announce, connect, limit, keep, and when.
//!
//! The session composes the other cores: a [`starling_swarm::Torrent`] for each
//! torrent, its trackers and local discovery from `starling-tracker`. It owns the
//! address book, the connection limits, the bans, the rate limits, and the life
//! of a torrent from a bare info-hash to seeding. `node` binds it to sockets and
//! disks, the simulator to virtual ones: what runs is the same.
//!
//! Not here: bytes of pieces, host names' addresses, HTTP, files. The driver is
//! asked for them through [`Output`] and answers through [`Input`].

mod bans;
mod book;
mod config;
mod conns;
mod entry;
mod grants;
mod greeting;
mod io;
mod jobs;
mod lan;
mod life;
mod limiter;
mod peers;
mod places;
mod scrape;
mod session;
mod stats;
mod trackers;

pub use book::{Book, Ending, Source};
pub use config::{Config, Limits};
pub use entry::Phase;
pub use io::{AddSpec, Event, Input, JobId, Output, TorrentKey, TrackerAnswer};
pub use limiter::RateLimits;
pub use scrape::{ScrapeId, Scraped};
pub use session::Session;
pub use stats::TorrentStats;
