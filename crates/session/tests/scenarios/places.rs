//! All places taken: by whom, and who gets one nevertheless.

use std::net::SocketAddr;
use std::time::Duration;

use starling_session::{Config, Input, TorrentKey};
use starling_swarm::{ConnId, Handshake, Message, Reserved};

use crate::world::{Content, MIB, NodeId, World, secs};

const MADE_ROOM: &str = "makes room for a newcomer";
const FULL: &str = "too many connections for the torrent";

/// Connections that greet and then send nothing but keep-alives, each from an address of its
/// own, beginning with the `from`th.
fn strangers(world: &mut World, node: NodeId, content: &Content, range: std::ops::Range<u32>) -> Vec<ConnId> {
    let connect = |n: u32| {
        let conn = world.nodes[node].session.new_conn();
        world.nodes[node].open.insert(conn);
        let addr = SocketAddr::from(([10, 200 + (n >> 8) as u8, n as u8, 1], 40_000));
        world.input(node, Input::Accepted { conn, addr });
        let mut peer_id = [b'x'; 20];
        peer_id[..4].copy_from_slice(&n.to_be_bytes());
        let theirs = Handshake { reserved: Reserved::OURS, info_hash: content.hashes().wire(), peer_id };
        world.input(node, Input::Handshake { conn, theirs });
        conn
    };
    range.map(connect).collect()
}

fn say(world: &mut World, node: NodeId, conns: &[ConnId], message: &Message) {
    for &conn in conns {
        if world.nodes[node].open.contains(&conn) {
            world.input(node, Input::Message { conn, message: message.clone() });
        }
    }
}

/// A seed whose places silent strangers have taken a minute ago: its number, its torrent, they.
fn full_of_silence(world: &mut World, content: &Content) -> (NodeId, TorrentKey, Vec<ConnId>) {
    let seed = world.node();
    let shared = world.share(seed, content.file());
    world.run_for(secs(1));
    let silent = strangers(world, seed, content, 0..120);
    idle_for(world, seed, &silent, secs(60));
    (seed, shared, silent)
}

/// The world goes on for `time` while strangers keep their connections alive.
fn idle_for(world: &mut World, node: NodeId, conns: &[ConnId], time: Duration) {
    let end = world.now + time;
    while world.now < end {
        world.run_for(end.since(world.now).min(secs(50)));
        say(world, node, conns, &Message::KeepAlive);
    }
}

fn still_there(world: &World, node: NodeId, conns: &[ConnId]) -> usize {
    conns.iter().filter(|conn| world.nodes[node].open.contains(conn)).count()
}

/// A node that nobody can dial and that tells nobody of itself.
fn quiet(config: &mut Config) {
    config.listen_port = 0;
    config.lan = false;
}

#[test]
fn strangers_who_say_nothing_make_room_at_a_seed() {
    let mut world = World::new(1);
    let content = Content::v1("a", 8 * MIB);
    let seed = world.node();
    let shared = world.share(seed, content.file());
    world.run_for(secs(1));
    let silent = strangers(&mut world, seed, &content, 0..120);
    assert_eq!(world.nodes[seed].conns(shared), 120);
    idle_for(&mut world, seed, &silent, secs(30));
    let leecher = world.node_with(quiet);
    let key = world.get(leecher, content.file());
    world.run_for(secs(1));
    world.introduce(leecher, key, seed);
    world.run_for(secs(20));
    assert_eq!(still_there(&world, seed, &silent), 120, "not before they have had their time");
    assert!(world.run_until(secs(40), |w| w.has_all(leecher, key)), "no place");
    assert_eq!(still_there(&world, seed, &silent), 119, "one place was enough");
}

