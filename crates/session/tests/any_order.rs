//! Inputs in any order, about anything: no panic, no bound broken, time going backwards
//! included; and whatever went before, a shutdown ends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use starling_metainfo::{Bitfield, Builder, InfoHashes, Sha1Hash, Sha256Hash, Torrent, Versions};
use starling_sansio::{Machine, Time};
use starling_session::{AddSpec, Config, Input, JobId, Output, RateLimits, Session, Source, TorrentKey};
use starling_swarm::{Block, ConnId, Handshake, Message, Priority, Reserved};
use starling_tracker::TrackerError;

/// What the driver's part is; the numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Add {
        key: u32,
        torrent: u8,
        magnet: bool,
        limited: bool,
    },
    Remove(u32),
    Rates(Option<u64>, Option<u64>),
    Pause(u32, bool),
    Priorities(u32, u8),
    Peers {
        key: u32,
        addrs: Vec<(u8, u16)>,
        source: u8,
    },
    Accept(u8),
    Greet {
        conn: u32,
        torrent: u8,
        v2_name: bool,
        id: u8,
        bits: u8,
    },
    Close(u32),
    Say(u32, Message),
    Sent(u32, u32),
    Opened(u32, bool),
    OpenFailed(u32),
    Disk(u32, bool),
    Piece(u32, u32),
    Http(u64, Vec<u8>),
    Resolved(u64, Vec<(u8, u16)>),
    Datagram(u8, Vec<u8>),
    Lan(u8, u8),
    Wait(u32),
    Back(u32),
    /// The driver does what was asked of it, for a while.
    Obey,
}

fn steps() -> impl Strategy<Value = Step> {
    let block = (0..6u32, 0..5u32, 0..40_000u32).prop_map(|(piece, i, length)| Block {
        piece,
        begin: i * 16_384,
        length,
    });
    let message = prop_oneof![
        Just(Message::Unchoke),
        Just(Message::Interested),
        Just(Message::HaveAll),
        Just(Message::HaveNone),
        (0..6u32).prop_map(Message::Have),
        block.clone().prop_map(Message::Piece),
        block.clone().prop_map(Message::Request),
        block.prop_map(Message::Reject),
        (0..4u8, proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(id, payload)| Message::Extended { id, payload: payload.into() }),
        any::<u16>().prop_map(|port| Message::Extended {
            id: 0,
            payload: format!("d1:md11:ut_metadatai3e6:ut_pexi1ee1:pi{port}ee").into_bytes().into(),
        }),
    ];
    let key = 0..6u32;
    let conn = 0..24u32;
    let addrs = || proptest::collection::vec((0..6u8, 0..4u16), 0..12);
    let limit = || proptest::option::of(prop_oneof![Just(0u64), 1..2_000_000u64, Just(u64::MAX)]);
    prop_oneof![
        4 => (key.clone(), 0..4u8, any::<bool>(), any::<bool>())
            .prop_map(|(key, torrent, magnet, limited)| Step::Add { key, torrent, magnet, limited }),
        1 => key.clone().prop_map(Step::Remove),
        1 => (limit(), limit()).prop_map(|(down, up)| Step::Rates(down, up)),
        1 => (key.clone(), any::<bool>()).prop_map(|(key, on)| Step::Pause(key, on)),
        1 => (key.clone(), 0..4u8).prop_map(|(key, n)| Step::Priorities(key, n)),
        3 => (key.clone(), addrs(), 0..5u8)
            .prop_map(|(key, addrs, source)| Step::Peers { key, addrs, source }),
        4 => (0..6u8).prop_map(Step::Accept),
        6 => (conn.clone(), 0..4u8, any::<bool>(), 0..4u8, any::<u8>())
            .prop_map(|(conn, torrent, v2_name, id, bits)| Step::Greet { conn, torrent, v2_name, id, bits }),
        3 => conn.clone().prop_map(Step::Close),
        10 => (conn.clone(), message).prop_map(|(conn, message)| Step::Say(conn, message)),
        1 => (conn, any::<u32>()).prop_map(|(conn, bytes)| Step::Sent(conn, bytes)),
        3 => (key.clone(), any::<bool>()).prop_map(|(key, all)| Step::Opened(key, all)),
        1 => key.clone().prop_map(Step::OpenFailed),
        1 => (key.clone(), any::<bool>()).prop_map(|(key, full)| Step::Disk(key, full)),
        1 => (key, 0..6u32).prop_map(|(key, piece)| Step::Piece(key, piece)),
        2 => (0..20u64, proptest::collection::vec(any::<u8>(), 0..60)).prop_map(|(j, b)| Step::Http(j, b)),
        1 => (0..20u64, addrs()).prop_map(|(job, addrs)| Step::Resolved(job, addrs)),
        1 => (0..6u8, proptest::collection::vec(any::<u8>(), 0..60)).prop_map(|(ip, b)| Step::Datagram(ip, b)),
        2 => (0..6u8, 0..4u8).prop_map(|(ip, torrent)| Step::Lan(ip, torrent)),
        4 => (0..400_000u32).prop_map(Step::Wait),
        1 => (0..400_000u32).prop_map(Step::Back),
        6 => Just(Step::Obey),
    ]
}

