//! A scenario as it stands in a file: what may be written, not yet whether it makes sense.

use serde::Deserialize;

use super::params::Overlays;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// A line about what it shows.
    #[serde(default)]
    pub about: String,
    /// Hosts.
    pub nodes: u32,
    /// Nodes on each host.
    #[serde(default = "one")]
    pub virtual_nodes: u32,
    /// Bits of the id space.
    #[serde(default = "bits")]
    pub bits: u32,
    /// How ids are dealt out.
    #[serde(default)]
    pub spread: SpreadName,
    /// How it begins.
    #[serde(default)]
    pub start: Start,
    /// Whether nodes keep their tables right.
    #[serde(default = "yes")]
    pub upkeep: bool,
    /// With `start = "join"`: how long it takes until all have come.
    pub join_over_s: Option<f64>,
    /// How long it runs.
    pub duration_s: f64,
    /// When measuring begins.
    #[serde(default)]
    pub measure_from_s: f64,
    /// With how many seeds, from 1 on.
    #[serde(default = "seeds")]
    pub seeds: u64,
    /// What to print.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Whether answers of finds are compared with the truth.
    #[serde(default)]
    pub check_roots: bool,
    /// When it is checked what must hold.
    #[serde(default)]
    pub check: CheckName,
    /// Which overlays run, and their parameters.
    #[serde(default)]
    pub overlay: Overlays,
    /// The links.
    #[serde(default)]
    pub network: Links,
    /// How hosts come and go.
    pub churn: Option<ChurnTable>,
    /// Who fails when.
    #[serde(default)]
    pub failure: Vec<FailureTable>,
    /// Who comes in a crowd.
    #[serde(default)]
    pub arrival: Vec<ArrivalTable>,
    /// What is published.
    pub records: Option<RecordsTable>,
    /// What is asked.
    #[serde(default)]
    pub traffic: Vec<TrafficTable>,
    /// What it is to reproduce.
    #[serde(default)]
    pub figure: Vec<FigureTable>,
}

fn yes() -> bool {
    true
}

fn bits() -> u32 {
    64
}

fn seeds() -> u64 {
    1
}

/// `spread`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpreadName {
    /// By chance.
    #[default]
    Random,
    /// In equal steps.
    Even,
}

/// `check`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckName {
    /// Nothing is checked.
    #[default]
    Never,
    /// The tables, at the end.
    End,
    /// Also the invariant of a Chord ring, after every event.
    Always,
}

/// `start`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// All are members with perfect tables.
    #[default]
    Converged,
    /// All join by the protocol, one after another.
    Join,
}

/// `[network]`.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Links {
    /// How long messages take.
    pub latency: LatencyTable,
    /// The share of messages that get lost.
    pub loss: f64,
    /// Kilobytes (1000 bytes) a second that a host can send.
    pub uplink_kb_s: Option<f64>,
    /// The share of hosts behind a NAT.
    pub natted: f64,
    /// When hosts are kept apart.
    pub partition: Vec<PartitionTable>,
    /// Who is hostile.
    pub hostile: Option<HostileTable>,
}

/// `network.latency`.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "model", rename_all = "lowercase", deny_unknown_fields)]
#[allow(missing_docs)] // fields: what the variants' texts name
pub enum LatencyTable {
    /// Always the same.
    Constant { ms: f64 },
    /// Evenly between two bounds.
    Uniform { low_ms: f64, high_ms: f64 },
    /// In proportion to the distance in a square.
    Euclidean { base_ms: f64, across_ms: f64 },
    /// As on the Internet.
    Internet {},
}

impl Default for LatencyTable {
    fn default() -> Self {
        LatencyTable::Internet {}
    }
}

/// `[[network.partition]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionTable {
    /// When it begins.
    pub from_s: f64,
    /// When it heals.
    pub until_s: f64,
    /// The share on one side.
    pub share: f64,
}

/// `network.hostile`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostileTable {
    /// The share of hosts.
    pub share: f64,
    /// What they do.
    pub does: HostileDeed,
}

