//! What a user may name a torrent by, and how it is read.

use std::path::Path;
use std::sync::Arc;

use starling_metainfo::{Limits, Magnet, Torrent};

use crate::{Error, web, without_userinfo};

/// What a source turned out to be.
#[derive(Clone, Debug)]
pub enum Loaded {
    /// All of a torrent.
    Torrent(Arc<Torrent>),
    /// A link, which names a torrent without containing it.
    Magnet(Box<Magnet>),
}

/// Reads a magnet link, an info-hash, a `.torrent` file, or fetches one over HTTP(S).
pub async fn load(source: &str) -> Result<Loaded, Error> {
    if let Some(magnet) = Magnet::from_source(source) {
        let magnet = magnet.map_err(|error| Error::Source(error.to_string()))?;
        return Ok(Loaded::Magnet(Box::new(magnet)));
    }
    if source.trim().is_empty() {
        let why = "an empty source; name a torrent file, a link, an info-hash or an address";
        return Err(Error::Source(why.to_owned()));
    }
    let bytes = match scheme(source).as_deref() {
        Some("http" | "https") => web::fetch_torrent(source).await?,
        Some(other) if !Path::new(source).exists() => {
            return Err(Error::Source(format!(
                "addresses that begin with {other}:// are not supported; those with http:// and https:// are"
            )));
        }
        _ => read_file(Path::new(source))?,
    };
    let torrent = Torrent::parse(&bytes);
    let torrent =
        torrent.map_err(|error| Error::Torrent(format!("{}: {error}", without_userinfo(source))))?;
    Ok(Loaded::Torrent(Arc::new(torrent)))
}

/// The same, for what only a whole torrent will do.
pub async fn load_torrent(source: &str) -> Result<Arc<Torrent>, Error> {
    match load(source).await? {
        Loaded::Torrent(torrent) => Ok(torrent),
        Loaded::Magnet(_) => {
            Err(Error::Source("a link does not say what the data must be; name the torrent file".to_owned()))
        }
    }
}

/// The scheme of what looks like an address, in small letters.
fn scheme(source: &str) -> Option<String> {
    let (scheme, _) = source.split_once("://")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(fits);
    is_scheme.then(|| scheme.to_ascii_lowercase())
}

fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    let disk = |error| Error::Disk { path: path.to_owned(), error };
    let meta = std::fs::metadata(path).map_err(disk)?;
    if meta.is_dir() {
        let why = format!("{} is a folder, not a torrent; `starling share` makes one of it", path.display());
        return Err(Error::Source(why));
    }
    if !meta.is_file() {
        return Err(Error::Source(format!("{} is not a regular file", path.display())));
    }
    if meta.len() > Limits::DEFAULT.torrent_bytes as u64 {
        return Err(Error::Torrent(format!("{} is too large for a torrent file", path.display())));
    }
    std::fs::read(path).map_err(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(source: &str) -> Result<Loaded, Error> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(load(source))
    }

    #[test]
    fn tells_links_hashes_and_files_apart() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        assert!(matches!(run(hash), Ok(Loaded::Magnet(_))));
        assert!(matches!(run(&format!("magnet:?xt=urn:btih:{hash}")), Ok(Loaded::Magnet(_))));
        assert!(matches!(run("magnet:?dn=x"), Err(Error::Source(_))));
        assert!(matches!(run("/no/such/file"), Err(Error::Disk { .. })));
        assert!(matches!(run("/"), Err(Error::Source(_))));
        assert!(matches!(run(""), Err(Error::Source(_))) && matches!(run(" "), Err(Error::Source(_))));
        assert!(matches!(run("/dev/null"), Err(Error::Source(_))), "a device may never end");
    }

    #[test]
    fn an_address_that_is_not_supported_is_no_missing_file() {
        for source in ["ftp://user:secret@10.0.0.1/a", "FTP://10.0.0.1/a", "udp://10.0.0.1:1/announce"] {
            let error = run(source).unwrap_err().to_string();
            assert!(error.contains("not supported") && error.contains("https://"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(matches!(run("no such folder/a://b"), Err(Error::Disk { .. })));
        assert!(matches!(run("HTTP://127.0.0.1:0/"), Err(Error::Network(_))));
    }

    #[test]
    fn a_password_is_not_shown() {
        let error = run("http://user:secret@127.0.0.1:99999/").unwrap_err().to_string();
        assert!(error.starts_with("http://127.0.0.1:99999/: ") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_torrent_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.torrent");
        std::fs::write(&path, b"d4:infoe").unwrap();
        let error = run(path.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("x.torrent"), "{error}");
    }
}
