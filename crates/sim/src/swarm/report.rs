//! A swarm's figures: over several seeds, as a table, as files.

use serde_json::{Map, Value, json};

use super::{Class, ClassOutcome, Outcome, Scenario};
use crate::report::{Interval, cell, lined_up, quoted};

/// A figure of a class in a trial.
pub struct Column {
    /// Its name in scenarios and files.
    pub name: &'static str,
    /// What stands above it.
    pub heading: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its value, if it has one.
    pub value: fn(&ClassOutcome, &Outcome) -> Option<f64>,
}

impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// All of them, in the order of the table.
pub static COLUMNS: [Column; 11] = [
    Column {
        name: "hosts",
        heading: "hosts",
        about: "hosts of the class",
        value: |c, _| Some(c.hosts.into()),
    },
    Column {
        name: "finished",
        heading: "finished",
        about: "the share of the class that got everything, every piece verified by its hash",
        value: |c, _| leeches(c).then(|| f64::from(c.complete) / f64::from(c.hosts)),
    },
    Column {
        name: "finish_p50_s",
        heading: "p50 s",
        about: "seconds from its arrival until half of those who finished had",
        value: |c, _| c.quantile(0.5),
    },
    Column {
        name: "finish_p99_s",
        heading: "p99 s",
        about: "seconds from arrival that 99 % of those who finished took at most",
        value: |c, _| c.quantile(0.99),
    },
    Column {
        name: "finish_last_s",
        heading: "last s",
        about: "seconds from the first leecher's arrival until the last of the class had finished",
        value: |c, _| c.last_s,
    },
    Column {
        name: "ratio",
        heading: "last/bound",
        about: "finish_last_s over the fluid lower bound for all leechers together",
        value: |c, o| Some(c.last_s? / o.bound_s),
    },
    Column {
        name: "given",
        heading: "given",
        about: "copies of the content that a host of the class uploaded, on average",
        value: |c, o| each(c, o, c.given),
    },
    Column {
        name: "taken",
        heading: "taken",
        about: "copies of the content that it downloaded",
        value: |c, o| each(c, o, c.taken),
    },
    Column {
        name: "doubled",
        heading: "doubled %",
        about: "bytes that came twice or unasked, in percent of the content",
        value: |c, o| Some(each(c, o, c.doubled)? * 100.0),
    },
    Column {
        name: "failed",
        heading: "failed %",
        about: "bytes of pieces that failed their hash, in percent of the content",
        value: |c, o| Some(each(c, o, c.failed)? * 100.0),
    },
    Column {
        name: "bans",
        heading: "bans",
        about: "how often a host of the class was banned by another, on average",
        value: |c, _| (c.hosts > 0).then(|| c.bans as f64 / f64::from(c.hosts)),
    },
];

fn leeches(class: &ClassOutcome) -> bool {
    matches!(class.class, Class::Contributor | Class::FreeRider)
}

/// A host's part of `bytes`, in copies of the content.
fn each(class: &ClassOutcome, outcome: &Outcome, bytes: u64) -> Option<f64> {
    (class.hosts > 0).then(|| bytes as f64 / f64::from(class.hosts) / outcome.size as f64)
}

/// The column of that name.
pub fn column(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.name == name)
}

/// The head of the file of comma-separated values.
pub(crate) const CSV_HEAD: &str = "scenario,class,seed,figure,value\r\n";

/// The trials of one scenario.
#[derive(Clone, Debug)]
pub struct Report {
    /// The scenario's name.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// What is printed.
    pub columns: Vec<&'static Column>,
    /// What came of each seed.
    pub trials: Vec<(u64, Outcome)>,
    /// The trials that it is to have.
    planned: usize,
}

impl Report {
    /// A report of `scenario`.
    pub fn of(scenario: &Scenario, trials: Vec<(u64, Outcome)>) -> Report {
        let chosen = scenario.columns.iter().filter_map(|name| column(name));
        let columns: Vec<&Column> =
            if scenario.columns.is_empty() { COLUMNS.iter().collect() } else { chosen.collect() };
        let (name, about) = (scenario.name.clone(), scenario.about.clone());
        Report { name, about, columns, trials, planned: scenario.seeds as usize }
    }

    /// How many hosts and seeds and how much content, and what is missing if somebody stopped
    /// the run.
    pub fn conditions(&self) -> String {
        let Some((_, first)) = self.trials.first() else { return "no trial was begun".into() };
        let hosts: u32 = first.classes.iter().map(|class| class.hosts).sum();
        let size = first.size as f64 / f64::from(1 << 20);
        let seeds = match self.trials.len() {
            1 => "one seed".to_owned(),
            seeds => format!("{seeds} seeds; behind ± is half of the 95 % confidence interval"),
        };
        let interrupted = self.interrupted().map(|told| format!("; {told}")).unwrap_or_default();
        format!("{hosts} hosts, {size} MiB, {seeds}{interrupted}")
    }

