//! Requests that were taken back, by a cancel or silently, while their answer may still
//! be on its way.
//!
//! With BEP 6 each cancelled request is answered all the same, by the block or a reject.
//! If the block was asked for again meanwhile, that reject must not be taken for an
//! answer to the new request. Answers that never come (peers without BEP 6 may drop
//! what was cancelled) are kept until newer ones push them out, and are only counted then.

use std::collections::VecDeque;

use starling_metainfo::BLOCK_LENGTH;

use crate::Block;

/// Requests remembered one by one: about as many as stand at once.
const RECENT_MAX: usize = 2500;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct TakenBack {
    /// Piece and index of the block, the oldest first.
    recent: VecDeque<(u32, u16)>,
    older: u32,
}

impl TakenBack {
    /// The request for block `index` of `piece` is taken back.
    pub fn push(&mut self, piece: u32, index: u16) {
        if self.recent.len() >= RECENT_MAX && self.recent.pop_front().is_some() {
            self.older = self.older.saturating_add(1);
        }
        self.recent.push_back((piece, index));
    }

    /// Whether `block` answers a request known to be taken back, which is settled by that.
    pub fn settle(&mut self, block: &Block) -> bool {
        let index = block.begin / BLOCK_LENGTH;
        let is = |&(p, i): &(u32, u16)| p == block.piece && u32::from(i) == index;
        match self.recent.iter().position(is) {
            Some(at) => self.recent.remove(at).is_some(),
            None => false,
        }
    }

    /// The same for one that may be among those only counted.
    pub fn settle_any(&mut self, block: &Block) -> bool {
        if self.settle(block) {
            return true;
        }
        let counted = self.older > 0;
        self.older = self.older.saturating_sub(1);
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(piece: u32, index: u32) -> Block {
        Block { piece, begin: index * BLOCK_LENGTH, length: BLOCK_LENGTH }
    }

    #[test]
    fn each_is_settled_once_and_the_oldest_are_only_counted() {
        let mut taken = TakenBack::default();
        taken.push(1, 2);
        assert!(!taken.settle(&block(2, 1)) && !taken.settle_any(&block(2, 1)));
        assert!(taken.settle(&block(1, 2)) && !taken.settle_any(&block(1, 2)));
        (0..RECENT_MAX as u32 + 2).for_each(|piece| taken.push(piece, 0));
        assert_eq!((taken.recent.len(), taken.older), (RECENT_MAX, 2));
        assert!(!taken.settle(&block(0, 0)) && taken.settle_any(&block(0, 0)));
        assert!(taken.settle_any(&block(1, 0)) && !taken.settle_any(&block(1, 0)));
        assert!(taken.settle(&block(2, 0)));
    }
}
