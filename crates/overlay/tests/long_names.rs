//! Names as long as they may be, and longer: messages stay short enough to be sent, and what has such
//! a name is found like anything else.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::World;
use common::user::{self, hits};
use starling_overlay::chord::Chord;
use starling_overlay::dht::{Dht, DhtConfig, MAX_PAGES};
use starling_overlay::fasttrack::FastTrack;
use starling_overlay::gnutella::Gnutella;
use starling_overlay::kademlia::Kademlia;
use starling_overlay::kelips::Kelips;
use starling_overlay::napster::Napster;
use starling_overlay::pastry::Pastry;
use starling_overlay::wire::MAX_TEXT;
use starling_overlay::{Command, Id, KeyBased, Offence, Op, Outcome, Overlay, Query, Record};

const NODES: u32 = 12;
const RECORDS: u32 = 20;

/// Record number `number` of a node: all have one word in common.
fn record(node: u32, number: u32) -> Record {
    let name = format!("starling {node} {number} ");
    let name = format!("{name}{}", "x".repeat(MAX_TEXT - name.len()));
    Record { key: Id::hash(name.as_bytes()), name: name.into(), size: 1 }
}

/// Nodes that each publish many records with the longest names, and a newcomer.
fn network<C: Overlay<u32>>(config: C::Config) -> World<C> {
    let mut net = World::<C>::new(1, 160, config);
    net.converged(NODES);
    for (node, number) in (0..NODES).flat_map(|node| (0..RECORDS).map(move |number| (node, number))) {
        net.command(node, Command::Publish(record(node, number)));
    }
    net.run_for(Duration::from_secs(600));
    net.add(NODES);
    net.command(NODES, Command::Join(Some(1)));
    net.run_for(Duration::from_secs(60));
    net
}

/// How many of all records the newcomer finds by their common word; each of one node's is
/// found by its key.
fn found<C: Overlay<u32>>(mut net: World<C>) -> usize {
    for number in 0..RECORDS {
        net.command(2, Command::LookUp(Op(number), record(7, number).key));
    }
    net.run_for(Duration::from_secs(60));
    let key = |number: &u32| hits(&net, Op(*number)).iter().any(|hit| hit.record == record(7, *number));
    assert_eq!((0..RECORDS).filter(key).count(), RECORDS as usize, "looked up by key");
    net.outside.events.clear();
    net.command(NODES, Command::Search(Op(0), Query { text: "starling".into(), wanted: 1000 }));
    net.run_for(Duration::from_secs(120));
    assert_eq!(user::ended(&net).len(), 1);
    let found: BTreeSet<(Id, u32)> =
        hits(&net, Op(0)).iter().map(|hit| (hit.record.key, hit.provider)).collect();
    found.len()
}

/// A name or search that no message holds is refused at once, and nothing is sent or changed.
/// Returns how a search ends whose text is longer in lower case.
fn refuses_what_is_too_long<C: Overlay<u32>>(config: C::Config) -> Option<Outcome> {
    let mut net = World::<C>::new(1, 160, config);
    net.converged(2);
    let short = Record { name: "starling".into(), ..record(0, 0) };
    let long = Record { name: format!("{}x", record(0, 0).name).into(), ..record(0, 0) };
    net.command(0, Command::Publish(short.clone()));
    net.run_for(Duration::from_secs(60));
    let (offences, sent) = (net.outside.offences.len(), net.outside.sent.clone());
    net.command(0, Command::Publish(long));
    assert_eq!(net.outside.offences[offences..], [(0, Offence::OutOfRange)], "{}", C::NAME);
    let texts = [["starling "; 120].concat(), "Ⱥ".repeat(512)];
    assert!(texts[0].len() > MAX_TEXT && texts[1].len() == MAX_TEXT);
    net.command(1, Command::Search(Op(1), Query { text: texts[0].as_str().into(), wanted: 10 }));
    assert_eq!(user::result(&net, 1, 1), (0, Some(Outcome::Refused)), "{}", C::NAME);
    assert_eq!(net.outside.sent, sent);
    net.command(1, Command::LookUp(Op(2), short.key));
    net.command(1, Command::Search(Op(3), Query { text: texts[1].as_str().into(), wanted: 10 }));
    net.run_for(Duration::from_secs(60));
    assert_eq!(hits(&net, Op(2)).iter().map(|hit| &hit.record).collect::<Vec<_>>(), [&short], "{}", C::NAME);
    user::result(&net, 1, 3).1
}

#[test]
fn what_is_too_long_is_refused_by_every_overlay() {
    fn structured<K: KeyBased<u32>>(routing: K::Config) {
        let end = refuses_what_is_too_long::<Dht<u32, K>>(DhtConfig::new(routing, K::REPLICAS));
        assert_eq!(end, Some(Outcome::NotFound));
    }
    // Gnutella sends a search in lower case.
    assert_eq!(refuses_what_is_too_long::<Napster<u32>>(Default::default()), Some(Outcome::NotFound));
    assert_eq!(refuses_what_is_too_long::<Gnutella<u32>>(Default::default()), Some(Outcome::Refused));
    assert_eq!(refuses_what_is_too_long::<FastTrack<u32>>(Default::default()), Some(Outcome::NotFound));
    assert_eq!(refuses_what_is_too_long::<Kelips<u32>>(Default::default()), Some(Outcome::NotFound));
    structured::<Chord<u32>>(Default::default());
    structured::<Pastry<u32>>(Default::default());
    structured::<Kademlia<u32>>(Default::default());
}

const ALL: usize = (NODES * RECORDS) as usize;

#[test]
fn napster_finds_and_copies_long_names() {
    let mut net = network::<Napster<u32>>(Default::default());
    let servers = |net: &World<Napster<u32>>| -> Vec<u32> {
        net.nodes.iter().filter(|(_, core)| core.is_server()).map(|(&node, _)| node).collect()
    };
    let old = servers(&net);
    let dies = old.iter().copied().find(|server| ![1, 2, 7].contains(server)).unwrap();
    net.kill(dies);
    net.run_for(Duration::from_secs(200));
    let new: Vec<u32> = servers(&net).into_iter().filter(|server| !old.contains(server)).collect();
    let left = ALL - RECORDS as usize;
    assert_eq!(new.iter().map(|server| net.nodes[server].records()).collect::<Vec<_>>(), [left]);
    assert_eq!(found(net), left);
}

#[test]
fn fasttrack_finds_long_names() {
    // Three super-peers.
    let config = starling_overlay::fasttrack::Config { leaves: 4, ..Default::default() };
    assert!(found(network::<FastTrack<u32>>(config)) > ALL / 2, "a super-peer tells of 64 at most");
}

#[test]
fn gnutella_finds_long_names() {
    assert!(found(network::<Gnutella<u32>>(Default::default())) > ALL / 2, "a servent tells of 16 at most");
}

#[test]
fn structured_overlays_find_long_names() {
    fn all<K: KeyBased<u32>>(routing: K::Config) {
        let found = found(network::<Dht<u32, K>>(DhtConfig::new(routing, K::REPLICAS)));
        assert!(found >= usize::from(MAX_PAGES), "{}: {found}, and each fills a page", K::NAME);
    }
    all::<Chord<u32>>(Default::default());
    all::<Pastry<u32>>(Default::default());
    all::<Kademlia<u32>>(Default::default());
}

#[test]
fn kelips_finds_long_names() {
    assert_eq!(found(network::<Kelips<u32>>(Default::default())), ALL);
}
