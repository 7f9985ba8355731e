//! Gnutella and the inputs that no honest peer sends.

mod common;

use std::time::Duration;

use common::World;
use common::user::{assert_each_ended_once, record};
use proptest::prelude::*;
use starling_overlay::gnutella::{Config, Gnutella, Heard, Message, QueryId, Strategy as How, What};
use starling_overlay::wire::{List, Wire};
use starling_overlay::{Command, Core, Id, Offence, Op, Query, RpcId};
use starling_sansio::Time;

type Net = World<Gnutella<u32>>;

const MINUTE: Duration = Duration::from_secs(60);
const FLOOD: How = How::Flood { ttl: 7 };

fn net(seed: u64, strategy: How) -> Net {
    Net::new(seed, 64, Config { strategy, seed, ..Config::default() })
}

/// The offences of node 0, which has neighbours, after `from` told it `message`.
fn offences(from: u32, message: Message<u32>) -> Vec<Offence> {
    let mut net = net(13, FLOOD);
    net.converged(10);
    let links: Vec<u32> = net.nodes[&0].neighbours().collect();
    let before = net.nodes[&0].known();
    let from = if from == NEIGHBOUR { links[0] } else { from };
    net.inject(from, 0, message);
    assert_eq!(net.nodes[&0].known(), before);
    assert_eq!(net.nodes[&0].neighbours().collect::<Vec<u32>>(), links);
    net.outside.offences.iter().map(|offence| offence.1).collect()
}

const NEIGHBOUR: u32 = 77;
const STRANGER: u32 = 99;

#[test]
fn bad_messages_change_nothing_and_are_counted() {
    let (rpc, id, what) = (RpcId(1), QueryId(2), What::Key(Id::ZERO));
    let query = |ttl, hops| Message::Query { id, ttl, hops, what: what.clone() };
    let hit = |provider, records| {
        let records = List::new(records);
        Message::QueryHit { id, ttl: 1, hops: 0, push: false, provider, records }
    };
    let walk = |ttl, hops| Message::Walk { id, origin: 5, walker: 0, ttl, hops, what: what.clone() };
    let cases = [
        (STRANGER, Message::Pong { rpc, hosts: List::default() }, Offence::UnknownReply),
        (NEIGHBOUR, Message::Pong { rpc, hosts: List::default() }, Offence::UnknownReply),
        (STRANGER, Message::Accept { rpc, hosts: List::default() }, Offence::UnknownReply),
        (STRANGER, Message::Refuse { rpc, hosts: List::default() }, Offence::UnknownReply),
        (NEIGHBOUR, Message::Go { id, rpc, go: true }, Offence::UnknownReply),
        (NEIGHBOUR, hit(5, vec![record(1)]), Offence::UnknownReply),
        (NEIGHBOUR, hit(0, vec![record(1)]), Offence::NamesItself),
        (NEIGHBOUR, hit(5, vec![]), Offence::OutOfRange),
        (0, query(1, 0), Offence::NamesItself),
        (STRANGER, query(7, 0), Offence::Misdirected),
        (NEIGHBOUR, query(0, 7), Offence::OutOfRange),
        (NEIGHBOUR, query(255, 255), Offence::OutOfRange),
        (STRANGER, walk(7, 0), Offence::Misdirected),
        (NEIGHBOUR, walk(0, 9), Offence::OutOfRange),
        (NEIGHBOUR, walk(u16::MAX, u16::MAX), Offence::OutOfRange),
        (NEIGHBOUR, walk(7, 0), Offence::Misdirected),
        (STRANGER, Message::Push { id, ttl: 3, servent: 1, to: 2 }, Offence::Misdirected),
        (NEIGHBOUR, Message::Push { id, ttl: 3, servent: 1, to: 0 }, Offence::OutOfRange),
        (NEIGHBOUR, Message::Push { id, ttl: 200, servent: 1, to: 2 }, Offence::OutOfRange),
        (NEIGHBOUR, Message::Ping { rpc, ttl: 0 }, Offence::OutOfRange),
    ];
    for (from, message, offence) in cases {
        assert_eq!(offences(from, message.clone()), [offence], "{message:?} from {from}");
    }
}

#[test]
fn who_names_itself_or_us_as_a_host_is_not_believed() {
    let mut net = net(14, FLOOD);
    net.add(0);
    net.command(0, Command::Join(Some(1)));
    net.outside.log = Some(Vec::new());
    net.command(0, Command::Leave);
    net.command(0, Command::Join(Some(1)));
    let log = net.outside.log.take().unwrap();
    let Some((_, 1, Message::Connect { rpc, .. })) = log.last() else { panic!("{log:?}") };
    let hosts = [0, 1, 2].map(|peer| Heard { peer, age: 0 }).into_iter().collect();
    net.inject(1, 0, Message::Accept { rpc: *rpc, hosts });
    assert_eq!(net.outside.offences, [(0, Offence::NamesItself), (0, Offence::NamesItself)]);
    assert_eq!(net.nodes[&0].known(), [1], "2 is being dialled");
}

