/// Bounds on what a stranger's torrent or magnet may make us hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a torrent file.
    pub torrent_bytes: usize,
    /// Bytes of an info dictionary, as BEP 9 transfers it.
    pub info_bytes: usize,
    /// Files, padding included.
    pub files: usize,
    /// Components of one path.
    pub path_depth: usize,
    /// Bytes of one path as the torrent writes it, all components together.
    pub path_bytes: usize,
    /// Tracker addresses, all tiers together; further ones are left out.
    pub trackers: usize,
    /// Web seeds; further ones are left out.
    pub web_seeds: usize,
    /// Bytes of one address; longer ones are left out.
    pub url_bytes: usize,
    /// Bytes of a comment or program name; longer ones are left out.
    pub text_bytes: usize,
    /// `x.pe` peers in a magnet; further ones are left out.
    pub peers: usize,
    /// Ranges in a magnet's `so`; further ones are left out.
    pub selected_ranges: usize,
    /// Bytes of a magnet link.
    pub magnet_bytes: usize,
    /// Values in a torrent file and in an info dictionary.
    pub tokens: usize,
}

impl Limits {
    /// What parsing without a word about limits uses.
    pub const DEFAULT: Limits = Limits {
        torrent_bytes: 64 << 20,
        info_bytes: 64 << 20,
        files: 500_000,
        path_depth: 80,
        path_bytes: 8192,
        trackers: 500,
        web_seeds: 200,
        url_bytes: 4096,
        text_bytes: 64 << 10,
        peers: 100,
        selected_ranges: 10_000,
        magnet_bytes: 256 << 10,
        tokens: 6_000_000,
    };

    /// The decoder's part of these limits.
    pub(crate) fn bencode(&self) -> starling_bencode::Limits {
        starling_bencode::Limits { depth: 100, tokens: self.tokens }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::DEFAULT
    }
}
