//! Torrents whose files are padded, and small: only what belongs to files is asked for.

use std::time::Duration;

use starling_metainfo::{BLOCK_LENGTH, Versions};
use starling_swarm::Message;

use crate::world::{Content, KIB, LinkSpec, MIB, World};

const MINUTE: Duration = Duration::from_secs(60);

/// So many files of a few bytes each, and what they have in all.
fn tiny_files(count: u64) -> (Content, u64) {
    let sizes: Vec<u64> = (0..count).map(|i| 1 + i % 7).collect();
    (Content::folder(&sizes, Versions::Hybrid, 16 * KIB), sizes.iter().sum())
}

#[test]
fn zeros_between_tiny_files_are_not_transferred() {
    let (content, bytes) = tiny_files(1000);
    let mut w = World::new(1, content);
    let (seed, leech) = (w.seed(), w.leech());
    w.connect(leech, seed, LinkSpec::lan());
    assert!(w.run_until_finished(&[leech], MINUTE));
    let stats = w.nodes[leech].torrent.stats();
    assert_eq!((w.nodes[leech].received, stats.downloaded, stats.wasted), (bytes, bytes, 0));
    assert_eq!((stats.bytes_have, stats.bytes_wanted, stats.bytes_total), (bytes, bytes, bytes));
}

/// Requests, not bytes, fill a link when blocks are short.
#[test]
fn tiny_files_fill_a_long_link_too() {
    let mut w = World::new(2, tiny_files(20_000).0);
    let (seed, leech) = (w.seed(), w.leech());
    w.connect(leech, seed, LinkSpec::of(200, 10_000_000));
    let start = w.now;
    assert!(w.run_until_finished(&[leech], MINUTE));
    let trips = w.now.since(start).as_secs_f64() / 0.2;
    assert!(trips < 40.0, "{trips:.0} round trips for 20,000 files");
}

#[test]
fn a_files_last_block_is_asked_for_up_to_its_end() {
    let sizes = [40 * KIB + 1, 16 * KIB, 0, 3];
    let mut w = World::new(3, Content::folder(&sizes, Versions::Hybrid, 64 * KIB));
    let (seed, leech) = (w.seed(), w.leech());
    w.record = true;
    w.connect(leech, seed, LinkSpec::lan());
    assert!(w.run_until_finished(&[leech], MINUTE));
    let mut asked: Vec<_> = w
        .said
        .iter()
        .filter_map(|(node, message)| match message {
            Message::Request(block) if *node == leech => Some((block.piece, block.begin, block.length)),
            _ => None,
        })
        .collect();
    asked.sort_unstable();
    let b = BLOCK_LENGTH;
    assert_eq!(asked, [(0, 0, b), (0, b, b), (0, 2 * b, 8193), (1, 0, b), (2, 0, 3)]);
}

/// A web seed has files, not padding.
#[test]
fn web_seeds_bring_tiny_files_too() {
    let (content, bytes) = tiny_files(1000);
    let mut w = World::new(4, content);
    let leech = w.leech();
    let spec = crate::world::WebSeedSpec { link: LinkSpec::of(10, MIB), tag: 0, breaks_after: None };
    w.web_seed(leech, spec);
    assert!(w.run_until_finished(&[leech], MINUTE));
    assert_eq!(w.nodes[leech].torrent.stats().downloaded, bytes);
}
