//! The size of Pastry's state, and places won by near nodes.

mod common;

use std::time::Duration;

use common::World;
use starling_overlay::pastry::{Config, Pastry};
use starling_overlay::{Core, Id, View};
use starling_sansio::Time;

type Small = World<Pastry<u32>>;

fn config() -> Config {
    Config::default()
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
        let mut world = Small::new(19, 160, Config { race, scan: Duration::from_secs(2), ..config() });
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
