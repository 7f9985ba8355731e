//! Other programs at the same files: two writers, somebody else's files, changes under a download.

#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use common::{BLOCK, Bench, KEY, Version, get, names, sample};
use starling_disk::{Allocate, Check, Config, DiskError, Event, OpenSpec, resume};

/// Writes zeros over the second piece, a day ago: the clock's grain is not what is tested.
fn spoil(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0; BLOCK as usize], BLOCK).unwrap();
    let day = Duration::from_secs(86_400);
    file.set_modified(std::time::SystemTime::now() - day).unwrap();
}

/// The piece that is lost before anything is confirmed.
fn lost(bench: &Bench) -> u32 {
    bench.wait("PieceLost", |event| match event {
        Event::PieceLost { piece, .. } => Some(piece),
        Event::Confirmed { .. } => panic!("confirmed"),
        _ => None,
    })
}

fn confirmed(bench: &Bench) {
    bench.wait("Confirmed", |event| matches!(event, Event::Confirmed { .. }).then_some(()));
}

/// Somebody cuts a file under us, and what is written later makes it as long as before:
/// what was cut off is zeros now, and lost.
#[test]
fn what_was_cut_off_and_written_over_is_lost() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V1, &[BLOCK * 6], BLOCK);
    let bench = Bench::new(Config::default());
    bench.open(sample.spec(root.path()));
    get(&bench, &sample, 0..5);
    let path = sample.path(root.path(), 0);
    std::fs::File::options().write(true).open(path).unwrap().set_len(BLOCK * 3).unwrap();
    get(&bench, &sample, [5]);
    bench.disk.confirm(KEY);
    let mut lost = Vec::new();
    bench.wait("Confirmed", |event| match event {
        Event::PieceLost { piece, .. } => {
            lost.push(piece);
            None
        }
        Event::Confirmed { .. } => Some(()),
        _ => None,
    });
    assert_eq!(lost, [3, 4]);
    get(&bench, &sample, [3, 4]);
    bench.disk.confirm(KEY);
    confirmed(&bench);
    bench.close();
    sample.assert_on_disk(root.path());
}

/// Before our last write or after it: with zeros in place of the second piece.
#[test]
fn what_others_wrote_meanwhile_is_lost() {
    for after in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let sample = sample(Version::V1, &[BLOCK * 4], BLOCK);
        let bench = Bench::new(Config::default());
        bench.open(sample.spec(root.path()));
        get(&bench, &sample, if after { 0..4 } else { 0..3 });
        spoil(&sample.path(root.path(), 0));
        if !after {
            get(&bench, &sample, [3]);
        }
        bench.disk.confirm(KEY);
        assert_eq!(lost(&bench), 1);
        get(&bench, &sample, [1]);
        bench.disk.confirm(KEY);
        confirmed(&bench);
        bench.close();
        sample.assert_on_disk(root.path());
    }
}

#[test]
fn a_folder_that_was_moved_away_has_nothing_under_its_name() {
    let room = tempfile::tempdir().unwrap();
    let (root, other) = (room.path().join("here"), room.path().join("there"));
    let sample = sample(Version::V1, &[BLOCK * 2], BLOCK);
    let bench = Bench::new(Config::default());
    bench.open(sample.spec(&root));
    get(&bench, &sample, 0..2);
    std::fs::rename(&root, &other).unwrap();
    bench.disk.confirm(KEY);
    let (error, _) = bench.failed();
    assert!(error.to_string().contains(root.to_str().unwrap()), "{error}");
}

