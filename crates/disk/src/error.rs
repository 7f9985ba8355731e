use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use thiserror::Error;

/// The verb of errors of making files and folders.
pub(crate) const CREATE: &str = "create";

/// What went wrong, and whose doing it was.
#[derive(Clone, Debug, Error)]
pub enum DiskError {
    /// The disk has no room left (or the quota is used up).
    #[error("no room left on the disk for {}", .0.display())]
    Full(PathBuf),
    /// The disk said something else.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Somebody put a link where a file or folder of the torrent belongs.
    #[error("{} is a symbolic link, which is not followed", .0.display())]
    Symlink(PathBuf),
    /// Something else than a file lies where a file belongs.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// The data is not there (any more).
    #[error("{} ends before what should be in it", .0.display())]
    Short(PathBuf),
    /// What was written does not lie under its name any more.
    #[error("{} was removed or replaced while it was being written", .0.display())]
    Gone(PathBuf),
    /// It is being fetched already: by another program, or as part of another torrent.
    #[error(
        "{} is being written already, by another program or for another torrent of that name; wait until \
         that is done, or choose another folder",
        .0.display()
    )]
    Busy(PathBuf),
    /// A file is there already, and no piece of the torrent is known to be in it.
    #[error(
        "{}{} there already, and no piece of the torrent is known to be in it; move it away, choose another \
         folder, or allow it to be written over (--overwrite)",
        path.display(),
        and_more(*more)
    )]
    Foreign {
        /// The first.
        path: PathBuf,
        /// How many more there are.
        more: usize,
    },
    /// Each time that it was fetched anew, somebody else wrote to it.
    #[error("{} is being changed by another program again and again while it is fetched", .0.display())]
    Contested(PathBuf),
    /// The caller named a torrent that is not open.
    #[error("the torrent is not open")]
    NotOpen,
    /// The caller named bytes that the torrent does not have.
    #[error("no such bytes in the torrent")]
    OutOfRange,
    /// The caller stopped it.
    #[error("cancelled")]
    Cancelled,
    /// A file changed while it was being hashed.
    #[error("{} changed while it was read", .0.display())]
    Changed(PathBuf),
    /// What was found cannot be made into a torrent.
    #[error("{0}")]
    Unfit(String),
}

impl DiskError {
    /// Names the file and the verb of an error of the system.
    pub fn io(doing: &'static str, path: impl AsRef<Path>, source: io::Error) -> DiskError {
        let path = path.as_ref().to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskError::Full(path),
            io::ErrorKind::UnexpectedEof => DiskError::Short(path),
            _ => match source.get_ref().and_then(|inner| inner.downcast_ref::<DiskError>()) {
                Some(inner) => inner.clone(),
                None => DiskError::Io { doing, path, source: Arc::new(source) },
            },
        }
    }

    /// Whether trying again later may help.
    pub fn is_recoverable(&self) -> bool {
        match self {
            DiskError::Full(_) => true,
            // Where nothing can be made at all, as in /proc, or in a folder that was removed.
            DiskError::Io { doing: CREATE, source, .. } if source.kind() == io::ErrorKind::NotFound => false,
            DiskError::Io { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::FileTooLarge
            ),
            _ => false,
        }
    }

    /// Whether it was for want of descriptors.
    pub(crate) fn is_want_of_descriptors(&self) -> bool {
        matches!(self, DiskError::Io { source, .. } if wants_descriptors(source))
    }

    /// Whether it only says that the data is not there.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            DiskError::Short(_) => true,
            DiskError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

fn and_more(more: usize) -> String {
    match more {
        0 => " is".to_owned(),
        1 => " and one more file are".to_owned(),
        _ => format!(" and {more} more files are"),
    }
}

/// Whether this process, or the machine, has no descriptor left.
pub(crate) fn wants_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}
