//! The info dictionary of a new torrent.

use starling_bencode::{DictWriter, encode_dict};

use super::{Builder, SourceFile};
use crate::{Layout, Sha1Hash, Sha256Hash};

/// A real file and its root.
type TreeFile<'a> = (&'a SourceFile, Option<Sha256Hash>);

/// `v1` and `roots` are empty of hashes if the torrent is not of that version.
pub(super) fn info(
    builder: &Builder,
    layout: &Layout,
    sources: &[Option<usize>],
    v1: &[Sha1Hash],
    roots: &[Option<Sha256Hash>],
) -> Vec<u8> {
    let source = |index: &Option<usize>| index.and_then(|index| builder.files.get(index));
    encode_dict(|d| {
        d.bytes("name", &builder.name);
        d.int("piece length", i64::from(layout.piece_length()));
        if builder.private {
            d.int("private", 1);
        }
        if builder.versions.v1() {
            let pieces: Vec<u8> = v1.iter().flat_map(|hash| hash.0).collect();
            d.bytes("pieces", pieces);
            write_v1_files(d, builder, layout, sources);
        }
        if builder.versions.v2() {
            let files = sources.iter().zip(roots).filter_map(|(s, root)| Some((source(s)?, *root)));
            let files: Vec<TreeFile<'_>> = files.collect();
            d.int("meta version", 2);
            d.dict("file tree", |d| write_tree(d, &files, 0));
        }
    })
}

fn write_v1_files(d: &mut DictWriter<'_>, builder: &Builder, layout: &Layout, sources: &[Option<usize>]) {
    if builder.single_file {
        write_attributes(d, &builder.files[0]);
        d.int("length", builder.files[0].length as i64);
        return;
    }
    d.list("files", |l| {
        for (entry, source) in layout.files().iter().zip(sources) {
            let source = source.and_then(|index| builder.files.get(index));
            l.dict(|d| {
                match source {
                    Some(file) => write_attributes(d, file),
                    None => d.bytes("attr", "p"),
                }
                d.int("length", entry.length as i64);
                let path = source.map_or(&entry.path, |file| &file.path);
                d.list("path", |l| path.iter().for_each(|component| l.bytes(component)));
            });
        }
    });
}

/// BEP 52 `file tree`: `files` are sorted and equal in their first `depth` components.
/// Recurses as deep as the longest path, which the plan has bounded.
fn write_tree(d: &mut DictWriter<'_>, files: &[TreeFile<'_>], depth: usize) {
    for group in files.chunk_by(|(a, _), (b, _)| a.path.get(depth) == b.path.get(depth)) {
        let [(first, root), ..] = group else { continue };
        let Some(name) = first.path.get(depth) else { continue };
        d.dict(name, |d| {
            if first.path.len() > depth + 1 {
                return write_tree(d, group, depth + 1);
            }
            d.dict("", |d| {
                write_attributes(d, first);
                d.int("length", first.length as i64);
                if let Some(root) = root {
                    d.bytes("pieces root", root.0);
                }
            });
        });
    }
}

fn write_attributes(d: &mut DictWriter<'_>, file: &SourceFile) {
    let mut attributes = String::new();
    attributes.extend(file.executable.then_some('x'));
    attributes.extend(file.hidden.then_some('h'));
    if !attributes.is_empty() {
        d.bytes("attr", attributes);
    }
}
