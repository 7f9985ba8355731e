//! The connections of a node: whose they are, and what is known of how they end.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use starling_sansio::Time;
use starling_swarm::ConnId;

use crate::{Ending, TorrentKey};

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// We dialled; no answer yet.
    Dialing,
    /// It came in; no handshake yet.
    Incoming,
    /// Both handshakes are done; the torrent's core knows it.
    Up,
    /// We asked for its end.
    Closing,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
pub struct Conn {
    /// Which torrent; `None` until an incoming handshake names it.
    pub torrent: Option<TorrentKey>,
    /// The far end.
    pub addr: SocketAddr,
    /// The address it listens at, which the book knows it by.
    pub listens: Option<SocketAddr>,
    /// Whether we dialled.
    pub outbound: bool,
    /// How far it has come.
    pub stage: Stage,
    /// Whether the torrent's core was told of it.
    pub told: bool,
    /// The peer's id, once the handshake told.
    pub peer_id: [u8; 20],
    /// When both handshakes were done.
    pub since: Time,
    /// What the book shall note at its end.
    pub ending: Ending,
}

/// All connections, with the counts that limits are checked against.
#[derive(Debug, Default)]
pub struct Conns {
    table: BTreeMap<ConnId, Conn>,
    per_host: BTreeMap<IpAddr, usize>,
    per_torrent: BTreeMap<(TorrentKey, IpAddr), usize>,
    dialing: usize,
    strangers: usize,
}

impl Conns {
    /// Connections of torrents.
    pub fn members(&self) -> usize {
        self.table.len() - self.strangers
    }

    /// Connections that have not named a torrent.
    pub fn strangers(&self) -> usize {
        self.strangers
    }

    /// Outgoing attempts under way.
    pub fn dialing(&self) -> usize {
        self.dialing
    }

    /// Connections with this host.
    pub fn with_ip(&self, ip: IpAddr) -> usize {
        self.per_host.get(&host(ip)).copied().unwrap_or(0)
    }

    /// Connections with this host for one torrent.
    pub fn with_ip_of(&self, key: TorrentKey, ip: IpAddr) -> usize {
        self.per_torrent.get(&(key, host(ip))).copied().unwrap_or(0)
    }

    /// An incoming connection's handshake named its torrent.
    pub fn assign(&mut self, conn: ConnId, key: TorrentKey) {
        let Some(entry) = self.table.get_mut(&conn).filter(|entry| entry.torrent.is_none()) else { return };
        entry.torrent = Some(key);
        self.strangers -= 1;
        *self.per_torrent.entry((key, host(entry.addr.ip()))).or_default() += 1;
    }

    pub fn get(&self, conn: ConnId) -> Option<&Conn> {
        self.table.get(&conn)
    }

    /// For every field but `stage`, which [`Conns::set_stage`] changes, and `torrent`
    /// ([`Conns::assign`]).
    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut Conn> {
        self.table.get_mut(&conn)
    }

    pub fn set_stage(&mut self, conn: ConnId, stage: Stage) {
        let Some(entry) = self.table.get_mut(&conn) else { return };
        if entry.stage == Stage::Dialing && stage != Stage::Dialing {
            self.dialing -= 1;
        }
        entry.stage = stage;
    }

    /// Counts a new connection. A number that is in use is the driver's mistake: false.
    pub fn insert(&mut self, id: ConnId, conn: Conn) -> bool {
        if self.table.contains_key(&id) {
            return false;
        }
        let host = host(conn.addr.ip());
        *self.per_host.entry(host).or_default() += 1;
        if let Some(key) = conn.torrent {
            *self.per_torrent.entry((key, host)).or_default() += 1;
        }
        self.dialing += usize::from(conn.stage == Stage::Dialing);
        self.strangers += usize::from(conn.torrent.is_none());
        self.table.insert(id, conn);
        true
    }

    pub fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let conn = self.table.remove(&id)?;
        self.dialing -= usize::from(conn.stage == Stage::Dialing);
        self.strangers -= usize::from(conn.torrent.is_none());
        let host = host(conn.addr.ip());
        count_down(&mut self.per_host, host);
        if let Some(key) = conn.torrent {
            count_down(&mut self.per_torrent, (key, host));
        }
        Some(conn)
    }

    /// The connections of one torrent, oldest first.
    pub fn of(&self, key: TorrentKey) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.table.iter().filter(move |(_, c)| c.torrent == Some(key)).map(|(id, c)| (*id, c))
    }

    /// Every connection, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.table.iter().map(|(id, c)| (*id, c))
    }
}

fn count_down<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// Who is counted as one: an IPv4 address, or the /64 that a host on the IPv6 internet
/// has to itself. On a local network many share a prefix.
fn host(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if v6.segments()[0] & 0xe000 == 0x2000 => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        ip => ip,
    }
}
