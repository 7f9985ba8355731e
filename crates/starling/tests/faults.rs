//! What befalls a transfer from outside: interrupts, a seeder that restarts, a full disk,
//! two processes that know nothing of each other.

#![allow(clippy::unwrap_used)] // a test may panic, helpers included

mod common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::{Room, Run, Sharing, event, get, isolated, may_isolate, noise, quoted, starling};
use rustix::process::Signal;
use serde_json::Value;
use starling_disk::resume::{self, Identity};
use starling_metainfo::Torrent;

const LENGTH: usize = 6 << 20;
const PIECE: u64 = 64 << 10;

fn downloading(value: &Value) -> Option<u64> {
    value["bytes_done"].as_u64().filter(|done| *done > 0)
}

/// Ctrl-C ends with 130; the same command again carries on without hashing anything, and
/// fetches only what was missing.
#[test]
fn an_interrupt_keeps_what_is_there() {
    let room = Room::new();
    let content = noise(1, LENGTH);
    let file = room.source(&content);
    let sharing = Sharing::start(&room, &file, "127.0.0.2:0", &["--piece-length", "64k"]);
    for signal in [Signal::INT, Signal::TERM] {
        let mut run = Run::start(&mut get(&room, &sharing.link, &sharing.addr, &["--down-limit", "2M"]));
        run.until(downloading);
        run.signal(signal);
        let (status, _, stderr) = run.end();
        assert_eq!(status.code(), Some(130), "{stderr}");
    }
    let path = room.path("data/file.bin");
    let verified = verified(&room);
    let before = verified.len() as u64 * PIECE;
    let at = *verified.first().expect("nothing came before the interrupts") as usize * PIECE as usize;
    spoil_unnoticed(&path, at);
    let (status, said, stderr) = Run::start(&mut get(&room, &sharing.link, &sharing.addr, &[])).end();
    assert!(status.success(), "{stderr}");
    let mut found = fs::read(&path).unwrap();
    assert!(found[at] == content[at] ^ 1, "the data was hashed again after a clean stop");
    found[at] ^= 1;
    assert!(found == content);
    let downloaded = said.iter().find_map(event("complete")).unwrap()["downloaded"].as_u64().unwrap();
    assert_eq!(downloaded, LENGTH as u64 - before, "only what was missing is fetched");
}

/// The pieces that the resume file vouches for after a clean stop.
fn verified(room: &Room) -> Vec<u32> {
    let torrent = Torrent::parse(&fs::read(room.path("file.torrent")).unwrap()).unwrap();
    let mut files = fs::read_dir(room.path("state")).unwrap().map(|entry| entry.unwrap().path());
    let path = files.find(|path| path.extension().is_some_and(|e| e == "resume")).unwrap();
    let resume = resume::parse(&fs::read(path).unwrap(), &Identity::of(&torrent.info)).unwrap();
    assert!(resume.clean.is_some(), "the stop was not clean");
    resume.synced.iter().collect()
}

/// Changes a byte and leaves size and time as they were: only hashing would tell.
fn spoil_unnoticed(path: &Path, at: usize) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at as u64).unwrap();
    file.set_modified(modified).unwrap();
}

/// The seeder is killed in the middle and comes back later: the leecher waits and goes on.
#[test]
fn a_seeder_restarts() {
    let room = Room::new();
    let content = noise(2, LENGTH);
    let file = room.source(&content);
    let first = Sharing::start(&room, &file, "127.0.0.2:0", &[]);
    let addr = first.addr.clone();
    let mut run = Run::start(&mut get(&room, &first.link, &addr, &["--down-limit", "2M"]));
    run.until(downloading);
    assert!(first.run.kill());
    run.until(|value| (value["peers"] == 0).then_some(()));
    let _second = Sharing::start(&room, &file, &addr, &[]);
    let (status, _, stderr) = run.end();
    assert!(status.success(), "{stderr}");
    assert!(fs::read(room.path("data/file.bin")).unwrap() == content);
}

/// A disk that fills up: the transfer pauses and says why; once there is room it goes on by
/// itself, and nothing verified was lost.
#[test]
fn full_disk() {
    if !may_isolate("full_disk") {
        return;
    }
    let room = Room::new();
    let content = noise(3, LENGTH);
    let file = room.source(&content);
    let sharing = Sharing::start(&room, &file, "127.0.0.2:0", &["--piece-length", "64k"]);
    fs::create_dir_all(room.path("data")).unwrap();
    // The mount is in the namespace alone; a fifo outside says when to make room.
    rustix::fs::mkfifoat(rustix::fs::CWD, room.path("go"), rustix::fs::Mode::RWXU).unwrap();
    let (data, go, kept) = (room.path("data"), room.path("go"), room.path("kept"));
    let script = format!(
        "mount -t tmpfs -o size=9m none {data}; dd if=/dev/zero of={data}/ballast bs=1M count=5 2>/dev/null; \
         timeout 80 sh -c \"read line < {go}; rm {data}/ballast\" & \
         code=0; timeout 80 \"$@\" || code=$?; cp {data}/file.bin {kept}; exit $code",
        data = quoted(&data),
        go = quoted(&go),
        kept = quoted(&kept)
    );
    let mut command = isolated("-m", &script);
    let get = get(&room, &sharing.link, &sharing.addr, &[]);
    command.arg("sh").arg(get.get_program()).args(get.get_args());
    let mut run = Run::start(&mut command);
    let why =
        run.until(|v| (v["state"] == "paused").then(|| v["why"].as_str().unwrap_or_default().to_owned()));
    assert!(why.contains("no room"), "the reason should name the lack of room: {why}");
    let before = run.until(|value| value["pieces"].as_u64());
    assert!(before > 0, "some of it fitted");
    fs::write(&go, "go\n").unwrap();
    let (status, said, stderr) = run.end();
    assert!(status.success(), "{stderr}");
    let fewer = said.iter().filter_map(|value| value["pieces"].as_u64()).any(|pieces| pieces < before);
    assert!(!fewer, "verified pieces were lost");
    assert!(fs::read(kept).unwrap() == content);
    let downloaded = said.iter().find_map(event("complete")).unwrap()["downloaded"].as_u64().unwrap();
    assert!(downloaded <= LENGTH as u64 + (1 << 20), "{downloaded} bytes for {LENGTH}");
}

/// Two processes on one machine meet by local discovery alone: a namespace whose only
/// interface is loopback, as a machine without a network has it.
#[test]
fn two_terminals_meet() {
    if !may_isolate("two_terminals_meet") {
        return;
    }
    let room = Room::new();
    let content = noise(4, 300_000);
    let file = room.source(&content);
    let made = starling().args(["create", &file, "-o", &room.text("file.torrent")]).output().unwrap();
    assert!(made.status.success());
    let program = quoted(Path::new(starling().get_program()));
    let script = format!(
        "ip link set lo up; {program} seed {torrent} -o {source} --state {a} -q & \
         code=0; timeout 80 {program} get {torrent} -o {data} --state {b} --json || code=$?; \
         kill -INT $!; wait $! || :; exit $code",
        torrent = quoted(&room.path("file.torrent")),
        source = quoted(&room.path("source")),
        data = quoted(&room.path("data")),
        a = quoted(&room.path("a")),
        b = quoted(&room.path("b")),
    );
    let (status, _, stderr) = Run::start(&mut isolated("-n", &script)).end();
    assert!(status.success(), "{stderr}");
    assert!(fs::read(room.path("data/file.bin")).unwrap() == content);
}
