//! Pastry: prefix routing that prefers near nodes.
//!
//! Model: Rowstron and Druschel, "Pastry: Scalable, decentralized object location and
//! routing for large-scale peer-to-peer systems" (Middleware 2001), section 2: its
//! routing table, leaf set and neighbourhood set, its routing, arrival and departure of
//! nodes, and locality. The join and the upkeep of rows follow Castro et
//! al., "Proximity neighbor selection in tree-based structured peer-to-peer overlays"
//! (MSR-TR-2003-52); acknowledged hops, probes before a leaf is believed, and the spread
//! of bad news among neighbours follow Castro, Costa and Rowstron, "Performance and
//! dependability of structured peer-to-peer overlays" (DSN 2004).
//!
//! A key's root is the node whose id is numerically closest to it, around the circle.
//! Each hop either shares a longer prefix with the key or is closer to it; a key within
//! the leaf set takes one last hop. Tables only make it fast: with the leaf set alone
//! every message still arrives.
//!
//! Finds are recursive or, by configuration, iterative; payloads and joins always travel
//! from hop to hop. A message that a hop does not acknowledge takes another way at once,
//! while the node is probed; only to a leaf, who may be the root, it is sent again.
//!
//! The root answers the origin of a find directly, and behind a NAT nobody hears what comes
//! from whom it never wrote to. So a find without an answer is done again iteratively; and
//! where the root itself answers this node nothing, however often it is asked, those who did
//! answer stand in for it and for its replica set, the nearest first.
//!
//! Deliberately absent: randomised routing around malicious nodes, the
//! self-tuning of probe intervals, and exactly-once delivery: a payload whose
//! acknowledgement got lost may arrive twice.

mod ask;
mod check;
mod config;
mod join;
mod kbr;
mod leaf;
mod lookup;
mod maintain;
mod merge;
mod message;
mod patience;
mod table;

use std::sync::Arc;

use starling_sansio::Time;

pub use config::Config;
pub use message::{Find, Join, MAX_LEAF, MAX_PAYLOAD, MAX_ROWS, MAX_SET, Parcel, PastryMessage};
pub use table::MAX_DIGIT_BITS;

use crate::lost::Lost;
use crate::wire::List;
use crate::{Core, Host, Id, Input, Offence, Peer, Route, Routing, Row, Rpcs, View, prefetch};
use ask::{Asked, What};
use join::Joining;
use leaf::LeafSet;
use lookup::Lookup;
use patience::Patience;
use table::{Place, Table};

/// Questions open at once at most; more messages are passed on without waiting for
/// their acknowledgement.
pub const MAX_OPEN: usize = 256;
/// Finds of this node under way at most.
pub const MAX_LOOKUPS: usize = 256;
/// Nodes remembered as silent at most.
pub const MAX_SUSPECTS: usize = 64;
/// How often a node is asked before it is given up, if nothing gets lost.
pub const TRIES: u8 = 3;
/// No path is longer: with leaf sets alone, N / L hops.
pub const MAX_HOPS: u16 = 2048;
/// In place of a row's number: the neighbourhood set.
pub const NEIGHBORHOOD: u8 = u8::MAX;

/// What a node's functions need of the world.
trait World<P: Peer>: Host<P, PastryMessage<P>, Routing<P>> {}

impl<P: Peer, T: Host<P, PastryMessage<P>, Routing<P>>> World<P> for T {}

/// A node.
#[derive(Clone, Debug)]
pub struct Pastry<P> {
    me: P,
    stage: Stage,
    /// Scans so far.
    scans: u16,
    config: Arc<Config>,
    now: Time,
    beat: Time,
    scan: Time,
    leaf: LeafSet<P>,
    table: Table<P>,
    neighborhood: Vec<P>,
    busy: Option<Box<Busy<P>>>,
    past: Lost<P>,
    patience: Patience,
}

/// How far a node is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Outside,
    /// Waits for its leaf set.
    Joining,
    /// Has it and probes it: takes part, but does not say so yet.
    Settling,
    Member,
}

/// What only a node has that waits for something.
#[derive(Clone, Debug)]
struct Busy<P> {
    open: Rpcs<P, Asked<P>, MAX_OPEN>,
    lookups: Vec<Lookup<P>>,
    joining: Option<Joining<P>>,
    suspects: Vec<(P, Time)>,
    /// Leaves that others took for dead, and until when this node does not look again.
    doubted: Vec<(P, Time)>,
    next: Time,
}

impl<P> Default for Busy<P> {
    fn default() -> Self {
        Busy {
            open: Rpcs::default(),
            lookups: Vec::new(),
            joining: None,
            suspects: Vec::new(),
            doubted: Vec::new(),
            next: Time::NEVER,
        }
    }
}

