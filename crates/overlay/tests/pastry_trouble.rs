//! Pastry when there is too much to do, and when the network is bad.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::World;
use common::pastry::{Small, converged, key, secs};
use starling_overlay::dht::Dht;
use starling_overlay::pastry::{Config, Find, MAX_OPEN, Pastry, PastryMessage, TRIES};
use starling_overlay::{Core, Event, Id, KeyBased, Offence, Op, Route, Routing, RpcId};
use starling_sansio::Time;

/// A stranger hands node 0 so many finds to pass on that no question of its own fits.
fn swamp(world: &mut Small) {
    for op in 0..2 * MAX_OPEN as u32 {
        let find =
            Find { key: key(1000 + op), origin: 9999, op, nonce: 1, hops: 1, timeouts: 0, values: false };
        world.inject(9999, 0, PastryMessage::Find { rpc: RpcId(op), find });
    }
    assert!(world.outside.offences.contains(&(0, Offence::Full)));
}

/// How node 0's finds ended: whether each found something.
fn ends(world: &Small) -> Vec<(u32, bool)> {
    let mut ends: Vec<(u32, bool)> = Vec::new();
    for (_, node, event) in &world.outside.events {
        if let (0, Routing::Closest { op, peers, .. }) = (node, event) {
            ends.push((op.0, !peers.is_empty()));
        }
    }
    ends.sort_unstable();
    ends
}

#[test]
fn a_find_that_cannot_ask_goes_on_once_there_is_room() {
    for iterative in [false, true] {
        let mut world = converged(1, 60, Config { iterative, ..Config::default() });
        swamp(&mut world);
        for op in 0..8 {
            world.command(0, Route::Find { op: Op(op), key: key(op), values: false });
        }
        world.run_for(secs(30));
        let all: Vec<(u32, bool)> = (0..8).map(|op| (op, true)).collect();
        assert_eq!(ends(&world), all, "iterative: {iterative}");
    }
}

#[test]
fn a_find_that_can_never_ask_ends() {
    let mut world = converged(2, 60, Config { iterative: true, ..Config::default() });
    for op in 0..8 {
        swamp(&mut world);
        world.command(0, Route::Find { op: Op(op), key: key(op), values: false });
    }
    for _ in 0..600 {
        swamp(&mut world);
        world.run_for(Duration::from_millis(50));
    }
    assert_eq!(ends(&world).len(), 8);
}

/// Who is asked for the next step and answers something else is gone around.
#[test]
fn an_answer_to_another_question_does_not_end_a_finds_progress() {
    let mut world = converged(3, 60, Config { iterative: true, ..Config::default() });
    world.outside.log = Some(Vec::new());
    for op in 0..8 {
        world.command(0, Route::Find { op: Op(op), key: key(op), values: false });
    }
    for (_, to, message) in world.outside.log.take().unwrap() {
        if let PastryMessage::Ask { rpc, .. } = message {
            world.inject(to, 0, PastryMessage::Ack { rpc });
        }
    }
    assert!(world.nodes[&0].is_member());
    world.run_for(secs(30));
    assert_eq!(ends(&world).len(), 8);
}

/// Messages of 40 nodes in two minutes, and living leaves taken for dead.
fn two_minutes(seed: u64, jitter: Duration, loss_permille: u64) -> (u64, usize) {
    let mut world =
        World::<Dht<u32, Pastry<u32>>>::new(seed, 160, Dht::<u32, Pastry<u32>>::config(Config::default()));
    world.converged(40);
    world.outside.jitter_us = jitter.as_micros() as u64;
    world.outside.loss_permille = loss_permille;
    world.run_for(secs(120));
    let gone = |event: &Event<u32>| matches!(event, Event::Update { joined: false, .. });
    let gone = world.outside.events.iter().filter(|one| gone(&one.2)).count();
    (world.outside.sent.values().map(|sent| sent.0).sum(), gone)
}

