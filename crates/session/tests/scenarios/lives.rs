//! Torrents' lives: several at once, disks in trouble, ends.

use std::time::Duration;

use starling_session::{AddSpec, Event, Input, Phase, TorrentKey};

use crate::world::{Content, MIB, NodeId, World, secs, with_trackers};

#[test]
fn two_torrents_in_one_session() {
    let mut world = World::new(1);
    world.lan = true;
    let (one, two) = (Content::v1("a", 8 * MIB), Content::hybrid("b", 8 * MIB));
    let (a, b) = (world.node(), world.node());
    world.share(a, one.file());
    let kb = world.share(b, two.file());
    let (ka, _) = (world.get(a, two.magnet()), kb);
    let other = world.get(b, one.magnet());
    assert!(world.run_until(secs(20), |w| w.has_all(a, ka) && w.has_all(b, other)));
}

/// Two seeds part, having no use for each other. As soon as a piece rots under one of
/// them, it has.
#[test]
fn a_seed_that_loses_a_piece_asks_the_others_at_once() {
    let mut world = World::new(3);
    let content = Content::v1("a", 8 * MIB);
    let (a, b) = (world.node(), world.node());
    let ka = world.share(a, content.file());
    let kb = world.get(b, content.file());
    world.run_for(secs(1));
    world.introduce(b, kb, a);
    assert!(world.run_until(secs(20), |w| w.has_all(b, kb)));
    world.run_for(secs(5));
    assert_eq!((world.nodes[a].peers(ka), world.nodes[b].peers(kb)), (0, 0));
    world.nodes[b].disks.get_mut(&kb).unwrap().have.remove(3);
    let lost = Input::Torrent { key: kb, input: starling_swarm::Input::PieceLost { piece: 3 } };
    world.input(b, lost);
    assert!(world.run_until(secs(5), |w| w.has_all(b, kb)));
}

#[test]
fn the_same_torrent_twice_is_refused_and_can_be_removed() {
    let mut world = World::new(2);
    let content = Content::hybrid("a", MIB);
    let a = world.node();
    let first = world.get(a, content.file());
    let second = world.get(a, content.magnet_v2());
    assert!(world.nodes[a].failed().is_some());
    assert_eq!(world.nodes[a].session.stats(second).map(|s| s.phase), Some(Phase::Failed));
    world.input(a, Input::Remove { key: second });
    assert_eq!(removed(&world, a), [second]);
    world.input(a, Input::Remove { key: first });
    world.run_for(secs(1));
    // Its names are free again.
    let third = world.get(a, content.file());
    world.run_for(secs(1));
    assert_eq!(world.nodes[a].session.stats(third).map(|s| s.phase), Some(Phase::Active));
}

fn removed(world: &World, node: NodeId) -> Vec<TorrentKey> {
    let events = world.nodes[node].events.iter();
    events.filter(|(_, _, event)| matches!(event, Event::Removed)).map(|(_, key, _)| *key).collect()
}

#[test]
fn a_full_disk_pauses_and_room_resumes() {
    let mut world = World::new(3);
    let content = Content::v1("a", 256 * MIB);
    let (a, b) = (world.node(), world.node());
    world.share(a, content.file());
    world.run_for(secs(1));
    let peers = vec![world.nodes[a].addr];
    let key = world.get(b, AddSpec { peers, ..content.file() });
    assert!(world.run_until(secs(10), |w| w.nodes[b].received > 4 * MIB));
    world.nodes[b].disk_full = true;
    world.run_for(secs(5));
    let stats = world.nodes[b].session.stats(key).unwrap();
    assert!(stats.paused && stats.swarm.in_flight == 0);
    let before = world.nodes[b].received;
    assert!(before < 64 * MIB, "it asked on for {before} bytes that have no place");
    world.run_for(secs(60));
    assert_eq!(world.nodes[b].received, before);
    let paused = world.nodes[b].events.iter().filter(|(_, _, e)| matches!(e, Event::Paused(_))).count();
    assert_eq!(paused, 1, "said once");
    world.make_room(b);
    assert!(world.run_until(secs(60), |w| w.has_all(b, key)));
    assert!(world.nodes[b].has_event(|e| matches!(e, Event::Resumed)));
}

