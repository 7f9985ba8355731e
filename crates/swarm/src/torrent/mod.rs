//! One torrent's side of its swarm, put together.
//!
//! The parts, each a file of its own that extends [`Torrent`]:
//! `opening` (what is said first), `incoming` (what a peer says), `loading`
//! (metadata, priorities, what we have), `download` (requests, blocks, pieces),
//! `upload` (serving), `choking`, `timing`, `suspicion` (whom to ban), `hashing`
//! (BEP 52), `seeds` (web seeds), `reveal` (super-seeding), `idle` (whose place a
//! newcomer may have), `views` (read only).

mod choking;
mod download;
mod endgame;
mod exchange;
mod hashing;
mod idle;
mod incoming;
mod loading;
mod opening;
mod reveal;
mod seeds;
mod suspicion;
mod timing;
mod upload;
mod views;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use starling_metainfo::{Bitfield, Info, InfoHashes};
use starling_sansio::{Machine, Rng, Sink, Time};

use crate::choker::Choking;
use crate::config::Config;

use crate::metadata::{MetadataFetch, MetadataLimits};
use crate::peer::{Link, Links};
use crate::pex::{Pex, PexLimits};
use crate::picker::{Has, Picker, Run, word_at};
use crate::stats::Totals;
use exchange::Metadata;
use hashing::Hashing;
pub use idle::Idle;
use seeds::Seeds;
use suspicion::Suspicion;

use crate::{Blame, Closing, ConnId, Event, Giver, Hello, Input, Message, Output, Priority};

/// One torrent among its peers. See the crate's documentation.
#[derive(Debug)]
pub struct Torrent {
    pub(crate) hashes: InfoHashes,
    pub(crate) config: Config,
    pub(crate) rng: Rng,
    pub(crate) peer_id: [u8; 20],
    pub(crate) listen_port: u16,
    pub(crate) now: Time,
    /// When the metadata came; nobody could want anything before.
    pub(crate) loaded_at: Time,
    pub(crate) info: Option<Arc<Info>>,
    pub(crate) have: Bitfield,
    /// Wanted and not had.
    pub(crate) missing: Bitfield,
    pub(crate) priorities: Vec<Priority>,
    pub(crate) picker: Picker,
    pub(crate) links: Links,
    pub(crate) banned: BTreeSet<IpAddr>,
    /// Who gave and has gone, each once; at most [`views::GIVERS_MAX`].
    pub(crate) gave: Vec<Giver>,
    pub(crate) paused: bool,
    pub(crate) finished: bool,
    pub(crate) super_seeding: bool,
    pub(crate) grant_down: Option<u64>,
    pub(crate) grant_up: Option<u64>,
    pub(crate) choking: Choking,
    pub(crate) suspicion: Suspicion,
    pub(crate) hashing: Hashing,
    pub(crate) metadata: Metadata,
    pub(crate) seeds: Seeds,
    pub(crate) pex: Pex,
    pub(crate) totals: Totals,
    /// Something goes on that wants ticks.
    pub(crate) busy: bool,
    pub(crate) next: Time,
    pub(crate) rates_at: Time,
    /// When refusals and strikes were last forgiven.
    pub(crate) forgiven_at: Time,
    pub(crate) upload_turn: u32,
    pub(crate) runs: Vec<Run>,
}

impl Torrent {
    /// A torrent of which only the name is known; [`Input::Loaded`] brings the rest.
    /// `rng` decides everything left to chance; `listen_port` 0: we do not listen.
    pub fn new(hashes: InfoHashes, config: Config, rng: Rng, peer_id: [u8; 20], listen_port: u16) -> Torrent {
        Torrent {
            choking: Choking::new(&config),
            suspicion: Suspicion::default(),
            hashing: Hashing::default(),
            metadata: Metadata::Fetching(MetadataFetch::new(hashes, MetadataLimits::default())),
            seeds: Seeds::default(),
            pex: Pex::new(PexLimits::default()),
            super_seeding: config.super_seeding,
            hashes,
            config,
            rng,
            peer_id,
            listen_port,
            now: Time::ZERO,
            loaded_at: Time::ZERO,
            info: None,
            have: Bitfield::default(),
            missing: Bitfield::default(),
            priorities: Vec::new(),
            picker: Picker::default(),
            links: Links::default(),
            banned: BTreeSet::new(),
            gave: Vec::new(),
            paused: false,
            finished: false,
            grant_down: None,
            grant_up: None,
            totals: Totals::default(),
            busy: false,
            next: Time::NEVER,
            rates_at: Time::ZERO,
            forgiven_at: Time::ZERO,
            upload_turn: 0,
            runs: Vec::new(),
        }
    }

    fn connected(&mut self, conn: ConnId, hello: Hello, out: &mut impl Sink<Output>) {
        let refuse = |blame, why| Output::Close { conn, why: Closing { blame, why } };
        if self.banned.contains(&hello.addr.ip().to_canonical()) {
            return out.put(refuse(Blame::Liar, "is banned"));
        }
        if hello.peer_id == self.peer_id {
            return out.put(refuse(Blame::Peer, "is ourselves"));
        }
        if self.links.len() >= self.config.limits.peers {
            return out.put(refuse(Blame::Nobody, "one connection too many"));
        }
        let now = self.now;
        let limits = &self.config.limits;
        if let Some(slot) = self.links.add(conn, |slot| Link::new(now, conn, slot, hello, limits)) {
            self.hash_peer(slot, true);
            self.open(slot, out);
            self.want_hashes(out);
            self.next = self.next.min(now + self.config.limits.keep_alive);
        }
    }

