//! Who has what: postings kept for others, under keys.
//!
//! Soft state: a posting that is not renewed expires. All of it is bounded, per
//! provider, per key and in all, since strangers fill it. What it deliberately lacks:
//! any opinion on which node keeps which key.

use std::collections::BTreeMap;

use starling_sansio::Time;

use crate::{Id, Record};

/// How much one node keeps for others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PostingLimits {
    /// Keys.
    pub keys: usize,
    /// Postings under one key.
    pub per_key: usize,
    /// Postings of one provider under one key: under a word's hash a provider may
    /// have several records.
    pub per_provider: usize,
    /// Bytes of the postings and of their names.
    pub bytes: usize,
}

impl Default for PostingLimits {
    fn default() -> Self {
        PostingLimits { keys: 16_384, per_key: 1_024, per_provider: 32, bytes: 8 << 20 }
    }
}

/// That a provider has a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Posting<P> {
    /// What it has.
    pub record: Record,
    /// Who has it.
    pub provider: P,
    /// When to forget it.
    pub expires: Time,
}

/// What is kept under one key.
#[derive(Clone, Debug)]
struct Shelf<P> {
    postings: Vec<Posting<P>>,
    last_replica: Option<P>,
}

/// Postings by key.
#[derive(Clone, Debug)]
pub struct Postings<P> {
    shelves: BTreeMap<Id, Shelf<P>>,
    bytes: usize,
}

/// There is no room for another posting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl<P> Default for Postings<P> {
    fn default() -> Self {
        Postings { shelves: BTreeMap::new(), bytes: 0 }
    }
}

impl<P: Copy + Eq> Postings<P> {
    /// Keeps `posting` under `key`, in place of what its provider said of the same
    /// record before: where that stood, so that who reads page by page misses nothing.
    ///
    /// # Errors
    /// [`Full`], and nothing is changed.
    pub fn put(&mut self, key: Id, posting: Posting<P>, limits: &PostingLimits) -> Result<(), Full> {
        let before = self.find(key, posting.provider, posting.record.key).map_or(0, cost);
        let grown = self.bytes + cost(&posting) - before;
        let room = match self.shelves.get(&key) {
            _ if grown > limits.bytes => false,
            _ if before > 0 => true,
            None => self.shelves.len() < limits.keys && limits.per_key.min(limits.per_provider) > 0,
            Some(shelf) => {
                let same = shelf.postings.iter().filter(|one| one.provider == posting.provider);
                shelf.postings.len() < limits.per_key && same.count() < limits.per_provider
            }
        };
        if !room {
            return Err(Full);
        }
        let shelf = self.shelves.entry(key).or_insert(Shelf { postings: Vec::new(), last_replica: None });
        let same =
            |one: &Posting<P>| (one.provider, one.record.key) == (posting.provider, posting.record.key);
        match shelf.postings.iter().position(same) {
            Some(at) => shelf.postings[at] = posting,
            None => shelf.postings.push(posting),
        }
        self.bytes = grown;
        Ok(())
    }

    /// The posting of `provider` for the record `what` under `key`.
    pub fn find(&self, key: Id, provider: P, what: Id) -> Option<&Posting<P>> {
        let mut postings = self.shelves.get(&key)?.postings.iter();
        postings.find(|one| one.provider == provider && one.record.key == what)
    }

    /// Forgets that `provider` has the record `what`; whether it was known.
    pub fn withdraw(&mut self, key: Id, provider: P, what: Id) -> bool {
        let Some(freed) = self.find(key, provider, what).map(cost) else { return false };
        self.bytes -= freed;
        if let Some(shelf) = self.shelves.get_mut(&key) {
            shelf.postings.retain(|one| one.provider != provider || one.record.key != what);
            if shelf.postings.is_empty() {
                self.shelves.remove(&key);
            }
        }
        true
    }

    /// Forgets all under `key`.
    pub fn remove(&mut self, key: Id) {
        let freed = self.shelves.remove(&key).map_or(0, |shelf| shelf.postings.iter().map(cost).sum());
        self.bytes -= freed;
    }

    /// What is kept under `key` and has not expired.
    pub fn get(&self, key: Id, now: Time) -> impl Iterator<Item = &Posting<P>> + Clone {
        let postings = self.shelves.get(&key).map_or(&[][..], |shelf| &shelf.postings);
        postings.iter().filter(move |one| one.expires > now)
    }

