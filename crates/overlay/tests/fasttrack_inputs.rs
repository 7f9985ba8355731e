//! FastTrack and the inputs that no honest peer sends.

mod common;

use std::time::Duration;

use common::World;
use common::user::{assert_each_ended_once, record, result};
use proptest::prelude::*;
use starling_overlay::fasttrack::{Config, FastTrack, Message};
use starling_overlay::gnutella::{QueryId, What};
use starling_overlay::wire::{List, Wire};
use starling_overlay::{Command, Core, Hit, Id, Offence, Op, Outcome, Query, Record, RpcId};
use starling_sansio::Time;

type Net = World<FastTrack<u32>>;

const MINUTE: Duration = Duration::from_secs(60);
/// Who speaks to node 0 in `offences`.
const LINK: u32 = 1001;
const LEAF: u32 = 1002;
const STRANGER: u32 = 1003;

fn net(seed: u64) -> Net {
    Net::new(seed, 64, Config { leaves: 10, links: 4, records: 50, seed, ..Config::default() })
}

/// 100 nodes, and a super-peer and a leaf among them.
fn houses() -> (Net, u32, u32) {
    let mut net = net(1);
    net.converged(100);
    let at = |wanted: bool| {
        let mut all = net.nodes.iter();
        all.find(|(_, core)| core.is_super() == wanted).map(|(&node, _)| node).expect("there are both")
    };
    let (house, leaf) = (at(true), at(false));
    (net, house, leaf)
}

fn offences(from: u32, message: Message<u32>) -> Vec<Offence> {
    let (mut net, house, _) = houses();
    let core = &net.nodes[&house];
    let from = match from {
        LINK => core.links().next().expect("a link"),
        LEAF => core.leaves().next().expect("a leaf"),
        0 => house,
        other => other,
    };
    let before = (core.known(), core.state_bytes());
    net.inject(from, house, message);
    assert_eq!((net.nodes[&house].known(), net.nodes[&house].state_bytes()), before);
    net.outside.offences.iter().map(|offence| offence.1).collect()
}

#[test]
fn bad_messages_change_nothing_and_are_counted() {
    let (rpc, id, what) = (RpcId(1), QueryId(2), What::Key(Id::ZERO));
    let query = |ttl| Message::Query { id, ttl, what: what.clone() };
    let hits = |hops| Message::Hits { id, hops, hits: List::default() };
    let vouch = |ttl, provider| Message::Vouch { id, ttl, provider };
    let supers = || List::<u32, 10>::default();
    let cases = [
        (0, query(1), Offence::NamesItself),
        (STRANGER, query(1), Offence::Misdirected),
        (LINK, query(0), Offence::OutOfRange),
        (LINK, query(200), Offence::OutOfRange),
        (LEAF, query(1), Offence::OutOfRange),
        (STRANGER, hits(0), Offence::UnknownReply),
        (LINK, hits(0), Offence::UnknownReply),
        (LINK, hits(200), Offence::OutOfRange),
        (STRANGER, vouch(3, 7), Offence::Misdirected),
        (LINK, vouch(0, 7), Offence::OutOfRange),
        (LINK, vouch(200, 7), Offence::OutOfRange),
        (STRANGER, Message::Attached { rpc, supers: supers() }, Offence::UnknownReply),
        (STRANGER, Message::Redirect { rpc, supers: supers() }, Offence::UnknownReply),
        (STRANGER, Message::Linked { rpc, supers: supers() }, Offence::UnknownReply),
        (LINK, Message::Pong { rpc, load: 1, supers: supers() }, Offence::UnknownReply),
        (LEAF, Message::Shared { rpc }, Offence::UnknownReply),
        (LEAF, Message::Promoted { rpc, done: true }, Offence::UnknownReply),
        (STRANGER, Message::Promote { rpc, supers: supers() }, Offence::Misdirected),
        (LINK, Message::Fetched { rpc, id, has: true }, Offence::UnknownReply),
    ];
    for (from, message, offence) in cases {
        assert_eq!(offences(from, message.clone()), [offence], "{message:?} from {from}");
    }
}

