//! A virtual world: sessions joined by links with delay and bandwidth, a LAN, HTTP
//! trackers, a resolver, virtual disks, virtual time, one seed.
//!
//! The vocabulary: [`World::node`], [`World::share`], [`World::get`], [`World::tracker`],
//! [`World::run_until`], [`World::run_for`].

mod content;
mod disk;
mod node;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use starling_metainfo::{BLOCK_LENGTH, Bitfield};
use starling_sansio::{Machine, Rng, Time};
use starling_session::{AddSpec, Config, Input, Output, Session, TorrentKey};
use starling_swarm::{
    Block, ConnId, FetchEnd, Handshake, Input as Swarm, Message, Output as SwarmOutput, SeedId,
};
use starling_tracker::store::PeerStore;
use starling_tracker::{Family, TrackerError, http};

pub use content::{Content, MIB, with_trackers};
use disk::Disk;
pub use node::{Node, NodeId};

/// One way, between any two.
pub const DELAY: Duration = Duration::from_millis(5);
/// Bytes per second of a connection.
const RATE: u64 = 50_000_000;

/// Shorthand.
pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[derive(Debug)]
enum Happening {
    Dial { from: NodeId, conn: ConnId, to: SocketAddr, handshake: Handshake },
    Hear { node: NodeId, conn: ConnId, theirs: Handshake },
    Deliver { node: NodeId, conn: ConnId, message: Message, is_true: bool },
    Gone { node: NodeId, conn: ConnId },
    Verify { node: NodeId, key: TorrentKey, piece: u32 },
    Feed { node: NodeId, input: Box<Input> },
    Wake { node: NodeId },
}

/// One direction of a connection.
struct Pipe {
    to: NodeId,
    conn: ConnId,
    free: Time,
}

/// A tracker: who announced what, and the table behind it unless it is dead.
pub struct Tracker {
    store: Option<PeerStore>,
    pub announces: Vec<(NodeId, String)>,
    /// When the last answer reached whom it was for.
    pub answered: Time,
}

/// See the module.
pub struct World {
    pub now: Time,
    pub nodes: Vec<Node>,
    /// Whether local discovery reaches the others.
    pub lan: bool,
    pub trackers: BTreeMap<String, Tracker>,
    pub hosts: BTreeMap<String, Vec<SocketAddr>>,
    /// Further addresses where a node listens.
    aliases: BTreeMap<SocketAddr, NodeId>,
    /// Addresses where no answer comes, not even a refusal.
    pub black_holes: bool,
    /// Everything that came out, folded.
    pub digest: u64,
    rng: Rng,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    pipes: BTreeMap<(NodeId, ConnId), Pipe>,
    next: u64,
    next_port: u16,
}

impl World {
    pub fn new(seed: u64) -> World {
        World {
            now: Time::from_secs(1),
            nodes: Vec::new(),
            lan: false,
            trackers: BTreeMap::new(),
            hosts: BTreeMap::new(),
            aliases: BTreeMap::new(),
            black_holes: false,
            digest: 0,
            rng: Rng::from_seed(seed),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            pipes: BTreeMap::new(),
            next: 0,
            next_port: 30_000,
        }
    }

    pub fn node(&mut self) -> NodeId {
        self.node_with(|_| {})
    }

    /// A node whose configuration is changed first; each has an address of its own.
    pub fn node_with(&mut self, change: impl FnOnce(&mut Config)) -> NodeId {
        let id = self.nodes.len();
        let ip = IpAddr::from([10, 0, 0, id as u8 + 1]);
        self.node_at(SocketAddr::new(ip, 6881), change)
    }

    pub fn node_at(&mut self, addr: SocketAddr, change: impl FnOnce(&mut Config)) -> NodeId {
        let mut config = Config { listen_port: addr.port(), families: vec![Family::V4], ..Config::default() };
        change(&mut config);
        self.nodes.push(Node::new(Session::new(config, self.rng.next_u64()), addr));
        self.nodes.len() - 1
    }

