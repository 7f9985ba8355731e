use proptest::prelude::*;

use super::*;

fn url(text: &str) -> TrackerUrl {
    TrackerUrl::parse(text).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_three_kinds_are_read_with_their_default_ports() {
    let http = url("http://Tracker.Example/a/announce?passkey=1#x");
    assert_eq!((http.scheme, http.host.as_str(), http.port), (Scheme::Http, "tracker.example", 80));
    assert_eq!((http.path.as_str(), http.query.as_deref()), ("/a/announce", Some("passkey=1")));
    assert_eq!(http.to_string(), "http://tracker.example/a/announce?passkey=1");
    assert_eq!(url("HTTPS://x").port, 443);
    let udp = url("udp://[2001:db8::1]:6969/announce");
    assert_eq!((udp.ip(), udp.port), (Some(ip("2001:db8::1")), 6969));
    assert_eq!(udp.to_string(), "udp://[2001:db8::1]:6969/announce");
    assert_eq!(url("udp://x:1?a=b").path_and_query(), "?a=b");
}

#[test]
fn a_password_is_kept_but_not_shown() {
    let url = url("https://user:secret@x/announce");
    assert_eq!(url.userinfo.as_deref(), Some("user:secret"));
    assert!(!url.to_string().contains("secret"));
}

#[test]
fn a_password_is_hidden_in_whatever_looks_like_an_address() {
    let cases = [
        ("http://user:secret@x:99999/a@b", "http://x:99999/a@b"),
        ("wss://user:s@cret@x", "wss://x"),
        ("http://x/a@b?c@d", "http://x/a@b?c@d"),
        ("http://x?a@b", "http://x?a@b"),
        ("user@x", "user@x"),
        ("://@", "://"),
    ];
    for (text, shown) in cases {
        assert_eq!(without_userinfo(text), shown, "{text}");
    }
}

#[test]
fn udp_has_no_port_of_its_own() {
    let error = TrackerUrl::parse("udp://x/announce").unwrap_err();
    assert_eq!(error.to_string(), "the address has no port, which udp needs");
}

#[test]
fn other_kinds_are_refused_in_one_sentence() {
    let error = TrackerUrl::parse("wss://tracker.example/").unwrap_err();
    assert_eq!(error.to_string(), "addresses of the kind \"wss\" are not supported");
}

#[test]
fn broken_addresses_are_refused() {
    let long = format!("http://x/{}", "a".repeat(Limits::URL));
    let bad =
        ["", "announce", "http://", "http:///a", "udp://x", "udp://x:0", "http://x:99999", "http://x:+1/"];
    let bad =
        bad.iter().chain(&["http://[::1/", "http://[zz]/", "http://a b/", "http://a\r\nb/", "http://é/"]);
    for text in bad.chain(&[long.as_str()]) {
        assert!(TrackerUrl::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_request_line_cannot_be_split() {
    assert_eq!(url("http://x/a b\r\nHost: y?é").path_and_query(), "/a%20b%0D%0AHost:%20y?%C3%A9");
}

#[test]
fn the_scrape_address_follows_the_convention() {
    let scrape = |text| url(text).scrape().map(|url| url.to_string());
    assert_eq!(scrape("http://x/announce").as_deref(), Some("http://x/scrape"));
    assert_eq!(scrape("http://x/x/announce.php?k=1").as_deref(), Some("http://x/x/scrape.php?k=1"));
    assert_eq!(scrape("http://x/announce/key"), None);
    assert_eq!(scrape("http://x"), None);
    assert_eq!(scrape("udp://x:1").as_deref(), Some("udp://x:1"));
}

#[test]
fn local_addresses_are_told_from_public_ones() {
    let local = ["127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"];
    let local = local.iter().chain(&["100.64.0.1", "0.1.2.3", "::1", "fe80::1", "fd00::1", "fec0::1"]);
    for text in local.chain(&["::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:1::", "::10.0.0.1"]) {
        assert!(is_local(ip(text)), "{text}");
    }
    for text in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
    {
        assert!(!is_local(ip(text)), "{text}");
    }
}

#[test]
fn a_local_tracker_needs_an_announce_path() {
    let check = |path, at| check_target(Purpose::HttpTracker, path, None, ip(at), false);
    for path in ["/announce", "/key/announce.php", "/announce/key", "/scrape"] {
        assert_eq!(check(path, "127.0.0.1"), Ok(()), "{path}");
    }
    for path in
        ["", "/", "/admin", "/announce/../admin", "/announce/%2e%2e/x", "/announcement", "/announce/a/b"]
    {
        assert_eq!(check(path, "192.168.1.1"), Err(Refusal::NotAnAnnounce(ip("192.168.1.1"))), "{path}");
        assert_eq!(check(path, "8.8.8.8"), Ok(()), "{path}");
    }
    assert_eq!(check_target(Purpose::UdpTracker, "", None, ip("10.0.0.1"), false), Ok(()));
}

#[test]
fn no_redirect_leads_from_outside_to_inside() {
    let check = |purpose, at| check_target(purpose, "/announce", None, ip(at), true);
    for purpose in [Purpose::HttpTracker, Purpose::WebSeed] {
        assert_eq!(check(purpose, "::1"), Err(Refusal::Redirected(ip("::1"))));
        assert_eq!(check(purpose, "::ffff:127.0.0.1"), Err(Refusal::Redirected(ip("127.0.0.1"))));
        assert_eq!(check(purpose, "2001:db8::1"), Ok(()));
    }
}

#[test]
fn a_local_web_seed_has_no_query() {
    let check = |query, at| check_target(Purpose::WebSeed, "/file", query, ip(at), false);
    assert_eq!(check(None, "10.0.0.1"), Ok(()));
    assert_eq!(check(Some("reboot=1"), "10.0.0.1"), Err(Refusal::Query(ip("10.0.0.1"))));
    assert_eq!(check(Some("token=1"), "8.8.8.8"), Ok(()));
}

#[test]
fn nobody_is_asked_at_an_address_of_many() {
    for at in ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1"] {
        assert!(check_target(Purpose::UdpTracker, "/announce", None, ip(at), false).is_err(), "{at}");
    }
}

proptest! {
    #[test]
    fn whatever_is_read_is_clean_and_reads_the_same_again(text in "(http|udp|https)://.{0,40}") {
        if let Ok(url) = TrackerUrl::parse(&text) {
            let shown = url.to_string();
            prop_assert!(shown.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(TrackerUrl::parse(&shown), Ok(TrackerUrl { userinfo: None, ..url }));
        }
    }
}
