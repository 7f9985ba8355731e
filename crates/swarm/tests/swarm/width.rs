//! Fast peers work on several pieces in rotation, so that these can be hashed side by
//! side; others on one after the other.

use std::collections::BTreeSet;
use std::time::Duration;

use starling_metainfo::BLOCK_LENGTH;
use starling_swarm::{Block, Config, Message};

use crate::world::{Content, LinkSpec, MIB, NodeId, World};

const MINUTE: Duration = Duration::from_secs(60);
/// Bytes per second of a link at which a peer is very fast.
const FAST: u64 = 800_000_000;
/// The blocks of a turn: 64 KiB.
const TURN: usize = 4;

/// What `node` asked for, in order.
fn requests(w: &World, node: NodeId) -> Vec<Block> {
    let of = |(from, message): &(NodeId, Message)| match message {
        Message::Request(block) if *from == node => Some(*block),
        _ => None,
    };
    w.said.iter().filter_map(of).collect()
}

/// Whole downloads from one peer, as the requests in order.
fn asked_of_one(rate: u64, config: Config, content: Content) -> (World, Vec<Block>) {
    let mut w = World::new(1, content);
    let (seed, leech) = (w.seed(), w.leech_with(config));
    w.record = true;
    w.connect(leech, seed, LinkSpec::of(1, rate));
    assert!(w.run_until_finished(&[leech], MINUTE));
    assert_eq!(w.nodes[leech].disk.out_of_order, 0, "each piece comes in order");
    let asked = requests(&w, leech);
    (w, asked)
}

fn follows(a: &Block, b: &Block) -> bool {
    a.piece == b.piece && a.begin + BLOCK_LENGTH == b.begin
}

#[test]
fn a_fast_peer_brings_many_pieces_side_by_side() {
    let (_, asked) = asked_of_one(FAST, Config::default(), Content::v1(1024 * MIB, MIB));
    // Past the start, when its rate is not known, and before the end.
    let middle = &asked[asked.len() / 3..asked.len() * 3 / 4];
    for window in middle.chunks_exact(16 * TURN) {
        let pieces: BTreeSet<u32> = window.iter().map(|b| b.piece).collect();
        assert!(pieces.len() >= 12, "{} pieces in a round", pieces.len());
    }
    let runs: Vec<&[Block]> = middle.chunk_by(follows).collect();
    let whole =
        runs.iter().filter(|r| r.len() == TURN && r[0].begin.is_multiple_of(TURN as u32 * BLOCK_LENGTH));
    assert!(whole.count() * 10 >= runs.len() * 9, "runs are whole and aligned");
}

#[test]
fn at_a_low_rate_one_piece_comes_after_the_other() {
    for rate in [2_000_000, 60_000_000] {
        let (w, asked) = asked_of_one(rate, Config::default(), Content::v1(64 * MIB, MIB));
        assert_eq!(asked.chunk_by(follows).count(), 64, "{rate} B/s");
        assert!(w.nodes[1].disk.begun_most <= 6, "{rate} B/s: {} begun", w.nodes[1].disk.begun_most);
    }
}

#[test]
fn in_order_is_in_order_at_any_rate() {
    let config = Config { sequential: true, ..Config::default() };
    let (_, asked) = asked_of_one(FAST, config, Content::v1(256 * MIB, MIB));
    assert!(asked.is_sorted_by_key(|b| (b.piece, b.begin)));
}

#[test]
fn small_pieces_and_few_pieces_come_all_the_same() {
    for (bytes, piece) in
        [(256 * MIB, MIB / 64), (256 * MIB, MIB / 4), (192 * MIB, 16 * MIB), (63 * MIB, 32 * MIB)]
    {
        asked_of_one(FAST, Config::default(), Content::v1(bytes, piece));
    }
}

#[test]
fn others_finish_the_pieces_of_a_fast_peer_that_vanished() {
    let mut w = World::new(2, Content::v1(512 * MIB, 2 * MIB));
    let (fast, other, leech) = (w.seed(), w.seed(), w.leech());
    w.connect(leech, fast, LinkSpec::of(1, FAST));
    w.connect(leech, other, LinkSpec::of(10, 20_000_000));
    assert!(w.run_until(MINUTE, |w| w.nodes[leech].received > 256 * MIB));
    let begun = w.nodes[leech].disk.begun().len();
    assert!(begun >= 12, "{begun} pieces in work");
    let got = w.nodes[leech].received;
    w.cut(leech, fast);
    assert!(w.run_until_finished(&[leech], MINUTE));
    // Nothing that had come is fetched again but what was on its way.
    assert!(w.nodes[other].served < 512 * MIB - got + 16 * MIB, "{}", w.nodes[other].served);
    assert!(w.nodes[leech].disk.begun_most < 64, "begun pieces are finished first");
}

#[test]
fn a_fast_peer_that_turns_slow_holds_nothing_up() {
    let mut w = World::new(3, Content::v1(1024 * MIB, 4 * MIB));
    let (fast, other, leech) = (w.seed(), w.seed(), w.leech());
    w.connect(leech, fast, LinkSpec::of(1, FAST));
    assert!(w.run_until(MINUTE, |w| w.nodes[leech].received > 512 * MIB));
    w.connect(leech, other, LinkSpec::of(1, 100_000_000));
    w.nodes[fast].up_rate = 500_000;
    let begun = w.nodes[leech].disk.begun().len();
    assert!(begun >= 12, "{begun} pieces in work");
    let (start, left) = (w.now, w.nodes[leech].torrent.stats().bytes_left);
    assert!(w.run_until_finished(&[leech], MINUTE));
    let took = w.now.since(start).as_secs_f64();
    assert!(took < left as f64 / 100e6 * 1.2, "{took:.1} s for {left} bytes");
}

#[test]
fn a_slow_peer_beside_a_fast_one_is_kept_busy() {
    let mut w = World::new(4, Content::v1(1024 * MIB, 2 * MIB));
    let (fast, slow, leech) = (w.seed(), w.seed(), w.leech());
    w.connect(leech, fast, LinkSpec::of(1, FAST));
    w.connect(leech, slow, LinkSpec::of(10, 8_000_000));
    let start = w.now;
    assert!(w.run_until_finished(&[leech], MINUTE));
    let took = w.now.since(start).as_secs_f64();
    let could = 8e6 * took;
    assert!(w.nodes[slow].served as f64 > could * 0.7, "{} of {could:.0}", w.nodes[slow].served);
    let alone = (1024 * MIB) as f64 / FAST as f64;
    assert!(took < alone * 1.15, "{took:.2} s, {alone:.2} s with the fast one alone");
    let stats = w.nodes[leech].torrent.stats();
    assert!(stats.wasted < 8 * MIB, "{stats:?}");
}
