//! Both ends of real connections on loopback, and strangers who misbehave.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use starling_metainfo::{BLOCK_LENGTH, Sha1Hash};
use starling_swarm::Reserved;
use starling_swarm::wire::{HANDSHAKE_LEN, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, yield_now};

use super::*;

mod crowd;
mod exhausted;

#[derive(Debug)]
enum Seen {
    Greeted(PeerHandle),
    Message(Message, Bytes),
    BatchEnd,
    Sent(u32),
    Closed(Closed),
}

/// What nobody wants to hear so often.
const FLOOD: u32 = 0x0101_0101;

/// A handler that tells what it is told, and has every block.
struct Recorder {
    seen: UnboundedSender<(ConnId, Seen)>,
    accept: Cell<bool>,
    may_read: Cell<bool>,
    resident: Cell<usize>,
    asked_later: RefCell<Vec<Block>>,
    /// Answers every request by a rejection.
    rejects: Cell<bool>,
    haves: Cell<u64>,
    peers: RefCell<BTreeMap<ConnId, PeerHandle>>,
}

impl PeerHandler for Recorder {
    fn handshake(&self, peer: &PeerHandle, theirs: Handshake) -> Option<Handshake> {
        if !self.accept.get() {
            return None;
        }
        self.peers.borrow_mut().insert(peer.conn(), peer.clone());
        peer.send(&Message::HaveNone);
        self.tell(peer.conn(), Seen::Greeted(peer.clone()));
        Some(Handshake { peer_id: [9; 20], ..theirs })
    }
    fn message(&self, conn: ConnId, message: Message, payload: Bytes) {
        match message {
            Message::Request(block) if self.rejects.get() => {
                self.peers.borrow()[&conn].send(&Message::Reject(block));
            }
            Message::Have(FLOOD) => self.haves.set(self.haves.get() + 1),
            message => self.tell(conn, Seen::Message(message, payload)),
        }
    }
    fn batch_end(&self, conn: ConnId) {
        self.tell(conn, Seen::BatchEnd);
    }
    fn sent(&self, conn: ConnId, payload_bytes: u32) {
        self.tell(conn, Seen::Sent(payload_bytes));
    }
    fn may_read(&self, _: ConnId) -> bool {
        self.may_read.get()
    }
    fn fill(&self, _: ConnId, blocks: &[Block], bufs: &mut [IoSliceMut<'_>]) -> Fill {
        let resident = self.resident.get().min(blocks.len());
        for (block, buf) in blocks.iter().zip(bufs).take(resident) {
            buf.copy_from_slice(&content(*block));
        }
        self.asked_later.borrow_mut().extend(&blocks[resident..]);
        Fill::Pending(resident)
    }
    fn closed(&self, conn: ConnId, why: Closed) {
        self.tell(conn, Seen::Closed(why));
    }
}

impl Recorder {
    fn tell(&self, conn: ConnId, seen: Seen) {
        let _ = self.seen.send((conn, seen));
    }
}

fn content(block: Block) -> Vec<u8> {
    (0..block.length).map(|i| (i * 5 + block.piece * 31 + block.begin) as u8).collect()
}

fn block(piece: u32) -> Block {
    Block { piece, begin: 0, length: BLOCK_LENGTH }
}

fn handshake() -> Handshake {
    Handshake { reserved: Reserved::OURS, info_hash: Sha1Hash([1; 20]), peer_id: [2; 20] }
}

/// A node's network thread with one listener.
struct End {
    peers: Peers,
    handler: Rc<Recorder>,
    seen: UnboundedReceiver<(ConnId, Seen)>,
    addr: SocketAddr,
    _listening: Listening,
}

impl End {
    fn new(limits: Limits) -> End {
        let (seen, arrivals) = unbounded_channel();
        let handler = Rc::new(Recorder {
            seen,
            accept: Cell::new(true),
            may_read: Cell::new(true),
            resident: Cell::new(usize::MAX),
            asked_later: RefCell::default(),
            rejects: Cell::new(false),
            haves: Cell::new(0),
            peers: RefCell::default(),
        });
        let peers = Peers::new(limits);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.addr();
        let next = Cell::new(1000);
        let listening = peers.listen(listener, handler.clone(), move |_| {
            next.set(next.get() + 1);
            Some(ConnId(next.get()))
        });
        End { peers, handler, seen: arrivals, addr, _listening: listening }
    }

    fn dial(&self, conn: u32, to: SocketAddr) -> PeerHandle {
        self.peers.dial(ConnId(conn), to, None, handshake(), self.handler.clone())
    }

