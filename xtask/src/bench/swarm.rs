//! `cargo xtask bench swarm`: whole transfers between real programs.
//!
//! Everything is in memory and in one network namespace with an address for each
//! peer and a tracker. Processor time is counted by the kernel, for each side in a
//! control group of its own, from the moment the leecher is told to go until it says
//! that it has everything. Then the bytes are compared.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use starling_interop::cgroup::CpuGroup;
use starling_interop::client::{self, Client, Job, Leecher};
use starling_interop::namespace::Namespace;
use starling_interop::process::Process;
use starling_interop::torrent::{Kind, Recipe, Torrent};
use starling_interop::tracker::Tracker;
use starling_interop::{Result, content, context};

use super::floor::Floor;
use super::median;
use super::options::Options;
use super::report;
use super::sample::{Sampler, Seen};
use super::table::Table;

/// Bytes in a piece of the torrents measured.
const PIECE_LENGTH: u64 = 1 << 20;
/// No transfer takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(300);
/// Transmission takes its time.
const PATIENCE_TO_ANNOUNCE: Duration = Duration::from_secs(60);
/// The leecher's place in the namespace; seeders come from 2 on, the tracker is 1.
const LEECHER: u8 = 10;

const FLOORS: [Floor; 4] = [
    Floor { name: "floor, sendfile, 1 thread", sendfile: true, two_threads: false },
    Floor { name: "floor, sendfile, 2 threads", sendfile: true, two_threads: true },
    Floor { name: "floor, pread+write, 1 thread", sendfile: false, two_threads: false },
    Floor { name: "floor, pread+write, 2 threads", sendfile: false, two_threads: true },
];

/// One line of the table: who fetches from whom.
struct Pair {
    leecher: &'static dyn Client,
    seeder: &'static dyn Client,
    seeders: u8,
    kind: Kind,
    /// No BitTorrent: no tracker, no handshake.
    bare: bool,
}

/// What one run of a pair cost.
struct Cost {
    wall: Duration,
    first_mib: Duration,
    cpu: [Duration; 2],
    memory: [u64; 2],
}

/// Where everything happens.
struct World {
    namespace: Namespace,
    folder: PathBuf,
    torrents: [Torrent; 2],
    size: u64,
}

/// Measures every pair that is wanted and can be had.
pub fn run(options: &Options) -> Result<()> {
    let scratch = content::scratch()?;
    let world = World::new(scratch.path(), options.size)?;
    let mut table = Table::new(&HEAD);
    println!("{} bytes, median of {}, on {}", options.size, options.runs, report::machine());
    for pair in pairs().iter().filter(|pair| options.wants(pair.about())) {
        match world.median(pair, options.runs) {
            Ok(cost) => table.row(row(pair, &cost, options.size)),
            Err(problem) => {
                eprintln!("{}: {problem}", pair.title());
                table.row(vec![pair.title(), pair.kind.name().into(), "failed".into()]);
            }
        }
    }
    print!("{}", table.render());
    if options.dry { Ok(()) } else { report::write("swarm", &text(&table, options)) }
}

const HEAD: [&str; 10] = [
    "leecher from seeder",
    "torrent",
    "wall s",
    "MB/s",
    "first MiB s",
    "leecher MB/CPU-s",
    "seeder MB/CPU-s",
    "both MB/CPU-s",
    "leecher MiB",
    "seeder MiB",
];

fn text(table: &Table, options: &Options) -> String {
    format!(
        "`cargo xtask bench swarm --size {} --runs {}` on {}.\n\n{}",
        options.size,
        options.runs,
        report::machine(),
        table.render()
    )
}

