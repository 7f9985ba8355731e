//! What a core sees of the world: whom it heard, whom it tells, how far they are.
//!
//! The core hears only whose address is proven ([`super::proofs`]): a message of anybody
//! else waits, and a challenge goes out for it; the proof that answers it lets the message
//! in. So at first contact an answer takes a round trip longer, or the message is lost as
//! a datagram may be; and what is forged changes nothing. What the core says to an address
//! that is not proven goes out if it is little, and waits for a proof as well if not.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use starling_overlay::wire::{MESSAGE_MAX, Wire, Writer};
use starling_overlay::{Contact, Event, Host, Id, Offence};
use starling_sansio::{Rng, Time};

use super::datagram::{Header, UNFRAGMENTED_MAX, tag};
use super::held::{HELD_FOR, Held};
use super::proofs::Proofs;
use super::roads::{Roads, stamp};

/// Rest between two challenges to one address: messages to it that come in between wait
/// for the answer to the first.
const CHALLENGE_PAUSE: Duration = Duration::from_millis(200);

/// What a node counted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Datagrams that came.
    pub received: u64,
    /// Those of them that are of no network of ours.
    pub foreign: u64,
    /// Those of them that are no message, or for another virtual node.
    pub malformed: u64,
    /// Messages that the core refused.
    pub refused: BTreeMap<Offence, u64>,
    /// Datagrams sent.
    pub sent: u64,
    /// Bytes of them, without the headers of IP and UDP.
    pub sent_bytes: u64,
    /// Those of them that are longer than [`UNFRAGMENTED_MAX`].
    pub fragmented: u64,
    /// Those of them that only ask an address to prove itself.
    pub challenges: u64,
    /// Proofs that came and were right.
    pub proven: u64,
    /// Messages that had to wait for a proof of their sender's or receiver's address.
    pub held: u64,
    /// Messages that were given up because none came, or not in time.
    pub dropped: u64,
    /// Messages that were not sent because they are longer than [`MESSAGE_MAX`]; no core
    /// makes such.
    pub too_large: u64,
    /// Datagrams that the system did not take.
    pub unsent: u64,
    /// Events that nobody fetched in time.
    pub untold: u64,
    /// Entries that the record lacks.
    pub unrecorded: u64,
}

/// What follows from an input.
pub(super) enum Output {
    Datagram(SocketAddr, Vec<u8>),
    Event(Event<Contact>),
}

/// What the core sees of the world.
pub(super) struct Outside {
    pub me: Contact,
    pub now: Time,
    pub roads: Roads,
    pub outputs: Vec<Output>,
    pub counts: Counts,
    tag: u64,
    rng: Rng,
    pub proofs: Proofs,
    /// Messages that came from addresses that are not proven, and such that go there.
    pub came: Held,
    pub leaves: Held,
}

impl Outside {
    pub fn new(me: Contact, overlay: &str, network: &str, seed: u64) -> Outside {
        Outside {
            me,
            now: Time::ZERO,
            roads: Roads::default(),
            outputs: Vec::new(),
            counts: Counts::default(),
            tag: tag(overlay, network),
            rng: Rng::from_seed(derived(b"chance", seed, me).high()),
            proofs: Proofs::new(derived(b"cookies", seed, me).to_bytes()),
            came: Held::default(),
            leaves: Held::default(),
        }
    }

    /// The messages that a datagram brings to the core: its own, and after a proof those
    /// that had waited for it.
    pub fn open<M: Wire>(&mut self, from: SocketAddr, bytes: &[u8]) -> Vec<(Contact, M)> {
        self.counts.received += 1;
        if Header::tag_of(bytes) != Some(self.tag) {
            self.counts.foreign += 1;
            return Vec::new();
        }
        match Header::open(bytes) {
            Ok((header, message)) if header.to == self.me.virtual_node() => {
                let from = Contact::new(from, header.from);
                let mut messages = self.learn(from, &header, bytes.len());
                messages.extend(message.and_then(|message| self.admit(from, message)));
                if header.urgent {
                    self.prove(from);
                }
                messages
            }
            _ => {
                self.counts.malformed += 1;
                Vec::new()
            }
        }
    }

