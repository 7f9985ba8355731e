//! One piece in progress: which blocks came, how far it is hashed, what is not
//! written yet. No files here; [`crate::process`] does what this says.

use std::collections::BTreeMap;

use bytes::Bytes;
use starling_metainfo::{BLOCK_LENGTH, Layout, Sha256Hash};

use crate::hash::{self, Sha1};

/// What is posted for a piece. It is worked off in order.
pub(crate) enum Item {
    /// A block that came.
    Block { begin: u32, data: Bytes },
    /// Start over with these blocks kept.
    Retry(Vec<u32>),
    /// Look again: hashes became known, or the disk may write.
    Look,
}

impl Item {
    /// Bytes of memory it holds.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Item::Block { data, .. } => data.len(),
            Item::Retry(_) | Item::Look => 0,
        }
    }
}

/// A block that waits for earlier ones to be hashed.
pub(crate) enum Parked {
    /// In memory, not written.
    Memory(Bytes),
    /// Written (or in [`Piece::unwritten`]): to be read back.
    Written,
}

/// What the head of the SHA-1 stream needs next.
pub(crate) enum Next {
    /// It was written and must be read back.
    ReadBack,
    /// A block that has not come, or the end.
    Nothing,
}

/// A piece's state between turns.
pub(crate) struct Piece {
    pub(crate) index: u32,
    pub(crate) blocks: u32,
    received: Vec<u64>,
    missing: u32,
    /// The v1 hash up to block `head`; `None` in v2-only torrents.
    sha1: Option<Sha1>,
    head: u32,
    /// SHA-256 of each block, in torrents with a v2 part.
    leaves: Option<Vec<Sha256Hash>>,
    parked: BTreeMap<u32, Parked>,
    /// Blocks to be written; empty while the disk works.
    pub(crate) unwritten: Vec<(u32, Bytes)>,
    /// The hash was wrong; nothing happens until a retry.
    pub(crate) failed: bool,
    /// How many syncs had failed when it began: if one more did since, what was
    /// written may be gone, and the piece is judged by what is on the medium.
    pub(crate) sync_failures: u32,
}

/// How a torrent hashes.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) v1: bool,
    pub(crate) v2: bool,
}

impl Shape<'_> {
    /// Bytes of a block as peers send it: without the padding it ends in.
    pub(crate) fn block_len(&self, piece: u32, block: u32) -> u32 {
        self.layout.asked_len(piece, block.saturating_mul(BLOCK_LENGTH))
    }

    /// Whether the block is nothing but padding.
    pub(crate) fn is_padding(&self, piece: u32, block: u32) -> bool {
        self.layout.has_padding() && self.layout.is_padding(piece, block * BLOCK_LENGTH)
    }

    /// Whether no byte of the block is padding.
    pub(crate) fn is_plain(&self, piece: u32, block: u32) -> bool {
        let begin = block * BLOCK_LENGTH;
        let whole = self.layout.block_len(piece, begin);
        !self.layout.has_padding() || self.layout.spans(piece, begin, whole).all(|span| span.file.is_some())
    }

    /// Hashes a block for v1: padding counts as zeros, whatever was sent and at the end.
    fn hash_v1(&self, sha1: &mut Sha1, piece: u32, block: u32, mut data: &[u8]) {
        if !self.layout.has_padding() {
            return sha1.update(data);
        }
        let ending = self.layout.block_len(piece, block * BLOCK_LENGTH) as usize - data.len();
        for span in self.layout.spans(piece, block * BLOCK_LENGTH, data.len() as u32) {
            let (head, rest) = data.split_at(span.length as usize);
            match span.file {
                Some(_) => sha1.update(head),
                None => hash::update_zeros(sha1, head.len()),
            }
            data = rest;
        }
        hash::update_zeros(sha1, ending);
    }

    /// The part of a block that its v2 leaf covers.
    pub(crate) fn leaf_part<'d>(&self, piece: u32, block: u32, data: &'d [u8]) -> &'d [u8] {
        if !self.layout.has_padding() {
            return data;
        }
        let content = self.layout.content_len(piece).saturating_sub(block * BLOCK_LENGTH) as usize;
        &data[..content.min(data.len())]
    }
}

