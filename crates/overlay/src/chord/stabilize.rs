//! The ring: stabilize, rectify, and the one maintenance question at a time.
//!
//! The names are those of Zave's operations. Her two steps of a stabilization are one
//! question each; the second is repeated while better successors turn up, which is the
//! same as stabilizing anew at once, with the notification left to the end.

use starling_sansio::Time;

use super::config::MAX_WALK;
use super::find::Answer;
use super::message::{Aim, FEW, Few, Message};
use super::{Chord, Outside, fresh};
use crate::{Id, Offence, Peer, Routing, RpcId};

/// A maintenance question that waits for its answer.
#[derive(Debug)]
pub struct Question<P> {
    rpc: RpcId,
    pub peer: P,
    pub deadline: Time,
    /// How often it may still be asked.
    pub left: u8,
    step: Step,
}

/// What a question is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Zave's stabilizeFromSuccessor; whether its list's version was named, so that
    /// [`Message::Same`] is an answer.
    Successor(bool),
    /// Zave's stabilizeFromPredecessor: the successor's predecessor stands nearer.
    Predecessor,
    /// Rectify: does the predecessor live?
    Check,
    /// Is that peer still the finger at distance `Id::bit(.0)`?
    Finger(u8),
    /// The successor's fingers, as hints.
    Table,
}

impl<P: Peer> Chord<P> {
    /// The next maintenance operation that is due, if none is under way.
    pub(super) fn next_question<H: Outside<P>>(&mut self, host: &mut H) {
        while self.question.is_none() {
            let notified = self.busy.as_ref().and_then(|busy| busy.notified);
            if self.stabilize_at <= self.now {
                self.stabilize_at = self.now + self.config.stabilize;
                self.stabilize(host);
            } else if let (Some(_), Some(predecessor)) = (notified, self.predecessor()) {
                self.pose(Step::Check, predecessor, host);
            } else if let (true, Some(successor)) = (self.want_table, self.successor()) {
                self.want_table = false;
                self.pose(Step::Table, successor, host);
            } else if self.fix_at <= self.now {
                self.fix_finger(host);
            } else {
                return;
            }
        }
    }

    /// The successor, unless this node is alone.
    pub(super) fn successor(&self) -> Option<P> {
        self.successors().first().copied()
    }

    /// Asks `peer`.
    pub(super) fn pose<H: Outside<P>>(&mut self, step: Step, peer: P, host: &mut H) {
        let question =
            Question { rpc: fresh(host), peer, deadline: self.now, left: self.config.tries.max(1), step };
        self.question = Some(question);
        self.ask_question(host);
    }

    fn ask_question<H: Outside<P>>(&mut self, host: &mut H) {
        let Some(question) = &mut self.question else { return };
        question.left = question.left.saturating_sub(1);
        question.deadline = self.now + self.config.rpc_timeout;
        if let Step::Successor(named) = &mut question.step {
            *named = self.copied != 0;
        }
        let (rpc, peer, predecessors) = (question.rpc, question.peer, self.predecessors);
        let message = match question.step {
            Step::Successor(_) => Message::GetList { rpc, known: self.copied, predecessors },
            Step::Predecessor => Message::GetList { rpc, known: 0, predecessors },
            Step::Check => Message::Ping { rpc },
            Step::Table => Message::GetTable { rpc },
            Step::Finger(place) => {
                let key = host.id(self.me).plus(Id::bit(u32::from(place)));
                Message::Ask { rpc, key, op: 0, aim: Aim::Finger, last: true, skip: None, hops: 1 }
            }
        };
        host.send(peer, message);
    }

    /// Asks again, or takes who was asked for dead.
    pub(super) fn expire_question<H: Outside<P>>(&mut self, host: &mut H) {
        let Some(question) = self.question.as_ref().filter(|question| question.deadline <= self.now) else {
            return;
        };
        if question.left > 0 {
            return self.ask_question(host);
        }
        let (step, peer) = (question.step, question.peer);
        self.question = None;
        match step {
            Step::Successor(_) => {
                self.lose_sight(peer, host);
                self.stabilize(host);
            }
            // Nothing is adopted, and the notification makes the successor rectify.
            Step::Predecessor => self.stabilized(host),
            Step::Check => self.lose_sight(peer, host),
            Step::Finger(place) => {
                self.lose_sight(peer, host);
                self.find_finger(place, host);
            }
            Step::Table => self.rush = true,
        }
    }

