//! What differs between the two hashes: the words of the state and the kernels.

#[cfg(target_arch = "x86_64")]
use crate::x86::{Ni, Wide};

/// What both hashes absorb at a time, in bytes as they come.
pub type Block = [u8; 64];

pub(crate) type Sha1Words = [u32; 5];
pub(crate) type Sha256Words = [u32; 8];

/// How many streams the widest kernels take.
pub(crate) const WIDTH: usize = 16;

/// SHA-1 or SHA-256. Sealed: no other type implements it.
pub trait Algorithm: kernels::Kernels {
    /// The bytes of a digest: 20 or 32.
    type Digest: AsRef<[u8]> + AsMut<[u8]> + Copy + Default + Eq + std::fmt::Debug;
}

/// Marks [`crate::Sha1`].
#[derive(Clone, Copy, Debug)]
pub enum Sha1Algorithm {}

/// Marks [`crate::Sha256`].
#[derive(Clone, Copy, Debug)]
pub enum Sha256Algorithm {}

impl Algorithm for Sha1Algorithm {
    type Digest = [u8; 20];
}

impl Algorithm for Sha256Algorithm {
    type Digest = [u8; 32];
}

pub(crate) mod kernels {
    use super::*;

    /// The private half of [`Algorithm`]: how blocks are absorbed.
    pub trait Kernels {
        type Words: AsRef<[u32]> + Copy;
        const INITIAL: Self::Words;
        /// From this many lanes on, sixteen at once beat two at once, though some lie idle.
        #[cfg(target_arch = "x86_64")]
        const WIDE_FROM: usize;

        fn portable(state: &mut Self::Words, blocks: &[Block]);
        #[cfg(target_arch = "x86_64")]
        fn single(ni: Ni, state: &mut Self::Words, blocks: &[Block]);
        #[cfg(target_arch = "x86_64")]
        fn pair(ni: Ni, states: [&mut Self::Words; 2], blocks: [&[Block]; 2]);
        #[cfg(target_arch = "x86_64")]
        fn wide(wide: Wide, states: &mut [Self::Words; WIDTH], blocks: [&[Block]; WIDTH]);
    }
}

impl kernels::Kernels for Sha1Algorithm {
    type Words = Sha1Words;
    const INITIAL: Sha1Words = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    #[cfg(target_arch = "x86_64")]
    const WIDE_FROM: usize = 5;

    fn portable(state: &mut Sha1Words, blocks: &[Block]) {
        sha1::block_api::compress(state, blocks);
    }

    #[cfg(target_arch = "x86_64")]
    fn single(ni: Ni, state: &mut Sha1Words, blocks: &[Block]) {
        ni.sha1([state], [blocks]);
    }

    #[cfg(target_arch = "x86_64")]
    fn pair(ni: Ni, states: [&mut Sha1Words; 2], blocks: [&[Block]; 2]) {
        ni.sha1(states, blocks);
    }

    #[cfg(target_arch = "x86_64")]
    fn wide(wide: Wide, states: &mut [Sha1Words; WIDTH], blocks: [&[Block]; WIDTH]) {
        wide.sha1(states, blocks);
    }
}

impl kernels::Kernels for Sha256Algorithm {
    type Words = Sha256Words;
    const INITIAL: Sha256Words = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    #[cfg(target_arch = "x86_64")]
    const WIDE_FROM: usize = 9;

    fn portable(state: &mut Sha256Words, blocks: &[Block]) {
        sha2::block_api::compress256(state, blocks);
    }

    #[cfg(target_arch = "x86_64")]
    fn single(ni: Ni, state: &mut Sha256Words, blocks: &[Block]) {
        ni.sha256([state], [blocks]);
    }

    #[cfg(target_arch = "x86_64")]
    fn pair(ni: Ni, states: [&mut Sha256Words; 2], blocks: [&[Block]; 2]) {
        ni.sha256(states, blocks);
    }

    #[cfg(target_arch = "x86_64")]
    fn wide(wide: Wide, states: &mut [Sha256Words; WIDTH], blocks: [&[Block]; WIDTH]) {
        wide.sha256(states, blocks);
    }
}