#[test]
fn what_is_complete_must_lie_under_its_name() {
    let meddle: [fn(&Path); 4] = [
        |_| {},
        |path| std::fs::remove_file(path).unwrap(),
        |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::remove_file(path).unwrap();
            std::fs::write(path, bytes).unwrap();
        },
        |path| std::fs::File::options().write(true).open(path).unwrap().set_len(BLOCK).unwrap(),
    ];
    for (case, meddle) in meddle.iter().enumerate() {
        let root = tempfile::tempdir().unwrap();
        let sample = sample(Version::V1, &[BLOCK * 2, BLOCK * 2], BLOCK);
        let bench = Bench::new(Config::default());
        bench.open(sample.spec(root.path()));
        get(&bench, &sample, 0..4);
        let path = sample.path(root.path(), 1);
        meddle(&path);
        bench.disk.confirm(KEY);
        if case == 0 {
            bench.wait("Confirmed", |event| matches!(event, Event::Confirmed { .. }).then_some(()));
        } else {
            let (error, recoverable) = bench.failed();
            assert!(!recoverable && error.to_string().contains(path.to_str().unwrap()), "{case}: {error}");
        }
    }
}

#[test]
fn a_name_has_one_writer() {
    let root = tempfile::tempdir().unwrap();
    let (ours, another) = (sample(Version::V1, &[BLOCK * 2], BLOCK), sample(Version::V1, &[BLOCK; 2], BLOCK));
    let namesake = sample(Version::V1, &[BLOCK * 3], BLOCK);
    let [first, second, third] = [(); 3].map(|()| Bench::new(Config::default()));
    first.open(ours.spec(root.path()));
    get(&first, &ours, [0]);
    for torrent in [&ours, &namesake] {
        second.disk.open(KEY, torrent.spec(root.path()));
        let (error, recoverable) = second.failed();
        let (said, path) = (error.to_string(), torrent.path(root.path(), 0));
        assert!(!recoverable && said.contains(path.to_str().unwrap()) && said.contains("already"), "{said}");
    }
    // A torrent of another name, and who only reads, are let in.
    third.open(another.spec(root.path()));
    get(&third, &another, 0..2);
    second.open(OpenSpec { tidy: false, ..ours.spec(root.path()) });
    second.close();
    // When it is done its folder is free, and nothing is left there.
    get(&first, &ours, [1]);
    first.disk.confirm(KEY);
    first.wait("Confirmed", |event| matches!(event, Event::Confirmed { .. }).then_some(()));
    assert!(second.open(ours.spec(root.path())).is_full());
    [&first, &second, &third].into_iter().for_each(Bench::close);
    assert_eq!(names(root.path()), ["f0", "f0", "f1"]);
}

#[test]
fn what_a_killed_writer_leaves_behind_is_in_nobodys_way() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V1, &[BLOCK * 2], BLOCK);
    let crashed = Bench::new(Config::default());
    crashed.open(sample.spec(root.path()));
    let lock = names(root.path()).into_iter().find(|name| name.ends_with(".lock")).unwrap();
    crashed.close();
    std::fs::write(root.path().join(&lock), b"").unwrap();
    let bench = Bench::new(Config::default());
    bench.open(sample.spec(root.path()));
    get(&bench, &sample, 0..2);
    bench.close();
    assert_eq!(names(root.path()), ["f0"]);
}

#[test]
fn what_is_somebody_elses_is_not_written_over() {
    let sample = sample(Version::V1, &[BLOCK * 2, BLOCK * 2], BLOCK);
    let root = tempfile::tempdir().unwrap();
    let (mine, theirs) = (sample.path(root.path(), 1), vec![7; 100]);
    std::fs::create_dir_all(mine.parent().unwrap()).unwrap();
    std::fs::write(&mine, &theirs).unwrap();
    let spec = sample.spec_with_resume(root.path());
    let bench = Bench::new(Config::default());
    let refused = |spec: &OpenSpec| {
        bench.disk.open(KEY, spec.clone());
        let (error, recoverable) = bench.failed();
        assert!(!recoverable && is_foreign(&error, &mine), "{error}");
    };
    refused(&OpenSpec { allocate: Allocate::Full, ..spec.clone() });
    assert_eq!(names(root.path()), ["f1"], "nothing was made or left");
    // Who does not want the file, or allows it, goes on; not who has a right piece in another.
    bench.open(OpenSpec { wanted: vec![true, false], ..spec.clone() });
    bench.close();
    assert_eq!(std::fs::read(&mine).unwrap(), theirs);
    std::fs::write(sample.path(root.path(), 0), &sample.data[..BLOCK as usize]).unwrap();
    refused(&OpenSpec { check: Check::Force, ..spec.clone() });
    std::fs::remove_file(sample.path(root.path(), 0)).unwrap();
    bench.open(OpenSpec { overwrite: true, ..spec.clone() });
    get(&bench, &sample, 0..4);
    bench.close();
    sample.assert_on_disk(root.path());
    // Neither is what took the place of the files when all was done.
    std::fs::remove_file(sample.path(root.path(), 0)).unwrap();
    std::fs::write(&mine, &theirs).unwrap();
    refused(&spec);
    assert_eq!(std::fs::read(&mine).unwrap(), theirs);
}

