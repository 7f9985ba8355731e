//! Links: made, kept up, replaced.

use starling_sansio::Time;

use super::message::{Heard, Message};
use super::{Gnutella, MAX_DEGREE, MAX_TTL, Routes, State, World};
use crate::wire::List;
use crate::{Event, Offence, Peer, RpcId};

/// Connects under way at a time.
pub const MAX_CONNECTS: usize = 16;

impl<P: Peer> Gnutella<P> {
    /// Joins through `boot`, or begins a network.
    pub(super) fn join(&mut self, now: Time, boot: Option<P>, host: &mut impl World<P>) {
        if self.state != State::Out {
            return;
        }
        self.enter(now, host);
        match boot.filter(|&boot| boot != self.me) {
            Some(boot) => {
                self.past.remember_first(boot);
                self.connect(now, boot, host);
            }
            None => {
                self.state = State::Member;
                host.emit(Event::Joined);
            }
        }
    }

    /// Makes ready to take part.
    pub(super) fn enter(&mut self, now: Time, host: &mut impl World<P>) {
        self.state = State::Joining;
        self.target = self.config.target(host.id(self.me));
        self.neighbours.clear();
        self.seen = Routes::new(host.rng().next_u64());
        self.pushes = Routes::new(host.rng().next_u64());
        let interval = self.config.ping_interval.as_micros() as u64;
        self.tick = now + std::time::Duration::from_micros(1 + host.rng().below(interval));
        self.tries = self.tries_a_tick();
        self.past.found();
        self.past.tick(true);
    }

    /// Leaves: neighbours get each other's names, to close the gap.
    pub(super) fn leave(&mut self, now: Time, host: &mut impl World<P>) {
        if self.state == State::Out {
            return;
        }
        let everyone: Vec<P> = self.neighbours.peers().collect();
        for peer in everyone {
            let hosts = self.hosts.sample(now, &self.neighbours, peer, host.rng());
            host.send(peer, Message::Bye { hosts });
        }
        self.abandon_searches(host);
        self.neighbours.clear();
        self.connects.retain(|()| false);
        self.held.retain(|_| false);
        self.state = State::Out;
        host.emit(Event::Left);
    }

    /// What a node says that takes no part: to those who missed its farewell, so much.
    pub(super) fn on_message_outside(&self, from: P, message: &Message<P>, host: &mut impl World<P>) {
        match message {
            Message::Ping { .. } | Message::Connect { .. } => {
                host.send(from, Message::Bye { hosts: List::default() });
            }
            _ => host.refuse(Some(from), Offence::Misdirected),
        }
    }

    /// Whether `from` is a neighbour, as who sends queries must be. Others are told so:
    /// their end of a link outlived ours.
    pub(super) fn hear_neighbour(&mut self, from: P, host: &mut impl World<P>) -> bool {
        let known = self.neighbours.hear(from).is_some();
        if !known {
            host.refuse(Some(from), Offence::Misdirected);
            host.send(from, Message::Bye { hosts: List::default() });
        }
        known
    }

