//! The session: dispatch of inputs, torrents' cores, timers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use starling_metainfo::Sha1Hash;
use starling_sansio::{Machine, Rng, Sink, Time};
use starling_swarm::{ConnId, Input as Swarm, Output as SwarmOutput, SeedId};
use starling_tracker::lsd::Lsd;
use starling_tracker::udp::{Timing, UdpClient};

use crate::bans::Bans;
use crate::conns::Conns;
use crate::entry::Entry;
use crate::grants::{Grants, Used};
use crate::jobs::Jobs;
use crate::life::Reason;
use crate::scrape::Scrapes;
use crate::trackers::UdpJob;
use crate::{Config, Event, Input, Output, Source, TorrentKey};

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
    pub(crate) scrapes: Scrapes,
    /// When somebody may be let go again because the node is full.
    pub(crate) turnover: Time,
    /// When a knock is heard again.
    pub(crate) knock: Time,
    /// Torrents that would dial but for the limits, each once, next first.
    pub(crate) waiting: VecDeque<TorrentKey>,
    /// Our addresses as trackers see them, IPv4 and IPv6.
    pub(crate) external: [Option<IpAddr>; 2],
    pub(crate) timers: BTreeSet<(Time, TorrentKey)>,
    pub(crate) stopping: bool,
    pub(crate) stopped: bool,
    next_conn: u32,
    now: Time,
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
            scrapes: Scrapes::default(),
            turnover: Time::ZERO,
            knock: Time::ZERO,
            waiting: VecDeque::new(),
            external: [None; 2],
            timers: BTreeSet::new(),
            stopping: false,
            stopped: false,
            next_conn: 0,
            now: Time::ZERO,
            scratch: Vec::new(),
            config,
            rng,
        }
    }

    /// A number for a connection that came in, for [`Input::Accepted`].
    pub fn new_conn(&mut self) -> ConnId {
        loop {
            self.next_conn = self.next_conn.wrapping_add(1);
            if self.conns.get(ConnId(self.next_conn)).is_none() {
                return ConnId(self.next_conn);
            }
        }
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

    /// A torrent's trackers, tier by tier.
    pub fn trackers(&self, key: TorrentKey) -> Vec<Vec<String>> {
        self.torrents.get(&key).map(|entry| entry.trackers.tiers()).unwrap_or_default()
    }

    /// Addresses a torrent knows, connected or not.
    pub fn known_peers(&self, key: TorrentKey) -> usize {
        self.torrents.get(&key).map_or(0, |entry| entry.book.len())
    }

    /// Hands an input to a torrent's core and does what follows from its outputs.
    pub(crate) fn drive(&mut self, now: Time, key: TorrentKey, input: Swarm, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        let before = match input {
            Swarm::Grant { down, up } => [down, up],
            _ => entry.core.allowance(),
        };
        let mut route = Route { key, out, kept: std::mem::take(&mut self.scratch), used: Used::default() };
        entry.core.handle(now, input, &mut route);
        let Route { kept, used, .. } = route;
        self.account(now, key, before, used);
        self.react(now, key, kept, out);
        self.retime(key);
    }

    /// Does what a torrent's core wants of the session itself.
    fn react(&mut self, now: Time, key: TorrentKey, mut kept: Vec<SwarmOutput>, out: &mut impl Sink<Output>) {
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
            E::Lost { piece, fetch } => {
                tell(Event::Lost { piece, fetch });
                if fetch && self.was_complete(key) {
                    self.seek_again(now, key, out);
                }
            }
            E::Finished => {
                tell(Event::Finished);
                self.completed(now, key, out);
            }
            E::PeersFound(addrs) => self.peers_found(now, key, &addrs, Source::Pex, out),
            E::Listening { conn, addr } => self.listening(key, conn, addr.port()),
            E::Banned { ip, why } => {
                tell(Event::Banned { ip, why });
                self.ban(now, ip, why, out);
            }
            E::SeedDropped { seed, why } => {
                let url = self.web_seed(key, seed).unwrap_or_default().to_owned();
                tell(Event::SeedDropped { url, why });
            }
        }
    }

    /// The driver's time, standing still while it goes backwards: deadlines keep their order.
    fn clock(&mut self, now: Time) -> Time {
        self.now = self.now.max(now);
        self.now
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
        let before = entry.core.allowance();
        let mut route = Route { key, out, kept: std::mem::take(&mut self.scratch), used: Used::default() };
        entry.core.handle_timeout(now, &mut route);
        let Route { kept, used, .. } = route;
        self.account(now, key, before, used);
        self.react(now, key, kept, out);
        self.tick_trackers(now, key, out);
        self.tick_hosts(now, key, out);
        if self.torrents.get(&key).is_some_and(|entry| entry.dial_due <= now) {
            self.dial_more(now, key, out);
        }
        if self.torrents.get(&key).is_some_and(|entry| entry.leave_by <= now) {
            self.forget(key, out);
        }
        self.retime(key);
    }
}

