//! Messages that are carried from node to node: recursive finds, and `route` of the
//! common API (Dabek et al. 2003).
//!
//! Every hop says that it carries on; if it does not, or says that it cannot, the next
//! best is tried; if all that live have too much to carry, the best of them is asked again
//! a little later. A find that nobody can carry on is reported to its origin. While a next
//! hop is waited for in vain the origin hears that, and waits longer. So a find gets lost
//! unheard only with the node that carries it, and may arrive twice if a hop's word gets lost.
//! A payload's origin is told nothing.
//!
//! The root answers the origin directly, and behind a NAT nobody hears what comes from whom
//! it never wrote to. A find without an answer is done again by its origin alone,
//! iteratively: that also goes around whoever loses what is carried.

use bytes::Bytes;

use starling_sansio::Time;

use super::config::{MAX_CARRIES, MAX_DETOURS, MAX_HOPS, MAX_PAYLOAD, MAX_TRIED, MAX_WAITS};
use super::find::{Asked, Find};
use super::lookup::Hop;
use super::message::{Aim, Body, Carried, Message};
use super::{Chord, Outside};
use crate::{Cost, Id, Offence, Peer, Routing, RpcId};

/// A message whose next hop has not yet said that it carries on.
#[derive(Debug)]
pub struct Carrying<P> {
    carried: Box<Carried<P>>,
    tried: Vec<P>,
    /// Whether who has it now is taken for the root.
    last: bool,
    /// The first, so the best, of those who said that they cannot.
    busy: Option<P>,
    /// Whether who has it now said so, and shall have it again at the deadline.
    waits: bool,
    waited: u8,
}

/// Where a message goes from here.
enum Way<P> {
    /// To that peer, which is the root, or only nearer.
    To(P, bool),
    /// This node is the root.
    Here,
    /// Everyone was tried.
    Nowhere,
}

impl<P: Peer> Carrying<P> {
    fn new(carried: Carried<P>) -> Self {
        Carrying::of(Box::new(carried))
    }
}

impl<P> Carrying<P> {
    fn of(carried: Box<Carried<P>>) -> Self {
        Carrying { carried, tried: Vec::new(), last: false, busy: None, waits: false, waited: 0 }
    }

    pub fn heap_bytes(&self) -> usize {
        let payload = match &self.carried.body {
            Body::Payload(bytes) => bytes.len(),
            Body::Find { .. } => 0,
        };
        size_of::<Carried<P>>() + payload + self.tried.capacity() * size_of::<P>()
    }
}

impl<P: Peer> Chord<P> {
    /// Dabek's `route`.
    pub(super) fn send_payload<H: Outside<P>>(
        &mut self,
        key: Id,
        payload: Bytes,
        hint: Option<P>,
        host: &mut H,
    ) {
        if payload.len() > MAX_PAYLOAD {
            return host.refuse(None, Offence::TooMany);
        }
        if !self.member {
            return host.refuse(None, Offence::Misdirected);
        }
        let body = Body::Payload(payload);
        let carried = Carried { key, origin: self.me, hops: 0, timeouts: 0, last: false, body };
        match hint.filter(|&hint| hint != self.me) {
            Some(hint) => self.pass_on(Carrying::new(carried), hint, false, host),
            None => self.carry(Carrying::new(carried), host),
        }
    }

    /// Sends a recursive find on its way.
    pub(super) fn send_find<H: Outside<P>>(&mut self, mut find: Box<Find<P>>, host: &mut H) {
        let ((aim, op), rpc) = (find.aim(), RpcId(host.rng().next_u32()));
        let asked = Asked::new(rpc, None, self.now + self.config.carry_timeout, 0);
        find.asked = Some(Asked { detours: MAX_DETOURS, ..asked });
        let body = Body::Find { rpc, op, values: aim == Aim::Value };
        let carried = Carried { key: find.key, origin: self.me, hops: 0, timeouts: 0, last: false, body };
        self.busy().finds.push(find);
        self.carry(Carrying::new(carried), host);
    }

