//! Connections: two to one peer, to ourselves, with liars, and their limits.

use starling_sansio::{Machine, Time};
use starling_session::{AddSpec, Config, Event, Input, Output, Session, Source, TorrentKey};
use starling_swarm::{Handshake, Reserved};

use crate::world::{Content, MIB, World, secs};

#[test]
fn two_who_dial_each_other_keep_one_connection() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let content = Content::v1("a", 64 * MIB);
        let (a, b) = (world.node(), world.node());
        let (ka, kb) = (world.get(a, content.file()), world.get(b, content.file()));
        world.run_for(secs(1));
        world.introduce(a, ka, b);
        world.introduce(b, kb, a);
        world.run_for(secs(1));
        let conns = |w: &World| (w.nodes[a].conns(ka), w.nodes[b].conns(kb), w.nodes[a].peers(ka));
        assert_eq!(conns(&world), (1, 1, 1), "seed {seed}");
        // And neither dials again while the other is connected.
        world.run_for(secs(300));
        assert_eq!(world.nodes[a].dialled.len() + world.nodes[b].dialled.len(), 2, "seed {seed}");
        assert_eq!(conns(&world), (1, 1, 1), "seed {seed}");
    }
}

/// What a session answers to a handshake for `content` with these extension bits.
fn answer(content: &Content, reserved: Reserved) -> Handshake {
    let mut session = Session::new(Config::default(), 1);
    let (key, now) = (TorrentKey(1), Time::from_secs(1));
    let mut out = Vec::new();
    session.handle(now, Input::Add { key, spec: Box::new(content.file()) }, &mut out);
    let have = starling_metainfo::Bitfield::new(content.torrent.info.layout.pieces());
    session.handle(now, Input::Opened { key, have, piece_layers: Default::default() }, &mut out);
    let conn = session.new_conn();
    session.handle(now, Input::Accepted { conn, addr: "10.0.0.9:40000".parse().unwrap() }, &mut out);
    let theirs = Handshake { reserved, info_hash: content.hashes().wire(), peer_id: [7; 20] };
    session.handle(now, Input::Handshake { conn, theirs }, &mut out);
    let reply = out.into_iter().find_map(|output| match output {
        Output::Reply { handshake, .. } => Some(handshake),
        _ => None,
    });
    reply.expect("an answer")
}

#[test]
fn only_a_hybrid_offers_v2_and_is_upgraded_to_it() {
    let (v1, hybrid) = (Content::v1("a", MIB), Content::hybrid("a", MIB));
    let v2_name = hybrid.hashes().v2().unwrap().truncated();
    // Other clients close a connection that offers v2 for a torrent without it.
    assert!(!answer(&v1, Reserved::OURS).reserved.v2());
    assert_eq!(answer(&v1, Reserved::OURS).info_hash, v1.hashes().wire());
    let upgraded = answer(&hybrid, Reserved::OURS);
    assert!(upgraded.reserved.v2() && upgraded.info_hash == v2_name);
    assert_eq!(answer(&hybrid, Reserved::default()).info_hash, hybrid.hashes().wire());
}

#[test]
fn a_peer_known_by_two_addresses_is_connected_once() {
    let mut world = World::new(1);
    let content = Content::v1("a", 64 * MIB);
    let (a, b) = (world.node(), world.node());
    let (ka, kb) = (world.get(a, content.file()), world.get(b, content.file()));
    world.run_for(secs(1));
    let mut other = world.nodes[b].addr;
    other.set_port(7000);
    world.alias(other, b);
    let addrs = vec![world.nodes[b].addr, other];
    world.input(a, Input::PeersFound { key: ka, addrs, source: Source::User });
    world.run_for(secs(5));
    assert_eq!((world.nodes[a].conns(ka), world.nodes[b].conns(kb)), (1, 1));
}

#[test]
fn we_do_not_dial_ourselves_twice() {
    let mut world = World::new(2);
    let content = Content::v1("a", MIB);
    let a = world.node();
    let key = world.get(a, content.file());
    world.run_for(secs(1));
    world.introduce(a, key, a);
    world.run_for(secs(4000));
    assert_eq!(world.nodes[a].dialled.len(), 1);
    assert_eq!(world.nodes[a].conns(key), 0);
}

#[test]
fn a_liar_is_shunned_by_all_torrents() {
    let mut world = World::new(3);
    let (one, two) = (Content::v1("a", 8 * MIB), Content::v1("b", 64 * MIB));
    let (good, liar, b) = (world.node(), world.node(), world.node());
    world.nodes[liar].lies = true;
    world.share(good, one.file());
    world.share(liar, one.file());
    let other = world.share(liar, two.file());
    let peers = vec![world.nodes[good].addr, world.nodes[liar].addr];
    // The second torrent is paused, so that its connection has no part in the lie.
    let kept = world.get(b, AddSpec { peers: vec![world.nodes[liar].addr], ..two.file() });
    world.input(b, Input::SetPaused { key: kept, paused: true });
    world.run_for(secs(2));
    assert_eq!(world.nodes[b].conns(kept), 1);
    let key = world.get(b, AddSpec { peers, ..one.file() });
    assert!(world.run_until(secs(60), |w| w.has_all(b, key)));
    world.run_for(secs(1));
    assert_eq!(world.nodes[b].banned(), [world.nodes[liar].addr.ip()]);
    assert_eq!(world.nodes[b].conns(kept), 0, "its other connection went too");
    let to_liar = |w: &World| w.nodes[b].dialled.iter().filter(|(_, to)| *to == w.nodes[liar].addr).count();
    let dialled = to_liar(&world);
    world.introduce(b, kept, liar);
    world.introduce(liar, other, b);
    world.run_for(secs(100));
    assert_eq!(to_liar(&world), dialled, "it is not dialled");
    assert_eq!(world.nodes[b].conns(kept), 0, "and not let in");
    assert!(world.nodes[b].closed_because("the address is banned") > 0);
}

