//! Torrents of more files than the program may have open.

#![allow(clippy::unwrap_used)] // a test may panic, helpers included

mod common;

use std::fs;
use std::process::Command;

use common::{Room, Run, dressed, event, get, noise, starling};
use serde_json::Value;

/// The same command where `ulimit` says so.
fn limited(ulimit: &str, command: &Command) -> Command {
    let mut shell = dressed(Command::new("sh"));
    shell.args(["-c", &format!("ulimit {ulimit} && exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args());
    shell
}

fn starling_with(args: &[&str]) -> Command {
    let mut command = starling();
    command.args(args);
    command
}

#[test]
fn every_command_takes_more_files_than_it_may_open() {
    let room = Room::new();
    fs::create_dir(room.path("many")).unwrap();
    for n in 0..300 {
        fs::write(room.path(&format!("many/{n:03}")), noise(n, 1000)).unwrap();
    }
    let (torrent, many) = (room.text("many.torrent"), room.text("many"));
    for version in ["--v1", "--v2"] {
        let done = |command: &Command| {
            let output = limited("-n 64", command).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{version} {command:?}: {said}");
        };
        done(&starling_with(&["create", &many, version, "--force", "-o", &torrent]));
        done(&starling_with(&["verify", &torrent, "-o", &room.text("")]));
        let mut seed = starling_with(&["seed", &torrent, "--no-lan", "--json", "--listen", "127.0.0.1:0"]);
        seed.args(["-o", &room.text(""), "--state", &room.text("seeding")]);
        Run::start(&mut limited("-n 64", &seed)).until(event("complete"));
        let mut share = starling_with(&["share", &many, version, "--no-lan", "--json"]);
        share.args(["--listen", "127.0.0.1:0", "--state", &room.text("sharing")]);
        let mut share = Run::start(&mut limited("-n 64", &share));
        let addr = share.until(|v: &Value| v["listen"].as_str().map(str::to_owned));
        done(&get(&room, &torrent, &addr, &[]));
        done(&starling_with(&["verify", &torrent, "-o", &room.text("data")]));
        fs::remove_dir_all(room.path("data")).unwrap();
        fs::remove_dir_all(room.path("state")).unwrap();
    }
}

#[test]
fn the_limit_is_raised_as_far_as_it_may_be() {
    let room = Room::new();
    let file = room.source(&noise(1, 1000));
    let mut share = starling_with(&["share", &file, "--no-lan", "--json", "--listen", "127.0.0.1:0"]);
    share.args(["-o", &room.text("file.torrent"), "--state", &room.text("state")]);
    let mut share = Run::start(&mut limited("-S -n 64 && ulimit -H -n 200", &share));
    share.until(|v| v["listen"].as_str().map(str::to_owned));
    let limits = fs::read_to_string(format!("/proc/{}/limits", share.pid())).unwrap();
    let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open.split_whitespace().nth(3), Some("200"), "{open}");
}

/// Whoever syncs many files does so side by side, and of new folders too.
#[test]
fn many_folders_are_fetched_with_64_descriptors() {
    let room = Room::new();
    for n in 0..600 {
        let folder = room.path(&format!("many/{}/{n:03}", n / 30));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("file"), noise(n, 1000)).unwrap();
    }
    let (torrent, many) = (room.text("many.torrent"), room.text("many"));
    let mut share = starling_with(&["share", &many, "--no-lan", "--json", "-o", &torrent]);
    share.args(["--listen", "127.0.0.1:0", "--state", &room.text("sharing")]);
    let mut share = Run::start(&mut share);
    let addr = share.until(|v: &Value| v["listen"].as_str().map(str::to_owned));
    let output = limited("-n 64", &get(&room, &torrent, &addr, &[])).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}

#[test]
fn a_limit_that_is_too_low_is_said_before_anything_is_begun() {
    let room = Room::new();
    let hash = |n: usize| format!("{n:040x}");
    let mut many = starling_with(&["get", "--no-lan", "--listen", "127.0.0.1:0", "-o", &room.text("data")]);
    many.args(["--state", &room.text("state")]).args((1..=30).map(hash));
    let mut one = starling_with(&["get", "--no-lan", "--listen", "127.0.0.1:0", "-o", &room.text("data")]);
    one.args(["--state", &room.text("state"), &hash(1)]);
    for (limit, command) in [(64, &many), (40, &one), (24, &one), (12, &one)] {
        let output = limited(&format!("-n {limit}"), command).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{limit}: {said}");
        assert!(said.contains(&limit.to_string()) && said.contains("ulimit"), "{limit}: {said}");
        assert_eq!(said.lines().count(), 1, "{limit}: {said}");
    }
}
