//! Servers among themselves: the index of each is the sum of all.
//!
//! A server numbers what its own clients do and sends it to the others at once. Each
//! beat tells the newest number; who lacks some pulls them from the log, and who lacks
//! more than the log holds, or sees a new epoch (the server began anew), copies.

use std::collections::VecDeque;

use starling_sansio::Time;

use super::copy::copied_part;
use super::message::{Change, Did, HEIRS, MAX_CHANGES, MAX_SERVERS, Message};
use super::{Asked, Napster, Part};
use crate::wire::List;
use crate::{Event, Host, Offence, Peer};

/// Changes that a server remembers.
pub const MAX_LOG: usize = 8192;
/// Most changes in answer to one pull, and a message more.
const MAX_PULLED: u64 = 8 * MAX_CHANGES as u64;
/// Of so many beats one goes also to those who may have been cut off.
const PROBES: u64 = 8;
/// Most clients to whom a leaving server says so.
const MAX_FAREWELLS: usize = 4096;

/// Another server.
#[derive(Clone, Debug)]
pub(super) struct Link<P> {
    pub(super) peer: P,
    pub(super) epoch: u32,
    /// How many of its changes are in the index; `None` until it is copied.
    pub(super) applied: Option<u64>,
    /// Up to which number they are on their way, as they were pulled; 0 if all are here.
    pulled: u64,
    pub(super) heard: Time,
    /// Those of its clients that would take the servers' place.
    pub(super) heirs: List<P, HEIRS>,
}

impl<P> Link<P> {
    pub(super) fn new(now: Time, peer: P) -> Link<P> {
        Link { peer, epoch: 0, applied: None, pulled: 0, heard: now, heirs: List::default() }
    }

    /// From which number on to pull its changes, of which there are `made`: once what was
    /// pulled before is here, since each message of it tells that others are lacking.
    fn lacks(&mut self, made: u64) -> Option<u64> {
        let applied = self.applied?;
        if applied >= made {
            self.pulled = 0;
            return None;
        }
        let due = applied >= self.pulled;
        self.pulled = if due { applied.saturating_add(MAX_PULLED) } else { self.pulled };
        due.then_some(applied + 1)
    }

    /// Whether its part of the index is here.
    pub(super) fn is_copied(&self) -> bool {
        self.applied.is_some()
    }

    /// Nothing has happened yet in that epoch.
    pub(super) fn converge(&mut self, epoch: u32, heirs: List<P, HEIRS>) {
        (self.epoch, self.applied, self.heirs) = (epoch, Some(0), heirs);
    }
}

/// A server that is gone, or an heir of one.
#[derive(Clone, Debug)]
pub(super) struct Departed<P> {
    pub(super) peer: P,
    /// Until then its clients may move and keep their records.
    pub(super) purge_at: Option<Time>,
    /// Whether it may only have been cut off.
    pub(super) may_return: bool,
}

/// What the own clients did.
#[derive(Clone, Debug)]
pub(super) struct Log<P> {
    pub(super) epoch: u32,
    changes: VecDeque<Change<P>>,
    pub(super) made: u64,
    /// How many were told to the others.
    told: u64,
}

impl<P: Peer> Log<P> {
    pub(super) fn new(epoch: u32) -> Log<P> {
        Log { epoch, changes: VecDeque::new(), made: 0, told: 0 }
    }

    pub(super) fn note(&mut self, change: Change<P>) {
        if self.changes.len() >= MAX_LOG {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
        self.made += 1;
    }

    /// A message's worth of changes from number `first` on; `None` if they are
    /// forgotten.
    fn from(&self, first: u64) -> Option<List<Change<P>, MAX_CHANGES>> {
        let oldest = self.made - self.changes.len() as u64 + 1;
        let skip = usize::try_from(first.checked_sub(oldest)?).ok()?;
        Some(List::fitting(self.changes.iter().skip(skip).cloned()))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.changes.capacity() * size_of::<Change<P>>()
    }
}

impl<P: Peer> Napster<P> {
    /// Tells the others what is new.
    pub(super) fn flush(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Part::Server(server) = &mut self.part else { return };
        while server.log.told < server.log.made {
            let first = server.log.told + 1;
            let Some(changes) = server.log.from(first) else {
                server.log.told = server.log.made;
                break;
            };
            server.log.told += changes.len() as u64;
            let (epoch, made) = (server.log.epoch, server.log.made);
            for link in &server.links {
                host.send(link.peer, Message::Changes { epoch, first, made, changes: changes.clone() });
            }
        }
    }

