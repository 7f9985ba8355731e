//! About how much memory a scenario takes, told before it runs.
//!
//! An estimate has three parts: what nodes know of each other, what is published, and
//! what is under way while many ask at once. Each was fitted to runs, and errs on the large
//! side: a run that ends before a flood has come everywhere takes less.

use starling_overlay::{gnutella, kelips, pastry};

use super::choice::Choice;
use super::file::{LatencyTable, Start, TrafficTable};
use super::params::Table;
use super::{Scenario, Wrong, nodes};

/// Bytes of a peer in a table of Pastry.
const PEER_BYTES: u64 = 8;
/// Bytes a node of the queue's events, the world's own notes, and slack.
const PENDING_BYTES: u64 = 500;
/// Bytes of an entry of a Kelips node, in 16ths: a name and a heartbeat, with some room.
const ENTRY_BYTES_16: u64 = 85;

/// Bytes of a record at who publishes it.
const RECORD_BYTES: u64 = 300;
/// Bytes of a posting of it at who keeps one.
const POSTING_BYTES: u64 = 150;
/// Bytes of a tuple of Kelips at one node of the group.
const TUPLE_BYTES: u64 = 85;

/// Bytes of a question that is planned.
const QUESTION_BYTES: f64 = 32.0;
/// Bytes of one that is under way, at who asks and in the queue.
const ASKING_BYTES: f64 = 400.0;
/// How long a question without a flood is under way, in seconds.
const ASKING_S: f64 = 1.0;
/// How long the messages of a flood are on the links, in seconds: two or three hops have most.
const FLOOD_S: f64 = 0.2;
/// Most times that a question's bytes are to be had under long delays: so many peers at most
/// are asked before the first has answered, and all those messages are on the links.
const MOST_ASKED_AT_ONCE: f64 = 16.0;
/// The mean delay on the links, in milliseconds, under which all this was fitted: that of the
/// Internet model.
const FITTED_MS: f64 = 90.0;
/// The side of a square over the mean distance of two points in it.
const SQUARE: f64 = 1.92;
/// Floods at once where there is any: a flood that runs is a whole one, and the array that has
/// its messages is there twice while it grows.
const FLOODS: f64 = 2.0;
/// Bytes of a link of a Gnutella node, beyond those that it has by default.
const LINK_BYTES: u64 = 32;
/// Bytes of a message of a flood on a link.
const FLOOD_BYTES: f64 = 112.0;
/// The same among super-peers, where all of a flood are on the links at once.
const SUPER_BYTES: f64 = 256.0;
/// Bytes of a way back that a node remembers, and of the room that the table grew out of.
const ROUTE_BYTES: f64 = 28.0;

/// How large a scenario is, or would be.
#[derive(Clone, Copy)]
struct Size {
    /// Trials at once.
    at_once: u64,
    /// Hosts.
    nodes: u32,
    /// Different records.
    records: f64,
}

/// What memory goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Nodes,
    Records,
    Questions,
}

const PARTS: [Part; 3] = [Part::Nodes, Part::Records, Part::Questions];

impl Scenario {
    /// Whether `free` bytes of memory are enough for as many trials at once as there
    /// are threads; if that is not known, they are.
    ///
    /// # Errors
    /// The author's fault: too many nodes, records, or questions at a time.
    pub fn fits(&self, free: Option<u64>, threads: usize) -> Result<(), Wrong> {
        let Some(free) = free else { return Ok(()) };
        let trials = self.overlays.len() as u64 * self.seeds;
        let size = self.size(trials.min(threads as u64).max(1), self.nodes());
        let needed = self.needed(size);
        if needed <= free {
            return Ok(());
        }
        let largest_part = PARTS.into_iter().max_by_key(|&part| self.bytes(size, part));
        let part = largest_part.unwrap_or(Part::Nodes);
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let busiest = self.busiest();
        let (key, what) = match part {
            Part::Nodes => ("nodes", nodes(size.nodes.into())),
            Part::Records => (self.records_line(), format!("{} records", size.records)),
            Part::Questions => (&*busiest, "so many questions at a time".to_owned()),
        };
        let what = format!(
            "{what} need about {:.1} GiB of memory, and {:.1} are free: try {}",
            gib(needed),
            gib(free),
            self.remedies(size, part, free),
        );
        Err(self.wrong((key.to_owned(), what)))
    }

