//! Hashing what is on disk already, a piece at a time, with large reads.

use starling_metainfo::{BLOCK_LENGTH, Sha1Hash, Sha256Hash};

use crate::DiskError;
use crate::hash::{self, Sha1};
use crate::piece::Shape;
use crate::torrent::Torrent;

/// Bytes in one read: many blocks, yet they stay in the core's own cache until hashed.
const CHUNK: usize = 16 * BLOCK_LENGTH as usize;

/// What a piece hashes to, as far as the torrent has those versions.
pub(crate) struct PieceHashes {
    pub(crate) v1: Option<Sha1Hash>,
    /// Of blocks with content; none for padding after it.
    pub(crate) leaves: Option<Vec<Sha256Hash>>,
}

/// Hashes `piece`. `read` fills a buffer from an offset in the piece, padding with zeros.
pub(crate) fn hash_piece(
    shape: Shape<'_>,
    piece: u32,
    buffer: &mut Vec<u8>,
    mut read: impl FnMut(u32, &mut [u8]) -> Result<(), DiskError>,
) -> Result<PieceHashes, DiskError> {
    if buffer.len() < CHUNK {
        buffer.resize(CHUNK, 0);
    }
    let length = shape.layout.piece_len(piece);
    let content = if shape.has_padding { shape.layout.content_len(piece) } else { length };
    let mut sha1 = shape.v1.then(Sha1::default);
    let mut leaves = shape.v2.then(|| Vec::with_capacity(content.div_ceil(BLOCK_LENGTH) as usize));
    let mut begin = 0;
    while begin < length {
        let chunk = &mut buffer[..CHUNK.min((length - begin) as usize)];
        read(begin, chunk)?;
        let real = (content.saturating_sub(begin) as usize).min(chunk.len());
        let (data, padding) = chunk.split_at(real);
        match (&mut sha1, &mut leaves) {
            (Some(sha1), Some(leaves)) => hash::update_both(sha1, data, |leaf| leaves.push(leaf)),
            (Some(sha1), None) => sha1.update(data),
            (None, Some(leaves)) => leaves.extend(data.chunks(BLOCK_LENGTH as usize).map(hash::sha256)),
            (None, None) => {}
        }
        if let Some(sha1) = &mut sha1 {
            sha1.update(padding);
        }
        begin += chunk.len() as u32;
    }
    Ok(PieceHashes { v1: sha1.map(Sha1::finish), leaves })
}

impl Torrent {
    /// Whether what is on disk is the piece. A file that is missing or too short is no
    /// error, only not the piece.
    pub(crate) fn check_piece(&self, piece: u32, buffer: &mut Vec<u8>) -> Result<bool, DiskError> {
        let Some(expected) = self.expected(piece) else { return Ok(false) };
        let io = self.io();
        let hashes = hash_piece(self.shape(), piece, buffer, |begin, chunk| io.read(piece, begin, chunk));
        match hashes {
            Ok(hashes) => Ok(expected.allows(piece, hashes.v1, hashes.leaves.as_deref(), self.shape())),
            Err(error) if error.is_absence() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
