//! The public face: a handle on the network thread.

use std::net::SocketAddr;
use std::rc::Rc;
use std::thread::JoinHandle;

use starling_disk::{Disk, descriptors};
use starling_metainfo::{InfoHashes, Sha1Hash};
use starling_net::{Listener, PeerHandler, Peers};
use starling_session::{Input, ScrapeId, Scraped, Session, TorrentKey};
use starling_swarm::{Giver, Peer};
use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::Engine;
use crate::outside::Outside;
use crate::source::{self, Loaded};
use crate::{Add, Config, Error, Progress, State};

/// Who waits for files to be closed; the error says what was not written.
pub(crate) type Closing = oneshot::Sender<Result<(), String>>;

/// What the handles ask of the network thread.
pub(crate) enum Command {
    Add(Box<Add>, Loaded, oneshot::Sender<TorrentKey>),
    Progress(TorrentKey, oneshot::Sender<Option<Progress>>),
    Peers(TorrentKey, oneshot::Sender<Vec<Peer>>),
    Givers(TorrentKey, oneshot::Sender<Vec<Giver>>),
    Scrape(Vec<Sha1Hash>, Vec<String>, oneshot::Sender<Vec<Scraped>>),
    ScrapeTorrent(TorrentKey, oneshot::Sender<Vec<Scraped>>),
    Remove(TorrentKey, Closing),
    SetRates(starling_session::RateLimits),
    Shutdown(Closing),
}

/// A running node. Dropping it without [`Node::shutdown`] ends it like a crash would:
/// nothing is lost, but trackers are not told and a recheck may be due.
pub struct Node {
    commands: mpsc::UnboundedSender<Command>,
    news: watch::Receiver<u64>,
    addr: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

/// A torrent of a node.
#[derive(Clone)]
pub struct Torrent {
    key: TorrentKey,
    commands: mpsc::UnboundedSender<Command>,
    news: watch::Receiver<u64>,
}

impl Node {
    /// Starts a node: listens, and looks for peers on the local network. When it returns all
    /// sockets are open that the node has without torrents.
    pub fn start(config: Config) -> Result<Node, Error> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (news_out, news) = watch::channel(0);
        let (started, listening) = std::sync::mpsc::channel();
        let run = move || run_thread(config, inbox, news_out, &started);
        let listen_error = |error| Error::Listen { addr: SocketAddr::from(([0, 0, 0, 0], 0)), error };
        let thread =
            std::thread::Builder::new().name("starling-net".into()).spawn(run).map_err(listen_error)?;
        let addr = listening.recv().map_err(|_| Error::Stopped)??;
        Ok(Node { commands, news, addr, thread: Some(thread) })
    }

    /// Where the node listens; the IP may be unspecified, the port is not 0.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Adds a torrent. Reads its source first, over the network if it is an address.
    pub async fn add(&self, add: Add) -> Result<Torrent, Error> {
        let loaded = match &add.torrent {
            Some(torrent) => Loaded::Torrent(torrent.clone()),
            None => source::load(&add.source).await?,
        };
        let (answer, key) = oneshot::channel();
        self.commands.send(Command::Add(Box::new(add), loaded, answer)).map_err(|_| Error::Stopped)?;
        let key = key.await.map_err(|_| Error::Stopped)?;
        Ok(Torrent { key, commands: self.commands.clone(), news: self.news.clone() })
    }

    /// Asks each of `trackers` how many share a torrent, without taking part in it. Takes some
    /// seconds if one of them is silent. One answer for each tracker, in their order.
    pub async fn scrape(&self, hashes: &InfoHashes, trackers: &[String]) -> Result<Vec<Scraped>, Error> {
        let (answer, scraped) = oneshot::channel();
        let scrape = Command::Scrape(hashes.wire_names().collect(), trackers.to_vec(), answer);
        self.commands.send(scrape).map_err(|_| Error::Stopped)?;
        scraped.await.map_err(|_| Error::Stopped)
    }

    /// Limits over all torrents from now on.
    pub fn set_rates(&self, rates: starling_session::RateLimits) {
        let _ = self.commands.send(Command::SetRates(rates));
    }

    /// Counts what happens to the torrents: metadata, completion, failure. Look at the
    /// state after `changed()` returns.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.clone()
    }

    /// Tells trackers that we leave, closes connections, syncs all data. An error is the
    /// disk's: what was verified may not be there after a power cut.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        let (done, stopped) = oneshot::channel();
        let mut closed = Ok(());
        if self.commands.send(Command::Shutdown(done)).is_ok() {
            closed = stopped.await.unwrap_or(Ok(()));
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        closed.map_err(Error::Failed)
    }
}

