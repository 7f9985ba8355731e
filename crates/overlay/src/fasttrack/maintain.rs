//! A super-peer's side, and what both do: join, leave, make sure, elect.

use starling_sansio::Time;

use super::message::Message;
use super::office::{MAX_VOUCHERS, Office, Role};
use super::{Asked, FastTrack, State, World};
use crate::gnutella::config::count;
use crate::wire::List;
use crate::{Event, Id, Offence, Peer, Record, RpcId};

/// Ticks without a super-peer after which a leaf becomes one.
const ORPHAN_TICKS: u8 = 4;
/// Ticks with hardly a leaf after which a super-peer becomes one.
const IDLE_TICKS: u8 = 8;
/// Of an interval, how long a leaf waits that knows nobody but its super-peer.
pub(super) const SOON: u32 = 8;
/// Attaches and links tried in a tick.
const TRIES_A_TICK: u8 = 16;

impl<P: Peer> FastTrack<P> {
    /// Joins through `boot`, or begins a network as its first super-peer.
    pub(super) fn join(&mut self, now: Time, boot: Option<P>, host: &mut impl World<P>) {
        if self.state != State::Out {
            return;
        }
        self.enter(now, host);
        match boot.filter(|&boot| boot != self.me) {
            Some(boot) => {
                self.past.remember_first(boot);
                self.seek(now, host);
            }
            None => self.rise(host),
        }
    }

    /// Makes ready to take part.
    pub(super) fn enter(&mut self, now: Time, host: &mut impl World<P>) {
        self.state = State::Joining;
        self.capacity = self.config.capacity_at(host.id(self.me));
        (self.parent, self.office) = (None, None);
        let interval = self.config.interval.as_micros() as u64;
        self.tick = now + std::time::Duration::from_micros(1 + host.rng().below(interval));
        self.tries = TRIES_A_TICK;
        self.past.found();
        self.past.tick(true);
    }

    /// Leaves. A super-peer makes its best leaf its heir and sends the others there.
    pub(super) fn leave(&mut self, now: Time, host: &mut impl World<P>) {
        if self.state == State::Out {
            return;
        }
        if let Some(parent) = self.parent.take() {
            host.send(parent.peer, Message::Bye { supers: List::default() });
        }
        if let Some(office) = self.office.take() {
            let heir = office.best(now, |_| true);
            if let Some(heir) = heir {
                let rpc = RpcId(host.rng().next_u32());
                let supers = office.named(heir, self.config.room(), host.rng());
                host.send(heir, Message::Promote { rpc, supers });
            }
            self.dissolve(&office, heir, host);
        }
        self.abandon_searches(host);
        self.asked.retain(|_| false);
        self.state = State::Out;
        host.emit(Event::Left);
    }

    /// Says farewell to all of a super-peer's leaves and links but `heir`; leaves are
    /// sent to it.
    fn dissolve(&self, office: &Office<P>, heir: Option<P>, host: &mut impl World<P>) {
        let room = self.config.room();
        for peer in office.leaves.iter().map(|leaf| leaf.peer).filter(|&leaf| Some(leaf) != heir) {
            let others = office.named(peer, room, host.rng()).into_vec();
            let others = others.into_iter().filter(|&other| Some(other) != heir);
            host.send(peer, Message::Bye { supers: heir.into_iter().chain(others).collect() });
        }
        for peer in office.links.iter().map(|link| link.peer).filter(|&link| Some(link) != heir) {
            let supers = office.named(peer, room, host.rng());
            host.send(peer, Message::Bye { supers });
        }
    }

    /// What a node says that takes no part.
    pub(super) fn on_message_outside(&self, from: P, message: &Message<P>, host: &mut impl World<P>) {
        match message {
            Message::Attach { .. } | Message::Link { .. } | Message::Ping { .. } | Message::Share { .. } => {
                host.send(from, Message::Bye { supers: List::default() });
            }
            _ => host.refuse(Some(from), Offence::Misdirected),
        }
    }

