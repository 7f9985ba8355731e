//! Peers that lie, stall and vanish.

use std::time::Duration;

use starling_metainfo::Bitfield;
use starling_sansio::Time;
use starling_swarm::{Blame, Config, Event, Input};

use crate::world::{Content, KIB, LinkSpec, MIB, Manner, World, ip_of};

/// Three honest seeds and a poisoner: who is banned.
fn poisoned(seed: u64, content: Content, lies: u32) -> World {
    let mut w = World::new(seed, content);
    let seeds: Vec<_> = (0..4).map(|_| w.seed()).collect();
    w.nodes[seeds[3]].manner = Manner::Lies(lies);
    let leech = w.leech();
    for &seed in &seeds {
        w.connect(leech, seed, LinkSpec::of(20, 2_000_000));
    }
    assert!(w.run_until_finished(&[leech], Duration::from_secs(120)));
    w.run_for(Duration::from_secs(1));
    assert_eq!(w.nodes[leech].banned(), [ip_of(seeds[3])]);
    assert_eq!(w.nodes[leech].closed.iter().filter(|c| c.blame == Blame::Liar).count(), 1);
    w
}

#[test]
fn exactly_the_poisoner_is_banned_v1() {
    for seed in 0..8 {
        poisoned(seed, Content::v1(24 * MIB, MIB), 7);
    }
}

#[test]
fn exactly_the_poisoner_is_banned_when_pieces_are_large() {
    // Pieces so large that all four share each.
    for seed in 0..4 {
        poisoned(seed, Content::v1(64 * MIB, 16 * MIB), 11);
    }
}

#[test]
fn exactly_the_poisoner_is_banned_v2() {
    for seed in 0..4 {
        poisoned(seed, Content::v2(16 * MIB, MIB), 7);
    }
}

#[test]
fn in_hybrid_torrents_the_good_blocks_are_kept() {
    let w = poisoned(3, Content::hybrid(16 * MIB, 4 * MIB), 50);
    let stats = w.nodes[4].torrent.stats();
    assert!(stats.downloaded < 16 * MIB + 4 * MIB, "{stats:?}");
}

#[test]
fn a_single_contributor_is_banned_at_once() {
    let mut w = World::new(1, Content::v1(4 * MIB, 256 * KIB));
    let (liar, leech) = (w.seed(), w.leech());
    w.nodes[liar].manner = Manner::Lies(5);
    w.connect(leech, liar, LinkSpec::lan());
    assert!(w.run_until(Duration::from_secs(20), |w| !w.connected(0, 1)));
    assert_eq!(w.nodes[leech].banned(), [ip_of(liar)]);
    // It comes back, and is not let in.
    w.connect(leech, liar, LinkSpec::lan());
    w.run_for(Duration::from_secs(2));
    assert!(!w.connected(leech, liar));
}

#[test]
fn a_silent_peer_costs_little() {
    let mut w = World::new(2, Content::v1(32 * MIB, MIB));
    let (good, mute, leech) = (w.seed(), w.seed(), w.leech());
    w.nodes[mute].manner = Manner::Silent(Time::ZERO);
    w.connect(leech, mute, LinkSpec::of(10, 10_000_000));
    w.connect(leech, good, LinkSpec::of(10, 4_000_000));
    let start = w.now;
    assert!(w.run_until_finished(&[leech], Duration::from_secs(60)));
    assert!(w.now.since(start) < Duration::from_secs(12), "{:?}", w.now.since(start));
}

/// A liar spoils pieces that the honest seed had a part in, so that both are avoided for
/// them, and a third peer, with that manner and line, is the only one left to be asked.
fn between_a_liar_and(manner: Manner, line: u64, content: &Content, patience: Duration) {
    for seed in 0..10 {
        let mut w = World::new(seed, content.clone());
        let (liar, third, good, leech) = (w.seed(), w.seed(), w.seed(), w.leech());
        w.nodes[liar].manner = Manner::Lies(10);
        w.nodes[third].manner = manner;
        w.connect(leech, liar, LinkSpec::of(1, 40_000_000));
        w.connect(leech, third, LinkSpec::of(1, line));
        w.connect(leech, good, LinkSpec::of(1, 8_000_000));
        let done = w.run_until_finished(&[leech], patience);
        assert!(done, "seed {seed}: {:?}", w.nodes[leech].torrent.stats());
        assert_eq!(w.nodes[leech].banned(), [ip_of(liar)], "seed {seed}");
    }
}

#[test]
fn a_liar_and_a_silent_peer_together_do_not_keep_pieces_from_an_honest_one() {
    let content = Content::v1(64 * MIB, 256 * KIB);
    between_a_liar_and(Manner::Silent(Time::ZERO), 40_000_000, &content, Duration::from_secs(60));
}

/// Who sends a block now and then never counts as silent.
#[test]
fn a_liar_and_a_trickle_together_do_not_keep_pieces_from_an_honest_one() {
    let content = Content::v1(64 * MIB, 4 * MIB);
    between_a_liar_and(Manner::Honest, 2_500, &content, Duration::from_secs(120));
}

#[test]
fn a_liar_and_one_who_never_unchokes_do_not_keep_pieces_from_an_honest_one() {
    let content = Content::v1(64 * MIB, 256 * KIB);
    between_a_liar_and(Manner::Free, 40_000_000, &content, Duration::from_secs(120));
}

