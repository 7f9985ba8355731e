//! Web seeds beside and without peers.

use std::time::Duration;

use starling_swarm::Event;

use crate::world::{Content, KIB, LinkSpec, MIB, WebSeedSpec, World};

fn good(rate: u64) -> WebSeedSpec {
    WebSeedSpec { link: LinkSpec::of(40, rate), tag: 0, breaks_after: None }
}

#[test]
fn a_web_seed_alone_is_enough() {
    let mut w = World::new(1, Content::v1(32 * MIB + 5, 256 * KIB));
    let leech = w.leech();
    w.web_seed(leech, good(10_000_000));
    assert!(w.run_until_finished(&[leech], Duration::from_secs(10)));
    let stats = w.nodes[leech].torrent.stats();
    assert_eq!((stats.from_web_seeds, stats.wasted), (32 * MIB + 5, 0));
}

#[test]
fn several_web_seeds_and_peers_share_the_work() {
    let mut w = World::new(2, Content::v1(64 * MIB, 256 * KIB));
    let (seed, leech) = (w.seed(), w.leech());
    w.connect(leech, seed, LinkSpec::of(20, 5_000_000));
    w.web_seed(leech, good(5_000_000));
    w.web_seed(leech, good(5_000_000));
    let start = w.now;
    assert!(w.run_until_finished(&[leech], Duration::from_secs(30)));
    let took = w.now.since(start).as_secs_f64();
    assert!(took < 64.0 * 1.05 / 15.0 * 1.35, "{took:.1} s");
    let stats = w.nodes[leech].torrent.stats();
    assert!(stats.wasted < 2 * MIB, "{stats:?}");
}

#[test]
fn a_slow_web_seed_does_not_hold_up_the_end() {
    let mut w = World::new(6, Content::v1(16 * MIB, 256 * KIB));
    let (seed, leech) = (w.seed(), w.leech());
    w.web_seed(leech, good(50_000));
    w.connect(leech, seed, LinkSpec::of(20, 8_000_000));
    assert!(w.run_until_finished(&[leech], Duration::from_secs(6)));
}

#[test]
fn a_web_seed_with_a_wrong_file_is_dropped() {
    let mut w = World::new(3, Content::v1(16 * MIB, 256 * KIB));
    let (seed, leech) = (w.seed(), w.leech());
    let bad = w.web_seed(leech, WebSeedSpec { tag: 99, ..good(20_000_000) });
    w.connect(leech, seed, LinkSpec::of(20, 2_000_000));
    assert!(w.run_until_finished(&[leech], Duration::from_secs(30)));
    let dropped = |e: &Event| matches!(e, Event::SeedDropped { seed, .. } if *seed == bad);
    assert!(w.nodes[leech].has_event(dropped));
    assert!(w.nodes[leech].banned().is_empty());
}

#[test]
fn a_web_seed_that_breaks_off_is_asked_again_for_a_while() {
    let mut w = World::new(4, Content::v1(4 * MIB, 256 * KIB));
    let leech = w.leech();
    w.web_seed(leech, WebSeedSpec { breaks_after: Some(MIB + 100 * KIB), ..good(10_000_000) });
    assert!(w.run_until_finished(&[leech], Duration::from_secs(60)));
    let mut w = World::new(5, Content::v1(4 * MIB, 256 * KIB));
    let leech = w.leech();
    w.web_seed(leech, WebSeedSpec { breaks_after: Some(0), ..good(10_000_000) });
    w.run_for(Duration::from_secs(60));
    assert!(w.nodes[leech].has_event(|e| matches!(e, Event::SeedDropped { .. })));
}
