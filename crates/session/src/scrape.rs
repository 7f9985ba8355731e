//! How many share a torrent, asked of trackers without announcing it (BEP 48 over HTTP,
//! BEP 15 over UDP).
//!
//! A scrape stands for itself: the torrent need not be one of the session's, and asking
//! makes nobody a peer. All its trackers are asked at once, each over every family of
//! addresses we have; a tracker's first answer counts, and its failure is told when the
//! last of its questions has failed or [`PATIENCE`] is over. A hybrid torrent is asked
//! for by both its names, and the larger numbers count, since a peer may be on either list.
//!
//! Not here: many torrents in one question, and the tracker's wish for a distance between
//! scrapes (BEP 48 `flags`): a scrape is what somebody asked for just now.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use starling_metainfo::Sha1Hash;
use starling_sansio::{Sink, Time};
use starling_tracker::{
    Family, Scheme, ScrapeEntry, ScrapeResponse, TrackerError, TrackerUrl, http, udp, without_userinfo,
};

use crate::jobs::Job;
use crate::trackers::{UdpJob, http_base};
use crate::{Output, Session};

/// How long trackers have: time for a datagram to be lost and sent again.
const PATIENCE: Duration = Duration::from_secs(15);

/// A scrape, as the driver numbers them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ScrapeId(pub u64);

/// What one tracker says of a torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scraped {
    /// Its address, without a password.
    pub tracker: String,
    /// Its numbers, or in one sentence why there are none.
    pub counts: Result<ScrapeEntry, String>,
}

/// One question of a scrape.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Question {
    scrape: ScrapeId,
    tracker: usize,
    family: Family,
}

/// The scrapes under way.
#[derive(Debug, Default)]
pub struct Scrapes {
    open: BTreeMap<ScrapeId, Scrape>,
}

#[derive(Debug)]
struct Scrape {
    names: Vec<Sha1Hash>,
    trackers: Vec<Asked>,
    deadline: Time,
}

/// One tracker of a scrape.
#[derive(Debug)]
struct Asked {
    shown: String,
    /// Questions without an answer.
    open: usize,
    counts: Option<Result<ScrapeEntry, String>>,
}

impl Scrapes {
    pub fn next_timeout(&self) -> Option<Time> {
        self.open.values().map(|scrape| scrape.deadline).min()
    }
}

impl Scrape {
    fn is_over(&self, now: Time) -> bool {
        self.deadline <= now || self.trackers.iter().all(|t| t.open == 0 || matches!(t.counts, Some(Ok(_))))
    }

    /// The numbers of the torrent in an answer.
    fn counts(&self, answer: &ScrapeResponse) -> Result<ScrapeEntry, String> {
        let known = self.names.iter().filter_map(|name| answer.files.get(name));
        let most = known.copied().reduce(|a, b| ScrapeEntry {
            complete: a.complete.max(b.complete),
            incomplete: a.incomplete.max(b.incomplete),
            downloaded: a.downloaded.max(b.downloaded),
        });
        most.ok_or_else(|| "the tracker does not know the torrent".to_owned())
    }
}

impl Asked {
    /// Takes in one answer: numbers win over failures, and a failure that the tracker itself
    /// or the network is to blame for over an address that is not there.
    fn hear(&mut self, counts: Result<ScrapeEntry, String>) {
        self.open = self.open.saturating_sub(1);
        let unresolved = TrackerError::Unresolved.to_string();
        let says_more = match (&self.counts, &counts) {
            (None, _) | (Some(Err(_)), Ok(_)) => true,
            (Some(Err(said)), Err(_)) => *said == unresolved,
            (Some(Ok(_)), _) => false,
        };
        if says_more {
            self.counts = Some(counts);
        }
    }

    fn told(self) -> Scraped {
        let silent = || Err(TrackerError::TimedOut.to_string());
        Scraped { tracker: self.shown, counts: self.counts.unwrap_or_else(silent) }
    }
}

impl Session {
    /// Asks `trackers` for the numbers of the torrent that has these names.
    pub(crate) fn scrape(
        &mut self,
        now: Time,
        id: ScrapeId,
        names: Vec<Sha1Hash>,
        trackers: &[String],
        out: &mut impl Sink<Output>,
    ) {
        let limits = &self.config.limits;
        if self.stopping || self.scrapes.open.len() >= limits.scrapes || self.scrapes.open.contains_key(&id) {
            return out.put(Output::Scraped { id, trackers: Vec::new() });
        }
        let mut scrape = Scrape { names, trackers: Vec::new(), deadline: now + PATIENCE };
        let mut urls: Vec<Option<TrackerUrl>> = Vec::new();
        for text in trackers.iter().take(limits.trackers) {
            let (url, shown, counts) = match TrackerUrl::parse(text) {
                Ok(url) => (Some(url.clone()), url.to_string(), None),
                Err(why) => (None, without_userinfo(text).into_owned(), Some(Err(why.to_string()))),
            };
            if url.is_none() || !urls.contains(&url) {
                urls.push(url);
                scrape.trackers.push(Asked { shown, open: 0, counts });
            }
        }
        self.scrapes.open.insert(id, scrape);
        for (tracker, url) in urls.iter().enumerate() {
            url.iter().for_each(|url| self.ask_counts(now, id, tracker, url, out));
        }
        self.finish_scrape(now, id, out);
    }

