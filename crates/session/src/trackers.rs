//! Trackers: each torrent's announcer joined with HTTP, DNS and the UDP client.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use starling_metainfo::InfoHashes;
use starling_sansio::{Machine, Rng, Sink, Time};
use starling_tracker::udp::{self, Answer};
use starling_tracker::{
    AnnounceRequest, Announcer, Config as AnnouncerConfig, Family, Input as Say, JobId as AnnounceId,
    Output as Want, Scheme, Totals, TrackerError, TrackerStatus, TrackerUrl, http,
};

use crate::entry::Entry;
use crate::jobs::Job;
use crate::scrape::Question;
use crate::{Config, Event, Output, Session, Source, TorrentKey, TrackerAnswer};

/// What a tracker is told to be missing while the metadata is unknown: anything but 0.
const LEFT_UNKNOWN: u64 = 16 * 1024;

/// One knock is heard in so long, from whomever.
const KNOCKS: Duration = Duration::from_secs(10);
/// Torrents that may be meant by one.
const KNOCKED_MAX: usize = 16;

/// What is asked over UDP, as the UDP client names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum UdpJob {
    Announce(TorrentKey, AnnounceId),
    Scrape(Question),
}

/// The trackers of one torrent.
#[derive(Debug)]
pub struct Trackers {
    announcer: Announcer,
    tiers: Vec<Vec<String>>,
    limit: usize,
    /// Every tracker was told that we leave, or none had been told that we came.
    done: bool,
}

impl Trackers {
    pub fn new(hashes: InfoHashes, peer_id: [u8; 20], config: &Config, rng: Rng) -> Trackers {
        let mut announce = AnnouncerConfig::new(&hashes, peer_id, config.listen_port);
        announce.families = config.families.clone();
        let announcer = Announcer::new(announce, &[], rng);
        Trackers { announcer, tiers: Vec::new(), limit: config.limits.trackers, done: true }
    }

    /// Adds tiers; returns those that are new and fit the limit.
    pub fn add(&mut self, tiers: &[Vec<String>]) -> Vec<Vec<String>> {
        let mut room = self.limit.saturating_sub(self.tiers.iter().map(Vec::len).sum());
        let known: Vec<&String> = self.tiers.iter().flatten().collect();
        let mut new: Vec<Vec<String>> = Vec::new();
        for tier in tiers {
            let fresh =
                tier.iter().filter(|url| !known.contains(url) && !new.iter().flatten().any(|n| n == *url));
            let fresh: Vec<String> = fresh.take(room).cloned().collect();
            room -= fresh.len();
            if !fresh.is_empty() {
                new.push(fresh);
            }
        }
        self.tiers.extend(new.iter().cloned());
        new
    }

    /// All tiers, in the order they were added.
    pub fn tiers(&self) -> Vec<Vec<String>> {
        self.tiers.clone()
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.announcer.next_timeout()
    }
}

impl Session {
    pub(crate) fn start_trackers(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        // First of all: who says that nothing is left is given no seeds.
        self.tell_totals(now, key, out);
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        let tiers = std::mem::take(&mut entry.new_tiers);
        if !tiers.is_empty() {
            entry.trackers.done = false;
            self.say(now, key, Say::AddTrackers(tiers), out);
        }
        self.say(now, key, Say::Start, out);
    }

    pub(crate) fn completed(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get_mut(&key) else { return };
        let fetched = entry.core.stats().downloaded > 0;
        let news = fetched && !std::mem::replace(&mut entry.told_completed, fetched);
        self.tell_totals(now, key, out);
        if news {
            self.say(now, key, Say::Completed, out);
        }
    }

    /// Nobody is connected: trackers are asked before their interval is over, if they allow it.
    pub(crate) fn need_peers(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        self.tell_totals(now, key, out);
        self.say(now, key, Say::NeedPeers, out);
    }

    /// Somebody who cannot connect to us would be reached by us. Whoever told it of us may tell us of
    /// it: where nobody is connected, trackers are asked before their interval is over, if they
    /// allow it. Where that is so of many torrents nobody knows which was meant, and none is.
    pub(crate) fn knocked(&mut self, now: Time, out: &mut impl Sink<Output>) {
        if now < self.knock {
            return;
        }
        self.knock = now + KNOCKS;
        let is_alone = |entry: &Entry| entry.conns == 0 && entry.takes_part();
        let alone = self.torrents.iter().filter(|(_, entry)| is_alone(entry)).map(|(key, _)| *key);
        let alone: Vec<TorrentKey> = alone.take(KNOCKED_MAX + 1).collect();
        for key in alone.iter().filter(|_| alone.len() <= KNOCKED_MAX) {
            self.need_peers(now, *key, out);
        }
    }

    pub(crate) fn leave_trackers(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        self.tell_totals(now, key, out);
        self.say(now, key, Say::Stop, out);
    }

    pub(crate) fn tick_trackers(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        let due = self.torrents.get(&key).and_then(|entry| entry.trackers.next_timeout());
        if due.is_none_or(|due| due > now) {
            return;
        }
        self.tell_totals(now, key, out);
        let mut wants = VecDeque::new();
        if let Some(entry) = self.torrents.get_mut(&key) {
            entry.trackers.announcer.handle_timeout(now, &mut wants);
        }
        self.follow(now, key, wants, out);
    }

    fn tell_totals(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get(&key) else { return };
        let stats = entry.core.stats();
        let left = if stats.pieces == 0 { LEFT_UNKNOWN } else { stats.bytes_left };
        let totals = Totals { uploaded: stats.uploaded, downloaded: stats.downloaded, left };
        self.say(now, key, Say::Totals(totals), out);
    }

