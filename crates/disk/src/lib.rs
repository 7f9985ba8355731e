//! Piece storage: the only room that touches a torrent's files.
//!
//! Blocks come in as [`bytes::Bytes`], are hashed from memory as they come and
//! written in runs; nothing that was hashed is read back. Worker threads belong
//! to devices, so that no torrent waits for another's slow disk, and one number
//! ([`Config::memory`]) bounds the blocks in flight over all torrents.
//!
//! A piece counts as had in the resume file only after its data was synced; see
//! [`resume`] for the journal and [`storage`] for how files are opened below
//! their root without following links. [`create()`] and
//! [`verify()`] hash existing files on all cores.
//!
//! Deliberately absent: which pieces to fetch (`swarm`), where state lives
//! (`node`), any socket or clock but what the checkpoints need.

mod api;
mod budget;
mod bulk;
mod checking;
mod checkpoint;
mod close;
mod create;
pub mod descriptors;
mod disk;
mod error;
mod fault;
mod foreign;
pub mod hash;
mod keeper;
mod lane;
mod layers;
mod ledger;
mod open;
mod piece;
mod place;
mod process;
mod read;
pub mod resume;
mod sample;
mod scan;
mod span_io;
pub mod storage;
mod torrent;
mod verify;
mod wanted;

pub use api::{Allocate, Check, Config, Event, OpenSpec, TorrentKey};
pub use bulk::Progress;
pub use create::{CreateOptions, Created, Hashes, create, hash_layout};
pub use disk::Disk;
pub use error::DiskError;
pub use verify::{FileReport, Report, too_long, verify};
