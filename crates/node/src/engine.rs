//! The network thread's heart: feeds the session and carries out what it wants.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::Instant;

use bytes::Bytes;
use starling_disk::Disk;
use starling_net::{PeerHandle, Peers};
use starling_sansio::{Machine, Time};
use starling_session::{Event, Input, Output, ScrapeId, Scraped, Session, TorrentKey};
use starling_swarm::{Block, ConnId, Handshake};
use tokio::sync::{Notify, oneshot, watch};

use crate::local::Local;
use crate::outside::Outside;

/// Everything of the network thread. Lives in an `Rc`; the tasks of the thread share it.
pub(crate) struct Engine {
    pub(crate) me: Weak<Engine>,
    pub(crate) core: RefCell<Core>,
    pub(crate) peers: Peers,
    pub(crate) disk: Disk,
    pub(crate) outside: Outside,
    /// Where connections come from, if the user named a real address.
    pub(crate) bind: Option<IpAddr>,
    pub(crate) state: Option<PathBuf>,
    began: Instant,
    timer: Notify,
    news: watch::Sender<u64>,
}

/// The state that inputs change.
pub(crate) struct Core {
    pub(crate) session: Session,
    pub(crate) handles: BTreeMap<ConnId, PeerHandle>,
    pub(crate) torrents: BTreeMap<TorrentKey, Local>,
    /// Blocks being read from a slow disk, by token.
    pub(crate) reads: BTreeMap<u64, (ConnId, Block)>,
    pub(crate) next_read: u64,
    pub(crate) next_key: u32,
    /// The answer to the incoming handshake being handled.
    pub(crate) reply: Option<Handshake>,
    /// Connections refused before they had a handle.
    pub(crate) refused: BTreeSet<ConnId>,
    /// Who waits for the answer to a scrape.
    pub(crate) scrapes: BTreeMap<ScrapeId, oneshot::Sender<Vec<Scraped>>>,
    pub(crate) next_scrape: u64,
    /// Resolved when the session has left all its torrents.
    pub(crate) stopped: Vec<oneshot::Sender<()>>,
    out: Vec<Output>,
    armed: Time,
}

impl Engine {
    pub(crate) fn new(
        session: Session,
        disk: Disk,
        peers: Peers,
        outside: Outside,
        bind: Option<IpAddr>,
        state: Option<PathBuf>,
        news: watch::Sender<u64>,
    ) -> Rc<Engine> {
        let core = Core {
            session,
            handles: BTreeMap::new(),
            torrents: BTreeMap::new(),
            reads: BTreeMap::new(),
            next_read: 0,
            next_key: 0,
            reply: None,
            refused: BTreeSet::new(),
            scrapes: BTreeMap::new(),
            next_scrape: 0,
            stopped: Vec::new(),
            out: Vec::new(),
            armed: Time::NEVER,
        };
        Rc::new_cyclic(|me| Engine {
            me: me.clone(),
            core: RefCell::new(core),
            peers,
            disk,
            outside,
            bind,
            state,
            began: Instant::now(),
            timer: Notify::new(),
            news,
        })
    }

    /// The engine as the owner that tasks and handlers keep.
    pub(crate) fn rc(&self) -> Option<Rc<Engine>> {
        self.me.upgrade()
    }

