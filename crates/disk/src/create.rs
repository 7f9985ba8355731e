//! Making a torrent of what lies on disk, hashing on all cores.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use starling_metainfo::{Builder, Layout, PieceLength, Sha1Hash, Sha256Hash, SourceFile, Torrent, Versions};

use crate::DiskError;
use crate::bulk::{Progress, each_piece, threads_or_cores};
use crate::descriptors;
use crate::piece::Shape;
use crate::scan::{PieceHashes, hash_pieces};

/// What a new torrent is to be.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// Its name; else that of the file or folder.
    pub name: Option<String>,
    /// v1 unless said otherwise.
    pub versions: Versions,
    /// `None`: fitting the size.
    pub piece_length: Option<PieceLength>,
    /// BEP 27.
    pub private: bool,
    /// BEP 12 tiers.
    pub trackers: Vec<Vec<String>>,
    /// BEP 19 addresses.
    pub web_seeds: Vec<String>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that makes it.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
    /// Threads that hash; 0: one for each core.
    pub threads: usize,
}

/// A new torrent.
#[derive(Clone, Debug)]
pub struct Created {
    /// The torrent.
    pub torrent: Torrent,
    /// What is below the path but not in it, and why.
    pub skipped: Vec<(PathBuf, &'static str)>,
}

/// Makes a torrent of a file or of all files in a folder. Links below the folder are not
/// followed. A file that changes meanwhile is an error.
pub fn create(path: &Path, options: &CreateOptions, progress: Progress<'_>) -> Result<Created, DiskError> {
    let path = path.canonicalize().map_err(|e| DiskError::io("find", path, e))?;
    let found = Found::at(&path)?;
    let plan = builder(&path, &found, options)?.plan().map_err(|e| DiskError::Unfit(e.to_string()))?;
    let sources: Vec<Option<&Source>> = (0..plan.layout().files().len())
        .map(|index| plan.source(index).and_then(|source| found.files.get(source)))
        .collect();
    let hashes = hash_layout(plan.layout(), options.versions, options.threads, progress, |index| {
        let source = sources.get(index).copied().flatten().ok_or(DiskError::OutOfRange)?;
        source.open()
    })?;
    found.files.iter().try_for_each(Source::still_same)?;
    let torrent = plan.finish(hashes.v1.as_deref(), hashes.v2.as_deref());
    let torrent = torrent.map_err(|e| DiskError::Unfit(e.to_string()))?;
    Ok(Created { torrent, skipped: found.skipped })
}

/// The hashes of all pieces in order, of each kind that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hashes {
    /// SHA-1 of each piece, padding included.
    pub v1: Option<Vec<Sha1Hash>>,
    /// The root over each piece's blocks (BEP 52).
    pub v2: Option<Vec<Sha256Hash>>,
}

/// Hashes files laid out as `layout` says. `open` opens an entry of `layout.files()`; each
/// thread keeps the last few.
pub fn hash_layout(
    layout: &Layout,
    versions: Versions,
    threads: usize,
    progress: Progress<'_>,
    open: impl Fn(usize) -> Result<(PathBuf, File), DiskError> + Sync,
) -> Result<Hashes, DiskError> {
    let shape = Shape { layout, v1: versions != Versions::V2, v2: versions != Versions::V1 };
    let threads = threads_or_cores(threads);
    let open_max = (descriptors::for_files(OPEN_FILES * threads) / threads).max(1);
    let start = || Reader { open: &open, open_max, open_files: VecDeque::new(), buffer: Vec::new() };
    let pieces = each_piece(layout, threads, progress, start, |reader, pieces| {
        let mut buffer = std::mem::take(&mut reader.buffer);
        reader.will_need(layout, pieces)?;
        let hashes = hash_pieces(shape, pieces, &mut buffer, |piece, begin, chunk| {
            reader.fill(layout, piece, begin, chunk)
        });
        reader.buffer = buffer;
        let of_piece = |(&piece, hashes): (&u32, Result<PieceHashes, DiskError>)| {
            let hashes = hashes?;
            Ok((hashes.v1, hashes.leaves.map(|leaves| layout.v2_piece_root(piece, &leaves))))
        };
        pieces.iter().zip(hashes).map(of_piece).collect()
    })?;
    let v1 = shape.v1.then(|| pieces.iter().filter_map(|(v1, _)| *v1).collect());
    let v2 = shape.v2.then(|| pieces.iter().filter_map(|(_, v2)| *v2).collect());
    Ok(Hashes { v1, v2 })
}

/// Files a thread keeps open, if so many may be: pieces side by side may lie in different ones.
const OPEN_FILES: usize = 24;

/// One thread's way to the files.
struct Reader<'a, O> {
    open: &'a O,
    /// Files it keeps open.
    open_max: usize,
    open_files: VecDeque<(usize, (PathBuf, File))>,
    buffer: Vec<u8>,
}

