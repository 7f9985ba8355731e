//! Memory for each peer: a whole process with few and with many connections, beside its
//! anonymous memory as the kernel counts it. Prints the figures (`--nocapture`).

#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test may panic, and tell its figures

mod common;

use std::convert::Infallible;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use common::{Room, Run, event, run, starling};

/// Over two torrents, since one has no more than 120 connections.
const MANY: usize = 200;
/// The most that a peer may cost.
const BYTES_PER_PEER: u64 = 64 << 10;
/// Of each torrent, all zeros; the second is a block longer, so that it is another.
const LENGTH: u64 = 32 << 20;
const BLOCK: usize = 16 << 10;
/// Blocks that come over all connections before memory is looked at for the last time.
const BLOCKS: usize = 3_000;

/// Anonymous memory of a process; 0 once it has ended.
fn anonymous(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    line.map_or(0, |line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10)
}

/// The program, giving back what it frees at once: peers could hide in what hashing left.
fn honest() -> Command {
    let mut command = starling();
    command.env("MALLOC_TRIM_THRESHOLD_", "0").env("MALLOC_ARENA_MAX", "1");
    command
}

/// Two torrents of zeros in `source`, and their info-hashes.
fn torrents(room: &Room) -> Vec<(String, [u8; 20])> {
    fs::create_dir_all(room.path("source")).unwrap();
    let make = |n: u64| {
        let (file, torrent) = (room.text(&format!("source/{n}")), room.text(&format!("{n}.torrent")));
        fs::File::create(&file).unwrap().set_len(LENGTH + n * BLOCK as u64).unwrap();
        assert!(run(&["create", &file, "-o", &torrent, "--v1", "--piece-length", "64k"]).status.success());
        let shown = run(&["show", &torrent, "--json"]).stdout;
        let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
        let hex = shown["info_hash_v1"].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        (torrent, std::array::from_fn(byte))
    };
    (0..2).map(make).collect()
}

/// An address of its own for each peer.
fn ip(n: usize) -> IpAddr {
    IpAddr::from([127, 1, (n / 250) as u8, (n % 250) as u8 + 1])
}

/// A peer that knows BEP 3 alone.
struct Peer {
    stream: TcpStream,
}

impl Peer {
    /// Says its handshake and hears `left` bytes of the other side's.
    fn greet(mut stream: TcpStream, info_hash: [u8; 20], n: usize, left: usize) -> io::Result<Peer> {
        let id = format!("-XX0001-{n:012}");
        let head = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0";
        stream.write_all(&[head, &info_hash[..], id.as_bytes()].concat())?;
        stream.read_exact(&mut vec![0; left])?;
        Ok(Peer { stream })
    }

    fn say(&mut self, id: u8, payload: &[u8]) -> io::Result<()> {
        let length = (payload.len() as u32 + 1).to_be_bytes();
        self.stream.write_all(&[&length[..], &[id], payload].concat())
    }

    /// The next message but a keep-alive: id and payload.
    fn hear(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let mut message = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut message)?;
            if let Some((id, payload)) = message.split_first() {
                return Ok((*id, payload.to_vec()));
            }
        }
    }

    /// Asks for the first pieces again and again, as long as it may; tells of what came.
    fn takes(mut self, news: &Sender<News>) -> io::Result<Infallible> {
        self.say(2, &[])?;
        let (mut at, mut unchoked, mut open) = (0u32, false, 0);
        let _ = news.send(News::Met);
        loop {
            match self.hear()? {
                (0, _) => (unchoked, open) = (false, 0),
                (1, _) => unchoked = true,
                (7, _) => {
                    open -= 1;
                    let _ = news.send(News::Block);
                }
                _ => {}
            }
            while unchoked && open < 32 {
                let (piece, block) = (at / 4 % 64, at % 4);
                let request = [piece, block * BLOCK as u32, BLOCK as u32].map(u32::to_be_bytes).concat();
                self.say(6, &request)?;
                (at, open) = (at + 1, open + 1);
            }
        }
    }

    /// Has all of it, and gives what is asked for from `start` on.
    fn gives(mut self, pieces: usize, news: &Sender<News>, start: &Receiver<()>) -> io::Result<Infallible> {
        let bits = pieces.div_ceil(8);
        let mut bitfield = vec![0xff; bits];
        bitfield[bits - 1] <<= bits * 8 - pieces;
        self.say(5, &bitfield)?;
        let _ = news.send(News::Met);
        let _ = start.recv();
        self.say(1, &[])?;
        loop {
            let (id, payload) = self.hear()?;
            if id == 6 {
                let length = u32::from_be_bytes(payload[8..12].try_into().unwrap()) as usize;
                self.say(7, &[&payload[..8], &vec![0; length]].concat())?;
                let _ = news.send(News::Block);
            }
        }
    }
}

enum News {
    Met,
    Block,
    /// A peer's connection is over, though the program should have kept it.
    Over(usize, io::Error),
}

