//! Who has what: postings kept for others, under keys.
//!
//! Soft state: a posting that is not renewed expires. All of it is bounded, per
//! provider, per key and in all, since strangers fill it. When it is full, a newcomer's
//! posting takes the place of one of whoever has most, if that still leaves that one no
//! less, or of a key that only such have who have more: nobody locks others out. A key
//! that goes may leave them less than the newcomer has, so that where keys are what is full,
//! some change places at each renewal. What it deliberately lacks: any opinion on which
//! node keeps which key.

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
    full: Option<Box<Shares>>,
}

/// What a full store knows beside, of households; see [`crate::Host::household`].
#[derive(Clone, Debug)]
struct Shares {
    /// How many bytes of postings each has.
    bytes: BTreeMap<u64, usize>,
    /// Where to look next for something to give up.
    cursor: Id,
}

/// Keys that are looked at for something to give up, for one posting.
const SCAN: usize = 1024;

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
        let grows = cost(&posting).saturating_sub(before);
        let whose = household(posting.provider);
        let room = match self.shelves.get(&key) {
            _ if before > 0 => true,
            None => limits.keys.min(limits.per_key).min(limits.per_provider) > 0,
            Some(shelf) => {
                let same = shelf.postings.iter().filter(|one| one.provider == posting.provider);
                same.count() < limits.per_provider
                    && (shelf.postings.len() < limits.per_key || self.make_place(key, whose, &household))
            }
        };
        if !room {
            return Err(Full);
        }
        loop {
            let whole = self.shelves.len() >= limits.keys && !self.shelves.contains_key(&key);
            if !whole && self.bytes + grows <= limits.bytes {
                break;
            }
            self.make_room(whose, grows, whole, &household)?;
        }
        self.grew(whose, cost(&posting), before);
        let shelf = self.shelves.entry(key).or_insert(Shelf { postings: Vec::new(), last_replica: None });
        let same =
            |one: &Posting<P>| (one.provider, one.record.key) == (posting.provider, posting.record.key);
        match shelf.postings.iter().position(same) {
            Some(at) => shelf.postings[at] = posting,
            None => shelf.postings.push(posting),
        }
        Ok(())
    }

    /// Gives up the latest posting under a key of whoever has most there, if `whose` would
    /// have less with one more. Whether there was one.
    fn make_place(&mut self, key: Id, whose: u64, household: impl Fn(P) -> u64) -> bool {
        let Some(shelf) = self.shelves.get_mut(&key) else { return false };
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for one in &shelf.postings {
            *counts.entry(household(one.provider)).or_default() += 1;
        }
        let mine = counts.get(&whose).copied().unwrap_or(0);
        let most = counts.iter().max_by_key(|count| count.1).filter(|most| *most.1 > mine + 1);
        let theirs = |most: u64| shelf.postings.iter().rposition(|one| household(one.provider) == most);
        let Some((house, at)) = most.and_then(|most| Some((*most.0, theirs(*most.0)?))) else { return false };
        let freed = cost(&shelf.postings.remove(at));
        self.grew(house, 0, freed);
        true
    }

    /// Gives up a posting of whoever has most, or a `whole` key: one of its own, else the
    /// one with fewest postings of those that only such have who have more than `whose` would.
    /// Nothing if nobody has.
    fn make_room(
        &mut self,
        whose: u64,
        grows: usize,
        whole: bool,
        household: impl Fn(P) -> u64,
    ) -> Result<(), Full> {
        let mut full = self.full.take().unwrap_or_else(|| Box::new(self.shares(&household)));
        let most = full.bytes.iter().max_by_key(|share| share.1).map_or((0, 0), |share| (*share.0, *share.1));
        let would_have = full.bytes.get(&whose).copied().unwrap_or(0) + grows;
        let given_up = (most.1 > would_have).then(|| {
            let theirs = |one: &Posting<P>| household(one.provider) == most.0;
            let richer = |one: &Posting<P>| full.bytes.get(&household(one.provider)) > Some(&would_have);
            let fits = |shelf: &Shelf<P>| match whole {
                true => shelf.postings.iter().all(theirs),
                false => shelf.postings.iter().any(theirs),
            };
            let (after, before) = (self.shelves.range(full.cursor..), self.shelves.range(..full.cursor));
            let from = after.chain(before).take(SCAN);
            let mut seen = full.cursor;
            let own = from.clone().inspect(|one| seen = *one.0).find(|one| fits(one.1));
            let shared = || {
                let given = from.filter(|one| whole && one.1.postings.iter().all(richer));
                given.min_by_key(|one| one.1.postings.len())
            };
            let found = own.or_else(shared).map(|one| *one.0);
            full.cursor = seen;
            found
        });
        self.full = Some(full);
        let found = given_up.flatten().ok_or(Full)?;
        let shelf = self.shelves.get_mut(&found).ok_or(Full)?;
        let first = shelf.postings.iter().position(|one| household(one.provider) == most.0).unwrap_or(0);
        let gone =
            if whole { std::mem::take(&mut shelf.postings) } else { vec![shelf.postings.remove(first)] };
        if shelf.postings.is_empty() {
            self.shelves.remove(&found);
        }
        gone.iter().for_each(|one| self.grew(household(one.provider), 0, cost(one)));
        Ok(())
    }

    /// Counts the shares of all.
    fn shares(&self, household: impl Fn(P) -> u64) -> Shares {
        let mut bytes = BTreeMap::new();
        for one in self.shelves.values().flat_map(|shelf| &shelf.postings) {
            *bytes.entry(household(one.provider)).or_default() += cost(one);
        }
        Shares { bytes, cursor: Id::ZERO }
    }

    /// A household's postings are so many bytes more and less.
    fn grew(&mut self, whose: u64, more: usize, less: usize) {
        self.bytes = self.bytes + more - less;
        if let Some(full) = &mut self.full {
            let share = full.bytes.entry(whose).or_default();
            *share = *share + more - less;
            if *share == 0 {
                full.bytes.remove(&whose);
            }
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
        if freed > 0 {
            self.full = None; // shares are counted again when it is full again
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
        let full = self
            .full
            .as_ref()
            .map_or(0, |full| size_of::<Shares>() + map_bytes::<u64, usize>(full.bytes.len()));
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
mod tests {
    use super::*;

    fn posting(what: u64, provider: u32, secs: u64) -> Posting<u32> {
        let record = Record { key: Id::from_high(what), name: "name".into(), size: 1 };
        Posting { record, provider, expires: Time::from_secs(secs) }
    }

    /// Ten peers are of one household.
    fn house(peer: u32) -> u64 {
        u64::from(peer / 10)
    }

    #[test]
    fn a_provider_replaces_what_it_said_and_only_withdraws_its_own() {
        let (key, limits) = (Id::ZERO, PostingLimits::default());
        let mut postings = Postings::default();
        postings.put(key, posting(1, 7, 10), &limits, house).unwrap();
        let one = postings.bytes();
        postings.put(key, posting(1, 7, 20), &limits, house).unwrap();
        assert_eq!((postings.get(key, Time::from_secs(15)).count(), postings.bytes()), (1, one));
        postings.put(key, posting(2, 7, 10), &limits, house).unwrap();
        postings.put(key, posting(1, 7, 20), &limits, house).unwrap();
        let order: Vec<Id> = postings.get(key, Time::ZERO).map(|one| one.record.key).collect();
        assert_eq!(order, [1, 2].map(Id::from_high), "a renewal keeps its place");
        assert!(postings.withdraw(key, 7, Id::from_high(2), house));
        assert!(!postings.withdraw(key, 8, Id::from_high(1), house));
        assert!(postings.withdraw(key, 7, Id::from_high(1), house));
        assert_eq!((postings.is_empty(), postings.bytes()), (true, 0));
    }

    #[test]
    fn every_bound_holds() {
        let limits = PostingLimits { keys: 2, per_key: 3, per_provider: 2, bytes: usize::MAX };
        let mut postings = Postings::default();
        let key = Id::from_high;
        for what in 0..2 {
            postings.put(key(0), posting(what, 7, 10), &limits, house).unwrap();
        }
        assert_eq!(postings.put(key(0), posting(2, 7, 10), &limits, house), Err(Full));
        postings.put(key(0), posting(2, 8, 10), &limits, house).unwrap();
        assert_eq!(postings.put(key(0), posting(2, 9, 10), &limits, house), Err(Full));
        postings.put(key(1), posting(1, 7, 10), &limits, house).unwrap();
        assert_eq!(postings.put(key(2), posting(1, 7, 10), &limits, house), Err(Full));
        let limits = PostingLimits { bytes: postings.bytes(), ..limits };
        assert_eq!(postings.put(key(1), posting(2, 7, 10), &limits, house), Err(Full));
        postings.put(key(1), posting(1, 7, 11), &limits, house).unwrap();
    }

    #[test]
    fn what_expired_is_gone_and_frees_its_bytes() {
        let mut postings = Postings::default();
        for secs in 1..=3 {
            postings
                .put(Id::from_high(secs), posting(secs, 7, secs), &PostingLimits::default(), house)
                .unwrap();
        }
        assert_eq!(postings.get(Id::from_high(2), Time::from_secs(2)).count(), 0);
        postings.expire(Time::from_secs(2));
        assert_eq!(postings.keys().collect::<Vec<_>>(), [Id::from_high(3)]);
        postings.remove(Id::from_high(3), house);
        assert_eq!(postings.bytes(), 0);
    }

    /// One household fills all; others come, each with as much, and get equal shares.
    fn shares_of_a_full_store(limits: PostingLimits, under: impl Fn(u64) -> Id) -> BTreeMap<u64, usize> {
        let mut postings = Postings::default();
        for provider in [0, 10, 20, 30] {
            for what in 0..200 {
                // A household's peers take turns, and get no more for it.
                let whose = provider + what as u32 % 10;
                let one = posting(1000 * u64::from(provider) + what, whose, 10);
                let _ = postings.put(under(one.record.key.high()), one, &limits, house);
            }
        }
        assert!(postings.bytes() <= limits.bytes && postings.len() <= limits.keys);
        let counted = postings.shares(house).bytes;
        assert_eq!(counted.values().sum::<usize>(), postings.bytes());
        assert!(postings.full.is_none_or(|full| full.bytes == counted));
        counted
    }

    #[test]
    fn a_full_store_gives_each_household_its_share() {
        let one = cost(&posting(1, 1, 1));
        let own_keys = PostingLimits { keys: 100, ..PostingLimits::default() };
        let shares = shares_of_a_full_store(own_keys, Id::from_high);
        assert_eq!(shares, (0..4).map(|house| (house, 25 * one)).collect());
        let bytes = PostingLimits { bytes: 100 * one, ..PostingLimits::default() };
        let one_key = PostingLimits { per_key: 100, ..PostingLimits::default() };
        let shares = shares_of_a_full_store(one_key, |_| Id::ZERO);
        assert_eq!(shares, (0..4).map(|house| (house, 25 * one)).collect(), "under one key");
        for keys in [1, 7, 1000] {
            let shares = shares_of_a_full_store(bytes, |what| Id::from_high(what % keys));
            assert_eq!(shares, (0..4).map(|house| (house, 25 * one)).collect(), "{keys} keys");
        }
    }

    /// Who has one less takes nobody's place: the two would change places for ever.
    #[test]
    fn nearly_as_much_as_another_has_displaces_nothing() {
        let (key, limits) = (Id::ZERO, PostingLimits { per_key: 3, ..PostingLimits::default() });
        let mut postings = Postings::default();
        for (what, provider) in [(1, 0), (2, 0), (3, 10)] {
            postings.put(key, posting(what, provider, 10), &limits, house).unwrap();
        }
        assert_eq!(postings.put(key, posting(4, 10, 10), &limits, house), Err(Full));
        assert!(postings.find(key, 0, Id::from_high(2)).is_some());
    }

    /// Two households have a posting under each key, and under one a third has, too.
    #[test]
    fn households_that_share_their_keys_lock_nobody_out() {
        let limits = PostingLimits { keys: 100, ..PostingLimits::default() };
        let mut postings = Postings::default();
        for what in 0..100 {
            for provider in [0, 10] {
                postings.put(Id::from_high(what), posting(what, provider, 10), &limits, house).unwrap();
            }
        }
        postings.put(Id::from_high(50), posting(50, 20, 10), &limits, house).unwrap();
        for what in 1000..1200 {
            let _ = postings.put(Id::from_high(what), posting(what, 30, 10), &limits, house);
        }
        let counted = postings.shares(house).bytes;
        assert_eq!(postings.full.as_ref().map(|full| &full.bytes), Some(&counted));
        let one = cost(&posting(1, 1, 1));
        let shares: Vec<usize> = counted.values().map(|bytes| bytes / one).collect();
        assert_eq!((shares, postings.len()), (vec![50, 50, 1, 50], 100));
        assert!(
            postings.find(Id::from_high(50), 20, Id::from_high(50)).is_some(),
            "it has no more than others"
        );
    }

    #[test]
    fn what_leaves_a_full_store_leaves_its_share() {
        let limits = PostingLimits { keys: 10, ..PostingLimits::default() };
        let mut postings = Postings::default();
        for what in 0..12 {
            let _ = postings.put(Id::from_high(what), posting(what, 0, 1 + what), &limits, house);
        }
        assert_eq!(postings.put(Id::from_high(20), posting(20, 5, 10), &limits, house), Err(Full));
        postings.put(Id::from_high(20), posting(20, 50, 10), &limits, house).unwrap();
        assert!(postings.withdraw(Id::from_high(5), 0, Id::from_high(5), house));
        postings.remove(Id::from_high(6), house);
        let counted = postings.shares(house).bytes;
        assert_eq!(postings.full.as_ref().map(|full| &full.bytes), Some(&counted));
        postings.expire(Time::from_secs(3));
        assert!(postings.full.is_none());
    }
}
