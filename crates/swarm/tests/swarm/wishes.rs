//! What users ask for: magnets, order, selection, privacy, super-seeding.

use std::time::Duration;

use starling_metainfo::{Bitfield, Info, Versions};
use starling_swarm::extension::{self, ExtensionMessage};
use starling_swarm::{Config, Event, Input, Message, Priority};

use crate::world::{Content, KIB, LinkSpec, MIB, World};

/// Fetches the metadata and then the content from a name alone.
fn magnet(content: Content) {
    let mut w = World::new(1, content);
    let seed = w.seed();
    let leech = w.magnet();
    w.connect(leech, seed, LinkSpec::of(20, 10_000_000));
    let found = |w: &World| {
        w.nodes[leech].events.iter().find_map(|(_, e)| match e {
            Event::Metadata(bytes) => Some(bytes.clone()),
            _ => None,
        })
    };
    assert!(w.run_until(Duration::from_secs(10), |w| found(w).is_some()));
    let info = Info::parse(found(&w).unwrap()).unwrap();
    assert_eq!(&info, &**w.content.info());
    w.nodes[leech].fresh_magnet = true;
    w.load(leech, Bitfield::new(info.layout.pieces()));
    assert!(w.run_until_finished(&[leech], Duration::from_secs(30)));
    assert_eq!(w.nodes[leech].learned.is_empty(), !info.v2);
}

#[test]
fn a_magnet_brings_all_v1() {
    magnet(Content::v1(8 * MIB, 256 * KIB));
}

#[test]
fn a_magnet_brings_all_v2() {
    magnet(Content::v2(8 * MIB, 256 * KIB));
}

#[test]
fn a_magnet_brings_all_hybrid() {
    magnet(Content::folder(&[3 * MIB, 5, 0, MIB + 1, 70 * KIB], Versions::Hybrid, 256 * KIB));
}

#[test]
fn many_small_files_v2() {
    let mut w = World::new(2, Content::folder(&[5, 16 * KIB, 0, 40 * KIB, MIB], Versions::V2, 32 * KIB));
    let (seed, leech) = (w.seed(), w.leech());
    w.connect(seed, leech, LinkSpec::lan());
    assert!(w.run_until_finished(&[leech], Duration::from_secs(10)));
    assert_eq!(w.nodes[leech].received, w.content.layout().content_length());
}

#[test]
fn padding_is_never_asked_for() {
    let mut w = World::new(3, Content::folder(&[5, 5, 5, 300 * KIB], Versions::Hybrid, 256 * KIB));
    let (seed, leech) = (w.seed(), w.leech());
    w.connect(leech, seed, LinkSpec::lan());
    assert!(w.run_until_finished(&[leech], Duration::from_secs(10)));
    let received = w.nodes[leech].received;
    assert!(received < 400 * KIB, "{received} of {}", u64::from(w.content.layout().pieces()) * 256 * KIB);
}

#[test]
fn in_order_when_asked() {
    let mut w = World::new(4, Content::v1(32 * MIB, 256 * KIB));
    let seeds = [w.seed(), w.seed()];
    let leech = w.leech_with(Config { sequential: true, ..Config::default() });
    seeds.iter().for_each(|&s| w.connect(leech, s, LinkSpec::of(20, 4_000_000)));
    assert!(w.run_until_finished(&[leech], Duration::from_secs(30)));
    let order = &w.nodes[leech].disk.order;
    let out_of_place =
        order.iter().enumerate().filter(|&(i, &p)| (i as i64 - i64::from(p)).abs() > 16).count();
    assert_eq!(out_of_place, 0, "{order:?}");
}

#[test]
fn rarest_first_otherwise() {
    let mut w = World::new(5, Content::v1(64 * MIB, MIB));
    let seed = w.seed();
    let mut some = Bitfield::full(64);
    some.remove(40);
    let others: Vec<_> = (0..3).map(|_| w.node(Config::default(), Some(some.clone()))).collect();
    let leech = w.leech();
    w.connect(leech, seed, LinkSpec::of(20, 4_000_000));
    others.iter().for_each(|&o| w.connect(leech, o, LinkSpec::of(20, 4_000_000)));
    w.run_for(Duration::from_secs(60));
    let place = w.nodes[leech].disk.order.iter().position(|&p| p == 40).unwrap();
    assert!(place < 16, "the rarest piece came at place {place}");
}

