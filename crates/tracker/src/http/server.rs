//! The tracker's end.

use std::net::{IpAddr, SocketAddr};

use starling_bencode::encode_dict;
use starling_metainfo::Sha1Hash;
use starling_sansio::Time;
use thiserror::Error;

use super::query::{pairs, unescape};
use crate::peers::{write_v4, write_v6};
use crate::store::PeerStore;
use crate::{AnnounceRequest, AnnounceResponse, Event, Limits, ScrapeResponse};

/// An announce as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnounceQuery {
    /// What is announced.
    pub request: AnnounceRequest,
    /// Whether the compact form is to be used; only `compact=0` says no.
    pub compact: bool,
}

/// What is wrong with a client's query; to be sent as the failure reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{0} is missing or malformed")]
pub struct QueryError(pub &'static str);

/// Answers a GET of `target` (path and query) that came from `from`: the body of a
/// response with status 200, or `None` if the path is no tracker's (404).
pub fn serve(now: Time, from: IpAddr, target: &str, store: &mut PeerStore) -> Option<Vec<u8>> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let body = match path.rsplit('/').next()? {
        "announce" => parse_announce_query(query).map(|announce| {
            let answer = store.announce(now, from, &announce.request);
            encode_announce(&answer, announce.compact)
        }),
        "scrape" => parse_scrape_query(query).map(|hashes| encode_scrape(&store.scrape(now, &hashes))),
        _ => return None,
    };
    Some(body.unwrap_or_else(|error| encode_failure(&error.to_string())))
}

/// Reads the query of an announce, without the `?`. Unknown keys are ignored;
/// info_hash, peer_id and port must be there.
pub fn parse_announce_query(query: &str) -> Result<AnnounceQuery, QueryError> {
    let mut fields = Fields::default();
    for (key, value) in pairs(query) {
        fields.take(key, &unescape(value));
    }
    let info_hash = fields.info_hash.ok_or(QueryError("info_hash"))?;
    let peer_id = fields.peer_id.ok_or(QueryError("peer_id"))?;
    let port = fields.port.ok_or(QueryError("port"))?;
    let request = AnnounceRequest { info_hash: Sha1Hash(info_hash), peer_id, port, ..fields.request.0 };
    Ok(AnnounceQuery { request, compact: !fields.dicts })
}

#[derive(Default)]
struct Fields {
    info_hash: Option<[u8; 20]>,
    peer_id: Option<[u8; 20]>,
    port: Option<u16>,
    dicts: bool,
    request: Blank,
}

struct Blank(AnnounceRequest);

impl Default for Blank {
    fn default() -> Blank {
        let blank = AnnounceRequest::new(Sha1Hash([0; 20]), [0; 20], 0);
        Blank(AnnounceRequest { event: Event::None, ..blank })
    }
}

impl Fields {
    fn take(&mut self, key: &str, value: &[u8]) {
        let request = &mut self.request.0;
        match key {
            "info_hash" => self.info_hash = value.try_into().ok(),
            "peer_id" => self.peer_id = value.try_into().ok(),
            "port" => self.port = parse(value),
            "uploaded" => request.uploaded = parse(value).unwrap_or(0),
            "downloaded" => request.downloaded = parse(value).unwrap_or(0),
            "left" => request.left = parse(value).unwrap_or(0),
            "numwant" => request.numwant = parse(value),
            "key" => request.key = key_number(value),
            "compact" => self.dicts = value == b"0",
            "ip" => request.ip = parse(value),
            "ipv6" => request.ipv6 = parse(value),
            "trackerid" if value.len() <= Limits::TRACKER_ID => request.tracker_id = Some(value.to_vec()),
            "event" => request.event = event(value),
            _ => (),
        }
    }
}

fn parse<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// A key is opaque text; those of up to eight hex digits map to their number, so that
/// what [`super::announce_target`] writes is read back.
fn key_number(value: &[u8]) -> u32 {
    let hex = std::str::from_utf8(value).ok().and_then(|text| u32::from_str_radix(text, 16).ok());
    hex.unwrap_or_else(|| {
        value.iter().fold(0, |sum: u32, &b| sum.wrapping_mul(31).wrapping_add(u32::from(b)))
    })
}

fn event(value: &[u8]) -> Event {
    match value {
        b"started" => Event::Started,
        b"stopped" => Event::Stopped,
        b"completed" => Event::Completed,
        _ => Event::None,
    }
}

/// Reads the query of a scrape: up to [`Limits::SCRAPE`] info-hashes.
pub fn parse_scrape_query(query: &str) -> Result<Vec<Sha1Hash>, QueryError> {
    let hashes = pairs(query).filter(|(key, _)| *key == "info_hash").take(Limits::SCRAPE);
    let hashes: Option<Vec<Sha1Hash>> =
        hashes.map(|(_, value)| Some(Sha1Hash(unescape(value).try_into().ok()?))).collect();
    hashes.filter(|hashes| !hashes.is_empty()).ok_or(QueryError("info_hash"))
}

/// The body of an answer to an announce; `compact` as [`AnnounceQuery::compact`].
pub fn encode_announce(answer: &AnnounceResponse, compact: bool) -> Vec<u8> {
    encode_dict(|d| {
        d.int("interval", i64::from(answer.interval));
        let numbers = [
            ("min interval", answer.min_interval),
            ("complete", answer.complete),
            ("incomplete", answer.incomplete),
        ];
        for (key, value) in numbers {
            value.inspect(|&value| d.int(key, i64::from(value)));
        }
        match answer.external_ip {
            Some(IpAddr::V4(ip)) => d.bytes("external ip", ip.octets()),
            Some(IpAddr::V6(ip)) => d.bytes("external ip", ip.octets()),
            None => (),
        }
        answer.warning.as_ref().inspect(|warning| d.bytes("warning message", warning));
        answer.tracker_id.as_ref().inspect(|id| d.bytes("tracker id", id));
        if compact {
            d.bytes("peers", write_v4(&answer.peers));
            let v6 = write_v6(&answer.peers);
            if !v6.is_empty() {
                d.bytes("peers6", v6);
            }
        } else {
            d.list("peers", |l| answer.peers.iter().for_each(|peer| l.dict(|d| peer_dict(d, peer))));
        }
    })
}

fn peer_dict(d: &mut starling_bencode::DictWriter<'_>, peer: &SocketAddr) {
    d.bytes("ip", peer.ip().to_string());
    d.int("port", i64::from(peer.port()));
}

/// The body of an answer to a scrape.
pub fn encode_scrape(answer: &ScrapeResponse) -> Vec<u8> {
    encode_dict(|d| {
        d.dict("files", |d| {
            for (hash, entry) in &answer.files {
                d.dict(hash.0, |d| {
                    d.int("complete", i64::from(entry.complete));
                    d.int("downloaded", i64::from(entry.downloaded));
                    d.int("incomplete", i64::from(entry.incomplete));
                });
            }
        });
    })
}

/// The body of a refusal.
pub fn encode_failure(reason: &str) -> Vec<u8> {
    encode_dict(|d| d.bytes("failure reason", reason))
}
