//! Who comes, goes, publishes and asks: the script of one part.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use starling_overlay::{Command, Cost, Event, Id, Op, Outcome, Overlay};
use starling_sansio::{Rng, Time};

use crate::check::{RingWatch, Violations};
use crate::judge::{Answer, Heard};
use crate::metrics::{Kind, Operations};
use crate::network::FOUNDER;
use crate::part::{Part, Script};
use crate::place::Node;
use crate::plan::{Amount, Plan};

/// What the tags of planned moments mean: the top byte of the tag.
mod tag {
    pub const ARRIVE: u64 = 0;
    pub const DEPART: u64 = 1;
    pub const REMOVE: u64 = 2;
    pub const PUBLISH: u64 = 3;
    pub const ASK: u64 = 4;
    pub const TOTAL: u64 = 5;

    /// A tag of a kind for host or traffic `what`.
    pub fn of(kind: u64, what: u64) -> u64 {
        kind << 56 | what
    }

    /// The kind and the rest.
    pub fn parts(tag: u64) -> (u64, u64) {
        (tag >> 56, tag & ((1 << 56) - 1))
    }
}

/// An operation under way.
#[derive(Clone, Debug)]
struct Pending {
    node: Node,
    kind: Kind,
    begun: Time,
    first_hit: Option<Time>,
    key: Id,
    record: u32,
    answer: Option<Node>,
    hits: Vec<(Id, Node)>,
}

/// The script of one part.
pub struct Workload {
    plan: Arc<Plan>,
    /// How many parts there are, and which this is.
    parts: u32,
    part: u32,
    /// The records of this part's hosts: (host, record), sorted.
    owned: Vec<(u32, u32)>,
    /// Draws when something is asked, by whom, and what: the same for all overlays,
    /// however much chance they use themselves.
    questions: Rng,
    pending: BTreeMap<u32, Pending>,
    next_op: u32,
    operations: BTreeMap<Kind, Operations>,
    answers: Vec<Answer>,
    /// Whether the answers of finds are kept to be checked.
    checked: bool,
    heard: Vec<Heard>,
    /// Queries that came to nodes that are gone, and those of them that had been there.
    queries: (u64, u64),
    /// Someone who is up, for parts in which nobody is yet.
    anchor: Option<Node>,
    /// What is asked before counts nowhere.
    measure_from: Time,
    /// Whether finds and look-ups are recursive.
    recursive: bool,
    joined: u64,
    too_small: u64,
    /// Whoever checks the ring after every event, if somebody does.
    ring: RingWatch,
}

impl Workload {
    /// The script of part `index` of `parts`; `seed` is the trial's.
    pub fn new(plan: &Arc<Plan>, parts: u32, index: u32, checked: bool, seed: u64) -> Self {
        let mut owned = Vec::new();
        if let Some(catalogue) = &plan.catalogue {
            for record in 0..catalogue.records {
                let owners = catalogue.owners(record, plan.hosts.count()).into_iter();
                owned.extend(owners.filter(|host| host % parts == index).map(|host| (host, record)));
            }
        }
        owned.sort_unstable();
        Workload {
            plan: plan.clone(),
            parts: parts.max(1),
            part: index,
            owned,
            questions: Rng::from_seed(seed ^ 0x6173_6b00 ^ u64::from(index)),
            pending: BTreeMap::new(),
            next_op: 0,
            operations: BTreeMap::new(),
            answers: Vec::new(),
            checked,
            heard: Vec::new(),
            queries: (0, 0),
            anchor: None,
            measure_from: Time::ZERO,
            recursive: false,
            joined: 0,
            too_small: 0,
            ring: RingWatch::default(),
        }
    }

    /// The same, counting only what is asked from then on, and the ways of what is
    /// `recursive`.
    pub fn measuring(self, measure_from: Time, recursive: bool) -> Self {
        Workload { measure_from, recursive, ..self }
    }

    /// Plans what begins by itself. `up`: hosts below this number are already there.
    pub fn begin<C: Overlay<Node>>(&mut self, part: &mut Part<C>, up: u32) {
        let plan = self.plan.clone();
        let hosts: Vec<u32> = part.hosts().collect();
        for &host in &hosts {
            let arrival = plan.arrivals.iter().find(|a| (a.first..a.first + a.count).contains(&host));
            if let Some(arrival) = arrival {
                let share = f64::from(host - arrival.first) / f64::from(arrival.count.max(1));
                part.plan(arrival.at + arrival.over.mul_f64(share), tag::of(tag::ARRIVE, host.into()));
            } else if host < up {
                self.settle(host, part, true);
            }
        }
        for (number, traffic) in (0u64..).zip(&plan.traffic) {
            match traffic.amount {
                Amount::Every(_) => self.plan_next(number, traffic.from, part),
                Amount::Total(total) => self.plan_total(number, total, part),
            }
        }
    }

