//! A part of the simulated world: some hosts, their events, their tallies.
//!
//! Nodes go by number. Where each host has one node, that is the host's; where it has
//! several, [`Hosts`] tells which are whose, and the first has the host's number.
//!
//! The world has a fixed number of parts, and each part is run by one thread at a
//! time. A part draws chance from its own seed and sees other parts only through
//! messages, which take longer than a window of time; so the result is the same
//! whether the parts take turns or run side by side.

use std::sync::Arc;

use starling_overlay::{Core, Id, Input, WARM_STEPS, prefetch};
use starling_sansio::{Rng, Time};

use crate::hosts::Hosts;
use crate::network::Network;
use crate::outside::{Due, Letter, Outside, Sent, Shape};
use crate::place::{Node, Places};
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

/// Events between one step of fetching a node from memory and the next: enough for what was
/// asked for to have come, few enough for it to be there still.
const APART: usize = 8;

/// How many events before its own a node is fetched so far.
const fn turn(steps: u32) -> usize {
    (WARM_STEPS - steps) as usize * APART
}

/// Fetches the nodes of the first events of a slot, step by step, before whose turn
/// nothing happens in which they could be fetched one by one.
fn in_steps(warm: impl Fn(usize, u32)) {
    (0..WARM_STEPS).for_each(|steps| (0..turn(steps)).for_each(|after| warm(after, steps)));
}

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
        let outside = Outside::new(shape, count, network, places, seed);
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

    /// One of this part's hosts, up or not, by its number among them.
    pub fn host(&self, at: u32) -> Option<u32> {
        let Shape { parts, index } = self.outside.shape;
        (at < self.count()).then_some(at * parts + index)
    }

    /// The numbers of the nodes on `host`.
    pub fn nodes_of(&self, host: u32) -> impl Iterator<Item = u32> + use<C> {
        self.all_hosts().nodes(host)
    }

    /// The host of a node.
    pub fn host_of(&self, node: Node) -> u32 {
        self.all_hosts().of(node.host())
    }

    /// How many hosts this part has, up or not.
    pub fn count(&self) -> u32 {
        self.outside.shape.share(self.all_hosts().count())
    }

    fn all_hosts(&self) -> Hosts {
        self.outside.network.hosts
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
        self.outside.shape.place(host).1
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
            let until = due.map_or(limit, |due| Time::from_micros(due.as_micros() + 1));
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

    /// Has the nodes of coming messages fetched from memory: each event of a large world
    /// would wait for its own.
    #[inline]
    fn warm_receivers(&self) {
        let letters = &self.outside.letters;
        let warm = |after, steps| {
            if let Some(letter) = letters.coming(after) {
                self.warm(letter.to.host(), Some((letter.from, &letter.message)), steps);
            }
        };
        if letters.begins() {
            in_steps(warm);
        }
        (0..WARM_STEPS).for_each(|steps| warm(turn(steps), steps));
    }

    /// The same for nodes that will be woken.
    #[inline]
    fn warm_sleepers(&self) {
        let timers = &self.outside.timers;
        let warm = |after, steps| {
            if let Some(&Due::Wake { host }) = timers.coming(after) {
                self.warm(host, None, steps);
            }
        };
        if timers.begins() {
            in_steps(warm);
        }
        (0..WARM_STEPS).for_each(|steps| warm(turn(steps), steps));
    }

    /// Asks for the memory that lies `steps` pointers away from the slot of `host`.
    #[inline]
    fn warm(&self, host: u32, message: Option<(Node, &C::Message)>, steps: u32) {
        let Some(slot) = self.slots.get(self.at(host)) else { return };
        match &slot.core {
            _ if steps == 0 => prefetch(slot),
            Some(core) => core.warm(message, steps, |node| self.id(node)),
            None => {}
        }
    }

    fn deliver(&mut self, from: Node, to: Node, message: C::Message) {
        let at = self.at(to.host());
        self.outside.tally.note(self.outside.now, from, to);
        let there = self.slots.get(at).is_some_and(|slot| slot.core.is_some() && slot.life == to.life());
        if !there {
            self.outside.tally.lost += 1;
            return;
        }
        if !self.outside.holes.is_empty() && !self.outside.lets_in(from, to) {
            self.outside.tally.lost += 1;
            return;
        }
        let received = &mut self.slots[at].received;
        *received = received.wrapping_add(1);
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