#[test]
fn time_that_goes_back_changes_nothing() {
    let mut net = net(15, FLOOD);
    net.converged(10);
    net.run_for(MINUTE);
    net.outside.now = Time::from_secs(1);
    net.inject(STRANGER, 0, Message::Connect { rpc: RpcId(1), degree: 0 });
    assert_eq!(net.outside.offences.last(), Some(&(0, Offence::TimeWentBack)));
    assert!(!net.nodes[&0].known().contains(&STRANGER));
}

/// What a node may hold of strangers' making: two tables of routes, walkers that wait
/// with the longest text, and little else.
const STRANGERS_BYTES: usize = 2 * 4096 * 18 + 64 * 1200 + 4096;

#[test]
fn a_hostile_flood_meets_bounds() {
    let mut net = net(16, How::Walkers { count: 4, check_every: 1, ttl: 512 });
    net.converged(10);
    let from = net.nodes[&0].neighbours().next().unwrap();
    let text: std::sync::Arc<str> = "x".repeat(1000).into();
    for n in 0..20_000u32 {
        let (rpc, id) = (RpcId(n), QueryId(u64::from(n)));
        let what = What::Words(Query { text: text.clone(), wanted: 1 });
        net.inject(from, 0, Message::Walk { id, origin: n + 100, walker: 0, ttl: 9, hops: 0, what });
        net.inject(n + 100, 0, Message::Connect { rpc, degree: 0 });
        let records = List::new(vec![record(1)]);
        let hit = Message::QueryHit { id, ttl: 3, hops: 0, push: true, provider: n + 100, records };
        net.inject(net.nodes[&0].neighbours().last().unwrap(), 0, hit);
        let bytes = net.nodes[&0].state_bytes();
        assert!(bytes < STRANGERS_BYTES, "{bytes} after {n}");
        assert!(net.nodes[&0].neighbours().count() <= 8);
    }
}

/// Who is named as the origin of a walk gets hits that it did not ask for: in a network
/// without walkers none, else as many as there are steps to the first question, and that.
#[test]
fn whoever_is_named_as_an_origin_hears_of_one_walk_a_few_times() {
    for (strategy, most) in [(FLOOD, 0), (How::Walkers { count: 4, check_every: 4, ttl: 512 }, 5)] {
        let mut net = net(17, strategy);
        net.converged(60);
        for node in 0..60 {
            net.command(node, Command::Publish(record(node)));
        }
        let liar = net.nodes[&0].neighbours().next().unwrap();
        net.outside.log = Some(Vec::new());
        let what = What::Words(Query { text: "starling".into(), wanted: 1 });
        let (id, origin) = (QueryId(1), STRANGER);
        net.inject(liar, 0, Message::Walk { id, origin, walker: 0, ttl: 4000, hops: 0, what });
        net.run_for(MINUTE);
        let log = net.outside.log.take().unwrap();
        let heard = log.iter().filter(|entry| entry.1 == STRANGER).count();
        assert!(heard <= most, "{strategy:?}: {heard} messages");
    }
}

fn any_hosts() -> impl Strategy<Value = List<Heard<u32>, 10>> {
    prop::collection::vec((0..12u32, any::<u16>()), 0..10)
        .prop_map(|hosts| hosts.into_iter().map(|(peer, age)| Heard { peer, age }).collect())
}

fn any_what() -> impl Strategy<Value = What> {
    prop_oneof![
        (0..3u32).prop_map(|n| What::Key(record(n).key)),
        ("[a-z* ]{0,12}", any::<u16>())
            .prop_map(|(text, wanted)| What::Words(Query { text: text.into(), wanted })),
    ]
}

