//! `starling sim`: overlays and swarms in the simulator.

mod args;
mod memory;
mod swarm;
mod watch;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use starling_sim::report::{self, Page, Report};
use starling_sim::scenario::{self, Any, Choice, Scenario};
use starling_sim::trace;

use crate::Usage;
use crate::args::Talk;
use crate::run::Exit;
use crate::{interrupt, screen};

pub use args::Sim;
use args::{Compare, How, Run, Trace, What};

/// The talk of the sub-commands that have one.
pub fn talk(args: &Sim) -> Option<&Talk> {
    match &args.what {
        What::Compare(compare) => Some(&compare.how.talk),
        What::Run(run) => Some(&run.how.talk),
        What::Trace(_) | What::Scenarios { .. } | What::Columns => None,
    }
}

/// Runs one of the sub-commands.
pub fn sim(args: &Sim) -> Result<Exit> {
    match &args.what {
        What::Compare(args) => compare(args),
        What::Run(args) => run(args),
        What::Trace(args) => follow(args),
        What::Scenarios { name: Some(name) } => {
            super::print(Any::named(name)?.text().as_bytes())?;
            Ok(Exit::Done)
        }
        What::Scenarios { name: None } => list_scenarios(),
        What::Columns => list_columns(),
    }
}

fn compare(args: &Compare) -> Result<Exit> {
    if let Some(name) = args.overlays.iter().find(|name| !scenario::NAMES.contains(&name.as_str())) {
        bail!(Usage(no_overlay(name)));
    }
    if let Some(name) = twice(&args.overlays) {
        bail!(Usage(format!("the overlay {name:?} is there twice")));
    }
    let chosen = |mut scenario: Scenario| {
        let wanted = |choice: &Choice| args.overlays.iter().any(|name| name == choice.name());
        scenario.overlays.retain(|choice| args.overlays.is_empty() || wanted(choice));
        scenario
    };
    if let Some(nodes) = args.how.nodes.filter(|nodes| *nodes < FEWEST) {
        bail!(
            "with --nodes {nodes}: a comparison needs at least {FEWEST} nodes, since each record has so many copies"
        );
    }
    let scenario = prepared(chosen(scenario::named("compare")?), &args.how)?;
    let report = simulated(&scenario, &args.how, "")?;
    put(&args.how, report::table(&report), || report.json())?;
    if let Some(folder) = &args.how.out {
        // The page also shows how costs grow with the size, as far as the scenario makes sense
        // with fewer nodes (a record has so many copies), and what churn does.
        let mut sizes = Vec::new();
        for share in SIZES {
            let nodes = scenario.nodes() / share;
            let Ok(smaller) = scenario.clone().with_nodes(nodes) else { continue };
            sizes.push(simulated(&smaller, &args.how, &format!("for the page, {nodes} nodes: "))?);
        }
        let churn = chosen(scenario::named("churn")?).with_nodes(scenario.nodes().min(CHURN_NODES))?;
        // It is of the structured ones alone.
        let churn = match churn.overlays.is_empty() {
            true => None,
            false => Some(simulated(&churn, &args.how, "for the page, under churn: ")?),
        };
        save(&Page { report: &report, sizes: &sizes, churn: churn.as_ref() }, folder)?;
    }
    Ok(finish(&report))
}

/// Nodes of a comparison at least: so many have each record of its scenario.
const FEWEST: u32 = 5;
/// The sizes of a comparison's page besides the whole: such parts of it.
const SIZES: [u32; 3] = [64, 16, 4];
/// Bytes that no scenario has.
const MAX_SCENARIO: u64 = 1 << 20;
/// Nodes under churn at most, as in Li et al. 2005.
const CHURN_NODES: u32 = 1_024;

fn no_overlay(name: &str) -> String {
    format!("there is no overlay {name:?}; there are {}", scenario::NAMES.join(", "))
}

