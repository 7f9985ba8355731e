//! Questions, each with several tries (section 2.2).
//!
//! Whom to ask, in this order: the nearest contact in the key's group, the other
//! contacts (in the own group: mates), whoever was referred to, group mates, who refer
//! to their contacts, and at last those who did not answer once more, since a datagram
//! may have been lost. One hop is the common case, two the exception.

use crate::wire::{LIST_BYTES, List, MAX_TEXT};
use crate::{Cost, Event, Hit, Host, Id, Message as _, Offence, Op, Outcome, Peer, Query, RpcId, Rpcs};

use super::maintain::Copying;
use super::message::{MAX_HITS, MAX_REFERRED, Message};
use super::quest::{Quest, Sought, fitting};
use super::{Kelips, Time};

/// Most operations of the user and announcements under way at once.
pub const MAX_QUESTS: usize = 64;
/// Most open questions: one an operation, one copy.
const MAX_RPCS: usize = MAX_QUESTS + 2;
/// Members of a group who must say that there is nothing, so that there is nothing.
const NEGATIVES: u8 = 2;
/// Peers outside a key's group that are asked for contacts before silent peers are
/// asked again.
const DETOURS: u8 = 7;
/// Hits of a page that has no room for more, however long their names are.
const LEAST_HITS: usize = LIST_BYTES / (2 * MAX_TEXT);
/// Pages are asked for as long as so many answers take that come at the last moment: half a
/// minute, in which ten thousand hits come over links of 90 ms. Who gives pages without end
/// holds a search up for no longer.
const PAGING: u32 = 20;
/// Of so many group mates, taken by chance, the nearest is asked.
const SAMPLE: usize = 4;

/// What a question is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// The quest of that number; the path is so long.
    Quest { number: u32, hops: u32 },
    /// A copy of the view or the tuples.
    Copy(Copying),
}

/// What exists only while something is under way.
#[derive(Debug)]
pub(super) struct Busy<P> {
    pub(super) rpcs: Rpcs<P, Asked, MAX_RPCS>,
    quests: Vec<Quest<P>>,
    next: u32,
}

impl<P> Default for Busy<P> {
    fn default() -> Self {
        Busy { rpcs: Rpcs::default(), quests: Vec::new(), next: 0 }
    }
}

impl<P: Peer> Busy<P> {
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.rpcs.next_deadline()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let lists = self
            .quests
            .iter()
            .map(|quest| quest.tried.capacity() + quest.silent.capacity() + quest.referred.capacity());
        size_of::<Self>()
            + self.rpcs.heap_bytes()
            + self.quests.capacity() * size_of::<Quest<P>>()
            + lists.sum::<usize>() * size_of::<P>()
    }

    /// Announcements under way.
    pub(super) fn announcements(&self) -> usize {
        self.quests.iter().filter(|quest| quest.sought.op().is_none()).count()
    }
}

impl<P: Peer> Kelips<P> {
    pub(super) fn look_up(&mut self, op: Op, key: Id, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.start(Sought::Key(op, key), key.high(), host);
    }

    pub(super) fn search(&mut self, op: Op, query: Query, host: &mut impl Host<P, Message<P>, Event<P>>) {
        // The longest word is likely the rarest; a prefix has no hash.
        let words = query.words();
        let sought = |word: &str| self.config.search_words && !word.ends_with('*');
        let whole = (0u8..).zip(&words).filter(|(_, word)| sought(word));
        let Some((number, word)) = whole.max_by_key(|(number, word)| (word.len(), u8::MAX - number)) else {
            let (outcome, cost) = (Outcome::Refused, Cost::default());
            return host.emit(Event::Done { op, outcome, cost });
        };
        let under = Id::hash(word.as_bytes()).high();
        self.start(Sought::Words(op, query, number), under, host);
    }

    pub(super) fn find(&mut self, op: Op, key: Id, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.start(Sought::Group(op, key), key.high(), host);
    }