impl Torrent {
    /// Where it stands.
    pub async fn progress(&self) -> Result<Progress, Error> {
        let (answer, progress) = oneshot::channel();
        self.commands.send(Command::Progress(self.key, answer)).map_err(|_| Error::Stopped)?;
        progress.await.ok().flatten().ok_or(Error::Stopped)
    }

    /// Its connected peers.
    pub async fn peers(&self) -> Result<Vec<Peer>, Error> {
        let (answer, peers) = oneshot::channel();
        self.commands.send(Command::Peers(self.key, answer)).map_err(|_| Error::Stopped)?;
        peers.await.map_err(|_| Error::Stopped)
    }

    /// Who sent data of it so far, connected or not any more. A peer with several connections may
    /// be told several times.
    pub async fn givers(&self) -> Result<Vec<Giver>, Error> {
        let (answer, givers) = oneshot::channel();
        self.commands.send(Command::Givers(self.key, answer)).map_err(|_| Error::Stopped)?;
        givers.await.map_err(|_| Error::Stopped)
    }

    /// Asks its trackers how many share it, without an announce; see [`Node::scrape`].
    pub async fn scrape(&self) -> Result<Vec<Scraped>, Error> {
        let (answer, scraped) = oneshot::channel();
        self.commands.send(Command::ScrapeTorrent(self.key, answer)).map_err(|_| Error::Stopped)?;
        scraped.await.map_err(|_| Error::Stopped)
    }

    /// Waits until all that is wanted is verified on disk.
    pub async fn finished(&mut self) -> Result<(), Error> {
        loop {
            self.news.mark_unchanged();
            match self.progress().await?.state {
                State::Seeding => return Ok(()),
                State::Failed(why) => return Err(Error::Failed(why)),
                _ => self.news.changed().await.map_err(|_| Error::Stopped)?,
            }
        }
    }

    /// Leaves the swarm and closes the files, which stay.
    pub async fn remove(self) -> Result<(), Error> {
        let (done, removed) = oneshot::channel();
        self.commands.send(Command::Remove(self.key, done)).map_err(|_| Error::Stopped)?;
        removed.await.map_err(|_| Error::Stopped)?.map_err(Error::Failed)
    }
}

/// The network thread, from its first socket to its end.
fn run_thread(
    config: Config,
    inbox: mpsc::UnboundedReceiver<Command>,
    news: watch::Sender<u64>,
    started: &std::sync::mpsc::Sender<Result<SocketAddr, Error>>,
) {
    let listen = config.listen;
    let failed = |error| Error::Listen { addr: listen, error };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(started.send(Err(failed(error)))),
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let listener = match Listener::bind(config.listen) {
            Ok(listener) => listener,
            Err(error) => return drop(started.send(Err(failed(error)))),
        };
        let outside = Outside::open(listener.addr(), config.lan);
        let _ = started.send(Ok(listener.addr()));
        serve(config, listener, outside, inbox, news).await;
    });
    // A resolver that hangs must not hold us up.
    runtime.shutdown_background();
}

async fn serve(
    mut config: Config,
    listener: Listener,
    outside: Outside,
    inbox: mpsc::UnboundedReceiver<Command>,
    news: watch::Sender<u64>,
) {
    let limits = &mut config.limits;
    limits.connections = descriptors::for_connections(0).min(limits.connections);
    limits.strangers = descriptors::for_strangers().min(limits.strangers);
    let (disk_out, disk_news) = mpsc::unbounded_channel();
    let disk_config = starling_disk::Config { memory: config.memory, ..starling_disk::Config::default() };
    let disk = Disk::new(disk_config, move |event| drop(disk_out.send(event)));
    let bind = Some(config.listen.ip()).filter(|ip| !ip.is_unspecified());
    let session = Session::new(session_config(&config, &listener), seed());
    let peers = Peers::new(net_limits(&config));
    let engine = Engine::new(session, disk, peers.clone(), outside, bind, config.state, news);
    let _receiving = Outside::listen(&engine);
    let handler: Rc<dyn PeerHandler> = engine.clone();
    let admit = engine.clone();
    let _listening = peers.listen(listener, handler, move |addr| admit.admit(addr));
    let storage = tokio::task::spawn_local(engine.clone().run_storage(disk_news));
    let timer = tokio::task::spawn_local(engine.clone().run_timer());
    engine.run_commands(inbox).await;
    timer.abort();
    storage.abort();
}

fn session_config(config: &Config, listener: &Listener) -> starling_session::Config {
    let families = match config.listen.ip() {
        ip if ip.is_unspecified() => starling_tracker::Family::ALL.to_vec(),
        ip => vec![starling_tracker::Family::of(ip)],
    };
    starling_session::Config {
        listen_port: listener.port(),
        lan: config.lan,
        families,
        rates: config.rates,
        limits: config.limits,
        swarm: config.swarm.clone(),
    }
}

