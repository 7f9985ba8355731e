//! A record is kept where it belongs in networks of every small size, on each of the
//! structured overlays.

mod common;

use std::time::Duration;

use common::World;
use starling_overlay::chord::Chord;
use starling_overlay::dht::Dht;
use starling_overlay::kademlia::Kademlia;
use starling_overlay::pastry::Pastry;
use starling_overlay::{Command, Id, KeyBased, Record};

/// More nodes than the longest list of neighbours that any of them has by default.
const SIZES: std::ops::RangeInclusive<u32> = 2..=40;
const RECORDS: u32 = 20;

fn record(number: u32) -> Record {
    Record { key: Id::hash(&number.to_be_bytes()), name: "one".into(), size: 1 }
}

/// Sizes of networks in which a record has too few copies.
fn lacking<K: KeyBased<u32, Config: Default>>() -> Vec<(u32, usize)> {
    let mut lacking = Vec::new();
    for size in SIZES {
        let mut net = World::<Dht<u32, K>>::new(1, 160, Dht::<u32, K>::config(K::Config::default()));
        net.converged(size);
        (0..RECORDS).for_each(|number| net.command(number % size, Command::Publish(record(number))));
        net.run_for(Duration::from_secs(60));
        let copies = |key: Id| net.nodes.values().filter(|node| node.kept_keys().contains(&key)).count();
        let fewest = (0..RECORDS).map(|number| copies(record(number).key)).min().unwrap_or(0);
        if fewest < K::REPLICAS.min(size as usize) {
            lacking.push((size, fewest));
        }
    }
    lacking
}

#[test]
fn a_network_of_any_size_keeps_what_it_is_told() {
    assert_eq!(lacking::<Chord<u32>>(), []);
    assert_eq!(lacking::<Pastry<u32>>(), []);
    assert_eq!(lacking::<Kademlia<u32>>(), []);
}
