//! Napster networks for its tests.
#![allow(dead_code)] // each test program uses a part of it

use std::time::Duration;

use starling_overlay::napster::{Config, Napster};
use starling_overlay::{Command, Cost, Event, Hit, Id, Op, Outcome, Query, Record};

use crate::common::World;

/// Nodes in the small world.
pub type Net = World<Napster<u32>>;

/// What node `number` has.
pub fn record(number: u32) -> Record {
    let name = format!("starling flock{number} song").into();
    Record { key: Id::hash(&number.to_le_bytes()), name, size: u64::from(number) }
}

/// How operations ended, by their numbers.
pub fn ended(net: &Net) -> Vec<(Op, Outcome, Cost)> {
    let of = |event: &Event<u32>| match event {
        Event::Done { op, outcome, cost } => Some((*op, *outcome, *cost)),
        _ => None,
    };
    let mut ended: Vec<_> = net.outside.events.iter().filter_map(|(_, _, event)| of(event)).collect();
    ended.sort_by_key(|done| done.0);
    ended
}

/// Who serves.
pub fn servers(net: &Net) -> Vec<u32> {
    net.nodes.iter().filter(|(_, core)| core.is_server()).map(|(&node, _)| node).collect()
}

/// Every live node looks for each of `numbers`; returns how each ended.
pub fn look_for_all(net: &mut Net, numbers: &[u32]) -> Vec<(Op, Outcome, Cost)> {
    net.outside.events.clear();
    let mut op = 0;
    for node in net.nodes.keys().copied().collect::<Vec<u32>>() {
        for &number in numbers {
            net.command(node, Command::LookUp(Op(op), record(number).key));
            op += 1;
        }
        net.run_for(Duration::from_millis(20));
    }
    net.run_for(Duration::from_secs(40));
    let ended = ended(net);
    assert_eq!(ended.len(), op as usize, "each operation ends once");
    ended
}

/// How many found something.
pub fn found(ended: &[(Op, Outcome, Cost)]) -> usize {
    ended.iter().filter(|done| done.1 == Outcome::Found).count()
}

/// 100 nodes, three of them servers, each with a record.
pub fn a_hundred(seed: u64) -> Net {
    a_hundred_with(seed, Config::default())
}

/// The same with other parameters.
pub fn a_hundred_with(seed: u64, config: Config) -> Net {
    let mut net = Net::new(seed, 160, config);
    net.converged(100);
    for node in 0..100 {
        net.command(node, Command::Publish(record(node)));
    }
    net.run_for(Duration::from_secs(10));
    net
}

/// The hits of that operation.
pub fn hits(net: &Net, wanted: Op) -> Vec<Hit<u32>> {
    let of = |event: &Event<u32>| match event {
        Event::Hits { op, hits } if *op == wanted => hits.clone(),
        _ => Vec::new(),
    };
    net.outside.events.iter().flat_map(|(_, _, event)| of(event)).collect()
}

/// What `node` finds by these words, by provider.
pub fn search(net: &mut Net, node: u32, text: &str, wanted: u16) -> Vec<u32> {
    net.outside.events.clear();
    net.command(node, Command::Search(Op(0), Query { text: text.into(), wanted }));
    net.run_for(Duration::from_secs(5));
    let mut providers: Vec<u32> = hits(net, Op(0)).iter().map(|hit| hit.provider).collect();
    providers.sort_unstable();
    providers
}