#[test]
fn strangers_who_say_nothing_make_room_at_a_leecher() {
    let mut world = World::new(2);
    let content = Content::v1("a", 8 * MIB);
    let (leecher, seed) = (world.node(), world.node());
    let key = world.get(leecher, content.file());
    world.run_for(secs(1));
    let silent = strangers(&mut world, leecher, &content, 0..120);
    idle_for(&mut world, leecher, &silent, secs(30));
    // The seed dials: it is the newcomer.
    let shared = world.share(seed, content.file());
    world.run_for(secs(1));
    world.introduce(seed, shared, leecher);
    assert!(world.run_until(secs(60), |w| w.has_all(leecher, key)), "no place");
    assert_eq!(world.nodes[leecher].closed_because(MADE_ROOM), 1);
}

/// A seed that 120 strangers have told that they want something, and the strangers.
fn full_of_wishes(chance: u64) -> (World, Content, NodeId, Vec<ConnId>) {
    let mut world = World::new(chance);
    let content = Content::v1("a", 8 * MIB);
    let seed = world.node();
    world.share(seed, content.file());
    world.run_for(secs(1));
    let idle = strangers(&mut world, seed, &content, 0..120);
    say(&mut world, seed, &idle, &Message::Interested);
    (world, content, seed, idle)
}

#[test]
fn strangers_who_want_something_and_never_ask_make_room_too() {
    let (mut world, content, seed, _) = full_of_wishes(3);
    let leecher = world.node_with(quiet);
    let key = world.get(leecher, content.file());
    world.run_for(secs(1));
    world.introduce(leecher, key, seed);
    assert!(world.run_until(secs(120), |w| w.nodes[leecher].peers(key) == 1), "no place");
}

/// Seconds until a newcomer that comes `after` 120 strangers is unchoked by a seed where all of
/// them said that they want something, and ask for nothing.
fn first_turn_behind_strangers(after: Duration) -> f64 {
    let (mut world, content, seed, idle) = full_of_wishes(9);
    idle_for(&mut world, seed, &idle, after);
    let leecher = world.node_with(quiet);
    let key = world.get(leecher, content.file());
    world.run_for(secs(1));
    let start = world.now;
    world.introduce(leecher, key, seed);
    // A block that is allowed fast comes sooner, but no second one.
    let served = world.run_until(secs(1000), |w| {
        let peers = w.nodes[leecher].session.core(key).map(starling_swarm::Torrent::peers);
        peers.into_iter().flatten().any(|peer| !peer.choked[1])
    });
    assert!(served, "no turn");
    let took = world.now.since(start).as_secs_f64();
    assert!(world.run_until(secs(60), |w| w.has_all(leecher, key)), "a turn, and not all of it");
    took
}

/// Every stranger in front of it keeps an eighth of the slots for two seconds, and the core may be
/// half a second late: 38 s for 120; and when the first has had its turn, after eight
/// seconds, it makes room for the newcomer. A while later all of them have had theirs.
#[test]
fn a_newcomer_is_served_soon_where_all_others_want_something_and_never_ask() {
    for (after, most) in [(0, 38.0), (5, 38.0), (30, 10.0), (60, 10.0), (300, 10.0)] {
        let took = first_turn_behind_strangers(secs(after));
        eprintln!("{after} s after the strangers: first turn after {took:.1} s");
        assert!(took < most, "{took} s");
    }
}

/// A slow seed with 119 downloaders, of whom most wait for their turn, and one stranger: of
/// all that come, one gets the stranger's place, and none anybody else's.
#[test]
fn newcomers_get_no_place_of_who_takes_something_or_waits_for_it() {
    let mut world = World::new(4);
    let content = Content::v1("a", 400 * MIB);
    let seed = world.node_with(|config| config.rates.up = Some(1_000_000));
    let shared = world.share(seed, content.file());
    world.run_for(secs(1));
    for _ in 0..119 {
        let node = world.node_with(quiet);
        let key = world.get(node, content.file());
        world.run_for(secs(1));
        world.introduce(node, key, seed);
    }
    world.run_for(secs(1));
    let members: Vec<ConnId> = world.nodes[seed].open.iter().copied().collect();
    assert_eq!(members.len(), 119);
    let stranger = strangers(&mut world, seed, &content, 0..1);
    for n in 1..60 {
        idle_for(&mut world, seed, &stranger, secs(10));
        strangers(&mut world, seed, &content, n..n + 1);
    }
    assert_eq!(still_there(&world, seed, &members), 119);
    assert_eq!(still_there(&world, seed, &stranger), 0);
    // Each newcomer that asks for nothing has its minute, and then makes room itself.
    let gone = world.nodes[seed].closed_because(MADE_ROOM);
    assert!((1..=10).contains(&gone), "{gone} made room in ten minutes");
    assert_eq!(world.nodes[seed].conns(shared), 120);
}

