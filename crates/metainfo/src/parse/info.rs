//! The info dictionary.

use bytes::Bytes;
use sha1::{Digest, Sha1};
use starling_bencode::{Kind, Node};

use super::ParseError;
use super::files::{self, RawFile};
use crate::{FileEntry, Info, InfoHashes, Layout, LayoutError, Limits, PieceLength, Sha1Hash, merkle, names};

impl Info {
    /// Reads an info dictionary, as it stands in a torrent or comes over ut_metadata (BEP 9).
    pub fn parse(bytes: Bytes) -> Result<Info, ParseError> {
        Info::parse_with(bytes, &Limits::DEFAULT)
    }

    /// As [`Info::parse`], with other limits.
    pub fn parse_with(bytes: Bytes, limits: &Limits) -> Result<Info, ParseError> {
        if bytes.len() > limits.info_bytes {
            return Err(ParseError::OverLimit { what: "bytes of info dictionary", limit: limits.info_bytes });
        }
        let document = starling_bencode::decode(&bytes, limits.bencode())?;
        let parts = Parts::read(document.root(), limits)?;
        parts.into_info(&bytes)
    }
}

/// What the dictionary says, before it is brought together.
struct Parts<'a> {
    name: &'a [u8],
    piece_length: PieceLength,
    v1: Option<V1<'a>>,
    v2: Option<Vec<RawFile<'a>>>,
    private: bool,
}

struct V1<'a> {
    pieces: &'a [u8],
    files: Vec<RawFile<'a>>,
    single_file: bool,
}

impl<'a> Parts<'a> {
    fn read(info: Node<'_, 'a>, limits: &Limits) -> Result<Parts<'a>, ParseError> {
        if info.kind() != Kind::Dict {
            return Err(ParseError::Missing("info"));
        }
        let has_v2 = match info.get("meta version").map(Node::as_int) {
            None => false,
            Some(Some(2)) => true,
            Some(other) => return Err(ParseError::Version(other.unwrap_or(-1))),
        };
        let name = info.get("name.utf-8").or_else(|| info.get("name")).and_then(Node::as_bytes);
        let name = name.ok_or(ParseError::Missing("name"))?;
        let pieces = info.get("pieces").map(|p| p.as_bytes().ok_or(ParseError::Missing("pieces")));
        let pieces = pieces.transpose()?;
        if pieces.is_none() && !has_v2 {
            return Err(ParseError::Missing("pieces"));
        }
        let v1 = pieces.map(|pieces| {
            let (files, single_file) = files::v1(info, name, limits)?;
            Ok::<_, ParseError>(V1 { pieces, files, single_file })
        });
        Ok(Parts {
            name,
            piece_length: piece_length(info, has_v2)?,
            v1: v1.transpose()?,
            v2: if has_v2 { Some(files::v2(info, limits)?) } else { None },
            private: info.get("private").and_then(Node::as_int).is_some_and(|flag| flag != 0),
        })
    }

    fn into_info(mut self, bytes: &Bytes) -> Result<Info, ParseError> {
        if let (Some(v1), Some(v2)) = (&mut self.v1, &self.v2) {
            unite(v1, v2, self.piece_length)?;
        }
        let (pieces, v2) = (self.v1.as_ref().map(|v1| v1.pieces), self.v2.is_some());
        let (files, single_file) = match (self.v1, self.v2) {
            (Some(v1), _) => (v1.files, v1.single_file),
            (None, Some(files)) => {
                let single = matches!(&files[..], [file] if file.path.len() == 1);
                (files, single)
            }
            (None, None) => return Err(ParseError::Missing("pieces")),
        };
        if files.iter().all(|file| file.attributes.padding) {
            return Err(ParseError::NoFiles);
        }
        let folder = (!single_file).then_some(self.name);
        let entries = entries(&files, folder, bytes);
        let layout = Layout::new(self.piece_length, entries, pieces.is_none())?;
        if let Some(pieces) = pieces
            && pieces.len() as u64 != u64::from(layout.pieces()) * 20
        {
            return Err(ParseError::PieceHashes { bytes: pieces.len(), pieces: layout.pieces() });
        }
        // A v2-only file's name is its key in the tree; `name` is only a title (BEP 52).
        let name = if single_file { files[0].path[0] } else { self.name };
        let v1_hash = pieces.map(|_| Sha1Hash(Sha1::digest(bytes).into()));
        let v2_hash = v2.then(|| merkle::sha256(bytes));
        Ok(Info {
            name: names::component(name),
            layout,
            single_file,
            v1_pieces: pieces.map(|pieces| bytes.slice_ref(pieces)),
            v2,
            private: self.private,
            bytes: bytes.clone(),
            hashes: InfoHashes::new(v1_hash, v2_hash).ok_or(ParseError::Missing("pieces"))?,
        })
    }
}

fn piece_length(info: Node<'_, '_>, v2: bool) -> Result<PieceLength, ParseError> {
    let bytes = info.get("piece length").and_then(Node::as_int);
    let bytes = bytes.ok_or(ParseError::Missing("piece length"))?;
    let length = u64::try_from(bytes).ok().and_then(PieceLength::new);
    length.filter(|l| !v2 || l.fits_v2()).ok_or(ParseError::PieceLength(bytes))
}

/// Gives the v1 files the roots of the v2 files, after a check that both lists mean the
/// same: the files with content have equal names and lengths in equal order, and in v1
/// too each begins with a piece (BEP 52, upgrade path).
fn unite(v1: &mut V1<'_>, v2: &[RawFile<'_>], piece_length: PieceLength) -> Result<(), ParseError> {
    let piece = u64::from(piece_length.get());
    let mut rest = v2.iter().filter(|file| file.length > 0);
    let mut offset = 0u64;
    for file in &mut v1.files {
        let start = offset;
        offset = offset.checked_add(file.length).ok_or(LayoutError::TooLarge)?;
        if file.attributes.padding || file.length == 0 {
            continue;
        }
        let twin = rest.next().ok_or(ParseError::Inconsistent)?;
        if twin.path != file.path || twin.length != file.length || !start.is_multiple_of(piece) {
            return Err(ParseError::Inconsistent);
        }
        file.pieces_root = twin.pieces_root;
    }
    if rest.next().is_some() { Err(ParseError::Inconsistent) } else { Ok(()) }
}

/// The files with safe, distinct names; padding gets the one that BEP 47 recommends.
fn entries(files: &[RawFile<'_>], folder: Option<&[u8]>, bytes: &Bytes) -> Vec<FileEntry> {
    let real = files.iter().filter(|file| !file.attributes.padding);
    let mut paths = names::distinct(real.map(|file| &file.path[..])).into_iter();
    let safe_folder = folder.map(names::component);
    let entry = |file: &RawFile<'_>| {
        let path = match file.attributes.padding {
            true => vec![".pad".to_owned(), file.length.to_string()],
            false => paths.next().unwrap_or_default(),
        };
        let whole = || folder.iter().chain(&file.path).copied();
        let is_safe = whole().eq(safe_folder.iter().chain(&path).map(String::as_bytes));
        let keep = !file.attributes.padding && !is_safe && whole().all(names::is_plain);
        FileEntry {
            path,
            raw: keep.then(|| whole().map(|part| bytes.slice_ref(part)).collect()),
            length: file.length,
            offset: 0,
            padding: file.attributes.padding,
            executable: file.attributes.executable,
            hidden: file.attributes.hidden,
            pieces_root: file.pieces_root,
        }
    };
    files.iter().map(entry).collect()
}
