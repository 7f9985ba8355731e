//! Worker threads of one device.
//!
//! Threads are started when there is work and none is free. A worker that is done
//! with its work dozes for a moment, unless enough waits already: blocks that come
//! meanwhile do not wake it one by one, so that at high rates it finds many at a
//! time, of many pieces, which are hashed side by side and share system calls.
//! Anything but a block wakes a worker at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::process::Ready;
use crate::torrent::Torrent;
use crate::{Config, descriptors};

/// How long a worker waits for more before it really sleeps.
const DOZE: Duration = Duration::from_millis(4);
/// Bytes of blocks that wake a worker out of its doze, if memory is plenty: enough for a
/// turn, and half as much again, so that most pieces have their part of it.
const WORTH_WAKING: usize = 3 << 19;
/// Pieces that one worker takes at a time.
const PIECES: usize = 16;

pub(crate) type Task = Box<dyn FnOnce(&mut Scratch) + Send>;

/// Something to do on a worker thread.
pub(crate) enum Job {
    /// Blocks wait for this piece.
    Piece(Arc<Torrent>, u32),
    /// Anything rarer.
    Task(Task),
}

/// What a worker keeps from job to job.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Spare inboxes and lists of blocks, so that none is allocated for each piece.
    pub(crate) items: Vec<Vec<crate::piece::Item>>,
    pub(crate) blocks: Vec<Vec<(u32, bytes::Bytes)>>,
    /// For reading back.
    pub(crate) buffer: Vec<u8>,
}

/// A device's queue.
pub(crate) struct Lane {
    workers_max: usize,
    worth_waking: usize,
    name: String,
    /// Bytes of blocks that wait to be taken by a worker.
    waiting_bytes: AtomicUsize,
    idle: AtomicUsize,
    /// A worker was woken for the blocks that wait, and has not taken them yet.
    called: AtomicBool,
    state: Mutex<State>,
    doze: Condvar,
    sleep: Condvar,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Job>,
    background: VecDeque<Job>,
    /// Tasks in `ready`.
    tasks: usize,
    dozing: usize,
    sleeping: usize,
    threads: Vec<JoinHandle<()>>,
    stopped: bool,
}

impl State {
    fn push(&mut self, job: Job) {
        self.tasks += usize::from(matches!(job, Job::Task(_)));
        self.ready.push_back(job);
    }

    fn pop(&mut self) -> Option<Job> {
        let job = self.ready.pop_front()?;
        self.tasks -= usize::from(matches!(job, Job::Task(_)));
        Some(job)
    }

    /// A piece takes those behind it along, for they are hashed best together.
    fn gather(&mut self, first: Job, pieces: &mut Vec<Ready>) -> Option<Task> {
        let mut next = Some(first);
        while let Some(Job::Piece(torrent, piece)) = next {
            pieces.push((torrent, piece));
            let more = pieces.len() < PIECES && matches!(self.ready.front(), Some(Job::Piece(..)));
            next = if more { self.pop() } else { None };
        }
        match next {
            Some(Job::Task(task)) => Some(task),
            _ => None,
        }
    }
}

impl Lane {
    pub(crate) fn new(name: String, config: &Config) -> Arc<Lane> {
        Arc::new(Lane {
            workers_max: descriptors::for_threads(config.workers_per_device.max(1)),
            worth_waking: WORTH_WAKING.min(config.memory / 8),
            name,
            waiting_bytes: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            called: AtomicBool::new(false),
            state: Mutex::default(),
            doze: Condvar::new(),
            sleep: Condvar::new(),
        })
    }

    /// Counts a block in, before any worker can see it; how many bytes wait now.
    pub(crate) fn arriving(&self, bytes: usize) -> usize {
        self.waiting_bytes.fetch_add(bytes, Relaxed) + bytes
    }

    /// A block was posted and so many bytes `waiting`; `job` if its piece is not scheduled yet.
    pub(crate) fn posted(self: &Arc<Lane>, waiting: usize, job: Option<Job>) {
        if let Some(job) = job {
            let mut state = self.lock();
            if state.stopped {
                return;
            }
            state.push(job);
            if state.dozing == 0 || self.calls(waiting) {
                self.wake(state);
            }
        } else if self.idle.load(Relaxed) > 0 && self.calls(waiting) {
            self.wake(self.lock());
        }
    }

    /// Whether so many bytes are worth waking a worker, and none was woken for them.
    fn calls(&self, waiting: usize) -> bool {
        waiting >= self.worth_waking && !self.called.swap(true, Relaxed)
    }

