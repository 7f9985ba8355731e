//! What befalls a transfer from outside: interrupts, a seeder that restarts, a full disk,
//! two processes that know nothing of each other.

#![allow(clippy::unwrap_used)] // a test may panic, helpers included

mod common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use common::{
    Room, Run, Sharing, Talking, dressed, event, get, isolated, may_isolate, noise, quoted, starling, web,
};
use rustix::process::Signal;
use serde_json::Value;
use starling_disk::resume::{self, Identity};
use starling_metainfo::Torrent;

const LENGTH: usize = 6 << 20;
const PIECE: u64 = 64 << 10;
const PIECE_SMALL: usize = 16 << 10;

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
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let command = get(&room, &sharing.link, &sharing.addr, &["--down-limit", "2M"]);
        // Under nohup, as these tests may be, a hangup would be ignored.
        let mut plain = dressed(Command::new("env"));
        plain.arg("--default-signal=HUP").arg(command.get_program()).args(command.get_args());
        let mut run = Run::start(&mut plain);
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

/// Somebody cuts the file that is being seeded: what is gone is given to nobody, what is left to
/// whoever asks, and a thousand lost pieces are no thousand lines.
#[test]
fn a_file_is_cut_under_its_seeder() {
    let room = Room::new();
    let pieces: usize = 400;
    let content = noise(5, pieces * PIECE_SMALL);
    let file = room.source(&content);
    let torrent = room.text("file.torrent");
    let made = starling().args(["create", &file, "-o", &torrent, "--piece-length", "16k"]).output().unwrap();
    assert!(made.status.success());
    let mut command = starling();
    command.args(["seed", &torrent, "-o", &room.text("source"), "--no-lan", "--listen", "127.0.0.2:0"]);
    command.args(["--state", &room.text("sharing")]);
    let mut seed = Talking::start(&mut command);
    let port_of = |line: &str| Some(line.split_once("listening at port ")?.1.split_once(';')?.0.to_owned());
    let port = seed.until(port_of);
    seed.until(|line| line.contains("seeding,").then_some(()));
    let left = 100;
    fs::File::options().write(true).open(&file).unwrap().set_len((left * PIECE_SMALL) as u64).unwrap();
    let mut run = Run::start(&mut get(&room, &torrent, &format!("127.0.0.2:{port}"), &[]));
    run.until(|value| (value["pieces"] == left && value["seeds"] == 0).then_some(()));
    let lost = seed.until(|line| line.contains("changed on disk").then(|| line.to_owned()));
    assert!(lost.contains("file.bin: piece "), "the first one is named: {lost}");
    run.signal(Signal::INT);
    let (status, _, stderr) = run.end();
    assert_eq!(status.code(), Some(130), "{stderr}");
    let rest = seed.end(Signal::INT);
    let lines = rest.lines().filter(|line| line.contains("changed on disk")).count();
    assert!(lines < 30, "{rest}");
    assert!(rest.contains("more pieces have changed on disk"), "{rest}");
    let found = fs::read(room.path("data/file.bin")).unwrap();
    assert!(found == content[..left * PIECE_SMALL]);
}

/// Somebody removes the file while it is fetched: that is no success, whatever was verified.
#[test]
fn a_file_is_removed_under_its_getter() {
    let room = Room::new();
    let file = room.source(&noise(6, LENGTH));
    let sharing = Sharing::start(&room, &file, "127.0.0.2:0", &["--piece-length", "64k"]);
    let mut run = Run::start(&mut get(&room, &sharing.link, &sharing.addr, &["--down-limit", "4M"]));
    run.until(downloading);
    fs::remove_file(room.path("data/file.bin")).unwrap();
    let (status, said, stderr) = run.end();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("data/file.bin was removed or replaced"), "{stderr}");
    assert_eq!(stderr.matches("was removed").count(), 1, "{stderr}");
    assert!(said.iter().all(|value| value["event"] != "complete"), "{said:?}");
    assert_eq!(said.iter().filter(|value| value["event"] == "failed").count(), 1);
}

