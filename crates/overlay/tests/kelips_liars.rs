//! Kelips among liars: what one member or stranger can say of others' tuples.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::World;
use common::user::{self, found, record};
use starling_overlay::kelips::{Config, Kelips, MAX_OF_HOME, MAX_TUPLES, Message, Seen, Tuple, group_of};
use starling_overlay::wire::List;
use starling_overlay::{Command, Core, Hit, Id, Offence, Op, Outcome, Purpose, Query, Record, RpcId};

type Net = World<Kelips<u32>>;

/// Nobody in the network.
const STRANGER: u32 = 9999;
/// The node whose record is lied about.
const OWNER: u32 = 5;

fn config() -> Config {
    Config::for_nodes(60)
}

/// Sixty nodes that all know where the owner's record is.
fn sixty(seed: u64) -> Net {
    let mut net = Net::new(seed, 160, config());
    net.converged(60);
    net.command(OWNER, Command::Publish(record(OWNER)));
    net.run_for(Duration::from_secs(120));
    assert_eq!(finders(&mut net), 60);
    net.outside.offences.clear();
    net
}

fn finders(net: &mut Net) -> usize {
    net.outside.events.clear();
    found(&user::look_for_all(net, &[OWNER], Duration::from_secs(20)))
}

fn lie(beat: u32, live: bool) -> Message<u32> {
    let record = Arc::new(record(OWNER));
    let tuple = Tuple { under: record.key.high(), record, home: OWNER, beat, age: 0, live };
    Message::Gossip { entries: List::default(), tuples: List::new(vec![tuple]), pull: false }
}

/// Holders of the owner's tuple.
fn holders(net: &Net) -> Vec<u32> {
    let groups = config().groups;
    let group = group_of(record(OWNER).key, groups);
    let there = |&&node: &&u32| node != OWNER && group_of(net.outside.place(node), groups) == group;
    net.nodes.keys().filter(there).copied().collect()
}

#[test]
fn a_withdrawal_that_leaps_is_refused_and_hides_nothing() {
    for beat in [1 << 22, u32::MAX] {
        let mut net = sixty(1);
        let holders = holders(&net);
        for &holder in &holders {
            net.inject(STRANGER, holder, lie(beat, false));
        }
        let refused = |offence: &&(u32, Offence)| offence.1 == Offence::OutOfRange;
        assert_eq!(net.outside.offences.iter().filter(refused).count(), holders.len());
        assert_eq!(finders(&mut net), 60);
        net.run_for(Duration::from_secs(60 * 60));
        assert_eq!(finders(&mut net), 60, "its heartbeats still count");
    }
}

#[test]
fn a_withdrawal_that_the_owner_did_not_say_is_denied_at_once() {
    for seed in 1..6 {
        let mut net = sixty(seed);
        // One of them only, or all.
        let told = if seed % 2 == 0 { 1 } else { 60 };
        for &holder in holders(&net).iter().take(told) {
            net.inject(STRANGER, holder, lie(1000, false));
        }
        assert_eq!(net.outside.offences, [], "it is believed at first");
        net.run_for(config().gossip_interval * 6);
        assert_eq!(finders(&mut net), 60, "seed {seed}");
        net.run_for(Duration::from_secs(15 * 60));
        assert_eq!(finders(&mut net), 60, "seed {seed}");
    }
}

#[test]
fn two_lies_in_one_datagram_lead_nobody_out_of_the_owners_reach() {
    let mut net = sixty(1);
    let record = Arc::new(record(OWNER));
    let tuple = |beat| Tuple {
        under: record.key.high(),
        record: Arc::clone(&record),
        home: OWNER,
        beat,
        age: 300,
        live: false,
    };
    let tuples: Vec<_> = (1..10).map(|n| tuple(n << 20)).collect();
    for holder in holders(&net) {
        let (entries, tuples) = (List::default(), List::new(tuples.clone()));
        net.inject(STRANGER, holder, Message::Gossip { entries, tuples, pull: false });
    }
    net.run_for(config().gossip_interval * 4);
    assert_eq!(finders(&mut net), 60);
}

#[test]
fn no_count_that_others_claim_keeps_an_owner_from_withdrawing() {
    for beat in [1000, 1 << 20, u32::MAX - 1, u32::MAX] {
        let mut net = sixty(1);
        let everybody: Vec<u32> = net.nodes.keys().copied().collect();
        for &node in &everybody {
            net.inject(STRANGER, node, lie(beat, true));
        }
        net.run_for(Duration::from_secs(20 * 60));
        net.command(OWNER, Command::Withdraw(record(OWNER).key));
        net.run_for(Duration::from_secs(60));
        assert_eq!(finders(&mut net), 0, "beat {beat}");
    }
}

