//! From what is written to what is meant.

use std::sync::Arc;
use std::time::Duration;

use starling_overlay::{Id, MAX_WORDS};
use starling_sansio::Time;

use super::brief;
use super::choice::Choice;
use super::file::{
    Ask, CheckName, ChurnTable, File, HostileDeed, LatencyTable, LifetimeTable, Links, RecordsTable,
    SpreadName, Start, TrafficTable,
};
use crate::catalogue::Catalogue;
use crate::check::Check;
use crate::churn::{Churn, Lifetime};
use crate::hosts::Hosts;
use crate::metrics::Kind;
use crate::network::{Hostility, Latency, Network, Partition};
use crate::place::{MAX_HOSTS, Places, Spread};
use crate::plan::{Amount, Arrival, Plan, Traffic};
use crate::report::COLUMNS;
use crate::trial::{Failure, Setting, Victims};

/// A key that is to blame, with the tables that it is in, and what is wrong with its value.
pub(crate) type Blame = (String, String);

/// Longest simulation, in seconds: a year.
pub(crate) const MOST_SECS: f64 = 366.0 * 86_400.0;

/// Most questions of one traffic that is told their number.
const MOST_ASKED: f64 = 1e8;

/// Most different records.
const MOST_RECORDS: f64 = 1e8;

/// Hits after which a search may stop that does not say it.
const WANTED: u16 = 1_000;

/// Most questions a second of one traffic: their moments are told apart by microseconds.
const MOST_A_SECOND: f64 = 2e5;

/// Whether a file makes sense.
pub fn sense(file: &File) -> Result<(), Blame> {
    range("nodes", f64::from(file.nodes), 1.0, f64::from(MAX_HOSTS))?;
    range("bits", f64::from(file.bits), 1.0, f64::from(Id::BITS))?;
    let most = f64::from(MAX_HOSTS / (file.nodes + 1)).max(1.0);
    range("virtual_nodes", f64::from(file.virtual_nodes), 1.0, most)?;
    let numbers = hosts(file).numbers();
    if file.bits < 32 && u64::from(numbers) > 1 << file.bits {
        let needed = 32 - (numbers - 1).leading_zeros();
        return blame("bits", format!("{numbers} nodes need at least {needed} bits"));
    }
    range("duration_s", file.duration_s, 0.001, MOST_SECS)?;
    moment("measure_from_s", file.measure_from_s, file)?;
    range("seeds", file.seeds as f64, 1.0, 10_000.0)?;
    range("join_over_s", file.join_over_s.unwrap_or(0.0), 0.0, file.duration_s)?;
    if file.join_over_s.is_some() && file.start != Start::Join {
        return blame("join_over_s", "nobody joins: add start = \"join\", or leave join_over_s out".into());
    }
    if file.overlay.choices(file.bits, file.upkeep).is_empty() {
        let names = super::NAMES.join("], [overlay.");
        return blame("overlay", format!("no overlay is chosen: add one of [overlay.{names}]"));
    }
    within("overlay", file.overlay.sense(numbers))?;
    names(file)?;
    columns(&file.columns, COLUMNS.iter().map(|column| column.name))?;
    within("network", network(&file.network, file))?;
    events(file)?;
    each("traffic", &file.traffic, |traffic| asked(traffic, file))?;
    let searched = file.traffic.iter().any(|traffic| traffic.ask == Ask::Search);
    if searched && file.records.as_ref().is_some_and(|records| records.words == 0) {
        return blame("records.words", "nothing can be searched in names of 0 words: give them some".into());
    }
    Ok(())
}

/// It is the fault of this key.
pub(crate) fn blame(key: &str, what: String) -> Result<(), Blame> {
    Err((key.to_owned(), what))
}

/// The key that is to blame is in `table`.
pub(crate) fn within<R>(table: &str, found: Result<R, Blame>) -> Result<R, Blame> {
    found.map_err(|(key, what)| (format!("{table}.{key}"), what))
}

