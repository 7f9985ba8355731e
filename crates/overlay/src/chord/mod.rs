//! Chord: a ring of successors, and fingers across it.
//!
//! Model: Stoica, Morris, Liben-Nowell, Karger, Kaashoek, Dabek, Balakrishnan, "Chord:
//! A Scalable Peer-to-peer Lookup Protocol for Internet Applications" (IEEE/ACM ToN
//! 2003): a key belongs to its successor, the first node at or after it on the circle;
//! a node knows the next r nodes (its successor list), its predecessor, and fingers at
//! distances of powers of two, so that half the way is done with every step
//! (section IV). What keeps the ring is not theirs, which loses it under some orders of
//! joins and failures, but Zave's: "Reasoning about Identifier Spaces: How to Make
//! Chord Correct" (IEEE TSE 2017, arXiv 1610.01140), with its operations join,
//! stabilize-from-successor, stabilize-from-predecessor and rectify (`maintain.rs`).
//! Her invariant is [`invariant`], which tests and the simulator may check after every
//! transition. It holds as long as a ring begins with r + 1 members and failures leave
//! every member a live successor. A smaller ring works but is not safe, and says so
//! ([`Routing::TooSmall`]).
//!
//! | Zave | here |
//! |---|---|
//! | successor lists of exactly r, padded with places where nobody is | lists of at most r; in a ring of fewer than r + 1 they end before the node itself |
//! | a node reads another's state in one step | a question and its answer; one maintenance question at a time |
//! | failure detectors make no mistakes | `tries` questions without an answer; a mistake is undone by the next stabilization |
//!
//! Beside the papers: a successor list is only sent again if it changed; a finger is
//! checked by asking it whether it still is one, and looked up only if not; a key that
//! the successor list covers takes no further step to its predecessor; who has got a
//! nearer predecessor tells the old one to stabilize now; and nodes tell their
//! successors up to four of their predecessors, so that a replica knows which keys it
//! is a replica of.
//!
//! Two rings, each of which believes to be whole, become one (`merge.rs`), which is in
//! neither paper.
//!
//! Deliberately absent: proximity in the choice of fingers or servers, and virtual nodes,
//! which are nothing but further nodes with names of their own.

mod check;
mod config;
mod find;
pub mod invariant;
mod lookup;
mod maintain;
mod merge;
mod message;
mod neighbours;
mod route;
mod stabilize;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use smallvec::SmallVec;
use starling_sansio::Time;

pub use config::*;
pub use message::{Aim, Body, Carried, FEW, Few, Message};

use crate::lost::Lost;
use crate::{
    Core, Host, Id, Input, KeyBased, Offence, Op, Peer, Route, Routing, Row, RpcId, Rpcs, View, Wanted,
    prefetch,
};
use find::{Find, Purpose};
use route::Carrying;
use stabilize::Question;
use table::Table;

/// A node.
#[derive(Debug)]
pub struct Chord<P> {
    config: Arc<Config>,
    table: Table<P>,
    /// The predecessor, its predecessor, and so on.
    predecessors: Few<P>,
    /// Zave: a node does one maintenance operation at a time.
    question: Option<Question<P>>,
    busy: Option<Box<Busy<P>>>,
    lost: Lost<P>,
    now: Time,
    stabilize_at: Time,
    fix_at: Time,
    /// Of the successor list; changes with it.
    version: u32,
    /// Version of the successor's list from which ours was made, or 0.
    copied: u32,
    me: P,
    /// Which finger to check next: the one at distance `Id::bit(next_finger)`.
    next_finger: Option<u8>,
    /// Steps that this stabilization took towards the true successor.
    walk: u8,
    /// Whether this stabilization changed something.
    changed: bool,
    member: bool,
    /// The successor list goes all around: fewer than r + 1 members.
    small: bool,
    /// The successor's fingers are wanted.
    want_table: bool,
    /// Fingers are to be found one after the other without a pause.
    rush: bool,
}

/// What a node has only while it does something for somebody.
#[derive(Debug)]
struct Busy<P> {
    /// Boxed, since each is taken out and put back with every answer; nearly always one.
    finds: SmallVec<[Box<Find<P>>; 2]>,
    carries: Rpcs<P, Carrying<P>, MAX_CARRIES>,
    joining: Option<Joining<P>>,
    /// Who says to be our predecessor, while the old one is asked whether it lives.
    notified: Option<P>,
    due: Time,
}

