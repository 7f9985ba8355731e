//! A server and its clients: registration, presence, answers, load.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use starling_sansio::Time;

use super::copy::Copying;
use super::index::{Added, Index};
use super::maintain::home;
use super::message::{Change, Did, HEIRS, MAX_HEIRS, MAX_HITS, MAX_SERVERS, Message};
use super::replicate::{Departed, Link, Log};
use super::{Config, Napster, Part};
use crate::wire::List;
use crate::{Event, Hit, Host, Id, Offence, Peer, Record, RpcId, View};

/// A client that claims to have registered so often since it was last heard of lies.
const MAX_LEAP: u32 = 1 << 16;
/// Most clients whose time-out is looked at in one go.
const MAX_EXPIRED: usize = 256;
/// A word costs this many of a client's micro-tokens.
const TOKEN: u64 = 1_000_000;

/// What a server has done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Load {
    /// Clients now.
    pub clients: u64,
    /// Registrations.
    pub registrations: u64,
    /// Heartbeats.
    pub heartbeats: u64,
    /// Records offered and withdrawn by own clients.
    pub records: u64,
    /// Look-ups by key.
    pub look_ups: u64,
    /// Searches by words.
    pub searches: u64,
    /// Questions refused.
    pub refused: u64,
}

/// A client, as its server sees it.
#[derive(Clone, Debug)]
pub(super) struct Presence {
    pub(super) life: u32,
    heard: Time,
    /// When to look whether it is still there.
    look_at: Time,
    /// Micro-tokens left when it last asked, and when that was.
    tokens: u64,
}

impl Presence {
    fn new(now: Time, life: u32, config: &Config) -> Presence {
        let look_at = now + config.client_timeout;
        Presence { life, heard: now, look_at, tokens: u64::from(config.burst) * TOKEN }
    }

    /// Pays for a question, if there is enough left.
    fn pay(&mut self, now: Time, config: &Config) -> bool {
        let passed = u64::try_from(now.since(self.heard).as_micros()).unwrap_or(u64::MAX);
        let earned = passed.saturating_mul(u64::from(config.requests_per_second));
        self.tokens = self.tokens.saturating_add(earned).min(u64::from(config.burst) * TOKEN);
        self.heard = now;
        let enough = self.tokens >= TOKEN;
        self.tokens -= if enough { TOKEN } else { 0 };
        enough
    }
}

/// What a server knows.
#[derive(Debug)]
pub(super) struct Server<P> {
    pub(super) index: Index<P>,
    pub(super) clients: BTreeMap<P, Presence>,
    /// When to look whether a client is still there, the earliest first; one of each.
    expiry: BTreeSet<(Time, P)>,
    /// The other servers, in the order of names.
    pub(super) links: Vec<Link<P>>,
    pub(super) departed: Vec<Departed<P>>,
    /// Clients that would take the servers' place; at most [`HEIRS`].
    pub(super) heirs: Vec<P>,
    pub(super) log: Log<P>,
    pub(super) copying: Option<Copying<P>>,
    pub(super) load: Load,
    /// Whether the index was copied from the others.
    pub(super) ready: bool,
    /// Whether the user was told that this node joined.
    pub(super) told: bool,
    pub(super) beat_at: Time,
    pub(super) appoint_at: Time,
    /// When this server steps down if there are still too many; [`Time::NEVER`] if not.
    pub(super) step_down_at: Time,
}

impl<P: Peer> Server<P> {
    pub(super) fn new(now: Time, config: &Config, others: &[P], told: bool, epoch: u32) -> Self {
        let mut links: Vec<Link<P>> = others.iter().map(|&peer| Link::new(now, peer)).collect();
        links.sort_unstable_by_key(|link| link.peer);
        links.dedup_by_key(|link| link.peer);
        links.truncate(MAX_SERVERS - 1);
        Server {
            index: Index::new(config.limits),
            clients: BTreeMap::new(),
            expiry: BTreeSet::new(),
            links,
            departed: Vec::new(),
            heirs: Vec::new(),
            log: Log::new(epoch),
            copying: None,
            load: Load::default(),
            ready: false,
            told,
            beat_at: Time::NEVER,
            // Who is alone needs others at once; who is not may not have heard of all.
            appoint_at: if others.is_empty() { now } else { now + config.server_timeout },
            step_down_at: Time::NEVER,
        }
    }

