//! A worker's turn at some pieces: hash what came, write it, judge the pieces.
//!
//! Pieces of one turn are hashed side by side, block by block, for several streams
//! in one call cost hardly more than one. So each gives as many blocks as the others,
//! and all together no more than a processor's cache holds until they are written.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use bytes::Bytes;
use starling_metainfo::{BLOCK_LENGTH, Sha1Hash, Sha256Hash, merkle};

use crate::lane::{Job, Lane, Scratch};
use crate::piece::{Item, Next, Parked, Piece, Shape};
use crate::torrent::{Expected, Torrent, lock};
use crate::{DiskError, Event, hash};

/// Blocks of one turn: 1 MiB.
const BLOCKS: usize = 64;

/// A piece to have a turn.
pub(crate) type Ready = (Arc<Torrent>, u32);

/// Does what is posted for these pieces now; what is more than a turn's worth, or comes
/// meanwhile, gets another turn.
pub(crate) fn run(lane: &Lane, pieces: &mut Vec<Ready>, scratch: &mut Scratch) {
    let most = BLOCKS.div_ceil(pieces.len().max(1));
    let mut turns: Vec<Turn> =
        pieces.drain(..).filter_map(|(t, piece)| Turn::begin(t, piece, most, scratch)).collect();
    lane.taken(turns.iter().map(|turn| turn.bytes).sum());
    turns.iter_mut().for_each(Turn::sort_items);
    hash_leaves(&mut turns);
    hash_streams(&mut turns);
    for turn in turns {
        turn.end(scratch);
    }
}

/// The v2 leaves of all blocks that came.
fn hash_leaves(turns: &mut [Turn]) {
    let mut messages = Vec::new();
    for turn in turns.iter().filter(|turn| turn.shape().v2) {
        let shape = turn.shape();
        messages.extend(turn.fresh.iter().map(|(block, data)| shape.leaf_part(turn.index, *block, data)));
    }
    let mut digests = hash::sha256_many(&messages).into_iter();
    for Turn { torrent, piece, fresh, .. } in turns.iter_mut() {
        if let Some(piece) = piece.as_mut().filter(|_| torrent.shape().v2) {
            for ((block, _), digest) in fresh.iter().zip(digests.by_ref()) {
                piece.set_leaf(*block, digest);
            }
        }
    }
}

/// The v1 streams, as far as blocks are there in order.
fn hash_streams(turns: &mut [Turn]) {
    turns.iter_mut().for_each(Turn::line_up);
    let rounds = turns.iter().map(|turn| turn.line.len()).max().unwrap_or(0);
    for round in 0..rounds {
        hash::update_many(turns.iter_mut().filter_map(|Turn { piece, line, .. }| {
            let (_, data) = line.get(round)?;
            Some((piece.as_mut()?.next_of_stream()?, &data[..]))
        }));
    }
}

impl Torrent {
    /// How this torrent hashes.
    pub(crate) fn shape(&self) -> Shape<'_> {
        Shape { layout: &self.info.layout, v1: self.info.v1_pieces.is_some(), v2: self.info.v2 }
    }
}

struct Turn {
    torrent: Arc<Torrent>,
    index: u32,
    /// `None`: nothing of it is of any use any more.
    piece: Option<Box<Piece>>,
    items: Vec<Item>,
    /// Their bytes.
    bytes: usize,
    /// Blocks that came.
    fresh: Vec<(u32, Bytes)>,
    /// Those to be hashed for v1 now, in order.
    line: Vec<(u32, Bytes)>,
    /// Those to be written.
    out: Vec<(u32, Bytes)>,
}

