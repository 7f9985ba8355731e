//! When one torrent speaks to which of its trackers.
//!
//! Models BEP 3 (events, intervals), BEP 12 (tiers, shuffled; a tracker that works
//! moves to the front of its tier), BEP 31 (`retry in`) and BEP 7 (one announce for
//! each family of addresses, under one key).
//!
//! Each tracker is told of each info-hash (two in a hybrid torrent) over each family:
//! an *endpoint*, with its own time-table. A tracker counts as failing when all its
//! endpoints fail, so one that knows only the v1 hash, or has no IPv6, works.
//!
//! By default every tier is announced to, in each the first tracker that works; a
//! tracker that keeps us waiting is not waited for: after [`Config::patience`] the
//! next one of the tier is asked beside it. BEP 12 to the letter, later tiers only
//! when all earlier ones fail, is [`Config::all_tiers`] off.
//!
//! BEP 27 asks private torrents to drop their peers when the tracker changes. This
//! core does not: the session takes a private torrent's peers from here only, and
//! every tracker here stands in the torrent.
//!
//! The first announce leaves in the same call as [`Input::Start`] and an answer's
//! peers in the same call as the answer.

mod endpoint;
mod tiers;

use std::time::Duration;

use starling_metainfo::{InfoHashes, Sha1Hash};
use starling_sansio::{Machine, Rng, Sink, Time};

use crate::{AnnounceRequest, AnnounceResponse, Event, Family, TrackerError, TrackerUrl};
use endpoint::Endpoint;
use tiers::{Tiers, Tracker};

/// What stays the same over a torrent's life, and what the user may set.
#[derive(Clone, Debug)]
pub struct Config {
    /// The names the torrent is announced under: one, or two when hybrid.
    pub info_hashes: Vec<Sha1Hash>,
    /// Ours.
    pub peer_id: [u8; 20],
    /// Where we listen for peers.
    pub port: u16,
    /// Over which kinds of address to announce.
    pub families: Vec<Family>,
    /// How many peers to ask for at a time.
    pub numwant: u32,
    /// Announce to every tier rather than to the first that works.
    pub all_tiers: bool,
    /// Announce to every tracker of a tier rather than to the first that works.
    pub all_trackers: bool,
    /// How long a tracker may keep us waiting before the next of its tier is asked too.
    pub patience: Duration,
    /// How long trackers have to acknowledge that we stop.
    pub stop_deadline: Duration,
}

impl Config {
    /// The defaults for a torrent, over both families.
    pub fn new(hashes: &InfoHashes, peer_id: [u8; 20], port: u16) -> Config {
        Config {
            info_hashes: hashes.wire_names().collect(),
            peer_id,
            port,
            families: Family::ALL.to_vec(),
            numwant: 200,
            all_tiers: true,
            all_trackers: false,
            patience: Duration::from_secs(5),
            stop_deadline: Duration::from_secs(3),
        }
    }
}

/// One announce under way, numbered by its [`Announcer`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub u64);

/// What trackers are told of the transfer, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Payload sent since the start.
    pub uploaded: u64,
    /// Payload received since the start.
    pub downloaded: u64,
    /// Still missing. While the metadata is unknown, anything but 0.
    pub left: u64,
}

/// What the world tells an [`Announcer`].
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin, or begin again after a stop.
    Start,
    /// The download has just finished.
    Completed,
    /// Say good-bye; [`Output::AllStopped`] follows before [`Config::stop_deadline`] is over.
    Stop,
    /// More peers are wanted: announce as soon as `min interval` allows.
    NeedPeers,
    /// How a job ended. One that [`Output::Cancel`] named may be left unanswered.
    Answer {
        /// From [`Output::Announce`].
        job: JobId,
        /// Time-outs are the driver's or the UDP client's.
        result: Result<AnnounceResponse, TrackerError>,
    },
    /// The numbers for announces from now on.
    Totals(Totals),
    /// More trackers, as further tiers; those known already are left out.
    AddTrackers(Vec<Vec<String>>),
    /// The torrent's other name, learned with its metadata: announced under it too. One that
    /// is known already is left out.
    AddName(Sha1Hash),
    /// We listen elsewhere; told with the next announce.
    SetPort(u16),
}

/// What an [`Announcer`] asks of the world.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Announce; [`Input::Answer`] must follow.
    Announce {
        /// Names it.
        job: JobId,
        /// To whom.
        url: TrackerUrl,
        /// Over which kind of address; [`TrackerError::Unresolved`] if the host has none.
        family: Family,
        /// What to say.
        request: AnnounceRequest,
    },
    /// Break a job off; its answer is of no use.
    Cancel {
        /// Which.
        job: JobId,
    },
    /// Addresses to try; ours may be among them.
    Peers(Vec<std::net::SocketAddr>),
    /// Our address as a tracker sees it (BEP 24).
    ExternalIp(std::net::IpAddr),
    /// How a tracker stands, after each answer of it; once, if it cannot be asked at all
    /// because its address is of a kind that is not among [`Config::families`].
    Status(TrackerStatus),
    /// Every tracker that knew of us knows that we left, or had its time.
    AllStopped,
}

