//! One torrent of the session: its core, its addresses, its discovery.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use starling_metainfo::{Bitfield, InfoHashes, Sha1Hash, Sha256Hash, Torrent};
use starling_sansio::{Machine, Rng, Time};
use starling_swarm::{Handshake, Input as Swarm, Priority, Reserved, SeedId};

use crate::limiter::Bucket;
use crate::trackers::Trackers;
use crate::{AddSpec, Book, Config};

/// How far a torrent has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Its metadata is being asked of peers.
    Metadata,
    /// Its storage is being opened or checked.
    Opening,
    /// It takes part in its swarm.
    Active,
    /// Its storage cannot be used.
    Failed,
    /// Its trackers are being told that we leave.
    Leaving,
}

/// BEP 52 piece layers by file root.
pub type Layers = BTreeMap<Sha256Hash, Vec<Sha256Hash>>;

/// The bit of [`Reserved`] that offers to upgrade a hybrid torrent's connection (BEP 52).
const V2_UPGRADE: u8 = 0x10;

/// One torrent of the session.
#[derive(Debug)]
pub struct Entry {
    pub hashes: InfoHashes,
    /// The names it answers to in this session.
    pub names: Vec<Sha1Hash>,
    pub core: starling_swarm::Torrent,
    pub torrent: Option<Arc<Torrent>>,
    pub phase: Phase,
    pub peer_id: [u8; 20],
    pub book: Book,
    pub trackers: Trackers,
    /// Tiers the announcer was not told of yet.
    pub new_tiers: Vec<Vec<String>>,
    pub web_seeds: Vec<String>,
    /// When the book next has somebody to dial; kept because asking is not free.
    pub dial_due: Time,
    /// What stands for this torrent in the session's timer queue.
    pub timer: Time,
    /// Peers' host names to be asked for again (bounded as the link's are), and when.
    pub hosts: Vec<(String, u16)>,
    pub hosts_due: Time,
    /// It stands in the queue of those that would dial.
    pub waiting: bool,
    /// When it is forgotten though not everybody was told that it leaves.
    pub leave_by: Time,
    /// Trackers were told that the download is complete.
    pub told_completed: bool,
    pub buckets: [Option<Bucket>; 2],
    /// Why it does not ask for data: the user, the disk.
    pub paused: [bool; 2],
    /// Connections, so that the limit is checked without a scan.
    pub conns: usize,
    /// When somebody may be let go again for a newcomer.
    pub turnover: Time,
    /// What the user chose before the files were known.
    pub priorities: Option<Vec<Priority>>,
    /// Sorted.
    select: Vec<u32>,
}

impl Entry {
    pub fn new(spec: &AddSpec, config: &Config, rng: &mut Rng, now: Time) -> Entry {
        let peer_id = peer_id(rng);
        let mut swarm = config.swarm.clone();
        swarm.sequential = spec.sequential;
        swarm.super_seeding = spec.super_seeding;
        swarm.fetch = spec.fetch;
        let hashes = spec.torrent.as_ref().map_or(spec.hashes, |torrent| torrent.info.hashes);
        let mut select = spec.select.clone();
        select.sort_unstable();
        let port = config.listen_port;
        let limits = &config.limits;
        let mut entry = Entry {
            hashes,
            names: Vec::new(),
            core: starling_swarm::Torrent::new(hashes, swarm, rng.fork(), peer_id, port),
            torrent: None,
            phase: Phase::Metadata,
            peer_id,
            book: Book::new(limits.known_peers),
            trackers: Trackers::new(hashes, peer_id, config, rng.fork()),
            new_tiers: Vec::new(),
            web_seeds: Vec::new(),
            dial_due: Time::NEVER,
            timer: Time::NEVER,
            hosts: Vec::new(),
            hosts_due: Time::NEVER,
            waiting: false,
            leave_by: Time::NEVER,
            told_completed: false,
            buckets: [spec.rates.down, spec.rates.up].map(|r| r.map(|rate| Bucket::new(rate, now))),
            paused: [false; 2],
            conns: 0,
            turnover: Time::ZERO,
            priorities: None,
            select,
        };
        entry.add_trackers(&spec.trackers);
        entry.add_web_seeds(&spec.web_seeds, limits.web_seeds);
        if let Some(torrent) = &spec.torrent {
            entry.learn(torrent.clone(), config);
        }
        entry
    }

    /// Takes in the metadata, with the trackers and web seeds that stand around it.
    pub fn learn(&mut self, torrent: Arc<Torrent>, config: &Config) {
        self.hashes = torrent.info.hashes;
        self.add_trackers(&torrent.trackers);
        self.add_web_seeds(&torrent.web_seeds, config.limits.web_seeds);
        self.torrent = Some(torrent);
        self.phase = Phase::Opening;
    }

