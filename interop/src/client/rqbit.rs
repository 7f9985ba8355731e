//! rqbit, where somebody built it.

use super::{Client, Done, Job, Leecher};
use crate::process::{Launch, Process};
use crate::{Program, Result};

/// rqbit.
pub struct Rqbit;

impl Client for Rqbit {
    fn program(&self) -> Option<Program> {
        Some(Program::Rqbit)
    }

    fn seed(&self, job: &Job) -> Result<Process> {
        command(job, &[]).spawn()
    }

    fn leech(&self, job: &Job) -> Result<Leecher> {
        let launch = command(job, &["--exit-on-finish"]);
        Ok(Leecher::new(None, Done::Exit, |_| launch.spawn()))
    }
}

fn command(job: &Job, options: &[&str]) -> Launch {
    let launch = Launch::new(Program::Rqbit.command()).home(&job.home).group(job.group);
    let network = ["--disable-dht", "--disable-lsd", "--disable-upnp-port-forward", "--ipv4-only"];
    let (ip, port) = (job.listen.ip().to_string(), job.listen.port().to_string());
    let launch = launch.args(network).args(["--listen-ip", &ip, "--listen-port", &port]);
    let launch = launch.args(["download", "--overwrite"]).args(options);
    launch.arg("--output-folder").arg(&job.data).arg(job.source())
}
