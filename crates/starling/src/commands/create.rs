//! `starling create`, and the making of a torrent for `share`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use starling_disk::{CreateOptions, Created, DiskError};
use starling_metainfo::{Torrent, Versions};

use crate::Usage;
use crate::args::{Create, Make, Talk, Version};
use crate::progress::{self, Step};
use crate::run::Exit;
use crate::text::printable;
use crate::{screen, units};

/// Things left out that are named, unless all are asked for.
const NAMED_MAX: usize = 20;

pub fn create(args: &Create) -> Result<Exit> {
    let to_stdout = args.output == OsStr::new("-");
    if to_stdout && args.talk.json {
        bail!(Usage("--json and -o - both want stdout".to_owned()));
    }
    if !to_stdout {
        check_output(&args.output, &args.path)?;
        refuse_to_replace(&args.output, args.force)?;
    }
    let created = make(&args.path, &args.make, args.name.as_deref(), &args.talk)?;
    if to_stdout {
        super::print(&created.torrent.encode())?;
        return Ok(Exit::Done);
    }
    // Something may have come there while it was hashed.
    refuse_to_replace(&args.output, args.force)?;
    write(&args.output, &created.torrent.encode())?;
    report(&created.torrent, &args.output, &args.talk);
    Ok(Exit::Done)
}

fn refuse_to_replace(path: &Path, force: bool) -> Result<()> {
    if !force && path.symlink_metadata().is_ok() {
        bail!("{} exists already; --force replaces it", path.display());
    }
    Ok(())
}

/// Whether a torrent file of `content` can be written there, asked before hours of hashing.
pub fn check_output(path: &Path, content: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        bail!("{} is a folder; name the torrent file to write", path.display());
    }
    if path.symlink_metadata().is_ok_and(|meta| !meta.is_file() && !meta.is_symlink()) {
        bail!("{} is not a regular file", path.display());
    }
    if !folder.is_dir() {
        bail!("cannot write {}: there is no folder {}", path.display(), folder.display());
    }
    // A torrent in its own folder would be part of it the next time; one in place of its file is worse.
    if let (Ok(folder), Ok(content), Some(name)) =
        (folder.canonicalize(), content.canonicalize(), path.file_name())
        && folder.join(name).starts_with(&content)
    {
        bail!("{} lies in what the torrent is made of; name another place for it", path.display());
    }
    Ok(())
}

/// Hashes a file or folder, with a bar, and makes a torrent of it.
pub fn make(path: &Path, make: &Make, name: Option<&str>, talk: &Talk) -> Result<Created> {
    let what = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let step = Step::begin(talk, &format!("hashing {what}"));
    let created = starling_disk::create(path, &options(make, name), &|done, total| step.set(done, total));
    drop(step);
    let created = created.map_err(|error| match error {
        DiskError::Unfit(why) => anyhow!("{}: {why}", path.display()),
        error => error.into(),
    })?;
    if !talk.quiet && !talk.json {
        tell_skipped(&created, talk);
        tell_renamed(&created.torrent, talk);
    }
    Ok(created)
}

/// Names that some system cannot have: as they are here, and as whoever fetches them gets
/// them. A folder counts once, however many files are in it.
pub fn renamed(torrent: &Torrent) -> Vec<(String, String)> {
    let info = &torrent.info;
    let folder = Some(&info.name).filter(|_| !info.single_file);
    let (mut renamed, mut told) = (Vec::new(), BTreeSet::new());
    for file in info.layout.files() {
        let Some(raw) = &file.raw else { continue };
        let safe: Vec<&String> = folder.into_iter().chain(&file.path).collect();
        for (at, (raw_part, safe_part)) in raw.iter().zip(&safe).enumerate() {
            if raw_part == safe_part.as_bytes() {
                continue;
            }
            let parts = raw[..=at].iter().map(|part| String::from_utf8_lossy(part));
            let here = parts.collect::<Vec<_>>().join("/");
            if told.insert(here.clone()) {
                renamed.push((here, (*safe_part).clone()));
            }
        }
    }
    renamed
}

/// Names what others will have under another name.
fn tell_renamed(torrent: &Torrent, talk: &Talk) {
    let renamed = renamed(torrent);
    let named = if talk.verbose > 0 { renamed.len() } else { NAMED_MAX };
    for (here, safe) in renamed.iter().take(named) {
        let here = printable(here);
        screen::line(&format!(
            "{here} will be {safe} for whoever fetches it: not every system allows its name"
        ));
    }
    if renamed.len() > named {
        let more = units::count(renamed.len() - named, "more name");
        screen::line(&format!("{more} will be others for whoever fetches them; -v tells all"));
    }
}

/// Names what is not in the torrent.
fn tell_skipped(created: &Created, talk: &Talk) {
    let named = if talk.verbose > 0 { created.skipped.len() } else { NAMED_MAX };
    for (path, why) in created.skipped.iter().take(named) {
        screen::line(&format!("left out {}: {why}", printable(&path.display().to_string())));
    }
    if created.skipped.len() > named {
        let more = created.skipped.len() - named;
        screen::line(&format!("left out {}; -v names all", units::count(more, "more thing")));
    }
}

/// Writes a torrent file so that it is there whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = Path::new(&temporary);
    let written = std::fs::write(temporary, bytes).and_then(|()| std::fs::rename(temporary, path));
    let written = written.inspect_err(|_| drop(std::fs::remove_file(temporary)));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn options(make: &Make, name: Option<&str>) -> CreateOptions {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    CreateOptions {
        name: name.map(str::to_owned),
        versions: match make.kind() {
            Version::V1 => Versions::V1,
            Version::V2 => Versions::V2,
            Version::Hybrid => Versions::Hybrid,
        },
        piece_length: make.piece_length,
        private: make.private,
        trackers: make.tracker.iter().map(|url| vec![url.clone()]).collect(),
        web_seeds: make.web_seed.clone(),
        comment: make.comment.clone(),
        created_by: Some(concat!("Starling ", env!("CARGO_PKG_VERSION")).to_owned()),
        creation_date: now.and_then(|now| i64::try_from(now.as_secs()).ok()),
        ..CreateOptions::default()
    }
}

/// The same as [`tell_renamed`] tells, for programs.
pub fn renamed_json(torrent: &Torrent) -> serde_json::Value {
    renamed(torrent).into_iter().map(|(here, safe)| json!({ "path": here, "as": safe })).collect()
}

fn report(torrent: &Torrent, path: &Path, talk: &Talk) {
    let link = starling_metainfo::Magnet::of(torrent).to_string();
    if talk.json {
        progress::emit(&json!({
            "event": "created", "file": path.display().to_string(), "link": link,
            "info_hash_v1": torrent.info.hashes.v1().map(|h| h.to_string()),
            "info_hash_v2": torrent.info.hashes.v2().map(|h| h.to_string()),
            "bytes": torrent.info.layout.content_length(), "pieces": torrent.info.layout.pieces(),
            "renamed": renamed_json(torrent),
        }));
        return;
    }
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{link}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        _ if talk.quiet => {}
        _ => {
            let pieces = units::count(torrent.info.layout.pieces() as usize, "piece");
            let size = units::bytes(torrent.info.layout.content_length());
            screen::line(&format!("{}: {size} in {pieces}", path.display()));
        }
    }
}
