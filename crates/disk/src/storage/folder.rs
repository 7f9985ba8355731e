//! The real files, below a folder.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fs::{Advice, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use starling_metainfo::Info;

use super::beneath::Root;
use super::claim::Claim;
use super::own::OwnWrites;
use super::{FdCache, Slot, Stat, Storage, names};
use crate::error::{CREATE, wants_descriptors};
use crate::{DiskError, hash};

/// A torrent's files below a folder: `root/name` or `root/name/…`.
pub struct Folder {
    info: Arc<Info>,
    path: PathBuf,
    resume: Option<PathBuf>,
    create: bool,
    /// What appears under a file's name after it was looked for there is written over.
    overwrite: bool,
    root: OnceLock<Root>,
    /// The files that lie under the names the torrent writes; looked for once.
    raw: OnceLock<BTreeSet<usize>>,
    fds: Arc<FdCache>,
    owner: u32,
    /// Folders with new names in them, relative to the root.
    new_names: Mutex<BTreeSet<PathBuf>>,
    resident: AtomicU8,
    own: OwnWrites,
    claim: Mutex<Option<Claim>>,
}

/// How pages that need no waiting can be read here.
const ASK_KERNEL: u8 = 0;
const ALL_RESIDENT: u8 = 1;
const UNKNOWABLE: u8 = 2;

impl Folder {
    /// The files of `info` below `root`, which is created when first used.
    pub fn new(info: Arc<Info>, root: PathBuf, resume: Option<PathBuf>, fds: Arc<FdCache>) -> Folder {
        Folder {
            info,
            path: root,
            resume,
            create: true,
            overwrite: false,
            root: OnceLock::new(),
            raw: OnceLock::new(),
            owner: fds.new_owner(),
            fds,
            new_names: Mutex::default(),
            resident: AtomicU8::new(ASK_KERNEL),
            own: OwnWrites::default(),
            claim: Mutex::default(),
        }
    }

    /// The same; `overwrite`: files that somebody else puts there, after they were looked for and
    /// before they are written to, may be written over. If not, they are [`DiskError::Foreign`].
    #[must_use]
    pub fn overwriting(mut self, overwrite: bool) -> Folder {
        self.overwrite = overwrite;
        self
    }

    /// The same, to be read only: nothing is created.
    pub fn existing(info: Arc<Info>, root: PathBuf, fds: Arc<FdCache>) -> Folder {
        let mut folder = Folder::new(info, root, None, fds);
        folder.create = false;
        folder
    }

