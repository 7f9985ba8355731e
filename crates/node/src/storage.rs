//! Between the engine and the disk's workers.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use starling_disk::{Allocate, Event as News, OpenSpec};
use starling_metainfo::{Bitfield, Sha256Hash, Torrent};
use starling_session::{Input, TorrentKey};
use starling_swarm::Input as Swarm;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::Check;
use crate::engine::{Core, Engine};
use crate::local::Storage;

/// News from the disk handled before other tasks get their turn.
const BATCH: usize = 64;

/// BEP 52: hashes of pieces, by root.
type Layers = BTreeMap<Sha256Hash, Vec<Sha256Hash>>;

impl Engine {
    pub(crate) fn open(&self, core: &mut Core, key: TorrentKey, torrent: &Arc<Torrent>) {
        let Some(local) = core.torrents.get_mut(&key) else { return };
        if local.metadata_only {
            return;
        }
        let name = resume_name(&torrent.info.hashes.to_string(), &local.dir);
        let spec = OpenSpec {
            piece_layers: torrent.piece_layers.clone(),
            wanted: local.wanted(torrent),
            allocate: if local.preallocate { Allocate::Full } else { Allocate::Sparse },
            resume: self.state_file(&name, "resume"),
            check: match local.check {
                Check::Resume => starling_disk::Check::Trust,
                Check::Full => starling_disk::Check::Force,
                Check::Complete => starling_disk::Check::Complete,
            },
            tidy: local.fetch,
            overwrite: local.overwrite,
            ..OpenSpec::new(torrent.info.clone(), &local.dir)
        };
        local.storage = Storage::Opening;
        self.disk.open(starling_disk::TorrentKey(key.0), spec);
    }

    /// Stops what uses a torrent's files and closes them.
    pub(crate) fn close_storage(&self, core: &mut Core, key: TorrentKey) {
        let Some(local) = core.torrents.get_mut(&key) else { return };
        local.seeds.clear();
        match local.storage {
            // What is being opened, too: nothing of it may be left half done.
            Storage::Open | Storage::Opening => self.disk.close(starling_disk::TorrentKey(key.0)),
            Storage::Closed => self.forget(core, key, &Ok(())),
        }
    }

    pub(crate) fn forget(&self, core: &mut Core, key: TorrentKey, closed: &Result<(), String>) {
        if let Some(local) = core.torrents.remove(&key) {
            for waiting in local.closing {
                let _ = waiting.send(closed.clone());
            }
            self.tell();
        }
    }

    /// Takes the disk's news as long as the thread runs.
    pub(crate) async fn run_storage(self: Rc<Engine>, mut news: UnboundedReceiver<News>) {
        let mut batch = Vec::with_capacity(BATCH);
        while news.recv_many(&mut batch, BATCH).await > 0 {
            for event in batch.drain(..) {
                self.disk_news(event);
            }
            tokio::task::yield_now().await;
        }
    }

    fn disk_news(&self, news: News) {
        let swarm = |key: starling_disk::TorrentKey, input| {
            self.feed(Input::Torrent { key: TorrentKey(key.0), input });
        };
        match news {
            News::PieceVerified { key, piece } => swarm(key, Swarm::PieceVerified { piece }),
            News::PieceFailed { key, piece, digests } => swarm(key, Swarm::PieceFailed { piece, digests }),
            News::PieceLost { key, piece } => swarm(key, Swarm::PieceLost { piece }),
            News::Digests { key, piece, digests } => swarm(key, Swarm::BlockDigests { piece, digests }),
            News::Room { key } => self.wake_readers(TorrentKey(key.0)),
            News::Read { token, result, .. } => self.read_done(token, result),
            News::Opened { key, have, piece_layers } => {
                if self.storage_is(TorrentKey(key.0), Storage::Open) {
                    return self.disk.close(key); // removed while it was being opened
                }
                self.opened(TorrentKey(key.0), have, piece_layers);
            }
            News::Checking { key, done, total } => {
                if let Some(local) = self.core.borrow_mut().torrents.get_mut(&TorrentKey(key.0)) {
                    local.checking = Some((done, total));
                }
            }
            News::Checked { .. } => {}
            News::Failed { key, error, recoverable } => self.failed(TorrentKey(key.0), &error, recoverable),
            News::Recovered { key } => self.feed(Input::StorageRecovered { key: TorrentKey(key.0) }),
            News::Confirmed { key } => self.confirmed(TorrentKey(key.0)),
            News::Closed { key, error } => {
                let closed = error.map_or(Ok(()), |error| Err(error.to_string()));
                self.forget(&mut self.core.borrow_mut(), TorrentKey(key.0), &closed);
            }
        }
    }

