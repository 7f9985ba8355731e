//! Making torrents and checking files against them.

#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::{BLOCK, Sample, Version, sample};
use starling_disk::{CreateOptions, DiskError, Hashes, create, hash, hash_layout, verify};
use starling_metainfo::{BLOCK_LENGTH, Layout, PieceLength, Sha1Hash, Sha256Hash, Torrent, Versions};

fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn options(versions: Versions) -> CreateOptions {
    CreateOptions {
        versions,
        piece_length: PieceLength::new(BLOCK * 2),
        threads: 3,
        ..CreateOptions::default()
    }
}

/// One piece at a time, as the specifications say it.
fn slowly(layout: &Layout, data: &[u8]) -> (Vec<Sha1Hash>, Vec<Sha256Hash>) {
    let piece = |index: u32| {
        let start = index as usize * layout.piece_length() as usize;
        &data[start..start + layout.piece_len(index) as usize]
    };
    let v1 = (0..layout.pieces()).map(|index| {
        let mut sha1 = hash::Sha1::default();
        sha1.update(piece(index));
        sha1.finish()
    });
    let v2 = (0..layout.pieces()).map(|index| {
        let content = &piece(index)[..layout.content_len(index) as usize];
        let leaves: Vec<Sha256Hash> = content.chunks(BLOCK_LENGTH as usize).map(hash::sha256).collect();
        layout.v2_piece_root(index, &leaves)
    });
    (v1.collect(), v2.collect())
}

#[test]
fn hashing_side_by_side_gives_what_hashing_alone_gives() {
    for (version, versions) in
        [(Version::V1, Versions::V1), (Version::V2, Versions::V2), (Version::Hybrid, Versions::Hybrid)]
    {
        for lengths in [&[BLOCK * 41 + 5, 1, 0, BLOCK * 3][..], &[7], &[BLOCK * 80]] {
            let root = tempfile::tempdir().unwrap();
            let sample = sample(version, lengths, BLOCK * 2);
            sample.write_files(root.path());
            let open = |index| {
                let path = sample.path(root.path(), index);
                let file = std::fs::File::open(&path).map_err(|e| DiskError::io("open", &path, e))?;
                Ok((path, file))
            };
            let Hashes { v1, v2 } = hash_layout(sample.layout(), versions, 2, &go_on, open).unwrap();
            let (want_v1, want_v2) = slowly(sample.layout(), &sample.data);
            assert!(v1.is_none_or(|v1| v1 == want_v1), "{version:?} {lengths:?}");
            assert!(v2.is_none_or(|v2| v2 == want_v2), "{version:?} {lengths:?}");
        }
    }
}

fn folder(path: &Path) {
    std::fs::create_dir_all(path.join("b/c")).unwrap();
    std::fs::write(path.join("z"), vec![1; 100_000]).unwrap();
    std::fs::write(path.join("a"), b"").unwrap();
    std::fs::write(path.join("b/c/d"), vec![2; 40_000]).unwrap();
    std::fs::write(path.join("b/one"), b"1").unwrap();
}

#[test]
fn what_is_created_verifies_and_what_changed_does_not() {
    for versions in [Versions::V1, Versions::V2, Versions::Hybrid] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("things");
        folder(&path);
        let done = Mutex::new((0, 0));
        let progress = |bytes: u64, total: u64| {
            let mut done = done.lock().unwrap();
            *done = (bytes.max(done.0), total);
            ControlFlow::Continue(())
        };
        let torrent = create(&path, &options(versions), &progress).unwrap().torrent;
        let done = *done.lock().unwrap();
        assert!(done.0 == done.1 && done.1 >= 140_001, "{done:?}");
        assert_eq!(torrent.info.name, "things");
        let names: Vec<String> =
            torrent.info.layout.files().iter().filter(|f| !f.padding).map(|f| f.path.join("/")).collect();
        assert_eq!(names, ["a", "b/c/d", "b/one", "z"]);
        let report = verify(&torrent, root.path(), 2, &go_on).unwrap();
        assert!(report.is_complete() && report.have.is_full(), "{versions:?} {report:?}");

        std::fs::write(path.join("b/c/d"), vec![3; 40_000]).unwrap();
        std::fs::remove_file(path.join("b/one")).unwrap();
        let report = verify(&torrent, root.path(), 0, &go_on).unwrap();
        assert!(!report.is_complete());
        let of = |name: &str| report.files.iter().find(|f| f.path.ends_with(name)).unwrap();
        assert!(of("a").is_complete() && of("b/c/d").good == 0 && of("b/one").found.is_none());
        assert!(of("z").good > 0);
    }
}

