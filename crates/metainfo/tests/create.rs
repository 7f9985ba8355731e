//! Making torrents: what is planned is what a reader of the torrent sees.

#![allow(clippy::unwrap_used)] // in helpers, which clippy takes for other than tests

use proptest::prelude::*;
use starling_metainfo::{
    Builder, CreateError, FileEntry, PieceLength, Sha1Hash, Sha256Hash, SourceFile, Torrent, Versions,
};

fn source(path: &str, length: u64) -> SourceFile {
    SourceFile { path: path.split('/').map(str::to_owned).collect(), length, ..SourceFile::default() }
}

/// Plans and finishes with made-up hashes.
fn make(builder: Builder) -> Result<Torrent, CreateError> {
    let plan = builder.plan()?;
    let planned = plan.layout().clone();
    let pieces = planned.pieces();
    let v1: Vec<Sha1Hash> = (0..pieces).map(|i| Sha1Hash([i as u8; 20])).collect();
    let v2: Vec<Sha256Hash> = (0..pieces).map(|i| Sha256Hash([i as u8 + 1; 32])).collect();
    let versions = plan.versions();
    let torrent = plan.finish(
        Some(&v1[..]).filter(|_| versions != Versions::V2),
        Some(&v2[..]).filter(|_| versions != Versions::V1),
    )?;
    let bare = |f: &FileEntry| FileEntry { pieces_root: None, raw: None, ..f.clone() };
    let (planned, made) = (planned.files().iter().map(bare), torrent.info.layout.files().iter().map(bare));
    assert_eq!(planned.collect::<Vec<_>>(), made.collect::<Vec<_>>());
    Ok(torrent)
}

fn with(mut builder: Builder, versions: Versions) -> Builder {
    builder.versions = versions;
    builder
}

const ALL: [Versions; 3] = [Versions::V1, Versions::V2, Versions::Hybrid];

#[test]
fn everything_said_is_in_the_torrent() {
    let mut file = source("run", 3);
    (file.executable, file.hidden) = (true, true);
    for versions in ALL {
        let mut builder = with(Builder::folder("n", vec![file.clone(), source("b/c", 20_000)]), versions);
        builder.private = true;
        builder.trackers = vec![vec!["http://a/".into(), "http://b/".into()], vec!["udp://c:1".into()]];
        builder.web_seeds = vec!["http://w/".into()];
        builder.comment = Some("hello".into());
        builder.created_by = Some("test".into());
        builder.creation_date = Some(1_700_000_000);
        builder.piece_length = PieceLength::new(16_384);
        let torrent = make(builder.clone()).unwrap();
        assert!(torrent.info.private && !torrent.info.single_file);
        let run = torrent.info.layout.files().iter().find(|f| f.path == ["run"]).unwrap();
        assert!(run.executable && run.hidden);
        assert_eq!((&torrent.trackers, &torrent.web_seeds), (&builder.trackers, &builder.web_seeds));
        assert_eq!((&torrent.comment, &torrent.created_by), (&builder.comment, &builder.created_by));
        assert_eq!(torrent.creation_date, builder.creation_date);
        assert_eq!(Torrent::parse(&torrent.encode()), Ok(torrent));
    }
}

#[test]
fn what_cannot_be_a_torrent_is_refused() {
    let plan = |files: &[&str]| Builder::folder("n", files.iter().map(|p| source(p, 1)).collect()).plan();
    assert_eq!(plan(&[]), Err(CreateError::NoFiles));
    for bad in ["", "a//b", "..", "a/../b", ".", "a\0b"] {
        assert!(matches!(plan(&[bad]), Err(CreateError::Path(_))), "{bad:?}");
    }
    assert!(matches!(Builder::file("a/b", 1).plan(), Err(CreateError::Path(_))));
    assert_eq!(plan(&["a", "b", "a"]), Err(CreateError::SamePath("a".into())));
    assert_eq!(plan(&["a/b", "a"]), Err(CreateError::SamePath("a/b".into())));
    assert!(matches!(plan(&[&"d/".repeat(200)[..399]]), Err(CreateError::OverLimit { .. })));
    assert!(matches!(Builder::file("a", u64::MAX).plan(), Err(CreateError::Layout(_))));
    let mut odd = with(Builder::file("a", 1), Versions::Hybrid);
    odd.piece_length = PieceLength::new(20_000);
    assert!(matches!(odd.clone().plan(), Err(CreateError::Layout(_))));
    assert!(make(with(odd, Versions::V1)).is_ok());
}

