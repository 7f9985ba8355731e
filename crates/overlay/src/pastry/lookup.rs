//! Where a message goes next ("Routing"), and finds.

use bytes::Bytes;
use starling_sansio::Time;

use super::leaf::nearness;
use super::message::MAX_SET;
use super::{Find, MAX_HOPS, MAX_LOOKUPS, Parcel, Pastry, PastryMessage, Place, What, World};
use crate::wire::List;
use crate::{Cost, Id, Offence, Op, Peer, Routing, RpcId};

/// Next hops that an iterative find gets from each node.
const NEXT_HOPS: usize = 4;
/// Nodes that an iterative find asks at most before it starts again.
const MAX_STEPS: usize = 128;
/// How often a find is sent on its way: its answer may get lost, and so may the next.
const FIND_TRIES: u8 = 3;
/// How often a node is asked for an iterative find's next step.
pub(super) const STEP_TRIES: u8 = 2;

/// A find of this node.
#[derive(Clone, Debug)]
pub struct Lookup<P> {
    pub op: u32,
    nonce: u32,
    key: Id,
    pub deadline: Time,
    pub timeouts: u32,
    values: bool,
    /// How often it was sent on its way.
    sent: u8,
    /// Of an iterative find only; none while it waits to begin again.
    steps: Option<Box<Steps<P>>>,
}

/// How far an iterative find has come.
#[derive(Clone, Default, Debug)]
struct Steps<P> {
    tried: Vec<P>,
    /// Who of them answered, with its place on the path.
    answered: Vec<(P, u16)>,
    /// Who may be asked next, the best last, with its place on the path.
    options: Vec<(P, u16)>,
}

impl<P: Peer> Steps<P> {
    /// Who stand in for a root that answers this node nothing, and for its replica set: those
    /// who do answer, nearest first, unless so many nearer ones do not that rather this node is
    /// cut off.
    fn stand_ins(&self, place: impl Fn(P) -> (Id, bool)) -> Vec<(P, u16)> {
        let mut answered = self.answered.clone();
        answered.sort_unstable_by_key(|one| (place(one.0), one.1));
        answered.dedup_by_key(|one| one.0);
        let nearer = |peer: &&P| answered.first().is_some_and(|first| place(**peer) < place(first.0));
        let silent = self.tried.iter().filter(nearer).count();
        if silent > NEXT_HOPS { Vec::new() } else { answered }
    }
}

impl<P> Lookup<P> {
    pub fn heap_bytes(&self) -> usize {
        self.steps.as_ref().map_or(0, |steps| {
            let places = steps.options.capacity() + steps.answered.capacity();
            let options = places * size_of::<(P, u16)>();
            size_of::<Steps<P>>() + steps.tried.capacity() * size_of::<P>() + options
        })
    }
}

impl<P: Peer> Pastry<P> {
    /// Whether the leaf set knows the root of `key`.
    fn leaf_covers<H: World<P>>(&self, me: Id, key: Id, host: &H) -> bool {
        if self.leaf.sides_meet() && self.table.entries().iter().all(|&peer| self.leaf.contains(peer)) {
            return true;
        }
        let (smaller, larger) = self.leaf.reach();
        let from = smaller.map_or(me, |peer| host.id(peer));
        let to = larger.map_or(me, |peer| host.id(peer));
        key.minus(from) <= to.minus(from)
    }

    /// The next hop towards `key` but for those of `skip`; `None` if this node is its
    /// root as far as it knows.
    pub(super) fn next_hop<H: World<P>>(&self, key: Id, skip: &[P], host: &H) -> Option<P> {
        let me = host.id(self.me);
        let mine = nearness(key, me);
        let nearest = |peers: &mut dyn Iterator<Item = P>| {
            let others = peers.filter(|peer| !skip.contains(peer));
            let near = others.map(|peer| (nearness(key, host.id(peer)), peer));
            near.min().filter(|near| near.0 < mine).map(|near| near.1)
        };
        if self.leaf_covers(me, key, host) {
            return nearest(&mut self.leaf.all().iter().copied());
        }
        let width = self.config.width();
        let place = Place::of(me, key, width)?;
        if let Some(peer) = self.table.get(place, width).filter(|peer| !skip.contains(peer)) {
            return Some(peer);
        }
        let shared = place.row * width;
        let known = self.everyone().filter(|&peer| host.id(peer).common_prefix(key) >= shared);
        nearest(&mut { known })
    }