/// A tracker as the user sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct TrackerStatus {
    /// Its address, as the torrent has it but without a password.
    pub url: String,
    /// Counted from 0.
    pub tier: usize,
    /// Whether an announce is under way.
    pub announcing: bool,
    /// Whether its last answer was one.
    pub working: bool,
    /// One sentence: what went wrong last, or the tracker's warning.
    pub message: Option<String>,
    /// From when on it may be announced to again; one that stands behind a working
    /// tracker of its tier waits its turn.
    pub next: Option<Time>,
    /// Seeds, as it says.
    pub seeds: Option<u32>,
    /// Leechers, as it says.
    pub leechers: Option<u32>,
}

/// The announces of one torrent.
#[derive(Debug)]
pub struct Announcer {
    config: Config,
    key: u32,
    rng: Rng,
    tiers: Tiers,
    totals: Totals,
    phase: Phase,
    next_job: u64,
    wake: Option<Time>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Idle,
    Running,
    /// Until `patience` an announce of `completed` that is under way is waited for.
    Stopping {
        patience: Time,
        deadline: Time,
    },
}

impl Announcer {
    /// For a torrent with these tiers of trackers (BEP 12); their order within a tier
    /// is drawn from `rng`. Nothing is sent before [`Input::Start`].
    pub fn new(config: Config, tiers: &[Vec<String>], mut rng: Rng) -> Announcer {
        let key = rng.next_u32();
        let mut announcer = Announcer {
            config,
            key,
            rng,
            tiers: Tiers::default(),
            totals: Totals::default(),
            phase: Phase::Idle,
            next_job: 0,
            wake: None,
        };
        announcer.tiers.add(tiers, &announcer.config, &mut announcer.rng);
        announcer
    }

    /// Every tracker, tier by tier in the order of trial; then those that are no use.
    pub fn trackers(&self) -> impl Iterator<Item = TrackerStatus> {
        self.tiers.status()
    }

    fn start(&mut self, now: Time, out: &mut impl Sink<Output>) {
        if self.phase == Phase::Running {
            return;
        }
        for endpoint in self.tiers.endpoints_mut() {
            if let Some(job) = endpoint.reset(now) {
                out.put(Output::Cancel { job });
            }
        }
        self.phase = Phase::Running;
        self.drive(now, out);
    }

    /// Does whatever is due and finds out when to look again.
    fn drive(&mut self, now: Time, out: &mut impl Sink<Output>) {
        if self.phase != Phase::Running {
            return;
        }
        self.tiers.unfit().into_iter().for_each(|status| out.put(Output::Status(status)));
        let mut wake = Time::NEVER;
        let (all_tiers, all_trackers) = (self.config.all_tiers, self.config.all_trackers);
        let mut turn =
            Turn { now, config: &self.config, totals: self.totals, key: self.key, next_job: self.next_job };
        for tier in self.tiers.tiers_mut() {
            let mut served = false;
            for tracker in tier {
                let active = all_trackers || !served;
                wake = wake.min(turn.tracker(tracker, active, out));
                served |= !tracker.is_failing(now, turn.config.patience);
            }
            if served && !all_tiers {
                break;
            }
        }
        self.next_job = turn.next_job;
        self.wake = (wake < Time::NEVER).then_some(wake);
    }

    fn answer(
        &mut self,
        now: Time,
        job: JobId,
        result: Result<AnnounceResponse, TrackerError>,
        out: &mut impl Sink<Output>,
    ) {
        let Some(place) = self.tiers.find(job) else { return };
        let worked = result.is_ok();
        let Some(endpoint) = self.tiers.endpoint_mut(place) else { return };
        match result {
            Ok(answer) => {
                // The peers first: whoever waits for them waits for nothing else.
                if !answer.peers.is_empty() && self.phase == Phase::Running {
                    out.put(Output::Peers(answer.peers.clone()));
                }
                answer.external_ip.into_iter().for_each(|ip| out.put(Output::ExternalIp(ip)));
                endpoint.succeeded(now, answer);
            }
            Err(error) => endpoint.failed(now, &error, &mut self.rng),
        }
        if worked {
            self.tiers.promote(place);
        }
        self.tiers.status_of(job).into_iter().for_each(|status| out.put(Output::Status(status)));
        self.good_byes(now, out);
        self.stop_if_done(now, out);
        self.drive(now, out);
    }

    fn stop(&mut self, now: Time, out: &mut impl Sink<Output>) {
        if self.phase != Phase::Running {
            if self.phase == Phase::Idle {
                out.put(Output::AllStopped);
            }
            return;
        }
        for endpoint in self.tiers.endpoints_mut() {
            endpoint.is_leaving = endpoint.knows_us();
            if let Some(job) = endpoint.break_off_unless_completing() {
                out.put(Output::Cancel { job });
            }
        }
        let patience = now + self.config.stop_deadline / 2;
        self.phase = Phase::Stopping { patience, deadline: now + self.config.stop_deadline };
        self.wake = Some(patience);
        self.good_byes(now, out);
        self.stop_if_done(now, out);
    }

