//! The hash functions, as torrents use them, on `starling-lanes`: several streams
//! in one call cost a fraction of one after the other, so everything here takes many.

use starling_lanes as lanes;
use starling_metainfo::{BLOCK_LENGTH, Sha1Hash, Sha256Hash};

/// SHA-1 of bytes as they come.
#[derive(Clone, Default)]
pub struct Sha1(lanes::Sha1);

impl Sha1 {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Sha1Hash {
        Sha1Hash(self.0.finalize())
    }
}

/// SHA-256 of `bytes`, such as a v2 leaf.
pub fn sha256(bytes: &[u8]) -> Sha256Hash {
    Sha256Hash(lanes::Sha256::digest(bytes))
}

/// Independent SHA-1 streams, each with its next bytes.
pub fn update_many<'a>(streams: impl IntoIterator<Item = (&'a mut Sha1, &'a [u8])>) {
    let mut streams: Vec<(&mut lanes::Sha1, &[u8])> =
        streams.into_iter().map(|(s, bytes)| (&mut s.0, bytes)).collect();
    lanes::update_many(&mut streams);
}

/// The SHA-256 of each of `messages`, in their order.
pub fn sha256_many(messages: &[&[u8]]) -> Vec<Sha256Hash> {
    let mut digests = vec![[0; 32]; messages.len()];
    lanes::sha256_many(messages, &mut digests);
    digests.into_iter().map(Sha256Hash).collect()
}

/// `length` zero bytes, as padding is hashed.
pub fn update_zeros(sha1: &mut Sha1, mut length: usize) {
    static ZEROS: [u8; BLOCK_LENGTH as usize] = [0; BLOCK_LENGTH as usize];
    while length > 0 {
        let step = length.min(ZEROS.len());
        sha1.update(&ZEROS[..step]);
        length -= step;
    }
}
