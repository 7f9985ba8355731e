//! FastTrack: super-peers index their leaves and search among themselves.
//!
//! Two tiers. A *leaf* (ordinary node) has one super-peer, tells it what it has, and
//! keeps the names of spare ones. A *super-peer* indexes its leaves, has links to some
//! others, and floods queries over them for a bounded number of links; hits go back the
//! way the query came. So a search costs O(N / leaves) messages where Gnutella's costs
//! O(N), at the price of memory at the super-peers.
//!
//! Modelled after Liang, Kumar and Ross, "The FastTrack overlay: a measurement study"
//! (Computer Networks 50, 2006) and "Understanding KaZaA" (2004), which observed the
//! network of KaZaA from outside: its protocol was secret, so what they saw is modelled
//! (metadata uploaded to the parent, lists of super-peers that leaves keep, bounded
//! floods among super-peers, hundreds of leaves and tens of links a super-peer), and
//! the rest is our own.
//!
//! **Election.** A full super-peer sends newcomers to its neighbours and promotes the
//! leaf with the most merit: capacity × time here × vouchers. It gives the new one half
//! of its leaves. A leaf past its probation that can bear twice as much, and has
//! vouchers, takes a super-peer's place. A super-peer with hardly a leaf goes to one
//! with more; one that leaves names an heir. Leaves whose super-peer dies move to a
//! spare one and publish again; if none answers they become super-peers themselves. A
//! super-peer that answers none of a search's questions counts as dead too, and the search
//! goes on at the next one.
//!
//! **Repair.** Whoever has no super-peer, or too few links, turns to the spare names
//! and then, ever more rarely, to those it knew once (`past`): the boot peer,
//! super-peers that fell silent or were full. A super-peer whose links died looks for
//! half as many at once and for the mean in the course of time, so that parts of the
//! network that lost each other meet again. A super-peer with few links also names its
//! best leaves to the others: when it dies, they turn to these, and a leaf without a
//! super-peer that is turned to becomes one.
//!
//! **Earned reputation.** Capacity is only claimed. Time is measured by the super-peer
//! itself. A *vouch* is sent by a searcher that dialled the provider of a hit and was
//! served; it travels the way the hit came, so each super-peer takes it only from its
//! own links and leaves (leaves past their probation), and each of those counts once.
//! What that defends against: a node that claims much and does nothing, one that cannot
//! be dialled, one that comes in many names for a short time, and vouches by strangers
//! or by one neighbour a thousand times. What it does not: a node that behaves well
//! until it is promoted; somebody who keeps leaves at several super-peers for as long
//! as a probation and has them search for each other's files; a flash crowd, in which
//! full super-peers promote whoever claims most, since nobody has earned anything yet;
//! and a super-peer that answers its leaves' queries with nothing.
//!
//! Deliberately absent: downloads, encryption, the UDP probes by which KaZaA's leaves
//! choose the nearest of several super-peers, shuffling of links over time.

mod check;
mod config;
mod index;
mod leaf;
mod lookup;
mod maintain;
mod message;
mod office;
mod repair;
mod search;

use std::sync::Arc;

use starling_sansio::Time;

pub use self::config::{Config, Counters};
pub use self::index::MAX_SCAN;
pub use self::lookup::MAX_TTL;
pub use self::message::{MAX_BATCH, MAX_NAMED, Message};
pub use self::office::{MAX_LEAVES, MAX_LINKS, MAX_VOUCHERS, NAME_BYTES};
pub use self::search::{MAX_HITS, MAX_SEARCHES};

use self::leaf::Parent;
use self::office::Office;
use self::search::Search;
use crate::gnutella::What;
use crate::gnutella::shelf::Shelf;
use crate::graph::{Graph, mix};
pub use crate::past::MAX_PAST;
use crate::past::Past;
use crate::{Command, Core, Counts, Event, Host, Input, Offence, Outcome, Overlay, Peer, Row, Rpcs, View};

/// Names of super-peers that a node keeps.
pub const MAX_SPARES: usize = 16;
/// Questions under way at a time.
pub const MAX_ASKED: usize = 64;

/// What a question is about.
#[derive(Clone, Debug)]
enum Asked {
    Attach,
    /// These keys, and whether they were published or withdrawn; the how-manieth time.
    Share {
        sent: Vec<crate::Id>,
        gone: Vec<crate::Id>,
        tries: u8,
    },
    Ping {
        tries: u8,
    },
    Link,
    /// Whether the leaf shall take this node's place, and not only a part of its leaves.
    Promote {
        replace: bool,
    },
    Fetch,
}

/// Times that a question is put.
const TRIES: u8 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Out,
    Joining,
    Member,
}

