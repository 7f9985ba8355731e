//! Gnutella in virtual time: joins, searches, deaths.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::World;
use common::user::{self, record, result};
use starling_overlay::gnutella::{Config, Counters, Gnutella, MAX_SEARCHES, Message, Strategy as How};
use starling_overlay::{Command, Core, Event, Id, Input, Op, Outcome, Query, Record};
use starling_sansio::Rng;

type Net = World<Gnutella<u32>>;

const MINUTE: Duration = Duration::from_secs(60);

fn words(text: &str, wanted: u16) -> Query {
    Query { text: text.into(), wanted }
}

/// A network that nobody joined yet.
fn net(seed: u64, strategy: How) -> Net {
    Net::new(seed, 64, Config { strategy, seed, ..Config::default() })
}

const FLOOD: How = How::Flood { ttl: 7 };

/// Nodes 0 to `count` join, each through an earlier one, `gap` apart; each publishes
/// the record of its number.
fn grown(seed: u64, count: u32, gap: Duration, strategy: How) -> Net {
    let mut net = net(seed, strategy);
    user::grow(&mut net, seed, count, gap);
    net
}

/// The share of look-ups by all nodes for the records of `numbers` that found them.
fn found(net: &mut Net, numbers: &[u32]) -> f64 {
    user::share_found(net, numbers, Duration::from_secs(10))
}

/// All nodes are members, links have two ends, no degree is out of bounds, and there is
/// one network.
fn assert_sound(net: &Net) {
    let links = |node: u32| net.nodes.get(&node).map_or(vec![], |core| core.neighbours().collect());
    for (&node, core) in &net.nodes {
        assert!(core.is_member(), "{node} is no member");
        let degree = links(node).len();
        assert!((1..=8).contains(&degree), "{node} has {degree} links");
        for other in links(node) {
            assert!(links(other).contains(&node), "{node} is linked to {other}, not the other way");
        }
    }
    let mut reached = BTreeSet::new();
    let mut next: Vec<u32> = net.nodes.keys().next().copied().into_iter().collect();
    while let Some(node) = next.pop() {
        if reached.insert(node) {
            next.extend(links(node));
        }
    }
    assert_eq!(reached.len(), net.nodes.len(), "the network fell apart");
}

fn counted(net: &Net) -> Counters {
    net.nodes.values().map(Gnutella::counters).fold(Counters::default(), |sum, one| Counters {
        queries: sum.queries + one.queries,
        duplicates: sum.duplicates + one.duplicates,
        hits: sum.hits + one.hits,
        lost: sum.lost + one.lost,
        late: sum.late + one.late,
        pushes: sum.pushes + one.pushes,
        givs: sum.givs + one.givs,
    })
}

#[test]
fn sixty_nodes_join_one_after_another_and_find_everything() {
    let mut net = grown(1, 60, Duration::from_secs(1), FLOOD);
    assert_sound(&net);
    let all: Vec<u32> = (0..60).collect();
    assert_eq!(found(&mut net, &all), 1.0);
}

#[test]
fn two_hundred_nodes_join_at_once_through_one() {
    let mut net = grown(2, 200, Duration::ZERO, FLOOD);
    net.run_for(2 * MINUTE);
    assert_sound(&net);
    assert_eq!(found(&mut net, &[0, 77, 199]), 1.0);
}

#[test]
fn those_who_leave_take_their_records_along_and_nothing_else() {
    let mut net = grown(3, 60, Duration::from_secs(1), FLOOD);
    for node in 30..60 {
        net.command(node, Command::Leave);
        net.run_for(Duration::from_secs(1));
        assert!(!net.nodes[&node].is_member() && net.nodes[&node].next_timeout().is_none());
        net.kill(node);
    }
    assert!(net.outside.events.iter().filter(|event| event.2 == Event::Left).count() == 30);
    net.run_for(MINUTE);
    assert_sound(&net);
    assert_eq!(found(&mut net, &[0, 11, 29]), 1.0);
    assert_eq!(found(&mut net, &[45]), 0.0);
}

#[test]
fn who_leaves_says_so_and_the_gap_is_closed_at_once() {
    let mut net = grown(3, 60, Duration::from_secs(1), FLOOD);
    let neighbours: Vec<u32> = net.nodes[&7].neighbours().collect();
    net.outside.log = Some(Vec::new());
    net.command(7, Command::Leave);
    net.kill(7);
    let log = net.outside.log.take().unwrap();
    for &neighbour in &neighbours {
        let mut told = log.iter().filter(|entry| entry.1 == neighbour).map(|entry| &entry.2);
        let Some(Message::Bye { hosts }) = told.next() else { panic!("{neighbour} was not told") };
        let names = |&other: &u32| hosts.iter().any(|host| host.peer == other);
        assert!(neighbours.iter().any(names), "{neighbour} was named no other neighbour");
    }
    net.run_for(Duration::from_secs(1));
    for neighbour in neighbours {
        let links: Vec<u32> = net.nodes[&neighbour].neighbours().collect();
        assert!(!links.contains(&7) && links.len() >= 5, "{neighbour} has {links:?}");
    }
    assert_sound(&net);
}

