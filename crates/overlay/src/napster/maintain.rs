//! A client: how it finds a server, stays registered, and keeps its records there.
//!
//! One question of the session is open at a time, so nothing can overtake anything.

use std::time::Duration;

use starling_sansio::Time;

use super::index::digest;
use super::message::{MAX_OFFERED, Message};
use super::seek::Refuge;
use super::{Asked, Napster, Part, Role};
use crate::wire::List;
use crate::{Event, Host, Id, Offence, Peer, Record, View};

/// Most records that a node publishes.
pub const MAX_RECORDS: usize = 4096;
/// A server that refuses is left alone for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// How a record of this node stands with the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    ToOffer,
    Offering,
    Held,
    /// The server has no room; the next one may.
    Refused,
    ToWithdraw,
    Withdrawing,
}

/// A record of this node.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) record: Record,
    standing: Standing,
}

impl Own {
    pub(super) fn heap_bytes(&self) -> usize {
        self.record.name.len() + 16
    }

    /// Whether the user still wants it there.
    pub(super) fn wanted(&self) -> bool {
        !matches!(self.standing, Standing::ToWithdraw | Standing::Withdrawing)
    }
}

/// How far a client is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase<P> {
    /// It asks who serves.
    Seeking,
    /// It wants that server.
    Registering(P),
    /// It has that server.
    Registered(P),
}

/// What a client knows.
#[derive(Debug)]
pub(super) struct Client<P> {
    pub(super) phase: Phase<P>,
    /// Servers that there are, as the last one said.
    pub(super) servers: Vec<P>,
    /// Whom to turn to if there is none.
    pub(super) refuge: Refuge<P>,
    pub(super) joined: bool,
    pub(super) asking: bool,
    /// Questions without an answer, one after another.
    pub(super) failures: u8,
    /// When the next heartbeat, or the next try, is due.
    pub(super) next: Time,
}

impl<P: Peer> Client<P> {
    pub(super) fn server(&self) -> Option<P> {
        match self.phase {
            Phase::Registered(server) => Some(server),
            _ => None,
        }
    }

    /// The servers that it knows.
    pub(super) fn known(&self) -> Vec<P> {
        self.servers.iter().copied().chain(self.server()).collect()
    }

    pub(super) fn due(&self) -> Time {
        if self.asking { Time::NEVER } else { self.next }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.servers.capacity() * size_of::<P>() + self.refuge.heap_bytes()
    }
}

impl<P: Peer> Napster<P> {
    pub(super) fn join(&mut self, boot: Option<P>, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if !matches!(self.part, Part::Out) {
            return;
        }
        match boot.filter(|&boot| boot != self.me) {
            None => self.become_server(&[], &[], host),
            Some(boot) => {
                self.part = Part::Client(Box::new(Client {
                    phase: Phase::Seeking,
                    servers: Vec::new(),
                    refuge: Refuge::new(&[boot], []),
                    joined: false,
                    asking: false,
                    failures: 0,
                    next: self.now,
                }));
                self.client_step(host);
            }
        }
    }

    pub(super) fn leave(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        match &self.part {
            Part::Out => return,
            Part::Client(client) => {
                if let Some(server) = client.server() {
                    host.send(server, Message::Bye {});
                }
            }
            Part::Server(_) => self.retire(host),
        }
        self.end_all(host);
        self.own.retain(Own::wanted);
        self.rpcs = Default::default();
        self.part = Part::Out;
        host.emit(Event::Left);
    }

    /// A client with perfect tables: registered, and a heartbeat at a time by chance; if no
    /// server has room, one that looks for a server at such a time.
    pub(super) fn converge_client(
        &mut self,
        view: &View<'_, P>,
        servers: &[P],
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let place = view.successor(host.id(self.me));
        let server = self.converged_home(view, servers.len(), place).map(|at| servers[at]);
        let phase = host.rng().below(self.config.heartbeat_interval.as_micros() as u64);
        self.life = u32::from(server.is_some());
        self.part = Part::Client(Box::new(Client {
            phase: server.map_or(Phase::Seeking, Phase::Registered),
            servers: servers.to_vec(),
            refuge: Refuge::new(servers, self.converged_heirs(view, servers.len())),
            joined: server.is_some(),
            asking: false,
            failures: 0,
            next: self.now + Duration::from_micros(phase),
        }));
    }

    pub(super) fn publish(&mut self, record: Record, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.own.retain(|own| own.record.key != record.key);
        if self.own.len() >= MAX_RECORDS {
            return host.refuse(None, Offence::Full);
        }
        self.own.push(Own { record, standing: Standing::ToOffer });
        self.records_changed(host);
    }

    pub(super) fn withdraw(&mut self, key: Id, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if let Some(own) = self.own.iter_mut().find(|own| own.record.key == key) {
            own.standing = Standing::ToWithdraw;
            self.records_changed(host);
        }
    }

