//! Chord against an adversary, for 10^7 transitions:
//! `cargo run --release -p starling-overlay --example chord_adversary [TRANSITIONS [SEED]]`.

// A program that measures and prints, not part of a core.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/adversary/mod.rs"]
mod adversary;

use std::process::ExitCode;

use adversary::{Adversary, Game};
use starling_overlay::chord::Variant;

/// Transitions of one game; then another ring begins.
const GAME: u64 = 100_000;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map_while(|text| text.parse::<u64>().ok());
    let (wanted, first) = (numbers.next().unwrap_or(10_000_000), numbers.next().unwrap_or(0));
    let (mut taken, mut churn, mut games) = (0, [0; 3], 0);
    while taken < wanted {
        let seed = first + games;
        let game = Game::of(seed, Variant::Correct);
        let mut adversary = Adversary::new(game);
        let result = adversary.play(GAME.min(wanted - taken));
        taken += adversary.steps;
        games += 1;
        churn.iter_mut().zip(adversary.churn).for_each(|(sum, one)| *sum += one);
        if let Err((step, violation)) = result {
            println!("{game:?}: {violation} after {step} transitions");
            return ExitCode::FAILURE;
        }
    }
    let [joins, failures, leaves] = churn;
    println!("{taken} transitions in {games} rings without a violation");
    println!("{joins} joins, {failures} failures, {leaves} leaves among them");
    let variants = [Variant::Published, Variant::ShortJoin, Variant::UncheckedRectify];
    let mut caught: Vec<_> =
        variants.map(|variant| (format!("{variant:?}"), adversary::caught(variant, first))).into();
    let begun_by_one = Game { from_one: true, ..Game::of(first, Variant::Correct) };
    caught.push(("BegunByOne".into(), Adversary::new(begun_by_one).play(GAME).err()));
    for (name, result) in &caught {
        match result {
            Some((step, violation)) => println!("{name}: caught after {step} transitions: {violation}"),
            None => println!("{name}: not caught"),
        }
    }
    if caught.iter().all(|(_, result)| result.is_some()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
