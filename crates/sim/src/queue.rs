//! The queue of pending events.
//!
//! A timing wheel (Varghese and Lauck 1987) whose slots are contiguous arrays that
//! are sorted only when their turn comes, as in a ladder queue (Tang, Goh and Thng
//! 2005): an insertion appends to one array, and a removal reads along another, so
//! that both touch memory in order however many events are pending. Events of the
//! same microsecond come out in the order in which they went in.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use starling_sansio::Time;

/// A slot's width is 2^5 = 32 µs.
const SLOT_BITS: u32 = 5;
/// An epoch has 2^12 slots: 131 ms. Two epochs are kept in slots.
const EPOCH_BITS: u32 = 12;
const SLOTS: usize = 2 << EPOCH_BITS;
const WORDS: usize = SLOTS / 64;
/// Empty arrays kept for later use.
const SPARE: usize = 64;

/// Events in an array, each with its time in microseconds; taken ones are `None`.
type Array<T> = Vec<(u64, Option<T>)>;

/// Pending events.
pub struct Queue<T> {
    /// The slot whose events are handed out, counted from the beginning of time.
    slot: u64,
    /// Slots of this epoch and the next, by number modulo [`SLOTS`].
    near: Box<[Array<T>]>,
    /// Which of them hold anything, a bit each.
    used: Box<[u64; WORDS]>,
    /// Events of later epochs.
    far: BTreeMap<u64, Array<T>>,
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
    /// Which slots [`Queue::look_ahead`] chose.
    shown_from: u64,
    shown_until: u64,
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
            slot: 0,
            near: (0..SLOTS).map(|_| Vec::new()).collect(),
            used: Box::new([0; WORDS]),
            far: BTreeMap::new(),
            current: Vec::new(),
            order: Vec::new(),
            taken: 0,
            late: BinaryHeap::new(),
            sequence: 0,
            shown_from: 0,
            shown_until: 0,
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

    /// Adds an event. One that lies in the past is next.
    #[inline]
    pub fn push(&mut self, time: Time, item: T) {
        let time = time.as_micros();
        let slot = time >> SLOT_BITS;
        self.len += 1;
        if slot <= self.slot {
            self.sequence += 1;
            self.late.push(Reverse(Late { time, sequence: self.sequence, item }));
        } else if slot >> EPOCH_BITS <= (self.slot >> EPOCH_BITS) + 1 {
            self.put_near(slot, time, item);
        } else {
            let spare = &mut self.spare;
            let array = self.far.entry(slot >> EPOCH_BITS);
            array.or_insert_with(|| spare.pop().unwrap_or_default()).push((time, Some(item)));
        }
    }

    #[inline]
    fn put_near(&mut self, slot: u64, time: u64, item: T) {
        let place = slot as usize % SLOTS;
        self.near[place].push((time, Some(item)));
        self.used[place / 64] |= 1 << (place % 64);
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
        loop {
            if let Some(time) = self.here() {
                return (time < limit).then(|| Time::from_micros(time));
            }
            let next = self.next_slot()?;
            if next << SLOT_BITS >= limit {
                return None;
            }
            self.enter(next);
        }
    }

    /// Takes the event of which [`Queue::peek_before`] told.
    #[inline]
    pub fn take(&mut self) -> Option<(Time, T)> {
        let sorted = self.order.get(self.taken).map(|key| self.time_of(*key));
        match (sorted, self.late.peek()) {
            (Some(time), None) => self.take_sorted(time),
            (Some(time), Some(late)) if time <= late.0.time => self.take_sorted(time),
            _ => self.take_late(),
        }
    }

    /// The time of the next event of this slot.
    #[inline]
    fn here(&self) -> Option<u64> {
        let sorted = self.order.get(self.taken).map(|key| self.time_of(*key));
        let late = self.late.peek().map(|late| late.0.time);
        match (sorted, late) {
            (Some(sorted), Some(late)) => Some(sorted.min(late)),
            (sorted, late) => sorted.or(late),
        }
    }