/// The same for each table of an array.
pub(super) fn each<T, R>(
    name: &str,
    tables: &[T],
    check: impl Fn(&T) -> Result<R, Blame>,
) -> Result<Vec<R>, Blame> {
    let found = tables.iter().enumerate();
    found.map(|(at, table)| within(&format!("{name}.{at}"), check(table))).collect()
}

/// Whether a key's value lies between two bounds.
pub(crate) fn range(key: &str, value: f64, low: f64, high: f64) -> Result<(), Blame> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    blame(key, format!("{key} is {}, but must be from {low} to {high}", short(value)))
}

/// Whether there is time left when something begins: at the end nothing happens any more.
fn moment(key: &str, at: f64, file: &File) -> Result<(), Blame> {
    if (0.0..file.duration_s).contains(&at) {
        return Ok(());
    }
    let (at, end) = (short(at), short(file.duration_s));
    blame(key, format!("{key} is {at}, but must be from 0 to less than {end}, when the scenario ends"))
}

/// A number as its author may have written it, not with all its hundreds of digits.
pub(super) fn short(value: f64) -> String {
    let is_long = value != 0.0 && !(1e-6..1e12).contains(&value.abs());
    if is_long { format!("{value:e}") } else { value.to_string() }
}

/// Whether the variants of an overlay have names of their own: rows of one name are one.
fn names(file: &File) -> Result<(), Blame> {
    let choices = file.overlay.choices(file.bits, file.upkeep);
    let (mut name, mut variant) = ("", 0);
    for (at, choice) in choices.iter().enumerate() {
        variant = if choice.name() == name { variant + 1 } else { 0 };
        name = choice.name();
        let label = choice.label();
        if choices[..at].iter().any(|other| other.label() == label) {
            let what = format!("another row is called {label:?} already: give each variant a label");
            return blame(&format!("overlay.{name}.{variant}"), what);
        }
    }
    Ok(())
}

/// Whether all columns are `known`, and each is there once.
pub(crate) fn columns<'a>(
    columns: &[String],
    known: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), Blame> {
    for (at, name) in columns.iter().enumerate() {
        if !known.clone().any(|known| known == name) {
            let names = known.collect::<Vec<_>>().join(", ");
            let name = brief(name);
            return blame("columns", format!("there is no column {name:?}; there are {names}"));
        }
        if columns[..at].contains(name) {
            return blame("columns", format!("the column {name:?} is there twice"));
        }
    }
    Ok(())
}

fn network(links: &Links, file: &File) -> Result<(), Blame> {
    range("loss", links.loss, 0.0, 1.0)?;
    range("natted", links.natted, 0.0, 1.0)?;
    range("uplink_kb_s", links.uplink_kb_s.unwrap_or(1.0), 0.001, 1e9)?;
    within("latency", delays(&links.latency))?;
    each("partition", &links.partition, |partition| {
        range("share", partition.share, 0.0, 1.0)?;
        moment("from_s", partition.from_s, file)?;
        range("until_s", partition.until_s, partition.from_s, MOST_SECS)?;
        lasting(partition.from_s, partition.until_s)
    })?;
    let Some(hostile) = &links.hostile else { return Ok(()) };
    if hostile.does == HostileDeed::Crowd && file.records.is_none() {
        return blame("hostile.does", "nothing is published that they could crowd: add [records]".into());
    }
    within("hostile", range("share", hostile.share, 0.0, 1.0))
}

/// Whether there is any time between two moments.
fn lasting(from: f64, until: f64) -> Result<(), Blame> {
    if from < until {
        return Ok(());
    }
    blame("until_s", format!("until_s is {}, when it begins: make it later", short(until)))
}

/// Whether what begins at `from` and takes `over` seconds is done before the scenario ends.
fn done(key: &str, from: f64, over: f64, file: &File) -> Result<(), Blame> {
    if from + over <= file.duration_s {
        return Ok(());
    }
    blame(key, format!("it lasts until {} s, but the scenario only {} s", from + over, file.duration_s))
}

