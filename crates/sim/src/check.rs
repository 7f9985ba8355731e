//! What must hold in a simulated network, checked by somebody who sees all of it.
//!
//! **After every event** (Chord): Zave's invariant, from which follows that there is one
//! ring and that it is in order. It is a property of the successor lists of all members
//! at one moment; so a world in which it is checked has one part, and it is checked anew
//! only when a list changed, somebody became a member or is none any more. It is demanded
//! from the moment at which it holds for the first time, which takes r + 1 members. No
//! protocol keeps it when all r entries of a list fail at once: such a failure is a
//! violation like others, and is told.
//!
//! **At the end**: everybody can be reached from everybody through tables, and each
//! member's tables are as they should be ([`Checked::flaw`]): neighbours on the ring and
//! leaf sets right, buckets and groups without strangers, links mutual. That is only
//! fair after a time in which nobody comes, goes or fails.

use std::collections::BTreeMap;
use std::fmt;

use starling_overlay::chord::invariant::Checker;
use starling_overlay::{Checked, Core, Id, Overlay, Standing, View};
use starling_sansio::Time;

use crate::engine::Engine;
use crate::part::{Part, Script};
use crate::place::Node;

/// When is checked.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Check {
    /// Never.
    #[default]
    Never,
    /// The tables, at the end.
    End,
    /// Also the invariant of the ring, after every event.
    Always,
}

/// Something that must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// When it was seen.
    pub time: Time,
    /// The node that shows it, if one does.
    pub node: Option<Node>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:.6} s", self.time.as_secs_f64())?;
        if let Some(node) = self.node {
            write!(f, ", node {}", node.host())?;
        }
        write!(f, ": {}", self.what)
    }
}

/// All violations that were seen.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Violations {
    /// How many: times that the invariant stopped to hold, and flaws at the end.
    pub count: u64,
    /// The first one.
    pub first: Option<Violation>,
}

impl Violations {
    fn add(&mut self, violation: impl FnOnce() -> Violation) {
        self.count += 1;
        self.first.get_or_insert_with(violation);
    }

    /// These and then `later` ones.
    pub fn and(mut self, later: Violations) -> Violations {
        self.count += later.count;
        self.first = self.first.or(later.first);
        self
    }
}

/// Watches the ring of a world of one part.
#[derive(Debug, Default)]
pub struct RingWatch {
    /// Where each host's member stands.
    places: BTreeMap<u32, (Node, Id)>,
    /// All members in the order of their ids.
    standings: Vec<Standing>,
    checker: Option<Checker>,
    /// Whether the invariant has ever held, and whether it held last.
    begun: bool,
    held: bool,
    violations: Violations,
}

impl RingWatch {
    /// The nodes on `hosts` did something, came or went.
    pub fn look<C: Overlay<Node>>(&mut self, hosts: &[u32], part: &Part<C>) {
        let mut changed = false;
        for &host in hosts {
            let standing = part.inspect(host, Checked::standing).flatten();
            let standing = part.node(host).map(|(node, _)| node).zip(standing);
            changed |= self.set(host, standing);
        }
        let Some(checker) = self.checker.as_mut().filter(|_| changed) else { return };
        let verdict = checker.check(&self.standings);
        self.begun |= verdict.is_ok();
        if let Err(broken) = verdict
            && self.held
        {
            let node = broken.member().and_then(|id| node_at(&self.places, id));
            self.violations.add(|| Violation { time: part.now(), node, what: broken.to_string() });
        }
        self.held = verdict.is_ok();
    }

    /// Where the member on `host` stands now, if there is one; whether that is news.
    fn set(&mut self, host: u32, standing: Option<(Node, (usize, Standing))>) -> bool {
        let before = self.places.get(&host).copied();
        let Some((node, (r, standing))) = standing else {
            self.places.remove(&host);
            return before.is_some_and(|(_, id)| self.take(id));
        };
        self.checker.get_or_insert_with(|| Checker::new(r));
        self.places.insert(host, (node, standing.id));
        let moved = before.is_some_and(|(_, id)| id != standing.id && self.take(id));
        match self.standings.binary_search_by_key(&standing.id, |one| one.id) {
            Ok(at) if self.standings[at] == standing => moved,
            Ok(at) => {
                self.standings[at] = standing;
                true
            }
            Err(at) => {
                self.standings.insert(at, standing);
                true
            }
        }
    }

