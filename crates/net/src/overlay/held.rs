//! Messages that wait until their receiver has proven its address.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use starling_overlay::Contact;
use starling_sansio::Time;

/// Messages that wait, in all and for one address; the oldest make room.
pub(super) const HELD_MAX: usize = 512;
const HELD_PER_ADDRESS_MAX: usize = 8;
/// Bytes of them.
pub(super) const HELD_BYTES_MAX: usize = 512 << 10;
/// No message waits longer: whoever asked has asked again, or given up.
pub(super) const HELD_FOR: Duration = Duration::from_secs(3);

/// What waits, the oldest first.
#[derive(Default)]
pub(super) struct Held {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

struct Waiting {
    peer: Contact,
    since: Time,
    message: Vec<u8>,
}

/// What has waited.
#[derive(Default)]
pub(super) struct Taken {
    /// In order, to or from whom.
    pub due: Vec<(Contact, Vec<u8>)>,
    /// How many had waited for too long.
    pub late: usize,
}

impl Held {
    /// Lets a message wait; how many are given up for it.
    pub fn push(&mut self, now: Time, peer: Contact, message: Vec<u8>) -> usize {
        let before = self.waiting.len();
        let same = |one: &Waiting| one.peer.addr() == peer.addr();
        if self.waiting.iter().filter(|one| same(one)).count() >= HELD_PER_ADDRESS_MAX
            && let Some(at) = self.waiting.iter().position(same)
        {
            self.remove(at);
        }
        let fits =
            |held: &Held| held.waiting.len() < HELD_MAX && held.bytes + message.len() <= HELD_BYTES_MAX;
        while let Some(oldest) = self.waiting.front()
            && (!fits(self) || now.since(oldest.since) > HELD_FOR)
        {
            self.remove(0);
        }
        let gone = before - self.waiting.len();
        self.bytes += message.len();
        self.waiting.push_back(Waiting { peer, since: now, message });
        gone
    }

    /// What waited for `addr`.
    pub fn take(&mut self, now: Time, addr: SocketAddr) -> Taken {
        let mut taken = Taken::default();
        while let Some(at) = self.waiting.iter().position(|one| one.peer.addr() == addr) {
            match self.remove(at) {
                Some(one) if now.since(one.since) <= HELD_FOR => taken.due.push((one.peer, one.message)),
                _ => taken.late += 1,
            }
        }
        taken
    }

    fn remove(&mut self, at: usize) -> Option<Waiting> {
        let one = self.waiting.remove(at)?;
        self.bytes -= one.message.len();
        Some(one)
    }

    /// Messages, and bytes of them.
    #[cfg(test)]
    pub fn size(&self) -> (usize, usize) {
        (self.waiting.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(9);

    fn host(n: u32) -> Contact {
        Contact::new((std::net::Ipv4Addr::from(n), 1).into(), 0)
    }

    #[test]
    fn what_waited_comes_in_order_and_not_too_late() {
        let mut held = Held::default();
        held.push(Time::from_secs(1), host(1), vec![0]);
        [1, 2, 3].iter().for_each(|&n| _ = held.push(NOW, host(n % 2), vec![n as u8]));
        let mut take = |now, n| {
            let taken = held.take(now, host(n).addr());
            (taken.due, taken.late)
        };
        assert_eq!(take(NOW + HELD_FOR, 1), (vec![(host(1), vec![1]), (host(1), vec![3])], 0));
        assert_eq!(take(NOW + HELD_FOR, 1), (Vec::new(), 0));
        assert_eq!(take(NOW + 2 * HELD_FOR, 0), (Vec::new(), 1));
        assert_eq!(held.size(), (0, 0));
    }

    #[test]
    fn every_bound_holds() {
        let mut held = Held::default();
        let gone = (0..20).map(|n| held.push(NOW, host(1), vec![n])).sum::<usize>();
        assert_eq!((gone, held.size()), (12, (8, 8)));
        assert_eq!(held.take(NOW, host(1).addr()).due.first(), Some(&(host(1), vec![12])), "the last ones");
        for length in [1, 16_000] {
            for n in 0..2 * HELD_MAX as u32 {
                held.push(NOW, host(n), vec![0; length]);
                let (messages, bytes) = held.size();
                assert!(messages <= HELD_MAX && bytes <= HELD_BYTES_MAX, "{messages} {bytes}");
            }
        }
        assert_eq!(held.take(NOW, host(2 * HELD_MAX as u32 - 1).addr()).due.len(), 1);
    }
}