#[test]
fn one_file_makes_a_single_file_torrent() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("f"), vec![9; 50_000]).unwrap();
    let torrent = create(&root.path().join("f"), &options(Versions::Hybrid), &go_on).unwrap().torrent;
    assert!(torrent.info.single_file && torrent.info.name == "f");
    assert!(verify(&torrent, root.path(), 0, &go_on).unwrap().is_complete());
    let nowhere = verify(&torrent, &root.path().join("nowhere"), 0, &go_on).unwrap();
    assert!(!nowhere.is_complete() && nowhere.files[0].found.is_none());
    assert!(!root.path().join("nowhere").exists(), "nothing is created by looking");
}

#[test]
fn links_are_left_out_and_named() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("things");
    folder(&path);
    std::os::unix::fs::symlink("/etc", path.join("etc")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", path.join("b/host")).unwrap();
    let created = create(&path, &options(Versions::Hybrid), &go_on).unwrap();
    let skipped: Vec<_> = created.skipped.iter().map(|(path, _)| path.file_name().unwrap()).collect();
    assert_eq!(skipped, ["host", "etc"]);
    assert_eq!(created.torrent.info.layout.files().iter().filter(|f| !f.padding).count(), 4);
}

#[test]
fn a_file_that_changes_meanwhile_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("f");
    for change in [10_u64, 5_000_000] {
        std::fs::write(&path, vec![7; 2_000_000]).unwrap();
        let meddle = |_, _| {
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(change).unwrap();
            ControlFlow::Continue(())
        };
        let result = create(&path, &options(Versions::V1), &meddle);
        assert!(matches!(result, Err(DiskError::Changed(_))), "{result:?}");
    }
}

#[test]
fn it_can_be_cancelled_and_empty_folders_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let result = create(root.path(), &options(Versions::V1), &go_on);
    assert!(matches!(result, Err(DiskError::Unfit(_))), "{result:?}");
    folder(root.path());
    let result = create(root.path(), &options(Versions::V1), &|_, _| ControlFlow::Break(()));
    assert!(matches!(result, Err(DiskError::Cancelled)), "{result:?}");
}

/// Names that some system forbids, and two that meet where letter case does not count.
const AWKWARD: [&str; 5] = ["con", "x?y", "end. ", "a", "A"];

#[test]
fn files_with_names_that_others_cannot_have_are_found_at_their_makers() {
    for versions in [Versions::V1, Versions::V2, Versions::Hybrid] {
        let maker = tempfile::tempdir().unwrap();
        let folder = maker.path().join("aux");
        std::fs::create_dir_all(folder.join("nul")).unwrap();
        for (n, name) in AWKWARD.iter().enumerate() {
            std::fs::write(folder.join("nul").join(name), [n as u8; 20_000]).unwrap();
        }
        let torrent = create(&folder, &options(versions), &go_on).unwrap().torrent;
        let report = verify(&torrent, maker.path(), 1, &go_on).unwrap();
        assert!(report.is_complete(), "{versions:?}: {report:?}");
        // Who fetched it has the safe names.
        let other = tempfile::tempdir().unwrap();
        for file in torrent.info.layout.files().iter().filter(|file| !file.padding) {
            let raw: &[u8] = &file.raw.as_ref().unwrap()[2];
            let from = folder.join("nul").join(str::from_utf8(raw).unwrap());
            let to = other.path().join("_aux").join(file.path.join("/"));
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(from, to).unwrap();
        }
        assert!(verify(&torrent, other.path(), 1, &go_on).unwrap().is_complete(), "{versions:?}");
    }
}

