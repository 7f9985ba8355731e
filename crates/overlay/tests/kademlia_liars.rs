//! Kademlia among liars: disjoint paths.

mod common;

use std::time::Duration;

use common::World;
use starling_overlay::kademlia::{Config, KademliaMessage};
use starling_overlay::{Id, Op, Route};

const MINUTE: Duration = Duration::from_secs(60);

fn key(number: u32) -> Id {
    Id::hash(format!("key {number}").as_bytes())
}

/// S/Kademlia, section 4.4 and figure 5: look-ups over more disjoint paths survive more liars.
/// A fifth of the nodes answer with names they made up close to the key.
#[test]
fn disjoint_paths_survive_liars() {
    let (one, four) = (with_liars(1), with_liars(4));
    println!("found with liars: {one:?} over one path, {four:?} over four");
    let (low, high) = (wilson(one).1, wilson(four).0);
    assert!(low < high, "one path at most {low:.2}, four at least {high:.2}");
}

/// The 95 % interval of a share (Wilson 1927).
fn wilson((right, all): (usize, usize)) -> (f64, f64) {
    let (n, p, z) = (all as f64, right as f64 / all as f64, 1.96);
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    (middle - half, middle + half)
}

/// Of how many finds did one get to an honest node among the four closest, where a value would be?
fn with_liars(paths: usize) -> (usize, usize) {
    let mut found = (0, 0);
    for seed in 0..10 {
        let config = Config { k: 8, enough: 8, paths, ..Config::default() };
        let mut net: World<liar::Node> = World::new(seed, 160, config);
        net.converged(liar::HONEST_AND_LIARS);
        (liar::MADE_UP).for_each(|node| net.add(node));
        net.outside.log = Some(Vec::new());
        for op in 0..20 {
            let honest = 5 * (op * 7 + seed as u32);
            net.command(honest, Route::Find { op: Op(op), key: key(op), values: true });
        }
        net.run_for(MINUTE);
        let log = net.outside.log.take().unwrap_or_default();
        for op in 0..20 {
            let mut all: Vec<u32> = (0..liar::HONEST_AND_LIARS).collect();
            all.sort_by_cached_key(|&node| net.outside.place(node).xor(key(op)));
            let holds = |node: u32| all[..4].contains(&node) && !liar::lies(node);
            found.1 += usize::from(all[..4].iter().any(|&node| !liar::lies(node)));
            found.0 += usize::from(log.iter().any(|(_, to, message)| {
                holds(*to) && matches!(message, KademliaMessage::Find { key: of, .. } if *of == key(op))
            }));
        }
    }
    found
}

/// Nodes of which some lie.
mod liar {
    use std::ops::Range;
    use std::sync::Arc;

    use starling_overlay::kademlia::{Config, Kademlia, KademliaMessage};
    use starling_overlay::wire::List;
    use starling_overlay::{Core, Host, Input, Route, Routing, Row, View};
    use starling_sansio::Time;

    type Message = KademliaMessage<u32>;

    pub const HONEST_AND_LIARS: u32 = 800;
    /// Names that liars name: so many that the closest of them to a key are closer than others.
    pub const MADE_UP: Range<u32> = 10_000..14_000;

    pub fn lies(node: u32) -> bool {
        node % 5 == 1 || MADE_UP.contains(&node)
    }

    pub struct Node(u32, Kademlia<u32>);

    impl Core<u32> for Node {
        type Message = Message;
        type Command = Route<u32>;
        type Event = Routing<u32>;
        type Config = Config;

        fn new(me: u32, config: &Arc<Config>) -> Self {
            Node(me, Kademlia::new(me, config))
        }

        fn handle(
            &mut self,
            now: Time,
            input: Input<u32, Message, Route<u32>>,
            host: &mut impl Host<u32, Message, Routing<u32>>,
        ) {
            match input {
                Input::Message { from, message: Message::Find { rpc, key, why, .. } } if lies(self.0) => {
                    let mut names: Vec<u32> = MADE_UP.filter(|&name| name != self.0).collect();
                    names.sort_by_cached_key(|&name| host.id(name).xor(key));
                    names.truncate(8);
                    host.send(from, Message::Found { rpc, peers: List::new(names), why });
                }
                input => self.1.handle(now, input, host),
            }
        }

        fn handle_timeout(&mut self, now: Time, host: &mut impl Host<u32, Message, Routing<u32>>) {
            self.1.handle_timeout(now, host);
        }

        fn next_timeout(&self) -> Option<Time> {
            self.1.next_timeout()
        }

        fn converge(
            &mut self,
            now: Time,
            view: &View<'_, u32>,
            host: &mut impl Host<u32, Message, Routing<u32>>,
        ) {
            self.1.converge(now, view, host);
        }

        fn is_member(&self) -> bool {
            self.1.is_member()
        }

        fn known(&self) -> Vec<u32> {
            self.1.known()
        }

        fn rows(&self, host: &impl Host<u32, Message, Routing<u32>>) -> Vec<Row<u32>> {
            self.1.rows(host)
        }

        fn state_bytes(&self) -> usize {
            self.1.state_bytes()
        }
    }
}
