//! Locating on top of any key-based routing: a distributed hash table of postings.
//!
//! Model: the DHT of Dabek et al. 2003 whose values are soft state. That a
//! provider has a record is kept as a posting at the replica set of the record's key
//! and, for search, at the replica sets of the hashes of its name's words. Providers
//! renew their postings; what is not renewed expires. As nodes come and go, those
//! that keep a key hand it to whoever is responsible now. A look-up takes the first
//! answer: from this node or any on the way, if it keeps the key and takes itself for one of
//! its replicas, or from the replica set in order. A search goes to the holder of its longest full word, which
//! filters by the rest. A provider that withdraws tells whom it told before, and finds and
//! tells whoever is responsible now, until all have said so or it would have expired.
//!
//! A stranger can only post itself as a provider, only under keys near the node it
//! tells and which follow from the record, and only withdraw what it posted; handed
//! postings are taken from neighbours and replicas alone. Numbers of questions are
//! drawn by chance, so that only someone who saw one can answer it.
//!
//! Deliberately absent: caching on the way, proof that a provider has what it says,
//! prefix search (refused: words are hashed), and answers larger than a datagram.
//! A node on the way answers whom the request names as its origin, unasked by it: in
//! recursive routing one message may so be turned into a larger one to somebody else.

mod app;
mod check;
mod chores;
mod handover;
mod host;
mod jobs;
mod keep;
mod message;
mod publish;
mod withdraw;

use std::sync::Arc;
use std::time::Duration;

use starling_sansio::Time;

pub use message::{Ask, DhtMessage, Gone, Handed, MAX_GONE, MAX_POSTINGS, POSTINGS_BYTES, Put, Shown};

pub use crate::postings::PostingLimits;
use crate::{
    Command, Core, Counts, Event, Host, Id, Input, KeyBased, Offence, Op, Overlay, Peer, Purpose, Route,
    Routing, Row, View, prefetch,
};
use app::{App, Letter, Sent};
use host::{Seen, Under};
use jobs::Task;
pub use withdraw::{DROP_WINDOW, MAX_DROPS, MAX_WITHDRAWALS, MAX_WITHDRAWN};

/// Operations of the user that wait for their turn at most.
pub const MAX_WAITING: usize = 1024;
/// Publications that wait for their turn at most, and as many renewals; the rest is tried
/// again.
pub const MAX_CHORES: usize = 1024;
/// Records one node publishes at most.
pub const MAX_PUBLISHED: usize = 4096;
/// Open puts, drops and hand-overs at most.
pub const MAX_OPEN: usize = 1024;
/// Keys that are being handed over at most; the rest is left to republishing.
pub const MAX_HANDS: usize = 4096;
/// Hand-over messages on their way at once.
pub const HAND_WINDOW: usize = 8;
/// The same of who leaves, and has little time.
pub const LEAVE_WINDOW: usize = 128;
/// No path is longer.
pub const MAX_HOPS: u32 = 65_535;
/// Answers to one search at most.
pub const MAX_PAGES: u8 = 32;

/// Parameters, with those of the routing below.
#[derive(Clone, Debug)]
pub struct DhtConfig<C> {
    /// Of the routing core.
    pub routing: Arc<C>,
    /// At how many nodes a posting is kept, as far as so many can be sure that it is they: in
    /// Chord 5, what a find names, or the successors and one; in Pastry half of the leaf set
    /// and one; in Kademlia as many as a find names.
    pub replicas: usize,
    /// Finds, with what follows from them, under way at once.
    pub parallel: usize,
    /// How long to wait for a node's answer.
    pub answer_timeout: Duration,
    /// How often a provider renews its postings, sooner at first; each interval is cut
    /// by up to a quarter, by chance.
    pub republish: Duration,
    /// When a posting that was not renewed is forgotten.
    pub expire: Duration,
    /// When to try again what could not be published.
    pub retry: Duration,
    /// How long a leaving node may take to withdraw what it published and to hand on what it
    /// keeps.
    pub leave: Duration,
    /// How much one node keeps for others.
    pub limits: PostingLimits,
}

impl<C> DhtConfig<C> {
    /// Defaults for a network whose nodes stay an hour on average and whose round
    /// trips take up to half a second.
    pub fn new(routing: C, replicas: usize) -> Self {
        DhtConfig {
            routing: Arc::new(routing),
            replicas,
            parallel: 8,
            answer_timeout: Duration::from_millis(1500),
            republish: Duration::from_secs(30 * 60),
            expire: Duration::from_secs(70 * 60),
            retry: Duration::from_secs(30),
            leave: Duration::from_secs(5),
            limits: PostingLimits::default(),
        }
    }
}