#[test]
fn a_third_dies_at_once_and_the_rest_finds_itself_again() {
    for seed in 0..10 {
        let mut net = grown(seed, 100, Duration::from_millis(300), FLOOD);
        let mut nodes: Vec<u32> = (0..100).collect();
        Rng::from_seed(seed).shuffle(&mut nodes);
        for &node in &nodes[..33] {
            net.kill(node);
        }
        net.run_for(3 * MINUTE);
        assert_sound(&net);
        assert_eq!(found(&mut net, &nodes[97..]), 1.0, "seed {seed}");
    }
}

#[test]
fn a_broken_link_is_replaced_at_once() {
    let mut net = grown(4, 30, Duration::from_secs(1), FLOOD);
    let dead = net.nodes[&7].neighbours().next().unwrap();
    net.kill(dead);
    let now = net.outside.now;
    let unreachable = Input::Unreachable(dead);
    net.nodes.get_mut(&7).unwrap().handle(now, unreachable, &mut net.outside);
    assert!(!net.nodes[&7].known().contains(&dead));
    net.run_for(2 * MINUTE);
    assert_sound(&net);
}

#[test]
fn one_message_of_twenty_gets_lost() {
    let mut net = net(5, FLOOD);
    net.outside.loss_permille = 50;
    for node in 0..100 {
        net.add(node);
        net.command(node, Command::Publish(record(node)));
        net.command(node, Command::Join((node > 0).then_some(node / 2)));
        net.run_for(Duration::from_millis(500));
    }
    net.run_for(3 * MINUTE);
    assert!(net.nodes.values().all(Gnutella::is_member));
    // Floods come by many ways; a hit has only one back, of three links or so.
    let share = found(&mut net, &[3, 50, 98]);
    assert!(share > 0.75, "{share}");
}

/// The mean number of queries sent in a search of `strategy` for a word that a tenth of
/// 1000 nodes know, and the mean number of hits.
fn cost(strategy: How, loss_permille: u64) -> (f64, f64) {
    let mut net = net(6, strategy);
    net.converged(1000);
    net.outside.loss_permille = loss_permille;
    for node in (0..1000).step_by(10) {
        net.command(node, Command::Publish(record(node)));
    }
    let asking = [1, 202, 403, 604, 805];
    for node in asking {
        net.command(node, Command::Search(Op(0), words("STARLING so*", 10)));
    }
    net.run_for(5 * MINUTE);
    let ends = asking.map(|node| result(&net, node, 0));
    assert!(ends.iter().all(|end| end.1 == Some(Outcome::Found)), "{strategy:?}: {ends:?}");
    let hits: usize = ends.iter().map(|end| end.0).sum();
    (f64::from(counted(&net).queries) / 5.0, hits as f64 / 5.0)
}

#[test]
fn the_cheaper_strategies_find_as_much_as_is_wanted() {
    let flood = cost(FLOOD, 0);
    let ring = cost(How::ExpandingRing { first: 1, step: 1, last: 7 }, 0);
    let walkers = cost(How::Walkers { count: 16, check_every: 4, ttl: 512 }, 0);
    let dynamic = cost(How::Dynamic { probes: 2, probe_ttl: 2, ttl: 7 }, 0);
    for (hits, name) in [(ring.1, "ring"), (walkers.1, "walkers"), (dynamic.1, "dynamic")] {
        // Dynamic queries stop when the neighbours run out, wherever chance has led.
        assert!(hits >= 9.0, "{name}: {hits}");
    }
    println!("flood {flood:?} ring {ring:?} walkers {walkers:?} dynamic {dynamic:?}");
    assert!(flood.0 > 3000.0, "{flood:?}");
    assert!(ring.0 < flood.0 / 4.0, "{ring:?}");
    assert!(walkers.0 < flood.0 / 15.0, "{walkers:?}");
    assert!(dynamic.0 < flood.0 / 4.0, "{dynamic:?}");
}

#[test]
fn a_dynamic_query_for_what_is_rare_goes_as_far_as_it_may() {
    for seed in 0..5 {
        let mut net = net(seed, How::Dynamic { probes: 3, probe_ttl: 1, ttl: 7 });
        net.converged(1000);
        net.command(500, Command::Publish(record(500)));
        let asking: Vec<u32> = (1..1000).step_by(100).collect();
        for &node in &asking {
            net.command(node, Command::LookUp(Op(0), record(500).key));
        }
        net.run_for(5 * MINUTE);
        let found = asking.iter().filter(|&&node| result(&net, node, 0).1 == Some(Outcome::Found));
        // A flood finds it always; here one of five neighbours goes as far as a flood.
        assert!(found.clone().count() >= 9, "seed {seed}: {} of 10", found.count());
    }
}

/// Who has one neighbour probes nobody, and has no answers to wait for.
#[test]
fn a_dynamic_query_through_the_only_neighbour_waits_for_no_probe() {
    let mut net = net(1, How::Dynamic { probes: 3, probe_ttl: 2, ttl: 7 });
    net.converged(2);
    net.command(1, Command::Publish(record(1)));
    net.command(0, Command::LookUp(Op(0), record(1).key));
    net.run_for(Duration::from_secs(1));
    assert_eq!(result(&net, 0, 0).1, Some(Outcome::Found));
}

