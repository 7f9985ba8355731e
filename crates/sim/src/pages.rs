//! Large pages for a large world, and the only `unsafe` of this crate.
//!
//! The nodes of a large world lie on so many pages of 4 KiB that a processor has forgotten
//! nearly every one of them by the time it comes back, and must look up where it is: half of
//! the time of a run. Linux gives large pages on request; the allocators that Rust programs
//! have do not ask for them. So once the world has its size, all that this process has
//! allocated is asked to be put together to pages of 2 MiB. Nothing changes that a program
//! can see; where the system refuses, or is another one, nothing happens.

/// Bytes that a process must have before anything is done: what is less stays in reach of the
/// processor's tables.
const LEAST: u64 = 64 << 20;
/// By what part, one in so many, it must have grown since to be done again.
const GROWTH: u64 = 4;

/// Puts the memory of this process on large pages, again when it has grown.
#[derive(Clone, Copy, Debug, Default)]
pub struct LargePages {
    /// How often it was asked for.
    calls: u32,
    /// Bytes that the process had when this was done last.
    done: u64,
}

impl LargePages {
    /// To be called at each step of a run. It looks at the first, second, fourth, eighth and
    /// so on, since to look takes longer than many a step.
    pub fn keep_up(&mut self) {
        self.calls = self.calls.saturating_add(1);
        if self.calls.is_power_of_two() && resident() >= LEAST.max(self.done + self.done / GROWTH) {
            ranges().into_iter().for_each(|(start, end)| advice::collapse(start, end));
            self.done = resident();
        }
    }
}

/// Bytes of memory that this process has; none where the system does not tell (proc(5)).
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Where this process has memory of its own that no file stands behind: from where to where.
fn ranges() -> Vec<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(range).collect()
}

/// The range of a line of `/proc/self/maps` (proc(5)): addresses, permissions, offset, device,
/// inode and name, of which the heap has one and other memory has none.
fn range(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (permissions, name) = (fields.next()?, fields.nth(3));
    let address = |text| usize::from_str_radix(text, 16).ok();
    (permissions == "rw-p" && matches!(name, None | Some("[heap]")))
        .then_some((address(start)?, address(end)?))
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
mod advice {
    /// Asks for large pages from `start` to `end`.
    pub fn collapse(start: usize, end: usize) {
        let advise = |advice| {
            let from = std::ptr::with_exposed_provenance_mut(start);
            // SAFETY: neither advice changes what memory holds, whether it can be reached, or
            // where (madvise(2)), whoever has it: they only say on what pages the kernel keeps
            // it. A range that was given back in the meantime is refused, or is another's by
            // now, for whom the same holds. Nothing is read or written through the pointer.
            unsafe { libc::madvise(from, end - start, advice) };
        };
        advise(libc::MADV_HUGEPAGE);
        advise(libc::MADV_COLLAPSE);
    }
}

#[cfg(not(target_os = "linux"))]
mod advice {
    pub fn collapse(_start: usize, _end: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_its_own_is_told_from_other() {
        let heap = "5581c0a4f000-5581c0a70000 rw-p 00000000 00:00 0                          [heap]";
        assert_eq!(range(heap), Some((0x5581_c0a4_f000, 0x5581_c0a7_0000)));
        assert_eq!(
            range("7f1000000000-7f1000021000 rw-p 00000000 00:00 0 "),
            Some((0x7f10_0000_0000, 0x7f10_0002_1000))
        );
        for other in [
            "7f1000021000-7f1004000000 ---p 00000000 00:00 0 ",
            "7f1000021000-7f1004000000 rw-s 00000000 00:01 1025 /dev/zero (deleted)",
            "7f29e0a28000-7f29e0a50000 rw-p 00000000 fe:00 2753 /usr/lib/libc.so.6",
            "7ffd9a7d4000-7ffd9a7f5000 rw-p 00000000 00:00 0 [stack]",
            "not a line of it",
            "",
        ] {
            assert_eq!(range(other), None, "{other}");
        }
    }

    #[test]
    fn what_memory_holds_stays_the_same() {
        let world: Vec<u64> = (0..LEAST / 4).collect();
        let mut pages = LargePages::default();
        (0..4).for_each(|_| pages.keep_up());
        assert!(world.iter().zip(0..).all(|(&one, other)| one == other));
        assert!(!cfg!(target_os = "linux") || pages.done >= LEAST, "{pages:?}");
    }
}
