//! Web seeds: the swarm's fetches carried out by `net`, their blocks handed back.

use std::collections::btree_map::Entry;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use starling_net::webseed::{SeedHandler, WebSeed};
use starling_session::{Input, TorrentKey};
use starling_swarm::{Block, FetchEnd, Input as Swarm, SeedId};

use crate::engine::{Core, Engine};

/// The seeds of one torrent, as their tasks know whom to tell.
struct SeedsOf {
    engine: Weak<Engine>,
    key: TorrentKey,
}

impl SeedHandler for SeedsOf {
    fn block(&self, seed: SeedId, block: Block, bytes: Bytes) {
        if let Some(engine) = self.engine.upgrade() {
            let input = Swarm::Fetched { seed, block };
            engine.feed_with(Input::Torrent { key: self.key, input }, bytes);
        }
    }

    fn may_read(&self, _: SeedId) -> bool {
        let key = starling_disk::TorrentKey(self.key.0);
        self.engine.upgrade().is_some_and(|engine| engine.disk.room(key))
    }

    fn ended(&self, seed: SeedId, end: FetchEnd, detail: &str) {
        let Some(engine) = self.engine.upgrade() else { return };
        if end != FetchEnd::Done && !detail.is_empty() {
            tracing::debug!(torrent = self.key.0, seed = seed.0, ?end, detail, "a web seed's fetch ended");
            engine.seed_said(self.key, seed, detail);
        }
        let input = Swarm::FetchEnded { seed, end };
        engine.feed(Input::Torrent { key: self.key, input });
    }
}

impl Engine {
    pub(crate) fn fetch(&self, core: &mut Core, key: TorrentKey, seed: SeedId, piece: u32, length: u64) {
        if let Err(why) = self.try_fetch(core, key, seed, piece, length) {
            self.seed_fails_later(key, seed, why);
        }
    }

    fn try_fetch(
        &self,
        core: &mut Core,
        key: TorrentKey,
        seed: SeedId,
        piece: u32,
        length: u64,
    ) -> Result<(), String> {
        let gone = || "the torrent is gone".to_owned();
        let info = core.session.core(key).and_then(|core| core.info()).cloned().ok_or_else(gone)?;
        let url = core.session.web_seed(key, seed).unwrap_or_default().to_owned();
        let local = core.torrents.get_mut(&key).ok_or_else(gone)?;
        let web = match local.seeds.entry(seed) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let handler = Rc::new(SeedsOf { engine: self.me.clone(), key });
                let new = WebSeed::new(&self.outside.http, seed, &url, info, handler);
                place.insert(new.map_err(|error| error.to_string())?)
            }
        };
        if web.fetch(piece, length) { Ok(()) } else { Err("the web seed is busy".to_owned()) }
    }

    /// The core must not hear of a failure while it is still speaking.
    fn seed_fails_later(&self, key: TorrentKey, seed: SeedId, why: String) {
        let Some(engine) = self.rc() else { return };
        tokio::task::spawn_local(async move {
            engine.seed_said(key, seed, &why);
            let input = Swarm::FetchEnded { seed, end: FetchEnd::Useless };
            engine.feed(Input::Torrent { key, input });
        });
    }

    fn seed_said(&self, key: TorrentKey, seed: SeedId, detail: &str) {
        let core = &mut *self.core.borrow_mut();
        let url = core.session.web_seed(key, seed).unwrap_or_default().to_owned();
        if let Some(local) = core.torrents.get_mut(&key) {
            local.tracker_said(url, Err(detail.to_owned()));
        }
        self.tell();
    }

    pub(crate) fn cancel_fetch(&self, core: &mut Core, key: TorrentKey, seed: SeedId) {
        if let Some(seed) = core.torrents.get(&key).and_then(|local| local.seeds.get(&seed)) {
            seed.cancel();
        }
    }
}
