//! One run of one overlay with one seed, from its beginning to its figures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use starling_overlay::{Id, Overlay, View};
use starling_sansio::{Rng, Time};

use crate::check::{Check, Violations, flaws};
use crate::engine::Engine;
use crate::histogram::Histogram;
use crate::judge::{Answer, Heard, Root, Shelf, truth};
use crate::metrics::{Kind, Operations};
use crate::network::Network;
use crate::pages::LargePages;
use crate::part::Part;
use crate::place::{Node, Places};
use crate::plan::Plan;
use crate::tally::Tally;
use crate::workload::Workload;

/// Who of those that are up fail at once.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Victims {
    /// Exactly this share of them, 0 to 1, drawn by chance.
    Share(f64),
    /// Each with this probability: how many they are is chance, too.
    Each(f64),
}

/// Some hosts fail, or leave, at one moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Failure {
    /// When.
    pub at: Time,
    /// Who.
    pub who: Victims,
    /// Whether they say good-bye.
    pub graceful: bool,
}

/// All that a trial needs besides the overlay's own parameters.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Who comes, goes, publishes and asks.
    pub plan: Arc<Plan>,
    /// Hosts that are members with perfect tables at the beginning.
    pub converged: u32,
    /// Who fails when.
    pub failures: Vec<Failure>,
    /// The links.
    pub network: Network,
    /// Where hosts stand.
    pub places: Places,
    /// How answers of finds are checked, if at all.
    pub root: Option<Root>,
    /// Whether finds and look-ups are recursive, so that what they take is of one way.
    pub recursive: bool,
    /// When it is checked what must hold.
    pub check: Check,
    /// When measuring begins: what nodes send before, and what is asked, counts nowhere.
    pub measure_from: Time,
    /// The end.
    pub until: Time,
    /// What chance is drawn from.
    pub seed: u64,
}

/// What a trial found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The operations of each kind.
    pub operations: BTreeMap<Kind, Operations>,
    /// What was sent while it was measured.
    pub tally: Tally,
    /// All that was sent, and the hash of the trace.
    pub whole: Tally,
    /// Simulated time that was measured, in seconds.
    pub measured_secs: f64,
    /// Nodes that were up, times seconds, while it was measured.
    pub node_secs: f64,
    /// Nodes that are up at the end, and those of them that are members.
    pub live: u64,
    /// Members among them.
    pub members: u64,
    /// Bytes of state of the nodes that are up at the end.
    pub state: Histogram,
    /// How many peers they have in their tables.
    pub peers: Histogram,
    /// Messages that each host received while it was measured.
    pub load: Histogram,
    /// What each host that is up keeps for others at the end: keys, file tuples or
    /// records, in ascending order.
    pub kept: Vec<u64>,
    /// Queries that came to nodes while it was measured, and those of them that had been
    /// there before.
    pub queries: (u64, u64),
    /// How often a node became a member.
    pub joined: u64,
    /// How often a node said that its overlay is too small to be safe.
    pub too_small: u64,
    /// The time that it came to: before the end if it was stopped.
    pub reached: Time,
    /// What must not be, if that was checked.
    pub violations: Option<Violations>,
}

/// Who may watch a trial and stop it.
pub trait Watch {
    /// The trial has come to `now`; `false` stops it.
    fn go_on(&mut self, now: Time, events: u64) -> bool;
}

impl<F: FnMut(Time, u64) -> bool> Watch for F {
    fn go_on(&mut self, now: Time, events: u64) -> bool {
        self(now, events)
    }
}

/// What was counted when measuring began.
struct Before {
    tally: Tally,
    queries: (u64, u64),
    /// Messages that each host had received.
    received: Vec<u64>,
}

/// How often a trial looks up: live nodes are counted, answers checked, watchers asked.
const SLICE: Duration = Duration::from_secs(1);
/// Nodes whose state is measured at the end, at most.
const SAMPLE: usize = 100_000;

/// A trial under way.
pub struct Trial<C: Overlay<Node>> {
    engine: Engine<C, Workload>,
    setting: Setting,
    rng: Rng,
    /// Whether the world stands.
    begun: bool,
    /// What is there to be found.
    shelf: Option<Shelf>,
    at_measure: Option<Before>,
    node_secs: f64,
    /// Who is up, in the order of ids, and how many changes ago that was.
    members: (u64, Vec<(Id, Node)>),
    pages: LargePages,
}

