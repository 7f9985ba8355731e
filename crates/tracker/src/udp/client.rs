use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use starling_metainfo::Sha1Hash;
use starling_sansio::{Machine, Rng, Sink, Time};

use super::{Request, Response};
use crate::{AnnounceRequest, AnnounceResponse, Family, Limits, ScrapeResponse, TrackerError};

/// How long a connection id may be used (BEP 15).
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// When to repeat and when to give up.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Before the first repetition. Earlier than BEP 15 has it, since one lost packet
    /// should not cost 15 s; from the second on its times hold.
    pub first: Duration,
    /// BEP 15's 15 s: the wait before repetition n + 2 is this times 2^n, n at most 8.
    pub base: Duration,
    /// A job that has no answer by then has failed.
    pub give_up: Duration,
}

impl Default for Timing {
    /// Sends at 0, 4, 19 and 49 s and gives up after a minute: BEP 15's own schedule
    /// takes two hours, and other trackers are waiting.
    fn default() -> Timing {
        let secs = Duration::from_secs;
        Timing { first: secs(4), base: secs(15), give_up: secs(60) }
    }
}

impl Timing {
    /// The wait after the request was sent `sent` times.
    fn wait(&self, sent: u32) -> Duration {
        match sent {
            0 | 1 => self.first,
            n => self.base.saturating_mul(1 << (n - 2).min(8)),
        }
    }
}

/// What the world tells a [`UdpClient`]. `J` is the caller's name for a job.
#[derive(Clone, Debug)]
pub enum Input<J> {
    /// Announce to the tracker at `target`.
    Announce {
        /// Named in [`Output::Done`].
        job: J,
        /// Where the tracker's name resolved to.
        target: SocketAddr,
        /// Path and query of its address (BEP 41); may be empty.
        url_data: Vec<u8>,
        /// What to say.
        request: AnnounceRequest,
    },
    /// Ask for the numbers of up to [`Limits::SCRAPE`] torrents.
    Scrape {
        /// Named in [`Output::Done`].
        job: J,
        /// Where the tracker's name resolved to.
        target: SocketAddr,
        /// Those beyond the limit are left out.
        info_hashes: Vec<Sha1Hash>,
    },
    /// A datagram came; whether from a tracker is for the core to tell.
    Datagram {
        /// Its source.
        from: SocketAddr,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Forget a job; no [`Output::Done`] follows.
    Cancel {
        /// Which.
        job: J,
    },
}

/// What a [`UdpClient`] asks of the world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output<J> {
    /// Send a datagram.
    Send {
        /// A tracker.
        to: SocketAddr,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A job is over.
    Done {
        /// Which.
        job: J,
        /// How it went.
        result: Result<Answer, TrackerError>,
    },
}

/// What a tracker answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To an announce.
    Announce(AnnounceResponse),
    /// To a scrape.
    Scrape(ScrapeResponse),
}