/// Messages as honest and other peers send them; ids and peers are few, so that they meet.
fn any_message() -> impl Strategy<Value = Message<u32>> {
    let (id, rpc, peer) = ((0..6u64).prop_map(QueryId), any::<u32>().prop_map(RpcId), 0..12u32);
    let records = prop::collection::vec((0..3u32).prop_map(record), 0..3).prop_map(List::new);
    prop_oneof![
        (rpc.clone(), any::<u8>()).prop_map(|(rpc, ttl)| Message::Ping { rpc, ttl }),
        (rpc.clone(), any_hosts()).prop_map(|(rpc, hosts)| Message::Pong { rpc, hosts }),
        (id.clone(), 0..9u8, 0..9u8, any_what()).prop_map(|(id, ttl, hops, what)| Message::Query {
            id,
            ttl,
            hops,
            what
        }),
        (id.clone(), any::<u8>(), any::<u16>(), any::<bool>(), peer.clone(), records).prop_map(
            |(id, ttl, hops, push, provider, records)| {
                Message::QueryHit { id, ttl, hops, push, provider, records }
            }
        ),
        (id.clone(), any::<u8>(), peer.clone(), peer.clone())
            .prop_map(|(id, ttl, servent, to)| Message::Push { id, ttl, servent, to }),
        id.clone().prop_map(|id| Message::Giv { id }),
        (rpc.clone(), any::<u16>()).prop_map(|(rpc, degree)| Message::Connect { rpc, degree }),
        (rpc.clone(), any_hosts()).prop_map(|(rpc, hosts)| Message::Accept { rpc, hosts }),
        (rpc.clone(), any_hosts()).prop_map(|(rpc, hosts)| Message::Refuse { rpc, hosts }),
        any_hosts().prop_map(|hosts| Message::Bye { hosts }),
        (id.clone(), peer, any::<u8>(), any::<u16>(), any::<u16>(), any_what()).prop_map(
            |(id, origin, walker, ttl, hops, what)| Message::Walk { id, origin, walker, ttl, hops, what }
        ),
        (id.clone(), rpc.clone(), any::<u8>(), any::<u16>())
            .prop_map(|(id, rpc, walker, left)| Message::Check { id, rpc, walker, left }),
        (id, rpc, any::<bool>()).prop_map(|(id, rpc, go)| Message::Go { id, rpc, go }),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Say(u32, Message<u32>),
    Wait(u64),
    Earlier(u64, Message<u32>),
    Join(u32),
    Leave,
    Search(What),
    /// The answer that node 0 waits for to the last thing it said, from whom it asked.
    Accept,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..12u32, any_message()).prop_map(|(from, message)| Step::Say(from, message)),
        2 => Just(Step::Accept),
        2 => (0..60_000_000u64).prop_map(Step::Wait),
        1 => (0..60_000_000u64, any_message()).prop_map(|(time, message)| Step::Earlier(time, message)),
        1 => (0..12u32).prop_map(Step::Join),
        1 => any_what().prop_map(Step::Search),
        1 => prop::bool::weighted(0.2).prop_map(|leave| if leave { Step::Leave } else { Step::Accept }),
    ]
}

/// Node 0, alone in the world with arbitrary voices, keeps its bounds and ends every
/// operation once.
fn any_order(strategy: How, steps: Vec<Step>) {
    let mut net = net(1, strategy);
    net.add(0);
    net.outside.log = Some(Vec::new());
    let mut ops = 0;
    for step in steps {
        match step {
            Step::Say(from, message) => net.inject(from, 0, message),
            Step::Wait(micros) => net.run_for(Duration::from_micros(micros)),
            Step::Earlier(micros, message) => {
                let now = net.outside.now;
                net.outside.now = now.min(Time::from_micros(micros));
                net.inject(1, 0, message);
                net.outside.now = now;
            }
            Step::Join(boot) => net.command(0, Command::Join((boot > 0).then_some(boot))),
            Step::Leave => net.command(0, Command::Leave),
            Step::Search(what) => {
                ops += 1;
                net.command(
                    0,
                    match what {
                        What::Key(key) => Command::LookUp(Op(ops), key),
                        What::Words(query) => Command::Search(Op(ops), query),
                    },
                );
            }
            Step::Accept => {
                if let Some(&(_, to, Message::Connect { rpc, .. })) = net.outside.log.iter().flatten().last()
                {
                    net.inject(to, 0, Message::Accept { rpc, hosts: List::default() });
                }
            }
        }
        let core = &net.nodes[&0];
        assert!(core.neighbours().count() <= 8 && core.neighbours().all(|peer| peer != 0));
        assert!(core.state_bytes() < STRANGERS_BYTES + 64 * 1024);
    }
    net.run_for(60 * MINUTE);
    assert_each_ended_once(&net, ops);
}

proptest! {
    #[test]
    fn messages_come_back_from_the_wire(message in any_message()) {
        prop_assert_eq!(Message::from_wire(&message.to_wire()), Ok(message));
    }

    #[test]
    fn inputs_in_any_order(steps in prop::collection::vec(any_step(), 1..60), how in 0..4usize) {
        any_order([
            FLOOD,
            How::ExpandingRing { first: 1, step: 2, last: 5 },
            How::Walkers { count: 3, check_every: 2, ttl: 64 },
            How::Dynamic { probes: 1, probe_ttl: 1, ttl: 5 },
        ][how], steps);
    }
}
