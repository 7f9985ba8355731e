//! Data that is there in part, is too long, or is named twice: what each command takes it for.

#![allow(clippy::unwrap_used)] // a test may panic, helpers included

mod common;

use std::fs;
use std::io::Write;

use common::{Room, Run, Sharing, Talking, code, event, get, noise, run, starling, stderr};
use serde_json::Value;
use starling_metainfo::Torrent;

const PIECE: usize = 64 << 10;

fn create(room: &Room, what: &str, torrent: &str, more: &[&str]) -> String {
    let (path, file) = (room.text(what), room.text(torrent));
    let output = run(&[&["create", &path, "-o", &file, "--piece-length", "64k"], more].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    file
}

/// `starling seed` of what lies in `source`.
fn seed(room: &Room, torrent: &str, more: &[&str]) -> std::process::Command {
    let mut command = starling();
    command.args(["seed", torrent, "-o", &room.text("source"), "--no-lan", "--listen", "127.0.0.4:0"]);
    command.args(["--state", &room.text("seeding")]).args(more);
    command
}

fn seeding(value: &Value) -> Option<Value> {
    (value["state"] == "seeding").then(|| value.clone())
}

fn lengthen(path: &std::path::Path) {
    fs::File::options().append(true).open(path).unwrap().write_all(b"extra\n").unwrap();
}

/// Whoever waits is told that it is for pieces which those who are there do not have.
#[test]
fn what_nobody_has_is_waited_for_and_that_is_said() {
    let room = Room::new();
    let content = noise(11, 4 * PIECE);
    room.source(&content);
    let torrent = create(&room, "source/file.bin", "file.torrent", &[]);
    fs::write(room.path("source/file.bin"), &content[..2 * PIECE]).unwrap();
    let mut seeds = Talking::start(&mut seed(&room, &torrent, &[]));
    let port =
        seeds.until(|line| Some(line.strip_prefix("listening at port ")?.split(';').next()?.to_owned()));
    let mut gets = Run::start(&mut get(&room, &torrent, &format!("127.0.0.4:{port}"), &[]));
    let why = gets.until(event("alone"))["why"].clone();
    let lacks =
        "the only peer does not have the 2 pieces that are missing; waiting for somebody who has them";
    assert_eq!(why, lacks);
    assert_eq!(gets.until(event("progress"))["pieces"], 2);
}

/// One rule: a file that is too long is not complete. Who only reads leaves it as it is and says so,
/// `get` cuts it.
#[test]
fn a_file_that_is_too_long_is_not_complete_until_get_has_cut_it() {
    let room = Room::new();
    let content = noise(1, 3 * PIECE + 5);
    room.source(&content);
    let torrent = create(&room, "source/file.bin", "file.torrent", &[]);
    let path = room.path("source/file.bin");
    lengthen(&path);
    let source = room.text("source");
    let verify = || run(&["verify", &torrent, "-o", &source]);
    assert_eq!(code(&verify()), 1);

    for more in [&[][..], &["--trust"]] {
        let mut seeds = Run::start(seed(&room, &torrent, more).arg("--json"));
        assert_eq!(seeds.until(seeding)["pieces"], 4);
        seeds.signal(rustix::process::Signal::INT);
        let (_, said, _) = seeds.end();
        assert!(said.iter().all(|value| value["event"] != "complete"), "{more:?}: {said:?}");
        assert_eq!(fs::metadata(&path).unwrap().len(), content.len() as u64 + 6, "seed wrote");
    }
    let got = run(&[
        "get",
        &torrent,
        "-o",
        &source,
        "--no-lan",
        "--listen",
        "127.0.0.4:0",
        "--state",
        &room.text("s"),
    ]);
    assert_eq!(code(&got), 0, "{}", stderr(&got));
    assert!(stderr(&got).contains("complete"), "{}", stderr(&got));
    assert!(fs::read(&path).unwrap() == content);
    assert_eq!(code(&verify()), 0);
}

#[test]
fn what_is_right_of_a_file_is_seeded_and_how_much_that_is_said() {
    let room = Room::new();
    let content = noise(2, 20 * PIECE);
    let file = room.source(&content);
    let torrent = create(&room, "source/file.bin", "file.torrent", &[]);
    let mut spoilt = content.clone();
    spoilt[7 * PIECE] ^= 1;
    fs::write(&file, &spoilt).unwrap();
    let mut seeds = Run::start(&mut seed(&room, &torrent, &["--json"]));
    let state = seeds.until(seeding);
    assert_eq!((&state["pieces"], &state["bytes_wanted"]), (&19.into(), &(19 * PIECE).into()));
    seeds.signal(rustix::process::Signal::INT);
    let (status, said, stderr) = seeds.end();
    assert_eq!(status.code(), Some(130));
    assert!(
        stderr.contains("file.bin: 19 of 20 pieces are right (1.2 MiB of 1.2 MiB) and seeded"),
        "{stderr}"
    );
    assert!(said.iter().all(|value| value["event"] != "complete"), "{said:?}");
    assert!(fs::read(&file).unwrap() == spoilt, "seed wrote");

    // Of nothing, nothing is seeded.
    fs::write(&file, noise(9, 20 * PIECE)).unwrap();
    for more in [&[][..], &["--trust"]] {
        let none = seed(&room, &torrent, more).output().unwrap();
        assert_eq!(code(&none), 1, "{more:?}");
        let said = String::from_utf8(none.stderr).unwrap();
        assert!(said.contains("no piece of it is right in"), "{more:?}: {said}");
    }
}

#[test]
fn of_a_folder_it_is_said_which_files_are_seeded() {
    let room = Room::new();
    fs::create_dir_all(room.path("source/photos")).unwrap();
    for (name, seed) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        fs::write(room.path(&format!("source/photos/{name}")), noise(seed, 2 * PIECE)).unwrap();
    }
    let torrent = create(&room, "source/photos", "photos.torrent", &[]);
    let spoil = |name: &str, from: usize| {
        let mut bytes = fs::read(room.path(&format!("source/photos/{name}"))).unwrap();
        bytes[from..].fill(0);
        fs::write(room.path(&format!("source/photos/{name}")), bytes).unwrap();
    };
    spoil("b", PIECE);
    spoil("d", 0);
    let mut seeds = Run::start(&mut seed(&room, &torrent, &["--json"]));
    assert_eq!(seeds.until(seeding)["pieces"], 5);
    seeds.signal(rustix::process::Signal::INT);
    let said = seeds.end().2;
    let sentence = "photos: 5 of 8 pieces are right (320 KiB of 512 KiB) and seeded: all of a, c, part of b; \
        `starling get` fetches the rest";
    assert!(said.contains(sentence), "{said}");
}

