//! From what was read to messages, whatever the cuts between reads.

use std::ops::Range;

use bytes::Bytes;
use starling_swarm::Message;
use starling_swarm::wire::{Decoded, PIECE_HEADER_LEN, WireError, WireLimits, decode};

use super::chunk::Chunk;

/// Bytes made room for at once in a message that is still coming; more as it comes,
/// so that an announced length alone takes no memory.
const ROOM: usize = 17 << 10;

/// What one peer has begun to say. Empty between messages: an idle peer holds nothing.
#[derive(Default)]
pub(crate) struct Inbox {
    /// The beginning of a message that the last read cut.
    partial: Vec<u8>,
    /// Bytes `partial` must hold before it is worth looking at again.
    need: usize,
}

impl Inbox {
    /// Takes the first `read` bytes of `chunk` and delivers every message that is now
    /// whole, until `deliver` returns false. Blocks come as slices of the chunk, or as
    /// copies where they would pin more memory than they are worth.
    pub(crate) fn feed(
        &mut self,
        chunk: Chunk,
        read: usize,
        limits: &WireLimits,
        deliver: &mut impl FnMut(Message, Bytes) -> bool,
    ) -> Result<(), WireError> {
        let size = chunk.as_ref().len();
        let data = &chunk.as_ref()[..read];
        let start = self.partial_left(data);
        if blocks_in(&data[start..], limits) * 2 >= size {
            let shared = Bytes::from_owner(chunk);
            let data = &shared[..read];
            self.feed_with(data, limits, |range| shared.slice(range), deliver)
        } else {
            self.feed_with(data, limits, |range| Bytes::copy_from_slice(&data[range]), deliver)
        }
    }

