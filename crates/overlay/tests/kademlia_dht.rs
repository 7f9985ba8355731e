//! Postings on Kademlia: what a user does.

mod common;

use std::time::Duration;

use common::World;
use starling_overlay::dht::{Dht, DhtMessage};
use starling_overlay::kademlia::{Config, Kademlia, KademliaMessage};
use starling_overlay::{Command, Event, Id, Offence, Op, Outcome, Purpose, Record};

type Net = World<Dht<u32, Kademlia<u32>>>;
type Said = DhtMessage<u32, KademliaMessage<u32>>;

const MINUTE: Duration = Duration::from_secs(60);

fn record(number: u32) -> Record {
    let name = format!("starling number {number}").as_str().into();
    Record { key: Id::hash(&number.to_be_bytes()), name, size: 1 }
}

/// Everybody looks up one of ten records; the outcomes.
fn everybody_looks(net: &mut Net) -> Vec<Outcome> {
    net.outside.events.clear();
    let nodes: Vec<u32> = net.nodes.keys().copied().collect();
    for &node in &nodes {
        net.command(node, Command::LookUp(Op(node), record(node % 10).key));
    }
    net.run_for(MINUTE);
    let ends = net.outside.events.iter().filter_map(|(.., event)| match event {
        Event::Done { outcome, .. } => Some(*outcome),
        _ => None,
    });
    ends.collect()
}

#[test]
fn what_is_published_is_found_from_everywhere_also_after_a_third_died() {
    for seed in 0..3 {
        let config = Config { k: 8, replicas: 8, ..Config::default() };
        let mut net = Net::new(seed, 160, Dht::<u32, Kademlia<u32>>::config(config));
        for node in 0..90 {
            net.add(node);
            net.command(node, Command::Join((node > 0).then_some(0)));
            net.run_for(Duration::from_millis(500));
        }
        net.run_for(2 * MINUTE);
        for number in 0..10 {
            net.command(80 + number, Command::Publish(record(number)));
        }
        net.run_for(MINUTE);
        assert_eq!(everybody_looks(&mut net), [Outcome::Found; 90], "seed {seed}");
        (0..30).for_each(|node| net.kill(node));
        assert_eq!(everybody_looks(&mut net), [Outcome::Found; 60], "seed {seed}, a third dead");
    }
}

/// Nodes with perfect tables.
fn converged(seed: u64, count: u32) -> Net {
    let mut net =
        Net::new(seed, 160, Dht::<u32, Kademlia<u32>>::config(Config { k: 8, ..Config::default() }));
    net.converged(count);
    net
}

/// Three are asked at once, and what the slower ones have is no answer to a question that
/// nobody asked.
#[test]
fn the_slower_ones_who_have_a_value_are_no_liars() {
    for seed in 0..10 {
        let mut net = converged(seed, 100);
        net.command(7, Command::Publish(record(1)));
        net.run_for(MINUTE);
        let held = net.nodes.values().filter(|node| !node.kept_keys().is_empty()).count();
        assert!(held >= 8, "seed {seed}: {held} have it");
        net.outside.log = Some(Vec::new());
        for node in 0..100 {
            net.command(node, Command::LookUp(Op(node), record(1).key));
        }
        net.run_for(MINUTE);
        let values = |said: &&(u32, u32, Said)| matches!(said.2, DhtMessage::Values { .. });
        let told = net.outside.log.iter().flatten().filter(values).count();
        assert!(told > 100, "seed {seed}: {told} told it, not one for each look-up");
        assert_eq!(net.outside.offences, [], "seed {seed}");
    }
}

/// Only who was asked, and once.
#[test]
fn a_value_from_nowhere_is_an_offence() {
    let mut net = converged(1, 100);
    net.command(7, Command::Publish(record(1)));
    net.run_for(MINUTE);
    let asker =
        net.nodes.iter().find(|(_, node)| node.kept_keys().is_empty()).map(|(&name, _)| name).unwrap();
    net.outside.log = Some(Vec::new());
    net.command(asker, Command::LookUp(Op(1), record(1).key));
    net.run_for(MINUTE);
    let log = net.outside.log.take().unwrap();
    let values = log.into_iter().find(|said| said.1 == asker && matches!(said.2, DhtMessage::Values { .. }));
    let (holder, _, values) = values.unwrap();
    assert_eq!(net.outside.offences, []);
    for from in [holder, 101] {
        net.inject(from, asker, values.clone());
        assert_eq!(net.outside.offences.pop(), Some((asker, Offence::UnknownReply)), "from {from}");
    }
}

/// Silent nodes on the way make a publisher ask others; that is publishing too.
#[test]
fn what_a_publisher_asks_after_a_time_out_is_no_look_up() {
    let mut net = converged(2, 100);
    (0..100).filter(|node| node % 3 == 1).for_each(|node| net.kill(node));
    net.outside.sent.clear();
    for number in 0..10 {
        net.command(number * 3, Command::Publish(record(number)));
    }
    net.run_for(2 * MINUTE);
    assert!(net.outside.sent.contains_key(&Purpose::Publish));
    assert_eq!(net.outside.sent.get(&Purpose::LookUp), None, "nobody looks for anything");
}
