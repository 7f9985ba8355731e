use bytes::Bytes;
use proptest::prelude::*;
use starling_metainfo::{Sha1Hash, Sha256Hash};

use super::*;
use crate::{Block, Handshake, HashRange, Message, Reserved};

const LIMITS: WireLimits = WireLimits::DEFAULT;

fn bytes_of(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    encode(message, &mut out);
    if let Message::Piece(block) = message {
        out.resize(out.len() + block.length as usize, 0xab);
    }
    out
}

fn block() -> impl Strategy<Value = Block> {
    (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(piece, begin, length)| Block {
        piece,
        begin,
        length,
    })
}

fn hash_range() -> impl Strategy<Value = HashRange> {
    (any::<[u8; 32]>(), any::<[u32; 4]>()).prop_map(|(root, [base_layer, index, length, proof_layers])| {
        HashRange { pieces_root: Sha256Hash(root), base_layer, index, length, proof_layers }
    })
}

fn payload() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..100).prop_map(Bytes::from)
}

fn message() -> impl Strategy<Value = Message> {
    let plain = [
        Message::KeepAlive,
        Message::Choke,
        Message::Unchoke,
        Message::Interested,
        Message::NotInterested,
        Message::HaveAll,
        Message::HaveNone,
        Message::Unknown(10),
        Message::Unknown(255),
    ];
    prop_oneof![
        proptest::sample::select(plain.to_vec()),
        any::<u32>().prop_map(Message::Have),
        any::<u32>().prop_map(Message::Suggest),
        any::<u32>().prop_map(Message::AllowedFast),
        any::<u16>().prop_map(Message::Port),
        block().prop_map(Message::Request),
        block().prop_map(Message::Cancel),
        block().prop_map(Message::Reject),
        (block(), 1..=128u32 << 10).prop_map(|(b, length)| Message::Piece(Block { length, ..b })),
        payload().prop_map(Message::Bitfield),
        (any::<u8>(), payload()).prop_map(|(id, payload)| Message::Extended { id, payload }),
        hash_range().prop_map(Message::HashRequest),
        hash_range().prop_map(Message::HashReject),
        (hash_range(), proptest::collection::vec(any::<[u8; 32]>(), 0..5)).prop_map(|(range, hashes)| {
            Message::Hashes { range, hashes: hashes.into_iter().map(Sha256Hash).collect() }
        }),
    ]
}

proptest! {
    #[test]
    fn every_message_comes_back(message in message(), next in payload()) {
        let mut bytes = bytes_of(&message);
        prop_assert_eq!(bytes.len(), encoded_len(&message));
        let end = bytes.len();
        bytes.extend_from_slice(&next);
        let Ok(Decoded::Frame { message: got, consumed, payload }) = decode(&bytes, &LIMITS) else {
            return Err(TestCaseError::fail("not a frame"));
        };
        prop_assert_eq!(consumed, end);
        let expected = if let Message::Piece(_) = got { 13..end } else { end..end };
        prop_assert_eq!(payload, expected);
        prop_assert_eq!(got, message);
    }

    #[test]
    fn a_prefix_is_never_taken_for_a_message(message in message(), cut in any::<prop::sample::Index>()) {
        let bytes = bytes_of(&message);
        let cut = cut.index(bytes.len());
        match decode(&bytes[..cut], &LIMITS) {
            Ok(Decoded::Incomplete { need }) => prop_assert!(cut < need && need <= bytes.len()),
            Ok(Decoded::PieceHeader { block, payload }) => {
                prop_assert!(cut >= PIECE_HEADER_LEN);
                prop_assert_eq!(payload, 13..bytes.len());
                prop_assert_eq!(Message::Piece(block), message);
            }
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &LIMITS);
        let _ = Handshake::decode(&bytes);
    }

    #[test]
    fn arbitrary_bodies_never_panic(id in 0u8..32, body in payload()) {
        let mut bytes = (body.len() as u32 + 1).to_be_bytes().to_vec();
        bytes.push(id);
        bytes.extend_from_slice(&body);
        match decode(&bytes, &LIMITS) {
            Ok(Decoded::Frame { consumed, .. }) => prop_assert_eq!(consumed, bytes.len()),
            Ok(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
            Err(error) => prop_assert_eq!(error, WireError::BadLength { id, length: body.len() as u32 + 1 }),
        }
    }

    #[test]
    fn a_handshake_comes_back(reserved: [u8; 8], hash: [u8; 20], peer_id: [u8; 20], cut in 0usize..68) {
        let shake = Handshake { reserved: Reserved(reserved), info_hash: Sha1Hash(hash), peer_id };
        let bytes = shake.encode();
        prop_assert_eq!(Handshake::decode(&bytes[..cut]), Ok(None));
        prop_assert_eq!(Handshake::peek_info_hash(&bytes[..cut]), (cut >= 48).then_some(Sha1Hash(hash)));
        prop_assert_eq!(Handshake::decode(&bytes), Ok(Some(shake)));
    }
}

#[test]
fn another_protocol_is_refused_at_its_first_byte() {
    assert_eq!(Handshake::decode(b"G"), Err(WireError::NotBitTorrent));
    assert_eq!(Handshake::decode(b"\x13BitTorrent protocoX"), Err(WireError::NotBitTorrent));
    assert_eq!(Handshake::decode(b""), Ok(None));
}

#[test]
fn lengths_beyond_the_limits_are_refused_at_once() {
    let error = |bytes: &[u8]| decode(bytes, &LIMITS).unwrap_err();
    assert_eq!(error(&[0xff; 4]), WireError::FrameTooLong { length: u32::MAX });
    let block = Block { piece: 0, begin: 0, length: LIMITS.block_max + 1 };
    assert_eq!(
        error(&encode_piece_header(block)[..5]),
        WireError::BadLength { id: 7, length: LIMITS.block_max + 10 }
    );
    assert_eq!(error(&[0, 0, 0, 9, 7]), WireError::BadLength { id: 7, length: 9 });
    let bitfield = [0, 0, 0, 4, 5];
    assert!(decode(&bitfield, &WireLimits::for_pieces(24)).is_ok());
    assert!(decode(&bitfield, &WireLimits::for_pieces(16)).is_err());
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    let block = Block { piece: 1, begin: 2, length: 3 };
    assert_eq!(bytes_of(&Message::Have(258)), [0, 0, 0, 5, 4, 0, 0, 1, 2]);
    assert_eq!(bytes_of(&Message::Request(block)), [0, 0, 0, 13, 6, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
    assert_eq!(encode_piece_header(block), [0, 0, 0, 12, 7, 0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(bytes_of(&Message::Port(6881)), [0, 0, 0, 3, 9, 0x1a, 0xe1]);
    assert_eq!(bytes_of(&Message::HaveAll), [0, 0, 0, 1, 0x0e]);
    assert_eq!(bytes_of(&Message::KeepAlive), [0, 0, 0, 0]);
}
