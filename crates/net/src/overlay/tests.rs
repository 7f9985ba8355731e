//! Stations of every overlay in virtual time, and somebody who forges senders.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use starling_overlay::chord::Chord;
use starling_overlay::dht::{Dht, DhtConfig};
use starling_overlay::kademlia::Kademlia;
use starling_overlay::pastry::Pastry;
use starling_overlay::wire::Wire;
use starling_overlay::{
    Command, Contact, Event, Id, KeyBased, Op, Overlay, Query, Record, View, fasttrack, gnutella, kelips,
    napster,
};
use starling_sansio::{Rng, Time};

use super::datagram::{Header, tag};
use super::held::{HELD_BYTES_MAX, HELD_MAX};
use super::outside::{Counts, Output};
use super::proofs::{ACCOUNT_FOR, ADDRESSES_MAX, FACTOR, on_the_wire};
use super::station::Station;

/// Members of each overlay.
const MEMBERS: u32 = 60;
/// One way takes this long.
const DELAY: Duration = Duration::from_millis(20);
const NETWORK: &str = "ours";

/// Stations by address; what is sent to other addresses is counted.
struct World<O: Overlay<Contact>> {
    config: Arc<O::Config>,
    stations: BTreeMap<SocketAddr, Station<O>>,
    now: Time,
    under_way: BTreeMap<(Time, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sequence: u64,
    /// Datagrams that get lost, of 100.
    loss_percent: u64,
    chance: Rng,
    /// Messages that stations said, and to whom.
    said: Vec<(SocketAddr, Vec<u8>)>,
    /// What stations told.
    told: Vec<(SocketAddr, Event<Contact>)>,
    /// Bytes on the line of whoever is no station.
    got: BTreeMap<SocketAddr, usize>,
}

fn member(n: u32) -> Contact {
    Contact::new((Ipv4Addr::from(0x0a00_0000 + n), 1).into(), 0)
}

/// Somebody who has never heard of overlays.
fn victim(n: u32) -> SocketAddr {
    (Ipv4Addr::from(0xc612_0000 + n), 9).into()
}

fn thing(n: u32) -> Record {
    Record { key: Id::hash(&[n as u8]), name: format!("starling song number{n}").into(), size: 1 }
}

impl<O: Overlay<Contact>> World<O> {
    /// Members whose tables are right, who have never met, publish what they have, look
    /// each other's up, and search.
    fn lively(config: O::Config) -> Self {
        let mut world = World::<O> {
            config: Arc::new(config),
            stations: BTreeMap::new(),
            now: Time::ZERO,
            under_way: BTreeMap::new(),
            sequence: 0,
            loss_percent: 0,
            chance: Rng::from_seed(1),
            said: Vec::new(),
            told: Vec::new(),
            got: BTreeMap::new(),
        };
        let mut members: Vec<(Id, Contact)> = (0..MEMBERS).map(|n| (member(n).id(), member(n))).collect();
        members.sort_unstable();
        for n in 0..MEMBERS {
            let station = world.add(member(n));
            station.core.converge(Time::ZERO, &View::new(&members), &mut station.outside);
        }
        (0..MEMBERS).for_each(|n| world.command(member(n), Command::Publish(thing(n))));
        world.run_for(Duration::from_secs(60));
        for n in 0..MEMBERS {
            let all = Query { text: "starling song".into(), wanted: 1000 };
            world.command(member(n), Command::LookUp(Op(1), thing(MEMBERS - 1 - n).key));
            world.command(member(n), Command::Search(Op(2), all));
            world.run_for(Duration::from_secs(1));
        }
        world.newcomer(MEMBERS, 1);
        world.run_for(Duration::from_secs(60));
        world
    }

    fn add(&mut self, me: Contact) -> &mut Station<O> {
        let station = Station::new(me, &self.config, NETWORK, 7, None);
        self.stations.entry(me.addr()).or_insert(station)
    }

    fn newcomer(&mut self, n: u32, through: u32) {
        self.add(member(n));
        self.command(member(n), Command::Join(Some(member(through))));
    }

    fn command(&mut self, node: Contact, command: Command<Contact>) {
        self.step(node.addr(), |station, now| station.command(now, command));
    }

