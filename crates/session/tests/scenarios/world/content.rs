//! Torrents of the world. All bytes are zero; what differs is the name.

use std::sync::Arc;

use starling_metainfo::{
    BLOCK_LENGTH, Builder, InfoHashes, PieceLength, Sha1Hash, Sha256Hash, Torrent, Versions, merkle,
};
use starling_session::AddSpec;

const KIB: u64 = 1024;
pub const MIB: u64 = 1024 * KIB;

/// A torrent that somebody has.
#[derive(Clone)]
pub struct Content {
    pub torrent: Arc<Torrent>,
}

impl Content {
    pub fn v1(name: &str, bytes: u64) -> Content {
        Content::make(name, bytes, Versions::V1, false)
    }

    pub fn hybrid(name: &str, bytes: u64) -> Content {
        Content::make(name, bytes, Versions::Hybrid, false)
    }

    pub fn private(name: &str, bytes: u64) -> Content {
        Content::make(name, bytes, Versions::V1, true)
    }

    pub fn private_hybrid(name: &str, bytes: u64) -> Content {
        Content::make(name, bytes, Versions::Hybrid, true)
    }

    fn make(name: &str, bytes: u64, versions: Versions, private: bool) -> Content {
        let mut builder = Builder::file(name, bytes);
        builder.versions = versions;
        builder.private = private;
        builder.piece_length = PieceLength::new(64 * KIB);
        let plan = builder.plan().expect("a sound torrent");
        let pieces = plan.layout().pieces();
        let v1 = (versions != Versions::V2).then(|| vec![Sha1Hash([0; 20]); pieces as usize]);
        let root = |piece| plan.layout().v2_piece_root(piece, &leaves(plan.layout().content_len(piece)));
        let v2: Option<Vec<Sha256Hash>> = (versions != Versions::V1).then(|| (0..pieces).map(root).collect());
        let torrent = plan.finish(v1.as_deref(), v2.as_deref()).expect("a sound torrent");
        Content { torrent: Arc::new(torrent) }
    }

    pub fn hashes(&self) -> InfoHashes {
        self.torrent.info.hashes
    }

    /// To be added with its metadata.
    pub fn file(&self) -> AddSpec {
        AddSpec { torrent: Some(self.torrent.clone()), ..AddSpec::new(self.hashes()) }
    }

    /// To be added by its v1 name, or its only one.
    pub fn magnet(&self) -> AddSpec {
        AddSpec::new(InfoHashes::new(self.hashes().v1(), None).expect("a v1 name"))
    }

    /// To be added by its v2 name alone.
    pub fn magnet_v2(&self) -> AddSpec {
        AddSpec::new(InfoHashes::new(None, self.hashes().v2()).expect("a v2 name"))
    }
}

fn leaves(length: u32) -> Vec<Sha256Hash> {
    let block = |i: u32| merkle::sha256(&vec![0; (length - i * BLOCK_LENGTH).min(BLOCK_LENGTH) as usize]);
    (0..length.div_ceil(BLOCK_LENGTH)).map(block).collect()
}

/// The same to be added with a tracker tier for each of `tiers`.
pub fn with_trackers(spec: AddSpec, tiers: &[&str]) -> AddSpec {
    let url = |host: &&str| vec![format!("http://{host}/announce")];
    AddSpec { trackers: tiers.iter().map(url).collect(), ..spec }
}
