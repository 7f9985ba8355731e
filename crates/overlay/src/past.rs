//! Whom a node of Gnutella or FastTrack knew once: its boot peer, neighbours and
//! super-peers that fell silent, that sent it away, or that it could not reach.
//!
//! A node's other names are of those who were said to live not long ago; when a third
//! of the network dies at once, or the network was in two parts, all of them may be
//! useless. Then these are asked, one after another and over and over, ever more rarely.

/// Names that a node keeps of those.
pub const MAX_PAST: usize = 16;
/// Names up to which strangers are remembered.
const FEW: usize = 4;
/// Names tried at one tick by a node without a super-peer, neighbour or link.
const AT_ONCE: u8 = 8;
/// Ticks of rest between two tries, at most.
const MAX_REST: u8 = 3;

/// The names, and whose turn it is.
#[derive(Debug)]
pub struct Past<P> {
    /// The one whose turn it is comes first.
    peers: Vec<P>,
    /// Names that may still be tried before the next tick.
    left: u8,
    /// Ticks until names are tried again.
    rest: u8,
    /// Ticks at which names were tried since somebody was found.
    vain: u8,
}

impl<P: Copy + Eq> Past<P> {
    /// Nobody.
    pub fn new() -> Self {
        Past { peers: Vec::new(), left: 0, rest: 0, vain: 0 }
    }

    /// Remembers `peer`, whose turn comes last; of too many, whoever would be next goes.
    pub fn remember(&mut self, peer: P) {
        self.forget(peer);
        if self.peers.len() >= MAX_PAST {
            self.peers.remove(0);
        }
        self.peers.push(peer);
    }

    /// Remembers `peer`, whose turn is next.
    pub fn remember_first(&mut self, peer: P) {
        self.remember(peer);
        self.peers.rotate_right(1);
    }

    /// Remembers a stranger who asked for something, if there is hardly anybody else: it
    /// will have found others. Of more, strangers could make a node forget its friends.
    pub fn remember_if_few(&mut self, peer: P) {
        if self.peers.len() < FEW {
            self.remember(peer);
        }
    }

    /// Forgets `peer`: it is known to be of no use any more.
    pub fn forget(&mut self, peer: P) {
        self.peers.retain(|&other| other != peer);
    }

    /// Somebody was found.
    pub fn found(&mut self) {
        (self.vain, self.rest) = (0, 0);
    }

    /// A node that lacks somebody enters, or a tick has come. `alone`: it has nobody at
    /// all, and tries several names at once.
    pub fn tick(&mut self, alone: bool) {
        if self.rest > 0 {
            self.rest -= 1;
            self.left = 0;
            return;
        }
        self.left = if alone { AT_ONCE } else { 1 };
        self.rest = ((1u16 << self.vain.min(7)) - 1).min(u16::from(MAX_REST)) as u8;
        self.vain = self.vain.saturating_add(1);
    }

    /// Whether a name may be tried now, which it then is.
    pub fn take_try(&mut self) -> bool {
        let may = self.left > 0;
        self.left -= u8::from(may);
        may
    }

    /// The name whose turn it is.
    pub fn next_name(&mut self) -> Option<P> {
        if !self.peers.is_empty() {
            self.peers.rotate_left(1);
        }
        self.peers.last().copied()
    }

    /// Who they are.
    pub fn peers(&self) -> &[P] {
        &self.peers
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.peers.capacity() * size_of::<P>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(past: &mut Past<u32>, alone: bool) -> Vec<u32> {
        past.tick(alone);
        std::iter::from_fn(|| past.take_try().then(|| past.next_name()).flatten()).collect()
    }

    #[test]
    fn all_have_their_turn_and_are_asked_ever_more_rarely() {
        let mut past = Past::new();
        (0..20).for_each(|peer| past.remember(peer));
        past.remember(7);
        past.forget(8);
        assert_eq!(past.peers().len(), MAX_PAST - 1);
        let rounds: Vec<Vec<u32>> = (0..9).map(|_| asked(&mut past, true)).collect();
        let full: Vec<usize> = (0..9).filter(|&round| rounds[round].len() == 8).collect();
        assert_eq!(full, [0, 1, 3, 7]);
        let mut all: Vec<u32> = [&rounds[0][..], &rounds[1][..7]].concat();
        all.sort_unstable();
        assert_eq!(all, [4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
        past.found();
        assert_eq!(asked(&mut past, false).len(), 1);
    }
}
