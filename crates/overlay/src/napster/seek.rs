//! A client without a server: whom it asks for one, when it becomes one itself, and when
//! it is a client again.
//!
//! A client knows, besides the servers, those that served before, the peer through which
//! it joined, and the *heirs*: some clients that the servers agree on. When all servers
//! are silent, it asks heirs and the others in turn, in rounds with ever longer rests.
//! An heir that finds nobody becomes a server, the first after one round, the second
//! after two; and tells all of them. So the servers may all die at once, if an heir lives.

use std::time::Duration;

use starling_sansio::Time;

use super::maintain::{Client, Own, Phase};
use super::message::{MAX_HEIRS, MAX_SERVERS, Message};
use super::replicate::{Departed, Link};
use super::server::Server;
use super::{Napster, Part, Role};
use crate::{Event, Host, Peer};

/// Rounds after which the rests are twice as long.
const PATIENT_ROUNDS: u8 = 4;
/// Rests are at most 2 to this power times as long.
const MAX_DOUBLINGS: u8 = 3;

/// Whom a client can turn to when the servers that it knows are silent.
#[derive(Debug)]
pub(super) struct Refuge<P> {
    /// The boot peer and former servers, the oldest first; at most [`MAX_SERVERS`].
    past: Vec<P>,
    /// Who would serve, in the order of names, perhaps this node too; at most
    /// [`MAX_HEIRS`].
    heirs: Vec<P>,
    /// Servers that did not answer since this client last had one; at most
    /// [`MAX_SERVERS`].
    silent: Vec<P>,
    /// Whose turn it is.
    turn: u8,
    /// Questions since the last rest.
    asked: u8,
    /// Rests since this client last had a server.
    rounds: u8,
}

impl<P: Peer> Refuge<P> {
    /// One of former servers and heirs.
    pub(super) fn new(past: &[P], heirs: impl IntoIterator<Item = P>) -> Self {
        let heirs = heirs.into_iter().take(MAX_HEIRS).collect();
        Refuge { past: past.to_vec(), heirs, silent: Vec::new(), turn: 0, asked: 0, rounds: 0 }
    }

    /// This client has a server, which named those heirs.
    pub(super) fn served_by(&mut self, server: P, heirs: &[P]) {
        self.remember(server);
        self.heirs.clear();
        self.heirs.extend_from_slice(heirs);
        self.heirs.sort_unstable();
        self.silent = Vec::new();
        (self.turn, self.asked, self.rounds) = (0, 0, 0);
    }

    fn remember(&mut self, peer: P) {
        if self.past.last() == Some(&peer) {
            return;
        }
        self.past.retain(|&other| other != peer);
        if self.past.len() >= MAX_SERVERS {
            self.past.remove(0);
        }
        self.past.push(peer);
    }

    /// A server did not answer, again and again: it is no news if others name it.
    fn fell_silent(&mut self, server: P) {
        self.remember(server);
        if !self.silent.contains(&server) && self.silent.len() < MAX_SERVERS {
            self.silent.push(server);
        }
    }

    /// Somebody answered.
    pub(super) fn spoke(&mut self, peer: P) {
        self.silent.retain(|&other| other != peer);
    }

    /// Who would serve.
    pub(super) fn heirs(&self) -> &[P] {
        &self.heirs
    }

    /// Everybody but this node.
    fn all(&self, me: P) -> impl Iterator<Item = P> + Clone {
        self.heirs.iter().chain(self.past.iter().rev()).copied().filter(move |&peer| peer != me)
    }

    /// Whom to ask now.
    pub(super) fn take_turn(&mut self, me: P) -> Option<P> {
        let count = self.all(me).count();
        let at = usize::from(self.turn) % count.max(1);
        self.turn = ((at + 1) % count.max(1)) as u8;
        self.all(me).nth(at)
    }

    /// Whether it is time for a rest: everybody was asked, and at least `tries` times
    /// somebody.
    fn is_round_over(&mut self, me: P, tries: u8) -> bool {
        self.asked = self.asked.saturating_add(1);
        let over = usize::from(self.asked) >= self.all(me).count().max(usize::from(tries));
        if over {
            self.asked = 0;
            self.rounds = self.rounds.saturating_add(1);
        }
        over
    }

    /// How many times `retry_interval` to rest.
    fn rest(&self) -> u32 {
        1 << (self.rounds / PATIENT_ROUNDS).min(MAX_DOUBLINGS)
    }

    /// Whether this node is an heir, and those before it had their time.
    fn is_turn_of(&self, me: P) -> bool {
        self.heirs.iter().position(|&heir| heir == me).is_some_and(|rank| usize::from(self.rounds) > rank)
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.past.capacity() + self.heirs.capacity() + self.silent.capacity()) * size_of::<P>()
    }
}

impl<P: Peer> Client<P> {
    pub(super) fn heard_of(&mut self, servers: &[P], me: P) {
        self.servers.clear();
        self.servers.extend(servers.iter().filter(|&&server| server != me));
        self.servers.dedup();
    }
}

impl<P: Peer> Napster<P> {
    /// Somebody said which servers there are; those that are silent are none.
    pub(super) fn told_of(&mut self, servers: &[P], host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Part::Client(client) = &mut self.part else { return };
        client.heard_of(servers, self.me);
        client.servers.retain(|server| !client.refuge.silent.contains(server));
        if client.servers.is_empty() {
            return self.look_further(host);
        }
        self.choose_server(None, Duration::ZERO, host);
    }

