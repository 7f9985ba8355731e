//! The end of a download: asking twice for what a slow peer still holds.

use std::time::Duration;

use starling_sansio::Sink;

use crate::Output;
use crate::peer::Asked;
use crate::torrent::Torrent;
use crate::torrent::download::ask;

/// Times one block is asked for, at most.
const COPIES_MAX: u8 = 3;
/// Slow peers looked at in one go.
const LOOKS: usize = 16;
/// How much sooner a block must be expected here to be asked for twice.
const ADVANTAGE: f64 = 1.5;
/// Time between two attempts with one peer.
const PAUSE: Duration = Duration::from_millis(20);

impl Torrent {
    /// Nothing is left for this peer: asks it for blocks that others would bring much later.
    pub(crate) fn endgame(&mut self, slot: u32, room: u32, out: &mut impl Sink<Output>) {
        let now = self.now;
        let Some(link) = self.links.get_mut(slot) else { return };
        if link.down.parole || link.down.snubbed || link.peer_choking || now < link.down.endgame_at {
            return;
        }
        link.down.endgame_at = now + PAUSE;
        // Only when everything is asked for: not while pieces wait to be begun.
        if self.picker.rarity.startable() > 0 {
            return;
        }
        let mut in_flight = link.down.queue.len() as u32;
        for (victim, eta) in self.slowest(slot) {
            for _ in 0..room {
                let Some(link) = self.links.get(slot) else { return };
                if link.down.depth.eta_secs(in_flight) * ADVANTAGE >= eta {
                    break;
                }
                let Some(asked) = self.duplicable(slot, victim) else { break };
                let (piece, index) = (asked.piece, u32::from(asked.index));
                let block = self.picker.block(piece, index);
                self.picker.add_extra(piece, index);
                let Some(link) = self.links.get_mut(slot) else { return };
                ask(link, now, block, index, out);
                in_flight += 1;
                self.busy = true;
            }
            if in_flight >= room {
                return;
            }
        }
        self.relieve_web_seeds(slot, room.saturating_sub(in_flight), out);
    }

    /// The same for what a web seed would bring later.
    fn relieve_web_seeds(&mut self, slot: u32, room: u32, out: &mut impl Sink<Output>) {
        for _ in 0..room {
            let Some(link) = self.links.get(slot) else { return };
            let eta = link.down.depth.eta_secs(link.down.queue.len() as u32) * ADVANTAGE;
            let taken = |piece: u32, index: u32| {
                !link.has.get(piece)
                    || self.picker.extra(piece, index) > 0
                    || self.suspicion.avoids(piece, link.ip)
                    || link.down.queue.iter().any(|a| a.piece == piece && u32::from(a.index) == index)
            };
            let Some((piece, index)) = self.seeds.latest(&self.picker, eta, taken) else { return };
            let block = self.picker.block(piece, index);
            self.picker.add_extra(piece, index);
            let now = self.now;
            let Some(link) = self.links.get_mut(slot) else { return };
            ask(link, now, block, index, out);
            self.busy = true;
        }
    }

    /// Peers with requests in flight, the slowest first, and when they will be done.
    fn slowest(&self, slot: u32) -> Vec<(u32, f64)> {
        let busy = self.links.iter().filter(|l| l.slot != slot && !l.down.queue.is_empty());
        let eta = |l: &crate::peer::Link| {
            let waited = l.down.queue.front().map_or(0.0, |a| self.now.since(a.sent).as_secs_f64());
            let whole = l.down.depth.eta_secs(l.down.queue.len() as u32);
            if l.down.snubbed { f64::MAX } else { whole.max(waited) }
        };
        let mut slow: Vec<(u32, f64)> = busy.map(|l| (l.slot, eta(l))).collect();
        slow.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        slow.truncate(LOOKS);
        slow
    }

    /// The last block that `victim` was asked for and that may be asked of `slot` too.
    fn duplicable(&self, slot: u32, victim: u32) -> Option<Asked> {
        let (link, victim) = (self.links.get(slot)?, self.links.get(victim)?);
        let mine = |a: &Asked| link.down.queue.iter().any(|b| b.piece == a.piece && b.index == a.index);
        let fits = |a: &&Asked| {
            let index = u32::from(a.index);
            link.has.get(a.piece)
                && self.picker.extra(a.piece, index) + 1 < COPIES_MAX
                && self.picker.partial(a.piece).is_some_and(|p| !p.alone && p.is_missing(index))
                && !self.suspicion.avoids(a.piece, link.ip)
                && !mine(a)
        };
        victim.down.queue.iter().rev().find(fits).copied()
    }
}
