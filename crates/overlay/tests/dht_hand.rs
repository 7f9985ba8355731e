//! What is handed on arrives whole and takes nothing back, on each of the structured overlays.

mod common;

use std::time::Duration;

use common::World;
use starling_overlay::chord::Chord;
use starling_overlay::dht::{Ask, Dht, DhtConfig, DhtMessage, Handed, Put, Shown};
use starling_overlay::kademlia::Kademlia;
use starling_overlay::pastry::Pastry;
use starling_overlay::{Command, Id, KeyBased, Query, Record, RpcId};

type Net<K> = World<Dht<u32, K>>;

const MINUTE: Duration = Duration::from_secs(60);
const RECORDS: u32 = 400;
/// One who asks and takes no part.
const STRANGER: u32 = 1_000_000;

fn record(number: u32) -> Record {
    let name = format!("number {number}").as_str().into();
    Record { key: Id::hash(&number.to_be_bytes()), name, size: 1 }
}

fn word() -> Id {
    Id::hash(b"number")
}

/// One copy of each posting, so that nothing hides what one node lacks.
fn single<K: KeyBased<u32, Config: Default>>() -> Net<K> {
    let config = DhtConfig { replicas: 1, ..Dht::<u32, K>::config(K::Config::default()) };
    let mut net = Net::<K>::new(1, 160, config);
    net.converged(40);
    net
}

fn holder<K: KeyBased<u32>>(net: &Net<K>, key: Id) -> Vec<u32> {
    net.nodes.iter().filter(|one| one.1.kept_keys().contains(&key)).map(|one| *one.0).collect()
}

/// Postings that a node shows under the word, page by page.
fn shows<K: KeyBased<u32>>(net: &mut Net<K>, node: u32) -> usize {
    let mut seen = 0;
    loop {
        let query = Query { text: "number".into(), wanted: 1 };
        let ask = Box::new(Ask { under: word(), query, skip: seen as u16 });
        net.outside.log = Some(Vec::new());
        net.inject(STRANGER, node, DhtMessage::Search { op: 1, ask });
        let log = net.outside.log.take().unwrap_or_default();
        match log.iter().find(|said| said.1 == STRANGER) {
            Some((_, _, DhtMessage::Matches { more, values, .. })) => {
                seen += values.len();
                if !more {
                    return seen;
                }
            }
            other => panic!("{}: {other:?}", K::NAME),
        }
    }
}

/// Many messages full of postings under the word, of which one node has the only copy; who it
/// is, and who becomes the only one to keep them by joining: who stands right after the hash.
fn one_full_key<K: KeyBased<u32, Config: Default>>() -> (Net<K>, u32, u32) {
    let mut net = single::<K>();
    (0..RECORDS).for_each(|number| net.command(number % 40, Command::Publish(record(number))));
    net.run_for(MINUTE);
    let [before] = holder(&net, word())[..] else { panic!("{}", K::NAME) };
    assert_eq!(shows(&mut net, before), RECORDS as usize);
    let newcomer = (100..50_000).min_by_key(|&node| net.outside.place(node).minus(word()));
    (net, before, newcomer.unwrap_or_default())
}

fn join<K: KeyBased<u32>>(net: &mut Net<K>, newcomer: u32) {
    net.add(newcomer);
    net.command(newcomer, Command::Join(Some(0)));
    net.run_for(MINUTE);
}

fn arrives_whole<K: KeyBased<u32, Config: Default>>() {
    let (mut net, _, newcomer) = one_full_key::<K>();
    // Nobody renews: what the newcomer has was handed on.
    net.outside.drops = Some(Box::new(|_, _, message| matches!(message, DhtMessage::Put { .. })));
    join(&mut net, newcomer);
    assert_eq!(holder(&net, word()), [newcomer], "{}", K::NAME);
    assert_eq!(shows(&mut net, newcomer), RECORDS as usize, "{}", K::NAME);
}

/// One of the messages is lost each time: who sent it keeps all.
fn forgets_nothing_too_soon<K: KeyBased<u32, Config: Default>>() {
    let (mut net, before, newcomer) = one_full_key::<K>();
    net.outside.drops = Some(Box::new(|_, _, message| match message {
        DhtMessage::Hand { items, .. } => items.iter().any(|item| item.shown.record == record(RECORDS - 1)),
        message => matches!(message, DhtMessage::Put { .. }),
    }));
    join(&mut net, newcomer);
    let shown = shows(&mut net, newcomer);
    assert!(shown > 0 && shown < RECORDS as usize, "{}: {shown}", K::NAME);
    assert_eq!(shows(&mut net, before), RECORDS as usize, "{}", K::NAME);
}

#[test]
fn who_hands_on_keeps_all_until_all_has_arrived() {
    forgets_nothing_too_soon::<Chord<u32>>();
    forgets_nothing_too_soon::<Pastry<u32>>();
    forgets_nothing_too_soon::<Kademlia<u32>>();
}

#[test]
fn a_key_with_many_postings_is_handed_on_whole() {
    arrives_whole::<Chord<u32>>();
    arrives_whole::<Pastry<u32>>();
    arrives_whole::<Kademlia<u32>>();
}

/// A neighbour hands on what is older than what the provider itself said.
fn outlives_the_older<K: KeyBased<u32, Config: Default>>() {
    let mut net = single::<K>();
    net.command(1, Command::Publish(record(1)));
    net.run_for(MINUTE);
    let [keeper] = holder(&net, word())[..] else { panic!("{}", K::NAME) };
    let provider = STRANGER + 1;
    let said = |left_s: u32, number: u32| {
        let shown = Shown { record: record(number), provider };
        let items = [Handed { under: word(), left_s, shown }].into_iter().collect();
        DhtMessage::Hand { rpc: RpcId(1), items }
    };
    let put = |number: u32| {
        let put = Box::new(Put { under: word(), record: record(number) });
        DhtMessage::Put { rpc: RpcId(1), put }
    };
    let near = (0..40).filter(|&node| node != keeper).collect::<Vec<u32>>();
    net.inject(provider, keeper, put(2));
    near.iter().for_each(|&node| net.inject(node, keeper, said(60, 2)));
    near.iter().for_each(|&node| net.inject(node, keeper, said(60, 3)));
    near.iter().for_each(|&node| net.inject(node, keeper, said(600, 4)));
    near.iter().for_each(|&node| net.inject(node, keeper, said(60, 4)));
    assert_eq!(shows(&mut net, keeper), 4, "{}: one of node 1, and three of the provider", K::NAME);
    net.run_for(2 * MINUTE);
    assert_eq!(shows(&mut net, keeper), 3, "{}: number 3 has expired", K::NAME);
    net.run_for(10 * MINUTE);
    assert_eq!(shows(&mut net, keeper), 2, "{}: number 4, too", K::NAME);
}

#[test]
fn what_is_handed_on_shortens_no_life() {
    outlives_the_older::<Chord<u32>>();
    outlives_the_older::<Pastry<u32>>();
    outlives_the_older::<Kademlia<u32>>();
}
