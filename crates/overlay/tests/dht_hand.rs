//! What is handed on arrives whole and takes nothing back, on each of the structured overlays.

mod common;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use common::World;
use starling_overlay::chord::Chord;
use starling_overlay::dht::{Ask, Dht, DhtConfig, DhtMessage, Handed, Put, Shown};
use starling_overlay::kademlia::Kademlia;
use starling_overlay::pastry::Pastry;
use starling_overlay::{Command, Id, KeyBased, Query, Record, RpcId};
use starling_sansio::Rng;

type Net<K> = World<Dht<u32, K>>;

const MINUTE: Duration = Duration::from_secs(60);
const RECORDS: u32 = 400;
/// More than are on their way at once.
const MANY: u32 = 900;
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
fn single<K: KeyBased<u32, Config: Default>>(seed: u64) -> Net<K> {
    let config = DhtConfig { replicas: 1, ..Dht::<u32, K>::config(K::Config::default()) };
    let mut net = Net::<K>::new(seed, 160, config);
    net.converged(40);
    net
}

fn holder<K: KeyBased<u32>>(net: &Net<K>, key: Id) -> Vec<u32> {
    net.nodes.iter().filter(|one| one.1.kept_keys().contains(&key)).map(|one| *one.0).collect()
}

/// The records that a node shows under the word, page by page.
fn shown<K: KeyBased<u32>>(net: &mut Net<K>, node: u32) -> Vec<Id> {
    let mut seen = Vec::new();
    loop {
        let query = Query { text: "number".into(), wanted: 1 };
        let ask = Box::new(Ask { under: word(), query, skip: seen.len() as u16 });
        net.outside.log = Some(Vec::new());
        net.inject(STRANGER, node, DhtMessage::Search { op: 1, ask });
        let log = net.outside.log.take().unwrap_or_default();
        match log.iter().find(|said| said.1 == STRANGER) {
            Some((_, _, DhtMessage::Matches { more, values, .. })) => {
                seen.extend(values.iter().map(|one| one.record.key));
                if !more {
                    return seen;
                }
            }
            other => panic!("{}: {other:?}", K::NAME),
        }
    }
}

fn shows<K: KeyBased<u32>>(net: &mut Net<K>, node: u32) -> usize {
    shown(net, node).len()
}

/// Many messages full of postings under the word, of which one node has the only copy; who it
/// is, and who becomes the only one to keep them by joining: who stands right after the hash.
fn one_full_key<K: KeyBased<u32, Config: Default>>(seed: u64, records: u32) -> (Net<K>, u32, u32) {
    let mut net = single::<K>(seed);
    (0..records).for_each(|number| net.command(number % 40, Command::Publish(record(number))));
    net.run_for(MINUTE);
    let [before] = holder(&net, word())[..] else { panic!("{}", K::NAME) };
    assert_eq!(shows(&mut net, before), records as usize);
    let newcomer = (100..50_000).min_by_key(|&node| net.outside.place(node).minus(word()));
    (net, before, newcomer.unwrap_or_default())
}

fn join<K: KeyBased<u32>>(net: &mut Net<K>, newcomer: u32) {
    net.add(newcomer);
    net.command(newcomer, Command::Join(Some(0)));
    net.run_for(MINUTE);
}

fn arrives_whole<K: KeyBased<u32, Config: Default>>() {
    let (mut net, _, newcomer) = one_full_key::<K>(1, RECORDS);
    // Nobody renews: what the newcomer has was handed on.
    net.outside.drops = Some(Box::new(|_, _, message| matches!(message, DhtMessage::Put { .. })));
    join(&mut net, newcomer);
    assert_eq!(holder(&net, word()), [newcomer], "{}", K::NAME);
    assert_eq!(shows(&mut net, newcomer), RECORDS as usize, "{}", K::NAME);
}

/// One of the messages is lost each time: who sent it keeps all.
fn forgets_nothing_too_soon<K: KeyBased<u32, Config: Default>>() {
    let (mut net, before, newcomer) = one_full_key::<K>(1, RECORDS);
    net.outside.drops = Some(Box::new(|_, _, message| match message {
        DhtMessage::Hand { items, .. } => items.iter().any(|item| item.shown.record == record(RECORDS - 1)),
        message => matches!(message, DhtMessage::Put { .. }),
    }));
    join(&mut net, newcomer);
    let shown = shows(&mut net, newcomer);
    assert!(shown > 0 && shown < RECORDS as usize, "{}: {shown}", K::NAME);
    assert_eq!(shows(&mut net, before), RECORDS as usize, "{}", K::NAME);
    // It is tried again, but not for ever.
    let tried: Vec<usize> = (0..2).map(|_| messages(&mut net, newcomer)).collect();
    assert!((1..=50).contains(&tried[0]) && tried[1] == 0, "{}: {tried:?}", K::NAME);
    assert_eq!(shows(&mut net, before), RECORDS as usize, "{}", K::NAME);
}

