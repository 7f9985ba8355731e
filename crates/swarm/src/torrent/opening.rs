//! The first messages of a connection: extension handshake, what we have, allowed fast.

use starling_metainfo::Bitfield;
use starling_sansio::Sink;

use crate::allowed_fast::{ALLOWED_FAST_PIECES, allowed_fast_set};
use crate::extension::{ExtensionHandshake, OUR_IDS};
use crate::peer::Link;
use crate::torrent::Torrent;
use crate::{Message, Output};

impl Torrent {
    /// Speaks first on a new connection.
    pub(crate) fn open(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        self.send_handshake(slot, out);
        let pieces = self.say_pieces(slot);
        let now = self.now;
        let Some(link) = self.links.get_mut(slot) else { return };
        if let Some(message) = pieces {
            link.send(now, message, out);
        }
        self.allow_fast(slot, out);
        self.reveal(slot, out);
    }

    /// Once the metadata is known to us, those connected already are told.
    pub(crate) fn announce_loaded(&mut self, out: &mut impl Sink<Output>) {
        for slot in 0..self.links.slots() {
            self.send_handshake(slot, out);
            self.allow_fast(slot, out);
            // They were told that we have nothing; what we have in truth follows piece by piece.
            let now = self.now;
            let Some(link) = self.links.get_mut(slot) else { continue };
            if !self.super_seeding {
                self.have.iter().for_each(|piece| link.send(now, Message::Have(piece), out));
            }
        }
    }

    /// BEP 21: we want nothing more, or again something.
    pub(crate) fn tell_upload_only(&mut self, _on: bool, out: &mut impl Sink<Output>) {
        for slot in 0..self.links.slots() {
            self.send_handshake(slot, out);
        }
    }

    fn send_handshake(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        let handshake = self.our_handshake(slot);
        let now = self.now;
        let Some(link) = self.links.get_mut(slot) else { return };
        if link.hello.reserved.extension_protocol() {
            link.offered_pex |= handshake.ids.ut_pex.is_some();
            link.send(now, handshake.message(), out);
        }
    }

    fn our_handshake(&self, slot: u32) -> ExtensionHandshake {
        let mut ids = OUR_IDS;
        if !self.pex_allowed() {
            // Switched off in so many words only where it may have been offered before.
            ids.ut_pex = self.links.get(slot).filter(|link| link.offered_pex).map(|_| 0);
        }
        ExtensionHandshake {
            ids,
            client: Some(self.config.client.to_owned()),
            port: (self.listen_port != 0).then_some(self.listen_port),
            reqq: Some(self.config.limits.requests_in),
            metadata_size: self.info.as_ref().map(|info| info.bytes.len() as u64),
            yourip: self.links.get(slot).map(|link| link.ip),
            upload_only: self.info.is_some().then_some(self.finished),
            ..ExtensionHandshake::default()
        }
    }

    /// What we say we have: nothing at all is said where silence means that.
    fn say_pieces(&self, slot: u32) -> Option<Message> {
        let fast = self.links.get(slot).is_some_and(|link| link.fast);
        if self.have.count() == 0 || self.hides_pieces() {
            return fast.then_some(Message::HaveNone);
        }
        if fast && self.have.is_full() {
            return Some(Message::HaveAll);
        }
        Some(Message::Bitfield(bitfield_bytes(&self.have)))
    }

    fn allow_fast(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        let (now, pieces) = (self.now, self.pieces());
        let Some(link) = self.links.get_mut(slot) else { return };
        if !link.fast || pieces == 0 || self.super_seeding || !link.up.allowed.is_empty() || !wants_fast(link)
        {
            return;
        }
        let count = ALLOWED_FAST_PIECES.min(self.config.limits.allowed_fast as u32);
        let set = allowed_fast_set(link.ip, self.hashes.wire(), pieces, count);
        link.up.allowed = set.into_iter().filter(|&piece| self.have.get(piece)).collect();
        for i in 0..link.up.allowed.len() {
            link.send(now, Message::AllowedFast(link.up.allowed[i]), out);
        }
    }
}

/// A peer that has something already does not need the gift.
fn wants_fast(link: &Link) -> bool {
    link.has.count(u32::MAX) < ALLOWED_FAST_PIECES
}

fn bitfield_bytes(have: &Bitfield) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(have.as_bytes())
}
