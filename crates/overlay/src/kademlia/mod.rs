//! Kademlia: a binary tree of ids under the XOR metric.
//!
//! Model: Maymounkov and Mazières, "Kademlia: A Peer-to-peer Information System Based
//! on the XOR Metric" (IPTPS 2002). The distance of two ids is their XOR (section
//! 2.1). A node keeps up to `k` contacts for each length of the prefix that they share
//! with it, prefers those that have lived long, and learns of others from the traffic
//! itself (2.2, 4.1: [`KTable`]). It finds the `k` nodes closest to a key by asking
//! the closest it knows for closer ones, `alpha` at a time (2.3: [`IterativeLookup`]).
//! To join it looks itself up, then refreshes the buckets farther away than its
//! neighbourhood; each bucket with room in whose range it looked nothing up for an hour
//! it refreshes by a look-up of a random id in it. As an option the look-up goes over
//! disjoint paths (Baumgart and Mies, "S/Kademlia", ICPADS 2007, section 4.4).
//!
//! Where it goes its own way:
//! - a sender of requests is believed to be there only after it answered a ping, sent
//!   if there is room for it; answers count at once, since they repeat a number that
//!   only the one asked has seen;
//! - two unanswered questions in succession, not five, make a contact stale, and where
//!   one is silent its bucket's least recently heard of is pinged, until one answers;
//! - a peer silent for [`Config::patience`] does not keep others from being asked;
//! - a find ends when the closest eight of k have answered ([`Config::enough`]), which is
//!   as many as keep a record; a refresh ends with fewer ([`Config::refresh_enough`]): it
//!   is to find live contacts, not all of one place. A full bucket needs none: of each
//!   bucket in turn the least recently heard of is pinged, the more often the more of
//!   them prove to be dead, as MSPastry tunes its probes (Mahajan, Castro and Rowstron,
//!   "Controlling the cost of reliability in peer-to-peer overlays", IPTPS 2003); only
//!   where one died and no other has taken its place a look-up follows;
//! - a node that joined looks itself up again, at growing intervals, as long as that
//!   shows it new neighbours: many may have joined at once; a node that leaves says so
//!   to its neighbours;
//! - a node looks itself up now and then through a contact that fell silent, or through
//!   whom it came in: they may be a network of their own by now (`merge.rs`);
//! - Dabek's `route` is greedy and recursive, for that each node on the way be asked.
//!
//! Deliberately absent: STORE and republishing (the locating layer's), the accelerated
//! look-up with b bits a step (4.2), S/Kademlia's crypto puzzles and sibling list, and
//! bounds on contacts from one subnet: a driver that wants them does not let such a
//! peer's messages in.

mod check;
mod config;
mod iterative;
mod liveness;
mod lookup;
mod maintain;
mod merge;
mod message;
mod path;
mod places;
mod route;
mod table;
#[cfg(test)]
mod tests;
mod verdict;

use std::sync::Arc;

use smallvec::SmallVec;
use starling_sansio::Time;

pub use config::Config;
pub use iterative::{IterativeLookup, MAX_NAMES, MAX_PATHS, MAX_QUESTIONS, Plan, Question, SHORTLIST};
pub use message::{KademliaMessage, MAX_PAYLOAD, Parcel, Why};
pub use table::{BUCKETS, KTable, MAX_K};
pub use verdict::{Failed, Heard, Seen, Trust};

use crate::wire::List;
use crate::{Core, Host, Id, Input, Offence, Peer, Route, Routing, Row, RpcId, Rpcs, View, prefetch};
use lookup::Find;
use maintain::Settling;

/// Look-ups under way at once, those that only await late answers included.
pub const MAX_FINDS: usize = 32;
/// Pings on their way at once.
pub const MAX_PINGS: usize = 32;
/// No path is longer.
pub const MAX_HOPS: u8 = 160;

