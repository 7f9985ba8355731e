//! The torrents in `tests/data`, compiled in.

/// A torrent that libtorrent made.
#[allow(dead_code)] // one of the two users looks at bytes only
pub struct Vector {
    /// Its set of files and its version, as in `folder-v1`.
    pub name: &'static str,
    /// The torrent file.
    pub torrent: &'static [u8],
    /// What libtorrent reads from it.
    pub reading: &'static str,
}

macro_rules! vectors {
    ($($name:literal),* $(,)?) => {
        &[$(Vector {
            name: $name,
            torrent: include_bytes!(concat!("../data/", $name, ".torrent")),
            reading: include_str!(concat!("../data/", $name, ".txt")),
        }),*]
    };
}

/// All of them.
pub const VECTORS: &[Vector] = vectors![
    "aligned-hybrid",
    "aligned-v1",
    "aligned-v2",
    "folder-hybrid",
    "folder-v1",
    "folder-v2",
    "single-hybrid",
    "single-v1",
    "single-v2",
    "small-hybrid",
    "small-v1",
    "small-v2",
];
