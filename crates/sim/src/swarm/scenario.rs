//! A swarm as a text that anyone can write: what may be said, and whether it makes sense.

use std::time::Duration;

use serde::Deserialize;
use starling_metainfo::PieceLength;
use starling_swarm::Strategy;

use super::report::COLUMNS;
use super::{Access, Class, DiskSpeed, Group, Setting};
use crate::scenario::check::{self, Blame, MOST_SECS, blame, range, within};
use crate::scenario::file::LatencyTable;
use crate::scenario::{Entry, Wrong, at_line, plain, read, with_so_many};

/// Declares the library: files of `crates/sim/scenarios`.
macro_rules! library {
    ($($name:literal),* $(,)?) => {
        /// The swarms that come with the program.
        pub const LIBRARY: &[Entry] = &[
            $( Entry { name: $name, text: include_str!(concat!("../../scenarios/", $name, ".toml")) } ),*
        ];
    };
}

library!("swarm", "plain-seeding", "free-riders", "poisoners", "flash-crowd");

/// Hosts of a swarm at most.
const MOST_HOSTS: f64 = 100_000.0;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    about: String,
    /// With how many seeds of chance, from 1 on.
    #[serde(default = "one")]
    seeds: u64,
    /// The run ends after this, whoever has not finished.
    #[serde(default = "hours")]
    duration_s: f64,
    #[serde(default)]
    columns: Vec<String>,
    swarm: Swarm,
    #[serde(default)]
    network: Links,
    #[serde(default)]
    disk: Disk,
}

fn one() -> u64 {
    1
}

fn hours() -> f64 {
    36_000.0
}

/// `[swarm]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Swarm {
    size_mib: f64,
    /// Without: as a maker of torrents suggests.
    piece_kib: Option<u64>,
    #[serde(default)]
    arrive_over_s: f64,
    #[serde(default)]
    super_seeding: bool,
    #[serde(default)]
    choker: ChokerName,
    connections: Option<u32>,
    /// The share of a poisoner's blocks that are false.
    #[serde(default = "all")]
    lies: f64,
    origin: Hosts,
    contributors: Option<Hosts>,
    free_riders: Option<Hosts>,
    poisoners: Option<Hosts>,
}

fn all() -> f64 {
    1.0
}

/// `swarm.choker`.
#[derive(Clone, Copy, Default, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ChokerName {
    #[default]
    TitForTat,
    PropShare,
}

/// `[swarm.origin]` and so on; kB are 1000 bytes.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hosts {
    #[serde(default = "one_host")]
    count: u32,
    uplink_kb_s: f64,
    downlink_kb_s: Option<f64>,
}

fn one_host() -> u32 {
    1
}

/// `[network]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Links {
    latency: LatencyTable,
    /// A socket's buffer: the most that a stream has in flight.
    socket_kib: f64,
}

impl Default for Links {
    fn default() -> Self {
        Links { latency: LatencyTable::default(), socket_kib: 256.0 }
    }
}

/// `[disk]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Disk {
    write_mb_s: Option<f64>,
    latency_ms: f64,
}

impl Default for Disk {
    fn default() -> Self {
        Disk { write_mb_s: None, latency_ms: 5.0 }
    }
}

/// A scenario of a swarm that makes sense.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called: the file's name, or the library's.
    pub name: String,
    /// A line about what it shows.
    pub about: String,
    /// The columns to print; none: all.
    pub columns: Vec<String>,
    /// With how many seeds of chance.
    pub seeds: u64,
    file: File,
    text: String,
}

impl Scenario {
    /// Reads a scenario's text; `name` is its file's.
    ///
    /// # Errors
    /// The author's fault: a wrong key, a value of the wrong kind, an impossible one.
    pub fn parse(name: &str, text: &str) -> Result<Scenario, Wrong> {
        let file: File = read(name, text)?;
        sense(&file).map_err(|blame| at_line(name, text, blame))?;
        Ok(Scenario {
            name: name.to_owned(),
            about: plain(&file.about),
            columns: file.columns.clone(),
            seeds: file.seeds,
            file,
            text: text.to_owned(),
        })
    }

