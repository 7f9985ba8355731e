//! A network in two halves that do not hear each other for a while: some minutes after
//! they do again it is one, and everything is found from everywhere.

mod common;

use std::time::Duration;

use common::World;
use common::user::{grow, record, share_found};
use starling_overlay::fasttrack::FastTrack;
use starling_overlay::gnutella::{Gnutella, Message};
use starling_overlay::napster::Napster;
use starling_overlay::{Command, Overlay};

const NODES: u32 = 60;

/// A network in which everybody has something.
fn network<C: Overlay<u32>>(seed: u64, config: C::Config, joined: bool) -> World<C> {
    let mut net = World::<C>::new(seed, 160, config);
    if joined {
        grow(&mut net, seed, NODES, Duration::from_secs(1));
    } else {
        net.converged(NODES);
        (0..NODES).for_each(|node| net.command(node, Command::Publish(record(node))));
    }
    net.run_for(Duration::from_secs(60));
    net
}

/// What is found of what everybody has, five minutes after halves were apart for so long.
fn found_after<C: Overlay<u32>>(seed: u64, apart: Duration, config: C::Config, joined: bool) -> f64 {
    let mut net = network::<C>(seed, config, joined);
    net.outside.cut = Some(Box::new(|from, to| (from < NODES / 2) != (to < NODES / 2)));
    net.run_for(apart);
    net.outside.cut = None;
    net.run_for(Duration::from_secs(300));
    share_found(&mut net, &[3, 20, 33, 57], Duration::from_secs(30))
}

/// Whether a node that heard nobody for half an hour finds its way back.
fn comes_back<C: Overlay<u32>>(config: &C::Config) {
    for (lone, joined) in [(0, false), (0, true), (7, false), (7, true)] {
        let mut net = network::<C>(u64::from(lone), config.clone(), joined);
        net.outside.cut = Some(Box::new(move |from, to| from == lone || to == lone));
        net.run_for(Duration::from_secs(1800));
        net.outside.cut = None;
        net.run_for(Duration::from_secs(300));
        let found = share_found(&mut net, &[lone, 33], Duration::from_secs(30));
        assert_eq!(found, 1.0, "{lone} was alone, joined: {joined}");
    }
}

fn halves_meet_again<C: Overlay<u32>>(config: &C::Config) {
    for (seed, minutes) in (0..5).flat_map(|seed| [2, 10, 60].map(|minutes| (seed, minutes))) {
        for joined in [false, true] {
            let apart = Duration::from_secs(60 * minutes);
            let found = found_after::<C>(seed, apart, config.clone(), joined);
            assert_eq!(found, 1.0, "seed {seed}, {minutes} minutes apart, joined: {joined}");
        }
    }
}

#[test]
fn napster_becomes_one_again() {
    halves_meet_again::<Napster<u32>>(&Default::default());
    comes_back::<Napster<u32>>(&Default::default());
}

#[test]
fn gnutella_becomes_one_again() {
    halves_meet_again::<Gnutella<u32>>(&Default::default());
    comes_back::<Gnutella<u32>>(&Default::default());
}

#[test]
fn fasttrack_becomes_one_again() {
    let config = starling_overlay::fasttrack::Config { leaves: 8, ..Default::default() };
    halves_meet_again::<FastTrack<u32>>(&config);
    comes_back::<FastTrack<u32>>(&config);
}

#[test]
fn a_servent_that_misses_the_dead_costs_little() {
    let mut net = network::<Gnutella<u32>>(1, Default::default(), false);
    (0..20).for_each(|node| net.kill(node));
    net.run_for(Duration::from_secs(300));
    net.outside.log = Some(Vec::new());
    net.run_for(Duration::from_secs(600));
    let log = net.outside.log.take().unwrap();
    let connects = log.iter().filter(|(_, _, message)| matches!(message, Message::Connect { .. })).count();
    assert!(connects <= 40 * 11, "{connects} of 40 servents in ten minutes");
}
