//! The addresses a torrent knows: where each came from, how it went, when to try again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
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

impl Source {
    /// Whether a private torrent must not use it (BEP 27).
    pub fn is_gossip(self) -> bool {
        matches!(self, Source::Pex | Source::Lan)
    }
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
    /// Connections with it, attempts included: two until one of a pair is given up.
    busy: u8,
    /// BEP 40 order among peers otherwise alike.
    rank: u32,
    /// It said the v2 name last, and may know no other.
    by_v2: bool,
    /// It waits because neither side had a use for the last connection.
    no_use: bool,
}

impl Known {
    /// Whether it may be dialled once its time has come.
    fn is_idle(&self) -> bool {
        self.busy == 0 && self.failures < u8::MAX
    }

    /// A connection or an attempt is over.
    fn end(&mut self, ending: Ending, now: Time) {
        self.busy = self.busy.saturating_sub(1);
        let user = self.source == Source::User;
        self.no_use = ending == Ending::NoUse;
        let wait = match ending {
            Ending::Never => {
                self.failures = u8::MAX;
                Duration::MAX
            }
            Ending::Broke => {
                let (first, cap) = if user { (1, 15) } else { (5, 3600) };
                let wait = (first << self.failures.min(12)).min(cap);
                self.failures = self.failures.saturating_add(1).min(u8::MAX - 1);
                Duration::from_secs(wait)
            }
            Ending::NoUse => Duration::from_secs(if user { 60 } else { 1800 }),
            Ending::Misbehaved => {
                self.failures = self.failures.saturating_add(2).min(u8::MAX - 1);
                Duration::from_secs(600)
            }
            Ending::Unreachable => {
                self.failures = self.failures.saturating_add(1).min(u8::MAX - 1);
                let (first, cap) = if user { (1, 15) } else { (15, 3600) };
                Duration::from_secs((first << self.failures.min(12)).min(cap))
            }
        };
        self.not_before = now + wait;
    }

    /// Where it stands among those whose time has come.
    fn turn(&self, addr: SocketAddr) -> Turn {
        (self.failures, Reverse(self.source), self.rank, addr)
    }
}

/// The reliable first, then the trusted, then by rank.
type Turn = (u8, Reverse<Source>, u32, SocketAddr);

/// The address book of one torrent. Bounded; an entry in use is never evicted.
///
/// A full swarm turns most dials away, so that whom to dial next is asked as often as
/// there are addresses: the idle ones stand in the order in which they are wanted.
#[derive(Debug)]
pub struct Book {
    known: BTreeMap<SocketAddr, Known>,
    /// Idle addresses whose time has come, as far as that was asked.
    ready: BTreeSet<Turn>,
    /// The other idle ones, by when they are due.
    later: BTreeSet<(Time, SocketAddr)>,
    limit: usize,
}

impl Book {
    /// An empty book for at most `limit` addresses.
    pub fn new(limit: usize) -> Book {
        Book { known: BTreeMap::new(), ready: BTreeSet::new(), later: BTreeSet::new(), limit }
    }

    /// How many addresses are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Notes an address. `rank` orders peers otherwise alike (BEP 40), lower first.
    /// Returns whether it is new, or can be tried sooner than before.
    pub fn add(&mut self, addr: SocketAddr, source: Source, rank: u32) -> bool {
        let revived = self.change(addr, |known| {
            // A fresh sighting on the LAN means that the peer is there now.
            let revived = source >= Source::Lan && known.is_idle();
            if revived {
                known.not_before = Time::ZERO;
            }
            known.source = known.source.max(source);
            revived
        });
        if let Some(revived) = revived {
            return revived;
        }
        if self.known.len() >= self.limit && !self.evict_below(source) {
            return false;
        }
        let fresh =
            Known { source, failures: 0, not_before: Time::ZERO, busy: 0, rank, by_v2: false, no_use: false };
        self.known.insert(addr, fresh);
        self.later.insert((fresh.not_before, addr));
        true
    }

