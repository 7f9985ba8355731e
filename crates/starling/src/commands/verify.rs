//! `starling verify`

use std::path::Path;

use anyhow::Result;
use serde_json::json;
use starling_disk::{FileReport, Report};
use starling_metainfo::Torrent;
use starling_node::source;

use crate::args::{Talk, Verify};
use crate::progress::{self, Step};
use crate::run::Exit;
use crate::text::printable;
use crate::{interrupt, screen, units};

/// Incomplete files that are named, unless all are asked for.
const NAMED_MAX: usize = 20;

pub async fn verify(args: &Verify) -> Result<Exit> {
    let torrent = interrupt::unless(source::load_torrent(&args.torrent)).await??;
    let report = check(&torrent, &args.output, &args.talk)?;
    if args.talk.json {
        progress::emit(&object(&torrent, &report));
    } else if !args.talk.quiet {
        tell_bad(&report, &args.talk);
        screen::line(&verdict(&torrent, &report));
    }
    Ok(if report.is_complete() { Exit::Done } else { Exit::Failed })
}

/// Hashes all there is of a torrent, with a bar.
pub fn check(torrent: &Torrent, dir: &Path, talk: &Talk) -> Result<Report> {
    let step = Step::begin(talk, &format!("verifying {}", torrent.info.name));
    Ok(starling_disk::verify(torrent, dir, 0, &|done, total| step.set(done, total))?)
}

/// Names the files that are not complete.
pub fn tell_bad(report: &Report, talk: &Talk) {
    if talk.quiet || talk.json {
        return;
    }
    let bad: Vec<_> = report.files.iter().filter(|file| !file.is_complete()).collect();
    let named = if talk.verbose > 0 { bad.len() } else { NAMED_MAX };
    for file in bad.iter().take(named) {
        let path = file.path.display().to_string();
        screen::line(&format!("{}: {}", printable(&path), what_is_wrong(file)));
    }
    if bad.len() > named {
        screen::line(&format!("and {}; -v names all", units::count(bad.len() - named, "more file")));
    }
}

fn what_is_wrong(file: &FileReport) -> String {
    if !file.told_apart {
        return what_is_wrong_as_a_whole(file);
    }
    let bad = format!(
        "{} of {} wrong",
        units::number((file.pieces - file.good).into()),
        units::count(file.pieces as usize, "piece")
    );
    match file.found {
        None => "missing".to_owned(),
        Some(found) if found != file.length => {
            let lengths = lengths(found, file);
            if file.good == file.pieces { lengths } else { format!("{lengths}, {bad}") }
        }
        Some(_) => bad,
    }
}

/// Of a file of which the torrent has but one hash.
fn what_is_wrong_as_a_whole(file: &FileReport) -> String {
    let what = match file.found {
        None => return "missing".to_owned(),
        Some(found) if found != file.length => lengths(found, file),
        Some(_) => "does not match".to_owned(),
    };
    format!("{what}, and the torrent has no piece hashes to tell which pieces are wrong")
}

fn lengths(found: u64, file: &FileReport) -> String {
    format!("{} bytes long instead of {}", units::number(found), units::number(file.length))
}

fn verdict(torrent: &Torrent, report: &Report) -> String {
    let (have, of) = (report.have.count(), torrent.info.layout.pieces());
    let size = units::bytes(torrent.info.layout.content_length());
    let name = &torrent.info.name;
    let right = match report.files.iter().all(|file| file.told_apart) {
        true => "right",
        false => "known to be right",
    };
    match report.is_complete() {
        true => format!("{name}: complete, {size} verified in {}", units::count(of as usize, "piece")),
        false => format!("{name}: not complete, {have} of {} {right}", units::count(of as usize, "piece")),
    }
}

fn object(torrent: &Torrent, report: &Report) -> serde_json::Value {
    let bad = report.files.iter().filter(|file| !file.is_complete());
    json!({
        "event": "verified", "info_hash": torrent.info.hashes.to_string(), "name": torrent.info.name,
        "complete": report.is_complete(),
        "pieces": report.have.count(), "pieces_total": torrent.info.layout.pieces(),
        "incomplete_files": bad.map(|f| f.path.display().to_string()).collect::<Vec<_>>(),
    })
}