impl Turn {
    /// Takes what was posted first, `most` items.
    fn begin(torrent: Arc<Torrent>, index: u32, most: usize, scratch: &mut Scratch) -> Option<Turn> {
        let mut items = scratch.items.pop().unwrap_or_default();
        let slot = lock(&torrent.slots).get_mut(&index).map(|slot| {
            items.extend(slot.inbox.drain(..slot.inbox.len().min(most)));
            slot.state.take()
        });
        let Some(state) = slot else {
            scratch.items.push(items);
            torrent.job_done();
            return None;
        };
        let bytes = items.iter().map(Item::bytes).sum();
        let [fresh, line, out] = std::array::from_fn(|_| scratch.blocks.pop().unwrap_or_default());
        let piece = match state {
            Some(piece) => Some(piece),
            None if is_over(&torrent, index) => {
                torrent.release(items.drain(..).map(|item| item.bytes()).sum());
                None
            }
            None => Some(Box::new(Piece::new(index, torrent.shape(), torrent.sync_failures.load(Relaxed)))),
        };
        Some(Turn { torrent, index, piece, items, bytes, fresh, line, out })
    }

    fn shape(&self) -> Shape<'_> {
        self.torrent.shape()
    }

    fn sort_items(&mut self) {
        let Turn { torrent, piece: Some(piece), items, fresh, out, .. } = self else { return };
        let shape = torrent.shape();
        for item in items.drain(..) {
            match item {
                Item::Block { begin, data } => match piece.wants(begin, data.len(), shape) {
                    Some(block) => {
                        piece.receive(block);
                        fresh.push((block, data));
                    }
                    None => torrent.release(data.len()),
                },
                Item::Retry(keep) => {
                    let late: usize = fresh.drain(..).map(|(_, data)| data.len()).sum();
                    let (parked, held) = piece.retry(&keep, shape);
                    torrent.shared.budget.unpark(&torrent.share, parked);
                    torrent.release(late + held);
                }
                Item::Look => {}
            }
        }
        out.append(&mut piece.unwritten);
        fresh.sort_unstable_by_key(|(block, _)| *block);
    }

    /// Moves the blocks that v1 can hash now, one after the other, from those that came
    /// and those that are parked into the line.
    fn line_up(&mut self) {
        let Turn { torrent, piece: Some(piece), fresh, line, .. } = self else { return };
        let shape = torrent.shape();
        if !shape.v1 {
            return;
        }
        let mut head = piece.head();
        let unpark = |piece: &mut Piece, head: &mut u32, line: &mut Vec<(u32, Bytes)>| {
            while let Some(data) = piece.unpark(*head, shape) {
                torrent.shared.budget.unpark(&torrent.share, data.len());
                line.push((*head, data));
                *head += 1;
            }
        };
        unpark(piece, &mut head, line);
        fresh.retain_mut(|(block, data)| {
            let next = *block == head && shape.is_plain(piece.index, head);
            if next {
                line.push((head, std::mem::take(data)));
                head += 1;
                unpark(piece, &mut head, line);
            }
            !next
        });
    }

    /// Parks or hashes the rest, writes, judges, and gives the state back.
    fn end(mut self, scratch: &mut Scratch) {
        let piece = self.piece.take().and_then(|piece| self.finish(piece, scratch));
        let Turn { torrent, index, items, fresh, line, out, .. } = self;
        scratch.items.push(items);
        scratch.blocks.extend([fresh, line, out]);
        give_back(&torrent, index, piece);
    }

    /// The state afterwards; `None` if there is nothing more to remember.
    fn finish(&mut self, mut piece: Box<Piece>, scratch: &mut Scratch) -> Option<Box<Piece>> {
        self.out.append(&mut self.line);
        self.absorb(&mut piece, &mut scratch.buffer);
        self.write(&mut piece);
        self.torrent.after_probe(&piece);
        if piece.is_complete() && !piece.failed { judge(&self.torrent, piece, scratch) } else { Some(piece) }
    }

    /// What could not be lined up: blocks with padding are hashed, early ones parked.
    fn absorb(&mut self, piece: &mut Piece, buffer: &mut Vec<u8>) {
        let torrent = Arc::clone(&self.torrent);
        self.drain(piece, buffer);
        let mut fresh = std::mem::take(&mut self.fresh);
        for (block, data) in fresh.drain(..) {
            if !piece.is_early(block) {
                piece.hash_head(&data, torrent.shape());
                self.out.push((block, data));
                self.drain(piece, buffer);
            } else if torrent.shared.budget.park(&torrent.share, data.len()) {
                // A copy, for `data` may hold a bigger buffer than itself.
                piece.park(block, Parked::Memory(Bytes::copy_from_slice(&data)));
            } else {
                piece.park(block, Parked::Written);
                self.out.push((block, data));
            }
        }
        self.fresh = fresh;
    }

    /// Goes on with parked blocks that cannot be lined up: those written, and padding.
    fn drain(&mut self, piece: &mut Piece, buffer: &mut Vec<u8>) {
        let Turn { torrent, out, .. } = self;
        let shape = torrent.shape();
        loop {
            let next = piece.drain(shape, |block, data| {
                torrent.shared.budget.unpark(&torrent.share, data.len());
                out.push((block, data));
            });
            let Next::ReadBack = next else { return };
            let block = piece.head();
            if let Some((_, data)) = out.iter().find(|(b, _)| *b == block) {
                piece.read_back(data, shape);
                continue;
            }
            let length = shape.block_len(piece.index, block) as usize;
            buffer.resize(length.max(buffer.len()), 0);
            match torrent.io().read(piece.index, block * BLOCK_LENGTH, &mut buffer[..length]) {
                Ok(()) => piece.read_back(&buffer[..length], shape),
                Err(error) => return torrent.fail(error),
            }
        }
    }

    /// Writes blocks in runs; those the disk does not take stay with the piece.
    fn write(&mut self, piece: &mut Piece) {
        let Turn { torrent, out, .. } = self;
        if torrent.failing.load(Relaxed) {
            piece.unwritten.append(out);
            return;
        }
        out.sort_unstable_by_key(|(block, _)| *block);
        let mut written = 0;
        let mut error = None;
        // After a block that ends in padding there is a gap.
        for run in out.chunk_by(|a, b| b.0 == a.0 + 1 && a.1.len() == BLOCK_LENGTH as usize) {
            error = write_run(torrent, piece.index, run[0].0, run).err();
            if error.is_some() {
                break;
            }
            written += run.len();
        }
        let bytes = out.drain(..written).map(|(_, data)| data.len()).sum();
        if let Some(error) = error {
            piece.unwritten.append(out);
            torrent.fail(error);
        }
        torrent.release(bytes);
    }
}

