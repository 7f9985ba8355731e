//! What `share` and `create` make unless another kind is asked for opens in every client,
//! from the torrent file and from the printed link alone; and we get it back from them.

use std::path::{Path, PathBuf};

use starling_interop::client::{
    Client, Job, aria2::Aria2, libtorrent::Libtorrent, starling, starling::Starling,
    transmission::Transmission,
};
use starling_interop::process::Process;
use starling_interop::scene::{Cast, PATIENCE, Scene, play};
use starling_interop::torrent::Torrent;
use starling_interop::tracker::Tracker;
use starling_interop::{Program, Result, content, context};

fn write(scene: &Scene, is_folder: bool) -> Result<PathBuf> {
    let path = scene.path(if is_folder { "content/a folder of ☃" } else { "content/one file.bin" });
    let written =
        if is_folder { content::write_awkward(&path) } else { content::write_random(&path, 2_000_003, 12) };
    written.map(|()| path)
}

/// What a command of ours makes of `content`: the torrent, and the link it prints.
fn made(process: &Process, file: &Path) -> Result<Torrent> {
    let link = process.expect_line(PATIENCE, |line| line.starts_with("magnet:?"))?;
    Ok(Torrent { magnet: link, ..Torrent::read(file)? })
}

fn created(scene: &Scene, content: &Path) -> Result<Torrent> {
    let file = scene.path("created.torrent");
    let launch = starling::launch_alone(&scene.path("")).arg("create").arg(content).arg("-o").arg(&file);
    let mut create = launch.arg("--tracker").arg(Tracker::url(scene.tracker())).spawn()?;
    let torrent = made(&create, &file)?;
    create.expect_success(PATIENCE).map(|()| torrent)
}

/// `starling share` of `content`, fetched by another program.
fn share_to(leecher: &'static dyn Client, is_folder: bool, magnet: bool) {
    let programs = [leecher.program(), Some(Program::Libtorrent), Some(Program::Opentracker)];
    play(&programs.into_iter().flatten().collect::<Vec<_>>(), |scene| {
        let content = write(scene, is_folder)?;
        let home = scene.path("tracker");
        context(std::fs::create_dir_all(&home), "the tracker's folder")?;
        let named = created(scene, &content)?; // the tracker serves what it knows by name
        let tracker = Tracker::start(scene.tracker(), &home, &[&named])?;
        let file = scene.path("shared.torrent");
        let launch = starling::launch(&scene.job(2, &named)?, "share").args(["--no-lan", "--tracker"]);
        let share = launch.arg(Tracker::url(scene.tracker())).arg("-o").arg(&file).arg(&content).spawn()?;
        let torrent = made(&share, &file)?;
        tracker.await_seeders(torrent.wire_hash(), 1, PATIENCE)?;
        let job = Job { magnet, ..scene.job(3, &torrent)? };
        let mut leecher_runs = leecher.leech(&job)?;
        leecher_runs.go()?;
        leecher_runs.await_done(PATIENCE)?;
        let got = job.data.join(&torrent.name);
        if !leecher.makes_empty_files() {
            content::add_empty_files(&content, &got)?;
        }
        content::same(&content, &got)
    });
}

/// A torrent of ours seeded by another program, fetched by us.
fn back_from(seeder: &'static dyn Client, is_folder: bool, magnet: bool) {
    let programs = [seeder.program(), Some(Program::Libtorrent), Some(Program::Opentracker)];
    play(&programs.into_iter().flatten().collect::<Vec<_>>(), |scene| {
        let content = write(scene, is_folder)?;
        let torrent = created(scene, &content)?;
        scene.transfer(&content, &torrent, &Cast { seeder, leecher: &Starling, magnet })
    });
}

macro_rules! defaults {
    ($($name:ident: $way:ident $program:ident, $what:ident by $how:ident;)*) => {
        $(#[test]
        fn $name() {
            $way(&$program, stringify!($what) == "folder", stringify!($how) == "magnet");
        })*
    };
}

defaults! {
    a_file_to_aria2: share_to Aria2, file by torrent;
    a_file_to_aria2_by_magnet: share_to Aria2, file by magnet;
    a_folder_to_aria2: share_to Aria2, folder by torrent;
    a_folder_to_aria2_by_magnet: share_to Aria2, folder by magnet;
    a_file_to_transmission: share_to Transmission, file by torrent;
    a_file_to_transmission_by_magnet: share_to Transmission, file by magnet;
    a_folder_to_transmission: share_to Transmission, folder by torrent;
    a_folder_to_transmission_by_magnet: share_to Transmission, folder by magnet;
    a_file_to_libtorrent: share_to Libtorrent, file by torrent;
    a_file_to_libtorrent_by_magnet: share_to Libtorrent, file by magnet;
    a_folder_to_libtorrent: share_to Libtorrent, folder by torrent;
    a_folder_to_libtorrent_by_magnet: share_to Libtorrent, folder by magnet;
    a_file_from_aria2: back_from Aria2, file by torrent;
    a_folder_from_aria2_by_magnet: back_from Aria2, folder by magnet;
    a_file_from_transmission: back_from Transmission, file by torrent;
    a_folder_from_transmission_by_magnet: back_from Transmission, folder by magnet;
    a_file_from_libtorrent: back_from Libtorrent, file by torrent;
    a_folder_from_libtorrent_by_magnet: back_from Libtorrent, folder by magnet;
}
