//! Pastry in a small world.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use common::pastry::{Small, converged, key, secs};
use starling_overlay::pastry::{Config, Find, Join, Pastry, PastryMessage};
use starling_overlay::wire::List;
use starling_overlay::{Core, Id, Input, KeyBased, Offence, Op, Route, Routing, RpcId};
use starling_sansio::Time;

fn config() -> Config {
    Config::default()
}

fn iterative() -> Config {
    Config { iterative: true, ..config() }
}

/// The members closest to `key`, the root first; of two equally close the one before it.
fn closest(world: &Small, key: Id, count: usize) -> Vec<u32> {
    let mut all: Vec<u32> = world.nodes.iter().filter(|one| one.1.is_member()).map(|one| *one.0).collect();
    all.sort_by_key(|&node| {
        let place = world.outside.place(node);
        (place.ring_distance(key), place.minus(key) < key.minus(place))
    });
    all.truncate(count);
    all
}

struct Answer {
    peers: Vec<u32>,
    hops: u32,
    timeouts: u32,
}

/// The answers to finds, each one exactly once.
fn answers(world: &Small) -> BTreeMap<u32, Answer> {
    let mut answers = BTreeMap::new();
    for (.., event) in &world.outside.events {
        if let Routing::Closest { op, peers, cost } = event {
            let answer = Answer { peers: peers.clone(), hops: cost.hops, timeouts: cost.timeouts };
            assert!(answers.insert(op.0, answer).is_none(), "operation {} ended twice", op.0);
        }
    }
    answers
}

/// Each node looks for `keys` keys; how many answers named the true root, of how many.
fn look_up(world: &mut Small, keys: u32) -> (usize, usize) {
    world.outside.events.clear();
    let nodes: Vec<u32> = world.nodes.keys().copied().collect();
    for number in 0..keys {
        for &node in &nodes {
            let op = Op(number * 100_000 + node);
            world.command(node, Route::Find { op, key: key(number), values: false });
        }
        world.run_for(secs(2));
    }
    world.run_for(secs(30));
    let answers = answers(world);
    assert_eq!(answers.len(), nodes.len() * keys as usize, "every find ends");
    let roots: Vec<u32> = (0..keys).map(|number| closest(world, key(number), 1)[0]).collect();
    let right =
        answers.iter().filter(|(op, one)| one.peers.first() == Some(&roots[(**op / 100_000) as usize]));
    (right.count(), answers.len())
}

fn everything_is_found(world: &mut Small, keys: u32) {
    let (right, all) = look_up(world, keys);
    assert_eq!(right, all);
}

/// Leaf sets that are not those of a converged network.
fn wrong_leaf_sets(world: &Small) -> usize {
    let right = |node: &u32| {
        let mut ring: Vec<u32> = closest(world, Id::ZERO, usize::MAX);
        ring.sort_by_key(|&one| world.outside.place(one));
        let at = ring.iter().position(|one| one == node).expect("a member");
        let count = ring.len();
        let mut leaf: Vec<u32> = (1..=8.min(count - 1))
            .flat_map(|step| [ring[(at + step) % count], ring[(at + count - step) % count]])
            .collect();
        leaf.sort_unstable();
        leaf.dedup();
        let rows = world.nodes[node].rows(&world.outside);
        let mut have: Vec<u32> = rows
            .iter()
            .filter(|row| row.label.starts_with("leaf"))
            .flat_map(|row| row.peers.clone())
            .collect();
        have.sort_unstable();
        have.dedup();
        have == leaf
    };
    world.nodes.iter().filter(|one| one.1.is_member() && !right(one.0)).count()
}

/// Joins through node 0, one after another, `gap` apart.
fn joined(seed: u64, count: u32, gap: Duration, config: Config) -> Small {
    let mut world = Small::new(seed, 160, config);
    for node in 0..count {
        world.add(node);
        world.command(node, Route::Join(if node == 0 { None } else { Some(0) }));
        world.run_for(gap);
    }
    world.run_for(secs(90));
    world
}

