//! The hash trees of BEP 52: one for each file, binary, SHA-256, 16 KiB leaves.
//!
//! Layers are counted from the leaves (layer 0). The leaves are filled up to a power
//! of two with 32 zero bytes; a node over nothing but filling is [`pad`] of its layer.
//! The *piece layer* has one node for each piece. [`TreeShape`] knows how a file's
//! tree is built from two lengths, which hash requests it allows and whether an answer
//! is right. Absent: a stored tree, which belongs to whoever answers requests.

use sha2::{Digest, Sha256};

use crate::{BLOCK_LENGTH, PieceLength, Sha256Hash};

/// The filling of the leaf layer: not a hash of anything, just zeros.
pub const ZERO: Sha256Hash = Sha256Hash([0; 32]);

/// SHA-256 of `bytes`: a leaf, for at most 16 KiB of a file.
pub fn sha256(bytes: &[u8]) -> Sha256Hash {
    Sha256Hash(Sha256::digest(bytes).into())
}

/// The node above two nodes.
pub fn parent(left: Sha256Hash, right: Sha256Hash) -> Sha256Hash {
    let mut hasher = Sha256::new();
    hasher.update(left.0);
    hasher.update(right.0);
    Sha256Hash(hasher.finalize().into())
}

/// A node of `layer` with nothing but filling below it.
pub fn pad(layer: u32) -> Sha256Hash {
    (0..layer.min(64)).fold(ZERO, |node, _| parent(node, node))
}

/// The root over the nodes of one layer, filled up to a power of two with `pad`.
/// One node is its own root; no node at all gives `pad`.
pub fn root(nodes: &[Sha256Hash], pad: Sha256Hash) -> Sha256Hash {
    let mut layer = nodes.to_vec();
    let mut pad = pad;
    while layer.len() > 1 {
        layer = above(&layer, pad);
        pad = parent(pad, pad);
    }
    layer.first().copied().unwrap_or(pad)
}

/// The hash of a piece of `piece_blocks` blocks whose `leaves` may be fewer (the last
/// of a file). A file of one piece or less takes `piece_blocks` 1: its tree is only as
/// high as it must be.
pub fn root_from_leaves(leaves: &[Sha256Hash], piece_blocks: u32) -> Sha256Hash {
    let mut node = root(leaves, ZERO);
    let mut layer = height(leaves.len() as u64);
    while layer < height(u64::from(piece_blocks)) {
        node = parent(node, pad(layer));
        layer += 1;
    }
    node
}

/// The nodes beside the path from the `len` nodes at `index` up to the root of `layer`,
/// lowest first. `layer` is filled up with `pad`; `len` is a power of two and `index` a
/// multiple of it, else the answer is `None`. Hashes all of the layer each time.
pub fn proof(layer: &[Sha256Hash], pad: Sha256Hash, index: usize, len: usize) -> Option<Vec<Sha256Hash>> {
    let width = layer.len().checked_next_power_of_two()?;
    if !len.is_power_of_two() || !index.is_multiple_of(len) || index.checked_add(len)? > width {
        return None;
    }
    let (mut nodes, mut pad, mut out) = (layer.to_vec(), pad, Vec::new());
    let (mut at, mut width, mut covered) = (index, width, len);
    while width > 1 {
        if covered > 1 {
            covered /= 2;
        } else {
            out.push(nodes.get(at ^ 1).copied().unwrap_or(pad));
        }
        nodes = above(&nodes, pad);
        pad = parent(pad, pad);
        (at, width) = (at / 2, width / 2);
    }
    Some(out)
}

/// Whether `nodes`, a power of two of them at `index` of their layer, lead with `proof`
/// to `root`. The caller checks that the proof is as long as the tree is high.
pub fn check_proof(nodes: &[Sha256Hash], index: usize, proof: &[Sha256Hash], root: Sha256Hash) -> bool {
    if !nodes.len().is_power_of_two() || !index.is_multiple_of(nodes.len()) {
        return false;
    }
    let mut at = index / nodes.len();
    let mut node = self::root(nodes, ZERO);
    for &uncle in proof {
        node = if at.is_multiple_of(2) { parent(node, uncle) } else { parent(uncle, node) };
        at /= 2;
    }
    at == 0 && node == root
}

