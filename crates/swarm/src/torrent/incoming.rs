//! What a peer says. Order, ranges and floods are judged here.

use std::net::SocketAddr;

use bytes::Bytes;
use starling_metainfo::Bitfield;
use starling_sansio::Sink;

use crate::extension::{self, ExtensionHandshake, ExtensionMessage};
use crate::picker::Has;
use crate::torrent::Torrent;
use crate::{Blame, ConnId, Event, Message, Output};

impl Torrent {
    pub(crate) fn on_message(&mut self, conn: ConnId, message: Message, out: &mut impl Sink<Output>) {
        let Some(slot) = self.links.slot_of(conn) else { return };
        let now = self.now;
        let Some(link) = self.links.get_mut(slot) else { return };
        if link.closing {
            return;
        }
        link.last_in = now;
        match message {
            Message::Piece(block) => {
                link.opening = false;
                return self.on_piece(slot, block, out);
            }
            Message::Request(block) => {
                link.opening = false;
                return self.on_request(slot, block, out);
            }
            _ => {}
        }
        if !link.chatter_ok(now, &self.config.limits) {
            return self.close(slot, Blame::Peer, "floods us with messages", out);
        }
        if fast_only(&message) && !link.fast {
            return self.close(slot, Blame::Peer, "uses the fast extension it did not agree to", out);
        }
        if !matches!(
            message,
            Message::Extended { .. } | Message::KeepAlive | Message::Port(_) | Message::Unknown(_)
        ) && !is_opening(&message)
        {
            link.opening = false;
        }
        self.dispatch(slot, message, out);
    }

    fn dispatch(&mut self, slot: u32, message: Message, out: &mut impl Sink<Output>) {
        match message {
            Message::Have(piece) => self.on_have(slot, piece, out),
            Message::Bitfield(_) | Message::HaveAll | Message::HaveNone => {
                self.on_opening(slot, message, out);
            }
            Message::Choke => self.on_choke(slot, out),
            Message::Unchoke => self.on_unchoke(slot, out),
            Message::Interested => self.on_interested(slot, true, out),
            Message::NotInterested => self.on_interested(slot, false, out),
            Message::Cancel(block) => self.on_cancel(slot, block, out),
            Message::Reject(block) => self.on_reject(slot, block, out),
            Message::Suggest(piece) => self.on_suggest(slot, piece),
            Message::AllowedFast(piece) => self.on_allowed_fast(slot, piece, out),
            Message::Extended { id, payload } => self.on_extended(slot, id, &payload, out),
            Message::HashRequest(range) => self.on_hash_request(slot, range, out),
            Message::Hashes { range, hashes } => self.on_hashes(slot, range, &hashes, out),
            Message::HashReject(range) => self.on_hash_reject(slot, range, out),
            Message::KeepAlive | Message::Port(_) | Message::Unknown(_) => {}
            Message::Piece(_) | Message::Request(_) => {}
        }
    }

    /// Bitfield, have-all or have-none: once, and first. Some clients (aria2) also send a
    /// grown bitfield later in place of many haves; that is taken as those haves.
    fn on_opening(&mut self, slot: u32, message: Message, out: &mut impl Sink<Output>) {
        let limit = self.config.limits.early_bitfield;
        let loaded = self.info.is_some();
        let Some(link) = self.links.get_mut(slot) else { return };
        let late = !std::mem::take(&mut link.opening);
        match message {
            Message::Bitfield(bytes) if late && loaded => self.take_late_bitfield(slot, &bytes, out),
            Message::HaveAll | Message::HaveNone if late => {
                return self.close(slot, Blame::Peer, "says anew what it has", out);
            }
            Message::HaveAll if loaded => self.take_all(slot, out),
            Message::HaveAll => link.early.all = true,
            Message::Bitfield(bytes) if loaded => self.take_bitfield(slot, &bytes, out),
            Message::Bitfield(bytes) if bytes.len() <= limit => link.early.bitfield = Some(bytes),
            Message::Bitfield(_) => self.close(slot, Blame::Peer, "sent too long a bitfield", out),
            _ => {}
        }
        self.settle_interest(slot, out);
    }

