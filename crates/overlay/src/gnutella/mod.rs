//! Gnutella: everybody asks their neighbours.
//!
//! There is no structure: a node has a few neighbours, and a query passes from
//! neighbour to neighbour. Memory is O(degree) and what passed by lately; a search by
//! flooding costs O(N) messages, most of them duplicates where degrees are high, and
//! sees no further than its TTL, the *horizon*.
//!
//! Modelled after the Gnutella protocol specification 0.4 (Clip2, 2001): Ping, Pong,
//! Query, QueryHit and Push with TTL, hops and descriptor ids; duplicates dropped; hits
//! go back the way the query came and pushes the way the hit came. From 0.6 (RFC
//! draft, Klingberg and Manfredi 2002): the handshake that accepts or refuses and names
//! others to try, the polite Bye, and pong caching: pings are not relayed. Searches
//! are one of four [`Strategy`]s.
//!
//! A node keeps the names of neighbours that fell silent, as old servents kept their host
//! caches, and now and then asks one of them for a link again, if it has room for one: so
//! the parts of a network that lost each other become one again within minutes. A node
//! that has no neighbour at all asks them and its boot peer one after another.
//!
//! A node that never was dialled by a stranger believes that it is behind a firewall
//! and says so in its hits. The origin then sends a Push the way the hit came and the
//! provider answers with a Giv, straight to the origin, which opens its firewall for
//! it. Hits are told at once and not held back for the Giv.
//!
//! Deliberately absent: ultrapeers and leaves (the two tiers are
//! [`crate::fasttrack`]'s), query routing tables, flow control, the download itself,
//! and any check of what a hit claims of its provider. A neighbour can drop, invent and
//! misroute what passes through it; only the content's hash tells.

mod check;
pub(crate) mod config;
mod lookup;
mod maintain;
mod message;
mod origin;
pub(crate) mod routes;
pub(crate) mod shelf;
mod table;
mod walk;

use std::sync::Arc;

use starling_sansio::Time;

use self::config::count;
pub use self::config::{Config, Counters, Strategy};
pub use self::message::{Heard, MAX_HOSTS, MAX_RECORDS_A_HIT, Message, QueryId, What};
pub use self::origin::{MAX_HITS, MAX_SEARCHES};
pub use self::routes::MAX_ROUTES;
pub use self::shelf::MAX_SHELF;
pub use self::table::{MAX_CACHE, MAX_DEGREE};
pub use self::walk::{MAX_HELD, MAX_WALK};

use self::maintain::MAX_CONNECTS;
use self::origin::Search;
use self::routes::Routes;
use self::shelf::Shelf;
use self::table::{Hosts, Neighbours};
use self::walk::Held;
use crate::graph::{Graph, mix};
pub use crate::past::MAX_PAST;
use crate::past::Past;
use crate::wire::MAX_TEXT;
use crate::{Command, Core, Counts, Event, Host, Input, Offence, Overlay, Peer, Row, Rpcs, View};

/// TTL and hops of a descriptor together at most. The specification's default is 7.
pub const MAX_TTL: u8 = 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Out,
    Joining,
    Member,
}

/// A servent.
#[derive(Debug)]
pub struct Gnutella<P> {
    me: P,
    config: Arc<Config>,
    state: State,
    /// Whether a stranger dialled this node.
    reachable: bool,
    /// Whether a link was given to a newcomer since the last tick.
    displaced: bool,
    /// Links looked for.
    target: u16,
    /// Connects that may still be sent before the next tick.
    tries: u8,
    now: Time,
    tick: Time,
    due: Option<Time>,
    past: Past<P>,
    neighbours: Neighbours<P>,
    hosts: Hosts<P>,
    shelf: Shelf,
    seen: Routes<P>,
    pushes: Routes<P>,
    connects: Rpcs<P, (), MAX_CONNECTS>,
    held: Rpcs<P, Held<P>, MAX_HELD>,
    searches: Vec<Search<P>>,
    counters: Counters,
}

