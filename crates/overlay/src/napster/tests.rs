//! Properties: the wire, the index against a simple model, and a node's bounds under
//! anything that may come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use starling_sansio::{Rng, Time};

use super::index::{Added, Index};
use super::*;
use crate::wire::{List, Wire};
use crate::{Hit, Id, Op, Query, Record, RpcId};

/// Peers that exist, and one more.
const PEERS: u32 = 24;

struct Desk {
    rng: Rng,
    sent: Vec<(u32, Message<u32>)>,
    begun: Vec<Op>,
    done: Vec<Op>,
}

impl Host<u32, Message<u32>, Event<u32>> for Desk {
    fn id(&self, peer: u32) -> Id {
        Id::from_high(u64::from(peer).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }
    fn distance(&self, _: u32) -> Option<Duration> {
        None
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
    fn refuse(&mut self, _: Option<u32>, _: Offence) {}
}

fn record(number: u8, size: u64) -> Record {
    Record { key: Id::hash(&[number % 8]), name: format!("name{number} of many").into(), size }
}

fn any_record() -> impl Strategy<Value = Record> {
    (0u8..12, 0u64..2).prop_map(|(number, size)| record(number, size))
}

fn any_query() -> impl Strategy<Value = Query> {
    ("(name[0-9]|of|ma\\*|n\\*| ){0,3}", 0u16..9)
        .prop_map(|(text, wanted)| Query { text: text.into(), wanted })
}

fn any_change() -> impl Strategy<Value = Change<u32>> {
    let what = prop_oneof![
        3 => any_record().prop_map(|record| Did::Offered { record }),
        1 => any_record().prop_map(|record| Did::Withdrew { key: record.key }),
        1 => Just(Did::Vanished {}),
    ];
    (0..PEERS, 0u32..5, what).prop_map(|(client, life, what)| Change { client, life, what })
}

fn any_message() -> impl Strategy<Value = Message<u32>> {
    let rpc = || (0u32..4).prop_map(RpcId);
    let servers = || prop::collection::vec(0..PEERS, 0..6).prop_map(List::new);
    let heirs = || prop::collection::vec(0..PEERS, 0..6).prop_map(|heirs| Box::new(List::new(heirs)));
    let own_heirs = prop::collection::vec(0..PEERS, 0..=HEIRS).prop_map(List::new);
    let records = prop::collection::vec(any_record(), 0..5).prop_map(List::new);
    let keys = || prop::collection::vec(any_record().prop_map(|record| record.key), 0..5).prop_map(List::new);
    let changes = || prop::collection::vec(any_change(), 0..6).prop_map(List::new);
    let found = (any_record(), 0..PEERS).prop_map(|(record, provider)| Hit { record, provider });
    let hits = prop::collection::vec(found, 0..3).prop_map(List::new);
    let number = || prop_oneof![4 => 0u64..9, 1 => any::<u64>()];
    let epoch = || 0u32..3;
    let after =
        prop::option::of((0..PEERS, any_record()).prop_map(|(peer, record)| Cursor(peer, record.key)));
    let client =
        prop_oneof![
            rpc().prop_map(|rpc| Message::Hello { rpc }),
            (rpc(), servers()).prop_map(|(rpc, servers)| Message::Servers { rpc, servers }),
            (rpc(), 0u32..4).prop_map(|(rpc, life)| Message::Register { rpc, life }),
            (rpc(), 0u32..4, servers(), heirs()).prop_map(|(rpc, life, servers, heirs)| {
                Message::Registered { rpc, life, servers, heirs }
            }),
            (rpc(), records).prop_map(|(rpc, records)| Message::Offer { rpc, records }),
            (rpc(), keys()).prop_map(|(rpc, refused)| Message::Offered { rpc, refused }),
            (rpc(), keys()).prop_map(|(rpc, keys)| Message::Withdraw { rpc, keys }),
            rpc().prop_map(|rpc| Message::Withdrawn { rpc }),
            (rpc(), any::<u32>(), any::<u64>()).prop_map(|(rpc, count, digest)| Message::Alive {
                rpc,
                count,
                digest
            }),
            (rpc(), any::<bool>(), servers(), heirs())
                .prop_map(|(rpc, agreed, servers, heirs)| { Message::Noted { rpc, agreed, servers, heirs } }),
            (rpc(), any_record(), any::<u16>()).prop_map(|(rpc, record, skip)| Message::LookUp {
                rpc,
                key: record.key,
                skip
            }),
            (rpc(), any_query(), 0u16..9).prop_map(|(rpc, query, skip)| Message::Search { rpc, query, skip }),
            (rpc(), any::<bool>(), hits, any::<bool>())
                .prop_map(|(rpc, search, hits, more)| Message::Answer { rpc, search, hits, more }),
            rpc().prop_map(|rpc| Message::Unknown { rpc }),
            rpc().prop_map(|rpc| Message::Refused { rpc }),
            Just(Message::Bye {}),
        ];
    let server =
        prop_oneof![
            servers().prop_map(|servers| Message::Retire { servers }),
            servers().prop_map(|servers| Message::Appoint { token: 0, servers }),
            (0u64..2, epoch(), number(), servers(), own_heirs).prop_map(
                |(token, epoch, made, servers, heirs)| {
                    let heirs = Box::new(heirs);
                    Message::Beat { token, epoch, made, servers, heirs }
                }
            ),
            (epoch(), number(), number(), changes())
                .prop_map(|(epoch, first, made, changes)| Message::Changes { epoch, first, made, changes }),
            (epoch(), number()).prop_map(|(epoch, first)| Message::Pull { epoch, first }),
            epoch().prop_map(|epoch| Message::Gap { epoch }),
            (rpc(), after).prop_map(|(rpc, after)| Message::CopyIndex { rpc, token: 0, after }),
            (rpc(), epoch(), number(), changes(), any::<bool>()).prop_map(
                |(rpc, epoch, made, changes, more)| { Message::Copied { rpc, epoch, made, changes, more } }
            ),
        ];
    prop_oneof![client, server]
}

/// One thing that happens to a node.
#[derive(Clone, Debug)]
enum Step {
    Message(u32, Message<u32>),
    /// An answer with the number of a question that was asked of that peer.
    Reply(usize, Message<u32>),
    Command(u8, Record),
    Words(Query),
    Unreachable(u32),
    Pass(u64),
    Back,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..PEERS, any_message()).prop_map(|(from, message)| Step::Message(from, message)),
        5 => (any::<usize>(), any_message()).prop_map(|(nth, message)| Step::Reply(nth, message)),
        3 => (0u8..12, any_record()).prop_map(|(what, record)| Step::Command(what, record)),
        1 => any_query().prop_map(Step::Words),
        1 => (0..PEERS).prop_map(Step::Unreachable),
        3 => prop_oneof![0u64..5000, Just(200_000)].prop_map(Step::Pass),
        1 => Just(Step::Back),
    ]
}

