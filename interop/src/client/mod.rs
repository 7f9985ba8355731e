//! The programs as seeders and leechers, all behind one trait.

pub mod aria2;
pub mod libtorrent;
pub mod qbittorrent;
pub mod rqbit;
pub mod rtorrent;
mod signal;
pub mod starling;
pub mod transmission;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cgroup::CpuGroup;
use crate::process::Process;
use crate::torrent::Torrent;
use crate::{Program, Result, probe};
pub use signal::Signal;

/// One client's part in a transfer.
pub struct Job<'a> {
    /// Where it listens, and whence it connects and announces.
    pub listen: SocketAddr,
    /// Where it is controlled, if it has such an interface.
    pub control: SocketAddr,
    /// What is shared.
    pub torrent: &'a Torrent,
    /// A leecher gets only the magnet link.
    pub magnet: bool,
    /// The folder that the torrent's file or folder lies in, or will.
    pub data: PathBuf,
    /// Configuration and logs; exists already.
    pub home: PathBuf,
    /// Peers it is told of, where it can be told.
    pub peers: Vec<SocketAddr>,
    /// Where its processor time is counted.
    pub group: Option<&'a CpuGroup>,
}

impl Job<'_> {
    /// The torrent file, or the link.
    pub fn source(&self) -> String {
        let file = self.torrent.file.display().to_string();
        if self.magnet { self.torrent.magnet.clone() } else { file }
    }
}

/// A program that can be a peer.
pub trait Client: Sync {
    /// Which one; `None` is starling itself.
    fn program(&self) -> Option<Program>;

    /// Starts it with all the data there, not checking it where that can be had.
    fn seed(&self, job: &Job) -> Result<Process>;

    /// Starts whatever can be started before the transfer is asked for.
    fn leech(&self, job: &Job) -> Result<Leecher>;

    /// Whether it makes files of no bytes.
    fn makes_empty_files(&self) -> bool {
        true
    }

    /// Its name for people.
    fn name(&self) -> &'static str {
        self.program().map_or("starling", Program::name)
    }

    /// Whether it can be run here.
    fn present(&self) -> bool {
        self.program().is_none_or(Program::present)
    }
}

/// All of them.
pub const ALL: [&dyn Client; 7] = [
    &starling::Starling,
    &libtorrent::Libtorrent,
    &aria2::Aria2,
    &transmission::Transmission,
    &rtorrent::Rtorrent,
    &qbittorrent::Qbittorrent,
    &rqbit::Rqbit,
];

/// The client of this name.
pub fn by_name(name: &str) -> Option<&'static dyn Client> {
    ALL.into_iter().find(|client| client.name() == name)
}

/// Starts a seeder and waits until a handshake shows that it has everything.
pub fn seed(client: &dyn Client, job: &Job) -> Result<Process> {
    let mut process = client.seed(job)?;
    let (hash, patience) = (job.torrent.wire_hash(), Duration::from_secs(60));
    match probe::await_seeder(job.listen, hash, patience, || process.is_running()) {
        Ok(()) => Ok(process),
        Err(e) => Err(process.complaint(&e)),
    }
}

/// What makes a prepared leecher begin.
type Go = Box<dyn FnOnce(Option<Process>) -> Result<Process>>;

/// A leecher: prepared, then going, then done.
pub struct Leecher {
    process: Option<Process>,
    go: Option<Go>,
    done: Done,
}

/// How a program tells that it has everything.
pub enum Done {
    /// It exits with 0.
    Exit,
    /// It prints this line.
    Line(&'static str),
    /// It runs a script.
    Hook(Signal),
}

impl Leecher {
    /// `go` gets the prepared process, if there is one, and returns the running one.
    pub fn new(
        process: Option<Process>,
        done: Done,
        go: impl FnOnce(Option<Process>) -> Result<Process> + 'static,
    ) -> Leecher {
        Leecher { process, go: Some(Box::new(go)), done }
    }

    /// The transfer begins now.
    pub fn go(&mut self) -> Result<()> {
        if let Some(go) = self.go.take() {
            self.process = Some(go(self.process.take())?);
        }
        Ok(())
    }

    /// Its process id, once it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Its process, once it runs.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Waits until it says that it has everything.
    pub fn await_done(&mut self, patience: Duration) -> Result<()> {
        let Some(process) = self.process.as_mut() else { return Err("it was never started".into()) };
        match &self.done {
            Done::Exit => process.expect_success(patience),
            Done::Line(wanted) => process.expect_line(patience, |line| line == *wanted).map(drop),
            Done::Hook(signal) => signal.wait(patience).map_err(|e| process.complaint(&e)),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    crate::context(std::fs::write(path, text), &path.display().to_string())
}
