//! Who has what: postings kept for others, under keys.
//!
//! Soft state: a posting that is not renewed expires. All of it is bounded, per
//! provider, per key and in all, since strangers fill it. When it is full, a newcomer's
//! posting takes the place of one of whoever has most, or of a key, if that leaves all who
//! lose something no less than the newcomer then has: nobody locks others out, and where all
//! renew what they have, it settles but for rare circles that `room.rs` tells of. What it
//! deliberately lacks: any opinion on which node keeps which key.

mod room;

use std::collections::BTreeMap;

use starling_sansio::Time;

use crate::{Id, Record};
use room::Shares;

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
    full: Option<Box<Shares>>,
}

/// There is no room for another posting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl<P> Default for Postings<P> {
    fn default() -> Self {
        Postings { shelves: BTreeMap::new(), bytes: 0, full: None }
    }
}

impl<P: Copy + Eq> Postings<P> {
    /// Keeps `posting` under `key`, in place of what its provider said of the same
    /// record before: where that stood, so that who reads page by page misses nothing.
    ///
    /// # Errors
    /// [`Full`], and it is not kept.
    pub fn put(
        &mut self,
        key: Id,
        posting: Posting<P>,
        limits: &PostingLimits,
        household: impl Fn(P) -> u64,
    ) -> Result<(), Full> {
        let before = self.find(key, posting.provider, posting.record.key).map_or(0, cost);
        let mut lost = Vec::new();
        if let Err(full) = self.clear(key, &posting, before, limits, &household, &mut lost) {
            self.put_back(lost, household);
            return Err(full);
        }
        self.grew(household(posting.provider), cost(&posting), before);
        let shelf = self.shelves.entry(key).or_insert(Shelf { postings: Vec::new(), last_replica: None });
        let same =
            |one: &Posting<P>| (one.provider, one.record.key) == (posting.provider, posting.record.key);
        match shelf.postings.iter().position(same) {
            Some(at) => shelf.postings[at] = posting,
            None => shelf.postings.push(posting),
        }
        Ok(())
    }

    /// A household's postings are so many bytes more and less.
    fn grew(&mut self, whose: u64, more: usize, less: usize) {
        self.bytes = self.bytes + more - less;
        if let Some(full) = &mut self.full {
            full.grew(whose, more, less);
        }
    }

    /// The posting of `provider` for the record `what` under `key`.
    pub fn find(&self, key: Id, provider: P, what: Id) -> Option<&Posting<P>> {
        let mut postings = self.shelves.get(&key)?.postings.iter();
        postings.find(|one| one.provider == provider && one.record.key == what)
    }

    /// Forgets that `provider` has the record `what`; whether it was known.
    pub fn withdraw(&mut self, key: Id, provider: P, what: Id, household: impl Fn(P) -> u64) -> bool {
        let Some(freed) = self.find(key, provider, what).map(cost) else { return false };
        self.grew(household(provider), 0, freed);
        if let Some(shelf) = self.shelves.get_mut(&key) {
            shelf.postings.retain(|one| one.provider != provider || one.record.key != what);
            if shelf.postings.is_empty() {
                self.shelves.remove(&key);
            }
        }
        true
    }

    /// Forgets all under `key`.
    pub fn remove(&mut self, key: Id, household: impl Fn(P) -> u64) {
        for one in self.shelves.remove(&key).into_iter().flat_map(|shelf| shelf.postings) {
            self.grew(household(one.provider), 0, cost(&one));
        }
    }

    /// What is kept under `key` and has not expired.
    pub fn get(&self, key: Id, now: Time) -> impl Iterator<Item = &Posting<P>> + Clone {
        let postings = self.shelves.get(&key).map_or(&[][..], |shelf| &shelf.postings);
        postings.iter().filter(move |one| one.expires > now)
    }

    /// What is kept under `key`, expired or not, after `last`: all if that is not there.
    pub fn after(&self, key: Id, last: Option<(P, Id)>) -> &[Posting<P>] {
        let postings = self.shelves.get(&key).map_or(&[][..], |shelf| &shelf.postings);
        let at = postings.iter().position(|one| Some((one.provider, one.record.key)) == last);
        at.map_or(postings, |at| &postings[at + 1..])
    }

    /// Forgets what has expired.
    pub fn expire(&mut self, now: Time, household: impl Fn(P) -> u64) {
        let Postings { shelves, bytes, full } = self;
        let mut expired = |one: &Posting<P>| {
            *bytes -= cost(one);
            full.iter_mut().for_each(|full| full.grew(household(one.provider), 0, cost(one)));
        };
        shelves.retain(|_, shelf| {
            shelf.postings.extract_if(.., |one| one.expires <= now).for_each(|one| expired(&one));
            !shelf.postings.is_empty()
        });
        if shelves.is_empty() {
            *full = None;
        }
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
        let full = self.full.as_ref().map_or(0, |full| full.heap_bytes());
        let shelves = map_bytes::<Id, Shelf<P>>(self.shelves.len());
        self.bytes + spare * size_of::<Posting<P>>() + shelves + full
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
mod tests;
