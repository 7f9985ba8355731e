//! Pastry, and the postings on it, against arbitrary inputs.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::World;
use proptest::prelude::*;
use starling_overlay::dht::{Ask, Dht, DhtMessage, Gone, Handed, Put, Shown};
use starling_overlay::pastry::{Config, Find, Join, Parcel, Pastry, PastryMessage};
use starling_overlay::wire::{List, Wire};
use starling_overlay::{Command, Core, Id, Input, Op, Purpose, Query, Record, Route, RpcId};
use starling_sansio::Time;

type Routed = PastryMessage<u32>;
type Posted = DhtMessage<u32, Routed>;

/// Names of 20 nodes that are there and of as many that are not.
fn peer() -> impl Strategy<Value = u32> {
    0u32..40
}

fn peers<const MAX: usize>() -> impl Strategy<Value = List<u32, MAX>> {
    prop::collection::vec(peer(), 0..20).prop_map(List::new)
}

fn rpc() -> impl Strategy<Value = RpcId> {
    any::<u32>().prop_map(RpcId)
}

/// Few keys, so that inputs meet.
fn key() -> impl Strategy<Value = Id> {
    (0u32..20).prop_map(|number| Id::hash(&number.to_be_bytes()))
}

fn hops() -> impl Strategy<Value = u16> {
    prop_oneof![0u16..5, any::<u16>()]
}

