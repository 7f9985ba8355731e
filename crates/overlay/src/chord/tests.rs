//! Wire format, bounds, and inputs in any order.

mod carry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use starling_sansio::{Rng, Time};

use super::*;
use crate::wire::{List, Wire};
use crate::{Cost, View};

const BITS: u32 = 6;
const ME: u32 = 0;

/// A world of 64 places in which peers stand where they are called.
struct Outside {
    rng: Rng,
    sent: Vec<(u32, Message<u32>)>,
    events: Vec<Routing<u32>>,
    refused: BTreeMap<Offence, u32>,
}

impl Host<u32, Message<u32>, Routing<u32>> for Outside {
    fn id(&self, peer: u32) -> Id {
        Id::small(u64::from(peer), BITS)
    }

    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn distance(&self, _peer: u32) -> Option<Duration> {
        None
    }

    fn send(&mut self, to: u32, message: Message<u32>) {
        assert_ne!(to, ME, "{message:?}");
        self.sent.push((to, message));
    }

    fn emit(&mut self, event: Routing<u32>) {
        self.events.push(event);
    }

    fn refuse(&mut self, _from: Option<u32>, offence: Offence) {
        *self.refused.entry(offence).or_default() += 1;
    }
}

fn outside() -> Outside {
    Outside { rng: Rng::from_seed(1), sent: Vec::new(), events: Vec::new(), refused: BTreeMap::new() }
}

/// Node 0 of a ring of eight: 0, 8, 16 ...
fn member(config: Config) -> (Chord<u32>, Outside) {
    let mut outside = outside();
    let members: Vec<(Id, u32)> = (0..8).map(|n| (outside.id(8 * n), 8 * n)).collect();
    let mut node = Chord::new(ME, &Arc::new(config));
    node.converge(Time::ZERO, &View::new(&members), &mut outside);
    (node, outside)
}

/// Numbers to choose by, zeros at the end.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn below(&mut self, bound: u32) -> u32 {
        u32::from(self.0.next().copied().unwrap_or(0)) % bound.max(1)
    }

    fn peer(&mut self) -> u32 {
        self.below(1 << BITS)
    }

    fn peers<T: FromIterator<u32>>(&mut self, most: u32) -> T {
        let count = self.below(most + 1);
        (0..count).map(|_| self.peer()).collect()
    }

    fn some_peer(&mut self) -> Option<u32> {
        (self.below(3) > 0).then(|| self.peer())
    }

    fn id(&mut self) -> Id {
        Id::small(u64::from(self.peer()), BITS)
    }

    fn aim(&mut self) -> Aim {
        [Aim::Key, Aim::Value, Aim::Join, Aim::Finger][self.below(4) as usize]
    }

    fn message(&mut self, rpc: RpcId) -> Message<u32> {
        let aim = self.aim();
        match self.below(19) {
            0 => Message::Ask {
                rpc,
                key: self.id(),
                op: 1,
                aim,
                last: self.below(2) == 0,
                skip: (self.below(2) == 0).then_some(self.below(9) as u8),
                hops: self.below(256) as u8,
            },
            1 => Message::Next { rpc, aim, peers: self.peers(5) },
            2 => Message::Last { rpc, aim, peers: self.peers(9) },
            3 => Message::Root { rpc, aim, before: self.some_peer(), replicas: self.peers(9) },
            4 => Message::GetList { rpc, known: self.below(4), predecessors: self.peers(5) },
            5 => Message::Same { rpc, predecessor: self.some_peer() },
            6 => {
                let version = self.below(4);
                Message::Successors { rpc, version, predecessor: self.some_peer(), list: self.peers(9) }
            }
            7 => Message::Notify { predecessors: self.peers(5) },
            8 => Message::Ping { rpc },
            9 => Message::Pong { rpc },
            10 => Message::GetTable { rpc },
            11 => Message::Table { rpc, fingers: self.peers(40) },
            12 => Message::Leave { predecessor: self.some_peer(), list: self.peers(9) },
            13 => Message::Carry { rpc, carried: Box::new(self.carried(rpc)) },
            14 => Message::Ack { rpc },
            15 => Message::Superseded {},
            16 => Message::Nack { rpc },
            17 => Message::Lost { rpc, timeouts: self.below(9) as u8 },
            _ => {
                let (hops, timeouts) = (self.below(200) as u8, self.below(9) as u8);
                Message::Found { rpc, hops, timeouts, peers: self.peers(9) }
            }
        }
    }

    fn carried(&mut self, rpc: RpcId) -> Carried<u32> {
        let body = match self.below(2) {
            0 => Body::Find { rpc, op: 2, values: self.below(2) == 0 },
            _ => Body::Payload(Bytes::from(vec![7; self.below(100) as usize])),
        };
        let (key, origin, hops) = (self.id(), self.peer(), self.below(200) as u8);
        Carried { key, origin, hops, timeouts: 0, last: self.below(2) == 0, body }
    }

    fn command(&mut self, op: u32) -> Route<u32> {
        match self.below(12) {
            0 => Route::Join(self.some_peer()),
            1 => Route::Leave,
            2..4 => {
                let payload = Bytes::from(vec![1; 8 * self.below(200) as usize]);
                Route::Send { key: self.id(), payload, hint: self.some_peer() }
            }
            _ => Route::Find { op: Op(op), key: self.id(), values: self.below(2) == 0 },
        }
    }
}

