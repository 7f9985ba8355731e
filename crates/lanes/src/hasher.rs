//! One stream: what it has absorbed, and the bytes that do not fill a block yet.

use std::fmt;

use crate::algorithm::{Algorithm, Block, Sha1Algorithm, Sha256Algorithm};
use crate::kernels::Backend;

const BLOCK: usize = size_of::<Block>();

/// An incremental SHA-1, as v1 pieces and info-hashes want it.
pub type Sha1 = Hasher<Sha1Algorithm>;

/// An incremental SHA-256, as v2 leaves, nodes and info-hashes want it.
pub type Sha256 = Hasher<Sha256Algorithm>;

/// The state of one stream: plain data, cheap to clone.
pub struct Hasher<A: Algorithm> {
    pub(crate) words: A::Words,
    /// The last `length % 64` bytes at the front; what follows them has no meaning.
    tail: Block,
    /// Bytes taken so far.
    length: u64,
}

impl<A: Algorithm> Hasher<A> {
    /// The state before any byte.
    pub fn new() -> Hasher<A> {
        Hasher { words: A::INITIAL, tail: [0; BLOCK], length: 0 }
    }

    /// The digest of `data` alone.
    pub fn digest(data: &[u8]) -> A::Digest {
        let mut hasher = Hasher::<A>::new();
        hasher.update(data);
        hasher.finalize()
    }

    /// Takes the next bytes of the stream. Several streams: [`crate::update_many`].
    pub fn update(&mut self, data: &[u8]) {
        let (blocks, rest) = self.fill_tail(data).as_chunks();
        Backend::get().compress::<A>(&mut self.words, blocks);
        self.count_blocks(blocks.len());
        self.keep_tail(rest);
    }

    /// The digest of all bytes taken.
    pub fn finalize(mut self) -> A::Digest {
        let padding = self.padding();
        self.update(padding.as_ref());
        self.into_digest()
    }

    /// How many bytes the tail holds.
    pub(crate) fn tail_len(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }

    /// Completes a begun block from the front of `data` as far as it goes; what it did not need.
    pub(crate) fn fill_tail<'d>(&mut self, data: &'d [u8]) -> &'d [u8] {
        let begun = self.tail_len();
        if begun == 0 {
            return data;
        }
        let (front, rest) = data.split_at(data.len().min(BLOCK - begun));
        self.keep_tail(front);
        if self.tail_len() == 0 {
            Backend::get().compress::<A>(&mut self.words, &[self.tail]);
        }
        rest
    }

    /// Appends `rest` to the tail, where it must fit.
    pub(crate) fn keep_tail(&mut self, rest: &[u8]) {
        let begun = self.tail_len();
        self.tail[begun..begun + rest.len()].copy_from_slice(rest);
        self.length = self.length.wrapping_add(rest.len() as u64);
    }

    /// Counts blocks that were absorbed without passing through the tail.
    pub(crate) fn count_blocks(&mut self, blocks: usize) {
        self.length = self.length.wrapping_add((blocks * BLOCK) as u64);
    }

    /// What ends the stream (FIPS 180-4, section 5.1.1): a one bit, zeros, the length in bits.
    pub(crate) fn padding(&self) -> Padding {
        let unpadded = self.tail_len() + 1 + size_of::<u64>();
        let len = 1 + size_of::<u64>() + unpadded.next_multiple_of(BLOCK) - unpadded;
        let mut padding = Padding { bytes: [0; BLOCK + 8], len };
        padding.bytes[0] = 0x80;
        padding.bytes[len - 8..len].copy_from_slice(&self.length.wrapping_mul(8).to_be_bytes());
        padding
    }

    /// The words as bytes; after [`Hasher::padding`] was taken, the digest.
    pub(crate) fn into_digest(self) -> A::Digest {
        let mut digest = A::Digest::default();
        for (out, word) in digest.as_mut().as_chunks_mut().0.iter_mut().zip(self.words.as_ref()) {
            *out = word.to_be_bytes();
        }
        digest
    }
}

/// The 9 to 72 bytes that end a stream.
#[derive(Clone, Copy)]
pub(crate) struct Padding {
    bytes: [u8; BLOCK + 8],
    len: usize,
}

impl Padding {
    pub(crate) const EMPTY: Padding = Padding { bytes: [0; BLOCK + 8], len: 0 };
}

impl AsRef<[u8]> for Padding {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<A: Algorithm> Clone for Hasher<A> {
    fn clone(&self) -> Hasher<A> {
        Hasher { words: self.words, tail: self.tail, length: self.length }
    }
}

impl<A: Algorithm> Default for Hasher<A> {
    fn default() -> Hasher<A> {
        Hasher::new()
    }
}

impl<A: Algorithm> fmt::Debug for Hasher<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("length", &self.length).finish_non_exhaustive()
    }
}