#[test]
fn a_converged_network_finds_the_replica_set_of_every_key() {
    for config in
        [config(), iterative(), Config { digit_bits: 1, ..config() }, Config { leaf: 4, ..config() }]
    {
        let mut world = converged(1, 200, config.clone());
        everything_is_found(&mut world, 20);
        let count = config.leaf / 2 + 1;
        let sets: Vec<Vec<u32>> = (0..20).map(|number| closest(&world, key(number), count)).collect();
        for (op, answer) in answers(&world) {
            assert_eq!(answer.peers, sets[(op / 100_000) as usize]);
        }
        assert_eq!(world.outside.offences, []);
    }
}

#[test]
fn networks_of_any_size_find_every_key() {
    for count in [1, 2, 3, 8, 9, 16, 17, 18, 33] {
        let mut world = converged(2, count, config());
        everything_is_found(&mut world, 40);
    }
}

#[test]
fn nodes_join_one_after_another() {
    let mut world = joined(3, 80, secs(2), config());
    assert!(world.nodes.values().all(Pastry::is_member));
    assert_eq!(wrong_leaf_sets(&world), 0);
    everything_is_found(&mut world, 20);
    assert_eq!(world.outside.offences, []);
}

#[test]
fn nodes_join_all_at_once() {
    let mut world = joined(4, 80, Duration::ZERO, config());
    world.run_for(secs(120));
    assert!(world.nodes.values().all(Pastry::is_member));
    assert_eq!(wrong_leaf_sets(&world), 0);
    everything_is_found(&mut world, 20);
}

#[test]
fn whoever_leaves_is_missed_at_once() {
    let mut world = converged(5, 100, config());
    for node in (0..100).step_by(3) {
        world.command(node, Route::Leave);
        world.kill(node);
        world.run_for(secs(1));
    }
    world.run_for(secs(5));
    assert_eq!(wrong_leaf_sets(&world), 0);
    everything_is_found(&mut world, 20);
}

#[test]
fn a_third_dies_at_once_and_the_rest_repairs_itself() {
    for config in [config(), iterative()] {
        let mut world = converged(6, 150, config);
        for node in (0..150).filter(|node| node % 3 == 1) {
            world.kill(node);
        }
        world.run_for(secs(240));
        assert_eq!(wrong_leaf_sets(&world), 0);
        everything_is_found(&mut world, 20);
    }
}

/// Who notices a death tells its leaf set, and everybody looks for a replacement.
#[test]
fn one_death_noticed_is_repaired_by_all() {
    let mut world = converged(21, 100, config());
    let around = closest(&world, world.outside.place(7), 6);
    world.kill(7);
    around.into_iter().skip(1).for_each(|node| world.unreachable(node, 7));
    world.run_for(secs(3));
    assert_eq!(wrong_leaf_sets(&world), 0);
}

/// Straight after the disaster most finds already get through: dead hops are gone around.
#[test]
fn dead_hops_are_gone_around() {
    let mut world = converged(7, 300, config());
    for node in (0..300).filter(|node| node % 5 == 1) {
        world.kill(node);
    }
    let (right, all) = look_up(&mut world, 10);
    assert!(right * 100 >= all * 97, "{right} of {all}");
    let timeouts: u32 = answers(&world).values().map(|one| one.timeouts).sum();
    assert!(timeouts > 0);
}

#[test]
fn with_five_percent_loss_nodes_join_and_find() {
    let mut world = Small::new(8, 160, config());
    world.outside.loss_permille = 50;
    for node in 0..60 {
        world.add(node);
        world.command(node, Route::Join(if node == 0 { None } else { Some(0) }));
        world.run_for(secs(3));
    }
    world.run_for(secs(180));
    assert!(world.nodes.values().all(Pastry::is_member));
    let (right, all) = look_up(&mut world, 20);
    assert!(right * 1000 >= all * 995, "{right} of {all}");
}

#[test]
fn the_leaf_set_alone_is_enough() {
    let mut world = converged(9, 300, config());
    world.nodes.values_mut().for_each(Pastry::forget_tables);
    for node in 0..300 {
        world.command(node, Route::Find { op: Op(node), key: key(node), values: false });
    }
    world.run_for(secs(6));
    let answers = answers(&world);
    for (op, answer) in &answers {
        assert_eq!(answer.peers.first(), closest(&world, key(*op), 1).first());
    }
    let hops: u32 = answers.values().map(|one| one.hops).sum();
    assert!(hops > 300 * 5, "it is slow: {hops} hops");
}

