//! Which overlay runs, with its parameters.

use std::sync::Arc;

use starling_overlay::{Overlay, kelips, pastry};

use super::params::{ChordTable, KademliaTable, Overlays, PastryTable, Style, Surroundings, Table};
use crate::judge::Root;
use crate::place::Node;
use crate::trial::{Findings, Setting, Trial, Watch};

/// Someone who wants to do something with an overlay, whichever it is.
pub trait Visit {
    /// What comes of it.
    type Output;

    /// Does it with overlay `C`.
    fn visit<C>(self, config: &Arc<C::Config>) -> Self::Output
    where
        C: Overlay<Node> + Send,
        C::Message: Send,
        C::Config: Send + Sync;
}

/// Bytes of a peer in a table of Pastry.
const PEER_BYTES: u64 = 8;
/// Bytes a node of the queue's events, the world's own notes, and slack.
const PENDING_BYTES: u64 = 500;

/// Bytes of a record at who publishes it.
const RECORD_BYTES: u64 = 300;
/// Bytes of a posting of it at who keeps one.
const POSTING_BYTES: u64 = 150;
/// Bytes of a tuple of Kelips at one node of the group.
const TUPLE_BYTES: u64 = 85;
/// Bytes of an entry of a Kelips node, in 16ths: a name and a heartbeat, with some room.
const ENTRY_BYTES_16: u64 = 85;

/// An overlay that runs, with its parameters.
#[derive(Clone, Debug)]
pub struct Choice {
    table: Table,
    bits: u32,
    upkeep: bool,
}

impl Overlays {
    /// What is chosen, for an id space of `bits` bits, with or without upkeep.
    pub fn choices(&self, bits: u32, upkeep: bool) -> Vec<Choice> {
        self.tables().into_iter().map(|table| Choice { table, bits, upkeep }).collect()
    }
}

impl Choice {
    /// The overlay of that name as a lecture draws it: tables so small that a look-up
    /// in a network of a few nodes takes several steps. Chord has one successor,
    /// Kademlia buckets of one and one question at a time, Pastry digits of two bits
    /// and a leaf on each side.
    pub fn for_class(name: &str, bits: u32) -> Option<Choice> {
        let table = match Table::named(name)? {
            Table::Chord(table) => Table::Chord(ChordTable { successors: Some(1.into()), ..table }),
            Table::Kademlia(table) => Table::Kademlia(KademliaTable {
                k: Some(1.into()),
                alpha: Some(1.into()),
                root_set: Some(1.into()),
                enough: Some(1.into()),
                ..table
            }),
            Table::Pastry(table) => Table::Pastry(PastryTable {
                b: Some(2.into()),
                leaves: Some(2.into()),
                style: Some(Style::Iterative),
                ..table
            }),
            table => table,
        };
        Some(Choice { table, bits, upkeep: true })
    }

    /// The overlay's name.
    pub fn name(&self) -> &'static str {
        self.table.name()
    }

    /// The overlay's name, with what its author tells it apart by.
    pub fn label(&self) -> String {
        match self.table.label() {
            Some(label) => format!("{} {label}", self.name()),
            None => self.name().to_owned(),
        }
    }

    /// How its answers to finds are checked.
    pub fn root(&self) -> Option<Root> {
        self.table.root()
    }

    /// Whether it knows nodes that are responsible for a key, to be found.
    pub fn finds(&self) -> bool {
        !matches!(self.table, Table::Napster(_) | Table::Gnutella(_) | Table::FastTrack(_))
    }

    /// Shows `visitor` the overlay, configured for so many nodes.
    pub fn visit<V: Visit>(&self, nodes: u32, visitor: V) -> V::Output {
        self.table.visit(&self.surroundings(nodes), visitor)
    }

    fn surroundings(&self, nodes: u32) -> Surroundings {
        Surroundings { bits: self.bits, nodes, upkeep: self.upkeep }
    }

    /// About how many bytes of memory a node takes, what it has under way included.
    pub fn bytes_a_node(&self, nodes: u32) -> u64 {
        let state = match self.name() {
            "kelips" => {
                let (mates, contacts) = self.kelips_entries(nodes);
                500 + (mates + contacts) * ENTRY_BYTES_16 / 16
            }
            "kademlia" => 2_200,
            "pastry" => 1_000 + self.pastry_entries() * PEER_BYTES,
            "gnutella" => 1_500,
            "fasttrack" => 1_500,
            _ => 600,
        };
        state + PENDING_BYTES
    }

    /// Peers that a Pastry node may know beyond those that it knows by default.
    fn pastry_entries(&self) -> u64 {
        let Table::Pastry(table) = &self.table else { return 0 };
        let config = table.config(&self.surroundings(0));
        let entries = |config: &pastry::Config| {
            config.leaf
                + config.neighborhood
                + (1usize << config.digit_bits) * (64 / config.digit_bits.max(1) as usize)
        };
        let usual = entries(&pastry::Config::default());
        entries(&config.routing).saturating_sub(usual) as u64
    }

    /// How many mates and contacts a Kelips node knows.
    fn kelips_entries(&self, nodes: u32) -> (u64, u64) {
        let Table::Kelips(table) = &self.table else { return (0, 0) };
        let config = table.config(&self.surroundings(nodes));
        let mates = u64::from(nodes.div_ceil(config.groups)).min(kelips::MAX_MEMBERS as u64);
        (mates, u64::from(config.groups - 1) * u64::from(config.contacts))
    }

    /// About how many bytes a record takes that one node publishes, wherever it is kept, with
    /// a name of so many words.
    pub fn bytes_a_record(&self, nodes: u32, words: u32) -> u64 {
        let by_words = !matches!(&self.table, Table::Kelips(table) if table.search_words == Some(false));
        let keys = 1 + if by_words { u64::from(words) } else { 0 };
        let postings = match self.name() {
            // All of a group keep it, but what it says is in memory once.
            "kelips" => return RECORD_BYTES + keys * (1 + self.kelips_entries(nodes).0) * TUPLE_BYTES,
            "chord" | "pastry" | "kademlia" => 8 * keys,
            "gnutella" => 1,
            _ => 3,
        };
        RECORD_BYTES + postings * POSTING_BYTES
    }

    /// Runs one trial.
    pub fn run(&self, setting: Setting, threads: usize, watch: &mut impl Watch) -> Findings {
        self.visit(setting.plan.hosts.total(), Run { setting, threads, watch })
    }
}

struct Run<'a, W> {
    setting: Setting,
    threads: usize,
    watch: &'a mut W,
}

impl<W: Watch> Visit for Run<'_, W> {
    type Output = Findings;

    fn visit<C>(self, config: &Arc<C::Config>) -> Findings
    where
        C: Overlay<Node> + Send,
        C::Message: Send,
        C::Config: Send + Sync,
    {
        let mut trial = Trial::<C>::new(config, self.setting);
        trial.run(self.threads, self.watch);
        trial.findings()
    }
}
