//! The iterative look-up, as a state machine without messages.
//!
//! Model: section 2.3 of the paper. The initiator keeps the closest nodes it has seen
//! and asks the closest unasked ones, `alpha` at a time. When `alpha` answers in
//! succession, or silences, brought nothing closer than the closest already seen, it asks all of the
//! `k` closest at once, unless parallelism is strict. It is over when the `k` closest
//! that did not fail have answered, or earlier as [`Plan::enough`] allows.
//!
//! With more than one path it is the look-up over disjoint paths of S/Kademlia
//! (Baumgart and Mies 2007, section 4.4): the contacts to begin with are dealt out to
//! the paths, each path knows only what its own nodes said, and no node is asked
//! twice. What a liar says leads one path astray and no other.
//!
//! Each node is asked once, with one fixed time to answer, and after a shorter one does
//! not keep others from being asked; so the open questions are a queue, and the first
//! one's deadline is the look-up's. Distances are compared by their top 64 bits, and nodes
//! for which these are equal are taken for one.

use std::time::Duration;

use starling_sansio::Time;

use super::path::{Path, State};
use super::table::MAX_K;
use crate::{Id, prefetch};

/// Seen nodes that a path remembers, in multiples of k.
pub const SHORTLIST: usize = 2;
/// Questions of one path of a look-up at most: liars could lead it on for ever.
pub const MAX_QUESTIONS: usize = 256;
/// Disjoint paths at most.
pub const MAX_PATHS: usize = 8;
/// Names in one answer that are looked at.
pub const MAX_NAMES: usize = 32;

/// How to look up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// How many of the closest nodes are sought: the paper's k.
    pub k: usize,
    /// How many of the closest nodes that did not fail must have answered; k in the
    /// paper, fewer end it earlier.
    pub enough: usize,
    /// Questions open at once, in each path.
    pub alpha: usize,
    /// Never more than alpha questions at once, even at the end.
    pub strict: bool,
    /// Disjoint paths, 1 to [`MAX_PATHS`].
    pub paths: usize,
    /// How long a question counts as one of alpha: then another node is asked as well.
    pub patience: Duration,
    /// How long a node may take to answer.
    pub timeout: Duration,
}

/// A question to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question<P> {
    /// To whom.
    pub peer: P,
    /// What its answer must repeat.
    pub token: u32,
    /// Nodes on the path to it, itself included.
    pub hops: u8,
}

/// One look-up.
#[derive(Clone, Debug)]
pub struct IterativeLookup<P> {
    target: Id,
    plan: Plan,
    paths: Paths<P>,
    closed: bool,
    open: Vec<Open<P>>,
    /// How many of them, the first ones, no longer count as one of alpha.
    late: usize,
    /// Whom any path asked, if there is more than one.
    asked: Vec<P>,
    questions: usize,
    timeouts: u32,
}

/// The paths; nearly always there is one, which is reached without a detour.
#[derive(Clone, Debug)]
struct Paths<P> {
    first: Path<P>,
    others: Vec<Path<P>>,
}

impl<P> Paths<P> {
    /// Path `at`; the first one for what is none.
    fn of(&mut self, at: usize) -> &mut Path<P> {
        match at.checked_sub(1).and_then(|at| self.others.get_mut(at)) {
            Some(other) => other,
            None => &mut self.first,
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Path<P>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Path<P>> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }
}

#[derive(Clone, Copy, Debug)]
struct Open<P> {
    deadline: Time,
    token: u32,
    peer: P,
    path: u8,
}

impl<P: Copy + PartialEq> IterativeLookup<P> {
    /// A look-up of `target` that begins with `known` contacts; `id` says where a peer
    /// stands. Nonsense in `plan` is put right.
    pub fn new(target: Id, plan: Plan, known: &[P], id: impl Fn(P) -> Id) -> Self {
        let k = plan.k.clamp(1, MAX_K);
        let plan = Plan {
            k,
            enough: plan.enough.clamp(1, k),
            alpha: plan.alpha.clamp(1, MAX_K),
            paths: plan.paths.clamp(1, MAX_PATHS),
            patience: plan.patience.min(plan.timeout),
            ..plan
        };
        let path = || Path::new(k * SHORTLIST);
        let mut paths = Paths { first: path(), others: (1..plan.paths).map(|_| path()).collect() };
        let distance = |peer: P| id(peer).high() ^ target.high();
        for (at, path) in paths.iter_mut().enumerate() {
            path.offer(known.iter().copied().skip(at).step_by(plan.paths), 1, distance);
            path.start();
        }
        IterativeLookup {
            target,
            plan,
            paths,
            closed: false,
            open: Vec::with_capacity(plan.enough.max(plan.alpha)),
            late: 0,
            asked: Vec::new(),
            questions: 0,
            timeouts: 0,
        }
    }

    /// What is looked up.
    pub fn target(&self) -> Id {
        self.target
    }

    /// The next question to send, if there is one now; to be called until there is
    /// none, after each of the others. `token` draws what its answer must repeat.
    pub fn ask(&mut self, now: Time, token: impl FnOnce() -> u32) -> Option<Question<P>> {
        let next = (0..self.plan.paths).find_map(|path| Some((path, self.unasked(path)?)));
        let (path, (place, peer)) = next?;
        let of = self.paths.of(path);
        let question = Question { peer, token: token(), hops: of.mark_at(place, State::Asked) };
        of.open += 1;
        self.questions += 1;
        if self.plan.paths > 1 {
            self.asked.push(question.peer);
        }
        let deadline = now + self.plan.timeout;
        self.open.push(Open { deadline, token: question.token, peer: question.peer, path: path as u8 });
        Some(question)
    }

