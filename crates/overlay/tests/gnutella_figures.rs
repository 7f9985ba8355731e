//! Published figures of Gnutella's searches.
//!
//! Conditions: a random graph of 10^4 nodes with degree 32, 5 % or .5 % of them with the
//! record, all links equally fast. The counts follow from the graph: 32 + 32 · 31
//! queries at TTL 2, and 31 more for each node that the second hop reached first; ten
//! hits of 500 (50) replicas take 200 (1,960) nodes on average, visited by walkers that
//! sometimes come again. Where links differ in speed a query may come by a longer path
//! first and its TTL ends sooner: with delays of 10 to 50 ms TTL 3 takes 22,600 messages
//! and finds 91 %.
//!
//! Counted is every query, or step of a walker, sent over a link, duplicates included;
//! hits, and walkers' questions to the origin, are not.

#![allow(clippy::print_stdout)] // figures are to be read

mod common;

use std::time::Duration;

use common::World;
use starling_overlay::gnutella::{Config, Gnutella, Strategy};
use starling_overlay::{Command, Event, Id, Op, Record};
use starling_sansio::Rng;

type Net = World<Gnutella<u32>>;

const NODES: u32 = 10_000;
/// 5 % and .5 %.
const REPLICAS: [usize; 2] = [500, 50];

/// What a search took.
struct Search {
    queries: f64,
    duplicates: f64,
    found: usize,
}

fn record(number: usize) -> Record {
    Record { key: Id::hash(&[number as u8]), name: "a murmuration".into(), size: 1 }
}

/// Looks up the record that so many have, from `count` nodes that do not; for the two
/// numbers of replicas.
fn searches(seed: u64, strategy: Strategy, providers: u16, count: usize) -> [Vec<Search>; 2] {
    // The graph stays as it is built: nobody looks for the odd link that is missing.
    let (spare, ping_interval) = (0, Duration::from_secs(86_400));
    let degree = (32, 32);
    let config = Config { degree, spare, ping_interval, strategy, providers, seed, ..Config::default() };
    let mut net = Net::new(seed, 64, config);
    net.outside.fixed_delay = Some(Duration::from_millis(30));
    net.converged(NODES);
    let mut nodes: Vec<u32> = (0..NODES).collect();
    [0, 1].map(|which| {
        Rng::from_seed(2 * seed + which as u64).shuffle(&mut nodes);
        for &node in &nodes[..REPLICAS[which]] {
            net.command(node, Command::Publish(record(which)));
        }
        let asking = &nodes[REPLICAS[which]..][..count];
        asking.iter().map(|&node| search(&mut net, node, record(which).key)).collect()
    })
}

fn search(net: &mut Net, node: u32, key: Id) -> Search {
    let counted = |net: &Net| {
        let all = net.nodes.values().map(Gnutella::counters);
        all.fold((0, 0), |sum, one| (sum.0 + one.queries, sum.1 + one.duplicates))
    };
    let before = counted(net);
    net.outside.events.clear();
    net.command(node, Command::LookUp(Op(1), key));
    while !net.outside.events.iter().any(|event| matches!(event.2, Event::Done { .. })) {
        net.run_for(Duration::from_secs(1));
    }
    // Walkers that are still under way learn that it is over.
    net.run_for(Duration::from_secs(1));
    let found = net.outside.events.iter().map(|event| match &event.2 {
        Event::Hits { hits, .. } => hits.len(),
        _ => 0,
    });
    let after = counted(net);
    Search {
        queries: f64::from(after.0 - before.0),
        duplicates: f64::from(after.1 - before.1),
        found: found.sum(),
    }
}

/// Asserts that `value` lies within `interval`, and prints it.
fn check(what: &str, value: f64, interval: std::ops::RangeInclusive<f64>) {
    println!("{what}: {value:.3}, to be in {interval:?}");
    assert!(interval.contains(&value), "{what}: {value}, not in {interval:?}");
}

fn mean<'a>(all: impl Iterator<Item = &'a Search> + Clone, of: impl Fn(&Search) -> f64) -> f64 {
    all.clone().map(of).sum::<f64>() / all.count() as f64
}

#[test]
fn floods() {
    for (ttl, messages) in [(2, 1_000.0..=1_024.0), (3, 29_700.0..=30_700.0)] {
        let runs: Vec<_> = (0..10).map(|seed| searches(seed, Strategy::Flood { ttl }, 4096, 1)).collect();
        for (which, replicas) in REPLICAS.into_iter().enumerate() {
            let all = runs.iter().flat_map(|run| &run[which]);
            let queries = mean(all.clone(), |search| search.queries);
            check(&format!("TTL {ttl}: messages"), queries, messages.clone());
            if ttl == 3 {
                let recall = mean(all.clone(), |search| search.found as f64 / replicas as f64);
                check("TTL 3: recall", recall, 0.94..=0.98);
                let duplicates = mean(all, |search| search.duplicates) / queries;
                check("TTL 3: share of duplicates", duplicates, 0.67..=0.69);
            }
        }
    }
}

#[test]
fn sixteen_walkers_want_ten_hits() {
    // Lv et al. found that a question to the origin every fourth step is a good balance:
    // walkers that are not stopped at once walk some more steps. Rarer questions make
    // no difference in what is found.
    let cases = [(1, [195.0..=235.0, 2_000.0..=2_400.0]), (4, [215.0..=265.0, 2_000.0..=2_450.0])];
    for (check_every, messages) in cases {
        let strategy = Strategy::Walkers { count: 16, check_every, ttl: 1024 };
        let runs: Vec<_> = (0..10).map(|seed| searches(seed, strategy, 10, 20)).collect();
        for (which, messages) in messages.into_iter().enumerate() {
            let all = runs.iter().flat_map(|run| &run[which]);
            let queries = mean(all.clone(), |search| search.queries);
            check(&format!("{} replicas, checked every {check_every}", REPLICAS[which]), queries, messages);
            assert!(all.clone().all(|search| search.found >= 10));
        }
    }
}