    pub(super) fn on_attach(
        &mut self,
        now: Time,
        from: P,
        rpc: RpcId,
        capacity: u8,
        host: &mut impl World<P>,
    ) {
        let room = self.config.room();
        if self.orphaned > 0 && self.parent.is_none() && self.office.is_none() {
            // Somebody took us for an heir, or has no better name: our super-peer is dead
            // to both, so that waiting would only make more super-peers of its leaves.
            self.rise(host);
            self.look_around(now, host);
            self.ask_again(now, host);
        }
        let Some(office) = &mut self.office else {
            let known = self.parent.iter().map(|parent| parent.peer).chain(self.spares.iter().copied());
            let supers = known.filter(|&peer| peer != from).collect();
            self.past.remember_if_few(from);
            return host.send(from, Message::Redirect { rpc, supers });
        };
        if office.hear_leaf(from).is_none() {
            if office.leaves.len() >= room {
                // Whoever comes to a full house shows that there are too few.
                office.pressed = true;
                let supers = office.named(from, room, host.rng());
                host.send(from, Message::Redirect { rpc, supers });
                return self.promote_for_room(now, host);
            }
            if office.remove_link(from) {
                host.emit(Event::Update { peer: from, joined: false });
            }
            office.add_leaf(now, from, capacity.clamp(1, 100));
        }
        // One that was here already could not say what it withdrew since it lost us. It
        // tells all that it has anew.
        office.empty(from);
        let supers = office.named_to_leaf(now, from, room, host.rng());
        host.send(from, Message::Attached { rpc, supers });
        self.promote_for_room(now, host);
    }

    pub(super) fn on_share(
        &mut self,
        from: P,
        rpc: RpcId,
        records: Vec<Record>,
        withdrawn: &[Id],
        host: &mut impl World<P>,
    ) {
        let Some(office) = self.office.as_mut().filter(|office| office.has_leaf(from)) else {
            return self.disown(from, host);
        };
        _ = office.hear_leaf(from);
        for &key in withdrawn {
            office.withdraw(from, key);
        }
        for record in records {
            if !office.share(from, record, &self.config) {
                host.refuse(Some(from), Offence::Full);
            }
        }
        host.send(from, Message::Shared { rpc });
    }

    /// Tells somebody that takes us for its super-peer or link that we are not.
    pub(super) fn disown(&mut self, from: P, host: &mut impl World<P>) {
        let supers = match &self.office {
            Some(office) => office.named(from, self.config.room(), host.rng()),
            None => {
                self.parent().into_iter().chain(self.spares.iter().copied()).filter(|&p| p != from).collect()
            }
        };
        host.send(from, Message::Bye { supers });
    }

    pub(super) fn on_ping(&mut self, now: Time, from: P, rpc: RpcId, host: &mut impl World<P>) {
        let room = self.config.room();
        let Some(office) = &mut self.office else { return self.disown(from, host) };
        let supers = match office.hear(from) {
            Some(Role::Link) => office.named(from, room, host.rng()),
            Some(Role::Leaf) => office.named_to_leaf(now, from, room, host.rng()),
            None => return self.disown(from, host),
        };
        host.send(from, Message::Pong { rpc, load: office.leaves.len() as u16, supers });
    }

    pub(super) fn on_pong(
        &mut self,
        now: Time,
        from: P,
        rpc: RpcId,
        load: u16,
        supers: &[P],
        host: &mut impl World<P>,
    ) {
        let link = self.office.as_mut().and_then(|office| office.hear_link(from));
        match link.filter(|link| link.ping == Some(rpc)) {
            Some(link) => (link.ping, link.load) = (None, load),
            None if matches!(self.asked.close(rpc, from), Some(Asked::Ping { .. })) => {}
            None => return host.refuse(Some(from), Offence::UnknownReply),
        }
        self.learn_all(from, supers, host);
        self.look_around(now, host);
    }

    pub(super) fn on_link(&mut self, from: P, rpc: RpcId, host: &mut impl World<P>) {
        let room = self.config.room();
        let Some(office) = &mut self.office else {
            let supers = self.parent().into_iter().filter(|&peer| peer != from).collect();
            return host.send(from, Message::Redirect { rpc, supers });
        };
        let supers = office.named(from, room, host.rng());
        if office.hear_link(from).is_none() && office.links.len() >= self.config.links_accepted() {
            return host.send(from, Message::Redirect { rpc, supers });
        }
        host.send(from, Message::Linked { rpc, supers });
        self.link(from, host);
    }

    pub(super) fn on_linked(
        &mut self,
        now: Time,
        from: P,
        rpc: RpcId,
        supers: &[P],
        host: &mut impl World<P>,
    ) {
        if !matches!(self.asked.close(rpc, from), Some(Asked::Link)) {
            return host.refuse(Some(from), Offence::UnknownReply);
        }
        self.learn_all(from, supers, host);
        self.link(from, host);
        self.look_around(now, host);
    }

