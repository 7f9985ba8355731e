//! The file tuples that the whole group keeps (section 2).

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use starling_sansio::Time;

use super::clock::AGES;
use super::message::{Place, Tuple};
use crate::{Hit, Id, Peer, Record};

/// Tuples that wait to be sent as new, the newest first. When there are more, those that
/// waited longest give way: what waits ages, and is worth less to others.
const MAX_NEWS: usize = 256;
/// A heartbeat count so far ahead of the one that is known is a lie: an honest home node
/// counts one up every few minutes.
const MAX_LEAP: u32 = 1 << 20;
/// A home node believes twice that, so that it can outdo whatever its holders believed.
const MAX_OWN_LEAP: u32 = MAX_LEAP * 2;
/// More at once is a leap, which only a liar makes, or a home node that outdoes one.
const STEP: u32 = 16;
/// Seconds between leaps: time enough for a home node to hear of a lie, and to outdo it
/// before the next.
const LEAP_PAUSE: i32 = 60;
/// Most tuples of one home node that a node keeps: of ten thousand records under four
/// keys each, half in the same group are fewer.
pub const MAX_OF_HOME: usize = 1 << 15;
/// Bytes of names, for each tuple that may be kept: the names of files are shorter, and
/// those of liars as long as a message bears.
const NAME_SHARE: usize = 64;
/// Bytes of names that there is always room for.
const MIN_NAMES: usize = 1 << 16;
/// Bytes of the names of at most so many tuples.
fn room_for_names(most: usize) -> usize {
    MIN_NAMES.max(most.saturating_mul(NAME_SHARE))
}

/// Bytes that B-tree nodes take for each byte of entries: they are three quarters full.
const TREE_OVERHEAD: (usize, usize) = (4, 3);

/// What is kept of a tuple.
#[derive(Clone, Debug)]
struct Kept<P> {
    record: Arc<Record>,
    home: P,
    beat: u32,
    /// When the heartbeat was, in seconds of this node's time.
    heard: i32,
    live: bool,
    /// Whether it waits among the news.
    waits: bool,
}

/// What a tuple did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// It is kept, or an equal or younger one is: the largest heartbeat count.
    Beat(u32),
    /// It is past its time-out.
    Old,
    /// There is no room.
    Full,
    /// Its heartbeat count is too far ahead to be believed.
    Leap,
    /// It is hearsay of what is not kept, and half of the room is full: its home node must
    /// say it itself.
    Doubted,
}

/// Whose word a tuple is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// The home node's own.
    Home,
    /// Of somebody who heard of it.
    Hearsay,
}

/// Whether a home node that is at `ours` believes that others know of `beat`.
pub(super) fn believable(ours: u32, beat: u32) -> bool {
    beat.saturating_sub(ours) <= MAX_OWN_LEAP
}

/// The store.
#[derive(Clone, Debug)]
pub(super) struct Tuples<P> {
    kept: BTreeMap<Place, Kept<P>>,
    /// No heartbeat of them is older.
    oldest: i32,
    /// Bytes of their names.
    names: usize,
    /// How many each home node has, once they are so many that one could have too many.
    homes: BTreeMap<P, usize>,
    /// New ones and how often each is still to be sent before its turn.
    news: VecDeque<(Place, u8)>,
    /// The last one that was sent in its turn.
    cursor: Place,
}

impl<P> Default for Tuples<P> {
    fn default() -> Self {
        Tuples {
            kept: BTreeMap::new(),
            oldest: i32::MAX,
            names: 0,
            homes: BTreeMap::new(),
            news: VecDeque::new(),
            cursor: Place::default(),
        }
    }
}

/// Where the tuple of that record of that home node stands.
pub(super) fn place(under: u64, record: &Record, home: Id) -> Place {
    let tag = record.key.high().wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ home.high();
    Place { under, tag: tag.wrapping_mul(0xbf58_476d_1ce4_e5b9) }
}

/// How many of the `most` tuples in a message may be news: of more heartbeats than fit, a
/// part is lost on the way, and those tuples stay alive by what is told in its turn.
fn news_of(most: usize) -> usize {
    most / 2
}

fn seconds(now: Time) -> i32 {
    i32::try_from(now.as_micros() / 1_000_000).unwrap_or(i32::MAX)
}

