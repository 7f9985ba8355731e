//! The command line as a contract: exit codes, what goes to stdout and what to stderr,
//! JSON, and the everyday commands from one end to the other on loopback.

#![allow(clippy::unwrap_used)] // a test may panic, helpers included

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Output, Stdio};

use common::{Room, Run, Sharing, code, event, get, noise, run, starling, stderr, stdout};
use rustix::process::Signal;
use serde_json::Value;

const MIB: usize = 1 << 20;

/// Every line of stdout as JSON.
fn objects(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A room with a file of a MiB at `source/file.bin` and its torrent at `file.torrent`.
fn room_with_torrent() -> (Room, Vec<u8>) {
    let room = Room::new();
    let content = noise(3, MIB);
    let file = room.source(&content);
    assert_eq!(code(&run(&["create", &file, "-o", &room.text("file.torrent")])), 0);
    (room, content)
}

#[test]
fn wrong_usage_is_2_and_says_so_on_stderr_alone() {
    let wrong: [&[&str]; 10] = [
        &[],
        &["bogus"],
        &["get"],
        &["share", "--bogus", "x"],
        &["get", "x", "--peer", "nowhere"],
        &["get", "x", "--select", "3-1"],
        &["get", "x", "--listen", "here"],
        &["get", "x", "--down-limit", "fast"],
        &["create", "x", "-o", "y", "--piece-length", "17k"],
        &["create", "x", "-o", "y", "--tracker", "y"],
    ];
    for args in wrong {
        let output = run(args);
        assert_eq!((code(&output), stdout(&output).as_str()), (2, ""), "{args:?}");
        assert!(!stderr(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn help_and_version_are_on_stdout() {
    let commands = ["share", "get", "seed", "create", "show", "verify", "sim", "completions", "man"];
    for command in commands {
        let output = run(&[command, "--help"]);
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{command}");
        assert!(stdout(&output).contains("Usage: starling"), "{command}");
    }
    assert!(stdout(&run(&["--version"])).starts_with("starling "));
}

#[test]
fn a_manual_page_names_the_values_of_its_flags() {
    let room = Room::new();
    assert_eq!(code(&run(&["man", &room.text("man")])), 0);
    let synopsis = |page: &str| {
        let text = fs::read_to_string(room.path(&format!("man/{page}.1"))).unwrap().replace('\\', "");
        let lines = text.lines().skip_while(|line| *line != ".SH SYNOPSIS");
        lines.skip(1).take_while(|line| !line.starts_with(".SH")).collect::<Vec<_>>().join(" ")
    };
    let get = synopsis("starling-get");
    for part in ["[-o DIR]", "[--select LIST]", "[--peer HOST:PORT]...", "[-v]...", " SOURCE..."] {
        assert!(get.contains(part), "{part}: {get}");
    }
    let create = synopsis("starling-create");
    assert!(create.contains(" -o FILE") && !create.contains("[-o FILE]"), "{create}");
    assert!(synopsis("starling-show").contains("[--fetch [SECONDS]]"), "{}", synopsis("starling-show"));
    assert!(synopsis("starling").contains("COMMAND"), "{}", synopsis("starling"));
}

#[test]
fn a_failure_is_1_with_one_sentence_and_an_error_object() {
    let room = Room::new();
    let none = room.text("none");
    let failing: [&[&str]; 7] = [
        &["share", &none],
        &["create", &none, "-o", &room.text("t")],
        &["get", &none, "-o", &room.text("d")],
        &["seed", &none],
        &["show", &none],
        &["verify", &none],
        &["show", "magnet:?dn=nothing"],
    ];
    for args in failing {
        let output = run(args);
        assert_eq!((code(&output), stdout(&output).as_str()), (1, ""), "{args:?}");
        let said = stderr(&output);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("starling: ") && !said.contains("os error"), "{said}");
        let objects = objects(&run(&[args, &["--json"]].concat()));
        assert_eq!(objects.last().unwrap()["event"], "error", "{args:?}");
    }
}

#[test]
fn create_prints_the_link_that_show_prints_too() {
    let (room, _) = room_with_torrent();
    let (file, torrent) = (room.text("source/file.bin"), room.text("file.torrent"));
    let again = run(&["create", &file, "-o", &torrent]);
    assert_eq!(code(&again), 1, "an existing file is not replaced");
    let created = run(&["create", &file, "-o", &torrent, "--force"]);
    let link = stdout(&created);
    assert!(link.starts_with("magnet:?xt=urn:btih:") && link.lines().count() == 1, "{link}");
    assert!(stdout(&run(&["show", &torrent])).contains(link.trim()));
    let shown = objects(&run(&["show", &torrent, "--json"]));
    assert_eq!(shown.len(), 1);
    assert_eq!((&shown[0]["name"], &shown[0]["bytes"]), (&Value::from("file.bin"), &Value::from(MIB)));
    let of_link = objects(&run(&["show", link.trim(), "--json"]));
    assert_eq!(of_link[0]["info_hash_v1"], shown[0]["info_hash_v1"]);
    assert_eq!(fs::read_dir(room.path("source")).unwrap().count(), 1, "nothing is left beside the data");
}

/// Some clients know v1 alone, and cannot read a hybrid torrent.
#[test]
fn what_is_made_is_v1_unless_another_kind_is_asked_for() {
    let room = Room::new();
    let file = room.source(&noise(3, MIB));
    let made = |kind: &[&str]| {
        let torrent = room.text("kind.torrent");
        let args = [&["create", &file, "-o", &torrent, "--force", "--json"], kind].concat();
        let said = objects(&run(&args));
        let created = said.iter().find_map(event("created")).unwrap();
        let link = created["link"].as_str().unwrap().to_owned();
        let names = [!created["info_hash_v1"].is_null(), !created["info_hash_v2"].is_null()];
        assert_eq!([link.contains("urn:btih:"), link.contains("urn:btmh:")], names, "{link}");
        names
    };
    assert_eq!(made(&[]), [true, false]);
    assert_eq!(made(&["--v1"]), [true, false]);
    assert_eq!(made(&["--v2"]), [false, true]);
    assert_eq!(made(&["--hybrid"]), [true, true]);
    assert_eq!(made(&["--version", "hybrid"]), [true, true]);
    let sharing = Sharing::start(&room, &file, "127.0.0.1:0", &[]);
    assert!(sharing.link.starts_with("magnet:?xt=urn:btih:"), "{}", sharing.link);
    assert!(!sharing.link.contains("btmh"), "{}", sharing.link);
}

#[test]
fn create_on_stdout_writes_the_torrent_and_nothing_else() {
    let (room, _) = room_with_torrent();
    let output = run(&["create", &room.text("source/file.bin"), "-o", "-"]);
    assert_eq!(code(&output), 0);
    fs::write(room.path("piped.torrent"), &output.stdout).unwrap();
    assert_eq!(code(&run(&["verify", &room.text("piped.torrent"), "-o", &room.text("source")])), 0);
}

#[test]
fn a_torrent_of_many_files_is_listed_to_a_bound() {
    let room = Room::new();
    fs::create_dir(room.path("many")).unwrap();
    for n in 0..300 {
        fs::write(room.path(&format!("many/{n:03}")), [1]).unwrap();
    }
    let torrent = room.text("many.torrent");
    assert_eq!(code(&run(&["create", &room.text("many"), "-o", &torrent])), 0);
    let short = stdout(&run(&["show", &torrent]));
    assert!(short.contains("and 200 more files") && !short.contains(" 299 "), "{short}");
    let long = stdout(&run(&["show", &torrent, "-v"]));
    assert!(long.contains(" 299 ") && !long.contains("more files"), "{long}");
}

#[test]
fn verify_is_0_for_complete_and_1_with_what_is_wrong() {
    let (room, mut content) = room_with_torrent();
    let (torrent, source) = (room.text("file.torrent"), room.text("source"));
    let verify = |more: &[&str]| run(&[&["verify", &torrent, "-o", &source], more].concat());
    let whole = verify(&[]);
    assert_eq!((code(&whole), stdout(&whole).as_str()), (0, ""));
    assert!(stderr(&whole).contains("complete"));
    content[MIB / 2] ^= 1;
    room.source(&content);
    let broken = verify(&[]);
    assert_eq!(code(&broken), 1);
    assert!(stderr(&broken).contains("file.bin: 1 of "), "{}", stderr(&broken));
    assert_eq!(stderr(&verify(&["-q"])), "");
    let objects = objects(&verify(&["--json"]));
    assert_eq!((&objects[0]["event"], &objects[0]["complete"]), (&"verified".into(), &false.into()));
    fs::remove_file(room.path("source/file.bin")).unwrap();
    assert!(stderr(&verify(&[])).contains("missing"));
}

#[test]
fn share_then_get_by_link_then_the_second_run_is_done_at_once() {
    let room = Room::new();
    let content = noise(5, 3 * MIB + 17);
    let sharing = Sharing::start(&room, &room.source(&content), "127.0.0.1:0", &[]);
    let (status, said, _) = Run::start(&mut get(&room, &sharing.link, &sharing.addr, &[])).end();
    assert_eq!(status.code(), Some(0));
    assert_eq!(fs::read(room.path("data/file.bin")).unwrap(), content);
    let complete = said.iter().find_map(event("complete")).unwrap();
    assert_eq!(complete["bytes"], content.len());
    assert_eq!(said.last().unwrap()["event"], "result");
    assert_eq!(said.last().unwrap()["code"], 0);

    let link = sharing.link.clone();
    drop(sharing);
    let again = starling()
        .args(["get", &link, "--no-lan", "--listen", "127.0.0.1:0"])
        .args(["-o", &room.text("data"), "--state", &room.text("state")])
        .output()
        .unwrap();
    assert_eq!((code(&again), stdout(&again).as_str()), (0, ""));
    assert!(stderr(&again).contains("complete, 3.0 MiB verified"), "{}", stderr(&again));
}

/// However short it was.
#[test]
fn who_gave_is_counted_in_the_end() {
    let room = Room::new();
    let sharing = Sharing::start(&room, &room.source(&noise(5, 1000)), "127.0.0.1:0", &[]);
    for source in [&sharing.link, &room.text("file.torrent")] {
        let data = room.text("got");
        let got = starling()
            .args(["get", source, "--no-lan", "--listen", "127.0.0.3:0", "--peer", &sharing.addr])
            .args(["-o", &data, "--state", &room.text("state")])
            .output()
            .unwrap();
        assert_eq!(code(&got), 0);
        assert!(stderr(&got).contains("/s, from 1 peer\n"), "{}", stderr(&got));
        fs::remove_dir_all(data).unwrap();
    }
}

#[test]
fn share_prints_the_link_alone_and_outlives_who_reads_it() {
    let room = Room::new();
    let file = room.source(&noise(6, MIB));
    let mut command = starling();
    command.args(["share", &file, "--no-lan", "--listen", "127.0.0.1:0", "--state", &room.text("state")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut link = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut link).unwrap(); // and closes the pipe
    assert!(link.starts_with("magnet:?") && link.contains("x.pe=127.0.0.1:"), "{link}");
    let (status, said, _) = Run::start(&mut get(&room, link.trim(), "", &[])).end();
    assert_eq!(status.code(), Some(0), "{said:?}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(text.contains("sharing file.bin (1.0 MiB)") && text.contains("stopped sharing"), "{text}");
}

#[test]
fn names_that_others_cannot_have_are_told_and_their_data_is_found() {
    let room = Room::new();
    let content = noise(8, MIB);
    fs::create_dir_all(room.path("source/aux")).unwrap();
    for name in ["a", "A", "red\u{1b}[31m", "x?1", "x?2"] {
        fs::write(room.path("source/aux").join(name), &content).unwrap();
    }
    let torrent = room.text("aux.torrent");
    let created = run(&["create", &room.text("source/aux"), "-o", &torrent]);
    assert_eq!(code(&created), 0);
    let said = stderr(&created);
    for sentence in ["aux will be _aux ", "aux/a will be a (2) ", "[31m will be red_[31m "] {
        assert!(said.contains(sentence), "{said}");
    }
    assert!(said.matches("will be").count() == 5 && !said.contains('\u{1b}'), "{said}");
    assert_eq!(code(&run(&["verify", &torrent, "-o", &room.text("source")])), 0);

    // Shared from where it is, fetched under the safe names, and told to programs.
    let mut share = starling();
    share.args(["share", &room.text("source/aux"), "--no-lan", "--json", "--listen", "127.0.0.1:0"]);
    let mut sharing = Run::start(share.args(["--state", &room.text("sharing")]));
    let link = sharing.until(event("link"));
    assert_eq!(link["renamed"][0]["path"], "aux");
    assert_eq!(link["renamed"][0]["as"], "_aux");
    let peer = link["listen"].as_str().unwrap();
    let (status, said, _) = Run::start(&mut get(&room, link["link"].as_str().unwrap(), peer, &[])).end();
    assert_eq!(status.code(), Some(0), "{said:?}");
    for name in ["a (2)", "A", "red_[31m"] {
        assert!(fs::read(room.path("data/_aux").join(name)).unwrap() == content, "{name}");
    }
    // And seeded again by its maker, who has no other copy.
    let mut seed = starling();
    seed.args(["seed", &torrent, "-o", &room.text("source"), "--no-lan", "--json"]);
    let mut seeding = Run::start(seed.args(["--listen", "127.0.0.1:0", "--state", &room.text("seeding")]));
    seeding.until(|value| (value["state"] == "seeding").then_some(()));
    assert_eq!(fs::read_dir(room.path("source")).unwrap().count(), 1, "something was made beside the data");
}

#[test]
fn an_interrupt_is_130_and_the_same_command_carries_on() {
    let room = Room::new();
    let content = noise(7, 4 * MIB);
    let sharing = Sharing::start(&room, &room.source(&content), "127.0.0.1:0", &["--piece-length", "64k"]);
    let mut slow = Run::start(&mut get(&room, &sharing.link, &sharing.addr, &["--down-limit", "1M"]));
    slow.until(|value| value["pieces"].as_u64().filter(|pieces| *pieces > 3));
    slow.signal(Signal::TERM);
    let (status, said, _) = slow.end();
    assert_eq!(status.code(), Some(130));
    let result = said.last().unwrap();
    assert_eq!((&result["event"], &result["result"]), (&"result".into(), &"interrupted".into()));
    let (status, said, _) = Run::start(&mut get(&room, &sharing.link, &sharing.addr, &[])).end();
    assert_eq!(status.code(), Some(0));
    let downloaded = said.iter().find_map(event("complete")).unwrap()["downloaded"].as_u64().unwrap();
    assert!(downloaded < 4 * MIB as u64, "{downloaded} bytes are all of it again");
    assert_eq!(fs::read(room.path("data/file.bin")).unwrap(), content);
}

#[test]
fn an_interrupt_while_hashing_is_130_and_leaves_nothing() {
    let room = Room::new();
    // Sparse: much to hash, nothing on disk.
    fs::File::create(room.path("large")).unwrap().set_len(1 << 40).unwrap();
    for command in [&["create"][..], &["share", "--no-lan"]] {
        let mut command_line = starling();
        command_line.args(command).arg(room.path("large")).args([
            "--json",
            "-o",
            &room.text("large.torrent"),
        ]);
        let mut hashing = Run::start(&mut command_line);
        hashing.until(|value| (value["state"] == "hashing").then_some(()));
        hashing.signal(Signal::INT);
        let (status, said, _) = hashing.end();
        assert_eq!(status.code(), Some(130), "{command:?}");
        assert_eq!(said.last().unwrap()["result"], "interrupted");
        assert_eq!(fs::read_dir(room.path("")).unwrap().count(), 1, "{command:?}");
    }
}

#[test]
fn seed_serves_what_is_complete_and_refuses_what_is_another_file() {
    let (room, content) = room_with_torrent();
    let (torrent, source) = (room.text("file.torrent"), room.text("source"));
    let seed = |listen: &str| {
        let mut command = starling();
        command.args(["seed", &torrent, "-o", &source, "--no-lan", "--json", "--state", &room.text("s")]);
        command.args(["--listen", listen]);
        command
    };
    let peer = free_port();
    let mut seeding = Run::start(&mut seed(&peer));
    let complete = seeding.until(event("complete"));
    assert_eq!((&complete["bytes"], &complete["downloaded"]), (&MIB.into(), &0.into()));
    let (status, _, _) = Run::start(&mut get(&room, &torrent, &peer, &[])).end();
    assert_eq!(status.code(), Some(0));
    assert_eq!(fs::read(room.path("data/file.bin")).unwrap(), content);
    seeding.signal(Signal::INT);
    assert_eq!(seeding.end().0.code(), Some(130));

    room.source(&noise(4, MIB / 2));
    let output = seed("127.0.0.1:0").output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("nothing to seed"), "{}", stderr(&output));
    assert_eq!(fs::metadata(room.path("source/file.bin")).unwrap().len(), MIB as u64 / 2, "it was touched");
}

/// An address nobody listens at. Another process could take it first; then the test fails
/// with that reason.
fn free_port() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_port_in_use_is_named() {
    let (room, _) = room_with_torrent();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let output = run(&["get", &room.text("file.torrent"), "-o", &room.text("data"), "--listen", &addr]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains(&addr), "{}", stderr(&output));
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(&["completions", shell]));
        assert!(script.contains("starling") && script.contains("verify"), "{shell}");
    }
    let room = Room::new();
    assert_eq!(code(&run(&["man", &room.text("man")])), 0);
    for page in ["starling", "starling-share", "starling-get", "starling-verify"] {
        let text = fs::read_to_string(room.path(&format!("man/{page}.1"))).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH OPTIONS"), "{page}");
    }
}

/// An HTTP tracker that answers every request with `body`; its announce address.
fn tracker(body: &'static [u8]) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                stream.read_line(&mut line).unwrap();
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let stream = stream.get_mut();
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).unwrap();
        }
    });
    format!("http://{addr}/announce")
}

