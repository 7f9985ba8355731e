//! Chord in a small world: rings that begin, grow, lose members and find every key.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::World;
use starling_overlay::chord::invariant::{Checker, Standing, Violation};
use starling_overlay::chord::{Aim, Chord, Config, Message, Style};
use starling_overlay::{Core, Cost, Id, Input, KeyBased, Op, Route, Routing};
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
    let mut standings: Vec<Standing> =
        world.nodes.values().map(|node| node.standing(&world.outside)).collect();
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

/// Mean and half the 99 % interval (Student's t with nine degrees of freedom) of ten
/// seeds' figures.
fn interval(figures: &[f64]) -> (f64, f64) {
    assert_eq!(figures.len(), 10);
    let mean = figures.iter().sum::<f64>() / 10.0;
    let variance = figures.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / 9.0;
    (mean, 3.25 * (variance / 10.0).sqrt())
}

#[test]
fn in_the_classroom_8_names_12_names_14_then_15() {
    let config = Config { bits: 4, successors: 1, replicas: 1, ..Config::default() };
    let mut world = Ring::even(1, 4, 16, config);
    world.converged(16);
    let rows = world.nodes[&0].rows_for_test(&world);
    assert_eq!(
        rows,
        ["successor 1", "predecessor 15", "finger +1 1", "finger +2 2", "finger +4 4", "finger +8 8"]
    );
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
        joined(&mut world, count, Duration::from_millis(gap));
        for _ in 0..10 {
            world.run_for(Duration::from_secs(30));
            let (right, hops, timeouts) = look_up_from_all(&mut world, &mut Rng::from_seed(3));
            println!("{right} {hops} {timeouts} {:?}", world.outside.offences);
        }
    }
}

#[test]
fn hops_1024() {
    for seed in 0..3 {
        for r in [1, 2, 4, 20] {
            let mut world = Ring::new(seed, 160, Config { successors: r, ..Config::default() });
            world.converged(1024);
            let (right, hops, timeouts) = look_up_from_all(&mut world, &mut Rng::from_seed(seed));
            println!("{r} {right} {hops} {timeouts} {:?}", world.outside.offences);
        }
    }
}

#[test]
fn figure() {
    for seed in 0..3 {
        for p in [0.0, 0.1, 0.2, 0.3, 0.5] {
            let mut world = Ring::new(
                seed,
                160,
                Config {
                    successors: 20,
                    stabilize: Duration::from_secs(100000),
                    fix_fingers: Duration::from_secs(100000),
                    find_tries: 1,
                    ..Config::default()
                },
            );
            world.converged(1000);
            let mut rng = Rng::from_seed(seed);
            for n in 0..1000 {
                if rng.unit() < p {
                    world.kill(n);
                }
            }
            let (right, hops, timeouts) = look_up_from_all(&mut world, &mut Rng::from_seed(seed));
            println!("{p} {right}/{} {hops} {timeouts} {:?}", world.nodes.len(), world.outside.offences);
        }
    }
}

/// Every survivor looks one key up, before anything is repaired.
fn after_failures(fraction: f64, seed: u64, style: Style) -> Round {
    let never = Duration::from_secs(1_000_000);
    let config = Config {
        successors: 20,
        style,
        stabilize: never,
        fix_fingers: never,
        carry_timeout: never,
        find_tries: 1,
        ..Config::default()
    };
    let mut world = Ring::new(seed, 160, config);
    let first = seed as u32 * 10_000;
    world.converged_from(first, 1_000);
    let mut rng = Rng::from_seed(seed);
    (first..first + 1_000).filter(|_| rng.unit() < fraction).for_each(|node| world.kill(node));
    let round = look_up_from_all(&mut world, seed);
    assert_eq!(round.right, world.nodes.len(), "no failed look-up");
    round
}
