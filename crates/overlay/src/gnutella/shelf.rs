//! What this node has itself.

use super::message::{MAX_RECORDS_A_HIT, What};
use crate::{Id, Record};

/// Records a node may publish.
pub const MAX_SHELF: usize = 4096;

/// The node's own records, in the order of their keys.
#[derive(Debug)]
pub struct Shelf {
    /// A record with the signature of its words.
    records: Vec<(Record, u64)>,
}

impl Shelf {
    /// An empty one.
    pub fn new() -> Shelf {
        Shelf { records: Vec::new() }
    }

    /// Puts a record there, in place of one with that key; `false` if there are too many.
    pub fn put(&mut self, record: Record) -> bool {
        let words = record.words().iter().fold(0, |sum, word| sum | signature(word));
        match self.records.binary_search_by_key(&record.key, |entry| entry.0.key) {
            Ok(at) => self.records[at] = (record, words),
            Err(_) if self.records.len() >= MAX_SHELF => return false,
            Err(at) => self.records.insert(at, (record, words)),
        }
        true
    }

    /// Takes the record with that key away.
    pub fn take(&mut self, key: Id) {
        self.records.retain(|entry| entry.0.key != key);
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = Id> {
        self.records.iter().map(|entry| entry.0.key)
    }

    /// The first few records that match.
    ///
    /// A search looks at a record's words only if its signature has all the bits of the
    /// search's, so that most records cost one comparison and no memory.
    pub fn find(&self, what: &What) -> Vec<Record> {
        match what {
            What::Key(key) => {
                let at = self.records.binary_search_by_key(key, |entry| entry.0.key);
                at.map_or(Vec::new(), |at| vec![self.records[at].0.clone()])
            }
            What::Words(query) => {
                let whole = query.text.split(' ').filter(|word| !word.ends_with('*'));
                let bits = whole.fold(0, |sum, word| sum | signature(word));
                let likely = self.records.iter().filter(|entry| entry.1 & bits == bits);
                let found = likely.map(|entry| &entry.0).filter(|record| query.matches(record));
                found.take(MAX_RECORDS_A_HIT).cloned().collect()
            }
        }
    }

    /// Bytes on the heap; a name counts for each of its owners.
    pub fn heap_bytes(&self) -> usize {
        let names: usize = self.records.iter().map(|entry| entry.0.name.len() + 16).sum();
        self.records.capacity() * size_of::<(Record, u64)>() + names
    }
}

/// One bit of 64 for a word (FNV-1a's hash); none for an empty one.
fn signature(word: &str) -> u64 {
    if word.is_empty() {
        return 0;
    }
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    1 << (word.bytes().fold(0xcbf2_9ce4_8422_2325, fnv) >> 58)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Query;

    #[test]
    fn signatures_hide_nothing() {
        let mut shelf = Shelf::new();
        for number in 0..200u64 {
            let name = format!("Track {number} - Murmuration of {}", number % 7).into();
            assert!(shelf.put(Record { key: Id::small(number, 64), name, size: number }));
        }
        let find = |text: &str| shelf.find(&What::Words(Query { text: text.into(), wanted: 1 })).len();
        assert_eq!(find("murmuration 42"), 1);
        assert_eq!(find("murm* 42"), 1);
        assert_eq!(find("murmuration"), MAX_RECORDS_A_HIT);
        assert_eq!(find("murmuration 400"), 0);
        assert_eq!(find(""), 0);
        assert_eq!(shelf.find(&What::Key(Id::small(7, 64))).len(), 1);
    }
}
