//! An adversary for Chord: nodes join, fail and leave, messages arrive and time passes
//! in any order that the protocol's assumptions allow, and Zave's invariant is checked
//! after every transition. The nodes are the real cores; there is no clock but their own.
//!
//! The assumptions are Zave's. Failures are told from slowness without mistakes: a
//! question is given up only if who was asked is gone and its answer is not on its way.
//! No failure leaves a member without a live successor, where a member is taken to have
//! what it was told, whatever it made of it, and what is on its way counts too. And if
//! there are just r + 1 principals, none of them fails.
#![allow(dead_code)] // a test and an example use a part each

use std::collections::BTreeMap;
use std::sync::Arc;

use starling_overlay::chord::invariant::{Checker, Violation};
use starling_overlay::chord::{Aim, Chord, Config, Message, Variant};
use starling_overlay::{Core, Host, Id, Input, Offence, Route, Routing, Standing, View};
use starling_sansio::{Rng, Time};

/// What the adversary plays with.
#[derive(Clone, Copy, Debug)]
pub struct Game {
    /// Chance.
    pub seed: u64,
    /// Places on the circle: 2^bits.
    pub bits: u32,
    /// Entries of a successor list.
    pub r: usize,
    /// Nodes at most.
    pub nodes: usize,
    /// Whether messages overtake each other and wait; otherwise an operation is over,
    /// with all that follows from it, before the next begins, as in Zave's model.
    pub loose: bool,
    /// The protocol.
    pub variant: Variant,
    /// Whether the ring is begun by one node, not by r + 1.
    pub from_one: bool,
}

impl Game {
    /// Game number `seed`: every r, size of the circle and order of messages has its turn.
    pub fn of(seed: u64, variant: Variant) -> Game {
        let turn = |choices: &[usize], every: u64| choices[(seed / every) as usize % choices.len()];
        Game {
            seed,
            bits: turn(&[4, 5, 6], 1) as u32,
            r: turn(&[2, 3], 3),
            nodes: turn(&[7, 12, 16], 6),
            loose: seed % 4 < 2,
            variant,
            from_one: false,
        }
    }
}

/// How many transitions it takes until a wrong protocol breaks a ring, at most 10^6,
/// and what breaks.
pub fn caught(variant: Variant, seed: u64) -> Option<(u64, Violation)> {
    let mut before = 0;
    (seed..seed + 10).find_map(|seed| {
        let mut adversary = Adversary::new(Game::of(seed, variant));
        let result = adversary.play(100_000);
        before += adversary.steps;
        result.err().map(|(_, violation)| (before, violation))
    })
}

/// Transitions after which the adversary lets the ring come to rest.
const BETWEEN_RESTS: u64 = 5_000;
/// Rounds in which a ring must come to rest.
const ROUNDS: usize = 300;

/// What nodes see.
struct Outside {
    rng: Rng,
    bits: u32,
    sent: Vec<(u32, Message<u32>)>,
    refused: u64,
}

impl Host<u32, Message<u32>, Routing<u32>> for Outside {
    fn id(&self, peer: u32) -> Id {
        Id::small(u64::from(peer), self.bits)
    }

    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn distance(&self, _peer: u32) -> Option<std::time::Duration> {
        None
    }

    fn send(&mut self, to: u32, message: Message<u32>) {
        self.sent.push((to, message));
    }

    fn emit(&mut self, _event: Routing<u32>) {}

    /// All nodes are honest: at most they hear of what is over, or have not joined yet.
    fn refuse(&mut self, from: Option<u32>, offence: Offence) {
        assert!(matches!(offence, Offence::UnknownReply | Offence::Misdirected), "{offence:?} by {from:?}");
        self.refused += 1;
    }
}

/// A node, its own time, and the list that it was told last.
struct Node {
    core: Chord<u32>,
    now: Time,
    told: Vec<u32>,
}

/// The game under way.
pub struct Adversary {
    game: Game,
    config: Arc<Config>,
    outside: Outside,
    checker: Checker,
    nodes: BTreeMap<u32, Node>,
    /// The members among them, in the order of their ids.
    standings: Vec<Standing>,
    flight: Vec<(u32, u32, Message<u32>)>,
    /// Transitions so far.
    pub steps: u64,
    /// Joins, failures, leaves.
    pub churn: [u64; 3],
}

impl Adversary {
    /// A ring at rest, or one node that begins one.
    pub fn new(game: Game) -> Adversary {
        let config = Arc::new(Config {
            bits: game.bits,
            successors: game.r,
            variant: game.variant,
            tries: 1,
            find_tries: 1,
            ..Config::default()
        });
        let outside =
            Outside { rng: Rng::from_seed(game.seed), bits: game.bits, sent: Vec::new(), refused: 0 };
        let mut adversary = Adversary {
            game,
            config,
            outside,
            checker: Checker::new(game.r),
            nodes: BTreeMap::new(),
            standings: Vec::new(),
            flight: Vec::new(),
            steps: 0,
            churn: [0; 3],
        };
        adversary.begin();
        adversary
    }

