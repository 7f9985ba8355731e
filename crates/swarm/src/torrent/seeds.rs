//! Web seeds (BEP 19) beside peers. A web seed is given runs of whole pieces from
//! the widest gap, so that it stays clear of what peers fetch rarest first.

use std::collections::BTreeMap;
use std::time::Duration;

use starling_metainfo::BLOCK_LENGTH;
use starling_sansio::{Sink, Time};

use crate::picker::{Holder, Picker, Received, Source};
use crate::rate::Rate;
use crate::torrent::Torrent;
use crate::{Block, Event, FetchEnd, Output, SeedId};

/// One web seed.
#[derive(Debug)]
pub(crate) struct WebSeed {
    rate: Rate,
    /// Pieces being fetched.
    fetching: Option<std::ops::Range<u32>>,
    started: Time,
    resume: Time,
    failures: u32,
    /// It was asked for something.
    asked: bool,
    /// We broke its fetch off, which is no failure of its own.
    cancelled: bool,
    /// Bad or useless: forgotten once its fetch has ended.
    dropped: bool,
}

/// All web seeds of a torrent.
#[derive(Debug, Default)]
pub(crate) struct Seeds {
    list: BTreeMap<SeedId, WebSeed>,
}

/// Seconds of its rate that one fetch takes.
const FETCH_SECS: u64 = 4;
/// Fruitless fetches before a web seed is given up.
const FAILURES_MAX: u32 = 8;

impl Seeds {
    /// Whether there is a web seed that may be asked.
    pub fn can_fetch(&self) -> bool {
        self.list.values().any(|seed| !seed.dropped)
    }

    /// Web seeds that were asked, and served when they last were.
    pub fn working(&self) -> usize {
        self.list.values().filter(|seed| seed.asked && !seed.dropped && seed.failures == 0).count()
    }

    /// The last block being fetched that is more than `secs` away and not `taken`.
    pub fn latest(&self, picker: &Picker, secs: f64, taken: impl Fn(u32, u32) -> bool) -> Option<(u32, u32)> {
        self.list.values().find_map(|seed| {
            let pieces = seed.fetching.clone()?;
            let partials = || pieces.clone().filter_map(|piece| picker.partial(piece));
            let left: u64 = partials().map(|p| u64::from(p.missing()) * u64::from(BLOCK_LENGTH)).sum();
            if (left as f64) < secs * seed.rate.get().max(1) as f64 {
                return None;
            }
            pieces.clone().rev().find_map(|piece| {
                let partial = picker.partial(piece).filter(|p| !p.alone)?;
                let fits = |&index: &u32| partial.is_asked(index) && !taken(piece, index);
                (0..partial.len()).rev().find(fits).map(|index| (piece, index))
            })
        })
    }
}

impl Torrent {
    pub(crate) fn add_web_seed(&mut self, seed: SeedId, out: &mut impl Sink<Output>) {
        if self.seeds.list.len() >= self.config.limits.web_seeds || self.seeds.list.contains_key(&seed) {
            return;
        }
        let fresh = WebSeed {
            rate: Rate::starting(self.now),
            fetching: None,
            started: self.now,
            resume: self.now,
            failures: 0,
            asked: false,
            cancelled: false,
            dropped: false,
        };
        self.seeds.list.insert(seed, fresh);
        self.feed_seeds(out);
    }

    /// Gives idle web seeds something to do.
    pub(crate) fn feed_seeds(&mut self, out: &mut impl Sink<Output>) {
        if self.paused || self.picker.is_idle() || self.seeds.list.is_empty() || self.grant_down == Some(0) {
            return;
        }
        let idle = |s: &WebSeed| s.fetching.is_none() && !s.dropped && s.resume <= self.now;
        let seeds: Vec<SeedId> = self.seeds.list.iter().filter(|(_, s)| idle(s)).map(|(&id, _)| id).collect();
        for seed in seeds {
            self.fetch(seed, out);
        }
    }

    fn fetch(&mut self, seed: SeedId, out: &mut impl Sink<Output>) {
        let Some((first, gap)) = self.widest_gap() else { return };
        let count = self.fetch_pieces(seed).min(gap).max(1);
        let pieces = first..first + count;
        let avoided =
            pieces.clone().take_while(|&piece| self.picker.begin_for_seed(piece, Holder::Seed(seed)));
        let count = avoided.count() as u32;
        if count == 0 {
            return;
        }
        let pieces = first..first + count;
        let content: u64 = pieces.clone().map(|piece| self.piece_bytes(piece)).sum();
        let whole = |piece| self.info.as_ref().map_or(0, |info| u64::from(info.layout.piece_len(piece)));
        let length: u64 = pieces.clone().map(whole).sum();
        let now = self.now;
        if let Some(s) = self.seeds.list.get_mut(&seed) {
            s.fetching = Some(pieces);
            s.started = now;
            (s.asked, s.cancelled) = (true, false);
        }
        self.grant_down = self.grant_down.map(|bytes| bytes.saturating_sub(content));
        self.busy = true;
        out.put(Output::Fetch { seed, piece: first, length });
    }

    /// How many pieces to ask of this web seed at once.
    fn fetch_pieces(&self, seed: SeedId) -> u32 {
        let limits = &self.config.limits;
        let piece = self.info.as_ref().map_or(1, |info| u64::from(info.layout.piece_length()));
        let rate = self.seeds.list.get(&seed).map_or(0, |s| s.rate.get());
        let wanted = (rate * FETCH_SECS).clamp(limits.fetch_min, limits.fetch_max);
        // Towards the end the rest is split among all who can help.
        let helpers = self.seeds.list.len() as u64 + u64::from(self.links.len() > 0);
        let rest = u64::from(self.picker.rarity.startable()) * piece;
        (wanted.min(rest / helpers) / piece).max(1) as u32
    }

