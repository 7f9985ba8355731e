//! The routing table: for every length of prefix shared with this node, and every
//! digit that may follow, one node.

use crate::{Id, prefetch};

/// Most bits in a digit.
pub const MAX_DIGIT_BITS: u32 = 8;

/// Row n has a place for each digit that can follow the first n digits of this node's
/// id; the place of its own next digit stays empty.
///
/// Only entries that are there are stored: a bit for each place, and the entries one
/// after another. At a million nodes five of the forty rows have any.
#[derive(Clone, Debug)]
pub struct Table<P> {
    map: Vec<u16>,
    entries: Vec<P>,
}

/// A place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Digits shared with this node.
    pub row: u32,
    /// The one after them.
    pub digit: u32,
}

impl Place {
    /// Where a node at `id` belongs in the table of a node at `me`, digits having
    /// `width` bits; `None` for this node itself.
    pub fn of(me: Id, id: Id, width: u32) -> Option<Place> {
        let row = me.common_prefix(id) / width;
        (me != id).then(|| Place { row, digit: id.digit(row, width) })
    }
}

impl<P> Default for Table<P> {
    fn default() -> Self {
        Table { map: Vec::new(), entries: Vec::new() }
    }
}

impl<P: Copy + Eq> Table<P> {
    /// Who stands at `place`.
    pub fn get(&self, place: Place, width: u32) -> Option<P> {
        let (word, bit) = slot(place, width);
        let map = *self.map.get(word)?;
        if map >> bit & 1 == 0 { None } else { self.entries.get(self.rank(word, bit)).copied() }
    }

    /// Puts `peer` at `place`; returns who stood there.
    pub fn set(&mut self, place: Place, peer: P, width: u32) -> Option<P> {
        let (word, bit) = slot(place, width);
        if self.map.len() <= word {
            let rows = (place.row as usize + 1) * words(width);
            self.map.reserve_exact(rows - self.map.len());
            self.map.resize(rows, 0);
        }
        let at = self.rank(word, bit);
        if self.map[word] >> bit & 1 == 1 {
            return Some(std::mem::replace(&mut self.entries[at], peer));
        }
        self.map[word] |= 1 << bit;
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(1 + self.entries.len() / 8);
        }
        self.entries.insert(at, peer);
        None
    }

    /// Empties `place` if `peer` stands there; whether it did.
    pub fn clear(&mut self, place: Place, peer: P, width: u32) -> bool {
        let there = self.get(place, width) == Some(peer);
        if there {
            let (word, bit) = slot(place, width);
            self.entries.remove(self.rank(word, bit));
            self.map[word] &= !(1 << bit);
            while self.map.last() == Some(&0) {
                self.map.pop();
            }
        }
        there
    }

    /// Everybody in row `row`, in the order of digits.
    pub fn row(&self, row: u32, width: u32) -> &[P] {
        let words = words(width);
        let from = (row as usize * words).min(self.map.len());
        let to = (from + words).min(self.map.len());
        let from = self.rank(from, 0);
        &self.entries[from..self.rank(to, 0)]
    }

    /// Rows up to the last that has an entry.
    pub fn rows(&self, width: u32) -> u32 {
        self.map.len().div_ceil(words(width)) as u32
    }

    /// Everybody, in the order of places.
    pub fn entries(&self) -> &[P] {
        &self.entries
    }

    /// Everybody with their places, in order.
    pub fn iter(&self, width: u32) -> impl Iterator<Item = (Place, P)> {
        let words = words(width);
        let places = self.map.iter().enumerate().flat_map(move |(word, &map)| {
            (0..16)
                .filter(move |bit| map >> bit & 1 == 1)
                .map(move |bit| Place { row: (word / words) as u32, digit: (word % words) as u32 * 16 + bit })
        });
        places.zip(self.entries.iter().copied())
    }

    /// Gives back what growing took too much.
    pub fn shrink(&mut self) {
        self.map.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    /// Asks for it; see [`crate::Core::warm`].
    pub fn warm(&self) {
        prefetch(&self.map[..]);
        prefetch(&self.entries[..]);
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.map.capacity() * size_of::<u16>() + self.entries.capacity() * size_of::<P>()
    }

    /// Entries before bit `bit` of word `word`.
    fn rank(&self, word: usize, bit: u32) -> usize {
        let before: u32 = self.map.iter().take(word).map(|map| map.count_ones()).sum();
        let here = self.map.get(word).map_or(0, |map| (map & ((1 << bit) - 1)).count_ones());
        (before + here) as usize
    }
}

/// Words of the map for each row.
fn words(width: u32) -> usize {
    (1usize << width).div_ceil(16)
}

fn slot(place: Place, width: u32) -> (usize, u32) {
    (place.row as usize * words(width) + place.digit as usize / 16, place.digit % 16)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The packed table does what a map from places would.
        #[test]
        fn it_is_a_map_of_places(
            width in 1u32..=8,
            steps in prop::collection::vec((any::<bool>(), 0u32..6, 0u32..256, 0u32..20), 0..200),
        ) {
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            for (set, row, digit, peer) in steps {
                let digit = digit % (1 << width);
                let place = Place { row, digit };
                if set {
                    prop_assert_eq!(table.set(place, peer, width), model.insert((row, digit), peer));
                } else {
                    let there = model.get(&(row, digit)) == Some(&peer);
                    if there {
                        model.remove(&(row, digit));
                    }
                    prop_assert_eq!(table.clear(place, peer, width), there);
                }
                prop_assert_eq!(table.get(place, width), model.get(&(row, digit)).copied());
            }
            let all: Vec<_> = table.iter(width).map(|(place, peer)| ((place.row, place.digit), peer)).collect();
            prop_assert_eq!(all, model.clone().into_iter().collect::<Vec<_>>());
            for row in 0..7 {
                let expected: Vec<u32> = model.range((row, 0)..(row + 1, 0)).map(|one| *one.1).collect();
                prop_assert_eq!(table.row(row, width), &expected[..]);
            }
            prop_assert_eq!(table.rows(width), model.keys().last().map_or(0, |last| last.0 + 1));
        }
    }

    #[test]
    fn a_node_stands_where_its_first_other_digit_says() {
        let at = |number| Id::small(number, 16);
        assert_eq!(Place::of(at(0x1234), at(0x1299), 4), Some(Place { row: 2, digit: 9 }));
        assert_eq!(Place::of(at(0x1234), at(0xf234), 4), Some(Place { row: 0, digit: 15 }));
        assert_eq!(Place::of(at(0x1234), at(0x1234), 4), None);
    }
}