    fn begin(&mut self) {
        let mut places: Vec<u32> = (0..1 << self.game.bits).collect();
        self.outside.rng.shuffle(&mut places);
        if self.game.from_one {
            self.add(places[0]);
            self.with(places[0], |core, now, outside| {
                core.handle(now, Input::Command(Route::Join(None)), outside);
            });
            return;
        }
        places.truncate(self.game.r + 1 + self.outside.rng.index(self.game.nodes - self.game.r));
        places.sort_unstable();
        let members: Vec<(Id, u32)> = places.iter().map(|&place| (self.outside.id(place), place)).collect();
        for &place in &places {
            self.add(place);
            self.with(place, |core, now, outside| core.converge(now, &View::new(&members), outside));
            self.nodes.entry(place).and_modify(|node| node.told = node.core.successors().to_vec());
        }
    }

    /// Takes `steps` transitions.
    ///
    /// # Errors
    /// The violation, with how many transitions it took.
    pub fn play(&mut self, steps: u64) -> Result<(), (u64, Violation)> {
        let end = self.steps + steps;
        let mut rest = self.steps + BETWEEN_RESTS;
        while self.steps < end {
            self.step().map_err(|violation| (self.steps, violation))?;
            if self.steps >= rest {
                self.rest().map_err(|violation| (self.steps, violation))?;
                rest = self.steps + BETWEEN_RESTS;
            }
        }
        Ok(())
    }

    /// One transition; with messages in order, one operation.
    fn step(&mut self) -> Result<(), Violation> {
        match self.outside.rng.below(100) {
            0..40 => drop(self.deliver()),
            40..78 => self.tick_any(),
            78..88 => self.join(),
            88..97 => self.fail(),
            _ => self.leave(),
        }
        self.verdict()?;
        while !self.game.loose && self.deliver() {
            self.verdict()?;
        }
        Ok(())
    }

    /// Nobody joins or fails any more: the ring finds its ideal state.
    fn rest(&mut self) -> Result<(), Violation> {
        let mut verdict = Ok(());
        for _ in 0..ROUNDS {
            while self.deliver() {
                self.verdict()?;
            }
            verdict = self.checker.ideal(&self.standings);
            if verdict.is_ok() && self.nodes.len() == self.standings.len() {
                return Ok(());
            }
            for place in self.nodes.keys().copied().collect::<Vec<_>>() {
                self.tick(place);
                self.verdict()?;
            }
        }
        verdict
    }

    fn verdict(&mut self) -> Result<(), Violation> {
        self.checker.check(&self.standings)
    }

    /// Any message arrives; `false` if none may.
    fn deliver(&mut self) -> bool {
        let count = self.flight.len();
        let start = self.outside.rng.index(count);
        let any = (0..count).map(|n| (start + n) % count).find(|&at| self.may_arrive(at));
        let Some(at) = any else { return false };
        let (from, to, message) = self.flight.swap_remove(at);
        let Some(node) = self.nodes.get(&to) else { return true };
        let told = adopted(&node.core, from, to, &message, self.game.r, Leaves::Now);
        // Who becomes a member later, at the place of one who is gone, is somebody else.
        let is_member = |peer: &u32| self.nodes.get(peer).is_some_and(|node| node.core.is_member());
        let told: Option<Vec<u32>> = told.map(|told| told.into_iter().filter(is_member).collect());
        let refused = self.outside.refused;
        self.with(to, |core, now, outside| core.handle(now, Input::Message { from, message }, outside));
        if let (Some(told), true, Some(node)) =
            (told, refused == self.outside.refused, self.nodes.get_mut(&to))
        {
            node.told = told;
        }
        true
    }

    /// A newcomer does not get on as long as anyone waits for an answer of the node that
    /// stood there before: it might become a member and still be taken for dead.
    fn may_arrive(&self, at: usize) -> bool {
        let (from, to, _) = self.flight[at];
        let Some(node) = self.nodes.get(&to).filter(|node| !node.core.is_member()) else { return true };
        !node.core.awaited().any(|peer| peer == from) || !self.is_awaited(to)
    }

    fn is_awaited(&self, place: u32) -> bool {
        self.nodes.values().any(|node| node.core.awaited().any(|peer| peer == place))
    }

    fn tick_any(&mut self) {
        let places: Vec<u32> = self.nodes.keys().copied().collect();
        let place = places[self.outside.rng.index(places.len())];
        self.tick(place);
    }

    /// A node's time passes to its next deadline, unless that would be a mistake.
    fn tick(&mut self, place: u32) {
        let Some(node) = self.nodes.get_mut(&place) else { return };
        let Some(due) = node.core.next_timeout() else { return };
        let members = &self.standings;
        let answers = |peer: u32| members.binary_search_by_key(&self.outside.id(peer), |one| one.id).is_ok();
        let coming = |peer: u32| self.flight.iter().any(|one| one.0 == peer && one.1 == place);
        if node.core.awaited().any(|peer| answers(peer) || coming(peer)) {
            return;
        }
        node.now = node.now.max(due);
        self.steps += 1;
        self.with(place, Core::handle_timeout);
    }

