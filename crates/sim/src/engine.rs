//! The simulated world, and how its parts are run.
//!
//! Virtual time goes in windows. A window is as long as the fastest message takes, so
//! nothing that happens in one part during a window can matter to another part in the
//! same window (conservative synchronization, Chandy and Misra 1979, with the link's
//! least delay as look-ahead). After each window the parts hand each other their
//! messages. The number of parts is a property of the world, not of the machine:
//! threads only decide who runs them, and the result is the same.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use starling_overlay::{Core, Id, View};
use starling_sansio::Time;

use crate::hosts::Hosts;
use crate::network::Network;
use crate::outside::Shape;
use crate::part::{Part, Script};
use crate::place::{Node, Places};
use crate::tally::Tally;

/// Hosts from which a world has two parts.
const TWO_PARTS: u32 = 256;

/// Nodes that get their tables between two questions whether to go on.
const ASKED_EVERY: usize = 1_024;

/// Messages from one part to another.
type Mail<M> = Vec<(Time, Node, Node, M)>;

/// A whole world: hosts, links, and a script for each part.
pub struct Engine<C: Core<Node>, S> {
    parts: Vec<(Part<C>, S)>,
    places: Arc<Places>,
    look_ahead: Duration,
    now: Time,
    hosts: Hosts,
}

impl<C, S> Engine<C, S>
where
    C: Core<Node> + Send,
    C::Message: Send,
    C::Event: Send,
    C::Config: Send + Sync,
    S: Script<C>,
{
    /// A world of `hosts` hosts, none of them up. `script` makes each part's
    /// script, from the number of parts and which it is.
    pub fn new(
        hosts: impl Into<Hosts>,
        config: &Arc<C::Config>,
        network: Network,
        places: Places,
        seed: u64,
        script: impl FnMut(u32, u32) -> S,
    ) -> Self {
        let hosts: Hosts = hosts.into();
        let parts = if hosts.count() >= TWO_PARTS { 2 } else { 1 };
        Engine::in_parts(parts, hosts, config, network, places, seed, script)
    }

    /// The same in so many parts, 1 or 2.
    pub fn in_parts(
        parts: u32,
        hosts: impl Into<Hosts>,
        config: &Arc<C::Config>,
        network: Network,
        places: Places,
        seed: u64,
        mut script: impl FnMut(u32, u32) -> S,
    ) -> Self {
        let hosts = hosts.into();
        let (network, places) = (Arc::new(Network { hosts, ..network }), Arc::new(places));
        let parts = parts.clamp(1, 2);
        let part = |index| Part::new(Shape { parts, index }, config, &network, &places, seed);
        let look_ahead = network.latency.least().max(Duration::from_micros(1));
        let parts = (0..parts).map(|index| (part(index), script(parts, index))).collect();
        Engine { parts, places, look_ahead, now: Time::ZERO, hosts }
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The hosts, up or not.
    pub fn hosts(&self) -> Hosts {
        self.hosts
    }

    /// The parts and their scripts.
    pub fn parts(&self) -> impl Iterator<Item = &(Part<C>, S)> {
        self.parts.iter()
    }

    /// The parts and their scripts, to be changed between two runs.
    pub fn parts_mut(&mut self) -> impl Iterator<Item = &mut (Part<C>, S)> {
        self.parts.iter_mut()
    }

    /// The part that has node number `node`.
    pub fn part_of(&self, node: u32) -> &Part<C> {
        &self.parts[node as usize % self.parts.len()].0
    }

    /// The part that has node number `node`, to be changed between two runs.
    pub fn part_of_mut(&mut self, node: u32) -> &mut Part<C> {
        let part = node as usize % self.parts.len();
        &mut self.parts[part].0
    }

    /// The part that has node number `node` with its script, to be changed between two runs.
    pub fn part_and_script_of_mut(&mut self, node: u32) -> (&mut Part<C>, &mut S) {
        let part = node as usize % self.parts.len();
        let (part, script) = &mut self.parts[part];
        (part, script)
    }

    /// Everyone who is up, in the order of ids.
    pub fn members(&self) -> Vec<(Id, Node)> {
        let live = self.parts.iter().flat_map(|(part, _)| {
            part.live().iter().filter_map(|&host| part.node(host)).map(|(node, _)| node)
        });
        let mut members: Vec<(Id, Node)> = live.map(|node| (self.places.id(node), node)).collect();
        members.sort_unstable();
        members.dedup_by_key(|member| member.0);
        members
    }

    /// Starts all nodes of `hosts` at once with perfect tables, as long as `go_on` says so,
    /// which is asked now and then; whether all have them.
    pub fn converge(&mut self, hosts: std::ops::Range<u32>, mut go_on: impl FnMut() -> bool) -> bool {
        let all = self.hosts;
        for node in hosts.clone().flat_map(|host| all.nodes(host)) {
            self.part_of_mut(node).start(node, false);
        }
        let members = self.members();
        let view = View::new(&members);
        // In the order of ids, since neighbours' tables are made of the same stretches.
        let wanted = members.iter().map(|member| member.1.host());
        let wanted = wanted.filter(|&node| hosts.contains(&all.of(node)));
        for (count, node) in wanted.enumerate() {
            if count % ASKED_EVERY == 0 && !go_on() {
                return false;
            }
            self.part_of_mut(node).converge(node, &view);
        }
        true
    }

    /// All counts together.
    pub fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        self.parts.iter().for_each(|(part, _)| sum.add(part.tally()));
        sum
    }

    /// Runs everything up to and including `end`, on at most `threads` threads.
    pub fn run_until(&mut self, end: Time, threads: usize) {
        let limit = end + Duration::from_micros(1);
        for (part, script) in &mut self.parts {
            part.tell(script);
        }
        exchange(&mut self.parts);
        if threads > 1 && self.parts.len() == 2 {
            self.run_side_by_side(limit);
        } else {
            self.run_in_turns(limit);
        }
        self.now = end;
        self.parts.iter_mut().for_each(|(part, _)| part.set_now(end));
    }

    fn run_in_turns(&mut self, limit: Time) {
        while let Some(start) = self.parts.iter().filter_map(|(part, _)| part.next_time()).min() {
            if start >= limit {
                break;
            }
            let window = (start + self.look_ahead).min(limit);
            for (part, script) in &mut self.parts {
                part.run_before(window, script);
            }
            exchange(&mut self.parts);
        }
    }

    fn run_side_by_side(&mut self, limit: Time) {
        let shared = Shared::new(self.look_ahead, limit);
        let [first, second] = self.parts.as_mut_slice() else { return };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| shared.run(1, second));
            shared.run(0, first);
            if let Err(panic) = other.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }
}

