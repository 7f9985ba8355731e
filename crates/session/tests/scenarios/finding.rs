//! The ways by which peers find each other, each alone.

use starling_metainfo::InfoHashes;
use starling_session::{AddSpec, Event, Input, Source};

use crate::world::{Content, MIB, World, secs, with_trackers};

#[test]
fn two_on_a_lan_meet_by_themselves() {
    let mut world = World::new(1);
    world.lan = true;
    let content = Content::v1("a", 4 * MIB);
    let (a, b) = (world.node(), world.node());
    world.share(a, content.file());
    let key = world.get(b, content.magnet());
    assert!(world.run_until(secs(10), |w| w.has_all(b, key)));
}

#[test]
fn who_comes_first_to_the_lan_hears_of_the_second() {
    let mut world = World::new(2);
    world.lan = true;
    let content = Content::hybrid("a", MIB);
    let (a, b) = (world.node(), world.node());
    let key = world.get(b, content.magnet());
    world.run_for(secs(600));
    world.share(a, content.file());
    assert!(world.run_until(secs(10), |w| w.has_all(b, key)));
}

#[test]
fn a_tracker_alone_is_enough() {
    let mut world = World::new(3);
    world.tracker("t");
    let content = Content::v1("a", 4 * MIB);
    let (a, b) = (world.node(), world.node());
    world.share(a, with_trackers(content.file(), &["t"]));
    world.run_for(secs(5));
    let key = world.get(b, with_trackers(content.magnet(), &["t"]));
    assert!(world.run_until(secs(10), |w| w.has_all(b, key)));
    world.run_for(secs(1));
    let events = |name: &str| {
        world.trackers["t"].announces.iter().filter(|(n, q)| *n == b && q.contains(name)).count()
    };
    assert_eq!((events("event=started"), events("event=completed")), (1, 1));
}

/// One that tries uTP and does not come by TCP is found through the tracker sooner than at its
/// interval of half an hour. How often others knock changes nothing.
#[test]
fn who_knocks_in_vain_is_looked_for() {
    let mut world = World::new(16);
    world.tracker("t");
    let content = Content::v1("a", MIB);
    let a = world.node();
    world.share(a, with_trackers(content.file(), &["t"]));
    world.run_for(secs(500));
    let announces = |w: &World| w.trackers["t"].announces.len();
    assert_eq!(announces(&world), 1);
    for second in 1..600 {
        world.input(a, Input::Knocked);
        world.run_for(secs(1));
        let expected = if second < 310 { 2..=3 } else { 3..=3 };
        assert!(
            expected.contains(&announces(&world)) && (second > 290 || announces(&world) == 2),
            "{second}"
        );
    }
    // With many torrents nobody knows which was meant.
    for number in 0..17 {
        let content = Content::v1(&format!("another {number}"), MIB);
        world.share(a, with_trackers(content.file(), &["t"]));
    }
    world.run_for(secs(500));
    let before = announces(&world);
    world.input(a, Input::Knocked);
    world.run_for(secs(100));
    assert_eq!(announces(&world), before);
}

/// The first block is asked for within 0.1 s of the tracker's answer, in virtual time: a road of
/// 10 ms there and back, and storage that takes 20 ms to open. Nothing on the way waits for
/// a timer; what is left are the round trips that the protocol needs.
#[test]
fn the_first_block_is_asked_for_soon_after_the_trackers_answer() {
    for (by_link, bound) in [(false, 35), (true, 100)] {
        for content in [Content::v1("a", 4 * MIB), Content::hybrid("a", 4 * MIB)] {
            let mut world = World::new(15);
            world.tracker("t");
            let (a, b) = (world.node(), world.node());
            world.share(a, with_trackers(content.file(), &["t"]));
            world.run_for(secs(5));
            let spec = if by_link { content.magnet() } else { content.file() };
            world.get(b, with_trackers(spec, &["t"]));
            let started = |w: &World| {
                w.trackers["t"].announces.iter().any(|(node, q)| *node == b && q.contains("event=started"))
            };
            assert!(world.run_until(secs(5), started));
            let answered = world.trackers["t"].answered;
            assert!(world.run_until(secs(5), |w| w.nodes[b].first_request.is_some()));
            let took = world.nodes[b].first_request.unwrap().since(answered).as_millis();
            eprintln!("by link: {by_link}: {took} ms after the tracker's answer");
            assert!(took <= bound, "by link: {by_link}: {took} ms");
        }
    }
}

