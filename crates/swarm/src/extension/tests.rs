use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn payload_of(message: Message) -> Bytes {
    let Message::Extended { payload, .. } = message else { panic!("not extended: {message:?}") };
    payload
}

fn addr() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 16], u16)>().prop_map(SocketAddr::from),
    ]
}

fn ids() -> impl Strategy<Value = ExtensionIds> {
    any::<[Option<u8>; 3]>().prop_map(|[ut_metadata, ut_pex, lt_donthave]| ExtensionIds {
        ut_metadata,
        ut_pex,
        lt_donthave,
    })
}

fn handshake() -> impl Strategy<Value = ExtensionHandshake> {
    let numbers =
        (option::of(1u16..), any::<Option<u32>>(), option::of(0..1u64 << 62), any::<Option<bool>>());
    let ips = (any::<Option<[u8; 4]>>(), any::<Option<[u8; 16]>>(), option::of(addr()));
    (ids(), option::of("[ -~]{1,64}"), numbers, ips).prop_map(|(ids, client, numbers, ips)| {
        ExtensionHandshake {
            ids,
            client,
            port: numbers.0,
            reqq: numbers.1,
            metadata_size: numbers.2,
            upload_only: numbers.3,
            ipv4: ips.0.map(Into::into),
            ipv6: ips.1.map(Into::into),
            yourip: ips.2.map(|addr| addr.ip()),
        }
    })
}

fn metadata() -> impl Strategy<Value = MetadataMessage> {
    prop_oneof![
        any::<u32>().prop_map(|piece| MetadataMessage::Request { piece }),
        any::<u32>().prop_map(|piece| MetadataMessage::Reject { piece }),
        (any::<u32>(), option::of(0..1u64 << 62), vec(any::<u8>(), 0..200)).prop_map(
            |(piece, total_size, bytes)| MetadataMessage::Data { piece, total_size, bytes: bytes.into() }
        ),
    ]
}

/// In the order of the wire: IPv4 first.
fn pex() -> impl Strategy<Value = PexMessage> {
    (vec((addr(), any::<u8>()), 0..50), vec(addr(), 0..50)).prop_map(|(mut added, mut dropped)| {
        added.sort_by_key(|(addr, _)| addr.is_ipv6());
        dropped.sort_by_key(SocketAddr::is_ipv6);
        let added = added.into_iter().map(|(addr, flags)| PexPeer { addr, flags: PexFlags(flags) }).collect();
        PexMessage { added, dropped }
    })
}

proptest! {
    #[test]
    fn a_handshake_comes_back(shake in handshake()) {
        let payload = payload_of(shake.message());
        prop_assert_eq!(decode(HANDSHAKE, &payload), Ok(ExtensionMessage::Handshake(shake)));
    }

    #[test]
    fn metadata_messages_come_back(message in metadata()) {
        let payload = payload_of(message.message(9));
        prop_assert_eq!(decode(UT_METADATA, &payload), Ok(ExtensionMessage::Metadata(message)));
    }

    #[test]
    fn peer_exchange_comes_back(message in pex()) {
        let payload = payload_of(message.message(9));
        prop_assert_eq!(decode(UT_PEX, &payload), Ok(ExtensionMessage::Pex(message)));
    }

    #[test]
    fn dont_have_comes_back(piece: u32) {
        let payload = payload_of(DontHave { piece }.message(9));
        prop_assert_eq!(decode(LT_DONTHAVE, &payload), Ok(ExtensionMessage::DontHave(DontHave { piece })));
    }

    #[test]
    fn arbitrary_bytes_never_panic(id in 0u8..5, payload in vec(any::<u8>(), 0..300)) {
        let _ = decode(id, &payload.into());
    }

    #[test]
    fn a_cut_handshake_is_an_error(shake in handshake(), cut in any::<prop::sample::Index>()) {
        let payload = payload_of(shake.message());
        prop_assert!(decode(HANDSHAKE, &payload.slice(..cut.index(payload.len()))).is_err());
    }

    #[test]
    fn a_damaged_payload_never_panics(message in pex(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut payload = message.encode();
        let at = at.index(payload.len());
        payload[at] = byte;
        let _ = decode(UT_PEX, &payload.into());
    }
}

#[test]
fn examples_of_the_specifications() {
    let shake =
        ExtensionHandshake::decode(b"d1:md11:LT_metadatai1e6:ut_pexi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e");
    let shake = shake.unwrap();
    assert_eq!((shake.ids.ut_pex, shake.ids.ut_metadata, shake.port), (Some(2), None, Some(6881)));
    assert_eq!(shake.client.as_deref(), Some("µTorrent 1.2"));
    assert_eq!(MetadataMessage::Request { piece: 0 }.encode(), b"d8:msg_typei0e5:piecei0ee");
    let data =
        MetadataMessage::decode(&Bytes::from_static(b"d8:msg_typei1e5:piecei0e10:total_sizei3425eexxxxxxxx"));
    let bytes = Bytes::from_static(b"xxxxxxxx");
    assert_eq!(data, Ok(Some(MetadataMessage::Data { piece: 0, total_size: Some(3425), bytes })));
    assert_eq!(MetadataMessage::decode(&Bytes::from_static(b"d8:msg_typei7e5:piecei0ee")), Ok(None));
}

#[test]
fn odd_fields_count_as_absent() {
    let text = b"d1:mi3e1:p0:4:ipv43:abc4:reqqi-4e13:metadata_sizei-1e1:pi70000e1:v4:a\x1b[me";
    let shake = ExtensionHandshake::decode(text).unwrap();
    assert_eq!(shake, ExtensionHandshake { client: Some("a[m".into()), ..Default::default() });
    let endless = [b"d1:v300:".as_slice(), &[b'x'; 300], b"e and more"].concat();
    let client = ExtensionHandshake::decode(&endless).unwrap().client.unwrap();
    assert_eq!(client.len(), MAX_CLIENT_LEN);
}

#[test]
fn later_handshakes_add_and_switch_off() {
    let mut held = ExtensionIds::default();
    held.update(&ExtensionIds { ut_pex: Some(4), ut_metadata: Some(5), lt_donthave: Some(0) });
    held.update(&ExtensionIds { ut_pex: Some(0), ..Default::default() });
    assert_eq!(held, ExtensionIds { ut_metadata: Some(5), ..Default::default() });
}

#[test]
fn a_bencode_bomb_is_refused() {
    assert!(decode(HANDSHAKE, &Bytes::from("l".repeat(100_000))).is_err());
    let many = format!("d1:ml{}ee", "i1e".repeat(100_000));
    assert!(decode(HANDSHAKE, &Bytes::from(many)).is_err());
    assert_eq!(decode(UT_PEX, &Bytes::from(vec![b'd'; PAYLOAD_MAX + 1])), Err(ExtensionError::TooLong));
}

#[test]
fn too_many_peers_are_cut_off_and_missing_flags_are_none() {
    let peer = PexPeer { addr: "1.2.3.4:5".parse().unwrap(), flags: PexFlags::SEED };
    let many = PexMessage { added: vec![peer; 1000], dropped: vec![peer.addr; 1000] };
    let got = PexMessage::decode(&many.encode()).unwrap();
    assert_eq!((got.added.len(), got.dropped.len()), (MAX_PEX_PEERS, MAX_PEX_PEERS));
    let bare = PexMessage::decode(b"d5:added6:\x01\x02\x03\x04\x00\x05e").unwrap();
    assert_eq!(bare.added, [PexPeer { flags: PexFlags::default(), ..peer }]);
}
