//! Where each byte of a torrent lies: pieces, blocks, files, padding.

use bytes::Bytes;
use thiserror::Error;

use crate::{Sha256Hash, merkle};

/// What peers ask for at a time: 16 KiB, also the leaf of a v2 merkle tree (BEP 3, BEP 52).
pub const BLOCK_LENGTH: u32 = 16 * 1024;

/// Bytes in a piece: positive, at most [`PieceLength::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PieceLength(u32);

impl PieceLength {
    /// 256 MiB; larger pieces are refused.
    pub const MAX: u32 = 256 << 20;
    const SUGGEST_MAX: u32 = 16 << 20;

    /// `bytes` as a piece length, if it is in range.
    pub fn new(bytes: u64) -> Option<PieceLength> {
        let bytes = u32::try_from(bytes).ok()?;
        (1..=Self::MAX).contains(&bytes).then_some(PieceLength(bytes))
    }

    /// A good length for `total` bytes: a power of two that makes 1000 to 2000 pieces,
    /// but at least 16 KiB, and at most 16 MiB unless there would be too many pieces.
    pub fn suggest(total: u64) -> PieceLength {
        let pieces = |bytes: u32| total / u64::from(bytes);
        let mut bytes = BLOCK_LENGTH;
        while pieces(bytes) > 2000 && bytes < Self::SUGGEST_MAX
            || pieces(bytes) > u64::from(Layout::MAX_PIECES / 2) && bytes < Self::MAX
        {
            bytes *= 2;
        }
        PieceLength(bytes)
    }

    /// The length in bytes.
    pub fn get(self) -> u32 {
        self.0
    }

    /// Whether v2 may use it: a power of two of at least 16 KiB (BEP 52).
    pub fn fits_v2(self) -> bool {
        self.0.is_power_of_two() && self.0 >= BLOCK_LENGTH
    }
}

/// One file of a torrent, or one stretch of padding between two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileEntry {
    /// Components below the torrent's folder, safe to create on any platform and
    /// distinct from every other file's. For a single-file torrent: one component.
    pub path: Vec<String>,
    /// The whole path as the torrent writes it, its folder included, where that is not the safe
    /// one: what the maker's disk and web seeds (BEP 19) call the file. Each component can be
    /// opened below a folder: none is empty, `.` or `..`, has a slash or NUL, or is too long.
    /// Two files may have the same one. Not known while a torrent is being made.
    pub raw: Option<Box<[Bytes]>>,
    /// Bytes in the file.
    pub length: u64,
    /// Where it begins in the torrent's piece space. [`Layout::new`] sets it.
    pub offset: u64,
    /// Padding (BEP 47): all zeros, never written to disk, never asked for where avoidable.
    pub padding: bool,
    /// BEP 47 attribute `x`.
    pub executable: bool,
    /// BEP 47 attribute `h`.
    pub hidden: bool,
    /// BEP 52 root of the file's merkle tree; `None` in v1, for padding and empty files.
    pub pieces_root: Option<Sha256Hash>,
}

/// A stretch of one file, as part of a block or piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Index into [`Layout::files`]; `None` for padding, whose bytes are zero.
    pub file: Option<usize>,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub length: u32,
}

/// Why files and a piece length do not make a torrent.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// The sizes add up to more than 2^53 bytes or more pieces than [`Layout::MAX_PIECES`].
    #[error("the files add up to more than a torrent may hold")]
    TooLarge,
    /// BEP 52 allows only powers of two from 16 KiB.
    #[error("the piece length {0} is not a power of two of at least 16 KiB, as v2 wants")]
    PieceLengthNotV2(u32),
}

/// The map between pieces, blocks and files.
///
/// v1 and hybrid torrents: files lie end to end, padding included, and every
/// piece but the last is full. v2-only torrents: each file begins at a piece
/// boundary (an empty one takes no place) and the piece that ends a file is short;
/// the gap up to the boundary exists in the piece space but not on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    piece_length: u32,
    files: Vec<FileEntry>,
    end: u64,
    pieces: u32,
    aligned: bool,
    padded: bool,
}

impl Layout {
    /// More pieces than this are refused; their hashes alone would be 80 MiB.
    pub const MAX_PIECES: u32 = 1 << 22;
    const MAX_BYTES: u64 = 1 << 53;

    /// Lays out `files` in order. `aligned`: each file starts at a piece boundary (v2-only).
    pub fn new(
        piece_length: PieceLength,
        mut files: Vec<FileEntry>,
        aligned: bool,
    ) -> Result<Layout, LayoutError> {
        let piece = u64::from(piece_length.get());
        if aligned && !piece_length.fits_v2() {
            return Err(LayoutError::PieceLengthNotV2(piece_length.get()));
        }
        let mut end = 0u64;
        for file in &mut files {
            if aligned && file.length > 0 {
                end = end.next_multiple_of(piece);
            }
            file.offset = end;
            end = end.checked_add(file.length).ok_or(LayoutError::TooLarge)?;
            if end > Self::MAX_BYTES {
                return Err(LayoutError::TooLarge);
            }
        }
        let pieces = u32::try_from(end.div_ceil(piece)).map_err(|_| LayoutError::TooLarge)?;
        if pieces > Self::MAX_PIECES {
            return Err(LayoutError::TooLarge);
        }
        let padded = files.iter().any(|file| file.padding);
        Ok(Layout { piece_length: piece_length.get(), files, end, pieces, aligned, padded })
    }

