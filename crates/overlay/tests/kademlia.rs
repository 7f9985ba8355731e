//! Kademlia in the small world.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::World;
use starling_overlay::kademlia::{Config, Kademlia, KademliaMessage, MAX_HOPS, Why};
use starling_overlay::wire::List;
use starling_overlay::{Core, Cost, Id, KeyBased, Offence, Op, Route, Routing, RpcId};
use starling_sansio::Rng;

type Net = World<Kademlia<u32>>;

const MINUTE: Duration = Duration::from_secs(60);

fn key(number: u32) -> Id {
    Id::hash(format!("key {number}").as_bytes())
}

/// The living, closest to `key` first.
fn truly_closest(net: &Net, key: Id, count: usize) -> Vec<u32> {
    let mut all: Vec<u32> = net.nodes.keys().copied().collect();
    all.sort_by_cached_key(|&node| net.outside.place(node).xor(key));
    all.truncate(count);
    all
}

/// What finds ended in, by operation.
fn answers(net: &Net) -> BTreeMap<u32, (Vec<u32>, Cost)> {
    let mut answers = BTreeMap::new();
    for (_, _, event) in &net.outside.events {
        if let Routing::Closest { op, peers, cost } = event {
            let before = answers.insert(op.0, (peers.clone(), *cost));
            assert_eq!(before, None, "a find ends once");
        }
    }
    answers
}

fn find(net: &mut Net, from: u32, op: u32, key: Id) {
    net.command(from, Route::Find { op: Op(op), key, values: false });
}

/// Every node in `from` looks for one of `keys` keys. How many found its root, of how many.
fn everybody_finds(net: &mut Net, keys: u32) -> (usize, usize) {
    net.outside.events.clear();
    let nodes: Vec<u32> = net.nodes.keys().copied().collect();
    for (op, &node) in nodes.iter().enumerate() {
        find(net, node, op as u32, key(op as u32 % keys));
    }
    net.run_for(MINUTE);
    let answers = answers(net);
    let right = |op: usize| {
        let root = truly_closest(net, key(op as u32 % keys), 1);
        answers[&(op as u32)].0.first() == root.first()
    };
    ((0..nodes.len()).filter(|&op| right(op)).count(), nodes.len())
}

/// Nodes 0 to `count`; 0 begins, the others join through it, one each `pause`.
fn joined(seed: u64, count: u32, pause: Duration, config: Config) -> Net {
    let mut net = Net::new(seed, 160, config);
    for node in 0..count {
        net.add(node);
        net.command(node, Route::Join((node > 0).then_some(0)));
        net.run_for(pause);
    }
    net.run_for(10 * MINUTE);
    net
}

#[test]
fn in_the_classroom_a_bucket_holds_what_shares_its_prefix() {
    let config = Config { bits: 4, k: 2, ..Config::default() };
    let mut net = Net::even(1, 4, 16, config);
    net.converged(16);
    let node = &net.nodes[&0];
    let rows = node.rows(&net.outside);
    let labels: Vec<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    assert_eq!(labels, ["bucket 0", "bucket 1", "bucket 2", "bucket 3"]);
    assert_eq!(rows[0].peers, [1]);
    assert!(rows[2].peers.iter().all(|peer| (4..8).contains(peer)), "{rows:?}");
    assert!(rows[3].peers.iter().all(|peer| (8..16).contains(peer)), "{rows:?}");
    find(&mut net, 0, 1, Id::small(15, 4));
    net.run_for(MINUTE);
    assert_eq!(answers(&net)[&1].0.first(), Some(&15));
}

#[test]
fn sixty_nodes_join_one_after_another_and_every_key_is_found_from_everywhere() {
    for seed in 0..10 {
        let mut net = joined(seed, 60, Duration::from_secs(1), Config::default());
        assert!(net.nodes.values().all(Kademlia::is_member));
        assert_eq!(everybody_finds(&mut net, 60), (60, 60), "seed {seed}");
        assert_eq!(net.outside.offences, [], "seed {seed}");
    }
}

