//! What a super-peer keeps: its leaves, its links, the index, the ways back.

use starling_sansio::{Rng, Time};

use super::config::Config;
use super::index::Index;
use super::message::MAX_NAMED;
use crate::gnutella::routes::Routes;
use crate::wire::List;
use crate::{Id, Record, RpcId};

/// Leaves of a super-peer, whatever the configuration says.
pub const MAX_LEAVES: u16 = 512;
/// Links of a super-peer, whatever the configuration says.
pub const MAX_LINKS: u16 = 64;
/// Bytes of the names of a leaf's records for each that it may have: those with long names
/// are fewer.
pub const NAME_BYTES: usize = 128;
/// Vouchers remembered for a leaf; more do not count.
pub const MAX_VOUCHERS: usize = 8;

/// Leaves that a super-peer names to the others, to be turned to if it dies.
const HEIRS: usize = 8;

/// What somebody is to a super-peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Leaf,
    Link,
}

/// A leaf, as its super-peer knows it.
#[derive(Debug)]
pub(super) struct Leaf<P> {
    pub peer: P,
    /// What it says it can bear.
    pub capacity: u8,
    pub heard: bool,
    pub missed: u8,
    /// Since when it has been here.
    pub since: Time,
    /// Neighbours and leaves of this super-peer that vouched for it, each once.
    pub vouchers: Vec<P>,
    /// Places of its records in the index.
    pub places: Vec<u32>,
}

/// A neighbour among the super-peers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<P> {
    pub peer: P,
    pub ping: Option<RpcId>,
    pub heard: bool,
    pub missed: u8,
    /// Its leaves, as it said last.
    pub load: u16,
}

/// The state of a super-peer.
#[derive(Debug)]
pub(super) struct Office<P> {
    /// In the order of their names; at most [`MAX_LEAVES`].
    pub leaves: Vec<Leaf<P>>,
    /// At most [`MAX_LINKS`].
    pub links: Vec<Link<P>>,
    pub index: Index<P>,
    /// From whom a query came.
    pub seen: Routes<P>,
    /// From whom a provider's hits came.
    pub ways: Routes<P>,
    /// Ticks with hardly a leaf.
    pub idle: u8,
    /// The next promotion is due even to those on probation.
    pub pressed: bool,
}

impl<P: Copy + Ord> Office<P> {
    /// An empty one.
    pub fn new(rng: &mut Rng) -> Self {
        Office {
            leaves: Vec::new(),
            links: Vec::new(),
            index: Index::new(),
            seen: Routes::new(rng.next_u64()),
            ways: Routes::new(rng.next_u64()),
            idle: 0,
            pressed: false,
        }
    }

    /// The leaf of that name, which has just been heard.
    pub fn hear_leaf(&mut self, peer: P) -> Option<&mut Leaf<P>> {
        let at = self.leaf_at(peer).ok()?;
        let leaf = &mut self.leaves[at];
        (leaf.heard, leaf.missed) = (true, 0);
        Some(leaf)
    }

    /// Who it is that has just been heard.
    pub fn hear(&mut self, peer: P) -> Option<Role> {
        if self.hear_link(peer).is_some() {
            return Some(Role::Link);
        }
        self.hear_leaf(peer).map(|_| Role::Leaf)
    }

    /// Where the leaf of that name stands, or would.
    fn leaf_at(&self, peer: P) -> Result<usize, usize> {
        self.leaves.binary_search_by(|leaf| leaf.peer.cmp(&peer))
    }

    /// The link to that super-peer, which has just been heard.
    pub fn hear_link(&mut self, peer: P) -> Option<&mut Link<P>> {
        let link = self.links.iter_mut().find(|link| link.peer == peer)?;
        (link.heard, link.missed) = (true, 0);
        Some(link)
    }

    /// Whether there is such a leaf.
    pub fn has_leaf(&self, peer: P) -> bool {
        self.leaf_at(peer).is_ok()
    }

    /// Whether there is such a link.
    pub fn has_link(&self, peer: P) -> bool {
        self.links.iter().any(|link| link.peer == peer)
    }

    /// Takes a leaf in.
    pub fn add_leaf(&mut self, now: Time, peer: P, capacity: u8) {
        let (vouchers, places) = (Vec::new(), Vec::new());
        let leaf = Leaf { peer, capacity, heard: true, missed: 0, since: now, vouchers, places };
        if let Err(at) = self.leaf_at(peer) {
            self.leaves.insert(at, leaf);
        }
    }