impl<C> Trial<C>
where
    C: Overlay<Node> + Send,
    C::Message: Send,
    C::Config: Send + Sync,
{
    /// The world before time zero: nobody is up.
    pub fn new(config: &Arc<C::Config>, setting: Setting) -> Self {
        let plan = &setting.plan;
        let searches = plan.traffic.iter().any(|traffic| traffic.kind == Kind::Search);
        let shelf = plan.catalogue.as_ref().map(|all| Shelf::new(all, searches, plan.hosts.count()));
        let checked = setting.root.is_some();
        let (network, places) = (setting.network.clone(), setting.places.clone());
        let (hosts, seed) = (plan.hosts, setting.seed);
        let script = |parts, part| {
            let workload = Workload::new(plan, parts, part, checked, seed);
            workload.measuring(setting.measure_from, setting.recursive)
        };
        let mut engine = if setting.check == Check::Always {
            Engine::in_parts(1, hosts, config, network, places, seed, script)
        } else {
            Engine::new(hosts, config, network, places, seed, script)
        };
        if setting.check == Check::Always {
            engine.parts_mut().for_each(|(part, _)| part.watch());
        }
        let rng = Rng::from_seed(setting.seed ^ 0x7472_6961);
        let (members, pages) = ((0, Vec::new()), LargePages::default());
        Trial { engine, setting, shelf, rng, begun: false, at_measure: None, node_secs: 0.0, members, pages }
    }

    /// The world as it is at time zero; false if `watch` stopped it before it stood.
    pub fn begin(&mut self, watch: &mut impl Watch) -> bool {
        let converged = self.setting.converged;
        if !self.begun && self.engine.converge(0..converged, || watch.go_on(Time::ZERO, 0)) {
            self.engine.parts_mut().for_each(|(part, script)| script.begin(part, converged));
            self.begun = true;
        }
        self.begun
    }

    /// Runs to the end, or until `watch` stops it.
    pub fn run(&mut self, threads: usize, watch: &mut impl Watch) {
        if !self.begin(watch) {
            return;
        }
        let mut failures = self.setting.failures.clone();
        failures.sort_by_key(|failure| failure.at);
        let mut failures = failures.into_iter().peekable();
        while self.engine.now() < self.setting.until {
            self.name_anchor();
            self.pages.keep_up();
            let next = (self.engine.now() + SLICE).min(self.setting.until);
            let next = failures.peek().map_or(next, |failure| next.min(failure.at.max(self.engine.now())));
            let from = self.engine.now();
            self.measure_if_due(next);
            self.engine.run_until(next, threads);
            if let Some(failure) = failures.next_if(|failure| failure.at <= next) {
                self.fail(failure);
            }
            self.check_answers();
            self.judge_hits();
            if self.at_measure.is_some() {
                self.node_secs += self.live() as f64 * next.since(from).as_secs_f64();
            }
            if !watch.go_on(next, self.engine.tally().events()) {
                break;
            }
        }
    }

    /// The world, to be looked at.
    pub fn engine(&self) -> &Engine<C, Workload> {
        &self.engine
    }

    /// The world, to be meddled with between two runs.
    pub fn engine_mut(&mut self) -> &mut Engine<C, Workload> {
        &mut self.engine
    }

    /// What was found so far.
    pub fn findings(&self) -> Findings {
        let whole = self.engine.tally();
        let before = self.at_measure.as_ref();
        let tally = before.map(|before| whole.since(&before.tally)).unwrap_or_default();
        let queries = before.map_or((0, 0), |before| {
            let now = self.queries();
            (now.0 - before.queries.0, now.1 - before.queries.1)
        });
        let measured = self.engine.now().since(self.setting.measure_from);
        let mut findings = Findings {
            tally,
            whole,
            queries,
            measured_secs: measured.as_secs_f64(),
            node_secs: self.node_secs,
            live: self.live(),
            reached: self.engine.now(),
            violations: self.violations(),
            ..Findings::default()
        };
        for (part, script) in self.engine.parts() {
            for (kind, operations) in script.operations(part) {
                findings.operations.entry(kind).or_default().add(&operations);
            }
            findings.joined += script.joined();
            findings.too_small += script.too_small();
            for host in part.hosts() {
                if let Some(before) = before {
                    findings.load.add(received(part, host) - before.received[host as usize]);
                }
                findings.kept.extend(kept(part, host));
            }
            findings.members += members(part);
            let step = part.live().len().div_ceil(SAMPLE).max(1);
            let sample = part.live().iter().step_by(step).filter_map(|&host| part.node(host));
            for (_, core) in sample {
                findings.state.add(core.state_bytes() as u64);
                findings.peers.add(core.known().len() as u64);
            }
        }
        findings.kept.sort_unstable();
        findings
    }

    /// What was wrong, if that was checked; the tables only if the end was reached.
    fn violations(&self) -> Option<Violations> {
        if self.setting.check == Check::Never {
            return None;
        }
        let now = self.engine.now();
        let rings = self.engine.parts().map(|(_, script)| script.violations(now));
        let rings = rings.fold(Violations::default(), Violations::and);
        let at_end = if now >= self.setting.until { flaws(&self.engine) } else { Violations::default() };
        Some(rings.and(at_end))
    }

    fn live(&self) -> u64 {
        self.engine.parts().map(|(part, _)| part.live().len() as u64).sum()
    }

    /// Remembers the counts from which measuring begins.
    fn measure_if_due(&mut self, next: Time) {
        if self.at_measure.is_none() && next > self.setting.measure_from {
            let hosts = 0..self.engine.hosts().count();
            let received = hosts.map(|host| received(self.engine.part_of(host), host)).collect();
            self.at_measure = Some(Before { tally: self.engine.tally(), queries: self.queries(), received });
        }
    }

    /// Queries that all nodes received since the beginning, whether they are still up or not,
    /// and those of them that had been at the node before.
    fn queries(&self) -> (u64, u64) {
        let add = |sum: (u64, u64), more: (u64, u64)| (sum.0 + more.0, sum.1 + more.1);
        let of_part = |(part, script): &(Part<C>, Workload)| {
            let nodes = part.live().iter().filter_map(|&host| part.node(host));
            let counts = nodes.map(|(_, core)| core.counts());
            counts.map(|one| (one.queries, one.duplicates)).fold(script.queries_of_the_gone(), add)
        };
        self.engine.parts().map(of_part).fold((0, 0), add)
    }

    /// Tells all parts of someone who is up, should they have nobody themselves.
    fn name_anchor(&mut self) {
        let anchor = self.engine.parts().find_map(|(part, _)| {
            let nodes = part.live().iter().filter_map(|&host| part.node(host));
            let is_boot = |node: Node, core: &C| core.is_member() && !part.network().is_natted(node.host());
            nodes.into_iter().find(|&(node, core)| is_boot(node, core)).map(|(node, _)| node)
        });
        self.engine.parts_mut().for_each(|(_, script)| script.set_anchor(anchor));
    }

    fn fail(&mut self, failure: Failure) {
        let hosts = 0..self.engine.hosts().count();
        let mut up: Vec<u32> = hosts.filter(|&host| self.engine.part_of(host).node(host).is_some()).collect();
        match failure.who {
            Victims::Share(share) => {
                self.rng.shuffle(&mut up);
                up.truncate((up.len() as f64 * share).round() as usize);
            }
            Victims::Each(probability) => up.retain(|_| self.rng.unit() < probability),
        }
        for host in up {
            let (part, script) = self.engine.part_and_script_of_mut(host);
            if failure.graceful {
                Workload::say_good_bye(host, part);
            } else {
                script.stop(host, part);
            }
        }
    }

    /// Compares the answers of finds with who is there now.
    fn check_answers(&mut self) {
        let Some(root) = self.setting.root else { return };
        let answers: Vec<Answer> =
            self.engine.parts_mut().flat_map(|(_, script)| script.take_answers()).collect();
        if answers.is_empty() {
            return;
        }
        let changes = self.engine.parts().map(|(part, _)| part.changes()).sum();
        if self.members.0 != changes {
            self.members = (changes, self.engine.members());
        }
        let view = View::new(&self.members.1);
        let right =
            answers.iter().filter(|answer| truth(root, &view, answer.key) == Some(answer.node)).count();
        if let Some((_, script)) = self.engine.parts_mut().next() {
            let finds = script.operations_mut(Kind::Find);
            finds.right += right as u64;
            finds.checked += answers.len() as u64;
        }
    }

    /// Compares what searches and look-ups were told with who is there now.
    fn judge_hits(&mut self) {
        let Some(shelf) = &self.shelf else { return };
        let heard: Vec<Heard> = self.engine.parts_mut().flat_map(|(_, script)| script.take_heard()).collect();
        for heard in heard {
            let mut judged = Operations::default();
            let up = |host| self.engine.part_of(host).node(host).map(|(node, _)| node);
            shelf.judge(&heard, up, &mut judged);
            if let Some((_, script)) = self.engine.parts_mut().next() {
                script.operations_mut(heard.kind).add(&judged);
            }
        }
    }
}

/// Messages that the nodes on a host received since the beginning.
fn received<C: Overlay<Node>>(part: &Part<C>, host: u32) -> u64 {
    part.nodes_of(host).map(|node| u64::from(part.received(node))).sum()
}

/// What a host keeps for others, if it is up.
fn kept<C: Overlay<Node>>(part: &Part<C>, host: u32) -> Option<u64> {
    let nodes = part.nodes_of(host).filter_map(|node| part.node(node));
    nodes.map(|(_, core)| core.counts().kept).reduce(|sum, more| sum + more)
}

fn members<C: Overlay<Node>>(part: &Part<C>) -> u64 {
    let nodes = part.live().iter().filter_map(|&host| part.node(host));
    nodes.filter(|(_, core)| core.is_member()).count() as u64
}
