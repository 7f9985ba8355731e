//! Running torrents until they are done or somebody interrupts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, bail};
use serde_json::json;
use starling_node::{Add, Config, Error, Node, Progress, RateLimits, State, Torrent};

use crate::args::{Network, Talk};
use crate::progress::{TICK, View};
use crate::units;

/// How a command ended, as the exit code tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// 0
    Done,
    /// 1, with the reason said already
    Failed,
    /// 130
    Interrupted,
}

/// When a run is over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Every torrent is complete, or failed.
    Complete,
    /// Somebody interrupts.
    Interrupted,
}

/// A node as the network flags want it.
pub fn start(network: &Network) -> Result<Node, Error> {
    let config = Config {
        lan: !network.no_lan,
        rates: RateLimits { down: network.down_limit, up: network.up_limit },
        memory: usize::try_from(network.memory).unwrap_or(usize::MAX),
        ..Config::default()
    };
    let config = match &network.state {
        Some(dir) => Config { state: Some(dir.clone()), ..config },
        None => config,
    };
    match network.listen {
        Some(listen) => Node::start(Config { listen, ..config }),
        None => start_at_free_port(config),
    }
}

/// The customary ports first, so that a link with our address stays good over a restart.
fn start_at_free_port(config: Config) -> Result<Node, Error> {
    let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    for port in 6881..6890 {
        match Node::start(Config { listen: SocketAddr::new(any, port), ..config.clone() }) {
            Err(Error::Listen { .. }) => {}
            other => return other,
        }
    }
    Node::start(Config { listen: SocketAddr::new(any, 0), ..config })
}

/// What is told while torrents run.
struct Watch<'a> {
    torrents: &'a [Torrent],
    view: View,
    talk: &'a Talk,
    told: Vec<Told>,
}

/// What was said of a torrent already.
#[derive(Clone, Default)]
struct Told {
    end: bool,
    banned: usize,
    trackers: Vec<(String, Result<String, String>)>,
}

/// Adds torrents and runs them, showing how they do.
pub async fn run(node: &Node, adds: Vec<Add>, talk: &Talk, until: Until) -> Result<Exit> {
    let interrupted = interrupted();
    tokio::pin!(interrupted);
    let mut torrents = Vec::with_capacity(adds.len());
    for add in adds {
        tokio::select! {
            added = node.add(add) => torrents.push(added?),
            () = &mut interrupted => return Ok(Exit::Interrupted),
        }
    }
    let view = View::new(talk, torrents.len());
    let told = vec![Told::default(); torrents.len()];
    let mut watch = Watch { torrents: &torrents, view, talk, told };
    let mut news = node.news();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = news.changed() => {}
            () = &mut interrupted => {
                watch.view.end();
                return Ok(Exit::Interrupted);
            }
        }
        if let Some(exit) = watch.look(until).await? {
            watch.view.end();
            return Ok(exit);
        }
    }
}

impl Watch<'_> {
    /// Shows where everything is; tells what is new; says whether it is over.
    async fn look(&mut self, until: Until) -> Result<Option<Exit>> {
        let mut progress = Vec::with_capacity(self.torrents.len());
        for torrent in self.torrents {
            progress.push(torrent.progress().await?);
        }
        for (p, told) in progress.iter().zip(&mut self.told) {
            tell(&self.view, self.talk, p, told);
        }
        let over = progress.iter().all(|p| matches!(p.state, State::Seeding | State::Failed(_)));
        let failed = progress.iter().any(|p| matches!(p.state, State::Failed(_)));
        let all_failed = progress.iter().all(|p| matches!(p.state, State::Failed(_)));
        if (until == Until::Complete && over) || all_failed {
            return Ok(Some(if failed { Exit::Failed } else { Exit::Done }));
        }
        self.view.update(&progress);
        Ok(None)
    }
}

fn tell(view: &View, talk: &Talk, p: &Progress, told: &mut Told) {
    let name = p.name.clone().unwrap_or_else(|| p.hashes.to_string());
    match &p.state {
        State::Seeding if !told.end => {
            told.end = true;
            let size = units::bytes(p.bytes_wanted);
            if p.downloaded > 0 {
                view.say(&format!("{name}: complete, {size} verified"));
            }
            view.event(&json!({ "event": "complete", "info_hash": p.hashes.to_string(), "name": name,
                "bytes": p.bytes_wanted, "downloaded": p.downloaded }));
        }
        State::Failed(why) if !told.end => {
            told.end = true;
            crate::progress::eprint_line(&format!("starling: {name}: {why}"));
            view.event(&json!({ "event": "failed", "info_hash": p.hashes.to_string(), "why": why }));
        }
        _ => {}
    }
    for ip in &p.banned[told.banned.min(p.banned.len())..] {
        view.say(&format!("{name}: {ip} sent false data and is banned"));
        view.event(&json!({ "event": "banned", "info_hash": p.hashes.to_string(), "ip": ip.to_string() }));
    }
    told.banned = p.banned.len();
    if told.trackers != p.trackers {
        for (url, said) in p.trackers.iter().filter(|t| !told.trackers.contains(t)) {
            match said {
                Ok(said) if talk.verbose > 0 => view.say(&format!("tracker {url}: {said}")),
                Err(why) => view.say(&format!("tracker {url}: {why}")),
                Ok(_) => {}
            }
        }
        told.trackers = p.trackers.clone();
    }
}

/// Resolves at the first interrupt or termination signal; the second ends the program at once.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
    tokio::spawn(async move {
        tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
        std::process::exit(130);
    });
}

/// Stops the node, telling trackers, and says what an interrupt means.
pub async fn finish(node: Node, exit: Exit, talk: &Talk, hint: &str) -> Exit {
    if exit == Exit::Interrupted && !talk.quiet && !talk.json {
        crate::progress::eprint_line(hint);
    }
    node.shutdown().await;
    exit
}

/// The peers, trackers and web seeds that flags add to a torrent.
pub fn with_flags(add: Add, network: &Network, trackers: &[String], web_seeds: &[String]) -> Result<Add> {
    for peer in &network.peer {
        let port = peer.rsplit_once(':').and_then(|(host, port)| port.parse::<u16>().ok().filter(|_| !host.is_empty()));
        if port.is_none_or(|port| port == 0) {
            bail!(crate::Usage(format!("--peer {peer}: want HOST:PORT")));
        }
    }
    Ok(Add {
        peers: network.peer.clone(),
        trackers: trackers.to_vec(),
        web_seeds: web_seeds.to_vec(),
        ..add
    })
}
