//! Joining, leaving, and keeping buckets fresh.

use std::time::Duration;

use starling_sansio::Time;

use super::lookup::Task;
use super::{BUCKETS, KTable, Kademlia, KademliaMessage, Role, Trust, World};
use crate::{Id, Peer, Routing, View};

/// The bit, among those of buckets, that stands for our own place.
const OWN: usize = BUCKETS - 1;
/// At what interval a newcomer, who knows nothing of the weather, begins to probe.
const NEWCOMER: Duration = Duration::from_secs(20);

/// How a node came in, or tries to.
#[derive(Clone, Debug)]
pub(super) struct Settling<P> {
    /// Through whom, which is remembered for ever.
    pub(super) through: P,
    /// When to do the next step, if there is one.
    at: Time,
    /// How long to wait for the one after it.
    wait: Duration,
    /// Whether new neighbours were seen since the last step.
    pub(super) news: bool,
}

impl<P: Peer> Kademlia<P> {
    /// Joins by looking our own id up (section 2.3).
    pub(super) fn join(&mut self, through: Option<P>, host: &mut impl World<P>) {
        if self.role == Role::Member {
            return;
        }
        self.busy = None;
        match through.filter(|&peer| peer != self.me) {
            None => {
                self.become_member(host);
                self.plan_refresh(self.config.probe_min, host);
                self.settling = None;
                host.emit(Routing::Joined);
            }
            Some(through) => {
                self.table = KTable::new(host.id(self.me), self.config.k, self.config.spares);
                self.role = Role::Joining;
                let wait = self.config.retry;
                self.settling = Some(Box::new(Settling { through, at: Time::NEVER, wait, news: false }));
                self.look_up_own_place(host);
            }
        }
    }

    /// Tells the neighbours, and forgets everything.
    pub(super) fn leave(&mut self, host: &mut impl World<P>) {
        self.give_up(host);
        if self.role == Role::Member {
            let mut neighbors = Vec::new();
            let (own, k) = (host.id(self.me), self.config.k);
            self.table.closest(own, k, Trust::Good, None, |peer| host.id(peer), &mut neighbors);
            neighbors.into_iter().for_each(|peer| host.send(peer, KademliaMessage::Leave {}));
        }
        let last = self.last;
        *self = crate::Core::new(self.me, &self.config);
        self.last = last;
        host.emit(Routing::Left);
    }

    /// The look-up of our own id is over.
    pub(super) fn joined(&mut self, anybody: bool, host: &mut impl World<P>) {
        let wait = if anybody { self.config.settle } else { self.config.retry };
        let at = self.last + spread(wait, host);
        if let Some(settling) = &mut self.settling {
            (settling.at, settling.wait, settling.news) = (at, wait, false);
        }
        self.wake = self.wake.min(at);
        if anybody {
            let near = self.table.neighborhood(self.config.k);
            self.role = Role::Member;
            self.pending |= bits_below(near);
            self.touched = u32::MAX;
            self.plan_refresh(NEWCOMER.min(self.config.probe_max).max(self.config.probe_min), host);
            host.emit(Routing::Joined);
        }
    }

    /// A member with an empty table.
    pub(super) fn become_member(&mut self, host: &mut impl World<P>) {
        self.table = KTable::new(host.id(self.me), self.config.k, self.config.spares);
        self.role = Role::Member;
    }

    /// The tables of a network that has been quiet for ever: in each bucket some of
    /// those that belong there, whichever they were.
    pub(super) fn fill(&mut self, view: &View<'_, P>, host: &mut impl World<P>) {
        let own = host.id(self.me);
        let mut members = view.members();
        for bucket in 0..BUCKETS - 1 {
            let place = bucket as u32;
            let (zeros, ones) = members.split_at(members.partition_point(|member| !member.0.has_bit(place)));
            let (same, other) = if own.has_bit(place) { (ones, zeros) } else { (zeros, ones) };
            self.fill_bucket(bucket, other, host);
            members = same;
            if members.len() <= 1 {
                break;
            }
        }
        self.fill_bucket(OWN, members, host);
        self.table.shrink();
        self.plan_refresh(self.config.probe_max, host);
    }

    /// k of `members`, each as likely as any other (Floyd's sampling).
    fn fill_bucket(&mut self, bucket: usize, members: &[(Id, P)], host: &mut impl World<P>) {
        let (k, me) = (self.config.k, self.me);
        if members.len() <= k {
            return self.table.fill(bucket, members.iter().map(|member| member.1).filter(|&peer| peer != me));
        }
        let mut places: Vec<usize> = Vec::with_capacity(k);
        for last in members.len() - k..members.len() {
            let place = host.rng().index(last + 1);
            places.push(if places.contains(&place) { last } else { place });
        }
        self.table.fill(bucket, places.into_iter().map(|place| members[place].1).filter(|&peer| peer != me));
    }

    /// What is due by the clock alone.
    pub(super) fn periodic(&mut self, host: &mut impl World<P>) {
        if self.role == Role::Member {
            if self.last >= self.refresh_at {
                self.refresh();
            }
            if self.last >= self.probe_at {
                self.look_beyond(self.pace, host);
                self.turn(host);
            }
        }
        let Some(settling) = self.settling.as_mut().filter(|settling| settling.at <= self.last) else {
            return;
        };
        if self.role == Role::Joining {
            settling.at = Time::NEVER;
            return self.look_up_own_place(host);
        }
        let near = self.table.neighborhood(self.config.k);
        let few = self.table.len() < self.config.k;
        settling.wait *= 2;
        if settling.wait > self.config.refresh || !(settling.news || few) {
            settling.at = Time::NEVER;
            return;
        }
        settling.news = false;
        settling.at = self.last + spread(settling.wait, host);
        let open = (0..near).filter(|&bucket| !self.table.is_full(bucket));
        self.pending |= open.fold(1 << OWN, |bits, bucket| bits | 1 << bucket);
    }

