//! The checks that run inside a simulation: they are silent where nothing is wrong, and
//! see what is.
#![allow(clippy::unwrap_used)] // a test may panic, helpers included

use std::sync::Arc;

use starling_overlay::chord::{self, Variant};
use starling_overlay::dht::Dht;
use starling_sansio::Time;
use starling_sim::Node;
use starling_sim::check::Violations;
use starling_sim::report::{self, Report};
use starling_sim::runner::{self, Progress};
use starling_sim::scenario::{NAMES, Scenario};
use starling_sim::trial::Trial;

type Chord = Dht<Node, chord::Chord<Node>>;

fn run(text: &str) -> Report {
    runner::run(&Scenario::parse("checked", text).unwrap(), 1, &|_: &Progress| true)
}

fn violations(report: &Report) -> Violations {
    report.rows[0].trials[0].1.violations.clone().unwrap()
}

#[test]
fn after_joins_and_deaths_and_a_quiet_time_everything_is_in_order() {
    for name in NAMES {
        let text = format!(
            "nodes = 100\nstart = \"join\"\njoin_over_s = 100\nduration_s = 7200\nseeds = 3\n\
             check = \"always\"\n[overlay.{name}]\n[[failure]]\nat_s = 300\nshare = 0.33\n"
        );
        let report = run(&text);
        assert_eq!(report.violations(), Vec::<String>::new(), "{name}");
        let (name, count) = (report.columns.last().unwrap().name, violations(&report).count);
        assert_eq!((name, count), ("violations", 0));
    }
}

/// A ring that loses r successors in a row is broken, whatever the protocol; and what
/// was not repaired when the simulation ends is told for every node.
#[test]
fn a_ring_that_loses_nearly_everybody_is_broken_and_says_so() {
    let text = "nodes = 200\nduration_s = 20\ncheck = \"always\"\n[overlay.chord]\nsuccessors = 3\n\
                [[failure]]\nat_s = 10\nshare = 0.9\n";
    let report = run(text);
    let violations = violations(&report);
    assert!(violations.count > 10, "{violations:?}");
    let first = violations.first.unwrap();
    assert_eq!((first.time.as_secs_f64(), first.node.is_some()), (10.0, true), "{first}");
    assert!(first.what.contains("live successor"), "{first}");
    let sentence = &report.violations()[0];
    assert!(
        sentence.starts_with("chord, seed 1: ") && sentence.contains("at 10.000000 s, node "),
        "{sentence}"
    );
    assert!(report.json().contains("first_violation") && report::table(&report).contains("violations"));
}

/// A heartbeat takes a number of rounds through a group: where rounds are longer, or groups
/// larger than by default, it is awaited longer. What is given is as given.
#[test]
fn nobody_alive_is_dropped_by_kelips_whatever_its_rounds_and_groups() {
    let flaws = |parameters: &str| {
        let text =
            format!("nodes = 400\nduration_s = 3600\ncheck = \"end\"\n[overlay.kelips]\n{parameters}\n");
        violations(&run(&text)).count
    };
    for parameters in ["", "gossip_interval_s = 30", "groups = 4", "members_per_gossip = 8"] {
        assert_eq!(flaws(parameters), 0, "{parameters}");
    }
    // Of 160,000 pairs, chance may make one wait a moment for the other's heartbeat.
    let few = flaws("groups = 1");
    assert!(few <= 2, "{few}");
    assert!(flaws("gossip_interval_s = 30\nmember_timeout_s = 108") > 0);
}

/// Two halves that lost each other are two overlays, whichever it is.
#[test]
fn a_network_in_two_parts_is_seen() {
    for name in NAMES {
        let text = format!(
            "nodes = 60\nduration_s = 5400\ncheck = \"end\"\n[overlay.{name}]\n[network]\n\
             partition = [{{ from_s = 10, until_s = 7200, share = 0.5 }}]\n"
        );
        let count = violations(&run(&text)).count;
        assert!(count > 0, "{name}");
    }
}

/// Violations of Chord in a variant, under churn that a correct ring bears.
fn of_variant(variant: Variant) -> Violations {
    let text = "nodes = 200\nduration_s = 3600\ncheck = \"always\"\n[overlay.chord]\n[churn]\n\
                session = { model = \"exponential\", mean_s = 600 }\n\
                absence = { model = \"exponential\", mean_s = 60 }\nrenamed = true\n";
    let scenario = Scenario::parse("variants", text).unwrap();
    // The end is not quiet: only the ring itself is looked at, until shortly before.
    let setting = scenario.setting(&scenario.overlays[0], 1);
    let routing = chord::Config { variant, successors: 8, bits: 64, ..chord::Config::default() };
    let mut trial = Trial::<Chord>::new(&Arc::new(Chord::config(routing)), setting);
    trial.run(1, &mut |now: Time, _| now < Time::from_secs(3500));
    trial.findings().violations.unwrap()
}

#[test]
fn faulty_protocols_break_the_ring_where_the_correct_one_does_not() {
    assert_eq!(of_variant(Variant::Correct), Violations::default());
    for variant in [Variant::Published, Variant::ShortJoin] {
        let broken = of_variant(variant);
        let first = broken.first.as_ref().unwrap_or_else(|| panic!("{variant:?} breaks nothing"));
        assert!(first.what.contains("no live successor"), "{variant:?}: {first}");
    }
}
