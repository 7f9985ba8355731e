//! A stranger's bytes to a [`Torrent`] (BEP 3, 12, 19, 27, 47, 52).
//!
//! What the info-hash covers is read strictly; what stands around it leniently: an
//! address that is no string is left out, not an error. Of symlinks (BEP 47) nothing
//! is followed or created: each is an empty file. Absent: `nodes`, `sha1` and `mtime`.

mod files;
mod info;
mod outer;

use thiserror::Error;

use crate::LayoutError;

/// Why bytes are not a torrent, or not one we handle. The maker of the torrent is to blame.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// Not bencoding.
    #[error("the torrent is not well bencoded: {0}")]
    Bencode(#[from] starling_bencode::Error),
    /// Beyond [`crate::Limits`].
    #[error("the torrent has more than {limit} {what}")]
    OverLimit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
    /// A key that must be there is not, or has a value of the wrong kind.
    #[error("the torrent has no valid `{0}`")]
    Missing(&'static str),
    /// A BEP 52 successor.
    #[error("the torrent is of version {0}, which is not known here")]
    Version(i64),
    /// Zero, negative, too large, or not what v2 allows.
    #[error("the torrent has a piece length of {0}, which is not allowed")]
    PieceLength(i64),
    /// The sizes overflow.
    #[error("the torrent is not possible: {0}")]
    Layout(#[from] LayoutError),
    /// The v1 `pieces` string does not have one hash for each piece.
    #[error("the torrent has {bytes} bytes of piece hashes for {pieces} pieces")]
    PieceHashes {
        /// Length of `pieces`.
        bytes: usize,
        /// Pieces that the file sizes make.
        pieces: u32,
    },
    /// A file's `path` is missing, empty or not a list of strings.
    #[error("file {0} of the torrent has no valid path")]
    Path(usize),
    /// A file's `length` is missing or negative.
    #[error("file {0} of the torrent has no valid length")]
    Length(usize),
    /// A v2 file with content but no `pieces root`.
    #[error("file {0} of the torrent has no valid `pieces root`")]
    PiecesRoot(usize),
    /// The v2 `file tree` holds something that is neither file nor folder.
    #[error("the torrent's file tree has an entry that is neither a file nor a folder")]
    FileTree,
    /// The v2 `file tree` has names out of order or twice, so that readers could take
    /// the pieces for those of different files.
    #[error("the torrent's file tree is not in order")]
    TreeOrder,
    /// No file at all.
    #[error("the torrent has no files")]
    NoFiles,
    /// The v1 and v2 parts of a hybrid torrent describe different content.
    #[error("the v1 and v2 parts of the torrent describe different files")]
    Inconsistent,
    /// A `piece layers` value of wrong length or with a wrong root.
    #[error("the piece layer of file {0} of the torrent does not belong to its root")]
    PieceLayer(usize),
}