    /// Starts what is pending, one look-up at a time, our own place first and then
    /// from the nearest bucket to the farthest.
    pub(super) fn advance(&mut self, host: &mut impl World<P>) {
        while self.pending != 0 && !self.refreshing && self.role == Role::Member {
            let bucket = self.pending.ilog2() as usize;
            self.pending &= !(1 << bucket);
            let own = host.id(self.me);
            let (task, target) = match bucket {
                OWN => (Task::Neighbors, own),
                _ => (Task::Refresh, self.random_in(bucket, own, host)),
            };
            self.refreshing = true;
            if !self.begin(task, target, &[], host) {
                self.refreshing = false;
            }
        }
    }

    /// When there is work next.
    pub(super) fn next_work(&self) -> Time {
        let pings = self.busy.as_ref().and_then(|busy| busy.pings.next_deadline());
        let settling = self.settling.as_ref().map(|settling| settling.at);
        [pings, self.finds_deadline(), settling]
            .into_iter()
            .flatten()
            .fold(self.refresh_at.min(self.probe_at), Time::min)
    }

    fn look_up_own_place(&mut self, host: &mut impl World<P>) {
        let through: Vec<P> = self.settling.iter().map(|settling| settling.through).collect();
        let own = host.id(self.me);
        self.begin(Task::Join, own, &through, host);
    }

    /// Refreshes the buckets with room in which we looked nothing up for an interval, of
    /// those in our neighbourhood only the largest.
    fn refresh(&mut self) {
        let near = self.table.neighborhood(self.config.k).min(OWN);
        let open = (0..=near).filter(|&bucket| !self.table.is_full(bucket));
        let due = open.fold(0, |bits, bucket| bits | 1 << bucket);
        self.pending |= due & !self.touched;
        self.touched = 0;
        self.refresh_at = self.last + self.config.refresh;
    }

    /// The next bucket has its turn: its oldest contact is pinged; or, if one of it died
    /// and nobody has taken the place since, somebody is looked for.
    fn turn(&mut self, host: &mut impl World<P>) {
        self.probe_at = self.after(self.pace);
        let Some(bucket) = self.table.next_used(self.cursor.into()) else { return };
        self.cursor = bucket as u8;
        if self.lossy & 1 << bucket != 0 {
            self.lossy &= !(1 << bucket);
            if bucket >= self.table.neighborhood(self.config.k) {
                self.pending |= 1 << OWN;
                return;
            }
            if !self.table.is_full(bucket) {
                self.pending |= 1 << bucket;
                return;
            }
        }
        if let Some(oldest) = self.table.oldest(bucket) {
            self.ping(oldest, host);
        }
    }

    /// So many milliseconds from now; the most that can be said is never.
    fn after(&self, millis: u32) -> Time {
        if millis == u32::MAX { Time::NEVER } else { self.last + Duration::from_millis(millis.into()) }
    }

    /// A contact answered: probes may come more rarely.
    pub(super) fn calm(&mut self) {
        let longer = self.pace.saturating_add(self.pace / self.config.probe_calm.max(1));
        self.pace = longer.min(millis(self.config.probe_max));
    }

    /// A contact proved to be dead: there may be more of them.
    pub(super) fn hurry(&mut self) {
        if self.role != Role::Member {
            return;
        }
        self.pace = (self.pace / 2).max(millis(self.config.probe_min)).max(1);
        self.probe_at = self.probe_at.min(self.after(self.pace));
        self.wake = self.wake.min(self.probe_at);
    }

    /// Refreshes and probes come at intervals, from a random moment on; `pace` is that of
    /// the probes.
    fn plan_refresh(&mut self, pace: Duration, host: &mut impl World<P>) {
        self.cursor = host.rng().index(BUCKETS) as u8;
        self.pace = millis(pace);
        let phase = host.rng().below(u64::from(self.pace).max(1)) as u32;
        self.probe_at = if self.pace == u32::MAX { Time::NEVER } else { self.after(phase) };
        self.refresh_at = self.last + spread(self.config.refresh, host);
        self.wake = self.wake.min(self.refresh_at).min(self.probe_at);
    }

    /// A random id in the range of `bucket`.
    fn random_in(&self, bucket: usize, own: Id, host: &mut impl World<P>) -> Id {
        let place = bucket as u32;
        let random = Id::from_high(host.rng().next_u64());
        let prefix = own.xor(Id::bit(place)).truncated(place + 1);
        prefix.xor(random).xor(random.truncated(place + 1)).truncated(self.config.bits)
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn bits_below(bit: usize) -> u32 {
    1u32.checked_shl(bit as u32).map_or(u32::MAX, |bit| bit - 1)
}

/// A duration between half of `around` and one and a half of it.
fn spread<P>(around: Duration, host: &mut impl World<P>) -> Duration {
    let micros = around.as_micros().min(u128::from(u64::MAX)) as u64;
    around / 2 + Duration::from_micros(host.rng().below(micros))
}
