//! SHA-1 and SHA-256 of the same bytes in one loop, with the SHA extensions.
#![forbid(unsafe_code)]

use super::{sha1_ni, sha256_ni};
use crate::algorithm::{Block, Sha1Words, Sha256Words};

/// Absorbs `blocks` into both states: five groups of SHA-1's rounds to four of SHA-256's.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn compress(sha1: &mut Sha1Words, sha256: &mut Sha256Words, blocks: &[Block]) {
    let (mut one, mut two) = (sha1_ni::open(sha1), sha256_ni::open(sha256));
    for block in blocks {
        let saved = (one, two);
        one.w = sha1_ni::load(block);
        two.w = sha256_ni::load(block);
        macro_rules! groups {
            ($(($a:literal $b:literal))*) => { $(
                sha1_ni::step::<$a, { $a / 5 }>(&mut one);
                sha256_ni::step::<$b>(&mut two);
            )* };
        }
        groups!((0 0) (1 1) (2 2) (3 3));
        sha1_ni::step::<4, 0>(&mut one);
        groups!((5 4) (6 5) (7 6) (8 7));
        sha1_ni::step::<9, 1>(&mut one);
        groups!((10 8) (11 9) (12 10) (13 11));
        sha1_ni::step::<14, 2>(&mut one);
        groups!((15 12) (16 13) (17 14) (18 15));
        sha1_ni::step::<19, 3>(&mut one);
        sha1_ni::add(&mut one, &saved.0);
        sha256_ni::add(&mut two, &saved.1);
    }
    sha1_ni::close(&one, sha1);
    sha256_ni::close(&two, sha256);
}