/// A driver in no hurry: what it is asked waits until [`Step::Obey`].
struct Driver {
    session: Session,
    config: Config,
    torrents: Vec<Arc<Torrent>>,
    now: Time,
    latest: Time,
    out: Vec<Output>,
    /// Connections that are up, and those that are to be closed.
    conns: BTreeSet<ConnId>,
    closing: BTreeSet<ConnId>,
    jobs: BTreeSet<JobId>,
    stopped: usize,
}

impl Driver {
    fn new(seed: u64) -> Driver {
        let mut config = Config { listen_port: 6881, ..Config::default() };
        config.limits.torrents = 5;
        config.limits.connections = 12;
        config.limits.connections_per_torrent = 6;
        config.limits.strangers = 4;
        config.limits.connections_per_ip = 5;
        config.limits.half_open = 3;
        config.limits.known_peers = 10;
        config.limits.jobs = 6;
        Driver {
            session: Session::new(config.clone(), seed),
            config,
            torrents: (0..4).map(torrent).collect(),
            now: Time::from_secs(100),
            latest: Time::ZERO,
            out: Vec::new(),
            conns: BTreeSet::new(),
            closing: BTreeSet::new(),
            jobs: BTreeSet::new(),
            stopped: 0,
        }
    }

    fn feed(&mut self, input: Input) {
        self.latest = self.latest.max(self.now);
        self.session.handle(self.now, input, &mut self.out);
        self.look();
    }

    fn tick(&mut self) {
        self.latest = self.latest.max(self.now);
        self.session.handle_timeout(self.now, &mut self.out);
        self.look();
    }

    /// Notes what was put, and holds the bounds against it.
    fn look(&mut self) {
        for output in std::mem::take(&mut self.out) {
            assert_eq!(self.stopped, 0, "nothing comes after Stopped: {output:?}");
            match output {
                Output::Dial { conn, .. } => assert!(self.conns.insert(conn), "{conn:?} is in use"),
                Output::Close { conn, .. } => assert!(self.closing.insert(conn), "{conn:?} is closed twice"),
                Output::HttpGet { job, .. } | Output::Resolve { job, .. } => drop(self.jobs.insert(job)),
                Output::Stopped => self.stopped += 1,
                _ => {}
            }
        }
        let limits = &self.config.limits;
        assert!(self.jobs.len() <= limits.jobs);
        let mut conns = 0;
        let mut torrents = 0;
        for stats in (0..6).filter_map(|key| self.session.stats(TorrentKey(key))) {
            torrents += 1;
            conns += stats.connections;
            assert!(stats.known_peers <= limits.known_peers);
            // One more while another makes room for it.
            let most = limits.connections_per_torrent + self.closing.len().min(1);
            assert!(stats.connections <= most, "{}", stats.connections);
        }
        assert!(torrents <= limits.torrents && conns <= self.conns.len(), "{conns} {}", self.conns.len());
        // Those refused count until they are closed.
        assert!(self.conns.len() <= limits.connections + limits.strangers + self.closing.len());
    }