    /// BEP 27: peers only from trackers, told to nobody.
    pub fn is_private(&self) -> bool {
        self.torrent.as_ref().is_some_and(|t| t.info.private)
    }

    /// Whether connections make sense now.
    pub fn takes_part(&self) -> bool {
        matches!(self.phase, Phase::Metadata | Phase::Active)
    }

    /// Whether it is of no use any more to anybody but those it says good-bye to.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Failed | Phase::Leaving)
    }

    /// Whether it looks for somebody to get something from.
    pub fn seeks(&self) -> bool {
        self.takes_part() && !self.core.is_finished() && !self.paused.contains(&true)
    }

    /// What the torrent's core must hear when its storage is open.
    pub fn loaded(&mut self, have: Bitfield, kept: Layers) -> Vec<Swarm> {
        let Some(torrent) = &self.torrent else { return Vec::new() };
        self.phase = Phase::Active;
        let mut layers = torrent.piece_layers.clone();
        layers.extend(kept);
        // Nothing is asked for until it is known what is wanted.
        let load = Swarm::Loaded { info: torrent.info.clone(), piece_layers: layers, have };
        let mut inputs = vec![Swarm::PauseDownload(true), load];
        if let Some(chosen) = self.priorities.take().or_else(|| self.selected(torrent)) {
            inputs.push(Swarm::SetPriorities(chosen));
        }
        inputs.extend((0..self.web_seeds.len() as u32).map(|n| Swarm::AddWebSeed { seed: SeedId(n) }));
        inputs.push(Swarm::PauseDownload(self.paused.contains(&true)));
        inputs
    }

    /// Our handshake on an outgoing connection. Only a hybrid torrent offers the upgrade
    /// to v2: others take it for a sign that something is wrong.
    pub fn handshake(&self) -> Handshake {
        let mut reserved = Reserved::OURS;
        if self.hashes.v1().is_none() || self.hashes.v2().is_none() {
            reserved.0[7] &= !V2_UPGRADE;
        }
        Handshake { reserved, info_hash: self.hashes.wire(), peer_id: self.peer_id }
    }

    /// The same to `addr`, by the name that it knows.
    pub fn handshake_to(&self, addr: SocketAddr) -> Handshake {
        let v2 = self.hashes.v2().map(Sha256Hash::truncated).filter(|_| self.book.asked_by_v2(addr));
        let handshake = self.handshake();
        Handshake { info_hash: v2.unwrap_or(handshake.info_hash), ..handshake }
    }

    /// Our answer to an incoming handshake, and whether the connection is v2 from then on
    /// (BEP 52: naming the v2 hash in the answer upgrades a connection that offers it).
    pub fn answer(&self, theirs: &Handshake) -> (Handshake, bool) {
        let v2 = self.hashes.v2().map(Sha256Hash::truncated);
        let upgrade = v2.filter(|_| theirs.reserved.v2());
        let info_hash = upgrade.unwrap_or(theirs.info_hash);
        (Handshake { info_hash, ..self.handshake() }, v2 == Some(info_hash))
    }

    /// When anything of this torrent is next due.
    pub fn next_timeout(&self) -> Time {
        let core = self.core.next_timeout().unwrap_or(Time::NEVER);
        let trackers = self.trackers.next_timeout().unwrap_or(Time::NEVER);
        core.min(trackers).min(self.dial_due).min(self.leave_by).min(self.hosts_due)
    }

    /// BEP 53: `select` counts real files, priorities also count padding.
    fn selected(&self, torrent: &Torrent) -> Option<Vec<Priority>> {
        let mut real = 0;
        let choose = |padding: bool| {
            if padding {
                return Priority::Normal;
            }
            real += 1;
            if self.select.binary_search(&(real - 1)).is_ok() { Priority::Normal } else { Priority::Skip }
        };
        let files = torrent.info.layout.files().iter();
        (!self.select.is_empty()).then(|| files.map(|f| f.padding).map(choose).collect())
    }

    fn add_trackers(&mut self, tiers: &[Vec<String>]) {
        let new = self.trackers.add(tiers);
        self.new_tiers.extend(new);
    }

    fn add_web_seeds(&mut self, urls: &[String], limit: usize) {
        for url in urls {
            if self.web_seeds.len() < limit && !self.web_seeds.contains(url) {
                self.web_seeds.push(url.clone());
            }
        }
    }
}

/// Azureus style: `-SL0100-` and twelve characters by chance (BEP 20).
fn peer_id(rng: &mut Rng) -> [u8; 20] {
    const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-.";
    let mut id = *b"-SL0100-            ";
    id[8..].fill_with(|| DIGITS[rng.index(DIGITS.len())]);
    id
}
