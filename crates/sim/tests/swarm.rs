//! Swarms of real session cores in virtual time, against what theory allows.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may panic, and shows its table

mod common;

use starling_sim::scenario::Any;
use starling_sim::swarm::{self, Class, ClassOutcome, Outcome, Scenario, measure};

fn named(name: &str) -> Scenario {
    Scenario::named(name).unwrap()
}

/// One trial, shown with `--nocapture`.
fn run(scenario: &Scenario, seed: u64) -> Outcome {
    let outcome = measure(scenario, seed).unwrap();
    println!("{}", swarm::Report::of(scenario, vec![(seed, outcome.clone())]).table());
    outcome
}

fn class(outcome: &Outcome, class: Class) -> &ClassOutcome {
    outcome.of(class).unwrap()
}

fn all_have_everything(class: &ClassOutcome) -> bool {
    class.complete == class.hosts && class.finish_s.len() == class.hosts as usize
}

#[test]
fn one_capped_seed_and_32_leechers_finish_near_the_fluid_bound() {
    let outcome = run(&named("swarm"), 1);
    assert!(all_have_everything(class(&outcome, Class::Contributor)));
    let ratio = outcome.ratio().unwrap();
    assert!((1.0..1.25).contains(&ratio), "{ratio} of the bound");
}

/// BEP 16 expects of a plain first seed that it sends 150 to 200 % of the content.
#[test]
fn without_super_seeding_the_origin_sends_much_of_it_twice() {
    let outcome = run(&named("plain-seeding"), 1);
    assert!(all_have_everything(class(&outcome, Class::Contributor)));
    let copies = class(&outcome, Class::Origin).given as f64 / outcome.size as f64;
    assert!((1.3..2.0).contains(&copies), "the origin sent {copies} copies");
    assert!(outcome.ratio().unwrap() < 2.0);
}

#[test]
fn free_riders_come_last_and_hold_nobody_up() {
    let scenario = named("free-riders");
    let (with, without) = (run(&scenario, 1), run(&scenario.clone().without(Class::FreeRider), 1));
    let (givers, riders) = (class(&with, Class::Contributor), class(&with, Class::FreeRider));
    assert!(all_have_everything(givers) && all_have_everything(riders));
    assert_eq!(riders.given, 0, "a free-rider gives nothing");
    let alone = class(&without, Class::Contributor);
    let slower = |time: &dyn Fn(&ClassOutcome) -> Option<f64>| time(givers).unwrap() / time(alone).unwrap();
    let (median, last) = (slower(&|class| class.quantile(0.5)), slower(&|class| class.last_s));
    assert!(median < 1.15 && last < 1.35, "contributors took {median} and {last} times as long");
    let (ridden, last) = (riders.quantile(0.5).unwrap(), givers.last_s.unwrap());
    assert!(
        ridden > last,
        "half of the free-riders had it after {ridden} s, the last contributor after {last} s"
    );
}

/// The bound is of all who want the content; of those who give, the last may well be sooner.
#[test]
fn the_last_of_all_leechers_is_held_against_the_bound() {
    let report = swarm::run(&named("free-riders").with_nodes(12).unwrap(), 2, &|_| true);
    for (_, outcome) in &report.trials {
        let last = class(outcome, Class::FreeRider).last_s.unwrap();
        assert!(class(outcome, Class::Contributor).last_s.unwrap() < outcome.bound_s, "{outcome:?}");
        assert!(outcome.ratio().is_some_and(|ratio| ratio > 1.0 && ratio == last / outcome.bound_s));
    }
    let page = swarm::page(&report);
    assert!(page.contains("The last leecher had everything") && !page.contains("last contributor"), "{page}");
}

#[test]
fn poisoners_are_banned_and_everyone_gets_what_is_true() {
    let outcome = run(&named("poisoners"), 1);
    let (honest, liars) = (class(&outcome, Class::Contributor), class(&outcome, Class::Poisoner));
    assert!(all_have_everything(honest));
    assert_eq!(liars.bans, u64::from(liars.hosts * honest.hosts), "everyone has banned every liar");
    assert_eq!(honest.bans + class(&outcome, Class::Origin).bans, 0);
    let wasted = honest.failed as f64 / f64::from(honest.hosts) / outcome.size as f64;
    assert!(wasted < 0.15, "{wasted} of the content came in false pieces");
}

#[test]
fn a_flash_crowd_of_a_hundred_finishes() {
    let outcome = run(&named("flash-crowd").with_nodes(100).unwrap(), 1);
    assert!(all_have_everything(class(&outcome, Class::Contributor)));
    assert!(outcome.ratio().unwrap() < 2.0);
}