    /// What a header says of its sender's address; what waited for that is due.
    fn learn<M: Wire>(&mut self, from: Contact, header: &Header, length: usize) -> Vec<(Contact, M)> {
        let (now, addr) = (self.now, from.addr());
        let proves = self.proofs.heard(now, addr, length, header.cookie, header.proof);
        if self.proofs.is_proven(now, addr) {
            self.roads.heard(now, addr, header.stamp, header.echo);
        }
        if !proves {
            return Vec::new();
        }
        self.counts.proven += 1;
        let (came, leaves) = (self.came.take(now, addr), self.leaves.take(now, addr));
        self.counts.dropped += (came.late + leaves.late) as u64;
        leaves.due.into_iter().for_each(|(to, message)| self.say(to, message));
        came.due.into_iter().filter_map(|(from, bytes)| Some((from, M::from_wire(&bytes).ok()?))).collect()
    }

    /// Lets a message in, unless its sender may be forged: then it has to wait.
    fn admit<M: Wire>(&mut self, from: Contact, message: M) -> Option<(Contact, M)> {
        if self.proofs.is_proven(self.now, from.addr()) {
            return Some((from, message));
        }
        self.counts.held += 1;
        self.counts.dropped += self.came.push(self.now, from, message.to_wire()) as u64;
        self.challenge(from);
        None
    }

    /// Answers a challenge, unless something that was said since has done it.
    fn prove(&mut self, to: Contact) {
        let proof = Header { echo: None, ..self.header(to) };
        if proof.proof.is_some() {
            self.put(to, proof, None);
        }
    }

    /// Sends a message; or lets it wait, if it is too much for who gets it.
    fn say(&mut self, to: Contact, message: Vec<u8>) {
        if !self.put(to, self.header(to), Some(&message)) {
            self.hold(to, message);
        }
    }

    fn hold(&mut self, to: Contact, message: Vec<u8>) {
        if self.challenge(to) {
            self.counts.held += 1;
            self.counts.dropped += self.leaves.push(self.now, to, message) as u64;
        } else {
            self.counts.dropped += 1; // no answer will come
        }
    }

    /// Asks for a proof, if the address may be sent even that; whether an answer may come.
    fn challenge(&mut self, to: Contact) -> bool {
        let since = self.proofs.since_challenge(self.now, to.addr());
        if since.is_some_and(|since| since < CHALLENGE_PAUSE) {
            return true;
        }
        let sent = self.put(to, Header { echo: None, urgent: true, ..self.header(to) }, None);
        if sent {
            self.proofs.challenged(self.now, to.addr());
            self.counts.challenges += 1;
        }
        sent || since.is_some_and(|since| since <= HELD_FOR)
    }

    /// Sends a datagram, if its receiver may get as much.
    fn put(&mut self, to: Contact, header: Header, message: Option<&[u8]>) -> bool {
        let datagram = header.seal(message);
        let may = self.proofs.pay(self.now, to.addr(), datagram.len(), message.is_some());
        if may {
            self.proofs.returned(to.addr());
            self.counts.sent += 1;
            self.counts.sent_bytes += datagram.len() as u64;
            self.counts.fragmented += u64::from(datagram.len() > UNFRAGMENTED_MAX);
            self.outputs.push(Output::Datagram(to.addr(), datagram));
        }
        may
    }

    fn header(&self, to: Contact) -> Header {
        Header {
            tag: self.tag,
            from: self.me.virtual_node(),
            to: to.virtual_node(),
            stamp: stamp(self.now),
            echo: self.roads.echo(self.now, to.addr()),
            cookie: self.proofs.cookie_for(self.now, to.addr()),
            proof: self.proofs.owed(to.addr()),
            urgent: false,
        }
    }
}