    /// Everybody in the tables, some twice.
    pub(super) fn everyone(&self) -> impl Iterator<Item = P> {
        let leaf = self.leaf.all().iter();
        leaf.chain(self.table.entries()).chain(&self.neighborhood).copied()
    }

    /// At most `count` nodes closest to `key` among this node and its leaf set, the
    /// closest first.
    pub(super) fn closest<H: World<P>>(&self, key: Id, count: usize, host: &H) -> Vec<P> {
        let all = self.leaf.all().iter().copied().chain([self.me]);
        let mut near: Vec<_> = all.map(|peer| (nearness(key, host.id(peer)), peer)).collect();
        near.sort_unstable();
        near.dedup();
        near.into_iter().take(count).map(|near| near.1).collect()
    }

    /// What a root answers: itself and who would be root after it. Whoever is nearer was
    /// silent just now, or it would not be the root.
    fn answer_set<H: World<P>>(&self, key: Id, host: &H) -> Vec<P> {
        let all = self.closest(key, usize::MAX, host).into_iter();
        let rest = all.skip_while(|&peer| peer != self.me);
        rest.take((self.config.half() + 1).min(MAX_SET)).collect()
    }

    pub(super) fn find<H: World<P>>(&mut self, op: Op, key: Id, values: bool, host: &mut H) {
        let full = self.busy.as_ref().is_some_and(|busy| busy.lookups.len() >= MAX_LOOKUPS);
        if full {
            host.refuse(None, Offence::Full);
        }
        if full || !self.is_in() {
            return self.found(op.0, Vec::new(), Cost::default(), host);
        }
        if self.next_hop(key, &[], host).is_none() {
            let peers = self.answer_set(key, host);
            return self.found(op.0, peers, Cost::default(), host);
        }
        let (nonce, deadline) = (host.rng().next_u32(), Time::NEVER);
        let lookup = Lookup { op: op.0, nonce, key, deadline, timeouts: 0, values, sent: 1, steps: None };
        self.busy().lookups.retain(|one| one.op != op.0);
        self.busy().lookups.push(lookup);
        self.begin(op.0, host);
    }

    /// Sends a find on its way, for the first time or again.
    fn begin<H: World<P>>(&mut self, op: u32, host: &mut H) {
        let (me, iterative, deadline) = (self.me, self.config.iterative, self.now + self.config.find_timeout);
        let Some(lookup) = self.lookup(op) else { return };
        let (key, nonce, values) = (lookup.key, lookup.nonce, lookup.values);
        // No answer came: behind a NAT, only those reach this node whom it asks.
        if iterative || lookup.sent > 1 {
            lookup.steps =
                Some(Box::new(Steps { tried: Vec::new(), answered: Vec::new(), options: Vec::new() }));
            return self.step(op, host);
        }
        lookup.deadline = deadline;
        self.pass(Find { key, origin: me, op, nonce, hops: 1, timeouts: 0, values }, &[], host);
    }

    fn lookup(&mut self, op: u32) -> Option<&mut Lookup<P>> {
        self.busy.as_mut()?.lookups.iter_mut().find(|one| one.op == op)
    }

    /// Sends a find one hop further, or answers it.
    pub(super) fn pass<H: World<P>>(&mut self, find: Find<P>, skip: &[P], host: &mut H) {
        if let Some(next) = self.next_hop(find.key, skip, host) {
            return self.ask(next, What::Find(find), host);
        }
        let set = self.answer_set(find.key, host);
        let (op, nonce, hops, timeouts) = (find.op, find.nonce, find.hops - 1, find.timeouts);
        if find.origin == self.me {
            return self.on_found(self.me, (op, nonce), hops, timeouts, set, host);
        }
        host.send(find.origin, PastryMessage::Found { op, nonce, hops, timeouts, set: List::new(set) });
    }

