//! Chord in a small world: rings that begin, grow, lose members and find every key.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::World;
use starling_overlay::chord::invariant::{Checker, Violation};
use starling_overlay::chord::{Aim, Chord, Config, Message, Style};
use starling_overlay::wire::List;
use starling_overlay::{Core, Cost, Id, Input, KeyBased, Op, Route, Routing, Standing};
use starling_sansio::Rng;

type Ring = World<Chord<u32>>;

const MINUTE: Duration = Duration::from_secs(60);

/// Lets nodes 0 to `count` join through node 0, one every `gap`.
fn joined(world: &mut Ring, count: u32, gap: Duration) {
    for node in 0..count {
        world.add(node);
        world.command(node, Route::Join((node > 0).then_some(0)));
        world.run_for(gap);
    }
}

/// Whether the ring is what it comes to without joins and failures.
fn ideal(world: &Ring, r: usize) -> Result<(), Violation> {
    let mut standings: Vec<Standing> = world.nodes.values().map(|node| node.stands(&world.outside)).collect();
    standings.sort_unstable_by_key(|one| one.id);
    Checker::new(r).ideal(&standings)
}

/// The node responsible for `key` among those that live.
fn root(world: &Ring, key: Id) -> u32 {
    let distance = |node: &u32| world.outside.place(*node).minus(key);
    *world.nodes.keys().min_by_key(|node| distance(node)).expect("somebody lives")
}

/// How a round of look-ups went.
#[derive(PartialEq, Debug)]
struct Round {
    /// Finds that named the root.
    right: usize,
    /// Means of all finds.
    hops: f64,
    timeouts: f64,
}

/// Every node looks a key of its own up.
fn look_up_from_all(world: &mut Ring, seed: u64) -> Round {
    let mut rng = Rng::from_seed(seed);
    let asking: Vec<u32> = world.nodes.keys().copied().collect();
    let keys: Vec<Id> = asking.iter().map(|_| Id::from_high(rng.next_u64())).collect();
    world.outside.events.clear();
    for (&node, &key) in asking.iter().zip(&keys) {
        world.command(node, Route::Find { op: Op(node), key, values: false });
    }
    world.run_for(3 * MINUTE);
    let (mut right, mut answers, mut sum) = (0, 0, Cost::default());
    for (_, node, event) in &world.outside.events {
        if let Routing::Closest { op, peers, cost } = event {
            assert_eq!(op.0, *node);
            answers += 1;
            let key = keys[asking.binary_search(node).expect("only who asked is told")];
            right += usize::from(peers.first() == Some(&root(world, key)));
            sum = Cost { hops: sum.hops + cost.hops, timeouts: sum.timeouts + cost.timeouts };
        }
    }
    assert_eq!(answers, asking.len(), "every find ends, and once");
    let mean = |sum: u32| f64::from(sum) / asking.len() as f64;
    Round { right, hops: mean(sum.hops), timeouts: mean(sum.timeouts) }
}

#[test]
fn in_the_classroom_8_names_12_names_14_then_15() {
    let config = Config { bits: 4, successors: 1, replicas: 1, ..Config::default() };
    let mut world = Ring::even(1, 4, 16, config);
    world.converged(16);
    let rows = world.nodes[&0].rows(&world.outside);
    let rows: Vec<String> = rows.into_iter().map(|row| format!("{} {:?}", row.label, row.peers)).collect();
    let table = ["successor [1]", "predecessor [15]"];
    let fingers = ["finger +1 [1]", "finger +2 [2]", "finger +4 [4]", "finger +8 [8]"];
    assert_eq!(rows, [&table[..], &fingers].concat());

    world.outside.log = Some(Vec::new());
    world.command(0, Route::Find { op: Op(1), key: Id::small(15, 4), values: false });
    world.run_for(Duration::from_secs(2));
    let log = world.outside.log.take().unwrap();
    let asks = |message: &Message<u32>| matches!(message, Message::Ask { aim: Aim::Key, .. });
    let asked: Vec<u32> = log.iter().filter(|one| one.0 == 0 && asks(&one.2)).map(|one| one.1).collect();
    assert_eq!(asked, [8, 12, 14, 15]);
    let cost = Cost { hops: 4, timeouts: 0 };
    let done = Routing::Closest { op: Op(1), peers: vec![15], cost };
    assert!(world.outside.events.iter().any(|(_, node, event)| (*node, event) == (0, &done)));
}

