use std::time::Duration;

use starling_sansio::{Rng, Time};

use super::*;

fn candidate(slot: u32, given: u64) -> Candidate {
    Candidate {
        slot,
        unchoked: false,
        since: Time::ZERO,
        quiet: false,
        wasted: false,
        given,
        turn: 0,
        got: 0,
        snubbed: false,
        newcomer: given == 0,
    }
}

fn choose(choker: &mut impl Choker, secs: u64, candidates: &[Candidate], slots: usize) -> Vec<Chosen> {
    let mut chosen = Vec::new();
    choker.choose(Time::from_secs(secs), candidates, slots, &mut Rng::from_seed(secs), &mut chosen);
    let mut slots: Vec<u32> = chosen.iter().map(|c| c.slot).collect();
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots.len(), chosen.len(), "nobody is chosen twice");
    chosen
}

#[test]
fn tit_for_tat_prefers_who_gives_most_and_leaves_one_to_chance() {
    let mut candidates: Vec<Candidate> = (0..20).map(|i| candidate(i, u64::from(i) * 100)).collect();
    let mut choker = TitForTat::new(Duration::from_secs(30));
    let mut lucky = std::collections::BTreeSet::new();
    for round in 0..60 {
        let chosen = choose(&mut choker, round * 10, &candidates, 5);
        assert_eq!(chosen.len(), 5);
        let best: Vec<u32> = chosen[..4].iter().map(|c| c.slot).collect();
        assert_eq!(best, [19, 18, 17, 16]);
        lucky.insert(chosen[4].slot);
        for c in &mut candidates {
            c.unchoked = chosen.iter().any(|chosen| chosen.slot == c.slot);
        }
    }
    assert!((8..=16).contains(&lucky.len()), "the lucky one changes every thirty seconds: {lucky:?}");
}

#[test]
fn tit_for_tat_fills_free_slots_and_passes_over_who_snubs() {
    let mut candidates: Vec<Candidate> = (0..6).map(|i| candidate(i, 100)).collect();
    candidates[0].snubbed = true;
    candidates[0].given = 1_000_000;
    let mut choker = TitForTat::new(Duration::from_secs(30));
    let chosen = choose(&mut choker, 1, &candidates, 4);
    assert!(chosen[..3].iter().all(|c| c.slot != 0));
    assert_eq!(choose(&mut choker, 1, &candidates, 50).len(), 6);
    assert!(choose(&mut choker, 1, &[], 4).is_empty());
    assert!(choose(&mut choker, 1, &candidates, 0).is_empty());
}

#[test]
fn propshare_gives_in_proportion_and_keeps_a_part_for_newcomers() {
    let given = [0, 0, 100, 300, 400, 0];
    let candidates: Vec<Candidate> = (0..6).map(|i| candidate(i, given[i as usize])).collect();
    let chosen = choose(&mut PropShare::new(Duration::from_secs(30)), 5, &candidates, 4);
    let share = |slot: u32| chosen.iter().find(|c| c.slot == slot).and_then(|c| c.share);
    assert_eq!(share(3), share(2).map(|s| s * 3.0));
    assert_eq!(share(4), share(2).map(|s| s * 4.0));
    let total: f64 = chosen.iter().filter_map(|c| c.share).sum();
    assert!((total - 1.0).abs() < 1e-9, "{chosen:?}");
    let newcomers: f64 = chosen.iter().filter(|c| given[c.slot as usize] == 0).filter_map(|c| c.share).sum();
    assert!((newcomers - 0.2).abs() < 1e-9, "{chosen:?}");
}

/// Among a hundred that let their turn pass one that did not has 8 of 108 tickets.
#[test]
fn who_let_a_turn_pass_is_lucky_less_often_but_not_never() {
    let mut candidates: Vec<Candidate> = (0..101).map(|i| candidate(i, 0)).collect();
    candidates[1..].iter_mut().for_each(|c| c.wasted = true);
    let mut chokers: [Box<dyn Choker>; 2] = [
        Box::new(TitForTat::new(Duration::from_secs(30))),
        Box::new(PropShare::new(Duration::from_secs(30))),
    ];
    for choker in &mut chokers {
        let mut chosen = Vec::new();
        let mut rng = Rng::from_seed(1);
        for round in 0..400 {
            choker.choose(Time::from_secs(round * 40), &candidates, 1, &mut rng, &mut chosen);
        }
        let fresh = chosen.iter().filter(|c| c.slot == 0).count();
        assert_eq!(chosen.len(), 400);
        assert!((15..=130).contains(&fresh), "{choker:?}: {fresh} of 400");
    }
}

#[test]
fn who_does_not_use_its_turn_is_behind_those_who_do_and_before_those_who_wait() {
    let mut peers: Vec<Candidate> = (0..4).map(|i| candidate(i, 0)).collect();
    for (slot, since) in [(0, 1), (1, 2), (2, 3)] {
        (peers[slot].unchoked, peers[slot].since) = (true, Time::from_secs(since));
    }
    peers[0].quiet = true;
    let order = choose(&mut Seeding, 10, &peers, 4).iter().map(|c| c.slot).collect::<Vec<_>>();
    assert_eq!(order, [1, 2, 0, 3]);
}

#[test]
fn seeding_gives_everyone_a_turn() {
    let mut peers: Vec<Candidate> = (0..10).map(|i| candidate(i, 0)).collect();
    let mut turns = [0; 10];
    for round in 0..100u64 {
        let chosen = choose(&mut Seeding, round * 10, &peers, 3);
        assert_eq!(chosen.len(), 3);
        for peer in &mut peers {
            let lucky = chosen.iter().any(|c| c.slot == peer.slot);
            if lucky != peer.unchoked {
                peer.since = Time::from_secs(round * 10);
                peer.turn = 0;
            }
            peer.unchoked = lucky;
            peer.turn += if lucky { 4 << 20 } else { 0 };
            turns[peer.slot as usize] += i32::from(lucky);
        }
    }
    assert!(turns.iter().all(|&n| (24..=36).contains(&n)), "{turns:?}");
}
