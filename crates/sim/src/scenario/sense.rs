//! Whether an overlay's parameters go together.

use std::fmt;
use std::time::Duration;

use starling_overlay::kademlia;

use super::check::{Blame, blame, each};
use super::params::{GnutellaTable, KademliaTable, Overlays, SearchTable, Ttl};
use super::value::{Count, Secs};

impl Overlays {
    /// Whether the parameters of each overlay go together.
    pub fn sense(&self) -> Result<(), Blame> {
        each("gnutella", &self.gnutella.0, GnutellaTable::sense)?;
        each("kademlia", &self.kademlia.0, KademliaTable::sense)?;
        Ok(())
    }
}

/// Of two parameters, by name, the first may not be the larger one.
fn in_order<T: PartialOrd + fmt::Display>(low: (&str, T), high: (&str, T)) -> Result<(), Blame> {
    if low.1 <= high.1 {
        return Ok(());
    }
    blame(low.0, format!("{} is {}, but {} only {}", low.0, low.1, high.0, high.1))
}

impl KademliaTable {
    fn sense(&self) -> Result<(), Blame> {
        let config = kademlia::Config::default();
        let secs = |given: Option<Secs>, usual: Duration| given.map_or(usual, |secs| secs.0).as_secs_f64();
        let (low, high) =
            (secs(self.probe_min_s, config.probe_min), secs(self.probe_max_s, config.probe_max));
        in_order(("probe_min_s", low), ("probe_max_s", high))?;
        match (self.enough, self.k) {
            (Some(enough), k) => in_order(("enough", enough.get()), ("k", k.map_or(config.k, Count::get))),
            _ => Ok(()),
        }
    }
}

impl GnutellaTable {
    fn sense(&self) -> Result<(), Blame> {
        let in_order_of_search = |low: (&str, Ttl), high: (&str, Ttl)| {
            in_order::<usize>((low.0, low.1.get()), (high.0, high.1.get()))
                .map_err(|(key, what)| (format!("search.{key}"), what))
        };
        match self.search {
            Some(SearchTable::Ring { first, last, .. }) => {
                in_order_of_search(("first", first), ("last", last))?;
            }
            Some(SearchTable::Dynamic { probe_ttl, ttl, .. }) => {
                in_order_of_search(("probe_ttl", probe_ttl), ("ttl", ttl))?;
            }
            _ => {}
        }
        match (self.degree, self.degree_max) {
            (Some(degree), Some(most)) => {
                in_order::<usize>(("degree", degree.get()), ("degree_max", most.get()))
            }
            _ => Ok(()),
        }
    }
}
