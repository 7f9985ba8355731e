//! The hash functions behind one small interface, so that a faster backend
//! changes this folder and nothing else.
//!
//! [`update_two`] takes two independent SHA-1 streams, [`update_both`] a SHA-1 and
//! a SHA-256 over the same bytes: a backend may interleave them. The one here does
//! one after the other, in slices small enough to stay in the nearest cache.

use sha1::Digest;
use starling_metainfo::{Sha1Hash, Sha256Hash};

/// Bytes hashed by one function before the other sees them.
const SLICE: usize = 16 * 1024;

/// SHA-1 of bytes as they come.
#[derive(Clone, Default)]
pub struct Sha1(sha1::Sha1);

impl Sha1 {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Sha1Hash {
        Sha1Hash(self.0.finalize().into())
    }
}

/// SHA-256 of bytes as they come.
#[derive(Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Sha256Hash {
        Sha256Hash(self.0.finalize().into())
    }
}

/// SHA-256 of `bytes`, such as a v2 leaf.
pub fn sha256(bytes: &[u8]) -> Sha256Hash {
    Sha256Hash(sha2::Sha256::digest(bytes).into())
}

/// Two SHA-1 streams, each with its own bytes.
pub fn update_two(a: &mut Sha1, a_bytes: &[u8], b: &mut Sha1, b_bytes: &[u8]) {
    a.update(a_bytes);
    b.update(b_bytes);
}

/// A SHA-1 stream, and the SHA-256 of each 16 KiB leaf, over the same bytes.
pub fn update_both(sha1: &mut Sha1, bytes: &[u8], mut leaf: impl FnMut(Sha256Hash)) {
    for slice in bytes.chunks(SLICE) {
        sha1.update(slice);
        leaf(sha256(slice));
    }
}

/// `length` zero bytes, as padding is hashed.
pub fn update_zeros(sha1: &mut Sha1, mut length: usize) {
    static ZEROS: [u8; SLICE] = [0; SLICE];
    while length > 0 {
        let step = length.min(SLICE);
        sha1.update(&ZEROS[..step]);
        length -= step;
    }
}
