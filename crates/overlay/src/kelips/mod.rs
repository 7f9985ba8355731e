//! Kelips: look-ups in one hop, paid for with memory and constant gossip.
//!
//! After Gupta, Birman, Linga, Demers and van Renesse, "Kelips: Building an Efficient
//! and Stable P2P DHT through Increased Memory and Background Overhead" (IPTPS 2003).
//! Section 2: about sqrt(N) *affinity groups*, to which consistent hashing maps nodes
//! and keys; a node knows the members of its own group, a few *contacts* in every other
//! group, and the *file tuples* of its group (which home node has which record), each
//! with a heartbeat. Section 2.1: gossip, within the group and to contacts, of a fixed
//! number of entries a round, targets weighted by distance, new entries preferred;
//! entries whose heartbeats stay away time out. A joining node copies the view of its
//! boot peer. Section 2.2: a look-up asks the nearest contact in the key's group; if
//! that fails, other contacts, then the contacts of a group mate. The rooms:
//!
//! - `table`: members, contacts; `clock`: their heartbeats; `tuples`: the file tuples;
//! - `maintain`: join, time-outs; `leave`: a farewell; `gossip`: what is told each round;
//! - `lookup`: questions with several tries; `publish`: a home node's own records;
//! - `routing`: the common API's answers for a group as replica set.
//!
//! Where this differs from the paper. The home node is whoever publishes a record and
//! keeps its content; the paper moves the file to a member of the key's group. An
//! entry's heartbeat travels as an age ([`table`](self) says why), a tuple's as an age
//! and a count. Search by words, which the paper lacks, keeps a tuple under the hash of
//! each word; the holder filters by the other words, so a search needs one whole word
//! (a prefix alone is refused). While a group is empty, the next one clockwise serves
//! it, so that networks smaller than their number of groups work. A leaving node says so,
//! and some who timed out are gossiped to now and then, so that two halves of a network
//! find each other again; the paper has neither.
//!
//! Memory, counted as the paper does ([`Kelips::paper_bytes`]): 40 B a membership entry
//! and 60 B a tuple, the sizes with which n/k + c(k - 1) entries and F/k tuples are its
//! 1.93 MB at n = 10^5, k = 317, c = 2, F = 10^7. Our own bytes ([`Core::state_bytes`])
//! with four-byte names: 5 an entry, and 117 and the name a tuple, since a record here
//! has a key of 20 B, a size and a name; 5.2 MB at the same place with names of 32
//! characters. Without files a node takes 1.9 KB at 10^4 nodes and 15.4 KB at 10^6.
//!
//! Deliberately absent: signatures. Whoever gossips can name peers and tuples that do
//! not exist, and keep them alive by repeating them. He can hide a tuple from those whom
//! he told that it is withdrawn, until its home node has heard of that: members let it
//! know, and it outdoes the lie by a larger heartbeat count. Of a record that nobody
//! knows yet he can spread a count that its home node does not believe: that goes only
//! where the home node speaks itself, or with the time-out. Of a record that is known,
//! a member believes no count that the home node cannot outdo, unless thousands of
//! datagrams lead it there step by step. What a liar cannot do is grow a table past its
//! bound, answer for a node that was asked, or keep a home node from counting on. Also
//! absent: transfer of files.

mod check;
mod clock;
mod config;
mod gossip;
mod leave;
mod lookup;
mod maintain;
mod message;
mod publish;
mod quest;
mod routing;
mod table;
#[cfg(test)]
mod tests;
mod tuples;

use std::sync::Arc;

use starling_sansio::Time;

pub use config::Config;
pub use message::{
    Announcement, MAX_ENTRIES, MAX_HITS, MAX_PART, MAX_REFERRED, MAX_TUPLES, Message, Place, Seen, Tuple,
};
pub use publish::MAX_RECORDS;
pub use table::{MAX_CONTACTS, MAX_GROUPS, MAX_MEMBERS, MAX_SUSPECTS, group_of};
pub use tuples::MAX_OF_HOME;

use crate::{Command, Core, Counts, Event, Host, Id, Input, Offence, Overlay, Peer, Row, View, prefetch};
use gossip::News;
use leave::Leaving;
use lookup::Busy;
use maintain::Joining;
use publish::Own;
use table::Table;
use tuples::Tuples;

