//! Files whose piece hashes nobody told, as after a v2 magnet (BEP 52). What their pieces hash
//! to still proves them where all are there: together they must lead to the file's root. One
//! wrong byte, and nothing is known of any of them.

use std::collections::BTreeMap;

use starling_metainfo::{BLOCK_LENGTH, Layout, Sha256Hash, merkle};

/// v2 hashes of pieces on disk of which it is not known what they should be. 32 bytes a piece.
pub(crate) type Unjudged = BTreeMap<u32, Sha256Hash>;

/// Whether `roots`, those of a file's pieces, lead to the file's root.
pub(crate) fn is_right(layout: &Layout, file: usize, roots: &[Sha256Hash]) -> bool {
    let pieces = layout.file_pieces(file).len();
    let piece_layer = (layout.piece_length() / BLOCK_LENGTH).trailing_zeros();
    let root = layout.files().get(file).and_then(|file| file.pieces_root);
    pieces > 1 && roots.len() == pieces && root == Some(merkle::root(roots, merkle::pad(piece_layer)))
}

/// Each file whose pieces are all among `found` and right, with their hashes.
pub(crate) fn proven<'a>(
    layout: &'a Layout,
    found: &'a Unjudged,
) -> impl Iterator<Item = (usize, Vec<Sha256Hash>)> + 'a {
    let roots = |file| -> Option<Vec<Sha256Hash>> {
        layout.file_pieces(file).map(|piece| found.get(&piece).copied()).collect()
    };
    let all = (0..layout.files().len()).filter(|_| !found.is_empty());
    all.filter_map(move |file| Some((file, roots(file)?)))
        .filter(|(file, roots)| is_right(layout, *file, roots))
}
