use proptest::prelude::*;

use super::*;

fn request() -> AnnounceRequest {
    AnnounceRequest {
        downloaded: 1,
        left: 2,
        uploaded: 3,
        key: 0x0102_0304,
        ..AnnounceRequest::new(Sha1Hash([b'h'; 20]), [b'p'; 20], 0x1ae1)
    }
}

fn announce(url_data: &[u8]) -> Request {
    Request::Announce { connection: 9, transaction: 7, request: request(), url_data: url_data.to_vec() }
}

fn data(options: &[u8]) -> Vec<u8> {
    let datagram = [&announce(b"").encode(), options].concat();
    match Request::decode(&datagram) {
        Ok(Request::Announce { url_data, .. }) => url_data,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_connection_request_is_byte_for_byte_the_specifications() {
    let bytes = Request::Connect { transaction: 0x0a0b_0c0d }.encode();
    assert_eq!(bytes, b"\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00\x0a\x0b\x0c\x0d");
}

#[test]
fn every_field_of_an_announce_is_where_the_specification_puts_it() {
    let bytes = announce(b"").encode();
    let at = |range: std::ops::Range<usize>| &bytes[range];
    assert_eq!(bytes.len(), 98);
    assert_eq!(at(0..8), 9u64.to_be_bytes());
    assert_eq!(at(8..16), b"\0\0\0\x01\0\0\0\x07");
    assert_eq!((at(16..36), at(36..56)), ([b'h'; 20].as_slice(), [b'p'; 20].as_slice()));
    let totals = [1u64, 2, 3].map(u64::to_be_bytes).concat();
    assert_eq!(at(56..80), totals, "downloaded, left, uploaded");
    assert_eq!(at(80..84), b"\0\0\0\x02", "started");
    assert_eq!(at(84..98), b"\0\0\0\0\x01\x02\x03\x04\xff\xff\xff\xff\x1a\xe1");
}

#[test]
fn url_data_follows_the_examples_of_its_specification() {
    let bytes = announce(b"/dir?a=b&c=d").encode();
    assert_eq!(&bytes[98..], b"\x02\x0c/dir?a=b&c=d");
    assert_eq!(data(&bytes[98..]), b"/dir?a=b&c=d");
    assert_eq!(data(b"\x02\x0c/dir?a=b&c=d\x01\x01\x00"), b"/dir?a=b&c=d");
    assert_eq!(data(b"\x02\x00"), b"");
    assert_eq!(
        data(b"\x01\x09\x02xx\x02\x01/\x02\x01a\x00\x02\x01z"),
        b"/a",
        "unknown skipped, parts joined"
    );
    assert_eq!(data(b"\x02\x05ab"), b"", "cut short");
    assert_eq!(data(&[2, 255].repeat(5_000)).len() % 255, 0);
}

#[test]
fn long_url_data_travels_in_parts() {
    let long = vec![b'x'; 600];
    assert_eq!(data(&announce(&long).encode()[98..]), long);
}

#[test]
fn answers_are_byte_for_byte_the_specifications() {
    let connect = Response::Connect { transaction: 1, connection: 2 };
    assert_eq!(connect.encode(Family::V4), b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02");
    let bytes = b"\0\0\0\x01\0\0\0\x07\0\0\x07\x08\0\0\0\x03\0\0\0\x04\x0a\0\0\x01\x1a\xe1";
    let Ok(Response::Announce { transaction: 7, answer }) = Response::decode(bytes, Family::V4) else {
        panic!()
    };
    assert_eq!((answer.interval, answer.incomplete, answer.complete), (1_800, Some(3), Some(4)));
    assert_eq!(answer.peers, ["10.0.0.1:6881".parse().unwrap()]);
    let scrape = b"\0\0\0\x02\0\0\0\x07\0\0\0\x01\0\0\0\x02\0\0\0\x03";
    let entries = vec![ScrapeEntry { complete: 1, downloaded: 2, incomplete: 3 }];
    assert_eq!(Response::decode(scrape, Family::V4), Ok(Response::Scrape { transaction: 7, entries }));
    let error = Response::Error { transaction: 7, message: "no".to_owned() };
    assert_eq!(Response::decode(b"\0\0\0\x03\0\0\0\x07no", Family::V6), Ok(error));
}

#[test]
fn the_family_of_the_packet_decides_what_peers_are() {
    let peers: Vec<_> = ["10.0.0.1:1", "[2001:db8::1]:2"].map(|peer| peer.parse().unwrap()).into();
    let response = Response::Announce {
        transaction: 1,
        answer: AnnounceResponse { peers: peers.clone(), ..AnnounceResponse::default() },
    };
    for (family, peer) in Family::ALL.into_iter().zip(peers) {
        let Ok(Response::Announce { answer, .. }) = Response::decode(&response.encode(family), family) else {
            panic!()
        };
        assert_eq!(answer.peers, [peer]);
    }
}

#[test]
fn short_and_foreign_datagrams_are_told_apart() {
    let whole = announce(b"").encode();
    for end in 0..whole.len() {
        assert_eq!(Request::decode(&whole[..end]), Err(PacketError::TooShort), "{end}");
    }
    assert_eq!(Request::decode(&[0; 16]), Err(PacketError::Unknown), "no magic number");
    assert_eq!(Response::decode(b"\0\0\0\x09\0\0\0\x01", Family::V4), Err(PacketError::Unknown));
    assert_eq!(Response::decode(&[0; 15], Family::V4), Err(PacketError::TooShort));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in any::<Vec<u8>>(), action in 0u8..5) {
        let _ = Request::decode(&bytes);
        let _ = Request::decode(&[&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, action], bytes.as_slice()].concat());
        for family in Family::ALL {
            let _ = Response::decode(&[&[0, 0, 0, action], bytes.as_slice()].concat(), family);
        }
    }

    #[test]
    fn a_tracker_reads_what_a_client_sends(
        connection in any::<u64>(), transaction in any::<u32>(), totals in any::<[u64; 3]>(), event in 0..4usize,
        numwant in proptest::option::of(0..=i32::MAX as u32), ip in proptest::option::of(1..=u32::MAX),
        url_data in proptest::collection::vec(any::<u8>(), 0..700), hashes in any::<Vec<[u8; 20]>>(),
    ) {
        let request = AnnounceRequest {
            uploaded: totals[0],
            downloaded: totals[1],
            left: totals[2],
            event: [Event::None, Event::Started, Event::Stopped, Event::Completed][event],
            numwant,
            ip: ip.map(|ip| IpAddr::V4(ip.into())),
            ..request()
        };
        let announce = Request::Announce { connection, transaction, request, url_data };
        prop_assert_eq!(Request::decode(&announce.encode()), Ok(announce));
        let info_hashes = hashes.into_iter().take(Limits::SCRAPE).map(Sha1Hash).collect();
        let scrape = Request::Scrape { connection, transaction, info_hashes };
        prop_assert_eq!(Request::decode(&scrape.encode()), Ok(scrape));
    }
}