#[test]
fn who_names_itself_or_us_is_not_believed() {
    let (mut net, _, leaf) = houses();
    let parent = net.nodes[&leaf].parent().unwrap();
    let mut before = net.nodes[&leaf].known();
    before.retain(|&peer| peer != parent);
    net.inject(parent, leaf, Message::Bye { supers: List::new(vec![leaf, parent]) });
    assert_eq!(net.outside.offences, [(leaf, Offence::NamesItself); 2]);
    assert!(net.nodes[&leaf].known().iter().all(|peer| before.contains(peer)));
}

#[test]
fn a_leaf_that_shares_too_much_is_heard_in_part() {
    let (mut net, house, _) = houses();
    let leaf = net.nodes[&house].leaves().next().unwrap();
    for number in 0..60 {
        let records = List::new(vec![record(number)]);
        net.inject(leaf, house, Message::Share { rpc: RpcId(number), records, withdrawn: List::default() });
    }
    assert_eq!(net.outside.offences, vec![(house, Offence::Full); 10]);
}

#[test]
fn long_names_of_a_leaf_take_no_more_than_their_share() {
    let (mut net, house, _) = houses();
    let leaf = net.nodes[&house].leaves().next().unwrap();
    let share = |net: &mut Net, number: u32, length: usize| {
        let records = List::new(vec![Record { name: "x".repeat(length).into(), ..record(number) }]);
        net.outside.offences.clear();
        net.inject(leaf, house, Message::Share { rpc: RpcId(number), records, withdrawn: List::default() });
        net.outside.offences.is_empty()
    };
    // Fifty records with 128 bytes each.
    let taken = (0..50).filter(|&number| share(&mut net, number, 1000)).count();
    assert_eq!(taken, 6);
    assert!(share(&mut net, 60, 400) && !share(&mut net, 61, 1), "the rest");
    assert!(share(&mut net, 0, 900) && share(&mut net, 62, 100), "a shorter name makes room");
    net.inject(
        leaf,
        house,
        Message::Share { rpc: RpcId(1), records: List::default(), withdrawn: List::new(vec![record(0).key]) },
    );
    assert!(share(&mut net, 63, 900) && !share(&mut net, 64, 1));
}

#[test]
fn super_peers_that_pass_a_leaf_to_and_fro_do_not_keep_its_search_from_ending() {
    let mut net = net(1);
    net.add(1);
    net.outside.log = Some(Vec::new());
    net.command(1, Command::Join(Some(100)));
    let other = |house| List::new(vec![if house == 100 { 101 } else { 100 }]);
    // Where the leaf is, and for how many half seconds.
    let mut home: Option<(u32, u32)> = None;
    let mut asked = false;
    for _ in 0..600 {
        for (_, to, message) in net.outside.log.replace(Vec::new()).unwrap() {
            let Message::Attach { rpc, .. } = message else { continue };
            net.inject(to, 1, Message::Attached { rpc, supers: other(to) });
            home = Some((to, 0));
        }
        if !asked && net.nodes[&1].is_member() {
            net.command(1, Command::LookUp(Op(1), record(1).key));
            asked = true;
        }
        // It is sent away before it despairs.
        match &mut home {
            Some((house, 8)) => {
                net.inject(*house, 1, Message::Bye { supers: other(*house) });
                home = None;
            }
            Some((_, stays)) => *stays += 1,
            None => {}
        }
        net.run_for(Duration::from_millis(500));
    }
    assert!(net.nodes[&1].counters().moves > 30);
    assert_eq!(result(&net, 1, 1), (0, Some(Outcome::Failed)));
}

#[test]
fn time_that_goes_back_changes_nothing() {
    let (mut net, house, _) = houses();
    net.run_for(MINUTE);
    net.outside.now = Time::from_secs(1);
    net.inject(STRANGER, house, Message::Attach { rpc: RpcId(1), capacity: 100 });
    assert_eq!(net.outside.offences.last(), Some(&(house, Offence::TimeWentBack)));
    assert!(!net.nodes[&house].known().contains(&STRANGER));
}

