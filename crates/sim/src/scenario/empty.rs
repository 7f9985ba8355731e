//! Columns that stay empty, told before the run: what a scenario lacks to measure them.

use std::collections::BTreeSet;

use super::check::{MOST_SECS, time};
use super::file::{Ask, CheckName};
use super::line::line_of;
use super::{Choice, Scenario, Wrong};
use crate::report::VIOLATIONS;

impl Scenario {
    /// The columns that are asked for by name though no overlay here can have a figure of
    /// them, each with what it needs.
    pub fn empty_columns(&self) -> Vec<Wrong> {
        let in_figures = self.figures.iter().map(|figure| figure.column.name);
        let names: BTreeSet<&str> = self.columns.iter().map(String::as_str).chain(in_figures).collect();
        let told = names.into_iter().filter_map(|name| {
            let needs = self.lacking(name)?;
            let is_here = self.file.columns.iter().any(|column| column == name);
            let line = if is_here { line_of(&self.text, "columns") } else { 0 };
            Some(Wrong {
                file: self.name.clone(),
                line,
                what: format!("the column {name:?} stays empty: {needs}"),
            })
        });
        told.collect()
    }

    /// What a column needs that is not there.
    fn lacking(&self, column: &str) -> Option<&'static str> {
        let nobody = |choice: fn(&Choice) -> bool| !self.overlays.iter().any(choice);
        let looks_up = self.asks(Ask::Find) || self.asks(Ask::Lookup);
        match column {
            "correct" if !self.asks(Ask::Find) => Some("it is of finds: add [[traffic]] with ask = \"find\""),
            "correct" if !self.file.check_roots => Some("add check_roots = true"),
            "correct" => nobody(|choice| choice.root().is_some())
                .then_some("only chord, pastry and kademlia have one node that is responsible for a key"),
            "success" | "hops" | "hops_p1" | "hops_p50" | "hops_p99" | "hops_max" | "timeouts"
            | "timeouts_p1" | "timeouts_p99" | "latency_ms" | "latency_p50_ms" | "latency_p99_ms"
            | "stretch" | "route" | "lookup_messages" | "lookup_bytes"
                if !looks_up =>
            {
                Some("it is of look-ups: add [[traffic]] with ask = \"find\" or \"lookup\"")
            }
            "route" => nobody(Choice::is_recursive).then_some(
                "it is of recursive look-ups, which pastry does, and chord with style = \"recursive\"",
            ),
            "lookup_recall" | "lookup_stale" if !self.asks(Ask::Lookup) => {
                Some("it is of look-ups of records: add [[traffic]] with ask = \"lookup\"")
            }
            "queries" | "query_duplicates" if !self.asks(Ask::Lookup) && !self.asks(Ask::Search) => {
                Some("it is of queries: add [[traffic]] with ask = \"lookup\" or \"search\"")
            }
            "queries" | "query_duplicates" => {
                let passes_on = |choice: &Choice| matches!(choice.name(), "gnutella" | "fasttrack");
                nobody(passes_on).then_some("only gnutella and fasttrack pass queries on")
            }
            "search_success" | "recall" | "stale" | "search_hits" | "search_hops" | "search_p50_ms"
            | "search_p99_ms" | "search_messages" | "search_bytes"
                if !self.asks(Ask::Search) =>
            {
                Some("it is of searches: add [[traffic]] with ask = \"search\"")
            }
            "kept" | "kept_p1" | "kept_p99" | "kept_max" if self.file.records.is_none() => {
                Some("nothing is published that anybody could keep: add [records]")
            }
            "kept" | "kept_p1" | "kept_p99" | "kept_max" => nobody(|choice| choice.name() != "gnutella")
                .then_some("in gnutella nobody keeps anything for others"),
            VIOLATIONS => {
                (self.file.check == CheckName::Never).then_some("add check = \"end\" or \"always\"")
            }
            _ => None,
        }
    }

    /// Whether that is asked while it is measured.
    fn asks(&self, ask: Ask) -> bool {
        let begins = time(self.file.measure_from_s);
        let mut traffic = self.file.traffic.iter().filter(|traffic| traffic.ask == ask);
        traffic.any(|traffic| time(traffic.until_s.unwrap_or(MOST_SECS)) >= begins)
    }
}
