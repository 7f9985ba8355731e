//! What waits to be sent to one peer, and how it becomes one write.

use std::collections::VecDeque;
use std::io::IoSliceMut;

use bytes::Bytes;
use starling_swarm::wire::{PIECE_HEADER_LEN, encode, encode_piece_header};
use starling_swarm::{Block, Message};

use super::Fill;

#[cfg(test)]
mod tests;

/// Most blocks in one write.
const BATCH_MAX: usize = 16;
/// Fewest that are tried, when the socket takes little.
const BATCH_MIN: usize = 2;
/// Bytes of blocks after which a batch is full.
const BATCH_BYTES: usize = 256 << 10;
/// Blocks that the handler may be reading from the disk for one peer.
const PENDING_MAX: usize = 2 * BATCH_MAX;
/// Control messages longer than this are written by themselves, without a copy.
const CONTROL_INLINE: usize = 16 << 10;
/// A batch begins so far after the beginning of a page: some processors (Zen 3 and 4) copy
/// from the page cache at a third of the speed to where the target lies 1 to 32 bytes
/// further into its page than the source, as a header would put the first block.
const AFTER_PAGE: usize = 64;
const PAGE: usize = 4096;
/// Memory an idle outbox may keep.
const IDLE_BYTES: usize = 1 << 10;

enum Item {
    /// A choke that must follow the blocks before it, and all control after it.
    Control(Vec<u8>),
    Block(Block),
}

/// A block in a batch, and where its bytes come from.
enum Part {
    Wanted(Block),
    Ready(Block, Bytes),
}

impl Part {
    fn block(&self) -> Block {
        match self {
            Part::Wanted(block) | Part::Ready(block, _) => *block,
        }
    }
}

/// The queue of one peer.
///
/// Control messages overtake blocks, for a request must not wait behind data.
/// Only a choke may not: a block after it would be unasked for. Blocks that come
/// from the disk late are overtaken by those that are in memory.
pub(crate) struct Outbox {
    /// The rest of what a write cut, and whether it ends a block of that many bytes.
    unsent: Vec<u8>,
    unsent_at: usize,
    unsent_block: u32,
    control: Vec<u8>,
    queue: VecDeque<Item>,
    chokes: usize,
    /// Asked of the handler and not answered yet.
    pending: Vec<Block>,
    ready: VecDeque<(Block, Bytes)>,
    batch: usize,
    waiting: u64,
}

impl Outbox {
    pub(crate) fn new() -> Outbox {
        Outbox {
            unsent: Vec::new(),
            unsent_at: 0,
            unsent_block: 0,
            control: Vec::new(),
            queue: VecDeque::new(),
            chokes: 0,
            pending: Vec::new(),
            ready: VecDeque::new(),
            batch: 4,
            waiting: 0,
        }
    }

    /// Puts raw bytes before everything else: the handshake.
    pub(crate) fn push_first(&mut self, bytes: &[u8]) {
        self.control.splice(..0, bytes.iter().copied());
    }

    pub(crate) fn push_message(&mut self, message: &Message) {
        let blocks_wait = !self.queue.is_empty() || !self.pending.is_empty() || !self.ready.is_empty();
        let choke = matches!(message, Message::Choke) && blocks_wait;
        if choke {
            self.chokes += 1;
            self.queue.push_back(Item::Control(Vec::new()));
        }
        let behind = match self.queue.iter_mut().rev().find(|item| matches!(item, Item::Control(_))) {
            Some(Item::Control(bytes)) if self.chokes > 0 => bytes,
            _ => &mut self.control,
        };
        encode(message, behind);
    }

    pub(crate) fn push_block(&mut self, block: Block) {
        self.waiting += u64::from(block.length);
        self.queue.push_back(Item::Block(block));
    }

    /// The handler has read a block it had called pending; false if it had not.
    pub(crate) fn ready(&mut self, block: Block, bytes: Bytes) -> bool {
        let known = bytes.len() == block.length as usize && self.answered(block);
        if known {
            self.ready.push_back((block, bytes));
        }
        known
    }

