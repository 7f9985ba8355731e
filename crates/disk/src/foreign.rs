//! Whose the files are that lie where the torrent's belong.
//!
//! Each is judged by itself. It is the torrent's if an earlier run left it as it is, or wanted it
//! and was killed, if a right piece lies in it, wholly or in part, or if there is nothing in it
//! but zeros. What is left is somebody else's, and is not written over unless the caller allows
//! it. Other programs that fetch torrents leave no word for us: what they have begun without
//! finishing a piece of it is taken for somebody else's. What appears after the look is the
//! storage's to see.

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
    /// as they are now, or did not want if it did not end in order.
    pub(crate) fn strange(
        &self,
        wishes: &Wishes,
        resume: Option<&Resume>,
        found: &[Option<Stat>],
    ) -> Vec<usize> {
        if !wishes.tidy || self.overwrite || self.journal.is_none() {
            return Vec::new();
        }
        let was_ours = was_ours(resume);
        let strange = not_empty(found).filter(|(index, stat)| wishes.want(*index) && !was_ours(*index, stat));
        strange.map(|(index, _)| index).collect()
    }

    /// The files that are the torrent's once none is somebody else's: what is wanted, which may yet
    /// have to be made, and what an earlier run left. All of them at once and not each when it is
    /// first written to: a record of its own could be lost where the data is not.
    pub(crate) fn ours(
        &self,
        wishes: &Wishes,
        resume: Option<&Resume>,
        found: &[Option<Stat>],
    ) -> Vec<usize> {
        let was_ours = was_ours(resume);
        let ours = |index: usize, stat: Option<&Stat>| {
            (wishes.tidy && wishes.want(index)) || stat.is_some_and(|stat| was_ours(index, stat))
        };
        let files = found.iter().enumerate();
        files.filter(|(index, stat)| ours(*index, stat.as_ref())).map(|(index, _)| index).collect()
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

fn not_empty(found: &[Option<Stat>]) -> impl Iterator<Item = (usize, &Stat)> {
    let there = found.iter().enumerate().filter_map(|(index, stat)| Some((index, stat.as_ref()?)));
    there.filter(|(_, stat)| stat.length > 0)
}

/// Tells of a file, as it is now, whether an earlier run left it.
fn was_ours(resume: Option<&Resume>) -> impl Fn(usize, &Stat) -> bool {
    let left = left_by(resume);
    let was_writing = resume.filter(|resume| resume.clean.is_none());
    move |index, stat| match was_writing {
        Some(resume) => resume.owned.contains(&index),
        None => left.get(&index) == Some(stat),
    }
}
