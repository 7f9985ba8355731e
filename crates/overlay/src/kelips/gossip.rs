//! Gossip: a bounded part of what a node knows, each round, to a few others
//! (section 2.1).
//!
//! The paper leaves open how targets are weighted and what is preferred. Here one group
//! mate of each round is taken by chance alone, so that gossip reaches every corner;
//! the others are the nearest of a few. New entries go first, in several rounds; of the
//! rest the younger of two by chance. Gossip to a contact is answered in kind, since
//! nobody else may know that the two groups have met.

use crate::wire::List;
use crate::{Event, Host, Id, Offence, Peer};

use super::Kelips;
use super::maintain::YOUTH;
use super::message::{MAX_ENTRIES, MAX_TUPLES, Message, Seen, Tuple};
use super::routing::arc_of;
use super::table::{Change, Spot, TOGETHER, When};
use super::tuples::{Taken, Word};

/// Entries that wait to be sent as new; what finds no place is sent by chance.
const MAX_NEWS: usize = 64;
/// Of so many peers, taken by chance, the nearest gets a gossip.
const SAMPLE: usize = 4;
/// Members of the own group in a gossip to another group, which keeps few of them.
const MEMBERS_ABROAD: usize = 4;
/// Of so many rounds, somebody who timed out is asked in one.
const PROBE_ROUNDS: usize = 32;
/// Members of a group that tell a home node of a withdrawal that they only heard of.
const TELLERS: usize = 3;

/// Peers that were heard of lately, and how often each is still to be sent as new.
#[derive(Clone, Debug)]
pub(super) struct News<P>(Vec<(P, u8)>);

impl<P> Default for News<P> {
    fn default() -> Self {
        News(Vec::new())
    }
}

impl<P: Peer> News<P> {
    fn add(&mut self, peer: P, rounds: u8) {
        if rounds > 0 && self.0.len() < MAX_NEWS && !self.0.iter().any(|news| news.0 == peer) {
            self.0.push((peer, rounds));
        }
    }

    fn end_round(&mut self, sent: usize) {
        let sent = sent.min(self.0.len());
        self.0[..sent].iter_mut().for_each(|news| news.1 -= 1);
        self.0.rotate_left(sent);
        self.0.retain(|news| news.1 > 0);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(P, u8)>()
    }
}

impl<P: Peer> Kelips<P> {
    /// Tells a few mates and contacts a part of what this node knows.
    pub(super) fn gossip_round(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        self.gossip_at = self.now + self.config.gossip_interval;
        let most_tuples = usize::from(self.config.tuples_per_gossip).min(MAX_TUPLES);
        let young = self.joining.as_ref().is_some_and(|j| self.now < j.since + YOUTH);
        let mates: Vec<P> =
            (0..self.config.group_targets).filter_map(|n| self.target(n == 0, host)).collect();
        let new = self.tuples.news(self.now, most_tuples);
        for &mate in &mates {
            let tuples = List::new(self.tuples.gossip(self.now, &new, most_tuples));
            let entries = self.entries(self.table.group, host);
            host.send(mate, Message::Gossip { entries, tuples, pull: young });
        }
        // A node without mates has contacts only to make itself known.
        let abroad =
            usize::from(self.config.contact_targets) + usize::from(self.config.group_targets) - mates.len();
        for _ in 0..abroad {
            let Some((contact, group)) = self.target_abroad(host) else { break };
            let entries = self.entries(group, host);
            let tuples = List::new(self.strays(group, most_tuples, host));
            host.send(contact, Message::Gossip { entries, tuples, pull: true });
        }
        self.probe(host);
        self.news.end_round(self.news_ration());
        self.tuples.end_round(if mates.is_empty() { 0 } else { most_tuples });
    }

    /// Now and then, gossip to somebody who timed out: if the network was in two parts, and
    /// is no longer, that is how they find each other.
    fn probe(&mut self, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let Some(lost) = self.table.lost(host.rng()) else { return };
        let alone = self.table.members().is_empty() && self.target_abroad(host).is_none();
        if alone || host.rng().index(PROBE_ROUNDS) == 0 {
            let entries = self.entries(self.table.group_of(host.id(lost)), host);
            host.send(lost, Message::Gossip { entries, tuples: List::default(), pull: true });
        }
    }

    fn news_ration(&self) -> usize {
        usize::from(self.config.members_per_gossip) / 2
    }

