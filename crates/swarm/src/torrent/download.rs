//! Asking peers for blocks, and taking them.

use starling_metainfo::BLOCK_LENGTH;
use starling_sansio::Sink;

use crate::peer::{Asked, Link};
use crate::picker::{Asker, Received, Source};
use crate::torrent::Torrent;
use crate::{Blame, Block, Message, Output};

/// A peer that chokes us is asked for its allowed-fast pieces after that long.
const FAST_AFTER: std::time::Duration = std::time::Duration::from_secs(2);

impl Torrent {
    /// Asks a peer for as much as its depth allows, in batches.
    pub(crate) fn fill(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        let Some(room) = self.room(slot) else { return };
        let version = self.picker.version();
        let own_left = self.links.get(slot).is_some_and(|link| !link.down.own.is_empty());
        let starved = self.links.get(slot).and_then(|link| link.down.starved);
        if starved == Some(version) && !own_left {
            return self.endgame(slot, room, out);
        }
        let mut runs = std::mem::take(&mut self.runs);
        runs.clear();
        self.pick(slot, room, &mut runs);
        let asked = self.send_requests(slot, &runs, out);
        self.runs = runs;
        if asked < room {
            let version = self.picker.version();
            if let Some(link) = self.links.get_mut(slot) {
                link.down.starved = Some(version);
            }
            self.endgame(slot, room - asked, out);
        }
    }

    /// How many blocks this peer is to be asked for now; `None` if it is not worth the while.
    fn room(&self, slot: u32) -> Option<u32> {
        let link = self.links.get(slot)?;
        let down = &link.down;
        if !link.am_interested || self.picker.is_idle() || link.closing {
            return None;
        }
        if link.peer_choking && (down.allowed.is_empty() || self.picker.sequential || self.is_new(link)) {
            return None;
        }
        let target = if down.snubbed { 1 } else { down.depth.target() };
        let in_flight = down.queue.len() as u32;
        let batch = if down.snubbed { 1 } else { down.depth.batch() };
        if in_flight + batch > target && in_flight > 0 {
            return None;
        }
        let granted = self.grant_down.map_or(u64::MAX, |bytes| bytes.div_ceil(BLOCK_LENGTH.into()));
        let room = u64::from(target.saturating_sub(in_flight)).min(granted) as u32;
        (room > 0).then_some(room)
    }

    /// Whether an unchoke may still be on its way: the allowed-fast set, the same for a
    /// whole network, is the worse start.
    fn is_new(&self, link: &Link) -> bool {
        self.now.since(link.connected) < FAST_AFTER
    }

    fn pick(&mut self, slot: u32, room: u32, runs: &mut Vec<crate::picker::Run>) {
        let piece_length = self.info.as_ref().map_or(0, |info| info.layout.piece_length());
        let Some(link) = self.links.get_mut(slot) else { return };
        let (fast, width) = (link.is_fast(piece_length), link.width(piece_length, &self.config.limits));
        let suspicion = &self.suspicion;
        let ip = link.ip;
        let refused = &link.down.refused;
        let avoid = |piece: u32| suspicion.avoids(piece, ip) || refused.contains(&piece);
        let mut asker = Asker {
            slot,
            has: &link.has,
            own: &mut link.down.own,
            width,
            fast,
            parole: link.down.parole,
            only: link.peer_choking.then_some(link.down.allowed.as_slice()),
            suggested: &link.down.suggested,
            last: link.down.last_piece,
        };
        self.picker.pick(&mut asker, room, &mut self.rng, &avoid, runs);
        link.down.last_piece = asker.last;
    }

    /// Sends the runs as requests; how many.
    fn send_requests(&mut self, slot: u32, runs: &[crate::picker::Run], out: &mut impl Sink<Output>) -> u32 {
        let now = self.now;
        let mut asked = 0;
        for run in runs {
            for index in run.first..run.first + run.count {
                let block = self.picker.block(run.piece, index);
                let Some(link) = self.links.get_mut(slot) else { return asked };
                ask(link, now, block, index, out);
                self.grant_down = self.grant_down.map(|bytes| bytes.saturating_sub(block.length.into()));
                asked += 1;
            }
        }
        self.busy |= asked > 0;
        asked
    }