/// One node.
#[derive(Debug)]
pub struct Kademlia<P: Peer> {
    me: P,
    role: Role,
    /// The bucket whose oldest was pinged last.
    cursor: u8,
    /// Whether a refresh is under way.
    refreshing: bool,
    /// Buckets that we looked something up in since the last refresh, bit i for bucket i.
    touched: u32,
    /// Buckets that lost a contact since they last had their turn.
    lossy: u32,
    /// Buckets to refresh now; the last bit is our own place.
    pending: u32,
    table: KTable<P>,
    busy: Option<Box<Busy<P>>>,
    settling: Option<Box<Settling<P>>>,
    last: Time,
    wake: Time,
    refresh_at: Time,
    probe_at: Time,
    /// The interval of probes, in milliseconds.
    pace: u32,
    config: Arc<Config>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Out,
    Joining,
    Member,
}

/// What a node has only while it waits for answers.
#[derive(Debug)]
struct Busy<P> {
    /// Boxed, since each is taken out and put back with every answer.
    finds: SmallVec<[Option<Box<Find<P>>>; 2]>,
    pings: Rpcs<P, (), MAX_PINGS>,
}

/// The world as a Kademlia node sees it.
trait World<P>: Host<P, KademliaMessage<P>, Routing<P>> {}
impl<P, H: Host<P, KademliaMessage<P>, Routing<P>>> World<P> for H {}

impl<P: Peer> Core<P> for Kademlia<P> {
    type Message = KademliaMessage<P>;
    type Command = Route<P>;
    type Event = Routing<P>;
    type Config = Config;

    fn new(me: P, config: &Arc<Config>) -> Self {
        Kademlia {
            me,
            role: Role::Out,
            cursor: 0,
            refreshing: false,
            touched: 0,
            lossy: 0,
            pending: 0,
            table: KTable::new(Id::ZERO, config.k, config.spares),
            busy: None,
            settling: None,
            last: Time::ZERO,
            wake: Time::NEVER,
            refresh_at: Time::NEVER,
            probe_at: Time::NEVER,
            pace: 0,
            config: config.clone(),
        }
    }

    fn handle(
        &mut self,
        now: Time,
        input: Input<P, KademliaMessage<P>, Route<P>>,
        host: &mut impl Host<P, KademliaMessage<P>, Routing<P>>,
    ) {
        if !self.tick(now, host) {
            return;
        }
        match input {
            Input::Message { from, message } => self.message(from, message, host),
            Input::Command(command) => self.command(command, host),
            Input::Unreachable(peer) => self.unreachable(peer, host),
        }
        self.advance(host);
    }

    fn handle_timeout(&mut self, now: Time, host: &mut impl Host<P, KademliaMessage<P>, Routing<P>>) {
        if !self.tick(now, host) || now < self.wake {
            return;
        }
        self.expire_pings(host);
        self.expire_finds(host);
        self.periodic(host);
        self.advance(host);
        self.wake = self.next_work();
    }

    fn next_timeout(&self) -> Option<Time> {
        Some(self.wake).filter(|&wake| wake != Time::NEVER)
    }

    fn converge(
        &mut self,
        now: Time,
        view: &View<'_, P>,
        host: &mut impl Host<P, KademliaMessage<P>, Routing<P>>,
    ) {
        self.last = now;
        self.become_member(host);
        self.fill(view, host);
    }

    fn is_member(&self) -> bool {
        self.role == Role::Member
    }

    fn known(&self) -> Vec<P> {
        let mut known: Vec<P> = self.table.everybody().collect();
        known.sort_unstable();
        known
    }

    fn rows(&self, _host: &impl Host<P, KademliaMessage<P>, Routing<P>>) -> Vec<Row<P>> {
        let mut rows = Vec::new();
        for bucket in (0..BUCKETS).rev() {
            // The paper numbers a bucket by the exponent of its least distance.
            let number = i64::from(self.config.bits) - 1 - bucket as i64;
            for (what, peers) in
                [("bucket", self.table.contacts(bucket)), ("spares", self.table.spares(bucket))]
            {
                if !peers.is_empty() {
                    rows.push(Row { label: format!("{what} {number}"), peers: peers.to_vec() });
                }
            }
        }
        rows
    }

