//! Choking and unchoking peers as the [`crate::choker`] decides, and the budgets it sets.

use std::time::Duration;

use starling_sansio::{Sink, Time};

use crate::Output;
use crate::choker::{Candidate, Choker, Chosen};
use crate::peer::Link;
use crate::torrent::Torrent;
use crate::torrent::idle::{ASKS_WITHIN, QUIET_AFTER};
use crate::torrent::upload::is_newcomer;

/// Slots at least, when their number follows the upload rate.
const SLOTS_MIN: usize = 8;
/// Slots at most, then.
const SLOTS_MAX: usize = 64;
/// Whoever let its last turn pass waits so much longer for the next than others, and no longer:
/// it may have been an honest one's bad moment.
const WASTED_WAITS: Duration = Duration::from_secs(300);
/// Bytes per second that all newcomers together may always get.
const NEWCOMER_TRICKLE: f64 = 8.0 * 1024.0;
/// Of what comes from others this part may be lent to newcomers.
const NEWCOMER_PART: f64 = 32.0;
/// Upload shared out in proportion never starts below this, in bytes per second.
const CAPACITY_MIN: f64 = 1024.0 * 1024.0;
/// How much more than was used is tried in the next second.
const CAPACITY_GROWTH: f64 = 1.5;

impl Torrent {
    /// Peers that may ask at a time; of those who do not ask more may be unchoked.
    fn slots(&self) -> usize {
        let paid = (self.totals.up.get() as f64 / 1024.0 * 0.6).sqrt() as usize;
        self.config.slots.unwrap_or(paid.clamp(SLOTS_MIN, SLOTS_MAX))
    }

    pub(crate) fn on_interested(&mut self, slot: u32, on: bool, out: &mut impl Sink<Output>) {
        let Some(link) = self.links.get_mut(slot) else { return };
        link.peer_interested = on;
        if on {
            link.begin_waiting(self.now);
            self.busy = true;
            self.fill_slots(out);
        } else if !link.am_choking && link.up.queue.is_empty() {
            self.choke(slot, out);
            self.fill_slots(out);
        }
    }

    /// Gives free slots away at once, rather than at the next decision.
    pub(crate) fn fill_slots(&mut self, out: &mut impl Sink<Output>) {
        if self.have.count() == 0 {
            return;
        }
        let now = self.now;
        let taken = self.links.iter().filter(|l| l.takes_slot(now)).count();
        // Some strategies decide for more.
        let lucky = |c: &&Chosen| self.links.get(c.slot).is_some_and(|l| !l.am_choking && !l.closing);
        let decided = self.choking.shares.iter().filter(lucky).count();
        let free = self.slots().max(decided).saturating_sub(taken);
        if free == 0 {
            return;
        }
        let waiting = self.links.iter().filter(|l| waits(l)).map(|l| (waits_since(l), l.slot));
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable();
        for (_, slot) in waiting.into_iter().take(free) {
            self.unchoke(slot, out);
        }
    }

    /// Lets those who wait have the slots of those who do not use theirs.
    pub(crate) fn tend_slots(&mut self, out: &mut impl Sink<Output>) {
        if !self.links.iter().any(waits) {
            return;
        }
        for slot in 0..self.links.slots() {
            if self.links.get(slot).is_some_and(|link| self.has_had_its_turn(link)) {
                self.choke(slot, out);
            }
        }
        self.fill_slots(out);
    }

    /// Asks for nothing any more; but who gives stays unchoked.
    fn has_had_its_turn(&self, link: &Link) -> bool {
        let gives = link.down.rate.flowed_within(self.now, self.config.limits.rechoke);
        link.quiet_for(self.now) >= ASKS_WITHIN && !gives && !link.closing
    }

    /// When the next of those who do not use their slots may lose them to others.
    pub(crate) fn slots_deadline(&self) -> Time {
        if !self.links.iter().any(waits) {
            return Time::NEVER;
        }
        let due = |link: &Link| {
            let quiet = link.quiet_for(self.now);
            let patience = [QUIET_AFTER, ASKS_WITHIN].into_iter().find(|patience| quiet < *patience)?;
            (!link.am_choking && !link.closing).then(|| self.now + (patience - quiet))
        };
        self.links.iter().filter_map(due).min().unwrap_or(Time::NEVER)
    }

