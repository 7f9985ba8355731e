//! Places in the id space.

use std::fmt;

use sha1::{Digest, Sha1};

use crate::wire::{Malformed, Reader, Wire, Writer};

/// A place in a circular id space of up to 160 bits: of a node, or of a key.
///
/// An id of m bits stands in the *top* m bits and the rest is zero. Then one
/// arithmetic, modulo 2^160, is right for every m: distances around the circle,
/// XOR distances, digits and common prefixes need not know m.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id {
    high: u64,
    middle: u64,
    low: u32,
}

impl Id {
    /// Bits of the largest space.
    pub const BITS: u32 = 160;
    /// The first place.
    pub const ZERO: Id = Id { high: 0, middle: 0, low: 0 };
    /// The last place.
    pub const MAX: Id = Id { high: u64::MAX, middle: u64::MAX, low: u32::MAX };

    /// SHA-1 of `bytes` (FIPS 180-4), as Chord and Kademlia make ids.
    pub fn hash(bytes: &[u8]) -> Id {
        Id::from_bytes(Sha1::digest(bytes).into())
    }

    /// The id written as 20 bytes, most significant first.
    pub fn from_bytes(bytes: [u8; 20]) -> Id {
        let word = |at: usize| bytes[at..at + 4].iter().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
        Id { high: word(0) << 32 | word(4), middle: word(8) << 32 | word(12), low: word(16) as u32 }
    }

