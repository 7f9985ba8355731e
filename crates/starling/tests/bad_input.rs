//! Whatever is wrong with what the user names: one sentence on stderr, exit code 1; and 2
//! when the command line itself is wrong. Never a panic, never a long wait.

#![allow(clippy::unwrap_used)] // a test may panic, helpers included

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use common::{Room, noise, run};

/// One line that begins with the program's name, and the exit code 1.
fn assert_one_sentence(what: &str, output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{what}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{what}: {stderr}");
    let text = stderr.trim_end().strip_prefix("starling: ");
    assert!(text.is_some_and(|text| text.len() > 10), "{what}: {stderr}");
    assert!(
        !stderr.contains("panicked") && !stderr.chars().any(|c| c != '\n' && c.is_control()),
        "{what}: {stderr}"
    );
    assert!(output.stdout.is_empty(), "{what} said something on stdout");
}

fn assert_refused(what: &str, source: &str, room: &Room) {
    let (data, state) = (room.text("data"), room.text("state"));
    assert_one_sentence(what, &run(&["show", source]));
    let network = ["--listen", "127.0.0.3:0", "--no-lan", "--state", &state];
    assert_one_sentence(what, &run(&[&["get", source, "-o", &data, "-q"][..], &network].concat()));
}

/// A good torrent of each kind, to be spoiled.
fn torrents(room: &Room) -> Vec<Vec<u8>> {
    let file = room.source(&noise(5, 100_000));
    let make = |kind: &str| {
        let path = room.text(kind);
        let made = run(&["create", &file, "-o", &path, "--version", kind, "--piece-length", "16k", "-q"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::read(path).unwrap()
    };
    ["v1", "v2", "hybrid"].map(make).to_vec()
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes());
    let at = at.unwrap_or_else(|| panic!("no `{from}` in the torrent"));
    [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
}

#[test]
fn truncated_torrents() {
    let room = Room::new();
    for (kind, good) in torrents(&room).iter().enumerate() {
        // Everywhere near the ends, and some places between.
        let cuts =
            (0..4).chain((4..good.len() - 4).step_by(good.len() / 8)).chain(good.len() - 4..good.len());
        for cut in cuts {
            fs::write(room.path("cut"), &good[..cut]).unwrap();
            assert_one_sentence(&format!("kind {kind} cut at {cut}"), &run(&["show", &room.text("cut")]));
        }
        fs::write(room.path("cut"), &good[..good.len() / 2]).unwrap();
        assert_refused(&format!("half of kind {kind}"), &room.text("cut"), &room);
    }
}

#[test]
fn corrupt_torrents() {
    let room = Room::new();
    let [v1, v2, hybrid] = &torrents(&room)[..] else { panic!("three kinds") };
    let v1_spoiled = [
        ("a piece length of nothing", "12:piece lengthi16384e", "12:piece lengthi0e"),
        ("a negative piece length", "12:piece lengthi16384e", "12:piece lengthi-16384e"),
        ("a piece length beyond all", "12:piece lengthi16384e", "12:piece lengthi99999999999999999999e"),
        ("a length that overflows", "6:lengthi100000e", "6:lengthi9223372036854775807e"),
        ("a negative length", "6:lengthi100000e", "6:lengthi-1e"),
        ("no length", "6:length", "6:lengtx"),
        ("no name", "4:name", "4:namx"),
        ("hashes that are too few", "6:pieces140:", "6:pieces120:"),
        ("no hashes", "6:pieces", "6:piecex"),
        ("no info", "4:info", "4:infx"),
        ("a number with a leading zero", "i16384e", "i016384e"),
        ("a list in a name's place", "4:name8:file.bin", "4:namel8:file.bine"),
    ];
    for (what, from, to) in v1_spoiled {
        fs::write(room.path("bad"), replaced(v1, from, to)).unwrap();
        assert_refused(what, &room.text("bad"), &room);
    }
    let others = [
        (
            "a piece length that v2 cannot have",
            replaced(v2, "12:piece lengthi16384e", "12:piece lengthi16385e"),
        ),
        ("a version nobody knows", replaced(v2, "12:meta versioni2e", "12:meta versioni9e")),
        ("an empty file tree", replaced(v2, "9:file tree", "9:file trex")),
        ("a piece layer of another root", replaced(v2, "12:piece layersd32:", "12:piece layersd32:\0\0")),
        ("two lengths that differ", replaced(hybrid, "6:lengthi100000e", "6:lengthi100001e")),
    ];
    for (what, bytes) in others {
        fs::write(room.path("bad"), bytes).unwrap();
        assert_one_sentence(what, &run(&["show", &room.text("bad")]));
    }
}

#[test]
fn what_is_no_torrent_at_all() {
    let room = Room::new();
    let bomb = [b'l'; 5_000_000].to_vec();
    let cases = [
        ("nothing", Vec::new()),
        ("text", b"This is no torrent.\n".to_vec()),
        ("a web page", b"<!DOCTYPE html><html><body>404</body></html>".to_vec()),
        ("noise", noise(6, 10_000)),
        ("a bencode bomb", bomb),
        ("a length without bytes", b"d4:info99999999999:".to_vec()),
        ("a number without end", vec![b'i'; 100_000]),
        ("terminal codes", b"d8:announce8:\x1b[2J\x1b[31m4:infode".to_vec()),
    ];
    for (what, bytes) in cases {
        fs::write(room.path("bad"), bytes).unwrap();
        assert_refused(what, &room.text("bad"), &room);
    }
    assert_refused("a missing file", &room.text("missing.torrent"), &room);
    fs::create_dir(room.path("folder")).unwrap();
    assert_refused("a folder", &room.text("folder"), &room);
    let huge = fs::File::create(room.path("huge")).unwrap();
    huge.set_len(10 << 30).unwrap();
    assert_refused("ten sparse gigabytes", &room.text("huge"), &room);
}

#[test]
fn bad_links() {
    let room = Room::new();
    let links = [
        "magnet:",
        "magnet:?",
        "magnet:?dn=no-hash",
        "magnet:?xt=urn:btih:",
        "magnet:?xt=urn:btih:0123",
        "magnet:?xt=urn:btih:zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        "magnet:?xt=urn:btmh:1220",
        "magnet:?xt=urn:sha1:0123456789abcdef0123456789abcdef01234567",
        "0123456789abcdef0123456789abcdef0123456",
        "http://",
        "http://127.0.0.1:1/x.torrent",
        "https://127.0.0.1:1/x.torrent",
        "http://host.invalid/x.torrent",
        "ftp://127.0.0.1/x.torrent",
        "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&xt=urn:btih:1123456789abcdef0123456789abcdef01234567",
    ];
    for link in links {
        assert_refused(link, link, &room);
    }
}

/// A web server that gives something else than a torrent.
#[test]
fn bad_answers() {
    let room = Room::new();
    let answers: [&[u8]; 6] = [
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nd4:info1:",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nd4:info",
        b"HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n",
        b"\x13BitTorrent protocol",
        b"",
    ];
    for answer in answers {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x.torrent", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer);
            }
        });
        assert_refused(&String::from_utf8_lossy(answer), &url, &room);
    }
}

