use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use starling_bencode::{Kind, Limits as BencodeLimits, Node, decode_prefix};
use starling_metainfo::Sha1Hash;

use crate::types::text;
use crate::{AnnounceResponse, Limits, Retry, ScrapeEntry, ScrapeResponse, TrackerError, peers};

/// A list of [`Limits::PEERS`] dictionaries, generously.
const DECODE: BencodeLimits = BencodeLimits { depth: 8, tokens: 40_000 };
/// Seconds, where a tracker forgets to say.
const DEFAULT_INTERVAL: u32 = 1_800;

/// Reads the body of an answer to an announce, whatever the HTTP status was:
/// a refusal is [`TrackerError::Failure`].
pub fn parse_announce(body: &[u8]) -> Result<AnnounceResponse, TrackerError> {
    let (document, _) = decode_prefix(body, DECODE).map_err(|_| NOT_BENCODED)?;
    let root = checked_root(document.root())?;
    let mut answer = AnnounceResponse { interval: DEFAULT_INTERVAL, ..AnnounceResponse::default() };
    for (key, value) in root.dict() {
        announce_field(key, value, &mut answer);
    }
    Ok(answer)
}

fn announce_field(key: &[u8], value: Node<'_, '_>, answer: &mut AnnounceResponse) {
    match key {
        b"interval" => answer.interval = count(value).unwrap_or(DEFAULT_INTERVAL),
        b"min interval" => answer.min_interval = count(value),
        b"complete" => answer.complete = count(value),
        b"incomplete" => answer.incomplete = count(value),
        b"external ip" => answer.external_ip = value.as_bytes().and_then(address),
        b"warning message" => answer.warning = value.as_bytes().map(text),
        b"tracker id" => {
            let id = value.as_bytes().filter(|id| id.len() <= Limits::TRACKER_ID);
            answer.tracker_id = id.map(<[u8]>::to_vec);
        }
        b"peers" if value.kind() == Kind::List => peer_dicts(value, answer),
        b"peers" => peers::read_v4(value.as_bytes().unwrap_or_default(), &mut answer.peers),
        b"peers6" => peers::read_v6(value.as_bytes().unwrap_or_default(), &mut answer.peers),
        _ => (),
    }
}

/// BEP 3: each peer a dictionary. One that names a host by DNS is left out.
fn peer_dicts(list: Node<'_, '_>, answer: &mut AnnounceResponse) {
    for peer in list.list() {
        let ip = peer.get("ip").and_then(Node::as_str).and_then(|ip| ip.parse().ok());
        let port = peer.get("port").and_then(Node::as_u64).and_then(|port| u16::try_from(port).ok());
        if let (Some(ip), Some(port)) = (ip, port) {
            peers::push(ip, port, &mut answer.peers);
        }
    }
}

/// Reads the body of an answer to a scrape.
pub fn parse_scrape(body: &[u8]) -> Result<ScrapeResponse, TrackerError> {
    let (document, _) = decode_prefix(body, DECODE).map_err(|_| NOT_BENCODED)?;
    let root = checked_root(document.root())?;
    let files = root.get("files").ok_or(TrackerError::Malformed("a scrape answer without \"files\""))?;
    let files = files.dict().take(Limits::SCRAPE).filter_map(|(hash, entry)| {
        let field = |key| entry.get(key).and_then(count).unwrap_or(0);
        let entry = ScrapeEntry {
            complete: field("complete"),
            incomplete: field("incomplete"),
            downloaded: field("downloaded"),
        };
        Some((Sha1Hash(hash.try_into().ok()?), entry))
    });
    Ok(ScrapeResponse { files: files.collect() })
}

const NOT_BENCODED: TrackerError = TrackerError::Malformed("something that is not bencoded");

/// A dictionary without a `failure reason`.
fn checked_root<'d, 'a>(root: Node<'d, 'a>) -> Result<Node<'d, 'a>, TrackerError> {
    if root.kind() != Kind::Dict {
        return Err(TrackerError::Malformed("something that is no dictionary"));
    }
    match root.get("failure reason") {
        Some(reason) => Err(TrackerError::Failure {
            reason: text(reason.as_bytes().unwrap_or(b"no reason given")),
            retry: root.get("retry in").and_then(retry_in),
        }),
        None => Ok(root),
    }
}

/// BEP 31: minutes as a number (of either bencoded kind), or `never`.
fn retry_in(value: Node<'_, '_>) -> Option<Retry> {
    if value.as_str() == Some("never") {
        return Some(Retry::Never);
    }
    let minutes = count(value).or_else(|| value.as_str()?.parse().ok())?;
    Some(Retry::After(minutes.saturating_mul(60)))
}

/// A number that is not negative; absurd ones saturate.
fn count(value: Node<'_, '_>) -> Option<u32> {
    Some(u32::try_from(value.as_u64()?).unwrap_or(u32::MAX))
}

/// BEP 24: four or sixteen bytes. Some trackers send text instead.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|ip| IpAddr::V4(Ipv4Addr::from(ip)));
    let v6 = || <[u8; 16]>::try_from(bytes).map(|ip| IpAddr::V6(Ipv6Addr::from(ip)).to_canonical());
    v4.or_else(|_| v6()).ok().or_else(|| std::str::from_utf8(bytes).ok()?.parse().ok())
}
