//! Opening a torrent: what is there, what of it is to be believed, what hashed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;

use starling_metainfo::{Bitfield, FileEntry, Sha256Hash};

use crate::resume::{self, Identity, Resume};
use crate::storage::{Slot, Stat, read_exact};
use crate::torrent::{Torrent, lock};
use crate::{Allocate, Check, DiskError, Event, checking};

/// A resume file larger than this is not read: 8 times the hashes of the largest torrent.
const RESUME_MAX: u64 = 1 << 30;

/// The part of an [`crate::OpenSpec`] that is still to be done.
pub(crate) struct Wishes {
    pub(crate) wanted: Vec<bool>,
    pub(crate) allocate: Allocate,
    pub(crate) check: Check,
    pub(crate) tidy: bool,
    pub(crate) layers: BTreeMap<Sha256Hash, Vec<Sha256Hash>>,
}

impl Wishes {
    /// Whether the file is wanted.
    pub(crate) fn want(&self, index: usize) -> bool {
        self.wanted.get(index).copied().unwrap_or(true)
    }
}

/// Finds the torrent's device and goes on there. On a worker of nobody's device.
pub(crate) fn begin(torrent: &Arc<Torrent>, wishes: Wishes) {
    match torrent.storage.device() {
        Ok(device) => {
            let _ = torrent.lane.set(torrent.shared.lane(Some(device)));
            let _ = torrent.keeper.set(torrent.shared.keeper(device));
            torrent.submit(move |torrent, _| {
                if let Err(error) = torrent.plan(&wishes) {
                    give_up(torrent, error);
                }
            });
        }
        Err(error) => give_up(torrent, error),
    }
}

fn give_up(torrent: &Arc<Torrent>, error: DiskError) {
    torrent.shared.drop_torrent(torrent);
    torrent.storage.unclaim();
    let recoverable = error.is_recoverable();
    torrent.shared.tell(Event::Failed { key: torrent.key, error, recoverable });
}

/// What is believed, and what is to be hashed first.
struct Plan {
    trusted: Bitfield,
    recheck: Vec<u32>,
    /// The resume file goes on as it is: its length and entries.
    journal: Option<(u64, u64)>,
}

/// What is left to do when all is hashed.
struct Rest {
    trusted: Bitfield,
    journal: Option<(u64, u64)>,
    checked: bool,
    /// Files to be cut to their length if all their bytes are right.
    too_long: Vec<usize>,
    /// What lies in the parts file of files that are wanted now is to be moved there.
    move_in: Option<Vec<bool>>,
    /// Files that are somebody else's if no piece in them is right.
    strange: Vec<usize>,
    /// Files that are ours if none is somebody else's.
    owned: Vec<usize>,
    /// Files to be made, or given their room, beside what was found.
    make: Option<(Allocate, Found)>,
}

/// What lies on disk.
struct Found {
    files: Vec<Option<Stat>>,
    parts: Option<Stat>,
}

impl Found {
    fn is_longer(&self, index: usize, length: u64) -> bool {
        self.files.get(index).copied().flatten().is_some_and(|stat| stat.length > length)
    }
}

impl Torrent {
    fn plan(self: &Arc<Torrent>, wishes: &Wishes) -> Result<(), DiskError> {
        if wishes.tidy {
            // Before anything is looked at: what is believed then must stay as it is.
            self.storage.claim()?;
        }
        let (resume, length) = self.read_resume();
        let found = self.look(wishes, resume.as_ref())?;
        self.learn_layers(&wishes.layers, resume.as_ref());
        let strange = self.strange(wishes, resume.as_ref(), &found.files);
        let owned = self.ours(wishes, resume.as_ref(), &found.files);
        let mut trusted = Bitfield::new(self.info.layout.pieces());
        let plan = match resume.filter(|_| wishes.check == Check::Trust) {
            Some(resume) => self.believe(&resume, length, &found),
            None if wishes.check == Check::Complete => {
                insert_all(&mut trusted, self.all_possible(&found).into_iter());
                Plan { trusted, recheck: Vec::new(), journal: None }
            }
            None => Plan { trusted, recheck: self.all_possible(&found), journal: None },
        };
        let Plan { trusted, recheck, journal } = plan;
        let too_long = if wishes.tidy { self.too_long(wishes, &found) } else { Vec::new() };
        let move_in = (wishes.tidy && found.parts.is_some()).then(|| wishes.wanted.clone());
        let make = wishes.tidy.then_some((wishes.allocate, found));
        let rest =
            Rest { trusted, journal, checked: !recheck.is_empty(), too_long, move_in, strange, owned, make };
        checking::start(self, recheck, move |torrent, good| torrent.opened(rest, &good));
        Ok(())
    }

