//! Many nodes in one thread, and what is done with them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use starling_net::overlay::{Counts, Node, Options, replay};
use starling_overlay::{Command, Contact, Event, Id, Op, Overlay, Query, Record};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

/// Nodes that join one after another, before more come at once.
const FIRST: usize = 8;
/// Nodes that join at once.
const WAVE: usize = 24;
/// The node whose life is recorded: an early one, which has an office where there are any,
/// and which outlives the others.
const RECORDED: usize = 1;
/// Where the seed's last byte is in a record: after 12 of the entry's head, 1 of its kind
/// and 8 of the node's name.
const SEED_AT: usize = 12 + 1 + 8 + 7;
/// Rest between a search that did not find and the next.
const POLL: Duration = Duration::from_millis(200);

/// Runs a scene on a thread's runtime, and fails if it takes too long.
pub fn within(deadline: Duration, scene: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = LocalSet::new();
    let all = local.run_until(async { timeout(deadline, scene).await });
    runtime.block_on(all).expect("the scene ends in time");
}

/// What node `n` has.
fn thing(n: usize) -> Record {
    let name = format!("starling thing{n}");
    Record { key: Id::hash(name.as_bytes()), name: name.into(), size: n as u64 }
}

/// The nodes that live; who died is `None`.
pub struct Crowd<O: Overlay<Contact>> {
    config: Arc<O::Config>,
    nodes: Vec<Option<Node<O>>>,
    names: Vec<Contact>,
    record: Memory,
    ops: u32,
}

impl<O: Overlay<Contact> + 'static> Crowd<O> {
    pub fn new(config: O::Config) -> Self {
        let record = Memory::default();
        Crowd { config: Arc::new(config), nodes: Vec::new(), names: Vec::new(), record, ops: 0 }
    }

    /// `count` nodes join: a few one after another, the others in waves, each through one
    /// that is in.
    pub async fn join(&mut self, count: usize) {
        while self.nodes.len() < count {
            let inside = self.nodes.len();
            let wave = if inside < FIRST { 1 } else { WAVE.min(count - inside) };
            for n in inside..inside + wave {
                let node = self.start(n);
                let through = (inside > 0).then(|| self.names[n * 7 % inside]);
                node.command(Command::Join(through)).await;
                self.names.push(node.me());
                self.nodes.push(Some(node));
            }
            for node in self.nodes[inside..].iter_mut().flatten() {
                while node.event().await.expect("the node runs") != Event::Joined {}
            }
        }
    }

    fn start(&self, n: usize) -> Node<O> {
        let record = (n == RECORDED).then(|| Box::new(self.record.clone()) as Box<dyn Write>);
        let at = ([127, 0, 0, 1], 0).into();
        let options = Options { at, virtual_node: 0, network: "crowd".into(), seed: n as u64, record };
        Node::start(&self.config, options).unwrap()
    }

    pub async fn publish(&self, providers: &[usize]) {
        for &n in providers {
            self.nodes[n].as_ref().unwrap().command(Command::Publish(thing(n))).await;
        }
    }

    /// Somebody else looks up what each provider has, and a third one searches it, until
    /// they find it.
    pub async fn find_each(&mut self, providers: &[usize]) {
        let mut asking = JoinSet::new();
        for &n in providers {
            for (far, by_word) in [(101, false), (52, true)] {
                let who = self.living(n + far);
                let node = self.nodes[who].take().unwrap();
                let query = Query { text: format!("thing{n}").into(), wanted: 1 };
                self.ops += 1;
                let op = Op(self.ops);
                let what =
                    if by_word { Command::Search(op, query) } else { Command::LookUp(op, thing(n).key) };
                let wanted = BTreeSet::from([(thing(n).key, self.names[n])]);
                asking.spawn_local(async move { (who, find(node, op, what, wanted).await) });
            }
        }
        while let Some(done) = asking.join_next().await {
            let (who, node) = done.unwrap();
            self.nodes[who] = Some(node);
        }
    }

    /// Node `who`, or the next that lives, searches the word that all things have in
    /// common, until it finds all of them.
    pub async fn find_all(&mut self, who: usize, providers: &[usize]) {
        let who = self.living(who);
        let node = self.nodes[who].take().unwrap();
        let wanted = providers.iter().map(|&n| (thing(n).key, self.names[n])).collect();
        self.ops += 1;
        let op = Op(self.ops);
        let all = Query { text: "starling".into(), wanted: 1000 };
        self.nodes[who] = Some(find(node, op, Command::Search(op, all), wanted).await);
    }

    /// The first living node from `n` on that is not busy.
    fn living(&self, n: usize) -> usize {
        let mut all = (n..n + self.nodes.len()).map(|n| n % self.nodes.len());
        all.find(|&n| self.nodes[n].is_some()).unwrap()
    }

    /// These die without a word.
    pub fn kill(&mut self, dead: &[usize]) {
        dead.iter().for_each(|&n| self.nodes[n] = None);
    }

    /// Nobody was misunderstood, and nothing was left out. What is foreign may come: the
    /// dead's ports are free for the nodes of tests that run beside this one.
    pub fn check_counts(&self) {
        let (mut sent, mut bytes, mut fragmented) = (0, 0, 0);
        for node in self.nodes.iter().flatten() {
            let counts = node.counts();
            assert!(counts.received > counts.foreign && counts.sent > 0, "{counts:?}");
            let bad = [counts.malformed, counts.too_large, counts.untold, counts.unrecorded];
            assert_eq!(bad, [0; 4], "{counts:?}");
            sent += counts.sent;
            bytes += counts.sent_bytes;
            fragmented += counts.fragmented;
        }
        let each = bytes / sent;
        println!("{}: the living sent {sent} datagrams of {each} bytes, {fragmented} in fragments", O::NAME);
        let sum =
            |count: fn(&Counts) -> u64| self.nodes.iter().flatten().map(|n| count(&n.counts())).sum::<u64>();
        let [challenges, proven, held, dropped] =
            [sum(|c| c.challenges), sum(|c| c.proven), sum(|c| c.held), sum(|c| c.dropped)];
        println!(
            "{}: {challenges} challenges, {proven} proofs, {held} messages held, {dropped} dropped",
            O::NAME
        );
    }

    /// The recorded node's life, once more; with another seed it is another one.
    pub fn live_again(&self) {
        let mut record = self.record.0.take();
        println!("{}: a record of {} bytes", O::NAME, record.len());
        assert!(record.len() > 1000);
        let again = replay::<O>(&self.config, &record).unwrap();
        assert!(record == again, "the same inputs made other outputs");

        assert!(replay::<O>(&self.config, &record[..record.len() - 1]).is_err(), "cut short");
        record[SEED_AT] ^= 1;
        let other = replay::<O>(&self.config, &record).unwrap();
        assert!(record != other, "a seed that does not matter");
    }
}

/// Lets `node` ask again and again until it has found all that is `wanted`.
async fn find<O: Overlay<Contact> + 'static>(
    mut node: Node<O>,
    op: Op,
    what: Command<Contact>,
    wanted: BTreeSet<(Id, Contact)>,
) -> Node<O> {
    loop {
        let mut missing = wanted.clone();
        node.command(what.clone()).await;
        loop {
            match node.event().await.expect("the node runs") {
                Event::Hits { op: of, hits } if of == op => {
                    hits.iter().for_each(|hit| _ = missing.remove(&(hit.record.key, hit.provider)));
                }
                Event::Done { op: of, .. } if of == op => break,
                _ => {}
            }
        }
        if missing.is_empty() {
            return node;
        }
        sleep(POLL).await;
    }
}

/// A record in memory.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
