//! Arrival and departure ("Self-organization and adaptation").
//!
//! A newcomer's request is routed to its own id. Each node on the way shows it the rows
//! of its table that fit, the root its leaf set. The newcomer asks every leaf whether
//! it is there, and those they name; when all have answered, its leaf set is right, it
//! is in theirs, and it tells everybody in its table.

use std::time::Duration;

use starling_sansio::Time;

use super::message::MAX_ROWS;
use super::{Join, LeafSet, MAX_HOPS, Pastry, PastryMessage, Place, Stage, Table, What, World};
use crate::wire::List;
use crate::{Offence, Peer, Routing, RpcId, View};

/// Longest pause between two attempts to join.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// An attempt to join.
#[derive(Clone, Copy, Debug)]
pub struct Joining<P> {
    pub through: P,
    pub nonce: u32,
    pub wait: Duration,
    pub deadline: Time,
}

impl<P: Peer> Pastry<P> {
    pub(super) fn join<H: World<P>>(&mut self, through: Option<P>, host: &mut H) {
        match through {
            Some(peer) if peer == self.me => host.refuse(None, Offence::NamesItself),
            Some(peer) if self.stage == Stage::Member => self.probe_leaf(peer, host),
            Some(through) => {
                self.stage = Stage::Joining;
                self.past.came_through(through);
                let wait = self.config.join_timeout;
                self.busy().joining = Some(Joining { through, nonce: 0, wait, deadline: Time::ZERO });
                self.join_again(host);
            }
            None if self.stage == Stage::Member => {}
            None => self.arrive(host),
        }
    }

    /// Sends the request, for the first time or because nothing came of it.
    pub(super) fn join_again<H: World<P>>(&mut self, host: &mut H) {
        let now = self.now;
        let Some(joining) = self.busy.as_mut().and_then(|busy| busy.joining.as_mut()) else { return };
        if self.stage == Stage::Settling || joining.deadline > now {
            return;
        }
        if self.stage == Stage::Member {
            self.busy().joining = None;
            return;
        }
        joining.deadline = now + joining.wait;
        joining.wait = (2 * joining.wait).min(MAX_WAIT);
        joining.nonce = host.rng().next_u32();
        let (through, nonce) = (joining.through, joining.nonce);
        self.ask(through, What::Join(Join { newcomer: self.me, nonce, hops: 1, row: 0 }), host);
    }

