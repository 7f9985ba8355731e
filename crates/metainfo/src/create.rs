//! Making torrents: v1 (BEP 3), v2 (BEP 52) and hybrid, with BEP 47 padding.
//!
//! In two steps, as hashing is not done here: [`Builder::plan`] lays the files out,
//! [`Plan::finish`] takes the hashes of the pieces and gives the torrent. The same input
//! gives the same bytes. Files stand in the order of the v2 tree whatever the version.
//!
//! Deliberately absent: reading files, symlinks, and v1 torrents with aligned files.

mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::{
    FileEntry, Info, Layout, LayoutError, Limits, ParseError, PieceLength, Sha1Hash, Sha256Hash, Torrent,
    names,
};

/// Which protocol versions a torrent is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Versions {
    /// BEP 3 alone: every client reads it.
    #[default]
    V1,
    /// BEP 52 alone.
    V2,
    /// Both: clients of either kind can join, and those of v2 verify every block. Some v1
    /// clients cannot read it: their parsers refuse the empty key of the file tree.
    Hybrid,
}

impl Versions {
    fn v1(self) -> bool {
        self != Versions::V2
    }

    fn v2(self) -> bool {
        self != Versions::V1
    }
}

/// A file to put into a torrent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SourceFile {
    /// Components below the torrent's folder, as other clients are to see them.
    pub path: Vec<String>,
    /// Bytes in the file.
    pub length: u64,
    /// BEP 47 attribute `x`.
    pub executable: bool,
    /// BEP 47 attribute `h`.
    pub hidden: bool,
}

/// What a new torrent is to be. Made by [`Builder::file`] or [`Builder::folder`]; then
/// the other fields can be set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Builder {
    name: String,
    files: Vec<SourceFile>,
    single_file: bool,
    /// `None`: as [`PieceLength::suggest`] says.
    pub piece_length: Option<PieceLength>,
    /// v1 unless set.
    pub versions: Versions,
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
}

/// Why no torrent can be made. The caller is to blame.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CreateError {
    /// There is nothing to share.
    #[error("there are no files to make a torrent of")]
    NoFiles,
    /// More than a torrent may hold.
    #[error("a torrent may not have more than {limit} {what}")]
    OverLimit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
    /// An empty component, `.`, `..`, a slash or NUL.
    #[error("`{0}` cannot be a path in a torrent")]
    Path(String),
    /// Two files of one path, or a file where another file has its folder.
    #[error("`{0}` is in the list of files twice")]
    SamePath(String),
    /// The sizes add up to too much, or the piece length is not for v2.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// As many hashes of pieces are needed as there are pieces.
    #[error("there are {got} {version} hashes for {want} pieces")]
    HashCount {
        /// `v1` or `v2`.
        version: &'static str,
        /// Hashes given.
        got: usize,
        /// Hashes needed: 0 if the torrent is not of that version.
        want: usize,
    },
    /// The result cannot be read back.
    #[error("the torrent would not be valid: {0}")]
    Invalid(#[from] ParseError),
}

impl Builder {
    /// A torrent of one bare file.
    pub fn file(name: impl Into<String>, length: u64) -> Builder {
        let name = name.into();
        let file = SourceFile { path: vec![name.clone()], length, ..SourceFile::default() };
        Builder { single_file: true, ..Builder::folder(name, vec![file]) }
    }

    /// A torrent of a folder. The order of `files` does not matter.
    pub fn folder(name: impl Into<String>, files: Vec<SourceFile>) -> Builder {
        Builder {
            name: name.into(),
            files,
            single_file: false,
            piece_length: None,
            versions: Versions::V1,
            private: false,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
        }
    }

    /// Lays the files out in pieces, to be hashed.
    pub fn plan(self) -> Result<Plan, CreateError> {
        let order = self.tree_order()?;
        let total = self.files.iter().fold(0u64, |sum, file| sum.saturating_add(file.length));
        let piece_length = self.piece_length.unwrap_or_else(|| PieceLength::suggest(total));
        if self.versions.v2() && !piece_length.fits_v2() {
            return Err(LayoutError::PieceLengthNotV2(piece_length.get()).into());
        }
        let (entries, sources) = self.entries(&order, piece_length);
        let layout = Layout::new(piece_length, entries, !self.versions.v1())?;
        Ok(Plan { builder: self, layout, sources })
    }

    /// Indices of the files in the order of the v2 tree, after all checks of paths.
    fn tree_order(&self) -> Result<Vec<usize>, CreateError> {
        let limits = Limits::DEFAULT;
        if self.files.is_empty() {
            return Err(CreateError::NoFiles);
        }
        // Half, as padding counts too.
        if self.files.len() > limits.files / 2 {
            return Err(CreateError::OverLimit { what: "files", limit: limits.files / 2 });
        }
        check_component(&self.name)?;
        self.files.iter().try_for_each(|file| check_path(&file.path, &limits))?;
        let mut order: Vec<usize> = (0..self.files.len()).collect();
        order.sort_by(|&a, &b| self.files[a].path.cmp(&self.files[b].path));
        for pair in order.windows(2) {
            let (first, second) = (&self.files[pair[0]].path, &self.files[pair[1]].path);
            if second.starts_with(first) {
                return Err(CreateError::SamePath(second.join("/")));
            }
        }
        Ok(order)
    }

