//! rtorrent as a daemon.

use super::{Client, Done, Job, Leecher, Signal, write};
use crate::process::{Launch, Process};
use crate::{Program, Result};

/// rtorrent.
pub struct Rtorrent;

impl Client for Rtorrent {
    fn program(&self) -> Option<Program> {
        Some(Program::Rtorrent)
    }

    fn seed(&self, job: &Job) -> Result<Process> {
        configured(job, "")?.spawn()
    }

    fn leech(&self, job: &Job) -> Result<Leecher> {
        let signal = Signal::new(&job.home)?;
        let hook = format!("execute.nothrow={}", signal.script());
        let launch =
            configured(job, &format!("method.set_key = event.download.finished, done, \"{hook}\"\n"))?;
        Ok(Leecher::new(None, Done::Hook(signal), |_| launch.spawn()))
    }
}

fn configured(job: &Job, hook: &str) -> Result<Launch> {
    let (ip, port) = (job.listen.ip(), job.listen.port());
    let config = job.home.join("rtorrent.rc");
    let text = format!(
        "system.daemon.set = true
directory.default.set = \"{data}\"
network.bind_address.set = {ip}
network.local_address.set = {ip}
network.port_range.set = {port}-{port}
network.port_random.set = no
dht.mode.set = disable
protocol.pex.set = no
trackers.use_udp.set = no
protocol.encryption.set = none
pieces.hash.on_completion.set = no
{hook}schedule2 = begin, 0, 0, \"load.start=\\\"{source}\\\"\"
",
        data = job.data.display(),
        source = job.source(),
    );
    write(&config, &text)?;
    let launch = Launch::new(Program::Rtorrent.command()).home(&job.home).group(job.group);
    Ok(launch.args(["-n", "-o"]).arg(format!("import={}", config.display())))
}
