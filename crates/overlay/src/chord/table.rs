//! A node's routing table: successor list and fingers.

use std::iter::{Copied, Rev};
use std::slice::Iter;

use crate::{Id, Peer};

/// Peers in the order of their distance clockwise from the node that keeps them, each
/// once: first the successor list, then the fingers beyond its end.
///
/// Finger i is the first node at or after the node's id + 2^i. In a ring of N nodes
/// most of the m fingers are the same few nodes, so only distinct ones are stored, and
/// none that the successor list covers: one a power of two, about log2 (N / r). Which
/// finger an entry is follows from its distance: finger i is the first entry at a
/// distance of 2^i or more.
#[derive(Clone, Debug)]
pub struct Table<P> {
    peers: Box<[P]>,
    near: u8,
}

impl<P> Default for Table<P> {
    fn default() -> Self {
        Table { peers: Box::default(), near: 0 }
    }
}

impl<P: Peer> Table<P> {
    /// The successor list.
    pub fn successors(&self) -> &[P] {
        &self.peers[..usize::from(self.near)]
    }

    /// The fingers that the successor list does not cover, nearest first.
    pub fn fingers(&self) -> &[P] {
        &self.peers[usize::from(self.near)..]
    }

    /// All, nearest first.
    pub fn all(&self) -> &[P] {
        &self.peers
    }

    /// Replaces the successor list by `list` (nearest first). Fingers that it covers go.
    pub fn set_successors(&mut self, list: &[P], distance: impl Fn(P) -> Id) {
        let end = list.last().map_or(Id::ZERO, |&last| distance(last));
        let fingers = self.fingers();
        let beyond = &fingers[fingers.partition_point(|&finger| distance(finger) <= end)..];
        self.peers = [list, beyond].concat().into_boxed_slice();
        self.near = list.len() as u8;
    }

    /// The peers closer than `limit`, the farthest first: `closest_preceding_node`
    /// (Stoica et al., figure 5), with what comes next if it does not answer.
    pub fn preceding(&self, limit: Id, distance: impl Fn(P) -> Id) -> Rev<Copied<Iter<'_, P>>> {
        let end = self.peers.partition_point(|&peer| distance(peer) < limit);
        self.peers[..end].iter().copied().rev()
    }

    /// The first finger at `start` or farther.
    pub fn finger(&self, start: Id, distance: impl Fn(P) -> Id) -> Option<P> {
        let fingers = self.fingers();
        fingers.get(fingers.partition_point(|&finger| distance(finger) < start)).copied()
    }

    /// `finger` is the first node at `start` or farther: what was taken for it goes.
    /// Without one, there is nobody so far away.
    pub fn set_finger(&mut self, start: Id, finger: Option<P>, distance: impl Fn(P) -> Id) {
        if finger.is_some() && self.finger(start, &distance) == finger {
            return; // as nearly always
        }
        let stale = |there: Id| start <= there && finger.is_none_or(|finger| there < distance(finger));
        let mut fingers = self.fingers().to_vec();
        fingers.retain(|&one| !stale(distance(one)));
        self.set_fingers(fingers.into_iter().chain(finger), &distance);
    }

    /// Takes `hints`, which others have as fingers, where they are nearer than the own.
    pub fn add_fingers(&mut self, hints: impl Iterator<Item = P>, distance: impl Fn(P) -> Id) {
        let fingers = self.fingers().to_vec();
        self.set_fingers(fingers.into_iter().chain(hints), distance);
    }

    /// Keeps the nearest of `fingers` for every power of two.
    fn set_fingers(&mut self, fingers: impl Iterator<Item = P>, distance: impl Fn(P) -> Id) {
        let end = self.successors().last().map_or(Id::ZERO, |&last| distance(last));
        let mut sorted: Vec<(Id, P)> = fingers.map(|one| (distance(one), one)).collect();
        sorted.retain(|one| one.0 > end);
        sorted.sort_unstable();
        sorted.dedup_by_key(|one| one.0.leading_zeros());
        if !sorted.iter().map(|one| one.1).eq(self.fingers().iter().copied()) {
            let near = self.successors().iter().copied();
            self.peers = near.chain(sorted.into_iter().map(|one| one.1)).collect();
        }
    }

    /// Removes `peer`; whether it was there.
    pub fn remove(&mut self, peer: P) -> bool {
        let Some(at) = self.peers.iter().position(|&one| one == peer) else { return false };
        self.near -= u8::from(at < usize::from(self.near));
        self.peers = self.peers.iter().copied().filter(|&one| one != peer).collect();
        true
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.peers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(peer: u32) -> Id {
        Id::small(u64::from(peer), 8)
    }

    #[test]
    fn fingers_are_distinct_one_a_power_of_two_and_beyond_the_list() {
        let mut table = Table::default();
        table.set_successors(&[1, 2, 5], distance);
        table.add_fingers([200, 64, 7, 70, 6, 5, 33, 130].into_iter(), distance);
        assert_eq!(table.all(), [1, 2, 5, 6, 33, 64, 130]);
        table.set_finger(distance(32), Some(65), distance);
        assert_eq!(table.fingers(), [6, 65, 130]);
        table.set_successors(&[1, 6, 7], distance);
        assert_eq!((table.successors(), table.fingers()), (&[1, 6, 7][..], &[65, 130][..]));
        table.set_finger(distance(128), None, distance);
        assert_eq!(table.all(), [1, 6, 7, 65]);
        assert!(table.remove(6) && !table.remove(6) && table.remove(65));
        assert_eq!((table.successors(), table.fingers()), (&[1, 7][..], &[][..]));
    }

    #[test]
    fn the_closest_preceding_comes_first() {
        let mut table = Table::default();
        table.set_successors(&[1, 2], distance);
        table.add_fingers([4, 8, 16].into_iter(), distance);
        let preceding = |limit| table.preceding(distance(limit), distance).collect::<Vec<_>>();
        assert_eq!(preceding(9), [8, 4, 2, 1]);
        assert_eq!(preceding(8), [4, 2, 1]);
        assert_eq!(preceding(1), []);
        assert_eq!(table.finger(distance(5), distance), Some(8));
        assert_eq!(table.finger(distance(17), distance), None);
    }
}
