//! Kelips at the sizes of the paper: bounds of a single node, and how its costs grow.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::World;
use common::user::record;
use starling_overlay::kelips::{Announcement, Config, Kelips, Message, Seen, group_of};
use starling_overlay::wire::List;
use starling_overlay::{
    Command, Core, Cost, Event, Host, Id, Input, Offence, Op, Outcome, Purpose, Record, RpcId, View,
};
use starling_sansio::{Rng, Time};

fn small() -> Config {
    Config::for_nodes(100)
}

/// What a driver hands a single node; nothing comes back.
struct Void {
    rng: Rng,
    sent: Vec<(u32, Message<u32>)>,
    events: Vec<Event<u32>>,
    refused: Vec<Offence>,
}

impl Void {
    fn new() -> Void {
        Void { rng: Rng::from_seed(1), sent: vec![], events: vec![], refused: vec![] }
    }
}

impl Host<u32, Message<u32>, Event<u32>> for Void {
    fn id(&self, peer: u32) -> Id {
        let mixed = (u64::from(peer) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Id::from_high((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9))
    }
    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }
    fn distance(&self, peer: u32) -> Option<Duration> {
        Some(Duration::from_millis(u64::from(peer % 97)))
    }
    fn send(&mut self, to: u32, message: Message<u32>) {
        self.sent.push((to, message));
    }
    fn emit(&mut self, event: Event<u32>) {
        self.events.push(event);
    }
    fn refuse(&mut self, _: Option<u32>, offence: Offence) {
        self.refused.push(offence);
    }
}

/// Members 0 to `count`, in the order of their ids.
fn everybody(count: u32) -> Vec<(Id, u32)> {
    let host = Void::new();
    let mut members: Vec<(Id, u32)> = (0..count).map(|peer| (host.id(peer), peer)).collect();
    members.sort_unstable();
    members
}

fn converged(node: u32, config: &Arc<Config>, members: &[(Id, u32)], host: &mut Void) -> Kelips<u32> {
    let mut core = Kelips::new(node, config);
    core.converge(Time::from_secs(1), &View::new(members), host);
    core
}

#[test]
fn a_flood_of_peers_and_tuples_stays_in_bounds() {
    let config = Arc::new(Config { max_tuples: 1000, ..small() });
    let mut host = Void::new();
    let mut core = Kelips::new(0, &config);
    core.handle(Time::ZERO, Input::Command(Command::Join(None)), &mut host);
    let group = core.group();
    for peer in 1..200_000 {
        let entries = (0..50).map(|n| Seen { peer: peer * 50 + n, age: 0 }).collect();
        let gossip = Message::Gossip { entries, tuples: List::default(), pull: peer % 2 == 0 };
        core.handle(Time::from_secs(2), Input::Message { from: peer, message: gossip }, &mut host);
        let record = record(peer);
        let what = Announcement { under: record.key.high(), record, beat: 1, live: true };
        if group_of(what.record.key, config.groups) == group {
            let message = Message::Announce { rpc: RpcId(peer), what: Box::new(what) };
            core.handle(Time::from_secs(2), Input::Message { from: peer, message }, &mut host);
        }
        core.handle(
            Time::from_secs(2),
            Input::Command(Command::LookUp(Op(peer), Id::from_high(u64::from(peer)))),
            &mut host,
        );
        host.sent.clear();
        host.events.clear();
    }
    assert!(host.refused.contains(&Offence::Full));
    assert_eq!(core.tuples(), 1000);
    assert!(core.state_bytes() < 500_000, "{}", core.state_bytes());
}

