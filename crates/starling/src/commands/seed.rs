//! `starling seed`

use std::sync::Arc;

use anyhow::{Result, bail};
use starling_disk::{FileReport, Report};
use starling_metainfo::Torrent;
use starling_node::source::{self, Loaded};
use starling_node::{Add, Check, Progress};

use super::verify;
use crate::args::Seed;
use crate::run::{self, Exit, Until};
use crate::text::folder;
use crate::{interrupt, screen, units};

/// Files that a sentence names.
const NAMED_MAX: usize = 3;

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
    let node = run::start(&args.network, adds.len())?;
    if !args.talk.quiet && !args.talk.json {
        screen::line(&format!("listening at port {}; Ctrl-C stops it", node.addr().port()));
    }
    run::to_the_end(node, adds, &args.talk, Until::Interrupted, !args.network.no_lan, |torrents| {
        stopped("seeding", torrents)
    })
    .await
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
        let torrent = Some(knowing(torrent, report));
        return Ok(Ok(Add { torrent, check: Check::Complete, ..given }));
    }
    verify::tell_bad(&report, &args.talk);
    if report.have.count() == 0 {
        return Ok(Err(format!(
            "{}: no piece of it is right in {}, so there is nothing to seed; `starling get` fetches it",
            torrent.info.name,
            folder(&args.output)
        )));
    }
    screen::line(&format!("starling: {}", partial(&torrent, &report, args.talk.verbose > 0)));
    Ok(Ok(Add { check: Check::Full, ..given }))
}

/// The torrent with the hashes of pieces that its data has proven: peers ask for them (BEP 52).
fn knowing(mut torrent: Arc<Torrent>, report: Report) -> Arc<Torrent> {
    if !report.piece_layers.is_empty() {
        Arc::make_mut(&mut torrent).piece_layers.extend(report.piece_layers);
    }
    torrent
}

/// `photos: 1,199 of 1,200 pieces are right (299 MiB of 300 MiB) and seeded: all of a.jpg and
/// part of b.jpg; starling get fetches the rest`
fn partial(torrent: &Torrent, report: &Report, all: bool) -> String {
    let (info, layout) = (&torrent.info, &torrent.info.layout);
    let bytes = report.have.iter().map(|piece| u64::from(layout.content_len(piece))).sum();
    let right = format!(
        "{} of {} right ({} of {})",
        units::number(report.have.count().into()),
        units::count_of(layout.pieces() as usize, "piece is", "pieces are"),
        units::bytes(bytes),
        units::bytes(layout.content_length())
    );
    let rest = if report.have.is_full() { "puts the rest right" } else { "fetches the rest" };
    let which = if info.single_file { String::new() } else { format!(": {}", seeded(torrent, report, all)) };
    format!("{}: {right} and seeded{which}; `starling get` {rest}", info.name)
}

/// `all of a.jpg, b.jpg and 3 more files, part of c.jpg`
fn seeded(torrent: &Torrent, report: &Report, all: bool) -> String {
    let real = torrent.info.layout.files().iter().filter(|file| !file.padding);
    let named: Vec<_> = real.map(|file| file.path.join("/")).zip(&report.files).collect();
    let of = |what: &str, is: &dyn Fn(&FileReport) -> bool| {
        let names: Vec<&str> =
            named.iter().filter(|(_, file)| is(file)).map(|(name, _)| name.as_str()).collect();
        let shown = if all { names.len() } else { names.len().min(NAMED_MAX) };
        let more = match names.len() - shown {
            0 => String::new(),
            more => format!(" and {}", units::count(more, "more file")),
        };
        (!names.is_empty()).then(|| format!("{what} {}{more}", names[..shown].join(", ")))
    };
    let whole = of("all of", &|file| file.good == file.pieces && file.found >= Some(file.length));
    let parts = of("part of", &|file| file.good > 0 && file.good < file.pieces);
    whole.into_iter().chain(parts).collect::<Vec<_>>().join(", ")
}

fn say_complete(args: &Seed, torrent: &Torrent) {
    if !args.talk.quiet && !args.talk.json {
        let size = units::bytes(torrent.info.layout.content_length());
        screen::line(&format!(
            "{}: complete, {size} verified in {}",
            torrent.info.name,
            folder(&args.output)
        ));
    }
}
