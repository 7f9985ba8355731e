//! `starling sim run` with a scenario that is checked.
#![allow(clippy::unwrap_used)] // a test may panic, helpers included

mod common;

use std::fs;

use common::{Room, run};

/// Runs a Chord network of which `share` fail at once after ten seconds: the exit code,
/// the table, and what is said beside it.
fn after_failure(share: f64) -> (i32, String, String) {
    let room = Room::new();
    let file = room.text("scenario.toml");
    let text = format!(
        "nodes = 100\nduration_s = 1200\ncheck = \"always\"\n[overlay.chord]\nsuccessors = 4\n\
         [[failure]]\nat_s = 10\nshare = {share}\n"
    );
    fs::write(&file, text).unwrap();
    let output = run(&["sim", "run", &file, "--quiet"]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn who_sees_a_violation_says_when_where_and_what_and_exits_with_1() {
    let (code, table, said) = after_failure(0.95);
    assert_eq!(code, 1, "{said}");
    assert!(table.contains("violations"), "{table}");
    assert!(said.contains("chord, seed 1: ") && said.contains("at 10.000000 s, node "), "{said}");
}

#[test]
fn where_nothing_is_wrong_the_table_says_0_and_so_does_the_exit() {
    let (code, table, said) = after_failure(0.05);
    assert_eq!((code, said.as_str()), (0, ""));
    let row = table.lines().find(|line| line.starts_with("chord"));
    assert!(row.unwrap().ends_with(" 0"), "{table}");
}

#[test]
fn what_is_no_scenario_is_refused_with_a_sentence() {
    let room = Room::new();
    let file = |name: &str, bytes: &[u8]| {
        let path = room.text(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let folder = room.text("folder");
    fs::create_dir(&folder).unwrap();
    for (scenario, says) in [
        (folder, "is a folder"),
        (file("binary", &[0xff, 0xfe, 0]), "is no text"),
        (file("large", &vec![b'\n'; 2 << 20]), "is larger than a mebibyte"),
        (room.text("nothing"), "no such file, and no such scenario; there are compare"),
    ] {
        let output = run(&["sim", "run", &scenario, "--quiet"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(says) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn names_may_have_spaces_behind_their_commas_but_are_there_once() {
    let run_with = |overlays: &str, columns: &str| {
        let args =
            ["sim", "compare", "--nodes", "30", "--overlays", overlays, "--columns", columns, "--quiet"];
        let output = run(&args);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, table, said) = run_with("chord, pastry", "hops, success");
    assert_eq!((code, said.as_str()), (0, ""));
    assert!(table.lines().any(|line| line.starts_with("pastry")), "{table}");
    for (overlays, columns, says) in [
        ("chord,chord", "hops", "the overlay \"chord\" is there twice"),
        ("chord", "hops,hops", "the figure \"hops\" is there twice"),
        ("cord", "hops", "there is no overlay \"cord\""),
        ("chord", "hop", "there is no figure \"hop\""),
    ] {
        let (code, _, said) = run_with(overlays, columns);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(says), "{said}");
    }
}

/// The page's smaller sizes are left out where they make no sense: a record has five copies.
#[test]
fn a_comparison_of_few_nodes_writes_its_files_or_blames_their_number() {
    let compared = |nodes: &str| {
        let room = Room::new();
        let folder = room.text("page");
        let args = ["sim", "compare", "--nodes", nodes, "--overlays", "napster", "--quiet", "--out", &folder];
        let output = run(&args);
        let said = String::from_utf8(output.stderr).unwrap();
        let files = fs::read_dir(&folder).map_or(0, Iterator::count);
        (output.status.code().unwrap(), output.stdout.len(), said, files)
    };
    for nodes in ["5", "30"] {
        let (code, _, said, files) = compared(nodes);
        assert_eq!((code, said.as_str(), files), (0, "", 3), "{nodes}");
    }
    let (code, printed, said, files) = compared("4");
    assert_eq!((code, printed, files), (1, 0, 0), "{said}");
    assert!(said.contains("with --nodes 4: a comparison needs at least 5 nodes"), "{said}");
}

/// Who reads the files knows all that the page draws: the other sizes, and what churn does.
#[test]
fn the_files_of_a_comparison_have_what_its_page_shows() {
    let room = Room::new();
    let folder = room.text("page");
    let args = ["sim", "compare", "--nodes", "80", "--overlays", "chord", "--quiet", "--out", &folder];
    assert_eq!(run(&args).status.code(), Some(0));
    let read = |name: &str| fs::read_to_string(format!("{folder}/{name}")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&read("figures.json")).unwrap();
    let sizes = json["sizes"].as_array().unwrap();
    assert_eq!(
        sizes.iter().map(|size| size["overlays"][0]["nodes"].as_u64().unwrap()).collect::<Vec<_>>(),
        [5, 20]
    );
    assert!(sizes[0]["overlays"][0]["figures"]["lookup_messages"]["mean"].is_number(), "{json}");
    let churn = json["churn"]["overlays"].as_array().unwrap();
    assert!(churn.len() > 1 && churn[0]["figures"]["latency_ms"]["mean"].is_number(), "{json}");
    let csv = read("figures.csv");
    for line in ["compare,chord,5,1,peers,", "compare,chord,80,1,peers,", "churn,chord stabilize 10 s,80,1,"]
    {
        assert!(csv.contains(line), "{line}: {csv}");
    }
}

/// A folder may be somebody's: what this program did not write, it does not write over.
#[test]
fn files_of_others_are_left_alone() {
    let room = Room::new();
    let scenario = room.text("scenario.toml");
    fs::write(&scenario, "nodes = 10\nduration_s = 5\n[overlay.chord]\n").unwrap();
    let swarm = ["sim", "run", "swarm", "--nodes", "2", "--seeds", "1", "--quiet", "--out"];
    for args in [&["sim", "run", &scenario, "--quiet", "--out"][..], &swarm] {
        for name in ["report.html", "figures.json", "figures.csv"] {
            let folder = room.text(&format!("{}-{name}", args[2].len()));
            fs::create_dir(&folder).unwrap();
            let theirs = format!("{folder}/{name}");
            fs::write(&theirs, "{ \"mine\": 1 }\n").unwrap();
            let args: Vec<&str> = args.iter().copied().chain([folder.as_str()]).collect();
            let refused = run(&args);
            let said = String::from_utf8(refused.stderr).unwrap();
            assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{said}");
            assert!(said.contains(&theirs) && said.contains("name another folder"), "{said}");
            assert_eq!(fs::read_to_string(&theirs).unwrap(), "{ \"mine\": 1 }\n");
            fs::remove_file(theirs).unwrap();
            for again in 0..2 {
                let output = run(&args);
                let said = String::from_utf8(output.stderr).unwrap();
                assert_eq!(
                    (output.status.code(), fs::read_dir(&folder).unwrap().count()),
                    (Some(0), 3),
                    "{again}: {said}"
                );
            }
        }
    }
}

/// It is said at the beginning, not found out at the end, and not to who wants no remarks.
#[test]
fn a_column_that_will_be_empty_is_told_of() {
    let room = Room::new();
    let file = room.text("scenario.toml");
    let text = "nodes = 10\nduration_s = 5\ncolumns = [\"hops\", \"correct\"]\n[overlay.chord]\n\
                [[traffic]]\nask = \"find\"\ntotal = 5\n";
    fs::write(&file, text).unwrap();
    let said = |more: &[&str]| {
        let output = run(&[&["sim", "run", &file], more].concat());
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    let note = said(&[]);
    assert!(note.contains("line 3: the column \"correct\" stays empty: add check_roots = true"), "{note}");
    assert_eq!(note.lines().count(), 1, "{note}");
    assert_eq!(said(&["--quiet"]), "");
    let note = said(&["--columns", "recall"]);
    assert!(note.contains("scenario.toml: the column \"recall\" stays empty"), "{note}");
}

#[test]
fn a_key_to_look_up_may_be_hexadecimal() {
    let trace = |key: &str| run(&["sim", "trace", "--lookup", key]);
    let (decimal, hexadecimal) = (trace("15"), trace("0xf"));
    assert_eq!(decimal.status.code(), Some(0));
    assert_eq!(decimal.stdout, hexadecimal.stdout);
    assert_eq!(trace("0xg").status.code(), Some(2));
}

/// Results that nobody could take are no success, in whatever form.
#[test]
fn results_that_cannot_be_written_fail_with_a_sentence() {
    let room = Room::new();
    let file = room.text("scenario.toml");
    fs::write(&file, "nodes = 10\nduration_s = 5\n[overlay.chord]\n").unwrap();
    for args in [
        &["sim", "run", &file, "--quiet"][..],
        &["sim", "run", &file, "--json"],
        &["sim", "trace"],
        &["sim", "trace", "--json"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_starling"))
            .args(args)
            .stdout(full)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("cannot write to stdout"), "{args:?}: {said}");
    }
}
