//! The table and the look-up against slow models of themselves.

use std::time::Duration;

use proptest::prelude::*;
use starling_sansio::{Rng, Time};

use super::*;
use crate::wire::Wire;

/// Where peers stand: near each other, so that deep buckets and ties occur.
fn id(peer: u32) -> Id {
    let bits = Id::hash(&peer.to_be_bytes());
    Id::small(u64::from(peer % 7), 3).xor(bits.xor(bits.truncated(3 + peer % 50)))
}

fn any_message() -> impl Strategy<Value = KademliaMessage<u32>> {
    let why = prop::sample::select(vec![Why::Maintenance, Why::Node, Why::Value]);
    let rpc = any::<u32>().prop_map(RpcId);
    let place = any::<[u8; 20]>().prop_map(Id::from_bytes);
    prop_oneof![
        rpc.clone().prop_map(|rpc| KademliaMessage::Ping { rpc }),
        rpc.clone().prop_map(|rpc| KademliaMessage::Pong { rpc }),
        (rpc.clone(), place.clone(), any::<u32>(), any::<u8>(), why.clone())
            .prop_map(|(rpc, key, op, hops, why)| KademliaMessage::Find { rpc, key, op, hops, why }),
        (rpc, prop::collection::vec(0..300u32, 0..=MAX_K), why)
            .prop_map(|(rpc, peers, why)| KademliaMessage::Found { rpc, peers: List::new(peers), why }),
        Just(KademliaMessage::Leave {}),
        (place, any::<u8>(), prop::collection::vec(any::<u8>(), 0..30)).prop_map(|(key, hops, payload)| {
            KademliaMessage::Send { parcel: Box::new(Parcel { key, hops, payload: List::new(payload) }) }
        }),
    ]
}

proptest! {
    #[test]
    fn a_message_comes_back(message in any_message()) {
        prop_assert_eq!(KademliaMessage::from_wire(&message.to_wire()), Ok(message));
    }

    /// Whatever happens, a peer stands in its bucket, once, and buckets keep their bounds;
    /// the closest are what sorting everybody would give.
    #[test]
    fn a_table_is_what_its_contacts_say(
        steps in prop::collection::vec((0..4u8, 1..80u32), 0..400),
        target in 0..1000u32,
        want in 0..40usize,
    ) {
        let mut table = KTable::new(id(0), 4, 2);
        for (what, peer) in steps {
            let before: Vec<u32> = contacts(&table);
            match what {
                0 => {
                    let heard = table.heard(peer, id(peer));
                    let now = contacts(&table).contains(&peer);
                    prop_assert_eq!(now, heard != Heard::Full);
                    prop_assert!(heard != Heard::Known || before.contains(&peer));
                }
                1 => assert!(table.seen(peer, id(peer)) != Seen::Known || before.contains(&peer)),
                2 => assert!(table.failed(peer, id(peer)) == Failed::Unknown || before.contains(&peer)),
                _ => {
                    table.remove(peer, id(peer));
                    prop_assert!(!table.everybody().any(|other| other == peer));
                }
            }
            for bucket in 0..BUCKETS {
                let (contacts, spares) = (table.contacts(bucket), table.spares(bucket));
                prop_assert!(contacts.len() <= 4 && spares.len() <= 2);
                prop_assert!(spares.is_empty() || contacts.len() == 4);
                prop_assert!(contacts.iter().chain(spares).all(|&peer| table.bucket_of(id(peer)) == bucket));
            }
            let mut all = table.everybody().collect::<Vec<_>>();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(all.len(), table.everybody().count());
        }
        let target = id(target);
        let mut everybody = Vec::new();
        table.closest(target, usize::MAX >> 1, Trust::Usable, None, id, &mut everybody);
        prop_assert!(everybody.len() == table.len() || table.is_empty());
        everybody.sort_by_key(|&peer| id(peer).xor(target));
        let mut closest = Vec::new();
        table.closest(target, want, Trust::Usable, None, id, &mut closest);
        closest.sort_by_key(|&peer| id(peer).xor(target));
        prop_assert_eq!(&closest[..], &everybody[..want.min(everybody.len())]);
    }

    /// Among nodes that all answer with the closest they know, and know each other well
    /// enough, a look-up finds the closest of all, whatever its plan.
    #[test]
    fn a_look_up_finds_the_closest(
        k in 1..9usize, alpha in 1..5usize, paths in 1..4usize, strict: bool, seed: u64,
    ) {
        let mut rng = Rng::from_seed(seed);
        let place = |peer: u32| Id::hash(&peer.to_be_bytes());
        let target = Id::from_high(rng.next_u64());
        let mut all: Vec<u32> = (0..100).collect();
        all.sort_by_key(|&peer| place(peer).xor(target));
        let plan = Plan { k, enough: k, alpha, strict, paths, patience: Duration::from_secs(1), timeout: Duration::from_secs(1) };
        let begin: Vec<u32> = all[60..60 + paths * 2].to_vec();
        let mut lookup = IterativeLookup::new(target, plan, &begin, place);
        let mut asked = Vec::new();
        let mut open = Vec::new();
        while !lookup.is_over() {
            while let Some(question) = lookup.ask(Time::ZERO, || rng.next_u32()) {
                prop_assert!(!asked.contains(&question.peer), "twice");
                asked.push(question.peer);
                open.push(question);
            }
            let most = if strict { alpha } else { alpha.max(k) };
            prop_assert!(open.len() <= paths * most);
            if lookup.is_over() {
                break;
            }
            let question = open.swap_remove(rng.index(open.len()));
            // It knows its neighbours in the order of distance, up to 8 closer ones.
            let at = all.iter().position(|&peer| peer == question.peer).unwrap_or(0);
            let answer: Vec<u32> = all[at.saturating_sub(8)..(at + k + 1).min(100)].to_vec();
            prop_assert!(!lookup.answer(question.token, question.peer + 1, &answer, place));
            prop_assert!(lookup.answer(question.token, question.peer, &answer, place));
            prop_assert!(!lookup.answer(question.token, question.peer, &answer, place));
        }
        prop_assert_eq!(lookup.closest(1, place), &all[..1]);
        if paths == 1 {
            prop_assert_eq!(lookup.closest(k, place), &all[..k]);
        }
    }
}

