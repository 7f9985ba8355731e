//! Properties: the wire, heartbeats, the tables' and the whole core's bounds under
//! anything that may come.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use starling_sansio::{Rng, Time};

use super::clock::Clock;
use super::message::{MAX_HITS, MAX_PART};
use super::table::{Change, MAX_SUSPECTS, TOGETHER};
use super::*;
use crate::wire::{List, Wire};
use crate::{Hit, Id, Op, Purpose, Query, Record, RpcId};

/// Peers that exist, and one more.
const PEERS: u32 = 40;

/// A host that keeps what it is told; ids are spread evenly.
pub(crate) struct Desk {
    rng: Rng,
    sent: Vec<(u32, Message<u32>)>,
    begun: Vec<Op>,
    done: Vec<Op>,
    refused: usize,
}

impl Host<u32, Message<u32>, Event<u32>> for Desk {
    fn id(&self, peer: u32) -> Id {
        Id::from_high(u64::from(peer).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }
    fn distance(&self, peer: u32) -> Option<Duration> {
        peer.is_multiple_of(3).then(|| Duration::from_millis(u64::from(peer)))
    }
    fn send(&mut self, to: u32, message: Message<u32>) {
        assert_ne!(to, 0, "a node does not write to itself");
        self.sent.push((to, message));
    }
    fn emit(&mut self, event: Event<u32>) {
        if let Event::Done { op, .. } = event {
            self.done.push(op);
        }
    }
    fn refuse(&mut self, _: Option<u32>, _: Offence) {
        self.refused += 1;
    }
}

fn record(number: u8) -> Record {
    Record { key: Id::hash(&[number]), name: format!("name{number} of many").into(), size: number.into() }
}

fn any_record() -> impl Strategy<Value = Record> {
    (0u8..6).prop_map(record)
}

fn any_under() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), (0u8..6).prop_map(|n| record(n).key.high())]
}

fn any_seen() -> impl Strategy<Value = Seen<u32>> {
    (0..PEERS, prop_oneof![0u16..100, any::<u16>()]).prop_map(|(peer, age)| Seen { peer, age })
}

fn any_tuple() -> impl Strategy<Value = Tuple<u32>> {
    (any_under(), any_record(), 0..PEERS, 0u32..9, 0u16..4000, any::<bool>()).prop_map(
        |(under, record, home, beat, age, live)| Tuple {
            under,
            record: Arc::new(record),
            home,
            beat,
            age,
            live,
        },
    )
}

fn any_place() -> impl Strategy<Value = Place> {
    (any::<u64>(), any::<u64>()).prop_map(|(under, tag)| Place { under, tag })
}

fn any_query() -> impl Strategy<Value = Query> {
    ("(name[0-6]|of|ma\\*| )*", 0u16..9).prop_map(|(text, wanted)| Query { text: text.into(), wanted })
}

fn any_why() -> impl Strategy<Value = Purpose> {
    prop::sample::select(Purpose::ALL.to_vec())
}

