use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use starling_metainfo::merkle::root_from_leaves;
use starling_metainfo::{BLOCK_LENGTH, FileEntry, Info, InfoHashes, Layout, PieceLength, Sha256Hash};
use starling_sansio::{Rng, Time};

use super::*;

const A: ConnId = ConnId(1);
const B: ConnId = ConnId(2);

/// A torrent whose blocks are nothing but their digests.
struct World {
    info: Info,
    layers: BTreeMap<Sha256Hash, Vec<Sha256Hash>>,
    /// Of each piece.
    leaves: Vec<Vec<Sha256Hash>>,
}

/// A v2 torrent with a file of so many blocks each.
fn world(blocks: &[u32], piece_blocks: u32) -> World {
    let mut rng = Rng::from_seed(5);
    let (mut layers, mut leaves, mut files) = (BTreeMap::new(), Vec::new(), Vec::new());
    for &count in blocks {
        let digests: Vec<Sha256Hash> = (0..count).map(|_| random(&mut rng)).collect();
        let pieces: Vec<Vec<Sha256Hash>> = digests.chunks(piece_blocks as usize).map(<[_]>::to_vec).collect();
        let root = root_from_leaves(&digests, 1);
        if pieces.len() > 1 {
            layers.insert(root, pieces.iter().map(|piece| root_from_leaves(piece, piece_blocks)).collect());
        }
        leaves.extend(pieces);
        files.push(file(u64::from(count) * u64::from(BLOCK_LENGTH), root));
    }
    let piece_length = PieceLength::new(u64::from(piece_blocks * BLOCK_LENGTH)).unwrap();
    let layout = Layout::new(piece_length, files, true).unwrap();
    let hashes = InfoHashes::new(None, Some(Sha256Hash([1; 32]))).unwrap();
    let (name, bytes) = ("t".to_owned(), Bytes::new());
    let (single_file, private) = (false, false);
    let info = Info { name, layout, single_file, v1_pieces: None, v2: true, private, bytes, hashes };
    World { info, layers, leaves }
}

fn file(length: u64, root: Sha256Hash) -> FileEntry {
    FileEntry {
        path: vec![format!("{length}")],
        raw: None,
        length,
        offset: 0,
        padding: false,
        executable: false,
        hidden: false,
        pieces_root: Some(root),
    }
}

fn random(rng: &mut Rng) -> Sha256Hash {
    let mut bytes = [0; 32];
    rng.fill(&mut bytes);
    Sha256Hash(bytes)
}

impl World {
    fn seed(&self) -> HashStore {
        HashStore::new(&self.info, self.layers.clone(), HashLimits::default())
    }

    fn magnet(&self, peers: &[ConnId]) -> HashStore {
        let mut store = HashStore::new(&self.info, BTreeMap::new(), HashLimits::default());
        peers.iter().for_each(|conn| store.on_peer(*conn));
        store
    }

    /// What a seed says to a request, the disk asked where it must be.
    fn answer(&self, seed: &mut HashStore, now: Time, range: HashRange) -> Message {
        match seed.on_request(now, A, range, |_| true) {
            Answer::Send(message) => message,
            Answer::Digest(piece) => {
                let piece = piece.expect("one request at a time");
                let mut answers = seed.on_digests(piece, &self.leaves[piece as usize]);
                assert_eq!(answers.len(), 1);
                answers.remove(0).1
            }
        }
    }

    /// Lets `store` ask a seed, through `twist`, until nothing more comes in an hour.
    fn run(
        &self,
        store: &mut HashStore,
        mut twist: impl FnMut(ConnId, Message) -> Option<Message>,
    ) -> Vec<(ConnId, HashProgress)> {
        let (mut seed, mut now, mut seen) = (self.seed(), Time::ZERO, Vec::new());
        while now < Time::from_secs(3600) {
            let requests = store.poll(now, |_, _| true);
            let idle = requests.is_empty();
            for (conn, range) in requests {
                let answer = self.answer(&mut seed, now, range);
                match twist(conn, answer) {
                    Some(Message::Hashes { range, hashes }) => {
                        seen.push((conn, store.on_hashes(conn, range, &hashes)));
                    }
                    Some(Message::HashReject(range)) => store.on_reject(now, conn, range),
                    Some(other) => panic!("{other:?}"),
                    None => {}
                }
            }
            if idle {
                let Some(next) = store.next_timeout() else { break };
                assert!(next > now, "a deadline that does not pass");
                now = next;
            }
        }
        seen
    }
}

