//! Napster: clients ask a central index.
//!
//! The first file-sharing network (1999-2001) kept one index of who has what on its
//! operator's servers; clients exchanged the files themselves. There is no paper; the
//! model is the lecture's: memory O(1) at a client and O(N) at a server, one round trip
//! a look-up, full recall. What is modelled beyond it:
//!
//! - **Several servers**, at most [`MAX_SERVERS`], each with the whole index. A server
//!   numbers the changes of its own clients and tells them to the others at once; beats
//!   tell the newest number, so that what was lost is pulled, and who is too far behind
//!   copies (anti-entropy). So one may die, and its clients move to another.
//! - **Heirs**: each server names [`HEIRS`] of its clients, and clients are told all of
//!   them. If all servers die, they take their place ([`seek`](self)); the index grows
//!   anew as clients register. If the old ones come back (a partition heals), there are
//!   more than [`Config::servers`]: those that are too many become clients again, and
//!   their clients move to the others.
//! - **Presence**: a client gives a heartbeat with the number and a digest of its
//!   records; if the server disagrees, the client registers anew. A client that
//!   vanishes takes its entries along; those of a server that died stay as long as its
//!   clients may need to move.
//! - **Words and prefixes** in a ternary search tree ([`tree`](self)), as the original
//!   did.
//! - **Load** is counted ([`Napster::load`]), and a client that asks too much is refused.
//!
//! Who serves. [`Command::Join`] without a peer begins an index. Who joins through
//! another is what [`Config::role`] says: a client, a server, or (the default) a client
//! that becomes a server when asked; servers ask while they are fewer than
//! [`Config::servers`]. An operator who wants the index on his own machines gives them
//! the role of servers and a [`Config::token`], and everybody else that of clients; then
//! there are no heirs. In a simulator that starts from [`Core::converge`] the first members of the view serve.
//!
//! The rooms: `index` and `tree` are what a server knows, `server` its clients,
//! `replicate` the other servers, `copy` what they have; `maintain` a client's membership
//! and records, `seek` what it does without a server, `lookup` its operations.
//!
//! Deliberately absent: chat, hot lists and the transfer between clients; passwords and
//! any privacy: a server sees all that is offered and asked, and can suppress it. A
//! server believes what others with the token say of their clients.

mod check;
mod config;
mod copy;
mod index;
mod lookup;
mod maintain;
mod message;
mod replicate;
mod seek;
mod server;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;

use starling_sansio::Time;

pub use config::{Config, Role};
pub use index::{IndexLimits, NAME_BYTES};
pub use lookup::MAX_QUESTS;
pub use maintain::MAX_RECORDS;
pub use message::{
    Change, Cursor, Did, HEIRS, MAX_CHANGES, MAX_HEIRS, MAX_HITS, MAX_OFFERED, MAX_SERVERS, Message,
};
pub use replicate::MAX_LOG;
pub use server::Load;

use crate::{Command, Core, Counts, Event, Host, Input, Offence, Overlay, Peer, Row, Rpcs, View};
use lookup::Quest;
use maintain::{Client, Own};
use server::Server;

/// Open questions: one an operation, one of the session, one of a copy.
const MAX_RPCS: usize = MAX_QUESTS + 2;

/// What a node is now.
#[derive(Debug)]
enum Part<P> {
    /// Not there.
    Out,
    /// A client, perhaps one that still looks for a server.
    Client(Box<Client<P>>),
    /// A server, perhaps one that still copies the index.
    Server(Box<Server<P>>),
}

/// What a question is for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// The client's membership or records.
    Session,
    /// The operation of that number.
    Quest(u32),
    /// A copy of another server's part of the index.
    Copy,
}

/// A node.
#[derive(Debug)]
pub struct Napster<P> {
    me: P,
    config: Arc<Config>,
    now: Time,
    own: Vec<Own>,
    /// How often this node has registered.
    life: u32,
    part: Part<P>,
    rpcs: Rpcs<P, Asked, MAX_RPCS>,
    quests: Vec<Quest>,
    next_quest: u32,
    wake_at: Time,
}

impl<P: Peer> Core<P> for Napster<P> {
    type Message = Message<P>;
    type Command = Command<P>;
    type Event = Event<P>;
    type Config = Config;

    fn new(me: P, config: &Arc<Config>) -> Self {
        Napster {
            me,
            config: Arc::clone(config),
            now: Time::ZERO,
            own: Vec::new(),
            life: 0,
            part: Part::Out,
            rpcs: Rpcs::default(),
            quests: Vec::new(),
            next_quest: 0,
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
            Input::Unreachable(peer) => self.unreachable(peer, host),
        }
        self.settle(host);
    }

    fn handle_timeout(&mut self, now: Time, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if !self.advance(now, host) {
            return;
        }
        while let Some((peer, asked)) = self.rpcs.expire(now) {
            self.unanswered(peer, asked, host);
        }
        self.expire_quests(host);
        match &self.part {
            Part::Out => {}
            Part::Client(_) => self.client_step(host),
            Part::Server(_) => self.server_round(host),
        }
        self.settle(host);
    }

    fn next_timeout(&self) -> Option<Time> {
        (self.wake_at != Time::NEVER).then_some(self.wake_at)
    }

