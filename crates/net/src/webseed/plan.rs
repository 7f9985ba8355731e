//! Which bytes of which files a run of pieces is, and back: from a stream to blocks.

use bytes::{Bytes, BytesMut};
use starling_metainfo::Layout;
use starling_swarm::Block;

/// A stretch of one file, or of zeros that no server has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    /// Index into [`Layout::files`]; `None` for padding.
    pub(super) file: Option<usize>,
    /// Where in the file.
    pub(super) offset: u64,
    /// How many bytes.
    pub(super) length: u64,
}

/// The stretches of files that whole pieces from `piece` on cover, as many as together
/// have `length` bytes, in order and as long as can be.
pub(super) fn segments(layout: &Layout, piece: u32, length: u64) -> Vec<Segment> {
    let mut out: Vec<Segment> = Vec::new();
    for piece in pieces(layout, piece, length) {
        for span in layout.spans(piece, 0, layout.piece_len(piece)) {
            let length = u64::from(span.length);
            match out.last_mut() {
                Some(last) if last.file == span.file && last.offset + last.length == span.offset => {
                    last.length += length;
                }
                _ => out.push(Segment { file: span.file, offset: span.offset, length }),
            }
        }
    }
    out
}

fn pieces(layout: &Layout, first: u32, mut length: u64) -> impl Iterator<Item = u32> {
    (first..layout.pieces()).take_while(move |&piece| {
        let wanted = length > 0;
        length = length.saturating_sub(u64::from(layout.piece_len(piece)));
        wanted
    })
}

/// Cuts the bytes of a run of pieces into blocks.
pub(super) struct Cutter<'a> {
    layout: &'a Layout,
    piece: u32,
    begin: u32,
    /// The beginning of a block that the last bytes did not complete.
    partial: BytesMut,
}

impl<'a> Cutter<'a> {
    pub(super) fn new(layout: &'a Layout, piece: u32) -> Cutter<'a> {
        Cutter { layout, piece, begin: 0, partial: BytesMut::new() }
    }

    /// Takes the next bytes and gives the blocks they complete, as slices where a block
    /// lies within them. The padding that a block ends in is left out.
    pub(super) fn feed(&mut self, mut bytes: Bytes, mut give: impl FnMut(Block, Bytes)) {
        while !bytes.is_empty() {
            let length = self.layout.block_len(self.piece, self.begin) as usize;
            if length == 0 {
                return; // past the end of the torrent
            }
            let mut data = if self.partial.is_empty() && bytes.len() >= length {
                bytes.split_to(length)
            } else {
                self.partial.reserve(length - self.partial.len());
                let take = (length - self.partial.len()).min(bytes.len());
                self.partial.extend_from_slice(&bytes.split_to(take));
                if self.partial.len() < length {
                    return;
                }
                std::mem::take(&mut self.partial).freeze()
            };
            let asked = self.layout.asked_len(self.piece, self.begin);
            if asked > 0 {
                data.truncate(asked as usize);
                give(Block { piece: self.piece, begin: self.begin, length: asked }, data);
            }
            self.advance(length as u32);
        }
    }

    fn advance(&mut self, done: u32) {
        self.begin += done;
        if self.begin >= self.layout.piece_len(self.piece) {
            self.piece += 1;
            self.begin = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_metainfo::{BLOCK_LENGTH, FileEntry, PieceLength};

    use super::*;

    fn layout(piece: u64, files: &[(u64, bool)], aligned: bool) -> Layout {
        let file = |&(length, padding): &(u64, bool)| FileEntry {
            path: vec!["f".into()],
            raw: None,
            length,
            offset: 0,
            padding,
            executable: false,
            hidden: false,
            pieces_root: None,
        };
        Layout::new(PieceLength::new(piece).unwrap(), files.iter().map(file).collect(), aligned).unwrap()
    }

    fn seg(file: impl Into<Option<usize>>, offset: u64, length: u64) -> Segment {
        Segment { file: file.into(), offset, length }
    }

    #[test]
    fn runs_become_long_stretches() {
        let l = layout(10, &[(25, false), (0, false), (5, true), (12, false)], false);
        assert_eq!(segments(&l, 0, 30), [seg(0, 0, 25), seg(None, 0, 5)]);
        assert_eq!(segments(&l, 1, 30), [seg(0, 10, 15), seg(None, 0, 5), seg(3, 0, 10)]);
        assert_eq!(segments(&l, 4, u64::MAX), [seg(3, 10, 2)]);
        assert_eq!(segments(&l, 9, 1), []);
        let v2 = layout(16384, &[(5, false), (7, false)], true);
        assert_eq!(segments(&v2, 0, 5 + 7), [seg(0, 0, 5), seg(1, 0, 7)]);
    }

    #[test]
    fn padding_is_not_given() {
        let block = u64::from(BLOCK_LENGTH);
        let l = layout(4 * block, &[(block + 5, false), (3 * block - 5, true), (9, false)], false);
        let mut cutter = Cutter::new(&l, 0);
        let mut given = Vec::new();
        cutter.feed(Bytes::from(vec![0; 4 * block as usize + 9]), |b, _| {
            given.push((b.piece, b.begin, b.length));
        });
        assert_eq!(given, [(0, 0, BLOCK_LENGTH), (0, BLOCK_LENGTH, 5), (1, 0, 9)]);
    }

    proptest! {
        #[test]
        fn blocks_are_the_stream_however_it_comes(
            cuts in proptest::collection::vec(1usize..50_000, 1..9),
            total in 1u64..200_000,
        ) {
            let l = layout(40_000, &[(total, false)], false);
            let stream: Vec<u8> = (0..total).map(|i| (i % 251) as u8).collect();
            let (mut cutter, mut back, mut rest) = (Cutter::new(&l, 0), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                cutter.feed(Bytes::copy_from_slice(now), |b, data| {
                    assert_eq!(b.length as usize, data.len());
                    assert_eq!(back.len() as u64, u64::from(b.piece) * 40_000 + u64::from(b.begin));
                    back.extend_from_slice(&data);
                });
                rest = later;
                if rest.is_empty() { break }
            }
            prop_assert_eq!(back, stream);
        }
    }
}
