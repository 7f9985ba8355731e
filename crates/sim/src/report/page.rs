//! The report as a page: one file, no script, nothing fetched.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::html::{self, Drawing};
use super::plot::{Plot, Series};
use super::{Report, Summary, column, csv, json};
use crate::histogram::Histogram;
use crate::metrics::Kind;

/// What a page shows.
pub struct Page<'a> {
    /// The figures.
    pub report: &'a Report,
    /// The same workload at other sizes, from the smallest on.
    pub sizes: &'a [Report],
    /// Runs under churn, a row a set of parameters.
    pub churn: Option<&'a Report>,
}

impl Page<'_> {
    /// The figures that the page shows, and all others, as JSON.
    pub fn json(&self) -> String {
        json::page(self)
    }

    /// The same as CSV.
    pub fn csv(&self) -> String {
        csv::page(self)
    }

    /// All sizes, the report's own the last.
    fn all_sizes(&self) -> impl Iterator<Item = &Report> + Clone {
        self.sizes.iter().chain([self.report])
    }
}

/// The page's HTML.
pub fn page(page: &Page<'_>) -> String {
    let report = page.report;
    let colors = colors(page);
    let mut html = html::head(&report.name, &report.about, &report.conditions());
    html.push_str(&rows(report));
    html.push_str(&html::key(colors.iter().map(|(&name, &color)| (name, color))));
    html.push_str(&html::drawings(&plots(page, &colors)));
    for size in page.sizes.iter().filter(|size| !size.is_whole()) {
        let nodes = size.nodes;
        let _ = writeln!(
            html,
            "<p>What it costs at {nodes} nodes is not known: the run was interrupted before its end.</p>"
        );
    }
    if let Some(churn) = page.churn {
        let (about, conditions) = (html::escaped(&churn.about), churn.conditions());
        let _ = writeln!(html, "<h2>Under churn</h2>\n<p>{about}</p>\n<p class=\"soft\">{conditions}</p>");
        if !churn.rows.is_empty() {
            html.push_str(&rows(churn));
        }
    }
    let mut all = heads(report);
    let more = page.churn.map(heads).unwrap_or_default();
    all.extend(more.into_iter().filter(|head| !heads(report).contains(head)));
    html.push_str(&html::tail(&all));
    html
}

fn heads(report: &Report) -> Vec<(&str, &str)> {
    report.columns.iter().map(|column| (column.heading, column.about)).collect()
}