/// What strangers may make a super-peer of ten leaves and fifty records each hold: its
/// two tables of routes, the longest names in the index with their words, and the rest.
const STRANGERS_BYTES: usize = 2 * 4096 * 18 + 10 * 50 * (1024 + 17 * 22 + 120) + 16 * 1024;

#[test]
fn a_hostile_flood_meets_bounds() {
    let (mut net, house, _) = houses();
    let leaf = net.nodes[&house].leaves().next().unwrap();
    let link = net.nodes[&house].links().next().unwrap();
    for n in 0..20_000u32 {
        let (rpc, id, key) = (RpcId(n), QueryId(u64::from(n)), Id::hash(&n.to_be_bytes()));
        net.inject(n + 2000, house, Message::Attach { rpc, capacity: 100 });
        net.inject(n + 2000, house, Message::Link { rpc });
        net.inject(link, house, Message::Query { id, ttl: 1, what: What::Key(key) });
        let name = format!("{n} {}", "x".repeat(1000)).into();
        let records = List::new(vec![Record { key, name, size: 1 }]);
        for from in [leaf, n + 2000] {
            let (records, withdrawn) = (records.clone(), List::default());
            net.inject(from, house, Message::Share { rpc, records, withdrawn });
        }
        let hits = List::new(vec![Hit { record: record(1), provider: n + 2000 }]);
        net.inject(link, house, Message::Hits { id, hops: 1, hits });
        let core = &net.nodes[&house];
        assert!(core.leaves().count() <= 10 && core.links().count() <= 8);
        assert!(core.state_bytes() < STRANGERS_BYTES, "{} after {n}", core.state_bytes());
    }
}

fn any_supers() -> impl Strategy<Value = List<u32, 10>> {
    prop::collection::vec(0..12u32, 0..10).prop_map(List::new)
}

fn any_records() -> impl Strategy<Value = List<Record, 16>> {
    prop::collection::vec((0..4u32).prop_map(record), 0..5).prop_map(List::new)
}

fn any_what() -> impl Strategy<Value = What> {
    prop_oneof![
        (0..4u32).prop_map(|n| What::Key(record(n).key)),
        ("[a-z* ]{0,12}", any::<u16>())
            .prop_map(|(text, wanted)| What::Words(Query { text: text.into(), wanted })),
    ]
}

/// Messages as honest and other peers send them; ids and peers are few, so that they meet.
fn any_message() -> impl Strategy<Value = Message<u32>> {
    let (id, rpc, peer) = ((0..6u64).prop_map(QueryId), any::<u32>().prop_map(RpcId), 0..12u32);
    let keys = prop::collection::vec((0..4u32).prop_map(|n| record(n).key), 0..4).prop_map(List::new);
    let hits = any_records().prop_flat_map(|records| {
        (Just(records), 0..12u32).prop_map(|(records, provider)| {
            records.into_vec().into_iter().map(|record| Hit { record, provider }).collect::<List<_, 16>>()
        })
    });
    prop_oneof![
        (rpc.clone(), any::<u8>()).prop_map(|(rpc, capacity)| Message::Attach { rpc, capacity }),
        (rpc.clone(), any_supers()).prop_map(|(rpc, supers)| Message::Attached { rpc, supers }),
        (rpc.clone(), any_supers()).prop_map(|(rpc, supers)| Message::Redirect { rpc, supers }),
        (rpc.clone(), any_records(), keys).prop_map(|(rpc, records, withdrawn)| Message::Share {
            rpc,
            records,
            withdrawn
        }),
        rpc.clone().prop_map(|rpc| Message::Shared { rpc }),
        rpc.clone().prop_map(|rpc| Message::Ping { rpc }),
        (rpc.clone(), any::<u16>(), any_supers()).prop_map(|(rpc, load, supers)| Message::Pong {
            rpc,
            load,
            supers
        }),
        (id.clone(), 0..12u8, any_what()).prop_map(|(id, ttl, what)| Message::Query { id, ttl, what }),
        (id.clone(), 0..12u8, hits).prop_map(|(id, hops, hits)| Message::Hits { id, hops, hits }),
        (rpc.clone(), id.clone(), 0..4u32).prop_map(|(rpc, id, n)| Message::Fetch {
            rpc,
            id,
            key: record(n).key
        }),
        (rpc.clone(), id.clone(), any::<bool>()).prop_map(|(rpc, id, has)| Message::Fetched { rpc, id, has }),
        (id, 0..12u8, peer).prop_map(|(id, ttl, provider)| Message::Vouch { id, ttl, provider }),
        rpc.clone().prop_map(|rpc| Message::Link { rpc }),
        (rpc.clone(), any_supers()).prop_map(|(rpc, supers)| Message::Linked { rpc, supers }),
        (rpc.clone(), any_supers()).prop_map(|(rpc, supers)| Message::Promote { rpc, supers }),
        (rpc, any::<bool>()).prop_map(|(rpc, done)| Message::Promoted { rpc, done }),
        any_supers().prop_map(|supers| Message::Bye { supers }),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Say(u32, Message<u32>),
    Earlier(u64, Message<u32>),
    Wait(u64),
    Join(u32),
    Leave,
    Publish(u32),
    Withdraw(u32),
    Search(What),
    /// The answer that node 0 waits for to the last thing it said.
    Answer(List<u32, 10>),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..12u32, any_message()).prop_map(|(from, message)| Step::Say(from, message)),
        4 => any_supers().prop_map(Step::Answer),
        2 => (0..60_000_000u64).prop_map(Step::Wait),
        1 => (0..60_000_000u64, any_message()).prop_map(|(time, message)| Step::Earlier(time, message)),
        2 => (0..12u32).prop_map(Step::Join),
        1 => (0..4u32).prop_map(Step::Publish),
        1 => (0..4u32).prop_map(Step::Withdraw),
        2 => any_what().prop_map(Step::Search),
        1 => Just(Step::Leave),
    ]
}