/// An address of another kind is no missing file, and a server that speaks no TLS is called that.
#[test]
fn addresses_are_refused_for_what_they_are() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = format!("https://{}/x.torrent", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let cases = [("ftp://127.0.0.1/a", "ftp:// are not supported"), (plain.as_str(), "not speak TLS")];
    for (source, words) in cases {
        let output = run(&["show", source]);
        assert_one_sentence(source, &output);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words), "{said}");
    }
}

/// It is in the torrent and its link, and in nothing that is said.
#[test]
fn passwords_are_not_shown() {
    let room = Room::new();
    let file = room.source(&noise(8, 1000));
    let torrent = room.text("file.torrent");
    let secret = "http://user:secret@127.0.0.1:1/announce";
    let made = run(&["create", &file, "-o", &torrent, "--tracker", secret, "--web-seed", secret]);
    let link = String::from_utf8(made.stdout).unwrap();
    assert!(link.contains("secret") && !String::from_utf8_lossy(&made.stderr).contains("secret"));
    for source in [torrent.as_str(), link.trim()] {
        let shown = String::from_utf8(run(&["show", source]).stdout).unwrap();
        let said: Vec<&str> = shown.lines().filter(|line| !line.starts_with("link ")).collect();
        assert_eq!(said.iter().filter(|line| line.ends_with("http://127.0.0.1:1/announce")).count(), 2);
        assert!(said.iter().all(|line| !line.contains("secret")), "{shown}");
    }
    let missing = run(&["show", secret]);
    assert_one_sentence("a server that is not there", &missing);
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(said.contains("http://127.0.0.1:1/announce: ") && !said.contains("secret"), "{said}");
}