    /// Forgets what has expired.
    pub fn expire(&mut self, now: Time) {
        let mut freed = 0;
        self.shelves.retain(|_, shelf| {
            shelf.postings.retain(|one| {
                let keep = one.expires > now;
                freed += if keep { 0 } else { cost(one) };
                keep
            });
            !shelf.postings.is_empty()
        });
        self.bytes -= freed;
    }

    /// Notes who stands last in the replica set of a kept key; returns who stood there.
    pub fn note_last_replica(&mut self, key: Id, last: Option<P>) -> Option<P> {
        let shelf = self.shelves.get_mut(&key)?;
        std::mem::replace(&mut shelf.last_replica, last)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.shelves.len()
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = Id> {
        self.shelves.keys().copied()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.shelves.is_empty()
    }

    /// What the postings weigh: their structs and their names.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes on the heap, names included, that of the map estimated.
    pub fn heap_bytes(&self) -> usize {
        let spare = |shelf: &Shelf<P>| shelf.postings.capacity() - shelf.postings.len();
        let spare: usize = self.shelves.values().map(spare).sum();
        self.bytes + spare * size_of::<Posting<P>>() + map_bytes::<Id, Shelf<P>>(self.shelves.len())
    }
}

/// Bytes of a `BTreeMap` with that many entries: nodes of 11 places, two thirds full.
pub fn map_bytes<K, V>(len: usize) -> usize {
    let place = size_of::<K>() + size_of::<V>();
    if len == 0 { 0 } else { (len * 3 / 2).max(11) * place + 16 }
}

fn cost<P>(posting: &Posting<P>) -> usize {
    size_of::<Posting<P>>() + posting.record.name.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posting(what: u64, provider: u32, secs: u64) -> Posting<u32> {
        let record = Record { key: Id::from_high(what), name: "name".into(), size: 1 };
        Posting { record, provider, expires: Time::from_secs(secs) }
    }

    #[test]
    fn a_provider_replaces_what_it_said_and_only_withdraws_its_own() {
        let (key, limits) = (Id::ZERO, PostingLimits::default());
        let mut postings = Postings::default();
        postings.put(key, posting(1, 7, 10), &limits).unwrap();
        let one = postings.bytes();
        postings.put(key, posting(1, 7, 20), &limits).unwrap();
        assert_eq!((postings.get(key, Time::from_secs(15)).count(), postings.bytes()), (1, one));
        postings.put(key, posting(2, 7, 10), &limits).unwrap();
        postings.put(key, posting(1, 7, 20), &limits).unwrap();
        let order: Vec<Id> = postings.get(key, Time::ZERO).map(|one| one.record.key).collect();
        assert_eq!(order, [1, 2].map(Id::from_high), "a renewal keeps its place");
        assert!(postings.withdraw(key, 7, Id::from_high(2)));
        assert!(!postings.withdraw(key, 8, Id::from_high(1)));
        assert!(postings.withdraw(key, 7, Id::from_high(1)));
        assert_eq!((postings.is_empty(), postings.bytes()), (true, 0));
    }

    #[test]
    fn every_bound_holds() {
        let limits = PostingLimits { keys: 2, per_key: 3, per_provider: 2, bytes: usize::MAX };
        let mut postings = Postings::default();
        let key = Id::from_high;
        for what in 0..2 {
            postings.put(key(0), posting(what, 7, 10), &limits).unwrap();
        }
        assert_eq!(postings.put(key(0), posting(2, 7, 10), &limits), Err(Full));
        postings.put(key(0), posting(2, 8, 10), &limits).unwrap();
        assert_eq!(postings.put(key(0), posting(2, 9, 10), &limits), Err(Full));
        postings.put(key(1), posting(1, 7, 10), &limits).unwrap();
        assert_eq!(postings.put(key(2), posting(1, 7, 10), &limits), Err(Full));
        let limits = PostingLimits { bytes: postings.bytes(), ..limits };
        assert_eq!(postings.put(key(1), posting(2, 7, 10), &limits), Err(Full));
        postings.put(key(1), posting(1, 7, 11), &limits).unwrap();
    }

    #[test]
    fn what_expired_is_gone_and_frees_its_bytes() {
        let mut postings = Postings::default();
        for secs in 1..=3 {
            postings.put(Id::from_high(secs), posting(secs, 7, secs), &PostingLimits::default()).unwrap();
        }
        assert_eq!(postings.get(Id::from_high(2), Time::from_secs(2)).count(), 0);
        postings.expire(Time::from_secs(2));
        assert_eq!(postings.keys().collect::<Vec<_>>(), [Id::from_high(3)]);
        postings.remove(Id::from_high(3));
        assert_eq!(postings.bytes(), 0);
    }
}
