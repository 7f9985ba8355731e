//! A hint to the processor, and the only `unsafe` of this crate.
//!
//! A simulation of a million nodes waits for memory most of the time. A load that waits
//! keeps what comes after it from being finished, so that a processor has a few of them
//! under way at once; hints do not wait, and it has many. The hint changes nothing that a
//! program can see. Where there is no such instruction nothing happens.
#![allow(unsafe_code)]

/// Bytes that come into the cache together.
const LINE: usize = 64;
/// Lines that are asked for at most: what is larger is read in order, which processors
/// see by themselves.
const LINES: usize = 8;
/// Bytes that are asked for at most.
pub const PREFETCHED: usize = LINES * LINE;

/// Asks for the memory of `what`, of its first [`PREFETCHED`] bytes.
#[inline]
pub fn prefetch<T: ?Sized>(what: &T) {
    let (start, size) = (std::ptr::from_ref(what).cast::<u8>(), size_of_val(what));
    for offset in (0..size.min(PREFETCHED)).step_by(LINE) {
        hint(start.wrapping_add(offset));
    }
    if size > 0 {
        // Where it does not begin at the beginning of a line it has one line more.
        hint(start.wrapping_add(size.min(PREFETCHED) - 1));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn hint(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: every x86-64 processor has the instruction, and it takes any address: one
    // that cannot be read makes no fault.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn hint(_at: *const u8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_can_be_asked_for() {
        prefetch(&());
        prefetch::<[u8]>(&[]);
        prefetch(&[0u8; 4096]);
        prefetch("name");
        prefetch(&vec![1u32; 1000][1..]);
    }
}
