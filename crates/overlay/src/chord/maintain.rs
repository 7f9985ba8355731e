//! Join, leave, the death of a neighbour, and fingers.

use super::config::{MAX_CANDIDATES, Variant};
use super::find::{Find, Purpose};
use super::message::{Few, Message};
use super::stabilize::{Step, in_order};
use super::{Chord, Joining, Outside};
use crate::{Id, Offence, Peer, Routing, View};

impl<P: Peer> Chord<P> {
    /// Joins through a member, or begins a ring.
    pub(super) fn join<H: Outside<P>>(&mut self, through: Option<P>, host: &mut H) {
        if self.member || self.busy.as_ref().is_some_and(|busy| busy.joining.is_some()) {
            return host.refuse(None, Offence::Misdirected);
        }
        match through {
            Some(peer) if peer == self.me => host.refuse(None, Offence::NamesItself),
            Some(peer) => {
                self.lost.came_through(peer);
                self.look_for_place(vec![peer], host);
            }
            None => {
                self.enter(host);
                self.small = true;
                host.emit(Routing::TooSmall { needed: self.config.r() as u32 + 1 });
            }
        }
    }

    /// Looks up the own place, through any of these.
    fn look_for_place<H: Outside<P>>(&mut self, through: Vec<P>, host: &mut H) {
        let retry_at = self.now + self.config.join_retry;
        let mut find = Find::new(Purpose::Join, self.place(host));
        through.iter().for_each(|&peer| find.add(peer, 1, false, host));
        self.busy().joining = Some(Joining { through, retry_at });
        self.go_on(find, host);
    }

    /// Nobody was found, or what was found is gone: looks again.
    pub(super) fn join_again<H: Outside<P>>(&mut self, host: &mut H) {
        let Some(busy) = &mut self.busy else { return };
        let Some(joining) = busy.joining.take_if(|joining| joining.retry_at <= self.now) else { return };
        if busy.finds.iter().any(|find| find.purpose == Purpose::Join) {
            let retry_at = self.now + self.config.join_retry;
            busy.joining = Some(Joining { retry_at, ..joining });
        } else {
            self.look_for_place(joining.through, host);
        }
    }

    /// Zave's join: `before` is the member before the own place, and `list` its
    /// successor list, which becomes the own. For a member that has lost its list, the
    /// same but for the predecessor.
    pub(super) fn found_place<H: Outside<P>>(&mut self, before: P, mut list: Vec<P>, host: &mut H) {
        let mine = self.place(host);
        list.retain(|&peer| peer != self.me);
        list.truncate(self.config.r());
        if list.is_empty() {
            list.push(before);
        }
        let free = mine.between(host.id(before), host.id(list[0]));
        if !free {
            return host.refuse(Some(before), Offence::OutOfRange);
        }
        if self.busy().joining.take().is_none() {
            return; // a list came from elsewhere meanwhile
        }
        if !self.config.variant.copies_list() {
            list.truncate(1);
        }
        if !self.member {
            self.enter(host);
            self.want_table = true;
            if self.config.variant != Variant::Published {
                self.set_predecessors(before, Few::NONE, host);
            }
        }
        self.set_successors(&list, host);
        self.stabilize_at = self.now;
    }

    /// Becomes a member, whose tables are empty yet.
    fn enter<H: Outside<P>>(&mut self, host: &mut H) {
        self.start_timers(host);
        host.emit(Routing::Joined);
    }

    fn start_timers<H: Outside<P>>(&mut self, host: &mut H) {
        let mut phase = |interval: std::time::Duration| {
            let micros = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
            std::time::Duration::from_micros(host.rng().below(micros))
        };
        self.stabilize_at = self.now + phase(self.config.stabilize);
        self.fix_at = self.now + phase(self.config.fix_fingers);
        self.version = host.rng().next_u32() | 1;
        (self.member, self.copied) = (true, 0);
    }

    /// Tables as they are after infinite time among `view`'s members.
    pub(super) fn settle_in<H: Outside<P>>(&mut self, view: &View<'_, P>, host: &mut H) {
        let mine = self.place(host);
        let at = view.successor(mine);
        let others = view.len().saturating_sub(1);
        let peer = |steps: isize| view.at(at, steps).map(|member| member.1);
        let list: Vec<P> = (1..=self.config.r().min(others)).filter_map(|n| peer(n as isize)).collect();
        self.predecessors = (1..=others).map_while(|n| peer(-(n as isize))).collect();
        let distance = |peer: P| host.id(peer).minus(mine);
        self.table.set_successors(&list, distance);
        self.small = others < self.config.r();
        let mut fingers = Vec::new();
        let mut end = list.last().map_or(Id::MAX, |&last| distance(last));
        while let Some(place) = end.leading_zeros().checked_sub(1) {
            let start = Id::bit(place);
            let Some(finger) = view.at(view.successor(mine.plus(start)), 0) else { break };
            end = finger.0.minus(mine);
            if end < start {
                break; // all around
            }
            fingers.push(finger.1);
        }
        self.table.add_fingers(fingers.into_iter(), distance);
        self.start_timers(host);
        // As if it had asked its successor before, whose list has not changed since.
        self.version = settled_version(mine);
        self.copied = list.first().map_or(0, |&successor| settled_version(host.id(successor)));
    }