/// The host of a Gnutella core.
trait World<P>: Host<P, Message<P>, Event<P>> {}
impl<P, H: Host<P, Message<P>, Event<P>>> World<P> for H {}

impl<P: Peer> Gnutella<P> {
    /// What passed through this node since it was made.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The neighbours.
    pub fn neighbours(&self) -> impl Iterator<Item = P> {
        self.neighbours.peers()
    }

    /// Whether a stranger dialled this node, so that it does not ask to be pushed.
    pub fn is_reachable(&self) -> bool {
        self.reachable
    }

    fn on_command(&mut self, now: Time, command: Command<P>, host: &mut impl World<P>) {
        let Some(command) = command.sayable(host) else { return };
        match command {
            Command::Join(boot) => self.join(now, boot, host),
            Command::Leave => self.leave(now, host),
            Command::Publish(record) => {
                if !self.shelf.put(record) {
                    host.refuse(None, Offence::Full);
                }
            }
            Command::Withdraw(key) => self.shelf.take(key),
            Command::LookUp(op, key) => {
                self.search(now, op, What::Key(key), self.config.providers, host);
            }
            Command::Search(op, query) => {
                let (wanted, query) = (query.wanted, origin::plain(query));
                if query.text.len() > MAX_TEXT {
                    // Some letters are longer in lower case.
                    return origin::done(op, crate::Outcome::Refused, host);
                }
                self.search(now, op, What::Words(query), wanted, host);
            }
            Command::Find(op, _) => origin::done(op, crate::Outcome::Refused, host),
        }
    }

    fn on_message(&mut self, now: Time, from: P, message: Message<P>, host: &mut impl World<P>) {
        if from == self.me {
            return host.refuse(Some(from), Offence::NamesItself);
        }
        if self.state == State::Out {
            return self.on_message_outside(from, &message, host);
        }
        match message {
            Message::Ping { rpc, ttl } => self.on_ping(now, from, rpc, ttl, host),
            Message::Pong { rpc, hosts } => self.on_pong(now, from, rpc, &hosts, host),
            Message::Query { id, ttl, hops, what } => self.on_query(now, from, (id, ttl, hops), what, host),
            Message::QueryHit { id, ttl, hops, push, provider, records } => {
                let hit = lookup::Found { id, ttl, hops, push, provider, records };
                self.on_hit(now, from, hit, host);
            }
            Message::Push { id, ttl, servent, to } => self.on_push(from, (id, ttl), servent, to, host),
            Message::Giv { .. } => count(&mut self.counters.givs),
            Message::Connect { rpc, degree } => self.on_connect(now, from, rpc, degree, host),
            Message::Accept { rpc, hosts } => self.on_accept(now, from, rpc, &hosts, host),
            Message::Refuse { rpc, hosts } => self.on_refuse(now, from, rpc, &hosts, host),
            Message::Bye { hosts } => self.on_bye(now, from, &hosts, host),
            Message::Walk { id, origin, walker, ttl, hops, what } => {
                let walk = Held { from, id, origin, walker, ttl, hops, what };
                self.on_walk(now, walk, host);
            }
            Message::Check { id, rpc, walker, left } => {
                self.on_check(now, from, (id, rpc), walker, left, host);
            }
            Message::Go { id, rpc, go } => self.on_go(from, id, rpc, go, host),
        }
    }

    /// False, and counted, if time went back.
    fn clock(&mut self, now: Time, host: &mut impl World<P>) -> bool {
        if now < self.now {
            host.refuse(None, Offence::TimeWentBack);
            return false;
        }
        self.now = now;
        true
    }

    fn settle(&mut self) {
        let tick = (self.state != State::Out).then_some(self.tick);
        let searches = self.searches.iter().map(|search| search.due).min();
        let rpcs = [self.connects.next_deadline(), self.held.next_deadline()];
        self.due = [tick, searches].into_iter().chain(rpcs).flatten().min();
    }
}

impl<P: Peer> Core<P> for Gnutella<P> {
    type Message = Message<P>;
    type Command = Command<P>;
    type Event = Event<P>;
    type Config = Config;