/// Bytes of a membership entry in the paper's accounting.
pub const PAPER_ENTRY_BYTES: usize = 40;
/// Bytes of a file tuple in the paper's accounting.
pub const PAPER_TUPLE_BYTES: usize = 60;

/// A node.
#[derive(Debug)]
pub struct Kelips<P> {
    me: P,
    config: Arc<Config>,
    now: Time,
    table: Table<P>,
    tuples: Tuples<P>,
    news: News<P>,
    own: Vec<Own>,
    busy: Option<Box<Busy<P>>>,
    joining: Option<Box<Joining<P>>>,
    leaving: Option<Box<Leaving<P>>>,
    member: bool,
    /// Whether the group's tuples have been copied, so that a tuple that is not here
    /// does not exist.
    complete: bool,
    gossip_at: Time,
    sweep_at: Time,
    refresh_at: Time,
    wake_at: Time,
}

impl<P: Peer> Core<P> for Kelips<P> {
    type Message = Message<P>;
    type Command = Command<P>;
    type Event = Event<P>;
    type Config = Config;

    fn new(me: P, config: &Arc<Config>) -> Self {
        Kelips {
            me,
            config: Arc::clone(config),
            now: Time::ZERO,
            table: Table::new(me, config),
            tuples: Tuples::default(),
            news: News::default(),
            own: Vec::new(),
            busy: None,
            joining: None,
            leaving: None,
            member: false,
            complete: false,
            gossip_at: Time::NEVER,
            sweep_at: Time::NEVER,
            refresh_at: Time::NEVER,
            wake_at: Time::NEVER,
        }
    }

    fn handle(
        &mut self,
        now: Time,
        input: Input<P, Message<P>, Command<P>>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        if !self.advance(now, host) {
            return;
        }
        match input {
            Input::Message { from, .. } if from == self.me => host.refuse(Some(from), Offence::NamesItself),
            Input::Message { from, message } => self.message(from, message, host),
            Input::Command(command) => self.command(command, host),
            Input::Unreachable(peer) => {
                self.lose(peer, host);
                self.abandon(peer, host);
            }
        }
        self.set_alarm();
    }

    fn handle_timeout(&mut self, now: Time, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if !self.advance(now, host) {
            return;
        }
        self.expire(host);
        if self.leaving.as_ref().is_some_and(|leaving| leaving.next <= now) {
            self.say_farewell(host);
        }
        if self.member && now >= self.gossip_at {
            self.gossip_round(host);
        }
        if self.member && now >= self.sweep_at {
            self.sweep(host);
        }
        if now >= self.refresh_at {
            self.refresh(host);
        }
        self.set_alarm();
    }

    fn next_timeout(&self) -> Option<Time> {
        (self.wake_at != Time::NEVER).then_some(self.wake_at)
    }

    fn converge(&mut self, now: Time, view: &View<'_, P>, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.now = now;
        self.converge_tables(view, host);
        self.enter(host);
        self.complete = true;
        self.set_alarm();
    }

    fn is_member(&self) -> bool {
        self.member
    }

    fn known(&self) -> Vec<P> {
        let contacts = (0..self.table.groups()).flat_map(|group| self.table.contacts(group));
        let mut known: Vec<P> = self.table.members().iter().copied().chain(contacts).collect();
        known.sort_unstable();
        known.dedup();
        known
    }

    fn rows(&self, _host: &impl Host<P, Message<P>, Event<P>>) -> Vec<Row<P>> {
        let own =
            Row { label: format!("group {} (own)", self.table.group), peers: self.table.members().into() };
        let foreign = (0..self.table.groups()).map(|group| Row {
            label: format!("group {group}"),
            peers: self.table.contacts(group).collect(),
        });
        [own].into_iter().chain(foreign).filter(|row| !row.peers.is_empty()).collect()
    }