    /// The scenario of that name that comes with the program.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(name: &str) -> Result<Scenario, Wrong> {
        let entry = LIBRARY.iter().find(|entry| entry.name == name);
        let what = || "no such scenario of a swarm".to_owned();
        let entry = entry.ok_or_else(|| Wrong { file: name.to_owned(), line: 0, what: what() })?;
        Scenario::parse(entry.name, entry.text)
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Hosts that want the content, or only poison it.
    pub fn nodes(&self) -> u32 {
        self.file.swarm.comers().map(|(_, hosts)| hosts.count).sum()
    }

    /// The same with so many hosts beside the origin, each class in proportion.
    ///
    /// # Errors
    /// If the scenario makes no sense with so many.
    pub fn with_nodes(mut self, nodes: u32) -> Result<Scenario, Wrong> {
        let (all, swarm) = (self.nodes().max(1), &mut self.file.swarm);
        let scaled = |count: u32| (f64::from(count) * f64::from(nodes) / f64::from(all)).round() as u32;
        let mut rest = nodes;
        for hosts in [&mut swarm.free_riders, &mut swarm.poisoners].into_iter().flatten() {
            hosts.count = scaled(hosts.count).min(rest);
            rest -= hosts.count;
        }
        if let Some(hosts) = &mut swarm.contributors {
            hosts.count = rest;
        }
        sense(&self.file).map_err(|blame| with_so_many(&self.name, &self.text, blame))?;
        Ok(self)
    }

    /// The same without the hosts of a class.
    pub fn without(mut self, class: Class) -> Scenario {
        let swarm = &mut self.file.swarm;
        match class {
            Class::Origin => {}
            Class::Contributor => swarm.contributors = None,
            Class::FreeRider => swarm.free_riders = None,
            Class::Poisoner => swarm.poisoners = None,
        }
        self
    }

    /// Whether `free` bytes of memory are enough for as many trials at once as there are
    /// threads; if that is not known, they are.
    ///
    /// # Errors
    /// The author's fault: too many hosts, or too much content.
    pub fn fits(&self, free: Option<u64>, threads: usize) -> Result<(), Wrong> {
        let Some(free) = free else { return Ok(()) };
        let hosts = u64::from(self.nodes()) + 1;
        let connections = hosts.min(self.file.swarm.connections.unwrap_or(CONNECTIONS).into());
        let each = HOST_BYTES + connections * CONNECTION_BYTES;
        let at_once = self.seeds.min(threads as u64).max(1);
        let needed = at_once * (self.size() + hosts * each);
        if needed <= free {
            return Ok(());
        }
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let what = format!(
            "{hosts} hosts with {connections} connections each and {} MiB of content need about {:.1} GiB of memory, and {:.1} are free: try fewer hosts, fewer connections, or one thread",
            self.file.swarm.size_mib,
            gib(needed),
            gib(free),
        );
        Err(at_line(&self.name, &self.text, ("count".into(), what)))
    }

    fn size(&self) -> u64 {
        (self.file.swarm.size_mib * f64::from(1 << 20)) as u64
    }

    /// Everything that a trial with `seed` needs.
    pub fn setting(&self, seed: u64) -> Setting {
        let File { swarm, network, disk, .. } = &self.file;
        let origin = std::iter::once((Class::Origin, &swarm.origin));
        Setting {
            size: self.size(),
            piece: piece_length(swarm).unwrap_or_else(|| PieceLength::suggest(self.size())),
            groups: origin.chain(swarm.comers()).map(|(class, hosts)| group(class, hosts)).collect(),
            arrive_over: check::duration(swarm.arrive_over_s),
            latency: check::latency(&network.latency),
            socket: (network.socket_kib * 1024.0) as u64,
            disk: DiskSpeed {
                write: disk.write_mb_s.map(|rate| (rate * 1e6) as u64),
                latency: Duration::from_micros((disk.latency_ms * 1e3) as u64),
            },
            super_seeding: swarm.super_seeding,
            choker: match swarm.choker {
                ChokerName::TitForTat => Strategy::TitForTat,
                ChokerName::PropShare => Strategy::PropShare,
            },
            connections: swarm.connections.map(|connections| connections as usize),
            lies: swarm.lies,
            limit: check::duration(self.file.duration_s),
            seed,
        }
    }
}

