//! SHA-1 with the SHA extensions, `N` streams in one loop.
//!
//! Of one stream each `sha1rnds4` must wait for the one before it; the streams'
//! chains are independent, so the processor fills one's waits with the other's work.
#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::{common_len, load_quarter, load_words, store_words};
use crate::algorithm::{Block, Sha1Words};

/// A stream in registers: A..D in one (A highest), E in the high word of another.
#[derive(Clone, Copy)]
pub(super) struct Lane {
    abcd: __m128i,
    e: __m128i,
    before: __m128i,
    pub(super) w: [__m128i; 4],
}

/// Absorbs the common length of each lane's blocks.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn compress<const N: usize>(states: [&mut Sha1Words; N], blocks: [&[Block]; N]) {
    let mut lanes: [Lane; N] = std::array::from_fn(|l| open(states[l]));
    for b in 0..common_len(&blocks) {
        let saved = lanes;
        for (lane, from) in lanes.iter_mut().zip(&blocks) {
            lane.w = load(&from[b]);
        }
        macro_rules! four_rounds {
            ($($group:literal)*) => { $( for lane in &mut lanes { step::<$group, { $group / 5 }>(lane); } )* };
        }
        four_rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
        for (lane, saved) in lanes.iter_mut().zip(&saved) {
            add(lane, saved);
        }
    }
    for (lane, state) in lanes.iter().zip(states) {
        close(lane, state);
    }
}

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn open(state: &Sha1Words) -> Lane {
    let zero = _mm_setzero_si128();
    Lane {
        abcd: _mm_shuffle_epi32::<0x1b>(load_words::<5, 0>(state)),
        e: _mm_set_epi32(state[4] as i32, 0, 0, 0),
        before: zero,
        w: [zero; 4],
    }
}

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn close(lane: &Lane, state: &mut Sha1Words) {
    store_words::<5, 0>(state, _mm_shuffle_epi32::<0x1b>(lane.abcd));
    state[4] = _mm_extract_epi32::<3>(lane.e) as u32;
}

/// The block's 16 words, the first in the highest place, as the instructions want them.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn load(block: &Block) -> [__m128i; 4] {
    let reverse = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    [
        _mm_shuffle_epi8(load_quarter::<0>(block), reverse),
        _mm_shuffle_epi8(load_quarter::<1>(block), reverse),
        _mm_shuffle_epi8(load_quarter::<2>(block), reverse),
        _mm_shuffle_epi8(load_quarter::<3>(block), reverse),
    ]
}

/// Rounds `4 * GROUP ..` of 80, with the function and constant of quarter `F`.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn step<const GROUP: usize, const F: i32>(lane: &mut Lane) {
    let w = &mut lane.w;
    if GROUP >= 4 {
        let partial = _mm_sha1msg1_epu32(w[GROUP % 4], w[(GROUP + 1) % 4]);
        let partial = _mm_xor_si128(partial, w[(GROUP + 2) % 4]);
        w[GROUP % 4] = _mm_sha1msg2_epu32(partial, w[(GROUP + 3) % 4]);
    }
    let input =
        if GROUP == 0 { _mm_add_epi32(lane.e, w[0]) } else { _mm_sha1nexte_epu32(lane.before, w[GROUP % 4]) };
    lane.before = lane.abcd;
    lane.abcd = _mm_sha1rnds4_epu32::<F>(lane.abcd, input);
}

/// Adds the state before the block to the state after it.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn add(lane: &mut Lane, saved: &Lane) {
    lane.e = _mm_sha1nexte_epu32(lane.before, saved.e);
    lane.abcd = _mm_add_epi32(lane.abcd, saved.abcd);
}
