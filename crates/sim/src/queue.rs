//! The queue of pending events.
//!
//! A timing wheel (Varghese and Lauck 1987) whose slots are contiguous arrays that
//! are sorted only when their turn comes, as in a ladder queue (Tang, Goh and Thng
//! 2005): an insertion appends to one array, and a removal reads along another, so
//! that both touch memory in order however many events are pending. Events of the
//! same microsecond come out in the order in which they went in.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use starling_sansio::Time;

/// A slot's width is 2^9 = 512 µs: so wide that the ends of all arrays to which events are
/// appended stay in a processor's nearest cache.
const SLOT_BITS: u32 = 9;
/// An epoch has 2^8 slots: 131 ms. Two epochs are kept in slots.
const EPOCH_BITS: u32 = 8;
const SLOTS: usize = 2 << EPOCH_BITS;
const WORDS: usize = SLOTS / 64;
/// Later epochs that have an array each: two minutes. What lies beyond is found by search.
const EPOCHS: u64 = 1_024;
/// Empty arrays kept for later use.
const SPARE: usize = 64;
/// Room, in events, that an empty array keeps in any case. One with more than this and a part
/// of all that is pending is from a crowd of events in one slot or epoch: hundreds of
/// arrays would each keep the room of the largest crowd that ever came to them.
const KEPT: usize = 256;
/// No event.
const NONE: u64 = u64::MAX;

/// Events in an array, each with its time in microseconds; taken ones are `None`.
type Array<T> = Vec<(u64, Option<T>)>;

/// Pending events.
pub struct Queue<T> {
    /// The time of the next event of `slot`, or [`NONE`].
    next: u64,
    /// Nothing of a later slot comes before this time.
    quiet: u64,
    /// The slot whose events are handed out, counted from the beginning of time.
    slot: u64,
    /// Slots of this epoch and the next, by number modulo [`SLOTS`].
    near: Box<[Array<T>]>,
    /// Which of them hold anything, a bit each.
    used: Box<[u64; WORDS]>,
    /// Events of the epochs after the next one, by epoch.
    far: VecDeque<Array<T>>,
    /// Events of epochs that are later still.
    beyond: BTreeMap<u64, Array<T>>,
    /// The events of `slot`.
    current: Array<T>,
    /// Their places in `current` in the order of time, above them the time in the slot.
    order: Vec<u64>,
    /// How many of `order` are handed out.
    taken: usize,
    /// Events that came for `slot` after it was sorted.
    late: BinaryHeap<Reverse<Late<T>>>,
    /// Numbers the late ones.
    sequence: u64,
    len: usize,
    spare: Vec<Array<T>>,
}

struct Late<T> {
    time: u64,
    sequence: u64,
    item: T,
}

impl<T> PartialEq for Late<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl<T> Eq for Late<T> {}
impl<T> PartialOrd for Late<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Late<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time, self.sequence).cmp(&(other.time, other.sequence))
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue {
            next: NONE,
            quiet: NONE,
            slot: 0,
            near: (0..SLOTS).map(|_| Vec::new()).collect(),
            used: Box::new([0; WORDS]),
            far: VecDeque::new(),
            beyond: BTreeMap::new(),
            current: Vec::new(),
            order: Vec::new(),
            taken: 0,
            late: BinaryHeap::new(),
            sequence: 0,
            len: 0,
            spare: Vec::new(),
        }
    }
}

impl<T> Queue<T> {
    /// How many events are pending.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an event. One that lies in the past is next; one that never comes is not kept.
    #[inline]
    pub fn push(&mut self, time: Time, item: T) {
        let time = time.as_micros();
        if time == NONE {
            return;
        }
        let slot = time >> SLOT_BITS;
        self.len += 1;
        if slot <= self.slot {
            self.push_late(time, item);
            return;
        }
        self.quiet = self.quiet.min(slot << SLOT_BITS);
        if slot >> EPOCH_BITS <= (self.slot >> EPOCH_BITS) + 1 {
            self.put_near(slot, time, item);
        } else {
            self.far_array(slot >> EPOCH_BITS).push((time, Some(item)));
        }
    }