/// The number of a question.
fn question(message: &Message<u32>) -> Option<RpcId> {
    match message {
        Message::Ask { rpc, .. }
        | Message::GetList { rpc, .. }
        | Message::Ping { rpc }
        | Message::GetTable { rpc }
        | Message::Carry { rpc, .. } => Some(*rpc),
        _ => None,
    }
}

/// Feeds a node whatever `bytes` say: messages from anyone, among them answers to what
/// it really asked, commands, silence. What must hold, holds after every input; every
/// find ends, and once.
fn any_order(bytes: &[u8], style: Style) {
    let mut choices = Choices(bytes.iter());
    let config = Config { bits: BITS, successors: 4, style, ..Config::default() };
    let (mut node, mut outside) = member(config);
    let (mut now, mut finds) = (Time::ZERO, 0);
    while choices.0.len() > 0 {
        match choices.below(8) {
            0..2 => {
                let (from, rpc) = (choices.peer(), RpcId(choices.below(4)));
                let input = Input::Message { from, message: choices.message(rpc) };
                node.handle(now, input, &mut outside);
            }
            2..5 => {
                let asked = outside.sent.iter().filter_map(|(to, message)| Some((*to, question(message)?)));
                let asked: Vec<(u32, RpcId)> = asked.collect();
                let last = asked.len().saturating_sub(1 + choices.below(3) as usize);
                let Some(&(from, rpc)) = asked.get(last) else { continue };
                let input = Input::Message { from, message: choices.message(rpc) };
                node.handle(now, input, &mut outside);
            }
            5 => {
                let command = choices.command(finds);
                finds += u32::from(matches!(command, Route::Find { .. }));
                node.handle(now, Input::Command(command), &mut outside);
            }
            6 => {
                now = now + Duration::from_millis(u64::from(choices.below(256)) * 20);
                node.handle_timeout(now, &mut outside);
            }
            _ => {
                let earlier = now - Duration::from_micros(u64::from(choices.below(2)));
                node.handle(earlier, Input::Unreachable(choices.peer()), &mut outside);
            }
        }
        check(&node, &outside, now);
        let keep = outside.sent.len().saturating_sub(8);
        outside.sent.drain(..keep);
    }
    for _ in 0..2_000 {
        let Some(due) = node.next_timeout().filter(|_| node.busy.is_some()) else { break };
        now = now.max(due);
        node.handle_timeout(now, &mut outside);
    }
    let mut ended: Vec<u32> = outside.events.iter().filter_map(closest).collect();
    ended.sort_unstable();
    assert_eq!(ended, (0..finds).collect::<Vec<_>>());
}

fn closest(event: &Routing<u32>) -> Option<u32> {
    match event {
        Routing::Closest { op, .. } => Some(op.0),
        _ => None,
    }
}

