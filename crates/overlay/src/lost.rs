//! Whom a node lost sight of: a way back after a partition.
//!
//! A network that was cut in two is two networks once everybody has taken those beyond
//! the cut for dead. Someone must ask there again (Shafaat, Ghodsi and Haridi, "Dealing
//! with network partitions in structured overlay networks", 2009, whose nodes keep such a
//! list, too). Here a node looks its own place up now and then through one of those that
//! fell silent, or through who let it in; what follows from what it finds are steps that
//! its protocol has anyway.

use starling_sansio::Rng;

use crate::Peer;

/// Names of silent peers that a node keeps; a new one takes the place of any.
pub const MAX_LOST: usize = 4;

/// Those names, and through whom the node came in. Nothing on the heap while there are none.
#[derive(Clone, Debug)]
pub(crate) struct Lost<P>(Option<Box<Names<P>>>);

#[derive(Clone, Debug)]
struct Names<P> {
    silent: [Option<P>; MAX_LOST],
    boot: Option<P>,
}

impl<P> Default for Lost<P> {
    fn default() -> Self {
        Lost(None)
    }
}

impl<P: Peer> Lost<P> {
    fn names(&mut self) -> &mut Names<P> {
        self.0.get_or_insert_with(|| Box::new(Names { silent: [None; MAX_LOST], boot: None }))
    }

    /// `peer` does not answer any more.
    pub fn note(&mut self, peer: P, rng: &mut Rng) {
        let names = self.names();
        if names.boot == Some(peer) || names.silent.contains(&Some(peer)) {
            return;
        }
        let free = names.silent.iter().position(Option::is_none);
        names.silent[free.unwrap_or_else(|| rng.index(MAX_LOST))] = Some(peer);
    }

    /// The node comes in through `peer`, which is remembered for ever.
    pub fn came_through(&mut self, peer: P) {
        self.names().boot = Some(peer);
    }

    /// `peer` is not lost.
    pub fn forget(&mut self, peer: P) {
        let Some(names) = &mut self.0 else { return };
        names.silent.iter_mut().for_each(|one| _ = one.take_if(|one| *one == peer));
        if names.boot.is_none() && names.silent.iter().all(Option::is_none) {
            self.0 = None;
        }
    }

    /// Whom to ask this time: each of them once in `rounds` on average, mostly nobody.
    pub fn turn(&self, rounds: usize, rng: &mut Rng) -> Option<P> {
        let names = self.0.as_ref()?;
        match rng.index(rounds.max(MAX_LOST + 1)) {
            MAX_LOST => names.boot,
            turn => names.silent.get(turn).copied().flatten(),
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |names| size_of_val(&**names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_turn_and_old_ones_make_room() {
        let mut rng = Rng::from_seed(1);
        let mut lost: Lost<u32> = Lost::default();
        assert_eq!((lost.turn(5, &mut rng), lost.heap_bytes()), (None, 0));
        lost.came_through(100);
        (0..50).for_each(|peer| lost.note(peer, &mut rng));
        (0..50).for_each(|_| lost.note(49, &mut rng));
        lost.note(100, &mut rng);
        let mut turns: Vec<Option<u32>> = (0..200).map(|_| lost.turn(10, &mut rng)).collect();
        turns.sort_unstable();
        let nobody = turns.iter().filter(|turn| turn.is_none()).count();
        assert!((60..140).contains(&nobody), "{nobody}");
        turns.dedup();
        assert_eq!(turns.len(), 1 + MAX_LOST + 1);
        assert!(turns.contains(&Some(100)) && turns.contains(&Some(49)));
        turns.into_iter().flatten().for_each(|peer| lost.forget(peer));
        assert!((0..100).all(|_| matches!(lost.turn(5, &mut rng), None | Some(100))));
        let mut lost: Lost<u32> = Lost::default();
        lost.note(1, &mut rng);
        lost.forget(1);
        assert_eq!(lost.heap_bytes(), 0);
    }
}
