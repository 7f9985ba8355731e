//! FastTrack in virtual time: joins, elections, searches, deaths.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::World;
use common::user::{self, record, result};
use starling_overlay::fasttrack::{Config, FastTrack, Message};
use starling_overlay::gnutella::{self, Gnutella, QueryId};
use starling_overlay::{Command, Core, Id, Op, Outcome, Query};
use starling_sansio::Rng;

type Net = World<FastTrack<u32>>;

const MINUTE: Duration = Duration::from_secs(60);

/// Small houses, so that a hundred nodes need several.
fn config(seed: u64) -> Config {
    Config { leaves: 10, links: 6, seed, ..Config::default() }
}

/// Nodes 0 to `count` join, each through an earlier one, `gap` apart, or all at once
/// through node 0; each publishes the record of its number.
fn grown(seed: u64, count: u32, gap: Duration, config: Config) -> Net {
    let mut net = Net::new(seed, 64, config);
    user::grow(&mut net, seed, count, gap);
    net
}

fn supers(net: &Net) -> Vec<u32> {
    net.nodes.iter().filter(|(_, core)| core.is_super()).map(|(&node, _)| node).collect()
}

/// The share of look-ups by all nodes for the records of `numbers` that found them.
fn found(net: &mut Net, numbers: &[u32]) -> f64 {
    user::share_found(net, numbers, Duration::from_secs(15))
}

/// Every leaf has a super-peer that has it as a leaf, no house is too full, and the
/// super-peers are one network.
fn assert_sound(net: &Net, room: usize) {
    for (&node, core) in &net.nodes {
        assert!(core.is_member(), "{node} is no member");
        assert!(core.leaves().count() <= room);
        match core.parent() {
            Some(parent) => {
                let parent = net.nodes.get(&parent).expect("the super-peer lives");
                assert!(parent.is_super() && parent.leaves().any(|leaf| leaf == node));
            }
            None => assert!(core.is_super(), "{node} is nothing"),
        }
    }
    let all = supers(net);
    let mut reached = BTreeSet::new();
    let mut next: Vec<u32> = all.first().copied().into_iter().collect();
    while let Some(node) = next.pop() {
        if reached.insert(node) {
            next.extend(net.nodes.get(&node).into_iter().flat_map(FastTrack::links));
        }
    }
    assert_eq!(reached.len(), all.len(), "the super-peers fell apart");
}

#[test]
fn sixty_nodes_join_one_after_another_and_find_everything() {
    let mut net = grown(1, 60, Duration::from_secs(1), config(1));
    assert_sound(&net, 10);
    assert!((6..=20).contains(&supers(&net).len()), "{:?}", supers(&net));
    let all: Vec<u32> = (0..60).collect();
    assert_eq!(found(&mut net, &all), 1.0);
}

#[test]
fn two_hundred_nodes_join_at_once_through_one() {
    let mut net = grown(2, 200, Duration::ZERO, config(2));
    net.run_for(2 * MINUTE);
    assert_sound(&net, 10);
    assert_eq!(found(&mut net, &[0, 77, 199]), 1.0);
}

#[test]
fn those_who_leave_take_their_records_along_and_nothing_else() {
    let mut net = grown(3, 60, Duration::from_secs(1), config(3));
    let mut nodes: Vec<u32> = (0..60).collect();
    Rng::from_seed(3).shuffle(&mut nodes);
    let (gone, left) = nodes.split_at(30);
    for &node in gone {
        net.command(node, Command::Leave);
        net.run_for(Duration::from_secs(1));
        assert!(!net.nodes[&node].is_member() && net.nodes[&node].next_timeout().is_none());
        net.kill(node);
    }
    net.run_for(2 * MINUTE);
    assert_sound(&net, 10);
    assert_eq!(found(&mut net, &left[..3]), 1.0);
    assert_eq!(found(&mut net, &gone[..2]), 0.0);
}

#[test]
fn a_super_peer_that_leaves_hands_its_house_over_at_once() {
    for seed in 0..5 {
        let mut net = grown(seed, 60, Duration::from_secs(1), config(seed));
        let leaving = supers(&net)[seed as usize];
        let house: Vec<u32> = net.nodes[&leaving].leaves().collect();
        net.command(leaving, Command::Leave);
        net.run_for(Duration::from_secs(1));
        net.kill(leaving);
        let heirs: Vec<u32> = house.iter().copied().filter(|leaf| net.nodes[leaf].is_super()).collect();
        assert_eq!(heirs.len(), 1, "seed {seed}: {heirs:?}");
        // One that asked the heir before it knew of its luck may be sent to others.
        for leaf in house.iter().filter(|&&leaf| leaf != heirs[0]) {
            let parent = net.nodes[leaf].parent().and_then(|parent| net.nodes.get(&parent));
            assert!(parent.is_some_and(FastTrack::is_super), "seed {seed}: {leaf} has no super-peer");
        }
        let here: Vec<u32> = house.iter().copied().take(5).collect();
        assert_eq!(found(&mut net, &here), 1.0, "seed {seed}");
    }
}

