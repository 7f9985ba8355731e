//! `cargo xtask bench latency`: a link of 1 Gbit/s, and peers far away at its end.
//!
//! One peer at 200 ms there and back, and eight at 10 to 300 ms. A slow road of our
//! own stands for the distance; peers are told of it and not of each other.

use std::time::{Duration, Instant};

use starling_interop::client::{self, Client, Job};
use starling_interop::process::Process;
use starling_interop::scene::{PATIENCE, Scene};
use starling_interop::shaper::{Link, slow_road};
use starling_interop::torrent::{Kind, Recipe, Torrent};
use starling_interop::{Result, content};

use super::options::Options;
use super::sample::Sampler;
use super::table::Table;
use super::{median, rate, report, swarm};

const LINK_BITS_PER_S: f64 = 1e9;
const FAR: [u64; 1] = [200];
const MIXED: [u64; 8] = [10, 30, 60, 100, 150, 200, 250, 300];
/// Peers come from 1 on, their roads' near ends from here on.
const ROADS: u8 = 10;
const LEECHER: u8 = 9;

/// Who fetches from whom, over which distances.
struct Line {
    leecher: &'static dyn Client,
    seeder: &'static dyn Client,
    round_trips_ms: &'static [u64],
}

/// Measures every line that is wanted and can be had.
pub fn run(options: &Options) -> Result<()> {
    let mut table = Table::new(&[
        "leecher from seeder",
        "round trips ms",
        "wall s",
        "MB/s",
        "MB/s after a quarter",
        "% of the link",
    ]);
    for line in lines().iter().filter(|line| options.wants(line.leecher.name())) {
        let runs: Result<Vec<[Duration; 2]>> = (0..options.runs).map(|_| line.run(options.size)).collect();
        let runs = runs?;
        let [wall, rest] = [0, 1].map(|column| median(runs.iter().map(|run| run[column]).collect()));
        table.row(line.row(options.size, wall, rest));
    }
    print!("{}", table.render());
    let (size, runs, machine) = (options.size, options.runs, report::machine());
    let head = format!("`cargo xtask bench latency --size {size} --runs {runs}` on {machine}.");
    if options.dry { Ok(()) } else { report::write("latency", &format!("{head}\n\n{}", table.render())) }
}

fn lines() -> Vec<Line> {
    let starling: &dyn Client = &client::starling::Starling;
    let libtorrent: &dyn Client = &client::libtorrent::Libtorrent;
    let pairs = [(starling, starling), (starling, libtorrent), (libtorrent, libtorrent)];
    let distances: [&'static [u64]; 2] = [&FAR, &MIXED];
    let all = distances
        .into_iter()
        .flat_map(|round_trips_ms| pairs.map(|(leecher, seeder)| Line { leecher, seeder, round_trips_ms }));
    all.filter(|line| line.leecher.present() && line.seeder.present()).collect()
}

impl Line {
    /// The whole time, and the time for the last three quarters.
    fn run(&self, size: u64) -> Result<[Duration; 2]> {
        // A thread of its own has a network of its own, which ends with it.
        std::thread::scope(|scope| {
            let run = scope.spawn(|| self.run_here(size));
            run.join().unwrap_or_else(|_| Err("the run panicked".into()))
        })
    }

    fn run_here(&self, size: u64) -> Result<[Duration; 2]> {
        let scene = Scene::new()?;
        swarm::warm(&scene.path("."), size)?;
        let file = scene.path("content/payload.bin");
        content::write_random(&file, size, 7)?;
        let recipe = Recipe { piece_length: 1 << 20, ..Recipe::new(Kind::V1) };
        let torrent = Torrent::make(&file, &scene.path("a.torrent"), &recipe)?;
        let _seeders = self.seeders(&scene, &torrent)?;
        let roads = (0..self.round_trips_ms.len()).map(|n| scene.namespace.peer(ROADS + n as u8));
        let job = Job { peers: roads.collect(), ..scene.job(LEECHER, &torrent)? };
        let mut leecher = self.leecher.leech(&job)?;
        let begun = Instant::now();
        leecher.go()?;
        let sampler = Sampler::start(job.data.clone(), size, Vec::new(), begun);
        let done = leecher.await_done(PATIENCE);
        let wall = begun.elapsed();
        let quarter = sampler.finish().quarter.unwrap_or(wall);
        done?;
        content::same(&file, &job.data.join(&torrent.name))?;
        Ok([wall, wall.saturating_sub(quarter)])
    }

    /// A seeder for each distance, and the road to it.
    fn seeders(&self, scene: &Scene, torrent: &Torrent) -> Result<Vec<Process>> {
        let link = Link::new(LINK_BITS_PER_S);
        let start = |(n, round_trip): (u8, &u64)| {
            let job = Job { data: scene.path("content"), ..scene.job(n, torrent)? };
            let seeder = client::seed(self.seeder, &job)?;
            let delay = Duration::from_millis(*round_trip) / 2;
            slow_road(scene.namespace.peer(ROADS + n - 1), job.listen, delay, std::sync::Arc::clone(&link))?;
            Ok(seeder)
        };
        (1..).zip(self.round_trips_ms).map(start).collect()
    }

    fn row(&self, size: u64, wall: Duration, rest: Duration) -> Vec<String> {
        let distances: Vec<String> = self.round_trips_ms.iter().map(u64::to_string).collect();
        let share = size as f64 * 0.75 * 8.0 / rest.as_secs_f64().max(1e-6) / LINK_BITS_PER_S * 100.0;
        vec![
            format!("{} from {}", self.leecher.name(), self.seeder.name()),
            distances.join(" "),
            format!("{:.2}", wall.as_secs_f64()),
            rate(size, wall),
            rate(size / 4 * 3, rest),
            format!("{share:.0}"),
        ]
    }
}
