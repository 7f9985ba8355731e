//! A real tracker asked how many share a torrent, over HTTP (BEP 48) and UDP (BEP 15).

use std::process::Command;

use starling_interop::client::{self, Job, starling::Starling};
use starling_interop::scene::{PATIENCE, play};
use starling_interop::torrent::{Kind, Recipe, Torrent};
use starling_interop::tracker::Tracker;
use starling_interop::{Program, content, context};

#[test]
fn opentracker_counts_our_seeder_over_http_and_udp() {
    play(&[Program::Libtorrent, Program::Opentracker], |scene| {
        let file = scene.path("content/file.bin");
        content::write_random(&file, 100_000, 1)?;
        let url = Tracker::url(scene.tracker());
        let recipe = Recipe::new(Kind::Hybrid).tracker(url.clone());
        let torrent = Torrent::make(&file, &scene.path("a.torrent"), &recipe)?;
        let home = scene.path("tracker");
        context(std::fs::create_dir_all(&home), "the tracker's folder")?;
        let tracker = Tracker::start(scene.tracker(), &home, &[&torrent])?;
        let seed = Job { data: scene.path("content"), ..scene.job(2, &torrent)? };
        let _seeder = client::seed(&Starling, &seed)?;
        tracker.await_seeders(torrent.wire_hash(), 1, PATIENCE)?;
        let mut show = Command::new(client::starling::binary());
        show.args(["show", "--scrape", "--json", "--no-lan", "--listen"]);
        show.arg(scene.namespace.peer(3).to_string()).arg(&torrent.file);
        let udp = Tracker::udp_url(scene.tracker());
        let output = context(show.args(["--tracker", &udp]).output(), "starling show")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        for url in [url, udp] {
            let line = said.lines().find(|line| line.contains("\"scrape\"") && line.contains(&url));
            let line = line.ok_or_else(|| format!("nothing of {url}: {said}"))?;
            if !(line.contains("\"seeds\":1,") && line.contains("\"leechers\":0,")) {
                return Err(format!("{url}: {line}"));
            }
        }
        Ok(())
    });
}
