//! The session: dispatch of inputs, torrents' lives, timers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starling_metainfo::{Bitfield, Info, Sha1Hash, Torrent};
use starling_sansio::{Machine, Rng, Sink, Time};
use starling_swarm::{ConnId, Input as Swarm, Output as SwarmOutput, SeedId};
use starling_tracker::lsd::Lsd;
use starling_tracker::udp::{Timing, UdpClient};

use crate::bans::Bans;
use crate::conns::Conns;
use crate::entry::{Entry, Layers, Phase};
use crate::grants::Grants;
use crate::trackers::{Jobs, UdpJob};
use crate::{AddSpec, Config, Event, Input, Output, Source, TorrentKey};

/// One node's torrents and the policy over them, as a core.
#[derive(Debug)]
pub struct Session {
    pub(crate) config: Config,
    pub(crate) rng: Rng,
    pub(crate) torrents: BTreeMap<TorrentKey, Entry>,
    pub(crate) by_wire: BTreeMap<Sha1Hash, TorrentKey>,
    pub(crate) conns: Conns,
    pub(crate) bans: Bans,
    pub(crate) grants: Grants,
    pub(crate) jobs: Jobs,
    pub(crate) udp: UdpClient<UdpJob>,
    pub(crate) lsd: Lsd,
    /// Torrents that would dial but for the limit on attempts under way.
    pub(crate) starved: BTreeSet<TorrentKey>,
    pub(crate) next_conn: u32,
    timers: BTreeSet<(Time, TorrentKey)>,
    stopping: bool,
    scratch: Vec<SwarmOutput>,
}

impl Session {
    /// A session without torrents. Equal seeds and inputs give equal outputs.
    pub fn new(config: Config, seed: u64) -> Session {
        let mut rng = Rng::from_seed(seed);
        Session {
            torrents: BTreeMap::new(),
            by_wire: BTreeMap::new(),
            conns: Conns::default(),
            bans: Bans::new(config.limits.bans),
            grants: Grants::new(config.rates, Time::ZERO),
            jobs: Jobs::new(config.limits.jobs),
            udp: UdpClient::new(Timing::default(), rng.fork()),
            lsd: Lsd::new(config.listen_port, rng.fork()),
            starved: BTreeSet::new(),
            next_conn: 0,
            timers: BTreeSet::new(),
            stopping: false,
            scratch: Vec::new(),
            config,
            rng,
        }
    }

    /// A number for a connection that came in, for [`Input::Accepted`].
    pub fn new_conn(&mut self) -> ConnId {
        self.next_conn = self.next_conn.wrapping_add(1);
        ConnId(self.next_conn)
    }

    /// The core of a torrent, to look at.
    pub fn core(&self, key: TorrentKey) -> Option<&starling_swarm::Torrent> {
        self.torrents.get(&key).map(|entry| &entry.core)
    }

    /// Which torrent a connection belongs to.
    pub fn torrent_of(&self, conn: ConnId) -> Option<TorrentKey> {
        self.conns.get(conn)?.torrent
    }

    /// The address of a web seed.
    pub fn web_seed(&self, key: TorrentKey, seed: SeedId) -> Option<&str> {
        self.torrents.get(&key)?.web_seeds.get(seed.0 as usize).map(String::as_str)
    }

    /// Addresses a torrent knows, connected or not.
    pub fn known_peers(&self, key: TorrentKey) -> usize {
        self.torrents.get(&key).map_or(0, |entry| entry.book.len())
    }

    fn add(&mut self, now: Time, key: TorrentKey, spec: &AddSpec, out: &mut impl Sink<Output>) {
        let fail = |why: &str, out: &mut dyn FnMut(Output)| {
            out(Output::Event { key, event: Event::Failed(why.to_owned()) });
        };
        let mut put = |output| out.put(output);
        if self.stopping || self.torrents.len() >= self.config.limits.torrents {
            return fail("the node takes no more torrents", &mut put);
        }
        if self.torrents.contains_key(&key)
            || spec.hashes.wire_names().any(|name| self.by_wire.contains_key(&name))
        {
            return fail("the torrent is already here", &mut put);
        }
        let entry = Entry::new(spec, &self.config, &mut self.rng, now);
        for name in entry.hashes.wire_names() {
            self.by_wire.insert(name, key);
        }
        let torrent = entry.torrent.clone();
        self.torrents.insert(key, entry);
        self.peers_found(now, key, &spec.peers, Source::User, out);
        for (host, port) in &spec.peer_hosts {
            self.resolve_peer(key, host, *port, out);
        }
        match torrent {
            Some(torrent) => out.put(Output::Open { key, torrent }),
            None => self.join(now, key, out),
        }
    }

    /// Begins to be found and to find: trackers, LAN, peers already known.
    fn join(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        self.start_trackers(now, key, out);
        self.start_lsd(now, key, out);
        self.dial_more(now, key, out);
        self.retime(key);
    }