    /// The files as a reader of the torrent will see them, and for each the index into
    /// `files`. In a hybrid folder padding follows every file that does not fill its last
    /// piece, also the last one, as BEP 52's reference program does: readers compare.
    fn entries(&self, order: &[usize], piece_length: PieceLength) -> (Vec<FileEntry>, Vec<Option<usize>>) {
        let raw: Vec<Vec<&[u8]>> =
            order.iter().map(|&i| self.files[i].path.iter().map(String::as_bytes).collect()).collect();
        let paths = names::distinct(raw.iter().map(Vec::as_slice));
        let piece = u64::from(piece_length.get());
        let padded = self.versions == Versions::Hybrid && order.len() > 1;
        let (mut entries, mut sources) = (Vec::new(), Vec::new());
        for (&index, path) in order.iter().zip(paths) {
            let file = &self.files[index];
            entries.push(FileEntry {
                path,
                raw: None,
                length: file.length,
                offset: 0,
                padding: false,
                executable: file.executable,
                hidden: file.hidden,
                pieces_root: None,
            });
            sources.push(Some(index));
            let gap = (piece - file.length % piece) % piece;
            if padded && gap > 0 {
                entries.push(padding(gap));
                sources.push(None);
            }
        }
        (entries, sources)
    }
}

fn padding(length: u64) -> FileEntry {
    FileEntry {
        path: vec![".pad".to_owned(), length.to_string()],
        raw: None,
        length,
        offset: 0,
        padding: true,
        executable: false,
        hidden: false,
        pieces_root: None,
    }
}

fn check_path(path: &[String], limits: &Limits) -> Result<(), CreateError> {
    if path.is_empty() {
        return Err(CreateError::Path(String::new()));
    }
    if path.len() > limits.path_depth {
        return Err(CreateError::OverLimit { what: "folders in one path", limit: limits.path_depth });
    }
    if path.iter().map(String::len).sum::<usize>() > limits.path_bytes {
        return Err(CreateError::OverLimit { what: "bytes in one path", limit: limits.path_bytes });
    }
    path.iter().try_for_each(|component| check_component(component))
}

fn check_component(component: &str) -> Result<(), CreateError> {
    if matches!(component, "" | "." | "..") || component.contains(['/', '\0']) {
        return Err(CreateError::Path(component.to_owned()));
    }
    Ok(())
}

/// A torrent laid out but not hashed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    builder: Builder,
    layout: Layout,
    sources: Vec<Option<usize>>,
}

impl Plan {
    /// Pieces and files. For v1, hash [`Layout::piece_len`] bytes of each piece with SHA-1,
    /// padding included; for v2 make [`Layout::v2_piece_root`] of its blocks up to
    /// [`Layout::content_len`].
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Which file given to the builder is file `index` of the layout; `None` for padding.
    /// Its name may differ, where the given one is not safe on every platform.
    pub fn source(&self, index: usize) -> Option<usize> {
        self.sources.get(index).copied().flatten()
    }

    /// Which hashes [`Plan::finish`] wants.
    pub fn versions(&self) -> Versions {
        self.builder.versions
    }

    /// The torrent, from one hash of each kind it needs for each piece, in order.
    pub fn finish(self, v1: Option<&[Sha1Hash]>, v2: Option<&[Sha256Hash]>) -> Result<Torrent, CreateError> {
        let versions = self.builder.versions;
        let v1 = self.counted("v1", versions.v1(), v1)?;
        let v2 = self.counted("v2", versions.v2(), v2)?;
        let (roots, piece_layers) = self.roots(v2);
        let info = write::info(&self.builder, &self.layout, &self.sources, v1, &roots);
        let info = Info::parse(Bytes::from(info))?;
        let Builder { trackers, web_seeds, comment, created_by, creation_date, .. } = self.builder;
        let info = Arc::new(info);
        Ok(Torrent { info, trackers, web_seeds, piece_layers, comment, created_by, creation_date })
    }

    fn counted<'h, T>(
        &self,
        version: &'static str,
        wanted: bool,
        hashes: Option<&'h [T]>,
    ) -> Result<&'h [T], CreateError> {
        let want = if wanted { self.layout.pieces() as usize } else { 0 };
        let hashes = hashes.unwrap_or_default();
        if hashes.len() != want {
            return Err(CreateError::HashCount { version, got: hashes.len(), want });
        }
        Ok(hashes)
    }

    /// The root of each file of the layout, and the piece layers of those that have one.
    fn roots(&self, v2: &[Sha256Hash]) -> (Vec<Option<Sha256Hash>>, BTreeMap<Sha256Hash, Vec<Sha256Hash>>) {
        let pad = crate::merkle::pad((self.layout.piece_length() / crate::BLOCK_LENGTH).max(1).ilog2());
        let mut layers = BTreeMap::new();
        let mut root_of = |index: usize| {
            let pieces = self.layout.file_pieces(index);
            let hashes = v2.get(pieces.start as usize..pieces.end as usize).filter(|h| !h.is_empty())?;
            self.source(index)?;
            let root = crate::merkle::root(hashes, pad);
            if hashes.len() > 1 {
                layers.insert(root, hashes.to_vec());
            }
            Some(root)
        };
        let roots = (0..self.layout.files().len()).map(&mut root_of).collect();
        (roots, layers)
    }
}