fn check(node: &Chord<u32>, outside: &Outside, now: Time) {
    let distance = |peer: &u32| outside.id(*peer).minus(outside.id(ME));
    assert!(node.table.all().is_sorted_by(|a, b| distance(a) < distance(b)), "{:?}", node.table);
    assert!(!node.known().contains(&ME), "{:?}", node.known());
    assert!(node.successors().len() <= 4);
    assert!(node.table.fingers().len() <= BITS as usize);
    assert!(node.state_bytes() < 200_000, "{}", node.state_bytes());
    assert!(node.next_timeout().is_none_or(|due| due != Time::NEVER));
    assert!(node.member || node.table.all().is_empty());
    assert!(node.now <= now);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn inputs_in_any_order_break_nothing(bytes in prop::collection::vec(any::<u8>(), 0..2000), recursive: bool) {
        any_order(&bytes, if recursive { Style::Recursive } else { Style::Iterative });
    }

    #[test]
    fn messages_come_back_from_their_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), rpc: u32) {
        let message = Choices(bytes.iter()).message(RpcId(rpc));
        let wire = message.to_wire();
        prop_assert_eq!(wire.len(), message.wire_len());
        prop_assert_eq!(Message::from_wire(&wire), Ok(message));
        prop_assert!(Message::<u32>::from_wire(&wire[..wire.len() - 1]).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Message::<u32>::from_wire(&bytes) {
            prop_assert_eq!(message.to_wire(), bytes);
        }
    }
}

/// What a node answers to `message` of `from`, and what it refuses.
fn told(from: u32, message: Message<u32>) -> (Vec<(u32, Message<u32>)>, Vec<Offence>) {
    let (mut node, mut outside) = member(Config::default());
    let before = format!("{node:?}");
    node.handle(Time::ZERO, Input::Message { from, message }, &mut outside);
    if !outside.refused.is_empty() {
        assert_eq!(before, format!("{node:?}"), "what is refused changes nothing");
    }
    (outside.sent, outside.refused.into_keys().collect())
}

#[test]
fn what_no_honest_peer_says_is_refused() {
    use Message::*;
    let (rpc, aim) = (RpcId(1), Aim::Key);
    let list: List<u32, MAX_SUCCESSORS> = [8, 16].into_iter().collect();
    let ask = |hops| Ask { rpc, key: Id::ZERO, op: 0, aim, last: false, skip: None, hops };
    let carry = |hops| {
        let body = Body::Payload(Bytes::new());
        let carried = Carried { key: Id::ZERO, origin: 8, hops, timeouts: 0, last: false, body };
        Carry { rpc, carried: Box::new(carried) }
    };
    let cases = [
        (8, Pong { rpc }, Offence::UnknownReply),
        (8, Ack { rpc }, Offence::UnknownReply),
        (8, Nack { rpc }, Offence::UnknownReply),
        (8, Lost { rpc, timeouts: 1 }, Offence::UnknownReply),
        (8, Same { rpc, predecessor: None }, Offence::UnknownReply),
        (8, Table { rpc, fingers: List::default() }, Offence::UnknownReply),
        (8, Next { rpc, aim, peers: Few::NONE }, Offence::UnknownReply),
        (8, Last { rpc, aim, peers: list.clone() }, Offence::UnknownReply),
        (8, Root { rpc, aim, before: None, replicas: list.clone() }, Offence::UnknownReply),
        (8, Successors { rpc, version: 1, predecessor: None, list: list.clone() }, Offence::UnknownReply),
        (8, Found { rpc, hops: 1, timeouts: 0, peers: list.clone() }, Offence::UnknownReply),
        (8, Found { rpc, hops: 255, timeouts: 0, peers: list.clone() }, Offence::OutOfRange),
        (16, Found { rpc, hops: 1, timeouts: 0, peers: list.clone() }, Offence::OutOfRange),
        (8, ask(MAX_HOPS + 1), Offence::OutOfRange),
        (8, carry(MAX_HOPS + 1), Offence::OutOfRange),
        (16, Superseded {}, Offence::Misdirected),
        (ME, Ping { rpc }, Offence::NamesItself),
        (8, Leave { predecessor: Some(8), list: List::default() }, Offence::NamesItself),
        (8, Leave { predecessor: None, list: list.clone() }, Offence::NamesItself),
        (60, Leave { predecessor: None, list: [16, 8].into_iter().collect() }, Offence::OutOfRange),
    ];
    for (from, message, offence) in cases {
        let text = format!("{message:?}");
        assert_eq!(told(from, message), (vec![], vec![offence]), "{text}");
    }
}

