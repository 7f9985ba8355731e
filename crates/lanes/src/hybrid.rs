//! The same bytes both ways, as a hybrid torrent wants (BEP 52, "upgrade path").

use crate::algorithm::WIDTH;
use crate::hasher::{Sha1, Sha256};
use crate::kernels::{Backend, width};
use crate::many::sha256_many;

/// From this many leaves on, SHA-1 alone and then sixteen lanes of SHA-256 beat the two interleaved.
const WIDE_FROM: usize = 13;

/// Gives both states the same bytes in one pass.
pub fn update_both(sha1: &mut Sha1, sha256: &mut Sha256, data: &[u8]) {
    if sha1.tail_len() != sha256.tail_len() {
        sha1.update(data);
        sha256.update(data);
        return;
    }
    sha1.fill_tail(data);
    let (blocks, rest) = sha256.fill_tail(data).as_chunks();
    Backend::get().compress_both(&mut sha1.words, &mut sha256.words, blocks);
    sha1.count_blocks(blocks.len());
    sha256.count_blocks(blocks.len());
    sha1.keep_tail(rest);
    sha256.keep_tail(rest);
}

/// Gives `sha1` all of `leaves` in order, and writes the SHA-256 of each to `out`:
/// consecutive blocks of one v1 piece that are leaves of the v2 tree as well.
/// Best with [`crate::width`] leaves or more at a time.
///
/// # Panics
/// If `out` is not as long as `leaves`: the caller's error.
pub fn update_with_leaves(sha1: &mut Sha1, leaves: &[&[u8]], out: &mut [[u8; 32]]) {
    assert_eq!(leaves.len(), out.len(), "a place for each digest");
    let wide = width() == WIDTH;
    for (leaves, out) in leaves.chunks(WIDTH).zip(out.chunks_mut(WIDTH)) {
        if wide && leaves.len() >= WIDE_FROM {
            leaves.iter().for_each(|leaf| sha1.update(leaf));
            sha256_many(leaves, out);
        } else {
            interleave(sha1, leaves, out);
        }
    }
}

fn interleave(sha1: &mut Sha1, leaves: &[&[u8]], out: &mut [[u8; 32]]) {
    for (leaf, out) in leaves.iter().zip(out) {
        let mut sha256 = Sha256::new();
        update_both(sha1, &mut sha256, leaf);
        *out = sha256.finalize();
    }
}