/// Padding between the files of a hybrid torrent is nobody's data, and no size counts it.
#[test]
fn sizes_are_of_content_without_padding() {
    let room = Room::new();
    fs::create_dir_all(room.path("source/small")).unwrap();
    for n in 0..5u64 {
        fs::write(room.path(&format!("source/small/{n}")), noise(n, 1000 + n as usize)).unwrap();
    }
    let bytes = Value::from(5 * 1000 + 10);
    let folder = room.text("source/small");
    let sharing = Sharing::start(&room, &folder, "127.0.0.1:0", &["--hybrid", "--piece-length", "64k"]);
    let (status, said, _) = Run::start(&mut get(&room, &sharing.link, &sharing.addr, &[])).end();
    assert!(status.success());
    assert_eq!(said.iter().find_map(event("complete")).unwrap()["bytes"], bytes);
    let sizes = said.iter().filter(|value| value["event"] == "progress").map(|value| &value["bytes_wanted"]);
    assert!(sizes.clone().all(|size| *size == bytes || *size == 0), "{:?}", sizes.collect::<Vec<_>>());
    let torrent = room.text("file.torrent");
    let torrent = starling_metainfo::Torrent::parse(&fs::read(&torrent).unwrap()).unwrap();
    let told = std::sync::Mutex::new((0, 0));
    let tell = |done, total| {
        *told.lock().unwrap() = (done, total);
        std::ops::ControlFlow::Continue(())
    };
    starling_disk::verify(&torrent, &room.path("source"), 1, &tell).unwrap();
    assert_eq!(told.into_inner().unwrap(), (5010, 5010), "what a bar shows");
}

