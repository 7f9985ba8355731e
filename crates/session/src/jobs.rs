//! Questions to the outside that the driver answers later: HTTP trackers, host names.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use starling_sansio::{Sink, Time};
use starling_tracker::udp;
use starling_tracker::{AnnounceRequest, Family, Input as Say, JobId as AnnounceId, TrackerError, http};

use crate::scrape::Question;
use crate::trackers::UdpJob;
use crate::{JobId, Output, Session, Source, TorrentKey};

/// Until a peer's host name that did not resolve is asked for again.
const RESOLVE_AGAIN: Duration = Duration::from_secs(30);

/// Questions whose answers the driver owes.
#[derive(Debug)]
pub struct Jobs {
    open: BTreeMap<JobId, Job>,
    next: u64,
    limit: usize,
}

/// What to do with an answer.
#[derive(Debug)]
pub enum Job {
    Http {
        key: TorrentKey,
        job: AnnounceId,
    },
    UdpHost {
        key: TorrentKey,
        job: AnnounceId,
        family: Family,
        url_data: Vec<u8>,
        request: Box<AnnounceRequest>,
    },
    PeerHost {
        key: TorrentKey,
        host: String,
        port: u16,
    },
    Scrape(Question),
    ScrapeHost(Question),
}

impl Jobs {
    pub fn new(limit: usize) -> Jobs {
        Jobs { open: BTreeMap::new(), next: 0, limit }
    }

    /// Numbers a question; `None` when too many are open.
    pub fn insert(&mut self, job: Job) -> Option<JobId> {
        if self.open.len() >= self.limit {
            return None;
        }
        self.next += 1;
        self.open.insert(JobId(self.next), job);
        Some(JobId(self.next))
    }
}

impl Session {
    /// A peer named by host (BEP 9 `x.pe`, the user) becomes addresses later.
    pub(crate) fn resolve_peer(
        &mut self,
        now: Time,
        key: TorrentKey,
        host: String,
        port: u16,
        out: &mut impl Sink<Output>,
    ) {
        match self.jobs.insert(Job::PeerHost { key, host: host.clone(), port }) {
            Some(job) => out.put(Output::Resolve { job, host, port }),
            None => self.ask_again(now, key, host, port),
        }
    }

    /// The network may not be up yet: what the user named is not given up.
    fn ask_again(&mut self, now: Time, key: TorrentKey, host: String, port: u16) {
        if let Some(entry) = self.torrents.get_mut(&key).filter(|entry| !entry.is_over()) {
            entry.hosts.push((host, port));
            entry.hosts_due = entry.hosts_due.min(now + RESOLVE_AGAIN);
            self.retime(key);
        }
    }

    /// Host names that are to be asked for again.
    pub(crate) fn tick_hosts(&mut self, now: Time, key: TorrentKey, out: &mut impl Sink<Output>) {
        let Some(entry) = self.torrents.get_mut(&key).filter(|entry| entry.hosts_due <= now) else { return };
        entry.hosts_due = Time::NEVER;
        let hosts = std::mem::take(&mut entry.hosts);
        for (host, port) in hosts.into_iter().filter(|_| !entry.is_over()).collect::<Vec<_>>() {
            self.resolve_peer(now, key, host, port, out);
        }
    }

    pub(crate) fn http_answer(
        &mut self,
        now: Time,
        id: JobId,
        result: Result<Bytes, TrackerError>,
        out: &mut impl Sink<Output>,
    ) {
        match self.jobs.open.remove(&id) {
            Some(Job::Http { key, job }) => {
                let result = result.and_then(|body| http::parse_announce(&body));
                self.say(now, key, Say::Answer { job, result }, out);
            }
            Some(Job::Scrape(question)) => self.scrape_body(now, question, result, out),
            _ => {}
        }
    }

    pub(crate) fn resolved(
        &mut self,
        now: Time,
        id: JobId,
        addrs: &[SocketAddr],
        out: &mut impl Sink<Output>,
    ) {
        match self.jobs.open.remove(&id) {
            Some(Job::PeerHost { key, host, port }) if addrs.is_empty() => {
                self.ask_again(now, key, host, port);
            }
            Some(Job::PeerHost { key, .. }) => self.peers_found(now, key, addrs, Source::User, out),
            Some(Job::UdpHost { key, job, family, url_data, request }) => {
                match addrs.iter().find(|addr| Family::of(addr.ip()) == family) {
                    Some(&target) => {
                        let (job, request) = (UdpJob::Announce(key, job), *request);
                        self.udp_say(now, udp::Input::Announce { job, target, url_data, request }, out);
                    }
                    None => {
                        let result = Err(TrackerError::Unresolved);
                        self.say(now, key, Say::Answer { job, result }, out);
                    }
                }
            }
            Some(Job::ScrapeHost(question)) => self.scrape_host(now, question, addrs, out),
            Some(Job::Http { .. } | Job::Scrape(_)) | None => {}
        }
    }
}