impl<P: Peer> Core<P> for Pastry<P> {
    type Message = PastryMessage<P>;
    type Command = Route<P>;
    type Event = Routing<P>;
    type Config = Config;

    fn new(me: P, config: &Arc<Config>) -> Self {
        Pastry {
            me,
            stage: Stage::Outside,
            scans: 0,
            config: config.clone(),
            now: Time::ZERO,
            beat: Time::NEVER,
            scan: Time::NEVER,
            leaf: LeafSet::default(),
            table: Table::default(),
            neighborhood: Vec::new(),
            busy: None,
            past: Lost::default(),
            patience: Patience::default(),
        }
    }

    fn handle(
        &mut self,
        now: Time,
        input: Input<P, PastryMessage<P>, Route<P>>,
        host: &mut impl Host<P, PastryMessage<P>, Routing<P>>,
    ) {
        if !self.tick(now, host) {
            return;
        }
        match input {
            Input::Message { from, .. } if from == self.me => host.refuse(Some(from), Offence::NamesItself),
            Input::Message { from, message } => self.message(from, message, host),
            Input::Command(command) => self.command(command, host),
            Input::Unreachable(peer) => self.lost(peer, false, host),
        }
        self.rest();
    }

    fn handle_timeout(&mut self, now: Time, host: &mut impl Host<P, PastryMessage<P>, Routing<P>>) {
        if !self.tick(now, host) {
            return;
        }
        self.silent(host);
        self.late_lookups(host);
        self.join_again(host);
        self.heartbeat(host);
        self.scan(host);
        self.rest();
    }

    fn next_timeout(&self) -> Option<Time> {
        let busy = self.busy.as_ref().map_or(Time::NEVER, |busy| busy.next);
        Some(self.beat.min(self.scan).min(busy)).filter(|&next| next != Time::NEVER)
    }

    fn converge(
        &mut self,
        now: Time,
        view: &View<'_, P>,
        host: &mut impl Host<P, PastryMessage<P>, Routing<P>>,
    ) {
        self.now = self.now.max(now);
        self.stage = Stage::Member;
        self.fill_from(view, host);
        self.start_timers(host);
    }

    fn is_member(&self) -> bool {
        self.stage == Stage::Member
    }

    fn known(&self) -> Vec<P> {
        let mut known = self.leaf.all().to_vec();
        known.extend_from_slice(self.table.entries());
        known.extend_from_slice(&self.neighborhood);
        known.sort_unstable();
        known.dedup();
        known
    }

    fn rows(&self, host: &impl Host<P, PastryMessage<P>, Routing<P>>) -> Vec<Row<P>> {
        let mut rows = vec![
            Row { label: "leaf set, smaller".into(), peers: self.leaf.smaller().to_vec() },
            Row { label: "leaf set, larger".into(), peers: self.leaf.larger().to_vec() },
        ];
        let width = self.config.width();
        let me = host.id(self.me);
        rows.extend(self.table.iter(width).map(|(place, peer)| {
            let prefix: Vec<String> =
                (0..place.row).map(|row| format!("{:x}", me.digit(row, width))).collect();
            let separator = if width > 4 { "." } else { "" };
            let label = format!("row {}: {}-{:x}", place.row, prefix.join(separator), place.digit);
            Row { label, peers: vec![peer] }
        }));
        rows.push(Row { label: "neighbourhood set".into(), peers: self.neighborhood.clone() });
        rows.retain(|row| !row.peers.is_empty());
        rows
    }

    fn warm(&self, message: Option<(P, &PastryMessage<P>)>, steps: u32, _id: impl Fn(P) -> Id) {
        match (steps, &self.busy) {
            (1, busy) => {
                self.leaf.warm();
                self.table.warm();
                busy.iter().for_each(|busy| prefetch(&**busy));
            }
            (2, Some(busy)) => busy.open.warm(),
            _ => {}
        }
        if let (1, Some((_, PastryMessage::LeafAsk { leaf, .. } | PastryMessage::LeafAnswer { leaf, .. }))) =
            (steps, message)
        {
            prefetch(&leaf[..]);
        }
    }

    fn state_bytes(&self) -> usize {
        size_of::<Self>()
            + self.leaf.heap_bytes()
            + self.table.heap_bytes()
            + self.neighborhood.capacity() * size_of::<P>()
            + self.past.heap_bytes()
            + self.busy.as_ref().map_or(0, |busy| busy.bytes())
    }
}

impl<P: Peer> Pastry<P> {
    /// Empties the routing table and the neighbourhood set, for measurements of what
    /// the leaf set alone can do.
    pub fn forget_tables(&mut self) {
        (self.table, self.neighborhood) = (Table::default(), Vec::new());
    }

