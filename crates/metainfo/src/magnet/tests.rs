use proptest::prelude::*;

use super::*;

const V1: &str = "631a31dd0a46257d5078c0dee4e66e26f73e42ac";
const V2: &str = "d8dd32ac93357c368556af3ac1d95c9d76bd0dff6fa9833ecdac3d53134efabb";

fn parse(link: &str) -> Magnet {
    link.parse().unwrap()
}

#[test]
fn every_parameter_is_read() {
    let magnet = parse(&format!(
        "magnet:?xt=urn:btih:{V1}&xt=urn:btmh:1220{V2}&dn=a%20b+c%C3%A9&xl=1234&tr=http%3A%2F%2Ft.example%2Fannounce\
         &tr=udp://u.example:80&ws=https://w.example/f&x.pe=10.0.0.1:6881&x.pe=%5B2001:db8::1%5D:6882\
         &x.pe=peer.example:9&so=0,2,4,6-8&foo=bar&xs=x"
    ));
    assert_eq!(magnet.hashes.v1().unwrap().to_string(), V1);
    assert_eq!(magnet.hashes.v2().unwrap().to_string(), V2);
    assert_eq!((magnet.name.as_deref(), magnet.length), (Some("a b cé"), Some(1234)));
    assert_eq!(magnet.trackers, ["http://t.example/announce", "udp://u.example:80"]);
    assert_eq!(magnet.web_seeds, ["https://w.example/f"]);
    let peers: Vec<String> = magnet.peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["10.0.0.1:6881", "[2001:db8::1]:6882", "peer.example:9"]);
    assert_eq!(magnet.select_only, [0..=0, 2..=2, 4..=4, 6..=8]);
    assert!(magnet.selects(7) && !magnet.selects(5));
    assert_eq!(parse(&magnet.to_string()), magnet);
}

#[test]
fn hashes_come_in_many_forms() {
    let v1 = parse(&format!("magnet:?xt=urn:btih:{V1}")).hashes;
    let base32 = "MMNDDXIKIYSX2UDYYDPOJZTOE33T4QVM";
    for source in [V1, &V1.to_uppercase(), base32, &base32.to_lowercase(), &format!("  {V1}\n")] {
        assert_eq!(Magnet::from_source(source).unwrap().unwrap().hashes, v1, "{source}");
    }
    assert_eq!(parse(&format!("MAGNET:?XT=URN:BTIH:{base32}")).hashes, v1);
    assert_eq!(parse(&format!("magnet:?xt.1=urn:btih:{V1}")).hashes, v1);
    let v2 = parse(&format!("magnet:?xt=urn:btmh:1220{V2}")).hashes;
    for source in [V2.to_owned(), format!("1220{V2}")] {
        assert_eq!(Magnet::from_source(&source).unwrap().unwrap().hashes, v2);
    }
    for other in ["file.torrent", "http://example.com/", "", &V1[1..], &format!("{V1}0"), "magnet"] {
        assert_eq!(Magnet::from_source(other), None, "{other}");
    }
}

#[test]
fn what_names_no_torrent_is_refused() {
    let cases = [
        ("http://example.com", MagnetError::NotMagnet),
        ("magnet:?dn=x", MagnetError::NoHash),
        ("magnet:?xt=urn:sha1:ABC", MagnetError::NoHash),
        ("magnet:?xt=urn:btih:12", MagnetError::BadHash),
        (&format!("magnet:?xt=urn:btmh:1114{V1}"), MagnetError::BadHash),
        (&format!("magnet:?xt=urn:btih:{V1}&xt=urn:btih:{}", V1.replace('6', "7")), MagnetError::TwoTorrents),
    ];
    for (link, error) in cases {
        assert_eq!(link.parse::<Magnet>(), Err(error), "{link}");
    }
    for so in ["", "x", "-1", "5-3", "99999999999999999999"] {
        let link = format!("magnet:?xt=urn:btih:{V1}&so={so}");
        assert_eq!(link.parse::<Magnet>(), Err(MagnetError::BadSelection), "{link}");
    }
    let long = format!("magnet:?xt=urn:btih:{V1}&dn={}", "x".repeat(Limits::DEFAULT.magnet_bytes));
    assert_eq!(long.parse::<Magnet>(), Err(MagnetError::TooLong));
}

#[test]
fn odd_values_are_left_out_and_counts_bounded() {
    let magnet = parse(&format!(
        "magnet:?&&xt=urn:btih:{V1}&xl=-3&tr=&tr=a%0Ab&tr=x&tr=x&x.pe=nohost&x.pe=h:0&x.pe=h:99999&x.pe=a/b:1\
         &x.pe=::1:5&so=9-2,x,-,3-,1-2,2-4,4294967295&dn=%zz%4"
    ));
    assert_eq!((magnet.length, magnet.trackers.len(), magnet.peers.len()), (None, 1, 0));
    assert_eq!(magnet.select_only, [1..=4, u32::MAX..=u32::MAX]);
    assert_eq!(magnet.name.as_deref(), Some("%zz%4"));
    let many: String = (0..1000).map(|i| format!("&tr=t{i}&ws=w{i}&x.pe=h{i}:1")).collect();
    let limits = Limits { selected_ranges: 2, ..Limits::DEFAULT };
    let bounded =
        Magnet::parse_with(&format!("magnet:?xt=urn:btih:{V1}{many}&so=1,3,5&so=7"), &limits).unwrap();
    assert_eq!((bounded.trackers.len(), bounded.web_seeds.len()), (limits.trackers, limits.web_seeds));
    assert_eq!((bounded.peers.len(), bounded.select_only.len()), (limits.peers, 2));
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(
        v1 in any::<[u8; 20]>(),
        v2 in prop::option::of(any::<[u8; 32]>()),
        name in prop::option::of("[^\\p{Cc}]{1,12}"),
        length in prop::option::of(any::<u64>()),
        urls in prop::collection::btree_set("[a-z0-9/&=+%#?éß]{1,20}", 0..4),
        ports in prop::collection::btree_set(1u16.., 0..4),
        files in prop::collection::vec((any::<u32>(), 0u32..9), 0..5),
    ) {
        let hashes = InfoHashes::new(Some(Sha1Hash(v1)), v2.map(Sha256Hash)).unwrap();
        let magnet = Magnet {
            hashes,
            name,
            length,
            trackers: urls.iter().cloned().collect(),
            web_seeds: urls.into_iter().collect(),
            peers: ports.into_iter().map(|port| PeerAddress { host: "2001:db8::7".into(), port }).collect(),
            select_only: merge(files.into_iter().map(|(a, n)| a..=a.saturating_add(n)).collect()),
        };
        prop_assert_eq!(magnet.to_string().parse::<Magnet>(), Ok(magnet));
    }

    #[test]
    fn no_text_makes_it_panic(text in "(magnet:\\?)?(xt=urn:bt[im]h:|[&=%.\\[\\]:,-]|so|x.pe|é|[0-9a-f]{1,4}){0,20}") {
        if let Some(Ok(magnet)) = Magnet::from_source(&text) {
            prop_assert_eq!(magnet.to_string().parse::<Magnet>(), Ok(magnet));
        }
    }
}
