//! Rate limits over all torrents: who may ask for and serve how much until the next tick.
//!
//! Ticks only go on while a limited torrent has something to do: a thousand idle ones
//! cost nothing. A limited torrent that was granted nothing does nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use starling_sansio::{Sink, Time};
use starling_swarm::Input as Swarm;

use crate::entry::Entry;
use crate::limiter::{Bucket, share};
use crate::{Output, RateLimits, Session, TorrentKey};

/// How often limits are dealt out. Short enough to be smooth, long enough to be cheap.
const TICK: Duration = Duration::from_millis(50);

/// The node's own buckets, the torrents in play, and the next moment they are dealt to.
#[derive(Debug)]
pub struct Grants {
    buckets: [Option<Bucket>; 2],
    /// Limited torrents that want bytes, or have some left. Bounded as torrents are.
    active: BTreeSet<TorrentKey>,
    last: Option<Time>,
    due: Time,
    turn: usize,
}

/// What a call of a torrent's core used, in bytes.
#[derive(Clone, Copy, Default, Debug)]
pub struct Used {
    /// Handed to the driver for peers.
    pub served: u64,
    /// Asked of web seeds, who are asked for much at once.
    pub fetched: u64,
}

impl Grants {
    /// Limits that begin at `now`.
    pub fn new(rates: RateLimits, now: Time) -> Grants {
        let buckets = [rates.down, rates.up].map(|r| r.map(|rate| Bucket::new(rate, now)));
        Grants { buckets, active: BTreeSet::new(), last: None, due: Time::NEVER, turn: 0 }
    }

    /// When they are dealt out next; never, while nobody needs it.
    pub fn due(&self) -> Time {
        self.due
    }

    /// Forgets a torrent.
    pub fn remove(&mut self, key: TorrentKey) {
        self.active.remove(&key);
    }

    /// Which directions of the torrent are limited.
    fn limited(&self, entry: &Entry) -> [bool; 2] {
        [0, 1].map(|way| self.buckets[way].is_some() || entry.buckets[way].is_some())
    }

    /// A direction's bytes that were used or came back, in the torrent's bucket and ours.
    fn settle(&mut self, entry: &mut Entry, way: usize, book: impl Fn(&mut Bucket)) {
        let buckets = [&mut entry.buckets[way], &mut self.buckets[way]];
        buckets.into_iter().flatten().for_each(book);
    }
}

impl Session {
    /// New limits for the node.
    pub(crate) fn set_rates(&mut self, now: Time, rates: RateLimits, out: &mut impl Sink<Output>) {
        self.grants = Grants::new(rates, now);
        let keys: Vec<TorrentKey> = self.torrents.keys().copied().collect();
        for key in keys {
            self.hold(now, key, out);
        }
    }

    /// Until the next tick a torrent has nothing of what is limited, all of what is not.
    pub(crate) fn hold(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get(&key) else { return };
        let [down, up] = self.grants.limited(entry).map(|limited| limited.then_some(0));
        self.drive(now, key, Swarm::Grant { down, up }, out);
    }

    /// After a call of a torrent's core that had been allowed `before`: books what it used
    /// beyond that, and brings it into play if there is need.
    pub(crate) fn account(&mut self, now: Time, key: TorrentKey, before: [Option<u64>; 2], used: Used) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        let limited = self.grants.limited(entry);
        if limited == [false; 2] {
            return;
        }
        let after = entry.core.allowance();
        for (way, bytes) in [used.fetched, used.served].into_iter().enumerate() {
            if let (true, Some(before), Some(after)) = (bytes > 0, before[way], after[way]) {
                let beyond = bytes.saturating_sub(before.saturating_sub(after));
                self.grants.settle(entry, way, |bucket| bucket.take(beyond));
            }
        }
        if !self.grants.active.contains(&key) && in_play(entry, limited) {
            self.grants.active.insert(key);
            let next = self.grants.last.map_or(now, |last| now.max(last + TICK));
            self.grants.due = self.grants.due.min(next);
        }
    }

    /// Takes back what torrents did not use and deals out what the buckets hold.
    pub(crate) fn grant(&mut self, now: Time, out: &mut impl Sink<Output>) {
        let keys: Vec<TorrentKey> = std::mem::take(&mut self.grants.active).into_iter().collect();
        self.grants.last = Some(now);
        self.grants.due = Time::NEVER;
        self.grants.turn = self.grants.turn.wrapping_add(1);
        let down = self.deal(now, 0, &keys);
        let up = self.deal(now, 1, &keys);
        for ((key, down), up) in keys.into_iter().zip(down).zip(up) {
            self.drive(now, key, Swarm::Grant { down, up }, out);
        }
    }

    /// One direction (0 down, 1 up): refunds, then shares, in the order of `keys`.
    fn deal(&mut self, now: Time, way: usize, keys: &[TorrentKey]) -> Vec<Option<u64>> {
        for key in keys {
            if let Some(entry) = self.torrents.get_mut(key) {
                let unused = entry.core.allowance()[way].unwrap_or(0);
                self.grants.settle(entry, way, |bucket| bucket.refund(unused));
            }
        }
        let total = self.grants.buckets[way].as_mut().map(|bucket| bucket.available(now));
        let mut own = Vec::with_capacity(keys.len());
        for key in keys {
            let entry = self.torrents.get_mut(key);
            own.push(entry.map_or(Some(0), |entry| {
                let bucket = entry.buckets[way].as_mut().map(|bucket| bucket.available(now));
                let limited = bucket.is_some() || total.is_some();
                if limited && !wants(entry)[way] { Some(0) } else { bucket }
            }));
        }
        let grants = share(total, &own, self.grants.turn);
        for (key, grant) in keys.iter().zip(&grants) {
            if let (Some(bytes), Some(entry)) = (*grant, self.torrents.get_mut(key)) {
                self.grants.settle(entry, way, |bucket| bucket.take(bytes));
            }
        }
        grants
    }
}

/// Whether a torrent could use bytes, down and up.
fn wants(entry: &Entry) -> [bool; 2] {
    if entry.is_over() {
        return [false; 2];
    }
    let demand = entry.core.demand();
    let from_web = !entry.web_seeds.is_empty() && entry.torrent.is_some() && entry.seeks();
    [demand.down > 0 || from_web, demand.up > 0]
}

/// Whether the next tick has to look at a torrent.
fn in_play(entry: &Entry, limited: [bool; 2]) -> bool {
    let (wants, left) = (wants(entry), entry.core.allowance());
    [0, 1].into_iter().any(|way| limited[way] && (wants[way] || left[way].is_some_and(|bytes| bytes > 0)))
}
