//! What is told of a torrent once, as it happens: where peers are looked for, who was
//! banned, what a tracker refused, how it ended.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use starling_node::{Add, Check, Giver, Peer, Progress, State};

use crate::alone::Alone;
use crate::givers::Givers;
use crate::losses::{Losses, News};
use crate::progress::View;
use crate::text::{address, folder, plain};
use crate::{facts, units};

/// Until then a rate may not be measured yet.
const RATE_KNOWN: Duration = Duration::from_secs(2);

/// What was seen and said of one torrent.
pub struct Story {
    /// Where it looks for peers, and what was said of that.
    pub alone: Alone,
    dir: PathBuf,
    began: Instant,
    started: Option<(Instant, u64)>,
    gave: Givers,
    known: Known,
    ended: bool,
    banned: usize,
    lost: usize,
    losses: Losses,
    trackers: Vec<(String, Result<String, String>)>,
}

impl Story {
    /// The story of what is about to be added.
    pub fn new(add: &Add, lan: bool) -> Story {
        Story {
            alone: Alone::new(add, lan),
            dir: add.dir.clone(),
            began: Instant::now(),
            started: None,
            gave: Givers::default(),
            known: Known::of(add),
            ended: false,
            banned: 0,
            lost: 0,
            losses: Losses::default(),
            trackers: Vec::new(),
        }
    }

    /// Tells what is new.
    pub fn look(&mut self, view: &View, p: &Progress, peers: &[Peer], verbose: bool) {
        if self.started.is_none() && p.state == State::Downloading {
            self.started = Some((Instant::now(), p.bytes_had));
        }
        // So short that it was never seen at it.
        if self.started.is_none() && p.state == State::Seeding && p.downloaded > 0 {
            self.started = Some((self.began, p.bytes_had));
        }
        self.alone.meets(peers);
        self.banned(view, p);
        self.lost(view, p);
        self.trackers(view, p, verbose);
        self.end(view, p);
    }

    /// Whether it has come to its end and that was not told yet.
    pub fn is_ending(&self, p: &Progress) -> bool {
        !self.ended && p.state == State::Seeding
    }

    /// Those who gave what it has in the end.
    pub fn gave(&mut self, givers: &[Giver]) {
        givers.iter().for_each(|giver| self.gave.note(giver));
    }

    /// The mean rate of the first moments, when nothing is measured yet.
    pub fn first_rate(&self, p: &Progress) -> u64 {
        let took = self.started.map_or(Duration::MAX, |(at, _)| at.elapsed());
        if took > RATE_KNOWN { 0 } else { per_second(p.downloaded, took) }
    }

    /// Says what waited to be summed up with what will not come any more.
    pub fn close(&mut self, view: &View, p: &Progress) {
        while self.say_lost(view, p, true) {}
    }

    fn banned(&mut self, view: &View, p: &Progress) {
        let name = facts::short_name(p);
        for ip in p.banned.iter().skip(self.banned) {
            view.say(&format!("{name}: {ip} sent false data and is banned"));
            view.event(
                &json!({ "event": "banned", "info_hash": p.hashes.to_string(), "ip": ip.to_string() }),
            );
        }
        self.banned = p.banned.len();
    }

    fn lost(&mut self, view: &View, p: &Progress) {
        for &piece in p.lost.iter().skip(self.lost) {
            view.event(&json!({ "event": "lost", "info_hash": p.hashes.to_string(), "piece": piece }));
        }
        self.lost = p.lost.len();
        self.say_lost(view, p, false);
    }

    fn say_lost(&mut self, view: &View, p: &Progress, now: bool) -> bool {
        let news = self.losses.news(Instant::now(), &p.lost, now);
        if let Some(news) = news {
            view.say(&lost_sentence(p, news));
        }
        news.is_some()
    }

    fn trackers(&mut self, view: &View, p: &Progress, verbose: bool) {
        if self.trackers == p.trackers {
            return;
        }
        for (url, said) in p.trackers.iter().filter(|said| !self.trackers.contains(said)) {
            let url = address(url);
            match said {
                Ok(said) if verbose => view.say(&format!("{url}: {said}")),
                Ok(_) => {}
                Err(why) => view.say(&format!("{url}: {}", plain(why))),
            }
        }
        self.trackers.clone_from(&p.trackers);
    }

