//! SHA-256 with the SHA extensions, `N` streams in one loop.
//!
//! Of one stream each `sha256rnds2` must wait for the one before it; the streams'
//! chains are independent, so the processor fills one's waits with the other's work.
#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::{K256, common_len, load_quarter, load_words, store_words};
use crate::algorithm::{Block, Sha256Words};

/// A stream in registers: the state as the instructions want it, and 16 words of schedule.
#[derive(Clone, Copy)]
pub(super) struct Lane {
    abef: __m128i,
    cdgh: __m128i,
    pub(super) w: [__m128i; 4],
}

/// Absorbs the common length of each lane's blocks.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn compress<const N: usize>(states: [&mut Sha256Words; N], blocks: [&[Block]; N]) {
    let mut lanes: [Lane; N] = std::array::from_fn(|l| open(states[l]));
    for b in 0..common_len(&blocks) {
        let saved = lanes;
        for (lane, from) in lanes.iter_mut().zip(&blocks) {
            lane.w = load(&from[b]);
        }
        macro_rules! four_rounds {
            ($($group:literal)*) => { $( for lane in &mut lanes { step::<$group>(lane); } )* };
        }
        four_rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
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
pub(super) fn open(state: &Sha256Words) -> Lane {
    let badc = _mm_shuffle_epi32::<0xb1>(load_words::<8, 0>(state));
    let hgfe = _mm_shuffle_epi32::<0x1b>(load_words::<8, 4>(state));
    Lane {
        abef: _mm_alignr_epi8::<8>(badc, hgfe),
        cdgh: _mm_blend_epi16::<0xf0>(hgfe, badc),
        w: [_mm_setzero_si128(); 4],
    }
}

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn close(lane: &Lane, state: &mut Sha256Words) {
    let feba = _mm_shuffle_epi32::<0x1b>(lane.abef);
    let dchg = _mm_shuffle_epi32::<0xb1>(lane.cdgh);
    store_words::<8, 0>(state, _mm_blend_epi16::<0xf0>(feba, dchg));
    store_words::<8, 4>(state, _mm_alignr_epi8::<8>(dchg, feba));
}

/// The block's 16 words, the first in the lowest place.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn load(block: &Block) -> [__m128i; 4] {
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    [
        _mm_shuffle_epi8(load_quarter::<0>(block), swap),
        _mm_shuffle_epi8(load_quarter::<1>(block), swap),
        _mm_shuffle_epi8(load_quarter::<2>(block), swap),
        _mm_shuffle_epi8(load_quarter::<3>(block), swap),
    ]
}

/// Rounds `4 * GROUP ..` of 64.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn step<const GROUP: usize>(lane: &mut Lane) {
    let w = &mut lane.w;
    if GROUP >= 4 {
        let (before, last) = (w[(GROUP + 2) % 4], w[(GROUP + 3) % 4]);
        let partial = _mm_sha256msg1_epu32(w[GROUP % 4], w[(GROUP + 1) % 4]);
        let partial = _mm_add_epi32(partial, _mm_alignr_epi8::<4>(last, before));
        w[GROUP % 4] = _mm_sha256msg2_epu32(partial, last);
    }
    let k = match GROUP {
        0 => load_words::<64, 0>(&K256),
        1 => load_words::<64, 4>(&K256),
        2 => load_words::<64, 8>(&K256),
        3 => load_words::<64, 12>(&K256),
        4 => load_words::<64, 16>(&K256),
        5 => load_words::<64, 20>(&K256),
        6 => load_words::<64, 24>(&K256),
        7 => load_words::<64, 28>(&K256),
        8 => load_words::<64, 32>(&K256),
        9 => load_words::<64, 36>(&K256),
        10 => load_words::<64, 40>(&K256),
        11 => load_words::<64, 44>(&K256),
        12 => load_words::<64, 48>(&K256),
        13 => load_words::<64, 52>(&K256),
        14 => load_words::<64, 56>(&K256),
        _ => load_words::<64, 60>(&K256),
    };
    let wk = _mm_add_epi32(w[GROUP % 4], k);
    lane.cdgh = _mm_sha256rnds2_epu32(lane.cdgh, lane.abef, wk);
    lane.abef = _mm_sha256rnds2_epu32(lane.abef, lane.cdgh, _mm_shuffle_epi32::<0x0e>(wk));
}

/// Adds the state before the block to the state after it.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn add(lane: &mut Lane, saved: &Lane) {
    lane.abef = _mm_add_epi32(lane.abef, saved.abef);
    lane.cdgh = _mm_add_epi32(lane.cdgh, saved.cdgh);
}
