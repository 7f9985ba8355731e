//! Metadata (BEP 9) and addresses (BEP 11) to and from peers.

use starling_sansio::{Sink, Time};

use crate::extension::{MetadataMessage, PexFlags, PexMessage};
use crate::metadata::{MetadataFetch, MetadataLimits, MetadataServer, Progress};
use crate::pex::{Pex, PexLimits};
use crate::torrent::Torrent;
use crate::{Blame, ConnId, Event, Output};

/// The info dictionary: being fetched, or served.
#[derive(Debug)]
pub(crate) enum Metadata {
    Fetching(MetadataFetch),
    /// Complete, but not loaded yet.
    Fetched,
    Serving(MetadataServer),
}

impl Torrent {
    /// A peer's handshake said how large the metadata is.
    pub(crate) fn on_metadata_size(&mut self, slot: u32, size: Option<u64>, out: &mut impl Sink<Output>) {
        let Some(link) = self.links.get(slot) else { return };
        if let (Metadata::Fetching(fetch), Some(size), Some(_)) =
            (&mut self.metadata, size, link.ids.ut_metadata)
        {
            fetch.on_peer(link.conn, size);
            self.ask_metadata(out);
        }
    }

    pub(crate) fn on_metadata(&mut self, slot: u32, message: MetadataMessage, out: &mut impl Sink<Output>) {
        let now = self.now;
        let Some(link) = self.links.get_mut(slot) else { return };
        let conn = link.conn;
        match (&mut self.metadata, message) {
            (Metadata::Serving(server), MetadataMessage::Request { piece }) => {
                if let Some(id) = link.ids.ut_metadata {
                    let answer = server.answer(now, conn, piece);
                    link.send(now, answer.message(id), out);
                }
            }
            (_, MetadataMessage::Request { piece }) => {
                if let Some(id) = link.ids.ut_metadata {
                    link.send(now, MetadataMessage::Reject { piece }.message(id), out);
                }
            }
            (Metadata::Fetching(fetch), MetadataMessage::Reject { piece }) => {
                fetch.on_reject(now, conn, piece);
            }
            (Metadata::Fetching(fetch), MetadataMessage::Data { piece, total_size, bytes }) => {
                let progress = fetch.on_data(conn, piece, total_size, bytes);
                self.on_progress(slot, progress, out);
            }
            _ => {}
        }
        self.ask_metadata(out);
    }

    fn on_progress(&mut self, slot: u32, progress: Progress, out: &mut impl Sink<Output>) {
        match progress {
            Progress::Ignored | Progress::Stored => {}
            Progress::Misbehaved(why) => self.close(slot, Blame::Peer, why, out),
            Progress::Failed { liar } => liar.into_iter().for_each(|conn| self.ban_conn(conn, out)),
            Progress::Complete { metadata, liars } => {
                self.metadata = Metadata::Fetched;
                liars.into_iter().for_each(|conn| self.ban_conn(conn, out));
                out.put(Output::Event(Event::Metadata(metadata)));
            }
        }
    }

    fn ban_conn(&mut self, conn: ConnId, out: &mut impl Sink<Output>) {
        if let Some(ip) = self.links.find(conn).map(|link| link.ip) {
            self.ban(ip, "sent false metadata", out);
        }
    }

    pub(crate) fn ask_metadata(&mut self, out: &mut impl Sink<Output>) {
        let Metadata::Fetching(fetch) = &mut self.metadata else { return };
        for (conn, piece) in fetch.poll(self.now) {
            let Some(link) = self.links.slot_of(conn).and_then(|slot| self.links.get_mut(slot)) else {
                continue;
            };
            if let Some(id) = link.ids.ut_metadata {
                link.send(self.now, MetadataMessage::Request { piece }.message(id), out);
            }
        }
        self.next = self.next.min(self.metadata_deadline());
    }

    pub(crate) fn serve_metadata(&mut self) {
        if let Some(info) = &self.info {
            self.metadata =
                Metadata::Serving(MetadataServer::new(info.bytes.clone(), MetadataLimits::default()));
        }
    }

    pub(crate) fn metadata_deadline(&self) -> Time {
        match &self.metadata {
            Metadata::Fetching(fetch) => fetch.next_timeout().unwrap_or(Time::NEVER),
            _ => Time::NEVER,
        }
    }

    pub(crate) fn metadata_peer_gone(&mut self, conn: ConnId) {
        match &mut self.metadata {
            Metadata::Fetching(fetch) => fetch.on_disconnect(conn),
            Metadata::Serving(server) => server.on_disconnect(conn),
            Metadata::Fetched => {}
        }
    }

    /// Whether peers may be told of each other: never in a private torrent (BEP 27).
    pub(crate) fn pex_allowed(&self) -> bool {
        self.config.pex && self.info.as_ref().is_none_or(|info| !info.private)
    }

    /// Peers told us of others.
    pub(crate) fn on_pex(&mut self, slot: u32, message: &PexMessage, out: &mut impl Sink<Output>) {
        let Some(link) = self.links.get(slot).filter(|_| self.pex_allowed()) else { return };
        let found = self.pex.on_message(self.now, link.conn, message);
        if !found.is_empty() {
            out.put(Output::Event(Event::PeersFound(found)));
        }
    }

    /// What others may be told of this peer, and whether it wants to be told of them.
    pub(crate) fn update_pex(&mut self, slot: u32) {
        let Some(link) = self.links.get(slot).filter(|_| self.pex_allowed()) else { return };
        self.pex.on_connected(link.conn, link.hello.addr);
        if let Some(addr) = link.listen {
            let seed = if link.is_seed() || link.upload_only { PexFlags::SEED } else { PexFlags::default() };
            let reachable = if link.hello.outbound { PexFlags::REACHABLE } else { PexFlags::default() };
            self.pex.set_listening(link.conn, addr, seed | reachable);
        }
        self.pex.set_wanted(self.now, link.conn, link.ids.ut_pex.is_some());
        self.next = self.next.min(self.pex_deadline());
    }

    /// The torrent turned out private, or not.
    pub(crate) fn settle_pex(&mut self) {
        if !self.pex_allowed() {
            self.pex = Pex::new(PexLimits::default());
        }
    }

    /// Tells peers of peers, once it is known that the torrent is not private.
    pub(crate) fn tick_pex(&mut self, out: &mut impl Sink<Output>) {
        if self.info.is_none() {
            return;
        }
        for (conn, message) in self.pex.poll(self.now) {
            let Some(link) = self.links.slot_of(conn).and_then(|slot| self.links.get_mut(slot)) else {
                continue;
            };
            if let Some(id) = link.ids.ut_pex {
                link.send(self.now, message.message(id), out);
            }
        }
    }

    pub(crate) fn pex_deadline(&self) -> Time {
        let loaded = self.info.as_ref().and_then(|_| self.pex.next_timeout());
        loaded.unwrap_or(Time::NEVER)
    }
}
