//! `cargo xtask bench peersim`: an hour of a Kademlia network, simulated here and by PeerSim.
//!
//! Both have the same nodes, k, alpha, delays and finds; each run is a process on one core,
//! whose processor time and memory the kernel counts. They do not do the same: PeerSim's has
//! no upkeep and begins with tables filled in part at random; ours refreshes, probes and
//! compares every answer with the truth. PeerSim is not fetched or built here.

use std::path::Path;
use std::process::{Command, Stdio};

use starling_interop::{Result, content, context};

use super::report;
use super::table::Table;
use crate::figures;

/// Runs of each, of which the median is told.
const RUNS: usize = 3;
/// Finds in the hour.
const FINDS: f64 = 10_000.0;
const CLASSPATH: &str = "PEERSIM_CLASSPATH";

const OURS: &str = "nodes = 10000
bits = 160
duration_s = 3600
check_roots = true
columns = [\"success\", \"correct\"]
[overlay.kademlia]
k = 20
alpha = 3
enough = 20
[network]
latency = { model = \"uniform\", low_ms = 20, high_ms = 160 }
[[traffic]]
ask = \"find\"
total = 10000
";

/// The same for PeerSim, with a minute more for the last finds to end.
const THEIRS: &str = "random.seed 1
simulation.endtime 3660000
simulation.eventqueue Counted
network.size 10000
protocol.1delay peersim.transport.UniformRandomTransport
protocol.1delay.mindelay 20
protocol.1delay.maxdelay 160
protocol.2network peersim.transport.UnreliableTransport
protocol.2network.drop 0
protocol.2network.transport 1delay
protocol.3kademlia peersim.kademlia.KademliaProtocol
protocol.3kademlia.transport 2network
protocol.3kademlia.K 20
protocol.3kademlia.ALPHA 3
protocol.3kademlia.BITS 160
protocol.3kademlia.timeout 1500
init.1ids peersim.kademlia.CustomDistribution
init.1ids.protocol 3kademlia
init.2tables peersim.kademlia.StateBuilder
init.2tables.protocol 3kademlia
init.2tables.transport 2network
control.1finds peersim.kademlia.TrafficGenerator
control.1finds.protocol 3kademlia
control.1finds.step 360
control.1finds.until 3600000
control.2told peersim.kademlia.KademliaObserver
control.2told.protocol 3kademlia
control.2told.at 0
control.2told.FINAL
";

/// PeerSim counts no events: its queue, which counts what is taken from it.
const COUNTED: &str = "public class Counted extends peersim.edsim.Heap {
    private long taken;
    public Counted(String prefix) { super(prefix); }
    public Event removeFirst() {
        Event event = super.removeFirst();
        if (event == null) System.err.println(\"\\n\" + taken + \" events\");
        taken++;
        return event;
    }
}
";

/// What one run said and cost.
struct Run {
    cpu_s: f64,
    memory_kib: f64,
    events: f64,
    found: f64,
}

/// Measures ours, and PeerSim's where it is.
pub fn run() -> Result<()> {
    let example = figures::built(&[("starling-sim", "scenario")])?.remove(0);
    let scratch = content::scratch()?;
    let folder = scratch.path();
    for (name, text) in [("ours.toml", OURS), ("peersim.cfg", THEIRS), ("Counted.java", COUNTED)] {
        context(std::fs::write(folder.join(name), text), name)?;
    }
    let theirs = std::env::var(CLASSPATH).ok().map(|classes| format!("{}:{classes}", folder.display()));
    if let Some(classes) = &theirs {
        let compiled = said(Command::new("javac").args(["-cp", classes, "Counted.java"]), folder);
        context(compiled, CLASSPATH)?;
    }
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        of_ours.push(timed("starling", &[&example.to_string_lossy(), "ours.toml"], folder, ours)?);
        if let Some(classes) = &theirs {
            let java = ["java", "-Xmx1g", "-cp", classes, "peersim.Simulator", "peersim.cfg"];
            of_theirs.push(timed("PeerSim", &java, folder, peersims)?);
        }
    }
    println!("10,000 Kademlia nodes for an hour, 10,000 finds; median of {RUNS}, on {}", report::machine());
    let mut table = Table::new(&["simulator", "CPU s", "events", "events/CPU-s", "found", "peak MiB"]);
    let one = median(of_ours);
    table.row(row("starling", &one));
    let other = (!of_theirs.is_empty()).then(|| median(of_theirs));
    other.iter().for_each(|other| table.row(row("PeerSim", other)));
    print!("{}", table.render());
    match other {
        Some(other) => println!("PeerSim takes {:.1} times the processor time", other.cpu_s / one.cpu_s),
        None => println!("PeerSim is missing: {CLASSPATH} wants the classes of PeerSim and its Kademlia"),
    }
    Ok(())
}

/// Runs a program on one core, and what it said and cost.
fn timed(who: &str, program: &[&str], folder: &Path, read: fn(&str) -> Option<[f64; 2]>) -> Result<Run> {
    let mut command = Command::new("taskset");
    command.args(["-c", &core(), "time", "-o", "cost", "-f", "%U %S %M"]).args(program);
    let text = said(&mut command, folder)?;
    let cost = context(std::fs::read_to_string(folder.join("cost")), "its cost")?;
    let cost: Vec<f64> = cost.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let (Some([events, found]), [user, system, memory_kib]) = (read(&text), &cost[..]) else {
        return Err(format!("{who} said nothing of use:\n{text}"));
    };
    eprintln!("{who:<8} {user:>6.2} s user, {system:.2} s system");
    Ok(Run { cpu_s: user + system, memory_kib: *memory_kib, events, found })
}

/// The last core that we may use.
fn core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    allowed.and_then(|list| list.trim().rsplit([',', '-']).next()).unwrap_or("0").to_owned()
}