    /// A tracker that answers at `http://host/announce`.
    pub fn tracker(&mut self, host: &str) {
        let store = Some(PeerStore::new(secs(1800), self.rng.fork()));
        self.trackers.insert(host.to_owned(), Tracker { store, announces: Vec::new(), answered: Time::ZERO });
    }

    /// One that never answers.
    pub fn dead_tracker(&mut self, host: &str) {
        self.trackers
            .insert(host.to_owned(), Tracker { store: None, announces: Vec::new(), answered: Time::ZERO });
    }

    /// Adds a torrent that the node has all of.
    pub fn share(&mut self, node: NodeId, spec: AddSpec) -> TorrentKey {
        self.nodes[node].owns.extend(spec.hashes.wire_names());
        self.get(node, spec)
    }

    /// Adds a torrent.
    pub fn get(&mut self, node: NodeId, spec: AddSpec) -> TorrentKey {
        self.nodes[node].next_key += 1;
        let key = TorrentKey(self.nodes[node].next_key);
        self.input(node, Input::Add { key, spec: Box::new(spec) });
        key
    }

    /// Tells a node of another.
    pub fn introduce(&mut self, node: NodeId, key: TorrentKey, to: NodeId) {
        let addrs = vec![self.nodes[to].addr];
        self.input(node, Input::PeersFound { key, addrs, source: starling_session::Source::User });
    }

    /// A node listens at one address more.
    pub fn alias(&mut self, addr: SocketAddr, node: NodeId) {
        self.aliases.insert(addr, node);
    }

    /// The process dies: its connections break, nothing is said.
    pub fn kill(&mut self, node: NodeId) {
        self.nodes[node].dead = true;
        let his: Vec<ConnId> = self.pipes.keys().filter(|(n, _)| *n == node).map(|(_, c)| *c).collect();
        for conn in his {
            if let Some(pipe) = self.pipes.remove(&(node, conn)) {
                self.at(self.now + DELAY, Happening::Gone { node: pipe.to, conn: pipe.conn });
            }
        }
    }

    /// Whether a torrent is complete, and the disk agrees.
    pub fn has_all(&self, node: NodeId, key: TorrentKey) -> bool {
        let node = &self.nodes[node];
        let finished = node.session.core(key).is_some_and(starling_swarm::Torrent::is_finished);
        finished && node.disks.get(&key).is_some_and(|disk| disk.have.is_full())
    }

