//! A find under way: whom it has heard of, whom it asks.

use starling_sansio::Time;

use super::Outside;
use super::config::{MAX_CANDIDATES, MAX_FINGERS, MAX_SUCCESSORS};
use super::message::{Aim, Few};
use crate::{Id, Offence, Op, Peer, RpcId, prefetch};

/// What a find is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose<P> {
    /// A user's, who may want a value that is met on the way.
    User(Op, bool),
    /// The finger at distance `Id::bit(.0)`.
    Finger(u8),
    /// The own place in the ring.
    Join,
    /// The own place in the ring of this peer, which was lost.
    Beyond(P),
}

/// A find.
#[derive(Debug)]
pub struct Find<P> {
    pub purpose: Purpose<P>,
    pub key: Id,
    /// Peers that were asked, and those of them that did not answer.
    pub questions: u16,
    pub timeouts: u32,
    /// Steps back from a supposed root.
    pub back: u8,
    pub asked: Option<Asked<P>>,
    /// Who said to be the root while its predecessor is asked whether it is instead,
    /// the other replicas, and the length of its path.
    pub root: Option<(P, Vec<P>, u8)>,
    /// In the order in which they are worth asking: supposed roots, then those before the
    /// key, each the nearest first.
    candidates: Vec<Candidate<P>>,
}

/// The question that a find waits for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<P> {
    pub rpc: RpcId,
    /// Nobody if the question is carried (recursive finds): the root will answer.
    pub to: Option<To<P>>,
    pub deadline: Time,
    /// How often it may still be asked.
    pub left: u8,
    /// If it is carried: detours that may still make it late.
    pub detours: u8,
}

/// Whom a find asks.
#[derive(Clone, Copy, Debug)]
pub struct To<P> {
    pub peer: P,
    /// Length of the path to it.
    pub hops: u8,
    /// Whether it is supposed to be the root.
    pub last: bool,
    /// If it was asked before: how many of the peers before the key it has named.
    pub skip: Option<u8>,
}

/// A peer that may know more. Small, since a million nodes have some for each find: how
/// far it is from the key follows from its name.
#[derive(Clone, Copy, Debug)]
struct Candidate<P> {
    peer: P,
    hops: u8,
    last: bool,
    tried: bool,
    silent: bool,
    /// Peers before the key that it has named, if it may name more.
    named: Option<u8>,
}

/// What a peer on a find's path answers.
#[derive(Debug)]
pub enum Answer<P> {
    /// These are closer to the key, and before it.
    Next(Few<P>),
    /// One of these is the root.
    Last(Vec<P>),
    /// The peer is the root, unless `before` is.
    Root { before: Option<P>, replicas: Vec<P> },
}

impl<P> Asked<P> {
    /// A question that is still to be sent, `left` times at most.
    pub fn new(rpc: RpcId, to: Option<To<P>>, deadline: Time, left: u8) -> Self {
        Asked { rpc, to, deadline, left, detours: 0 }
    }
}

impl<P: Peer> Find<P> {
    pub fn new(purpose: Purpose<P>, key: Id) -> Box<Self> {
        Box::new(Find {
            purpose,
            key,
            questions: 0,
            timeouts: 0,
            back: 0,
            asked: None,
            root: None,
            candidates: Vec::new(),
        })
    }

    /// What to tell the peers on the path.
    pub fn aim(&self) -> (Aim, u32) {
        match self.purpose {
            Purpose::User(op, false) => (Aim::Key, op.0),
            Purpose::User(op, true) => (Aim::Value, op.0),
            Purpose::Finger(_) => (Aim::Finger, 0),
            Purpose::Join | Purpose::Beyond(_) => (Aim::Join, 0),
        }
    }

    pub fn is_for_finger(&self) -> bool {
        matches!(self.purpose, Purpose::Finger(_))
    }

    /// Who is asked.
    pub fn asked(&self) -> Option<P> {
        self.asked.and_then(|asked| asked.to).map(|to| to.peer)
    }

    /// Whether it waits for the answer to question `rpc`.
    pub fn asks(&self, rpc: RpcId) -> bool {
        self.asked.is_some_and(|asked| asked.rpc == rpc)
    }

    pub fn deadline(&self) -> Time {
        self.asked.as_ref().map_or(Time::NEVER, |asked| asked.deadline)
    }

