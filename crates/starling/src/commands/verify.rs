//! `starling verify`

use anyhow::Result;
use serde_json::json;
use starling_node::source;

use crate::args::Verify;
use crate::progress::{self, StepBar};
use crate::run::Exit;
use crate::units;

pub async fn verify(args: &Verify) -> Result<Exit> {
    let torrent = source::load_torrent(&args.torrent).await?;
    let layout = &torrent.info.layout;
    let bar = StepBar::new(&args.talk, "verifying", layout.content_length());
    let report = starling_disk::verify(&torrent, &args.output, 0, &|done, total| bar.set(done, total));
    bar.clear();
    let report = report?;
    let complete = report.is_complete();
    let bad = report.files.iter().filter(|file| !file.is_complete()).collect::<Vec<_>>();
    if args.talk.json {
        progress::emit(&json!({
            "event": "verified", "info_hash": torrent.info.hashes.to_string(), "complete": complete,
            "pieces": report.have.count(), "pieces_total": layout.pieces(),
            "incomplete_files": bad.iter().map(|f| f.path.display().to_string()).collect::<Vec<_>>(),
        }));
    } else if !args.talk.quiet {
        for file in bad.iter().take(50) {
            progress::eprint_line(&format!("incomplete: {}", file.path.display()));
        }
        if bad.len() > 50 {
            progress::eprint_line(&format!("and {} more", units::count(bad.len() - 50, "file")));
        }
        let (have, of) = (report.have.count(), layout.pieces());
        let verdict = if complete { "complete" } else { "not complete" };
        progress::eprint_line(&format!("{}: {verdict}, {have} of {of} pieces", torrent.info.name));
    }
    Ok(if complete { Exit::Done } else { Exit::Failed })
}
