//! What the leaves of a super-peer have: an index by key and by word.
//!
//! Words stand in order, so that those with a prefix are one run. Of a word only its
//! first eight bytes are kept, as a number; the record itself decides. 16 bytes a word
//! and no copy of it.

use std::collections::BTreeSet;

use crate::gnutella::What;
use crate::{Hit, Id, Record};

/// Entries looked at in one search, so that a common word costs no more than that.
pub const MAX_SCAN: usize = 4096;

/// Records and their owners. Whoever fills it bounds it: records a leaf, leaves a
/// super-peer.
#[derive(Debug)]
pub(super) struct Index<P> {
    entries: Vec<Option<Hit<P>>>,
    free: Vec<u32>,
    /// The first 64 bits of a key, and the place of its record.
    keys: BTreeSet<(u64, u32)>,
    /// The first eight bytes of a word, and the place of its record.
    words: BTreeSet<(u64, u32)>,
}

impl<P: Copy + Eq> Index<P> {
    /// An empty one.
    pub fn new() -> Self {
        Index { entries: Vec::new(), free: Vec::new(), keys: BTreeSet::new(), words: BTreeSet::new() }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Puts a record there; its place, to be removed by.
    pub fn insert(&mut self, record: Record, provider: P) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        self.keys.insert((record.key.high(), place));
        self.words.extend(record.words().iter().map(|word| (start(word), place)));
        self.entries[place as usize] = Some(Hit { record, provider });
        place
    }

    /// Takes out the record at `place`.
    pub fn remove(&mut self, place: u32) {
        let Some(hit) = self.entries.get_mut(place as usize).and_then(Option::take) else { return };
        self.keys.remove(&(hit.record.key.high(), place));
        for word in hit.record.words() {
            self.words.remove(&(start(&word), place));
        }
        self.free.push(place);
    }

    /// Bytes of the name of the record at `place`.
    pub fn name_bytes(&self, place: u32) -> usize {
        self.entries.get(place as usize).and_then(Option::as_ref).map_or(0, |hit| hit.record.name.len())
    }

    /// The key of the record at `place`.
    pub fn key(&self, place: u32) -> Option<Id> {
        self.entries.get(place as usize)?.as_ref().map(|hit| hit.record.key)
    }

    /// At most `limit` records that match, but not those of `except`.
    pub fn find(&self, what: &What, limit: usize, except: P) -> Vec<Hit<P>> {
        let range = match what {
            What::Key(key) => self.keys.range((key.high(), 0)..=(key.high(), u32::MAX)),
            What::Words(query) => {
                // The longest word is likely to be the rarest.
                let words = query.words();
                let longest = words.iter().max_by_key(|word| word.len());
                let Some(longest) = longest else { return Vec::new() };
                let low = start(longest.trim_end_matches('*'));
                let open = if longest.ends_with('*') { longest.len() - 1 } else { 8 };
                let high = low | u64::MAX.checked_shr(8 * open.min(8) as u32).unwrap_or(0);
                self.words.range((low, 0)..=(high, u32::MAX))
            }
        };
        let mut found: Vec<Hit<P>> = Vec::new();
        for &(_, place) in range.take(MAX_SCAN) {
            let Some(hit) = &self.entries[place as usize] else { continue };
            // Two words of one name may begin alike.
            if hit.provider != except && what.matches(&hit.record) && !found.contains(hit) {
                found.push(hit.clone());
                if found.len() >= limit {
                    break;
                }
            }
        }
        found
    }

    /// Bytes on the heap: trees counted as three quarters full.
    pub fn heap_bytes(&self) -> usize {
        let names: usize = self.entries.iter().flatten().map(|hit| hit.record.name.len() + 16).sum();
        self.entries.capacity() * size_of::<Option<Hit<P>>>()
            + self.free.capacity() * 4
            + (self.keys.len() + self.words.len()) * 16 * 4 / 3
            + names
    }
}

/// The first eight bytes of a word, in the order of words; zeros follow a short one.
fn start(word: &str) -> u64 {
    word.bytes().take(8).enumerate().fold(0, |sum, (at, byte)| sum | u64::from(byte) << (56 - 8 * at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Query;

    fn record(name: &str) -> Record {
        Record { key: Id::hash(name.as_bytes()), name: name.into(), size: 1 }
    }

    proptest! {
        /// The index finds what a look at every record finds.
        #[test]
        fn it_finds_all_and_only_what_matches(
            names in prop::collection::vec("[ab]{1,10} [a-c]{0,3}", 0..30), text in "[ab]{0,9}[*]? ?[abc]{0,2}",
            gone in prop::collection::vec(0..30u32, 0..10),
        ) {
            let mut index = Index::new();
            let mut left: Vec<(u32, Hit<u32>)> = Vec::new();
            for (owner, name) in names.iter().enumerate() {
                let place = index.insert(record(name), owner as u32);
                left.push((place, Hit { record: record(name), provider: owner as u32 }));
            }
            for place in gone {
                index.remove(place);
                left.retain(|entry| entry.0 != place);
            }
            let what = What::Words(Query { text: text.as_str().into(), wanted: 1 });
            let mut found = index.find(&what, 1000, u32::MAX);
            found.sort_unstable_by_key(|hit| hit.provider);
            let expected: Vec<_> =
                left.iter().filter(|entry| what.matches(&entry.1.record)).map(|entry| entry.1.clone()).collect();
            prop_assert_eq!(found, expected);
            for (place, hit) in &left {
                let found = index.find(&What::Key(hit.record.key), 1000, u32::MAX);
                prop_assert!(found.contains(hit) && found.iter().all(|one| one.record.key == hit.record.key));
                index.remove(*place);
            }
            prop_assert!(index.keys.is_empty() && index.words.is_empty());
        }
    }
}
