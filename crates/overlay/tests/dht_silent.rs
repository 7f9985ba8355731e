//! Who was told of a publication and does not answer is told of its withdrawal all the same,
//! but not for ever.

mod common;

use std::time::Duration;

use common::World;
use starling_overlay::chord::Chord;
use starling_overlay::dht::{DROP_WINDOW, Dht, DhtMessage, MAX_GONE};
use starling_overlay::kademlia::Kademlia;
use starling_overlay::pastry::Pastry;
use starling_overlay::{Command, Core, Id, KeyBased, Record};

type Net<K> = World<Dht<u32, K>>;

const MINUTE: Duration = Duration::from_secs(60);
/// Records with a word in common: more than one message names.
const RECORDS: u32 = 8 * MAX_GONE as u32;

fn record(number: u32) -> Record {
    let name = format!("number {number}").as_str().into();
    Record { key: Id::hash(&number.to_be_bytes()), name, size: 1 }
}

/// Node 1 has published, and one who keeps that is cut off from all for so long that nobody
/// knows it any more; it hears no word but of withdrawals.
fn one_forgotten<K: KeyBased<u32, Config: Default>>() -> (Net<K>, u32) {
    let mut net = Net::<K>::new(3, 160, Dht::<u32, K>::config(K::Config::default()));
    net.converged(60);
    (0..RECORDS).for_each(|number| net.command(1, Command::Publish(record(number))));
    net.run_for(MINUTE);
    let word = Id::hash(b"number");
    let keepers = net.nodes.iter().filter(|(node, dht)| **node != 1 && dht.kept_keys().contains(&word));
    let alone = keepers.map(|one| *one.0).next().expect("somebody keeps it");
    net.outside.drops = Some(Box::new(move |from, to, message| {
        let answers = matches!(message, DhtMessage::Drop { .. } | DhtMessage::Stored { .. });
        (from == alone || to == alone) && !answers
    }));
    net.run_for(4 * MINUTE);
    (net, alone)
}

fn withdraw_all<K: KeyBased<u32>>(net: &mut Net<K>) {
    (0..RECORDS).for_each(|number| net.command(1, Command::Withdraw(record(number).key)));
}

/// How many keys of its records the forgotten keep, some time after they were withdrawn with
/// so much loss, all at first.
fn keeps<K: KeyBased<u32, Config: Default>>(deaf: Duration, loss_permille: u64) -> usize {
    let (mut net, alone) = one_forgotten::<K>();
    assert!(!net.nodes[&alone].kept_keys().is_empty());
    net.outside.loss_permille = loss_permille;
    net.outside.cut = Some(Box::new(move |_, to| to == alone));
    withdraw_all(&mut net);
    net.run_for(deaf);
    net.outside.cut = None;
    net.run_for(15 * MINUTE);
    net.nodes[&alone].kept_keys().len()
}

fn is_told<K: KeyBased<u32, Config: Default>>() {
    for (deaf, loss_permille) in [(Duration::ZERO, 0), (Duration::from_secs(20), 0), (Duration::ZERO, 300)] {
        assert_eq!(
            keeps::<K>(deaf, loss_permille),
            0,
            "{}, deaf for {deaf:?}, loss {loss_permille}",
            K::NAME
        );
    }
}

#[test]
fn who_did_not_answer_is_told_of_withdrawals_later() {
    is_told::<Chord<u32>>();
    is_told::<Pastry<u32>>();
    is_told::<Kademlia<u32>>();
}

/// Messages of withdrawals that the dead were sent, in each of five quarters of an hour.
fn in_vain<K: KeyBased<u32, Config: Default>>() -> Vec<usize> {
    let (mut net, alone) = one_forgotten::<K>();
    net.kill(alone);
    withdraw_all(&mut net);
    (0..5).map(|_| quarter(&mut net, alone)).collect()
}

/// How many messages of withdrawals a node is sent in a quarter of an hour.
fn quarter<K: KeyBased<u32>>(net: &mut Net<K>, to: u32) -> usize {
    net.outside.log = Some(Vec::new());
    net.run_for(15 * MINUTE);
    let log = net.outside.log.take().unwrap_or_default();
    log.iter().filter(|said| said.1 == to && matches!(said.2, DhtMessage::Drop { .. })).count()
}