    pub(super) fn others(&self) -> impl Iterator<Item = P> + '_ {
        self.links.iter().map(|link| link.peer)
    }

    /// This server and the others.
    pub(super) fn all(&self, me: P) -> List<P, MAX_SERVERS> {
        [me].into_iter().chain(self.others()).collect()
    }

    /// The heirs of all servers, those with the least names: the same at every server.
    pub(super) fn all_heirs(&self) -> List<P, MAX_HEIRS> {
        let others = self.links.iter().flat_map(|link| link.heirs.iter());
        let mut heirs: Vec<P> = self.heirs.iter().chain(others).copied().collect();
        heirs.sort_unstable();
        heirs.dedup();
        List::new(heirs)
    }

    /// Takes a client for an heir if there are too few. Where a token is needed to serve,
    /// a client cannot.
    pub(super) fn choose_heir(&mut self, token: u64, client: P) {
        if token == 0 && self.heirs.len() < HEIRS && !self.heirs.contains(&client) {
            self.heirs.push(client);
        }
    }

    /// Heirs who are no clients any more are replaced in the course of time.
    pub(super) fn keep_heirs(&mut self, token: u64, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let clients = &self.clients;
        self.heirs.retain(|heir| clients.contains_key(heir));
        if let Some(client) = self.random_client(host) {
            self.choose_heir(token, client);
        }
    }

    pub(super) fn due(&self) -> Time {
        let expiry = self.expiry.first().map_or(Time::NEVER, |first| first.0);
        let purges = self.departed.iter().filter_map(|departed| departed.purge_at);
        let purge = purges.min().unwrap_or(Time::NEVER);
        self.beat_at.min(expiry).min(purge)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.index.heap_bytes()
            + self.clients.len() * size_of::<(P, Presence)>() * 4 / 3
            + self.expiry.len() * size_of::<(Time, P)>() * 4 / 3
            + self.links.capacity() * size_of::<Link<P>>()
            + self.heirs.capacity() * size_of::<P>()
            + self.log.heap_bytes()
    }

    /// Some client.
    pub(super) fn random_client(&self, host: &mut impl Host<P, Message<P>, Event<P>>) -> Option<P> {
        let (&(first, _), &(last, any)) = (self.expiry.first()?, self.expiry.last()?);
        let span = u64::try_from(last.since(first).as_micros()).unwrap_or(u64::MAX);
        let after = first + Duration::from_micros(1 + host.rng().below(span.saturating_add(1)));
        self.expiry.range(..(after, any)).next_back().map(|entry| entry.1)
    }

    /// Takes a client in, or begins a new life of one.
    fn welcome(&mut self, client: P, presence: Presence) {
        self.expel(client);
        self.expiry.insert((presence.look_at, client));
        self.clients.insert(client, presence);
    }

    /// Takes a client out, and with it the time to look for it: who comes and goes all
    /// the time leaves nothing behind.
    fn expel(&mut self, client: P) -> Option<Presence> {
        let presence = self.clients.remove(&client)?;
        self.expiry.remove(&(presence.look_at, client));
        Some(presence)
    }

    /// Takes a record of an own client; false if there is no room.
    pub(super) fn offer(&mut self, me: P, client: P, life: u32, record: Record) -> bool {
        self.load.records += 1;
        let (key, had) = (record.key, self.index.has(client, record.key));
        let what = match self.index.add(client, me, life, record.clone()) {
            Added::New => Did::Offered { record },
            Added::Same => return true,
            // The one that it was to replace is gone.
            Added::Full if had => Did::Withdrew { key },
            Added::Full | Added::Old => return false,
        };
        let taken = matches!(what, Did::Offered { .. });
        self.log.note(Change { client, life, what });
        taken
    }

    pub(super) fn withdraw(&mut self, me: P, client: P, life: u32, key: Id) {
        self.load.records += 1;
        if self.index.remove(client, me, life, key) {
            self.log.note(Change { client, life, what: Did::Withdrew { key } });
        }
    }

    /// A client is gone, or begins a new life, and with it goes what it had.
    fn vanish(&mut self, me: P, client: P, life: u32) {
        if self.index.holding(client).is_some_and(|holding| holding.origin == me) {
            self.index.gone(client, me, life);
            self.log.note(Change { client, life, what: Did::Vanished {} });
        }
    }

    /// Forgets a client, and what it had.
    pub(super) fn dismiss(&mut self, me: P, client: P) {
        if let Some(presence) = self.expel(client) {
            self.vanish(me, client, presence.life);
        }
    }

    /// Forgets a client that registered elsewhere.
    pub(super) fn moved(&mut self, client: P, life: u32) {
        if self.clients.get(&client).is_some_and(|presence| presence.life < life) {
            self.expel(client);
        }
    }

    fn expire(&mut self, me: P, now: Time, timeout: Duration) {
        for _ in 0..MAX_EXPIRED {
            let Some(&(due, client)) = self.expiry.first().filter(|first| first.0 <= now) else { break };
            self.expiry.pop_first();
            let presence = self.clients.get_mut(&client);
            if let Some(presence) = presence.filter(|presence| presence.heard + timeout > due) {
                presence.look_at = presence.heard + timeout;
                self.expiry.insert((presence.look_at, client));
            } else {
                self.dismiss(me, client);
            }
        }
    }
}

