use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use starling_metainfo::merkle::{self, TreeShape};
use starling_metainfo::{Info, PieceLength, Sha256Hash};

use super::nodes_of;
use crate::HashRange;

/// The trees of all files with bytes, each known by its root.
#[derive(Clone, Debug)]
pub(super) struct Files {
    trees: BTreeMap<Sha256Hash, Tree>,
    /// First piece of each file, to find the tree of a piece.
    by_piece: BTreeMap<u32, Sha256Hash>,
    /// Trees without their piece layer.
    missing: BTreeSet<Sha256Hash>,
}

/// One file's tree, from its pieces up.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub shape: TreeShape,
    /// Files with this root and length; at least one.
    pub files: Vec<usize>,
    /// The first file's pieces.
    pub pieces: Range<u32>,
    /// From [`Tree::base`] up, filling left out; empty while the piece layer is missing.
    /// Only the lowest until somebody asks for a proof.
    layers: Vec<Vec<Sha256Hash>>,
}

impl Files {
    pub fn new(info: &Info, mut known: BTreeMap<Sha256Hash, Vec<Sha256Hash>>) -> Files {
        let (trees, by_piece, missing) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let mut files = Files { trees, by_piece, missing };
        let piece_length = PieceLength::new(u64::from(info.layout.piece_length()));
        let Some(piece_length) = piece_length.filter(|_| info.v2) else { return files };
        for (index, file) in info.layout.files().iter().enumerate() {
            let Some(root) = file.pieces_root.filter(|_| !file.padding) else { continue };
            let Some(shape) = TreeShape::new(file.length, piece_length) else { continue };
            let pieces = info.layout.file_pieces(index);
            let first = pieces.start;
            let tree = files.trees.entry(root).or_insert_with(|| {
                let layer = if shape.pieces() == 1 { Some(vec![root]) } else { known.remove(&root) };
                let layers = layer.filter(|layer| layer.len() == shape.pieces() as usize);
                Tree { shape, files: Vec::new(), pieces, layers: layers.into_iter().collect() }
            });
            // Two files of one root and different lengths: a forgery, in which one cannot be had.
            if tree.shape == shape {
                tree.files.push(index);
                files.by_piece.insert(first, root);
            }
            if !tree.is_known() {
                files.missing.insert(root);
            }
        }
        files
    }

    /// Roots of the trees without a piece layer, ascending.
    pub fn missing(&self) -> impl Iterator<Item = Sha256Hash> {
        self.missing.iter().copied()
    }

    /// The piece layers that are known, by root, of files with more than one piece.
    pub fn layers(&self) -> BTreeMap<Sha256Hash, Vec<Sha256Hash>> {
        let known = self.trees.iter().filter(|(_, tree)| tree.shape.pieces() > 1);
        known.filter_map(|(root, tree)| Some((*root, tree.layers.first()?.clone()))).collect()
    }

    /// Takes a piece layer, which was proved; the files that have it.
    pub fn set_layer(&mut self, root: Sha256Hash, layer: Vec<Sha256Hash>) -> Vec<usize> {
        let Some(tree) = self.trees.get_mut(&root) else { return Vec::new() };
        self.missing.remove(&root);
        tree.layers = vec![layer];
        tree.files.clone()
    }

    pub fn get(&self, root: &Sha256Hash) -> Option<&Tree> {
        self.trees.get(root)
    }

    pub fn get_mut(&mut self, root: &Sha256Hash) -> Option<&mut Tree> {
        self.trees.get_mut(root)
    }

    /// The tree that `piece` belongs to, and which of its pieces it is.
    pub fn of_piece(&self, piece: u32) -> Option<(Sha256Hash, &Tree, u32)> {
        let (start, root) = self.by_piece.range(..=piece).next_back()?;
        let tree = self.trees.get(root)?;
        let at = piece - start;
        (at < tree.shape.pieces()).then_some((*root, tree, at))
    }

    pub fn piece_root(&self, piece: u32) -> Option<Sha256Hash> {
        let (_, tree, at) = self.of_piece(piece)?;
        tree.layers.first()?.get(at as usize).copied()
    }
}

impl Tree {
    pub fn is_known(&self) -> bool {
        !self.layers.is_empty()
    }