/// The table of a report.
fn rows(report: &Report) -> String {
    let row = |row: &Summary| {
        let cells = report.columns.iter().map(|column| html::cell(row.figure(column)));
        std::iter::once(html::escaped(&report.label(row))).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = report.rows.iter().map(row).collect();
    html::table("overlay", &heads(report), &rows)
}

/// A colour for each overlay, the same in all drawings.
fn colors(page: &Page<'_>) -> BTreeMap<&'static str, usize> {
    let all = page.all_sizes().chain(page.churn).flat_map(|report| &report.rows);
    let mut names: Vec<&'static str> = Vec::new();
    for row in all {
        if !names.contains(&row.overlay) {
            names.push(row.overlay);
        }
    }
    names.into_iter().zip(0..).collect()
}

/// The drawings: title, caption, plot.
fn plots(page: &Page<'_>, colors: &BTreeMap<&'static str, usize>) -> Vec<Drawing> {
    let color = |row: &Summary| colors.get(row.overlay).copied().unwrap_or(0);
    let each = |points: &dyn Fn(&Summary) -> Vec<(f64, f64)>| -> Vec<Series> {
        let rows = page.report.rows.iter();
        rows.map(|row| Series { color: color(row), points: points(row) }).collect()
    };
    let by_size = |name: &str| over_sizes(page, name, colors);
    let axes = |x, y, log, joined, series| Plot { x, y, log, joined, series };
    vec![
        (
            "Hops",
            "How long the paths of look-ups are: the share of look-ups by the number of hops.",
            axes("hops", "share of look-ups", (false, false), true, each(&hop_shares)),
        ),
        (
            "Load per node",
            "Messages that a node receives, over the mean of all nodes, from the idlest to the busiest.",
            axes("share of nodes, %", "messages over the mean", (false, true), true, each(&load_curve)),
        ),
        (
            "Messages over size",
            "Messages that a look-up takes, as the network grows.",
            axes("nodes", "messages a look-up", (true, true), true, by_size("lookup_messages")),
        ),
        (
            "Tables over size",
            "Peers that a node knows, as the network grows: the mean, so that Napster's few servers, which know everybody, hardly show.",
            axes("nodes", "peers in the tables", (true, true), true, by_size("peers")),
        ),
        (
            "Memory over size",
            "Bytes of state of a node, what it keeps for others included, as the network grows.",
            axes("nodes", "bytes of state", (true, true), true, by_size("state_bytes")),
        ),
        (
            "Latency over size",
            "Median time to an answer, as the network grows.",
            axes("nodes", "median ms", (true, false), true, by_size("latency_p50_ms")),
        ),
        (
            "Latency against bandwidth under churn",
            "Each point is a set of parameters: what the overlay costs all the time, and what a look-up then takes. Lower left is better.",
            axes("bytes a node and second", "mean ms", (true, false), false, under_churn(page.churn, colors)),
        ),
    ]
}

fn hop_shares(row: &Summary) -> Vec<(f64, f64)> {
    let mut hops = Histogram::default();
    for (_, findings) in &row.trials {
        for kind in [Kind::Find, Kind::LookUp] {
            findings.operations.get(&kind).into_iter().for_each(|operations| hops.merge(&operations.hops));
        }
    }
    let all = hops.count().max(1) as f64;
    hops.buckets().map(|(value, count)| (value as f64, count as f64 / all)).collect()
}

/// Steps of the load curve.
const STEPS: u32 = 200;

fn load_curve(row: &Summary) -> Vec<(f64, f64)> {
    let mut load = Histogram::default();
    row.trials.iter().for_each(|(_, findings)| load.merge(&findings.load));
    let Some(mean) = load.mean().filter(|&mean| mean > 0.0) else { return Vec::new() };
    let at = |step: u32| {
        let share = f64::from(step) / f64::from(STEPS);
        Some((share * 100.0, load.quantile(share)? as f64 / mean)).filter(|point| point.1 > 0.0)
    };
    (1..=STEPS).filter_map(at).collect()
}

/// How a figure grows with the size: sizes that were measured to the end, two at least.
fn over_sizes(page: &Page<'_>, name: &str, colors: &BTreeMap<&'static str, usize>) -> Vec<Series> {
    let Some(column) = column(name) else { return Vec::new() };
    let sizes = page.all_sizes().filter(|size| size.is_whole());
    if sizes.clone().count() < 2 {
        return Vec::new();
    }
    let series = |(&overlay, &color): (&&'static str, &usize)| {
        let rows = sizes.clone().flat_map(|report| report.rows.iter().filter(|row| row.overlay == overlay));
        let points = rows.filter_map(|row| Some((f64::from(row.nodes), row.figure(column)?.mean)));
        Series { color, points: points.filter(|point| point.1 > 0.0).collect() }
    };
    colors.iter().map(series).collect()
}

fn under_churn(churn: Option<&Report>, colors: &BTreeMap<&'static str, usize>) -> Vec<Series> {
    let (Some(churn), Some(bytes), Some(latency)) = (churn, column("bytes_per_node_s"), column("latency_ms"))
    else {
        return Vec::new();
    };
    let point = |row: &Summary| Some((row.figure(bytes)?.mean, row.figure(latency)?.mean));
    let rows = churn.rows.iter();
    let series = rows.map(|row| Series {
        color: colors.get(row.overlay).copied().unwrap_or(0),
        points: point(row).into_iter().collect(),
    });
    series.collect()
}
