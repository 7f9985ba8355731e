//! aria2c. It speaks v1 only, and cannot join a hybrid torrent: for what has BEP 52's file
//! tree, 1.36 computes another info-hash than all others.

use super::{Client, Done, Job, Leecher, Signal};
use crate::process::{Launch, Process};
use crate::{Program, Result};

/// aria2c.
pub struct Aria2;

impl Client for Aria2 {
    fn program(&self) -> Option<Program> {
        Some(Program::Aria2)
    }

    fn seed(&self, job: &Job) -> Result<Process> {
        let seed = ["--seed-ratio=0.0", "--bt-seed-unverified=true", "--allow-overwrite=true"];
        command(job).args(seed).arg(job.source()).spawn()
    }

    fn leech(&self, job: &Job) -> Result<Leecher> {
        let signal = Signal::new(&job.home)?;
        let hook = format!("--on-bt-download-complete={}", signal.script());
        let launch = command(job).args(["--seed-time=0", &hook]).arg(job.source());
        Ok(Leecher::new(None, Done::Hook(signal), |_| launch.spawn()))
    }
}

fn command(job: &Job) -> Launch {
    let launch = Launch::new(Program::Aria2.command()).home(&job.home).group(job.group);
    let launch = launch.args([
        "--no-conf=true",
        "--enable-dht=false",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
        "--file-allocation=none",
        "--summary-interval=0",
        "--console-log-level=warn",
        "--show-console-readout=false",
        "--follow-torrent=mem",
    ]);
    let (ip, port) = (job.listen.ip(), job.listen.port());
    let launch = launch.args([format!("--interface={ip}"), format!("--bt-external-ip={ip}")]);
    launch.args([format!("--listen-port={port}"), format!("--dir={}", job.data.display())])
}
