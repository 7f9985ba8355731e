//! A virtual world for swarms: nodes with a [`Torrent`] and a disk, links with
//! delay and bandwidth, virtual time, one seed.
//!
//! The vocabulary: [`World::seed`], [`World::leech`], [`World::connect`],
//! [`World::run_until`], [`World::run_for`]. A node misbehaves as its [`Manner`] says.

mod content;
mod disk;
mod node;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use starling_metainfo::Bitfield;
use starling_sansio::{Machine, Rng, Time};
use starling_swarm::{
    Block, Config, ConnId, FetchEnd, Hello, Input, Message, Output, Reserved, SeedId, Torrent,
};

pub use content::{Content, KIB, MIB, Tag};
pub use node::{Manner, Node, NodeId, ip_of};

/// Messages up to so many bytes do not count for a node's own line.
const SMALL: u64 = 1000;

/// A connection between two nodes, the same both ways.
#[derive(Clone, Copy, Debug)]
pub struct LinkSpec {
    /// One way.
    pub delay: Duration,
    /// Bytes per second each way.
    pub rate: u64,
}

impl LinkSpec {
    pub fn lan() -> LinkSpec {
        LinkSpec { delay: Duration::from_micros(200), rate: 125_000_000 }
    }

    /// By round trip and rate.
    pub fn of(rtt_millis: u64, rate: u64) -> LinkSpec {
        LinkSpec { delay: Duration::from_micros(rtt_millis * 500), rate }
    }
}

#[derive(Debug)]
enum Happening {
    Arrive { to: NodeId, conn: ConnId, message: Message, tag: Tag, size: u64 },
    Deliver { to: NodeId, conn: ConnId, message: Message, tag: Tag },
    Sent { node: NodeId, conn: ConnId, bytes: u32 },
    Gone { node: NodeId, conn: ConnId },
    Verify { node: NodeId, piece: u32 },
    Digest { node: NodeId, piece: u32 },
    Wake { node: NodeId },
    Fetched { node: NodeId, seed: SeedId, block: Block, tag: Tag },
    FetchEnded { node: NodeId, seed: SeedId, end: FetchEnd },
}

/// One direction of a connection.
#[derive(Debug)]
struct Pipe {
    to: NodeId,
    conn: ConnId,
    spec: LinkSpec,
    /// When the wire is free for the next message.
    free: Time,
    /// When the last message to this end was handed over.
    arrived: Time,
}

/// See the module.
pub struct World {
    pub now: Time,
    pub content: Content,
    pub nodes: Vec<Node>,
    pub rng: Rng,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    pipes: BTreeMap<(NodeId, ConnId), Pipe>,
    next_seq: u64,
    next_conn: u32,
    /// Everything that came out, folded: equal for equal seeds.
    pub digest: u64,
    /// Messages of each node to peers, if recorded.
    pub record: bool,
    pub said: Vec<(NodeId, Message)>,
}

impl World {
    pub fn new(seed: u64, content: Content) -> World {
        World {
            now: Time::from_secs(1),
            content,
            nodes: Vec::new(),
            rng: Rng::from_seed(seed),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            pipes: BTreeMap::new(),
            next_seq: 0,
            next_conn: 0,
            digest: 0,
            record: false,
            said: Vec::new(),
        }
    }

    /// A node that has everything.
    pub fn seed(&mut self) -> NodeId {
        let all = Bitfield::full(self.content.layout().pieces());
        self.node(Config::default(), Some(all))
    }

    /// A node that has nothing but the metadata.
    pub fn leech(&mut self) -> NodeId {
        self.leech_with(Config::default())
    }

    pub fn leech_with(&mut self, config: Config) -> NodeId {
        let none = Bitfield::new(self.content.layout().pieces());
        self.node(config, Some(none))
    }

    /// A node that knows the torrent's name alone.
    pub fn magnet(&mut self) -> NodeId {
        self.node(Config::default(), None)
    }

    /// A node with these pieces.
    pub fn node(&mut self, config: Config, have: Option<Bitfield>) -> NodeId {
        let id = self.nodes.len();
        let rng = self.rng.fork();
        let peer_id = *b"-ST0001-000000000000";
        let mut peer_id = peer_id;
        peer_id[16..].copy_from_slice(&(id as u32).to_be_bytes());
        let port = 6881;
        let torrent = Torrent::new(self.content.info().hashes, config, rng, peer_id, port);
        self.nodes.push(Node::new(torrent, peer_id, self.content.layout()));
        if let Some(have) = have {
            self.load(id, have);
        }
        id
    }

