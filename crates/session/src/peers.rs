//! Whom to dial and when, and what becomes of connections that end.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use starling_metainfo::Sha1Hash;
use starling_sansio::{Sink, Time};
use starling_swarm::{Blame, Closing, ConnId, Input as Swarm, priority::peer_priority};

use crate::conns::{Conn, Stage};
use crate::{Ending, Output, Session, Source, TorrentKey};

/// Addresses taken from one message or answer; the rest are ignored.
const FOUND_MAX: usize = 500;
/// A connection that lasted so long was a good one.
const LASTING: Duration = Duration::from_secs(60);
/// Until another try with a host that has as many connections as it may.
const CROWDED: Duration = Duration::from_secs(60);

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
        if self.note_peers(now, key, addrs, source) {
            self.dial_more(now, key, out);
            self.retime(key);
        }
    }

    /// Somebody on the LAN asks for a torrent by this name. A link may know but one of a
    /// hybrid's, and whoever has only that refuses the other.
    pub(crate) fn lan_found(
        &mut self,
        now: Time,
        key: TorrentKey,
        addr: SocketAddr,
        name: Sha1Hash,
        out: &mut impl Sink<Output>,
    ) {
        let news = self.note_peers(now, key, &[addr], Source::Lan);
        if let Some(entry) = self.torrents.get_mut(&key) {
            entry.book.note_name(canonical(&addr), name != entry.hashes.wire());
        }
        if news {
            self.dial_more(now, key, out);
            self.retime(key);
        }
    }

    /// Notes addresses; whether any can be dialled that could not before.
    fn note_peers(&mut self, now: Time, key: TorrentKey, addrs: &[SocketAddr], source: Source) -> bool {
        let mut news = false;
        for addr in addrs.iter().take(FOUND_MAX).map(canonical) {
            let rank = self.rank(addr);
            let Some(entry) = self.torrents.get_mut(&key) else { return false };
            if entry.is_over() || (entry.is_private() && source.is_gossip()) {
                return false;
            }
            if is_dialable(addr) && !self.bans.contains(addr.ip(), now) {
                news |= entry.book.add(addr, source, rank);
            }
        }
        news
    }

    /// BEP 40 where our own address is known, else chance. Lower first.
    fn rank(&mut self, addr: SocketAddr) -> u32 {
        let chance = self.rng.next_u32();
        let ours = self.external[usize::from(addr.is_ipv6())];
        let rank = ours.and_then(|ip| peer_priority(SocketAddr::new(ip, self.config.listen_port), addr));
        rank.map_or(chance, |priority| u32::MAX - priority)
    }

    /// Dials what is due of a torrent, after those that wait already.
    pub(crate) fn dial_more(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        entry.dial_due = Time::NEVER;
        if entry.takes_part() && !entry.waiting {
            entry.waiting = true;
            self.waiting.push_back(key);
        }
        self.dial_waiting(now, out);
    }

    /// One attempt for each torrent that waits, round and round, while the limits allow.
    pub(crate) fn dial_waiting(&mut self, now: Time, out: &mut impl Sink<Output>) {
        let (half_open, all) = (self.config.limits.half_open, self.config.limits.connections);
        while self.conns.dialing() < half_open && self.conns.members() < all {
            let Some(key) = self.waiting.pop_front() else { return };
            if self.dial_one(now, key, out) {
                self.waiting.push_back(key);
            } else if let Some(entry) = self.torrents.get_mut(&key) {
                entry.waiting = false;
                self.retime(key);
            }
        }
    }

    /// Dials one address of a torrent; if there is none, notes when there will be.
    fn dial_one(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) -> bool {
        let limits = self.config.limits;
        let Some(entry) = self.torrents.get_mut(&key) else { return false };
        if !entry.takes_part() || entry.conns >= limits.connections_per_torrent {
            return false;
        }
        while let Some(addr) = entry.book.candidate(now) {
            let ip = addr.ip();
            if self.bans.contains(ip, now) {
                entry.book.end(addr, Ending::Never, now);
            } else if self.conns.with_ip(ip) >= limits.connections_per_ip
                || self.conns.with_ip_of(key, ip) >= limits.connections_per_ip_and_torrent
            {
                entry.book.put_off(addr, now + CROWDED);
            } else {
                entry.book.begin(addr);
                entry.conns += 1;
                let handshake = entry.handshake_to(addr);
                let conn = self.new_conn();
                self.conns.insert(conn, new_conn(Some(key), addr, true));
                out.put(Output::Dial { conn, addr, handshake });
                return true;
            }
        }
        entry.dial_due = entry.book.next_due().unwrap_or(Time::NEVER);
        false
    }

    /// Does what a torrent's core wants: asks the driver to close a connection.
    pub(crate) fn close(&mut self, conn: ConnId, why: Closing, out: &mut impl Sink<Output>) {
        let Some(c) = self.conns.get_mut(conn).filter(|c| c.stage != Stage::Closing) else { return };
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

    /// Closes a connection for the session's own reasons; its torrent's core lets go of it at once.
    pub(crate) fn part(
        &mut self,
        now: Time,
        conn: ConnId,
        (ending, blame, why): (Ending, Blame, &'static str),
        out: &mut impl Sink<Output>,
    ) {
        let Some(c) = self.conns.get_mut(conn).filter(|c| c.stage != Stage::Closing) else { return };
        c.ending = ending;
        let told = std::mem::take(&mut c.told);
        let torrent = c.torrent;
        self.close(conn, Closing { blame, why }, out);
        if let Some(key) = torrent.filter(|_| told) {
            self.drive(now, key, Swarm::Disconnected { conn }, out);
        }
    }

    pub(crate) fn close_all(
        &mut self,
        now: Time,
        key: TorrentKey,
        why: &'static str,
        out: &mut impl Sink<Output>,
    ) {
        let ids: Vec<ConnId> = self.conns.of(key).map(|(id, _)| id).collect();
        for conn in ids {
            self.part(now, conn, (Ending::NoUse, Blame::Nobody, why), out);
        }
    }

    /// A liar: all its connections go, whatever torrent they are for.
    pub(crate) fn ban(&mut self, now: Time, ip: IpAddr, why: &'static str, out: &mut impl Sink<Output>) {
        let ip = ip.to_canonical();
        self.bans.add(ip, now);
        let his: Vec<ConnId> =
            self.conns.iter().filter(|(_, c)| c.addr.ip() == ip).map(|(id, _)| id).collect();
        for conn in his {
            self.part(now, conn, (Ending::Never, Blame::Liar, why), out);
        }
    }

    /// BEP 27: the torrent turned out private, so whom gossip told of is let go.
    pub(crate) fn drop_gossip(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        let book = &entry.book;
        let gossip = |c: &Conn| c.listens.and_then(|addr| book.source(addr)).is_some_and(Source::is_gossip);
        let ids: Vec<ConnId> = self.conns.of(key).filter(|(_, c)| gossip(c)).map(|(id, _)| id).collect();
        entry.book.forget_gossip();
        for conn in ids {
            self.part(now, conn, (Ending::Never, Blame::Nobody, "the torrent is private"), out);
        }
    }

    /// A connection, or the attempt at one, is over.
    pub(crate) fn closed(&mut self, now: Time, conn: ConnId, out: &mut impl Sink<Output>) {
        let Some(old) = self.conns.remove(conn) else { return };
        if let Some(key) = old.torrent {
            let ending = self.ending(key, conn, &old);
            if old.told {
                self.drive(now, key, Swarm::Disconnected { conn }, out);
            }
            let Some(entry) = self.torrents.get_mut(&key) else { return self.dial_waiting(now, out) };
            entry.conns = entry.conns.saturating_sub(1);
            if let Some(addr) = old.listens {
                if old.told && now.since(old.since) >= LASTING {
                    entry.book.succeeded(addr);
                }
                entry.book.end(addr, ending, now);
            }
            let alone = entry.conns == 0 && entry.seeks();
            self.dial_more(now, key, out);
            if alone {
                self.need_peers(now, key, out);
            }
            self.retime(key);
            self.finish_leaving(key, out);
        }
        self.dial_waiting(now, out);
    }

    /// Whether the piece that was just lost is all that is missing.
    pub(crate) fn was_complete(&self, key: TorrentKey) -> bool {
        self.torrents.get(&key).is_some_and(|entry| {
            let layout = entry.torrent.as_ref().map(|torrent| &torrent.info.layout);
            layout.is_some_and(|layout| entry.core.stats().bytes_left <= layout.piece_length().into())
        })
    }

    /// A torrent that was complete is not any more: other seeds, of no use until now, are.
    pub(crate) fn seek_again(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        entry.book.of_use_again(now);
        self.dial_more(now, key, out);
        self.need_peers(now, key, out);
        self.retime(key);
    }

    /// If the other side of two seeds was the one to close, that is no reason to come back soon.
    fn ending(&self, key: TorrentKey, conn: ConnId, old: &Conn) -> Ending {
        let core = self.torrents.get(&key).map(|entry| &entry.core).filter(|core| core.is_finished());
        let both_seeds = old.told
            && old.ending == Ending::Broke
            && core.is_some_and(|core| {
                core.peers().iter().any(|peer| peer.conn == conn && peer.pieces == core.stats().pieces)
            });
        if both_seeds { Ending::NoUse } else { old.ending }
    }
}

pub(crate) fn new_conn(torrent: Option<TorrentKey>, addr: SocketAddr, outbound: bool) -> Conn {
    Conn {
        torrent,
        addr,
        listens: outbound.then_some(addr),
        outbound,
        stage: if outbound { Stage::Dialing } else { Stage::Incoming },
        told: false,
        peer_id: [0; 20],
        since: Time::ZERO,
        ending: if outbound { Ending::Unreachable } else { Ending::Broke },
    }
}

/// IPv4 addresses that came in through an IPv6 socket, as IPv4. Others as they are: a
/// link-local address is nothing without its scope.
pub(crate) fn canonical(addr: &SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, addr.port())),
        IpAddr::V6(_) => *addr,
    }
}

pub(crate) fn is_dialable(addr: SocketAddr) -> bool {
    let ip_ok = match addr.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    ip_ok && addr.port() != 0
}