    /// Where the longest run of pieces lies that may be begun; in order, where the first lies.
    fn widest_gap(&self) -> Option<(u32, u32)> {
        let most = self.config.limits.fetch_max.div_ceil(BLOCK_LENGTH.into()) as u32;
        let gap = self.picker.rarity.widest_gap(self.picker.sequential, most);
        gap.or_else(|| self.picker.orphan().map(|piece| (piece, 1)))
    }

    /// A block of a fetch came.
    pub(crate) fn on_fetched(&mut self, seed: SeedId, block: Block, out: &mut impl Sink<Output>) {
        let Some(s) = self.seeds.list.get_mut(&seed) else { return };
        let length = u64::from(block.length);
        s.rate.add(length);
        let expected = !s.dropped && s.fetching.as_ref().is_some_and(|pieces| pieces.contains(&block.piece));
        self.totals.down.add(length);
        self.totals.from_web_seeds += length;
        let index = block.begin / BLOCK_LENGTH;
        if !expected || self.picker.block(block.piece, index) != block {
            self.totals.wasted += length;
            return;
        }
        match self.picker.receive(block.piece, index, Source::Seed(seed)) {
            Received::Useless => self.totals.wasted += length,
            Received::Useful | Received::Completed => {
                out.put(Output::Store { block });
                if self.picker.clear_extra(block.piece, index) {
                    self.cancel_elsewhere(u32::MAX, block, index, out);
                }
            }
        }
    }

    pub(crate) fn on_fetch_ended(&mut self, seed: SeedId, end: FetchEnd, out: &mut impl Sink<Output>) {
        let now = self.now;
        let Some(s) = self.seeds.list.get_mut(&seed) else { return };
        let pieces = s.fetching.take();
        let dropped = s.dropped;
        let came =
            pieces.into_iter().flatten().fold(0, |left, piece| left + self.release_fetched(piece, seed));
        let Some(s) = self.seeds.list.get_mut(&seed) else { return };
        if dropped {
            self.seeds.list.remove(&seed);
            return self.refill_idle(out);
        }
        match end {
            FetchEnd::Done if came == 0 => s.failures = 0,
            FetchEnd::Done => s.set_back(now, Duration::from_secs(1)),
            FetchEnd::Retry { .. } if s.cancelled => {}
            FetchEnd::Retry { after_secs } => s.set_back(now, Duration::from_secs(after_secs.into())),
            FetchEnd::Useless => s.failures = FAILURES_MAX,
        }
        if s.failures >= FAILURES_MAX {
            self.seeds.list.remove(&seed);
            out.put(Output::Event(Event::SeedDropped { seed, why: "is of no use" }));
        }
        self.refill_idle(out);
    }

    /// Frees the blocks of a fetched piece that did not come; how many.
    fn release_fetched(&mut self, piece: u32, seed: SeedId) -> u32 {
        let Some(partial) = self.picker.partial_mut(piece) else { return 0 };
        if partial.owner == Some(Holder::Seed(seed)) {
            partial.owner = None;
        }
        let blocks = partial.len();
        let mut released = 0;
        for index in 0..blocks {
            if self.picker.partial(piece).is_some_and(|p| p.is_asked(index)) {
                self.picker.release(piece, index);
                released += 1;
            }
        }
        released
    }

    /// A web seed that lied, or is of no use, is not asked again.
    pub(crate) fn drop_seed(&mut self, seed: SeedId, out: &mut impl Sink<Output>) {
        let Some(s) = self.seeds.list.get_mut(&seed) else { return };
        s.dropped = true;
        match s.fetching.take() {
            Some(pieces) => {
                out.put(Output::CancelFetch { seed });
                for piece in pieces {
                    self.release_fetched(piece, seed);
                }
            }
            None => {
                self.seeds.list.remove(&seed);
            }
        }
    }

    /// Breaks all fetches off: nothing more is wanted for now.
    pub(crate) fn cancel_fetches(&mut self, out: &mut impl Sink<Output>) {
        for (&seed, s) in &mut self.seeds.list {
            if s.fetching.is_some() {
                s.cancelled = true;
                out.put(Output::CancelFetch { seed });
            }
        }
    }

    pub(crate) fn tick_seeds(&mut self, out: &mut impl Sink<Output>) {
        let now = self.now;
        for (&seed, s) in &mut self.seeds.list {
            s.rate.tick(now);
            let done =
                |piece| self.have.get(piece) || self.picker.partial(piece).is_none_or(|p| p.missing() == 0);
            if s.fetching.clone().is_some_and(|mut pieces| pieces.all(done))
                && now.since(s.started) > FINISHING
            {
                s.cancelled = true;
                out.put(Output::CancelFetch { seed });
                s.started = now;
            }
        }
    }

    pub(crate) fn seeds_deadline(&self) -> Time {
        let waits = |s: &&WebSeed| s.fetching.is_none() && s.resume > self.now && !self.finished;
        self.seeds.list.values().filter(waits).map(|s| s.resume).min().unwrap_or(Time::NEVER)
    }
}

/// A fetch whose blocks all came by other ways is broken off after this.
const FINISHING: Duration = Duration::from_secs(2);

impl WebSeed {
    fn set_back(&mut self, now: Time, wait: Duration) {
        self.failures += 1;
        self.resume = now + wait;
    }
}