    /// Begins an operation; false if there are too many.
    pub(super) fn start(
        &mut self,
        sought: Sought,
        under: u64,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) -> bool {
        let until = self.now + self.config.rpc_timeout.saturating_mul(PAGING);
        let full = self.busy.as_ref().is_some_and(|busy| busy.quests.len() >= MAX_QUESTS);
        let outcome = if full { Outcome::Refused } else { Outcome::Failed };
        if full || !self.member {
            if let Some(op) = sought.op() {
                host.emit(Event::Done { op, outcome, cost: Cost::default() });
            }
            return false;
        }
        let busy = self.busy.get_or_insert_default();
        let number = busy.next;
        busy.next = busy.next.wrapping_add(1);
        let mut quest = Quest::new(number, sought, under, until);
        if !self.answer_here(&mut quest, host) {
            busy_of(&mut self.busy).quests.push(quest);
            self.step(number, host);
        }
        self.calm();
        true
    }

    /// Whether this node itself is a holder and knows the answer.
    fn answer_here(&mut self, quest: &mut Quest<P>, host: &mut impl Host<P, Message<P>, Event<P>>) -> bool {
        if !self.serves(quest.under) {
            return false;
        }
        match &quest.sought {
            Sought::Group(_, key) => {
                let peers = self.replica_set(*key, MAX_REFERRED, host);
                self.found_group(quest, peers, host);
                true
            }
            Sought::Holder(key, number) => {
                let (key, number) = (*key, *number);
                self.keep_own(key, number, host);
                true
            }
            Sought::Key(..) | Sought::Words(..) => {
                let (hits, _) = self.hits(quest.under, &quest.sought, (0, quest.sought.wanted()));
                if !hits.is_empty() {
                    self.tell(quest, hits, host);
                    done(quest, Outcome::Found, host);
                    return true;
                }
                quest.negatives = u8::from(self.complete);
                false
            }
        }
    }

    /// A page of what is sought: skip so many, take so many; and whether there is more.
    fn hits(&self, under: u64, sought: &Sought, page: (usize, usize)) -> (Vec<Hit<P>>, bool) {
        match sought {
            Sought::Key(_, key) => self.tuples.find(under, page, |record| record.key == *key),
            Sought::Words(_, query, _) => self.tuples.find(under, page, |record| query.matches(record)),
            Sought::Group(..) | Sought::Holder(..) => (Vec::new(), false),
        }
    }

    /// Asks the next peer, or ends the quest.
    fn step(&mut self, number: u32, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Some(at) = self.quest(number) else { return };
        let busy = busy_of(&mut self.busy);
        let mut quest = busy.quests.swap_remove(at);
        let next = if quest.negatives < NEGATIVES && quest.asked < self.config.tries.max(1) {
            self.next_peer(&mut quest, host)
        } else {
            None
        };
        let Some((peer, hops)) = next else { return self.fail(&quest, host) };
        quest.asked += 1;
        quest.tried.push(peer);
        quest.referred.retain(|&other| other != peer);
        self.ask(quest, peer, hops, host);
    }

    /// Asks that peer.
    fn ask(&mut self, quest: Quest<P>, peer: P, hops: u32, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let deadline = self.now + self.config.rpc_timeout;
        let asked = Asked::Quest { number: quest.number, hops };
        let rpc = busy_of(&mut self.busy).rpcs.open(peer, deadline, asked, host.rng());
        let Some((rpc, question)) = rpc.map(|rpc| (rpc, self.question_of(&quest, rpc))) else {
            return self.fail(&quest, host);
        };
        let Some(question) = question else {
            // The record is not there any more: nothing to announce.
            busy_of(&mut self.busy).rpcs.close(rpc, peer);
            return self.fail(&quest, host);
        };
        host.send(peer, question);
        busy_of(&mut self.busy).quests.push(quest);
    }

    /// Whom to ask, and how long the path is then.
    fn next_peer(
        &self,
        quest: &mut Quest<P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) -> Option<(P, u32)> {
        let home = self.table.home(self.table.group_of(Id::from_high(quest.under)));
        let fresh = |peer: &P| !quest.tried.contains(peer);
        let contact = if home == self.table.group {
            self.mate(fresh, host)
        } else {
            let cost = |&peer: &P| (self.table.is_suspect(peer), host.distance(peer), peer);
            self.table.contacts(home).filter(fresh).min_by_key(cost)
        };
        if let Some(peer) = contact {
            return Some((peer, 1));
        }
        if let Some(&peer) = quest.referred.first() {
            return Some((peer, 2));
        }
        if quest.detours < DETOURS {
            let anybody =
                || (0..self.table.groups()).find_map(|group| self.table.contacts(group).find(fresh));
            if let Some(peer) = self.mate(fresh, host).or_else(anybody) {
                quest.detours += 1;
                return Some((peer, 1));
            }
        }
        quest.silent.pop().map(|peer| (peer, 1))
    }

