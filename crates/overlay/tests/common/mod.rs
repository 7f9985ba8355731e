//! A small world for a core's own tests: virtual time, delay, loss, sudden death.
//!
//! Peers are numbers; their ids are spread by chance or evenly. What it lacks on
//! purpose (bandwidth, NATs, churn models, speed) is the simulator's.
#![allow(dead_code)] // each test program uses a part of it

pub mod pastry;
pub mod user;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use starling_overlay::wire::MESSAGE_MAX;
use starling_overlay::{Core, Host, Id, Input, Message, Offence, Purpose, View};
use starling_sansio::{Rng, Time};

/// What waits for its time.
enum Due<M> {
    Message { from: u32, to: u32, message: M },
    Wake { node: u32 },
}

/// Whether a message from one node to another gets lost.
pub type Lost<M> = Box<dyn Fn(u32, u32, &M) -> bool>;

/// The part of the world that a core sees.
pub struct Outside<M, E> {
    /// The time.
    pub now: Time,
    /// Whether nodes lie on a plane and delays are a metric.
    pub plane: bool,
    /// Whether nodes do not know how far others are.
    pub blind: bool,
    /// Messages that get lost, of 1000.
    pub loss_permille: u64,
    /// Between whom every message gets lost, if set: sender, receiver.
    pub cut: Option<Box<dyn Fn(u32, u32) -> bool>>,
    /// Which messages get lost, if set: sender, receiver, message.
    pub drops: Option<Lost<M>>,
    /// By how many microseconds at most a message takes longer than it should.
    pub jitter_us: u64,
    /// One way takes this long for every pair, if set; else see `delay`.
    pub fixed_delay: Option<Duration>,
    /// Every message as (sender, receiver, message), if wanted.
    pub log: Option<Vec<(u32, u32, M)>>,
    /// How many peers in a row are of one household, if not each is one.
    pub household: Option<u32>,
    /// Messages and bytes sent, by purpose.
    pub sent: BTreeMap<Purpose, (u64, u64)>,
    /// What nodes told.
    pub events: Vec<(Time, u32, E)>,
    /// What nodes refused.
    pub offences: Vec<(u32, Offence)>,
    rng: Rng,
    bits: u32,
    even: Option<u64>,
    sequence: u64,
    queue: BTreeMap<(Time, u64), Due<M>>,
    me: u32,
}

/// Nodes of one overlay in virtual time.
pub struct World<C: Core<u32>> {
    /// What the nodes see.
    pub outside: Outside<C::Message, C::Event>,
    /// The nodes; dead ones are gone.
    pub nodes: BTreeMap<u32, C>,
    config: Arc<C::Config>,
    awake: BTreeSet<(u32, Time)>,
}

impl<C: Core<u32>> World<C> {
    /// An empty world in an id space of `bits` bits where chance places the nodes.
    pub fn new(seed: u64, bits: u32, config: C::Config) -> Self {
        let outside = Outside {
            now: Time::ZERO,
            plane: false,
            blind: false,
            loss_permille: 0,
            cut: None,
            drops: None,
            jitter_us: 0,
            fixed_delay: None,
            log: None,
            household: None,
            sent: BTreeMap::new(),
            events: Vec::new(),
            offences: Vec::new(),
            rng: Rng::from_seed(seed),
            bits,
            even: None,
            sequence: 0,
            queue: BTreeMap::new(),
            me: 0,
        };
        World { outside, nodes: BTreeMap::new(), config: Arc::new(config), awake: BTreeSet::new() }
    }

    /// The classroom's world: node n of `count` stands at n times the space's share.
    pub fn even(seed: u64, bits: u32, count: u64, config: C::Config) -> Self {
        let mut world = World::new(seed, bits, config);
        world.outside.even = Some(count);
        world
    }

    /// Puts a node there that takes no part yet.
    pub fn add(&mut self, node: u32) {
        self.nodes.insert(node, C::new(node, &self.config));
    }

    /// Nodes 0 to `count`, all members with perfect tables.
    pub fn converged(&mut self, count: u32) {
        self.converged_from(0, count);
    }

    /// The same, named from `first` on: other names, other places.
    pub fn converged_from(&mut self, first: u32, count: u32) {
        let nodes = first..first + count;
        let mut members: Vec<(Id, u32)> = nodes.clone().map(|n| (self.outside.place(n), n)).collect();
        members.sort_unstable();
        for node in nodes {
            self.add(node);
            self.with(node, |core, now, outside| core.converge(now, &View::new(&members), outside));
        }
    }

    /// Tells a node to do something.
    pub fn command(&mut self, node: u32, command: C::Command) {
        self.with(node, |core, now, outside| core.handle(now, Input::Command(command), outside));
    }

    /// Hands `to` a message as if `from` had sent it.
    pub fn inject(&mut self, from: u32, to: u32, message: C::Message) {
        self.with(to, |core, now, outside| core.handle(now, Input::Message { from, message }, outside));
    }

    /// Tells a node that its link to `peer` broke.
    pub fn unreachable(&mut self, node: u32, peer: u32) {
        self.with(node, |core, now, outside| core.handle(now, Input::Unreachable(peer), outside));
    }

    /// Takes the node away without a word.
    pub fn kill(&mut self, node: u32) {
        self.nodes.remove(&node);
    }