/// Hands out what the parts sent to each other: to each part from the others in order.
fn exchange<C: Core<Node>, S>(parts: &mut [(Part<C>, S)]) {
    for from in 0..parts.len() {
        for to in (0..parts.len()).filter(|&to| to != from) {
            let mut mail = std::mem::take(parts[from].0.outbox(to));
            mail.drain(..)
                .for_each(|(time, from, to_node, message)| parts[to].0.bring(time, from, to_node, message));
            *parts[from].0.outbox(to) = mail;
        }
    }
}

/// What two threads share.
struct Shared<M> {
    look_ahead: Duration,
    limit: Time,
    /// Each part's next event, in µs.
    next: [AtomicU64; 2],
    /// What is on its way to each part.
    mail: [Mutex<Mail<M>>; 2],
    /// Threads that have come to a meeting, all meetings together.
    arrived: AtomicUsize,
}

impl<M: Send> Shared<M> {
    fn new(look_ahead: Duration, limit: Time) -> Self {
        Shared {
            look_ahead,
            limit,
            next: [AtomicU64::new(0), AtomicU64::new(0)],
            mail: [Mutex::new(Vec::new()), Mutex::new(Vec::new())],
            arrived: AtomicUsize::new(0),
        }
    }

    /// Runs one part, window by window in step with the other.
    fn run<C, S>(&self, index: usize, (part, script): &mut (Part<C>, S))
    where
        C: Core<Node, Message = M>,
        S: Script<C>,
    {
        let _leave = Leave(self);
        loop {
            let mine = part.next_time().map_or(u64::MAX, Time::as_micros);
            self.next[index].store(mine, Ordering::Release);
            if !self.meet() {
                return;
            }
            let others = self.next[1 - index].load(Ordering::Acquire);
            let start = Time::from_micros(mine.min(others));
            if start >= self.limit {
                return;
            }
            part.run_before((start + self.look_ahead).min(self.limit), script);
            self.mailbox(1 - index).append(part.outbox(1 - index));
            if !self.meet() {
                return;
            }
            let mail = std::mem::take(&mut *self.mailbox(index));
            mail.into_iter().for_each(|(time, from, to, message)| part.bring(time, from, to, message));
        }
    }

    fn mailbox(&self, index: usize) -> std::sync::MutexGuard<'_, Mail<M>> {
        self.mail[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until both threads are here; `false` if the other one is gone for good.
    fn meet(&self) -> bool {
        let mine = self.arrived.fetch_add(1, Ordering::AcqRel);
        let both = mine / 2 * 2 + 2;
        let mut turns = 0u32;
        loop {
            let arrived = self.arrived.load(Ordering::Acquire);
            if arrived >= both {
                return arrived < GONE;
            }
            // Windows are short: a thread that slept would be late for most of them.
            turns += 1;
            if turns < 2_000 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

/// More meetings than there ever are.
const GONE: usize = usize::MAX / 2;

/// Frees the other thread when this one is gone, even by a panic.
struct Leave<'a, M>(&'a Shared<M>);

impl<M> Drop for Leave<'_, M> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.arrived.fetch_add(GONE, Ordering::AcqRel);
        }
    }
}
