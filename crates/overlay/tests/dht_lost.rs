//! What is said about postings and gets lost, comes too late, or is taken back at once.

mod common;
#[path = "common/everyone.rs"]
mod everyone;

use std::cell::Cell;
use std::time::Duration;

use common::World;
use everyone::{Everyone, Say};
use starling_overlay::dht::{Dht, DhtMessage, Gone, Handed, Put, Shown};
use starling_overlay::wire::List;
use starling_overlay::{Command, Core, Event, Id, Op, Outcome, Record, RpcId};

type Small = World<Dht<u32, Everyone>>;

const KEEPERS: usize = 3;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn record() -> Record {
    Record { key: Id::hash(b"the one"), name: "one".into(), size: 1 }
}

fn converged(count: u32) -> Small {
    let mut world = Small::new(1, 160, Dht::<u32, Everyone>::config(()));
    world.converged(count);
    world
}

fn keepers(world: &Small) -> Vec<u32> {
    let keeps = |node: &Dht<u32, Everyone>| node.kept_keys().contains(&record().key);
    world.nodes.iter().filter(|(_, node)| keeps(node)).map(|(name, _)| *name).collect()
}

/// Nodes, the closest to the record's key first.
fn closest(world: &Small) -> Vec<u32> {
    let mut all: Vec<u32> = world.nodes.keys().copied().collect();
    all.sort_by_key(|&node| world.outside.place(node).xor(record().key));
    all
}

/// Tells `node` something, and for a second nothing that `from` says gets to `to`.
fn deaf(world: &mut Small, node: u32, command: Command<u32>, from: u32, to: u32) {
    world.outside.cut = Some(Box::new(move |a, b| (a, b) == (from, to)));
    world.command(node, command);
    world.run_for(secs(1));
    world.outside.cut = None;
}

#[test]
fn a_publication_or_withdrawal_that_gets_lost_is_sent_again() {
    let mut world = converged(20);
    let order = closest(&world);
    let (publisher, last) = (order[9], order[KEEPERS - 1]);
    deaf(&mut world, publisher, Command::Publish(record()), publisher, last);
    assert!(!keepers(&world).contains(&last), "it did get lost");
    world.run_for(secs(3));
    assert!(keepers(&world).contains(&last));
    deaf(&mut world, publisher, Command::Withdraw(record().key), publisher, last);
    assert_eq!(keepers(&world), [last], "it did get lost");
    world.run_for(secs(3));
    assert_eq!(keepers(&world), []);
}

/// Who comes between the root and the next gets the posting from the root.
#[test]
fn a_hand_over_that_gets_lost_is_sent_again() {
    let mut world = converged(20);
    let order = closest(&world);
    let (root, publisher) = (order[0], order[9]);
    world.command(publisher, Command::Publish(record()));
    world.run_for(secs(5));
    let place = |world: &Small, node: u32| world.outside.place(node).xor(record().key);
    let (first, second) = (place(&world, root), place(&world, order[1]));
    let between = |node: &u32| (first..second).contains(&place(&world, *node));
    let newcomer = (20..10_000).find(between).unwrap();
    world.add(newcomer);
    deaf(&mut world, newcomer, Command::Join(Some(order[12])), root, newcomer);
    assert!(!keepers(&world).contains(&newcomer), "it did get lost");
    world.run_for(secs(3));
    assert!(keepers(&world).contains(&newcomer));
}

/// A withdrawal whose find has failed, or that one replica has not heard, is tried again.
#[test]
fn a_withdrawal_is_tried_until_all_have_heard_it() {
    for cut_from_all in [false, true] {
        let mut world = converged(20);
        let order = closest(&world);
        let (publisher, last) = (order[9], order[KEEPERS - 1]);
        world.command(publisher, Command::Publish(record()));
        world.run_for(secs(5));
        world.outside.cut = Some(Box::new(move |from, to| from == publisher && (cut_from_all || to == last)));
        world.command(publisher, Command::Withdraw(record().key));
        world.run_for(secs(14));
        world.outside.cut = None;
        assert!(keepers(&world).contains(&last), "it did get lost");
        world.run_for(secs(60));
        assert_eq!(keepers(&world), []);
    }
}

