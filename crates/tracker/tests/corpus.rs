//! Every input that a fuzzer found or a person thought of, given to the parsers again.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // the corpus is made of files

use std::path::Path;

use starling_tracker::{Family, TrackerUrl, http, lsd, udp};

/// Gives each file of the corpus to `parse`; tells how many it understood.
fn replay(corpus: &str, parse: impl Fn(&[u8]) -> bool) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(corpus);
    let files = std::fs::read_dir(folder).unwrap();
    files.filter(|file| parse(&std::fs::read(file.as_ref().unwrap().path()).unwrap())).count()
}

#[test]
fn http_answers_queries_and_addresses() {
    let understood = replay("tracker_http", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let url = TrackerUrl::parse(&text);
        if let Ok(url) = &url {
            assert!(url.to_string().bytes().all(|b| b.is_ascii_graphic()));
        }
        let server = http::parse_announce_query(&text).is_ok() || http::parse_scrape_query(&text).is_ok();
        let client = http::parse_announce(bytes).is_ok() || http::parse_scrape(bytes).is_ok();
        url.is_ok() || server || client
    });
    assert!(understood >= 8, "{understood}");
}

#[test]
fn udp_datagrams_of_both_ends() {
    let understood = replay("tracker_udp", |bytes| {
        let request = udp::Request::decode(bytes);
        if let Ok(request) = &request {
            assert_eq!(udp::Request::decode(&request.encode()).as_ref(), Ok(request));
        }
        let responses = Family::ALL.map(|family| udp::Response::decode(bytes, family).is_ok());
        request.is_ok() || responses.contains(&true)
    });
    assert!(understood >= 10, "{understood}");
}

#[test]
fn local_discovery_datagrams() {
    let understood = replay("lsd", |bytes| {
        let message = lsd::Message::decode(bytes);
        if let Some(message) = &message {
            let again = lsd::Message::decode(&message.encode(lsd::Group::V4)).unwrap();
            assert!(message.info_hashes.starts_with(&again.info_hashes));
            assert_eq!((again.port, &again.cookie), (message.port, &message.cookie));
        }
        message.is_some()
    });
    assert!(understood >= 3, "{understood}");
}
