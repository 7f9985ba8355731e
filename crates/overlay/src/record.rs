//! What is published, and what is asked for.

use std::sync::Arc;

use crate::Id;
use crate::wire::{Malformed, Reader, Wire, Writer};

/// Words of a name that count.
pub const MAX_WORDS: usize = 16;

/// Something that a node has and others may want.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Record {
    /// What it is: usually the hash of its content.
    pub key: Id,
    /// What it is called.
    pub name: Arc<str>,
    /// How large it is, in bytes.
    pub size: u64,
}

impl Record {
    /// The words of its name, each once, at most 16.
    pub fn words(&self) -> Vec<Arc<str>> {
        words(&self.name)
    }
}

impl Wire for Record {
    fn encode(&self, out: &mut impl Writer) {
        self.key.encode(out);
        self.name.encode(out);
        self.size.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Record, Malformed> {
        Ok(Record { key: Id::decode(input)?, name: Wire::decode(input)?, size: u64::decode(input)? })
    }
}

/// A search: all its words must be words of the name; one that ends in `*` is a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// What to search, as the user wrote it.
    pub text: Arc<str>,
    /// Hits after which to stop looking.
    pub wanted: u16,
}

impl Query {
    /// Whether `record` is what is searched. An empty search finds nothing.
    pub fn matches(&self, record: &Record) -> bool {
        let name = words(&record.name);
        let asked = self.words();
        !asked.is_empty()
            && asked.iter().all(|word| match word.strip_suffix('*') {
                Some(prefix) => name.iter().any(|one| one.starts_with(prefix)),
                None => name.contains(word),
            })
    }

    /// The words, those of prefixes with their `*`.
    pub fn words(&self) -> Vec<Arc<str>> {
        words(&self.text)
    }
}

impl Wire for Query {
    fn encode(&self, out: &mut impl Writer) {
        self.text.encode(out);
        self.wanted.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Query, Malformed> {
        Ok(Query { text: Wire::decode(input)?, wanted: u16::decode(input)? })
    }
}

/// Runs of letters and digits in lower case, each once, in order of appearance; a `*`
/// at a run's end stays.
fn words(text: &str) -> Vec<Arc<str>> {
    let mut found: Vec<Arc<str>> = Vec::new();
    let lower = text.to_lowercase();
    for run in lower.split(|c: char| !c.is_alphanumeric() && c != '*') {
        let bare = run.trim_matches('*');
        let word = if run.ends_with('*') { format!("{bare}*").into() } else { Arc::from(bare) };
        if !bare.is_empty() && !found.contains(&word) && found.len() < MAX_WORDS {
            found.push(word);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str) -> Record {
        Record { key: Id::ZERO, name: name.into(), size: 1 }
    }

    fn query(text: &str) -> Query {
        Query { text: text.into(), wanted: 10 }
    }

    #[test]
    fn all_words_must_be_there_in_any_order() {
        let song = record("The Starling - Murmuration (Live).flac");
        for text in ["starling", "LIVE murmuration", "murm*", "star* flac"] {
            assert!(query(text).matches(&song), "{text}");
        }
        for text in ["", "*", "star", "starling dead", "tarling*"] {
            assert!(!query(text).matches(&song), "{text}");
        }
    }
}
