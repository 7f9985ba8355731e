//! Who gets what.

use std::time::Duration;

use starling_metainfo::Bitfield;
use starling_swarm::{Config, Strategy};

use crate::world::{Content, KIB, LinkSpec, MIB, Manner, World};

struct Outcome {
    /// Seconds until the last of the contributors was done.
    givers: f64,
    /// Seconds until the free-rider was done, if it was.
    rider: Option<f64>,
    /// Bytes the free-rider had of the leechers when these were done.
    lent: u64,
}

/// One slow seed, seven leechers that give, and one that does not.
fn with_a_free_rider(strategy: Strategy, seed: u64) -> Outcome {
    let mut w = World::new(seed, Content::v1(64 * MIB, 256 * KIB));
    let config = Config { choker: strategy, ..Config::default() };
    let origin = w.seed();
    w.nodes[origin].up_rate = 1_000_000;
    let givers: Vec<_> = (0..7).map(|_| w.leech_with(config.clone())).collect();
    let rider = w.leech_with(config);
    w.nodes[rider].manner = Manner::Free;
    givers.iter().for_each(|&g| w.nodes[g].up_rate = 1_000_000);
    for &node in givers.iter().chain([&rider]) {
        w.connect(node, origin, LinkSpec::of(40, 4_000_000));
    }
    for (i, &a) in givers.iter().enumerate() {
        w.connect(rider, a, LinkSpec::of(40, 4_000_000));
        givers[i + 1..].iter().for_each(|&b| w.connect(a, b, LinkSpec::of(40, 4_000_000)));
    }
    let start = w.now;
    let mut lent = None;
    assert!(w.run_until(Duration::from_secs(1000), |w| {
        let first = givers.iter().any(|&g| w.nodes[g].torrent.is_finished());
        if first && lent.is_none() {
            lent = Some(w.nodes[rider].received - w.nodes[rider].received.min(w.nodes[origin].served / 8));
        }
        givers.iter().all(|&g| w.nodes[g].torrent.is_finished())
    }));
    let done = w.now.since(start).as_secs_f64();
    let rider_done = w.nodes[rider].torrent.is_finished().then_some(done);
    Outcome { givers: done, rider: rider_done, lent: lent.unwrap() }
}

#[test]
fn free_riders_live_on_the_newcomers_budget() {
    for strategy in [Strategy::TitForTat, Strategy::PropShare] {
        let o = with_a_free_rider(strategy, 1);
        eprintln!("{strategy:?}: givers {:.1} s, rider {:?}, lent {} KiB", o.givers, o.rider, o.lent / KIB);
        assert!(o.rider.is_none(), "{strategy:?}: the free-rider is done before those who give");
        assert!(o.lent < 12 * MIB, "{strategy:?}: {} KiB", o.lent / KIB);
    }
}

/// Seconds that one who joins when the others have half needs, in a swarm of seven leechers
/// and a slow seed.
fn a_late_joiner(strategy: Strategy, piece: u64, seed: u64) -> f64 {
    let mut w = World::new(seed, Content::v1(64 * MIB, piece));
    let config = Config { choker: strategy, ..Config::default() };
    let others: Vec<_> = [w.seed()].into_iter().chain((0..7).map(|_| w.leech_with(config.clone()))).collect();
    let late = w.leech_with(config);
    let link = LinkSpec::of(40, 4_000_000);
    for (i, &a) in others.iter().enumerate() {
        w.nodes[a].up_rate = 1_000_000;
        others[i + 1..].iter().for_each(|&b| w.connect(a, b, link));
    }
    w.nodes[late].up_rate = 1_000_000;
    assert!(w.run_until(Duration::from_secs(1000), |w| w.nodes[others[1]].received > 32 * MIB));
    let joins = w.now;
    others.iter().for_each(|&other| w.connect(late, other, link));
    assert!(w.run_until(Duration::from_secs(1000), |w| w.nodes[late].torrent.is_finished()));
    w.now.since(joins).as_secs_f64()
}

