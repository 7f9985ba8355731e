//! What handling one block costs, on both sides: `cargo run --release -p starling-swarm --example cost`,
//! with a number for one case only.

// A program that measures and prints, not part of a core.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use starling_metainfo::{Bitfield, Builder, Info, PieceLength, Sha1Hash, Versions};
use starling_sansio::{Machine, Rng, Time};
use starling_swarm::{Config, ConnId, Hello, Input, Message, Output, Reserved, Torrent};

fn torrent(info: &Arc<Info>, have: Bitfield, peers: u32, out: &mut Vec<Output>) -> Torrent {
    let mut torrent = Torrent::new(info.hashes, Config::default(), Rng::from_seed(1), [1; 20], 6881);
    let now = Time::from_secs(1);
    torrent.handle(now, Input::Loaded { info: info.clone(), piece_layers: BTreeMap::new(), have }, out);
    for conn in 0..peers {
        let addr = ([10, 0, (conn >> 8) as u8, conn as u8], 6881).into();
        let hello = Hello { addr, peer_id: [2; 20], reserved: Reserved::OURS, outbound: true, v2: false };
        torrent.handle(now, Input::Connected { conn: ConnId(conn), hello }, out);
    }
    torrent
}

fn leech(info: &Arc<Info>, peers: u32) {
    let (mut out, pieces) = (Vec::new(), info.layout.pieces());
    let mut torrent = torrent(info, Bitfield::new(pieces), peers, &mut out);
    let mut now = Time::from_secs(1);
    for conn in (0..peers).map(ConnId) {
        for message in [Message::HaveAll, Message::Unchoke] {
            torrent.handle(now, Input::Message { conn, message }, &mut out);
        }
    }
    let mut blocks = 0u64;
    let mut missing: Vec<u32> = (0..pieces).map(|piece| info.layout.blocks(piece)).collect();
    let mut asked: std::collections::VecDeque<Input> = Default::default();
    let most = if peers > 500 { 100_000 } else { 2_000_000 };
    let start = Instant::now();
    loop {
        for output in out.drain(..) {
            match output {
                Output::Send { conn, message: Message::Request(block) } => {
                    asked.push_back(Input::Message { conn, message: Message::Piece(block) });
                }
                Output::Store { block } => {
                    let left = &mut missing[block.piece as usize];
                    *left -= 1;
                    if *left == 0 {
                        asked.push_back(Input::PieceVerified { piece: block.piece });
                    }
                }
                _ => {}
            }
        }
        let Some(input) = asked.pop_front() else {
            match torrent.next_timeout().filter(|_| !torrent.is_finished()) {
                Some(at) => now = now.max(at),
                None => break,
            }
            torrent.handle_timeout(now, &mut out);
            continue;
        };
        blocks += u64::from(matches!(input, Input::Message { .. }));
        now = now + std::time::Duration::from_micros(16);
        torrent.handle(now, input, &mut out);
        if torrent.next_timeout().is_some_and(|at| at <= now) {
            torrent.handle_timeout(now, &mut out);
        }
        if blocks >= most {
            break;
        }
    }
    let each = start.elapsed().as_nanos() as f64 / blocks as f64;
    println!("leech, {peers} peers, {pieces} pieces: {each:.0} ns a block, {blocks} blocks");
}

fn seed(info: &Arc<Info>, peers: u32) {
    let (mut out, pieces) = (Vec::new(), info.layout.pieces());
    let mut torrent = torrent(info, Bitfield::full(pieces), peers, &mut out);
    let now = Time::from_secs(1);
    for conn in (0..peers).map(ConnId) {
        torrent.handle(now, Input::Message { conn, message: Message::Interested }, &mut out);
    }
    out.clear();
    let (conn, mut blocks) = (ConnId(0), 0u64);
    let start = Instant::now();
    for round in 0..20_000u32 {
        for i in 0..64 {
            let block = starling_swarm::Block {
                piece: round % pieces,
                begin: i % info.layout.blocks(0) * 16384,
                length: 16384,
            };
            torrent.handle(now, Input::Message { conn, message: Message::Request(block) }, &mut out);
        }
        for output in out.drain(..) {
            blocks += u64::from(matches!(output, Output::SendBlock { .. }));
        }
        for _ in 0..8 {
            torrent.handle(now, Input::Sent { conn, bytes: 8 * 16384 }, &mut out);
        }
    }
    let each = start.elapsed().as_nanos() as f64 / blocks as f64;
    println!("seed, {peers} peers: {each:.0} ns a block, {blocks} blocks");
}

fn main() {
    let only: Option<usize> = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let cases = [
        (16u64 << 30, 1u64 << 20, 1),
        (16 << 30, 1 << 20, 100),
        (32 << 30, 16 << 10, 4),
        (48 << 30, 16 << 10, 1000),
    ];
    let wanted = |(n, _): &(usize, _)| only.is_none_or(|only| only == *n);
    for (_, (bytes, piece, peers)) in cases.into_iter().enumerate().filter(wanted) {
        let mut builder = Builder::file("file", bytes);
        (builder.versions, builder.piece_length) = (Versions::V1, PieceLength::new(piece));
        let plan = builder.plan().expect("a plan");
        let hashes = vec![Sha1Hash([0; 20]); plan.layout().pieces() as usize];
        let info = plan.finish(Some(&hashes), None).expect("a torrent").info;
        leech(&info, peers);
        seed(&info, peers);
    }
}