    /// Takes all that a leaf has out of the index.
    pub fn empty(&mut self, peer: P) {
        let Ok(at) = self.leaf_at(peer) else { return };
        for place in std::mem::take(&mut self.leaves[at].places) {
            self.index.remove(place);
        }
    }

    /// Makes a link.
    pub fn add_link(&mut self, peer: P) -> bool {
        let new = !self.has_link(peer) && self.links.len() < usize::from(MAX_LINKS);
        if new {
            self.links.push(Link { peer, ping: None, heard: true, missed: 0, load: 0 });
        }
        new
    }

    /// Lets a leaf go, with its records.
    pub fn remove_leaf(&mut self, peer: P) -> bool {
        self.empty(peer);
        let at = self.leaf_at(peer);
        at.map(|at| self.leaves.remove(at)).is_ok()
    }

    /// Cuts a link.
    pub fn remove_link(&mut self, peer: P) -> bool {
        let before = self.links.len();
        self.links.retain(|link| link.peer != peer);
        self.links.len() < before
    }

    /// Enters a leaf's record in the index, in place of one with that key; `false` if it
    /// has as many as it may.
    pub fn share(&mut self, peer: P, record: Record, config: &Config) -> bool {
        self.withdraw(peer, record.key);
        let Ok(at) = self.leaf_at(peer) else { return false };
        let leaf = &mut self.leaves[at];
        let most = usize::from(config.records);
        let bytes: usize = leaf.places.iter().map(|&place| self.index.name_bytes(place)).sum();
        let room = leaf.places.len() < most && bytes + record.name.len() <= most * NAME_BYTES;
        if room {
            leaf.places.push(self.index.insert(record, peer));
        }
        room
    }

    /// Takes a leaf's record out of the index.
    pub fn withdraw(&mut self, peer: P, key: Id) {
        let Ok(at) = self.leaf_at(peer) else { return };
        let leaf = &mut self.leaves[at];
        if let Some(at) = leaf.places.iter().position(|&place| self.index.key(place) == Some(key)) {
            self.index.remove(leaf.places.swap_remove(at));
        }
    }

    /// The leaf most fit to be a super-peer: capable, long here, vouched for. Only
    /// those that `fit` allows.
    pub fn best(&self, now: Time, fit: impl Fn(&Leaf<P>) -> bool) -> Option<P> {
        let merit = |leaf: &&Leaf<P>| (leaf.merit(now), leaf.peer);
        self.leaves.iter().filter(|leaf| fit(leaf)).max_by_key(merit).map(|leaf| leaf.peer)
    }

    /// Super-peers to name to `reader`: those with the most room first.
    pub fn named(&self, reader: P, room: usize, rng: &mut Rng) -> List<P, MAX_NAMED> {
        let mut links: Vec<&Link<P>> = self.links.iter().filter(|link| link.peer != reader).collect();
        rng.shuffle(&mut links);
        links.sort_by_key(|link| usize::from(link.load) >= room);
        links.into_iter().map(|link| link.peer).collect()
    }

    /// Whom to name to a leaf: super-peers, and, as far as there is room, the best leaves,
    /// which will be super-peers if this one dies.
    pub fn named_to_leaf(&self, now: Time, leaf: P, room: usize, rng: &mut Rng) -> List<P, MAX_NAMED> {
        let mut named = self.named(leaf, room, rng).into_vec();
        for _ in 0..HEIRS.min(MAX_NAMED - named.len()) {
            named.extend(self.best(now, |one| one.peer != leaf && !named.contains(&one.peer)));
        }
        List::new(named)
    }

    /// Bytes on the heap, this struct's own included.
    pub fn heap_bytes(&self) -> usize {
        let leaf = |leaf: &Leaf<P>| leaf.vouchers.capacity() * size_of::<P>() + leaf.places.capacity() * 4;
        size_of::<Self>()
            + self.leaves.capacity() * size_of::<Leaf<P>>()
            + self.leaves.iter().map(leaf).sum::<usize>()
            + self.links.capacity() * size_of::<Link<P>>()
            + self.index.heap_bytes()
            + self.seen.heap_bytes()
            + self.ways.heap_bytes()
    }
}

impl<P> Leaf<P> {
    /// Capacity × minutes here (at most four hours count) × vouchers, one more of each.
    pub fn merit(&self, now: Time) -> u64 {
        let minutes = (now.since(self.since).as_secs() / 60).min(240);
        u64::from(self.capacity) * (1 + minutes) * (1 + self.vouchers.len() as u64)
    }
}
