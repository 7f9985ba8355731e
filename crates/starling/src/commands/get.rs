//! `starling get`

use std::path::Path;

use anyhow::{Context, Result, bail};
use starling_node::{Add, Check, Progress};

use crate::args::Get;
use crate::run::{self, Exit, Until};
use crate::units;

pub async fn get(args: &Get) -> Result<Exit> {
    let select = args.select.clone().unwrap_or_default().0;
    let adds = args.sources.iter().map(|source| {
        let add = Add {
            select: select.clone(),
            sequential: args.sequential,
            preallocate: args.preallocate,
            check: if args.recheck { Check::Full } else { Check::Resume },
            ..Add::source(source, &args.output)
        };
        run::with_flags(add, &args.network, &args.tracker, &args.web_seed)
    });
    make_folder(&args.output)?;
    let node = run::start(&args.network)?;
    let until = if args.seed { Until::Interrupted } else { Until::Complete };
    let ended = run::run(&node, adds.collect(), &args.talk, until, !args.network.no_lan).await?;
    run::finish(node, ended, &args.talk, hint).await
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
