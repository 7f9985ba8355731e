//! The life of a torrent: joined by name or with its metadata, opened, paused, failed, left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use starling_metainfo::{Bitfield, Info, Sha1Hash, Torrent};
use starling_sansio::{Sink, Time};
use starling_swarm::{Blame, ConnId, Input as Swarm, Priority};
use starling_tracker::Input as Say;

use crate::entry::{Entry, Layers, Phase};
use crate::{AddSpec, Ending, Event, Output, Session, Source, TorrentKey};

/// A torrent that leaves is forgotten after this, whoever has not answered. Trackers
/// have their own, shorter time; this is for connections that will not close.
const LEAVE_TIME: Duration = Duration::from_secs(5);
/// Peers by host name, of one link; more are ignored.
const PEER_HOSTS: usize = 100;

/// Why the second of two links to one torrent fails.
const TWICE: &str = "the torrent is already here, by its other name";

/// Who holds a torrent up.
#[derive(Clone, Copy)]
pub enum Reason {
    User = 0,
    Disk = 1,
}

impl Session {
    pub(crate) fn add(&mut self, now: Time, key: TorrentKey, spec: &AddSpec, out: &mut impl Sink<Output>) {
        if self.stopping || self.torrents.len() >= self.config.limits.torrents {
            return put_failed(key, "the node takes no more torrents", out);
        }
        if self.torrents.contains_key(&key) {
            return put_failed(key, "the torrent is already here", out);
        }
        let entry = Entry::new(spec, &self.config, &mut self.rng, now);
        let names: Vec<Sha1Hash> = spec.hashes.wire_names().chain(entry.hashes.wire_names()).collect();
        let other = !entry.hashes.matches(&spec.hashes);
        let torrent = entry.torrent.clone();
        self.torrents.insert(key, entry);
        if other || !self.claim(key, &names) {
            let why = if other { "the torrent is not the one named" } else { "the torrent is already here" };
            return self.fail(now, key, why.to_owned(), out);
        }
        self.hold(now, key, out);
        self.peers_found(now, key, &spec.peers, Source::User, out);
        for (host, port) in spec.peer_hosts.iter().take(PEER_HOSTS) {
            self.resolve_peer(now, key, host.clone(), *port, out);
        }
        match torrent {
            Some(torrent) => out.put(Output::Open { key, torrent }),
            None => self.join(now, key, out),
        }
    }

    /// Makes the torrent answer to `names`, unless another one does to any of them.
    fn claim(&mut self, key: TorrentKey, names: &[Sha1Hash]) -> bool {
        if names.iter().any(|name| self.by_wire.get(name).is_some_and(|other| *other != key)) {
            return false;
        }
        let Some(entry) = self.torrents.get_mut(&key) else { return false };
        for name in names {
            if self.by_wire.insert(*name, key).is_none() {
                entry.names.push(*name);
            }
        }
        true
    }

    /// A hybrid added by both its names: who learns first that it is one torrent stays.
    fn yield_names(&mut self, now: Time, key: TorrentKey, names: &[Sha1Hash], out: &mut impl Sink<Output>) {
        for name in names {
            let other = self.by_wire.get(name).copied().filter(|other| *other != key);
            let phase = other.and_then(|other| self.torrents.get(&other)).map(|entry| entry.phase);
            if let (Some(other), Some(Phase::Metadata)) = (other, phase) {
                self.fail(now, other, TWICE.to_owned(), out);
            }
        }
    }

    /// Answers to no name any more.
    fn release(&mut self, key: TorrentKey) {
        let names = self.torrents.get_mut(&key).map(|entry| std::mem::take(&mut entry.names));
        for name in names.into_iter().flatten() {
            self.by_wire.remove(&name);
        }
    }

    /// Begins to be found and to find: trackers, LAN, peers already known.
    fn join(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        self.start_trackers(now, key, out);
        self.start_lsd(now, key, out);
        self.dial_more(now, key, out);
        self.retime(key);
    }