/// The budget is for those who give nothing. Who has little yet, and gives of it, is held up
/// by no more than a moment, with small pieces and with large ones.
#[test]
fn an_honest_newcomer_is_no_newcomer_for_long() {
    for (piece, most) in [(64 * KIB, 60.0), (256 * KIB, 60.0), (4 * MIB, 110.0)] {
        let time = |strategy| (0..3).map(|seed| a_late_joiner(strategy, piece, seed)).sum::<f64>() / 3.0;
        let (tit_for_tat, prop_share) = (time(Strategy::TitForTat), time(Strategy::PropShare));
        eprintln!(
            "pieces of {} KiB: late joiner done after {tit_for_tat:.1} s, PropShare {prop_share:.1} s",
            piece / KIB
        );
        assert!(tit_for_tat < most && prop_share < most);
    }
}

/// These of 512 pieces.
fn some(range: std::ops::Range<u32>) -> Bitfield {
    let mut some = Bitfield::new(512);
    for piece in range {
        some.insert(piece);
    }
    some
}

/// Bytes that one with nothing has of somebody with part of a torrent and 1 MB/s to give, twenty
/// seconds after its only partner gave it `pieces` and then had `end` happen to it.
fn beside(strategy: Strategy, fetch: bool, pieces: u32, end: impl FnOnce(&mut World, usize, usize)) -> u64 {
    let mut w = World::new(4, Content::v1(128 * MIB, 256 * KIB));
    let config = Config { choker: strategy, ..Config::default() };
    let rich = w.node(config.clone(), Some(some(0..128)));
    let partner = w.node(Config { fetch, ..config.clone() }, Some(some(128..256)));
    let link = LinkSpec::of(40, 4_000_000);
    w.connect(rich, partner, link);
    w.nodes[rich].up_rate = 1_000_000;
    let has = |w: &World| w.nodes[rich].torrent.bitfield().count();
    assert!(w.run_until(Duration::from_secs(60), |w| has(w) == 128 + pieces));
    end(&mut w, rich, partner);
    let late = w.leech_with(config);
    w.connect(late, rich, link);
    w.run_for(Duration::from_secs(20));
    w.nodes[late].received
}

/// A newcomer stands back behind those who earn what it would get: neither behind one that only
/// once gave, nor behind one that wants nothing. What nobody earns does not lie idle.
#[test]
fn a_newcomer_gets_what_nobody_else_earns() {
    for strategy in [Strategy::TitForTat, Strategy::PropShare] {
        let gone = beside(strategy, true, 128, World::cut);
        let giving = beside(strategy, false, 8, |w, _, partner| w.nodes[partner].up_rate = 300_000);
        // It stops giving and takes on: after ten seconds the two are equal.
        let silent = beside(strategy, true, 128, |w, _, partner| {
            w.nodes[partner].manner = Manner::Silent(w.now);
        });
        let [gone, giving, silent] = [gone, giving, silent].map(|bytes| bytes / KIB);
        eprintln!(
            "{strategy:?}: {gone} KiB alone, {giving} beside a partial seed, {silent} beside a silent one"
        );
        assert!(gone > 14 * 1024 && giving > 14 * 1024 && silent > 3 * 1024, "{strategy:?}");
    }
}

/// The mean time until those who give are done.
#[test]
fn the_default_strategy_is_no_slower() {
    let time = |strategy| (0..3).map(|seed| with_a_free_rider(strategy, seed + 10).givers).sum::<f64>() / 3.0;
    let (tit_for_tat, prop_share) = (time(Strategy::TitForTat), time(Strategy::PropShare));
    eprintln!("givers done after: tit-for-tat {tit_for_tat:.1} s, PropShare {prop_share:.1} s");
    let default = if Config::default().choker == Strategy::TitForTat { tit_for_tat } else { prop_share };
    assert!(default <= tit_for_tat.min(prop_share) * 1.1);
}

#[test]
fn a_free_slot_is_given_at_once() {
    let mut w = World::new(2, Content::v1(16 * MIB, MIB));
    let seed = w.seed();
    let leeches: Vec<_> = (0..4).map(|_| w.leech()).collect();
    for &leech in &leeches {
        w.connect(leech, seed, LinkSpec::of(20, 1_000_000));
    }
    w.run_for(Duration::from_millis(100));
    for &leech in &leeches {
        assert!(!w.nodes[leech].torrent.peers()[0].choked[1]);
    }
}