    pub(crate) fn take_all(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        self.set_has(slot, Has::All);
        self.settle_interest(slot, out);
        self.part_if_useless(slot, out);
    }

    pub(crate) fn take_bitfield(&mut self, slot: u32, bytes: &Bytes, out: &mut impl Sink<Output>) {
        let Some(set) = Bitfield::from_bytes(bytes, self.pieces()) else {
            return self.close(slot, Blame::Peer, "sent a bitfield of the wrong size", out);
        };
        if set.is_full() && !set.is_empty() {
            return self.take_all(slot, out);
        }
        if !self.picker.is_idle() {
            set.iter().for_each(|piece| self.picker.rarity.inc(piece));
            self.picker.touch();
        }
        self.set_has(slot, Has::Some(Box::new(set)));
        self.recount(slot, out);
    }

    /// What is new in it counts as haves; one that tells nothing new is nonsense.
    fn take_late_bitfield(&mut self, slot: u32, bytes: &Bytes, out: &mut impl Sink<Output>) {
        let Some(set) = Bitfield::from_bytes(bytes, self.pieces()) else {
            return self.close(slot, Blame::Peer, "sent a bitfield of the wrong size", out);
        };
        let Some(link) = self.links.get(slot) else { return };
        let known = |piece| match &link.has {
            Has::All => true,
            Has::Some(has) => has.get(piece),
            Has::Nothing => false,
        };
        let news: Vec<u32> = set.iter().filter(|&piece| !known(piece)).collect();
        if news.is_empty() {
            return self.strike(slot, "repeats itself", out);
        }
        for piece in news {
            if self.links.get(slot).is_none_or(|link| link.closing) {
                return;
            }
            self.take_have(slot, piece, out);
        }
        self.fill(slot, out);
    }

    fn on_have(&mut self, slot: u32, piece: u32, out: &mut impl Sink<Output>) {
        let limit = self.config.limits.early_haves;
        if self.info.is_none() {
            let Some(link) = self.links.get_mut(slot) else { return };
            if link.early.haves.len() >= limit {
                return self.close(slot, Blame::Peer, "floods us with haves", out);
            }
            return link.early.haves.push(piece);
        }
        if self.take_have(slot, piece, out) {
            self.fill(slot, out);
        }
    }

    /// A peer has `piece`; true if that made it more interesting.
    pub(crate) fn take_have(&mut self, slot: u32, piece: u32, out: &mut impl Sink<Output>) -> bool {
        let pieces = self.pieces();
        if piece >= pieces {
            self.close(slot, Blame::Peer, "has a piece that does not exist", out);
            return false;
        }
        let wanted = self.missing.get(piece);
        let Some(link) = self.links.get_mut(slot) else { return false };
        if let Has::Nothing = link.has {
            link.has = Has::Some(Box::new(Bitfield::new(pieces)));
        }
        let fresh = matches!(&link.has, Has::Some(set) if !set.get(piece));
        if !fresh {
            self.strike(slot, "repeats itself", out);
            return false;
        }
        let full =
            if let Has::Some(set) = &mut link.has { set.insert(piece) && set.is_full() } else { false };
        link.interesting += u32::from(wanted);
        link.down.starved = None;
        // What it has already given: a `have` earns no token back, so floods stay bounded.
        link.chatter = (link.chatter + 1.0).min(f64::from(self.config.limits.chatter_burst));
        if !self.picker.is_idle() {
            self.picker.rarity.inc(piece);
        }
        if full {
            self.become_seed(slot);
        }
        self.settle_interest(slot, out);
        self.spread(slot, piece, out);
        self.part_if_useless(slot, out);
        wanted
    }

    /// Its set is full: a seed needs none.
    fn become_seed(&mut self, slot: u32) {
        if !self.picker.is_idle() {
            (0..self.pieces()).for_each(|piece| self.picker.rarity.dec(piece));
        }
        self.set_has(slot, Has::All);
    }