    /// One question for each family of addresses that the tracker may have.
    fn ask_counts(
        &mut self,
        now: Time,
        scrape: ScrapeId,
        tracker: usize,
        url: &TrackerUrl,
        out: &mut impl Sink<Output>,
    ) {
        let fits = |family: &Family| url.ip().is_none_or(|ip| Family::of(ip) == *family);
        let families: Vec<Family> = self.config.families.iter().copied().filter(fits).collect();
        let Some(open) = self.scrapes.open.get_mut(&scrape) else { return };
        let Some(asked) = open.trackers.get_mut(tracker) else { return };
        asked.open = families.len().max(1);
        let names = open.names.clone();
        if families.is_empty() {
            let why = url.ip().map_or(TrackerError::Unresolved, |ip| TrackerError::NoFamily(Family::of(ip)));
            return asked.hear(Err(why.to_string()));
        }
        for family in families {
            let question = Question { scrape, tracker, family };
            if let Err(why) = self.ask_question(now, question, url, &names, out) {
                self.hear_counts(question, Err(why));
            }
        }
    }

    fn ask_question(
        &mut self,
        now: Time,
        question: Question,
        url: &TrackerUrl,
        names: &[Sha1Hash],
        out: &mut impl Sink<Output>,
    ) -> Result<(), String> {
        let busy = || TrackerError::Busy.to_string();
        if url.scheme != Scheme::Udp {
            let none = || "the tracker's address has no \"announce\" that could become \"scrape\"".to_owned();
            let target = http::scrape_target(url, names).ok_or_else(none)?;
            let job = self.jobs.insert(Job::Scrape(question)).ok_or_else(busy)?;
            let url = http_base(url) + &target;
            out.put(Output::HttpGet { job, url, family: question.family });
            return Ok(());
        }
        match url.ip() {
            Some(ip) => self.scrape_udp(now, question, SocketAddr::new(ip, url.port), out),
            None => {
                let job = self.jobs.insert(Job::ScrapeHost(question)).ok_or_else(busy)?;
                out.put(Output::Resolve { job, host: url.host.clone(), port: url.port });
            }
        }
        Ok(())
    }

    fn scrape_udp(&mut self, now: Time, question: Question, target: SocketAddr, out: &mut impl Sink<Output>) {
        let Some(scrape) = self.scrapes.open.get(&question.scrape) else { return };
        let (job, info_hashes) = (UdpJob::Scrape(question), scrape.names.clone());
        self.udp_say(now, udp::Input::Scrape { job, target, info_hashes }, out);
    }

    /// The tracker's host name has these addresses.
    pub(crate) fn scrape_host(
        &mut self,
        now: Time,
        question: Question,
        addrs: &[SocketAddr],
        out: &mut impl Sink<Output>,
    ) {
        match addrs.iter().find(|addr| Family::of(addr.ip()) == question.family) {
            Some(&target) => self.scrape_udp(now, question, target, out),
            None => self.scrape_answer(now, question, Err(TrackerError::Unresolved), out),
        }
    }

    /// The body of an answer over HTTP, or what went wrong.
    pub(crate) fn scrape_body(
        &mut self,
        now: Time,
        question: Question,
        body: Result<Bytes, TrackerError>,
        out: &mut impl Sink<Output>,
    ) {
        self.scrape_answer(now, question, body.and_then(|body| http::parse_scrape(&body)), out);
    }

    pub(crate) fn scrape_answer(
        &mut self,
        now: Time,
        question: Question,
        answer: Result<ScrapeResponse, TrackerError>,
        out: &mut impl Sink<Output>,
    ) {
        let Some(scrape) = self.scrapes.open.get(&question.scrape) else { return };
        let counts = answer.map_err(|e| e.to_string()).and_then(|answer| scrape.counts(&answer));
        self.hear_counts(question, counts);
        self.finish_scrape(now, question.scrape, out);
    }

    fn hear_counts(&mut self, question: Question, counts: Result<ScrapeEntry, String>) {
        let scrape = self.scrapes.open.get_mut(&question.scrape);
        if let Some(asked) = scrape.and_then(|scrape| scrape.trackers.get_mut(question.tracker)) {
            asked.hear(counts);
        }
    }

    /// Tells what there is, once nothing more is to be had.
    fn finish_scrape(&mut self, now: Time, id: ScrapeId, out: &mut impl Sink<Output>) {
        if !self.scrapes.open.get(&id).is_some_and(|scrape| scrape.is_over(now)) {
            return;
        }
        let Some(scrape) = self.scrapes.open.remove(&id) else { return };
        for tracker in 0..scrape.trackers.len() {
            for family in Family::ALL {
                let job = UdpJob::Scrape(Question { scrape: id, tracker, family });
                self.udp_say(now, udp::Input::Cancel { job }, out);
            }
        }
        let trackers = scrape.trackers.into_iter().map(Asked::told).collect();
        out.put(Output::Scraped { id, trackers });
    }

    pub(crate) fn tick_scrapes(&mut self, now: Time, out: &mut impl Sink<Output>) {
        let due = self.scrapes.open.iter().filter(|(_, scrape)| scrape.deadline <= now);
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.finish_scrape(now, id, out);
        }
    }
}