/// Whether delays are possible ones.
pub(crate) fn delays(latency: &LatencyTable) -> Result<(), Blame> {
    match *latency {
        LatencyTable::Constant { ms } => range("ms", ms, 0.001, 1e6),
        LatencyTable::Uniform { low_ms, high_ms } => {
            range("low_ms", low_ms, 0.001, 1e6)?;
            range("high_ms", high_ms, low_ms, 1e6)
        }
        LatencyTable::Euclidean { base_ms, across_ms } => {
            range("base_ms", base_ms, 0.001, 1e6)?;
            range("across_ms", across_ms, 0.0, 1e6)
        }
        LatencyTable::Internet {} => Ok(()),
    }
}

fn events(file: &File) -> Result<(), Blame> {
    let comes = file.start == Start::Join || !file.arrival.is_empty() || file.churn.is_some();
    if comes && !file.upkeep {
        let what = "without upkeep nobody can come: leave it on, or leave out start, arrivals and churn";
        return blame("upkeep", what.into());
    }
    if let Some(ChurnTable { session, absence, graceful, .. }) = &file.churn {
        within("churn.session", lifetime(session))?;
        within("churn.absence", lifetime(absence))?;
        within("churn", range("graceful", *graceful, 0.0, 1.0))?;
    }
    each("failure", &file.failure, |failure| {
        range("share", failure.share.unwrap_or(0.0), 0.0, 1.0)?;
        range("probability", failure.probability.unwrap_or(0.0), 0.0, 1.0)?;
        if failure.share.is_some() == failure.probability.is_some() {
            let what = "say either the share that fails or the probability of each, and not both";
            return blame("", what.into());
        }
        moment("at_s", failure.at_s, file)
    })?;
    each("arrival", &file.arrival, |arrival| {
        moment("at_s", arrival.at_s, file)?;
        range("over_s", arrival.over_s, 0.0, file.duration_s)?;
        range("count", arrival.count.into(), 1.0, file.nodes.into())?;
        done("over_s", arrival.at_s, arrival.over_s, file)
    })?;
    let arriving: u64 = file.arrival.iter().map(|arrival| u64::from(arrival.count)).sum();
    if arriving >= u64::from(file.nodes) {
        return blame(
            "arrival",
            format!("{arriving} of {} nodes arrive later: at least one must be there", file.nodes),
        );
    }
    file.records.as_ref().map_or(Ok(()), |records| within("records", published(records, file)))
}

fn published(records: &RecordsTable, file: &File) -> Result<(), Blame> {
    if records.count.is_some() == records.per_node.is_some() {
        return blame("", "say either count or per_node of the records, and not both".into());
    }
    let most = MOST_RECORDS / f64::from(file.nodes);
    range("per_node", records.per_node.unwrap_or(most), 1.0 / f64::from(MAX_HOSTS), most)?;
    range("count", records.number(file.nodes), 1.0, MOST_RECORDS)?;
    range("copies", f64::from(records.copies), 1.0, f64::from(file.nodes))?;
    range("words", f64::from(records.words), 0.0, MAX_WORDS as f64)?;
    range("vocabulary", f64::from(records.vocabulary), 1.0, 1e7)?;
    range("zipf", records.zipf, 0.0, 10.0)?;
    moment("publish_from_s", records.publish_from_s, file)?;
    range("publish_over_s", records.publish_over_s, 0.0, file.duration_s)?;
    done("publish_over_s", records.publish_from_s, records.publish_over_s, file)
}

fn lifetime(lifetime: &LifetimeTable) -> Result<(), Blame> {
    match *lifetime {
        LifetimeTable::Constant { mean_s } | LifetimeTable::Exponential { mean_s } => {
            range("mean_s", mean_s, 0.001, MOST_SECS)
        }
        LifetimeTable::Pareto { mean_s, shape } => {
            range("mean_s", mean_s, 0.001, MOST_SECS)?;
            range("shape", shape, 1.01, 100.0)
        }
    }
}

