//! A worker's turn at a piece: hash what came, write it, judge the piece.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use bytes::Bytes;
use starling_metainfo::{BLOCK_LENGTH, Sha1Hash, Sha256Hash, merkle};

use crate::lane::{Job, Scratch};
use crate::piece::{Item, Next, Parked, Piece, Shape};
use crate::torrent::{Expected, Torrent, lock};
use crate::{DiskError, Event, hash};

/// Does all that is posted for `piece` now; more that comes meanwhile gets another turn.
pub(crate) fn run(torrent: &Arc<Torrent>, piece: u32, scratch: &mut Scratch) {
    let (mut items, state) = {
        let mut slots = lock(&torrent.slots);
        let Some(slot) = slots.get_mut(&piece) else { return torrent.job_done() };
        (std::mem::replace(&mut slot.inbox, std::mem::take(&mut scratch.items)), slot.state.take())
    };
    if let Some(lane) = torrent.lane.get() {
        lane.taken(items.iter().map(Item::bytes).sum());
    }
    let state = Turn { torrent, shape: torrent.shape(), scratch }.take(piece, state, &mut items);
    scratch.items = items;
    let blocked = state.as_ref().is_some_and(|piece| piece.is_blocked());
    let more = {
        let mut slots = lock(&torrent.slots);
        match slots.get_mut(&piece) {
            Some(slot) if slot.inbox.is_empty() && state.is_none() => {
                slots.remove(&piece);
                false
            }
            Some(slot) => {
                slot.state = state;
                slot.scheduled = !slot.inbox.is_empty();
                slot.scheduled
            }
            None => false,
        }
    };
    if blocked && !torrent.failing.load(Acquire) {
        torrent.post(piece, Item::Look); // a probe came while the piece was in our hands
    }
    match torrent.lane.get() {
        Some(lane) if more => lane.again(Job::Piece(Arc::clone(torrent), piece)),
        _ => torrent.job_done(),
    }
}

impl Torrent {
    /// How this torrent hashes.
    pub(crate) fn shape(&self) -> Shape<'_> {
        Shape {
            layout: &self.info.layout,
            v1: self.info.v1_pieces.is_some(),
            v2: self.info.v2,
            has_padding: self.has_padding,
        }
    }
}

struct Turn<'a> {
    torrent: &'a Arc<Torrent>,
    shape: Shape<'a>,
    scratch: &'a mut Scratch,
}

