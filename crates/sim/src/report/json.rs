//! A report as JSON.

use serde_json::{Map, Value, json};

use super::{COLUMNS, Interval, Page, Report, Summary};
use crate::histogram::Histogram;
use crate::metrics::Kind;
use crate::place::Node;
use crate::trial::Findings;

/// All that the page shows: the report, and if there are any, those of other sizes and of
/// churn.
pub fn page(page: &Page<'_>) -> String {
    let mut value = report(page.report);
    value["columns"] = COLUMNS.iter().map(|c| json!({ "name": c.name, "about": c.about })).collect();
    if !page.sizes.is_empty() {
        value["sizes"] = page.sizes.iter().map(report).collect();
    }
    if let Some(churn) = page.churn {
        value["churn"] = report(churn);
    }
    format!("{value:#}\n")
}

/// A report: figures over the seeds, each seed's figures, and histograms.
fn report(report: &Report) -> Value {
    json!({
        "scenario": report.name,
        "about": report.about,
        "conditions": report.conditions(),
        "overlays": report.rows.iter().map(row).collect::<Vec<Value>>(),
    })
}

fn row(summary: &Summary) -> Value {
    let figures: Map<String, Value> = COLUMNS
        .iter()
        .filter_map(|column| Some((column.name.to_owned(), interval(&summary.figure(column)?))))
        .collect();
    let seeds: Vec<Value> = summary.trials.iter().map(|(seed, findings)| trial(*seed, findings)).collect();
    json!({
        "label": summary.label,
        "overlay": summary.overlay,
        "nodes": summary.nodes,
        "figures": figures,
        "seeds": seeds,
    })
}

fn interval(interval: &Interval) -> Value {
    json!({ "mean": interval.mean, "half_width_95": interval.half, "seeds": interval.count })
}

fn trial(seed: u64, findings: &Findings) -> Value {
    let figures: Map<String, Value> = COLUMNS
        .iter()
        .filter_map(|column| Some((column.name.to_owned(), json!((column.value)(findings)?))))
        .collect();
    let refused: Map<String, Value> = findings
        .whole
        .refused
        .iter()
        .map(|(offence, count)| (format!("{offence:?}"), json!(count)))
        .collect();
    let hops: Map<String, Value> = Kind::ALL
        .iter()
        .filter_map(|kind| Some((format!("{kind:?}").to_lowercase(), kind_hops(findings, *kind)?)))
        .collect();
    json!({
        "seed": seed,
        "reached_s": findings.reached.as_secs_f64(),
        "trace": format!("{:016x}", findings.whole.hash()),
        "figures": figures,
        "first_violation": first_violation(findings),
        "refused": refused,
        "hops": hops,
        "load": buckets(&findings.load),
    })
}

fn first_violation(findings: &Findings) -> Option<Value> {
    let first = findings.violations.as_ref()?.first.as_ref()?;
    let (at_s, node) = (first.time.as_secs_f64(), first.node.map(Node::host));
    Some(json!({ "at_s": at_s, "node": node, "what": first.what }))
}

fn kind_hops(findings: &Findings, kind: Kind) -> Option<Value> {
    findings.operations.get(&kind).map(|operations| buckets(&operations.hops))
}

fn buckets(histogram: &Histogram) -> Value {
    histogram.buckets().map(|(value, count)| json!([value, count])).collect()
}
