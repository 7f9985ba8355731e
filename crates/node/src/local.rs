//! What the runtime itself remembers of a torrent, beside the session and the disk.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use starling_metainfo::{InfoHashes, Torrent};
use starling_net::webseed::WebSeed;
use starling_session::{Phase, TorrentStats};
use starling_swarm::SeedId;

use crate::node::Closing;
use crate::{Check, Progress, State};

/// Tracker and web seed messages kept for the user.
const TRACKERS_MAX: usize = 200;
/// Banned addresses kept for the user.
const BANNED_MAX: usize = 1_000;

/// Pieces found changed on disk kept for the user.
const LOST_MAX: usize = 10_000;

/// How far its files are open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Storage {
    /// Not yet, or not any more.
    Closed,
    /// The disk is at it: nothing may end before it has said what came of it.
    Opening,
    /// They are.
    Open,
}

/// One torrent of the runtime.
pub(crate) struct Local {
    pub(crate) hashes: InfoHashes,
    pub(crate) name: Option<String>,
    pub(crate) dir: PathBuf,
    pub(crate) check: Check,
    pub(crate) preallocate: bool,
    pub(crate) overwrite: bool,
    pub(crate) fetch: bool,
    pub(crate) metadata_only: bool,
    /// It was named by a link, so that what peers tell of it is kept for the next run.
    pub(crate) by_link: bool,
    pub(crate) select: Vec<u32>,
    pub(crate) checking: Option<(u32, u32)>,
    pub(crate) storage: Storage,
    /// Wanted bytes that were there when it was opened.
    had: u64,
    pub(crate) finished: bool,
    pub(crate) failed: Option<String>,
    pub(crate) paused: Option<String>,
    /// Web seeds that were asked for something.
    pub(crate) seeds: BTreeMap<SeedId, WebSeed>,
    /// Resolved when the storage is closed.
    pub(crate) closing: Vec<Closing>,
    trackers: Vec<(String, Result<String, String>)>,
    banned: Vec<IpAddr>,
    lost: Vec<u32>,
}

impl Local {
    pub(crate) fn new(add: &crate::Add, hashes: InfoHashes, name: Option<String>, select: Vec<u32>) -> Local {
        Local {
            hashes,
            name,
            dir: add.dir.clone(),
            check: add.check,
            preallocate: add.preallocate,
            overwrite: add.overwrite,
            fetch: add.fetch,
            metadata_only: add.metadata_only,
            by_link: false,
            select,
            checking: None,
            storage: Storage::Closed,
            had: 0,
            finished: false,
            failed: None,
            paused: None,
            seeds: BTreeMap::new(),
            closing: Vec::new(),
            trackers: Vec::new(),
            banned: Vec::new(),
            lost: Vec::new(),
        }
    }

    pub(crate) fn learned(&mut self, torrent: &Torrent) {
        self.name = Some(torrent.info.name.clone());
    }

    pub(crate) fn opened(&mut self, had: u64) {
        self.had = had;
        self.checking = None;
    }

    pub(crate) fn banned(&mut self, ip: IpAddr) {
        if self.banned.len() < BANNED_MAX && !self.banned.contains(&ip) {
            self.banned.push(ip);
        }
    }

    pub(crate) fn lost(&mut self, piece: u32, fetch: bool) {
        self.finished &= !fetch;
        if self.lost.len() < LOST_MAX {
            self.lost.push(piece);
        }
    }

    /// A web seed is given up; what went wrong at last, if anything was told, is kept.
    pub(crate) fn seed_dropped(&mut self, url: String, why: &str) {
        let last =
            self.trackers.iter().find(|(known, _)| *known == url).and_then(|(_, said)| said.as_ref().err());
        let why = last.map_or_else(|| why.to_owned(), |detail| format!("{detail}; the web seed {why}"));
        self.tracker_said(url, Err(why));
    }

    pub(crate) fn tracker_said(&mut self, url: String, said: Result<String, String>) {
        match self.trackers.iter().position(|(known, _)| *known == url) {
            Some(at) => self.trackers[at].1 = said,
            None if self.trackers.len() < TRACKERS_MAX => self.trackers.push((url, said)),
            None => {}
        }
    }

    /// For each entry of the layout, whether it is wanted (BEP 53 counts real files).
    pub(crate) fn wanted(&self, torrent: &Torrent) -> Vec<bool> {
        let mut real = 0;
        let wanted = |padding: bool| {
            real += u32::from(!padding);
            padding || self.select.is_empty() || self.select.contains(&(real - 1))
        };
        torrent.info.layout.files().iter().map(|f| f.padding).map(wanted).collect()
    }

    fn state(&self, phase: Phase) -> State {
        if let Some(why) = &self.failed {
            return State::Failed(why.clone());
        }
        match phase {
            Phase::Metadata => State::Metadata,
            Phase::Opening => {
                let (done, total) = self.checking.unwrap_or((0, 0));
                State::Checking { done, total }
            }
            _ if self.paused.is_some() => State::Paused(self.paused.clone().unwrap_or_default()),
            _ if self.finished => State::Seeding,
            _ => State::Downloading,
        }
    }

    /// Where the torrent stands; `stats` is `None` when the session did not take it.
    pub(crate) fn progress(&self, stats: Option<&TorrentStats>) -> Progress {
        let swarm = stats.map(|stats| stats.swarm.clone()).unwrap_or_default();
        Progress {
            hashes: stats.map_or(self.hashes, |stats| stats.hashes),
            name: self.name.clone(),
            state: self.state(stats.map_or(Phase::Failed, |stats| stats.phase)),
            pieces: swarm.pieces_have,
            pieces_total: swarm.pieces,
            bytes_done: swarm.bytes_wanted.saturating_sub(swarm.bytes_left),
            bytes_wanted: swarm.bytes_wanted,
            bytes_had: self.had,
            down_rate: swarm.down_rate,
            up_rate: swarm.up_rate,
            downloaded: swarm.downloaded,
            uploaded: swarm.uploaded,
            wasted: swarm.wasted + swarm.failed,
            peers: swarm.peers,
            seeds: swarm.seeds,
            web_seeds: swarm.web_seeds,
            from_web_seeds: swarm.from_web_seeds,
            known_peers: stats.map_or(0, |stats| stats.known_peers),
            trackers: self.trackers.clone(),
            banned: self.banned.clone(),
            lost: self.lost.clone(),
            torrent: stats.and_then(|stats| stats.torrent.clone()),
        }
    }
}