/// The layer above; an odd last node is paired with `pad`.
fn above(layer: &[Sha256Hash], pad: Sha256Hash) -> Vec<Sha256Hash> {
    layer.chunks(2).map(|pair| parent(pair[0], pair.get(1).copied().unwrap_or(pad))).collect()
}

/// Layers above the leaves of the smallest tree over `leaves`.
fn height(leaves: u64) -> u32 {
    leaves.max(1).next_power_of_two().trailing_zeros()
}

/// Which nodes a hash request names (BEP 52); see there for the limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeRange {
    /// 0 for the leaves.
    pub base_layer: u32,
    /// First node in that layer, a multiple of `length`.
    pub index: u32,
    /// Nodes in that layer: a power of two, at least 2.
    pub length: u32,
    /// Layers above the base layer to prove.
    pub proof_layers: u32,
}

/// The shape of one non-empty file's tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeShape {
    blocks: u32,
    piece_layer: u32,
}

impl TreeShape {
    /// Most nodes in one request that is answered. Requests over the leaves of a whole
    /// piece are common, and BEP 52's 512 is but a recommendation.
    pub const MAX_LENGTH: u32 = 8192;

    /// The tree of a file; `None` for an empty file, one of 2^32 blocks or more, or a
    /// piece length v2 does not allow.
    pub fn new(file_length: u64, piece_length: PieceLength) -> Option<TreeShape> {
        let blocks = u32::try_from(file_length.div_ceil(u64::from(BLOCK_LENGTH))).ok()?;
        let piece_layer = (piece_length.get() / BLOCK_LENGTH).trailing_zeros();
        (blocks > 0 && piece_length.fits_v2()).then_some(TreeShape { blocks, piece_layer })
    }

    /// Layers above the leaves up to the root.
    pub fn height(self) -> u32 {
        height(u64::from(self.blocks))
    }

    /// The layer whose nodes are pieces. Above the root for a file of less than a piece.
    pub fn piece_layer(self) -> u32 {
        self.piece_layer
    }

    /// Pieces of the file.
    pub fn pieces(self) -> u32 {
        self.blocks.div_ceil(1 << self.piece_layer)
    }

    /// 16 KiB blocks of the file: leaves without filling.
    pub fn blocks(self) -> u32 {
        self.blocks
    }

    /// Whether the tree has these nodes and a request may name them.
    pub fn allows(self, range: NodeRange) -> bool {
        let Some(up) = self.height().checked_sub(range.base_layer) else { return false };
        let end = u64::from(range.index) + u64::from(range.length);
        range.length.is_power_of_two()
            && (2..=Self::MAX_LENGTH).contains(&range.length)
            && range.index.is_multiple_of(range.length)
            && end <= 1 << up
            && range.proof_layers <= up
    }

    /// Uncles in the answer: none for layers that the nodes themselves give.
    pub fn uncles(self, range: NodeRange) -> u32 {
        let own = range.length.max(1).ilog2();
        let reach = self.height().saturating_sub(range.base_layer.saturating_add(own));
        range.proof_layers.saturating_sub(own.saturating_sub(1)).min(reach)
    }

    /// The range of all that proves `length` nodes at `index` of `base_layer`.
    pub fn full_proof(self, base_layer: u32, index: u32, length: u32) -> NodeRange {
        let proof_layers = self.height().saturating_sub(base_layer).saturating_sub(1);
        NodeRange { base_layer, index, length, proof_layers }
    }

    /// Whether `hashes`, an answer to `range`, is right under `root`. Only for ranges
    /// that ask for a whole proof, as [`TreeShape::full_proof`] does.
    pub fn check(self, range: NodeRange, hashes: &[Sha256Hash], root: Sha256Hash) -> bool {
        if !self.allows(range) {
            return false;
        }
        let expected = self.uncles(range);
        let reaches_root = range.base_layer + range.length.ilog2() + expected == self.height();
        let Some((nodes, uncles)) = hashes.split_at_checked(range.length as usize) else { return false };
        reaches_root
            && uncles.len() == expected as usize
            && check_proof(nodes, range.index as usize, uncles, root)
    }
}

#[cfg(test)]
mod tests;
