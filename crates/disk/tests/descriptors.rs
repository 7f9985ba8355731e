//! Few descriptors, or none left. Each test runs in a process of its own, whose limit it lowers.

#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::ops::ControlFlow;
use std::process::Command;
use std::sync::Arc;

use common::{BLOCK, Bench, KEY, Sample, Version, sample};
use rustix::process::{Resource, Rlimit, setrlimit};
use starling_disk::{Config, Event, verify};
use starling_metainfo::Torrent;

const CHILD: &str = "STARLING_DISK_TEST_WITH_FEW_DESCRIPTORS";

/// Runs `test`, which is the one of that name, where so many descriptors may be open.
fn with_limit(name: &str, limit: u64, test: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum: Some(limit) }).unwrap();
        return test();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args([name, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn get_all(bench: &Bench, sample: &Sample) {
    (0..sample.pieces()).for_each(|piece| sample.store_piece(&bench.disk, piece));
    bench.verified(sample.pieces() as usize);
}

/// Reads the first bytes of every piece.
fn read_all(bench: &Bench, sample: &Sample) {
    for piece in 0..sample.pieces() {
        bench.disk.read(KEY, u64::from(piece), piece, 0, 100);
        bench.wait("Read", |event| match event {
            Event::Read { result, .. } => Some(result.unwrap()),
            _ => None,
        });
    }
}

#[test]
fn a_torrent_of_many_files_fits_into_a_low_limit() {
    with_limit("a_torrent_of_many_files_fits_into_a_low_limit", 64, || {
        for version in [Version::V1, Version::V2] {
            let root = tempfile::tempdir().unwrap();
            let sample = sample(version, &[100; 300], BLOCK);
            let bench = Bench::new(Config::default());
            bench.open(sample.spec_with_resume(root.path()));
            get_all(&bench, &sample);
            read_all(&bench, &sample);
            bench.close();
            sample.assert_on_disk(root.path());
            let torrent = Torrent::from_info(Arc::clone(&sample.info));
            let report = verify(&torrent, root.path(), 8, &|_, _| ControlFlow::Continue(())).unwrap();
            assert!(report.is_complete(), "{version:?}");
        }
    });
}

/// Somebody else in the process has them all: files that are kept open make room.
#[test]
fn files_are_opened_and_made_though_no_descriptor_is_left() {
    with_limit("files_are_opened_and_made_though_no_descriptor_is_left", 128, || {
        let root = tempfile::tempdir().unwrap();
        let sample = sample(Version::V2, &[BLOCK; 100], BLOCK);
        let bench = Bench::new(Config::default());
        bench.open(sample.spec_with_resume(root.path()));
        (0..90).for_each(|piece| sample.store_piece(&bench.disk, piece));
        bench.verified(90);
        let mut hoard = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            hoard.push(file);
        }
        (90..100).for_each(|piece| sample.store_piece(&bench.disk, piece));
        bench.verified(10);
        read_all(&bench, &sample);
        bench.close();
        drop(hoard);
        sample.assert_on_disk(root.path());
    });
}