/// A node, leaf or super-peer.
#[derive(Debug)]
pub struct FastTrack<P> {
    me: P,
    config: Arc<Config>,
    state: State,
    capacity: u8,
    /// Ticks without a super-peer.
    orphaned: u8,
    /// Attaches and links that may still be tried before the next tick.
    tries: u8,
    now: Time,
    tick: Time,
    due: Option<Time>,
    past: Past<P>,
    /// Super-peers to turn to.
    spares: Vec<P>,
    parent: Option<Box<Parent<P>>>,
    office: Option<Box<Office<P>>>,
    shelf: Shelf,
    asked: Rpcs<P, Asked, MAX_ASKED>,
    searches: Vec<Search<P>>,
    counters: Counters,
}

/// The host of a FastTrack core.
trait World<P>: Host<P, Message<P>, Event<P>> {}
impl<P, H: Host<P, Message<P>, Event<P>>> World<P> for H {}

impl<P: Peer> FastTrack<P> {
    /// What passed through this node since it was made.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether it is a super-peer.
    pub fn is_super(&self) -> bool {
        self.office.is_some()
    }

    /// A leaf's super-peer.
    pub fn parent(&self) -> Option<P> {
        self.parent.as_ref().map(|parent| parent.peer)
    }

    /// A super-peer's leaves.
    pub fn leaves(&self) -> impl Iterator<Item = P> {
        self.office.iter().flat_map(|office| office.leaves.iter().map(|leaf| leaf.peer))
    }

    /// A super-peer's links.
    pub fn links(&self) -> impl Iterator<Item = P> {
        self.office.iter().flat_map(|office| office.links.iter().map(|link| link.peer))
    }

    /// How many vouched for a leaf of this super-peer.
    pub fn vouchers(&self, leaf: P) -> usize {
        let leaves = self.office.iter().flat_map(|office| &office.leaves);
        leaves.filter(|one| one.peer == leaf).map(|one| one.vouchers.len()).sum()
    }

    fn on_command(&mut self, now: Time, command: Command<P>, host: &mut impl World<P>) {
        let Some(command) = command.sayable(host) else { return };
        match command {
            Command::Join(boot) => self.join(now, boot, host),
            Command::Leave => self.leave(now, host),
            Command::Publish(record) => {
                let key = record.key;
                if !self.shelf.put(record) {
                    return host.refuse(None, Offence::Full);
                }
                self.publish(now, key, host);
            }
            Command::Withdraw(key) => {
                self.shelf.take(key);
                self.withdraw(now, key, host);
            }
            Command::LookUp(op, key) => self.search(now, op, What::Key(key), self.config.providers, host),
            Command::Search(op, query) => {
                let wanted = query.wanted;
                self.search(now, op, What::Words(query), wanted, host);
            }
            Command::Find(op, _) => search::done(op, Outcome::Refused, host),
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
            Message::Attach { rpc, capacity } => self.on_attach(now, from, rpc, capacity, host),
            Message::Attached { rpc, supers } => self.on_attached(now, from, rpc, &supers, host),
            Message::Redirect { rpc, supers } => self.on_redirect(now, from, rpc, &supers, host),
            Message::Share { rpc, records, withdrawn } => {
                self.on_share(from, rpc, records.into_vec(), &withdrawn, host);
            }
            Message::Shared { rpc } => self.on_shared(now, from, rpc, host),
            Message::Ping { rpc } => self.on_ping(now, from, rpc, host),
            Message::Pong { rpc, load, supers } => self.on_pong(now, from, rpc, load, &supers, host),
            Message::Query { id, ttl, what } => self.on_query(now, from, id, ttl, what, host),
            Message::Hits { id, hops, hits } => self.on_hits(now, from, id, hops, hits, host),
            Message::Fetch { rpc, id, key } => {
                let has = !self.shelf.find(&What::Key(key)).is_empty();
                host.send(from, Message::Fetched { rpc, id, has });
            }
            Message::Fetched { rpc, id, has } => self.on_fetched(now, from, rpc, id, has, host),
            Message::Vouch { id, ttl, provider } => self.on_vouch(now, from, id, ttl, provider, host),
            Message::Link { rpc } => self.on_link(from, rpc, host),
            Message::Linked { rpc, supers } => self.on_linked(now, from, rpc, &supers, host),
            Message::Promote { rpc, supers } => self.on_promote(now, from, rpc, &supers, host),
            Message::Promoted { rpc, done } => self.on_promoted(now, from, rpc, done, host),
            Message::Bye { supers } => self.on_bye(now, from, &supers, host),
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
        self.due = [tick, searches, self.asked.next_deadline()].into_iter().flatten().min();
    }

    /// The place of the super-peer among the members of block `block`, each of `size`:
    /// whoever can bear most.
    fn elect(&self, view: &View<'_, P>, block: usize, size: usize) -> usize {
        let members = view.members();
        let all = block * size..((block + 1) * size).min(members.len());
        let best = all.max_by_key(|&at| (self.config.capacity_at(members[at].0), at));
        best.unwrap_or(block * size)
    }
}

impl<P: Peer> Core<P> for FastTrack<P> {
    type Message = Message<P>;
    type Command = Command<P>;
    type Event = Event<P>;
    type Config = Config;