    pub(super) fn on_find<H: World<P>>(&mut self, from: P, rpc: RpcId, find: Find<P>, host: &mut H) {
        if !(1..=MAX_HOPS).contains(&find.hops) || find.timeouts > MAX_HOPS {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        host.send(from, PastryMessage::Ack { rpc });
        self.heard(from, host);
        self.pass(Find { hops: find.hops + 1, ..find }, &[from], host);
    }

    pub(super) fn on_found<H: World<P>>(
        &mut self,
        from: P,
        (op, nonce): (u32, u32),
        hops: u16,
        timeouts: u16,
        set: Vec<P>,
        host: &mut H,
    ) {
        let lookup = self.lookup(op).filter(|one| one.nonce == nonce && one.steps.is_none());
        let Some(before) = lookup.map(|lookup| lookup.timeouts) else {
            return host.refuse(Some(from), Offence::UnknownReply);
        };
        if hops > MAX_HOPS || set.first() != Some(&from) {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        let cost = Cost { hops: u32::from(hops), timeouts: before + u32::from(timeouts) };
        self.found(op, set, cost, host);
    }

    /// This node is the root.
    fn found_here<H: World<P>>(&mut self, op: u32, host: &mut H) {
        let Some(&mut Lookup { key, timeouts, .. }) = self.lookup(op) else { return };
        let peers = self.answer_set(key, host);
        self.found(op, peers, Cost { hops: 0, timeouts }, host);
    }

    /// A find is over.
    fn found<H: World<P>>(&mut self, op: u32, peers: Vec<P>, cost: Cost, host: &mut H) {
        self.cancel(Op(op));
        host.emit(Routing::Closest { op: Op(op), peers, cost });
    }

    pub(super) fn cancel(&mut self, op: Op) {
        let Some(busy) = &mut self.busy else { return };
        busy.lookups.retain(|one| one.op != op.0);
        busy.open.retain(|asked| !matches!(asked.what, What::Step { op: other, .. } if other == op.0));
    }

    /// Tries finds again that got no answer in time, and at last gives up. An iterative find
    /// in the midst of its steps goes on: who was asked answered something else.
    pub(super) fn late_lookups<H: World<P>>(&mut self, host: &mut H) {
        let now = self.now;
        loop {
            let lookups = self.busy.iter().flat_map(|busy| &busy.lookups);
            let late = lookups.into_iter().find(|one| one.deadline <= now);
            match late.map(|one| (one.op, one.steps.is_some())) {
                None => return,
                Some((op, true)) => self.step_again(op, host),
                Some((op, false)) => self.fail_or_retry(op, host),
            }
        }
    }

    fn fail_or_retry<H: World<P>>(&mut self, op: u32, host: &mut H) {
        let nonce = host.rng().next_u32();
        let (me, frozen) = (self.me, self.config.frozen);
        let set = (self.config.half() + 1).min(MAX_SET);
        let Some(lookup) = self.lookup(op) else { return };
        // Where nothing is repaired, nobody calls itself the root in place of a dead one.
        if lookup.sent >= FIND_TRIES || (frozen && lookup.steps.is_some()) {
            let key = lookup.key;
            let place = |peer| nearness(key, host.id(peer));
            let standing = lookup.steps.as_ref().map_or(Vec::new(), |steps| steps.stand_ins(place));
            if frozen && standing.first().is_some_and(|first| place(me) < place(first.0)) {
                return self.found_here(op, host);
            }
            let hops = standing.first().map_or(0, |first| first.1.into());
            let cost = Cost { hops, timeouts: lookup.timeouts };
            let peers = standing.into_iter().map(|one| one.0).take(set).collect();
            return self.found(op, peers, cost, host);
        }
        (lookup.sent, lookup.nonce) = (lookup.sent + 1, nonce);
        self.begin(op, host);
    }

    /// A node did not take a find: another way.
    pub(super) fn pass_again<H: World<P>>(&mut self, peer: P, find: Find<P>, host: &mut H) {
        let mine = find.origin == self.me;
        if mine && self.lookup(find.op).is_none_or(|one| one.nonce != find.nonce) {
            return;
        }
        let skip = self.silent_with(peer);
        self.pass(Find { timeouts: find.timeouts.saturating_add(1), ..find }, &skip, host);
    }

    /// Asks the next node of an iterative find.
    fn step<H: World<P>>(&mut self, op: u32, host: &mut H) {
        let Some(Lookup { key, values, steps: Some(steps), .. }) = self.lookup(op) else { return };
        let (key, values) = (*key, *values);
        let next = if steps.tried.len() < MAX_STEPS { steps.options.pop() } else { None };
        let tried = steps.tried.clone();
        let next = next.or_else(|| self.next_hop(key, &tried, host).map(|peer| (peer, 1)));
        let Some((peer, hops)) = next.filter(|_| tried.len() < MAX_STEPS) else {
            if self.next_hop(key, &[], host).is_none() {
                // Who was nearer is gone.
                return self.found_here(op, host);
            }
            return self.fail_or_retry(op, host);
        };
        let what = What::Step { op, key, hops, values };
        let waits = self.ask_if_waiting(peer, what, host);
        let (now, find_timeout, answer_timeout) =
            (self.now, self.config.find_timeout, self.config.answer_timeout);
        let Some(lookup) = self.lookup(op) else { return };
        match &mut lookup.steps {
            Some(steps) if waits => {
                steps.tried.push(peer);
                lookup.deadline = now + find_timeout + u32::from(STEP_TRIES) * answer_timeout;
            }
            // There may be room later.
            steps => (*steps, lookup.deadline) = (None, now + find_timeout),
        }
    }

    /// An iterative find's node did not answer.
    pub(super) fn step_again<H: World<P>>(&mut self, op: u32, host: &mut H) {
        if let Some(lookup) = self.lookup(op) {
            lookup.timeouts += 1;
            self.step(op, host);
        }
    }

    pub(super) fn on_ask<H: World<P>>(&mut self, from: P, rpc: RpcId, key: Id, hops: u16, host: &mut H) {
        if !(1..=MAX_HOPS).contains(&hops) {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        let root = self.next_hop(key, &[], host).is_none();
        let peers =
            if root { self.answer_set(key, host) } else { self.hops_towards(key, NEXT_HOPS, false, host) };
        host.send(from, PastryMessage::Next { rpc, root, peers: List::new(peers) });
        self.heard(from, host);
    }

    pub(super) fn on_next<H: World<P>>(
        &mut self,
        from: P,
        rpc: RpcId,
        root: bool,
        peers: &[P],
        host: &mut H,
    ) {
        let Some(what) = self.answered_by(from, rpc, host) else { return };
        let What::Step { op, hops, .. } = what else {
            return host.refuse(Some(from), Offence::OutOfRange);
        };
        self.heard(from, host);
        let lies = if root { peers.first() != Some(&from) } else { peers.contains(&from) };
        if lies {
            host.refuse(Some(from), Offence::NamesItself);
            return self.step_again(op, host);
        }
        let me = self.me;
        let Some(lookup) = self.lookup(op) else { return };
        if root {
            let cost = Cost { hops: u32::from(hops), timeouts: lookup.timeouts };
            return self.found(op, peers.to_vec(), cost, host);
        }
        if let Some(steps) = &mut lookup.steps {
            steps.answered.push((from, hops));
            let fresh =
                peers.iter().take(NEXT_HOPS).filter(|&&peer| peer != me && !steps.tried.contains(&peer));
            let fresh: Vec<(P, u16)> =
                fresh.map(|&peer| (peer, hops.saturating_add(1).min(MAX_HOPS))).collect();
            steps.options.retain(|option| fresh.iter().all(|one| one.0 != option.0));
            steps.options.extend(fresh.into_iter().rev());
        }
        self.step(op, host);
    }

    /// Next hops towards `key`, the best first.
    pub(super) fn hops_towards<H: World<P>>(&self, key: Id, num: usize, safe: bool, host: &H) -> Vec<P> {
        let mut hops: Vec<P> = self.next_hop(key, &[], host).into_iter().collect();
        let width = self.config.width();
        let mine = nearness(key, host.id(self.me));
        let shared = host.id(self.me).common_prefix(key) / width;
        let known = self.everyone().filter(|&peer| !safe || self.leaf.contains(peer));
        let mut others: Vec<_> = known
            .map(|peer| {
                let id = host.id(peer);
                (std::cmp::Reverse(id.common_prefix(key) / width), nearness(key, id), peer)
            })
            .filter(|(prefix, near, _)| prefix.0 > shared || (prefix.0 == shared && *near < mine))
            .collect();
        others.sort_unstable();
        hops.extend(others.into_iter().map(|other| other.2));
        hops.retain(|peer| !safe || self.leaf.contains(*peer));
        let mut seen = Vec::new();
        hops.retain(|&peer| {
            !seen.contains(&peer) && {
                seen.push(peer);
                seen.len() <= num
            }
        });
        hops
    }

    /// Dabek's `route`.
    pub(super) fn send<H: World<P>>(&mut self, key: Id, payload: Bytes, hint: Option<P>, host: &mut H) {
        if payload.len() > super::MAX_PAYLOAD {
            return host.refuse(None, Offence::TooMany);
        }
        let parcel = Box::new(Parcel { key, payload, hops: 1, timeouts: 0 });
        self.carry(parcel, hint.filter(|&hint| hint != self.me), &[], host);
    }

    /// Sends a payload one hop further, or delivers it.
    fn carry<H: World<P>>(&mut self, mut parcel: Box<Parcel>, hint: Option<P>, skip: &[P], host: &mut H) {
        if !self.is_in() {
            return;
        }
        if let Some(mut next) = hint.or_else(|| self.next_hop(parcel.key, skip, host)) {
            if host.forward(&mut parcel.key, &mut parcel.payload, &mut next) {
                self.ask(next, What::Carry(parcel), host);
            }
            return;
        }
        let cost = Cost { hops: u32::from(parcel.hops) - 1, timeouts: u32::from(parcel.timeouts) };
        host.emit(Routing::Deliver { key: parcel.key, payload: parcel.payload, cost });
    }

    pub(super) fn on_carry<H: World<P>>(
        &mut self,
        from: P,
        rpc: RpcId,
        mut parcel: Box<Parcel>,
        host: &mut H,
    ) {
        if !(1..=MAX_HOPS).contains(&parcel.hops) || parcel.timeouts > MAX_HOPS {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        host.send(from, PastryMessage::Ack { rpc });
        self.heard(from, host);
        parcel.hops += 1;
        self.carry(parcel, None, &[from], host);
    }

    /// A node did not take a payload: another way.
    pub(super) fn carry_again<H: World<P>>(&mut self, peer: P, mut parcel: Box<Parcel>, host: &mut H) {
        parcel.timeouts = parcel.timeouts.saturating_add(1);
        let skip = self.silent_with(peer);
        self.carry(parcel, None, &skip, host);
    }

    pub(super) fn on_ack<H: World<P>>(&mut self, from: P, rpc: RpcId, host: &mut H) {
        match self.answered_by(from, rpc, host) {
            Some(What::Find(_) | What::Carry(_) | What::Join(_)) | None => {}
            // It was given up, and asked whether it is there.
            Some(What::Ping { .. }) => self.heard(from, host),
            Some(_) => host.refuse(Some(from), Offence::OutOfRange),
        }
    }
}
