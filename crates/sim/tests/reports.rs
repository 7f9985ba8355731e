//! What tables, pages and files say of runs that were stopped, and of columns that stay empty.
#![allow(clippy::unwrap_used)] // a test may panic, helpers included

use std::sync::atomic::{AtomicU32, Ordering};

use starling_sim::metrics::Kind;
use starling_sim::report::{self, COLUMNS, Page, Report};
use starling_sim::runner::{self, Progress};
use starling_sim::scenario::Scenario;

fn scenario(nodes: u32) -> Scenario {
    let text = format!(
        "nodes = {nodes}\nduration_s = 60\n[overlay]\nchord = {{}}\nkademlia = {{}}\n\
         [[traffic]]\nask = \"find\"\ntotal = 20\n"
    );
    Scenario::parse("stopped", &text).unwrap()
}

/// The report of a run of so many nodes that is stopped when it has asked so often.
fn stopped(nodes: u32, after: u32) -> Report {
    let asked = AtomicU32::new(0);
    runner::run(&scenario(nodes), 1, &|_: &Progress| asked.fetch_add(1, Ordering::Relaxed) < after)
}

#[test]
fn what_was_not_measured_is_told() {
    let (whole, half, none) = (stopped(50, u32::MAX), stopped(50, 20), stopped(10, 0));
    assert!(!whole.conditions().contains("interrupted"), "{}", whole.conditions());
    assert_eq!(half.conditions(), "50 nodes, one seed; interrupted: 1 of 2 trials was begun");
    assert!(report::table(&half).contains("1 of 2 trials"), "{}", report::table(&half));
    assert_eq!(none.conditions(), "10 nodes, one seed; interrupted: none of 2 trials was begun");

    let page = |report, sizes: &[Report], churn| report::page(&Page { report, sizes, churn: Some(churn) });
    let good = page(&whole, &[stopped(10, u32::MAX)], &whole);
    assert!(!good.contains("interrupted") && good.contains("over size"), "{good}");
    let bad = page(&whole, std::slice::from_ref(&none), &none);
    let churn = bad.split_once("Under churn").unwrap().1;
    assert!(churn.contains("none of 2 trials was begun") && !churn.contains("<th>overlay"), "{churn}");
    assert!(!bad.contains("over size</h2>"), "one size is no growth: {bad}");
    assert!(bad.contains("at 10 nodes is not known: the run was interrupted before its end"), "{bad}");
    // Each column of both tables is explained.
    let mut churn = whole.clone();
    churn.columns = vec![report::column("members").unwrap(), report::column("hops").unwrap()];
    let both = page(&whole, &[], &churn);
    let explained = both.split_once("What the columns mean").unwrap().1;
    for (heading, times) in [("members", 1), ("hops", 1), ("recall", 1)] {
        assert_eq!(explained.matches(&format!("<tr><td>{heading}<")).count(), times, "{explained}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&Page { report: &half, sizes: &[], churn: None }.json()).unwrap();
    assert_eq!(json["conditions"], half.conditions());
}

/// A page in the dark turns the colours of its drawings, so it must turn those of the key as
/// well: two of them are turned into each other.
#[test]
fn in_the_dark_the_key_is_turned_like_the_drawings() {
    let page = report::page(&Page { report: &stopped(10, u32::MAX), sizes: &[], churn: None });
    let turned: Vec<&str> = page.lines().filter(|line| line.contains("filter:")).collect();
    assert!(matches!(turned[..], [line] if line.trim_start().starts_with("svg, .key i {")), "{turned:?}");
}

/// Nothing counts that was sent before, and neither do messages of a run that came no further.
#[test]
fn a_run_that_is_stopped_before_it_is_measured_has_no_load() {
    let text = "nodes = 50\nduration_s = 60\nmeasure_from_s = 50\n[overlay.chord]\n";
    let asked = AtomicU32::new(0);
    let go_on = |_: &Progress| asked.fetch_add(1, Ordering::Relaxed) < 40;
    let report = runner::run(&Scenario::parse("early", text).unwrap(), 1, &go_on);
    let figure = |name: &str| report.rows[0].figure(report::column(name).unwrap());
    assert!(figure("events").unwrap().mean > 0.0 && figure("load_max").is_none(), "{report:?}");
}

/// Papers print the 1st and the 99th percentile behind a mean.
#[test]
fn percentiles_of_hops_and_time_outs_have_so_many_below_them() {
    let text = "nodes = 200\nduration_s = 200\nupkeep = false\n[overlay.chord]\nsuccessors = 20\n\
                style = \"iterative\"\n[[failure]]\nat_s = 1\nshare = 0.5\n\
                [[traffic]]\nask = \"find\"\nfrom_s = 2\nuntil_s = 100\ntotal = 2000\n";
    let report = runner::run(&Scenario::parse("half.toml", text).unwrap(), 1, &|_: &Progress| true);
    let row = &report.rows[0];
    let finds = &row.trials[0].1.operations[&Kind::Find];
    for (name, values, share) in [
        ("hops_p1", &finds.hops, 0.01),
        ("hops_p99", &finds.hops, 0.99),
        ("timeouts_p1", &finds.timeouts, 0.01),
        ("timeouts_p99", &finds.timeouts, 0.99),
    ] {
        let figure = row.figure(report::column(name).unwrap()).unwrap().mean;
        let up_to = |most: f64| {
            let counts = values.buckets().filter(|&(value, _)| value as f64 <= most);
            counts.map(|(_, count)| count).sum::<u64>() as f64 / values.count() as f64
        };
        assert!(up_to(figure - 1.0) < share && share <= up_to(figure), "{name}: {figure}");
    }
}

/// A column is told to stay empty if and only if it does, in scenarios that lack this or that.
#[test]
fn columns_that_stay_empty_are_those_that_are_told_of() {
    let find = "[[traffic]]\nask = \"find\"\nfrom_s = 100\nuntil_s = 150\ntotal = 200\n";
    let look_up = "[[traffic]]\nask = \"lookup\"\nfrom_s = 100\nuntil_s = 150\ntotal = 200\n";
    let search = "[[traffic]]\nask = \"search\"\nfrom_s = 100\nuntil_s = 150\ntotal = 200\n";
    let records = "[records]\ncount = 40\ncopies = 2\nvocabulary = 20\npublish_over_s = 20\n";
    for (head, tables) in [
        ("", "[overlay.chord]\n".to_owned()),
        ("check_roots = true\n", format!("[overlay.chord]\n{find}")),
        ("measure_from_s = 160\n", format!("[overlay.chord]\n{find}")),
        ("", format!("[overlay.pastry]\n{find}")),
        ("check_roots = true\n", format!("[overlay.kelips]\n{find}{records}")),
        ("check = \"end\"\n", format!("[overlay.gnutella]\n{look_up}{records}")),
        ("", format!("[overlay.fasttrack]\n{search}{records}")),
        (
            "check = \"always\"\ncheck_roots = true\n",
            format!("[overlay.chord]\n{find}{look_up}{search}{records}"),
        ),
    ] {
        let text = format!("nodes = 60\nduration_s = 200\n{head}{tables}");
        let mut scenario = Scenario::parse("x.toml", &text).unwrap();
        scenario.columns = COLUMNS.iter().map(|column| column.name.to_owned()).collect();
        let told: Vec<String> = scenario.empty_columns().iter().map(|wrong| wrong.what.clone()).collect();
        let report = runner::run(&scenario, 1, &|_: &Progress| true);
        for column in &COLUMNS {
            let name = format!("the column {:?} stays empty", column.name);
            let is_told = told.iter().any(|told| told.contains(&name));
            let is_empty = report.rows[0].figure(column).is_none();
            assert_eq!(is_told, is_empty, "{}: {text}", column.name);
        }
    }
}