/// The client's end of the UDP tracker protocol, for all trackers and torrents of a
/// node at once.
#[derive(Debug)]
pub struct UdpClient<J> {
    timing: Timing,
    rng: Rng,
    jobs: BTreeMap<J, Job>,
    connections: BTreeMap<SocketAddr, Connection<J>>,
    /// Who waits for an answer with this transaction id.
    transactions: BTreeMap<u32, Waiting<J>>,
    timers: BTreeSet<(Time, Waiting<J>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Waiting<J> {
    Job(J),
    Connection(SocketAddr),
}

#[derive(Debug)]
struct Job {
    target: SocketAddr,
    call: Call,
    transaction: u32,
    sent: u32,
    /// Sent with a connection id that an earlier job had got.
    reused: bool,
    give_up: Time,
    /// When its timer rings: to repeat or to give up.
    due: Time,
}

#[derive(Debug)]
enum Call {
    Announce { url_data: Vec<u8>, request: AnnounceRequest },
    Scrape { info_hashes: Vec<Sha1Hash> },
}

#[derive(Debug)]
struct Connection<J> {
    state: State<J>,
    /// When its timer rings: to repeat the request or to forget the id.
    due: Time,
}

#[derive(Debug)]
enum State<J> {
    Asked { transaction: u32, sent: u32, jobs: BTreeSet<J> },
    Open { id: u64 },
}

impl<J: Copy + Ord> UdpClient<J> {
    /// A client that draws its transaction ids from `rng`. They are what keeps strangers
    /// off the path from answering, so its seed must be unpredictable.
    pub fn new(timing: Timing, rng: Rng) -> UdpClient<J> {
        UdpClient {
            timing,
            rng,
            jobs: BTreeMap::new(),
            connections: BTreeMap::new(),
            transactions: BTreeMap::new(),
            timers: BTreeSet::new(),
        }
    }

    /// How many jobs are under way.
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    fn begin(&mut self, now: Time, job: J, target: SocketAddr, call: Call, out: &mut impl Sink<Output<J>>) {
        self.forget(job);
        if self.jobs.len() >= Limits::UDP_JOBS {
            out.put(Output::Done { job, result: Err(TrackerError::Busy) });
            return;
        }
        let target = SocketAddr::new(target.ip().to_canonical(), target.port());
        let transaction = self.transaction(Waiting::Job(job));
        let give_up = now + self.timing.give_up;
        let state = Job { target, call, transaction, sent: 0, reused: true, give_up, due: give_up };
        self.timers.insert((state.due, Waiting::Job(job)));
        self.jobs.insert(job, state);
        self.advance(now, job, out);
    }

    /// Sends the job's request if there is a connection id, else asks for one.
    fn advance(&mut self, now: Time, job: J, out: &mut impl Sink<Output<J>>) {
        let Some(target) = self.jobs.get(&job).map(|state| state.target) else { return };
        match self.connections.get_mut(&target).map(|connection| (connection.due, &mut connection.state)) {
            Some((due, State::Open { id })) if now < due => {
                let id = *id;
                self.send(now, job, id, out);
            }
            Some((_, State::Asked { jobs, .. })) => {
                jobs.insert(job);
                self.set_job_timer(job, Time::NEVER);
            }
            _ => self.connect(now, job, target, out),
        }
    }

    fn connect(&mut self, now: Time, job: J, target: SocketAddr, out: &mut impl Sink<Output<J>>) {
        self.drop_connection(target);
        if self.connections.len() >= Limits::UDP_CONNECTIONS {
            self.finish(job, Err(TrackerError::Busy), out);
            return;
        }
        let transaction = self.transaction(Waiting::Connection(target));
        let due = now + self.timing.wait(1);
        let state = State::Asked { transaction, sent: 1, jobs: BTreeSet::from([job]) };
        self.connections.insert(target, Connection { state, due });
        self.timers.insert((due, Waiting::Connection(target)));
        if let Some(state) = self.jobs.get_mut(&job) {
            state.reused = false;
        }
        self.set_job_timer(job, Time::NEVER);
        out.put(Output::Send { to: target, bytes: Request::Connect { transaction }.encode() });
    }

    fn send(&mut self, now: Time, job: J, connection: u64, out: &mut impl Sink<Output<J>>) {
        let Some(state) = self.jobs.get_mut(&job) else { return };
        let transaction = state.transaction;
        let request = match &state.call {
            Call::Announce { url_data, request } => {
                let (request, url_data) = (request.clone(), url_data.clone());
                Request::Announce { connection, transaction, request, url_data }
            }
            Call::Scrape { info_hashes } => {
                Request::Scrape { connection, transaction, info_hashes: info_hashes.clone() }
            }
        };
        state.sent = state.sent.saturating_add(1);
        let due = now + self.timing.wait(state.sent);
        out.put(Output::Send { to: state.target, bytes: request.encode() });
        self.set_job_timer(job, due);
    }

    fn datagram(&mut self, now: Time, from: SocketAddr, bytes: &[u8], out: &mut impl Sink<Output<J>>) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let response = match Response::decode(bytes, Family::of(from.ip())) {
            Ok(response) => response,
            Err(_) => return self.broken_answer(from, bytes, out),
        };
        match self.transactions.get(&response.transaction()) {
            Some(&Waiting::Connection(target)) if target == from => {
                self.connection_answer(now, target, response, out);
            }
            Some(&Waiting::Job(job)) if self.jobs.get(&job).is_some_and(|state| state.target == from) => {
                self.job_answer(now, job, response, out);
            }
            _ => (),
        }
    }

    /// Some trackers refuse by an answer without content: better known at once than
    /// after a minute.
    fn broken_answer(&mut self, from: SocketAddr, bytes: &[u8], out: &mut impl Sink<Output<J>>) {
        let Some(transaction) = bytes.get(4..).and_then(<[u8]>::first_chunk) else { return };
        let waiting = self.transactions.get(&u32::from_be_bytes(*transaction));
        let Some(&Waiting::Job(job)) = waiting else { return };
        if self.jobs.get(&job).is_some_and(|state| state.target == from && state.sent > 0) {
            self.finish(job, Err(TrackerError::Malformed("an answer without content")), out);
        }
    }

    fn connection_answer(
        &mut self,
        now: Time,
        target: SocketAddr,
        response: Response,
        out: &mut impl Sink<Output<J>>,
    ) {
        let error = match response {
            Response::Connect { connection, .. } => Ok(connection),
            Response::Error { message, .. } => Err(TrackerError::failure(message.as_bytes())),
            _ => return,
        };
        let waiting = self.drop_connection(target);
        match error {
            Ok(id) => {
                let due = now + CONNECTION_LIFE;
                self.connections.insert(target, Connection { state: State::Open { id }, due });
                self.timers.insert((due, Waiting::Connection(target)));
                waiting.into_iter().for_each(|job| self.send(now, job, id, out));
            }
            Err(error) => waiting.into_iter().for_each(|job| self.finish(job, Err(error.clone()), out)),
        }
    }

    fn job_answer(&mut self, now: Time, job: J, response: Response, out: &mut impl Sink<Output<J>>) {
        let Some(state) = self.jobs.get_mut(&job) else { return };
        let result = match (&state.call, response) {
            // The tracker may have restarted and know the old connection id no more.
            (_, Response::Error { .. }) if state.reused => {
                state.reused = false;
                let target = state.target;
                if matches!(self.connections.get(&target), Some(Connection { state: State::Open { .. }, .. }))
                {
                    self.drop_connection(target);
                }
                return self.advance(now, job, out);
            }
            (_, Response::Error { message, .. }) => Err(TrackerError::failure(message.as_bytes())),
            (Call::Announce { .. }, Response::Announce { answer, .. }) => Ok(Answer::Announce(answer)),
            (Call::Scrape { info_hashes }, Response::Scrape { entries, .. }) => {
                let files = info_hashes.iter().copied().zip(entries).collect();
                Ok(Answer::Scrape(ScrapeResponse { files }))
            }
            _ => return,
        };
        self.finish(job, result, out);
    }

    fn finish(&mut self, job: J, result: Result<Answer, TrackerError>, out: &mut impl Sink<Output<J>>) {
        self.forget(job);
        out.put(Output::Done { job, result });
    }

    /// Removes every trace of a job; a connection request for it alone ends too.
    fn forget(&mut self, job: J) {
        let Some(state) = self.jobs.remove(&job) else { return };
        self.transactions.remove(&state.transaction);
        self.timers.remove(&(state.due, Waiting::Job(job)));
        let Some(connection) = self.connections.get_mut(&state.target) else { return };
        if let State::Asked { jobs, .. } = &mut connection.state {
            jobs.remove(&job);
            if jobs.is_empty() {
                self.drop_connection(state.target);
            }
        }
    }

    /// Forgets a connection and tells which jobs had waited for it.
    fn drop_connection(&mut self, target: SocketAddr) -> BTreeSet<J> {
        let Some(connection) = self.connections.remove(&target) else { return BTreeSet::new() };
        self.timers.remove(&(connection.due, Waiting::Connection(target)));
        match connection.state {
            State::Asked { transaction, jobs, .. } => {
                self.transactions.remove(&transaction);
                jobs
            }
            State::Open { .. } => BTreeSet::new(),
        }
    }

    fn set_job_timer(&mut self, job: J, due: Time) {
        let Some(state) = self.jobs.get_mut(&job) else { return };
        self.timers.remove(&(state.due, Waiting::Job(job)));
        state.due = due.min(state.give_up);
        self.timers.insert((state.due, Waiting::Job(job)));
    }

    fn job_due(&mut self, now: Time, job: J, out: &mut impl Sink<Output<J>>) {
        match self.jobs.get(&job) {
            Some(state) if state.give_up <= now => self.finish(job, Err(TrackerError::TimedOut), out),
            Some(state) if state.due <= now => self.advance(now, job, out),
            _ => (),
        }
    }

    fn connection_due(&mut self, now: Time, target: SocketAddr, out: &mut impl Sink<Output<J>>) {
        let Some(connection) = self.connections.get_mut(&target).filter(|c| c.due <= now) else { return };
        let State::Asked { transaction, sent, .. } = &mut connection.state else {
            self.drop_connection(target);
            return;
        };
        *sent = sent.saturating_add(1);
        let bytes = Request::Connect { transaction: *transaction }.encode();
        connection.due = now + self.timing.wait(*sent);
        self.timers.insert((connection.due, Waiting::Connection(target)));
        out.put(Output::Send { to: target, bytes });
    }

    /// A transaction id that nobody uses yet.
    fn transaction(&mut self, waiting: Waiting<J>) -> u32 {
        loop {
            let id = self.rng.next_u32();
            if let std::collections::btree_map::Entry::Vacant(free) = self.transactions.entry(id) {
                free.insert(waiting);
                return id;
            }
        }
    }
}

impl<J: Copy + Ord> Machine for UdpClient<J> {
    type Input = Input<J>;
    type Output = Output<J>;

    fn handle(&mut self, now: Time, input: Input<J>, out: &mut impl Sink<Output<J>>) {
        match input {
            Input::Announce { job, target, url_data, request } => {
                self.begin(now, job, target, Call::Announce { url_data, request }, out);
            }
            Input::Scrape { job, target, mut info_hashes } => {
                info_hashes.truncate(Limits::SCRAPE);
                self.begin(now, job, target, Call::Scrape { info_hashes }, out);
            }
            Input::Datagram { from, bytes } => self.datagram(now, from, &bytes, out),
            Input::Cancel { job } => self.forget(job),
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut impl Sink<Output<J>>) {
        let mut due = Vec::new();
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(self.timers.pop_first());
        }
        for (_, waiting) in due {
            match waiting {
                Waiting::Job(job) => self.job_due(now, job, out),
                Waiting::Connection(target) => self.connection_due(now, target, out),
            }
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        self.timers.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests;
