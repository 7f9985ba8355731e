//! The doors to the instruction sets, and all the `unsafe` of this crate.
//!
//! Two things here need proof: that the processor has the instructions (the
//! public functions of a [`Ni`] or [`Wide`] value, which only detection makes) and
//! that a load or store stays inside its array (the `load_*` and `store_*`
//! helpers, which take arrays by reference). The kernels below this module are
//! safe code over registers, and each forbids `unsafe`.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use crate::algorithm::{Block, Sha1Words, Sha256Words};

mod both_ni;
mod sha1_ni;
mod sha1_wide;
mod sha256_ni;
mod sha256_wide;
mod transpose;

/// Proof that this processor has the SHA extensions and SSE up to 4.1.
#[derive(Clone, Copy, Debug)]
pub struct Ni(());

/// Proof that this processor (and system) has AVX-512 F and BW.
#[derive(Clone, Copy, Debug)]
pub struct Wide(());

impl Ni {
    /// The proof, if it holds. Detection is cached by the standard library.
    pub fn detect() -> Option<Ni> {
        let has = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        has.then_some(Ni(()))
    }

    /// Absorbs the common length of each lane's blocks into `N` SHA-1 states.
    pub fn sha1<const N: usize>(self, states: [&mut Sha1Words; N], blocks: [&[Block]; N]) {
        // SAFETY: a `Ni` exists only where `detect` saw every feature the kernel enables.
        unsafe { sha1_ni::compress(states, blocks) }
    }

    /// Absorbs the common length of each lane's blocks into `N` SHA-256 states.
    pub fn sha256<const N: usize>(self, states: [&mut Sha256Words; N], blocks: [&[Block]; N]) {
        // SAFETY: a `Ni` exists only where `detect` saw every feature the kernel enables.
        unsafe { sha256_ni::compress(states, blocks) }
    }

    /// Absorbs the same `blocks` into a SHA-1 and a SHA-256 state.
    pub fn both(self, sha1: &mut Sha1Words, sha256: &mut Sha256Words, blocks: &[Block]) {
        // SAFETY: a `Ni` exists only where `detect` saw every feature the kernel enables.
        unsafe { both_ni::compress(sha1, sha256, blocks) }
    }
}

impl Wide {
    /// The proof, if it holds. Detection is cached by the standard library.
    pub fn detect() -> Option<Wide> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            // What enabling AVX-512 F enables with it; no processor has it without them.
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Wide(()))
    }

    /// Absorbs the common length of each lane's blocks into 16 SHA-1 states.
    pub fn sha1(self, states: &mut [Sha1Words; 16], blocks: [&[Block]; 16]) {
        // SAFETY: a `Wide` exists only where `detect` saw every feature the kernel enables.
        unsafe { sha1_wide::compress(states, blocks) }
    }

    /// Absorbs the common length of each lane's blocks into 16 SHA-256 states.
    pub fn sha256(self, states: &mut [Sha256Words; 16], blocks: [&[Block]; 16]) {
        // SAFETY: a `Wide` exists only where `detect` saw every feature the kernel enables.
        unsafe { sha256_wide::compress(states, blocks) }
    }
}

/// The shortest lane's number of blocks.
fn common_len<const N: usize>(blocks: &[&[Block]; N]) -> usize {
    blocks.iter().map(|lane| lane.len()).min().unwrap_or(0)
}

/// Quarter `I` (0..4) of a block, as it lies in memory.
#[inline]
#[target_feature(enable = "sse2")]
fn load_quarter<const I: usize>(block: &Block) -> __m128i {
    const { assert!(I < 4) };
    // SAFETY: I < 4, so bytes 16 * I .. 16 * I + 16 are inside the 64 of `block`;
    // the load has no alignment requirement.
    unsafe { _mm_loadu_si128(block.as_ptr().add(16 * I).cast()) }
}

/// Four words from `words[at..at + 4]`.
#[inline]
#[target_feature(enable = "sse2")]
fn load_words<const L: usize, const AT: usize>(words: &[u32; L]) -> __m128i {
    const { assert!(AT + 4 <= L) };
    // SAFETY: AT + 4 <= L, so the 16 bytes read are inside `words`; no alignment is required.
    unsafe { _mm_loadu_si128(words.as_ptr().add(AT).cast()) }
}

/// Stores four words to `words[at..at + 4]`.
#[inline]
#[target_feature(enable = "sse2")]
fn store_words<const L: usize, const AT: usize>(words: &mut [u32; L], value: __m128i) {
    const { assert!(AT + 4 <= L) };
    // SAFETY: AT + 4 <= L, so the 16 bytes written are inside `words`, which is borrowed
    // mutably; no alignment is required.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().add(AT).cast(), value) }
}

/// A whole block, as it lies in memory.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_block(block: &Block) -> __m512i {
    // SAFETY: `block` is 64 readable bytes; the load has no alignment requirement.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

/// Sixteen words, one a lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_lanes(words: &[u32; 16]) -> __m512i {
    // SAFETY: `words` is 64 readable bytes; the load has no alignment requirement.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

/// Stores sixteen words, one a lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn store_lanes(words: &mut [u32; 16], value: __m512i) {
    // SAFETY: `words` is 64 writable bytes, borrowed mutably; no alignment is required.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), value) }
}

/// The constants of SHA-256 (FIPS 180-4, section 4.2.2).
#[rustfmt::skip]
const K256: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];
