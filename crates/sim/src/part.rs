//! A part of the simulated world: some hosts, their events, their tallies.
//!
//! Nodes go by number. Where each host has one node, that is the host's; where it has
//! several, [`Hosts`] tells which are whose, and the first has the host's number.
//!
//! The world has a fixed number of parts, and each part is run by one thread at a
//! time. A part draws chance from its own seed and sees other parts only through
//! messages, which take longer than a window of time; so the result is the same
//! whether the parts take turns or run side by side.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use starling_overlay::{Core, Host, Id, Input, Message, Offence, Purpose};
use starling_sansio::{Rng, Time};

use crate::hosts::Hosts;
use crate::network::{Hostility, NAT_MEMORY, Network};
use crate::place::{Node, Places};
use crate::queue::Queue;
use crate::tally::Tally;

/// What a simulation is told to do with the nodes, one for each part.
pub trait Script<C: Core<Node>>: Send {
    /// A planned moment has come.
    fn due(&mut self, tag: u64, part: &mut Part<C>);

    /// A node told something.
    fn told(&mut self, node: Node, event: C::Event, part: &mut Part<C>);

    /// In a part that is watched ([`Part::watch`]): the nodes on these hosts did
    /// something in the last event, came or went.
    fn changed(&mut self, _hosts: &[u32], _part: &Part<C>) {}
}

/// A message on its way.
pub(crate) struct Letter<M> {
    from: Node,
    to: Node,
    message: M,
}

/// What is due without a message. Most pending events are wakes, so that they have a
/// queue of their own, whose entries are small.
#[derive(Clone, Copy)]
pub(crate) enum Due {
    Wake { host: u32 },
    Plan { tag: u64 },
}

/// A node while it is up, and what the world knows of it.
struct Slot<C> {
    core: Option<C>,
    /// When it is next woken; never: not planned.
    wake: Time,
    /// Messages that it received.
    received: u32,
    /// Its place among the part's live hosts.
    listed: u32,
    life: u8,
}

/// Some of the hosts, and all that happens to them.
pub struct Part<C: Core<Node>> {
    slots: Vec<Slot<C>>,
    /// Hosts that are up, in an order that only the past decides.
    live: Vec<u32>,
    /// How often a host came up or went down.
    changes: u64,
    /// Hosts on which something happened of which the script was not told, if it is.
    touched: Option<Vec<u32>>,
    config: Arc<C::Config>,
    outside: Outside<C::Message, C::Event>,
}

/// What a core can reach: the driver of a simulated node.
pub struct Outside<M, E> {
    pub(crate) now: Time,
    pub(crate) letters: Queue<Letter<M>>,
    pub(crate) timers: Queue<Due>,
    /// Messages to other parts, by part.
    pub(crate) outbox: Vec<Vec<(Time, Node, Node, M)>>,
    pub(crate) tally: Tally,
    rng: Rng,
    network: Arc<Network>,
    places: Arc<Places>,
    told: VecDeque<(Node, E)>,
    /// When each host's uplink is free again, if uplinks are limited.
    uplinks: Vec<Time>,
    /// For hosts behind a NAT: to whom they sent of late.
    holes: Vec<Vec<(u32, Time)>>,
    shape: Shape,
    me: Node,
    /// Every message in order, if wanted.
    log: Option<Vec<Sent<M>>>,
}

/// A message that was sent, for a trace.
#[derive(Clone, Debug)]
pub struct Sent<M> {
    /// When.
    pub time: Time,
    /// By whom.
    pub from: Node,
    /// To whom.
    pub to: Node,
    /// What.
    pub message: M,
}

/// Which hosts belong to a part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) parts: u32,
    pub(crate) index: u32,
}

impl Shape {
    /// How many of the numbers below `count` fall to this part.
    fn share(self, count: u32) -> u32 {
        count.saturating_sub(self.index).div_ceil(self.parts)
    }
}

/// Events whose nodes are fetched at once: as many misses of the cache as a processor
/// can wait for together, while what they bring still fits into it.
const AHEAD: usize = 24;

/// Peers that a NAT remembers at most, for each host.
const MAX_HOLES: usize = 4_096;

impl<C: Core<Node>> Part<C> {
    pub(crate) fn new(
        shape: Shape,
        config: &Arc<C::Config>,
        network: &Arc<Network>,
        places: &Arc<Places>,
        seed: u64,
    ) -> Self {
        let count = shape.share(network.hosts.numbers()) as usize;
        let slot = || Slot { core: None, wake: Time::NEVER, received: 0, listed: 0, life: 0 };
        let outside = Outside {
            now: Time::ZERO,
            letters: Queue::default(),
            timers: Queue::default(),
            outbox: (0..shape.parts).map(|_| Vec::new()).collect(),
            tally: Tally::default(),
            rng: Rng::from_seed(seed ^ (u64::from(shape.index) << 56)),
            network: network.clone(),
            places: places.clone(),
            told: VecDeque::new(),
            uplinks: if network.uplink.is_some() { vec![Time::ZERO; count] } else { Vec::new() },
            holes: if network.natted > 0.0 { vec![Vec::new(); count] } else { Vec::new() },
            shape,
            me: Node::new(0, 0),
            log: None,
        };
        let slots = std::iter::repeat_with(slot).take(count).collect();
        Part { slots, live: Vec::new(), changes: 0, touched: None, config: config.clone(), outside }
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.outside.now
    }

