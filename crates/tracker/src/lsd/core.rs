use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use starling_metainfo::Sha1Hash;
use starling_sansio::{Machine, Rng, Sink, Time};

use super::{Group, Message};
use crate::Limits;

/// Between regular announces of a torrent (BEP 14).
const INTERVAL: Duration = Duration::from_secs(300);
/// Between the first announces of a torrent.
const EARLY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
/// Silence after which hearing of a torrent makes us announce it back.
const ANSWER_AFTER: Duration = Duration::from_secs(5);
/// Answers in one [`WINDOW`], over all torrents.
const ANSWERS_PER_WINDOW: u32 = 60;
/// What is counted is counted anew after this.
const WINDOW: Duration = Duration::from_secs(60);
/// Over this time [`Limits::LSD_DATAGRAMS_PER_SECOND`] holds.
const PACE: Duration = Duration::from_secs(1);

/// What the world tells an [`Lsd`].
#[derive(Clone, Debug)]
pub enum Input {
    /// Announce this torrent. Not for private ones (BEP 27).
    Add(Sha1Hash),
    /// No longer announce it.
    Remove(Sha1Hash),
    /// A datagram came to one of the groups' sockets.
    Datagram {
        /// Its source.
        from: SocketAddr,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// We listen for peers at this port from now on.
    SetPort(u16),
}

/// What an [`Lsd`] asks of the world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send a datagram to a group, on every interface; where there is no such
    /// multicast, drop it.
    Send {
        /// To whom.
        group: Group,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A machine nearby has one of our torrents.
    Found {
        /// Which.
        info_hash: Sha1Hash,
        /// Where it listens.
        addr: SocketAddr,
    },
}

/// Local service discovery for all torrents of a node.
#[derive(Debug)]
pub struct Lsd {
    port: u16,
    cookie: Vec<u8>,
    torrents: BTreeMap<Sha1Hash, Torrent>,
    due: BTreeSet<(Time, Sha1Hash)>,
    /// Since when datagrams are counted, and how many there were.
    pace_began: Time,
    pace_sent: usize,
    window: Window,
}

#[derive(Debug)]
struct Torrent {
    due: Time,
    /// How many of the first announces are done.
    early: usize,
    last: Option<Time>,
}

/// What is counted to bound what strangers can cause.
#[derive(Debug, Default)]
struct Window {
    began: Time,
    answers: u32,
    finds: BTreeMap<IpAddr, u32>,
}

impl Lsd {
    /// For a node that listens at `port`. `rng` makes the cookie that tells our own
    /// announces from others': each node needs its own seed.
    pub fn new(port: u16, mut rng: Rng) -> Lsd {
        Lsd {
            port,
            cookie: format!("{:016x}", rng.next_u64()).into_bytes(),
            torrents: BTreeMap::new(),
            due: BTreeSet::new(),
            pace_began: Time::ZERO,
            pace_sent: 0,
            window: Window::default(),
        }
    }

    fn add(&mut self, now: Time, hash: Sha1Hash) {
        if self.torrents.len() < Limits::LSD_TORRENTS && !self.torrents.contains_key(&hash) {
            self.torrents.insert(hash, Torrent { due: now, early: 0, last: None });
            self.due.insert((now, hash));
        }
    }

    fn remove(&mut self, hash: Sha1Hash) {
        if let Some(torrent) = self.torrents.remove(&hash) {
            self.due.remove(&(torrent.due, hash));
        }
    }

    fn datagram(&mut self, now: Time, from: SocketAddr, bytes: &[u8], out: &mut impl Sink<Output>) {
        let Some(message) = Message::decode(bytes) else { return };
        if message.cookie.as_ref() == Some(&self.cookie) {
            return;
        }
        self.window.turn(now);
        for hash in message.info_hashes {
            if !self.torrents.contains_key(&hash) {
                continue;
            }
            if self.window.may_find(from.ip()) {
                let addr = SocketAddr::new(from.ip().to_canonical(), message.port);
                // A link-local address means nothing without the interface it came by.
                let addr = match (from, addr) {
                    (SocketAddr::V6(from), SocketAddr::V6(mut addr)) => {
                        addr.set_scope_id(from.scope_id());
                        SocketAddr::V6(addr)
                    }
                    _ => addr,
                };
                out.put(Output::Found { info_hash: hash, addr });
            }
            self.announce_back(now, hash);
        }
    }