/// A torrent file whose data is not what it says.
#[test]
fn verify_says_so() {
    let room = Room::new();
    let file = room.source(&noise(8, 100_000));
    let torrent = room.text("file.torrent");
    assert!(run(&["create", &file, "-o", &torrent, "-q"]).status.success());
    let source = room.text("source");
    assert_eq!(run(&["verify", &torrent, "-o", &source]).status.code(), Some(0));
    let spoil = |bytes: &[u8]| {
        fs::write(Path::new(&file), bytes).unwrap();
        let output = run(&["verify", &torrent, "-o", &source]);
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("file.bin"), "{stderr}");
    };
    spoil(&noise(9, 100_000));
    spoil(&noise(8, 99_999));
    spoil(b"");
    fs::remove_file(&file).unwrap();
    assert_eq!(run(&["verify", &torrent, "-o", &source]).status.code(), Some(1));
    assert_one_sentence(
        "a link to verify",
        &run(&["verify", "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567"]),
    );
}

/// What cannot be made or written.
#[test]
fn create_and_share_say_so() {
    let room = Room::new();
    let file = room.source(&noise(8, 1000));
    let out = room.text("out");
    assert_one_sentence("a missing file", &run(&["create", "/no/such/file", "-o", &out]));
    assert_one_sentence(
        "a folder that is not there",
        &run(&["create", &file, "-o", "/no/such/folder/x", "-q"]),
    );
    assert_one_sentence("a missing file", &run(&["share", "/no/such/file"]));
    fs::create_dir(room.path("empty")).unwrap();
    assert_one_sentence("an empty folder", &run(&["create", &room.text("empty"), "-o", &out, "-q"]));
    assert!(run(&["create", &file, "-o", &out, "-q"]).status.success());
    assert_one_sentence("a file that is there", &run(&["create", &file, "-o", &out, "-q"]));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let target = room.text("data");
    assert_one_sentence(
        "a port in use",
        &run(&["get", &out, "-o", &target, "--listen", &addr, "--no-lan", "-q"]),
    );
    assert_one_sentence(
        "an address that is not ours",
        &run(&["get", &out, "-o", &target, "--listen", "192.0.2.1:0", "--no-lan", "-q"]),
    );
    assert_one_sentence("a file in the folder's place", &run(&["get", &out, "-o", &file, "--no-lan", "-q"]));
}

#[test]
fn wrong_usage() {
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let cases: [&[&str]; 20] = [
        &[],
        &["fetch"],
        &["get"],
        &["get", hash, "--no-such-flag"],
        &["get", hash, "--listen", "nowhere"],
        &["get", hash, "--listen", "127.0.0.1"],
        &["get", hash, "--peer", "127.0.0.1"],
        &["get", hash, "--peer", ":6881"],
        &["get", hash, "--peer", "127.0.0.1:0"],
        &["get", hash, "--down-limit", "fast"],
        &["get", hash, "--select", "1-"],
        &["create", "x"],
        &["create", "x", "-o", "y", "--version", "v3"],
        &["create", "x", "-o", "y", "--v1", "--v2"],
        &["create", "x", "-o", "y", "--piece-length", "0"],
        &["create", "x", "-o", "y", "--tracker", "udp://127.0.0.1/announce"],
        &["create", "x", "-o", "y", "--tracker", "wss://127.0.0.1/announce"],
        &["share", "x", "--tracker", "http://127.0.0.1:99999/announce"],
        &["get", hash, "--web-seed", "http://127.0.0.1:0/file"],
        &["verify"],
    ];
    for args in cases {
        let output = run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(!stderr.is_empty() && output.stdout.is_empty(), "{args:?}");
    }
}
