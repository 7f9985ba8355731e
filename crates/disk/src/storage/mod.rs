//! What lies below a torrent: named stretches of bytes that can fail.
//!
//! [`Storage`] is all that the rest of this crate knows of files. [`Folder`] is
//! the real one; tests put slow, full and lying ones in its place.

mod beneath;
mod claim;
mod fds;
mod folder;
mod names;
mod own;

use std::io::{self, IoSlice, IoSliceMut};
use std::path::PathBuf;
use std::time::SystemTime;

pub use fds::FdCache;
pub use folder::Folder;

use crate::DiskError;

/// Which of a torrent's files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Slot {
    /// An entry of `layout.files()` that is not padding.
    File(usize),
    /// Bytes of boundary pieces that fall into files not wanted, at their offset in
    /// the piece space (the file is sparse).
    Parts,
    /// The resume file.
    Resume,
}

/// Size and time of a file, to tell whether somebody touched it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Bytes in the file.
    pub length: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

/// A torrent's files. Calls block; they come from worker threads, except
/// [`Storage::read_resident`], which must not block.
///
/// Reads and writes may be short like the system's; a read of 0 bytes is the end.
pub trait Storage: Send + Sync + 'static {
    /// Names the device whose speed these files have. May block; asked once, first.
    fn device(&self) -> Result<u64, DiskError>;

    /// Size and time; `None` if there is no such file.
    fn stat(&self, slot: Slot) -> Result<Option<Stat>, DiskError>;

    /// What lies under the file's name now; `None` if nothing does, or another file than the
    /// one that was opened under it before and is still open here.
    fn named(&self, slot: Slot) -> Result<Option<Stat>, DiskError>;

    /// Whether somebody else was seen to write to the file, or cut it, since it was first
    /// written to here, or since the last such question. By its length and the time it was
    /// last modified, so that a change within the clock's grain of one of ours, or among
    /// several of ours, is not seen.
    fn was_touched(&self, _slot: Slot) -> bool {
        false
    }

    /// Whether the file was there when it was first looked for, or was made here; what appeared
    /// in between is somebody else's.
    fn is_known(&self, _slot: Slot) -> bool {
        true
    }

    /// Takes the files to write to, from now until [`Storage::unclaim`];
    /// [`DiskError::Busy`] if somebody else has. May be called again.
    fn claim(&self) -> Result<(), DiskError> {
        Ok(())
    }

    /// Nothing will be written until the next claim.
    fn unclaim(&self) {}

    /// Creates the file if need be, with its folders, and cuts off what lies beyond `length`.
    /// `reserve`: takes room for all of it now.
    fn prepare(&self, slot: Slot, length: u64, reserve: bool) -> Result<(), DiskError>;

    /// Reads once.
    fn read(&self, slot: Slot, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Reads what needs no waiting; `None` if anything would.
    fn read_resident(&self, slot: Slot, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Option<usize>;

    /// Says that these bytes are wanted soon.
    fn will_need(&self, slot: Slot, offset: u64, length: u64);

    /// Says that these bytes are to be read from the medium next time.
    fn forget_cached(&self, slot: Slot);

    /// Writes once, creating the file if need be.
    fn write(&self, slot: Slot, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Returns when all that was written to the file is on the medium, and its name too;
    /// of names, calls side by side may do each a part.
    fn sync(&self, slot: Slot) -> io::Result<()>;

    /// Puts `bytes` in place of the whole file, atomically and durably.
    fn replace(&self, slot: Slot, bytes: &[u8]) -> io::Result<()>;

    /// Removes the file if it is there.
    fn remove(&self, slot: Slot) -> io::Result<()>;

    /// How errors name the file.
    fn path(&self, slot: Slot) -> PathBuf;
}

/// Reads all of `buf`, however many calls it takes; the end of the file is an error.
pub(crate) fn read_exact(
    storage: &dyn Storage,
    slot: Slot,
    mut at: u64,
    mut buf: &mut [u8],
) -> io::Result<()> {
    while !buf.is_empty() {
        let count = match storage.read(slot, at, &mut [IoSliceMut::new(buf)]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        at += count as u64;
        buf = &mut buf[count..];
    }
    Ok(())
}

/// Writes all of `bufs`, however many calls it takes.
pub(crate) fn write_all(
    storage: &dyn Storage,
    slot: Slot,
    mut at: u64,
    mut bufs: &mut [IoSlice<'_>],
) -> io::Result<()> {
    while !bufs.is_empty() {
        let count = match storage.write(slot, at, bufs) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        at += count as u64;
        IoSlice::advance_slices(&mut bufs, count);
    }
    Ok(())
}