    /// Chance for scripts.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.outside.rng
    }

    /// Where a node stands.
    pub fn id(&self, node: Node) -> Id {
        self.outside.places.id(node)
    }

    /// What was counted so far.
    pub fn tally(&self) -> &Tally {
        &self.outside.tally
    }

    /// The links.
    pub fn network(&self) -> &Arc<Network> {
        &self.outside.network
    }

    /// This part's nodes that are up.
    pub fn live(&self) -> &[u32] {
        &self.live
    }

    /// How often a host of this part came up or went down.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// All hosts of this part.
    pub fn hosts(&self) -> impl Iterator<Item = u32> + use<C> {
        let Shape { parts, index } = self.outside.shape;
        (0..self.count()).map(move |at| at * parts + index)
    }

    /// The numbers of the nodes on `host`.
    pub fn nodes_of(&self, host: u32) -> impl Iterator<Item = u32> + use<C> {
        self.all_hosts().nodes(host)
    }

    /// How many hosts this part has, up or not.
    pub fn count(&self) -> u32 {
        self.outside.shape.share(self.all_hosts().count())
    }

    fn all_hosts(&self) -> Hosts {
        self.outside.network.hosts
    }

    /// One of this part's hosts, drawn by chance.
    pub fn random_host(&mut self) -> Option<u32> {
        let (Shape { parts, index }, count) = (self.outside.shape, self.count());
        let at = self.outside.rng.index(count as usize) as u32;
        (at < count).then_some(at * parts + index)
    }

    /// One of this part's nodes that are up, drawn by chance.
    pub fn random_live(&mut self) -> Option<u32> {
        let at = self.outside.rng.index(self.live.len());
        self.live.get(at).copied()
    }

    /// The node that runs on `host`.
    pub fn node(&self, host: u32) -> Option<(Node, &C)> {
        let slot = &self.slots[self.at(host)];
        Some((Node::new(host, slot.life), slot.core.as_ref()?))
    }

    /// Messages that a host received in all its lives.
    pub fn received(&self, host: u32) -> u32 {
        self.slots[self.at(host)].received
    }

    /// Reads a node's tables with the driver's eyes.
    pub fn inspect<T>(
        &self,
        host: u32,
        look: impl FnOnce(&C, &Outside<C::Message, C::Event>) -> T,
    ) -> Option<T> {
        self.slots[self.at(host)].core.as_ref().map(|core| look(core, &self.outside))
    }

    /// Calls the script with `tag` at `time`.
    pub fn plan(&mut self, time: Time, tag: u64) {
        self.outside.timers.push(time, Due::Plan { tag });
    }

    /// Starts a node on `host`; with `fresh`, under a name that it did not have before.
    pub fn start(&mut self, host: u32, fresh: bool) -> Node {
        let at = self.at(host);
        let slot = &mut self.slots[at];
        if slot.core.is_none() {
            slot.life = slot.life.wrapping_add(u8::from(fresh));
            slot.wake = Time::NEVER;
            slot.core = Some(C::new(Node::new(host, slot.life), &self.config));
            slot.listed = self.live.len() as u32;
            self.live.push(host);
            self.changes += 1;
        }
        Node::new(host, slot.life)
    }

    /// Takes the node on `host` away without a word.
    pub fn stop(&mut self, host: u32) {
        let at = self.at(host);
        if self.slots[at].core.take().is_none() {
            return;
        }
        self.changes += 1;
        self.touched.iter_mut().for_each(|touched| touched.push(host));
        let place = self.slots[at].listed as usize;
        self.live.swap_remove(place);
        if let Some(&moved) = self.live.get(place) {
            let moved = self.at(moved);
            self.slots[moved].listed = place as u32;
        }
    }

    /// Tells the node on `host` to do something.
    pub fn command(&mut self, host: u32, command: C::Command) {
        let at = self.at(host);
        self.step(at, host, |core, now, outside| core.handle(now, Input::Command(command), outside));
    }

    /// Gives the node on `host` perfect tables.
    pub fn converge(&mut self, host: u32, view: &starling_overlay::View<'_, Node>) {
        let at = self.at(host);
        self.step(at, host, |core, now, outside| core.converge(now, view, outside));
    }

    /// Tells the script after each event on which hosts something happened.
    pub fn watch(&mut self) {
        self.touched.get_or_insert_default();
    }

    /// Logs every message from now on.
    pub fn log(&mut self) {
        self.outside.log = Some(Vec::new());
    }

    /// What was logged.
    pub fn logged(&mut self) -> Vec<Sent<C::Message>> {
        self.outside.log.take().unwrap_or_default()
    }

    fn at(&self, host: u32) -> usize {
        (host / self.outside.shape.parts) as usize
    }

    fn step(
        &mut self,
        at: usize,
        host: u32,
        act: impl FnOnce(&mut C, Time, &mut Outside<C::Message, C::Event>),
    ) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        let Some(core) = &mut slot.core else { return };
        self.touched.iter_mut().for_each(|touched| touched.push(host));
        let outside = &mut self.outside;
        outside.me = Node::new(host, slot.life);
        act(core, outside.now, outside);
        if let Some(due) = core.next_timeout()
            && due < slot.wake
        {
            slot.wake = due.max(outside.now);
            outside.timers.push(slot.wake, Due::Wake { host });
        }
    }

    /// Everything that happens before `limit`. Of one moment, messages come first.
    pub(crate) fn run_before(&mut self, limit: Time, script: &mut impl Script<C>) {
        loop {
            let due = self.outside.timers.peek_before(limit);
            // A message that arrives when a timer is due comes before it.
            let until = due.map_or(limit, |due| due + Duration::from_micros(1));
            if self.outside.letters.peek_before(until).is_some() {
                self.warm_receivers();
                let Some((time, letter)) = self.outside.letters.take() else { break };
                self.outside.now = self.outside.now.max(time);
                self.deliver(letter.from, letter.to, letter.message);
            } else if due.is_some() {
                self.warm_sleepers();
                let Some((time, due)) = self.outside.timers.take() else { break };
                self.outside.now = self.outside.now.max(time);
                match due {
                    Due::Wake { host } => self.wake(time, host),
                    Due::Plan { tag } => script.due(tag, self),
                }
            } else {
                break;
            }
            self.tell(script);
        }
    }

    /// Has the nodes of the next messages fetched from memory, all at once: one after the
    /// other, each event of a large world would wait for its own.
    fn warm_receivers(&mut self) {
        let (slots, parts) = (&self.slots, self.outside.shape.parts);
        let mut sum = 0u64;
        self.outside.letters.look_ahead(AHEAD, |letter| {
            let slot = slots.get((letter.to.host() / parts) as usize);
            let core = slot.and_then(|slot| slot.core.as_ref());
            sum = sum.wrapping_add(core.map_or(0, |core| core.warm(Some(&letter.message))));
        });
        std::hint::black_box(sum);
    }

    /// The same for nodes that will be woken.
    fn warm_sleepers(&mut self) {
        let (slots, parts) = (&self.slots, self.outside.shape.parts);
        let mut sum = 0u64;
        self.outside.timers.look_ahead(AHEAD, |due| {
            let Due::Wake { host } = *due else { return };
            let core = slots.get((host / parts) as usize).and_then(|slot| slot.core.as_ref());
            sum = sum.wrapping_add(core.map_or(0, |core| core.warm(None)));
        });
        std::hint::black_box(sum);
    }

    fn deliver(&mut self, from: Node, to: Node, message: C::Message) {
        let at = self.at(to.host());
        self.outside.tally.note(self.outside.now, from, to);
        let slot = &mut self.slots[at];
        if slot.core.is_none() || slot.life != to.life() {
            self.outside.tally.lost += 1;
            return;
        }
        if !self.outside.holes.is_empty() && !self.outside.lets_in(from, to) {
            self.outside.tally.lost += 1;
            return;
        }
        slot.received = slot.received.wrapping_add(1);
        self.step(at, to.host(), |core, now, outside| {
            core.handle(now, Input::Message { from, message }, outside);
        });
    }

    fn wake(&mut self, time: Time, host: u32) {
        let at = self.at(host);
        let slot = &mut self.slots[at];
        // A wake for another life, or for what an earlier one has already done.
        if slot.wake != time {
            return;
        }
        slot.wake = Time::NEVER;
        self.outside.tally.wakes += 1;
        self.step(at, host, |core, now, outside| {
            if core.next_timeout().is_some_and(|due| due <= now) {
                core.handle_timeout(now, outside);
            }
        });
    }

    /// Brings a message from another part.
    pub(crate) fn bring(&mut self, time: Time, from: Node, to: Node, message: C::Message) {
        self.outside.letters.push(time, Letter { from, to, message });
    }

    pub(crate) fn outbox(&mut self, part: usize) -> &mut Vec<(Time, Node, Node, C::Message)> {
        &mut self.outside.outbox[part]
    }

    pub(crate) fn next_time(&self) -> Option<Time> {
        let times = [self.outside.letters.next_time(), self.outside.timers.next_time()];
        times.into_iter().flatten().min()
    }

    pub(crate) fn set_now(&mut self, now: Time) {
        self.outside.now = self.outside.now.max(now);
    }

    /// Tells the script what it has not seen yet: of the last event, or of commands from
    /// outside the run.
    pub(crate) fn tell(&mut self, script: &mut impl Script<C>) {
        while let Some((node, event)) = self.outside.told.pop_front() {
            script.told(node, event, self);
        }
        if let Some(touched) = self.touched.as_mut().map(std::mem::take).filter(|touched| !touched.is_empty())
        {
            script.changed(&touched, self);
        }
    }
}

