//! A core with all that it asks of its world, but for the world: no socket, no clock.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use starling_overlay::{Command, Contact, Input, Overlay};
use starling_sansio::Time;

use super::outside::{Counts, Output, Outside};
use super::record::{Entry, Recorder};

/// A node without its socket.
pub(super) struct Station<O> {
    pub core: O,
    pub outside: Outside,
    recorder: Recorder,
}

impl<O: Overlay<Contact>> Station<O> {
    pub fn new(
        me: Contact,
        config: &Arc<O::Config>,
        network: &str,
        seed: u64,
        record: Option<Box<dyn Write>>,
    ) -> Self {
        let outside = Outside::new(me, O::NAME, network, seed);
        let mut recorder = Recorder::new(record);
        recorder.put(Time::ZERO, || Entry::Start { me, seed, network: network.into() });
        Station { core: O::new(me, config), outside, recorder }
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
        for (from, message) in self.outside.open(from, bytes) {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use starling_overlay::chord;
    use starling_overlay::dht::Dht;

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
        for trip in 0..5 {
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
        assert_eq!(at_a.take_outputs().len(), 1, "the whole one is challenged");
    }
}