    /// Tells the others that this server lives, and asks for another if they are few.
    pub(super) fn beat(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let (me, now) = (self.me, self.now);
        self.notice_silence(host);
        let (token, wanted) = (self.config.token, self.config.servers as usize);
        let Part::Server(server) = &mut self.part else { return };
        server.beat_at = now + self.config.beat_interval;
        server.keep_heirs(token, host);
        let message = own_beat(server, me, token);
        server.others().for_each(|other| host.send(other, message.clone()));
        if host.rng().below(PROBES) == 0 {
            let lost = server.departed.iter().filter(|departed| departed.may_return);
            lost.for_each(|departed| host.send(departed.peer, message.clone()));
        }
        let first = server.others().all(|other| me < other);
        let few = server.links.len() + 1 < wanted.min(MAX_SERVERS);
        if first
            && few
            && server.appoint_at <= now
            && let Some(client) = server.random_client(host)
        {
            server.appoint_at = now + self.config.server_timeout;
            host.send(client, Message::Appoint { token, servers: server.all(me) });
        }
        self.step_down_if_surplus(host);
    }

    fn notice_silence(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Part::Server(server) = &self.part else { return };
        let (now, timeout) = (self.now, self.config.server_timeout);
        let silent = server.links.iter().filter(|link| now.since(link.heard) > timeout);
        let silent: Vec<P> = silent.map(|link| link.peer).collect();
        silent.into_iter().for_each(|peer| self.server_gone(peer, true, host));
    }

    /// Another server is gone; its clients have time to move here.
    pub(super) fn server_gone(
        &mut self,
        peer: P,
        may_return: bool,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let me = self.me;
        let purge_at = Some(self.now + self.config.client_timeout);
        let Part::Server(server) = &mut self.part else { return };
        let Some(at) = server.links.iter().position(|link| link.peer == peer) else { return };
        let heirs = server.links.remove(at).heirs;
        server.step_down_at = Time::NEVER;
        if server.departed.len() >= MAX_SERVERS {
            let first = server.departed.remove(0);
            server.index.drop_origin(first.peer);
        }
        server.departed.push(Departed { peer, purge_at, may_return });
        // Its heirs may not know this server, and serve beside it.
        let serving = |heir: &P| *heir == me || server.others().any(|other| other == *heir);
        let heirs: Vec<P> = heirs.into_vec().into_iter().filter(|heir| !serving(heir)).collect();
        for peer in heirs {
            let known = server.departed.iter().any(|departed| departed.peer == peer);
            if may_return && !known && server.departed.len() < MAX_SERVERS {
                server.departed.push(Departed { peer, purge_at: None, may_return });
            }
        }
        host.emit(Event::Update { peer, joined: false });
        if server.copying.as_ref().is_some_and(|copying| copying.from == peer) {
            server.copying = None;
            self.rpcs.retain(|asked| !matches!(asked, Asked::Copy));
        }
        self.copy_next(host);
    }

    /// A server leaves: it says so to the others and to its clients.
    pub(super) fn retire(&self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Part::Server(server) = &self.part else { return };
        let servers: List<P, MAX_SERVERS> = server.others().collect();
        let told = server.others().chain(server.clients.keys().copied().take(MAX_FAREWELLS));
        told.for_each(|peer| host.send(peer, Message::Retire { servers: servers.clone() }));
    }

    /// A message of another server, or of one who wants to be.
    pub(super) fn colleague_message(
        &mut self,
        from: P,
        message: Message<P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let Part::Server(server) = &mut self.part else { return };
        let at = server.links.iter().position(|link| link.peer == from);
        let token = self.config.token;
        match (message, at) {
            (Message::Beat { token: theirs, epoch, made, servers, heirs }, _) if theirs == token => {
                self.hear_beat(from, (epoch, made), &servers, *heirs, host);
            }
            (Message::CopyIndex { rpc, token: theirs, after }, _) if theirs == token && server.ready => {
                let copied = copied_part(server, self.me, rpc, after);
                host.send(from, copied);
            }
            (Message::Changes { epoch, first, made, changes }, Some(at)) => {
                server.links[at].heard = self.now;
                self.hear_changes(at, epoch, (first, made), changes.into_vec(), host);
            }
            (Message::Pull { epoch, first }, Some(_)) => send_changes(server, from, epoch, first, host),
            (Message::Gap { epoch }, Some(at)) => {
                if server.links[at].epoch == epoch {
                    server.links[at].applied = None;
                    self.copy_next(host);
                }
            }
            (Message::Retire { .. }, Some(_)) => self.server_gone(from, false, host),
            // A server that thinks of us as its client: it takes us for somebody else.
            _ => host.refuse(Some(from), Offence::Misdirected),
        }
    }

