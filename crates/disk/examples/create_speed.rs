//! How fast torrents are made: `create_speed PATH [v1|v2|hybrid] [THREADS]`.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use starling_disk::{CreateOptions, create};
use starling_metainfo::{PieceLength, Versions};

fn main() {
    let mut args = std::env::args().skip(1);
    let path = PathBuf::from(args.next().expect("a path"));
    let versions = match args.next().as_deref() {
        Some("v1") => Versions::V1,
        Some("v2") => Versions::V2,
        _ => Versions::Hybrid,
    };
    let threads = args.next().map_or(0, |n| n.parse().unwrap());
    let options =
        CreateOptions { versions, threads, piece_length: PieceLength::new(1 << 20), ..Default::default() };
    let start = Instant::now();
    let created = create(&path, &options, &|_, _| ControlFlow::Continue(())).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let bytes = created.torrent.info.layout.content_length();
    println!("{versions:?}: {:.0} MB/s, {}", bytes as f64 / 1e6 / seconds, created.torrent.info.hashes);
}
