//! Downloads that should simply work.

use std::time::Duration;

use crate::world::{Content, KIB, LinkSpec, MIB, World};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn one_seed_one_leecher() {
    let mut w = World::new(1, Content::v1(20 * MIB + 777, 256 * KIB));
    let (seed, leech) = (w.seed(), w.leech());
    w.connect(leech, seed, LinkSpec::lan());
    assert!(w.run_until_finished(&[leech], MINUTE));
    let stats = w.nodes[leech].torrent.stats();
    assert_eq!((stats.pieces_have, stats.bytes_left, stats.wasted), (81, 0, 0));
    assert_eq!(stats.downloaded, 20 * MIB + 777);
    assert_eq!(w.nodes[leech].disk.out_of_order, 0, "one peer sends each piece in order");
    w.run_for(Duration::from_secs(1));
    assert!(!w.connected(leech, seed), "two seeds part");
}

#[test]
fn one_seed_eight_leechers() {
    let mut w = World::new(2, Content::v1(32 * MIB, 256 * KIB));
    let seed = w.seed();
    w.nodes[seed].up_rate = 10_000_000;
    let leeches: Vec<_> = (0..8).map(|_| w.leech()).collect();
    w.connect_all(LinkSpec::lan());
    assert!(w.run_until_finished(&leeches, MINUTE));
    let ratio = w.nodes[seed].served as f64 / (32.0 * MIB as f64);
    assert!(ratio < 3.0, "the leechers serve each other: the seed gave {ratio:.1} copies");
}
