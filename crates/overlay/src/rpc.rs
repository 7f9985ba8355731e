//! Questions that wait for an answer.

use starling_sansio::{Rng, Time};

use crate::prefetch;
use crate::wire::{Malformed, Reader, Wire, Writer};

/// The number of a question, which its answer repeats. It is drawn by chance, so that
/// someone who does not see the question cannot answer it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RpcId(pub u32);

impl Wire for RpcId {
    fn encode(&self, out: &mut impl Writer) {
        self.0.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<RpcId, Malformed> {
        u32::decode(input).map(RpcId)
    }
}

/// Open questions, at most `MAX`: whom was asked, until when the answer is awaited,
/// and what for. Costs nothing on the heap while there are none.
#[derive(Clone, Debug)]
pub struct Rpcs<P, T, const MAX: usize> {
    open: Vec<(RpcId, P, Time, T)>,
}

impl<P, T, const MAX: usize> Default for Rpcs<P, T, MAX> {
    fn default() -> Self {
        Rpcs { open: Vec::new() }
    }
}

impl<P: Copy + Eq, T, const MAX: usize> Rpcs<P, T, MAX> {
    /// Opens a question to `peer`; `None` if too many are open.
    pub fn open(&mut self, peer: P, deadline: Time, what: T, rng: &mut Rng) -> Option<RpcId> {
        if self.open.len() >= MAX {
            return None;
        }
        let mut id = RpcId(rng.next_u32());
        while self.open.iter().any(|entry| entry.0 == id) {
            id = RpcId(id.0.wrapping_add(1));
        }
        self.open.push((id, peer, deadline, what));
        Some(id)
    }

    /// Takes what question `id` was for, if `from` is who was asked.
    pub fn close(&mut self, id: RpcId, from: P) -> Option<T> {
        let at = self.open.iter().position(|entry| entry.0 == id && entry.1 == from)?;
        let (.., what) = self.open.swap_remove(at);
        self.give_back();
        Some(what)
    }

    /// Takes one question whose deadline has passed, the earliest opened first.
    pub fn expire(&mut self, now: Time) -> Option<(P, T)> {
        self.expire_numbered(now).map(|(_, peer, what)| (peer, what))
    }

    /// The same with the question's number, under which it may be opened again.
    pub fn expire_numbered(&mut self, now: Time) -> Option<(RpcId, P, T)> {
        let at = self.open.iter().position(|entry| entry.2 <= now)?;
        let (id, peer, _, what) = self.open.remove(at);
        self.give_back();
        Some((id, peer, what))
    }

    /// Opens a question again that has just expired: an answer to what was asked before
    /// answers it, too.
    pub fn open_again(&mut self, id: RpcId, peer: P, deadline: Time, what: T) {
        if self.open.len() < MAX && self.open.iter().all(|entry| entry.0 != id) {
            self.open.push((id, peer, deadline, what));
        }
    }

    /// Takes one question to `peer`, which is known not to answer.
    pub fn abandon(&mut self, peer: P) -> Option<T> {
        let at = self.open.iter().position(|entry| entry.1 == peer)?;
        let (.., what) = self.open.remove(at);
        Some(what)
    }

    /// Drops the questions for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.open.retain(|entry| keep(&entry.3));
        self.give_back();
    }

    /// The first deadline.
    pub fn next_deadline(&self) -> Option<Time> {
        self.open.iter().map(|entry| entry.2).min()
    }

    /// The open questions: who was asked, and what for.
    pub fn iter(&self) -> impl Iterator<Item = (P, &T)> {
        self.open.iter().map(|entry| (entry.1, &entry.3))
    }

    /// The open questions, what they are for to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (P, &mut T)> {
        self.open.iter_mut().map(|entry| (entry.1, &mut entry.3))
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Asks for them; see [`crate::Core::warm`].
    pub fn warm(&self) {
        prefetch(&self.open[..]);
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.open.capacity() * size_of::<(RpcId, P, Time, T)>()
    }

    /// A quiet node keeps no memory for busy times.
    fn give_back(&mut self) {
        if self.open.is_empty() && self.open.capacity() > 8 {
            self.open = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_peer_that_was_asked_can_answer_and_only_once() {
        let mut rng = Rng::from_seed(1);
        let mut rpcs: Rpcs<u32, char, 2> = Rpcs::default();
        let a = rpcs.open(1, Time::from_secs(1), 'a', &mut rng).unwrap();
        let b = rpcs.open(2, Time::from_secs(2), 'b', &mut rng).unwrap();
        assert_eq!(rpcs.open(3, Time::from_secs(1), 'c', &mut rng), None);
        assert_eq!(rpcs.close(a, 2), None);
        assert_eq!(rpcs.close(a, 1), Some('a'));
        assert_eq!(rpcs.close(a, 1), None);
        assert_eq!(rpcs.next_deadline(), Some(Time::from_secs(2)));
        assert_eq!(rpcs.expire(Time::from_secs(1)), None);
        assert_eq!(rpcs.expire(Time::from_secs(2)), Some((2, 'b')));
        assert_eq!(rpcs.close(b, 2), None);
    }
}