    /// A block came. Only what was asked for is kept.
    pub(crate) fn on_piece(&mut self, slot: u32, block: Block, out: &mut impl Sink<Output>) {
        let now = self.now;
        let Some(link) = self.links.get_mut(slot) else { return };
        self.totals.down.add(block.length.into());
        let Some(asked) = link.down.take(&block) else { return self.on_unasked(slot, block, out) };
        let index = u32::from(asked.index);
        if self.picker.block(block.piece, index) != block {
            self.give_up(block.piece, index);
            return self.close(slot, Blame::Peer, "sent a block of another length than asked", out);
        }
        link.down.rate.add(block.length.into());
        link.down.heard = now;
        link.down.snubbed = false;
        link.down.depth.on_block(now, asked.sent);
        if link.down.queue.is_empty() {
            link.down.depth.on_idle();
        }
        let source = Source::Ip(link.ip);
        self.keep(slot, block, index, source, out);
        self.fill(slot, out);
    }

    /// A block that counts came from a peer: stored if it is still missing.
    fn keep(&mut self, slot: u32, block: Block, index: u32, source: Source, out: &mut impl Sink<Output>) {
        match self.picker.receive(block.piece, index, source) {
            Received::Useless => self.totals.wasted += u64::from(block.length),
            Received::Useful | Received::Completed => {
                out.put(Output::Store { block });
                if self.picker.clear_extra(block.piece, index) {
                    self.cancel_elsewhere(slot, block, index, out);
                }
            }
        }
    }

    /// Not asked for, or given up since. The latter may still be of use.
    fn on_unasked(&mut self, slot: u32, block: Block, out: &mut impl Sink<Output>) {
        let Some(link) = self.links.get_mut(slot) else { return };
        if !link.down.taken_back.settle_any(&block) {
            self.totals.wasted += u64::from(block.length);
            return self.strike(slot, "sends blocks nobody asked for", out);
        }
        link.down.heard = self.now;
        link.down.snubbed = false;
        let source = Source::Ip(link.ip);
        let parole = link.down.parole;
        let index = block.begin / BLOCK_LENGTH;
        let alone = self.picker.partial(block.piece).is_none_or(|partial| partial.alone);
        let right =
            block.begin.is_multiple_of(BLOCK_LENGTH) && self.picker.block(block.piece, index) == block;
        if !right || alone || parole || !self.wants(block.piece) {
            self.totals.wasted += u64::from(block.length);
            return;
        }
        if self.picker.partial(block.piece).is_some_and(|partial| partial.is_asked(index)) {
            self.picker.add_extra(block.piece, index);
        }
        self.keep(slot, block, index, source, out);
        self.fill(slot, out);
    }

    /// The block came from one; the others need not send it.
    pub(super) fn cancel_elsewhere(
        &mut self,
        slot: u32,
        block: Block,
        index: u32,
        out: &mut impl Sink<Output>,
    ) {
        let now = self.now;
        for link in self.links.iter_mut().filter(|link| link.slot != slot && !link.down.queue.is_empty()) {
            let is = |a: &Asked| a.piece == block.piece && u32::from(a.index) == index;
            if let Some(at) = link.down.queue.iter().position(is) {
                link.down.queue.remove(at);
                link.down.taken_back.push(block.piece, index as u16);
                link.send(now, Message::Cancel(block), out);
            }
        }
    }

    /// BEP 6: the peer will not send this block.
    pub(crate) fn on_reject(&mut self, slot: u32, block: Block, out: &mut impl Sink<Output>) {
        let Some(link) = self.links.get_mut(slot) else { return };
        // The answer to a cancel, or to what we gave up; the block may be asked for anew.
        if link.down.taken_back.settle(&block) {
            return;
        }
        let Some(asked) = link.down.take(&block) else {
            if link.down.taken_back.settle_any(&block) {
                return;
            }
            return self.strike(slot, "rejects what nobody asked for", out);
        };
        link.chatter = (link.chatter + 1.0).min(f64::from(self.config.limits.chatter_burst));
        if !link.peer_choking {
            link.down.allowed.retain(|&piece| piece != block.piece);
            self.refused(slot, block.piece, out);
        } else {
            link.down.allowed.retain(|&piece| piece != block.piece);
        }
        self.give_up(asked.piece, asked.index.into());
        self.refund(block.length);
        self.refill_soon();
    }

    /// A peer that does not choke us will not serve a piece: asking it again at once is of no use.
    fn refused(&mut self, slot: u32, piece: u32, out: &mut impl Sink<Output>) {
        if let Some(link) = self.links.get_mut(slot) {
            self.picker.disown(slot, &mut link.down.own);
            link.note_refused(piece);
        }
        self.strike(slot, "rejects everything", out);
    }

