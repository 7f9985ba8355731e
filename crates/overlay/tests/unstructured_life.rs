//! Joins, deaths, farewells, records that come and go, lost and late messages; then
//! quiet. In the end all that the living have is found, and nothing else.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::World;
use common::user::{hits, record};
use starling_overlay::fasttrack::FastTrack;
use starling_overlay::gnutella::Gnutella;
use starling_overlay::napster::Napster;
use starling_overlay::{Command, Op, Overlay, Query};
use starling_sansio::Rng;

const NODES: u32 = 40;
const RECORDS: u64 = 200;
const SEEDS: u64 = 5;

/// What a node has: its name, and the number of the record.
type Had = BTreeSet<(u32, u32)>;

/// One thing happens. `boots`: through whom each newcomer joins.
fn happen<C: Overlay<u32>>(net: &mut World<C>, rng: &mut Rng, has: &mut Had, boots: &mut BTreeMap<u32, u32>) {
    let alive: Vec<u32> = net.nodes.keys().copied().collect();
    let node = alive[rng.index(alive.len())];
    match rng.below(20) {
        0..9 => {
            let number = rng.below(RECORDS) as u32;
            net.command(node, Command::Publish(record(number)));
            has.insert((node, number));
        }
        9..15 => {
            let own: Vec<u32> = has.iter().filter(|one| one.0 == node).map(|one| one.1).take(2).collect();
            for number in own {
                net.command(node, Command::Withdraw(record(number).key));
                has.remove(&(node, number));
            }
        }
        15..17 => {
            let newcomer = NODES + boots.len() as u32;
            net.add(newcomer);
            net.command(newcomer, Command::Join(Some(node)));
            boots.insert(newcomer, node);
        }
        17..19 if alive.len() > 20 => {
            if rng.below(2) == 0 {
                net.command(node, Command::Leave);
            }
            net.kill(node);
            has.retain(|one| one.0 != node);
        }
        _ => net.unreachable(node, alive[rng.index(alive.len())]),
    }
}

/// Ten minutes of anything, then some of nothing; what is there, and what each of some
/// nodes finds.
fn a_life<C: Overlay<u32>>(seed: u64, config: C::Config) -> (Had, Vec<Had>) {
    let mut net = World::<C>::new(seed, 160, config);
    let (mut rng, mut has, mut boots) = (Rng::from_seed(seed), Had::new(), BTreeMap::new());
    net.converged(NODES);
    (net.outside.loss_permille, net.outside.jitter_us) = (50, 200_000);
    for _ in 0..600 {
        happen(&mut net, &mut rng, &mut has, &mut boots);
        net.run_for(Duration::from_secs(1));
    }
    (net.outside.loss_permille, net.outside.jitter_us) = (0, 0);
    net.run_for(Duration::from_secs(600));
    // Whose only name died before it had joined is outside.
    let outside: Vec<u32> =
        net.nodes.iter().filter(|(_, core)| !core.is_member()).map(|one| *one.0).collect();
    for node in outside {
        assert!(!net.nodes.get(&boots[&node]).is_some_and(C::is_member), "{node} could have joined");
        has.retain(|one| one.0 != node);
        net.kill(node);
    }
    let asking: Vec<u32> = net.nodes.keys().copied().step_by(net.nodes.len() / 3).collect();
    let found = asking.into_iter().map(|node| {
        net.outside.events.clear();
        for number in 0..RECORDS as u32 {
            let text = format!("flock{number}").as_str().into();
            net.command(node, Command::Search(Op(number), Query { text, wanted: 100 }));
            net.run_for(Duration::from_secs(10));
        }
        let hits = |number| hits(&net, Op(number)).into_iter().map(move |hit| (hit.provider, number));
        (0..RECORDS as u32).flat_map(hits).collect()
    });
    let found = found.collect();
    (has, found)
}

fn lives<C: Overlay<u32>>(config: &C::Config) {
    for seed in 0..SEEDS {
        let (there, found) = a_life::<C>(seed, config.clone());
        for found in found {
            let missed: Vec<&(u32, u32)> = there.difference(&found).collect();
            let ghosts: Vec<&(u32, u32)> = found.difference(&there).collect();
            assert!(missed.is_empty() && ghosts.is_empty(), "{} {seed}: {missed:?} {ghosts:?}", C::NAME);
        }
    }
}

#[test]
fn after_any_life_napster_finds_what_there_is() {
    lives::<Napster<u32>>(&Default::default());
}

#[test]
fn after_any_life_gnutella_finds_what_there_is() {
    lives::<Gnutella<u32>>(&Default::default());
}

#[test]
fn after_any_life_fasttrack_finds_what_there_is() {
    lives::<FastTrack<u32>>(&starling_overlay::fasttrack::Config { leaves: 8, ..Default::default() });
}