#[test]
fn walkers_that_get_lost_are_replaced() {
    let strategy = How::Walkers { count: 2, check_every: 4, ttl: 512 };
    let (_, hits) = cost(strategy, 100);
    assert!(hits >= 10.0);
}

#[test]
fn walkers_that_find_nothing_end() {
    let mut net = net(7, How::Walkers { count: 4, check_every: 4, ttl: 20 });
    net.converged(100);
    net.command(0, Command::LookUp(Op(1), record(1).key));
    net.run_for(2 * MINUTE);
    assert_eq!(result(&net, 0, 1), (0, Some(Outcome::NotFound)));
    assert_eq!(counted(&net).queries, 4 * 20);
}

#[test]
fn a_flood_sees_as_far_as_its_horizon() {
    let mut net = net(8, How::Flood { ttl: 3 });
    net.converged(2000);
    for node in 0..2000 {
        net.command(node, Command::Publish(Record { key: record(node).key, ..record(0) }));
    }
    net.command(0, Command::Search(Op(1), words("starling", 4000)));
    net.run_for(MINUTE);
    let counters = counted(&net);
    let seen = counters.queries - counters.duplicates;
    // 5 + 5·4 + 5·16 links, less where they meet; the origin's own record is one more.
    assert!((95..=105).contains(&seen), "{seen}");
    assert!(counters.queries <= 105, "{} queries: some went back", counters.queries);
    assert_eq!(result(&net, 0, 1), (seen as usize + 1, Some(Outcome::Found)));
}

#[test]
fn a_hit_behind_a_firewall_is_asked_to_speak_first() {
    let mut net = Net::new(9, 64, Config { degree: (1, 1), ..Config::default() });
    // 1 dials 0 and is never dialled; so does 2.
    for (node, boot) in [(0, None), (1, Some(0)), (2, Some(0))] {
        net.add(node);
        net.command(node, Command::Join(boot));
        net.run_for(Duration::from_secs(1));
    }
    net.command(1, Command::Publish(record(1)));
    assert!(net.nodes[&0].is_reachable() && !net.nodes[&1].is_reachable());
    net.command(2, Command::LookUp(Op(1), record(1).key));
    net.run_for(MINUTE);
    assert_eq!(result(&net, 2, 1), (1, Some(Outcome::Found)));
    assert_eq!((net.nodes[&0].counters().pushes, net.nodes[&2].counters().givs), (1, 1));
}

#[test]
fn what_one_has_itself_costs_nothing() {
    let mut net = grown(10, 10, Duration::from_secs(1), FLOOD);
    net.command(3, Command::LookUp(Op(1), record(3).key));
    assert_eq!(result(&net, 3, 1), (1, Some(Outcome::Found)));
    net.command(3, Command::Withdraw(record(3).key));
    net.command(3, Command::LookUp(Op(2), record(3).key));
    net.command(3, Command::Find(Op(3), record(3).key));
    net.run_for(MINUTE);
    assert_eq!(result(&net, 3, 2), (0, Some(Outcome::NotFound)));
    assert_eq!(result(&net, 3, 3), (0, Some(Outcome::Refused)));
}

#[test]
fn a_search_ends_once_whatever_happens() {
    let mut net = grown(11, 10, Duration::from_secs(1), FLOOD);
    for op in 0..=MAX_SEARCHES as u32 {
        net.command(3, Command::LookUp(Op(op), Id::ZERO));
    }
    assert_eq!(result(&net, 3, MAX_SEARCHES as u32).1, Some(Outcome::Refused));
    net.command(3, Command::Leave);
    assert!((0..MAX_SEARCHES as u32).all(|op| result(&net, 3, op).1 == Some(Outcome::Failed)));
    net.command(3, Command::LookUp(Op(100), Id::ZERO));
    assert_eq!(result(&net, 3, 100).1, Some(Outcome::Failed));
    net.command(3, Command::Join(Some(0)));
    net.run_for(MINUTE);
    assert_eq!(found(&mut net, &[3, 9]), 1.0);
}

#[test]
fn one_seed_gives_one_history() {
    let run = || {
        let mut net = grown(12, 50, Duration::from_millis(100), FLOOD);
        (0..10).for_each(|node| net.kill(node));
        net.run_for(MINUTE);
        found(&mut net, &[20, 30]);
        (format!("{:?}", net.outside.events), net.outside.sent.clone(), counted(&net))
    };
    assert_eq!(run(), run());
}

#[test]
fn a_quiet_node_is_small() {
    let mut net = net(17, FLOOD);
    net.converged(1000);
    net.run_for(10 * MINUTE);
    let bytes: usize = net.nodes.values().map(Gnutella::state_bytes).sum();
    println!("{} bytes a node", bytes / 1000);
    assert!(bytes / 1000 < 900, "{} bytes a node", bytes / 1000);
}