#[test]
fn a_hundred_nodes_join_at_once() {
    for seed in 0..10 {
        let mut net = joined(seed, 100, Duration::ZERO, Config { k: 8, ..Config::default() });
        assert!(net.nodes.values().all(Kademlia::is_member));
        assert_eq!(everybody_finds(&mut net, 100), (100, 100), "seed {seed}");
    }
}

#[test]
fn who_leaves_is_forgotten_by_its_neighbours_at_once() {
    let mut net = joined(3, 60, Duration::from_secs(1), Config { k: 8, ..Config::default() });
    for node in 10..30 {
        net.command(node, Route::Leave);
        net.run_for(Duration::from_millis(100));
        assert!(!net.nodes[&node].is_member() && net.nodes[&node].known().is_empty());
        net.kill(node);
    }
    let gone = |core: &Kademlia<u32>| {
        let near = core.neighbor_set(4, &net.outside);
        near.iter().filter(|peer| !net.nodes.contains_key(peer)).count()
    };
    // "Among the closest" is not mutual: some neighbours were none the other way round.
    let remembered: usize = net.nodes.values().map(gone).sum();
    assert!(remembered <= 8, "{remembered} of 160 neighbours have left");
    assert_eq!(everybody_finds(&mut net, 40), (40, 40));
}

#[test]
fn after_a_third_died_everything_is_found_and_the_dead_are_forgotten() {
    for seed in 0..10 {
        let mut net = Net::new(seed, 160, Config { k: 8, ..Config::default() });
        net.converged(150);
        let mut rng = Rng::from_seed(seed);
        let mut victims: Vec<u32> = (0..150).collect();
        rng.shuffle(&mut victims);
        victims.truncate(50);
        victims.iter().for_each(|&node| net.kill(node));
        let (right, all) = everybody_finds(&mut net, 100);
        assert!(right * 100 >= all * 97, "seed {seed}: {right} of {all} before any repair");
        net.run_for(150 * MINUTE);
        assert_eq!(everybody_finds(&mut net, 100), (100, 100), "seed {seed}");
        let dead = |core: &Kademlia<u32>| {
            core.neighbor_set(8, &net.outside).iter().filter(|peer| victims.contains(peer)).count()
        };
        let remembered: usize = net.nodes.values().map(dead).sum();
        assert!(remembered <= 24, "seed {seed}: {remembered} of 800 neighbours are dead");
    }
}

/// Without a refresh and without finds: only probes keep the tables.
fn no_refresh() -> Config {
    Config { k: 8, refresh: 6_000 * MINUTE, ..Config::default() }
}

#[test]
fn probes_become_rare_where_everybody_stays() {
    let mut net = joined(1, 60, Duration::from_secs(1), no_refresh());
    net.run_for(180 * MINUTE);
    net.outside.sent.clear();
    net.run_for(60 * MINUTE);
    let sent: u64 = net.outside.sent.values().map(|sent| sent.0).sum();
    // A ping and its answer, every five minutes and a bit.
    assert!((60 * 20..=60 * 26).contains(&sent), "{sent} messages an hour");
}

#[test]
fn probes_come_often_where_many_die() {
    for seed in 0..5 {
        let mut net = Net::new(seed, 160, no_refresh());
        net.converged(150);
        (0..50).for_each(|node| net.kill(node));
        // Whom a look-up would ask first: stale ones are kept, but not asked.
        let dead = |net: &Net| -> (usize, usize) {
            let first = |core: &Kademlia<u32>| {
                (0..20).flat_map(|n| core.local_lookup(key(n), 8, false, &net.outside)).collect::<Vec<u32>>()
            };
            let asked: Vec<u32> = net.nodes.values().flat_map(first).collect();
            (asked.iter().filter(|&&peer| peer < 50).count(), asked.len())
        };
        let (before, all) = dead(&net);
        assert!(before * 100 > all * 25, "seed {seed}: {before} of {all}");
        net.run_for(40 * MINUTE);
        let (after, all) = dead(&net);
        assert!(after * 50 < all, "seed {seed}: {after} of {all}");
    }
}

