//! What a scenario's words mean: hostile hosts are, those who leave are gone, and what is
//! counted is what was asked.

#![allow(clippy::unwrap_used)] // a test may panic

use starling_sim::report::column;
use starling_sim::runner;
use starling_sim::scenario::Scenario;

/// Means of these columns of the only row.
fn means<const N: usize>(text: &str, columns: [&str; N]) -> [f64; N] {
    let scenario = Scenario::parse("words", text).unwrap();
    let report = runner::run(&scenario, 2, &|_: &_| true);
    assert_eq!(report.rows.len(), 1);
    columns.map(|name| report.rows[0].figure(column(name).unwrap()).unwrap().mean)
}

#[test]
fn liars_name_each_other_in_a_world_of_any_size() {
    for overlay in ["chord", "pastry", "kademlia", "fasttrack", "gnutella", "kelips"] {
        let text = |hostile: &str| {
            format!(
                "nodes = 60\nduration_s = 300\n[overlay.{overlay}]\n\
                 [network]\nlatency = {{ model = \"constant\", ms = 30 }}\n{hostile}\
                 [records]\ncount = 50\ncopies = 1\npublish_over_s = 20\n\
                 [[traffic]]\nask = \"lookup\"\nfrom_s = 60\ntotal = 300\n"
            )
        };
        let [honest] = means(&text(""), ["success"]);
        let [lied_to] = means(&text("hostile = { share = 0.3, does = \"lie\" }\n"), ["success"]);
        assert!(honest > 0.99 && lied_to <= honest, "{overlay}: {honest} {lied_to}");
    }
}

#[test]
fn what_hostile_hosts_get_does_not_count() {
    let text = "nodes = 200\nduration_s = 200\n[overlay.napster]\n\
                [network]\nlatency = { model = \"constant\", ms = 30 }\n\
                hostile = { share = 0.3, does = \"drop\" }\n\
                [records]\ncount = 50\npublish_over_s = 20\n\
                [[traffic]]\nask = \"lookup\"\nfrom_s = 60\ntotal = 400\n\
                [[traffic]]\nask = \"lookup\"\nfrom_s = 60\nevery_s = 60\n";
    let [success, asked] = means(text, ["success", "lookups"]);
    // With this seed no server is hostile: everybody who asks is answered.
    assert!(success > 0.99, "{success}");
    assert!((650.0..760.0).contains(&asked), "400, and 2.33 of each of 140: {asked}");
}

/// Not about so many: the draw is whose failure it is, whatever the seed, and no thread's.
#[test]
fn exactly_the_share_of_those_who_are_up_fails() {
    let text = "nodes = 500\nduration_s = 30\nseeds = 5\n[overlay.napster]\n[overlay.kelips]\n\
                [[failure]]\nat_s = 10\nshare = 0.3\n[[failure]]\nat_s = 20\nshare = 0.3\n";
    let scenario = Scenario::parse("words", text).unwrap();
    let lives = |threads| {
        let report = runner::run(&scenario, threads, &|_: &_| true);
        let trials = report.rows.iter().flat_map(|row| row.trials.iter());
        trials.map(|(_, found)| (found.live, found.whole.hash())).collect::<Vec<_>>()
    };
    let alone = lives(1);
    assert!(alone.iter().all(|one| one.0 == 245), "of 350, 105: {alone:?}");
    assert!(alone == lives(2));
    let text = "nodes = 20_000\nduration_s = 4\nupkeep = false\n[overlay.chord]\n\
                [[failure]]\nat_s = 1\nshare = 0.25\n\
                [[traffic]]\nask = \"find\"\nfrom_s = 2\nuntil_s = 3\ntotal = 500\n";
    let scenario = Scenario::parse("words", text).unwrap();
    let [one, two] = [1, 2].map(|threads| {
        let report = runner::run(&scenario, threads, &|_: &_| true);
        let found = &report.rows[0].trials[0].1;
        (found.live, found.whole.hash())
    });
    assert!(one.0 == 15_000 && one == two, "{}", one.0);
}