    async fn next(&mut self) -> (ConnId, Seen) {
        self.seen.recv().await.unwrap()
    }

    async fn greeted(&mut self) -> PeerHandle {
        loop {
            if let (_, Seen::Greeted(peer)) = self.next().await {
                return peer;
            }
        }
    }

    async fn message(&mut self) -> (Message, Bytes) {
        loop {
            match self.next().await {
                (_, Seen::Message(message, payload)) => return (message, payload),
                (_, Seen::Closed(why)) => panic!("closed: {why}"),
                _ => {}
            }
        }
    }

    async fn closed(&mut self) -> (ConnId, Closed) {
        loop {
            if let (conn, Seen::Closed(why)) = self.next().await {
                return (conn, why);
            }
        }
    }
}

fn short() -> Limits {
    let soon = Duration::from_millis(60);
    Limits { handshake_timeout: soon, connect_timeout: soon, silence_timeout: soon, ..Limits::DEFAULT }
}

async fn local(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

/// A stranger's socket that has exchanged handshakes and read `HaveNone`.
async fn stranger(end: &End) -> TcpStream {
    let mut stream = TcpStream::connect(end.addr).await.unwrap();
    stream.write_all(&handshake().encode()).await.unwrap();
    let mut answer = [0; HANDSHAKE_LEN + 5];
    stream.read_exact(&mut answer).await.unwrap();
    stream
}

#[tokio::test]
async fn two_ends_exchange_handshakes_and_blocks() {
    local(async {
        let (mut a, mut b) = (End::new(Limits::DEFAULT), End::new(Limits::DEFAULT));
        a.dial(1, b.addr);
        let (to_b, to_a) = (a.greeted().await, b.greeted().await);
        assert!(to_b.outbound() && !to_a.outbound());
        assert_eq!(to_b.addr(), b.addr);
        assert_eq!((a.message().await.0, b.message().await.0), (Message::HaveNone, Message::HaveNone));
        let count = 300;
        (0..count).for_each(|piece| to_b.send(&Message::Request(block(piece))));
        for piece in 0..count {
            assert_eq!(b.message().await.0, Message::Request(block(piece)));
        }
        (0..count).for_each(|piece| to_a.send_block(block(piece)));
        assert_eq!(to_a.outstanding(), u64::from(count * BLOCK_LENGTH));
        for piece in 0..count {
            let (message, payload) = a.message().await;
            assert_eq!(message, Message::Piece(block(piece)));
            assert!(payload == content(block(piece)));
        }
        let mut sent = 0;
        while sent < count * BLOCK_LENGTH {
            if let (_, Seen::Sent(bytes)) = b.next().await {
                sent += bytes;
            }
        }
        assert_eq!((sent, to_a.outstanding()), (count * BLOCK_LENGTH, 0));
        to_b.close();
        assert!(matches!(a.closed().await, (ConnId(1), Closed::Local)));
        assert!(matches!(b.closed().await, (ConnId(1001), Closed::PeerLeft)));
        assert_eq!((a.peers.open(), b.peers.open()), (0, 0));
        to_b.send_block(block(0));
        assert_eq!(to_b.outstanding(), 0, "an ended connection takes nothing");
    })
    .await;
}

#[tokio::test]
async fn blocks_that_are_not_in_memory_follow_later() {
    local(async {
        let (mut a, mut b) = (End::new(Limits::DEFAULT), End::new(Limits::DEFAULT));
        b.handler.resident.set(1);
        a.dial(1, b.addr);
        let to_a = b.greeted().await;
        assert_eq!(a.message().await.0, Message::HaveNone);
        (0..4).for_each(|piece| to_a.send_block(block(piece)));
        to_a.send(&Message::Choke);
        assert_eq!(a.message().await.0, Message::Piece(block(0)));
        let later = b.handler.asked_later.take();
        assert_eq!(later, [block(1), block(2), block(3)]);
        to_a.block_ready(later[2], content(later[2]).into());
        let (message, payload) = a.message().await;
        assert_eq!(message, Message::Piece(block(3)));
        assert!(payload == content(block(3)));
        to_a.block_ready(later[0], content(later[0]).into());
        to_a.block_failed(later[1]);
        assert_eq!(a.message().await.0, Message::Piece(block(1)));
        assert_eq!(a.message().await.0, Message::Choke);
        assert_eq!(to_a.outstanding(), 0);
    })
    .await;
}

#[tokio::test]
async fn the_last_words_are_sent_and_nothing_is_heard_after_closing() {
    local(async {
        let (mut a, mut b) = (End::new(Limits::DEFAULT), End::new(Limits::DEFAULT));
        let to_b = a.dial(1, b.addr);
        let to_a = b.greeted().await;
        a.greeted().await;
        to_b.send(&Message::Have(5));
        to_b.close();
        assert!(matches!(a.closed().await.1, Closed::Local));
        let heard = [b.message().await.0, b.message().await.0];
        assert_eq!(heard, [Message::HaveNone, Message::Have(5)]);
        assert!(matches!(b.closed().await.1, Closed::PeerLeft));
        drop((to_a, to_b));
        assert!(a.seen.try_recv().is_err() && b.seen.try_recv().is_err());
    })
    .await;
}

#[tokio::test]
async fn dials_that_fail_say_why() {
    local(async {
        let mut a = End::new(short());
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        a.dial(1, unused);
        assert!(matches!(a.closed().await, (ConnId(1), Closed::Connect(_))));
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        a.dial(2, silent.local_addr().unwrap());
        let (conn, why) = a.closed().await;
        assert!(conn == ConnId(2) && matches!(why, Closed::HandshakeTimeout) && why.blames_peer());
        a.dial(3, silent.local_addr().unwrap()).close();
        assert!(matches!(a.closed().await, (ConnId(3), Closed::Local)));
        let mut b = End::new(Limits::DEFAULT);
        b.handler.accept.set(false);
        a.dial(4, b.addr);
        assert!(matches!(b.closed().await.1, Closed::Refused));
        assert!(matches!(a.closed().await.1, Closed::PeerLeft | Closed::Io(_)));
    })
    .await;
}

#[tokio::test]
async fn outgoing_connections_come_from_the_address_we_listen_on() {
    local(async {
        let (a, mut b) = (End::new(Limits::DEFAULT), End::new(Limits::DEFAULT));
        let from: IpAddr = "127.0.0.9".parse().unwrap();
        a.peers.dial(ConnId(1), b.addr, Some(from), handshake(), a.handler.clone());
        assert_eq!(b.greeted().await.addr().ip(), from);
        let other_family = Some("::1".parse().unwrap());
        a.peers.dial(ConnId(2), b.addr, other_family, handshake(), a.handler.clone());
        assert_eq!(b.greeted().await.addr().ip(), b.addr.ip());
    })
    .await;
}

#[tokio::test]
async fn garbage_and_absurd_lengths_end_a_connection_at_once() {
    local(async {
        let mut end = End::new(Limits::DEFAULT);
        let mut web = TcpStream::connect(end.addr).await.unwrap();
        web.write_all(b"G").await.unwrap();
        let (_, why) = end.closed().await;
        assert!(matches!(why, Closed::Protocol(WireError::NotBitTorrent)) && why.blames_peer());
        assert_eq!(web.read(&mut [0; 9]).await.unwrap_or(0), 0);
        for bytes in [&[0xff; 4][..], &[0, 0, 0, 2, 4, 0], &[0, 2, 0, 9, 7]] {
            let mut peer = stranger(&end).await;
            peer.write_all(bytes).await.unwrap();
            assert!(matches!(end.closed().await.1, Closed::Protocol(_)), "{bytes:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_slow_to_greet_or_falls_silent_is_left() {
    local(async {
        let mut end = End::new(short());
        let mut loris = TcpStream::connect(end.addr).await.unwrap();
        for byte in &handshake().encode()[..20] {
            loris.write_all(&[*byte]).await.unwrap();
        }
        assert!(matches!(end.closed().await.1, Closed::HandshakeTimeout));
        let _silent = stranger(&end).await;
        assert!(matches!(end.closed().await.1, Closed::Silent));
        assert_eq!(end.peers.open(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_peer_is_not_read_while_the_disk_is_behind_and_not_blamed_for_it() {
    local(async {
        let mut end = End::new(short());
        end.handler.may_read.set(false);
        let mut peer = stranger(&end).await;
        let handle = end.greeted().await;
        peer.write_all(&[0; 4]).await.unwrap();
        tokio::time::sleep(3 * short().silence_timeout).await;
        assert!(end.seen.try_recv().is_err(), "neither read nor closed");
        end.handler.may_read.set(true);
        handle.wake_reader();
        assert_eq!(end.message().await.0, Message::KeepAlive);
        assert!(matches!(end.closed().await.1, Closed::Silent));
    })
    .await;
}

#[tokio::test]
async fn who_asks_and_never_reads_is_no_longer_heard_and_then_left() {
    local(async {
        let limits = Limits {
            write_stall_timeout: Duration::from_millis(100),
            control_pause_bytes: 64 << 10,
            ..Limits::DEFAULT
        };
        let mut end = End::new(limits);
        end.handler.rejects.set(true);
        let mut peer = stranger(&end).await;
        let mut requests = Vec::new();
        (0..4096).for_each(|piece| encode(&Message::Request(block(piece)), &mut requests));
        let flood = tokio::task::spawn_local(async move { while peer.write_all(&requests).await.is_ok() {} });
        let (_, why) = end.closed().await;
        assert!(matches!(why, Closed::NotReading), "{why}");
        flood.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_reads_late_gets_all_answers() {
    local(async {
        let end = End::new(Limits { control_pause_bytes: 4 << 10, ..Limits::DEFAULT });
        end.handler.rejects.set(true);
        let (mut reader, mut writer) = stranger(&end).await.into_split();
        let count = 300_000;
        let mut requests = Vec::new();
        (0..count).for_each(|piece| encode(&Message::Request(block(piece)), &mut requests));
        let asking =
            tokio::task::spawn_local(async move { writer.write_all(&requests).await.map(|()| writer) });
        let mut answers = vec![0; 17 * count as usize];
        reader.read_exact(&mut answers).await.unwrap();
        let mut last = Vec::new();
        encode(&Message::Reject(block(count - 1)), &mut last);
        assert!(answers.ends_with(&last));
        asking.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_flood_from_one_peer_does_not_keep_others_waiting() {
    local(async {
        let mut end = End::new(Limits::DEFAULT);
        let mut noisy = stranger(&end).await;
        let flood = tokio::task::spawn_local(async move {
            let haves = [0, 0, 0, 5, 4, 1, 1, 1, 1].repeat(50_000);
            while noisy.write_all(&haves).await.is_ok() {}
        });
        while end.handler.haves.get() < 100_000 {
            yield_now().await;
        }
        let mut quiet = stranger(&end).await;
        quiet.write_all(&[0, 0, 0, 1, 2]).await.unwrap();
        while end.message().await.0 != Message::Interested {}
        flood.abort();
    })
    .await;
}

#[tokio::test]
async fn connections_are_capped_in_all_and_by_address() {
    local(async {
        let limits = Limits { half_open_per_ip_max: 2, connections_per_ip_max: 3, ..Limits::DEFAULT };
        let mut end = End::new(limits);
        let mut half = Vec::new();
        for _ in 0..3 {
            half.push(TcpStream::connect(end.addr).await.unwrap());
        }
        assert_eq!(half.pop().unwrap().read(&mut [0; 1]).await.unwrap_or(0), 0, "one half-open too many");
        assert_eq!(end.peers.open(), 2);
        for peer in &mut half {
            peer.write_all(&handshake().encode()).await.unwrap();
            end.greeted().await;
        }
        let _third = stranger(&end).await;
        let mut fourth = TcpStream::connect(end.addr).await.unwrap();
        assert_eq!(fourth.read(&mut [0; 1]).await.unwrap_or(0), 0, "one connection too many");
        assert_eq!(end.peers.open(), 3);
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.8:0".parse().unwrap()).unwrap();
        let mut elsewhere = socket.connect(end.addr).await.unwrap();
        elsewhere.write_all(&handshake().encode()).await.unwrap();
        while end.greeted().await.addr().ip() != IpAddr::from([127, 0, 0, 8]) {}
        drop(half);
        while end.peers.open() > 2 {
            yield_now().await;
        }
        let _again = stranger(&end).await;
    })
    .await;
}

#[tokio::test]
async fn one_port_serves_both_families() {
    local(async {
        let listener = Listener::bind("0.0.0.0:0".parse().unwrap()).unwrap();
        assert_ne!(listener.port(), 0);
        for ip in ["127.0.0.1", "::1"] {
            let at = SocketAddr::new(ip.parse().unwrap(), listener.port());
            let spoken = std::net::UdpSocket::bind(SocketAddr::new(at.ip(), 0)).is_ok();
            assert_eq!(TcpStream::connect(at).await.is_ok(), spoken, "{ip}");
        }
        assert!(Listener::bind(SocketAddr::new([0, 0, 0, 0].into(), listener.port())).is_err());
        assert!(Listener::bind("192.0.2.1:0".parse().unwrap()).is_err());
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_small() {
    assert!(size_of::<link::Link>() + size_of::<Shared>() < 1 << 10);
}
