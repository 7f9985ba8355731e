//! Changing which files are wanted: those that become so move to their own place.

use std::sync::Arc;

use starling_metainfo::Layout;

use crate::DiskError;
use crate::storage::{Slot, Storage, read_exact, write_all};
use crate::torrent::{Torrent, lock};

/// Bytes copied at a time.
const COPY: u64 = 1 << 20;

impl Torrent {
    /// Gives newly wanted files a place of their own, with what the parts file holds of
    /// them. A file that has a place keeps it.
    pub(crate) fn place_wanted(self: &Arc<Torrent>, wanted: &[bool]) -> Result<(), DiskError> {
        let layout = &self.info.layout;
        self.places.change(|placed| {
            for (index, placed) in placed.iter_mut().enumerate() {
                if !*placed && wanted.get(index).copied().unwrap_or(true) {
                    self.refuse_foreign(index)?;
                    self.record_owned(index)?;
                    self.prepare(Slot::File(index))?;
                    move_parts(&*self.storage, layout, index, &self.pieces_begun(index))?;
                    *placed = true;
                    self.soil(Slot::File(index));
                }
            }
            Ok(())
        })?;
        self.drop_parts()
    }

    /// Pieces of a file that may have data.
    fn pieces_begun(&self, index: usize) -> Vec<u32> {
        let owned =
            |piece: &u32| lock(&self.ledger).have.get(*piece) || lock(&self.slots).contains_key(piece);
        self.info.layout.file_pieces(index).filter(owned).collect()
    }

    /// Removes the parts file when nothing lies in it any more. What was in it is synced
    /// at its new place first.
    fn drop_parts(&self) -> Result<(), DiskError> {
        let files = self.info.layout.files();
        let all_placed = {
            let held = self.places.hold();
            (0..files.len()).all(|index| files[index].padding || held.is_placed(index))
        };
        if !all_placed || self.storage.stat(Slot::Parts)?.is_none() {
            return Ok(());
        }
        let mut slots = self.take_dirty();
        slots.retain(|&slot| slot != Slot::Parts);
        slots.iter().for_each(|&slot| self.soil(slot)); // the next checkpoint syncs again, cheaply
        if let Some((_, error)) = self.sync_all(&slots) {
            return Err(error);
        }
        if let Err(error) = self.storage.remove(Slot::Parts) {
            // All that was in it lies where it belongs: not worth stopping for.
            tracing::warn!(path = %self.storage.path(Slot::Parts).display(), %error, "left behind");
        }
        Ok(())
    }
}

/// Copies what the parts file has of these pieces of a file.
fn move_parts(storage: &dyn Storage, layout: &Layout, index: usize, pieces: &[u32]) -> Result<(), DiskError> {
    let Some(parts) = storage.stat(Slot::Parts)? else { return Ok(()) };
    let base = layout.files().get(index).map_or(0, |file| file.offset);
    let mut buffer = Vec::new();
    for &piece in pieces {
        for span in layout.spans(piece, 0, layout.piece_len(piece)).filter(|span| span.file == Some(index)) {
            let end = (span.offset + u64::from(span.length)).min(parts.length.saturating_sub(base));
            let mut at = span.offset;
            while at < end {
                buffer.resize(COPY.min(end - at) as usize, 0);
                read_exact(storage, Slot::Parts, base + at, &mut buffer)
                    .map_err(|e| DiskError::io("read", storage.path(Slot::Parts), e))?;
                write_all(storage, Slot::File(index), at, &mut [std::io::IoSlice::new(&buffer)])
                    .map_err(|e| DiskError::io("write", storage.path(Slot::File(index)), e))?;
                at += buffer.len() as u64;
            }
        }
    }
    Ok(())
}