    /// A group mate: by chance alone, or the nearest of a few.
    fn target(&self, by_chance: bool, host: &mut impl Host<P, Message<P>, Event<P>>) -> Option<P> {
        let mates = self.table.members();
        let sample = if by_chance || !self.config.spatial { 1 } else { SAMPLE };
        let drawn = (0..sample).filter_map(|_| mates.get(host.rng().index(mates.len())).copied());
        let drawn: Vec<P> = drawn.collect();
        drawn.into_iter().min_by_key(|&peer| (host.distance(peer), peer))
    }

    /// A contact in a group by chance, and that group.
    fn target_abroad(&self, host: &mut impl Host<P, Message<P>, Event<P>>) -> Option<(P, u32)> {
        let when = self.when();
        let slots = self.table.slots();
        let first = host.rng().index(slots);
        let slot =
            (0..slots).map(|n| (first + n) % slots).find(|&at| self.table.slot_entry(&when, at).is_some())?;
        Some((self.table.slot_entry(&when, slot)?.peer, (slot / self.table.per_group()) as u32))
    }

    /// What to tell somebody in `group`: new entries, in a foreign group its members
    /// that this node knows, then members and contacts by chance.
    fn entries(
        &self,
        group: u32,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) -> List<Seen<P>, MAX_ENTRIES> {
        let (when, abroad) = (self.when(), group != self.table.group);
        let members = usize::from(self.config.members_per_gossip);
        let members = if abroad { members.min(MEMBERS_ABROAD) } else { members };
        let most = (members + usize::from(self.config.contacts_per_gossip)).min(MAX_ENTRIES);
        let mut entries: Vec<Seen<P>> = Vec::with_capacity(most + 2);
        let news = self.news.0.iter().take(self.news_ration().min(most / 2));
        entries.extend(
            news.filter_map(|&(peer, _)| self.table.entry(&when, peer, self.table.group_of(host.id(peer)))),
        );
        if abroad {
            let theirs = self.table.contacts(group).filter_map(|peer| self.table.entry(&when, peer, group));
            entries.extend(theirs);
        }
        for _ in 0..members.min(self.table.members().len()) {
            entries.extend(self.young_member(&when, host));
        }
        while entries.len() < most {
            let Some(entry) = self.random_contact(&when, host) else { break };
            entries.push(entry);
        }
        List::new(entries)
    }

    /// The younger of two members by chance: young entries are worth more to others.
    fn young_member(&self, when: &When, host: &mut impl Host<P, Message<P>, Event<P>>) -> Option<Seen<P>> {
        let count = self.table.members().len();
        let drawn = [host.rng().index(count), host.rng().index(count)];
        let at = drawn.into_iter().min_by_key(|&at| self.table.member_age(when, at))?;
        self.table.member_entry(when, at)
    }

    /// The first contact at or after a slot by chance.
    fn random_contact(&self, when: &When, host: &mut impl Host<P, Message<P>, Event<P>>) -> Option<Seen<P>> {
        let slots = self.table.slots();
        let first = host.rng().index(slots);
        (0..slots.min(16)).find_map(|n| self.table.slot_entry(when, (first + n) % slots))
    }

    /// Tuples kept here that belong to `group`: this one served it while it was empty.
    fn strays(
        &self,
        group: u32,
        most: usize,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) -> Vec<Tuple<P>> {
        let groups = self.table.groups();
        let mut strays = Vec::new();
        if self.tuples.len() == 0 {
            return strays;
        }
        let back = (0..groups).map(|steps| (group + groups - steps) % groups);
        let served = back.take_while(|&one| self.table.home(one) == group).count() as u32;
        // From a place by chance, so that each has its turn.
        let skip = host.rng().below(u64::from(served)) as u32;
        for steps in (0..served).map(|n| (n + skip) % served) {
            let (first, last) = arc_of((group + groups - steps) % groups, groups);
            let from = first + host.rng().below(last - first);
            strays.extend(self.tuples.within(self.now, from, last, most - strays.len()));
            strays.extend(self.tuples.within(self.now, first, from, most - strays.len()));
            if strays.len() == most {
                break;
            }
        }
        strays
    }

