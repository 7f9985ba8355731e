//! What a torrent's names and this machine's disk can do to a transfer.

use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::rc::Rc;

use bytes::Bytes;
use sha1::{Digest, Sha1};
use starling_metainfo::{Torrent, Versions};
use starling_node::{Add, Check, State};
use starling_swarm::extension::{DontHave, OUR_IDS};
use starling_swarm::{Block, Message};

use crate::common::content::Sample;
use crate::common::scene;
use crate::common::sites::{Home, Site, config, stop};
use crate::common::stranger::Stranger;

/// A v1 torrent of one short file whose path is `path`, in a folder called `name`.
fn awkward(name: &str, path: &[&str], content: &[u8]) -> Torrent {
    let path: String = path.iter().map(|part| format!("{}:{part}", part.len())).collect();
    let mut info = format!("d5:filesld6:lengthi{}e4:pathl{path}eee", content.len()).into_bytes();
    info.extend(format!("4:name{}:{name}12:piece lengthi16384e6:pieces20:", name.len()).into_bytes());
    info.extend_from_slice(&Sha1::digest(content));
    info.push(b'e');
    let torrent = [b"d4:info", &info[..], b"e"].concat();
    Torrent::parse(&Bytes::from(torrent)).unwrap()
}

/// Every file below `root`, links not followed.
fn files_below(root: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found
}

/// Names that would lead out of the folder: what is fetched lies below it all the same.
#[test]
fn path_traversal() {
    scene(async {
        let content = b"where does this go?";
        let evil = [
            ("../../escaped", ["..", "..", "escaped"]),
            ("/tmp/escaped", ["", "tmp", "/escaped"]),
            ("..", [".", "..", "escaped\0"]),
            ("C:\\escaped", ["C:", "..\\..", "NUL"]),
        ];
        for (name, path) in evil {
            let torrent = awkward(name, &path, content);
            // The seed finds the content where the safe name says, as after a transfer.
            let layout = &torrent.info.layout;
            let home = Home::new();
            let place =
                layout.files()[0].path.iter().fold(home.data().join(&torrent.info.name), |p, c| p.join(c));
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(&place, content).unwrap();
            let add = Add { check: Check::Full, ..Add::torrent(torrent.clone(), home.data()) };
            let mut seed = Site::start(config(11, &home), home, add).await;
            seed.torrent.finished().await.unwrap();

            let home = Home::new();
            let mut add = Add::torrent(torrent, home.data());
            add.peers = vec![seed.addr().to_string()];
            let mut leecher = Site::start(config(20, &home), home, add).await;
            leecher.torrent.finished().await.unwrap();
            let root = leecher.home.path();
            stop([seed]).await;
            leecher.node.shutdown().await.unwrap();
            let (data, state) = (leecher.home.data(), leecher.home.state());
            let all = files_below(&root);
            let inside: Vec<_> = all.iter().filter(|file| file.starts_with(&data)).collect();
            assert_eq!(inside.len(), 1, "{name}: {all:?}");
            assert_eq!(fs::read(inside[0]).unwrap(), content);
            assert!(all.iter().all(|file| file.starts_with(&data) || file.starts_with(&state)), "{all:?}");
        }
        assert!(!std::path::Path::new("/tmp/escaped").exists());
    });
}

/// Links that lie in the target folder, as another user or torrent may have left them, lead
/// nowhere: the torrent fails with the reason, and what they point to stays as it was.
#[test]
fn symlinks_are_not_followed() {
    scene(async {
        let sample = Sample::folder(Versions::Hybrid, 32 << 10);
        let seed = Site::seeder(11, &sample).await;
        for link in ["folder", "folder/a", "folder/three.bin"] {
            let outside = tempfile::tempdir().unwrap();
            fs::write(outside.path().join("victim"), b"precious").unwrap();
            let home = Home::new();
            let at = home.data().join(link);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            let is_file = link.ends_with(".bin");
            symlink(if is_file { outside.path().join("victim") } else { outside.path().to_owned() }, &at)
                .unwrap();
            let mut add = Add::torrent(sample.torrent.clone(), home.data());
            add.peers = vec![seed.addr().to_string()];
            let leecher = Site::start(config(20, &home), home, add).await;
            leecher.until(|p| matches!(p.state, State::Failed(_) | State::Paused(_))).await;
            assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"precious");
            assert_eq!(files_below(outside.path()).len(), 1, "{link}: something was written outside");
            stop([leecher]).await;
        }
        stop([seed]).await;
    });
}

/// A node that stopped in order starts again where it was, without hashing or fetching.
#[test]
fn a_clean_stop_needs_no_check() {
    scene(async {
        let sample = Sample::folder(Versions::Hybrid, 32 << 10);
        let seed = Site::seeder(11, &sample).await;
        let mut leecher = Site::leecher(20, &sample, &[seed.addr()]).await;
        leecher.gets(&sample).await;
        let Site { node, home, .. } = leecher;
        node.shutdown().await.unwrap();
        seed.node.shutdown().await.unwrap();

        // A changed byte under the old size and time: only hashing would tell.
        let (index, path) = sample.paths(&home.data()).pop().unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let mut bytes = sample.file_bytes(index);
        bytes[0] ^= 1;
        fs::write(&path, bytes).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();

        let add = Add::torrent(sample.torrent.clone(), home.data());
        let settings = config(20, &home);
        let mut again = Site::start(settings, home, add).await;
        again.torrent.finished().await.unwrap();
        assert_eq!(again.torrent.progress().await.unwrap().downloaded, 0);
        stop([again]).await;
    });
}

