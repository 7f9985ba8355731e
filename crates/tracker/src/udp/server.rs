use std::net::SocketAddr;

use starling_sansio::Time;

use super::{ConnectionIds, Request, Response};
use crate::Family;
use crate::store::PeerStore;

/// Answers one datagram that came to a tracker; `None` where silence is right.
///
/// Whoever has not proved their address by a connection id gets no more bytes than
/// they sent, so that the tracker is of no use for flooding others.
pub fn serve(
    now: Time,
    from: SocketAddr,
    datagram: &[u8],
    ids: &ConnectionIds,
    store: &mut PeerStore,
) -> Option<Vec<u8>> {
    let ip = from.ip().to_canonical();
    let response = match Request::decode(datagram).ok()? {
        Request::Connect { transaction } => Response::Connect { transaction, connection: ids.issue(now, ip) },
        Request::Announce { connection, transaction, .. }
        | Request::Scrape { connection, transaction, .. }
            if !ids.check(now, ip, connection) =>
        {
            Response::Error { transaction, message: "unknown connection id".to_owned() }
        }
        Request::Announce { transaction, request, .. } => {
            Response::Announce { transaction, answer: store.announce(now, ip, &request) }
        }
        Request::Scrape { transaction, info_hashes, .. } => {
            let known = store.scrape(now, &info_hashes);
            let entry = |hash| known.files.get(hash).copied().unwrap_or_default();
            Response::Scrape { transaction, entries: info_hashes.iter().map(entry).collect() }
        }
    };
    let bytes = response.encode(Family::of(ip));
    let proved = !matches!(response, Response::Connect { .. } | Response::Error { .. });
    (proved || bytes.len() <= datagram.len()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use starling_metainfo::Sha1Hash;
    use starling_sansio::{Machine, Rng};

    use super::*;
    use crate::udp::{Answer, Input, Output, Timing, UdpClient};
    use crate::{AnnounceRequest, TrackerError};

    type Results = Vec<Result<Answer, TrackerError>>;

    /// A tracker, and clients that reach it without loss.
    struct Scene {
        ids: ConnectionIds,
        store: PeerStore,
        now: Time,
    }

    impl Scene {
        fn new() -> Scene {
            let store = PeerStore::new(Duration::from_secs(1_800), Rng::from_seed(1));
            Scene { ids: ConnectionIds::new([7; 32]), store, now: Time::from_secs(500) }
        }

        /// Lets `client`, at `from`, do its job to the end.
        fn run(&mut self, client: &mut UdpClient<u8>, from: &str, input: Input<u8>) -> Results {
            let mut out = Vec::new();
            client.handle(self.now, input, &mut out);
            let mut results = Vec::new();
            while let Some(output) = out.pop() {
                match output {
                    Output::Done { result, .. } => results.push(result),
                    Output::Send { to, bytes } => {
                        let from = from.parse().unwrap();
                        let Some(bytes) = serve(self.now, from, &bytes, &self.ids, &mut self.store) else {
                            continue;
                        };
                        client.handle(self.now, Input::Datagram { from: to, bytes }, &mut out);
                    }
                }
            }
            results
        }
    }

    fn announce(target: &str, id: u8) -> Input<u8> {
        let request = AnnounceRequest { left: 1, ..AnnounceRequest::new(Sha1Hash([1; 20]), [id; 20], 6881) };
        Input::Announce { job: 1, target: target.parse().unwrap(), url_data: Vec::new(), request }
    }

    fn client(seed: u64) -> UdpClient<u8> {
        UdpClient::new(Timing::default(), Rng::from_seed(seed))
    }

    #[test]
    fn clients_learn_of_each_other_over_both_families() {
        for (target, a, b) in [
            ("192.0.2.1:69", "10.0.0.1:5", "10.0.0.2:5"),
            ("[2001:db8::9]:69", "[2001:db8::1]:5", "[2001:db8::2]:5"),
        ] {
            let mut s = Scene::new();
            s.run(&mut client(1), a, announce(target, 1));
            let results = s.run(&mut client(2), b, announce(target, 2));
            let [Ok(Answer::Announce(answer))] = results.as_slice() else { panic!("{results:?}") };
            let mut first: SocketAddr = a.parse().unwrap();
            first.set_port(6881);
            assert_eq!((answer.peers.as_slice(), answer.incomplete), ([first].as_slice(), Some(2)));
        }
    }

    #[test]
    fn a_scrape_answers_in_order_with_zeros_for_the_unknown() {
        let mut s = Scene::new();
        let mut client = client(1);
        s.run(&mut client, "10.0.0.1:5", announce("192.0.2.1:69", 1));
        let info_hashes = vec![Sha1Hash([9; 20]), Sha1Hash([1; 20])];
        let scrape = Input::Scrape { job: 2, target: "192.0.2.1:69".parse().unwrap(), info_hashes };
        let results = s.run(&mut client, "10.0.0.1:5", scrape);
        let [Ok(Answer::Scrape(scrape))] = results.as_slice() else { panic!("{results:?}") };
        let incomplete: Vec<u32> = scrape.files.values().map(|entry| entry.incomplete).collect();
        assert_eq!(incomplete, [1, 0]);
    }

    #[test]
    fn a_client_outlives_the_trackers_restart() {
        let mut s = Scene::new();
        let mut client = client(1);
        s.run(&mut client, "10.0.0.1:5", announce("192.0.2.1:69", 1));
        s.ids = ConnectionIds::new([8; 32]);
        let results = s.run(&mut client, "10.0.0.1:5", announce("192.0.2.1:69", 1));
        assert!(matches!(results.as_slice(), [Ok(Answer::Announce(_))]), "{results:?}");
    }

    #[test]
    fn a_forged_source_is_sent_no_more_than_was_spent_on_it() {
        let mut s = Scene::new();
        let from = "10.0.0.1:5".parse().unwrap();
        let hashes = |n| (0..n).map(|i| Sha1Hash([i; 20])).collect();
        let scrape = |n| Request::Scrape { connection: 1, transaction: 2, info_hashes: hashes(n) }.encode();
        for datagram in [Request::Connect { transaction: 1 }.encode(), scrape(0), scrape(1), scrape(74)] {
            let answer = serve(s.now, from, &datagram, &s.ids, &mut s.store).unwrap_or_default();
            assert!(answer.len() <= datagram.len(), "{} for {}", answer.len(), datagram.len());
        }
        assert_eq!(s.store.swarms(), 0);
    }
}