#[test]
fn who_withdraws_and_leaves_at_once_has_withdrawn() {
    let mut world = converged(20);
    let publisher = closest(&world)[9];
    world.command(publisher, Command::Publish(record()));
    world.run_for(secs(5));
    let last = closest(&world)[KEEPERS - 1];
    world.outside.cut = Some(Box::new(move |from, to| (from, to) == (publisher, last)));
    world.command(publisher, Command::Withdraw(record().key));
    deaf(&mut world, publisher, Command::Leave, publisher, last);
    assert!(keepers(&world).contains(&last), "it did get lost");
    world.run_for(secs(5));
    assert!(!world.nodes[&publisher].is_member());
    assert_eq!(keepers(&world), []);
}

/// The withdrawal that waits, or is under way, does not undo the publication after it.
#[test]
fn what_is_withdrawn_and_published_again_stays() {
    for millis in [0, 1, 30, 60, 100, 200] {
        let mut world = converged(20);
        let publisher = closest(&world)[9];
        world.command(publisher, Command::Publish(record()));
        world.run_for(secs(5));
        world.outside.loss_permille = 300;
        world.command(publisher, Command::Withdraw(record().key));
        world.run_for(Duration::from_millis(millis));
        world.outside.loss_permille = 0;
        world.command(publisher, Command::Publish(record()));
        world.run_for(secs(80));
        let expected = &mut closest(&world)[..KEEPERS];
        expected.sort_unstable();
        assert_eq!(keepers(&world), expected, "{millis} ms later");
    }
}

/// Who has not heard of a withdrawal hands the posting to one that has; what is published
/// again may be handed on again.
#[test]
fn what_was_withdrawn_is_not_handed_back() {
    let mut world = converged(20);
    let order = closest(&world);
    let (root, publisher) = (order[0], order[9]);
    let hand = |world: &mut Small, left_s| {
        let shown = Shown { record: record(), provider: publisher };
        let items = List::new(vec![Handed { under: record().key, left_s, shown }]);
        world.inject(order[1], root, DhtMessage::Hand { rpc: RpcId(1), items });
    };
    let expire = Dht::<u32, Everyone>::config(()).expire.as_secs() as u32;
    world.command(publisher, Command::Publish(record()));
    world.run_for(secs(60));
    world.command(publisher, Command::Withdraw(record().key));
    world.run_for(secs(60));
    hand(&mut world, expire - 120);
    assert_eq!(keepers(&world), []);
    hand(&mut world, expire - 10);
    assert_eq!(keepers(&world), [root], "it was published again ten seconds ago");
    // Nobody tells the provider itself what it has.
    let mut world = converged(4);
    world.command(publisher % 4, Command::LookUp(starling_overlay::Op(1), record().key));
    let shown = Shown { record: record(), provider: publisher % 4 };
    let items = List::new(vec![Handed { under: record().key, left_s: expire, shown }]);
    world.inject((publisher + 1) % 4, publisher % 4, DhtMessage::Hand { rpc: RpcId(1), items });
    assert_eq!(keepers(&world), []);
}

/// How a look-up ends of which the first questions get lost, and how many there are.
fn look_up_with_lost(questions: u32) -> (Option<Outcome>, usize) {
    let mut world = converged(20);
    let order = closest(&world);
    world.command(order[9], Command::Publish(record()));
    world.run_for(secs(5));
    let asked = Cell::new(0);
    let is_ask = |message: &DhtMessage<u32, Say>| {
        matches!(message, DhtMessage::Routing { message: Say::Ask { .. }, .. })
    };
    world.outside.drops = Some(Box::new(move |_, _, message| {
        asked.set(asked.get() + u32::from(is_ask(message)));
        is_ask(message) && asked.get() <= questions
    }));
    world.outside.log = Some(Vec::new());
    world.command(order[15], Command::LookUp(Op(1), record().key));
    world.run_for(secs(30));
    let outcome = world.outside.events.iter().find_map(|one| match one.2 {
        Event::Done { op: Op(1), outcome, .. } => Some(outcome),
        _ => None,
    });
    (outcome, world.outside.log.unwrap_or_default().iter().filter(|said| is_ask(&said.2)).count())
}