/// A join, or the repair of a list in which nobody lives, until it succeeds.
#[derive(Debug)]
struct Joining<P> {
    through: Vec<P>,
    retry_at: Time,
}

/// The driver of a Chord node.
trait Outside<P>: Host<P, Message<P>, Routing<P>> {}
impl<P, H: Host<P, Message<P>, Routing<P>>> Outside<P> for H {}

impl<P: Peer> Core<P> for Chord<P> {
    type Message = Message<P>;
    type Command = Route<P>;
    type Event = Routing<P>;
    type Config = Config;

    fn new(me: P, config: &Arc<Config>) -> Self {
        Chord {
            config: config.clone(),
            table: Table::default(),
            predecessors: Few::NONE,
            question: None,
            busy: None,
            lost: Lost::default(),
            now: Time::ZERO,
            stabilize_at: Time::NEVER,
            fix_at: Time::NEVER,
            version: 0,
            copied: 0,
            me,
            next_finger: None,
            walk: 0,
            changed: false,
            member: false,
            small: false,
            want_table: false,
            rush: false,
        }
    }

    fn handle(
        &mut self,
        now: Time,
        input: Input<P, Message<P>, Route<P>>,
        host: &mut impl Host<P, Message<P>, Routing<P>>,
    ) {
        if !self.tick(now, host) {
            return;
        }
        match input {
            Input::Message { from, .. } if from == self.me => host.refuse(Some(from), Offence::NamesItself),
            Input::Message { from, message } => self.message(from, message, host),
            Input::Command(command) => self.command(command, host),
            Input::Unreachable(peer) => self.unreachable(peer, host),
        }
        self.pump(host);
    }

    fn handle_timeout(&mut self, now: Time, host: &mut impl Host<P, Message<P>, Routing<P>>) {
        if !self.tick(now, host) {
            return;
        }
        self.expire_question(host);
        if self.busy.as_ref().is_some_and(|busy| busy.due <= now) {
            self.expire_finds(host);
            self.expire_carries(host);
            self.join_again(host);
        }
        self.pump(host);
    }

    fn next_timeout(&self) -> Option<Time> {
        let busy = self.busy.as_ref().map_or(Time::NEVER, |busy| busy.due);
        let ring = match &self.question {
            Some(question) => question.deadline,
            None => self.stabilize_at.min(self.fix_at),
        };
        Some(busy.min(ring)).filter(|&due| due != Time::NEVER)
    }

    fn converge(&mut self, now: Time, view: &View<'_, P>, host: &mut impl Host<P, Message<P>, Routing<P>>) {
        self.now = self.now.max(now);
        self.settle_in(view, host);
    }

    fn is_member(&self) -> bool {
        self.member
    }

    fn known(&self) -> Vec<P> {
        let mut known: Vec<P> = self.table.all().iter().copied().chain(self.predecessors.iter()).collect();
        known.sort_unstable();
        known.dedup();
        known
    }

    fn rows(&self, host: &impl Host<P, Message<P>, Routing<P>>) -> Vec<Row<P>> {
        self.table_rows(host)
    }

    fn warm(&self, message: Option<(P, &Message<P>)>, steps: u32, _id: impl Fn(P) -> Id) {
        // An answer to a find needs no table.
        if steps == 1 && !matches!(message, Some((_, Message::Next { .. }))) {
            prefetch(self.table.all());
        }
        if let Some(busy) = &self.busy {
            busy.warm(steps);
        }
    }

    fn state_bytes(&self) -> usize {
        let busy = self.busy.as_ref().map_or(0, |busy| busy.bytes());
        size_of::<Self>() + self.table.heap_bytes() + self.lost.heap_bytes() + busy
    }
}

impl<P: Peer> KeyBased<P> for Chord<P> {
    const NAME: &'static str = "chord";

    fn me(&self) -> P {
        self.me
    }

    fn answered(
        &mut self,
        _now: Time,
        from: P,
        message: &Message<P>,
        host: &mut impl Host<P, Message<P>, Routing<P>>,
    ) {
        if let Message::Carry { rpc, .. } = message {
            host.send(from, Message::Ack { rpc: *rpc });
        }
    }

