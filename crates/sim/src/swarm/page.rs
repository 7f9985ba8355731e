//! A swarm's report as a page: one file, no script, nothing fetched.

use std::fmt::Write;

use super::{Class, Outcome, Report};
use crate::report::html::{self, Drawing};
use crate::report::plot::{Plot, Series};
use crate::report::{Interval, cell};

/// The colour of the bound; classes have the numbers of [`Class::ALL`].
const BOUND: usize = 6;
/// Intervals that the rate is shown by, at most.
const STEPS: usize = 120;

/// The page's HTML.
pub fn page(report: &Report) -> String {
    let heads: Vec<(&str, &str)> = report.columns.iter().map(|c| (c.heading, c.about)).collect();
    let row = |class: Class| {
        let cells = report.columns.iter().map(|column| html::cell(report.figure(class, column)));
        std::iter::once(html::escaped(class.name())).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = report.classes().map(row).collect();
    let mut page = html::head(&report.name, &report.about, &report.conditions());
    page.push_str(&html::table("class", &heads, &rows));
    let _ = writeln!(page, "<p>{}</p>", against_the_bound(report));
    let classes = report.classes().map(|class| (class.name(), color(class)));
    page.push_str(&html::key(classes.chain([("fluid bound", BOUND)])));
    page.push_str(&html::drawings(&[finishes(report), rate(report), ratios(report)]));
    page.push_str(&html::tail(&heads));
    page
}

fn color(class: Class) -> usize {
    Class::ALL.iter().position(|&one| one == class).unwrap_or(0)
}

/// The last finisher and the bound, in a sentence.
fn against_the_bound(report: &Report) -> String {
    let mean = |value: &dyn Fn(&Outcome) -> Option<f64>| {
        let values: Vec<f64> = report.trials.iter().filter_map(|(_, outcome)| value(outcome)).collect();
        Interval::of(&values).map(|interval| cell(&interval))
    };
    let bound = mean(&|outcome| Some(outcome.bound_s)).unwrap_or_default();
    let last = mean(&Outcome::last_s);
    match (last, mean(&Outcome::ratio)) {
        (Some(last), Some(ratio)) => format!(
            "The last leecher had everything {last} s after the first came: {ratio} times the \
             fluid lower bound of {bound} s, which no way of distribution can beat (Kumar and Ross 2006)."
        ),
        _ => format!("Not every leecher has finished; the fluid lower bound is {bound} s."),
    }
}

/// How many had finished, over time; of all seeds together.
fn finishes(report: &Report) -> Drawing {
    let curve = |class: Class| {
        let of_class = || report.trials.iter().filter_map(|(_, outcome)| outcome.of(class));
        let hosts: u32 = of_class().map(|class| class.hosts).sum();
        let mut times: Vec<f64> = of_class().flat_map(|class| class.finish_s.iter().copied()).collect();
        times.sort_by(f64::total_cmp);
        let share = |at: usize| (at + 1) as f64 / f64::from(hosts.max(1)) * 100.0;
        let points = times.iter().enumerate().map(|(at, &time)| (time, share(at))).collect();
        Series { color: color(class), points }
    };
    let series = report.classes().map(curve).chain([upright(report, 100.0)]).collect();
    let plot =
        Plot { x: "seconds from arrival", y: "finished, %", log: (false, false), joined: true, series };
    ("Finish times", "How many hosts of each class had everything so long after they came.", plot)
}

/// A line at the bound.
fn upright(report: &Report, top: f64) -> Series {
    let bound = report.trials.first().map(|(_, outcome)| outcome.bound_s);
    Series { color: BOUND, points: bound.map_or(Vec::new(), |at| vec![(at, 0.0), (at, top)]) }
}

/// What all leechers together get a second, with the first seed.
fn rate(report: &Report) -> Drawing {
    let (mut all, mut ideal) = (Vec::new(), Vec::new());
    if let Some((_, outcome)) = report.trials.first() {
        let step = outcome.progress.len().div_ceil(STEPS).max(1);
        let mut before = (0.0, 0);
        for &(at, bytes) in outcome.progress.iter().step_by(step).chain(outcome.progress.last()) {
            if at > before.0 {
                all.push((at, (bytes - before.1) as f64 / (at - before.0) / 1e6));
                before = (at, bytes);
            }
        }
        let leechers = [Class::Contributor, Class::FreeRider].into_iter().filter_map(|c| outcome.of(c));
        let wanted = leechers.map(|class| f64::from(class.hosts)).sum::<f64>() * outcome.size as f64;
        let best = wanted / outcome.bound_s / 1e6;
        ideal = vec![(0.0, best), (outcome.bound_s, best)];
    }
    let series = vec![
        Series { color: color(Class::Contributor), points: all },
        Series { color: BOUND, points: ideal },
    ];
    let plot =
        Plot { x: "seconds", y: "verified MB/s, all leechers", log: (false, false), joined: true, series };
    (
        "Rate over time",
        "Verified bytes a second that all leechers together get; the fluid bound's rate would end at its end.",
        plot,
    )
}

/// How far each seed was from the bound.
fn ratios(report: &Report) -> Drawing {
    let of_seed = |(seed, outcome): &(u64, Outcome)| Some((*seed as f64, outcome.ratio()?));
    let mut points: Vec<(f64, f64)> = report.trials.iter().filter_map(of_seed).collect();
    if points.len() < 2 {
        points.clear(); // the sentence above says it
    }
    let bound = points.iter().map(|point| (point.0, 1.0)).collect();
    let series =
        vec![Series { color: color(Class::Contributor), points }, Series { color: BOUND, points: bound }];
    let plot = Plot { x: "seed", y: "last finisher / bound", log: (false, false), joined: false, series };
    ("Ratio to the fluid bound", "The last leecher's finish over the bound, each seed a point.", plot)
}