    fn new(me: P, config: &Arc<Config>) -> Self {
        FastTrack {
            me,
            config: Arc::clone(config),
            state: State::Out,
            capacity: 1,
            orphaned: 0,
            tries: 0,
            now: Time::ZERO,
            tick: Time::ZERO,
            due: None,
            past: Past::new(),
            spares: Vec::new(),
            parent: None,
            office: None,
            shelf: Shelf::new(),
            asked: Rpcs::default(),
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
            Input::Unreachable(peer) => self.lost(now, peer, host),
        }
        self.settle();
    }

    fn handle_timeout(&mut self, now: Time, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if !self.clock(now, host) || self.due.is_none_or(|due| due > now) {
            return;
        }
        self.expire(now, host);
        self.continue_searches(now, host);
        if self.state != State::Out && self.tick <= now {
            self.on_tick(now, host);
        }
        self.settle();
    }

    fn next_timeout(&self) -> Option<Time> {
        self.due
    }

    /// Blocks of neighbours in the id space, each three quarters of what a super-peer
    /// bears, have the most capable of them as theirs.
    fn converge(&mut self, now: Time, view: &View<'_, P>, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.enter(now, host);
        self.state = State::Member;
        let members = view.members();
        let size = (self.config.room() * 3 / 4).max(1) + 1;
        let blocks = members.len().div_ceil(size);
        let place = view.successor(host.id(self.me));
        let mine = place / size;
        let elected = self.elect(view, mine, size);
        if elected == place {
            let seed = mix(self.config.seed) ^ members.first().map_or(0, |first| first.0.high());
            let mut office = Office::new(host.rng());
            for block in Graph::new(blocks, seed).neighbours(mine, |_| self.config.links.min(MAX_LINKS)) {
                office.add_link(members[self.elect(view, block, size)].1);
            }
            for &(id, peer) in members.iter().skip(mine * size).take(size).filter(|one| one.1 != self.me) {
                office.add_leaf(now, peer, self.config.capacity_at(id));
            }
            self.office = Some(Box::new(office));
        } else {
            self.parent = Some(Box::new(Parent::new(members[elected].1, &self.shelf)));
        }
        for _ in 0..3 {
            let block = host.rng().index(blocks);
            let spare = members[self.elect(view, block, size)].1;
            self.learn(spare, host);
        }
        self.settle();
    }

    fn is_member(&self) -> bool {
        self.state == State::Member
    }

    fn known(&self) -> Vec<P> {
        let all = self.spares.iter().copied().chain(self.parent()).chain(self.leaves()).chain(self.links());
        let mut known: Vec<P> = all.collect();
        known.sort_unstable();
        known.dedup();
        known
    }

    fn rows(&self, _host: &impl Host<P, Message<P>, Event<P>>) -> Vec<Row<P>> {
        let rows = [
            ("super-peer", self.parent().into_iter().collect()),
            ("leaves", self.leaves().collect()),
            ("links", self.links().collect()),
            ("spares", self.spares.clone()),
            ("known once", self.past.peers().to_vec()),
        ];
        let full = rows.into_iter().filter(|row: &(_, Vec<P>)| !row.1.is_empty());
        full.map(|(label, peers)| Row { label: label.into(), peers }).collect()
    }

    fn state_bytes(&self) -> usize {
        size_of::<Self>()
            + self.spares.capacity() * size_of::<P>()
            + self.past.heap_bytes()
            + self.parent.as_ref().map_or(0, |parent| parent.heap_bytes())
            + self.office.as_ref().map_or(0, |office| office.heap_bytes())
            + self.shelf.heap_bytes()
            + self.asked.heap_bytes()
            + self.searches.capacity() * size_of::<Search<P>>()
            + self.searches.iter().map(Search::heap_bytes).sum::<usize>()
    }
}

impl<P: Peer> Overlay<P> for FastTrack<P> {
    const NAME: &'static str = "fasttrack";

    fn counts(&self) -> Counts {
        let Counters { queries, duplicates, .. } = self.counters;
        let kept = self.office.as_ref().map_or(0, |office| office.index.len());
        Counts { kept: kept as u64, queries: queries.into(), duplicates: duplicates.into() }
    }
}
