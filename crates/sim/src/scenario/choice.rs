//! Which overlay runs, with its parameters.

use std::sync::Arc;

use starling_overlay::{Overlay, chord};

use super::params::{ChordTable, KademliaTable, Overlays, PastryTable, Style, Surroundings, Table};
use super::plain;
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

/// An overlay that runs, with its parameters.
#[derive(Clone, Debug)]
pub struct Choice {
    pub(super) table: Table,
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
            Some(label) => format!("{} {}", self.name(), plain(label)),
            None => self.name().to_owned(),
        }
    }

    /// How its answers to finds are checked.
    pub fn root(&self) -> Option<Root> {
        self.table.root()
    }

    /// Whether its finds and look-ups go from node to node, and only the answer comes straight
    /// back.
    pub fn is_recursive(&self) -> bool {
        let around = self.surroundings(1);
        match &self.table {
            Table::Chord(table) => table.config(&around).routing.style == chord::Style::Recursive,
            Table::Pastry(table) => !table.config(&around).routing.iterative,
            _ => false,
        }
    }

    /// Whether it knows nodes that are responsible for a key, to be found.
    pub fn finds(&self) -> bool {
        !matches!(self.table, Table::Napster(_) | Table::Gnutella(_) | Table::FastTrack(_))
    }

    /// Shows `visitor` the overlay, configured for so many nodes.
    pub fn visit<V: Visit>(&self, nodes: u32, visitor: V) -> V::Output {
        self.table.visit(&self.surroundings(nodes), visitor)
    }

    /// What it is to know of a world of so many nodes.
    pub(super) fn surroundings(&self, nodes: u32) -> Surroundings {
        Surroundings { bits: self.bits, nodes, upkeep: self.upkeep }
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