    /// A server's tables have as many entries as it has clients, so here, other than in
    /// the distributed overlays, a few members take O(N).
    fn converge(&mut self, now: Time, view: &View<'_, P>, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.now = now;
        let wanted = (self.config.servers.max(1) as usize).min(MAX_SERVERS).min(view.len());
        let servers: Vec<P> = view.members()[..wanted].iter().map(|member| member.1).collect();
        if servers.contains(&self.me) {
            self.converge_server(view, &servers, host);
        } else {
            self.converge_client(view, &servers, host);
        }
        self.settle(host);
    }

    fn is_member(&self) -> bool {
        match &self.part {
            Part::Out => false,
            Part::Client(client) => client.joined,
            Part::Server(server) => server.ready,
        }
    }

    fn known(&self) -> Vec<P> {
        let mut known: Vec<P> = match &self.part {
            Part::Out => Vec::new(),
            Part::Client(client) => client.known(),
            Part::Server(server) => server.others().chain(server.clients.keys().copied()).collect(),
        };
        known.sort_unstable();
        known.dedup();
        known
    }

    fn rows(&self, _host: &impl Host<P, Message<P>, Event<P>>) -> Vec<Row<P>> {
        let row = |label: &str, peers: Vec<P>| Row { label: label.into(), peers };
        let rows = match &self.part {
            Part::Out => vec![],
            Part::Client(client) => {
                let own: Vec<P> = client.server().into_iter().collect();
                let spare = client.servers.iter().copied().filter(|server| !own.contains(server)).collect();
                let heirs = client.refuge.heirs().to_vec();
                vec![row("server", own), row("spare servers", spare), row("heirs", heirs)]
            }
            Part::Server(server) => vec![
                row("other servers", server.others().collect()),
                row("clients", server.clients.keys().copied().collect()),
            ],
        };
        rows.into_iter().filter(|row| !row.peers.is_empty()).collect()
    }

    fn state_bytes(&self) -> usize {
        let part = match &self.part {
            Part::Out => 0,
            Part::Client(client) => client.bytes(),
            Part::Server(server) => server.bytes(),
        };
        size_of::<Self>()
            + part
            + self.rpcs.heap_bytes()
            + self.own.capacity() * size_of::<Own>()
            + self.own.iter().map(Own::heap_bytes).sum::<usize>()
            + self.quests.capacity() * size_of::<Quest>()
    }
}

impl<P: Peer> Overlay<P> for Napster<P> {
    const NAME: &'static str = "napster";

    fn counts(&self) -> Counts {
        Counts { kept: self.records() as u64, ..Counts::default() }
    }
}

impl<P: Peer> Napster<P> {
    /// What this server has done for its clients; `None` at a client.
    pub fn load(&self) -> Option<Load> {
        match &self.part {
            Part::Server(server) => Some(server.load),
            _ => None,
        }
    }

    /// Whether this node is a server.
    pub fn is_server(&self) -> bool {
        matches!(&self.part, Part::Server(server) if server.ready)
    }

    /// The server of this client.
    pub fn server(&self) -> Option<P> {
        match &self.part {
            Part::Client(client) => client.server(),
            _ => None,
        }
    }

    /// Records in this server's index; 0 at a client.
    pub fn records(&self) -> usize {
        match &self.part {
            Part::Server(server) => server.index.len(),
            _ => 0,
        }
    }

    /// Takes the time; false if it went back.
    fn advance(&mut self, now: Time, host: &mut impl Host<P, Message<P>, Event<P>>) -> bool {
        if now < self.now {
            host.refuse(None, Offence::TimeWentBack);
            return false;
        }
        self.now = now;
        true
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
            Command::Find(op, _) => lookup::refuse(op, host),
        }
    }

    fn message(&mut self, from: P, message: Message<P>, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if let Some(rpc) = message.answers() {
            return match self.rpcs.close(rpc, from) {
                None => host.refuse(Some(from), Offence::UnknownReply),
                Some(Asked::Session) => self.session_answer(from, message, host),
                Some(Asked::Quest(number)) => self.quest_answer(from, message, number, host),
                Some(Asked::Copy) => self.copied(from, message, host),
            };
        }
        match &self.part {
            // Those who do not know yet that this node left.
            Part::Out => {}
            Part::Client(_) => self.client_message(from, message, host),
            Part::Server(_) => self.server_message(from, message, host),
        }
    }

    fn unanswered(&mut self, peer: P, asked: Asked, host: &mut impl Host<P, Message<P>, Event<P>>) {
        match asked {
            Asked::Session => self.session_unanswered(peer, host),
            Asked::Quest(number) => self.quest_unanswered(peer, number, host),
            Asked::Copy => self.not_copied(peer, host),
        }
    }

    fn unreachable(&mut self, peer: P, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.server_unreachable(peer, host);
        for _ in 0..self.rpcs.len() {
            let Some(asked) = self.rpcs.abandon(peer) else { break };
            self.unanswered(peer, asked, host);
        }
    }

    /// Tells other servers what changed, and when to wake up.
    fn settle(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.flush(host);
        let asked = self.rpcs.next_deadline().unwrap_or(Time::NEVER);
        let quests = self.quests.iter().map(|quest| quest.until).min().unwrap_or(Time::NEVER);
        let part = match &self.part {
            Part::Out => Time::NEVER,
            Part::Client(client) => client.due(),
            Part::Server(server) => server.due(),
        };
        self.wake_at = asked.min(quests).min(part);
    }
}
