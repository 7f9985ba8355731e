//! A Kademlia node to which anything may happen, in any order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use starling_overlay::kademlia::{Config, Kademlia, KademliaMessage, MAX_K, Parcel, Why};
use starling_overlay::wire::List;
use starling_overlay::{Core, Host, Id, Input, Offence, Op, Route, Routing, RpcId};
use starling_sansio::{Rng, Time};

/// The node under test, among peers 0 to [`PEERS`].
const ME: u32 = 7;
const PEERS: u32 = 400;
/// A struct, a full table, 32 look-ups of three paths, 32 pings: what one node may take.
const MOST_BYTES: usize = 1024 + 32 * 22 * 4 + 32 * 3 * 1536 + 32 * 64;

/// Something that happens.
#[derive(Clone, Debug)]
enum Act {
    Message(u32, KademliaMessage<u32>),
    /// A question that the node sent is answered by whom it asked, who names these.
    Answer(usize, Vec<u32>),
    Join(Option<u32>),
    Leave,
    Find(u32, bool),
    Cancel(u32),
    Send(u32, Option<u32>),
    Unreachable(u32),
    /// So many ms pass, and the node is woken as it wants.
    Pass(u64),
    /// The clock goes back for one message.
    Back(u64),
}

/// The world around the node.
struct Around {
    rng: Rng,
    sent: Vec<(u32, KademliaMessage<u32>)>,
    told: Vec<Routing<u32>>,
    refused: Vec<Offence>,
}

impl Host<u32, KademliaMessage<u32>, Routing<u32>> for Around {
    fn id(&self, peer: u32) -> Id {
        Id::hash(&peer.to_be_bytes())
    }
    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }
    fn distance(&self, _peer: u32) -> Option<Duration> {
        None
    }
    fn send(&mut self, to: u32, message: KademliaMessage<u32>) {
        self.sent.push((to, message));
    }
    fn emit(&mut self, event: Routing<u32>) {
        self.told.push(event);
    }
    fn refuse(&mut self, _from: Option<u32>, offence: Offence) {
        self.refused.push(offence);
    }
}

/// Lets it all happen to one node, and checks what must hold at any time.
fn drive(acts: &[Act], paths: usize, eager: bool) {
    let config = Arc::new(Config { k: 4, enough: 4, replicas: 3, paths, eager, ..Config::default() });
    let mut around =
        Around { rng: Rng::from_seed(5), sent: Vec::new(), told: Vec::new(), refused: Vec::new() };
    let mut node: Kademlia<u32> = Kademlia::new(ME, &config);
    let (mut now, mut next_op, mut open) = (Time::from_secs(10), 0, BTreeMap::new());
    for act in acts {
        let input = match act.clone() {
            Act::Message(from, message) => Some(Input::Message { from, message }),
            Act::Answer(which, names) => answer(&around.sent, which, names),
            Act::Join(through) => Some(Input::Command(Route::Join(through))),
            Act::Leave => Some(Input::Command(Route::Leave)),
            Act::Find(of, values) => {
                let op = Op(next_op);
                next_op += 1;
                open.insert(op, ());
                Some(Input::Command(Route::Find { op, key: around.id(of), values }))
            }
            Act::Cancel(op) => {
                open.remove(&Op(op));
                Some(Input::Command(Route::Cancel(Op(op))))
            }
            Act::Send(of, hint) => {
                let (key, payload) = (around.id(of), vec![1, 2, 3].into());
                Some(Input::Command(Route::Send { key, payload, hint }))
            }
            Act::Unreachable(peer) => Some(Input::Unreachable(peer)),
            Act::Pass(ms) => {
                pass(&mut node, &mut now, Duration::from_millis(ms), &mut around);
                None
            }
            Act::Back(ms) => {
                let before = (node.known(), around.sent.len(), around.refused.len());
                let input = Input::Message { from: 1, message: KademliaMessage::Ping { rpc: RpcId(1) } };
                node.handle(Time::ZERO + Duration::from_millis(ms), input, &mut around);
                assert_eq!((node.known(), around.sent.len(), around.refused.len() - 1), before);
                None
            }
        };
        if let Some(input) = input {
            node.handle(now, input, &mut around);
        }
        check(&node, &around, &mut open);
    }
    pass(&mut node, &mut now, Duration::from_secs(60), &mut around);
    check(&node, &around, &mut open);
    assert!(open.is_empty(), "finds that never ended: {open:?}");
}

