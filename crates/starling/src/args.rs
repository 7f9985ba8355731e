//! The command line: what can be said, with its help.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use starling_metainfo::PieceLength;
use starling_node::AddressError;

use crate::units;

/// Get data from everyone who has it.
///
/// Share a file or folder and fetch it on other machines, without a server, in a form
/// that every BitTorrent client understands.
#[derive(Parser, Debug)]
#[command(name = "starling", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed with a reason, 2 wrong usage, \
    130 interrupted with state kept (running it again resumes).")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make a torrent of a file or folder, print its link on stdout, seed until interrupted
    Share(Share),
    /// Fetch a torrent; exits when all of it is verified on disk
    Get(Get),
    /// Verify what is in a folder, then seed it until interrupted
    Seed(Seed),
    /// Make a torrent file of a file or folder
    Create(Create),
    /// Show what is in a torrent or a link
    Show(Show),
    /// Check the data of a torrent: exits 0 when complete, 1 when not
    Verify(Verify),
    /// Run overlays and swarms in a simulator, and compare them
    Sim(crate::commands::sim::Sim),
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder
    Man {
        /// The folder, created if need be
        dir: PathBuf,
    },
}

/// How a command talks.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Output")]
pub struct Talk {
    /// One JSON object a line on stdout
    #[arg(long)]
    pub json: bool,
    /// Say nothing but results and errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Say more: all files, what trackers answer, what happens; twice for details
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// How a node meets others.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Network")]
pub struct Network {
    /// Where to listen; with a real IP, outgoing connections come from it too
    /// [default: all interfaces, the first free port from 6881 on]
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// A peer to ask, beside those found (repeatable)
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_peer)]
    pub peer: Vec<String>,
    /// Do not use the DHT (this version has none; accepted so that scripts keep working)
    #[arg(long)]
    pub no_dht: bool,
    /// Do not look for peers on the local network
    #[arg(long)]
    pub no_lan: bool,
    /// Do not open a port on the router (this version never does)
    #[arg(long)]
    pub no_upnp: bool,
    /// Download at most this many bytes a second, as 500k or 2.5M
    #[arg(long, value_name = "RATE", value_parser = parse_bytes)]
    pub down_limit: Option<u64>,
    /// Upload at most this many bytes a second
    #[arg(long, value_name = "RATE", value_parser = parse_bytes)]
    pub up_limit: Option<u64>,
    /// Blocks in memory at once, over all torrents
    #[arg(long, value_name = "BYTES", default_value = "16M", value_parser = parse_bytes)]
    pub memory: u64,
    /// Where state is kept between runs [default: ~/.local/state/starling]
    #[arg(long, value_name = "DIR", env = "STARLING_STATE", hide_env_values = true)]
    pub state: Option<PathBuf>,
}

/// Which kind of torrent to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Version {
    /// BEP 3 alone: every client
    #[default]
    V1,
    /// BEP 52 alone: every 16 KiB verified, few clients
    V2,
    /// Both in one, for clients of both kinds; some that know v1 alone cannot read it
    Hybrid,
}

/// What a torrent is made of.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Torrent")]
pub struct Make {
    /// Which kind: v1 (every client opens it), v2 (every 16 KiB verified, few clients)
    /// or hybrid (both in one; Transmission 3 and aria2, among others, do not open it)
    #[arg(
        long = "version",
        value_enum,
        default_value_t,
        value_name = "KIND",
        group = "kind",
        hide_possible_values = true
    )]
    pub version: Version,
    /// The same as --version v1, the default
    #[arg(long, group = "kind")]
    pub v1: bool,
    /// The same as --version v2
    #[arg(long, group = "kind")]
    pub v2: bool,
    /// The same as --version hybrid
    #[arg(long, group = "kind")]
    pub hybrid: bool,
    /// Bytes in a piece, a power of two as 256k or 4M [default: by size]
    #[arg(long, value_name = "BYTES", value_parser = parse_piece_length)]
    pub piece_length: Option<PieceLength>,
    /// Peers come from the trackers only (BEP 27)
    #[arg(long)]
    pub private: bool,
    /// A tracker's address; each makes a tier of its own (repeatable)
    #[arg(long, value_name = "URL", value_parser = parse_tracker)]
    pub tracker: Vec<String>,
    /// A web server that has the data too (repeatable)
    #[arg(long, value_name = "URL", value_parser = parse_web)]
    pub web_seed: Vec<String>,
    /// Free text to put into the torrent
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
}