#[test]
fn one_message_in_twenty_may_get_lost() {
    for seed in 0..10 {
        let mut net = Net::new(seed, 160, Config { k: 8, ..Config::default() });
        net.outside.loss_permille = 50;
        for node in 0..100 {
            net.add(node);
            net.command(node, Route::Join((node > 0).then_some(0)));
            net.run_for(Duration::from_secs(1));
        }
        net.run_for(10 * MINUTE);
        assert!(net.nodes.values().all(Kademlia::is_member), "seed {seed}");
        let (right, all) = everybody_finds(&mut net, 100);
        // The root itself may be the one whose answer got lost: 1 - .95^2 of finds.
        assert!(right * 100 >= all * 75, "seed {seed}: {right} of {all}");
        let any: usize = answers(&net).values().filter(|(peers, _)| peers.is_empty()).count();
        assert_eq!(any, 0, "seed {seed}");
    }
}

/// Section 3 of the paper: with high probability a look-up takes at most log2 N steps.
#[test]
fn in_a_stable_network_all_is_found_in_at_most_log_n_hops() {
    for seed in 0..3 {
        let enough = if seed == 0 { 20 } else { Config::default().enough };
        let mut net = Net::new(seed, 160, Config { enough, ..Config::default() });
        net.converged(1024);
        for op in 0..200 {
            find(&mut net, op * 5, op, key(op));
        }
        net.run_for(MINUTE);
        let answers = answers(&net);
        for op in 0..200 {
            let (peers, cost) = &answers[&op];
            assert_eq!(*peers, truly_closest(&net, key(op), enough), "seed {seed}, find {op}");
            assert!(cost.hops <= 10 && cost.timeouts == 0, "{cost:?}");
        }
        let mean = answers.values().map(|(_, cost)| f64::from(cost.hops)).sum::<f64>() / 200.0;
        assert!((1.2..3.0).contains(&mean), "mean hops {mean}");
    }
}

#[test]
fn a_find_may_end_early_and_parallelism_may_be_strict() {
    let messages = |enough: usize, strict: bool| {
        let mut net = Net::new(5, 160, Config { enough, strict, ..Config::default() });
        net.converged(500);
        let started = net.outside.now;
        for op in 0..50 {
            find(&mut net, op, op, key(op));
        }
        net.run_for(MINUTE);
        let answers = answers(&net);
        let root_found = (0..50).filter(|op| answers[op].0[0] == truly_closest(&net, key(*op), 1)[0]).count();
        assert!(root_found >= 49, "{root_found} of 50");
        let last = net.outside.events.last().map(|event| event.0.since(started)).unwrap();
        (net.outside.sent.values().map(|sent| sent.0).sum::<u64>(), last)
    };
    let (all, quick) = messages(20, false);
    let (few, _) = messages(3, false);
    let (strict, slow) = messages(20, true);
    assert!(few * 2 < all, "{few} messages against {all}");
    assert!(strict <= all && slow > quick, "{strict} in {slow:?} against {all} in {quick:?}");
}

