//! The figures that can be asked for, by name.

use starling_overlay::Purpose;

use crate::metrics::{Kind, Operations};
use crate::trial::Findings;

/// A figure of a trial.
pub struct Column {
    /// Its name in scenarios and files.
    pub name: &'static str,
    /// Its heading in a table.
    pub heading: &'static str,
    /// What it means.
    pub about: &'static str,
    /// The figure; none where there is nothing to measure.
    pub value: fn(&Findings) -> Option<f64>,
}

/// The columns of a comparison, unless a scenario names others.
pub const USUAL: [&str; 14] = [
    "peers",
    "peers_max",
    "state_bytes",
    "hops",
    "latency_p50_ms",
    "latency_p99_ms",
    "lookup_messages",
    "lookup_bytes",
    "maintenance_bytes_per_node_s",
    "publish_bytes_per_node_s",
    "success",
    "search_messages",
    "recall",
    "load_max",
];

/// The column that a scenario with checks has in any case.
pub const VIOLATIONS: &str = "violations";

/// Declares a column.
macro_rules! column {
    ($name:expr, $heading:literal, $about:literal, $value:expr) => {
        Column { name: $name, heading: $heading, about: $about, value: $value }
    };
}

/// All columns. "Look-ups" are finds and look-ups by key together.
pub const COLUMNS: [Column; 56] = [
    column!("live", "live", "nodes that are up at the end", |f| Some(f.live as f64)),
    column!("members", "members", "nodes that take part at the end", |f| Some(f.members as f64)),
    column!("joined", "joined", "times that a node became a member", |f| Some(f.joined as f64)),
    column!("too_small", "too small", "times that a node said its overlay is too small to be safe", |f| {
        Some(f.too_small as f64)
    }),
    column!("peers", "peers", "peers in a node's tables, mean of the nodes at the end", |f| f.peers.mean()),
    column!("peers_max", "most peers", "the same, the node with the most", |f| quantile(&f.peers, 1.0)),
    column!(
        "state_bytes",
        "state B",
        "bytes of a node's state, with what it keeps for others, mean of the nodes at the end",
        |f| f.state.mean()
    ),
    column!("state_bytes_max", "state B max", "the same, the largest", |f| quantile(&f.state, 1.0)),
    column!("lookups", "look-ups", "look-ups begun", |f| Some(look_ups(f).begun as f64)),
    column!("success", "found", "share of look-ups that found an answer", |f| look_ups(f).success()),
    column!("correct", "correct", "share of finds whose answer is the node truly responsible", |f| {
        let finds = f.operations.get(&Kind::Find)?;
        ratio(finds.right, finds.checked)
    }),
    column!("not_found", "not found", "look-ups that ended with the answer that there is nothing", |f| {
        Some(look_ups(f).not_found as f64)
    }),
    column!("failed", "failed", "look-ups that ended without an answer, or never", |f| {
        let all = look_ups(f);
        Some((all.failed + all.open) as f64)
    }),
    column!("refused", "refused", "look-ups that the overlay does not do", |f| Some(
        look_ups(f).refused as f64
    )),
    column!(
        "aborted",
        "aborted",
        "look-ups whose asking node left first, or that the end cut off",
        |f| Some(look_ups(f).aborted as f64)
    ),
    column!("hops", "hops", "mean length of the path to the answer, its last node counted", |f| {
        look_ups(f).hops.mean()
    }),
    column!("hops_p1", "hops p1", "what 99 % of the paths reach or exceed", |f| {
        quantile(&look_ups(f).hops, 0.01)
    }),
    column!("hops_p50", "hops p50", "median of the path's length", |f| quantile(&look_ups(f).hops, 0.5)),
    column!("hops_p99", "hops p99", "what 99 % of the paths do not exceed", |f| {
        quantile(&look_ups(f).hops, 0.99)
    }),
    column!("hops_max", "hops max", "the longest path", |f| quantile(&look_ups(f).hops, 1.0)),
    column!(
        "timeouts",
        "timeouts",
        "peers that a look-up asked in vain, as far as the asking node heard",
        |f| look_ups(f).timeouts.mean()
    ),
    column!("timeouts_p1", "timeouts p1", "what 99 % of the look-ups reach or exceed of them", |f| {
        quantile(&look_ups(f).timeouts, 0.01)
    }),
    column!("timeouts_p99", "timeouts p99", "what 99 % of the look-ups do not exceed of them", |f| {
        quantile(&look_ups(f).timeouts, 0.99)
    }),
    column!("latency_ms", "mean ms", "mean time to the answer", |f| Some(look_ups(f).latency.mean()? / 1e3)),
    column!("latency_p50_ms", "median ms", "median time to the answer, to 1.6 %", |f| millis(
        &look_ups(f),
        0.5
    )),
    column!("latency_p99_ms", "p99 ms", "what 99 % of the answers do not exceed, to 1.6 %", |f| {
        millis(&look_ups(f), 0.99)
    }),
    column!("stretch", "stretch", "time to the answer over the round trip to the node it names, mean", |f| {
        Some(look_ups(f).stretch.mean()? / 1e3)
    }),
    column!(
        "route",
        "route",
        "recursive look-ups: all paths to the answers over all direct ways, in delay",
        |f| route(&look_ups(f))
    ),
    column!("lookup_messages", "msg/look-up", "messages a look-up", |f| {
        ratio(f.tally.of(Purpose::LookUp).0, look_ups(f).begun)
    }),
    column!("lookup_bytes", "B/look-up", "bytes a look-up", |f| {
        ratio(f.tally.of(Purpose::LookUp).1, look_ups(f).begun)
    }),
    column!(
        "lookup_recall",
        "providers found",
        "share of the providers that are up that look-ups found",
        |f| { f.operations.get(&Kind::LookUp)?.recall() }
    ),
    column!(
        "lookup_stale",
        "stale providers",
        "share of the providers found that are gone, or never had it",
        |f| { f.operations.get(&Kind::LookUp)?.staleness() }
    ),
    column!(
        "queries",
        "queries",
        "queries and walkers' steps that nodes received, a look-up or search: no hits, no questions",
        |f| ratio(f.queries.0, look_ups(f).begun + searches(f).begun).filter(|&queries| queries > 0.0)
    ),
    column!("query_duplicates", "duplicates", "share of them that had been at the node before", |f| {
        ratio(f.queries.1, f.queries.0)
    }),
    column!("searches", "searches", "searches begun", |f| Some(searches(f).begun as f64)),
    column!("search_success", "search found", "share of searches that found something", |f| {
        searches(f).success()
    }),
    column!("recall", "recall", "share of what there is with those who are up that searches found", |f| {
        searches(f).recall()
    }),
    column!("stale", "stale", "share of a search's hits whose provider is gone, or never had it", |f| {
        searches(f).staleness()
    }),
    column!("search_hits", "hits", "hits a search whose provider has it and is up", |f| ratio(
        searches(f).hits,
        searches(f).begun
    )),
    column!("search_hops", "search hops", "mean length of the path to the first hit", |f| {
        searches(f).hops.mean()
    }),
    column!("search_p50_ms", "search p50", "median time to the first hit", |f| millis(&searches(f), 0.5)),
    column!("search_p99_ms", "search p99", "what 99 % of the first hits do not exceed", |f| {
        millis(&searches(f), 0.99)
    }),
    column!("search_messages", "msg/search", "messages a search", |f| {
        ratio(f.tally.of(Purpose::Search).0, searches(f).begun)
    }),
    column!("search_bytes", "B/search", "bytes a search", |f| {
        ratio(f.tally.of(Purpose::Search).1, searches(f).begun)
    }),
    column!(
        "maintenance_bytes_per_node_s",
        "upkeep B/s",
        "bytes a node and second to keep tables right",
        |f| { per_node_second(f, f.tally.of(Purpose::Maintenance).1) }
    ),
    column!("maintenance_messages_per_node_s", "upkeep msg/s", "messages a node and second for it", |f| {
        per_node_second(f, f.tally.of(Purpose::Maintenance).0)
    }),
    column!("publish_bytes_per_node_s", "publish B/s", "bytes a node and second to publish", |f| {
        per_node_second(f, f.tally.of(Purpose::Publish).1)
    }),
    column!("bytes_per_node_s", "B/s", "all bytes a node and second", |f| {
        per_node_second(f, f.tally.bytes.iter().sum())
    }),
    column!("load_p99", "load p99", "messages received: the 99th percentile of hosts over the mean", |f| {
        Some(quantile(&f.load, 0.99)? / f.load.mean().filter(|&mean| mean > 0.0)?)
    }),
    column!("load_max", "load max", "messages received: the busiest host over the mean", |f| {
        Some(quantile(&f.load, 1.0)? / f.load.mean().filter(|&mean| mean > 0.0)?)
    }),
    column!(VIOLATIONS, "violations", "things seen that must not be, where that is checked", |f| {
        f.violations.as_ref().map(|violations| violations.count as f64)
    }),
    column!("kept", "kept", "keys, file tuples or records that a host keeps for others, mean", mean_kept),
    column!("kept_p1", "kept p1", "the same: the 1st percentile of hosts over the mean", |f| kept(f, 0.01)),
    column!("kept_p99", "kept p99", "the same: the 99th percentile of hosts over the mean", |f| kept(
        f, 0.99
    )),
    column!("kept_max", "kept max", "the same: the host with the most over the mean", |f| kept(f, 1.0)),
    column!("events", "events", "messages delivered and timers fired, in all", |f| Some(
        f.whole.events() as f64
    )),
];

