//! Postings on top of key-based routing, here the simplest there is.

mod common;
#[path = "common/everyone.rs"]
mod everyone;

use std::collections::BTreeSet;
use std::time::Duration;

use common::World;
use everyone::{Everyone, Say};
use starling_overlay::dht::{
    Dht, DhtConfig, DhtMessage, Gone, Handed, MAX_CHORES, PostingLimits, Put, Shown,
};
use starling_overlay::wire::{List, Wire};
use starling_overlay::{Command, Core, Event, Id, Offence, Op, Outcome, Query, Record, RpcId};

type Node = Dht<u32, Everyone>;
type Small = World<Node>;

fn config() -> DhtConfig<()> {
    Node::config(())
}

fn converged(seed: u64, count: u32) -> Small {
    let mut world = Small::new(seed, 160, config());
    world.converged(count);
    world
}

fn record(number: u32, name: &str) -> Record {
    Record { key: Id::hash(&[b"record", &number.to_be_bytes()[..]].concat()), name: name.into(), size: 7 }
}

fn query(text: &str, wanted: u16) -> Query {
    Query { text: text.into(), wanted }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Which (key, provider) an operation found, and how it ended; it ended once.
fn result(world: &Small, op: u32) -> (BTreeSet<(Id, u32)>, Outcome) {
    let mut found = BTreeSet::new();
    let mut ends = Vec::new();
    for (.., event) in &world.outside.events {
        match event {
            Event::Hits { op: Op(number), hits } if *number == op => {
                found.extend(hits.iter().map(|hit| (hit.record.key, hit.provider)));
            }
            Event::Done { op: Op(number), outcome, .. } if *number == op => ends.push(*outcome),
            _ => {}
        }
    }
    assert_eq!(ends.len(), 1, "operation {op} ended {} times", ends.len());
    (found, ends[0])
}

/// Node `node` looks `key` up; who provides it.
fn look_up(world: &mut Small, node: u32, key: Id, op: u32) -> (Vec<u32>, Outcome) {
    world.command(node, Command::LookUp(Op(op), key));
    world.run_for(secs(30));
    let (found, outcome) = result(world, op);
    (found.into_iter().map(|one| one.1).collect(), outcome)
}

fn search(world: &mut Small, node: u32, text: &str, wanted: u16, op: u32) -> (usize, Outcome) {
    world.command(node, Command::Search(Op(op), query(text, wanted)));
    world.run_for(secs(60));
    let (found, outcome) = result(world, op);
    (found.len(), outcome)
}

/// Who keeps postings under `key`.
fn keepers(world: &Small, key: Id) -> Vec<u32> {
    world.nodes.iter().filter(|(_, node)| node.kept_keys().contains(&key)).map(|(name, _)| *name).collect()
}

/// The nodes whose ids are closest to `key`, as Everyone counts.
fn closest(world: &Small, key: Id, count: usize) -> Vec<u32> {
    let mut all: Vec<u32> = world.nodes.keys().copied().collect();
    all.sort_by_key(|&node| world.outside.place(node).xor(key));
    all.truncate(count);
    all.sort_unstable();
    all
}

#[test]
fn what_is_published_is_found_from_everywhere_and_what_is_withdrawn_is_not() {
    let mut world = converged(1, 20);
    let song = record(1, "The Starling - Murmuration (live).flac");
    world.command(3, Command::Publish(song.clone()));
    world.command(5, Command::Publish(song.clone()));
    world.run_for(secs(5));
    assert_eq!(keepers(&world, song.key), closest(&world, song.key, 3));
    for node in 0..20 {
        let (providers, outcome) = look_up(&mut world, node, song.key, node);
        assert_eq!(outcome, Outcome::Found);
        assert!(providers.contains(&3) || node == 5, "{node} found {providers:?}");
    }
    world.command(3, Command::Withdraw(song.key));
    world.run_for(secs(5));
    assert_eq!(look_up(&mut world, 9, song.key, 100), (vec![5], Outcome::Found));
    world.command(5, Command::Withdraw(song.key));
    world.run_for(secs(5));
    assert_eq!(look_up(&mut world, 9, song.key, 101), (vec![], Outcome::NotFound));
    assert!(keepers(&world, Id::hash(b"murmuration")).is_empty());
}

#[test]
fn a_search_wants_all_words_one_of_them_whole() {
    let mut world = converged(2, 20);
    world.outside.log = Some(Vec::new());
    for number in 0..60 {
        let name = format!("holiday {number} {}", if number % 2 == 0 { "sea" } else { "mountains" });
        world.command(number % 20, Command::Publish(record(number, &name)));
    }
    world.run_for(secs(30));
    assert_eq!(search(&mut world, 1, "HOLIDAY sea", 100, 1), (30, Outcome::Found));
    assert_eq!(search(&mut world, 2, "holiday m*", 100, 2), (30, Outcome::Found));
    assert_eq!(search(&mut world, 3, "mountains 17", 100, 3), (1, Outcome::Found));
    assert_eq!(search(&mut world, 4, "holiday", 7, 4), (7, Outcome::Found));
    assert_eq!(search(&mut world, 5, "holiday work", 7, 5), (0, Outcome::NotFound));
    assert_eq!(search(&mut world, 6, "holi*", 7, 6), (0, Outcome::Refused));
    assert_eq!(search(&mut world, 7, "", 7, 7), (0, Outcome::Refused));
    assert_eq!(world.outside.offences, []);
    let log = world.outside.log.take().unwrap();
    let (most, largest) = log.iter().fold((0, 0), |(most, largest), (.., message)| match message {
        DhtMessage::Matches { values, .. } => (most.max(values.len()), largest.max(message.wire_len())),
        _ => (most, largest.max(message.wire_len())),
    });
    assert!(most > 15 && largest <= 1200, "{most} matches in {largest} bytes");
}

#[test]
fn a_renamed_record_is_found_by_its_new_name_only() {
    let mut world = converged(3, 10);
    world.command(1, Command::Publish(record(1, "draft report")));
    world.run_for(secs(5));
    world.command(1, Command::Publish(record(1, "final report")));
    world.run_for(secs(5));
    assert_eq!(search(&mut world, 2, "draft", 9, 1).0, 0);
    assert_eq!(search(&mut world, 2, "final", 9, 2).0, 1);
    assert_eq!(search(&mut world, 2, "report", 9, 3).0, 1);
    assert_eq!(look_up(&mut world, 2, record(1, "").key, 4), (vec![1], Outcome::Found));
}

#[test]
fn postings_follow_their_keys_as_nodes_come_leave_and_die() {
    let mut world = converged(4, 12);
    for number in 0..40 {
        world.command(number % 12, Command::Publish(record(number, "thing")));
    }
    world.run_for(secs(20));
    for node in 12..24 {
        world.add(node);
        world.command(node, Command::Join(Some(0)));
        world.run_for(secs(3));
    }
    let all_kept = |world: &Small| {
        (0..40).all(|number| {
            let key = record(number, "").key;
            closest(world, key, 3) == keepers(world, key)
        })
    };
    assert!(all_kept(&world), "newcomers got their keys, and nobody keeps more");
    for node in 12..18 {
        world.command(node, Command::Leave);
        world.run_for(secs(3));
        world.kill(node);
    }
    assert!(all_kept(&world), "leavers handed their keys on");
    for node in 18..24 {
        world.kill(node);
        world.run_for(secs(40));
    }
    assert!(all_kept(&world), "the dead were replaced");
    assert_eq!(world.outside.offences, []);
}

/// Newcomers outnumber those that keep the postings, and know of each other first.
#[test]
fn postings_survive_a_crowd_that_joins_at_once() {
    let mut world = converged(13, 6);
    for number in 0..40 {
        world.command(number % 6, Command::Publish(record(number, "thing")));
    }
    world.run_for(secs(20));
    for node in 6..60 {
        world.add(node);
        world.command(node, Command::Join(Some(0)));
    }
    world.run_for(secs(60));
    for number in 0..40 {
        assert_eq!(look_up(&mut world, 59, record(number, "").key, number).1, Outcome::Found);
    }
}

#[test]
fn a_provider_that_vanished_is_forgotten_and_one_that_leaves_withdraws() {
    let mut world = converged(5, 12);
    world.command(1, Command::Publish(record(1, "one")));
    world.command(2, Command::Publish(record(1, "one")));
    world.command(3, Command::Publish(record(1, "one")));
    world.command(2, Command::Publish(record(2, "two")));
    world.run_for(secs(5));
    world.command(1, Command::Leave);
    world.run_for(secs(10));
    assert!(!world.nodes[&1].is_member());
    assert_eq!(look_up(&mut world, 7, record(1, "").key, 1).0, [2, 3]);
    world.kill(2);
    world.run_for(secs(2 * 3600));
    assert_eq!(look_up(&mut world, 7, record(1, "").key, 2).0, [3]);
    assert!(keepers(&world, record(2, "").key).is_empty(), "what expired takes no room");
    world.command(1, Command::Join(Some(0)));
    world.run_for(secs(10));
    assert_eq!(look_up(&mut world, 7, record(1, "").key, 3).0, [1, 3]);
}

#[test]
fn with_five_percent_loss_everything_is_found() {
    let mut world = converged(6, 20);
    world.outside.loss_permille = 50;
    for number in 0..50 {
        world.command(number % 20, Command::Publish(record(number, "lossy")));
    }
    world.run_for(secs(120));
    for number in 0..50 {
        assert_eq!(look_up(&mut world, 7, record(number, "").key, number).1, Outcome::Found);
    }
    assert_eq!(search(&mut world, 3, "lossy", 100, 1000), (50, Outcome::Found));
}

#[test]
fn operations_end_even_when_nobody_answers() {
    let mut world = converged(7, 12);
    for node in 1..12 {
        world.kill(node);
    }
    for op in 0..40 {
        let key = Id::hash(&[op as u8]);
        world.command(0, Command::LookUp(Op(op), key));
        world.command(0, Command::Search(Op(100 + op), query(&format!("word{op}"), 5)));
        world.command(0, Command::Find(Op(200 + op), key));
    }
    world.run_for(secs(600));
    for op in (0..40).chain(100..140).chain(200..240) {
        assert_ne!(result(&world, op).1, Outcome::Refused);
    }
}

#[test]
fn a_node_with_nothing_to_remember_is_three_words_larger_than_its_routing() {
    let mut world = converged(8, 10);
    assert_eq!(size_of::<Node>(), size_of::<Everyone>() + 24);
    world.command(1, Command::LookUp(Op(1), Id::ZERO));
    world.command(1, Command::Publish(record(1, "one")));
    world.run_for(secs(5));
    world.command(1, Command::Withdraw(record(1, "").key));
    world.run_for(secs(2 * 3600));
    for node in world.nodes.values() {
        assert_eq!(node.state_bytes(), node.routing().state_bytes() + 24);
    }
}

/// What a stranger may not do, and how it is counted.
#[test]
fn strangers_change_nothing() {
    let mut world = converged(9, 40);
    let one = record(1, "one");
    world.command(1, Command::Publish(one.clone()));
    world.run_for(secs(5));
    let keeper = keepers(&world, one.key)[0];
    let far = |world: &Small, key: Id| {
        *closest(world, key, 40).iter().rev().find(|&&node| !closest(world, key, 6).contains(&node)).unwrap()
    };
    let outsider = far(&world, one.key);
    let rpc = RpcId(1);
    let put = |under, record: &Record| DhtMessage::Put {
        rpc,
        put: Box::new(Put { under, record: record.clone() }),
    };
    let shown = Shown { record: one.clone(), provider: 9 };
    let handed = Handed { under: one.key, left_s: 60, shown: shown.clone() };
    let hand = DhtMessage::Hand { rpc, items: List::new(vec![handed]) };
    let values = DhtMessage::Values { op: 5, hops: 1, values: List::new(vec![shown.clone()]) };
    let matches = DhtMessage::Matches { op: 5, more: false, values: List::new(vec![shown]) };
    let stored = DhtMessage::Stored { rpc, kept: true };
    let cases = [
        (keeper, put(Id::hash(b"two"), &one), Offence::OutOfRange),
        (outsider, put(one.key, &one), Offence::Misdirected),
        (outsider, hand.clone(), Offence::Misdirected),
        (keeper, hand, Offence::Misdirected),
        (keeper, values, Offence::UnknownReply),
        (keeper, matches, Offence::UnknownReply),
        (keeper, stored, Offence::UnknownReply),
    ];
    for (to, message, offence) in cases {
        world.outside.offences.clear();
        world.inject(99, to, message);
        assert_eq!(world.outside.offences, [(to, offence)]);
    }
    world.inject(
        9,
        keeper,
        DhtMessage::Drop { rpc, items: [Gone { under: one.key, what: one.key }].into_iter().collect() },
    );
    world.run_for(secs(5));
    assert_eq!(look_up(&mut world, 7, one.key, 1), (vec![1], Outcome::Found));
}

#[test]
fn a_flood_of_postings_stays_within_the_bounds() {
    let limits = PostingLimits { keys: 50, per_key: 20, per_provider: 4, bytes: 40_000 };
    let mut world = Small::new(10, 160, DhtConfig { limits, ..config() });
    world.converged(3);
    for number in 0..20_000 {
        let record = record(number % 977, &format!("flood number {number}"));
        let under = if number % 2 == 0 { record.key } else { Id::hash(b"flood") };
        let put = Box::new(Put { under, record });
        world.inject(1000 + number % 311, 0, DhtMessage::Put { rpc: RpcId(number), put });
        world.inject(1000 + number, 0, DhtMessage::Get { op: number, key: under });
    }
    assert!(world.outside.offences.iter().any(|one| one.1 == Offence::Full));
    assert!(world.nodes[&0].kept_keys().len() <= 50);
    assert!(world.nodes[&0].state_bytes() < 120_000, "{}", world.nodes[&0].state_bytes());
}

/// A posting under each of so many keys as a node keeps.
#[test]
fn a_stranger_who_fills_a_store_keeps_nobody_out() {
    let limits = PostingLimits { keys: 200, ..PostingLimits::default() };
    let mut world = Small::new(15, 160, DhtConfig { limits, ..config() });
    world.converged(3);
    for number in 0..300 {
        let record = record(1000 + number, "spam");
        let put = Box::new(Put { under: record.key, record });
        world.inject(99, 0, DhtMessage::Put { rpc: RpcId(number), put });
    }
    assert!(world.outside.offences.contains(&(0, Offence::Full)));
    (0..90).for_each(|number| world.command(1 + number % 2, Command::Publish(record(number, ""))));
    world.run_for(secs(60));
    let kept = world.nodes[&0].kept_keys();
    let honest = (0..90).filter(|&number| kept.contains(&record(number, "").key)).count();
    assert_eq!((honest, kept.len()), (90, 200));
}

#[test]
fn a_flood_of_withdrawals_stays_within_the_bounds() {
    let mut world = converged(14, 3);
    world.outside.household = Some(500); // as many ports of one address
    let mut remembered = Vec::new();
    for providers in [1, 311, 20_000] {
        for number in 0..20_000 {
            let gone = Gone { under: record(number, "").key, what: record(number, "").key };
            let drop = DhtMessage::Drop { rpc: RpcId(number), items: [gone].into_iter().collect() };
            world.inject(1000 + number % providers, 0, drop);
        }
        remembered.push(world.nodes[&0].state_bytes());
    }
    assert!(remembered[0] < 50_000, "of one provider: {remembered:?}");
    assert_eq!(remembered[1], remembered[0], "of others of its household");
    assert!((300_000..700_000).contains(&remembered[2]), "{remembered:?}");
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed| {
        let mut world = converged(seed, 15);
        world.outside.loss_permille = 50;
        for number in 0..30 {
            world.command(number % 15, Command::Publish(record(number, "story")));
            world.command(number % 15, Command::LookUp(Op(number), record(number / 2, "").key));
        }
        world.kill(3);
        world.run_for(secs(3000));
        format!("{:?}", world.outside.events)
    };
    assert_eq!(story(11), story(11));
    assert_ne!(story(11), story(12));
}

#[test]
fn a_lie_on_the_way_is_not_believed() {
    let mut world = converged(12, 20);
    let key = Id::hash(b"nothing");
    let origin = (0..20).find(|node| !closest(&world, key, 3).contains(node)).unwrap();
    world.outside.log = Some(Vec::new());
    world.command(origin, Command::LookUp(Op(1), key));
    let op = world.outside.log.iter().flatten().find_map(|(.., message)| match message {
        DhtMessage::Routing { message: Say::Ask { op, .. }, .. } => Some(*op),
        _ => None,
    });
    let other = Shown { record: record(1, "one"), provider: 9 };
    let values = DhtMessage::Values { op: op.unwrap(), hops: 1, values: List::new(vec![other]) };
    world.inject(99, origin, values);
    assert_eq!(world.outside.offences, [(origin, Offence::OutOfRange)]);
    world.run_for(secs(30));
    assert_eq!(result(&world, 1).1, Outcome::NotFound);
}

/// Who has much to publish at once, or to renew, keeps a part of it waiting; the rest is tried
/// again later.
#[test]
fn so_many_publications_and_renewals_wait_and_no_more() {
    const MANY: u32 = 2 * MAX_CHORES as u32;
    let day = secs(24 * 60 * 60);
    let config = DhtConfig { republish: day, expire: 2 * day, ..config() };
    let (parallel, retry) = (config.parallel, config.retry);
    let mut world = Small::new(1, 160, config);
    world.converged(20);
    let told = |world: &mut Small, time: Duration| {
        world.outside.log = Some(Vec::new());
        world.run_for(time);
        let log = world.outside.log.take().unwrap_or_default();
        let puts = log.iter().filter_map(|said| match &said.2 {
            DhtMessage::Put { put, .. } => Some(put.record.key),
            _ => None,
        });
        puts.collect::<BTreeSet<Id>>().len()
    };
    for what in ["new", "renewed"] {
        (0..MANY).for_each(|number| world.command(0, Command::Publish(record(number, ""))));
        assert_eq!(told(&mut world, retry - secs(1)), MAX_CHORES + parallel, "{what}");
        assert_eq!(told(&mut world, 4 * retry), MANY as usize - MAX_CHORES - parallel, "{what}");
    }
}

/// What is new and got lost is tried again before all that is only to be renewed.
#[test]
fn something_new_that_got_lost_waits_for_no_renewals() {
    let mut world = converged(1, 20);
    let retry = config().retry;
    let publish_many = |world: &mut Small| {
        (1..1000).for_each(|number| world.command(0, Command::Publish(record(number, ""))));
    };
    publish_many(&mut world);
    world.run_for(secs(40));
    world.outside.drops = Some(Box::new(|_, _, message| match message {
        DhtMessage::Put { put, .. } => put.record.key == record(0, "").key,
        _ => false,
    }));
    world.command(0, Command::Publish(record(0, "")));
    world.run_for(retry);
    world.outside.drops = None;
    publish_many(&mut world);
    world.run_for(secs(6));
    let keeps = |one: (&u32, &Node)| *one.0 != 0 && one.1.kept_keys().contains(&record(0, "").key);
    assert!(world.nodes.iter().any(keeps));
}
