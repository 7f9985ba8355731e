use std::net::SocketAddr;

use proptest::prelude::*;
use starling_metainfo::Sha1Hash;
use starling_sansio::Time;

use super::*;
use crate::store::PeerStore;
use crate::{
    AnnounceRequest, AnnounceResponse, Event, Limits, Retry, ScrapeEntry, ScrapeResponse, TrackerError,
    TrackerUrl,
};

fn peer(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn request() -> AnnounceRequest {
    let hash = *b"\x124Vx\x9a\xbc\xde\xf1#Eg\x89\xab\xcd\xef\x124Vx\x9a";
    AnnounceRequest {
        left: 7,
        key: 0xabc,
        ..AnnounceRequest::new(Sha1Hash(hash), *b"-SL0100-abcdefghi~.-", 6881)
    }
}

fn failure(body: &[u8]) -> (String, Option<Retry>) {
    match parse_announce(body) {
        Err(TrackerError::Failure { reason, retry }) => (reason, retry),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_announce_is_escaped_and_keeps_the_trackers_query() {
    let url = TrackerUrl::parse("http://t.example/x/announce?passkey=s3").unwrap();
    assert_eq!(
        announce_target(&url, &request()),
        "/x/announce?passkey=s3&info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A\
         &peer_id=-SL0100-abcdefghi~.-&port=6881&uploaded=0&downloaded=0&left=7\
         &key=00000ABC&compact=1&no_peer_id=1&event=started"
    );
}

#[test]
fn what_is_not_given_is_not_sent() {
    let url = TrackerUrl::parse("http://t.example").unwrap();
    let plain = announce_target(&url, &AnnounceRequest { event: Event::None, ..request() });
    assert!(plain.starts_with("/?info_hash="), "{plain}");
    assert!(["&ip=", "&ipv6=", "&numwant=", "&event=", "&trackerid="].iter().all(|key| !plain.contains(key)));
    let full = AnnounceRequest {
        ip: Some("192.0.2.1".parse().unwrap()),
        ipv6: Some("2001:db8::1".parse().unwrap()),
        numwant: Some(0),
        tracker_id: Some(b"a&b".to_vec()),
        ..request()
    };
    let full = announce_target(&url, &full);
    for part in ["&numwant=0", "&ip=192.0.2.1", "&ipv6=2001%3Adb8%3A%3A1", "&trackerid=a%26b"] {
        assert!(full.contains(part), "{part} in {full}");
    }
}

#[test]
fn a_scrape_names_every_torrent() {
    let url = TrackerUrl::parse("https://t.example/announce.php?k=1").unwrap();
    let hashes = [Sha1Hash([b'a'; 20]), Sha1Hash([b'b'; 20])];
    assert_eq!(
        scrape_target(&url, &hashes).unwrap(),
        "/scrape.php?k=1&info_hash=aaaaaaaaaaaaaaaaaaaa&info_hash=bbbbbbbbbbbbbbbbbbbb"
    );
    assert_eq!(scrape_target(&TrackerUrl::parse("http://t.example/a").unwrap(), &hashes), None);
}

#[test]
fn compact_answers_of_both_families_are_read() {
    let body = b"d8:completei3e11:external ip4:\xc0\x00\x02\x0110:incompletei4e8:intervali1800e\
        12:min intervali900e5:peers12:\x0a\0\0\x01\x1a\xe1\x0a\0\0\x02\x1a\xe2\
        6:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe3e";
    let answer = parse_announce(body).unwrap();
    assert_eq!((answer.interval, answer.min_interval), (1_800, Some(900)));
    assert_eq!((answer.complete, answer.incomplete), (Some(3), Some(4)));
    assert_eq!(answer.external_ip, Some("192.0.2.1".parse().unwrap()));
    assert_eq!(answer.peers, ["10.0.0.1:6881", "10.0.0.2:6882", "[2001:db8::1]:6883"].map(peer));
}

#[test]
fn a_list_of_dictionaries_is_read_without_names_and_nonsense() {
    let body = b"d8:intervali60e5:peersld2:ip8:10.0.0.14:porti1eed2:ip3:::24:porti2ee\
        d2:ip11:example.com4:porti3eed2:ip8:10.0.0.14:porti65536eei7ed2:ip8:10.0.0.1eee";
    assert_eq!(parse_announce(body).unwrap().peers, ["10.0.0.1:1", "[::2]:2"].map(peer));
}

#[test]
fn a_refusal_tells_why_and_when_to_come_back() {
    assert_eq!(failure(b"d14:failure reason5:go\x1baye"), ("go ay".to_owned(), None));
    let retry = |value: &str| failure(format!("d14:failure reason1:x8:retry in{value}e").as_bytes()).1;
    assert_eq!(retry("i5e"), Some(Retry::After(300)));
    assert_eq!(retry("1:5"), Some(Retry::After(300)));
    assert_eq!(retry("5:never"), Some(Retry::Never));
    assert_eq!(retry("i99999999999999999999e"), None);
    assert_eq!(retry("i4294967295e"), Some(Retry::After(u32::MAX)));
    assert_eq!(retry("i-1e"), None);
}

#[test]
fn sparse_and_odd_answers_still_count() {
    assert_eq!(parse_announce(b"de").unwrap().interval, 1_800);
    let odd =
        parse_announce(b"d8:intervali-5e5:peersi3e10:tracker id2:ab15:warning message2:hie\r\n").unwrap();
    assert_eq!((odd.interval, odd.peers.len()), (1_800, 0));
    assert_eq!((odd.tracker_id.as_deref(), odd.warning.as_deref()), (Some(b"ab".as_slice()), Some("hi")));
    assert_eq!(parse_announce(b"d8:intervali4294967296ee").unwrap().interval, u32::MAX);
}

#[test]
fn what_is_no_answer_is_the_trackers_fault() {
    for body in [b"".as_slice(), b"<html>", b"le", b"i1e", b"d8:interval"] {
        assert!(matches!(parse_announce(body), Err(TrackerError::Malformed(_))), "{body:?}");
        assert!(matches!(parse_scrape(body), Err(TrackerError::Malformed(_))), "{body:?}");
    }
    assert!(matches!(parse_scrape(b"de"), Err(TrackerError::Malformed(_))));
}

#[test]
fn the_scrape_of_the_specification_is_read() {
    let body = b"d5:filesd20:xxxxxxxxxxxxxxxxxxxxd8:completei11e10:downloadedi13772e10:incompletei19ee\
        20:yyyyyyyyyyyyyyyyyyyyd8:completei21e10:downloadedi206e10:incompletei20eeee";
    let answer = parse_scrape(body).unwrap();
    let x = ScrapeEntry { complete: 11, downloaded: 13_772, incomplete: 19 };
    assert_eq!(answer.files[&Sha1Hash([b'x'; 20])], x);
    assert_eq!(answer.files.len(), 2);
    assert_eq!(encode_scrape(&answer), body);
}

#[test]
fn a_query_without_the_essentials_is_refused() {
    let query =
        "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=1&event=paused&x&=&numwant=-1";
    let parsed = parse_announce_query(query).unwrap();
    assert_eq!((parsed.compact, parsed.request.event, parsed.request.numwant), (true, Event::None, None));
    for missing in ["info_hash", "peer_id", "port"] {
        let query = query.replace(&format!("{missing}="), "y=");
        assert_eq!(parse_announce_query(&query), Err(QueryError(missing)));
    }
    assert!(parse_announce_query(&query.replace("aa&", "&")).is_err(), "a short info-hash");
    assert!(!parse_announce_query(&format!("{query}&compact=0")).unwrap().compact);
}

#[test]
fn a_scrape_query_is_bounded_and_checked() {
    let one = "info_hash=aaaaaaaaaaaaaaaaaaaa";
    assert_eq!(parse_scrape_query(one), Ok(vec![Sha1Hash([b'a'; 20])]));
    assert_eq!(parse_scrape_query(&[one; 500].join("&")).unwrap().len(), Limits::SCRAPE);
    assert!(parse_scrape_query("").is_err());
    assert!(parse_scrape_query("info_hash=a").is_err());
}

#[test]
fn a_refusal_survives_the_way() {
    assert_eq!(failure(&encode_failure("not registered")), ("not registered".to_owned(), None));
}

#[test]
fn a_tracker_serves_what_clients_ask() {
    let mut store = PeerStore::new(std::time::Duration::from_secs(600), starling_sansio::Rng::from_seed(1));
    let url = TrackerUrl::parse("http://t.example/announce").unwrap();
    let from = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
    let mut get = |from, target: &str| serve(Time::ZERO, from, target, &mut store);
    get(from[0], &announce_target(&url, &request())).unwrap();
    let other = AnnounceRequest { peer_id: [2; 20], ..request() };
    let answer = parse_announce(&get(from[1], &announce_target(&url, &other)).unwrap()).unwrap();
    assert_eq!((answer.peers, answer.interval), (vec![peer("10.0.0.1:6881")], 600));
    assert_eq!(answer.external_ip, Some(from[1]));
    let hash = request().info_hash;
    let scrape = parse_scrape(&get(from[0], &scrape_target(&url, &[hash]).unwrap()).unwrap()).unwrap();
    assert_eq!(scrape.files[&hash].incomplete, 2);
    assert_eq!(failure(&get(from[0], "/announce").unwrap()).0, "info_hash is missing or malformed");
    assert_eq!(get(from[0], "/etc/passwd?info_hash=1"), None);
}

prop_compose! {
    fn any_request()(
        hash in any::<[u8; 20]>(), peer_id in any::<[u8; 20]>(), port in any::<u16>(), totals in any::<[u64; 3]>(),
        event in 0..4usize, numwant in any::<Option<u32>>(), key in any::<u32>(),
        tracker_id in proptest::option::of(any::<[u8; 9]>()), ipv6 in any::<Option<u128>>(),
    ) -> AnnounceRequest {
        AnnounceRequest {
            uploaded: totals[0],
            downloaded: totals[1],
            left: totals[2],
            event: [Event::None, Event::Started, Event::Stopped, Event::Completed][event],
            numwant,
            key,
            ipv6: ipv6.map(Into::into),
            tracker_id: tracker_id.map(Into::into),
            ..AnnounceRequest::new(Sha1Hash(hash), peer_id, port)
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in any::<Vec<u8>>(), text in ".*") {
        let _ = (parse_announce(&bytes), parse_scrape(&bytes));
        let _ = (parse_announce_query(&text), parse_scrape_query(&text));
    }

    #[test]
    fn a_tracker_reads_what_a_client_sends(request in any_request()) {
        let url = TrackerUrl::parse("http://t.example/announce?a=b").unwrap();
        let target = announce_target(&url, &request);
        let query = target.split_once('?').unwrap().1;
        prop_assert_eq!(parse_announce_query(query), Ok(AnnounceQuery { request, compact: true }));
    }

    #[test]
    fn a_client_reads_what_a_tracker_sends(
        interval in any::<u32>(), min_interval in any::<Option<u32>>(), v4 in any::<Vec<(u32, u16)>>(),
        v6 in any::<Vec<(u64, u16)>>(), compact in any::<bool>(),
    ) {
        let mut peers = Vec::new();
        v4.iter().for_each(|&(ip, port)| crate::peers::push(std::net::IpAddr::V4(ip.into()), port, &mut peers));
        let global = |ip: u64| u128::from(ip) | 0x2001 << 112;
        v6.iter().for_each(|&(ip, port)| crate::peers::push(std::net::IpAddr::V6(global(ip).into()), port, &mut peers));
        let answer = AnnounceResponse { interval, min_interval, peers, ..AnnounceResponse::default() };
        prop_assert_eq!(parse_announce(&encode_announce(&answer, compact)), Ok(answer));
    }

    #[test]
    fn numbers_survive_the_way(hash in any::<[u8; 20]>(), n in any::<[u32; 3]>()) {
        let entry = ScrapeEntry { complete: n[0], incomplete: n[1], downloaded: n[2] };
        let answer = ScrapeResponse { files: [(Sha1Hash(hash), entry)].into() };
        prop_assert_eq!(parse_scrape(&encode_scrape(&answer)), Ok(answer));
    }
}
