//! A real web server as a source: of the torrent file, and of the data (BEP 19).

use std::path::Path;

use starling_interop::client::{Client, Job, starling::Starling};
use starling_interop::scene::{PATIENCE, Scene, play};
use starling_interop::torrent::{Kind, Recipe, Torrent};
use starling_interop::webserver::WebServer;
use starling_interop::{Program, Result, content, context};

const NEEDED: [Program; 2] = [Program::Libtorrent, Program::Nginx];

fn serve(scene: &Scene) -> Result<WebServer> {
    let home = scene.path("nginx");
    context(std::fs::create_dir_all(&home), "nginx's folder")?;
    WebServer::start((scene.namespace.ip(5), 8080).into(), &scene.path("content"), &home)
}

/// Fetches with no peer in sight.
fn fetch(scene: &Scene, torrent: &Torrent, content: &Path, magnet: bool) -> Result<()> {
    let job = Job { magnet, ..scene.job(3, torrent)? };
    let mut leecher = Starling.leech(&job)?;
    leecher.go()?;
    leecher.await_done(PATIENCE)?;
    content::same(content, &job.data.join(&torrent.name))
}

#[test]
fn a_file_from_a_web_server_alone() {
    play(&NEEDED, |scene| {
        let file = scene.path("content/one file.bin");
        content::write_random(&file, 5_000_000, 4)?;
        let server = serve(scene)?;
        for kind in [Kind::V1, Kind::Hybrid] {
            let recipe = Recipe { web_seeds: vec![server.url("one%20file.bin")], ..Recipe::new(kind) };
            let torrent = Torrent::make(&file, &scene.path("a.torrent"), &recipe)?;
            fetch(scene, &torrent, &file, false)?;
            context(std::fs::remove_dir_all(scene.path("data3")), "making room")?;
        }
        Ok(())
    });
}

#[test]
fn a_folder_with_awkward_names_from_a_web_server_alone() {
    play(&NEEDED, |scene| {
        let folder = scene.path("content/awkward");
        content::write_awkward(&folder)?;
        let server = serve(scene)?;
        let recipe = Recipe { web_seeds: vec![server.url("")], ..Recipe::new(Kind::V1) };
        let torrent = Torrent::make(&folder, &scene.path("a.torrent"), &recipe)?;
        fetch(scene, &torrent, &folder, false)
    });
}

#[test]
fn a_torrent_by_its_address() {
    play(&NEEDED, |scene| {
        let file = scene.path("content/data.bin");
        content::write_random(&file, 1_000_000, 4)?;
        let server = serve(scene)?;
        let recipe = Recipe { web_seeds: vec![server.url("data.bin")], ..Recipe::new(Kind::V1) };
        let torrent = Torrent::make(&file, &scene.path("content/a.torrent"), &recipe)?;
        // To starling, whatever is given as the source is just text.
        let by_address = Torrent { magnet: server.url("a.torrent"), ..torrent };
        fetch(scene, &by_address, &file, true)
    });
}
