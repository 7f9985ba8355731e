//! The routing table: k-buckets.
//!
//! Model: section 2.2 with the accounting of section 4.1 of the paper. Bucket i holds
//! contacts that share exactly i top bits with us, least recently heard of first, so
//! the order is the age and no contact needs a time. A contact that left a question
//! unanswered is *doubted* and stands before the others; after a second one it is
//! *stale*: replaced as soon as there is somebody else, but kept until then, so that
//! an outage of our own link does not empty the table. Newcomers to a full bucket
//! wait as *spares*, the paper's replacement cache.
//!
//! The paper splits the bucket around our own id as it fills; a bucket for each
//! length of the common prefix gives the same contacts, or more of the nearest. All
//! that share 31 bits or more stand in one bucket: among honest nodes that is never
//! more than a handful.
//!
//! Memory: the contacts of all buckets lie in one array, in order, each bucket's as stale,
//! doubted and good; the spares, which come and go, in another one, in the same order. Four
//! counts say where each begins. It knows no messages and no ids but our own: whoever uses
//! it, says where a peer stands.

use super::places::{Places, Zone};
use super::verdict::{Failed, Heard, Seen, Trust};
use crate::{Id, prefetch};

/// Buckets of a table; the last one holds everything nearer.
pub const BUCKETS: usize = 32;
/// Contacts in a bucket at most, and spares beside them.
pub const MAX_K: usize = 32;
/// How many places an array that is full grows by.
const GROWTH: usize = 4;

/// Contacts of one node, by their distance.
#[derive(Clone, Debug)]
pub struct KTable<P> {
    own: u64,
    /// Bit i: whether anybody stands in bucket i.
    used: u32,
    buckets: [Places; BUCKETS],
    contacts: Vec<P>,
    spares: Vec<P>,
    k: u8,
    /// How many spares a bucket may have.
    cache: u8,
}

impl<P: Copy + PartialEq> KTable<P> {
    /// An empty table of a node at `own`: at most `k` contacts and `spares` spares a
    /// bucket, and of neither more than [`MAX_K`].
    pub fn new(own: Id, k: usize, spares: usize) -> Self {
        let byte = |count: usize| count.min(MAX_K) as u8;
        KTable {
            own: own.high(),
            used: 0,
            buckets: [Places::default(); BUCKETS],
            contacts: Vec::new(),
            spares: Vec::new(),
            k: byte(k),
            cache: byte(spares),
        }
    }

    /// In which bucket a peer at `id` belongs: the length of the common prefix.
    pub fn bucket_of(&self, id: Id) -> usize {
        ((self.own ^ id.high()).leading_zeros() as usize).min(BUCKETS - 1)
    }

    /// `peer`, at `id`, answered. It must not be this node itself.
    pub fn heard(&mut self, peer: P, id: Id) -> Heard<P> {
        let bucket = self.bucket_of(id);
        let contacts = self.contacts_mut(bucket);
        if let Some(at) = position(contacts, peer) {
            last_of(&mut contacts[at..]);
            let was = self.take_from_zone(bucket, at);
            self.buckets[bucket].add(Zone::Good, 1);
            return if was == Zone::Stale { Heard::New } else { Heard::Known };
        }
        let spares = self.spares_mut(bucket);
        if let Some(at) = position(spares, peer) {
            last_of(&mut spares[at..]);
            return Heard::Full;
        }
        self.admit(bucket, peer)
    }

    /// `peer`, at `id`, sent a request: a good contact is the latest heard of now, a
    /// stranger in front of a full bucket becomes a spare if a place is free. More
    /// would let anybody with a forged address fill the table.
    pub fn seen(&mut self, peer: P, id: Id) -> Seen {
        let bucket = self.bucket_of(id);
        let places = self.buckets[bucket];
        let contacts = self.contacts_mut(bucket);
        if let Some(at) = position(contacts, peer) {
            if at < places.suspect() {
                return Seen::Wanted;
            }
            last_of(&mut contacts[at..]);
            return Seen::Known;
        }
        if !self.is_full(bucket) {
            return Seen::Wanted;
        }
        if places.of(Zone::Spare) < usize::from(self.cache) && position(self.spares(bucket), peer).is_none() {
            self.insert_spare(bucket, 0, peer);
        }
        Seen::Full
    }

