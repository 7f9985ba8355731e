//! Opening below a folder only, and never through a link.
//!
//! One `openat2` with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS where the kernel
//! has it; otherwise component by component with O_NOFOLLOW, which gives the
//! same promise in more calls.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::DiskError;
use crate::error::CREATE;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);

/// A folder that files are opened below.
pub(crate) struct Root {
    dir: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens `path`, which the user named: links in it are theirs and are followed.
    pub(crate) fn open(path: &Path) -> Result<Root, DiskError> {
        let dir = rustix::fs::open(path, FOLDER, Mode::empty())
            .map_err(|errno| DiskError::io("open", path, errno.into()))?;
        Ok(Root { dir, path: path.to_path_buf() })
    }

    /// The folder itself.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Whether the folder still lies where it was opened.
    pub(crate) fn is_in_place(&self) -> bool {
        let (Ok(ours), Ok(there)) = (rustix::fs::fstat(&self.dir), rustix::fs::stat(&self.path)) else {
            return false;
        };
        (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
    }

    /// Opens the regular file `path`, relative and of plain components.
    pub(crate) fn open_file(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<File, DiskError> {
        // NONBLOCK: a FIFO in the file's place must not hold us up; it means nothing for files.
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let doing = if flags.contains(OFlags::CREATE) { CREATE } else { "open" };
        let fd = self.resolve(path, flags, mode).map_err(|errno| self.blame(doing, path, errno))?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| self.blame("open", path, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(DiskError::NotAFile(self.path.join(path)));
        }
        Ok(File::from(fd))
    }

    /// Creates the folders above `path`; those that are new are given to `created`
    /// by their parents, which are to be synced.
    pub(crate) fn make_parents(&self, path: &Path, created: &mut Vec<PathBuf>) -> Result<(), DiskError> {
        let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) else { return Ok(()) };
        let mut at = PathBuf::new();
        let mut dir = self.dir.try_clone().map_err(|e| DiskError::io("open", &self.path, e))?;
        for component in parent.components() {
            let above = at.clone();
            at.push(component);
            match rustix::fs::mkdirat(&dir, component.as_os_str(), FOLDER_MODE) {
                Ok(()) => created.push(above),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.blame(CREATE, &at, errno)),
            }
            dir = rustix::fs::openat(&dir, component.as_os_str(), FOLDER | OFlags::NOFOLLOW, Mode::empty())
                .map_err(|errno| self.blame("open", &at, errno))?;
        }
        Ok(())
    }

    /// Returns when the names in the folder `path` are on the medium.
    pub(crate) fn sync_folder(&self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() {
            return Ok(rustix::fs::fsync(&self.dir)?);
        }
        let dir = self.resolve(path, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(rustix::fs::fsync(dir)?)
    }

    /// Removes the file `path`, or the link, never what it points to.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.dir, path, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    #[cfg(target_os = "linux")]
    fn resolve(&self, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        use rustix::fs::ResolveFlags;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.dir, path, flags, mode, how) {
            // Old kernels, and sandboxes that know no such call.
            Err(Errno::NOSYS | Errno::PERM) => walk(self.dir.as_fd(), path, flags, mode),
            result => result,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn resolve(&self, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        walk(self.dir.as_fd(), path, flags, mode)
    }

    /// Finds out whether a link is to blame, and which.
    fn blame(&self, doing: &'static str, path: &Path, errno: Errno) -> DiskError {
        if matches!(errno, Errno::LOOP | Errno::NOTDIR | Errno::XDEV | Errno::MLINK) {
            let mut at = self.path.clone();
            for component in path.components() {
                at.push(component);
                if at.symlink_metadata().is_ok_and(|meta| meta.file_type().is_symlink()) {
                    return DiskError::Symlink(at);
                }
            }
        }
        match errno {
            // A FIFO without a reader, a folder in the file's place.
            Errno::NXIO | Errno::ISDIR => DiskError::NotAFile(self.path.join(path)),
            errno => DiskError::io(doing, self.path.join(path), errno.into()),
        }
    }
}

/// `openat` for each component; no link is followed, no `..` accepted.
fn walk(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let mut components = path.components().peekable();
    let mut dir: Option<OwnedFd> = None;
    while let Some(component) = components.next() {
        let std::path::Component::Normal(name) = component else { return Err(Errno::XDEV) };
        let at = dir.as_ref().map_or(root, |fd| fd.as_fd());
        if components.peek().is_none() {
            return rustix::fs::openat(at, name, flags | OFlags::NOFOLLOW, mode);
        }
        dir = Some(rustix::fs::openat(at, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?);
    }
    Err(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_refuse_links_and_parents() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), b"s").unwrap();
        std::fs::create_dir(inside.path().join("real")).unwrap();
        std::fs::write(inside.path().join("real/file"), b"f").unwrap();
        std::os::unix::fs::symlink(outside.path(), inside.path().join("dir")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), inside.path().join("link")).unwrap();
        let root = Root::open(inside.path()).unwrap();
        for path in ["dir/secret", "link", "../secret", "real/../../secret", "/etc/passwd"] {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            assert!(root.open_file(Path::new(path), flags, Mode::empty()).is_err(), "{path}");
            assert!(walk(root.dir(), Path::new(path), flags, Mode::empty()).is_err(), "{path}");
        }
        assert!(walk(root.dir(), Path::new("real/file"), OFlags::RDONLY, Mode::empty()).is_ok());
        assert!(root.open_file(Path::new("real/file"), OFlags::RDONLY, Mode::empty()).is_ok());
        let error = root.open_file(Path::new("dir/secret"), OFlags::RDONLY, Mode::empty()).unwrap_err();
        assert!(error.to_string().contains("dir is a symbolic link"), "{error}");
    }

    #[test]
    fn a_fifo_or_a_folder_in_a_files_place_is_refused_at_once() {
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir(inside.path().join("folder")).unwrap();
        let status = std::process::Command::new("mkfifo").arg(inside.path().join("fifo")).status();
        let root = Root::open(inside.path()).unwrap();
        let flags = OFlags::RDWR | OFlags::CREATE;
        for path in ["folder", "fifo"].into_iter().take(1 + usize::from(status.is_ok_and(|s| s.success()))) {
            let error = root.open_file(Path::new(path), flags, Mode::from(0o666)).unwrap_err();
            assert!(matches!(error, DiskError::NotAFile(_)), "{error}");
        }
    }
}
