//! Random walkers, on their way and at their origin.

use std::time::Duration;

use starling_sansio::Time;

use super::message::{Message, QueryId, What};
use super::origin::Plan;
use super::{Gnutella, Strategy, World};
use crate::{Offence, Peer, RpcId};

/// Steps of a walker at most.
pub const MAX_WALK: u16 = 4096;
/// Walkers that wait at a node for their origin's word.
pub const MAX_HELD: usize = 64;

/// A walker at a node.
#[derive(Clone, Debug)]
pub(super) struct Held<P> {
    /// The neighbour it came from.
    pub from: P,
    pub id: QueryId,
    pub origin: P,
    pub walker: u8,
    pub ttl: u16,
    pub hops: u16,
    pub what: What,
}

/// A walker, as its origin knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walker {
    /// When it should have been heard of.
    until: Time,
    /// Steps it had left when it was heard of; 0 when it has ended.
    left: u16,
}

impl<P: Peer> Gnutella<P> {
    /// A walker comes: answers it, and sends it on or asks its origin.
    ///
    /// Unlike a flooded query it goes on though it was here before, and its hits go
    /// straight to the origin, whom it must name to be checked anyway: a path of a
    /// hundred steps is no way back.
    pub(super) fn on_walk(&mut self, now: Time, mut walk: Held<P>, host: &mut impl World<P>) {
        let from = walk.from;
        if !self.hear_neighbour(from, host) {
            return;
        }
        if walk.ttl == 0 || walk.ttl.saturating_add(walk.hops) > MAX_WALK {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        let Strategy::Walkers { check_every, .. } = self.config.strategy else {
            // Nobody here sends walkers; and without checks all whom one meets would
            // answer an origin that never asked.
            return host.refuse(Some(from), Offence::Misdirected);
        };
        if self.first_time(now, walk.id, from)
            && walk.origin != self.me
            && let Some(records) = self.own(&walk.what)
        {
            let Held { id, hops, .. } = walk;
            let hit = Message::QueryHit { id, ttl: 1, hops, push: false, provider: self.me, records };
            host.send(walk.origin, hit);
        }
        walk.ttl -= 1;
        walk.hops += 1;
        if walk.origin == self.me {
            self.step(walk, host);
        } else if walk.ttl == 0 {
            let rpc = RpcId(host.rng().next_u32());
            host.send(walk.origin, Message::Check { id: walk.id, rpc, walker: walk.walker, left: 0 });
        } else if walk.hops.is_multiple_of(check_every.max(1)) {
            self.check(now, walk, host);
        } else {
            self.step(walk, host);
        }
    }

    fn step(&self, walk: Held<P>, host: &mut impl World<P>) {
        if let Some(next) = self.neighbours.any(Some(walk.from), host.rng())
            && walk.ttl > 0
        {
            let Held { id, origin, walker, ttl, hops, what, .. } = walk;
            host.send(next, Message::Walk { id, origin, walker, ttl, hops, what });
        }
    }

    fn check(&mut self, now: Time, walk: Held<P>, host: &mut impl World<P>) {
        let (id, origin, walker, left) = (walk.id, walk.origin, walk.walker, walk.ttl);
        let deadline = now + self.config.patience(1);
        match self.held.open(origin, deadline, walk, host.rng()) {
            Some(rpc) => host.send(origin, Message::Check { id, rpc, walker, left }),
            None => host.refuse(Some(origin), Offence::Full),
        }
    }

    /// The origin's word on a walker that waits here.
    pub(super) fn on_go(&mut self, from: P, id: QueryId, rpc: RpcId, go: bool, host: &mut impl World<P>) {
        match self.held.close(rpc, from) {
            Some(walk) if walk.id == id => {
                if go {
                    self.step(walk, host);
                }
            }
            _ => host.refuse(Some(from), Offence::UnknownReply),
        }
    }

    /// A node where a walker of this one stands asks whether it shall go on.
    pub(super) fn on_check(
        &mut self,
        now: Time,
        from: P,
        (id, rpc): (QueryId, RpcId),
        walker: u8,
        left: u16,
        host: &mut impl World<P>,
    ) {
        let until = now + self.walker_timeout();
        let grace = now + self.config.patience(1);
        let Some(search) = self.searches.iter_mut().find(|search| search.id == id) else {
            return host.send(from, Message::Go { id, rpc, go: false });
        };
        let Plan::Walk { walkers } = &mut search.plan else {
            return host.refuse(Some(from), Offence::OutOfRange);
        };
        match walkers.get_mut(usize::from(walker)) {
            // Its steps only ever get fewer, so nobody can keep it alive for ever.
            Some(walker) if left < walker.left => *walker = Walker { until, left },
            _ => return host.refuse(Some(from), Offence::OutOfRange),
        }
        if walkers.iter().all(|walker| walker.left == 0) {
            search.due = grace;
        } else {
            search.due = next_due(walkers);
        }
        if left > 0 {
            host.send(from, Message::Go { id, rpc, go: true });
        }
    }

    /// Begins a search by walkers.
    pub(super) fn send_walkers(
        &mut self,
        now: Time,
        at: usize,
        count: u8,
        ttl: u16,
        host: &mut impl World<P>,
    ) {
        let (ttl, until) = (ttl.clamp(1, MAX_WALK), now + self.walker_timeout());
        let mut starts: Vec<P> = self.neighbours.peers().collect();
        host.rng().shuffle(&mut starts);
        let walkers = vec![Walker { until, left: ttl }; usize::from(count.max(1))];
        for (number, &next) in (0..count.max(1)).zip(starts.iter().cycle()) {
            self.send_walker(at, next, number, ttl, host);
        }
        self.searches[at].plan = Plan::Walk { walkers };
        self.searches[at].due = until;
    }

    fn send_walker(&self, at: usize, next: P, walker: u8, ttl: u16, host: &mut impl World<P>) {
        let search = &self.searches[at];
        let (id, origin, what) = (search.id, self.me, search.what().clone());
        host.send(next, Message::Walk { id, origin, walker, ttl, hops: 0, what });
    }

    /// Replaces walkers that were not heard of; ends the search when none is left.
    pub(super) fn look_after_walkers(&mut self, now: Time, at: usize, host: &mut impl World<P>) {
        let Strategy::Walkers { check_every, .. } = self.config.strategy else { return self.end(at, host) };
        let timeout = self.walker_timeout();
        let mut lost = Vec::new();
        let search = &mut self.searches[at];
        let Plan::Walk { walkers } = &mut search.plan else { return };
        for (number, walker) in walkers.iter_mut().enumerate() {
            if walker.left > 0 && walker.until <= now {
                let left = walker.left.saturating_sub(check_every.max(1));
                *walker = Walker { until: now + timeout, left };
                search.timeouts += 1;
                lost.push((number as u8, left));
            }
        }
        if walkers.iter().all(|walker| walker.left == 0) {
            return self.end(at, host);
        }
        search.due = next_due(walkers);
        for (number, left) in lost {
            if let Some(next) = self.neighbours.any(None, host.rng())
                && left > 0
            {
                self.send_walker(at, next, number, left, host);
            }
        }
    }

    /// How long a walker may not be heard of: the steps to its next check, the check,
    /// and as much again.
    fn walker_timeout(&self) -> Duration {
        let steps = match self.config.strategy {
            Strategy::Walkers { check_every, .. } => u32::from(check_every) + 3,
            _ => 1,
        };
        self.config.hop_time * steps
    }
}

/// When the first walker should have been heard of.
fn next_due(walkers: &[Walker]) -> Time {
    walkers.iter().filter(|walker| walker.left > 0).map(|walker| walker.until).min().unwrap_or(Time::NEVER)
}
