//! Scenarios: what happens in a simulation, as a text that anyone can write.
//!
//! `file` is what may be written, `check` makes a [`Setting`] of it or says in one
//! sentence what is wrong, on which line, and what to do; `params` are the overlays'
//! own parameters; `library` are the scenarios that come with the program. Scenarios of
//! a BitTorrent swarm say other things ([`crate::swarm::Scenario`]); [`Any`] is either.

mod any;
pub(crate) mod check;
mod choice;
mod figure;
pub(crate) mod file;
mod library;
mod line;
mod params;
mod sense;
mod upkeep;
mod value;

use std::fmt;

use starling_sansio::Time;

use crate::report::Figure;
use crate::trial::Setting;

pub use any::Any;
pub use choice::{Choice, Visit};
pub use library::{Entry, FIGURES, LIBRARY, named};
pub use params::NAMES;

use file::{CheckName, File};
use line::{line_at, line_of};

/// A scenario that makes sense.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called: the file's name, or the library's.
    pub name: String,
    /// A line about what it shows.
    pub about: String,
    /// The overlays that run, each with its parameters.
    pub overlays: Vec<Choice>,
    /// The columns to print; none: the usual ones.
    pub columns: Vec<String>,
    /// With how many seeds.
    pub seeds: u64,
    /// What it is to reproduce.
    pub figures: Vec<Figure>,
    file: File,
    text: String,
}

/// Bytes of a question that is planned.
const QUESTION_BYTES: u64 = 32;

/// What is wrong with a scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 if it is no line's fault.
    pub line: usize,
    /// What is wrong, and what to do about it.
    pub what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}, line {line}: {}", self.file, self.what),
        }
    }
}

impl std::error::Error for Wrong {}

impl Scenario {
    /// Reads a scenario's text; `name` is its file's.
    ///
    /// # Errors
    /// The author's fault: a wrong key, a value of the wrong kind, an impossible one.
    pub fn parse(name: &str, text: &str) -> Result<Scenario, Wrong> {
        let file: File = read(name, text)?;
        check::sense(&file).map_err(|blame| at_line(name, text, blame))?;
        let overlays = file.overlay.choices(file.bits, file.upkeep);
        let figures = figure::figures(&file, &overlays).map_err(|blame| at_line(name, text, blame))?;
        Ok(Scenario {
            name: name.to_owned(),
            about: file.about.clone(),
            overlays,
            columns: file.columns.clone(),
            seeds: file.seeds,
            figures,
            file,
            text: text.to_owned(),
        })
    }

    /// Hosts.
    pub fn nodes(&self) -> u32 {
        self.file.nodes
    }

    /// When a trial ends.
    pub fn until(&self) -> Time {
        check::time(self.file.duration_s)
    }

    /// The same with another number of hosts.
    ///
    /// # Errors
    /// If the scenario makes no sense with so many.
    pub fn with_nodes(mut self, nodes: u32) -> Result<Scenario, Wrong> {
        self.file.nodes = nodes;
        check::sense(&self.file).map_err(|blame| with_so_many(&self.name, &self.text, blame))?;
        Ok(self)
    }