    fn announce_back(&mut self, now: Time, hash: Sha1Hash) {
        let Some(torrent) = self.torrents.get_mut(&hash) else { return };
        let silent = torrent.last.is_none_or(|last| now.since(last) >= ANSWER_AFTER);
        if silent && torrent.due > now && self.window.may_answer() {
            self.due.remove(&(torrent.due, hash));
            torrent.due = now;
            self.due.insert((now, hash));
        }
    }

    /// Sends what is due, several torrents to a datagram, as fast as the pace allows.
    fn drain(&mut self, now: Time, out: &mut impl Sink<Output>) {
        if now.since(self.pace_began) >= PACE {
            (self.pace_began, self.pace_sent) = (now, 0);
        }
        while self.port != 0
            && self.pace_sent < Limits::LSD_DATAGRAMS_PER_SECOND
            && self.due.first().is_some_and(|(due, _)| *due <= now)
        {
            self.pace_sent += 1;
            let info_hashes = self.take_due(now);
            let message = Message { port: self.port, info_hashes, cookie: Some(self.cookie.clone()) };
            for group in Group::ALL {
                out.put(Output::Send { group, bytes: message.encode(group) });
            }
        }
    }

    /// As many torrents as fit a datagram, each with its next announce planned.
    fn take_due(&mut self, now: Time) -> Vec<Sha1Hash> {
        let mut hashes = Vec::new();
        while hashes.len() < Message::HASHES && self.due.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, hash)) = self.due.pop_first() else { break };
            let Some(torrent) = self.torrents.get_mut(&hash) else { continue };
            torrent.due = now + EARLY.get(torrent.early).copied().unwrap_or(INTERVAL);
            torrent.early = (torrent.early + 1).min(EARLY.len());
            torrent.last = Some(now);
            hashes.push(hash);
        }
        hashes.iter().filter_map(|hash| Some((self.torrents.get(hash)?.due, *hash))).for_each(|entry| {
            self.due.insert(entry);
        });
        hashes
    }
}

impl Window {
    fn turn(&mut self, now: Time) {
        if now.since(self.began) >= WINDOW {
            *self = Window { began: now, ..Window::default() };
        }
    }

    fn may_find(&mut self, source: IpAddr) -> bool {
        if self.finds.len() >= Limits::LSD_SOURCES && !self.finds.contains_key(&source) {
            return false;
        }
        let finds = self.finds.entry(source).or_insert(0);
        *finds = finds.saturating_add(1);
        *finds <= Limits::LSD_FINDS_PER_SOURCE
    }

    fn may_answer(&mut self) -> bool {
        self.answers += u32::from(self.answers < ANSWERS_PER_WINDOW + 1);
        self.answers <= ANSWERS_PER_WINDOW
    }
}

impl Machine for Lsd {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut impl Sink<Output>) {
        match input {
            Input::Add(hash) => self.add(now, hash),
            Input::Remove(hash) => self.remove(hash),
            Input::Datagram { from, bytes } => self.datagram(now, from, &bytes, out),
            Input::SetPort(port) => self.port = port,
        }
        self.drain(now, out);
    }

    fn handle_timeout(&mut self, now: Time, out: &mut impl Sink<Output>) {
        self.drain(now, out);
    }

    fn next_timeout(&self) -> Option<Time> {
        if self.port == 0 {
            return None;
        }
        let held_back = self.pace_sent >= Limits::LSD_DATAGRAMS_PER_SECOND;
        let earliest = if held_back { self.pace_began + PACE } else { Time::ZERO };
        self.due.first().map(|(due, _)| (*due).max(earliest))
    }
}

#[cfg(test)]
mod tests;