/// What an honest peer would answer to `message`.
fn answer(message: &Message<u32>, supers: List<u32, 10>) -> Option<Message<u32>> {
    Some(match *message {
        Message::Attach { rpc, .. } => Message::Attached { rpc, supers },
        Message::Link { rpc } => Message::Linked { rpc, supers },
        Message::Share { rpc, .. } => Message::Shared { rpc },
        Message::Ping { rpc } => Message::Pong { rpc, load: 3, supers },
        Message::Promote { rpc, .. } => Message::Promoted { rpc, done: true },
        Message::Fetch { rpc, id, .. } => Message::Fetched { rpc, id, has: true },
        Message::Query { id, .. } => Message::Hits { id, hops: 0, hits: List::default() },
        _ => return None,
    })
}

/// Node 0, alone in the world with arbitrary voices, keeps its bounds and ends every
/// operation once.
fn any_order(steps: Vec<Step>) {
    let mut net = net(1);
    net.add(0);
    net.outside.log = Some(Vec::new());
    let mut ops = 0;
    for step in steps {
        match step {
            Step::Say(from, message) => net.inject(from, 0, message),
            Step::Earlier(micros, message) => {
                let now = net.outside.now;
                net.outside.now = now.min(Time::from_micros(micros));
                net.inject(1, 0, message);
                net.outside.now = now;
            }
            Step::Wait(micros) => net.run_for(Duration::from_micros(micros)),
            Step::Join(boot) => net.command(0, Command::Join((boot > 0).then_some(boot))),
            Step::Leave => net.command(0, Command::Leave),
            Step::Publish(number) => net.command(0, Command::Publish(record(number))),
            Step::Withdraw(number) => net.command(0, Command::Withdraw(record(number).key)),
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
            Step::Answer(supers) => {
                let last = net.outside.log.iter().flatten().last().cloned();
                if let Some((_, to, message)) = last
                    && let Some(message) = answer(&message, supers)
                {
                    net.inject(to, 0, message);
                }
            }
        }
        let core = &net.nodes[&0];
        assert!(core.leaves().count() <= 10 && core.links().count() <= 10);
        assert!(!core.known().contains(&0));
        assert!(core.parent().is_none() || !core.is_super());
        assert!(core.state_bytes() < STRANGERS_BYTES);
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
    fn inputs_in_any_order(steps in prop::collection::vec(any_step(), 1..80)) {
        any_order(steps);
    }
}