    /// Whether `free` bytes of memory are enough for as many trials at once as there
    /// are threads; if that is not known, they are.
    ///
    /// # Errors
    /// The author's fault: too many nodes, or too many records.
    pub fn fits(&self, free: Option<u64>, threads: usize) -> Result<(), Wrong> {
        let Some(free) = free else { return Ok(()) };
        let trials = self.overlays.len() as u64 * self.seeds;
        let at_once = trials.min(threads as u64).max(1);
        // Each overlay runs with all seeds; the largest that may run at once.
        let most = |at_once: u64, bytes: &dyn Fn(&Choice) -> u64| {
            let each = self.overlays.iter().map(bytes);
            let mut all: Vec<u64> =
                each.flat_map(|bytes| (0..self.seeds.min(at_once)).map(move |_| bytes)).collect();
            all.sort_unstable_by(|one, other| other.cmp(one));
            all.iter().take(at_once as usize).fold(0u64, |sum, &bytes| sum.saturating_add(bytes))
        };
        let of_nodes = |at_once, nodes| most(at_once, &|choice| self.bytes_of_nodes(choice, nodes));
        let of_records =
            |at_once, nodes, count| most(at_once, &|choice| self.bytes_of_records(choice, nodes, count));
        let needed = |at_once, nodes, count| {
            of_records(at_once, nodes, count).saturating_add(of_nodes(at_once, nodes))
        };
        let records = |nodes| self.file.records.as_ref().map_or(0.0, |records| records.number(nodes));
        let (nodes, count) = (self.nodes(), records(self.nodes()));
        let all = needed(at_once, nodes, count);
        if all <= free {
            return Ok(());
        }
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let by_records = of_records(at_once, nodes, count) > of_nodes(at_once, nodes);
        let mut remedies = Vec::new();
        if by_records {
            let fewer = largest(count as u64, |count| needed(at_once, nodes, count as f64) <= free);
            remedies.extend((fewer > 0).then(|| format!("{fewer} records")));
        }
        let fewer =
            largest(nodes.into(), |nodes| needed(at_once, nodes as u32, records(nodes as u32)) <= free);
        remedies.extend((fewer > 0).then(|| format!("{fewer} nodes")));
        remedies.extend((at_once > 1 && needed(1, nodes, count) <= free).then(|| "one thread".to_owned()));
        if remedies.is_empty() {
            remedies.push("fewer of both".to_owned());
        }
        let (key, what) = if by_records {
            ("records.", format!("{count} records"))
        } else {
            ("nodes", format!("{nodes} nodes"))
        };
        let possible = remedies.join(", or ");
        Err(Wrong {
            file: self.name.clone(),
            line: line_of(&self.text, key),
            what: format!(
                "{what} need about {:.1} GiB of memory, and {:.1} are free: try {possible}",
                gib(all),
                gib(free),
            ),
        })
    }

    /// About how many bytes the nodes of a trial take, and what is planned to be asked.
    fn bytes_of_nodes(&self, choice: &Choice, nodes: u32) -> u64 {
        let numbers = u64::from(nodes) * u64::from(self.file.virtual_nodes);
        let asked: u64 = self.file.traffic.iter().filter_map(|traffic| traffic.total).sum();
        let nodes = u32::try_from(numbers).unwrap_or(u32::MAX);
        choice.bytes_a_node(nodes) * numbers + asked * QUESTION_BYTES
    }

    /// About how many bytes so many records take where they are kept.
    fn bytes_of_records(&self, choice: &Choice, nodes: u32, number: f64) -> u64 {
        let Some(records) = &self.file.records else { return 0 };
        let published = number * f64::from(records.copies);
        (published * choice.bytes_a_record(nodes, records.words) as f64) as u64
    }

    /// Whether it is checked what must hold.
    pub fn is_checked(&self) -> bool {
        self.file.check != CheckName::Never
    }

    /// Everything that a trial with `seed` needs, for `choice`.
    pub fn setting(&self, choice: &Choice, seed: u64) -> Setting {
        check::setting(&self.file, choice, seed)
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The largest number up to `most` that fits: what is needed need not grow in proportion.
fn largest(most: u64, fits: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

/// A file of this kind, if the text is one.
pub(crate) fn read<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> Result<T, Wrong> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(0, |span| line_at(text, span.start));
        Wrong { file: name.to_owned(), line, what: one_line(error.message()) }
    })
}

/// What is wrong, with the line of the key that is to blame.
pub(crate) fn at_line(name: &str, text: &str, (key, what): check::Blame) -> Wrong {
    Wrong { file: name.to_owned(), line: line_of(text, &key), what }
}

/// The same where the number of nodes is not the file's: no line of it says that number.
pub(crate) fn with_so_many(name: &str, text: &str, blame: check::Blame) -> Wrong {
    let is_number = blame.0 == "nodes";
    let wrong = at_line(name, text, blame);
    Wrong { line: if is_number { 0 } else { wrong.line }, ..wrong }
}

/// A message of several lines as one, in the words of who writes scenarios.
fn one_line(message: &str) -> String {
    let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
    for (kind, meant) in [
        ("u16", "a whole number from 0 to 65535"),
        ("u32", "a whole number from 0 to 4294967295"),
        ("u64", "a whole number from 0"),
        ("f64", "a number"),
    ] {
        if let Some(start) = words.strip_suffix(&format!("expected {kind}")) {
            return format!("{start}expected {meant}");
        }
    }
    words
}