/// `network.hostile.does`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostileDeed {
    /// Answer no look-up.
    Drop,
    /// Name only each other.
    Lie,
    /// Stand around the first record's key, and answer no look-up.
    Crowd,
}

/// `[churn]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChurnTable {
    /// How long hosts stay.
    pub session: LifetimeTable,
    /// How long they stay away.
    pub absence: LifetimeTable,
    /// The share of departures with good-bye.
    #[serde(default)]
    pub graceful: f64,
    /// Whether they come back under a new name.
    #[serde(default)]
    pub renamed: bool,
}

/// `churn.session` and `churn.absence`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "model", rename_all = "lowercase", deny_unknown_fields)]
#[allow(missing_docs)] // fields: what the variants' texts name
pub enum LifetimeTable {
    /// Always the same.
    Constant { mean_s: f64 },
    /// Without memory.
    Exponential { mean_s: f64 },
    /// With a heavy tail.
    Pareto { mean_s: f64, shape: f64 },
}

/// `[[failure]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailureTable {
    /// When.
    pub at_s: f64,
    /// The share of hosts that are up: exactly so many.
    pub share: Option<f64>,
    /// Or: each of them with this probability.
    pub probability: Option<f64>,
    /// Whether they say good-bye.
    #[serde(default)]
    pub graceful: bool,
}

/// `[[arrival]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrivalTable {
    /// When the first comes.
    pub at_s: f64,
    /// How long it takes until the last has come.
    #[serde(default)]
    pub over_s: f64,
    /// How many; they are counted from the end of `nodes`.
    pub count: u32,
}

/// `[records]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordsTable {
    /// How many different ones.
    pub count: Option<u32>,
    /// Or how many for each node.
    pub per_node: Option<f64>,
    /// How many hosts have each.
    #[serde(default = "one")]
    pub copies: u32,
    /// Words in a name; none: records are known by their keys alone.
    #[serde(default = "words")]
    pub words: u32,
    /// Words that names are made of.
    #[serde(default = "vocabulary")]
    pub vocabulary: u32,
    /// Exponent of their popularity.
    #[serde(default)]
    pub zipf: f64,
    /// When hosts begin to publish.
    #[serde(default)]
    pub publish_from_s: f64,
    /// How long it takes until all have begun.
    #[serde(default)]
    pub publish_over_s: f64,
}

impl RecordsTable {
    /// How many different ones there are among `nodes` nodes.
    pub fn number(&self, nodes: u32) -> f64 {
        let by_size = || self.per_node.map(|each| (each * f64::from(nodes)).ceil());
        self.count.map(f64::from).or_else(by_size).unwrap_or(0.0)
    }
}

fn one() -> u32 {
    1
}

fn words() -> u32 {
    3
}

fn vocabulary() -> u32 {
    1_000
}

/// `[[traffic]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficTable {
    /// What is asked.
    pub ask: Ask,
    /// When the first may come.
    #[serde(default)]
    pub from_s: f64,
    /// When the last has come; the scenario's end without.
    pub until_s: Option<f64>,
    /// So many in all.
    pub total: Option<u64>,
    /// Or one a host in so many seconds.
    pub every_s: Option<f64>,
    /// Hits after which a search may stop; a thousand without.
    pub wanted: Option<u16>,
}

/// `traffic.ask`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    /// Who is responsible for a random key.
    Find,
    /// Who has a record.
    Lookup,
    /// Who has records with these words.
    Search,
}

/// `[[figure]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureTable {
    /// The column.
    pub column: String,
    /// The label of the overlay it is about; all of them without.
    pub row: Option<String>,
    /// The number as it was printed, or two with a dash between.
    pub published: Option<String>,
    /// By what share of the mean its interval is widened.
    pub within: Option<f64>,
    /// Of how many networks, if of a few only.
    pub networks: Option<u32>,
    /// Or: no seed is below this,
    pub at_least: Option<f64>,
    /// and none above.
    pub at_most: Option<f64>,
}
