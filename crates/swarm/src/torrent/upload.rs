//! Serving peers: every request gets a block or, if the peer knows BEP 6, a reject.
//!
//! Requests wait here, not at the driver, so that a cancel or a choke still
//! finds them: the driver holds a watermark's worth for each peer, in runs of
//! contiguous blocks.

use starling_metainfo::BLOCK_LENGTH;
use starling_sansio::Sink;

use crate::peer::Link;
use crate::torrent::Torrent;
use crate::{Blame, Block, Message, Output};

/// Rejects in a row, none served between, before a peer that asks on is closed.
const REJECTS_MAX: u32 = 20_000;
/// A peer that gave less than this part of what it got is a newcomer still.
const GIVES_PART: u64 = 16;

impl Torrent {
    /// A peer asks for a block.
    pub(crate) fn on_request(&mut self, slot: u32, block: Block, out: &mut impl Sink<Output>) {
        let limits = &self.config.limits;
        let (requests_in, block_max) = (limits.requests_in as usize, limits.block_length_max);
        let end = block.begin.checked_add(block.length);
        let length = self.info.as_ref().map_or(0, |info| info.layout.padded_len(block.piece));
        let in_range = block.length > 0 && end.is_some_and(|end| end <= length);
        if self.info.is_some() && (!in_range || block.length > block_max) {
            return self.close(slot, Blame::Peer, "asks for what does not exist", out);
        }
        let hidden = self.hides(slot, block.piece);
        let have = self.have.get(block.piece) && !hidden;
        let Some(link) = self.links.get_mut(slot) else { return };
        let allowed = !link.am_choking || (link.fast && link.up.allowed.contains(&block.piece));
        if !allowed || !have || link.up.queue.len() >= requests_in {
            return self.refuse(slot, block, out);
        }
        link.up.rejected = 0;
        link.up.busy = self.now;
        link.up.queue.push_back(block);
        self.busy = true;
        // While something is on its way a run is gathered: `Sent` comes back for it.
        if link.up.unsent == 0 || link.up.queue.len() >= RUN {
            self.pump(slot, out);
        }
    }

    fn refuse(&mut self, slot: u32, block: Block, out: &mut impl Sink<Output>) {
        let (now, reqq) = (self.now, self.config.limits.requests_in as usize);
        let Some(link) = self.links.get_mut(slot) else { return };
        link.up.rejected += 1;
        if link.up.rejected > REJECTS_MAX {
            return self.close(slot, Blame::Peer, "asks on and on for what it is refused", out);
        }
        if link.fast {
            link.send(now, Message::Reject(block), out);
        } else if link.up.queue.len() >= reqq {
            self.close(slot, Blame::Peer, "asks for more than we take", out);
        }
        // Without BEP 6 a choked peer knows that its requests are dropped.
    }

    pub(crate) fn on_cancel(&mut self, slot: u32, block: Block, out: &mut impl Sink<Output>) {
        let now = self.now;
        let Some(link) = self.links.get_mut(slot) else { return };
        let Some(at) = link.up.queue.iter().position(|&b| b == block) else { return };
        link.up.queue.remove(at);
        link.chatter = (link.chatter + 1.0).min(f64::from(self.config.limits.chatter_burst));
        if link.fast {
            link.send(now, Message::Reject(block), out);
        }
    }

    /// The driver says what has left.
    pub(crate) fn on_sent(&mut self, conn: crate::ConnId, bytes: u32, out: &mut impl Sink<Output>) {
        let Some(slot) = self.links.slot_of(conn) else { return };
        let Some(link) = self.links.get_mut(slot) else { return };
        link.last_out = self.now;
        self.on_gone(slot, bytes, out);
    }

    /// A block will not leave after all: who asked is told, and others take its place.
    pub(crate) fn on_unread(&mut self, conn: crate::ConnId, block: Block, out: &mut impl Sink<Output>) {
        let Some(slot) = self.links.slot_of(conn) else { return };
        let now = self.now;
        let Some(link) = self.links.get_mut(slot) else { return };
        if link.fast {
            link.send(now, Message::Reject(block), out);
        }
        self.on_gone(slot, block.length, out);
    }

    /// The driver holds so many bytes less for this peer.
    fn on_gone(&mut self, slot: u32, bytes: u32, out: &mut impl Sink<Output>) {
        let limits = &self.config.limits;
        let Some(link) = self.links.get_mut(slot) else { return };
        link.up.busy = self.now;
        link.up.unsent = link.up.unsent.saturating_sub(bytes.into());
        if !link.up.queue.is_empty() && link.up.unsent <= link.watermark(limits) / 2 {
            self.pump(slot, out);
        }
    }