    pub(crate) fn on_choke(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        let Some(link) = self.links.get_mut(slot) else { return };
        link.peer_choking = true;
        self.picker.disown(slot, &mut link.down.own);
        let fast = link.fast;
        if !fast {
            // Without BEP 6 a choke drops what was asked.
            self.release_all(slot);
        }
        self.refill_soon();
        let _ = out;
    }

    pub(crate) fn on_unchoke(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        let now = self.now;
        let Some(link) = self.links.get_mut(slot) else { return };
        if std::mem::take(&mut link.peer_choking) {
            link.down.starved = None;
            link.down.heard = now;
        }
        self.fill(slot, out);
    }

    /// Forgets what a peer was asked for; others may be asked.
    pub(crate) fn release_all(&mut self, slot: u32) {
        let Some(link) = self.links.get_mut(slot) else { return };
        self.picker.disown(slot, &mut link.down.own);
        let queue = std::mem::take(&mut link.down.queue);
        queue.iter().for_each(|asked| link.down.taken_back.push(asked.piece, asked.index));
        link.down.depth.on_idle();
        for asked in queue {
            let block = self.picker.block(asked.piece, asked.index.into());
            self.give_up(asked.piece, asked.index.into());
            self.refund(block.length);
        }
    }

    /// Takes back all requests but the first `keep`, with cancels.
    pub(crate) fn cancel_beyond(&mut self, slot: u32, keep: usize, out: &mut impl Sink<Output>) {
        let now = self.now;
        let Some(link) = self.links.get_mut(slot) else { return };
        self.picker.disown(slot, &mut link.down.own);
        while let Some(link) = self.links.get_mut(slot).filter(|link| link.down.queue.len() > keep) {
            let Some(asked) = link.down.queue.pop_back() else { return };
            let block = self.picker.block(asked.piece, asked.index.into());
            link.down.taken_back.push(asked.piece, asked.index);
            link.send(now, Message::Cancel(block), out);
            self.give_up(asked.piece, asked.index.into());
            self.refund(block.length);
        }
    }

    /// Takes back all requests.
    pub(crate) fn cancel_all(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        self.cancel_beyond(slot, 0, out);
    }

    /// Takes back the requests for one piece.
    pub(crate) fn release_piece(&mut self, slot: u32, piece: u32, out: &mut impl Sink<Output>) {
        let now = self.now;
        let Some(link) = self.links.get_mut(slot) else { return };
        let (gone, kept): (Vec<Asked>, Vec<Asked>) =
            link.down.queue.drain(..).partition(|asked| asked.piece == piece);
        link.down.queue.extend(kept);
        for asked in gone {
            let block = self.picker.block(piece, asked.index.into());
            if let Some(link) = self.links.get_mut(slot) {
                link.down.taken_back.push(piece, asked.index);
                link.send(now, Message::Cancel(block), out);
            }
            self.give_up(piece, asked.index.into());
        }
    }

    pub(crate) fn give_up(&mut self, piece: u32, index: u32) {
        self.picker.release(piece, index);
    }

    fn refund(&mut self, length: u32) {
        self.grant_down = self.grant_down.map(|bytes| bytes.saturating_add(length.into()));
    }

    /// Asks everyone who has room; after something changed for all.
    pub(crate) fn refill_idle(&mut self, out: &mut impl Sink<Output>) {
        if self.picker.is_idle() || self.missing.count() == 0 {
            return;
        }
        for slot in 0..self.links.slots() {
            self.fill(slot, out);
        }
        self.feed_seeds(out);
    }

    /// What was given up is handed to others at the next tick, which is soon.
    pub(crate) fn refill_soon(&mut self) {
        self.busy = true;
        self.next = self.next.min(self.now + std::time::Duration::from_millis(20));
    }
}

/// Sends one request.
pub(crate) fn ask(
    link: &mut Link,
    now: starling_sansio::Time,
    block: Block,
    index: u32,
    out: &mut impl Sink<Output>,
) {
    if link.down.queue.is_empty() {
        link.down.heard = now;
    }
    link.down.queue.push_back(Asked { piece: block.piece, index: index as u16, overtaken: 0, sent: now });
    link.send(now, Message::Request(block), out);
}