    /// What says how many records there are: the number of nodes, if it is not the text's own
    /// and each has so many.
    fn records_line(&self) -> &'static str {
        let each = self.file.records.as_ref().is_some_and(|records| records.per_node.is_some());
        if self.renumbered && each { "nodes" } else { "records." }
    }

    /// The traffic of most questions at a time.
    fn busiest(&self) -> String {
        let secs = ASKING_S * self.pace();
        let begun = |traffic: &TrafficTable| traffic.begun_within(secs, self.nodes(), self.file.duration_s);
        let traffic = self.file.traffic.iter().enumerate();
        let most = traffic.max_by(|one, other| begun(one.1).total_cmp(&begun(other.1)));
        format!("traffic.{}.ask", most.map_or(0, |(number, _)| number))
    }

    /// What would fit, where `part` takes most.
    fn remedies(&self, size: Size, part: Part, free: u64) -> String {
        let mut remedies = Vec::new();
        if part == Part::Questions {
            remedies.push("fewer, or a longer time".to_owned());
        }
        if part == Part::Records {
            let fits = |count| self.needed(Size { records: count as f64, ..size }) <= free;
            let fewer = largest(size.records as u64, fits);
            remedies.extend((fewer > 0).then(|| format!("{fewer} records")));
        }
        let fits = |nodes| self.needed(self.size(size.at_once, nodes as u32)) <= free;
        let fewer = largest(size.nodes.into(), fits);
        remedies.extend((fewer > 0).then(|| nodes(fewer)));
        let alone = size.at_once > 1 && self.needed(Size { at_once: 1, ..size }) <= free;
        remedies.extend(alone.then(|| "one thread".to_owned()));
        if remedies.is_empty() {
            remedies.push("fewer of both".to_owned());
        }
        remedies.join(", or ")
    }

    fn size(&self, at_once: u64, nodes: u32) -> Size {
        let records = self.file.records.as_ref().map_or(0.0, |records| records.number(nodes));
        Size { at_once, nodes, records }
    }

    fn needed(&self, size: Size) -> u64 {
        PARTS.into_iter().fold(0, |sum, part| sum.saturating_add(self.bytes(size, part)))
    }

    /// What a part takes in the largest trials that may run at once: each overlay runs
    /// with all seeds.
    fn bytes(&self, size: Size, part: Part) -> u64 {
        let of = |choice: &Choice| match part {
            Part::Nodes => self.bytes_of_nodes(choice, size.nodes),
            Part::Records => self.bytes_of_records(choice, size),
            Part::Questions => self.bytes_of_questions(choice, size.nodes),
        };
        let seeds = self.seeds.min(size.at_once);
        let each = self.overlays.iter().map(of);
        let mut all: Vec<u64> = each.flat_map(|bytes| (0..seeds).map(move |_| bytes)).collect();
        all.sort_unstable_by(|one, other| other.cmp(one));
        all.iter().take(size.at_once as usize).fold(0, |sum, &bytes| sum.saturating_add(bytes))
    }

    fn bytes_of_nodes(&self, choice: &Choice, nodes: u32) -> u64 {
        let numbers = u64::from(nodes) * u64::from(self.file.virtual_nodes);
        choice.bytes_a_node(u32::try_from(numbers).unwrap_or(u32::MAX)) * numbers
    }

    fn bytes_of_records(&self, choice: &Choice, size: Size) -> u64 {
        let Some(records) = &self.file.records else { return 0 };
        let published = size.records * f64::from(records.copies);
        let (alone, each) = choice.bytes_a_record(size.nodes, records.words);
        let told = self.told_by_gossip(choice, size.nodes).unwrap_or(f64::INFINITY);
        (published * alone as f64 + (published * each as f64).min(told)) as u64
    }

    /// Bytes of the tuples that gossip can have told all nodes of Kelips until the end; none
    /// where it is another overlay, or somebody comes, who is told all at once.
    fn told_by_gossip(&self, choice: &Choice, nodes: u32) -> Option<f64> {
        let file = &self.file;
        let comes = file.start == Start::Join || !file.arrival.is_empty() || file.churn.is_some();
        let Table::Kelips(table) = &choice.table else { return None };
        let config = table.config(&choice.surroundings(nodes));
        let targets = f64::from(config.group_targets) + f64::from(config.contact_targets);
        // One more, since home nodes are told beside gossip.
        let rounds = (file.duration_s / config.gossip_interval.as_secs_f64()).ceil() + 1.0;
        let told = rounds * targets * f64::from(config.tuples_per_gossip) * TUPLE_BYTES as f64;
        (!comes).then_some(told * f64::from(nodes))
    }

    /// What questions take: as plans, and where most of them are under way at once.
    fn bytes_of_questions(&self, choice: &Choice, nodes: u32) -> u64 {
        let traffic = &self.file.traffic;
        let planned: u64 = traffic.iter().filter_map(|traffic| traffic.total).sum();
        let within = |secs: f64| {
            traffic.iter().map(|traffic| traffic.begun_within(secs, nodes, self.file.duration_s)).sum()
        };
        (planned as f64 * QUESTION_BYTES + choice.bytes_asking(nodes, self.pace(), within)) as u64
    }

    /// By how much all is longer under way than on the Internet, at least as long.
    fn pace(&self) -> f64 {
        let mean_ms = match self.file.network.latency {
            LatencyTable::Constant { ms } => ms,
            LatencyTable::Uniform { low_ms, high_ms } => f64::midpoint(low_ms, high_ms),
            LatencyTable::Euclidean { base_ms, across_ms } => base_ms + across_ms / SQUARE,
            LatencyTable::Internet {} => FITTED_MS,
        };
        (mean_ms / FITTED_MS).max(1.0)
    }
}