/// As the papers have it in which each node fails with a probability: about so many.
#[test]
fn a_coin_for_each_takes_about_its_share() {
    let text = "nodes = 500\nduration_s = 30\nseeds = 8\n[overlay.napster]\n\
                [[failure]]\nat_s = 10\nprobability = 0.3\n";
    let scenario = Scenario::parse("words", text).unwrap();
    let report = runner::run(&scenario, 2, &|_: &_| true);
    let lives: Vec<u64> = report.rows[0].trials.iter().map(|(_, found)| found.live).collect();
    assert!(lives.iter().all(|live| (300..400).contains(live)), "{lives:?}");
    assert!(lives.iter().any(|&live| live != 350), "{lives:?}");
}

#[test]
fn who_fails_gracefully_is_gone_and_asks_nothing() {
    for overlay in ["chord", "pastry", "kademlia"] {
        let text = format!(
            "nodes = 400\nduration_s = 1200\ncheck_roots = true\n[overlay.{overlay}]\n\
             [network]\nlatency = {{ model = \"constant\", ms = 30 }}\n\
             [[failure]]\nat_s = 60\nshare = 0.5\ngraceful = true\n\
             [[traffic]]\nask = \"find\"\nfrom_s = 600\ntotal = 500\n"
        );
        let [live, members, asked, correct] = means(&text, ["live", "members", "lookups", "correct"]);
        assert!(live == members && live == 200.0 && asked == 500.0, "{overlay}: {live} {members} {asked}");
        assert!(correct > 0.99, "{overlay}: {correct}");
    }
}

/// With a good-bye a host is gone as soon as its cores have left, and not before.
#[test]
fn who_leaves_stays_until_it_has_left() {
    for overlay in ["napster", "gnutella", "fasttrack", "chord", "pastry", "kademlia", "kelips"] {
        // So many are up at 62 s, if a sixteenth of 400 began to leave then.
        let live = |at_s: f64, more: &str| {
            let text = format!(
                "nodes = 400\nduration_s = 62\n[overlay.{overlay}]\n\
                 [network]\nlatency = {{ model = \"constant\", ms = 30 }}\n\
                 [[failure]]\nat_s = {at_s}\nshare = 0.0625\ngraceful = true\n{more}"
            );
            means(&text, ["live"])[0]
        };
        // Kelips' leavers do not hear each other, and say it to those again.
        let (live_of_400, most) = (live(61.5, ""), if overlay == "kelips" { 400.0 } else { 375.0 });
        assert!((375.0..=most).contains(&live_of_400), "{overlay}: {live_of_400}");
        // What is to be told to somebody silent is told again before the end.
        let silent = "[[failure]]\nat_s = 60\nshare = 0.5\n[records]\nper_node = 2\npublish_over_s = 10\n";
        let (live_of_200, stays) =
            (live(60.8, silent), !["napster", "gnutella", "fasttrack"].contains(&overlay));
        assert_eq!(live_of_200 > 188.0, stays, "{overlay}: {live_of_200}");
    }
}

#[test]
fn what_is_asked_before_the_measurement_counts_nowhere() {
    let text = "nodes = 300\nduration_s = 600\nmeasure_from_s = 500\n[overlay.napster]\n\
                [network]\nlatency = { model = \"constant\", ms = 30 }\n\
                [records]\ncount = 50\npublish_over_s = 20\n\
                [[traffic]]\nask = \"lookup\"\nfrom_s = 60\nuntil_s = 590\ntotal = 2000\n";
    let [messages, asked] = means(text, ["lookup_messages", "lookups"]);
    assert!((messages - 2.0).abs() < 0.1, "{messages}");
    assert!((250.0..450.0).contains(&asked), "{asked}");
}

/// A failure of half of all just before everybody asks.
fn half_gone(overlay: &str, ask: &str) -> String {
    format!(
        "nodes = 200\nduration_s = 160\n[overlay.{overlay}]\n\
         [network]\nlatency = {{ model = \"constant\", ms = 30 }}\n\
         [records]\ncount = 50\ncopies = 4\nvocabulary = 20\npublish_over_s = 20\n\
         [[failure]]\nat_s = 100\nshare = 0.5\n\
         [[traffic]]\nask = \"{ask}\"\nfrom_s = 101\nuntil_s = 110\ntotal = 200\n"
    )
}