impl<P: Peer> Tuples<P> {
    /// Takes a tuple; a larger heartbeat count wins, unless it leaps. `rounds`: how often a
    /// new one, or a new heartbeat, is sent before its turn.
    pub(super) fn take(
        &mut self,
        now: Time,
        (tuple, word): (Tuple<P>, Word),
        home: Id,
        timeout: Duration,
        most: usize,
        rounds: u8,
    ) -> Taken {
        if tuple.age == AGES || Duration::from_secs(u64::from(tuple.age)) > timeout {
            return Taken::Old;
        }
        let at = place(tuple.under, &tuple.record, home);
        let mut heard = seconds(now).saturating_sub(i32::from(tuple.age));
        let Tuple { record, home, beat, live, .. } = tuple;
        if let Some(kept) = self.kept.get_mut(&at) {
            let (leap, quiet) = (beat.saturating_sub(kept.beat), seconds(now).saturating_sub(kept.heard));
            if word == Word::Hearsay && leap > STEP {
                if leap > MAX_LEAP || quiet < LEAP_PAUSE {
                    return Taken::Leap;
                }
                heard = seconds(now);
            }
            // The home node would not believe what is kept, and it alone knows.
            let lie = word == Word::Home && !believable(beat, kept.beat);
            if kept.beat >= beat && !lie {
                let same = kept.beat == beat;
                kept.heard = if same { kept.heard.max(heard) } else { kept.heard };
                return Taken::Beat(kept.beat);
            }
        } else if word == Word::Hearsay && !live && beat > MAX_LEAP {
            // The end of what nobody here knows can only be meant to hide it later.
            return Taken::Leap;
        } else if word == Word::Hearsay && self.doubts(most) {
            return Taken::Doubted;
        } else if self.kept.len() >= most || self.of_home(home) >= MAX_OF_HOME {
            return Taken::Full;
        }
        let known = self.kept.get(&at);
        let (before, waited) = known.map_or((0, false), |kept| (kept.record.name.len(), kept.waits));
        let names = self.names.saturating_sub(before) + record.name.len();
        if names > room_for_names(most) {
            return Taken::Full;
        }
        self.names = names;
        self.oldest = self.oldest.min(heard);
        if rounds > 0 && !waited {
            if self.news.len() >= MAX_NEWS {
                self.end_news(0);
            }
            self.news.push_back((at, rounds));
        }
        let waits = waited || rounds > 0;
        let old = self.kept.insert(at, Kept { record, home, beat, heard, live, waits });
        if old.is_none() && !self.homes.is_empty() {
            *self.homes.entry(home).or_default() += 1;
        }
        Taken::Beat(beat)
    }

    /// Whether half of the room for `most`, or for their names, is full, so that no more is
    /// taken by hearsay: names of home nodes cost a liar nothing.
    pub(super) fn doubts(&self, most: usize) -> bool {
        self.kept.len() >= most / 2 || self.names >= room_for_names(most) / 2
    }

    /// Whether that tuple is kept and live.
    pub(super) fn is_live(&self, tuple: &Tuple<P>, home: Id) -> bool {
        self.kept.get(&place(tuple.under, &tuple.record, home)).is_some_and(|kept| kept.live)
    }

    /// Up to `most` live tuples under that id whose records are wanted, after the first
    /// `skip`, and whether there are more.
    pub(super) fn find(
        &self,
        under: u64,
        (skip, most): (usize, usize),
        wanted: impl Fn(&Record) -> bool,
    ) -> (Vec<Hit<P>>, bool) {
        let first = Place { under, tag: 0 };
        let last = Place { under, tag: u64::MAX };
        let here = self.kept.range(first..=last).map(|(_, kept)| kept);
        let mut wanted = here.filter(|kept| kept.live && wanted(&kept.record)).skip(skip);
        let taken = wanted.by_ref().take(most);
        let hits = taken.map(|kept| Hit { record: (*kept.record).clone(), provider: kept.home }).collect();
        (hits, wanted.next().is_some())
    }

    /// The newest tuples, which go into each message of a round, of up to `most` tuples.
    pub(super) fn news(&self, now: Time, most: usize) -> Vec<(Place, Tuple<P>)> {
        let new = self.news.iter().rev().take(news_of(most)).map(|news| news.0);
        new.filter_map(|at| Some((at, self.kept.get(&at)?.tuple(now, at)))).collect()
    }

    /// Up to `most` tuples to send: `new` ones, then the next in turn.
    pub(super) fn gossip(&mut self, now: Time, new: &[(Place, Tuple<P>)], most: usize) -> Vec<Tuple<P>> {
        let most = most.min(self.kept.len());
        let mut tuples = Vec::with_capacity(most);
        tuples.extend(new.iter().map(|new| new.1.clone()));
        let later = self.kept.range((Bound::Excluded(self.cursor), Bound::Unbounded));
        for (&at, kept) in later.chain(self.kept.range(..=self.cursor)) {
            if tuples.len() >= most {
                break;
            }
            self.cursor = at;
            if !new.iter().any(|new| new.0 == at) {
                tuples.push(kept.tuple(now, at));
            }
        }
        tuples
    }

    /// The round is over: what it sent as new, in messages of `most` tuples, is a little
    /// less so.
    pub(super) fn end_round(&mut self, most: usize) {
        let first = self.news.len() - news_of(most).min(self.news.len());
        for at in (first..self.news.len()).rev() {
            self.news[at].1 -= 1;
            if self.news[at].1 == 0 {
                self.end_news(at);
            }
        }
        if self.news.is_empty() && self.news.capacity() > 0 {
            self.news = VecDeque::new();
        }
    }

