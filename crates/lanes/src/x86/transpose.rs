//! From sixteen lanes' blocks to sixteen registers of one word a lane.
#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::{load_block, load_lanes, store_lanes};
use crate::algorithm::Block;

/// Word `t` of every lane's block `b` in register `t`, lane `l` in place `l`, in the host's order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn words(blocks: &[&[Block]; 16], b: usize) -> [__m512i; 16] {
    let swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
    let mut out = [_mm512_setzero_si512(); 16];
    // Four lanes at a time: a 4 x 4 transposition inside each 128-bit part.
    let mut quad = [[_mm512_setzero_si512(); 4]; 4];
    for q in 0..4 {
        let [r0, r1, r2, r3] = [0, 1, 2, 3].map(|i| load_block(&blocks[4 * q + i][b]));
        let (ab, cd) = (_mm512_unpacklo_epi32(r0, r1), _mm512_unpacklo_epi32(r2, r3));
        let (ef, gh) = (_mm512_unpackhi_epi32(r0, r1), _mm512_unpackhi_epi32(r2, r3));
        quad[q] = [
            _mm512_unpacklo_epi64(ab, cd),
            _mm512_unpackhi_epi64(ab, cd),
            _mm512_unpacklo_epi64(ef, gh),
            _mm512_unpackhi_epi64(ef, gh),
        ];
    }
    // `quad[q][i]` has, in part p, word 4 p + i of lanes 4 q .. 4 q + 4; gather by p.
    for i in 0..4 {
        let lo02 = _mm512_shuffle_i32x4::<0x88>(quad[0][i], quad[1][i]);
        let hi02 = _mm512_shuffle_i32x4::<0x88>(quad[2][i], quad[3][i]);
        let lo13 = _mm512_shuffle_i32x4::<0xdd>(quad[0][i], quad[1][i]);
        let hi13 = _mm512_shuffle_i32x4::<0xdd>(quad[2][i], quad[3][i]);
        out[i] = _mm512_shuffle_epi8(_mm512_shuffle_i32x4::<0x88>(lo02, hi02), swap);
        out[4 + i] = _mm512_shuffle_epi8(_mm512_shuffle_i32x4::<0x88>(lo13, hi13), swap);
        out[8 + i] = _mm512_shuffle_epi8(_mm512_shuffle_i32x4::<0xdd>(lo02, hi02), swap);
        out[12 + i] = _mm512_shuffle_epi8(_mm512_shuffle_i32x4::<0xdd>(lo13, hi13), swap);
    }
    out
}

/// Word `i` of every lane's state in register `i`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn open<const W: usize>(states: &[[u32; W]; 16]) -> [__m512i; W] {
    let mut out = [_mm512_setzero_si512(); W];
    for (i, register) in out.iter_mut().enumerate() {
        *register = load_lanes(&std::array::from_fn(|l| states[l][i]));
    }
    out
}

/// The way back from [`open`].
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn close<const W: usize>(registers: &[__m512i; W], states: &mut [[u32; W]; 16]) {
    for (i, &register) in registers.iter().enumerate() {
        let mut column = [0; 16];
        store_lanes(&mut column, register);
        for (state, word) in states.iter_mut().zip(column) {
            state[i] = word;
        }
    }
}
