//! Strangers that say anything.

use std::time::Duration;

use bytes::Bytes;
use starling_metainfo::{Bitfield, Sha256Hash};
use starling_sansio::{Machine, Rng, Time};
use starling_swarm::{
    Blame, Block, Config, ConnId, HashRange, Hello, Input, Message, Output, Reserved, Torrent,
};

use crate::world::{Content, KIB, LinkSpec, MIB, World, ip_of};

const BLOCK: u32 = 16 * 1024;

/// A torrent alone, spoken to directly.
struct Alone {
    torrent: Torrent,
    now: Time,
    content: Content,
}

impl Alone {
    fn new(seed: u64, have: bool) -> Alone {
        Alone::with(Config::default(), seed, have)
    }

    fn with(config: Config, seed: u64, have: bool) -> Alone {
        let content = Content::hybrid(8 * MIB, 256 * KIB);
        let info = content.info().clone();
        let rng = Rng::from_seed(seed);
        let mut torrent = Torrent::new(info.hashes, config, rng, [1; 20], 6881);
        let pieces = info.layout.pieces();
        let have = if have { Bitfield::full(pieces) } else { Bitfield::new(pieces) };
        let now = Time::from_secs(1);
        let piece_layers = content.piece_layers();
        torrent.handle(now, Input::Loaded { info, piece_layers, have }, &mut Vec::new());
        Alone { torrent, now, content }
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.torrent.handle(self.now, input, &mut out);
        out
    }

    fn connect(&mut self, conn: u32, reserved: Reserved) -> Vec<Output> {
        let addr = (ip_of(conn as usize), 6881).into();
        let hello = Hello { addr, peer_id: [2; 20], reserved, outbound: false, v2: true };
        self.input(Input::Connected { conn: ConnId(conn), hello })
    }

    fn hear(&mut self, conn: u32, message: Message) -> Vec<Output> {
        self.input(Input::Message { conn: ConnId(conn), message })
    }
}

fn closed(out: &[Output]) -> Option<Blame> {
    out.iter().find_map(|o| match o {
        Output::Close { why, .. } => Some(why.blame),
        _ => None,
    })
}

fn bitfield(bits: u8) -> Message {
    Message::Bitfield(Bytes::from(vec![bits, 0, 0, 0]))
}

/// aria2 sends its whole bitfield again instead of many haves.
#[test]
fn a_grown_bitfield_counts_as_haves_and_a_repeated_one_as_nonsense() {
    let mut alone = Alone::new(1, false);
    alone.connect(1, Reserved::OURS);
    alone.hear(1, bitfield(0x80));
    assert_eq!(closed(&alone.hear(1, bitfield(0xe0))), None);
    assert_eq!(alone.torrent.peers()[0].pieces, 3);
    let strikes = (0..1000).map(|_| closed(&alone.hear(1, bitfield(0xe0)))).find(Option::is_some);
    assert_eq!(strikes, Some(Some(Blame::Peer)));
}

#[test]
fn the_order_of_messages_is_kept_to() {
    let cases: Vec<Vec<Message>> = vec![
        vec![Message::HaveAll, Message::HaveNone],
        vec![bitfield(0x80), Message::HaveAll],
        vec![Message::Interested, Message::Bitfield(Bytes::from_static(&[1, 2, 3]))],
        vec![Message::Bitfield(Bytes::from_static(&[1, 2, 3]))],
        vec![Message::Bitfield(Bytes::from_static(&[1, 2, 3, 4, 5]))],
        vec![Message::Have(32)],
        vec![Message::Request(Block { piece: 99, begin: 0, length: BLOCK })],
        vec![Message::Request(Block { piece: 0, begin: u32::MAX, length: BLOCK })],
        vec![Message::Request(Block { piece: 0, begin: 0, length: 1 << 24 })],
        vec![Message::Request(Block { piece: 0, begin: 0, length: 0 })],
    ];
    for messages in cases {
        let mut alone = Alone::new(1, false);
        alone.connect(1, Reserved::OURS);
        let last = messages.len() - 1;
        for (i, message) in messages.iter().enumerate() {
            let out = alone.hear(1, message.clone());
            assert_eq!(closed(&out), (i == last).then_some(Blame::Peer), "{messages:?}");
        }
    }
}

#[test]
fn fast_messages_need_the_fast_extension() {
    let mut alone = Alone::new(2, false);
    alone.connect(1, Reserved::default());
    assert_eq!(closed(&alone.hear(1, Message::HaveAll)), Some(Blame::Peer));
}

