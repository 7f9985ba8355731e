//! A host of the swarm: a session, its disk, its access link, and what became of it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use starling_sansio::Time;
use starling_session::{AddSpec, Config, Session, TorrentKey};
use starling_swarm::ConnId;
use starling_tracker::Family;

use super::content::Content;
use super::disk::Disk;
use super::{Access, Class, Setting};

/// The port that all listen at.
const PORT: u16 = 6881;
/// The only torrent.
pub(super) const KEY: TorrentKey = TorrentKey(1);

/// The sending side of a host's access link. Streams that have something small to say
/// come first, the others take turns: what fair queueing at a home router does.
#[derive(Debug, Default)]
pub struct Uplink {
    /// When all that was sent has left.
    pub free: Time,
    /// An event is pending for that moment.
    pub waits: bool,
    /// Ends of connections that may send and are not bulky, next first.
    pub brief: VecDeque<usize>,
    /// Those with a block next.
    pub bulk: VecDeque<usize>,
}

/// Connections of a host by the session's number, in ascending order, since numbers are
/// given in that order: the end that is the host's own.
#[derive(Debug, Default)]
pub struct Conns(Vec<(ConnId, usize)>);

impl Conns {
    fn at(&self, conn: ConnId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&conn, |one| one.0)
    }

    /// The end of that connection.
    pub fn get(&self, conn: ConnId) -> Option<usize> {
        self.at(conn).ok().map(|at| self.0[at].1)
    }

    /// A connection begins.
    pub fn insert(&mut self, conn: ConnId, end: usize) {
        match self.at(conn) {
            Ok(at) => self.0[at].1 = end,
            Err(at) => self.0.insert(at, (conn, end)),
        }
    }

    /// A connection is over.
    pub fn remove(&mut self, conn: ConnId) -> Option<usize> {
        self.at(conn).ok().map(|at| self.0.remove(at).1)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Host {
    /// What it is in the swarm.
    pub class: Class,
    /// Its link.
    pub access: Access,
    /// The core.
    pub session: Session,
    /// What it wrote, and what it had.
    pub disk: Disk,
    /// Its connections, by the session's number: the end that is its own.
    pub conns: Conns,
    /// The sending side of its link.
    pub uplink: Uplink,
    /// When all that is on the receiving side has been received.
    pub down_free: Time,
    /// Bytes of the block whose message is being handled.
    pub incoming: Option<Bytes>,
    /// The pending wake.
    pub wake: Option<Time>,
    /// When it came; [`Time::NEVER`] before.
    pub arrived: Time,
    /// When it had everything.
    pub finished: Option<Time>,
    /// How many others have banned it.
    pub bans: u32,
}

impl Host {
    /// A host that has not come yet.
    pub fn new(setting: &Setting, class: Class, access: Access, content: &Arc<Content>, seed: u64) -> Host {
        let full = matches!(class, Class::Origin | Class::Poisoner);
        Host {
            class,
            access,
            session: Session::new(config(setting, class), seed),
            disk: Disk::new(content.clone(), setting.disk, full),
            conns: Conns::default(),
            uplink: Uplink::default(),
            down_free: Time::ZERO,
            incoming: None,
            wake: None,
            arrived: Time::NEVER,
            finished: None,
            bans: 0,
        }
    }

    /// Whether it has come.
    pub fn is_up(&self) -> bool {
        self.arrived != Time::NEVER
    }

    /// What its user asks of it.
    pub fn wish(&self, setting: &Setting, content: &Content) -> AddSpec {
        let torrent = content.torrent();
        AddSpec {
            torrent: Some(torrent.clone()),
            super_seeding: setting.super_seeding && self.class == Class::Origin,
            ..AddSpec::new(torrent.info.hashes)
        }
    }
}

/// A free-rider is a node with no slots to give and nothing for those it chokes.
fn config(setting: &Setting, class: Class) -> Config {
    let mut config =
        Config { listen_port: PORT, lan: false, families: vec![Family::V4], ..Config::default() };
    config.swarm.choker = setting.choker;
    if let Some(connections) = setting.connections {
        config.limits.connections_per_torrent = connections;
    }
    if class == Class::FreeRider {
        config.swarm.slots = Some(0);
        config.swarm.limits.allowed_fast = 0;
    }
    config
}

/// Where host number `host` listens.
pub fn addr_of(host: usize) -> SocketAddr {
    let [_, a, b, c] = (host as u32 + 1).to_be_bytes();
    SocketAddr::new(IpAddr::from([10, a, b, c]), PORT)
}

/// Which host has this address.
pub fn host_of(ip: IpAddr) -> Option<usize> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [_, a, b, c] = ip.octets();
            (u32::from_be_bytes([0, a, b, c]) as usize).checked_sub(1)
        }
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_by_its_address() {
        for host in [0, 254, 255, 70_000] {
            assert_eq!(host_of(addr_of(host).ip()), Some(host));
        }
    }
}
