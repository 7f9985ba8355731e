//! Figures of trials: over several seeds, as a table, as files, as a page.

mod columns;
mod csv;
pub(crate) mod html;
mod interval;
mod json;
mod own;
mod page;
pub(crate) mod plot;
mod table;
mod verdict;

pub use columns::{COLUMNS, Column, USUAL, column};
pub use interval::Interval;
pub use own::is_own;
pub use page::{Page, page};
pub use table::{cell, table};
pub use verdict::{Claim, Figure, Finding, WIDEST, WITHIN, findings};

pub(crate) use csv::quoted;
pub(crate) use table::lined_up;

pub(crate) use columns::VIOLATIONS;

use starling_sansio::Time;

use crate::scenario::{self, Scenario};
use crate::trial::Findings;

/// One overlay's trials of one scenario, a seed each.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The overlay, with what tells it from others of the same name.
    pub label: String,
    /// The overlay's name.
    pub overlay: &'static str,
    /// Hosts.
    pub nodes: u32,
    /// What each seed found.
    pub trials: Vec<(u64, Findings)>,
}

impl Summary {
    /// A column's mean and interval over the seeds.
    pub fn figure(&self, column: &Column) -> Option<Interval> {
        Interval::of(&self.values(column))
    }

    /// A column's value with each seed that has one.
    pub fn values(&self, column: &Column) -> Vec<f64> {
        self.trials.iter().filter_map(|(_, findings)| (column.value)(findings)).collect()
    }
}

/// All summaries of one scenario.
#[derive(Clone, Debug)]
pub struct Report {
    /// The scenario's name.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// Hosts.
    pub nodes: u32,
    /// The trials that it is to have.
    pub trials: usize,
    /// The simulated time that a trial takes.
    pub until: Time,
    /// The names of the columns.
    pub columns: Vec<&'static Column>,
    /// A row each.
    pub rows: Vec<Summary>,
}

impl Report {
    /// An empty report of `scenario`.
    pub fn of(scenario: &Scenario) -> Report {
        let names: Vec<&str> = scenario.columns.iter().map(String::as_str).collect();
        let mut names = if names.is_empty() { USUAL.to_vec() } else { names };
        if scenario.is_checked() && !names.contains(&VIOLATIONS) {
            names.push(VIOLATIONS);
        }
        Report {
            name: scenario.name.clone(),
            about: scenario.about.clone(),
            nodes: scenario.nodes(),
            trials: scenario.overlays.len() * scenario.seeds as usize,
            until: scenario.until(),
            columns: names.into_iter().filter_map(column).collect(),
            rows: Vec::new(),
        }
    }

    /// A row's label, and how far its trials came if somebody stopped one before its end.
    pub fn label(&self, row: &Summary) -> String {
        let reached = row.trials.iter().map(|(_, findings)| findings.reached).min();
        match reached.filter(|&reached| reached < self.until) {
            Some(reached) => format!("{}, stopped at {:.0} s", row.label, reached.as_secs_f64()),
            None => row.label.clone(),
        }
    }

    /// How many nodes and seeds, and how many trials are missing if somebody stopped the run.
    pub fn conditions(&self) -> String {
        let seeds = self.rows.iter().map(|row| row.trials.len()).max().unwrap_or(0);
        let nodes = scenario::nodes(self.nodes.into());
        let text = match seeds {
            0 | 1 => format!("{nodes}, one seed"),
            _ => format!("{nodes}, {seeds} seeds; behind ± is half of the 95 % confidence interval"),
        };
        let begun = self.begun();
        if begun == self.trials {
            return text;
        }
        let some = if begun == 0 { "none".to_owned() } else { begun.to_string() };
        let verb = if begun < 2 { "was" } else { "were" };
        format!("{text}; interrupted: {some} of {} trials {verb} begun", self.trials)
    }

    /// Trials that were begun.
    fn begun(&self) -> usize {
        self.rows.iter().map(|row| row.trials.len()).sum()
    }

    /// Whether all trials came to their end.
    fn is_whole(&self) -> bool {
        let mut trials = self.rows.iter().flat_map(|row| &row.trials);
        self.begun() == self.trials && trials.all(|(_, findings)| findings.reached >= self.until)
    }

    /// A sentence for each trial in which something was wrong that was checked.
    pub fn violations(&self) -> Vec<String> {
        let trials = self.rows.iter().flat_map(|row| row.trials.iter().map(move |trial| (row, trial)));
        let told = trials.filter_map(|(row, (seed, findings))| {
            let violations = findings.violations.as_ref().filter(|violations| violations.count > 0)?;
            let first = violations.first.as_ref().map(ToString::to_string).unwrap_or_default();
            let count = violations.count;
            let many = if count == 1 { "violation" } else { "violations, the first" };
            Some(format!("{}, seed {seed}: {count} {many} {first}", row.label))
        });
        told.collect()
    }

    /// The report as JSON, all columns and histograms included.
    pub fn json(&self) -> String {
        Page { report: self, sizes: &[], churn: None }.json()
    }

    /// The report as CSV: a line for each overlay, seed and column.
    pub fn csv(&self) -> String {
        Page { report: self, sizes: &[], churn: None }.csv()
    }
}

impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