    /// A node joins through any member. One that was here before waits until nobody
    /// waits for its former self any more.
    fn join(&mut self) {
        let place = self.outside.rng.below(1 << self.game.bits) as u32;
        let spoken = self.flight.iter().any(|one| one.0 == place || one.1 == place);
        let room = self.nodes.len() < self.game.nodes && !self.nodes.contains_key(&place);
        if !room || spoken || self.is_awaited(place) {
            return;
        }
        let through = self.standings[self.outside.rng.index(self.standings.len())].id;
        let through = through.number(self.game.bits) as u32;
        self.churn[0] += 1;
        self.steps += 1;
        self.add(place);
        self.with(place, |core, now, outside| {
            core.handle(now, Input::Command(Route::Join(Some(through))), outside);
        });
    }

    /// A node fails, if it may.
    fn fail(&mut self) {
        let Some(place) = self.victim() else { return };
        self.churn[1] += 1;
        self.steps += 1;
        self.gone(place);
    }

    /// A node leaves, which is a failure with last words.
    fn leave(&mut self) {
        let Some(place) = self.victim() else { return };
        self.churn[2] += 1;
        self.steps += 1;
        self.with(place, |core, now, outside| core.handle(now, Input::Command(Route::Leave), outside));
        self.gone(place);
    }

    /// Who comes back to the place later is somebody else.
    fn gone(&mut self, place: u32) {
        self.nodes.remove(&place);
        self.nodes.values_mut().for_each(|node| node.told.retain(|&peer| peer != place));
        self.unlist(place);
    }

    /// Anyone who may fail.
    fn victim(&mut self) -> Option<u32> {
        let places: Vec<u32> = self.nodes.keys().copied().collect();
        let place = places[self.outside.rng.index(places.len())];
        if !self.nodes[&place].core.is_member() {
            return Some(place);
        }
        let live =
            |peer: &u32| *peer != place && self.nodes.get(peer).is_some_and(|node| node.core.is_member());
        let mut lists: Vec<Vec<Id>> = Vec::new();
        for (from, to, message) in &self.flight {
            let Some(node) = self.nodes.get(to) else { continue };
            if let Some(list) = adopted(&node.core, *from, *to, message, self.game.r, Leaves::Later) {
                if !list.iter().any(live) {
                    return None;
                }
                lists.push(std::iter::once(from).chain(&list).map(|&peer| self.outside.id(peer)).collect());
            }
        }
        let others = self.nodes.iter().filter(|(name, node)| **name != place && node.core.is_member());
        if others.clone().any(|(_, node)| !node.told.iter().any(live)) {
            return None;
        }
        let id = self.outside.id(place);
        let principals = self.checker.principals(&self.standings, &lists);
        (principals.iter().filter(|&&one| one != id).count() > self.game.r).then_some(place)
    }

    fn add(&mut self, place: u32) {
        let core = Chord::new(place, &self.config);
        self.nodes.insert(place, Node { core, now: Time::ZERO, told: Vec::new() });
    }

    /// Lets a node act, takes what it says, and sees where it stands then.
    fn with(&mut self, place: u32, act: impl FnOnce(&mut Chord<u32>, Time, &mut Outside)) {
        let Some(node) = self.nodes.get_mut(&place) else { return };
        self.steps += 1;
        act(&mut node.core, node.now, &mut self.outside);
        let sent = self.outside.sent.drain(..);
        self.flight.extend(sent.map(|(to, message)| (place, to, message)));
        if !node.core.is_member() {
            return self.unlist(place);
        }
        let standing = node.core.stands(&self.outside);
        match self.standings.binary_search_by_key(&standing.id, |one| one.id) {
            Ok(at) => self.standings[at] = standing,
            Err(at) => self.standings.insert(at, standing),
        }
    }

    fn unlist(&mut self, place: u32) {
        let id = self.outside.id(place);
        self.standings.retain(|one| one.id != id);
    }
}

/// When last words are heard: who spoke them may become the first successor until then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaves {
    Now,
    Later,
}

/// The list that the protocol makes of `message`, if `node` takes it.
fn adopted(
    node: &Chord<u32>,
    from: u32,
    to: u32,
    message: &Message<u32>,
    r: usize,
    leaves: Leaves,
) -> Option<Vec<u32>> {
    let asked = node.awaited().any(|peer| peer == from);
    let joins = asked && !node.is_member(); // a member only looks beyond its ring
    let list: Vec<u32> = match message {
        Message::Successors { list, .. } if asked => [&[from], &**list].concat(),
        Message::Last { peers, aim: Aim::Join, .. } if joins && peers.is_empty() => vec![from],
        Message::Last { peers, aim: Aim::Join, .. } if joins => peers.to_vec(),
        Message::Leave { list, .. }
            if leaves == Leaves::Later || node.successors().first() == Some(&from) =>
        {
            list.to_vec()
        }
        _ => return None,
    };
    Some(list.into_iter().take_while(|&peer| peer != to).take(r).collect())
}
