//! The scenarios that come with the program.

use super::{Scenario, Wrong};

/// A scenario of the library: its name and text.
pub struct Entry {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// Scenarios by name: files of a folder of `crates/sim`.
macro_rules! library {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[
            $( Entry {
                name: $name,
                text: include_str!(concat!("../../", $folder, "/", $name, ".toml")),
            } ),*
        ]
    };
}

/// Those to try things with.
pub const LIBRARY: &[Entry] =
    library!("scenarios": "compare", "churn", "fast-churn", "third-fails", "million");

/// Those that reproduce published figures.
pub const FIGURES: &[Entry] = library!(
    "figures": "chord-1024", "chord-4096", "chord-failed-0", "chord-failed-10", "chord-failed-20",
    "chord-failed-30", "chord-failed-40", "chord-failed-50", "chord-keys-1", "chord-keys-20",
    "pastry", "kademlia", "kelips-10000", "kelips-100000",
    "gnutella-flood-2", "gnutella-flood-3", "gnutella-walk-500", "gnutella-walk-50",
);

/// The scenario of that name.
///
/// # Errors
/// If there is none.
pub fn named(name: &str) -> Result<Scenario, Wrong> {
    match LIBRARY.iter().chain(FIGURES).find(|entry| entry.name == name) {
        Some(entry) => Scenario::parse(entry.name, entry.text),
        None => {
            let names: Vec<&str> = LIBRARY.iter().map(|entry| entry.name).collect();
            let what = format!("no such file, and no such scenario; there are {}", names.join(", "));
            Err(Wrong { file: name.to_owned(), line: 0, what })
        }
    }
}
