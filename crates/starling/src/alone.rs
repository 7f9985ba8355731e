//! What is said of a torrent that nobody gives anything: where peers are looked for, what
//! has failed, or what those who are there do not have, and that it waits.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use starling_metainfo::Magnet;
use starling_node::{Add, Peer, Progress, State};

use crate::units;

/// Alone for so long, a torrent says so.
const ALONE: Duration = Duration::from_secs(5);

/// Where a torrent's data may come from, and what was said of it.
pub struct Alone {
    lan: bool,
    trackers: usize,
    /// Addresses of web seeds that are not in the torrent, or not yet.
    web_seeds: BTreeSet<String>,
    /// Whether some peer has something that is wanted.
    is_met: bool,
    since: Option<(Instant, bool)>,
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
        Alone {
            lan,
            trackers: add.trackers.len() + trackers,
            web_seeds,
            is_met: false,
            since: None,
            said: None,
        }
    }

    /// Whether it has had nobody for a while and that was not said yet, or not that there is
    /// nothing left to hope for.
    pub fn is_news(&mut self, p: &Progress) -> bool {
        let wants = matches!(p.state, State::Metadata | State::Downloading);
        let lacks = self.is_lacking(p);
        if !wants || p.web_seeds > 0 || (p.peers > 0 && !lacks) {
            (self.since, self.said) = (None, None);
            return false;
        }
        if self.since.is_none_or(|(_, lacked)| lacked != lacks) {
            (self.since, self.said) = (Some((Instant::now(), lacks)), None);
        }
        let Some((since, _)) = self.since else { return false };
        let hope = Some(if lacks { Hope::None } else { self.hope(p) });
        let is_news = since.elapsed() >= ALONE && self.said < hope;
        if is_news {
            self.said = hope;
        }
        is_news
    }

    /// Tells it of the connected peers.
    pub fn meets(&mut self, peers: &[Peer]) {
        self.is_met = peers.iter().any(|peer| peer.interested[0]);
    }

    /// Whether there are peers, but none that has anything of what is missing.
    pub fn is_lacking(&self, p: &Progress) -> bool {
        let misses = p.state == State::Downloading && p.bytes_done < p.bytes_wanted;
        misses && p.peers > 0 && p.web_seeds == 0 && !self.is_met
    }

    fn hope(&self, p: &Progress) -> Hope {
        let failed = self.failed(p);
        if failed != [0, 0] && self.places(p, failed[1]).is_empty() { Hope::None } else { Hope::Places }
    }

    /// `no peers yet; looking at 1 tracker`, or `nobody to get it from: 1 web seed failed; waiting
    /// for somebody who has it`
    pub fn sentence(&self, p: &Progress) -> String {
        if self.is_lacking(p) {
            return lacking(p);
        }
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

/// `none of the 3 peers has the 17 pieces that are missing; waiting for somebody who has them`
fn lacking(p: &Progress) -> String {
    let who = match p.peers {
        1 => "the only peer does not have".to_owned(),
        peers => format!("none of the {} has", units::count(peers, "peer")),
    };
    // How many pieces are missing is known only if all are wanted.
    let is_whole = p.torrent.as_ref().is_some_and(|t| t.info.layout.content_length() == p.bytes_wanted);
    let (what, it) = match p.pieces_total.saturating_sub(p.pieces) {
        1 if is_whole => ("the one piece that is missing".to_owned(), "it"),
        missing if is_whole => {
            (format!("the {} that are missing", units::count(missing as usize, "piece")), "them")
        }
        _ => ("what is missing".to_owned(), "it"),
    };
    format!("{who} {what}; waiting for somebody who has {it}")
}