#[test]
fn payloads_reach_the_root_and_every_hop_is_asked() {
    let mut world = converged(10, 200, config());
    for number in 0..50 {
        world.command(
            number,
            Route::Send { key: key(number), payload: Bytes::from_static(b"hello"), hint: None },
        );
        let payload = Bytes::from_static(b"by way of 150");
        world.command(number, Route::Send { key: key(number), payload, hint: Some(150) });
    }
    world.run_for(secs(5));
    let mut delivered = BTreeMap::new();
    for (_, node, event) in &world.outside.events {
        if let Routing::Deliver { key, payload, .. } = event {
            assert_eq!(closest(&world, *key, 1), [*node]);
            *delivered.entry(payload.clone()).or_insert(0) += 1;
        }
    }
    assert_eq!(delivered.into_values().collect::<Vec<_>>(), [50, 50]);
}

/// A hundred nodes come, a third of them dies, some leave, some come back.
#[test]
fn a_hundred_nodes_over_ten_seeds() {
    for seed in 0..10 {
        let mut world = joined(100 + seed, 100, Duration::from_millis(300), config());
        for node in (0..100).filter(|node| node % 3 == 2) {
            world.kill(node);
        }
        for node in (0..100).filter(|node| node % 10 == 4) {
            world.command(node, Route::Leave);
        }
        world.run_for(secs(240));
        for node in (0..100).filter(|node| node % 10 == 4 && node % 3 != 2) {
            world.command(node, Route::Join(Some(9)));
            world.run_for(secs(1));
        }
        world.run_for(secs(60));
        assert_eq!(wrong_leaf_sets(&world), 0, "seed {seed}");
        everything_is_found(&mut world, 5);
    }
}

/// Two nodes that wrongly take each other for dead do not make the others ask for ever.
#[test]
fn a_disagreement_is_no_storm() {
    let mut world = converged(20, 20, config());
    world.unreachable(0, 5);
    world.unreachable(5, 0);
    world.outside.log = Some(Vec::new());
    world.run_for(secs(300));
    let log = world.outside.log.take().unwrap();
    let asked = log.iter().filter(|one| matches!(one.2, PastryMessage::LeafAsk { .. })).count();
    assert!(asked < 2 * 20 * 3 * 10, "{asked}"); // heartbeats are 20 * 3 each half minute
    assert_eq!(wrong_leaf_sets(&world), 0);
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed| {
        let mut world = joined(seed, 40, Duration::from_millis(100), config());
        world.outside.loss_permille = 50;
        world.kill(7);
        look_up(&mut world, 5);
        format!("{:?} {:?}", world.outside.events, world.outside.offences)
    };
    assert_eq!(story(11), story(11));
    assert_ne!(story(11), story(12));
}

#[test]
fn a_cancelled_find_tells_nothing() {
    for config in [config(), iterative()] {
        let mut world = converged(12, 100, config);
        world.command(1, Route::Find { op: Op(1), key: key(1), values: true });
        world.command(1, Route::Cancel(Op(1)));
        world.run_for(secs(60));
        assert_eq!(world.outside.events, []);
    }
}

