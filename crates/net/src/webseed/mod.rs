//! Web seeds (BEP 19): runs of pieces fetched from HTTP servers by range requests.
//!
//! A [`WebSeed`] is one server for one torrent, with its own task and kept-alive
//! connection; it does one fetch at a time and hands over blocks as they come, no
//! faster than they are taken. What to fetch, and whether the bytes are right, is
//! decided elsewhere. Not here: BEP 17 seeds, whose servers are extinct, and a rate
//! limit of its own: the handler's `may_read` is one.

mod plan;
mod request;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use starling_metainfo::Info;
use starling_swarm::{Block, FetchEnd, SeedId};
use starling_tracker::UrlError;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::http::{Http, Url};
use request::Fetcher;

/// Whoever takes what web seeds bring. All calls come on the network thread, from the
/// seeds' own tasks, never from within a method of [`WebSeed`].
pub trait SeedHandler: 'static {
    /// A block of the present fetch came whole; its bytes are not checked.
    fn block(&self, seed: SeedId, block: Block, bytes: Bytes);

    /// Whether more blocks may come now. When false, nothing is read from this seed
    /// until [`WebSeed::wake_reader`].
    fn may_read(&self, seed: SeedId) -> bool;

    /// The present fetch is over. Once for each [`WebSeed::fetch`] that was accepted.
    /// `detail` is for the log and the user.
    fn ended(&self, seed: SeedId, end: FetchEnd, detail: &str);
}

/// One web seed of one torrent. Dropping it closes its connection; the handler is not
/// called any more.
pub struct WebSeed {
    shared: Rc<Shared>,
    task: AbortHandle,
}

/// What the seed's task and its owner share.
struct Shared {
    wanted: RefCell<Option<(u32, u64)>>,
    busy: Cell<bool>,
    cancelled: Cell<bool>,
    changed: Notify,
}

impl WebSeed {
    /// Takes the address as the torrent has it; nothing is sent before the first fetch.
    /// Must be called within a `LocalSet`.
    pub fn new(
        http: &Http,
        seed: SeedId,
        url: &str,
        info: Arc<Info>,
        handler: Rc<dyn SeedHandler>,
    ) -> Result<WebSeed, UrlError> {
        let url = Url::parse(url)?;
        let shared = Rc::new(Shared {
            wanted: RefCell::default(),
            busy: Cell::new(false),
            cancelled: Cell::new(false),
            changed: Notify::new(),
        });
        let fetcher = Fetcher::new(http.clone(), url, info);
        let task = tokio::task::spawn_local(run(fetcher, seed, shared.clone(), handler));
        Ok(WebSeed { shared, task: task.abort_handle() })
    }

    /// Begins to fetch whole pieces from `piece` on, `length` bytes of them in all; false, and nothing happens, while another fetch is not over.
    pub fn fetch(&self, piece: u32, length: u64) -> bool {
        if self.shared.busy.replace(true) {
            return false;
        }
        self.shared.cancelled.set(false);
        self.shared.wanted.replace(Some((piece, length)));
        self.shared.changed.notify_one();
        true
    }

    /// Breaks the present fetch off; it ends with a retry after 0 seconds.
    pub fn cancel(&self) {
        self.shared.cancelled.set(true);
        self.shared.changed.notify_one();
    }

    /// Tells the seed that [`SeedHandler::may_read`] may have become true.
    pub fn wake_reader(&self) {
        self.shared.changed.notify_one();
    }
}

impl Drop for WebSeed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(mut fetcher: Fetcher, seed: SeedId, shared: Rc<Shared>, handler: Rc<dyn SeedHandler>) {
    loop {
        let Some((piece, length)) = shared.wanted.take() else {
            shared.changed.notified().await;
            continue;
        };
        let gate = Gate { seed, shared: &shared, handler: &*handler };
        let (end, detail) = match fetcher.fetch(piece, length, &gate).await {
            Ok(()) => (FetchEnd::Done, String::new()),
            Err(failure) => (failure.end, failure.detail),
        };
        shared.busy.set(false);
        handler.ended(seed, end, &detail);
    }
}

/// What stands between a fetch and the handler.
struct Gate<'a> {
    seed: SeedId,
    shared: &'a Shared,
    handler: &'a dyn SeedHandler,
}

impl Gate<'_> {
    /// Waits until more may come; false when the fetch was cancelled.
    async fn open(&self) -> bool {
        loop {
            if self.shared.cancelled.get() {
                return false;
            }
            if self.handler.may_read(self.seed) {
                return true;
            }
            self.shared.changed.notified().await;
        }
    }

    /// Returns when the fetch is cancelled.
    async fn cancelled(&self) {
        while !self.shared.cancelled.get() {
            self.shared.changed.notified().await;
        }
    }

    fn block(&self, block: Block, bytes: Bytes) {
        if !self.shared.cancelled.get() {
            self.handler.block(self.seed, block, bytes);
        }
    }
}
