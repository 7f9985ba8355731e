//! The overlays' cores: whatever strangers send, in whatever order and at whatever time; and the
//! datagrams that they come in.
//!
//! An input of a core is a script for one node among others that exist only by name. A step is a
//! byte that says what happens, and its arguments:
//!
//! - `0`: time goes on by the next two bytes, in tens of milliseconds; deadlines pass.
//! - `1`: time goes back by as much.
//! - `2`: the node is told to do something, as the next two bytes say.
//! - `3`: a peer cannot be reached: the next byte.
//! - any other: a message from the peer of the next byte; two bytes of length, its bytes.

use std::sync::Arc;
use std::time::Duration;

use starling_overlay::chord::Chord;
use starling_overlay::dht::{Dht, DhtConfig};
use starling_overlay::kademlia::Kademlia;
use starling_overlay::pastry::Pastry;
use starling_overlay::wire::{MESSAGE_MAX, Wire};
use starling_overlay::{Command, Event, Host, Id, Input, Message, Offence, Op, Overlay, Query, Record, View};
use starling_overlay::{fasttrack, gnutella, kelips, napster};
use starling_sansio::{Rng, Time};

/// A script for Chord with postings.
pub fn overlay_chord(data: &[u8]) {
    run::<Dht<u32, Chord<u32>>>(data, DhtConfig::new(Default::default(), 4));
}

/// A script for Pastry with postings.
pub fn overlay_pastry(data: &[u8]) {
    run::<Dht<u32, Pastry<u32>>>(data, DhtConfig::new(Default::default(), 4));
}

/// A script for Kademlia with postings.
pub fn overlay_kademlia(data: &[u8]) {
    run::<Dht<u32, Kademlia<u32>>>(data, DhtConfig::new(Default::default(), 8));
}

/// A script for Kelips.
pub fn overlay_kelips(data: &[u8]) {
    run::<kelips::Kelips<u32>>(data, kelips::Config::for_nodes(NODES.into()));
}

/// A script for Napster.
pub fn overlay_napster(data: &[u8]) {
    run::<napster::Napster<u32>>(data, napster::Config::default());
}

/// A script for Gnutella.
pub fn overlay_gnutella(data: &[u8]) {
    run::<gnutella::Gnutella<u32>>(data, gnutella::Config::default());
}

/// A script for FastTrack.
pub fn overlay_fasttrack(data: &[u8]) {
    run::<fasttrack::FastTrack<u32>>(data, fasttrack::Config::default());
}

/// A datagram between nodes on real sockets.
pub fn overlay_datagram(data: &[u8]) {
    if let Ok(again) = starling_net::overlay::rewritten(data) {
        assert_eq!(again, data);
    }
}

/// Nodes that there are, by name.
const NODES: u32 = 30;
/// Bytes of state that no script of a few kilobytes can exceed.
const MOST_STATE: usize = 8 << 20;
/// Messages in answer to one input at most.
const MOST_SENT: usize = 10_000;

/// The world of the one node.
struct World {
    rng: Rng,
    sent: usize,
    offences: usize,
}

impl<M: Message<u32>> Host<u32, M, Event<u32>> for World {
    fn id(&self, peer: u32) -> Id {
        place(peer)
    }

    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn distance(&self, peer: u32) -> Option<Duration> {
        (!peer.is_multiple_of(3)).then(|| Duration::from_millis(u64::from(peer % 97)))
    }

    fn send(&mut self, to: u32, message: M) {
        assert_ne!(to, ME, "a node sends to itself");
        let bytes = message.to_wire();
        assert!(bytes.len() <= MESSAGE_MAX, "a node sends what no driver carries: {message:?}");
        assert!(M::from_wire(&bytes).is_ok(), "a node sends what none can read: {message:?}");
        assert_eq!(bytes.len(), message.wire_len());
        self.sent += 1;
    }

    fn emit(&mut self, _event: Event<u32>) {}

    fn refuse(&mut self, _from: Option<u32>, _offence: Offence) {
        self.offences += 1;
    }
}

/// The node that is tried.
const ME: u32 = 0;

fn place(peer: u32) -> Id {
    Id::hash(&peer.to_be_bytes())
}

/// Runs a script.
fn run<C: Overlay<u32>>(script: &[u8], config: C::Config) {
    let mut core = C::new(ME, &Arc::new(config));
    let mut world = World { rng: Rng::from_seed(7), sent: 0, offences: 0 };
    let mut members: Vec<(Id, u32)> = (0..NODES).map(|peer| (place(peer), peer)).collect();
    members.sort_unstable();
    let mut now = Time::from_secs(1_000);
    core.converge(now, &View::new(&members), &mut world);
    let mut rest = script;
    while !rest.is_empty() {
        let step = next(&mut rest);
        world.sent = 0;
        match step {
            0 => {
                now = now + span(&mut rest);
                core.handle_timeout(now, &mut world);
            }
            1 => core.handle_timeout(now - span(&mut rest), &mut world),
            2 => core.handle(now, Input::Command(command(next(&mut rest), next(&mut rest))), &mut world),
            3 => core.handle(now, Input::Unreachable(next(&mut rest).into()), &mut world),
            _ => {
                let from = u32::from(next(&mut rest)).max(1);
                let length = usize::from(number(&mut rest)).min(rest.len());
                let (bytes, after) = rest.split_at(length);
                rest = after;
                if let Ok(message) = C::Message::from_wire(bytes) {
                    core.handle(now, Input::Message { from, message }, &mut world);
                }
            }
        }
        assert!(world.sent <= MOST_SENT, "{} messages at once", world.sent);
        assert!(core.state_bytes() <= MOST_STATE, "{} bytes of state", core.state_bytes());
        assert!(!core.known().contains(&ME), "a node knows itself");
    }
    let _ = core.next_timeout();
}

/// The next byte of the script; zero at its end.
fn next(rest: &mut &[u8]) -> u8 {
    let Some((&first, after)) = rest.split_first() else { return 0 };
    *rest = after;
    first
}

fn number(rest: &mut &[u8]) -> u16 {
    u16::from_be_bytes([next(rest), next(rest)])
}

fn span(rest: &mut &[u8]) -> Duration {
    Duration::from_millis(10 * u64::from(number(rest)))
}

fn command(what: u8, which: u8) -> Command<u32> {
    let record =
        |n: u8| Record { key: Id::hash(&[n]), name: format!("word{} number{n}", n % 4).into(), size: 1 };
    let op = Op(which.into());
    match what % 7 {
        0 => Command::Join(Some(u32::from(which).max(1))),
        1 => Command::Leave,
        2 => Command::Publish(record(which)),
        3 => Command::Withdraw(record(which).key),
        4 => Command::LookUp(op, record(which).key),
        5 => Command::Search(op, Query { text: format!("word{}", which % 4).into(), wanted: 10 }),
        _ => Command::Find(op, Id::hash(&[which, 1])),
    }
}
