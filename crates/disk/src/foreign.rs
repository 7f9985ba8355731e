//! Whose the files are that lie where the torrent's belong.
//!
//! Each is judged by itself. It is the torrent's if an earlier run left it as it is, if a right
//! piece lies in it, wholly or in part, or if there is nothing in it but zeros. What is left is
//! somebody else's, and is not written over unless the caller allows it. Other programs that
//! fetch torrents leave no word for us: what they have begun without finishing a piece of it is
//! taken for somebody else's. What appears after the look is the storage's to see.

use std::io::{self, IoSliceMut};

use starling_metainfo::Bitfield;

use crate::DiskError;
use crate::open::{Wishes, left_by};
use crate::resume::Resume;
use crate::storage::{Slot, Stat};
use crate::torrent::Torrent;

/// Bytes looked at in one go.
const LOOK: usize = 64 * 1024;

impl Torrent {
    /// The wanted files with something in them that an earlier run of this torrent did not leave
    /// as they are now. A run that did not end in order leaves nothing to tell by: then it is none.
    pub(crate) fn strange(
        &self,
        wishes: &Wishes,
        resume: Option<&Resume>,
        found: &[Option<Stat>],
    ) -> Vec<usize> {
        let was_writing = resume.is_some_and(|resume| resume.clean.is_none());
        if !wishes.tidy || self.overwrite || self.journal.is_none() || was_writing {
            return Vec::new();
        }
        let left = left_by(resume);
        let wanted = |index: usize| wishes.wanted.get(index).copied().unwrap_or(true);
        let ours = |index: usize, stat: Stat| left.get(&index) == Some(&stat);
        let files = found.iter().enumerate().filter_map(|(index, stat)| Some((index, (*stat)?)));
        let strange = files.filter(|&(index, stat)| stat.length > 0 && wanted(index) && !ours(index, stat));
        strange.map(|(index, _)| index).collect()
    }

    /// Those of `strange` that are somebody else's: with something in them beside zeros (which is
    /// how others take room for what they fetch) and without a right piece.
    pub(crate) fn foreign(&self, strange: &[usize], have: &Bitfield) -> Option<DiskError> {
        let layout = &self.info.layout;
        let has_some = |index| layout.file_pieces(index).any(|piece| have.get(piece));
        let mut foreign =
            strange.iter().copied().filter(|&index| !has_some(index) && !self.is_blank(Slot::File(index)));
        let path = self.storage.path(Slot::File(foreign.next()?));
        Some(DiskError::Foreign { path, more: foreign.count() })
    }

    /// The same of a file that was not wanted so far and is now, of which nothing was hashed.
    pub(crate) fn refuse_foreign(&self, index: usize) -> Result<(), DiskError> {
        let slot = Slot::File(index);
        let there = self.storage.stat(slot)?.is_some_and(|stat| stat.length > 0);
        if self.overwrite || !there || self.is_blank(slot) {
            return Ok(());
        }
        Err(DiskError::Foreign { path: self.storage.path(slot), more: 0 })
    }

    /// Whether there are but zeros in it.
    fn is_blank(&self, slot: Slot) -> bool {
        let mut buffer = vec![0; LOOK];
        let mut at = 0;
        loop {
            match self.storage.read(slot, at, &mut [IoSliceMut::new(&mut buffer)]) {
                Ok(0) => return true,
                Ok(count) if buffer.iter().take(count).all(|&byte| byte == 0) => at += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return false,
            }
        }
    }
}