#[test]
fn requests_beyond_reqq_are_rejected_each_once() {
    let mut alone = Alone::new(3, true);
    alone.connect(1, Reserved::OURS);
    let out = alone.hear(1, Message::Interested);
    assert!(out.iter().any(|o| matches!(o, Output::Send { message: Message::Unchoke, .. })));
    let (mut sent, mut rejected) = (0, 0);
    for i in 0..6000u32 {
        let block = Block { piece: i / 16 % 32, begin: i % 16 * BLOCK, length: BLOCK };
        for o in alone.hear(1, Message::Request(block)) {
            match o {
                Output::SendBlock { .. } => sent += 1,
                Output::Send { message: Message::Reject(_), .. } => rejected += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(sent * u64::from(BLOCK) <= 256 * KIB, "the driver holds a watermark's worth");
    assert_eq!(6000 - rejected, 2500 + sent);
    let out = alone.input(Input::Sent { conn: ConnId(1), bytes: 256 * 1024 });
    assert_eq!(out.len(), 16);
}

/// The driver holds no more than a watermark for each peer. A block that it cannot read is
/// refused and counts no longer, or a few of them would end all serving.
#[test]
fn blocks_that_cannot_be_read_are_refused_and_hold_up_nothing() {
    for reserved in [Reserved::OURS, Reserved::default()] {
        let mut alone = Alone::new(4, true);
        alone.connect(1, reserved);
        alone.hear(1, Message::Interested);
        alone.now = alone.now + Duration::from_secs(1);
        alone.torrent.handle_timeout(alone.now, &mut Vec::new());
        let asked: Vec<Block> =
            (0..200).map(|i| Block { piece: i / 16, begin: i % 16 * BLOCK, length: BLOCK }).collect();
        let mut todo: Vec<Output> = asked.iter().flat_map(|&b| alone.hear(1, Message::Request(b))).collect();
        let (mut sent, mut refused) = (Vec::new(), Vec::new());
        while !todo.is_empty() {
            let mut next = Vec::new();
            for o in todo {
                match o {
                    Output::SendBlock { conn, block } => {
                        sent.push(block);
                        next.extend(alone.input(Input::Unread { conn, block }));
                    }
                    Output::Send { message: Message::Reject(block), .. } => refused.push(block),
                    _ => {}
                }
            }
            todo = next;
        }
        assert_eq!(sent, asked);
        assert_eq!(refused, if reserved == Reserved::OURS { asked } else { Vec::new() });
    }
}

#[test]
fn floods_are_closed() {
    let messages: [fn(u32) -> Message; 5] = [
        |_| Message::Interested,
        |i| Message::Suggest(i),
        |i| Message::Cancel(Block { piece: 0, begin: i, length: 1 }),
        |_| Message::Extended { id: 0, payload: Bytes::from_static(b"de") },
        |i| Message::Piece(Block { piece: 0, begin: i * BLOCK, length: BLOCK }),
    ];
    for message in messages {
        let mut alone = Alone::new(4, false);
        alone.connect(1, Reserved::OURS);
        let end = (0..200_000).find(|&i| closed(&alone.hear(1, message(i))).is_some());
        assert!(end.is_some(), "{:?}", message(0));
    }
}

#[test]
fn choked_peers_get_rejects_but_for_their_fast_set() {
    let mut alone = Alone::new(5, true);
    let out = alone.connect(1, Reserved::OURS);
    let fast: Vec<u32> = out
        .iter()
        .filter_map(|o| match o {
            Output::Send { message: Message::AllowedFast(piece), .. } => Some(*piece),
            _ => None,
        })
        .collect();
    assert_eq!(fast.len(), 10);
    for piece in 0..32 {
        let block = Block { piece, begin: 0, length: BLOCK };
        let out = alone.hear(1, Message::Request(block));
        alone.input(Input::Sent { conn: ConnId(1), bytes: BLOCK });
        let expected = if fast.contains(&piece) {
            Output::SendBlock { conn: ConnId(1), block }
        } else {
            Output::Send { conn: ConnId(1), message: Message::Reject(block) }
        };
        assert_eq!(out, [expected]);
    }
}

#[test]
fn a_block_of_another_length_closes() {
    let mut alone = Alone::new(6, false);
    alone.connect(1, Reserved::OURS);
    alone.hear(1, Message::HaveAll);
    let out = alone.hear(1, Message::Unchoke);
    let asked = out.iter().find_map(|o| match o {
        Output::Send { message: Message::Request(block), .. } => Some(*block),
        _ => None,
    });
    let block = Block { length: 5, ..asked.unwrap() };
    assert_eq!(closed(&alone.hear(1, Message::Piece(block))), Some(Blame::Peer));
}

/// A seed that answers in order, a cancelled request with a reject, but is heard late.
#[derive(Default)]
struct Late {
    queue: Vec<Block>,
    unheard: Vec<Message>,
    /// So many requests to come are rejected for no reason.
    moody: usize,
}

impl Late {
    fn take(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Send { message: Message::Request(block), .. } if self.moody > 0 => {
                    self.moody -= 1;
                    self.unheard.push(Message::Reject(block));
                }
                Output::Send { message: Message::Request(block), .. } => self.queue.push(block),
                Output::Send { message: Message::Cancel(block), .. } => {
                    let at = self.queue.iter().position(|&b| b == block).expect("a request that stands");
                    self.unheard.push(Message::Reject(self.queue.remove(at)));
                }
                _ => {}
            }
        }
    }

    /// Answers whatever comes for a while; pieces are good when their last block is there.
    fn serve(&mut self, alone: &mut Alone) {
        let mut missing = [16; 32];
        for _ in 0..1000 {
            for message in self.answers() {
                let mut out = alone.hear(1, message);
                assert_eq!(closed(&out), None);
                let stored: Vec<Block> = out.iter().filter_map(stored).collect();
                for block in stored {
                    missing[block.piece as usize] -= 1;
                    if missing[block.piece as usize] == 0 {
                        out.extend(alone.input(Input::PieceVerified { piece: block.piece }));
                    }
                }
                self.take(out);
            }
            alone.now = alone.now + Duration::from_millis(50);
            let mut out = Vec::new();
            alone.torrent.handle_timeout(alone.now, &mut out);
            self.take(out);
        }
    }

    fn answers(&mut self) -> Vec<Message> {
        let blocks = self.queue.drain(..).map(Message::Piece);
        std::mem::take(&mut self.unheard).into_iter().chain(blocks).collect()
    }
}

/// A pause takes requests back. The rejects that answer this may come after the same blocks
/// were asked for again, and say nothing about those.
#[test]
fn a_reject_for_what_was_taken_back_is_none_for_what_is_asked_anew() {
    let mut alone = Alone::with(Config { sequential: true, ..Config::default() }, 7, false);
    let mut late = Late::default();
    alone.connect(1, Reserved::OURS);
    alone.hear(1, Message::HaveAll);
    late.take(alone.hear(1, Message::Unchoke));
    let asked = late.queue.clone();
    late.take(alone.input(Input::PauseDownload(true)));
    assert!(late.queue.is_empty() && late.unheard.len() == asked.len());
    late.take(alone.input(Input::PauseDownload(false)));
    assert!(late.queue.iter().any(|block| asked.contains(block)), "the case that is meant");
    late.serve(&mut alone);
    assert!(alone.torrent.is_finished(), "{:?}", alone.torrent.stats());
    assert_eq!(alone.torrent.stats().wasted, 0);
}

/// It may have been busy: nobody else has the pieces, and it wants nothing of us.
#[test]
fn what_a_peer_rejected_it_is_asked_for_again_later() {
    let mut alone = Alone::new(8, false);
    let mut late = Late { moody: 3, ..Late::default() };
    alone.connect(1, Reserved::OURS);
    alone.hear(1, Message::HaveAll);
    late.take(alone.hear(1, Message::Unchoke));
    late.serve(&mut alone);
    assert!(alone.torrent.is_finished(), "{:?}", alone.torrent.stats());
}

fn stored(output: &Output) -> Option<Block> {
    match output {
        Output::Store { block } => Some(*block),
        _ => None,
    }
}

/// Any message with numbers near the edges.
fn anything(rng: &mut Rng, pieces: u32) -> Message {
    let odd = |rng: &mut Rng| match rng.index(4) {
        0 => rng.next_u32(),
        1 => u32::MAX,
        _ => rng.index(pieces as usize + 2) as u32,
    };
    let block = |rng: &mut Rng| {
        let begin = if rng.index(4) == 0 { odd(rng) } else { rng.index(17) as u32 * BLOCK };
        let length = if rng.index(4) == 0 { odd(rng) } else { BLOCK };
        Block { piece: odd(rng), begin, length }
    };
    let bytes = |rng: &mut Rng, most| {
        let mut bytes = vec![0; rng.index(most)];
        rng.fill(&mut bytes);
        Bytes::from(bytes)
    };
    let range = |rng: &mut Rng| HashRange {
        pieces_root: Sha256Hash([rng.index(2) as u8; 32]),
        base_layer: odd(rng),
        index: odd(rng),
        length: odd(rng),
        proof_layers: odd(rng),
    };
    match rng.index(26) {
        0 => Message::KeepAlive,
        1 => Message::Choke,
        2..=4 => Message::Unchoke,
        5 => Message::Interested,
        6 => Message::NotInterested,
        7 => Message::Have(odd(rng) % pieces),
        8 => Message::Bitfield(bytes(rng, 9)),
        9 => Message::Request(Block { piece: odd(rng) % pieces, begin: 0, length: BLOCK }),
        10 => Message::Request(block(rng)),
        11..=13 => Message::Piece(block(rng)),
        14 => Message::Cancel(block(rng)),
        15 => Message::Port(7),
        16 => Message::Suggest(odd(rng)),
        17 => Message::HaveAll,
        18 => Message::HaveNone,
        19 => Message::Reject(block(rng)),
        20 => Message::AllowedFast(odd(rng)),
        21 => Message::Extended { id: rng.index(5) as u8, payload: bytes(rng, 64) },
        22 => Message::HashRequest(range(rng)),
        23 => Message::Hashes { range: range(rng), hashes: vec![Sha256Hash([7; 32]); rng.index(9)] },
        24 => Message::HashReject(range(rng)),
        _ => Message::Unknown(200),
    }
}

#[test]
fn arbitrary_messages_never_panic_nor_pile_up() {
    for seed in 0..60 {
        let mut rng = Rng::from_seed(seed);
        let mut alone = Alone::new(seed, seed % 3 == 0);
        let pieces = alone.content.layout().pieces();
        let mut live: Vec<(u32, Vec<Block>)> = Vec::new();
        let mut next = 1;
        for _ in 0..3000 {
            if live.len() < 4 {
                let reserved = if rng.index(4) == 0 { Reserved::default() } else { Reserved::OURS };
                alone.connect(next, reserved);
                live.push((next, Vec::new()));
                next += 1;
            }
            let at = rng.index(live.len());
            let conn = live[at].0;
            let mut out = match rng.index(13) {
                0 => alone.input(Input::Sent { conn: ConnId(conn), bytes: rng.next_u32() }),
                1 => alone.input(Input::PieceVerified { piece: rng.next_u32() % (pieces + 1) }),
                2 => {
                    alone.input(Input::PieceFailed { piece: rng.next_u32() % (pieces + 1), digests: vec![] })
                }
                3 => alone.input(Input::PieceLost { piece: rng.next_u32() % (pieces + 1) }),
                12 => alone.input(Input::Unread {
                    conn: ConnId(conn),
                    block: Block { piece: 0, begin: 0, length: BLOCK },
                }),
                4..=7 if !live[at].1.is_empty() => {
                    let block = live[at].1.remove(0);
                    alone.hear(conn, Message::Piece(block))
                }
                _ => alone.hear(conn, anything(&mut rng, pieces)),
            };
            alone.now = alone.now + Duration::from_millis(rng.below(400));
            if alone.torrent.next_timeout().is_some_and(|at| at <= alone.now) {
                alone.torrent.handle_timeout(alone.now, &mut out);
            }
            for o in out {
                match o {
                    Output::Send { conn, message: Message::Request(block) } => {
                        if let Some((_, asked)) = live.iter_mut().find(|(c, _)| ConnId(*c) == conn) {
                            asked.push(block);
                        }
                    }
                    Output::Close { conn, .. } => {
                        live.retain(|(c, _)| ConnId(*c) != conn);
                        alone.input(Input::Disconnected { conn });
                    }
                    _ => {}
                }
            }
            let stats = alone.torrent.stats();
            assert!(stats.in_flight <= 4 * 2500 * u64::from(BLOCK));
        }
    }
}

#[test]
fn equal_seeds_give_equal_outputs() {
    let run = |seed| {
        let mut w = World::new(seed, Content::v1(16 * MIB, 256 * KIB));
        w.record = true;
        let origin = w.seed();
        let leeches: Vec<_> = (0..4).map(|_| w.leech()).collect();
        w.connect_all(LinkSpec::of(30, 3_000_000));
        assert!(w.run_until_finished(&leeches, Duration::from_secs(60)));
        (w.digest, w.nodes[origin].served)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
}