impl Piece {
    /// Nothing came yet.
    pub(crate) fn new(index: u32, shape: Shape<'_>, sync_failures: u32) -> Piece {
        let blocks = shape.layout.blocks(index);
        let mut piece = Piece {
            index,
            blocks,
            received: vec![0; blocks.div_ceil(64) as usize],
            missing: blocks,
            sha1: shape.v1.then(Sha1::default),
            head: 0,
            leaves: shape.v2.then(|| vec![Sha256Hash([0; 32]); blocks as usize]),
            parked: BTreeMap::new(),
            unwritten: Vec::new(),
            failed: false,
            sync_failures,
        };
        for block in (0..blocks).filter(|&block| shape.is_padding(index, block)) {
            piece.receive(block);
        }
        piece
    }

    /// Whether the block is one that is missing, of the right length.
    pub(crate) fn wants(&self, begin: u32, length: usize, shape: Shape<'_>) -> Option<u32> {
        let block = begin / BLOCK_LENGTH;
        let right = begin.is_multiple_of(BLOCK_LENGTH)
            && block < self.blocks
            && length == shape.block_len(self.index, block) as usize;
        (right && !self.failed && !self.has(block)).then_some(block)
    }

    /// Counts a block as come.
    pub(crate) fn receive(&mut self, block: u32) {
        if !self.has(block) {
            self.received[block as usize / 64] |= 1 << (block % 64);
            self.missing -= 1;
        }
    }

    fn has(&self, block: u32) -> bool {
        self.received.get(block as usize / 64).is_some_and(|word| word >> (block % 64) & 1 == 1)
    }

    /// Whether v1 has to wait for earlier blocks before it can hash this one.
    pub(crate) fn is_early(&self, block: u32) -> bool {
        self.sha1.is_some() && block != self.head
    }

    /// Takes the leaf of a block that came.
    pub(crate) fn set_leaf(&mut self, block: u32, leaf: Sha256Hash) {
        if let Some(place) = self.leaves.as_mut().and_then(|leaves| leaves.get_mut(block as usize)) {
            *place = leaf;
        }
    }

    /// The v1 stream, to be given the block at the head, which counts as hashed.
    pub(crate) fn next_of_stream(&mut self) -> Option<&mut Sha1> {
        let sha1 = self.sha1.as_mut()?;
        self.head += 1;
        Some(sha1)
    }

    /// A block that waits in memory and can be hashed as it is.
    pub(crate) fn unpark(&mut self, block: u32, shape: Shape<'_>) -> Option<Bytes> {
        if !matches!(self.parked.get(&block), Some(Parked::Memory(_))) || !shape.is_plain(self.index, block) {
            return None;
        }
        match self.parked.remove(&block) {
            Some(Parked::Memory(data)) => Some(data),
            _ => None,
        }
    }

    /// Hashes the block at the head for v1.
    pub(crate) fn hash_head(&mut self, data: &[u8], shape: Shape<'_>) {
        if let Some(sha1) = &mut self.sha1 {
            shape.hash_v1(sha1, self.index, self.head, data);
            self.head += 1;
        }
    }

    /// Lets a block wait for its turn.
    pub(crate) fn park(&mut self, block: u32, how: Parked) {
        self.parked.insert(block, how);
    }

    /// Advances the head over blocks that wait in memory and over padding. Those that
    /// are hashed now and not written yet go to `out`.
    pub(crate) fn drain(&mut self, shape: Shape<'_>, mut out: impl FnMut(u32, Bytes)) -> Next {
        while self.sha1.is_some() && self.head < self.blocks {
            let block = self.head;
            match self.parked.remove(&block) {
                Some(Parked::Memory(data)) => {
                    self.hash_head(&data, shape);
                    out(block, data);
                }
                Some(Parked::Written) => {
                    self.parked.insert(block, Parked::Written);
                    return Next::ReadBack;
                }
                None if shape.is_padding(self.index, block) => {
                    let zeros = shape.layout.block_len(self.index, block * BLOCK_LENGTH) as usize;
                    if let Some(sha1) = &mut self.sha1 {
                        hash::update_zeros(sha1, zeros);
                    }
                    self.head += 1;
                }
                None => break,
            }
        }
        Next::Nothing
    }

    /// The block at the head was read back.
    pub(crate) fn read_back(&mut self, data: &[u8], shape: Shape<'_>) {
        self.parked.remove(&self.head);
        self.hash_head(data, shape);
    }

    /// The block at the head.
    pub(crate) fn head(&self) -> u32 {
        self.head
    }