    fn now(&self) -> Time {
        Time::from_micros(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Hands an input to the session and does what follows.
    pub(crate) fn feed(&self, input: Input) {
        self.feed_with(input, Bytes::new());
    }

    /// The same, with the bytes of a block that [`starling_swarm::Output::Store`] would keep.
    pub(crate) fn feed_with(&self, input: Input, mut payload: Bytes) {
        let now = self.now();
        let core = &mut *self.core.borrow_mut();
        core.session.handle(now, input, &mut core.out);
        self.carry_out(core, &mut payload);
    }

    fn carry_out(&self, core: &mut Core, payload: &mut Bytes) {
        let mut outputs = std::mem::take(&mut core.out);
        for output in outputs.drain(..) {
            self.carry(core, output, payload);
        }
        core.out = outputs;
        let next = core.session.next_timeout().unwrap_or(Time::NEVER);
        if next < core.armed {
            core.armed = next;
            self.timer.notify_one();
        }
    }

    fn carry(&self, core: &mut Core, output: Output, payload: &mut Bytes) {
        match output {
            Output::Torrent { key, output } => self.carry_swarm(core, key, output, payload),
            Output::Dial { conn, addr, handshake } => {
                if let Some(me) = self.rc() {
                    let handle = self.peers.dial(conn, addr, self.bind, handshake, me);
                    core.handles.insert(conn, handle);
                }
            }
            Output::Reply { handshake, .. } => core.reply = Some(handshake),
            Output::Close { conn, why } => {
                tracing::debug!(conn = conn.0, why = why.why, blame = ?why.blame, "closing");
                match core.handles.get(&conn) {
                    Some(handle) => handle.close(),
                    None => drop(core.refused.insert(conn)),
                }
            }
            Output::Open { key, torrent } => self.open(core, key, &torrent),
            Output::Event { key, event } => self.event(core, key, event),
            Output::Stopped => {
                for waiting in core.stopped.drain(..) {
                    let _ = waiting.send(());
                }
            }
            Output::Scraped { id, trackers } => {
                core.scrapes.remove(&id).into_iter().for_each(|waiting| drop(waiting.send(trackers.clone())));
            }
            Output::HttpGet { job, url, family } => self.http_get(job, url, family),
            Output::Resolve { job, host, port } => self.resolve(job, host, port),
            Output::UdpSend { to, bytes } => self.outside.udp_send(to, bytes),
            Output::LsdSend { v6, bytes } => self.outside.lsd_send(v6, bytes),
        }
    }

    fn carry_swarm(
        &self,
        core: &mut Core,
        key: TorrentKey,
        output: starling_swarm::Output,
        payload: &mut Bytes,
    ) {
        use starling_swarm::Output as O;
        let disk_key = starling_disk::TorrentKey(key.0);
        match output {
            O::Send { conn, message } => {
                if let Some(handle) = core.handles.get(&conn) {
                    handle.send(&message);
                }
            }
            O::SendBlock { conn, block } => {
                if let Some(handle) = core.handles.get(&conn) {
                    handle.send_block(block);
                }
            }
            O::Store { block } => {
                self.disk.store(disk_key, block.piece, block.begin, std::mem::take(payload));
            }
            O::Retry { piece, keep } => self.disk.retry(disk_key, piece, &keep),
            O::PieceRoots { file, roots } => self.disk.set_piece_roots(disk_key, file, roots),
            O::Digest { piece } => self.disk.digest(disk_key, piece),
            O::Fetch { seed, piece, length } => self.fetch(core, key, seed, piece, length),
            O::CancelFetch { seed } => self.cancel_fetch(core, key, seed),
            O::Close { .. } | O::Event(_) => {} // the session keeps these to itself
        }
    }

    fn event(&self, core: &mut Core, key: TorrentKey, event: Event) {
        let Some(local) = core.torrents.get_mut(&key) else { return };
        log(key, &event);
        if matches!(event, Event::Finished) && local.by_link {
            self.save_layers(&core.session, key);
        }
        match event {
            Event::Metadata(torrent) => {
                local.learned(&torrent);
                self.save_torrent(&torrent);
            }
            Event::Opened { .. } => {
                let swarm = core.session.stats(key).map(|stats| stats.swarm).unwrap_or_default();
                local.opened(swarm.bytes_wanted.saturating_sub(swarm.bytes_left));
            }
            Event::Have { .. } => return,
            Event::Lost { piece, fetch } => local.lost(piece, fetch),
            // What was fetched is complete once the disk says where it lies; what was there
            // at the beginning was looked at then.
            Event::Finished
                if local.fetch && core.session.stats(key).is_some_and(|stats| stats.swarm.downloaded > 0) =>
            {
                return self.disk.confirm(starling_disk::TorrentKey(key.0));
            }
            Event::Finished => local.finished = true,
            Event::Failed(why) => local.failed = Some(why),
            Event::Paused(why) => local.paused = Some(why),
            Event::Resumed => local.paused = None,
            Event::Banned { ip, .. } => local.banned(ip),
            Event::SeedDropped { url, why } => local.seed_dropped(url, why),
            Event::Tracker { url, state } => {
                local.tracker_said(url, state.map(|answer| describe(&answer)));
            }
            Event::Removed => self.close_storage(core, key),
        }
        self.tell();
    }

    /// Wakes whoever watches for news.
    pub(crate) fn tell(&self) {
        self.news.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Wakes the session when it is time. Runs as long as the thread.
    pub(crate) async fn run_timer(self: Rc<Engine>) {
        loop {
            let now = self.now();
            let due = {
                let core = &mut *self.core.borrow_mut();
                if core.session.next_timeout().is_some_and(|due| due <= now) {
                    core.session.handle_timeout(now, &mut core.out);
                    core.armed = Time::NEVER;
                    self.carry_out(core, &mut Bytes::new());
                }
                core.armed = core.session.next_timeout().unwrap_or(Time::NEVER);
                core.armed
            };
            let wait = due.since(self.now()).max(std::time::Duration::from_micros(200));
            tokio::select! {
                () = tokio::time::sleep(wait), if due != Time::NEVER => {}
                () = self.timer.notified() => {}
            }
        }
    }

    /// A torrent's place in the state folder.
    pub(crate) fn state_file(&self, name: &str, kind: &str) -> Option<PathBuf> {
        Some(self.state.as_ref()?.join(format!("{name}.{kind}")))
    }

    /// The metadata of a link has no piece layers (BEP 52); those that came meanwhile are kept
    /// with it, so that the file is worth as much as the one that the link was made from.
    fn save_layers(&self, session: &Session, key: TorrentKey) {
        let Some(torrent) = session.stats(key).and_then(|stats| stats.torrent) else { return };
        let layers = session.core(key).map(starling_swarm::Torrent::piece_layers).unwrap_or_default();
        if torrent.missing_layers().any(|root| layers.contains_key(&root)) {
            let mut whole = starling_metainfo::Torrent::clone(&torrent);
            whole.piece_layers.extend(layers);
            self.save_torrent(&whole);
        }
    }

    /// Keeps a torrent for the next run unless it is kept.
    pub(crate) fn keep_torrent(&self, torrent: &starling_metainfo::Torrent) {
        let path = self.state_file(&torrent.info.hashes.to_string(), "torrent");
        if path.is_some_and(|path| !path.exists()) {
            self.save_torrent(torrent);
        }
    }

    fn save_torrent(&self, torrent: &starling_metainfo::Torrent) {
        let Some(path) = self.state_file(&torrent.info.hashes.to_string(), "torrent") else { return };
        if let Err(error) = crate::state::write_atomically(&path, &torrent.encode()) {
            tracing::warn!(path = %path.display(), %error, "the torrent cannot be kept for the next run");
        }
    }
}

/// What [`crate::Progress`] tells whoever watches is logged for those who want details.
fn log(key: TorrentKey, event: &Event) {
    match event {
        Event::Have { .. } => {}
        Event::Tracker { .. } | Event::Banned { .. } | Event::Lost { .. } | Event::SeedDropped { .. } => {
            tracing::debug!(torrent = key.0, ?event, "news");
        }
        // All its hashes are of no use to a reader.
        Event::Metadata(found) => {
            let (name, hashes) = (&found.info.name, found.info.hashes);
            tracing::info!(torrent = key.0, ?name, %hashes, "metadata");
        }
        _ => tracing::info!(torrent = key.0, ?event, "news"),
    }
}

fn describe(answer: &starling_session::TrackerAnswer) -> String {
    let count = |n: Option<u32>, what: &str| match n {
        Some(1) => format!("1 {what}"),
        Some(n) => format!("{n} {what}s"),
        None => format!("? {what}s"),
    };
    let swarm = format!("{}, {}", count(answer.seeds, "seed"), count(answer.leechers, "other"));
    match &answer.warning {
        Some(warning) => format!("{swarm} ({warning})"),
        None => swarm,
    }
}