/// Connections of a host where nothing is said.
const CONNECTIONS: u32 = 120;
/// What a host takes in memory, without its connections.
const HOST_BYTES: u64 = 64 << 10;
/// What a connection takes at one end, with what was dialled in vain before it.
const CONNECTION_BYTES: u64 = 4 << 10;

impl Swarm {
    /// All but the origin.
    fn comers(&self) -> impl Iterator<Item = (Class, &Hosts)> {
        let classes = [
            (Class::Contributor, &self.contributors),
            (Class::FreeRider, &self.free_riders),
            (Class::Poisoner, &self.poisoners),
        ];
        classes.into_iter().filter_map(|(class, hosts)| Some((class, hosts.as_ref()?)))
    }
}

fn group(class: Class, hosts: &Hosts) -> Group {
    let rate = |kb: f64| (kb * 1e3) as u64;
    let access = Access { up: rate(hosts.uplink_kb_s), down: hosts.downlink_kb_s.map(rate) };
    Group { class, count: hosts.count, access }
}

fn piece_length(swarm: &Swarm) -> Option<PieceLength> {
    PieceLength::new(swarm.piece_kib?.saturating_mul(1024))
}

/// The table that a class of comers has in a file.
fn table(class: Class) -> &'static str {
    match class {
        Class::Origin => "origin",
        Class::Contributor => "contributors",
        Class::FreeRider => "free_riders",
        Class::Poisoner => "poisoners",
    }
}

/// Whether there can be hosts like that.
fn sane(hosts: &Hosts, fewest: f64) -> Result<(), Blame> {
    range("count", f64::from(hosts.count), fewest, MOST_HOSTS)?;
    range("uplink_kb_s", hosts.uplink_kb_s, 1.0, 1e8)?;
    range("downlink_kb_s", hosts.downlink_kb_s.unwrap_or(1.0), 1.0, 1e8)
}

fn sense(file: &File) -> Result<(), Blame> {
    let swarm = &file.swarm;
    range("seeds", file.seeds as f64, 1.0, 10_000.0)?;
    range("duration_s", file.duration_s, 0.001, MOST_SECS)?;
    range("size_mib", swarm.size_mib, 0.02, 65_536.0)?;
    if let Some(kib) = swarm.piece_kib.filter(|_| piece_length(swarm).is_none_or(|piece| !piece.fits_v2())) {
        return blame("piece_kib", format!("piece_kib is {kib}, but must be a power of two from 16 on"));
    }
    range("arrive_over_s", swarm.arrive_over_s, 0.0, file.duration_s)?;
    range("connections", f64::from(swarm.connections.unwrap_or(CONNECTIONS)), 1.0, 10_000.0)?;
    range("lies", swarm.lies, 0.0, 1.0)?;
    let comers = swarm.comers().map(|(class, hosts)| (table(class), 0.0, hosts));
    for (table, fewest, hosts) in std::iter::once(("origin", 1.0, &swarm.origin)).chain(comers) {
        within(&format!("swarm.{table}"), sane(hosts, fewest))?;
    }
    let wanting: u32 = swarm.contributors.iter().chain(&swarm.free_riders).map(|hosts| hosts.count).sum();
    if wanting == 0 {
        return blame("swarm", "nobody wants the content: add [swarm.contributors]".into());
    }
    check::delays(&file.network.latency)?;
    range("socket_kib", file.network.socket_kib, 16.0, 1e6)?;
    range("write_mb_s", file.disk.write_mb_s.unwrap_or(1.0), 0.001, 1e6)?;
    range("latency_ms", file.disk.latency_ms, 0.0, 1e6)?;
    check::columns(&file.columns, COLUMNS.iter().map(|column| column.name))
}