fn contacts(table: &KTable<u32>) -> Vec<u32> {
    (0..BUCKETS).flat_map(|bucket| table.contacts(bucket)).copied().collect()
}

/// Peers 1 to 9 in one bucket of four, with two spares.
fn one_bucket() -> (KTable<u32>, impl Fn(u32) -> Id) {
    let place = |peer: u32| Id::small(8 + u64::from(peer) % 8, 4);
    (KTable::new(Id::ZERO, 4, 2), place)
}

#[test]
fn a_full_bucket_keeps_its_contacts_until_two_questions_were_unanswered() {
    let (mut table, place) = one_bucket();
    let heard: Vec<Heard<u32>> = (1..=7).map(|peer| table.heard(peer, place(peer))).collect();
    assert_eq!(heard[3..], [Heard::New, Heard::Full, Heard::Full, Heard::Full]);
    assert_eq!((table.contacts(0), table.spares(0)), (&[1, 2, 3, 4][..], &[6, 7][..]));
    assert_eq!(table.heard(1, place(1)), Heard::Known);
    assert_eq!(table.failed(4, place(4)), Failed::Doubted);
    assert_eq!(table.contacts(0), [4, 2, 3, 1]);
    assert_eq!(table.failed(4, place(4)), Failed::Replaced(7));
    assert_eq!((table.contacts(0), table.spares(0)), (&[7, 2, 3, 1][..], &[6][..]));
    assert_eq!(table.heard(7, place(7)), Heard::Known);
    assert_eq!(table.contacts(0), [2, 3, 1, 7]);
}

#[test]
fn without_a_spare_a_stale_contact_stays_but_is_named_to_nobody() {
    let (mut table, place) = one_bucket();
    for peer in 1..=4 {
        table.heard(peer, place(peer));
        table.failed(peer, place(peer));
    }
    let closest = |table: &KTable<u32>, trust| {
        let mut closest = Vec::new();
        table.closest(Id::ZERO, 9, trust, None, &place, &mut closest);
        closest
    };
    assert_eq!(closest(&table, Trust::Good), []);
    assert_eq!(closest(&table, Trust::Usable).len(), 4);
    for peer in [3, 1, 4, 2] {
        assert_eq!(table.failed(peer, place(peer)), Failed::Gone);
        assert!(!closest(&table, Trust::Usable).contains(&peer) || peer == 2);
    }
    assert!(table.is_empty());
    assert_eq!(closest(&table, Trust::Usable).len(), 4, "it may be our own link that failed");
    assert_eq!(table.seen(5, place(5)), Seen::Wanted);
    assert!(matches!(table.heard(5, place(5)), Heard::Instead(_)));
    assert_eq!(closest(&table, Trust::Usable), [5]);
    assert_eq!(table.heard(2, place(2)), Heard::New);
}