impl Turn<'_> {
    /// The state afterwards; `None` if there is nothing more to remember.
    fn take(&mut self, index: u32, state: Option<Box<Piece>>, items: &mut Vec<Item>) -> Option<Box<Piece>> {
        let mut piece = match state {
            Some(piece) => piece,
            None if self.is_over(index) => {
                self.drop_all(items);
                return None;
            }
            None => Box::new(Piece::new(index, self.shape, self.torrent.sync_failures.load(Relaxed))),
        };
        let mut fresh = std::mem::take(&mut self.scratch.fresh);
        for item in items.drain(..) {
            match item {
                Item::Block { begin, data } => match piece.wants(begin, data.len(), self.shape) {
                    Some(block) => {
                        piece.receive(block);
                        fresh.push((block, data));
                    }
                    None => self.torrent.release(data.len()),
                },
                Item::Retry(keep) => self.retry(&mut piece, &keep, &mut fresh),
                Item::Look => {}
            }
        }
        let mut out = std::mem::take(&mut self.scratch.out);
        out.append(&mut piece.unwritten);
        self.absorb(&mut piece, &mut fresh, &mut out);
        self.scratch.fresh = fresh;
        self.write(&mut piece, out);
        self.torrent.after_probe(&piece);
        if piece.is_complete() && !piece.failed { self.judge(piece) } else { Some(piece) }
    }

    /// Whether blocks of this piece are of no use: it is had, or the torrent closes.
    fn is_over(&self, piece: u32) -> bool {
        self.torrent.closing.load(Acquire)
            || piece >= self.shape.layout.pieces()
            || lock(&self.torrent.ledger).have.get(piece)
    }

    fn drop_all(&self, items: &mut Vec<Item>) {
        let bytes = items.drain(..).map(|item| item.bytes()).sum();
        self.torrent.release(bytes);
    }

    fn retry(&self, piece: &mut Piece, keep: &[u32], fresh: &mut Vec<(u32, Bytes)>) {
        let late: usize = fresh.drain(..).map(|(_, data)| data.len()).sum();
        let (parked, held) = piece.retry(keep, self.shape);
        self.torrent.shared.budget.unpark(&self.torrent.share, parked);
        self.torrent.release(late + held);
    }

    /// Hashes what can be hashed; what is to be written goes to `out`.
    fn absorb(&mut self, piece: &mut Piece, fresh: &mut Vec<(u32, Bytes)>, out: &mut Vec<(u32, Bytes)>) {
        fresh.sort_unstable_by_key(|(block, _)| *block);
        for (block, data) in fresh.drain(..) {
            let early = piece.is_early(block);
            piece.hash(block, &data, self.shape);
            if !early {
                out.push((block, data));
                self.drain(piece, out);
            } else if self.torrent.shared.budget.park(&self.torrent.share, data.len()) {
                // A copy, for `data` may hold a bigger buffer than itself.
                piece.park(block, Parked::Memory(Bytes::copy_from_slice(&data)));
            } else {
                piece.park(block, Parked::Written);
                out.push((block, data));
            }
        }
        self.drain(piece, out);
    }

    fn drain(&mut self, piece: &mut Piece, out: &mut Vec<(u32, Bytes)>) {
        let torrent = self.torrent;
        loop {
            let next = piece.drain(self.shape, |block, data| {
                torrent.shared.budget.unpark(&torrent.share, data.len());
                out.push((block, data));
            });
            let Next::ReadBack = next else { return };
            let block = piece.head();
            if let Some((_, data)) = out.iter().find(|(b, _)| *b == block) {
                let data = data.clone();
                piece.read_back(&data, self.shape);
                continue;
            }
            let length = self.shape.block_len(piece.index, block) as usize;
            self.scratch.buffer.resize(length.max(self.scratch.buffer.len()), 0);
            let buffer = &mut self.scratch.buffer[..length];
            match torrent.io().read(piece.index, block * BLOCK_LENGTH, buffer) {
                Ok(()) => piece.read_back(buffer, self.shape),
                Err(error) => return torrent.fail(error),
            }
        }
    }

    /// Writes blocks in runs; those the disk does not take stay with the piece.
    fn write(&mut self, piece: &mut Piece, mut out: Vec<(u32, Bytes)>) {
        if self.torrent.failing.load(Relaxed) {
            piece.unwritten = out;
            return;
        }
        out.sort_unstable_by_key(|(block, _)| *block);
        let mut written = 0;
        let mut error = None;
        for run in out.chunk_by(|a, b| b.0 == a.0 + 1) {
            error = self.write_run(piece.index, run[0].0, run).err();
            if error.is_some() {
                break;
            }
            written += run.len();
        }
        let bytes = out.drain(..written).map(|(_, data)| data.len()).sum();
        match error {
            Some(error) => {
                piece.unwritten = out;
                self.torrent.fail(error);
            }
            None => self.scratch.out = out,
        }
        self.torrent.release(bytes);
    }

    fn write_run(&self, piece: u32, first: u32, run: &[(u32, Bytes)]) -> Result<(), DiskError> {
        let torrent = self.torrent;
        torrent.begin_writing()?;
        let begin = first * BLOCK_LENGTH;
        torrent.io().write(piece, begin, run, |slot| torrent.prepare(slot), |slot| torrent.soil(slot))
    }

    fn judge(&mut self, mut piece: Box<Piece>) -> Option<Box<Piece>> {
        let torrent = self.torrent;
        let Some(expected) = torrent.expected(piece.index) else { return Some(piece) };
        let (key, index) = (torrent.key, piece.index);
        let verdict = if piece.sync_failures == torrent.sync_failures.load(Relaxed) {
            Ok(expected.allows(index, piece.v1(), piece.leaves(), self.shape))
        } else {
            torrent.check_piece(index, &mut self.scratch.buffer)
        };
        match verdict {
            Ok(true) => {
                torrent.accept(index);
                return None;
            }
            Ok(false) => match self.digests(&piece) {
                Ok(digests) => {
                    piece.failed = true;
                    torrent.shared.tell(Event::PieceFailed { key, piece: index, digests });
                }
                Err(error) => torrent.fail(error),
            },
            Err(error) => torrent.fail(error),
        }
        Some(piece)
    }

    fn digests(&mut self, piece: &Piece) -> Result<Vec<Sha256Hash>, DiskError> {
        match piece.leaves() {
            Some(leaves) => Ok(leaves.to_vec()),
            None => digests(self.torrent, piece.index, self.scratch),
        }
    }
}

impl Torrent {
    /// A piece is good: puts it on record and tells.
    pub(crate) fn accept(self: &Arc<Torrent>, piece: u32) {
        if self.record_verified(piece) {
            self.watch();
            self.shared.tell(Event::PieceVerified { key: self.key, piece });
        }
    }
}

impl Expected {
    /// Whether hashes are what they must be, as far as both are known.
    pub(crate) fn allows(
        &self,
        piece: u32,
        v1: Option<Sha1Hash>,
        leaves: Option<&[Sha256Hash]>,
        shape: Shape<'_>,
    ) -> bool {
        let v1_right = self.v1.is_none_or(|hash| v1 == Some(hash));
        let v2_right = self.v2.is_none_or(|(root, blocks)| {
            // Padding after the file is no part of its tree.
            let content = shape.layout.content_len(piece).div_ceil(BLOCK_LENGTH) as usize;
            leaves
                .and_then(|leaves| leaves.get(..content))
                .is_some_and(|leaves| merkle::root_from_leaves(leaves, blocks) == root)
        });
        v1_right && v2_right
    }
}

/// Reads a piece and gives the SHA-256 of each block.
pub(crate) fn digests(
    torrent: &Torrent,
    piece: u32,
    scratch: &mut Scratch,
) -> Result<Vec<Sha256Hash>, DiskError> {
    let shape = torrent.shape();
    let blocks = 0..shape.layout.blocks(piece);
    blocks.map(|block| block_digest(torrent, shape, piece, block, scratch)).collect()
}

fn block_digest(
    torrent: &Torrent,
    shape: Shape<'_>,
    piece: u32,
    block: u32,
    scratch: &mut Scratch,
) -> Result<Sha256Hash, DiskError> {
    if shape.is_padding(piece, block) {
        return Ok(Sha256Hash([0; 32]));
    }
    let length = shape.block_len(piece, block) as usize;
    scratch.buffer.resize(length.max(scratch.buffer.len()), 0);
    let buffer = &mut scratch.buffer[..length];
    torrent.io().read(piece, block * BLOCK_LENGTH, buffer)?;
    let part = if shape.v2 { shape.leaf_part(piece, block, buffer) } else { buffer };
    Ok(hash::sha256(part))
}