/// The library's swarm, small.
fn small() -> Scenario {
    let text = r#"
        seeds = 2
        [swarm]
        size_mib = 4
        piece_kib = 64
        lies = 0.5
        [swarm.origin]
        uplink_kb_s = 500
        [swarm.contributors]
        count = 8
        uplink_kb_s = 500
        downlink_kb_s = 2000
        [swarm.free_riders]
        count = 2
        uplink_kb_s = 500
        [swarm.poisoners]
        uplink_kb_s = 500
        [disk]
        write_mb_s = 20
    "#;
    Scenario::parse("small", text).unwrap()
}

#[test]
fn the_same_seed_is_the_same_trace_and_another_is_another() {
    let scenario = small();
    let (one, two) = (measure(&scenario, 1).unwrap(), measure(&scenario, 1).unwrap());
    assert_eq!(one, two);
    let report = swarm::run(&scenario, 2, &|_| true);
    assert_eq!(report.trials[0].1, one, "on two threads");
    assert_ne!(report.trials[1].1.trace, one.trace);
    let traces: Vec<u64> = report.trials.iter().map(|(_, outcome)| outcome.trace).collect();
    common::note_traces("swarm", &traces);
}

#[test]
fn the_page_is_whole_and_fetches_nothing() {
    let report = swarm::run(&small(), 2, &|_| true);
    let page = swarm::page(&report);
    for what in ["contributors", "poisoners", "Finish times", "Rate over time", "Ratio to the fluid bound"] {
        assert!(page.contains(what), "{what}");
    }
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("@import"));
    let (_, first) = &report.trials[0];
    let all = u64::from(class(first, Class::Contributor).hosts + class(first, Class::FreeRider).hosts);
    assert_eq!(first.progress.last().unwrap().1, all * first.size, "all that was wanted came");
    assert!(first.progress.is_sorted());
    let nothing = swarm::Report::of(&small(), Vec::new());
    assert!(swarm::page(&nothing).contains("no trial was begun"));
}

#[test]
fn who_interrupts_gets_what_is_known() {
    let report = swarm::run(&small(), 1, &|progress| progress.trial == 0 && progress.share < 0.5);
    let givers = class(&report.trials[0].1, Class::Contributor);
    assert!(givers.complete < givers.hosts && givers.taken > 0);
    assert_eq!(report.trials.len(), 1);
    let told = "interrupted: 1 of 2 trials begun, 1 of them stopped before its end";
    for text in [report.table(), report.json(), swarm::page(&report)] {
        assert!(text.contains(told), "{text}");
    }
    let whole = swarm::run(&small(), 2, &|_| true);
    assert!(![whole.table(), whole.json(), swarm::page(&whole)].concat().contains("interrupted"));
}

#[test]
fn the_library_makes_sense() {
    let library = Any::library().unwrap();
    for name in ["swarm", "free-riders", "poisoners", "flash-crowd", "compare"] {
        assert!(library.iter().any(|scenario| scenario.name() == name && !scenario.about().is_empty()));
    }
    assert!(Any::named("nonsense").unwrap_err().to_string().contains("flash-crowd"));
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_a_remedy() {
    let good =
        "[swarm]\nsize_mib = 4\n[swarm.origin]\nuplink_kb_s = 100\n[swarm.contributors]\nuplink_kb_s = 9\n";
    assert!(Any::parse("good", good).is_ok());
    let cases = [
        ("uplink_kb_s = 100", "uplink_kb_s = 0", "line 4", "must be from 1"),
        ("uplink_kb_s = 9", "uplink_kb_s = 0", "line 6", "must be from 1"),
        ("uplink_kb_s = 9", "uplink_kb_s = 9\ndownlink_kb_s = 0", "line 7", "must be from 1"),
        ("uplink_kb_s = 9", "uplink_kb_s = 9\n[swarm.free_riders]\nuplink_kb_s = -1", "line 8", "from 1"),
        ("size_mib = 4", "size_mib = 4\npiece_kib = 100", "line 3", "power of two"),
        ("size_mib = 4", "size_mib = 4\nsise = 1", "line 3", "sise"),
        ("[swarm.contributors]", "[swarm.poisoners]", "line 1", "add [swarm.contributors]"),
        ("size_mib = 4", "size_mib = 4\nlies = 2.0", "line 3", "from 0 to 1"),
        ("[swarm]", "columns = [\"hops\"]\n[swarm]", "line 1", "no column"),
    ];
    for (old, new, line, what) in cases {
        let wrong = Any::parse("bad", &good.replace(old, new)).unwrap_err().to_string();
        assert!(wrong.contains(line) && wrong.contains(what), "{wrong}");
    }
    let crowd = named("flash-crowd").with_nodes(100_000).unwrap();
    assert!(crowd.fits(Some(1 << 30), 1).unwrap_err().to_string().contains("try fewer hosts"));
}