/// The answer to a question that was sent.
fn answer(
    sent: &[(u32, KademliaMessage<u32>)],
    which: usize,
    names: Vec<u32>,
) -> Option<Input<u32, KademliaMessage<u32>, Route<u32>>> {
    let (from, question) = sent.get(sent.len().checked_sub(1 + which)?)?;
    let message = match *question {
        KademliaMessage::Ping { rpc } => KademliaMessage::Pong { rpc },
        KademliaMessage::Find { rpc, why, .. } => {
            KademliaMessage::Found { rpc, peers: List::new(names), why }
        }
        _ => return None,
    };
    Some(Input::Message { from: *from, message })
}

/// Time passes; the node is woken whenever it wants to be.
fn pass(node: &mut Kademlia<u32>, now: &mut Time, time: Duration, around: &mut Around) {
    let end = *now + time;
    while let Some(due) = node.next_timeout().filter(|&due| due <= end) {
        *now = due.max(*now);
        node.handle_timeout(*now, around);
        assert!(node.next_timeout().is_none_or(|next| next > *now), "it does all that is due");
    }
    *now = end;
}

fn check(node: &Kademlia<u32>, around: &Around, open: &mut BTreeMap<Op, ()>) {
    assert!(around.sent.iter().all(|(to, _)| *to != ME), "it never writes to itself");
    assert!(!node.known().contains(&ME));
    assert!(node.rows(around).iter().all(|row| row.peers.len() <= 4), "k is a bound");
    assert!(node.state_bytes() < MOST_BYTES, "{} bytes", node.state_bytes());
    let mut ended: Vec<Op> = Vec::new();
    for event in &around.told {
        if let Routing::Closest { op, peers, .. } = event {
            assert!(!ended.contains(op), "a find ends once");
            assert!(peers.len() <= 3);
            ended.push(*op);
            open.remove(op);
        }
    }
}

fn any_message() -> impl Strategy<Value = KademliaMessage<u32>> {
    let why = prop::sample::select(vec![Why::Maintenance, Why::Node, Why::Value]);
    let rpc = (0..64u32).prop_map(RpcId);
    let names = prop::collection::vec(0..PEERS, 0..=MAX_K);
    prop_oneof![
        rpc.clone().prop_map(|rpc| KademliaMessage::Ping { rpc }),
        rpc.clone().prop_map(|rpc| KademliaMessage::Pong { rpc }),
        (rpc.clone(), any::<u32>(), any::<u8>(), why.clone()).prop_map(|(rpc, of, hops, why)| {
            KademliaMessage::Find { rpc, key: Id::hash(&of.to_be_bytes()), op: of, hops, why }
        }),
        (rpc, names, why)
            .prop_map(|(rpc, names, why)| { KademliaMessage::Found { rpc, peers: List::new(names), why } }),
        Just(KademliaMessage::Leave {}),
        (any::<u32>(), any::<u8>()).prop_map(|(of, hops)| {
            let key = Id::hash(&of.to_be_bytes());
            KademliaMessage::Send { parcel: Box::new(Parcel { key, hops, payload: List::default() }) }
        }),
    ]
}

fn any_act() -> impl Strategy<Value = Act> {
    let peer = 0..PEERS;
    let names = prop::collection::vec(0..PEERS, 0..6);
    prop_oneof![
        4 => (peer.clone(), any_message()).prop_map(|(from, message)| Act::Message(from, message)),
        8 => (0..12usize, names).prop_map(|(which, names)| Act::Answer(which, names)),
        1 => prop::option::of(peer.clone()).prop_map(Act::Join),
        2 => (any::<u32>(), any::<bool>()).prop_map(|(of, values)| Act::Find(of, values)),
        1 => (0..40u32).prop_map(Act::Cancel),
        1 => (any::<u32>(), prop::option::of(peer.clone())).prop_map(|(of, hint)| Act::Send(of, hint)),
        1 => peer.prop_map(Act::Unreachable),
        2 => (0..4_000u64).prop_map(Act::Pass),
        1 => (0..8_000_000u64).prop_map(Act::Pass),
        1 => (0..9_000u64).prop_map(Act::Back),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_order(
        first in prop::collection::vec(any_act(), 0..200),
        left: bool,
        then in prop::collection::vec(any_act(), 0..100),
        paths in 1..4usize,
        eager: bool,
    ) {
        let join = [Act::Join(None)];
        let leave = if left { vec![Act::Leave, Act::Join(Some(3))] } else { Vec::new() };
        drive(&[&join[..], &first, &leave, &then].concat(), paths, eager);
    }
}