/// Nothing can be written: the reason is told, once, and nothing else.
#[test]
fn a_folder_that_is_read_only() {
    if !may_isolate("a_folder_that_is_read_only") {
        return;
    }
    let room = Room::new();
    let content = noise(7, LENGTH);
    let file = room.source(&content);
    let torrent = room.text("file.torrent");
    let made = starling().args(["create", &file, "-o", &torrent, "--piece-length", "64k"]).output().unwrap();
    assert!(made.status.success());
    fs::create_dir_all(room.path("data")).unwrap();
    let server = web::serve(move |range| web::Answer::Stalls(content[range].to_vec(), 128 << 10));
    let mut command = isolated(
        "-m",
        &format!("mount -t tmpfs -o ro none {}; timeout 60 \"$@\"", quoted(&room.path("data"))),
    );
    let url = format!("http://{server}/file.bin");
    command.args(["sh", starling().get_program().to_str().unwrap(), "get", &torrent, "-o"]);
    command.args([&room.text("data"), "--no-lan", "--listen", "127.0.0.3:0", "--web-seed", &url]);
    let output = command.args(["--state", &room.text("state")]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("Read-only file system").count(), 1, "{said}");
    assert!(!said.contains("cancelled") && !said.contains(&url), "{said}");
}

/// The only source turns out to be none: it is counted no more, and that nobody is left is said
/// once, with what was tried.
#[test]
fn nobody_has_it() {
    let room = Room::new();
    let file = room.source(&noise(8, 300_000));
    let torrent = room.text("file.torrent");
    let made = starling().args(["create", &file, "-o", &torrent]).output().unwrap();
    assert!(made.status.success());
    let server = web::serve(|_| web::Answer::NotFound);
    let url = format!("http://{server}/file.bin");
    let tracker = format!("http://{server}/announce");
    let sources = ["--web-seed", &url, "--tracker", &tracker];
    let mut run = Run::start(&mut get(&room, &torrent, "", &sources));
    let mut terminal = starling();
    terminal.args(["get", &torrent, "--no-lan", "--listen", "127.0.0.4:0"]).args(sources);
    terminal.args(["-o", &room.text("elsewhere"), "--state", &room.text("other")]);
    let mut terminal = Talking::start(&mut terminal);
    let sentence = "nobody to get it from: 1 web seed and 1 tracker failed; waiting for somebody who has it";
    let alone = run.until(event("alone"));
    assert_eq!(alone["why"], sentence);
    let next = run.until(event("progress"));
    assert_eq!((&next["web_seeds"], &next["peers"]), (&0.into(), &0.into()), "{next}");
    let said = terminal.until(|line| line.contains("nobody").then(|| line.to_owned()));
    assert_eq!(said, format!("file.bin: {sentence}"));
    run.signal(Signal::INT);
    assert_eq!(run.end().0.code(), Some(130));
    terminal.end(Signal::INT);
}

/// `-v` tells what a tracker answers, once.
#[test]
fn a_tracker_is_quoted_once() {
    let room = Room::new();
    let file = room.source(&noise(9, 300_000));
    let server =
        web::serve(|_| web::Answer::Text("d8:completei1e10:incompletei0e8:intervali1800e5:peers0:e"));
    let tracker = format!("http://{server}/announce");
    let mut command = starling();
    command.args(["share", &file, "--no-lan", "-v", "--listen", "127.0.0.2:0", "--tracker", &tracker]);
    let mut share = Talking::start(command.args(["--state", &room.text("sharing")]));
    let told = share.until(|line| line.contains("1 seed, 0 others").then(|| line.to_owned()));
    assert_eq!(told, format!("{tracker}: 1 seed, 0 others"));
    let rest = share.end(Signal::INT);
    assert!(!rest.contains("announce"), "{rest}");
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