    fn link(&mut self, peer: P, host: &mut impl World<P>) {
        let Some(office) = &mut self.office else { return };
        office.remove_leaf(peer);
        if office.add_link(peer) {
            self.past.found();
            host.emit(Event::Update { peer, joined: true });
        }
    }

    pub(super) fn on_bye(&mut self, now: Time, from: P, supers: &[P], host: &mut impl World<P>) {
        // Farewells may cross: one from a stranger is no offence, and no news.
        let asked = self.asked.abandon(from).is_some();
        if self.forget(now, from, host) || asked {
            self.learn_all(from, supers, host);
            self.look_around(now, host);
        }
    }

    /// Somebody is known to be gone.
    pub(super) fn lost(&mut self, now: Time, peer: P, host: &mut impl World<P>) {
        while self.asked.abandon(peer).is_some() {}
        self.spares.retain(|&spare| spare != peer);
        self.forget(now, peer, host);
        self.look_around(now, host);
    }

    /// Takes a peer out of all roles; whether it had one.
    fn forget(&mut self, now: Time, peer: P, host: &mut impl World<P>) -> bool {
        let was_parent = self.parent() == Some(peer);
        if was_parent {
            self.parent = None;
            self.strand_searches(now);
            count(&mut self.counters.moves);
            self.asked.retain(|asked| !matches!(asked, Asked::Share { .. } | Asked::Ping { .. }));
        }
        let was_link = self.office.as_mut().is_some_and(|office| office.remove_link(peer));
        let was_leaf = self.office.as_mut().is_some_and(|office| office.remove_leaf(peer));
        if was_parent || was_link {
            self.past.remember(peer);
            host.emit(Event::Update { peer, joined: false });
        }
        was_parent || was_link || was_leaf
    }

    pub(super) fn on_tick(&mut self, now: Time, host: &mut impl World<P>) {
        // A leaf that knows nobody but its super-peer asks it again soon.
        let lonely = self.parent.is_some() && self.spares.is_empty();
        self.tick = now + self.config.interval / if lonely { SOON } else { 1 };
        self.tries = TRIES_A_TICK;
        if self.office.is_some() {
            self.check_links(now, host);
            self.check_leaves(now, host);
            self.promote_for_room(now, host);
            self.promote_the_better(now, host);
            self.retire_if_idle(now, host);
        } else if self.parent.is_some() {
            let pinging = self.asked.iter().any(|(_, asked)| matches!(asked, Asked::Ping { .. }));
            if !pinging {
                self.ping_parent(now, 1, host);
            }
            self.share(now, host);
        } else if self.state == State::Member {
            self.orphaned += 1;
            if self.orphaned > ORPHAN_TICKS {
                self.rise(host);
                self.ask_again(now, host);
            }
        }
        if let (true, alone) = self.lacks() {
            self.past.tick(alone);
        }
        self.look_around(now, host);
    }

    fn check_links(&mut self, now: Time, host: &mut impl World<P>) {
        let Some(office) = &mut self.office else { return };
        let mut dead = Vec::new();
        for link in &mut office.links {
            link.missed = if link.heard { 0 } else { link.missed.saturating_add(1) };
            if link.missed > self.config.missed {
                dead.push(link.peer);
                continue;
            }
            link.heard = false;
            let rpc = RpcId(host.rng().next_u32());
            link.ping = Some(rpc);
            host.send(link.peer, Message::Ping { rpc });
        }
        for peer in dead {
            self.forget(now, peer, host);
        }
    }

    fn check_leaves(&mut self, now: Time, host: &mut impl World<P>) {
        let Some(office) = &mut self.office else { return };
        let mut dead = Vec::new();
        for leaf in &mut office.leaves {
            leaf.missed = if leaf.heard { 0 } else { leaf.missed.saturating_add(1) };
            leaf.heard = false;
            if leaf.missed > self.config.missed {
                dead.push(leaf.peer);
            }
        }
        for peer in dead {
            self.lost(now, peer, host);
        }
    }

    fn promote(&mut self, now: Time, leaf: P, replace: bool, host: &mut impl World<P>) {
        let Some(office) = &self.office else { return };
        let supers = office.named(leaf, self.config.room(), host.rng());
        let deadline = now + self.config.timeout;
        if let Some(rpc) = self.asked.open(leaf, deadline, Asked::Promote { replace }, host.rng()) {
            host.send(leaf, Message::Promote { rpc, supers });
        }
    }

