use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

use super::chunk::ChunkPool;
use crate::Limits;

/// What all connections of the network thread share.
pub(crate) struct Hub {
    pub(crate) limits: Limits,
    pub(crate) chunks: ChunkPool,
    /// Where writes are put together; taken out while one is.
    pub(crate) scratch: RefCell<Vec<u8>>,
    pub(crate) all: Count,
    pub(crate) half_open: Count,
}

impl Hub {
    pub(crate) fn new(limits: Limits) -> Rc<Hub> {
        Rc::new(Hub {
            limits,
            chunks: ChunkPool::default(),
            scratch: RefCell::default(),
            all: Count::default(),
            half_open: Count::default(),
        })
    }
}

/// Connections, in all and by address.
#[derive(Clone, Default)]
pub(crate) struct Count(Rc<Counts>);

#[derive(Default)]
struct Counts {
    all: Cell<usize>,
    by_ip: RefCell<BTreeMap<IpAddr, usize>>,
}

impl Count {
    pub(crate) fn get(&self) -> usize {
        self.0.all.get()
    }

    /// Whether one more with `ip` is within the limits.
    pub(crate) fn has_room(&self, ip: IpAddr, max: usize, per_ip_max: usize) -> bool {
        let same = self.0.by_ip.borrow().get(&neighbourhood(ip)).copied().unwrap_or(0);
        self.get() < max && same < per_ip_max
    }

    /// Counts one more, until the guard is dropped.
    pub(crate) fn enter(&self, ip: IpAddr) -> Counted {
        let ip = neighbourhood(ip);
        self.0.all.set(self.0.all.get() + 1);
        *self.0.by_ip.borrow_mut().entry(ip).or_default() += 1;
        Counted(self.clone(), ip)
    }
}

/// One connection in a [`Count`].
pub(crate) struct Counted(Count, IpAddr);

impl Drop for Counted {
    fn drop(&mut self) {
        let counts = &self.0.0;
        counts.all.set(counts.all.get() - 1);
        let mut by_ip = counts.by_ip.borrow_mut();
        if let Some(same) = by_ip.get_mut(&self.1) {
            *same -= 1;
            if *same == 0 {
                by_ip.remove(&self.1);
            }
        }
    }
}

/// What one stranger can have many of: a /64 in IPv6 is one subscriber.
fn neighbourhood(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_64_is_one_neighbour_and_guards_count_down() {
        let count = Count::default();
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        let one = count.enter(ip("2001:db8::1"));
        assert!(!count.has_room(ip("2001:db8::2"), 9, 1));
        assert!(count.has_room(ip("2001:db8:0:1::2"), 9, 1));
        assert!(!count.has_room(ip("10.0.0.1"), 1, 1));
        drop(one);
        assert!(count.has_room(ip("2001:db8::2"), 1, 1));
        assert!(count.0.by_ip.borrow().is_empty());
    }
}
