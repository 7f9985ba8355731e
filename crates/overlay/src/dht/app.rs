//! What a node has beside its routing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use starling_sansio::Time;

use super::MAX_OPEN;
use super::chores::{Chore, Kind};
use super::handover::Handing;
use super::jobs::{Job, Phase, Task};
use super::message::{Gone, Handed, Put};
use super::publish::{Published, Told};
use super::withdraw::{Withdrawal, Withdrawn};
use crate::postings::{Postings, map_bytes};
use crate::{Id, Peer, Rpcs};

/// Postings, those of others and its own, and what is under way.
#[derive(Debug)]
pub struct App<P> {
    pub kept: Postings<P>,
    /// What was withdrawn here, of whom, and until when it is not to be handed back.
    pub withdrawn: BTreeMap<Withdrawn<P>, Time>,
    pub published: Vec<Published<P>>,
    pub jobs: BTreeMap<u32, Job<P>>,
    pub waiting: VecDeque<Task>,
    /// Publications that wait, those of which nobody has heard before others.
    pub chores: VecDeque<Chore>,
    /// Withdrawals that wait, first tries before others, and those to be tried again.
    pub withdrawals: VecDeque<Withdrawal>,
    pub withdraw_later: BTreeMap<(Time, Gone), Withdrawal>,
    /// Of what something was begun longest ago, and so on.
    pub turns: [Kind; Kind::ALL.len()],
    pub open: Rpcs<P, Sent<P>, MAX_OPEN>,
    /// What is on its way to whom, and of that what is to be sent now.
    pub handing: BTreeMap<(P, Id), Handing<P>>,
    pub hands: BTreeSet<(P, Id)>,
    /// Who is still to be told that this node no longer has something.
    pub drops: BTreeSet<(P, Gone)>,
    /// Who of them does not answer: until when it rests, and how often it was told again.
    pub silent: BTreeMap<P, (Time, u8)>,
    pub sweep: Time,
    pub leaving: Option<Time>,
    pub next: Time,
}

/// A message that waits for a [`super::DhtMessage::Stored`].
#[derive(Clone, Debug)]
pub struct Sent<P> {
    pub letter: Letter<P>,
    pub job: Option<u32>,
    pub again: bool,
}

/// Its content, to be sent once more.
#[derive(Clone, Debug)]
pub enum Letter<P> {
    Put(Box<Put>),
    Drop(Vec<Gone>),
    Hand(Vec<Handed<P>>),
}

impl<P> Default for App<P> {
    fn default() -> Self {
        App {
            kept: Postings::default(),
            withdrawn: BTreeMap::new(),
            published: Vec::new(),
            jobs: BTreeMap::new(),
            waiting: VecDeque::new(),
            chores: VecDeque::new(),
            withdrawals: VecDeque::new(),
            withdraw_later: BTreeMap::new(),
            turns: Kind::ALL,
            open: Rpcs::default(),
            handing: BTreeMap::new(),
            hands: BTreeSet::new(),
            drops: BTreeSet::new(),
            silent: BTreeMap::new(),
            sweep: Time::NEVER,
            leaving: None,
            next: Time::NEVER,
        }
    }
}

impl<P: Peer> App<P> {
    /// When the next thing is due.
    pub fn next_deadline(&self) -> Time {
        let asking = self.jobs.values().filter_map(|job| match &job.phase {
            Phase::Asking(asking) => Some(asking.deadline),
            _ => None,
        });
        let published = self.published.iter().map(|one| one.next.min(one.again));
        let again = self.withdraw_later.first_key_value().map(|(key, _)| key.0);
        let rested = self.silent.values().map(|rest| rest.0);
        let handed = self.handing.values().filter_map(|one| one.again);
        let others =
            self.open.next_deadline().into_iter().chain(again).chain(self.leaving).chain([self.sweep]);
        asking.chain(published).chain(rested).chain(handed).chain(others).min().unwrap_or(Time::NEVER)
    }

    /// Whether there is nothing to remember.
    pub fn is_quiet(&self) -> bool {
        self.kept.is_empty()
            && self.withdrawn.is_empty()
            && self.published.is_empty()
            && self.jobs.is_empty()
            && self.waiting.is_empty()
            && self.chores.is_empty()
            && self.withdrawals.is_empty()
            && self.withdraw_later.is_empty()
            && self.open.is_empty()
            && self.handing.is_empty()
            && self.drops.is_empty()
            && self.leaving.is_none()
    }

    /// Its bytes, itself included; names that are shared with a record are counted
    /// where they are kept for others.
    pub fn bytes(&self) -> usize {
        let letters = self.open.iter().map(|(_, sent)| match &sent.letter {
            Letter::Put(_) => size_of::<Put>(),
            Letter::Drop(items) => items.capacity() * size_of::<Gone>(),
            Letter::Hand(items) => items.capacity() * size_of::<Handed<P>>(),
        });
        let told = self.published.iter().map(|one| {
            let peers = one.told.iter().map(|told| told.peers.capacity() * size_of::<P>());
            one.told.capacity() * size_of::<Told<P>>() + peers.sum::<usize>()
        });
        let missing = self.handing.values().map(|one| map_bytes::<(P, Id), ()>(one.missing.len()));
        size_of::<Self>()
            + self.kept.heap_bytes()
            + map_bytes::<Withdrawn<P>, Time>(self.withdrawn.len())
            + self.published.capacity() * size_of::<Published<P>>()
            + told.sum::<usize>()
            + map_bytes::<u32, Job<P>>(self.jobs.len())
            + self.waiting.capacity() * size_of::<Task>()
            + self.chores.capacity() * size_of::<Chore>()
            + self.withdrawals.capacity() * size_of::<Withdrawal>()
            + map_bytes::<(Time, Gone), Withdrawal>(self.withdraw_later.len())
            + self.open.heap_bytes()
            + letters.sum::<usize>()
            + map_bytes::<(P, Id), Handing<P>>(self.handing.len())
            + missing.sum::<usize>()
            + map_bytes::<(P, Id), ()>(self.hands.len())
            + map_bytes::<(P, Gone), ()>(self.drops.len())
            + map_bytes::<P, (Time, u8)>(self.silent.len())
    }
}
