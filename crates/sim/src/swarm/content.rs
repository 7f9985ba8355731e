//! What the swarm shares: bytes by chance, hashed once, kept once for all hosts.

use std::sync::Arc;

use bytes::Bytes;
use starling_lanes::Sha1;
use starling_metainfo::{
    BLOCK_LENGTH, Builder, CreateError, PieceLength, Sha1Hash, Sha256Hash, Torrent, merkle,
};
use starling_sansio::Rng;
use starling_swarm::Block;

/// Where the world's tracker is announced to.
pub(super) const TRACKER: &str = "http://tracker/announce";

/// A v1 torrent of one file, with its bytes.
///
/// Blocks are slices of one memory, however many hosts have them.
#[derive(Debug)]
pub struct Content {
    torrent: Arc<Torrent>,
    bytes: Bytes,
    /// What poisoners send instead.
    noise: Bytes,
}

impl Content {
    /// `size` bytes drawn from `seed`, in pieces of `piece` bytes.
    ///
    /// # Errors
    /// If there can be no such torrent.
    pub fn new(size: u64, piece: PieceLength, seed: u64) -> Result<Content, CreateError> {
        let mut rng = Rng::from_seed(seed);
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        rng.fill(&mut bytes);
        let mut noise = vec![0; BLOCK_LENGTH as usize];
        rng.fill(&mut noise);
        let mut builder = Builder::file("content", size);
        builder.piece_length = Some(piece);
        builder.trackers = vec![vec![TRACKER.to_owned()]];
        let hashes: Vec<Sha1Hash> =
            bytes.chunks(piece.get() as usize).map(|piece| Sha1Hash(Sha1::digest(piece))).collect();
        let torrent = Arc::new(builder.plan()?.finish(Some(&hashes), None)?);
        Ok(Content { torrent, bytes: bytes.into(), noise: noise.into() })
    }

    /// The torrent.
    pub fn torrent(&self) -> &Arc<Torrent> {
        &self.torrent
    }

    /// Bytes in it.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The bytes of `block`, as far as there are any.
    pub fn block(&self, block: Block) -> Bytes {
        let start = u64::from(block.piece) * u64::from(self.torrent.info.layout.piece_length());
        let start = (start + u64::from(block.begin)).min(self.size()) as usize;
        self.bytes.slice(start..(start + block.length as usize).min(self.bytes.len()))
    }

    /// As many bytes that are not those of `block`.
    pub fn false_block(&self, block: Block) -> Bytes {
        self.noise.slice(..(block.length as usize).min(self.noise.len()))
    }

    /// Whether `blocks` make up `piece`: by its SHA-1. What is the very memory that the
    /// torrent was made of was hashed then, and is not hashed again for each host.
    pub fn is_right(&self, piece: u32, blocks: &[Bytes]) -> bool {
        let own = self.blocks(piece).eq(blocks.iter().map(|block| (block.as_ptr(), block.len())));
        own || self.hash_is_right(piece, blocks)
    }

    fn hash_is_right(&self, piece: u32, blocks: &[Bytes]) -> bool {
        let mut hasher = Sha1::new();
        blocks.iter().for_each(|block| hasher.update(block));
        self.torrent.info.v1_piece(piece) == Some(Sha1Hash(hasher.finalize()))
    }

    /// Where the blocks of `piece` lie, and how long they are.
    fn blocks(&self, piece: u32) -> impl Iterator<Item = (*const u8, usize)> + '_ {
        self.true_blocks(piece).map(|block| (block.as_ptr(), block.len()))
    }

    fn true_blocks(&self, piece: u32) -> impl Iterator<Item = Bytes> + '_ {
        let layout = &self.torrent.info.layout;
        (0..layout.blocks(piece)).map(move |index| {
            let begin = index * BLOCK_LENGTH;
            self.block(Block { piece, begin, length: layout.block_len(piece, begin) })
        })
    }

    /// SHA-256 of each block of a piece that was verified.
    pub fn digests(&self, piece: u32) -> Vec<Sha256Hash> {
        self.true_blocks(piece).map(|block| merkle::sha256(&block)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_right_by_its_hash_alone() {
        let piece_length = PieceLength::new(32 * 1024).unwrap();
        let content = Content::new(70_000, piece_length, 1).unwrap();
        assert_eq!(content.torrent().info.layout.pieces(), 3);
        let blocks: Vec<Bytes> = content.true_blocks(1).collect();
        assert!(content.is_right(1, &blocks), "the same memory");
        assert!(!content.is_right(0, &blocks), "another piece's memory");
        let copied: Vec<Bytes> = blocks.iter().map(|block| Bytes::copy_from_slice(block)).collect();
        assert!(content.is_right(1, &copied), "equal bytes");
        let lie = Block { piece: 1, begin: 0, length: BLOCK_LENGTH };
        assert!(!content.is_right(1, &[content.false_block(lie), blocks[1].clone()]), "a false block");
        assert_eq!(content.true_blocks(2).map(|block| block.len()).sum::<usize>(), 70_000 - 65_536);
    }
}