    fn records_changed(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        match &self.part {
            // Nobody was told of it.
            Part::Out => self.own.retain(Own::wanted),
            Part::Client(_) => self.client_step(host),
            Part::Server(_) => self.offer_own(host),
        }
    }

    /// Asks the next question of the session, if one is to be asked and none is open.
    pub(super) fn client_step(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let (me, news) = (self.me, self.has_news());
        let Part::Client(client) = &mut self.part else { return };
        if client.asking || (self.now < client.next && !news) {
            return;
        }
        let to = match client.phase {
            Phase::Seeking => client.refuge.take_turn(me),
            Phase::Registering(server) | Phase::Registered(server) => Some(server),
        };
        let phase = client.phase;
        let Some(to) = to else {
            client.next = Time::NEVER;
            return;
        };
        let deadline = self.now + self.config.rpc_timeout;
        let Some(rpc) = self.rpcs.open(to, deadline, Asked::Session, host.rng()) else { return };
        let message = match phase {
            Phase::Seeking => Message::Hello { rpc },
            Phase::Registering(_) => Message::Register { rpc, life: self.life.saturating_add(1) },
            Phase::Registered(_) => {
                let offered = self.take(Standing::ToOffer, Standing::Offering);
                if !offered.is_empty() {
                    Message::Offer { rpc, records: offered }
                } else {
                    let withdrawn = self.take(Standing::ToWithdraw, Standing::Withdrawing);
                    if withdrawn.is_empty() {
                        let held = self.own.iter().filter(|own| own.standing == Standing::Held);
                        let (count, digest) = digest(held.map(|own| &own.record));
                        Message::Alive { rpc, count, digest }
                    } else {
                        Message::Withdraw { rpc, keys: withdrawn.iter().map(|record| record.key).collect() }
                    }
                }
            }
        };
        if let Part::Client(client) = &mut self.part {
            client.asking = true;
        }
        host.send(to, message);
    }

    /// Whether a registered client has something to tell before its next heartbeat.
    fn has_news(&self) -> bool {
        let Part::Client(client) = &self.part else { return false };
        let news = |own: &Own| matches!(own.standing, Standing::ToOffer | Standing::ToWithdraw);
        client.failures == 0 && client.server().is_some() && self.own.iter().any(news)
    }

    /// Up to a message's worth of the records that stand so, which then stand otherwise.
    fn take(&mut self, from: Standing, to: Standing) -> List<Record, MAX_OFFERED> {
        let some = self.own.iter().filter(|own| own.standing == from);
        let taken = List::fitting(some.map(|own| own.record.clone()));
        let some = self.own.iter_mut().filter(|own| own.standing == from);
        some.take(taken.len()).for_each(|own| own.standing = to);
        taken
    }

    fn change(&mut self, from: Standing, to: Standing) {
        let some = self.own.iter_mut().filter(|own| own.standing == from);
        some.for_each(|own| own.standing = to);
    }

    /// An answer to the session's question.
    pub(super) fn session_answer(
        &mut self,
        from: P,
        message: Message<P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let (me, now) = (self.me, self.now);
        let Part::Client(client) = &mut self.part else { return };
        client.asking = false;
        client.failures = 0;
        client.next = now;
        client.refuge.spoke(from);
        let phase = client.phase;
        match (message, phase) {
            (Message::Servers { servers, .. }, Phase::Seeking) => return self.told_of(&servers, host),
            (Message::Registered { life, servers, heirs, .. }, Phase::Registering(server)) => {
                client.heard_of(&servers, me);
                client.refuge.served_by(server, &heirs);
                client.phase = Phase::Registered(server);
                let first = !std::mem::replace(&mut client.joined, true);
                self.registered(life, first, host);
            }
            (Message::Offered { refused, .. }, Phase::Registered(_)) => {
                // One that changed meanwhile was not offered as it is, or is not wanted.
                let offered = self.own.iter_mut().filter(|own| own.standing == Standing::Offering);
                for own in offered.filter(|own| refused.contains(&own.record.key)) {
                    own.standing = Standing::Refused;
                }
                self.change(Standing::Offering, Standing::Held);
            }
            (Message::Withdrawn { .. }, Phase::Registered(_)) => {
                self.own.retain(|own| own.standing != Standing::Withdrawing);
            }
            (Message::Noted { agreed, servers, heirs, .. }, Phase::Registered(server)) => {
                client.heard_of(&servers, me);
                client.refuge.served_by(server, &heirs);
                let spread = self.config.heartbeat_interval.as_micros() as u64 / 8;
                client.next =
                    now + self.config.heartbeat_interval - Duration::from_micros(host.rng().below(spread));
                if !agreed {
                    return self.register_again(server, host);
                }
            }
            (Message::Unknown { .. }, Phase::Registered(server)) => {
                return self.register_again(server, host);
            }
            (Message::Refused { .. }, Phase::Registering(server)) => {
                return self.choose_server(Some(server), self.config.retry_interval, host);
            }
            (Message::Refused { .. }, _) => {
                // `failures` holds back what is to be offered until then.
                client.failures = 1;
                client.next = now + PAUSE;
                self.unsettle();
            }
            _ => {
                host.refuse(Some(from), Offence::Misdirected);
                return self.session_unanswered(from, host);
            }
        }
        self.client_step(host);
    }

