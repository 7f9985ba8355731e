use starling_sansio::Rng;

use super::*;

fn posting(what: u64, provider: u32, secs: u64) -> Posting<u32> {
    let record = Record { key: Id::from_high(what), name: "name".into(), size: 1 };
    Posting { record, provider, expires: Time::from_secs(secs) }
}

/// Ten peers are of one household.
fn house(peer: u32) -> u64 {
    u64::from(peer / 10)
}

#[test]
fn a_provider_replaces_what_it_said_and_only_withdraws_its_own() {
    let (key, limits) = (Id::ZERO, PostingLimits::default());
    let mut postings = Postings::default();
    postings.put(key, posting(1, 7, 10), &limits, house).unwrap();
    let one = postings.bytes();
    postings.put(key, posting(1, 7, 20), &limits, house).unwrap();
    assert_eq!((postings.get(key, Time::from_secs(15)).count(), postings.bytes()), (1, one));
    postings.put(key, posting(2, 7, 10), &limits, house).unwrap();
    postings.put(key, posting(1, 7, 20), &limits, house).unwrap();
    let order: Vec<Id> = postings.get(key, Time::ZERO).map(|one| one.record.key).collect();
    assert_eq!(order, [1, 2].map(Id::from_high), "a renewal keeps its place");
    assert!(postings.withdraw(key, 7, Id::from_high(2), house));
    assert!(!postings.withdraw(key, 8, Id::from_high(1), house));
    assert!(postings.withdraw(key, 7, Id::from_high(1), house));
    assert_eq!((postings.is_empty(), postings.bytes()), (true, 0));
}

#[test]
fn every_bound_holds() {
    let limits = PostingLimits { keys: 2, per_key: 3, per_provider: 2, bytes: usize::MAX };
    let mut postings = Postings::default();
    let key = Id::from_high;
    for what in 0..2 {
        postings.put(key(0), posting(what, 7, 10), &limits, house).unwrap();
    }
    assert_eq!(postings.put(key(0), posting(2, 7, 10), &limits, house), Err(Full));
    postings.put(key(0), posting(2, 8, 10), &limits, house).unwrap();
    assert_eq!(postings.put(key(0), posting(2, 9, 10), &limits, house), Err(Full));
    postings.put(key(1), posting(1, 7, 10), &limits, house).unwrap();
    assert_eq!(postings.put(key(2), posting(1, 7, 10), &limits, house), Err(Full));
    let limits = PostingLimits { bytes: postings.bytes(), ..limits };
    assert_eq!(postings.put(key(1), posting(2, 7, 10), &limits, house), Err(Full));
    postings.put(key(1), posting(1, 7, 11), &limits, house).unwrap();
}

#[test]
fn what_expired_is_gone_and_frees_its_bytes() {
    let mut postings = Postings::default();
    for secs in 1..=3 {
        postings.put(Id::from_high(secs), posting(secs, 7, secs), &PostingLimits::default(), house).unwrap();
    }
    assert_eq!(postings.get(Id::from_high(2), Time::from_secs(2)).count(), 0);
    postings.expire(Time::from_secs(2), house);
    assert_eq!(postings.keys().collect::<Vec<_>>(), [Id::from_high(3)]);
    postings.remove(Id::from_high(3), house);
    assert_eq!(postings.bytes(), 0);
}

/// One household fills all; others come, each with as much, and get equal shares.
fn shares_of_a_full_store(limits: PostingLimits, under: impl Fn(u64) -> Id) -> BTreeMap<u64, usize> {
    let mut postings = Postings::default();
    for provider in [0, 10, 20, 30] {
        for what in 0..200 {
            // A household's peers take turns, and get no more for it.
            let whose = provider + what as u32 % 10;
            let one = posting(1000 * u64::from(provider) + what, whose, 10);
            let _ = postings.put(under(one.record.key.high()), one, &limits, house);
        }
    }
    assert!(postings.bytes() <= limits.bytes && postings.len() <= limits.keys);
    let counted = postings.shares(house).bytes;
    assert_eq!(counted.values().sum::<usize>(), postings.bytes());
    assert!(postings.full.is_none_or(|full| full.bytes == counted));
    counted
}

#[test]
fn a_full_store_gives_each_household_its_share() {
    let one = cost(&posting(1, 1, 1));
    let own_keys = PostingLimits { keys: 100, ..PostingLimits::default() };
    let shares = shares_of_a_full_store(own_keys, Id::from_high);
    assert_eq!(shares, (0..4).map(|house| (house, 25 * one)).collect());
    let bytes = PostingLimits { bytes: 100 * one, ..PostingLimits::default() };
    let one_key = PostingLimits { per_key: 100, ..PostingLimits::default() };
    let shares = shares_of_a_full_store(one_key, |_| Id::ZERO);
    assert_eq!(shares, (0..4).map(|house| (house, 25 * one)).collect(), "under one key");
    for keys in [1, 7, 1000] {
        let shares = shares_of_a_full_store(bytes, |what| Id::from_high(what % keys));
        assert_eq!(shares, (0..4).map(|house| (house, 25 * one)).collect(), "{keys} keys");
    }
}