    fn take(&mut self, id: Id) -> bool {
        let at = self.standings.binary_search_by_key(&id, |one| one.id);
        at.map(|at| self.standings.remove(at)).is_ok()
    }

    /// What was seen until `now`, the end. A ring that never was one is a violation.
    pub fn violations(&self, now: Time) -> Violations {
        let mut violations = self.violations.clone();
        if self.checker.is_some() && !self.begun {
            let what = "there never were the r + 1 members that a ring needs".to_owned();
            violations.add(|| Violation { time: now, node: None, what });
        }
        violations
    }
}

fn node_at(places: &BTreeMap<u32, (Node, Id)>, id: Id) -> Option<Node> {
    places.values().find(|place| place.1 == id).map(|place| place.0)
}

/// The flaws of all tables now.
pub fn flaws<C, S>(engine: &Engine<C, S>) -> Violations
where
    C: Overlay<Node> + Send,
    C::Message: Send,
    C::Config: Send + Sync,
    S: Script<C>,
{
    let mut members = engine.members();
    let core = |node: Node| engine.part_of(node.host()).node(node.host()).filter(|there| there.0 == node);
    let member = |node: Node| core(node).map(|there| there.1).filter(|core| core.is_member());
    members.retain(|&(_, node)| member(node).is_some());
    let view = View::new(&members);
    let mut violations =
        unreached(&members, |node| member(node).map(Core::known).unwrap_or_default(), engine.now());
    for &(_, node) in &members {
        let part = engine.part_of(node.host());
        let flaw = part.inspect(node.host(), |core, outside| core.flaw(&view, &member, outside)).flatten();
        if let Some(what) = flaw {
            violations.add(|| Violation { time: engine.now(), node: Some(node), what });
        }
    }
    violations
}

/// Members that the first one does not reach through tables, and those that do not reach
/// it; where there are none, everybody reaches everybody.
fn unreached(members: &[(Id, Node)], known: impl Fn(Node) -> Vec<Node>, now: Time) -> Violations {
    let mut violations = Violations::default();
    let mut nodes: Vec<Node> = members.iter().map(|member| member.1).collect();
    nodes.sort_unstable();
    let number = |node: Node| nodes.binary_search(&node).ok();
    let ahead: Vec<Vec<usize>> =
        nodes.iter().map(|&node| known(node).into_iter().filter_map(number).collect()).collect();
    let mut back: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (from, all) in ahead.iter().enumerate() {
        all.iter().for_each(|&to| back[to].push(from));
    }
    let Some(first) = nodes.first() else { return violations };
    for (edges, direction) in [(&ahead, "is not reached from"), (&back, "does not reach")] {
        let seen = reached(edges);
        for (node, _) in nodes.iter().zip(&seen).filter(|(_, seen)| !**seen) {
            let what = format!("it {direction} node {} through tables", first.host());
            violations.add(|| Violation { time: now, node: Some(*node), what });
        }
    }
    violations
}

/// Who is reached from number 0.
fn reached(edges: &[Vec<usize>]) -> Vec<bool> {
    let mut seen = vec![false; edges.len()];
    let mut open = vec![0];
    while let Some(at) = open.pop() {
        if !std::mem::replace(&mut seen[at], true) {
            open.extend(edges[at].iter().copied().filter(|&to| !seen[to]));
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn islands_and_dead_ends_are_seen() {
        let members: Vec<(Id, Node)> =
            (0..5).map(|host| (Id::from_high(u64::from(host)), Node::new(host, 0))).collect();
        let count = |tables: [&[u32]; 5]| {
            let known =
                |node: Node| tables[node.host() as usize].iter().map(|&host| Node::new(host, 0)).collect();
            unreached(&members, known, Time::ZERO).count
        };
        assert_eq!(count([&[1], &[2], &[3], &[4], &[0]]), 0);
        assert_eq!(count([&[1], &[2], &[0], &[4], &[3]]), 4, "two islands");
        assert_eq!(count([&[1], &[2], &[3, 4], &[0], &[9]]), 1, "a dead end");
    }

    #[test]
    fn a_violation_says_when_who_and_what() {
        let what = "it is lost".to_owned();
        let violation = Violation { time: Time::from_secs(61), node: Some(Node::new(7, 2)), what };
        assert_eq!(violation.to_string(), "at 61.000000 s, node 7: it is lost");
    }
}