#[test]
fn what_the_owner_says_itself_replaces_a_count_that_nobody_can_believe() {
    let mut net = Net::new(1, 160, Config { groups: 1, ..Config::for_nodes(4) });
    net.converged(2);
    net.inject(STRANGER, 0, lie(u32::MAX, true));
    net.outside.offences.clear();
    net.add(OWNER);
    net.command(OWNER, Command::Join(Some(1)));
    net.run_for(Duration::from_secs(30));
    net.command(OWNER, Command::Publish(record(OWNER)));
    net.run_for(Duration::from_secs(60));
    net.command(OWNER, Command::Withdraw(record(OWNER).key));
    net.run_for(Duration::from_secs(60));
    net.command(OWNER, Command::LookUp(Op(1), record(OWNER).key));
    net.run_for(Duration::from_secs(20));
    assert_eq!(user::result(&net, OWNER, 1), (0, Some(Outcome::NotFound)));
}

/// Node 0 joins through a liar and copies its tuples, until it says that it has them all,
/// or an hour is over. `part` is what the liar answers to a question for tuples. Returns
/// the questions that the liar got, and whether node 0 is content.
fn copy_of_a_liar(seed: u64, part: impl Fn(u64) -> Vec<Tuple<u32>>) -> (u64, bool) {
    const LIAR: u32 = 7;
    let mut net = Net::new(seed, 160, Config { groups: 1, max_tuples: 64, ..config() });
    net.converged_from(1, 2);
    net.add(0);
    net.outside.log = Some(Vec::new());
    net.command(0, Command::Join(Some(LIAR)));
    let (mut parts, mut content) = (0, false);
    for _ in 0..7200 {
        for (from, to, message) in net.outside.log.replace(Vec::new()).unwrap_or_default() {
            match message {
                Message::CopyView { rpc, .. } if to == LIAR => {
                    let entries = (1..3).map(|peer| Seen { peer, age: 0 }).collect();
                    net.inject(LIAR, 0, Message::View { rpc, parts: 1, entries });
                }
                Message::CopyTuples { rpc, .. } if to == LIAR => {
                    parts += 1;
                    let tuples = List::new(part(parts));
                    net.inject(LIAR, 0, Message::Tuples { rpc, tuples, more: true });
                }
                Message::Answer { complete, .. } if from == 0 => content = complete,
                _ => {}
            }
        }
        if content {
            break;
        }
        net.run_for(Duration::from_millis(500));
        net.inject(2, 0, Message::LookUp { rpc: RpcId(1), key: record(1).key, skip: 0 });
    }
    (parts, content)
}

#[test]
fn a_copy_that_never_ends_is_given_up() {
    let tuple = |under: u64| {
        let key = Id::from_high(under);
        let record = Arc::new(Record { key, name: "n".into(), size: 1 });
        Tuple { under, record, home: 8, beat: 1, age: 0, live: false }
    };
    let mut asked = 0;
    for seed in 1..9 {
        let (few, content) = copy_of_a_liar(seed, |part| vec![tuple(part)]);
        assert!(content && few <= 4, "{few} parts of one tuple");
        let many = |part: u64| (1..17).map(|n| tuple(part * 16 + n)).collect();
        let (full, content) = copy_of_a_liar(seed, many);
        assert!(content && full <= 4 * 6, "{full} parts, more than it may keep");
        asked += few.min(full);
    }
    assert!(asked > 0, "the liar was asked");
}

/// A search for `wanted` hits, of holders who answer `after` so long that they have a page of
/// `page` hits, other ones each time, and always more. Returns the questions that were asked,
/// the hits that were given out, and how long that took.
fn endless_search(wanted: u16, page: u32, after: Duration) -> (usize, usize, Duration) {
    let mut net = Net::new(1, 160, config());
    net.converged(60);
    net.outside.log = Some(Vec::new());
    net.outside.cut = Some(Box::new(|_, _| true));
    let (query, begun) = (Query { text: "starling".into(), wanted }, net.outside.now);
    net.command(0, Command::Search(Op(1), query));
    let mut asked = 0;
    while user::result(&net, 0, 1).1.is_none() {
        net.run_for(after);
        for (from, to, message) in net.outside.log.replace(Vec::new()).unwrap_or_default() {
            let Message::Search { rpc, skip, .. } = message else { continue };
            assert_eq!(from, 0);
            asked += 1;
            let hit = |n| Hit { record: record(u32::from(skip) + n), provider: 7 };
            let hits = List::new((0..page).map(hit).collect());
            net.inject(
                to,
                0,
                Message::Answer { rpc, why: Purpose::Search, hits, more: true, complete: true },
            );
        }
    }
    let (hits, outcome) = user::result(&net, 0, 1);
    assert_eq!(outcome, Some(Outcome::Found));
    (asked, hits, net.outside.now.since(begun))
}

#[test]
fn a_search_is_not_kept_alive_by_a_hit_at_a_time() {
    let at_once = Duration::from_millis(10);
    let (asked, hits, _) = endless_search(6400, 64, at_once);
    assert_eq!((asked, hits), (100, 6400), "full pages are an honest answer");
    let (asked, ..) = endless_search(6400, 1, at_once);
    assert!(asked <= 10, "{asked}");
}

