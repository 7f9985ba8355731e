//! Which blocks to ask of whom.
//!
//! Pieces are begun rarest first (or in order), and a begun piece is finished
//! before another is begun. A fast peer gets a piece of its own and goes through
//! it in order, so that it can be hashed as it comes; a very fast one goes through
//! several in rotation, so that they can be hashed side by side; slow peers share
//! pieces.
//! Towards the end the rest of an owned piece is shared out from its back.
//! Asking twice for the very last blocks is the business of `download`.

mod choose;
mod partial;
mod rarity;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use starling_metainfo::{BLOCK_LENGTH, Info};
use starling_sansio::Rng;

pub(crate) use partial::{Holder, Partial, Source};
pub(crate) use rarity::{Class, Has, Rarity, word_at};

use crate::Block;

/// Contiguous blocks of one piece to ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub piece: u32,
    pub first: u32,
    pub count: u32,
}

/// A peer that may be asked for something.
pub(crate) struct Asker<'a> {
    /// Its slot.
    pub slot: u32,
    /// What it has.
    pub has: &'a Has,
    /// The partials it owns, the next to be asked for first.
    pub own: &'a mut VecDeque<u32>,
    /// How many it may own.
    pub width: usize,
    /// Whether it would finish a piece alone in a few seconds.
    pub fast: bool,
    /// Whether it gets whole pieces alone only.
    pub parole: bool,
    /// While it chokes us: the only pieces it serves.
    pub only: Option<&'a [u32]>,
    /// Pieces it would like to serve.
    pub suggested: &'a [u32],
    /// The piece it began last.
    pub last: Option<u32>,
}

/// What became of a block that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Received {
    /// Its piece now has all blocks.
    Completed,
    /// It was missing.
    Useful,
    /// It was there already, or its piece is not wanted now.
    Useless,
}

/// Blocks asked for in one go of a piece that is one of several in rotation: 64 KiB.
const TURN: u32 = 4;
/// Small pieces may be begun beyond the limit up to so many bytes.
const BEGUN_BYTES: u32 = 128 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Picker {
    pub rarity: Rarity,
    pub sequential: bool,
    info: Option<Arc<Info>>,
    partials: Vec<Partial>,
    vacant: Vec<u32>,
    open: Vec<u32>,
    /// Every owned partial with free blocks, among others that were such.
    owned: Vec<u32>,
    limit: usize,
    done: u32,
    version: u64,
    extra: BTreeMap<(u32, u32), u8>,
}

impl Picker {
    /// For a torrent of which nothing may be begun yet.
    pub fn new(info: Arc<Info>, limit: usize, sequential: bool) -> Picker {
        let rarity = Rarity::new(info.layout.pieces());
        let limit = limit.max((BEGUN_BYTES / info.layout.piece_length()) as usize);
        Picker { rarity, info: Some(info), limit, sequential, ..Picker::default() }
    }

    /// Whether there is nothing to pick, for good or for want of metadata.
    pub fn is_idle(&self) -> bool {
        self.info.is_none()
    }

    /// Changes whenever a choice that failed might succeed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Something changed that makes new choices possible.
    pub fn touch(&mut self) {
        self.version += 1;
    }

    /// Whether no more pieces may be begun until some are done.
    pub fn is_full(&self) -> bool {
        self.begun() >= self.limit
    }

    /// Pieces begun and not verified.
    pub fn begun(&self) -> usize {
        self.partials.len() - self.vacant.len()
    }

    /// The partial of `piece`, if it is begun.
    pub fn partial(&self, piece: u32) -> Option<&Partial> {
        self.partials.get(self.rarity.begun(piece)? as usize)
    }

    pub(crate) fn partial_mut(&mut self, piece: u32) -> Option<&mut Partial> {
        self.partials.get_mut(self.rarity.begun(piece)? as usize)
    }

    /// The block number `index` of `piece`, without the padding it ends in.
    pub fn block(&self, piece: u32, index: u32) -> Block {
        let begin = index * BLOCK_LENGTH;
        let length = self.info.as_ref().map_or(0, |info| info.layout.asked_len(piece, begin));
        Block { piece, begin, length }
    }

