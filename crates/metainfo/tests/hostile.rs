//! Torrents that are wrong, odd or meant to do harm.

#![allow(clippy::unwrap_used)] // in helpers, which clippy takes for other than tests

use bytes::Bytes;
use proptest::prelude::*;
use starling_bencode::{DictWriter, encode_dict};
use starling_metainfo::{Info, Limits, ParseError, Torrent, merkle};

mod vectors;
use vectors::VECTORS;

const PIECE: i64 = 32_768;

fn v1(fill: impl FnOnce(&mut DictWriter<'_>)) -> Vec<u8> {
    encode_dict(|d| {
        d.bytes("name", "n");
        fill(d);
        d.int("piece length", PIECE);
        d.bytes("pieces", [0; 20]);
    })
}

/// A v1 file list; an entry is its path, length and attributes.
fn files(entries: &[(&[&str], i64, &str)]) -> Vec<u8> {
    v1(|d| {
        d.list("files", |l| {
            for (path, length, attr) in entries {
                l.dict(|d| {
                    d.int("length", *length);
                    d.list("path", |l| path.iter().for_each(|c| l.bytes(c)));
                    if !attr.is_empty() {
                        d.bytes("attr", attr);
                    }
                });
            }
        });
    })
}

fn v2(fill: impl FnOnce(&mut DictWriter<'_>)) -> Vec<u8> {
    encode_dict(|d| {
        d.bytes("name", "n");
        d.int("meta version", 2);
        d.int("piece length", PIECE);
        d.dict("file tree", fill);
    })
}

fn leaf(d: &mut DictWriter<'_>, name: &str, length: i64, root: u8) {
    d.dict(name, |d| {
        d.dict("", |d| {
            d.int("length", length);
            d.bytes("pieces root", [root; 32]);
        });
    });
}

fn parse(info: Vec<u8>) -> Result<Info, ParseError> {
    Info::parse(Bytes::from(info))
}

fn paths(info: &Info) -> Vec<String> {
    info.layout.files().iter().map(|f| f.path.join("/")).collect()
}

#[test]
fn a_small_valid_torrent_of_each_kind() {
    let single = parse(v1(|d| d.int("length", 5))).unwrap();
    assert!(single.single_file && !single.v2 && !single.private);
    assert_eq!((paths(&single), single.layout.pieces()), (vec!["n".to_owned()], 1));
    let tree = parse(v2(|d| leaf(d, "f", 5, 1))).unwrap();
    assert!(tree.single_file && tree.v2 && tree.v1_pieces.is_none());
    assert_eq!((paths(&tree), tree.name.as_str()), (vec!["f".to_owned()], "f"));
    assert_eq!(tree.hashes.v2(), Some(merkle::sha256(&tree.bytes)));
}

#[test]
fn a_wrong_info_dictionary_is_named() {
    let missing = |key| Err(ParseError::Missing(key));
    let no = |key: &str| {
        encode_dict(|d| {
            for (name, value) in [("length", "i5e"), ("name", "1:n"), ("piece length", "i16384e")] {
                if name != key {
                    d.raw(name, value);
                }
            }
            if key != "pieces" {
                d.bytes("pieces", [0; 20]);
            }
        })
    };
    for key in ["length", "name", "piece length", "pieces"] {
        assert_eq!(parse(no(key)), missing(key));
    }
    assert_eq!(parse(b"le".to_vec()), missing("info"));
    assert_eq!(parse(v1(|d| d.int("length", -1))), missing("length"));
    assert_eq!(parse(v1(|d| d.int("files", 1))), missing("files"));
    assert!(matches!(parse(b"d".to_vec()), Err(ParseError::Bencode(_))));
    assert!(matches!(parse([v1(|d| d.int("length", 5)), vec![b'\n']].concat()), Err(ParseError::Bencode(_))));
    let later = v1(|d| {
        d.int("length", 5);
        d.int("meta version", 3);
    });
    assert_eq!(parse(later), Err(ParseError::Version(3)));
    for length in ["i0e", "i-5e", "i99999999999e"] {
        let info = encode_dict(|d| {
            d.int("length", 1);
            d.bytes("name", "n");
            d.raw("piece length", length);
            d.bytes("pieces", [0; 20]);
        });
        assert!(matches!(parse(info), Err(ParseError::PieceLength(_))), "{length}");
    }
}

#[test]
fn sizes_and_hashes_must_agree() {
    let wrong = Err(ParseError::PieceHashes { bytes: 20, pieces: 2 });
    assert_eq!(parse(v1(|d| d.int("length", PIECE + 1))), wrong);
    let overflow = files(&[(&["a"], i64::MAX, ""), (&["b"], i64::MAX, ""), (&["c"], 9, "")]);
    assert!(matches!(parse(overflow), Err(ParseError::Layout(_))));
    assert!(matches!(parse(v2(|d| leaf(d, "f", i64::MAX, 1))), Err(ParseError::Layout(_))));
}

#[test]
fn a_wrong_file_is_named() {
    assert_eq!(parse(files(&[(&["a"], 1, ""), (&[], 1, "")])), Err(ParseError::Path(1)));
    assert_eq!(parse(files(&[(&["a"], 1, ""), (&["b"], -1, "")])), Err(ParseError::Length(1)));
    assert_eq!(parse(files(&[])), Err(ParseError::NoFiles));
    assert_eq!(parse(files(&[(&[], 1, "p")])), Err(ParseError::NoFiles));
    let no_root = v2(|d| d.dict("f", |d| d.dict("", |d| d.int("length", 1))));
    assert_eq!(parse(no_root), Err(ParseError::PiecesRoot(0)));
    assert_eq!(parse(v2(|d| leaf(d, "f", 1, 0))), Err(ParseError::PiecesRoot(0)));
    assert_eq!(parse(v2(|_| ())), Err(ParseError::NoFiles));
}

#[test]
fn a_tree_is_made_of_files_and_folders_in_order() {
    let sibling = v2(|d| {
        d.dict("f", |d| {
            d.dict("", |d| d.int("length", 0));
            leaf(d, "g", 1, 1);
        });
    });
    assert_eq!(parse(sibling), Err(ParseError::FileTree));
    assert_eq!(parse(v2(|d| d.int("f", 1))), Err(ParseError::FileTree));
    assert_eq!(parse(v2(|d| leaf(d, "", 1, 1))), Err(ParseError::FileTree));
    let good = v2(|d| ["aa", "bb"].iter().for_each(|name| leaf(d, name, 1, 1)));
    assert!(parse(good.clone()).is_ok());
    for first in ["cc", "bb"] {
        let at = good.windows(4).position(|w| w == b"2:aa").unwrap();
        let mut bad = good.clone();
        bad[at..at + 4].copy_from_slice(format!("2:{first}").as_bytes());
        assert_eq!(parse(bad), Err(ParseError::TreeOrder), "{first}");
    }
}

#[test]
fn names_stay_below_the_folder_and_apart() {
    let info = parse(files(&[
        (&["..", "..", "etc", "passwd"], 1, ""),
        (&["/abs"], 1, ""),
        (&["a"], 1, "h"),
        (&["A"], 1, "x"),
        (&["a", "b"], 1, ""),
        (&["link"], 999, "l"),
        (&["whatever"], 7, "p"),
        (&[""], 1, ""),
    ]))
    .unwrap();
    assert_eq!(paths(&info), ["_/_/etc/passwd", "_abs", "a", "A (2)", "a (3)/b", "link", ".pad/7", "_ (2)"]);
    let flags: Vec<_> = info.layout.files().iter().map(|f| (f.hidden, f.executable, f.padding)).collect();
    assert_eq!(
        (flags[2], flags[3], flags[6]),
        ((true, false, false), (false, true, false), (false, false, true))
    );
    // A symlink is an empty file, whatever length it claims.
    assert_eq!(info.layout.files()[5].length, 0);
}

#[test]
fn hybrid_parts_must_describe_the_same_files() {
    let hybrid = |first: &str, first_length: i64, pad: i64, second: &str| {
        encode_dict(|d| {
            d.bytes("name", "n");
            d.int("meta version", 2);
            d.int("piece length", PIECE);
            d.bytes("pieces", [0; 40]);
            d.dict("file tree", |d| {
                leaf(d, "a", 5, 1);
                leaf(d, "b", 9, 2);
            });
            d.list("files", |l| {
                for (name, length, attr) in [(first, first_length, ""), ("pad", pad, "p"), (second, 9, "")] {
                    l.dict(|d| {
                        d.bytes("attr", attr);
                        d.int("length", length);
                        d.list("path", |l| l.bytes(name));
                    });
                }
            });
        })
    };
    let good = parse(hybrid("a", 5, PIECE - 5, "b")).unwrap();
    assert!(good.hashes.v1().is_some() && good.hashes.v2().is_some());
    let roots: Vec<bool> = good.layout.files().iter().map(|f| f.pieces_root.is_some()).collect();
    assert_eq!(roots, [true, false, true]);
    for bad in [
        hybrid("x", 5, PIECE - 5, "b"),
        hybrid("b", 5, PIECE - 5, "a"),
        hybrid("a", 6, PIECE - 6, "b"),
        hybrid("a", 5, PIECE - 6, "b"),
        hybrid("a", 5, PIECE - 5, "c"),
    ] {
        assert_eq!(parse(bad), Err(ParseError::Inconsistent));
    }
}

#[test]
fn limits_hold() {
    let limits = Limits { files: 2, path_depth: 2, path_bytes: 4, info_bytes: 1000, ..Limits::DEFAULT };
    let parse = |info: Vec<u8>| Info::parse_with(Bytes::from(info), &limits);
    let over = |what, limit| Err(ParseError::OverLimit { what, limit });
    assert!(parse(files(&[(&["a", "b"], 1, ""), (&["abcd"], 1, "")])).is_ok());
    assert_eq!(parse(files(&[(&["a"], 1, ""), (&["b"], 1, ""), (&["c"], 1, "")])), over("files", 2));
    assert_eq!(parse(files(&[(&["a", "b", "c"], 1, "")])), over("folders in one path", 2));
    assert_eq!(parse(files(&[(&["abcde"], 1, "")])), over("bytes in one path", 4));
    let deep = v2(|d| d.dict("a", |d| d.dict("b", |d| leaf(d, "c", 1, 1))));
    assert_eq!(parse(deep), over("folders in one path", 2));
    assert_eq!(parse(vec![b'i'; 1001]), over("bytes of info dictionary", 1000));
    let small = Limits { torrent_bytes: 10, ..limits };
    assert!(matches!(Torrent::parse_with(&[0; 11], &small), Err(ParseError::OverLimit { .. })));
}

#[test]
fn what_is_not_hashed_is_read_leniently() {
    let info = v1(|d| {
        d.int("length", 5);
        d.int("private", 1);
    });
    let mut bytes = encode_dict(|d| {
        d.bytes("announce", "http://alone/");
        d.list("announce-list", |l| {
            l.list(|l| {
                l.bytes(" http://a/ ");
                l.int(5);
                l.bytes("");
                l.bytes("http://x y/");
            });
            l.list(|_| ());
            l.bytes("udp://bare:1");
        });
        d.int("comment", 5);
        d.bytes("created by", [b'a', 0xff]);
        d.int("creation date", -7);
        d.raw("info", &info);
        d.list("url-list", |l| ["http://w/", "http://w/", ""].iter().for_each(|url| l.bytes(url)));
    });
    bytes.push(b'\n');
    let torrent = Torrent::parse(&bytes).unwrap();
    assert_eq!(torrent.trackers, [["http://a/"], ["udp://bare:1"]]);
    assert_eq!(torrent.web_seeds, ["http://w/"]);
    assert_eq!((torrent.comment.as_deref(), torrent.created_by.as_deref()), (None, Some("a\u{fffd}")));
    assert_eq!(torrent.creation_date, Some(-7));
    assert!(torrent.info.private);
    assert_eq!(torrent.info.bytes, info);

    let plain = encode_dict(|d| {
        d.bytes("announce", "http://alone/");
        d.raw("info", &info);
        d.bytes("url-list", "http://one/");
    });
    let torrent = Torrent::parse(&plain).unwrap();
    assert_eq!(
        (torrent.trackers, torrent.web_seeds),
        (vec![vec!["http://alone/".to_owned()]], vec!["http://one/".to_owned()])
    );
    assert_eq!(Torrent::parse(b"de"), Err(ParseError::Missing("info")));
}

#[test]
fn a_piece_layer_must_have_its_root() {
    let layer = [merkle::sha256(b"a"), merkle::sha256(b"b"), merkle::sha256(b"c")];
    let root = merkle::root(&layer, merkle::pad(1));
    let torrent = |bytes: Option<Vec<u8>>| {
        let info = v2(|d| {
            d.dict("f", |d| {
                d.dict("", |d| {
                    d.int("length", 2 * PIECE + 1);
                    d.bytes("pieces root", root.0);
                });
            });
        });
        let bytes = encode_dict(|d| {
            d.raw("info", &info);
            d.dict("piece layers", |d| {
                d.bytes([7; 32], "of no file");
                if let Some(bytes) = &bytes {
                    d.bytes(root.0, bytes);
                }
            });
        });
        Torrent::parse(&bytes)
    };
    let good: Vec<u8> = layer.iter().flat_map(|h| h.0).collect();
    assert_eq!(torrent(Some(good.clone())).unwrap().piece_layers[&root], layer);
    assert_eq!(torrent(None).unwrap().missing_layers().collect::<Vec<_>>(), [root]);
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    for bad in [flipped, good[..64].to_vec(), good[..95].to_vec(), Vec::new()] {
        assert_eq!(torrent(Some(bad)), Err(ParseError::PieceLayer(0)));
    }
}

/// What a driver does with whatever was let through.
fn walk(torrent: &Torrent) {
    let layout = &torrent.info.layout;
    for piece in (0..layout.pieces()).take(50).chain([layout.pieces(), u32::MAX]) {
        assert!(layout.content_len(piece) <= layout.padded_len(piece));
        let spans: u64 = layout.spans(piece, 0, u32::MAX).map(|s| u64::from(s.length)).sum();
        assert_eq!(spans, u64::from(layout.padded_len(piece)));
        torrent.info.v1_piece(piece);
        torrent.info.v2_piece(piece, &torrent.piece_layers);
    }
    for file in layout.files() {
        assert!(file.path.iter().all(|c| !c.is_empty() && c != ".." && !c.contains('/')));
    }
    assert_eq!(Torrent::parse(&torrent.encode()).as_ref(), Ok(torrent));
}

proptest! {
    #[test]
    fn a_damaged_torrent_is_refused_or_still_sound(
        pick in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"0123456789dlie:\x00\xff.".to_vec())), 1..4),
    ) {
        let mut bytes = pick.get(VECTORS).torrent.to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(torrent) = Torrent::parse(&bytes) {
            walk(&torrent);
        }
    }

    #[test]
    fn any_file_sizes_are_laid_out_or_refused(lengths in prop::collection::vec(prop_oneof![0..100_000i64, any::<i64>()], 1..6)) {
        let info = v2(|d| lengths.iter().enumerate().for_each(|(i, length)| leaf(d, &format!("f{i}"), *length, 3)));
        if let Ok(info) = parse(info) {
            walk(&Torrent::from_info(info.into()));
        }
    }
}