impl<M, E> Outside<M, E> {
    /// The place of a node's host among this part's.
    fn host_at(&self, node: Node) -> usize {
        (self.network.hosts.of(node.host()) / self.shape.parts) as usize
    }

    /// Whether the NAT of `to`, a node of this part, lets `from` in.
    fn lets_in(&self, from: Node, to: Node) -> bool {
        let (holes, from) = (&self.holes[self.host_at(to)], self.network.hosts.of(from.host()));
        !self.network.is_natted(to.host())
            || holes.iter().any(|&(peer, until)| peer == from && until >= self.now)
    }

    /// `from` sent to `to`: its NAT lets answers in for a while.
    fn open_hole(&mut self, from: Node, to: Node) {
        if !self.network.is_natted(from.host()) {
            return;
        }
        let (now, until) = (self.now, self.now + NAT_MEMORY);
        let (at, to) = (self.host_at(from), self.network.hosts.of(to.host()));
        let holes = &mut self.holes[at];
        match holes.iter_mut().find(|hole| hole.0 == to) {
            Some(hole) => hole.1 = until,
            None => {
                holes.retain(|hole| hole.1 >= now);
                if holes.len() < MAX_HOLES {
                    holes.push((to, until));
                }
            }
        }
    }

    /// How long the message must wait for those sent before it.
    fn queue_uplink(&mut self, from: Node, bytes: u64) -> Duration {
        let Some(rate) = self.network.uplink else { return Duration::ZERO };
        let at = self.host_at(from);
        let free = &mut self.uplinks[at];
        let takes = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1));
        *free = (*free).max(self.now) + takes;
        free.since(self.now)
    }
}