    /// Puts up to `count` blocks to ask of `asker` into `runs`; they count as asked.
    /// `avoid`: pieces this peer is not to be asked for.
    pub fn pick(
        &mut self,
        asker: &mut Asker<'_>,
        count: u32,
        rng: &mut Rng,
        avoid: &impl Fn(u32) -> bool,
        runs: &mut Vec<Run>,
    ) {
        if self.sequential {
            asker.width = 1;
        }
        self.narrow(asker);
        let mut left = count;
        while left > 0 {
            let Some((id, front)) = self.choose(asker, rng, avoid) else { return };
            let partial = &mut self.partials[id as usize];
            let in_turn = asker.width > 1 && partial.owner == Some(Holder::Peer(asker.slot));
            let run = if front {
                partial.take_front(left, if in_turn { TURN } else { u32::MAX })
            } else {
                partial.take_back(left.min(partial.free().div_ceil(2)))
            };
            let Some((first, count)) = run else { return };
            left -= count;
            runs.push(Run { piece: partial.piece, first, count });
            if partial.free() == 0 {
                self.close(id);
                asker.own.retain(|&own| own != id);
            } else if in_turn && (first + count).is_multiple_of(TURN) && asker.own.front() == Some(&id) {
                asker.own.rotate_left(1);
            }
        }
    }

    /// `block` of `piece` came from `source`.
    pub fn receive(&mut self, piece: u32, block: u32, source: Source) -> Received {
        let Some(id) = self.rarity.begun(piece) else { return Received::Useless };
        let Some(partial) = self.partials.get_mut(id as usize) else { return Received::Useless };
        if !partial.receive(block, source) {
            return Received::Useless;
        }
        let (missing, free) = (partial.missing(), partial.free());
        if free == 0 && partial.open_at.is_some() {
            self.close(id);
        }
        if missing == 0 { Received::Completed } else { Received::Useful }
    }

    /// One more is asked for a block that is asked already.
    pub fn add_extra(&mut self, piece: u32, block: u32) {
        *self.extra.entry((piece, block)).or_insert(0) += 1;
    }

    /// How many more than one are asked for the block.
    pub fn extra(&self, piece: u32, block: u32) -> u8 {
        if self.extra.is_empty() { 0 } else { self.extra.get(&(piece, block)).copied().unwrap_or(0) }
    }

    /// Forgets that several were asked for the block; true if so.
    pub fn clear_extra(&mut self, piece: u32, block: u32) -> bool {
        !self.extra.is_empty() && self.extra.remove(&(piece, block)).is_some()
    }

    /// One holder of the block will not send it.
    pub fn release(&mut self, piece: u32, block: u32) {
        if let Some(n) = self.extra.get_mut(&(piece, block)) {
            *n -= 1;
            if *n == 0 {
                self.extra.remove(&(piece, block));
            }
            return;
        }
        let Some(id) = self.rarity.begun(piece) else { return };
        let Some(partial) = self.partials.get_mut(id as usize) else { return };
        if partial.release(block) {
            self.version += 1;
            self.list_owned(id);
            self.loosen(id, false);
        }
    }

    /// The owner in `slot` has no use for its pieces any more.
    pub fn disown(&mut self, slot: u32, own: &mut VecDeque<u32>) {
        own.drain(..).for_each(|id| self.leave(slot, id));
    }

    /// Their owner turned out slow: others may join.
    pub fn share(&mut self, slot: u32, own: &mut VecDeque<u32>) {
        own.retain(|&id| {
            let shared = self.owns(slot, id) && !self.partials[id as usize].alone;
            if shared {
                self.partials[id as usize].shared = true;
                self.leave(slot, id);
            }
            !shared
        });
    }

    /// The owner gives back the pieces that nobody else may take blocks of: which.
    pub fn let_go_alone(&mut self, slot: u32, own: &mut VecDeque<u32>) -> Vec<u32> {
        let mine = |id: u32| self.owns(slot, id) && self.partials[id as usize].alone;
        let alone: Vec<u32> = own.iter().copied().filter(|&id| mine(id)).collect();
        own.retain(|id| !alone.contains(id));
        alone.iter().for_each(|&id| self.leave(slot, id));
        alone.into_iter().map(|id| self.partials[id as usize].piece).collect()
    }

    /// The piece that is begun as number `id`, if one peer alone may send it.
    pub fn alone(&self, id: u32) -> Option<u32> {
        self.partials.get(id as usize).filter(|partial| partial.alone).map(|partial| partial.piece)
    }

    /// The asker is not as fast any more: what it has too many is for whoever comes first.
    fn narrow(&mut self, asker: &mut Asker<'_>) {
        while asker.own.len() > asker.width
            && let Some(id) = asker.own.pop_back()
        {
            self.leave(asker.slot, id);
        }
    }