    /// `peer`, at `id`, left a question unanswered.
    pub fn failed(&mut self, peer: P, id: Id) -> Failed<P> {
        let bucket = self.bucket_of(id);
        let places = self.buckets[bucket];
        let (stale, suspect) = (places.of(Zone::Stale), places.suspect());
        let contacts = self.contacts_mut(bucket);
        let (from, zone) = match position(contacts, peer) {
            Some(at) if at >= suspect => (suspect..=at, Zone::Doubted),
            Some(at) if places.of(Zone::Spare) == 0 && at >= stale => (stale..=at, Zone::Stale),
            Some(_) if places.of(Zone::Spare) == 0 => return Failed::Unknown,
            _ => return self.remove(peer, id),
        };
        let at = *from.end();
        first_of(&mut contacts[from]);
        self.take_from_zone(bucket, at);
        self.buckets[bucket].add(zone, 1);
        if zone == Zone::Stale { Failed::Gone } else { Failed::Doubted }
    }

    /// Takes `peer`, at `id`, out; the latest spare takes its place, still to be proven.
    /// [`Failed::Unknown`] if it was no contact in use.
    pub fn remove(&mut self, peer: P, id: Id) -> Failed<P> {
        let bucket = self.bucket_of(id);
        let Some(at) = position(self.contacts(bucket), peer) else {
            let spare = position(self.spares(bucket), peer);
            spare.into_iter().for_each(|at| self.remove_spare(bucket, at));
            return Failed::Unknown;
        };
        let zone = self.take_from_zone(bucket, at);
        let Some(&spare) = self.spares(bucket).last() else {
            let start = self.start(bucket);
            self.contacts.remove(start + at);
            if self.buckets[bucket].contacts() == 0 {
                self.used &= !(1 << bucket);
            }
            return if zone == Zone::Stale { Failed::Unknown } else { Failed::Gone };
        };
        let suspect = self.buckets[bucket].suspect();
        self.buckets[bucket].add(Zone::Doubted, 1);
        let contacts = self.contacts_mut(bucket);
        last_of(&mut contacts[at..]);
        if let Some(last) = contacts.last_mut() {
            *last = spare;
        }
        first_of(&mut contacts[suspect..]);
        self.remove_spare(bucket, self.spares(bucket).len() - 1);
        Failed::Replaced(spare)
    }

    /// Puts contacts into `bucket` that are known to be there and are not in it yet, as
    /// many as fit.
    pub fn fill(&mut self, bucket: usize, peers: impl IntoIterator<Item = P>) {
        let contacts = self.buckets[bucket].contacts();
        let room = usize::from(self.k).saturating_sub(contacts);
        let after = self.contacts.split_off(self.start(bucket) + contacts);
        let before = self.contacts.len();
        self.contacts.extend(peers.into_iter().take(room));
        let more = self.contacts.len() - before;
        self.contacts.extend(after);
        self.buckets[bucket].add(Zone::Good, more);
        self.used |= u32::from(more > 0) << bucket;
    }

    /// Appends to `out` at most `want` contacts, the closest to `target`, those of
    /// nearer buckets first but inside a bucket in no order. `except` is left out; `id`
    /// says where a peer stands, and is hardly ever asked if buckets are full.
    pub fn closest(
        &self,
        target: Id,
        want: usize,
        trust: Trust,
        except: Option<P>,
        id: impl Fn(P) -> Id,
        out: &mut Vec<P>,
    ) {
        let before = out.len();
        let skip = |places: Places| match trust {
            Trust::Good => places.suspect(),
            Trust::Usable => places.of(Zone::Stale),
        };
        self.gather(target, want, skip, except, &id, out);
        if trust == Trust::Usable && out.len() == before && !self.contacts.is_empty() {
            self.gather(target, want, |_| 0, except, &id, out);
        }
    }

    /// The contacts of a bucket, least recently heard of first, suspects before all.
    pub fn contacts(&self, bucket: usize) -> &[P] {
        let start = self.start(bucket);
        &self.contacts[start..start + self.buckets[bucket].contacts()]
    }

    /// The contact of a bucket that was not heard of for the longest time, of those in use.
    pub fn oldest(&self, bucket: usize) -> Option<P> {
        self.contacts(bucket).get(self.buckets[bucket].of(Zone::Stale)).copied()
    }

    /// The spares of a bucket, latest last.
    pub fn spares(&self, bucket: usize) -> &[P] {
        let start = self.spares_start(bucket);
        &self.spares[start..start + self.buckets[bucket].of(Zone::Spare)]
    }

    /// Everybody in the table, spares included.
    pub fn everybody(&self) -> impl Iterator<Item = P> {
        self.contacts.iter().chain(&self.spares).copied()
    }

    /// All stale contacts.
    pub fn stale(&self) -> impl Iterator<Item = P> {
        let mut start = 0;
        let stale = self.buckets.iter().flat_map(move |places| {
            let here = start..start + places.of(Zone::Stale);
            start += places.contacts();
            &self.contacts[here]
        });
        stale.copied()
    }