    /// Leaves: the predecessor learns who follows, the successor who precedes.
    pub(super) fn leave<H: Outside<P>>(&mut self, host: &mut H) {
        if self.member {
            let predecessor = self.predecessor();
            let list = || self.successors().iter().copied().collect();
            if let Some(&successor) = self.successors().first() {
                host.send(successor, Message::Leave { predecessor, list: list() });
            }
            if let Some(before) = predecessor.filter(|&one| Some(&one) != self.successors().first()) {
                host.send(before, Message::Leave { predecessor, list: list() });
            }
        }
        self.fail_finds(host);
        self.lose_carries(host);
        *self = Chord { now: self.now, ..crate::Core::new(self.me, &self.config) };
        host.emit(Routing::Left);
    }

    /// A neighbour leaves. Its predecessor takes its list, as if it had asked for it
    /// just before.
    pub(super) fn on_leave<H: Outside<P>>(
        &mut self,
        from: P,
        predecessor: Option<P>,
        list: &[P],
        host: &mut H,
    ) {
        if predecessor == Some(from) {
            return host.refuse(Some(from), Offence::NamesItself);
        }
        if let Err(offence) = in_order(from, list, host) {
            return host.refuse(Some(from), offence);
        }
        let others: Vec<P> = list.iter().copied().take_while(|&peer| peer != self.me).collect();
        if let (true, Some((&head, rest))) = (self.successors().first() == Some(&from), others.split_first())
        {
            self.adopt(head, rest, host);
        }
        let before = predecessor.filter(|&one| one != self.me && self.predecessor() == Some(from));
        if let Some(question) = &mut self.question
            && question.peer == from
        {
            (question.left, question.deadline) = (0, self.now);
            self.expire_question(host);
        }
        let known = self.table.all().contains(&from) || self.predecessors.iter().any(|one| one == from);
        self.bury(from, host);
        if let Some(before) = before.filter(|_| self.predecessor().is_none()) {
            self.set_predecessors(before, Few::NONE, host);
        }
        // Whom nobody here knew leaves nothing to be mended.
        if known {
            self.stabilize_at = self.stabilize_at.min(self.now + self.config.hurry);
        }
    }

    /// `peer` is gone: nothing here names it any more.
    pub(super) fn bury<H: Outside<P>>(&mut self, peer: P, host: &mut H) {
        let orphan = self.predecessor() == Some(peer);
        let notified = self.take_notified(|one| one == peer || orphan);
        let (listed, before) = (self.successors().contains(&peer), self.predecessors);
        if !listed && !before.iter().any(|one| one == peer) {
            self.table.remove(peer);
            return;
        }
        self.change(host, |node, _| {
            node.table.remove(peer);
            // Who stood before the dead one is hearsay, but the best guess.
            node.predecessors =
                notified.into_iter().chain(before.iter()).filter(|&one| one != peer).collect();
        });
        if listed {
            self.relist();
            if self.successors().is_empty() {
                self.bereft(host);
            }
        }
    }

    /// Everyone in the list is dead, which failures should not bring about: as good as
    /// a new join, through whoever is still known.
    fn bereft<H: Outside<P>>(&mut self, host: &mut H) {
        let known = self.table.fingers().iter().copied().chain(self.predecessors.iter());
        let through: Vec<P> = known.take(MAX_CANDIDATES).collect();
        self.small = through.is_empty();
        if self.small {
            host.emit(Routing::TooSmall { needed: self.config.r() as u32 + 1 });
        } else if self.busy().joining.is_none() {
            self.look_for_place(through, host);
        }
    }

    /// Makes `list` the successor list.
    pub(super) fn set_successors<H: Outside<P>>(&mut self, list: &[P], host: &mut H) {
        if list == self.successors() {
            return;
        }
        let mine = self.place(host);
        self.change(host, |node, host| node.table.set_successors(list, |peer| host.id(peer).minus(mine)));
        self.relist();
        if let Some(busy) = self.busy.as_mut().filter(|_| self.member) {
            busy.joining = None;
        }
    }