    /// Says `message` to `to` as if it came from `from`, and who does it knows how to.
    fn forge(&mut self, from: SocketAddr, to: SocketAddr, message: &[u8]) -> usize {
        let tag = tag(O::NAME, NETWORK);
        let header =
            Header { tag, from: 0, to: 0, stamp: 0, echo: None, cookie: None, proof: None, urgent: false };
        let datagram = header.seal(Some(message));
        self.step(to, |station, now| station.datagram(now, from, &datagram));
        on_the_wire(from, datagram.len())
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let wakes = self.stations.iter().filter_map(|(&at, station)| Some((station.next_timeout()?, at)));
            let wake = wakes.min().filter(|&(due, _)| due <= end);
            let arrival = self.under_way.keys().next().copied().filter(|&(due, _)| due <= end);
            match (arrival, wake) {
                (Some(key), wake) if wake.is_none_or(|(due, _)| key.0 <= due) => {
                    self.now = self.now.max(key.0);
                    if let Some((from, to, bytes)) = self.under_way.remove(&key) {
                        self.step(to, |station, now| station.datagram(now, from, &bytes));
                    }
                }
                (_, Some((due, at))) => {
                    self.now = self.now.max(due);
                    self.step(at, Station::timeout);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn step(&mut self, at: SocketAddr, input: impl FnOnce(&mut Station<O>, Time)) {
        let Some(station) = self.stations.get_mut(&at) else { return };
        input(station, self.now);
        for output in station.take_outputs() {
            match output {
                Output::Event(event) => self.told.push((at, event)),
                Output::Datagram(to, bytes) if self.stations.contains_key(&to) => {
                    if let Ok((_, Some(message))) = Header::open::<O::Message>(&bytes) {
                        self.said.push((to, message.to_wire()));
                    }
                    self.sequence += 1;
                    if self.chance.below(100) >= self.loss_percent {
                        self.under_way.insert((self.now + DELAY, self.sequence), (at, to, bytes));
                    }
                }
                Output::Datagram(to, bytes) => {
                    *self.got.entry(to).or_default() += on_the_wire(to, bytes.len());
                }
            }
        }
    }

    /// Of all stations.
    fn sum(&self, count: impl Fn(&Counts) -> u64) -> u64 {
        self.stations.values().map(|station| count(station.counts())).sum()
    }
}

/// Members that have met go on looking things up for an hour: of twenty datagrams, not one
/// is a challenge.
fn proofs_ride_along<O: Overlay<Contact>>(config: O::Config) {
    let mut world = World::<O>::lively(config);
    let counted = |world: &World<O>| (world.sum(|counts| counts.challenges), world.sum(|counts| counts.sent));
    let before = counted(&world);
    for n in 0..120 {
        let (who, what) = (member(n * 7 % MEMBERS), thing(n * 11 % MEMBERS).key);
        world.command(who, Command::LookUp(Op(100 + n), what));
        world.run_for(Duration::from_secs(30));
    }
    let after = counted(&world);
    let (challenges, sent) = (after.0 - before.0, after.1 - before.1);
    assert!(challenges * 20 < sent, "{}: {challenges} challenges, {sent} datagrams", O::NAME);
    assert_eq!(world.sum(|counts| counts.dropped), 0, "{}", O::NAME);
}

/// Whatever members say to each other, said in the name of many who have not asked: what
/// these get in ten minutes, from whomever.
fn nobody_gets_more<O: Overlay<Contact>>(config: O::Config) {
    let mut world = World::<O>::lively(config);
    let said = std::mem::take(&mut world.said);
    let every = said.len().div_ceil(4000);
    let mut forged = BTreeMap::new();
    for (n, (to, message)) in said.into_iter().step_by(every).enumerate() {
        let from = victim(n as u32);
        forged.insert(from, world.forge(from, to, &message));
        world.run_for(Duration::from_millis(1));
    }
    world.run_for(10 * ACCOUNT_FOR);
    let times = |(who, sent): (&SocketAddr, &usize)| *world.got.get(who).unwrap_or(&0) as f64 / *sent as f64;
    let most = forged.iter().map(times).fold(0.0, f64::max);
    assert!(most > 0.0 && most <= FACTOR as f64, "{}: {most:.2} times", O::NAME);
    for station in world.stations.values() {
        let known = station.core.known();
        assert!(known.iter().all(|peer| !forged.contains_key(&peer.addr())), "{}: in a table", O::NAME);
    }
}

/// Thousands of forged addresses a second ask whom a newcomer joins through, and all
/// others, and one of ten datagrams is lost; it joins, publishes, and is found.
fn newcomers_get_in<O: Overlay<Contact>>(config: O::Config) {
    let mut world = World::<O>::lively(config);
    let said = std::mem::take(&mut world.said);
    let new = member(MEMBERS + 1);
    world.told.clear();
    world.loss_percent = 10;
    world.newcomer(MEMBERS + 1, 3);
    let mut forgeries = said.iter().cycle();
    let mut flood = |world: &mut World<O>, seconds: u32| {
        for n in 0..seconds * 1000 {
            let from = victim(world.sequence as u32);
            for to in [member(3).addr(), member(n % MEMBERS).addr()] {
                if let Some((_, message)) = forgeries.next() {
                    world.forge(from, to, message);
                }
            }
            world.run_for(Duration::from_millis(1));
            world.sequence += 1;
        }
    };
    let mut until = |world: &mut World<O>, done: &dyn Fn(&Event<Contact>) -> bool| {
        let mut seconds = 0;
        while !world.told.iter().any(|(_, event)| done(event)) {
            seconds += 1;
            assert!(seconds <= 40, "{}: in time", O::NAME);
            world.command(member(9), Command::LookUp(Op(10 + seconds), thing(MEMBERS + 1).key));
            flood(world, 1);
        }
    };
    until(&mut world, &|event| *event == Event::Joined);
    world.command(new, Command::Publish(thing(MEMBERS + 1)));
    let found = |event: &Event<Contact>| matches!(event, Event::Hits { hits, .. } if hits[0].provider == new);
    until(&mut world, &found);
    for station in world.stations.values() {
        for held in [&station.outside.came, &station.outside.leaves] {
            let (messages, bytes) = held.size();
            assert!(messages <= HELD_MAX && bytes <= HELD_BYTES_MAX);
        }
        assert!(station.outside.proofs.addresses() <= 2 * ADDRESSES_MAX);
    }
}

fn dht<K: KeyBased<Contact>>() -> DhtConfig<K::Config>
where
    K::Config: Default,
{
    Dht::<Contact, K>::config(K::Config::default())
}

#[test]
fn nobody_gets_more_than_three_times_what_was_sent_in_its_name() {
    nobody_gets_more::<napster::Napster<Contact>>(napster::Config::default());
    nobody_gets_more::<gnutella::Gnutella<Contact>>(gnutella::Config::default());
    nobody_gets_more::<fasttrack::FastTrack<Contact>>(fasttrack::Config::default());
    nobody_gets_more::<Dht<Contact, Chord<Contact>>>(dht::<Chord<Contact>>());
    nobody_gets_more::<Dht<Contact, Pastry<Contact>>>(dht::<Pastry<Contact>>());
    nobody_gets_more::<Dht<Contact, Kademlia<Contact>>>(dht::<Kademlia<Contact>>());
    nobody_gets_more::<kelips::Kelips<Contact>>(kelips::Config::for_nodes(MEMBERS.into()));
}

#[test]
fn who_have_met_prove_themselves_on_the_way() {
    proofs_ride_along::<fasttrack::FastTrack<Contact>>(fasttrack::Config::default());
    proofs_ride_along::<Dht<Contact, Chord<Contact>>>(dht::<Chord<Contact>>());
    proofs_ride_along::<Dht<Contact, Pastry<Contact>>>(dht::<Pastry<Contact>>());
    proofs_ride_along::<Dht<Contact, Kademlia<Contact>>>(dht::<Kademlia<Contact>>());
}

#[test]
fn newcomers_get_in_while_addresses_are_forged() {
    newcomers_get_in::<napster::Napster<Contact>>(napster::Config::default());
    newcomers_get_in::<gnutella::Gnutella<Contact>>(gnutella::Config::default());
    newcomers_get_in::<fasttrack::FastTrack<Contact>>(fasttrack::Config::default());
    newcomers_get_in::<Dht<Contact, Chord<Contact>>>(dht::<Chord<Contact>>());
    newcomers_get_in::<Dht<Contact, Pastry<Contact>>>(dht::<Pastry<Contact>>());
    newcomers_get_in::<Dht<Contact, Kademlia<Contact>>>(dht::<Kademlia<Contact>>());
    newcomers_get_in::<kelips::Kelips<Contact>>(kelips::Config::for_nodes(MEMBERS.into()));
}