#[test]
fn what_no_honest_peer_sends_changes_nothing_and_is_counted() {
    let mut net = Net::new(1, 160, Config::default());
    net.converged(50);
    find(&mut net, 0, 1, key(1));
    let open = net.outside.events.len();
    let before = net.nodes[&0].known();
    let rpc = RpcId(9);
    let found = |peers: Vec<u32>| KademliaMessage::Found { rpc, peers: List::new(peers), why: Why::Node };
    let find = |hops| KademliaMessage::Find { rpc, key: key(1), op: 0, hops, why: Why::Node };
    let send = |hops| KademliaMessage::Send {
        parcel: Box::new(starling_overlay::kademlia::Parcel { key: key(1), hops, payload: List::default() }),
    };
    for (message, offence) in [
        (found(vec![1, 2]), Offence::UnknownReply),
        (KademliaMessage::Pong { rpc }, Offence::UnknownReply),
        (found(vec![1, 0]), Offence::NamesItself),
        (found(vec![777]), Offence::NamesItself),
        (found((100..132).collect()), Offence::TooMany),
        (find(0), Offence::OutOfRange),
        (find(MAX_HOPS + 1), Offence::OutOfRange),
        (send(0), Offence::OutOfRange),
        (send(MAX_HOPS), Offence::OutOfRange),
        (send(MAX_HOPS + 1), Offence::OutOfRange),
    ] {
        net.outside.offences.clear();
        net.inject(777, 0, message.clone());
        assert_eq!(net.outside.offences, [(0, offence)], "{message:?}");
    }
    net.inject(0, 0, find(1));
    assert_eq!(net.outside.offences.last(), Some(&(0, Offence::NamesItself)));
    assert_eq!((net.nodes[&0].known(), net.outside.events.len()), (before, open));
    net.run_for(MINUTE);
    assert_eq!(answers(&net)[&1].0, truly_closest(&net, key(1), Config::default().enough));
}

#[test]
fn time_that_goes_back_is_refused() {
    let mut net = Net::new(1, 160, Config::default());
    net.converged(30);
    net.run_for(MINUTE);
    find(&mut net, 0, 1, key(1));
    net.outside.now = starling_sansio::Time::ZERO;
    let sent = net.outside.sent.clone();
    net.inject(1, 0, KademliaMessage::Ping { rpc: RpcId(1) });
    assert_eq!(net.outside.offences, [(0, Offence::TimeWentBack)]);
    assert_eq!(net.outside.sent, sent);
}

