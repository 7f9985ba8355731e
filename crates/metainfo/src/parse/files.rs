//! The two lists of files: v1 `files` (BEP 3, 47) and v2 `file tree` (BEP 52).

use starling_bencode::{DictIter, Kind, Node};

use super::ParseError;
use crate::{Limits, Sha256Hash, merkle};

/// A file as a torrent writes it, its names not yet made safe.
pub(super) struct RawFile<'a> {
    pub(super) path: Vec<&'a [u8]>,
    pub(super) length: u64,
    pub(super) attributes: Attributes,
    pub(super) pieces_root: Option<Sha256Hash>,
}

/// BEP 47 `attr`.
#[derive(Clone, Copy, Default)]
pub(super) struct Attributes {
    pub(super) padding: bool,
    pub(super) executable: bool,
    pub(super) hidden: bool,
    symlink: bool,
}

impl Attributes {
    pub(super) fn of(dict: Node<'_, '_>) -> Attributes {
        let attr = dict.get("attr").and_then(Node::as_bytes).unwrap_or_default();
        let has = |letter| attr.contains(&letter);
        Attributes { padding: has(b'p'), executable: has(b'x'), hidden: has(b'h'), symlink: has(b'l') }
    }

    /// The file's length: always 0 for a symlink, which may leave it out (BEP 47).
    fn length(self, dict: Node<'_, '_>) -> Option<u64> {
        if self.symlink { Some(0) } else { dict.get("length")?.as_u64() }
    }
}

/// The files of a v1 part, and whether it is a single bare file.
pub(super) fn v1<'a>(
    info: Node<'_, 'a>,
    name: &'a [u8],
    limits: &Limits,
) -> Result<(Vec<RawFile<'a>>, bool), ParseError> {
    let Some(list) = info.get("files") else {
        let attributes = Attributes { padding: false, ..Attributes::of(info) };
        let length = attributes.length(info).ok_or(ParseError::Missing("length"))?;
        return Ok((vec![RawFile { path: vec![name], length, attributes, pieces_root: None }], true));
    };
    if list.kind() != Kind::List {
        return Err(ParseError::Missing("files"));
    }
    let mut files = Vec::new();
    for (index, entry) in list.list().enumerate() {
        check_count(index, limits)?;
        files.push(v1_file(entry, index, limits)?);
    }
    Ok((files, false))
}

fn v1_file<'a>(entry: Node<'_, 'a>, index: usize, limits: &Limits) -> Result<RawFile<'a>, ParseError> {
    let attributes = Attributes::of(entry);
    let length = attributes.length(entry).ok_or(ParseError::Length(index))?;
    let path = if attributes.padding { Vec::new() } else { v1_path(entry, index, limits)? };
    Ok(RawFile { path, length, attributes, pieces_root: None })
}

fn v1_path<'a>(entry: Node<'_, 'a>, index: usize, limits: &Limits) -> Result<Vec<&'a [u8]>, ParseError> {
    let bad = ParseError::Path(index);
    let list = entry.get("path.utf-8").or_else(|| entry.get("path")).ok_or(bad.clone())?;
    let mut path = Vec::new();
    for part in list.list() {
        path.push(part.as_bytes().ok_or(bad.clone())?);
        check_path(&path, limits)?;
    }
    if path.is_empty() { Err(bad) } else { Ok(path) }
}

/// The files of a v2 part, in the order of the tree.
pub(super) fn v2<'a>(info: Node<'_, 'a>, limits: &Limits) -> Result<Vec<RawFile<'a>>, ParseError> {
    let tree = info.get("file tree").filter(|tree| tree.kind() == Kind::Dict);
    let tree = tree.ok_or(ParseError::Missing("file tree"))?;
    let mut folders: Vec<Folder<'_, 'a>> = vec![Folder { rest: tree.dict(), last: b"" }];
    let mut path: Vec<&[u8]> = Vec::new();
    let mut files = Vec::new();
    while let Some(folder) = folders.last_mut() {
        let Some((name, node)) = folder.rest.next() else {
            folders.pop();
            path.pop();
            continue;
        };
        if name.is_empty() || node.kind() != Kind::Dict {
            return Err(ParseError::FileTree);
        }
        if name <= folder.last {
            return Err(ParseError::TreeOrder);
        }
        folder.last = name;
        path.push(name);
        check_path(&path, limits)?;
        match as_file(node)? {
            Some(file) => {
                check_count(files.len(), limits)?;
                files.push(v2_file(file, path.clone(), files.len())?);
                path.pop();
            }
            None => folders.push(Folder { rest: node.dict(), last: b"" }),
        }
    }
    Ok(files)
}

/// A folder of the tree that is being read.
struct Folder<'d, 'a> {
    rest: DictIter<'d, 'a>,
    last: &'a [u8],
}

/// The file's properties, if `node` is a file: those have the empty name and no siblings.
fn as_file<'d, 'a>(node: Node<'d, 'a>) -> Result<Option<Node<'d, 'a>>, ParseError> {
    let Some(file) = node.get("") else { return Ok(None) };
    if node.dict().count() == 1 { Ok(Some(file)) } else { Err(ParseError::FileTree) }
}

fn v2_file<'a>(file: Node<'_, 'a>, path: Vec<&'a [u8]>, index: usize) -> Result<RawFile<'a>, ParseError> {
    // Padding has no place in a tree, where every file is aligned anyway.
    let attributes = Attributes { padding: false, ..Attributes::of(file) };
    let length = attributes.length(file).ok_or(ParseError::Length(index))?;
    let root = file.get("pieces root").and_then(Node::as_bytes).and_then(|root| root.try_into().ok());
    let pieces_root = match (length, root) {
        (0, _) => None,
        (_, Some(root)) if root != merkle::ZERO.0 => Some(Sha256Hash(root)),
        (_, _) => return Err(ParseError::PiecesRoot(index)),
    };
    Ok(RawFile { path, length, attributes, pieces_root })
}

fn check_count(files: usize, limits: &Limits) -> Result<(), ParseError> {
    if files < limits.files {
        return Ok(());
    }
    Err(ParseError::OverLimit { what: "files", limit: limits.files })
}

fn check_path(path: &[&[u8]], limits: &Limits) -> Result<(), ParseError> {
    if path.len() > limits.path_depth {
        return Err(ParseError::OverLimit { what: "folders in one path", limit: limits.path_depth });
    }
    if path.iter().map(|part| part.len()).sum::<usize>() > limits.path_bytes {
        return Err(ParseError::OverLimit { what: "bytes in one path", limit: limits.path_bytes });
    }
    Ok(())
}
