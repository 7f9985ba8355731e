//! What a node is told at the start, and the bounds it keeps.

use starling_tracker::Family;

use crate::RateLimits;

/// Bounds of a session. Each names one collection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Torrents at once.
    pub torrents: usize,
    /// Connections of all torrents, incoming and outgoing. For a newcomer one more may be
    /// there while the one that it takes the place of closes; the same for the next bound.
    pub connections: usize,
    /// Connections of one torrent.
    pub connections_per_torrent: usize,
    /// Incoming connections that have not said yet which torrent they are for, beside those.
    pub strangers: usize,
    /// Connections with one address, attempts included, over all torrents: room for a hundred
    /// in common, each dialled from both sides, and far from all connections there may be.
    pub connections_per_ip: usize,
    /// Connections with one address for one torrent: several clients may be behind one router.
    pub connections_per_ip_and_torrent: usize,
    /// Outgoing attempts under way.
    pub half_open: usize,
    /// Addresses remembered for one torrent.
    pub known_peers: usize,
    /// Shunned addresses.
    pub bans: usize,
    /// Questions to trackers and resolvers under way.
    pub jobs: usize,
    /// Trackers of one torrent.
    pub trackers: usize,
    /// Scrapes under way.
    pub scrapes: usize,
    /// Web seeds of one torrent.
    pub web_seeds: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            torrents: 200_000,
            connections: 800,
            connections_per_torrent: 120,
            strangers: 128,
            connections_per_ip: 200,
            connections_per_ip_and_torrent: 16,
            half_open: 64,
            known_peers: 2_000,
            bans: 10_000,
            jobs: 10_000,
            trackers: 64,
            scrapes: 1_000,
            web_seeds: 32,
        }
    }
}

/// What a session is told at the start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The port peers reach us at; 0 when there is none.
    pub listen_port: u16,
    /// Local service discovery (BEP 14).
    pub lan: bool,
    /// The kinds of address we announce from.
    pub families: Vec<Family>,
    /// The node's limits over all torrents.
    pub rates: RateLimits,
    /// Bounds.
    pub limits: Limits,
    /// How each torrent's core behaves.
    pub swarm: starling_swarm::Config,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen_port: 0,
            lan: true,
            families: Family::ALL.to_vec(),
            rates: RateLimits::default(),
            limits: Limits::default(),
            swarm: starling_swarm::Config::default(),
        }
    }
}
