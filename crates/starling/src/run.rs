//! Running torrents until they are done or somebody interrupts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;
use starling_disk::descriptors;
use starling_metainfo::Magnet;
use starling_node::{Add, Config, Error, Limits, Node, Progress, RateLimits, State, Torrent};

use crate::args::{Network, Talk};
use crate::progress::{TICK, View};
use crate::story::Story;
use crate::{interrupt, screen, units};

/// Closing that takes longer than this is explained.
const PATIENCE: Duration = Duration::from_secs(2);

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

impl Exit {
    /// What the process exits with.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Interrupted => interrupt::CODE,
        }
    }
}

/// When a run is over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Every torrent is complete, or failed.
    Complete,
    /// Somebody interrupts.
    Interrupted,
}

/// A node as the network flags want it, for so many torrents. That it cannot have the files
/// and sockets which they need is said here, before anything is begun.
pub fn start(network: &Network, torrents: usize) -> Result<Node> {
    let limits = Config::default().limits;
    let connections = descriptors::for_connections(torrents).min(limits.connections);
    let config = Config {
        limits: Limits { connections, ..limits },
        lan: !network.no_lan,
        rates: RateLimits { down: network.down_limit, up: network.up_limit },
        memory: usize::try_from(network.memory).unwrap_or(usize::MAX),
        ..Config::default()
    };
    let config = match &network.state {
        Some(dir) => Config { state: Some(dir.clone()), ..config },
        None => config,
    };
    let node = match network.listen {
        Some(listen) => Node::start(Config { listen, ..config }),
        None => start_at_free_port(config),
    };
    if let Err(Error::Listen { error, .. }) = &node
        && let Some(too_few) = descriptors::to_blame(error, torrents)
    {
        return Err(too_few.into());
    }
    descriptors::check_torrents(torrents)?;
    Ok(node?)
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

/// What runs, and how it is shown.
struct Watch<'a> {
    torrents: Vec<Torrent>,
    stories: Vec<Story>,
    /// The file that each torrent must have for its selection to make sense.
    selected: Vec<Option<Selected>>,
    view: View,
    talk: &'a Talk,
    until: Until,
}

/// How a run ended, and where everything stood.
pub struct Ended {
    /// As the exit code tells.
    pub exit: Exit,
    /// The torrents at that moment.
    pub torrents: Vec<Progress>,
}

impl Ended {
    fn failed_with(&self, reason: &str) -> bool {
        self.torrents.iter().any(|p| matches!(&p.state, State::Failed(why) if why == reason))
    }
}

/// Adds torrents and runs them, showing how they do, then stops the node in order. `lan`:
/// whether peers are looked for on the local network; `hint`: what an interrupt means.
pub async fn to_the_end(
    node: Node,
    adds: Vec<Add>,
    talk: &Talk,
    until: Until,
    lan: bool,
    hint: impl Fn(&[Progress]) -> String,
) -> Result<Exit> {
    match run(&node, adds, talk, until, lan).await {
        Ok(ended) => finish(node, ended, talk, hint).await,
        Err(error) => {
            // What the others have is to be kept.
            let _ = node.shutdown().await;
            Err(error)
        }
    }
}

/// What is known to be wrong before anything is begun, or made on disk.
pub fn check_selections(adds: &[Add]) -> Result<()> {
    adds.iter().try_for_each(|add| match (Selected::of(add), &add.torrent) {
        (Some(selected), Some(torrent)) => {
            selected.check_in(torrent, &crate::text::printable(&torrent.info.name))
        }
        _ => Ok(()),
    })
}

async fn run(node: &Node, adds: Vec<Add>, talk: &Talk, until: Until, lan: bool) -> Result<Ended> {
    let mut watch = Watch {
        torrents: Vec::with_capacity(adds.len()),
        stories: adds.iter().map(|add| Story::new(add, lan)).collect(),
        selected: adds.iter().map(Selected::of).collect(),
        view: View::new(talk),
        talk,
        until,
    };
    for add in adds {
        match interrupt::unless(node.add(add)).await {
            Ok(added) => watch.torrents.push(added?),
            Err(interrupt::Interrupted) => {
                return Ok(Ended { exit: Exit::Interrupted, torrents: Vec::new() });
            }
        }
    }
    let mut news = node.news();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let stop = tokio::select! {
            _ = tick.tick() => false,
            _ = news.changed() => false,
            () = interrupt::asked() => true,
        };
        let torrents = watch.look().await?;
        let over = if stop { Some(Exit::Interrupted) } else { watch.over(&torrents) };
        if let Some(exit) = over {
            let stories = watch.stories.iter_mut().zip(&torrents);
            stories.for_each(|(story, p)| story.close(&watch.view, p));
            return Ok(Ended { exit, torrents });
        }
    }
}