    /// Runs until `end`.
    pub fn run_until(&mut self, end: Time) {
        while let Some((&(time, sequence), _)) = self.outside.queue.first_key_value() {
            if time > end {
                break;
            }
            self.outside.now = time;
            match self.outside.queue.remove(&(time, sequence)) {
                Some(Due::Message { from, to, message }) => {
                    self.with(to, |core, now, outside| {
                        core.handle(now, Input::Message { from, message }, outside);
                    });
                }
                Some(Due::Wake { node }) => {
                    self.awake.remove(&(node, time));
                    let due = self.nodes.get(&node).and_then(C::next_timeout);
                    if due.is_some_and(|due| due <= time) {
                        self.with(node, C::handle_timeout);
                    }
                }
                None => {}
            }
        }
        self.outside.now = end;
    }

    /// Runs for that long.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.outside.now + duration);
    }

    /// Lets a node see the time as `then`, whatever it is.
    pub fn at(
        &mut self,
        then: Time,
        node: u32,
        act: impl FnOnce(&mut C, Time, &mut Outside<C::Message, C::Event>),
    ) {
        let Some(core) = self.nodes.get_mut(&node) else { return };
        self.outside.me = node;
        act(core, then, &mut self.outside);
    }

    fn with(&mut self, node: u32, act: impl FnOnce(&mut C, Time, &mut Outside<C::Message, C::Event>)) {
        let Some(core) = self.nodes.get_mut(&node) else { return };
        self.outside.me = node;
        let now = self.outside.now;
        act(core, now, &mut self.outside);
        if let Some(due) = core.next_timeout().map(|due| due.max(now))
            && self.awake.insert((node, due))
        {
            self.outside.push(due, Due::Wake { node });
        }
    }
}

impl<M, E> Outside<M, E> {
    /// Where a node stands.
    pub fn place(&self, node: u32) -> Id {
        match self.even {
            Some(count) => Id::small(u64::from(node) * ((1 << self.bits) / count), self.bits),
            None => Id::hash(&node.to_be_bytes()).truncated(self.bits),
        }
    }

    /// How long a message takes from one node to another.
    pub fn delay(&self, a: u32, b: u32) -> Duration {
        if self.plane {
            let (a, b) = (on_plane(a), on_plane(b));
            return Duration::from_micros(1 + (a.0 - b.0).hypot(a.1 - b.1) as u64);
        }
        self.fixed_delay.unwrap_or_else(|| delay(a, b))
    }

    fn push(&mut self, time: Time, due: Due<M>) {
        self.sequence += 1;
        self.queue.insert((time, self.sequence), due);
    }
}

/// Bytes that a message of so many has where peers are named by their IPv6 addresses.
fn longest<M: Message<u32>>(message: &M, bytes: usize) -> usize {
    let mut peers = 0;
    if bytes > MESSAGE_MAX / 16 {
        message.clone().visit_peers(&mut |_| peers += 1);
    }
    bytes + (20 - 4) * peers
}

/// Where a node lies on a square whose side takes 100 ms, in microseconds.
fn on_plane(node: u32) -> (f64, f64) {
    let mut chance = Rng::from_seed(0x504c_414e ^ u64::from(node));
    (chance.unit() * 100_000.0, chance.unit() * 100_000.0)
}

/// One way takes 10 to 50 ms, the same for a pair each time.
fn delay(a: u32, b: u32) -> Duration {
    let mixed = u64::from(a.min(b)).wrapping_mul(0x9e37_79b9).wrapping_add(u64::from(a.max(b)) * 7919);
    Duration::from_micros(10_000 + mixed % 40_000)
}

impl<M: Message<u32>, E> Host<u32, M, E> for Outside<M, E> {
    fn id(&self, peer: u32) -> Id {
        self.place(peer)
    }

    fn household(&self, peer: u32) -> u64 {
        self.household.map_or_else(|| self.place(peer).high(), |peers| u64::from(peer / peers))
    }

    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn distance(&self, peer: u32) -> Option<Duration> {
        (!self.blind).then(|| 2 * self.delay(self.me, peer))
    }

    fn send(&mut self, to: u32, message: M) {
        let entry = self.sent.entry(message.purpose()).or_default();
        *entry = (entry.0 + 1, entry.1 + message.wire_len() as u64);
        let from = self.me;
        if let Some(log) = &mut self.log {
            log.push((from, to, message.clone()));
        }
        // What one node says another can read: every test also tests the wire.
        let bytes = message.to_wire();
        assert!(longest(&message, bytes.len()) <= MESSAGE_MAX, "too long to be sent: {message:?}");
        let message = M::from_wire(&bytes).expect("what a core sends can be read");
        let cut = self.cut.as_ref().is_some_and(|cut| cut(from, to))
            || self.drops.as_ref().is_some_and(|drops| drops(from, to, &message));
        if self.rng.below(1000) >= self.loss_permille && !cut {
            let jitter = if self.jitter_us > 0 { self.rng.below(self.jitter_us) } else { 0 };
            let arrival = self.now + self.delay(from, to) + Duration::from_micros(jitter);
            self.push(arrival, Due::Message { from, to, message });
        }
    }

    fn emit(&mut self, event: E) {
        self.events.push((self.now, self.me, event));
    }

    fn refuse(&mut self, _from: Option<u32>, offence: Offence) {
        self.offences.push((self.me, offence));
    }
}
