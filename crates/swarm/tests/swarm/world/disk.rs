//! A disk that remembers of each block whether it is true.

use std::collections::BTreeMap;

use starling_metainfo::{BLOCK_LENGTH, Bitfield, Layout, Sha256Hash};
use starling_swarm::{Block, Input};

use super::content::{Content, Tag};

/// The blocks of pieces that are not whole yet, and the pieces that are.
#[derive(Default)]
pub struct Disk {
    have: Bitfield,
    begun: BTreeMap<u32, Vec<Option<Tag>>>,
    /// Blocks that came when an earlier one of their piece had not.
    pub out_of_order: u64,
    pub in_order: u64,
    /// Pieces in the order they became whole.
    pub order: Vec<u32>,
    /// The most pieces begun at a time.
    pub begun_most: usize,
}

impl Disk {
    pub fn load(&mut self, have: &Bitfield) {
        self.have = have.clone();
    }

    /// Keeps a block; true if its piece is whole now.
    pub fn store(&mut self, block: Block, tag: Tag, layout: &Layout) -> bool {
        assert!(!self.have.get(block.piece), "a block of a piece we have is stored");
        let begun = self.begun.entry(block.piece).or_insert_with(|| fresh(block.piece, layout));
        let index = (block.begin / BLOCK_LENGTH) as usize;
        assert!(begun[index].is_none(), "a block is stored twice: {block:?}");
        if begun[..index].iter().all(Option::is_some) {
            self.in_order += 1;
        } else {
            self.out_of_order += 1;
        }
        begun[index] = Some(tag);
        let whole = begun.iter().all(Option::is_some);
        self.begun_most = self.begun_most.max(self.begun.len());
        whole
    }

    /// Pieces begun and not whole yet.
    pub fn begun(&self) -> Vec<u32> {
        self.begun.keys().copied().collect()
    }

    /// Whether the piece is good; `None` if it is not whole.
    pub fn verdict(&mut self, piece: u32, content: &Content) -> Option<Input> {
        let tags: Vec<Tag> = self.begun.get(&piece)?.iter().copied().collect::<Option<_>>()?;
        if tags.iter().all(|&tag| tag == 0) {
            self.begun.remove(&piece);
            self.have.insert(piece);
            self.order.push(piece);
            return Some(Input::PieceVerified { piece });
        }
        Some(Input::PieceFailed { piece, digests: content.digests(piece, &tags) })
    }

    /// A piece rots.
    pub fn lose(&mut self, piece: u32) {
        self.have.remove(piece);
    }

    pub fn retry(&mut self, piece: u32, keep: &[u32], layout: &Layout) {
        let old = self.begun.remove(&piece).expect("only what failed is retried");
        let mut begun = fresh(piece, layout);
        for &index in keep {
            begun[index as usize] = old[index as usize];
        }
        self.begun.insert(piece, begun);
    }

    /// What the disk reads back of a good piece.
    pub fn digests(&self, piece: u32, content: &Content) -> Vec<Sha256Hash> {
        assert!(self.have.get(piece), "only verified pieces are read");
        content.digests(piece, &vec![0; content.layout().blocks(piece) as usize])
    }
}

/// A piece of which nothing came; padding is there from the beginning.
fn fresh(piece: u32, layout: &Layout) -> Vec<Option<Tag>> {
    (0..layout.blocks(piece)).map(|i| layout.is_padding(piece, i * BLOCK_LENGTH).then_some(0)).collect()
}