    /// Its 20 bytes, most significant first.
    pub fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.high.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.middle.to_be_bytes());
        bytes[16..].copy_from_slice(&self.low.to_be_bytes());
        bytes
    }

    /// The id whose top 64 bits are `high` and whose rest is zero.
    pub const fn from_high(high: u64) -> Id {
        Id { high, middle: 0, low: 0 }
    }

    /// The id whose top 64 bits are `high`, the next 64 `middle`, the last 32 `low`.
    pub const fn from_parts(high: u64, middle: u64, low: u32) -> Id {
        Id { high, middle, low }
    }

    /// The top 64 bits.
    pub const fn high(self) -> u64 {
        self.high
    }

    /// Place number `number` of a space of `bits` (1 to 64) bits.
    pub const fn small(number: u64, bits: u32) -> Id {
        Id::from_high(if bits >= 64 { number } else { number << (64 - bits) })
    }

    /// The top `bits` (at most 64) bits as a number: what [`Id::small`] was given.
    pub const fn number(self, bits: u32) -> u64 {
        if bits == 0 { 0 } else { self.high >> (64 - if bits > 64 { 64 } else { bits }) }
    }

    /// 2^(160 - 1 - `place`): the distance that flips bit `place`, counted from the
    /// top. In a space of m bits the distance 2^i is `Id::bit(m - 1 - i)`. Zero past
    /// the last bit.
    pub const fn bit(place: u32) -> Id {
        match place {
            0..64 => Id::from_high(1 << (63 - place)),
            64..128 => Id { high: 0, middle: 1 << (127 - place), low: 0 },
            128..160 => Id { high: 0, middle: 0, low: 1 << (159 - place) },
            _ => Id::ZERO,
        }
    }

    /// The top `bits` bits, the rest zero.
    pub fn truncated(self, bits: u32) -> Id {
        let keep = |from: u32, width: u32| -> u64 {
            let kept = bits.saturating_sub(from).min(width);
            if kept == 0 { 0 } else { u64::MAX << (64 - kept) }
        };
        Id {
            high: self.high & keep(0, 64),
            middle: self.middle & keep(64, 64),
            low: self.low & (keep(128, 32) >> 32) as u32,
        }
    }

    /// `self` + `other` around the circle.
    pub fn plus(self, other: Id) -> Id {
        let (low, carry) = self.low.overflowing_add(other.low);
        let (middle, carry1) = self.middle.overflowing_add(other.middle);
        let (middle, carry2) = middle.overflowing_add(u64::from(carry));
        let high = self.high.wrapping_add(other.high).wrapping_add(u64::from(carry1 | carry2));
        Id { high, middle, low }
    }

    /// How far one must go clockwise from `other` to reach `self`.
    pub fn minus(self, other: Id) -> Id {
        let (low, borrow) = self.low.overflowing_sub(other.low);
        let (middle, borrow1) = self.middle.overflowing_sub(other.middle);
        let (middle, borrow2) = middle.overflowing_sub(u64::from(borrow));
        let high = self.high.wrapping_sub(other.high).wrapping_sub(u64::from(borrow1 | borrow2));
        Id { high, middle, low }
    }

    /// Kademlia's distance (Maymounkov and Mazières 2002, section 2.1).
    pub fn xor(self, other: Id) -> Id {
        Id { high: self.high ^ other.high, middle: self.middle ^ other.middle, low: self.low ^ other.low }
    }

    /// How many top bits `self` and `other` share, 0 to 160.
    pub fn common_prefix(self, other: Id) -> u32 {
        self.xor(other).leading_zeros()
    }

    /// Zero bits before the first one, 160 for [`Id::ZERO`].
    pub fn leading_zeros(self) -> u32 {
        if self.high != 0 {
            self.high.leading_zeros()
        } else if self.middle != 0 {
            64 + self.middle.leading_zeros()
        } else {
            128 + self.low.leading_zeros()
        }
    }

    /// Digit `index` (0 is the top one) where digits have `width` (1 to 16) bits, as
    /// in Pastry; zeros follow the last bit.
    pub fn digit(self, index: u32, width: u32) -> u32 {
        (0..width).fold(0, |digit, bit| digit << 1 | u32::from(self.has_bit(index * width + bit)))
    }

    /// Whether bit `place`, counted from the top, is set.
    pub fn has_bit(self, place: u32) -> bool {
        match place {
            0..64 => self.high >> (63 - place) & 1 == 1,
            64..128 => self.middle >> (127 - place) & 1 == 1,
            128..160 => self.low >> (159 - place) & 1 == 1,
            _ => false,
        }
    }

    /// Whether `self` lies in the open arc from `from` clockwise to `to`. The arc from
    /// a place to itself is the whole circle without that place (Chord, section IV).
    pub fn between(self, from: Id, to: Id) -> bool {
        let here = self.minus(from);
        here != Id::ZERO && (here < to.minus(from) || from == to)
    }

    /// Whether `self` lies in the arc from `from` (left out) clockwise to `to` (included).
    pub fn between_or_at(self, from: Id, to: Id) -> bool {
        self == to || self.between(from, to)
    }

    /// The shorter way around the circle between the two.
    pub fn ring_distance(self, other: Id) -> Id {
        self.minus(other).min(other.minus(self))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.high)?;
        if self.middle != 0 || self.low != 0 {
            write!(f, "{:016x}{:08x}", self.middle, self.low)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Wire for Id {
    fn encode(&self, out: &mut impl Writer) {
        out.put(&self.to_bytes());
    }

    fn decode(input: &mut Reader<'_>) -> Result<Id, Malformed> {
        Ok(Id::from_bytes(input.array()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_id() -> impl Strategy<Value = Id> {
        any::<[u8; 20]>().prop_map(Id::from_bytes)
    }

    proptest! {
        #[test]
        fn sums_and_differences_undo_each_other(a in any_id(), b in any_id()) {
            prop_assert_eq!(a.plus(b).minus(b), a);
            prop_assert_eq!(a.minus(b).plus(b), a);
            prop_assert_eq!(Id::from_bytes(a.to_bytes()), a);
        }

        #[test]
        fn the_order_is_that_of_the_bytes(a in any_id(), b in any_id()) {
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
        }

        #[test]
        fn an_arc_and_its_complement_cover_the_circle(a in any_id(), b in any_id(), x in any_id()) {
            prop_assume!(a != b && x != a && x != b);
            prop_assert!(x.between(a, b) != x.between(b, a));
        }

        #[test]
        fn digits_and_bits_spell_the_id(a in any_id(), width in prop::sample::select(vec![1u32, 2, 4, 5, 8])) {
            let digits = (0..160 / width).map(|i| a.digit(i, width));
            let spelt = digits.enumerate().fold(Id::ZERO, |sum, (i, digit)| {
                (0..width).filter(|bit| digit >> (width - 1 - bit) & 1 == 1)
                    .fold(sum, |sum, bit| sum.plus(Id::bit(i as u32 * width + bit)))
            });
            prop_assert_eq!(spelt, a);
        }

        #[test]
        fn a_common_prefix_is_what_truncation_keeps(a in any_id(), b in any_id()) {
            let shared = a.common_prefix(b);
            prop_assert_eq!(a.truncated(shared), b.truncated(shared));
            prop_assert!(shared == 160 || a.truncated(shared + 1) != b.truncated(shared + 1));
        }
    }

    #[test]
    fn carries_pass_all_words() {
        let one = Id::bit(159);
        assert_eq!(Id::MAX.plus(one), Id::ZERO);
        assert_eq!(Id::ZERO.minus(one), Id::MAX);
        assert_eq!(Id::from_high(1).minus(one).plus(one), Id::from_high(1));
    }

    #[test]
    fn small_spaces_wrap_as_large_ones() {
        let at = |number| Id::small(number, 4);
        assert_eq!(at(14).plus(Id::bit(4 - 1 - 2)), at(2)); // 14 + 2^2 = 2 (mod 16)
        assert!(at(15).between(at(14), at(1)) && at(0).between(at(14), at(1)));
        assert!(!at(2).between(at(14), at(1)) && !at(1).between(at(14), at(1)));
        assert!(at(5).between(at(3), at(3)) && !at(3).between(at(3), at(3)));
        assert_eq!(at(9).number(4), 9);
    }
}
