//! Peers that follow a script, over plain sockets.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use starling_metainfo::Sha1Hash;
use starling_swarm::extension::{ExtensionHandshake, OUR_IDS};
use starling_swarm::wire::{self, Decoded, HANDSHAKE_LEN, WireLimits};
use starling_swarm::{Block, Handshake, Message, Reserved};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use super::content::Sample;
use super::sites::{self, Site};

/// What happened to a stranger, for the test to look at.
#[derive(Default)]
pub struct Log {
    /// Connections that came about.
    pub met: Cell<u32>,
    /// Connections that ended.
    pub left: Cell<u32>,
    /// Blocks it was asked for.
    pub asked: Cell<u64>,
    /// Whatever the script wants to count.
    pub count: Cell<u64>,
    changed: Notify,
}

impl Log {
    pub fn add(&self, counter: &Cell<u64>, n: u64) {
        counter.set(counter.get() + n);
        self.changed.notify_waiters();
    }

    /// Waits until the log is as wanted.
    pub async fn until(&self, wanted: impl Fn(&Log) -> bool) {
        loop {
            let changed = self.changed.notified();
            if wanted(self) {
                return;
            }
            changed.await;
        }
    }
}

/// A listening stranger.
pub struct Attacker {
    pub addr: SocketAddr,
    pub log: Rc<Log>,
}

impl Attacker {
    /// Listens at `127.0.0.last` and plays `script` with whoever connects.
    pub async fn listen<S>(last: u8, sample: &Rc<Sample>, script: S) -> Attacker
    where
        S: AsyncFn(&mut Stranger) -> io::Result<()> + 'static,
    {
        let listener = TcpListener::bind(SocketAddr::new(sites::ip(last), 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (log, sample, script) = (Rc::new(Log::default()), sample.clone(), Rc::new(script));
        let kept = log.clone();
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stranger = Stranger::new(stream, sample.clone(), kept.clone());
                let (script, log) = (script.clone(), kept.clone());
                tokio::task::spawn_local(async move {
                    let _ = script(&mut stranger).await; // an error is the other side's goodbye
                    drop(stranger);
                    log.left.set(log.left.get() + 1);
                    log.changed.notify_waiters();
                });
            }
        });
        Attacker { addr, log }
    }

    /// Waits until somebody has ended so many connections with it.
    pub async fn left(&self, times: u32) {
        self.log.until(|log| log.left.get() >= times).await;
    }
}

/// What to do with a request.
pub enum Answer {
    Send(Vec<u8>),
    Reject,
    Ignore,
}

/// One connection of a scripted peer.
pub struct Stranger {
    pub stream: TcpStream,
    pub sample: Rc<Sample>,
    pub log: Rc<Log>,
    buffer: Vec<u8>,
}

impl Stranger {
    fn new(stream: TcpStream, sample: Rc<Sample>, log: Rc<Log>) -> Stranger {
        log.met.set(log.met.get() + 1);
        log.changed.notify_waiters();
        Stranger { stream, sample, log, buffer: Vec::new() }
    }

