//! qbittorrent-nox, spoken to over its web API.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Client, Done, Job, Leecher, Signal, write};
use crate::process::{Launch, Process};
use crate::{Program, Result, context, http};

const BOUNDARY: &str = "starling-interop-boundary";

/// qbittorrent-nox.
pub struct Qbittorrent;

impl Client for Qbittorrent {
    fn program(&self) -> Option<Program> {
        Some(Program::Qbittorrent)
    }

    fn seed(&self, job: &Job) -> Result<Process> {
        let process = daemon(job, "")?;
        add(job.control, &form(job, true)?)?;
        Ok(process)
    }

    fn leech(&self, job: &Job) -> Result<Leecher> {
        let signal = Signal::new(&job.home)?;
        let process = daemon(job, &signal.script())?;
        let (control, body) = (job.control, form(job, false)?);
        Ok(Leecher::new(Some(process), Done::Hook(signal), move |process| {
            add(control, &body)?;
            process.ok_or("not prepared".into())
        }))
    }
}

fn daemon(job: &Job, hook: &str) -> Result<Process> {
    let config = job.home.join("qBittorrent/config");
    context(std::fs::create_dir_all(&config), "qBittorrent's folder")?;
    write(&config.join("qBittorrent.conf"), &settings(job, hook))?;
    let launch = Launch::new(Program::Qbittorrent.command()).home(&job.home).group(job.group);
    let port = format!("--webui-port={}", job.control.port());
    let mut process = launch.arg(format!("--profile={}", job.home.display())).arg(port).spawn()?;
    http::await_answer(&mut process, job.control, "/api/v2/app/version", Duration::from_secs(30))?;
    Ok(process)
}

fn settings(job: &Job, hook: &str) -> String {
    format!(
        "[LegalNotice]
Accepted=true
[AutoRun]
enabled={enabled}
program={hook}
[BitTorrent]
Session\\InterfaceAddress={ip}
Session\\Port={port}
Session\\BTProtocol=TCP
Session\\Encryption=2
Session\\SSRFMitigation=false
Session\\DHTEnabled=false
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\QueueingSystemEnabled=false
Session\\MultiConnectionsPerIp=true
Session\\DefaultSavePath={data}
[Preferences]
WebUI\\Address={control}
WebUI\\LocalHostAuth=false
WebUI\\CSRFProtection=false
WebUI\\HostHeaderValidation=false
WebUI\\AuthSubnetWhitelistEnabled=true
WebUI\\AuthSubnetWhitelist=10.77.0.0/16
",
        enabled = !hook.is_empty(),
        ip = job.listen.ip(),
        port = job.listen.port(),
        data = job.data.display(),
        control = job.control.ip(),
    )
}

/// The form that adds the torrent.
fn form(job: &Job, seed: bool) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut field = |head: &str, value: &[u8]| {
        body.extend(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        body.extend(value);
        body.extend(b"\r\n");
    };
    field("name=\"savepath\"", job.data.display().to_string().as_bytes());
    field("name=\"skip_checking\"", seed.to_string().as_bytes());
    if job.magnet {
        field("name=\"urls\"", job.torrent.magnet.as_bytes());
    } else {
        let torrent = context(std::fs::read(&job.torrent.file), "the torrent")?;
        let head = "name=\"torrents\"; filename=\"a.torrent\"\r\nContent-Type: application/x-bittorrent";
        field(head, &torrent);
    }
    body.extend(format!("--{BOUNDARY}--\r\n").as_bytes());
    Ok(body)
}

fn add(control: SocketAddr, body: &[u8]) -> Result<()> {
    let header = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n");
    let answer = http::post(control, "/api/v2/torrents/add", &header, body)?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.status == 200 && text.contains("Ok") { Ok(()) } else { Err(format!("qBittorrent: {text}")) }
}
