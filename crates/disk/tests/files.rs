//! Real files: which are created, where, and what is never followed.

#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use common::{BLOCK, Bench, KEY, Version, get, names, sample};
use starling_disk::{Allocate, Config, Event, OpenSpec};
use starling_metainfo::Layout;

#[test]
fn unwanted_files_are_not_created_and_move_in_when_wanted() {
    let root = tempfile::tempdir().unwrap();
    // f1 shares the first piece with f0 and the last with f2; f3 is wanted by nobody at first.
    let sample = sample(Version::V1, &[BLOCK + 5, BLOCK * 4, 100, BLOCK * 3], BLOCK * 2);
    let bench = Bench::new(Config::default());
    let mut spec = sample.spec_with_resume(root.path());
    spec.wanted = vec![true, false, true, false];
    bench.open(spec.clone());
    let needed: Vec<u32> = [0, 2].iter().flat_map(|&file| sample.layout().file_pieces(file)).collect();
    get(&bench, &sample, needed.clone());
    assert_eq!(std::fs::read(sample.path(root.path(), 0)).unwrap(), sample.file_data(0));
    assert!(!sample.path(root.path(), 1).exists() && !sample.path(root.path(), 3).exists());
    assert!(names(root.path()).iter().any(|name| name.ends_with(".parts")));
    // A restart believes the boundary pieces, and they can be read.
    bench.close();
    assert_eq!(bench.open(spec).iter().collect::<Vec<_>>(), needed);
    bench.disk.read(KEY, 1, 0, 0, sample.layout().piece_len(0));
    let bytes = bench.wait("Read", |event| match event {
        Event::Read { result, .. } => Some(result.unwrap()),
        _ => None,
    });
    assert!(bytes == sample.data[..bytes.len()]);
    bench.disk.set_wanted(KEY, vec![true; 4]);
    let rest = (0..sample.pieces()).filter(|piece| !needed.contains(piece));
    get(&bench, &sample, rest);
    bench.close();
    sample.assert_on_disk(root.path());
    assert_eq!(names(root.path()), ["f0", "f1", "f2", "f3", "resume"], "the parts file is gone");
    let bench = Bench::new(Config::default());
    assert!(bench.open(sample.spec(root.path())).is_full());
}

#[test]
fn links_in_the_way_are_an_error_that_names_them() {
    let sample = sample(Version::V1, &[BLOCK, 5], BLOCK);
    for place in ["folder", "folder/f0"] {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let victim = outside.path().join("f0");
        std::fs::write(&victim, b"precious").unwrap();
        let link = root.path().join(place);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(if place == "folder" { outside.path() } else { &victim }, &link).unwrap();
        let bench = Bench::new(Config::default());
        bench.disk.open(KEY, sample.spec(root.path()));
        let (error, recoverable) = bench.failed();
        let told = error.to_string();
        assert!(told.contains(place) && told.contains("symbolic link") && !recoverable, "{told}");
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    }
}

/// The link comes only after the torrent was opened.
#[test]
fn links_that_come_later_are_not_followed_either() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sample = sample(Version::V1, &[BLOCK, BLOCK], BLOCK);
    let bench = Bench::new(Config::default());
    bench.open(sample.spec(root.path()));
    symlink(outside.path(), root.path().join("folder")).unwrap();
    sample.store_piece(&bench.disk, 0);
    assert!(bench.failed().0.to_string().contains("symbolic link"));
    assert_eq!(names(outside.path()), Vec::<String>::new());
    // The user takes it away and asks to try again: nothing was lost.
    std::fs::remove_file(root.path().join("folder")).unwrap();
    bench.disk.probe(KEY);
    assert_eq!(bench.verified(1), [0]);
}

#[test]
fn longer_files_are_cut_when_written_and_programs_may_run() {
    let root = tempfile::tempdir().unwrap();
    let mut sample = sample(Version::V1, &[BLOCK + 1], BLOCK);
    let mut info = (*sample.info).clone();
    let mut files = info.layout.files().to_vec();
    files[0].executable = true;
    let piece = starling_metainfo::PieceLength::new(BLOCK).unwrap();
    info.layout = Layout::new(piece, files, false).unwrap();
    sample.info = Arc::new(info);
    std::fs::write(root.path().join("f0"), vec![1; 100_000]).unwrap();
    let bench = Bench::new(Config::default());
    assert_eq!(bench.open(sample.spec(root.path())).count(), 0);
    get(&bench, &sample, 0..2);
    bench.close();
    sample.assert_on_disk(root.path());
    std::fs::remove_file(root.path().join("f0")).unwrap();
    bench.open(sample.spec(root.path()));
    get(&bench, &sample, 0..2);
    assert!(std::fs::metadata(root.path().join("f0")).unwrap().permissions().mode() & 0o100 != 0);
}

