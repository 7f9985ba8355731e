//! Starling itself, by its command line.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{Client, Done, Job, Leecher};
use crate::Result;
use crate::process::{Launch, Process};

/// starling.
pub struct Starling;

impl Client for Starling {
    fn program(&self) -> Option<crate::Program> {
        None
    }

    fn seed(&self, job: &Job) -> Result<Process> {
        alone(job, "seed").arg(&job.torrent.file).spawn()
    }

    fn present(&self) -> bool {
        binary().is_file()
    }

    fn leech(&self, job: &Job) -> Result<Leecher> {
        let launch = alone(job, "get").arg(job.source());
        Ok(Leecher::new(None, Done::Exit, |_| launch.spawn()))
    }
}

/// `seed` or `get` for this job, finding nobody but the job's peers and trackers.
fn alone(job: &Job, command: &str) -> Launch {
    let launch = launch(job, command).args(["--no-dht", "--no-lan", "--no-upnp"]);
    launch.arg("-o").arg(&job.data)
}

/// A starling command with this job's address and peers, and nothing more.
pub fn launch(job: &Job, command: &str) -> Launch {
    let launch = launch_alone(&job.home).group(job.group).arg(command);
    let launch = launch.arg("--listen").arg(job.listen.to_string());
    job.peers.iter().fold(launch, |launch, peer| launch.arg("--peer").arg(peer.to_string()))
}

/// A starling command without a network, with this folder as its home.
pub fn launch_alone(home: &Path) -> Launch {
    Launch::new(&binary().to_string_lossy()).home(home)
}

static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Makes this the binary for the rest of the process; the first call counts.
pub fn use_binary(path: PathBuf) {
    CHOSEN.get_or_init(|| path);
}

/// The binary: the chosen one, `STARLING_BIN`, or what cargo put beside this program.
pub fn binary() -> PathBuf {
    if let Some(path) = CHOSEN.get() {
        return path.clone();
    }
    if let Some(path) = std::env::var_os("STARLING_BIN") {
        return path.into();
    }
    let here = std::env::current_exe().unwrap_or_default();
    let mut folders = here.ancestors().skip(1).take(2).map(|folder| folder.join("starling"));
    folders.find(|path| path.is_file()).unwrap_or("starling".into())
}
