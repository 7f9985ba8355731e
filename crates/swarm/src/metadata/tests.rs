use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use starling_metainfo::{InfoHashes, Sha1Hash, Sha256Hash};
use starling_sansio::{Rng, Time};

use super::*;
use crate::ConnId;
use crate::extension::MetadataMessage;

const A: ConnId = ConnId(1);
const B: ConnId = ConnId(2);
const C: ConnId = ConnId(3);

fn metadata(len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    Rng::from_seed(len as u64).fill(&mut bytes);
    bytes.into()
}

fn hashes(bytes: &[u8]) -> InfoHashes {
    let v1 = Sha1Hash(Sha1::digest(bytes).into());
    let v2 = Sha256Hash(Sha256::digest(bytes).into());
    InfoHashes::new(Some(v1), Some(v2)).unwrap()
}

/// How a peer answers.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Manner {
    Honest,
    Lies,
    Stalls,
    Rejects,
}

/// A fetch and the peers it asks, on virtual time.
struct Swarm {
    right: Bytes,
    fetch: MetadataFetch,
    manners: BTreeMap<ConnId, Manner>,
    asked: BTreeMap<ConnId, usize>,
    failures: Vec<Option<ConnId>>,
    now: Time,
}

impl Swarm {
    fn new(len: usize, manners: &[(ConnId, Manner)]) -> Swarm {
        let right = metadata(len);
        let mut fetch = MetadataFetch::new(hashes(&right), MetadataLimits::default());
        manners.iter().for_each(|(conn, _)| assert!(fetch.on_peer(*conn, len as u64)));
        Swarm {
            right,
            fetch,
            manners: manners.iter().copied().collect(),
            asked: BTreeMap::new(),
            failures: Vec::new(),
            now: Time::from_secs(1),
        }
    }

    fn answer(&mut self, conn: ConnId, piece: u32) -> Progress {
        *self.asked.entry(conn).or_default() += 1;
        let manner = self.manners[&conn];
        if manner == Manner::Stalls {
            return Progress::Ignored;
        }
        let start = piece as usize * METADATA_PIECE;
        let mut bytes = self.right[start..self.right.len().min(start + METADATA_PIECE)].to_vec();
        match manner {
            Manner::Rejects => {
                self.fetch.on_reject(self.now, conn, piece);
                return Progress::Ignored;
            }
            Manner::Lies => bytes[0] ^= 1,
            Manner::Honest | Manner::Stalls => {}
        }
        self.fetch.on_data(conn, piece, Some(self.right.len() as u64), bytes.into())
    }

    /// Runs until the metadata is there; `None` if nothing more will happen in an hour.
    fn run(&mut self) -> Option<(Bytes, Vec<ConnId>)> {
        while self.now < Time::from_secs(3600) {
            let requests = self.fetch.poll(self.now);
            let idle = requests.is_empty();
            for (conn, piece) in requests {
                match self.answer(conn, piece) {
                    Progress::Complete { metadata, liars } => return Some((metadata, liars)),
                    Progress::Failed { liar } => self.failures.push(liar),
                    Progress::Misbehaved(why) => panic!("{why}"),
                    Progress::Ignored | Progress::Stored => {}
                }
            }
            if idle {
                let next = self.fetch.next_timeout()?;
                assert!(next > self.now, "a deadline that does not pass");
                self.now = next;
            }
        }
        None
    }
}

#[test]
fn honest_peers_share_the_work() {
    let mut swarm = Swarm::new(100_000, &[(A, Manner::Honest), (B, Manner::Honest)]);
    let right = swarm.right.clone();
    assert_eq!(swarm.run(), Some((right, vec![])));
    assert_eq!(swarm.asked, BTreeMap::from([(A, 4), (B, 3)]));
    assert_eq!((swarm.fetch.poll(swarm.now), swarm.fetch.next_timeout()), (vec![], None));
}

#[test]
fn a_liar_among_honest_peers_is_found_and_no_other() {
    let all = [(A, Manner::Honest), (B, Manner::Lies), (C, Manner::Honest)];
    let mut swarm = Swarm::new(100_000, &all);
    let right = swarm.right.clone();
    assert_eq!(swarm.run(), Some((right, vec![B])));
    assert_eq!(swarm.failures, [None]);
}

#[test]
fn a_liar_that_sent_all_of_it_is_named_at_once() {
    let mut swarm = Swarm::new(40_000, &[(A, Manner::Lies)]);
    assert_eq!(swarm.run(), None);
    assert_eq!(swarm.failures, [Some(A)]);
    assert_eq!(swarm.asked[&A], 3, "and is not asked again");
}

#[test]
fn stalls_and_rejects_only_cost_time() {
    for manner in [Manner::Stalls, Manner::Rejects] {
        let mut swarm = Swarm::new(100_000, &[(A, manner), (B, Manner::Honest)]);
        let right = swarm.right.clone();
        assert_eq!(swarm.run(), Some((right, vec![])));
        assert!(swarm.now < Time::from_secs(10), "the other peer is asked before the timeout");
    }
}

