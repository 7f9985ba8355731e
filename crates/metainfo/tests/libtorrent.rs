//! Torrents made by libtorrent: we read the same from them, find the same hashes in the
//! content, and make the same torrents of it.

#![allow(clippy::unwrap_used)] // in helpers, which clippy takes for other than tests

use sha1::{Digest, Sha1};
use starling_metainfo::{
    BLOCK_LENGTH, Builder, FileEntry, Layout, Magnet, PieceLength, Plan, Sha1Hash, Sha256Hash, SourceFile,
    Torrent, Versions, merkle,
};

mod vectors;
use vectors::{VECTORS, Vector};

const FOLDER: &[(&str, u64)] = &[
    ("a.bin", 40_000),
    ("b/empty", 0),
    ("b/inner/c.bin", 16_384),
    ("b/z.bin", 100_001),
    ("é.txt", 5),
    ("z/last", 33_792),
];
const ALIGNED: &[(&str, u64)] = &[("x", 32_768), ("y", 65_536), ("z", 0)];
const SINGLE: &[(&str, u64)] = &[("single.bin", 150_000)];
const SMALL: &[(&str, u64)] = &[("small.bin", 20_000)];

const SETS: &[(&str, &[(&str, u64)])] =
    &[("folder", FOLDER), ("aligned", ALIGNED), ("single", SINGLE), ("small", SMALL)];
const VERSIONS: &[(&str, Versions)] =
    &[("v1", Versions::V1), ("v2", Versions::V2), ("hybrid", Versions::Hybrid)];

/// Content of the file at `index` of its set.
fn content(index: usize, length: u64) -> Vec<u8> {
    (0..length).map(|at| ((at * 31 + index as u64 * 7 + (at >> 8)) % 251) as u8).collect()
}

fn vector(name: &str) -> &'static Vector {
    VECTORS.iter().find(|vector| vector.name == name).unwrap()
}

fn each_vector(check: impl Fn(&str, &[(&str, u64)], Versions, Torrent)) {
    for (set, files) in SETS {
        for (suffix, versions) in VERSIONS {
            let name = format!("{set}-{suffix}");
            check(&name, files, *versions, Torrent::parse(vector(&name).torrent).unwrap());
        }
    }
}

/// The bytes of `piece`, padding and gaps as zeros.
fn piece_bytes(layout: &Layout, piece: u32, length: u32, open: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    for span in layout.spans(piece, 0, length) {
        let end = out.len() + span.length as usize;
        match span.file {
            Some(file) => out.extend_from_slice(&open(file)[span.offset as usize..][..span.length as usize]),
            None => out.resize(end, 0),
        }
    }
    out
}

fn hash_piece(layout: &Layout, piece: u32, open: impl Fn(usize) -> Vec<u8>) -> (Sha1Hash, Sha256Hash) {
    let v1 = piece_bytes(layout, piece, layout.piece_len(piece), &open);
    let v2 = piece_bytes(layout, piece, layout.content_len(piece), &open);
    let leaves: Vec<Sha256Hash> = v2.chunks(BLOCK_LENGTH as usize).map(merkle::sha256).collect();
    (Sha1Hash(Sha1::digest(v1).into()), layout.v2_piece_root(piece, &leaves))
}

#[test]
fn layouts_and_hashes_are_read_as_libtorrent_reads_them() {
    each_vector(|name, _, versions, torrent| {
        let info = &torrent.info;
        let mut lines = vector(name).reading.lines();
        let hash = |hash: Option<String>| hash.unwrap_or("-".to_owned());
        assert_eq!(lines.next().unwrap(), format!("v1 {}", hash(info.hashes.v1().map(|h| h.to_string()))));
        assert_eq!(lines.next().unwrap(), format!("v2 {}", hash(info.hashes.v2().map(|h| h.to_string()))));
        assert_eq!(lines.next().unwrap(), format!("piece_length {}", info.layout.piece_length()));
        assert_eq!(lines.next().unwrap(), format!("pieces {}", info.layout.pieces()));
        // libtorrent shows the gaps of a v2-only torrent as padding; we have none there.
        let theirs: Vec<&str> = lines.filter(|l| versions != Versions::V2 || l.starts_with("file")).collect();
        let ours = info.layout.files();
        assert_eq!(theirs.len(), ours.len(), "{name}");
        for (theirs, ours) in theirs.iter().zip(ours) {
            assert_eq!(*theirs, describe(ours, theirs), "{name}");
        }
    });
}

