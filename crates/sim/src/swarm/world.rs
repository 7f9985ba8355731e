//! The world: hosts, their connections, one queue of events, one tracker, one seed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use starling_metainfo::CreateError;
use starling_sansio::{Machine, Rng, Time};
use starling_session::{Input, Output};
use starling_tracker::store::PeerStore;

use super::content::Content;
use super::host::{Host, KEY};
use super::link::End;
use super::outcome::{self, Outcome};
use super::pipe::{Packet, What};
use super::{Class, Setting};
use crate::Network;
use crate::queue::Queue;

/// When the first leecher comes; the origin is there before.
pub(super) const BEGIN: Time = Time::from_secs(5);
/// When the origin, and whoever claims to be one, comes.
const FIRST: Time = Time::from_secs(1);
/// How often the tracker wants to be announced to.
const INTERVAL: Duration = Duration::from_secs(1800);

/// What happens to a world.
#[derive(Debug)]
pub(super) enum Happening {
    /// A host comes.
    Comes {
        host: usize,
    },
    /// A host's session wanted to be woken.
    Wakes {
        host: usize,
    },
    /// An answer that a session waits for.
    Answer {
        host: usize,
        input: Box<Input>,
    },
    /// See [`World::dialled`] and so on.
    Dialled {
        end: usize,
    },
    Connected {
        end: usize,
    },
    Refused {
        end: usize,
    },
    Free {
        host: usize,
    },
    Arrived {
        end: usize,
        packet: Packet,
    },
    Received {
        end: usize,
        packet: Packet,
    },
    Acknowledged {
        end: usize,
        bytes: u32,
    },
}

/// See the module.
pub struct World {
    pub(super) setting: Setting,
    pub(super) content: Arc<Content>,
    pub(super) now: Time,
    pub(super) hosts: Vec<Host>,
    /// Two for each connection there ever was.
    pub(super) ends: Vec<End>,
    pub(super) network: Network,
    pub(super) tracker: PeerStore,
    pub(super) rng: Rng,
    /// What sessions are to hear at this very moment, in order.
    pub(super) pending: VecDeque<(usize, Input)>,
    /// Pieces that leechers have, all together.
    pub(super) pieces: u64,
    /// See [`Outcome::progress`].
    pub(super) progress: Vec<(f64, u64)>,
    /// Leechers that lack something.
    pub(super) unfinished: u32,
    /// Empty lists for packets.
    pub(super) spare: Vec<Vec<What>>,
    queue: Queue<Happening>,
    out: Vec<Output>,
    events: u64,
    trace: u64,
}

impl World {
    /// The world of `setting` before its first event.
    ///
    /// # Errors
    /// If there can be no torrent of that size with such pieces.
    pub fn new(setting: Setting) -> Result<World, CreateError> {
        let mut rng = Rng::from_seed(setting.seed);
        let content = Arc::new(Content::new(setting.size, setting.piece, rng.next_u64())?);
        let network = Network { latency: setting.latency, seed: setting.seed, ..Network::default() };
        let tracker = PeerStore::new(INTERVAL, rng.fork());
        let mut world = World {
            content,
            now: Time::ZERO,
            hosts: Vec::new(),
            ends: Vec::new(),
            network,
            tracker,
            pending: VecDeque::new(),
            pieces: 0,
            progress: Vec::new(),
            unfinished: 0,
            spare: Vec::new(),
            queue: Queue::default(),
            out: Vec::new(),
            events: 0,
            trace: 0,
            rng,
            setting,
        };
        world.populate();
        Ok(world)
    }

    /// Makes the hosts, each with the moment it comes: leechers of all classes mixed.
    fn populate(&mut self) {
        let mut moments = Vec::new();
        for group in self.setting.groups.clone() {
            for _ in 0..group.count {
                let seed = self.rng.next_u64();
                let host = Host::new(&self.setting, group.class, group.access, &self.content, seed);
                let leeches = matches!(group.class, Class::Contributor | Class::FreeRider);
                self.unfinished += u32::from(leeches);
                let wait = self.rng.below(self.setting.arrive_over.as_micros() as u64 + 1);
                let late = BEGIN + Duration::from_micros(wait);
                moments.push(if group.class == Class::Origin { FIRST } else { late });
                self.hosts.push(host);
            }
        }
        for (host, at) in moments.into_iter().enumerate() {
            self.queue.push(at, Happening::Comes { host });
        }
    }

