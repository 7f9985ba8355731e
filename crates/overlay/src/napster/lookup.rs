//! Operations: a client asks its server, a server its own index.

use starling_sansio::Time;

use super::message::{MAX_HITS, Message};
use super::{Asked, Napster, Part};
use crate::{Cost, Event, Hit, Host, Id, Offence, Op, Outcome, Peer, Query, RpcId};

/// Most operations under way at once.
pub const MAX_QUESTS: usize = 64;

/// What is sought.
#[derive(Clone, Debug)]
enum Sought {
    Key(Id),
    Words(Query),
}

impl Sought {
    /// Hits after which to stop.
    fn wanted(&self) -> usize {
        match self {
            Sought::Key(_) => MAX_HITS,
            Sought::Words(query) => usize::from(query.wanted),
        }
    }

    fn fits<P>(&self, hit: &Hit<P>) -> bool {
        match self {
            Sought::Key(key) => hit.record.key == *key,
            Sought::Words(query) => query.matches(&hit.record),
        }
    }
}

/// An operation under way.
#[derive(Clone, Debug)]
pub(super) struct Quest {
    number: u32,
    op: Op,
    sought: Sought,
    /// Hits told so far.
    got: u16,
    timeouts: u32,
    /// Whether it is not asked of anybody at the moment.
    waits: bool,
    /// When it fails.
    pub(super) until: Time,
}

impl<P: Peer> Napster<P> {
    pub(super) fn look_up(&mut self, op: Op, key: Id, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.seek(op, Sought::Key(key), host);
    }

    pub(super) fn search(&mut self, op: Op, query: Query, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.seek(op, Sought::Words(query), host);
    }

    fn seek(&mut self, op: Op, sought: Sought, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if matches!(self.part, Part::Out) {
            return done(op, Outcome::Failed, Cost::default(), host);
        }
        if self.quests.len() >= MAX_QUESTS {
            return refuse(op, host);
        }
        let (number, until) = (self.next_quest, self.now + self.config.op_timeout);
        self.next_quest = number.wrapping_add(1);
        self.quests.push(Quest { number, op, sought, got: 0, timeouts: 0, waits: true, until });
        self.ask_waiting(host);
    }

    /// Asks what waits, if there is somebody to be asked.
    pub(super) fn ask_waiting(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        match &self.part {
            Part::Server(server) if server.ready => {
                for quest in std::mem::take(&mut self.quests) {
                    self.answer_here(&quest, host);
                }
            }
            Part::Client(client) => {
                let Some(server) = client.server() else { return };
                let deadline = self.now + self.config.rpc_timeout;
                for quest in self.quests.iter_mut().filter(|quest| quest.waits) {
                    let asked = Asked::Quest(quest.number);
                    let Some(rpc) = self.rpcs.open(server, deadline, asked, host.rng()) else { break };
                    quest.waits = false;
                    host.send(server, question(quest, rpc));
                }
            }
            _ => {}
        }
    }

    /// This node is a server: the answer is in its own index.
    fn answer_here(&self, quest: &Quest, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Part::Server(server) = &self.part else { return };
        let wanted = quest.sought.wanted();
        let hits = match &quest.sought {
            Sought::Key(key) => server.index.look_up(*key, 0, wanted).0,
            Sought::Words(query) => server.index.search(query, 0, wanted).0,
        };
        let outcome = if hits.is_empty() { Outcome::NotFound } else { Outcome::Found };
        if !hits.is_empty() {
            host.emit(Event::Hits { op: quest.op, hits });
        }
        done(quest.op, outcome, Cost { hops: 0, timeouts: quest.timeouts }, host);
    }

    /// The server answered.
    pub(super) fn quest_answer(
        &mut self,
        from: P,
        message: Message<P>,
        number: u32,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        self.server_lives();
        let Some(at) = self.quests.iter().position(|quest| quest.number == number) else { return };
        let quest = &mut self.quests[at];
        let (op, cost) = (quest.op, Cost { hops: 1, timeouts: quest.timeouts });
        match message {
            Message::Answer { hits, more, .. } => {
                let sent = hits.len();
                let mut hits: Vec<Hit<P>> = hits.into_vec();
                hits.retain(|hit| quest.sought.fits(hit));
                if hits.len() < sent {
                    host.refuse(Some(from), Offence::OutOfRange);
                }
                hits.truncate(quest.sought.wanted() - usize::from(quest.got));
                quest.got += hits.len() as u16;
                let on =
                    more && hits.len() == sent && sent > 0 && usize::from(quest.got) < quest.sought.wanted();
                let outcome = if quest.got > 0 { Outcome::Found } else { Outcome::NotFound };
                if !hits.is_empty() {
                    host.emit(Event::Hits { op, hits });
                }
                if on {
                    quest.waits = true;
                    return self.ask_waiting(host);
                }
                self.quests.swap_remove(at);
                done(op, outcome, cost, host);
            }
            Message::Refused { .. } => {
                self.quests.swap_remove(at);
                done(op, Outcome::Refused, cost, host);
            }
            Message::Unknown { .. } => {
                quest.waits = true;
                self.register_again(from, host);
            }
            _ => {
                host.refuse(Some(from), Offence::Misdirected);
                quest.waits = true;
                self.server_silent(from, host);
            }
        }
    }

    /// The server did not answer: again, or elsewhere.
    pub(super) fn quest_unanswered(
        &mut self,
        peer: P,
        number: u32,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        if let Some(quest) = self.quests.iter_mut().find(|quest| quest.number == number) {
            quest.timeouts += 1;
            quest.waits = true;
        }
        self.server_silent(peer, host);
        self.ask_waiting(host);
    }

    /// Operations whose time is over fail.
    pub(super) fn expire_quests(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        while let Some(at) = self.quests.iter().position(|quest| quest.until <= self.now) {
            let quest = self.quests.swap_remove(at);
            // What was found stays found.
            let outcome = if quest.got > 0 { Outcome::Found } else { Outcome::Failed };
            self.rpcs.retain(|asked| !matches!(asked, Asked::Quest(number) if *number == quest.number));
            done(quest.op, outcome, Cost { hops: 1, timeouts: quest.timeouts }, host);
        }
    }

    /// All operations fail: this node leaves.
    pub(super) fn end_all(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        for quest in std::mem::take(&mut self.quests) {
            done(quest.op, Outcome::Failed, Cost { hops: 0, timeouts: quest.timeouts }, host);
        }
    }

    /// What was asked of a server that is gone waits for the next one.
    pub(super) fn ask_again_later(&mut self) {
        self.quests.iter_mut().for_each(|quest| quest.waits = true);
        self.rpcs.retain(|asked| matches!(asked, Asked::Copy));
    }
}

fn question<P>(quest: &Quest, rpc: RpcId) -> Message<P> {
    let skip = quest.got;
    match &quest.sought {
        Sought::Key(key) => Message::LookUp { rpc, key: *key, skip },
        Sought::Words(query) => Message::Search { rpc, query: query.clone(), skip },
    }
}

/// Ends an operation that cannot be done.
pub(super) fn refuse<P: Peer>(op: Op, host: &mut impl Host<P, Message<P>, Event<P>>) {
    done(op, Outcome::Refused, Cost::default(), host);
}

fn done<P: Peer>(op: Op, outcome: Outcome, cost: Cost, host: &mut impl Host<P, Message<P>, Event<P>>) {
    host.emit(Event::Done { op, outcome, cost });
}