fn routed() -> impl Strategy<Value = Routed> {
    let find = (key(), peer(), any::<(u32, u32)>(), hops(), hops(), any::<bool>()).prop_map(
        |(key, origin, (op, nonce), hops, timeouts, values)| Find {
            key,
            origin,
            op,
            nonce,
            hops,
            timeouts,
            values,
        },
    );
    let join = (peer(), any::<u32>(), hops(), any::<u8>()).prop_map(|(newcomer, nonce, hops, row)| Join {
        newcomer,
        nonce,
        hops,
        row,
    });
    let parcel = (key(), prop::collection::vec(any::<u8>(), 0..50), hops(), hops()).prop_map(
        |(key, payload, hops, timeouts)| {
            Box::new(Parcel { key, payload: Bytes::from(payload), hops, timeouts })
        },
    );
    prop_oneof![
        (rpc(), find).prop_map(|(rpc, find)| Routed::Find { rpc, find }),
        rpc().prop_map(|rpc| Routed::Ack { rpc }),
        (any::<(u32, u32)>(), hops(), hops(), peers())
            .prop_map(|((op, nonce), hops, timeouts, set)| Routed::Found { op, nonce, hops, timeouts, set }),
        (rpc(), any::<u32>(), key(), hops(), any::<bool>())
            .prop_map(|(rpc, op, key, hops, values)| Routed::Ask { rpc, op, key, hops, values }),
        (rpc(), any::<bool>(), peers()).prop_map(|(rpc, root, peers)| Routed::Next { rpc, root, peers }),
        (rpc(), parcel).prop_map(|(rpc, parcel)| Routed::Carry { rpc, parcel }),
        (rpc(), join).prop_map(|(rpc, join)| Routed::Join { rpc, join }),
        (any::<u32>(), peers()).prop_map(|(nonce, peers)| Routed::JoinRows { nonce, peers }),
        (any::<u32>(), peers()).prop_map(|(nonce, leaf)| Routed::JoinLeaf { nonce, leaf }),
        (rpc(), peers()).prop_map(|(rpc, leaf)| Routed::LeafAsk { rpc, leaf }),
        (rpc(), peers()).prop_map(|(rpc, leaf)| Routed::LeafAnswer { rpc, leaf }),
        (rpc(), any::<u8>()).prop_map(|(rpc, row)| Routed::RowAsk { rpc, row }),
        (rpc(), peers()).prop_map(|(rpc, peers)| Routed::RowAnswer { rpc, peers }),
        rpc().prop_map(|rpc| Routed::Ping { rpc }),
        rpc().prop_map(|rpc| Routed::Pong { rpc }),
        peer().prop_map(|peer| Routed::Gone { peer }),
        peers().prop_map(|leaf| Routed::Bye { leaf }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    (key(), "[a-d]{1,2}( [a-d]{1,2}){0,3}", any::<u64>()).prop_map(|(key, name, size)| Record {
        key,
        name: name.into(),
        size,
    })
}

fn query() -> impl Strategy<Value = Query> {
    ("[a-d*]{0,3}( [a-d]{1,2}){0,2}", 0u16..50).prop_map(|(text, wanted)| Query { text: text.into(), wanted })
}

fn shown() -> impl Strategy<Value = Shown<u32>> {
    (record(), peer()).prop_map(|(record, provider)| Shown { record, provider })
}

/// A key, or the hash of a word.
fn under() -> impl Strategy<Value = Id> {
    prop_oneof![key(), "[a-d]{1,2}".prop_map(|word| Id::hash(word.as_bytes()))]
}

fn posted() -> impl Strategy<Value = Posted> {
    let values = || prop::collection::vec(shown(), 0..5).prop_map(List::new);
    let put = (under(), record()).prop_map(|(under, record)| Box::new(Put { under, record }));
    let ask = (under(), query(), any::<u16>())
        .prop_map(|(under, query, skip)| Box::new(Ask { under, query, skip }));
    let handed =
        (under(), any::<u32>(), shown()).prop_map(|(under, left_s, shown)| Handed { under, left_s, shown });
    prop_oneof![
        routed().prop_map(|message| Posted::Routing { cause: Purpose::Publish, message }),
        (rpc(), put).prop_map(|(rpc, put)| Posted::Put { rpc, put }),
        (rpc(), prop::collection::vec((under(), key()), 0..4)).prop_map(|(rpc, gone)| {
            let items = gone.into_iter().map(|(under, what)| Gone { under, what }).collect();
            Posted::Drop { rpc, items }
        }),
        (rpc(), prop::collection::vec(handed, 0..5))
            .prop_map(|(rpc, items)| Posted::Hand { rpc, items: List::new(items) }),
        (rpc(), any::<bool>()).prop_map(|(rpc, kept)| Posted::Stored { rpc, kept }),
        (any::<u32>(), key()).prop_map(|(op, key)| Posted::Get { op, key }),
        (any::<u32>(), any::<u32>(), values()).prop_map(|(op, hops, values)| Posted::Values {
            op,
            hops,
            values
        }),
        (any::<u32>(), ask).prop_map(|(op, ask)| Posted::Search { op, ask }),
        (any::<u32>(), any::<bool>(), values()).prop_map(|(op, more, values)| Posted::Matches {
            op,
            more,
            values
        }),
    ]
}

/// Something that happens to a node.
#[derive(Clone, Debug)]
enum Act<M, C> {
    Message(u32, M),
    Command(C),
    Unreachable(u32),
    Wait(u64),
    GoBack,
}

fn act<M: Clone + std::fmt::Debug, C: Clone + std::fmt::Debug>(
    message: impl Strategy<Value = M> + 'static,
    command: impl Strategy<Value = C> + 'static,
) -> impl Strategy<Value = Act<M, C>> {
    prop_oneof![
        6 => (peer(), message).prop_map(|(from, message)| Act::Message(from, message)),
        2 => command.prop_map(Act::Command),
        1 => peer().prop_map(Act::Unreachable),
        2 => (0u64..20_000).prop_map(Act::Wait),
        1 => Just(Act::GoBack),
    ]
}

/// Node 0 of 20 gets anything in any order: no panic, `next_timeout` is not in the past
/// once it was served, and the state stays within `bound` bytes.
fn any_order<C: Core<u32>>(
    config: C::Config,
    acts: Vec<Act<C::Message, C::Command>>,
    bound: usize,
) -> World<C> {
    let mut world = World::<C>::new(7, 160, config);
    world.converged(20);
    for act in acts {
        match act {
            Act::Message(from, message) => world.inject(from, 0, message),
            Act::Command(command) => world.command(0, command),
            Act::Unreachable(peer) => world.unreachable(0, peer),
            Act::Wait(millis) => world.run_for(Duration::from_millis(millis)),
            Act::GoBack => {
                let Some(core) = world.nodes.get_mut(&0) else { continue };
                core.handle(Time::ZERO, Input::Unreachable(1), &mut world.outside);
            }
        }
        let core = &world.nodes[&0];
        assert!(core.state_bytes() <= bound, "{} bytes", core.state_bytes());
        assert!(!core.known().contains(&0), "it knows itself");
    }
    world.run_for(Duration::from_secs(200));
    assert!(world.nodes[&0].next_timeout().is_none_or(|next| next >= world.outside.now));
    world
}

fn route() -> impl Strategy<Value = Route<u32>> {
    let op = || (0u32..5).prop_map(Op);
    prop_oneof![
        1 => prop::option::of(peer()).prop_map(Route::Join),
        1 => Just(Route::Leave),
        6 => (op(), key(), any::<bool>()).prop_map(|(op, key, values)| Route::Find { op, key, values }),
        2 => op().prop_map(Route::Cancel),
        2 => (key(), prop::option::of(peer()))
            .prop_map(|(key, hint)| Route::Send { key, payload: Bytes::from_static(b"!"), hint }),
    ]
}

fn command() -> impl Strategy<Value = Command<u32>> {
    let op = || any::<u32>().prop_map(Op);
    prop_oneof![
        1 => prop::option::of(peer()).prop_map(Command::Join),
        1 => Just(Command::Leave),
        4 => record().prop_map(Command::Publish),
        2 => key().prop_map(Command::Withdraw),
        4 => (op(), key()).prop_map(|(op, key)| Command::LookUp(op, key)),
        4 => (op(), query()).prop_map(|(op, query)| Command::Search(op, query)),
        2 => (op(), key()).prop_map(|(op, key)| Command::Find(op, key)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn messages_come_back_as_they_were(message in posted()) {
        let bytes = message.to_wire();
        prop_assert_eq!(bytes.len(), message.wire_len());
        prop_assert!(Posted::from_wire(&bytes[..bytes.len() - 1]).is_err());
        prop_assert_eq!(Posted::from_wire(&bytes), Ok(message));
    }

    #[test]
    fn bytes_of_strangers_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Posted::from_wire(&bytes) {
            prop_assert_eq!(message.to_wire(), bytes);
        }
    }

    #[test]
    fn pastry_survives_any_order(
        iterative in any::<bool>(),
        race in any::<bool>(),
        acts in prop::collection::vec(act(routed(), route()), 0..60),
    ) {
        let config = Config { iterative, race, neighborhood: 8, ..Config::default() };
        any_order::<Pastry<u32>>(config, acts, 40_000);
    }

    #[test]
    fn postings_survive_any_order_and_every_operation_ends(
        acts in prop::collection::vec(act(posted(), command()), 0..60),
    ) {
        let mut asked: Vec<Op> = acts.iter().filter_map(|act| match act {
            Act::Command(Command::LookUp(op, _) | Command::Search(op, _) | Command::Find(op, _)) => Some(*op),
            _ => None,
        }).collect();
        let config = Dht::<u32, Pastry<u32>>::config(Config::default());
        let world = any_order::<Dht<u32, Pastry<u32>>>(config, acts, 100_000);
        let mut ended: Vec<Op> = world.outside.events.iter().filter_map(|(.., event)| match event {
            starling_overlay::Event::Done { op, .. } => Some(*op),
            _ => None,
        }).collect();
        asked.sort_unstable();
        ended.sort_unstable();
        prop_assert_eq!(asked, ended);
    }
}
