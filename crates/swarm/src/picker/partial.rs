//! A piece that is begun: the state of each of its blocks.

use std::net::IpAddr;

use crate::SeedId;

/// Who sent a block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Source {
    /// A peer, by address, so that it is known after it has gone.
    Ip(IpAddr),
    /// A web seed.
    Seed(SeedId),
}

/// Who asks for a piece's blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holder {
    /// The peer in this slot.
    Peer(u32),
    /// A web seed.
    Seed(SeedId),
}

const FREE: u16 = u16::MAX;
const ASKED: u16 = u16::MAX - 1;
const PADDING: u16 = u16::MAX - 2;
const SOURCES_MAX: usize = PADDING as usize;

/// See the module. Block indices beyond the piece are ignored everywhere.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    /// Piece index.
    pub piece: u32,
    /// Whoever goes through this piece in order; nobody else takes blocks of it in the normal run.
    pub owner: Option<Holder>,
    /// Begun by a slow peer: several share it.
    pub shared: bool,
    /// Only the owner may take blocks, even at the end: a suspect is being tried, or a
    /// failed piece is fetched anew from one peer.
    pub alone: bool,
    /// Its place in the picker's list of ownerless pieces.
    pub open_at: Option<u32>,
    /// It is in the picker's list of owned pieces, whatever it has become since.
    pub listed: bool,
    blocks: Vec<u16>,
    sources: Vec<Source>,
    free: u32,
    missing: u32,
    cursor: u32,
}

impl Partial {
    /// Starts over as `piece` with `blocks` blocks, those for which `padding` holds done.
    pub fn reset(&mut self, piece: u32, blocks: u32, padding: impl Fn(u32) -> bool) {
        self.piece = piece;
        (self.owner, self.shared, self.alone, self.open_at) = (None, false, false, None);
        self.sources.clear();
        self.blocks.clear();
        self.blocks.extend((0..blocks).map(|b| if padding(b) { PADDING } else { FREE }));
        self.free = self.blocks.iter().filter(|&&b| b == FREE).count() as u32;
        self.missing = self.free;
        self.cursor = 0;
    }

    /// Blocks that nobody is asked for.
    pub fn free(&self) -> u32 {
        self.free
    }

    /// Blocks that have not come.
    pub fn missing(&self) -> u32 {
        self.missing
    }

    /// Whether nothing has come and nothing is asked for.
    pub fn is_untouched(&self) -> bool {
        self.free == self.missing && self.sources.is_empty()
    }

    /// Who sent the blocks that came.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Who sent `block`, if it came from somebody.
    pub fn source_of(&self, block: u32) -> Option<Source> {
        self.sources.get(usize::from(*self.blocks.get(block as usize)?)).copied()
    }

    /// The blocks' number, padding included.
    pub fn len(&self) -> u32 {
        self.blocks.len() as u32
    }

    /// Whether `block` is asked of somebody.
    pub fn is_asked(&self, block: u32) -> bool {
        self.blocks.get(block as usize) == Some(&ASKED)
    }

    /// Whether `block` has not come and is not padding.
    pub fn is_missing(&self, block: u32) -> bool {
        matches!(self.blocks.get(block as usize), Some(&(ASKED | FREE)))
    }

    /// Takes up to `max` contiguous free blocks from the front, none beyond the next
    /// multiple of `stretch`: first block and how many.
    pub fn take_front(&mut self, max: u32, stretch: u32) -> Option<(u32, u32)> {
        if self.free == 0 || max == 0 {
            return None;
        }
        let from = self.cursor as usize;
        let first = from + self.blocks.get(from..)?.iter().position(|&b| b == FREE)?;
        let max = max.min(stretch - first as u32 % stretch);
        let run = self.blocks[first..].iter().take(max as usize).take_while(|&&b| b == FREE).count();
        self.take(first, run);
        self.cursor = (first + run) as u32;
        Some((first as u32, run as u32))
    }

    /// Takes up to `max` contiguous free blocks from the back, away from the owner's path.
    pub fn take_back(&mut self, max: u32) -> Option<(u32, u32)> {
        if self.free == 0 || max == 0 {
            return None;
        }
        let last = self.blocks.iter().rposition(|&b| b == FREE)?;
        let run = self.blocks[..=last].iter().rev().take(max as usize).take_while(|&&b| b == FREE).count();
        self.take(last + 1 - run, run);
        Some(((last + 1 - run) as u32, run as u32))
    }