    /// The successor list is another one.
    fn relist(&mut self) {
        self.version = self.version.wrapping_add(2); // odd, so never 0
        (self.copied, self.changed) = (0, true);
    }

    /// Makes `first` the predecessor, which says that `others` precede it.
    pub(super) fn set_predecessors<H: Outside<P>>(&mut self, first: P, others: Few<P>, host: &mut H) {
        let mine = self.place(host);
        let mut end = Id::ZERO;
        let backwards = std::iter::once(first).chain(others.iter()).take_while(|&peer| {
            let distance = mine.minus(host.id(peer));
            let farther = distance > end;
            end = distance;
            farther
        });
        let predecessors: Few<P> = backwards.collect();
        if predecessors != self.predecessors && predecessors.first().is_some() {
            self.take_notified(|_| true);
            self.change(host, |node, _| node.predecessors = predecessors);
        }
    }

    /// Does something to the neighbour set, and tells who came and went.
    fn change<H: Outside<P>>(&mut self, host: &mut H, act: impl FnOnce(&mut Self, &H)) {
        let before = self.neighbours();
        act(self, host);
        let after = self.neighbours();
        for &peer in before.iter().filter(|one| !after.contains(one)) {
            host.emit(Routing::Update { peer, joined: false });
        }
        for &peer in after.iter().filter(|one| !before.contains(one)) {
            host.emit(Routing::Update { peer, joined: true });
        }
    }

    /// Checks one finger: `fix_fingers` (Stoica et al., figure 6), for the next
    /// distance whose finger is not in the successor list.
    pub(super) fn fix_finger<H: Outside<P>>(&mut self, host: &mut H) {
        self.fix_at = self.now + self.config.fix_fingers;
        if !self.rush {
            self.look_beyond(host);
        }
        if self.busy.as_ref().is_some_and(|busy| busy.finds.iter().any(|find| find.is_for_finger())) {
            return;
        }
        let mine = self.place(host);
        let end = self.successors().last().map_or(Id::MAX, |&last| host.id(last).minus(mine));
        let nearest = u8::try_from(end.leading_zeros()).unwrap_or(u8::MAX).checked_sub(1);
        let place = match (self.next_finger.take(), nearest) {
            (Some(next), Some(nearest)) => next.min(nearest),
            (None, Some(nearest)) => nearest,
            (_, None) => return self.rush = false,
        };
        match self.table.finger(Id::bit(u32::from(place)), |peer| host.id(peer).minus(mine)) {
            Some(finger) => self.pose(Step::Finger(place), finger, host),
            None => self.find_finger(place, host),
        }
    }

    /// Looks the finger at distance `Id::bit(place)` up.
    pub(super) fn find_finger<H: Outside<P>>(&mut self, place: u8, host: &mut H) {
        let key = self.place(host).plus(Id::bit(u32::from(place)));
        self.find(Purpose::Finger(place), key, host);
    }

    /// The finger at distance `Id::bit(place)` is `finger`; or nobody was found.
    pub(super) fn set_finger<H: Outside<P>>(&mut self, place: u8, finger: Option<P>, host: &mut H) {
        let (mine, start) = (self.place(host), Id::bit(u32::from(place)));
        let distance = |peer: P| host.id(peer).minus(mine);
        let finger = finger.filter(|&finger| distance(finger) >= start);
        self.table.set_finger(start, finger, distance);
        self.next_finger = finger.and_then(|finger| (distance(finger).leading_zeros() as u8).checked_sub(1));
        self.rush &= self.next_finger.is_some();
        if self.rush {
            self.fix_at = self.now;
        }
    }

    /// The finger could not be found: the others still may be.
    pub(super) fn no_finger(&mut self, place: u8) {
        self.next_finger = place.checked_sub(1);
        self.rush &= self.next_finger.is_some();
        if self.rush {
            self.fix_at = self.now;
        }
    }

    /// What a node does that hears of a peer's silence on the way of a find.
    pub(super) fn suspect<H: Outside<P>>(&mut self, peer: P, host: &mut H) {
        if self.config.frozen {
            return;
        }
        if self.table.fingers().contains(&peer) {
            self.lost.note(peer, host.rng());
            self.table.remove(peer);
        } else if self.member && self.successor() == Some(peer) {
            self.stabilize_at = self.stabilize_at.min(self.now);
        }
    }
}

/// The version of the list of a node at `place` in a ring that has been quiet for ever,
/// where all nodes have their tables from one view: not 0, and known to its predecessor.
fn settled_version(place: Id) -> u32 {
    (place.high() >> 32) as u32 | 1
}
