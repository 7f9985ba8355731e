//! What is said of a torrent that nobody gives anything: where peers are looked for, or what
//! has failed, and that it waits.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use starling_metainfo::Magnet;
use starling_node::{Add, Progress, State};

use crate::units;

/// Alone for so long, a torrent says so.
const ALONE: Duration = Duration::from_secs(5);

/// Where a torrent's data may come from, and what was said of it.
pub struct Alone {
    lan: bool,
    trackers: usize,
    /// Addresses of web seeds that are not in the torrent, or not yet.
    web_seeds: BTreeSet<String>,
    since: Option<Instant>,
    said: Option<Hope>,
}

/// What there still is for one that is alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hope {
    /// Somebody may be found yet.
    Places,
    /// All that there was has failed.
    None,
}

impl Alone {
    /// Of what is about to be added.
    pub fn new(add: &Add, lan: bool) -> Alone {
        let magnet = Magnet::from_source(&add.source).and_then(Result::ok);
        let (trackers, seeds) = magnet.map_or((0, Vec::new()), |link| (link.trackers.len(), link.web_seeds));
        let web_seeds = add.web_seeds.iter().cloned().chain(seeds).collect();
        Alone { lan, trackers: add.trackers.len() + trackers, web_seeds, since: None, said: None }
    }

    /// Whether it has had nobody for a while and that was not said yet, or not that there is
    /// nothing left to hope for.
    pub fn is_news(&mut self, p: &Progress) -> bool {
        let wants = matches!(p.state, State::Metadata | State::Downloading);
        if !wants || p.peers + p.web_seeds > 0 {
            (self.since, self.said) = (None, None);
            return false;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let hope = Some(self.hope(p));
        let is_news = since.elapsed() >= ALONE && self.said < hope;
        if is_news {
            self.said = hope;
        }
        is_news
    }

    fn hope(&self, p: &Progress) -> Hope {
        let failed = self.failed(p);
        if failed != [0, 0] && self.places(p, failed[1]).is_empty() { Hope::None } else { Hope::Places }
    }

    /// `no peers yet; looking at 1 tracker`, or `nobody to get it from: 1 web seed failed; waiting
    /// for somebody who has it`
    pub fn sentence(&self, p: &Progress) -> String {
        let failed = self.failed(p);
        let places = self.places(p, failed[1]).join(", ");
        let what = [units::count(failed[0], "web seed"), units::count(failed[1], "tracker")];
        let what: Vec<&str> =
            what.iter().zip(failed).filter(|(_, n)| *n > 0).map(|(what, _)| what.as_str()).collect();
        match (what.is_empty(), places.is_empty()) {
            (true, true) => "no peers, and nowhere to look for any: name one with --peer or a tracker with \
                --tracker"
                .to_owned(),
            (true, false) => format!("no peers yet; looking {places}"),
            (false, true) => {
                format!(
                    "nobody to get it from: {} failed; waiting for somebody who has it",
                    what.join(" and ")
                )
            }
            (false, false) => format!(
                "nobody to get it from yet: {} failed; waiting, and looking {places}",
                what.join(" and ")
            ),
        }
    }

    /// How many web seeds and how many trackers went wrong when they were last asked.
    fn failed(&self, p: &Progress) -> [usize; 2] {
        let own = p.torrent.as_ref().map(|torrent| torrent.web_seeds.as_slice()).unwrap_or_default();
        let failed = p.trackers.iter().filter(|(_, said)| said.is_err());
        let (seeds, trackers): (Vec<_>, Vec<_>) =
            failed.partition(|(url, _)| self.web_seeds.contains(url) || own.contains(url));
        [seeds.len(), trackers.len()]
    }

    /// Where is looked, without trackers that failed.
    fn places(&self, p: &Progress, failed: usize) -> Vec<String> {
        let torrent = p.torrent.as_ref();
        let private = torrent.is_some_and(|torrent| torrent.info.private);
        let trackers = self.trackers + torrent.map_or(0, |torrent| torrent.trackers.iter().flatten().count());
        let mut places = Vec::new();
        if self.lan && !private {
            places.push("on the local network".to_owned());
        }
        if trackers > failed {
            places.push(format!("at {}", units::count(trackers - failed, "tracker")));
        }
        if p.known_peers > 0 {
            places.push(format!("at {}", units::count_of(p.known_peers, "known address", "known addresses")));
        }
        places
    }
}