#[test]
fn a_third_of_the_super_peers_dies_at_once_and_their_leaves_find_others() {
    for seed in 0..10 {
        let mut net = grown(seed, 100, Duration::from_millis(300), config(seed));
        let mut doomed = supers(&net);
        Rng::from_seed(seed).shuffle(&mut doomed);
        doomed.truncate(doomed.len() / 3);
        let orphans: Vec<u32> = net
            .nodes
            .iter()
            .filter_map(|(&node, core)| core.parent().filter(|parent| doomed.contains(parent)).map(|_| node))
            .collect();
        assert!(orphans.len() >= 10, "seed {seed}");
        doomed.iter().for_each(|&node| net.kill(node));
        net.run_for(2 * MINUTE);
        assert_sound(&net, 10);
        assert_eq!(found(&mut net, &orphans[..3]), 1.0, "seed {seed}");
    }
}

/// Whether its super-peer died or only no longer answers queries.
#[test]
fn a_search_moves_on_from_a_super_peer_that_does_not_answer() {
    for (seed, dies) in (0..4).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut net = grown(seed, 60, Duration::from_secs(1), config(seed));
        let silent = supers(&net)[1];
        let house: Vec<u32> = net.nodes[&silent].leaves().collect();
        let other = (0..60).find(|node| *node != silent && !house.contains(node)).unwrap();
        if dies {
            net.kill(silent);
        } else {
            net.outside.drops = Some(Box::new(move |from, _, message| {
                from == silent && matches!(message, Message::Hits { .. })
            }));
        }
        for &leaf in &house {
            net.command(leaf, Command::LookUp(Op(1), record(other).key));
        }
        net.run_for(MINUTE);
        let ends = house.iter().map(|&leaf| result(&net, leaf, 1).1);
        let found = ends.filter(|end| *end == Some(Outcome::Found)).count();
        // Others go on naming one that lives, and pass queries to it.
        let least = if dies { house.len() } else { house.len() / 2 };
        assert!(found >= least, "seed {seed}, it dies: {dies}: {found} of {}", house.len());
    }
}

#[test]
fn a_third_of_all_dies_at_once() {
    for seed in 0..10 {
        let mut net = grown(seed, 100, Duration::from_millis(300), config(seed));
        let mut nodes: Vec<u32> = (0..100).collect();
        Rng::from_seed(seed).shuffle(&mut nodes);
        nodes[..33].iter().for_each(|&node| net.kill(node));
        net.run_for(3 * MINUTE);
        assert_sound(&net, 10);
        assert_eq!(found(&mut net, &nodes[97..]), 1.0, "seed {seed}");
    }
}

#[test]
fn one_message_of_twenty_gets_lost() {
    let mut net = Net::new(5, 64, config(5));
    net.outside.loss_permille = 50;
    for node in 0..100 {
        net.add(node);
        net.command(node, Command::Publish(record(node)));
        net.command(node, Command::Join((node > 0).then_some(node / 2)));
        net.run_for(Duration::from_millis(500));
    }
    net.run_for(3 * MINUTE);
    assert!(net.nodes.values().all(FastTrack::is_member));
    let share = found(&mut net, &[3, 50, 98]);
    assert!(share > 0.89, "{share}");
}

/// Nodes 0 to 99 stay for three hours and look for things now and then; fifty others
/// come and go.
fn after_some_churn(seed: u64, config: Config) -> Net {
    let mut net = Net::new(seed, 64, config);
    let mut rng = Rng::from_seed(seed);
    for node in 0..150 {
        net.add(node);
        net.command(node, Command::Publish(record(node)));
        net.command(node, Command::Join((node > 0).then_some(0)));
        net.run_for(Duration::from_millis(100));
    }
    // The eldest of the fifty newest makes room for another: those live 50 minutes.
    for minute in 0..180u32 {
        let victim = net.nodes.keys().copied().find(|&node| node >= 100);
        victim.into_iter().for_each(|node| net.kill(node));
        let name = 150 + minute;
        net.add(name);
        net.command(name, Command::Publish(record(name)));
        net.command(name, Command::Join(Some(0)));
        for _ in 0..10 {
            let asking = rng.below(100) as u32;
            let key = record(rng.below(100) as u32).key;
            net.command(asking, Command::LookUp(Op(minute), key));
        }
        net.run_for(MINUTE);
    }
    net
}

