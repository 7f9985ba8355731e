//! One look-up, step by step, with the tables of those on the way: for a student.
//!
//! The structured overlays find who is responsible for the key. The others know no such
//! node: there, somebody has a record of that key, and the look-up finds who.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use starling_overlay::{Command, Cost, Event, Id, Message, Op, Outcome, Overlay, Purpose, Record, Row};
use starling_sansio::Time;

use crate::engine::Engine;
use crate::network::{Latency, Network};
use crate::outside::Sent;
use crate::part::{Part, Script};
use crate::place::{Node, Places, Spread};
use crate::scenario::{Choice, Visit};

/// What to trace.
#[derive(Clone, Debug)]
pub struct Request {
    /// Hosts, all of them members with perfect tables.
    pub nodes: u32,
    /// Bits of the id space.
    pub bits: u32,
    /// Whether ids go in equal steps, as in the classroom.
    pub even: bool,
    /// Who asks.
    pub from: u32,
    /// What is looked up.
    pub key: Id,
    /// What chance is drawn from.
    pub seed: u64,
}

impl Request {
    /// Who has the record of that key where nobody is responsible for keys: the host of that
    /// number, counted around, or the one after the asking one.
    fn provider(&self) -> u32 {
        let host = (self.key.number(self.bits) % u64::from(self.nodes.max(1))) as u32;
        if host == self.from { (host + 1) % self.nodes.max(1) } else { host }
    }
}

/// A step of a look-up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// When the message was sent, counted from the beginning of the look-up.
    pub at: Duration,
    /// Who sent it.
    pub from: Id,
    /// To whom.
    pub to: Id,
    /// Whom it names besides those two.
    pub names: Vec<Id>,
    /// The kind of message, as its variant is called.
    pub what: String,
}

/// A look-up, as it went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The messages, in the order in which they were sent.
    pub steps: Vec<Step>,
    /// The tables of those who sent one of them, in the order in which they did so.
    pub tables: Vec<(Id, Vec<Row<Id>>)>,
    /// Who is responsible, or who has the record, as the look-up found.
    pub answer: Vec<Id>,
    /// How it ended; none if it did not.
    pub end: Option<(Outcome, Cost)>,
    /// Whether a record was looked for.
    of_record: bool,
    bits: u32,
}

/// Traces a find over `choice`; [`Choice::for_class`] has tables small enough to read.
pub fn trace(choice: &Choice, request: &Request) -> Trace {
    choice.visit(request.nodes, Tracer(request))
}

struct Tracer<'a>(&'a Request);

/// Remembers how the one operation ended.
#[derive(Default)]
struct Ending {
    answer: Vec<Node>,
    end: Option<(Outcome, Cost)>,
}

impl<C: Overlay<Node>> Script<C> for Ending {
    fn due(&mut self, _: u64, _: &mut Part<C>) {}

    fn told(&mut self, _: Node, event: Event<Node>, _: &mut Part<C>) {
        match event {
            Event::Closest { peers, .. } => self.answer = peers,
            Event::Hits { hits, .. } => self.answer.extend(hits.iter().map(|hit| hit.provider)),
            Event::Done { outcome, cost, .. } => self.end = Some((outcome, cost)),
            _ => {}
        }
    }
}

/// A look-up that takes longer is given up.
const LONGEST: Duration = Duration::from_secs(60);
/// Delay of all links.
const DELAY: Duration = Duration::from_millis(10);

impl Visit for Tracer<'_> {
    type Output = Trace;

    fn visit<C>(self, config: &Arc<C::Config>) -> Trace
    where
        C: Overlay<Node> + Send,
        C::Message: Send,
        C::Config: Send + Sync,
    {
        let Tracer(request) = self;
        let spread = if request.even { Spread::Even(request.nodes) } else { Spread::Random(request.seed) };
        let places = Places::new(request.bits, spread);
        let network = Network { latency: Latency::Constant(DELAY), ..Network::default() };
        let script = |_, _| Ending::default();
        let mut engine: Engine<C, Ending> =
            Engine::new(request.nodes, config, network, places.clone(), request.seed, script);
        engine.converge(0..request.nodes, || true);
        let mut begin = Time::ZERO;
        ask(&mut engine, request.from, Command::Find(Op(0), request.key));
        let ended = engine.parts().find_map(|(_, script)| script.end);
        let of_record = ended.is_some_and(|(outcome, _)| outcome == Outcome::Refused);
        if of_record {
            let host = request.provider();
            let record = Record { key: request.key, name: "it".into(), size: 0 };
            engine.part_of_mut(host).command(host, Command::Publish(record));
            begin = engine.now() + LONGEST;
            engine.run_until(begin, 1);
            engine.parts_mut().for_each(|(_, script)| *script = Ending::default());
            ask(&mut engine, request.from, Command::LookUp(Op(1), request.key));
        }
        let mut sent: Vec<Sent<C::Message>> =
            engine.parts_mut().flat_map(|(part, _)| part.logged()).collect();
        sent.retain(|sent| sent.message.purpose() == Purpose::LookUp);
        sent.sort_by_key(|sent| sent.time);
        let mut hosts = vec![request.from];
        for host in sent.iter().map(|sent| sent.from.host()) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        let id = |node: &Node| places.id(*node);
        let tables = hosts.into_iter().filter_map(|host| {
            let rows = engine.part_of(host).inspect(host, C::rows)?;
            let named = |row: Row<Node>| Row { label: row.label, peers: row.peers.iter().map(id).collect() };
            Some((places.id(Node::new(host, 0)), rows.into_iter().map(named).collect()))
        });
        let tables = tables.collect();
        let end = engine.parts().find_map(|(_, script)| script.end);
        let answer = engine.parts().flat_map(|(_, script)| script.answer.iter().map(id)).collect();
        let steps = sent.into_iter().map(|sent| step(sent, begin, &places)).collect();
        Trace { steps, tables, answer, end, of_record, bits: request.bits }
    }
}

