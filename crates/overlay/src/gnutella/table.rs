//! The neighbours, and hosts that might become some.

use starling_sansio::{Rng, Time};

use super::message::{Heard, MAX_HOSTS};
use crate::RpcId;
use crate::wire::List;

/// Neighbours at most, whatever the configuration says.
pub const MAX_DEGREE: u16 = 64;
/// Hosts remembered for want of better ones.
pub const MAX_CACHE: usize = 32;

/// Somebody to whom there is a link.
#[derive(Clone, Copy, Debug)]
pub struct Neighbour<P> {
    /// Who.
    pub peer: P,
    /// The ping it has not answered yet.
    pub ping: Option<RpcId>,
    /// Whether it said anything since the last tick.
    pub heard: bool,
    /// Ticks without a word.
    pub missed: u8,
}

/// The links of a node: at most [`MAX_DEGREE`].
#[derive(Debug)]
pub struct Neighbours<P> {
    links: Vec<Neighbour<P>>,
}

impl<P: Copy + Eq> Neighbours<P> {
    /// None yet.
    pub fn new() -> Self {
        Neighbours { links: Vec::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there is a link to `peer`.
    pub fn contains(&self, peer: P) -> bool {
        self.links.iter().any(|link| link.peer == peer)
    }

    /// The link to `peer`, which has just been heard.
    pub fn hear(&mut self, peer: P) -> Option<&mut Neighbour<P>> {
        let link = self.links.iter_mut().find(|link| link.peer == peer)?;
        (link.heard, link.missed) = (true, 0);
        Some(link)
    }

    /// Makes a link; `false` if there is one or there are too many.
    pub fn add(&mut self, peer: P) -> bool {
        if self.contains(peer) || self.len() >= usize::from(MAX_DEGREE) {
            return false;
        }
        self.links.push(Neighbour { peer, ping: None, heard: true, missed: 0 });
        true
    }

    /// Cuts a link; whether there was one.
    pub fn remove(&mut self, peer: P) -> bool {
        let before = self.len();
        self.links.retain(|link| link.peer != peer);
        self.len() < before
    }

    /// Cuts all links.
    pub fn clear(&mut self) {
        self.links = Vec::new();
    }

    /// Who they are, the oldest link first.
    pub fn peers(&self) -> impl Iterator<Item = P> + Clone {
        self.links.iter().map(|link| link.peer)
    }

    /// The links, to be kept up.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Neighbour<P>> {
        self.links.iter_mut()
    }

    /// One of them by chance, but not `except` if there is another.
    pub fn any(&self, except: Option<P>, rng: &mut Rng) -> Option<P> {
        let at = self.links.iter().position(|link| Some(link.peer) == except);
        let others = self.len() - usize::from(at.is_some());
        if others == 0 {
            return except.filter(|_| at.is_some());
        }
        let pick = rng.index(others);
        self.links.get(pick + usize::from(at.is_some_and(|at| pick >= at))).map(|link| link.peer)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.links.capacity() * size_of::<Neighbour<P>>()
    }
}

/// Pong caching (Gnutella 0.6): hosts that somebody heard not long ago. Each entry
/// keeps the moment when it was heard, also when it is passed on, so that rumours of
/// the dead die out.
#[derive(Debug)]
pub struct Hosts<P> {
    /// The host, and the second at which it was heard.
    entries: Vec<(P, u32)>,
}

impl<P: Copy + Eq> Hosts<P> {
    /// Nobody yet.
    pub fn new() -> Self {
        Hosts { entries: Vec::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Remembers a host that was heard `age` seconds before `now`; in a full cache it
    /// takes a place by chance, so that nobody can choose who is forgotten.
    pub fn add(&mut self, now: Time, peer: P, age: u16, rng: &mut Rng) {
        let heard = seconds(now).saturating_sub(u32::from(age));
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.0 == peer) {
            entry.1 = entry.1.max(heard);
        } else if self.entries.len() < MAX_CACHE {
            self.entries.push((peer, heard));
        } else {
            let at = rng.index(self.entries.len());
            self.entries[at] = (peer, heard);
        }
    }

    /// Takes a host by chance.
    pub fn take(&mut self, rng: &mut Rng) -> Option<P> {
        if self.entries.is_empty() {
            return None;
        }
        let at = rng.index(self.entries.len());
        Some(self.entries.swap_remove(at).0)
    }

    /// Forgets a host.
    pub fn remove(&mut self, peer: P) {
        self.entries.retain(|entry| entry.0 != peer);
    }

    /// Forgets hosts that nobody heard for `limit` seconds.
    pub fn expire(&mut self, now: Time, limit: u64) {
        let now = u64::from(seconds(now));
        self.entries.retain(|entry| u64::from(entry.1) + limit >= now);
    }

    /// Who they are.
    pub fn peers(&self) -> impl Iterator<Item = P> {
        self.entries.iter().map(|entry| entry.0)
    }

    /// Up to half a message of `neighbours` and the rest of cached hosts, by chance,
    /// without `reader`.
    pub fn sample(
        &self,
        now: Time,
        neighbours: &Neighbours<P>,
        reader: P,
        rng: &mut Rng,
    ) -> List<Heard<P>, MAX_HOSTS> {
        let mut told: Vec<Heard<P>> = Vec::with_capacity(MAX_HOSTS);
        let alive = neighbours.peers().map(|peer| Heard { peer, age: 0 });
        pick(alive, neighbours.len(), MAX_HOSTS / 2, reader, &mut told, rng);
        let aged = |&(peer, heard): &(P, u32)| {
            let age = seconds(now).saturating_sub(heard).min(u32::from(u16::MAX)) as u16;
            Heard { peer, age }
        };
        pick(self.entries.iter().map(aged), self.len(), MAX_HOSTS, reader, &mut told, rng);
        List::new(told)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<(P, u32)>()
    }
}

/// Whole seconds; 136 years of them.
fn seconds(now: Time) -> u32 {
    (now.as_micros() / 1_000_000).min(u64::from(u32::MAX)) as u32
}

/// Fills `told` up to `limit` with a run of `hosts` that begins anywhere.
fn pick<P: Copy + Eq>(
    hosts: impl Iterator<Item = Heard<P>> + Clone,
    count: usize,
    limit: usize,
    reader: P,
    told: &mut Vec<Heard<P>>,
    rng: &mut Rng,
) {
    let start = rng.index(count);
    for host in hosts.clone().skip(start).chain(hosts.take(start)) {
        if told.len() >= limit {
            return;
        }
        if host.peer != reader && told.iter().all(|one| one.peer != host.peer) {
            told.push(host);
        }
    }
}
