//! What starling makes, others can use.

use std::time::Duration;

use starling_interop::client::{Client, Job, Leecher, libtorrent, libtorrent::Libtorrent, starling};
use starling_interop::process::Process;
use starling_interop::scene::{PATIENCE, Scene, play};
use starling_interop::torrent::{Kind, Recipe, Torrent};
use starling_interop::{Program, Result, content};

const NEEDED: [Program; 1] = [Program::Libtorrent];

fn create(scene: &Scene, content: &std::path::Path, kind: Kind) -> Result<Torrent> {
    let file = scene.path(&format!("ours-{}.torrent", kind.name()));
    let launch = starling::launch_alone(&scene.path("")).arg("create").arg(content).arg("-o").arg(&file);
    let launch = launch.arg(format!("--{}", kind.name())).args(["--piece-length", "65536"]);
    launch.spawn()?.expect_success(PATIENCE)?;
    Torrent::read(&file)
}

/// libtorrent checks the data against the torrent; done means that all hashes agree.
#[test]
fn libtorrent_finds_our_hashes_right() {
    play(&NEEDED, |scene| {
        let folder = scene.path("content/stuff");
        content::write_awkward(&folder)?;
        for kind in [Kind::V1, Kind::V2, Kind::Hybrid] {
            let torrent = create(scene, &folder, kind)?;
            let job = Job { data: scene.path("content"), ..scene.job(4, &torrent)? };
            let mut checker: Leecher = Libtorrent.leech(&job)?;
            checker.go()?;
            checker.await_done(PATIENCE)?;
        }
        Ok(())
    });
}

/// Of one file there is little choice: the same name, length and hashes make the
/// same torrent, whoever makes it.
#[test]
fn we_and_libtorrent_name_one_file_alike() {
    play(&NEEDED, |scene| {
        let file = scene.path("content/file.bin");
        content::write_random(&file, 1_000_003, 8)?;
        for kind in [Kind::V1, Kind::V2, Kind::Hybrid] {
            let ours = create(scene, &file, kind)?;
            let recipe = Recipe { piece_length: 65536, ..Recipe::new(kind) };
            let theirs = Torrent::make(&file, &scene.path("theirs.torrent"), &recipe)?;
            if (ours.v1, ours.v2) != (theirs.v1, theirs.v2) {
                return Err(format!("{kind:?}: {ours:?} and {theirs:?}"));
            }
        }
        Ok(())
    });
}

/// `starling share` prints a link that libtorrent opens.
#[test]
fn libtorrent_opens_the_link_that_share_prints() {
    play(&NEEDED, |scene| {
        let file = scene.path("content/shared.bin");
        content::write_random(&file, 3_000_000, 9)?;
        let nothing = Torrent {
            file: file.clone(),
            name: "shared.bin".into(),
            v1: None,
            v2: None,
            magnet: String::new(),
        };
        let share =
            starling::launch(&scene.job(2, &nothing)?, "share").args(["--no-lan"]).arg(&file).spawn()?;
        let link = printed_link(&share)?;
        let torrent = Torrent { magnet: link, ..nothing };
        let job = Job { magnet: true, peers: vec![scene.namespace.peer(2)], ..scene.job(3, &torrent)? };
        let mut leecher = libtorrent::leech_with(&job, &[])?;
        leecher.go()?;
        leecher.await_done(PATIENCE)?;
        content::same(&file, &job.data.join("shared.bin"))
    });
}

fn printed_link(share: &Process) -> Result<String> {
    share.expect_line(Duration::from_secs(60), |line| line.starts_with("magnet:?"))
}