    /// The open question, if it is `rpc` to `from` and of such a kind.
    fn open(&self, rpc: RpcId, from: P, kind: impl Fn(Step) -> bool) -> Option<Step> {
        let question = self.question.as_ref()?;
        let step = question.step;
        (question.rpc == rpc && question.peer == from && kind(step)).then_some(step)
    }

    /// Zave's stabilizeFromSuccessor. With the dead at the list's head gone, it begins
    /// again with who is the head now.
    fn stabilize<H: Outside<P>>(&mut self, host: &mut H) {
        self.walk = 0;
        if let Some(successor) = self.successor() {
            self.pose(Step::Successor(false), successor, host);
        }
    }

    pub(super) fn on_get_list<H: Outside<P>>(
        &mut self,
        from: P,
        rpc: RpcId,
        has: u32,
        predecessors: Few<P>,
        host: &mut H,
    ) {
        let known = self.predecessors.iter().eq(std::iter::once(from).chain(predecessors.iter()).take(FEW));
        if !known && self.predecessor() == Some(from) {
            self.set_predecessors(from, predecessors, host);
        }
        let (predecessor, version) = (self.predecessor(), self.version);
        host.send(
            from,
            if has == version {
                Message::Same { rpc, predecessor }
            } else {
                let list = self.successors().iter().copied().collect();
                Message::Successors { rpc, version, predecessor, list }
            },
        );
    }

    pub(super) fn on_same<H: Outside<P>>(
        &mut self,
        from: P,
        rpc: RpcId,
        predecessor: Option<P>,
        host: &mut H,
    ) {
        if self.open(rpc, from, |step| step == Step::Successor(true)).is_none() {
            return host.refuse(Some(from), Offence::UnknownReply);
        }
        if predecessor == Some(from) {
            return host.refuse(Some(from), Offence::NamesItself);
        }
        self.question = None;
        self.compare(from, predecessor, host);
    }

    pub(super) fn on_successors<H: Outside<P>>(
        &mut self,
        from: P,
        rpc: RpcId,
        version: u32,
        predecessor: Option<P>,
        list: &[P],
        host: &mut H,
    ) {
        let asked = |step| matches!(step, Step::Successor(_) | Step::Predecessor);
        if self.open(rpc, from, asked).is_none() {
            return host.refuse(Some(from), Offence::UnknownReply);
        }
        if predecessor == Some(from) {
            return host.refuse(Some(from), Offence::NamesItself);
        }
        if let Err(offence) = in_order(from, list, host) {
            return host.refuse(Some(from), offence);
        }
        self.question = None;
        self.adopt(from, list, host);
        self.copied = version;
        self.compare(from, predecessor, host);
    }

    /// Makes the successor list of `head` and its list, without its last entry if that
    /// makes more than r.
    pub(super) fn adopt<H: Outside<P>>(&mut self, head: P, rest: &[P], host: &mut H) {
        let (mine, r) = (self.place(host), self.config.r());
        let mut list: Vec<P> = Vec::with_capacity(r.min(rest.len() + 1));
        let mut end = Id::ZERO;
        let mut around = false;
        for &peer in std::iter::once(&head).chain(rest) {
            let distance = host.id(peer).minus(mine);
            around = distance <= end;
            if around || list.len() == r {
                break;
            }
            (end, _) = (distance, list.push(peer));
        }
        let small = around && list.len() < r;
        self.set_successors(&list, host);
        if small && !self.small {
            host.emit(Routing::TooSmall { needed: r as u32 + 1 });
        }
        self.small = small;
    }

    /// `peer`, the successor, has answered: is its predecessor a better one?
    fn compare<H: Outside<P>>(&mut self, peer: P, predecessor: Option<P>, host: &mut H) {
        let (mine, end) = (self.place(host), host.id(peer));
        let better = predecessor.filter(|&one| one != self.me && host.id(one).between(mine, end));
        match better {
            Some(one) if self.config.variant.adopts_unasked() => {
                let list = self.successors().to_vec();
                self.adopt(one, &list, host);
                self.copied = 0;
                self.stabilized(host);
            }
            Some(one) if self.walk < MAX_WALK => {
                self.walk += 1;
                self.pose(Step::Predecessor, one, host);
            }
            _ if predecessor == Some(self.me) => self.quiet(),
            _ => self.stabilized(host),
        }
    }