    fn opened(
        &mut self,
        now: Time,
        key: TorrentKey,
        have: Bitfield,
        kept: Layers,
        out: &mut impl Sink<Output>,
    ) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        if entry.phase != Phase::Opening {
            return;
        }
        let count = have.count();
        let inputs = entry.loaded(have, kept);
        out.put(Output::Event { key, event: Event::Opened { have: count } });
        for input in inputs {
            self.drive(now, key, input, out);
        }
        self.grant(now, out);
        self.join(now, key, out);
    }

    /// The metadata came from peers: its bytes have the right hash, but may still be nonsense.
    fn metadata(&mut self, now: Time, key: TorrentKey, bytes: bytes::Bytes, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        let info = match Info::parse(bytes) {
            Ok(info) => Arc::new(info),
            Err(error) => {
                let why = format!("the metadata that peers sent is no torrent: {error}");
                return self.fail(now, key, why, out);
            }
        };
        let torrent = Arc::new(Torrent {
            info,
            trackers: entry.trackers.tiers(),
            web_seeds: entry.web_seeds.clone(),
            piece_layers: BTreeMap::new(),
            comment: None,
            created_by: None,
            creation_date: None,
        });
        entry.learn(torrent.clone(), &self.config);
        let private = entry.is_private();
        for name in torrent.info.hashes.wire_names() {
            self.by_wire.entry(name).or_insert(key);
        }
        if private {
            self.stop_lsd(now, key, out);
        }
        out.put(Output::Event { key, event: Event::Metadata(torrent.clone()) });
        out.put(Output::Open { key, torrent });
    }

    fn fail(&mut self, now: Time, key: TorrentKey, why: String, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        entry.phase = Phase::Failed;
        self.close_all(key, "the torrent failed", out);
        self.leave_trackers(now, key, out);
        self.stop_lsd(now, key, out);
        out.put(Output::Event { key, event: Event::Failed(why) });
    }

    fn remove(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        if entry.phase == Phase::Leaving {
            return;
        }
        entry.phase = Phase::Leaving;
        self.by_wire.retain(|_, k| *k != key);
        self.close_all(key, "the torrent is removed", out);
        self.stop_lsd(now, key, out);
        self.leave_trackers(now, key, out);
        self.finish_leaving(key, out);
    }

    /// Forgets a leaving torrent once its connections are closed and its trackers told.
    pub(crate) fn finish_leaving(&mut self, key: TorrentKey, out: &mut impl Sink<Output>) {
        let done = self
            .torrents
            .get(&key)
            .is_some_and(|e| e.phase == Phase::Leaving && e.trackers.is_done() && e.conns == 0);
        if done {
            if let Some(entry) = self.torrents.remove(&key) {
                self.timers.remove(&(entry.timer, key));
            }
            out.put(Output::Event { key, event: Event::Removed });
            self.finish_stopping(out);
        }
    }

    fn shutdown(&mut self, now: Time, out: &mut impl Sink<Output>) {
        self.stopping = true;
        let keys: Vec<TorrentKey> = self.torrents.keys().copied().collect();
        for key in keys {
            self.remove(now, key, out);
        }
        self.finish_stopping(out);
    }

    fn finish_stopping(&mut self, out: &mut impl Sink<Output>) {
        if self.stopping && self.torrents.is_empty() {
            out.put(Output::Stopped);
        }
    }

    fn pause(
        &mut self,
        now: Time,
        key: TorrentKey,
        reason: usize,
        paused: bool,
        out: &mut impl Sink<Output>,
    ) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        entry.paused[reason] = paused;
        let any = entry.paused.contains(&true);
        self.drive(now, key, Swarm::PauseDownload(any), out);
    }

    /// Hands an input to a torrent's core and does what follows from its outputs.
    pub(crate) fn drive(&mut self, now: Time, key: TorrentKey, input: Swarm, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        let mut kept = std::mem::take(&mut self.scratch);
        entry.core.handle(now, input, &mut Route { key, out, kept: &mut kept });
        self.react(now, key, kept, out);
        self.retime(key);
    }

    /// Does what a torrent's core wants of the session itself.
    fn react(
        &mut self,
        now: Time,
        key: TorrentKey,
        mut kept: Vec<SwarmOutput>,
        out: &mut impl Sink<Output>,
    ) {
        for output in kept.drain(..) {
            match output {
                SwarmOutput::Close { conn, why } => self.close(conn, why, out),
                SwarmOutput::Event(event) => self.swarm_event(now, key, event, out),
                _ => {}
            }
        }
        if self.scratch.capacity() == 0 {
            self.scratch = kept;
        }
    }

    fn swarm_event(
        &mut self,
        now: Time,
        key: TorrentKey,
        event: starling_swarm::Event,
        out: &mut impl Sink<Output>,
    ) {
        use starling_swarm::Event as E;
        let mut tell = |event| out.put(Output::Event { key, event });
        match event {
            E::Metadata(bytes) => self.metadata(now, key, bytes, out),
            E::Have { piece } => tell(Event::Have { piece }),
            E::Finished => {
                tell(Event::Finished);
                self.completed(now, key, out);
            }
            E::PeersFound(addrs) => self.peers_found(now, key, &addrs, Source::Pex, out),
            E::Listening { conn, addr } => self.listening(key, conn, addr),
            E::Banned { ip, why } => {
                tell(Event::Banned { ip, why });
                self.bans.add(ip, now);
            }
            E::SeedDropped { seed, why } => {
                let url = self.web_seed(key, seed).unwrap_or_default().to_owned();
                tell(Event::SeedDropped { url, why });
            }
        }
    }

    /// Puts the torrent's next deadline into the timer queue, if it changed.
    pub(crate) fn retime(&mut self, key: TorrentKey) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        let next = entry.next_timeout();
        if next != entry.timer {
            self.timers.remove(&(entry.timer, key));
            entry.timer = next;
            if next != Time::NEVER {
                self.timers.insert((next, key));
            }
        }
    }

    fn torrent_timeout(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        let mut kept = std::mem::take(&mut self.scratch);
        entry.core.handle_timeout(now, &mut Route { key, out, kept: &mut kept });
        self.react(now, key, kept, out);
        self.tick_trackers(now, key, out);
        if self.torrents.get(&key).is_some_and(|entry| entry.dial_due <= now) {
            self.dial_more(now, key, out);
        }
        self.retime(key);
    }
}