    /// How many contacts there are that are not stale.
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|places| places.contacts() - places.of(Zone::Stale)).sum()
    }

    /// Whether there is no contact that is not stale.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `bucket` has all the contacts it may have, none of them stale.
    pub fn is_full(&self, bucket: usize) -> bool {
        let places = self.buckets[bucket];
        places.contacts() - places.of(Zone::Stale) >= usize::from(self.k)
    }

    /// The next bucket after `bucket`, and around, in which anybody stands.
    pub fn next_used(&self, bucket: usize) -> Option<usize> {
        let after = self.used & u32::MAX.checked_shl(bucket as u32 + 1).unwrap_or(0);
        let next = if after == 0 { self.used } else { after };
        (next != 0).then_some(next.trailing_zeros() as usize)
    }

    /// The first bucket of our neighbourhood: it and all nearer ones hold together at
    /// most `count` contacts.
    pub fn neighborhood(&self, count: usize) -> usize {
        let mut sum = 0;
        for (bucket, places) in self.buckets.iter().enumerate().rev() {
            sum += places.contacts();
            if sum > count {
                return bucket + 1;
            }
        }
        0
    }

    /// Asks for what [`KTable::closest`] will read for `target`: its bucket and the next.
    pub fn warm(&self, target: Id) {
        let start = self.start(self.bucket_of(target));
        let end = self.contacts.len().min(start + 48);
        prefetch(self.contacts.get(start..end).unwrap_or_default());
    }

    /// Asks for what [`KTable::heard`] and [`KTable::seen`] will read for a peer at `id`.
    pub fn warm_whom(&self, id: Id) {
        self.warm(id);
        let spare = self.spares.get(self.spares_start(self.bucket_of(id)));
        spare.into_iter().for_each(prefetch);
    }

    /// Asks for what [`KTable::oldest`] will read in the bucket after `bucket`.
    pub fn warm_next(&self, bucket: usize) {
        let oldest = self.next_used(bucket).and_then(|next| self.contacts.get(self.start(next)));
        oldest.into_iter().for_each(prefetch);
    }

    /// Gives back memory that is not used.
    pub fn shrink(&mut self) {
        self.contacts.shrink_to_fit();
        self.spares.shrink_to_fit();
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        (self.contacts.capacity() + self.spares.capacity()) * size_of::<P>()
    }

    /// [`KTable::closest`] without the first `skip` places of each bucket.
    fn gather(
        &self,
        target: Id,
        want: usize,
        skip: impl Fn(Places) -> usize,
        except: Option<P>,
        id: &impl Fn(P) -> Id,
        out: &mut Vec<P>,
    ) {
        let end = out.len() + want;
        for bucket in self.towards(target) {
            let (start, places) = (self.start(bucket), self.buckets[bucket]);
            let here = &self.contacts[start + skip(places)..start + places.contacts()];
            let room = end - out.len();
            if here.len() <= room {
                let from = out.len();
                out.extend_from_slice(here);
                if let Some(at) = out[from..].iter().position(|&peer| Some(peer) == except) {
                    out.remove(from + at);
                }
            } else {
                take_closest(target, room, here, except, id, out);
            }
            if out.len() >= end {
                return;
            }
        }
    }

    /// The buckets that hold anybody in the order of their distance to `target`. With
    /// d = own ^ target, the contacts of bucket i lie at a distance that is d with bit i
    /// flipped, and unlike d only below it: nearer than we are where d has a one, the
    /// top one most of all; farther where it has a zero, the lowest one least.
    fn towards(&self, target: Id) -> impl Iterator<Item = usize> {
        const LAST: u32 = BUCKETS as u32 - 1;
        let distance = ((self.own ^ target.high()) >> (64 - BUCKETS)) as u32;
        let used = self.used.reverse_bits(); // bit 31 for bucket 0, as in the distance
        let (mut nearer, mut farther) = (distance & used & !1, !distance & used & !1);
        let nearer = std::iter::from_fn(move || {
            let bucket = LAST.checked_sub(nearer.checked_ilog2()?)?;
            nearer &= !(1 << (LAST - bucket));
            Some(bucket as usize)
        });
        let farther = std::iter::from_fn(move || {
            let bucket = LAST.checked_sub(farther.trailing_zeros())?;
            farther &= farther - 1;
            Some(bucket as usize)
        });
        nearer.chain((used & 1 == 1).then_some(LAST as usize)).chain(farther)
    }

    /// A proven newcomer that is nowhere in its bucket.
    fn admit(&mut self, bucket: usize, peer: P) -> Heard<P> {
        let places = self.buckets[bucket];
        if places.contacts() < usize::from(self.k) {
            let end = self.start(bucket) + places.contacts();
            insert(&mut self.contacts, end, peer);
            self.buckets[bucket].add(Zone::Good, 1);
            self.used |= 1 << bucket;
            Heard::New
        } else if places.of(Zone::Stale) > 0 {
            let contacts = self.contacts_mut(bucket);
            let stale = std::mem::replace(&mut contacts[0], peer);
            last_of(contacts);
            self.buckets[bucket].take(Zone::Stale);
            self.buckets[bucket].add(Zone::Good, 1);
            Heard::Instead(stale)
        } else {
            if places.of(Zone::Spare) < usize::from(self.cache) {
                self.insert_spare(bucket, places.of(Zone::Spare), peer);
            } else if let [oldest, ..] = self.spares_mut(bucket) {
                *oldest = peer;
                last_of(self.spares_mut(bucket));
            }
            Heard::Full
        }
    }

    fn insert_spare(&mut self, bucket: usize, at: usize, peer: P) {
        let start = self.spares_start(bucket);
        insert(&mut self.spares, start + at, peer);
        self.buckets[bucket].add(Zone::Spare, 1);
    }

    fn remove_spare(&mut self, bucket: usize, at: usize) {
        self.spares.remove(self.spares_start(bucket) + at);
        self.buckets[bucket].take(Zone::Spare);
    }

    /// Where a bucket begins. Its counts are added two at a time, of four buckets at once
    /// where the processor can: every message needs such a sum.
    fn start(&self, bucket: usize) -> usize {
        const EVEN: u32 = 0x00ff_00ff;
        const CONTACTS: u32 = 0x00ff_ffff;
        let counts = self.buckets[..bucket].iter().map(|places| u32::from_le_bytes(places.0) & CONTACTS);
        let pairs: u32 = counts.map(|counts| (counts & EVEN) + (counts >> 8 & EVEN)).sum();
        ((pairs & 0xffff) + (pairs >> 16)) as usize
    }

    /// Where the spares of a bucket begin.
    fn spares_start(&self, bucket: usize) -> usize {
        self.buckets[..bucket].iter().map(|places| places.of(Zone::Spare)).sum()
    }

    fn contacts_mut(&mut self, bucket: usize) -> &mut [P] {
        let start = self.start(bucket);
        &mut self.contacts[start..start + self.buckets[bucket].contacts()]
    }

    fn spares_mut(&mut self, bucket: usize) -> &mut [P] {
        let start = self.spares_start(bucket);
        &mut self.spares[start..start + self.buckets[bucket].of(Zone::Spare)]
    }

    /// One fewer in the zone of the contact at `at` of the bucket.
    fn take_from_zone(&mut self, bucket: usize, at: usize) -> Zone {
        let places = &mut self.buckets[bucket];
        let zone = places.zone(at);
        places.take(zone);
        zone
    }
}