#[test]
fn who_is_gone_is_neither_found_nor_missed() {
    // Among which half the network stays in one piece differs from seed to seed.
    let gnutella = format!("seeds = 10\n{}", half_gone("gnutella", "search"));
    let [recall, stale] = means(&gnutella, ["recall", "stale"]);
    assert!(recall > 0.7 && stale == 0.0, "only the living answer: {recall} {stale}");

    // Who keeps the records knows nothing of the deaths yet.
    let chord = half_gone("chord", "lookup").replace("share = 0.5", "share = 0.2");
    let [recall, stale] = means(&chord, ["lookup_recall", "lookup_stale"]);
    assert!(recall > 0.95 && (0.1..0.3).contains(&stale), "{recall} {stale}");
}

#[test]
fn what_the_dead_received_is_counted_from_when_it_is_measured() {
    let text = |more: &str, failure: &str| {
        format!(
            "nodes = 200\nduration_s = 300\n{more}[overlay.gnutella]\n\
             [network]\nlatency = {{ model = \"constant\", ms = 30 }}\n\
             [records]\ncount = 50\npublish_over_s = 20\n{failure}\
             [[traffic]]\nask = \"lookup\"\nfrom_s = 60\nuntil_s = 260\ntotal = 400\n"
        )
    };
    let columns = ["queries", "query_duplicates", "load_max"];
    let all = means(&text("", ""), columns);
    let late = means(&text("measure_from_s = 160\n", ""), columns);
    let dead = means(&text("", "[[failure]]\nat_s = 299\nshare = 0.9\n"), columns);
    assert!((dead[0] / all[0] - 1.0).abs() < 1e-9 && (dead[1] - all[1]).abs() < 1e-9, "{all:?} {dead:?}");
    assert!((late[0] / all[0] - 1.0).abs() < 0.1, "{all:?} {late:?}");
}

#[test]
fn a_crowd_around_a_key_is_hostile() {
    let text = |does: &str| {
        format!(
            "nodes = 500\nduration_s = 400\n[overlay.kademlia]\n\
             [network]\nlatency = {{ model = \"constant\", ms = 30 }}\n\
             hostile = {{ share = 0.1, does = \"{does}\" }}\n\
             [records]\ncount = 1\ncopies = 1\npublish_over_s = 20\n\
             [[traffic]]\nask = \"lookup\"\nfrom_s = 60\ntotal = 300\n"
        )
    };
    let ([spread], [crowded]) = (means(&text("drop"), ["success"]), means(&text("crowd"), ["success"]));
    assert!(crowded < spread / 2.0, "{crowded} {spread}");
}

#[test]
fn everybody_joins_through_whom_a_nat_does_not_hide() {
    for overlay in ["napster", "gnutella", "fasttrack", "chord", "pastry", "kademlia", "kelips"] {
        let text = format!(
            "nodes = 300\nstart = \"join\"\njoin_over_s = 100\nduration_s = 900\n[overlay.{overlay}]\n\
             [network]\nlatency = {{ model = \"constant\", ms = 30 }}\nnatted = 0.2\n"
        );
        let [members] = means(&text, ["members"]);
        // Where a join must reach the node next to the own place, that one may be hidden.
        let least = if matches!(overlay, "chord" | "pastry") { 200.0 } else { 299.0 };
        assert!(members >= least, "{overlay}: {members}");
    }
}

#[test]
fn what_cannot_be_told_apart_is_refused() {
    let good = "nodes = 10\nduration_s = 5\n[overlay.chord]\n[[traffic]]\nask = \"find\"\ntotal = 3\n";
    let partition = "total = 3\n[[network.partition]]\nfrom_s = -1\nuntil_s = 1\nshare = 0.5\n";
    for (from, to, line, remedy) in [
        ("total = 3\n", "every_s = 1e-6\n", 6, "try 0.00005 s"),
        (
            "[overlay.chord]",
            "[[overlay.chord]]\n[[overlay.chord]]\nsuccessors = 3",
            4,
            "give each variant a label",
        ),
        ("total = 3\n", partition, 8, "from_s is -1"),
        ("chord", "napster", 5, "ask = \"lookup\""),
        ("chord", "gnutella", 5, "ask = \"lookup\""),
        ("[overlay.chord]", "[overlay.chord]\n[overlay.fasttrack]", 6, "in fasttrack"),
    ] {
        let error = Scenario::parse("x.toml", &good.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.line, line, "{error}");
        assert!(error.to_string().contains(remedy), "{error}");
    }
}

