//! Files chosen by number that a torrent does not have.

#![allow(clippy::unwrap_used)] // a test may panic, helpers included

mod common;

use std::fs;

use common::{Room, Sharing, code, get, noise, run, stderr, stdout};

#[test]
fn a_file_that_a_torrent_does_not_have_cannot_be_selected() {
    let room = Room::new();
    let file = room.source(&noise(3, 1 << 20));
    assert_eq!(code(&run(&["create", &file, "-o", &room.text("file.torrent")])), 0);
    let output = get(&room, &room.text("file.torrent"), "", &["--select", "1"]).output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("has no file 1"), "{}", stderr(&output));
    assert!(!stdout(&output).contains("\"complete\""), "{}", stdout(&output));
    assert!(!room.path("data").exists(), "something was made");
}

#[test]
fn a_wrong_selection_of_one_torrent_makes_nothing_of_the_others() {
    let room = Room::new();
    let mut sources = Vec::new();
    for (name, files) in [("few", 1), ("many", 3)] {
        fs::create_dir_all(room.path(name)).unwrap();
        (0..files).for_each(|n| fs::write(room.path(name).join(format!("{n}")), []).unwrap());
        fs::write(room.path(name).join("z"), noise(5, 100)).unwrap();
        let torrent = room.text(&format!("{name}.torrent"));
        assert_eq!(code(&run(&["create", &room.text(name), "-o", &torrent])), 0);
        sources.push(torrent);
    }
    let output = get(&room, &sources[1], "", &[&sources[0], "--select", "0,2"]).output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("--select: few has no file 2: it has 2 files"), "{}", stderr(&output));
    assert!(!room.path("data").exists(), "something was made");
}

#[test]
fn a_link_that_selects_a_file_too_many_is_a_mistake_like_a_flag() {
    let room = Room::new();
    let sharing = Sharing::start(&room, &room.source(&noise(6, 17)), "127.0.0.1:0", &[]);
    let link = format!("{}&so=0,99", sharing.link);
    let output = get(&room, &link, &sharing.addr, &[]).output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("the link: file.bin has no file 99: it has 1 file"),
        "{}",
        stderr(&output)
    );
    let left: Vec<_> = fs::read_dir(room.path("data")).unwrap().collect();
    assert!(!left.iter().flatten().any(|e| e.file_name().to_string_lossy().ends_with(".lock")), "{left:?}");
}

#[test]
fn a_link_that_selects_nothing_is_no_success() {
    let room = Room::new();
    let sharing = Sharing::start(&room, &room.source(&noise(6, 17)), "127.0.0.1:0", &[]);
    let link = format!("{}&so=7", sharing.link);
    let output = get(&room, &link, &sharing.addr, &[]).output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("the link: file.bin has no file 7"), "{}", stderr(&output));
}
