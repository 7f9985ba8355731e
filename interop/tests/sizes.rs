//! Files of one byte, of none, and of more than four-byte numbers like.

use std::path::Path;

use starling_interop::client::{libtorrent::Libtorrent, starling::Starling};
use starling_interop::scene::{Cast, Scene, play};
use starling_interop::torrent::{Kind, Recipe, Torrent};
use starling_interop::tracker::Tracker;
use starling_interop::{Program, Result, content, context};

const NEEDED: [Program; 2] = [Program::Libtorrent, Program::Opentracker];

/// From libtorrent to starling, and back.
fn there_and_back(scene: &Scene, content: &Path, torrent: &Torrent) -> Result<()> {
    scene.transfer(content, torrent, &Cast { seeder: &Libtorrent, leecher: &Starling, magnet: false })?;
    let fetched = scene.job(3, torrent)?.data;
    context(std::fs::remove_dir_all(&fetched), "making room")?;
    scene.transfer(content, torrent, &Cast { seeder: &Starling, leecher: &Libtorrent, magnet: false })
}

#[test]
fn one_byte() {
    play(&NEEDED, |scene| {
        let file = scene.path("content/one");
        content::write_random(&file, 1, 3)?;
        for kind in [Kind::V1, Kind::V2, Kind::Hybrid] {
            there_and_back(scene, &file, &scene.torrent(&file, kind)?)?;
            context(std::fs::remove_dir_all(scene.path("data3")), "making room")?;
        }
        Ok(())
    });
}

#[test]
fn no_byte_beside_one() {
    play(&NEEDED, |scene| {
        let folder = scene.path("content/nearly nothing");
        content::write_random(&folder.join("none"), 0, 1)?;
        content::write_random(&folder.join("one"), 1, 2)?;
        content::write_random(&folder.join("zzz none"), 0, 3)?;
        for kind in [Kind::V1, Kind::V2, Kind::Hybrid] {
            there_and_back(scene, &folder, &scene.torrent(&folder, kind)?)?;
            context(std::fs::remove_dir_all(scene.path("data3")), "making room")?;
        }
        Ok(())
    });
}

#[test]
fn three_gib_of_holes() {
    play(&NEEDED, |scene| {
        let file = scene.path("content/holes");
        content::write_random(&scene.path("content/beside"), 1, 1)?; // makes the folder
        content::write_sparse(&file, (3 << 30) + 12_345)?;
        let recipe = Recipe { piece_length: 4 << 20, ..Recipe::new(Kind::V1) };
        let recipe = recipe.tracker(Tracker::url(scene.tracker()));
        let torrent = Torrent::make(&file, &scene.path("holes.torrent"), &recipe)?;
        there_and_back(scene, &file, &torrent)
    });
}