    /// Nobody is asked for `block` any more. True if it was asked.
    pub fn release(&mut self, block: u32) -> bool {
        match self.blocks.get_mut(block as usize) {
            Some(state) if *state == ASKED => {
                *state = FREE;
                self.free += 1;
                self.cursor = self.cursor.min(block);
                true
            }
            _ => false,
        }
    }

    /// `block` came from `source`. True if it was missing.
    pub fn receive(&mut self, block: u32, source: Source) -> bool {
        let was = match self.blocks.get(block as usize) {
            Some(&was @ (ASKED | FREE)) => was,
            _ => return false,
        };
        let Some(index) = self.source_index(source) else { return false };
        self.blocks[block as usize] = index;
        self.free -= u32::from(was == FREE);
        self.missing -= 1;
        true
    }

    /// Starts over, keeping the blocks in `keep` (ascending) and their senders.
    pub fn retry(&mut self, keep: &[u32]) {
        for (i, state) in self.blocks.iter_mut().enumerate() {
            if usize::from(*state) < SOURCES_MAX && keep.binary_search(&(i as u32)).is_err() {
                *state = FREE;
            }
        }
        self.free = self.blocks.iter().filter(|&&b| b == FREE).count() as u32;
        self.missing = self.blocks.iter().filter(|&&b| b == FREE || b == ASKED).count() as u32;
        self.cursor = 0;
        if keep.is_empty() {
            self.sources.clear();
        }
    }

    fn take(&mut self, first: usize, run: usize) {
        self.blocks[first..first + run].fill(ASKED);
        self.free -= run as u32;
    }

    fn source_index(&mut self, source: Source) -> Option<u16> {
        let known = self.sources.iter().rposition(|&s| s == source);
        let index = known.unwrap_or_else(|| {
            self.sources.push(source);
            self.sources.len() - 1
        });
        (index < SOURCES_MAX).then_some(index as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u32 = u32::MAX;

    fn of(n: u8) -> Source {
        Source::Ip([10, 0, 0, n].into())
    }

    fn partial(blocks: u32) -> Partial {
        let mut partial = Partial::default();
        partial.reset(7, blocks, |b| b + 1 == blocks);
        partial
    }

    #[test]
    fn runs_from_both_ends_meet_and_leave_padding_alone() {
        let mut p = partial(9);
        assert_eq!(p.take_front(3, ALL), Some((0, 3)));
        assert_eq!(p.take_back(4), Some((4, 4)));
        assert_eq!(p.take_front(3, ALL), Some((3, 1)));
        assert_eq!((p.take_front(1, ALL), p.take_back(1)), (None, None));
        assert!(p.release(1) && !p.release(1));
        assert_eq!(p.take_front(9, ALL), Some((1, 1)));
        assert_eq!((p.free(), p.missing()), (0, 8));
    }

    #[test]
    fn stretches_keep_their_bounds() {
        let mut p = partial(11);
        assert_eq!((p.take_front(2, 4), p.take_front(9, 4)), (Some((0, 2)), Some((2, 2))));
        assert_eq!((p.take_front(9, 4), p.take_front(9, 4)), (Some((4, 4)), Some((8, 2))));
    }

    #[test]
    fn remembers_who_sent_what() {
        let mut p = partial(4);
        p.take_front(2, ALL);
        assert!(p.receive(0, of(1)) && p.receive(1, of(2)) && p.receive(2, of(1)));
        assert!(!p.receive(2, of(2)) && !p.receive(3, of(2)) && !p.receive(99, of(2)));
        assert_eq!((p.missing(), p.free()), (0, 0));
        assert_eq!((p.source_of(1), p.source_of(2), p.source_of(3)), (Some(of(2)), Some(of(1)), None));
        p.retry(&[1]);
        assert_eq!((p.missing(), p.free(), p.source_of(1)), (2, 2, Some(of(2))));
        p.retry(&[]);
        assert!(p.is_untouched());
    }
}
