//! Which addresses have proven that what is sent to them arrives.
//!
//! Whoever sends a datagram can write any sender on it. What is sent to an address,
//! however, reaches only who is there. So an address that is not proven is sent a
//! *cookie*, a number that nobody else can know, and proves itself by returning it. Until
//! then it gets at most [`FACTOR`] times the bytes that came in its name (RFC 9000,
//! section 8), so that who forges it gains no more; and where a core speaks first, because
//! somebody named the address, [`UNASKED_MAX`] in [`ACCOUNT_FOR`].
//!
//! A cookie is made of a secret, the address and the time, as the tokens of BEP 5 are, so
//! that it need not be kept to be known again.
//!
//! Deliberately absent: proof that each single datagram is of its sender. An address is
//! proven as a whole and for a while, in which its datagrams can be forged.

use std::net::SocketAddr;
use std::time::Duration;

use starling_overlay::Id;
use starling_overlay::wire::{Wire, Writer};
use starling_sansio::Time;

use super::datagram::HEADER_MAX;
use super::recent::Recent;

/// Bytes that go to an unproven address for each byte that came from there, as in QUIC: a
/// challenge, a second one if the first is lost, and not much more. Headers of IP and UDP
/// are counted on both sides.
pub(super) const FACTOR: usize = 3;
/// Bytes that go to an unproven address where we speak first, until its account is closed:
/// two short questions of a core and a challenge, or a challenge and again one if what is
/// to be said is longer. Whom others name as a contact gets these.
pub(super) const UNASKED_MAX: usize = 260;
/// Bytes of a challenge, for which some of that is left: a header without an echo.
const CHALLENGE_MAX: usize = HEADER_MAX - 8;
/// After that, what came from an unproven address and what went there is forgotten.
pub(super) const ACCOUNT_FOR: Duration = Duration::from_secs(60);
/// Credit beyond is not kept: the longest answer, and more.
const CREDIT_MAX: usize = 64 << 10;
/// How often cookies change. The one before is good too, so each is for ten minutes at
/// least: longer than neighbours are silent, so that it comes back with what they say.
pub(super) const PERIOD: Duration = Duration::from_secs(600);
/// For how long a proof is good. From its half on, cookies ride along to renew it.
pub(super) const PROVEN_FOR: Duration = Duration::from_secs(1800);
/// Addresses of each kind remembered: twice this, see [`Recent`]. Whoever talks with more,
/// as a Napster server of many clients does, has those prove themselves again that it has
/// not heard from for the longest: a round trip, and nothing is lost.
pub(super) const ADDRESSES_MAX: usize = 2048;

/// What is known of addresses.
pub(super) struct Proofs {
    secret: [u8; 20],
    /// When each proved itself last.
    proven: Recent<Time, ADDRESSES_MAX>,
    /// Of those that did not.
    accounts: Recent<Account, ADDRESSES_MAX>,
    /// Cookies of others that go back to them with the next datagram.
    owed: Recent<u64, ADDRESSES_MAX>,
}

/// What may be sent to an unproven address.
#[derive(Clone, Copy)]
struct Account {
    opened: Time,
    credit: usize,
    /// Whether nothing came from there.
    unasked: bool,
    challenged: Option<Time>,
}

impl Account {
    fn new(opened: Time, credit: usize) -> Account {
        Account { opened, credit, unasked: credit > 0, challenged: None }
    }
}

impl Proofs {
    /// `secret` must be one that nobody else has.
    pub fn new(secret: [u8; 20]) -> Proofs {
        let (proven, accounts, owed) = Default::default();
        Proofs { secret, proven, accounts, owed }
    }

    /// A datagram of `length` bytes came, with its sender's cookie and perhaps with ours;
    /// whether it proves its sender's address.
    pub fn heard(
        &mut self,
        now: Time,
        from: SocketAddr,
        length: usize,
        cookie: Option<u64>,
        proof: Option<u64>,
    ) -> bool {
        if let Some(cookie) = cookie {
            self.owed.put(from, cookie);
        }
        let period = period(now);
        let ours =
            |proof: u64| [period, period.saturating_sub(1)].map(|p| self.cookie(p, from)).contains(&proof);
        let proves = proof.is_some_and(ours);
        if proves {
            self.accounts.take(from);
            self.proven.put(from, now);
        } else if self.is_proven(now, from) {
            let since = self.proven.take(from).unwrap_or(now);
            self.proven.put(from, since); // it was used: others are forgotten before
        } else {
            let before = self.account(now, from);
            let mut account = before.unwrap_or(Account::new(now, 0));
            account.unasked = false;
            account.credit = (account.credit + FACTOR * on_the_wire(from, length)).min(CREDIT_MAX);
            self.accounts.put(from, account);
        }
        proves
    }