    fn end(&mut self, view: &View, p: &Progress) {
        match &p.state {
            _ if self.ended => return,
            State::Seeding => self.completed(view, p),
            State::Failed(why) => {
                let why = plain(why);
                crate::screen::line(&format!("starling: {}: {why}", facts::short_name(p)));
                view.event(&json!({ "event": "failed", "info_hash": p.hashes.to_string(), "why": why }));
            }
            _ => return,
        }
        self.ended = true;
    }

    /// What is served of a torrent that is not fetched may be not all of it.
    fn why_partial(&self, p: &Progress) -> Option<String> {
        match self.known {
            Known::Complete | Known::Fetched => None,
            Known::Partial => Some(String::new()),
            Known::Unchecked if p.pieces < p.pieces_total => {
                let total = units::count(p.pieces_total as usize, "piece");
                Some(format!("not complete, {} of {total} right", units::number(p.pieces.into())))
            }
            Known::Unchecked => {
                let long = starling_disk::too_long(p.torrent.as_ref()?, &self.dir).ok()?;
                long.first().map(|path| format!("not complete, {} is too long", path.display()))
            }
        }
    }

    /// `ubuntu.iso: 1.0 GiB in 12 s, 87 MB/s, from 3 peers`
    fn completed(&self, view: &View, p: &Progress) {
        let (name, size) = (facts::short_name(p), units::bytes(p.bytes_wanted));
        if let Some(why) = self.why_partial(p) {
            if self.known != Known::Partial {
                view.say(&format!("{name}: {why}; {size} verified in {} and seeded", folder(&self.dir)));
            }
            return;
        }
        match self.started {
            Some((at, before)) => {
                let (took, got) = (at.elapsed(), p.bytes_wanted.saturating_sub(before));
                let rate = units::rate(per_second(got, took));
                let what = if before == 0 { size } else { format!("{} more make {size}", units::bytes(got)) };
                let peers = self.gave.count();
                let web_seeds = if p.from_web_seeds > 0 { p.web_seeds.max(1) } else { 0 };
                let from = match (peers, web_seeds) {
                    (0, 0) => String::new(),
                    (peers, seeds) => format!(", from {}", facts::sources(peers, seeds)),
                };
                view.say(&format!("{name}: {what} in {}, {rate}{from}", units::elapsed(took)));
            }
            None if self.known == Known::Complete => {}
            None => {
                let dir = folder(&self.dir);
                view.say(&format!("{name}: complete, {size} verified in {dir}"));
            }
        }
        view.event(&json!({ "event": "complete", "info_hash": p.hashes.to_string(), "name": p.name,
            "bytes": p.bytes_wanted, "downloaded": p.downloaded }));
    }
}

/// What was said of the data on disk before it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// That it is complete: it was hashed just now.
    Complete,
    /// How much of it is right, and that this is seeded.
    Partial,
    /// Nothing, and what is missing is not fetched.
    Unchecked,
    /// Nothing; what is missing is fetched.
    Fetched,
}

impl Known {
    fn of(add: &Add) -> Known {
        match add.check {
            Check::Complete => Known::Complete,
            _ if add.fetch => Known::Fetched,
            Check::Full if add.torrent.is_some() => Known::Partial,
            _ => Known::Unchecked,
        }
    }
}

/// `photos: piece 17 (2024/cat.jpg) has changed on disk since it was verified; it is not served any
/// more`, `photos: 999 more pieces have changed on disk since they were verified; ...`
fn lost_sentence(p: &Progress, news: News) -> String {
    let name = facts::short_name(p);
    let then = if p.state == State::Seeding { "not served any more" } else { "fetched again" };
    let piece = match news {
        News::One(piece) => piece,
        News::More(count) => {
            let count = units::count(count, "more piece");
            return format!("{name}: {count} have changed on disk since they were verified; they are {then}");
        }
    };
    let info = p.torrent.as_ref().map(|torrent| &torrent.info).filter(|info| !info.single_file);
    let file = info.and_then(|info| info.layout.files().get(info.layout.file_of_piece(piece)?));
    let file = file.map_or_else(String::new, |file| format!(" ({})", file.path.join("/")));
    format!("{name}: piece {piece}{file} has changed on disk since it was verified; it is {then}")
}

fn per_second(bytes: u64, took: Duration) -> u64 {
    (bytes as f64 / took.as_secs_f64().max(1e-3)) as u64
}
