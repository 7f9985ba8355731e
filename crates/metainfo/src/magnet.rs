//! Magnet links (BEP 9, 53) and bare info-hashes.
//!
//! Read leniently: what is not understood is left out, only a link without any
//! info-hash, or with two different ones of a kind, is an error. Written so that every
//! client reads it. Absent: `as`, `xs`, `mt`, and BEP 46's `btpk`.

mod codec;
mod print;

use std::ops::RangeInclusive;
use std::str::FromStr;

use thiserror::Error;

use crate::{InfoHashes, Limits, Sha1Hash, Sha256Hash, Torrent};

/// A peer that a magnet names: BEP 9 `x.pe`. The host may be a name, still to be resolved.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerAddress {
    /// A host name or address; an IPv6 address without brackets.
    pub host: String,
    /// Not 0.
    pub port: u16,
}

/// What a magnet link says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Magnet {
    /// `xt`: which torrent.
    pub hashes: InfoHashes,
    /// `dn`: a name to show. Not safe as a file name: see [`crate::names`].
    pub name: Option<String>,
    /// `xl`: bytes in all, as a hint.
    pub length: Option<u64>,
    /// `tr`: trackers, each a tier of its own.
    pub trackers: Vec<String>,
    /// `ws`: web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// `x.pe`: peers to ask at once.
    pub peers: Vec<PeerAddress>,
    /// BEP 53 `so`: indices of the only files wanted; empty if all are.
    pub select_only: Vec<RangeInclusive<u32>>,
}

/// Why a text is no magnet link. Whoever wrote the link is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum MagnetError {
    /// Another scheme.
    #[error("this is not a magnet link: it does not begin with `magnet:?`")]
    NotMagnet,
    /// Beyond [`Limits::magnet_bytes`].
    #[error("the magnet link is too long")]
    TooLong,
    /// No `xt` of BitTorrent.
    #[error("the magnet link names no torrent: it has no `xt=urn:btih:` or `xt=urn:btmh:`")]
    NoHash,
    /// An `xt` of BitTorrent that is not a hash.
    #[error("the magnet link has an info-hash of wrong length or alphabet")]
    BadHash,
    /// Two different hashes of the same kind.
    #[error("the magnet link names two different torrents")]
    TwoTorrents,
    /// A `so` (BEP 53) without any number.
    #[error("the magnet link's `so` names no file; numbers and ranges do, as in so=0,2,6-8")]
    BadSelection,
}

impl Magnet {
    /// A link that says nothing but which torrent.
    pub fn new(hashes: InfoHashes) -> Magnet {
        Magnet {
            hashes,
            name: None,
            length: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            select_only: Vec::new(),
        }
    }

    /// The link to `torrent`, with its name, trackers and web seeds.
    pub fn of(torrent: &Torrent) -> Magnet {
        Magnet {
            name: Some(torrent.info.name.clone()),
            length: Some(torrent.info.layout.content_length()),
            trackers: torrent.trackers.iter().flatten().cloned().collect(),
            web_seeds: torrent.web_seeds.clone(),
            ..Magnet::new(torrent.info.hashes)
        }
    }

    /// Reads a link, or an info-hash alone: 40 hex digits or 32 base32 letters for v1,
    /// 64 hex digits or the multihash `1220` and 64 more for v2. `None` if `source`
    /// looks like neither, so that it may be a file or address.
    pub fn from_source(source: &str) -> Option<Result<Magnet, MagnetError>> {
        let source = source.trim();
        if starts_with_scheme(source) {
            return Some(source.parse());
        }
        let v1 = codec::sha1(source);
        let v2 = codec::multihash(source).or_else(|| source.parse().ok());
        InfoHashes::new(v1, v2).map(|hashes| Ok(Magnet::new(hashes)))
    }

    /// Reads a link under other limits than [`Limits::DEFAULT`].
    pub fn parse_with(link: &str, limits: &Limits) -> Result<Magnet, MagnetError> {
        let link = link.trim();
        if link.len() > limits.magnet_bytes {
            return Err(MagnetError::TooLong);
        }
        if !starts_with_scheme(link) {
            return Err(MagnetError::NotMagnet);
        }
        let mut reader = Reader { limits: *limits, ..Reader::default() };
        for parameter in link[SCHEME.len()..].split('&') {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            reader.parameter(key, value)?;
        }
        reader.finish()
    }