/// Whether `path` is the file that the error is about.
fn is_foreign(error: &DiskError, path: &Path) -> bool {
    matches!(error, DiskError::Foreign { path: foreign, .. } if foreign == path)
}

#[test]
fn somebody_elses_files_are_counted_and_older_or_empty_ones_are_none() {
    let sample = sample(Version::V1, &[BLOCK * 2; 5], BLOCK);
    let root = tempfile::tempdir().unwrap();
    let write = |index: usize, bytes: &[u8]| std::fs::write(sample.path(root.path(), index), bytes).unwrap();
    std::fs::create_dir_all(sample.path(root.path(), 0).parent().unwrap()).unwrap();
    // An older version with half of it as it is now, room taken by another program, nothing.
    write(0, &[sample.file_data(0).split_at(BLOCK as usize).0, &[7; 100]].concat());
    write(1, &vec![0; BLOCK as usize * 2]);
    write(2, b"");
    let spec = sample.spec_with_resume(root.path());
    let bench = Bench::new(Config::default());
    assert_eq!(bench.open(spec.clone()).count(), 1);
    bench.close();
    write(3, b"mine");
    write(4, b"mine too");
    bench.disk.open(KEY, spec);
    let said = bench.failed().0.to_string();
    assert!(said.contains("f3 and one more file are there already"), "{said}");
}

#[test]
fn what_appears_under_a_name_meanwhile_is_not_written_over() {
    for overwrite in [false, true] {
        let sample = sample(Version::V1, &[BLOCK * 2, BLOCK * 2], BLOCK);
        let root = tempfile::tempdir().unwrap();
        let bench = Bench::new(Config::default());
        bench.open(OpenSpec { overwrite, ..sample.spec_with_resume(root.path()) });
        get(&bench, &sample, [0]);
        let mine = sample.path(root.path(), 1);
        std::fs::write(&mine, b"mine").unwrap();
        if overwrite {
            get(&bench, &sample, [1, 2, 3]);
        } else {
            sample.store_piece(&bench.disk, 2);
            let (error, recoverable) = bench.failed();
            assert!(!recoverable && is_foreign(&error, &mine), "{error}");
            // Nor is it the next time, after a stop in order, wanted or not.
            bench.close();
            bench.disk.open(KEY, sample.spec_with_resume(root.path()));
            let (error, _) = bench.failed();
            assert!(is_foreign(&error, &mine), "{error}");
            bench.open(OpenSpec { wanted: vec![true, false], ..sample.spec_with_resume(root.path()) });
            get(&bench, &sample, [1]);
            bench.close();
            assert_eq!(std::fs::read(&mine).unwrap(), b"mine");
        }
    }
}