/// The column of that name.
pub fn column(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.name == name)
}

fn look_ups(findings: &Findings) -> Operations {
    let mut all = Operations::default();
    for kind in [Kind::Find, Kind::LookUp] {
        findings.operations.get(&kind).into_iter().for_each(|operations| all.add(operations));
    }
    all
}

fn searches(findings: &Findings) -> Operations {
    findings.operations.get(&Kind::Search).cloned().unwrap_or_default()
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn quantile(histogram: &crate::histogram::Histogram, share: f64) -> Option<f64> {
    histogram.quantile(share).map(|value| value as f64)
}

/// The way there over the direct way, if answers come back by the direct way: what is
/// left of the time when the way back is taken off.
fn route(operations: &Operations) -> Option<f64> {
    ratio(2 * operations.took, operations.direct).map(|both| both - 1.0)
}

fn mean_kept(findings: &Findings) -> Option<f64> {
    let all: u64 = findings.kept.iter().sum();
    ratio(all, findings.kept.len() as u64).filter(|_| all > 0)
}

/// What a share of the hosts does not exceed, over the mean.
fn kept(findings: &Findings, share: f64) -> Option<f64> {
    let mean = mean_kept(findings)?;
    let rank = (findings.kept.len() as f64 * share).ceil() as usize;
    findings.kept.get(rank.max(1) - 1).map(|&kept| kept as f64 / mean)
}

fn millis(operations: &Operations, share: f64) -> Option<f64> {
    quantile(&operations.latency, share).map(|micros| micros / 1e3)
}

fn per_node_second(findings: &Findings, amount: u64) -> Option<f64> {
    (findings.node_secs > 0.0).then(|| amount as f64 / findings.node_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_usual_ones_exist() {
        let mut names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COLUMNS.len());
        assert!(USUAL.iter().all(|name| column(name).is_some()));
    }

    #[test]
    fn where_nothing_was_measured_there_is_no_figure() {
        let nothing = Findings::default();
        for name in USUAL {
            assert_eq!((column(name).unwrap().value)(&nothing), None, "{name}");
        }
    }
}