    /// Notes by which of a hybrid torrent's names a known address asked for it.
    pub fn note_name(&mut self, addr: SocketAddr, v2: bool) {
        if let Some(known) = self.known.get_mut(&addr) {
            known.by_v2 = v2;
        }
    }

    /// Whether an address asked for a hybrid torrent by its v2 name.
    pub fn asked_by_v2(&self, addr: SocketAddr) -> bool {
        self.known.get(&addr).is_some_and(|known| known.by_v2)
    }

    /// The best address to dial now, if any is due.
    pub fn candidate(&mut self, now: Time) -> Option<SocketAddr> {
        while let Some(&(due, addr)) = self.later.first().filter(|(due, _)| *due <= now) {
            self.later.remove(&(due, addr));
            self.ready.extend(self.known.get(&addr).map(|known| known.turn(addr)));
        }
        self.ready.first().map(|turn| turn.3)
    }

    /// When the next address becomes due.
    pub fn next_due(&self) -> Option<Time> {
        let ready = self.ready.iter().filter_map(|turn| self.known.get(&turn.3));
        ready.map(|known| known.not_before).chain(self.later.first().map(|(due, _)| *due)).min()
    }

    /// The address is being dialled or connected: not to be dialled again.
    pub fn begin(&mut self, addr: SocketAddr) {
        self.change(addr, |known| known.busy = known.busy.saturating_add(1));
    }

    /// A connection has lasted: earlier failures no longer count.
    pub fn succeeded(&mut self, addr: SocketAddr) {
        self.change(addr, |known| known.failures = 0);
    }

    /// Who told of an address.
    pub fn source(&self, addr: SocketAddr) -> Option<Source> {
        self.known.get(&addr).map(|known| known.source)
    }

    /// Forgets whom only gossip told of (BEP 27), but for those connected.
    pub fn forget_gossip(&mut self) {
        let gossip = |known: &Known| known.busy == 0 && known.source.is_gossip();
        let gone = self.known.iter().filter(|(_, known)| gossip(known)).map(|(addr, _)| *addr);
        gone.collect::<Vec<_>>().into_iter().for_each(|addr| self.forget(addr));
    }

    /// Not now, for no fault of its own.
    pub fn put_off(&mut self, addr: SocketAddr, until: Time) {
        self.change(addr, |known| known.not_before = known.not_before.max(until));
    }

    /// The connection or the attempt is over.
    pub fn end(&mut self, addr: SocketAddr, ending: Ending, now: Time) {
        self.change(addr, |known| known.end(ending, now));
    }

    /// There is something to fetch again: whoever was of no use may be of use now.
    pub fn of_use_again(&mut self, now: Time) {
        let useless = self.known.iter().filter(|(_, known)| known.no_use && known.busy == 0);
        for addr in useless.map(|(addr, _)| *addr).collect::<Vec<_>>() {
            self.change(addr, |known| known.not_before = known.not_before.min(now));
        }
    }

    /// Changes what is known of an address, and where it stands.
    fn change<T>(&mut self, addr: SocketAddr, act: impl FnOnce(&mut Known) -> T) -> Option<T> {
        let known = self.known.get_mut(&addr)?;
        let before = *known;
        let result = act(known);
        let after = *known;
        self.take_out(addr, &before);
        if after.is_idle() {
            self.later.insert((after.not_before, addr));
        }
        Some(result)
    }

    fn forget(&mut self, addr: SocketAddr) {
        if let Some(known) = self.known.remove(&addr) {
            self.take_out(addr, &known);
        }
    }

    fn take_out(&mut self, addr: SocketAddr, known: &Known) {
        if known.is_idle() && !self.later.remove(&(known.not_before, addr)) {
            self.ready.remove(&known.turn(addr));
        }
    }

