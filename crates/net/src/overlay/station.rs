//! A core with all that it asks of its world, but for the world: no socket, no clock.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use starling_overlay::wire::Wire;
use starling_overlay::{Command, Contact, Event, Host, Id, Input, Offence, Overlay};
use starling_sansio::{Rng, Time};

use super::datagram::{DATAGRAM_MAX, Header, UNFRAGMENTED_MAX, tag};
use super::record::{Entry, Recorder};
use super::roads::{Roads, stamp};

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
    /// Datagrams that the core sent.
    pub sent: u64,
    /// Bytes of them, without the headers of IP and UDP.
    pub sent_bytes: u64,
    /// Those of them that are longer than [`UNFRAGMENTED_MAX`].
    pub fragmented: u64,
    /// Messages that were not sent because they are longer than [`DATAGRAM_MAX`].
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

/// A node without its socket.
pub(super) struct Station<O> {
    core: O,
    outside: Outside,
    recorder: Recorder,
}

/// What the core sees of the world.
struct Outside {
    me: Contact,
    tag: u64,
    now: Time,
    rng: Rng,
    roads: Roads,
    outputs: Vec<Output>,
    counts: Counts,
}

impl<O: Overlay<Contact>> Station<O> {
    pub fn new(
        me: Contact,
        config: &Arc<O::Config>,
        network: &str,
        seed: u64,
        record: Option<Box<dyn Write>>,
    ) -> Self {
        let outside = Outside {
            me,
            tag: tag(O::NAME, network),
            now: Time::ZERO,
            rng: Rng::from_seed(seed),
            roads: Roads::default(),
            outputs: Vec::new(),
            counts: Counts::default(),
        };
        let mut recorder = Recorder::new(record);
        recorder.put(Time::ZERO, || Entry::Start { me, seed, network: network.into() });
        Station { core: O::new(me, config), outside, recorder }
    }

    pub fn core(&self) -> &O {
        &self.core
    }

    pub fn counts(&self) -> &Counts {
        &self.outside.counts
    }

    pub fn counts_mut(&mut self) -> &mut Counts {
        &mut self.outside.counts
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.core.next_timeout().filter(|&due| due != Time::NEVER)
    }

    /// A datagram came.
    pub fn datagram(&mut self, now: Time, from: SocketAddr, bytes: &[u8]) {
        self.begin(now, || Entry::Received(from, bytes.to_vec()));
        if let Some((from, message)) = self.outside.open(from, bytes) {
            self.core.handle(now, Input::Message { from, message }, &mut self.outside);
        }
        self.end();
    }

    /// The user wants something.
    pub fn command(&mut self, now: Time, command: Command<Contact>) {
        self.begin(now, || Entry::Command(command.clone()));
        self.core.handle(now, Input::Command(command), &mut self.outside);
        self.end();
    }

    /// A deadline passed.
    pub fn timeout(&mut self, now: Time) {
        self.begin(now, || Entry::Timeout);
        self.core.handle_timeout(now, &mut self.outside);
        self.end();
    }

    /// What followed from the last input.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outside.outputs)
    }

    fn begin(&mut self, now: Time, entry: impl FnOnce() -> Entry) {
        self.outside.now = now;
        self.recorder.put(now, entry);
    }

    fn end(&mut self) {
        for output in &self.outside.outputs {
            self.recorder.put(self.outside.now, || match output {
                Output::Datagram(to, bytes) => Entry::Sent(*to, bytes.clone()),
                Output::Event(event) => Entry::Told(format!("{event:?}")),
            });
        }
        self.outside.counts.unrecorded = self.recorder.missing();
    }
}

impl Outside {
    /// The message of a datagram, if it is one for us.
    fn open<M: Wire>(&mut self, from: SocketAddr, bytes: &[u8]) -> Option<(Contact, M)> {
        self.counts.received += 1;
        if Header::tag_of(bytes) != Some(self.tag) {
            self.counts.foreign += 1;
            return None;
        }
        match Header::open(bytes) {
            Ok((header, message)) if header.to == self.me.virtual_node() => {
                let from = Contact::new(from, header.from);
                self.roads.heard(self.now, from.addr(), header.stamp, header.echo);
                Some((from, message))
            }
            _ => {
                self.counts.malformed += 1;
                None
            }
        }
    }
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

