//! Whom a search asks, and how often, on each of the structured overlays.

mod common;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use common::World;
use starling_overlay::chord::Chord;
use starling_overlay::dht::{Dht, DhtMessage, MAX_PAGES};
use starling_overlay::kademlia::Kademlia;
use starling_overlay::pastry::Pastry;
use starling_overlay::{Command, Event, Id, KeyBased, Op, Outcome, Query, Record};

type Net<K> = World<Dht<u32, K>>;

const MINUTE: Duration = Duration::from_secs(60);

fn record(number: u32) -> Record {
    let name = format!("number {number}").as_str().into();
    Record { key: Id::hash(&number.to_be_bytes()), name, size: 1 }
}

fn net<K: KeyBased<u32, Config: Default>>() -> Net<K> {
    net_of::<K>(200)
}

fn net_of<K: KeyBased<u32, Config: Default>>(records: u32) -> Net<K> {
    let mut net = Net::<K>::new(1, 160, Dht::<u32, K>::config(K::Config::default()));
    net.converged(40);
    (0..records).for_each(|number| net.command(number % 40, Command::Publish(record(number))));
    net.run_for(MINUTE);
    net
}

/// What comes of a search, and how many hits it has, at one who keeps nothing of it.
fn search<K: KeyBased<u32>>(net: &mut Net<K>) -> (Option<Outcome>, usize) {
    search_for(net, 10)
}

fn search_for<K: KeyBased<u32>>(net: &mut Net<K>, wanted: u16) -> (Option<Outcome>, usize) {
    let word = Id::hash(b"number");
    let far = net.nodes.iter().find(|one| !one.1.kept_keys().contains(&word));
    let far = far.map(|one| *one.0).expect("not everybody keeps it");
    net.outside.events.clear();
    net.command(far, Command::Search(Op(7), Query { text: "number".into(), wanted }));
    net.run_for(2 * MINUTE);
    let (mut outcome, mut count) = (None, 0);
    for event in &net.outside.events {
        match &event.2 {
            Event::Done { op: Op(7), outcome: done, .. } => outcome = Some(*done),
            Event::Hits { op: Op(7), hits } => count += hits.len(),
            _ => {}
        }
    }
    (outcome, count)
}

/// The first question to each gets lost.
fn asks_all_again<K: KeyBased<u32, Config: Default>>() {
    let mut net = net::<K>();
    let asked = RefCell::new(BTreeSet::new());
    net.outside.drops = Some(Box::new(move |_, to, message| {
        matches!(message, DhtMessage::Search { .. }) && asked.borrow_mut().insert(to)
    }));
    assert_eq!(search(&mut net), (Some(Outcome::Found), 10), "{}", K::NAME);
}

#[test]
fn those_who_were_all_silent_are_asked_again() {
    asks_all_again::<Chord<u32>>();
    asks_all_again::<Pastry<u32>>();
    asks_all_again::<Kademlia<u32>>();
}

/// Nobody ever hears.
fn gives_up<K: KeyBased<u32, Config: Default>>() {
    let mut net = net::<K>();
    net.outside.drops = Some(Box::new(|_, _, message| matches!(message, DhtMessage::Search { .. })));
    net.outside.log = Some(Vec::new());
    assert_eq!(search(&mut net), (Some(Outcome::Failed), 0), "{}", K::NAME);
    assert_eq!(asked(&mut net), 2 * K::REPLICAS, "{}", K::NAME);
}

fn asked<K: KeyBased<u32>>(net: &mut Net<K>) -> usize {
    let log = net.outside.log.take().unwrap_or_default();
    log.iter().filter(|said| matches!(said.2, DhtMessage::Search { .. })).count()
}

#[test]
fn a_search_that_nobody_hears_fails_after_each_was_asked_twice() {
    gives_up::<Chord<u32>>();
    gives_up::<Pastry<u32>>();
    gives_up::<Kademlia<u32>>();
}

fn asks_once<K: KeyBased<u32, Config: Default>>() {
    let mut net = net::<K>();
    net.outside.log = Some(Vec::new());
    assert_eq!(search(&mut net), (Some(Outcome::Found), 10), "{}", K::NAME);
    assert_eq!(asked(&mut net), 1, "{}", K::NAME);
}

#[test]
fn a_search_that_has_enough_asks_for_no_more() {
    asks_once::<Chord<u32>>();
    asks_once::<Pastry<u32>>();
    asks_once::<Kademlia<u32>>();
}

/// The first who answers falls silent shortly before the last page that would be asked of it.
fn goes_on_elsewhere<K: KeyBased<u32, Config: Default>>() {
    let mut net = net_of::<K>(880);
    let (first, pages) = (Cell::new(None), Cell::new(0));
    net.outside.drops = Some(Box::new(move |from, _, message| {
        if !matches!(message, DhtMessage::Matches { .. })
            || first.replace(first.get().or(Some(from))).is_none()
        {
            return false;
        }
        pages.set(pages.get() + 1);
        first.get() == Some(from) && pages.get() >= MAX_PAGES - 2
    }));
    let (outcome, count) = search_for(&mut net, 1000);
    // To each they came in an order of its own: a few are passed over.
    assert!(outcome == Some(Outcome::Found) && (840..=880).contains(&count), "{}: {count}", K::NAME);
}

#[test]
fn who_takes_the_place_of_one_who_fell_silent_shows_as_many_pages() {
    goes_on_elsewhere::<Chord<u32>>();
    goes_on_elsewhere::<Pastry<u32>>();
    goes_on_elsewhere::<Kademlia<u32>>();
}