    fn warm(&self, message: Option<(P, &KademliaMessage<P>)>, steps: u32, id: impl Fn(P) -> Id) {
        let Some((from, message)) = message else {
            // What is due is a probe most of the time: of the next bucket.
            if steps == 1 {
                self.table.warm_next(self.cursor.into());
            }
            return;
        };
        if steps == 1 {
            // Who sends something is looked for in its bucket.
            self.table.warm_whom(id(from));
        }
        match (steps, message) {
            (1, KademliaMessage::Find { key, .. }) => self.table.warm(*key),
            (1, KademliaMessage::Found { peers, .. }) => {
                prefetch(&peers[..]);
                self.busy.iter().for_each(|busy| prefetch(&**busy));
            }
            (2.., KademliaMessage::Found { rpc, .. }) => {
                let find = self.busy.as_ref().and_then(|busy| busy.finds.get(rpc.0 as usize % MAX_FINDS));
                match find {
                    Some(Some(find)) if steps == 2 => find.warm(),
                    Some(Some(find)) => find.lookup.warm(),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn state_bytes(&self) -> usize {
        let busy = self.busy.as_ref().map_or(0, |busy| {
            let finds =
                busy.finds.iter().flatten().map(|find| size_of_val(&**find) + find.lookup.heap_bytes());
            let spilled = if busy.finds.spilled() { busy.finds.capacity() } else { 0 };
            size_of_val(&**busy)
                + spilled * size_of::<Option<Box<Find<P>>>>()
                + finds.sum::<usize>()
                + busy.pings.heap_bytes()
        });
        let settling = self.settling.as_ref().map_or(0, |settling| size_of_val(&**settling));
        size_of::<Self>() + self.table.heap_bytes() + busy + settling
    }
}

impl<P: Peer> Kademlia<P> {
    /// Takes notice of the time; false if it went back.
    fn tick(&mut self, now: Time, host: &mut impl World<P>) -> bool {
        if now < self.last {
            host.refuse(None, Offence::TimeWentBack);
            return false;
        }
        self.last = now;
        true
    }

    fn message(&mut self, from: P, message: KademliaMessage<P>, host: &mut impl World<P>) {
        if from == self.me {
            host.refuse(Some(from), Offence::NamesItself);
        } else if self.role != Role::Out {
            match message {
                KademliaMessage::Ping { rpc } => {
                    host.send(from, KademliaMessage::Pong { rpc });
                    self.requested(from, host);
                }
                KademliaMessage::Pong { rpc } => self.pong(from, rpc, host),
                KademliaMessage::Find { rpc, key, hops, why, .. } => {
                    self.asked(from, rpc, key, hops, why, host);
                }
                KademliaMessage::Found { rpc, peers, .. } => self.found(from, rpc, &peers, host),
                KademliaMessage::Leave {} => self.unreachable(from, host),
                KademliaMessage::Send { parcel } => self.carry(Some(from), *parcel, None, host),
            }
        }
    }

    fn command(&mut self, command: Route<P>, host: &mut impl World<P>) {
        match command {
            Route::Join(through) => self.join(through, host),
            Route::Leave => self.leave(host),
            Route::Find { op, key, values } => self.find(op, key, values, host),
            Route::Cancel(op) => self.cancel(op),
            Route::Send { key, payload, hint } => {
                let parcel = Parcel { key, hops: 0, payload: List::new(payload.into()) };
                self.carry(None, parcel, hint, host);
            }
        }
    }

    /// FIND_NODE: the k closest good contacts.
    fn asked(&mut self, from: P, rpc: RpcId, key: Id, hops: u8, why: Why, host: &mut impl World<P>) {
        if hops == 0 || hops > MAX_HOPS {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        let k = self.config.k;
        let mut peers = Vec::with_capacity(k);
        self.table.closest(key, k, Trust::Good, Some(from), |peer| host.id(peer), &mut peers);
        host.send(from, KademliaMessage::Found { rpc, peers: List::new(peers), why });
        self.requested(from, host);
    }

    fn busy(&mut self) -> &mut Busy<P> {
        self.busy.get_or_insert_with(|| Box::new(Busy { finds: SmallVec::new(), pings: Rpcs::default() }))
    }

    /// A node that waits for nothing keeps no memory for it.
    fn rest(&mut self) {
        let idle = |busy: &Busy<P>| busy.pings.is_empty() && busy.finds.iter().all(Option::is_none);
        if self.busy.as_deref().is_some_and(idle) {
            self.busy = None;
        }
    }
}