/// What no honest peer says changes nothing and is counted.
#[test]
fn lies_change_nothing() {
    let mut world = converged(13, 100, config());
    let rpc = RpcId(1);
    let find = |hops| {
        let find = Find { key: key(1), origin: 99, op: 1, nonce: 1, hops, timeouts: 0, values: false };
        PastryMessage::Find { rpc, find }
    };
    let join = |newcomer, hops| PastryMessage::Join { rpc, join: Join { newcomer, nonce: 1, hops, row: 0 } };
    let cases = [
        (PastryMessage::Pong { rpc }, Offence::UnknownReply),
        (PastryMessage::Ack { rpc }, Offence::UnknownReply),
        (PastryMessage::LeafAnswer { rpc, leaf: List::default() }, Offence::UnknownReply),
        (PastryMessage::RowAnswer { rpc, peers: List::default() }, Offence::UnknownReply),
        (PastryMessage::Next { rpc, root: true, peers: List::default() }, Offence::UnknownReply),
        (
            PastryMessage::Found { op: 1, nonce: 1, hops: 1, timeouts: 0, set: List::default() },
            Offence::UnknownReply,
        ),
        (PastryMessage::JoinLeaf { nonce: 1, leaf: List::default() }, Offence::UnknownReply),
        (PastryMessage::JoinRows { nonce: 1, peers: List::default() }, Offence::UnknownReply),
        (find(0), Offence::OutOfRange),
        (find(u16::MAX), Offence::OutOfRange),
        (PastryMessage::Ask { rpc, op: 1, key: key(1), hops: 0, values: false }, Offence::OutOfRange),
        (PastryMessage::RowAsk { rpc, row: 200 }, Offence::OutOfRange),
        (join(5, 1), Offence::NamesItself),
        (join(99, 3), Offence::NamesItself),
        (PastryMessage::LeafAsk { rpc, leaf: List::new(vec![99]) }, Offence::NamesItself),
        (PastryMessage::LeafAsk { rpc, leaf: (200..240).collect() }, Offence::TooMany),
        (PastryMessage::Gone { peer: 5 }, Offence::NamesItself),
        (PastryMessage::Bye { leaf: List::new(vec![99]) }, Offence::NamesItself),
    ];
    for (message, offence) in cases {
        world.outside.offences.clear();
        let before = world.nodes[&5].known();
        world.inject(99, 5, message.clone());
        assert_eq!(world.outside.offences, [(5, offence)], "{message:?}");
        assert_eq!(world.nodes[&5].known(), before);
    }
    world.outside.offences.clear();
    world.inject(5, 5, PastryMessage::Ping { rpc });
    world.add(500);
    world.inject(5, 500, find(1));
    world.command(500, Route::Join(Some(500)));
    world.run_for(secs(60));
    let mut core = world.nodes.remove(&5).unwrap();
    let ping = Input::Message { from: 6, message: PastryMessage::Ping { rpc } };
    core.handle(Time::ZERO, ping, &mut world.outside);
    let told: Vec<Offence> = world.outside.offences.iter().map(|one| one.1).collect();
    let expected = [Offence::NamesItself, Offence::Misdirected, Offence::NamesItself, Offence::TimeWentBack];
    assert_eq!(told, expected);
}

#[test]
fn a_flood_of_strangers_stays_within_the_bounds() {
    let mut world = converged(14, 50, Config { neighborhood: 32, ..config() });
    for number in 0..20_000 {
        let (from, rpc) = (1000 + number, RpcId(number));
        let message = match number % 6 {
            0 => PastryMessage::Ping { rpc },
            1 => PastryMessage::LeafAsk { rpc, leaf: (number + 5000..number + 5016).collect() },
            2 => PastryMessage::Gone { peer: number % 50 },
            3 => PastryMessage::Join { rpc, join: Join { newcomer: from, nonce: 1, hops: 1, row: 0 } },
            4 => PastryMessage::Bye { leaf: (number + 5000..number + 5016).collect() },
            _ => {
                let find = Find {
                    key: key(number),
                    origin: from,
                    op: 1,
                    nonce: 1,
                    hops: 1,
                    timeouts: 0,
                    values: true,
                };
                PastryMessage::Find { rpc, find }
            }
        };
        world.inject(from, 0, message);
    }
    for number in 0..1000 {
        world.command(0, Route::Find { op: Op(number), key: key(number), values: false });
    }
    let bytes = world.nodes[&0].state_bytes();
    assert!(bytes < 60_000, "{bytes} bytes");
    assert!(world.nodes[&0].known().len() < 16 + 32 + 15 * 6);
    world.run_for(secs(400));
    let bytes = world.nodes[&0].state_bytes();
    assert!(bytes < 2_000, "{bytes} bytes when the flood is over");
}

#[test]
fn ranges_are_those_of_the_roots() {
    let check = |world: &Small, key: Id| {
        for (rank, &root) in closest(world, key, 3).iter().enumerate() {
            let range = |rank| world.nodes[&root].range(root, rank, key, &world.outside);
            assert!(range(rank).is_some_and(|(from, to)| key.between_or_at(from, to)), "{key} {rank}");
            assert!(rank == 0 || range(rank - 1).is_none(), "{key}: not at a lower rank");
        }
    };
    for count in [1, 2, 10, 17, 60] {
        let world = converged(15, count, config());
        (0..100).for_each(|number| check(&world, key(number)));
    }
    // Keys half way between two nodes, of even and odd distances.
    for count in [5, 32] {
        let mut world = Small::even(15, 8, u64::from(count), config());
        world.converged(count);
        (0..256).for_each(|number| check(&world, Id::small(number, 8)));
    }
}