#[test]
fn a_search_is_not_kept_alive_by_pages_at_the_last_moment() {
    let timeout = config().rpc_timeout;
    for page in [7, 64] {
        let (asked, hits, took) = endless_search(u16::MAX, page, timeout - Duration::from_millis(100));
        assert!(took <= timeout * 21, "{asked} questions in {took:?}");
        assert_eq!(hits, asked * page as usize, "what came is given out");
    }
    // An honest answer of thousands, over a long way.
    let (_, hits, _) = endless_search(4096, 64, Duration::from_millis(320));
    assert_eq!(hits, 4096);
}

#[test]
fn long_names_of_a_stranger_take_no_more_than_their_share() {
    let config = Config { groups: 1, max_tuples: 4096, ..config() };
    let mut net = Net::new(1, 160, config);
    net.converged(2);
    let before = net.nodes[&0].state_bytes();
    let tuple = |number: u32| {
        let key = Id::hash(&number.to_be_bytes());
        let record = Arc::new(Record { key, name: "x".repeat(1000).into(), size: 1 });
        Tuple { under: key.high(), record, home: 9, beat: 1, age: 0, live: true }
    };
    for datagram in 0..256 {
        let (entries, tuples) =
            (List::default(), List::new((0..16).map(|n| tuple(datagram * 16 + n)).collect()));
        net.inject(STRANGER, 0, Message::Gossip { entries, tuples, pull: false });
    }
    assert!(net.nodes[&0].tuples() <= 4096 * 64 / 1000 / 2 + 1, "half of the room is for home nodes");
    let grown = net.nodes[&0].state_bytes() - before;
    assert!(grown < 4096 * 200, "{grown} B");
    // What times out makes room again.
    net.run_for(Duration::from_secs(60 * 60));
    net.outside.offences.clear();
    net.inject(STRANGER, 0, lie(1, true));
    assert_eq!((net.outside.offences.as_slice(), net.nodes[&0].tuples()), ([].as_slice(), 1));
}

#[test]
fn one_home_node_has_no_more_than_its_share_of_a_store() {
    let mut net = Net::new(1, 160, Config { groups: 1, ..config() });
    net.converged(2);
    let name: Arc<str> = "n".into();
    let tuple = |number: usize, home| {
        let key = Id::hash(&number.to_be_bytes());
        let record = Arc::new(Record { key, name: Arc::clone(&name), size: 1 });
        Tuple { under: key.high(), record, home, beat: 1, age: 0, live: true }
    };
    let tell = |net: &mut Net, tuples| {
        let (entries, tuples) = (List::default(), List::new(tuples));
        net.inject(STRANGER, 0, Message::Gossip { entries, tuples, pull: false });
    };
    let flood: Vec<Tuple<u32>> = (0..MAX_OF_HOME + 16).map(|number| tuple(number, 9)).collect();
    flood.chunks(MAX_TUPLES).for_each(|part| tell(&mut net, part.to_vec()));
    assert_eq!(net.outside.offences, [(0, Offence::Full); 16]);
    assert_eq!(net.nodes[&0].tuples(), MAX_OF_HOME);
    tell(&mut net, vec![tuple(0, 8)]);
    assert_eq!(net.nodes[&0].tuples(), MAX_OF_HOME + 1, "another has its own");
    net.run_for(Duration::from_secs(60 * 60));
    tell(&mut net, vec![tuple(0, 9)]);
    assert_eq!(net.nodes[&0].tuples(), 1, "what timed out made room");
}

#[test]
fn invented_tuples_leave_room_for_what_a_home_node_says_itself() {
    invented_tuples_leave_room("");
}

#[test]
fn invented_tuples_with_long_names_leave_room_too() {
    invented_tuples_leave_room(&"x".repeat(900));
}

fn invented_tuples_leave_room(long: &str) {
    let mut net = Net::new(1, 160, Config { groups: 1, max_tuples: 200, search_words: false, ..config() });
    net.converged(4);
    let invented = |number: u32| {
        let name = format!("{}{long}", record(number).name);
        let record = Arc::new(Record { name: name.into(), ..record(number) });
        // Some are of nodes that exist.
        let home = if number.is_multiple_of(2) { number } else { number % 4 };
        Tuple { under: record.key.high(), record, home, beat: 1, age: 0, live: true }
    };
    for round in 0..20 {
        for node in 0..4 {
            let tuples = List::new((0..12).map(|n| invented(1000 + round * 16 + n)).collect());
            let message = Message::Gossip { entries: List::default(), tuples, pull: false };
            net.inject(STRANGER, node, message);
        }
        net.run_for(Duration::from_secs(1));
    }
    assert!(net.nodes.values().all(|node| node.tuples() <= 100), "half of what fits is hearsay");
    (0..4).for_each(|node| net.command(node, Command::Publish(record(node))));
    net.run_for(Duration::from_secs(300));
    for number in 0..4 {
        net.outside.events.clear();
        // From a member's own store: it asks nobody.
        let ended = user::look_for_all(&mut net, &[number], Duration::ZERO);
        assert_eq!(found(&ended), 4, "{number}");
    }
}
