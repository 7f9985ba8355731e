//! `cargo xtask bench create`: making a torrent of one large file in memory.

use std::path::Path;
use std::time::{Duration, Instant};

use starling_interop::client::starling;
use starling_interop::process::Launch;
use starling_interop::torrent::{Kind, Recipe, Torrent};
use starling_interop::{Program, Result, content};

use super::options::Options;
use super::table::Table;
use super::{median, rate, report, swarm};

const PATIENCE: Duration = Duration::from_secs(300);
const PIECE_LENGTH: u64 = 1 << 20;

/// Who makes what.
struct Line {
    program: &'static str,
    kind: Kind,
    make: fn(&Path, &Path, Kind) -> Result<Duration>,
}

const LINES: [Line; 6] = [
    Line { program: "starling", kind: Kind::V1, make: by_starling },
    Line { program: "mktorrent", kind: Kind::V1, make: by_mktorrent },
    Line { program: "libtorrent", kind: Kind::V1, make: by_libtorrent },
    Line { program: "starling", kind: Kind::Hybrid, make: by_starling },
    Line { program: "libtorrent", kind: Kind::Hybrid, make: by_libtorrent },
    Line { program: "starling", kind: Kind::V2, make: by_starling },
];

/// Measures every line that is wanted and can be had.
pub fn run(options: &Options) -> Result<()> {
    let scratch = content::scratch()?;
    let (file, torrent) = (scratch.path().join("payload.bin"), scratch.path().join("made.torrent"));
    swarm::warm(scratch.path(), options.size)?;
    content::write_random(&file, options.size, 7)?;
    let mut table = Table::new(&["program", "torrent", "s", "MB/s"]);
    for line in LINES.iter().filter(|line| options.wants(line.program) && present(line.program)) {
        let times: Result<Vec<Duration>> = (0..options.runs)
            .map(|_| {
                let _ = std::fs::remove_file(&torrent);
                (line.make)(&file, &torrent, line.kind)
            })
            .collect();
        let time = median(times?);
        let seconds = format!("{:.3}", time.as_secs_f64());
        table.row(vec![line.program.into(), line.kind.name().into(), seconds, rate(options.size, time)]);
    }
    print!("{}", table.render());
    let (size, runs, machine) = (options.size, options.runs, report::machine());
    let head = format!("`cargo xtask bench create --size {size} --runs {runs}` on {machine}.");
    if options.dry { Ok(()) } else { report::write("create", &format!("{head}\n\n{}", table.render())) }
}

fn present(program: &str) -> bool {
    match program {
        "starling" => starling::binary().is_file(),
        "mktorrent" => Program::Mktorrent.present(),
        _ => Program::Libtorrent.present(),
    }
}

fn by_starling(content: &Path, torrent: &Path, kind: Kind) -> Result<Duration> {
    let launch = Launch::new(&starling::binary().to_string_lossy()).arg("create").arg(content);
    let launch = launch.arg("-o").arg(torrent).arg(format!("--{}", kind.name())).arg("--quiet");
    timed(launch.arg("--piece-length").arg(PIECE_LENGTH.to_string()))
}

fn by_mktorrent(content: &Path, torrent: &Path, _: Kind) -> Result<Duration> {
    let launch = Launch::new(Program::Mktorrent.command()).args(["-t", "2", "-l", "20", "-o"]);
    timed(launch.arg(torrent).arg(content))
}

/// From the moment it begins to hash: the start of Python is not its own.
fn by_libtorrent(content: &Path, torrent: &Path, kind: Kind) -> Result<Duration> {
    let recipe = Recipe { piece_length: PIECE_LENGTH, ..Recipe::new(kind) };
    let mut process = Torrent::making(content, torrent, &recipe)?;
    process.expect_line(PATIENCE, |line| line == "hashing")?;
    let begun = Instant::now();
    process.expect_success(PATIENCE)?;
    Ok(begun.elapsed())
}

fn timed(launch: Launch) -> Result<Duration> {
    let begun = Instant::now();
    launch.spawn()?.expect_success(PATIENCE)?;
    Ok(begun.elapsed())
}