/// `rpc` answers one of the questions that are open, if it is small.
pub(crate) fn any_message() -> impl Strategy<Value = Message<u32>> {
    let rpc = || (0u32..4).prop_map(RpcId);
    let entries = || prop::collection::vec(any_seen(), 0..12);
    let tuples = || prop::collection::vec(any_tuple(), 0..5).prop_map(List::new);
    let peers = || prop::collection::vec(0..PEERS, 0..9).prop_map(List::new);
    let found = (any_record(), 0..PEERS).prop_map(|(record, provider)| Hit { record, provider });
    let hits = prop::collection::vec(found, 0..3).prop_map(List::<_, MAX_HITS>::new);
    let what = (any_under(), any_record(), any::<u32>(), any::<bool>())
        .prop_map(|(under, record, beat, live)| Box::new(Announcement { under, record, beat, live }));
    prop_oneof![
        (entries(), tuples(), any::<bool>()).prop_map(|(e, tuples, pull)| Message::Gossip {
            entries: List::new(e),
            tuples,
            pull
        }),
        (rpc(), 0u16..4).prop_map(|(rpc, part)| Message::CopyView { rpc, part }),
        (rpc(), 0u16..3, entries()).prop_map(|(rpc, parts, e)| Message::View {
            rpc,
            parts,
            entries: List::<_, MAX_PART>::new(e)
        }),
        (rpc(), any_place()).prop_map(|(rpc, after)| Message::CopyTuples { rpc, after }),
        (rpc(), tuples(), any::<bool>()).prop_map(|(rpc, tuples, more)| Message::Tuples {
            rpc,
            tuples,
            more
        }),
        (rpc(), any_record(), 0u16..9).prop_map(|(rpc, record, skip)| Message::LookUp {
            rpc,
            key: record.key,
            skip
        }),
        (rpc(), 0u8..3, any_query(), 0u16..9).prop_map(|(rpc, word, query, skip)| Message::Search {
            rpc,
            word,
            query,
            skip
        }),
        (rpc(), any_record()).prop_map(|(rpc, record)| Message::Find { rpc, key: record.key }),
        (rpc(), any_why(), hits, any::<bool>(), any::<bool>())
            .prop_map(|(rpc, why, hits, more, complete)| Message::Answer { rpc, why, hits, more, complete }),
        (rpc(), peers()).prop_map(|(rpc, peers)| Message::Group { rpc, peers }),
        (rpc(), any_why(), peers()).prop_map(|(rpc, why, peers)| Message::Refer { rpc, why, peers }),
        (rpc(), what).prop_map(|(rpc, what)| Message::Announce { rpc, what }),
        (rpc(), any::<u32>()).prop_map(|(rpc, beat)| Message::Accepted { rpc, beat }),
        Just(Message::Leave {}),
        Just(Message::Gone {}),
    ]
}

/// One thing that happens to a node.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Message(u32, Message<u32>),
    /// An answer with the number of a question that was asked of that peer.
    Reply(usize, Message<u32>),
    Command(u8, u8),
    Words(Query),
    Unreachable(u32),
    Pass(u64),
    Back,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..PEERS, any_message()).prop_map(|(from, message)| Step::Message(from, message)),
        4 => (any::<usize>(), any_message()).prop_map(|(nth, message)| Step::Reply(nth, message)),
        3 => (0u8..7, 0u8..6).prop_map(|(what, number)| Step::Command(what, number)),
        1 => any_query().prop_map(Step::Words),
        1 => (0..PEERS).prop_map(Step::Unreachable),
        3 => prop_oneof![0u64..5000, Just(10_000_000)].prop_map(Step::Pass),
        1 => Just(Step::Back),
    ]
}

/// Gives an answer the number of a question.
fn numbered(message: Message<u32>, number: RpcId) -> Message<u32> {
    match message {
        Message::View { parts, entries, .. } => Message::View { rpc: number, parts, entries },
        Message::Tuples { tuples, more, .. } => Message::Tuples { rpc: number, tuples, more },
        Message::Answer { why, hits, more, complete, .. } => {
            Message::Answer { rpc: number, why, hits, more, complete }
        }
        Message::Group { peers, .. } => Message::Group { rpc: number, peers },
        Message::Refer { why, peers, .. } => Message::Refer { rpc: number, why, peers },
        Message::Accepted { beat, .. } => Message::Accepted { rpc: number, beat },
        other => other,
    }
}

fn question_number(message: &Message<u32>) -> Option<RpcId> {
    match message {
        Message::CopyView { rpc, .. }
        | Message::CopyTuples { rpc, .. }
        | Message::LookUp { rpc, .. }
        | Message::Search { rpc, .. }
        | Message::Find { rpc, .. }
        | Message::Announce { rpc, .. } => Some(*rpc),
        _ => None,
    }
}