    /// The nearest of a few group mates.
    fn mate(&self, fresh: impl Fn(&P) -> bool, host: &mut impl Host<P, Message<P>, Event<P>>) -> Option<P> {
        let mates = self.table.members();
        let drawn: Vec<usize> = (0..SAMPLE).map(|_| host.rng().index(mates.len())).collect();
        let drawn = drawn.into_iter().filter_map(|at| mates.get(at).copied()).filter(&fresh);
        let nearest = drawn.min_by_key(|&peer| (self.table.is_suspect(peer), host.distance(peer), peer));
        nearest.or_else(|| mates.iter().copied().find(fresh))
    }

    /// The message that asks.
    fn question_of(&self, quest: &Quest<P>, rpc: RpcId) -> Option<Message<P>> {
        let skip = quest.got;
        Some(match &quest.sought {
            Sought::Key(_, key) => Message::LookUp { rpc, key: *key, skip },
            Sought::Words(_, query, word) => Message::Search { rpc, word: *word, query: query.clone(), skip },
            Sought::Group(_, key) => Message::Find { rpc, key: *key },
            Sought::Holder(key, _) => {
                Message::Announce { rpc, what: Box::new(self.announcement(*key, quest.under)?) }
            }
        })
    }

    /// Answers a question of another node.
    pub(super) fn question(
        &mut self,
        from: P,
        question: Message<P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let (why, op) = (question.purpose(), Op(0));
        let (rpc, under, sought, skip) = match question {
            Message::LookUp { rpc, key, skip } => (rpc, key.high(), Sought::Key(op, key), skip),
            Message::Find { rpc, key } => (rpc, key.high(), Sought::Group(op, key), 0),
            Message::Search { rpc, word, query, skip } => {
                let words = query.words();
                let Some(text) = words.get(usize::from(word)).filter(|text| !text.ends_with('*')) else {
                    return host.refuse(Some(from), Offence::OutOfRange);
                };
                (rpc, Id::hash(text.as_bytes()).high(), Sought::Words(op, query, word), skip)
            }
            _ => return host.refuse(Some(from), Offence::Misdirected),
        };
        if !self.serves(under) {
            let peers = self.referral(from, under);
            return host.send(from, Message::Refer { rpc, why, peers });
        }
        if let Sought::Group(_, key) = sought {
            let peers = List::new(self.replica_set(key, MAX_REFERRED, host));
            return host.send(from, Message::Group { rpc, peers });
        }
        let most = sought.wanted().saturating_sub(usize::from(skip)).min(MAX_HITS);
        let (found, more) = self.hits(under, &sought, (usize::from(skip), most));
        let count = found.len();
        let hits = List::fitting(found);
        let more = more || hits.len() < count;
        host.send(from, Message::Answer { rpc, why, hits, more, complete: self.complete });
    }

    /// Contacts in the group that serves `under`.
    pub(super) fn referral(&self, asker: P, under: u64) -> List<P, MAX_REFERRED> {
        let home = self.table.home(self.table.group_of(Id::from_high(under)));
        self.table.contacts(home).filter(|&peer| peer != asker).collect()
    }