#[test]
fn a_torrent_named_twice_is_fetched_once() {
    let room = Room::new();
    let content = noise(4, 2 * PIECE);
    let sharing = Sharing::start(&room, &room.source(&content), "127.0.0.1:0", &[]);
    let torrent = room.text("file.torrent");
    let mut command = get(&room, &torrent, "", &[&torrent, &sharing.link]);
    let mut got = Run::start(&mut command);
    got.until(|value| {
        assert!(value["event"] != "failed", "{value}");
        (value["event"] == "complete").then_some(())
    });
    let (status, said, why) = got.end();
    assert_eq!(status.code(), Some(0), "{why}");
    assert!(said.iter().all(|value| value["event"] != "complete"), "twice: {said:?}");
    assert!(fs::read(room.path("data/file.bin")).unwrap() == content, "the link's peer was not asked");
    let args = ["-o", &room.text("data"), "--state", &room.text("state"), "--listen", "127.0.0.1:0"];
    let again = run(&[&["get", &sharing.link, &torrent, "--no-lan"], &args[..]].concat());
    assert_eq!(code(&again), 0, "{}", stderr(&again));
    assert!(stderr(&again).contains("the same torrent as magnet:"), "{}", stderr(&again));
}

#[test]
fn where_nothing_can_be_made_ends_with_the_path() {
    let room = Room::new();
    fs::create_dir_all(room.path("source/folder")).unwrap();
    fs::write(room.path("source/folder/a"), noise(1, PIECE)).unwrap();
    let sharing = Sharing::start(&room, &room.text("source/folder"), "127.0.0.1:0", &[]);
    let mut command = starling();
    command.args(["get", &sharing.link, "-o", "/proc", "--no-lan", "--json", "--peer", &sharing.addr]);
    command.args(["--state", &room.text("s"), "--listen", "127.0.0.1:0"]);
    let mut got = Run::start(&mut command);
    got.until(|value| {
        assert!(value["state"] != "paused", "it waits for what cannot come: {value}");
        (value["event"] == "failed").then_some(())
    });
    let (status, _, said) = got.end();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("cannot create /proc/folder"), "{said}");
}

