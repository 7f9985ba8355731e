//! From what a user says to what the session is told.

use std::net::SocketAddr;
use std::sync::Arc;

use starling_metainfo::{InfoHashes, Magnet, Torrent};
use starling_session::AddSpec;

use crate::Add;
use crate::engine::Engine;
use crate::local::Local;
use crate::source::Loaded;

/// Files a link's `so` may select one by one.
const SELECT_MAX: usize = 1 << 20;

impl Engine {
    /// What the session and the runtime need to know of a new torrent. A link whose
    /// torrent an earlier run has learned needs no peers for that again.
    pub(crate) fn prepare(&self, add: &Add, loaded: Loaded) -> (Local, AddSpec) {
        let (hashes, magnet, torrent) = match loaded {
            Loaded::Torrent(torrent) => (torrent.info.hashes, None, Some(torrent)),
            Loaded::Magnet(magnet) => {
                let kept = self.kept_torrent(&magnet);
                let hashes = kept.as_ref().map_or(magnet.hashes, |torrent| torrent.info.hashes);
                (hashes, Some(*magnet), kept)
            }
        };
        let select = match &magnet {
            Some(magnet) if add.select.is_empty() => selected(magnet),
            _ => add.select.clone(),
        };
        let name = torrent.as_ref().map(|t| t.info.name.clone());
        let name = name.or_else(|| magnet.as_ref().and_then(|m| m.name.clone()));
        let spec = AddSpec { torrent, ..spec(hashes, add, magnet.as_ref(), &select) };
        let mut local = Local::new(add, hashes, name, select);
        local.by_link = magnet.is_some();
        (local, spec)
    }

    fn kept_torrent(&self, magnet: &Magnet) -> Option<Arc<Torrent>> {
        let names = [magnet.hashes.v1().map(|h| h.to_string()), magnet.hashes.v2().map(|h| h.to_string())];
        names.into_iter().flatten().find_map(|name| {
            let bytes = std::fs::read(self.state_file(&name, "torrent")?).ok()?;
            let torrent = Torrent::parse(&bytes).ok()?;
            torrent.info.hashes.matches(&magnet.hashes).then(|| Arc::new(torrent))
        })
    }
}

fn spec(hashes: InfoHashes, add: &Add, magnet: Option<&Magnet>, select: &[u32]) -> AddSpec {
    let mut spec = AddSpec::new(hashes);
    let links = magnet.map(|m| m.trackers.as_slice()).unwrap_or_default();
    spec.trackers = links.iter().chain(&add.trackers).map(|url| vec![url.clone()]).collect();
    let links = magnet.map(|m| m.web_seeds.as_slice()).unwrap_or_default();
    spec.web_seeds = links.iter().chain(&add.web_seeds).cloned().collect();
    let links = magnet.map(|m| m.peers.as_slice()).unwrap_or_default();
    let typed = add.peers.iter().filter_map(|peer| split_host(peer));
    for (host, port) in links.iter().map(|peer| (peer.host.clone(), peer.port)).chain(typed) {
        match host.parse() {
            Ok(ip) => spec.peers.push(SocketAddr::new(ip, port)),
            Err(_) => spec.peer_hosts.push((host, port)),
        }
    }
    spec.select = select.to_vec();
    spec.sequential = add.sequential;
    spec.super_seeding = add.super_seeding;
    spec.fetch = add.fetch;
    spec.rates = add.rates;
    spec
}

/// BEP 53: the files a link selects, one by one.
fn selected(magnet: &Magnet) -> Vec<u32> {
    magnet.select_only.iter().cloned().flatten().take(SELECT_MAX).collect()
}

/// `host:port`, `1.2.3.4:port`, `[v6]:port`.
fn split_host(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_hosts_from_ports() {
        assert_eq!(split_host("a.b:80"), Some(("a.b".to_owned(), 80)));
        assert_eq!(split_host("[::1]:80"), Some(("::1".to_owned(), 80)));
        for bad in ["a", "a:", ":1", "a:0", "a:99999"] {
            assert_eq!(split_host(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_link_and_the_flags_add_up() {
        let link = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&tr=http://a/announce\
            &x.pe=10.0.0.1:5&x.pe=host:6&so=0,2-3&ws=http://w/";
        let magnet: Magnet = link.parse().unwrap();
        let add = Add {
            trackers: vec!["udp://b:1".into()],
            peers: vec!["[::1]:7".into()],
            ..Add::source(link, ".")
        };
        let spec = spec(magnet.hashes, &add, Some(&magnet), &selected(&magnet));
        assert_eq!(spec.trackers, [["http://a/announce"], ["udp://b:1"]]);
        assert_eq!(spec.peers, ["10.0.0.1:5".parse().unwrap(), "[::1]:7".parse().unwrap()]);
        assert_eq!(spec.peer_hosts, [("host".to_owned(), 6)]);
        assert_eq!(spec.select, [0, 2, 3]);
    }
}
