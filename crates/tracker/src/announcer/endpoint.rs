//! One tracker, one info-hash, one family of addresses.

use std::time::Duration;

use starling_metainfo::Sha1Hash;
use starling_sansio::{Rng, Time};

use super::JobId;
use crate::{AnnounceResponse, Event, Family, Retry, TrackerError};

/// A tracker may ask for nothing outside this.
const INTERVAL_MIN: Duration = Duration::from_secs(60);
const INTERVAL_MAX: Duration = Duration::from_secs(86_400);
/// The `min interval` of a tracker that names none, if its interval is not less.
const MIN_INTERVAL_DEFAULT: Duration = Duration::from_secs(300);
/// Back-off after the first failure, doubled with each further one.
const BACK_OFF_FIRST: Duration = Duration::from_secs(5);
const BACK_OFF_MAX: Duration = Duration::from_secs(3_600);
/// How often `completed` is tried with a tracker that fails.
const COMPLETED_TRIES: u32 = 3;

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) info_hash: Sha1Hash,
    pub(super) family: Family,
    flight: Option<Flight>,
    /// The last job, answered or not: so that its answer can be told from whom.
    last_job: Option<JobId>,
    /// It has acknowledged an announce since the start.
    told: bool,
    owes_completed: bool,
    /// Good-bye is said once the announce under way has ended.
    pub(super) is_leaving: bool,
    fails: u32,
    answered: bool,
    next: Time,
    /// Before this only events are welcome.
    not_before: Time,
    tracker_id: Option<Vec<u8>>,
    pub(super) message: Option<String>,
    pub(super) seeds: Option<u32>,
    pub(super) leechers: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    job: JobId,
    event: Event,
    since: Time,
}

impl Endpoint {
    pub(super) fn new(info_hash: Sha1Hash, family: Family) -> Endpoint {
        Endpoint {
            info_hash,
            family,
            flight: None,
            last_job: None,
            told: false,
            owes_completed: false,
            is_leaving: false,
            fails: 0,
            answered: false,
            next: Time::ZERO,
            not_before: Time::ZERO,
            tracker_id: None,
            message: None,
            seeds: None,
            leechers: None,
        }
    }

    /// Back to before the first announce; tells which job to break off.
    pub(super) fn reset(&mut self, now: Time) -> Option<JobId> {
        let job = self.break_off();
        self.told = false;
        self.owes_completed = false;
        self.is_leaving = false;
        self.fails = 0;
        self.answered = false;
        self.next = now;
        self.not_before = now;
        job
    }

    pub(super) fn break_off(&mut self) -> Option<JobId> {
        self.flight.take().map(|flight| flight.job)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.flight.is_some()
    }

    /// Breaks off what is under way, unless it tells that the download is complete.
    pub(super) fn break_off_unless_completing(&mut self) -> Option<JobId> {
        let completes = |flight: &Flight| flight.event == Event::Completed;
        if self.flight.as_ref().is_some_and(completes) { None } else { self.break_off() }
    }

    pub(super) fn is_due(&self, now: Time) -> bool {
        self.flight.is_none() && self.next <= now && self.next < Time::NEVER
    }

    /// When this endpoint may need attention again.
    pub(super) fn wake(&self, now: Time, patience: Duration) -> Time {
        match self.flight {
            Some(flight) if flight.since + patience > now => flight.since + patience,
            Some(_) => Time::NEVER,
            None => self.next,
        }
    }

    /// Whether the tracker may have us on its list.
    pub(super) fn knows_us(&self) -> bool {
        self.told || self.flight.is_some()
    }

    pub(super) fn owes_completed(&self) -> bool {
        self.owes_completed
    }

    /// What an announce that is due now has to say.
    pub(super) fn event(&self) -> Event {
        match (self.told, self.owes_completed) {
            (false, _) => Event::Started,
            (true, true) => Event::Completed,
            (true, false) => Event::None,
        }
    }

    pub(super) fn begin(&mut self, now: Time, job: JobId, event: Event) {
        self.flight = Some(Flight { job, event, since: now });
        self.last_job = Some(job);
    }

    pub(super) fn tracker_id(&self) -> Option<Vec<u8>> {
        self.tracker_id.clone()
    }

    pub(super) fn has_job(&self, job: JobId) -> bool {
        self.flight.is_some_and(|flight| flight.job == job)
    }

    pub(super) fn had_job(&self, job: JobId) -> bool {
        self.last_job == Some(job)
    }

    /// The download is complete: whoever was told that we started is told at once.
    pub(super) fn completed(&mut self, now: Time) {
        if self.knows_us() && self.next < Time::NEVER {
            self.owes_completed = true;
            self.next = self.next.min(now);
        }
    }

    /// More peers are wanted. A failing endpoint keeps its back-off.
    pub(super) fn hurry(&mut self, now: Time) {
        if self.fails == 0 {
            self.next = self.next.min(self.not_before.max(now));
        }
    }

    pub(super) fn succeeded(&mut self, now: Time, answer: AnnounceResponse) {
        let event = self.flight.take().map_or(Event::None, |flight| flight.event);
        self.told = event != Event::Stopped;
        self.owes_completed &= event != Event::Completed;
        self.fails = 0;
        self.answered = true;
        let interval = clamp(answer.interval);
        let min = answer.min_interval.map_or(MIN_INTERVAL_DEFAULT.min(interval), clamp);
        self.not_before = now + min;
        self.next = if self.owes_completed { now } else { now + interval.max(min) };
        self.tracker_id = answer.tracker_id.or(self.tracker_id.take());
        self.message = answer.warning;
        self.seeds = answer.complete.or(self.seeds);
        self.leechers = answer.incomplete.or(self.leechers);
    }

    pub(super) fn failed(&mut self, now: Time, error: &TrackerError, rng: &mut Rng) {
        self.flight = None;
        self.fails = self.fails.saturating_add(1);
        self.owes_completed &= self.told && self.fails < COMPLETED_TRIES;
        self.message = Some(error.to_string());
        self.next = match error {
            TrackerError::Failure { retry: Some(Retry::Never), .. } => Time::NEVER,
            TrackerError::Failure { retry: Some(Retry::After(secs)), .. } => now + clamp(*secs),
            _ => now + back_off(self.fails, rng),
        };
    }

    pub(super) fn is_working(&self) -> bool {
        self.answered && self.fails == 0
    }

    /// Whether its last answer was a failure, or it keeps us waiting.
    pub(super) fn is_failing(&self, now: Time, patience: Duration) -> bool {
        self.fails > 0 || self.flight.is_some_and(|flight| flight.since + patience <= now)
    }

    pub(super) fn next(&self) -> Option<Time> {
        (self.flight.is_none() && self.next < Time::NEVER).then_some(self.next)
    }
}

fn clamp(secs: u32) -> Duration {
    Duration::from_secs(u64::from(secs)).clamp(INTERVAL_MIN, INTERVAL_MAX)
}

/// Doubled with each failure up to [`BACK_OFF_MAX`], a quarter more or less by chance.
fn back_off(fails: u32, rng: &mut Rng) -> Duration {
    let doubled = BACK_OFF_FIRST.saturating_mul(1 << fails.saturating_sub(1).min(16));
    doubled.min(BACK_OFF_MAX).mul_f64(0.75 + rng.unit() / 2.0)
}
