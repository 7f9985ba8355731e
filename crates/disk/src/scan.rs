//! Hashing what is on disk already: several pieces side by side, as one stream of
//! SHA-1 alone waits for itself most of the time.

use starling_metainfo::{BLOCK_LENGTH, Sha1Hash, Sha256Hash};

use crate::DiskError;
use crate::hash::{self, Sha1};
use crate::piece::Shape;
use crate::span_io::SpanIo;
use crate::torrent::{Expected, Torrent};

/// Bytes read before they are hashed, over all pieces: they stay in the core's own cache.
const BUFFER: usize = 1 << 20;
/// Buffers begin at a multiple of this, as the pages do that are copied into them: some processors
/// (Zen 3 and 4) copy at a third of the speed to where an allocator's header has pushed a buffer.
const PAGE: usize = 4096;
/// Bytes of pieces hashed side by side, so that the system can read ahead in good order.
const SPREAD: u64 = 64 << 20;
/// Streams that are hashed at once at most.
const LANES: u64 = 16;

/// What a piece hashes to, as far as the torrent has those versions.
#[derive(Default)]
pub(crate) struct PieceHashes {
    pub(crate) v1: Option<Sha1Hash>,
    /// Of blocks with content; none for padding after it.
    pub(crate) leaves: Option<Vec<Sha256Hash>>,
}

/// How many pieces are best given to [`hash_pieces`] at once.
pub(crate) fn lanes(piece_length: u32) -> u32 {
    (SPREAD / u64::from(piece_length)).clamp(2, LANES) as u32
}

/// Hashes each of `pieces`. `read` fills a buffer from an offset in a piece, padding with zeros.
pub(crate) fn hash_pieces(
    shape: Shape<'_>,
    pieces: &[u32],
    buffer: &mut Vec<u8>,
    mut read: impl FnMut(u32, u32, &mut [u8]) -> Result<(), DiskError>,
) -> Vec<Result<PieceHashes, DiskError>> {
    let step = (BUFFER / pieces.len().max(1)) as u32 / BLOCK_LENGTH * BLOCK_LENGTH;
    let step = step.clamp(BLOCK_LENGTH, 16 * BLOCK_LENGTH);
    let buffer = page_aligned(buffer, step as usize * pieces.len());
    let mut streams: Vec<Stream> = pieces.iter().map(|&piece| Stream::new(shape, piece)).collect();
    let longest = streams.iter().map(|stream| stream.length).max().unwrap_or(0);
    for begin in (0..longest).step_by(step as usize) {
        for (stream, chunk) in streams.iter_mut().zip(buffer.chunks_mut(step as usize)) {
            stream.chunk = step.min(stream.length.saturating_sub(begin)) as usize;
            if stream.chunk > 0 && stream.error.is_none() {
                stream.error = read(stream.piece, begin, &mut chunk[..stream.chunk]).err();
            }
        }
        hash_chunks(&mut streams, buffer, step as usize, begin);
    }
    streams.into_iter().map(Stream::finish).collect()
}

/// `length` bytes of the buffer, which grows as needed.
fn page_aligned(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    buffer.resize(length + PAGE, 0);
    let start = buffer.as_ptr().align_offset(PAGE).min(PAGE);
    &mut buffer[start..start + length]
}

fn hash_chunks(streams: &mut [Stream], buffer: &[u8], step: usize, begin: u32) {
    let chunks = || buffer.chunks(step);
    let both = streams.iter_mut().zip(chunks());
    hash::update_many(both.filter_map(|(stream, chunk)| {
        let bytes = chunk.get(..stream.chunk).filter(|_| stream.error.is_none())?;
        Some((stream.sha1.as_mut()?, bytes))
    }));
    let mut messages: Vec<&[u8]> = Vec::with_capacity(buffer.len() / BLOCK_LENGTH as usize);
    for (stream, chunk) in streams.iter().zip(chunks()) {
        messages.extend(stream.leaf_bytes(chunk, begin).chunks(BLOCK_LENGTH as usize));
    }
    let mut digests = hash::sha256_many(&messages).into_iter();
    for (stream, chunk) in streams.iter_mut().zip(chunks()) {
        let count = stream.leaf_bytes(chunk, begin).len().div_ceil(BLOCK_LENGTH as usize);
        if let Some(leaves) = &mut stream.leaves {
            leaves.extend(digests.by_ref().take(count));
        }
    }
}

