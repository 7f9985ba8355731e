//! Scenarios as texts, and all overlays in them.
#![allow(clippy::unwrap_used)] // a test may panic, helpers included

mod common;

use std::sync::atomic::{AtomicU32, Ordering};

use starling_sansio::Time;
use starling_sim::metrics::{Kind, Operations};
use starling_sim::report::{self, Page};
use starling_sim::runner::{self, Progress};
use starling_sim::scenario::{self, Choice, LIBRARY, NAMES, Scenario};
use starling_sim::trace::{self, Request};

/// A small lively network: joins by the protocol, churn, loss, records, all questions.
fn lively(overlay: &str, seeds: u64) -> Scenario {
    let unstructured = ["napster", "gnutella", "fasttrack"].contains(&overlay);
    let finds = if unstructured { "" } else { "[[traffic]]\nask = \"find\"\nfrom_s = 120\ntotal = 20\n" };
    let text = format!(
        r#"
nodes = 300
start = "join"
join_over_s = 30
duration_s = 180
measure_from_s = 60
seeds = {seeds}

[overlay]
{overlay} = {{}}

[network]
latency = {{ model = "internet" }}
loss = 0.01

[churn]
session = {{ model = "pareto", mean_s = 3600, shape = 2.0 }}
absence = {{ model = "exponential", mean_s = 600 }}
graceful = 0.5
renamed = true

[records]
count = 20
copies = 3
vocabulary = 50
publish_from_s = 60
publish_over_s = 20

[[traffic]]
ask = "lookup"
from_s = 120
total = 60

[[traffic]]
ask = "search"
from_s = 120
total = 20

{finds}"#
    );
    Scenario::parse("lively", &text).unwrap()
}

/// The hash of the only trial's trace, and the share of look-ups by key that found something.
fn outcome(scenario: &Scenario, threads: usize) -> (u64, f64) {
    let choice = &scenario.overlays[0];
    let findings = choice.run(scenario.setting(choice, 1), threads, &mut |_, _| true);
    let found = findings.operations.get(&Kind::LookUp).and_then(Operations::success);
    (findings.whole.hash(), found.unwrap_or(0.0))
}

#[test]
fn every_overlay_gives_the_same_trace_on_one_thread_and_on_two() {
    for name in NAMES {
        let scenario = lively(name, 1);
        let (one, found) = outcome(&scenario, 1);
        assert_eq!(outcome(&scenario, 2).0, one, "{name}: two threads");
        assert_eq!(outcome(&scenario, 1).0, one, "{name}: a second run");
        common::note_traces(&format!("lively-{name}"), &[one]);
        assert!(found > 0.95, "{name}: {found} of the look-ups found something");
    }
}

/// However much chance an overlay uses itself: the same is asked of each, so that rows of
/// one table can be compared.
#[test]
fn every_overlay_is_asked_the_same() {
    let compare = scenario::named("compare").unwrap().with_nodes(60).unwrap();
    let report = runner::run(&compare, 2, &|_| true);
    let asked = |row: &report::Summary| {
        let of = |kind| &row.trials[0].1.operations[&kind];
        let (lookups, searches) = (of(Kind::LookUp), of(Kind::Search));
        (lookups.begun, lookups.possible, searches.begun, searches.possible)
    };
    let first = asked(&report.rows[0]);
    assert_eq!((first.0, first.2), (500, 200));
    report.rows.iter().for_each(|row| assert_eq!(asked(row), first, "{}", row.label));
}

