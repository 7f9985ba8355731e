//! Over which kinds of address trackers are asked.

use super::*;

#[test]
fn a_hybrid_torrent_is_announced_under_both_names_over_both_families() {
    let hashes = InfoHashes::new(Some(Sha1Hash([1; 20])), Some(starling_metainfo::Sha256Hash([2; 32])));
    let hybrid = Config::new(&hashes.unwrap(), [9; 20], 1);
    let mut s = Scene::with(hybrid.clone(), &[&["a", "b"]], 7);
    s.input(Input::Start);
    let mut seen: Vec<_> = s.flights.iter().map(|f| (f.3.info_hash.0[0], f.2, f.3.key)).collect();
    seen.sort_unstable();
    let key = seen[0].2;
    let expected = [(1, Family::V4), (1, Family::V6), (2, Family::V4), (2, Family::V6)];
    assert_eq!(seen, expected.map(|(hash, family)| (hash, family, key)));
    let host = s.flights[0].1.clone();
    for _ in 0..3 {
        s.fail(&host);
        assert_eq!(s.flights.iter().filter(|f| f.1 != host).count(), 0, "one of four may still work");
    }
    s.ok(&host);
    assert_eq!(s.flights.len(), 0);
    let mut literal = Scene::with(hybrid, &[&["10.0.0.1", "[2001:db8::1]"]], 7);
    literal.input(Input::Start);
    assert_eq!(literal.flights.len(), 2, "an address has one family");
}

#[test]
fn that_a_tracker_has_no_address_of_our_kind_is_told_once() {
    let mut s = Scene::started(&[&["[2001:db8::1]", "a"]]);
    assert_eq!(s.flying(), [("a", Event::Started)], "the other one of the tier is asked");
    s.ok("a");
    s.input(Input::AddTrackers(tiers(&[&["[2001:db8::2]"]])));
    s.input(Input::NeedPeers);
    let statuses = s.other.iter().filter_map(|output| match output {
        Output::Status(status) if !status.working => Some((status.url.as_str(), status.message.as_deref())),
        _ => None,
    });
    let why = Some("the tracker's address is IPv6, and we may not ask from any of that kind");
    let [one, two] = ["http://[2001:db8::1]/announce", "http://[2001:db8::2]/announce"];
    assert_eq!(statuses.collect::<Vec<_>>(), [(one, why), (two, why)]);
}