    pub(super) fn gossip(
        &mut self,
        from: P,
        entries: &[Seen<P>],
        tuples: Vec<Tuple<P>>,
        pull: bool,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        self.hear_all(from, entries, host);
        let asked = |tuple: &Tuple<P>| pull && tuple.home == self.me;
        let truths: List<_, MAX_TUPLES> =
            tuples.iter().filter(|&tuple| asked(tuple)).filter_map(|tuple| self.truth(tuple)).collect();
        let mut doubted = None;
        for tuple in tuples {
            let home = tuple.home;
            if let Some(tuple) = self.hear_tuple(from, tuple, host) {
                doubted = Some((home, tuple));
            }
        }
        if let Some((home, tuple)) = doubted {
            // One of them, so that nobody has it ask others more than he says himself.
            let tuples = List::new(vec![tuple]);
            host.send(home, Message::Gossip { entries: List::default(), tuples, pull: true });
        }
        if pull {
            let entries = self.entries(self.table.group_of(host.id(from)), host);
            host.send(from, Message::Gossip { entries, tuples: truths, pull: false });
        }
    }

    pub(super) fn hear_all(
        &mut self,
        from: P,
        entries: &[Seen<P>],
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        let when = self.when();
        for some in entries.chunks(TOGETHER) {
            let spots = self.table.spots(some, |peer| host.id(peer));
            for (&entry, spot) in some.iter().zip(spots) {
                if entry.peer == from {
                    host.refuse(Some(from), Offence::NamesItself);
                } else {
                    self.take(&when, entry, false, spot, host);
                }
            }
        }
    }

    /// A peer itself was heard.
    pub(super) fn hear(&mut self, peer: P, host: &mut impl Host<P, Message<P>, Event<P>>) {
        let spot = self.table.spot(host.id(peer));
        self.take(&self.when(), Seen { peer, age: 0 }, true, spot, host);
    }

    fn when(&self) -> When {
        self.table.when(self.now)
    }

    /// News of a peer.
    fn take(
        &mut self,
        when: &When,
        news: Seen<P>,
        direct: bool,
        spot: Spot,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) {
        match self.table.hear(when, news, direct, spot, |peer| host.distance(peer)) {
            Change::None => {}
            Change::Full => host.refuse(Some(news.peer), Offence::Full),
            Change::Contact => self.news.add(news.peer, self.config.news_rounds),
            Change::Member => {
                self.news.add(news.peer, self.config.news_rounds);
                host.emit(Event::Update { peer: news.peer, joined: true });
            }
        }
    }

    /// What somebody says of a tuple, which may not be his. Returns the tuple if its home
    /// node is to be asked.
    pub(super) fn hear_tuple(
        &mut self,
        from: P,
        tuple: Tuple<P>,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) -> Option<Tuple<P>> {
        // Honest mates may differ on which empty group this one stands in for.
        if tuple.home == self.me && (tuple.live || self.has(tuple.record.key)) {
            self.hear_of_own(from, &tuple, host);
            return None;
        }
        if self.table.home(self.table.group_of(Id::from_high(tuple.under))) != self.table.group {
            return None;
        }
        let home = tuple.home;
        let word = if home == from { Word::Home } else { Word::Hearsay };
        let ends = word == Word::Hearsay && home != self.me && !tuple.live;
        let ended = (ends && self.tuples.is_live(&tuple, host.id(home))).then(|| tuple.clone());
        let heard = self.tuples.doubts(self.config.max_tuples).then(|| tuple.clone());
        match self.take_tuple(tuple, word, host) {
            Taken::Doubted => return heard.filter(|_| home != self.me),
            Taken::Full => host.refuse(Some(home), Offence::Full),
            Taken::Leap => host.refuse(Some(from), Offence::OutOfRange),
            Taken::Beat(beat) => {
                if let Some(ended) = ended.filter(|ended| ended.beat == beat) {
                    self.tell_home(ended, host);
                }
            }
            Taken::Old => {}
        }
        None
    }

    /// Lets a home node know that its record is said to be withdrawn, so that it can deny
    /// it. All the group hears of that, so a few suffice.
    fn tell_home(&self, ended: Tuple<P>, host: &mut impl Host<P, Message<P>, Event<P>>) {
        if host.rng().index(self.table.members().len() + 1) < TELLERS {
            let (home, tuples) = (ended.home, List::new(vec![ended]));
            host.send(home, Message::Gossip { entries: List::default(), tuples, pull: false });
        }
    }

    pub(super) fn take_tuple(
        &mut self,
        tuple: Tuple<P>,
        word: Word,
        host: &mut impl Host<P, Message<P>, Event<P>>,
    ) -> Taken {
        let config = &self.config;
        let home = host.id(tuple.home);
        let (timeout, most) = (config.tuple_timeout, config.max_tuples);
        self.tuples.take(self.now, (tuple, word), home, timeout, most, config.news_rounds)
    }
}