    /// What is missing if somebody stopped the run.
    fn interrupted(&self) -> Option<String> {
        let (begun, all) = (self.trials.len(), self.planned);
        let stopped = self.trials.iter().filter(|(_, outcome)| outcome.stopped).count();
        let told = format!("interrupted: {begun} of {all} trials begun");
        match stopped {
            0 if begun >= all => None,
            0 => Some(told),
            1 => Some(format!("{told}, 1 of them stopped before its end")),
            _ => Some(format!("{told}, {stopped} of them stopped before their end")),
        }
    }

    /// A figure's mean and interval over the seeds.
    pub fn figure(&self, class: Class, column: &Column) -> Option<Interval> {
        let value = |(_, outcome): &(u64, Outcome)| (column.value)(outcome.of(class)?, outcome);
        Interval::of(&self.trials.iter().filter_map(value).collect::<Vec<f64>>())
    }

    /// The classes that there are.
    pub(super) fn classes(&self) -> impl Iterator<Item = Class> + '_ {
        let there = |class: &Class| self.trials.iter().any(|(_, outcome)| outcome.of(*class).is_some());
        Class::ALL.into_iter().filter(there)
    }

    /// A row a class, a column a figure, the mean and behind it half the width of its 95 %
    /// interval; below them what is of the whole swarm.
    pub fn table(&self) -> String {
        let heads = self.columns.iter().map(|column| column.heading.to_owned());
        let mut lines = vec![std::iter::once("class".to_owned()).chain(heads).collect()];
        for class in self.classes() {
            let figures = self.columns.iter().map(|column| self.figure(class, column));
            let cells = figures.map(|figure| figure.map_or("-".into(), |interval| cell(&interval)));
            lines.push(std::iter::once(class.name().to_owned()).chain(cells).collect::<Vec<String>>());
        }
        let mut text = lined_up(&lines);
        for (name, value) in whole() {
            let values: Vec<f64> = self.trials.iter().map(|(_, outcome)| value(outcome)).collect();
            if let Some(interval) = Interval::of(&values) {
                text.push_str(&format!("{name}: {}\n", cell(&interval)));
            }
        }
        text.extend(self.interrupted().map(|told| told + "\n"));
        text
    }

    /// The report as JSON, all columns included.
    pub fn json(&self) -> String {
        let columns: Vec<Value> =
            COLUMNS.iter().map(|c| json!({ "name": c.name, "about": c.about })).collect();
        let class = |class: Class| {
            let figure = |column: &Column| {
                let interval = self.figure(class, column)?;
                let value =
                    json!({ "mean": interval.mean, "half_width_95": interval.half, "seeds": interval.count });
                Some((column.name.to_owned(), value))
            };
            json!({ "class": class.name(), "figures": COLUMNS.iter().filter_map(figure).collect::<Map<_, _>>() })
        };
        let classes: Vec<Value> = self.classes().map(class).collect();
        let trials: Vec<Value> = self.trials.iter().map(|(seed, outcome)| trial(*seed, outcome)).collect();
        let value = json!({
            "scenario": self.name, "about": self.about, "conditions": self.conditions(), "columns": columns, "classes": classes, "seeds": trials,
        });
        format!("{value:#}\n")
    }

    /// The report as CSV: a line for each class, seed and column.
    pub fn csv(&self) -> String {
        let mut text = CSV_HEAD.to_owned();
        let mut line = |class: &str, seed: u64, name: &str, value: f64| {
            text.push_str(&format!("{},{class},{seed},{name},{value}\r\n", quoted(&self.name)));
        };
        for (seed, outcome) in &self.trials {
            for (class, column) in outcome.classes.iter().flat_map(|c| COLUMNS.iter().map(move |k| (c, k))) {
                if let Some(value) = (column.value)(class, outcome) {
                    line(class.class.name(), *seed, column.name, value);
                }
            }
            whole().into_iter().for_each(|(name, value)| line("swarm", *seed, name, value(outcome)));
        }
        text
    }
}

/// A figure of a whole swarm.
type Whole = (&'static str, fn(&Outcome) -> f64);

/// All of them.
fn whole() -> [Whole; 3] {
    [
        ("bound_s", |outcome| outcome.bound_s),
        ("simulated_s", |outcome| outcome.simulated_s),
        ("events", |outcome| outcome.events as f64),
    ]
}

fn trial(seed: u64, outcome: &Outcome) -> Value {
    let class = |class: &ClassOutcome| {
        let figure = |column: &Column| Some((column.name.to_owned(), json!((column.value)(class, outcome)?)));
        let figures: Map<String, Value> = COLUMNS.iter().filter_map(figure).collect();
        json!({ "class": class.class.name(), "figures": figures, "finish_s": class.finish_s })
    };
    let figures: Map<String, Value> =
        whole().into_iter().map(|(name, value)| (name.to_owned(), json!(value(outcome)))).collect();
    json!({
        "seed": seed,
        "trace": format!("{:016x}", outcome.trace),
        "swarm": figures,
        "classes": outcome.classes.iter().map(class).collect::<Vec<Value>>(),
    })
}