/// A piece that is being hashed.
struct Stream {
    piece: u32,
    length: u32,
    /// Bytes that v2 hashes.
    content: u32,
    /// Bytes of it in the buffer.
    chunk: usize,
    sha1: Option<Sha1>,
    leaves: Option<Vec<Sha256Hash>>,
    error: Option<DiskError>,
}

impl Stream {
    fn new(shape: Shape<'_>, piece: u32) -> Stream {
        let length = shape.layout.piece_len(piece);
        let content = shape.layout.content_len(piece);
        let leaves = shape.v2.then(|| Vec::with_capacity(content.div_ceil(BLOCK_LENGTH) as usize));
        Stream { piece, length, content, chunk: 0, sha1: shape.v1.then(Sha1::default), leaves, error: None }
    }

    /// The part of this piece's chunk that has leaves.
    fn leaf_bytes<'c>(&self, chunk: &'c [u8], begin: u32) -> &'c [u8] {
        let wanted = self.leaves.is_some() && self.error.is_none();
        let content = if wanted { self.content.saturating_sub(begin) as usize } else { 0 };
        &chunk[..self.chunk.min(content)]
    }

    fn finish(self) -> Result<PieceHashes, DiskError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(PieceHashes { v1: self.sha1.map(Sha1::finish), leaves: self.leaves }),
        }
    }
}

/// What is known of a piece that was looked for on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Right,
    /// Other bytes, or not all of them.
    Wrong,
    /// It hashes to this (v2), and nobody told what it should be.
    Unjudged(Sha256Hash),
}

/// Reads and judges each of `pieces`. A file that is missing or too short is no error, only
/// not the piece.
pub(crate) fn judge_pieces(
    shape: Shape<'_>,
    io: SpanIo<'_>,
    pieces: &[u32],
    buffer: &mut Vec<u8>,
    expected: impl Fn(u32) -> Option<Expected>,
) -> Vec<Result<Verdict, DiskError>> {
    let hashes = hash_pieces(shape, pieces, buffer, |piece, begin, chunk| io.read(piece, begin, chunk));
    let verdict = |(&piece, hashes): (&u32, Result<PieceHashes, DiskError>)| match hashes {
        Ok(hashes) => Ok(match (expected(piece), &hashes.leaves) {
            (Some(expected), leaves) if expected.allows(piece, hashes.v1, leaves.as_deref(), shape) => {
                Verdict::Right
            }
            (None, Some(leaves)) => Verdict::Unjudged(shape.layout.v2_piece_root(piece, leaves)),
            _ => Verdict::Wrong,
        }),
        Err(error) if error.is_absence() => Ok(Verdict::Wrong),
        Err(error) => Err(error),
    };
    pieces.iter().zip(hashes).map(verdict).collect()
}

impl Torrent {
    /// [`judge_pieces`] of this torrent.
    pub(crate) fn check_pieces(
        &self,
        pieces: &[u32],
        buffer: &mut Vec<u8>,
    ) -> Vec<Result<Verdict, DiskError>> {
        judge_pieces(self.shape(), self.io(), pieces, buffer, |piece| self.expected(piece))
    }

    /// Whether what is on disk is known to be the piece.
    pub(crate) fn check_piece(&self, piece: u32, buffer: &mut Vec<u8>) -> Result<bool, DiskError> {
        let verdict = self.check_pieces(&[piece], buffer).pop().unwrap_or(Ok(Verdict::Wrong));
        verdict.map(|verdict| verdict == Verdict::Right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_into_begins_at_a_page() {
        let mut buffer = Vec::new();
        for length in [1, 5000, 1 << 20, 300] {
            let part = page_aligned(&mut buffer, length);
            assert_eq!((part.as_ptr().align_offset(PAGE), part.len()), (0, length));
        }
    }
}