#[test]
fn the_capable_and_lasting_become_super_peers() {
    let (mut capacity_of_supers, mut capacity_of_all, mut lasting) = (0.0, 0.0, 0.0);
    for seed in 0..10 {
        let config = config(seed);
        let net = after_some_churn(seed, config.clone());
        let capacity = |node: u32| f64::from(config.capacity_at(net.outside.place(node)));
        let mean = |nodes: &[u32]| nodes.iter().map(|&node| capacity(node)).sum::<f64>() / nodes.len() as f64;
        let (chosen, all): (Vec<u32>, Vec<u32>) = (supers(&net), net.nodes.keys().copied().collect());
        capacity_of_supers += mean(&chosen) / 10.0;
        capacity_of_all += mean(&all) / 10.0;
        // Nodes below 100 have been there from the start.
        lasting += chosen.iter().filter(|&&node| node < 100).count() as f64 / chosen.len() as f64 / 10.0;
    }
    println!("capacity {capacity_of_supers} of {capacity_of_all}; share that lasts {lasting}");
    assert!(capacity_of_supers > 2.0 * capacity_of_all, "{capacity_of_supers} of {capacity_of_all}");
    // They are two thirds of all.
    assert!(lasting > 0.75, "{lasting}");
}

#[test]
fn recall_and_cost_beside_a_flood_through_gnutella() {
    const NODES: u32 = 2000;
    let fast = Config { leaves: 40, ..Config::default() };
    let mut net = Net::new(8, 64, fast);
    net.converged(NODES);
    let mut flat = World::<Gnutella<u32>>::new(8, 64, gnutella::Config::default());
    flat.converged(NODES);
    for node in (0..NODES).step_by(20) {
        net.command(node, Command::Publish(record(node)));
        flat.command(node, Command::Publish(record(node)));
    }
    net.run_for(MINUTE);
    flat.run_for(MINUTE);
    for asking in [1, 333, 777, 1501, 1999] {
        let query = Query { text: "star* song".into(), wanted: 1000 };
        net.command(asking, Command::Search(Op(1), query.clone()));
        flat.command(asking, Command::Search(Op(1), query));
    }
    net.run_for(MINUTE);
    flat.run_for(MINUTE);
    let recall = |found: usize| found as f64 / 500.0;
    let asking = [1, 333, 777, 1501, 1999];
    let ours = recall(asking.iter().map(|&node| result(&net, node, 1).0).sum());
    let theirs = recall(asking.iter().map(|&node| result(&flat, node, 1).0).sum());
    let queries: u32 = net.nodes.values().map(|core| core.counters().queries).sum();
    let flood: u32 = flat.nodes.values().map(|core| core.counters().queries).sum();
    println!("fasttrack: recall {ours}, {} queries a search; gnutella {theirs}, {}", queries / 5, flood / 5);
    assert!(ours >= 0.99, "{ours}");
    assert!(queries * 10 < flood, "{queries} against {flood}");
}

fn net_capacity(net: &Net, node: u32) -> u8 {
    config(9).capacity_at(net.outside.place(node))
}

#[test]
fn a_full_house_sends_newcomers_on_and_finds_an_heir() {
    let mut net = grown(9, 11, Duration::from_secs(1), config(9));
    assert_eq!(supers(&net), [0]);
    assert_eq!(net.nodes[&0].leaves().count(), 10);
    net.add(11);
    net.command(11, Command::Join(Some(0)));
    net.run_for(MINUTE);
    let capacity = |node: u32| net_capacity(&net, node);
    let most = (1..11).map(capacity).max();
    assert_eq!(supers(&net).len(), 2, "one leaf was promoted");
    assert_eq!(Some(capacity(supers(&net)[1])), most, "the one that can bear most");
    assert_sound(&net, 10);
    assert_eq!(found(&mut net, &[1, 5, 10]), 1.0);
}

#[test]
fn a_shrinking_network_needs_fewer_super_peers() {
    let mut net = grown(10, 100, Duration::from_millis(300), config(10));
    let before = supers(&net).len();
    for node in 0..80 {
        net.command(node, Command::Leave);
        net.run_for(Duration::from_secs(2));
        net.kill(node);
    }
    net.run_for(10 * MINUTE);
    assert_sound(&net, 10);
    let after = supers(&net).len();
    assert!(after * 2 <= before && after <= 5, "{before}, then {after}");
    assert_eq!(found(&mut net, &[80, 99]), 1.0);
}

#[test]
fn withdrawn_records_are_found_no_more() {
    let mut net = grown(11, 30, Duration::from_secs(1), config(11));
    let leaf = net.nodes.iter().find(|(_, core)| !core.is_super()).map(|(&node, _)| node).unwrap();
    net.command(leaf, Command::Withdraw(record(leaf).key));
    for number in 100..200 {
        net.command(leaf, Command::Publish(record(number)));
    }
    net.run_for(MINUTE);
    assert_eq!(found(&mut net, &[leaf]), 0.0);
    assert_eq!(found(&mut net, &[100, 155, 199]), 1.0);
    net.command(leaf, Command::Find(Op(7), Id::ZERO));
    assert_eq!(result(&net, leaf, 7).1, Some(Outcome::Refused));
}