/// One of the numbers that come of a node's seed. A hash lies between, so that whoever
/// sees enough of the core's chance to tell how it goes on does not learn the others.
fn derived(what: &[u8], seed: u64, me: Contact) -> Id {
    let mut bytes = what.to_vec();
    seed.encode(&mut bytes);
    me.encode(&mut bytes);
    bytes.put(b"starling overlay");
    Id::hash(&bytes)
}

impl<M: Wire> Host<Contact, M, Event<Contact>> for Outside {
    fn id(&self, peer: Contact) -> Id {
        peer.id()
    }

    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn distance(&self, peer: Contact) -> Option<Duration> {
        self.roads.round_trip(peer.addr())
    }

    /// Those of one IPv4 address, or of one network of IPv6: of ports and virtual nodes
    /// anybody has as many as he likes.
    fn household(&self, peer: Contact) -> u64 {
        match peer.addr().ip() {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
        }
    }

    fn send(&mut self, to: Contact, message: M) {
        let message = message.to_wire();
        if message.len() > MESSAGE_MAX {
            self.counts.too_large += 1;
        } else {
            self.say(to, message);
        }
    }

    fn emit(&mut self, event: Event<Contact>) {
        self.outputs.push(Output::Event(event));
    }

    fn refuse(&mut self, _from: Option<Contact>, offence: Offence) {
        *self.counts.refused.entry(offence).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use starling_overlay::wire::List;

    use super::super::held::{HELD_BYTES_MAX, HELD_MAX};
    use super::super::proofs::{ADDRESSES_MAX, FACTOR, UNASKED_MAX, on_the_wire};
    use super::*;

    type Text = List<u8, 65535>;

    /// Bytes of a question, and of an answer that is too long for who only asked once.
    const SHORT: usize = 40;
    const LONG: usize = 1000;

    fn host(n: u8) -> Outside {
        Outside::new(Contact::new(([10, 0, 0, n], 1).into(), 0), "texts", "ours", 1)
    }

    fn say(host: &mut Outside, to: Contact, length: usize) {
        host.send(to, Text::new(vec![0; length]));
    }

    /// The datagrams that leave.
    fn leaving(host: &mut Outside) -> Vec<Vec<u8>> {
        let outputs = std::mem::take(&mut host.outputs).into_iter();
        outputs
            .filter_map(|out| if let Output::Datagram(_, bytes) = out { Some(bytes) } else { None })
            .collect()
    }

    /// These come from `from` to `to`: the lengths of the messages that its core hears.
    fn arrive(datagrams: &[Vec<u8>], from: Contact, to: &mut Outside) -> Vec<usize> {
        let messages = datagrams.iter().flat_map(|bytes| to.open::<Text>(from.addr(), bytes));
        messages.map(|(_, message)| message.len()).collect()
    }

    /// What leaves `from` comes to `to`.
    fn carry(from: &mut Outside, to: &mut Outside) -> Vec<usize> {
        arrive(&leaving(from), from.me, to)
    }

    /// Datagrams go to and fro until there are none: what the two cores hear.
    fn talk(a: &mut Outside, b: &mut Outside) -> (Vec<usize>, Vec<usize>) {
        let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            let (from_a, from_b) = (leaving(a), leaving(b));
            at_b.extend(arrive(&from_a, a.me, b));
            at_a.extend(arrive(&from_b, b.me, a));
        }
        assert!(a.outputs.is_empty() && b.outputs.is_empty(), "they never end");
        (at_a, at_b)
    }

    #[test]
    fn who_has_many_ports_is_one_household() {
        let here = host(1);
        let household = |text: &str, node| {
            let peer = Contact::new(text.parse().unwrap(), node);
            Host::<Contact, Text, Event<Contact>>::household(&here, peer)
        };
        let one = household("10.0.0.1:1", 0);
        assert_eq!((household("10.0.0.1:2", 0), household("[::ffff:10.0.0.1]:1", 7)), (one, one));
        assert_ne!(household("10.0.0.2:1", 0), one);
        let one = household("[2001:db8::1]:1", 0);
        assert_eq!(household("[2001:db8::2:3]:9", 0), one);
        assert_ne!(household("[2001:db8:0:1::1]:1", 0), one);
    }

