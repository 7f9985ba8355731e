//! What the torrent is, what of it we want, and what we have.

use std::collections::BTreeMap;
use std::sync::Arc;

use starling_metainfo::{Bitfield, Info, Sha256Hash};
use starling_sansio::Sink;

use crate::extension::DontHave;
use crate::picker::{Class, Has, Picker};
use crate::torrent::Torrent;
use crate::{Blame, Event, Message, Output, Priority};

impl Torrent {
    /// The metadata is known: judges what peers said before, and begins.
    pub(crate) fn load(
        &mut self,
        info: Arc<Info>,
        piece_layers: &BTreeMap<Sha256Hash, Vec<Sha256Hash>>,
        have: Bitfield,
        out: &mut impl Sink<Output>,
    ) {
        if self.info.is_some() {
            return;
        }
        let pieces = info.layout.pieces();
        self.have = if have.len() == pieces { have } else { Bitfield::new(pieces) };
        self.priorities = vec![Priority::Normal; info.layout.files().len()];
        self.totals.content_bytes = info.layout.content_length();
        self.info = Some(info);
        self.loaded_at = self.now;
        self.load_hashes(piece_layers);
        self.serve_metadata();
        self.settle_pex();
        self.rebuild();
        for slot in 0..self.links.slots() {
            self.judge_early(slot, out);
        }
        self.announce_loaded(out);
        self.want_hashes(out);
        self.check_finished(out);
        self.refill_idle(out);
    }

    /// Computes what is missing and, unless we have everything, the picker anew.
    fn rebuild(&mut self) {
        let Some(info) = self.info.clone() else { return };
        let classes = self.classes(&info);
        self.missing = Bitfield::new(info.layout.pieces());
        let totals = &mut self.totals;
        (totals.have_bytes, totals.wanted_bytes, totals.left_bytes) = (0, 0, 0);
        for (piece, &class) in (0u32..).zip(&classes) {
            let length = u64::from(info.layout.content_len(piece));
            let had = self.have.get(piece);
            totals.have_bytes += if had { length } else { 0 };
            let wanted = class > 0 && (had || self.config.fetch);
            totals.wanted_bytes += if wanted { length } else { 0 };
            if wanted && !had {
                self.missing.insert(piece);
                totals.left_bytes += length;
            }
        }
        if self.have.is_full() {
            self.picker = Picker::default();
            return;
        }
        if self.picker.is_idle() {
            let limit = self.config.limits.partial_pieces;
            self.picker = Picker::new(info, limit, self.config.sequential);
            for link in self.links.iter() {
                if let Has::Some(set) = &link.has {
                    set.iter().for_each(|piece| self.picker.rarity.inc(piece));
                }
            }
        }
        for (piece, &class) in (0u32..).zip(&classes) {
            self.picker.rarity.set_class(piece, class);
            self.offer(piece);
        }
        self.picker.touch();
    }

    /// Lets `piece` be begun if it is missing and can be verified; else not.
    pub(crate) fn offer(&mut self, piece: u32) {
        if self.picker.is_idle() || self.picker.rarity.begun(piece).is_some() {
            return;
        }
        if self.missing.get(piece) && self.hash_known(piece) {
            self.picker.rarity.insert(piece);
        } else {
            self.picker.rarity.remove(piece);
        }
    }

    /// A piece is as dear as the dearest of its files.
    fn classes(&self, info: &Info) -> Vec<Class> {
        let mut classes = vec![0; info.layout.pieces() as usize];
        for (index, priority) in self.priorities.iter().enumerate() {
            if info.layout.files().get(index).is_none_or(|file| file.padding) {
                continue;
            }
            for piece in info.layout.file_pieces(index) {
                if let Some(class) = classes.get_mut(piece as usize) {
                    *class = (*class).max(*priority as Class);
                }
            }
        }
        classes
    }

    pub(crate) fn set_priorities(&mut self, priorities: Vec<Priority>, out: &mut impl Sink<Output>) {
        let Some(info) = &self.info else { return };
        if priorities.len() != info.layout.files().len() {
            return;
        }
        self.priorities = priorities;
        self.rebuild();
        self.want_hashes(out);
        let was = std::mem::take(&mut self.finished);
        for slot in 0..self.links.slots() {
            self.recount(slot, out);
        }
        self.check_finished(out);
        if was && !self.finished {
            self.tell_upload_only(false, out);
        }
        self.refill_idle(out);
    }

    pub(crate) fn pause_download(&mut self, on: bool, out: &mut impl Sink<Output>) {
        self.paused = on;
        for slot in 0..self.links.slots() {
            if on {
                self.cancel_all(slot, out);
            }
            self.settle_interest(slot, out);
        }
        if on {
            self.cancel_fetches(out);
        } else {
            self.refill_idle(out);
        }
    }

