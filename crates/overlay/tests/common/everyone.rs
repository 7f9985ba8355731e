//! The simplest key-based routing: everyone knows everyone, every path is one hop.

use std::sync::Arc;
use std::time::Duration;

use starling_overlay::wire::List;
use starling_overlay::{
    Checked, Core, Cost, Host, Id, Input, KeyBased, Message, Op, Purpose, Route, Routing, Row, View, Wanted,
    wire_enum,
};
use starling_sansio::Time;

wire_enum! {
    /// What they say.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Say<> {
        1 => Hello {},
        2 => Members { all: List<u32, 1000> },
        3 => Here {},
        4 => Bye {},
        5 => Ask { op: u32, key: Id, values: bool },
        6 => Answer { op: u32, set: List<u32, 20> },
    }
}

impl Message<u32> for Say {
    fn purpose(&self) -> Purpose {
        match self {
            Say::Ask { .. } | Say::Answer { .. } => Purpose::LookUp,
            _ => Purpose::Maintenance,
        }
    }

    fn visit_peers(&mut self, _visit: &mut dyn FnMut(&mut u32)) {}
}

/// How often everyone says that it is there.
const BEAT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(16);
const WAIT: Duration = Duration::from_secs(1);

/// A question that is asked three times.
#[derive(Debug)]
struct Find {
    due: Time,
    tries: u32,
    to: u32,
    op: u32,
    key: Id,
    values: bool,
}

/// A node.
#[derive(Debug)]
pub struct Everyone {
    me: u32,
    member: bool,
    beat: Time,
    /// Who is there, this node included, and when it was last heard.
    others: Vec<(u32, Time)>,
    finds: Vec<Find>,
}

type Event = Routing<u32>;

impl Everyone {
    fn heard(&mut self, now: Time, peer: u32, host: &mut impl Host<u32, Say, Event>) {
        match self.others.iter_mut().find(|one| one.0 == peer) {
            Some(one) => one.1 = now,
            None => {
                self.others.push((peer, now));
                host.emit(Routing::Update { peer, joined: true });
            }
        }
    }

    fn gone(&mut self, peer: u32, host: &mut impl Host<u32, Say, Event>) {
        if self.others.iter().any(|one| one.0 == peer) {
            self.others.retain(|one| one.0 != peer);
            host.emit(Routing::Update { peer, joined: false });
        }
    }

    fn set(&self, key: Id, count: usize, host: &impl Host<u32, Say, Event>) -> Vec<u32> {
        let mut all = self.known();
        all.push(self.me);
        all.sort_by_key(|&peer| host.id(peer).xor(key));
        all.truncate(count);
        all
    }

    fn tell(&self, message: &Say, host: &mut impl Host<u32, Say, Event>) {
        self.others.iter().for_each(|one| host.send(one.0, message.clone()));
    }

    fn ask(&mut self, now: Time, host: &mut impl Host<u32, Say, Event>) {
        for find in self.finds.iter_mut().filter(|find| find.due <= now) {
            (find.due, find.tries) = (now + WAIT, find.tries + 1);
            if find.tries <= 3 {
                host.send(find.to, Say::Ask { op: find.op, key: find.key, values: find.values });
            } else {
                let cost = Cost { hops: 0, timeouts: 3 };
                host.emit(Routing::Closest { op: Op(find.op), peers: vec![], cost });
            }
        }
        self.finds.retain(|find| find.tries <= 3);
    }

    fn command(&mut self, now: Time, command: Route<u32>, host: &mut impl Host<u32, Say, Event>) {
        match command {
            Route::Join(through) => {
                self.beat = now + BEAT;
                self.member = through.is_none();
                match through {
                    Some(peer) => host.send(peer, Say::Hello {}),
                    None => host.emit(Routing::Joined),
                }
            }
            Route::Leave => {
                self.tell(&Say::Bye {}, host);
                (self.member, self.beat, self.others) = (false, Time::NEVER, Vec::new());
                host.emit(Routing::Left);
            }
            Route::Find { op, key, values } => {
                let peers = self.set(key, 20, host);
                let cost = Cost::default();
                if peers[0] == self.me || !self.member {
                    host.emit(Routing::Closest { op, peers: if self.member { peers } else { vec![] }, cost });
                } else {
                    self.finds.push(Find { due: now, tries: 0, to: peers[0], op: op.0, key, values });
                    self.ask(now, host);
                }
            }
            Route::Cancel(op) => self.finds.retain(|find| find.op != op.0),
            Route::Send { .. } => {}
        }
    }
}

impl Core<u32> for Everyone {
    type Message = Say;
    type Command = Route<u32>;
    type Event = Event;
    type Config = ();

    fn new(me: u32, _config: &Arc<()>) -> Self {
        Everyone { me, member: false, beat: Time::NEVER, others: Vec::new(), finds: Vec::new() }
    }