fn asked(traffic: &TrafficTable, file: &File) -> Result<(), Blame> {
    moment("from_s", traffic.from_s, file)?;
    let until = traffic.until_s.unwrap_or(file.duration_s);
    range("until_s", until, traffic.from_s, file.duration_s)?;
    // A number in no time is a burst, a rate is nothing.
    if traffic.every_s.is_some() {
        lasting(traffic.from_s, until)?;
    }
    range("every_s", traffic.every_s.unwrap_or(1.0), 1e-6, MOST_SECS)?;
    range("total", traffic.total.unwrap_or(1) as f64, 1.0, MOST_ASKED)?;
    range("wanted", traffic.wanted.unwrap_or(WANTED).into(), 1.0, u16::MAX.into())?;
    if traffic.wanted.is_some() && traffic.ask != Ask::Search {
        return blame("wanted", "hits are wanted of a search: leave it out, or say ask = \"search\"".into());
    }
    let a_second = f64::from(file.nodes) / traffic.every_s.unwrap_or(f64::INFINITY);
    if a_second > MOST_A_SECOND {
        let most = f64::from(file.nodes) / MOST_A_SECOND;
        return blame(
            "every_s",
            format!("{a_second:.0} questions a second are too many: try {most} s or more"),
        );
    }
    if traffic.total.is_some() == traffic.every_s.is_some() {
        return blame("ask", "say either total or every_s, and not both".into());
    }
    if traffic.ask != Ask::Find && file.records.is_none() {
        return blame("ask", "nothing is published to be found: add [records]".into());
    }
    let choices = file.overlay.choices(file.bits, file.upkeep);
    if let Some(choice) = choices.iter().find(|choice| traffic.ask == Ask::Find && !choice.finds()) {
        let name = choice.name();
        let what =
            format!("nobody is responsible for a key in {name}: ask = \"lookup\" asks who has a record");
        return blame("ask", what);
    }
    Ok(())
}

pub(super) fn time(secs: f64) -> Time {
    Time::ZERO + duration(secs)
}

/// Seconds as a duration; nothing for nonsense.
pub(crate) fn duration(secs: f64) -> Duration {
    Duration::try_from_secs_f64(secs).unwrap_or(Duration::ZERO)
}

fn millis(ms: f64) -> Duration {
    duration(ms / 1e3)
}

/// What a sensible file means, for `choice` and `seed`.
pub fn setting(file: &File, choice: &Choice, seed: u64) -> Setting {
    let until = time(file.duration_s);
    let arriving: u32 = file.arrival.iter().map(|arrival| arrival.count).sum();
    let there = file.nodes.saturating_sub(arriving);
    let (converged, arrivals) = arrivals(file, there);
    let catalogue = file.records.as_ref().map(|records| Catalogue {
        records: records.number(file.nodes) as u32,
        copies: records.copies,
        words: records.words,
        vocabulary: records.vocabulary,
        zipf: records.zipf,
        seed,
    });
    let publish = file.records.as_ref().map_or((Time::ZERO, Duration::ZERO), |records| {
        (time(records.publish_from_s), duration(records.publish_over_s))
    });
    let places = places(file, catalogue.as_ref(), seed);
    let plan = Plan {
        hosts: hosts(file),
        catalogue,
        publish,
        traffic: file.traffic.iter().map(|traffic| asking(traffic, until)).collect(),
        arrivals,
        churn: file.churn.as_ref().map(churning),
    };
    let failures = file.failure.iter();
    let failures = failures.map(|f| Failure {
        at: time(f.at_s),
        who: match (f.share, f.probability) {
            (Some(share), _) => Victims::Share(share),
            (None, probability) => Victims::Each(probability.unwrap_or(0.0)),
        },
        graceful: f.graceful,
    });
    Setting {
        plan: Arc::new(plan),
        converged,
        failures: failures.collect(),
        network: links(&file.network, file.nodes, seed),
        places,
        root: choice.root().filter(|_| file.check_roots),
        recursive: choice.is_recursive(),
        check: match file.check {
            CheckName::Never => Check::Never,
            CheckName::End => Check::End,
            CheckName::Always => Check::Always,
        },
        measure_from: time(file.measure_from_s),
        until,
        seed,
    }
}

fn hosts(file: &File) -> Hosts {
    Hosts::new(file.nodes, file.virtual_nodes)
}

