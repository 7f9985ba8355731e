//! Upkeep: who is there, and who is in whose place ("Self-organization and
//! adaptation" and "Locality").

use starling_sansio::Time;

use super::lookup::STEP_TRIES;
use super::message::MAX_ROWS;
use super::{Asked, MAX_SUSPECTS, NEIGHBORHOOD, Pastry, PastryMessage, Place, Stage, TRIES, What, World};
use crate::wire::List;
use crate::{Id, Offence, Peer, Routing, RpcId};

/// Races that one answer begins, at most.
const MAX_RACES: usize = 4;
/// How often a leaf, which may be the root, is sent what travels before another is, if
/// nothing gets lost.
const LEAF_TRIES: u8 = 2;
impl<P: Peer> Pastry<P> {
    /// Whether the node takes part, though perhaps not yet in its own opinion.
    pub(super) fn is_in(&self) -> bool {
        matches!(self.stage, Stage::Settling | Stage::Member)
    }

    /// `peer` itself said something that only a member says.
    pub(super) fn heard<H: World<P>>(&mut self, peer: P, host: &mut H) {
        if let Some(busy) = &mut self.busy {
            busy.suspects.retain(|suspect| suspect.0 != peer);
        }
        if self.config.frozen {
            return;
        }
        self.offer_leaf(peer, host);
        self.offer_table(peer, host);
        self.offer_neighborhood(peer, host);
    }

    pub(super) fn offer_leaf<H: World<P>>(&mut self, peer: P, host: &mut H) {
        let (me, half) = (host.id(self.me), self.config.half());
        let offered = self.leaf.offer(me, peer, half, |peer| host.id(peer));
        if let Some(peer) = offered.pushed_out {
            host.emit(Routing::Update { peer, joined: false });
        }
        if offered.entered {
            host.emit(Routing::Update { peer, joined: true });
        }
    }

    /// Puts `peer` into its place in the table if that is empty or `peer` is nearer.
    pub(super) fn offer_table<H: World<P>>(&mut self, peer: P, host: &mut H) {
        let width = self.config.width();
        let Some(place) = Place::of(host.id(self.me), host.id(peer), width) else { return };
        let Some(there) = self.table.get(place, width) else {
            self.table.set(place, peer, width);
            return;
        };
        if there == peer {
            return;
        }
        if let (Some(new), Some(old)) = (host.distance(peer), host.distance(there))
            && new < old
        {
            self.table.set(place, peer, width);
        }
    }

    /// Another node's row names `peer`: if it may improve the table, it is pinged. If
    /// the driver cannot tell, it races against who stands in its place.
    fn consider_entry<H: World<P>>(&mut self, peer: P, races: &mut usize, host: &mut H) {
        let width = self.config.width();
        let Some(place) = Place::of(host.id(self.me), host.id(peer), width) else { return };
        let there = self.table.get(place, width);
        if there == Some(peer) || self.suspected(peer) || self.pinging(peer) {
            return;
        }
        match there.map(|there| (there, host.distance(peer), host.distance(there))) {
            None => self.ask(peer, What::Ping { rival: None }, host),
            Some((_, Some(new), Some(old))) if new < old => self.ask(peer, What::Ping { rival: None }, host),
            Some((_, Some(_), Some(_))) => {}
            Some((there, ..)) if *races > 0 && self.config.race && !self.pinging(there) => {
                *races -= 1;
                self.ask(there, What::Ping { rival: Some(peer) }, host);
                self.ask(peer, What::Ping { rival: Some(there) }, host);
            }
            Some(_) => {}
        }
    }

    fn offer_neighborhood<H: World<P>>(&mut self, peer: P, host: &mut H) {
        let room = self.config.neighborhood;
        if room == 0 || self.neighborhood.contains(&peer) || host.distance(peer).is_none() {
            return;
        }
        self.neighborhood.push(peer);
        self.neighborhood.sort_by_key(|&one| host.distance(one));
        self.neighborhood.truncate(room);
    }

