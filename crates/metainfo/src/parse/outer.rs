//! The torrent file around the info dictionary.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use starling_bencode::{Kind, Node};

use super::ParseError;
use crate::merkle::{self, TreeShape};
use crate::{FileEntry, Info, Limits, PieceLength, Sha256Hash, Torrent};

type PieceLayers = BTreeMap<Sha256Hash, Vec<Sha256Hash>>;

impl Torrent {
    /// Reads a torrent file; bytes after its end, such as a newline, do no harm. A v2 file without its `piece layers` is let through, as
    /// peers can supply them: see [`Torrent::missing_layers`].
    pub fn parse(bytes: &[u8]) -> Result<Torrent, ParseError> {
        Torrent::parse_with(bytes, &Limits::DEFAULT)
    }

    /// As [`Torrent::parse`], with other limits.
    pub fn parse_with(bytes: &[u8], limits: &Limits) -> Result<Torrent, ParseError> {
        if bytes.len() > limits.torrent_bytes {
            return Err(ParseError::OverLimit { what: "bytes", limit: limits.torrent_bytes });
        }
        let (document, _) = starling_bencode::decode_prefix(bytes, limits.bencode())?;
        let root = document.root();
        let info = root.get("info").ok_or(ParseError::Missing("info"))?;
        let info = Info::parse_with(Bytes::copy_from_slice(info.raw()), limits)?;
        let text = |key: &str| text(root, key, limits);
        Ok(Torrent {
            trackers: trackers(root, limits),
            web_seeds: web_seeds(root, limits),
            piece_layers: piece_layers(root, &info)?,
            comment: text("comment.utf-8").or_else(|| text("comment")),
            created_by: text("created by.utf-8").or_else(|| text("created by")),
            creation_date: root.get("creation date").and_then(Node::as_int),
            info: Arc::new(info),
        })
    }

    /// Roots of the files of more than one piece whose piece layer is not known yet.
    pub fn missing_layers(&self) -> impl Iterator<Item = Sha256Hash> + '_ {
        layered_files(&self.info)
            .map(|(_, root, _)| root)
            .filter(|root| !self.piece_layers.contains_key(root))
    }
}

/// Index, root and shape of the files that have a piece layer: those of more than one piece.
fn layered_files(info: &Info) -> impl Iterator<Item = (usize, Sha256Hash, TreeShape)> + '_ {
    let piece_length = PieceLength::new(u64::from(info.layout.piece_length()));
    let shape = move |file: &FileEntry| TreeShape::new(file.length, piece_length?);
    let files = info.layout.files().iter().enumerate();
    files.filter_map(move |(i, f)| Some((i, f.pieces_root?, shape(f).filter(|s| s.pieces() > 1)?)))
}

/// The layers of this torrent's files, each checked against its root; others are left out.
fn piece_layers(root: Node<'_, '_>, info: &Info) -> Result<PieceLayers, ParseError> {
    let given: BTreeMap<&[u8], Node<'_, '_>> = match root.get("piece layers") {
        Some(layers) if info.v2 => layers.dict().collect(),
        _ => return Ok(PieceLayers::new()),
    };
    let mut out = PieceLayers::new();
    for (index, pieces_root, shape) in layered_files(info) {
        let Some(node) = given.get(&pieces_root.0[..]) else { continue };
        let bad = ParseError::PieceLayer(index);
        let (hashes, rest) = node.as_bytes().ok_or(bad.clone())?.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() != shape.pieces() as usize {
            return Err(bad);
        }
        if out.contains_key(&pieces_root) {
            continue;
        }
        let layer: Vec<Sha256Hash> = hashes.iter().map(|hash| Sha256Hash(*hash)).collect();
        if merkle::root(&layer, merkle::pad(shape.piece_layer())) != pieces_root {
            return Err(bad);
        }
        out.insert(pieces_root, layer);
    }
    Ok(out)
}

/// BEP 12: `announce-list` where there is one with an address in it, else `announce`.
fn trackers(root: Node<'_, '_>, limits: &Limits) -> Vec<Vec<String>> {
    let mut left = limits.trackers;
    let mut tiers = Vec::new();
    for tier in root.get("announce-list").into_iter().flat_map(Node::list) {
        let urls = urls(tier, left, limits);
        left -= urls.len();
        if !urls.is_empty() {
            tiers.push(urls);
        }
    }
    if tiers.is_empty() {
        let single = root.get("announce").and_then(|node| url(node, limits));
        tiers.extend(single.map(|url| vec![url]));
    }
    tiers
}

/// BEP 19: `url-list` is a string or a list.
fn web_seeds(root: Node<'_, '_>, limits: &Limits) -> Vec<String> {
    let mut seeds = root.get("url-list").map(|n| urls(n, limits.web_seeds, limits)).unwrap_or_default();
    let mut seen = std::collections::BTreeSet::new();
    seeds.retain(|url| seen.insert(url.clone()));
    seeds
}

/// The addresses in a list, or the one that stands where a list should.
fn urls(node: Node<'_, '_>, most: usize, limits: &Limits) -> Vec<String> {
    match node.kind() {
        Kind::List => node.list().filter_map(|item| url(item, limits)).take(most).collect(),
        _ => url(node, limits).into_iter().take(most).collect(),
    }
}

fn url(node: Node<'_, '_>, limits: &Limits) -> Option<String> {
    let url = node.as_str()?.trim();
    let fits = !url.is_empty() && url.len() <= limits.url_bytes;
    (fits && !url.contains(|c: char| c.is_control() || c == ' ')).then(|| url.to_owned())
}

fn text(root: Node<'_, '_>, key: &str, limits: &Limits) -> Option<String> {
    let bytes = root.get(key)?.as_bytes()?;
    (bytes.len() <= limits.text_bytes).then(|| String::from_utf8_lossy(bytes).into_owned())
}