/// Feeds a node that asked `8` for its list for the first time an answer; what it refuses.
fn answered(answer: impl FnOnce(RpcId) -> Message<u32>) -> Vec<Offence> {
    let (mut node, mut outside) = member(Config::default());
    node.copied = 0;
    node.stabilize_at = Time::ZERO;
    node.handle_timeout(Time::ZERO, &mut outside);
    let Some((8, Message::GetList { rpc, .. })) = outside.sent.last().cloned() else { unreachable!() };
    let before = format!("{node:?}");
    node.handle(Time::ZERO, Input::Message { from: 8, message: answer(rpc) }, &mut outside);
    assert_eq!(before == format!("{node:?}"), !outside.refused.is_empty());
    outside.refused.into_keys().collect()
}

/// A find is led astray from root to root as far as it goes, and then by who is right.
#[test]
fn who_leads_a_find_astray_costs_the_next_root_none_of_its_steps() {
    let mut outside = outside();
    let members = [0, 4, 8, 60].map(|peer| (outside.id(peer), peer));
    let mut node = Chord::new(ME, &Arc::new(Config { style: Style::Iterative, ..Config::default() }));
    node.converge(Time::ZERO, &View::new(&members), &mut outside);
    let find = Route::Find { op: Op(1), key: outside.id(10), values: false };
    node.handle(Time::ZERO, Input::Command(find), &mut outside);
    let mut asked = Vec::new();
    while let Some((from, Message::Ask { rpc, aim, .. })) = outside.sent.pop() {
        asked.push(from);
        let root = |before| Message::Root { rpc, aim, before, replicas: List::default() };
        let message = match from {
            8 => Message::Last { rpc, aim, peers: List::new(vec![30]) },
            30 => root(Some(20)),
            20 => root(None),
            31..=60 => root(Some(from - 1)),
            _ => Message::Last { rpc, aim, peers: List::default() },
        };
        node.handle(Time::ZERO, Input::Message { from, message }, &mut outside);
    }
    let astray: Vec<u32> = (0..=u32::from(MAX_BACK)).map(|step| 60 - step).collect();
    assert_eq!(asked, [&astray[..], &[8, 30, 20]].concat());
    let found = |event: &Routing<u32>| matches!(event, Routing::Closest { peers, .. } if peers[..] == [20]);
    assert!(outside.events.iter().any(found), "{:?}", outside.events);
}

#[test]
fn a_successor_that_lies_about_its_list_is_not_heard() {
    let list = |peers: &[u32]| peers.iter().copied().collect::<List<u32, MAX_SUCCESSORS>>();
    let says = |predecessor, peers: &[u32]| {
        let list = list(peers);
        answered(|rpc| Message::Successors { rpc, version: 1, predecessor, list })
    };
    assert_eq!(says(None, &[16, 24]), []);
    assert_eq!(says(Some(8), &[16, 24]), [Offence::NamesItself]);
    assert_eq!(says(None, &[16, 8]), [Offence::NamesItself]);
    assert_eq!(says(None, &[24, 16]), [Offence::OutOfRange]);
    assert_eq!(says(None, &[16, 16]), [Offence::OutOfRange]);
    // "The same as before" is no answer to who has nothing from before.
    assert_eq!(answered(|rpc| Message::Same { rpc, predecessor: None }), [Offence::UnknownReply]);
}

