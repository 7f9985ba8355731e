//! Honest nodes on loopback addresses, each with folders of its own.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use starling_node::{Add, Check, Config, Node, Progress, RateLimits, Torrent};
use tempfile::TempDir;

use super::content::Sample;

/// A loopback address of its own for each part in a scene.
pub fn ip(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

/// Where a node keeps its things.
pub struct Home(TempDir);

impl Home {
    pub fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    pub fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }
}

/// A node that listens at `ip` and keeps its state in `home`; nothing is found by itself.
pub fn config(last: u8, home: &Home) -> Config {
    let listen = SocketAddr::new(ip(last), 0);
    Config { listen, lan: false, state: Some(home.state()), ..Config::default() }
}

/// A node with one torrent.
pub struct Site {
    pub node: Node,
    pub torrent: Torrent,
    pub home: Home,
}

impl Site {
    /// Starts a node and adds what `add` says of the sample to it.
    pub async fn start(config: Config, home: Home, add: Add) -> Site {
        std::fs::create_dir_all(home.data()).unwrap();
        let node = Node::start(config).unwrap();
        let torrent = node.add(add).await.unwrap();
        Site { node, torrent, home }
    }

    /// A node that has all of the sample.
    pub async fn seeder(last: u8, sample: &Sample) -> Site {
        Site::slow_seeder(last, sample, None).await
    }

    /// The same, sending at most `up` bytes a second.
    pub async fn slow_seeder(last: u8, sample: &Sample, up: Option<u64>) -> Site {
        let home = Home::new();
        sample.write_to(&home.data());
        let config = Config { rates: RateLimits { down: None, up }, ..config(last, &home) };
        let add = Add { check: Check::Complete, ..Add::torrent(sample.torrent.clone(), home.data()) };
        let mut site = Site::start(config, home, add).await;
        site.torrent.finished().await.unwrap();
        site
    }

    /// A node that wants the sample and knows these peers.
    pub async fn leecher(last: u8, sample: &Sample, peers: &[SocketAddr]) -> Site {
        Site::leecher_with(last, sample, peers, |_, _| {}).await
    }

    /// The same, with something changed.
    pub async fn leecher_with(
        last: u8,
        sample: &Sample,
        peers: &[SocketAddr],
        change: impl FnOnce(&mut Config, &mut Add),
    ) -> Site {
        let home = Home::new();
        let mut config = config(last, &home);
        let mut add = Add::torrent(sample.torrent.clone(), home.data());
        add.peers = peers.iter().map(ToString::to_string).collect();
        change(&mut config, &mut add);
        Site::start(config, home, add).await
    }

    pub fn addr(&self) -> SocketAddr {
        self.node.addr()
    }

    /// Waits for all of the sample and looks at every byte.
    pub async fn gets(&mut self, sample: &Sample) {
        self.torrent.finished().await.unwrap();
        sample.assert_in(&self.home.data());
    }

    /// Waits until the torrent's progress is as wanted.
    pub async fn until(&self, wanted: impl Fn(&Progress) -> bool) -> Progress {
        let mut news = self.node.news();
        loop {
            news.mark_unchanged();
            let progress = self.torrent.progress().await.unwrap();
            if wanted(&progress) {
                return progress;
            }
            news.changed().await.unwrap();
        }
    }

    pub async fn banned(&self) -> Vec<IpAddr> {
        self.torrent.progress().await.unwrap().banned
    }

    /// What a tracker or web seed last said, once it said something that fits.
    pub async fn until_said(&self, url: &str, fits: impl Fn(&Result<String, String>) -> bool) {
        self.until(|p| p.trackers.iter().any(|(from, said)| from == url && fits(said))).await;
    }
}

/// Stops several nodes.
pub async fn stop(sites: impl IntoIterator<Item = Site>) {
    for site in sites {
        site.node.shutdown().await.unwrap();
    }
}
