//! FastTrack: what a super-peer knows of a leaf is what the leaf has.

mod common;

use std::time::Duration;

use common::World;
use common::user::{hits, record, result};
use starling_overlay::fasttrack::{Config, FastTrack, Message};
use starling_overlay::wire::List;
use starling_overlay::{Command, Id, Op, Outcome, Query, Record, RpcId};

type Net = World<FastTrack<u32>>;

const SECOND: Duration = Duration::from_secs(1);

/// One super-peer, 0, with the leaves 1 to 9, none of which has anything.
fn one_house() -> Net {
    let mut net = Net::new(1, 64, Config::default());
    for node in 0..10 {
        net.add(node);
        net.command(node, Command::Join((node > 0).then_some(0)));
        net.run_for(5 * SECOND);
    }
    net.run_for(60 * SECOND);
    assert!((1..10).all(|leaf| net.nodes[&leaf].parent() == Some(0)));
    net
}

/// How a look-up of `seeker` ended.
fn look_up(net: &mut Net, seeker: u32, op: u32, key: Id) -> Option<Outcome> {
    net.command(seeker, Command::LookUp(Op(op), key));
    net.run_for(15 * SECOND);
    result(net, seeker, op).1
}

/// How many records `seeker` finds by a word.
fn search(net: &mut Net, seeker: u32, op: u32, word: &str) -> usize {
    net.command(seeker, Command::Search(Op(op), Query { text: word.into(), wanted: 5 }));
    net.run_for(15 * SECOND);
    hits(net, Op(op)).len()
}

fn named(name: &str) -> Record {
    Record { key: Id::hash(b"one key"), name: name.into(), size: 1 }
}

#[test]
fn what_a_leaf_withdraws_during_an_outage_is_found_no_more() {
    // A leaf gives up a silent super-peer after some seconds, a super-peer a silent leaf
    // only after minutes: in between, it has the leaf still when that attaches again.
    for outage in [1, 8, 15, 30, 60, 400] {
        let mut net = one_house();
        for number in [4, 5] {
            net.command(4, Command::Publish(record(number)));
        }
        net.run_for(30 * SECOND);
        net.outside.cut = Some(Box::new(|from, to| from == 4 || to == 4));
        net.command(4, Command::Withdraw(record(4).key));
        net.run_for(outage * SECOND);
        net.outside.cut = None;
        net.run_for(300 * SECOND);
        assert_eq!(look_up(&mut net, 7, 1, record(4).key), Some(Outcome::NotFound), "{outage} s");
        assert_eq!(look_up(&mut net, 7, 2, record(5).key), Some(Outcome::Found), "{outage} s");
    }
}

#[test]
fn who_attaches_again_begins_with_nothing() {
    let mut net = one_house();
    for number in [4, 5] {
        net.inject(50, 0, Message::Attach { rpc: RpcId(number), capacity: 1 });
        let (records, withdrawn) = (List::new(vec![record(number)]), List::default());
        net.inject(50, 0, Message::Share { rpc: RpcId(number), records, withdrawn });
    }
    assert_eq!(look_up(&mut net, 7, 1, record(4).key), Some(Outcome::NotFound));
    assert_eq!(look_up(&mut net, 7, 2, record(5).key), Some(Outcome::Found));
}

#[test]
fn a_question_of_a_leaf_that_comes_twice_takes_nothing_for_good() {
    let mut net = one_house();
    net.command(4, Command::Publish(record(4)));
    net.run_for(30 * SECOND);
    net.inject(4, 0, Message::Attach { rpc: RpcId(1), capacity: 1 });
    net.run_for(SECOND);
    assert_eq!(look_up(&mut net, 7, 1, record(4).key), Some(Outcome::Found));
    assert_eq!(net.outside.offences, []);
}

#[test]
fn a_record_renamed_while_its_old_name_is_on_its_way_is_found_by_the_new_one() {
    for lost in [false, true] {
        let mut net = one_house();
        net.outside.loss_permille = if lost { 1000 } else { 0 };
        net.command(4, Command::Publish(named("oldname")));
        net.run_for(Duration::from_millis(5));
        net.command(4, Command::Publish(named("newname")));
        net.outside.loss_permille = 0;
        net.run_for(60 * SECOND);
        assert_eq!(search(&mut net, 7, 1, "oldname"), 0, "lost: {lost}");
        assert_eq!(search(&mut net, 7, 2, "newname"), 1, "lost: {lost}");
    }
}

#[test]
fn whatever_happens_to_a_record_while_another_change_is_on_its_way_is_told() {
    let publish = |name: &str| Command::Publish(named(name));
    let withdraw = || Command::Withdraw(named("").key);
    let cases = [
        (vec![publish("oldname"), withdraw()], 0),
        (vec![publish("oldname"), withdraw(), publish("newname")], 1),
        (vec![publish("oldname"), publish("newname"), withdraw()], 0),
        (vec![withdraw(), publish("newname")], 1),
        (vec![withdraw(), publish("newname"), withdraw()], 0),
    ];
    for (at, (commands, found)) in cases.into_iter().enumerate() {
        for loss_permille in [0, 1000] {
            let mut net = one_house();
            net.outside.loss_permille = loss_permille;
            for command in commands.clone() {
                net.command(4, command);
                net.run_for(Duration::from_millis(1));
            }
            net.outside.loss_permille = 0;
            net.run_for(60 * SECOND);
            assert_eq!(search(&mut net, 7, 1, "oldname"), 0, "case {at}, loss {loss_permille}");
            assert_eq!(search(&mut net, 7, 2, "newname"), found, "case {at}, loss {loss_permille}");
        }
    }
}
