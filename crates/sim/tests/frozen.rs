//! What comes before any repair: tables stay as they are.
#![allow(clippy::unwrap_used)] // a test may panic, helpers included

use starling_sim::report;
use starling_sim::runner::{self, Progress};
use starling_sim::scenario::Scenario;

/// The columns' values of one seed.
fn measured<const N: usize>(text: &str, columns: [&str; N]) -> [f64; N] {
    let scenario = Scenario::parse("frozen.toml", text).unwrap();
    let report = runner::run(&scenario, 1, &|_: &Progress| true);
    let findings = &report.rows[0].trials[0].1;
    columns.map(|name| (report::column(name).unwrap().value)(findings).unwrap())
}

/// A third fails at once, and what earlier look-ups met spares later ones nothing. All that is
/// found is right, even where the only successor may be dead.
#[test]
fn how_much_is_asked_changes_no_table() {
    for overlay in [
        "chord]\nstyle = \"iterative\"\nsuccessors = 20",
        "chord]\nstyle = \"recursive\"\nsuccessors = 20",
        "chord]\nstyle = \"recursive\"\nsuccessors = 1",
        "pastry]\nstyle = \"recursive\"",
        "pastry]\nstyle = \"iterative\"",
        "kademlia]\nk = 8\nenough = 8",
    ] {
        let asked = |total: u32| {
            let text = format!(
                "nodes = 300\nupkeep = false\nduration_s = 4000\ncheck_roots = true\n[overlay.{overlay}\n\
                 [[failure]]\nat_s = 1\nshare = 0.3\n[[traffic]]\nask = \"find\"\nfrom_s = 2\n\
                 until_s = 3900\ntotal = {total}\n"
            );
            measured(&text, ["timeouts", "correct", "maintenance_messages_per_node_s", "peers"])
        };
        let (few, many) = (asked(2_000), asked(20_000));
        assert!((0.9..1.1).contains(&(many[0] / few[0])), "{overlay}: {few:?} {many:?}");
        assert!(many[1] > 0.999, "{overlay}: {many:?}");
        assert!(
            (many[0] < 8.0 || overlay.ends_with("= 1")) && many[3] == few[3],
            "{overlay}: {few:?} {many:?}"
        );
        assert!(overlay.starts_with("pastry") || many[2] == 0.0, "{overlay}: {many:?}");
    }
}
