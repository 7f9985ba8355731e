//! What a torrent's names and this machine's disk can do to a transfer.

use std::fs;
use std::os::unix::fs::symlink;

use bytes::Bytes;
use sha1::{Digest, Sha1};
use starling_metainfo::{Torrent, Versions};
use starling_node::{Add, Check, State};

use crate::common::content::Sample;
use crate::common::scene;
use crate::common::sites::{Home, Site, config, stop};

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
