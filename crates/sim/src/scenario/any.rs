//! A scenario of either kind: overlays, or a swarm.

use super::{LIBRARY, Scenario, Wrong};
use crate::swarm;

/// A scenario that makes sense.
#[derive(Clone, Debug)]
pub enum Any {
    /// Of overlays: it has an `[overlay]`.
    Overlays(Box<Scenario>),
    /// Of a BitTorrent swarm: it has a `[swarm]`.
    Swarm(Box<swarm::Scenario>),
}

impl Any {
    /// Reads a scenario's text; `name` is its file's.
    ///
    /// # Errors
    /// The author's fault: a wrong key, a value of the wrong kind, an impossible one.
    pub fn parse(name: &str, text: &str) -> Result<Any, Wrong> {
        let is_swarm = toml::from_str::<toml::Table>(text).is_ok_and(|file| file.contains_key("swarm"));
        if is_swarm {
            return Ok(Any::Swarm(Box::new(swarm::Scenario::parse(name, text)?)));
        }
        Ok(Any::Overlays(Box::new(Scenario::parse(name, text)?)))
    }

    /// The scenario of that name that comes with the program.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(name: &str) -> Result<Any, Wrong> {
        let entries = || LIBRARY.iter().chain(swarm::LIBRARY);
        if let Some(entry) = entries().find(|entry| entry.name == name) {
            return Any::parse(entry.name, entry.text);
        }
        let names: Vec<&str> = entries().map(|entry| entry.name).collect();
        let what = format!("no such file, and no such scenario; there are {}", names.join(", "));
        Err(Wrong { file: name.to_owned(), line: 0, what })
    }

    /// All that come with the program.
    ///
    /// # Errors
    /// If one makes no sense.
    pub fn library() -> Result<Vec<Any>, Wrong> {
        LIBRARY.iter().chain(swarm::LIBRARY).map(|entry| Any::parse(entry.name, entry.text)).collect()
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            Any::Overlays(scenario) => &scenario.name,
            Any::Swarm(scenario) => &scenario.name,
        }
    }

    /// A line about what it shows.
    pub fn about(&self) -> &str {
        match self {
            Any::Overlays(scenario) => &scenario.about,
            Any::Swarm(scenario) => &scenario.about,
        }
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        match self {
            Any::Overlays(scenario) => scenario.text(),
            Any::Swarm(scenario) => scenario.text(),
        }
    }
}