/// Bytes that rotted on disk are found by a check, fetched again and good afterwards.
#[test]
fn rot_is_found_and_fetched_again() {
    scene(async {
        let sample = Sample::folder(Versions::Hybrid, 32 << 10);
        let seed = Site::seeder(11, &sample).await;
        let mut leecher = Site::leecher(20, &sample, &[seed.addr()]).await;
        leecher.gets(&sample).await;
        let Site { node, home, .. } = leecher;
        node.shutdown().await.unwrap();

        let (_, path) = sample.paths(&home.data()).into_iter().max_by_key(|(index, _)| *index).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        let mut add = Add { check: Check::Full, ..Add::torrent(sample.torrent.clone(), home.data()) };
        add.peers = vec![seed.addr().to_string()];
        let settings = config(20, &home);
        let mut again = Site::start(settings, home, add).await;
        again.gets(&sample).await;
        let progress = again.torrent.progress().await.unwrap();
        assert_eq!(progress.downloaded, 32 << 10, "one piece was bad");
        stop([seed, again]).await;
    });
}

/// A file of eight pieces, one of which is to rot under whoever serves it.
fn perishable() -> Rc<Sample> {
    Rc::new(Sample::file(Versions::Hybrid, 256 << 10, 32 << 10))
}

const ROTTEN: u32 = 3;

/// Another byte in the middle of the piece, behind the node's back.
fn rot(sample: &Sample, site: &Site) {
    let (_, path) = sample.paths(&site.home.data()).remove(0);
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let at = (u64::from(ROTTEN) * 32 + 5) << 10;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// A stranger asks for the rotten piece as long as it gets it, and is told that it is gone.
async fn ask_until_refused(sample: &Rc<Sample>, site: &Site) -> Stranger {
    let mut peer = Stranger::dial(66, site.addr(), sample).await.unwrap();
    peer.greet().await.unwrap();
    peer.send(&Message::HaveNone).await.unwrap();
    peer.extend(|_| {}).await.unwrap();
    peer.send(&Message::Interested).await.unwrap();
    let block = Block { piece: ROTTEN, begin: 0, length: 16 << 10 };
    let mut told = false;
    loop {
        match peer.next().await.unwrap() {
            Message::Unchoke | Message::Piece(_) => peer.send(&Message::Request(block)).await.unwrap(),
            Message::Reject(_) => break assert!(told, "lt_donthave comes first"),
            message => told |= message == DontHave { piece: ROTTEN }.message(OUR_IDS.lt_donthave.unwrap()),
        }
    }
    peer
}

/// A byte changes under a running seeder: the piece is found while it is served, peers and
/// the user are told, the rest is served on, and the file is left as it is.
#[test]
fn rot_under_a_seeder_is_served_no_more() {
    scene(async {
        let (sample, home) = (perishable(), Home::new());
        sample.write_to(&home.data());
        let add = Add::torrent(sample.torrent.clone(), home.data());
        let other = Site::seeder(12, &sample).await;
        let peers = vec![other.addr().to_string()];
        let add = Add { check: Check::Complete, fetch: false, peers, ..add };
        let mut seed = Site::start(config(11, &home), home, add).await;
        seed.torrent.finished().await.unwrap();
        rot(&sample, &seed);
        let mut peer = ask_until_refused(&sample, &seed).await;
        let progress = seed.until(|p| !p.lost.is_empty()).await;
        assert_eq!((progress.lost, progress.pieces, progress.state), (vec![ROTTEN], 7, State::Seeding));
        let block = Block { piece: ROTTEN + 1, begin: 0, length: 16 << 10 };
        peer.send(&Message::Request(block)).await.unwrap();
        while peer.next().await.unwrap() != Message::Piece(block) {}
        assert_eq!(seed.torrent.progress().await.unwrap().downloaded, 0, "nothing is written over");
        stop([seed, other]).await;
    });
}

/// The same under a node that fetched it: it fetches the piece again.
#[test]
fn rot_under_a_getter_is_fetched_again_while_it_serves() {
    scene(async {
        let sample = perishable();
        let seed = Site::seeder(11, &sample).await;
        let mut leecher = Site::leecher(20, &sample, &[seed.addr()]).await;
        leecher.gets(&sample).await;
        rot(&sample, &leecher);
        ask_until_refused(&sample, &leecher).await;
        leecher.until(|p| p.lost == [ROTTEN] && p.state == State::Seeding).await;
        leecher.gets(&sample).await;
        stop([seed, leecher]).await;
    });
}
