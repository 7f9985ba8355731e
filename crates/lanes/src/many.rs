//! Many streams in one call.

use crate::algorithm::{Algorithm, Block, Sha256Algorithm, WIDTH};
use crate::hasher::{Hasher, Padding, Sha256};
use crate::kernels::{Backend, Lane};

/// Gives each state the bytes beside it, many streams at a time, and leaves the
/// slices empty. The order of the lanes may change; which state gets which
/// bytes does not.
///
/// Best with [`crate::width`] lanes or more, of like length, each with whole
/// blocks of 64 bytes taken before (blocks of 16 KiB are): a begun block is
/// completed alone. Short lanes leave and waiting ones take their place.
///
/// ```
/// use starling_lanes::{Sha1, update_many};
/// let (mut a, mut b) = (Sha1::new(), Sha1::new());
/// update_many(&mut [(&mut a, b"of one piece"), (&mut b, b"of another")]);
/// assert_eq!(a.finalize(), Sha1::digest(b"of one piece"));
/// ```
pub fn update_many<A: Algorithm>(lanes: &mut [(&mut Hasher<A>, &[u8])]) {
    for (hasher, data) in lanes.iter_mut() {
        *data = hasher.fill_tail(data);
        hasher.count_blocks(block_count(data));
    }
    absorb_blocks(lanes);
    for (hasher, data) in lanes {
        hasher.keep_tail(std::mem::take(data));
    }
}

/// [`update_many`] for two streams of the same hash.
pub fn update2<A: Algorithm>(a: &mut Hasher<A>, of_a: &[u8], b: &mut Hasher<A>, of_b: &[u8]) {
    update_many(&mut [(a, of_a), (b, of_b)]);
}

/// The digests of many streams, in their order.
///
/// # Panics
/// If `out` is not as long as `hashers`: the caller's error.
pub fn finalize_many<A: Algorithm>(hashers: &mut [Hasher<A>], out: &mut [A::Digest]) {
    assert_eq!(hashers.len(), out.len(), "a place for each digest");
    for (hashers, out) in hashers.chunks_mut(WIDTH).zip(out.chunks_mut(WIDTH)) {
        let mut padding = [Padding::EMPTY; WIDTH];
        for (padding, hasher) in padding.iter_mut().zip(hashers.iter()) {
            *padding = hasher.padding();
        }
        update_chunk(hashers, |i| padding[i].as_ref());
        for (hasher, out) in hashers.iter_mut().zip(out) {
            *out = std::mem::take(hasher).into_digest();
        }
    }
}

/// The SHA-1 of each message, such as whole pieces of a v1 torrent.
///
/// # Panics
/// If `out` is not as long as `messages`: the caller's error.
pub fn sha1_many(messages: &[&[u8]], out: &mut [[u8; 20]]) {
    digest_many::<crate::Sha1Algorithm>(messages, out);
}

/// The SHA-256 of each message, such as the 16 KiB leaves of a v2 torrent.
///
/// # Panics
/// If `out` is not as long as `messages`: the caller's error.
pub fn sha256_many(messages: &[&[u8]], out: &mut [[u8; 32]]) {
    digest_many::<Sha256Algorithm>(messages, out);
}

/// The SHA-256 of each pair of digests: one layer of a merkle tree from the one below.
///
/// # Panics
/// If `out` is not as long as `pairs`: the caller's error.
pub fn sha256_pairs(pairs: &[[u8; 64]], out: &mut [[u8; 32]]) {
    assert_eq!(pairs.len(), out.len(), "a place for each digest");
    let mut padding: Block = [0; 64];
    padding[0] = 0x80;
    padding[56..].copy_from_slice(&512u64.to_be_bytes());
    for (pairs, out) in pairs.chunks(WIDTH).zip(out.chunks_mut(WIDTH)) {
        // The padding is always this block; side by side with it, a message is one stretch.
        let mut messages = [[[0; 64], padding]; WIDTH];
        for (message, pair) in messages.iter_mut().zip(pairs) {
            message[0] = *pair;
        }
        let mut hashers: [Sha256; WIDTH] = std::array::from_fn(|_| Sha256::new());
        update_chunk(&mut hashers[..pairs.len()], |i| messages[i].as_flattened());
        for (hasher, out) in hashers.into_iter().zip(out) {
            *out = hasher.into_digest();
        }
    }
}

fn digest_many<A: Algorithm>(messages: &[&[u8]], out: &mut [A::Digest]) {
    assert_eq!(messages.len(), out.len(), "a place for each digest");
    for (messages, out) in messages.chunks(WIDTH).zip(out.chunks_mut(WIDTH)) {
        let mut hashers: [Hasher<A>; WIDTH] = std::array::from_fn(|_| Hasher::new());
        let hashers = &mut hashers[..messages.len()];
        update_chunk(hashers, |i| messages[i]);
        finalize_many(hashers, out);
    }
}

/// [`update_many`] on states in a row.
fn update_chunk<'d, A: Algorithm>(hashers: &mut [Hasher<A>], data: impl Fn(usize) -> &'d [u8]) {
    let lanes = hashers.iter_mut().enumerate().map(|(i, hasher)| (hasher, data(i)));
    update_many(&mut lanes.collect::<Vec<Lane<'_, 'd, A>>>());
}

/// Absorbs the whole blocks of every lane, sixteen lanes at a time; a lane that
/// has none left gives its place to the next that waits.
fn absorb_blocks<A: Algorithm>(lanes: &mut [Lane<'_, '_, A>]) {
    let backend = Backend::get();
    let mut done = 0;
    while done < lanes.len() {
        let end = lanes.len().min(done + WIDTH);
        let window = &mut lanes[done..end];
        let count = window.iter().map(|(_, data)| block_count(data)).min().unwrap_or(0);
        if count > 0 {
            backend.compress_lanes(window, count);
        }
        let start = done;
        for i in start..end {
            if block_count(lanes[i].1) == 0 {
                lanes.swap(done, i);
                done += 1;
            }
        }
    }
}

fn block_count(data: &[u8]) -> usize {
    data.len() / size_of::<Block>()
}