/// All that a program writes; it must end well.
fn said(command: &mut Command, folder: &Path) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = context(command.current_dir(folder).stdin(Stdio::null()).output(), &name)?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{name}: {}\n{text}", output.status)) }
}

/// Events and the share found and right, from our table.
fn ours(text: &str) -> Option<[f64; 2]> {
    let row = text.lines().find_map(|line| line.strip_prefix("kademlia"))?;
    let found = row.split_whitespace().filter_map(|word| word.parse().ok()).reduce(f64::min)?;
    Some([before(text, " events in")?, found])
}

/// Events and the share found, from PeerSim's last report.
fn peersims(text: &str) -> Option<[f64; 2]> {
    Some([before(text, " events")?, before(text, " msg deliv]")? / FINDS])
}

/// The last number before these words.
fn before(text: &str, words: &str) -> Option<f64> {
    let (head, _) = text.rsplit_once(words)?;
    head.rsplit(['\n', '=', ' ']).next()?.parse().ok()
}

/// The run in the middle by processor time; there must be one.
fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by(|one, other| one.cpu_s.total_cmp(&other.cpu_s));
    runs.swap_remove(runs.len() / 2)
}

fn row(name: &str, run: &Run) -> Vec<String> {
    let rate = format!("{:.0}", run.events / run.cpu_s.max(0.01));
    let [cpu, found] = [format!("{:.2}", run.cpu_s), format!("{:.1} %", run.found * 100.0)];
    vec![name.into(), cpu, run.events.to_string(), rate, found, format!("{:.0}", run.memory_kib / 1024.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_they_say_is_read() {
        let table =
            "overlay   found  correct\nkademlia      1   0.9998\n1029819 events in 1.92 s: 0.54 M events/s\n";
        assert_eq!(ours(table), Some([1_029_819.0, 0.9998]));
        let report =
            "[time=0]:[D=0.000000 msg deliv]\n\n812 events\nquitting\n[time=9]:[D=5522.000000 msg deliv]\n";
        assert_eq!(peersims(report), Some([812.0, 0.5522]));
        assert_eq!(peersims("Exception in thread\n"), None);
    }
}