#[test]
fn a_seed_lets_everyone_have_a_turn() {
    let mut w = World::new(3, Content::v1(512 * MIB, MIB));
    let all = starling_metainfo::Bitfield::full(512);
    let seed = w.node(Config { slots: Some(4), ..Config::default() }, Some(all));
    w.nodes[seed].up_rate = 2_000_000;
    let leeches: Vec<_> = (0..12).map(|_| w.leech()).collect();
    for &leech in &leeches {
        w.connect(leech, seed, LinkSpec::of(20, 1_000_000));
    }
    w.run_for(Duration::from_secs(240));
    for &leech in &leeches {
        let got = w.nodes[leech].received;
        assert!(got > 10 * MIB, "{got} bytes in four minutes");
        let unchoked = w.nodes[seed].torrent.peers().iter().filter(|p| !p.choked[0]).count();
        assert!(unchoked <= 4, "{unchoked}");
    }
}

/// Seconds until a newcomer is unchoked by somebody with a quarter of a torrent, who has `givers`
/// partners that give, and 100 peers that want something and never ask for it.
fn first_turn_among_idlers(strategy: Strategy, givers: u32, seed: u64) -> f64 {
    let mut w = World::new(seed, Content::v1(512 * MIB, MIB));
    let config = Config { choker: strategy, ..Config::default() };
    let rich = w.node(config.clone(), Some(some(0..128)));
    w.nodes[rich].up_rate = 1_000_000;
    for _ in 0..givers {
        let giver = w.node(config.clone(), Some(some(128..512)));
        w.nodes[giver].up_rate = 50_000;
        w.connect(rich, giver, LinkSpec::of(40, 4_000_000));
    }
    for _ in 0..100 {
        let idler = w.leech_with(config.clone());
        w.nodes[idler].manner = Manner::Idle;
        w.connect(idler, rich, LinkSpec::of(40, 4_000_000));
    }
    w.run_for(Duration::from_secs(5));
    let late = w.leech_with(config);
    w.connect(late, rich, LinkSpec::of(300, 4_000_000));
    let start = w.now;
    let served = w.run_until(Duration::from_secs(1000), |w| {
        w.nodes[late].torrent.peers().iter().any(|peer| !peer.choked[1])
    });
    assert!(served, "{strategy:?}: no turn");
    w.now.since(start).as_secs_f64()
}

/// Each of 100 idlers keeps an eighth of the slots for two seconds, and the core may be half a
/// second late: 32 s. Whoever trades decides by chance as well every ten seconds.
#[test]
fn peers_that_never_ask_keep_no_newcomer_from_a_leechers_slots() {
    for (strategy, givers, most) in [
        (Strategy::TitForTat, 0, 32.0),
        (Strategy::PropShare, 0, 32.0),
        (Strategy::TitForTat, 10, 32.0),
        (Strategy::PropShare, 10, 32.0),
    ] {
        let took = (0..5).map(|seed| first_turn_among_idlers(strategy, givers, seed));
        let worst = took.fold(0.0, f64::max);
        eprintln!("{strategy:?}, {givers} give: first turn after {worst:.1} s");
        assert!(worst < most, "{strategy:?}, {givers} give: {worst} s");
    }
}

/// A seed with four slots, ninety that never ask, and ten that are slow to: three seconds there
/// and back, more than a slot is kept for who does not ask. None of them loses its turns.
#[test]
fn honest_peers_on_slow_roads_have_their_turns_among_idlers() {
    let mut w = World::new(7, Content::v1(512 * MIB, MIB));
    let all = Bitfield::full(512);
    let seed = w.node(Config { slots: Some(4), ..Config::default() }, Some(all));
    w.nodes[seed].up_rate = 2_000_000;
    for _ in 0..90 {
        let idler = w.leech();
        w.nodes[idler].manner = Manner::Idle;
        w.connect(idler, seed, LinkSpec::of(40, 4_000_000));
    }
    let slow: Vec<_> = (0..10).map(|_| w.leech()).collect();
    slow.iter().for_each(|&node| w.connect(node, seed, LinkSpec::of(3000, 1_000_000)));
    w.run_for(Duration::from_secs(300));
    let got: Vec<u64> = slow.iter().map(|&node| w.nodes[node].received / MIB).collect();
    eprintln!("MiB of ten slow peers in five minutes: {got:?}");
    assert!(got.iter().all(|&mib| mib >= 10), "{got:?}");
}
