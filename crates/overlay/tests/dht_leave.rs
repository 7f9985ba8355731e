//! Postings while nodes leave and die, on each of the structured overlays.

mod common;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use common::World;
use starling_overlay::chord::Chord;
use starling_overlay::dht::{Dht, DhtConfig, DhtMessage, Handed, Put, Shown};
use starling_overlay::kademlia::Kademlia;
use starling_overlay::pastry::Pastry;
use starling_overlay::{Command, Core, Id, KeyBased, Op, Outcome, Record, RpcId};

type Net<K> = World<Dht<u32, K>>;

const MINUTE: Duration = Duration::from_secs(60);

fn record(number: u32) -> Record {
    let name = format!("number {number}").as_str().into();
    Record { key: Id::hash(&number.to_be_bytes()), name, size: 1 }
}

fn converged<K: KeyBased<u32, Config: Default>>(count: u32) -> Net<K> {
    let mut net = Net::<K>::new(1, 160, Dht::<u32, K>::config(K::Config::default()));
    net.converged(count);
    net
}

fn holders<K: KeyBased<u32>>(net: &Net<K>, key: Id) -> Vec<u32> {
    net.nodes.iter().filter(|(_, node)| node.kept_keys().contains(&key)).map(|(name, _)| *name).collect()
}

/// The fewest copies of six records of a dead publisher while one of their holders after the
/// other goes, the first in the circle from the key on.
fn fewest_copies<K: KeyBased<u32, Config: Default>>(graceful: bool) -> usize {
    let mut net = converged::<K>(80);
    (0..6).for_each(|number| net.command(1, Command::Publish(record(number))));
    net.run_for(MINUTE);
    net.kill(1);
    net.run_for(5 * MINUTE);
    let mut fewest = usize::MAX;
    for _ in 0..6 {
        for number in 0..6 {
            let key = record(number).key;
            let first = holders(&net, key).into_iter().min_by_key(|&one| net.outside.place(one).minus(key));
            match first {
                Some(first) if graceful => net.command(first, Command::Leave),
                Some(first) => net.kill(first),
                None => return 0,
            }
            net.run_for(MINUTE);
            fewest = fewest.min(holders(&net, key).len());
        }
    }
    fewest
}

#[test]
fn copies_are_as_many_after_those_who_kept_them_left_one_by_one() {
    assert_eq!(fewest_copies::<Chord<u32>>(true), Chord::<u32>::REPLICAS);
    assert_eq!(fewest_copies::<Pastry<u32>>(true), Pastry::<u32>::REPLICAS);
    // Who is near to a key is known there a little later.
    assert!(fewest_copies::<Kademlia<u32>>(true) >= Kademlia::<u32>::REPLICAS - 1);
}

#[test]
fn copies_are_as_many_after_those_who_kept_them_died_one_by_one() {
    assert_eq!(fewest_copies::<Chord<u32>>(false), Chord::<u32>::REPLICAS);
    assert_eq!(fewest_copies::<Pastry<u32>>(false), Pastry::<u32>::REPLICAS);
}

/// The only copy of a record whose publisher is dead goes from one who leaves to the next.
fn the_only_copy<K: KeyBased<u32, Config: Default>>() {
    let config = DhtConfig { replicas: 1, ..Dht::<u32, K>::config(K::Config::default()) };
    let mut net = Net::<K>::new(1, 160, config);
    net.converged(40);
    let key = record(1).key;
    let far = |node: &u32| net.outside.place(*node).xor(key);
    let publisher = (0..40).max_by_key(far).unwrap_or_default();
    net.command(publisher, Command::Publish(record(1)));
    net.run_for(MINUTE / 2);
    net.kill(publisher);
    for _ in 0..6 {
        let [holder] = holders(&net, key)[..] else { panic!("{}: {:?}", K::NAME, holders(&net, key)) };
        net.command(holder, Command::Leave);
        net.run_for(MINUTE);
        net.kill(holder);
    }
    assert_eq!(holders(&net, key).len(), 1, "{}", K::NAME);
}