/// Node 0 lives through `steps`; everything it may not do is an assertion.
pub(crate) fn drive(steps: Vec<Step>) {
    let config = Arc::new(Config { groups: 5, max_tuples: 20, ..Config::for_nodes(25) });
    let mut desk = Desk { rng: Rng::from_seed(1), sent: vec![], begun: vec![], done: vec![], refused: 0 };
    let mut node: Kelips<u32> = Kelips::new(0, &config);
    let mut now = Time::from_secs(1);
    let mut op = 0;
    for step in steps {
        let mut command = |desk: &mut Desk, command: fn(Op, u8) -> Command<u32>, number| {
            op += 1;
            desk.begun.push(Op(op));
            Input::Command(command(Op(op), number))
        };
        let input = match step {
            Step::Message(from, message) => Some(Input::Message { from, message }),
            Step::Reply(nth, message) => {
                let asked: Vec<_> =
                    desk.sent.iter().filter_map(|(to, sent)| Some((*to, question_number(sent)?))).collect();
                let to = (!asked.is_empty()).then(|| asked[nth % asked.len()]);
                to.map(|(from, number)| Input::Message { from, message: numbered(message, number) })
            }
            Step::Command(0, n) => Some(Input::Command(Command::Join((n > 0).then_some(u32::from(n))))),
            Step::Command(1, 0) => Some(Input::Command(Command::Leave)),
            Step::Command(1 | 2, n) => Some(Input::Command(Command::Publish(record(n)))),
            Step::Command(3, n) => Some(Input::Command(Command::Withdraw(record(n).key))),
            Step::Command(4, n) => Some(command(&mut desk, |op, n| Command::Find(op, record(n).key), n)),
            Step::Command(_, n) => Some(command(&mut desk, |op, n| Command::LookUp(op, record(n).key), n)),
            Step::Words(query) => {
                op += 1;
                desk.begun.push(Op(op));
                Some(Input::Command(Command::Search(Op(op), query)))
            }
            Step::Unreachable(peer) => Some(Input::Unreachable(peer)),
            Step::Pass(millis) => {
                now = now + Duration::from_millis(millis);
                node.handle_timeout(now, &mut desk);
                None
            }
            Step::Back => {
                let before = (node.known(), desk.sent.len());
                node.handle_timeout(now - Duration::from_micros(1), &mut desk);
                node.handle(Time::ZERO, Input::Command(Command::Leave), &mut desk);
                assert_eq!(before, (node.known(), desk.sent.len()));
                None
            }
        };
        if let Some(input) = input {
            node.handle(now, input, &mut desk);
        }
        check(&node, &desk, now);
    }
    // Whatever was begun ends, once.
    for _ in 0..40 {
        now = now + config.rpc_timeout;
        node.handle_timeout(now, &mut desk);
    }
    desk.done.sort_unstable();
    assert_eq!(desk.begun, desk.done);
}