fn lie(message: Message) -> Message {
    match message {
        Message::Hashes { range, mut hashes } => {
            hashes[0].0[0] ^= 1;
            Message::Hashes { range, hashes }
        }
        other => other,
    }
}

#[test]
fn layers_that_are_missing_are_fetched() {
    let world = world(&[4 * 1500, 3, 4 * 2 + 1, 4], 4);
    let mut store = world.magnet(&[A, B]);
    assert!(!store.is_complete());
    let seen = world.run(&mut store, |_, message| Some(message));
    assert!(store.is_complete());
    let mut known: Vec<(Vec<usize>, Vec<Sha256Hash>)> = Vec::new();
    for (_, progress) in seen {
        match progress {
            HashProgress::LayerKnown { files, roots } => known.push((files, roots)),
            other => assert_eq!(other, HashProgress::Stored),
        }
    }
    known.sort();
    let roots = |index: usize| world.layers[&world.info.layout.files()[index].pieces_root.unwrap()].clone();
    assert_eq!(known, [(vec![0], roots(0)), (vec![2], roots(2))]);
    for piece in 0..world.info.layout.pieces() {
        assert_eq!(store.piece_root(piece), world.seed().piece_root(piece));
        assert!(store.piece_root(piece).is_some());
    }
    assert_eq!(store.piece_root(world.info.layout.pieces()), None);
}

#[test]
fn requests_are_as_the_specification_wants_them() {
    let world = world(&[4 * 513], 4);
    let mut store = world.magnet(&[A]);
    let requests = store.poll(Time::ZERO, |_, _| true);
    let shapes: Vec<(u32, u32, u32, u32)> =
        requests.iter().map(|(_, r)| (r.base_layer, r.index, r.length, r.proof_layers)).collect();
    // 1024 nodes wide: ten layers up to the root, which needs no proof itself.
    assert_eq!(shapes, [(2, 0, 512, 9), (2, 512, 2, 9)]);
}

#[test]
fn a_lie_convicts_its_sender_and_another_is_asked() {
    let world = world(&[4 * 1500], 4);
    let mut store = world.magnet(&[A, B]);
    let seen = world.run(&mut store, |conn, message| Some(if conn == A { lie(message) } else { message }));
    assert!(store.is_complete());
    let lies: Vec<ConnId> = seen.iter().filter(|s| s.1 == HashProgress::Lie).map(|s| s.0).collect();
    assert_eq!(lies, [A]);
}

#[test]
fn rejects_and_silence_only_cost_time() {
    let world = world(&[4 * 1500], 4);
    for silent in [true, false] {
        let mut store = world.magnet(&[A, B]);
        world.run(&mut store, |conn, message| match message {
            Message::Hashes { range, .. } if conn == A => (!silent).then_some(Message::HashReject(range)),
            other => Some(other),
        });
        assert!(store.is_complete());
    }
}

#[test]
fn who_has_the_pieces_is_asked_first() {
    let world = world(&[4 * 20], 4);
    let mut store = world.magnet(&[A, B]);
    let requests = store.poll(Time::ZERO, |conn, pieces| conn == B && pieces.contains(&19));
    assert_eq!(requests.iter().map(|r| r.0).collect::<Vec<_>>(), [B]);
    store.on_disconnect(B);
    let again = store.poll(Time::ZERO, |_, _| false);
    assert_eq!(again.iter().map(|r| r.0).collect::<Vec<_>>(), [A], "but others may know, too");
}