    /// A block will not be sent after all; false if none was pending.
    pub(crate) fn drop_pending(&mut self, block: Block) -> bool {
        let known = self.answered(block);
        if known {
            self.waiting -= u64::from(block.length);
        }
        known
    }

    fn answered(&mut self, block: Block) -> bool {
        let at = self.pending.iter().position(|b| *b == block);
        at.map(|at| self.pending.swap_remove(at)).is_some()
    }

    /// Bytes of blocks taken and not yet sent.
    pub(crate) fn blocks_waiting(&self) -> u64 {
        self.waiting
    }

    /// Bytes of control messages that wait.
    pub(crate) fn control_waiting(&self) -> usize {
        let behind = self.queue.iter().filter(|_| self.chokes > 0).map(|item| match item {
            Item::Control(bytes) => bytes.len(),
            Item::Block(_) => 0,
        });
        self.control.len() + (self.unsent.len() - self.unsent_at) + behind.sum::<usize>()
    }

    /// Whether there is nothing to write, but perhaps blocks that the handler is reading.
    pub(crate) fn is_empty(&self) -> bool {
        self.unsent.is_empty() && self.control.is_empty() && self.queue.is_empty() && self.ready.is_empty()
    }

    /// The rest of an earlier write, to be written before anything else.
    pub(crate) fn unsent(&mut self) -> &[u8] {
        if self.unsent.is_empty() && self.control.len() > CONTROL_INLINE {
            self.unsent = std::mem::take(&mut self.control);
        }
        &self.unsent[self.unsent_at..]
    }

    /// `n` bytes of [`Outbox::unsent`] were written; bytes of the block that this ends.
    pub(crate) fn unsent_written(&mut self, n: usize) -> u32 {
        self.unsent_at += n;
        if self.unsent_at < self.unsent.len() {
            return 0;
        }
        self.unsent = Vec::new();
        self.unsent_at = 0;
        let block = std::mem::take(&mut self.unsent_block);
        self.waiting -= u64::from(block);
        block
    }

    /// Takes what the next write will hold; `None` when there is nothing that can go now.
    /// Everything taken comes back by [`Outbox::written`].
    pub(crate) fn take_batch(&mut self, scratch: Vec<u8>) -> Result<Batch, Vec<u8>> {
        self.pass_chokes();
        let mut parts: Vec<Part> = Vec::new();
        let mut bytes = 0;
        while parts.len() < self.batch && bytes < BATCH_BYTES {
            let Some((block, data)) = self.ready.pop_front() else { break };
            bytes += data.len();
            parts.push(Part::Ready(block, data));
        }
        while parts.len() < self.batch
            && bytes < BATCH_BYTES
            && self.pending.len() + self.ready.len() + parts.len() < PENDING_MAX
            && let Some(&Item::Block(block)) = self.queue.front()
        {
            self.queue.pop_front();
            bytes += block.length as usize;
            parts.push(Part::Wanted(block));
        }
        if parts.is_empty() && self.control.is_empty() {
            return Err(scratch);
        }
        Ok(Batch::new(scratch, &self.control, parts, bytes))
    }

    /// A choke at the head of the queue goes once all blocks before it have.
    fn pass_chokes(&mut self) {
        while self.pending.is_empty()
            && self.ready.is_empty()
            && matches!(self.queue.front(), Some(Item::Control(_)))
        {
            if let Some(Item::Control(bytes)) = self.queue.pop_front() {
                self.control.extend_from_slice(&bytes);
                self.chokes -= 1;
            }
        }
    }