    pub(super) fn on_join<H: World<P>>(&mut self, from: P, rpc: RpcId, join: Join<P>, host: &mut H) {
        if join.newcomer == self.me || (join.hops == 1) != (join.newcomer == from) {
            return host.refuse(Some(from), Offence::NamesItself);
        }
        if !(1..=MAX_HOPS).contains(&join.hops) {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        host.send(from, PastryMessage::Ack { rpc });
        let width = self.config.width();
        let shared = host.id(self.me).common_prefix(host.id(join.newcomer)) / width;
        let fitting = (u32::from(join.row)..=shared).flat_map(|row| self.table.row(row, width));
        let near = self.neighborhood.iter().filter(|_| join.hops == 1);
        let peers = fitting.chain(near).filter(|&&peer| peer != join.newcomer);
        let peers: List<P, MAX_ROWS> = peers.copied().collect();
        host.send(join.newcomer, PastryMessage::JoinRows { nonce: join.nonce, peers });
        let row = join.row.max((shared + 1).min(255) as u8);
        self.show_way(Join { hops: join.hops + 1, row, ..join }, &[join.newcomer, from], host);
    }

    /// Passes a newcomer's request on, or shows it the leaf set.
    fn show_way<H: World<P>>(&mut self, join: Join<P>, skip: &[P], host: &mut H) {
        if let Some(next) = self.next_hop(host.id(join.newcomer), skip, host) {
            return self.ask(next, What::Join(join), host);
        }
        let leaf = self.shown_leaf().iter().filter(|&&peer| peer != join.newcomer).copied().collect();
        host.send(join.newcomer, PastryMessage::JoinLeaf { nonce: join.nonce, leaf });
    }

    /// A node did not take a newcomer's request: another way.
    pub(super) fn show_way_again<H: World<P>>(&mut self, peer: P, join: Join<P>, host: &mut H) {
        if join.newcomer != self.me && self.is_in() {
            let mut skip = self.silent_with(peer);
            skip.push(join.newcomer);
            self.show_way(join, &skip, host);
        }
    }

    /// Whether `nonce` is that of the attempt under way.
    fn is_joining(&self, nonce: u32) -> bool {
        let joining = self.busy.as_ref().and_then(|busy| busy.joining.as_ref());
        joining.is_some_and(|joining| joining.nonce == nonce)
    }

    /// A node on the way shows rows of its table.
    pub(super) fn on_join_rows<H: World<P>>(&mut self, from: P, nonce: u32, peers: &[P], host: &mut H) {
        if !self.is_joining(nonce) {
            return host.refuse(Some(from), Offence::UnknownReply);
        }
        if peers.contains(&from) || peers.contains(&self.me) {
            return host.refuse(Some(from), Offence::NamesItself);
        }
        // A member has been asked for more than it wants, and believes only who it has asked.
        let peers = if self.stage == Stage::Member { &[] } else { peers };
        for &peer in peers.iter().chain([&from]) {
            self.offer_table(peer, host);
        }
    }

    /// The root shows its leaf set: this node can route now.
    pub(super) fn on_join_leaf<H: World<P>>(&mut self, from: P, nonce: u32, leaf: &[P], host: &mut H) {
        if !self.is_joining(nonce) || self.stage == Stage::Settling {
            return host.refuse(Some(from), Offence::UnknownReply);
        }
        if leaf.contains(&from) || leaf.contains(&self.me) {
            return host.refuse(Some(from), Offence::NamesItself);
        }
        if self.stage == Stage::Member {
            return self.found_beyond(from, leaf, host);
        }
        self.stage = Stage::Settling;
        if let Some(joining) = self.busy.as_mut().and_then(|busy| busy.joining.as_mut()) {
            joining.deadline = Time::NEVER;
        }
        self.heard(from, host);
        leaf.iter().for_each(|&peer| self.offer_leaf(peer, host));
        self.shown_leaf().iter().for_each(|&peer| self.probe_leaf(peer, host));
    }

    /// Once every leaf has answered or will not, this node is a member.
    pub(super) fn settle<H: World<P>>(&mut self, host: &mut H) {
        let waits = |busy: &super::Busy<P>| {
            busy.open.iter().any(|(_, asked)| matches!(asked.what, What::Leaf { .. }))
        };
        if self.stage != Stage::Settling || self.busy.as_ref().is_some_and(|busy| waits(busy)) {
            return;
        }
        if !self.leaf.is_empty() {
            return self.arrive(host);
        }
        // All that the root named are gone, and it too.
        self.stage = Stage::Joining;
        if let Some(joining) = self.busy.as_mut().and_then(|busy| busy.joining.as_mut()) {
            joining.deadline = self.now;
        }
        self.join_again(host);
    }

    fn arrive<H: World<P>>(&mut self, host: &mut H) {
        self.stage = Stage::Member;
        if let Some(busy) = &mut self.busy {
            busy.joining = None;
        }
        self.start_timers(host);
        for peer in self.table.entries().to_vec() {
            if !self.leaf.contains(peer) {
                self.ask(peer, What::Ping { rival: None }, host);
            }
        }
        host.emit(Routing::Joined);
    }

    pub(super) fn leave<H: World<P>>(&mut self, host: &mut H) {
        if self.is_in() {
            let leaf = self.shown_leaf();
            leaf.iter().for_each(|&peer| host.send(peer, PastryMessage::Bye { leaf: leaf.clone() }));
        }
        let lookups: Vec<u32> =
            self.busy.iter().flat_map(|busy| busy.lookups.iter().map(|lookup| lookup.op)).collect();
        *self = Pastry { now: self.now, ..super::Core::new(self.me, &self.config) };
        for op in lookups {
            let (op, cost) = (crate::Op(op), crate::Cost::default());
            host.emit(Routing::Closest { op, peers: Vec::new(), cost });
        }
        host.emit(Routing::Left);
    }

    /// The tables as they would be after infinite time among `view`'s members.
    pub(super) fn fill_from<H: World<P>>(&mut self, view: &View<'_, P>, host: &mut H) {
        let (me, width, half) = (host.id(self.me), self.config.width(), self.config.half());
        let (count, at) = (view.len() as isize, view.successor(me) as isize);
        let side = |way: isize| -> Vec<P> {
            let steps = 1..=(half as isize).min(count - 1);
            steps.filter_map(|step| view.at(at as usize, way * step)).map(|one| one.1).collect()
        };
        self.leaf = LeafSet::from_sides(&side(-1), &side(1), half);
        self.table = Table::default();
        let mut row = 0;
        while view.prefix(me, row * width).len() > 1 && row * width < crate::Id::BITS {
            let own = me.digit(row, width);
            for digit in (0..1 << width).filter(|&digit| digit != own) {
                let prefix = with_digit(me, row, digit, width);
                let fitting = view.prefix(prefix, (row + 1) * width);
                if let Some(peer) = self.nearest_of(fitting, host) {
                    self.table.set(Place { row, digit }, peer, width);
                }
            }
            row += 1;
        }
        self.table.shrink();
        self.neighborhood = Vec::new();
        if self.config.neighborhood > 0 {
            let sample = (0..self.config.sample.max(2 * self.config.neighborhood).min(view.len()))
                .map(|_| view.members()[host.rng().index(view.len())].1);
            let mut near: Vec<P> = sample.filter(|&peer| peer != self.me).collect();
            near.sort_by_key(|&peer| (host.distance(peer), peer));
            near.dedup();
            near.truncate(self.config.neighborhood);
            self.neighborhood = near;
        }
    }

    /// The nearest of at most [`super::Config::sample`] of `fitting`, from a place
    /// on that chance says.
    fn nearest_of<H: World<P>>(&self, fitting: &[(crate::Id, P)], host: &mut H) -> Option<P> {
        let start = host.rng().index(fitting.len());
        let (before, after) = fitting.split_at_checked(start)?;
        let some = after.iter().chain(before).take(self.config.sample.max(1)).map(|one| one.1);
        some.min_by_key(|&peer| host.distance(peer))
    }
}

/// The first `row` digits of `id`, then `digit`, then zeros.
fn with_digit(id: crate::Id, row: u32, digit: u32, width: u32) -> crate::Id {
    let bits = (0..width).filter(|bit| digit >> (width - 1 - bit) & 1 == 1);
    bits.fold(id.truncated(row * width), |id, bit| id.plus(crate::Id::bit(row * width + bit)))
}
