use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn store() -> PeerStore {
    PeerStore::new(30 * MINUTE, Rng::from_seed(7))
}

fn request(id: u32, left: u64, event: Event) -> AnnounceRequest {
    let mut peer_id = [0; 20];
    peer_id[..4].copy_from_slice(&id.to_be_bytes());
    AnnounceRequest { left, event, ..AnnounceRequest::new(Sha1Hash([1; 20]), peer_id, 6881) }
}

fn ip(n: u32) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::from(0x0a00_0000 + n))
}

#[test]
fn peers_learn_of_each_other_but_not_of_themselves() {
    let mut store = store();
    let first = store.announce(Time::ZERO, ip(1), &request(1, 0, Event::Started));
    assert_eq!((first.peers.len(), first.interval, first.external_ip), (0, 1_800, Some(ip(1))));
    let second = store.announce(Time::ZERO, ip(2), &request(2, 5, Event::Started));
    assert_eq!(second.peers, [SocketAddr::new(ip(1), 6881)]);
    assert_eq!((second.complete, second.incomplete), (Some(1), Some(1)));
}

#[test]
fn seeds_are_of_no_use_to_seeds() {
    let mut store = store();
    store.announce(Time::ZERO, ip(1), &request(1, 0, Event::Started));
    store.announce(Time::ZERO, ip(2), &request(2, 5, Event::Started));
    let seed = store.announce(Time::ZERO, ip(3), &request(3, 0, Event::Started));
    assert_eq!(seed.peers, [SocketAddr::new(ip(2), 6881)]);
}

#[test]
fn families_do_not_mix() {
    let mut store = store();
    store.announce(Time::ZERO, ip(1), &request(1, 5, Event::Started));
    let v6 = "2001:db8::1".parse().unwrap();
    assert_eq!(store.announce(Time::ZERO, v6, &request(2, 5, Event::Started)).peers, []);
    let mapped = "::ffff:10.0.0.9".parse().unwrap();
    assert_eq!(store.announce(Time::ZERO, mapped, &request(3, 5, Event::Started)).peers.len(), 1);
}

#[test]
fn who_leaves_or_falls_silent_is_forgotten() {
    let mut store = store();
    store.announce(Time::ZERO, ip(1), &request(1, 5, Event::Started));
    store.announce(Time::ZERO, ip(2), &request(2, 5, Event::Started));
    let left = store.announce(Time::ZERO, ip(1), &request(1, 5, Event::Stopped));
    assert_eq!((left.incomplete, left.peers.len()), (Some(1), 0));
    let later = Time::ZERO + 61 * MINUTE;
    assert_eq!(store.scrape(later, &[Sha1Hash([1; 20])]).files.len(), 0);
    assert_eq!(store.swarms(), 0);
}

#[test]
fn downloads_are_counted() {
    let mut store = store();
    store.announce(Time::ZERO, ip(1), &request(1, 5, Event::Started));
    store.announce(Time::ZERO, ip(1), &request(1, 0, Event::Completed));
    let scrape = store.scrape(Time::ZERO, &[Sha1Hash([1; 20]), Sha1Hash([2; 20])]);
    let expected = ScrapeEntry { complete: 1, incomplete: 0, downloaded: 1 };
    assert_eq!(scrape.files, [(Sha1Hash([1; 20]), expected)].into());
}

#[test]
fn answers_are_bounded_and_random_and_honour_numwant() {
    let mut store = store();
    for n in 0..500 {
        store.announce(Time::ZERO, ip(n), &request(n, 5, Event::Started));
    }
    let mut ask = |numwant| {
        let request = AnnounceRequest { numwant, ..request(1, 5, Event::None) };
        store.announce(Time::ZERO, ip(1), &request).peers
    };
    assert_eq!(ask(Some(3)).len(), 3);
    assert_eq!(ask(Some(0)).len(), 0);
    assert_eq!(ask(Some(u32::MAX)).len(), Limits::STORE_ANSWER);
    let (one, two) = (ask(None), ask(None));
    assert_eq!((one.len(), two.len()), (50, 50));
    assert_ne!(one, two);
}

#[test]
fn swarms_and_the_table_are_bounded() {
    let mut store = store();
    for n in 0..Limits::STORE_PEERS as u32 + 100 {
        store.announce(Time::ZERO, ip(n), &request(n, 5, Event::Started));
    }
    let known = store.announce(Time::ZERO, ip(1), &request(1, 5, Event::None));
    assert_eq!(known.incomplete, Some(Limits::STORE_PEERS as u32));
    for n in 0..Limits::STORE_SWARMS as u64 + 100 {
        let mut hash = [9; 20];
        hash[..8].copy_from_slice(&n.to_be_bytes());
        let request = AnnounceRequest { info_hash: Sha1Hash(hash), ..request(1, 5, Event::Started) };
        store.announce(Time::ZERO, ip(1), &request);
    }
    assert_eq!(store.swarms(), Limits::STORE_SWARMS);
}

#[test]
fn port_zero_listens_nowhere() {
    let mut store = store();
    let deaf = AnnounceRequest { port: 0, ..request(1, 5, Event::Started) };
    store.announce(Time::ZERO, ip(1), &deaf);
    assert_eq!(store.announce(Time::ZERO, ip(2), &request(2, 5, Event::Started)).peers, []);
}
