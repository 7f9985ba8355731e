//! Who gives way in a full store.
//!
//! The order that decides in a store that is full of keys or bytes: of two stores the one is
//! better whose poorest household has more, then whose second poorest has, and so on. What a
//! newcomer's posting displaces leaves all who lose something with no less than the newcomer
//! then has, so the store is better after it. It cannot go on getting better: once everybody
//! has said all it has a few times, nothing displaces anything.
//!
//! Under a key that is full the same holds of the numbers of postings there, whatever
//! households have elsewhere: who has much in the store is not kept out of a popular key.
//! The two orders need not agree. Where a key and the bytes are full at once, a posting may
//! come by the one and go by the other, again and again with each renewal: in small stores of
//! three to five households made up by chance 1 in 400 did not come to rest; twenty larger ones
//! did.

use std::collections::{BTreeMap, BTreeSet};

use super::{Full, Posting, PostingLimits, Postings, Shelf, cost, map_bytes};
use crate::Id;

/// Postings that are looked at for something to give up, for one posting; those under the
/// last key that is looked at come to that.
const SCAN: usize = 2048;

/// What a full store knows beside, of households; see [`crate::Host::household`].
#[derive(Clone, Debug)]
pub struct Shares {
    /// How many bytes of postings each has.
    pub bytes: BTreeMap<u64, usize>,
    /// The same, who has most last.
    order: BTreeSet<(usize, u64)>,
    /// Where to look next for something to give up.
    cursor: Id,
}

/// What was given up, from where.
pub struct Lost<P> {
    key: Id,
    at: usize,
    posting: Posting<P>,
    last_replica: Option<P>,
}

impl Shares {
    /// Bytes of a household.
    fn of(&self, whose: u64) -> usize {
        self.bytes.get(&whose).copied().unwrap_or(0)
    }

    /// A household has so many bytes more and less.
    pub fn grew(&mut self, whose: u64, more: usize, less: usize) {
        let before = self.of(whose);
        let after = before + more - less;
        self.order.remove(&(before, whose));
        if after == 0 {
            self.bytes.remove(&whose);
        } else {
            self.bytes.insert(whose, after);
            self.order.insert((after, whose));
        }
    }

    pub fn heap_bytes(&self) -> usize {
        let order = map_bytes::<(usize, u64), ()>(self.order.len());
        size_of::<Self>() + map_bytes::<u64, usize>(self.bytes.len()) + order
    }
}

/// What may be given up.
#[derive(Clone, Copy)]
struct Spared {
    key: Id,
    /// Which of the postings there, if not all.
    at: Option<usize>,
    postings: usize,
    /// Whether all of it is of who has most.
    of_most: bool,
}

/// What a newcomer may displace: only what leaves all who lose by it as much as it would have.
struct Claim<'a, H> {
    shares: &'a Shares,
    would_have: usize,
    most: u64,
    household: H,
}

impl<H> Claim<'_, H> {
    /// A posting of who has most, or if `any` will do the first.
    fn one<P: Copy>(&self, key: Id, shelf: &Shelf<P>, any: bool) -> Option<Spared>
    where
        H: Fn(P) -> u64,
    {
        let mut first = None;
        for (at, one) in shelf.postings.iter().enumerate() {
            let whose = (self.household)(one.provider);
            let of_most = whose == self.most;
            let wanted = of_most || (any && first.is_none());
            if wanted && self.shares.of(whose) >= self.would_have + cost(one) {
                first = Some(Spared { key, at: Some(at), postings: 1, of_most });
            }
            if first.is_some_and(|first| first.of_most) {
                break;
            }
        }
        first
    }

    /// All of it, if that is of who has most or less than `fewest` postings.
    fn all<P: Copy>(&self, key: Id, shelf: &Shelf<P>, fewest: usize) -> Option<Spared>
    where
        H: Fn(P) -> u64,
    {
        let postings = shelf.postings.len();
        let mut left = BTreeMap::new();
        for one in &shelf.postings {
            let whose = (self.household)(one.provider);
            if whose != self.most && postings >= fewest {
                return None;
            }
            let left = left.entry(whose).or_insert_with(|| self.shares.of(whose));
            *left = left.checked_sub(cost(one)).filter(|&left| left >= self.would_have)?;
        }
        let of_most = left.keys().all(|&whose| whose == self.most);
        Some(Spared { key, at: None, postings, of_most })
    }
}

