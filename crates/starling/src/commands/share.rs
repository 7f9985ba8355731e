//! `starling share`

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;
use starling_metainfo::{Magnet, PeerAddress, Torrent};
use starling_node::{Add, Check, Node};

use super::create;
use crate::Usage;
use crate::args::Share;
use crate::progress::{self, eprint_line};
use crate::run::{self, Exit, Until};
use crate::units;

/// Addresses of ours that a link carries.
const PEERS_IN_LINK: usize = 4;

pub fn share(args: &Share) -> Result<Exit> {
    let path = std::fs::canonicalize(&args.make.path)
        .map_err(|error| anyhow::anyhow!("{}: {error}", args.make.path.display()))?;
    let Some(dir) = path.parent() else { bail!(Usage("the root folder cannot be shared".to_owned())) };
    if args.make.name.as_deref().is_some_and(|name| path.file_name().is_none_or(|file| file != name)) {
        bail!(Usage("--name: a share has the name of its file, or its data would not be found".to_owned()));
    }
    let created = create::make(&args.make, &args.talk)?;
    if let Some(output) = &args.output {
        create::write(output, &created.torrent.encode())?;
    }
    super::block_on(serve(args, created.torrent, dir))
}

async fn serve(args: &Share, torrent: Torrent, dir: &Path) -> Result<Exit> {
    let node = run::start(&args.network)?;
    announce(args, &torrent, &node);
    let add = Add { check: Check::Complete, super_seeding: args.super_seed, ..Add::torrent(torrent, dir) };
    let add = run::with_flags(add, &args.network, &[], &[])?;
    let exit = run::run(&node, vec![add], &args.talk, Until::Interrupted).await?;
    let hint = "starling: stopped sharing; run the same command again to go on";
    Ok(run::finish(node, exit, &args.talk, hint).await)
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
            "event": "link", "link": link, "listen": node.addr().to_string(),
            "info_hash_v1": torrent.info.hashes.v1().map(|h| h.to_string()),
            "info_hash_v2": torrent.info.hashes.v2().map(|h| h.to_string()),
        }));
    } else {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{link}");
        let _ = out.flush();
    }
    if args.qr {
        draw_qr(&link);
    }
    if !args.talk.quiet && !args.talk.json {
        let size = units::bytes(torrent.info.layout.content_length());
        eprint_line(&format!(
            "sharing {} ({size}) at port {}; fetch it with: starling get 'LINK' -o DIR",
            torrent.info.name,
            node.addr().port()
        ));
    }
}

/// Where peers on the same network reach us: the address we listen at, or those of all
/// interfaces but loopback.
fn own_addresses(listen: SocketAddr) -> Vec<PeerAddress> {
    let ips = if listen.ip().is_unspecified() { starling_node::interface_addresses() } else { vec![listen.ip()] };
    let useful = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_loopback(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local() && !ip.is_loopback(),
    };
    let listed = ips.into_iter().filter(|ip| useful(ip) || !listen.ip().is_unspecified());
    listed.take(PEERS_IN_LINK).map(|ip| PeerAddress { host: ip.to_string(), port: listen.port() }).collect()
}

fn draw_qr(link: &str) {
    match qrcode::QrCode::with_error_correction_level(link, qrcode::EcLevel::L) {
        Ok(code) => eprint_line(&code.render::<qrcode::render::unicode::Dense1x2>().build()),
        Err(_) => eprint_line("the link is too long for a QR code"),
    }
}
