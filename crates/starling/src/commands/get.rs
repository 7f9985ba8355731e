//! `starling get`

use anyhow::{Context, Result};
use starling_node::{Add, Check};

use crate::Usage;
use crate::args::{self, Get};
use crate::run::{self, Exit, Until};

pub async fn get(args: &Get) -> Result<Exit> {
    let select = match &args.select {
        Some(list) => args::parse_list(list).map_err(|why| Usage(format!("--select: {why}")))?,
        None => Vec::new(),
    };
    let mut adds = Vec::with_capacity(args.sources.len());
    for source in &args.sources {
        let add = Add {
            select: select.clone(),
            sequential: args.sequential,
            preallocate: args.preallocate,
            check: if args.recheck { Check::Full } else { Check::Resume },
            ..Add::source(source, &args.output)
        };
        adds.push(run::with_flags(add, &args.network, &args.tracker, &args.web_seed)?);
    }
    std::fs::create_dir_all(&args.output).with_context(|| args.output.display().to_string())?;
    let node = run::start(&args.network)?;
    let until = if args.seed { Until::Interrupted } else { Until::Complete };
    let exit = run::run(&node, adds, &args.talk, until).await?;
    let hint = "starling: interrupted; run the same command again to carry on";
    Ok(run::finish(node, exit, &args.talk, hint).await)
}