impl Make {
    /// The kind of torrent asked for.
    pub fn kind(&self) -> Version {
        match (self.v1, self.v2) {
            (true, _) => Version::V1,
            (_, true) => Version::V2,
            _ if self.hybrid => Version::Hybrid,
            _ => self.version,
        }
    }
}

/// `starling share`
#[derive(Args, Debug)]
pub struct Share {
    /// The file or folder
    pub path: PathBuf,
    /// Write the torrent file here as well, outside of what is shared
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace that file if it is there and is another one
    #[arg(short, long, requires = "output")]
    pub force: bool,
    /// Draw the link as a QR code on stderr
    #[arg(long)]
    pub qr: bool,
    /// Give out each piece once before any twice (BEP 16)
    #[arg(long)]
    pub super_seed: bool,
    #[command(flatten)]
    pub make: Make,
    #[command(flatten)]
    pub network: Network,
    #[command(flatten)]
    pub talk: Talk,
}

/// `starling get`
#[derive(Args, Debug)]
pub struct Get {
    /// A .torrent file, a magnet link, an info-hash, or the http(s) address of a torrent
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// The folder to put it in, created if need be
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// Only these files, by number as `starling show` counts them: 0,2,5-9
    #[arg(long, value_name = "LIST", value_parser = parse_list)]
    pub select: Option<FileList>,
    /// In order rather than rarest first
    #[arg(long)]
    pub sequential: bool,
    /// Go on seeding until interrupted
    #[arg(long)]
    pub seed: bool,
    /// Reserve all space on disk first
    #[arg(long)]
    pub preallocate: bool,
    /// Write over files that are there and have nothing of the torrent
    #[arg(long)]
    pub overwrite: bool,
    /// Check all that is on disk already, whatever an earlier run noted
    #[arg(long)]
    pub recheck: bool,
    /// A tracker to ask beside the torrent's own (repeatable)
    #[arg(long, value_name = "URL", value_parser = parse_tracker)]
    pub tracker: Vec<String>,
    /// A web server that has the data too (repeatable)
    #[arg(long, value_name = "URL", value_parser = parse_web)]
    pub web_seed: Vec<String>,
    #[command(flatten)]
    pub network: Network,
    #[command(flatten)]
    pub talk: Talk,
}

/// `starling seed`
#[derive(Args, Debug)]
pub struct Seed {
    /// Torrent files, or links of torrents that were fetched here
    #[arg(required = true, value_name = "TORRENT")]
    pub sources: Vec<String>,
    /// The folder the data is in
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// Trust what an earlier run noted instead of checking all data
    #[arg(long)]
    pub trust: bool,
    /// Give out each piece once before any twice (BEP 16)
    #[arg(long)]
    pub super_seed: bool,
    /// A tracker to tell beside the torrent's own (repeatable)
    #[arg(long, value_name = "URL", value_parser = parse_tracker)]
    pub tracker: Vec<String>,
    #[command(flatten)]
    pub network: Network,
    #[command(flatten)]
    pub talk: Talk,
}

/// `starling create`
#[derive(Args, Debug)]
pub struct Create {
    /// The file or folder
    pub path: PathBuf,
    /// Where to write the torrent file, outside of what it is made of; - for stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Replace the file if it is there
    #[arg(short, long)]
    pub force: bool,
    /// The torrent's name [default: the path's last component]
    #[arg(long)]
    pub name: Option<String>,
    #[command(flatten)]
    pub make: Make,
    #[command(flatten)]
    pub talk: Talk,
}

/// `starling show`
#[derive(Args, Debug)]
pub struct Show {
    /// A .torrent file, a magnet link, an info-hash, or the http(s) address of a torrent
    pub source: String,
    /// Ask peers for what a link does not say, for at most so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60")]
    pub fetch: Option<u64>,
    /// Ask the trackers how many share it, without taking part (BEP 48)
    #[arg(long)]
    pub scrape: bool,
    /// A tracker to ask beside the torrent's own (repeatable)
    #[arg(long, value_name = "URL", value_parser = parse_tracker)]
    pub tracker: Vec<String>,
    #[command(flatten)]
    pub network: Network,
    #[command(flatten)]
    pub talk: Talk,
}