#[test]
fn leaves_of_a_failed_piece_come_and_are_right() {
    let world = world(&[2048 * 2 + 3, 5, 1], 2048);
    for piece in 0..world.info.layout.pieces() {
        let mut store = world.seed();
        store.on_peer(A);
        let leaves = store.want_leaves(piece).or_else(|| {
            let seen = world.run(&mut store, |_, message| Some(message));
            seen.into_iter().find_map(|(_, progress)| match progress {
                HashProgress::Leaves { piece: of, leaves } if of == piece => Some(leaves),
                _ => None,
            })
        });
        assert_eq!(leaves.as_ref(), Some(&world.leaves[piece as usize]), "piece {piece}");
        assert!(store.poll(Time::from_secs(99), |_, _| true).is_empty(), "and are not asked for again");
    }
    assert_eq!(world.seed().want_leaves(99), None);
}

#[test]
fn false_leaves_convict_too() {
    let world = world(&[64], 8);
    let mut store = world.seed();
    store.on_peer(A);
    assert_eq!(store.want_leaves(3), None);
    let seen = world.run(&mut store, |_, message| Some(lie(message)));
    assert_eq!(seen, [(A, HashProgress::Lie)]);
    store.forget_leaves(3);
    assert!(store.poll(Time::from_secs(99), |_, _| true).is_empty());
}

#[test]
fn answers_that_were_not_asked_for_are_ignored() {
    let world = world(&[4 * 1500], 4);
    let mut store = world.magnet(&[A, B]);
    let (conn, range) = store.poll(Time::ZERO, |_, _| true)[0];
    let Message::Hashes { hashes, .. } = world.answer(&mut world.seed(), Time::ZERO, range) else { panic!() };
    let other = if conn == A { B } else { A };
    assert_eq!(store.on_hashes(other, range, &hashes), HashProgress::Ignored);
    let widened = HashRange { proof_layers: u32::MAX, ..range };
    assert_eq!(store.on_hashes(conn, widened, &hashes), HashProgress::Ignored);
    assert_eq!(store.on_hashes(conn, range, &[]), HashProgress::Ignored, "too few: no proof of a lie");
    assert_eq!(store.on_hashes(conn, range, &hashes), HashProgress::Ignored, "and that was its answer");
    let next = store.poll(Time::from_secs(1), |who, _| who == conn);
    assert!(next.iter().all(|request| request.0 == other), "which costs it a pause");
}

#[test]
fn absurd_requests_are_rejected() {
    let world = world(&[4 * 100, 1], 4);
    let mut seed = world.seed();
    let root = world.info.layout.files()[0].pieces_root.unwrap();
    let good = HashRange { pieces_root: root, base_layer: 2, index: 0, length: 128, proof_layers: 0 };
    let bad = [
        HashRange { pieces_root: Sha256Hash([9; 32]), ..good },
        HashRange { base_layer: u32::MAX, ..good },
        HashRange { index: u32::MAX, ..good },
        HashRange { index: 128, ..good },
        HashRange { length: 0, ..good },
        HashRange { length: 3, ..good },
        HashRange { length: 1 << 31, ..good },
        HashRange { proof_layers: u32::MAX, ..good },
        // Leaves across two pieces, and of a piece beyond the file.
        HashRange { base_layer: 0, index: 0, length: 8, ..good },
        HashRange { base_layer: 0, index: 400, length: 4, ..good },
    ];
    for range in bad {
        let answer = seed.on_request(Time::ZERO, A, range, |_| true);
        assert_eq!(answer, Answer::Send(Message::HashReject(range)));
    }
    assert!(matches!(world.answer(&mut seed, Time::ZERO, good), Message::Hashes { .. }));
    assert_eq!(
        world.magnet(&[]).on_request(Time::ZERO, A, good, |_| true),
        Answer::Send(Message::HashReject(good))
    );
}