impl Watch<'_> {
    /// Shows where everything is, and tells what is new.
    async fn look(&mut self) -> Result<Vec<Progress>> {
        let mut torrents = Vec::with_capacity(self.torrents.len());
        for (at, (torrent, story)) in self.torrents.iter().zip(&mut self.stories).enumerate() {
            let mut progress = torrent.progress().await?;
            if let Some(Some(selected)) = self.selected.get(at) {
                selected.check(&progress)?;
            }
            if progress.down_rate == 0 {
                progress.down_rate = story.first_rate(&progress);
            }
            if story.is_ending(&progress) {
                story.gave(&torrent.givers().await?);
            }
            story.look(&self.view, &progress, &torrent.peers().await?, self.talk.verbose > 0);
            torrents.push(progress);
        }
        self.tell_alone(&torrents);
        let until = self.until;
        self.view.update(&torrents, |p| until == Until::Complete && is_over(p));
        Ok(torrents)
    }

    /// Says where peers are looked for, once for all torrents that lack them.
    fn tell_alone(&mut self, torrents: &[Progress]) {
        let pairs = self.stories.iter_mut().zip(torrents);
        let alone: Vec<_> =
            pairs.filter_map(|(story, p)| story.alone.is_news(p).then_some((&story.alone, p))).collect();
        for (story, p) in &alone {
            self.view.event(&json!({ "event": "alone", "info_hash": p.hashes.to_string(),
                "why": story.sentence(p) }));
        }
        // What peers lack is each torrent's own.
        let (lacking, alone): (Vec<_>, Vec<_>) =
            alone.into_iter().partition(|(story, p)| story.is_lacking(p));
        for (story, p) in lacking {
            self.view.say(&format!("{}: {}", crate::facts::short_name(p), story.sentence(p)));
        }
        if let Some((story, p)) = alone.first() {
            let others = match alone.len() - 1 {
                0 => String::new(),
                more => format!(" and {}", units::count_of(more, "other torrent", "other torrents")),
            };
            let sentence = story.sentence(p);
            self.view.say(&format!("{}{others}: {sentence}", crate::facts::short_name(p)));
        }
    }

    fn over(&self, torrents: &[Progress]) -> Option<Exit> {
        let has_failed = |p: &Progress| matches!(p.state, State::Failed(_));
        let is_end = self.until == Until::Complete && torrents.iter().all(is_over);
        let failed = torrents.iter().any(has_failed);
        (is_end || torrents.iter().all(has_failed)).then_some(if failed { Exit::Failed } else { Exit::Done })
    }
}

fn is_over(p: &Progress) -> bool {
    matches!(p.state, State::Seeding | State::Failed(_))
}

/// A file number somebody chose, and who.
struct Selected {
    file: u32,
    by: &'static str,
}

impl Selected {
    /// The largest: if that is there, all are.
    fn of(add: &Add) -> Option<Selected> {
        if let Some(&file) = add.select.iter().max() {
            return Some(Selected { file, by: "--select" });
        }
        let magnet = Magnet::from_source(&add.source).and_then(Result::ok)?;
        let file = magnet.select_only.iter().map(|range| *range.end()).max()?;
        Some(Selected { file, by: "the link" })
    }

    /// A file that the torrent does not have is a mistake, and getting nothing no success.
    fn check(&self, p: &Progress) -> Result<()> {
        match &p.torrent {
            Some(torrent) => self.check_in(torrent, &crate::facts::name(p)),
            None => Ok(()),
        }
    }

    fn check_in(&self, torrent: &starling_metainfo::Torrent, name: &str) -> Result<()> {
        let Selected { file, by } = *self;
        let files = torrent.info.layout.files().iter().filter(|file| !file.padding).count();
        if usize::try_from(file).is_ok_and(|file| file < files) {
            return Ok(());
        }
        let files = units::count(files, "file");
        bail!("{by}: {name} has no file {file}: it has {files}, counted from 0")
    }
}

/// Stops the node, telling trackers, and says what an interrupt means.
async fn finish(node: Node, ended: Ended, talk: &Talk, hint: impl Fn(&[Progress]) -> String) -> Result<Exit> {
    let speaks = !talk.quiet && !talk.json;
    let stopping = node.shutdown();
    tokio::pin!(stopping);
    let stopped = match tokio::time::timeout(PATIENCE, &mut stopping).await {
        Ok(stopped) => stopped,
        Err(_) => {
            if speaks {
                screen::line("starling: writing it safely to disk and saying good-bye");
            }
            stopping.await
        }
    };
    if speaks && ended.exit == Exit::Interrupted {
        screen::line(&format!("starling: {}", hint(&ended.torrents)));
    }
    match stopped {
        // Why it failed is why it cannot be closed in order: it was said.
        Err(Error::Failed(why)) if ended.failed_with(&why) => Ok(ended.exit),
        stopped => stopped.map(|()| ended.exit).map_err(Into::into),
    }
}

/// The peers, trackers and web seeds that flags add to a torrent.
pub fn with_flags(add: Add, network: &Network, trackers: &[String], web_seeds: &[String]) -> Add {
    let and = |mut own: Vec<String>, more: &[String]| {
        own.extend_from_slice(more);
        own
    };
    Add {
        peers: and(add.peers, &network.peer),
        trackers: and(add.trackers, trackers),
        web_seeds: and(add.web_seeds, web_seeds),
        ..add
    }
}