    /// Gives a node the metadata.
    pub fn load(&mut self, node: NodeId, have: Bitfield) {
        let piece_layers =
            if self.nodes[node].fresh_magnet { BTreeMap::new() } else { self.content.piece_layers() };
        self.nodes[node].disk.load(&have);
        let info = self.content.info().clone();
        self.input(node, Input::Loaded { info, piece_layers, have });
    }

    /// Connects two nodes; `a` dials.
    pub fn connect(&mut self, a: NodeId, b: NodeId, spec: LinkSpec) {
        let (from_a, from_b) = (ConnId(self.next_conn), ConnId(self.next_conn + 1));
        self.next_conn += 2;
        let pipe = |to, conn| Pipe { to, conn, spec, free: self.now, arrived: self.now };
        self.pipes.insert((a, from_a), pipe(b, from_b));
        self.pipes.insert((b, from_b), pipe(a, from_a));
        let v2 = self.content.info().v2;
        let hello = |node: &Node, id, outbound| Hello {
            addr: node::addr_of(id, if outbound { 6881 } else { 40_000 }),
            peer_id: node.peer_id,
            reserved: node.reserved,
            outbound,
            v2,
        };
        let reserved = |a: Reserved, b: Reserved| {
            let mut both = a;
            both.0.iter_mut().zip(b.0).for_each(|(x, y)| *x &= y);
            both
        };
        let both = reserved(self.nodes[a].reserved, self.nodes[b].reserved);
        let (mut to_a, mut to_b) = (hello(&self.nodes[b], b, true), hello(&self.nodes[a], a, false));
        (to_a.reserved, to_b.reserved) = (both, both);
        self.input(a, Input::Connected { conn: from_a, hello: to_a });
        self.input(b, Input::Connected { conn: from_b, hello: to_b });
    }