    fn registered(&mut self, life: u32, first: bool, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.life = life;
        self.own.retain(Own::wanted);
        self.own.iter_mut().for_each(|own| own.standing = Standing::ToOffer);
        if first {
            host.emit(Event::Joined);
        }
        self.ask_waiting(host);
    }

    /// What was being told to the server is to be told again.
    pub(super) fn unsettle(&mut self) {
        self.change(Standing::Offering, Standing::ToOffer);
        self.change(Standing::Withdrawing, Standing::ToWithdraw);
    }

    pub(super) fn session_unanswered(&mut self, peer: P, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.unsettle();
        if let Part::Client(client) = &mut self.part {
            client.asking = false;
            client.next = self.now;
            if client.phase == Phase::Seeking {
                return self.look_further(host);
            }
        }
        self.server_silent(peer, host);
        self.client_step(host);
    }

    /// The server does not have this client, or not its records.
    pub(super) fn register_again(&mut self, server: P, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Part::Client(client) = &mut self.part else { return };
        if client.server() == Some(server) {
            client.phase = Phase::Registering(server);
            client.asking = false;
            client.next = self.now;
            self.ask_again_later();
            self.unsettle();
            self.client_step(host);
        }
    }

    /// A message that is no answer, at a client.
    pub(super) fn client_message(
        &mut self,
        from: P,
        message: Message<P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let (me, role) = (self.me, self.config.role);
        let Part::Client(client) = &mut self.part else { return };
        let mine = client.server() == Some(from);
        match message {
            Message::Hello { rpc } => {
                let servers = client.known().into_iter().collect();
                host.send(from, Message::Servers { rpc, servers });
            }
            Message::Retire { servers } if mine => {
                client.heard_of(&servers, me);
                self.choose_server(Some(from), Duration::ZERO, host);
            }
            Message::Appoint { token, servers } if mine && token == self.config.token => {
                if role == Role::Willing {
                    let servers: Vec<P> = servers.iter().copied().filter(|&server| server != me).collect();
                    // Heirs may come to serve before this node is heard of.
                    let heirs = client.refuge.heirs().iter().copied();
                    let heirs: Vec<P> = heirs.filter(|heir| *heir != me && !servers.contains(heir)).collect();
                    self.become_server(&servers, &heirs, host);
                }
            }
            Message::Beat { token, servers, .. } => self.hear_of_server(from, token, &servers, host),
            // To one who was a server, or is one in another's eyes: who is not registered
            // here looks elsewhere.
            Message::Register { rpc, .. } => host.send(from, Message::Refused { rpc }),
            Message::Alive { rpc, .. }
            | Message::Offer { rpc, .. }
            | Message::Withdraw { rpc, .. }
            | Message::LookUp { rpc, .. }
            | Message::Search { rpc, .. } => host.send(from, Message::Unknown { rpc }),
            _ => host.refuse(Some(from), Offence::Misdirected),
        }
    }

    /// The server's own records go into its own index.
    pub(super) fn offer_own(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let (me, life) = (self.me, self.life);
        let Part::Server(server) = &mut self.part else { return };
        if !server.ready {
            return;
        }
        for own in &mut self.own {
            match own.standing {
                Standing::ToOffer | Standing::Refused => {
                    let taken = server.offer(me, me, life, own.record.clone());
                    own.standing = if taken { Standing::Held } else { Standing::Refused };
                    if !taken {
                        host.refuse(None, Offence::Full);
                    }
                }
                Standing::ToWithdraw => server.withdraw(me, me, life, own.record.key),
                _ => {}
            }
        }
        self.own.retain(Own::wanted);
    }

    /// All own records are to be offered anew, in a new life.
    pub(super) fn begin_life(&mut self, life: u32) {
        self.life = life;
        self.own.retain(Own::wanted);
        self.own.iter_mut().for_each(|own| own.standing = Standing::ToOffer);
    }
}

/// Which of `servers` servers a converged client has.
pub(super) fn home(id: Id, servers: usize) -> usize {
    ((u128::from(id.high().wrapping_mul(0x9e37_79b9_7f4a_7c15)) * servers as u128) >> 64) as usize
}
