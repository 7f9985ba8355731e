//! What a simulated node can reach: its driver, which is the part of the world that it
//! is in. Messages go through the links, their costs are counted, and liars spoil theirs.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use starling_overlay::{Host, Id, Message, Offence, Purpose};
use starling_sansio::{Rng, Time};

use crate::network::{Hostility, NAT_MEMORY, Network, Spot};
use crate::place::{Node, Places};
use crate::queue::Queue;
use crate::tally::Tally;

/// What a core can reach: the driver of a simulated node.
pub struct Outside<M, E> {
    pub(crate) now: Time,
    pub(crate) letters: Queue<Letter<M>>,
    pub(crate) timers: Queue<Due>,
    /// Messages to other parts, by part.
    pub(crate) outbox: Vec<Vec<(Time, Node, Node, M)>>,
    pub(crate) tally: Tally,
    pub(crate) rng: Rng,
    pub(crate) network: Arc<Network>,
    pub(crate) places: Arc<Places>,
    pub(crate) told: VecDeque<(Node, E)>,
    /// When each host's uplink is free again, if uplinks are limited.
    uplinks: Vec<Time>,
    /// For hosts behind a NAT: to whom they sent of late.
    pub(crate) holes: Vec<Vec<(u32, Time)>>,
    pub(crate) shape: Shape,
    pub(crate) me: Node,
    /// Where the node that last measured a distance stands.
    spot: Cell<Option<(Node, Spot)>>,
    /// Every message in order, if wanted.
    pub(crate) log: Option<Vec<Sent<M>>>,
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
    /// Which part `host` falls to, and its place among that part's. There are one or two
    /// parts, and this is asked too often for a division.
    #[inline]
    pub(crate) fn place(self, host: u32) -> (u32, usize) {
        debug_assert!(self.parts == 1 || self.parts == 2, "{} parts", self.parts);
        (host & (self.parts - 1), (host >> (self.parts - 1)) as usize)
    }

    /// How many of the numbers below `count` fall to this part.
    pub(crate) fn share(self, count: u32) -> u32 {
        count.saturating_sub(self.index).div_ceil(self.parts)
    }
}

/// A message on its way.
pub(crate) struct Letter<M> {
    pub(crate) from: Node,
    pub(crate) to: Node,
    pub(crate) message: M,
}

/// What is due without a message. Most pending events are wakes, so that they have a
/// queue of their own, whose entries are small.
#[derive(Clone, Copy)]
pub(crate) enum Due {
    Wake { host: u32 },
    Plan { tag: u64 },
}

/// Hosts among which a liar looks for another.
const FRIENDS: usize = 4_096;
/// Peers that a NAT remembers at most, for each host.
const MAX_HOLES: usize = 4_096;

impl<M, E> Outside<M, E> {
    /// The world of a part that has `count` nodes.
    pub(crate) fn new(
        shape: Shape,
        count: usize,
        network: &Arc<Network>,
        places: &Arc<Places>,
        seed: u64,
    ) -> Self {
        Outside {
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
            spot: Cell::new(None),
            log: None,
        }
    }

    /// The place of a node's host among this part's.
    fn host_at(&self, node: Node) -> usize {
        self.shape.place(self.network.hosts.of(node.host())).1
    }

    /// Whether the NAT of `to`, a node of this part, lets `from` in.
    pub(crate) fn lets_in(&self, from: Node, to: Node) -> bool {
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
                let count = network.hosts.numbers();
                message.visit_peers(&mut |peer| {
                    // Someone hostile near by number: any will do, since ids are random.
                    let start = rng.below(count.into()) as u32;
                    let mut near = (start..count).chain(0..start).take(FRIENDS);
                    let friend = near.find(|&host| network.hostility(host).is_some());
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
        let spot = match self.spot.get().filter(|spot| spot.0 == self.me) {
            Some((_, spot)) => Some(spot),
            None => self.network.spot(self.me.host()),
        };
        let Some(spot) = spot else {
            return Some(self.network.round_trip(self.me.host(), peer.host()));
        };
        self.spot.set(Some((self.me, spot)));
        Some(self.network.round_trip_from(&spot, peer.host()))
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
        let (part, _) = self.shape.place(to.host());
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