    fn conn(&self, n: u32) -> ConnId {
        let all: Vec<ConnId> = self.conns.iter().copied().collect();
        all.get(n as usize % all.len().max(1)).copied().unwrap_or(ConnId(n))
    }

    fn close(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
        self.closing.remove(&conn);
        self.feed(Input::Closed { conn });
    }

    fn obey(&mut self) {
        for conn in self.closing.clone() {
            self.close(conn);
        }
        for job in std::mem::take(&mut self.jobs) {
            self.feed(Input::HttpAnswer { job, result: Err(TrackerError::TimedOut) });
            self.feed(Input::Resolved { job, addrs: Vec::new() });
        }
    }

    fn step(&mut self, step: Step) {
        let key = TorrentKey;
        match step {
            Step::Add { key: k, torrent, magnet, limited } => {
                let spec = self.spec(torrent, magnet, limited);
                self.feed(Input::Add { key: key(k), spec: Box::new(spec) });
            }
            Step::Remove(k) => self.feed(Input::Remove { key: key(k) }),
            Step::Rates(down, up) => self.feed(Input::SetRates(RateLimits { down, up })),
            Step::Pause(k, paused) => self.feed(Input::SetPaused { key: key(k), paused }),
            Step::Priorities(k, n) => {
                let files = vec![Priority::High; n.into()];
                self.feed(Input::SetPriorities { key: key(k), files });
            }
            Step::Peers { key: k, addrs, source } => {
                let sources = [Source::Pex, Source::Incoming, Source::Tracker, Source::Lan, Source::User];
                let (addrs, source) = (addrs.into_iter().map(addr).collect(), sources[usize::from(source)]);
                self.feed(Input::PeersFound { key: key(k), addrs, source });
            }
            Step::Accept(ip) => {
                let conn = self.session.new_conn();
                assert!(self.conns.insert(conn));
                self.feed(Input::Accepted { conn, addr: addr((ip, 40_000)) });
            }
            Step::Greet { conn, torrent, v2_name, id, bits } => {
                let hashes = self.torrents[usize::from(torrent)].info.hashes;
                let names: Vec<Sha1Hash> = hashes.wire_names().collect();
                let info_hash = names[usize::from(v2_name) % names.len()];
                let reserved = Reserved([0, 0, 0, 0, 0, bits, 0, bits]);
                let theirs = Handshake { reserved, info_hash, peer_id: [id; 20] };
                self.feed(Input::Handshake { conn: self.conn(conn), theirs });
            }
            Step::Close(conn) => self.close(self.conn(conn)),
            Step::Say(conn, message) => self.feed(Input::Message { conn: self.conn(conn), message }),
            Step::Sent(conn, bytes) => self.feed(Input::Sent { conn: self.conn(conn), bytes }),
            Step::Opened(k, all) => {
                let have = if all { Bitfield::full(4) } else { Bitfield::new(4) };
                let piece_layers = BTreeMap::new();
                self.feed(Input::Opened { key: key(k), have, piece_layers });
            }
            Step::OpenFailed(k) => self.feed(Input::OpenFailed { key: key(k), why: "broken".to_owned() }),
            Step::Disk(k, true) => self.feed(Input::StorageFailed { key: key(k), why: "full".to_owned() }),
            Step::Disk(k, false) => self.feed(Input::StorageRecovered { key: key(k) }),
            Step::Piece(k, piece) => {
                let input = starling_swarm::Input::PieceVerified { piece };
                self.feed(Input::Torrent { key: key(k), input });
            }
            Step::Http(job, body) => {
                self.jobs.remove(&JobId(job));
                self.feed(Input::HttpAnswer { job: JobId(job), result: Ok(body.into()) });
            }
            Step::Resolved(job, addrs) => {
                self.jobs.remove(&JobId(job));
                let addrs = addrs.into_iter().map(addr).collect();
                self.feed(Input::Resolved { job: JobId(job), addrs });
            }
            Step::Datagram(ip, bytes) => {
                self.feed(Input::Datagram { from: addr((ip, 1)), bytes: bytes.into() });
            }
            Step::Lan(ip, torrent) => {
                let name = self.torrents[usize::from(torrent)].info.hashes.wire();
                let text = format!(
                    "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 9\r\nInfohash: {name}\r\n\r\n\r\n"
                );
                self.feed(Input::LsdHeard { from: addr((ip, 6771)), bytes: Bytes::from(text) });
            }
            Step::Wait(millis) => {
                self.now = self.now + Duration::from_millis(millis.into());
                self.tick();
            }
            Step::Back(millis) => {
                self.now = self.now - Duration::from_millis(millis.into());
                self.tick();
            }
            Step::Obey => self.obey(),
        }
    }