impl<M: Message<Node>, E> Outside<M, E> {
    /// What a hostile node does to a message of its own; `false`: it does not send it.
    fn spoil(&mut self, how: Hostility, message: &mut M) -> bool {
        if !matches!(message.purpose(), Purpose::LookUp | Purpose::Search) {
            return true;
        }
        match how {
            Hostility::Drop => false,
            Hostility::Lie => {
                let (network, rng) = (&self.network, &mut self.rng);
                message.visit_peers(&mut |peer| {
                    // Someone hostile near by number: any will do, since ids are random.
                    let start = rng.next_u32() % 1_024;
                    let friend = (start..start + 256).find(|&host| network.hostility(host).is_some());
                    *peer = friend.map_or(*peer, |host| Node::new(host, 0));
                });
                true
            }
        }
    }
}

impl<M: Message<Node>, E> Host<Node, M, E> for Outside<M, E> {
    #[inline]
    fn id(&self, peer: Node) -> Id {
        self.places.id(peer)
    }

    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn distance(&self, peer: Node) -> Option<Duration> {
        Some(self.network.round_trip(self.me.host(), peer.host()))
    }

    #[inline]
    fn send(&mut self, to: Node, mut message: M) {
        let from = self.me;
        if self.network.hostile.is_some()
            && let Some(how) = self.network.hostility(from.host())
            && !self.spoil(how, &mut message)
        {
            return;
        }
        let bytes = self.tally.sent(&message);
        if let Some(log) = &mut self.log {
            log.push(Sent { time: self.now, from, to, message: message.clone() });
        }
        let waits = self.queue_uplink(from, bytes);
        if !self.holes.is_empty() {
            self.open_hole(from, to);
        }
        let Some(delay) = self.network.carry(self.now, from.host(), to.host(), &mut self.rng) else {
            self.tally.lost += 1;
            return;
        };
        let time = self.now + waits + delay;
        let part = to.host() % self.shape.parts;
        if part == self.shape.index {
            self.letters.push(time, Letter { from, to, message });
        } else {
            self.outbox[part as usize].push((time, from, to, message));
        }
    }

    fn emit(&mut self, event: E) {
        self.told.push_back((self.me, event));
    }

    fn refuse(&mut self, _from: Option<Node>, offence: Offence) {
        self.tally.refuse(offence);
    }
}