/// A file that goes on after its end is cut when all that belongs to it was found right: not
/// before, for it may be another file, not where only reading was asked for, and not if nobody
/// wants it.
#[test]
fn longer_files_are_cut_once_their_own_bytes_are_right() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V1, &[BLOCK * 2, BLOCK, 0], BLOCK);
    sample.write_files(root.path());
    let lengthen = |index| {
        let file = std::fs::File::options().append(true).open(sample.path(root.path(), index));
        std::io::Write::write_all(&mut file.unwrap(), b"extra").unwrap();
    };
    (0..3).for_each(lengthen);
    let lengths = || [0, 1, 2].map(|i| std::fs::metadata(sample.path(root.path(), i)).unwrap().len());
    let long = [BLOCK * 2 + 5, BLOCK + 5, 5];
    let mut other = std::fs::read(sample.path(root.path(), 1)).unwrap();
    other[7] ^= 1;
    std::fs::write(sample.path(root.path(), 1), &other).unwrap();

    let open = |change: &dyn Fn(&mut OpenSpec)| {
        let bench = Bench::new(Config::default());
        let mut spec = sample.spec_with_resume(root.path());
        change(&mut spec);
        assert_eq!(bench.open(spec).iter().collect::<Vec<_>>(), [0, 1]);
        bench.close();
        lengths()
    };
    assert_eq!(open(&|spec| spec.tidy = false), long);
    assert_eq!(open(&|spec| spec.wanted = vec![false, true, false]), long);
    // What an earlier run noted is believed, and the file is cut all the same.
    assert_eq!(open(&|spec| spec.allocate = Allocate::Full), [BLOCK * 2, BLOCK + 5, 0]);
    assert_eq!(std::fs::read(sample.path(root.path(), 1)).unwrap(), other);
}

#[test]
fn nothing_to_fetch_is_ready_at_once() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V1, &[0, 0], BLOCK);
    let bench = Bench::new(Config::default());
    assert!(bench.open(sample.spec(root.path())).is_full());
    bench.close();
    sample.assert_on_disk(root.path());
}

#[test]
fn room_can_be_taken_at_the_start() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V1, &[BLOCK * 3, 7], BLOCK);
    let bench = Bench::new(Config::default());
    let mut spec = sample.spec(root.path());
    spec.allocate = Allocate::Full;
    bench.open(spec);
    assert_eq!(std::fs::metadata(sample.path(root.path(), 0)).unwrap().len(), BLOCK * 3);
    get(&bench, &sample, 0..sample.pieces());
    bench.close();
    sample.assert_on_disk(root.path());
}

#[test]
fn hundreds_of_files_need_few_descriptors() {
    let root = tempfile::tempdir().unwrap();
    let lengths: Vec<u64> = (0..300).map(|n| n * 37 % 1000).collect();
    let sample = sample(Version::V1, &lengths, BLOCK * 2);
    let bench = Bench::new(Config { open_files: 4, ..Config::default() });
    bench.open(sample.spec_with_resume(root.path()));
    get(&bench, &sample, 0..sample.pieces());
    let open =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    let ours = open.filter(|path| path.starts_with(root.path())).count();
    assert!(ours <= 4 + 8, "{ours} descriptors");
    bench.close();
    sample.assert_on_disk(root.path());
}

/// A file that is removed while it is open can be written to its end all the same.
/// Bytes that somebody wrote into the parts file between two runs are no piece's.
#[test]
fn a_parts_file_that_was_touched_is_checked() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V1, &[BLOCK + 5, BLOCK * 4, 100], BLOCK * 2);
    let bench = Bench::new(Config::default());
    let mut spec = sample.spec_with_resume(root.path());
    spec.wanted = vec![true, false, false];
    bench.open(spec.clone());
    get(&bench, &sample, [0]);
    bench.close();
    let parts = names(root.path()).into_iter().find(|name| name.ends_with(".parts")).unwrap();
    let path = root.path().join(parts);
    assert_eq!(bench.open(spec.clone()).iter().collect::<Vec<_>>(), [0], "untouched, it is believed");
    bench.close();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, bytes.iter().map(|byte| !byte).collect::<Vec<u8>>()).unwrap();
    spec.wanted = vec![true; 3];
    assert_eq!(bench.open(spec).count(), 0, "what the parts file had of piece 0 is wrong");
    get(&bench, &sample, 0..sample.pieces());
    bench.close();
    sample.assert_on_disk(root.path());
}
