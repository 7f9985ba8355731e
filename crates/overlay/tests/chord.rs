//! Chord in a small world.

mod common;

use std::time::Duration;

use common::World;
use starling_overlay::chord::{Aim, Chord, Config, Message, Style};
use starling_overlay::{Cost, Id, Op, Route, Routing};
use starling_sansio::Rng;

type Ring = World<Chord<u32>>;

/// Joins `count` nodes, one every `gap`, the first of which begins the ring.
fn joined(world: &mut Ring, count: u32, gap: Duration) {
    for node in 0..count {
        world.add(node);
        world.command(node, Route::Join((node > 0).then(|| node / 2)));
        world.run_for(gap);
    }
}

/// The node responsible for `key` among those that live.
fn root(world: &Ring, key: Id) -> u32 {
    let distance = |node: &u32| world.outside.place(*node).minus(key);
    *world.nodes.keys().min_by_key(|node| distance(node)).unwrap()
}

/// Every node looks one key up; how many found its root, and the mean cost.
fn look_up_from_all(world: &mut Ring, rng: &mut Rng) -> (usize, f64, f64) {
    let asking: Vec<u32> = world.nodes.keys().copied().collect();
    let keys: Vec<Id> = asking.iter().map(|_| Id::from_high(rng.next_u64())).collect();
    world.outside.events.clear();
    for (&node, &key) in asking.iter().zip(&keys) {
        world.command(node, Route::Find { op: Op(node), key, values: false });
    }
    world.run_for(Duration::from_secs(120));
    let (mut right, mut answers, mut cost) = (0, 0, Cost::default());
    for (_, node, event) in &world.outside.events {
        if let Routing::Closest { op, peers, cost: one } = event {
            assert_eq!(op.0, *node);
            answers += 1;
            let at = asking.binary_search(node).unwrap();
            if peers.first() != Some(&root(world, keys[at])) {
                println!("{node} {peers:?} {one:?} root {}", root(world, keys[at]));
            }
            right += usize::from(peers.first() == Some(&root(world, keys[at])));
            cost = Cost { hops: cost.hops + one.hops, timeouts: cost.timeouts + one.timeouts };
        }
    }
    assert_eq!(answers, asking.len(), "every find ends once");
    let mean = |sum: u32| f64::from(sum) / asking.len() as f64;
    (right, mean(cost.hops), mean(cost.timeouts))
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
    let asked: Vec<u32> = log
        .iter()
        .filter(|(from, _, message)| *from == 0 && matches!(message, Message::Ask { aim: Aim::Key, .. }))
        .map(|(_, to, _)| *to)
        .collect();
    assert_eq!(asked, [8, 12, 14, 15]);
    let cost = Cost { hops: 4, timeouts: 0 };
    let done = Routing::Closest { op: Op(1), peers: vec![15], cost };
    assert!(world.outside.events.iter().any(|(_, node, event)| *node == 0 && *event == done));
}

/// A table's rows as text.
trait Rows {
    fn rows_for_test(&self, world: &Ring) -> Vec<String>;
}

impl Rows for Chord<u32> {
    fn rows_for_test(&self, world: &Ring) -> Vec<String> {
        use starling_overlay::Core;
        let text = |peers: &[u32]| peers.iter().map(|peer| format!(" {peer}")).collect::<String>();
        self.rows(&world.outside).into_iter().map(|row| row.label + &text(&row.peers)).collect()
    }
}

#[test]
fn a_stable_ring_of_any_size_and_style_finds_every_key() {
    for style in [Style::Iterative, Style::Recursive] {
        for count in [1, 2, 3, 17, 200] {
            let mut world = Ring::new(2, 160, Config { style, ..Config::default() });
            world.converged(count);
            let (right, hops, timeouts) = look_up_from_all(&mut world, &mut Rng::from_seed(3));
            assert_eq!((right, timeouts), (count as usize, 0.0), "{style:?} {count}");
            assert!(hops <= f64::from(count).log2() + 1.0, "{hops}");
            assert_eq!(world.outside.offences, []);
        }
    }
}

#[test]
fn joins() {
    for (count, gap) in [(60, 2000), (60, 1)] {
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

#[test]
fn figrec() {
    for style in [Style::Iterative, Style::Recursive] {
        for p in [0.0, 0.1, 0.2] {
            let mut all = Vec::new();
            for seed in 0..20 {
                let far = Duration::from_secs(100_000);
                let mut world = Ring::new(
                    seed,
                    160,
                    Config {
                        successors: 20,
                        stabilize: far,
                        fix_fingers: far,
                        find_tries: 1,
                        style,
                        rpc_timeout: Duration::from_millis(200),
                        ..Config::default()
                    },
                );
                let base = seed as u32 * 10_000;
                world.converged_from(base, 1000);
                let mut rng = Rng::from_seed(seed);
                for n in 0..1000 {
                    if rng.unit() < p {
                        world.kill(base + n);
                    }
                }
                let n = world.nodes.len();
                let (right, hops, timeouts) = look_up_from_all(&mut world, &mut Rng::from_seed(seed));
                all.push((n - right, hops, timeouts));
            }
            let stat = |f: &dyn Fn(&(usize, f64, f64)) -> f64| {
                let m = all.iter().map(f).sum::<f64>() / 20.0;
                let v = all.iter().map(|x| (f(x) - m).powi(2)).sum::<f64>() / 19.0;
                (m, v.sqrt())
            };
            println!(
                "{style:?} {p} wrong {} hops {:.3?} timeouts {:.3?}",
                all.iter().map(|x| x.0).sum::<usize>(),
                stat(&|x| x.1),
                stat(&|x| x.2)
            );
        }
    }
}