fn check(node: &Kelips<u32>, desk: &Desk, now: Time) {
    assert!(!node.known().contains(&0), "a node is not in its own tables");
    assert!(node.tuples() <= 20);
    for row in node.rows(desk) {
        assert!(row.label.ends_with("(own)") || row.peers.len() <= 2, "{row:?}");
    }
    for &member in node.table.members() {
        assert_eq!(node.group_of(desk.id(member)), node.group());
    }
    assert!(node.state_bytes() < 60_000, "{}", node.state_bytes());
    assert!(node.next_timeout().is_none_or(|due| due > now - Duration::from_secs(100_000)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_message_comes_back_from_the_wire(message in any_message()) {
        let bytes = message.to_wire();
        prop_assert_eq!(message.wire_len(), bytes.len());
        prop_assert_eq!(Message::<u32>::from_wire(&bytes), Ok(message));
        for cut in 0..bytes.len() {
            prop_assert!(Message::<u32>::from_wire(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Message::<u32>::from_wire(&bytes) {
            prop_assert_eq!(message.to_wire(), bytes);
        }
    }

    #[test]
    fn any_order(steps in prop::collection::vec(any_step(), 0..120)) {
        drive(steps);
    }

    #[test]
    fn news_taken_together_change_what_they_would_one_by_one(
        known in prop::collection::vec(any_seen(), 0..40),
        news in prop::collection::vec(any_seen(), 0..=TOGETHER),
    ) {
        let id = |peer: u32| Id::from_high(u64::from(peer).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let distance = |peer: u32| Some(Duration::from_millis(u64::from(peer * 7 % 11) * 20));
        let mut table = Table::new(PEERS, &Config { groups: 3, ..Config::for_nodes(100) });
        table.begin(Id::ZERO);
        let when = table.when(Time::from_secs(100_000));
        for entry in known {
            table.hear(&when, entry, false, table.spot(id(entry.peer)), distance);
        }
        let mut other = table.clone();
        let one = news.iter().map(|&entry| {
            table.hear(&when, entry, false, table.spot(id(entry.peer)), distance)
        });
        let one: Vec<Change> = one.collect();
        let spots = other.spots(&news, id);
        let together = news.iter().zip(spots).map(|(&entry, spot)| {
            other.hear(&when, entry, false, spot, distance)
        });
        prop_assert_eq!(one, together.collect::<Vec<_>>());
        prop_assert_eq!(format!("{table:?}"), format!("{other:?}"));
    }

    #[test]
    fn passing_an_entry_on_never_makes_it_younger(
        start in 100_000_000u64..200_000_000,
        hops in prop::collection::vec((0u64..3_000_000, 0u64..50_000_000), 1..40),
    ) {
        // Each node's clock has an offset of its own.
        let clock = Clock::new(Duration::from_secs(128));
        let (mut truth, mut age) = (0, 0);
        for (wait, offset) in hops {
            let came = start + offset + truth;
            let here = |after| Time::from_micros(came + after);
            let Some(stamp) = clock.at(here(0)).stamp(age) else { break };
            age = clock.at(here(wait)).age(stamp);
            truth += wait;
            prop_assert!(u64::from(age) * 1_000_000 >= truth, "{age} s told, {truth} µs passed");
            if clock.at(here(wait)).ticks(stamp) > 64 { break }
        }
    }
}

#[test]
fn a_message_is_small_in_memory() {
    assert!(size_of::<Message<u32>>() <= 56, "{}", size_of::<Message<u32>>());
}

#[test]
fn each_arc_is_its_groups() {
    for groups in [1, 2, 3, 31, 100, 316, 317, 1000, MAX_GROUPS] {
        for group in 0..groups {
            let (first, last) = routing::arc_of(group, groups);
            assert_eq!(group_of(Id::from_high(first), groups), group);
            assert_eq!(group_of(Id::from_high(last), groups), group);
            let next = Id::from_high(last.wrapping_add(1));
            assert_eq!(group_of(next, groups), (group + 1) % groups);
        }
    }
}

#[test]
fn two_silent_answers_make_a_peer_forgotten_and_its_word_brings_it_back() {
    let config = Config::for_nodes(100);
    let (mut table, rng) = (Table::new(0u32, &config), &mut Rng::from_seed(1));
    table.begin(Id::ZERO);
    let now = Time::from_secs(100);
    let hear = |table: &mut Table<u32>, now, age, direct| {
        table.hear(&table.when(now), Seen { peer: 7, age }, direct, table.spot(Id::ZERO), |_| None)
    };
    assert_eq!(hear(&mut table, now, 0, true), table::Change::Member);
    assert!(!table.suspect(now, 7, rng) && table.members() == [7]);
    assert!(table.suspect(now, 7, rng) && table.members().is_empty());
    let later = now + Duration::from_secs(5);
    assert_eq!(hear(&mut table, later, 6, false), table::Change::None, "older news");
    assert_eq!(hear(&mut table, later, 1, false), table::Change::Member, "younger news");
    for peer in 0..1000 {
        table.suspect(later, peer, rng);
    }
    assert!(table.heap_bytes() < 3000 + MAX_SUSPECTS * 32, "{}", table.heap_bytes());
}

#[test]
fn a_long_sleep_does_not_make_the_dead_young() {
    let config = Config::for_nodes(100);
    let (mut table, rng) = (Table::new(0u32, &config), &mut Rng::from_seed(1));
    table.begin(Id::ZERO);
    let now = Time::from_secs(100);
    table.hear(&table.when(now), Seen { peer: 7, age: 0 }, true, table.spot(Id::ZERO), |_| None);
    // A byte of ticks runs over in four time-outs.
    let morning = now + config.member_timeout * 4 + Duration::from_secs(1);
    table.wake(now, morning);
    assert_eq!(table.sweep(morning, rng), [0; 0], "who slept gives the others half a life");
    assert_eq!(table.sweep(morning + config.member_timeout * 2 / 3, rng), [7]);
}
