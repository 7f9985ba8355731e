//! Who has much to withdraw or renew, among dead nodes and with loss, still publishes and
//! renews.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::World;
use starling_overlay::chord::Chord;
use starling_overlay::dht::{Dht, DhtConfig, DhtMessage};
use starling_overlay::kademlia::Kademlia;
use starling_overlay::pastry::Pastry;
use starling_overlay::{Command, Event, Id, KeyBased, Op, Record};

type Net<K> = World<Dht<u32, K>>;

const MINUTE: Duration = Duration::from_secs(60);
/// Records that stay, and those that are withdrawn after them.
const STAY: u32 = 20;
const GO: u32 = 500;

fn record(number: u32) -> Record {
    Record { key: Id::hash(&number.to_be_bytes()), name: format!("n{number}").as_str().into(), size: 1 }
}

/// Everything is published, renewed and forgotten ten times as fast.
fn hasty<K: KeyBased<u32, Config: Default>>() -> DhtConfig<K::Config> {
    let mut config = Dht::<u32, K>::config(K::Config::default());
    for time in [&mut config.republish, &mut config.expire, &mut config.retry] {
        *time /= 10;
    }
    config
}

/// Whether somebody keeps a new record of node 1 ten seconds after it was published; it takes
/// three where nothing is withdrawn.
fn publishes<K: KeyBased<u32>>(net: &mut Net<K>, number: u32) -> bool {
    net.command(1, Command::Publish(record(number)));
    net.run_for(Duration::from_secs(10));
    net.nodes.iter().any(|(&node, dht)| node != 1 && dht.kept_keys().contains(&record(number).key))
}

/// How many of the records that stay node 2 finds.
fn found<K: KeyBased<u32>>(net: &mut Net<K>) -> usize {
    net.outside.events.clear();
    (0..STAY).for_each(|number| net.command(2, Command::LookUp(Op(number), record(number).key)));
    net.run_for(MINUTE);
    net.outside.events.iter().filter(|one| matches!(one.2, Event::Hits { .. })).count()
}

fn take_turns<K: KeyBased<u32, Config: Default>>(dead: u32, loss_permille: u64) {
    let mut net = Net::<K>::new(5, 160, hasty::<K>());
    net.converged(100);
    (0..STAY + GO).for_each(|number| net.command(1, Command::Publish(record(number))));
    net.run_for(5 * MINUTE);
    (0..dead).for_each(|node| net.kill(10 * node + 9));
    net.outside.loss_permille = loss_permille;
    assert!(publishes(&mut net, 9_999), "where nothing is withdrawn");
    (STAY..STAY + GO).for_each(|number| net.command(1, Command::Withdraw(record(number).key)));
    // At first all are to be tried, later some to be tried again.
    let minutes: Vec<(bool, usize)> =
        (0..20).map(|minute| (publishes(&mut net, 10_000 + minute), found(&mut net))).collect();
    assert_eq!(minutes, [(true, STAY as usize); 20], "{}, {dead} dead, loss {loss_permille}", K::NAME);
}

#[test]
fn withdrawals_starve_neither_publications_nor_renewals() {
    for (dead, loss_permille) in [(10, 0), (0, 50)] {
        take_turns::<Kademlia<u32>>(dead, loss_permille);
        take_turns::<Chord<u32>>(dead, loss_permille);
    }
}

/// How long it takes until somebody keeps a new record of node 1, in tenths of a second.
fn tenths<K: KeyBased<u32>>(net: &mut Net<K>, number: u32) -> u32 {
    net.command(1, Command::Publish(record(number)));
    let kept = |net: &mut Net<K>| {
        net.run_for(Duration::from_millis(100));
        net.nodes.iter().any(|(&node, dht)| node != 1 && dht.kept_keys().contains(&record(number).key))
    };
    (1..1000).find(|_| kept(net)).unwrap_or(1000)
}

/// Publishes one record after another beside a thousand that are renewed, then withdrawn.
fn what_is_new_goes_first<K: KeyBased<u32, Config: Default>>() {
    let mut net = Net::<K>::new(5, 160, hasty::<K>());
    net.converged(100);
    (0..1000).for_each(|number| net.command(1, Command::Publish(record(number))));
    net.run_for(20 * MINUTE);
    net.outside.loss_permille = 50;
    let renews: Vec<u32> = (9_000..9_020).map(|number| tenths(&mut net, number)).collect();
    (0..1000).for_each(|number| net.command(1, Command::Withdraw(record(number).key)));
    let withdraws: Vec<u32> = (9_100..9_160).map(|number| tenths(&mut net, number)).collect();
    for tenths in [renews, withdraws] {
        assert!(tenths.iter().all(|&one| one <= 100), "{}: {tenths:?}", K::NAME);
    }
}

