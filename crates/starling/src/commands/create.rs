//! `starling create`, and the making of a torrent for `share`.

use std::ffi::OsStr;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::json;
use starling_disk::{CreateOptions, Created};
use starling_metainfo::{PieceLength, Torrent, Versions};

use crate::Usage;
use crate::args::{Create, Make, Talk, Version};
use crate::progress::{self, StepBar, eprint_line};
use crate::run::Exit;
use crate::units;

pub fn create(args: &Create) -> Result<Exit> {
    let to_stdout = args.output == OsStr::new("-");
    if to_stdout && args.talk.json {
        bail!(Usage("--json and -o - both want stdout".to_owned()));
    }
    if !to_stdout && !args.force && args.output.exists() {
        bail!("{} exists already; --force replaces it", args.output.display());
    }
    let created = make(&args.make, &args.talk)?;
    if to_stdout {
        std::io::stdout().lock().write_all(&created.torrent.encode())?;
        return Ok(Exit::Done);
    }
    write(&args.output, &created.torrent.encode())?;
    report(&created.torrent, &args.output, &args.talk);
    Ok(Exit::Done)
}

/// Hashes a file or folder, with a bar, and makes a torrent of it.
pub fn make(make: &Make, talk: &Talk) -> Result<Created> {
    let options = options(make)?;
    let bar = StepBar::new(talk, "hashing", 0);
    let created = starling_disk::create(&make.path, &options, &|done, total| bar.set(done, total));
    bar.clear();
    let created = created?;
    for (path, why) in created.skipped.iter().filter(|_| !talk.quiet) {
        eprint_line(&format!("left out {}: {why}", path.display()));
    }
    Ok(created)
}

/// Writes a torrent file so that it is there whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    let written = std::fs::write(temporary, bytes).and_then(|()| std::fs::rename(temporary, path));
    written.inspect_err(|_| drop(std::fs::remove_file(temporary))).with_context(|| path.display().to_string())
}

fn options(make: &Make) -> Result<CreateOptions> {
    let piece_length = match make.piece_length {
        None => None,
        Some(bytes) => Some(piece_length(bytes, make.kind())?),
    };
    for url in make.tracker.iter().chain(&make.web_seed) {
        if !["http://", "https://", "udp://"].iter().any(|scheme| url.starts_with(scheme)) {
            bail!(Usage(format!("{url}: an address begins with http://, https:// or udp://")));
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    Ok(CreateOptions {
        name: make.name.clone(),
        versions: match make.kind() {
            Version::V1 => Versions::V1,
            Version::V2 => Versions::V2,
            Version::Hybrid => Versions::Hybrid,
        },
        piece_length,
        private: make.private,
        trackers: make.tracker.iter().map(|url| vec![url.clone()]).collect(),
        web_seeds: make.web_seed.clone(),
        comment: make.comment.clone(),
        created_by: Some(concat!("Starling ", env!("CARGO_PKG_VERSION")).to_owned()),
        creation_date: now.and_then(|now| i64::try_from(now.as_secs()).ok()),
        ..CreateOptions::default()
    })
}

fn piece_length(bytes: u64, kind: Version) -> Result<PieceLength> {
    let length = PieceLength::new(bytes).filter(|p| p.get() >= 16 << 10);
    let Some(length) = length.filter(|p| kind == Version::V1 || p.fits_v2()) else {
        bail!(Usage(format!(
            "--piece-length {bytes}: want a power of two from 16k to {}",
            units::bytes(u64::from(PieceLength::MAX))
        )));
    };
    Ok(length)
}

fn report(torrent: &Torrent, path: &Path, talk: &Talk) {
    let link = starling_metainfo::Magnet::of(torrent).to_string();
    if talk.json {
        progress::emit(&json!({
            "event": "created", "file": path.display().to_string(), "link": link,
            "info_hash_v1": torrent.info.hashes.v1().map(|h| h.to_string()),
            "info_hash_v2": torrent.info.hashes.v2().map(|h| h.to_string()),
            "bytes": torrent.info.layout.content_length(), "pieces": torrent.info.layout.pieces(),
        }));
        return;
    }
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{link}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        _ if talk.quiet => {}
        _ => eprint_line(&format!(
            "{}: {} in {} pieces",
            path.display(),
            units::bytes(torrent.info.layout.content_length()),
            torrent.info.layout.pieces()
        )),
    }
}