    /// The nominal piece length in bytes.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// How many pieces there are.
    pub fn pieces(&self) -> u32 {
        self.pieces
    }

    /// All files and padding in order.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Bytes of real files, padding left out.
    pub fn content_length(&self) -> u64 {
        self.files.iter().filter(|f| !f.padding).map(|f| f.length).sum()
    }

    /// Whether there is padding between files.
    pub fn has_padding(&self) -> bool {
        self.padded
    }

    /// Bytes of `piece` as v1 hashes them: v1 and hybrid with padding, v2-only
    /// up to the end of its file. 0 beyond the last piece.
    pub fn piece_len(&self, piece: u32) -> u32 {
        if self.aligned { self.content_len(piece) } else { self.padded_len(piece) }
    }

    /// Bytes of `piece` up to which a request is answered: like [`Layout::piece_len`],
    /// but in a v2-only torrent some clients also ask for the zeros after a file's end,
    /// the last one's too.
    pub fn padded_len(&self, piece: u32) -> u32 {
        if self.aligned && piece < self.pieces {
            return self.piece_length;
        }
        let start = u64::from(piece) * u64::from(self.piece_length);
        self.end.saturating_sub(start).min(u64::from(self.piece_length)) as u32
    }

    /// Bytes of `piece` that belong to files. In hybrid and v2-only torrents, whose pieces
    /// hold one file each, that is what v2 hashes (BEP 52): up to the end of the file.
    pub fn content_len(&self, piece: u32) -> u32 {
        let padded = self.padded_len(piece);
        if !self.padded && !self.aligned {
            return padded;
        }
        let tail: u32 = self.spans(piece, 0, padded).filter(|s| s.file.is_none()).map(|s| s.length).sum();
        padded - tail
    }

    /// Bytes of the block at `begin` in `piece` that we ask for: up to the last one that
    /// belongs to a file, as whoever has the torrent knows the zeros after it. 0 for a
    /// block of nothing but padding.
    pub fn asked_len(&self, piece: u32, begin: u32) -> u32 {
        let whole = self.block_len(piece, begin);
        if !self.padded {
            return whole;
        }
        let (mut at, mut end) = (0, 0);
        for span in self.spans(piece, begin, whole) {
            at += span.length;
            end = if span.file.is_some() { at } else { end };
        }
        end
    }

    /// Bytes of the block at `begin` in `piece`, padding included.
    pub fn block_len(&self, piece: u32, begin: u32) -> u32 {
        BLOCK_LENGTH.min(self.piece_len(piece).saturating_sub(begin))
    }

    /// Blocks in `piece`, padding included.
    pub fn blocks(&self, piece: u32) -> u32 {
        self.piece_len(piece).div_ceil(BLOCK_LENGTH)
    }