#[test]
fn forged_requests_push_nobody_out() {
    let (mut table, place) = one_bucket();
    for peer in 1..=5 {
        table.heard(peer, place(peer));
    }
    for peer in 100..200 {
        assert_eq!(table.seen(peer, place(peer)), Seen::Full);
    }
    assert_eq!((table.contacts(0), table.spares(0).len()), (&[1, 2, 3, 4][..], 2));
    assert!(table.spares(0).contains(&5));
    assert_eq!(table.spares(0).last(), Some(&5), "the proven one is the first to be promoted");
}

#[test]
fn a_node_and_a_message_are_small() {
    assert!(size_of::<KademliaMessage<u32>>() <= 40);
    assert!(size_of::<Kademlia<u32>>() <= 280, "{}", size_of::<Kademlia<u32>>());
}

#[test]
fn questions_expire_in_the_order_they_were_asked() {
    let plan = Plan {
        k: 4,
        enough: 2,
        alpha: 2,
        strict: true,
        paths: 1,
        patience: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
    };
    let place = |peer: u32| Id::small(u64::from(peer), 8);
    let mut lookup = IterativeLookup::new(Id::ZERO, plan, &[9, 3, 5, 7], place);
    let ask = |lookup: &mut IterativeLookup<u32>, at| {
        lookup.ask(Time::from_secs(at), || at as u32).map(|question| question.peer)
    };
    assert_eq!((ask(&mut lookup, 0), ask(&mut lookup, 1), ask(&mut lookup, 1)), (Some(3), Some(5), None));
    assert_eq!((lookup.next_deadline(), lookup.expire(Time::ZERO)), (Some(Time::from_secs(1)), None));
    assert_eq!(lookup.expire(Time::from_secs(1)), Some(3));
    assert_eq!((ask(&mut lookup, 1), ask(&mut lookup, 1)), (Some(7), None));
    assert!(lookup.answer(1, 5, &[3, 4], place));
    assert_eq!(ask(&mut lookup, 2), Some(4), "3 failed, and 4 is closer than 7");
    lookup.unreachable(4);
    assert!(!lookup.is_over());
    assert!(lookup.answer(1, 7, &[], place));
    assert!(lookup.is_over() && lookup.timeouts() == 2);
    assert_eq!((lookup.closest(4, place), lookup.hops(4)), (vec![5, 7], Some(2)));
}

#[test]
fn a_silent_node_does_not_keep_others_from_being_asked() {
    let (patience, timeout) = (Duration::from_secs(1), Duration::from_secs(3));
    let plan = Plan { k: 4, enough: 4, alpha: 1, strict: true, paths: 1, patience, timeout };
    let place = |peer: u32| Id::small(u64::from(peer), 8);
    let mut lookup = IterativeLookup::new(Id::ZERO, plan, &[3, 5, 7], place);
    let ask = |lookup: &mut IterativeLookup<u32>, at| {
        lookup.ask(Time::from_secs(at), || at as u32).map(|question| question.peer)
    };
    assert_eq!((ask(&mut lookup, 0), ask(&mut lookup, 0)), (Some(3), None));
    assert_eq!((lookup.next_deadline(), lookup.expire(Time::from_secs(1))), (Some(Time::from_secs(1)), None));
    assert_eq!((ask(&mut lookup, 1), ask(&mut lookup, 1)), (Some(5), None));
    assert!(lookup.answer(0, 3, &[], place), "late, but in time");
    assert_eq!((ask(&mut lookup, 1), lookup.expire(Time::from_secs(4))), (None, Some(5)));
    assert_eq!((ask(&mut lookup, 4), lookup.is_over()), (Some(7), false));
    assert!(lookup.answer(4, 7, &[], place) && lookup.is_over());
    assert_eq!((lookup.closest(4, place), lookup.timeouts()), (vec![3, 7], 1));
}