#[test]
fn a_node_that_takes_no_part_answers_nothing_and_commands_out_of_place_are_refused() {
    let mut outside = outside();
    let mut node = Chord::new(ME, &Arc::new(Config::default()));
    let mut handle = |input| node.handle(Time::from_secs(1), input, &mut outside);
    handle(Input::Message { from: 8, message: Message::Ping { rpc: RpcId(1) } });
    handle(Input::Command(Route::Send { key: Id::ZERO, payload: Bytes::new(), hint: None }));
    handle(Input::Command(Route::Find { op: Op(3), key: Id::ZERO, values: false }));
    handle(Input::Command(Route::Join(Some(ME))));
    node.handle_timeout(Time::ZERO, &mut outside);
    let cost = Cost::default();
    assert_eq!(outside.events, [Routing::Closest { op: Op(3), peers: vec![], cost }]);
    assert_eq!(outside.sent, []);
    let refused = [(Offence::NamesItself, 1), (Offence::Misdirected, 2), (Offence::TimeWentBack, 1)];
    assert_eq!(outside.refused, refused.into());
}

#[test]
fn a_flood_of_strangers_fills_nothing_beyond_its_bound() {
    let (mut node, mut outside) = member(Config::default());
    let quiet = node.state_bytes();
    for n in 0..20_000u32 {
        let (from, rpc) = (1 + n % 63, RpcId(n));
        let carried = Carried {
            key: Id::small(u64::from(n % 64), BITS),
            origin: from,
            hops: 1,
            timeouts: 0,
            last: false,
            body: Body::Payload(Bytes::from(vec![0; MAX_PAYLOAD])),
        };
        let messages = [
            Message::Carry { rpc, carried: Box::new(carried) },
            Message::Notify { predecessors: Few::NONE },
            Message::GetList { rpc, known: 0, predecessors: Few::NONE },
        ];
        for message in messages {
            node.handle(Time::ZERO, Input::Message { from, message }, &mut outside);
        }
        let find = Route::Find { op: Op(n), key: Id::small(u64::from(n % 64), BITS), values: true };
        node.handle(Time::ZERO, Input::Command(find), &mut outside);
        outside.sent.clear();
    }
    assert!(outside.refused[&Offence::Full] > 10_000);
    let bound = quiet + MAX_CARRIES * 1_300 + MAX_FINDS * 3_000;
    assert!(node.state_bytes() < bound, "{} of {bound}", node.state_bytes());
    // When all that has timed out nothing of it is left.
    for _ in 0..1_000 {
        let due = node.next_timeout().unwrap();
        node.handle_timeout(due, &mut outside);
        let idle = |busy: &Busy<u32>| busy.finds.is_empty() && busy.carries.is_empty();
        if node.busy.as_ref().is_none_or(|busy| idle(busy)) {
            return assert!(node.state_bytes() <= quiet + 128 + size_of::<Busy<u32>>());
        }
    }
    panic!("finds and carried messages must end");
}

#[test]
fn a_node_of_a_million_takes_320_bytes_with_its_share_of_the_layer_above() {
    let mut rng = Rng::from_seed(1);
    let mut places: Vec<Id> = (0..1_000_000).map(|_| Id::from_high(rng.next_u64())).collect();
    places.sort_unstable();
    let members: Vec<(Id, u32)> = places.into_iter().zip(0..).collect();
    struct Global<'a>(&'a [(Id, u32)], Rng);
    impl Host<u32, Message<u32>, Routing<u32>> for Global<'_> {
        fn id(&self, peer: u32) -> Id {
            self.0[peer as usize].0
        }
        fn rng(&mut self) -> &mut Rng {
            &mut self.1
        }
        fn distance(&self, _: u32) -> Option<Duration> {
            None
        }
        fn send(&mut self, _: u32, _: Message<u32>) {}
        fn emit(&mut self, _: Routing<u32>) {}
        fn refuse(&mut self, _: Option<u32>, _: Offence) {}
    }
    let mut host = Global(&members, rng);
    let config = Arc::new(Config { successors: 20, ..Config::default() });
    let bytes: Vec<usize> = (0..1_000)
        .map(|n| {
            let mut node = Chord::new(n * 1_000, &config);
            node.converge(Time::ZERO, &View::new(&members), &mut host);
            assert!(node.table.all().len() >= 34, "{:?}", node.table);
            node.state_bytes()
        })
        .collect();
    let mean = bytes.iter().sum::<usize>() / bytes.len();
    assert!(mean + 24 <= 320, "{mean}");
    assert!(size_of::<Message<u32>>() <= 48, "{}", size_of::<Message<u32>>());
}