    /// That one of the news is one no longer.
    fn end_news(&mut self, at: usize) {
        let news = self.news.remove(at);
        if let Some(kept) = news.and_then(|(at, _)| self.kept.get_mut(&at)) {
            kept.waits = false;
        }
    }

    /// Up to `most` tuples after a place, in order.
    pub(super) fn copy(&self, now: Time, after: Place, most: usize) -> Vec<Tuple<P>> {
        let from = if after == Place::default() { Bound::Included(after) } else { Bound::Excluded(after) };
        let kept = self.kept.range((from, Bound::Unbounded)).take(most);
        kept.map(|(&at, kept)| kept.tuple(now, at)).collect()
    }

    /// Up to `most` tuples under places from `first` to `last`, both included.
    pub(super) fn within(&self, now: Time, first: u64, last: u64, most: usize) -> Vec<Tuple<P>> {
        let (first, last) = (Place { under: first, tag: 0 }, Place { under: last, tag: u64::MAX });
        let kept = self.kept.range(first..=last).take(most);
        kept.map(|(&at, kept)| kept.tuple(now, at)).collect()
    }

    /// Drops what is past its time-out. Nothing is looked at before something can be.
    pub(super) fn sweep(&mut self, now: Time, timeout: Duration) {
        let timeout = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
        let now = i64::from(seconds(now));
        if now - i64::from(self.oldest) <= timeout {
            return;
        }
        (self.oldest, self.names, self.homes) = (i32::MAX, 0, BTreeMap::new());
        let (oldest, names) = (&mut self.oldest, &mut self.names);
        self.kept.retain(|_, kept| {
            let stays = now - i64::from(kept.heard) <= timeout;
            if stays {
                *oldest = kept.heard.min(*oldest);
                *names += kept.record.name.len();
            }
            stays
        });
    }

    /// Tuples of that home node, or fewer, if it cannot have too many.
    fn of_home(&mut self, home: P) -> usize {
        if self.kept.len() < MAX_OF_HOME {
            return 0;
        }
        if self.homes.is_empty() {
            for kept in self.kept.values() {
                *self.homes.entry(kept.home).or_default() += 1;
            }
        }
        self.homes.get(&home).copied().unwrap_or(0)
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        // As if nobody shared them; each is behind a pointer with two counts.
        let record = |kept: &Kept<P>| size_of::<Record>() + 16 + kept.record.name.len() + 16;
        let records: usize = self.kept.values().map(record).sum();
        let entries = self.kept.len() * (size_of::<Place>() + size_of::<Kept<P>>());
        records
            + entries * TREE_OVERHEAD.0 / TREE_OVERHEAD.1
            + self.homes.len() * size_of::<(P, usize)>() * TREE_OVERHEAD.0 / TREE_OVERHEAD.1
            + self.news.capacity() * size_of::<(Place, u8)>()
    }
}

impl<P: Peer> Kept<P> {
    /// The tuple that stands at `at`, as it is told.
    fn tuple(&self, now: Time, at: Place) -> Tuple<P> {
        let age = seconds(now).saturating_sub(self.heard).saturating_add(1);
        Tuple {
            under: at.under,
            record: self.record.clone(),
            home: self.home,
            beat: self.beat,
            age: u16::try_from(age).unwrap_or(AGES),
            live: self.live,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the tuples of these numbers, in this order, to be told in three rounds each.
    fn take(tuples: &mut Tuples<u32>, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let (name, home, key) = ("n".into(), 7, Id::from_high(number));
            let record = Arc::new(Record { key, name, size: 1 });
            let tuple = Tuple { under: number, record, home, beat: 1, age: 0, live: true };
            let (now, timeout) = (Time::from_secs(1), Duration::from_secs(60));
            let taken = tuples.take(now, (tuple, Word::Home), Id::ZERO, timeout, 1000, 3);
            assert_eq!(taken, Taken::Beat(1));
        }
    }

    /// What rounds of eight tuples a message tell as new, until there is no more.
    fn rounds(tuples: &mut Tuples<u32>) -> Vec<Vec<u64>> {
        let mut rounds = Vec::new();
        loop {
            let new: Vec<u64> = tuples.news(Time::from_secs(1), 8).iter().map(|new| new.0.under).collect();
            tuples.end_round(8);
            if new.is_empty() {
                return rounds;
            }
            rounds.push(new);
        }
    }

    #[test]
    fn the_newest_tuples_are_told_first() {
        let mut tuples = Tuples::default();
        take(&mut tuples, 0..6);
        let (new, old) = (vec![5, 4, 3, 2], vec![1, 0]);
        let three = |round: &Vec<u64>| vec![round.clone(); 3];
        assert_eq!(rounds(&mut tuples), [three(&new), three(&old)].concat());
        // Of more than may wait, those that waited longest are told in their turn.
        take(&mut tuples, 100..100 + MAX_NEWS as u64 + 2);
        let told: Vec<u64> = rounds(&mut tuples).into_iter().flatten().collect();
        assert_eq!((told.first(), told.iter().min()), (Some(&(101 + MAX_NEWS as u64)), Some(&102)));
    }
}
