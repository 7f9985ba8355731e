//! The common API (Dabek et al. 2003), with an affinity group as replica set. Kelips
//! locates by itself, so it is no `KeyBased`, but the questions are the same.

use crate::{Event, Host, Id, Peer};

use super::message::Message;
use super::{Kelips, group_of};

impl<P: Peer> Kelips<P> {
    /// The affinity group of an id.
    pub fn group_of(&self, id: Id) -> u32 {
        self.table.group_of(id)
    }

    /// This node's own group.
    pub fn group(&self) -> u32 {
        self.table.group
    }

    /// Whether this node keeps tuples under those top 64 bits of an id.
    pub(super) fn serves(&self, under: u64) -> bool {
        self.member && self.table.home(self.table.group_of(Id::from_high(under))) == self.table.group
    }

    /// At most `num` next hops towards `key`, the nearest first. With `safe`, the
    /// contacts and members as they are: none of them is chosen by what they say.
    pub fn local_lookup(
        &self,
        key: Id,
        num: usize,
        _safe: bool,
        host: &impl Host<P, Message<P>, Event<P>>,
    ) -> Vec<P> {
        let home = self.table.home(self.table.group_of(key));
        if home == self.table.group {
            return self.replica_set(key, num, host);
        }
        let mut hops: Vec<P> = self.table.contacts(home).collect();
        hops.sort_unstable_by_key(|&peer| (host.distance(peer), peer));
        hops.truncate(num);
        hops
    }

    /// At most `num` members of the own group, those nearest in the id space first.
    pub fn neighbor_set(&self, num: usize, host: &impl Host<P, Message<P>, Event<P>>) -> Vec<P> {
        nearest(self.table.members().to_vec(), host.id(self.me), num, host)
    }

    /// At most `max_rank` members of `key`'s group, as far as this node knows, those
    /// nearest to the key first; every one of them is as much a root as the others.
    pub fn replica_set(&self, key: Id, max_rank: usize, host: &impl Host<P, Message<P>, Event<P>>) -> Vec<P> {
        let home = self.table.home(self.table.group_of(key));
        let members = if home == self.table.group {
            self.table.members().iter().copied().chain([self.me]).collect()
        } else {
            self.table.contacts(home).collect()
        };
        nearest(members, key, max_rank, host)
    }

    /// The keys that belong to `node`'s group, of whatever rank: from the first id
    /// (left out) clockwise to the second (included). `None` if `left` is not among
    /// them.
    pub fn range(
        &self,
        node: P,
        _rank: usize,
        left: Id,
        host: &impl Host<P, Message<P>, Event<P>>,
    ) -> Option<(Id, Id)> {
        let group = self.table.group_of(host.id(node));
        let before = |group| arc_start(group, self.table.groups()).minus(Id::bit(Id::BITS - 1));
        (self.table.group_of(left) == group).then(|| (before(group), before(group + 1)))
    }
}

/// The first id of a group's arc.
pub(super) fn arc_start(group: u32, groups: u32) -> Id {
    let start = (u128::from(group) << 64).div_ceil(u128::from(groups));
    let start = Id::from_high(start as u64);
    debug_assert!(group >= groups || group_of(start, groups) == group);
    start
}

/// The top 64 bits of the first and the last id of a group's arc.
pub(super) fn arc_of(group: u32, groups: u32) -> (u64, u64) {
    let first = |group| arc_start(group, groups).high();
    (first(group), first(group + 1).wrapping_sub(1))
}

fn nearest<P: Peer>(
    mut peers: Vec<P>,
    key: Id,
    num: usize,
    host: &impl Host<P, Message<P>, Event<P>>,
) -> Vec<P> {
    peers.sort_by_cached_key(|&peer| (host.id(peer).ring_distance(key), peer));
    peers.truncate(num);
    peers
}