/// A question is asked three times there.
#[test]
fn a_find_that_failed_is_begun_once_more_and_no_more_often() {
    assert_eq!(look_up_with_lost(3), (Some(Outcome::Found), 4));
    assert_eq!(look_up_with_lost(u32::MAX), (Some(Outcome::Failed), 6));
}

/// What is still waiting to be told again when it is withdrawn is not told any more.
#[test]
fn a_publication_that_got_lost_does_not_come_after_its_withdrawal() {
    let mut world = converged(20);
    let publisher = closest(&world)[9];
    world.outside.drops = Some(Box::new(|_, _, message| matches!(message, DhtMessage::Put { .. })));
    assert!({
        world.command(publisher, Command::Publish(record()));
        puts(&mut world, Duration::from_millis(500)) > 0
    });
    world.outside.drops = None;
    world.command(publisher, Command::Withdraw(record().key));
    assert_eq!(puts(&mut world, secs(60)), 0);
    assert_eq!(keepers(&world), []);
}

/// Publications that are sent while that goes on.
fn puts(world: &mut Small, time: Duration) -> usize {
    world.outside.log = Some(Vec::new());
    world.run_for(time);
    let log = world.outside.log.take().unwrap_or_default();
    log.iter().filter(|said| matches!(said.2, DhtMessage::Put { .. })).count()
}

#[test]
fn a_renewal_that_nobody_heard_is_tried_again_soon() {
    let mut world = converged(20);
    let publisher = closest(&world)[9];
    world.command(publisher, Command::Publish(record()));
    world.run_for(secs(60 * 60)); // renewals are rare by now
    world.outside.drops = Some(Box::new(|_, _, message| matches!(message, DhtMessage::Put { .. })));
    assert!((0..60 * 60).any(|_| puts(&mut world, secs(1)) > 0));
    world.run_for(secs(4)); // sent twice, and in vain
    world.outside.drops = None;
    // Under its key, and under its word.
    assert_eq!(puts(&mut world, secs(32)), 2 * KEEPERS);
    assert_eq!(puts(&mut world, secs(15 * 60)), 0);
}

/// Who was told of a withdrawal, and then that it is there again, hands it on and takes it back.
#[test]
fn what_is_published_again_at_once_is_taken_from_others() {
    let mut world = converged(20);
    let order = closest(&world);
    let (keeper, provider) = (order[0], order[19]);
    let put = || Box::new(Put { under: record().key, record: record() });
    let gone = Gone { under: record().key, what: record().key };
    world.inject(provider, keeper, DhtMessage::Put { rpc: RpcId(1), put: put() });
    world.inject(provider, keeper, DhtMessage::Drop { rpc: RpcId(2), items: List::new(vec![gone]) });
    world.inject(provider, keeper, DhtMessage::Put { rpc: RpcId(3), put: put() });
    assert_eq!(keepers(&world), [keeper]);
    let far = |world: &Small, node: u32| world.outside.place(node).xor(record().key);
    let nearer = (1000..).filter(|&node| far(&world, node) < far(&world, keeper)).take(KEEPERS);
    let nearer = nearer.collect::<Vec<u32>>();
    for &node in &nearer {
        world.add(node);
        world.command(node, Command::Join(Some(order[19])));
        world.run_for(secs(30));
    }
    assert_eq!(keepers(&world), nearer);
    for &node in &nearer {
        world.command(node, Command::Leave);
        world.run_for(secs(30));
    }
    assert!(keepers(&world).contains(&keeper), "{:?}", keepers(&world));
}