/// A node: routing, and postings on top. Three words more than its routing as long as
/// nothing is kept, published or under way.
#[derive(Debug)]
pub struct Dht<P: Peer, K: KeyBased<P>> {
    routing: K,
    config: Arc<DhtConfig<K::Config>>,
    app: Option<Box<App<P>>>,
    now: Time,
}

/// Everything that handles an input.
struct Ctx<'a, P: Peer, K: KeyBased<P>, H> {
    now: Time,
    me: P,
    config: &'a DhtConfig<K::Config>,
    routing: &'a mut K,
    app: &'a mut App<P>,
    host: &'a mut H,
}

impl<P: Peer, K: KeyBased<P>> Overlay<P> for Dht<P, K> {
    const NAME: &'static str = K::NAME;

    fn counts(&self) -> Counts {
        let kept = self.app.as_ref().map_or(0, |app| app.kept.len());
        Counts { kept: kept as u64, ..Counts::default() }
    }
}

impl<P: Peer, K: KeyBased<P>> Core<P> for Dht<P, K> {
    type Message = DhtMessage<P, K::Message>;
    type Command = Command<P>;
    type Event = Event<P>;
    type Config = DhtConfig<K::Config>;

    fn new(me: P, config: &Arc<Self::Config>) -> Self {
        Dht { routing: K::new(me, &config.routing), config: config.clone(), app: None, now: Time::ZERO }
    }