/// A v1 torrent of two files of a block, `first` and `second`, both called `name`.
fn namesakes(name: &str, first: u8, second: u8) -> starling_metainfo::Torrent {
    let pieces: Vec<u8> = [first, second]
        .iter()
        .flat_map(|&byte| {
            let mut sha1 = hash::Sha1::default();
            sha1.update(&vec![byte; BLOCK as usize]);
            sha1.finish().0
        })
        .collect();
    let file = format!("d6:lengthi{BLOCK}e4:pathl{}:{name}ee", name.len());
    let mut info = format!("d5:filesl{file}{file}e4:name1:t12:piece lengthi{BLOCK}e6:pieces40:").into_bytes();
    info.extend(pieces);
    info.push(b'e');
    let info = starling_metainfo::Info::parse(info.into()).unwrap();
    starling_metainfo::Torrent::from_info(std::sync::Arc::new(info))
}

#[test]
fn one_file_never_stands_for_two_of_a_torrent() {
    let root = tempfile::tempdir().unwrap();
    let torrent = namesakes("a", 1, 2);
    std::fs::create_dir(root.path().join("t")).unwrap();
    std::fs::write(root.path().join("t/a"), vec![1; BLOCK as usize]).unwrap();
    let report = verify(&torrent, root.path(), 1, &go_on).unwrap();
    assert_eq!(report.files.iter().map(|file| file.found.is_some()).collect::<Vec<_>>(), [true, false]);
    std::fs::write(root.path().join("t/a (2)"), vec![2; BLOCK as usize]).unwrap();
    assert!(verify(&torrent, root.path(), 1, &go_on).unwrap().is_complete());
}

#[test]
fn the_torrents_own_name_leads_nowhere_else() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = outside.path().join("secret");
    std::fs::write(&secret, vec![1; BLOCK as usize]).unwrap();
    std::fs::create_dir(root.path().join("t")).unwrap();
    std::os::unix::fs::symlink(&secret, root.path().join("t/x?y")).unwrap();
    let climbs = format!("../../{}/secret", outside.path().file_name().unwrap().to_str().unwrap());
    for name in ["x?y", "..", &climbs] {
        let report = verify(&namesakes(name, 1, 1), root.path(), 1, &go_on).unwrap();
        assert!(report.files.iter().all(|file| file.found.is_none()), "{name}: {report:?}");
    }
}

/// As after a v2 magnet, when nobody has told the hashes of pieces yet.
fn without_layers(sample: &Sample) -> Torrent {
    Torrent::from_info(Arc::clone(&sample.info))
}

#[test]
fn without_piece_hashes_files_are_proven_as_a_whole() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V2, &[BLOCK * 41 + 5, 7, BLOCK * 4, 0], BLOCK * 2);
    sample.write_files(root.path());
    let report = verify(&without_layers(&sample), root.path(), 3, &go_on).unwrap();
    assert!(report.is_complete() && report.have.is_full(), "{report:?}");
    assert_eq!(report.piece_layers, sample.layers);
}

#[test]
fn without_piece_hashes_it_cannot_be_told_which_piece_is_wrong() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V2, &[BLOCK * 41 + 5, 7, BLOCK * 4], BLOCK * 2);
    let path = sample.path(root.path(), 0);
    let mut flipped = sample.file_data(0).to_vec();
    flipped[70_000] ^= 1;
    let half = sample.file_data(0)[..BLOCK as usize * 20].to_vec();
    for wrong in [Some(flipped), Some(half), None] {
        sample.write_files(root.path());
        match wrong {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let report = verify(&without_layers(&sample), root.path(), 3, &go_on).unwrap();
        let [bad, small, other] = &report.files[..] else { panic!("{report:?}") };
        assert_eq!((bad.good, bad.told_apart, bad.is_complete()), (0, false, false));
        assert!(small.is_complete() && small.told_apart && other.is_complete() && other.told_apart);
        assert_eq!(report.piece_layers.len(), 1);
        let mut all = without_layers(&sample);
        all.piece_layers.clone_from(&sample.layers);
        assert!(verify(&all, root.path(), 3, &go_on).unwrap().files.iter().all(|file| file.told_apart));
    }
}