    /// Whether `length` bytes, with a message or bare, may be sent to `to` now; if so, they
    /// are on its account.
    pub fn pay(&mut self, now: Time, to: SocketAddr, length: usize, message: bool) -> bool {
        if self.is_proven(now, to) {
            return true;
        }
        let before = self.account(now, to);
        let mut account = before.unwrap_or(Account::new(now, UNASKED_MAX));
        let kept = if account.unasked && message { on_the_wire(to, CHALLENGE_MAX) } else { 0 };
        if account.credit < on_the_wire(to, length) + kept {
            return false;
        }
        account.credit -= on_the_wire(to, length);
        self.accounts.put(to, account);
        true
    }

    /// The cookie that a datagram to `to` should carry, if it should.
    pub fn cookie_for(&self, now: Time, to: SocketAddr) -> Option<u64> {
        let fresh = self.proven.get(to).is_some_and(|&since| now.since(since) < PROVEN_FOR / 2);
        (!fresh).then(|| self.cookie(period(now), to))
    }

    /// The cookie of `to` that it has not got back yet.
    pub fn owed(&self, to: SocketAddr) -> Option<u64> {
        self.owed.get(to).copied()
    }

    /// It is on its way back.
    pub fn returned(&mut self, to: SocketAddr) {
        self.owed.take(to);
    }

    /// A datagram that does nothing but ask for the cookie was sent.
    pub fn challenged(&mut self, now: Time, to: SocketAddr) {
        if let Some(account) = self.account(now, to) {
            self.accounts.put(to, Account { challenged: Some(now), ..account });
        }
    }

    /// How long ago that was.
    pub fn since_challenge(&self, now: Time, to: SocketAddr) -> Option<Duration> {
        self.account(now, to)?.challenged.map(|then| now.since(then))
    }

    /// Whether it has proven itself, not too long ago.
    pub fn is_proven(&self, now: Time, addr: SocketAddr) -> bool {
        self.proven.get(addr).is_some_and(|&since| now.since(since) < PROVEN_FOR)
    }

    fn account(&self, now: Time, addr: SocketAddr) -> Option<Account> {
        self.accounts.get(addr).copied().filter(|account| now.since(account.opened) < ACCOUNT_FOR)
    }

    /// SHA-1 of the secret and what follows, all of fixed lengths; of its 20 bytes 8 are
    /// told, so there is nothing to lengthen.
    fn cookie(&self, period: u64, addr: SocketAddr) -> u64 {
        let ip = match addr.ip() {
            std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            std::net::IpAddr::V6(ip) => ip,
        };
        let mut bytes = Vec::with_capacity(46);
        bytes.put(&self.secret);
        period.encode(&mut bytes);
        bytes.put(&ip.octets());
        bytes.put(&addr.port().to_be_bytes());
        Id::hash(&bytes).high()
    }

    #[cfg(test)]
    pub fn addresses(&self) -> usize {
        self.proven.len().max(self.accounts.len()).max(self.owed.len())
    }
}

fn period(now: Time) -> u64 {
    now.as_micros() / PERIOD.as_micros() as u64
}