/// The number in a message, wherever it has one.
fn number_of(message: &mut Message<u32>) -> Option<&mut RpcId> {
    match message {
        Message::Hello { rpc }
        | Message::Servers { rpc, .. }
        | Message::Register { rpc, .. }
        | Message::Registered { rpc, .. }
        | Message::Offer { rpc, .. }
        | Message::Offered { rpc, .. }
        | Message::Withdraw { rpc, .. }
        | Message::Withdrawn { rpc }
        | Message::Alive { rpc, .. }
        | Message::Noted { rpc, .. }
        | Message::LookUp { rpc, .. }
        | Message::Search { rpc, .. }
        | Message::Answer { rpc, .. }
        | Message::Unknown { rpc }
        | Message::Refused { rpc }
        | Message::CopyIndex { rpc, .. }
        | Message::Copied { rpc, .. } => Some(rpc),
        _ => None,
    }
}

/// An answer to the `nth` question of those that were sent.
fn reply(desk: &Desk, nth: usize, mut message: Message<u32>) -> Option<(u32, Message<u32>)> {
    let questions = desk.sent.iter().rev().filter(|(_, sent)| sent.answers().is_none()).take(4);
    let mut questions: Vec<(u32, Message<u32>)> = questions.cloned().collect();
    let count = questions.len();
    let (from, question) = questions.get_mut(nth % count.max(1))?;
    *number_of(&mut message)? = *number_of(question)?;
    Some((*from, message))
}

