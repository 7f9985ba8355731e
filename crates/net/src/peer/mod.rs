//! Connections between peers over TCP: dialling, accepting, the handshake (BEP 3),
//! and moving messages and blocks with as few copies and system calls as can be.
//!
//! **Reading.** A ready socket is read in up to 256 KiB into a chunk of a pool that
//! all peers share; blocks go to the handler as slices of it. Only a message that a
//! read has cut is kept with the peer.
//!
//! **Writing.** Control messages of one turn and up to 16 blocks become one write.
//! The handler fills blocks straight into the buffer that is written, at the moment
//! the socket takes them; what the socket leaves is filled again later. One `pread`
//! of 256 KiB and one `write` cost less than a `sendfile` for each block.
//!
//! Everything runs on one thread: a tokio `LocalSet`. Not here: what to say to
//! whom (`swarm`), whom to connect (`session`), encryption of the stream, uTP.

mod chunk;
mod handle;
mod hub;
mod inbox;
mod link;
mod listen;
mod open;
mod outbox;

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use bytes::Bytes;
use starling_swarm::wire::WireError;
use starling_swarm::{Block, ConnId, Handshake, Message};
use thiserror::Error;

pub use handle::PeerHandle;
pub use listen::{Listener, Listening};

use crate::Limits;
use handle::Shared;
use hub::Hub;
use open::Conn;

/// Whoever decides about connections. All calls come on the network thread, from the
/// connections' own tasks, never from within a method of [`PeerHandle`] or [`Peers`];
/// so an implementation may hold its own state borrowed while it calls those.
pub trait PeerHandler: 'static {
    /// The peer's handshake came. Accepted connection: what to answer. Dialled
    /// connection: anything for yes, as ours was sent first. `None` closes.
    /// Messages sent on `peer` from here on follow our handshake.
    fn handshake(&self, peer: &PeerHandle, theirs: Handshake) -> Option<Handshake>;

    /// A message came. `payload` is the block of a `Piece`, else empty.
    fn message(&self, conn: ConnId, message: Message, payload: Bytes);

    /// All messages of one read were delivered; what is sent until this returns
    /// leaves in one write.
    fn batch_end(&self, conn: ConnId);

    /// That many bytes of blocks were handed to the socket, whole blocks at a time.
    fn sent(&self, conn: ConnId, payload_bytes: u32);

    /// Whether more blocks may come now. When false, nothing is read from this peer
    /// until [`PeerHandle::wake_reader`].
    fn may_read(&self, conn: ConnId) -> bool;

    /// The socket takes these blocks: fill each buffer with its block, as far as that
    /// does not wait for a disk. Buffers have the blocks' lengths. A block may be asked
    /// for again when the socket did not take it after all.
    fn fill(&self, conn: ConnId, blocks: &[Block], bufs: &mut [IoSliceMut<'_>]) -> Fill;

    /// The connection has ended, or never began. Once for every number, and last.
    fn closed(&self, conn: ConnId, why: Closed);
}

/// What a handler made of [`PeerHandler::fill`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fill {
    /// Every buffer holds its block.
    Ready,
    /// Only the first so many do. The others come later, each by one call of
    /// [`PeerHandle::block_ready`] or [`PeerHandle::block_failed`] after `fill` returned.
    Pending(usize),
}

/// Why a connection ended.
#[derive(Debug, Error)]
pub enum Closed {
    /// [`PeerHandle::close`].
    #[error("we closed the connection")]
    Local,
    /// The handler did not accept the peer's handshake.
    #[error("the peer's handshake was refused")]
    Refused,
    /// The dial failed: nobody there, or this machine cannot.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The dial was not answered in time.
    #[error("the peer does not answer")]
    ConnectTimeout,
    /// The peer's handshake was not complete in time.
    #[error("the peer sent no handshake in time")]
    HandshakeTimeout,
    /// The peer closed its side.
    #[error("the peer closed the connection")]
    PeerLeft,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The peer sent what is no message.
    #[error(transparent)]
    Protocol(WireError),
    /// The peer does not take what it is sent.
    #[error("the peer does not read what it is sent")]
    NotReading,
    /// The peer has been silent for longer than keep-alives allow.
    #[error("the peer fell silent")]
    Silent,
}

impl Closed {
    /// Whether the peer broke the protocol or abused us: not to be dialled again soon.
    pub fn blames_peer(&self) -> bool {
        matches!(self, Closed::Protocol(_) | Closed::NotReading | Closed::HandshakeTimeout)
    }
}

/// All connections of a network thread. Cheap to clone.
#[derive(Clone)]
pub struct Peers(Rc<Hub>);

impl Peers {
    /// With no connection yet.
    pub fn new(limits: Limits) -> Peers {
        Peers(Hub::new(limits))
    }

    /// Connects to `addr`, from `bind` if that is of the same family, and sends `ours`.
    /// Returns at once; the handler hears of the handshake, or of the end. Must be
    /// called within a `LocalSet`.
    pub fn dial(
        &self,
        conn: ConnId,
        addr: SocketAddr,
        bind: Option<IpAddr>,
        ours: Handshake,
        handler: Rc<dyn PeerHandler>,
    ) -> PeerHandle {
        let shared = Shared::new(conn, addr, true, self.0.limits.wire);
        let counted = self.0.all.enter(addr.ip());
        let task = Conn { shared: shared.clone(), hub: self.0.clone(), handler, counted };
        tokio::task::spawn_local(task.dial(bind, ours));
        PeerHandle(shared)
    }

    /// Connections that are open or being opened, both directions.
    pub fn open(&self) -> usize {
        self.0.all.get()
    }
}

#[cfg(test)]
mod tests;