    /// A stabilization is over: the successor shall rectify.
    fn stabilized<H: Outside<P>>(&mut self, host: &mut H) {
        if let Some(successor) = self.successor() {
            host.send(successor, Message::Notify { predecessors: self.predecessors });
        }
        self.quiet();
    }

    /// As long as stabilizations change something the next one comes soon.
    fn quiet(&mut self) {
        if std::mem::take(&mut self.changed) {
            self.stabilize_at = self.stabilize_at.min(self.now + self.config.hurry);
        }
    }

    /// Zave's rectify: who says to be our predecessor is, if it stands nearer than the
    /// one we have, or if that one is dead.
    pub(super) fn on_notify<H: Outside<P>>(&mut self, from: P, predecessors: Few<P>, host: &mut H) {
        let mine = self.place(host);
        let nearer = |old: P, host: &H| host.id(from).between(host.id(old), mine);
        match self.predecessor() {
            Some(old) if old != from && !nearer(old, host) => {
                let other = self.busy.as_ref().and_then(|busy| busy.notified);
                if self.config.variant.checks_predecessor() && other.is_none_or(|other| nearer(other, host)) {
                    self.busy().notified = Some(from);
                }
            }
            old => {
                self.set_predecessors(from, predecessors, host);
                if let Some(old) = old.filter(|&old| old != from) {
                    host.send(old, Message::Superseded {});
                }
            }
        }
        // The ring this node began, or was left alone in, has its second member.
        if self.small && self.successors().is_empty() {
            self.set_successors(&[from], host);
            self.stabilize_at = self.now;
        }
    }

    /// The successor has a new predecessor: it may be a better successor. Stabilizing at
    /// any time is right; doing it now keeps a crowd of newcomers from waiting for each
    /// other's intervals.
    pub(super) fn on_superseded<H: Outside<P>>(&mut self, from: P, host: &mut H) {
        if self.successor() == Some(from) {
            self.stabilize_at = self.now;
        } else {
            host.refuse(Some(from), Offence::Misdirected);
        }
    }

    pub(super) fn on_pong<H: Outside<P>>(&mut self, from: P, rpc: RpcId, host: &mut H) {
        if self.open(rpc, from, |step| step == Step::Check).is_none() {
            return host.refuse(Some(from), Offence::UnknownReply);
        }
        self.question = None;
        self.take_notified(|_| true);
    }

    /// An answer to a finger's check; `false` if there is no such question.
    pub(super) fn on_finger_answer<H: Outside<P>>(
        &mut self,
        from: P,
        rpc: RpcId,
        answer: &Answer<P>,
        host: &mut H,
    ) -> bool {
        let Some(Step::Finger(place)) = self.open(rpc, from, |step| matches!(step, Step::Finger(_))) else {
            return false;
        };
        let Answer::Root { before, .. } = answer else {
            host.refuse(Some(from), Offence::Misdirected);
            return true;
        };
        self.question = None;
        match before {
            Some(_) => self.find_finger(place, host),
            None => self.set_finger(place, Some(from), host),
        }
        true
    }

    pub(super) fn on_table<H: Outside<P>>(&mut self, from: P, rpc: RpcId, fingers: &[P], host: &mut H) {
        if self.open(rpc, from, |step| step == Step::Table).is_none() {
            return host.refuse(Some(from), Offence::UnknownReply);
        }
        if fingers.contains(&from) {
            return host.refuse(Some(from), Offence::NamesItself);
        }
        self.question = None;
        let mine = self.place(host);
        self.table.add_fingers(fingers.iter().copied(), |peer| host.id(peer).minus(mine));
        (self.rush, self.next_finger, self.fix_at) = (true, None, self.now);
    }
}

/// Whether `list` can be the successor list of `head`: clockwise, each once, without it.
pub(super) fn in_order<P: Peer, H: Outside<P>>(head: P, list: &[P], host: &H) -> Result<(), Offence> {
    if list.contains(&head) {
        return Err(Offence::NamesItself);
    }
    let start = host.id(head);
    let ordered = list.iter().map(|&peer| host.id(peer).minus(start)).try_fold(Id::ZERO, |end, distance| {
        if distance > end { Ok(distance) } else { Err(Offence::OutOfRange) }
    });
    ordered.map(|_| ())
}