#[test]
fn something_new_waits_for_neither_renewals_nor_withdrawals() {
    what_is_new_goes_first::<Kademlia<u32>>();
    what_is_new_goes_first::<Chord<u32>>();
}

/// How large the record of node 1 is that those show who keep it, some time after it was
/// published and at once again, changed; what they were told first got lost.
fn sizes_shown<K: KeyBased<u32, Config: Default>>() -> BTreeSet<u64> {
    const STRANGER: u32 = 9_999;
    let mut net = Net::<K>::new(5, 160, Dht::<u32, K>::config(K::Config::default()));
    net.converged(60);
    let record = |size: u64| Record { size, ..record(0) };
    net.outside.drops = Some(Box::new(|_, _, message| matches!(message, DhtMessage::Put { .. })));
    net.command(1, Command::Publish(record(1)));
    net.run_for(Duration::from_secs(1));
    net.outside.drops = None;
    net.command(1, Command::Publish(record(2)));
    net.run_for(Duration::from_secs(10));
    net.outside.log = Some(Vec::new());
    for node in net.nodes.keys().copied().filter(|&node| node != 1).collect::<Vec<u32>>() {
        net.inject(STRANGER, node, DhtMessage::Get { op: 1, key: record(0).key });
    }
    let log = net.outside.log.take().unwrap_or_default();
    let values = log.into_iter().filter_map(|said| match said.2 {
        DhtMessage::Values { values, .. } => Some(values.into_vec()),
        _ => None,
    });
    values.flatten().map(|one| one.record.size).collect()
}

#[test]
fn what_is_published_anew_is_not_undone_by_what_was_still_on_its_way() {
    assert_eq!(sizes_shown::<Chord<u32>>(), [2].into());
    assert_eq!(sizes_shown::<Pastry<u32>>(), [2].into());
    assert_eq!(sizes_shown::<Kademlia<u32>>(), [2].into());
}

/// All around one word are silent, whom a node tells of many records: of how many of them
/// nobody knows any more after so long that each was to be renewed several times, and how often
/// in an hour others were told of each under one key.
fn beside_a_silent_word<K: KeyBased<u32, Config: Default>>(records: u32) -> (usize, f64) {
    let mut net = Net::<K>::new(5, 160, Dht::<u32, K>::config(K::Config::default()));
    net.converged(60);
    let word = Id::hash(b"word");
    let is_told = move |message: &DhtMessage<u32, K::Message>, silent: bool| match message {
        DhtMessage::Put { put, .. } => (put.under == word) == silent,
        _ => false,
    };
    net.outside.drops = Some(Box::new(move |_, _, message| is_told(message, true)));
    let record = |number: u32| Record { name: format!("word {number}").as_str().into(), ..record(number) };
    (0..records).for_each(|number| net.command(1, Command::Publish(record(number))));
    net.run_for(90 * MINUTE);
    net.outside.log = Some(Vec::new());
    net.run_for(60 * MINUTE);
    let log = net.outside.log.take().unwrap_or_default();
    let told = log.iter().filter(|said| is_told(&said.2, false)).count() / K::REPLICAS;
    let kept = |key: Id| net.nodes.iter().any(|(&node, dht)| node != 1 && dht.kept_keys().contains(&key));
    let forgotten = (0..records).filter(|&number| !kept(record(number).key)).count();
    (forgotten, told as f64 / f64::from(2 * records))
}

fn renews_beside_a_silent_word<K: KeyBased<u32, Config: Default>>() {
    let (forgotten, told) = beside_a_silent_word::<K>(500);
    // Every half an hour, or a quarter of that sooner.
    assert!(forgotten == 0 && told < 3.0, "{}: {forgotten} forgotten, {told} times", K::NAME);
}

#[test]
fn what_nobody_ever_hears_starves_no_renewals_and_makes_no_more() {
    renews_beside_a_silent_word::<Chord<u32>>();
    renews_beside_a_silent_word::<Pastry<u32>>();
    renews_beside_a_silent_word::<Kademlia<u32>>();
}