/// `starling verify`
#[derive(Args, Debug)]
pub struct Verify {
    /// The torrent file, or the http(s) address of one
    pub torrent: String,
    /// The folder the data is in
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    #[command(flatten)]
    pub talk: Talk,
}

/// Reads `500k`, `2.5M`, `1GiB`: powers of 1024, as pieces are.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is no number of bytes"))?;
    let unit = unit.trim().to_ascii_lowercase();
    let power = match unit.trim_end_matches("/s").trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(format!("`{text}`: the unit is one of k, M, G, T")),
    };
    let bytes = number * 1024f64.powi(power);
    if bytes < 1.0 || bytes > (1u64 << 53) as f64 {
        return Err(format!("`{text}` is out of range"));
    }
    Ok(bytes as u64)
}

/// A power of two from 16 KiB on, which v1 and v2 both allow.
fn parse_piece_length(text: &str) -> Result<PieceLength, String> {
    let length = PieceLength::new(parse_bytes(text)?).filter(|length| length.fits_v2());
    let most = units::bytes(u64::from(PieceLength::MAX));
    length.ok_or_else(|| format!("want a power of two from 16k to {most}"))
}

/// Checks that it looks like `host:port`, `1.2.3.4:port` or `[v6]:port`.
fn parse_peer(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let port = port.and_then(|(_, port)| port.parse::<u16>().ok()).filter(|port| *port != 0);
    port.map(|_| text.to_owned()).ok_or_else(|| "want HOST:PORT".to_owned())
}

fn parse_tracker(text: &str) -> Result<String, String> {
    address(text, &["http://", "https://", "udp://"], starling_node::check_tracker)
}

fn parse_web(text: &str) -> Result<String, String> {
    address(text, &["http://", "https://"], starling_node::check_web_seed)
}

fn address(
    text: &str,
    schemes: &[&str],
    check: fn(&str) -> Result<(), AddressError>,
) -> Result<String, String> {
    if !schemes.iter().any(|scheme| text.starts_with(scheme)) {
        return Err(format!("an address begins with {}", schemes.join(" or ")));
    }
    check(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// Files by number, ascending.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileList(pub Vec<u32>);

/// A list is longer than any torrent's.
const FILES_MAX: u32 = 10_000_000;

/// Reads `0,2,5-9` into file numbers.
fn parse_list(text: &str) -> Result<FileList, String> {
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |s: &str| s.trim().parse::<u32>().map_err(|_| format!("`{part}` is no file number"));
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last > FILES_MAX {
            return Err(format!("`{part}` is no range of file numbers"));
        }
        numbers.extend(first..=last);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(FileList(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reads_sizes_as_people_write_them() {
        assert_eq!(parse_bytes("500k"), Ok(500 << 10));
        assert_eq!(parse_bytes("2.5M"), Ok(5 << 19));
        assert_eq!(parse_bytes("1GiB"), Ok(1 << 30));
        assert_eq!(parse_bytes("16384"), Ok(16384));
        for bad in ["", "x", "1q", "0", "-1", "1e99"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_lists_of_files() {
        assert_eq!(parse_list("0,2,5-7,6"), Ok(FileList(vec![0, 2, 5, 6, 7])));
        for bad in ["", "a", "3-1", "1-", "0-99999999999"] {
            assert!(parse_list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn refuses_what_no_peer_or_address_looks_like() {
        for good in ["a.b:80", "1.2.3.4:1", "[::1]:65535"] {
            assert!(parse_peer(good).is_ok(), "{good}");
        }
        for bad in ["a", "a:", ":1", "a:0", "a:99999"] {
            assert!(parse_peer(bad).is_err(), "{bad}");
        }
        assert!(parse_tracker("udp://a:1").is_ok() && parse_tracker("a:1").is_err());
        assert!(parse_web("https://a/").is_ok() && parse_web("udp://a:1").is_err());
        for bad in ["udp://a/announce", "http://a:99999/announce", "http://a:0/", "http://", "http:///x"] {
            let why = parse_tracker(bad).unwrap_err();
            assert!(why.starts_with("the address has no "), "{bad}: {why}");
            assert!(parse_web(bad).is_err(), "{bad}");
        }
        assert!(parse_piece_length("32k").is_ok() && parse_piece_length("17k").is_err());
    }
}