    fn new(me: P, config: &Arc<Config>) -> Self {
        Gnutella {
            me,
            config: Arc::clone(config),
            state: State::Out,
            reachable: false,
            displaced: false,
            target: 0,
            tries: 0,
            now: Time::ZERO,
            tick: Time::ZERO,
            due: None,
            past: Past::new(),
            neighbours: Neighbours::new(),
            hosts: Hosts::new(),
            shelf: Shelf::new(),
            seen: Routes::new(0),
            pushes: Routes::new(0),
            connects: Rpcs::default(),
            held: Rpcs::default(),
            searches: Vec::new(),
            counters: Counters::default(),
        }
    }

    fn handle(
        &mut self,
        now: Time,
        input: Input<P, Message<P>, Command<P>>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        if !self.clock(now, host) {
            return;
        }
        match input {
            Input::Message { from, message } => self.on_message(now, from, message, host),
            Input::Command(command) => self.on_command(now, command, host),
            Input::Unreachable(peer) => self.unreachable(now, peer, host),
        }
        self.settle();
    }

    fn handle_timeout(&mut self, now: Time, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if !self.clock(now, host) || self.due.is_none_or(|due| due > now) {
            return;
        }
        while self.held.expire(now).is_some() {}
        self.expire_connects(now, host);
        self.continue_searches(now, host);
        if self.state != State::Out && self.tick <= now {
            self.on_tick(now, host);
        }
        self.settle();
    }

    fn next_timeout(&self) -> Option<Time> {
        self.due
    }

    fn converge(&mut self, now: Time, view: &View<'_, P>, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.enter(now, host);
        self.state = State::Member;
        self.reachable = true;
        let members = view.members();
        // Ids differ from one simulated network to the next, and so do graphs.
        let seed = mix(self.config.seed) ^ members.first().map_or(0, |first| first.0.high());
        let place = view.successor(host.id(self.me));
        let graph = Graph::new(members.len(), seed);
        for other in graph.neighbours(place, |at| self.config.target(members[at].0)) {
            self.neighbours.add(members[other].1);
        }
        for _ in 0..MAX_HOSTS.min(members.len()) {
            let at = host.rng().index(members.len());
            if members[at].1 != self.me {
                self.hosts.add(now, members[at].1, 0, host.rng());
            }
        }
        self.settle();
    }

    fn is_member(&self) -> bool {
        self.state == State::Member
    }

    fn known(&self) -> Vec<P> {
        let mut known: Vec<P> = self.neighbours.peers().chain(self.hosts.peers()).collect();
        known.sort_unstable();
        known.dedup();
        known
    }

    fn rows(&self, _host: &impl Host<P, Message<P>, Event<P>>) -> Vec<Row<P>> {
        let neighbours = Row { label: "neighbours".into(), peers: self.neighbours.peers().collect() };
        let hosts = Row { label: "host cache".into(), peers: self.hosts.peers().collect() };
        let past = Row { label: "known once".into(), peers: self.past.peers().to_vec() };
        [neighbours, hosts, past].into_iter().filter(|row| !row.peers.is_empty()).collect()
    }

    fn state_bytes(&self) -> usize {
        let searches: usize = self.searches.iter().map(Search::heap_bytes).sum();
        let held: usize = self.held.iter().map(|(_, walk)| walk.what.heap_bytes()).sum();
        size_of::<Self>()
            + self.neighbours.heap_bytes()
            + self.hosts.heap_bytes()
            + self.past.heap_bytes()
            + self.shelf.heap_bytes()
            + self.seen.heap_bytes()
            + self.pushes.heap_bytes()
            + self.connects.heap_bytes()
            + self.held.heap_bytes()
            + self.searches.capacity() * size_of::<Search<P>>()
            + searches
            + held
    }
}

impl<P: Peer> Overlay<P> for Gnutella<P> {
    const NAME: &'static str = "gnutella";

    fn counts(&self) -> Counts {
        let Counters { queries, duplicates, .. } = self.counters;
        Counts { kept: 0, queries: queries.into(), duplicates: duplicates.into() }
    }
}