    /// Whether a question that `matching` is open to `peer`.
    fn asking(&self, peer: P, matching: impl Fn(&What<P>) -> bool) -> bool {
        let open = self.busy.iter().flat_map(|busy| busy.open.iter());
        open.into_iter().any(|(to, asked)| to == peer && matching(&asked.what))
    }

    fn pinging(&self, peer: P) -> bool {
        self.asking(peer, |what| matches!(what, What::Ping { .. }))
    }

    pub(super) fn probe_leaf<H: World<P>>(&mut self, peer: P, host: &mut H) {
        if !self.asking(peer, |what| matches!(what, What::Leaf { .. })) {
            self.ask(peer, What::Leaf { told: false }, host);
        }
    }

    fn suspected(&self, peer: P) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.suspects.iter().any(|suspect| suspect.0 == peer))
    }

    /// For a while, `peer` must speak for itself to be believed in.
    fn suspect(&mut self, peer: P) {
        let until = self.now + self.config.suspicion;
        let busy = self.busy();
        busy.suspects.retain(|suspect| suspect.0 != peer);
        if busy.suspects.len() < MAX_SUSPECTS {
            busy.suspects.push((peer, until));
        }
    }

    /// Somebody names members of its leaf set: those that would fit into this node's
    /// are asked whether they are there, and enter when they answer.
    pub(super) fn consider_leaves<H: World<P>>(&mut self, peers: &[P], host: &mut H) {
        let (me, half) = (host.id(self.me), self.config.half());
        for &peer in peers {
            let fits = peer != self.me && self.leaf.wants(me, peer, half, |peer| host.id(peer));
            if fits && !self.suspected(peer) {
                self.probe_leaf(peer, host);
            }
        }
    }

    /// `from` shows its leaf set: of this node's leaves those that should be in it and
    /// are not may be dead.
    fn compare_leaves<H: World<P>>(&mut self, from: P, peers: &[P], host: &mut H) {
        let place = host.id(from);
        let ways = |peer: P| (host.id(peer).minus(place), place.minus(host.id(peer)));
        let mut reach = (Id::ZERO, Id::ZERO);
        for (clockwise, counterclockwise) in peers.iter().map(|&peer| ways(peer)) {
            if clockwise < counterclockwise {
                reach.0 = reach.0.max(clockwise);
            } else {
                reach.1 = reach.1.max(counterclockwise);
            }
        }
        let expected = |peer: P| {
            let (clockwise, counterclockwise) = ways(peer);
            if clockwise < counterclockwise { clockwise < reach.0 } else { counterclockwise < reach.1 }
        };
        let missing = |&&peer: &&P| peer != from && !peers.contains(&peer) && expected(peer);
        for peer in self.leaf.all().iter().filter(missing).copied().collect::<Vec<P>>() {
            self.doubt(peer, host);
        }
    }

    /// Probes a leaf of which another thinks that it is dead; not soon again, else where
    /// much gets lost one wrong belief begets the next.
    fn doubt<H: World<P>>(&mut self, peer: P, host: &mut H) {
        let until = self.now + self.config.heartbeat / 2;
        let doubted = &mut self.busy().doubted;
        let again = doubted.iter().any(|doubted| doubted.0 == peer) || doubted.len() >= MAX_SUSPECTS;
        if !again && !self.asking(peer, |what| matches!(what, What::Leaf { .. })) {
            self.busy().doubted.push((peer, until));
            self.ask(peer, What::Leaf { told: true }, host);
        }
    }

    pub(super) fn on_leaf_ask<H: World<P>>(&mut self, from: P, rpc: RpcId, leaf: &[P], host: &mut H) {
        if !self.sane(from, leaf, host) {
            return;
        }
        host.send(from, PastryMessage::LeafAnswer { rpc, leaf: self.shown_leaf() });
        self.heard(from, host);
        self.consider_leaves(leaf, host);
    }

    pub(super) fn on_leaf_answer<H: World<P>>(&mut self, from: P, rpc: RpcId, leaf: &[P], host: &mut H) {
        let Some(what) = self.answered_by(from, rpc, host) else { return };
        let What::Leaf { told } = what else {
            return host.refuse(Some(from), Offence::OutOfRange);
        };
        if self.sane(from, leaf, host) {
            self.heard(from, host);
            self.consider_leaves(leaf, host);
            if !told {
                self.compare_leaves(from, leaf, host); // else two who disagree would never rest
            }
        }
        self.settle(host);
    }

    /// Whether a leaf set may be that of `from`.
    fn sane<H: World<P>>(&self, from: P, leaf: &[P], host: &mut H) -> bool {
        if leaf.contains(&from) {
            host.refuse(Some(from), Offence::NamesItself);
        } else if leaf.len() > 2 * self.config.half() {
            host.refuse(Some(from), Offence::TooMany);
        } else {
            return true;
        }
        false
    }

    pub(super) fn on_row_ask<H: World<P>>(&mut self, from: P, rpc: RpcId, row: u8, host: &mut H) {
        let width = self.config.width();
        let peers = match row {
            NEIGHBORHOOD => &self.neighborhood[..],
            row if u32::from(row) * width < Id::BITS => self.table.row(u32::from(row), width),
            _ => return host.refuse(Some(from), Offence::OutOfRange),
        };
        let peers: List<P, MAX_ROWS> = peers.iter().filter(|&&peer| peer != from).copied().collect();
        host.send(from, PastryMessage::RowAnswer { rpc, peers });
        self.heard(from, host);
    }

    /// Pings those of the row that would improve the tables.
    pub(super) fn on_row_answer<H: World<P>>(&mut self, from: P, rpc: RpcId, peers: &[P], host: &mut H) {
        let Some(what) = self.answered_by(from, rpc, host) else { return };
        let What::Row { row } = what else {
            return host.refuse(Some(from), Offence::OutOfRange);
        };
        self.heard(from, host);
        if peers.contains(&from) || peers.contains(&self.me) {
            return host.refuse(Some(from), Offence::NamesItself);
        }
        let width = self.config.width();
        if row != NEIGHBORHOOD && peers.len() >= 1 << width {
            return host.refuse(Some(from), Offence::TooMany);
        }
        let mut races = MAX_RACES;
        for &peer in peers {
            self.consider_entry(peer, &mut races, host);
            let near = row == NEIGHBORHOOD && !self.neighborhood.contains(&peer);
            if near && races > 0 && !self.suspected(peer) && !self.pinging(peer) {
                races -= 1;
                self.ask(peer, What::Ping { rival: None }, host);
            }
        }
    }

    pub(super) fn on_pong<H: World<P>>(&mut self, from: P, rpc: RpcId, host: &mut H) {
        let Some(what) = self.answered_by(from, rpc, host) else { return };
        let What::Ping { rival } = what else {
            return host.refuse(Some(from), Offence::OutOfRange);
        };
        self.heard(from, host);
        let Some(rival) = rival else { return };
        let width = self.config.width();
        let place = Place::of(host.id(self.me), host.id(from), width);
        if let Some(place) = place.filter(|&place| self.table.get(place, width) == Some(rival)) {
            self.table.set(place, from, width);
        }
        // The race is over: who answers second gains nothing.
        let open = self.busy.iter_mut().flat_map(|busy| busy.open.iter_mut());
        for (_, asked) in open.filter(|(to, _)| *to == rival) {
            if let What::Ping { rival } = &mut asked.what
                && *rival == Some(from)
            {
                *rival = None;
            }
        }
    }

    /// A neighbour says that another does not answer; this node sees for itself.
    pub(super) fn on_gone<H: World<P>>(&mut self, from: P, peer: P, host: &mut H) {
        if peer == self.me || peer == from {
            return host.refuse(Some(from), Offence::NamesItself);
        }
        if self.leaf.contains(peer) && self.leaf.contains(from) {
            self.doubt(peer, host);
        }
    }

    /// A peer leaves, and names who may take its place.
    pub(super) fn on_bye<H: World<P>>(&mut self, from: P, leaf: &[P], host: &mut H) {
        if !self.sane(from, leaf, host) {
            return;
        }
        let known = self.leaf.contains(from);
        self.forget(from, host);
        self.suspect(from);
        if known {
            self.consider_leaves(leaf, host);
        }
    }

    /// Deals with questions that were not answered in time. Who does not take what travels
    /// is asked whether it is there, a leaf at once; only who does not answer that is lost.
    pub(super) fn silent<H: World<P>>(&mut self, host: &mut H) {
        let now = self.now;
        while let Some((rpc, peer, asked)) =
            self.busy.as_mut().and_then(|busy| busy.open.expire_numbered(now))
        {
            let (leaf, before) = (self.leaf.contains(peer), asked.before);
            let tries = |least| self.patience.tries(least);
            let (tries, probe) = match asked.what {
                What::Step { .. } => (STEP_TRIES, false),
                What::Find(_) | What::Carry(_) if leaf => (tries(LEAF_TRIES), false),
                What::Find(_) | What::Carry(_) | What::Join(_) => (1, false),
                What::Leaf { .. } | What::Row { .. } | What::Ping { .. } => (tries(TRIES), true),
            };
            if !probe && leaf {
                self.probe_leaf(peer, host);
            }
            if before + 1 < tries {
                self.ask_again(peer, rpc, asked, host);
            } else if probe {
                self.lost(peer, matches!(asked.what, What::Leaf { told: true }), host);
            } else {
                if !leaf && !self.pinging(peer) {
                    let ping = Asked { what: What::Ping { rival: None }, before: 0, ..asked.clone() };
                    self.ask_again(peer, rpc, ping, host);
                }
                self.another_way(peer, asked.what, host);
            }
        }
        self.settle(host);
    }

    /// A peer is dead, as far as this node can tell.
    pub(super) fn lost<H: World<P>>(&mut self, peer: P, told: bool, host: &mut H) {
        if !self.config.frozen {
            self.lose(peer, told, host);
        }
        self.suspect(peer);
        while let Some(asked) = self.busy.as_mut().and_then(|busy| busy.open.abandon(peer)) {
            self.another_way(peer, asked.what, host);
        }
        self.settle(host);
    }

    /// Repairs the tables without a peer. The leaf set hears of a leaf, unless one of them
    /// `told` this node.
    fn lose<H: World<P>>(&mut self, peer: P, told: bool, host: &mut H) {
        let was_leaf = self.leaf.contains(peer);
        if self.everyone().any(|one| one == peer) {
            self.past.note(peer, host.rng());
        }
        let told = told || self.asking(peer, |what| matches!(what, What::Leaf { told: true }));
        self.forget(peer, host);
        if was_leaf && !told && self.is_in() {
            self.shown_leaf().iter().for_each(|&leaf| host.send(leaf, PastryMessage::Gone { peer }));
            let next = [self.leaf.smaller().first().copied(), self.leaf.larger().first().copied()];
            next.into_iter().flatten().for_each(|next| self.probe_leaf(next, host));
        }
        if was_leaf {
            self.repair_leaf(host);
        }
    }

    fn another_way<H: World<P>>(&mut self, peer: P, what: What<P>, host: &mut H) {
        match what {
            What::Find(find) => self.pass_again(peer, find, host),
            What::Carry(parcel) => self.carry_again(peer, parcel, host),
            What::Join(join) => self.show_way_again(peer, join, host),
            What::Step { op, .. } => self.step_again(op, host),
            What::Leaf { .. } | What::Row { .. } | What::Ping { .. } => {}
        }
    }

    /// Takes `peer` out of all tables and looks for who may take its place.
    fn forget<H: World<P>>(&mut self, peer: P, host: &mut H) {
        if self.leaf.remove(peer) {
            host.emit(Routing::Update { peer, joined: false });
        }
        self.neighborhood.retain(|&one| one != peer);
        let width = self.config.width();
        let Some(place) = Place::of(host.id(self.me), host.id(peer), width) else { return };
        if self.table.clear(place, peer, width) {
            self.repair_table(place, host);
        }
    }

    /// Asks the farthest on each side that is short for its leaf set.
    fn repair_leaf<H: World<P>>(&mut self, host: &mut H) {
        let half = self.config.half();
        let (smaller, larger) = self.leaf.reach();
        let short = [(self.leaf.smaller().len(), smaller), (self.leaf.larger().len(), larger)];
        for (len, farthest) in short {
            let anyone = || self.everyone().min_by_key(|&peer| host.id(self.me).ring_distance(host.id(peer)));
            if let Some(peer) = (len < half).then(|| farthest.or_else(anyone)).flatten() {
                self.probe_leaf(peer, host);
            }
        }
    }

    /// Asks another node of the same row for that row, or of a later one.
    fn repair_table<H: World<P>>(&mut self, place: Place, host: &mut H) {
        let width = self.config.width();
        for row in place.row..(place.row + 2).min(self.table.rows(width)) {
            let others = self.table.row(row, width);
            if let Some(&peer) = others.get(host.rng().index(others.len())) {
                return self.ask_row(peer, place.row, host);
            }
        }
    }

    fn ask_row<H: World<P>>(&mut self, peer: P, row: u32, host: &mut H) {
        if !self.asking(peer, |what| matches!(what, What::Row { .. })) {
            self.ask(peer, What::Row { row: row.min(254) as u8 }, host);
        }
    }

    pub(super) fn start_timers<H: World<P>>(&mut self, host: &mut H) {
        let mut phase = |interval: std::time::Duration| interval.mul_f64(host.rng().unit());
        (self.beat, self.scan) =
            (self.now + phase(self.config.heartbeat), self.now + phase(self.config.scan));
    }

    /// Probes the next neighbour on either side, and one other leaf.
    pub(super) fn heartbeat<H: World<P>>(&mut self, host: &mut H) {
        if self.beat > self.now {
            return;
        }
        self.beat = if self.stage == Stage::Member { self.now + self.config.heartbeat } else { Time::NEVER };
        let all = self.leaf.all();
        let any = all.get(host.rng().index(all.len())).copied();
        let next = [self.leaf.smaller().first().copied(), self.leaf.larger().first().copied(), any];
        next.into_iter().flatten().for_each(|peer| self.probe_leaf(peer, host));
    }

    /// Probes one entry of the table; every fourth is asked for its row.
    pub(super) fn scan<H: World<P>>(&mut self, host: &mut H) {
        if self.scan > self.now {
            return;
        }
        self.scan = if self.stage == Stage::Member { self.now + self.config.scan } else { Time::NEVER };
        self.scans = self.scans.wrapping_add(1);
        self.look_beyond(host);
        if let Some(&near) = self.neighborhood.get(host.rng().index(self.neighborhood.len().max(1)))
            && self.scans % 8 == 1
        {
            return self.ask(near, What::Row { row: NEIGHBORHOOD }, host);
        }
        let entries = self.table.entries();
        let Some(&peer) = entries.get(host.rng().index(entries.len())) else { return };
        let place = Place::of(host.id(self.me), host.id(peer), self.config.width());
        match place {
            Some(place) if self.scans.is_multiple_of(4) => self.ask_row(peer, place.row, host),
            _ if !self.pinging(peer) => self.ask(peer, What::Ping { rival: None }, host),
            _ => {}
        }
    }
}