    fn root(&self) -> Result<&Root, DiskError> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        if self.create {
            std::fs::create_dir_all(&self.path).map_err(|e| DiskError::io(CREATE, &self.path, e))?;
        }
        let root = self.fds.with_room(DiskError::is_want_of_descriptors, || Root::open(&self.path))?;
        Ok(self.root.get_or_init(|| root))
    }

    fn lies_raw(&self, index: usize) -> bool {
        let find = |root| self.raw.get_or_init(|| names::lying_raw(&self.info, root));
        self.root().is_ok_and(|root| find(root).contains(&index))
    }

    /// Below the root; for files of the torrent and the parts file.
    fn relative(&self, slot: Slot) -> PathBuf {
        match slot {
            Slot::File(index) => {
                let raw = self.lies_raw(index).then(|| names::raw_path(&self.info, index)).flatten();
                raw.unwrap_or_else(|| names::safe_path(&self.info, index))
            }
            Slot::Parts | Slot::Resume => beside(&self.info.hashes.to_string(), "parts"),
        }
    }

    /// The lock of all torrents whose file or folder has this name.
    fn lock_file(&self) -> PathBuf {
        let name = names::top(&self.info);
        beside(&hash::sha256(name.as_os_str().as_bytes()).to_string(), "lock")
    }

    fn claimed(&self) -> MutexGuard<'_, Option<Claim>> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resume_path(&self) -> Result<&Path, DiskError> {
        self.resume.as_deref().ok_or(DiskError::OutOfRange)
    }

    fn look_at(&self, file: &File, slot: Slot) -> Result<Stat, DiskError> {
        let meta = file.metadata().and_then(|meta| Ok((meta.len(), meta.modified()?)));
        let (length, modified) = meta.map_err(|e| DiskError::io("look at", self.path(slot), e))?;
        Ok(Stat { length, modified })
    }

    fn fd(&self, slot: Slot, writable: bool) -> Result<Arc<File>, DiskError> {
        if let Some(file) = self.fds.get(self.owner, slot, writable) {
            return Ok(file);
        }
        let file = Arc::new(self.open(slot, writable)?);
        self.fds.put(self.owner, slot, &file, writable);
        Ok(file)
    }

    fn open(&self, slot: Slot, writable: bool) -> Result<File, DiskError> {
        self.fds.with_room(DiskError::is_want_of_descriptors, || self.open_once(slot, writable))
    }

    fn open_once(&self, slot: Slot, writable: bool) -> Result<File, DiskError> {
        if slot == Slot::Resume {
            let path = self.resume_path()?;
            let mut options = OpenOptions::new();
            let options = options.read(true).write(writable);
            return options.open(path).map_err(|e| DiskError::io("open", path, e));
        }
        let (root, path) = (self.root()?, self.relative(slot));
        if !writable {
            return root.open_file(&path, OFlags::RDONLY, Mode::empty());
        }
        let there = match root.open_file(&path, OFlags::RDWR, Mode::empty()) {
            Err(DiskError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                match self.create_file(root, slot, &path)? {
                    Some(made) => return Ok(made),
                    None => root.open_file(&path, OFlags::RDWR, Mode::empty())?,
                }
            }
            result => result?,
        };
        if self.is_known(slot) || self.look_at(&there, slot)?.length == 0 {
            return Ok(there);
        }
        Err(DiskError::Foreign { path: self.path(slot), more: 0 })
    }

    /// Makes the file and its folders; `None` if there is one by now.
    fn create_file(&self, root: &Root, slot: Slot, path: &Path) -> Result<Option<File>, DiskError> {
        let mut new_names = vec![path.parent().map(Path::to_path_buf).unwrap_or_default()];
        let made = root.make_parents(path, &mut new_names);
        self.new_names.lock().unwrap_or_else(PoisonError::into_inner).extend(new_names);
        made?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        self.own.make(slot, || match root.open_file(path, flags, self.mode(slot)) {
            Err(DiskError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            made => made.map(Some),
        })
    }

    fn mode(&self, slot: Slot) -> Mode {
        let executable = match slot {
            Slot::File(index) => self.info.layout.files().get(index).is_some_and(|f| f.executable),
            Slot::Parts | Slot::Resume => false,
        };
        Mode::from_raw_mode(if executable { 0o777 } else { 0o666 })
    }

    /// Several threads here share the folders: the names are safe when all have returned.
    fn sync_names(&self) -> io::Result<()> {
        let names = || self.new_names.lock().unwrap_or_else(PoisonError::into_inner);
        let root = self.root().map_err(io::Error::other)?;
        loop {
            let Some(folder) = names().pop_first() else { return Ok(()) };
            if let Err(error) = self.fds.with_room(wants_descriptors, || root.sync_folder(&folder)) {
                names().insert(folder);
                return Err(error);
            }
        }
    }

    fn reserve(&self, file: &File, slot: Slot, length: u64) -> Result<(), DiskError> {
        let wrap = |errno: Errno| DiskError::io("reserve room for", self.path(slot), errno.into());
        loop {
            match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length) {
                Err(Errno::INTR) => {}
                // No such thing here: at least see that there is room at all.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    let free = rustix::fs::fstatvfs(file).map_err(wrap)?;
                    let have =
                        file.metadata().map_err(|e| DiskError::io("look at", self.path(slot), e))?.len();
                    if free.f_bavail.saturating_mul(free.f_frsize) < length.saturating_sub(have) {
                        return Err(wrap(Errno::NOSPC));
                    }
                    return rustix::fs::ftruncate(file, length.max(have)).map_err(wrap);
                }
                result => return result.map_err(wrap),
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn read_nowait(&self, file: &File, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Option<usize> {
        use rustix::io::ReadWriteFlags;
        if self.resident.load(Relaxed) == ASK_KERNEL {
            match rustix::io::preadv2(file, bufs, offset, ReadWriteFlags::NOWAIT) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;
                    let memory = rustix::fs::fstatfs(file).is_ok_and(|fs| fs.f_type == TMPFS_MAGIC);
                    self.resident.store(if memory { ALL_RESIDENT } else { UNKNOWABLE }, Relaxed);
                }
                result => return result.ok(),
            }
        }
        (self.resident.load(Relaxed) == ALL_RESIDENT).then(|| rustix::io::preadv(file, bufs, offset).ok())?
    }

    #[cfg(not(target_os = "linux"))]
    fn read_nowait(&self, _: &File, _: u64, _: &mut [IoSliceMut<'_>]) -> Option<usize> {
        self.resident.store(UNKNOWABLE, Relaxed);
        None
    }
}

/// A file of ours beside the torrent's.
fn beside(hash: &str, kind: &str) -> PathBuf {
    PathBuf::from(format!(".{}.{kind}", hash.get(..16).unwrap_or(hash)))
}

/// That a file cannot be opened because it is not there is no error to who only looks.
fn nothing_there(error: DiskError) -> Result<Option<Stat>, DiskError> {
    match error {
        DiskError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Ok(None),
        error => Err(error),
    }
}

impl Storage for Folder {
    fn device(&self) -> Result<u64, DiskError> {
        let root = self.root()?;
        let stat =
            rustix::fs::fstat(root.dir()).map_err(|e| DiskError::io("look at", &self.path, e.into()))?;
        Ok(stat.st_dev)
    }

    fn stat(&self, slot: Slot) -> Result<Option<Stat>, DiskError> {
        let file = match self.fds.get(self.owner, slot, false) {
            Some(file) => file,
            None => match self.open(slot, false) {
                Ok(file) => Arc::new(file),
                Err(error) => return nothing_there(error),
            },
        };
        let stat = self.look_at(&file, slot)?;
        self.own.found(slot, stat.modified);
        Ok(Some(stat))
    }

    fn named(&self, slot: Slot) -> Result<Option<Stat>, DiskError> {
        if slot != Slot::Resume && !self.root()?.is_in_place() {
            return Ok(None);
        }
        let there = match self.open(slot, false) {
            Ok(there) => there,
            Err(error) => return nothing_there(error),
        };
        if let Some(ours) = self.fds.get(self.owner, slot, false) {
            let which = |file: &File| {
                let stat = rustix::fs::fstat(file);
                stat.map_err(|e| DiskError::io("look at", self.path(slot), e.into()))
                    .map(|stat| (stat.st_dev, stat.st_ino))
            };
            if which(&there)? != which(&ours)? {
                return Ok(None);
            }
        }
        self.look_at(&there, slot).map(Some)
    }

    fn is_known(&self, slot: Slot) -> bool {
        self.overwrite || !matches!(slot, Slot::File(_)) || self.own.knows(slot)
    }

    fn claim(&self) -> Result<(), DiskError> {
        let mut claimed = self.claimed();
        if claimed.is_none() {
            let claim = Claim::take(self.root()?, &self.lock_file(), &self.fds)?;
            let busy = || DiskError::Busy(self.path.join(names::top(&self.info)));
            *claimed = Some(claim.ok_or_else(busy)?);
        }
        Ok(())
    }

    fn unclaim(&self) {
        if let (Some(claim), Ok(root)) = (self.claimed().take(), self.root()) {
            claim.give_up(root, &self.lock_file());
        }
    }

    fn prepare(&self, slot: Slot, length: u64, reserve: bool) -> Result<(), DiskError> {
        let file = self.fd(slot, true)?;
        let wrap = |e| DiskError::io("resize", self.path(slot), e);
        if file.metadata().map_err(wrap)?.len() > length {
            self.own.change(slot, &file, || Ok((file.set_len(length)?, 0))).map_err(wrap)?;
        }
        if !reserve || length == 0 {
            return Ok(());
        }
        let reserve = || Ok((self.reserve(&file, slot, length).map_err(io::Error::other)?, 0));
        self.own
            .change(slot, &file, reserve)
            .map_err(|e| DiskError::io("reserve room for", self.path(slot), e))
    }

    fn read(&self, slot: Slot, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let file = self.fd(slot, false).map_err(io::Error::other)?;
        Ok(rustix::io::preadv(&*file, bufs, offset)?)
    }

    fn read_resident(&self, slot: Slot, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Option<usize> {
        if self.resident.load(Relaxed) == UNKNOWABLE {
            return None;
        }
        let file = self.fds.get(self.owner, slot, false)?;
        self.read_nowait(&file, offset, bufs)
    }

    fn will_need(&self, slot: Slot, offset: u64, length: u64) {
        if let Ok(file) = self.fd(slot, false) {
            let _ = rustix::fs::fadvise(&*file, offset, length.try_into().ok(), Advice::WillNeed);
        }
    }

    fn forget_cached(&self, slot: Slot) {
        if let Ok(file) = self.fd(slot, false) {
            let _ = rustix::fs::fadvise(&*file, 0, None, Advice::DontNeed);
        }
    }

    fn write(&self, slot: Slot, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let file = self.fd(slot, true).map_err(io::Error::other)?;
        self.own.change(slot, &file, || {
            let written = rustix::io::pwritev(&*file, bufs, offset)?;
            Ok((written, offset + written as u64))
        })
    }

    fn was_touched(&self, slot: Slot) -> bool {
        self.own.was_touched(slot, || self.fd(slot, false).ok()?.metadata().ok())
    }

    fn sync(&self, slot: Slot) -> io::Result<()> {
        let file = self.fd(slot, true).map_err(io::Error::other)?;
        file.sync_data()?;
        self.sync_names()
    }

    fn replace(&self, slot: Slot, bytes: &[u8]) -> io::Result<()> {
        debug_assert_eq!(slot, Slot::Resume, "only the resume file is replaced as a whole");
        let path = self.resume_path().map_err(io::Error::other)?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let mut file = self.fds.with_room(wants_descriptors, || File::create(&temporary))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        self.fds.close(self.owner, Some(slot));
        self.fds.with_room(wants_descriptors, || File::open(folder))?.sync_all()
    }

    fn remove(&self, slot: Slot) -> io::Result<()> {
        self.own.forget(slot);
        self.fds.close(self.owner, Some(slot));
        if slot == Slot::Resume {
            let path = self.resume_path().map_err(io::Error::other)?;
            return std::fs::remove_file(path);
        }
        self.root().map_err(io::Error::other)?.remove(&self.relative(slot))
    }

    fn path(&self, slot: Slot) -> PathBuf {
        match (slot, &self.resume) {
            (Slot::Resume, Some(path)) => path.clone(),
            _ => self.path.join(self.relative(slot)),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.unclaim();
        self.fds.close(self.owner, None);
    }
}