    #[test]
    fn a_first_question_waits_for_the_proof_of_who_asks_and_nothing_after_it_does() {
        let (mut a, mut b) = (host(1), host(2));
        say(&mut a, b.me, SHORT);
        let question = leaving(&mut a);
        assert_eq!(arrive(&question, a.me, &mut b), []);
        let challenge = leaving(&mut b);
        assert!(challenge.len() == 1 && challenge[0].len() < question[0].len(), "{challenge:?}");
        assert_eq!(arrive(&challenge, b.me, &mut a), []);
        assert_eq!(carry(&mut a, &mut b), [SHORT]);
        say(&mut b, a.me, LONG);
        say(&mut a, b.me, LONG);
        assert_eq!(talk(&mut a, &mut b), (vec![LONG], vec![LONG]));
        assert_eq!((a.counts.sent, b.counts.sent), (3, 2), "question, challenge, proof, and what was said");
        assert_eq!((b.counts.challenges, b.counts.held, b.counts.dropped, b.counts.proven), (1, 1, 0, 1));
        assert_eq!((a.counts.challenges, a.counts.held, a.counts.dropped, a.counts.proven), (0, 0, 0, 1));
        say(&mut a, b.me, SHORT);
        let echo = 8;
        assert_eq!(leaving(&mut a)[0].len(), 15 + echo + 2 + SHORT, "no cookie, no proof");
    }

    #[test]
    fn proofs_are_renewed_on_the_way() {
        let (mut a, mut b) = (host(1), host(2));
        for minute in 0..100 {
            (a.now, b.now) = (Time::from_secs(60 * minute), Time::from_secs(60 * minute));
            say(&mut a, b.me, SHORT);
            assert_eq!(talk(&mut a, &mut b).1, [SHORT]);
            say(&mut b, a.me, LONG);
            assert_eq!(talk(&mut a, &mut b).0, [LONG]);
        }
        assert_eq!((a.counts.challenges, b.counts.challenges), (0, 1));
        assert!(a.counts.proven >= 5 && b.counts.proven >= 5, "{:?} {:?}", a.counts, b.counts);
    }

    #[test]
    fn a_lost_challenge_or_proof_is_made_good_by_the_next_question() {
        for challenge_is_lost in [true, false] {
            let (mut a, mut b) = (host(1), host(2));
            for trip in 0..3 {
                (a.now, b.now) = (Time::from_millis(500 * trip), Time::from_millis(500 * trip));
                say(&mut a, b.me, SHORT);
                assert_eq!(carry(&mut a, &mut b), []);
                if trip < 2 && challenge_is_lost {
                    assert_eq!(leaving(&mut b).len(), 1);
                } else if trip < 2 {
                    carry(&mut b, &mut a);
                    assert_eq!(leaving(&mut a).len(), 1);
                }
            }
            assert_eq!(talk(&mut a, &mut b).1, [SHORT; 3], "with what waited before");
        }
    }

    #[test]
    fn a_long_message_to_a_stranger_waits_and_arrives() {
        let (mut a, mut b) = (host(1), host(2));
        [LONG, SHORT].iter().for_each(|&length| say(&mut a, b.me, length));
        assert_eq!((a.counts.challenges, a.counts.held), (1, 1), "the short one need not wait");
        let mut heard = talk(&mut a, &mut b).1;
        heard.sort_unstable();
        assert_eq!((heard, a.counts.dropped, b.counts.dropped), (vec![SHORT, LONG], 0, 0));
        assert!(a.counts.sent + b.counts.sent <= 6, "{:?} {:?}", a.counts, b.counts);
    }