    /// Lets time pass; `false` if it went back.
    fn tick<H: World<P>>(&mut self, now: Time, host: &mut H) -> bool {
        if now < self.now {
            host.refuse(None, Offence::TimeWentBack);
            return false;
        }
        self.now = now;
        true
    }

    fn command<H: World<P>>(&mut self, command: Route<P>, host: &mut H) {
        match command {
            Route::Join(through) => self.join(through, host),
            Route::Leave => self.leave(host),
            Route::Find { op, key, values } => self.find(op, key, values, host),
            Route::Cancel(op) => self.cancel(op),
            Route::Send { key, payload, hint } => self.send(key, payload, hint, host),
        }
    }

    fn message<H: World<P>>(&mut self, from: P, message: PastryMessage<P>, host: &mut H) {
        match message {
            PastryMessage::JoinRows { nonce, peers } => self.on_join_rows(from, nonce, &peers, host),
            PastryMessage::JoinLeaf { nonce, leaf } => self.on_join_leaf(from, nonce, &leaf, host),
            PastryMessage::Ack { rpc } => self.on_ack(from, rpc, host),
            PastryMessage::Found { op, nonce, hops, timeouts, set } => {
                self.on_found(from, (op, nonce), hops, timeouts, set.into_vec(), host);
            }
            _ if matches!(self.stage, Stage::Outside | Stage::Joining) => {
                host.refuse(Some(from), Offence::Misdirected);
            }
            PastryMessage::Find { rpc, find } => self.on_find(from, rpc, find, host),
            PastryMessage::Carry { rpc, parcel } => self.on_carry(from, rpc, parcel, host),
            PastryMessage::Join { rpc, join } => self.on_join(from, rpc, join, host),
            PastryMessage::Ask { rpc, key, hops, .. } => self.on_ask(from, rpc, key, hops, host),
            PastryMessage::Next { rpc, root, peers } => self.on_next(from, rpc, root, &peers, host),
            PastryMessage::LeafAsk { rpc, leaf } => self.on_leaf_ask(from, rpc, &leaf, host),
            PastryMessage::LeafAnswer { rpc, leaf } => self.on_leaf_answer(from, rpc, &leaf, host),
            PastryMessage::RowAsk { rpc, row } => self.on_row_ask(from, rpc, row, host),
            PastryMessage::RowAnswer { rpc, peers } => self.on_row_answer(from, rpc, &peers, host),
            PastryMessage::Ping { rpc } => {
                host.send(from, PastryMessage::Pong { rpc });
                self.heard(from, host);
            }
            PastryMessage::Pong { rpc } => self.on_pong(from, rpc, host),
            PastryMessage::Gone { peer } => self.on_gone(from, peer, host),
            PastryMessage::Bye { leaf } => self.on_bye(from, &leaf, host),
        }
    }

    fn busy(&mut self) -> &mut Busy<P> {
        self.busy.get_or_insert_with(Box::default)
    }

    /// The leaf set, each node once.
    fn shown_leaf(&self) -> List<P, MAX_LEAF> {
        let larger = self.leaf.larger().iter();
        let rest = larger.filter(|&peer| !self.leaf.sides_meet() || !self.leaf.smaller().contains(peer));
        self.leaf.smaller().iter().chain(rest).copied().collect()
    }

    /// After an input: what waits is put in order, or given back if nothing does.
    fn rest(&mut self) {
        let Some(busy) = &mut self.busy else { return };
        busy.suspects.retain(|suspect| suspect.1 > self.now);
        busy.doubted.retain(|doubted| doubted.1 > self.now);
        let calm = busy.suspects.is_empty() && busy.doubted.is_empty();
        if calm && busy.open.is_empty() && busy.lookups.is_empty() && busy.joining.is_none() {
            self.busy = None;
            return;
        }
        let lookups = busy.lookups.iter().map(|lookup| lookup.deadline);
        let joining = busy.joining.iter().map(|joining| joining.deadline);
        busy.next = lookups.chain(joining).chain(busy.open.next_deadline()).min().unwrap_or(Time::NEVER);
    }
}

impl<P> Busy<P> {
    fn bytes(&self) -> usize
    where
        P: Copy + Eq,
    {
        let parcels = self.open.iter().map(|(_, asked)| match &asked.what {
            What::Carry(parcel) => size_of::<Parcel>() + parcel.payload.len(),
            _ => 0,
        });
        size_of::<Self>()
            + self.open.heap_bytes()
            + parcels.sum::<usize>()
            + self.lookups.capacity() * size_of::<Lookup<P>>()
            + self.lookups.iter().map(Lookup::heap_bytes).sum::<usize>()
            + (self.suspects.capacity() + self.doubted.capacity()) * size_of::<(P, Time)>()
    }
}
