//! Trackers asked how many share a torrent, without announcing it.

use std::net::{IpAddr, SocketAddr};

use starling_metainfo::InfoHashes;
use starling_sansio::Rng;
use starling_session::{Input, ScrapeId, Scraped};
use starling_tracker::store::PeerStore;
use starling_tracker::udp::{self, ConnectionIds};
use starling_tracker::{AnnounceRequest, ScrapeEntry};

use crate::world::{Content, MIB, NodeId, World, secs, with_trackers};

fn scrape(world: &mut World, node: NodeId, id: u64, hashes: InfoHashes, trackers: &[&str]) {
    let trackers = trackers.iter().map(|url| (*url).to_owned()).collect();
    let names = hashes.wire_names().collect();
    world.input(node, Input::Scrape { id: ScrapeId(id), names, trackers });
}

/// What the trackers said, once they all did.
fn scraped(world: &mut World, node: NodeId) -> Vec<Scraped> {
    assert!(world.run_until(secs(20), |w| !w.nodes[node].scraped.is_empty()), "no answer");
    world.nodes[node].scraped.remove(0).1
}

#[test]
fn a_scrape_counts_a_swarm_and_is_no_announce() {
    let mut world = World::new(1);
    world.tracker("t");
    let content = Content::hybrid("a", 4 * MIB);
    let (a, b, stranger) = (world.node(), world.node(), world.node());
    world.share(a, with_trackers(content.file(), &["t"]));
    world.run_for(secs(1));
    let key = world.get(b, with_trackers(content.magnet(), &["t"]));
    assert!(world.run_until(secs(20), |w| w.has_all(b, key)));
    world.run_for(secs(1));
    scrape(&mut world, stranger, 1, content.hashes(), &["http://t/announce"]);
    let counts = ScrapeEntry { complete: 2, incomplete: 0, downloaded: 1 };
    let tracker = "http://t/announce".to_owned();
    assert_eq!(scraped(&mut world, stranger), [Scraped { tracker, counts: Ok(counts) }]);
    let asked: Vec<&str> = world.trackers["t"]
        .announces
        .iter()
        .filter(|(n, _)| *n == stranger)
        .map(|(_, q)| q.as_str())
        .collect();
    assert!(asked.len() == 1 && asked[0].starts_with("/scrape?info_hash="), "{asked:?}");
}

/// A tracker that fails holds up no other, and each tells in a sentence what is wrong.
#[test]
fn each_tracker_answers_for_itself() {
    let mut world = World::new(2);
    world.tracker("t");
    world.dead_tracker("dead");
    let content = Content::v1("a", MIB);
    let (a, b) = (world.node(), world.node());
    world.share(a, with_trackers(content.file(), &["t"]));
    world.run_for(secs(1));
    let trackers =
        ["http://dead/announce", "wss://t/", "http://t/elsewhere", "udp://nowhere:1/", "http://t/announce"];
    scrape(&mut world, b, 1, content.hashes(), &trackers);
    let said = scraped(&mut world, b);
    let why = |n: usize| said[n].counts.clone().unwrap_err();
    assert_eq!(said.len(), 5);
    assert_eq!(why(0), "the tracker did not answer in time");
    assert!(why(1).contains("not supported"), "{}", why(1));
    assert!(why(2).contains("no \"announce\""), "{}", why(2));
    assert!(why(3).contains("no such address"), "{}", why(3));
    assert_eq!(said[4].counts.as_ref().map(|c| c.complete), Ok(1));
    scrape(&mut world, b, 2, Content::v1("other", MIB).hashes(), &["http://t/announce"]);
    assert_eq!(scraped(&mut world, b)[0].counts, Err("the tracker does not know the torrent".to_owned()));
}

#[test]
fn a_udp_tracker_is_scraped_under_both_names_of_a_hybrid() {
    let mut world = World::new(3);
    let hashes = Content::hybrid("a", MIB).hashes();
    let node = world.node();
    let from = world.nodes[node].addr;
    let mut store = PeerStore::new(secs(1800), Rng::from_seed(1));
    for (n, name) in hashes.wire_names().enumerate() {
        // The v2 name has one seed more.
        for peer in 0..=n as u8 {
            let request = AnnounceRequest::new(name, [peer; 20], 1000 + u16::from(peer));
            store.announce(world.now, IpAddr::from([10, 9, 9, peer]), &request);
        }
    }
    let tracker: SocketAddr = "10.0.0.99:80".parse().unwrap();
    let ids = ConnectionIds::new([7; 32]);
    scrape(&mut world, node, 1, hashes, &["udp://10.0.0.99:80/announce"]);
    for _ in 0..2 {
        let (to, datagram) = world.nodes[node].datagrams.remove(0);
        assert_eq!(to, tracker);
        let answer = udp::serve(world.now, from, &datagram, &ids, &mut store).unwrap();
        world.input(node, Input::Datagram { from: tracker, bytes: answer.into() });
    }
    assert_eq!(scraped(&mut world, node)[0].counts.as_ref().map(|c| c.complete), Ok(2));
    assert!(world.nodes[node].datagrams.is_empty());
}

#[test]
fn scrapes_are_bounded() {
    let mut world = World::new(4);
    world.dead_tracker("dead");
    let hashes = Content::v1("a", MIB).hashes();
    let node = world.node_with(|config| config.limits.scrapes = 2);
    for id in 1..=3 {
        scrape(&mut world, node, id, hashes, &["http://dead/announce"]);
    }
    let (refused, none) = world.nodes[node].scraped.remove(0);
    assert!((refused, none.len()) == (ScrapeId(3), 0));
    world.run_for(secs(20));
    assert_eq!(world.nodes[node].scraped.len(), 2);
}
