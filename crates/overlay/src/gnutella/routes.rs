//! Which way back: the descriptors seen lately, and from whom.
//!
//! A ring holds the newest entries in order of arrival; chains through the ring, as
//! in LZ77 match finders, find an entry by its key. 16 bytes an entry and 2 a chain
//! for peers of 4 bytes. Old entries go because newer ones take their place, or at
//! the turn of a generation; nothing is ever taken out of the middle, so no entry
//! needs a place in more than one list.

use std::time::Duration;

use starling_sansio::Time;

/// Entries at most.
pub const MAX_ROUTES: usize = 4096;
const MIN_ROUTES: usize = 16;

/// Keys and the peers they came from: at most [`MAX_ROUTES`], each for at least one
/// and at most two lifetimes.
#[derive(Debug)]
pub struct Routes<P> {
    /// `next & (len - 1)` is where the next entry goes; empty or a power of two long.
    ring: Vec<Route<P>>,
    /// Of each chain, the low bits of its newest entry's number. May be out of date.
    heads: Vec<u16>,
    /// The number of the next entry.
    next: u32,
    live: u32,
    young: u32,
    turned: Time,
    salt: u64,
}

#[derive(Clone, Copy, Debug)]
struct Route<P> {
    key: [u32; 2],
    from: P,
    /// How many entries ago the chain goes on; 0 where it ends.
    back: u16,
}

impl<P: Copy> Routes<P> {
    /// An empty table. With a `salt` that others do not know, nobody can choose keys
    /// that share a chain.
    pub fn new(salt: u64) -> Routes<P> {
        Routes {
            ring: Vec::new(),
            heads: Vec::new(),
            next: 0,
            live: 0,
            young: 0,
            turned: Time::ZERO,
            salt: salt | 1,
        }
    }

    /// From whom `key` came first.
    pub fn get(&self, key: u64) -> Option<P> {
        let head = *self.heads.get(self.chain(key))?;
        let mut back = u32::from((self.next as u16).wrapping_sub(head));
        while (1..=self.live).contains(&back) {
            let route = self.ring[self.slot(self.next.wrapping_sub(back))];
            if route.key == halves(key) {
                return Some(route.from);
            }
            if route.back == 0 {
                break;
            }
            back += u32::from(route.back);
        }
        None
    }

    /// Remembers that `key` came from `from`, unless it is known; whether it was new.
    pub fn insert(&mut self, now: Time, lifetime: Duration, key: u64, from: P) -> bool {
        self.turn(now, lifetime);
        if self.get(key).is_some() {
            return false;
        }
        if self.live as usize == self.ring.len() && self.ring.len() < MAX_ROUTES {
            let filler = Route { key: halves(key), from, back: 0 };
            self.resize((2 * self.ring.len()).max(MIN_ROUTES), Some(filler));
        }
        self.push(key, from);
        self.young += 1;
        true
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.ring.capacity() * size_of::<Route<P>>() + self.heads.capacity() * 2
    }

    /// Begins a new generation when the last one is a lifetime old; what came before
    /// the last one is forgotten.
    fn turn(&mut self, now: Time, lifetime: Duration) {
        let age = now.since(self.turned);
        if age < lifetime {
            return;
        }
        self.live = if age < 2 * lifetime { self.young.min(self.live) } else { 0 };
        self.young = 0;
        self.turned = now;
        if self.ring.len() > MIN_ROUTES && (self.live as usize) < self.ring.len() / 4 {
            self.resize((2 * self.live as usize).next_power_of_two().max(MIN_ROUTES), None);
        }
    }

    fn push(&mut self, key: u64, from: P) {
        let chain = self.chain(key);
        let back = (self.next as u16).wrapping_sub(self.heads[chain]);
        let back = if u32::from(back) <= self.live { back } else { 0 };
        let slot = self.slot(self.next);
        self.ring[slot] = Route { key: halves(key), from, back };
        self.heads[chain] = self.next as u16;
        self.next = self.next.wrapping_add(1);
        self.live = (self.live + 1).min(self.ring.len() as u32);
    }

    /// Moves the live entries into a ring of `len`, a power of two, whose other places
    /// hold `filler` until they are used. With nothing to put in there is no ring.
    fn resize(&mut self, len: usize, filler: Option<Route<P>>) {
        let kept: Vec<Route<P>> =
            (1..=self.live).rev().map(|back| self.ring[self.slot(self.next.wrapping_sub(back))]).collect();
        let filler = filler.or(kept.first().copied());
        self.ring = filler.map_or(Vec::new(), |filler| vec![filler; len]);
        self.heads = vec![(self.next as u16).wrapping_add(u16::MAX / 2); self.ring.len()];
        self.live = 0;
        for route in kept {
            self.push(u64::from(route.key[0]) << 32 | u64::from(route.key[1]), route.from);
        }
    }

    fn slot(&self, number: u32) -> usize {
        number as usize & (self.ring.len() - 1)
    }

    fn chain(&self, key: u64) -> usize {
        let mixed = (key ^ self.salt.rotate_left(32)).wrapping_mul(self.salt);
        (mixed >> 40) as usize & self.heads.len().wrapping_sub(1)
    }
}

/// Two words, so that an entry needs no room to be aligned.
fn halves(key: u64) -> [u32; 2] {
    [(key >> 32) as u32, key as u32]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use starling_sansio::Rng;

    use super::*;

    const LIFE: Duration = Duration::from_secs(30);

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Route<u32>>(), 16);
    }

    #[test]
    fn the_oldest_make_room() {
        let mut routes = Routes::new(Rng::from_seed(1).next_u64());
        for key in 0..10_000u64 {
            assert!(routes.insert(Time::ZERO, LIFE, key, key as u32));
        }
        assert_eq!(routes.live as usize, MAX_ROUTES);
        assert!(routes.heap_bytes() <= MAX_ROUTES * 18);
        assert_eq!(routes.get(10_000 - 1 - MAX_ROUTES as u64), None);
        assert_eq!(routes.get(10_000 - MAX_ROUTES as u64), Some(10_000 - MAX_ROUTES as u32));
    }

    proptest! {
        /// Against a map that forgets nothing: what is found is right, what is younger
        /// than a lifetime is found, what is older than two is not.
        #[test]
        fn it_forgets_in_time_and_not_before(
            steps in prop::collection::vec((0u64..200, 0u64..12), 1..600), salt: u64,
        ) {
            let mut routes = Routes::new(salt);
            let mut model: BTreeMap<u64, (Time, u32)> = BTreeMap::new();
            let mut now = Time::ZERO;
            for (number, (key, wait)) in steps.into_iter().enumerate() {
                now = now + Duration::from_secs(wait);
                let known = routes.get(key);
                let new = routes.insert(now, LIFE, key, number as u32);
                let first = model.get(&key).copied();
                match first {
                    Some((at, from)) if now.since(at) < LIFE => {
                        prop_assert_eq!((new, known), (false, Some(from)));
                    }
                    Some((at, _)) if now.since(at) >= 2 * LIFE + Duration::from_secs(24) => prop_assert!(new),
                    Some((_, from)) if !new => prop_assert_eq!(routes.get(key), Some(from)),
                    None => prop_assert!(new),
                    _ => {}
                }
                if new {
                    model.insert(key, (now, number as u32));
                }
                prop_assert!(routes.live as usize <= MAX_ROUTES);
            }
        }
    }
}