    /// The layer whose nodes are the hashes of pieces: the root's if there is but one.
    pub fn base(&self) -> u32 {
        self.shape.piece_layer().min(self.shape.height())
    }

    /// Blocks in one of the file's pieces.
    pub fn leaves(&self, at: u32) -> u32 {
        let before = u64::from(at) << self.base();
        u64::from(self.shape.blocks()).saturating_sub(before).min(1 << self.base()) as u32
    }

    /// The answer to a request for pieces or layers above; `None` if there is no such answer.
    pub fn answer(&mut self, range: &HashRange) -> Option<Vec<Sha256Hash>> {
        self.build();
        let fits = self.is_known() && range.base_layer >= self.base() && self.shape.allows(nodes_of(range));
        fits.then(|| self.collect(range, |layer, index| self.node(layer, index)))
    }

    /// The answer to a request for leaves, or layers above them, within piece `at` of the
    /// file, whose `leaves` the caller has; `None` if these are not its leaves.
    pub fn answer_below(
        &mut self,
        range: &HashRange,
        at: u32,
        leaves: &[Sha256Hash],
    ) -> Option<Vec<Sha256Hash>> {
        self.build();
        let base = self.base();
        let leaves = leaves.get(..self.leaves(at) as usize).filter(|leaves| !leaves.is_empty())?;
        let below = layers_up(leaves.to_vec(), 0, base);
        let fits = self.shape.allows(nodes_of(range)) && self.piece_of(range) == Some(at);
        if !fits || below.last()?.first() != self.layers.first()?.get(at as usize) {
            return None;
        }
        Some(self.collect(range, |layer, index| {
            if layer >= base {
                return self.node(layer, index);
            }
            let first = at << (base - layer);
            let local = index.checked_sub(first)?;
            below.get(layer as usize)?.get(local as usize).copied()
        }))
    }

    /// The one piece of the file that a request below the piece layer is about.
    pub fn piece_of(&self, range: &HashRange) -> Option<u32> {
        let up = self.base().checked_sub(range.base_layer).filter(|up| *up > 0)?;
        let last = range.index.checked_add(range.length)?.checked_sub(1)?;
        let at = range.index >> up;
        (at == last >> up && at < self.shape.pieces()).then_some(at)
    }

    /// Nodes of an allowed range and their uncles; what `node` does not have is filling.
    fn collect(&self, range: &HashRange, node: impl Fn(u32, u32) -> Option<Sha256Hash>) -> Vec<Sha256Hash> {
        let filling = merkle::pad(range.base_layer);
        let nodes = range.index..range.index.saturating_add(range.length);
        let mut out: Vec<_> = nodes.map(|index| node(range.base_layer, index).unwrap_or(filling)).collect();
        let own = range.length.max(1).ilog2();
        for step in 0..self.shape.uncles(nodes_of(range)) {
            let layer = range.base_layer + own + step;
            let uncle = (range.index >> (own + step)) ^ 1;
            out.push(node(layer, uncle).unwrap_or_else(|| merkle::pad(layer)));
        }
        out
    }

    fn node(&self, layer: u32, index: u32) -> Option<Sha256Hash> {
        let layer = layer.checked_sub(self.base())?;
        self.layers.get(layer as usize)?.get(index as usize).copied()
    }

    /// Builds the layers up to the root, once.
    fn build(&mut self) {
        let (base, height) = (self.base(), self.shape.height());
        if self.layers.len() == 1 && height > base {
            self.layers = layers_up(std::mem::take(&mut self.layers[0]), base, height);
        }
    }
}

/// `nodes` of layer `from` and every layer above up to layer `to`, filling left out.
fn layers_up(nodes: Vec<Sha256Hash>, from: u32, to: u32) -> Vec<Vec<Sha256Hash>> {
    let mut layers = vec![nodes];
    let mut pad = merkle::pad(from);
    for _ in from..to {
        let below = layers.last().map(Vec::as_slice).unwrap_or_default();
        let pair = |pair: &[Sha256Hash]| {
            let left = pair.first().copied().unwrap_or(pad);
            merkle::parent(left, pair.get(1).copied().unwrap_or(pad))
        };
        let above = below.chunks(2).map(pair).collect();
        layers.push(above);
        pad = merkle::parent(pad, pad);
    }
    layers
}
