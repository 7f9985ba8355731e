//! The leaf set: the nodes whose ids are next to this node's on the circle.

use crate::{Id, prefetch};

/// How near a place is to a key, around the circle. Of two equally near places the one
/// before the key is nearer, so that every key has one root.
pub fn nearness(key: Id, place: Id) -> (Id, bool) {
    let (ahead, behind) = (place.minus(key), key.minus(place));
    if behind <= ahead { (behind, false) } else { (ahead, true) }
}

/// At most L/2 nodes on either side, the nearest first.
///
/// In a network of at most L others the two sides meet on the far side of the circle,
/// and a node may stand on both. A side that lost members may be filled with nodes of
/// the other side for a while, too, though the circle is larger: such nodes do not
/// count for how far the side reaches.
#[derive(Clone, Debug)]
pub struct LeafSet<P> {
    /// The smaller side, then the larger.
    peers: Vec<P>,
    smaller: u8,
    meet: bool,
}

/// What became of a node that was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offered<P> {
    /// It was not there and is now.
    pub entered: bool,
    /// Who had to go for it.
    pub pushed_out: Option<P>,
}

impl<P> Default for LeafSet<P> {
    fn default() -> Self {
        LeafSet { peers: Vec::new(), smaller: 0, meet: false }
    }
}

impl<P: Copy + Eq> LeafSet<P> {
    /// The sides as they are, the nearest first, at most `half` on each.
    pub fn from_sides(smaller: &[P], larger: &[P], half: usize) -> Self {
        let mut set = LeafSet::default();
        set.set_sides(smaller, larger, half);
        set
    }

    fn set_sides(&mut self, smaller: &[P], larger: &[P], half: usize) {
        let (smaller, larger) = (&smaller[..smaller.len().min(half)], &larger[..larger.len().min(half)]);
        let mut peers = Vec::with_capacity(smaller.len() + larger.len());
        peers.extend_from_slice(smaller);
        peers.extend_from_slice(larger);
        self.meet = smaller.iter().any(|peer| larger.contains(peer));
        self.smaller = smaller.len() as u8;
        self.peers = peers;
    }

    /// Counterclockwise, the nearest first.
    pub fn smaller(&self) -> &[P] {
        &self.peers[..usize::from(self.smaller)]
    }

    /// Clockwise, the nearest first.
    pub fn larger(&self) -> &[P] {
        &self.peers[usize::from(self.smaller)..]
    }

    /// All, in no useful order; a node on both sides comes twice.
    pub fn all(&self) -> &[P] {
        &self.peers
    }

    /// Whether `peer` is in it.
    pub fn contains(&self, peer: P) -> bool {
        self.peers.contains(&peer)
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Whether a node stands on both sides.
    pub fn sides_meet(&self) -> bool {
        self.meet
    }

    /// How far the sides reach, nodes that stand on both left out.
    pub fn reach(&self) -> (Option<P>, Option<P>) {
        let (smaller, larger) = (self.smaller(), self.larger());
        if !self.meet {
            return (smaller.last().copied(), larger.last().copied());
        }
        let last = |side: &[P], other: &[P]| side.iter().rfind(|peer| !other.contains(peer)).copied();
        (last(smaller, larger), last(larger, smaller))
    }

    /// Whether `peer` would get a place that it does not have.
    pub fn wants(&self, me: Id, peer: P, half: usize, id: impl Fn(P) -> Id) -> bool {
        let place = id(peer);
        let fits = |side: &[P], way: Way| {
            side.len() < half || side.last().is_some_and(|&last| way(me, place) < way(me, id(last)))
        };
        place != me
            && !self.contains(peer)
            && (fits(self.smaller(), counterclockwise) || fits(self.larger(), clockwise))
    }

    /// Puts `peer` where it belongs, if anywhere.
    pub fn offer(&mut self, me: Id, peer: P, half: usize, id: impl Fn(P) -> Id) -> Offered<P> {
        let place = id(peer);
        let nothing = Offered { entered: false, pushed_out: None };
        if place == me {
            return nothing;
        }
        let at = |side: &[P], way: Way| {
            let at = side.partition_point(|&one| way(me, id(one)) < way(me, place));
            (at < half && side.get(at) != Some(&peer)).then_some(at)
        };
        let (in_smaller, in_larger) = (at(self.smaller(), counterclockwise), at(self.larger(), clockwise));
        if in_smaller.is_none() && in_larger.is_none() {
            return nothing;
        }
        let before = self.clone();
        let insert = |side: &[P], at: Option<usize>| {
            let mut side = side.to_vec();
            if let Some(at) = at {
                side.insert(at, peer);
            }
            side
        };
        let (smaller, larger) = (insert(self.smaller(), in_smaller), insert(self.larger(), in_larger));
        self.set_sides(&smaller, &larger, half);
        let pushed_out = before.peers.iter().find(|&&one| !self.contains(one)).copied();
        Offered { entered: !before.contains(peer), pushed_out }
    }

    /// Takes `peer` out; whether it was there.
    pub fn remove(&mut self, peer: P) -> bool {
        if !self.contains(peer) {
            return false;
        }
        let without = |side: &[P]| side.iter().filter(|&&one| one != peer).copied().collect::<Vec<P>>();
        let (smaller, larger) = (without(self.smaller()), without(self.larger()));
        self.set_sides(&smaller, &larger, usize::MAX);
        true
    }

    /// Asks for it; see [`crate::Core::warm`].
    pub fn warm(&self) {
        prefetch(&self.peers[..]);
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.peers.capacity() * size_of::<P>()
    }
}

/// How far it is from a place to another.
type Way = fn(Id, Id) -> Id;

fn clockwise(from: Id, to: Id) -> Id {
    to.minus(from)
}

fn counterclockwise(from: Id, to: Id) -> Id {
    from.minus(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(peer: u32) -> Id {
        Id::small(u64::from(peer), 8)
    }

    #[test]
    fn the_nearest_of_both_sides_stay() {
        let mut set = LeafSet::default();
        for peer in [1, 99, 110, 200, 101, 90, 105] {
            set.offer(id(100), peer, 2, id);
        }
        assert_eq!((set.smaller(), set.larger()), (&[99, 90][..], &[101, 105][..]));
        assert!(!set.sides_meet());
        assert_eq!(set.offer(id(100), 103, 2, id), Offered { entered: true, pushed_out: Some(105) });
        assert_eq!(set.offer(id(100), 103, 2, id), Offered { entered: false, pushed_out: None });
        assert!(set.wants(id(100), 102, 2, id) && !set.wants(id(100), 104, 2, id));
        assert!(!set.wants(id(100), 103, 2, id) && !set.wants(id(100), 100, 2, id));
    }

    #[test]
    fn in_a_small_circle_the_sides_meet() {
        let mut set = LeafSet::default();
        for peer in [101, 102, 103] {
            set.offer(id(100), peer, 2, id);
        }
        assert_eq!((set.smaller(), set.larger()), (&[103, 102][..], &[101, 102][..]));
        assert!(set.sides_meet());
        assert_eq!(set.reach(), (Some(103), Some(101)));
        assert!(set.remove(102) && !set.remove(102));
        assert_eq!((set.smaller(), set.larger()), (&[103][..], &[101][..]));
    }

    #[test]
    fn every_key_has_one_root() {
        assert!(nearness(id(5), id(3)) < nearness(id(5), id(7)));
        assert!(nearness(id(0), id(255)) < nearness(id(0), id(2)));
        assert_eq!(nearness(id(9), id(9)), (Id::ZERO, false));
    }
}