/// The scenario of that file, or else of that name. A pipe is a file too, a folder is not.
fn read(scenario: &str) -> Result<Any> {
    let path = Path::new(scenario);
    if !path.exists() || path.is_dir() {
        let named = Any::named(scenario);
        if named.is_err() && path.is_dir() {
            bail!("{scenario} is a folder; a scenario is a file");
        }
        return Ok(named?);
    }
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot read {scenario}"))?;
    file.take(MAX_SCENARIO).read_to_end(&mut bytes).with_context(|| format!("cannot read {scenario}"))?;
    if bytes.len() as u64 == MAX_SCENARIO {
        bail!("{scenario} is larger than a mebibyte, which no scenario is");
    }
    let Ok(text) = String::from_utf8(bytes) else {
        bail!("{scenario} is no text; a scenario is a TOML file")
    };
    Ok(Any::parse(scenario, &text)?)
}

fn run(args: &Run) -> Result<Exit> {
    let scenario = match read(&args.scenario)? {
        Any::Overlays(scenario) => prepared(*scenario, &args.how)?,
        Any::Swarm(scenario) => return swarm::run(*scenario, &args.how),
    };
    let report = simulated(&scenario, &args.how, "")?;
    put(&args.how, report::table(&report), || report.json())?;
    if let Some(folder) = &args.how.out {
        save(&Page { report: &report, sizes: &[], churn: None }, folder)?;
    }
    match finish(&report) {
        Exit::Done => judge(&scenario, &report, &args.how),
        exit => Ok(exit),
    }
}

/// Says what came of the figures that the scenario is to reproduce.
fn judge(scenario: &Scenario, report: &Report, how: &How) -> Result<Exit> {
    let findings = report::findings(&scenario.figures, report);
    if !how.talk.json {
        let lines: Vec<String> = findings.iter().map(|finding| format!("{finding}\n")).collect();
        super::print(lines.concat().as_bytes())?;
    }
    match findings.iter().filter(|finding| finding.fault.is_some()).count() {
        0 => Ok(Exit::Done),
        failed => bail!("{failed} of {} figures are not confirmed", findings.len()),
    }
}

/// The scenario as the flags change it, if it can be run at all.
fn prepared(mut scenario: Scenario, how: &How) -> Result<Scenario> {
    if let Some(nodes) = how.nodes {
        scenario = scenario.with_nodes(nodes).map_err(|wrong| not_with(nodes, &wrong))?;
    }
    scenario.seeds = how.seeds.unwrap_or(scenario.seeds);
    check_columns(how, "there is no figure", |name| report::column(name).is_some())?;
    if !how.columns.is_empty() {
        scenario.columns.clone_from(&how.columns);
    }
    scenario.fits(memory::free(), threads(how))?;
    make_folder(how)?;
    if !how.talk.quiet {
        scenario.empty_columns().iter().for_each(|told| screen::line(&format!("starling: {told}")));
    }
    Ok(scenario)
}

/// The flag is to blame, not the scenario: without it, that made sense.
fn not_with(nodes: u32, wrong: &scenario::Wrong) -> anyhow::Error {
    anyhow!("with --nodes {nodes}: {}", wrong.what)
}

/// Whether all figures that are to be printed are known, and each is there once.
fn check_columns(how: &How, unknown: &str, is_known: impl Fn(&str) -> bool) -> Result<()> {
    if let Some(name) = how.columns.iter().find(|name| !is_known(name)) {
        bail!(Usage(format!("{unknown} {name:?}; `starling sim columns` lists them")));
    }
    if let Some(name) = twice(&how.columns) {
        bail!(Usage(format!("the figure {name:?} is there twice")));
    }
    Ok(())
}

/// A name that is in a list twice.
fn twice(names: &[String]) -> Option<&String> {
    names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| name)
}

/// The files that go into the folder of `--out`.
const FILES: [&str; 3] = ["report.html", "figures.json", "figures.csv"];
/// So many bytes of a file tell whose it is: its title, which may be a long path, among them.
const BEGIN: u64 = 1 << 16;

/// Makes the folder that the files go into. If one of them is there already, it must be one
/// that an earlier run wrote.
fn make_folder(how: &How) -> Result<()> {
    let Some(folder) = &how.out else { return Ok(()) };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for name in FILES {
        let path = folder.join(name);
        if !path.exists() {
            continue;
        }
        let mut begin = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(BEGIN).read_to_end(&mut begin));
        read.with_context(|| format!("cannot read {}", path.display()))?;
        if !report::is_own(name, &begin) {
            bail!(
                "{} is not of this program, and would be written over: move it, or name another folder",
                path.display()
            );
        }
    }
    Ok(())
}

fn threads(how: &How) -> usize {
    how.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into))
}