    fn handle(
        &mut self,
        now: Time,
        input: Input<P, Self::Message, Self::Command>,
        host: &mut impl Host<P, Self::Message, Self::Event>,
    ) {
        if !self.tick(now, host) {
            return;
        }
        match input {
            Input::Message { from, message: DhtMessage::Routing { cause, message } } => {
                if !self.answers_on_the_way(from, &message, host) {
                    self.route(cause, Input::Message { from, message }, host);
                }
            }
            Input::Message { from, message } => self.with(host, |ctx| ctx.message(from, message)),
            Input::Command(Command::Join(through)) => {
                let stays = self.app.as_mut().is_some_and(|app| app.leaving.take().is_some());
                self.route(Purpose::Maintenance, Input::Command(Route::Join(through)), host);
                if stays && self.routing.is_member() {
                    // It has withdrawn what it published, and never left.
                    self.with(host, |ctx| {
                        ctx.withdraw_nothing_published();
                        ctx.publish_again();
                    });
                }
            }
            Input::Command(command) => self.with(host, |ctx| ctx.command(command)),
            Input::Unreachable(peer) => {
                self.own_work(host, |routing, under| routing.handle(now, Input::Unreachable(peer), under));
                if self.app.is_some() {
                    self.with(host, |ctx| ctx.unreachable(peer));
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Time, host: &mut impl Host<P, Self::Message, Self::Event>) {
        if !self.tick(now, host) {
            return;
        }
        if self.routing.next_timeout().is_some_and(|due| due <= now) {
            self.own_work(host, |routing, under| routing.handle_timeout(now, under));
        }
        if self.app.as_ref().is_some_and(|app| app.next <= now) {
            self.with(host, |ctx| {
                ctx.due();
            });
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        let own = self.app.as_ref().map(|app| app.next).filter(|&next| next != Time::NEVER);
        self.routing.next_timeout().into_iter().chain(own).min()
    }

    fn converge(
        &mut self,
        now: Time,
        view: &View<'_, P>,
        host: &mut impl Host<P, Self::Message, Self::Event>,
    ) {
        self.now = self.now.max(now);
        self.routing.converge(now, view, &mut Under::new(host, Purpose::Maintenance));
    }

    fn is_member(&self) -> bool {
        self.routing.is_member()
    }

    fn known(&self) -> Vec<P> {
        self.routing.known()
    }

    fn rows(&self, host: &impl Host<P, Self::Message, Self::Event>) -> Vec<Row<P>> {
        self.routing.rows(&Seen::new(host))
    }

    fn warm(&self, message: Option<(P, &Self::Message)>, steps: u32, id: impl Fn(P) -> Id) {
        if let (1, Some(app)) = (steps, &self.app) {
            prefetch(&app.next);
        }
        let message = message.and_then(|(from, message)| Some((from, message.routing()?)));
        self.routing.warm(message, steps, id);
    }

    fn state_bytes(&self) -> usize {
        let routing = self.routing.state_bytes() - size_of::<K>();
        size_of::<Self>() + routing + self.app.as_ref().map_or(0, |app| app.bytes())
    }
}

impl<P: Peer, K: KeyBased<P>> Dht<P, K> {
    /// Parameters with the overlay's own number of replicas.
    pub fn config(routing: K::Config) -> DhtConfig<K::Config> {
        DhtConfig::new(routing, K::REPLICAS)
    }

    /// The routing core below.
    pub fn routing(&self) -> &K {
        &self.routing
    }

    /// Keys of which this node keeps postings.
    pub fn kept_keys(&self) -> Vec<Id> {
        self.app.as_ref().map_or(Vec::new(), |app| app.kept.keys().collect())
    }

    /// Lets time pass; `false` if it went back.
    fn tick<H>(&mut self, now: Time, host: &mut H) -> bool
    where
        H: Host<P, DhtMessage<P, K::Message>, Event<P>>,
    {
        if now < self.now {
            host.refuse(None, Offence::TimeWentBack);
            return false;
        }
        self.now = now;
        true
    }

    /// If `message` wants a value that this node keeps, sends it to who wants it.
    fn answers_on_the_way<H>(&mut self, from: P, message: &K::Message, host: &mut H) -> bool
    where
        H: Host<P, DhtMessage<P, K::Message>, Event<P>>,
    {
        let Some(app) = &self.app else { return false };
        let Some(wanted) = K::wants(from, message) else { return false };
        if wanted.origin == self.routing.me() {
            return false;
        }
        let (values, _) = app.page(wanted.key, self.now, 0, |record| record.key == wanted.key, host.rng());
        if values.is_empty() {
            return false;
        }
        let set = self.routing.replica_set(wanted.key, self.config.replicas, &Seen::new(host));
        if !set.contains(&self.routing.me()) {
            return false; // it fell out, and need not have heard of a withdrawal
        }
        host.send(wanted.origin, DhtMessage::Values { op: wanted.op.0, hops: wanted.hops, values });
        let mut under = Under::new(host, Purpose::LookUp);
        self.routing.answered(self.now, from, message, &mut under);
        let events = under.events;
        self.routed(events, host);
        true
    }

    /// Passes an input to the routing core.
    fn route<H>(&mut self, cause: Purpose, input: Input<P, K::Message, Route<P>>, host: &mut H)
    where
        H: Host<P, DhtMessage<P, K::Message>, Event<P>>,
    {
        let mut under = Under::new(host, cause);
        self.routing.handle(self.now, input, &mut under);
        let events = under.events;
        self.routed(events, host);
    }

    /// Lets the routing core do what no message asked for, each find for its own purpose.
    fn own_work<H>(&mut self, host: &mut H, act: impl FnOnce(&mut K, &mut Under<'_, H, P>))
    where
        H: Host<P, DhtMessage<P, K::Message>, Event<P>>,
    {
        let mut under = Under::of_jobs(host, self.app.as_ref().map(|app| &app.jobs));
        act(&mut self.routing, &mut under);
        let events = under.events;
        self.routed(events, host);
    }

    fn routed<H>(&mut self, events: Vec<Routing<P>>, host: &mut H)
    where
        H: Host<P, DhtMessage<P, K::Message>, Event<P>>,
    {
        if !events.is_empty() {
            self.with(host, |ctx| ctx.routed(events));
        }
    }

    /// Does something that may touch postings or jobs.
    fn with<H>(&mut self, host: &mut H, act: impl FnOnce(&mut Ctx<'_, P, K, H>))
    where
        H: Host<P, DhtMessage<P, K::Message>, Event<P>>,
    {
        let app = self.app.get_or_insert_with(Box::default);
        let (me, routing) = (self.routing.me(), &mut self.routing);
        let mut ctx = Ctx { now: self.now, me, config: &self.config, routing, app, host };
        act(&mut ctx);
        ctx.pump();
        app.next = app.next_deadline();
        if app.is_quiet() {
            self.app = None;
        }
    }
}

impl<P: Peer, K: KeyBased<P>, H> Ctx<'_, P, K, H>
where
    H: Host<P, DhtMessage<P, K::Message>, Event<P>>,
{
    fn command(&mut self, command: Command<P>) {
        let Some(command) = command.sayable(self.host) else { return };
        match command {
            Command::Join(through) => self.drive(Purpose::Maintenance, Input::Command(Route::Join(through))),
            Command::Leave => self.leave(),
            Command::Publish(record) => self.publish(record),
            Command::Withdraw(key) => self.withdraw(key),
            Command::LookUp(op, key) => self.look_up(op, key),
            Command::Search(op, query) => self.search(op, query),
            Command::Find(op, key) => self.ask_for(op, Task::Find { op, key }),
        }
    }

    fn message(&mut self, from: P, message: DhtMessage<P, K::Message>) {
        match message {
            DhtMessage::Routing { cause, message } => self.drive(cause, Input::Message { from, message }),
            DhtMessage::Put { rpc, put } => self.on_put(from, rpc, *put),
            DhtMessage::Drop { rpc, items } => self.on_drop(from, rpc, &items),
            DhtMessage::Hand { rpc, items } => self.on_hand(from, rpc, items.into_vec()),
            DhtMessage::Stored { rpc, kept } => self.on_stored(from, rpc, kept),
            DhtMessage::Get { op, key } => self.on_get(from, op, key),
            DhtMessage::Values { op, hops, values } => self.on_values(from, op, hops, values.into_vec()),
            DhtMessage::Search { op, ask } => self.on_search(from, op, &ask),
            DhtMessage::Matches { op, more, values } => self.on_matches(from, op, more, values.into_vec()),
        }
    }

    /// Passes an input to the routing core, and takes what it tells.
    fn drive(&mut self, cause: Purpose, input: Input<P, K::Message, Route<P>>) {
        let mut under = Under::new(self.host, cause);
        self.routing.handle(self.now, input, &mut under);
        let events = under.events;
        self.routed(events);
    }

    /// Takes what the routing core told at once.
    fn routed(&mut self, events: Vec<Routing<P>>) {
        let newcomer = |event: &Routing<P>| match *event {
            Routing::Update { peer, joined: true } => Some(peer),
            _ => None,
        };
        let newcomers: Vec<P> = events.iter().filter_map(newcomer).collect();
        events.into_iter().for_each(|event| self.one_routed(event, &newcomers));
    }

    fn one_routed(&mut self, event: Routing<P>, newcomers: &[P]) {
        match event {
            Routing::Joined => {
                self.host.emit(Event::Joined);
                self.publish_again();
            }
            Routing::Left => {
                self.forget_all();
                self.host.emit(Event::Left);
            }
            Routing::Closest { op, peers, cost } => self.on_closest(op.0, peers, cost),
            Routing::Deliver { .. } => {} // this layer routes no payloads
            Routing::Update { peer, joined } => {
                self.host.emit(Event::Update { peer, joined });
                self.neighbours_changed(peer, joined, newcomers);
            }
            Routing::TooSmall { needed } => self.host.emit(Event::TooSmall { needed }),
        }
    }

    fn due(&mut self) {
        if self.app.sweep <= self.now {
            self.app.kept.expire(self.now, |peer| self.host.household(peer));
            self.app.withdrawn.retain(|_, until| *until > self.now);
            self.app.sweep = Time::NEVER;
        }
        self.publish_due();
        self.withdraw_due(self.now);
        self.hand_again();
        self.silent();
        if self.app.leaving.is_some_and(|until| until <= self.now) {
            self.leave_now();
        }
    }

    /// Starts what waits and may start.
    fn pump(&mut self) {
        self.start_tasks();
        self.hand_on();
        self.drop_on();
        if self.app.leaving.is_some() && self.has_told_all() {
            self.leave_now();
        }
        if self.app.sweep == Time::NEVER && !(self.app.kept.is_empty() && self.app.withdrawn.is_empty()) {
            self.app.sweep = self.now + self.config.expire / 8;
        }
    }

    /// At most `count` nodes where `key`'s postings belong.
    fn replica_set(&mut self, key: Id, count: usize) -> Vec<P> {
        self.routing.replica_set(key, count, &Under::new(&mut *self.host, Purpose::LookUp))
    }

    /// A number for a question that is not in use.
    fn fresh_op(&mut self) -> u32 {
        loop {
            let op = self.host.rng().next_u32();
            if !self.app.jobs.contains_key(&op) {
                return op;
            }
        }
    }

    fn done(&mut self, op: Op, outcome: crate::Outcome, cost: crate::Cost) {
        self.host.emit(Event::Done { op, outcome, cost });
    }
}
