//! Finds: look-ups under way, and what they are for.

use starling_sansio::Time;

use super::{
    Busy, IterativeLookup, Kademlia, KademliaMessage, MAX_FINDS, Plan, Role, SHORTLIST, Trust, Why, World,
};
use crate::{Cost, Id, Offence, Op, Peer, Routing, RpcId, prefetch};

/// A look-up and what it is for.
#[derive(Debug)]
pub(super) struct Find<P> {
    pub(super) lookup: IterativeLookup<P>,
    task: Task,
}

impl<P> Find<P> {
    /// Asks for all of it but what it has on the heap.
    pub(super) fn warm(&self) {
        prefetch(self);
        prefetch(&self.task);
    }
}

/// What a look-up is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Task {
    /// Our own place, to join.
    Join,
    /// A bucket.
    Refresh,
    /// Our own place again.
    Neighbors,
    /// Our own place in what may be another network.
    Beyond,
    /// A user's find.
    User { op: Op, values: bool },
}

impl<P: Peer> Kademlia<P> {
    /// The user's find.
    pub(super) fn find(&mut self, op: Op, key: Id, values: bool, host: &mut impl World<P>) {
        if self.role != Role::Member {
            return host.emit(Routing::Closest { op, peers: Vec::new(), cost: Cost::default() });
        }
        self.touched |= 1 << self.table.bucket_of(key);
        self.begin(Task::User { op, values }, key, &[], host);
    }

    /// The user's find `op` is to be over when all k have answered.
    pub(super) fn widen_find(&mut self, op: Op) {
        for find in self.finds().iter_mut().flatten() {
            if matches!(find.task, Task::User { op: other, .. } if other == op) {
                find.lookup.widen();
            }
        }
    }

    /// Forgets the user's find without a word.
    pub(super) fn cancel(&mut self, op: Op) {
        for find in self.finds().iter_mut().flatten() {
            if matches!(find.task, Task::User { op: other, .. } if other == op) {
                find.lookup.close();
            }
        }
        self.drop_quiet();
    }

    /// Ends all finds of the user.
    pub(super) fn give_up(&mut self, host: &mut impl World<P>) {
        for find in self.busy.take().into_iter().flat_map(|busy| busy.finds).flatten() {
            if let Task::User { op, .. } = find.task
                && !find.lookup.is_closed()
            {
                host.emit(Routing::Closest { op, peers: Vec::new(), cost: Cost::default() });
            }
        }
    }

    /// Starts a look-up of `target` from our contacts and `more`, or from `more` alone if it
    /// goes beyond them. False if there are too many, which a find of the user is told.
    pub(super) fn begin(&mut self, task: Task, target: Id, more: &[P], host: &mut impl World<P>) -> bool {
        let config = &self.config;
        let user = matches!(task, Task::User { .. });
        let plan = Plan {
            k: config.k,
            enough: if task == Task::Refresh { config.refresh_enough } else { config.enough },
            alpha: config.alpha,
            strict: config.strict,
            paths: if user { config.paths } else { 1 },
            patience: config.patience,
            timeout: config.timeout,
        };
        // As many as are remembered: those nearest may all be dead.
        let first = config.k * SHORTLIST;
        let mut known = Vec::with_capacity(first + more.len());
        if task != Task::Beyond {
            self.table.closest(target, first, Trust::Usable, None, |peer| host.id(peer), &mut known);
        }
        known.extend(more);
        let lookup = IterativeLookup::new(target, plan, &known, |peer| host.id(peer));
        let Some(slot) = self.free_slot() else {
            if let Task::User { op, .. } = task {
                host.emit(Routing::Closest { op, peers: Vec::new(), cost: Cost::default() });
            }
            return false;
        };
        self.pump(slot, Box::new(Find { lookup, task }), host);
        true
    }

    /// The answer to a find.
    pub(super) fn found(&mut self, from: P, rpc: RpcId, peers: &[P], host: &mut impl World<P>) {
        if peers.len() > self.config.k {
            return host.refuse(Some(from), Offence::TooMany);
        }
        if peers.iter().any(|&peer| peer == self.me || peer == from) {
            return host.refuse(Some(from), Offence::NamesItself);
        }
        let slot = rpc.0 as usize % MAX_FINDS;
        let Some(mut find) = self.finds().get_mut(slot).and_then(Option::take) else {
            return host.refuse(Some(from), Offence::UnknownReply);
        };
        let known = find.lookup.answer(rpc.0, from, peers, |peer| host.id(peer));
        self.pump(slot, find, host);
        if known {
            self.heard(from, host);
        } else {
            host.refuse(Some(from), Offence::UnknownReply);
        }
        self.rest();
    }

    /// `from` answered the user's find `op` with a value instead; whether it was asked.
    pub(super) fn valued(&mut self, op: Op, from: P, host: &mut impl World<P>) -> bool {
        let task = Task::User { op, values: true };
        let mut finds = self.finds().iter_mut().flatten().filter(|find| find.task == task);
        if !finds.any(|find| find.lookup.settled(from)) {
            return false;
        }
        self.heard(from, host);
        self.drop_quiet();
        true
    }

