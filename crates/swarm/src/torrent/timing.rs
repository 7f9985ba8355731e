//! What happens with time rather than with a message.

use std::time::Duration;

use starling_sansio::{Sink, Time};

use crate::peer::Link;
use crate::torrent::Torrent;
use crate::{Blame, Message, Output};

/// Between ticks while something goes on.
const TICK: Duration = Duration::from_millis(500);
/// Between folds of the rates.
const SECOND: Duration = Duration::from_secs(1);
/// A request overtaken by so many is taken for lost, once it is old.
const OVERTAKEN: u16 = 8;

impl Torrent {
    /// After an input: something goes on, so a tick is due soon.
    pub(crate) fn schedule(&mut self) {
        if self.busy && self.next > self.now + TICK {
            self.next = self.now + TICK;
        }
    }

    pub(crate) fn tick(&mut self, out: &mut impl Sink<Output>) {
        self.busy = false;
        self.tick_rates(out);
        self.forgive();
        for slot in 0..self.links.slots() {
            self.tick_link(slot, out);
        }
        self.ask_metadata(out);
        self.tick_suspicion();
        self.tick_hashes(out);
        self.tick_seeds(out);
        self.tick_pex(out);
        self.tend_slots(out);
        let wanted = self.links.iter().any(|l| l.peer_interested && !l.closing);
        if wanted && self.now >= self.choking.next {
            self.rechoke(out);
        }
        self.refill_idle(out);
        self.busy |= self.is_busy();
        self.next = self.deadline();
    }

    fn tick_rates(&mut self, out: &mut impl Sink<Output>) {
        if self.now.since(self.rates_at) < SECOND {
            return;
        }
        self.rates_at = self.now;
        let now = self.now;
        self.totals.down.tick(now);
        self.totals.up.tick(now);
        for link in self.links.iter_mut() {
            link.down.rate.tick(now);
            link.up.rate.tick(now);
        }
        self.share_out(out);
    }

    /// As often as the choker decides, but whether or not there is anything to decide: a
    /// peer may be asked again for what it rejected, and a strike is forgotten.
    fn forgive(&mut self) {
        if self.now.since(self.forgiven_at) < self.config.limits.rechoke {
            return;
        }
        self.forgiven_at = self.now;
        for link in self.links.iter_mut() {
            link.strikes = link.strikes.saturating_sub(1);
            if !link.down.refused.is_empty() {
                link.down.refused.clear();
                link.down.starved = None;
            }
        }
    }

    fn tick_link(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        let (now, limits) = (self.now, &self.config.limits);
        let (silence, keep_alive) = (limits.silence, limits.keep_alive);
        let Some(link) = self.links.get_mut(slot).filter(|link| !link.closing) else { return };
        if now.since(link.last_in) >= silence {
            return self.close(slot, Blame::Nobody, "has been silent for too long", out);
        }
        if now.since(link.last_out) >= keep_alive {
            link.send(now, Message::KeepAlive, out);
        }
        self.check_snub(slot, out);
        self.check_lost(slot, out);
        self.check_slow(slot);
    }

    /// No block for long though we asked: one request stays, the others go elsewhere.
    fn check_snub(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        let (now, snub) = (self.now, self.config.limits.snub);
        let Some(link) = self.links.get_mut(slot) else { return };
        if link.down.queue.is_empty() || now.since(link.down.heard) < patience(link, snub) {
            return;
        }
        if link.peer_choking {
            // It choked us and never said what became of our requests.
            return self.cancel_all(slot, out);
        }
        link.down.heard = now;
        if std::mem::replace(&mut link.down.snubbed, true) {
            // The one request goes round: another peer may have it by now.
            return self.cancel_all(slot, out);
        }
        self.cancel_beyond(slot, 1, out);
    }

    /// A request that many later ones have overtaken will not be answered.
    fn check_lost(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        let (now, snub) = (self.now, self.config.limits.snub);
        let Some(link) = self.links.get_mut(slot) else { return };
        let patience = patience(link, snub);
        let lost = |a: &crate::peer::Asked| a.overtaken >= OVERTAKEN && now.since(a.sent) >= patience;
        let Some(asked) = link.down.queue.front().copied().filter(lost) else { return };
        link.down.queue.pop_front();
        link.down.taken_back.push(asked.piece, asked.index);
        let block = self.picker.block(asked.piece, asked.index.into());
        link.send(now, Message::Cancel(block), out);
        self.give_up(asked.piece, asked.index.into());
    }

    /// The owner of a piece turned out too slow for one of its own.
    fn check_slow(&mut self, slot: u32) {
        let length = self.info.as_ref().map_or(0, |info| info.layout.piece_length());
        let Some(link) = self.links.get_mut(slot) else { return };
        if !link.down.own.is_empty() && !link.is_fast(length / 2) {
            self.picker.share(slot, &mut link.down.own);
            self.let_go_alone(slot);
        }
    }

    /// Nobody may help with a piece that is fetched from one peer alone: a slow one loses it
    /// if there is somebody better, and does not get it again for a while.
    fn let_go_alone(&mut self, slot: u32) {
        let Some(link) = self.links.get(slot) else { return };
        let alone = link.down.own.iter().filter_map(|&id| self.picker.alone(id));
        if !alone.into_iter().any(|piece| self.others_send(slot, piece)) {
            return;
        }
        let Some(link) = self.links.get_mut(slot) else { return };
        let pieces = self.picker.let_go_alone(slot, &mut link.down.own);
        pieces.iter().for_each(|&piece| link.note_refused(piece));
    }

    /// Whether somebody else may be asked for `piece` and is worth asking.
    fn others_send(&self, slot: u32, piece: u32) -> bool {
        let length = self.info.as_ref().map_or(0, |info| info.layout.piece_length());
        self.links.iter().any(|link| {
            link.slot != slot
                && !(link.closing || link.peer_choking || link.down.snubbed)
                && link.has.get(piece)
                && link.is_fast(length)
                && !self.suspicion.avoids(piece, link.ip)
        })
    }

    fn is_busy(&self) -> bool {
        let active = |l: &Link| {
            !l.closing
                && (!l.down.queue.is_empty()
                    || !l.up.queue.is_empty()
                    || l.up.unsent > 0
                    || (l.am_interested && !l.peer_choking))
        };
        !self.totals.down.is_idle() || !self.totals.up.is_idle() || self.links.iter().any(active)
    }

    /// The next moment something is due.
    fn deadline(&self) -> Time {
        let limits = &self.config.limits;
        let mut next = if self.busy { self.now + TICK } else { Time::NEVER };
        for link in self.links.iter().filter(|l| !l.closing) {
            next = next.min(link.last_out + limits.keep_alive).min(link.last_in + limits.silence);
            if link.peer_interested {
                next = next.min(self.choking.next);
            }
        }
        for other in [
            self.metadata_deadline(),
            self.hashes_deadline(),
            self.seeds_deadline(),
            self.pex_deadline(),
            self.slots_deadline(),
        ] {
            next = next.min(other);
        }
        next.max(self.now + Duration::from_millis(1))
    }
}

/// How long to wait for a block before the peer counts as snubbing.
fn patience(link: &Link, least: Duration) -> Duration {
    let usual = link.down.depth.rtt().unwrap_or_default() * 6;
    least.max(usual).min(Duration::from_secs(60))
}
