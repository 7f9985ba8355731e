//! `starling share`

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, bail};
use console::Style;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::json;
use starling_metainfo::{Magnet, PeerAddress, Torrent};
use starling_node::{Add, Check, Node};

use super::create;
use super::seed::stopped;
use crate::Usage;
use crate::args::Share;
use crate::run::{self, Exit, Until};
use crate::text::width;
use crate::{progress, screen, units};

/// Addresses of ours that a link carries.
const PEERS_IN_LINK: usize = 4;

pub fn share(args: &Share) -> Result<Exit> {
    let path =
        std::fs::canonicalize(&args.path).with_context(|| format!("cannot share {}", args.path.display()))?;
    let Some(dir) = path.parent() else { bail!(Usage("the root folder cannot be shared".to_owned())) };
    if let Some(output) = &args.output {
        create::check_output(output, &path)?;
    }
    // A share has the name of its file, or its data would not be found.
    let created = create::make(&path, &args.make, None, &args.talk)?;
    if let Some(output) = &args.output {
        write(output, &created.torrent, args.force)?;
    }
    super::block_on(serve(args, created.torrent, dir))
}

/// Writes the torrent file, unless it is there from an earlier run of the same command.
fn write(output: &Path, torrent: &Torrent, force: bool) -> Result<()> {
    let there = if force || output.symlink_metadata().is_err() { None } else { Some(read(output)) };
    match there {
        None => create::write(output, &torrent.encode()),
        Some(Some(old)) if says_the_same(&old, torrent) => Ok(()),
        Some(_) => bail!("{} exists already and is not this torrent; --force replaces it", output.display()),
    }
}

/// What a torrent file says, if it is one.
fn read(path: &Path) -> Option<Torrent> {
    // A link may lead to something that never ends.
    path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Torrent::parse(&std::fs::read(path).ok()?).ok()
}

/// Whether two torrents differ at most in when and by what they were made.
fn says_the_same(old: &Torrent, new: &Torrent) -> bool {
    let said = |torrent: &Torrent| {
        let Torrent { trackers, web_seeds, comment, info, .. } = torrent.clone();
        (info.hashes, trackers, web_seeds, comment)
    };
    said(old) == said(new)
}

async fn serve(args: &Share, torrent: Torrent, dir: &Path) -> Result<Exit> {
    let node = run::start(&args.network, 1)?;
    announce(args, &torrent, &node);
    let add = Add {
        check: Check::Complete,
        super_seeding: args.super_seed,
        fetch: false,
        ..Add::torrent(torrent, dir)
    };
    let add = run::with_flags(add, &args.network, &[], &[]);
    run::to_the_end(node, vec![add], &args.talk, Until::Interrupted, !args.network.no_lan, |torrents| {
        stopped("sharing", torrents)
    })
    .await
}

/// The link on stdout, alone, so that a script can take it.
fn announce(args: &Share, torrent: &Torrent, node: &Node) {
    let mut magnet = Magnet::of(torrent);
    magnet.length = Some(torrent.info.layout.content_length());
    if !torrent.info.private {
        magnet.peers = own_addresses(node.addr());
    }
    let link = magnet.to_string();
    if args.talk.json {
        progress::emit(&json!({
            "event": "link", "link": link, "listen": node.addr().to_string(), "name": torrent.info.name,
            "info_hash_v1": torrent.info.hashes.v1().map(|h| h.to_string()),
            "info_hash_v2": torrent.info.hashes.v2().map(|h| h.to_string()),
            "renamed": create::renamed_json(torrent),
        }));
    } else {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{link}");
        let _ = out.flush();
    }
    if args.qr {
        draw_qr(&magnet);
    }
    if !args.talk.quiet && !args.talk.json {
        greet(args, torrent, node);
    }
}

/// What a person needs to know, once.
fn greet(args: &Share, torrent: &Torrent, node: &Node) {
    let size = units::bytes(torrent.info.layout.content_length());
    let (name, port) = (&torrent.info.name, node.addr().port());
    screen::line(&format!("sharing {name} ({size}) at port {port}; Ctrl-C stops it"));
    if torrent.info.private && torrent.trackers.is_empty() {
        screen::line("private, and without a tracker: peers must be named with --peer");
    } else if args.output.is_some() {
        screen::line("fetch it with: starling get LINK_OR_TORRENT_FILE -o DIR");
    } else {
        screen::line("fetch it with: starling get 'LINK' -o DIR");
    }
}

/// Where peers on the same network reach us: the address we listen at, or those of all
/// interfaces but loopback.
fn own_addresses(listen: SocketAddr) -> Vec<PeerAddress> {
    let ips =
        if listen.ip().is_unspecified() { starling_node::interface_addresses() } else { vec![listen.ip()] };
    let useful = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_loopback(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local() && !ip.is_loopback(),
    };
    let listed = ips.into_iter().filter(|ip| useful(ip) || !listen.ip().is_unspecified());
    listed.take(PEERS_IN_LINK).map(|ip| PeerAddress { host: ip.to_string(), port: listen.port() }).collect()
}

/// Draws the link; if it is too long for that, only what names the torrent.
fn draw_qr(magnet: &Magnet) {
    let short =
        Magnet { name: None, length: None, peers: Vec::new(), web_seeds: Vec::new(), ..magnet.clone() };
    let (_, columns) = screen::size();
    let drawn = [magnet, &short].into_iter().find_map(|magnet| qr(&magnet.to_string(), columns));
    match drawn {
        Some(rows) => rows.iter().for_each(|row| screen::line(row)),
        None => screen::line("the link is too long for a QR code in this terminal"),
    }
}

/// Dark on light whatever the terminal's colours are, where it has any.
fn qr(link: &str, columns: usize) -> Option<Vec<String>> {
    let code = QrCode::with_error_correction_level(link, EcLevel::L).ok()?;
    let text = code.render::<Dense1x2>().quiet_zone(true).build();
    let fits = text.lines().all(|row| width(row) <= columns);
    let paper = Style::new().for_stderr().black().on_color256(231);
    fits.then(|| text.lines().map(|row| paper.apply_to(row).to_string()).collect())
}
