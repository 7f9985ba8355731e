//! SHA-1 of sixteen streams at once: FIPS 180-4, section 6.1.2, a stream in each lane of AVX-512.
#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::{common_len, transpose};
use crate::algorithm::{Block, Sha1Words};

/// Truth tables of three inputs, as `vpternlog` takes them (bit 4 a + 2 b + c).
const CHOOSE: i32 = 0xca;
const PARITY: i32 = 0x96;
const MAJORITY: i32 = 0xe8;

/// Absorbs the common length of each lane's blocks.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress(states: &mut [Sha1Words; 16], blocks: [&[Block]; 16]) {
    let mut s = transpose::open(states);
    for b in 0..common_len(&blocks) {
        let saved = s;
        let mut w = transpose::words(&blocks, b);
        macro_rules! rounds {
            ($f:ident $k:literal: $($t:literal)*) => {
                let k = _mm512_set1_epi32($k as u32 as i32);
                $( round::<$t, $f>(&mut s, &mut w, k); )*
            };
        }
        rounds!(CHOOSE 0x5a82_7999: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
        rounds!(PARITY 0x6ed9_eba1: 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
        rounds!(MAJORITY 0x8f1b_bcdc: 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
        rounds!(PARITY 0xca62_c1d6: 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79);
        for i in 0..5 {
            s[i] = _mm512_add_epi32(s[i], saved[i]);
        }
    }
    transpose::close(&s, states);
}

/// Round `T`. The names a..e move one register down each round; the words stay where they are.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn round<const T: usize, const F: i32>(s: &mut [__m512i; 5], w: &mut [__m512i; 16], k: __m512i) {
    let [a, b, c, d, e] = const { [(80 - T) % 5, (81 - T) % 5, (82 - T) % 5, (83 - T) % 5, (84 - T) % 5] };
    if T >= 16 {
        let x = _mm512_xor_si512(w[T % 16], w[(T + 2) % 16]);
        let x = _mm512_ternarylogic_epi32::<PARITY>(x, w[(T + 8) % 16], w[(T + 13) % 16]);
        w[T % 16] = _mm512_rol_epi32::<1>(x);
    }
    let f = _mm512_ternarylogic_epi32::<F>(s[b], s[c], s[d]);
    let sum = _mm512_add_epi32(_mm512_add_epi32(s[e], w[T % 16]), _mm512_add_epi32(f, k));
    s[e] = _mm512_add_epi32(sum, _mm512_rol_epi32::<5>(s[a]));
    s[b] = _mm512_rol_epi32::<30>(s[b]);
}