    /// Whoever was asked for servers knew none: asks the next one, now or after a rest,
    /// or, being an heir, becomes a server.
    pub(super) fn look_further(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let (me, config) = (self.me, &self.config);
        let Part::Client(client) = &mut self.part else { return };
        client.next = self.now;
        if client.refuge.is_round_over(me, config.tries.max(1)) {
            client.next = self.now + config.retry_interval * client.refuge.rest();
            if config.role == Role::Willing && client.joined && client.refuge.is_turn_of(me) {
                let mut lost: Vec<P> = client.refuge.all(me).collect();
                lost.truncate(MAX_SERVERS);
                return self.become_server(&[], &lost, host);
            }
        }
        self.client_step(host);
    }

    /// Somebody says that it is a server: good news for who has none.
    pub(super) fn hear_of_server(
        &mut self,
        from: P,
        token: u64,
        servers: &[P],
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let Part::Client(client) = &mut self.part else { return };
        if client.phase != Phase::Seeking || token != self.config.token {
            return;
        }
        client.refuge.spoke(from);
        self.told_of(&[&[from], servers].concat(), host);
    }

    /// The server lives.
    pub(super) fn server_lives(&mut self) {
        if let Part::Client(client) = &mut self.part {
            client.failures = 0;
        }
    }

    /// A question was not answered; after several, the server is gone.
    pub(super) fn server_silent(&mut self, peer: P, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let tries = self.config.tries.max(1);
        let Part::Client(client) = &mut self.part else { return };
        client.failures = client.failures.saturating_add(1);
        let ours = matches!(client.phase, Phase::Registering(one) | Phase::Registered(one) if one == peer);
        if ours && client.failures >= tries {
            client.refuge.fell_silent(peer);
            self.choose_server(Some(peer), Duration::ZERO, host);
        }
    }

    /// The driver knows that a peer cannot be reached.
    pub(super) fn server_unreachable(&mut self, peer: P, host: &mut impl Host<P, Message<P>, Event<P>>) {
        match &mut self.part {
            Part::Client(client) if client.server() == Some(peer) => {
                client.refuge.fell_silent(peer);
                self.choose_server(Some(peer), Duration::ZERO, host);
            }
            Part::Server(_) => self.server_gone(peer, true, host),
            _ => {}
        }
    }

    /// Takes a server by chance, not `gone`; if there is none, looks for one after `rest`.
    pub(super) fn choose_server(
        &mut self,
        gone: Option<P>,
        rest: Duration,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let role = self.config.role;
        let Part::Client(client) = &mut self.part else { return };
        client.servers.retain(|&server| Some(server) != gone);
        client.failures = 0;
        client.asking = false;
        client.next = self.now;
        let servers = client.servers.clone();
        let first = !client.joined;
        match servers.get(host.rng().index(servers.len())) {
            Some(&server) => client.phase = Phase::Registering(server),
            None => {
                client.phase = Phase::Seeking;
                client.next = self.now + rest;
            }
        }
        self.ask_again_later();
        self.unsettle();
        if first && role == Role::Server && !servers.is_empty() {
            return self.become_server(&servers, &[], host);
        }
        self.client_step(host);
    }

    /// Becomes a server beside `servers`, once their index is copied; `lost` may be, or
    /// become, servers too.
    pub(super) fn become_server(
        &mut self,
        servers: &[P],
        lost: &[P],
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let joined = matches!(&self.part, Part::Client(client) if client.joined);
        self.ask_again_later();
        self.unsettle();
        let mut server = Server::new(self.now, &self.config, servers, joined, host.rng().next_u32());
        server.departed =
            lost.iter().map(|&peer| Departed { peer, purge_at: None, may_return: true }).collect();
        self.part = Part::Server(Box::new(server));
        self.copy_next(host);
    }

    /// There are more servers than wanted, as when a partition heals on whose sides heirs
    /// took over: those with the last names become clients again, one after another. Each
    /// waits the longer the more come before it, and anew whenever servers come or go, so
    /// that no two go for the same surplus. An operator's own servers stay.
    pub(super) fn step_down_if_surplus(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let (me, now, config) = (self.me, self.now, &self.config);
        let Part::Server(server) = &mut self.part else { return };
        let wanted = (config.servers as usize).clamp(1, MAX_SERVERS);
        let settled = server.copying.is_none() && server.links.iter().all(Link::is_copied);
        if config.role != Role::Willing || server.links.len() < wanted || !settled {
            server.step_down_at = Time::NEVER;
        } else if server.step_down_at == Time::NEVER {
            let before = server.others().filter(|&other| other > me).count() as u32;
            server.step_down_at = now + config.server_timeout * (2 * before + 1);
        } else if server.step_down_at <= now {
            self.step_down(host);
        }
    }

    /// Becomes a client of another server; so do this server's clients.
    fn step_down(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.flush(host);
        self.retire(host);
        let Part::Server(server) = &self.part else { return };
        let others: Vec<P> = server.others().collect();
        let heirs = server.all_heirs().into_vec();
        self.become_client(&others, heirs, host);
    }

    /// A server becomes a client of one of `servers`; its own records go along.
    pub(super) fn become_client(
        &mut self,
        servers: &[P],
        heirs: Vec<P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        self.rpcs = Default::default();
        self.own.retain(Own::wanted);
        self.part = Part::Client(Box::new(Client {
            phase: Phase::Seeking,
            servers: servers.to_vec(),
            refuge: Refuge::new(servers, heirs),
            joined: true,
            asking: false,
            failures: 0,
            next: self.now,
        }));
        self.choose_server(None, Duration::ZERO, host);
    }
}