    fn handle(
        &mut self,
        now: Time,
        input: Input<u32, Say, Route<u32>>,
        host: &mut impl Host<u32, Say, Event>,
    ) {
        match input {
            Input::Command(command) => self.command(now, command, host),
            Input::Unreachable(peer) => self.gone(peer, host),
            Input::Message { from, message: Say::Bye {} } => self.gone(from, host),
            Input::Message { .. } if !self.member && self.beat == Time::NEVER => {}
            Input::Message { from, message } => match message {
                Say::Hello {} => {
                    let all = self.known().into_iter().chain([self.me]).collect();
                    host.send(from, Say::Members { all });
                }
                Say::Members { all } => {
                    let known = self.known();
                    let fresh = |peer: &&u32| **peer != self.me && !known.contains(peer);
                    for peer in all.iter().filter(fresh).copied().collect::<Vec<u32>>() {
                        self.heard(now, peer, host);
                        host.send(peer, Say::Here {});
                    }
                    if !std::mem::replace(&mut self.member, true) {
                        host.emit(Routing::Joined);
                    }
                }
                Say::Here {} | Say::Bye {} => {
                    if !self.known().contains(&from) {
                        let all = self.known().into_iter().chain([self.me]).collect();
                        host.send(from, Say::Members { all });
                    }
                    self.heard(now, from, host);
                }
                Say::Ask { op, key, .. } => {
                    let set = self.set(key, 20, host).into_iter().collect();
                    host.send(from, Say::Answer { op, set });
                }
                Say::Answer { op, set } => {
                    if self.finds.iter().any(|find| find.op == op) {
                        self.finds.retain(|find| find.op != op);
                        let cost = Cost { hops: 1, timeouts: 0 };
                        host.emit(Routing::Closest { op: Op(op), peers: set.into_vec(), cost });
                    }
                }
            },
        }
    }

    fn handle_timeout(&mut self, now: Time, host: &mut impl Host<u32, Say, Event>) {
        self.ask(now, host);
        if self.beat <= now {
            self.beat = now + BEAT;
            self.tell(&Say::Here {}, host);
            let silent: Vec<_> =
                self.others.iter().filter(|one| now.since(one.1) > SILENCE).map(|one| one.0).collect();
            silent.into_iter().for_each(|peer| self.gone(peer, host));
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        let finds = self.finds.iter().map(|find| find.due);
        finds.chain([self.beat]).min().filter(|&due| due != Time::NEVER)
    }

    fn converge(&mut self, now: Time, view: &View<'_, u32>, host: &mut impl Host<u32, Say, Event>) {
        self.member = true;
        self.beat = now + Duration::from_micros(host.rng().below(BEAT.as_micros() as u64));
        let others = view.members().iter().filter(|one| one.1 != self.me);
        self.others = others.map(|one| (one.1, now)).collect();
    }

    fn is_member(&self) -> bool {
        self.member
    }

    fn known(&self) -> Vec<u32> {
        let mut known: Vec<u32> = self.others.iter().map(|one| one.0).collect();
        known.sort_unstable();
        known
    }

    fn rows(&self, _host: &impl Host<u32, Say, Event>) -> Vec<Row<u32>> {
        vec![Row { label: "everyone".into(), peers: self.known() }]
    }

    fn state_bytes(&self) -> usize {
        size_of::<Self>() + self.others.capacity() * 16 + self.finds.capacity() * size_of::<Find>()
    }
}

impl Checked<u32> for Everyone {
    fn flaw<'a>(
        &self,
        _view: &View<'_, u32>,
        _node: &dyn Fn(u32) -> Option<&'a Self>,
        _host: &impl Host<u32, Say, Event>,
    ) -> Option<String>
    where
        Self: 'a,
    {
        None
    }
}

impl KeyBased<u32> for Everyone {
    const NAME: &'static str = "everyone";
    const REPLICAS: usize = 3;

    fn me(&self) -> u32 {
        self.me
    }

    fn wants(from: u32, message: &Say) -> Option<Wanted<u32>> {
        match message {
            Say::Ask { op, key, values: true } => {
                Some(Wanted { key: *key, origin: from, op: Op(*op), hops: 1 })
            }
            _ => None,
        }
    }

    fn local_lookup(&self, key: Id, num: usize, _safe: bool, host: &impl Host<u32, Say, Event>) -> Vec<u32> {
        self.set(key, num, host)
    }

    fn neighbor_set(&self, num: usize, host: &impl Host<u32, Say, Event>) -> Vec<u32> {
        let mut set = self.set(host.id(self.me), num + 1, host);
        set.retain(|&peer| peer != self.me);
        set
    }

    fn replica_set(&self, key: Id, max_rank: usize, host: &impl Host<u32, Say, Event>) -> Vec<u32> {
        self.set(key, max_rank, host)
    }

    fn range(&self, _: u32, _: usize, _: Id, _: &impl Host<u32, Say, Event>) -> Option<(Id, Id)> {
        None
    }
}