fn is_bounded<K: KeyBased<u32, Config: Default>>() {
    let sent = in_vain::<K>();
    assert!((10..=2 * DROP_WINDOW).contains(&sent[0]), "{}: {sent:?}", K::NAME);
    assert!((1..=4).contains(&sent[1]) && sent[2..] == [0; 3], "{}: {sent:?}", K::NAME);
}

#[test]
fn the_dead_are_not_told_of_withdrawals_for_ever() {
    is_bounded::<Chord<u32>>();
    is_bounded::<Pastry<u32>>();
    is_bounded::<Kademlia<u32>>();
}

/// Who is known to be out of reach is told nothing more.
fn is_spared<K: KeyBased<u32, Config: Default>>() {
    let (mut net, alone) = one_forgotten::<K>();
    net.kill(alone);
    withdraw_all(&mut net);
    net.run_for(Duration::from_secs(20));
    net.unreachable(1, alone);
    assert_eq!(quarter(&mut net, alone), 0, "{}", K::NAME);
}

#[test]
fn who_is_out_of_reach_is_told_of_no_withdrawals() {
    is_spared::<Chord<u32>>();
    is_spared::<Pastry<u32>>();
    is_spared::<Kademlia<u32>>();
}

/// Who is near the key and hears no withdrawal is told again, ever more rarely, as long as it
/// would keep the posting.
fn more_and_more_rarely<K: KeyBased<u32, Config: Default>>() {
    let mut net = Net::<K>::new(3, 160, Dht::<u32, K>::config(K::Config::default()));
    net.converged(60);
    net.command(1, Command::Publish(record(5)));
    net.run_for(MINUTE);
    let keeps = |one: &(&u32, &Dht<u32, K>)| *one.0 != 1 && one.1.kept_keys().contains(&record(5).key);
    let deaf = net.nodes.iter().find(keeps).map(|one| *one.0).expect("somebody keeps it");
    net.outside.drops =
        Some(Box::new(move |_, to, message| to == deaf && matches!(message, DhtMessage::Drop { .. })));
    net.command(1, Command::Withdraw(record(5).key));
    let sent: Vec<usize> = (0..6).map(|_| quarter(&mut net, deaf)).collect();
    assert!(sent[0] > sent[1] && sent[1] > 0, "{}: {sent:?}", K::NAME);
    // Each time it is told twice, under three keys at most.
    assert!(sent[2..].iter().all(|&sent| sent <= 2 * 3), "{}: {sent:?}", K::NAME);
    assert!(sent[2..].iter().any(|&sent| sent > 0) && sent[5] == 0, "{}: {sent:?}", K::NAME);
}

#[test]
fn who_hears_no_withdrawal_is_told_ever_more_rarely() {
    more_and_more_rarely::<Chord<u32>>();
    more_and_more_rarely::<Pastry<u32>>();
    more_and_more_rarely::<Kademlia<u32>>();
}

/// Who leaves tells at once those who rest, and does not wait for the dead until its time is
/// over.
fn leaves<K: KeyBased<u32, Config: Default>>() {
    for dead in [true, false] {
        let (mut net, alone) = one_forgotten::<K>();
        net.outside.cut = Some(Box::new(move |_, to| to == alone));
        withdraw_all(&mut net);
        net.run_for(4 * MINUTE);
        net.outside.cut = None;
        assert!(!net.nodes[&alone].kept_keys().is_empty(), "{}", K::NAME);
        if dead {
            net.kill(alone);
        }
        net.command(1, Command::Leave);
        net.run_for(Duration::from_millis(3500));
        assert!(!net.nodes[&1].is_member(), "{}", K::NAME);
        assert!(dead || net.nodes[&alone].kept_keys().is_empty(), "{}", K::NAME);
    }
}

#[test]
fn who_leaves_asks_the_silent_at_once_and_once() {
    leaves::<Chord<u32>>();
    leaves::<Pastry<u32>>();
    // A find of Kademlia's may still wait for others.
}