impl<P: Peer> Napster<P> {
    /// A server with perfect tables: its share of the view are its clients.
    pub(super) fn converge_server(
        &mut self,
        view: &View<'_, P>,
        servers: &[P],
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let (me, now) = (self.me, self.now);
        let others: Vec<P> = servers.iter().copied().filter(|&server| server != me).collect();
        // Equal epochs everywhere: nobody has anything to copy.
        let mut server = Server::new(now, &self.config, &others, true, 1);
        let at_home = |server: P, place: usize| {
            self.converged_home(view, servers.len(), place).is_some_and(|at| servers[at] == server)
        };
        let heirs = |of: P| {
            let all = self.converged_heirs(view, servers.len()).zip(servers.len()..);
            all.filter(|&(_, place)| at_home(of, place)).map(|heir| heir.0).take(HEIRS).collect::<Vec<P>>()
        };
        server.links.iter_mut().for_each(|link| link.converge(1, List::new(heirs(link.peer))));
        server.heirs = heirs(me);
        let mine = view.members().iter().enumerate().filter(|&(place, _)| at_home(me, place));
        for (_, &(_, client)) in mine {
            server.welcome(client, Presence::new(now, 1, &self.config));
        }
        let phase = host.rng().below(self.config.beat_interval.as_micros() as u64);
        server.beat_at = now + Duration::from_micros(phase);
        server.load.clients = server.clients.len() as u64;
        server.ready = true;
        self.life = 1;
        self.part = Part::Server(Box::new(server));
    }

    /// Which of the first `servers` members of a view has the one at `place` for a client
    /// when all is quiet. If one of them might have more than it may, they take them in
    /// turn, and whoever is left has none.
    pub(super) fn converged_home(&self, view: &View<'_, P>, servers: usize, place: usize) -> Option<usize> {
        let (number, most) = (place.checked_sub(servers)?, self.config.max_clients);
        if view.len() - servers <= most {
            return view.members().get(place).map(|member| home(member.0, servers));
        }
        (number / servers < most).then_some(number % servers)
    }

    /// Who would take the place of the first `servers` members of a view.
    pub(super) fn converged_heirs(&self, view: &View<'_, P>, servers: usize) -> impl Iterator<Item = P> {
        let count = if self.config.token == 0 { MAX_HEIRS } else { 0 };
        view.members().iter().skip(servers).take(count).map(|member| member.1)
    }

    /// What a server does when a time has come.
    pub(super) fn server_round(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let (me, now, timeout) = (self.me, self.now, self.config.client_timeout);
        let Part::Server(server) = &mut self.part else { return };
        server.expire(me, now, timeout);
        server.load.clients = server.clients.len() as u64;
        for departed in &mut server.departed {
            if departed.purge_at.is_some_and(|at| at <= now) {
                departed.purge_at = None;
                server.index.drop_origin(departed.peer);
            }
        }
        server.departed.retain(|departed| departed.may_return || departed.purge_at.is_some());
        if server.ready && server.beat_at <= now {
            self.beat(host);
        }
    }

