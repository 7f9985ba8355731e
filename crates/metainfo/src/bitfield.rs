/// A set of piece indices, in the order of the wire: the high bit of the first
/// byte is piece 0, spare bits at the end are zero (BEP 3).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bitfield {
    bytes: Vec<u8>,
    len: u32,
    count: u32,
}

impl Bitfield {
    /// An empty set over `len` pieces.
    pub fn new(len: u32) -> Bitfield {
        Bitfield { bytes: vec![0; Self::byte_len(len)], len, count: 0 }
    }

    /// The set of all `len` pieces.
    pub fn full(len: u32) -> Bitfield {
        let mut bytes = vec![0xff; Self::byte_len(len)];
        if let (Some(last), spare @ 1..) = (bytes.last_mut(), bytes_spare_bits(len)) {
            *last <<= spare;
        }
        Bitfield { bytes, len, count: len }
    }

    /// Reads the wire's form; `None` if the length is wrong or a spare bit is set.
    pub fn from_bytes(bytes: &[u8], len: u32) -> Option<Bitfield> {
        if bytes.len() != Self::byte_len(len) {
            return None;
        }
        let spare_mask = !(0xffu32 << bytes_spare_bits(len)) as u8;
        if bytes.last().is_some_and(|last| last & spare_mask != 0) {
            return None;
        }
        let count = bytes.iter().map(|b| b.count_ones()).sum();
        Some(Bitfield { bytes: bytes.to_vec(), len, count })
    }

    /// The wire's form, `len / 8` bytes rounded up.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many pieces the set is over.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether the set is over no pieces at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many pieces are in the set.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether every piece is in the set.
    pub fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Whether `piece` is in the set; false beyond its end.
    pub fn get(&self, piece: u32) -> bool {
        self.bytes.get(piece as usize / 8).is_some_and(|byte| byte & mask(piece) != 0)
    }

    /// Adds `piece`; true if it was not there. Beyond the end nothing changes.
    pub fn insert(&mut self, piece: u32) -> bool {
        if piece >= self.len || self.get(piece) {
            return false;
        }
        self.bytes[piece as usize / 8] |= mask(piece);
        self.count += 1;
        true
    }

    /// Takes `piece` out; true if it was there.
    pub fn remove(&mut self, piece: u32) -> bool {
        if !self.get(piece) {
            return false;
        }
        self.bytes[piece as usize / 8] &= !mask(piece);
        self.count -= 1;
        true
    }

    /// The pieces in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.bytes.iter().enumerate().flat_map(|(i, &byte)| {
            let mut rest = byte;
            std::iter::from_fn(move || {
                let bit = rest.leading_zeros();
                (bit < 8).then(|| {
                    rest &= !(0x80 >> bit);
                    i as u32 * 8 + bit
                })
            })
        })
    }

    /// The pieces not in the set, ascending.
    pub fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len).filter(|&piece| !self.get(piece))
    }

    fn byte_len(len: u32) -> usize {
        len.div_ceil(8) as usize
    }
}

fn mask(piece: u32) -> u8 {
    0x80 >> (piece % 8)
}

fn bytes_spare_bits(len: u32) -> u32 {
    len.wrapping_neg() % 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_iterates_at_every_length() {
        for len in 0..70 {
            let full = Bitfield::full(len);
            assert_eq!(full.iter().collect::<Vec<_>>(), (0..len).collect::<Vec<_>>());
            assert_eq!(Bitfield::from_bytes(full.as_bytes(), len), Some(full.clone()));
            let mut set = Bitfield::new(len);
            (0..len).step_by(3).for_each(|piece| assert!(set.insert(piece)));
            assert_eq!(set.iter().count() as u32, set.count());
            assert_eq!(set.missing().count() as u32, len - set.count());
            assert!(!set.insert(len));
        }
    }

    #[test]
    fn spare_bits_must_be_zero() {
        assert_eq!(Bitfield::from_bytes(&[0xff, 0x80], 9), Some(Bitfield::full(9)));
        assert_eq!(Bitfield::from_bytes(&[0xff, 0xc0], 9), None);
        assert_eq!(Bitfield::from_bytes(&[0xff], 9), None);
    }
}