    /// The stretches of files that `length` bytes from `begin` in `piece` cover, in
    /// order, padding included; cut off at the end of the piece.
    pub fn spans(&self, piece: u32, begin: u32, length: u32) -> impl Iterator<Item = Span> + '_ {
        let padded = self.padded_len(piece);
        let length = length.min(padded.saturating_sub(begin));
        let mut at = u64::from(piece) * u64::from(self.piece_length) + u64::from(begin);
        let stop = at + u64::from(length);
        let mut index = self.files.partition_point(|f| f.offset + f.length <= at);
        std::iter::from_fn(move || {
            while at < stop && self.files.get(index).is_some_and(|f| f.offset + f.length <= at) {
                index += 1;
            }
            if at >= stop {
                return None;
            }
            let (file, offset, until) = match self.files.get(index) {
                Some(f) if f.offset <= at && !f.padding => (Some(index), at - f.offset, f.offset + f.length),
                Some(f) if f.offset <= at => (None, at - f.offset, f.offset + f.length),
                Some(f) => (None, 0, f.offset),
                None => (None, 0, stop),
            };
            let length = (until.min(stop) - at) as u32;
            at += u64::from(length);
            Some(Span { file, offset, length })
        })
    }

    /// The pieces that hold bytes of file `index`; empty for an empty file.
    pub fn file_pieces(&self, index: usize) -> std::ops::Range<u32> {
        let Some(file) = self.files.get(index).filter(|f| f.length > 0) else { return 0..0 };
        let piece = u64::from(self.piece_length);
        (file.offset / piece) as u32..(file.offset + file.length).div_ceil(piece) as u32
    }

    /// The first real file with bytes in `piece`: in hybrid and v2-only torrents the only one.
    pub fn file_of_piece(&self, piece: u32) -> Option<usize> {
        self.spans(piece, 0, self.piece_length).find_map(|span| span.file)
    }

    /// The v2 hash of `piece` from the hashes of its blocks up to [`Layout::content_len`]:
    /// a file's root if the piece is all of the file, else a node of its piece layer.
    /// For hybrid and v2-only torrents.
    pub fn v2_piece_root(&self, piece: u32, leaves: &[Sha256Hash]) -> Sha256Hash {
        let file = self.file_of_piece(piece).and_then(|index| self.files.get(index));
        let alone = file.is_none_or(|file| file.length <= u64::from(self.piece_length));
        merkle::root_from_leaves(leaves, if alone { 1 } else { self.piece_length / BLOCK_LENGTH })
    }

    /// Whether the block at `begin` in `piece` is nothing but padding, which is never asked for.
    pub fn is_padding(&self, piece: u32, begin: u32) -> bool {
        self.asked_len(piece, begin) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(length: u64, padding: bool) -> FileEntry {
        FileEntry {
            path: vec![format!("f{length}")],
            raw: None,
            length,
            offset: 0,
            padding,
            executable: false,
            hidden: false,
            pieces_root: None,
        }
    }

    fn layout(piece: u64, files: &[(u64, bool)], aligned: bool) -> Layout {
        let files = files.iter().map(|&(length, pad)| file(length, pad)).collect();
        Layout::new(PieceLength::new(piece).unwrap(), files, aligned).unwrap()
    }

    #[test]
    fn v1_files_lie_end_to_end() {
        let l = layout(10, &[(7, false), (0, false), (8, false)], false);
        assert_eq!((l.pieces(), l.piece_len(0), l.piece_len(1), l.piece_len(2)), (2, 10, 5, 0));
        let spans: Vec<Span> = l.spans(0, 5, 5).collect();
        let of = |file, offset, length| Span { file, offset, length };
        assert_eq!(spans, [of(Some(0), 5, 2), of(Some(2), 0, 3)]);
        assert_eq!(l.file_pieces(2), 0..2);
        assert_eq!(l.file_pieces(1), 0..0);
    }

    #[test]
    fn hybrid_padding_counts_on_the_wire_but_not_in_v2() {
        let block = u64::from(BLOCK_LENGTH);
        let l = layout(4 * block, &[(block + 5, false), (3 * block - 5, true), (9, false)], false);
        assert_eq!(l.pieces(), 2);
        assert_eq!(l.piece_len(0), 4 * BLOCK_LENGTH);
        assert_eq!(l.content_len(0), BLOCK_LENGTH + 5);
        assert_eq!([0, 1, 2].map(|i| l.asked_len(0, i * BLOCK_LENGTH)), [BLOCK_LENGTH, 5, 0]);
        assert_eq!(l.block_len(0, BLOCK_LENGTH), BLOCK_LENGTH);
        assert!(!l.is_padding(0, BLOCK_LENGTH));
        assert!(l.is_padding(0, 2 * BLOCK_LENGTH));
        assert_eq!(l.content_length(), block + 14);
        assert_eq!(l.file_of_piece(1), Some(2));
    }

    #[test]
    fn only_padding_at_a_blocks_end_is_not_asked_for() {
        let l = layout(u64::from(BLOCK_LENGTH), &[(5, false), (95, true), (7, false), (900, true)], false);
        assert_eq!((l.asked_len(0, 0), l.content_len(0), l.block_len(0, 0)), (107, 12, 1007));
    }

    #[test]
    fn v2_only_pieces_end_with_their_file() {
        let block = u64::from(BLOCK_LENGTH);
        let l = layout(2 * block, &[(5, false), (3 * block, false)], true);
        assert_eq!(l.pieces(), 3);
        assert_eq!((l.piece_len(0), l.padded_len(0)), (5, 2 * BLOCK_LENGTH));
        assert_eq!(l.piece_len(2), BLOCK_LENGTH);
        assert_eq!(l.spans(0, 0, 100).map(|s| s.length).collect::<Vec<_>>(), [5, 95]);
    }

    #[test]
    fn suggested_lengths_make_some_thousand_pieces() {
        for total in [0, 1, 1 << 20, 5_000_000_000, 1 << 40, Layout::MAX_BYTES, u64::MAX] {
            let length = PieceLength::suggest(total);
            assert!(length.fits_v2());
            let pieces = total / u64::from(length.get());
            assert!(pieces <= 2000 || length.get() >= 16 << 20, "{total}");
            assert!(length.get() == BLOCK_LENGTH || pieces >= 1000, "{total}");
        }
        assert_eq!(PieceLength::suggest(4 << 30).get(), 4 << 20);
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        let piece = PieceLength::new(16384).unwrap();
        let huge = vec![file(u64::MAX, false), file(2, false)];
        assert_eq!(Layout::new(piece, huge, false), Err(LayoutError::TooLarge));
        let many = vec![file(1 << 50, false)];
        assert_eq!(Layout::new(piece, many, false), Err(LayoutError::TooLarge));
        assert!(PieceLength::new(0).is_none() && PieceLength::new(1 << 40).is_none());
    }
}
