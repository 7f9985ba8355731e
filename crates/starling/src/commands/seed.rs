//! `starling seed`

use anyhow::Result;
use starling_node::{Add, Check};

use crate::args::Seed;
use crate::run::{self, Exit, Until};

pub async fn seed(args: &Seed) -> Result<Exit> {
    let mut adds = Vec::with_capacity(args.sources.len());
    for source in &args.sources {
        let add = Add {
            check: if args.trust { Check::Resume } else { Check::Full },
            super_seeding: args.super_seed,
            ..Add::source(source, &args.output)
        };
        adds.push(run::with_flags(add, &args.network, &args.tracker, &[])?);
    }
    let node = run::start(&args.network)?;
    let exit = run::run(&node, adds, &args.talk, Until::Interrupted).await?;
    Ok(run::finish(node, exit, &args.talk, "starling: stopped seeding").await)
}
