//! Something about each of many addresses, in bounded memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A map by address. It holds twice `MAX` values at most; those that were not put for the
/// longest go first, many at once.
pub(super) struct Recent<V, const MAX: usize> {
    /// Put since the last turn of generations, and before.
    young: BTreeMap<SocketAddr, V>,
    old: BTreeMap<SocketAddr, V>,
}

impl<V, const MAX: usize> Default for Recent<V, MAX> {
    fn default() -> Self {
        Recent { young: BTreeMap::new(), old: BTreeMap::new() }
    }
}

impl<V, const MAX: usize> Recent<V, MAX> {
    pub fn get(&self, addr: SocketAddr) -> Option<&V> {
        self.young.get(&addr).or_else(|| self.old.get(&addr))
    }

    /// Puts a value in the place of the one that is there.
    pub fn put(&mut self, addr: SocketAddr, value: V) {
        if self.young.len() >= MAX && !self.young.contains_key(&addr) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&addr);
        self.young.insert(addr, value);
    }

    pub fn take(&mut self, addr: SocketAddr) -> Option<V> {
        self.young.remove(&addr).or_else(|| self.old.remove(&addr))
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_put_last_stays_and_the_bound_holds() {
        let mut recent = Recent::<u16, 4>::default();
        let addr = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
        for port in 1..100 {
            recent.put(addr(port), port);
            recent.put(addr(0), port);
            assert!(recent.len() <= 8, "{}", recent.len());
            assert_eq!((recent.get(addr(0)), recent.get(addr(port))), (Some(&port), Some(&port)));
        }
        assert_eq!(recent.get(addr(1)), None);
        assert_eq!((recent.take(addr(0)), recent.take(addr(0))), (Some(99), None));
    }
}