/// Who has one less takes nobody's place: the two would change places for ever.
#[test]
fn nearly_as_much_as_another_has_displaces_nothing() {
    let (key, limits) = (Id::ZERO, PostingLimits { per_key: 3, ..PostingLimits::default() });
    let mut postings = Postings::default();
    for (what, provider) in [(1, 0), (2, 0), (3, 10)] {
        postings.put(key, posting(what, provider, 10), &limits, house).unwrap();
    }
    assert_eq!(postings.put(key, posting(4, 10, 10), &limits, house), Err(Full));
    assert!(postings.find(key, 0, Id::from_high(2)).is_some());
}

/// Two households have a posting under each key, and under one a third has, too.
#[test]
fn households_that_share_their_keys_lock_nobody_out() {
    let limits = PostingLimits { keys: 100, ..PostingLimits::default() };
    let mut postings = Postings::default();
    for what in 0..100 {
        for provider in [0, 10] {
            postings.put(Id::from_high(what), posting(what, provider, 10), &limits, house).unwrap();
        }
    }
    postings.put(Id::from_high(50), posting(50, 20, 10), &limits, house).unwrap();
    for what in 1000..1200 {
        let _ = postings.put(Id::from_high(what), posting(what, 30, 10), &limits, house);
    }
    let counted = postings.shares(house).bytes;
    assert_eq!(postings.full.as_ref().map(|full| &full.bytes), Some(&counted));
    let one = cost(&posting(1, 1, 1));
    let shares: Vec<usize> = counted.values().map(|bytes| bytes / one).collect();
    assert_eq!((shares, postings.len()), (vec![50, 50, 1, 50], 100));
    assert!(postings.find(Id::from_high(50), 20, Id::from_high(50)).is_some(), "it has no more than others");
}

#[test]
fn what_leaves_a_full_store_leaves_its_share() {
    let limits = PostingLimits { keys: 10, ..PostingLimits::default() };
    let mut postings = Postings::default();
    for what in 0..12 {
        let _ = postings.put(Id::from_high(what), posting(what, 0, 1 + what), &limits, house);
    }
    assert_eq!(postings.put(Id::from_high(20), posting(20, 5, 10), &limits, house), Err(Full));
    postings.put(Id::from_high(20), posting(20, 50, 10), &limits, house).unwrap();
    assert!(postings.withdraw(Id::from_high(5), 0, Id::from_high(5), house));
    postings.remove(Id::from_high(6), house);
    let counted = postings.shares(house).bytes;
    assert_eq!(postings.full.as_ref().map(|full| &full.bytes), Some(&counted));
    postings.expire(Time::from_secs(3), house);
    let counted = postings.shares(house).bytes;
    assert_eq!(postings.full.as_ref().map(|full| &full.bytes), Some(&counted));
    postings.expire(Time::from_secs(30), house);
    assert!(postings.is_empty() && postings.full.is_none());
}

/// What many households would post: under some keys several postings of one, and those of
/// several.
fn many_households(rng: &mut Rng, name: impl Fn(&mut Rng) -> usize) -> Vec<(Id, Posting<u32>)> {
    let mut wanted = Vec::new();
    for what in 0..600 {
        // Some households have much, most a little.
        let peer = 10 * rng.index(40).min(rng.index(40)) + rng.index(10);
        let key = Id::from_high(rng.below(500));
        for part in 0..=rng.below(6) {
            let mut one = posting(10 * what + part, peer as u32, 10);
            one.record.name = "n".repeat(name(rng)).into();
            wanted.push((key, one));
        }
    }
    wanted
}

/// After a while of renewals nothing changes place any more in a store that is full.
fn settles(limits: PostingLimits, name: impl Fn(&mut Rng) -> usize) {
    for seed in 0..4 {
        let mut rng = Rng::from_seed(seed);
        let mut wanted = many_households(&mut rng, &name);
        let mut postings = Postings::default();
        let mut renew = || {
            rng.shuffle(&mut wanted);
            let came = wanted.iter().filter(|(key, one)| {
                let known = postings.find(*key, one.provider, one.record.key).is_some();
                postings.put(*key, one.clone(), &limits, house).is_ok() && !known
            });
            came.count()
        };
        let came: Vec<usize> = (0..20).map(|_| renew()).collect();
        assert!(came[0] < wanted.len(), "it is not full");
        assert_eq!(came[10..], [0; 10], "seed {seed}: {came:?}");
    }
}

#[test]
fn a_store_that_is_full_of_keys_settles() {
    settles(PostingLimits { keys: 200, ..PostingLimits::default() }, |_| 4);
    settles(PostingLimits { keys: 200, ..PostingLimits::default() }, |rng| rng.index(250));
}

#[test]
fn a_store_that_is_full_of_bytes_settles() {
    settles(PostingLimits { bytes: 80_000, ..PostingLimits::default() }, |rng| rng.index(250));
}

#[test]
fn a_store_that_is_full_in_every_way_settles() {
    let limits = PostingLimits { keys: 200, per_key: 6, per_provider: 3, bytes: 80_000 };
    settles(limits, |rng| rng.index(250));
}

