//! The real programs: whether they are here, and where they come from.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program that is run beside starling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// libtorrent-rasterbar, through its Python binding.
    Libtorrent,
    /// aria2c.
    Aria2,
    /// transmission-daemon.
    Transmission,
    /// rtorrent.
    Rtorrent,
    /// qbittorrent-nox.
    Qbittorrent,
    /// rqbit, which `cargo install` brings; only measured where somebody built it.
    Rqbit,
    /// opentracker.
    Opentracker,
    /// mktorrent.
    Mktorrent,
    /// nginx, as the web server of web seeds.
    Nginx,
    /// `ip` and `unshare`: a network namespace of a test's own, as root.
    Namespaces,
}

impl Program {
    /// Those that the test command needs.
    pub const TESTED: [Program; 6] = [
        Program::Namespaces,
        Program::Libtorrent,
        Program::Aria2,
        Program::Transmission,
        Program::Opentracker,
        Program::Nginx,
    ];

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Program::Libtorrent => "libtorrent",
            Program::Aria2 => "aria2",
            Program::Transmission => "transmission",
            Program::Rtorrent => "rtorrent",
            Program::Qbittorrent => "qbittorrent",
            Program::Rqbit => "rqbit",
            Program::Opentracker => "opentracker",
            Program::Mktorrent => "mktorrent",
            Program::Nginx => "nginx",
            Program::Namespaces => "network namespaces",
        }
    }

    /// The Debian packages it is in; none for what is built by hand.
    pub fn packages(self) -> &'static [&'static str] {
        match self {
            Program::Libtorrent => &["python3-libtorrent"],
            Program::Aria2 => &["aria2"],
            Program::Transmission => &["transmission-daemon"],
            Program::Rtorrent => &["rtorrent"],
            Program::Qbittorrent => &["qbittorrent-nox"],
            Program::Rqbit => &[],
            Program::Opentracker => &["opentracker"],
            Program::Mktorrent => &["mktorrent"],
            Program::Nginx => &["nginx-light"],
            Program::Namespaces => &["iproute2", "util-linux"],
        }
    }

    /// Whether it can be run here.
    pub fn present(self) -> bool {
        match self {
            Program::Libtorrent => runs(Command::new(PYTHON).args(["-c", "import libtorrent"])),
            Program::Namespaces => {
                find("ip").is_some() && runs(Command::new("unshare").args(["--net", "true"]))
            }
            _ => find(self.command()).is_some(),
        }
    }

    /// What is typed to run it.
    pub fn command(self) -> &'static str {
        match self {
            Program::Libtorrent => PYTHON,
            Program::Aria2 => "aria2c",
            Program::Transmission => "transmission-daemon",
            Program::Qbittorrent => "qbittorrent-nox",
            Program::Namespaces => "unshare",
            _ => self.name(),
        }
    }
}

/// Debian's own Python, which is the one that sees Debian's libtorrent.
pub const PYTHON: &str = "/usr/bin/python3";

/// Where a command is, on the path or where Debian keeps its servers.
pub fn find(command: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(command)).find(|file| is_file(file))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file())
}

fn runs(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