#[test]
fn what_the_user_paused_stays_paused() {
    let mut world = World::new(4);
    world.lan = true;
    let content = Content::v1("a", 4 * MIB);
    let (a, b) = (world.node(), world.node());
    world.share(a, content.file());
    let key = world.get(b, content.magnet());
    world.input(b, Input::SetPaused { key, paused: true });
    world.run_for(secs(20));
    assert_eq!(world.nodes[b].received, 0);
    assert!(world.nodes[b].has_event(|e| matches!(e, Event::Opened { .. })), "its metadata came");
    world.input(b, Input::SetPaused { key, paused: false });
    assert!(world.run_until(secs(20), |w| w.has_all(b, key)));
}

#[test]
fn a_disk_that_cannot_be_opened_fails_the_torrent_alone() {
    let mut world = World::new(5);
    world.lan = true;
    world.tracker("t");
    let content = Content::v1("a", MIB);
    let (a, b) = (world.node(), world.node());
    world.share(a, content.file());
    world.nodes[b].disk_broken = true;
    let key = world.get(b, with_trackers(content.magnet(), &["t"]));
    world.run_for(secs(30));
    assert_eq!(world.nodes[b].failed(), Some("the disk is broken"));
    assert_eq!(world.nodes[b].conns(key), 0);
    assert_eq!(world.nodes[b].session.stats(key).map(|s| s.phase), Some(Phase::Failed));
    world.input(b, Input::Shutdown);
    assert!(world.run_until(secs(1), |w| w.nodes[b].stopped.len() == 1));
}

#[test]
fn removed_while_its_disk_opens() {
    for fails in [false, true] {
        let mut world = World::new(6);
        let a = world.node();
        world.nodes[a].disk_broken = fails;
        world.nodes[a].slow_close = Some(secs(2));
        let peers = vec!["10.0.0.9:1".parse().unwrap()];
        let content = Content::v1("a", MIB);
        let key = world.get(a, AddSpec { peers, ..content.file() });
        world.input(a, Input::Remove { key });
        world.run_for(secs(1));
        assert_eq!(removed(&world, a), [key]);
        assert!(world.nodes[a].dialled.is_empty());
        world.input(a, Input::Shutdown);
        assert_eq!(world.nodes[a].stopped.len(), 1);
    }
}

#[test]
fn trackers_are_told_that_we_stop() {
    let mut world = World::new(7);
    world.tracker("t");
    let a = world.node();
    world.share(a, with_trackers(Content::hybrid("a", MIB).file(), &["t"]));
    world.run_for(secs(5));
    world.input(a, Input::Shutdown);
    assert!(world.run_until(secs(1), |w| w.nodes[a].stopped.len() == 1));
    let stops = world.trackers["t"].announces.iter().filter(|(_, q)| q.contains("event=stopped")).count();
    assert_eq!(stops, 2, "one for each name");
}

#[test]
fn a_shutdown_ends_though_trackers_are_silent_and_connections_linger() {
    let mut world = World::new(8);
    world.dead_tracker("t");
    world.lan = true;
    let content = Content::v1("a", 64 * MIB);
    let (a, b) = (world.node(), world.node());
    world.share(a, with_trackers(content.file(), &["t"]));
    world.get(b, with_trackers(content.magnet(), &["t"]));
    assert!(world.run_until(secs(20), |w| w.nodes[b].received > MIB));
    world.nodes[b].slow_close = Some(secs(60));
    let asked = world.now;
    for node in [a, b] {
        world.input(node, Input::Shutdown);
        world.input(node, Input::Shutdown);
    }
    world.run_for(secs(100));
    for node in [a, b] {
        assert_eq!(world.nodes[node].stopped.len(), 1);
        assert!(world.nodes[node].stopped[0].since(asked) <= Duration::from_secs(6));
    }
}

#[test]
fn equal_seeds_tell_equal_stories() {
    let story = |seed| {
        let mut world = World::new(seed);
        world.lan = true;
        world.tracker("t");
        let content = Content::hybrid("a", 8 * MIB);
        for _ in 0..3 {
            let node = world.node();
            world.get(node, with_trackers(content.magnet(), &["t"]));
        }
        let seed = world.node();
        world.share(seed, with_trackers(content.file(), &["t"]));
        world.run_for(secs(60));
        assert!((0..3).all(|n| world.has_all(n, TorrentKey(1))));
        world.digest
    };
    assert_eq!(story(1), story(1));
    assert_ne!(story(1), story(2));
}