#[test]
fn who_leaves_hands_over_what_nobody_else_has() {
    the_only_copy::<Chord<u32>>();
    the_only_copy::<Pastry<u32>>();
    the_only_copy::<Kademlia<u32>>();
}

/// How many records of a dead publisher are with nobody after a dozen nodes left, one by one.
fn lost_with_those_who_leave<K: KeyBased<u32, Config: Default>>(trouble: impl Fn(&mut Net<K>)) -> usize {
    let config = DhtConfig { replicas: 1, ..Dht::<u32, K>::config(K::Config::default()) };
    let mut net = Net::<K>::new(1, 160, config);
    net.converged(40);
    (0..60).for_each(|number| net.command(0, Command::Publish(record(number))));
    net.run_for(MINUTE / 2);
    net.kill(0);
    net.run_for(2 * MINUTE);
    let kept = |net: &Net<K>| (0..60).filter(|&number| !holders(net, record(number).key).is_empty()).count();
    let before = kept(&net);
    trouble(&mut net);
    for node in 1..13 {
        net.command(node, Command::Leave);
        net.run_for(MINUTE);
        assert!(!net.nodes[&node].is_member() && net.nodes[&node].kept_keys().is_empty(), "{}", K::NAME);
        net.kill(node);
    }
    before - kept(&net)
}

fn loses_nothing<K: KeyBased<u32, Config: Default>>() {
    // Of messages sent at one time the last may come first.
    assert_eq!(lost_with_those_who_leave::<K>(|net| net.outside.jitter_us = 50_000), 0, "{}", K::NAME);
    // Each message is lost when it is sent for the first time.
    let the_first_is_lost = |net: &mut Net<K>| {
        let seen = RefCell::new(BTreeSet::new());
        net.outside.drops = Some(Box::new(move |from, to, message| match message {
            DhtMessage::Hand { items, .. } => {
                let what = items.iter().map(|item| item.under).collect::<Vec<Id>>();
                seen.borrow_mut().insert((from, to, what))
            }
            _ => false,
        }));
    };
    assert_eq!(lost_with_those_who_leave::<K>(the_first_is_lost), 0, "{}", K::NAME);
}

#[test]
fn who_leaves_says_good_bye_when_what_it_hands_over_has_arrived() {
    loses_nothing::<Chord<u32>>();
    loses_nothing::<Pastry<u32>>();
    loses_nothing::<Kademlia<u32>>();
}

/// Who leaves and waits for somebody silent: what it is told meanwhile goes to its heir, too,
/// and what another hands on stays there.
fn minds_what_comes_late<K: KeyBased<u32, Config: Default>>() {
    let config = DhtConfig { replicas: 1, ..Dht::<u32, K>::config(K::Config::default()) };
    let mut net = Net::<K>::new(1, 160, config);
    net.converged(40);
    (0..400).for_each(|number| net.command(number % 40, Command::Publish(record(number))));
    net.run_for(MINUTE / 2);
    let root = |number: u32| holders(&net, record(number).key)[0];
    // One has published at another, who is silent now, and stands for others' records itself.
    let has = |node: u32| (0..400).filter(move |&number| number % 40 != node && root(number) == node);
    let leaves =
        (0..40).find(|&node| has(node).count() > 1 && root(node + 40) != node).expect("there is one");
    let (late, silent) = (has(leaves).next().unwrap_or_default(), root(leaves + 40));
    net.command(late % 40, Command::Withdraw(record(late).key));
    net.run_for(MINUTE);
    assert_eq!(holders(&net, record(late).key), [], "{}", K::NAME);
    net.kill(silent);
    net.command(leaves, Command::Leave);
    net.run_for(MINUTE / 60);
    assert!(net.nodes[&leaves].is_member(), "{}: it waits", K::NAME);
    let near = |node: &&u32| **node != leaves;
    let others: Vec<u32> = net.nodes.keys().filter(near).copied().collect();
    let kept = net.nodes[&leaves].kept_keys().len();
    for from in others {
        let shown = Shown { record: record(999), provider: 2 };
        let items = [Handed { under: record(999).key, left_s: 60, shown }].into_iter().collect();
        net.inject(from, leaves, DhtMessage::Hand { rpc: RpcId(1), items });
    }
    assert_eq!(net.nodes[&leaves].kept_keys().len(), kept, "{}", K::NAME);
    let put = Box::new(Put { under: record(late).key, record: record(late) });
    net.inject(1_000_000, leaves, DhtMessage::Put { rpc: RpcId(1), put });
    assert_eq!(holders(&net, record(late).key), [leaves], "{}", K::NAME);
    net.run_for(MINUTE);
    assert!(!net.nodes[&leaves].is_member() && net.nodes[&leaves].kept_keys().is_empty(), "{}", K::NAME);
    assert_eq!(holders(&net, record(late).key).len(), 1, "{}", K::NAME);
}

