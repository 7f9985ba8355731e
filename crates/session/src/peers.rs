//! Connection policy: whom to dial, whom to let in, which of two connections to keep.

use std::net::{IpAddr, SocketAddr};

use starling_metainfo::Sha1Hash;
use starling_sansio::{Sink, Time};
use starling_swarm::{Blame, Closing, ConnId, Handshake, Hello, Input as Swarm, Reserved};

use crate::conns::{Conn, Stage};
use crate::entry::Entry;
use crate::{Ending, Output, Session, Source, TorrentKey};

/// Addresses taken from one message or answer; the rest are ignored.
const FOUND_MAX: usize = 500;

impl Session {
    /// Notes addresses that somebody told of, and dials them if there is room.
    pub(crate) fn peers_found(
        &mut self,
        now: Time,
        key: TorrentKey,
        addrs: &[SocketAddr],
        source: Source,
        out: &mut impl Sink<Output>,
    ) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        if entry.is_private() && matches!(source, Source::Pex | Source::Lan) {
            return;
        }
        let mut news = false;
        for addr in addrs.iter().take(FOUND_MAX).map(canonical) {
            if is_dialable(addr) && !self.bans.contains(addr.ip(), now) {
                let rank = self.rng.next_u32();
                news |= entry.book.add(addr, source, rank);
            }
        }
        if news {
            self.dial_more(now, key, out);
            self.retime(key);
        }
    }

    /// Dials as many of the torrent's addresses as are due and fit the limits.
    pub(crate) fn dial_more(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        let limits = self.config.limits;
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        entry.dial_due = Time::NEVER;
        while entry.takes_part() && entry.conns < limits.connections_per_torrent {
            let Some(addr) = entry.book.candidate(now) else { break };
            if self.conns.dialing() >= limits.half_open || self.conns.len() >= limits.connections {
                self.starved.insert(key);
                return;
            }
            if self.bans.contains(addr.ip(), now) {
                entry.book.end(addr, Ending::Never, now);
                continue;
            }
            entry.book.begin(addr);
            entry.conns += 1;
            self.next_conn = self.next_conn.wrapping_add(1);
            let conn = ConnId(self.next_conn);
            self.conns.insert(conn, new_conn(Some(key), addr, true));
            out.put(Output::Dial { conn, addr, handshake: entry.handshake() });
        }
        if entry.takes_part() && entry.conns < limits.connections_per_torrent {
            entry.dial_due = entry.book.next_due().unwrap_or(Time::NEVER);
        }
    }

    pub(crate) fn accepted(
        &mut self,
        now: Time,
        conn: ConnId,
        addr: SocketAddr,
        out: &mut impl Sink<Output>,
    ) {
        let addr = canonical(&addr);
        let limits = &self.config.limits;
        let why = if self.bans.contains(addr.ip(), now) {
            Some("the address is banned")
        } else if self.conns.len() >= limits.connections {
            Some("too many connections")
        } else if !addr.ip().is_loopback() && self.conns.with_ip(addr.ip()) >= limits.connections_per_ip {
            Some("too many connections from one address")
        } else {
            None
        };
        self.conns.insert(conn, new_conn(None, addr, false));
        if let Some(why) = why {
            self.close(conn, Closing { blame: Blame::Nobody, why }, out);
        }
    }

    /// The handshake of the other side, on a connection of either direction.
    pub(crate) fn handshake(
        &mut self,
        now: Time,
        conn: ConnId,
        theirs: &Handshake,
        out: &mut impl Sink<Output>,
    ) {
        let Some(&Conn { torrent, addr, outbound, stage, .. }) = self.conns.get(conn) else { return };
        if !matches!(stage, Stage::Dialing | Stage::Incoming) {
            return;
        }
        let key = match self.match_handshake(torrent, theirs) {
            Ok(key) => key,
            Err((ending, why)) => {
                if let Some(entry) = self.conns.get_mut(conn) {
                    entry.ending = ending;
                }
                return self.close(conn, Closing { blame: Blame::Nobody, why }, out);
            }
        };
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        if !outbound {
            entry.conns += 1;
            let ours = Handshake { info_hash: theirs.info_hash, ..entry.handshake() };
            out.put(Output::Reply { conn, handshake: ours });
        } else {
            entry.book.succeeded(addr);
        }
        let v2 = speaks_v2(entry, theirs);
        self.conns.set_stage(conn, Stage::Up);
        if let Some(c) = self.conns.get_mut(conn) {
            (c.torrent, c.peer_id, c.told, c.ending) = (Some(key), theirs.peer_id, true, Ending::Broke);
        }
        if self.is_duplicate(key, conn, out) {
            return self.retime(key);
        }
        let hello = Hello { addr, peer_id: theirs.peer_id, reserved: theirs.reserved, outbound, v2 };
        self.drive(now, key, Swarm::Connected { conn, hello }, out);
        self.feed_starved(now, out);
    }

    /// Which torrent the handshake is for, if it may be for one.
    fn match_handshake(
        &self,
        dialed: Option<TorrentKey>,
        theirs: &Handshake,
    ) -> Result<TorrentKey, (Ending, &'static str)> {
        let named = self.by_wire.get(&theirs.info_hash).copied();
        let key = match (dialed, named) {
            (Some(key), Some(other)) if key != other => return Err((Ending::Misbehaved, "another torrent")),
            (_, None) => return Err((Ending::Misbehaved, "no such torrent here")),
            (_, Some(key)) => key,
        };
        let Some(entry) = self.torrents.get(&key) else { return Err((Ending::NoUse, "no such torrent here")) };
        if theirs.peer_id == entry.peer_id {
            return Err((Ending::Never, "connected to ourselves"));
        }
        if !entry.takes_part() {
            return Err((Ending::Broke, "the torrent is not ready"));
        }
        if dialed.is_none() && entry.conns >= self.config.limits.connections_per_torrent {
            return Err((Ending::NoUse, "too many connections for the torrent"));
        }
        Ok(key)
    }

    /// Two connections to one peer: both sides keep the one that the larger peer id opened,
    /// or the older if one side opened both. Returns whether `conn` is the one to go.
    fn is_duplicate(&mut self, key: TorrentKey, conn: ConnId, out: &mut impl Sink<Output>) -> bool {
        let Some(&new) = self.conns.get(conn) else { return true };
        let ours = self.torrents.get(&key).map(|entry| entry.peer_id).unwrap_or_default();
        let twin = self
            .conns
            .of(key)
            .find(|(id, c)| *id != conn && c.stage == Stage::Up && c.peer_id == new.peer_id)
            .map(|(id, c)| (id, *c));
        let Some((old_id, old)) = twin else { return false };
        let keep_outbound = ours > new.peer_id;
        let keep_new = new.outbound != old.outbound && new.outbound == keep_outbound;
        let loser = if keep_new { old_id } else { conn };
        if loser == conn && let Some(c) = self.conns.get_mut(conn) {
            c.told = false;
        }
        if let Some(c) = self.conns.get_mut(loser) {
            c.ending = Ending::NoUse;
        }
        self.close(loser, Closing { blame: Blame::Nobody, why: "connected twice" }, out);
        loser == conn
    }

    /// Asks the driver to close, noting what the book shall make of it.
    pub(crate) fn close(&mut self, conn: ConnId, why: Closing, out: &mut impl Sink<Output>) {
        let Some(c) = self.conns.get_mut(conn) else { return };
        if c.stage == Stage::Closing {
            return;
        }
        if c.stage == Stage::Up && c.ending == Ending::Broke {
            c.ending = match why.blame {
                Blame::Nobody => Ending::NoUse,
                Blame::Peer => Ending::Misbehaved,
                Blame::Liar => Ending::Never,
            };
        }
        self.conns.set_stage(conn, Stage::Closing);
        out.put(Output::Close { conn, why });
    }

    pub(crate) fn close_all(&mut self, key: TorrentKey, why: &'static str, out: &mut impl Sink<Output>) {
        let ids: Vec<ConnId> = self.conns.of(key).map(|(id, _)| id).collect();
        for conn in ids {
            self.close(conn, Closing { blame: Blame::Nobody, why }, out);
        }
    }

    /// A connection, or the attempt at one, is over.
    pub(crate) fn closed(&mut self, now: Time, conn: ConnId, out: &mut impl Sink<Output>) {
        let Some(old) = self.conns.remove(conn) else { return };
        if let Some(key) = old.torrent {
            if old.told {
                self.drive(now, key, Swarm::Disconnected { conn }, out);
            }
            if let Some(entry) = self.torrents.get_mut(&key) {
                entry.conns = entry.conns.saturating_sub(1);
                if let Some(addr) = old.listens {
                    entry.book.end(addr, old.ending, now);
                }
            }
            self.dial_more(now, key, out);
            self.retime(key);
            self.finish_leaving(key, out);
        }
        self.feed_starved(now, out);
    }

    /// A connected peer told where it listens: the book must not dial it again.
    pub(crate) fn listening(&mut self, key: TorrentKey, conn: ConnId, addr: SocketAddr) {
        let rank = self.rng.next_u32();
        let (Some(c), Some(entry)) = (self.conns.get_mut(conn), self.torrents.get_mut(&key)) else { return };
        let addr = SocketAddr::new(c.addr.ip(), addr.port());
        if c.listens.is_none() && is_dialable(addr) {
            c.listens = Some(addr);
            entry.book.add(addr, Source::Incoming, rank);
            entry.book.begin(addr);
        }
    }

    /// Gives torrents that waited for a free attempt their turn.
    fn feed_starved(&mut self, now: Time, out: &mut impl Sink<Output>) {
        while self.conns.dialing() < self.config.limits.half_open
            && self.conns.len() < self.config.limits.connections
        {
            let Some(key) = self.starved.pop_first() else { break };
            self.dial_more(now, key, out);
            self.retime(key);
            if self.starved.contains(&key) {
                break;
            }
        }
    }
}

fn new_conn(torrent: Option<TorrentKey>, addr: SocketAddr, outbound: bool) -> Conn {
    Conn {
        torrent,
        addr,
        listens: outbound.then_some(addr),
        outbound,
        stage: if outbound { Stage::Dialing } else { Stage::Incoming },
        told: false,
        peer_id: [0; 20],
        ending: if outbound { Ending::Unreachable } else { Ending::Broke },
    }
}

/// BEP 52: the connection is v2 when named by the v2 hash, or when both sides can upgrade.
fn speaks_v2(entry: &Entry, theirs: &Handshake) -> bool {
    let by_v2_name = |hash: Sha1Hash| entry.hashes.v2().is_some_and(|v2| v2.truncated() == hash);
    entry.hashes.v2().is_some()
        && (by_v2_name(theirs.info_hash) || (theirs.reserved.v2() && Reserved::OURS.v2()))
}

/// IPv4 addresses that came in through an IPv6 socket, as IPv4.
fn canonical(addr: &SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

fn is_dialable(addr: SocketAddr) -> bool {
    let ip_ok = match addr.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    ip_ok && addr.port() != 0
}
