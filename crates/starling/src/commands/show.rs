//! `starling show`

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use starling_metainfo::{Magnet, Torrent};
use starling_node::source::{self, Loaded};
use starling_node::{Add, Node, Scraped, State};

use crate::args::Show;
use crate::run::{self, Exit};
use crate::text::{address, plain, printable};
use crate::{interrupt, progress, screen, units};

/// Files that are listed, unless all are asked for.
const FILES_SHOWN: usize = 100;

pub async fn show(args: &Show) -> Result<Exit> {
    let loaded = interrupt::unless(source::load(&args.source)).await??;
    let loaded = match (loaded, args.fetch) {
        (Loaded::Magnet(_), Some(secs)) => Loaded::Torrent(fetch(args, secs).await?),
        (loaded, _) => loaded,
    };
    if args.talk.json {
        progress::emit(&match &loaded {
            Loaded::Torrent(torrent) => torrent_json(torrent),
            Loaded::Magnet(magnet) => magnet_json(magnet),
        });
        return counts(args, &loaded).await;
    }
    let text = match &loaded {
        Loaded::Torrent(torrent) => torrent_text(torrent, args.talk.verbose > 0),
        Loaded::Magnet(magnet) => magnet_text(magnet),
    };
    super::print(text.as_bytes())?;
    if matches!(loaded, Loaded::Magnet(_)) && !args.talk.quiet {
        screen::line("a link says no more; with --fetch, peers are asked for the rest");
    }
    counts(args, &loaded).await
}

/// With `--scrape`, what each tracker says of the swarm.
async fn counts(args: &Show, loaded: &Loaded) -> Result<Exit> {
    if !args.scrape {
        return Ok(Exit::Done);
    }
    let (hashes, own): (_, Vec<&String>) = match loaded {
        Loaded::Torrent(torrent) => (torrent.info.hashes, torrent.trackers.iter().flatten().collect()),
        Loaded::Magnet(magnet) => (magnet.hashes, magnet.trackers.iter().collect()),
    };
    let trackers: Vec<String> = own.into_iter().chain(&args.tracker).cloned().collect();
    if trackers.is_empty() {
        bail!("no tracker to ask: it names none; --tracker does");
    }
    let node = run::start(&args.network, 1)?;
    let scraped = interrupt::unless(node.scrape(&hashes, &trackers)).await;
    node.shutdown().await?;
    let scraped = scraped??;
    for scraped in &scraped {
        if args.talk.json {
            progress::emit(&scraped_json(scraped));
        } else {
            super::print(scraped_text(scraped).as_bytes())?;
        }
    }
    if scraped.iter().all(|scraped| scraped.counts.is_err()) {
        bail!("no tracker told how many share it");
    }
    Ok(Exit::Done)
}

fn scraped_text(scraped: &Scraped) -> String {
    let said = match &scraped.counts {
        Ok(counts) => format!(
            "{}, {}, downloaded {}",
            units::count(counts.complete as usize, "seed"),
            units::count(counts.incomplete as usize, "leecher"),
            units::count(counts.downloaded as usize, "time")
        ),
        Err(why) => plain(why),
    };
    format!("swarm         {said} ({})\n", printable(&scraped.tracker))
}

fn scraped_json(scraped: &Scraped) -> Value {
    let counts = scraped.counts.as_ref();
    json!({
        "event": "scrape", "tracker": scraped.tracker,
        "seeds": counts.ok().map(|c| c.complete), "leechers": counts.ok().map(|c| c.incomplete),
        "completed": counts.ok().map(|c| c.downloaded), "why": counts.err(),
    })
}

/// Asks peers for the metadata, and for nothing else.
async fn fetch(args: &Show, secs: u64) -> Result<Arc<Torrent>> {
    let node = run::start(&args.network, 1)?;
    let add = Add { metadata_only: true, ..Add::source(&args.source, ".") };
    let add = run::with_flags(add, &args.network, &args.tracker, &[]);
    if !args.talk.quiet && !args.talk.json {
        screen::line(&format!("asking peers what the link contains, for at most {secs} s"));
    }
    let wait = tokio::time::timeout(Duration::from_secs(secs), learn(&node, add));
    let found = interrupt::unless(wait).await;
    let closed = node.shutdown().await;
    let torrent = found?.unwrap_or_else(|_| bail!("no peer told what the link contains within {secs} s"))?;
    closed?;
    Ok(torrent)
}

