//! What was withdrawn is not found, whatever came and went meanwhile, on each of the
//! structured overlays.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::World;
use starling_overlay::chord::Chord;
use starling_overlay::dht::Dht;
use starling_overlay::kademlia::Kademlia;
use starling_overlay::pastry::Pastry;
use starling_overlay::{Command, Core, Event, Id, KeyBased, Op, Record};

type Net<K> = World<Dht<u32, K>>;

const MINUTE: Duration = Duration::from_secs(60);

fn record(number: u32) -> Record {
    let name = format!("number {number}").as_str().into();
    Record { key: Id::hash(&number.to_be_bytes()), name, size: 1 }
}

/// How many members find one of the records that node 1 published.
fn finders<K: KeyBased<u32>>(net: &mut Net<K>, records: u32) -> usize {
    net.outside.events.clear();
    let members: Vec<u32> = net.nodes.iter().filter(|one| one.1.is_member()).map(|one| *one.0).collect();
    for number in 0..records {
        members.iter().for_each(|&node| net.command(node, Command::LookUp(Op(number), record(number).key)));
        net.run_for(Duration::from_secs(20));
    }
    let hits = net.outside.events.iter().filter(|one| matches!(one.2, Event::Hits { .. }));
    hits.count()
}

/// After one crowd or several, each of which doubles the network, node 1 withdraws what it
/// published before them: how often that is found, by how many.
fn withdrawn_after_crowds<K: KeyBased<u32, Config: Default>>(
    seed: u64,
    crowds: u32,
    loss_permille: u64,
) -> usize {
    let mut net = Net::<K>::new(seed, 160, Dht::<u32, K>::config(K::Config::default()));
    for node in 0..60 {
        net.add(node);
        net.command(node, Command::Join((node > 0).then_some(0)));
        net.run_for(Duration::from_millis(500));
    }
    net.run_for(MINUTE);
    (0..5).for_each(|number| net.command(1, Command::Publish(record(number))));
    net.run_for(MINUTE / 2);
    for crowd in 0..crowds {
        let before = 60 << crowd;
        for node in before..2 * before {
            net.add(node);
            net.command(node, Command::Join(Some(node % before)));
            net.run_for(Duration::from_secs(10) / before);
        }
        net.run_for(MINUTE / 2);
    }
    net.outside.loss_permille = loss_permille;
    (0..5).for_each(|number| net.command(1, Command::Withdraw(record(number).key)));
    net.run_for(4 * MINUTE);
    net.outside.loss_permille = 0;
    finders(&mut net, 5)
}

fn gone_after_crowds<K: KeyBased<u32, Config: Default>>() {
    for (crowds, loss_permille) in [(1, 0), (2, 0), (1, 50), (2, 50)] {
        for seed in 0..2 {
            let found = withdrawn_after_crowds::<K>(seed, crowds, loss_permille);
            assert_eq!(found, 0, "{}, {crowds} crowds, seed {seed}, loss {loss_permille}", K::NAME);
        }
    }
}

#[test]
fn what_was_withdrawn_after_crowds_came_is_not_found() {
    gone_after_crowds::<Chord<u32>>();
    gone_after_crowds::<Pastry<u32>>();
    gone_after_crowds::<Kademlia<u32>>();
}

/// Of how many keys of a thousand records, withdrawn by leaving or one by one, something is
/// kept after it.
fn left_over<K: KeyBased<u32, Config: Default>>(leaves: bool) -> usize {
    let mut net = Net::<K>::new(3, 160, Dht::<u32, K>::config(K::Config::default()));
    net.converged(100);
    (0..1000).for_each(|number| net.command(1, Command::Publish(record(number))));
    net.run_for(20 * MINUTE);
    let kept = |net: &Net<K>| net.nodes.values().flat_map(Dht::kept_keys).collect::<BTreeSet<Id>>().len();
    assert_eq!(kept(&net), 2001, "{}: their own keys, their numbers, and a word of all", K::NAME);
    if leaves {
        net.command(1, Command::Leave);
        net.run_for(Duration::from_secs(6));
        assert!(!net.nodes[&1].is_member());
    } else {
        (0..1000).for_each(|number| net.command(1, Command::Withdraw(record(number).key)));
        net.run_for(20 * MINUTE);
    }
    kept(&net)
}

#[test]
fn who_leaves_withdraws_a_thousand_records() {
    assert_eq!(left_over::<Chord<u32>>(true), 0);
    assert_eq!(left_over::<Pastry<u32>>(true), 0);
    assert_eq!(left_over::<Kademlia<u32>>(true), 0);
}

#[test]
fn a_thousand_records_are_withdrawn_one_by_one() {
    assert_eq!(left_over::<Chord<u32>>(false), 0);
    assert_eq!(left_over::<Pastry<u32>>(false), 0);
    assert_eq!(left_over::<Kademlia<u32>>(false), 0);
}