    /// Once all that were shown before have been taken, or nearly so, chooses the next
    /// events to be shown, `count` or somewhat more if there are so many within an epoch,
    /// and says that it did. Those that are added later for the same time may be missed.
    #[inline]
    pub fn look_ahead(&mut self, count: usize) -> bool {
        if self.shown_until > self.slot {
            return false;
        }
        let end = ((self.slot >> EPOCH_BITS) + 2) << EPOCH_BITS;
        (self.shown_from, self.shown_until) = (self.slot + 1, self.slot);
        let mut shown = 0;
        while let Some(slot) = self.next_used(self.shown_until + 1, end).filter(|_| shown < count) {
            shown += self.near[slot as usize % SLOTS].len();
            self.shown_until = slot;
        }
        if shown < count {
            // Nothing else is near: not before what is here has been taken.
            self.shown_until = self.shown_until.max(self.slot + 1);
        }
        shown > 0
    }

    /// The events that [`Queue::look_ahead`] chose, in no order.
    pub fn shown(&self) -> impl Iterator<Item = &T> {
        let mut from = self.shown_from;
        let slots = std::iter::from_fn(move || {
            let slot = self.next_used(from, self.shown_until + 1)?;
            from = slot + 1;
            Some(slot)
        });
        slots.flat_map(|slot| &self.near[slot as usize % SLOTS]).filter_map(|event| event.1.as_ref())
    }

    /// When the next event is due.
    pub fn next_time(&self) -> Option<Time> {
        let time = self.here().or_else(|| {
            let next = self.next_slot()?;
            let near = &self.near[next as usize % SLOTS];
            let array = if near.is_empty() { self.far.get(&(next >> EPOCH_BITS))? } else { near };
            array.iter().map(|entry| entry.0).min()
        });
        time.map(Time::from_micros)
    }

    fn time_of(&self, key: u64) -> u64 {
        (self.slot << SLOT_BITS) + (key >> 32)
    }

    #[inline]
    fn take_sorted(&mut self, time: u64) -> Option<(Time, T)> {
        let place = (self.order[self.taken] & u64::from(u32::MAX)) as usize;
        self.taken += 1;
        self.len -= 1;
        let item = self.current[place].1.take()?;
        Some((Time::from_micros(time), item))
    }

    fn take_late(&mut self) -> Option<(Time, T)> {
        let Reverse(late) = self.late.pop()?;
        self.len -= 1;
        Some((Time::from_micros(late.time), late.item))
    }

    /// The first slot after the current one that may hold an event.
    fn next_slot(&self) -> Option<u64> {
        let end = ((self.slot >> EPOCH_BITS) + 2) << EPOCH_BITS;
        self.next_used(self.slot + 1, end).or_else(|| Some(*self.far.first_key_value()?.0 << EPOCH_BITS))
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
        let epoch = slot >> EPOCH_BITS;
        let entered = epoch != self.slot >> EPOCH_BITS;
        self.slot = slot;
        if entered {
            self.bring_near(epoch);
            self.bring_near(epoch + 1);
        }
        let place = slot as usize % SLOTS;
        self.current.clear();
        std::mem::swap(&mut self.current, &mut self.near[place]);
        self.used[place / 64] &= !(1 << (place % 64));
        self.taken = 0;
        self.order.clear();
        let start = slot << SLOT_BITS;
        let keys = self.current.iter().enumerate();
        self.order.extend(keys.map(|(place, entry)| (entry.0 - start) << 32 | place as u64));
        self.order.sort_unstable();
    }

    /// Spreads an epoch that has come near over its slots.
    fn bring_near(&mut self, epoch: u64) {
        let Some(mut array) = self.far.remove(&epoch) else { return };
        for (time, item) in array.drain(..) {
            if let Some(item) = item {
                self.put_near(time >> SLOT_BITS, time, item);
            }
        }
        if self.spare.len() < SPARE {
            self.spare.push(array);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_sansio::Rng;

    use super::*;

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
    }
}