/// Bytes of a datagram with its headers of IP and UDP: what the receiver's line carries.
pub(super) fn on_the_wire(addr: SocketAddr, length: usize) -> usize {
    length + if addr.is_ipv4() { 28 } else { 48 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(10_000);

    fn addr(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    fn proofs() -> Proofs {
        Proofs::new([7; 20])
    }

    #[test]
    fn a_cookie_of_another_address_time_or_node_is_no_proof() {
        let mut ours = proofs();
        let cookie = ours.cookie_for(NOW, addr(1));
        let theirs = Proofs::new([8; 20]).cookie_for(NOW, addr(1));
        let late = NOW + 2 * PERIOD;
        assert!(!ours.heard(NOW, addr(2), 50, None, cookie), "another port");
        assert!(!ours.heard(NOW, ([10, 0, 0, 2], 1).into(), 50, None, cookie), "another host");
        assert!(!ours.heard(NOW, addr(1), 50, None, theirs), "another node's");
        assert!(!ours.heard(late, addr(1), 50, None, cookie), "of long ago");
        assert!(!ours.heard(NOW - 2 * PERIOD, addr(1), 50, None, cookie), "of the future");
        assert!(!ours.heard(NOW, addr(1), 50, cookie, cookie.map(|c| c ^ 1)), "a guess");
        assert!(!ours.heard(NOW, addr(1), 50, cookie, None), "its own to us is none to it");
        assert!(!ours.is_proven(NOW, addr(1)) && ours.proven.len() == 0);
        assert!(ours.heard(NOW + PERIOD, addr(1), 50, None, cookie), "the right one");
        assert!(ours.is_proven(NOW + PERIOD, addr(1)) && !ours.is_proven(NOW + PERIOD, addr(2)));
    }

    #[test]
    fn a_proof_is_good_for_a_while_and_renewed_in_time() {
        let mut ours = proofs();
        let proof = ours.cookie_for(NOW, addr(1));
        assert!(ours.heard(NOW, addr(1), 50, None, proof));
        assert_eq!(ours.cookie_for(NOW + PROVEN_FOR / 3, addr(1)), None, "nothing to ask for");
        let half = NOW + PROVEN_FOR / 2;
        let again = ours.cookie_for(half, addr(1));
        assert!(again.is_some() && ours.heard(half, addr(1), 50, None, again));
        assert!(ours.is_proven(NOW + PROVEN_FOR, addr(1)), "renewed");
        assert!(!ours.is_proven(half + PROVEN_FOR, addr(1)), "over");
    }

    #[test]
    fn an_unproven_address_gets_three_times_what_came_from_it() {
        let mut ours = proofs();
        ours.heard(NOW, addr(1), 52, None, None);
        ours.heard(NOW, addr(1), 72, None, None);
        let sent = (0..1000).filter(|_| ours.pay(NOW, addr(1), 12, true)).count();
        assert_eq!(sent * 40, 3 * 180 / 40 * 40);
        let v6 = "[2001:db8::1]:1".parse().unwrap();
        ours.heard(NOW, v6, 52, None, None);
        assert!(!ours.pay(NOW, v6, 253, true) && ours.pay(NOW, v6, 252, true), "headers are longer there");
    }

    #[test]
    fn who_was_only_named_gets_little_of_which_some_is_for_a_challenge() {
        let mut ours = proofs();
        let question = UNASKED_MAX - (28 + CHALLENGE_MAX) - 28;
        assert!(!ours.pay(NOW, addr(1), question + 1, true), "a long one");
        assert!(ours.pay(NOW, addr(1), question, true));
        assert!(!ours.pay(NOW, addr(1), 1, true), "another one");
        assert!(ours.pay(NOW, addr(1), CHALLENGE_MAX, false));
        assert!(!ours.pay(NOW, addr(1), 1, false));
        let v6 = "[2001:db8::1]:1".parse().unwrap();
        assert!(ours.pay(NOW, v6, question - 40, true) && ours.pay(NOW, v6, CHALLENGE_MAX, false));
    }

    #[test]
    fn credit_is_neither_kept_for_long_nor_heaped_up() {
        let mut ours = proofs();
        (0..1000).for_each(|_| _ = ours.heard(NOW, addr(1), 10_000, None, None));
        assert!(!ours.pay(NOW, addr(1), CREDIT_MAX, true) && ours.pay(NOW, addr(1), 100, true));
        assert!(!ours.pay(NOW + ACCOUNT_FOR, addr(1), UNASKED_MAX, true));
        assert!(ours.pay(NOW + ACCOUNT_FOR, addr(1), 50, true), "as to one that was never heard of");
    }

    #[test]
    fn forged_addresses_fill_no_memory_and_push_out_none_that_is_proven() {
        let mut ours = proofs();
        let proof = ours.cookie_for(NOW, addr(1));
        assert!(ours.heard(NOW, addr(1), 50, None, proof));
        for n in 0..10 * ADDRESSES_MAX as u32 {
            let forged = SocketAddr::new(std::net::Ipv4Addr::from(n).into(), 9);
            ours.heard(NOW, forged, 50, Some(1), Some(2));
            ours.pay(NOW, forged, 10, true);
        }
        assert!(ours.addresses() <= 2 * ADDRESSES_MAX);
        assert!(ours.is_proven(NOW, addr(1)), "it is still proven");
    }
}