    fn push_late(&mut self, time: u64, item: T) {
        self.sequence += 1;
        self.next = self.next.min(time);
        self.late.push(Reverse(Late { time, sequence: self.sequence, item }));
    }

    #[inline]
    fn put_near(&mut self, slot: u64, time: u64, item: T) {
        let place = slot as usize % SLOTS;
        self.near[place].push((time, Some(item)));
        self.used[place / 64] |= 1 << (place % 64);
    }

    /// The array of an epoch after the next one.
    fn far_array(&mut self, epoch: u64) -> &mut Array<T> {
        let ahead = epoch - (self.slot >> EPOCH_BITS) - 2;
        let spare = &mut self.spare;
        if ahead >= EPOCHS {
            return self.beyond.entry(epoch).or_insert_with(|| spare.pop().unwrap_or_default());
        }
        let ahead = ahead as usize;
        while self.far.len() <= ahead {
            self.far.push_back(Vec::new());
        }
        let array = &mut self.far[ahead];
        if array.capacity() == 0
            && let Some(empty) = spare.pop()
        {
            *array = empty;
        }
        array
    }

    /// Takes the next event if it comes before `limit`.
    #[inline]
    pub fn pop_before(&mut self, limit: Time) -> Option<(Time, T)> {
        self.peek_before(limit)?;
        self.take()
    }

    /// When the next event is due, if that is before `limit`.
    #[inline]
    pub fn peek_before(&mut self, limit: Time) -> Option<Time> {
        let limit = limit.as_micros();
        if self.next == NONE && self.quiet < limit {
            self.advance(limit);
        }
        (self.next < limit).then(|| Time::from_micros(self.next))
    }

    /// Goes to the next slot that has an event, if it begins before `limit`.
    fn advance(&mut self, limit: u64) {
        while self.next == NONE {
            self.quiet = self.next_slot().map_or(NONE, |slot| slot << SLOT_BITS);
            if self.quiet >= limit {
                return;
            }
            self.enter(self.quiet >> SLOT_BITS);
        }
    }

    /// Takes the event of which [`Queue::peek_before`] told.
    #[inline]
    pub fn take(&mut self) -> Option<(Time, T)> {
        if let Some(&key) = self.order.get(self.taken)
            && self.time_of(key) == self.next
        {
            self.taken += 1;
            self.len -= 1;
            let item = self.current.get_mut(key as u32 as usize)?.1.take()?;
            let time = self.next;
            self.next = self.here();
            return Some((Time::from_micros(time), item));
        }
        let Reverse(late) = self.late.pop()?;
        self.len -= 1;
        self.next = self.here();
        Some((Time::from_micros(late.time), late.item))
    }

    /// The time of the next event of this slot.
    #[inline]
    fn here(&self) -> u64 {
        let sorted = self.order.get(self.taken).map_or(NONE, |&key| self.time_of(key));
        if self.late.is_empty() {
            return sorted;
        }
        self.late.peek().map_or(sorted, |late| sorted.min(late.0.time))
    }

    /// Whether the next event is the first one of its slot, so that nothing of this slot
    /// was shown by [`Queue::coming`] before.
    #[inline]
    pub fn begins(&self) -> bool {
        self.taken == 0 && self.late.is_empty()
    }

    /// The event that comes so many after the next one, if it is in the same slot, and as
    /// long as no other is added.
    #[inline]
    pub fn coming(&self, after: usize) -> Option<&T> {
        let key = *self.order.get(self.taken + after)?;
        self.current.get(key as u32 as usize)?.1.as_ref()
    }

    /// When the next event is due.
    pub fn next_time(&self) -> Option<Time> {
        if self.next != NONE {
            return Some(Time::from_micros(self.next));
        }
        let slot = self.next_slot()?;
        let near = &self.near[slot as usize % SLOTS];
        let array = if near.is_empty() { self.later(slot >> EPOCH_BITS)? } else { near };
        array.iter().map(|entry| entry.0).min().map(Time::from_micros)
    }