    /// A worker took its blocks, so many bytes. What still waits may wake another.
    pub(crate) fn taken(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Relaxed);
        self.called.store(false, Relaxed);
    }

    /// Queues a job behind the others of its kind.
    pub(crate) fn push(self: &Arc<Lane>, job: Job) {
        let mut state = self.lock();
        if state.stopped {
            return;
        }
        state.push(job);
        self.wake(state);
    }

    /// Queues a job that may wait for all others.
    pub(crate) fn push_background(self: &Arc<Lane>, job: Job) {
        let mut state = self.lock();
        if state.stopped {
            return;
        }
        state.background.push_back(job);
        self.wake(state);
    }

    /// A worker goes on with the same piece after the others had their turn.
    pub(crate) fn again(self: &Arc<Lane>, job: Job) {
        let mut state = self.lock();
        if !state.stopped {
            state.push(job);
        }
    }

    /// Drops what is queued and ends the workers after their present job.
    pub(crate) fn stop(&self) -> Vec<JoinHandle<()>> {
        let (jobs, threads) = {
            let mut state = self.lock();
            state.stopped = true;
            let jobs = (std::mem::take(&mut state.ready), std::mem::take(&mut state.background));
            (jobs, std::mem::take(&mut state.threads))
        };
        self.doze.notify_all();
        self.sleep.notify_all();
        drop(jobs);
        threads
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets one more worker going, if any is not.
    fn wake(self: &Arc<Lane>, mut state: MutexGuard<'_, State>) {
        if state.dozing > 0 {
            self.doze.notify_one();
        } else if state.sleeping > 0 {
            self.sleep.notify_one();
        } else if state.threads.len() < self.workers_max && !state.stopped {
            let lane = Arc::clone(self);
            let name = format!("{}-{}", self.name, state.threads.len());
            match std::thread::Builder::new().name(name).spawn(move || lane.work()) {
                Ok(thread) => state.threads.push(thread),
                Err(error) => tracing::warn!(%error, "cannot start a disk worker"),
            }
        }
    }

    fn work(self: Arc<Lane>) {
        let mut scratch = Scratch::default();
        let mut pieces = Vec::with_capacity(PIECES);
        while let Some(task) = self.next(&mut pieces) {
            if let Some(task) = task {
                task(&mut scratch);
            }
            if !pieces.is_empty() {
                crate::process::run(&self, &mut pieces, &mut scratch);
            }
        }
    }

    /// Waits for something to do: a task, or as many pieces as are ready. `None`: the end.
    fn next(self: &Arc<Lane>, pieces: &mut Vec<Ready>) -> Option<Option<Task>> {
        let mut state = self.lock();
        let mut patient = true;
        loop {
            if state.stopped {
                return None;
            }
            if (!patient || self.is_worthwhile(&state))
                && let Some(job) = state.pop().or_else(|| state.background.pop_front())
            {
                let task = state.gather(job, pieces);
                if !state.ready.is_empty() && (state.sleeping > 0 || state.threads.len() < self.workers_max) {
                    self.wake(state);
                }
                return Some(task);
            }
            self.called.store(false, Relaxed);
            self.idle.fetch_add(1, Relaxed);
            if std::mem::take(&mut patient) {
                state.dozing += 1;
                state = self.doze.wait_timeout(state, DOZE).unwrap_or_else(PoisonError::into_inner).0;
                state.dozing -= 1;
            } else {
                state.sleeping += 1;
                state = self.sleep.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.sleeping -= 1;
            }
            self.idle.fetch_sub(1, Relaxed);
        }
    }

    /// Whether there is more to do than a few blocks, which gain by waiting for others.
    fn is_worthwhile(&self, state: &State) -> bool {
        state.tasks > 0
            || !state.background.is_empty()
            || self.waiting_bytes.load(Relaxed) >= self.worth_waking
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_blocked_worker_does_not_hold_up_the_others() {
        let lane = Lane::new("t".into(), &Config { workers_per_device: 2, ..Config::default() });
        let (tell, hear) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        lane.push(Job::Task(Box::new(move |_| gate.recv().unwrap())));
        for n in 0..100 {
            let tell = tell.clone();
            lane.push(Job::Task(Box::new(move |_| tell.send(n).unwrap())));
        }
        let heard: Vec<i32> = hear.iter().take(100).collect();
        assert_eq!(heard, (0..100).collect::<Vec<_>>());
        release.send(()).unwrap();
        for thread in lane.stop() {
            thread.join().unwrap();
        }
    }

    #[test]
    fn background_jobs_come_last() {
        let lane = Lane::new("t".into(), &Config { workers_per_device: 1, ..Config::default() });
        let (tell, hear) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        lane.push(Job::Task(Box::new(move |_| gate.recv().unwrap())));
        let say = |word: &'static str| {
            let tell = tell.clone();
            Job::Task(Box::new(move |_: &mut Scratch| tell.send(word).unwrap()))
        };
        lane.push_background(say("later"));
        lane.push(say("first"));
        release.send(()).unwrap();
        assert_eq!(hear.iter().take(2).collect::<Vec<_>>(), ["first", "later"]);
        for thread in lane.stop() {
            thread.join().unwrap();
        }
    }
}
