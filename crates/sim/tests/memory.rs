//! What does not fit into memory is refused before it runs.
#![allow(clippy::unwrap_used)] // a test may panic, helpers included

use starling_sim::report;
use starling_sim::runner::{self, Progress};
use starling_sim::scenario::{self, Scenario};

#[test]
fn more_nodes_than_memory_are_refused_before_the_run() {
    let scenario = scenario::named("compare").unwrap().with_nodes(10_000_000).unwrap();
    let wrong = scenario.fits(Some(1 << 30), 2).unwrap_err();
    assert!(wrong.line == 0 && wrong.to_string().contains("try "), "{wrong}: no line says that number");
    let text = "duration_s = 9\nnodes = 10_000_000\n[overlay.chord]\n";
    let wrong = Scenario::parse("x.toml", text).unwrap().fits(Some(1 << 30), 2).unwrap_err();
    assert_eq!(wrong.line, 2, "{wrong}");
    assert!(scenario.fits(None, 2).is_ok() && scenario.fits(Some(1 << 50), 2).is_ok());
}

#[test]
fn more_records_than_memory_are_refused_before_the_run() {
    let text = "nodes = 2000\nduration_s = 60\n[overlay.kademlia]\n[records]\ncopies = 1\nper_node = 5000\n";
    let scenario = Scenario::parse("x.toml", text).unwrap();
    let wrong = scenario.fits(Some(4 << 30), 1).unwrap_err();
    assert_eq!(wrong.line, 4, "{wrong}");
    assert!(wrong.to_string().contains("10000000 records need about"), "{wrong}");
    // No number of nodes helps who names the number of records, nor does one thread.
    let text = "nodes = 1000\nduration_s = 9\nseeds = 2\n[overlay.chord]\n[records]\ncount = 40_000_000\n";
    let wrong = Scenario::parse("x.toml", text).unwrap().fits(Some(4 << 30), 2).unwrap_err().to_string();
    assert!(wrong.contains("records") && !wrong.contains(" 0 ") && !wrong.contains("thread"), "{wrong}");
}

/// What is estimated of a Kelips node is what one takes at the end of a run, whatever its
/// groups are; and what a scenario that is too large is told to try does fit.
#[test]
fn the_memory_of_kelips_is_estimated_from_its_groups_and_contacts() {
    for parameters in ["", "groups = 1", "groups = 400\ncontacts = 8", "contacts = 1"] {
        let text = format!("nodes = 2000\nduration_s = 10\n[overlay.kelips]\n{parameters}\n");
        let scenario = Scenario::parse("x.toml", &text).unwrap();
        let report = runner::run(&scenario, 1, &|_: &Progress| true);
        let state = report::column("state_bytes").unwrap();
        let measured = (state.value)(&report.rows[0].trials[0].1).unwrap();
        let estimated = scenario.overlays[0].bytes_a_node(2000) as f64;
        let ratio = estimated / measured;
        assert!((0.67..1.5).contains(&ratio), "{parameters}: {estimated} B, not {measured}");
    }
    let text = "nodes = 1_000_000\nduration_s = 10\n[overlay.kelips]\ngroups = 400\n\
                [records]\nper_node = 0.1\n";
    let scenario = Scenario::parse("x.toml", text).unwrap();
    let said = scenario.fits(Some(4 << 30), 1).unwrap_err().to_string();
    let words: Vec<&str> = said.split_once("try ").unwrap().1.split(' ').collect();
    let at = words.iter().position(|word| word.starts_with("nodes")).unwrap();
    let tried: u32 = words[at - 1].parse().unwrap();
    assert!(!said.contains("try 0"), "{said}");
    let fits = |nodes| scenario.clone().with_nodes(nodes).unwrap().fits(Some(4 << 30), 1).is_ok();
    assert!(fits(tried) && !fits(tried + tried / 10), "{said}");
}

