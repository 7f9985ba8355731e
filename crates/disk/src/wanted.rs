//! Changing which files are wanted: those that become so move to their own place.

use std::sync::Arc;

use starling_metainfo::Layout;

use crate::DiskError;
use crate::storage::{Slot, Storage, read_exact, write_all};
use crate::torrent::Torrent;

impl Torrent {
    /// Gives newly wanted files a place of their own, with what the parts file holds of
    /// them. A file that has a place keeps it.
    pub(crate) fn place_wanted(self: &Arc<Torrent>, wanted: &[bool]) -> Result<(), DiskError> {
        let layout = &self.info.layout;
        self.places.change(|placed| {
            for index in 0..placed.len() {
                if !placed[index] && wanted.get(index).copied().unwrap_or(true) {
                    self.prepare(Slot::File(index))?;
                    move_parts(&*self.storage, layout, index)?;
                    placed[index] = true;
                    self.soil(Slot::File(index));
                }
            }
            Ok(())
        })?;
        self.drop_parts()
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
        for slot in self.take_dirty().into_iter().filter(|&slot| slot != Slot::Parts) {
            self.soil(slot); // the next checkpoint has it synced again, cheaply
            self.storage.sync(slot).map_err(|e| DiskError::io("sync", self.storage.path(slot), e))?;
        }
        let path = self.storage.path(Slot::Parts);
        self.storage.remove(Slot::Parts).map_err(|e| DiskError::io("remove", path, e))
    }
}

/// Copies what the parts file has of a file. Only its first and its last piece can be
/// shared with other files.
fn move_parts(storage: &dyn Storage, layout: &Layout, index: usize) -> Result<(), DiskError> {
    let Some(parts) = storage.stat(Slot::Parts)? else { return Ok(()) };
    let pieces = layout.file_pieces(index);
    let last = pieces.end.saturating_sub(1);
    let mut ends = vec![pieces.start, last];
    ends.dedup();
    for piece in ends.into_iter().filter(|piece| pieces.contains(piece)) {
        for span in layout.spans(piece, 0, layout.piece_len(piece)).filter(|span| span.file == Some(index)) {
            let from = layout.files()[index].offset + span.offset;
            let available = parts.length.saturating_sub(from).min(u64::from(span.length));
            let mut buffer = vec![0; available as usize];
            read_exact(storage, Slot::Parts, from, &mut buffer)
                .map_err(|e| DiskError::io("read", storage.path(Slot::Parts), e))?;
            write_all(storage, Slot::File(index), span.offset, &mut [std::io::IoSlice::new(&buffer)])
                .map_err(|e| DiskError::io("write", storage.path(Slot::File(index)), e))?;
        }
    }
    Ok(())
}
