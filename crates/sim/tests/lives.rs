//! A hundred small networks of each overlay: they grow, publish, take some of it back
//! and publish it again, lose a third with the founder among it, repair themselves, and
//! find everything again. Each of them twice in a row gives the same trace.
//!
//! All parameters are the defaults, but for the time until what was published is renewed,
//! so that keys that lost all their replicas at once are soon found again.
#![allow(clippy::unwrap_used)] // a test may panic, helpers included

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use starling_overlay::dht::{Dht, DhtConfig};
use starling_overlay::{
    Command, Event, Id, KeyBased, Op, Overlay, Query, Record, chord, fasttrack, gnutella, kademlia, kelips,
    napster, pastry,
};
use starling_sansio::Rng;
use starling_sim::{Engine, Latency, Network, Node, Part, Places, Script, Spread};

/// Nodes of each network; all publish.
const NODES: u32 = 48;
/// Networks of each overlay.
const SEEDS: u64 = 100;
/// From one newcomer to the next.
const GAP: Duration = Duration::from_secs(1);
/// How long what is published may take to be found.
const SPREAD: Duration = Duration::from_secs(180);
/// How long what is taken back may be found.
const FORGET: Duration = Duration::from_secs(60);
/// How long the living may take to repair what a third of them left.
const REPAIR: Duration = Duration::from_secs(420);
/// How long look-ups and searches may take.
const ANSWER: Duration = Duration::from_secs(40);
/// How often what was published is renewed.
const RENEWAL: Duration = Duration::from_secs(120);
/// Living nodes that search for everything at once.
const SEARCHERS: usize = 3;

/// What operations found, by their numbers.
#[derive(Default)]
struct Finds {
    hits: BTreeMap<u32, BTreeSet<(Id, Node)>>,
    ended: BTreeSet<u32>,
}

impl<C: Overlay<Node>> Script<C> for Finds {
    fn due(&mut self, _: u64, _: &mut Part<C>) {}

    fn told(&mut self, _: Node, event: Event<Node>, _: &mut Part<C>) {
        match event {
            Event::Hits { op, hits } => {
                let found = hits.into_iter().map(|hit| (hit.record.key, hit.provider));
                self.hits.entry(op.0).or_default().extend(found);
            }
            Event::Done { op, .. } => assert!(self.ended.insert(op.0), "{op:?} ended twice"),
            _ => {}
        }
    }
}

/// What the node on `host` has.
fn thing(host: u32) -> Record {
    let name = format!("starling thing{host}");
    Record { key: Id::hash(name.as_bytes()), name: name.into(), size: u64::from(host) }
}

/// A network under way.
struct Life<C: Overlay<Node>> {
    engine: Engine<C, Finds>,
    rng: Rng,
    alive: Vec<u32>,
    ops: u32,
}

impl<C> Life<C>
where
    C: Overlay<Node> + Send,
    C::Message: Send,
    C::Config: Send + Sync,
{
    /// They join one after another, each through any that is there, and publish.
    fn begin(config: &Arc<C::Config>, seed: u64) -> Self {
        let latency = Latency::Uniform(Duration::from_millis(10), Duration::from_millis(80));
        let network = Network { latency, seed, ..Network::default() };
        let places = Places::new(160, Spread::Random(seed));
        let engine = Engine::new(NODES, config, network, places, seed, |_, _| Finds::default());
        let mut life = Life { engine, rng: Rng::from_seed(seed), alive: Vec::new(), ops: 0 };
        for host in 0..NODES {
            let through = life.any_living().map(|host| Node::new(host, 0));
            let part = life.engine.part_of_mut(host);
            part.start(host, false);
            part.command(host, Command::Join(through));
            part.command(host, Command::Publish(thing(host)));
            life.alive.push(host);
            life.pass(GAP);
        }
        life.pass(SPREAD);
        life
    }

    fn any_living(&mut self) -> Option<u32> {
        self.alive.get(self.rng.index(self.alive.len())).copied()
    }

    fn pass(&mut self, time: Duration) {
        let end = self.engine.now() + time;
        self.engine.run_until(end, 1);
    }

    /// A third dies at once and without a word, the founder in any case.
    fn lose_a_third(&mut self) {
        let mut others = self.alive.split_off(1);
        self.rng.shuffle(&mut others);
        let dead = others.split_off(others.len() + 1 - NODES as usize / 3);
        let founder = std::mem::replace(&mut self.alive, others);
        founder.into_iter().chain(dead).for_each(|host| self.engine.part_of_mut(host).stop(host));
        self.alive.sort_unstable();
    }

    /// Everybody looks up what another living one has, and some search for all; a
    /// sentence for each that did not find it.
    fn find_each(&mut self) -> Vec<String> {
        let count = self.alive.len();
        let mut asked: Vec<(u32, BTreeSet<(Id, Node)>)> = Vec::new();
        let has = |&host: &u32| (thing(host).key, Node::new(host, 0));
        for at in 0..count {
            let (who, whose) = (self.alive[at], self.alive[(at + 7) % count]);
            asked.push((self.ops, [has(&whose)].into()));
            self.ask(who, |op| Command::LookUp(op, thing(whose).key));
        }
        for at in 0..SEARCHERS {
            let who = self.alive[at * count / SEARCHERS];
            asked.push((self.ops, self.alive.iter().map(has).collect()));
            self.ask(who, |op| Command::Search(op, Query { text: "starling".into(), wanted: 1000 }));
        }
        self.pass(ANSWER);
        let (_, finds) = self.engine.parts().next().unwrap();
        assert_eq!(finds.ended.len(), self.ops as usize, "every operation ends");
        let missing = asked.iter().filter_map(|(op, wanted)| {
            let found = finds.hits.get(op).cloned().unwrap_or_default();
            let missing = wanted.difference(&found).count();
            (missing > 0).then(|| format!("operation {op} lacks {missing} of {}", wanted.len()))
        });
        missing.collect()
    }

    /// Some take back what they have, and a minute later nobody finds it; a sentence for each
    /// that does. Then they publish it again.
    fn take_back(&mut self) -> Vec<String> {
        let takers: Vec<u32> = self.alive.iter().copied().step_by(10).collect();
        for &host in &takers {
            self.engine.part_of_mut(host).command(host, Command::Withdraw(thing(host).key));
        }
        self.pass(FORGET);
        let first = self.ops;
        for at in 0..self.alive.len() {
            let whose = takers[at % takers.len()];
            self.ask(self.alive[at], |op| Command::LookUp(op, thing(whose).key));
        }
        self.pass(ANSWER);
        let (_, finds) = self.engine.parts().next().unwrap();
        let hits = (first..self.ops).filter_map(|op| Some((op, finds.hits.get(&op)?)));
        let found = hits.filter(|(_, hits)| !hits.is_empty());
        let sentences = found.map(|(op, _)| format!("operation {op} finds what was taken back")).collect();
        for &host in &takers {
            self.engine.part_of_mut(host).command(host, Command::Publish(thing(host)));
        }
        self.pass(SPREAD);
        sentences
    }

    fn ask(&mut self, who: u32, command: impl FnOnce(Op) -> Command<Node>) {
        self.engine.part_of_mut(who).command(who, command(Op(self.ops)));
        self.ops += 1;
    }
}

