//! The scenarios that come with the program.

use super::{Scenario, Wrong};

/// A scenario of the library: its name and text.
pub struct Entry {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// Declares the library: files of `crates/sim/scenarios`.
macro_rules! library {
    ($($name:literal),* $(,)?) => {
        /// All of them.
        pub const LIBRARY: &[Entry] = &[
            $( Entry { name: $name, text: include_str!(concat!("../../scenarios/", $name, ".toml")) } ),*
        ];
    };
}

library!("compare", "churn");

/// The scenario of that name.
///
/// # Errors
/// If there is none.
pub fn named(name: &str) -> Result<Scenario, Wrong> {
    match LIBRARY.iter().find(|entry| entry.name == name) {
        Some(entry) => Scenario::parse(entry.name, entry.text),
        None => {
            let names: Vec<&str> = LIBRARY.iter().map(|entry| entry.name).collect();
            let what = format!("no such file, and no such scenario; there are {}", names.join(", "));
            Err(Wrong { file: name.to_owned(), line: 0, what })
        }
    }
}