    fn asked_in_vain(&self, op: Op) -> u32 {
        let finds = self.busy.iter().flat_map(|busy| &busy.finds);
        finds
            .filter(|find| matches!(find.purpose, Purpose::User(other, _) if other == op))
            .map(|find| find.timeouts)
            .sum()
    }

    fn wants(from: P, message: &Message<P>) -> Option<Wanted<P>> {
        match message {
            Message::Ask { key, op, aim: Aim::Value, hops, .. } => {
                Some(Wanted { key: *key, origin: from, op: Op(*op), hops: u32::from(*hops) })
            }
            Message::Carry { carried, .. } => match carried.body {
                Body::Find { op, values: true, .. } => Some(Wanted {
                    key: carried.key,
                    origin: carried.origin,
                    op: Op(op),
                    hops: u32::from(carried.hops),
                }),
                _ => None,
            },
            _ => None,
        }
    }

    fn local_lookup(
        &self,
        key: Id,
        num: usize,
        safe: bool,
        host: &impl Host<P, Message<P>, Routing<P>>,
    ) -> Vec<P> {
        self.next_hops(key, num, safe, host)
    }

    fn neighbor_set(&self, num: usize, _host: &impl Host<P, Message<P>, Routing<P>>) -> Vec<P> {
        self.nearest(num)
    }

    fn replica_set(&self, key: Id, max_rank: usize, host: &impl Host<P, Message<P>, Routing<P>>) -> Vec<P> {
        self.replicas(key, max_rank, host)
    }

    fn range(
        &self,
        node: P,
        rank: usize,
        left: Id,
        host: &impl Host<P, Message<P>, Routing<P>>,
    ) -> Option<(Id, Id)> {
        self.keys_of(node, rank, left, host)
    }
}

impl<P: Peer> Chord<P> {
    /// The successor list, nearest first: at most r, in a ring of fewer than r + 1
    /// members all others.
    pub fn successors(&self) -> &[P] {
        self.table.successors()
    }

    /// The predecessor, if one is known.
    pub fn predecessor(&self) -> Option<P> {
        self.predecessors.first()
    }

    /// Peers from which an answer is awaited, for a driver that knows who is dead.
    pub fn awaited(&self) -> impl Iterator<Item = P> {
        let busy = self.busy.iter().flat_map(|busy| {
            busy.finds.iter().filter_map(|find| find.asked()).chain(busy.carries.iter().map(|one| one.0))
        });
        self.question.iter().map(|question| question.peer).chain(busy)
    }

    /// Lets time pass; `false` if it went back.
    fn tick<H: Outside<P>>(&mut self, now: Time, host: &mut H) -> bool {
        if now < self.now {
            host.refuse(None, Offence::TimeWentBack);
            return false;
        }
        self.now = now;
        true
    }

    fn command<H: Outside<P>>(&mut self, command: Route<P>, host: &mut H) {
        match command {
            Route::Join(through) => self.join(through, host),
            Route::Leave => self.leave(host),
            Route::Find { op, key, values } => self.find_for_user(op, key, values, host),
            Route::Cancel(op) => self.cancel(op),
            Route::Send { key, payload, hint } => self.send_payload(key, payload, hint, host),
        }
    }