impl Machine for Session {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut impl Sink<Output>) {
        match input {
            Input::Message { conn, message } => {
                if let Some(key) = self.torrent_of(conn) {
                    self.drive(now, key, Swarm::Message { conn, message }, out);
                }
            }
            Input::Sent { conn, bytes } => {
                if let Some(key) = self.torrent_of(conn) {
                    self.drive(now, key, Swarm::Sent { conn, bytes }, out);
                }
            }
            Input::Torrent { key, input } => self.drive(now, key, input, out),
            Input::Accepted { conn, addr } => self.accepted(now, conn, addr, out),
            Input::Handshake { conn, theirs } => self.handshake(now, conn, &theirs, out),
            Input::Closed { conn } => self.closed(now, conn, out),
            Input::Add { key, spec } => self.add(now, key, &spec, out),
            Input::Remove { key } => self.remove(now, key, out),
            Input::Shutdown => self.shutdown(now, out),
            Input::SetRates(rates) => {
                self.grants = Grants::new(rates, now);
                self.grant(now, out);
            }
            Input::SetPaused { key, paused } => self.pause(now, key, 0, paused, out),
            Input::SetPriorities { key, files } => self.drive(now, key, Swarm::SetPriorities(files), out),
            Input::PeersFound { key, addrs, source } => self.peers_found(now, key, &addrs, source, out),
            Input::Opened { key, have, piece_layers } => self.opened(now, key, have, piece_layers, out),
            Input::OpenFailed { key, why } => self.fail(now, key, why, out),
            Input::StorageFailed { key, why } => {
                self.pause(now, key, 1, true, out);
                out.put(Output::Event { key, event: Event::Paused(why) });
            }
            Input::StorageRecovered { key } => {
                self.pause(now, key, 1, false, out);
                out.put(Output::Event { key, event: Event::Resumed });
            }
            Input::HttpAnswer { job, result } => self.http_answer(now, job, result, out),
            Input::Resolved { job, addrs } => self.resolved(now, job, &addrs, out),
            Input::Datagram { from, bytes } => self.datagram(now, from, &bytes, out),
            Input::LsdHeard { from, bytes } => self.lsd_heard(now, from, &bytes, out),
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut impl Sink<Output>) {
        while let Some(&(due, key)) = self.timers.first() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            if let Some(entry) = self.torrents.get_mut(&key) {
                entry.timer = Time::NEVER;
            }
            self.torrent_timeout(now, key, out);
            if self.timers.contains(&(due, key)) {
                break; // still due: a core that asks for the past must not spin here
            }
        }
        self.tick_udp(now, out);
        self.tick_lsd(now, out);
        if self.grants.due() <= now {
            self.grant(now, out);
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        let torrents = self.timers.first().map(|(due, _)| *due);
        let grants = Some(self.grants.due()).filter(|due| *due != Time::NEVER);
        [torrents, grants, self.udp.next_timeout(), self.lsd.next_timeout()].into_iter().flatten().min()
    }
}

/// Passes a torrent's outputs on, but keeps those that the session acts on.
struct Route<'a, S> {
    key: TorrentKey,
    out: &'a mut S,
    kept: &'a mut Vec<SwarmOutput>,
}

impl<S: Sink<Output>> Sink<SwarmOutput> for Route<'_, S> {
    fn put(&mut self, output: SwarmOutput) {
        match output {
            SwarmOutput::Close { .. } | SwarmOutput::Event(_) => self.kept.push(output),
            output => self.out.put(Output::Torrent { key: self.key, output }),
        }
    }
}