/// Killed long after all was there: what lies there then in place of a file is the user's.
#[test]
fn what_is_done_is_on_record_as_after_a_clean_stop() {
    let sample = sample(Version::V1, &[BLOCK * 2, BLOCK * 2], BLOCK);
    let root = tempfile::tempdir().unwrap();
    let spec = sample.spec_with_resume(root.path());
    let seeding = Bench::new(Config { checkpoint_interval: Duration::ZERO, ..Config::default() });
    seeding.open(spec.clone());
    get(&seeding, &sample, 0..4);
    seeding.disk.confirm(KEY);
    confirmed(&seeding);
    let is_clean = || {
        let resume = resume::parse(
            &std::fs::read(spec.resume.as_ref().unwrap()).unwrap(),
            &resume::Identity::of(&sample.info),
        );
        resume.is_ok_and(|resume| resume.clean.is_some() && resume.synced.is_full())
    };
    while !is_clean() {
        std::thread::yield_now();
    }
    seeding.disk.shutdown();
    let mine = sample.path(root.path(), 1);
    std::fs::write(&mine, b"mine").unwrap();
    let bench = Bench::new(Config::default());
    bench.disk.open(KEY, spec);
    assert!(is_foreign(&bench.failed().0, &mine));
}

/// Two programs may want different things in one file, and know nothing of each other.
#[test]
fn who_spoils_a_file_again_and_again_is_not_fetched_against_for_ever() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V1, &[BLOCK * 4], BLOCK);
    let bench = Bench::new(Config::default());
    bench.open(sample.spec_with_resume(root.path()));
    get(&bench, &sample, 0..4);
    let mut rounds = 0;
    let error = loop {
        spoil(&sample.path(root.path(), 0));
        bench.disk.confirm(KEY);
        let failed = bench.wait("Failed or Confirmed", |event| match event {
            Event::Confirmed { .. } => Some(None),
            Event::Failed { error, recoverable, .. } => Some(Some((error, recoverable))),
            _ => None,
        });
        match failed {
            Some((error, recoverable)) => {
                assert!(!recoverable);
                break error;
            }
            None => get(&bench, &sample, [1]),
        }
        rounds += 1;
    };
    assert!(matches!(error, DiskError::Contested(_)), "{error}");
    assert!((2..10).contains(&rounds), "{rounds}");
}

#[test]
fn a_lock_is_a_file_without_anything_in_it() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(Version::V1, &[BLOCK * 2], BLOCK);
    let bench = Bench::new(Config::default());
    bench.open(sample.spec(root.path()));
    let lock = names(root.path()).into_iter().find(|name| name.ends_with(".lock")).unwrap();
    let lock = root.path().join(lock);
    // Another torrent may be named like it.
    std::fs::write(&lock, b"data").unwrap();
    bench.close();
    assert_eq!(std::fs::read(&lock).unwrap(), b"data");
    std::fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink(root.path().join("elsewhere"), &lock).unwrap();
    bench.disk.open(KEY, sample.spec(root.path()));
    let (error, _) = bench.failed();
    assert!(matches!(&error, DiskError::Symlink(path) if *path == lock), "{error}");
}

#[test]
fn what_a_crash_left_is_not_somebody_elses() {
    let sample = sample(Version::V1, &[BLOCK * 4], BLOCK * 4);
    let root = tempfile::tempdir().unwrap();
    let spec = sample.spec_with_resume(root.path());
    let crashed = Bench::new(Config::default());
    crashed.open(spec.clone());
    // A part of a piece, and then nothing more.
    let (begin, data) = sample.blocks(0).remove(0);
    crashed.disk.store(KEY, 0, begin, data);
    while !sample.path(root.path(), 0).metadata().is_ok_and(|meta| meta.len() > 0) {
        std::thread::yield_now();
    }
    crashed.disk.shutdown();
    let bench = Bench::new(Config::default());
    assert_eq!(bench.open(spec).count(), 0);
    get(&bench, &sample, [0]);
}

