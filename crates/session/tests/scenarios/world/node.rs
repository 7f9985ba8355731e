//! One node of the world: a session, its disks, what it said to its user.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use starling_metainfo::Sha1Hash;
use starling_sansio::Time;
use starling_session::{Event, ScrapeId, Scraped, Session, TorrentKey};
use starling_swarm::{Closing, ConnId};

use super::disk::Disk;

pub type NodeId = usize;

pub struct Node {
    pub session: Session,
    pub addr: SocketAddr,
    /// Torrents whose every piece lies on its disk before they are added.
    pub owns: BTreeSet<Sha1Hash>,
    pub disks: BTreeMap<TorrentKey, Disk>,
    pub events: Vec<(Time, TorrentKey, Event)>,
    pub closed: Vec<Closing>,
    /// Whom it dialled, and when.
    pub dialled: Vec<(Time, SocketAddr)>,
    /// Connections the driver has; true once the far end answered.
    pub open: BTreeSet<ConnId>,
    /// Every `Stopped` it put.
    pub stopped: Vec<Time>,
    /// The process is gone.
    pub dead: bool,
    /// Every block it sends is false.
    pub lies: bool,
    pub disk_full: bool,
    pub disk_broken: bool,
    /// Connections take this long to close; `None`: no time.
    pub slow_close: Option<Duration>,
    /// Bytes of blocks that came and went.
    pub received: u64,
    pub sent: u64,
    pub lan_sent: usize,
    /// The last of them.
    pub lan_said: Vec<u8>,
    /// Datagrams to trackers; none arrives by itself.
    pub datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// When it first asked a peer for a block.
    pub first_request: Option<Time>,
    pub scraped: Vec<(ScrapeId, Vec<Scraped>)>,
    pub next_key: u32,
    pub wake: Option<Time>,
    pub wakes: u64,
}

impl Node {
    pub fn new(session: Session, addr: SocketAddr) -> Node {
        Node {
            session,
            addr,
            owns: BTreeSet::new(),
            disks: BTreeMap::new(),
            events: Vec::new(),
            closed: Vec::new(),
            dialled: Vec::new(),
            open: BTreeSet::new(),
            stopped: Vec::new(),
            dead: false,
            lies: false,
            disk_full: false,
            disk_broken: false,
            slow_close: None,
            received: 0,
            sent: 0,
            lan_sent: 0,
            lan_said: Vec::new(),
            datagrams: Vec::new(),
            first_request: None,
            scraped: Vec::new(),
            next_key: 0,
            wake: None,
            wakes: 0,
        }
    }

    pub fn has_event(&self, is: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(|(_, _, event)| is(event))
    }

    pub fn failed(&self) -> Option<&str> {
        self.events.iter().find_map(|(_, _, event)| match event {
            Event::Failed(why) => Some(why.as_str()),
            _ => None,
        })
    }

    pub fn banned(&self) -> Vec<IpAddr> {
        let banned = |event: &Event| match event {
            Event::Banned { ip, .. } => Some(*ip),
            _ => None,
        };
        self.events.iter().filter_map(|(_, _, event)| banned(event)).collect()
    }

    /// Connections of a torrent that are of use to it.
    pub fn peers(&self, key: TorrentKey) -> usize {
        self.session.core(key).map_or(0, |core| core.stats().peers)
    }

    pub fn known(&self, key: TorrentKey) -> usize {
        self.session.known_peers(key)
    }

    pub fn conns(&self, key: TorrentKey) -> usize {
        self.session.stats(key).map_or(0, |stats| stats.connections)
    }

    pub fn closed_because(&self, why: &str) -> usize {
        self.closed.iter().filter(|closing| closing.why == why).count()
    }
}