/// Messages of hand-overs that a node is sent in a quarter of an hour.
fn messages<K: KeyBased<u32>>(net: &mut Net<K>, to: u32) -> usize {
    net.outside.log = Some(Vec::new());
    net.run_for(15 * MINUTE);
    let log = net.outside.log.take().unwrap_or_default();
    log.iter().filter(|said| said.1 == to && matches!(said.2, DhtMessage::Hand { .. })).count()
}

/// With loss, nothing is with nobody at any time, and in the end all has arrived.
fn survives_loss<K: KeyBased<u32, Config: Default>>() {
    for (seed, permille) in [(2, 100), (3, 100), (6, 200), (8, 200)] {
        let (mut net, before, newcomer) = one_full_key::<K>(seed, MANY);
        let chance = RefCell::new(Rng::from_seed(77 * seed));
        net.outside.drops = Some(Box::new(move |_, _, message| match message {
            DhtMessage::Put { .. } => true,
            DhtMessage::Hand { .. } | DhtMessage::Stored { .. } => chance.borrow_mut().below(1000) < permille,
            _ => false,
        }));
        net.add(newcomer);
        net.command(newcomer, Command::Join(Some(0)));
        for secs in [5, 25, 30, 540] {
            net.run_for(Duration::from_secs(secs));
            let mut kept = BTreeSet::new();
            for node in [before, newcomer] {
                kept.extend(shown(&mut net, node));
            }
            assert_eq!(kept.len(), MANY as usize, "{}, seed {seed}, loss {permille}", K::NAME);
        }
        assert_eq!(holder(&net, word()), [newcomer], "{}, seed {seed}, loss {permille}", K::NAME);
    }
}

#[test]
fn what_is_handed_on_with_loss_is_never_with_nobody() {
    survives_loss::<Chord<u32>>();
    survives_loss::<Pastry<u32>>();
    survives_loss::<Kademlia<u32>>();
}

/// One of the messages is refused, the others are not: who sent them keeps all, until what was
/// refused is taken.
fn keeps_what_is_refused<K: KeyBased<u32, Config: Default>>() {
    let (mut net, before, newcomer) = one_full_key::<K>(1, RECORDS);
    let full = |message: &DhtMessage<u32, K::Message>| match message {
        DhtMessage::Hand { rpc, items } => {
            items.iter().any(|item| item.shown.record == record(10)).then_some(*rpc)
        }
        _ => None,
    };
    net.outside.drops = Some(Box::new(move |_, _, message| {
        full(message).is_some() || matches!(message, DhtMessage::Put { .. })
    }));
    net.add(newcomer);
    net.command(newcomer, Command::Join(Some(0)));
    let mut refused = 0;
    for _ in 0..200 {
        net.outside.log = Some(Vec::new());
        net.run_for(MINUTE / 600);
        let log = net.outside.log.take().unwrap_or_default();
        let hands = log.iter().filter(|said| (said.0, said.1) == (before, newcomer));
        for rpc in hands.filter_map(|said| full(&said.2)) {
            refused += 1;
            net.inject(newcomer, before, DhtMessage::Stored { rpc, kept: false });
        }
    }
    assert_eq!(refused, 1, "{}", K::NAME);
    let taken = shows(&mut net, newcomer);
    assert!(taken > RECORDS as usize / 2 && taken < RECORDS as usize, "{}: {taken}", K::NAME);
    assert_eq!(shows(&mut net, before), RECORDS as usize, "{}", K::NAME);
    net.outside.drops = Some(Box::new(|_, _, message| matches!(message, DhtMessage::Put { .. })));
    net.run_for(MINUTE);
    assert_eq!(holder(&net, word()), [newcomer], "{}", K::NAME);
    assert_eq!(shows(&mut net, newcomer), RECORDS as usize, "{}", K::NAME);
}