    /// The disk says that `piece` is whole and good.
    pub(crate) fn on_verified(&mut self, piece: u32, out: &mut impl Sink<Output>) {
        let length = self.piece_bytes(piece);
        if !self.have.insert(piece) {
            return;
        }
        self.totals.have_bytes += length;
        let wanted = self.missing.remove(piece);
        if wanted {
            self.totals.left_bytes = self.totals.left_bytes.saturating_sub(length);
        }
        self.acquit(piece, out);
        if !self.picker.is_idle() {
            if self.picker.is_full() {
                self.refill_soon();
            }
            self.picker.finish(piece);
        }
        out.put(Output::Event(Event::Have { piece }));
        self.tell_have(piece, wanted, out);
        self.check_finished(out);
    }

    fn tell_have(&mut self, piece: u32, was_wanted: bool, out: &mut impl Sink<Output>) {
        let (left, now, paused) = (self.missing.count(), self.now, self.paused);
        for link in self.links.iter_mut() {
            link.send(now, Message::Have(piece), out);
            if let Has::Some(set) = &link.has
                && was_wanted
                && set.get(piece)
            {
                link.interesting = link.interesting.saturating_sub(1);
            }
            let wanted = !paused && if link.is_seed() { left > 0 } else { link.interesting > 0 };
            if link.am_interested && !wanted {
                link.am_interested = false;
                link.send(now, Message::NotInterested, out);
            }
        }
    }

    /// The disk says that `piece`, which we had, is no longer good.
    pub(crate) fn on_lost(&mut self, piece: u32, out: &mut impl Sink<Output>) {
        if !self.have.remove(piece) {
            return;
        }
        self.miss(piece);
        out.put(Output::Event(Event::Lost { piece, fetch: self.missing.get(piece) }));
        let now = self.now;
        for link in self.links.iter_mut() {
            if let Some(id) = link.ids.lt_donthave {
                link.send(now, DontHave { piece }.message(id), out);
            }
        }
        let was = std::mem::replace(&mut self.finished, self.missing.count() == 0);
        for slot in 0..self.links.slots() {
            self.reject_piece(slot, piece, out);
            self.recount(slot, out);
        }
        if was && !self.finished {
            self.tell_upload_only(false, out);
        }
        self.want_hashes(out);
        self.refill_idle(out);
    }

    /// Counts a piece out that was had. Where the picker is kept up this is little work: of a
    /// file that is gone all pieces are lost in a row.
    fn miss(&mut self, piece: u32) {
        if self.picker.is_idle() {
            return self.rebuild();
        }
        let length = self.piece_bytes(piece);
        let totals = &mut self.totals;
        totals.have_bytes = totals.have_bytes.saturating_sub(length);
        if self.picker.rarity.class(piece) == 0 {
            return;
        }
        if self.config.fetch {
            self.missing.insert(piece);
            totals.left_bytes += length;
            self.offer(piece);
            self.picker.touch();
        } else {
            totals.wanted_bytes = totals.wanted_bytes.saturating_sub(length);
        }
    }

    /// Reports the end once, and parts from those who have nothing to get here.
    pub(crate) fn check_finished(&mut self, out: &mut impl Sink<Output>) {
        if self.finished || self.info.is_none() || self.missing.count() > 0 {
            return;
        }
        self.finished = true;
        if self.have.is_full() {
            self.picker = Picker::default();
        }
        self.cancel_fetches(out);
        out.put(Output::Event(Event::Finished));
        for slot in 0..self.links.slots() {
            self.settle_interest(slot, out);
        }
        self.tell_upload_only(true, out);
        for slot in 0..self.links.slots() {
            self.part_if_useless(slot, out);
        }
        self.choking.seeding(self.now);
    }

    /// BEP 21: two that only upload have nothing to say to each other.
    pub(crate) fn part_if_useless(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        let Some(link) = self.links.get(slot) else { return };
        if self.finished && (link.is_seed() || link.upload_only) {
            self.close(slot, Blame::Nobody, "both are seeds", out);
        }
    }

    /// What a peer said before we knew how many pieces there are.
    fn judge_early(&mut self, slot: u32, out: &mut impl Sink<Output>) {
        let Some(link) = self.links.get_mut(slot) else { return };
        let early = std::mem::take(&mut link.early);
        if early.all {
            self.take_all(slot, out);
        } else if let Some(bytes) = early.bitfield {
            self.take_bitfield(slot, &bytes, out);
        }
        for piece in early.haves {
            self.take_have(slot, piece, out);
        }
        self.recount(slot, out);
    }

    /// Bytes of files in `piece`; 0 while the metadata is unknown.
    pub(crate) fn piece_bytes(&self, piece: u32) -> u64 {
        self.info.as_ref().map_or(0, |info| info.layout.content_len(piece).into())
    }

    /// Pieces there are; 0 while the metadata is unknown.
    pub(crate) fn pieces(&self) -> u32 {
        self.have.len()
    }
}