    /// The first `n` bytes of `batch` were written; bytes of blocks that are now
    /// wholly sent, and the scratch buffer for the next.
    ///
    /// Of what was not written only the block that was cut is kept; the others are
    /// filled anew when the socket takes more. So a slow peer holds no memory.
    pub(crate) fn written(&mut self, mut batch: Batch, n: usize) -> (u32, Vec<u8>) {
        self.batch = match n == batch.length {
            true => (self.batch * 2).min(BATCH_MAX),
            false => (self.batch / 2).max(BATCH_MIN),
        };
        self.control_written(n.min(batch.control));
        let mut sent = 0;
        let mut end = batch.length;
        for part in batch.parts.drain(..).rev() {
            let block = part.block();
            let start = end - PIECE_HEADER_LEN - block.length as usize;
            if n >= end {
                sent += block.length;
            } else if n > start {
                self.unsent = batch.scratch[batch.start + n..batch.start + end].to_vec();
                self.unsent_block = block.length;
            } else {
                match part {
                    Part::Wanted(block) => self.queue.push_front(Item::Block(block)),
                    Part::Ready(block, data) => self.ready.push_front((block, data)),
                }
            }
            end = start;
        }
        self.waiting -= u64::from(sent);
        (sent, batch.scratch)
    }

    fn control_written(&mut self, n: usize) {
        if n < self.control.len() {
            self.control.drain(..n);
        } else if self.control.capacity() > IDLE_BYTES {
            self.control = Vec::new();
        } else {
            self.control.clear();
        }
        if self.queue.is_empty() && self.queue.capacity() * size_of::<Item>() > IDLE_BYTES {
            self.queue = VecDeque::new();
        }
    }

    /// Blocks of the batch that the handler reads from the disk.
    pub(crate) fn set_pending(&mut self, blocks: &[Block]) {
        self.pending.extend_from_slice(blocks);
    }
}

/// One write: control messages, then blocks with their headers.
pub(crate) struct Batch {
    scratch: Vec<u8>,
    /// Where it begins in the buffer.
    start: usize,
    length: usize,
    control: usize,
    /// Ready ones before wanted ones.
    parts: Vec<Part>,
}

impl Batch {
    fn new(mut scratch: Vec<u8>, control: &[u8], parts: Vec<Part>, blocks: usize) -> Batch {
        let length = control.len() + blocks + parts.len() * PIECE_HEADER_LEN;
        if scratch.len() < PAGE + AFTER_PAGE + length {
            let full = CONTROL_INLINE + BATCH_BYTES + BATCH_MAX * PIECE_HEADER_LEN;
            scratch.resize(PAGE + AFTER_PAGE + length.max(full), 0);
        }
        let start = scratch.as_ptr().align_offset(PAGE).min(PAGE) + AFTER_PAGE;
        scratch[start..start + control.len()].copy_from_slice(control);
        Batch { scratch, start, length, control: control.len(), parts }
    }

    /// The bytes to write.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.scratch[self.start..self.start + self.length]
    }

    /// Writes the headers and has the blocks filled in; returns those that the
    /// handler will bring later, which are no longer part of the batch.
    pub(crate) fn fill(&mut self, fill: impl FnOnce(&[Block], &mut [IoSliceMut<'_>]) -> Fill) -> Vec<Block> {
        let mut wanted = Vec::with_capacity(self.parts.len());
        let mut bufs = Vec::with_capacity(self.parts.len());
        let mut rest = &mut self.scratch[self.start + self.control..self.start + self.length];
        for part in &self.parts {
            let block = part.block();
            let (head, tail) = rest.split_at_mut(PIECE_HEADER_LEN);
            head.copy_from_slice(&encode_piece_header(block));
            let (body, tail) = tail.split_at_mut(block.length as usize);
            rest = tail;
            match part {
                Part::Ready(_, data) => body.copy_from_slice(data),
                Part::Wanted(_) => {
                    wanted.push(block);
                    bufs.push(IoSliceMut::new(body));
                }
            }
        }
        if wanted.is_empty() {
            return wanted;
        }
        let filled = match fill(&wanted, &mut bufs) {
            Fill::Ready => wanted.len(),
            Fill::Pending(filled) => filled.min(wanted.len()),
        };
        let later = wanted.split_off(filled);
        self.parts.truncate(self.parts.len() - later.len());
        self.length -= later.iter().map(|b| PIECE_HEADER_LEN + b.length as usize).sum::<usize>();
        later
    }
}
