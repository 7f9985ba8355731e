//! What a node knows of the circle around it.

use super::{Chord, Outside};
use crate::{Id, Peer, Row};

/// Spaces up to this many bits show a row for every finger, as in a lecture.
const BITS_SHOWN_WHOLE: u32 = 16;

impl<P: Peer> Chord<P> {
    /// Predecessors and successors, each once, clockwise, without this node.
    pub(super) fn neighbours(&self) -> Vec<P> {
        let mut around: Vec<P> = self.predecessors.iter().collect();
        around.reverse();
        around.retain(|one| !self.successors().contains(one));
        around.extend_from_slice(self.successors());
        around
    }

    /// The same with this node at its place.
    fn arc(&self) -> Vec<P> {
        let mut arc = self.neighbours();
        arc.insert(arc.len() - self.successors().len(), self.me);
        arc
    }

    /// Whether they are the whole circle: the ring is small, or its farthest successor known
    /// here is one of the predecessors.
    fn is_whole(&self) -> bool {
        self.small || self.predecessors.iter().any(|one| self.successors().contains(&one))
    }

    /// At most `num` neighbours, alternating between successors and predecessors.
    pub(super) fn nearest(&self, num: usize) -> Vec<P> {
        let mut near: Vec<P> = Vec::new();
        let mut before = self.predecessors.iter();
        let mut after = self.successors().iter().copied();
        loop {
            let pair = [after.next(), before.next()];
            if pair == [None, None] || near.len() >= num {
                near.truncate(num);
                return near;
            }
            for peer in pair.into_iter().flatten().filter(|&one| one != self.me) {
                if !near.contains(&peer) {
                    near.push(peer);
                }
            }
        }
    }

    /// Where copies of `key` belong. Known for the keys from the farthest predecessor
    /// on to the end of the successor list, or for all; guessed as far again before that.
    pub(super) fn replicas<H: Outside<P>>(&self, key: Id, max_rank: usize, host: &H) -> Vec<P> {
        if !self.member {
            return Vec::new();
        }
        let (mut arc, whole) = (self.arc(), self.is_whole());
        let first = host.id(arc[0]);
        let until = |peer: &P| host.id(*peer).minus(first);
        let from_first = key.minus(first);
        let root = arc.iter().position(|peer| from_first <= until(peer));
        let before_first = first.minus(key) <= host.id(self.me).minus(first);
        match root {
            Some(root) => arc.rotate_left(root),
            None if whole || before_first => {}
            None => return Vec::new(),
        }
        if !whole {
            arc.truncate(arc.len() - root.unwrap_or(0));
        }
        arc.truncate(max_rank);
        arc
    }

    /// The keys for which `node` is a root of at most `rank`.
    pub(super) fn keys_of<H: Outside<P>>(
        &self,
        node: P,
        rank: usize,
        left: Id,
        host: &H,
    ) -> Option<(Id, Id)> {
        if !self.member {
            return None;
        }
        let arc = self.arc();
        let at = arc.iter().position(|&one| one == node)?;
        let begin = match at.checked_sub(rank + 1) {
            Some(begin) => begin,
            None if !self.is_whole() => return None,
            None if rank + 1 >= arc.len() => at,
            None => at + arc.len() - (rank + 1),
        };
        let keys = (host.id(arc[begin]), host.id(node));
        left.between_or_at(keys.0, keys.1).then_some(keys)
    }

    /// Next hops towards `key`, best first: its root, if it is near enough to be known,
    /// then the closest preceding. The safe ones: those that were asked themselves.
    pub(super) fn next_hops<H: Outside<P>>(&self, key: Id, num: usize, safe: bool, host: &H) -> Vec<P> {
        let mine = host.id(self.me);
        let known = self.next_known(key, host);
        let preceding = self.table.preceding(key.minus(mine), |peer| host.id(peer).minus(mine));
        let heard = |peer: &P| {
            let finger = !self.rush && !self.successors().contains(peer);
            !safe || finger || self.successor() == Some(*peer) || self.predecessor() == Some(*peer)
        };
        known.into_iter().chain(preceding).filter(heard).take(num).collect()
    }

    /// The table as a lecture draws it.
    pub(super) fn table_rows<H: Outside<P>>(&self, host: &H) -> Vec<Row<P>> {
        let mine = host.id(self.me);
        let row = |label: &str, peers: &[P]| Row { label: label.into(), peers: peers.to_vec() };
        let mut rows = vec![row("successor", &self.successors()[..self.successors().len().min(1)])];
        if self.successors().len() > 1 {
            rows.push(row("further successors", &self.successors()[1..]));
        }
        rows.push(row("predecessor", self.predecessor().as_slice()));
        let bits = self.config.bits.clamp(1, Id::BITS);
        let mut last = None;
        for power in 0..bits {
            let start = Id::bit(bits - 1 - power);
            let finger = self.table.all().iter().find(|&&peer| host.id(peer).minus(mine) >= start).copied();
            if finger.is_some() && (finger != last || bits <= BITS_SHOWN_WHOLE) {
                let label =
                    if power < 20 { format!("finger +{}", 1 << power) } else { format!("finger +2^{power}") };
                rows.push(row(&label, finger.as_slice()));
            }
            last = finger;
        }
        rows.retain(|row| !row.peers.is_empty());
        rows
    }
}
