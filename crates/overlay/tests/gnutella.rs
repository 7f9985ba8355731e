//! Gnutella in virtual time: joins, searches, deaths, liars, and published figures.

mod common;

use std::time::Duration;

use common::World;
use starling_overlay::gnutella::{Config, Counters, Gnutella, Strategy};
use starling_overlay::{Command, Core, Event, Id, Offence, Op, Outcome, Query, Record};
use starling_sansio::{Rng, Time};

type Net = World<Gnutella<u32>>;

fn record(number: u64) -> Record {
    Record {
        key: Id::hash(&number.to_be_bytes()),
        name: format!("Song number {number}").into(),
        size: number,
    }
}

/// What became of operation `op` of `node`: how many hits, and how it ended.
fn result(net: &Net, node: u32, op: u32) -> (usize, Option<Outcome>) {
    let mine = net.outside.events.iter().filter(|event| event.1 == node).map(|event| &event.2);
    let mut found = (0, None);
    for event in mine {
        match event {
            Event::Hits { op: Op(number), hits } if *number == op => found.0 += hits.len(),
            Event::Done { op: Op(number), outcome, .. } if *number == op => {
                assert_eq!(found.1.replace(*outcome), None, "a second end of operation {op}");
            }
            _ => {}
        }
    }
    found
}

fn counted(net: &Net) -> Counters {
    net.nodes.values().map(Gnutella::counters).fold(Counters::default(), |sum, one| Counters {
        queries: sum.queries + one.queries,
        duplicates: sum.duplicates + one.duplicates,
        hits: sum.hits + one.hits,
        lost: sum.lost + one.lost,
        late: sum.late + one.late,
        pushes: sum.pushes + one.pushes,
        givs: sum.givs + one.givs,
    })
}

/// Lv et al.'s random graph, with degree 32: 10^4 nodes, of which `replicas` have the
/// record. A node without it looks for it. Returns what was sent, the share found, and
/// the seconds it took.
fn in_the_large(seed: u64, strategy: Strategy, providers: u16, replicas: usize) -> (Counters, f64) {
    let config = Config { degree: (32, 32), strategy, providers, seed, ..Config::default() };
    let mut net = Net::new(seed, 64, config);
    net.outside.fixed_delay = Some(Duration::from_millis(30));
    net.converged(10_000);
    let mut nodes: Vec<u32> = (0..10_000).collect();
    Rng::from_seed(seed).shuffle(&mut nodes);
    for &node in &nodes[..replicas] {
        net.command(node, Command::Publish(record(1)));
    }
    let asking = nodes[replicas];
    net.command(asking, Command::LookUp(Op(1), record(1).key));
    while result(&net, asking, 1).1.is_none() {
        net.run_for(Duration::from_secs(1));
    }
    (counted(&net), result(&net, asking, 1).0 as f64 / replicas as f64)
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.into_iter().collect();
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn figure_flood() {
    let run = |ttl, replicas| {
        let runs: Vec<_> =
            (0..10).map(|seed| in_the_large(seed, Strategy::Flood { ttl }, 4096, replicas)).collect();
        let messages = mean(runs.iter().map(|run| f64::from(run.0.queries)));
        let duplicates = mean(runs.iter().map(|run| f64::from(run.0.duplicates))) / messages;
        (messages, mean(runs.iter().map(|run| run.1)), duplicates)
    };
    for (ttl, replicas) in [(2, 500), (3, 500), (3, 50)] {
        println!("ttl {ttl} replicas {replicas}: {:?}", run(ttl, replicas));
    }
}

#[test]
fn figure_walkers() {
    for every in [1, 4] {
        let strategy = Strategy::Walkers { count: 16, check_every: every, ttl: 1024 };
        for replicas in [500, 50] {
            let runs = (0..10).map(|seed| in_the_large(seed, strategy, 10, replicas));
            let messages: Vec<_> = runs.map(|run| f64::from(run.0.queries)).collect();
            println!("{every} {replicas}: {} {messages:?}", mean(messages.clone()));
        }
    }
}
