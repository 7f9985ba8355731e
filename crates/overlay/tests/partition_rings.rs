//! Networks cut in two until nobody knows anybody beyond the cut, and whole again.

mod common;

use std::time::Duration;

use common::World;
use starling_overlay::chord::Chord;
use starling_overlay::pastry::Pastry;
use starling_overlay::{Checked, Core, Route, View};
use starling_sansio::Rng;

const MINUTE: Duration = Duration::from_secs(60);

/// On which side of the cut a node is.
fn side(node: u32) -> bool {
    Rng::from_seed(u64::from(node)).next_u64().is_multiple_of(2)
}

/// How many members' tables are not as they should be.
fn flaws<C>(world: &World<C>) -> usize
where
    C: Core<u32> + Checked<u32>,
{
    let mut members: Vec<_> = world.nodes.keys().map(|&node| (world.outside.place(node), node)).collect();
    members.sort_unstable();
    let view = View::new(&members);
    let node = |node: u32| world.nodes.get(&node);
    world.nodes.values().filter(|one| one.flaw(&view, &node, &world.outside).is_some()).count()
}

/// The nodes are cut in two for so long; after how many minutes all tables are as they
/// should be again.
fn apart<C>(world: &mut World<C>, long: Duration) -> u32
where
    C: Core<u32, Command = Route<u32>> + Checked<u32>,
{
    world.outside.cut = Some(Box::new(|a, b| side(a) != side(b)));
    world.run_for(long);
    for (node, core) in &world.nodes {
        assert!(core.known().iter().all(|&peer| side(peer) == side(*node)), "{node} forgets who is silent");
    }
    world.outside.cut = None;
    let mut minutes = 0;
    while flaws(world) > 0 && minutes < 120 {
        world.run_for(MINUTE);
        minutes += 1;
    }
    minutes
}

#[test]
fn two_rings_of_chord_become_one() {
    for (seed, count) in [(1, 3), (2, 10), (3, 60), (4, 300)] {
        let mut world = World::<Chord<u32>>::new(seed, 160, Default::default());
        world.converged_from(seed as u32 * 1000, count);
        assert!(apart(&mut world, 40 * MINUTE) < 120, "{count} nodes");
    }
}

#[test]
fn two_networks_of_pastry_become_one() {
    for (seed, count) in [(1, 3), (2, 10), (3, 60), (4, 300)] {
        let mut world = World::<Pastry<u32>>::new(seed, 160, Default::default());
        world.converged_from(seed as u32 * 1000, count);
        assert!(apart(&mut world, 180 * MINUTE) < 120, "{count} nodes");
    }
}