/// Whatever begins when all is over, or lasts no time, does nothing.
#[test]
fn what_begins_at_the_end_is_refused() {
    let partition = "total = 3\n[[network.partition]]\nshare = 0.5\nfrom_s = ";
    let late = "must be from 0 to less than 5, when the scenario ends";
    let good = "nodes = 10\nduration_s = 5\n[overlay.chord]\n[[traffic]]\nask = \"find\"\ntotal = 3\n";
    for (from, to, line, says) in [
        ("duration_s = 5", "duration_s = 5\nmeasure_from_s = 5", 3, late),
        ("total = 3", "total = 3\nfrom_s = 5", 7, late),
        ("total = 3", "every_s = 1\nfrom_s = 2\nuntil_s = 2", 8, "until_s is 2, when it begins"),
        ("total = 3\n", "total = 3\n[[failure]]\nshare = 0.1\nat_s = 5\n", 9, late),
        ("total = 3\n", "total = 3\n[[arrival]]\ncount = 2\nat_s = 5\n", 9, late),
        ("total = 3\n", "total = 3\n[records]\ncount = 1\npublish_from_s = 5\n", 9, late),
        ("total = 3\n", &format!("{partition}5\nuntil_s = 9\n"), 9, late),
        ("total = 3\n", &format!("{partition}4\nuntil_s = 4\n"), 10, "until_s is 4, when it begins"),
    ] {
        let error = Scenario::parse("x.toml", &good.replacen(from, to, 1)).unwrap_err();
        assert!(error.line == line && error.to_string().contains(says), "{to}: {error}");
    }
    let burst = good.replacen("total = 3", "total = 3\nfrom_s = 4\nuntil_s = 4", 1);
    assert!(Scenario::parse("burst", &burst).is_ok());
}

/// The root of a recursive find cannot answer who is behind a NAT and never wrote to it.
#[test]
fn who_is_behind_a_nat_finds_whatever_is_there() {
    for overlay in [
        "[overlay.chord]\nstyle = \"recursive\"",
        "[overlay.chord]",
        "[overlay.pastry]",
        "[overlay.pastry]\nstyle = \"iterative\"",
        "[overlay.kademlia]",
    ] {
        let text = format!(
            "nodes = 200\nduration_s = 600\n{overlay}\n\
             [network]\nlatency = {{ model = \"internet\" }}\nnatted = 0.3\n\
             [records]\ncount = 200\ncopies = 1\npublish_over_s = 60\n\
             [[traffic]]\nask = \"lookup\"\nfrom_s = 200\ntotal = 2000\nuntil_s = 500\n"
        );
        let [success] = means(&text, ["success"]);
        assert!(success > 0.98, "{overlay}: {success}");
    }
}

/// Only where the way there is one path, and the way back none, is time a measure of it.
#[test]
fn only_recursive_paths_have_a_route() {
    let route = |overlay: &str| {
        let text = format!(
            "nodes = 200\nduration_s = 60\n[overlay.{overlay}\n\
             [records]\ncount = 50\npublish_over_s = 10\n\
             [[traffic]]\nask = \"lookup\"\nfrom_s = 30\nuntil_s = 40\ntotal = 100\n"
        );
        let scenario = Scenario::parse("words", &text).unwrap();
        let report = runner::run(&scenario, 1, &|_: &_| true);
        report.rows[0].figure(column("route").unwrap()).map(|figure| figure.mean)
    };
    for overlay in ["napster]", "gnutella]", "fasttrack]", "chord]", "kademlia]", "kelips]"] {
        assert_eq!(route(overlay), None, "{overlay}");
    }
    assert_eq!(route("pastry]\nstyle = \"iterative\""), None);
    for overlay in ["pastry]", "chord]\nstyle = \"recursive\""] {
        assert!(route(overlay).unwrap() > 0.9, "{overlay}");
    }
}
