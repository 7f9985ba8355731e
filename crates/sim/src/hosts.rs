//! Which node runs on which host.

/// Hosts, and how many nodes run on each (Chord's virtual nodes). A node's number tells
/// its host: the first nodes of all hosts have the hosts' own numbers, then come all
/// second nodes, and so on, in steps of `stride`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hosts {
    count: u32,
    each: u32,
}

impl Hosts {
    /// `count` hosts with `each` (at least 1) nodes each.
    pub fn new(count: u32, each: u32) -> Hosts {
        Hosts { count, each: each.max(1) }
    }

    /// How many hosts there are.
    pub fn count(self) -> u32 {
        self.count
    }

    /// How many nodes there are.
    pub fn total(self) -> u32 {
        self.count.saturating_mul(self.each)
    }

    /// Nodes have numbers below this one; not every number is used.
    pub fn numbers(self) -> u32 {
        if self.each == 1 { self.count } else { self.stride().saturating_mul(self.each) }
    }

    /// The host of node number `node`.
    #[inline]
    pub fn of(self, node: u32) -> u32 {
        if self.each == 1 { node } else { node % self.stride() }
    }

    /// The numbers of the nodes on `host`.
    pub fn nodes(self, host: u32) -> impl Iterator<Item = u32> {
        (0..self.each).map(move |n| host + n * self.stride())
    }

    /// Even, so that all nodes of a host are in the same one of the world's two parts.
    fn stride(self) -> u32 {
        self.count.next_multiple_of(2)
    }
}

impl From<u32> for Hosts {
    fn from(count: u32) -> Hosts {
        Hosts::new(count, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_s_number_tells_its_host_and_its_part() {
        for (count, each) in [(1, 1), (7, 1), (7, 3), (10, 20)] {
            let hosts = Hosts::new(count, each);
            let mut seen = Vec::new();
            for host in 0..count {
                for node in hosts.nodes(host) {
                    assert_eq!((hosts.of(node), node % 2), (host, host % 2));
                    assert!(node < hosts.numbers());
                    seen.push(node);
                }
            }
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), hosts.total() as usize);
        }
    }
}
