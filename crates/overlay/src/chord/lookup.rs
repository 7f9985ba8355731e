//! Finds: who is responsible for a key?
//!
//! Iterative: the asking node asks the closest preceding node it knows, then the
//! closest that this one names, and so on until the one before the key names the root,
//! which is asked, too: that is the final hop of the paper's path lengths, it shows
//! that the root lives, and it is where a value may be. Whoever does not answer is
//! passed over for the next best that anyone on the path has named (Stoica et al.,
//! section IV-E.3), fingers and successors alike.

use super::config::{MAX_BACK, MAX_CARRIES, MAX_FINDS, MAX_HOPS, MAX_QUESTIONS, Style};
use super::find::{Answer, Asked, Find, Purpose, To};
use super::message::{Aim, FEW, Message};
use super::{Chord, Outside, fresh};
use crate::{Cost, Id, Offence, Op, Peer, Routing, RpcId};

/// Peers that a find begins with.
const FIRST: usize = 4 * FEW;

/// What a node can say of a key.
pub enum Hop<'a, P> {
    /// It is mine.
    Root,
    /// It is the first one's of these; the others take its place if it is gone.
    Last(&'a [P]),
    /// It is beyond what I know for certain.
    Beyond,
}

impl<P: Peer> Chord<P> {
    /// Where `key` goes from here. With `whole`, only the immediate predecessor of the
    /// key's root says who that is.
    pub(super) fn hop<H: Outside<P>>(&self, key: Id, whole: bool, host: &H) -> Hop<'_, P> {
        let (mine, list) = (host.id(self.me), self.successors());
        let distance = key.minus(mine);
        let before = self.predecessor();
        let own = before.is_none_or(|before| key.between_or_at(host.id(before), mine));
        if distance == Id::ZERO || own && (before.is_some() || list.is_empty()) {
            return Hop::Root;
        }
        let covered = list.partition_point(|&peer| host.id(peer).minus(mine) < distance);
        match list.get(covered..).filter(|rest| !rest.is_empty()) {
            Some(rest) if covered == 0 || !whole => Hop::Last(rest),
            _ => Hop::Beyond,
        }
    }

    /// The root of `key`, if the successor list says.
    pub(super) fn next_known<H: Outside<P>>(&self, key: Id, host: &H) -> Option<P> {
        match self.hop(key, false, host) {
            Hop::Last(list) => list.first().copied(),
            Hop::Root | Hop::Beyond => None,
        }
    }

    /// This node as a root: itself and who takes its place if it is gone.
    pub(super) fn own_replicas(&self) -> Vec<P> {
        let others = self.successors().iter().copied();
        std::iter::once(self.me).chain(others).take(self.config.replicas.max(1)).collect()
    }

    pub(super) fn on_ask<H: Outside<P>>(
        &mut self,
        from: P,
        (rpc, key, aim, last, skip): (RpcId, Id, Aim, bool, Option<u8>),
        host: &mut H,
    ) {
        let hop = match skip {
            _ if last => Hop::Root,
            Some(_) => Hop::Beyond,
            None => self.hop(key, aim == Aim::Join, host),
        };
        let skip = usize::from(skip.unwrap_or(0));
        let answer = match hop {
            Hop::Root if aim != Aim::Join => {
                let before = self.nearer(key, host).filter(|_| last);
                let wanted = if aim == Aim::Finger { 0 } else { self.config.replicas.saturating_sub(1) };
                let replicas = self.successors().iter().take(wanted).copied().collect();
                Message::Root { rpc, aim, before, replicas }
            }
            // A newcomer needs the node before its place, which is before us.
            Hop::Root if self.predecessor().is_some() => {
                let before = self.predecessor().filter(|&one| one != from);
                let peers = before.into_iter().chain(self.ahead(key, from, host));
                Message::Next { rpc, aim, peers: peers.collect() }
            }
            Hop::Root => Message::Last { rpc, aim, peers: self.successors().iter().copied().collect() },
            Hop::Last(list) => Message::Last { rpc, aim, peers: list.iter().copied().collect() },
            Hop::Beyond => {
                let peers = self.ahead(key, from, host).skip(skip).collect();
                Message::Next { rpc, aim, peers }
            }
        };
        host.send(from, answer);
    }

    /// Peers before `key`, closest first, without `asking`.
    pub(super) fn ahead<H: Outside<P>>(&self, key: Id, asking: P, host: &H) -> impl Iterator<Item = P> {
        let mine = host.id(self.me);
        let all = self.table.preceding(key.minus(mine), |peer| host.id(peer).minus(mine));
        all.filter(move |&peer| peer != asking)
    }

    /// The predecessor, if not this node but it is a root of `key`, or who precedes it.
    pub(super) fn nearer<H: Outside<P>>(&self, key: Id, host: &H) -> Option<P> {
        let distance = |peer: P| host.id(peer).minus(key);
        self.predecessor().filter(|&before| distance(before) < distance(self.me))
    }

    /// Begins a find of a user.
    pub(super) fn find_for_user<H: Outside<P>>(&mut self, op: Op, key: Id, values: bool, host: &mut H) {
        let full = self.busy.as_ref().is_some_and(|busy| busy.finds.len() >= MAX_FINDS);
        if !self.member || full {
            return host.emit(Routing::Closest { op, peers: Vec::new(), cost: Cost::default() });
        }
        self.find(Purpose::User(op, values), key, host);
    }

    /// Begins a find.
    pub(super) fn find<H: Outside<P>>(&mut self, purpose: Purpose<P>, key: Id, host: &mut H) {
        let find = Find::new(purpose, key);
        let recursive = matches!(purpose, Purpose::User(..)) && self.config.style == Style::Recursive;
        // Who has too much to carry for others waits for none of it.
        let room = self.busy.as_ref().is_none_or(|busy| busy.carries.len() < MAX_CARRIES);
        if recursive && room && !matches!(self.hop(key, false, host), Hop::Root) {
            self.send_find(find, host);
        } else {
            self.find_alone(find, host);
        }
    }

    /// Begins an iterative find with what this node knows itself.
    fn find_alone<H: Outside<P>>(&mut self, mut find: Box<Find<P>>, host: &mut H) {
        let key = find.key;
        match self.hop(key, false, host) {
            Hop::Root => return self.finish(&find, self.own_replicas(), 0, host),
            Hop::Last(list) => list.iter().for_each(|&peer| find.add(peer, 1, true, host)),
            Hop::Beyond => {}
        }
        self.ahead(key, self.me, host).take(FIRST).for_each(|peer| find.add(peer, 1, false, host));
        self.go_on(find, host);
    }

    /// Asks the next peer, or ends the find.
    pub(super) fn go_on<H: Outside<P>>(&mut self, mut find: Box<Find<P>>, host: &mut H) {
        if let Some((root, ..)) = find.root {
            find.drop_roots_after(root, host);
        }
        let best = find.next();
        match (best, find.root.take()) {
            (Some(next), _) if next.last && next.peer == self.me => {
                let (before, others) = (self.nearer(find.key, host), self.own_replicas().split_off(1));
                self.on_root(self.me, before, others, find, next.hops, host);
            }
            (Some(next), root) if next.last || root.is_none() => {
                find.root = root;
                find.questions += 1;
                if next.hops > MAX_HOPS || find.questions > MAX_QUESTIONS {
                    return self.fail(&find, host);
                }
                let left = self.config.find_tries.max(1);
                find.asked = Some(Asked::new(fresh(host), Some(next), self.now, left));
                self.ask(&mut find, host);
                self.busy().finds.push(find);
            }
            (_, Some((root, mut others, hops))) => {
                others.insert(0, root);
                self.finish(&find, others, hops, host);
            }
            (_, None) => self.fail(&find, host),
        }
    }

    fn ask<H: Outside<P>>(&self, find: &mut Find<P>, host: &mut H) {
        let (aim, op) = find.aim();
        let Some(asked) = &mut find.asked else { return };
        asked.left = asked.left.saturating_sub(1);
        asked.deadline = self.now + self.config.rpc_timeout;
        let Some(To { peer, hops, last, skip }) = asked.to else { return };
        host.send(peer, Message::Ask { rpc: asked.rpc, key: find.key, op, aim, last, skip, hops });
    }

    pub(super) fn on_answer<H: Outside<P>>(&mut self, from: P, rpc: RpcId, answer: Answer<P>, host: &mut H) {
        if self.on_finger_answer(from, rpc, &answer, host) {
            return;
        }
        let me = self.me;
        let asked = |find: &Find<P>| find.asks(rpc) && find.asked() == Some(from);
        let finds = self.busy.iter_mut().flat_map(|busy| busy.finds.iter().enumerate());
        let Some((at, find)) = finds.into_iter().find(|(_, find)| asked(find)) else {
            return host.refuse(Some(from), Offence::UnknownReply);
        };
        if let Err(offence) = find.judge(from, &answer, me, host) {
            return host.refuse(Some(from), offence);
        }
        let mut find = self.busy().finds.remove(at);
        let hops = find.asked.take().and_then(|asked| asked.to).map_or(0, |to| to.hops);
        match answer {
            Answer::Next(peers) => {
                find.has_named(from, (peers.iter().count() == FEW).then_some(FEW));
                peers
                    .iter()
                    .filter(|&peer| peer != me)
                    .for_each(|peer| find.add(peer, hops + 1, false, host));
                self.go_on(find, host);
            }
            Answer::Last(peers) => match find.purpose {
                Purpose::Join => self.found_place(from, peers, host),
                Purpose::Beyond(lost) => self.found_beyond(lost, &peers, host),
                Purpose::User(..) | Purpose::Finger(_) => {
                    find.has_named(from, Some(0));
                    peers.iter().for_each(|&peer| find.add(peer, hops + 1, true, host));
                    self.go_on(find, host);
                }
            },
            Answer::Root { before, replicas } => self.on_root(from, before, replicas, find, hops, host),
        }
    }

    /// `from` says to be the root, unless `before` is.
    fn on_root<H: Outside<P>>(
        &mut self,
        from: P,
        before: Option<P>,
        mut replicas: Vec<P>,
        mut find: Box<Find<P>>,
        hops: u8,
        host: &mut H,
    ) {
        match before.filter(|&before| !find.is_silent(before)) {
            Some(before) if find.back < MAX_BACK && !find.tried(before) => {
                find.back += 1;
                find.add(before, hops + 1, true, host);
                find.root = Some((from, replicas, hops));
                self.go_on(find, host);
            }
            // So many nodes before a root, or one that was no root itself: who named it was
            // wrong, or lied.
            Some(_) => {
                find.drop_roots();
                (find.root, find.back) = (None, 0);
                self.go_on(find, host);
            }
            None => {
                replicas.insert(0, from);
                self.finish(&find, replicas, hops, host);
            }
        }
    }

    /// Asks again where no answer came, or goes on without.
    pub(super) fn expire_finds<H: Outside<P>>(&mut self, host: &mut H) {
        while let Some(mut find) = self.take_find(|find, now| find.deadline() <= now) {
            let Some(asked) = find.asked else { continue };
            match asked.to {
                Some(_) if asked.left > 0 => {
                    self.ask(&mut find, host);
                    self.busy().finds.push(find);
                }
                Some(To { peer, .. }) => self.pass_over(peer, find, host),
                None => {
                    // Its answer may not reach this node: behind a NAT, only those do whom it asks.
                    let timeouts = find.timeouts;
                    let mut anew = Find::new(find.purpose, find.key);
                    anew.timeouts = timeouts;
                    self.find_alone(anew, host);
                }
            }
        }
    }

    /// The driver knows that `peer` will not answer.
    pub(super) fn find_lost<H: Outside<P>>(&mut self, peer: P, host: &mut H) {
        while let Some(find) = self.take_find(|find, _| find.asked() == Some(peer)) {
            self.pass_over(peer, find, host);
        }
    }

    pub(super) fn take_find(
        &mut self,
        which: impl Fn(&Find<P>, starling_sansio::Time) -> bool,
    ) -> Option<Box<Find<P>>> {
        let now = self.now;
        let busy = self.busy.as_mut()?;
        let at = busy.finds.iter().position(|find| which(find, now))?;
        Some(busy.finds.remove(at))
    }

    /// `peer`, who was asked, does not answer.
    fn pass_over<H: Outside<P>>(&mut self, peer: P, mut find: Box<Find<P>>, host: &mut H) {
        find.timeouts += 1;
        find.asked = None;
        find.was_silent(peer);
        self.suspect(peer, host);
        self.go_on(find, host);
    }

    /// A find has come upon the root, which is the first of `peers`.
    pub(super) fn finish<H: Outside<P>>(
        &mut self,
        find: &Find<P>,
        mut peers: Vec<P>,
        hops: u8,
        host: &mut H,
    ) {
        match find.purpose {
            Purpose::User(op, _) => {
                peers.truncate(self.config.replicas.max(1));
                let cost = Cost { hops: u32::from(hops), timeouts: find.timeouts };
                host.emit(Routing::Closest { op, peers, cost });
            }
            Purpose::Finger(place) => self.set_finger(place, peers.first().copied(), host),
            Purpose::Join | Purpose::Beyond(_) => {} // end with `found_place`, `found_beyond`
        }
    }

    /// A find has come upon nobody.
    pub(super) fn fail<H: Outside<P>>(&mut self, find: &Find<P>, host: &mut H) {
        match find.purpose {
            Purpose::User(op, _) => {
                let cost = Cost { hops: 0, timeouts: find.timeouts };
                host.emit(Routing::Closest { op, peers: Vec::new(), cost });
            }
            Purpose::Finger(place) => self.no_finger(place),
            Purpose::Join | Purpose::Beyond(_) => {} // `Joining` tries again, `Lost` another time
        }
    }

    /// Ends all finds of the user, when this node leaves.
    pub(super) fn fail_finds<H: Outside<P>>(&mut self, host: &mut H) {
        while let Some(find) = self.take_find(|_, _| true) {
            self.fail(&find, host);
        }
    }

    /// Forgets a find.
    pub(super) fn cancel(&mut self, op: Op) {
        let ours = |find: &Find<P>, _| matches!(find.purpose, Purpose::User(one, _) if one == op);
        self.take_find(ours);
    }
}