    #[inline]
    fn time_of(&self, key: u64) -> u64 {
        (self.slot << SLOT_BITS) + (key >> 32)
    }

    /// The events of an epoch after the next one.
    fn later(&self, epoch: u64) -> Option<&Array<T>> {
        let ahead = epoch.checked_sub((self.slot >> EPOCH_BITS) + 2)?;
        self.far.get(ahead as usize).or_else(|| self.beyond.get(&epoch))
    }

    /// The first slot after the current one that may hold an event.
    fn next_slot(&self) -> Option<u64> {
        let end = ((self.slot >> EPOCH_BITS) + 2) << EPOCH_BITS;
        let far = || {
            let ahead = self.far.iter().position(|array| !array.is_empty());
            let epoch = ahead.map(|ahead| (self.slot >> EPOCH_BITS) + 2 + ahead as u64);
            epoch.or_else(|| self.beyond.first_key_value().map(|first| *first.0))
        };
        self.next_used(self.slot + 1, end).or_else(|| far().map(|epoch| epoch << EPOCH_BITS))
    }

    /// The first used slot in `from..end`, at most [`SLOTS`] of them.
    fn next_used(&self, from: u64, end: u64) -> Option<u64> {
        let mut slot = from;
        while slot < end {
            let place = slot as usize % SLOTS;
            let word = self.used[place / 64] >> (place % 64);
            if word != 0 {
                return Some(slot + u64::from(word.trailing_zeros())).filter(|&found| found < end);
            }
            slot += 64 - place as u64 % 64;
        }
        None
    }

    /// Goes to `slot`, whose events are sorted, after all between have been taken.
    fn enter(&mut self, slot: u64) {
        let (old, epoch) = (self.slot >> EPOCH_BITS, slot >> EPOCH_BITS);
        self.slot = slot;
        if epoch != old {
            self.bring_near(old, epoch);
        }
        let place = slot as usize % SLOTS;
        self.current.clear();
        if self.current.capacity() > self.len / 64 + KEPT {
            self.current = Vec::new();
        }
        std::mem::swap(&mut self.current, &mut self.near[place]);
        self.used[place / 64] &= !(1 << (place % 64));
        self.taken = 0;
        self.order.clear();
        let start = slot << SLOT_BITS;
        let keys = self.current.iter().enumerate();
        self.order.extend(keys.map(|(place, entry)| (entry.0 - start) << 32 | place as u64));
        self.order.sort_unstable();
        self.next = self.here();
    }

    /// Spreads the epochs that have come near over their slots: `epoch` itself and the next
    /// one, if they were not near in epoch `old`.
    fn bring_near(&mut self, old: u64, epoch: u64) {
        for near in (old + 2).max(epoch)..epoch + 2 {
            let ahead = (near - old - 2) as usize;
            let array = self.far.get_mut(ahead).map(std::mem::take);
            let array = array.into_iter().chain(self.beyond.remove(&near));
            array.for_each(|array| self.spread(array));
        }
        let passed = ((epoch - old) as usize).min(self.far.len());
        self.far.drain(..passed);
        while let Some(first) = self.beyond.first_entry()
            && *first.key() < epoch + 2 + EPOCHS
        {
            let ahead = (*first.key() - epoch - 2) as usize;
            let array = first.remove();
            self.far.resize_with(self.far.len().max(ahead + 1), Vec::new);
            self.far[ahead] = array;
        }
    }