    fn warm(&self, message: Option<(P, &Message<P>)>, steps: u32, _id: impl Fn(P) -> Id) {
        match (steps, message) {
            (1, Some((_, Message::Gossip { entries, tuples, .. }))) => {
                prefetch(&entries[..]);
                prefetch(&tuples[..]);
                self.table.warm();
            }
            // What a record is kept under is a function of its key.
            (2, Some((_, Message::Gossip { tuples, .. }))) => {
                tuples.iter().for_each(|tuple| prefetch(&*tuple.record));
            }
            (1, None) => self.table.warm(),
            _ => {}
        }
    }

    fn state_bytes(&self) -> usize {
        size_of::<Self>()
            + self.table.heap_bytes()
            + self.tuples.heap_bytes()
            + self.news.heap_bytes()
            + self.own.iter().map(Own::heap_bytes).sum::<usize>()
            + self.own.capacity() * size_of::<Own>()
            + self.busy.as_ref().map_or(0, |busy| busy.heap_bytes())
            + self.joining.as_ref().map_or(0, |_| size_of::<Joining<P>>())
            + self.leaving.as_ref().map_or(0, |leaving| leaving.heap_bytes())
    }
}

impl<P: Peer> Overlay<P> for Kelips<P> {
    const NAME: &'static str = "kelips";

    fn counts(&self) -> Counts {
        Counts { kept: self.tuples.len() as u64, ..Counts::default() }
    }
}

impl<P: Peer> Kelips<P> {
    /// What the paper's accounting says that this node's state takes, in bytes.
    pub fn paper_bytes(&self) -> usize {
        let contacts: usize = (0..self.table.groups()).map(|group| self.table.contacts(group).count()).sum();
        (self.table.members().len() + contacts) * PAPER_ENTRY_BYTES + self.tuples.len() * PAPER_TUPLE_BYTES
    }

    /// File tuples that this node keeps for its group.
    pub fn tuples(&self) -> usize {
        self.tuples.len()
    }

    /// Takes the time; false if it went back.
    fn advance(&mut self, now: Time, host: &mut impl Host<P, Message<P>, Event<P>>) -> bool {
        if now < self.now {
            host.refuse(None, Offence::TimeWentBack);
            return false;
        }
        self.table.wake(self.now, now);
        self.now = now;
        true
    }

    fn message(&mut self, from: P, message: Message<P>, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if self.leaving.is_some() {
            return self.farewell_heard(from, &message, host);
        }
        if message.answers().is_some() {
            return self.answer(from, message, host);
        }
        if !self.member || matches!(message, Message::Gone {}) {
            // They may not know yet that this node left, or has not joined.
            return host.refuse(Some(from), Offence::Misdirected);
        }
        let leaves = match &message {
            Message::Leave {} => true,
            // It may be said by one who leaves.
            Message::Announce { what, .. } => !what.live,
            _ => false,
        };
        if !leaves {
            self.hear(from, host);
        }
        match message {
            Message::Gossip { entries, tuples, pull } => {
                self.gossip(from, &entries, tuples.into_vec(), pull, host);
            }
            Message::CopyView { rpc, part } => self.copy_view(from, rpc, part, host),
            Message::CopyTuples { rpc, after } => self.copy_tuples(from, rpc, after, host),
            Message::Leave {} => self.left(from, host),
            Message::Announce { rpc, what } => self.announced(from, rpc, *what, host),
            question => self.question(from, question, host),
        }
    }

    fn command(&mut self, command: Command<P>, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Some(command) = command.sayable(host) else { return };
        match command {
            Command::Join(boot) => self.join(boot, host),
            Command::Leave => self.leave(host),
            Command::Publish(record) => self.publish(record, host),
            Command::Withdraw(key) => self.withdraw(key, host),
            Command::LookUp(op, key) => self.look_up(op, key, host),
            Command::Search(op, query) => self.search(op, query, host),
            Command::Find(op, key) => self.find(op, key, host),
        }
    }

    fn set_alarm(&mut self) {
        let asked = self.busy.as_ref().and_then(|busy| busy.next_deadline()).unwrap_or(Time::NEVER);
        let leaving = self.leaving.as_ref().map_or(Time::NEVER, |leaving| leaving.next);
        self.wake_at = asked.min(self.gossip_at).min(self.sweep_at).min(self.refresh_at).min(leaving);
    }
}