    /// Runs until every leecher has everything, or the time is over, or `watch`, which is
    /// told every simulated second what time it is, what share of the pieces is there and
    /// how many events there were, gives `false`. Then: what came of it.
    pub fn run(mut self, watch: &mut impl FnMut(Time, f64, u64) -> bool) -> Outcome {
        let end = BEGIN + self.setting.limit;
        let leechers = u64::from(self.unfinished);
        let all = (leechers * u64::from(self.content.torrent().info.layout.pieces())).max(1) as f64;
        let mut look = Time::ZERO;
        while self.unfinished > 0 {
            let Some((at, happening)) = self.queue.pop_before(end) else { break };
            self.now = self.now.max(at);
            self.events += 1;
            self.happen(happening);
            if self.now >= look {
                look = self.now + Duration::from_secs(1);
                self.note_progress();
                if !watch(self.now, self.pieces as f64 / all, self.events) {
                    break;
                }
            }
        }
        self.note_progress();
        outcome::of(&self)
    }

    fn note_progress(&mut self) {
        // The last piece of the content is a little shorter than that.
        let piece = u64::from(self.content.torrent().info.layout.piece_length());
        self.progress.push((self.now.since(BEGIN).as_secs_f64(), self.pieces * piece));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Comes { host } => {
                self.hosts[host].arrived = self.now;
                let spec = Box::new(self.hosts[host].wish(&self.setting, &self.content));
                self.input(host, Input::Add { key: KEY, spec });
            }
            Happening::Wakes { host } => self.wake(host),
            Happening::Answer { host, input } => self.input(host, *input),
            Happening::Dialled { end } => self.dialled(end),
            Happening::Connected { end } => self.connected(end),
            Happening::Refused { end } => self.refused(end),
            Happening::Free { host } => self.free(host),
            Happening::Arrived { end, packet } => self.arrived(end, packet),
            Happening::Received { end, packet } => self.received(end, packet),
            Happening::Acknowledged { end, bytes } => self.acknowledged(end, bytes),
        }
    }

    fn wake(&mut self, host: usize) {
        if self.hosts[host].wake.is_none_or(|at| at > self.now) {
            return;
        }
        self.hosts[host].wake = None;
        let mut out = std::mem::take(&mut self.out);
        self.hosts[host].session.handle_timeout(self.now, &mut out);
        self.carry_all(host, out);
        self.settle();
        self.watch_clock(host);
    }

    /// Hands one input to a host's session and does what comes out.
    pub(super) fn input(&mut self, host: usize, input: Input) {
        self.pending.push_back((host, input));
        self.settle();
    }

    /// Hands out what sessions are to hear at this moment.
    pub(super) fn settle(&mut self) {
        while let Some((host, input)) = self.pending.pop_front() {
            let mut out = std::mem::take(&mut self.out);
            self.hosts[host].session.handle(self.now, input, &mut out);
            self.carry_all(host, out);
            self.hosts[host].incoming = None;
            self.watch_clock(host);
        }
    }

    fn carry_all(&mut self, host: usize, mut out: Vec<Output>) {
        self.note(host as u64, out.len() as u64);
        out.drain(..).for_each(|output| self.carry(host, output));
        self.out = out;
    }

    /// Folds something that happened now into the trace's hash.
    pub(super) fn note(&mut self, a: u64, b: u64) {
        let what = self.now.as_micros() ^ a << 40 ^ b << 20;
        self.trace = (self.trace.rotate_left(5) ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn watch_clock(&mut self, host: usize) {
        let h = &mut self.hosts[host];
        if let Some(at) = h.session.next_timeout()
            && h.wake.is_none_or(|wake| at < wake)
        {
            let at = at.max(self.now);
            h.wake = Some(at);
            self.queue.push(at, Happening::Wakes { host });
        }
    }

    pub(super) fn after(&mut self, wait: Duration, happening: Happening) {
        self.queue.push(self.now + wait, happening);
    }

    /// The simulated time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Events so far, and a hash of what happened when to whom: equal runs have equal ones.
    pub(super) fn trace(&self) -> (u64, u64) {
        (self.events, self.trace)
    }
}