/// What boundary pieces bring of files that nobody wants yet lies in a file of its own, moves
/// where it belongs when all is wanted, and leaves nothing behind.
#[test]
fn the_parts_file_goes_when_all_is_fetched() {
    let room = Room::new();
    fs::create_dir_all(room.path("source/folder")).unwrap();
    let (a, b) = (noise(1, PIECE + 100), noise(2, 3 * PIECE));
    fs::write(room.path("source/folder/a"), &a).unwrap();
    fs::write(room.path("source/folder/b"), &b).unwrap();
    fs::write(room.path("source/folder/c"), b"").unwrap();
    let sharing =
        Sharing::start(&room, &room.text("source/folder"), "127.0.0.1:0", &["--piece-length", "64k"]);
    let torrent = room.text("file.torrent");
    let names = || {
        let entries = fs::read_dir(room.path("data")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let (status, _, why) = Run::start(&mut get(&room, &torrent, &sharing.addr, &["--select", "0"])).end();
    assert!(status.success(), "{why}");
    assert!(names()[0].ends_with(".parts"), "{:?}", names());

    let (status, said, why) = Run::start(&mut get(&room, &torrent, &sharing.addr, &[])).end();
    assert!(status.success(), "{why}");
    assert_eq!(names(), ["folder"]);
    assert!(fs::read(room.path("data/folder/a")).unwrap() == a);
    assert!(fs::read(room.path("data/folder/b")).unwrap() == b);
    assert!(fs::read(room.path("data/folder/c")).unwrap().is_empty());
    let downloaded = said.iter().find_map(event("complete")).unwrap()["downloaded"].as_u64().unwrap();
    assert_eq!(downloaded as usize, a.len() + b.len() - 2 * PIECE, "what was there is not fetched again");
    let again = run(&["verify", &torrent, "-o", &room.text("data"), "-q"]);
    assert_eq!(code(&again), 0, "{}", stderr(&again));
}

#[test]
fn an_empty_source_is_called_so() {
    for command in ["get", "seed", "show", "verify"] {
        let output = run(&[command, ""]);
        assert_eq!(code(&output), 1, "{command}");
        assert!(stderr(&output).contains("an empty source"), "{command}: {}", stderr(&output));
    }
}

/// A v2 torrent that a link named has no hashes of pieces, only one of each file.
#[test]
fn without_piece_hashes_a_file_is_right_as_a_whole_or_not() {
    let room = Room::new();
    let mut content = noise(9, 16 * PIECE);
    room.source(&content);
    let torrent = create(&room, "source/file.bin", "file.torrent", &["--v2"]);
    let source = room.text("source");
    let mut bare = Torrent::parse(&fs::read(&torrent).unwrap()).unwrap();
    assert_eq!(std::mem::take(&mut bare.piece_layers).len(), 1);
    fs::write(&torrent, bare.encode()).unwrap();
    let verify = || run(&["verify", &torrent, "-o", &source]);
    assert_eq!(code(&verify()), 0);
    let mut got = starling();
    got.args(["get", &torrent, "-o", &source, "--no-lan", "--json", "--listen", "127.0.0.3:0"]);
    Run::start(got.args(["--state", &room.text("state")])).until(|value| {
        assert!(value["state"] != "downloading", "all of it is there: {value}");
        event("complete")(value)
    });
    let mut seeds = Talking::start(&mut seed(&room, &torrent, &[]));
    let port =
        seeds.until(|line| Some(line.strip_prefix("listening at port ")?.split(';').next()?.to_owned()));
    let mut gets = get(&room, &torrent, &format!("127.0.0.4:{port}"), &[]);
    Run::start(&mut gets).until(event("complete"));
    assert!(fs::read(room.path("data/file.bin")).unwrap() == content, "peers were told the hashes");

    content[PIECE] ^= 1;
    room.source(&content);
    let output = verify();
    assert_eq!(code(&output), 1);
    let said = String::from_utf8(output.stderr).unwrap();
    let sentence =
        "file.bin: does not match, and the torrent has no piece hashes to tell which pieces are wrong";
    assert!(said.contains(sentence) && said.contains("known to be right"), "{said}");
}

/// What is kept of a link says of each piece whether it is right, as the torrent does.
#[test]
fn what_is_kept_of_a_v2_link_has_the_hashes_of_pieces() {
    let room = Room::new();
    let source = room.source(&noise(5, 3 << 20));
    let sharing = Sharing::start(&room, &source, "127.0.0.1:0", &["--v2"]);
    let output = get(&room, &sharing.link, &sharing.addr, &[]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let made = Torrent::parse(&fs::read(room.path("file.torrent")).unwrap()).unwrap();
    let kept = room.path(&format!("state/{}.torrent", made.info.hashes));
    let kept = Torrent::parse(&fs::read(kept).unwrap()).unwrap();
    assert!(!made.piece_layers.is_empty(), "the file has more than one piece");
    assert!(kept.piece_layers == made.piece_layers);
}

/// The state folder knows what was fetched, from a link or from a torrent file.
#[test]
fn a_link_to_what_was_fetched_by_torrent_file_is_enough_to_seed_it() {
    let room = Room::new();
    let sharing = Sharing::start(&room, &room.source(&noise(6, 1 << 20)), "127.0.0.1:0", &[]);
    let output = get(&room, &room.text("file.torrent"), &sharing.addr, &[]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let link = sharing.link.clone();
    drop(sharing);
    let mut seed = starling();
    seed.args(["seed", &link, "-o", &room.text("data"), "--state", &room.text("state")]);
    let mut seed = Run::start(seed.args(["--no-lan", "--json", "--listen", "127.0.0.1:0"]));
    seed.until(|value| (value["state"] == "seeding").then_some(()));
}