/// One super-peer, 0, with the leaves 1 to 9.
fn one_house() -> Net {
    let net = grown(12, 10, Duration::from_secs(1), config(12));
    assert_eq!(supers(&net), [0]);
    net
}

#[test]
fn vouches_count_once_a_voucher_and_only_from_those_who_are_known() {
    let mut net = one_house();
    let vouch = || Message::Vouch { id: QueryId(1), ttl: 3, provider: 5 };
    net.inject(1, 0, vouch());
    assert_eq!(net.nodes[&0].vouchers(5), 0, "1 is on probation");
    net.run_for(10 * MINUTE);
    for from in [1, 1, 2, 1, 2, 99] {
        net.inject(from, 0, vouch());
    }
    assert_eq!(net.nodes[&0].vouchers(5), 2, "1 and 2; 99 is a stranger");
    net.inject(5, 0, vouch());
    assert_eq!(net.nodes[&0].vouchers(5), 2, "nobody vouches for itself");
}

#[test]
fn a_search_that_was_served_is_vouched_for() {
    let mut net = grown(13, 60, Duration::from_secs(1), config(13));
    net.run_for(10 * MINUTE);
    let leaf = |net: &Net, node: u32| net.nodes[&node].parent();
    let all: Vec<u32> = net.nodes.keys().copied().filter(|&node| leaf(&net, node).is_some()).collect();
    let serving = all[0];
    let home = leaf(&net, serving).unwrap();
    let asking = all.iter().copied().find(|&node| leaf(&net, node) != Some(home)).unwrap();
    net.command(asking, Command::LookUp(Op(1), record(serving).key));
    net.run_for(MINUTE);
    assert_eq!(net.nodes[&home].vouchers(serving), 1);
}

#[test]
fn one_seed_gives_one_history() {
    let run = || {
        let mut net = grown(14, 50, Duration::from_millis(100), config(14));
        (0..10).for_each(|node| net.kill(node));
        net.run_for(MINUTE);
        found(&mut net, &[20, 30]);
        (format!("{:?}", net.outside.events), net.outside.sent.clone())
    };
    assert_eq!(run(), run());
}

#[test]
fn nodes_are_small() {
    let mut net = Net::new(15, 64, Config::default());
    net.converged(2000);
    net.run_for(10 * MINUTE);
    let bytes = |wanted: bool| {
        let all = net.nodes.values().filter(|core| core.is_super() == wanted).map(FastTrack::state_bytes);
        let all: Vec<usize> = all.collect();
        all.iter().sum::<usize>() / all.len()
    };
    println!("{} bytes a leaf, {} a super-peer", bytes(false), bytes(true));
    assert!(bytes(false) < 650 && bytes(true) < 10_000);
}

/// Hardly anybody knows more than the super-peer and whom it joined through.
#[test]
fn a_network_as_young_as_a_second_loses_its_founder_and_a_third() {
    let ms = Duration::from_millis;
    for seed in 0..30 {
        let config = Config {
            leaves: 20,
            links: 6,
            hop_time: ms(100),
            timeout: ms(500),
            interval: ms(2_000),
            ..config(seed)
        };
        let mut net = Net::new(seed, 64, config);
        net.outside.fixed_delay = Some(ms(1));
        let name = |n: u32| n.wrapping_mul(0x9e37_79b1).rotate_left(seed as u32);
        let mut inside = 0;
        while inside < 200 {
            let wave = if inside < 8 { 1 } else { 24.min(200 - inside) };
            for n in inside..inside + wave {
                net.add(name(n));
                net.command(name(n), Command::Join((n > 0).then(|| name(n * 7 % inside))));
            }
            while !net.nodes.values().all(FastTrack::is_member) {
                net.run_for(ms(10));
            }
            inside += wave;
        }
        net.run_for(ms(500));
        (0..200).step_by(3).for_each(|n| net.kill(name(n)));
        net.run_for(Duration::from_secs(90));
        let all = supers(&net);
        let mut met = vec![all[0]];
        let mut at = 0;
        while at < met.len() {
            let mut links: Vec<u32> = net.nodes[&met[at]].links().collect();
            links.retain(|other| !met.contains(other));
            met.extend(links);
            at += 1;
        }
        assert_eq!(met.len(), all.len(), "seed {seed}: the super-peers are in several parts");
        let leaves: usize = all.iter().map(|one| net.nodes[one].leaves().count()).sum();
        assert_eq!(leaves + all.len(), net.nodes.len(), "seed {seed}");
    }
}