    #[test]
    fn two_strangers_who_speak_at_once_both_end() {
        for lengths in [[SHORT, SHORT], [SHORT, LONG], [LONG, SHORT], [LONG, LONG]] {
            let (mut a, mut b) = (host(1), host(2));
            let (to_a, to_b) = (a.me, b.me);
            say(&mut a, to_b, lengths[0]);
            say(&mut b, to_a, lengths[1]);
            assert_eq!(talk(&mut a, &mut b), (vec![lengths[1]], vec![lengths[0]]));
            assert!(a.counts.sent <= 4 && b.counts.sent <= 4, "{:?} {:?}", a.counts, b.counts);
        }
    }

    #[test]
    fn who_is_named_gets_a_few_questions_and_whoever_is_forged_three_times_as_much() {
        let (mut a, victim) = (host(1), host(2).me);
        let got = |a: &mut Outside| -> usize {
            leaving(a).iter().map(|bytes| on_the_wire(victim.addr(), bytes.len())).sum()
        };
        for n in 0..1000 {
            a.now = Time::from_millis(50 * n);
            say(&mut a, victim, if n % 2 == 0 { SHORT } else { LONG });
        }
        assert!((UNASKED_MAX / 2..=UNASKED_MAX).contains(&got(&mut a)));
        let forged = Header { cookie: None, ..a.header(victim) }.seal(Some(&[0, 2, 1, 1]));
        for n in 0..1000 {
            a.now = Time::from_millis(100_000 + 250 * n);
            assert_eq!(arrive(std::slice::from_ref(&forged), victim, &mut a), []);
            [SHORT, LONG].iter().for_each(|&length| say(&mut a, victim, length));
        }
        assert!(got(&mut a) <= 1000 * FACTOR * on_the_wire(victim.addr(), forged.len()));
        assert_eq!(a.counts.proven, 0);
    }

    #[test]
    fn a_flood_of_forged_addresses_takes_bounded_memory_and_no_newcomers_place() {
        let (mut a, mut b) = (host(1), host(2));
        let forged = Header { cookie: Some(1), ..a.header(b.me) }.seal(Some(&[0, 2, 1, 1]));
        let flood = |a: &mut Outside| {
            for n in 0..10_000 {
                let from = Contact::new((std::net::Ipv4Addr::from(n), 7).into(), 0);
                assert_eq!(arrive(std::slice::from_ref(&forged), from, a), []);
                say(a, from, LONG);
            }
            assert!(a.proofs.addresses() <= 2 * ADDRESSES_MAX);
            for held in [&a.came, &a.leaves] {
                let (messages, bytes) = held.size();
                assert!((1..=HELD_MAX).contains(&messages) && bytes <= HELD_BYTES_MAX);
            }
            leaving(a);
        };
        flood(&mut a);
        say(&mut b, a.me, SHORT);
        carry(&mut b, &mut a);
        carry(&mut a, &mut b);
        flood(&mut a); // the question that waits is pushed out, but not what comes next
        assert_eq!(carry(&mut b, &mut a), []);
        flood(&mut a);
        say(&mut b, a.me, SHORT);
        assert_eq!(carry(&mut b, &mut a), [SHORT], "asked again, and heard at once");
        say(&mut a, b.me, LONG);
        assert_eq!(carry(&mut a, &mut b), [LONG]);
    }

    #[test]
    fn nodes_of_one_seed_have_different_secrets() {
        let (a, b, victim) = (host(1), host(2), host(3).me.addr());
        assert_ne!(a.proofs.cookie_for(a.now, victim), b.proofs.cookie_for(b.now, victim));
    }

    #[test]
    fn what_is_too_large_for_a_datagram_is_counted() {
        let (mut a, mut b) = (host(1), host(2));
        say(&mut a, b.me, SHORT);
        talk(&mut a, &mut b);
        let before = a.counts.sent;
        let lengths = [100, UNFRAGMENTED_MAX, MESSAGE_MAX - 1];
        lengths.iter().for_each(|&length| say(&mut a, b.me, length));
        assert_eq!((a.counts.sent - before, a.counts.fragmented, a.counts.too_large), (2, 1, 1));
        assert_eq!(leaving(&mut a).len(), 2);
    }
}