/// Whether blocks of this piece are of no use: it is had, or the torrent closes.
fn is_over(torrent: &Torrent, piece: u32) -> bool {
    torrent.closing.load(Acquire)
        || piece >= torrent.info.layout.pieces()
        || lock(&torrent.ledger).have.get(piece)
}

fn give_back(torrent: &Arc<Torrent>, piece: u32, state: Option<Box<Piece>>) {
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

fn write_run(torrent: &Torrent, piece: u32, first: u32, run: &[(u32, Bytes)]) -> Result<(), DiskError> {
    torrent.begin_writing()?;
    let begin = first * BLOCK_LENGTH;
    torrent.io().write(piece, begin, run, |slot| torrent.prepare(slot), |slot| torrent.soil(slot))
}

fn judge(torrent: &Arc<Torrent>, mut piece: Box<Piece>, scratch: &mut Scratch) -> Option<Box<Piece>> {
    let Some(expected) = torrent.expected(piece.index) else { return Some(piece) };
    let (key, index) = (torrent.key, piece.index);
    let verdict = if piece.sync_failures == torrent.sync_failures.load(Relaxed) {
        Ok(expected.allows(index, piece.v1(), piece.leaves(), torrent.shape()))
    } else {
        torrent.check_piece(index, &mut scratch.buffer)
    };
    let digests = verdict.and_then(|right| match (right, piece.leaves()) {
        (true, _) => Ok(None),
        (false, Some(leaves)) => Ok(Some(leaves.to_vec())),
        (false, None) => digests(torrent, index, scratch).map(Some),
    });
    match digests {
        Ok(None) => {
            torrent.accept(index);
            return None;
        }
        Ok(Some(digests)) => {
            piece.failed = true;
            torrent.shared.tell(Event::PieceFailed { key, piece: index, digests });
        }
        Err(error) => torrent.fail(error),
    }
    Some(piece)
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