    /// Tells a torrent's announcer something and does what it wants.
    pub(crate) fn say(&mut self, now: Time, key: TorrentKey, say: Say, out: &mut impl Sink<Output>) {
        let mut wants = VecDeque::new();
        if let Some(entry) = self.torrents.get_mut(&key) {
            entry.trackers.announcer.handle(now, say, &mut wants);
        }
        self.follow(now, key, wants, out);
    }

    fn follow(&mut self, now: Time, key: TorrentKey, mut wants: VecDeque<Want>, out: &mut impl Sink<Output>) {
        while let Some(want) = wants.pop_front() {
            match want {
                Want::Announce { job, url, family, request } => {
                    if let Err(error) = self.announce(now, key, job, &url, family, request, out)
                        && let Some(entry) = self.torrents.get_mut(&key)
                    {
                        let answer = Say::Answer { job, result: Err(error) };
                        entry.trackers.announcer.handle(now, answer, &mut wants);
                    }
                }
                Want::Cancel { job } => {
                    let job = UdpJob::Announce(key, job);
                    self.udp_say(now, udp::Input::Cancel { job }, out);
                }
                Want::Peers(addrs) => self.peers_found(now, key, &addrs, Source::Tracker, out),
                Want::ExternalIp(ip) => self.external[usize::from(Family::of(ip) == Family::V6)] = Some(ip),
                Want::Status(status) => out.put(Output::Event { key, event: tracker_event(status) }),
                Want::AllStopped => {
                    if let Some(entry) = self.torrents.get_mut(&key) {
                        entry.trackers.done = true;
                    }
                    self.finish_leaving(key, out);
                }
            }
        }
        self.retime(key);
    }

    #[allow(clippy::too_many_arguments)] // an announce is that many things
    fn announce(
        &mut self,
        now: Time,
        key: TorrentKey,
        job: AnnounceId,
        url: &TrackerUrl,
        family: Family,
        request: AnnounceRequest,
        out: &mut impl Sink<Output>,
    ) -> Result<(), TrackerError> {
        if url.ip().is_some_and(|ip| Family::of(ip) != family) {
            return Err(TrackerError::Unresolved);
        }
        if url.scheme != Scheme::Udp {
            let id = self.jobs.insert(Job::Http { key, job }).ok_or(TrackerError::Busy)?;
            let url = http_base(url) + &http::announce_target(url, &request);
            out.put(Output::HttpGet { job: id, url, family });
            return Ok(());
        }
        let url_data = url.path_and_query().into_bytes();
        match url.ip() {
            Some(ip) => {
                let target = SocketAddr::new(ip, url.port);
                let job = UdpJob::Announce(key, job);
                self.udp_say(now, udp::Input::Announce { job, target, url_data, request }, out);
            }
            None => {
                let wait = Job::UdpHost { key, job, family, url_data, request: Box::new(request) };
                let id = self.jobs.insert(wait).ok_or(TrackerError::Busy)?;
                out.put(Output::Resolve { job: id, host: url.host.clone(), port: url.port });
            }
        }
        Ok(())
    }

    pub(crate) fn datagram(
        &mut self,
        now: Time,
        from: SocketAddr,
        bytes: &Bytes,
        out: &mut impl Sink<Output>,
    ) {
        self.udp_say(now, udp::Input::Datagram { from, bytes: bytes.to_vec() }, out);
    }

    pub(crate) fn udp_say(&mut self, now: Time, say: udp::Input<UdpJob>, out: &mut impl Sink<Output>) {
        let mut wants = Vec::new();
        self.udp.handle(now, say, &mut wants);
        self.follow_udp(now, wants, out);
    }

    pub(crate) fn tick_udp(&mut self, now: Time, out: &mut impl Sink<Output>) {
        if self.udp.next_timeout().is_some_and(|due| due <= now) {
            let mut wants = Vec::new();
            self.udp.handle_timeout(now, &mut wants);
            self.follow_udp(now, wants, out);
        }
    }

    fn follow_udp(&mut self, now: Time, wants: Vec<udp::Output<UdpJob>>, out: &mut impl Sink<Output>) {
        for want in wants {
            match want {
                udp::Output::Send { to, bytes } => out.put(Output::UdpSend { to, bytes }),
                udp::Output::Done { job: UdpJob::Announce(key, job), result } => {
                    let result = result.and_then(|answer| match answer {
                        Answer::Announce(answer) => Ok(answer),
                        Answer::Scrape(_) => Err(TrackerError::Malformed("numbers nobody asked for")),
                    });
                    self.say(now, key, Say::Answer { job, result }, out);
                }
                udp::Output::Done { job: UdpJob::Scrape(question), result } => {
                    let result = result.and_then(|answer| match answer {
                        Answer::Scrape(answer) => Ok(answer),
                        Answer::Announce(_) => Err(TrackerError::Malformed("peers nobody asked for")),
                    });
                    self.scrape_answer(now, question, result, out);
                }
            }
        }
    }
}

/// A tracker's address up to the path, a password in it included.
pub fn http_base(url: &TrackerUrl) -> String {
    let scheme = if url.scheme == Scheme::Https { "https" } else { "http" };
    let user = url.userinfo.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    format!("{scheme}://{user}{}", url.authority())
}

fn tracker_event(status: TrackerStatus) -> Event {
    let state = match (status.working, status.message) {
        (false, Some(why)) => Err(why),
        (_, warning) => Ok(TrackerAnswer { seeds: status.seeds, leechers: status.leechers, warning }),
    };
    Event::Tracker { url: status.url, state }
}
