//! Where torrent files are written, and what is never written over.

#![allow(clippy::unwrap_used)] // a test may panic, helpers included

mod common;

use std::fs;

use common::{Room, Sharing, noise, run};

/// The command ends with 1 and says so, and `path` holds what it held.
fn assert_kept(args: &[&str], path: &std::path::Path, says: &str) {
    let before = fs::read(path).ok();
    let output = run(args);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
    assert!(stderr.contains(says), "{args:?}: {stderr}");
    assert_eq!(fs::read(path).ok(), before, "{args:?}");
}

#[test]
fn a_torrent_is_not_written_over_what_it_is_made_of() {
    let room = Room::new();
    let file = room.source(&noise(1, 1000));
    let folder = room.path("source");
    let new = folder.join("new.torrent");
    let (within, new_text) = (folder.to_str().unwrap(), new.to_str().unwrap());
    for force in [&["-f"][..], &[]] {
        for command in [&["create"][..], &["share", "--no-lan", "--listen", "127.0.0.1:0"]] {
            for (content, output) in [(&*file, &*file), (within, &*file), (within, new_text)] {
                let args = [command, &[content, "-o", output], force].concat();
                assert_kept(&args, output.as_ref(), "lies in what the torrent is made of");
            }
        }
    }
}

/// Not even with --force: a device or a pipe would be gone.
#[test]
fn a_torrent_takes_the_place_of_nothing_but_a_file() {
    let room = Room::new();
    let file = room.source(&noise(3, 1000));
    let socket = room.path("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for command in [&["create"][..], &["share", "--no-lan", "--listen", "127.0.0.1:0"]] {
        let args = [command, &[&file, "-f", "-o", socket.to_str().unwrap()]].concat();
        assert_kept(&args, &socket, "is not a regular file");
        assert!(socket.exists());
    }
}

#[test]
fn a_share_writes_its_torrent_over_no_other_file() {
    let room = Room::new();
    let file = room.source(&noise(2, 1000));
    let thesis = room.path("thesis.txt");
    fs::write(&thesis, "mine").unwrap();
    let share = ["share", &file, "--no-lan", "--listen", "127.0.0.1:0", "-o"];
    assert_kept(&[&share[..], &[thesis.to_str().unwrap()]].concat(), &thesis, "--force replaces it");
    // The same command goes on; one that says something else does not without being told so.
    let torrent = room.path("file.torrent");
    drop(Sharing::start(&room, &file, "127.0.0.1:0", &[]));
    drop(Sharing::start(&room, &file, "127.0.0.1:0", &[]));
    let said = ["--comment", "another"];
    assert_kept(&[&share[..], &[torrent.to_str().unwrap()], &said].concat(), &torrent, "is not this torrent");
    drop(Sharing::start(&room, &file, "127.0.0.1:0", &[&said[..], &["--force"]].concat()));
    assert!(fs::read(&torrent).unwrap().windows(7).any(|bytes| bytes == b"another"));
}