async fn learn(node: &Node, add: Add) -> Result<Arc<Torrent>> {
    let torrent = node.add(add).await?;
    let mut news = node.news();
    loop {
        let progress = torrent.progress().await?;
        match (progress.torrent, progress.state) {
            (Some(torrent), _) => return Ok(torrent),
            (None, State::Failed(why)) => bail!(why),
            _ => news.changed().await?,
        }
    }
}

fn torrent_text(torrent: &Torrent, all: bool) -> String {
    let info = &torrent.info;
    let layout = &info.layout;
    let mut lines = vec![format!("name          {}", info.name)];
    lines.extend(info.hashes.v1().map(|hash| format!("info-hash v1  {hash}")));
    lines.extend(info.hashes.v2().map(|hash| format!("info-hash v2  {hash}")));
    let files = layout.files().iter().filter(|f| !f.padding).count();
    lines.push(format!(
        "size          {} in {} ({} bytes)",
        units::bytes(layout.content_length()),
        units::count(files, "file"),
        units::number(layout.content_length())
    ));
    let piece = units::bytes(u64::from(layout.piece_length()));
    lines.push(format!("pieces        {} of {piece}", units::number(layout.pieces().into())));
    if info.private {
        lines.push("private       yes: peers come from its trackers only".to_owned());
    }
    for tier in &torrent.trackers {
        let tier: Vec<_> = tier.iter().map(|url| address(url)).collect();
        lines.push(format!("tracker       {}", tier.join(", ")));
    }
    lines.extend(torrent.web_seeds.iter().map(|url| format!("web seed      {}", address(url))));
    lines.extend(torrent.comment.iter().map(|text| format!("comment       {}", printable(text))));
    lines.extend(torrent.created_by.iter().map(|text| format!("made by       {}", printable(text))));
    lines.push(format!("link          {}", Magnet::of(torrent)));
    lines.push("files".to_owned());
    let shown = if all { files } else { FILES_SHOWN };
    for (n, file) in layout.files().iter().filter(|f| !f.padding).enumerate().take(shown) {
        lines.push(format!("{n:>8}  {:>9}  {}", units::bytes(file.length), file.path.join("/")));
    }
    if files > shown {
        lines.push(format!("          and {}; -v lists all", units::count(files - shown, "more file")));
    }
    lines.join("\n") + "\n"
}

fn magnet_text(magnet: &Magnet) -> String {
    let mut lines = Vec::new();
    lines.extend(magnet.name.iter().map(|name| format!("name          {}", printable(name))));
    lines.extend(magnet.hashes.v1().map(|hash| format!("info-hash v1  {hash}")));
    lines.extend(magnet.hashes.v2().map(|hash| format!("info-hash v2  {hash}")));
    lines.extend(
        magnet.length.map(|n| format!("size          {} ({} bytes)", units::bytes(n), units::number(n))),
    );
    lines.extend(magnet.trackers.iter().map(|url| format!("tracker       {}", address(url))));
    lines.extend(magnet.web_seeds.iter().map(|url| format!("web seed      {}", address(url))));
    lines.extend(magnet.peers.iter().map(|peer| format!("peer          {peer}")));
    lines.extend(magnet.select_only.iter().map(|r| format!("files         {}-{}", r.start(), r.end())));
    lines.join("\n") + "\n"
}

fn torrent_json(torrent: &Torrent) -> Value {
    let info = &torrent.info;
    let files = info.layout.files().iter().filter(|f| !f.padding);
    json!({
        "event": "torrent", "name": info.name,
        "info_hash_v1": info.hashes.v1().map(|h| h.to_string()),
        "info_hash_v2": info.hashes.v2().map(|h| h.to_string()),
        "bytes": info.layout.content_length(), "pieces": info.layout.pieces(),
        "piece_length": info.layout.piece_length(), "private": info.private,
        "trackers": torrent.trackers, "web_seeds": torrent.web_seeds, "comment": torrent.comment,
        "created_by": torrent.created_by, "creation_date": torrent.creation_date,
        "link": Magnet::of(torrent).to_string(),
        "files": files.map(|f| json!({ "path": f.path.join("/"), "bytes": f.length })).collect::<Vec<_>>(),
    })
}

fn magnet_json(magnet: &Magnet) -> Value {
    json!({
        "event": "magnet", "name": magnet.name,
        "info_hash_v1": magnet.hashes.v1().map(|h| h.to_string()),
        "info_hash_v2": magnet.hashes.v2().map(|h| h.to_string()),
        "bytes": magnet.length, "trackers": magnet.trackers, "web_seeds": magnet.web_seeds,
        "peers": magnet.peers.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
