//! The report as a page: one file, no script, nothing fetched.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::plot::{self, Plot, Series};
use super::table::number;
use super::{Report, Summary, column};
use crate::histogram::Histogram;
use crate::metrics::Kind;

/// What a page shows.
pub struct Page<'a> {
    /// The figures.
    pub report: &'a Report,
    /// The same workload at several sizes.
    pub sizes: &'a [Report],
    /// Runs under churn, a row a set of parameters.
    pub churn: Option<&'a Report>,
}

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1b1f; --soft: #66666e; --paper: #fff; --line: #dcdce2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ec; --soft: #a0a0aa; --paper: #16161a; --line: #34343c; }
  svg { filter: invert(0.92) hue-rotate(180deg); }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1320px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .4rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr)); gap: 1.5rem; }
figure { margin: 0; } figure svg { width: 100%; height: auto; } figcaption { color: var(--soft); }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .6rem 0; }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em; }
";

/// The page's HTML.
pub fn page(page: &Page<'_>) -> String {
    let report = page.report;
    let colors = colors(page);
    let mut html = String::from("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    html.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    let _ = write!(
        html,
        "<title>{0}: figures</title>\n<style>{STYLE}</style>\n<h1>{0}</h1>\n",
        escaped(&report.name)
    );
    let _ = writeln!(html, "<p>{}</p>\n<p class=\"soft\">{}</p>", escaped(&report.about), conditions(report));
    html.push_str(&rows(report));
    html.push_str("<div class=\"key\">");
    for (name, &color) in &colors {
        let _ =
            write!(html, "<span><i style=\"background:{}\"></i>{}</span>", plot::css(color), escaped(name));
    }
    html.push_str("</div>\n<div class=\"plots\">\n");
    for (title, caption, plot) in plots(page, &colors) {
        let svg = plot.svg();
        if !svg.is_empty() {
            let _ = write!(
                html,
                "<figure><h2>{title}</h2>\n{svg}\n<figcaption>{caption}</figcaption></figure>\n"
            );
        }
    }
    html.push_str("</div>\n");
    if let Some(churn) = page.churn {
        let _ = writeln!(html, "<h2>Under churn</h2>\n<p>{}</p>", escaped(&churn.about));
        html.push_str(&rows(churn));
    }
    html.push_str("<h2>What the columns mean</h2>\n<table>\n");
    for column in &report.columns {
        let _ = writeln!(
            html,
            "<tr><td>{}<td style=\"text-align:left;white-space:normal\">{}",
            escaped(column.heading),
            escaped(column.about)
        );
    }
    html.push_str("</table>\n</html>\n");
    html
}

fn conditions(report: &Report) -> String {
    let seeds = report.rows.iter().map(|row| row.trials.len()).max().unwrap_or(0);
    let nodes = report.rows.first().map_or(0, |row| row.nodes);
    match seeds {
        0 | 1 => format!("{nodes} nodes, one seed"),
        _ => format!("{nodes} nodes, {seeds} seeds; behind ± is half of the 95 % confidence interval"),
    }
}

/// The table of a report.
fn rows(report: &Report) -> String {
    let mut html = String::from("<div class=\"wide\"><table>\n<tr><th>overlay");
    for column in &report.columns {
        let _ = write!(html, "<th title=\"{}\">{}", escaped(column.about), escaped(column.heading));
    }
    html.push('\n');
    for row in &report.rows {
        let _ = write!(html, "<tr><td>{}", escaped(&row.label));
        for column in &report.columns {
            let text = row.figure(column).map_or("–".into(), |interval| match interval.half {
                Some(half) if half > 0.0 => {
                    format!("{} <span class=\"soft\">±{}</span>", number(interval.mean), number(half))
                }
                _ => number(interval.mean),
            });
            let _ = write!(html, "<td>{text}");
        }
        html.push('\n');
    }
    html.push_str("</table></div>\n");
    html
}

/// A colour for each overlay, the same in all drawings.
fn colors(page: &Page<'_>) -> BTreeMap<&'static str, usize> {
    let all = page.sizes.iter().chain(page.churn).chain([page.report]).flat_map(|report| &report.rows);
    let mut names: Vec<&'static str> = Vec::new();
    for row in all {
        if !names.contains(&row.overlay) {
            names.push(row.overlay);
        }
    }
    names.into_iter().zip(0..).collect()
}

/// The drawings: title, caption, plot.
fn plots(page: &Page<'_>, colors: &BTreeMap<&'static str, usize>) -> Vec<(&'static str, &'static str, Plot)> {
    let color = |row: &Summary| colors.get(row.overlay).copied().unwrap_or(0);
    let each = |points: &dyn Fn(&Summary) -> Vec<(f64, f64)>| -> Vec<Series> {
        let rows = page.report.rows.iter();
        rows.map(|row| Series { color: color(row), points: points(row) }).collect()
    };
    let by_size = |name: &str| over_sizes(page.sizes, name, colors);
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
            "Memory over size",
            "Bytes of state of a node, as the network grows.",
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

fn over_sizes(sizes: &[Report], name: &str, colors: &BTreeMap<&'static str, usize>) -> Vec<Series> {
    let Some(column) = column(name) else { return Vec::new() };
    let series = |(&overlay, &color): (&&'static str, &usize)| {
        let rows = sizes.iter().flat_map(|report| report.rows.iter().filter(|row| row.overlay == overlay));
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

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