/// A peer of its own thread, from the call to the end of its connection.
fn peer(
    n: usize,
    news: &Sender<News>,
    life: impl FnOnce(&Sender<News>) -> io::Result<Infallible> + Send + 'static,
) {
    let news = news.clone();
    thread::spawn(move || {
        let Err(error) = life(&news);
        let _ = news.send(News::Over(n, error));
    });
}

/// The most that `pid` has while so many peers meet it and then `blocks` blocks go over.
fn most(pid: u32, peers: usize, blocks: usize, news: &Receiver<News>, mut all_met: impl FnMut()) -> u64 {
    let (mut met, mut came, mut most) = (0, 0, 0);
    if peers == 0 {
        return anonymous(pid);
    }
    while met < peers || came < blocks {
        match news.recv_timeout(common::DEADLINE).unwrap() {
            News::Met => met += 1,
            News::Block => came += 1,
            News::Over(n, error) => panic!("peer {n} of {peers}, {met} met and {came} blocks: {error}"),
        }
        if met == peers && most == 0 {
            all_met();
        }
        if met == peers && (came % 100 == 0 || most == 0) {
            most = most.max(anonymous(pid));
        }
    }
    most
}

/// A seeder's memory with so many leechers.
fn seeder(peers: usize) -> u64 {
    let room = Room::new();
    let torrents = torrents(&room);
    let mut command = honest();
    command.args(["seed", &torrents[0].0, &torrents[1].0, "-o", &room.text("source"), "--no-lan", "--json"]);
    command.args(["--memory", "4M", "--state", &room.text("state")]);
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    command.args(["--listen", &listen.to_string()]);
    let mut seeding = Run::start(&mut command);
    let mut complete = 0;
    seeding.until(|value| {
        complete += usize::from(event("complete")(value).is_some());
        (complete == 2).then_some(())
    });
    let (out, news) = channel();
    // One after the other: a crowd of callers that do not come to speak would be refused.
    let call = |n: usize| Peer::greet(connect(ip(n), listen)?, torrents[n % 2].1, n, 68);
    let callers: Vec<Peer> = (0..peers).map(|n| call(n).unwrap()).collect();
    for (n, caller) in callers.into_iter().enumerate() {
        peer(n, &out, move |out| caller.takes(out));
    }
    let most = most(seeding.pid(), peers, BLOCKS, &news, || {});
    let mut connected = [0, 0];
    seeding.until(|value| {
        let (name, count) = (value["name"].as_str()?, value["peers"].as_u64()?);
        connected[usize::from(name == "1")] = count;
        (connected.iter().sum::<u64>() == peers as u64).then_some(())
    });
    most.max(anonymous(seeding.pid()))
}

/// A leecher's memory with so many seeders.
fn leecher(peers: usize) -> u64 {
    let room = Room::new();
    let torrents = torrents(&room);
    let mut command = honest();
    command.args(["get", &torrents[0].0, &torrents[1].0, "-o", &room.text("data"), "--no-lan", "--json"]);
    command.args(["--listen", "127.0.0.1:0", "--memory", "4M", "--state", &room.text("state")]);
    let (out, news) = channel();
    let mut starts = Vec::new();
    for n in 0..peers {
        let listener = TcpListener::bind(SocketAddr::new(ip(n), 0)).unwrap();
        command.args(["--peer", &listener.local_addr().unwrap().to_string()]);
        // Every peer is named for both torrents, and knows one.
        let (info_hash, pieces) = (torrents[n % 2].1, (LENGTH / (64 << 10)) as usize + n % 2);
        let (start, starting) = channel();
        starts.push(start);
        peer(n, &out, move |out| {
            let stream = loop {
                let (mut stream, _) = listener.accept().unwrap();
                let mut theirs = [0; 48];
                stream.read_exact(&mut theirs)?;
                if theirs[28..] == info_hash {
                    break stream;
                }
            };
            Peer::greet(stream, info_hash, n, 20)?.gives(pieces, out, &starting)
        });
    }
    let getting = Run::start(&mut command);
    let blocks = (2 * LENGTH) as usize / BLOCK - 200;
    most(getting.pid(), peers, blocks, &news, || starts.clear())
}

fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::new(from, 0))?;
    connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

/// What a peer costs beyond `few`.
fn each(what: &str, few: usize, memory: fn(usize) -> u64) {
    let (with_few, with_many) = (memory(few), memory(MANY));
    let each = with_many.saturating_sub(with_few) / (MANY - few) as u64;
    eprintln!(
        "{what}: {} KiB with {few} peers, {} KiB with {MANY}: {:.1} KiB for each",
        with_few >> 10,
        with_many >> 10,
        each as f64 / 1024.0
    );
    assert!(each <= BYTES_PER_PEER, "{what}: {each} bytes for each peer");
}

/// Beside one that nobody has asked for anything.
#[test]
fn a_seeders_peer_costs_little_memory() {
    each("seeder", 0, seeder);
}

/// Beside one with a peer for each torrent: blocks in flight have a bound of their own.
#[test]
fn a_leechers_peer_costs_little_memory() {
    each("leecher", 2, leecher);
}