    fn message<H: Outside<P>>(&mut self, from: P, message: Message<P>, host: &mut H) {
        use Message::*;
        let question = matches!(
            message,
            Ask { .. }
                | GetList { .. }
                | Notify { .. }
                | Ping { .. }
                | GetTable { .. }
                | Leave { .. }
                | Superseded {}
                | Carry { .. }
        );
        if question && !self.member {
            return host.refuse(Some(from), Offence::Misdirected);
        }
        match message {
            Ask { hops, .. } if hops > MAX_HOPS => host.refuse(Some(from), Offence::OutOfRange),
            Ask { rpc, key, aim, last, skip, .. } => self.on_ask(from, (rpc, key, aim, last, skip), host),
            Next { rpc, peers, .. } => self.on_answer(from, rpc, find::Answer::Next(peers), host),
            Last { rpc, peers, .. } => self.on_answer(from, rpc, find::Answer::Last(peers.into_vec()), host),
            Root { rpc, before, replicas, .. } => {
                let answer = find::Answer::Root { before, replicas: replicas.into_vec() };
                self.on_answer(from, rpc, answer, host);
            }
            GetList { rpc, known, predecessors } => self.on_get_list(from, rpc, known, predecessors, host),
            Same { rpc, predecessor } => self.on_same(from, rpc, predecessor, host),
            Successors { rpc, version, predecessor, list } => {
                self.on_successors(from, rpc, version, predecessor, &list, host);
            }
            Notify { predecessors } => self.on_notify(from, predecessors, host),
            Superseded {} => self.on_superseded(from, host),
            Ping { rpc } => host.send(from, Pong { rpc }),
            Pong { rpc } => self.on_pong(from, rpc, host),
            GetTable { rpc } => {
                let fingers = self.table.fingers().iter().copied().collect();
                host.send(from, Table { rpc, fingers });
            }
            Table { rpc, fingers } => self.on_table(from, rpc, &fingers, host),
            Leave { predecessor, list } => self.on_leave(from, predecessor, &list, host),
            Carry { rpc, carried } => self.on_carry(from, rpc, carried, host),
            Ack { rpc } => self.on_ack(from, rpc, host),
            Nack { rpc } => self.on_nack(from, rpc, host),
            Lost { rpc, timeouts } => self.on_lost(from, rpc, timeouts, host),
            Detour { rpc } => self.on_detour(from, rpc, host),
            Found { rpc, hops, timeouts, peers } => {
                self.on_found(from, (rpc, hops, timeouts), peers.into_vec(), host);
            }
        }
    }

    /// Starts what is due and updates when to be called again.
    fn pump<H: Outside<P>>(&mut self, host: &mut H) {
        if self.member {
            self.next_question(host);
        }
        let Some(busy) = &mut self.busy else { return };
        if busy.finds.is_empty() && busy.finds.spilled() {
            busy.finds = SmallVec::new();
        }
        let finds = busy.finds.iter().map(|find| find.deadline());
        let joining = busy.joining.iter().map(|joining| joining.retry_at);
        let due = finds.chain(joining).chain(busy.carries.next_deadline()).min();
        match due {
            None if busy.notified.is_none() => self.busy = None,
            due => busy.due = due.unwrap_or(Time::NEVER),
        }
    }

    /// Who says to be our predecessor, no longer.
    fn take_notified(&mut self, which: impl Fn(P) -> bool) -> Option<P> {
        self.busy.as_mut()?.notified.take_if(|one| which(*one))
    }

    fn busy(&mut self) -> &mut Busy<P> {
        self.busy.get_or_insert_with(|| {
            Box::new(Busy {
                finds: SmallVec::new(),
                carries: Rpcs::default(),
                joining: None,
                notified: None,
                due: Time::NEVER,
            })
        })
    }

    /// Where this node stands.
    fn place<H: Outside<P>>(&self, host: &H) -> Id {
        host.id(self.me)
    }

    /// The driver knows that `peer` cannot be reached.
    fn unreachable<H: Outside<P>>(&mut self, peer: P, host: &mut H) {
        if peer == self.me {
            return host.refuse(None, Offence::NamesItself);
        }
        if let Some(question) = &mut self.question
            && question.peer == peer
        {
            (question.left, question.deadline) = (0, self.now);
            self.expire_question(host);
        }
        self.lose_sight(peer, host);
        self.find_lost(peer, host);
        self.carry_lost(peer, host);
    }
}

impl<P: Peer> Busy<P> {
    /// Asks for what lies so many pointers from the node; see [`Core::warm`].
    fn warm(&self, steps: u32) {
        match steps {
            1 => prefetch(self),
            2 => self.finds.iter().for_each(|find| prefetch(&**find)),
            3 => self.finds.iter().for_each(|find| find.warm()),
            _ => {}
        }
    }

    fn bytes(&self) -> usize {
        let finds: usize = self.finds.iter().map(|find| size_of::<Find<P>>() + find.heap_bytes()).sum();
        let carries: usize = self.carries.iter().map(|(_, one)| one.heap_bytes()).sum();
        let through = self.joining.as_ref().map_or(0, |one| one.through.capacity() * size_of::<P>());
        let spilled = if self.finds.spilled() { self.finds.capacity() } else { 0 };
        let tables = spilled * size_of::<Box<Find<P>>>() + self.carries.heap_bytes();
        size_of::<Self>() + tables + finds + carries + through
    }
}

/// A fresh number for a question.
fn fresh<P, H: Outside<P>>(host: &mut H) -> RpcId {
    RpcId(host.rng().next_u32())
}
