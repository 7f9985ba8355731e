//! Torrents (BEP 3, 52), magnet links (BEP 9, 53) and what both describe.
//!
//! A torrent's bytes are parsed once into types that cannot be wrong:
//! a [`PieceLength`] is a power of two or at least positive and bounded, a
//! [`Layout`] has file offsets that cannot overflow, a file's path is a list of
//! components that are safe to create below a folder on any platform.
//!
//! Everything that reads a stranger's bytes is bounded by [`Limits`].
//!
//! No state, no I/O: reading files to hash them belongs to `disk`.

mod bitfield;
mod create;
mod hash;
mod layout;
mod limits;
mod magnet;
pub mod merkle;
pub mod names;
mod parse;
mod torrent;

pub use bitfield::Bitfield;
pub use create::{Builder, CreateError, Plan, SourceFile, Versions};
pub use hash::{InfoHashes, NotHex, Sha1Hash, Sha256Hash};
pub use layout::{BLOCK_LENGTH, FileEntry, Layout, LayoutError, PieceLength, Span};
pub use limits::Limits;
pub use magnet::{Magnet, MagnetError, PeerAddress};
pub use parse::ParseError;
pub use torrent::{Info, Torrent};