/// One network's life: the hash of its trace, and what was not found.
fn live<C>(config: &Arc<C::Config>, seed: u64) -> (u64, Vec<String>)
where
    C: Overlay<Node> + Send,
    C::Message: Send,
    C::Config: Send + Sync,
{
    let mut life = Life::<C>::begin(config, seed);
    let mut missing = life.find_each();
    missing.extend(life.take_back());
    life.lose_a_third();
    life.pass(REPAIR);
    let again = life.find_each();
    missing.extend(again.into_iter().map(|sentence| format!("after the deaths {sentence}")));
    (life.engine.tally().hash(), missing)
}

fn a_hundred_lives<C>(config: C::Config)
where
    C: Overlay<Node> + Send,
    C::Message: Send,
    C::Config: Send + Sync,
{
    let config = Arc::new(config);
    let mut hashes = Vec::new();
    let mut failed = Vec::new();
    for seed in 0..SEEDS {
        let (hash, missing) = live::<C>(&config, seed);
        hashes.push(hash);
        failed.extend(missing.into_iter().map(|sentence| format!("seed {seed}: {sentence}")));
    }
    assert!(failed.is_empty(), "{}:\n{}", C::NAME, failed.join("\n"));
    assert_eq!(live::<C>(&config, 0).0, hashes[0], "{}: a second run", C::NAME);
    let different: BTreeSet<&u64> = hashes.iter().collect();
    assert_eq!(different.len(), hashes.len(), "{}: a seed that does not matter", C::NAME);
    common::note_traces(&format!("lives-{}", C::NAME), &hashes);
}

fn renewed<K: KeyBased<Node>>(routing: K::Config) -> DhtConfig<K::Config> {
    DhtConfig { republish: RENEWAL, ..Dht::<Node, K>::config(routing) }
}

#[test]
fn chord() {
    type Chord = chord::Chord<Node>;
    a_hundred_lives::<Dht<Node, Chord>>(renewed::<Chord>(chord::Config::default()));
}

#[test]
fn pastry() {
    type Pastry = pastry::Pastry<Node>;
    a_hundred_lives::<Dht<Node, Pastry>>(renewed::<Pastry>(pastry::Config::default()));
}

#[test]
fn kademlia() {
    type Kademlia = kademlia::Kademlia<Node>;
    a_hundred_lives::<Dht<Node, Kademlia>>(renewed::<Kademlia>(kademlia::Config::default()));
}

#[test]
fn kelips() {
    let config = kelips::Config::for_nodes(u64::from(NODES));
    a_hundred_lives::<kelips::Kelips<Node>>(kelips::Config { refresh_interval: RENEWAL, ..config });
}

#[test]
fn napster() {
    a_hundred_lives::<napster::Napster<Node>>(napster::Config::default());
}

#[test]
fn gnutella() {
    a_hundred_lives::<gnutella::Gnutella<Node>>(gnutella::Config::default());
}

#[test]
fn fasttrack() {
    a_hundred_lives::<fasttrack::FastTrack<Node>>(fasttrack::Config::default());
}