    fn hear_beat(
        &mut self,
        from: P,
        (epoch, made): (u32, u64),
        servers: &[P],
        heirs: List<P, HEIRS>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let (me, now, token) = (self.me, self.now, self.config.token);
        let Part::Server(server) = &mut self.part else { return };
        let at = match server.links.binary_search_by_key(&from, |link| link.peer) {
            Ok(at) => at,
            Err(_) if server.links.len() + 1 >= MAX_SERVERS => {
                return host.refuse(Some(from), Offence::Full);
            }
            Err(at) => {
                server.links.insert(at, Link::new(now, from));
                server.appoint_at = server.appoint_at.min(now);
                server.step_down_at = Time::NEVER;
                server.departed.retain(|departed| departed.peer != from);
                // Who was this server's client serves now.
                server.dismiss(me, from);
                host.emit(Event::Update { peer: from, joined: true });
                at
            }
        };
        let link = &mut server.links[at];
        (link.heard, link.heirs) = (now, heirs);
        if link.epoch != epoch {
            (link.epoch, link.applied) = (epoch, None);
        }
        // What is not here by now got lost.
        link.pulled = 0;
        if let Some(first) = link.lacks(made) {
            host.send(from, Message::Pull { epoch, first });
        }
        if server.ready {
            let known = |peer: &P| *peer == me || server.links.iter().any(|link| link.peer == *peer);
            let strangers = servers.iter().filter(|peer| !known(peer));
            strangers.for_each(|&stranger| host.send(stranger, own_beat(server, me, token)));
        }
        self.copy_next(host);
    }

    /// Takes changes of link number `at`: from number `first` on, of `made`.
    fn hear_changes(
        &mut self,
        at: usize,
        epoch: u32,
        (first, made): (u64, u64),
        changes: Vec<Change<P>>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let Part::Server(server) = &mut self.part else { return };
        let link = &server.links[at];
        let (peer, Some(mut applied)) = (link.peer, link.applied) else { return };
        let last = first.checked_add(changes.len() as u64);
        if link.epoch != epoch || first == 0 || last.is_none_or(|last| last > made.saturating_add(1)) {
            return;
        }
        for (offset, change) in changes.into_iter().enumerate() {
            if Some(first + offset as u64) == applied.checked_add(1) {
                applied += 1;
                if change.client != self.me {
                    apply(server, peer, change);
                }
            }
        }
        server.links[at].applied = Some(applied);
        if let Some(first) = server.links[at].lacks(made) {
            host.send(peer, Message::Pull { epoch, first });
        }
    }
}

pub(super) fn own_beat<P: Peer>(server: &super::Server<P>, me: P, token: u64) -> Message<P> {
    let (epoch, made) = (server.log.epoch, server.log.made);
    let heirs = Box::new(server.heirs.iter().copied().collect());
    Message::Beat { token, epoch, made, servers: server.all(me), heirs }
}

fn send_changes<P: Peer>(
    server: &super::Server<P>,
    to: P,
    epoch: u32,
    mut first: u64,
    host: &mut impl Host<P, Message<P>, Event<P>>,
) {
    let (made, last) = (server.log.made, first.saturating_add(MAX_PULLED));
    while first < last {
        match server.log.from(first).filter(|_| epoch == server.log.epoch) {
            None => return host.send(to, Message::Gap { epoch }),
            Some(changes) if changes.is_empty() => return,
            Some(changes) => {
                let count = changes.len() as u64;
                host.send(to, Message::Changes { epoch, first, made, changes });
                first += count;
            }
        }
    }
}

/// Does to the index what another server's client did.
pub(super) fn apply<P: Peer>(server: &mut super::Server<P>, origin: P, change: Change<P>) {
    let Change { client, life, what } = change;
    match what {
        Did::Offered { record } => {
            server.moved(client, life);
            server.index.add(client, origin, life, record);
        }
        Did::Withdrew { key } => {
            server.index.remove(client, origin, life, key);
        }
        Did::Vanished {} => server.index.gone(client, origin, life),
    }
}