#[test]
fn another_seed_is_another_trace() {
    let report = runner::run(&lively("chord", 2), 2, &|_: &Progress| true);
    let hashes: Vec<u64> = report.rows[0].trials.iter().map(|(_, findings)| findings.whole.hash()).collect();
    assert_eq!(hashes.len(), 2);
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn who_interrupts_gets_what_is_known() {
    let scenario = lively("kademlia", 1);
    let until_half = |progress: &Progress| progress.reached.as_secs_f64() < 90.0;
    let report = runner::run(&scenario, 1, &until_half);
    let findings = &report.rows[0].trials[0].1;
    assert!((90.0..92.0).contains(&findings.reached.as_secs_f64()));
    assert!(findings.members > 200);
    assert!(report::table(&report).contains("kademlia, stopped at 9"), "an unfinished row says so");
}

#[test]
fn the_library_makes_sense() {
    for entry in LIBRARY {
        let scenario = scenario::named(entry.name).unwrap();
        assert!(!scenario.about.is_empty() && !scenario.overlays.is_empty(), "{}", entry.name);
    }
    let compare = scenario::named("compare").unwrap();
    assert_eq!(compare.overlays.iter().map(Choice::name).collect::<Vec<_>>(), NAMES);
    assert!(scenario::named("nonsense").unwrap_err().to_string().contains("compare"));
}

/// What makes sense; the texts below are this with something else in its place.
const GOOD: &str = "nodes = 10\nduration_s = 5\n[overlay.chord]\n[[traffic]]\nask = \"find\"\ntotal = 3\n";

/// Each of `wrong` in the place of something good is refused with that line and those words.
fn are_refused(wrong: &[(&str, &str, usize, &str)]) {
    assert!(Scenario::parse("good", GOOD).is_ok());
    for &(from, to, line, remedy) in wrong {
        let text = GOOD.replacen(from, to, 1);
        let error = Scenario::parse("x.toml", &text).unwrap_err();
        assert_eq!((error.file.as_str(), error.line), ("x.toml", line), "{to}: {error}");
        assert!(error.to_string().contains(remedy) && !error.to_string().contains('\n'), "{to}: {error}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_a_remedy() {
    are_refused(&[
        ("nodes = 10", "nodes = 0", 1, "from 1"),
        ("nodes = 10", "nodes = \"ten\"", 1, "expected a whole number"),
        ("nodes = 10", "nodes = -10", 1, "expected a whole number"),
        ("duration_s = 5", "duration_s = \"five\"", 2, "expected a number"),
        ("duration_s = 5", "duration_s = 1e301", 2, "duration_s is 1e301, but"),
        ("duration_s = 5", "duration_s = 5\njoin_over_s = 2", 3, "add start"),
        ("total = 3", "total = 3\nwanted = 0", 7, "wanted is 0"),
        ("total = 3", "total = 3\nwanted = 9", 7, "hits are wanted of a search"),
        ("nodes = 10", "nodes = 10\nnode = 3", 2, "nodes"),
        ("nodes = 10", "nodes = 10\nbits = 3", 2, "at least 4 bits"),
        ("duration_s = 5", "duration_s = -1", 2, "from 0.001"),
        ("duration_s = 5", "duration_s = 5\ncolumns = [\"hop\"]", 3, "hops"),
        ("[overlay.chord]", "[overlay.cord]", 3, "chord"),
        ("[overlay.chord]", "[overlay.chord]\nsuccesors = 3", 4, "successors"),
        ("[overlay.chord]", "[overlay.chord]\n[network]\nloss = 2", 5, "from 0 to 1"),
        ("total = 3", "", 5, "either total or every_s"),
        ("ask = \"find\"", "ask = \"lookup\"", 5, "add [records]"),
        ("total = 3\n", "total = 3\n[[failure]]\nat_s = 9\nshare = 0.1", 8, "at_s is 9"),
        ("total = 3\n", "total = 3\n[[failure]]\nat_s = 1\n", 7, "either the share that fails or"),
        (
            "total = 3\n",
            "total = 3\n[[failure]]\nat_s = 1\nshare = 0.1\n[[failure]]\nat_s = 1\nshare = 7\n",
            12,
            "share is 7",
        ),
        (
            "total = 3\n",
            "total = 3\n[churn]\nsession = { model = \"constant\", mean_s = 1 }\nabsence = { model = \"constant\", mean_s = 0 }\n",
            9,
            "mean_s is 0",
        ),
        ("total = 3\n", "total = 18446744073709551\n", 6, "must be from 1 to 100000000"),
        ("total = 3", "total = 0", 6, "total is 0"),
        (
            "duration_s = 5",
            "duration_s = 5\ncolumns = [\"hops\", \"success\", \"hops\"]",
            3,
            "the column \"hops\" is there twice",
        ),
        ("total = 3\n", "total = 3\n[records]\ncopies = 1\n", 7, "either count or per_node"),
        ("total = 3\n", "total = ", 6, ""),
        ("nodes = 10", "nodes = 10\nvirtual_nodes = 0", 2, "from 1"),
        ("nodes = 10", "nodes = 10\nbits = 4\nvirtual_nodes = 2", 2, "20 nodes need at least 5 bits"),
        ("nodes = 10", "nodes = 10\nupkeep = \"no\"", 2, "expected a boolean"),
        (
            "total = 3\n",
            "total = 3\n[records]\ncount = 1\nwords = 0\n[[traffic]]\nask = \"search\"\ntotal = 3\n",
            9,
            "give them some",
        ),
    ]);
}

#[test]
fn what_would_come_after_the_end_or_to_nobody_is_refused() {
    let partition = "total = 3\n[[network.partition]]\nshare = 0.5\nuntil_s = 9\nfrom_s = ";
    assert!(Scenario::parse("good", &GOOD.replacen("total = 3\n", &format!("{partition}4\n"), 1)).is_ok());
    are_refused(&[
        ("total = 3\n", &format!("{partition}6\n"), 10, "from_s is 6, but must be from 0 to less than 5"),
        ("total = 3\n", "total = 3\n[[arrival]]\nat_s = 3\nover_s = 3\ncount = 2\n", 9, "it lasts until 6 s"),
        ("total = 3\n", "total = 3\n[[arrival]]\nat_s = 3\nover_s = 1\ncount = 0\n", 10, "count is 0"),
        (
            "total = 3\n",
            "total = 3\n[records]\ncount = 1\npublish_from_s = 3\npublish_over_s = 3\n",
            10,
            "it lasts until 6 s, but the scenario only 5 s",
        ),
        ("duration_s = 5", "duration_s = 5\nupkeep = false\nstart = \"join\"", 3, "nobody can come"),
        ("total = 3\n", "total = 3\n[records]\nper_node = 1e9\n", 8, "must be from 0.00000"),
        ("total = 3\n", "total = 3\n[network.hostile]\nshare = 0.1\ndoes = \"crowd\"\n", 9, "add [records]"),
    ]);
}

#[test]
fn a_table_of_the_wrong_form_is_shown_the_right_one() {
    are_refused(&[
        (
            "total = 3\n",
            "total = 3\n[network]\nlatency = \"constant\"\n",
            8,
            "{ model = \"constant\", ms = 50 }",
        ),
        ("total = 3\n", "total = 3\n[churn]\nsession = 5\nabsence = 5\n", 9, "mean_s = 3600 }"),
        ("[overlay.chord]", "[overlay.gnutella]\nsearch = 7", 4, "{ by = \"flood\", ttl = 7 }"),
        ("[[traffic]]", "[traffic]", 4, "tables under [[name]]"),
        ("[overlay.chord]", "overlay = \"chord\"", 3, "expected a table"),
        ("[overlay.chord]", "[overlay.chord]\n[network]\nhostile = \"drop\"", 5, "expected a table"),
        (
            "[overlay.chord]",
            "[overlay.chord]\n[network]\nlatency = { model = \"internet\", ms = 3 }",
            5,
            "unknown field `ms`: leave it out, as in { model = \"internet\" }",
        ),
        (
            "[overlay.chord]",
            "[overlay.chord]\n[network]\nlatency = { model = 3 }",
            5,
            "expected a name in quotes",
        ),
        ("nodes = 10", "nodes = 10\ncheck = true", 2, "expected a name in quotes"),
        ("nodes = 10", "nodes = 99999999999999999999", 1, "integer `99999999999999999999`, expected a whole"),
        ("[overlay.chord]", "[overlay.chord]\nstabilize_s = 1e300", 4, "1e300 s is out of bounds"),
        ("[overlay.chord]\n", "", 0, "add one of [overlay.napster]"),
    ]);
}

#[test]
fn figures_that_nothing_could_confirm_are_refused() {
    are_refused(&[
        (
            "total = 3\n",
            "total = 3\n[[figure]]\ncolumn = \"hops\"\nat_least = 4\nat_most = 3\n",
            9,
            "at_least is 4, but at_most only 3",
        ),
        ("total = 3\n", "total = 3\n[[figure]]\ncolumn = \"hop\"\nat_most = 1\n", 8, "no column \"hop\""),
        ("total = 3\n", "total = 3\n[[figure]]\ncolumn = \"hops\"\n", 7, "either what was published"),
        ("total = 3\n", "total = 3\n[[figure]]\ncolumn = \"hops\"\npublished = \"few\"\n", 9, "5.88"),
        (
            "total = 3\n",
            "total = 3\n[[figure]]\ncolumn = \"hops\"\npublished = \"2\"\nwithin = 5\n",
            10,
            "0.5",
        ),
        (
            "total = 3\n",
            "total = 3\n[[figure]]\ncolumn = \"hops\"\nrow = \"cord\"\nat_least = 1\n",
            9,
            "there are chord",
        ),
        ("total = 3\n", "total = 3\n[[figure]]\ncolumn = \"hops\"\nat_least = nan\n", 9, "no number"),
        (
            "total = 3\n",
            "total = 3\n[[figure]]\ncolumn = \"hops\"\nat_most = 1\nwithin = 0.1\n",
            10,
            "published",
        ),
        (
            "total = 3\n",
            "total = 3\n[[figure]]\ncolumn = \"hops\"\nat_most = 1\nnetworks = 1\n",
            10,
            "published",
        ),
    ]);
}

#[test]
fn a_wrong_number_of_nodes_is_no_line_s_fault() {
    let scenario = scenario::named("compare").unwrap();
    let wrong = scenario.with_nodes(0).unwrap_err();
    assert!(wrong.line == 0 && wrong.to_string().contains("nodes is 0"), "{wrong}");
}

/// Where only one of two durations is given, it is compared with what the other one is then.
#[test]
fn time_outs_of_kelips_that_nothing_outlives_are_refused() {
    let parse = |nodes: u32, parameters: &str| {
        let text = format!("nodes = {nodes}\nduration_s = 60\n[overlay.kelips]\n{parameters}\n");
        Scenario::parse("x.toml", &text).map(|_| ()).map_err(|wrong| wrong.to_string())
    };
    for (nodes, parameters, line, said) in [
        (
            100,
            "refresh_s = 2701",
            4,
            "refresh_s is 2701, but tuple_timeout_s only 2700: lower refresh_s or raise",
        ),
        (
            100,
            "tuple_timeout_s = 599",
            4,
            "refresh_s is 600, but tuple_timeout_s only 599: lower refresh_s or",
        ),
        (100, "gossip_interval_s = 3000", 4, "gossip_interval_s is 3000, but tuple_timeout_s only 2700"),
        (100, "contact_timeout_s = 3", 4, "gossip_interval_s is 4, but contact_timeout_s only 3"),
        (
            100,
            "groups = 5\nmember_timeout_s = 3",
            5,
            "a node hears of all 20 of its group only in 4 s: raise it",
        ),
        // 66 members that are heard of in a round, of 1,000.
        (
            10_000,
            "groups = 10\nmember_timeout_s = 63",
            5,
            "hears of all 1000 of its group only in 64 s: raise",
        ),
        (100, "gossip_interval_s = 60\nmember_timeout_s = 40", 5, "member_timeout_s is 40, but a node hears"),
    ] {
        let wrong = parse(nodes, parameters).expect_err(parameters);
        assert!(wrong.contains(said) && wrong.contains(&format!("line {line}")), "{parameters}: {wrong}");
    }
    for (nodes, parameters) in [
        (100, "refresh_s = 2700"),
        (100, "tuple_timeout_s = 600"),
        (100, "refresh_s = 3000\ntuple_timeout_s = 9000"),
        (100, "gossip_interval_s = 600"),
        (100, "member_timeout_s = 4\ncontact_timeout_s = 4"),
        (10_000, "groups = 10\nmember_timeout_s = 64"),
        (10_000, "groups = 10\ngroup_targets = 0"),
        (1, "groups = 8192"),
    ] {
        assert_eq!(parse(nodes, parameters), Ok(()), "{parameters}");
    }
}

/// Somebody who interrupts need not wait for the tables of a million nodes.
#[test]
fn a_run_can_be_stopped_before_its_world_stands() {
    let scenario = scenario::named("compare").unwrap().with_nodes(3_000).unwrap();
    let asked = AtomicU32::new(0);
    let more = |_: &Progress| asked.fetch_add(1, Ordering::Relaxed) < 2;
    let report = runner::run(&scenario, 1, &more);
    let [row] = &report.rows[..] else { panic!("{} rows", report.rows.len()) };
    assert_eq!((row.trials[0].1.whole.events(), row.trials[0].1.reached), (0, Time::ZERO));
}

/// The lecture's example: peer 0 of 16 looks for 15; it asks 8, which names 12, which
/// names 14, which knows that 15 is responsible.
#[test]
fn the_classroom_s_look_up_goes_by_8_12_and_14() {
    let choice = Choice::for_class("chord", 4).unwrap();
    let request = Request { nodes: 16, bits: 4, even: true, from: 0, key: starling_sim::key(15, 4), seed: 1 };
    let trace = trace::trace(&choice, &request);
    let number = |id: &starling_overlay::Id| id.number(4);
    let asked: Vec<u64> =
        trace.steps.iter().filter(|step| number(&step.from) == 0).map(|step| number(&step.to)).collect();
    assert_eq!(asked[..3], [8, 12, 14], "{}", trace.text());
    assert_eq!(trace.answer.first().map(number), Some(15));
    let named = |by: u64, whom: u64| {
        trace
            .steps
            .iter()
            .any(|step| number(&step.from) == by && step.names.iter().any(|id| number(id) == whom))
    };
    assert!(named(8, 12) && named(12, 14) && named(14, 15), "{}", trace.text());
    assert!(trace.text().contains("finger +8"));
}

#[test]
fn every_overlay_can_be_traced() {
    for name in NAMES {
        let choice = Choice::for_class(name, 6).unwrap();
        let request =
            Request { nodes: 40, bits: 6, even: false, from: 3, key: starling_sim::key(33, 6), seed: 2 };
        let trace = trace::trace(&choice, &request);
        let text = trace.text();
        // Who asks may be responsible itself.
        let steps = trace.end.map_or(0, |(_, cost)| 2 * cost.hops.min(1));
        assert!(trace.is_found() && trace.steps.len() >= steps as usize, "{name}: {text}");
        assert!(text.contains("node ") && trace.steps.iter().all(|step| step.at.as_secs() < 5), "{text}");
        let structured = choice.root().is_some() || *name == "kelips";
        assert!(text.contains(if structured { "is responsible" } else { "has it" }), "{name}: {text}");
    }
}

/// Node 0 is one of Napster's servers.
#[test]
fn who_knows_the_answer_itself_says_so() {
    let trace = |from| {
        let choice = Choice::for_class("napster", 4).unwrap();
        let request =
            Request { nodes: 16, bits: 4, even: true, from, key: starling_sim::key(15, 4), seed: 1 };
        trace::trace(&choice, &request)
    };
    let (server, client) = (trace(0), trace(9));
    assert!(server.is_found() && server.steps.is_empty());
    assert!(server.text().contains("no message: node 0 knows it itself"), "{}", server.text());
    assert!(client.is_found() && client.steps.len() == 2 && !client.text().contains("no message"));
}

#[test]
fn a_report_is_a_page_a_table_and_files_that_agree() {
    let mut report = runner::run(&lively("chord", 2), 2, &|_: &Progress| true);
    report.name = "<&>".into();
    let page =
        report::page(&Page { report: &report, sizes: std::slice::from_ref(&report), churn: Some(&report) });
    assert!(page.contains("&lt;&amp;&gt;") && page.matches("<svg").count() >= 4, "{page}");
    assert!(!page.contains("http://") || page.contains("www.w3.org/2000/svg"));
    assert!(!page.contains("<script") && !page.contains("src="));
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    let hops = json["overlays"][0]["figures"]["hops"]["mean"].as_f64().unwrap();
    let lines: Vec<f64> = report
        .csv()
        .lines()
        .filter(|line| line.contains(",hops,"))
        .filter_map(|line| line.rsplit(',').next()?.parse().ok())
        .collect();
    assert_eq!(lines.len(), 2);
    assert!((lines.iter().sum::<f64>() / 2.0 - hops).abs() < 1e-9);
}

/// All come within the first moments, before anybody is there to join through.
#[test]
fn those_who_come_at_once_build_one_overlay() {
    for name in ["chord", "pastry", "kademlia"] {
        let text = format!(
            "nodes = 300\nstart = \"join\"\njoin_over_s = 3\nduration_s = 300\ncheck_roots = true\n\
             [overlay.{name}]\n[[traffic]]\nask = \"find\"\nfrom_s = 200\nuntil_s = 240\ntotal = 300\n"
        );
        let report = runner::run(&Scenario::parse(name, &text).unwrap(), 2, &|_: &Progress| true);
        let figure = |column: &str| report.rows[0].figure(report::column(column).unwrap()).unwrap().mean;
        assert!(figure("correct") > 0.99 && figure("success") > 0.99, "{name}: {}", report::table(&report));
    }
}

/// A record that is found on the way ends a look-up: whom it asked in vain before counts.
#[test]
fn whom_a_look_up_asked_in_vain_counts_though_it_finds_the_record() {
    for name in ["chord", "kademlia"] {
        let text = format!(
            "nodes = 300\nduration_s = 200\n[overlay.{name}]\n\
             [records]\ncount = 50\ncopies = 3\nwords = 0\n[[failure]]\nat_s = 120\nshare = 0.33\n\
             [[traffic]]\nask = \"lookup\"\nfrom_s = 121\nuntil_s = 125\ntotal = 200\n"
        );
        let report = runner::run(&Scenario::parse(name, &text).unwrap(), 2, &|_: &Progress| true);
        let figure = |column: &str| report.rows[0].figure(report::column(column).unwrap()).unwrap().mean;
        assert!(figure("success") > 0.9 && figure("timeouts") > 0.05, "{name}: {}", figure("timeouts"));
    }
}

/// The document's example runs, and its table names each parameter there is and no other.
#[test]
fn the_document_says_what_a_scenario_can() {
    let document = include_str!("../../../docs/overlays.md");
    let example = document.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    Scenario::parse("example", example).unwrap();
    let of_all = parameters_in(document, "| all three |");
    for name in NAMES {
        let mut named = parameters_in(document, &format!("| `{name}` |"));
        if ["chord", "pastry", "kademlia"].contains(name) {
            named.extend(of_all.clone());
        }
        let text = format!("nodes = 9\nduration_s = 9\n[overlay.{name}]\nnonsense = 1\n");
        let error = Scenario::parse("x.toml", &text).unwrap_err().to_string();
        let mut known = quoted(error.split_once("expected one of").unwrap().1);
        known.retain(|known| known != "label");
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known, "{name}");
    }
}

/// What a row of the document's table names in its second column.
fn parameters_in(document: &str, head: &str) -> Vec<String> {
    let row = document.lines().find_map(|line| line.strip_prefix(head)).unwrap();
    quoted(row.split_once("; `search`").map_or(row, |(before, _)| before))
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