/// A run that ends before gossip has come everywhere takes what it has come to.
#[test]
fn what_gossip_cannot_have_told_yet_needs_no_memory() {
    for (duration, came) in [(10, ""), (60, ""), (10, "[[arrival]]\nat_s = 1\ncount = 1\n")] {
        let text = format!(
            "nodes = 2000\nduration_s = {duration}\n[overlay.kelips]\n{came}\
             [records]\nper_node = 1\ncopies = 5\npublish_over_s = 5\n"
        );
        let scenario = Scenario::parse("x.toml", &text).unwrap();
        let report = runner::run(&scenario, 1, &|_: &Progress| true);
        let state = (report::column("state_bytes").unwrap().value)(&report.rows[0].trials[0].1).unwrap();
        let fits = |times: f64| scenario.fits(Some((state * 2000.0 * times) as u64), 1).is_ok();
        // Each state counts the names that it keeps, which are in memory once. Who comes is
        // told all at once.
        assert!(!fits(0.6) && fits(1.6) == came.is_empty(), "{text}: {state}");
    }
}

/// What is under way counts: a flood is on many links, and each node that it came to remembers
/// from where.
#[test]
fn questions_that_memory_cannot_hold_at_once_are_refused() {
    let wrong = |overlay: &str, nodes: u32, traffic: &str| {
        let text = format!(
            "nodes = {nodes}\nduration_s = 100\n[overlay.{overlay}]\n[records]\ncount = 100\n\
             [[traffic]]\nask = \"lookup\"\nevery_s = 600\n[[traffic]]\nask = \"lookup\"\n{traffic}"
        );
        let scenario = Scenario::parse("x.toml", &text).unwrap();
        scenario.fits(Some(6 << 30), 1).err().map(|wrong| wrong.to_string())
    };
    // Such floods were seen to take 20 GiB and more.
    for overlay in ["gnutella", "fasttrack"] {
        let said = wrong(overlay, 2_000, "total = 400_000\nuntil_s = 0\n").unwrap();
        assert!(said.contains("line 10: so many questions at a time need about"), "{said}");
        assert!(said.contains("try fewer, or a longer time"), "{said}");
    }
    // These were seen to take 0.2 GiB, 1.1 GiB, and the last 0.2 GiB each.
    assert_eq!(wrong("gnutella", 2_000, "total = 5_000\nuntil_s = 10\n"), None);
    assert_eq!(wrong("gnutella", 10_000, "total = 5_000\nuntil_s = 10\n"), None);
    for overlay in ["napster", "chord", "pastry", "kademlia", "kelips"] {
        assert_eq!(wrong(overlay, 2_000, "total = 400_000\nuntil_s = 0\n"), None, "{overlay}");
    }
}

/// A flood that runs is a whole one, however few there are, over as many links as nodes have;
/// and where delays are long, more is under way.
#[test]
fn long_delays_and_many_links_take_memory() {
    // These were seen to take 0.1 GiB, 0.4, and more than 0.8.
    let refused = |mib: u64, network: &str, text: &str| {
        let text = format!(
            "duration_s = 100\n{text}\n[network]\nlatency = {{ model = \"constant\", ms = {network} }}\n\
             [records]\ncount = 100\n"
        );
        Scenario::parse("x.toml", &text).unwrap().fits(Some(mib << 20), 1).is_err()
    };
    let asked = |total: u32| format!("[[traffic]]\nask = \"lookup\"\ntotal = {total}\n");
    let whole = format!("nodes = 10_000\n{}[overlay.gnutella]\ndegree = 64\n", asked(10));
    assert!(refused(110, "50", &whole) && !refused(300, "50", &whole));
    let slow = format!("nodes = 5_000\n{}[overlay.gnutella]\n", asked(2_000));
    assert!(refused(350, "2_000", &slow) && !refused(350, "50", &slow));
    let late = format!("nodes = 5_000\n{}[overlay.kademlia]\n", asked(300_000));
    assert!(refused(800, "10_000", &late) && !refused(400, "50", &late));
}

#[test]
fn what_was_seen_to_fit_is_not_refused() {
    for (name, nodes) in [("million", 1_000_000), ("compare", 100_000)] {
        let scenario = scenario::named(name).unwrap().with_nodes(nodes).unwrap();
        for choice in &scenario.overlays {
            let mut alone = scenario.clone();
            alone.overlays = vec![choice.clone()];
            let refused = alone.fits(Some(20_000_000_000), 1).err();
            assert_eq!(refused.map(|wrong| wrong.to_string()), None, "{}", choice.name());
        }
    }
}
