//! Super-seeding (BEP 16): a seed that shows each peer one piece at a time, and
//! the next one once somebody else has got that piece from it. The first copy of
//! a torrent then leaves the seed little more than once.

use starling_sansio::Sink;

use crate::torrent::Torrent;
use crate::{Message, Output};

/// Pieces shown to one peer that it has not passed on.
const SHOWN: usize = 2;

impl Torrent {
    /// Whether new peers are told that we have nothing.
    pub(crate) fn hides_pieces(&self) -> bool {
        self.super_seeding && self.have.is_full() && self.pieces() > 0
    }

    /// Whether `piece` is hidden from this peer.
    pub(crate) fn hides(&self, slot: u32, piece: u32) -> bool {
        self.hides_pieces() && self.links.get(slot).is_some_and(|l| !l.up.revealed.contains(&piece))
    }

    pub(crate) fn set_super_seeding(&mut self, on: bool, out: &mut impl Sink<Output>) {
        if self.super_seeding == on {
            return;
        }
        let was_hiding = self.hides_pieces();
        self.super_seeding = on;
        let now = self.now;
        if !was_hiding {
            // Those connected know already what we have: only new ones are shown pieces singly.
            let all: Vec<u32> = self.have.iter().collect();
            self.links.iter_mut().for_each(|link| link.up.revealed.clone_from(&all));
            return;
        }
        for link in self.links.iter_mut() {
            let shown = std::mem::take(&mut link.up.revealed);
            for piece in self.have.iter() {
                if shown.contains(&piece) || link.has.get(piece) {
                    continue;
                }
                link.send(now, Message::Have(piece), out);
            }
        }
    }

    /// Shows the peer pieces until it has enough to do.
    pub(crate) fn reveal(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        if !self.hides_pieces() {
            return;
        }
        while let Some(link) = self.links.get(slot) {
            let busy =
                link.up.revealed.iter().filter(|&&p| !link.has.get(p) || !self.spread_of(slot, p)).count();
            if busy >= SHOWN || link.closing {
                return;
            }
            let Some(piece) = self.least_shown(slot) else { return };
            let now = self.now;
            let Some(link) = self.links.get_mut(slot) else { return };
            link.up.revealed.push(piece);
            link.send(now, Message::Have(piece), out);
        }
    }

    /// A peer has got `piece`: whoever was shown it has passed it on, or has to be fed again.
    pub(crate) fn spread(&mut self, slot: u32, piece: u32, out: &mut impl Sink<Output>) {
        if !self.hides_pieces() {
            return;
        }
        let shown = |l: &&crate::peer::Link| l.slot == slot || l.up.revealed.contains(&piece);
        let slots: Vec<u32> = self.links.iter().filter(shown).map(|l| l.slot).collect();
        for slot in slots {
            self.reveal(slot, out);
        }
    }

    /// Whether somebody but the peer in `slot` has `piece`, or there is nobody else.
    fn spread_of(&self, slot: u32, piece: u32) -> bool {
        let mut others =
            self.links.iter().filter(|l| l.slot != slot && !l.closing && !l.is_seed()).peekable();
        others.peek().is_none() || others.any(|l| l.has.get(piece))
    }

    /// A piece the peer lacks that fewest have or were shown; by chance among equals.
    fn least_shown(&mut self, slot: u32) -> Option<u32> {
        let pieces = self.pieces();
        let from = self.rng.index(pieces as usize) as u32;
        let link = self.links.get(slot)?;
        let mut best: Option<(usize, u32)> = None;
        for piece in (from..pieces).chain(0..from) {
            if link.has.get(piece) || link.up.revealed.contains(&piece) {
                continue;
            }
            let known =
                self.links.iter().filter(|l| l.has.get(piece) || l.up.revealed.contains(&piece)).count();
            if known == 0 {
                return Some(piece);
            }
            if best.is_none_or(|(least, _)| known < least) {
                best = Some((known, piece));
            }
        }
        best.map(|(_, piece)| piece)
    }
}
