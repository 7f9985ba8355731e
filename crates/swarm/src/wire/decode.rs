use std::ops::Range;

use bytes::Bytes;
use starling_metainfo::Sha256Hash;

use super::{HASH_RANGE_LEN, PIECE_HEADER_LEN, WireError, WireLimits, id};
use crate::{Block, HashRange, Message};

/// What stands at the beginning of a buffer.
#[derive(Clone, PartialEq, Debug)]
pub enum Decoded {
    /// Nothing can be said before the buffer holds `need` bytes. Asking again
    /// earlier is harmless; `need` may then be larger than before.
    Incomplete {
        /// Bytes, counted from the beginning of the buffer; always more than it held.
        need: usize,
    },
    /// A `piece` message has begun but its block is not all there: enough to find
    /// the block a place. The buffer holds `payload.start..` of it so far, and the
    /// message ends at `payload.end`.
    PieceHeader {
        /// The block announced.
        block: Block,
        /// Where in the buffer its bytes will lie.
        payload: Range<usize>,
    },
    /// A whole message.
    Frame {
        /// The message.
        message: Message,
        /// Bytes of the buffer it took, length prefix included.
        consumed: usize,
        /// For `piece`, where in the buffer the block lies; else empty.
        payload: Range<usize>,
    },
}

/// Reads the message at the beginning of `bytes`.
///
/// An error is final for the connection (see [`WireError`]). The cost is a few
/// nanoseconds but for `bitfield`, `extended` and `hashes`, whose payload is copied.
#[inline]
pub fn decode(bytes: &[u8], limits: &WireLimits) -> Result<Decoded, WireError> {
    let Some(prefix) = bytes.first_chunk() else { return Ok(Decoded::Incomplete { need: 4 }) };
    let length = u32::from_be_bytes(*prefix);
    if length == 0 {
        return Ok(Decoded::Frame { message: Message::KeepAlive, consumed: 4, payload: 4..4 });
    }
    if length > limits.frame_max {
        return Err(WireError::FrameTooLong { length });
    }
    let Some(&id) = bytes.get(4) else { return Ok(Decoded::Incomplete { need: 5 }) };
    if !length_fits(id, length, limits) {
        return Err(WireError::BadLength { id, length });
    }
    let end = 4 + length as usize;
    if id == id::PIECE {
        return Ok(decode_piece(bytes, end));
    }
    let Some(body) = bytes.get(5..end) else { return Ok(Decoded::Incomplete { need: end }) };
    let message = decode_body(id, body).ok_or(WireError::BadLength { id, length })?;
    Ok(Decoded::Frame { message, consumed: end, payload: end..end })
}

fn decode_piece(bytes: &[u8], end: usize) -> Decoded {
    let header = bytes.get(5..PIECE_HEADER_LEN).map(Reader);
    let Some((piece, begin)) = header.and_then(|mut r| Some((r.u32()?, r.u32()?))) else {
        return Decoded::Incomplete { need: PIECE_HEADER_LEN };
    };
    let block = Block { piece, begin, length: (end - PIECE_HEADER_LEN) as u32 };
    let payload = PIECE_HEADER_LEN..end;
    if bytes.len() < end {
        return Decoded::PieceHeader { block, payload };
    }
    Decoded::Frame { message: Message::Piece(block), consumed: end, payload }
}

/// Whether a message with this id may have this length (at least 1), its id included.
#[inline]
fn length_fits(id: u8, length: u32, limits: &WireLimits) -> bool {
    const RANGE: u32 = 1 + HASH_RANGE_LEN as u32;
    match id {
        id::PIECE => length > 9 && length - 9 <= limits.block_max,
        id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED => length == 1,
        id::HAVE_ALL | id::HAVE_NONE => length == 1,
        id::PORT => length == 3,
        id::HAVE | id::SUGGEST | id::ALLOWED_FAST => length == 5,
        id::REQUEST | id::CANCEL | id::REJECT => length == 13,
        id::BITFIELD => length - 1 <= limits.bitfield_max,
        id::EXTENDED => length >= 2,
        id::HASH_REQUEST | id::HASH_REJECT => length == RANGE,
        id::HASHES => {
            length >= RANGE
                && (length - RANGE).is_multiple_of(32)
                && (length - RANGE) / 32 <= limits.hashes_max
        }
        _ => true,
    }
}

/// The message in a body whose length was found right; the option is never `None` then.
fn decode_body(id: u8, body: &[u8]) -> Option<Message> {
    let mut r = Reader(body);
    Some(match id {
        id::CHOKE => Message::Choke,
        id::UNCHOKE => Message::Unchoke,
        id::INTERESTED => Message::Interested,
        id::NOT_INTERESTED => Message::NotInterested,
        id::HAVE => Message::Have(r.u32()?),
        id::BITFIELD => Message::Bitfield(Bytes::copy_from_slice(body)),
        id::REQUEST => Message::Request(r.block()?),
        id::CANCEL => Message::Cancel(r.block()?),
        id::PORT => Message::Port(u16::from_be_bytes(r.array()?)),
        id::SUGGEST => Message::Suggest(r.u32()?),
        id::HAVE_ALL => Message::HaveAll,
        id::HAVE_NONE => Message::HaveNone,
        id::REJECT => Message::Reject(r.block()?),
        id::ALLOWED_FAST => Message::AllowedFast(r.u32()?),
        id::EXTENDED => {
            let [id] = r.array()?;
            Message::Extended { id, payload: Bytes::copy_from_slice(r.0) }
        }
        id::HASH_REQUEST => Message::HashRequest(r.hash_range()?),
        id::HASHES => Message::Hashes { range: r.hash_range()?, hashes: r.hashes() },
        id::HASH_REJECT => Message::HashReject(r.hash_range()?),
        other => Message::Unknown(other),
    })
}

/// What is left of a body.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn block(&mut self) -> Option<Block> {
        Some(Block { piece: self.u32()?, begin: self.u32()?, length: self.u32()? })
    }

    fn hash_range(&mut self) -> Option<HashRange> {
        Some(HashRange {
            pieces_root: Sha256Hash(self.array()?),
            base_layer: self.u32()?,
            index: self.u32()?,
            length: self.u32()?,
            proof_layers: self.u32()?,
        })
    }

    fn hashes(&mut self) -> Vec<Sha256Hash> {
        self.0.as_chunks().0.iter().map(|hash| Sha256Hash(*hash)).collect()
    }
}
