//! What simulated hosts have, and how popular it is.

use std::sync::Arc;

use starling_overlay::{Id, Query, Record};
use starling_sansio::Rng;

use crate::place::mix;

/// The things that are published, each by some hosts. Nothing is stored: record number
/// n is a function of n and the seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalogue {
    /// How many records there are.
    pub records: u32,
    /// How many hosts have each.
    pub copies: u32,
    /// Words in a name.
    pub words: u32,
    /// How many different words names are made of.
    pub vocabulary: u32,
    /// Exponent of Zipf's law by which records are asked for and words used; 0: evenly.
    pub zipf: f64,
    /// What it is all drawn from.
    pub seed: u64,
}

/// Words in a search.
const ASKED: usize = 2;

impl Catalogue {
    /// Record number `n`.
    pub fn record(&self, n: u32) -> Record {
        let words: Vec<String> = self.words(n).into_iter().map(|word| format!("w{word}")).collect();
        Record { key: self.key(n), name: words.join(" ").into(), size: 1 << 20 }
    }

    /// The key of record number `n`.
    pub fn key(&self, n: u32) -> Id {
        Id::hash(&[&self.seed.to_be_bytes()[..], &n.to_be_bytes()].concat())
    }

    /// The hosts, of `hosts`, that have record number `n`, each once.
    pub fn owners(&self, n: u32, hosts: u32) -> Vec<u32> {
        let hosts = u64::from(hosts.max(1));
        let mut drawn = mix(self.seed ^ u64::from(n) << 20);
        let mut owners = Vec::new();
        while (owners.len() as u64) < u64::from(self.copies).min(hosts) {
            drawn = mix(drawn);
            let owner = (drawn % hosts) as u32;
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        owners
    }

    /// A record to ask for, by popularity.
    pub fn draw(&self, rng: &mut Rng) -> u32 {
        zipf(self.records, self.zipf, rng)
    }

    /// A search that finds record number `n`, among others.
    pub fn query(&self, n: u32, wanted: u16) -> Query {
        let mut words = self.words(n);
        words.truncate(ASKED);
        let text = words.into_iter().map(|word| format!("w{word}")).collect::<Vec<_>>().join(" ");
        Query { text: Arc::from(text), wanted }
    }

    /// The numbers of all records by word, to count what a search could find.
    pub fn index(&self) -> Index {
        let mut by_word = vec![Vec::new(); self.vocabulary.max(1) as usize];
        for n in 0..self.records {
            let mut words = self.words(n);
            words.sort_unstable();
            words.dedup();
            words.into_iter().for_each(|word| by_word[word as usize].push(n));
        }
        Index { by_word }
    }

    /// The words of record `n`'s name: one of its own, others by popularity.
    fn words(&self, n: u32) -> Vec<u32> {
        let mut rng = Rng::from_seed(self.seed ^ mix(u64::from(n)));
        (0..self.words).map(|_| zipf(self.vocabulary, self.zipf, &mut rng)).collect()
    }
}

/// Which records have a word in their name.
#[derive(Clone, Debug)]
pub struct Index {
    by_word: Vec<Vec<u32>>,
}

impl Index {
    /// The records of `catalogue` that the search for record number `n` matches.
    pub fn matching(&self, catalogue: &Catalogue, n: u32) -> Vec<u32> {
        let asked = catalogue.words(n);
        let lists: Vec<&Vec<u32>> =
            asked.iter().take(ASKED).filter_map(|&word| self.by_word.get(word as usize)).collect();
        let shortest = lists.iter().min_by_key(|list| list.len()).copied().into_iter().flatten().copied();
        shortest.filter(|n| lists.iter().all(|list| list.binary_search(n).is_ok())).collect()
    }
}

/// A number below `count` by Zipf's law, the smaller the likelier: the inverse of the
/// law's continuous form, which is close for large counts.
fn zipf(count: u32, exponent: f64, rng: &mut Rng) -> u32 {
    let (count, at) = (f64::from(count.max(1)), rng.unit());
    let rank = if exponent == 0.0 {
        at * count
    } else if (exponent - 1.0).abs() < 1e-9 {
        (count + 1.0).powf(at) - 1.0
    } else {
        let rest = 1.0 - exponent;
        ((at * ((count + 1.0).powf(rest) - 1.0)) + 1.0).powf(1.0 / rest) - 1.0
    };
    (rank as u32).min(count as u32 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(zipf: f64) -> Catalogue {
        Catalogue { records: 500, copies: 3, words: 3, vocabulary: 50, zipf, seed: 4 }
    }

    #[test]
    fn a_query_finds_its_record_and_as_many_as_it_says() {
        let catalogue = catalogue(0.0);
        let index = catalogue.index();
        for n in [0, 17, 499] {
            let query = catalogue.query(n, 10);
            assert!(query.matches(&catalogue.record(n)));
            let matching: Vec<u32> = (0..500).filter(|&m| query.matches(&catalogue.record(m))).collect();
            assert_eq!(index.matching(&catalogue, n), matching);
        }
    }

    #[test]
    fn records_have_as_many_different_owners_as_copies() {
        let mut owners = catalogue(0.0).owners(7, 1_000);
        owners.sort_unstable();
        owners.dedup();
        assert_eq!(owners.len(), 3);
        assert_eq!(catalogue(0.0).owners(7, 2).len(), 2);
    }

    #[test]
    fn the_first_are_the_most_asked_for() {
        for (exponent, low, high) in [(0.0, 80, 120), (0.8, 430, 540), (1.0, 590, 680), (1.5, 700, 950)] {
            let (catalogue, mut rng) = (catalogue(exponent), Rng::from_seed(1));
            let first = (0..1_000).filter(|_| catalogue.draw(&mut rng) < 50).count();
            assert!((low..high).contains(&first), "exponent {exponent}: {first} of 1000");
        }
    }
}