/// After a crash it is told apart by what had been wanted.
#[test]
fn what_a_killed_run_did_not_want_is_somebody_elses() {
    let sample = sample(Version::V1, &[BLOCK * 2; 3], BLOCK * 2);
    let root = tempfile::tempdir().unwrap();
    let spec = sample.spec_with_resume(root.path());
    let mine = sample.path(root.path(), 2);
    std::fs::create_dir_all(mine.parent().unwrap()).unwrap();
    std::fs::write(&mine, b"mine").unwrap();
    // With a journal of its own, and with one that a clean stop had left.
    for (run, wanted) in [vec![false, true, false], vec![true, true, false]].into_iter().enumerate() {
        let crashed = Bench::new(Config::default());
        crashed.open(OpenSpec { wanted: wanted.clone(), ..spec.clone() });
        let piece = 1 - run as u32;
        let (begin, data) = sample.blocks(piece).remove(0);
        crashed.disk.store(KEY, piece, begin, data);
        while !sample.path(root.path(), piece as usize).metadata().is_ok_and(|meta| meta.len() > 0) {
            std::thread::yield_now();
        }
        crashed.disk.shutdown();
        let bench = Bench::new(Config::default());
        bench.disk.open(KEY, spec.clone());
        let error = bench.failed().0;
        assert!(is_foreign(&error, &mine) && error.to_string().contains("f2 is there"), "{error}");
        // What it wanted goes on, though no piece of it is whole.
        bench.open(OpenSpec { wanted, ..spec.clone() });
        bench.close();
        assert_eq!(std::fs::read(&mine).unwrap(), b"mine");
    }
}

#[test]
fn somebody_elses_file_that_is_not_wanted_is_left_alone() {
    for (length, allocate) in
        [(5, Allocate::Sparse), (BLOCK as usize * 9, Allocate::Sparse), (5, Allocate::Full)]
    {
        // The wanted file shares a piece with the one that is not.
        let sample = sample(Version::V1, &[BLOCK + 5, BLOCK * 4], BLOCK * 2);
        let root = tempfile::tempdir().unwrap();
        let (path, theirs) = (sample.path(root.path(), 1), vec![7; length]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &theirs).unwrap();
        let bench = Bench::new(Config::default());
        let spec = sample.spec_with_resume(root.path());
        bench.open(OpenSpec { wanted: vec![true, false], allocate, ..spec.clone() });
        get(&bench, &sample, [0]);
        // Nor is it written over when it becomes wanted.
        bench.disk.set_wanted(KEY, vec![true, true]);
        let error = bench.failed().0;
        assert!(is_foreign(&error, &path), "{error}");
        bench.close();
        assert!(std::fs::read(&path).unwrap() == theirs, "{length} {allocate:?}");
        assert_eq!(std::fs::read(sample.path(root.path(), 0)).unwrap(), sample.file_data(0));
    }
}

/// Whatever was done to the second piece since it was verified, it is not believed.
fn assert_found(bench: &Bench, spec: &OpenSpec, piece: u32, how: &str) {
    assert!(!bench.open(spec.clone()).get(piece), "{how}");
    bench.close();
}

#[test]
fn what_others_wrote_is_not_taken_for_ours_at_a_clean_stop() {
    let sample = sample(Version::V1, &[BLOCK * 4], BLOCK);
    for complete in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let spec = sample.spec_with_resume(root.path());
        let bench = Bench::new(Config::default());
        bench.open(spec.clone());
        get(&bench, &sample, if complete { 0..4 } else { 0..3 });
        spoil(&sample.path(root.path(), 0));
        bench.close();
        assert_found(&bench, &spec, 1, "after writing");
    }
    // And what is written after the look at what is there, before anything of ours is.
    let root = tempfile::tempdir().unwrap();
    sample.write_files(root.path());
    let bench = Bench::new(Config::default());
    assert!(bench.open(sample.spec(root.path())).is_full());
    spoil(&sample.path(root.path(), 0));
    bench.disk.confirm(KEY);
    assert_eq!(lost(&bench), 1);
}

#[test]
fn what_others_added_is_cut_before_it_counts_as_done() {
    let sample = sample(Version::V1, &[BLOCK * 2], BLOCK);
    let root = tempfile::tempdir().unwrap();
    let bench = Bench::new(Config::default());
    bench.open(sample.spec(root.path()));
    get(&bench, &sample, 0..2);
    let file = std::fs::File::options().write(true).open(sample.path(root.path(), 0)).unwrap();
    file.set_len(BLOCK * 2 + 5).unwrap();
    bench.disk.confirm(KEY);
    confirmed(&bench);
    sample.assert_on_disk(root.path());
}
