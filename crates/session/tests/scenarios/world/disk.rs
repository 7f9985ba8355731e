//! A disk that remembers of each block whether it is true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starling_metainfo::{BLOCK_LENGTH, Bitfield, Sha256Hash, Torrent, merkle};
use starling_swarm::{Block, Input};

/// The storage of one torrent on one node.
pub struct Disk {
    pub torrent: Arc<Torrent>,
    pub have: Bitfield,
    begun: BTreeMap<u32, Vec<Option<bool>>>,
    /// Whole pieces that there was no room to write.
    pub stuck: BTreeSet<u32>,
}

impl Disk {
    pub fn new(torrent: Arc<Torrent>, have: Bitfield) -> Disk {
        Disk { torrent, have, begun: BTreeMap::new(), stuck: BTreeSet::new() }
    }

    /// Keeps a block; true if its piece is whole now.
    pub fn store(&mut self, block: Block, is_true: bool) -> bool {
        assert!(!self.have.get(block.piece), "a block of a piece we have is stored");
        let blocks = self.torrent.info.layout.blocks(block.piece) as usize;
        let begun = self.begun.entry(block.piece).or_insert_with(|| vec![None; blocks]);
        let place = &mut begun[(block.begin / BLOCK_LENGTH) as usize];
        assert!(place.is_none(), "a block is stored twice: {block:?}");
        *place = Some(is_true);
        begun.iter().all(Option::is_some)
    }

    /// What hashing a whole piece says.
    pub fn verdict(&mut self, piece: u32) -> Option<Input> {
        let blocks: Vec<bool> = self.begun.get(&piece)?.iter().copied().collect::<Option<_>>()?;
        if blocks.iter().all(|is_true| *is_true) {
            self.begun.remove(&piece);
            self.have.insert(piece);
            return Some(Input::PieceVerified { piece });
        }
        let digests = (0..).zip(blocks).map(|(i, is_true)| digest(piece, i, is_true)).collect();
        Some(Input::PieceFailed { piece, digests })
    }

    pub fn retry(&mut self, piece: u32, keep: &[u32]) {
        let begun = self.begun.get_mut(&piece).expect("only what failed is retried");
        for (place, i) in begun.iter_mut().zip(0..) {
            *place = place.filter(|_| keep.contains(&i));
        }
    }

    pub fn digests(&self, piece: u32) -> Vec<Sha256Hash> {
        assert!(self.have.get(piece), "only verified pieces are read");
        (0..self.torrent.info.layout.blocks(piece)).map(|i| digest(piece, i, true)).collect()
    }
}

fn digest(piece: u32, index: u32, is_true: bool) -> Sha256Hash {
    merkle::sha256(format!("{piece} {index} {is_true}").as_bytes())
}