#[test]
fn the_link_may_name_a_peer_by_address_or_host() {
    for by_host in [false, true] {
        let mut world = World::new(4);
        let content = Content::v1("a", 4 * MIB);
        let (a, b) = (world.node(), world.node());
        world.share(a, content.file());
        let addr = world.nodes[a].addr;
        world.hosts.insert("seed.example".to_owned(), vec![addr]);
        let spec = if by_host {
            AddSpec { peer_hosts: vec![("seed.example".to_owned(), addr.port())], ..content.magnet() }
        } else {
            AddSpec { peers: vec![addr], ..content.magnet() }
        };
        let key = world.get(b, spec);
        assert!(world.run_until(secs(10), |w| w.has_all(b, key)), "by host: {by_host}");
        assert!(world.nodes[b].has_event(|e| matches!(e, Event::Metadata(_))));
    }
}

#[test]
fn a_host_that_does_not_resolve_yet_is_asked_for_again() {
    let mut world = World::new(13);
    let content = Content::v1("a", MIB);
    let (a, b) = (world.node(), world.node());
    world.share(a, content.file());
    let addr = world.nodes[a].addr;
    let key =
        world.get(b, AddSpec { peer_hosts: vec![("late".to_owned(), addr.port())], ..content.magnet() });
    world.run_for(secs(100));
    world.hosts.insert("late".to_owned(), vec![addr]);
    assert!(world.run_until(secs(40), |w| w.has_all(b, key)));
}

#[test]
fn one_peer_tells_of_another() {
    let mut world = World::new(12);
    let content = Content::v1("a", 64 * MIB);
    let (a, b, c) = (world.node(), world.node(), world.node());
    world.get(a, content.file());
    let hub = world.get(b, content.file());
    world.run_for(secs(1));
    world.introduce(b, hub, a);
    world.run_for(secs(1));
    let peers = vec![world.nodes[b].addr];
    let key = world.get(c, AddSpec { peers, ..content.file() });
    assert!(world.run_until(secs(70), |w| w.nodes[c].peers(key) == 2));
}

#[test]
fn a_hybrid_is_found_by_its_v2_name_alone() {
    let mut world = World::new(5);
    world.lan = true;
    let content = Content::hybrid("a", 4 * MIB);
    let (a, b, c) = (world.node(), world.node(), world.node());
    world.share(a, content.file());
    let by_v2 = world.get(b, content.magnet_v2());
    let by_v1 = world.get(c, content.magnet());
    assert!(world.run_until(secs(20), |w| w.has_all(b, by_v2) && w.has_all(c, by_v1)));
}

/// Who has a hybrid torrent is called by the name that a link left out, which the caller would refuse
/// from it: it must dial by the name it heard.
#[test]
fn who_asks_the_lan_by_the_v2_name_is_dialled_by_it() {
    let mut took = Vec::new();
    for by_v2 in [false, true] {
        let mut world = World::new(15);
        world.lan = true;
        let content = Content::hybrid("a", MIB);
        let (a, b) = (world.node(), world.node());
        world.share(a, content.file());
        world.run_for(secs(10));
        let key = world.get(b, if by_v2 { content.magnet_v2() } else { content.magnet() });
        let began = world.now;
        assert!(world.run_until(secs(30), |w| w.has_all(b, key)));
        took.push(world.now.since(began));
    }
    assert!(took[1] < took[0] * 2, "by the v1 name, and the v2 name: {took:?}");
}

/// A link may know one name of two; once the metadata tells the other, it is announced too.
#[test]
fn a_link_that_turns_out_hybrid_is_announced_by_both_its_names() {
    for by_v2 in [false, true] {
        for content in [Content::hybrid("a", MIB), Content::private_hybrid("a", MIB)] {
            let mut world = World::new(14);
            world.lan = true;
            world.tracker("t");
            let (a, b) = (world.node(), world.node());
            world.share(a, with_trackers(content.file(), &["t"]));
            world.run_for(secs(1));
            let link = if by_v2 { content.magnet_v2() } else { content.magnet() };
            let key = world.get(b, with_trackers(link, &["t"]));
            assert!(world.run_until(secs(20), |w| w.has_all(b, key)));
            let before = world.nodes[b].lan_sent;
            world.run_for(secs(400));
            let his = world.trackers["t"].announces.iter().filter(|(node, _)| *node == b);
            let started: Vec<&str> = his
                .filter(|(_, q)| q.contains("event=started"))
                .filter_map(|(_, q)| q.split('&').next())
                .collect();
            assert!(started.len() == 2 && started[0] != started[1], "{started:?}");
            // The private one left the LAN instead; the other said both names.
            let said = String::from_utf8(world.nodes[b].lan_said.clone()).unwrap().to_lowercase();
            let names = content.hashes().wire_names().filter(|name| said.contains(&name.to_string())).count();
            let is_private = content.torrent.info.private;
            assert_eq!((names == 2, world.nodes[b].lan_sent > before), (!is_private, !is_private));
        }
    }
}