    /// `from` answered and named `peers`. False, and nothing changes, if it was not
    /// asked that question or took too long.
    pub fn answer(&mut self, token: u32, from: P, peers: &[P], id: impl Fn(P) -> Id) -> bool {
        let Some(at) = self.open.iter().position(|open| open.token == token && open.peer == from) else {
            return false;
        };
        let Some((path, hops)) = self.settle(at, State::Answered) else { return true };
        let (path, target) = (self.paths.of(path), self.target.high());
        let named = peers.iter().copied().take(MAX_NAMES);
        path.offer(named, hops.saturating_add(1), |peer| id(peer).high() ^ target);
        path.progress();
        true
    }

    /// `from` answered in a way that tells nothing of others. False, and nothing changes,
    /// if it was not asked or took too long.
    pub fn settled(&mut self, from: P) -> bool {
        let at = self.open.iter().position(|open| open.peer == from);
        at.inspect(|&at| {
            self.settle(at, State::Answered);
        })
        .is_some()
    }

    /// A peer whose time to answer is over; to be called until there is none. Others may
    /// be asked after it, since patience with some may be over too.
    pub fn expire(&mut self, now: Time) -> Option<P> {
        while let Some(&open) = self.open.get(self.late).filter(|open| self.tires(open) <= now) {
            if !self.closed {
                let path = self.paths.of(usize::from(open.path));
                path.open -= 1;
                path.in_vain += 1;
                path.mark(open.peer, State::Late);
            }
            self.late += 1;
        }
        let peer = self.open.first().filter(|open| open.deadline <= now)?.peer;
        self.fail(0);
        Some(peer)
    }

    /// `peer` is known not to answer.
    pub fn unreachable(&mut self, peer: P) {
        if let Some(at) = self.open.iter().position(|open| open.peer == peer) {
            self.fail(at);
        }
    }

    /// When [`IterativeLookup::expire`] has something next.
    pub fn next_deadline(&self) -> Option<Time> {
        let tires = self.open.get(self.late).map(|open| self.tires(open));
        self.open.first().map(|open| open.deadline).into_iter().chain(tires).min()
    }

    /// Whether what was sought is found, nobody is left to be asked, or more were asked
    /// than any honest network needs. To be asked when [`IterativeLookup::ask`] has no
    /// more.
    pub fn is_over(&self) -> bool {
        self.is_exhausted() || self.paths.iter().all(|path| path.is_over(self.plan.enough))
    }

    /// Forgets everything but the open questions, whose answers are still known as
    /// such, and asks nothing more.
    pub fn close(&mut self) {
        self.closed = true;
        self.paths.others = Vec::new();
        self.paths.first.clear();
        self.asked = Vec::new();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether no question is open.
    pub fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }

    /// At most `count` of the closest nodes that answered, the closest first.
    pub fn closest(&self, count: usize, id: impl Fn(P) -> Id) -> Vec<P> {
        let mut peers: Vec<P> = self.paths.iter().flat_map(|path| path.answered().take(count)).collect();
        if self.plan.paths > 1 {
            peers.sort_by_cached_key(|&peer| id(peer).xor(self.target));
            peers.truncate(count);
        }
        peers
    }

    /// Nodes on the path to `peer`, itself included, if it was seen.
    pub fn hops(&self, peer: P) -> Option<u8> {
        self.paths.iter().filter_map(|path| path.hops(peer)).min()
    }

    /// How many nodes did not answer.
    pub fn timeouts(&self) -> u32 {
        self.timeouts
    }

    /// How many of the closest must have answered in the end.
    pub fn enough(&self) -> usize {
        self.plan.enough
    }

    /// All k of the closest must answer.
    pub fn widen(&mut self) {
        self.plan.enough = self.plan.k;
    }

    /// How many nodes did not answer, or not soon enough for patience.
    pub fn in_vain(&self) -> u32 {
        self.timeouts + self.late as u32
    }

    /// Asks for what [`IterativeLookup::answer`] will read on the heap.
    pub fn warm(&self) {
        prefetch(&self.open[..]);
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.paths.iter().map(Path::heap_bytes).sum::<usize>()
            + self.paths.others.capacity() * size_of::<Path<P>>()
            + self.open.capacity() * size_of::<Open<P>>()
            + self.asked.capacity() * size_of::<P>()
    }

    /// The node to ask next in that path, and its place there.
    fn unasked(&mut self, at: usize) -> Option<(usize, P)> {
        let Plan { k, enough, alpha, strict, .. } = self.plan;
        if self.is_exhausted() {
            return None;
        }
        loop {
            let path = self.paths.of(at);
            let most = if path.in_vain >= alpha && !strict { k } else { alpha };
            if path.open >= most {
                return None;
            }
            let (place, peer) = path.first_unasked(enough.max(alpha))?;
            if !self.asked.contains(&peer) {
                return Some((place, peer));
            }
            path.mark_at(place, State::Taken);
        }
    }

    /// When a question stops to count as one of alpha.
    fn tires(&self, open: &Open<P>) -> Time {
        open.deadline - (self.plan.timeout - self.plan.patience)
    }

    fn is_exhausted(&self) -> bool {
        self.questions >= self.plan.paths * MAX_QUESTIONS
    }

    fn fail(&mut self, at: usize) {
        if self.settle(at, State::Failed).is_some() {
            self.timeouts += 1;
        }
    }

    /// Ends open question `at`: the path that it belonged to and how far on it the peer
    /// is, unless all is closed.
    fn settle(&mut self, at: usize, state: State) -> Option<(usize, u8)> {
        let Open { peer, path, .. } = self.open.remove(at);
        let (path, counts) = (usize::from(path), at >= self.late);
        self.late -= usize::from(!counts);
        if self.closed {
            return None;
        }
        let of = self.paths.of(path);
        of.open -= usize::from(counts);
        Some((path, of.mark(peer, state)))
    }
}
