//! How fast blocks move through the peer code over loopback, beside a bare loop of
//! `write` and `read` in the same run.
//!
//! Two threads, one at each end, as two nodes on one machine would have. The leecher
//! keeps a window of requests open; the seeder fills blocks from memory. Prints MB/s of
//! both ways and their ratio; with `floor` or `wire` as argument only that way, for profiles.

use std::cell::{Cell, RefCell};
use std::io::{IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use starling_metainfo::{BLOCK_LENGTH, Sha1Hash};
use starling_net::{Closed, Fill, Limits, Listener, PeerHandle, PeerHandler, Peers};
use starling_swarm::{Block, ConnId, Handshake, Message, Reserved};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

const BYTES: u64 = 1 << 30;
const BLOCKS: u64 = BYTES / BLOCK_LENGTH as u64;
/// Requests in flight: 4 MiB.
const WINDOW: u64 = 256;
const ROUNDS: usize = 3;

fn main() {
    let only = std::env::args().nth(1);
    let wanted = |name: &str| only.as_deref().is_none_or(|o| o == name);
    let (mut floor, mut wire) = (Best::default(), Best::default());
    for _ in 0..ROUNDS {
        if wanted("floor") {
            floor.add(bare);
        }
        if wanted("wire") {
            wire.add(through_peers);
        }
    }
    let clock = 100.0 * wire.rate / floor.rate;
    let cpu = 100.0 * floor.cpu_secs / wire.cpu_secs;
    let _ = writeln!(
        std::io::stdout(),
        "bare {floor}\npeers {wire}\nratio {clock:.0} % by the clock, {cpu:.0} % by CPU (best of {ROUNDS})"
    );
}

/// The best of several runs, apart by the clock and by CPU seconds of both ends.
#[derive(Default)]
struct Best {
    rate: f64,
    cpu_secs: f64,
}

impl Best {
    fn add(&mut self, run: fn() -> f64) {
        let before = cpu_secs();
        self.rate = self.rate.max(run());
        let used = cpu_secs() - before;
        self.cpu_secs = if self.cpu_secs > 0.0 { self.cpu_secs.min(used) } else { used };
    }
}

impl std::fmt::Display for Best {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} MB/s, {:.2} CPU-s per GiB", self.rate, self.cpu_secs)
    }
}

fn cpu_secs() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn rate(since: Instant) -> f64 {
    BYTES as f64 / 1e6 / since.elapsed().as_secs_f64()
}

/// 256 KiB copied from a source and written, against 256 KiB read: what any sender and
/// receiver do.
fn bare() -> f64 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let addr = listener.local_addr().expect("bound");
    let sender = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        let (source, mut buf) = (vec![1u8; 256 << 10], vec![0u8; 256 << 10]);
        for _ in 0..BYTES / (256 << 10) {
            buf.copy_from_slice(&source);
            stream.write_all(&buf).expect("write");
        }
    });
    let mut stream = std::net::TcpStream::connect(addr).expect("connect");
    let (mut buf, mut got, start) = (vec![0u8; 256 << 10], 0, Instant::now());
    while got < BYTES {
        got += stream.read(&mut buf).expect("read") as u64;
    }
    let rate = rate(start);
    sender.join().expect("sender");
    rate
}

fn through_peers() -> f64 {
    let (tell, told) = std::sync::mpsc::channel();
    let seeder = thread::spawn(move || {
        run(async move {
            let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).expect("loopback");
            let (end, ended) = oneshot::channel();
            tell.send(listener.addr()).expect("leecher");
            let seeder =
                Rc::new(Seeder { peer: RefCell::default(), source: vec![1; 16384], end: end_of(end) });
            let _listening = Peers::new(Limits::DEFAULT).listen(listener, seeder, |_| Some(ConnId(1)));
            ended.await.expect("an end");
        });
    });
    let addr: SocketAddr = told.recv().expect("seeder");
    let mut start = Instant::now();
    run(async {
        let (end, ended) = oneshot::channel();
        let leecher = Rc::new(Leecher {
            peer: RefCell::default(),
            asked: Cell::new(0),
            got: Cell::new(0),
            end: end_of(end),
        });
        start = Instant::now();
        Peers::new(Limits::DEFAULT).dial(ConnId(1), addr, None, handshake(), leecher);
        ended.await.expect("an end");
    });
    let rate = rate(start);
    seeder.join().expect("seeder");
    rate
}

fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    LocalSet::new().block_on(&runtime, work);
}

type End = RefCell<Option<oneshot::Sender<()>>>;

fn end_of(end: oneshot::Sender<()>) -> End {
    RefCell::new(Some(end))
}

fn tell(end: &End) {
    if let Some(end) = end.take() {
        let _ = end.send(());
    }
}

fn handshake() -> Handshake {
    Handshake { reserved: Reserved::OURS, info_hash: Sha1Hash([1; 20]), peer_id: [2; 20] }
}

struct Seeder {
    peer: RefCell<Option<PeerHandle>>,
    source: Vec<u8>,
    end: End,
}

impl PeerHandler for Seeder {
    fn handshake(&self, peer: &PeerHandle, _: Handshake) -> Option<Handshake> {
        self.peer.replace(Some(peer.clone()));
        Some(handshake())
    }
    fn message(&self, _: ConnId, message: Message, _: Bytes) {
        if let (Message::Request(block), Some(peer)) = (message, &*self.peer.borrow()) {
            peer.send_block(block);
        }
    }
    fn batch_end(&self, _: ConnId) {}
    fn sent(&self, _: ConnId, _: u32) {}
    fn may_read(&self, _: ConnId) -> bool {
        true
    }
    fn fill(&self, _: ConnId, _: &[Block], bufs: &mut [IoSliceMut<'_>]) -> Fill {
        bufs.iter_mut().for_each(|buf| buf.copy_from_slice(&self.source));
        Fill::Ready
    }
    fn closed(&self, _: ConnId, _: Closed) {
        tell(&self.end);
    }
}

struct Leecher {
    peer: RefCell<Option<PeerHandle>>,
    asked: Cell<u64>,
    got: Cell<u64>,
    end: End,
}

impl Leecher {
    fn ask(&self) {
        if let Some(peer) = &*self.peer.borrow() {
            while self.asked.get() < BLOCKS.min(self.got.get() + WINDOW) {
                let piece = self.asked.replace(self.asked.get() + 1) as u32;
                peer.send(&Message::Request(Block { piece, begin: 0, length: BLOCK_LENGTH }));
            }
        }
    }
}

impl PeerHandler for Leecher {
    fn handshake(&self, peer: &PeerHandle, theirs: Handshake) -> Option<Handshake> {
        self.peer.replace(Some(peer.clone()));
        self.ask();
        Some(theirs)
    }
    fn message(&self, _: ConnId, _: Message, payload: Bytes) {
        if payload.len() == BLOCK_LENGTH as usize {
            self.got.set(self.got.get() + 1);
        }
    }
    fn batch_end(&self, _: ConnId) {
        if self.got.get() == BLOCKS {
            return tell(&self.end);
        }
        self.ask();
    }
    fn sent(&self, _: ConnId, _: u32) {}
    fn may_read(&self, _: ConnId) -> bool {
        true
    }
    fn fill(&self, _: ConnId, _: &[Block], _: &mut [IoSliceMut<'_>]) -> Fill {
        Fill::Pending(0)
    }
    fn closed(&self, _: ConnId, _: Closed) {
        tell(&self.end);
    }
}
