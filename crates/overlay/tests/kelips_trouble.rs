//! Kelips where messages are lost, halves lose each other, nodes die, and more is told than
//! gossip can carry.

mod common;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use common::World;
use common::user::{self, found, record};
use starling_overlay::kelips::{Config, Kelips, Message, group_of};
use starling_overlay::{Command, Core, Op, Outcome};

type Net = World<Kelips<u32>>;

const MINUTE: Duration = Duration::from_secs(60);

/// A hundred nodes in ten groups that all know each other; every tenth has a record.
fn a_hundred(seed: u64, config: Config) -> Net {
    let mut net = Net::new(seed, 160, config);
    net.converged(100);
    (0..10).for_each(|number| net.command(number * 10, Command::Publish(record(number))));
    net.run_for(MINUTE);
    net
}

/// Pairs of mates of whom the first does not know the second.
fn strangers(net: &Net) -> usize {
    let group = |core: &Kelips<u32>, peer| core.group_of(net.outside.place(peer)) == core.group();
    let missing = |(&node, core): (&u32, &Kelips<u32>)| {
        let known = core.known();
        let mates = net.nodes.keys().filter(|&&peer| peer != node && group(core, peer));
        mates.filter(|peer| !known.contains(peer)).count()
    };
    net.nodes.iter().map(missing).sum()
}

#[test]
fn a_farewell_is_heard_though_messages_are_lost() {
    for seed in 0..5 {
        let mut net = a_hundred(seed, Config::for_nodes(100));
        let group = net.nodes[&10].group();
        net.outside.loss_permille = 100;
        net.command(10, Command::Leave);
        net.run_for(Duration::from_secs(3));
        net.kill(10);
        net.outside.loss_permille = 0;
        let mates = net.nodes.values().filter(|core| core.group() == group);
        assert_eq!(mates.filter(|mate| mate.known().contains(&10)).count(), 0, "seed {seed}");
        net.run_for(MINUTE);
        let ended = user::look_for_all(&mut net, &[1], Duration::from_secs(20));
        assert_eq!(found(&ended), 0, "seed {seed}: what it had is withdrawn");
    }
}

#[test]
fn two_halves_that_forgot_each_other_become_one_again() {
    for seed in 0..3 {
        let config = Config::for_nodes(100);
        let mut net = a_hundred(seed, config.clone());
        net.outside.cut = Some(Box::new(|a, b| (a < 50) != (b < 50)));
        net.run_for(config.contact_timeout * 3);
        let other = |(&node, core): (&u32, &Kelips<u32>)| {
            core.known().iter().filter(|&&peer| (peer < 50) != (node < 50)).count()
        };
        assert_eq!(net.nodes.iter().map(other).sum::<usize>(), 0, "nobody knows the other half");
        net.outside.cut = None;
        net.run_for(20 * MINUTE);
        assert_eq!(strangers(&net), 0, "seed {seed}");
        let ended = user::look_for_all(&mut net, &[0, 3, 5, 9], Duration::from_secs(20));
        assert_eq!(found(&ended), ended.len(), "seed {seed}");
    }
}

#[test]
fn what_the_dead_had_is_forgotten_and_what_the_living_have_is_not() {
    let config = Config::for_nodes(100);
    let mut net = a_hundred(1, config.clone());
    let kept = |net: &Net| net.nodes.values().map(Kelips::tuples).sum::<usize>();
    let all = kept(&net);
    for number in 0..5 {
        net.kill(number * 10);
    }
    let before = kept(&net);
    net.run_for(config.tuple_timeout - config.refresh_interval - MINUTE);
    assert_eq!(kept(&net), before, "all are in their time, of {all}");
    // A tick of the clock, and that age is told in whole seconds at each step.
    net.run_for(config.refresh_interval + 6 * MINUTE);
    let ended = user::look_for_all(&mut net, &[0, 1, 2, 3, 4], Duration::from_secs(20));
    assert_eq!(found(&ended), 0);
    assert!(kept(&net) < before * 2 / 3, "{} of {before}", kept(&net));
    let ended = user::look_for_all(&mut net, &[5, 6, 7, 8, 9], Duration::from_secs(20));
    assert_eq!(found(&ended), ended.len());
}

/// Heartbeats of so many tuples that they do not all fit as news: the others have their turn.
#[test]
fn more_news_than_gossip_can_carry_starve_nobody() {
    let config = Config { groups: 1, search_words: false, ..Config::for_nodes(16) };
    let mut net = Net::new(1, 160, config);
    net.converged(16);
    for node in 0..16 {
        (0..62).for_each(|number| net.command(node, Command::Publish(record(node * 1000 + number))));
    }
    net.run_for(100 * MINUTE);
    let kept: Vec<usize> = net.nodes.values().map(Kelips::tuples).collect();
    assert!(kept.iter().all(|&kept| kept >= 985), "{kept:?}");
}

/// Of the nodes outside a record's group that look it up, how many find it, where questions get
/// lost: `lost` is asked whether the peer is a contact that the node had in the group, as which
/// of those asked it came, from 0 on, and which question it is.
fn find_around(tries: u8, lost: impl Fn(bool, usize, usize) -> bool + Copy + 'static) -> (usize, usize) {
    let config = Config { tries, ..Config::for_nodes(100) };
    let mut net = a_hundred(1, config.clone());
    let key = record(3).key;
    let home = group_of(key, config.groups);
    let there = |net: &Net, node: u32| group_of(net.outside.place(node), config.groups) == home;
    let askers: Vec<u32> = (0..100).filter(|&node| node != 30 && !there(&net, node)).collect();
    let mut good = 0;
    for &asker in &askers {
        let known = net.nodes[&asker].known();
        let contacts: Vec<u32> = known.into_iter().filter(|&peer| there(&net, peer)).collect();
        let (asked, others) = (Cell::new(0), RefCell::new(Vec::new()));
        net.outside.drops = Some(Box::new(move |from, to, message| {
            if from != asker || !matches!(message, Message::LookUp { .. }) {
                // It hears of nobody else meanwhile.
                return to == asker && matches!(message, Message::Gossip { .. });
            }
            asked.set(asked.get() + 1);
            let (contact, mut others) = (contacts.contains(&to), others.borrow_mut());
            if !contact && !others.contains(&to) {
                others.push(to);
            }
            let at = others.iter().position(|&other| other == to).unwrap_or_default();
            lost(contact, at, asked.get())
        }));
        net.command(asker, Command::LookUp(Op(asker), key));
        net.run_for(config.rpc_timeout * 15);
        good += usize::from(user::result(&net, asker, asker).1 == Some(Outcome::Found));
    }
    (good, askers.len())
}

/// Two contacts, seven others who may know more of them, and one of those.
#[test]
fn a_look_up_goes_around_six_who_are_silent_beside_its_contacts() {
    let (good, all) = find_around(10, |contact, other, _| contact || other < 6);
    assert!(good > all / 2, "{good} of {all}: the seventh may know no other contacts");
}

#[test]
fn a_look_up_asks_a_silent_contact_again_at_last() {
    let (good, all) = find_around(12, |contact, _, number| !contact || number <= 3);
    assert_eq!(good, all);
}