/// How many are there from the beginning, and who comes when.
fn arrivals(file: &File, there: u32) -> (u32, Vec<Arrival>) {
    let mut first = there;
    let mut arrivals: Vec<Arrival> = Vec::new();
    for table in &file.arrival {
        let (at, over) = (time(table.at_s), duration(table.over_s));
        arrivals.push(Arrival { at, over, first, count: table.count });
        first += table.count;
    }
    if file.start == Start::Converged {
        return (there, arrivals);
    }
    let over = duration(file.join_over_s.unwrap_or(file.duration_s / 10.0));
    arrivals.push(Arrival { at: Time::ZERO, over, first: 0, count: there });
    (0, arrivals)
}

fn places(file: &File, catalogue: Option<&Catalogue>, seed: u64) -> Places {
    let spread = match file.spread {
        SpreadName::Random => Spread::Random(seed),
        SpreadName::Even => Spread::Even(hosts(file).numbers()),
    };
    let places = Places::new(file.bits, spread);
    match &file.network.hostile {
        Some(hostile) if hostile.does == HostileDeed::Crowd => {
            let key = catalogue.map_or(Id::ZERO, |catalogue| catalogue.key(0));
            places.crowded((hostile.share * f64::from(file.nodes)) as u32, key)
        }
        _ => places,
    }
}

fn asking(traffic: &TrafficTable, end: Time) -> Traffic {
    Traffic {
        kind: match traffic.ask {
            Ask::Find => Kind::Find,
            Ask::Lookup => Kind::LookUp,
            Ask::Search => Kind::Search,
        },
        from: time(traffic.from_s),
        until: traffic.until_s.map_or(end, time),
        amount: match (traffic.total, traffic.every_s) {
            (Some(total), _) => Amount::Total(total),
            (None, every) => Amount::Every(duration(every.unwrap_or(MOST_SECS))),
        },
        wanted: traffic.wanted.unwrap_or(WANTED),
    }
}

fn churning(table: &ChurnTable) -> Churn {
    let lifetime = |table: LifetimeTable| match table {
        LifetimeTable::Constant { mean_s } => Lifetime::Constant(duration(mean_s)),
        LifetimeTable::Exponential { mean_s } => Lifetime::Exponential(duration(mean_s)),
        LifetimeTable::Pareto { mean_s, shape } => Lifetime::Pareto { mean: duration(mean_s), shape },
    };
    Churn {
        session: lifetime(table.session),
        absence: lifetime(table.absence),
        graceful: table.graceful,
        renamed: table.renamed,
    }
}

/// The model that a table names.
pub(crate) fn latency(table: &LatencyTable) -> Latency {
    match *table {
        LatencyTable::Constant { ms } => Latency::Constant(millis(ms)),
        LatencyTable::Uniform { low_ms, high_ms } => Latency::Uniform(millis(low_ms), millis(high_ms)),
        LatencyTable::Euclidean { base_ms, across_ms } => {
            Latency::Euclidean { base: millis(base_ms), across: millis(across_ms) }
        }
        LatencyTable::Internet {} => Latency::Internet,
    }
}

fn links(links: &Links, nodes: u32, seed: u64) -> Network {
    let partition = |p: &super::file::PartitionTable| Partition {
        from: time(p.from_s),
        until: time(p.until_s),
        share: p.share,
    };
    let hostile = links.hostile.as_ref().map(|hostile| match hostile.does {
        HostileDeed::Lie => (hostile.share, Hostility::Lie),
        HostileDeed::Drop | HostileDeed::Crowd => (hostile.share, Hostility::Drop),
    });
    let crowd = links.hostile.as_ref().filter(|hostile| hostile.does == HostileDeed::Crowd);
    let crowd = crowd.map(|hostile| (hostile.share * f64::from(nodes)) as u32);
    Network {
        latency: latency(&links.latency),
        loss: links.loss,
        uplink: links.uplink_kb_s.map(|rate| (rate * 1e3) as u64),
        natted: links.natted,
        partitions: links.partition.iter().map(partition).collect(),
        hostile,
        crowd,
        seed,
        ..Network::default()
    }
}