    /// Looks at every file, and decides which lie at their own place. What the parts file of an
    /// earlier run may hold of a file that is not there is found there first, and moved later.
    /// A file that is not wanted is left alone, unless it is known to be from an earlier run.
    fn look(&self, wishes: &Wishes, resume: Option<&Resume>) -> Result<Found, DiskError> {
        let files = self.info.layout.files();
        let stat = |(index, file): (usize, &FileEntry)| match file.padding {
            false => self.storage.stat(Slot::File(index)),
            true => Ok(None),
        };
        let stats: Vec<Option<Stat>> = files.iter().enumerate().map(stat).collect::<Result<_, _>>()?;
        let parts = self.storage.stat(Slot::Parts)?;
        let moves_in = |index: usize| {
            let has_bytes = files.get(index).is_some_and(|file| file.length > 0);
            wishes.tidy && parts.is_some() && has_bytes
        };
        let left = left_by(resume);
        let ours = |index: usize| !wishes.tidy || left.contains_key(&index);
        self.places.change(|placed| {
            *placed = stats
                .iter()
                .enumerate()
                .map(|(index, stat)| {
                    let wanted = wishes.want(index);
                    let is_there = stat.is_some_and(|stat| stat.length > 0);
                    (is_there && (wanted || ours(index))) || (wanted && !moves_in(index))
                })
                .collect();
        });
        Ok(Found { files: stats, parts })
    }