#[test]
fn a_stable_ring_of_any_size_finds_every_key_in_either_style() {
    for style in [Style::Iterative, Style::Recursive] {
        for count in [1, 2, 3, 17, 200] {
            let mut world = Ring::new(2, 160, Config { style, ..Config::default() });
            world.converged(count);
            assert_eq!(ideal(&world, 16), Ok(()));
            let round = look_up_from_all(&mut world, 3);
            assert_eq!((round.right, round.timeouts), (count as usize, 0.0), "{style:?} {count}");
            assert!(round.hops <= f64::from(count).log2() + 1.0, "{round:?}");
            assert_eq!(ideal(&world, 16), Ok(()), "stabilization changes nothing");
            assert_eq!(world.outside.offences, []);
        }
    }
}

#[test]
fn sixty_nodes_join_one_after_another_or_all_at_once() {
    for gap in [Duration::from_secs(3), Duration::from_millis(1)] {
        let mut world = Ring::new(4, 160, Config::default());
        joined(&mut world, 60, gap);
        world.run_for(MINUTE);
        assert_eq!(look_up_from_all(&mut world, 1).right, 60, "{gap:?}");
        world.run_for(10 * MINUTE); // what a list says of its end, it learns entry by entry
        assert_eq!(ideal(&world, 16), Ok(()), "{gap:?}");
        for seed in 0..5 {
            let round = look_up_from_all(&mut world, seed);
            assert_eq!((round.right, round.timeouts), (60, 0.0), "{gap:?}");
        }
        let joined = |event: &&(_, u32, Routing<u32>)| event.2 == Routing::Joined;
        world.outside.events.retain(|event| joined(&event));
        assert_eq!(world.outside.events, [], "each joined once, before the look-ups");
    }
}

#[test]
fn a_ring_says_that_it_is_too_small_until_it_has_r_plus_1_members() {
    let mut world = Ring::new(5, 160, Config { successors: 3, ..Config::default() });
    let too_small = |world: &Ring| {
        let says = Routing::TooSmall { needed: 4 };
        world.outside.events.iter().any(|event| event.2 == says)
    };
    for node in 0..8 {
        world.outside.events.clear();
        world.add(node);
        world.command(node, Route::Join((node > 0).then_some(0)));
        world.run_for(3 * MINUTE);
        assert_eq!(too_small(&world), node < 3, "{node}");
        assert_eq!(ideal(&world, 3), Ok(()));
        assert_eq!(look_up_from_all(&mut world, 1).right, node as usize + 1);
    }
    // Back to one: it says so, and is a ring.
    for node in 1..8 {
        world.kill(node);
        world.run_for(MINUTE);
    }
    assert!(too_small(&world));
    assert_eq!((world.nodes[&0].successors(), world.nodes[&0].predecessor()), (&[][..], None));
    assert_eq!(look_up_from_all(&mut world, 1), Round { right: 1, hops: 0.0, timeouts: 0.0 });
}

#[test]
fn who_leaves_leaves_no_hole() {
    let mut world = Ring::new(6, 160, Config::default());
    world.converged(100);
    for node in (0..100).step_by(3) {
        world.command(node, Route::Leave);
        assert!(world.outside.events.iter().any(|event| event.1 == node && event.2 == Routing::Left));
        world.kill(node);
        world.run_for(Duration::from_secs(3));
    }
    assert_eq!(look_up_from_all(&mut world, 1).right, 66);
    world.run_for(10 * MINUTE);
    assert_eq!(ideal(&world, 16), Ok(()));
    let round = look_up_from_all(&mut world, 2);
    assert_eq!((round.right, round.timeouts), (66, 0.0));
}

#[test]
fn who_leaves_says_good_bye_to_both_neighbours() {
    let mut world = Ring::new(12, 160, Config::default());
    world.converged(50);
    let (before, after) = (world.nodes[&7].predecessor().unwrap(), world.nodes[&7].successors().to_vec());
    world.command(7, Route::Leave);
    world.kill(7);
    world.run_for(Duration::from_millis(100)); // nobody finds a dead neighbour by itself so soon
    assert_eq!(world.nodes[&before].successors(), after);
    assert_eq!(world.nodes[&after[0]].predecessor(), Some(before));
}

#[test]
fn the_good_bye_of_a_stranger_changes_nothing() {
    let mut world = Ring::new(13, 160, Config::default());
    world.converged(50);
    let before = world.nodes[&7].next_timeout();
    world.inject(9_999, 7, Message::Leave { predecessor: None, list: List::default() });
    assert_eq!(world.nodes[&7].next_timeout(), before);
}

