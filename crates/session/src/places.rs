//! A place for who comes in: when all are taken, the connection of least use makes room.
//!
//! Whoever filled all places and does nothing with them would otherwise keep everybody else
//! out for as long as it likes. Nobody who is of use is let go, and one in [`TURNOVER`] at
//! most, for a torrent and for the node: newcomers cannot drive each other out, and a flood
//! of them costs a look at the connections a second.

use std::time::Duration;

use starling_sansio::{Sink, Time};
use starling_swarm::{Blame, ConnId};

use crate::{Ending, Output, Session, TorrentKey};

/// Between two connections that are let go for newcomers, or two looks for one.
const TURNOVER: Duration = Duration::from_secs(1);

type Refusal = (Ending, &'static str);

impl Session {
    /// The torrent again if a connection whose handshake came has a place in it. One that we
    /// dialled had it from the start.
    pub(crate) fn place(
        &mut self,
        now: Time,
        key: TorrentKey,
        outbound: bool,
        out: &mut impl Sink<Output>,
    ) -> Result<TorrentKey, Refusal> {
        let limits = &self.config.limits;
        let (all, of_torrent) = (self.conns.members(), self.torrents.get(&key).map_or(0, |e| e.conns));
        let (all_max, of_torrent_max) = (limits.connections, limits.connections_per_torrent);
        if outbound || (all < all_max && of_torrent < of_torrent_max) {
            return Ok(key);
        }
        let full = of_torrent >= of_torrent_max;
        let why = if full { "too many connections for the torrent" } else { "too many connections" };
        // One may be there too many while the one before it closes.
        if all > all_max || of_torrent > of_torrent_max {
            return Err((Ending::NoUse, why));
        }
        let idle = if full { self.idle_of(now, key) } else { self.idle_of_all(now) };
        let Some(conn) = idle else { return Err((Ending::NoUse, why)) };
        self.part(now, conn, (Ending::NoUse, Blame::Nobody, "makes room for a newcomer"), out);
        Ok(key)
    }

    /// Whom the torrent can do without, if it may look for one.
    fn idle_of(&mut self, now: Time, key: TorrentKey) -> Option<ConnId> {
        let entry = self.torrents.get_mut(&key).filter(|entry| entry.turnover <= now)?;
        entry.turnover = now + TURNOVER;
        entry.core.idlest(now).map(|idle| idle.conn)
    }

    /// The same of all torrents.
    fn idle_of_all(&mut self, now: Time) -> Option<ConnId> {
        if now < self.turnover {
            return None;
        }
        self.turnover = now + TURNOVER;
        let mut keys: Vec<TorrentKey> = self.conns.iter().filter_map(|(_, c)| c.torrent).collect();
        keys.sort_unstable();
        keys.dedup();
        let idle = keys.iter().filter_map(|key| self.torrents.get(key)?.core.idlest(now)).min();
        idle.map(|idle| idle.conn)
    }
}