impl<O: Fn(usize) -> Result<(PathBuf, File), DiskError>> Reader<'_, O> {
    fn fill(&mut self, layout: &Layout, piece: u32, begin: u32, mut buf: &mut [u8]) -> Result<(), DiskError> {
        for span in layout.spans(piece, begin, buf.len() as u32) {
            let (head, rest) = buf.split_at_mut(span.length as usize);
            match span.file {
                None => head.fill(0),
                Some(index) => {
                    let (path, file) = self.file(index)?;
                    file.read_exact_at(head, span.offset).map_err(|error| match error.kind() {
                        std::io::ErrorKind::UnexpectedEof => DiskError::Changed(path.clone()),
                        _ => DiskError::io("read", path, error),
                    })?;
                }
            }
            buf = rest;
        }
        Ok(())
    }

    /// Has the system read ahead, as far as one file goes.
    fn will_need(&mut self, layout: &Layout, pieces: &[u32]) -> Result<(), DiskError> {
        for &piece in pieces {
            let Some(span) = layout.spans(piece, 0, layout.piece_len(piece)).next() else { continue };
            if let Some(index) = span.file {
                let (_, file) = self.file(index)?;
                let length = u64::from(span.length).try_into().ok();
                let _ = rustix::fs::fadvise(file, span.offset, length, rustix::fs::Advice::WillNeed);
            }
        }
        Ok(())
    }

    /// The file, opened if it is not one of the last few.
    fn file(&mut self, index: usize) -> Result<&(PathBuf, File), DiskError> {
        let at = match self.open_files.iter().position(|(i, _)| *i == index) {
            Some(at) => at,
            None => {
                if self.open_files.len() >= self.open_max {
                    self.open_files.pop_front();
                }
                self.open_files.push_back((index, (self.open)(index)?));
                self.open_files.len() - 1
            }
        };
        self.open_files.get(at).map(|(_, file)| file).ok_or(DiskError::NotOpen)
    }
}

fn builder(path: &Path, found: &Found, options: &CreateOptions) -> Result<Builder, DiskError> {
    let name = match (&options.name, path.file_name()) {
        (Some(name), _) => name.clone(),
        (None, Some(name)) => text(name, path)?,
        (None, None) => return Err(DiskError::Unfit("the root folder has no name; give one".to_owned())),
    };
    let mut builder = match found.files.as_slice() {
        [file] if found.single => Builder::file(name, file.length),
        files => Builder::folder(name, files.iter().map(Source::entry).collect()),
    };
    builder.piece_length = options.piece_length;
    builder.versions = options.versions;
    builder.private = options.private;
    builder.trackers.clone_from(&options.trackers);
    builder.web_seeds.clone_from(&options.web_seeds);
    builder.comment.clone_from(&options.comment);
    builder.created_by.clone_from(&options.created_by);
    builder.creation_date = options.creation_date;
    Ok(builder)
}

fn text(name: &std::ffi::OsStr, path: &Path) -> Result<String, DiskError> {
    let text = name.to_str().map(str::to_owned);
    text.ok_or_else(|| DiskError::Unfit(format!("the name of {} is not UTF-8", path.display())))
}

/// What lies at a path.
struct Found {
    single: bool,
    files: Vec<Source>,
    skipped: Vec<(PathBuf, &'static str)>,
}

struct Source {
    path: PathBuf,
    /// Below the folder.
    components: Vec<String>,
    length: u64,
    modified: Option<SystemTime>,
    executable: bool,
}

impl Found {
    fn at(path: &Path) -> Result<Found, DiskError> {
        let meta = path.metadata().map_err(|e| DiskError::io("look at", path, e))?;
        let mut found = Found { single: meta.is_file(), files: Vec::new(), skipped: Vec::new() };
        if meta.is_file() {
            found.files.push(Source::new(path.to_path_buf(), Vec::new(), &meta));
        } else if meta.is_dir() {
            found.walk(path)?;
        } else {
            return Err(DiskError::NotAFile(path.to_path_buf()));
        }
        Ok(found)
    }

    /// All files below a folder. No recursion: how deep folders go is not ours to say.
    fn walk(&mut self, root: &Path) -> Result<(), DiskError> {
        let mut folders: Vec<(PathBuf, Vec<String>)> = vec![(root.to_path_buf(), Vec::new())];
        while let Some((folder, components)) = folders.pop() {
            let wrap = |e| DiskError::io("list", &folder, e);
            let mut is_empty = true;
            for entry in std::fs::read_dir(&folder).map_err(wrap)? {
                let entry = entry.map_err(wrap)?;
                is_empty = false;
                let path = entry.path();
                let mut below = components.clone();
                below.push(text(&entry.file_name(), &path)?);
                let meta = path.symlink_metadata().map_err(|e| DiskError::io("look at", &path, e))?;
                if meta.is_dir() {
                    folders.push((path, below));
                } else if meta.is_file() {
                    self.files.push(Source::new(path, below, &meta));
                } else {
                    let why = if meta.is_symlink() { "a symbolic link" } else { "not a regular file" };
                    self.skipped.push((path, why));
                }
            }
            if is_empty && !components.is_empty() {
                self.skipped.push((folder, "an empty folder"));
            }
        }
        self.files.sort_by(|a, b| a.components.cmp(&b.components));
        self.skipped.sort();
        Ok(())
    }
}

impl Source {
    fn new(path: PathBuf, components: Vec<String>, meta: &Metadata) -> Source {
        let executable = meta.mode() & 0o111 != 0;
        Source { path, components, length: meta.len(), modified: meta.modified().ok(), executable }
    }

    fn entry(&self) -> SourceFile {
        SourceFile {
            path: self.components.clone(),
            length: self.length,
            executable: self.executable,
            hidden: false,
        }
    }

    fn open(&self) -> Result<(PathBuf, File), DiskError> {
        let file = File::open(&self.path).map_err(|e| DiskError::io("open", &self.path, e))?;
        Ok((self.path.clone(), file))
    }

    fn still_same(&self) -> Result<(), DiskError> {
        let meta = self.path.symlink_metadata().map_err(|e| DiskError::io("look at", &self.path, e))?;
        if meta.len() == self.length && meta.modified().ok() == self.modified {
            Ok(())
        } else {
            Err(DiskError::Changed(self.path.clone()))
        }
    }
}