    fn set_has(&mut self, slot: u32, has: Has) {
        if let Some(link) = self.links.get_mut(slot) {
            link.has = has;
            link.down.starved = None;
        }
    }

    /// BEP 54: the peer lost a piece.
    fn on_dont_have(&mut self, slot: u32, piece: u32, out: &mut impl Sink<Output>) {
        let pieces = self.pieces();
        if piece >= pieces {
            return self.strike(slot, "lost a piece that does not exist", out);
        }
        let Some(link) = self.links.get_mut(slot) else { return };
        if link.is_seed() {
            link.has = Has::Some(Box::new(Bitfield::full(pieces)));
            if !self.picker.is_idle() {
                (0..pieces).for_each(|p| self.picker.rarity.inc(p));
            }
        }
        let Some(link) = self.links.get_mut(slot) else { return };
        if let Has::Some(set) = &mut link.has
            && set.remove(piece)
            && !self.picker.is_idle()
        {
            self.picker.rarity.dec(piece);
        }
        self.release_piece(slot, piece, out);
        self.recount(slot, out);
    }

    fn on_suggest(&mut self, slot: u32, piece: u32) {
        let limit = self.config.limits.suggestions;
        let Some(link) = self.links.get_mut(slot) else { return };
        let list = &mut link.down.suggested;
        if !list.contains(&piece) {
            if list.len() >= limit {
                list.remove(0);
            }
            list.push(piece);
        }
    }

    fn on_allowed_fast(&mut self, slot: u32, piece: u32, out: &mut impl Sink<Output>) {
        let limit = self.config.limits.allowed_fast;
        let Some(link) = self.links.get_mut(slot) else { return };
        let list = &mut link.down.allowed;
        if list.len() < limit && !list.contains(&piece) {
            list.push(piece);
            link.down.starved = None;
            self.fill(slot, out);
        }
    }

    fn on_extended(&mut self, slot: u32, id: u8, payload: &Bytes, out: &mut impl Sink<Output>) {
        match extension::decode(id, payload) {
            Ok(ExtensionMessage::Handshake(told)) => self.on_extension_handshake(slot, told, out),
            Ok(ExtensionMessage::Metadata(message)) => self.on_metadata(slot, message, out),
            Ok(ExtensionMessage::Pex(message)) => self.on_pex(slot, &message, out),
            Ok(ExtensionMessage::DontHave(lost)) => self.on_dont_have(slot, lost.piece, out),
            Ok(ExtensionMessage::Unknown) => {}
            Err(_) => self.strike(slot, "sends extended messages that cannot be read", out),
        }
    }

    fn on_extension_handshake(&mut self, slot: u32, told: ExtensionHandshake, out: &mut impl Sink<Output>) {
        let limits = &self.config.limits;
        let Some(link) = self.links.get_mut(slot) else { return };
        link.ids.update(&told.ids);
        link.extended = true;
        if let Some(reqq) = told.reqq {
            link.down.depth.set_cap(reqq.clamp(1, limits.requests_out));
        }
        if told.client.is_some() {
            link.client.clone_from(&told.client);
        }
        link.upload_only = told.upload_only.unwrap_or(link.upload_only);
        let conn = link.conn;
        if let Some(port) = told.port
            && link.listen.is_none()
        {
            let addr = SocketAddr::new(link.hello.addr.ip(), port);
            link.listen = Some(addr);
            out.put(Output::Event(Event::Listening { conn, addr }));
        }
        self.update_pex(slot);
        self.on_metadata_size(slot, told.metadata_size, out);
        self.part_if_useless(slot, out);
    }
}

/// Messages that both ends must have agreed to (BEP 6).
fn fast_only(message: &Message) -> bool {
    use Message::{AllowedFast, HaveAll, HaveNone, Reject, Suggest};
    matches!(message, HaveAll | HaveNone | Reject(_) | Suggest(_) | AllowedFast(_))
}

/// Messages that say what the peer has, and must come before all others.
fn is_opening(message: &Message) -> bool {
    matches!(message, Message::Bitfield(_) | Message::HaveAll | Message::HaveNone)
}
