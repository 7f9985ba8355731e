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
    healed(world, long)
}

/// The same of nodes that are cut already.
fn healed<C>(world: &mut World<C>, long: Duration) -> u32
where
    C: Core<u32, Command = Route<u32>> + Checked<u32>,
{
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

/// Some joined through a boot peer that now lies beyond the cut, where nobody else is left
/// who knew them: only they can find back, and only through that peer.
fn through_the_boot_peer<C>(world: &mut World<C>) -> u32
where
    C: Core<u32, Command = Route<u32>> + Checked<u32>,
{
    let here: Vec<u32> = (0..200).filter(|&node| side(node)).take(36).collect();
    let beyond: Vec<u32> = (0..200).filter(|&node| !side(node)).take(16).collect();
    let boot = beyond[0];
    let enter = |world: &mut World<C>, node, through| {
        world.add(node);
        world.command(node, Route::Join(through));
        world.run_for(Duration::from_secs(3));
    };
    enter(world, boot, None);
    here.iter().for_each(|&node| enter(world, node, Some(boot)));
    world.run_for(5 * MINUTE);
    world.kill(boot);
    // So many die later that nobody remembers the boot peer as one of those that fell silent.
    for &node in &here[..24] {
        world.run_for(2 * MINUTE);
        world.kill(node);
    }
    world.outside.cut = Some(Box::new(|a, b| side(a) != side(b)));
    enter(world, beyond[1], None);
    beyond[2..].iter().for_each(|&node| enter(world, node, Some(beyond[1])));
    enter(world, boot, Some(beyond[1]));
    healed(world, 40 * MINUTE)
}

#[test]
fn who_came_in_through_a_peer_beyond_the_cut_finds_back_through_it() {
    let mut world = World::<Chord<u32>>::new(5, 160, Default::default());
    assert!(through_the_boot_peer(&mut world) < 120);
    let mut world = World::<Pastry<u32>>::new(5, 160, Default::default());
    assert!(through_the_boot_peer(&mut world) < 120);
}
