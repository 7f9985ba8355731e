//! The common API of Dabek et al. 2003 on Pastry.

use starling_sansio::Time;

use super::message::{Find, PastryMessage};
use super::{Pastry, Stage};
use crate::{Host, Id, KeyBased, Op, Peer, Routing, Wanted};

impl<P: Peer> KeyBased<P> for Pastry<P> {
    const NAME: &'static str = "pastry";

    fn me(&self) -> P {
        self.me
    }

    fn asked_in_vain(&self, op: Op) -> u32 {
        let lookups = self.busy.iter().flat_map(|busy| &busy.lookups);
        lookups.filter(|one| one.op == op.0).map(|one| one.timeouts).sum()
    }

    fn wants(from: P, message: &PastryMessage<P>) -> Option<Wanted<P>> {
        match *message {
            PastryMessage::Find { find: Find { key, origin, op, hops, values: true, .. }, .. } => {
                Some(Wanted { key, origin, op: Op(op), hops: u32::from(hops) })
            }
            PastryMessage::Ask { op, key, hops, values: true, .. } => {
                Some(Wanted { key, origin: from, op: Op(op), hops: u32::from(hops) })
            }
            _ => None,
        }
    }

    fn answered(
        &mut self,
        _now: Time,
        from: P,
        message: &PastryMessage<P>,
        host: &mut impl Host<P, PastryMessage<P>, Routing<P>>,
    ) {
        if let PastryMessage::Find { rpc, .. } = *message {
            host.send(from, PastryMessage::Ack { rpc });
        }
    }

    fn local_lookup(
        &self,
        key: Id,
        num: usize,
        safe: bool,
        host: &impl Host<P, PastryMessage<P>, Routing<P>>,
    ) -> Vec<P> {
        self.hops_towards(key, num, safe, host)
    }

    fn neighbor_set(&self, num: usize, host: &impl Host<P, PastryMessage<P>, Routing<P>>) -> Vec<P> {
        let mut set = self.closest(host.id(self.me), num.saturating_add(1), host);
        set.retain(|&peer| peer != self.me);
        set
    }

    fn replica_set(
        &self,
        key: Id,
        max_rank: usize,
        host: &impl Host<P, PastryMessage<P>, Routing<P>>,
    ) -> Vec<P> {
        self.closest(key, max_rank, host)
    }

    /// A node is a root of at most `rank` for the keys up to half way to its neighbour
    /// number `rank` + 1 on either side.
    fn range(
        &self,
        node: P,
        rank: usize,
        left: Id,
        host: &impl Host<P, PastryMessage<P>, Routing<P>>,
    ) -> Option<(Id, Id)> {
        if self.stage != Stage::Member {
            return None;
        }
        let mut ring: Vec<P> = self.leaf.smaller().iter().rev().copied().collect();
        ring.push(self.me);
        ring.extend(self.leaf.larger());
        let whole = self.leaf.sides_meet() || self.leaf.is_empty();
        if whole {
            ring.sort_unstable_by_key(|&peer| host.id(peer));
            ring.dedup();
        }
        let at = ring.iter().position(|&peer| peer == node)?;
        let place = host.id(node);
        let step = rank.checked_add(1)?;
        let (before, after) = if whole {
            if ring.len() <= step {
                return Some((left, left));
            }
            let count = ring.len();
            (ring.get((at + count - step) % count)?, ring.get((at + step) % count)?)
        } else {
            (ring.get(at.checked_sub(step)?)?, ring.get(at + step)?)
        };
        // A key half way belongs to the node before it: see `nearness`.
        let from = place.minus(half(place.minus(host.id(*before)), true));
        let to = place.plus(half(host.id(*after).minus(place), false));
        left.between_or_at(from, to).then_some((from, to))
    }
}

/// Half of a distance, rounded down, or up.
fn half(distance: Id, up: bool) -> Id {
    let mut bytes = distance.to_bytes();
    let mut carry = 0;
    for byte in &mut bytes {
        let low = *byte & 1;
        *byte = *byte >> 1 | carry << 7;
        carry = low;
    }
    let half = Id::from_bytes(bytes);
    if up && carry == 1 { half.plus(Id::bit(Id::BITS - 1)) } else { half }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_as_told() {
        let (one, two) = (Id::bit(159), Id::bit(158));
        let three = one.plus(two);
        assert_eq!((half(three, false), half(three, true)), (one, two));
        assert_eq!((half(two, false), half(two, true)), (one, one));
        assert_eq!(half(Id::bit(0).plus(Id::bit(64)), true), Id::bit(1).plus(Id::bit(65)));
    }
}
