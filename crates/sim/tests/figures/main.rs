//! The published figures in small: that their scenarios make sense, that some of them come
//! out with a few seeds, and that a figure which is not so is not confirmed.
#![allow(clippy::unwrap_used)] // a test may panic, helpers included

mod kelips;

use starling_sim::report::{Report, cell, column, findings};
use starling_sim::runner::{self, Progress};
use starling_sim::scenario::{self, FIGURES, Scenario};

/// A thread a seed: two threads that share one world wait for each other all the time.
fn run(scenario: &Scenario) -> Report {
    runner::run(scenario, scenario.seeds.min(2) as usize, &|_: &Progress| true)
}

/// What is not confirmed of a scenario with so many seeds.
fn faults(mut scenario: Scenario, seeds: u64) -> Vec<String> {
    scenario.seeds = seeds;
    let found = findings(&scenario.figures, &run(&scenario)).into_iter();
    let said = found.filter_map(|one| {
        let measured = one.measured.map(|interval| cell(&interval));
        Some(format!("{} {}: {measured:?}, not {}: {}", one.label, one.what, one.claim, one.fault?))
    });
    said.collect()
}

#[test]
fn every_scenario_has_figures_conditions_and_ten_seeds() {
    for entry in FIGURES {
        let scenario = scenario::named(entry.name).unwrap();
        assert!(scenario.seeds >= 10 && !scenario.about.is_empty(), "{}", entry.name);
        assert!(!scenario.figures.is_empty(), "{}", entry.name);
        let printed = |name: &str| scenario.columns.iter().any(|column| column == name);
        assert!(scenario.figures.iter().all(|figure| printed(figure.column.name)), "{}", entry.name);
    }
}

/// Two seeds give wide intervals, so only what does not depend on chance much.
#[test]
fn paths_are_as_long_and_floods_as_large_as_published() {
    for name in ["chord-1024", "chord-failed-0"] {
        assert_eq!(faults(scenario::named(name).unwrap(), 3), [""; 0], "{name}");
    }
    assert_eq!(faults(scenario::named("gnutella-flood-2").unwrap(), 2), [""; 0]);
    let tenth = timeouts("chord-failed-10", 10_000, 10);
    assert!((tenth - 0.6).abs() < 0.2, "{tenth}");
}

/// Before repair, nobody profits from what an earlier look-up met.
#[test]
fn the_dead_are_met_as_often_however_many_look_ups_there_are() {
    let (few, many) = (timeouts("chord-failed-50", 1_000, 2), timeouts("chord-failed-50", 20_000, 2));
    assert!((few / many - 1.0).abs() < 0.1, "{few} and {many}");
}

/// Time-outs a look-up of that scenario with so many look-ups and seeds; all find the root.
fn timeouts(name: &str, look_ups: u32, seeds: u32) -> f64 {
    let entry = FIGURES.iter().find(|entry| entry.name == name).unwrap();
    let text = entry.text.replace("total = 10000", &format!("total = {look_ups}"));
    let text = text.replace("seeds = 30", &format!("seeds = {seeds}"));
    let report = run(&Scenario::parse(name, &text).unwrap());
    let mean = |name: &str| report.rows[0].figure(column(name).unwrap()).unwrap().mean;
    assert_eq!(mean("correct"), 1.0);
    mean("timeouts")
}

#[test]
fn what_is_not_so_is_not_confirmed() {
    let entry = FIGURES.iter().find(|entry| entry.name == "chord-failed-0").unwrap();
    let text = entry.text.replace("\"3.84\"", "\"4.84\"").replace("at_most = 0", "at_least = 1");
    let faults = faults(Scenario::parse("wrong", &text).unwrap(), 3);
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults[0].ends_with("too small") && faults[1].ends_with("breaks the bound"), "{faults:?}");
}

#[test]
fn the_keys_of_a_host_are_those_of_all_its_virtual_nodes() {
    let text = |virtual_nodes: u32| {
        format!(
            "nodes = 301\nvirtual_nodes = {virtual_nodes}\nupkeep = false\nduration_s = 60\n\
             [overlay.chord]\nreplicas = 1\nroot_set = 1\n\
             [records]\ncount = 6020\nwords = 0\npublish_over_s = 20\n"
        )
    };
    let spread = |virtual_nodes| {
        let report = run(&Scenario::parse("keys", &text(virtual_nodes)).unwrap());
        let findings = &report.rows[0].trials[0].1;
        assert_eq!((findings.kept.len(), findings.live), (301, 301 * u64::from(virtual_nodes)));
        assert_eq!(findings.kept.iter().sum::<u64>(), 6020, "each key is kept once");
        assert_eq!(findings.load.count(), 301);
        (column("kept_p99").unwrap().value)(findings).unwrap()
    };
    let (one, many) = (spread(1), spread(10));
    assert!(one > 3.5 && many < 2.4, "{one} and {many} times the mean");
}

#[test]
fn a_host_fails_and_comes_back_with_all_its_virtual_nodes() {
    let text = "nodes = 300\nvirtual_nodes = 4\nstart = \"join\"\njoin_over_s = 30\nduration_s = 400\n\
                check_roots = true\n[overlay.chord]\n\
                [churn]\nsession = { model = \"exponential\", mean_s = 900 }\n\
                absence = { model = \"exponential\", mean_s = 100 }\ngraceful = 0.5\n\
                [[failure]]\nat_s = 200\nshare = 0.2\n\
                [[traffic]]\nask = \"find\"\nfrom_s = 100\ntotal = 500\n";
    let report = run(&Scenario::parse("hosts", text).unwrap());
    let findings = &report.rows[0].trials[0].1;
    assert!((600..1_140).contains(&findings.live), "{}", findings.live);
    assert_eq!(findings.live % 4, 0, "hosts are up as a whole");
    let success = (column("success").unwrap().value)(findings).unwrap();
    assert!(success > 0.97, "{success}");
}

/// Without upkeep nothing is sent that was not asked for.
#[test]
fn a_network_without_upkeep_is_silent() {
    for name in scenario::NAMES {
        let text = |upkeep| format!("nodes = 100\nupkeep = {upkeep}\nduration_s = 600\n[overlay.{name}]\n");
        let sent = |upkeep| {
            let report = run(&Scenario::parse(name, &text(upkeep)).unwrap());
            report.rows[0].trials[0].1.whole.messages.iter().sum::<u64>()
        };
        assert!(sent(true) > 0, "{name}");
        assert_eq!(sent(false), 0, "{name}");
    }
}

#[test]
fn the_state_of_kelips_grows_with_the_root_of_the_size() {
    let exponents: Vec<f64> =
        (0..10).map(|node| (kelips::state(node, 100_000) / kelips::state(node, 10_000)).log10()).collect();
    assert!(exponents.iter().all(|exponent| (0.35..0.5).contains(exponent)), "{exponents:?}");
}

/// Gupta et al. 2003: 1.93 MB.
#[test]
fn ten_million_files_take_kelips_nodes_what_the_paper_says() {
    let (paper, ours) = kelips::megabytes(7);
    assert!((1.92..1.94).contains(&paper), "{paper} MB");
    assert!(ours < 6.0, "{ours} MB");
}
