//! Networks cut in two until nobody knows anybody beyond the cut, and whole again.

mod common;

use std::time::Duration;

use common::World;
use starling_overlay::chord::Chord;
use starling_overlay::kademlia::Kademlia;
use starling_overlay::pastry::{Pastry, PastryMessage};
use starling_overlay::{Checked, Core, Id, Op, Route, Routing, View};
use starling_sansio::{Rng, Time};

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

/// The nodes are cut in two for so long.
fn apart<C: Core<u32>>(world: &mut World<C>, long: Duration) {
    world.outside.cut = Some(Box::new(|a, b| side(a) != side(b)));
    world.run_for(long);
}

/// Nobody has anybody beyond the cut in its tables any more.
fn forgotten<C: Core<u32>>(world: &World<C>) {
    for (node, core) in &world.nodes {
        assert!(core.known().iter().all(|&peer| side(peer) == side(*node)), "{node} forgets who is silent");
    }
}

/// After how many minutes without a cut all tables are as they should be again.
fn healed<C>(world: &mut World<C>) -> u32
where
    C: Core<u32> + Checked<u32>,
{
    world.outside.cut = None;
    let mut minutes = 0;
    while flaws(world) > 0 && minutes < 120 {
        world.run_for(MINUTE);
        minutes += 1;
    }
    minutes
}

/// Networks of several sizes, cut for so long, become one.
fn halves_become_one<C>(long: Duration)
where
    C: Core<u32, Command = Route<u32>> + Checked<u32>,
    C::Config: Default,
{
    for (seed, count) in [(1, 3), (2, 10), (3, 60), (4, 300)] {
        let mut world = World::<C>::new(seed, 160, Default::default());
        world.converged_from(seed as u32 * 1000, count);
        apart(&mut world, long);
        forgotten(&world);
        assert!(healed(&mut world) < 120, "{count} nodes");
    }
}

#[test]
fn two_rings_of_chord_become_one() {
    halves_become_one::<Chord<u32>>(40 * MINUTE);
}

#[test]
fn two_networks_of_pastry_become_one() {
    halves_become_one::<Pastry<u32>>(180 * MINUTE);
}

/// Every node looks for a key of its own. How many finds end at the closest of all.
fn right(world: &mut World<Kademlia<u32>>) -> usize {
    world.outside.events.clear();
    let nodes: Vec<u32> = world.nodes.keys().copied().collect();
    let key = |node: u32| Id::hash(format!("key {node}").as_bytes());
    for &node in &nodes {
        world.command(node, Route::Find { op: Op(node), key: key(node), values: false });
    }
    world.run_for(MINUTE);
    let root = |op: Op| nodes.iter().copied().min_by_key(|&node| world.outside.place(node).xor(key(op.0)));
    let ends = world.outside.events.iter().filter(|(.., event)| match event {
        Routing::Closest { op, peers, .. } => peers.first().copied() == root(*op),
        _ => false,
    });
    ends.count()
}

