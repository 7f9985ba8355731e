use std::fmt::Write;

use starling_metainfo::Sha1Hash;

use super::query::escape;
use crate::{AnnounceRequest, Event, Limits, TrackerUrl};

/// Path and query of the announce, as an HTTP request line has them. The tracker's
/// own query comes first.
pub fn announce_target(url: &TrackerUrl, request: &AnnounceRequest) -> String {
    let mut out = begin(url);
    out.push_str("info_hash=");
    escape(&request.info_hash.0, &mut out);
    out.push_str("&peer_id=");
    escape(&request.peer_id, &mut out);
    let AnnounceRequest { port, uploaded, downloaded, left, key, .. } = request;
    let numbers = format!("&port={port}&uploaded={uploaded}&downloaded={downloaded}&left={left}");
    out.push_str(&numbers);
    out.push_str(&format!("&key={key:08X}&compact=1&no_peer_id=1"));
    optional(request, &mut out);
    out
}

fn optional(request: &AnnounceRequest, out: &mut String) {
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(out, "&{key}=");
            escape(value.as_bytes(), out);
        }
    };
    add("event", event_name(request.event).map(str::to_owned));
    add("numwant", request.numwant.map(|n| n.to_string()));
    add("ip", request.ip.map(|ip| ip.to_string()));
    add("ipv6", request.ipv6.map(|ip| ip.to_string()));
    if let Some(id) = &request.tracker_id {
        out.push_str("&trackerid=");
        escape(id, out);
    }
}

/// Path and query of a scrape of up to [`Limits::SCRAPE`] torrents; `None` if the
/// tracker's address does not follow the convention of BEP 48.
pub fn scrape_target(url: &TrackerUrl, info_hashes: &[Sha1Hash]) -> Option<String> {
    let mut out = begin(&url.scrape()?);
    for (i, hash) in info_hashes.iter().take(Limits::SCRAPE).enumerate() {
        out.push_str(if i == 0 { "info_hash=" } else { "&info_hash=" });
        escape(&hash.0, &mut out);
    }
    Some(out)
}

/// The path, the tracker's own query, and the sign that parts it from what follows.
fn begin(url: &TrackerUrl) -> String {
    let path = if url.path.is_empty() { "/" } else { &url.path };
    match url.query.as_deref() {
        None | Some("") => format!("{path}?"),
        Some(query) => format!("{path}?{query}&"),
    }
}

fn event_name(event: Event) -> Option<&'static str> {
    match event {
        Event::None => None,
        Event::Started => Some("started"),
        Event::Stopped => Some("stopped"),
        Event::Completed => Some("completed"),
    }
}