    /// Takes an answer to a quest's question.
    pub(super) fn quest_answer(
        &mut self,
        from: P,
        message: Message<P>,
        (number, hops): (u32, u32),
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let Some(at) = self.quest(number) else { return };
        let quest = &mut busy_of(&mut self.busy).quests[at];
        quest.hops = hops;
        match message {
            Message::Accepted { beat, .. } if quest.sought.op().is_none() => {
                let quest = busy_of(&mut self.busy).quests.swap_remove(at);
                if let Sought::Holder(key, tuple) = quest.sought {
                    self.accepted(from, key, tuple, beat, host);
                }
            }
            Message::Answer { hits, more, complete, .. } => {
                let sent = hits.len();
                let hits = fitting(hits.into_vec(), quest);
                if hits.len() < sent {
                    host.refuse(Some(from), Offence::OutOfRange);
                }
                // Whoever follows the rules fills a page before there is another: a hit at
                // a time would keep a search alive for days.
                let more = more && hits.len() >= LEAST_HITS;
                if hits.is_empty() {
                    quest.negatives += u8::from(complete && sent == 0);
                    return self.step(number, host);
                }
                quest.got += hits.len() as u16;
                let quest = busy_of(&mut self.busy).quests.swap_remove(at);
                self.tell(&quest, hits, host);
                if more && usize::from(quest.got) < quest.sought.wanted() && self.now < quest.until {
                    return self.ask(quest, from, hops, host);
                }
                done(&quest, Outcome::Found, host);
            }
            Message::Group { peers, .. }
                if matches!(quest.sought, Sought::Group(..)) && !peers.is_empty() =>
            {
                let quest = busy_of(&mut self.busy).quests.swap_remove(at);
                self.found_group(&quest, peers.into_vec(), host);
            }
            Message::Refer { peers, .. } => {
                if peers.contains(&from) {
                    host.refuse(Some(from), Offence::NamesItself);
                }
                let me = self.me;
                let new = |peer: &P| *peer != me && *peer != from && !quest.tried.contains(peer);
                let new: Vec<P> = peers.iter().copied().filter(new).collect();
                quest.referred.extend(new);
                quest.referred.truncate(MAX_REFERRED);
                self.step(number, host);
            }
            _ => {
                host.refuse(Some(from), Offence::Misdirected);
                self.step(number, host);
            }
        }
    }

    /// The peer that a quest asked does not answer.
    pub(super) fn quest_unanswered(
        &mut self,
        peer: P,
        number: u32,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        if let Some(at) = self.quest(number) {
            let quest = &mut busy_of(&mut self.busy).quests[at];
            quest.timeouts += 1;
            // Asked a second time, it stands in `tried` twice.
            if quest.tried.iter().filter(|&&tried| tried == peer).count() == 1 {
                quest.silent.insert(0, peer);
            }
            self.step(number, host);
        }
    }

    /// Ends every operation: this node leaves.
    pub(super) fn end_all(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Some(busy) = self.busy.take() else { return };
        for op in busy.quests.iter().filter_map(|quest| quest.sought.op()) {
            host.emit(Event::Done { op, outcome: Outcome::Failed, cost: Cost::default() });
        }
    }

    /// Frees what exists only while something is under way.
    pub(super) fn calm(&mut self) {
        self.busy.take_if(|busy| busy.quests.is_empty() && busy.rpcs.is_empty());
    }

    fn quest(&self, number: u32) -> Option<usize> {
        self.busy.as_ref()?.quests.iter().position(|quest| quest.number == number)
    }

    fn tell(&self, quest: &Quest<P>, hits: Vec<Hit<P>>, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if let Some(op) = quest.sought.op() {
            host.emit(Event::Hits { op, hits });
        }
    }

    fn found_group(&self, quest: &Quest<P>, peers: Vec<P>, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Some(op) = quest.sought.op() else { return };
        host.emit(Event::Closest { op, peers });
        done(quest, Outcome::Found, host);
    }

    fn fail(&mut self, quest: &Quest<P>, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if let Sought::Holder(key, tuple) = quest.sought {
            return self.not_accepted(key, tuple);
        }
        let outcome = match (quest.got, quest.negatives) {
            (0, 0) => Outcome::Failed,
            (0, _) => Outcome::NotFound,
            _ => Outcome::Found,
        };
        done(quest, outcome, host);
    }
}

fn done<P: Peer>(quest: &Quest<P>, outcome: Outcome, host: &mut impl Host<P, Message<P>, Event<P>>) {
    if let Some(op) = quest.sought.op() {
        let cost = Cost { hops: quest.hops, timeouts: quest.timeouts };
        host.emit(Event::Done { op, outcome, cost });
    }
}

fn busy_of<P>(busy: &mut Option<Box<Busy<P>>>) -> &mut Busy<P> {
    busy.get_or_insert_default()
}
