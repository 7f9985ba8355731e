//! kill -9 in the middle of a download, two hundred times: no wrong byte, no piece claimed
//! that is not there, and at most what was in flight is fetched again.

#![allow(clippy::unwrap_used)] // a test may panic, helpers included

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::{Random, Room, Run, Sharing, get, noise, starling};
use serde_json::Value;
use starling_disk::resume::{self, Identity};
use starling_metainfo::{Bitfield, Torrent};

const KILLS: u32 = 200;
const LENGTH: usize = 8 << 20;
const PIECE: usize = 64 << 10;
/// Bytes a second: a download outlasts about twenty lives.
const RATE: &str = "4M";
/// What may be under way when a process dies: pieces that were begun, and requests that
/// were sent and not answered; together this many bytes, on average over all kills.
const IN_FLIGHT_MAX: u64 = 4 * PIECE as u64;

struct Scene {
    room: Room,
    content: Vec<u8>,
    torrent: Torrent,
    sharing: Sharing,
}

impl Scene {
    fn new() -> Scene {
        let room = Room::new();
        let content = noise(11, LENGTH);
        let file = room.source(&content);
        let sharing = Sharing::start(&room, &file, "127.0.0.2:0", &["--piece-length", "64k"]);
        let torrent = Torrent::parse(&fs::read(room.path("file.torrent")).unwrap()).unwrap();
        Scene { room, content, torrent, sharing }
    }

    fn get(&self) -> Run {
        let torrent = self.room.text("file.torrent");
        Run::start(&mut get(&self.room, &torrent, &self.sharing.addr, &["--down-limit", RATE]))
    }

    /// The pieces that the resume file claims, each of which must be right on disk.
    fn claimed(&self) -> Bitfield {
        let info = &self.torrent.info;
        let mut claimed = Bitfield::new(info.layout.pieces());
        let Ok(entries) = fs::read_dir(self.room.path("state")) else { return claimed };
        let mut files = entries.map(|entry| entry.unwrap().path());
        let Some(path) = files.find(|path| path.extension().is_some_and(|e| e == "resume")) else {
            return claimed;
        };
        let bytes = fs::read(path).unwrap();
        if bytes.is_empty() {
            return claimed;
        }
        let resume =
            resume::parse(&bytes, &Identity::of(info)).expect("a crash must not damage the resume file");
        claimed.clone_from(&resume.synced);
        for piece in &resume.unsynced {
            claimed.insert(*piece);
        }
        let data = fs::read(self.room.path("data/file.bin")).unwrap_or_default();
        for piece in claimed.iter() {
            let start = piece as usize * PIECE;
            let range = start..(start + PIECE).min(LENGTH);
            assert!(
                data.get(range.clone()) == Some(&self.content[range]),
                "piece {piece} is claimed and wrong"
            );
        }
        claimed
    }

    /// All is there; the next download begins with nothing.
    fn complete(&self) {
        assert!(fs::read(self.room.path("data/file.bin")).unwrap() == self.content, "wrong bytes");
        fs::remove_dir_all(self.room.path("data")).unwrap();
        fs::remove_dir_all(self.room.path("state")).unwrap();
    }

    /// Payload bytes that the seed has sent so far, once it says so after now.
    fn sent(&mut self) -> u64 {
        self.sharing.run.said();
        let uploaded = |value: &Value| value["uploaded"].as_u64();
        self.sharing.run.until(uploaded);
        self.sharing.run.until(uploaded)
    }
}