    /// A host is up: its session will end, and it will publish what it has.
    fn settle<C: Overlay<Node>>(&mut self, host: u32, part: &mut Part<C>, met: bool) {
        let now = part.now();
        if let Some(churn) = self.plan.churn {
            let rest = if met { churn.session.draw_rest(part.rng()) } else { churn.session.draw(part.rng()) };
            part.plan(now + rest, tag::of(tag::DEPART, host.into()));
        }
        if self.records_of(host).next().is_some() {
            let (begin, over) = self.plan.publish;
            let wait = over.mul_f64(part.rng().unit());
            part.plan(begin.max(now) + wait, tag::of(tag::PUBLISH, host.into()));
        }
    }

    fn records_of(&self, host: u32) -> impl Iterator<Item = u32> + '_ {
        let from = self.owned.partition_point(|owned| owned.0 < host);
        self.owned[from..].iter().take_while(move |owned| owned.0 == host).map(|owned| owned.1)
    }

    /// The next operation of a traffic that goes on.
    fn plan_next<C: Overlay<Node>>(&mut self, number: u64, after: Time, part: &mut Part<C>) {
        let traffic = self.plan.traffic[number as usize];
        let Amount::Every(interval) = traffic.amount else { return };
        let hosts = part.count().max(1);
        let wait = interval.mul_f64(-(1.0 - self.questions.unit()).ln() / f64::from(hosts));
        let time = after + wait;
        if time < traffic.until {
            part.plan(time, tag::of(tag::ASK, number));
        }
    }

    /// All operations of a traffic of a fixed number, as far as they fall to this part.
    fn plan_total<C: Overlay<Node>>(&mut self, number: u64, total: u64, part: &mut Part<C>) {
        let traffic = self.plan.traffic[number as usize];
        let span = traffic.until.since(traffic.from);
        let (parts, index) = (u64::from(self.parts), u64::from(self.part));
        let mine = (total + parts - 1 - index) / parts;
        for _ in 0..mine {
            let time = traffic.from + span.mul_f64(self.questions.unit());
            part.plan(time, tag::of(tag::TOTAL, number));
        }
    }

    /// What was measured of each kind; operations under way count as open.
    pub fn operations(&self, part: &Part<impl Overlay<Node>>) -> BTreeMap<Kind, Operations> {
        let mut operations = self.operations.clone();
        for pending in self.pending.values().filter(|pending| pending.begun >= self.measure_from) {
            let there = part.node(pending.node.host()).is_some_and(|(node, _)| node == pending.node);
            let of_kind = operations.entry(pending.kind).or_default();
            let had_time = part.now().since(pending.begun) >= PATIENCE;
            if there && had_time { of_kind.open += 1 } else { of_kind.aborted += 1 }
        }
        operations
    }

    /// Takes the answers of finds that ended since this was last called.
    pub fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    /// Takes what searches and look-ups that ended since this was last called were told.
    pub fn take_heard(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }

    /// What was measured of a kind, for answers that were checked to be added.
    pub fn operations_mut(&mut self, kind: Kind) -> &mut Operations {
        self.operations.entry(kind).or_default()
    }

    /// Queries that nodes received that are gone, and those of them that had been at the
    /// node before.
    pub fn queries_of_the_gone(&self) -> (u64, u64) {
        self.queries
    }

    /// How often a node became a member.
    pub fn joined(&self) -> u64 {
        self.joined
    }

    /// How often a node said that the overlay is too small to be safe.
    pub fn too_small(&self) -> u64 {
        self.too_small
    }

    /// What was wrong with the ring until `now`.
    pub fn violations(&self, now: Time) -> Violations {
        self.ring.violations(now)
    }

    /// Names a node that is up, for parts in which nobody is.
    pub fn set_anchor(&mut self, anchor: Option<Node>) {
        self.anchor = anchor;
    }

    /// A host comes, through someone who is there.
    fn arrive<C: Overlay<Node>>(&mut self, host: u32, part: &mut Part<C>) {
        if part.node(host).is_some() {
            return;
        }
        let boot = self.boot(part);
        if boot.is_none() && host != FOUNDER {
            // Two hosts that each found nobody would begin two overlays.
            return part.plan(part.now() + AGAIN, tag::of(tag::ARRIVE, host.into()));
        }
        let renamed = self.plan.churn.is_some_and(|churn| churn.renamed) && part.now() > Time::ZERO;
        let first = part.start(host, renamed);
        part.command(host, Command::Join(boot));
        for node in part.nodes_of(host).skip(1) {
            part.start(node, renamed);
            part.command(node, Command::Join(boot.or(Some(first))));
        }
        self.settle(host, part, false);
    }

    /// A member of this part that can be dialled, or the anchor.
    fn boot<C: Overlay<Node>>(&self, part: &mut Part<C>) -> Option<Node> {
        for _ in 0..16 {
            let host = part.random_live();
            if let Some((node, core)) = host.and_then(|host| part.node(host))
                && core.is_member()
                && !part.network().is_natted(node.host())
            {
                return Some(node);
            }
        }
        self.anchor
    }

    /// A session ends: with a good-bye, or without.
    fn depart<C: Overlay<Node>>(&mut self, host: u32, part: &mut Part<C>) {
        let Some(churn) = self.plan.churn else { return };
        let now = part.now();
        let absence = churn.absence.draw(part.rng());
        let least = if part.rng().unit() < churn.graceful {
            Workload::say_good_bye(host, part);
            GOOD_BYE + AGAIN // it is gone before it comes again
        } else {
            self.stop(host, part);
            ABSENCE
        };
        part.plan(now + absence.max(least), tag::of(tag::ARRIVE, host.into()));
    }

    /// The nodes on a host leave, and have some seconds for it before they are gone.
    pub fn say_good_bye<C: Overlay<Node>>(host: u32, part: &mut Part<C>) {
        part.nodes_of(host).for_each(|node| part.command(node, Command::Leave));
        part.plan(part.now() + GOOD_BYE, tag::of(tag::REMOVE, host.into()));
    }

    /// A node has said good-bye: its host is gone when all of them have.
    fn left<C: Overlay<Node>>(&mut self, host: u32, part: &mut Part<C>) {
        let stays = |node: u32| part.node(node).is_some_and(|(_, core)| core.is_member());
        if !part.nodes_of(host).any(stays) {
            part.plan(part.now(), tag::of(tag::REMOVE, host.into()));
        }
    }

    /// The nodes on a host are gone without a word; what they counted is not.
    pub fn stop<C: Overlay<Node>>(&mut self, host: u32, part: &mut Part<C>) {
        for node in part.nodes_of(host) {
            let counts = part.node(node).map(|(_, core)| core.counts()).unwrap_or_default();
            self.queries.0 += counts.queries;
            self.queries.1 += counts.duplicates;
            part.stop(node);
        }
    }

    fn publish<C: Overlay<Node>>(&mut self, host: u32, part: &mut Part<C>) {
        let Some(catalogue) = &self.plan.catalogue else { return };
        let is_member = part.node(host).is_some_and(|(_, core)| core.is_member());
        if !is_member {
            if part.node(host).is_some() {
                part.plan(part.now() + RETRY, tag::of(tag::PUBLISH, host.into()));
            }
            return;
        }
        let records: Vec<_> = self.records_of(host).map(|n| catalogue.record(n)).collect();
        records.into_iter().for_each(|record| part.command(host, Command::Publish(record)));
    }

    /// A random host of this part asks something, if it is up.
    fn ask<C: Overlay<Node>>(&mut self, number: u64, host: Option<u32>, part: &mut Part<C>) {
        let Some(&traffic) = self.plan.traffic.get(number as usize) else { return };
        let rng = &mut self.questions;
        let record = self.plan.catalogue.as_ref().map_or(0, |catalogue| catalogue.draw(rng));
        let random = Id::hash(&rng.next_u64().to_be_bytes());
        // Who is hostile asks nothing: what counts is what the others get.
        let honest = host.filter(|&host| part.network().hostility(host).is_none());
        let asking = honest.and_then(|host| part.node(host)).filter(|(_, core)| core.is_member());
        let Some((node, _)) = asking else { return };
        let key = match (&self.plan.catalogue, traffic.kind) {
            (Some(catalogue), Kind::LookUp) => catalogue.key(record),
            _ => random,
        };
        let op = Op(self.next_op);
        self.next_op = self.next_op.wrapping_add(1);
        let command = match (&self.plan.catalogue, traffic.kind) {
            (Some(catalogue), Kind::Search) => Command::Search(op, catalogue.query(record, traffic.wanted)),
            (_, Kind::Search) => return,
            (_, Kind::LookUp) => Command::LookUp(op, key),
            (_, Kind::Find) => Command::Find(op, key),
        };
        let (begun, hits) = (part.now(), Vec::new());
        if begun >= self.measure_from {
            self.operations.entry(traffic.kind).or_default().begun += 1;
        }
        let pending =
            Pending { node, kind: traffic.kind, begun, first_hit: None, key, record, answer: None, hits };
        self.pending.insert(op.0, pending);
        part.command(node.host(), command);
    }

    fn hit(&mut self, node: Node, op: Op, hits: Vec<starling_overlay::Hit<Node>>, now: Time) {
        let Some(pending) = self.pending.get_mut(&op.0).filter(|pending| pending.node == node) else {
            return;
        };
        pending.first_hit.get_or_insert(now);
        pending.answer = pending.answer.or(hits.first().map(|hit| hit.provider));
        for hit in hits.into_iter().map(|hit| (hit.record.key, hit.provider)) {
            if pending.hits.len() < MAX_HITS && !pending.hits.contains(&hit) {
                pending.hits.push(hit);
            }
        }
    }

    fn done<C: Overlay<Node>>(&mut self, node: Node, op: Op, outcome: Outcome, cost: Cost, part: &Part<C>) {
        if self.pending.get(&op.0).is_none_or(|pending| pending.node != node) {
            return;
        }
        let Some(mut pending) = self.pending.remove(&op.0) else { return };
        if pending.begun < self.measure_from {
            return;
        }
        let operations = self.operations.entry(pending.kind).or_default();
        match outcome {
            Outcome::Found => operations.found += 1,
            Outcome::NotFound => operations.not_found += 1,
            Outcome::Failed => operations.failed += 1,
            Outcome::Refused => operations.refused += 1,
        }
        operations.timeouts.add(cost.timeouts.into());
        if pending.kind != Kind::Find && self.plan.catalogue.is_some() {
            let hits = std::mem::take(&mut pending.hits);
            self.heard.push(Heard { kind: pending.kind, record: pending.record, hits });
        }
        if outcome != Outcome::Found {
            return;
        }
        let took = pending.first_hit.unwrap_or(part.now()).since(pending.begun).as_micros() as u64;
        operations.hops.add(cost.hops.into());
        operations.latency.add(took);
        let Some(answer) = pending.answer else { return };
        let direct = part.network().round_trip(node.host(), answer.host()).as_micros() as u64;
        if let Some(stretch) = (took * 1_000).checked_div(direct)
            && answer != node
        {
            operations.stretch.add(stretch);
            if self.recursive {
                operations.took += took;
                operations.direct += direct;
            }
        }
        if pending.kind == Kind::Find && self.checked {
            self.answers.push(Answer { key: pending.key, node: answer });
        }
    }
}