#[test]
fn leaves_are_given_only_of_pieces_that_we_have_and_only_if_right() {
    let world = world(&[64], 8);
    let mut seed = world.seed();
    let root = world.info.layout.files()[0].pieces_root.unwrap();
    let range = HashRange { pieces_root: root, base_layer: 0, index: 16, length: 8, proof_layers: 5 };
    let reject = Message::HashReject(range);
    assert_eq!(seed.on_request(Time::ZERO, A, range, |_| false), Answer::Send(reject.clone()));
    assert_eq!(seed.on_request(Time::ZERO, A, range, |piece| piece == 2), Answer::Digest(Some(2)));
    assert_eq!(seed.on_request(Time::ZERO, B, range, |_| true), Answer::Digest(None));
    assert_eq!(seed.on_digests(2, &world.leaves[3]), [(A, reject.clone()), (B, reject.clone())]);
    assert_eq!(seed.on_request(Time::ZERO, A, range, |_| true), Answer::Digest(Some(2)));
    assert_eq!(seed.on_digests(2, &[]), [(A, reject)]);
    assert_eq!(seed.on_digests(2, &world.leaves[2]), []);
}

#[test]
fn a_flood_of_requests_is_bounded() {
    let world = world(&[4 * 1024], 4);
    let mut seed = world.seed();
    let root = world.info.layout.files()[0].pieces_root.unwrap();
    let range = HashRange { pieces_root: root, base_layer: 2, index: 0, length: 1024, proof_layers: 0 };
    let mut served = |now| {
        let answers = (0..1000).map(|_| seed.on_request(now, A, range, |_| true));
        answers.filter(|answer| matches!(answer, Answer::Send(Message::Hashes { .. }))).count()
    };
    let limits = HashLimits::default();
    assert_eq!(served(Time::ZERO), (limits.serve_burst / 1024) as usize);
    assert_eq!(served(Time::from_secs(1)), (limits.serve_rate / 1024) as usize);
}

#[test]
fn torrents_without_v2_have_nothing_to_ask() {
    let mut world = world(&[4 * 1500], 4);
    world.info.v2 = false;
    let mut store = world.magnet(&[A]);
    assert!(store.is_complete() && store.poll(Time::ZERO, |_, _| true).is_empty());
    assert_eq!((store.next_timeout(), store.want_leaves(0), store.piece_root(0)), (None, None, None));
}

proptest! {
    /// Every request that the shape allows gets an answer that the shape finds right.
    #[test]
    fn fetching_works_for_every_shape(
        blocks in proptest::collection::vec(1u32..300, 1..4),
        piece_log in 0u32..6,
        nodes_log in 1u32..6,
    ) {
        let world = world(&blocks, 1 << piece_log);
        let limits = HashLimits { request_nodes: 1 << nodes_log, ..HashLimits::default() };
        let mut store = HashStore::new(&world.info, BTreeMap::new(), limits);
        store.on_peer(A);
        let lies = |seen: &[(ConnId, HashProgress)]| seen.iter().any(|s| s.1 == HashProgress::Lie);
        let seen = world.run(&mut store, |_, message| Some(message));
        prop_assert!(!lies(&seen) && store.is_complete());
        for piece in 0..world.info.layout.pieces() {
            let known = store.want_leaves(piece);
            let seen = world.run(&mut store, |_, message| Some(message));
            let mut come = seen.into_iter().filter_map(|(_, progress)| match progress {
                HashProgress::Leaves { leaves, .. } => Some(leaves),
                _ => None,
            });
            let leaves = known.or_else(|| come.next());
            prop_assert_eq!(leaves.as_ref(), Some(&world.leaves[piece as usize]));
        }
    }

    #[test]
    fn arbitrary_requests_never_panic(base in 0u32..40, index: u32, length_log in 0u32..32, proof in 0u32..40) {
        let world = world(&[100, 3], 4);
        let mut seed = world.seed();
        for file in world.info.layout.files() {
            let pieces_root = file.pieces_root.unwrap();
            let length = 1 << length_log;
            for index in [index, index % 128 / length * length] {
                let range = HashRange { pieces_root, base_layer: base, index, length, proof_layers: proof };
                world.answer(&mut seed, Time::ZERO, range);
            }
        }
    }
}