#[test]
fn a_peer_that_falls_silent_is_snubbed_and_forgiven() {
    let mut w = World::new(3, Content::v1(64 * MIB, MIB));
    let (only, leech) = (w.seed(), w.leech());
    w.connect(leech, only, LinkSpec::of(10, 4_000_000));
    w.run_for(Duration::from_secs(3));
    w.nodes[only].manner = Manner::Silent(w.now);
    w.run_for(Duration::from_secs(15));
    let peer = &w.nodes[leech].torrent.peers()[0];
    assert!(peer.snubbed && peer.in_flight <= 1, "{peer:?}");
    w.nodes[only].manner = Manner::Honest;
    assert!(w.run_until_finished(&[leech], Duration::from_secs(90)), "{:?}", w.nodes[leech].torrent.stats());
}

#[test]
fn what_a_vanished_peer_owed_others_bring() {
    let mut w = World::new(4, Content::v1(32 * MIB, MIB));
    let (a, b, leech) = (w.seed(), w.seed(), w.leech());
    w.connect(leech, a, LinkSpec::of(30, 4_000_000));
    w.connect(leech, b, LinkSpec::of(30, 4_000_000));
    w.run_for(Duration::from_secs(2));
    w.cut(leech, a);
    assert!(w.run_until_finished(&[leech], Duration::from_secs(30)));
}

#[test]
fn a_lost_piece_is_fetched_again() {
    let mut w = World::new(5, Content::v1(8 * MIB, MIB));
    let (seed, leech) = (w.seed(), w.node(Config::default(), Some(Bitfield::full(8))));
    w.input(leech, Input::PieceLost { piece: 3 });
    w.nodes[leech].disk.lose(3);
    assert!(!w.nodes[leech].torrent.is_finished());
    w.connect(leech, seed, LinkSpec::lan());
    assert!(w.run_until_finished(&[leech], Duration::from_secs(10)));
    assert_eq!(w.nodes[leech].received, MIB);
    assert!(w.nodes[leech].has_event(|e| *e == Event::Have { piece: 3 }));
}

/// Of a file that was cut short most pieces are lost, one told after the other: what is
/// counted is what is left, as if each had been missing from the beginning.
#[test]
fn many_lost_pieces_are_counted_like_missing_ones() {
    for fetch in [true, false] {
        let mut w = World::new(5, Content::v1(8 * MIB + 5, 256 * KIB));
        let pieces = w.content.layout().pieces();
        let full = Bitfield::full(pieces);
        let config = Config { fetch, ..Config::default() };
        let mut rest = full.clone();
        (3..pieces).for_each(|piece| assert!(rest.remove(piece)));
        let (cut, fresh) = (w.node(config.clone(), Some(full)), w.node(config, Some(rest)));
        for piece in 3..pieces {
            w.input(cut, Input::PieceLost { piece });
            w.nodes[cut].disk.lose(piece);
        }
        assert_eq!(w.nodes[cut].torrent.stats(), w.nodes[fresh].torrent.stats(), "{fetch}");
        let seed = w.seed();
        w.connect(cut, seed, LinkSpec::lan());
        w.run_for(Duration::from_secs(10));
        let want = if fetch { pieces } else { 3 };
        assert_eq!(w.nodes[cut].torrent.stats().pieces_have, want);
    }
}

/// A seeder of somebody's own files: they may be meant to be different now.
#[test]
fn where_nothing_is_fetched_a_lost_piece_stays_lost() {
    let mut w = World::new(7, Content::v1(8 * MIB, MIB));
    let config = Config { fetch: false, ..Config::default() };
    let (rotten, leech) = (w.node(config, Some(Bitfield::full(8))), w.leech());
    w.connect(leech, rotten, LinkSpec::of(20, 1_000_000));
    w.run_for(Duration::from_secs(1));
    w.input(rotten, Input::PieceLost { piece: 7 });
    w.nodes[rotten].disk.lose(7);
    let seed = w.seed();
    w.connect(leech, seed, LinkSpec::lan());
    assert!(w.run_until_finished(&[leech], Duration::from_secs(60)));
    w.run_for(Duration::from_secs(20));
    let stats = w.nodes[rotten].torrent.stats();
    assert_eq!((stats.pieces_have, stats.bytes_left, stats.bytes_wanted), (7, 0, 7 * MIB));
    assert_eq!(w.nodes[rotten].received, 0);
    assert!(w.nodes[rotten].has_event(|e| *e == Event::Lost { piece: 7, fetch: false }));
    assert!(w.nodes[rotten].torrent.is_finished());
}

#[test]
fn who_had_a_lost_piece_is_not_asked_for_it() {
    let mut w = World::new(6, Content::v1(8 * MIB, MIB));
    let (rotten, leech) = (w.seed(), w.leech());
    w.connect(leech, rotten, LinkSpec::of(20, 1_000_000));
    w.run_for(Duration::from_secs(1));
    let missing = (0..8).rev().find(|&p| !w.nodes[leech].torrent.bitfield().get(p)).unwrap();
    w.input(rotten, Input::PieceLost { piece: missing });
    w.nodes[rotten].disk.lose(missing);
    w.run_for(Duration::from_secs(20));
    assert_eq!(w.nodes[leech].torrent.stats().pieces_have, 7);
    assert!(w.connected(leech, rotten));
}