    fn send(&mut self, to: Contact, message: M) {
        let header = Header {
            tag: self.tag,
            from: self.me.virtual_node(),
            to: to.virtual_node(),
            stamp: stamp(self.now),
            echo: self.roads.echo(self.now, to.addr()),
        };
        let datagram = header.seal(&message);
        if datagram.len() > DATAGRAM_MAX {
            self.counts.too_large += 1;
            return;
        }
        self.counts.sent += 1;
        self.counts.sent_bytes += datagram.len() as u64;
        self.counts.fragmented += u64::from(datagram.len() > UNFRAGMENTED_MAX);
        self.outputs.push(Output::Datagram(to.addr(), datagram));
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
    use starling_overlay::chord;
    use starling_overlay::dht::Dht;
    use starling_overlay::wire::List;

    use super::*;

    type Chord = Dht<Contact, chord::Chord<Contact>>;

    fn station(host: u8) -> (Contact, Station<Chord>) {
        let me = Contact::new(([10, 0, 0, host], 1).into(), 0);
        let config = Arc::new(Chord::config(chord::Config::default()));
        (me, Station::new(me, &config, "ours", host.into(), None))
    }

    fn datagrams(station: &mut Station<Chord>) -> Vec<Vec<u8>> {
        let outputs = station.take_outputs().into_iter();
        outputs
            .filter_map(|out| if let Output::Datagram(_, bytes) = out { Some(bytes) } else { None })
            .collect()
    }

    #[test]
    fn two_stations_measure_the_way_between_them() {
        let ((a, mut at_a), (b, mut at_b)) = (station(1), station(2));
        at_a.command(Time::ZERO, Command::Join(None));
        at_b.command(Time::ZERO, Command::Join(Some(a)));
        for trip in 0..3 {
            let now = |half: u64| Time::from_millis(60 * trip + 30 * half);
            datagrams(&mut at_b).iter().for_each(|bytes| at_a.datagram(now(1), b.addr(), bytes));
            datagrams(&mut at_a).iter().for_each(|bytes| at_b.datagram(now(2), a.addr(), bytes));
        }
        assert_eq!(at_b.outside.roads.round_trip(a.addr()), Some(Duration::from_millis(60)));
        assert_eq!(at_a.outside.roads.round_trip(b.addr()), Some(Duration::from_millis(60)));
    }

    #[test]
    fn a_datagram_cut_short_longer_or_for_somebody_else_changes_nothing() {
        let ((_, mut at_a), (b, mut at_b)) = (station(1), station(2));
        at_a.command(Time::ZERO, Command::Join(None));
        at_a.take_outputs();
        let before = at_a.next_timeout();
        at_b.command(Time::ZERO, Command::Join(Some(at_a.outside.me)));
        let whole = datagrams(&mut at_b).remove(0);
        let mut wrong: Vec<Vec<u8>> = (0..whole.len()).map(|cut| whole[..cut].to_vec()).collect();
        wrong.push([&whole[..], &[0]].concat());
        wrong.push(whole.iter().enumerate().map(|(at, &byte)| byte ^ u8::from(at == 9)).collect());
        wrong.iter().for_each(|bytes| at_a.datagram(Time::from_millis(1), b.addr(), bytes));

        let counts = at_a.counts().clone();
        assert_eq!((counts.received, counts.foreign), (wrong.len() as u64, 8));
        assert_eq!(counts.malformed, wrong.len() as u64 - 8);
        assert!(at_a.take_outputs().is_empty() && at_a.next_timeout() == before);
        at_a.datagram(Time::from_millis(2), b.addr(), &whole);
        assert_eq!(at_a.take_outputs().len(), 1, "the whole one is answered");
    }

    #[test]
    fn what_is_too_large_for_a_datagram_is_counted() {
        let (me, station) = station(1);
        let mut outside = station.outside;
        for length in [100, UNFRAGMENTED_MAX, DATAGRAM_MAX] {
            outside.send(me, List::<u8, 65535>::new(vec![0; length]));
        }
        let counts = &outside.counts;
        assert_eq!((counts.sent, counts.fragmented, counts.too_large), (2, 1, 1));
        assert_eq!(outside.outputs.len(), 2);
    }
}