fn net_limits(config: &Config) -> starling_net::Limits {
    starling_net::Limits {
        connections_max: config.limits.connections + config.limits.strangers,
        connections_per_ip_max: config.limits.connections_per_ip,
        // One neighbour may well have many torrents in common with us, and dials them as fast
        // as we would; it leaves as many places to others.
        half_open_max: config.limits.strangers,
        half_open_per_ip_max: config.limits.half_open,
        ..starling_net::Limits::DEFAULT
    }
}

/// A seed nobody can guess: the standard library's hasher keys come from the system.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

impl Engine {
    async fn run_commands(self: Rc<Engine>, mut inbox: mpsc::UnboundedReceiver<Command>) {
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Add(add, loaded, answer) => drop(answer.send(self.add(&add, loaded))),
                Command::Progress(key, answer) => drop(answer.send(self.progress(key))),
                Command::Peers(key, answer) => {
                    let peers = self.core.borrow().session.core(key).map(starling_swarm::Torrent::peers);
                    let _ = answer.send(peers.unwrap_or_default());
                }
                Command::Givers(key, answer) => {
                    let givers = self.core.borrow().session.core(key).map(starling_swarm::Torrent::givers);
                    let _ = answer.send(givers.unwrap_or_default());
                }
                Command::Remove(key, done) => {
                    match self.core.borrow_mut().torrents.get_mut(&key) {
                        Some(local) => local.closing.push(done),
                        None => drop(done.send(Ok(()))),
                    }
                    let refused = self.core.borrow().session.stats(key).is_none();
                    if refused {
                        self.forget(&mut self.core.borrow_mut(), key, &Ok(()));
                    } else {
                        self.feed(Input::Remove { key });
                    }
                }
                Command::Scrape(names, trackers, answer) => self.scrape(names, trackers, answer),
                Command::ScrapeTorrent(key, answer) => {
                    let (names, trackers) = self.names_and_trackers(key);
                    self.scrape(names, trackers, answer);
                }
                Command::SetRates(rates) => self.feed(Input::SetRates(rates)),
                Command::Shutdown(done) => {
                    let _ = done.send(self.shutdown().await);
                    return;
                }
            }
        }
    }

    fn add(&self, add: &Add, loaded: Loaded) -> TorrentKey {
        let (key, spec) = {
            let core = &mut *self.core.borrow_mut();
            core.next_key += 1;
            let key = TorrentKey(core.next_key);
            let (local, spec) = self.prepare(add, loaded);
            // So that a link to it is enough the next time.
            if let Some(torrent) = spec.torrent.as_ref().filter(|_| add.fetch && !local.by_link) {
                self.keep_torrent(torrent);
            }
            core.torrents.insert(key, local);
            (key, spec)
        };
        self.feed(Input::Add { key, spec: Box::new(spec) });
        key
    }

    fn scrape(&self, names: Vec<Sha1Hash>, trackers: Vec<String>, answer: oneshot::Sender<Vec<Scraped>>) {
        let id = {
            let core = &mut *self.core.borrow_mut();
            core.next_scrape += 1;
            let id = ScrapeId(core.next_scrape);
            core.scrapes.insert(id, answer);
            id
        };
        self.feed(Input::Scrape { id, names, trackers });
    }

    fn names_and_trackers(&self, key: TorrentKey) -> (Vec<Sha1Hash>, Vec<String>) {
        let session = &self.core.borrow().session;
        let hashes = session.stats(key).map(|stats| stats.hashes);
        let names = hashes.iter().flat_map(InfoHashes::wire_names).collect();
        (names, session.trackers(key).into_iter().flatten().collect())
    }

    fn progress(&self, key: TorrentKey) -> Option<Progress> {
        let core = self.core.borrow();
        Some(core.torrents.get(&key)?.progress(core.session.stats(key).as_ref()))
    }

    /// Leaves all swarms and closes all files. Takes as long as the disk needs to sync.
    async fn shutdown(&self) -> Result<(), String> {
        let (done, stopped) = oneshot::channel();
        let mut closing = Vec::new();
        {
            let core = &mut *self.core.borrow_mut();
            core.stopped.push(done);
            // What the session never took will not be removed by it.
            core.torrents.retain(|key, _| core.session.stats(*key).is_some());
            for local in core.torrents.values_mut() {
                let (done, closed) = oneshot::channel();
                local.closing.push(done);
                closing.push(closed);
            }
        }
        self.feed(Input::Shutdown);
        let _ = stopped.await;
        let mut all = Ok(());
        for closed in closing {
            all = all.and(closed.await.unwrap_or(Ok(())));
        }
        all
    }
}
