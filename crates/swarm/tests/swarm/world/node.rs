//! A node of the world, and how it may misbehave.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use starling_metainfo::{Layout, Sha256Hash};
use starling_sansio::Time;
use starling_swarm::{Block, Closing, Event, Message, Reserved, SeedId, Torrent};

use super::WebSeedSpec;
use super::content::Tag;
use super::disk::Disk;

pub type NodeId = usize;

/// How a node behaves.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Manner {
    #[default]
    Honest,
    /// Every block is false whose piece and place give 0 modulo this.
    Lies(u32),
    /// Sends no block from this time on.
    Silent(Time),
    /// Takes and gives nothing: never unchokes anybody.
    Free,
    /// Wants something and never asks for it.
    Idle,
}

/// See the module.
pub struct Node {
    pub torrent: Torrent,
    pub peer_id: [u8; 20],
    pub reserved: Reserved,
    pub manner: Manner,
    pub disk: Disk,
    pub disk_delay: Duration,
    /// Bytes per second of all connections together.
    pub up_rate: u64,
    pub down_rate: u64,
    pub(super) up_free: Time,
    pub(super) down_free: Time,
    pub(super) wake: Option<Time>,
    pub wakes: u64,
    pub events: Vec<(Time, Event)>,
    pub closed: Vec<Closing>,
    pub learned: Vec<(usize, Vec<Sha256Hash>)>,
    pub web_seeds: BTreeMap<SeedId, WebSeedSpec>,
    pub fetching: BTreeSet<SeedId>,
    /// Bytes of blocks it sent.
    pub served: u64,
    pub served_pieces: BTreeMap<u32, u64>,
    /// Bytes of blocks sent to it.
    pub received: u64,
    /// It learned the metadata from peers, and no piece layers with it.
    pub fresh_magnet: bool,
}

impl Node {
    pub fn new(torrent: Torrent, peer_id: [u8; 20], _layout: &Layout) -> Node {
        Node {
            torrent,
            peer_id,
            reserved: Reserved::OURS,
            manner: Manner::Honest,
            disk: Disk::default(),
            disk_delay: Duration::from_millis(2),
            up_rate: 1_000_000_000,
            down_rate: 1_000_000_000,
            up_free: Time::ZERO,
            down_free: Time::ZERO,
            wake: None,
            wakes: 0,
            events: Vec::new(),
            closed: Vec::new(),
            learned: Vec::new(),
            web_seeds: BTreeMap::new(),
            fetching: BTreeSet::new(),
            served: 0,
            served_pieces: BTreeMap::new(),
            received: 0,
            fresh_magnet: false,
        }
    }

    /// Who it banned.
    pub fn banned(&self) -> Vec<IpAddr> {
        let banned = |(_, event): &(Time, Event)| match event {
            Event::Banned { ip, .. } => Some(*ip),
            _ => None,
        };
        self.events.iter().filter_map(banned).collect()
    }

    pub fn has_event(&self, is: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(|(_, event)| is(event))
    }

    /// Whether its manner keeps a message from being sent.
    pub fn swallows(&self, message: &Message, _now: Time) -> bool {
        match self.manner {
            Manner::Free => matches!(message, Message::Unchoke),
            Manner::Idle => matches!(message, Message::Request(_)),
            _ => false,
        }
    }

    pub fn withholds(&self, _block: Block, now: Time) -> bool {
        matches!(self.manner, Manner::Silent(from) if now >= from)
    }

    pub fn tag_for(&self, block: Block, own: Tag) -> Tag {
        match self.manner {
            Manner::Lies(every) if (block.piece + block.begin / 16_384).is_multiple_of(every) => own + 1,
            _ => 0,
        }
    }
}

pub fn addr_of(node: NodeId, port: u16) -> SocketAddr {
    SocketAddr::new(ip_of(node), port)
}

/// The address of a node: every node has its own.
pub fn ip_of(node: NodeId) -> IpAddr {
    let n = node as u32;
    IpAddr::V4(Ipv4Addr::from(0x5000_0001 + n))
}