    pub(super) fn on_carry<H: Outside<P>>(
        &mut self,
        from: P,
        rpc: RpcId,
        carried: Box<Carried<P>>,
        host: &mut H,
    ) {
        if carried.hops > MAX_HOPS {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        let way = self.way(carried.key, carried.last, &[], host);
        let full = self.busy.as_ref().is_some_and(|busy| busy.carries.len() >= MAX_CARRIES);
        match way {
            Way::To(..) if full => host.refuse(None, Offence::Full),
            Way::Nowhere => {}
            Way::To(..) | Way::Here => {
                host.send(from, Message::Ack { rpc });
                return self.follow(way, Carrying::of(carried), host);
            }
        }
        host.send(from, Message::Nack { rpc });
    }

    pub(super) fn on_ack<H: Outside<P>>(&mut self, from: P, rpc: RpcId, host: &mut H) {
        if self.busy.as_mut().and_then(|busy| busy.carries.close(rpc, from)).is_none() {
            host.refuse(Some(from), Offence::UnknownReply);
        }
    }

    /// `from` lives, but somebody else shall carry that, or `from` later if there is nobody
    /// else. If it was taken for the root, who is behind it is not, so that it is waited for
    /// at once.
    pub(super) fn on_nack<H: Outside<P>>(&mut self, from: P, rpc: RpcId, host: &mut H) {
        match self.busy.as_mut().and_then(|busy| busy.carries.close(rpc, from)) {
            Some(carrying) if carrying.last => self.wait_for(from, carrying, host),
            Some(mut carrying) => {
                carrying.busy.get_or_insert(from);
                self.carry_without(from, carrying, host);
            }
            None => host.refuse(Some(from), Offence::UnknownReply),
        }
    }

    /// A find of this node came to somebody who cannot carry it on: it is done alone at once.
    pub(super) fn on_lost<H: Outside<P>>(&mut self, from: P, rpc: RpcId, timeouts: u8, host: &mut H) {
        if !self.alone_at(rpc, timeouts, self.now) {
            host.refuse(Some(from), Offence::UnknownReply);
        }
    }

    /// A find of this node goes around somebody who was waited for.
    pub(super) fn on_detour<H: Outside<P>>(&mut self, from: P, rpc: RpcId, host: &mut H) {
        if !self.wait_longer(rpc) {
            host.refuse(Some(from), Offence::UnknownReply);
        }
    }

    /// The answer to the recursive find of that number comes later by as long as a next hop
    /// is waited for; `false` if there is none.
    fn wait_longer(&mut self, rpc: RpcId) -> bool {
        let longer = self.config.rpc_timeout;
        let finds = self.busy.iter_mut().flat_map(|busy| &mut busy.finds);
        let mut carried = finds.filter(|find| find.asks(rpc) && find.asked().is_none());
        let Some(asked) = carried.next().and_then(|find| find.asked.as_mut()) else { return false };
        if let Some(left) = asked.detours.checked_sub(1) {
            (asked.detours, asked.deadline) = (left, asked.deadline + longer);
        }
        true
    }

    pub(super) fn on_found<H: Outside<P>>(
        &mut self,
        from: P,
        (rpc, hops, timeouts): (RpcId, u8, u8),
        peers: Vec<P>,
        host: &mut H,
    ) {
        let named = peers.iter().filter(|&&one| one == from).count();
        if hops > MAX_HOPS || peers.first() != Some(&from) || named > 1 {
            host.refuse(Some(from), Offence::OutOfRange);
        } else if !self.found(rpc, (hops, timeouts), peers, host) {
            host.refuse(Some(from), Offence::UnknownReply);
        }
    }

    /// The recursive find of that number gets no further: at `again` the node does it alone;
    /// `false` if there is none.
    fn alone_at(&mut self, rpc: RpcId, timeouts: u8, again: Time) -> bool {
        let finds = self.busy.iter_mut().flat_map(|busy| &mut busy.finds);
        let mut carried = finds.filter(|find| find.asks(rpc) && find.asked().is_none());
        let Some(find) = carried.next() else { return false };
        find.timeouts += u32::from(timeouts);
        if let Some(asked) = &mut find.asked {
            asked.deadline = again;
        }
        true
    }

    /// Ends the recursive find of that number; `false` if there is none.
    fn found<H: Outside<P>>(
        &mut self,
        rpc: RpcId,
        (hops, timeouts): (u8, u8),
        peers: Vec<P>,
        host: &mut H,
    ) -> bool {
        let carried = |find: &Find<P>| find.asks(rpc) && find.asked().is_none();
        let Some(mut find) = self.take_find(|find, _| carried(find)) else { return false };
        find.timeouts += u32::from(timeouts);
        self.finish(&find, peers, hops, host);
        true
    }

    /// Passes a message on, or takes it if this node is its key's root.
    fn carry<H: Outside<P>>(&mut self, carrying: Carrying<P>, host: &mut H) {
        let Carried { key, last, .. } = *carrying.carried;
        let way = self.way(key, last, &carrying.tried, host);
        self.follow(way, carrying, host);
    }

    fn follow<H: Outside<P>>(&mut self, way: Way<P>, carrying: Carrying<P>, host: &mut H) {
        match way {
            Way::To(next, last) => self.pass_on(carrying, next, last, host),
            Way::Here => self.arrive(carrying, host),
            Way::Nowhere => self.give_up(carrying, host),
        }
    }

    /// Everyone was tried: whoever only had too much to carry shall have it again.
    fn give_up<H: Outside<P>>(&mut self, mut carrying: Carrying<P>, host: &mut H) {
        match carrying.busy {
            Some(peer) => {
                carrying.last = false;
                self.wait_for(peer, carrying, host);
            }
            None => self.lose(&carrying, host),
        }
    }

    /// Where a message for `key` goes from here if none of `tried` carries it. With
    /// `last`, its sender took this node for the root.
    fn way<H: Outside<P>>(&self, key: Id, last: bool, tried: &[P], host: &H) -> Way<P> {
        let fresh = |peer: &P| !tried.contains(peer);
        if last {
            let before = self.nearer(key, host).filter(fresh);
            return before.map_or(Way::Here, |before| Way::To(before, true));
        }
        let roots = match self.hop(key, false, host) {
            Hop::Root => return Way::Here,
            Hop::Last(list) => list,
            Hop::Beyond => &[],
        };
        let root = roots.iter().copied().find(fresh).map(|peer| Way::To(peer, true));
        let next = || self.ahead(key, self.me, host).find(fresh).map(|peer| Way::To(peer, false));
        root.or_else(next).unwrap_or(Way::Nowhere)
    }

    fn pass_on<H: Outside<P>>(&mut self, mut carrying: Carrying<P>, next: P, last: bool, host: &mut H) {
        let (mut key, mut hop) = (carrying.carried.key, next);
        if let Body::Payload(payload) = &mut carrying.carried.body
            && !host.forward(&mut key, payload, &mut hop)
        {
            return;
        }
        carrying.carried.key = key;
        if hop == self.me {
            return self.deliver(carrying, host);
        }
        let mut sent = carrying.carried.clone();
        sent.hops = sent.hops.saturating_add(1);
        sent.last = last && hop == next;
        (carrying.last, carrying.waits) = (sent.last, false);
        if self.busy().carries.len() >= MAX_CARRIES {
            host.refuse(None, Offence::Full);
            return self.lose(&carrying, host);
        }
        let deadline = self.now + self.config.rpc_timeout;
        if let Some(rpc) = self.busy().carries.open(hop, deadline, carrying, host.rng()) {
            host.send(hop, Message::Carry { rpc, carried: sent });
        }
    }

    /// This node is the root, as far as it knows.
    fn arrive<H: Outside<P>>(&mut self, mut carrying: Carrying<P>, host: &mut H) {
        let (mut key, mut next) = (carrying.carried.key, self.me);
        if let Body::Payload(payload) = &mut carrying.carried.body
            && !host.forward(&mut key, payload, &mut next)
        {
            return;
        }
        carrying.carried.key = key;
        if next == self.me { self.deliver(carrying, host) } else { self.pass_on(carrying, next, false, host) }
    }

    fn deliver<H: Outside<P>>(&mut self, carrying: Carrying<P>, host: &mut H) {
        let Carried { key, origin, hops, timeouts, body, .. } = *carrying.carried;
        match body {
            Body::Payload(payload) => {
                let cost = Cost { hops: u32::from(hops), timeouts: u32::from(timeouts) };
                host.emit(Routing::Deliver { key, payload, cost });
            }
            Body::Find { rpc, .. } => {
                if origin == self.me {
                    self.found(rpc, (hops, timeouts), self.own_replicas(), host);
                } else {
                    let peers = self.own_replicas().into_iter().collect();
                    host.send(origin, Message::Found { rpc, hops, timeouts, peers });
                }
            }
        }
    }

    pub(super) fn expire_carries<H: Outside<P>>(&mut self, host: &mut H) {
        let now = self.now;
        while let Some((peer, carrying)) = self.busy.as_mut().and_then(|busy| busy.carries.expire(now)) {
            let origin = carrying.carried.origin;
            match carrying.carried.body {
                Body::Find { rpc, .. } if origin != self.me => host.send(origin, Message::Detour { rpc }),
                Body::Find { rpc, .. } => _ = self.wait_longer(rpc),
                Body::Payload(_) => {}
            }
            if carrying.waits {
                let last = carrying.last;
                self.pass_on(carrying, peer, last, host);
            } else {
                self.carry_otherwise(peer, carrying, host);
            }
        }
    }

    pub(super) fn carry_lost<H: Outside<P>>(&mut self, peer: P, host: &mut H) {
        while let Some(carrying) = self.busy.as_mut().and_then(|busy| busy.carries.abandon(peer)) {
            self.carry_otherwise(peer, carrying, host);
        }
    }

    /// `peer` does not carry on: somebody else shall.
    fn carry_otherwise<H: Outside<P>>(&mut self, peer: P, mut carrying: Carrying<P>, host: &mut H) {
        self.suspect(peer, host);
        carrying.busy.take_if(|&mut busy| busy == peer);
        carrying.carried.timeouts = carrying.carried.timeouts.saturating_add(1);
        self.carry_without(peer, carrying, host);
    }

    fn wait_for<H: Outside<P>>(&mut self, peer: P, mut carrying: Carrying<P>, host: &mut H) {
        if carrying.waited >= MAX_WAITS {
            return self.lose(&carrying, host);
        }
        (carrying.waits, carrying.waited) = (true, carrying.waited + 1);
        let deadline = self.now + self.config.rpc_timeout;
        self.busy().carries.open(peer, deadline, carrying, host.rng());
    }

    fn carry_without<H: Outside<P>>(&mut self, peer: P, mut carrying: Carrying<P>, host: &mut H) {
        if !carrying.tried.contains(&peer) {
            carrying.tried.push(peer);
        }
        if carrying.tried.len() < MAX_TRIED {
            self.carry(carrying, host);
        } else {
            self.give_up(carrying, host);
        }
    }

    /// Nobody carries that on. A find of this node's own is done alone a moment later; another's
    /// origin hears of it.
    fn lose<H: Outside<P>>(&mut self, carrying: &Carrying<P>, host: &mut H) {
        let Carried { origin, timeouts, ref body, .. } = *carrying.carried;
        let &Body::Find { rpc, .. } = body else { return };
        if origin == self.me {
            self.alone_at(rpc, timeouts, self.now + self.config.rpc_timeout);
        } else {
            host.send(origin, Message::Lost { rpc, timeouts });
        }
    }

    /// This node leaves: what it carries gets no further.
    pub(super) fn lose_carries<H: Outside<P>>(&mut self, host: &mut H) {
        while let Some((_, carrying)) = self.busy.as_mut().and_then(|busy| busy.carries.expire(Time::NEVER)) {
            self.lose(&carrying, host);
        }
    }
}
