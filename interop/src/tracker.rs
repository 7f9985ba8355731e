//! opentracker, and what it knows of a torrent.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::process::{Launch, Process};
use crate::torrent::Torrent;
use crate::{Program, Result, context, http};

/// A running tracker.
pub struct Tracker {
    addr: SocketAddr,
    _process: Process,
}

impl Tracker {
    /// Starts one for these torrents, over HTTP and UDP. Debian's build serves only
    /// what is on its list.
    pub fn start(addr: SocketAddr, home: &Path, torrents: &[&Torrent]) -> Result<Tracker> {
        let list = home.join("torrents.list");
        let lines = torrents.iter().flat_map(|torrent| torrent.wire_hashes());
        let lines: String = lines.map(|hash| hex(&hash) + "\n").collect();
        context(std::fs::write(&list, lines), &list.display().to_string())?;
        let (ip, port) = (addr.ip().to_string(), addr.port().to_string());
        // It will not run as root, and a change of user forgets the signal that ends it
        // with us, so the user is changed first.
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=KILL"];
        let launch = Launch::new("setpriv").home(home).args(nobody).arg(Program::Opentracker.command());
        let mut process =
            launch.args(["-i", &ip, "-p", &port, "-P", &port, "-w", "torrents.list"]).spawn()?;
        http::await_answer(&mut process, addr, "/stats", Duration::from_secs(10))?;
        Ok(Tracker { addr, _process: process })
    }

    /// The announce URL of a tracker there.
    pub fn url(addr: SocketAddr) -> String {
        format!("http://{addr}/announce")
    }

    /// The announce URL of a tracker there over UDP (BEP 15).
    pub fn udp_url(addr: SocketAddr) -> String {
        format!("udp://{addr}/announce")
    }

    /// Waits until that many peers have told that they have everything.
    pub fn await_seeders(&self, info_hash: [u8; 20], count: u64, patience: Duration) -> Result<()> {
        let escaped: String = info_hash.iter().map(|byte| format!("%{byte:02X}")).collect();
        let target = format!("/scrape?info_hash={escaped}");
        let deadline = Instant::now() + patience;
        loop {
            let answer = http::get(self.addr, &target)?;
            let complete = number_after(&answer.body, b"8:completei").unwrap_or(0);
            if complete >= count {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{complete} of {count} seeders announced within {patience:?}"));
            }
            std::thread::sleep(Duration::from_millis(20)); // a scrape is no event to await
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number_after(bytes: &[u8], mark: &[u8]) -> Option<u64> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)? + mark.len();
    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit());
    std::str::from_utf8(&digits.copied().collect::<Vec<u8>>()).ok()?.parse().ok()
}
