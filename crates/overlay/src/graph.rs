//! Random graphs that each node can build its own part of.
//!
//! The union of random Hamiltonian cycles (Law and Siu, INFOCOM 2003) is close to a
//! random regular graph, and a good expander. Each cycle visits the nodes in the
//! order of a seeded permutation, which a small Feistel network with cycle walking
//! (Black and Rogaway 2002) computes both ways, so that a node finds its neighbours
//! in O(degree) and both ends of a link agree without a word. What it is not: exactly
//! uniform over regular graphs, nor exactly regular, since two cycles may share a link.

/// A random graph over the nodes `0..count`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Graph {
    count: u64,
    seed: u64,
}

/// The number of the matching that gives nodes of odd degree their last link.
const MATCHING: u64 = u64::MAX;

impl Graph {
    /// The graph that `seed` names.
    pub fn new(count: usize, seed: u64) -> Graph {
        Graph { count: count as u64, seed }
    }

    /// The neighbours of `node`, ascending: at most `degree_of(node)`, fewer where
    /// links coincide or the other end's degree is smaller.
    pub fn neighbours(&self, node: usize, degree_of: impl Fn(usize) -> u16) -> Vec<usize> {
        let degree = degree_of(node);
        let mut found = Vec::with_capacity(usize::from(degree));
        for cycle in 0..degree / 2 {
            let place = self.place(u64::from(cycle), node as u64);
            for step in [1, self.count - 1] {
                let other = self.node_at(u64::from(cycle), (place + step) % self.count);
                if degree_of(other as usize) / 2 > cycle {
                    found.push(other as usize);
                }
            }
        }
        let pair = self.place(MATCHING, node as u64) ^ 1;
        if degree % 2 == 1 && pair < self.count {
            let other = self.node_at(MATCHING, pair) as usize;
            if degree_of(other) % 2 == 1 {
                found.push(other);
            }
        }
        found.sort_unstable();
        found.dedup();
        found.retain(|&other| other != node);
        found
    }

    /// Where `node` stands in the order of cycle `cycle`.
    fn place(&self, cycle: u64, node: u64) -> u64 {
        self.walk(node, |half, at| {
            (0..ROUNDS).fold(at, |(left, right), round| (right, left ^ self.round(cycle, round, right, half)))
        })
    }

    /// Which node stands at `place` in the order of cycle `cycle`.
    fn node_at(&self, cycle: u64, place: u64) -> u64 {
        self.walk(place, |half, at| {
            let rounds = (0..ROUNDS).rev();
            rounds.fold(at, |(left, right), round| (right ^ self.round(cycle, round, left, half), left))
        })
    }

    /// Applies a permutation of 2 · `half` bits until it lands below `count`.
    fn walk(&self, from: u64, permute: impl Fn(u32, (u64, u64)) -> (u64, u64)) -> u64 {
        let half = (u64::BITS - self.count.leading_zeros()).div_ceil(2);
        let mut at = from;
        loop {
            let (left, right) = permute(half, (at >> half, at & ((1 << half) - 1)));
            at = left << half | right;
            if at < self.count {
                return at;
            }
        }
    }

    fn round(&self, cycle: u64, round: u64, value: u64, half: u32) -> u64 {
        let key = mix(self.seed ^ mix(cycle.wrapping_mul(ROUNDS).wrapping_add(round)));
        mix(key ^ value) & ((1 << half) - 1)
    }
}

/// Rounds that make a Feistel network of random functions look random (Luby and Rackoff).
const ROUNDS: u64 = 4;

/// SplitMix64's finish: every bit of `x` moves every bit of the result.
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_know_of_a_link() {
        for (count, seed) in [(1, 1), (2, 2), (3, 3), (10, 4), (257, 5)] {
            let graph = Graph::new(count, seed);
            let degree_of = |node: usize| 3 + (mix(node as u64) % 6) as u16;
            let all: Vec<_> = (0..count).map(|node| graph.neighbours(node, degree_of)).collect();
            for (node, others) in all.iter().enumerate() {
                assert!(others.len() <= usize::from(degree_of(node)));
                assert!(others.iter().all(|&other| other != node && all[other].contains(&node)));
            }
        }
    }

    #[test]
    fn it_is_nearly_regular_and_connected() {
        let graph = Graph::new(1000, 7);
        let all: Vec<_> = (0..1000).map(|node| graph.neighbours(node, |_| 5)).collect();
        let links: usize = all.iter().map(Vec::len).sum();
        assert!((4950..=5000).contains(&links), "{links}");
        let mut reached = vec![false; 1000];
        let mut next = vec![0];
        while let Some(node) = next.pop() {
            if !std::mem::replace(&mut reached[node], true) {
                next.extend(&all[node]);
            }
        }
        assert!(reached.iter().all(|&reached| reached));
        assert_ne!(all, (0..1000).map(|n| Graph::new(1000, 8).neighbours(n, |_| 5)).collect::<Vec<_>>());
    }
}
