//! Rate limits, and what idle torrents cost.

use std::time::Duration;

use starling_sansio::Machine;
use starling_session::{AddSpec, Input, RateLimits, TorrentKey};

use crate::world::{Content, MIB, NodeId, World, secs};

/// A seed and a leecher of a large torrent under these limits.
fn pair(seed: u64, up: RateLimits, down: RateLimits, own: RateLimits) -> (World, NodeId, NodeId, TorrentKey) {
    let mut world = World::new(seed);
    let content = Content::v1("a", 400 * MIB);
    let a = world.node_with(|config| config.rates = up);
    let b = world.node_with(|config| config.rates = down);
    world.share(a, content.file());
    world.run_for(secs(1));
    let peers = vec![world.nodes[a].addr];
    let key = world.get(b, AddSpec { peers, rates: own, ..content.file() });
    world.run_for(secs(1));
    (world, a, b, key)
}

fn down(rate: u64) -> RateLimits {
    RateLimits { down: Some(rate), up: None }
}

fn up(rate: u64) -> RateLimits {
    RateLimits { down: None, up: Some(rate) }
}

/// Bytes that came within ten seconds, against a rate.
fn assert_rate(world: &mut World, node: NodeId, rate: u64) {
    let before = world.nodes[node].received;
    world.run_for(secs(10));
    let got = (world.nodes[node].received - before) as f64 / (10 * rate) as f64;
    assert!((0.95..=1.05).contains(&got), "{got:.3} of {rate} bytes per second");
}

#[test]
fn what_comes_is_limited() {
    for rate in [100_000, 1_000_000, 5_000_000] {
        let (mut world, _, b, _) = pair(1, RateLimits::default(), down(rate), RateLimits::default());
        assert_rate(&mut world, b, rate);
        let (mut world, _, b, _) = pair(2, RateLimits::default(), RateLimits::default(), down(rate));
        assert_rate(&mut world, b, rate);
    }
}

#[test]
fn what_goes_is_limited() {
    for rate in [100_000, 1_000_000, 5_000_000] {
        let (mut world, _, b, _) = pair(3, up(rate), RateLimits::default(), RateLimits::default());
        assert_rate(&mut world, b, rate);
    }
}

#[test]
fn what_web_seeds_bring_is_limited_too() {
    // A web seed is asked for a MiB and more at once: what is beyond the grant is owed.
    for rate in [300_000, 3_000_000] {
        let mut world = World::new(8);
        let b = world.node_with(|config| config.rates = down(rate));
        let web_seeds = vec!["http://web/".to_owned()];
        let key = world.get(b, AddSpec { web_seeds, ..Content::v1("a", 400 * MIB).file() });
        world.run_for(secs(100));
        let got = world.nodes[b].session.core(key).unwrap().stats().downloaded;
        assert!((95 * rate..=105 * rate + 2 * MIB).contains(&got), "{got} at {rate} for 100 s");
    }
}

#[test]
fn a_limited_torrent_is_limited_from_its_first_block() {
    let (world, _, b, _) = pair(4, RateLimits::default(), down(200_000), RateLimits::default());
    // A second's worth, and the burst of a quarter.
    assert!(world.nodes[b].received <= 250_000, "{}", world.nodes[b].received);
}

#[test]
fn limits_can_be_set_changed_and_lifted_at_run_time() {
    let (mut world, _, b, key) = pair(5, RateLimits::default(), RateLimits::default(), RateLimits::default());
    world.input(b, Input::SetRates(down(300_000)));
    world.run_for(secs(2));
    assert_rate(&mut world, b, 300_000);
    world.input(b, Input::SetRates(down(600_000)));
    world.run_for(secs(1));
    assert_rate(&mut world, b, 600_000);
    world.input(b, Input::SetRates(down(0)));
    world.run_for(secs(5));
    let before = world.nodes[b].received;
    world.run_for(secs(20));
    assert_eq!(world.nodes[b].received, before);
    world.input(b, Input::SetRates(RateLimits::default()));
    assert!(world.run_until(secs(60), |w| w.has_all(b, key)));
}

#[test]
fn torrents_share_what_the_node_may_have() {
    let mut world = World::new(6);
    let contents: Vec<Content> = (0..4).map(|n| Content::v1(&format!("{n}"), 100 * MIB)).collect();
    let a = world.node();
    let b = world.node_with(|config| config.rates = down(200_000));
    for content in &contents {
        world.share(a, content.file());
    }
    world.run_for(secs(1));
    let peers = vec![world.nodes[a].addr];
    let keys: Vec<TorrentKey> =
        contents.iter().map(|c| world.get(b, AddSpec { peers: peers.clone(), ..c.file() })).collect();
    world.run_for(secs(2));
    assert_rate(&mut world, b, 200_000);
    world.run_for(secs(30));
    let got = |key: &TorrentKey| world.nodes[b].session.core(*key).unwrap().stats().downloaded;
    let (least, most) = (keys.iter().map(got).min().unwrap(), keys.iter().map(got).max().unwrap());
    assert!(most < least * 3 / 2, "{least} {most}");
}

#[test]
fn two_hundred_idle_torrents_cost_nothing() {
    for rates in [RateLimits::default(), RateLimits { down: Some(100_000), up: Some(100_000) }] {
        let mut world = World::new(7);
        let a = world.node_with(|config| {
            config.lan = false;
            config.rates = rates;
        });
        for n in 0..200 {
            world.share(a, Content::v1(&format!("{n}"), MIB).file());
        }
        world.run_for(secs(10));
        let next = world.nodes[a].session.next_timeout();
        assert!(next.is_none_or(|at| at.since(world.now) > Duration::from_secs(3600)), "{next:?}");
    }
}