    /// Whether the peer has stopped in the middle of a message.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.partial.is_empty()
    }

    fn feed_with(
        &mut self,
        data: &[u8],
        limits: &WireLimits,
        cut: impl Fn(Range<usize>) -> Bytes,
        deliver: &mut impl FnMut(Message, Bytes) -> bool,
    ) -> Result<(), WireError> {
        let Some(mut at) = self.finish_partial(data, limits, deliver)? else { return Ok(()) };
        while at < data.len() {
            let need = match decode(&data[at..], limits)? {
                Decoded::Frame { message, consumed, payload } => {
                    let block = match payload.is_empty() {
                        true => Bytes::new(),
                        false => cut(at + payload.start..at + payload.end),
                    };
                    at += consumed;
                    if !deliver(message, block) {
                        return Ok(());
                    }
                    continue;
                }
                Decoded::PieceHeader { payload, .. } => payload.end,
                Decoded::Incomplete { need } => need,
            };
            self.need = need;
            self.partial.reserve_exact(need.min(ROOM).max(data.len() - at));
            self.partial.extend_from_slice(&data[at..]);
            break;
        }
        Ok(())
    }

    /// Bytes of `data` that belong to the message begun earlier, as far as known.
    fn partial_left(&self, data: &[u8]) -> usize {
        self.need.saturating_sub(self.partial.len()).min(data.len())
    }

    /// Completes the message begun earlier from `data`; how much of it that took, or
    /// `None` when all of it went without completing the message (or nobody wants more).
    fn finish_partial(
        &mut self,
        data: &[u8],
        limits: &WireLimits,
        deliver: &mut impl FnMut(Message, Bytes) -> bool,
    ) -> Result<Option<usize>, WireError> {
        let mut at = 0;
        while self.need > 0 {
            let take = self.partial_left(&data[at..]);
            self.partial.extend_from_slice(&data[at..at + take]);
            at += take;
            if self.partial.len() < self.need {
                return Ok(None);
            }
            match decode(&self.partial, limits)? {
                Decoded::Incomplete { need } => self.need = need,
                Decoded::PieceHeader { payload, .. } => self.need = payload.end,
                Decoded::Frame { message, payload, .. } => {
                    self.need = 0;
                    let whole = std::mem::take(&mut self.partial);
                    let block = match payload.is_empty() {
                        true => Bytes::new(),
                        false => Bytes::from(whole).slice(payload),
                    };
                    if !deliver(message, block) {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(at))
    }
}

/// Bytes of whole blocks in `data`, without judging anything.
fn blocks_in(mut data: &[u8], limits: &WireLimits) -> usize {
    let mut sum = 0;
    while let Some((prefix, rest)) = data.split_first_chunk() {
        let length = u32::from_be_bytes(*prefix);
        if length > limits.frame_max || length as usize > rest.len() {
            break;
        }
        let (frame, next) = rest.split_at(length as usize);
        if frame.first() == Some(&PIECE) {
            sum += frame.len().saturating_sub(PIECE_HEADER_LEN - 4);
        }
        data = next;
    }
    sum
}

/// The message id of `piece` (BEP 3).
const PIECE: u8 = 7;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_swarm::Block;
    use starling_swarm::wire::{encode, encode_piece_header};

    use super::super::chunk::{CHUNK_MAX, CHUNK_MIN, ChunkPool};
    use super::*;

    fn block(index: u32, length: u32) -> Vec<u8> {
        let mut out = encode_piece_header(Block { piece: index, begin: 0, length }).to_vec();
        out.extend((0..length).map(|i| (i * 31 + index) as u8));
        out
    }

    fn control(message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        encode(message, &mut out);
        out
    }

    fn feed_all(stream: &[u8], cuts: &[usize]) -> Vec<(Message, Bytes)> {
        let (pool, mut inbox, mut got) = (ChunkPool::default(), Inbox::default(), Vec::new());
        let (mut at, mut cuts) = (0, cuts.iter().cycle());
        while at < stream.len() {
            let take = (*cuts.next().unwrap()).clamp(1, CHUNK_MAX).min(stream.len() - at);
            let mut chunk = pool.get(take);
            chunk.as_mut()[..take].copy_from_slice(&stream[at..at + take]);
            at += take;
            let mut deliver = |m, b| {
                got.push((m, b));
                true
            };
            inbox.feed(chunk, take, &WireLimits::DEFAULT, &mut deliver).unwrap();
        }
        assert!(inbox.is_empty());
        got
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]
        #[test]
        fn cuts_do_not_matter(
            kinds in proptest::collection::vec((0u8..5, 1u32..40_000), 1..30),
            cuts in proptest::collection::vec(1usize..70_000, 1..8),
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for &(kind, n) in &kinds {
                let message = match kind {
                    0 => Message::Have(n),
                    1 => Message::KeepAlive,
                    2 => Message::Bitfield(Bytes::from(vec![n as u8; n as usize])),
                    _ => Message::Piece(Block { piece: n, begin: 0, length: n }),
                };
                let bytes = if kind > 2 { block(n, n) } else { control(&message) };
                let payload = if kind > 2 { Bytes::copy_from_slice(&bytes[13..]) } else { Bytes::new() };
                expected.push((message, payload));
                stream.extend_from_slice(&bytes);
            }
            prop_assert_eq!(feed_all(&stream, &cuts), expected);
        }
    }

    #[test]
    fn blocks_are_slices_only_of_a_chunk_that_is_mostly_blocks() {
        let pool = ChunkPool::default();
        for (messages, shared) in [(block(0, 16384), true), (block(0, 9000), false)] {
            let mut chunk = pool.get(CHUNK_MIN);
            chunk.as_mut()[..messages.len()].copy_from_slice(&messages);
            let memory = chunk.as_ref().as_ptr_range();
            let mut inside = None;
            let mut deliver = |_, b: Bytes| {
                inside = Some(memory.contains(&b.as_ptr()));
                true
            };
            Inbox::default().feed(chunk, messages.len(), &WireLimits::DEFAULT, &mut deliver).unwrap();
            assert_eq!(inside, Some(shared));
        }
    }

    #[test]
    fn an_announced_length_takes_no_memory() {
        let (pool, mut inbox) = (ChunkPool::default(), Inbox::default());
        let mut chunk = pool.get(1);
        chunk.as_mut()[..6].copy_from_slice(&[0, 0x10, 0, 0, 20, 1]);
        inbox.feed(chunk, 6, &WireLimits::DEFAULT, &mut |_, _| true).unwrap();
        assert!(inbox.partial.capacity() <= ROOM);
    }

    #[test]
    fn who_has_closed_gets_nothing_more() {
        let pool = ChunkPool::default();
        let mut chunk = pool.get(1);
        chunk.as_mut()[..8].copy_from_slice(&[0; 8]);
        let mut seen = 0;
        let mut deliver = |_, _| {
            seen += 1;
            false
        };
        Inbox::default().feed(chunk, 8, &WireLimits::DEFAULT, &mut deliver).unwrap();
        assert_eq!(seen, 1);
    }
}