fn row(pair: &Pair, cost: &Cost, size: u64) -> Vec<String> {
    let rate = |time: Duration| format!("{:.0}", size as f64 / 1e6 / time.as_secs_f64().max(1e-6));
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let [leecher, seeder] = cost.cpu;
    vec![
        pair.title(),
        pair.kind.name().into(),
        format!("{:.3}", cost.wall.as_secs_f64()),
        rate(cost.wall),
        format!("{:.3}", cost.first_mib.as_secs_f64()),
        rate(leecher),
        rate(seeder),
        rate(leecher + seeder),
        mib(cost.memory[0]),
        mib(cost.memory[1]),
    ]
}

/// Every line of the table: each leecher from libtorrent, each seeder to libtorrent,
/// starling with itself, and the floor.
fn pairs() -> Vec<Pair> {
    let lt: &dyn Client = &client::libtorrent::Libtorrent;
    let starling: &dyn Client = &client::starling::Starling;
    let pair = |leecher, seeder, seeders, kind| Pair { leecher, seeder, seeders, kind, bare: false };
    let mut pairs: Vec<Pair> = FLOORS.iter().map(Pair::floor).collect();
    pairs.push(pair(starling, starling, 1, Kind::V1));
    pairs.push(pair(starling, starling, 1, Kind::Hybrid));
    pairs.extend(client::ALL.into_iter().map(|leecher| pair(leecher, lt, 1, Kind::V1)));
    let others = client::ALL.into_iter().filter(|seeder| seeder.name() != lt.name());
    pairs.extend(others.map(|seeder| pair(lt, seeder, 1, Kind::V1)));
    pairs.extend([starling, lt, &client::rqbit::Rqbit].map(|leecher| pair(leecher, lt, 3, Kind::V1)));
    pairs.extend(
        [starling, lt, &client::qbittorrent::Qbittorrent].map(|leecher| pair(leecher, lt, 1, Kind::Hybrid)),
    );
    pairs.push(pair(lt, starling, 1, Kind::Hybrid));
    pairs.retain(|pair| pair.leecher.present() && pair.seeder.present());
    pairs
}

impl Pair {
    fn floor(floor: &'static Floor) -> Pair {
        Pair { leecher: floor, seeder: floor, seeders: 1, kind: Kind::V1, bare: true }
    }

    /// The side that the line is there for.
    fn about(&self) -> &'static str {
        match (self.bare, self.leecher.name()) {
            (true, _) => "floor",
            (_, "libtorrent") => self.seeder.name(),
            (_, leecher) => leecher,
        }
    }

    fn title(&self) -> String {
        match (self.bare, self.seeders) {
            (true, _) => self.leecher.name().to_owned(),
            (_, 1) => format!("{} from {}", self.leecher.name(), self.seeder.name()),
            (_, n) => format!("{} from {n} {}", self.leecher.name(), self.seeder.name()),
        }
    }
}

impl World {
    fn new(scratch: &Path, size: u64) -> Result<World> {
        let namespace = Namespace::enter()?;
        let folder = scratch.to_path_buf();
        let content = folder.join("content/payload.bin");
        warm(&folder, size)?;
        content::write_random(&content, size, 7)?;
        let url = Tracker::url(tracker_addr(&namespace));
        let make = |kind: Kind| {
            let recipe = Recipe { piece_length: PIECE_LENGTH, ..Recipe::new(kind) }.tracker(url.clone());
            Torrent::make(&content, &folder.join(format!("{}.torrent", kind.name())), &recipe)
        };
        let torrents = [make(Kind::V1)?, make(Kind::Hybrid)?];
        Ok(World { namespace, folder, torrents, size })
    }

    fn median(&self, pair: &Pair, runs: usize) -> Result<Cost> {
        let mut costs = Vec::new();
        for _ in 0..runs {
            let cost = self.transfer(pair)?;
            eprintln!("{:<40} {:>8.3} s", pair.title(), cost.wall.as_secs_f64());
            costs.push(cost);
        }
        Ok(Cost {
            wall: middle(&costs, |cost| cost.wall),
            first_mib: middle(&costs, |cost| cost.first_mib),
            cpu: [0, 1].map(|side| middle(&costs, |cost| cost.cpu[side])),
            memory: [0, 1].map(|side| middle(&costs, |cost| cost.memory[side])),
        })
    }