#[test]
fn limits_of_connections_hold() {
    let mut world = World::new(4);
    let content = Content::v1("a", 64 * MIB);
    let hub = world.node_with(|config| {
        config.limits.connections = 6;
        config.limits.connections_per_torrent = 4;
        config.limits.half_open = 2;
    });
    let key = world.get(hub, content.file());
    for n in 0..10 {
        let node = world.node();
        let own = world.get(node, content.file());
        world.run_for(secs(1));
        if n % 2 == 0 { world.introduce(hub, key, node) } else { world.introduce(node, own, hub) }
    }
    // One more while another makes room for it.
    let fits = |w: &World| w.nodes[hub].conns(key) <= 5 && w.nodes[hub].open.len() <= 7;
    assert!(!world.run_until(secs(100), |w| !fits(w)));
    assert_eq!(world.nodes[hub].conns(key), 4);
}

#[test]
fn one_address_gets_so_many_connections() {
    let mut world = World::new(5);
    let a = world.node_with(|config| config.limits.connections_per_ip = 3);
    let from = "10.7.7.7:1".parse().unwrap();
    for _ in 0..5 {
        let conn = world.nodes[a].session.new_conn();
        world.nodes[a].open.insert(conn);
        world.input(a, Input::Accepted { conn, addr: from });
    }
    assert_eq!(world.nodes[a].closed_because("too many connections from one address"), 2);
}

#[test]
fn one_address_gets_so_many_connections_for_one_torrent() {
    let mut world = World::new(5);
    let (one, two) = (Content::v1("a", MIB), Content::v1("b", MIB));
    let a = world.node_with(|config| config.limits.connections_per_ip_and_torrent = 3);
    let keys = [world.get(a, one.file()), world.get(a, two.file())];
    world.run_for(secs(1));
    for (n, content) in [&one, &one, &one, &one, &two].into_iter().enumerate() {
        let conn = world.nodes[a].session.new_conn();
        world.nodes[a].open.insert(conn);
        world.input(a, Input::Accepted { conn, addr: "10.7.7.7:1".parse().unwrap() });
        let theirs = Handshake {
            reserved: Reserved::OURS,
            info_hash: content.hashes().wire(),
            peer_id: [n as u8; 20],
        };
        world.input(a, Input::Handshake { conn, theirs });
    }
    assert_eq!(keys.map(|key| world.nodes[a].conns(key)), [3, 1]);
    assert_eq!(world.nodes[a].closed_because("too many connections from one address for the torrent"), 1);
}

#[test]
fn a_hundred_torrents_between_two_machines_all_run() {
    let mut world = World::new(8);
    world.lan = true;
    let (a, b) = (world.node(), world.node());
    let contents: Vec<Content> = (0..100).map(|n| Content::v1(&format!("{n}"), MIB)).collect();
    for content in &contents {
        world.share(a, content.file());
    }
    let keys: Vec<TorrentKey> = contents.iter().map(|content| world.get(b, content.file())).collect();
    assert!(world.run_until(secs(60), |w| keys.iter().all(|&key| w.has_all(b, key))));
    // Both found each other, and a second connection was never in the way of another torrent.
    assert_eq!(world.nodes[a].closed_because("too many connections from one address"), 0);
}

#[test]
fn no_torrent_starves_for_attempts() {
    let mut world = World::new(6);
    world.black_holes = true;
    let a = world.node_with(|config| config.limits.half_open = 4);
    let mut keys = Vec::new();
    for n in 0..20u8 {
        let content = Content::v1(&format!("{n}"), MIB);
        let peers = (0..50).map(|p| format!("10.{}.0.{p}:1000", n + 1).parse().unwrap()).collect();
        keys.push(world.get(a, AddSpec { peers, ..content.file() }));
    }
    // An attempt takes 10 s, four at a time: twenty torrents have had one each after 50 s.
    world.run_for(secs(51));
    let tried = |n: u8| {
        world.nodes[a]
            .dialled
            .iter()
            .filter(|(_, to)| to.to_string().starts_with(&format!("10.{}.", n + 1)))
            .count()
    };
    // The first had no rivals yet, and took all four.
    assert!(
        tried(0) <= 5 && (1..20).all(|n| (1..=2).contains(&tried(n))),
        "{:?}",
        (0..20).map(tried).collect::<Vec<_>>()
    );
}

#[test]
fn seeds_let_go_of_each_other_for_long() {
    let mut world = World::new(7);
    let content = Content::v1("a", MIB);
    let (a, b) = (world.node(), world.node());
    let key = world.share(a, content.file());
    world.share(b, content.file());
    world.run_for(secs(1));
    let addrs = vec![world.nodes[b].addr];
    world.input(a, Input::PeersFound { key, addrs, source: Source::Tracker });
    world.run_for(secs(1700));
    assert_eq!(world.nodes[a].dialled.len() + world.nodes[b].dialled.len(), 1);
    assert!(!world.nodes[a].has_event(|e| matches!(e, Event::Failed(_))));
}
