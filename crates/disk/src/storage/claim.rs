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
    /// Takes the lock `path` below `root`; `Err(())` if somebody else has it.
    pub(super) fn take(root: &Root, path: &Path, fds: &FdCache) -> Result<Claim, ()> {
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE;
            let open = || root.open_file(path, flags, Mode::from_raw_mode(0o666));
            let Ok(file) = fds.with_room(DiskError::is_want_of_descriptors, open) else {
                return Ok(Claim(None));
            };
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Whoever had it may have removed the name since it was opened.
                Ok(()) if is_named(&file) => return Ok(Claim(Some(file))),
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Err(()),
                Err(errno) => {
                    tracing::debug!(%errno, "no locks here");
                    return Ok(Claim(None));
                }
            }
        }
    }

    /// Lets go of it, and of the file.
    pub(super) fn give_up(self, root: &Root, path: &Path) {
        // Held until the name is gone: who takes the lock after that sees it.
        if self.0.as_ref().is_some_and(is_named) {
            let _ = root.remove(path);
        }
    }
}

fn is_named(file: &File) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| stat.st_nlink > 0)
}
