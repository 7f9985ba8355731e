//! The real program as a process: started, listened to, and ended in every way there is.

#![allow(dead_code)] // each test program uses its part

pub mod web;

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before it counts as hung.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Objects that are shown of what a program told while something else was awaited.
const REMEMBERED: usize = 20;

/// The program, knowing nothing of the user who runs the tests.
pub fn starling() -> Command {
    dressed(Command::new(env!("CARGO_BIN_EXE_starling")))
}

/// A command whose environment is the tests' own.
pub fn dressed(mut command: Command) -> Command {
    for name in ["STARLING_STATE", "XDG_STATE_HOME", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Output {
    starling().args(args).output().unwrap()
}

/// Bytes that look random, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

/// splitmix64: the same seed, the same numbers.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A folder for everything of one test.
pub struct Room(TempDir);

impl Room {
    pub fn new() -> Room {
        Room(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A file below `source`, to be shared.
    pub fn source(&self, bytes: &[u8]) -> String {
        fs::create_dir_all(self.path("source")).unwrap();
        fs::write(self.path("source/file.bin"), bytes).unwrap();
        self.text("source/file.bin")
    }
}

/// A running program that talks JSON. Dropping it kills it.
pub struct Run {
    child: Child,
    lines: Receiver<Value>,
    stderr: Receiver<String>,
}

impl Run {
    pub fn start(command: &mut Command) -> Run {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (line, lines) = channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for text in BufReader::new(stdout).lines().map_while(Result::ok) {
                // A killed process may leave half a line.
                let Ok(value) = serde_json::from_str(&text) else { return };
                if line.send(value).is_err() {
                    return;
                }
            }
        });
        let (text, stderr) = channel();
        let mut from = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let _ = from.read_to_end(&mut all);
            let _ = text.send(String::from_utf8_lossy(&all).into_owned());
        });
        Run { child, lines, stderr }
    }

    /// The next object for which `pick` has something. A program that goes on talking of
    /// other things for too long is as bad as one that falls silent.
    pub fn until<T>(&mut self, mut pick: impl FnMut(&Value) -> Option<T>) -> T {
        let (start, mut heard) = (Instant::now(), VecDeque::new());
        loop {
            let left = (2 * DEADLINE).saturating_sub(start.elapsed());
            let Ok(value) = self.lines.recv_timeout(DEADLINE.min(left)) else {
                let _ = self.child.kill();
                let said = self.stderr.recv_timeout(DEADLINE).unwrap_or_default();
                panic!("what was awaited did not come; stderr: {said:?}; the last it told: {heard:#?}");
            };
            if let Some(found) = pick(&value) {
                return found;
            }
            heard.truncate(REMEMBERED - 1);
            heard.push_front(value);
        }
    }

    /// What it said and was not read yet.
    pub fn said(&mut self) -> Vec<Value> {
        self.lines.try_iter().collect()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills it; whether it was still running.
    pub fn kill(mut self) -> bool {
        let running = self.child.try_wait().unwrap().is_none();
        if running {
            self.signal(Signal::KILL);
        }
        let status = self.child.wait().unwrap();
        running && status.code().is_none()
    }

    /// Waits for its own end; what it still said, and its stderr.
    pub fn end(mut self) -> (ExitStatus, Vec<Value>, String) {
        let mut said = Vec::new();
        while let Ok(value) = self.lines.recv_timeout(DEADLINE) {
            said.push(value);
        }
        let stderr = self.stderr.recv_timeout(DEADLINE).expect("it did not end");
        (self.child.wait().unwrap(), said, stderr)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running program that talks to a person. Dropping it kills it.
pub struct Talking {
    child: Child,
    lines: Receiver<String>,
}

impl Talking {
    pub fn start(command: &mut Command) -> Talking {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (line, lines) = channel();
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for text in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.send(text).is_err() {
                    return;
                }
            }
        });
        Talking { child, lines }
    }

    /// The next line of stderr for which `pick` has something.
    pub fn until<T>(&mut self, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        let (start, mut said) = (Instant::now(), Vec::new());
        loop {
            let left = (2 * DEADLINE).saturating_sub(start.elapsed());
            let line = self.lines.recv_timeout(DEADLINE.min(left));
            let line = line.unwrap_or_else(|_| panic!("it did not say what was awaited: {said:?}"));
            if let Some(found) = pick(&line) {
                return found;
            }
            said.push(line);
        }
    }

    /// Ends it with `signal`; what it still said.
    pub fn end(mut self, signal: Signal) -> String {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let mut said = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            said.push(line);
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(130), "{said:?}");
        said.join("\n")
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `starling share` of a file in `room`, with its torrent at `file.torrent`.
pub struct Sharing {
    pub run: Run,
    pub addr: String,
    pub link: String,
}

impl Sharing {
    pub fn start(room: &Room, file: &str, listen: &str, more: &[&str]) -> Sharing {
        let mut command = starling();
        command.args(["share", file, "--no-lan", "--json", "--listen", listen]);
        command.args(["-o", &room.text("file.torrent"), "--state", &room.text("sharing")]).args(more);
        let mut run = Run::start(&mut command);
        let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
        let (addr, link) = run.until(|v| Some((text(v, "listen")?, text(v, "link")?)));
        Sharing { run, addr, link }
    }
}

/// What it wrote to stdout.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What it wrote to stderr.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Its exit code; it was not killed.
pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// `starling get` of `source` into `data` of `room`, from one peer.
pub fn get(room: &Room, source: &str, peer: &str, more: &[&str]) -> Command {
    let mut command = starling();
    command.args(["get", source, "--no-lan", "--json", "--listen", "127.0.0.3:0"]);
    command.args(["-o", &room.text("data"), "--state", &room.text("state")]);
    if !peer.is_empty() {
        command.args(["--peer", peer]);
    }
    command.args(more);
    command
}

/// An event by name.
pub fn event(name: &'static str) -> impl Fn(&Value) -> Option<Value> {
    move |value| (value["event"] == name).then(|| value.clone())
}

/// Whether this test may make namespaces and mounts. Where it may not it is skipped,
/// loudly, and in CI a skip is a failure.
pub fn may_isolate(test: &str) -> bool {
    let able = Command::new("unshare").args(["-m", "-n", "true"]).stderr(Stdio::null()).status();
    let able = able.is_ok_and(|status| status.success());
    if !able {
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: namespaces need root and CAP_SYS_ADMIN");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} was skipped in CI");
    }
    able
}

/// A shell in a namespace of its own.
pub fn isolated(flag: &str, script: &str) -> Command {
    let mut command = dressed(Command::new("unshare"));
    command.args([flag, "--", "sh", "-ec", script]);
    command
}

/// A quoted word for a shell.
pub fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}
