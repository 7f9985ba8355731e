//! libtorrent-rasterbar, driven by a script of ours through its Python binding.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Client, Done, Job, Leecher};
use crate::process::{Launch, Process};
use crate::{PYTHON, Program, Result, context};

/// libtorrent with local discovery and peer exchange off.
pub struct Libtorrent;

impl Client for Libtorrent {
    fn program(&self) -> Option<Program> {
        Some(Program::Libtorrent)
    }

    fn seed(&self, job: &Job) -> Result<Process> {
        let mut process = ready(job, &["seed"])?;
        process.say("go")?;
        process.expect_line(Duration::from_secs(20), |line| line == "seeding")?;
        Ok(process)
    }

    fn leech(&self, job: &Job) -> Result<Leecher> {
        leech_with(job, &[])
    }
}

/// A leecher with further words of `lt.py`, `pex` or `lsd`.
pub fn leech_with(job: &Job, words: &[&str]) -> Result<Leecher> {
    let process = ready(job, words)?;
    Ok(Leecher::new(Some(process), Done::Line("done"), |process| {
        let mut process = process.ok_or("not prepared")?;
        process.say("go")?;
        Ok(process)
    }))
}

fn ready(job: &Job, words: &[&str]) -> Result<Process> {
    let source = if job.magnet { "magnet" } else { "file" };
    let launch = Launch::new(PYTHON).home(&job.home).group(job.group);
    let launch = launch.arg(context(script(&job.home), "lt.py")?).arg("peer").args(words);
    let launch = launch.arg(format!("listen={}", job.listen)).arg(format!("save={}", job.data.display()));
    let launch = launch.arg(format!("{source}={}", job.source()));
    let process = launch.args(job.peers.iter().map(|peer| format!("peer={peer}"))).spawn()?;
    process.expect_line(Duration::from_secs(20), |line| line == "ready")?;
    Ok(process)
}

/// Writes the script below `home`.
pub(crate) fn script(home: &Path) -> std::io::Result<PathBuf> {
    let path = home.join("lt.py");
    std::fs::write(&path, include_str!("lt.py")).map(|()| path)
}