    /// The session takes part with what is there; who only serves needs something to serve.
    fn opened(&self, key: TorrentKey, have: Bitfield, piece_layers: Layers) {
        let serves_only = self.core.borrow().torrents.get(&key).filter(|l| !l.fetch).map(|l| l.dir.clone());
        match serves_only.filter(|_| !have.is_empty() && have.count() == 0) {
            Some(dir) => {
                let why =
                    format!("no piece of it is right in {}, so there is nothing to seed", dir.display());
                self.feed(Input::OpenFailed { key, why });
            }
            None => self.feed(Input::Opened { key, have, piece_layers }),
        }
    }

    /// All that is wanted is there, unless a piece was lost in the meantime.
    fn confirmed(&self, key: TorrentKey) {
        let core = &mut *self.core.borrow_mut();
        let is_whole = core.session.stats(key).is_some_and(|stats| stats.swarm.bytes_left == 0);
        if let Some(local) = core.torrents.get_mut(&key).filter(|_| is_whole) {
            local.finished = true;
            self.tell();
        }
    }

    fn failed(&self, key: TorrentKey, error: &starling_disk::DiskError, recoverable: bool) {
        let was_open =
            self.core.borrow().torrents.get(&key).is_some_and(|local| local.storage == Storage::Open);
        let why = error.to_string();
        if !was_open && self.storage_is(key, Storage::Closed) {
            // Removed while it was being opened: nothing is left to be closed.
            return self.forget(&mut self.core.borrow_mut(), key, &Ok(()));
        }
        if was_open && recoverable {
            self.feed(Input::StorageFailed { key, why });
        } else {
            self.feed(Input::OpenFailed { key, why });
        }
    }

    /// Notes how far its files are open; whether the session has left the torrent meanwhile.
    fn storage_is(&self, key: TorrentKey, storage: Storage) -> bool {
        let core = &mut *self.core.borrow_mut();
        let Some(local) = core.torrents.get_mut(&key) else { return true };
        local.storage = storage;
        core.session.stats(key).is_none()
    }

    fn wake_readers(&self, key: TorrentKey) {
        let core = self.core.borrow();
        let of_torrent = |conn: &&starling_net::PeerHandle| core.session.torrent_of(conn.conn()) == Some(key);
        core.handles.values().filter(of_torrent).for_each(starling_net::PeerHandle::wake_reader);
        if let Some(local) = core.torrents.get(&key) {
            local.seeds.values().for_each(starling_net::webseed::WebSeed::wake_reader);
        }
    }

    fn read_done(&self, token: u64, result: Result<bytes::Bytes, starling_disk::DiskError>) {
        let mut core = self.core.borrow_mut();
        let Some((conn, block)) = core.reads.remove(&token) else { return };
        let Some(handle) = core.handles.get(&conn) else { return };
        match result {
            Ok(bytes) => handle.block_ready(block, bytes),
            Err(error) => {
                tracing::warn!(%error, "a block cannot be served");
                handle.block_failed(block);
                let Some(key) = core.session.torrent_of(conn) else { return };
                drop(core);
                self.feed(Input::Torrent { key, input: Swarm::Unread { conn, block } });
            }
        }
    }
}

/// The same torrent may lie in several folders; each has its own resume file, by whatever path
/// the folder is named.
fn resume_name(hash: &str, dir: &Path) -> String {
    use std::hash::{Hash, Hasher};
    // Its keys are fixed; should they ever change, that costs one recheck.
    let mut hasher = std::hash::DefaultHasher::new();
    real_path(dir).hash(&mut hasher);
    format!("{hash}-{:016x}", hasher.finish())
}

/// Without links, `.` and `..`, also where the folder, or some above it, are yet to be made.
fn real_path(dir: &Path) -> PathBuf {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let real = dir.ancestors().find_map(|there| Some((there.canonicalize().ok()?, there)));
    let Some((mut real, there)) = real else { return dir };
    for part in dir.strip_prefix(there).into_iter().flat_map(Path::components) {
        match part {
            Component::ParentDir => drop(real.pop()),
            part => real.push(part),
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_has_its_own_resume_file_by_whatever_path() {
        let room = tempfile::tempdir().unwrap();
        let (here, link) = (room.path().join("here"), room.path().join("link"));
        let name = |dir: PathBuf| resume_name("00", &dir);
        std::os::unix::fs::symlink(&here, &link).unwrap();
        std::fs::create_dir(&here).unwrap();
        let sub = name(here.join("new/sub"));
        assert_ne!(sub, name(here.clone()));
        assert_eq!(sub, name(here.join("./new/other/../sub/")));
        assert_eq!(sub, name(link.join("new/sub")));
        std::fs::create_dir_all(here.join("new/sub")).unwrap();
        assert_eq!(sub, name(link.join("new/sub")), "made in the meantime");
        assert_eq!(name(here.clone()), name(room.path().join("here/../link")));
    }
}