#[test]
fn show_asks_trackers_for_the_numbers_of_a_swarm() {
    let link = "magnet:?xt=urn:btih:3030303030303030303030303030303030303030&tr=";
    let knows =
        tracker(b"d5:filesd20:00000000000000000000d8:completei1234e10:downloadedi5e10:incompletei1eeee");
    let refuses = tracker(b"d14:failure reason9:not todaye");
    let quiet = ["-q", "--no-lan", "--listen", "127.0.0.1:0"];
    let show = |link: &str, more: &[&str]| run(&[&["show", link, "--scrape"], &quiet[..], more].concat());

    let both = show(&format!("{link}{refuses}"), &["--tracker", &knows]);
    assert_eq!((code(&both), stderr(&both).as_str()), (0, ""));
    let said = stdout(&both);
    assert!(said.contains(&format!("1,234 seeds, 1 leecher, downloaded 5 times ({knows})")), "{said}");
    assert!(said.contains(&format!("the tracker refused: not today ({refuses})")), "{said}");
    let told = objects(&show(&format!("{link}{refuses}"), &["--json", "--tracker", &knows]));
    assert_eq!(told[0]["event"], "magnet");
    assert_eq!((&told[1]["event"], &told[1]["seeds"]), (&"scrape".into(), &Value::Null));
    assert_eq!(told[1]["why"], "the tracker refused: not today");
    assert_eq!(
        (&told[2]["seeds"], &told[2]["leechers"], &told[2]["completed"]),
        (&1234.into(), &1.into(), &5.into())
    );
    assert_eq!((&told[2]["tracker"], &told[2]["why"]), (&knows.as_str().into(), &Value::Null));

    let alone = show(&format!("{link}{refuses}"), &[]);
    assert_eq!(code(&alone), 1);
    assert!(stderr(&alone).contains("no tracker told"), "{}", stderr(&alone));
    let none = show(link.trim_end_matches("&tr="), &[]);
    assert_eq!(code(&none), 1);
    assert!(stderr(&none).contains("no tracker to ask"), "{}", stderr(&none));
}

#[test]
fn details_of_a_magnet_are_for_people() {
    let room = Room::new();
    let file = room.source(&noise(7, 3 << 20));
    let sharing = Sharing::start(&room, &file, "127.0.0.2:0", &["--piece-length", "16k"]);
    let output = get(&room, &sharing.link, &sharing.addr, &["-vv"]).output().unwrap();
    assert_eq!(code(&output), 0);
    let said = stderr(&output);
    let longest = said.lines().map(str::len).max().unwrap();
    assert!(said.contains("metadata") && longest < 300, "a line of {longest} bytes");
}