    pub(crate) fn on_grant(&mut self, down: Option<u64>, up: Option<u64>, out: &mut impl Sink<Output>) {
        (self.grant_down, self.grant_up) = (down, up);
        if down != Some(0) {
            self.refill_idle(out);
        }
        if up != Some(0) {
            self.pump_all(out);
        }
    }

    /// Serves all who wait, each in turn first, a run at a time while bytes are granted.
    pub(crate) fn pump_all(&mut self, out: &mut impl Sink<Output>) {
        let slots = self.links.slots();
        let limited = self.grant_up.is_some();
        loop {
            let mut served = false;
            for i in 0..slots {
                let slot = (self.upload_turn + i) % slots.max(1);
                served |= if limited {
                    self.pump_some(slot, RUN, out)
                } else {
                    self.pump_some(slot, usize::MAX, out)
                };
                if self.grant_up == Some(0) {
                    self.upload_turn = (slot + 1) % slots.max(1);
                    return;
                }
            }
            if !served || !limited {
                return;
            }
        }
    }

    /// Hands the driver blocks for this peer up to the watermark.
    pub(crate) fn pump(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        self.pump_some(slot, usize::MAX, out);
    }

    fn pump_some(&mut self, slot: u32, most: usize, out: &mut impl Sink<Output>) -> bool {
        let seeding = self.finished;
        let limits = &self.config.limits;
        let piece = self.info.as_ref().map_or(0, |info| info.layout.piece_length());
        let Some(link) = self.links.get_mut(slot) else { return false };
        if link.up.queue.is_empty() || link.closing {
            return false;
        }
        let watermark = link.watermark(limits);
        let newcomer = !seeding && self.choking.givers && is_newcomer(link);
        let ip = link.hello.addr.ip();
        let credit = if newcomer { self.choking.newcomers.room(ip, piece) } else { u64::MAX };
        let (mut sent, mut lent) = (0, 0);
        while let Some(&block) = link.up.queue.front() {
            let length = u64::from(block.length);
            let allowed = link.up.allowance.is_none_or(|bytes| bytes > 0) && self.grant_up != Some(0);
            if sent >= most
                || lent + length > credit
                || link.up.unsent + length > watermark.max(length)
                || !allowed
            {
                break;
            }
            link.up.queue.pop_front();
            link.up.unsent += length;
            link.up.turn += length;
            link.up.rate.add(length);
            link.up.allowance = link.up.allowance.map(|bytes| bytes.saturating_sub(length));
            self.grant_up = self.grant_up.map(|bytes| bytes.saturating_sub(length));
            self.totals.up.add(length);
            lent += length;
            out.put(Output::SendBlock { conn: link.conn, block });
            sent += 1;
        }
        if newcomer && lent > 0 {
            self.choking.newcomers.spend(ip, lent);
        }
        sent > 0
    }

    /// Chokes a peer: what it asked for is rejected, but for its allowed-fast pieces.
    pub(crate) fn choke(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        let now = self.now;
        let Some(link) = self.links.get_mut(slot).filter(|link| !link.am_choking) else { return };
        link.judge_turn(now);
        link.am_choking = true;
        link.up.since = now;
        link.up.allowance = None;
        link.send(now, Message::Choke, out);
        if !link.fast {
            return link.up.queue.clear();
        }
        let queue = std::mem::take(&mut link.up.queue);
        for block in queue {
            if link.up.allowed.contains(&block.piece) {
                link.up.queue.push_back(block);
            } else {
                link.send(now, Message::Reject(block), out);
            }
        }
    }

    pub(crate) fn unchoke(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        let now = self.now;
        let Some(link) = self.links.get_mut(slot).filter(|link| link.am_choking) else { return };
        link.am_choking = false;
        link.up.since = now;
        link.up.turn = 0;
        link.send(now, Message::Unchoke, out);
        self.busy = true;
    }

    /// We no longer have `piece`: what this peer asked of it is rejected.
    pub(crate) fn reject_piece(&mut self, slot: u32, piece: u32, out: &mut impl Sink<Output>) {
        let now = self.now;
        let Some(link) = self.links.get_mut(slot) else { return };
        let queue = std::mem::take(&mut link.up.queue);
        for block in queue {
            if block.piece != piece {
                link.up.queue.push_back(block);
            } else if link.fast {
                link.send(now, Message::Reject(block), out);
            }
        }
        link.up.allowed.retain(|&p| p != piece);
    }
}

/// Blocks in a run: 256 KiB.
pub(crate) const RUN: usize = (256 * 1024 / BLOCK_LENGTH) as usize;

/// Whether a peer lives on credit: it has given next to nothing for what it got.
pub(super) fn is_newcomer(link: &Link) -> bool {
    link.down.rate.total() < link.up.rate.total().max(1) / GIVES_PART + u64::from(BLOCK_LENGTH)
}