/// Whoever is taken for dead by mistake costs questions, whose answers may be late or lost
/// in turn.
#[test]
fn late_and_lost_messages_are_no_storm() {
    for seed in 1..4 {
        let (quiet, gone) = two_minutes(seed, Duration::ZERO, 0);
        assert_eq!(gone, 0);
        for jitter_ms in [100, 150, 200, 300] {
            let (messages, gone) = two_minutes(seed, Duration::from_millis(jitter_ms), 0);
            println!("seed {seed}, up to {jitter_ms} ms late: {messages} messages, {gone} gone");
            assert!(messages < 3 * quiet, "{messages} messages instead of {quiet}");
            assert_eq!(gone, 0, "who is late is there");
        }
        for loss in [100, 200, 300] {
            let (messages, gone) = two_minutes(seed, Duration::ZERO, loss);
            println!("seed {seed}, {loss} of 1000 lost: {messages} messages, {gone} gone");
            assert!(messages < 5 * quiet, "{messages} messages instead of {quiet}");
        }
    }
}

#[test]
fn late_and_lost_at_once_is_no_storm_either() {
    for seed in 1..4 {
        let (quiet, _) = two_minutes(seed, Duration::ZERO, 0);
        let (messages, gone) = two_minutes(seed, Duration::from_millis(150), 300);
        println!("seed {seed}, late and lost: {messages} messages for {quiet}, {gone} gone");
        assert!(messages < 5 * quiet, "{messages} messages instead of {quiet}");
    }
}

/// That a leaf took no find may be the network's fault; that it is gone, its neighbours hear
/// only when it has not said itself that it is there.
#[test]
fn who_takes_no_find_is_asked_before_it_is_gone() {
    let mut world = converged(4, 60, Config::default());
    let leaf = world.nodes[&0].neighbor_set(1, &world.outside)[0];
    world.kill(leaf);
    world.outside.log = Some(Vec::new());
    let key = world.outside.place(leaf);
    world.command(0, Route::Find { op: Op(1), key, values: false });
    world.run_for(secs(8));
    assert_eq!(ends(&world), [(1, true)]);
    let log = world.outside.log.take().unwrap();
    let mine: Vec<_> = log.iter().filter(|one| one.0 == 0).collect();
    let gone = |message: &PastryMessage<u32>| *message == PastryMessage::Gone { peer: leaf };
    let told = mine.iter().position(|one| gone(&one.2)).expect("its neighbours hear of it");
    let asked = |one: &&&(u32, u32, _)| one.1 == leaf && matches!(one.2, PastryMessage::LeafAsk { .. });
    assert!(mine[..told].iter().filter(asked).count() >= usize::from(TRIES));
}

/// A newcomer asks its leaves all at once, and waits for those that are dead no longer than
/// it must.
#[test]
fn a_newcomer_is_in_soon_though_a_third_of_its_leaves_are_dead() {
    for seed in 1..6 {
        let mut world = converged(seed, 90, Config::default());
        (0..90).filter(|node| node % 3 == 1).for_each(|node| world.kill(node));
        let start = world.outside.now;
        world.add(100);
        world.command(100, Route::Join(Some(0)));
        world.run_for(secs(10));
        let joined = |one: &&(_, u32, Routing<u32>)| one.1 == 100 && one.2 == Routing::Joined;
        let joined = world.outside.events.iter().find(joined).expect("it is in").0.since(start);
        println!("seed {seed}: {joined:?}");
        assert!(joined < Duration::from_millis(2_500), "{joined:?}");
    }
}

/// Who did not take a find is not asked again to take it while it is asked whether it is
/// there: where two are dead the third has its turn.
#[test]
fn a_find_does_not_go_back_and_forth_between_the_dead() {
    for seed in 1..4 {
        let mut world = converged(seed, 200, Config::default());
        (0..200).filter(|node| node % 2 == 1).for_each(|node| world.kill(node));
        world.outside.log = Some(Vec::new());
        for node in (0..200).step_by(2) {
            world.command(node, Route::Find { op: Op(node), key: key(node), values: false });
        }
        world.run_for(secs(10));
        let mut asked: BTreeMap<(u32, u32, u32), u32> = BTreeMap::new();
        for (from, to, message) in world.outside.log.take().unwrap() {
            if let (1, PastryMessage::Find { find, .. }) = (to % 2, message) {
                *asked.entry((from, to, find.nonce)).or_default() += 1;
            }
        }
        let most = asked.values().max().copied();
        println!("seed {seed}: {} dead were asked, at most {most:?} times", asked.len());
        assert!(most <= Some(2), "a dead node was asked {most:?} times to take one find");
    }
}