#[test]
fn when_a_third_dies_at_once_the_rest_finds_every_key_at_once_and_without_waiting_later() {
    for seed in 0..10 {
        let mut world = Ring::new(seed, 160, Config::default());
        let first = seed as u32 * 1_000;
        world.converged_from(first, 150);
        (0..150).filter(|n| n % 3 == 0).for_each(|n| world.kill(first + n));
        let round = look_up_from_all(&mut world, seed);
        assert_eq!(round.right, 100, "{round:?}");
        world.run_for(10 * MINUTE);
        assert_eq!(ideal(&world, 16), Ok(()), "seed {seed}");
        let round = look_up_from_all(&mut world, seed + 1);
        assert_eq!((round.right, round.timeouts), (100, 0.0), "seed {seed}");
    }
}

#[test]
fn a_hundred_nodes_come_and_go_over_ten_seeds() {
    for seed in 0..10 {
        let first = seed as u32 * 1_000;
        let mut world = Ring::new(seed, 160, Config { successors: 8, ..Config::default() });
        world.converged_from(first, 100);
        let mut rng = Rng::from_seed(seed);
        for n in 0..60 {
            let names: Vec<u32> = world.nodes.keys().copied().collect();
            let one = names[rng.index(names.len())];
            match rng.below(3) {
                0 => world.kill(one),
                1 => {
                    world.command(one, Route::Leave);
                    world.kill(one);
                }
                _ => {
                    world.add(first + 100 + n);
                    world.command(first + 100 + n, Route::Join(Some(one)));
                }
            }
            world.run_for(Duration::from_secs(5));
        }
        let members = world.nodes.values().filter(|node| node.is_member()).count();
        assert_eq!(members, world.nodes.len(), "all have joined");
        let round = look_up_from_all(&mut world, seed);
        assert!(round.right + 2 >= members, "seed {seed}: {} of {members}", round.right);
        world.run_for(10 * MINUTE);
        assert_eq!(ideal(&world, 8), Ok(()), "seed {seed}");
        assert_eq!(look_up_from_all(&mut world, seed).right, members);
    }
}

#[test]
fn with_five_percent_loss_a_ring_grows_heals_and_finds() {
    for style in [Style::Iterative, Style::Recursive] {
        let mut world = Ring::new(7, 160, Config { style, find_tries: 3, ..Config::default() });
        world.outside.loss_permille = 50;
        joined(&mut world, 80, Duration::from_secs(2));
        (0..80).step_by(4).for_each(|node| world.kill(node));
        world.run_for(10 * MINUTE);
        assert!(world.nodes.values().all(Chord::is_member));
        let right: usize = (0..5).map(|seed| look_up_from_all(&mut world, seed).right).sum();
        assert!(right >= 297, "{style:?}: {right} of 300");
        world.outside.loss_permille = 0;
        world.run_for(5 * MINUTE);
        assert_eq!(ideal(&world, 16), Ok(()));
    }
}

