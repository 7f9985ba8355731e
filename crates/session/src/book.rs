//! The addresses a torrent knows: where each came from, how it went, when to try again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use starling_sansio::Time;

/// Who told of an address. Later ones are trusted more when the book is full.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// Another peer (BEP 11).
    Pex,
    /// It connected to us and said where it listens.
    Incoming,
    /// A tracker.
    Tracker,
    /// Local service discovery (BEP 14).
    Lan,
    /// The user or the link named it; tried again soon and for ever.
    User,
}

/// How a connection or the attempt at one ended, as far as another try is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// No connection came about.
    Unreachable,
    /// It worked and then broke.
    Broke,
    /// Neither side had a use for it: two seeds, a full house.
    NoUse,
    /// The peer broke the protocol.
    Misbehaved,
    /// The address is our own, or a liar's.
    Never,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    source: Source,
    failures: u8,
    not_before: Time,
    busy: bool,
    /// BEP 40 order among peers otherwise alike.
    rank: u32,
}

/// The address book of one torrent. Bounded; an entry in use is never evicted.
#[derive(Debug)]
pub struct Book {
    known: BTreeMap<SocketAddr, Known>,
    limit: usize,
}

impl Book {
    /// An empty book for at most `limit` addresses.
    pub fn new(limit: usize) -> Book {
        Book { known: BTreeMap::new(), limit }
    }

    /// How many addresses are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Notes an address. `rank` orders peers otherwise alike (BEP 40), lower first.
    /// Returns whether it is new, or can be tried sooner than before.
    pub fn add(&mut self, addr: SocketAddr, source: Source, rank: u32) -> bool {
        if let Some(known) = self.known.get_mut(&addr) {
            // A fresh sighting on the LAN means that the peer is there now.
            let revived = source >= Source::Lan && !known.busy && known.failures < u8::MAX;
            if revived {
                known.not_before = Time::ZERO;
            }
            known.source = known.source.max(source);
            return revived;
        }
        if self.known.len() >= self.limit && !self.evict_below(source) {
            return false;
        }
        self.known.insert(addr, Known { source, failures: 0, not_before: Time::ZERO, busy: false, rank });
        true
    }

    /// The best address to dial now, if any is due.
    pub fn candidate(&self, now: Time) -> Option<SocketAddr> {
        self.idle()
            .filter(|(_, known)| known.not_before <= now)
            .min_by_key(|(_, k)| (k.failures, std::cmp::Reverse(k.source), k.rank))
            .map(|(addr, _)| *addr)
    }

    /// When the next address becomes due.
    pub fn next_due(&self) -> Option<Time> {
        self.idle().map(|(_, known)| known.not_before).min()
    }

    /// The address is being dialled or connected: not to be dialled again.
    pub fn begin(&mut self, addr: SocketAddr) {
        if let Some(known) = self.known.get_mut(&addr) {
            known.busy = true;
        }
    }

    /// The connection is up: earlier failures no longer count.
    pub fn succeeded(&mut self, addr: SocketAddr) {
        if let Some(known) = self.known.get_mut(&addr) {
            known.failures = 0;
        }
    }

    /// The connection or the attempt is over.
    pub fn end(&mut self, addr: SocketAddr, ending: Ending, now: Time) {
        let Some(known) = self.known.get_mut(&addr) else { return };
        known.busy = false;
        let user = known.source == Source::User;
        let wait = match ending {
            Ending::Never => {
                known.failures = u8::MAX;
                Duration::MAX
            }
            Ending::Broke => Duration::from_secs(if user { 1 } else { 5 }),
            Ending::NoUse => Duration::from_secs(if user { 60 } else { 1800 }),
            Ending::Misbehaved => {
                known.failures = known.failures.saturating_add(2).min(u8::MAX - 1);
                Duration::from_secs(600)
            }
            Ending::Unreachable => {
                known.failures = known.failures.saturating_add(1).min(u8::MAX - 1);
                let (first, cap) = if user { (1, 15) } else { (15, 3600) };
                Duration::from_secs((first << known.failures.min(12)).min(cap))
            }
        };
        known.not_before = now + wait;
    }

    fn idle(&self) -> impl Iterator<Item = (&SocketAddr, &Known)> {
        self.known.iter().filter(|(_, known)| !known.busy && known.failures < u8::MAX)
    }

    /// Makes room by forgetting the least promising idle address that is trusted no more than `source`.
    fn evict_below(&mut self, source: Source) -> bool {
        let victim = self
            .known
            .iter()
            .filter(|(_, k)| !k.busy && k.source <= source && k.failures < u8::MAX)
            .filter(|(_, k)| k.failures > 0 || k.source < source)
            .max_by_key(|(_, k)| (k.failures, std::cmp::Reverse(k.source), k.rank))
            .map(|(addr, _)| *addr);
        victim.is_some_and(|addr| self.known.remove(&addr).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], n))
    }

    #[test]
    fn dials_the_trusted_and_reliable_first() {
        let mut book = Book::new(10);
        book.add(addr(1), Source::Pex, 0);
        book.add(addr(2), Source::User, 0);
        assert_eq!(book.candidate(Time::ZERO), Some(addr(2)));
        book.begin(addr(2));
        assert_eq!(book.candidate(Time::ZERO), Some(addr(1)));
        book.end(addr(2), Ending::Unreachable, Time::ZERO);
        assert_eq!(book.candidate(Time::ZERO), Some(addr(1)));
        book.begin(addr(1));
        assert_eq!(book.candidate(Time::ZERO), None);
        assert_eq!(book.candidate(Time::from_secs(2)), Some(addr(2)));
    }

    #[test]
    fn waits_longer_after_each_failure_but_never_for_ever() {
        let mut book = Book::new(10);
        book.add(addr(1), Source::Tracker, 0);
        let mut last = Duration::ZERO;
        for _ in 0..40 {
            book.end(addr(1), Ending::Unreachable, Time::ZERO);
            let wait = book.next_due().unwrap().since(Time::ZERO);
            assert!(wait >= last && wait <= Duration::from_secs(3600));
            last = wait;
        }
        book.end(addr(1), Ending::Never, Time::ZERO);
        assert_eq!(book.candidate(Time::NEVER), None);
    }

    #[test]
    fn gossip_cannot_push_out_what_trackers_said() {
        let mut book = Book::new(3);
        for n in 0..3 {
            assert!(book.add(addr(n), Source::Tracker, 0));
        }
        assert!(!book.add(addr(9), Source::Pex, 0));
        assert!(book.add(addr(9), Source::User, 0));
        assert_eq!(book.len(), 3);
    }

    #[test]
    fn a_sighting_on_the_lan_revives_an_address() {
        let mut book = Book::new(3);
        book.add(addr(1), Source::Lan, 0);
        book.end(addr(1), Ending::NoUse, Time::ZERO);
        assert_eq!(book.candidate(Time::from_secs(1)), None);
        assert!(book.add(addr(1), Source::Lan, 0));
        assert_eq!(book.candidate(Time::from_secs(1)), Some(addr(1)));
    }
}
