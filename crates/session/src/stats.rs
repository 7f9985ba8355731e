//! What a torrent looks like from outside.

use std::sync::Arc;

use starling_metainfo::{InfoHashes, Torrent};

use crate::entry::Phase;
use crate::{Session, TorrentKey};

/// A torrent at one moment.
#[derive(Clone, Debug)]
pub struct TorrentStats {
    /// What names it.
    pub hashes: InfoHashes,
    /// Its metadata, once known.
    pub torrent: Option<Arc<Torrent>>,
    /// How far it has come.
    pub phase: Phase,
    /// Whether the user or the disk holds it up.
    pub paused: bool,
    /// Connections, attempts included.
    pub connections: usize,
    /// Addresses known.
    pub known_peers: usize,
    /// Its swarm.
    pub swarm: starling_swarm::Stats,
}

impl Session {
    /// A torrent at this moment.
    pub fn stats(&self, key: TorrentKey) -> Option<TorrentStats> {
        let entry = self.torrents.get(&key)?;
        Some(TorrentStats {
            hashes: entry.hashes,
            torrent: entry.torrent.clone(),
            phase: entry.phase,
            paused: entry.paused.contains(&true),
            connections: entry.conns,
            known_peers: entry.book.len(),
            swarm: entry.core.stats(),
        })
    }
}
