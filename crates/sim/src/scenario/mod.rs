//! Scenarios: what happens in a simulation, as a text that anyone can write.
//!
//! `file` is what may be written, `check` makes a [`Setting`] of it or says in one
//! sentence what is wrong, on which line, and what to do; `params` are the overlays'
//! own parameters; `memory` estimates what it will take; `library` are the scenarios that come
//! with the program. Scenarios of
//! a BitTorrent swarm say other things ([`crate::swarm::Scenario`]); [`Any`] is either.

mod any;
pub(crate) mod check;
mod choice;
mod empty;
mod figure;
pub(crate) mod file;
mod library;
mod line;
mod memory;
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
    /// Whether the number of hosts is another than the text's.
    renumbered: bool,
}

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
            about: plain(&file.about),
            overlays,
            columns: file.columns.clone(),
            seeds: file.seeds,
            figures,
            file,
            text: text.to_owned(),
            renumbered: false,
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
        self.renumbered |= nodes != self.file.nodes;
        self.file.nodes = nodes;
        check::sense(&self.file).map_err(|blame| self.wrong(blame))?;
        Ok(self)
    }

    /// Whether it is checked what must hold.
    pub fn is_checked(&self) -> bool {
        self.file.check != CheckName::Never
    }

    /// Everything that a trial with `seed` needs, for `choice`.
    pub fn setting(&self, choice: &Choice, seed: u64) -> Setting {
        check::setting(&self.file, choice, seed)
    }

    /// What is wrong with it, with the line that is to blame.
    fn wrong(&self, blame: check::Blame) -> Wrong {
        let wrong = if self.renumbered { with_so_many } else { at_line };
        wrong(&self.name, &self.text, blame)
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// So many, in words.
pub(crate) fn nodes(count: u64) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
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

/// Characters of a word that a message repeats at most.
const MAX_WORD: usize = 80;

/// A word, or the beginning of one that is longer than any that is meant.
pub(crate) fn brief(word: &str) -> String {
    match word.char_indices().nth(MAX_WORD) {
        Some((at, _)) => format!("{}…", &word[..at]),
        None => word.to_owned(),
    }
}

/// What its author calls something, as one line that a terminal does not obey.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        c if c.is_whitespace() => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.trim().chars().map(shown).collect()
}

/// A message of several lines as one, in the words of who writes scenarios.
fn one_line(message: &str) -> String {
    let words = message.split_whitespace().map(brief).collect::<Vec<_>>().join(" ");
    if words.contains("recursion limit") || words.contains("recursion depth") {
        return "tables or arrays lie deeper in each other than in any scenario: write fewer levels".into();
    }
    let words = words.replace("` as i128", "`").replace("` as u128", "`");
    // Only the internet model has a name and nothing else.
    let words = words.replace(", there are no fields", ": leave it out, as in { model = \"internet\" }");
    let words = words.replace("wanted string or table", "expected a name in quotes");
    for (kind, meant) in [
        ("u16", "a whole number from 0 to 65535"),
        ("u32", "a whole number from 0 to 4294967295"),
        ("u64", "a whole number from 0"),
        ("f64", "a number"),
        ("internally tagged enum LatencyTable", "a table as { model = \"constant\", ms = 50 }"),
        ("internally tagged enum LifetimeTable", "a table as { model = \"exponential\", mean_s = 3600 }"),
        ("internally tagged enum SearchTable", "a table as { by = \"flood\", ttl = 7 }"),
        ("variant identifier", "a name in quotes"),
        ("a sequence", "an array, as [\"a\", \"b\"] or tables under [[name]]"),
    ] {
        if let Some(start) = words.strip_suffix(&format!("expected {kind}")) {
            return format!("{start}expected {meant}");
        }
    }
    match words.rsplit_once("expected struct ") {
        Some((start, _)) => format!("{start}expected a table"),
        None => words,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test may panic
mod tests {
    use super::*;
    use crate::swarm;

    const CHORD: &str = "nodes = 5\nduration_s = 9\n[overlay.chord]\n";

    #[test]
    fn names_that_authors_give_are_one_line_and_harmless() {
        let odd = "\"\\u001b[31mred\\nand \\ttwo\\n\"";
        let text = format!("about = {odd}\n{CHORD}label = {odd}\n");
        let scenario = Scenario::parse("x", &text).unwrap();
        assert_eq!(scenario.about, "\u{fffd}[31mred and  two");
        assert_eq!(scenario.overlays[0].label(), "chord \u{fffd}[31mred and  two");
        let text = format!(
            "about = {odd}\n[swarm]\nsize_mib = 4\n[swarm.origin]\nuplink_kb_s = 9\n\
             [swarm.contributors]\nuplink_kb_s = 9\n"
        );
        assert_eq!(swarm::Scenario::parse("x", &text).unwrap().about, scenario.about);
    }

    #[test]
    fn what_is_wrong_is_one_sentence_however_long_the_file_s_words_are() {
        let long = "k".repeat(100_000);
        for text in [
            format!("{long} = 1\n{CHORD}"),
            format!("columns = [\"{long}\"]\n{CHORD}"),
            format!("{CHORD}successors = 1e308\n"),
            format!("[{}]\n", vec!["a"; 3_000].join(".")),
            format!("nodes = {}1{}\n", "[".repeat(3_000), "]".repeat(3_000)),
        ] {
            let wrong = Scenario::parse("x.toml", &text).unwrap_err();
            assert!(wrong.what.len() < 1_000 && !wrong.what.contains("recursion"), "{wrong}");
        }
    }
}