/// Runs a scenario, as far as nobody interrupts it. Its progress is told behind `part`:
/// what the run is, if it is not all.
fn simulated(scenario: &Scenario, how: &How, part: &str) -> Result<Report> {
    let watch = watch::Watch::begin(&how.talk, part);
    Ok(starling_sim::runner::run(scenario, threads(how), &|progress| watch.tell(progress)))
}

/// Says what was wrong.
fn finish(report: &Report) -> Exit {
    let ended = ended();
    if ended != Exit::Done {
        return ended;
    }
    let violations = report.violations();
    violations.iter().take(MAX_TOLD).for_each(|told| screen::line(&format!("starling: {told}")));
    if violations.len() > MAX_TOLD {
        screen::line(&format!("starling: and {} trials more with violations", violations.len() - MAX_TOLD));
    }
    if violations.is_empty() { Exit::Done } else { Exit::Failed }
}

/// Trials with violations that are told of, a line each.
const MAX_TOLD: usize = 10;

/// Says so if somebody interrupted.
fn ended() -> Exit {
    if interrupt::is_asked() {
        screen::line("starling: interrupted; the figures are of what was simulated until then");
        return Exit::Interrupted;
    }
    Exit::Done
}

/// The figures as a table for people, or as an event.
fn put(how: &How, table: String, json: impl FnOnce() -> String) -> Result<()> {
    if how.talk.json {
        let mut value: serde_json::Value = serde_json::from_str(&json())?;
        value["event"] = "report".into();
        return super::print(format!("{value}\n").as_bytes());
    }
    super::print(table.as_bytes())
}

fn save(page: &Page<'_>, folder: &Path) -> Result<()> {
    write(folder, [report::page(page), page.json(), page.csv()])
}

/// Writes the texts of [`FILES`].
fn write(folder: &Path, texts: [String; 3]) -> Result<()> {
    for (name, text) in FILES.into_iter().zip(texts) {
        super::create::write(&folder.join(name), text.as_bytes())?;
    }
    Ok(())
}

fn follow(args: &Trace) -> Result<Exit> {
    let Some(choice) = Choice::for_class(&args.overlay, args.bits) else {
        bail!(Usage(no_overlay(&args.overlay)))
    };
    let space = 1u128 << args.bits;
    if u128::from(args.nodes) > space {
        bail!(Usage(format!("{} nodes do not fit into {} bits", args.nodes, args.bits)));
    }
    if u128::from(args.key) >= space {
        bail!(Usage(format!("the key {} has more than {} bits", args.key, args.bits)));
    }
    if args.from >= args.nodes {
        bail!(Usage(format!("there is no node {}; the last one is {}", args.from, args.nodes - 1)));
    }
    let request = trace::Request {
        nodes: args.nodes,
        bits: args.bits,
        even: !args.random,
        from: args.from,
        key: starling_sim::key(args.key, args.bits),
        seed: args.seed,
    };
    let trace = trace::trace(&choice, &request);
    if args.json {
        let lines: Vec<String> = trace.objects().iter().map(|object| format!("{object}\n")).collect();
        super::print(lines.concat().as_bytes())?;
    } else {
        super::print(trace.text().as_bytes())?;
    }
    if trace.is_found() { Ok(Exit::Done) } else { Err(anyhow!("the look-up found nobody")) }
}

fn list_scenarios() -> Result<Exit> {
    let mut text = String::new();
    let library = Any::library()?;
    list(&mut text, library.iter().map(|scenario| (scenario.name(), scenario.about())));
    super::print(text.as_bytes())?;
    Ok(Exit::Done)
}

fn list_columns() -> Result<Exit> {
    let mut text = String::new();
    let columns = report::COLUMNS.iter().map(|column| (column.name, column.about));
    list(&mut text, columns);
    text.push_str("\nof a swarm:\n");
    list(&mut text, starling_sim::swarm::COLUMNS.iter().map(|column| (column.name, column.about)));
    super::print(text.as_bytes())?;
    Ok(Exit::Done)
}

/// A line each: a name and what it is about.
fn list<'a>(text: &mut String, lines: impl Iterator<Item = (&'a str, &'a str)> + Clone) {
    let width = lines.clone().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, about) in lines {
        let _ = writeln!(text, "{name:<width$}  {about}");
    }
}