/// The root's answer comes back without anybody on the way: it gets lost as often as any
/// message, and the find is asked again.
#[test]
fn of_ten_answers_one_gets_lost_and_hardly_a_find() {
    let mut world = converged(5, 60, Config::default());
    world.outside.loss_permille = 100;
    for op in 0..1_500 {
        world.command(0, Route::Find { op: Op(op), key: key(op), values: false });
        world.run_for(Duration::from_millis(200));
    }
    world.run_for(secs(60));
    let ends = ends(&world);
    let failed = ends.iter().filter(|end| !end.1).count();
    println!("{failed} of {} failed", ends.len());
    assert_eq!(ends.len(), 1_500);
    assert!(failed < 6, "{failed} failed");
}

/// Where every answer comes later than the usual round trip, a question is soon asked only
/// once: what comes too soon after the second time it was asked answers the first, and tells
/// how late answers are.
#[test]
fn an_answer_too_soon_after_asking_again_teaches_patience() {
    let mut world = converged(6, 2, Config { scan: secs(1_000_000), ..Config::default() });
    world.outside.cut = Some(Box::new(|from, _| from == 1));
    world.outside.log = Some(Vec::new());
    let usual = 2 * world.outside.delay(0, 1);
    // Later than a node that has learnt nothing waits.
    let takes = usual + Duration::from_millis(150);
    let mut times: Vec<(RpcId, usize)> = Vec::new();
    let mut late: Vec<(Time, RpcId)> = Vec::new();
    while times.len() < 20 && world.outside.now < Time::from_secs(700) {
        for (from, _, message) in world.outside.log.replace(Vec::new()).unwrap_or_default() {
            let (0, PastryMessage::LeafAsk { rpc, .. }) = (from, message) else { continue };
            if let Some(asked) = times.iter_mut().find(|one| one.0 == rpc) {
                asked.1 += 1;
            } else {
                times.push((rpc, 1));
                late.push((world.outside.now + takes, rpc));
            }
        }
        world.run_for(Duration::from_millis(1));
        if let Some((_, rpc)) = late.pop_if(|one| one.0 <= world.outside.now) {
            world.inject(1, 0, PastryMessage::LeafAnswer { rpc, leaf: [0].into_iter().collect() });
        }
    }
    let asked: Vec<usize> = times.iter().map(|one| one.1).collect();
    assert_eq!((asked.len(), asked[0]), (20, 2), "{asked:?}");
    assert!(asked[3..19].iter().all(|&times| times == 1), "{asked:?}");
}

/// Node 0 looks for eight keys that it is far from, while messages to it get lost of those who
/// are among so many nearest. Returns for each whom the find named first, and who is nearest to
/// the key.
fn finds_of_who_hears_little(
    iterative: bool,
    silent: usize,
    lost: impl Fn(u32, &PastryMessage<u32>) -> bool + 'static,
) -> Vec<(Option<u32>, Vec<u32>)> {
    let mut world = converged(8, 200, Config { iterative, ..Config::default() });
    let nearest = |key: Id| {
        let mut all: Vec<u32> = world.nodes.keys().copied().collect();
        all.sort_by_key(|&node| world.outside.place(node).ring_distance(key));
        all
    };
    let known = world.nodes[&0].known();
    let far = |all: &Vec<u32>| all.iter().take(4.max(silent)).all(|node| *node != 0 && !known.contains(node));
    let keys = (0..).map(|number| (key(number), nearest(key(number))));
    let keys: Vec<(Id, Vec<u32>)> = keys.filter(|one| far(&one.1)).take(8).collect();
    let roots: Vec<u32> = keys.iter().flat_map(|one| one.1[..silent].to_vec()).collect();
    world.outside.drops =
        Some(Box::new(move |from, to, message| to == 0 && roots.contains(&from) && lost(from, message)));
    for (op, one) in (0..).zip(&keys) {
        world.command(0, Route::Find { op: Op(op), key: one.0, values: false });
    }
    world.run_for(secs(60));
    let named = |number: u32| {
        world.outside.events.iter().find_map(|(_, node, event)| match event {
            Routing::Closest { op: Op(op), peers, .. } if (*node, *op) == (0, number) => {
                peers.first().copied()
            }
            _ => None,
        })
    };
    (0..).zip(keys).map(|(number, (_, all))| (named(number), all)).collect()
}