/// In the form of the text files; an empty file's offset means nothing and is taken over.
fn describe(file: &FileEntry, theirs: &str) -> String {
    let kind = if file.padding { "pad" } else { "file" };
    let offset = match file.length {
        0 => theirs.split(' ').nth(2).unwrap().to_owned(),
        _ => file.offset.to_string(),
    };
    format!("{kind} {} {offset} {}", file.length, file.path.join("/"))
}

#[test]
fn the_content_has_the_hashes_that_libtorrent_found() {
    each_vector(|name, files, versions, torrent| {
        let info = &torrent.info;
        assert_eq!(torrent.missing_layers().count(), 0);
        let open = |file: usize| {
            let path = info.layout.files()[file].path.join("/");
            let index = files.iter().position(|(p, _)| *p == path).unwrap();
            content(index, files[index].1)
        };
        for piece in 0..info.layout.pieces() {
            let (v1, v2) = hash_piece(&info.layout, piece, open);
            let want_v1 = (versions != Versions::V2).then_some(v1);
            let want_v2 = (versions != Versions::V1).then_some(v2);
            assert_eq!(info.v1_piece(piece), want_v1, "{name} {piece}");
            assert_eq!(info.v2_piece(piece, &torrent.piece_layers), want_v2, "{name} {piece}");
        }
        assert_eq!(info.v1_piece(info.layout.pieces()), None);
        assert_eq!(info.v2_piece(info.layout.pieces(), &torrent.piece_layers), None);
    });
}

fn plan(set: &str, files: &[(&str, u64)], versions: Versions) -> Plan {
    let source = |&(path, length): &(&str, u64)| SourceFile {
        path: path.split('/').map(str::to_owned).collect(),
        length,
        ..SourceFile::default()
    };
    let mut builder = match files {
        [(name, length)] => Builder::file(*name, *length),
        // The order must not matter.
        _ => Builder::folder(set, files.iter().rev().map(source).collect()),
    };
    builder.versions = versions;
    builder.piece_length = PieceLength::new(32_768);
    builder.plan().unwrap()
}

fn finish(plan: Plan, files: &[(&str, u64)]) -> Torrent {
    let layout = plan.layout().clone();
    let open = |file: usize| {
        let source = files.len() - 1 - plan.source(file).unwrap();
        content(source, files[source].1)
    };
    let (v1, v2): (Vec<_>, Vec<_>) = (0..layout.pieces()).map(|p| hash_piece(&layout, p, open)).unzip();
    match plan.versions() {
        Versions::V1 => plan.finish(Some(&v1), None),
        Versions::V2 => plan.finish(None, Some(&v2)),
        Versions::Hybrid => plan.finish(Some(&v1), Some(&v2)),
    }
    .unwrap()
}

#[test]
fn we_make_the_torrents_that_libtorrent_makes() {
    each_vector(|name, files, versions, theirs| {
        let set = name.split('-').next().unwrap();
        let plan = plan(set, files, versions);
        let planned = plan.layout().clone();
        let ours = finish(plan, files);
        let bare = |layout: &Layout| {
            layout
                .files()
                .iter()
                .map(|f| FileEntry { pieces_root: None, raw: None, ..f.clone() })
                .collect::<Vec<_>>()
        };
        assert_eq!(bare(&planned), bare(&ours.info.layout), "{name}");
        // libtorrent's v1 folders are in the order of the file system.
        if versions != Versions::V1 || files.len() == 1 {
            assert_eq!(ours.info, theirs.info, "{name}");
            assert_eq!(ours.piece_layers, theirs.piece_layers, "{name}");
        }
        assert_eq!(Torrent::parse(&ours.encode()), Ok(ours));
    });
}

#[test]
fn what_stands_around_the_info_dictionary_is_kept() {
    let torrent = Torrent::parse(vector("folder-hybrid").torrent).unwrap();
    assert_eq!(torrent.trackers, [["http://one.example/announce"], ["udp://two.example:80"]]);
    assert_eq!(torrent.web_seeds, ["http://seed.example/"]);
    assert_eq!(torrent.comment.as_deref(), Some("made for a test"));
    assert_eq!(Torrent::parse(&torrent.encode()).unwrap(), torrent);
    let magnet: Magnet = Magnet::of(&torrent).to_string().parse().unwrap();
    assert_eq!(magnet.hashes, torrent.info.hashes);
    assert_eq!(magnet.trackers.len(), 2);
    assert_eq!(magnet.length, Some(190_182));
}
