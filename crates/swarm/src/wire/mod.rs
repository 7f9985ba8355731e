//! Bytes and [`Message`](crate::Message)s: the handshake and the framing of BEP 3, with the
//! messages of BEP 5 (`port`), 6 (fast), 10 (extended) and 52 (hashes).
//!
//! [`decode()`] looks at the beginning of whatever the driver has read and copies
//! no byte of a block: for a `piece` it says where in the buffer the block lies,
//! and says so as soon as the 13 bytes before it are there. Lengths are judged
//! as soon as they can be read, so that a peer cannot make anybody wait for, or
//! make room for, more than [`WireLimits`] allows.
//!
//! Not here: the meaning of messages, and what extended payloads hold
//! ([`crate::extension`]). Encryption of the stream is the driver's.

mod decode;
mod encode;
mod handshake;
#[cfg(test)]
mod tests;

use starling_metainfo::Layout;
use thiserror::Error;

pub use decode::{Decoded, decode};
pub use encode::{encode, encode_piece_header, encoded_len};
pub use handshake::HANDSHAKE_LEN;

/// Bytes before the block in a `piece` message: length, id, index, begin.
pub const PIECE_HEADER_LEN: usize = 13;

/// How much a peer may send in one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireLimits {
    /// Bytes in any message, its length prefix left out.
    pub frame_max: u32,
    /// Bytes in the block of a `piece`. 16 KiB is what anyone asks for.
    pub block_max: u32,
    /// Bytes of a `bitfield`.
    pub bitfield_max: u32,
    /// Hashes in a `hashes` message. BEP 52 advises requests of at most 512 and their proof.
    pub hashes_max: u32,
}

impl WireLimits {
    /// While the number of pieces is not known.
    pub const DEFAULT: WireLimits = WireLimits {
        frame_max: (1 << 20) + Layout::MAX_PIECES / 8,
        block_max: 128 << 10,
        bitfield_max: Layout::MAX_PIECES / 8,
        hashes_max: 8192 + 64,
    };

    /// For a torrent of `pieces` pieces: a longer bitfield is refused by its length alone.
    pub const fn for_pieces(pieces: u32) -> WireLimits {
        WireLimits { bitfield_max: pieces.div_ceil(8), ..WireLimits::DEFAULT }
    }
}

impl Default for WireLimits {
    fn default() -> Self {
        WireLimits::DEFAULT
    }
}

/// What a peer sent that is no message. Nothing after it in the stream can be
/// understood: the connection is to be closed, and the peer is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum WireError {
    /// The handshake begins otherwise than BEP 3 says.
    #[error("the peer does not speak the BitTorrent protocol")]
    NotBitTorrent,
    /// Longer than any message may be.
    #[error("the peer announced a message of {length} bytes")]
    FrameTooLong {
        /// As announced, in bytes.
        length: u32,
    },
    /// A length that messages of this kind cannot have.
    #[error("the peer sent message {id} with {length} bytes")]
    BadLength {
        /// The message's id.
        id: u8,
        /// As announced, id included, in bytes.
        length: u32,
    },
}

/// Message ids (BEP 3, 5, 6, 10, 52).
mod id {
    pub const CHOKE: u8 = 0;
    pub const UNCHOKE: u8 = 1;
    pub const INTERESTED: u8 = 2;
    pub const NOT_INTERESTED: u8 = 3;
    pub const HAVE: u8 = 4;
    pub const BITFIELD: u8 = 5;
    pub const REQUEST: u8 = 6;
    pub const PIECE: u8 = 7;
    pub const CANCEL: u8 = 8;
    pub const PORT: u8 = 9;
    pub const SUGGEST: u8 = 0x0d;
    pub const HAVE_ALL: u8 = 0x0e;
    pub const HAVE_NONE: u8 = 0x0f;
    pub const REJECT: u8 = 0x10;
    pub const ALLOWED_FAST: u8 = 0x11;
    pub const EXTENDED: u8 = 20;
    pub const HASH_REQUEST: u8 = 21;
    pub const HASHES: u8 = 22;
    pub const HASH_REJECT: u8 = 23;
}

/// Bytes of a hash range: root, base layer, index, length, proof layers.
const HASH_RANGE_LEN: usize = 32 + 4 * 4;