    fn disconnected(&mut self, conn: ConnId, out: &mut impl Sink<Output>) {
        let Some(slot) = self.links.slot_of(conn) else { return };
        if self.links.get(slot).is_some_and(|link| !link.closing) {
            self.forget(slot);
        }
        self.links.remove(conn);
        self.refill_idle(out);
        self.fill_slots(out);
    }

    /// Closes a connection and lets go of everything it held.
    pub(crate) fn close(&mut self, slot: u32, blame: Blame, why: &'static str, out: &mut impl Sink<Output>) {
        let Some(link) = self.links.get(slot).filter(|link| !link.closing) else { return };
        let conn = link.conn;
        self.forget(slot);
        if let Some(link) = self.links.get_mut(slot) {
            link.closing = true;
        }
        out.put(Output::Close { conn, why: Closing { blame, why } });
        self.refill_soon();
    }

    /// A peer sent nonsense: tolerated a number of times.
    pub(crate) fn strike(&mut self, slot: u32, why: &'static str, out: &mut impl Sink<Output>) {
        let limit = self.config.limits.strikes;
        let Some(link) = self.links.get_mut(slot) else { return };
        link.strikes += 1;
        if link.strikes > limit {
            self.close(slot, Blame::Peer, why, out);
        }
    }

    /// Bans an address and closes all its connections.
    pub(crate) fn ban(&mut self, ip: IpAddr, why: &'static str, out: &mut impl Sink<Output>) {
        if self.banned.len() >= self.config.limits.banned {
            self.banned.pop_first();
        }
        if !self.banned.insert(ip) {
            return;
        }
        out.put(Output::Event(Event::Banned { ip, why }));
        let slots: Vec<u32> = self.links.iter().filter(|l| l.ip == ip).map(|l| l.slot).collect();
        for slot in slots {
            self.close(slot, Blame::Liar, why, out);
        }
    }

    /// Everything the swarm's state holds of a connection goes.
    fn forget(&mut self, slot: u32) {
        self.release_all(slot);
        self.hash_peer(slot, false);
        self.remember_giver(slot);
        if let Some(conn) = self.links.get(slot).map(|link| link.conn) {
            self.metadata_peer_gone(conn);
            self.pex.on_disconnect(conn);
        }
        let Some(link) = self.links.get_mut(slot) else { return };
        if let Has::Some(set) = std::mem::take(&mut link.has)
            && !self.picker.is_idle()
        {
            set.iter().for_each(|piece| self.picker.rarity.dec(piece));
        }
        link.early = Default::default();
        link.up.queue.clear();
        self.picker.touch();
    }

    /// Whether we want `piece` and do not have it.
    pub fn wants(&self, piece: u32) -> bool {
        self.missing.get(piece)
    }

    /// Counts what of a peer's pieces we want, and tells it if that changes our interest.
    pub(crate) fn recount(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        let missing = self.missing.as_bytes();
        let Some(link) = self.links.get_mut(slot) else { return };
        link.interesting = link.has.bytes().map_or(0, |theirs| {
            let both = |at| word_at(theirs, at) & word_at(missing, at);
            (0..theirs.len()).step_by(8).map(|at| both(at).count_ones()).sum()
        });
        self.settle_interest(slot, out);
    }

    /// Says `interested` or `not interested` if what we said last is no longer true.
    pub(crate) fn settle_interest(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        let left = self.missing.count();
        let now = self.now;
        let Some(link) = self.links.get_mut(slot) else { return };
        let wanted = !self.paused && if link.is_seed() { left > 0 } else { link.interesting > 0 };
        if wanted != link.am_interested {
            link.am_interested = wanted;
            if wanted {
                link.begin_waiting(now);
            }
            link.send(now, if wanted { Message::Interested } else { Message::NotInterested }, out);
        }
    }
}

impl Machine for Torrent {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut impl Sink<Output>) {
        self.now = self.now.max(now);
        match input {
            Input::Message { conn, message } => self.on_message(conn, message, out),
            Input::Sent { conn, bytes } => self.on_sent(conn, bytes, out),
            Input::Unread { conn, block } => self.on_unread(conn, block, out),
            Input::Connected { conn, hello } => self.connected(conn, hello, out),
            Input::Disconnected { conn } => self.disconnected(conn, out),
            Input::Loaded { info, piece_layers, have } => self.load(info, &piece_layers, have, out),
            Input::PieceVerified { piece } => self.on_verified(piece, out),
            Input::PieceFailed { piece, digests } => self.on_failed(piece, &digests, out),
            Input::BlockDigests { piece, digests } => self.on_digests(piece, &digests, out),
            Input::PieceLost { piece } => self.on_lost(piece, out),
            Input::SetPriorities(priorities) => self.set_priorities(priorities, out),
            Input::SetSequential(on) => self.picker.sequential = on,
            Input::SetSuperSeeding(on) => self.set_super_seeding(on, out),
            Input::Grant { down, up } => self.on_grant(down, up, out),
            Input::PauseDownload(on) => self.pause_download(on, out),
            Input::AddWebSeed { seed } => self.add_web_seed(seed, out),
            Input::Fetched { seed, block } => self.on_fetched(seed, block, out),
            Input::FetchEnded { seed, end } => self.on_fetch_ended(seed, end, out),
        }
        self.schedule();
    }

    fn handle_timeout(&mut self, now: Time, out: &mut impl Sink<Output>) {
        self.now = self.now.max(now);
        if self.next <= self.now {
            self.tick(out);
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        (self.next != Time::NEVER).then_some(self.next)
    }
}