#[test]
fn a_size_nobody_delivers_gives_way_to_another() {
    let mut swarm = Swarm::new(100_000, &[(C, Manner::Honest)]);
    for (conn, size) in [(A, 30 << 20), (B, 30 << 20)] {
        assert!(swarm.fetch.on_peer(conn, size));
        swarm.manners.insert(conn, Manner::Stalls);
    }
    let right = swarm.right.clone();
    assert_eq!(swarm.run(), Some((right, vec![])));
}

#[test]
fn absurd_sizes_are_refused_before_anything_is_kept() {
    let mut fetch = MetadataFetch::new(hashes(b"x"), MetadataLimits::default());
    let max = MetadataLimits::default().size_max;
    assert!(!fetch.on_peer(A, 0) && !fetch.on_peer(A, max + 1) && !fetch.on_peer(A, u64::MAX));
    assert!(fetch.poll(Time::ZERO).is_empty());
    assert!(fetch.on_peer(A, max));
    assert_eq!(fetch.poll(Time::ZERO).len(), MetadataLimits::default().in_flight_max);
    assert!(!fetch.on_peer(A, max + 1), "a peer may not grow its claim beyond the bound");
    assert!(fetch.poll(Time::from_secs(1)).is_empty());
}

#[test]
fn a_peer_that_changes_its_mind_is_not_asked_again() {
    let right = metadata(20_000);
    let fresh = || {
        let mut fetch = MetadataFetch::new(hashes(&right), MetadataLimits::default());
        fetch.on_peer(A, 20_000);
        assert_eq!(fetch.poll(Time::ZERO), [(A, 0), (A, 1)]);
        fetch
    };
    let piece = |len: usize| Bytes::from(vec![0; len]);
    let cases = [(0, Some(1 << 40), 16384), (0, None, 16383), (1, None, 16384), (2, None, 1), (1, None, 0)];
    for (index, total, len) in cases {
        let mut fetch = fresh();
        assert!(matches!(fetch.on_data(A, index, total, piece(len)), Progress::Misbehaved(_)));
        assert!(fetch.poll(Time::from_secs(100)).is_empty());
    }
}

#[test]
fn what_was_not_asked_for_is_not_kept() {
    let right = metadata(100);
    let mut fetch = MetadataFetch::new(hashes(&right), MetadataLimits::default());
    fetch.on_peer(A, 100);
    assert_eq!(fetch.on_data(A, 0, None, right.clone()), Progress::Ignored);
    assert_eq!(fetch.on_data(B, 0, None, right.clone()), Progress::Ignored);
    assert_eq!(fetch.poll(Time::ZERO), [(A, 0)]);
    assert!(matches!(fetch.on_data(A, 0, None, right), Progress::Complete { .. }));
}

#[test]
fn both_hashes_must_be_right() {
    let right = metadata(100);
    let wrong_v2 = InfoHashes::new(hashes(&right).v1(), Some(Sha256Hash([0; 32]))).unwrap();
    let mut fetch = MetadataFetch::new(wrong_v2, MetadataLimits::default());
    fetch.on_peer(A, 100);
    fetch.poll(Time::ZERO);
    assert_eq!(fetch.on_data(A, 0, None, right), Progress::Failed { liar: Some(A) });
}

#[test]
fn serving_gives_each_piece_and_not_without_end() {
    let right = metadata(40_000);
    let mut server = MetadataServer::new(right.clone(), MetadataLimits::default());
    let mut got = Vec::new();
    for piece in 0..3 {
        let MetadataMessage::Data { bytes, total_size, .. } = server.answer(Time::ZERO, A, piece) else {
            panic!("piece {piece} rejected");
        };
        assert_eq!(total_size, Some(40_000));
        got.extend_from_slice(&bytes);
    }
    assert_eq!(got, right);
    assert_eq!(server.answer(Time::ZERO, A, 3), MetadataMessage::Reject { piece: 3 });
    assert_eq!(server.answer(Time::ZERO, A, u32::MAX), MetadataMessage::Reject { piece: u32::MAX });
    let mut flood = |now| (0..100).filter(|_| is_data(&server.answer(now, A, 0))).count();
    assert_eq!(flood(Time::ZERO), 3, "two copies of three pieces, three of them had");
    assert_eq!(flood(Time::from_secs(30)), 3);
    assert!(is_data(&server.answer(Time::ZERO, B, 0)), "another peer has its own allowance");
}

fn is_data(message: &MetadataMessage) -> bool {
    matches!(message, MetadataMessage::Data { .. })
}

proptest! {
    /// Whatever the others do, one honest peer is enough, and only liars are named.
    #[test]
    fn one_honest_peer_is_enough(len in 1usize..200_000, manners in proptest::collection::vec(0u8..4, 0..5)) {
        let of = |n| [Manner::Honest, Manner::Lies, Manner::Stalls, Manner::Rejects][usize::from(n)];
        let mut all: Vec<(ConnId, Manner)> = (10..).map(ConnId).zip(manners.into_iter().map(of)).collect();
        all.push((A, Manner::Honest));
        let mut swarm = Swarm::new(len, &all);
        let right = swarm.right.clone();
        let (got, liars) = swarm.run().ok_or_else(|| TestCaseError::fail("never came"))?;
        prop_assert_eq!(got, right);
        for conn in liars.into_iter().chain(swarm.failures.iter().flatten().copied()) {
            prop_assert_eq!(swarm.manners[&conn], Manner::Lies);
        }
    }
}
