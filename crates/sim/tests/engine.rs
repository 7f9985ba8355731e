//! The engine by itself, with a core that only chats.

use std::sync::Arc;
use std::time::Duration;

use starling_overlay::wire::{Malformed, Reader, Wire, Writer};
use starling_overlay::{Core, Host, Input, Message, Purpose, Row, View};
use starling_sansio::Time;
use starling_sim::{
    Engine, Hostility, Latency, Network, Node, Part, Partition, Places, Script, Spread, Tally,
};

/// Each node talks to its friends every second; who hears something passes it on
/// while its number of hops is small.
struct Chatter {
    me: Node,
    next: Option<Time>,
    friends: Vec<Node>,
    heard: u64,
}

#[derive(Clone, Debug)]
struct Gossip {
    hops: u8,
    about: Node,
}

impl Wire for Gossip {
    fn encode(&self, out: &mut impl Writer) {
        self.hops.encode(out);
        self.about.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Gossip { hops: u8::decode(input)?, about: Node::decode(input)? })
    }
}

impl Message<Node> for Gossip {
    fn purpose(&self) -> Purpose {
        if self.hops == 0 { Purpose::Maintenance } else { Purpose::Search }
    }

    fn visit_peers(&mut self, visit: &mut dyn FnMut(&mut Node)) {
        visit(&mut self.about);
    }
}

impl Core<Node> for Chatter {
    type Message = Gossip;
    type Command = Node;
    type Event = (Node, u8);
    type Config = Duration;

    fn new(me: Node, _: &Arc<Duration>) -> Self {
        Chatter { me, next: None, friends: Vec::new(), heard: 0 }
    }

    fn handle(
        &mut self,
        _: Time,
        input: Input<Node, Gossip, Node>,
        host: &mut impl Host<Node, Gossip, (Node, u8)>,
    ) {
        match input {
            Input::Message { from, message } => {
                self.heard += 1;
                host.emit((from, message.hops));
                if message.hops < 2 && !self.friends.is_empty() {
                    let friend = self.friends[host.rng().index(self.friends.len())];
                    host.send(friend, Gossip { hops: message.hops + 1, about: message.about });
                }
            }
            Input::Command(to) => host.send(to, Gossip { hops: 0, about: self.me }),
            Input::Unreachable(_) => {}
        }
    }

    fn handle_timeout(&mut self, now: Time, host: &mut impl Host<Node, Gossip, (Node, u8)>) {
        self.next = Some(now + Duration::from_secs(1));
        let friend = self.friends[host.rng().index(self.friends.len())];
        host.send(friend, Gossip { hops: 0, about: self.me });
    }

    fn next_timeout(&self) -> Option<Time> {
        self.next
    }

    fn converge(&mut self, now: Time, view: &View<'_, Node>, host: &mut impl Host<Node, Gossip, (Node, u8)>) {
        self.friends = (0..5).map(|_| view.members()[host.rng().index(view.len())].1).collect();
        self.next = Some(now + Duration::from_micros(host.rng().below(1_000_000)));
    }

    fn is_member(&self) -> bool {
        self.next.is_some()
    }

    fn known(&self) -> Vec<Node> {
        self.friends.clone()
    }

    fn rows(&self, _: &impl Host<Node, Gossip, (Node, u8)>) -> Vec<Row<Node>> {
        Vec::new()
    }

    fn state_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// Hosts crash now and then; everything that is told is counted.
#[derive(Default)]
struct Crashes {
    told: u64,
    about: Vec<Node>,
}

impl Script<Chatter> for Crashes {
    fn due(&mut self, tag: u64, part: &mut Part<Chatter>) {
        if let Some(host) = part.random_live() {
            part.stop(host);
        }
        if tag > 0 {
            part.plan(part.now() + Duration::from_millis(300), tag - 1);
        }
    }

