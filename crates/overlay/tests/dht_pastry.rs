//! Postings on top of Pastry.

mod common;
#[path = "common/locate.rs"]
mod locate;

use std::time::Duration;

use common::World;
use locate::{a_life, missed, network, record};
use starling_overlay::dht::{Dht, DhtConfig};
use starling_overlay::pastry::{Config, Pastry};
use starling_overlay::{Command, Core, Event, Op, Overlay};

type Node = Dht<u32, Pastry<u32>>;

fn config() -> DhtConfig<Config> {
    Node::config(Config::default())
}

#[test]
fn a_hundred_nodes_live_over_ten_seeds() {
    for seed in 0..10 {
        a_life::<Pastry<u32>>(seed, 100, config());
    }
}

#[test]
fn a_hundred_nodes_live_with_iterative_finds() {
    a_life::<Pastry<u32>>(20, 100, Node::config(Config { iterative: true, ..Config::default() }));
}

#[test]
fn with_five_percent_loss_nearly_everything_is_found() {
    let mut world = network::<Pastry<u32>>(21, 60, config());
    world.outside.loss_permille = 50;
    world.run_for(Duration::from_secs(600));
    let missed = missed(&mut world, 4);
    assert!(missed.len() <= 60 * 15 / 200, "{missed:?}");
}

/// A node on the way that answers a look-up itself acknowledges the hop all the same:
/// nobody takes it for dead.
#[test]
fn an_answer_on_the_way_is_no_silence() {
    let mut world = World::<Node>::new(22, 160, config());
    world.converged(100);
    world.command(1, Command::Publish(record(1)));
    world.run_for(Duration::from_secs(5));
    world.outside.events.clear();
    for node in 0..100 {
        world.command(node, Command::LookUp(Op(node), record(1).key));
    }
    world.run_for(Duration::from_secs(10));
    let updates = world.outside.events.iter().filter(|one| matches!(one.2, Event::Update { .. }));
    assert_eq!(updates.count(), 0);
    let pings = world.outside.sent.get(&starling_overlay::Purpose::Maintenance).copied().unwrap_or_default();
    let hits = world.outside.events.iter().filter(|one| matches!(one.2, Event::Hits { .. })).count();
    assert_eq!((hits, world.outside.offences.len()), (100, 0));
    println!("{} maintenance messages", pings.0);
}

#[test]
fn it_has_a_name_and_is_small() {
    assert_eq!(<Node as Overlay<u32>>::NAME, "pastry");
    assert!(size_of::<<Node as Core<u32>>::Message>() <= 64, "{}", size_of::<<Node as Core<u32>>::Message>());
}

/// A publisher that its record's root cannot answer, at no time: those who do answer
/// keep the record, as many as there should be.
#[test]
fn what_a_root_never_answers_is_kept_by_as_many_others() {
    let mut world = network::<Pastry<u32>>(23, 200, config());
    let known = world.nodes[&0].known();
    let nearest = |number: u32| {
        let place = |node: &u32| world.outside.place(*node).ring_distance(record(number).key);
        let mut all: Vec<u32> = world.nodes.keys().copied().collect();
        all.sort_by_key(place);
        all
    };
    let far = |number: &u32| nearest(*number)[..6].iter().all(|node| *node != 0 && !known.contains(node));
    let number = (0..).find(far).unwrap();
    let root = nearest(number)[0];
    world.outside.cut = Some(Box::new(move |from, to| from == root && to == 0));
    world.command(0, Command::Publish(record(number)));
    world.run_for(Duration::from_secs(180));
    let keeps = |node: &&Node| node.kept_keys().contains(&record(number).key);
    let kept = world.nodes.values().filter(keeps).count();
    assert!(kept >= 4, "only {kept} keep it");
}
