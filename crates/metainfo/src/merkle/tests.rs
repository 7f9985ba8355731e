use proptest::prelude::*;

use super::*;

fn leaf(n: u32) -> Sha256Hash {
    sha256(&n.to_be_bytes())
}

fn leaves(n: u32) -> Vec<Sha256Hash> {
    (0..n).map(leaf).collect()
}

/// All layers of the tree over `leaves`, the slow and obvious way.
fn layers(leaves: &[Sha256Hash]) -> Vec<Vec<Sha256Hash>> {
    let mut bottom = leaves.to_vec();
    bottom.resize(leaves.len().next_power_of_two(), ZERO);
    let mut all = vec![bottom];
    while all[all.len() - 1].len() > 1 {
        all.push(all[all.len() - 1].chunks(2).map(|pair| parent(pair[0], pair[1])).collect());
    }
    all
}

fn shape(blocks: u32, piece_blocks: u32) -> TreeShape {
    let piece = PieceLength::new(u64::from(piece_blocks * BLOCK_LENGTH)).unwrap();
    TreeShape::new(u64::from(blocks) * u64::from(BLOCK_LENGTH) - 5, piece).unwrap()
}

/// A file's piece layer as a torrent has it.
fn piece_layer(leaves: &[Sha256Hash], piece_blocks: u32) -> Vec<Sha256Hash> {
    leaves.chunks(piece_blocks as usize).map(|piece| root_from_leaves(piece, piece_blocks)).collect()
}

#[test]
fn small_trees_by_hand() {
    let [a, b, c] = [leaf(0), leaf(1), leaf(2)];
    assert_eq!(root(&[], ZERO), ZERO);
    assert_eq!(root(&[a], ZERO), a);
    assert_eq!(root(&[a, b, c], ZERO), parent(parent(a, b), parent(c, ZERO)));
    let zeros = parent(ZERO, ZERO);
    assert_eq!((pad(0), pad(1), pad(2)), (ZERO, zeros, parent(zeros, zeros)));
    assert_eq!(root_from_leaves(&[a], 1), a);
    assert_eq!(root_from_leaves(&[a], 4), parent(parent(a, ZERO), zeros));
    assert_eq!(root_from_leaves(&[a, b, c], 1), root(&[a, b, c], ZERO));
}

#[test]
fn a_piece_layer_has_the_same_root_as_the_leaves() {
    for blocks in 1..40 {
        for piece_blocks in [1, 2, 4, 8] {
            if blocks > piece_blocks {
                let all = leaves(blocks);
                let layer = piece_layer(&all, piece_blocks);
                assert_eq!(layer.len() as u32, shape(blocks, piece_blocks).pieces());
                assert_eq!(
                    root(&layer, pad(piece_blocks.ilog2())),
                    root(&all, ZERO),
                    "{blocks} {piece_blocks}"
                );
            }
        }
    }
}

#[test]
fn proofs_are_those_of_the_whole_tree() {
    for n in 1..20u32 {
        let all = layers(&leaves(n));
        let root = all[all.len() - 1][0];
        for height in 0..all.len() {
            let len = 1usize << height;
            for index in (0..all[0].len()).step_by(len) {
                let uncles = proof(&leaves(n), ZERO, index, len).unwrap();
                let by_hand: Vec<_> = (height..all.len() - 1).map(|h| all[h][(index >> h) ^ 1]).collect();
                assert_eq!(uncles, by_hand, "{n} {index} {len}");
                assert!(check_proof(&all[0][index..index + len], index, &uncles, root));
            }
        }
    }
}