impl TrafficTable {
    /// About how many questions begin within so many seconds, of a scenario that takes
    /// `duration_s`.
    fn begun_within(&self, secs: f64, nodes: u32, duration_s: f64) -> f64 {
        let lasts = self.until_s.unwrap_or(duration_s) - self.from_s;
        match (self.total, self.every_s) {
            (Some(total), _) if lasts > secs => total as f64 * secs / lasts,
            (Some(total), _) => total as f64,
            (None, every) => f64::from(nodes) * secs.min(lasts) / every.unwrap_or(f64::INFINITY),
        }
    }
}

impl Choice {
    /// About how many bytes of memory a node takes.
    pub fn bytes_a_node(&self, nodes: u32) -> u64 {
        let state = match self.name() {
            "kelips" => {
                let (mates, contacts) = self.kelips_entries(nodes);
                500 + (mates + contacts) * ENTRY_BYTES_16 / 16
            }
            "kademlia" => 2_200,
            "pastry" => 1_000 + self.pastry_entries() * PEER_BYTES,
            "gnutella" => 1_500 + self.gnutella_links() * LINK_BYTES,
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

    /// Links that a Gnutella node may have beyond those that it has by default.
    fn gnutella_links(&self) -> u64 {
        let Table::Gnutella(table) = &self.table else { return 0 };
        let links = table.config(&self.surroundings(0)).degree.1;
        links.saturating_sub(gnutella::Config::default().degree.1).into()
    }

    /// How many mates and contacts a Kelips node knows.
    fn kelips_entries(&self, nodes: u32) -> (u64, u64) {
        let Table::Kelips(table) = &self.table else { return (0, 0) };
        let config = table.config(&self.surroundings(nodes));
        let mates = u64::from(nodes.div_ceil(config.groups)).min(kelips::MAX_MEMBERS as u64);
        (mates, u64::from(config.groups - 1) * u64::from(config.contacts))
    }

    /// About how many bytes a record takes that one node publishes, wherever it is kept, with
    /// a name of so many words: there and at who is told by it, and at those whom gossip tells.
    fn bytes_a_record(&self, nodes: u32, words: u32) -> (u64, u64) {
        let by_words = !matches!(&self.table, Table::Kelips(table) if table.search_words == Some(false));
        let keys = 1 + if by_words { u64::from(words) } else { 0 };
        let postings = match self.name() {
            // All of a group keep it, but what it says is in memory once.
            "kelips" => {
                let tuples = keys * TUPLE_BYTES;
                return (RECORD_BYTES + tuples, tuples * self.kelips_entries(nodes).0);
            }
            "chord" | "pastry" | "kademlia" => 8 * keys,
            "gnutella" => 1,
            _ => 3,
        };
        (RECORD_BYTES + postings * POSTING_BYTES, 0)
    }

    /// About how many bytes all questions take that are under way together, if so many begin
    /// `within` a number of seconds, and each takes `pace` times as long as on the Internet.
    /// Those that are flooded are on many links at once, and Gnutella's nodes remember where
    /// each came from.
    fn bytes_asking(&self, nodes: u32, pace: f64, within: impl Fn(f64) -> f64) -> f64 {
        let around = self.surroundings(nodes);
        let floods = within(FLOOD_S * pace).max(if within(f64::INFINITY) > 0.0 { FLOODS } else { 0.0 });
        let flood = match &self.table {
            Table::Gnutella(table) => {
                let config = table.config(&around);
                let (links, reached) = (f64::from(config.degree.1), reach(&config, nodes));
                let seen = within(2.0 * config.route_lifetime.as_secs_f64()) * reached / f64::from(nodes);
                let kept = seen.min(gnutella::MAX_ROUTES as f64);
                let on_links = match config.strategy {
                    gnutella::Strategy::Walkers { count, .. } => f64::from(count),
                    _ => reached * links,
                };
                floods * on_links * FLOOD_BYTES + kept * ROUTE_BYTES * f64::from(nodes)
            }
            Table::FastTrack(table) => {
                let config = table.config(&around);
                let supers = f64::from(nodes) / f64::from(config.leaves) + 1.0;
                let links = f64::from(config.links);
                let reached = supers.min(links.powi(i32::from(config.ttl)));
                floods * reached * links * SUPER_BYTES
            }
            _ => 0.0,
        };
        within(ASKING_S * pace) * ASKING_BYTES * pace.min(MOST_ASKED_AT_ONCE) + flood
    }
}

/// How many of `nodes` nodes the queries of one Gnutella search come to.
fn reach(config: &gnutella::Config, nodes: u32) -> f64 {
    let links = f64::from(config.degree.1);
    let far = |ttl: u8| links * (links - 1.0).max(1.0).powi(i32::from(ttl) - 1);
    let reached = match config.strategy {
        gnutella::Strategy::Flood { ttl } | gnutella::Strategy::Dynamic { ttl, .. } => far(ttl),
        gnutella::Strategy::ExpandingRing { last, .. } => far(last),
        gnutella::Strategy::Walkers { count, ttl, .. } => f64::from(count) * f64::from(ttl),
    };
    reached.min(f64::from(nodes))
}

/// The largest number up to `most` that fits: what is needed need not grow in proportion.
fn largest(most: u64, fits: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}
