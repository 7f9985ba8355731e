//! Whether an overlay's parameters go together.

use std::fmt;
use std::time::Duration;

use starling_overlay::dht::DhtConfig;
use starling_overlay::{Id, chord, gnutella, kademlia, napster, pastry};

use super::check::{Blame, blame, each};
use super::params::{
    ChordTable, GnutellaTable, KademliaTable, KelipsTable, Overlays, PastryTable, SearchTable, Surroundings,
    Ttl,
};
use super::value::{Count, Secs};

impl Overlays {
    /// Whether the parameters of each overlay go together, in a network of so many nodes.
    pub fn sense(&self, nodes: u32) -> Result<(), Blame> {
        each("gnutella", &self.gnutella.0, GnutellaTable::sense)?;
        each("kademlia", &self.kademlia.0, KademliaTable::sense)?;
        each("chord", &self.chord.0, ChordTable::sense)?;
        each("pastry", &self.pastry.0, PastryTable::sense)?;
        each("kelips", &self.kelips.0, |table| table.sense(nodes))?;
        each("napster", &self.napster.0, |table| {
            let config = napster::Config::default();
            in_time(
                ("heartbeat_s", table.heartbeat_s, config.heartbeat_interval),
                ("client_timeout_s", table.client_timeout_s, config.client_timeout),
            )?;
            in_time(
                ("beat_s", table.beat_s, config.beat_interval),
                ("server_timeout_s", table.server_timeout_s, config.server_timeout),
            )
        })?;
        Ok(())
    }
}

/// What is renewed less often than it expires is mostly not there.
fn renewed(republish: Option<Secs>, expire: Option<Secs>) -> Result<(), Blame> {
    let config = DhtConfig::new((), 1);
    in_time(("republish_s", republish, config.republish), ("expire_s", expire, config.expire))
}

/// So many copies, if somebody says how many, need at least as much of another parameter.
fn copies(replicas: Option<Count<1, 32>>, other: (&str, usize)) -> Result<(), Blame> {
    replicas.map_or(Ok(()), |replicas| in_order(("replicas", replicas.get()), other))
}

/// Of two durations, by name, as given and as they usually are, the first may not be the
/// longer one. To blame is one that was given.
fn in_time(
    (low, least, usual): (&str, Option<Secs>, Duration),
    (high, most, usually): (&str, Option<Secs>, Duration),
) -> Result<(), Blame> {
    let found = in_order((low, least.unwrap_or(Secs(usual))), (high, most.unwrap_or(Secs(usually))));
    found.map_err(|(_, what)| (if least.is_some() { low } else { high }.to_owned(), what))
}

/// Of two parameters, by name, the first may not be the larger one.
fn in_order<T: PartialOrd + fmt::Display>(low: (&str, T), high: (&str, T)) -> Result<(), Blame> {
    if low.1 <= high.1 {
        return Ok(());
    }
    let remedy = format!("lower {} or raise {}", low.0, high.0);
    blame(low.0, format!("{} is {}, but {} only {}: {remedy}", low.0, low.1, high.0, high.1))
}

impl ChordTable {
    fn sense(&self) -> Result<(), Blame> {
        renewed(self.republish_s, self.expire_s)?;
        let config = chord::Config::default();
        copies(self.replicas, ("root_set", self.root_set.map_or(config.replicas, Count::get)))?;
        let successors: usize = self.successors.map_or(config.successors, Count::get);
        let most = chord::FEW.min(successors) + 1;
        let replicas: Option<usize> = self.replicas.map(Count::get);
        match replicas.filter(|&replicas| replicas > most) {
            Some(replicas) if most <= chord::FEW => {
                let what =
                    format!("{replicas} copies need {} successors, and there are {successors}", replicas - 1);
                blame("replicas", format!("{what}: lower replicas or raise successors"))
            }
            Some(_) => {
                let what =
                    format!("a node knows {} predecessors, and is sure of at most {most} copies", chord::FEW);
                blame("replicas", format!("{what}: lower replicas"))
            }
            None => Ok(()),
        }
    }
}

impl PastryTable {
    fn sense(&self) -> Result<(), Blame> {
        renewed(self.republish_s, self.expire_s)?;
        let leaves: usize = self.leaves.map_or(pastry::Config::default().leaf, Count::get);
        let replicas: Option<usize> = self.replicas.map(Count::get);
        match replicas.filter(|&replicas| replicas > leaves / 2 + 1) {
            Some(replicas) => {
                let what =
                    format!("{replicas} copies need {} leaves, and there are {leaves}", 2 * (replicas - 1));
                blame("replicas", format!("{what}: lower replicas or raise leaves"))
            }
            None => Ok(()),
        }
    }
}

impl KademliaTable {
    fn sense(&self) -> Result<(), Blame> {
        let config = kademlia::Config::default();
        in_time(
            ("probe_min_s", self.probe_min_s, config.probe_min),
            ("probe_max_s", self.probe_max_s, config.probe_max),
        )?;
        renewed(self.republish_s, self.expire_s)?;
        let k: usize = self.k.map_or(config.k, Count::get);
        if let Some(enough) = self.refresh_enough {
            in_order(("refresh_enough", enough.get()), ("k", k))?;
        }
        if let Some(set) = self.root_set {
            in_order(("root_set", set.get()), ("k", k))?;
        }
        if let Some(enough) = self.enough {
            in_order(("enough", enough.get()), ("k", k))?;
        }
        copies(self.replicas, ("root_set", self.root_set.map_or(config.replicas.min(k), Count::get)))?;
        copies(self.replicas, ("enough", self.enough.map_or(config.enough.min(k), Count::get)))
    }
}

impl KelipsTable {
    fn sense(&self, nodes: u32) -> Result<(), Blame> {
        // Bits and upkeep are of no account here.
        let config = self.config(&Surroundings { bits: Id::BITS, nodes, upkeep: true });
        let gossip = ("gossip_interval_s", self.gossip_interval_s, config.gossip_interval);
        let tuples = ("tuple_timeout_s", self.tuple_timeout_s, config.tuple_timeout);
        in_time(("refresh_s", self.refresh_s, config.refresh_interval), tuples)?;
        in_time(gossip, tuples)?;
        in_time(gossip, ("contact_timeout_s", self.contact_timeout_s, config.contact_timeout))?;
        let (least, members) = config.hears_of_all(nodes.into());
        match self.member_timeout_s {
            Some(given) if given.0 < least => blame(
                "member_timeout_s",
                format!(
                    "member_timeout_s is {given}, but a node hears of all {members} of its group only in {} s: \
                     raise it, or leave it out",
                    Secs(least)
                ),
            ),
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
        let Some(most) = self.degree_max else { return Ok(()) };
        let usual = usize::from(gnutella::Config::default().degree.0);
        let (degree, key) = self.degree.map_or((usual, "degree_max"), |degree| (degree.get(), "degree"));
        in_order::<usize>(("degree", degree), ("degree_max", most.get()))
            .map_err(|(_, what)| (key.to_owned(), what))
    }
}
