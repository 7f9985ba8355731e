//! Torrents to test with, made and read by libtorrent, so that nothing of
//! starling's own judges what starling makes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::libtorrent::script;
use crate::process::{Launch, Process};
use crate::{PYTHON, Result, context};

/// Which hashes a torrent has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SHA-1 of pieces (BEP 3).
    V1,
    /// SHA-256 merkle trees (BEP 52).
    V2,
    /// Both.
    Hybrid,
}

impl Kind {
    /// As on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Kind::V1 => "v1",
            Kind::V2 => "v2",
            Kind::Hybrid => "hybrid",
        }
    }
}

/// What to make.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Which hashes.
    pub kind: Kind,
    /// Bytes in a piece; 0 leaves it to libtorrent.
    pub piece_length: u64,
    /// Files begin at pieces, with padding between them, as v2 and hybrid ones do anyway.
    pub padded: bool,
    /// BEP 27.
    pub private: bool,
    /// Announce addresses.
    pub trackers: Vec<String>,
    /// BEP 19 addresses.
    pub web_seeds: Vec<String>,
}

impl Recipe {
    /// Of this kind, and nothing more.
    pub fn new(kind: Kind) -> Recipe {
        let lists = Vec::new;
        Recipe { kind, piece_length: 0, padded: false, private: false, trackers: lists(), web_seeds: lists() }
    }

    /// With a tracker.
    pub fn tracker(mut self, url: String) -> Recipe {
        self.trackers.push(url);
        self
    }
}

/// A torrent file and what libtorrent reads in it.
#[derive(Clone, Debug)]
pub struct Torrent {
    /// The file.
    pub file: PathBuf,
    /// The name of the file or folder it describes.
    pub name: String,
    /// The v1 info-hash.
    pub v1: Option<[u8; 20]>,
    /// The v2 info-hash.
    pub v2: Option<[u8; 32]>,
    /// The magnet link.
    pub magnet: String,
}

impl Torrent {
    /// Makes a torrent of `content`.
    pub fn make(content: &Path, file: &Path, recipe: &Recipe) -> Result<Torrent> {
        Torrent::making(content, file, recipe)?.expect_success(Duration::from_secs(120))?;
        Torrent::read(file)
    }

    /// A process that makes a torrent of `content`; it says `hashing` when it begins to.
    pub fn making(content: &Path, file: &Path, recipe: &Recipe) -> Result<Process> {
        let launch = python("make", file)?.arg(content).arg(file).arg(recipe.kind.name());
        let launch = launch.arg(recipe.piece_length.to_string());
        let launch = launch.args(recipe.padded.then_some("padded"));
        let launch = launch.args(recipe.private.then_some("private"));
        let launch = launch.args(recipe.trackers.iter().map(|url| format!("tracker={url}")));
        launch.args(recipe.web_seeds.iter().map(|url| format!("webseed={url}"))).spawn()
    }

    /// Reads a torrent file, whoever made it.
    pub fn read(file: &Path) -> Result<Torrent> {
        let mut process = python("show", file)?.arg(file).spawn()?;
        let mut torrent = Torrent {
            file: file.to_path_buf(),
            name: String::new(),
            v1: None,
            v2: None,
            magnet: String::new(),
        };
        loop {
            let line = process.expect_line(Duration::from_secs(20), |_| true)?;
            match line.split_once(' ') {
                Some(("name", name)) => torrent.name = name.to_owned(),
                Some(("v1", hex)) => torrent.v1 = from_hex(hex),
                Some(("v2", hex)) => torrent.v2 = from_hex(hex),
                Some(("magnet", uri)) => {
                    torrent.magnet = uri.to_owned();
                    break;
                }
                _ => return Err(format!("libtorrent says of {}: {line}", file.display())),
            }
        }
        process.expect_success(Duration::from_secs(20))?;
        Ok(torrent)
    }

    /// The 20 bytes that a handshake or tracker names it by.
    pub fn wire_hash(&self) -> [u8; 20] {
        self.wire_hashes().next().unwrap_or_default()
    }

    /// Every such name: two of a hybrid torrent.
    pub fn wire_hashes(&self) -> impl Iterator<Item = [u8; 20]> {
        let truncated = self.v2.and_then(|hash| hash[..20].try_into().ok());
        self.v1.into_iter().chain(truncated)
    }
}

fn python(command: &str, beside: &Path) -> Result<Launch> {
    let home = beside.parent().ok_or("a torrent file needs a folder")?;
    let script = script(home);
    Ok(Launch::new(PYTHON).home(home).arg(context(script, "lt.py")?).arg(command))
}

fn from_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let digits =
        hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    digits.collect::<Option<Vec<u8>>>()?.try_into().ok()
}