/// How long a host stays at most that says good-bye; no core takes longer for it.
const GOOD_BYE: Duration = Duration::from_secs(6);
/// A host that crashed needs so long at least until it is up again.
const ABSENCE: Duration = Duration::from_secs(2);
/// Operations begun so shortly before the end may be under way without blame.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many hosts are looked at for one that is not hostile and asks.
const DRAWS: u32 = 64;
/// How long a host waits that found nobody to join through.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a host waits that wants to publish and is no member yet.
const RETRY: Duration = Duration::from_secs(5);
/// Hits of one search that are told apart.
const MAX_HITS: usize = 10_000;

impl<C: Overlay<Node>> Script<C> for Workload {
    fn due(&mut self, tag: u64, part: &mut Part<C>) {
        let (kind, what) = tag::parts(tag);
        let host = what as u32;
        match kind {
            tag::ARRIVE => self.arrive(host, part),
            tag::DEPART if part.node(host).is_some() => self.depart(host, part),
            tag::REMOVE => self.stop(host, part),
            tag::PUBLISH => self.publish(host, part),
            tag::ASK => {
                let host = part.host(self.questions.index(part.count() as usize) as u32);
                self.ask(what, host, part);
                self.plan_next(what, part.now(), part);
            }
            tag::TOTAL => {
                let mut any = || part.live().get(self.questions.index(part.live().len())).copied();
                let is_honest = |host: &u32| part.network().hostility(*host).is_none();
                let host = (0..DRAWS).filter_map(|_| any()).find(is_honest);
                self.ask(what, host, part);
            }
            _ => {}
        }
    }

    fn told(&mut self, node: Node, event: Event<Node>, part: &mut Part<C>) {
        match event {
            Event::Joined => self.joined += 1,
            Event::Hits { op, hits } => self.hit(node, op, hits, part.now()),
            Event::Closest { op, peers } => {
                if let Some(pending) = self.pending.get_mut(&op.0).filter(|pending| pending.node == node) {
                    pending.answer = peers.first().copied();
                }
            }
            Event::Done { op, outcome, cost } => self.done(node, op, outcome, cost, part),
            Event::TooSmall { .. } => self.too_small += 1,
            Event::Left => self.left(part.host_of(node), part),
            Event::Update { .. } => {}
        }
    }

    fn changed(&mut self, hosts: &[u32], part: &Part<C>) {
        self.ring.look(hosts, part);
    }
}