    /// How many the user's find `op` has asked in vain so far.
    pub(super) fn vain(&self, op: Op) -> u32 {
        let mut finds = self.busy.iter().flat_map(|busy| busy.finds.iter().flatten());
        let find = finds.find(|find| matches!(find.task, Task::User { op: other, .. } if other == op));
        find.map_or(0, |find| find.lookup.in_vain())
    }

    /// Questions whose time is over.
    pub(super) fn expire_finds(&mut self, host: &mut impl World<P>) {
        for slot in 0..self.finds().len() {
            let Some(mut find) = self.finds()[slot].take() else { continue };
            while let Some(peer) = find.lookup.expire(self.last) {
                // A closed one may have been answered in another way: by a value.
                if !find.lookup.is_closed() {
                    self.lost(peer, false, host);
                }
            }
            self.pump(slot, find, host);
        }
        self.drop_quiet();
    }

    /// `peer` will not answer.
    pub(super) fn abandon(&mut self, peer: P, host: &mut impl World<P>) {
        for slot in 0..self.finds().len() {
            if let Some(mut find) = self.finds()[slot].take() {
                find.lookup.unreachable(peer);
                self.pump(slot, find, host);
            }
        }
        if let Some(busy) = &mut self.busy {
            while busy.pings.abandon(peer).is_some() {}
        }
        self.drop_quiet();
    }

    /// The first deadline of all look-ups.
    pub(super) fn finds_deadline(&self) -> Option<Time> {
        let finds = self.busy.iter().flat_map(|busy| busy.finds.iter().flatten());
        finds.filter_map(|find| find.lookup.next_deadline()).min()
    }

    /// Sends what the look-up wants sent, ends it if it is over, and puts it back.
    fn pump(&mut self, slot: usize, mut find: Box<Find<P>>, host: &mut impl World<P>) {
        let (op, why) = match find.task {
            Task::User { op, values: true } => (op.0, Why::Value),
            Task::User { op, values: false } => (op.0, Why::Node),
            Task::Join | Task::Refresh | Task::Neighbors | Task::Beyond => (0, Why::Maintenance),
        };
        let key = find.lookup.target();
        if !find.lookup.is_closed() {
            while let Some(question) = find
                .lookup
                .ask(self.last, || host.rng().next_u32() / MAX_FINDS as u32 * MAX_FINDS as u32 + slot as u32)
            {
                let rpc = RpcId(question.token);
                host.send(question.peer, KademliaMessage::Find { rpc, key, op, hops: question.hops, why });
                self.wake = self.wake.min(self.last + self.config.patience.min(self.config.timeout));
            }
            if find.lookup.is_over() {
                self.finish(&find, host);
                find.lookup.close();
            }
        }
        if !(find.lookup.is_closed() && find.lookup.is_quiet()) {
            self.finds()[slot] = Some(find);
        }
    }

    fn finish(&mut self, find: &Find<P>, host: &mut impl World<P>) {
        let closest = find.lookup.closest(self.given(&find.lookup), |peer| host.id(peer));
        match find.task {
            Task::Join => self.joined(!closest.is_empty(), host),
            Task::Refresh | Task::Neighbors => self.refreshing = false,
            Task::Beyond => {}
            Task::User { op, .. } => {
                let event = self.closest(op, &find.lookup, closest, host);
                host.emit(event);
            }
        }
    }

    /// The user's answer: the closest that answered, and this node among them.
    fn closest(
        &self,
        op: Op,
        lookup: &IterativeLookup<P>,
        mut peers: Vec<P>,
        host: &impl World<P>,
    ) -> Routing<P> {
        let key = lookup.target();
        let hops = peers.first().and_then(|&root| lookup.hops(root));
        let mut cost = Cost { hops: hops.map_or(0, u32::from), timeouts: lookup.timeouts() };
        if !peers.is_empty() || lookup.timeouts() == 0 {
            let here = host.id(self.me).xor(key);
            let place = peers.partition_point(|&peer| host.id(peer).xor(key) < here);
            peers.insert(place, self.me);
            peers.truncate(self.given(lookup));
            if place == 0 {
                cost.hops = 0;
            }
        }
        Routing::Closest { op, peers, cost }
    }

    /// How many nodes a find gives: none of which it is not sure.
    fn given(&self, lookup: &IterativeLookup<P>) -> usize {
        self.config.replicas.min(lookup.enough()).max(1)
    }

    fn finds(&mut self) -> &mut [Option<Box<Find<P>>>] {
        self.busy.as_mut().map_or(&mut [], |busy| &mut busy.finds)
    }

    /// A slot for one more look-up; one that only awaits late answers may have to go.
    fn free_slot(&mut self) -> Option<usize> {
        let Busy { finds, .. } = self.busy();
        if let Some(slot) = finds.iter().position(Option::is_none) {
            return Some(slot);
        }
        if finds.len() < MAX_FINDS {
            finds.push(None);
            return Some(finds.len() - 1);
        }
        finds.iter().position(|find| find.as_ref().is_some_and(|find| find.lookup.is_closed()))
    }

    fn drop_quiet(&mut self) {
        for find in self.finds() {
            if find.as_ref().is_some_and(|find| find.lookup.is_closed() && find.lookup.is_quiet()) {
                *find = None;
            }
        }
        self.rest();
    }
}