    /// Connects every node with every other.
    pub fn connect_all(&mut self, spec: LinkSpec) {
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                self.connect(a, b, spec);
            }
        }
    }

    /// Runs until `done` holds; false if that took more than `limit`.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&World) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            if !self.step(end) {
                self.now = end;
                return done(self);
            }
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until all nodes in `who` have finished.
    pub fn run_until_finished(&mut self, who: &[NodeId], limit: Duration) -> bool {
        self.run_until(limit, |w| who.iter().all(|&n| w.nodes[n].torrent.is_finished()))
    }

    /// Has every live connection between two nodes gone?
    pub fn connected(&self, a: NodeId, b: NodeId) -> bool {
        self.pipes.iter().any(|((from, _), pipe)| *from == a && pipe.to == b)
    }

    /// Hands one input to a node and does what comes out.
    pub fn input(&mut self, node: NodeId, input: Input) {
        let mut out = Vec::new();
        self.nodes[node].torrent.handle(self.now, input, &mut out);
        self.apply(node, out, 0);
    }

    fn step(&mut self, end: Time) -> bool {
        let Some(&Reverse((at, seq))) = self.queue.peek() else { return false };
        if at > end {
            return false;
        }
        self.queue.pop();
        let Some(happening) = self.happenings.remove(&seq) else { return true };
        self.now = self.now.max(at);
        self.happen(happening);
        true
    }

    fn happen(&mut self, happening: Happening) {
        let mut out = Vec::new();
        let (node, tag) = match happening {
            Happening::Arrive { to, conn, message, tag, size } => {
                return self.arrive(to, conn, message, tag, size);
            }
            Happening::Deliver { to, conn, message, tag } => {
                if !self.pipes.contains_key(&(to, conn)) {
                    return;
                }
                self.nodes[to].torrent.handle(self.now, Input::Message { conn, message }, &mut out);
                (to, tag)
            }
            Happening::Sent { node, conn, bytes } => {
                if !self.pipes.contains_key(&(node, conn)) {
                    return;
                }
                self.nodes[node].torrent.handle(self.now, Input::Sent { conn, bytes }, &mut out);
                (node, 0)
            }
            Happening::Gone { node, conn } => {
                if self.pipes.remove(&(node, conn)).is_some() {
                    self.nodes[node].torrent.handle(self.now, Input::Disconnected { conn }, &mut out);
                }
                (node, 0)
            }
            Happening::Verify { node, piece } => {
                let Some(input) = self.nodes[node].disk.verdict(piece, &self.content) else { return };
                self.nodes[node].torrent.handle(self.now, input, &mut out);
                (node, 0)
            }
            Happening::Digest { node, piece } => {
                let digests = self.nodes[node].disk.digests(piece, &self.content);
                self.nodes[node].torrent.handle(self.now, Input::BlockDigests { piece, digests }, &mut out);
                (node, 0)
            }
            Happening::Wake { node } => {
                self.nodes[node].wake = None;
                self.nodes[node].wakes += 1;
                self.nodes[node].torrent.handle_timeout(self.now, &mut out);
                (node, 0)
            }
            Happening::Fetched { node, seed, block, tag } => {
                if self.nodes[node].fetching.contains(&seed) {
                    self.nodes[node].torrent.handle(self.now, Input::Fetched { seed, block }, &mut out);
                }
                (node, tag)
            }
            Happening::FetchEnded { node, seed, end } => {
                if self.nodes[node].fetching.remove(&seed) {
                    self.nodes[node].torrent.handle(self.now, Input::FetchEnded { seed, end }, &mut out);
                }
                (node, 0)
            }
        };
        self.apply(node, out, tag);
    }

    fn apply(&mut self, node: NodeId, out: Vec<Output>, tag: Tag) {
        for output in out {
            self.fold(node, &output);
            match output {
                Output::Send { conn, message } => self.send(node, conn, message),
                Output::SendBlock { conn, block } => self.send_block(node, conn, block),
                Output::Store { block } => {
                    if self.nodes[node].disk.store(block, tag, self.content.layout()) {
                        let at = self.now + self.nodes[node].disk_delay;
                        self.at(at, Happening::Verify { node, piece: block.piece });
                    }
                }
                Output::Retry { piece, keep } => {
                    self.nodes[node].disk.retry(piece, &keep, self.content.layout());
                }
                Output::Digest { piece } => self.at(self.now, Happening::Digest { node, piece }),
                Output::Close { conn, why } => self.close(node, conn, why),
                Output::Fetch { seed, piece, length } => self.fetch(node, seed, piece, length),
                Output::CancelFetch { seed } => {
                    let end = FetchEnd::Retry { after_secs: 1 };
                    self.at(self.now, Happening::FetchEnded { node, seed, end });
                }
                Output::PieceRoots { file, roots } => self.nodes[node].learned.push((file, roots)),
                Output::Event(event) => self.nodes[node].events.push((self.now, event)),
            }
        }
        self.set_wake(node);
    }

    fn set_wake(&mut self, node: NodeId) {
        let n = &mut self.nodes[node];
        if let Some(at) = n.torrent.next_timeout()
            && n.wake.is_none_or(|wake| at < wake)
        {
            n.wake = Some(at);
            self.at(at.max(self.now), Happening::Wake { node });
        }
    }

    fn send(&mut self, node: NodeId, conn: ConnId, message: Message) {
        if self.record {
            self.said.push((node, message.clone()));
        }
        if self.nodes[node].swallows(&message, self.now) {
            return;
        }
        let size = match &message {
            Message::Bitfield(bytes) | Message::Extended { payload: bytes, .. } => 6 + bytes.len() as u64,
            Message::Hashes { hashes, .. } => 53 + 32 * hashes.len() as u64,
            _ => 17,
        };
        self.transmit(node, conn, message, size, 0);
    }

    fn send_block(&mut self, node: NodeId, conn: ConnId, block: Block) {
        assert!(self.nodes[node].torrent.bitfield().get(block.piece), "serves only what it has");
        self.nodes[node].served += u64::from(block.length);
        *self.nodes[node].served_pieces.entry(block.piece).or_default() += u64::from(block.length);
        if self.nodes[node].withholds(block, self.now) {
            return self.at(self.now, Happening::Sent { node, conn, bytes: block.length });
        }
        let tag = self.nodes[node].tag_for(block, node as Tag);
        let done = self.transmit(node, conn, Message::Piece(block), u64::from(block.length) + 13, tag);
        self.at(done, Happening::Sent { node, conn, bytes: block.length });
    }

    /// Puts a message on the wire; when its last byte has left.
    fn transmit(&mut self, node: NodeId, conn: ConnId, message: Message, size: u64, tag: Tag) -> Time {
        let now = self.now;
        let Some(pipe) = self.pipes.get_mut(&(node, conn)) else { return now };
        let micros = |rate: u64| Duration::from_nanos((size as f64 * 1e9 / rate as f64) as u64);
        let mut start = pipe.free.max(now);
        if size > SMALL {
            let sender = &mut self.nodes[node];
            sender.up_free = sender.up_free.max(now) + micros(sender.up_rate);
            start = start.max(sender.up_free);
        }
        let left = start + micros(pipe.spec.rate);
        pipe.free = left;
        let (to, to_conn, at) = (pipe.to, pipe.conn, left + pipe.spec.delay);
        self.at(at, Happening::Arrive { to, conn: to_conn, message, tag, size });
        left
    }

    /// The last byte of a message has come to a node's own line.
    fn arrive(&mut self, to: NodeId, conn: ConnId, message: Message, tag: Tag, size: u64) {
        let Some(pipe) = self.pipes.get_mut(&(to, conn)) else { return };
        let receiver = &mut self.nodes[to];
        let mut at = self.now;
        if size > SMALL {
            let takes = Duration::from_nanos((size as f64 * 1e9 / receiver.down_rate as f64) as u64);
            receiver.down_free = receiver.down_free.max(at) + takes;
            at = receiver.down_free;
        }
        pipe.arrived = pipe.arrived.max(at);
        let at = pipe.arrived;
        if let Message::Piece(block) = &message {
            receiver.received += u64::from(block.length);
        }
        self.at(at, Happening::Deliver { to, conn, message, tag });
    }

    fn close(&mut self, node: NodeId, conn: ConnId, why: starling_swarm::Closing) {
        self.nodes[node].closed.push(why);
        if let Some(pipe) = self.pipes.get(&(node, conn)) {
            let (to, other, at) = (pipe.to, pipe.conn, self.now + pipe.spec.delay);
            self.at(at, Happening::Gone { node: to, conn: other });
        }
        self.at(self.now, Happening::Gone { node, conn });
    }

    /// Cuts all connections between two nodes.
    pub fn cut(&mut self, a: NodeId, b: NodeId) {
        let hit = |((from, conn), pipe): (&(NodeId, ConnId), &Pipe)| {
            ((*from, pipe.to) == (a, b) || (*from, pipe.to) == (b, a)).then_some((*from, *conn))
        };
        let gone: Vec<_> = self.pipes.iter().filter_map(hit).collect();
        for (node, conn) in gone {
            self.at(self.now, Happening::Gone { node, conn });
        }
    }

    fn fetch(&mut self, node: NodeId, seed: SeedId, piece: u32, length: u64) {
        let spec = self.nodes[node].web_seeds.get(&seed).copied().expect("a web seed that was added");
        assert!(self.nodes[node].fetching.insert(seed), "one fetch at a time");
        let mut at = self.now + spec.link.delay * 2;
        let layout = self.content.layout().clone();
        let mut left = length;
        let (mut piece, mut fetched) = (piece, 0);
        while left > 0 {
            let whole = u64::from(layout.piece_len(piece));
            for index in 0..layout.blocks(piece) {
                let begin = index * starling_metainfo::BLOCK_LENGTH;
                let length = layout.asked_len(piece, begin);
                at = at + Duration::from_nanos(u64::from(length) * 1_000_000_000 / spec.link.rate);
                let block = Block { piece, begin, length };
                fetched += u64::from(length);
                if spec.breaks_after.is_none_or(|most| fetched <= most) && length > 0 {
                    self.at(at, Happening::Fetched { node, seed, block, tag: spec.tag });
                }
            }
            left = left.checked_sub(whole).expect("whole pieces");
            piece += 1;
        }
        let broken = spec.breaks_after.is_some_and(|most| fetched > most);
        let end = if broken { FetchEnd::Retry { after_secs: 1 } } else { FetchEnd::Done };
        self.at(at, Happening::FetchEnded { node, seed, end });
    }

    /// Tells a node of a web seed.
    pub fn web_seed(&mut self, node: NodeId, spec: WebSeedSpec) -> SeedId {
        let seed = SeedId(self.nodes[node].web_seeds.len() as u32);
        self.nodes[node].web_seeds.insert(seed, spec);
        self.input(node, Input::AddWebSeed { seed });
        seed
    }

    fn at(&mut self, at: Time, happening: Happening) {
        self.queue.push(Reverse((at, self.next_seq)));
        self.happenings.insert(self.next_seq, happening);
        self.next_seq += 1;
    }

    fn fold(&mut self, node: NodeId, output: &Output) {
        if self.record {
            let text = format!("{} {node} {output:?}", self.now.as_micros());
            for byte in text.bytes() {
                self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
}

/// A web seed of the world.
#[derive(Clone, Copy, Debug)]
pub struct WebSeedSpec {
    pub link: LinkSpec,
    /// 0 for the torrent's own bytes.
    pub tag: Tag,
    /// Breaks off after so many bytes of each fetch.
    pub breaks_after: Option<u64>,
}