    /// Whether file `index` is wanted (BEP 53).
    pub fn selects(&self, index: u32) -> bool {
        self.select_only.is_empty() || self.select_only.iter().any(|range| range.contains(&index))
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    fn from_str(link: &str) -> Result<Magnet, MagnetError> {
        Magnet::parse_with(link, &Limits::DEFAULT)
    }
}

const SCHEME: &str = "magnet:?";

fn starts_with_scheme(text: &str) -> bool {
    text.get(..SCHEME.len()).is_some_and(|head| head.eq_ignore_ascii_case(SCHEME))
}

/// A link as far as it is read.
#[derive(Default)]
struct Reader {
    limits: Limits,
    v1: Option<Sha1Hash>,
    v2: Option<Sha256Hash>,
    name: Option<String>,
    length: Option<u64>,
    trackers: Vec<String>,
    web_seeds: Vec<String>,
    peers: Vec<PeerAddress>,
    select_only: Vec<RangeInclusive<u32>>,
}

impl Reader {
    fn parameter(&mut self, key: &str, value: &str) -> Result<(), MagnetError> {
        let limits = &self.limits;
        let key = plain_key(key);
        // Many sites write a space in a name as a plus sign; a plus itself is %2B.
        let value = if key == "dn" { value.replace('+', " ") } else { value.to_owned() };
        let value = codec::unescape(&value);
        match key.as_str() {
            "xt" => return self.topic(&value),
            "dn" if self.name.is_none() && !value.is_empty() => self.name = Some(value),
            "xl" if self.length.is_none() => self.length = value.parse().ok(),
            "tr" => add_url(&mut self.trackers, value, limits.trackers, limits),
            "ws" => add_url(&mut self.web_seeds, value, limits.web_seeds, limits),
            "x.pe" => {
                let peer = value.parse().ok().filter(|peer| !self.peers.contains(peer));
                self.peers.extend(peer.filter(|_| self.peers.len() < limits.peers));
            }
            "so" => {
                let ranges: Vec<_> = value.split(',').filter_map(selection).collect();
                if ranges.is_empty() {
                    // To fetch everything is not what the link asks for.
                    return Err(MagnetError::BadSelection);
                }
                let room = limits.selected_ranges.saturating_sub(self.select_only.len());
                self.select_only.extend(ranges.into_iter().take(room));
            }
            _ => {}
        }
        Ok(())
    }

    /// `xt`; those of other networks are passed over.
    fn topic(&mut self, value: &str) -> Result<(), MagnetError> {
        let lower = value.to_ascii_lowercase();
        if lower.starts_with("urn:btih:") {
            let hash = codec::sha1(&value["urn:btih:".len()..]).ok_or(MagnetError::BadHash)?;
            return set_once(&mut self.v1, hash);
        }
        if lower.starts_with("urn:btmh:") {
            let hash = codec::multihash(&value["urn:btmh:".len()..]).ok_or(MagnetError::BadHash)?;
            return set_once(&mut self.v2, hash);
        }
        Ok(())
    }

    fn finish(self) -> Result<Magnet, MagnetError> {
        Ok(Magnet {
            hashes: InfoHashes::new(self.v1, self.v2).ok_or(MagnetError::NoHash)?,
            name: self.name,
            length: self.length,
            trackers: self.trackers,
            web_seeds: self.web_seeds,
            peers: self.peers,
            select_only: merge(self.select_only),
        })
    }
}

/// Keys may come numbered, as in `xt.1` and `tr.2`.
fn plain_key(key: &str) -> String {
    let key = key.to_ascii_lowercase();
    match key.rsplit_once('.') {
        Some((plain, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            plain.to_owned()
        }
        _ => key,
    }
}

fn set_once<T: PartialEq>(slot: &mut Option<T>, hash: T) -> Result<(), MagnetError> {
    if slot.as_ref().is_some_and(|known| *known != hash) {
        return Err(MagnetError::TwoTorrents);
    }
    *slot = Some(hash);
    Ok(())
}

fn add_url(urls: &mut Vec<String>, url: String, most: usize, limits: &Limits) {
    let url = url.trim();
    let clean = !url.contains(|c: char| c.is_control() || c == ' ');
    let fits = !url.is_empty() && url.len() <= limits.url_bytes && urls.len() < most;
    if clean && fits && !urls.iter().any(|known| known == url) {
        urls.push(url.to_owned());
    }
}

/// `3` or `5-8`.
fn selection(text: &str) -> Option<RangeInclusive<u32>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (codec::decimal(first)?, codec::decimal(last)?);
    (first <= last).then_some(first..=last)
}

/// In order, without overlaps.
fn merge(mut ranges: Vec<RangeInclusive<u32>>) -> Vec<RangeInclusive<u32>> {
    ranges.sort_by_key(|range| *range.start());
    let mut out: Vec<RangeInclusive<u32>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => out.push(range),
        }
    }
    out
}

impl FromStr for PeerAddress {
    type Err = ();

    /// `host:port`, `1.2.3.4:port` or `[v6]:port`.
    fn from_str(text: &str) -> Result<PeerAddress, ()> {
        let (host, port) = text.rsplit_once(':').ok_or(())?;
        let port = codec::decimal(port).and_then(|port| u16::try_from(port).ok()).filter(|&p| p != 0);
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().map_err(|_| ())?.to_string(),
            None => host.to_owned(),
        };
        let named = host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
        let good = !host.is_empty() && host.len() <= 253 && (named || bracketed.is_some());
        Ok(PeerAddress { host: Some(host).filter(|_| good).ok_or(())?, port: port.ok_or(())? })
    }
}

#[cfg(test)]
mod tests;
