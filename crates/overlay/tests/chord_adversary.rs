//! Chord against an adversary; the example `chord_adversary` plays as long as it is told to.

mod adversary;

use adversary::{Adversary, Game, caught};
use starling_overlay::chord::Variant;
use starling_overlay::chord::invariant::Violation;

/// Games of a hundred rings: ten million transitions in all.
fn play(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let game = Game::of(seed, Variant::Correct);
        let mut adversary = Adversary::new(game);
        assert_eq!(adversary.play(100_000), Ok(()), "{game:?}");
        assert!(adversary.churn.iter().all(|&count| count > 10), "{:?}", adversary.churn);
    }
}

#[test]
fn no_order_of_joins_failures_and_messages_breaks_the_ring() {
    play(0..50);
}

#[test]
fn no_order_breaks_fifty_other_rings() {
    play(50..100);
}

#[test]
fn the_protocol_as_published_leaves_a_member_without_a_live_successor() {
    let (_, violation) = caught(Variant::Published, 0).unwrap();
    assert!(matches!(violation, Violation::NoLiveSuccessor(_)), "{violation}");
}

#[test]
fn a_join_that_copies_one_successor_leaves_a_member_without_a_live_one() {
    let (_, violation) = caught(Variant::ShortJoin, 0).unwrap();
    assert!(matches!(violation, Violation::NoLiveSuccessor(_)), "{violation}");
}

#[test]
fn a_rectify_that_does_not_check_never_finds_the_ideal_ring() {
    let (_, violation) = caught(Variant::UncheckedRectify, 0).unwrap();
    assert!(matches!(violation, Violation::NotIdeal(_)), "{violation}");
}

#[test]
fn a_ring_begun_by_one_node_has_no_other_successor_from_the_start() {
    let game = Game { from_one: true, ..Game::of(0, Variant::Correct) };
    let (step, violation) = Adversary::new(game).play(1).unwrap_err();
    assert_eq!(step, 1);
    assert!(matches!(violation, Violation::NoLiveSuccessor(_)), "{violation}");
}