    /// Decides anew who is unchoked. Who was unchoked just now and has not asked yet is let be.
    pub(crate) fn rechoke(&mut self, out: &mut impl Sink<Output>) {
        self.choking.next = self.now + self.config.limits.rechoke;
        let candidates = self.candidates();
        let slots = self.slots();
        let mut chosen = Vec::new();
        let (now, rng) = (self.now, &mut self.rng);
        if self.finished {
            self.choking.seeding.choose(now, &candidates, slots, rng, &mut chosen);
        } else {
            self.choking.strategy.choose(now, &candidates, slots, rng, &mut chosen);
        }
        for slot in 0..self.links.slots() {
            let lucky = chosen.iter().any(|c| c.slot == slot);
            let may_still_ask = self.links.get(slot).is_some_and(|link| link.may_still_ask(now));
            if lucky {
                self.unchoke(slot, out);
            } else if !may_still_ask {
                self.choke(slot, out);
            }
        }
        self.choking.shares = chosen;
        self.share_out(out);
    }

    /// Whether a peer earns what we upload: it is no seed, nor a partial one (BEP 21), has given
    /// for what it got, and gave within the time of one decision. Behind one that stopped nobody
    /// stands back for long.
    fn earns(&self, link: &Link) -> bool {
        let lately = link.down.rate.flowed_within(self.now, self.config.limits.rechoke);
        lately && !link.closing && !link.is_seed() && !link.upload_only && !is_newcomer(link)
    }

    fn candidates(&mut self) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for link in self.links.iter_mut().filter(|l| !l.closing) {
            let total = link.down.rate.total();
            let given = total - link.down.at_rechoke;
            link.down.at_rechoke = total;
            if link.peer_interested && (given > 0 || !link.may_still_ask(self.now)) {
                candidates.push(candidate(link, given, self.now));
            }
        }
        candidates
    }

    /// Once a second: what each may get until the next time, and what newcomers may.
    pub(crate) fn share_out(&mut self, out: &mut impl Sink<Output>) {
        let secs = self.now.since(self.choking.refilled).as_secs_f64().min(2.0);
        self.choking.refilled = self.now;
        self.choking.givers = self.links.iter().any(|l| self.earns(l));
        let (down, up) = (self.totals.down.total(), self.totals.up.total());
        let got = (down - self.choking.down_at_tick) as f64;
        let used = (up - self.choking.up_at_tick) as f64;
        (self.choking.down_at_tick, self.choking.up_at_tick) = (down, up);
        let lent = (got / NEWCOMER_PART + NEWCOMER_TRICKLE * secs) as u64;
        let piece = self.info.as_ref().map_or(0, |info| info.layout.piece_length());
        self.choking.newcomers.refill(lent, piece);
        if secs > 0.0 {
            self.choking.capacity =
                (used / secs * CAPACITY_GROWTH).max(CAPACITY_MIN).max(self.choking.capacity * 0.9);
        }
        let capacity = self.choking.capacity;
        for &Chosen { slot, share } in &self.choking.shares {
            if let Some(link) = self.links.get_mut(slot) {
                link.up.allowance = share.map(|part| (capacity * part) as u64 + 16 * 1024);
            }
        }
        self.pump_all(out);
    }
}

fn waits(link: &Link) -> bool {
    link.am_choking && link.peer_interested && !link.closing
}

/// Since when it counts as waiting.
fn waits_since(link: &Link) -> Time {
    link.up.since + if link.up.wasted { WASTED_WAITS } else { Duration::ZERO }
}

fn candidate(link: &Link, given: u64, now: Time) -> Candidate {
    Candidate {
        slot: link.slot,
        unchoked: !link.am_choking,
        since: if link.am_choking { waits_since(link) } else { link.up.since },
        quiet: link.quiet_for(now) >= QUIET_AFTER,
        wasted: link.up.wasted,
        given,
        turn: link.up.turn,
        got: link.up.rate.total(),
        snubbed: link.down.snubbed,
        newcomer: is_newcomer(link),
    }
}
