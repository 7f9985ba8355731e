//! transmission-daemon, spoken to over its RPC. It refuses peers in 127/8.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Client, Done, Job, Leecher, Signal, write};
use crate::process::{Launch, Process};
use crate::{Program, Result, http};

/// transmission-daemon.
pub struct Transmission;

impl Client for Transmission {
    fn program(&self) -> Option<Program> {
        Some(Program::Transmission)
    }

    fn makes_empty_files(&self) -> bool {
        false
    }

    fn seed(&self, job: &Job) -> Result<Process> {
        let process = daemon(job, "")?;
        add(job.control, &add_request(job))?;
        Ok(process)
    }

    fn leech(&self, job: &Job) -> Result<Leecher> {
        let signal = Signal::new(&job.home)?;
        let process = daemon(job, &signal.script())?;
        let (control, request) = (job.control, add_request(job));
        Ok(Leecher::new(Some(process), Done::Hook(signal), move |process| {
            add(control, &request)?;
            process.ok_or("not prepared".into())
        }))
    }
}

fn daemon(job: &Job, hook: &str) -> Result<Process> {
    let config = job.home.join("transmission");
    crate::context(std::fs::create_dir_all(&config), "transmission's folder")?;
    write(&config.join("settings.json"), &settings(job, hook))?;
    let launch = Launch::new(Program::Transmission.command()).home(&job.home).group(job.group);
    let mut process = launch.arg("--foreground").arg("--config-dir").arg(&config).spawn()?;
    http::await_answer(&mut process, job.control, "/transmission/rpc", Duration::from_secs(20))?;
    Ok(process)
}

fn settings(job: &Job, hook: &str) -> String {
    let strings = [
        ("bind-address-ipv4", job.listen.ip().to_string()),
        ("rpc-bind-address", job.control.ip().to_string()),
        ("rpc-whitelist", "*.*.*.*".into()),
        ("download-dir", job.data.display().to_string()),
        ("script-torrent-done-filename", hook.to_owned()),
    ];
    let numbers = [
        ("peer-port", job.listen.port().to_string()),
        ("rpc-port", job.control.port().to_string()),
        ("encryption", "0".into()),
        ("preallocation", "0".into()),
        ("script-torrent-done-enabled", (!hook.is_empty()).to_string()),
    ];
    let off = ["dht-enabled", "lpd-enabled", "pex-enabled", "utp-enabled", "port-forwarding-enabled"];
    let strings = strings.map(|(key, value)| format!("\"{key}\": \"{value}\""));
    let numbers = numbers.map(|(key, value)| format!("\"{key}\": {value}"));
    let off = off.map(|key| format!("\"{key}\": false"));
    format!("{{{}}}", [&strings[..], &numbers, &off].concat().join(",\n"))
}

fn add_request(job: &Job) -> String {
    let (source, data) = (job.source(), job.data.display());
    format!(r#"{{"method":"torrent-add","arguments":{{"filename":"{source}","download-dir":"{data}"}}}}"#)
}

/// A first request earns the session id that the second must show.
fn add(control: SocketAddr, request: &str) -> Result<()> {
    let refusal = http::post(control, "/transmission/rpc", "", request.as_bytes())?;
    let id = refusal.header("X-Transmission-Session-Id").ok_or("Transmission gave no session id")?;
    let header = format!("X-Transmission-Session-Id: {id}\r\n");
    let answer = http::post(control, "/transmission/rpc", &header, request.as_bytes())?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    if body.contains("\"result\":\"success\"") { Ok(()) } else { Err(format!("Transmission: {body}")) }
}
