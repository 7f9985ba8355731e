//! The memory of a Kelips node: how it grows, and what it is in a network of 10^5 nodes with
//! 10^7 files. All nodes together would keep 3 * 10^9 tuples; so it is measured at single
//! nodes, whose group's files are announced to them.

use std::sync::Arc;
use std::time::Duration;

use starling_overlay::kelips::{Announcement, Config, Kelips, Message};
use starling_overlay::{Core, Event, Host, Id, Input, Offence, Record, RpcId, View};
use starling_sansio::{Rng, Time};

const NODES: u32 = 100_000;
const FILES: u32 = 10_000_000;
/// The paper's k.
const GROUPS: u32 = 317;

/// A driver that sends nothing.
struct Void(Rng);

impl Host<u32, Message<u32>, Event<u32>> for Void {
    fn id(&self, peer: u32) -> Id {
        Id::hash(&peer.to_be_bytes())
    }
    fn rng(&mut self) -> &mut Rng {
        &mut self.0
    }
    fn distance(&self, _: u32) -> Option<Duration> {
        None
    }
    fn send(&mut self, _: u32, _: Message<u32>) {}
    fn emit(&mut self, _: Event<u32>) {}
    fn refuse(&mut self, _: Option<u32>, _: Offence) {}
}

/// Bytes of node `number`'s state in a network of `nodes` nodes without files.
pub fn state(number: u32, nodes: u32) -> f64 {
    let config = Config::for_nodes(nodes.into());
    converged(number, nodes, config).0.state_bytes() as f64
}

/// Megabytes of node `number`'s state with its share of the files: as the paper counts,
/// and really.
pub fn megabytes(number: u32) -> (f64, f64) {
    let config = Config { groups: GROUPS, ..Config::for_nodes(NODES.into()) };
    let (mut node, mut host) = converged(number, NODES, config);
    for file in 0..FILES / GROUPS {
        let message = Message::Announce { rpc: RpcId(1), what: Box::new(announcement(node.group(), file)) };
        node.handle(Time::from_secs(2), Input::Message { from: NODES, message }, &mut host);
    }
    assert_eq!(node.tuples(), (FILES / GROUPS) as usize);
    (node.paper_bytes() as f64 / 1e6, node.state_bytes() as f64 / 1e6)
}

/// One node with perfect tables.
fn converged(number: u32, nodes: u32, config: Config) -> (Kelips<u32>, Void) {
    let mut host = Void(Rng::from_seed(number.into()));
    let mut members: Vec<(Id, u32)> = (0..nodes).map(|peer| (host.id(peer), peer)).collect();
    members.sort_unstable();
    let mut node = Kelips::new(number, &Arc::new(config));
    node.converge(Time::from_secs(1), &View::new(&members), &mut host);
    (node, host)
}

/// Of a file whose key is in `group`, as hashing would have sorted it there.
fn announcement(group: u32, file: u32) -> Announcement {
    let arc = u64::MAX / u64::from(GROUPS);
    let step = arc / u64::from(FILES / GROUPS + 2);
    let key = Id::from_high(u64::from(group) * arc + u64::from(group) + (u64::from(file) + 1) * step);
    let record = Record { key, name: "a name of thirty-two characters.".into(), size: 1 };
    Announcement { under: key.high(), record, beat: 1, live: true }
}