    fn leave(&mut self, slot: u32, id: u32) {
        if self.owns(slot, id) {
            self.partials[id as usize].owner = None;
            self.version += 1;
            self.loosen(id, false);
        }
    }

    /// The piece is on disk and good, or not wanted any more: forgets its blocks.
    pub fn finish(&mut self, piece: u32) {
        if let Some(id) = self.rarity.begun(piece) {
            self.vacate(id);
            self.done += 1;
        }
        self.rarity.remove(piece);
    }

    /// The piece failed its hash: starts over but for the blocks in `keep` (ascending).
    /// `alone`: from one peer only.
    pub fn retry(&mut self, piece: u32, keep: &[u32], alone: bool) {
        let Some(id) = self.rarity.begun(piece) else { return };
        let Some(partial) = self.partials.get_mut(id as usize) else { return };
        partial.retry(keep);
        partial.alone = alone;
        partial.shared = false;
        partial.owner = None;
        self.version += 1;
        self.loosen(id, false);
    }

    /// Begins `piece` whole for a web seed; false if it is not startable.
    pub fn begin_for_seed(&mut self, piece: u32, holder: Holder) -> bool {
        let id = match self.rarity.begun(piece) {
            Some(id) if self.is_orphan(id) => id,
            None if self.rarity.is_startable(piece) => self.begin(piece),
            _ => return false,
        };
        self.close(id);
        let partial = &mut self.partials[id as usize];
        partial.owner = Some(holder);
        while partial.take_front(u32::MAX, u32::MAX).is_some() {}
        true
    }

    /// A begun piece that nobody is asked for.
    pub fn orphan(&self) -> Option<u32> {
        self.open.iter().find(|&&id| self.is_orphan(id)).map(|&id| self.partials[id as usize].piece)
    }

    fn is_orphan(&self, id: u32) -> bool {
        self.partials
            .get(id as usize)
            .is_some_and(|p| p.free() > 0 && p.free() == p.missing() && p.owner.is_none())
    }

    fn owns(&self, slot: u32, id: u32) -> bool {
        self.partials.get(id as usize).is_some_and(|p| p.owner == Some(Holder::Peer(slot)))
    }

    fn begin(&mut self, piece: u32) -> u32 {
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.partials.push(Partial::default());
            self.partials.len() as u32 - 1
        });
        if let Some(info) = &self.info {
            let layout = &info.layout;
            let padding = |b: u32| layout.has_padding() && layout.is_padding(piece, b * BLOCK_LENGTH);
            self.partials[id as usize].reset(piece, layout.blocks(piece), padding);
        }
        self.rarity.begin(piece, id);
        id
    }

    fn vacate(&mut self, id: u32) {
        self.close(id);
        let partial = &mut self.partials[id as usize];
        if !self.extra.is_empty() {
            let (from, to) = ((partial.piece, 0), (partial.piece, u32::MAX));
            let gone: Vec<_> = self.extra.range(from..=to).map(|(&k, _)| k).collect();
            for key in gone {
                self.extra.remove(&key);
            }
        }
        partial.reset(u32::MAX, 0, |_| false);
        self.vacant.push(id);
        self.version += 1;
    }

    /// Lists an ownerless partial with free blocks. One that nobody touched is begun no
    /// more, unless it is `fresh`, about to be touched.
    fn loosen(&mut self, id: u32, fresh: bool) {
        let partial = &mut self.partials[id as usize];
        if partial.owner.is_some() || partial.free() == 0 {
            return;
        }
        if partial.is_untouched() && !partial.alone && !fresh {
            let piece = partial.piece;
            self.vacate(id);
            return self.rarity.insert(piece);
        }
        let partial = &mut self.partials[id as usize];
        if partial.open_at.is_some() {
            return;
        }
        partial.open_at = Some(self.open.len() as u32);
        self.open.push(id);
    }

    /// Lists an owned partial that may have free blocks, to be helped with.
    fn list_owned(&mut self, id: u32) {
        let partial = &mut self.partials[id as usize];
        if partial.owner.is_some() && !std::mem::replace(&mut partial.listed, true) {
            self.owned.push(id);
        }
    }

    /// Takes a partial off the list of ownerless ones, and from its owner.
    fn close(&mut self, id: u32) {
        let partial = &mut self.partials[id as usize];
        partial.owner = None;
        let Some(at) = partial.open_at.take() else { return };
        self.open.swap_remove(at as usize);
        if let Some(&moved) = self.open.get(at as usize) {
            self.partials[moved as usize].open_at = Some(at);
        }
    }
}
