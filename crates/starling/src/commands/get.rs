//! `starling get`

use std::path::Path;

use anyhow::{Context, Result, bail};
use starling_metainfo::{InfoHashes, Magnet};
use starling_node::source::{self, Loaded};
use starling_node::{Add, Check, Progress};

use crate::args::Get;
use crate::run::{self, Exit, Until};
use crate::text::address;
use crate::{interrupt, screen, units};

pub async fn get(args: &Get) -> Result<Exit> {
    let select = args.select.clone().unwrap_or_default().0;
    let sources = once_each(args).await?;
    let adds = sources.into_iter().map(|source| {
        let add = Add {
            select: select.clone(),
            sequential: args.sequential,
            preallocate: args.preallocate,
            overwrite: args.overwrite,
            check: if args.recheck { Check::Full } else { Check::Resume },
            ..source.add(&args.output)
        };
        run::with_flags(add, &args.network, &args.tracker, &args.web_seed)
    });
    let adds: Vec<Add> = adds.collect();
    run::check_selections(&adds)?;
    make_folder(&args.output)?;
    let node = run::start(&args.network, adds.len())?;
    let until = if args.seed { Until::Interrupted } else { Until::Complete };
    run::to_the_end(node, adds, &args.talk, until, !args.network.no_lan, hint).await
}

/// What to fetch, and what else names it.
struct Wanted {
    source: String,
    loaded: Loaded,
    /// More links to the same torrent: where else to look for peers.
    links: Vec<Magnet>,
}

impl Wanted {
    fn hashes(&self) -> InfoHashes {
        match &self.loaded {
            Loaded::Torrent(torrent) => torrent.info.hashes,
            Loaded::Magnet(magnet) => magnet.hashes,
        }
    }

    fn add(self, dir: &Path) -> Add {
        let mut add = Add::source(self.source, dir);
        if let Loaded::Torrent(torrent) = self.loaded {
            add.torrent = Some(torrent);
        }
        for link in self.links {
            add.peers.extend(link.peers.iter().map(ToString::to_string));
            add.trackers.extend(link.trackers);
            add.web_seeds.extend(link.web_seeds);
        }
        add
    }
}

/// Reads all sources. One that names a torrent another names too is only a further place to look.
async fn once_each(args: &Get) -> Result<Vec<Wanted>> {
    let mut all: Vec<Wanted> = Vec::with_capacity(args.sources.len());
    for source in &args.sources {
        let loaded = interrupt::unless(source::load(source)).await??;
        let mut new = Wanted { source: source.clone(), loaded, links: Vec::new() };
        let Some(same) = all.iter_mut().find(|other| other.hashes().matches(&new.hashes())) else {
            all.push(new);
            continue;
        };
        if !args.talk.quiet && !args.talk.json {
            screen::line(&format!(
                "{}: the same torrent as {}, fetched once",
                address(source),
                address(&same.source)
            ));
        }
        // The torrent itself is worth more than a link.
        if matches!((&same.loaded, &new.loaded), (Loaded::Magnet(_), Loaded::Torrent(_))) {
            std::mem::swap(same, &mut new);
            same.links = std::mem::take(&mut new.links);
        }
        if let Loaded::Magnet(magnet) = new.loaded {
            same.links.push(*magnet);
        }
    }
    Ok(all)
}

fn make_folder(dir: &Path) -> Result<()> {
    if std::fs::metadata(dir).is_ok_and(|meta| !meta.is_dir()) {
        bail!("{} is not a folder", dir.display());
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))
}

fn hint(torrents: &[Progress]) -> String {
    let (done, wanted) =
        torrents.iter().fold((0, 0), |(done, wanted), p| (done + p.bytes_done, wanted + p.bytes_wanted));
    let kept = match wanted {
        0 => String::new(),
        _ if done == wanted => " after all was complete".to_owned(),
        _ => format!(" at {}%, {} kept", done * 100 / wanted, units::bytes(done)),
    };
    format!("interrupted{kept}; the same command carries on")
}