    pub(super) fn on_ping(&mut self, now: Time, from: P, rpc: RpcId, ttl: u8, host: &mut impl World<P>) {
        if self.neighbours.hear(from).is_none() {
            return host.send(from, Message::Bye { hosts: List::default() });
        }
        if ttl == 0 || ttl > MAX_TTL {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        let hosts = match ttl {
            1 => List::default(),
            _ => self.hosts.sample(now, &self.neighbours, from, host.rng()),
        };
        host.send(from, Message::Pong { rpc, hosts });
    }

    pub(super) fn on_pong(
        &mut self,
        now: Time,
        from: P,
        rpc: RpcId,
        hosts: &[Heard<P>],
        host: &mut impl World<P>,
    ) {
        match self.neighbours.hear(from) {
            Some(link) if link.ping == Some(rpc) => link.ping = None,
            _ => return host.refuse(Some(from), Offence::UnknownReply),
        }
        self.learn(now, from, hosts, host);
        self.fill(now, host);
    }

    /// Accepts while there is room. A newcomer with hardly a link gets one even when
    /// there is none: a neighbour is asked to link with it instead, so that all degrees
    /// stay as they are (once a tick, lest strangers push all neighbours out).
    pub(super) fn on_connect(
        &mut self,
        now: Time,
        from: P,
        rpc: RpcId,
        degree: u16,
        host: &mut impl World<P>,
    ) {
        let dialled = self.connects.iter().any(|(peer, ())| peer == from);
        let known = self.neighbours.hear(from).is_some();
        self.reachable |= !dialled && !known;
        let needy = degree < self.target.div_ceil(2) && !self.displaced;
        if self.state != State::Member || (!known && !self.has_room() && !needy) {
            let hosts = self.hosts.sample(now, &self.neighbours, from, host.rng());
            return host.send(from, Message::Refuse { rpc, hosts });
        }
        if !known && !self.has_room() {
            self.displaced = true;
            if let Some(peer) = self.neighbours.any(None, host.rng()) {
                let newcomer = Heard { peer: from, age: 0 };
                host.send(peer, Message::Bye { hosts: List::new(vec![newcomer]) });
                self.cut(peer, host);
            }
        }
        self.link(from, host);
        let hosts = self.hosts.sample(now, &self.neighbours, from, host.rng());
        host.send(from, Message::Accept { rpc, hosts });
    }

    pub(super) fn on_accept(
        &mut self,
        now: Time,
        from: P,
        rpc: RpcId,
        hosts: &[Heard<P>],
        host: &mut impl World<P>,
    ) {
        if self.connects.close(rpc, from).is_none() {
            host.refuse(Some(from), Offence::UnknownReply);
            if !self.neighbours.contains(from) {
                host.send(from, Message::Bye { hosts: List::default() });
            }
            return;
        }
        self.learn(now, from, hosts, host);
        if !self.neighbours.contains(from) && !self.has_room() {
            return host.send(from, Message::Bye { hosts: List::default() });
        }
        self.link(from, host);
        if self.state == State::Joining {
            self.state = State::Member;
            host.emit(Event::Joined);
        }
        self.fill(now, host);
    }

    pub(super) fn on_refuse(
        &mut self,
        now: Time,
        from: P,
        rpc: RpcId,
        hosts: &[Heard<P>],
        host: &mut impl World<P>,
    ) {
        if self.connects.close(rpc, from).is_none() {
            return host.refuse(Some(from), Offence::UnknownReply);
        }
        self.learn(now, from, hosts, host);
        if self.neighbours.len() > 0 {
            // It lives, and whom it named leads to where it is.
            self.past.forget(from);
        }
        self.fill(now, host);
    }

    pub(super) fn on_bye(&mut self, now: Time, from: P, hosts: &[Heard<P>], host: &mut impl World<P>) {
        // Farewells may cross: one without a link is no offence.
        if self.cut(from, host) {
            self.learn(now, from, hosts, host);
            if let Some(first) = hosts.first() {
                self.connect(now, first.peer, host);
            }
            self.fill(now, host);
        } else if self.connects.abandon(from).is_some() {
            self.fill(now, host);
        }
    }

    /// The driver knows that a peer is gone.
    pub(super) fn unreachable(&mut self, now: Time, peer: P, host: &mut impl World<P>) {
        self.hosts.remove(peer);
        while self.connects.abandon(peer).is_some() {}
        while self.held.abandon(peer).is_some() {}
        self.lose(peer, host);
        self.fill(now, host);
    }

    pub(super) fn expire_connects(&mut self, now: Time, host: &mut impl World<P>) {
        while self.connects.expire(now).is_some() {
            self.fill(now, host);
        }
    }

    /// Pings who was silent, drops who was silent for too long, looks for others.
    pub(super) fn on_tick(&mut self, now: Time, host: &mut impl World<P>) {
        self.tick = now + self.config.ping_interval;
        self.displaced = false;
        self.tries = self.tries_a_tick();
        self.hosts.expire(now, self.config.host_lifetime.as_secs());
        let curious = self.hosts.len() < usize::from(self.target) || host.rng().index(4) == 0;
        let asked = self.neighbours.any(None, host.rng()).filter(|_| curious);
        let mut dead = Vec::new();
        for link in self.neighbours.iter_mut() {
            link.missed = if link.heard { 0 } else { link.missed.saturating_add(1) };
            if link.missed > self.config.missed {
                dead.push(link.peer);
            } else if !link.heard || asked == Some(link.peer) {
                let rpc = RpcId(host.rng().next_u32());
                link.ping = Some(rpc);
                let ttl = if asked == Some(link.peer) { 2 } else { 1 };
                host.send(link.peer, Message::Ping { rpc, ttl });
            }
            link.heard = false;
        }
        for peer in dead {
            self.hosts.remove(peer);
            self.lose(peer, host);
        }
        let alone = self.neighbours.len() == 0;
        self.past.tick(alone);
        self.fill(now, host);
        if !alone && self.has_room() && self.past.take_try() {
            self.ask_of_old(now, host);
        }
    }

    /// Looks for neighbours until there are enough.
    fn fill(&mut self, now: Time, host: &mut impl World<P>) {
        while self.state != State::Out
            && self.neighbours.len() + self.connects.len() < usize::from(self.target)
            && self.tries > 0
            && let Some(peer) = self.hosts.take(host.rng())
        {
            self.connect(now, peer, host);
        }
        while self.state != State::Out
            && self.neighbours.len() + self.connects.len() == 0
            && self.past.take_try()
        {
            self.ask_of_old(now, host);
        }
    }

    /// Asks somebody who was known once for a link.
    fn ask_of_old(&mut self, now: Time, host: &mut impl World<P>) {
        if let Some(peer) = self.past.next_name() {
            self.connect(now, peer, host);
        }
    }

    fn connect(&mut self, now: Time, peer: P, host: &mut impl World<P>) {
        let asked = self.connects.iter().any(|(one, ())| one == peer);
        if peer == self.me || asked || self.tries == 0 || self.neighbours.contains(peer) {
            return;
        }
        let deadline = now + self.config.connect_timeout;
        if let Some(rpc) = self.connects.open(peer, deadline, (), host.rng()) {
            self.tries -= 1;
            host.send(peer, Message::Connect { rpc, degree: self.neighbours.len() as u16 });
        }
    }

    fn link(&mut self, peer: P, host: &mut impl World<P>) {
        if self.neighbours.add(peer) {
            self.hosts.remove(peer);
            self.past.forget(peer);
            host.emit(Event::Update { peer, joined: true });
        }
    }

    fn cut(&mut self, peer: P, host: &mut impl World<P>) -> bool {
        let was = self.neighbours.remove(peer);
        if was {
            host.emit(Event::Update { peer, joined: false });
        }
        was
    }

    /// A neighbour fell silent: it may be dead, or only cut off.
    fn lose(&mut self, peer: P, host: &mut impl World<P>) {
        if self.cut(peer, host) {
            self.past.remember(peer);
        }
    }

    /// Keeps the hosts that `from` named.
    fn learn(&mut self, now: Time, from: P, hosts: &[Heard<P>], host: &mut impl World<P>) {
        for &Heard { peer, age } in hosts {
            if peer == self.me || peer == from {
                host.refuse(Some(from), Offence::NamesItself);
            } else if !self.neighbours.contains(peer) {
                self.hosts.add(now, peer, age, host.rng());
            }
        }
    }

    fn has_room(&self) -> bool {
        self.neighbours.len() < usize::from(self.target.saturating_add(self.config.spare).min(MAX_DEGREE))
    }

    /// Enough to find all neighbours anew where half of the hosts are gone.
    fn tries_a_tick(&self) -> u8 {
        self.target.saturating_mul(2).saturating_add(8).min(u16::from(u8::MAX)) as u8
    }
}
