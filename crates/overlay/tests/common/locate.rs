//! What every overlay that locates must do, whatever routes below it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use starling_overlay::dht::{Dht, DhtConfig};
use starling_overlay::{Command, Core, Event, Id, KeyBased, Op, Outcome, Query, Record};

use crate::common::World;

type Net<K> = World<Dht<u32, K>>;

/// Something that node `number` has: all such things have a word in common, every
/// fifth another.
pub fn record(number: u32) -> Record {
    let name = format!("starling {} thing{number}", number % 5);
    Record { key: Id::hash(name.as_bytes()), name: name.into(), size: 1 }
}

/// `count` nodes that join through the first, and each publish their record.
pub fn network<K: KeyBased<u32>>(seed: u64, count: u32, config: DhtConfig<K::Config>) -> Net<K> {
    let mut world = Net::<K>::new(seed, 160, config);
    for node in 0..count {
        world.add(node);
        world.command(node, Command::Join((node > 0).then_some(0)));
        world.command(node, Command::Publish(record(node)));
        world.run_for(Duration::from_millis(500));
    }
    world.run_for(Duration::from_secs(180));
    world
}

/// Lets every `step`-th node look for everything that living nodes have; what was not
/// found, and by whom.
pub fn missed<K: KeyBased<u32>>(world: &mut Net<K>, step: usize) -> Vec<(u32, u32)> {
    world.outside.events.clear();
    let members: Vec<u32> = world.nodes.iter().filter(|one| one.1.is_member()).map(|one| *one.0).collect();
    let mut asked = BTreeMap::new();
    for &node in members.iter().step_by(step) {
        for &number in &members {
            let op = asked.len() as u32;
            asked.insert((node, op), number);
            world.command(node, Command::LookUp(Op(op), record(number).key));
        }
        world.run_for(Duration::from_secs(5));
    }
    world.run_for(Duration::from_secs(120));
    let mut found = BTreeSet::new();
    let mut ended = BTreeSet::new();
    for (_, node, event) in &world.outside.events {
        match event {
            Event::Hits { op, hits } => {
                let number = asked[&(*node, op.0)];
                if hits.iter().any(|hit| (hit.record.key, hit.provider) == (record(number).key, number)) {
                    found.insert((*node, op.0));
                }
            }
            Event::Done { op, .. } => assert!(ended.insert((*node, op.0)), "{op:?} ended twice"),
            _ => {}
        }
    }
    assert_eq!(ended.len(), asked.len(), "every operation ends");
    asked
        .into_iter()
        .filter(|(name, _)| !found.contains(name))
        .map(|((node, _), number)| (node, number))
        .collect()
}

/// How many providers a search by `node` finds, and how it ended.
pub fn search<K: KeyBased<u32>>(world: &mut Net<K>, node: u32, text: &str) -> (usize, Outcome) {
    world.outside.events.clear();
    let query = Query { text: text.into(), wanted: 1000 };
    world.command(node, Command::Search(Op(7), query));
    world.run_for(Duration::from_secs(60));
    let mut found = BTreeSet::new();
    let mut ends = Vec::new();
    for (.., event) in &world.outside.events {
        match event {
            Event::Hits { hits, .. } => found.extend(hits.iter().map(|hit| (hit.record.key, hit.provider))),
            Event::Done { outcome, .. } => ends.push(*outcome),
            _ => {}
        }
    }
    assert_eq!(ends.len(), 1);
    (found.len(), ends[0])
}

/// Join, publish, look up and search from everywhere; leave; a third dies; all again.
pub fn a_life<K: KeyBased<u32>>(seed: u64, count: u32, config: DhtConfig<K::Config>) {
    let republish = config.republish;
    let mut world = network::<K>(seed, count, config);
    assert_eq!(missed(&mut world, 3), [], "seed {seed}: after joining");
    assert_eq!(search(&mut world, 3, "starling"), (count as usize, Outcome::Found), "seed {seed}");
    assert_eq!(search(&mut world, 4, "thing7 starling 2"), (1, Outcome::Found), "seed {seed}");
    assert_eq!(search(&mut world, 5, "nothing"), (0, Outcome::NotFound), "seed {seed}");

    for node in (0..count).filter(|node| node % 10 == 4) {
        world.command(node, Command::Leave);
    }
    world.run_for(Duration::from_secs(60));
    assert_eq!(missed(&mut world, 7), [], "seed {seed}: after some left");
    let members = world.nodes.values().filter(|node| node.is_member()).count();
    assert_eq!(search(&mut world, 3, "starling").0, members, "seed {seed}: who left has withdrawn");

    for node in (0..count).filter(|node| node % 3 == 2) {
        world.kill(node);
    }
    world.run_for(republish + Duration::from_secs(300));
    assert_eq!(missed(&mut world, 7), [], "seed {seed}: after a third died");

    world.command(3, Command::Withdraw(record(3).key));
    world.run_for(Duration::from_secs(20));
    let gone: Vec<u32> = missed(&mut world, 7).into_iter().map(|one| one.1).collect();
    assert!(gone.iter().all(|&number| number == 3) && !gone.is_empty(), "seed {seed}: what was withdrawn");
}
