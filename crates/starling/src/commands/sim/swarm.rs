//! `starling sim run` of a swarm.

use anyhow::Result;
use starling_sim::swarm::{self, Scenario};

use super::args::How;
use super::watch;
use crate::run::Exit;

/// Runs a swarm as the flags change it, prints its figures and writes them.
pub fn run(scenario: Scenario, how: &How) -> Result<Exit> {
    let scenario = prepared(scenario, how)?;
    let watch = watch::Watch::begin(&how.talk, "");
    let report = swarm::run(&scenario, super::threads(how), &|progress| watch.tell(progress));
    drop(watch);
    if let Some(folder) = &how.out {
        super::write(folder, [swarm::page(&report), report.json(), report.csv()])?;
    }
    super::put(how, report.table(), || report.json())?;
    Ok(super::ended())
}

fn prepared(mut scenario: Scenario, how: &How) -> Result<Scenario> {
    if let Some(nodes) = how.nodes {
        scenario = scenario.with_nodes(nodes).map_err(|wrong| super::not_with(nodes, &wrong))?;
    }
    scenario.seeds = how.seeds.unwrap_or(scenario.seeds);
    super::check_columns(how, "a swarm has no figure", |name| swarm::column(name).is_some())?;
    if !how.columns.is_empty() {
        scenario.columns.clone_from(&how.columns);
    }
    scenario.fits(super::memory::free(), super::threads(how))?;
    super::make_folder(how)?;
    Ok(scenario)
}