    /// Says good-bye over every endpoint that has heard, or was long enough waited for to
    /// hear, that the download is complete: two announces under way may overtake each other.
    fn good_byes(&mut self, now: Time, out: &mut impl Sink<Output>) {
        let Phase::Stopping { patience, deadline } = self.phase else { return };
        let is_late = patience <= now;
        if is_late {
            self.wake = Some(deadline);
        }
        let mut turn =
            Turn { now, config: &self.config, totals: self.totals, key: self.key, next_job: self.next_job };
        for tracker in self.tiers.tiers_mut().flatten() {
            turn.good_bye(tracker, is_late, out);
        }
        self.next_job = turn.next_job;
    }

    fn stop_if_done(&mut self, now: Time, out: &mut impl Sink<Output>) {
        let Phase::Stopping { deadline, .. } = self.phase else { return };
        let late = deadline <= now;
        if !late && self.tiers.endpoints_mut().any(|endpoint| endpoint.is_busy()) {
            return;
        }
        for endpoint in self.tiers.endpoints_mut() {
            if let Some(job) = endpoint.reset(now) {
                out.put(Output::Cancel { job });
            }
        }
        self.phase = Phase::Idle;
        self.wake = None;
        out.put(Output::AllStopped);
    }
}

impl Machine for Announcer {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut impl Sink<Output>) {
        match input {
            Input::Start => return self.start(now, out),
            Input::Stop => return self.stop(now, out),
            Input::Answer { job, result } => return self.answer(now, job, result, out),
            Input::Completed => self.tiers.endpoints_mut().for_each(|endpoint| endpoint.completed(now)),
            Input::NeedPeers => self.tiers.endpoints_mut().for_each(|endpoint| endpoint.hurry(now)),
            Input::Totals(totals) => return self.totals = totals,
            Input::AddTrackers(tiers) => self.tiers.add(&tiers, &self.config, &mut self.rng),
            Input::AddName(name) => {
                if !self.config.info_hashes.contains(&name) {
                    self.config.info_hashes.push(name);
                    self.tiers.add_name(name, &self.config);
                }
            }
            Input::SetPort(port) => return self.config.port = port,
        }
        self.drive(now, out);
    }

    fn handle_timeout(&mut self, now: Time, out: &mut impl Sink<Output>) {
        if self.wake.is_some_and(|wake| wake <= now) {
            self.good_byes(now, out);
            self.stop_if_done(now, out);
            self.drive(now, out);
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        self.wake
    }
}

/// What one pass over the trackers needs, apart from the trackers.
struct Turn<'a> {
    now: Time,
    config: &'a Config,
    totals: Totals,
    key: u32,
    next_job: u64,
}

impl Turn<'_> {
    /// Announces over every endpoint that is due; tells when to look again. A tracker
    /// that is not `active` hears only what it must: that the download is complete.
    fn tracker(&mut self, tracker: &mut Tracker, active: bool, out: &mut impl Sink<Output>) -> Time {
        let mut wake = Time::NEVER;
        for endpoint in tracker.endpoints.iter_mut().filter(|e| active || e.owes_completed()) {
            if endpoint.is_due(self.now) {
                let event = endpoint.event();
                self.announce(&tracker.url, endpoint, event, out);
            }
            wake = wake.min(endpoint.wake(self.now, self.config.patience));
        }
        wake
    }

    fn good_bye(&mut self, tracker: &mut Tracker, is_late: bool, out: &mut impl Sink<Output>) {
        let waits = |endpoint: &&mut Endpoint| endpoint.is_leaving && (is_late || !endpoint.is_busy());
        for endpoint in tracker.endpoints.iter_mut().filter(waits) {
            if let Some(job) = endpoint.break_off() {
                out.put(Output::Cancel { job });
            }
            endpoint.is_leaving = false;
            self.announce(&tracker.url, endpoint, Event::Stopped, out);
        }
    }

    fn announce(
        &mut self,
        url: &TrackerUrl,
        endpoint: &mut Endpoint,
        event: Event,
        out: &mut impl Sink<Output>,
    ) {
        let job = JobId(self.next_job);
        self.next_job += 1;
        let Totals { uploaded, downloaded, left } = self.totals;
        let numwant = if event == Event::Stopped { 0 } else { self.config.numwant };
        let request = AnnounceRequest {
            uploaded,
            downloaded,
            left,
            event,
            numwant: Some(numwant),
            key: self.key,
            tracker_id: endpoint.tracker_id(),
            ..AnnounceRequest::new(endpoint.info_hash, self.config.peer_id, self.config.port)
        };
        endpoint.begin(self.now, job, event);
        out.put(Output::Announce { job, url: url.clone(), family: endpoint.family, request });
    }
}

#[cfg(test)]
mod tests;