fn named(what: u64, provider: u32, name: usize) -> Posting<u32> {
    let mut one = posting(what, provider, 10);
    one.record.name = "n".repeat(name).into();
    one
}

/// All that is kept, and what is noted of it.
fn all_of(postings: &Postings<u32>) -> Vec<(Id, Option<u32>, Vec<Posting<u32>>)> {
    let shelves = postings.shelves.iter();
    shelves.map(|(key, shelf)| (*key, shelf.last_replica, shelf.postings.clone())).collect()
}

#[test]
fn what_is_given_up_in_vain_is_put_back() {
    let mut postings = Postings::default();
    for what in 0..5 {
        let key = Id::from_high(what);
        postings.put(key, posting(what, 0, 10), &PostingLimits::default(), house).unwrap();
        postings.note_last_replica(key, Some(what as u32));
    }
    let (before, one) = (all_of(&postings), cost(&posting(1, 1, 1)));
    // To take one is fair, to take the second is not.
    let wanted = named(9, 10, 3 * one - size_of::<Posting<u32>>() - 1);
    let bytes = PostingLimits { bytes: postings.bytes(), ..PostingLimits::default() };
    assert_eq!(postings.put(Id::from_high(9), wanted.clone(), &bytes, house), Err(Full));
    assert_eq!(all_of(&postings), before);
    assert_eq!(
        postings.put(Id::from_high(9), wanted.clone(), &PostingLimits { keys: 5, ..bytes }, house),
        Err(Full)
    );
    assert_eq!(all_of(&postings), before);
    let counted = postings.shares(house).bytes;
    assert_eq!(postings.full.as_ref().map(|full| &full.bytes), Some(&counted));

    // A place under the key is free to be taken, but no bytes are.
    let mut postings = Postings::default();
    for (what, provider) in [(0, 0), (1, 0), (2, 0), (3, 20)] {
        postings.put(Id::ZERO, posting(what, provider, 10), &PostingLimits::default(), house).unwrap();
    }
    let before = all_of(&postings);
    let limits = PostingLimits { per_key: 4, bytes: postings.bytes(), ..PostingLimits::default() };
    assert_eq!(postings.put(Id::ZERO, wanted, &limits, house), Err(Full));
    assert_eq!(all_of(&postings), before);
}

/// Who has most has all of it in one long name: others give way who still keep enough.
#[test]
fn one_long_name_neither_goes_nor_keeps_others_in_their_places() {
    let mut postings = Postings::default();
    postings.put(Id::ZERO, named(0, 0, 400), &PostingLimits::default(), house).unwrap();
    for what in 1..=5 {
        postings.put(Id::from_high(what), posting(what, 10, 10), &PostingLimits::default(), house).unwrap();
    }
    let limits = PostingLimits { bytes: postings.bytes(), ..PostingLimits::default() };
    for what in 20..30 {
        let _ = postings.put(Id::from_high(what), posting(what, 20, 10), &limits, house);
    }
    let one = cost(&posting(1, 1, 1));
    let shares: Vec<usize> = postings.shares(house).bytes.values().map(|bytes| bytes / one).collect();
    assert_eq!(shares, [(one - 4 + 400) / one, 3, 2]);
}

/// One posting looks at a part of a large store, and the next goes on from there.
#[test]
fn what_may_be_displaced_is_found_in_the_end_in_a_large_store() {
    for per_key in [1, 3 * 2048] {
        let mut postings = Postings::default();
        let limits = PostingLimits { per_key, ..PostingLimits::default() };
        let under = |what: u64| Id::from_high(if per_key == 1 { what } else { what / 4096 });
        for what in 0..8192 {
            let whose = if what >= 8190 { 0 } else { 10 + 10 * what as u32 };
            postings.put(under(what), posting(what, whose, 10), &limits, house).unwrap();
        }
        let limits = PostingLimits { bytes: postings.bytes(), ..limits };
        let mut wanted = || postings.put(Id::from_high(9000), posting(9000, 900_000, 10), &limits, house);
        let tries = (0..8).position(|_| wanted().is_ok());
        assert!(tries.is_some_and(|tries| tries > 0), "{per_key} under a key: {tries:?}");
    }
}

/// Under a key that is full it matters what a household has there, not elsewhere.
#[test]
fn who_has_much_elsewhere_gets_into_a_full_key() {
    let mut postings = Postings::default();
    let limits = PostingLimits { per_key: 4, ..PostingLimits::default() };
    for (what, provider) in [(1, 0), (2, 0), (3, 10), (4, 10)] {
        postings.put(Id::ZERO, posting(what, provider, 10), &limits, house).unwrap();
    }
    for what in 10..30 {
        postings.put(Id::from_high(what), posting(what, 20, 10), &limits, house).unwrap();
    }
    let full = PostingLimits { bytes: postings.bytes(), ..limits };
    assert_eq!(postings.put(Id::ZERO, posting(5, 20, 10), &full, house), Ok(()));
    assert_eq!(postings.put(Id::ZERO, posting(6, 20, 10), &full, house), Err(Full));
}
