//! Reading and writing stretches of pieces, whatever files they cross.

use std::io::{IoSlice, IoSliceMut};

use bytes::Bytes;
use starling_metainfo::Layout;

use crate::DiskError;
use crate::place::Places;
use crate::storage::{Slot, Storage, read_exact, write_all};

/// Buffers in one system call.
const BUFFERS: usize = 64;

/// A torrent's files and where they lie.
#[derive(Clone, Copy)]
pub(crate) struct SpanIo<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) places: &'a Places,
    pub(crate) storage: &'a dyn Storage,
}

impl SpanIo<'_> {
    /// Writes `run`, consecutive blocks from `begin` on. `before` and `after` hear of
    /// every slot that is written, the latter whether it went well or not.
    pub(crate) fn write(
        &self,
        piece: u32,
        begin: u32,
        run: &[(u32, Bytes)],
        mut before: impl FnMut(Slot) -> Result<(), DiskError>,
        mut after: impl FnMut(Slot),
    ) -> Result<(), DiskError> {
        let total: usize = run.iter().map(|(_, data)| data.len()).sum();
        let held = self.places.hold();
        let mut cursor = Cursor { run, at: 0 };
        for span in self.layout.spans(piece, begin, total as u32) {
            let Some((slot, offset)) = held.place(self.layout, &span) else {
                cursor.skip(span.length as usize);
                continue;
            };
            before(slot)?;
            let result = self.write_span(slot, offset, span.length as usize, &mut cursor);
            after(slot);
            result?;
        }
        Ok(())
    }

    fn write_span(
        &self,
        slot: Slot,
        mut offset: u64,
        length: usize,
        cursor: &mut Cursor<'_>,
    ) -> Result<(), DiskError> {
        let mut left = length;
        while left > 0 {
            let mut slices = [IoSlice::new(&[]); BUFFERS];
            let (count, bytes) = cursor.take(left, &mut slices);
            if count == 0 {
                return Err(DiskError::OutOfRange);
            }
            write_all(self.storage, slot, offset, &mut slices[..count])
                .map_err(|e| DiskError::io("write", self.storage.path(slot), e))?;
            offset += bytes as u64;
            left -= bytes;
        }
        Ok(())
    }

    /// Fills `buf` from `begin` on; padding reads as zeros.
    pub(crate) fn read(&self, piece: u32, begin: u32, mut buf: &mut [u8]) -> Result<(), DiskError> {
        let held = self.places.hold();
        for span in self.layout.spans(piece, begin, buf.len() as u32) {
            let (head, rest) = buf.split_at_mut(span.length as usize);
            match held.place(self.layout, &span) {
                None => head.fill(0),
                Some((slot, offset)) => read_exact(self.storage, slot, offset, head)
                    .map_err(|e| DiskError::io("read", self.storage.path(slot), e))?,
            }
            buf = rest;
        }
        if buf.is_empty() { Ok(()) } else { Err(DiskError::OutOfRange) }
    }

    /// Fills `bufs` if that needs no waiting at all.
    pub(crate) fn read_resident(
        &self,
        piece: u32,
        begin: u32,
        mut bufs: &mut [IoSliceMut<'_>],
    ) -> Option<()> {
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        let held = self.places.try_hold()?;
        let mut left = total;
        for span in self.layout.spans(piece, begin, u32::try_from(total).ok()?) {
            let length = span.length as usize;
            let (slot, offset) = held.place(self.layout, &span)?;
            if length == left {
                left -= self.storage.read_resident(slot, offset, bufs)?;
                break;
            }
            let count = self.resident_part(slot, offset, length, bufs)?;
            IoSliceMut::advance_slices(&mut bufs, count);
            left -= count;
        }
        (left == 0).then_some(())
    }

    /// A span that ends before the buffers do.
    fn resident_part(
        &self,
        slot: Slot,
        offset: u64,
        length: usize,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Option<usize> {
        let mut done = 0;
        for buf in bufs.iter_mut() {
            let part = buf.len().min(length - done);
            let count = self.storage.read_resident(
                slot,
                offset + done as u64,
                &mut [IoSliceMut::new(buf.get_mut(..part)?)],
            )?;
            if count != part {
                return None;
            }
            done += part;
            if done == length {
                break;
            }
        }
        (done == length).then_some(done)
    }

    /// Says that the rest of the piece is wanted soon, 1 MiB at most.
    pub(crate) fn will_need(&self, piece: u32, begin: u32) {
        let length = self.layout.piece_len(piece).saturating_sub(begin).min(1 << 20);
        self.ask_for(piece, begin, length);
    }

    /// Says that all of these pieces are wanted soon.
    pub(crate) fn will_need_all(&self, pieces: &[u32]) {
        pieces.iter().for_each(|&piece| self.ask_for(piece, 0, self.layout.piece_len(piece)));
    }

    fn ask_for(&self, piece: u32, begin: u32, length: u32) {
        let held = self.places.hold();
        for span in self.layout.spans(piece, begin, length) {
            if let Some((slot, offset)) = held.place(self.layout, &span) {
                self.storage.will_need(slot, offset, u64::from(span.length));
            }
        }
    }
}

/// A position in consecutive buffers.
struct Cursor<'a> {
    run: &'a [(u32, Bytes)],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn skip(&mut self, mut bytes: usize) {
        while let Some((_, first)) = self.run.first().filter(|_| bytes > 0) {
            let step = bytes.min(first.len() - self.at);
            self.advance(step);
            bytes -= step;
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        if self.run.first().is_some_and(|(_, first)| self.at >= first.len()) {
            self.run = &self.run[1..];
            self.at = 0;
        }
    }

    /// Up to `bytes` as slices: how many slices, how many bytes.
    fn take(&mut self, bytes: usize, slices: &mut [IoSlice<'a>; BUFFERS]) -> (usize, usize) {
        let (mut count, mut taken) = (0, 0);
        while taken < bytes && count < BUFFERS {
            let run = self.run;
            let Some((_, first)) = run.first() else { break };
            let part = (bytes - taken).min(first.len() - self.at);
            slices[count] = IoSlice::new(&first[self.at..self.at + part]);
            count += 1;
            taken += part;
            self.advance(part);
        }
        (count, taken)
    }
}