#[test]
fn only_chosen_files_come_and_more_may_be_chosen() {
    let mut w = World::new(6, Content::folder(&[4 * MIB, 4 * MIB, 4 * MIB], Versions::V1, 256 * KIB));
    let (seed, leech) = (w.seed(), w.leech());
    w.input(leech, Input::SetPriorities(vec![Priority::Skip, Priority::Normal, Priority::Skip]));
    w.connect(leech, seed, LinkSpec::lan());
    assert!(w.run_until_finished(&[leech], Duration::from_secs(10)));
    assert_eq!(w.nodes[leech].received, 4 * MIB);
    w.input(leech, Input::SetPriorities(vec![Priority::High, Priority::Normal, Priority::Skip]));
    assert!(!w.nodes[leech].torrent.is_finished());
    w.connect(leech, seed, LinkSpec::lan());
    assert!(w.run_until_finished(&[leech], Duration::from_secs(10)));
    assert_eq!(w.nodes[leech].received, 8 * MIB);
}

#[test]
fn dear_files_come_first() {
    let mut w = World::new(7, Content::folder(&[8 * MIB, 8 * MIB, 8 * MIB], Versions::V1, 256 * KIB));
    let (seed, leech) = (w.seed(), w.leech());
    w.input(leech, Input::SetPriorities(vec![Priority::Low, Priority::Normal, Priority::High]));
    w.connect(leech, seed, LinkSpec::of(10, 4_000_000));
    assert!(w.run_until_finished(&[leech], Duration::from_secs(30)));
    let order = &w.nodes[leech].disk.order;
    assert!(order[..30].iter().all(|&p| p >= 64), "{order:?}");
    assert!(order[66..].iter().all(|&p| p < 32), "{order:?}");
}

#[test]
fn a_paused_torrent_asks_nothing_and_serves_on() {
    let mut w = World::new(8, Content::v1(16 * MIB, MIB));
    let (seed, leech) = (w.seed(), w.leech());
    w.connect(leech, seed, LinkSpec::of(10, 2_000_000));
    w.run_for(Duration::from_secs(2));
    w.input(leech, Input::PauseDownload(true));
    w.run_for(Duration::from_secs(2));
    let before = w.nodes[leech].received;
    w.run_for(Duration::from_secs(10));
    assert_eq!(w.nodes[leech].received, before);
    let other = w.leech();
    w.connect(other, leech, LinkSpec::lan());
    w.run_for(Duration::from_secs(10));
    assert!(w.nodes[other].received > 0);
    w.input(leech, Input::PauseDownload(false));
    assert!(w.run_until_finished(&[leech], Duration::from_secs(30)));
}

fn pex_said(w: &World) -> bool {
    w.said.iter().any(|(_, message)| match message {
        Message::Extended { id, payload } => match extension::decode(*id, payload) {
            Ok(ExtensionMessage::Handshake(told)) => told.ids.ut_pex.is_some(),
            Ok(ExtensionMessage::Pex(_)) => true,
            _ => false,
        },
        _ => false,
    })
}

fn with_pex(content: Content) -> (World, bool) {
    let mut w = World::new(9, content);
    w.record = true;
    let (seed, a, b) = (w.seed(), w.leech(), w.leech());
    w.nodes[seed].up_rate = 100_000;
    w.connect(a, seed, LinkSpec::lan());
    w.connect(b, seed, LinkSpec::lan());
    w.run_for(Duration::from_secs(90));
    let found = w.nodes.iter().any(|n| n.has_event(|e| matches!(e, Event::PeersFound(_))));
    (w, found)
}

#[test]
fn peers_tell_of_peers_but_not_in_private() {
    let (w, found) = with_pex(Content::v1(64 * MIB, MIB));
    assert!(found && pex_said(&w));
    let (w, found) = with_pex(Content::private(64 * MIB, MIB));
    assert!(!found && !pex_said(&w));
}

#[test]
fn super_seeding_gives_little_more_than_one_copy() {
    let bytes = 32 * MIB;
    let mut w = World::new(10, Content::v1(bytes, 256 * KIB));
    let all = Bitfield::full(w.content.layout().pieces());
    let seed = w.node(Config { super_seeding: true, ..Config::default() }, Some(all));
    w.nodes[seed].up_rate = 2_000_000;
    let leeches: Vec<_> = (0..6).map(|_| w.leech()).collect();
    w.connect_all(LinkSpec::of(20, 4_000_000));
    assert!(w.run_until_finished(&leeches, Duration::from_secs(300)));
    let copies = w.nodes[seed].served as f64 / bytes as f64;
    assert!(copies < 1.25, "{copies:.2} copies");
}
