//! Under which name each file of a torrent lies.
//!
//! A file that we make has its safe name. What lies there under the name that the torrent
//! writes, as on the disk of its maker, is used where it is. No file is taken twice: two
//! names may be one file where letter case is folded, and a torrent may write one name
//! for two files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use starling_metainfo::Info;

use super::beneath::Root;

/// The safe path of a file below the root.
pub(super) fn safe_path(info: &Info, index: usize) -> PathBuf {
    let name = Some(&info.name).filter(|_| !info.single_file);
    let file = info.layout.files().get(index);
    name.into_iter().chain(file.into_iter().flat_map(|file| &file.path)).collect()
}

/// The name below the root of all that is the torrent's.
pub(super) fn top(info: &Info) -> PathBuf {
    let first = safe_path(info, 0);
    first.components().next().map(|name| PathBuf::from(name.as_os_str())).unwrap_or_default()
}

/// The path as the torrent writes it, where that is another one. Its components are plain.
pub(super) fn raw_path(info: &Info, index: usize) -> Option<PathBuf> {
    let raw = info.layout.files().get(index)?.raw.as_ref()?;
    Some(raw.iter().map(|part| OsStr::from_bytes(part)).collect())
}

/// The files that lie below `root` under the names that the torrent writes.
pub(super) fn lying_raw(info: &Info, root: &Root) -> BTreeSet<usize> {
    let files = info.layout.files();
    let mut raw = BTreeSet::new();
    if files.iter().all(|file| file.raw.is_none()) {
        return raw;
    }
    let mut taken = BTreeSet::new();
    for (index, _) in files.iter().enumerate().filter(|(_, file)| !file.padding) {
        let own = raw_path(info, index).and_then(|path| identify(root, &path));
        match own.filter(|id| !taken.contains(id)) {
            Some(id) => {
                raw.insert(index);
                taken.insert(id);
            }
            None => taken.extend(identify(root, &safe_path(info, index))),
        }
    }
    raw
}

/// Device and inode of the regular file there.
fn identify(root: &Root, path: &Path) -> Option<(u64, u64)> {
    let file = root.open_file(path, OFlags::RDONLY, Mode::empty()).ok()?;
    let meta = file.metadata().ok()?;
    Some((meta.dev(), meta.ino()))
}