#[test]
fn a_root_whose_answers_do_not_come_of_themselves_is_asked() {
    let ended =
        finds_of_who_hears_little(false, 1, |_, message| matches!(message, PastryMessage::Found { .. }));
    assert!(ended.iter().all(|(named, all)| *named == Some(all[0])), "{ended:?}");
}

#[test]
fn the_nearest_who_answers_is_taken_for_a_root_that_does_not() {
    for iterative in [false, true] {
        let ended = finds_of_who_hears_little(iterative, 1, |_, _| true);
        let next = |(named, all): &(Option<u32>, Vec<u32>)| *named == Some(all[1]);
        assert!(ended.iter().all(next), "iterative: {iterative}, {ended:?}");
    }
}

/// So many nearer ones are silent that those who do answer are no root's neighbours: to name them
/// would be wrong.
#[test]
fn nobody_stands_in_where_all_around_the_root_are_silent() {
    for iterative in [false, true] {
        let ended = finds_of_who_hears_little(iterative, 6, |_, _| true);
        assert!(ended.iter().all(|(named, _)| named.is_none()), "iterative: {iterative}, {ended:?}");
    }
}

/// Who asks a dead root, and is the next nearest itself, is the root.
#[test]
fn who_comes_after_a_dead_root_finds_itself() {
    let mut world = converged(9, 60, Config { iterative: true, ..Config::default() });
    let nearest = |key: Id| {
        let mut all: Vec<u32> = (0..60).collect();
        all.sort_by_key(|&node| world.outside.place(node).ring_distance(key));
        all
    };
    let second = |number: &u32| nearest(key(*number))[1] == 0;
    let number = (0..).find(second).unwrap_or_default();
    let root = nearest(key(number))[0];
    world.kill(root);
    world.command(0, Route::Find { op: Op(1), key: key(number), values: false });
    world.run_for(secs(60));
    let named = world.outside.events.iter().find_map(|(_, node, event)| match event {
        Routing::Closest { peers, .. } if *node == 0 => Some(peers.clone()),
        _ => None,
    });
    let named = named.expect("it ends");
    assert!(named.first() == Some(&0) && !named.contains(&root) && named.len() > 4, "{named:?}");
}

/// Who goes around a root that was silent just now, and then is the root itself, does not name
/// the dead one as nearer: its answer would not be believed.
#[test]
fn who_answers_for_a_silent_root_names_itself_first() {
    for frozen in [false, true] {
        let config = Config { frozen, find_timeout: secs(1_000), ..Config::default() };
        let mut world = converged(6, 200, config);
        let all: Vec<u32> = world.nodes.keys().copied().collect();
        (0..200).filter(|node| node % 4 == 1).for_each(|node| world.kill(node));
        let nearest = |key: Id| {
            let alive = all.iter().copied().filter(|node| node % 4 != 1);
            alive.min_by_key(|&node| world.outside.place(node).ring_distance(key))
        };
        let roots: Vec<Option<u32>> = (0..50).map(|op| nearest(key(op))).collect();
        for op in 0..50 {
            world.command(0, Route::Find { op: Op(op), key: key(op), values: false });
        }
        world.run_for(secs(60));
        let mut found = vec![None; roots.len()];
        for (_, node, event) in &world.outside.events {
            if let (0, Routing::Closest { op, peers, .. }) = (node, event) {
                found[op.0 as usize] = peers.first().copied();
            }
        }
        assert_eq!(found, roots, "frozen: {frozen}");
    }
}