#[test]
fn two_networks_of_kademlia_become_one() {
    for (seed, count) in [(1, 3), (2, 10), (3, 60), (4, 300)] {
        let mut world = World::<Kademlia<u32>>::new(seed, 160, Default::default());
        world.converged_from(seed as u32 * 1000, count);
        apart(&mut world, 180 * MINUTE);
        // Contacts that are silent may stay in a table, but are not asked.
        assert!(flaws(&world) > 0 && right(&mut world) < count as usize, "{count} nodes");
        assert!(healed(&mut world) < 120, "{count} nodes");
        assert_eq!(right(&mut world), count as usize, "{count} nodes");
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
    world.run_for(40 * MINUTE);
    forgotten(world);
    healed(world)
}

#[test]
fn who_came_in_through_a_peer_beyond_the_cut_finds_back_through_it() {
    let mut world = World::<Chord<u32>>::new(5, 160, Default::default());
    assert!(through_the_boot_peer(&mut world) < 120);
    let mut world = World::<Pastry<u32>>::new(5, 160, Default::default());
    assert!(through_the_boot_peer(&mut world) < 120);
}

/// Of two rings only one node knows of the other one, and its own successor is nearer to it
/// than anybody there: it can take nobody for its successor, but be taken for a predecessor.
#[test]
fn a_ring_whose_only_way_out_has_a_nearer_successor_is_found() {
    let mut world = World::<Chord<u32>>::new(8, 160, Default::default());
    let mut nodes: Vec<u32> = (0..5).collect();
    nodes.sort_unstable_by_key(|&node| world.outside.place(node));
    let [finder, successor, boot, second, third] = nodes[..] else { unreachable!() };
    let enter = |world: &mut World<Chord<u32>>, node, through| {
        world.add(node);
        world.command(node, Route::Join(through));
        world.run_for(MINUTE);
    };
    enter(&mut world, boot, None);
    enter(&mut world, finder, Some(boot));
    world.command(boot, Route::Leave);
    world.run_for(MINUTE);
    enter(&mut world, successor, Some(finder));
    enter(&mut world, second, None);
    enter(&mut world, third, Some(second));
    world.command(boot, Route::Join(Some(second)));
    world.run_for(MINUTE);
    assert!(world.nodes[&successor].known() == [finder] && world.nodes[&finder].known() == [successor]);
    assert!(healed(&mut world) < 120);
}

/// Who looks beyond the cut is shown leaves there: it asks each of them whether it is there,
/// since the one that shows them may be too far away to be its neighbour.
#[test]
fn a_pastry_node_asks_the_leaves_that_it_is_shown_beyond_the_cut() {
    let mut world = World::<Pastry<u32>>::new(9, 160, Default::default());
    for (node, through) in [(0, None), (1, Some(0))] {
        world.add(node);
        world.command(node, Route::Join(through));
        world.run_for(MINUTE);
    }
    world.kill(0);
    world.run_for(10 * MINUTE);
    world.outside.log = Some(Vec::new());
    let looks = |log: Option<Vec<(u32, u32, PastryMessage<u32>)>>| {
        log.into_iter().flatten().find_map(|(_, _, message)| match message {
            PastryMessage::Join { join, .. } => Some(join.nonce),
            _ => None,
        })
    };
    let mut nonce = None;
    while nonce.is_none() && world.outside.now < Time::from_secs(100_000) {
        world.run_for(Duration::from_secs(1));
        nonce = looks(world.outside.log.replace(Vec::new()));
    }
    let nonce = nonce.expect("it looks for whom it came in through");
    world.inject(5, 1, PastryMessage::JoinLeaf { nonce, leaf: [6, 7].into_iter().collect() });
    let log = world.outside.log.take().unwrap_or_default();
    let asked =
        |&(_, to, ref message): &(_, u32, _)| matches!(message, PastryMessage::LeafAsk { .. }).then_some(to);
    assert_eq!(log.iter().filter_map(asked).collect::<Vec<u32>>(), [6, 7]);
}

/// A node's boot peer says good-bye, so that it is in nobody's table, and begins anew.
#[test]
fn a_kademlia_node_that_lost_somebody_looks_for_its_boot_peer() {
    for dead in [0, 1] {
        let mut world = World::<Kademlia<u32>>::new(6, 160, Default::default());
        for (node, through) in [(0, None), (1, Some(0)), (2, Some(1)), (3, Some(1))] {
            world.add(node);
            world.command(node, Route::Join(through));
            world.run_for(MINUTE);
        }
        world.command(0, Route::Leave);
        // All the others leave, or one dies later.
        (2 + dead..4).for_each(|node| world.command(node, Route::Leave));
        (2 + dead..4).for_each(|node| world.kill(node));
        world.run_for(180 * MINUTE);
        (2..2 + dead).for_each(|node| world.kill(node));
        world.run_for(180 * MINUTE);
        world.command(0, Route::Join(None));
        assert!(flaws(&world) > 0);
        world.run_for(240 * MINUTE);
        assert_eq!(flaws(&world), 0, "{dead} dead");
    }
}

#[test]
fn a_kademlia_node_that_misses_the_dead_asks_them_rarely() {
    let mut world = World::<Kademlia<u32>>::new(7, 160, Default::default());
    world.converged(60);
    (0..30).for_each(|node| world.kill(node));
    world.run_for(300 * MINUTE);
    world.outside.log = Some(Vec::new());
    world.run_for(600 * MINUTE);
    let log = world.outside.log.take().unwrap();
    let dead = log.iter().filter(|(_, to, _)| *to < 30).count();
    assert!((30 * 50..30 * 70).contains(&dead), "{dead} messages to the dead by 30 in ten hours");
}
