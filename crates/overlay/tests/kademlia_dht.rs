//! Postings on Kademlia: what a user does.

mod common;

use std::time::Duration;

use common::World;
use starling_overlay::dht::Dht;
use starling_overlay::kademlia::{Config, Kademlia};
use starling_overlay::{Command, Event, Id, Op, Outcome, Record};

type Net = World<Dht<u32, Kademlia<u32>>>;

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
