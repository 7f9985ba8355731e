//! Copies of what is published while crowds join, on each of the structured overlays.

mod common;

use std::time::Duration;

use common::World;
use starling_overlay::chord::Chord;
use starling_overlay::dht::Dht;
use starling_overlay::kademlia::Kademlia;
use starling_overlay::pastry::Pastry;
use starling_overlay::{Command, Id, KeyBased, Record};

const MINUTE: Duration = Duration::from_secs(60);
const RECORDS: u32 = 20;

fn record(number: u32) -> Record {
    let name = format!("number {number}").as_str().into();
    Record { key: Id::hash(&number.to_be_bytes()), name, size: 1 }
}

/// Thrice a crowd doubles the network in ten seconds. Of a dead publisher's copies, how many
/// of a hundred are where they belong then; `far` says how far a place is from a key.
fn copies_percent<K: KeyBased<u32, Config: Default>>(far: impl Fn(Id, Id) -> Id) -> usize {
    let mut net = World::<Dht<u32, K>>::new(1, 160, Dht::<u32, K>::config(K::Config::default()));
    net.converged(60);
    (0..RECORDS).for_each(|number| net.command(1, Command::Publish(record(number))));
    net.run_for(MINUTE / 2);
    net.kill(1);
    net.run_for(MINUTE);
    for crowd in 0..3 {
        let before = 60 << crowd;
        for node in before..2 * before {
            net.add(node);
            let through = if node % before == 1 { 2 } else { node % before };
            net.command(node, Command::Join(Some(through)));
            net.run_for(Duration::from_secs(10) / before);
        }
        net.run_for(MINUTE / 2);
    }
    let mut copies = 0;
    for number in 0..RECORDS {
        let key = record(number).key;
        let mut all: Vec<u32> = net.nodes.keys().copied().collect();
        all.sort_by_key(|&node| far(net.outside.place(node), key));
        let keeps = |node: &&u32| net.nodes[*node].kept_keys().contains(&key);
        copies += all[..K::REPLICAS].iter().filter(keeps).count();
    }
    copies * 100 / (RECORDS as usize * K::REPLICAS)
}

/// Who is still joining takes what it is handed: nobody hands it again.
#[test]
fn copies_go_to_crowds_that_join() {
    let chord = copies_percent::<Chord<u32>>(Id::minus);
    let pastry = copies_percent::<Pastry<u32>>(|place, key| place.minus(key).min(key.minus(place)));
    let kademlia = copies_percent::<Kademlia<u32>>(Id::xor);
    assert!(chord >= 95 && pastry == 100 && kademlia >= 85, "{chord}, {pastry}, {kademlia} of 100");
}