    fn is_promoting(&self) -> bool {
        self.asked.iter().any(|(_, asked)| matches!(asked, Asked::Promote { .. }))
    }

    /// Four fifths full: the best leaf that has earned it becomes a super-peer. Full:
    /// the best one, whether it has or not.
    fn promote_for_room(&mut self, now: Time, host: &mut impl World<P>) {
        let Some(office) = self.office.as_ref().filter(|_| !self.is_promoting()) else { return };
        let (load, room, config) = (office.leaves.len(), self.config.room(), &self.config);
        if load * 5 < room * 4 {
            return;
        }
        let earned = office.best(now, |leaf| {
            now.since(leaf.since) >= config.probation && leaf.vouchers.len() >= usize::from(config.vouchers)
        });
        let any = if office.pressed { office.best(now, |_| true) } else { None };
        if let Some(leaf) = earned.or(any) {
            self.promote(now, leaf, false, host);
        }
    }

    /// A leaf that has earned it and can bear twice as much takes this node's place.
    fn promote_the_better(&mut self, now: Time, host: &mut impl World<P>) {
        let Some(office) = self.office.as_ref().filter(|_| !self.is_promoting()) else { return };
        let better = office.best(now, |leaf| {
            now.since(leaf.since) >= self.config.probation
                && leaf.vouchers.len() >= usize::from(self.config.vouchers)
                && leaf.capacity >= self.capacity.saturating_mul(2)
        });
        if let Some(leaf) = better {
            self.promote(now, leaf, true, host);
        }
    }

    pub(super) fn on_promoted(
        &mut self,
        now: Time,
        from: P,
        rpc: RpcId,
        done: bool,
        host: &mut impl World<P>,
    ) {
        let Some(Asked::Promote { replace }) = self.asked.close(rpc, from) else {
            return host.refuse(Some(from), Offence::UnknownReply);
        };
        let Some(office) = self.office.as_mut().filter(|_| done) else { return };
        office.pressed = false;
        self.link(from, host);
        if replace {
            return self.retire(now, from, host);
        }
        // The longest here stay; the other half goes to the new one.
        let Some(office) = &mut self.office else { return };
        let mut leaves: Vec<(Time, P)> = office.leaves.iter().map(|leaf| (leaf.since, leaf.peer)).collect();
        leaves.sort_unstable();
        for &(_, peer) in &leaves[leaves.len().div_ceil(2)..] {
            office.remove_leaf(peer);
            host.send(peer, Message::Bye { supers: List::new(vec![from]) });
        }
    }

    /// A super-peer with hardly a leaf, and a linked one with more, is one too many.
    fn retire_if_idle(&mut self, now: Time, host: &mut impl World<P>) {
        let (room, me) = (self.config.room(), self.me);
        let Some(office) = &mut self.office else { return };
        let load = office.leaves.len();
        office.idle = if load * 8 < room { office.idle.saturating_add(1) } else { 0 };
        let bigger = |link: &&super::office::Link<P>| {
            let other = usize::from(link.load);
            (other, link.peer) > (load, me) && (other + load + 1) * 5 <= room * 4
        };
        let target = office.links.iter().filter(bigger).max_by_key(|link| (link.load, link.peer));
        if let Some(target) = target.map(|link| link.peer)
            && office.idle > IDLE_TICKS
        {
            self.retire(now, target, host);
        }
    }

    /// Becomes a leaf of `heir`, and takes all leaves there.
    fn retire(&mut self, now: Time, heir: P, host: &mut impl World<P>) {
        let Some(office) = self.office.take() else { return };
        self.dissolve(&office, Some(heir), host);
        self.asked.retain(|asked| matches!(asked, Asked::Fetch));
        self.strand_searches(now);
        count(&mut self.counters.demotions);
        self.learn(heir, host);
        self.seek(now, host);
    }

    /// Counts a vouch for one of this super-peer's leaves.
    pub(super) fn vouched(&mut self, now: Time, from: P, provider: P) {
        let Some(office) = &mut self.office else { return };
        let probation = self.config.probation;
        let is_new = |leaf: &super::office::Leaf<P>| leaf.peer == from && now.since(leaf.since) < probation;
        if office.leaves.iter().any(is_new) {
            return;
        }
        if let Some(leaf) = office.leaves.iter_mut().find(|leaf| leaf.peer == provider)
            && leaf.vouchers.len() < MAX_VOUCHERS
            && !leaf.vouchers.contains(&from)
        {
            leaf.vouchers.push(from);
        }
    }
}