#[test]
fn kill_9_at_200_random_moments() {
    let mut scene = Scene::new();
    let mut random = Random(7);
    let (mut kills, mut lives, mut completions, mut most) = (0, 0u32, 0u64, 0);
    let mut before = scene.claimed();
    while kills < KILLS {
        lives += 1;
        assert!(lives < 5 * KILLS, "hardly ever killed in time");
        let mut run = scene.get();
        if random.below(2) == 0 {
            // From the moment it knows what it has; the others at any moment of its start.
            // It may find everything verified already, and be done without a word of progress.
            let ready = |value: &Value| value["state"] == "downloading" || value["event"] == "complete";
            let told = run.until(|value| ready(value).then(|| value["pieces"].as_u64()));
            let kept = told.is_none_or(|pieces| pieces >= before.count().into());
            assert!(kept, "{told:?} pieces found of {} verified", before.count());
        }
        let until = Instant::now() + Duration::from_millis(random.below(150));
        std::thread::sleep(until.saturating_duration_since(Instant::now())); // the moment is the input
        if run.kill() {
            kills += 1;
            let now = scene.claimed();
            let lost: Vec<u32> = before.iter().filter(|piece| !now.get(*piece)).collect();
            assert!(lost.is_empty(), "kill {kills}: pieces {lost:?} were verified and are forgotten");
            before = now;
            most = most.max(before.count());
        } else {
            completions += 1;
            scene.complete();
            before = scene.claimed();
        }
    }
    // More than one life can fetch: they build on each other.
    assert!(most as usize > LENGTH / PIECE / 2, "never more than {most} pieces were on record");
    let (status, _, stderr) = scene.get().end();
    assert!(status.success(), "{stderr}");
    scene.complete();
    completions += 1;
    let needed = completions * LENGTH as u64;
    let sent = scene.sent();
    let again = sent - needed;
    println!(
        "{kills} kills in {lives} lives, {completions} downloads, {} KiB a kill again",
        again / 1024 / u64::from(kills)
    );
    assert!(again <= u64::from(kills) * IN_FLIGHT_MAX, "{again} bytes were fetched again");
}

#[test]
fn a_second_get_into_the_same_folder_is_refused() {
    let room = Room::new();
    let file = room.source(&noise(12, LENGTH));
    let sharing = Sharing::start(&room, &file, "127.0.0.2:0", &["--piece-length", "64k"]);
    let torrent = room.text("file.torrent");
    let mut first = Run::start(&mut get(&room, &torrent, &sharing.addr, &["--down-limit", RATE]));
    first.until(|value| value["pieces"].as_u64().filter(|pieces| *pieces > 0));
    let (other, folder) = (room.text("other"), room.text("data"));
    let mut again = starling();
    again.args(["get", &torrent, "--no-lan", "--peer", &sharing.addr, "-o", &folder, "--state", &other]);
    let (status, _, stderr) = Run::start(&mut again).end();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("is being written already") && stderr.contains(&folder), "{stderr}");
    assert!(first.kill(), "the first was to be at it still");
    // The one that was killed keeps nobody out, and leaves nothing behind when another is done.
    let (status, _, stderr) = Run::start(&mut again).end();
    assert!(status.success(), "{stderr}");
    let names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file.bin"]);
}

#[test]
fn two_torrents_of_one_name_do_not_mix() {
    let rooms = [Room::new(), Room::new()];
    let contents = [13, 14].map(|seed| noise(seed, LENGTH));
    let sharing = [0, 1].map(|at| {
        let file = rooms[at].source(&contents[at]);
        Sharing::start(&rooms[at], &file, &format!("127.0.0.{}:0", 5 + at), &["--piece-length", "64k"])
    });
    let torrents = [0, 1].map(|at| rooms[at].text("file.torrent"));
    let fetch = |sources: &[&str], more: &[&str]| {
        let mut command = get(&rooms[0], sources[0], &sharing[0].addr, &["--peer", &sharing[1].addr]);
        Run::start(command.args(&sources[1..]).args(more)).end()
    };
    // Both at once: one is fetched, the other refused.
    let (status, _, stderr) = fetch(&[&torrents[0], &torrents[1]], &[]);
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("is being written already"), "{stderr}");
    let path = rooms[0].path("data/file.bin");
    let found = fs::read(&path).unwrap();
    let which = contents.iter().position(|content| *content == found).expect("a mixture of both");
    // One after the other: what is there stays, until it is said that it may go.
    let other = &torrents[1 - which];
    let (status, _, stderr) = fetch(&[other], &[]);
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("no piece of the torrent is known to be in it"), "{stderr}");
    assert!(fs::read(&path).unwrap() == found);
    let (status, _, stderr) = fetch(&[other], &["--overwrite"]);
    assert!(status.success(), "{stderr}");
    assert!(fs::read(&path).unwrap() == contents[1 - which]);
}