    /// Whether all blocks came, are hashed and written.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing == 0 && self.unwritten.is_empty() && (self.sha1.is_none() || self.head == self.blocks)
    }

    /// Whether it waits for the disk.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.unwritten.is_empty() || matches!(self.parked.get(&self.head), Some(Parked::Written))
    }

    /// Whether another look at it may bring it on.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_blocked() || (self.is_complete() && !self.failed)
    }

    /// The v1 hash of a complete piece.
    pub(crate) fn v1(&self) -> Option<starling_metainfo::Sha1Hash> {
        self.sha1.clone().map(Sha1::finish)
    }

    /// The v2 leaves.
    pub(crate) fn leaves(&self) -> Option<&[Sha256Hash]> {
        self.leaves.as_deref()
    }

    /// Starts over; blocks in `keep` that came count as come and written. What was in
    /// memory is returned for its bytes to be counted: parked, and all.
    pub(crate) fn retry(&mut self, keep: &[u32], shape: Shape<'_>) -> (usize, usize) {
        let parked: usize = self.parked.values().map(Parked::bytes).sum();
        let held = parked + self.unwritten.iter().map(|(_, data)| data.len()).sum::<usize>();
        let mut fresh = Piece::new(self.index, shape, self.sync_failures);
        for &block in keep.iter().filter(|&&block| self.is_written(block)) {
            fresh.receive(block);
            if let (Some(new), Some(old)) = (&mut fresh.leaves, &self.leaves) {
                new[block as usize] = old[block as usize];
            }
            if fresh.sha1.is_some() && !shape.is_padding(self.index, block) {
                fresh.park(block, Parked::Written);
            }
        }
        *self = fresh;
        (parked, held)
    }

    fn is_written(&self, block: u32) -> bool {
        self.has(block)
            && !matches!(self.parked.get(&block), Some(Parked::Memory(_)))
            && !self.unwritten.iter().any(|(b, _)| *b == block)
    }
}

impl Parked {
    fn bytes(&self) -> usize {
        match self {
            Parked::Memory(data) => data.len(),
            Parked::Written => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_metainfo::{FileEntry, PieceLength};

    fn layout(length: u64) -> Layout {
        let file = FileEntry {
            path: vec!["f".into()],
            raw: None,
            length,
            offset: 0,
            padding: false,
            executable: false,
            hidden: false,
            pieces_root: None,
        };
        Layout::new(PieceLength::new(1 << 20).unwrap(), vec![file], false).unwrap()
    }

    #[test]
    fn v1_hashes_in_order_whatever_the_order_of_arrival() {
        let layout = layout(u64::from(BLOCK_LENGTH) * 3 + 5);
        let shape = Shape { layout: &layout, v1: true, v2: false };
        let data: Vec<u8> = (0..BLOCK_LENGTH * 3 + 5).map(|i| (i % 251) as u8).collect();
        let mut whole = Sha1::default();
        whole.update(&data);
        let whole = whole.finish();
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut piece = Piece::new(0, shape, 0);
            let mut written = Vec::new();
            for block in order {
                let begin = block * BLOCK_LENGTH;
                let part = Bytes::copy_from_slice(
                    &data[begin as usize..(begin + shape.block_len(0, block)) as usize],
                );
                assert_eq!(piece.wants(begin, part.len(), shape), Some(block));
                piece.receive(block);
                assert_eq!(piece.wants(begin, part.len(), shape), None);
                if piece.is_early(block) {
                    piece.park(block, Parked::Memory(part));
                } else {
                    piece.hash_head(&part, shape);
                    written.push(block);
                }
                piece.drain(shape, |block, _| written.push(block));
            }
            assert!(piece.is_complete());
            assert_eq!(written, [0, 1, 2, 3]);
            assert_eq!(piece.v1(), Some(whole), "{order:?}");
        }
    }

    #[test]
    fn blocks_of_the_wrong_shape_are_not_wanted() {
        let layout = layout(u64::from(BLOCK_LENGTH) + 5);
        let shape = Shape { layout: &layout, v1: true, v2: true };
        let piece = Piece::new(0, shape, 0);
        assert_eq!(piece.wants(0, BLOCK_LENGTH as usize, shape), Some(0));
        assert_eq!(piece.wants(BLOCK_LENGTH, 5, shape), Some(1));
        for (begin, length) in
            [(1, BLOCK_LENGTH), (0, 5), (BLOCK_LENGTH, 6), (2 * BLOCK_LENGTH, 0), (u32::MAX, 1)]
        {
            assert_eq!(piece.wants(begin, length as usize, shape), None);
        }
    }
}