#[test]
fn equal_seeds_give_equal_worlds() {
    let run = |seed| {
        let mut world = Ring::new(seed, 160, Config::default());
        world.outside.loss_permille = 20;
        world.outside.log = Some(Vec::new());
        joined(&mut world, 40, Duration::from_millis(500));
        (0..40).step_by(5).for_each(|node| world.kill(node));
        look_up_from_all(&mut world, seed);
        format!("{:?} {:?}", world.outside.events, world.outside.log)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_payload_is_carried_to_the_root_past_the_dead() {
    let mut world = Ring::new(8, 160, Config::default());
    world.converged(100);
    (0..100).step_by(3).for_each(|node| world.kill(node));
    let mut rng = Rng::from_seed(8);
    for n in 0..50u8 {
        let key = Id::from_high(rng.next_u64());
        let hint = (n % 2 == 0).then_some(50);
        world.outside.events.clear();
        world.command(1, Route::Send { key, payload: Bytes::from(vec![n; 9]), hint });
        world.run_for(MINUTE);
        let delivered: Vec<u32> = world
            .outside
            .events
            .iter()
            .filter(|event| matches!(&event.2, Routing::Deliver { payload, .. } if payload[0] == n))
            .map(|event| event.1)
            .collect();
        assert_eq!(delivered, [root(&world, key)]);
    }
}

#[test]
fn a_question_for_a_value_says_so_at_every_node_on_the_way() {
    for style in [Style::Iterative, Style::Recursive] {
        let mut world = Ring::new(9, 160, Config { style, successors: 2, ..Config::default() });
        world.converged(100);
        world.outside.log = Some(Vec::new());
        let key = Id::from_high(1 << 60);
        world.command(7, Route::Find { op: Op(5), key, values: true });
        world.run_for(Duration::from_secs(5));
        let log = world.outside.log.take().unwrap();
        let wanted: Vec<_> =
            log.iter().filter_map(|(from, to, message)| Some((*to, Chord::wants(*from, message)?))).collect();
        assert!(wanted.len() > 2);
        assert_eq!(wanted.last().map(|one| one.0), Some(root(&world, key)));
        for (n, (_, wanted)) in wanted.iter().enumerate() {
            assert_eq!((wanted.key, wanted.origin, wanted.op), (key, 7, Op(5)));
            assert_eq!(wanted.hops, n as u32 + 1);
        }
    }
}

#[test]
fn replicas_ranges_and_next_hops_are_those_of_the_whole_ring() {
    // Six successors and four predecessors: ten others are more than a node knows.
    for count in [3, 5, 6, 7, 8, 9, 10, 11, 60] {
        let mut world = Ring::new(10, 160, Config { successors: 6, ..Config::default() });
        world.converged(count);
        let mut members: Vec<(Id, u32)> = (0..count).map(|node| (world.outside.place(node), node)).collect();
        members.sort_unstable();
        let at = |n: usize| members[n % members.len()].1;
        for (place, &(id, node)) in members.iter().enumerate() {
            let core = &world.nodes[&node];
            let set = core.replica_set(id, 4, &world.outside);
            let true_set: Vec<u32> = (0..4.min(members.len())).map(|n| at(place + n)).collect();
            assert_eq!(set, true_set);
            // What the predecessors' replica sets are is known as well.
            let back = place + members.len() - 2;
            let set = core.replica_set(world.outside.place(at(back)), 3, &world.outside);
            assert_eq!(set, (0..3).map(|n| at(back + n)).collect::<Vec<_>>());
            let left = world.outside.place(at(place + members.len() - 2));
            assert_eq!(core.range(node, 1, left.plus(Id::bit(159)), &world.outside), Some((left, id)));
            assert_eq!(core.range(node, 0, id.plus(Id::bit(159)), &world.outside), None, "not a key of it");
            let before = match members.len() {
                ..8 => Some(id),
                count @ 8..=10 => Some(world.outside.place(at(place + count - 7))),
                _ => None,
            };
            assert_eq!(core.range(node, 6, id, &world.outside), before.map(|before| (before, id)));
            let hops = core.local_lookup(world.outside.place(at(place + 2)), 3, false, &world.outside);
            assert_eq!(hops.first(), Some(&at(place + 2)));
        }
    }
}

#[test]
fn who_cannot_be_reached_is_passed_over_without_waiting_and_a_find_can_be_cancelled() {
    let mut world = Ring::new(11, 160, Config::default());
    world.converged(50);
    let dead = world.nodes[&0].successors()[0];
    let key = world.outside.place(dead);
    world.kill(dead);
    world.command(0, Route::Find { op: Op(1), key, values: false });
    world.command(0, Route::Find { op: Op(2), key, values: false });
    world.command(0, Route::Cancel(Op(2)));
    let now = world.outside.now;
    let node = world.nodes.get_mut(&0).unwrap();
    node.handle(now, Input::Unreachable(dead), &mut world.outside);
    assert!(!node.known().contains(&dead));
    world.run_for(Duration::from_millis(500));
    let closest: Vec<_> =
        world.outside.events.iter().filter(|event| matches!(event.2, Routing::Closest { .. })).collect();
    let [(_, 0, Routing::Closest { op: Op(1), peers, cost })] = &closest[..] else { panic!("{closest:?}") };
    assert_eq!((peers[0], *cost), (root(&world, key), Cost { hops: 1, timeouts: 1 }));
}

#[test]
fn a_recursive_find_outlives_all_the_dead_on_its_way() {
    let never = Duration::from_secs(1_000_000_000);
    let config = Config { successors: 20, style: Style::Recursive, ..Config::default() };
    let config = Config { stabilize: never, fix_fingers: never, frozen: true, ..config };
    for seed in 1..4 {
        let mut world = Ring::new(seed, 160, config.clone());
        let first = seed as u32 * 10_000;
        world.converged_from(first, 1000);
        (0..1000).step_by(2).for_each(|n| world.kill(first + n));
        let round = look_up_from_all(&mut world, seed);
        println!("{round:?}");
        assert_eq!(round.right, 500, "{round:?}");
    }
}
