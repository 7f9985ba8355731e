//! What trackers and neighbours send, and what asks a tracker of ours.

use starling_tracker::{Family, TrackerUrl, http, lsd as discovery, udp};

/// Answers to a client, queries to a tracker, and addresses.
pub fn tracker_http(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(url) = TrackerUrl::parse(&text) {
        let printed = url.to_string();
        assert!(printed.bytes().all(|byte| byte.is_ascii_graphic()), "{printed}");
        let again = TrackerUrl::parse(&printed); // a printed address keeps its password to itself
        assert_eq!(again, Ok(TrackerUrl { userinfo: None, ..url }));
    }
    let _ = http::parse_announce_query(&text);
    let _ = http::parse_scrape_query(&text);
    let _ = http::parse_scrape(data);
    if let Ok(answer) = http::parse_announce(data) {
        let again = http::parse_announce(&http::encode_announce(&answer, true));
        assert_eq!(again.map(|again| again.interval), Ok(answer.interval));
    }
}

/// Datagrams of both ends.
pub fn tracker_udp(data: &[u8]) {
    if let Ok(request) = udp::Request::decode(data) {
        assert_eq!(udp::Request::decode(&request.encode()).as_ref(), Ok(&request));
    }
    for family in Family::ALL {
        if let Ok(mut response) = udp::Response::decode(data, family) {
            keep_own(&mut response, family);
            assert_eq!(udp::Response::decode(&response.encode(family), family).as_ref(), Ok(&response));
        }
    }
}

/// A v4 address mapped into v6 is understood, and never written.
fn keep_own(response: &mut udp::Response, family: Family) {
    if let udp::Response::Announce { answer, .. } = response {
        answer.peers.retain(|peer| Family::of(peer.ip()) == family);
    }
}

/// Local discovery: what fits a datagram says the same again.
pub fn lsd(data: &[u8]) {
    let Some(message) = discovery::Message::decode(data) else { return };
    let again = discovery::Message::decode(&message.encode(discovery::Group::V4));
    let again = again.unwrap_or_else(|| panic!("our own datagram is not understood: {message:?}"));
    assert!(message.info_hashes.starts_with(&again.info_hashes));
    assert_eq!((again.port, &again.cookie), (message.port, &message.cookie));
}
