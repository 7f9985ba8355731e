//! How simulated peers are named, and where they stand.

use starling_overlay::Id;
use starling_overlay::wire::{Malformed, Reader, Wire, Writer};

/// Bits of a name that tell the host; the rest tell which of its lives.
const HOST_BITS: u32 = 24;

/// The largest number of hosts in a simulation.
pub const MAX_HOSTS: u32 = 1 << HOST_BITS;

/// A simulated peer: a host's number and which of its lives this is, modulo 256, in
/// four bytes. On the wire it counts as an IPv4 [`starling_overlay::Contact`] would.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Node(u32);

impl Node {
    /// Host `host` in its life number `life`.
    pub fn new(host: u32, life: u8) -> Node {
        Node((host % MAX_HOSTS) | (u32::from(life) << HOST_BITS))
    }

    /// The host.
    pub fn host(self) -> u32 {
        self.0 % MAX_HOSTS
    }

    /// Which of its lives.
    pub fn life(self) -> u8 {
        (self.0 >> HOST_BITS) as u8
    }
}

/// Bytes of an IPv4 contact: family, address, port, number of the virtual node.
const CONTACT_BYTES: usize = 8;

impl Wire for Node {
    #[inline]
    fn encode(&self, out: &mut impl Writer) {
        out.put(&self.0.to_be_bytes());
        out.skip(CONTACT_BYTES - 4);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Node, Malformed> {
        let name = u32::decode(input)?;
        input.take(CONTACT_BYTES - 4)?;
        Ok(Node(name))
    }
}

/// Where hosts stand in the id space.
#[derive(Clone, Debug)]
pub struct Places {
    bits: u32,
    spread: Spread,
    /// Hosts below this number stand close together at the key, if any.
    crowd: Option<(u32, Id)>,
    /// Whether there are 64 bits or more, and no crowd.
    plain: bool,
}

/// How ids are dealt out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spread {
    /// As a hash would: any bits, from a seed.
    Random(u64),
    /// As in the classroom: node n of that many stands n shares from the beginning.
    Even(u32),
}

impl Places {
    /// Places in a space of `bits` (1 to 160) bits.
    pub fn new(bits: u32, spread: Spread) -> Places {
        Places { bits: bits.clamp(1, Id::BITS), spread, crowd: None, plain: bits >= 64 }
    }

    /// Puts hosts below `count` around `key`, closer than chance would put any other
    /// among a million: the attack on one key (S/Kademlia, section 3).
    pub fn crowded(mut self, count: u32, key: Id) -> Places {
        self.crowd = Some((count, key));
        self.plain = false;
        self
    }

    /// Bits of the space.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Where a peer stands. No two peers of a space of 32 bits and more stand at the
    /// same place; in smaller ones no two hosts do while there is room.
    #[inline]
    pub fn id(&self, node: Node) -> Id {
        // What nearly every call needs, small enough to be part of the caller.
        match self.spread {
            Spread::Random(seed) if self.plain => {
                let high = mix(u64::from(node.0) ^ seed);
                if self.bits == 64 { Id::from_high(high) } else { self.long(high) }
            }
            _ => self.rare(node),
        }
    }

    /// Places of crowds, classrooms and small spaces.
    #[cold]
    fn rare(&self, node: Node) -> Id {
        if let Some((count, key)) = self.crowd
            && node.host() < count
        {
            return self.around(key, node);
        }
        match self.spread {
            Spread::Random(seed) if self.bits >= 64 => self.long(mix(u64::from(node.0) ^ seed)),
            Spread::Random(seed) => Id::small(permuted(u64::from(node.0), seed, self.bits), self.bits),
            Spread::Even(count) => self.even(node.host(), count),
        }
    }

    /// An id that begins with `high`, of as many bits as the space has.
    fn long(&self, high: u64) -> Id {
        let low = (mix(high ^ 2) >> 32) as u32;
        Id::from_parts(high, mix(high ^ 1), low).truncated(self.bits)
    }

    /// A place that shares the first 40 bits of `key`.
    fn around(&self, key: Id, node: Node) -> Id {
        let shared = 40.min(self.bits.saturating_sub(24));
        let rest = mix(u64::from(node.0)) >> shared;
        Id::from_high(key.truncated(shared).high() | rest).truncated(self.bits)
    }

    fn even(&self, host: u32, count: u32) -> Id {
        let share = (1u128 << self.bits.min(64)) / u128::from(count.max(1));
        Id::small((u128::from(host) * share) as u64, self.bits.min(64))
    }
}

/// A bijection that leaves no visible pattern (the finalizer of SplitMix64).
#[inline]
pub(crate) fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A bijection of the numbers of `bits` bits: odd factors and shifts modulo 2^bits.
fn permuted(x: u64, seed: u64, bits: u32) -> u64 {
    let mask = (1u64 << bits) - 1;
    let half = (bits / 2).max(1);
    (0..4).fold(x & mask, |x, round| {
        let key = mix(seed.wrapping_add(round));
        let x = x.wrapping_mul(key | 1).wrapping_add(key >> 7) & mask;
        x ^ (x >> half)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_hosts_stand_at_one_place() {
        for (bits, hosts) in [
            (4u32, 16u32),
            (10, 1_000),
            (17, 100_000),
            (32, 400_000),
            (40, 100_000),
            (64, 100_000),
            (160, 10_000),
        ] {
            for spread in [Spread::Random(7), Spread::Even(hosts)] {
                let places = Places::new(bits, spread);
                let ids: BTreeSet<Id> = (0..hosts).map(|host| places.id(Node::new(host, 0))).collect();
                assert_eq!(ids.len(), hosts as usize, "{bits} bits, {spread:?}");
                assert!(ids.iter().all(|id| id.truncated(bits) == *id));
            }
        }
    }

    #[test]
    fn chance_fills_the_space_evenly() {
        for bits in [12, 64, 160] {
            let places = Places::new(bits, Spread::Random(1));
            let low = (0..4_000).filter(|&host| !places.id(Node::new(host, 0)).has_bit(0)).count();
            assert!((1_800..2_200).contains(&low), "{bits} bits: {low} of 4000 in the lower half");
        }
    }

    #[test]
    fn the_classroom_stands_in_line_and_a_crowd_around_its_key() {
        let places = Places::new(4, Spread::Even(16));
        assert!((0..16).all(|host| places.id(Node::new(host, 0)).number(4) == u64::from(host)));
        let key = Id::hash(b"wanted");
        let crowd = Places::new(160, Spread::Random(1)).crowded(50, key);
        assert!((0..50).all(|host| crowd.id(Node::new(host, 0)).common_prefix(key) >= 40));
        assert!(crowd.id(Node::new(50, 0)).common_prefix(key) < 40);
    }

    #[test]
    fn a_name_tells_host_and_life_and_weighs_as_an_address() {
        let node = Node::new(123_456, 7);
        assert_eq!((node.host(), node.life()), (123_456, 7));
        assert_eq!(Node::from_wire(&node.to_wire()), Ok(node));
        let contact = starling_overlay::Contact::new("10.0.0.1:1".parse().unwrap(), 0);
        assert_eq!(node.wire_len(), contact.wire_len());
    }
}
