//! What one path of a look-up has seen, and what became of it.
//!
//! Distances, names and the rest lie in arrays of their own: most names in most answers
//! were named before, which a look along the names alone tells soonest.

use smallvec::SmallVec;

/// Nodes that fit without a detour: twice the paper's k.
const INLINE: usize = 40;

/// Nodes seen, the closest first, at most so many as there is room for.
#[derive(Clone, Debug)]
pub struct Path<P> {
    distances: SmallVec<[u64; INLINE]>,
    peers: SmallVec<[P; INLINE]>,
    marks: SmallVec<[Mark; INLINE]>,
    room: usize,
    /// The closest that was seen when the latest answer came.
    closest: u64,
    /// Answers and silences in succession that brought nothing closer.
    pub in_vain: usize,
    /// Questions that count as ones of alpha.
    pub open: usize,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    hops: u8,
    state: State,
}

/// What became of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Unasked,
    Asked,
    /// Asked, and silent for so long that others are asked in its place.
    Late,
    Answered,
    Failed,
    /// Another path has it.
    Taken,
}

impl<P: Copy + PartialEq> Path<P> {
    /// A path that remembers at most `room` nodes.
    pub fn new(room: usize) -> Self {
        Path {
            distances: SmallVec::with_capacity(room),
            peers: SmallVec::with_capacity(room),
            marks: SmallVec::with_capacity(room),
            room,
            closest: u64::MAX,
            in_vain: 0,
            open: 0,
        }
    }

    /// Remembers nodes that were named, each with its distance, that are new and near
    /// enough. Who was forgotten for nearer ones is farther than all that are remembered,
    /// and so is not new again.
    pub fn offer(&mut self, named: impl Iterator<Item = P>, hops: u8, distance: impl Fn(P) -> u64) {
        for peer in named {
            // All of them, since that is quicker than to stop at the right one.
            let known = self.peers.iter().fold(false, |known, &one| known | (one == peer));
            if !known {
                self.insert(distance(peer), peer, hops);
            }
        }
    }

    fn insert(&mut self, distance: u64, peer: P, hops: u8) {
        let full = self.distances.len() >= self.room;
        if full && self.distances.last().is_some_and(|&last| last <= distance) {
            return;
        }
        let at = self.distances.partition_point(|&one| one < distance);
        if self.distances.get(at) == Some(&distance) {
            return;
        }
        if full {
            self.distances.pop();
            self.peers.pop();
            self.marks.pop();
        }
        self.distances.insert(at, distance);
        self.peers.insert(at, peer);
        self.marks.insert(at, Mark { hops, state: State::Unasked });
    }

    /// Takes the closest that is seen now for the one to be surpassed.
    pub fn start(&mut self) {
        self.closest = self.distances.first().copied().unwrap_or(u64::MAX);
    }

    /// Whether the latest answer brought something closer.
    pub fn progress(&mut self) {
        match self.distances.first() {
            Some(&first) if first < self.closest => {
                self.closest = first;
                self.in_vain = 0;
            }
            _ => self.in_vain += 1,
        }
    }

    /// The closest unasked one among the `window` closest that are not silent, and its place.
    pub fn first_unasked(&self, window: usize) -> Option<(usize, P)> {
        let silent = |mark: &Mark| matches!(mark.state, State::Late | State::Failed);
        let alive = self.marks.iter().enumerate().filter(|(_, mark)| !silent(mark));
        let (place, _) = alive.take(window).find(|(_, mark)| mark.state == State::Unasked)?;
        Some((place, *self.peers.get(place)?))
    }

    /// Notes what becomes of the node at `place`; how far on the path it is.
    pub fn mark_at(&mut self, place: usize, state: State) -> u8 {
        self.marks.get_mut(place).map_or(0, |mark| {
            mark.state = state;
            mark.hops
        })
    }

    /// Notes what became of `peer`; how far on the path it is.
    pub fn mark(&mut self, peer: P, state: State) -> u8 {
        self.place(peer).map_or(0, |place| self.mark_at(place, state))
    }

    /// Whether the `enough` closest that did not fail have answered.
    pub fn is_over(&self, enough: usize) -> bool {
        let alive = self.marks.iter().filter(|mark| mark.state != State::Failed);
        alive.take(enough).all(|mark| matches!(mark.state, State::Answered | State::Taken))
    }

    /// Those that answered, the closest first.
    pub fn answered(&self) -> impl Iterator<Item = P> {
        let all = self.peers.iter().zip(&self.marks);
        all.filter(|(_, mark)| mark.state == State::Answered).map(|(&peer, _)| peer)
    }

    /// How far on the path `peer` is, if it was seen.
    pub fn hops(&self, peer: P) -> Option<u8> {
        Some(self.marks.get(self.place(peer)?)?.hops)
    }

    fn place(&self, peer: P) -> Option<usize> {
        self.peers.iter().position(|&one| one == peer)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Path::new(0);
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        if self.peers.spilled() {
            self.peers.capacity() * (size_of::<u64>() + size_of::<P>() + size_of::<Mark>())
        } else {
            0
        }
    }
}