#[test]
fn look_ups_take_one_hop_at_ten_thousand_and_a_hundred_thousand_nodes() {
    for count in [10_000u32, 100_000] {
        let config = Arc::new(Config::for_nodes(u64::from(count)));
        let members = everybody(count);
        let mut host = Void::new();
        let mut asker = converged(0, &config, &members, &mut host);
        let mut answered = 0;
        for number in 0..200 {
            let record = record(number);
            asker.handle(
                Time::from_secs(2),
                Input::Command(Command::LookUp(Op(number), record.key)),
                &mut host,
            );
            let Some((holder, question)) = host.sent.pop() else { continue };
            let mut there = Void::new();
            let mut holder_core = converged(holder, &config, &members, &mut there);
            let what = Announcement { under: record.key.high(), record, beat: 1, live: true };
            let announce = Message::Announce { rpc: RpcId(1), what: Box::new(what) };
            holder_core.handle(Time::from_secs(2), Input::Message { from: 9, message: announce }, &mut there);
            assert!(matches!(there.sent.pop(), Some((9, Message::Accepted { beat: 1, .. }))));
            holder_core.handle(Time::from_secs(2), Input::Message { from: 0, message: question }, &mut there);
            let (_, answer) = there.sent.pop().unwrap();
            asker.handle(Time::from_secs(2), Input::Message { from: holder, message: answer }, &mut host);
            let done = host.events.pop().unwrap();
            let cost = Cost { hops: 1, timeouts: 0 };
            assert_eq!(done, Event::Done { op: Op(number), outcome: Outcome::Found, cost });
            answered += 1;
        }
        assert!(answered >= 190, "{answered} of 200 were not of the asker's own group");
    }
}

#[test]
fn a_group_that_was_empty_gets_its_tuples() {
    let config = Arc::new(Config { groups: 10, ..small() });
    let mut host = Void::new();
    let group = |peer: u32| group_of(Void::new().id(peer), 10);
    let holder = (0..).find(|&peer| group(peer) == 5).unwrap();
    let newcomer = (0..).find(|&peer| group(peer) == 4).unwrap();
    let mut core = Kelips::new(holder, &config);
    core.handle(Time::ZERO, Input::Command(Command::Join(None)), &mut host);
    // Nobody is in groups 2 to 4, so group 5 serves them. The first key is in group 2.
    for number in 0..20 {
        let under = u64::MAX / 10 * 3 + 1 + number * (u64::MAX / 200);
        let record = Record { key: Id::from_high(under), name: "a".into(), size: 1 };
        let what = Box::new(Announcement { under, record, beat: 1, live: true });
        let message = Message::Announce { rpc: RpcId(1), what };
        core.handle(Time::ZERO, Input::Message { from: 77, message }, &mut host);
    }
    assert_eq!(core.tuples(), 20);
    let hello = Message::Gossip { entries: List::default(), tuples: List::default(), pull: false };
    core.handle(Time::ZERO, Input::Message { from: newcomer, message: hello }, &mut host);
    host.sent.clear();
    let mut given = Vec::new();
    for _ in 0..60 {
        core.handle_timeout(core.next_timeout().unwrap(), &mut host);
        for (to, message) in &host.sent {
            let Message::Gossip { tuples, .. } = message else { continue };
            given.extend(tuples.iter().filter(|_| *to == newcomer).map(|tuple| tuple.under));
        }
        given.sort_unstable();
        given.dedup();
    }
    assert_eq!(given.len(), 20);
}

#[test]
fn state_grows_with_the_square_root() {
    let bytes = |count: u32| {
        let config = Arc::new(Config::for_nodes(u64::from(count)));
        let (members, mut host) = (everybody(count), Void::new());
        let total: usize =
            (0..20).map(|n| converged(n * 7, &config, &members, &mut host).state_bytes()).sum();
        total / 20
    };
    let (small, large) = (bytes(10_000), bytes(1_000_000));
    println!("{small} B at 10^4 nodes, {large} B at 10^6");
    assert!((8..=11).contains(&(large / small)) || large / small == 7, "{small} B, {large} B");
    assert!(large < 16_500, "{large} B a node at a million");
}

#[test]
fn background_traffic_does_not_grow_with_the_network() {
    // Section 2.1: the overhead is constant; only how fast news spreads depends on N.
    let bytes = |count: u32| {
        let mut net = World::<Kelips<u32>>::new(1, 160, Config { groups: 8, ..small() });
        net.converged(count);
        net.run_for(Duration::from_secs(60));
        net.outside.sent[&Purpose::Maintenance].1 as f64 / f64::from(count) / 60.0
    };
    let (some, many) = (bytes(400), bytes(1_600));
    println!("{some:.0} and {many:.0} B/s a node");
    assert!(many < some * 1.1 && many < 500.0, "{some} {many}");
}
