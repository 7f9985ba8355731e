//! Which kernel absorbs what: the choice by the processor and by the number of lanes.

use crate::algorithm::{Algorithm, Block, Sha1Words, Sha256Words};
use crate::hasher::Hasher;

#[cfg(target_arch = "x86_64")]
use crate::algorithm::WIDTH;
#[cfg(target_arch = "x86_64")]
use crate::x86::{Ni, Wide};

/// One stream of a call on many: a state and the bytes it has yet to absorb.
pub(crate) type Lane<'s, 'd, A> = (&'s mut Hasher<A>, &'d [u8]);

/// What the processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend {
    #[cfg(target_arch = "x86_64")]
    pub ni: Option<Ni>,
    #[cfg(target_arch = "x86_64")]
    pub wide: Option<Wide>,
}

/// How many streams a call should bring to be fastest here: 16 with AVX-512, 2
/// with the SHA extensions, 1 elsewhere. More do no harm.
pub fn width() -> usize {
    Backend::get().width()
}

impl Backend {
    /// What this processor has; in tests, what the test allows of it.
    pub fn get() -> Backend {
        #[cfg(test)]
        if let Some(backend) = crate::tests::forced() {
            return backend;
        }
        Backend::detect()
    }

    #[cfg(target_arch = "x86_64")]
    pub fn detect() -> Backend {
        Backend { ni: Ni::detect(), wide: Wide::detect() }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn detect() -> Backend {
        Backend {}
    }

    #[cfg(target_arch = "x86_64")]
    pub fn width(self) -> usize {
        match self {
            Backend { wide: Some(_), .. } => WIDTH,
            Backend { ni: Some(_), .. } => 2,
            _ => 1,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn width(self) -> usize {
        1
    }

    /// Absorbs `blocks` into one state.
    pub fn compress<A: Algorithm>(self, state: &mut A::Words, blocks: &[Block]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(ni) = self.ni {
            return A::single(ni, state, blocks);
        }
        A::portable(state, blocks);
    }

    /// Absorbs `blocks` into a state of each hash.
    pub fn compress_both(self, sha1: &mut Sha1Words, sha256: &mut Sha256Words, blocks: &[Block]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(ni) = self.ni {
            return ni.both(sha1, sha256, blocks);
        }
        self.compress::<crate::Sha1Algorithm>(sha1, blocks);
        self.compress::<crate::Sha256Algorithm>(sha256, blocks);
    }

    /// Absorbs the first `count` blocks of each of at most sixteen lanes, which must have them.
    pub fn compress_lanes<A: Algorithm>(self, lanes: &mut [Lane<'_, '_, A>], count: usize) {
        #[cfg(target_arch = "x86_64")]
        match self {
            Backend { wide: Some(wide), .. } if lanes.len() >= self.wide_from::<A>() => {
                return compress_wide(wide, lanes, count);
            }
            Backend { ni: Some(ni), .. } => return compress_pairs(ni, lanes, count),
            _ => {}
        }
        for (hasher, data) in lanes {
            A::portable(&mut hasher.words, take_blocks(data, count));
        }
    }

    /// Without the SHA extensions, the alternative to sixteen at once is one at a time without help.
    #[cfg(target_arch = "x86_64")]
    fn wide_from<A: Algorithm>(self) -> usize {
        if self.ni.is_some() { A::WIDE_FROM } else { 4 }
    }
}

#[cfg(target_arch = "x86_64")]
fn compress_wide<A: Algorithm>(wide: Wide, lanes: &mut [Lane<'_, '_, A>], count: usize) {
    let mut states = [A::INITIAL; WIDTH];
    // Lanes without a stream hash the first one's bytes again, into a state nobody reads.
    let idle: &[Block] = lanes.first().map_or(&[], |(_, data)| blocks_of(data));
    let mut blocks = [idle; WIDTH];
    for (i, (hasher, data)) in lanes.iter_mut().enumerate() {
        states[i] = hasher.words;
        blocks[i] = take_blocks(data, count);
    }
    A::wide(wide, &mut states, blocks);
    for ((hasher, _), state) in lanes.iter_mut().zip(states) {
        hasher.words = state;
    }
}

#[cfg(target_arch = "x86_64")]
fn compress_pairs<A: Algorithm>(ni: Ni, lanes: &mut [Lane<'_, '_, A>], count: usize) {
    let (pairs, rest) = lanes.as_chunks_mut::<2>();
    for [(a, of_a), (b, of_b)] in pairs {
        let blocks = [take_blocks(of_a, count), take_blocks(of_b, count)];
        A::pair(ni, [&mut a.words, &mut b.words], blocks);
    }
    for (hasher, data) in rest {
        A::single(ni, &mut hasher.words, take_blocks(data, count));
    }
}

fn blocks_of(data: &[u8]) -> &[Block] {
    data.as_chunks().0
}

/// Cuts `count` blocks off the front of `data`.
fn take_blocks<'d>(data: &mut &'d [u8], count: usize) -> &'d [Block] {
    let (front, rest) = data.split_at(count * size_of::<Block>());
    *data = rest;
    blocks_of(front)
}
