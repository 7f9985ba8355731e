//! A BitTorrent swarm in virtual time: the session and swarm cores that real nodes run.
//!
//! Each host runs an unchanged [`starling_session::Session`]; the tracker's answers come
//! from the code of a real tracker. Between them is a [`World`]: ordered streams with
//! bounded buffers over access links of limited capacity, delays of the simulator's
//! latency models, disks of limited speed, bytes whose hashes are checked. The last
//! finisher is compared with the fluid lower bound of Kumar and Ross, "Peer-assisted file
//! distribution: the minimum distribution time" (HotWeb 2006); see [`Setting::bound`].
//!
//! Deliberately absent: loss and the congestion control that follows from it (a stream
//! has at most its buffer in flight, and shares links fairly), headers of TCP and IP, NATs,
//! web seeds, uTP, v2 torrents. `starling sim run FILE` runs a scenario with a `[swarm]`.

mod carry;
mod content;
mod disk;
mod host;
mod link;
mod outcome;
mod page;
mod pipe;
mod report;
mod runner;
mod scenario;
mod world;

use std::time::Duration;

use starling_metainfo::PieceLength;
use starling_swarm::Strategy;

use crate::Latency;

pub use content::Content;
pub use disk::DiskSpeed;
pub use outcome::{ClassOutcome, Outcome};
pub use page::page;
pub(crate) use report::CSV_HEAD;
pub use report::{COLUMNS, Column, Report, column};
pub use runner::{measure, run};
pub use scenario::{LIBRARY, Scenario};
pub use world::World;

/// What a host does for the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// Has everything from the beginning.
    Origin,
    /// Comes with nothing, gives while it gets, and stays.
    Contributor,
    /// Never gives a block.
    FreeRider,
    /// Claims to have everything, and sends false blocks.
    Poisoner,
}

impl Class {
    /// All of them, in order.
    pub const ALL: [Class; 4] = [Class::Origin, Class::Contributor, Class::FreeRider, Class::Poisoner];

    /// As figures name it.
    pub fn name(self) -> &'static str {
        match self {
            Class::Origin => "origin",
            Class::Contributor => "contributors",
            Class::FreeRider => "free-riders",
            Class::Poisoner => "poisoners",
        }
    }
}

/// A host's access link, in bytes a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// What it can send.
    pub up: u64,
    /// What it can receive; none: as much as comes.
    pub down: Option<u64>,
}

/// Hosts of one class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group {
    /// What they do.
    pub class: Class,
    /// How many.
    pub count: u32,
    /// The link of each.
    pub access: Access,
}

/// All that a swarm's run depends on.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Bytes of content.
    pub size: u64,
    /// Bytes of a piece.
    pub piece: PieceLength,
    /// Who takes part.
    pub groups: Vec<Group>,
    /// From when the first leecher comes, how long it takes until all have.
    pub arrive_over: Duration,
    /// Delays; one drawn by chance is drawn once for a connection.
    pub latency: Latency,
    /// Bytes of a socket's buffer.
    pub socket: u64,
    /// All hosts' disks.
    pub disk: DiskSpeed,
    /// Whether the origin is super-seeding (BEP 16).
    pub super_seeding: bool,
    /// Who is unchoked by those that download.
    pub choker: Strategy,
    /// Connections of a host at most; none: as many as a node has.
    pub connections: Option<usize>,
    /// The share of a poisoner's blocks that are false.
    pub lies: f64,
    /// The run ends after this, whoever has not finished.
    pub limit: Duration,
    /// What chance is drawn from.
    pub seed: u64,
}

impl Setting {
    /// How many hosts of a class there are.
    pub fn count(&self, class: Class) -> u32 {
        self.of(class).map(|group| group.count).sum()
    }

    fn of(&self, class: Class) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| group.class == class && group.count > 0)
    }

    /// Those who want the content.
    fn leechers(&self) -> impl Iterator<Item = &Group> {
        self.of(Class::Contributor).chain(self.of(Class::FreeRider))
    }

    /// No way of distribution is faster than max(F/u_s, F/d_min, N F/(u_s + Σ u_i)) seconds
    /// (Kumar and Ross 2006): the origin has to send every byte once, the slowest leecher to
    /// receive every byte, and N F bytes have to pass through all uplinks of those that give.
    pub fn bound(&self) -> f64 {
        let uplinks = |class| self.of(class).map(|g| f64::from(g.count) * g.access.up as f64).sum::<f64>();
        let size = self.size as f64;
        let origin = uplinks(Class::Origin);
        let slowest = self.leechers().filter_map(|group| group.access.down).min();
        let leechers: f64 = self.leechers().map(|group| f64::from(group.count)).sum();
        let all = origin + uplinks(Class::Contributor);
        (size / origin).max(slowest.map_or(0.0, |down| size / down as f64)).max(leechers * size / all)
    }
}
