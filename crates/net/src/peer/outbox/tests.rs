use proptest::prelude::*;
use starling_swarm::wire::{Decoded, WireLimits, decode};

use super::*;

fn block(piece: u32, length: u32) -> Block {
    Block { piece, begin: 0, length }
}

fn content(block: Block) -> Vec<u8> {
    (0..block.length).map(|i| (i * 3 + block.piece) as u8).collect()
}

/// A socket that takes so many bytes at each write, and a handler that has so many of
/// the blocks it is asked for in memory.
struct World {
    outbox: Outbox,
    stream: Vec<u8>,
    sent: u64,
    read_later: Vec<Block>,
    scratch: Vec<u8>,
}

impl World {
    fn new() -> World {
        World {
            outbox: Outbox::new(),
            stream: Vec::new(),
            sent: 0,
            read_later: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// One write of at most `room` bytes; false if there was nothing to write.
    fn write(&mut self, room: usize, resident: usize) -> bool {
        let unsent = self.outbox.unsent();
        if !unsent.is_empty() {
            let n = room.min(unsent.len());
            self.stream.extend_from_slice(&unsent[..n]);
            self.sent += u64::from(self.outbox.unsent_written(n));
            return true;
        }
        let mut batch = match self.outbox.take_batch(std::mem::take(&mut self.scratch)) {
            Ok(batch) => batch,
            Err(scratch) => {
                self.scratch = scratch;
                return false;
            }
        };
        let later = batch.fill(|blocks, bufs| {
            for (block, buf) in blocks.iter().zip(bufs).take(resident) {
                buf.copy_from_slice(&content(*block));
            }
            Fill::Pending(resident)
        });
        self.outbox.set_pending(&later);
        self.read_later.extend(later);
        let n = room.min(batch.bytes().len());
        self.stream.extend_from_slice(&batch.bytes()[..n]);
        let (sent, scratch) = self.outbox.written(batch, n);
        self.sent += u64::from(sent);
        self.scratch = scratch;
        true
    }

    fn bring(&mut self) {
        for block in std::mem::take(&mut self.read_later) {
            assert!(self.outbox.ready(block, content(block).into()));
        }
    }

    fn drain(&mut self) {
        while self.write(usize::MAX, usize::MAX) || !self.read_later.is_empty() {
            self.bring();
        }
    }

    /// The messages of the stream; blocks are checked.
    fn messages(&self) -> Vec<Message> {
        let (mut at, mut out) = (0, Vec::new());
        while at < self.stream.len() {
            let Ok(Decoded::Frame { message, consumed, payload }) =
                decode(&self.stream[at..], &WireLimits::DEFAULT)
            else {
                panic!("the stream is broken at {at}");
            };
            if let Message::Piece(block) = message {
                assert!(self.stream[at..][payload] == content(block));
            }
            at += consumed;
            out.push(message);
        }
        out
    }
}

#[derive(Clone, Debug)]
enum Step {
    Say(u32),
    Choke,
    Block(u32),
    Write(usize, usize),
    Bring,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<u32>().prop_map(Step::Say),
        Just(Step::Choke),
        (1u32..20_000).prop_map(Step::Block),
        (1u32..20_000).prop_map(Step::Block),
        (0usize..60_000, 0usize..4).prop_map(|(room, resident)| Step::Write(room, resident)),
        Just(Step::Bring),
    ]
}

proptest! {
    #[test]
    fn all_goes_once_and_no_block_is_overtaken_by_a_choke(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        let (mut control, mut blocks, mut chokes_after) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Say(n) => control.push(Message::Have(n)),
                Step::Choke => {
                    control.push(Message::Choke);
                    chokes_after.push(blocks.len());
                }
                Step::Block(length) => {
                    blocks.push(block(blocks.len() as u32, length));
                    world.outbox.push_block(*blocks.last().unwrap());
                }
                Step::Write(room, resident) => drop(world.write(room, resident)),
                Step::Bring => world.bring(),
            }
            if matches!(step, Step::Say(_) | Step::Choke) {
                world.outbox.push_message(control.last().unwrap());
            }
        }
        world.drain();
        let (got_blocks, got_control): (Vec<_>, Vec<_>) =
            world.messages().into_iter().partition(|m| matches!(m, Message::Piece(_)));
        prop_assert_eq!(got_control, control);
        let mut pieces: Vec<u32> = got_blocks.iter().map(|m| match m { Message::Piece(b) => b.piece, _ => 0 }).collect();
        pieces.sort_unstable();
        prop_assert_eq!(pieces, (0..blocks.len() as u32).collect::<Vec<_>>());
        prop_assert_eq!(world.sent, blocks.iter().map(|b| u64::from(b.length)).sum::<u64>());
        prop_assert_eq!(world.outbox.blocks_waiting(), 0);
        prop_assert!(world.outbox.is_empty() && world.outbox.control_waiting() == 0);
        let mut chokes = chokes_after.into_iter();
        for (at, message) in world.messages().iter().enumerate() {
            if *message == Message::Choke {
                let before = world.messages()[..at].iter().filter(|m| matches!(m, Message::Piece(_))).count();
                prop_assert!(before >= chokes.next().unwrap());
            }
        }
    }
}

#[test]
fn requests_overtake_blocks_and_share_their_write() {
    let mut world = World::new();
    (0..3).for_each(|i| world.outbox.push_block(block(i, 16384)));
    world.outbox.push_message(&Message::Have(7));
    assert!(world.write(usize::MAX, 16));
    assert!(world.outbox.is_empty());
    assert_eq!(world.messages()[0], Message::Have(7));
    assert_eq!(world.messages().len(), 4);
}

#[test]
fn a_peer_that_takes_little_holds_little() {
    let mut world = World::new();
    (0..200).for_each(|i| world.outbox.push_block(block(i, 16384)));
    for _ in 0..20 {
        world.write(20_000, 16);
        assert!(world.outbox.unsent().len() <= 16384 + PIECE_HEADER_LEN);
        assert!(world.outbox.ready.is_empty() && world.outbox.pending.is_empty());
    }
    assert_eq!(world.outbox.batch, BATCH_MIN);
    assert_eq!(world.outbox.blocks_waiting(), 200 * 16384 - world.sent);
}

#[test]
fn the_disk_reads_only_so_far_ahead() {
    let mut world = World::new();
    (0..200).for_each(|i| world.outbox.push_block(block(i, 16384)));
    while world.write(usize::MAX, 0) {}
    assert_eq!(world.read_later.len(), PENDING_MAX);
    let gone = world.read_later.pop().unwrap();
    assert!(world.outbox.drop_pending(gone) && !world.outbox.drop_pending(gone));
    assert!(!world.outbox.ready(gone, content(gone).into()), "it was given up");
    assert!(!world.outbox.ready(world.read_later[0], Bytes::new()), "not its bytes");
    world.drain();
    assert_eq!(world.sent, 199 * 16384);
}

#[test]
fn an_idle_outbox_gives_memory_back() {
    let mut world = World::new();
    for i in 0..5000 {
        world.outbox.push_message(&Message::Have(i));
        world.outbox.push_block(block(i, 10));
    }
    world.drain();
    assert!(world.outbox.control.capacity() <= IDLE_BYTES);
    assert!(world.outbox.queue.capacity() * size_of::<Item>() <= IDLE_BYTES);
    assert_eq!(world.outbox.unsent.capacity(), 0);
}