    pub(crate) fn opened(
        &mut self,
        now: Time,
        key: TorrentKey,
        have: Bitfield,
        kept: Layers,
        out: &mut impl Sink<Output>,
    ) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        if entry.phase != Phase::Opening {
            return;
        }
        let count = have.count();
        let inputs = entry.loaded(have, kept);
        out.put(Output::Event { key, event: Event::Opened { have: count } });
        for input in inputs {
            self.drive(now, key, input, out);
        }
        self.join(now, key, out);
    }

    /// The metadata came from peers: its bytes have the right hash, but may still be nonsense.
    pub(crate) fn metadata(
        &mut self,
        now: Time,
        key: TorrentKey,
        bytes: bytes::Bytes,
        out: &mut impl Sink<Output>,
    ) {
        let Some(entry) = self.torrents.get_mut(&key).filter(|e| e.phase == Phase::Metadata) else { return };
        let info = match Info::parse(bytes) {
            Ok(info) => Arc::new(info),
            Err(error) => {
                let why = format!("the metadata that peers sent is no torrent: {error}");
                return self.fail(now, key, why, out);
            }
        };
        let torrent = Arc::new(Torrent {
            trackers: entry.trackers.tiers(),
            web_seeds: entry.web_seeds.clone(),
            piece_layers: BTreeMap::new(),
            ..Torrent::from_info(info)
        });
        entry.learn(torrent.clone(), &self.config);
        let private = entry.is_private();
        let names: Vec<Sha1Hash> = torrent.info.hashes.wire_names().collect();
        self.yield_names(now, key, &names, out);
        if !self.claim(key, &names) {
            return self.fail(now, key, TWICE.to_owned(), out);
        }
        for name in names {
            self.say(now, key, Say::AddName(name), out);
        }
        if private {
            self.stop_lsd(now, key, out);
            self.drop_gossip(now, key, out);
        } else {
            self.start_lsd(now, key, out);
        }
        out.put(Output::Event { key, event: Event::Metadata(torrent.clone()) });
        out.put(Output::Open { key, torrent });
    }

    pub(crate) fn fail(&mut self, now: Time, key: TorrentKey, why: String, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get_mut(&key).filter(|entry| !entry.is_over()) else { return };
        entry.phase = Phase::Failed;
        self.withdraw(now, key, "the torrent failed", out);
        out.put(Output::Event { key, event: Event::Failed(why) });
    }

    pub(crate) fn remove(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get_mut(&key) else {
            // One that was refused, or is gone: whoever waits for its end shall not wait for ever.
            return out.put(Output::Event { key, event: Event::Removed });
        };
        if entry.phase == Phase::Leaving {
            return;
        }
        entry.phase = Phase::Leaving;
        entry.leave_by = now + LEAVE_TIME;
        self.withdraw(now, key, "the torrent is removed", out);
        self.finish_leaving(key, out);
        self.retime(key);
    }

    /// Takes no part any more: asks for nothing, knows nobody, is announced nowhere.
    fn withdraw(&mut self, now: Time, key: TorrentKey, why: &'static str, out: &mut impl Sink<Output>) {
        self.drive(now, key, Swarm::PauseDownload(true), out);
        self.close_all(now, key, why, out);
        self.stop_lsd(now, key, out);
        self.release(key);
        self.leave_trackers(now, key, out);
    }

    /// Forgets a leaving torrent once its connections are closed and its trackers told.
    pub(crate) fn finish_leaving(&mut self, key: TorrentKey, out: &mut impl Sink<Output>) {
        let done = |e: &Entry| e.phase == Phase::Leaving && e.trackers.is_done() && e.conns == 0;
        if self.torrents.get(&key).is_some_and(done) {
            self.forget(key, out);
        }
    }

    pub(crate) fn forget(&mut self, key: TorrentKey, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.remove(&key) else { return };
        self.timers.remove(&(entry.timer, key));
        self.grants.remove(key);
        if entry.waiting {
            self.waiting.retain(|other| *other != key);
        }
        out.put(Output::Event { key, event: Event::Removed });
        self.finish_stopping(out);
    }

    pub(crate) fn shutdown(&mut self, now: Time, out: &mut impl Sink<Output>) {
        self.stopping = true;
        self.waiting.clear();
        self.torrents.values_mut().for_each(|entry| entry.waiting = false);
        let strangers: Vec<ConnId> =
            self.conns.iter().filter(|(_, c)| c.torrent.is_none()).map(|(id, _)| id).collect();
        for conn in strangers {
            self.part(now, conn, (Ending::NoUse, Blame::Nobody, "the node is stopping"), out);
        }
        let keys: Vec<TorrentKey> = self.torrents.keys().copied().collect();
        for key in keys {
            self.remove(now, key, out);
        }
        self.finish_stopping(out);
    }

    fn finish_stopping(&mut self, out: &mut impl Sink<Output>) {
        if self.stopping && self.torrents.is_empty() && !std::mem::replace(&mut self.stopped, true) {
            out.put(Output::Stopped);
        }
    }

    pub(crate) fn pause(
        &mut self,
        now: Time,
        key: TorrentKey,
        reason: Reason,
        paused: bool,
        out: &mut impl Sink<Output>,
    ) {
        let Some(entry) = self.torrents.get_mut(&key).filter(|entry| !entry.is_over()) else { return };
        entry.paused[reason as usize] = paused;
        let any = entry.paused.contains(&true);
        self.drive(now, key, Swarm::PauseDownload(any), out);
    }

    /// The disk refuses to write, and says why, or writes again.
    pub(crate) fn storage(
        &mut self,
        now: Time,
        key: TorrentKey,
        trouble: Option<String>,
        out: &mut impl Sink<Output>,
    ) {
        let Some(entry) = self.torrents.get(&key).filter(|entry| !entry.is_over()) else { return };
        if entry.paused[Reason::Disk as usize] == trouble.is_some() {
            return;
        }
        self.pause(now, key, Reason::Disk, trouble.is_some(), out);
        out.put(Output::Event { key, event: trouble.map_or(Event::Resumed, Event::Paused) });
    }

    /// Kept until the files are known, if they are not yet.
    pub(crate) fn set_priorities(
        &mut self,
        now: Time,
        key: TorrentKey,
        files: Vec<Priority>,
        out: &mut impl Sink<Output>,
    ) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        if matches!(entry.phase, Phase::Metadata | Phase::Opening) {
            entry.priorities = Some(files);
        } else {
            self.drive(now, key, Swarm::SetPriorities(files), out);
        }
    }
}

fn put_failed(key: TorrentKey, why: &str, out: &mut impl Sink<Output>) {
    out.put(Output::Event { key, event: Event::Failed(why.to_owned()) });
}