impl Machine for Session {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut impl Sink<Output>) {
        let now = self.clock(now);
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
            Input::SetRates(rates) => self.set_rates(now, rates, out),
            Input::SetPaused { key, paused } => self.pause(now, key, Reason::User, paused, out),
            Input::SetPriorities { key, files } => self.set_priorities(now, key, files, out),
            Input::Scrape { id, names, trackers } => self.scrape(now, id, names, &trackers, out),
            Input::PeersFound { key, addrs, source } => self.peers_found(now, key, &addrs, source, out),
            Input::Opened { key, have, piece_layers } => self.opened(now, key, have, piece_layers, out),
            Input::OpenFailed { key, why } => self.fail(now, key, why, out),
            Input::StorageFailed { key, why } => self.storage(now, key, Some(why), out),
            Input::StorageRecovered { key } => self.storage(now, key, None, out),
            Input::HttpAnswer { job, result } => self.http_answer(now, job, result, out),
            Input::Resolved { job, addrs } => self.resolved(now, job, &addrs, out),
            Input::Datagram { from, bytes } => self.datagram(now, from, &bytes, out),
            Input::Knocked => self.knocked(now, out),
            Input::LsdHeard { from, bytes } => self.lsd_heard(now, from, &bytes, out),
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut impl Sink<Output>) {
        let now = self.clock(now);
        // Each torrent once: one that asks for the past must not spin here.
        let due: Vec<TorrentKey> =
            self.timers.iter().take_while(|(due, _)| *due <= now).map(|(_, key)| *key).collect();
        for key in due {
            self.torrent_timeout(now, key, out);
        }
        self.tick_udp(now, out);
        self.tick_lsd(now, out);
        self.tick_scrapes(now, out);
        if self.grants.due() <= now {
            self.grant(now, out);
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        let torrents = self.timers.first().map(|(due, _)| *due);
        let grants = Some(self.grants.due()).filter(|due| *due != Time::NEVER);
        let scrapes = self.scrapes.next_timeout();
        let others = [self.udp.next_timeout(), self.lsd.next_timeout(), scrapes];
        [torrents, grants].into_iter().chain(others).flatten().min()
    }
}

/// Passes a torrent's outputs on, but keeps those that the session acts on.
struct Route<'a, S> {
    key: TorrentKey,
    out: &'a mut S,
    kept: Vec<SwarmOutput>,
    used: Used,
}

impl<S: Sink<Output>> Sink<SwarmOutput> for Route<'_, S> {
    fn put(&mut self, output: SwarmOutput) {
        match output {
            SwarmOutput::Close { .. } | SwarmOutput::Event(_) => return self.kept.push(output),
            SwarmOutput::SendBlock { block, .. } => self.used.served += u64::from(block.length),
            SwarmOutput::Fetch { length, .. } => self.used.fetched += length,
            _ => {}
        }
        self.out.put(Output::Torrent { key: self.key, output });
    }
}
