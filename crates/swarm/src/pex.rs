//! Peer exchange (BEP 11): whom to tell each peer of, and whom to believe.
//!
//! For each peer that wants it [`Pex`] remembers what it was told and sends the
//! difference at most once a minute, so that whoever was added is dropped again.
//! Addresses of a local network are told only within it.
//!
//! What peers tell is hearsay: it is taken at most every 45 s, without addresses
//! that cannot be right, at most one of each public IP, and loopback and local ones
//! only from peers that are there themselves, so that nobody is sent to knock at
//! doors that the teller cannot reach.
//!
//! Not here: peers recently seen (an option of BEP 11). A private torrent has no
//! `Pex` at all (BEP 27).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use starling_sansio::Time;

use crate::ConnId;
use crate::extension::{PexFlags, PexMessage, PexPeer};

#[cfg(test)]
mod tests;

/// Bounds on peer exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PexLimits {
    /// Time between two messages to a peer (BEP 11: a minute).
    pub send_every: Duration,
    /// Time before the first message to a peer, to have something to tell.
    pub send_first: Duration,
    /// Messages of a peer that come sooner after one that was taken are ignored.
    pub receive_every: Duration,
    /// Peers added, and peers dropped, in one message (BEP 11: 50).
    pub message_max: usize,
    /// Peers one peer is told of at a time.
    pub told_max: usize,
    /// Connections kept track of.
    pub peers_max: usize,
}

impl Default for PexLimits {
    fn default() -> Self {
        PexLimits {
            send_every: Duration::from_secs(60),
            send_first: Duration::from_secs(5),
            receive_every: Duration::from_secs(45),
            message_max: 50,
            told_max: 200,
            peers_max: 1024,
        }
    }
}

/// Peer exchange of one torrent.
#[derive(Clone, Debug)]
pub struct Pex {
    limits: PexLimits,
    peers: BTreeMap<ConnId, PexConn>,
}

#[derive(Clone, Debug)]
struct PexConn {
    remote: SocketAddr,
    /// Where it listens, once known, and what it is like.
    listens: Option<(SocketAddr, PexFlags)>,
    /// When to tell it more; `None` if it does not want to know.
    next: Option<Time>,
    told: BTreeSet<SocketAddr>,
    heard: Option<Time>,
}

impl Pex {
    /// With nobody connected.
    pub fn new(limits: PexLimits) -> Pex {
        Pex { limits, peers: BTreeMap::new() }
    }

    /// A connection to `remote` is up. Beyond the bound it takes no part.
    pub fn on_connected(&mut self, conn: ConnId, remote: SocketAddr) {
        if self.peers.len() < self.limits.peers_max {
            let remote = canonical(remote);
            let (told, heard) = (BTreeSet::new(), None);
            let fresh = PexConn { remote, listens: None, next: None, told, heard };
            self.peers.entry(conn).or_insert(fresh);
        }
    }

    /// The peer listens at `addr` and is like `flags`: others may be told. To be called
    /// when we connected to it or it told its port, and again when the flags change.
    pub fn set_listening(&mut self, conn: ConnId, addr: SocketAddr, flags: PexFlags) {
        let addr = canonical(addr);
        if let Some(peer) = self.peers.get_mut(&conn).filter(|_| is_sane(addr)) {
            peer.listens = Some((addr, flags));
        }
    }

    /// The peer's extension handshake offers `ut_pex`, or no longer.
    pub fn set_wanted(&mut self, now: Time, conn: ConnId, wanted: bool) {
        let first = now + self.limits.send_first;
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        match (wanted, peer.next) {
            (true, None) => peer.next = Some(first),
            (true, Some(_)) => {}
            // What is due stays due: off and on again does not make it sooner.
            (false, _) => peer.next = peer.next.map(|_| Time::NEVER),
        }
        if wanted && peer.next == Some(Time::NEVER) {
            peer.next = Some(now + self.limits.send_every);
        }
    }