#[test]
fn two_links_to_one_hybrid_are_one_torrent() {
    let mut world = World::new(6);
    world.lan = true;
    let content = Content::hybrid("a", MIB);
    let (a, b) = (world.node(), world.node());
    world.share(a, content.file());
    let first = world.get(b, content.magnet());
    let second = world.get(b, content.magnet_v2());
    assert!(world.run_until(secs(20), |w| w.has_all(b, first) || w.has_all(b, second)));
    world.run_for(secs(5));
    assert!(world.nodes[b].failed().is_some_and(|why| why.contains("already here")));
    assert_eq!(world.nodes[b].disks.len(), 1, "one storage for the same files");
}

#[test]
fn a_private_torrent_stays_off_the_lan_and_out_of_gossip() {
    let mut world = World::new(7);
    world.lan = true;
    world.tracker("t");
    let content = Content::private("a", MIB);
    let (a, b, c) = (world.node(), world.node(), world.node());
    let seed = world.share(a, with_trackers(content.file(), &["t"]));
    world.run_for(secs(2));
    let key = world.get(b, with_trackers(content.file(), &["t"]));
    let other = world.get(c, with_trackers(content.file(), &["t"]));
    assert!(world.run_until(secs(20), |w| w.has_all(b, key) && w.has_all(c, other)));
    world.run_for(secs(200));
    assert_eq!([a, b, c].map(|n| world.nodes[n].lan_sent), [0; 3]);
    let known = world.nodes[a].known(seed);
    let addrs = vec!["10.9.9.9:9".parse().unwrap()];
    for source in [Source::Pex, Source::Lan] {
        let addrs = addrs.clone();
        world.input(a, starling_session::Input::PeersFound { key: seed, addrs, source });
    }
    assert_eq!(world.nodes[a].known(seed), known);
}

#[test]
fn a_link_that_turns_out_private_leaves_the_lan() {
    let mut world = World::new(8);
    world.lan = true;
    let content = Content::private("a", MIB);
    let (a, b) = (world.node(), world.node());
    let seed = world.share(a, content.file());
    let key = world.get(b, content.magnet());
    world.introduce(a, seed, b);
    assert!(world.run_until(secs(20), |w| w.has_all(b, key)));
    let said = world.nodes[b].lan_sent;
    world.run_for(secs(1000));
    assert_eq!(world.nodes[b].lan_sent, said);
}

#[test]
fn a_seed_that_comes_back_at_another_port_is_found_again() {
    for by_tracker in [false, true] {
        let mut world = World::new(9);
        world.lan = !by_tracker;
        world.tracker("t");
        let content = Content::v1("a", 64 * MIB);
        let spec = || with_trackers(content.file(), if by_tracker { &["t"] } else { &[] });
        let a = world.node();
        let b = world.node();
        world.share(a, spec());
        world.run_for(secs(1));
        let key = world.get(b, spec());
        assert!(world.run_until(secs(10), |w| w.nodes[b].received > 8 * MIB));
        world.kill(a);
        world.run_for(secs(30));
        let mut addr = world.nodes[a].addr;
        addr.set_port(7777);
        let again = world.node_at(addr, |_| {});
        world.share(again, spec());
        assert!(world.run_until(secs(30), |w| w.has_all(b, key)), "by tracker: {by_tracker}");
    }
}

#[test]
fn the_next_tier_serves_when_the_first_is_dead() {
    let mut world = World::new(10);
    world.dead_tracker("dead");
    world.tracker("t");
    let content = Content::v1("a", MIB);
    let (a, b) = (world.node(), world.node());
    world.share(a, with_trackers(content.file(), &["t"]));
    world.run_for(secs(1));
    let tier = vec![vec!["http://dead/announce".to_owned(), "http://t/announce".to_owned()]];
    let key = world.get(b, AddSpec { trackers: tier, ..content.magnet() });
    assert!(world.run_until(secs(30), |w| w.has_all(b, key)));
}

#[test]
fn metadata_and_name_that_disagree_are_refused() {
    let mut world = World::new(11);
    let (one, two) = (Content::v1("a", MIB), Content::v1("b", MIB));
    let a = world.node();
    let hashes: InfoHashes = two.hashes();
    world.get(a, AddSpec { hashes, ..one.file() });
    assert!(world.nodes[a].failed().is_some());
}
