//! That a file or folder is fetched by one torrent of one program at a time.
//!
//! Two that did would each believe what it found and verified, and write over it what is
//! another torrent's, or what the other has not verified yet. So who fetches holds a lock (`flock`) on a file beside the
//! torrent's, which goes when the fetching ends; the kernel lets go of it for a program that
//! was killed. Only programs that ask are kept apart, and where a file system has no such
//! locks, or nothing can be created, nobody is.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::FdCache;
use super::beneath::Root;
use crate::DiskError;

/// A lock on a file of ours.
pub(super) struct Claim(Option<File>);

impl Claim {
    /// Takes the lock `path` below `root`; `Ok(None)` if somebody else has it. Something else
    /// than a file in its place is an error: whoever put it there would be kept apart from nobody.
    pub(super) fn take(root: &Root, path: &Path, fds: &FdCache) -> Result<Option<Claim>, DiskError> {
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE;
            let open = || root.open_file(path, flags, Mode::from_raw_mode(0o666));
            let file = match fds.with_room(DiskError::is_want_of_descriptors, open) {
                Ok(file) => file,
                Err(error @ (DiskError::Symlink(_) | DiskError::NotAFile(_))) => return Err(error),
                Err(_) => return Ok(Some(Claim(None))),
            };
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Whoever had it may have removed the name since it was opened.
                Ok(()) if is_named(&file) => return Ok(Some(Claim(Some(file)))),
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => {
                    tracing::debug!(%errno, "no locks here");
                    return Ok(Some(Claim(None)));
                }
            }
        }
    }

    /// Lets go of it, and of the file, unless there is something in it: a torrent may be named so.
    pub(super) fn give_up(self, root: &Root, path: &Path) {
        let is_ours = |file: &File| is_named(file) && file.metadata().is_ok_and(|meta| meta.len() == 0);
        // Held until the name is gone: who takes the lock after that sees it.
        if self.0.as_ref().is_some_and(is_ours) {
            let _ = root.remove(path);
        }
    }
}

fn is_named(file: &File) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| stat.st_nlink > 0)
}