    fn read_resume(&self) -> (Option<Resume>, u64) {
        if self.journal.is_none() {
            return (None, 0);
        }
        match self.read_resume_bytes() {
            Ok(Some(bytes)) => match resume::parse(&bytes, &Identity::of(&self.info)) {
                Ok(resume) => return (Some(resume), bytes.len() as u64),
                Err(error) => tracing::warn!(%error, "resume file ignored, the data is checked"),
            },
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "resume file unreadable, the data is checked"),
        }
        (None, 0)
    }

    fn read_resume_bytes(&self) -> Result<Option<Vec<u8>>, DiskError> {
        let Some(stat) = self.storage.stat(Slot::Resume)? else { return Ok(None) };
        let path = self.storage.path(Slot::Resume);
        if stat.length > RESUME_MAX {
            return Err(DiskError::Unfit(format!("{} is too large", path.display())));
        }
        let mut bytes = vec![0; stat.length as usize];
        read_exact(&*self.storage, Slot::Resume, 0, &mut bytes)
            .map_err(|e| DiskError::io("read", path, e))?;
        Ok(Some(bytes))
    }

    fn learn_layers(&self, known: &BTreeMap<Sha256Hash, Vec<Sha256Hash>>, resume: Option<&Resume>) {
        for (index, file) in self.info.layout.files().iter().enumerate() {
            if let Some(layer) = file.pieces_root.and_then(|root| known.get(&root)) {
                self.learn_layer(index, layer.clone());
            }
        }
        for (index, layer) in resume.into_iter().flat_map(|resume| &resume.layers) {
            self.learn_layer(*index, layer.clone());
        }
    }

    fn believe(&self, resume: &Resume, length: u64, found: &Found) -> Plan {
        let mut suspect = Bitfield::new(self.info.layout.pieces());
        if resume.clean.is_some() {
            let left = left_by(Some(resume));
            let then = |index| left.get(&index).copied();
            let files = self.info.layout.files();
            for (index, file) in files.iter().enumerate().filter(|(_, file)| !file.padding) {
                if then(index) != found.files.get(index).copied().flatten() && file.length > 0 {
                    insert_all(&mut suspect, self.info.layout.file_pieces(index));
                }
            }
            if then(files.len()) != found.parts {
                let pieces = 0..self.info.layout.pieces();
                insert_all(&mut suspect, pieces.filter(|&piece| self.lies_in(piece, &[Slot::Parts])));
            }
        }
        insert_all(&mut suspect, resume.unsynced.iter().copied());
        let mut trusted = Bitfield::new(suspect.len());
        let believed =
            resume.synced.iter().filter(|&piece| !suspect.get(piece) && self.is_possible(piece, found));
        insert_all(&mut trusted, believed);
        let recheck: Vec<u32> = suspect.iter().filter(|&piece| self.is_possible(piece, found)).collect();
        let as_left = resume.clean.is_some() && trusted == resume.synced && recheck.is_empty();
        Plan { trusted, recheck, journal: as_left.then_some((length, resume.entries)) }
    }

    fn all_possible(&self, found: &Found) -> Vec<u32> {
        (0..self.info.layout.pieces()).filter(|&piece| self.is_possible(piece, found)).collect()
    }

    /// Whether all files of the piece are long enough to hold it.
    fn is_possible(&self, piece: u32, found: &Found) -> bool {
        let layout = &self.info.layout;
        let held = self.places.hold();
        layout
            .spans(piece, 0, layout.piece_len(piece))
            .filter_map(|span| Some((held.place(layout, &span)?, u64::from(span.length))))
            .all(|((slot, offset), length)| {
                let stat = match slot {
                    Slot::File(index) => found.files.get(index).copied().flatten(),
                    Slot::Parts | Slot::Resume => found.parts,
                };
                stat.is_some_and(|stat| stat.length >= offset + length)
            })
    }

    /// Wanted files that have more bytes than they should.
    fn too_long(&self, wishes: &Wishes, found: &Found) -> Vec<usize> {
        let files = self.info.layout.files().iter().enumerate();
        let long = files.filter(|(index, file)| wishes.want(*index) && found.is_longer(*index, file.length));
        long.map(|(index, _)| index).collect()
    }

    /// Creates empty files, and takes room for all if that is wished. What is too long is left
    /// as it is: it may be another file.
    fn make_files(&self, allocate: Allocate, found: &Found) -> Result<(), DiskError> {
        let held = self.places.hold();
        for (index, file) in self.info.layout.files().iter().enumerate() {
            let here = !file.padding && held.is_placed(index) && !found.is_longer(index, file.length);
            if here && (file.length == 0 || allocate == Allocate::Full) {
                self.storage.prepare(Slot::File(index), file.length, allocate == Allocate::Full)?;
            }
        }
        Ok(())
    }

    fn opened(self: &Arc<Torrent>, rest: Rest, good: &[u32]) {
        let mut right = rest.trusted.clone();
        insert_all(&mut right, good.iter().copied());
        if let Some(foreign) = self.foreign(&rest.strange, &right) {
            return give_up(self, foreign);
        }
        rest.owned.iter().filter_map(|&index| self.owned.get(index)).for_each(|b| b.store(true, Release));
        {
            let mut ledger = lock(&self.ledger);
            ledger.have.clone_from(&rest.trusted);
            ledger.synced = rest.trusted;
            for &piece in good {
                ledger.verified(piece, self.info.layout.piece_len(piece));
            }
        }
        good.iter().for_each(|&piece| self.soil_piece(piece));
        let made = rest.make.map_or(Ok(()), |(allocate, found)| self.make_files(allocate, &found));
        let cut = made.and_then(|()| self.cut(&rest.too_long));
        let ready = cut.and_then(|()| self.take_up_journal(rest.journal, rest.checked));
        let moved = ready.and_then(|()| match &rest.move_in {
            Some(wanted) => self.begin_writing().and_then(|()| self.place_wanted(wanted)),
            None => Ok(()),
        });
        if let Err(error) = moved {
            return give_up(self, error);
        }
        if !good.is_empty() {
            self.watch();
        }
        self.open.store(true, Release);
        let have = lock(&self.ledger).have.clone();
        if have.is_full() {
            self.storage.unclaim();
        }
        self.shared.tell(Event::Opened { key: self.key, have, piece_layers: self.known_layers() });
    }

    /// Cuts those of `files` to their length whose own bytes are all right.
    fn cut(&self, files: &[usize]) -> Result<(), DiskError> {
        let have = lock(&self.ledger).have.clone();
        let whole = |index: &&usize| self.info.layout.file_pieces(**index).all(|piece| have.get(piece));
        files.iter().filter(whole).try_for_each(|&index| self.prepare(Slot::File(index)))
    }

    /// Goes on with the resume file, or replaces it: what a check found bad must not be
    /// claimed by an old one any more. A torrent that has nothing yet needs none.
    fn take_up_journal(&self, journal: Option<(u64, u64)>, checked: bool) -> Result<(), DiskError> {
        let Some(own) = &self.journal else { return Ok(()) };
        let mut own = lock(own);
        match journal {
            Some((length, entries)) => own.resume(length, entries),
            None if checked || self.storage.stat(Slot::Resume)?.is_some() => {
                self.write_snapshot(&mut own, None)?;
            }
            None => {}
        }
        Ok(())
    }

    fn known_layers(&self) -> BTreeMap<Sha256Hash, Vec<Sha256Hash>> {
        let layers = self.layers.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let files = self.info.layout.files();
        let root = |index: &usize| files.get(*index).and_then(|file| file.pieces_root);
        layers.iter().filter_map(|(index, layer)| Some((root(index)?, layer.to_vec()))).collect()
    }
}

/// The files as a clean stop left them.
pub(crate) fn left_by(resume: Option<&Resume>) -> BTreeMap<usize, Stat> {
    resume.and_then(|resume| resume.clean.as_ref()).into_iter().flatten().copied().collect()
}

fn insert_all(set: &mut Bitfield, pieces: impl Iterator<Item = u32>) {
    for piece in pieces {
        set.insert(piece);
    }
}
