//! Links that must be filled.

use std::time::Duration;

use starling_swarm::Config;

use crate::world::{Content, LinkSpec, MIB, World};

const GIGABIT: u64 = 125_000_000;

/// Bytes per second over the whole download, as a part of a gigabit.
fn fill_of(w: &mut World, leech: usize, bytes: u64) -> f64 {
    let start = w.now;
    assert!(w.run_until_finished(&[leech], Duration::from_secs(600)));
    bytes as f64 / w.now.since(start).as_secs_f64() / GIGABIT as f64
}

#[test]
fn one_peer_at_200_ms_fills_a_gigabit() {
    let bytes = 4096 * MIB;
    let mut w = World::new(1, Content::v1(bytes, 4 * MIB));
    let (seed, leech) = (w.seed(), w.leech());
    w.connect(leech, seed, LinkSpec::of(200, GIGABIT));
    let fill = fill_of(&mut w, leech, bytes);
    assert!(fill >= 0.9, "{fill:.3}");
}

#[test]
fn eight_peers_at_mixed_delays_fill_a_gigabit() {
    let bytes = 4096 * MIB;
    let mut w = World::new(2, Content::v1(bytes, 4 * MIB));
    let seeds: Vec<_> = (0..8).map(|_| w.seed()).collect();
    let leech = w.leech();
    w.nodes[leech].down_rate = GIGABIT;
    for (seed, rtt) in seeds.into_iter().zip([10, 30, 60, 100, 150, 200, 250, 300]) {
        w.connect(leech, seed, LinkSpec::of(rtt, GIGABIT));
    }
    let fill = fill_of(&mut w, leech, bytes);
    assert!(fill >= 0.9, "{fill:.3}");
    let stats = w.nodes[leech].torrent.stats();
    assert!(stats.wasted < bytes / 100, "{stats:?}");
}

#[test]
fn the_first_block_is_asked_for_at_once() {
    let mut w = World::new(3, Content::v1(64 * MIB, MIB));
    let (seed, leech) = (w.seed(), w.leech());
    w.connect(leech, seed, LinkSpec::of(20, GIGABIT));
    let start = w.now;
    assert!(w.run_until(Duration::from_secs(5), |w| w.nodes[leech].received > 0));
    // Bitfield and interest, unchoke, request and block: two round trips.
    assert!(w.now.since(start) < Duration::from_millis(60), "{:?}", w.now.since(start));
}

#[test]
fn a_slow_peer_does_not_hold_up_the_end() {
    let bytes = 64 * MIB;
    let mut w = World::new(4, Content::v1(bytes, MIB));
    let (fast, slow, leech) = (w.seed(), w.seed(), w.leech());
    w.connect(leech, fast, LinkSpec::of(20, 10_000_000));
    w.connect(leech, slow, LinkSpec::of(20, 20_000));
    let start = w.now;
    let done = w.run_until_finished(&[leech], Duration::from_secs(60));
    assert!(done, "{:?} {:?}", w.nodes[leech].torrent.stats(), w.nodes[leech].torrent.peers());
    let took = w.now.since(start).as_secs_f64();
    assert!(took < 8.0, "{took:.1} s");
    let stats = w.nodes[leech].torrent.stats();
    assert!(stats.wasted < MIB, "{stats:?}");
}

#[test]
fn an_idle_torrent_sleeps() {
    let mut w = World::new(5, Content::v1(4 * MIB, MIB));
    let (a, b) = (w.leech(), w.leech());
    w.connect(a, b, LinkSpec::lan());
    w.run_for(Duration::from_secs(60));
    let before = w.nodes[a].wakes;
    w.run_for(Duration::from_secs(3600));
    let wakes = w.nodes[a].wakes - before;
    assert!(wakes < 300, "{wakes} wakes in an idle hour");
    assert!(w.connected(a, b), "keep-alives keep the connection");
}

#[test]
fn grants_bound_both_directions() {
    let mut w = World::new(6, Content::v1(16 * MIB, MIB));
    let (seed, leech) = (w.seed(), w.leech_with(Config::default()));
    w.input(leech, starling_swarm::Input::Grant { down: Some(0), up: None });
    w.connect(leech, seed, LinkSpec::lan());
    w.run_for(Duration::from_secs(5));
    assert_eq!(w.nodes[leech].received, 0);
    assert!(w.nodes[leech].torrent.demand().down > 0);
    for _ in 0..5 {
        w.input(leech, starling_swarm::Input::Grant { down: Some(MIB), up: None });
        w.run_for(Duration::from_secs(1));
    }
    let got = w.nodes[leech].received;
    assert!((4 * MIB..=6 * MIB).contains(&got), "{got}");
    w.input(seed, starling_swarm::Input::Grant { down: None, up: Some(0) });
    w.input(leech, starling_swarm::Input::Grant { down: None, up: None });
    let before = w.nodes[seed].served;
    w.run_for(Duration::from_secs(5));
    assert_eq!(w.nodes[seed].served, before);
    assert!(w.nodes[seed].torrent.demand().up > 0);
}
