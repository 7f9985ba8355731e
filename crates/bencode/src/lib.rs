//! Bencoding (BEP 3): bytes to values and back.
//!
//! [`decode`] reads a stranger's bytes into a flat tape of tokens that points
//! into them: nothing is copied, nothing recurses, and [`Limits`] bound depth and
//! tokens before memory is spent. [`Node`] is a view of one value on the tape.
//! [`encode_dict`] and [`encode_list`] write; their output is always canonical.
//!
//! Numbers must be in the one shortest form. Dictionary keys out of order or given
//! twice are let through, since such torrents exist: the first of equal keys counts,
//! and [`Document::is_canonical`] tells.
//!
//! Deliberately absent: an owned tree of values, and serde.

mod decode;
mod encode;
mod node;

pub use decode::{Document, Error, ErrorKind, Limits, decode, decode_prefix};
pub use encode::{DictWriter, ListWriter, encode_dict, encode_list};
pub use node::{DictIter, Kind, ListIter, Node};
