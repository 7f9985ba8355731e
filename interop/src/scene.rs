//! The stage of a test: a network, a folder in memory, a tracker, and who plays.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::{self, Client, Job};
use crate::namespace::Namespace;
use crate::torrent::{Kind, Recipe, Torrent};
use crate::tracker::Tracker;
use crate::{Program, Result, content, context};

/// Long enough for the slowest program on a busy machine; reached only by a failure.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Where one test plays.
pub struct Scene {
    /// Its network.
    pub namespace: Namespace,
    folder: tempfile::TempDir,
}

/// Runs a test that needs these programs, starling always; reports it as skipped
/// where one is missing, which is a failure where `CI` is `true`.
///
/// # Panics
/// When the test fails: that is how a test says so.
pub fn play(programs: &[Program], test: impl FnOnce(&Scene) -> Result<()>) {
    if let Some(missing) = [&[Program::Namespaces], programs].concat().into_iter().find(|p| !p.present()) {
        return skip(missing.name());
    }
    let result = Scene::new().and_then(|scene| test(&scene));
    if let Err(problem) = result {
        panic!("{problem}");
    }
}

fn skip(missing: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {missing} is missing", thread.name().unwrap_or("a test"));
    eprintln!("SKIPPED {line}");
    if let Some(path) = std::env::var_os("STARLING_SKIPS") {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "{line}"));
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "in CI nothing is skipped: {line}");
}

impl Scene {
    /// A network and a folder; the calling thread stays in that network.
    pub fn new() -> Result<Scene> {
        Ok(Scene { namespace: Namespace::enter()?, folder: content::scratch()? })
    }

    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the tracker of this test is, once it runs.
    pub fn tracker(&self) -> SocketAddr {
        (self.namespace.ip(1), 6969).into()
    }

    /// A torrent of `content` with this test's tracker.
    pub fn torrent(&self, content: &Path, kind: Kind) -> Result<Torrent> {
        let recipe = Recipe::new(kind).tracker(Tracker::url(self.tracker()));
        Torrent::make(content, &self.path(&format!("{}.torrent", kind.name())), &recipe)
    }

    /// Peer `n` of a torrent, with a home of its own; its data goes into `data` + `n`.
    pub fn job<'a>(&self, n: u8, torrent: &'a Torrent) -> Result<Job<'a>> {
        let [home, data] = ["home", "data"].map(|name| self.path(&format!("{name}{n}")));
        for folder in [&home, &data] {
            context(std::fs::create_dir_all(folder), &folder.display().to_string())?;
        }
        let (listen, control) = (self.namespace.peer(n), self.namespace.control(n));
        Ok(Job { listen, control, torrent, magnet: false, data, home, peers: Vec::new(), group: None })
    }

    /// One transfer of `content`'s torrent, found through a tracker, compared at the end.
    pub fn transfer(&self, content: &Path, torrent: &Torrent, cast: &Cast) -> Result<()> {
        self.transfer_from(content.parent().unwrap_or(content), content, torrent, cast)
    }

    /// The same with the seeder's data in another folder than the one compared with.
    pub fn transfer_from(&self, data: &Path, content: &Path, torrent: &Torrent, cast: &Cast) -> Result<()> {
        let home = self.path("tracker");
        context(std::fs::create_dir_all(&home), "the tracker's folder")?;
        let tracker = Tracker::start(self.tracker(), &home, &[torrent])?;
        let seed = Job { data: data.to_path_buf(), ..self.job(2, torrent)? };
        let _seeder = client::seed(cast.seeder, &seed)?;
        tracker.await_seeders(torrent.wire_hash(), 1, PATIENCE)?;
        let job = Job { magnet: cast.magnet, ..self.job(3, torrent)? };
        let mut leecher = cast.leecher.leech(&job)?;
        leecher.go()?;
        leecher.await_done(PATIENCE)?;
        let got = job.data.join(&torrent.name);
        if !cast.leecher.makes_empty_files() {
            content::add_empty_files(content, &got)?;
        }
        content::same(content, &got)
    }
}

/// Who gives, who takes, and how the taker knows of the torrent.
pub struct Cast {
    /// Who has it all.
    pub seeder: &'static dyn Client,
    /// Who wants it.
    pub leecher: &'static dyn Client,
    /// The leecher gets only the link.
    pub magnet: bool,
}