    /// Makes room by forgetting the least promising idle address that is trusted no more than `source`.
    fn evict_below(&mut self, source: Source) -> bool {
        let victim = self
            .known
            .iter()
            .filter(|(_, k)| k.busy == 0)
            .filter(|(_, k)| {
                k.failures == u8::MAX || k.source < source || (k.source == source && k.failures > 0)
            })
            .max_by_key(|(_, k)| (k.failures, Reverse(k.source), k.rank))
            .map(|(addr, _)| *addr);
        victim.into_iter().for_each(|addr| self.forget(addr));
        victim.is_some()
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
    fn the_next_one_is_whom_a_look_at_everybody_would_choose() {
        let sources = [Source::Pex, Source::Incoming, Source::Tracker, Source::Lan, Source::User];
        let endings = [Ending::Unreachable, Ending::Broke, Ending::NoUse, Ending::Misbehaved, Ending::Never];
        let mut rng = starling_sansio::Rng::from_seed(1);
        for _ in 0..50 {
            let (mut book, mut now) = (Book::new(20), Time::ZERO);
            for _ in 0..300 {
                let one = addr(rng.index(30) as u16);
                match rng.index(8) {
                    0 | 1 => _ = book.add(one, sources[rng.index(5)], rng.next_u32() % 3),
                    2 => book.begin(one),
                    3 => book.end(one, endings[rng.index(5)], now),
                    4 => book.put_off(one, now + Duration::from_secs(5)),
                    5 => book.succeeded(one),
                    6 => book.of_use_again(now),
                    _ if rng.index(20) == 0 => book.forget_gossip(),
                    _ => now = now + Duration::from_secs(rng.below(40)),
                }
                let idle = || book.known.iter().filter(|(_, known)| known.is_idle());
                let due = idle().filter(|(_, known)| known.not_before <= now);
                let best = due.min_by_key(|(addr, known)| known.turn(**addr)).map(|(addr, _)| *addr);
                let next = idle().map(|(_, known)| known.not_before).min();
                assert_eq!(book.next_due(), next);
                assert_eq!(book.candidate(now), best);
                assert_eq!(book.next_due(), next, "also after");
                assert_eq!(
                    book.ready.len() + book.later.len(),
                    book.known.values().filter(|k| k.is_idle()).count()
                );
            }
        }
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
    fn a_peer_that_lets_go_at_once_is_asked_ever_less_often() {
        let mut book = Book::new(10);
        book.add(addr(1), Source::Tracker, 0);
        let wait = |book: &mut Book| {
            book.begin(addr(1));
            book.end(addr(1), Ending::Broke, Time::ZERO);
            book.next_due().unwrap()
        };
        let waits: Vec<Time> = (0..3).map(|_| wait(&mut book)).collect();
        assert_eq!(waits, [5, 10, 20].map(Time::from_secs));
        book.succeeded(addr(1));
        assert_eq!(wait(&mut book), Time::from_secs(5));
    }

    #[test]
    fn who_was_of_no_use_can_be_dialled_as_soon_as_there_is_one_again() {
        let mut book = Book::new(10);
        for (n, ending) in [(1, Ending::NoUse), (2, Ending::Misbehaved)] {
            book.add(addr(n), Source::Tracker, 0);
            book.begin(addr(n));
            book.end(addr(n), ending, Time::ZERO);
        }
        assert_eq!(book.candidate(Time::from_secs(9)), None);
        book.of_use_again(Time::from_secs(9));
        assert_eq!(book.candidate(Time::from_secs(9)), Some(addr(1)));
        book.begin(addr(1));
        assert_eq!(book.candidate(Time::from_secs(9)), None, "the other one had earned its wait");
    }

    #[test]
    fn an_address_with_two_connections_is_free_after_both() {
        let mut book = Book::new(10);
        book.add(addr(1), Source::User, 0);
        book.begin(addr(1));
        book.begin(addr(1));
        book.end(addr(1), Ending::NoUse, Time::ZERO);
        assert_eq!(book.candidate(Time::NEVER), None);
        book.end(addr(1), Ending::Broke, Time::ZERO);
        assert_eq!(book.candidate(Time::NEVER), Some(addr(1)));
    }

    #[test]
    fn those_never_to_be_dialled_do_not_fill_the_book() {
        let mut book = Book::new(2);
        for n in 0..2 {
            book.add(addr(n), Source::Tracker, 0);
            book.end(addr(n), Ending::Never, Time::ZERO);
        }
        assert!(book.add(addr(9), Source::Pex, 0));
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