    fn told(&mut self, _: Node, event: (Node, u8), _: &mut Part<Chatter>) {
        self.told += 1;
        self.about.push(event.0);
    }
}

fn network() -> Network {
    let latency = Latency::Uniform(Duration::from_millis(5), Duration::from_millis(90));
    Network { latency, loss: 0.02, seed: 9, ..Network::default() }
}

fn world(hosts: u32, network: Network) -> Engine<Chatter, Crashes> {
    let places = Places::new(64, Spread::Random(3));
    let config = Arc::new(Duration::from_secs(1));
    let mut engine = Engine::new(hosts, &config, network, places, 11, |_, _| Crashes::default());
    engine.converge(0..hosts, || true);
    engine
}

fn run(threads: usize) -> (u64, u64, Tally) {
    let mut engine = world(2_000, network());
    engine.parts_mut().for_each(|(part, _)| part.plan(Time::from_secs(1), 50));
    engine.run_until(Time::from_secs(10), threads);
    engine.run_until(Time::from_secs(20), threads);
    let tally = engine.tally();
    (tally.hash(), engine.parts().map(|(_, script)| script.told).sum(), tally)
}

#[test]
fn one_thread_and_two_give_the_same_trace() {
    let (hash, told, tally) = run(1);
    assert!(told > 50_000, "{told}");
    let sent: u64 = tally.messages.iter().sum();
    assert!(tally.lost > 0 && told <= sent - tally.lost, "{told} of {sent}, {} lost", tally.lost);
    for _ in 0..2 {
        assert_eq!(run(2).0, hash);
        assert_eq!(run(1).0, hash);
    }
}

#[test]
fn lies_name_only_the_hostile_and_the_silent_answer_nothing() {
    let honest = world(1_000, network()).tally();
    assert_eq!(honest.delivered, 0);
    for (how, answers) in [(Hostility::Lie, true), (Hostility::Drop, false)] {
        let network = Network { hostile: Some((1.0, how)), ..network() };
        let mut engine = world(1_000, network);
        engine.run_until(Time::from_secs(5), 1);
        let tally = engine.tally();
        assert!(tally.messages[0] > 4_000);
        assert_eq!(tally.messages[2] > 0, answers, "{how:?}");
    }
}

#[test]
fn who_is_behind_a_nat_is_reached_only_by_those_it_called() {
    let network = Network {
        natted: 1.0,
        loss: 0.0,
        latency: Latency::Constant(Duration::from_millis(10)),
        seed: 1,
        ..network()
    };
    let mut engine = world(2, network);
    engine.parts_mut().for_each(|(part, _)| {
        (0..2).for_each(|host| {
            part.stop(host);
            part.start(host, false);
        });
    });
    let told = |engine: &Engine<Chatter, Crashes>| engine.parts().map(|(_, script)| script.told).sum::<u64>();
    let call = |engine: &mut Engine<Chatter, Crashes>, from, to| {
        engine.part_of_mut(from).command(from, Node::new(to, 0));
        let end = engine.now() + Duration::from_secs(1);
        engine.run_until(end, 1);
    };
    call(&mut engine, 0, 1);
    assert_eq!(told(&engine), 0, "1 had not called 0");
    call(&mut engine, 1, 0);
    assert_eq!(told(&engine), 1, "0 had called 1");
}

#[test]
fn limited_uplinks_delay_and_partitions_keep_apart() {
    let slow = Network { uplink: Some(1_000), loss: 0.0, ..network() };
    let mut engine = world(1_000, slow);
    engine.run_until(Time::from_secs(5), 1);
    let fast = {
        let mut engine = world(1_000, Network { loss: 0.0, ..network() });
        engine.run_until(Time::from_secs(5), 1);
        engine.tally().delivered
    };
    assert!(engine.tally().delivered < fast, "{} of {fast}", engine.tally().delivered);

    let partition = Partition { from: Time::ZERO, until: Time::from_secs(5), share: 0.5 };
    let parted = Network { partitions: vec![partition], loss: 0.0, ..network() };
    let mut engine = world(1_000, parted);
    engine.run_until(Time::from_secs(5), 1);
    let crossing = engine.tally();
    let lost = crossing.messages.iter().sum::<u64>() - crossing.delivered;
    let share = lost as f64 / crossing.messages.iter().sum::<u64>() as f64;
    assert!((0.4..0.6).contains(&share), "{share} did not cross");
}
