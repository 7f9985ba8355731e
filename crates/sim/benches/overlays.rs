//! How fast each overlay runs, and what a node takes: events a second of processor time,
//! bytes of protocol state and of memory a node, and how the speed compares with that of
//! the queue alone in the same run. The network begins with perfect tables, which counts
//! apart; then every node looks for a random key: once a minute, which makes finds most of
//! the work; once in ten minutes, the load of Li et al. 2005; and once an hour, the load of
//! the comparison with PeerSim, which leaves most to upkeep.
//!
//! `cargo bench -p starling-sim --bench overlays -- [NODES] [OVERLAY...]`; a million nodes
//! of all seven take 16 GB.
#![allow(clippy::print_stdout)] // a program that measures and prints

use std::sync::Arc;

use starling_overlay::Overlay;
use starling_sim::Node;
use starling_sim::pages::resident;
use starling_sim::scenario::{NAMES, Scenario, Visit};
use starling_sim::trial::{Setting, Trial};

mod hold;

use hold::cpu_seconds;

/// Nodes, unless the caller says otherwise.
const NODES: u32 = 100_000;
/// Events that are enough to tell, after the first ones.
const EVENTS: u64 = 20_000_000;
/// Seconds from one find of a node to its next, on average.
const EVERY: [u32; 3] = [60, 600, 3600];
/// Simulated seconds at the beginning that are not measured.
const WARM_UP: u64 = 2;
/// Simulated seconds at most.
const SECONDS: u64 = 600;

struct Speed {
    converge: f64,
    run: f64,
    events: u64,
    state: f64,
    memory: f64,
}

struct Measure {
    setting: Setting,
}

impl Visit for Measure {
    type Output = Speed;

    fn visit<C>(self, config: &Arc<C::Config>) -> Speed
    where
        C: Overlay<Node> + Send,
        C::Message: Send,
        C::Config: Send + Sync,
    {
        let nodes = f64::from(self.setting.plan.hosts.count());
        let before = resident();
        let start = cpu_seconds();
        let mut trial = Trial::<C>::new(config, self.setting);
        trial.begin(&mut |_, _| true);
        let converge = cpu_seconds() - start;
        let (mut seconds, mut first, mut start, mut run) = (0, 0, cpu_seconds(), 0.0);
        let mut events = 0;
        trial.run(1, &mut |_, so_far| {
            seconds += 1;
            if seconds == WARM_UP {
                (first, start) = (so_far, cpu_seconds());
            }
            (events, run) = (so_far - first, cpu_seconds() - start);
            seconds < WARM_UP || events < EVENTS
        });
        let memory = resident().saturating_sub(before) as f64 / nodes;
        Speed { converge, run, events, state: trial.findings().state.mean().unwrap_or(0.0), memory }
    }
}

fn scenario(overlay: &str, nodes: u32, every: u32) -> Result<Scenario, String> {
    let text = format!(
        "nodes = {nodes}\nbits = 64\nduration_s = {SECONDS}\n[overlay.{overlay}]\n\
         [network]\nlatency = {{ model = \"uniform\", low_ms = 20, high_ms = 160 }}\n\
         [[traffic]]\nask = \"find\"\nevery_s = {every}\n"
    );
    Scenario::parse("bench", &text).map_err(|wrong| wrong.to_string())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|one| !one.starts_with("--")).collect();
    if let [ONE, name, nodes, every, queue] = &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return one(name, nodes.parse().unwrap_or(NODES), every.parse().unwrap_or(EVERY[0]), queue);
    }
    let nodes = arguments.iter().find_map(|one| one.parse().ok()).unwrap_or(NODES);
    let chosen = |name: &&&str| {
        arguments.iter().all(|one| one.parse::<u32>().is_ok()) || arguments.iter().any(|one| one == **name)
    };
    let queue = hold::wheel();
    println!("queue alone: {:.1} M events/s", queue / 1e6);
    println!("overlay    nodes    find every s  M events/s  of the queue  state B  memory B  converge s");
    for (name, every) in NAMES.iter().filter(chosen).flat_map(|name| EVERY.map(|every| (name, every))) {
        // A process for each, since what one gives back is not always the system's again.
        let own = std::env::current_exe().map(std::process::Command::new);
        let run = own.and_then(|mut own| {
            own.args([ONE, name, &nodes.to_string(), &every.to_string(), &queue.to_string()]).status()
        });
        if !run.as_ref().is_ok_and(std::process::ExitStatus::success) {
            println!("{name:<10} not measured: {run:?}");
        }
    }
}

/// Says that one overlay is to be measured, in this process.
const ONE: &str = "one";

fn one(name: &str, nodes: u32, every: u32, queue: &str) {
    let scenario = match scenario(name, nodes, every) {
        Ok(scenario) => scenario,
        Err(wrong) => return println!("{name:<10} {wrong}"),
    };
    let choice = &scenario.overlays[0];
    let speed = choice.visit(nodes, Measure { setting: scenario.setting(choice, 1) });
    let rate = speed.events as f64 / speed.run.max(1e-9);
    println!(
        "{name:<10} {nodes:<8} {every:<13} {:<11.2} {:<13} {:<8.0} {:<9.0} {:.1}",
        rate / 1e6,
        format!("1/{:.0}", queue.parse().unwrap_or(f64::NAN) / rate),
        speed.state,
        speed.memory,
        speed.converge
    );
}