/// Appends to `out` the `want` of `here` that are closest to `target`, in no order.
fn take_closest<P: Copy + PartialEq>(
    target: Id,
    want: usize,
    here: &[P],
    except: Option<P>,
    id: &impl Fn(P) -> Id,
    out: &mut Vec<P>,
) {
    // The top bits of the distance and the place, in one number that is quick to compare:
    // among honest nodes, none are as close to each other as what that leaves out.
    const PLACE: u64 = MAX_K as u64 - 1;
    let mut order = [u64::MAX; MAX_K];
    let mut count = 0;
    for (place, &peer) in here.iter().enumerate().take(MAX_K) {
        order[count] = (id(peer).high() ^ target.high()) & !PLACE | place as u64;
        count += usize::from(Some(peer) != except);
    }
    let order = &mut order[..count];
    if want > 0 && want < count {
        order.select_nth_unstable(want - 1);
    }
    out.extend(order.iter().take(want).map(|&key| here[(key & PLACE) as usize]));
}

fn position<P: PartialEq + Copy>(peers: &[P], peer: P) -> Option<usize> {
    peers.iter().position(|&other| other == peer)
}

/// [`Vec::insert`] in an array that grows by little.
fn insert<P>(peers: &mut Vec<P>, at: usize, peer: P) {
    if peers.len() == peers.capacity() {
        peers.reserve_exact(GROWTH);
    }
    peers.insert(at, peer);
}

/// Moves the first one to the end.
fn last_of<P: Copy>(peers: &mut [P]) {
    if let [first, .., _] = *peers {
        let end = peers.len() - 1;
        peers.copy_within(1.., 0);
        peers[end] = first;
    }
}

/// Moves the last one to the front.
fn first_of<P: Copy>(peers: &mut [P]) {
    if let [.., last] = *peers {
        let end = peers.len() - 1;
        peers.copy_within(..end, 1);
        peers[0] = last;
    }
}