    /// Connects to a node from `127.0.0.last`.
    pub async fn dial(last: u8, to: SocketAddr, sample: &Rc<Sample>) -> io::Result<Stranger> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(sites::ip(last), 0))?;
        let stream = socket.connect(to).await?;
        Ok(Stranger::new(stream, sample.clone(), Rc::default()))
    }

    /// A good handshake for the sample.
    pub fn handshake(&self) -> Handshake {
        Handshake {
            reserved: Reserved::OURS,
            info_hash: self.sample.torrent.info.hashes.wire(),
            peer_id: *b"-XX0000-a stranger..",
        }
    }

    /// Reads the other side's handshake.
    pub async fn their_handshake(&mut self) -> io::Result<Handshake> {
        let mut bytes = [0; HANDSHAKE_LEN];
        self.stream.read_exact(&mut bytes).await?;
        Handshake::decode(&bytes).ok().flatten().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Exchanges handshakes, first ours or first theirs: both sides may send at once.
    pub async fn greet(&mut self) -> io::Result<Handshake> {
        let ours = self.handshake();
        self.greet_with(ours).await
    }

    pub async fn greet_with(&mut self, ours: Handshake) -> io::Result<Handshake> {
        self.send_bytes(&ours.encode()).await?;
        self.their_handshake().await
    }

    /// Another torrent's name in the handshake.
    pub fn other_torrent(&self) -> Handshake {
        Handshake { info_hash: Sha1Hash([7; 20]), ..self.handshake() }
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    pub async fn send(&mut self, message: &Message) -> io::Result<()> {
        let mut bytes = Vec::new();
        wire::encode(message, &mut bytes);
        self.send_bytes(&bytes).await
    }

    pub async fn send_block(&mut self, block: Block, payload: &[u8]) -> io::Result<()> {
        let block = Block { length: u32::try_from(payload.len()).unwrap(), ..block };
        let mut bytes = wire::encode_piece_header(block).to_vec();
        bytes.extend_from_slice(payload);
        self.send_bytes(&bytes).await
    }

    /// The next message; the bytes of blocks are left out.
    pub async fn next(&mut self) -> io::Result<Message> {
        Ok(self.next_with_payload().await?.0)
    }

    /// The next message and, for `piece`, its block.
    pub async fn next_with_payload(&mut self) -> io::Result<(Message, Vec<u8>)> {
        loop {
            let decoded = wire::decode(&self.buffer, &WireLimits::DEFAULT);
            match decoded.map_err(|error| io::Error::other(error.to_string()))? {
                Decoded::Frame { message, consumed, payload } => {
                    let payload = self.buffer[payload].to_vec();
                    self.buffer.drain(..consumed);
                    return Ok((message, payload));
                }
                Decoded::Incomplete { .. } | Decoded::PieceHeader { .. } => {
                    if self.stream.read_buf(&mut self.buffer).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
    }

    /// Reads and forgets until the other side ends the connection.
    pub async fn gone(&mut self) {
        let mut sink = vec![0; 64 << 10];
        while self.stream.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    }

    /// Handshakes, then says that it has everything and will give it.
    pub async fn pose_as_seed(&mut self) -> io::Result<()> {
        self.greet().await?;
        self.claim_all().await
    }

    pub async fn claim_all(&mut self) -> io::Result<()> {
        self.send(&Message::HaveAll).await?;
        self.send(&Message::Unchoke).await
    }

    /// An extension handshake that offers what we offer, changed by `change`.
    pub async fn extend(&mut self, change: impl FnOnce(&mut ExtensionHandshake)) -> io::Result<()> {
        let mut handshake = ExtensionHandshake { ids: OUR_IDS, ..ExtensionHandshake::default() };
        change(&mut handshake);
        self.send(&handshake.message()).await
    }

    /// Plays an honest seed until `leecher` has everything. It may be let go once it is of
    /// no more use; if it were let go earlier, this would never end.
    pub async fn brings_all_to(&mut self, leecher: &mut Site) {
        self.pose_as_seed().await.unwrap();
        let sample = self.sample.clone();
        let serving = async {
            let _ = self.serve(|_, bytes| Answer::Send(bytes)).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = serving => {}
            () = leecher.gets(&sample) => {}
        }
    }

    /// Answers requests as `answer` says, until the connection ends.
    pub async fn serve(&mut self, mut answer: impl FnMut(Block, Vec<u8>) -> Answer) -> io::Result<()> {
        loop {
            match self.next().await? {
                Message::Request(block) => {
                    self.log.add(&self.log.asked, 1);
                    match answer(block, self.sample.block(block)) {
                        Answer::Send(bytes) => self.send_block(block, &bytes).await?,
                        Answer::Reject => self.send(&Message::Reject(block)).await?,
                        Answer::Ignore => {}
                    }
                }
                Message::HashRequest(range) => self.send(&Message::HashReject(range)).await?,
                _ => {}
            }
        }
    }
}
