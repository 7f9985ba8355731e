//! Pastry's published figures, and the size of its state.
//!
//! The figures are those of Rowstron and Druschel 2001 as later work quotes them; they
//! could not be checked against the paper's own text here.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use common::World;
use starling_overlay::pastry::{Pastry, PastryConfig, PastryMessage};
use starling_overlay::{Core, Id, Op, Route, Routing, View};
use starling_sansio::Time;

type Small = World<Pastry<u32>>;

fn config() -> PastryConfig {
    PastryConfig::default()
}

fn key(number: u32) -> Id {
    Id::hash(&[b"key", &number.to_be_bytes()[..]].concat())
}

/// Hops over size: the mean is near log16 N (b = 4, L = 16).
#[test]
fn mean_hops_are_near_log_16_of_the_size() {
    for (count, low, high) in [(1000, 2.2, 2.6), (10_000, 3.0, 3.4)] {
        let mut world = Small::new(16, 160, PastryConfig { sample: 1, ..config() });
        world.converged(count);
        for number in 0..4000 {
            let node = number * 7919 % count;
            world.command(node, Route::Find { op: Op(number), key: key(number), values: false });
        }
        world.run_for(Duration::from_secs(5));
        let answers = world.outside.events.iter().filter_map(|event| match &event.2 {
            Routing::Closest { cost, .. } => Some(f64::from(cost.hops)),
            _ => None,
        });
        let answers: Vec<f64> = answers.collect();
        let mean = answers.iter().sum::<f64>() / 4000.0;
        println!("{count} nodes: {mean:.3} hops, log16 N = {:.3}", f64::from(count).ln() / 16f64.ln());
        assert_eq!(answers.len(), 4000);
        assert!((low..high).contains(&mean), "{mean}");
    }
}

/// Locality: with complete tables (the nearest node in every place), routes are 1.3 to
/// 1.4 times as long as the way from source to destination, on a plane.
#[test]
fn routes_are_a_third_longer_than_the_direct_way() {
    let mut world = Small::new(17, 160, PastryConfig { sample: usize::MAX, ..config() });
    world.outside.plane = true;
    world.converged(2000);
    world.outside.log = Some(Vec::new());
    let origins: BTreeMap<Id, u32> = (0..2000).map(|number| (key(number), number * 7919 % 2000)).collect();
    for (&key, &node) in &origins {
        world.command(node, Route::Send { key, payload: Bytes::new(), hint: None });
    }
    world.run_for(Duration::from_secs(5));
    let direct = world.outside.events.iter().map(|(_, node, event)| match event {
        Routing::Deliver { key, .. } => world.outside.delay(origins[key], *node),
        _ => Duration::ZERO,
    });
    let direct: Duration = direct.filter(|way| *way > Duration::from_micros(1)).sum();
    let log = world.outside.log.iter().flatten();
    let hops = log.filter(|(.., message)| matches!(message, PastryMessage::Carry { .. }));
    let routes: Duration = hops.map(|(from, to, _)| world.outside.delay(*from, *to)).sum();
    let ratio = routes.as_secs_f64() / direct.as_secs_f64();
    println!("routes are {ratio:.3} times as long as the direct way");
    assert!((1.25..1.45).contains(&ratio), "{ratio}");
}

#[test]
fn at_a_million_nodes_the_state_is_below_700_bytes() {
    let mut world = Small::new(18, 160, config());
    let mut members: Vec<(Id, u32)> = (0..1_000_000).map(|node| (world.outside.place(node), node)).collect();
    members.sort_unstable();
    let view = View::new(&members);
    let mut bytes = 0;
    for node in 0..200 {
        world.add(node);
        let core = world.nodes.get_mut(&node).unwrap();
        core.converge(Time::ZERO, &view, &mut world.outside);
        bytes += core.state_bytes();
    }
    println!("{} bytes a node, {} of them the struct", bytes / 200, size_of::<Pastry<u32>>());
    assert!(bytes < 200 * 700);
}

/// A driver that does not know how far peers are: nodes race for their places.
#[test]
fn without_a_metric_near_nodes_win_their_places() {
    let distance = |race| {
        let mut world = Small::new(19, 160, PastryConfig { race, scan: Duration::from_secs(2), ..config() });
        (world.outside.plane, world.outside.blind) = (true, true);
        world.converged(300);
        world.run_for(Duration::from_secs(1200));
        let first_row = |node: &Pastry<u32>| -> Vec<u32> {
            let rows = node.rows(&world.outside);
            rows.into_iter().filter(|row| row.label.starts_with("row 0")).flat_map(|row| row.peers).collect()
        };
        let ways = world.nodes.iter().flat_map(|(name, node)| {
            first_row(node).into_iter().map(|peer| world.outside.delay(*name, peer))
        });
        ways.sum::<Duration>()
    };
    let (racing, not) = (distance(true), distance(false));
    assert!(racing < not * 2 / 3, "{racing:?} instead of {not:?}");
}
