//! Torrents of small files that are mostly padding. We ask for the part of a block that
//! belongs to a file. Clients that do not know padding ask for all of it, and keep it as
//! files; those here cannot read hybrid torrents either, so theirs are padded v1 ones.

use std::path::Path;

use starling_interop::client::{
    Client, aria2::Aria2, libtorrent::Libtorrent, starling::Starling, transmission::Transmission,
};
use starling_interop::scene::{Cast, Scene, play};
use starling_interop::torrent::{Kind, Recipe, Torrent};
use starling_interop::tracker::Tracker;
use starling_interop::{Program, Result, content, context};

const PIECE: u64 = 64 * 1024;

/// Lengths around the edges of blocks and pieces, and many tiny ones; no two with the same
/// gap after them, for gaps are named by their length and no name may come twice.
fn lengths() -> Vec<u64> {
    let edges = [1, 16_383, 16_384, 16_385, 40_000, 65_535, 65_536, 65_538, 200_000];
    edges.into_iter().chain((0..60).map(|i| 3 + i * 37 % 900)).collect()
}

fn write_files(folder: &Path) -> Result<()> {
    let mut files = lengths().into_iter().zip(1..);
    files.try_for_each(|(length, n)| content::write_random(&folder.join(format!("{n:03}")), length, n))
}

/// The padding, for who takes it for files.
fn write_padding(folder: &Path) -> Result<()> {
    let gaps = lengths().into_iter().map(|length| length.next_multiple_of(PIECE) - length);
    gaps.filter(|&gap| gap > 0).try_for_each(|gap| {
        let path = folder.join(".pad").join(gap.to_string());
        context(std::fs::create_dir_all(folder.join(".pad")), "the padding's folder")?;
        context(std::fs::write(&path, vec![0; gap as usize]), &path.display().to_string())
    })
}

fn fetch(scene: &Scene, seeder: &'static dyn Client, leecher: &'static dyn Client, kind: Kind) -> Result<()> {
    let content = scene.path("content/small files");
    write_files(&content)?;
    let recipe = Recipe { piece_length: PIECE, padded: true, ..Recipe::new(kind) };
    let recipe = recipe.tracker(Tracker::url(scene.tracker()));
    let torrent = Torrent::make(&content, &scene.path("small.torrent"), &recipe)?;
    let data = scene.path("seeder");
    write_files(&data.join("small files"))?;
    write_padding(&data.join("small files"))?;
    scene.transfer_from(&data, &content, &torrent, &Cast { seeder, leecher, magnet: false })
}

macro_rules! fetches {
    ($($name:ident: $leecher:ident from $seeder:ident, $kind:ident, $program:ident;)*) => {
        $(#[test]
        fn $name() {
            let needed = [Program::Libtorrent, Program::Opentracker, Program::$program];
            play(&needed, |scene| fetch(scene, &$seeder, &$leecher, Kind::$kind));
        })*
    };
}

fetches! {
    libtorrent_answers_short_requests: Starling from Libtorrent, Hybrid, Libtorrent;
    transmission_answers_short_requests: Starling from Transmission, V1, Transmission;
    aria2_answers_short_requests: Starling from Aria2, V1, Aria2;
    we_answer_short_requests: Starling from Starling, Hybrid, Libtorrent;
    libtorrent_gets_padding_from_us: Libtorrent from Starling, Hybrid, Libtorrent;
    transmission_gets_padding_from_us: Transmission from Starling, V1, Transmission;
    aria2_gets_padding_from_us: Aria2 from Starling, V1, Aria2;
}