    /// The connection is gone; those who were told of the peer will be told that.
    pub fn on_disconnect(&mut self, conn: ConnId) {
        self.peers.remove(&conn);
    }

    /// The messages that are due. Peers for whom there is no news get none.
    pub fn poll(&mut self, now: Time) -> Vec<(ConnId, PexMessage)> {
        let due = |peer: &PexConn| peer.next.is_some_and(|next| next <= now);
        if !self.peers.values().any(due) {
            return Vec::new();
        }
        let live: BTreeMap<SocketAddr, PexFlags> =
            self.peers.values().filter_map(|peer| peer.listens).collect();
        let mut messages = Vec::new();
        for (&conn, peer) in self.peers.iter_mut().filter(|(_, peer)| due(peer)) {
            peer.next = Some(now + self.limits.send_every);
            let message = peer.news(&live, &self.limits);
            if !message.is_empty() {
                messages.push((conn, message));
            }
        }
        messages
    }

    /// When [`Pex::poll`] next has something to do.
    pub fn next_timeout(&self) -> Option<Time> {
        self.peers.values().filter_map(|peer| peer.next).filter(|&next| next < Time::NEVER).min()
    }

    /// A peer's message: the addresses worth a try. Empty if it comes too soon.
    pub fn on_message(&mut self, now: Time, conn: ConnId, message: &PexMessage) -> Vec<SocketAddr> {
        let Some(peer) = self.peers.get_mut(&conn) else { return Vec::new() };
        if peer.heard.is_some_and(|heard| now.since(heard) < self.limits.receive_every) {
            return Vec::new();
        }
        peer.heard = Some(now);
        let teller = peer.remote.ip();
        let mut ips = BTreeSet::new();
        let worth = |addr: &SocketAddr| {
            // Behind one public IP there is one peer, else a liar could aim many at one victim.
            let fresh = scope(addr.ip()) < Scope::Public || ips.insert(addr.ip());
            fresh && is_sane(*addr) && scope(addr.ip()) >= scope(teller)
        };
        message.added.iter().map(|peer| canonical(peer.addr)).filter(worth).collect()
    }
}

impl PexConn {
    /// What has changed since the last message, within the bounds; remembers it as told.
    fn news(&mut self, live: &BTreeMap<SocketAddr, PexFlags>, limits: &PexLimits) -> PexMessage {
        let gone = self.told.iter().filter(|addr| !live.contains_key(*addr)).copied();
        let dropped: Vec<SocketAddr> = gone.take(limits.message_max).collect();
        dropped.iter().for_each(|addr| {
            self.told.remove(addr);
        });
        let own = self.listens.map_or(self.remote, |listens| listens.0);
        let near = scope(self.remote.ip());
        let room = limits.told_max.saturating_sub(self.told.len()).min(limits.message_max);
        let added: Vec<PexPeer> = live
            .iter()
            .filter(|(addr, _)| **addr != own && scope(addr.ip()) >= near && !self.told.contains(*addr))
            .take(room)
            .map(|(&addr, &flags)| PexPeer { addr, flags })
            .collect();
        self.told.extend(added.iter().map(|peer| peer.addr));
        PexMessage { added, dropped }
    }
}

/// From where an address can be reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Scope {
    Host,
    Network,
    Public,
}

fn scope(ip: IpAddr) -> Scope {
    match ip {
        _ if ip.is_loopback() => Scope::Host,
        IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() => Scope::Network,
        IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Scope::Network,
        _ => Scope::Public,
    }
}

/// Whether somebody may listen at `addr`.
fn is_sane(addr: SocketAddr) -> bool {
    let ip = addr.ip();
    let odd = match ip {
        IpAddr::V4(ip) => ip.is_broadcast() || ip.octets()[0] == 0 || ip.octets()[0] >= 240,
        IpAddr::V6(_) => false,
    };
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !odd
}

/// An IPv4-mapped address as the IPv4 one; without what only means something here.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