    /// Notes a peer at the end of a path of `hops`; with `last`, a supposed root.
    pub fn add<H: Outside<P>>(&mut self, peer: P, hops: u8, last: bool, host: &H) {
        if self.candidates.iter().any(|one| one.peer == peer && (one.tried || one.last == last)) {
            return;
        }
        if self.candidates.len() >= MAX_CANDIDATES {
            let worst = self.candidates.iter().rposition(|one| one.tried && one.named.is_none());
            self.candidates.remove(worst.unwrap_or(MAX_CANDIDATES - 1));
        }
        let distance = self.distance(peer, last, host);
        let before = |one: &Candidate<P>| match (one.last, last) {
            (true, false) => true,
            (false, true) => false,
            _ => self.distance(one.peer, last, host) <= distance,
        };
        let place = self.candidates.partition_point(before);
        self.candidates
            .insert(place, Candidate { peer, hops, last, tried: false, silent: false, named: None });
    }

    /// How far a peer is from the key: before it, or, for a supposed root, after it.
    fn distance<H: Outside<P>>(&self, peer: P, last: bool, host: &H) -> Id {
        let id = host.id(peer);
        if last { id.minus(self.key) } else { self.key.minus(id) }
    }

    /// Whether `peer` was asked already.
    pub fn tried(&self, peer: P) -> bool {
        self.candidates.iter().any(|one| one.tried && one.peer == peer)
    }

    /// `peer` was asked and did not answer.
    pub fn was_silent(&mut self, peer: P) {
        self.has_named(peer, None);
        self.candidates.iter_mut().filter(|one| one.peer == peer).for_each(|one| one.silent = true);
    }

    /// Whether `peer` was asked and did not answer.
    pub fn is_silent(&self, peer: P) -> bool {
        self.candidates.iter().any(|one| one.silent && one.peer == peer)
    }

    /// Whom to ask next: the first supposed root, else the closest before the key. If
    /// that one was asked already and all it named are silent, it is asked for more.
    pub fn next(&mut self) -> Option<To<P>> {
        let best = *self.candidates.iter().find(|one| !one.tried || one.named.is_some())?;
        self.candidates.iter_mut().filter(|one| one.peer == best.peer).for_each(|one| one.tried = true);
        Some(To { peer: best.peer, hops: best.hops, last: best.last, skip: best.named })
    }

    /// `peer` has named so many peers before the key, and may name more; or all.
    pub fn has_named(&mut self, peer: P, count: Option<usize>) {
        for one in self.candidates.iter_mut().filter(|one| one.peer == peer && !one.last) {
            let sum = count.map(|count| count + usize::from(one.named.unwrap_or(0)));
            let sensible = sum.filter(|&sum| sum <= MAX_SUCCESSORS + MAX_FINGERS);
            one.named = sensible.map(|sum| sum as u8);
        }
    }

    /// Forgets supposed roots: who named them was wrong.
    pub fn drop_roots(&mut self) {
        self.candidates.retain(|one| !one.last || one.tried);
    }

    /// Forgets supposed roots that are not before `root`.
    pub fn drop_roots_after<H: Outside<P>>(&mut self, root: P, host: &H) {
        let key = self.key;
        let distance = host.id(root).minus(key);
        self.candidates.retain(|one| !one.last || one.tried || host.id(one.peer).minus(key) < distance);
    }

    /// Asks for what it has on the heap.
    pub fn warm(&self) {
        prefetch(&self.candidates[..]);
    }

    pub fn heap_bytes(&self) -> usize {
        let root = self.root.as_ref().map_or(0, |root| root.1.capacity() * size_of::<P>());
        self.candidates.capacity() * size_of::<Candidate<P>>() + root
    }

    /// Whether an honest peer can give this answer.
    pub fn judge<H: Outside<P>>(&self, from: P, answer: &Answer<P>, me: P, host: &H) -> Result<(), Offence> {
        let (start, distance) = (host.id(from), |peer: P| host.id(peer).minus(self.key));
        match answer {
            Answer::Next(peers) => {
                if peers.iter().any(|one| one == from) {
                    return Err(Offence::NamesItself);
                }
                let ahead = |peer: P| peer == me || host.id(peer).between(start, self.key);
                if peers.iter().all(ahead) { Ok(()) } else { Err(Offence::OutOfRange) }
            }
            Answer::Last(peers) => {
                super::stabilize::in_order(from, peers, host)?;
                let first = peers.first().copied();
                let reached = match first {
                    Some(first) => self.key.between_or_at(start, host.id(first)),
                    None => self.aim().0 == Aim::Join,
                };
                if reached { Ok(()) } else { Err(Offence::OutOfRange) }
            }
            Answer::Root { before, replicas } => {
                if *before == Some(from) || replicas.contains(&from) {
                    return Err(Offence::NamesItself);
                }
                let nearer = before.is_none_or(|before| distance(before) < distance(from));
                if nearer { Ok(()) } else { Err(Offence::OutOfRange) }
            }
        }
    }
}