    /// A message that is no answer, at a server.
    pub(super) fn server_message(
        &mut self,
        from: P,
        message: Message<P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let me = self.me;
        let Part::Server(server) = &mut self.part else { return };
        match message {
            Message::Hello { rpc } => host.send(from, Message::Servers { rpc, servers: server.all(me) }),
            Message::Register { rpc, life } => self.register(from, rpc, life, host),
            Message::Bye {} => {
                server.dismiss(me, from);
                server.load.clients = server.clients.len() as u64;
            }
            Message::Offer { rpc, .. }
            | Message::Withdraw { rpc, .. }
            | Message::Alive { rpc, .. }
            | Message::LookUp { rpc, .. }
            | Message::Search { rpc, .. } => {
                if let Some(life) = self.admit(from, rpc, host) {
                    self.serve(from, life, message, host);
                }
            }
            other => self.colleague_message(from, other, host),
        }
    }

    fn register(&mut self, from: P, rpc: RpcId, life: u32, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let me = self.me;
        let Part::Server(server) = &mut self.part else { return };
        let here = server.clients.get(&from).map(|presence| presence.life);
        let known = server.index.life(from).max(here.unwrap_or(0));
        if life > known.saturating_add(MAX_LEAP) {
            return host.refuse(Some(from), Offence::OutOfRange);
        }
        if !server.ready || (here.is_none() && server.clients.len() >= self.config.max_clients) {
            server.load.refused += 1;
            host.refuse(Some(from), Offence::Full);
            return host.send(from, Message::Refused { rpc });
        }
        let life = life.max(known.saturating_add(1));
        server.vanish(me, from, life);
        server.welcome(from, Presence::new(self.now, life, &self.config));
        server.choose_heir(self.config.token, from);
        server.load.registrations += 1;
        server.load.clients = server.clients.len() as u64;
        let (servers, heirs) = (server.all(me), Box::new(server.all_heirs()));
        host.send(from, Message::Registered { rpc, life, servers, heirs });
    }

    /// The life of a client that may be served.
    fn admit(&mut self, from: P, rpc: RpcId, host: &mut impl Host<P, Message<P>, Event<P>>) -> Option<u32> {
        let Part::Server(server) = &mut self.part else { return None };
        let Some(presence) = server.clients.get_mut(&from) else {
            host.send(from, Message::Unknown { rpc });
            return None;
        };
        if !presence.pay(self.now, &self.config) {
            server.load.refused += 1;
            host.refuse(Some(from), Offence::TooMany);
            host.send(from, Message::Refused { rpc });
            return None;
        }
        Some(presence.life)
    }

    fn serve(
        &mut self,
        from: P,
        life: u32,
        message: Message<P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let me = self.me;
        let Part::Server(server) = &mut self.part else { return };
        let answer = match message {
            Message::Offer { rpc, records } => {
                let mut refused = Vec::new();
                for record in records.into_vec() {
                    let key = record.key;
                    if !server.offer(me, from, life, record) {
                        refused.push(key);
                    }
                }
                if !refused.is_empty() {
                    host.refuse(Some(from), Offence::Full);
                }
                Message::Offered { rpc, refused: List::new(refused) }
            }
            Message::Withdraw { rpc, keys } => {
                keys.iter().for_each(|&key| server.withdraw(me, from, life, key));
                Message::Withdrawn { rpc }
            }
            Message::Alive { rpc, count, digest } => {
                server.load.heartbeats += 1;
                let agreed = server.index.digest(from) == (count, digest);
                let (servers, heirs) = (server.all(me), Box::new(server.all_heirs()));
                Message::Noted { rpc, agreed, servers, heirs }
            }
            Message::LookUp { rpc, key, skip } => {
                server.load.look_ups += 1;
                answer(rpc, false, server.index.look_up(key, usize::from(skip), MAX_HITS))
            }
            Message::Search { rpc, query, skip } => {
                server.load.searches += 1;
                let most = usize::from(query.wanted.saturating_sub(skip)).min(MAX_HITS);
                answer(rpc, true, server.index.search(&query, usize::from(skip), most))
            }
            _ => return,
        };
        host.send(from, answer);
    }
}

/// What was found, as far as it fits into a message.
fn answer<P: Peer>(rpc: RpcId, search: bool, (found, more): (Vec<Hit<P>>, bool)) -> Message<P> {
    let count = found.len();
    let hits = List::fitting(found);
    let more = more || hits.len() < count;
    Message::Answer { rpc, search, hits, more }
}