    /// Runs until `done` holds; false if that took more than `limit`.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&World) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            match self.queue.peek() {
                Some(&Reverse((at, seq))) if at <= end => {
                    self.queue.pop();
                    self.now = self.now.max(at);
                    let happening = self.happenings.remove(&seq).expect("it was queued");
                    self.happen(happening);
                }
                _ => {
                    self.now = end;
                    return done(self);
                }
            }
        }
        true
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Hands one input to a node and does what comes out.
    pub fn input(&mut self, node: NodeId, input: Input) {
        self.input_with(node, input, true);
    }

    fn input_with(&mut self, node: NodeId, input: Input, is_true: bool) {
        let mut out = Vec::new();
        self.nodes[node].session.handle(self.now, input, &mut out);
        self.carry_all(node, out, is_true);
    }

    fn carry_all(&mut self, node: NodeId, out: Vec<Output>, is_true: bool) {
        for output in out {
            for byte in format!("{} {node} {output:?}", self.now.as_micros()).bytes() {
                self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
            assert!(self.nodes[node].stopped.is_empty(), "nothing comes after Stopped: {output:?}");
            self.carry(node, output, is_true);
        }
        let n = &mut self.nodes[node];
        if let Some(at) = n.session.next_timeout()
            && n.wake.is_none_or(|wake| at < wake)
        {
            n.wake = Some(at);
            self.at(at.max(self.now), Happening::Wake { node });
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Dial { from, conn, to, handshake } => self.connect(from, conn, to, handshake),
            Happening::Hear { node, conn, theirs } if self.is_open(node, conn) => {
                self.input(node, Input::Handshake { conn, theirs });
            }
            Happening::Deliver { node, conn, message, is_true } if self.is_open(node, conn) => {
                if let Message::Piece(block) = &message {
                    self.nodes[node].received += u64::from(block.length);
                }
                self.input_with(node, Input::Message { conn, message }, is_true);
            }
            Happening::Gone { node, conn } => {
                self.pipes.remove(&(node, conn));
                if self.nodes[node].open.remove(&conn) && !self.nodes[node].dead {
                    self.input(node, Input::Closed { conn });
                }
            }
            Happening::Verify { node, key, piece } => self.verify(node, key, piece),
            Happening::Feed { node, input } if !self.nodes[node].dead => self.input(node, *input),
            Happening::Wake { node } if !self.nodes[node].dead => {
                let mut out = Vec::new();
                self.nodes[node].wake = None;
                self.nodes[node].wakes += 1;
                self.nodes[node].session.handle_timeout(self.now, &mut out);
                self.carry_all(node, out, true);
            }
            _ => {}
        }
    }

    fn is_open(&self, node: NodeId, conn: ConnId) -> bool {
        !self.nodes[node].dead && self.nodes[node].open.contains(&conn)
    }

    /// A dial arrives at whoever listens there.
    fn connect(&mut self, from: NodeId, conn: ConnId, to: SocketAddr, theirs: Handshake) {
        if !self.is_open(from, conn) {
            return;
        }
        let listens = self.nodes.iter().position(|n| n.addr == to && !n.dead);
        let Some(node) = listens.or(self.aliases.get(&to).copied()) else {
            let wait = if self.black_holes { secs(10) } else { DELAY };
            return self.at(self.now + wait, Happening::Gone { node: from, conn });
        };
        let theirs_conn = self.nodes[node].session.new_conn();
        self.nodes[node].open.insert(theirs_conn);
        self.pipes.insert((from, conn), Pipe { to: node, conn: theirs_conn, free: self.now });
        self.pipes.insert((node, theirs_conn), Pipe { to: from, conn, free: self.now });
        self.next_port += 1;
        let addr = SocketAddr::new(self.nodes[from].addr.ip(), self.next_port);
        self.input(node, Input::Accepted { conn: theirs_conn, addr });
        self.at(self.now, Happening::Hear { node, conn: theirs_conn, theirs });
    }

    fn carry(&mut self, node: NodeId, output: Output, is_true: bool) {
        match output {
            Output::Dial { conn, addr, handshake } => {
                self.nodes[node].dialled.push((self.now, addr));
                self.nodes[node].open.insert(conn);
                self.at(self.now + DELAY, Happening::Dial { from: node, conn, to: addr, handshake });
            }
            Output::Reply { conn, handshake } => {
                if let Some(pipe) = self.pipes.get(&(node, conn)) {
                    let hear = Happening::Hear { node: pipe.to, conn: pipe.conn, theirs: handshake };
                    self.at(self.now + DELAY, hear);
                }
            }
            Output::Close { conn, why } => {
                self.nodes[node].closed.push(why);
                if let Some(pipe) = self.pipes.get(&(node, conn)) {
                    let gone = Happening::Gone { node: pipe.to, conn: pipe.conn };
                    let at = pipe.free.max(self.now) + DELAY;
                    self.at(at, gone);
                }
                let slow = self.nodes[node].slow_close.unwrap_or_default();
                self.at(self.now + slow, Happening::Gone { node, conn });
            }
            Output::Torrent { key, output } => self.carry_swarm(node, key, output, is_true),
            Output::Open { key, torrent } => self.open(node, key, torrent),
            Output::HttpGet { job, url, family } => {
                let (wait, result) = self.get_url(node, &url, family);
                self.feed(wait, node, Input::HttpAnswer { job, result });
            }
            Output::Resolve { job, host, port } => {
                let known = self.hosts.get(&host).cloned().unwrap_or_default();
                let addrs = known.into_iter().map(|addr| SocketAddr::new(addr.ip(), port)).collect();
                self.feed(DELAY, node, Input::Resolved { job, addrs });
            }
            Output::UdpSend { to, bytes } => self.nodes[node].datagrams.push((to, bytes)),
            Output::Scraped { id, trackers } => self.nodes[node].scraped.push((id, trackers)),
            Output::LsdSend { v6, bytes } => self.multicast(node, v6, &bytes),
            Output::Event { key, event } => self.nodes[node].events.push((self.now, key, event)),
            Output::Stopped => self.nodes[node].stopped.push(self.now),
        }
    }

    fn carry_swarm(&mut self, node: NodeId, key: TorrentKey, output: SwarmOutput, is_true: bool) {
        match output {
            SwarmOutput::Send { conn, message } => {
                if let Message::Request(_) = message {
                    self.nodes[node].first_request.get_or_insert(self.now);
                }
                self.transmit(node, conn, message, 30, true);
            }
            SwarmOutput::SendBlock { conn, block } => {
                let truth = !self.nodes[node].lies;
                let size = u64::from(block.length);
                if let Some(left) = self.transmit(node, conn, Message::Piece(block), size, truth) {
                    self.nodes[node].sent += size;
                    let wait = left.since(self.now);
                    self.feed(wait, node, Input::Sent { conn, bytes: block.length });
                }
            }
            SwarmOutput::Store { block } => {
                let disk = self.nodes[node].disks.get_mut(&key).expect("the storage is open");
                if disk.store(block, is_true) {
                    let verify = Happening::Verify { node, key, piece: block.piece };
                    self.at(self.now + Duration::from_millis(1), verify);
                }
            }
            SwarmOutput::Retry { piece, keep } => {
                let disk = self.nodes[node].disks.get_mut(&key).expect("the storage is open");
                disk.retry(piece, &keep);
            }
            SwarmOutput::Digest { piece } => {
                let digests = self.nodes[node].disks[&key].digests(piece);
                let input = Swarm::BlockDigests { piece, digests };
                self.feed(Duration::ZERO, node, Input::Torrent { key, input });
            }
            SwarmOutput::Fetch { seed, piece, length } => self.fetch(node, key, seed, piece, length),
            SwarmOutput::PieceRoots { .. } | SwarmOutput::CancelFetch { .. } => {}
            SwarmOutput::Close { .. } | SwarmOutput::Event(_) => {
                panic!("the session keeps these: {output:?}")
            }
        }
    }

    /// Puts a message on the wire; when its last byte has left.
    fn transmit(
        &mut self,
        node: NodeId,
        conn: ConnId,
        message: Message,
        size: u64,
        is_true: bool,
    ) -> Option<Time> {
        let pipe = self.pipes.get_mut(&(node, conn))?;
        pipe.free = pipe.free.max(self.now) + Duration::from_nanos(size * 1_000_000_000 / RATE);
        let (at, left) = (pipe.free + DELAY, pipe.free);
        let deliver = Happening::Deliver { node: pipe.to, conn: pipe.conn, message, is_true };
        self.at(at, deliver);
        Some(left)
    }

    /// A web seed serves whole pieces, at a connection's rate.
    fn fetch(&mut self, node: NodeId, key: TorrentKey, seed: SeedId, mut piece: u32, length: u64) {
        let torrent = self.nodes[node].disks[&key].torrent.clone();
        let layout = &torrent.info.layout;
        let mut sent = 0;
        while sent < length {
            for index in 0..layout.blocks(piece) {
                let begin = index * BLOCK_LENGTH;
                let block =
                    Block { piece, begin, length: (layout.piece_len(piece) - begin).min(BLOCK_LENGTH) };
                sent += u64::from(block.length);
                let wait = DELAY + Duration::from_nanos(sent * 1_000_000_000 / RATE);
                self.feed(wait, node, Input::Torrent { key, input: Swarm::Fetched { seed, block } });
            }
            piece += 1;
        }
        let wait = DELAY * 2 + Duration::from_nanos(sent * 1_000_000_000 / RATE);
        let input = Swarm::FetchEnded { seed, end: FetchEnd::Done };
        self.feed(wait, node, Input::Torrent { key, input });
    }

    fn open(&mut self, node: NodeId, key: TorrentKey, torrent: std::sync::Arc<starling_metainfo::Torrent>) {
        let n = &mut self.nodes[node];
        let pieces = torrent.info.layout.pieces();
        let all = torrent.info.hashes.wire_names().any(|name| n.owns.contains(&name));
        let have = if all { Bitfield::full(pieces) } else { Bitfield::new(pieces) };
        let input = if n.disk_broken {
            Input::OpenFailed { key, why: "the disk is broken".to_owned() }
        } else {
            n.disks.insert(key, Disk::new(torrent, have.clone()));
            Input::Opened { key, have, piece_layers: BTreeMap::new() }
        };
        self.feed(Duration::from_millis(20), node, input);
    }

    fn verify(&mut self, node: NodeId, key: TorrentKey, piece: u32) {
        let full = self.nodes[node].disk_full;
        let Some(disk) = self.nodes[node].disks.get_mut(&key) else { return };
        if full {
            disk.stuck.insert(piece);
            return self.input(node, Input::StorageFailed { key, why: "the disk is full".to_owned() });
        }
        if let Some(input) = disk.verdict(piece) {
            self.input(node, Input::Torrent { key, input });
        }
    }

    /// There is room on the disk again.
    pub fn make_room(&mut self, node: NodeId) {
        self.nodes[node].disk_full = false;
        let keys: Vec<TorrentKey> = self.nodes[node].disks.keys().copied().collect();
        for key in keys {
            let disk = self.nodes[node].disks.get_mut(&key).expect("its key was listed");
            for piece in std::mem::take(&mut disk.stuck) {
                self.verify(node, key, piece);
            }
            self.input(node, Input::StorageRecovered { key });
        }
    }

    fn get_url(
        &mut self,
        node: NodeId,
        url: &str,
        family: Family,
    ) -> (Duration, Result<Bytes, TrackerError>) {
        assert_eq!(family, Family::V4, "nodes announce from IPv4");
        let rest = url.strip_prefix("http://").expect("only http here");
        let (authority, target) = rest.split_at(rest.find('/').expect("a path"));
        let host = authority.split(':').next().unwrap_or_default();
        let Some(tracker) = self.trackers.get_mut(host) else {
            return (DELAY, Err(TrackerError::Unresolved));
        };
        tracker.announces.push((node, target.to_owned()));
        let Some(store) = &mut tracker.store else { return (secs(20), Err(TrackerError::TimedOut)) };
        let body = http::serve(self.now, self.nodes[node].addr.ip(), target, store).expect("its path");
        tracker.answered = self.now + DELAY * 2;
        (DELAY * 2, Ok(Bytes::from(body)))
    }

    fn multicast(&mut self, node: NodeId, v6: bool, bytes: &[u8]) {
        self.nodes[node].lan_sent += 1;
        self.nodes[node].lan_said = bytes.to_vec();
        if !self.lan || v6 {
            return;
        }
        let from = SocketAddr::new(self.nodes[node].addr.ip(), 6771);
        for other in 0..self.nodes.len() {
            let bytes = Bytes::copy_from_slice(bytes);
            self.feed(DELAY, other, Input::LsdHeard { from, bytes });
        }
    }

    fn feed(&mut self, wait: Duration, node: NodeId, input: Input) {
        self.at(self.now + wait, Happening::Feed { node, input: Box::new(input) });
    }

    fn at(&mut self, at: Time, happening: Happening) {
        self.queue.push(Reverse((at, self.next)));
        self.happenings.insert(self.next, happening);
        self.next += 1;
    }
}