#[test]
fn what_comes_to_who_is_leaving_is_not_lost() {
    minds_what_comes_late::<Chord<u32>>();
    minds_what_comes_late::<Pastry<u32>>();
    minds_what_comes_late::<Kademlia<u32>>();
}

/// Who leaves without time to find anybody withdraws at home first: it hands nothing of its
/// own to others, and takes nothing from them afterwards.
fn hands_over_nothing_of_its_own<K: KeyBased<u32, Config: Default>>() {
    let config = DhtConfig { leave: Duration::ZERO, ..Dht::<u32, K>::config(K::Config::default()) };
    let mut net = Net::<K>::new(1, 160, config);
    net.converged(40);
    let near = |number: u32, node: u32| net.outside.place(node).xor(record(number).key);
    let root = (0..40).min_by_key(|&node| near(1, node)).unwrap_or_default();
    net.command(root, Command::Publish(record(1)));
    net.run_for(MINUTE / 2);
    assert!(holders(&net, record(1).key).contains(&root), "{}", K::NAME);
    net.outside.log = Some(Vec::new());
    net.command(root, Command::Leave);
    net.run_for(MINUTE);
    let log = net.outside.log.take().unwrap_or_default();
    let hands = log.iter().filter(|said| said.0 == root && matches!(said.2, DhtMessage::Hand { .. }));
    assert_eq!(hands.count(), 0, "{}", K::NAME);
    let handed = Handed { under: record(1).key, left_s: 60, shown: Shown { record: record(1), provider: 2 } };
    for from in (0..40).filter(|&node| node != root) {
        let items = [handed.clone()].into_iter().collect();
        net.inject(from, root, DhtMessage::Hand { rpc: RpcId(1), items });
    }
    assert_eq!(net.nodes[&root].kept_keys(), [], "{}", K::NAME);
}

#[test]
fn who_leaves_hands_over_nothing_of_its_own_and_takes_nothing() {
    hands_over_nothing_of_its_own::<Chord<u32>>();
    hands_over_nothing_of_its_own::<Pastry<u32>>();
    hands_over_nothing_of_its_own::<Kademlia<u32>>();
}

/// Who would leave and stays has everything published again.
fn stays<K: KeyBased<u32, Config: Default>>() {
    let mut net = converged::<K>(40);
    net.command(1, Command::Publish(record(1)));
    net.run_for(20 * MINUTE); // renewals are rare by now
    net.command(1, Command::Leave);
    net.run_for(Duration::from_millis(20));
    net.command(1, Command::Join(Some(2)));
    net.run_for(MINUTE);
    assert!(net.nodes[&1].is_member());
    assert_eq!(holders(&net, record(1).key).len(), K::REPLICAS, "{}", K::NAME);
    net.command(5, Command::LookUp(Op(9), record(1).key));
    net.run_for(MINUTE);
    let found = net.outside.events.iter().any(|(.., event)| {
        matches!(event, starling_overlay::Event::Done { op: Op(9), outcome: Outcome::Found, .. })
    });
    assert!(found, "{}", K::NAME);
}

#[test]
fn who_joins_again_before_it_has_left_is_found_again() {
    stays::<Chord<u32>>();
    stays::<Pastry<u32>>();
    stays::<Kademlia<u32>>();
}
