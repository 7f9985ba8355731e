//! Many torrents of one node.

#![allow(clippy::unwrap_used)] // a test may panic, helpers included

#[allow(dead_code)] // a part of it is needed here
mod common;

use common::content::Sample;
use common::scene;
use common::sites::{Home, config};
use starling_metainfo::Versions;
use starling_node::{Add, Check, Node};

/// Two machines have a hundred torrents in common. None of them waits for a place.
#[test]
fn a_hundred_torrents_between_two_machines_all_run() {
    scene(async {
        let (home, other) = (Home::new(), Home::new());
        let (seeder, leecher) =
            (Node::start(config(11, &home)).unwrap(), Node::start(config(20, &other)).unwrap());
        let samples: Vec<Sample> =
            (0..100).map(|n| Sample::file(Versions::V1, 20_000 + n, 16 << 10)).collect();
        for sample in &samples {
            let dir = home.data().join(sample.torrent.info.hashes.to_string());
            sample.write_to(&dir);
            let add = Add { check: Check::Complete, ..Add::torrent(sample.torrent.clone(), &dir) };
            seeder.add(add).await.unwrap().finished().await.unwrap();
        }
        let mut torrents = Vec::new();
        for sample in &samples {
            let dir = other.data().join(sample.torrent.info.hashes.to_string());
            let add =
                Add { peers: vec![seeder.addr().to_string()], ..Add::torrent(sample.torrent.clone(), dir) };
            torrents.push(leecher.add(add).await.unwrap());
        }
        for torrent in &mut torrents {
            torrent.finished().await.unwrap();
        }
        leecher.shutdown().await.unwrap();
        seeder.shutdown().await.unwrap();
    });
}