impl<P: Copy + Eq> Postings<P> {
    /// Gives up what is in the way of `posting`, which weighed `before` so far; what that is
    /// goes to `lost`.
    pub fn clear(
        &mut self,
        key: Id,
        posting: &Posting<P>,
        before: usize,
        limits: &PostingLimits,
        household: impl Fn(P) -> u64,
        lost: &mut Vec<Lost<P>>,
    ) -> Result<(), Full> {
        let grows = cost(posting).saturating_sub(before);
        let whose = household(posting.provider);
        match self.shelves.get(&key) {
            _ if before > 0 => {}
            None if limits.keys.min(limits.per_key).min(limits.per_provider) == 0 => return Err(Full),
            None => {}
            Some(shelf) => {
                let same = shelf.postings.iter().filter(|one| one.provider == posting.provider);
                if same.count() >= limits.per_provider {
                    return Err(Full);
                }
                if shelf.postings.len() >= limits.per_key {
                    let at = place(shelf, whose, &household).ok_or(Full)?;
                    lost.extend(self.lose(key, at, &household));
                }
            }
        }
        loop {
            let whole = self.shelves.len() >= limits.keys && !self.shelves.contains_key(&key);
            if !whole && self.bytes + grows <= limits.bytes {
                return Ok(());
            }
            let (key, one) = self.spared(whose, grows, whole, &household).ok_or(Full)?;
            let all = self.shelves.get(&key).map_or(0..0, |shelf| 0..shelf.postings.len());
            for at in one.map_or(all, |at| at..at + 1).rev() {
                lost.extend(self.lose(key, at, &household));
            }
        }
    }

    /// Gives up a posting.
    fn lose(&mut self, key: Id, at: usize, household: impl Fn(P) -> u64) -> Option<Lost<P>> {
        let shelf = self.shelves.get_mut(&key)?;
        let (posting, last_replica) = (shelf.postings.remove(at), shelf.last_replica);
        if shelf.postings.is_empty() {
            self.shelves.remove(&key);
        }
        self.grew(household(posting.provider), 0, cost(&posting));
        Some(Lost { key, at, posting, last_replica })
    }

    /// It was given up in vain.
    pub fn put_back(&mut self, lost: Vec<Lost<P>>, household: impl Fn(P) -> u64) {
        for Lost { key, at, posting, last_replica } in lost.into_iter().rev() {
            self.grew(household(posting.provider), cost(&posting), 0);
            let shelf = self.shelves.entry(key).or_insert(Shelf { postings: Vec::new(), last_replica });
            shelf.postings.insert(at, posting);
        }
    }

    /// What `whose` may displace that would grow by so much: a posting, or a `whole` key. One
    /// of who has most, else the first posting, or the key with fewest.
    fn spared(
        &mut self,
        whose: u64,
        grows: usize,
        whole: bool,
        household: impl Fn(P) -> u64,
    ) -> Option<(Id, Option<usize>)> {
        let mut full = self.full.take().unwrap_or_else(|| Box::new(self.shares(&household)));
        let would_have = full.of(whose) + grows;
        let most = full.order.last().filter(|most| most.0 >= would_have + size_of::<Posting<P>>());
        let Some(&(_, most)) = most else {
            self.full = Some(full);
            return None;
        };
        let claim = Claim { shares: &full, would_have, most, household };
        let (after, before) = (self.shelves.range(full.cursor..), self.shelves.range(..full.cursor));
        let (mut looked, mut cursor, mut best) = (0, full.cursor, None::<Spared>);
        for (&key, shelf) in after.chain(before) {
            cursor = key;
            if looked >= SCAN || best.is_some_and(|best| best.of_most) {
                break;
            }
            looked += shelf.postings.len();
            let found = match whole {
                true => claim.all(key, shelf, best.map_or(usize::MAX, |best| best.postings)),
                false => claim.one(key, shelf, best.is_none()),
            };
            best = found.or(best);
        }
        full.cursor = cursor;
        self.full = Some(full);
        best.map(|best| (best.key, best.at))
    }

    /// Counts the shares of all.
    pub fn shares(&self, household: impl Fn(P) -> u64) -> Shares {
        let mut bytes = BTreeMap::new();
        for one in self.shelves.values().flat_map(|shelf| &shelf.postings) {
            *bytes.entry(household(one.provider)).or_default() += cost(one);
        }
        let order = bytes.iter().map(|(&whose, &bytes)| (bytes, whose)).collect();
        Shares { bytes, order, cursor: Id::ZERO }
    }
}

/// The latest posting under a key of whoever has most there, if `whose` would have no more
/// with one more.
fn place<P: Copy>(shelf: &Shelf<P>, whose: u64, household: impl Fn(P) -> u64) -> Option<usize> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for one in &shelf.postings {
        *counts.entry(household(one.provider)).or_default() += 1;
    }
    let mine = counts.get(&whose).copied().unwrap_or(0);
    let (&most, _) = counts.iter().max_by_key(|count| count.1).filter(|most| *most.1 > mine + 1)?;
    shelf.postings.iter().rposition(|one| household(one.provider) == most)
}