#[test]
fn what_is_refused_is_kept_and_handed_on_again() {
    keeps_what_is_refused::<Chord<u32>>();
    keeps_what_is_refused::<Pastry<u32>>();
    keeps_what_is_refused::<Kademlia<u32>>();
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

/// Only now and then a message gets through: as long as some do, the others are tried again.
fn arrives_bit_by_bit<K: KeyBased<u32, Config: Default>>() {
    let (mut net, _, newcomer) = one_full_key::<K>(1, RECORDS);
    let sent = RefCell::new(0);
    net.outside.drops = Some(Box::new(move |_, _, message| match message {
        DhtMessage::Hand { .. } => {
            *sent.borrow_mut() += 1;
            *sent.borrow() % 6 != 0
        }
        message => matches!(message, DhtMessage::Put { .. }),
    }));
    join(&mut net, newcomer);
    assert!(shows(&mut net, newcomer) < RECORDS as usize, "{}", K::NAME);
    net.run_for(60 * MINUTE);
    assert_eq!(shows(&mut net, newcomer), RECORDS as usize, "{}", K::NAME);
    assert_eq!(holder(&net, word()), [newcomer], "{}", K::NAME);
}

#[test]
fn as_long_as_some_of_it_arrives_the_rest_is_tried_again() {
    arrives_bit_by_bit::<Chord<u32>>();
    arrives_bit_by_bit::<Pastry<u32>>();
    arrives_bit_by_bit::<Kademlia<u32>>();
}

/// Who is to take a key hears nothing and dies, while another has come who is next.
fn goes_to_the_next<K: KeyBased<u32, Config: Default>>() {
    let (mut net, before, newcomer) = one_full_key::<K>(1, RECORDS);
    let next = (100..50_000).filter(|&node| node != newcomer);
    let next = next.min_by_key(|&node| net.outside.place(node).minus(word())).unwrap_or_default();
    net.outside.drops = Some(Box::new(move |_, to, message| match message {
        DhtMessage::Hand { .. } => to == newcomer,
        message => matches!(message, DhtMessage::Put { .. }),
    }));
    join(&mut net, newcomer);
    join(&mut net, next);
    assert_eq!(holder(&net, word()), [before], "{}", K::NAME);
    net.kill(newcomer);
    net.run_for(10 * MINUTE);
    assert_eq!(holder(&net, word()), [next], "{}", K::NAME);
    assert_eq!(shows(&mut net, next), RECORDS as usize, "{}", K::NAME);
}

#[test]
fn what_the_dead_did_not_take_goes_to_the_next() {
    goes_to_the_next::<Chord<u32>>();
    goes_to_the_next::<Pastry<u32>>();
    goes_to_the_next::<Kademlia<u32>>();
}

/// A neighbour hands on what is older than what the provider itself said.
fn outlives_the_older<K: KeyBased<u32, Config: Default>>() {
    let mut net = single::<K>(1);
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

/// Who fell out of a replica set hands its key to one root after the other, if the first did not
/// answer: whether it keeps the key while the first still has to get it, and after that.
fn keeps_until_both_have_it<K: KeyBased<u32, Config: Default>>() -> (bool, bool) {
    let config = DhtConfig { replicas: 2, ..Dht::<u32, K>::config(K::Config::default()) };
    let mut net = Net::<K>::new(1, 160, config);
    net.converged(40);
    let what = record(STRANGER); // not where a node stands
    let key = what.key;
    let mut newcomers: Vec<u32> = (100..50_000).collect();
    newcomers.sort_by_key(|&node| net.outside.place(node).minus(key));
    let (root, first) = (newcomers[0], newcomers[1]);
    let publisher = (0..40).max_by_key(|&node| net.outside.place(node).minus(key)).unwrap_or_default();
    net.command(publisher, Command::Publish(what));
    net.run_for(MINUTE);
    let holders = holder(&net, key);
    let last = holders.into_iter().max_by_key(|&node| net.outside.place(node).minus(key)).expect("somebody");
    let hands = |message: &DhtMessage<u32, K::Message>| matches!(message, DhtMessage::Hand { .. });
    net.outside.drops =
        Some(Box::new(move |from, to, message| (from, to) == (last, first) && hands(message)));
    for newcomer in [first, root] {
        net.add(newcomer);
        net.command(newcomer, Command::Join(Some(publisher)));
        net.run_for(MINUTE);
    }
    assert!(holder(&net, key).contains(&root), "{}", K::NAME);
    let keeps = net.nodes[&last].kept_keys().contains(&key);
    net.outside.drops = None;
    net.run_for(5 * MINUTE);
    (keeps, net.nodes[&last].kept_keys().contains(&key))
}

#[test]
fn what_is_handed_to_two_is_forgotten_when_both_have_it() {
    assert_eq!(keeps_until_both_have_it::<Chord<u32>>(), (true, false));
    assert_eq!(keeps_until_both_have_it::<Pastry<u32>>(), (true, false));
    assert_eq!(keeps_until_both_have_it::<Kademlia<u32>>(), (true, false));
}