#[test]
fn a_flood_of_newcomers_drives_out_one_a_second_and_not_itself() {
    let mut world = World::new(5);
    let content = Content::v1("a", MIB);
    let (seed, shared, silent) = full_of_silence(&mut world, &content);
    let mut newcomers = Vec::new();
    for n in 0..500 {
        newcomers.extend(strangers(&mut world, seed, &content, 120 + n..121 + n));
        world.run_for(Duration::from_millis(20));
    }
    assert_eq!(still_there(&world, seed, &silent), 110, "ten in ten seconds");
    assert_eq!(still_there(&world, seed, &newcomers), 10, "and they stay");
    assert_eq!(world.nodes[seed].closed_because(FULL), 490);
    assert_eq!(world.nodes[seed].conns(shared), 120);
}

#[test]
fn who_has_not_said_what_it_wants_takes_no_place_of_those_who_have() {
    let mut world = World::new(8);
    let content = Content::v1("a", 8 * MIB);
    let seed = world.node_with(|config| (config.limits.connections, config.limits.strangers) = (4, 8));
    world.share(seed, content.file());
    world.run_for(secs(1));
    for n in 0..10 {
        let conn = world.nodes[seed].session.new_conn();
        world.nodes[seed].open.insert(conn);
        let addr = SocketAddr::from(([10, 100, n, 1], 40_000));
        world.input(seed, Input::Accepted { conn, addr });
    }
    world.run_for(secs(1));
    assert_eq!(world.nodes[seed].open.len(), 8, "so many may keep silent");
    let leecher = world.node();
    let key = world.get(leecher, content.file());
    world.run_for(secs(1));
    world.introduce(seed, TorrentKey(1), leecher);
    assert!(world.run_until(secs(5), |w| w.has_all(leecher, key)), "no place");
}

#[test]
fn while_one_makes_room_slowly_no_other_does() {
    let mut world = World::new(7);
    let content = Content::v1("a", MIB);
    let (seed, shared, _) = full_of_silence(&mut world, &content);
    world.nodes[seed].slow_close = Some(secs(5));
    for n in 120..140 {
        strangers(&mut world, seed, &content, n..n + 1);
        assert!(world.nodes[seed].conns(shared) <= 121);
        world.run_for(secs(1));
    }
    assert_eq!(world.nodes[seed].closed_because(MADE_ROOM), 4, "one in five seconds");
}

#[test]
fn a_full_node_makes_room_in_whatever_torrent_has_the_idlest() {
    let mut world = World::new(6);
    let (one, two) = (Content::v1("a", MIB), Content::v1("b", 8 * MIB));
    let seed = world.node_with(|config| config.limits.connections = 20);
    let full = world.share(seed, one.file());
    let other: TorrentKey = world.share(seed, two.file());
    world.run_for(secs(1));
    let silent = strangers(&mut world, seed, &one, 0..20);
    idle_for(&mut world, seed, &silent, secs(10));
    let refused = strangers(&mut world, seed, &two, 20..21);
    world.run_for(secs(1));
    assert_eq!(still_there(&world, seed, &refused), 0, "nobody is idle yet");
    let leecher = world.node_with(quiet);
    let key = world.get(leecher, two.file());
    world.run_for(secs(1));
    world.introduce(leecher, key, seed);
    assert!(world.run_until(secs(75), |w| w.has_all(leecher, key)), "no place");
    assert_eq!((world.nodes[seed].conns(full), world.nodes[seed].conns(other)), (19, 1));
}
