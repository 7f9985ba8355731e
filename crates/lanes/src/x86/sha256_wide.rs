//! SHA-256 of sixteen streams at once: FIPS 180-4, section 6.2.2, a stream in each lane of AVX-512.
#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::{K256, common_len, transpose};
use crate::algorithm::{Block, Sha256Words};

/// Truth tables of three inputs, as `vpternlog` takes them (bit 4 a + 2 b + c).
const CHOOSE: i32 = 0xca;
const PARITY: i32 = 0x96;
const MAJORITY: i32 = 0xe8;

/// Absorbs the common length of each lane's blocks.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress(states: &mut [Sha256Words; 16], blocks: [&[Block]; 16]) {
    let mut s = transpose::open(states);
    for b in 0..common_len(&blocks) {
        let saved = s;
        let mut w = transpose::words(&blocks, b);
        macro_rules! rounds {
            ($($t:literal)*) => { $( round::<$t>(&mut s, &mut w); )* };
        }
        rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
        rounds!(32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
        rounds!(60 61 62 63);
        for i in 0..8 {
            s[i] = _mm512_add_epi32(s[i], saved[i]);
        }
    }
    transpose::close(&s, states);
}

/// Round `T`. The names a..h move one register down each round; the words stay where they are.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn round<const T: usize>(s: &mut [__m512i; 8], w: &mut [__m512i; 16]) {
    let at = const { 64 - T };
    let [a, b, c, d] = [at % 8, (at + 1) % 8, (at + 2) % 8, (at + 3) % 8];
    let [e, f, g, h] = [(at + 4) % 8, (at + 5) % 8, (at + 6) % 8, (at + 7) % 8];
    if T >= 16 {
        let grown = _mm512_add_epi32(w[T % 16], w[(T + 9) % 16]);
        let sigmas = _mm512_add_epi32(small_sigma0(w[(T + 1) % 16]), small_sigma1(w[(T + 14) % 16]));
        w[T % 16] = _mm512_add_epi32(grown, sigmas);
    }
    let wk = _mm512_add_epi32(w[T % 16], _mm512_set1_epi32(K256[T] as i32));
    let choose = _mm512_ternarylogic_epi32::<CHOOSE>(s[e], s[f], s[g]);
    let majority = _mm512_ternarylogic_epi32::<MAJORITY>(s[a], s[b], s[c]);
    let t1 = _mm512_add_epi32(_mm512_add_epi32(s[h], wk), _mm512_add_epi32(choose, big_sigma1(s[e])));
    s[d] = _mm512_add_epi32(s[d], t1);
    s[h] = _mm512_add_epi32(t1, _mm512_add_epi32(majority, big_sigma0(s[a])));
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<PARITY>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn big_sigma0(x: __m512i) -> __m512i {
    xor3(_mm512_ror_epi32::<2>(x), _mm512_ror_epi32::<13>(x), _mm512_ror_epi32::<22>(x))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn big_sigma1(x: __m512i) -> __m512i {
    xor3(_mm512_ror_epi32::<6>(x), _mm512_ror_epi32::<11>(x), _mm512_ror_epi32::<25>(x))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn small_sigma0(x: __m512i) -> __m512i {
    xor3(_mm512_ror_epi32::<7>(x), _mm512_ror_epi32::<18>(x), _mm512_srli_epi32::<3>(x))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn small_sigma1(x: __m512i) -> __m512i {
    xor3(_mm512_ror_epi32::<17>(x), _mm512_ror_epi32::<19>(x), _mm512_srli_epi32::<10>(x))
}