#[test]
fn there_must_be_a_hash_for_each_piece_and_no_other() {
    let count = |versions, v1: Option<usize>, v2: Option<usize>| {
        let (v1, v2) = (v1.map(|n| vec![Sha1Hash([1; 20]); n]), v2.map(|n| vec![Sha256Hash([1; 32]); n]));
        let mut builder = with(Builder::file("a", 40_000), versions);
        builder.piece_length = PieceLength::new(16_384);
        builder.plan().unwrap().finish(v1.as_deref(), v2.as_deref()).map(|_| ())
    };
    assert_eq!(count(Versions::Hybrid, Some(3), Some(3)), Ok(()));
    assert_eq!(count(Versions::V1, Some(3), None), Ok(()));
    assert_eq!(count(Versions::V2, None, Some(3)), Ok(()));
    let wrong = |version, got, want| Err(CreateError::HashCount { version, got, want });
    assert_eq!(count(Versions::Hybrid, Some(3), None), wrong("v2", 0, 3));
    assert_eq!(count(Versions::Hybrid, Some(2), Some(3)), wrong("v1", 2, 3));
    assert_eq!(count(Versions::V1, Some(3), Some(3)), wrong("v2", 3, 0));
}

#[test]
fn a_name_unsafe_elsewhere_is_kept_in_the_torrent_but_not_in_the_layout() {
    let builder = Builder::folder("n", vec![source("a:b", 1), source("CON", 2)]);
    let plan = with(builder, Versions::Hybrid).plan().unwrap();
    let names: Vec<_> = plan.layout().files().iter().map(|f| f.path[0].as_str()).collect();
    assert_eq!(names, ["_CON", ".pad", "a_b", ".pad"]);
    assert_eq!((0..4).map(|i| plan.source(i)).collect::<Vec<_>>(), [Some(1), None, Some(0), None]);
    let torrent = plan.finish(Some(&[Sha1Hash([1; 20]); 2]), Some(&[Sha256Hash([1; 32]); 2])).unwrap();
    let raw = &torrent.info.bytes;
    assert!(raw.windows(5).any(|w| w == b"3:a:b") && raw.windows(5).any(|w| w == b"3:CON"));
}

#[test]
fn nothing_but_empty_files_makes_a_torrent_without_pieces() {
    for versions in ALL {
        let torrent =
            make(with(Builder::folder("n", vec![source("a", 0), source("b", 0)]), versions)).unwrap();
        assert_eq!((torrent.info.layout.pieces(), torrent.info.layout.files().len()), (0, 2));
    }
}

proptest! {
    #[test]
    fn any_files_in_any_order_make_the_same_torrent(
        files in prop::collection::btree_map("[a-cA-C: ][.a]{0,2}(/[a-c]{1,2}){0,2}", 0..70_000u64, 1..8),
        seed in any::<u64>(),
        versions in prop::sample::select(ALL.to_vec()),
    ) {
        let mut files: Vec<SourceFile> = files.iter().map(|(p, n)| source(p, *n)).collect();
        let mut builder = with(Builder::folder("n", files.clone()), versions);
        builder.piece_length = PieceLength::new(16_384);
        let first = make(builder);
        let mid = seed as usize % files.len();
        files.rotate_left(mid);
        let mut builder = with(Builder::folder("n", files), versions);
        builder.piece_length = PieceLength::new(16_384);
        let second = make(builder);
        prop_assert_eq!(first.as_ref().ok(), second.as_ref().ok());
        if let Ok(torrent) = first {
            prop_assert_eq!(Torrent::parse(&torrent.encode()), Ok(torrent));
        }
    }
}
