//! `starling seed`

use std::sync::Arc;

use anyhow::{Result, bail};
use starling_disk::Report;
use starling_metainfo::Torrent;
use starling_node::source::{self, Loaded};
use starling_node::{Add, Check, Progress};

use super::verify;
use crate::args::Seed;
use crate::run::{self, Exit, Until};
use crate::{interrupt, screen, units};

pub async fn seed(args: &Seed) -> Result<Exit> {
    let mut adds = Vec::with_capacity(args.sources.len());
    for source in &args.sources {
        match add(args, source).await? {
            Ok(add) => {
                let add = Add { super_seeding: args.super_seed, fetch: false, ..add };
                adds.push(run::with_flags(add, &args.network, &args.tracker, &[]));
            }
            // The others can be seeded all the same.
            Err(why) if args.sources.len() > 1 => screen::line(&format!("starling: {why}")),
            Err(why) => bail!(why),
        }
    }
    if adds.is_empty() {
        bail!("nothing to seed");
    }
    let node = run::start(&args.network)?;
    if !args.talk.quiet && !args.talk.json {
        screen::line(&format!("listening at port {}; Ctrl-C stops it", node.addr().port()));
    }
    let ended = run::run(&node, adds, &args.talk, Until::Interrupted, !args.network.no_lan).await?;
    run::finish(node, ended, &args.talk, |torrents| stopped("seeding", torrents)).await
}

/// `stopped sharing, 1.2 GiB sent`
pub fn stopped(doing: &str, torrents: &[Progress]) -> String {
    let sent = units::bytes(torrents.iter().map(|p| p.uploaded).sum());
    format!("stopped {doing}, {sent} sent; the same command goes on")
}

/// What is to be seeded of a source, as far as it is there, or why nothing is. What is not there is not
/// fetched: that is what `get` is for, and files that differ may be somebody's work.
async fn add(args: &Seed, source: &str) -> Result<Result<Add, String>> {
    let torrent = match interrupt::unless(source::load(source)).await?? {
        Loaded::Torrent(torrent) => torrent,
        // The node knows the torrent behind a link that was fetched before.
        Loaded::Magnet(_) => {
            let check = if args.trust { Check::Resume } else { Check::Full };
            return Ok(Ok(Add { check, ..Add::source(source, &args.output) }));
        }
    };
    let given = Add { torrent: Some(Arc::clone(&torrent)), ..Add::source(source, &args.output) };
    if args.trust {
        return Ok(Ok(Add { check: Check::Resume, ..given }));
    }
    let report = verify::check(&torrent, &args.output, &args.talk)?;
    if report.is_complete() {
        say_complete(args, &torrent);
        return Ok(Ok(Add { check: Check::Complete, ..given }));
    }
    let select = complete_files(&report);
    verify::tell_bad(&report, &args.talk);
    if select.is_empty() {
        return Ok(Err(format!(
            "{}: no file of it is complete in {}, so there is nothing to seed; `starling get` fetches the rest",
            torrent.info.name,
            args.output.display()
        )));
    }
    screen::line(&format!(
        "starling: {}: only {} of {} complete, these are seeded; `starling get` fetches the rest",
        torrent.info.name,
        select.len(),
        units::count(report.files.len(), "file")
    ));
    Ok(Ok(Add { check: Check::Full, select, ..given }))
}

fn complete_files(report: &Report) -> Vec<u32> {
    let files = (0..).zip(&report.files);
    files.filter(|(_, file)| file.is_complete()).map(|(index, _)| index).collect()
}

fn say_complete(args: &Seed, torrent: &Torrent) {
    if !args.talk.quiet && !args.talk.json {
        let size = units::bytes(torrent.info.layout.content_length());
        screen::line(&format!(
            "{}: complete, {size} verified in {}",
            torrent.info.name,
            args.output.display()
        ));
    }
}