    fn spread(&mut self, mut array: Array<T>) {
        for (time, item) in array.drain(..) {
            if let Some(item) = item {
                self.put_near(time >> SLOT_BITS, time, item);
            }
        }
        let most = self.len / 8 + KEPT;
        if self.spare.len() < SPARE && (1..=most).contains(&array.capacity()) {
            self.spare.push(array);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_sansio::Rng;

    use super::*;

    /// A crowd leaves no room behind, whichever slots and epochs it comes to.
    #[test]
    fn the_room_of_a_crowd_is_given_back() {
        for ahead in [50_000, 2_000_000] {
            let mut queue = Queue::default();
            let room = |queue: &Queue<u64>| {
                let arrays = queue.near.iter().chain(&queue.far).chain(&queue.spare);
                arrays.map(Vec::capacity).sum::<usize>() + queue.current.capacity()
            };
            for crowd in 1..=100 {
                (0..10_000).for_each(|number| queue.push(Time::from_micros(crowd * ahead), number));
                while queue.pop_before(Time::NEVER).is_some() {}
            }
            assert!(room(&queue) < 3 * 10_000, "{ahead}: {}", room(&queue));
        }
    }

    proptest! {
        /// Against the obvious queue: a map from (time, number).
        #[test]
        fn events_come_out_by_time_and_then_in_order_of_arrival(seed: u64, scale in 1u64..40) {
            let mut rng = Rng::from_seed(seed);
            let mut queue = Queue::default();
            let mut model = BTreeMap::new();
            let (mut now, mut number) = (0u64, 0u64);
            for _ in 0..2_000 {
                if rng.below(5) < 3 || model.is_empty() {
                    let reach = 1 << rng.below(scale + 1);
                    let ahead = rng.below(reach) * rng.below(2);
                    queue.push(Time::from_micros(now + ahead), number);
                    model.insert((now + ahead, number), ());
                    number += 1;
                } else {
                    let reach = 1 << rng.below(scale + 1);
                    let limit = now + rng.below(reach);
                    let first = *model.first_key_value().unwrap().0;
                    prop_assert_eq!(queue.next_time(), Some(Time::from_micros(first.0)));
                    let expected = (first.0 < limit).then_some((Time::from_micros(first.0), first.1));
                    prop_assert_eq!(queue.pop_before(Time::from_micros(limit)), expected);
                    if expected.is_some() {
                        model.remove(&first);
                        now = first.0;
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
            }
            while let Some((first, ())) = model.pop_first() {
                prop_assert_eq!(queue.pop_before(Time::NEVER), Some((Time::from_micros(first.0), first.1)));
            }
            prop_assert!(queue.is_empty() && queue.next_time().is_none());
        }

        /// Distances around the ends of slots, epochs and of the epochs that have an array,
        /// with few pending, so that time passes over all of them; and what was announced
        /// comes.
        #[test]
        fn no_event_is_lost_or_late_at_the_end_of_a_slot_an_epoch_or_the_arrays(seed: u64) {
            const EPOCH: u64 = 1 << (SLOT_BITS + EPOCH_BITS);
            let far = [0, 1, 2, 3, EPOCHS - 1, EPOCHS, EPOCHS + 1, EPOCHS + 2, EPOCHS + 3, 3 * EPOCHS];
            let mut rng = Rng::from_seed(seed);
            let mut queue = Queue::default();
            let mut model = BTreeMap::new();
            let (mut now, mut coming) = (0u64, None);
            for number in 0..3_000u64 {
                if model.len() < 20 && rng.below(2) == 0 {
                    let ahead = far[rng.index(far.len())] * EPOCH + rng.below(1_200);
                    let time = (now + ahead).saturating_sub(600).max(now);
                    queue.push(Time::from_micros(time), number);
                    model.insert((time, number), ());
                    coming = None;
                } else if let Some((first, ())) = model.pop_first() {
                    now = first.0;
                    let peeked = queue.peek_before(Time::from_micros(now + 1));
                    prop_assert_eq!(peeked, Some(Time::from_micros(now)));
                    prop_assert!(queue.peek_before(Time::from_micros(now)).is_none());
                    let next = queue.coming(1).copied().filter(|_| queue.late.is_empty());
                    let taken = queue.take();
                    prop_assert_eq!(taken, Some((Time::from_micros(now), first.1)));
                    prop_assert!(coming.is_none_or(|announced| announced == first.1));
                    coming = next;
                }
                prop_assert_eq!(queue.len(), model.len());
            }
        }
    }
}