    fn spec(&self, torrent: u8, magnet: bool, limited: bool) -> AddSpec {
        let torrent = &self.torrents[usize::from(torrent)];
        let hashes = torrent.info.hashes;
        let mut spec = AddSpec::new(InfoHashes::new(hashes.v1(), None).unwrap_or(hashes));
        if !magnet {
            spec = AddSpec { torrent: Some(torrent.clone()), ..AddSpec::new(hashes) };
        }
        spec.trackers = vec![vec!["http://t/announce".to_owned(), "udp://10.0.0.1:1".to_owned()]];
        spec.peer_hosts = vec![("host".to_owned(), 1)];
        spec.web_seeds = vec!["http://w/".to_owned()];
        spec.select = if limited { vec![0, 7] } else { Vec::new() };
        spec.rates = RateLimits { down: limited.then_some(50_000), up: None };
        spec
    }
}

fn addr((ip, port): (u8, u16)) -> SocketAddr {
    match ip {
        0 => SocketAddr::from(([127, 0, 0, 1], port)),
        5 => SocketAddr::from(([0x2001, 0, 0, 0, 0, 0, 0, port], 1)),
        ip => SocketAddr::from(([10, 0, 0, ip], port)),
    }
}

fn torrent(n: u8) -> Arc<Torrent> {
    let mut builder = Builder::file(format!("{n}"), 256 * 1024);
    builder.versions = if n == 0 { Versions::V1 } else { Versions::Hybrid };
    builder.private = n == 1;
    builder.piece_length = starling_metainfo::PieceLength::new(64 * 1024);
    let plan = builder.plan().expect("a sound torrent");
    let v2 = (n != 0).then(|| vec![Sha256Hash([n; 32]); 4]);
    Arc::new(plan.finish(Some(&[Sha1Hash([n; 20]); 4]), v2.as_deref()).expect("a sound torrent"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn anything_may_come_at_any_time(seed: u64, story in proptest::collection::vec(steps(), 1..250)) {
        let mut driver = Driver::new(seed);
        for step in story {
            driver.step(step);
        }
        driver.feed(Input::Shutdown);
        // Deadlines may have been set before the clock was turned back.
        driver.now = driver.now.max(driver.latest);
        for _ in 0..10 {
            driver.now = driver.now + Duration::from_secs(1);
            driver.tick();
        }
        // Whatever the driver owes: no connection closed, no tracker answered.
        prop_assert_eq!(driver.stopped, 1);
        for conn in driver.conns.clone() {
            driver.close(conn);
        }
    }
}
