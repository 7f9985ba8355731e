//! Whom to let in: accepted connections, handshakes, which of two connections to keep.

use std::net::{IpAddr, SocketAddr};

use starling_sansio::{Sink, Time};
use starling_swarm::{Blame, ConnId, Handshake, Hello, Input as Swarm};

use crate::conns::{Conn, Stage};
use crate::peers::{canonical, is_dialable, new_conn};
use crate::{Ending, Output, Session, Source, TorrentKey};

impl Session {
    pub(crate) fn accepted(
        &mut self,
        now: Time,
        conn: ConnId,
        addr: SocketAddr,
        out: &mut impl Sink<Output>,
    ) {
        let addr = canonical(&addr);
        let limits = &self.config.limits;
        let why = if self.stopping {
            Some("the node is stopping")
        } else if self.bans.contains(addr.ip(), now) {
            Some("the address is banned")
        } else if self.conns.strangers() >= limits.strangers {
            Some("too many connections")
        } else if self.conns.with_ip(addr.ip()) >= limits.connections_per_ip {
            Some("too many connections from one address")
        } else {
            None
        };
        let is_new = self.conns.insert(conn, new_conn(None, addr, false));
        if let Some(why) = why.filter(|_| is_new) {
            self.part(now, conn, (Ending::NoUse, Blame::Nobody, why), out);
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
        let matched = self.match_handshake(torrent, addr.ip(), theirs);
        let key = match matched.and_then(|key| self.place(now, key, outbound, out)) {
            Ok(key) => key,
            Err((ending, why)) => {
                self.tell_ourselves(conn, ending, theirs, out);
                self.part(now, conn, (ending, Blame::Nobody, why), out);
                return self.dial_waiting(now, out);
            }
        };
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        let (ours, mut v2) = entry.answer(theirs);
        if outbound {
            v2 = entry.hashes.v2().is_some_and(|v2| v2.truncated() == theirs.info_hash);
        } else {
            entry.conns += 1;
            out.put(Output::Reply { conn, handshake: ours });
        }
        self.conns.set_stage(conn, Stage::Up);
        self.conns.assign(conn, key);
        if let Some(c) = self.conns.get_mut(conn) {
            (c.peer_id, c.since, c.ending) = (theirs.peer_id, now, Ending::Broke);
        }
        if !self.is_duplicate(now, key, conn, out) {
            if let Some(c) = self.conns.get_mut(conn) {
                c.told = true;
            }
            let hello = Hello { addr, peer_id: theirs.peer_id, reserved: theirs.reserved, outbound, v2 };
            self.drive(now, key, Swarm::Connected { conn, hello }, out);
        }
        self.retime(key);
        self.dial_waiting(now, out);
    }

    /// Which torrent the handshake is for, if it may be for one.
    fn match_handshake(
        &self,
        dialed: Option<TorrentKey>,
        from: IpAddr,
        theirs: &Handshake,
    ) -> Result<TorrentKey, (Ending, &'static str)> {
        let named = self.by_wire.get(&theirs.info_hash).copied();
        let key = match (dialed, named) {
            (Some(key), Some(other)) if key != other => return Err((Ending::Misbehaved, "another torrent")),
            (_, None) => return Err((Ending::Misbehaved, "no such torrent here")),
            (_, Some(key)) => key,
        };
        let Some(entry) = self.torrents.get(&key) else {
            return Err((Ending::NoUse, "no such torrent here"));
        };
        if theirs.peer_id == entry.peer_id {
            return Err((Ending::Never, "connected to ourselves"));
        }
        if !entry.takes_part() {
            return Err((Ending::Broke, "the torrent is not ready"));
        }
        let of_one = self.config.limits.connections_per_ip_and_torrent;
        if dialed.is_none() && self.conns.with_ip_of(key, from) >= of_one {
            return Err((Ending::NoUse, "too many connections from one address for the torrent"));
        }
        Ok(key)
    }

    /// When we dialled ourselves, the end that dialled knows the address, and must see
    /// from our answer that it is ours: else it would dial it again and again.
    fn tell_ourselves(
        &mut self,
        conn: ConnId,
        ending: Ending,
        theirs: &Handshake,
        out: &mut impl Sink<Output>,
    ) {
        let accepted = self.conns.get(conn).is_some_and(|c| !c.outbound);
        let key = self.by_wire.get(&theirs.info_hash);
        if let Some(entry) = key.and_then(|key| self.torrents.get(key))
            && accepted
            && ending == Ending::Never
        {
            out.put(Output::Reply { conn, handshake: entry.answer(theirs).0 });
        }
    }

    /// Two connections to one peer: both sides keep the one that the larger peer id opened.
    /// If one side opened both, it keeps the older and the other leaves that to it: seen
    /// from there the order may differ, or the older be dead. Returns whether `conn` goes.
    fn is_duplicate(
        &mut self,
        now: Time,
        key: TorrentKey,
        conn: ConnId,
        out: &mut impl Sink<Output>,
    ) -> bool {
        let Some(&new) = self.conns.get(conn) else { return true };
        let ours = self.torrents.get(&key).map(|entry| entry.peer_id).unwrap_or_default();
        let is_twin = |id: ConnId, c: &Conn| {
            id != conn && c.stage == Stage::Up && c.peer_id == new.peer_id && (c.outbound || new.outbound)
        };
        let twin = self.conns.of(key).find(|(id, c)| is_twin(*id, c)).map(|(id, c)| (id, c.outbound));
        let Some((old, old_outbound)) = twin else { return false };
        let keep_new = new.outbound != old_outbound && new.outbound == (ours > new.peer_id);
        let loser = if keep_new { old } else { conn };
        self.part(now, loser, (Ending::NoUse, Blame::Nobody, "connected twice"), out);
        loser == conn
    }

    /// A connected peer told where it listens: the book must not dial it again.
    pub(crate) fn listening(&mut self, key: TorrentKey, conn: ConnId, port: u16) {
        let rank = self.rng.next_u32();
        let (Some(c), Some(entry)) = (self.conns.get_mut(conn), self.torrents.get_mut(&key)) else { return };
        let mut addr = c.addr;
        addr.set_port(port);
        if c.listens.is_none() && is_dialable(addr) {
            c.listens = Some(addr);
            entry.book.add(addr, Source::Incoming, rank);
            entry.book.begin(addr);
        }
    }
}