    /// One run, in folders of its own.
    fn transfer(&self, pair: &Pair) -> Result<Cost> {
        let run = context(tempfile::tempdir_in(&self.folder), "a run's folder")?;
        let torrent = &self.torrents[usize::from(pair.kind == Kind::Hybrid)];
        let tracker = Tracker::start(tracker_addr(&self.namespace), run.path(), &[torrent])?;
        let groups = [CpuGroup::new()?, CpuGroup::new()?];
        let seeders = self.seeders(pair, torrent, run.path(), &groups[1])?;
        if !pair.bare {
            tracker.await_seeders(torrent.wire_hash(), u64::from(pair.seeders), PATIENCE_TO_ANNOUNCE)?;
        }
        let job = self.job(LEECHER, torrent, run.path(), &groups[0])?;
        let peers = if pair.bare { vec![self.namespace.peer(2)] } else { Vec::new() };
        let job = Job { peers, ..job };
        let mut leecher = pair.leecher.leech(&job)?;
        let cost = measure(&mut leecher, &seeders, &groups, &job.data, self.size)?;
        content::same(&self.folder.join("content"), &job.data)?;
        Ok(cost)
    }

    fn seeders(&self, pair: &Pair, torrent: &Torrent, run: &Path, group: &CpuGroup) -> Result<Vec<Process>> {
        let start = |n: u8| {
            let job = Job { data: self.folder.join("content"), ..self.job(1 + n, torrent, run, group)? };
            if pair.bare { pair.seeder.seed(&job) } else { client::seed(pair.seeder, &job) }
        };
        (1..=pair.seeders).map(start).collect()
    }

    fn job<'a>(&self, n: u8, torrent: &'a Torrent, run: &Path, group: &'a CpuGroup) -> Result<Job<'a>> {
        let [home, data] = ["home", "data"].map(|name| run.join(format!("{name}{n}")));
        for folder in [&home, &data] {
            context(std::fs::create_dir(folder), &folder.display().to_string())?;
        }
        let (listen, control) = (self.namespace.peer(n), self.namespace.control(n));
        Ok(Job { listen, control, torrent, magnet: false, data, home, peers: Vec::new(), group: Some(group) })
    }
}

fn tracker_addr(namespace: &Namespace) -> SocketAddr {
    (namespace.ip(1), 6969).into()
}

/// From go to done.
fn measure(
    leecher: &mut Leecher,
    seeders: &[Process],
    groups: &[CpuGroup; 2],
    data: &Path,
    size: u64,
) -> Result<Cost> {
    let before = [groups[0].used()?, groups[1].used()?];
    let begun = Instant::now();
    leecher.go()?;
    let pids = leecher.id().into_iter().chain(seeders.iter().map(Process::id)).collect();
    let sampler = Sampler::start(data.to_path_buf(), size, pids, begun);
    let done = leecher.await_done(PATIENCE);
    let wall = begun.elapsed();
    let after = [groups[0].used()?, groups[1].used()?];
    let Seen { first_mib, memory, .. } = sampler.finish();
    done?;
    Ok(Cost {
        wall,
        first_mib: first_mib.unwrap_or(wall),
        cpu: [after[0].saturating_sub(before[0]), after[1].saturating_sub(before[1])],
        memory: [memory[0], memory[1..].iter().copied().max().unwrap_or(0)],
    })
}

/// Touches as much memory as all data will need: on a virtual machine the first touch
/// of a page is many times slower than the next.
pub fn warm(folder: &Path, size: u64) -> Result<()> {
    let path = folder.join("warm");
    content::write_random(&path, 3 * size, 1)?;
    context(std::fs::remove_file(path), "warming memory")
}

fn middle<T: Ord + Copy>(costs: &[Cost], of: impl Fn(&Cost) -> T) -> T {
    median(costs.iter().map(of).collect())
}
