use proptest::prelude::*;

use super::*;
use crate::extension::PexFlags;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The public address of connection `n`.
fn of(n: u32) -> SocketAddr {
    SocketAddr::from(([8, 0, (n >> 8) as u8, n as u8], 6881))
}

/// Connects `n`, which listens and wants to know of others.
fn connect(pex: &mut Pex, now: Time, n: u32) {
    pex.on_connected(ConnId(n), of(n));
    pex.set_listening(ConnId(n), of(n), PexFlags::REACHABLE);
    pex.set_wanted(now, ConnId(n), true);
}

fn added(message: &PexMessage) -> Vec<SocketAddr> {
    message.added.iter().map(|peer| peer.addr).collect()
}

fn heard(pex: &mut Pex, secs: u64, conn: u32, addrs: &[&str]) -> Vec<SocketAddr> {
    let flags = PexFlags::default();
    let added = addrs.iter().map(|text| PexPeer { addr: addr(text), flags }).collect();
    pex.on_message(Time::from_secs(secs), ConnId(conn), &PexMessage { added, dropped: vec![] })
}

#[test]
fn each_is_told_of_the_others_and_then_of_changes() {
    let mut pex = Pex::new(PexLimits::default());
    (1..=3).for_each(|n| connect(&mut pex, Time::ZERO, n));
    assert_eq!(pex.next_timeout(), Some(Time::from_secs(5)));
    assert!(pex.poll(Time::from_secs(4)).is_empty());
    let first = pex.poll(Time::from_secs(5));
    let told: Vec<_> = first.iter().map(|(conn, message)| (conn.0, added(message))).collect();
    assert_eq!(told, [(1, vec![of(2), of(3)]), (2, vec![of(1), of(3)]), (3, vec![of(1), of(2)])]);
    assert!(pex.poll(Time::from_secs(65)).is_empty(), "no news, no message");
    pex.on_disconnect(ConnId(2));
    connect(&mut pex, Time::from_secs(66), 4);
    assert!(pex.poll(Time::from_secs(70)).is_empty());
    let later = pex.poll(Time::from_secs(125));
    assert_eq!(later.iter().map(|m| m.0.0).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!((added(&later[0].1), later[0].1.dropped.clone()), (vec![of(4)], vec![of(2)]));
    assert_eq!((added(&later[2].1), later[2].1.dropped.clone()), (vec![of(1), of(3)], vec![]));
}

#[test]
fn turning_it_off_and_on_does_not_make_it_sooner() {
    let mut pex = Pex::new(PexLimits::default());
    (1..=2).for_each(|n| connect(&mut pex, Time::ZERO, n));
    assert_eq!(pex.poll(Time::from_secs(5)).len(), 2);
    connect(&mut pex, Time::from_secs(6), 3);
    for wanted in [false, true] {
        pex.set_wanted(Time::from_secs(10), ConnId(1), wanted);
    }
    let soon = pex.poll(Time::from_secs(64));
    assert_eq!(soon.iter().map(|m| m.0.0).collect::<Vec<_>>(), [3]);
    assert!(pex.poll(Time::from_secs(70)).iter().any(|m| m.0.0 == 1));
}

#[test]
fn messages_stay_within_fifty_and_all_is_told_in_the_end() {
    let mut pex = Pex::new(PexLimits::default());
    (1..=121).for_each(|n| connect(&mut pex, Time::ZERO, n));
    let mut all = Vec::new();
    for minute in 0..3 {
        let messages = pex.poll(Time::from_secs(5 + 60 * minute));
        all.extend(added(&messages[0].1));
        assert!(messages.iter().all(|m| m.1.added.len() <= 50));
    }
    assert_eq!(all, (2..=121).map(of).collect::<Vec<_>>());
    (2..=121).for_each(|n| pex.on_disconnect(ConnId(n)));
    let mut gone = Vec::new();
    for minute in 3..6 {
        let messages = pex.poll(Time::from_secs(5 + 60 * minute));
        assert!(messages[0].1.dropped.len() <= 50);
        gone.extend(messages[0].1.dropped.clone());
    }
    assert_eq!(gone, (2..=121).map(of).collect::<Vec<_>>());
}

#[test]
fn local_addresses_are_told_only_to_neighbours() {
    let mut pex = Pex::new(PexLimits::default());
    connect(&mut pex, Time::ZERO, 1);
    for (n, text) in [(2, "192.168.1.7:6881"), (3, "[fd00::1]:6881"), (4, "127.0.0.1:7000")] {
        pex.on_connected(ConnId(n), addr(text));
        pex.set_listening(ConnId(n), addr(text), PexFlags::default());
        pex.set_wanted(Time::ZERO, ConnId(n), true);
    }
    let told: BTreeMap<u32, usize> =
        pex.poll(Time::from_secs(5)).iter().map(|(conn, message)| (conn.0, message.added.len())).collect();
    assert_eq!(told, BTreeMap::from([(2, 2), (3, 2), (4, 3)]), "the public peer hears of none of them");
}

#[test]
fn messages_too_soon_are_ignored() {
    let mut pex = Pex::new(PexLimits::default());
    connect(&mut pex, Time::ZERO, 1);
    assert_eq!(heard(&mut pex, 1, 1, &["9.9.9.9:1"]).len(), 1);
    assert_eq!(heard(&mut pex, 45, 1, &["9.9.9.8:1"]).len(), 0);
    assert_eq!(heard(&mut pex, 46, 1, &["9.9.9.8:1"]).len(), 1);
    assert_eq!(heard(&mut pex, 46, 7, &["9.9.9.7:1"]).len(), 0, "nobody we know");
}

#[test]
fn nonsense_is_left_out() {
    let mut pex = Pex::new(PexLimits::default());
    connect(&mut pex, Time::ZERO, 1);
    let nonsense = [
        "9.9.9.9:0",
        "0.0.0.0:80",
        "0.1.2.3:80",
        "224.0.0.1:80",
        "250.0.0.1:80",
        "255.255.255.255:80",
        "[::]:80",
        "[ff02::1]:80",
        "127.0.0.1:80",
        "[::1]:80",
        "192.168.0.1:80",
        "[::ffff:10.0.0.1]:80",
    ];
    assert_eq!(heard(&mut pex, 1, 1, &nonsense), []);
    let doubles = ["9.9.9.9:1", "9.9.9.9:2", "[::ffff:9.9.9.9]:3", "[2a00::1]:4"];
    assert_eq!(heard(&mut pex, 60, 1, &doubles), [addr("9.9.9.9:1"), addr("[2a00::1]:4")]);
}

#[test]
fn neighbours_may_tell_of_neighbours() {
    let mut pex = Pex::new(PexLimits::default());
    pex.on_connected(ConnId(1), addr("127.0.0.1:5000"));
    pex.on_connected(ConnId(2), addr("10.0.0.1:5000"));
    let local = ["127.0.0.1:1", "127.0.0.1:2", "10.0.0.9:3", "9.9.9.9:4"];
    assert_eq!(heard(&mut pex, 1, 1, &local), local.map(addr));
    assert_eq!(heard(&mut pex, 1, 2, &local), [addr("10.0.0.9:3"), addr("9.9.9.9:4")]);
}

proptest! {
    /// Whoever follows the messages knows, once it is quiet, exactly who is connected.
    #[test]
    fn following_the_messages_gives_the_truth(steps in proptest::collection::vec((2u32..90, any::<bool>()), 0..300)) {
        let mut pex = Pex::new(PexLimits::default());
        connect(&mut pex, Time::ZERO, 1);
        let mut live = BTreeSet::new();
        let mut known = BTreeSet::new();
        let quiet = std::iter::repeat_n(None, 50);
        for (at, step) in (1u64..).zip(steps.into_iter().map(Some).chain(quiet)) {
            let now = Time::from_secs(at * 7);
            match step {
                Some((n, true)) => {
                    connect(&mut pex, now, n);
                    live.insert(of(n));
                }
                Some((n, false)) => {
                    pex.on_disconnect(ConnId(n));
                    live.remove(&of(n));
                }
                None => {}
            }
            for (_, message) in pex.poll(now).into_iter().filter(|m| m.0 == ConnId(1)) {
                prop_assert!(!message.is_empty());
                for addr in message.dropped {
                    prop_assert!(known.remove(&addr), "dropped what was never added");
                }
                for peer in message.added {
                    prop_assert!(known.insert(peer.addr), "added twice");
                }
            }
        }
        prop_assert_eq!(known, live);
    }
}