/// Tells `host` to ask, and runs until it has an answer; logs what is sent meanwhile.
fn ask<C>(engine: &mut Engine<C, Ending>, host: u32, command: Command<Node>)
where
    C: Overlay<Node> + Send,
    C::Message: Send,
    C::Config: Send + Sync,
{
    engine.parts_mut().for_each(|(part, _)| part.log());
    engine.part_of_mut(host).command(host, command);
    let begin = engine.now();
    while engine.now().since(begin) < LONGEST && engine.parts().all(|(_, script)| script.end.is_none()) {
        let end = engine.now() + DELAY;
        engine.run_until(end, 1);
    }
}

fn step<M: Message<Node>>(mut sent: Sent<M>, begin: Time, places: &Places) -> Step {
    let mut names = Vec::new();
    sent.message.visit_peers(&mut |peer| {
        if *peer != sent.from && *peer != sent.to {
            names.push(places.id(*peer));
        }
    });
    let text = format!("{:?}", sent.message);
    // `Routing { cause: LookUp, message: Ask { .. } }` is an Ask to a reader.
    let inner = text.split_once("message: ").map_or(text.as_str(), |(_, inner)| inner);
    let what = inner.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("").to_owned();
    let at = sent.time.since(begin);
    Step { at, from: places.id(sent.from), to: places.id(sent.to), names, what }
}

/// Largest id space whose places are written as plain numbers.
const PLAIN_BITS: u32 = 20;

impl Trace {
    /// A place as a person writes it.
    fn name(&self, id: Id) -> String {
        if self.bits <= PLAIN_BITS {
            id.number(self.bits).to_string()
        } else {
            format!("{:.8}", id.to_string())
        }
    }

    fn names(&self, ids: &[Id]) -> String {
        ids.iter().map(|&id| self.name(id)).collect::<Vec<_>>().join(" ")
    }

    /// The trace as text: each message, and each node's table when it first speaks.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut shown: Vec<Id> = Vec::new();
        for (id, rows) in self.tables.iter().take(1) {
            self.put_table(&mut text, *id, rows);
            shown.push(*id);
        }
        for step in &self.steps {
            if let Some((id, rows)) =
                self.tables.iter().find(|(id, _)| *id == step.from && !shown.contains(id))
            {
                self.put_table(&mut text, *id, rows);
                shown.push(*id);
            }
            let (from, to) = (self.name(step.from), self.name(step.to));
            let names = if step.names.is_empty() {
                String::new()
            } else {
                format!(", names {}", self.names(&step.names))
            };
            let _ = writeln!(text, "{:>5} ms  {from} -> {to}  {}{names}", step.at.as_millis(), step.what);
        }
        self.put_end(&mut text);
        text
    }

    /// Whether the look-up found somebody.
    pub fn is_found(&self) -> bool {
        self.end.is_some_and(|(outcome, _)| outcome == Outcome::Found)
    }

    /// The trace for programs: a table or a message an object, in order.
    pub fn objects(&self) -> Vec<Value> {
        let names = |ids: &[Id]| ids.iter().map(|&id| self.name(id)).collect::<Vec<_>>();
        let tables = self.tables.iter().map(|(id, rows)| {
            let rows: Vec<Value> =
                rows.iter().map(|row| json!({ "row": row.label, "peers": names(&row.peers) })).collect();
            json!({ "event": "table", "node": self.name(*id), "rows": rows })
        });
        let steps = self.steps.iter().map(|step| {
            json!({
                "event": "message", "at_ms": step.at.as_millis() as u64, "from": self.name(step.from),
                "to": self.name(step.to), "message": step.what, "names": names(&step.names),
            })
        });
        let cost = self.end.map(|end| end.1);
        let end = json!({
            "event": "end", "found": self.is_found(), "answer": names(&self.answer),
            "hops": cost.map(|cost| cost.hops), "timeouts": cost.map(|cost| cost.timeouts),
        });
        tables.chain(steps).chain([end]).collect()
    }

    fn put_table(&self, text: &mut String, id: Id, rows: &[Row<Id>]) {
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{gap}node {}", self.name(id));
        let width = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
        for row in rows {
            let _ = writeln!(text, "    {:<width$}  {}", row.label, self.names(&row.peers));
        }
    }

    fn put_end(&self, text: &mut String) {
        if self.is_found() && self.steps.is_empty() {
            let asking = self.tables.first().map_or(String::new(), |table| self.name(table.0));
            let _ = writeln!(text, "\nno message: node {asking} knows it itself; --from lets another ask");
        }
        let _ = match (&self.end, self.answer.first()) {
            (Some((Outcome::Found, cost)), Some(&root)) => {
                let is = if self.of_record { "has it" } else { "is responsible" };
                writeln!(
                    text,
                    "\nfound: {} {is}, {} hops, {} timeouts",
                    self.name(root),
                    cost.hops,
                    cost.timeouts
                )
            }
            (Some(_), _) => writeln!(text, "\nnot found"),
            (None, _) => writeln!(text, "\nno end within {} s", LONGEST.as_secs()),
        };
    }
}
