use bytes::BufMut;

use super::{HASH_RANGE_LEN, PIECE_HEADER_LEN, id};
use crate::{Block, HashRange, Message};

/// Appends `message` to `out`, length prefix first.
///
/// Of a `piece` only the header is written ([`encode_piece_header`]); the block's
/// bytes must follow. Payloads beyond the peer's limits are the caller's fault and
/// are written as they are.
pub fn encode(message: &Message, out: &mut impl BufMut) {
    if let Message::Piece(block) = message {
        return out.put_slice(&encode_piece_header(*block));
    }
    out.put_u32((encoded_len(message) - 4) as u32);
    match message {
        Message::KeepAlive | Message::Piece(_) => {}
        Message::Choke => out.put_u8(id::CHOKE),
        Message::Unchoke => out.put_u8(id::UNCHOKE),
        Message::Interested => out.put_u8(id::INTERESTED),
        Message::NotInterested => out.put_u8(id::NOT_INTERESTED),
        Message::HaveAll => out.put_u8(id::HAVE_ALL),
        Message::HaveNone => out.put_u8(id::HAVE_NONE),
        Message::Have(piece) => put_index(id::HAVE, *piece, out),
        Message::Suggest(piece) => put_index(id::SUGGEST, *piece, out),
        Message::AllowedFast(piece) => put_index(id::ALLOWED_FAST, *piece, out),
        Message::Request(block) => put_block(id::REQUEST, *block, out),
        Message::Cancel(block) => put_block(id::CANCEL, *block, out),
        Message::Reject(block) => put_block(id::REJECT, *block, out),
        Message::Port(port) => {
            out.put_u8(id::PORT);
            out.put_u16(*port);
        }
        Message::Bitfield(bits) => {
            out.put_u8(id::BITFIELD);
            out.put_slice(bits);
        }
        Message::Extended { id, payload } => {
            out.put_slice(&[id::EXTENDED, *id]);
            out.put_slice(payload);
        }
        Message::HashRequest(range) => put_range(id::HASH_REQUEST, range, out),
        Message::HashReject(range) => put_range(id::HASH_REJECT, range, out),
        Message::Hashes { range, hashes } => {
            put_range(id::HASHES, range, out);
            hashes.iter().for_each(|hash| out.put_slice(&hash.0));
        }
        Message::Unknown(id) => out.put_u8(*id),
    }
}

/// The 13 bytes that stand before a block's own bytes in a `piece` message.
#[inline]
pub fn encode_piece_header(block: Block) -> [u8; PIECE_HEADER_LEN] {
    let mut out = [0; PIECE_HEADER_LEN];
    out[..4].copy_from_slice(&block.length.saturating_add(9).to_be_bytes());
    out[4] = id::PIECE;
    out[5..9].copy_from_slice(&block.piece.to_be_bytes());
    out[9..].copy_from_slice(&block.begin.to_be_bytes());
    out
}

/// Bytes that `message` takes on the wire, length prefix and, for `piece`, the block included.
pub fn encoded_len(message: &Message) -> usize {
    let body = match message {
        Message::KeepAlive => return 4,
        Message::Choke | Message::Unchoke | Message::Interested | Message::NotInterested => 0,
        Message::HaveAll | Message::HaveNone | Message::Unknown(_) => 0,
        Message::Have(_) | Message::Suggest(_) | Message::AllowedFast(_) => 4,
        Message::Request(_) | Message::Cancel(_) | Message::Reject(_) => 12,
        Message::Port(_) => 2,
        Message::Piece(block) => 8 + block.length as usize,
        Message::Bitfield(bits) => bits.len(),
        Message::Extended { payload, .. } => 1 + payload.len(),
        Message::HashRequest(_) | Message::HashReject(_) => HASH_RANGE_LEN,
        Message::Hashes { hashes, .. } => HASH_RANGE_LEN + 32 * hashes.len(),
    };
    5 + body
}

fn put_index(id: u8, piece: u32, out: &mut impl BufMut) {
    out.put_u8(id);
    out.put_u32(piece);
}

fn put_block(id: u8, block: Block, out: &mut impl BufMut) {
    out.put_u8(id);
    out.put_u32(block.piece);
    out.put_u32(block.begin);
    out.put_u32(block.length);
}

fn put_range(id: u8, range: &HashRange, out: &mut impl BufMut) {
    out.put_u8(id);
    out.put_slice(&range.pieces_root.0);
    for number in [range.base_layer, range.index, range.length, range.proof_layers] {
        out.put_u32(number);
    }
}
