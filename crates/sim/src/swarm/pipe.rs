//! One direction of a connection: an ordered stream with a socket's bounded buffer.
//!
//! What is put waits with the sender until the buffer has room; it leaves that room when
//! the far end has acknowledged it. So a stream has no more than the buffer in flight,
//! and who puts too much is told late that it was sent: the backpressure of a socket.

use std::collections::VecDeque;

use bytes::Bytes;
use starling_swarm::wire::{HANDSHAKE_LEN, encoded_len};
use starling_swarm::{Block, Handshake, Message};

/// Bytes of small messages that go together: a TCP segment.
const SEGMENT: u32 = 1_400;
/// Bytes that the far end takes before it acknowledges them. Control messages alone
/// thus cost few acknowledgements, and each block gets one.
pub(super) const ACK_EVERY: u32 = 4_096;

/// What goes over a connection.
#[derive(Debug)]
pub enum What {
    /// The first of each side.
    Handshake(Handshake),
    /// Any message but a block.
    Message(Message),
    /// A block and its bytes.
    Block(Block, Bytes),
    /// The sender has closed.
    End,
}

impl What {
    /// Bytes on the wire.
    fn bytes(&self) -> u32 {
        let bytes = match self {
            What::Handshake(_) => HANDSHAKE_LEN,
            What::Message(message) => encoded_len(message),
            What::Block(block, _) => encoded_len(&Message::Piece(*block)),
            What::End => 1,
        };
        bytes as u32
    }
}

/// What leaves a host in one go: a block, or small messages up to a segment.
#[derive(Debug)]
pub struct Packet {
    /// In order.
    pub items: Vec<What>,
    /// Their bytes on the wire.
    pub bytes: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Pipe {
    waiting: VecDeque<What>,
    /// How many of `waiting` are in the socket's buffer.
    admitted: usize,
    /// Bytes in the buffer: not yet left, or not yet acknowledged.
    held: u64,
    buffer: u64,
}

impl Pipe {
    /// An empty one with a buffer of `buffer` bytes.
    pub fn new(buffer: u64) -> Pipe {
        Pipe { waiting: VecDeque::new(), admitted: 0, held: 0, buffer }
    }

    /// Appends to the stream; [`Pipe::admit`] is to be called after.
    pub fn put(&mut self, what: What) {
        self.waiting.push_back(what);
    }

    /// The far end has got `bytes`; [`Pipe::admit`] is to be called after.
    pub fn acknowledged(&mut self, bytes: u32) {
        self.held = self.held.saturating_sub(bytes.into());
    }

    /// Lets into the buffer what there is room for; the bytes of blocks among it.
    pub fn admit(&mut self) -> u32 {
        let mut sent = 0;
        while let Some(next) = self.waiting.get(self.admitted) {
            let bytes = u64::from(next.bytes());
            if self.held + bytes > self.buffer && self.held > u64::from(ACK_EVERY) {
                break;
            }
            self.held += bytes;
            self.admitted += 1;
            if let What::Block(block, _) = next {
                sent += block.length;
            }
        }
        sent
    }

    /// Whether something may leave.
    pub fn is_ready(&self) -> bool {
        self.admitted > 0
    }

    /// Whether what leaves next is small.
    pub fn is_brief(&self) -> bool {
        self.waiting.front().is_some_and(|what| what.bytes() <= SEGMENT)
    }

    /// What leaves next, in `items`, which is empty.
    pub fn next_packet(&mut self, items: Vec<What>) -> Option<Packet> {
        let mut packet = Packet { items, bytes: 0 };
        while self.admitted > 0
            && let Some(bytes) = self.waiting.front().map(What::bytes)
            && (packet.items.is_empty() || packet.bytes + bytes <= SEGMENT)
        {
            self.admitted -= 1;
            packet.bytes += bytes;
            packet.items.extend(self.waiting.pop_front());
        }
        (!packet.items.is_empty()).then_some(packet)
    }

    /// The sender closes: what is in the buffer still leaves, then the end of the stream.
    pub fn close(&mut self) {
        self.waiting.truncate(self.admitted);
        self.waiting.push_back(What::End);
        self.held += u64::from(What::End.bytes());
        self.admitted += 1;
    }

    /// The connection is gone: nothing leaves any more.
    pub fn clear(&mut self) {
        self.waiting = VecDeque::new();
        self.admitted = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(length: u32) -> What {
        What::Block(Block { piece: 0, begin: 0, length }, Bytes::new())
    }

    #[test]
    fn no_more_than_the_buffer_is_in_flight_and_the_rest_waits() {
        let mut pipe = Pipe::new(40_000);
        (0..4).for_each(|_| pipe.put(block(16_384)));
        assert_eq!(pipe.admit(), 2 * 16_384);
        assert_eq!(pipe.next_packet(Vec::new()).unwrap().bytes, 16_384 + 13);
        assert!(pipe.next_packet(Vec::new()).is_some() && pipe.next_packet(Vec::new()).is_none());
        assert_eq!(pipe.admit(), 0, "nothing is acknowledged yet");
        pipe.acknowledged(16_384 + 13);
        assert_eq!((pipe.admit(), pipe.is_ready()), (16_384, true));
    }

    #[test]
    fn small_messages_go_together_and_in_order_with_blocks() {
        let mut pipe = Pipe::new(100_000);
        (0..100).for_each(|piece| pipe.put(What::Message(Message::Have(piece))));
        pipe.put(block(16_384));
        pipe.put(What::Message(Message::Choke));
        pipe.admit();
        let sizes: Vec<usize> =
            std::iter::from_fn(|| pipe.next_packet(Vec::new())).map(|packet| packet.items.len()).collect();
        assert_eq!(sizes, [100, 1, 1]);
    }

    #[test]
    fn who_closes_sends_what_is_in_the_buffer_and_no_more() {
        let mut pipe = Pipe::new(20_000);
        (0..3).for_each(|_| pipe.put(block(16_384)));
        pipe.admit();
        pipe.close();
        let items: Vec<What> =
            std::iter::from_fn(|| pipe.next_packet(Vec::new())).flat_map(|p| p.items).collect();
        assert!(matches!(items[..], [What::Block(..), What::End]), "{items:?}");
    }
}