#[test]
fn requests_beyond_the_tree_are_refused() {
    let tree = shape(10, 4); // 16 leaves, 4 piece nodes
    let range =
        |base_layer, index, length, proof_layers| NodeRange { base_layer, index, length, proof_layers };
    assert!(
        tree.allows(range(0, 0, 16, 0)) && tree.allows(range(2, 2, 2, 1)) && tree.allows(range(0, 14, 2, 3))
    );
    for bad in [
        range(0, 0, 1, 0),
        range(0, 0, 3, 0),
        range(0, 0, 0, 0),
        range(0, 0, 32, 0),
        range(0, 1, 2, 0),
        range(0, 16, 2, 0),
        range(5, 0, 2, 0),
        range(0, 0, 2, 5),
        range(u32::MAX, u32::MAX, u32::MAX, u32::MAX),
        range(0, 1 << 31, 1 << 31, 0),
        range(0, 0, 16384, 0),
    ] {
        assert!(!tree.allows(bad), "{bad:?}");
        assert!(!tree.check(bad, &[ZERO; 64], ZERO), "{bad:?}");
    }
    assert_eq!(TreeShape::new(0, PieceLength::new(16384).unwrap()), None);
    assert_eq!(TreeShape::new(1, PieceLength::new(20000).unwrap()), None);
    assert_eq!(TreeShape::new(u64::MAX, PieceLength::new(16384).unwrap()), None);
}

#[test]
fn uncles_are_left_out_where_the_nodes_give_them() {
    let tree = shape(1024, 4); // 10 layers above the leaves
    let uncles =
        |length, proof_layers| tree.uncles(NodeRange { base_layer: 0, index: 0, length, proof_layers });
    // BEP 52: the first log2(length)-1 proof layers are not sent, but counted.
    assert_eq!((uncles(2, 9), uncles(8, 9), uncles(8, 2), uncles(8, 3)), (9, 7, 0, 1));
    assert_eq!((uncles(1024, 9), uncles(2, 0), uncles(2, 10)), (0, 0, 9));
}

/// The answer to an allowed request, from the whole tree.
fn answer(tree: TreeShape, range: NodeRange, all: &[Vec<Sha256Hash>]) -> Vec<Sha256Hash> {
    let (base, own) = (range.base_layer as usize, range.length.ilog2() as usize);
    let mut out = all[base][range.index as usize..][..range.length as usize].to_vec();
    let uncle = |step: usize| all[base + own + step][(range.index as usize >> (own + step)) ^ 1];
    out.extend((0..tree.uncles(range) as usize).map(uncle));
    out
}

proptest! {
    #[test]
    fn an_answer_proves_itself_and_nothing_else(
        blocks in 2u32..70,
        pick in any::<u32>(),
        base in 0u32..8,
        own in 1u32..6,
        flip in any::<prop::sample::Index>(),
    ) {
        let tree = shape(blocks, 4);
        let all = layers(&leaves(blocks));
        let root = all[all.len() - 1][0];
        let base = base % tree.height();
        let width = 1u32 << (tree.height() - base);
        let length = (1 << own).min(width);
        let range = tree.full_proof(base, pick % (width / length) * length, length);
        prop_assert!(tree.allows(range));
        let mut hashes = answer(tree, range, &all);
        prop_assert!(tree.check(range, &hashes, root));

        let elsewhere = NodeRange { index: range.index ^ length, ..range };
        let differ = width > length && answer(tree, elsewhere, &all)[..length as usize] != hashes[..length as usize];
        prop_assert!(!differ || !tree.check(elsewhere, &hashes, root));
        let at = flip.index(hashes.len());
        hashes[at].0[0] ^= 1;
        prop_assert!(!tree.check(range, &hashes, root));
        hashes[at].0[0] ^= 1;
        hashes.pop();
        prop_assert!(!tree.check(range, &hashes, root));
    }

    #[test]
    fn no_request_makes_it_panic(
        blocks in 1u32..50,
        base_layer: u32,
        index: u32,
        length: u32,
        proof_layers: u32,
        given in 0u32..9,
    ) {
        let tree = shape(blocks, 4);
        let near = NodeRange {
            base_layer: base_layer % 8,
            index: index % 64,
            length: 1 << (length % 8),
            proof_layers: proof_layers % 10,
        };
        for range in [NodeRange { base_layer, index, length, proof_layers }, near] {
            prop_assert!(!tree.check(range, &leaves(given), ZERO));
            prop_assert!(tree.uncles(range) <= tree.height());
        }
        proof(&leaves(given), ZERO, index as usize, length as usize);
    }
}