#[test]
fn a_flood_of_strangers_is_bounded() {
    let mut net = Net::new(1, 160, Config::default());
    net.converged(100);
    let mut most = 0;
    for stranger in 1000..6000u32 {
        let rpc = RpcId(stranger);
        net.inject(
            stranger,
            0,
            KademliaMessage::Find { rpc, key: key(stranger), op: 1, hops: 1, why: Why::Node },
        );
        net.inject(
            stranger,
            0,
            KademliaMessage::Found { rpc, peers: List::new(vec![stranger + 1]), why: Why::Node },
        );
        net.inject(stranger, 0, KademliaMessage::Leave {});
        find(&mut net, 0, stranger, key(stranger));
        most = most.max(net.nodes[&0].state_bytes());
    }
    // 32 look-ups of 40 candidates, 32 pings, a table of at most 32 * 22 peers.
    assert!(most < 32 * 2560 + 32 * 32 + 4096, "{most}");
    let contacts: Vec<u32> = net.nodes[&0].neighbor_set(200, &net.outside);
    assert!(contacts.iter().all(|&peer| peer < 100), "nobody is believed unproven: {contacts:?}");
    net.run_for(10 * MINUTE);
    assert!(net.nodes[&0].state_bytes() < 2048);
    assert_eq!(answers(&net).len(), 5000);
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let run = |seed| {
        let mut net =
            joined(seed, 50, Duration::from_millis(300), Config { k: 5, paths: 3, ..Config::default() });
        net.outside.loss_permille = 100;
        (0..10).for_each(|node| net.kill(node * 5));
        everybody_finds(&mut net, 40);
        (net.outside.events, net.outside.sent)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn who_lives_long_stays() {
    for eager in [false, true] {
        let mut net = Net::new(2, 160, Config { k: 4, eager, ..Config::default() });
        net.converged(40);
        let old: Vec<u32> = net.nodes[&0].neighbor_set(200, &net.outside);
        for node in 100..300 {
            net.add(node);
            net.command(node, Route::Join(Some(0)));
            net.run_for(Duration::from_secs(1));
        }
        let now: Vec<u32> = net.nodes[&0].neighbor_set(200, &net.outside);
        let stayed = old.iter().filter(|peer| now.contains(peer)).count();
        assert_eq!(stayed, old.len(), "eager {eager}: they answered all the time");
    }
}

#[test]
fn a_lonely_node_finds_itself_and_joins_again_when_there_is_somebody() {
    let mut net = Net::new(1, 160, Config::default());
    net.add(0);
    find(&mut net, 0, 0, key(1));
    net.command(0, Route::Join(None));
    find(&mut net, 0, 1, key(1));
    net.add(1);
    net.command(1, Route::Join(Some(2)));
    net.run_for(MINUTE);
    assert!(!net.nodes[&1].is_member());
    net.add(2);
    net.command(2, Route::Join(Some(0)));
    net.run_for(MINUTE);
    assert!(net.nodes[&1].is_member(), "it tried again");
    find(&mut net, 1, 2, key(1));
    net.run_for(MINUTE);
    let answers = answers(&net);
    assert_eq!((answers[&0].0.clone(), answers[&1].0.clone()), (vec![], vec![0]));
    assert_eq!(answers[&2].0, truly_closest(&net, key(1), 3));
}

#[test]
fn a_payload_is_delivered_at_the_root() {
    let mut net = Net::new(4, 160, Config::default());
    net.converged(300);
    for number in 0..50 {
        let payload = vec![number as u8].into();
        net.command(number, Route::Send { key: key(number), payload, hint: None });
    }
    net.run_for(MINUTE);
    let mut delivered = 0;
    for (_, node, event) in &net.outside.events {
        if let Routing::Deliver { key, payload, cost } = event {
            delivered += 1;
            assert_eq!(*key, self::key(u32::from(payload[0])));
            assert_eq!(vec![*node], truly_closest(&net, *key, 1));
            assert!(cost.hops <= 8);
        }
    }
    assert_eq!(delivered, 50);
}

#[test]
fn a_find_for_a_value_says_whom_to_answer() {
    let mut net = Net::new(4, 160, Config::default());
    net.converged(100);
    net.outside.log = Some(Vec::new());
    net.command(7, Route::Find { op: Op(99), key: key(1), values: true });
    net.run_for(MINUTE);
    let log = net.outside.log.take().unwrap();
    let wanted: Vec<_> =
        log.iter().filter_map(|(from, _, message)| Kademlia::wants(*from, message)).collect();
    assert!(wanted.len() >= Config::default().enough);
    assert!(wanted.iter().all(|one| (one.key, one.origin, one.op) == (key(1), 7, Op(99)) && one.hops > 0));
    net.command(7, Route::Find { op: Op(100), key: key(2), values: true });
    net.command(7, Route::Cancel(Op(100)));
    net.run_for(MINUTE);
    assert_eq!(answers(&net).len(), 1, "a forgotten find says nothing");
    assert_eq!(net.outside.offences, []);
}

#[test]
fn own_keys_are_a_range_if_they_are_one() {
    let mut net = Net::even(1, 6, 16, Config { bits: 6, ..Config::default() });
    net.converged(16);
    for (&node, core) in &net.nodes {
        let own = net.outside.place(node);
        let (after, last) = core.range(node, 0, own, &net.outside).unwrap();
        let mine = |key: &u64| Id::small(*key, 6).between_or_at(after, last);
        let keys: Vec<u64> = (0..64).filter(mine).collect();
        let rooted: Vec<u64> =
            (0..64).filter(|&key| truly_closest(&net, Id::small(key, 6), 1) == [node]).collect();
        assert_eq!(keys, rooted);
        assert_eq!(core.range(node, 0, own.plus(Id::bit(0)), &net.outside), None);
    }
}
