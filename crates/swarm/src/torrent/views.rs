//! What others may see of a torrent.

use std::collections::BTreeMap;
use std::sync::Arc;

use starling_metainfo::{BLOCK_LENGTH, Bitfield, Info, InfoHashes, Sha256Hash};

use crate::hashes::HashStore;
use crate::peer::Link;
use crate::stats::{Demand, Stats};
use crate::torrent::Torrent;
use crate::{Giver, Peer};

/// Givers remembered after they went.
pub(crate) const GIVERS_MAX: usize = 1_000;

impl Torrent {
    /// The torrent's name.
    pub fn info_hashes(&self) -> InfoHashes {
        self.hashes
    }

    /// The metadata, once loaded.
    pub fn info(&self) -> Option<&Arc<Info>> {
        self.info.as_ref()
    }

    /// The pieces we have; empty while the metadata is unknown.
    pub fn bitfield(&self) -> &Bitfield {
        &self.have
    }

    /// BEP 52: the piece layers that are known, by the file's root, as a torrent file has them.
    pub fn piece_layers(&self) -> BTreeMap<Sha256Hash, Vec<Sha256Hash>> {
        self.hashing.store.as_ref().map(HashStore::layers).unwrap_or_default()
    }

    /// Whether every wanted piece is there.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// The torrent in numbers. Costs a walk over the connections.
    pub fn stats(&self) -> Stats {
        let live = || self.links.iter().filter(|l| !l.closing);
        let asked: u64 = live().map(|l| l.down.queue.len() as u64).sum();
        Stats {
            pieces_have: self.have.count(),
            pieces: self.have.len(),
            bytes_total: self.totals.content_bytes,
            bytes_have: self.totals.have_bytes,
            bytes_wanted: self.totals.wanted_bytes,
            bytes_left: self.totals.left_bytes,
            down_rate: self.totals.down.shown(),
            up_rate: self.totals.up.shown(),
            peers: live().count(),
            seeds: live().filter(|l| l.is_seed()).count(),
            web_seeds: self.seeds.working(),
            in_flight: asked * u64::from(BLOCK_LENGTH),
            downloaded: self.totals.down.total(),
            uploaded: self.totals.up.total(),
            wasted: self.totals.wasted,
            failed: self.totals.failed,
            from_web_seeds: self.totals.from_web_seeds,
        }
    }

    /// Every connection, in the order of slots.
    pub fn peers(&self) -> Vec<Peer> {
        self.links.iter().filter(|l| !l.closing).map(|l| self.view(l)).collect()
    }

    /// Who sent data so far, those that went included; of a thousand of these no more are remembered.
    pub fn givers(&self) -> Vec<Giver> {
        let here = self.links.iter().filter(|l| !l.closing).filter_map(giver);
        self.gave.iter().copied().chain(here).collect()
    }

    /// A connection goes; that its peer gave something stays known.
    pub(super) fn remember_giver(&mut self, slot: u32) {
        let Some(giver) = self.links.get(slot).and_then(giver) else { return };
        if self.gave.len() < GIVERS_MAX && !self.gave.contains(&giver) {
            self.gave.push(giver);
        }
    }

    /// What is left of the last [`crate::Input::Grant`], down and up, in bytes; `None`:
    /// no limit. A limiter takes it back before it grants anew.
    pub fn allowance(&self) -> [Option<u64>; 2] {
        [self.grant_down, self.grant_up]
    }

    /// What a rate limiter would do well to grant: bytes we would ask for and serve now.
    pub fn demand(&self) -> Demand {
        let room = |l: &&Link| l.am_interested && !l.peer_choking && !l.closing;
        let wanted = |l: &Link| u64::from(l.down.depth.target().saturating_sub(l.down.queue.len() as u32));
        let down: u64 = self.links.iter().filter(room).map(wanted).sum();
        let waiting = |l: &Link| l.up.queue.iter().map(|b| u64::from(b.length)).sum::<u64>();
        Demand {
            down: (down * u64::from(BLOCK_LENGTH)).min(self.totals.left_bytes),
            up: self.links.iter().map(waiting).sum(),
        }
    }

    fn view(&self, link: &Link) -> Peer {
        Peer {
            conn: link.conn,
            addr: link.hello.addr,
            peer_id: link.hello.peer_id,
            client: link.client.clone().unwrap_or_else(|| client_of(&link.hello.peer_id)),
            downloaded: link.down.rate.total(),
            down_rate: link.down.rate.shown(),
            up_rate: link.up.rate.shown(),
            pieces: link.has.count(self.have.len()),
            in_flight: link.down.queue.len() as u32,
            choked: [link.am_choking, link.peer_choking],
            interested: [link.am_interested, link.peer_interested],
            snubbed: link.down.snubbed,
        }
    }
}

fn giver(link: &Link) -> Option<Giver> {
    let Link { hello, down, .. } = link;
    (down.rate.total() > 0).then_some(Giver { peer_id: hello.peer_id, addr: hello.addr })
}

/// The letters that begin most peer ids (BEP 20), or nothing.
fn client_of(peer_id: &[u8; 20]) -> String {
    let plain = |b: &&u8| b.is_ascii_graphic();
    peer_id.iter().take(8).take_while(plain).map(|&b| char::from(b)).collect()
}