/// Node 0 lives through `steps`; everything it may not do is an assertion.
fn drive(steps: Vec<Step>) {
    let limits = IndexLimits { records: 60, records_per_client: 6, tree_nodes: 300 };
    let config = Arc::new(Config { limits, max_clients: 8, burst: 5, ..Config::default() });
    let mut desk = Desk { rng: Rng::from_seed(1), sent: vec![], begun: vec![], done: vec![] };
    let mut node: Napster<u32> = Napster::new(0, &config);
    let mut now = Time::from_secs(1);
    for step in steps {
        let op = Op(desk.begun.len() as u32);
        let input = match step {
            Step::Message(from, message) => Some(Input::Message { from, message }),
            Step::Reply(nth, message) => {
                reply(&desk, nth, message).map(|(from, message)| Input::Message { from, message })
            }
            Step::Command(0, _) => Some(Input::Command(Command::Join(None))),
            Step::Command(1..4, record) => Some(Input::Command(Command::Join(Some(1 + record.size as u32)))),
            Step::Command(4, record) if record.size == 0 => Some(Input::Command(Command::Leave)),
            Step::Command(4..8, record) => Some(Input::Command(Command::Publish(record))),
            Step::Command(8, record) => Some(Input::Command(Command::Withdraw(record.key))),
            Step::Command(9, record) => {
                desk.begun.push(op);
                Some(Input::Command(Command::Find(op, record.key)))
            }
            Step::Command(_, record) => {
                desk.begun.push(op);
                Some(Input::Command(Command::LookUp(op, record.key)))
            }
            Step::Words(query) => {
                desk.begun.push(op);
                Some(Input::Command(Command::Search(op, query)))
            }
            Step::Unreachable(peer) => Some(Input::Unreachable(peer)),
            Step::Pass(millis) => {
                now = now + Duration::from_millis(millis);
                node.handle_timeout(now, &mut desk);
                None
            }
            Step::Back => {
                let before = (node.known(), desk.sent.len());
                node.handle(Time::ZERO, Input::Command(Command::Leave), &mut desk);
                assert_eq!(before, (node.known(), desk.sent.len()));
                None
            }
        };
        if let Some(input) = input {
            node.handle(now, input, &mut desk);
        }
        assert!(!node.known().contains(&0), "a node is not in its own tables");
        assert!(node.records() <= 60 && node.load().is_none_or(|load| load.clients <= 8));
        assert!(node.state_bytes() < 200_000, "{}", node.state_bytes());
    }
    // Whatever was begun ends, once; and a node is not woken for nothing.
    let mut woken = 0;
    while let Some(due) = node.next_timeout().filter(|&due| due < now + Duration::from_secs(60)) {
        node.handle_timeout(due.max(now), &mut desk);
        woken += 1;
        assert!(woken < 2000, "woken again and again at {due:?}");
    }
    desk.done.sort_unstable();
    assert_eq!(desk.begun, desk.done);
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
    fn the_index_finds_what_a_list_would(
        changes in prop::collection::vec((any_change(), 0u32..3), 0..80),
        query in any_query(),
    ) {
        let limits = IndexLimits { records: 1000, records_per_client: 100, tree_nodes: 100_000 };
        let mut index: Index<u32> = Index::new(limits);
        // By client: origin, life, records by key.
        let mut model: BTreeMap<u32, (u32, u32, BTreeMap<Id, Record>)> = BTreeMap::new();
        for (Change { client, life, what }, origin) in changes {
            match what {
                Did::Offered { record } => {
                    let held = model.entry(client).or_insert((origin, life, BTreeMap::new()));
                    if life > held.1 {
                        *held = (origin, life, BTreeMap::new());
                    }
                    let ours = (held.0, held.1) == (origin, life);
                    let added = index.add(client, origin, life, record.clone());
                    prop_assert_eq!(added == Added::Old, !ours);
                    if ours {
                        held.2.insert(record.key, record);
                    }
                }
                Did::Withdrew { key } => {
                    index.remove(client, origin, life, key);
                    if let Some(held) = model.get_mut(&client).filter(|h| (h.0, h.1) == (origin, life)) {
                        held.2.remove(&key);
                    }
                }
                Did::Vanished {} => {
                    index.gone(client, origin, life);
                    model.retain(|&c, held| c != client || held.0 != origin || held.1 > life);
                }
            }
        }
        let all = || model.iter().flat_map(|(&client, held)| held.2.values().map(move |r| (client, r.clone())));
        let sorted = |mut hits: Vec<(u32, Record)>| { hits.sort(); hits };
        let told = |hits: Vec<Hit<u32>>| hits.into_iter().map(|hit| (hit.provider, hit.record)).collect();
        prop_assert_eq!(index.len(), all().count());
        let key = record(3, 0).key;
        let expected = sorted(all().filter(|(_, record)| record.key == key).collect());
        prop_assert_eq!(sorted(told(index.look_up(key, 0, 1000).0)), expected);
        let expected = sorted(all().filter(|(_, record)| query.matches(record)).collect());
        // Page by page, two at a time.
        let (mut found, mut more) = (Vec::new(), true);
        while more {
            let (hits, on) = index.search(&query, found.len(), 2);
            found.extend(hits);
            more = on;
        }
        prop_assert_eq!(sorted(told(found)), expected);
        // A copy of each origin's part is the whole.
        let mut copied = Vec::new();
        for origin in 0..3 {
            let mut after = None;
            loop {
                let part = index.copy(origin, after, 3);
                after = part.last().map(|(client, _, record)| (*client, record.key));
                copied.extend(part.iter().map(|(client, _, record)| (*client, record.clone())));
                if part.len() < 3 { break }
            }
        }
        prop_assert_eq!(sorted(copied), sorted(all().collect()));
        (0..3).for_each(|origin| index.drop_origin(origin));
        prop_assert_eq!((index.len(), index.search(&query, 0, 9).0.len()), (0, 0));
    }
}

#[test]
fn a_message_is_small_in_memory() {
    assert!(size_of::<Message<u32>>() <= 56, "{}", size_of::<Message<u32>>());
}
